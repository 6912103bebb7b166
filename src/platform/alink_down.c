/* alink_down.c - the way down: replies and commands taken apart, answers made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "platform/alink.h"
#include "json/json.h"

#define RRPC_DEADLINE_MS 8000u

/* Text, or a number as its digits; 0 when neither or too long. */
static int take_text(struct cw_item it, char *out, size_t size)
{
	int n;

	if (it.type == CW_ITEM_INT)
		n = snprintf(out, size, "%lld", (long long)it.i);
	else if (it.type == CW_ITEM_TEXT && memchr(it.s.len > 0 ? (const char *)it.s.ptr : "", 0, it.s.len) == NULL)
		n = snprintf(out, size, "%.*s", (int)it.s.len, (const char *)it.s.ptr);
	else
		return 0;
	return n >= 0 && (size_t)n < size;
}

/* A number that may be written as text: ids and codes come both ways. */
static int take_number(struct cw_item it, int64_t least, int64_t most, int64_t *ret)
{
	char text[24], *stop;
	long long v;

	if (!take_text(it, text, sizeof(text)) || text[0] == '\0' || text[0] == ' ')
		return 0;
	v = strtoll(text, &stop, 10);
	if (*stop != '\0' || v < least || v > most)
		return 0;
	*ret = v;
	return 1;
}

int cw_alink_reply(struct cw_bytes payload, struct cw_alink_reply *ret)
{
	struct cw_bytes map;
	int64_t v;
	int rc;

	memset(ret, 0, sizeof(*ret));
	ret->code = CW_ALINK_CODE_NONE;
	rc = cw_json_to_item(payload, &ret->item, &ret->item_len);
	if (rc < 0)
		return rc == CW_ENOMEM ? rc : CW_EPROTO;
	map = cw_bytes_of(ret->item, ret->item_len);
	if (map.ptr[0] != 0xbf) {
		cw_alink_reply_drop(ret);
		return CW_EPROTO;
	}
	ret->has_id = take_number(cw_map_item(map, "id"), 0, UINT32_MAX, &v);
	if (ret->has_id)
		ret->id = (uint32_t)v;
	if (take_number(cw_map_item(map, "code"), INT32_MIN, INT32_MAX, &v))
		ret->code = (int32_t)v;
	(void)take_text(cw_map_item(map, "message"), ret->message, sizeof(ret->message));
	ret->data = cw_map_get(map, "data");
	ret->params = cw_map_get(map, "params");
	return 0;
}

void cw_alink_reply_drop(struct cw_alink_reply *r)
{
	cw_free(r->item);
	r->item = NULL;
}

int cw_alink_time(struct cw_bytes payload, int64_t *ret_sent, int64_t *ret_received, int64_t *ret_answered)
{
	struct cw_alink_reply r;
	struct cw_bytes map;
	int rc = cw_alink_reply(payload, &r);

	if (rc < 0)
		return rc;
	map = cw_bytes_of(r.item, r.item_len);
	if (!take_number(cw_map_item(map, "deviceSendTime"), 0, INT64_MAX / 4, ret_sent) ||
	    !take_number(cw_map_item(map, "serverRecvTime"), 0, INT64_MAX / 4, ret_received) ||
	    !take_number(cw_map_item(map, "serverSendTime"), 0, INT64_MAX / 4, ret_answered))
		rc = CW_EPROTO;
	cw_alink_reply_drop(&r);
	return rc;
}

static int same_text(struct cw_bytes a, const char *b)
{
	return a.len == strlen(b) && memcmp(a.ptr, b, a.len) == 0;
}

/* The entry of an array of {productKey, deviceName, ..} for this device; empty: none. */
static struct cw_bytes entry_of(struct cw_bytes array, const char *pk, const char *dn)
{
	struct cw_reader r = cw_reader_of(array);
	struct cw_item list = cw_read_item(&r);

	if (array.len == 0 || list.type != CW_ITEM_ARRAY)
		return cw_bytes_of(NULL, 0);
	while (cw_item_more(&r, &list)) {
		struct cw_bytes one = cw_read_whole_item(&r);

		if (same_text(cw_map_text(one, "productKey"), pk) && same_text(cw_map_text(one, "deviceName"), dn))
			return one;
	}
	return cw_bytes_of(NULL, 0);
}

