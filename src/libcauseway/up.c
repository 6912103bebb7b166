/* up.c - publishes and reports: made into records on the caller's thread, handed to the device's lane on the loop. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "causeway/decoder.h"
#include "libcauseway/lib.h"
#include "platform/codes.h"
#include "upstream/message.h"
#include "upstream/parcel.h"
#include "json/json.h"

#define RECORD_ROOM 64u /* heads around names and body */

/* ---- values ---------------------------------------------------------------------------- */

static int is_json(struct cw_bytes text)
{
	return text.len > 0 && (text.ptr[0] == '{' || text.ptr[0] == ' ' || text.ptr[0] == '\t' ||
				text.ptr[0] == '\r' || text.ptr[0] == '\n');
}

int lib_params(struct cw_bytes text, uint8_t **ret_item, size_t *ret_len)
{
	struct cw_reader r = cw_reader_of(text);
	struct cw_item head;
	int rc;

	if (is_json(text)) {
		rc = cw_json_to_item(text, ret_item, ret_len);
		if (rc == 0 && (*ret_item)[0] != 0xbf) {
			cw_free(*ret_item);
			rc = CW_EINVAL;
		}
		if (rc < 0)
			*ret_item = NULL;
		return rc == CW_EPROTO ? CW_EINVAL : rc;
	}
	*ret_item = NULL;
	head = cw_read_item(&r);
	if (head.type != CW_ITEM_MAP || !cw_skip_members(&r, &head, CW_RECORD_DEPTH) || cw_read_left(&r) > 0)
		return CW_EINVAL;
	*ret_item = cw_memdup(text.ptr, text.len);
	*ret_len = text.len;
	return *ret_item == NULL ? CW_ENOMEM : 0;
}

static size_t length(const char *text)
{
	return text == NULL ? 0 : strlen(text);
}

/* ---- the way back -------------------------------------------------------------------------- */

/* By mail, on the loop: the end of a parcel, whether or not its deadline was faster. */
static void on_settled(struct cw_parcel *p)
{
	struct call *c = p->ticket;
	int32_t code = p->code;
	uint8_t result = p->result;

	cw_parcel_unref(p);
	c->flying = 0;
	if (result == CW_SETTLED_DONE)
		lib_call_tell(c, 0, 0, NULL);
	else if (result == CW_SETTLED_REFUSED && code < 0) /* not by the platform: it could not be sent as it is */
		lib_call_tell(c, code, 0, NULL);
	else if (result == CW_SETTLED_REFUSED)
		lib_call_tell(c, CW_EREFUSED, code, cw_code_text(code));
	else
		lib_call_tell(c, CW_ECLOSED, 0,
			      "given up: the device or the bridge went before the platform had confirmed it");
}

static void on_late(struct cw_timer *t)
{
	lib_call_tell(cw_container_of(t, struct call, deadline), CW_ETIMEDOUT, 0,
		      "the platform has not confirmed it in time; it stays queued and may still arrive");
}

/* ---- the loop's half ------------------------------------------------------------------------- */

static struct cw_bytes below(struct cw_bytes rest, const char *product_key, const char *device_name)
{
	struct cw_bytes none = { NULL, 0 };
	size_t np = strlen(product_key), nn = strlen(device_name);

	if (rest.len <= np + nn + 2 || memcmp(rest.ptr, product_key, np) != 0 || rest.ptr[np] != '/' ||
	    memcmp(rest.ptr + np + 1, device_name, nn) != 0 || rest.ptr[np + 1 + nn] != '/')
		return none;
	return cw_bytes_of(rest.ptr + np + nn + 2, rest.len - np - nn - 2);
}

/* The part of a topic below the device; empty when it is not the device's own. */
static struct cw_bytes part_of(const char *topic, const struct cw_device *d)
{
	struct cw_bytes whole = cw_bytes_text(topic), rest;
	int sys = cw_topic_after(whole, "/sys/", &rest);

	if (whole.len == 0 || whole.ptr[0] != '/')
		return whole;
	if (!sys)
		rest = cw_bytes_of(whole.ptr + 1, whole.len - 1);
	rest = below(rest, cw_device_product_key(d), cw_device_name(d));
	return sys && !cw_topic_after(rest, "thing/", &whole) ? cw_bytes_of(NULL, 0) : rest;
}

