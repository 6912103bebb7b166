/* down.c - what comes from the platform: messages, commands, upgrades, broadcasts, replies. Control loop, but for the
 * answers. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/command.h"
#include "libcauseway/lib.h"
#include "platform/alink.h"
#include "json/json.h"

static char *text_of(struct cw_bytes b)
{
	return cw_strndup(b.len > 0 ? (const char *)b.ptr : "", b.len);
}

/* An encoded item as JSON text, owned; empty when there is none. NULL without memory. */
static char *json_of(struct cw_bytes item)
{
	char *text;
	size_t len;

	if (item.len == 0)
		return cw_strdup("");
	return cw_json_from_item(item, CW_ALINK_MOST * 2u, &text, &len) < 0 ? NULL : text;
}

/* Kinds that nobody answers: they end as soon as they were taken. */
static int ends_at_once(unsigned kind)
{
	return kind == CW_KIND_RAW_DOWN || kind == CW_KIND_BROADCAST || kind == CW_KIND_OTA_NOTICE ||
	       kind == CW_KIND_SHADOW || kind == CW_KIND_TIME;
}

static void fill_message(struct cw_bridge_message *m, const struct owner *o, const struct cw_device *d,
			 const char *topic, struct cw_bytes payload)
{
	memset(m, 0, sizeof(*m));
	m->size = sizeof(*m);
	m->identity = o->identity;
	m->product_key = cw_device_product_key(d);
	m->device_name = cw_device_name(d);
	m->topic = topic;
	m->payload = payload;
}

static int on_message(struct owner *o, const struct cw_device *d, const struct cw_record *rec)
{
	struct lib *l = o->lib;
	struct cw_bridge_message m;
	struct cw_bytes rest;
	char topic[CW_TOPIC_MAX + 128];
	const char *under = "";

	if (rec->kind == CW_KIND_BROADCAST)
		under = "/broadcast";
	else if (cw_topic_after(rec->name, "thing/", &rest))
		under = "/sys";
	(void)snprintf(topic, sizeof(topic), "%s/%s/%s/%.*s", under, cw_device_product_key(d), cw_device_name(d),
		       (int)rec->name.len, (const char *)rec->name.ptr);
	fill_message(&m, o, d, topic, rec->body);
	if (rec->kind == CW_KIND_BROADCAST)
		return LIB_HAS(l, broadcast) ? l->handler.broadcast(l->ctx, o->user, &m) : CW_EUNSUPPORTED;
	return LIB_HAS(l, message) ? l->handler.message(l->ctx, o->user, &m) : CW_EUNSUPPORTED;
}

static void refuse_upgrade(struct owner *o, const char *module)
{
	/* Without memory the platform learns it when its own patience with the upgrade ends. */
	(void)lib_report_progress(o->lib, o->identity, module, -1, "the device does not take this upgrade");
}

static int on_upgrade(struct owner *o, const struct cw_record *rec)
{
	static const char *const keys[] = { "version", "url", "digest", "method" };
	struct lib *l = o->lib;
	struct cw_bridge_firmware f = { .size = sizeof(f), .identity = o->identity };
	char *text[5] = { text_of(rec->name) };
	const char **to[] = { &f.version, &f.url, &f.sign, &f.sign_method };
	int64_t size = cw_map_int(rec->body, "size", 0);
	int rc = text[0] == NULL ? CW_ENOMEM : 0;
	size_t i;

	f.module = text[0];
	f.bytes = size < 0 ? 0 : (uint64_t)size;
	for (i = 0; i < 4; i++) {
		*to[i] = text[i + 1] = text_of(cw_map_text(rec->body, keys[i]));
		if (text[i + 1] == NULL)
			rc = CW_ENOMEM;
	}
	if (rc == 0)
		rc = LIB_HAS(l, upgrade) ? l->handler.upgrade(l->ctx, o->user, &f) : CW_EUNSUPPORTED;
	if (rc < 0)
		refuse_upgrade(o, text[0]);
	for (i = 0; i < 5; i++)
		cw_free(text[i]);
	return rc;
}

static int on_plain(struct owner *o, uint64_t id, const struct cw_record *rec, uint64_t deadline_ms)
{
	struct lib *l = o->lib;
	struct cw_bridge_command c = {
		.size = sizeof(c),
		.kind = rec->kind,
		.id = id,
		.identity = o->identity,
		.params = rec->body,
		.deadline_ms = deadline_ms,
	};
	char *name, *json;
	int rc;

	if (!LIB_HAS(l, command))
		return CW_EUNSUPPORTED;
	name = text_of(rec->name);
	json = rec->kind == CW_KIND_RRPC ? NULL : json_of(rec->body);
	c.name = name;
	c.json = json;
	rc = name == NULL || (json == NULL && rec->kind != CW_KIND_RRPC) ? CW_ENOMEM
									 : l->handler.command(l->ctx, o->user, &c);
	cw_free(name);
	cw_free(json);
	return rc > 0 ? 0 : rc;
}

/* Its end comes by mail: the bridge is handing it out at this moment. */
struct answer {
	struct cw_mail mail;
	struct lib *lib;
	uint64_t id, delay_ms;
	int32_t code;
	uint8_t *map; /* the reply as an encoded map, NULL: it is none; owned */
	size_t map_len, len;
	uint8_t reply[]; /* as it was given */
};