int cw_alink_registered(const struct cw_alink_reply *r, const char *pk, const char *dn, struct cw_bytes *ret_secret,
			int32_t *ret_code)
{
	struct cw_bytes good = cw_map_get(r->data, "successes"), bad;
	int64_t v;

	*ret_code = r->code;
	if (r->code != 200)
		return r->code == CW_ALINK_CODE_NONE ? CW_EPROTO : CW_EREFUSED;
	bad = entry_of(cw_map_get(r->data, "failures"), pk, dn);
	if (bad.len > 0) {
		if (take_number(cw_map_item(cw_map_get(bad, "errorDetail"), "code"), INT32_MIN, INT32_MAX, &v))
			*ret_code = (int32_t)v;
		return CW_EREFUSED;
	}
	*ret_secret = cw_map_text(entry_of(good.len > 0 ? good : r->data, pk, dn), "deviceSecret");
	return ret_secret->len == 0 ? CW_EPROTO : 0;
}

/* Begin the record of a command with room for `room` bytes of names and body. */
static int begin_record(struct cw_alink_command *c, struct cw_writer *w, uint32_t kind, struct cw_bytes name,
			size_t room)
{
	size_t size = room + name.len + 64;

	c->record = cw_alloc(size);
	if (c->record == NULL)
		return CW_ENOMEM;
	c->kind = kind;
	*w = cw_writer_of(c->record, size);
	cw_record_begin(w, kind);
	if (name.len > 0) {
		cw_put_uint(w, 1);
		cw_put_textn(w, (const char *)name.ptr, name.len);
	}
	return 0;
}

static int end_record(struct cw_alink_command *c, struct cw_writer *w)
{
	struct cw_record check;

	cw_record_end(w);
	c->len = w->len;
	if (!w->overflow && cw_record_read(cw_written(w), &check))
		return 0;
	cw_free(c->record); /* a name that is not UTF-8 or a body that nests too deep */
	c->record = NULL;
	return CW_EPROTO;
}

static int record_of_bytes(struct cw_alink_command *c, uint32_t kind, struct cw_bytes name, struct cw_bytes body)
{
	struct cw_writer w;
	int rc = begin_record(c, &w, kind, name, body.len);

	if (rc < 0)
		return rc;
	cw_record_body_bytes(&w, body);
	return end_record(c, &w);
}

/* `body` is an encoded map, or empty. */
static int record_of_map(struct cw_alink_command *c, uint32_t kind, struct cw_bytes name, struct cw_bytes body)
{
	struct cw_writer w;
	int rc;

	if (body.len > 0 && body.ptr[0] != 0xbf)
		return CW_EPROTO;
	rc = begin_record(c, &w, kind, name, body.len);
	if (rc < 0)
		return rc;
	cw_put_uint(&w, 7);
	if (body.len > 0) {
		cw_write_bytes(&w, body);
	} else {
		cw_put_map(&w);
		cw_put_end(&w);
	}
	return end_record(c, &w);
}

/* Legacy property get: an array of identifiers. */
static int record_of_get(struct cw_alink_command *c, struct cw_bytes params)
{
	struct cw_writer w;
	int rc;

	if (params.len == 0 || params.ptr[0] != 0x9f)
		return CW_EPROTO;
	rc = begin_record(c, &w, CW_KIND_PROPERTY_GET, cw_bytes_of(NULL, 0), params.len + 16);
	if (rc < 0)
		return rc;
	cw_record_body(&w);
	cw_put_text(&w, "identifiers");
	cw_write_bytes(&w, params);
	cw_put_end(&w);
	return end_record(c, &w);
}

static int take_service(struct cw_alink_command *c, struct cw_bytes name, struct cw_bytes params)
{
	c->wants_answer = 1;
	if (name.len == 0)
		return CW_EUNSUPPORTED;
	if (cw_topic_is(name, "property/set") || cw_topic_is(name, "property.set"))
		return record_of_map(c, CW_KIND_PROPERTY_SET, cw_bytes_of(NULL, 0), params);
	if (cw_topic_is(name, "property/get") || cw_topic_is(name, "property.get"))
		return record_of_get(c, params);
	if (memchr(name.ptr, '/', name.len) != NULL)
		return CW_EUNSUPPORTED;
	return record_of_map(c, CW_KIND_SERVICE, name, params);
}

static void copy_field(struct cw_writer *w, const char *key, struct cw_bytes item)
{
	if (item.len == 0)
		return;
	cw_put_text(w, key);
	cw_write_bytes(w, item);
}

static struct cw_bytes either(struct cw_bytes a, struct cw_bytes b)
{
	return a.len > 0 ? a : b;
}

