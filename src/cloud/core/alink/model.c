/* model.c - what devices ask besides reporting: the model, configuration, discovery, time, versions; see alink.h. */
#include <stdio.h>
#include <string.h>

#include "cloud/core/alink/alink.h"
#include "cloud/core/model/tsl.h"
#include "cloud/core/parse.h"
#include "cloud/core/traffic/down.h"

/* ---- model and configuration ---- */

int cw_cloud_tsl_get(struct alink_request *r)
{
	if (r->device->product->tsl != NULL)
		r->data = json_incref(r->device->product->tsl);
	return 200;
}

/* nodes: members wanted of each entry; addDefault: the platform's own entries too. */
int cw_cloud_tsl_get_short(struct alink_request *r)
{
	const json_t *nodes = json_object_get(r->params, "nodes");

	if (!json_is_object(r->params) || (nodes != NULL && (!json_is_array(nodes) || json_array_size(nodes) > 50)))
		return 460;
	if (r->device->product->tsl == NULL)
		return 200;
	r->data = nodes == NULL ? json_incref(r->device->product->tsl) :
	                          cw_cloud_tsl_reduce(r->device->product->tsl, nodes,
	                                              json_is_true(json_object_get(r->params, "addDefault")));
	return r->data != NULL ? 200 : 500;
}

/* ---- discovery: the application decides, and asks the gateway to add what it found ---- */

#define FOUND_MAX   1500u
#define FOUND_BATCH 30u

static int name_legal(const char *dn)
{
	size_t n = strspn(dn, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_@.:");

	return n >= 4 && n <= 32 && dn[n] == '\0';
}

int cw_cloud_list_found(struct alink_request *r)
{
	json_t *found = cw_cloud_doc(r->device, CLOUD_DOC_FOUND), *entry;
	char id[64];
	size_t i;

	if (json_array_size(r->params) == 0 || json_array_size(r->params) > FOUND_BATCH)
		return 460;
	json_array_foreach(r->params, i, entry) {
		const char *pk = json_string_value(json_object_get(entry, "productKey"));
		const char *dn = json_string_value(json_object_get(entry, "deviceName"));

		if (pk == NULL || dn == NULL)
			return 460;
		if (cw_cloud_product_find(r->cloud, pk, strlen(pk)) == NULL)
			return 6250;
		if (!name_legal(dn))
			return 6280;
	}
	json_array_foreach(r->params, i, entry) {
		(void)snprintf(id, sizeof(id), "%s/%s", json_string_value(json_object_get(entry, "productKey")),
		               json_string_value(json_object_get(entry, "deviceName")));
		if (json_object_size(found) < FOUND_MAX || json_object_get(found, id) != NULL)
			json_object_set_new(found, id, json_pack("{s:I}", "time", (json_int_t)cw_cloud_wall_ms(r->cloud)));
	}
	cw_cloud_changed(r->cloud, r->device);
	return 200;
}

enum cloud_outcome cw_cloud_notify_found(struct cw_cloud *c, struct cloud_device *gateway, json_t *list)
{
	return cw_cloud_request(c, gateway, "thing/topo/add/notify", "thing.topo.add.notify", list);
}

/* ---- time and versions ---- */

static json_t *time_like(const json_t *model, int64_t ms)
{
	char text[24];

	if (json_is_number(model))
		return json_integer((json_int_t)ms);
	(void)snprintf(text, sizeof(text), "%lld", (long long)ms);
	return json_string(text);
}

/* The answer uses the type of the request. */
void cw_cloud_ntp(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload, size_t len)
{
	json_t *body = cw_cloud_json(payload, len, 0, NULL), *sent = json_object_get(body, "deviceSendTime");
	int64_t now = cw_cloud_wall_ms(c);
	char topic[256];

	if (sent != NULL) {
		(void)snprintf(topic, sizeof(topic), "/ext/ntp/%s/response", d->id);
		cw_cloud_send_json(c, d, topic, json_pack("{s:O, s:o, s:o}", "deviceSendTime", sent, "serverRecvTime",
		                   time_like(sent, now), "serverSendTime", time_like(sent, cw_cloud_wall_ms(c))), 0, CLOUD_REPLY);
	}
	json_decref(body);
}
