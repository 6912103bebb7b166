/* save.c - see save.h. */
#include "cloud/core/save.h"

#include <string.h>

#include "base/mem.h"
#include "cloud/core/alink/device_log.h"
#include "cloud/core/alink/remote_config.h"
#include "cloud/core/model/script.h"
#include "cloud/core/model/tsl.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/stock/x509.h"

/* ---- parts ---- */

static json_t *save_docs(struct cw_cloud *c, const struct cloud_device *d)
{
	static const char *const names[] = {
#define DOC_NAME(sym, name) #name,
		CLOUD_DOCS(DOC_NAME)
#undef DOC_NAME
	};
	json_t *j = NULL;
	size_t i;

	for (i = 0; i < CLOUD_DOC_COUNT; i++) {
		if (d->doc[i] == NULL)
			continue;
		if (j == NULL)
			j = json_object();
		json_object_set(j, names[i], d->doc[i]);
	}
	return j;
}

static int load_docs(struct cw_cloud *c, struct cloud_device *d, const json_t *j)
{
	static const struct {
		const char *name;
		enum cloud_doc doc;
	} docs[] = {
#define DOC_ROW(sym, name) { #name, CLOUD_DOC_##sym },
		CLOUD_DOCS(DOC_ROW)
#undef DOC_ROW
	};
	size_t i;

	for (i = 0; i < CLOUD_DOC_COUNT; i++) {
		json_t *one = json_object_get(j, docs[i].name);

		if (one == NULL)
			continue;
		if (!json_is_object(one) && !json_is_array(one))
			return CW_EINVAL;
		json_decref(d->doc[docs[i].doc]);
		d->doc[docs[i].doc] = json_incref(one);
	}
	return 0;
}

static json_t *save_session(struct cw_cloud *c, const struct cloud_device *d)
{
	json_t *subs;
	unsigned i;

	if (!d->persistent)
		return NULL;
	subs = json_array();
	for (i = 0; i < d->sub_count; i++)
		json_array_append_new(subs, json_string(d->subs[i].filter));
	return json_pack("{s:i, s:i, s:o}", "ss", d->ss, "ext", d->ext, "subs", subs);
}

static int load_session(struct cw_cloud *c, struct cloud_device *d, const json_t *j)
{
	const json_t *subs = json_object_get(j, "subs"), *one;
	size_t i;
	int rc = 0;

	d->persistent = 1;
	d->ss = (int)json_integer_value(json_object_get(j, "ss"));
	d->ext = (int)json_integer_value(json_object_get(j, "ext"));
	json_array_foreach((json_t *)(uintptr_t)subs, i, one) {
		if (rc == 0 && json_is_string(one))
			rc = cw_cloud_sub_add(c, d, json_string_value(one), json_string_length(one));
	}
	return rc;
}

static json_t *save_bridge(struct cw_cloud *c, const struct cloud_device *d)
{
	if (d->bridge_mode == 0 && !d->bridged)
		return NULL;
	return json_pack("{s:i, s:b}", "mode", d->bridge_mode, "online", d->bridged);
}

static int load_bridge(struct cw_cloud *c, struct cloud_device *d, const json_t *j)
{
	d->bridge_mode = (int)json_integer_value(json_object_get(j, "mode"));
	d->bridged = json_is_true(json_object_get(j, "online"));
	return 0;
}

static const struct cloud_part parts[] = {
	{ "bridge", save_bridge, load_bridge },
	{ "docs", save_docs, load_docs },
	{ "session", save_session, load_session },
	{ "clients", cw_cloud_clients_save, cw_cloud_clients_load },
	{ "certificate", cw_cloud_x509_save, cw_cloud_x509_load },
	{ "log", cw_cloud_device_log_save, cw_cloud_device_log_load },
};

/* ---- devices ---- */