static int take_ota(struct cw_alink_command *c, const struct cw_alink_reply *msg)
{
	struct cw_bytes data = msg->data;
	struct cw_writer w;
	int rc;

	if (data.len == 0 || data.ptr[0] != 0xbf)
		return CW_EPROTO;
	rc = begin_record(c, &w, CW_KIND_OTA_NOTICE, cw_map_text(data, "module"), data.len + 64);
	if (rc < 0)
		return rc;
	cw_record_body(&w);
	copy_field(&w, "version", cw_map_get(data, "version"));
	copy_field(&w, "size", cw_map_get(data, "size"));
	copy_field(&w, "digest", either(cw_map_get(data, "sign"), cw_map_get(data, "md5")));
	copy_field(&w, "method", cw_map_get(data, "signMethod"));
	copy_field(&w, "url", cw_map_get(data, "url"));
	copy_field(&w, "extra", cw_map_get(data, "extData"));
	cw_put_end(&w);
	return end_record(c, &w);
}

/* What is desired: pushed, or the answer to a device that asked for its shadow. */
static int take_shadow(struct cw_alink_command *c, struct cw_bytes map)
{
	struct cw_bytes state = cw_map_get(cw_map_get(map, "payload"), "state");

	if (!cw_topic_is(cw_map_text(map, "method"), "control") && state.len == 0)
		return CW_ENOENT; /* a report was taken, or not: cw_alink_shadow_refused() tells */
	return record_of_map(c, CW_KIND_SHADOW, cw_bytes_of(NULL, 0), cw_map_get(state, "desired"));
}

int cw_alink_shadow_refused(struct cw_bytes payload, int32_t *ret_code, char *text, size_t size)
{
	struct cw_bytes content, why;
	struct cw_alink_reply r;
	int64_t code = CW_ALINK_CODE_NONE;
	int refused;

	if (cw_alink_reply(payload, &r) < 0)
		return 0;
	content = cw_map_get(cw_bytes_of(r.item, r.item_len), "payload");
	refused = cw_topic_is(cw_map_text(content, "status"), "error");
	content = cw_map_get(content, "content");
	(void)take_number(cw_map_item(content, "errorcode"), INT32_MIN, INT32_MAX, &code);
	why = cw_map_text(content, "errormessage");
	(void)snprintf(text, size, "%.*s", (int)why.len, (const char *)why.ptr);
	*ret_code = (int32_t)code;
	cw_alink_reply_drop(&r);
	return refused;
}

/* The answer to a device that asked for its configuration, as if it had been pushed; nothing goes back. */
static int take_config(struct cw_alink_command *c, const struct cw_alink_reply *msg)
{
	if (msg->code != 200)
		return CW_ENOENT;
	c->wants_answer = 0;
	return record_of_map(c, CW_KIND_CONFIG, cw_bytes_of(NULL, 0), msg->data);
}

static int reply_topic(struct cw_alink_command *c, struct cw_bytes topic, const char *tail)
{
	int n = snprintf(c->answer_topic, sizeof(c->answer_topic), "%.*s%s", (int)topic.len, (const char *)topic.ptr,
			 tail);

	return n < 0 || (size_t)n >= sizeof(c->answer_topic) ? CW_EPROTO : 0;
}

static int take_sys(struct cw_alink_command *c, const struct cw_topic *t, struct cw_bytes topic,
		    const struct cw_alink_reply *msg)
{
	static const struct {
		const char *rest;
		uint32_t kind;
	} plain[] = {
		{ "thing/config/push", CW_KIND_CONFIG },
		{ "thing/enable", CW_KIND_ENABLE },
		{ "thing/disable", CW_KIND_DISABLE },
		{ "thing/delete", CW_KIND_DELETE },
	};
	struct cw_bytes name;
	size_t i;
	int rc;

	if (msg == NULL)
		return CW_EPROTO;
	rc = reply_topic(c, topic, "_reply");
	if (rc < 0)
		return rc;
	if (cw_topic_after(t->rest, "thing/service/", &name))
		return take_service(c, name, msg->params);
	if (cw_topic_is(t->rest, CW_TOPIC_CONFIG_REPLY))
		return take_config(c, msg);
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (!cw_topic_is(t->rest, plain[i].rest))
			continue;
		c->wants_answer = 1;
		return record_of_map(c, plain[i].kind, cw_bytes_of(NULL, 0),
				     plain[i].kind == CW_KIND_CONFIG ? msg->params : cw_bytes_of(NULL, 0));
	}
	return CW_EUNSUPPORTED;
}

