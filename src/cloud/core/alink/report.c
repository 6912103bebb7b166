/* report.c - what devices report: properties and events, single, in packs, batches and with their history; see alink.h. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cloud/core/alink/alink.h"
#include "cloud/core/model/tsl.h"

#define KNOWN_MAX      2000u /* identifiers kept of one device: without a model it may report any */
#define LOG_MAX        20u   /* events kept of one device */
#define LOG_BYTES      8192u /* events of larger messages are kept without their data */

/* One reading as it was sent; value is lent. */
struct reading {
	json_t *value;
	json_int_t ms;
	int timed, bad_time;
};

/* {"value": v, "time": ms}, {"value": v}, or the bare value. */
static struct reading read_reading(const struct cw_cloud *c, const json_t *sent)
{
	struct reading r = { .value = json_object_get(sent, "value") };
	const json_t *time = json_object_get(sent, "time");

	if (r.value == NULL || json_object_size(sent) > (time != NULL ? 2u : 1u)) {
		r.value = (json_t *)(uintptr_t)sent;
		time = NULL;
	}
	r.timed = json_is_integer(time);
	r.bad_time = time != NULL && (!r.timed || json_integer_value(time) < 0);
	r.ms = r.timed && !r.bad_time ? json_integer_value(time) : (json_int_t)cw_cloud_wall_ms(c);
	return r;
}

enum shape { SHAPE_ONE, SHAPE_LIST }; /* of what stands behind an identifier: a reading, or (batches) a list of them */

static const json_t *nth(const json_t *sent, enum shape shape, size_t i)
{
	return shape == SHAPE_LIST && json_is_array(sent) ? json_array_get(sent, i) : i == 0 ? sent : NULL;
}

/* ---- judging ---- */

static int property_code(const struct cw_cloud *c, const struct cloud_model *m, const char *id, const json_t *sent)
{
	struct reading r = read_reading(c, sent);

	return r.bad_time ? 6326 : cw_cloud_model_property(m, id, r.value);
}

static int event_code(const struct cw_cloud *c, const struct cloud_model *m, const char *id, const json_t *sent)
{
	struct reading r = read_reading(c, sent);

	return r.bad_time ? 6326 : cw_cloud_model_event(m, id, r.value);
}

typedef int (*code_fn)(const struct cw_cloud *c, const struct cloud_model *m, const char *id, const json_t *sent);

/* The code of the first thing in {"identifier": sent} that breaks the model, or 0. */
static int first_code(const struct cw_cloud *c, const struct cloud_device *d, const json_t *all, enum shape shape, code_fn judge)
{
	const struct cloud_model *m = d->product->model;
	const json_t *sent;
	const char *id;
	json_t *value;
	size_t i;
	int code;

	if (m == NULL)
		return 0;
	json_object_foreach((json_t *)(uintptr_t)all, id, value) {
		for (i = 0; (sent = nth(value, shape, i)) != NULL; i++) {
			code = judge(c, m, id, sent);
			if (code != 0)
				return code;
		}
	}
	return 0;
}

/* What breaks the model is left out and counted. */
static int fits(struct cw_cloud *c, const struct cloud_device *d, const char *id, const json_t *sent, code_fn judge)
{
	int code = d->product->model != NULL ? judge(c, d->product->model, id, sent) : 0;

	if (code == 0)
		return 1;
	c->stats.model_dropped++;
	cw_log(cloud_model, cw_cloud_code_text(code), CW_LS("device", d->id), CW_LS("identifier", id), CW_LI("code", code));
	return 0;
}

/* ---- keeping ---- */

static int has_room(const json_t *doc, const char *id)
{
	return json_object_size(doc) < KNOWN_MAX || json_object_get(doc, id) != NULL;
}

/* What is older than what is known does not replace it: histories come late. */
static int is_news(const json_t *doc, const char *id, const struct reading *r)
{
	return !r->timed || json_integer_value(json_object_get(json_object_get(doc, id), "time")) <= r->ms;
}

static void keep(json_t *doc, const char *id, const struct reading *r)
{
	if (has_room(doc, id))
		json_object_set_new(doc, id, json_pack("{s:O, s:I}", "value", r->value, "time", r->ms));
}