/* A publish's record could not be made before: only here it is known which topics are the device's. */
static int finish_publish(struct call *c, const struct cw_device *d)
{
	struct cw_bytes name = part_of(c->topic, d);
	struct cw_parcel *body = c->parcel;
	struct cw_parcel *p;
	struct cw_writer w;

	if (name.len == 0)
		return CW_EINVAL;
	p = cw_parcel_new(body->len + name.len + RECORD_ROOM);
	if (p == NULL)
		return CW_ENOMEM;
	w = cw_writer_of(p->bytes, p->len);
	cw_record_begin(&w, CW_KIND_RAW);
	cw_put_uint(&w, 1);
	cw_put_textn(&w, (const char *)name.ptr, name.len);
	cw_record_body_bytes(&w, cw_bytes_of(body->bytes, body->len));
	cw_record_qos(&w, body->qos);
	cw_record_end(&w);
	cw_invariant(!w.overflow);
	p->len = (uint32_t)w.len;
	cw_parcel_unref(body);
	c->parcel = p;
	return 0;
}

static void on_record(struct cw_mail *mail)
{
	struct call *c = cw_container_of(mail, struct call, mail);
	struct owner *o = lib_owner_of(c->lib, c->identity);
	struct cw_parcel *p;
	int rc;

	if (o == NULL) {
		lib_call_tell(c, CW_EOFFLINE, 0, "the device is not online here; cw_bridge_online() comes first");
		return;
	}
	rc = c->topic == NULL ? 0 : finish_publish(c, o->device);
	if (rc < 0) {
		lib_call_tell(c, rc, 0, rc == CW_EINVAL ? "the topic is not one of this device's" : NULL);
		return;
	}
	p = c->parcel;
	p->home = c->lib->control;
	p->device = cw_device_updevice(o->device);
	p->settled = on_settled;
	p->ticket = c;
	p->want_answer = 1;
	p->final_only = 1;
	c->flying = 1;
	c->parcel = NULL;
	if (cw_upstream_submit(p) == CW_EBUSY) {
		c->flying = 0;
		c->parcel = p;
		lib_call_tell(c, CW_EBUSY, 0, "the queues towards the platform are full; nothing was sent");
		return;
	}
	lib_call_arm(c, c->wait.timeout_ms, on_late);
}

/* ---- the caller's half --------------------------------------------------------------------------- */

/* A parcel with room for `len` bytes on a new call; NULL parcel when it is too large. */
static int begin(struct cw_bridge *b, const char *identity, size_t len, const struct cw_bridge_wait *wait,
		 struct lib **ret_lib, struct call **ret_call)
{
	int rc;

	if (len > CW_ALINK_MOST * 4u)
		return CW_ELIMIT;
	rc = lib_enter(b, ret_lib);
	if (rc < 0)
		return rc;
	rc = lib_call(*ret_lib, identity, wait, ret_call);
	if (rc == 0) {
		(*ret_call)->parcel = cw_parcel_new(len);
		if ((*ret_call)->parcel == NULL) {
			lib_call_drop(*ret_call);
			rc = CW_ENOMEM;
		}
	}
	if (rc < 0)
		lib_leave(*ret_lib);
	return rc;
}

static int finish(struct lib *l, struct call *c)
{
	c->parcel->arrival_ms = cw_clock_wall_ms();
	cw_post(l->control, &c->mail, on_record);
	lib_leave(l);
	return 0;
}

static int undo(struct lib *l, struct call *c, int rc)
{
	lib_call_drop(c);
	lib_leave(l);
	return rc;
}

int cw_bridge_publish(struct cw_bridge *b, const char *identity, const char *topic, struct cw_bytes payload, int qos,
		      const struct cw_bridge_wait *wait)
{
	struct call *c;
	struct lib *l;
	int rc;

	if (topic == NULL || topic[0] == '\0' || (qos != 0 && qos != 1) || (payload.ptr == NULL && payload.len > 0))
		return CW_EINVAL;
	if (payload.len > CW_ALINK_MOST || strlen(topic) >= CW_TOPIC_MAX)
		return CW_ELIMIT;
	rc = begin(b, identity, payload.len, wait, &l, &c);
	if (rc < 0)
		return rc;
	c->topic = cw_strdup(topic);
	if (c->topic == NULL)
		return undo(l, c, CW_ENOMEM);
	if (payload.len > 0)
		memcpy(c->parcel->bytes, payload.ptr, payload.len);
	c->parcel->qos = (uint8_t)qos;
	return finish(l, c);
}

int cw_bridge_report(struct cw_bridge *b, const char *identity, struct cw_bytes record,
		     const struct cw_bridge_wait *wait)
{
	struct cw_record rec;
	struct call *c;
	struct lib *l;
	int rc;

	if (!cw_record_read(record, &rec) || rec.request.len >= CW_REQUEST_MOST || rec.kind > CW_KIND_SHADOW_REPORT)
		return CW_EINVAL;
	rc = begin(b, identity, record.len, wait, &l, &c);
	if (rc < 0)
		return rc;
	memcpy(c->parcel->bytes, record.ptr, record.len);
	c->parcel->urgent = (rec.flags & CW_RECORD_URGENT) != 0;
	return finish(l, c);
}