/* A call that waits at most 8 s. A service if it looks like one, else the caller's bytes. */
static int take_rrpc(struct cw_alink_command *c, const struct cw_topic *t, struct cw_bytes topic,
		     struct cw_bytes payload, const struct cw_alink_reply *msg, struct cw_bytes method)
{
	struct cw_bytes name = cw_bytes_of(NULL, 0), service;
	int n, rc;

	c->deadline_ms = RRPC_DEADLINE_MS;
	if (t->kind == CW_TOPIC_EXT_RRPC) {
		rc = reply_topic(c, topic, "");
		name = t->rest;
	} else {
		n = snprintf(c->answer_topic, sizeof(c->answer_topic), "/sys/%.*s/%.*s/rrpc/response/%.*s",
			     (int)t->pk.len, (const char *)t->pk.ptr, (int)t->dn.len, (const char *)t->dn.ptr,
			     (int)t->id.len, (const char *)t->id.ptr);
		rc = n < 0 || (size_t)n >= sizeof(c->answer_topic) ? CW_EPROTO : 0;
	}
	if (rc < 0)
		return rc;
	if (msg != NULL && cw_topic_after(name, "thing/service/", &service))
		return take_service(c, service, msg->params);
	if (msg != NULL && name.len == 0 && cw_topic_after(method, "thing.service.", &service))
		return take_service(c, service, msg->params);
	c->wants_answer = 1;
	n = snprintf(c->request, sizeof(c->request), "%.*s", (int)t->id.len, (const char *)t->id.ptr);
	return n < 0 || (size_t)n >= sizeof(c->request) ? CW_EPROTO : record_of_bytes(c, CW_KIND_RRPC, name, payload);
}

static int take_command(struct cw_alink_command *c, const struct cw_topic *t, struct cw_bytes topic,
			struct cw_bytes payload, const struct cw_alink_reply *msg, struct cw_bytes map)
{
	switch (t->kind) {
	case CW_TOPIC_SYS: return take_sys(c, t, topic, msg);
	case CW_TOPIC_RRPC:
	case CW_TOPIC_EXT_RRPC: return take_rrpc(c, t, topic, payload, msg, cw_map_text(map, "method"));
	case CW_TOPIC_OTA_UPGRADE: return msg == NULL ? CW_EPROTO : take_ota(c, msg);
	case CW_TOPIC_SHADOW_GET: return msg == NULL ? CW_EPROTO : take_shadow(c, map);
	default: return CW_EUNSUPPORTED;
	}
}

int cw_alink_command(const struct cw_topic *t, struct cw_bytes topic, struct cw_bytes payload,
		     struct cw_alink_command *ret)
{
	struct cw_bytes map = cw_bytes_of(NULL, 0);
	struct cw_alink_reply msg;
	int rc, json;

	memset(ret, 0, sizeof(*ret));
	if (t->kind == CW_TOPIC_USER)
		return record_of_bytes(ret, CW_KIND_RAW_DOWN, t->rest, payload);
	if (t->kind == CW_TOPIC_SYS && cw_topic_is(t->rest, "thing/model/down_raw"))
		return record_of_bytes(ret, CW_KIND_RAW_DOWN, t->rest, payload);
	if (t->kind == CW_TOPIC_BROADCAST)
		return record_of_bytes(ret, CW_KIND_BROADCAST, t->rest, payload);
	rc = cw_alink_reply(payload, &msg);
	if (rc == CW_ENOMEM)
		return rc;
	json = rc == 0;
	if (json) {
		map = cw_bytes_of(msg.item, msg.item_len);
		if (!take_text(cw_map_item(map, "id"), ret->request, sizeof(ret->request)))
			ret->request[0] = '\0';
	}
	rc = take_command(ret, t, topic, payload, json ? &msg : NULL, map);
	if (json)
		cw_alink_reply_drop(&msg);
	return rc;
}

int cw_alink_answer(const char *request, int32_t code, struct cw_bytes reply, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	cw_json_begin(&j, CW_ALINK_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "id", request);
	cw_json_text(&j, "code");
	cw_json_int(&j, code);
	cw_json_text(&j, "data");
	if (reply.len > 0) {
		cw_json_encoded(&j, reply);
	} else {
		cw_json_map(&j);
		cw_json_end_map(&j);
	}
	cw_json_end_map(&j);
	return cw_json_finish(&j, ret_text, ret_len);
}