static void log_event(struct alink_request *q, struct cloud_device *d, const char *id, const struct reading *r)
{
	json_t *log = cw_cloud_doc(d, CLOUD_DOC_EVENT_LOG);
	json_t *one = json_pack("{s:s, s:I, s:I, s:O}", "event", id, "time", r->ms, "received",
	                        (json_int_t)cw_cloud_wall_ms(q->cloud), "value",
	                        q->len <= LOG_BYTES ? r->value : json_null());

	while (json_array_size(log) >= LOG_MAX)
		json_array_remove(log, 0);
	json_array_append_new(log, one);
}

static void take_properties(struct alink_request *q, struct cloud_device *d, const json_t *all, enum shape shape)
{
	json_t *doc = cw_cloud_doc(d, CLOUD_DOC_REPORTED), *value;
	const json_t *sent;
	const char *id;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)all, id, value) {
		for (i = 0; (sent = nth(value, shape, i)) != NULL; i++) {
			struct reading r = read_reading(q->cloud, sent);

			if (fits(q->cloud, d, id, sent, property_code) && (shape == SHAPE_ONE || is_news(doc, id, &r)))
				keep(doc, id, &r);
		}
	}
}

static void take_events(struct alink_request *q, struct cloud_device *d, const json_t *all, enum shape shape)
{
	json_t *doc = cw_cloud_doc(d, CLOUD_DOC_EVENTS), *value;
	const json_t *sent;
	const char *id;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)all, id, value) {
		for (i = 0; (sent = nth(value, shape, i)) != NULL; i++) {
			struct reading r = read_reading(q->cloud, sent);

			if (!fits(q->cloud, d, id, sent, event_code))
				continue;
			keep(doc, id, &r);
			log_event(q, d, id, &r);
		}
	}
}

/* ---- requests ---- */

int cw_cloud_property_post(struct alink_request *r)
{
	int code;

	if (!json_is_object(r->params))
		return 460;
	if (json_object_size(r->params) > r->cloud->conf.limits.properties)
		return cw_cloud_alink_exceeded(r, "properties", 6106);
	if (r->cloud->conf.switches.strict_model) {
		code = first_code(r->cloud, r->device, r->params, SHAPE_ONE, property_code);
		if (code != 0)
			return code;
	}
	take_properties(r, r->device, r->params, SHAPE_ONE);
	return 200;
}

int cw_cloud_event_post(struct alink_request *r)
{
	const struct cloud_text *rest = &r->topic->rest;
	json_t *one;
	char name[128];
	int code = 200;

	/* thing/event/{name}/post */
	if (!json_is_object(r->params) || rest->len < 18 || rest->len - 17 >= sizeof(name))
		return 460;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(rest->len - 17), rest->s + 12);
	one = json_pack("{s:O}", name, r->params);
	if (one == NULL)
		return 460; /* the name is no UTF-8 */
	if (r->cloud->conf.switches.strict_model) {
		code = first_code(r->cloud, r->device, one, SHAPE_ONE, event_code);
		code = code != 0 ? code : 200;
	}
	if (code == 200)
		take_events(r, r->device, one, SHAPE_ONE);
	json_decref(one);
	return code;
}

/* properties and events of one member. 0 or a code. */
static int member_check(struct alink_request *r, const json_t *m)
{
	const json_t *p = json_object_get(m, "properties"), *e = json_object_get(m, "events");

	if (!json_is_object(m) || (p != NULL && !json_is_object(p)) || (e != NULL && !json_is_object(e)))
		return 460;
	if (json_object_size(p) > r->cloud->conf.limits.properties)
		return cw_cloud_alink_exceeded(r, "properties", 6106);
	return json_object_size(e) > r->cloud->conf.limits.events ? cw_cloud_alink_exceeded(r, "events", 6356) : 0;
}

static int member_model(const struct cw_cloud *c, const struct cloud_device *d, const json_t *m, enum shape shape)
{
	int code = first_code(c, d, json_object_get(m, "properties"), shape, property_code);

	return code != 0 ? code : first_code(c, d, json_object_get(m, "events"), shape, event_code);
}

