/* model.c - what devices report: properties, events, packs, desired values, tags, time; see alink.h. */
#include <stdio.h>
#include <string.h>

#include "cloud/core/alink.h"

#define PROPERTIES_MAX 200u
#define EVENTS_MAX     20u
#define PACK_MAX       20u
#define TAGS_MAX       100u
#define HISTORY_MAX    200u

/* {"value": v, "time": ms} or the bare value; the result is new. */
static json_t *reading(struct cw_cloud *c, const json_t *sent)
{
	json_t *value = json_object_get(sent, "value");
	const json_t *time = json_object_get(sent, "time");
	json_int_t ms = json_is_integer(time) ? json_integer_value(time) : (json_int_t)cw_cloud_wall_ms(c);

	if (value == NULL || (json_object_size(sent) == 2 && time == NULL) || json_object_size(sent) > 2)
		value = (json_t *)(uintptr_t)sent;
	return json_pack("{s:O, s:I}", "value", value, "time", ms);
}

static void report_properties(struct cw_cloud *c, struct cloud_device *d, const json_t *properties)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)properties, key, value) {
		/* batch post: a list of readings; the last one stands */
		if (json_is_array(value) && json_object_get(json_array_get(value, 0), "value") != NULL)
			value = json_array_get(value, json_array_size(value) - 1);
		json_object_set_new(cw_cloud_doc(d, CLOUD_DOC_REPORTED), key, reading(c, value));
	}
}

static void report_events(struct cw_cloud *c, struct cloud_device *d, const json_t *events)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)events, key, value) {
		if (json_is_array(value))
			value = json_array_get(value, json_array_size(value) - 1);
		json_object_set_new(cw_cloud_doc(d, CLOUD_DOC_EVENTS), key, reading(c, value));
	}
}

int cw_cloud_property_post(struct alink_request *r)
{
	if (!json_is_object(r->params))
		return 460;
	if (json_object_size(r->params) > PROPERTIES_MAX)
		return 6106;
	report_properties(r->cloud, r->device, r->params);
	return 200;
}

int cw_cloud_event_post(struct alink_request *r)
{
	const struct cloud_text *rest = &r->topic->rest;
	char name[128];

	if (!json_is_object(r->params))
		return 460;
	/* thing/event/{name}/post */
	(void)snprintf(name, sizeof(name), "%.*s", (int)(rest->len - 17), rest->s + 12);
	json_object_set_new(cw_cloud_doc(r->device, CLOUD_DOC_EVENTS), name, reading(r->cloud, r->params));
	return 200;
}

/* properties and events of one member of a pack. 0 or a code. */
static int member_check(const json_t *m)
{
	const json_t *p = json_object_get(m, "properties"), *e = json_object_get(m, "events");

	if ((p != NULL && !json_is_object(p)) || (e != NULL && !json_is_object(e)))
		return 460;
	if (json_object_size(p) > PROPERTIES_MAX)
		return 6106;
	return json_object_size(e) > EVENTS_MAX ? 6356 : 0;
}

/* The device an entry's identity names: the poster itself or one related to it. 0 or a code. */
static int identity_of(struct alink_request *r, const json_t *entry, struct cloud_device **ret_device)
{
	const json_t *id = json_object_get(entry, "identity");
	const char *pk = json_string_value(json_object_get(id, "productKey"));
	const char *dn = json_string_value(json_object_get(id, "deviceName"));
	struct cloud_device *d;

	if (id == NULL) {
		*ret_device = r->device;
		return 0;
	}
	if (pk == NULL || dn == NULL)
		return 460;
	d = cw_cloud_device_find(r->cloud, pk, strlen(pk), dn, strlen(dn));
	if (d == NULL)
		return 6100;
	*ret_device = d;
	return d == r->device || d->gateway == r->device ? 0 : 6401;
}

static void report_member(struct cw_cloud *c, struct cloud_device *d, const json_t *m)
{
	report_properties(c, d, json_object_get(m, "properties"));
	report_events(c, d, json_object_get(m, "events"));
}

/* All is checked first: one failure fails the pack. */
int cw_cloud_pack_post(struct alink_request *r)
{
	json_t *subs = json_object_get(r->params, "subDevices");
	struct cloud_device *d = NULL;
	size_t n = json_array_size(subs), i;
	int code;

	if (!json_is_object(r->params) || (subs != NULL && !json_is_array(subs)))
		return 460;
	if (n > PACK_MAX)
		return 6357;
	code = member_check(r->params);
	for (i = 0; i < n && code == 0; i++) {
		json_t *m = json_array_get(subs, i);

		code = json_object_get(m, "identity") == NULL ? 460 : identity_of(r, m, &d);
		if (code == 0)
			code = member_check(m);
	}
	if (code != 0)
		return code;
	report_member(r->cloud, r->device, r->params);
	for (i = 0; i < n; i++) {
		if (identity_of(r, json_array_get(subs, i), &d) == 0)
			report_member(r->cloud, d, json_array_get(subs, i));
	}
	return 200;
}