json_t *cw_cloud_device_save(struct cw_cloud *c, const struct cloud_device *d)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s*, s:s*, s:s*, s:I, s:I, s:I, s:I}", "productKey", d->product->key,
	                      "deviceName", d->dn, "secret", d->secret, "iotId", d->iot_id, "disabled", d->disabled, "nickname", d->nickname,
	                      "gateway", d->gateway != NULL ? d->gateway->id : NULL, "clientId", d->client_id, "created",
	                      (json_int_t)d->created_ms, "active", (json_int_t)d->active_ms, "online", (json_int_t)d->online_ms,
	                      "offline", (json_int_t)d->offline_ms);
	size_t i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]) && j != NULL; i++) {
		json_t *one = parts[i].save(c, d);

		if (one != NULL)
			json_object_set_new(j, parts[i].name, one);
	}
	return j;
}

static char *copy_of(const json_t *j, const char *name)
{
	const char *text = json_string_value(json_object_get(j, name));

	return text != NULL ? cw_strdup(text) : NULL;
}

static int64_t number_of(const json_t *j, const char *name)
{
	return json_integer_value(json_object_get(j, name));
}

int cw_cloud_device_load(struct cw_cloud *c, const json_t *j, struct cw_msg *msg)
{
	const char *pk = json_string_value(json_object_get(j, "productKey"));
	const char *dn = json_string_value(json_object_get(j, "deviceName"));
	const char *secret = json_string_value(json_object_get(j, "secret"));
	const char *iot_id = json_string_value(json_object_get(j, "iotId"));
	struct cloud_product *p = pk != NULL ? cw_cloud_product_find(c, pk, strlen(pk)) : NULL;
	struct cloud_device *d = NULL;
	size_t i;
	int rc;

	if (p == NULL || dn == NULL || secret == NULL)
		return cw_fail(msg, CW_EINVAL, "device \"%s/%s\" lacks its product or secret", pk != NULL ? pk : "", dn != NULL ? dn : "");
	rc = cw_cloud_device_add(c, p, dn, secret, &d, msg);
	if (rc < 0)
		return rc;
	if (iot_id != NULL && cw_cloud_device_set_iot_id(c, d, iot_id) < 0)
		return cw_fail(msg, CW_EINVAL, "device \"%s\": iotId \"%s\" is another's", d->id, iot_id);
	d->disabled = json_is_true(json_object_get(j, "disabled"));
	d->nickname = copy_of(j, "nickname");
	d->client_id = copy_of(j, "clientId");
	d->created_ms = number_of(j, "created");
	d->active_ms = number_of(j, "active");
	d->online_ms = number_of(j, "online");
	d->offline_ms = number_of(j, "offline");
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == 0; i++) {
		const json_t *one = json_object_get(j, parts[i].name);

		if (one != NULL)
			rc = parts[i].load(c, d, one);
	}
	return rc < 0 ? cw_fail(msg, rc, "device \"%s\": %s", d->id, cw_error_text(rc)) : 0;
}

void cw_cloud_device_load_gateway(struct cw_cloud *c, const json_t *j)
{
	const char *gateway = json_string_value(json_object_get(j, "gateway"));
	const char *pk = json_string_value(json_object_get(j, "productKey"));
	const char *dn = json_string_value(json_object_get(j, "deviceName"));
	const char *slash = gateway != NULL ? strchr(gateway, '/') : NULL;
	struct cloud_device *g, *d;

	if (slash == NULL || pk == NULL || dn == NULL)
		return;
	g = cw_cloud_device_find(c, gateway, (size_t)(slash - gateway), slash + 1, strlen(slash + 1));
	d = cw_cloud_device_find(c, pk, strlen(pk), dn, strlen(dn));
	if (g != NULL && d != NULL)
		cw_cloud_relate(g, d);
}

/* ---- products ---- */