static struct answer *new_answer(struct lib *l, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct answer *a = cw_zalloc(sizeof(*a) + reply.len);

	if (a == NULL)
		return NULL;
	a->lib = l;
	a->id = id;
	a->code = code;
	a->len = reply.len;
	if (reply.len > 0)
		memcpy(a->reply, reply.ptr, reply.len);
	return a;
}

static void on_answer(struct cw_mail *mail)
{
	struct answer *a = cw_container_of(mail, struct answer, mail);
	uint32_t kind = cw_bridge_command_kind(a->lib->bridge, a->id);
	int as_it_is = kind == CW_KIND_RRPC;

	if (!as_it_is && a->len > 0 && a->map == NULL) /* parameters that nobody could send */
		a->code = CW_CODE_FAILED;
	cw_bridge_command_done(a->lib->bridge, a->id, a->code,
			       as_it_is ? cw_bytes_of(a->reply, a->len) : cw_bytes_of(a->map, a->map_len));
	cw_free(a->map);
	cw_free(a);
}

static void on_extend(struct cw_mail *mail)
{
	struct answer *a = cw_container_of(mail, struct answer, mail);

	cw_bridge_command_extend(a->lib->bridge, a->id, a->delay_ms);
	cw_free(a);
}

int lib_on_command(void *owner, struct cw_device *d, uint64_t id, struct cw_bytes bytes, uint64_t deadline_ms)
{
	struct owner *o = owner;
	struct cw_record rec;
	struct answer *end = NULL;
	int rc;

	if (!cw_record_read(bytes, &rec))
		return CW_EPROTO;
	if (o->device == NULL) /* nobody knows yet that it is online */
		return CW_EOFFLINE;
	if (ends_at_once(rec.kind)) {
		end = new_answer(o->lib, id, CW_CODE_OK, cw_bytes_of(NULL, 0));
		if (end == NULL)
			return CW_ENOMEM;
	}
	if (rec.kind == CW_KIND_RAW_DOWN || rec.kind == CW_KIND_BROADCAST)
		rc = on_message(o, d, &rec);
	else if (rec.kind == CW_KIND_OTA_NOTICE)
		rc = on_upgrade(o, &rec);
	else
		rc = on_plain(o, id, &rec, deadline_ms);
	if (rc < 0) {
		cw_free(end);
		return rc;
	}
	if (end != NULL)
		cw_post(o->lib->control, &end->mail, on_answer);
	return 0;
}

void lib_on_cancel(void *owner, struct cw_device *d, uint64_t id)
{
	struct owner *o = owner;

	if (o->device != NULL && LIB_HAS(o->lib, cancelled))
		o->lib->handler.cancelled(o->lib->ctx, o->user, id);
}

void lib_on_reply(void *owner, struct cw_device *d, const char *request, int code, struct cw_bytes data)
{
	struct owner *o = owner;
	struct cw_bridge_reply r = {
		.size = sizeof(r), .identity = o->identity, .request = request, .code = code, .data = data
	};
	char *json;

	if (o->device == NULL || !LIB_HAS(o->lib, reply))
		return;
	json = json_of(data);
	r.json = json == NULL ? "" : json;
	o->lib->handler.reply(o->lib->ctx, o->user, &r);
	cw_free(json);
}

int lib_on_broadcast(struct cw_bridge *b, const char *product_key, struct cw_bytes bytes)
{
	struct lib *l = cw_bridge_ctx(b);
	struct cw_bridge_message m = { .size = sizeof(m), .product_key = product_key, .device_name = "" };
	char topic[CW_TOPIC_MAX + 128];
	struct cw_record rec;

	if (!LIB_HAS(l, broadcast))
		return CW_EUNSUPPORTED;
	if (!cw_record_read(bytes, &rec))
		return CW_EPROTO;
	(void)snprintf(topic, sizeof(topic), "/broadcast/%s/%.*s", product_key, (int)rec.name.len,
		       (const char *)rec.name.ptr);
	m.topic = topic;
	m.payload = rec.body;
	return l->handler.broadcast(l->ctx, NULL, &m);
}

/* ---- answers: any thread ---------------------------------------------------------------- */

int cw_bridge_answer(struct cw_bridge *b, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct answer *a;
	struct lib *l;
	int rc = 0;

	if (reply.len > CW_ALINK_MOST || (reply.ptr == NULL && reply.len > 0))
		return CW_EINVAL;
	if (lib_enter(b, &l) < 0)
		return CW_ECLOSED;
	a = new_answer(l, id, code, reply);
	if (a != NULL && reply.len > 0)
		rc = lib_params(reply, &a->map, &a->map_len);
	if (a == NULL || rc == CW_ENOMEM) {
		cw_free(a);
		lib_leave(l);
		return CW_ENOMEM;
	}
	cw_post(l->control, &a->mail, on_answer);
	lib_leave(l);
	return 0;
}

int cw_bridge_extend(struct cw_bridge *b, uint64_t id, unsigned delay_ms)
{
	struct answer *a;
	struct lib *l;

	if (lib_enter(b, &l) < 0)
		return CW_ECLOSED;
	a = new_answer(l, id, 0, cw_bytes_of(NULL, 0));
	if (a != NULL) {
		a->delay_ms = delay_ms;
		cw_post(l->control, &a->mail, on_extend);
	}
	lib_leave(l);
	return a == NULL ? CW_ENOMEM : 0;
}