/* A list of {identity, properties: [..], events: [..]}. */
int cw_cloud_history_post(struct alink_request *r)
{
	size_t n = json_array_size(r->params), i, k;
	struct cloud_device *d = NULL;

	if (n == 0 || n > HISTORY_MAX)
		return 460;
	for (i = 0; i < n; i++) {
		int code = identity_of(r, json_array_get(r->params, i), &d);

		if (code != 0)
			return code;
	}
	for (i = 0; i < n; i++) {
		json_t *m = json_array_get(r->params, i), *one;

		(void)identity_of(r, m, &d);
		json_array_foreach(json_object_get(m, "properties"), k, one)
			report_properties(r->cloud, d, one);
		json_array_foreach(json_object_get(m, "events"), k, one)
			report_events(r->cloud, d, one);
	}
	return 200;
}

int cw_cloud_batch_post(struct alink_request *r)
{
	int code = json_is_object(r->params) ? member_check(r->params) : 460;

	if (code == 0)
		report_member(r->cloud, r->device, r->params);
	return code != 0 ? code : 200;
}

/* ---- desired values ---- */

int cw_cloud_desired_get(struct alink_request *r)
{
	json_t *desired = cw_cloud_doc(r->device, CLOUD_DOC_DESIRED), *name;
	size_t i;

	if (!json_is_array(r->params))
		return 460;
	if (json_array_size(r->params) > PROPERTIES_MAX)
		return 6104;
	r->data = json_object();
	json_array_foreach(r->params, i, name) {
		json_t *d = json_is_string(name) ? json_object_get(desired, json_string_value(name)) : NULL;

		if (json_object_get(d, "value") != NULL)
			json_object_set(r->data, json_string_value(name), d);
	}
	return 200;
}

/* With a version only if it is the current one; the version itself goes on counting. */
int cw_cloud_desired_delete(struct alink_request *r)
{
	json_t *desired = cw_cloud_doc(r->device, CLOUD_DOC_DESIRED), *want;
	const char *name;

	if (!json_is_object(r->params))
		return 460;
	if (json_object_size(r->params) > PROPERTIES_MAX)
		return 6104;
	json_object_foreach(r->params, name, want) {
		json_t *d = json_object_get(desired, name), *version = json_object_get(want, "version");

		if (d != NULL && (version == NULL || json_equal(version, json_object_get(d, "version"))))
			json_object_del(d, "value");
	}
	return 200;
}

/* ---- tags ---- */

static int tag_key_valid(const char *key)
{
	size_t n = key != NULL ? strlen(key) : 0, i;

	if (n == 0 || n > 64 || (key[0] >= '0' && key[0] <= '9'))
		return 0;
	for (i = 0; i < n; i++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", key[i]) == NULL)
			return 0;
	}
	return 1;
}

int cw_cloud_tags_update(struct alink_request *r)
{
	json_t *tags = cw_cloud_doc(r->device, CLOUD_DOC_TAGS), *tag;
	size_t i, fresh = 0;

	if (json_array_size(r->params) == 0 || json_array_size(r->params) > PROPERTIES_MAX)
		return 460;
	json_array_foreach(r->params, i, tag) {
		const char *key = json_string_value(json_object_get(tag, "attrKey"));

		if (!tag_key_valid(key) || !json_is_string(json_object_get(tag, "attrValue")))
			return 460;
		if (json_object_get(tags, key) == NULL)
			fresh++;
	}
	if (json_object_size(tags) + fresh > TAGS_MAX)
		return 460;
	json_array_foreach(r->params, i, tag)
		json_object_set(tags, json_string_value(json_object_get(tag, "attrKey")), json_object_get(tag, "attrValue"));
	return 200;
}

int cw_cloud_tags_delete(struct alink_request *r)
{
	size_t i;
	json_t *tag;

	if (json_array_size(r->params) == 0)
		return 460;
	json_array_foreach(r->params, i, tag) {
		const char *key = json_string_value(json_object_get(tag, "attrKey"));

		if (key == NULL)
			return 460;
		json_object_del(cw_cloud_doc(r->device, CLOUD_DOC_TAGS), key);
	}
	return 200;
}

/* ---- the model ---- */

int cw_cloud_tsl_get(struct alink_request *r)
{
	if (r->device->product->tsl != NULL)
		r->data = json_incref(r->device->product->tsl);
	return 200;
}

/* ---- time ---- */

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
	json_t *body = json_loadb(payload, len, 0, NULL), *sent = json_object_get(body, "deviceSendTime");
	int64_t now = cw_cloud_wall_ms(c);
	char topic[256];

	if (sent != NULL) {
		(void)snprintf(topic, sizeof(topic), "/ext/ntp/%s/response", d->id);
		cw_cloud_send_json(c, d, topic, json_pack("{s:O, s:o, s:o}", "deviceSendTime", sent, "serverRecvTime",
		                   time_like(sent, now), "serverSendTime", time_like(sent, cw_cloud_wall_ms(c))), 0, CLOUD_REPLY);
	}
	json_decref(body);
}