json_t *cw_cloud_product_save(const struct cloud_product *p)
{
	json_t *classes = json_array();
	struct cw_list *e;

	cw_list_each(e, &p->classes) {
		const struct cloud_class *k = cw_container_of(e, struct cloud_class, link);

		json_array_append_new(classes, json_pack("{s:s, s:b, s:b}", "topic", k->pattern, "publish", k->publish,
		                      "subscribe", k->subscribe));
	}
	return json_pack("{s:s, s:s, s:s*, s:s, s:b, s:b, s:b, s:o, s:O*, s:s*, s:I, s:o*}", "productKey", p->key, "secret", p->secret,
	                 "name", p->name, "nodeType", cw_cloud_node_name(p->type), "raw", p->raw, "x509", p->x509, "registration",
	                 p->registration, "topics", classes, "tsl", p->tsl,
	                 "script", cw_cloud_script_text(p), "created", (json_int_t)p->created_ms,
	                 "config", cw_cloud_config_save(p));
}

int cw_cloud_product_load(struct cw_cloud *c, const json_t *j, struct cw_msg *msg)
{
	const char *key = json_string_value(json_object_get(j, "productKey"));
	const char *type = json_string_value(json_object_get(j, "nodeType"));
	const json_t *one;
	struct cloud_product *p = NULL;
	enum cloud_node node;
	size_t i;
	int rc;

	if (key == NULL || type == NULL || cw_cloud_node_parse(type, &node) < 0)
		return cw_fail(msg, CW_EINVAL, "a product without key or node type");
	rc = cw_cloud_product_add(c, key, json_string_value(json_object_get(j, "secret")), node, &p, msg);
	if (rc < 0)
		return rc;
	p->name = copy_of(j, "name");
	p->raw = json_is_true(json_object_get(j, "raw"));
	p->x509 = json_is_true(json_object_get(j, "x509"));
	p->registration = json_is_true(json_object_get(j, "registration"));
	p->created_ms = number_of(j, "created");
	one = json_object_get(j, "tsl");
	if (one != NULL)
		rc = cw_cloud_tsl_set(c, p, (json_t *)(uintptr_t)one, msg);
	one = json_object_get(j, "script");
	if (rc == 0 && json_is_string(one))
		rc = cw_cloud_script_set(c, p, json_string_value(one), msg);
	json_array_foreach(json_object_get(j, "topics"), i, one) {
		const char *pattern = json_string_value(json_object_get(one, "topic"));

		if (rc == 0 && pattern != NULL)
			rc = cw_cloud_class_add(p, pattern, json_is_true(json_object_get(one, "publish")),
			                        json_is_true(json_object_get(one, "subscribe")), msg);
	}
	one = json_object_get(j, "config");
	if (rc == 0 && one != NULL)
		rc = cw_cloud_config_load(c, p, one);
	return rc;
}

/* ---- marks ---- */

void cw_cloud_changed(struct cw_cloud *c, struct cloud_device *d)
{
	if (d->name_of != NULL) /* a session of it: what lasts is the device's */
		d = d->name_of;
	if (c->saver != NULL && (d->changed.next == NULL || cw_list_empty(&d->changed)))
		cw_list_push_back(&c->changed_devices, &d->changed);
}

void cw_cloud_product_changed(struct cw_cloud *c, struct cloud_product *p)
{
	if (c->saver != NULL && (p->changed.next == NULL || cw_list_empty(&p->changed)))
		cw_list_push_back(&c->changed_products, &p->changed);
}

void cw_cloud_chapter_add(struct cw_cloud *c, struct cloud_chapter *ch)
{
	ch->changed = 0;
	cw_list_push_back(&c->chapters, &ch->link);
}

void cw_cloud_chapter_changed(struct cw_cloud *c, struct cloud_chapter *ch)
{
	if (c->saver == NULL)
		return;
	ch->changed = 1;
	c->chapters_changed = 1;
}

void cw_cloud_commit(struct cw_cloud *c)
{
	if (c->saver != NULL)
		c->saver->commit(c->saver);
}