static void take_member(struct alink_request *r, struct cloud_device *d, const json_t *m, enum shape shape)
{
	take_properties(r, d, json_object_get(m, "properties"), shape);
	take_events(r, d, json_object_get(m, "events"), shape);
	cw_cloud_changed(r->cloud, d);
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

/* One entry of a pack's sub-devices. */
static int pack_entry_check(struct alink_request *r, const json_t *entry)
{
	struct cloud_device *d = NULL;
	int code = json_object_get(entry, "identity") == NULL ? 460 : identity_of(r, entry, &d);

	if (code == 0)
		code = member_check(r, entry);
	return code != 0 ? code : member_model(r->cloud, d, entry, SHAPE_ONE);
}

/* All is checked first, against the models too, whatever the switch says: one failure fails the pack. */
int cw_cloud_pack_post(struct alink_request *r)
{
	json_t *subs = json_object_get(r->params, "subDevices");
	struct cloud_device *d = NULL;
	size_t n = json_array_size(subs), i;
	int code;

	if (!json_is_object(r->params) || (subs != NULL && !json_is_array(subs)))
		return 460;
	if (n > r->cloud->conf.limits.pack)
		return cw_cloud_alink_exceeded(r, "pack", 6357);
	code = member_check(r, r->params);
	if (code == 0)
		code = member_model(r->cloud, r->device, r->params, SHAPE_ONE);
	for (i = 0; i < n && code == 0; i++)
		code = pack_entry_check(r, json_array_get(subs, i));
	if (code != 0)
		return code;
	take_member(r, r->device, r->params, SHAPE_ONE);
	for (i = 0; i < n; i++) {
		if (identity_of(r, json_array_get(subs, i), &d) == 0)
			take_member(r, d, json_array_get(subs, i), SHAPE_ONE);
	}
	return 200;
}

/* The lists of one entry of a history, each element an object {"identifier": {value, time}}. */
static int history_check(struct alink_request *r, const struct cloud_device *d, const json_t *entry)
{
	const struct cw_cloud *c = r->cloud;
	static const char *const names[] = { "properties", "events" };
	size_t k, i;

	for (k = 0; k < 2; k++) {
		const json_t *list = json_object_get(entry, names[k]), *one;

		if (list != NULL && !json_is_array(list))
			return 460;
		if (json_array_size(list) > c->conf.limits.history)
			return cw_cloud_alink_exceeded(r, "history", 460);
		json_array_foreach(list, i, one) {
			int code;

			if (!json_is_object(one))
				return 460;
			if (json_object_size(one) > (k == 0 ? c->conf.limits.properties : c->conf.limits.events))
				return k == 0 ? cw_cloud_alink_exceeded(r, "properties", 6106) : cw_cloud_alink_exceeded(r, "events", 6356);
			code = c->conf.switches.strict_model ? first_code(c, d, one, SHAPE_LIST, k == 0 ? property_code : event_code) : 0;
			if (code != 0)
				return code;
		}
	}
	return 0;
}

/* A list of {identity, properties: [..], events: [..]}. */
int cw_cloud_history_post(struct alink_request *r)
{
	size_t n = json_array_size(r->params), i, k;
	struct cloud_device *d = NULL;
	json_t *one;

	if (n > r->cloud->conf.limits.history)
		return cw_cloud_alink_exceeded(r, "history", 460);
	if (n == 0)
		return 460;
	for (i = 0; i < n; i++) {
		json_t *entry = json_array_get(r->params, i);
		int code = json_is_object(entry) ? identity_of(r, entry, &d) : 460;

		if (code == 0)
			code = history_check(r, d, entry);
		if (code != 0)
			return code;
	}
	for (i = 0; i < n; i++) {
		json_t *entry = json_array_get(r->params, i);

		if (identity_of(r, entry, &d) != 0)
			continue;
		json_array_foreach(json_object_get(entry, "properties"), k, one)
			take_properties(r, d, one, SHAPE_LIST);
		json_array_foreach(json_object_get(entry, "events"), k, one)
			take_events(r, d, one, SHAPE_LIST);
		cw_cloud_changed(r->cloud, d);
	}
	return 200;
}

/* {properties: {"P": [{value, time}, ..]}, events: {..}} of the device itself. */
int cw_cloud_batch_post(struct alink_request *r)
{
	int code = json_is_object(r->params) ? member_check(r, r->params) : 460;

	if (code == 0 && r->cloud->conf.switches.strict_model)
		code = member_model(r->cloud, r->device, r->params, SHAPE_LIST);
	if (code != 0)
		return code;
	take_member(r, r->device, r->params, SHAPE_LIST);
	return 200;
}