/* A record of a kind whose body is a map. */
struct report {
	uint32_t kind;
	unsigned event_type;
	const char *request, *name;
	struct cw_bytes body; /* an encoded map */
};

static int post_report(struct cw_bridge *b, const char *identity, const struct report *r,
		       const struct cw_bridge_wait *wait)
{
	size_t size = length(r->request) + length(r->name) + r->body.len + RECORD_ROOM;
	uint8_t *bytes;
	struct cw_writer w;
	int rc;

	if (length(r->request) >= CW_REQUEST_MOST)
		return CW_EINVAL;
	bytes = cw_alloc(size);
	if (bytes == NULL)
		return CW_ENOMEM;
	w = cw_writer_of(bytes, size);
	cw_record_begin(&w, r->kind);
	if (length(r->name) > 0) {
		cw_put_uint(&w, 1);
		cw_put_text(&w, r->name);
	}
	if (r->event_type != 0)
		cw_record_event_type(&w, r->event_type);
	if (length(r->request) > 0) {
		cw_put_uint(&w, 6);
		cw_put_text(&w, r->request);
	}
	cw_put_uint(&w, 7);
	cw_write_bytes(&w, r->body);
	cw_record_end(&w);
	rc = cw_bridge_report(b, identity, cw_written(&w), wait);
	cw_free(bytes);
	return rc;
}

static int post_params(struct cw_bridge *b, const char *identity, struct report *r, struct cw_bytes params,
		       const struct cw_bridge_wait *wait)
{
	uint8_t *item;
	size_t len;
	int rc = lib_params(params, &item, &len);

	if (rc < 0)
		return rc;
	r->body = cw_bytes_of(item, len);
	rc = post_report(b, identity, r, wait);
	cw_free(item);
	return rc;
}

int cw_bridge_report_properties(struct cw_bridge *b, const char *identity, const char *request, struct cw_bytes params,
				const struct cw_bridge_wait *wait)
{
	struct report r = { .kind = CW_KIND_PROPERTIES, .request = request };

	return post_params(b, identity, &r, params, wait);
}

int cw_bridge_fire_event(struct cw_bridge *b, const char *identity, const char *request, const char *event, int type,
			 struct cw_bytes params, const struct cw_bridge_wait *wait)
{
	struct report r = { .kind = CW_KIND_EVENT, .request = request, .name = event, .event_type = (unsigned)type };

	if (event == NULL || event[0] == '\0' || type < CW_EVENT_INFO || type > CW_EVENT_ERROR)
		return CW_EINVAL;
	return post_params(b, identity, &r, params.len == 0 ? cw_bytes_text("{}") : params, wait);
}

int cw_bridge_update_tags(struct cw_bridge *b, const char *identity, const char *request, struct cw_bytes params,
			  const struct cw_bridge_wait *wait)
{
	struct report r = { .kind = CW_KIND_TAGS, .request = request };

	return post_params(b, identity, &r, params, wait);
}

/* An upgrade's body: texts, and a step where `step` is not 0. */
static int post_ota(struct cw_bridge *b, const char *identity, struct report *r, const char *key, const char *text,
		    int step, const struct cw_bridge_wait *wait)
{
	size_t size = strlen(text) + RECORD_ROOM;
	uint8_t *bytes = cw_alloc(size);
	struct cw_writer w = cw_writer_of(bytes, size);
	int rc;

	if (bytes == NULL)
		return CW_ENOMEM;
	cw_put_map(&w);
	if (step != 0)
		cw_field_int(&w, "step", step);
	cw_field_text(&w, key, text);
	cw_put_end(&w);
	r->body = cw_written(&w);
	rc = post_report(b, identity, r, wait);
	cw_free(bytes);
	return rc;
}

int cw_bridge_report_ota_version(struct cw_bridge *b, const char *identity, const char *request, const char *module,
				 const char *version, const struct cw_bridge_wait *wait)
{
	struct report r = { .kind = CW_KIND_OTA_VERSION, .request = request, .name = module };

	return version == NULL || version[0] == '\0' ? CW_EINVAL
						     : post_ota(b, identity, &r, "version", version, 0, wait);
}

int cw_bridge_report_ota_progress(struct cw_bridge *b, const char *identity, const char *request, const char *module,
				  int step, const char *desc, const struct cw_bridge_wait *wait)
{
	struct report r = { .kind = CW_KIND_OTA_PROGRESS, .request = request, .name = module };

	if (step < -4 || step == 0 || step > 100)
		return CW_EINVAL;
	return post_ota(b, identity, &r, "desc", desc == NULL ? "" : desc, step, wait);
}

int lib_report_progress(struct lib *l, const char *identity, const char *module, int step, const char *desc)
{
	return cw_bridge_report_ota_progress(l->bridge, identity, NULL, module, step, desc, NULL);
}
