/* alink.c - the way up: records and the gateway's own requests as JSON. The way down is alink_down.c. */
#include "platform/alink.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "platform/sign.h"
#include "json/json.h"

#define MEMBERS_MOST 200 /* properties or tags in one message: the platform refuses more */

/* snprintf() showed: every position has an id. */
static void put_id(struct cw_json *j, uint32_t id)
{
	char text[16];
	size_t n = sizeof(text);

	do
		text[--n] = (char)('0' + id % 10);
	while ((id /= 10) != 0);
	cw_json_text(j, "id");
	cw_json_textn(j, cw_bytes_of(text + n, sizeof(text) - n));
}

/* The envelope up to and including the key `params`. */
static void begin(struct cw_json *j, uint32_t id, const char *method, int version)
{
	cw_json_begin(j, CW_ALINK_MOST);
	cw_json_map(j);
	put_id(j, id);
	if (version) {
		cw_json_field(j, "version", "1.0");
		cw_json_field(j, "method", method);
	}
	cw_json_text(j, "params");
}

static void end(struct cw_json *j, int want_reply)
{
	if (!want_reply) {
		cw_json_text(j, "sys");
		cw_json_map(j);
		cw_json_text(j, "ack");
		cw_json_int(j, 0);
		cw_json_end_map(j);
	}
	cw_json_end_map(j);
}

/* The time of a record as text: it stands behind each of its values. */
struct stamp {
	char digits[24];
	size_t len; /* 0: none */
};

static void make_stamp(struct stamp *s, const struct cw_record *rec)
{
	s->len = rec->has_time ? (size_t)snprintf(s->digits, sizeof(s->digits), "%lld", (long long)rec->time_ms) : 0;
}

/* {"value": ITEM, "time": ms}; the item is the next one of `r`. */
static void put_timed(struct cw_json *j, struct cw_reader *r, const struct stamp *s)
{
	cw_json_map(j);
	cw_json_textn(j, cw_bytes_of("value", 5));
	cw_json_item(j, r);
	if (s->len > 0) {
		cw_json_textn(j, cw_bytes_of("time", 4));
		cw_json_digits(j, s->digits, s->len);
	}
	cw_json_end_map(j);
}

static void put_timed_body(struct cw_json *j, const struct cw_record *rec)
{
	struct cw_reader r = cw_reader_of(rec->body);
	struct stamp s;

	make_stamp(&s, rec);
	put_timed(j, &r, &s);
}

/* Too many are refused here: the platform would drop the message, and without a reply nobody would know. */
static void count_member(struct cw_json *j, int *n)
{
	if (++*n > MEMBERS_MOST && j->error == 0)
		j->error = CW_ELIMIT;
}

static void put_properties(struct cw_json *j, const struct cw_record *rec)
{
	struct cw_reader r = cw_reader_of(rec->body);
	struct cw_item map = cw_read_item(&r);
	struct stamp stamp;
	int n = 0;

	make_stamp(&stamp, rec);
	cw_json_map(j);
	while (j->error == 0 && cw_item_more(&r, &map)) {
		struct cw_item key = cw_read_item(&r);

		count_member(j, &n);
		(void)cw_item_more(&r, &map);
		cw_json_textn(j, key.s);
		if (rec->has_time)
			put_timed(j, &r, &stamp);
		else
			cw_json_item(j, &r);
	}
	cw_json_end_map(j);
}

/* One reading of one device in the form of a history post: its time never moves the live state backwards. */
static void put_history(struct cw_json *j, const struct cw_record *rec, const char *pk, const char *dn)
{
	cw_json_array(j);
	cw_json_map(j);
	cw_json_text(j, "identity");
	cw_json_map(j);
	cw_json_field(j, "productKey", pk);
	cw_json_field(j, "deviceName", dn);
	cw_json_end_map(j);
	cw_json_text(j, rec->kind == CW_KIND_EVENT ? "events" : "properties");
	cw_json_array(j);
	if (rec->kind == CW_KIND_EVENT) {
		cw_json_map(j);
		cw_json_textn(j, rec->name);
		put_timed_body(j, rec);
		cw_json_end_map(j);
	} else {
		put_properties(j, rec);
	}
	cw_json_end_array(j);
	cw_json_end_map(j);
	cw_json_end_array(j);
}

/* Tag values are text at the platform; numbers go as their digits. */
static void put_tag_value(struct cw_json *j, struct cw_reader *r)
{
	struct cw_bytes item = cw_read_whole_item(r);
	struct cw_reader one = cw_reader_of(item);
	struct cw_item head = cw_read_item(&one);
	char *text;
	size_t len;
	int rc;

	if (head.type == CW_ITEM_TEXT) {
		cw_json_textn(j, head.s);
		return;
	}
	rc = cw_json_from_item(item, CW_ALINK_MOST, &text, &len);
	if (rc < 0) {
		if (j->error == 0)
			j->error = rc;
		return;
	}
	cw_json_textn(j, cw_bytes_of(text, len));
	cw_free(text);
}

static void put_tags(struct cw_json *j, const struct cw_record *rec)
{
	struct cw_reader r = cw_reader_of(rec->body);
	struct cw_item map = cw_read_item(&r);
	int n = 0;

	cw_json_array(j);
	while (cw_item_more(&r, &map)) {
		struct cw_item key = cw_read_item(&r);

		count_member(j, &n);
		(void)cw_item_more(&r, &map);
		cw_json_map(j);
		cw_json_text(j, "attrKey");
		cw_json_textn(j, key.s);
		cw_json_text(j, "attrValue");
		put_tag_value(j, &r);
		cw_json_end_map(j);
	}
	cw_json_end_array(j);
}

static int build_raw(const struct cw_record *rec, const char *pk, const char *dn, struct cw_alink_post *ret)
{
	int rc = cw_topic_raw(ret->topic, pk, dn, rec->name);

	if (rc < 0)
		return rc;
	if (rec->body.len > CW_ALINK_MOST)
		return CW_ELIMIT;
	ret->payload = cw_memdup(rec->body.ptr, rec->body.len);
	ret->len = rec->body.len;
	ret->qos = rec->qos;
	ret->replies = 0;
	return ret->payload == NULL ? CW_ENOMEM : 0;
}

static void put_step(struct cw_json *j, struct cw_bytes body)
{
	struct cw_bytes desc = cw_map_text(body, "desc");
	char step[24];

	(void)snprintf(step, sizeof(step), "%lld", (long long)cw_map_int(body, "step", 0));
	cw_json_field(j, "step", step); /* text by the platform's rule */
	cw_json_text(j, "desc");
	cw_json_textn(j, desc);
}

static int build_ota(const struct cw_record *rec, const char *pk, const char *dn, uint32_t id,
		     struct cw_alink_post *ret)
{
	const char *what = rec->kind == CW_KIND_OTA_VERSION ? "inform" : "progress";
	struct cw_json j;
	int n = snprintf(ret->topic, sizeof(ret->topic), "/ota/device/%s/%s/%s", what, pk, dn);

	if (n < 0 || (size_t)n >= sizeof(ret->topic))
		return CW_ELIMIT;
	begin(&j, id, "", 0);
	cw_json_map(&j);
	if (rec->kind == CW_KIND_OTA_VERSION) {
		cw_json_text(&j, "version");
		cw_json_textn(&j, cw_map_text(rec->body, "version"));
	} else {
		put_step(&j, rec->body);
	}
	if (rec->name.len > 0) {
		cw_json_text(&j, "module");
		cw_json_textn(&j, rec->name);
	}
	cw_json_end_map(&j);
	end(&j, 1);
	ret->replies = 0;
	return cw_json_finish(&j, &ret->payload, &ret->len);
}

/*
 * The platform takes a report whose version is above the stored one. Which that is nobody here knows after a restart, so
 * time counts it: an application that goes on from a version it has read stays below the next report.
 */
static int64_t shadow_version(uint32_t id, const struct cw_alink_options *options)
{
	return options->arrival_ms * 1024 + (id & 1023);
}

/* No Alink envelope: a language of its own, answered on a topic of its own and without an id. */
static int build_shadow(const struct cw_record *rec, const char *pk, const char *dn, uint32_t id,
			const struct cw_alink_options *options, struct cw_alink_post *ret)
{
	struct cw_bytes body = rec->body;
	struct cw_reader r = cw_reader_of(body);
	struct cw_item map = cw_read_item(&r);
	struct cw_json j;
	int n = snprintf(ret->topic, sizeof(ret->topic), "/shadow/update/%s/%s", pk, dn);
	int reports = body.len > 0 && cw_item_more(&r, &map);

	if (n < 0 || (size_t)n >= sizeof(ret->topic))
		return CW_ELIMIT;
	cw_json_begin(&j, CW_ALINK_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "method", reports ? "update" : "get");
	if (reports) {
		cw_json_text(&j, "state");
		cw_json_map(&j);
		cw_json_text(&j, "reported");
		cw_json_encoded(&j, body);
		cw_json_end_map(&j);
		cw_json_text(&j, "version");
		cw_json_int(&j, shadow_version(id, options));
	}
	cw_json_end_map(&j);
	ret->replies = 0;
	return cw_json_finish(&j, &ret->payload, &ret->len);
}

/* `thing/...` below the device, and the method that follows from it. */
static int name_message(const struct cw_record *rec, char *out, size_t size)
{
	static const char post[] = "thing/event/property/post";
	int n;

	if (rec->kind == CW_KIND_PROPERTIES && (rec->flags & CW_RECORD_REPLAY) == 0) {
		memcpy(out, post, sizeof(post)); /* nearly all */
		return 0;
	}
	if ((rec->flags & CW_RECORD_REPLAY) != 0 && rec->kind != CW_KIND_TAGS)
		n = snprintf(out, size, "thing/event/property/history/post");
	else if (rec->kind == CW_KIND_EVENT)
		n = snprintf(out, size, "thing/event/%.*s/post", (int)rec->name.len, (const char *)rec->name.ptr);
	else
		n = snprintf(out, size, "%s",
			     rec->kind == CW_KIND_TAGS ? "thing/deviceinfo/update" : post);
	return n < 0 || (size_t)n >= size ? CW_ELIMIT : 0;
}

static int build_thing(const struct cw_record *rec, const char *pk, const char *dn, uint32_t id,
		       const struct cw_alink_options *options, struct cw_alink_post *ret)
{
	char name[160], method[160], *dot;
	struct cw_json j;
	int rc = name_message(rec, name, sizeof(name));

	if (rc == 0) /* the same rules as for raw topics: no empty level, no wildcard */
		rc = cw_topic_raw(ret->topic, pk, dn, cw_bytes_text(name));
	if (rc < 0)
		return rc;
	(void)snprintf(method, options->version ? sizeof(method) : 1, "%s", name);
	for (dot = method; *dot != '\0'; dot++)
		if (*dot == '/')
			*dot = '.';
	begin(&j, id, method, options->version);
	if ((rec->flags & CW_RECORD_REPLAY) != 0 && rec->kind != CW_KIND_TAGS)
		put_history(&j, rec, pk, dn);
	else if (rec->kind == CW_KIND_EVENT)
		put_timed_body(&j, rec);
	else if (rec->kind == CW_KIND_TAGS)
		put_tags(&j, rec);
	else
		put_properties(&j, rec);
	end(&j, options->want_reply);
	ret->replies = 1;
	return cw_json_finish(&j, &ret->payload, &ret->len);
}

int cw_alink_record(const struct cw_record *rec, const char *pk, const char *dn, uint32_t id,
		    const struct cw_alink_options *options, struct cw_alink_post *ret)
{
	ret->payload = NULL;
	ret->qos = options->qos;
	switch (rec->kind) {
	case CW_KIND_PROPERTIES:
	case CW_KIND_TAGS:
	case CW_KIND_EVENT: return rec->body.len == 0 ? CW_EPROTO : build_thing(rec, pk, dn, id, options, ret);
	case CW_KIND_RAW: return build_raw(rec, pk, dn, ret);
	case CW_KIND_OTA_VERSION:
	case CW_KIND_OTA_PROGRESS: return build_ota(rec, pk, dn, id, ret);
	case CW_KIND_SHADOW_REPORT: return build_shadow(rec, pk, dn, id, options, ret);
	default: return CW_EUNSUPPORTED;
	}
}

static void put_member(struct cw_json *j, const struct cw_alink_member *m)
{
	const struct cw_record *rec = m->rec;

	cw_json_map(j);
	cw_json_text(j, "identity");
	cw_json_map(j);
	cw_json_field(j, "productKey", m->product_key);
	cw_json_field(j, "deviceName", m->device_name);
	cw_json_end_map(j);
	if (rec->kind == CW_KIND_EVENT) {
		cw_json_text(j, "events");
		cw_json_map(j);
		cw_json_textn(j, rec->name);
		put_timed_body(j, rec);
		cw_json_end_map(j);
	} else {
		cw_json_text(j, "properties");
		put_properties(j, rec);
	}
	cw_json_end_map(j);
}

int cw_alink_pack(uint32_t id, const char *pk, const char *dn, const struct cw_alink_member *members, size_t count,
		  const struct cw_alink_options *options, struct cw_alink_post *ret)
{
	struct cw_json j;
	size_t i;
	int rc = cw_topic_sys(ret->topic, pk, dn, "thing/event/property/pack/post");

	ret->payload = NULL;
	ret->qos = options->qos;
	ret->replies = 1;
	if (rc < 0)
		return rc;
	begin(&j, id, "thing.event.property.pack.post", options->version);
	cw_json_map(&j);
	cw_json_text(&j, "subDevices");
	cw_json_array(&j);
	for (i = 0; i < count; i++)
		put_member(&j, &members[i]);
	cw_json_end_array(&j);
	cw_json_end_map(&j);
	end(&j, options->want_reply);
	return cw_json_finish(&j, &ret->payload, &ret->len);
}

/* Members of a sub-device in topology add (`signmethod`) and login (`signMethod`, cleanSession). */
static void put_sub(struct cw_json *j, const struct cw_alink_sub *sub, int64_t utc_ms, int login)
{
	struct cw_sign_sub s;
	int rc = cw_sign_sub(&s, CW_SIGN_SHA256, sub->product_key, sub->device_name, sub->secret, utc_ms);

	if (rc < 0) {
		j->error = rc;
		return;
	}
	cw_json_map(j);
	cw_json_field(j, "productKey", sub->product_key);
	cw_json_field(j, "deviceName", sub->device_name);
	cw_json_field(j, "clientId", s.client_id);
	cw_json_field(j, "timestamp", s.timestamp);
	cw_json_field(j, login ? "signMethod" : "signmethod", "hmacSha256");
	cw_json_field(j, "sign", s.sign);
	if (login)
		cw_json_field(j, "cleanSession", "false"); /* what was sent while it was away is wanted */
	cw_json_end_map(j);
}

int cw_alink_topo_add(uint32_t id, const struct cw_alink_sub *subs, size_t count, int64_t utc_ms, char **ret_text,
		      size_t *ret_len)
{
	struct cw_json j;
	size_t i;

	begin(&j, id, "thing.topo.add", 1);
	cw_json_array(&j);
	for (i = 0; i < count; i++)
		put_sub(&j, &subs[i], utc_ms, 0);
	cw_json_end_array(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_topo_delete(uint32_t id, const struct cw_alink_sub *sub, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	begin(&j, id, "thing.topo.delete", 1);
	cw_json_array(&j);
	cw_json_map(&j);
	cw_json_field(&j, "productKey", sub->product_key);
	cw_json_field(&j, "deviceName", sub->device_name);
	cw_json_end_map(&j);
	cw_json_end_array(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_login(uint32_t id, const struct cw_alink_sub *sub, int64_t utc_ms, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	begin(&j, id, "", 0);
	put_sub(&j, sub, utc_ms, 1);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_batch_login(uint32_t id, const struct cw_alink_sub *subs, size_t count, int64_t utc_ms, char **ret_text,
			 size_t *ret_len)
{
	struct cw_json j;
	size_t i;

	begin(&j, id, "", 0);
	cw_json_map(&j);
	cw_json_text(&j, "deviceList");
	cw_json_array(&j);
	for (i = 0; i < count; i++)
		put_sub(&j, &subs[i], utc_ms, 1);
	cw_json_end_array(&j);
	cw_json_end_map(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

static void put_names(struct cw_json *j, const struct cw_alink_sub *sub)
{
	cw_json_map(j);
	cw_json_field(j, "productKey", sub->product_key);
	cw_json_field(j, "deviceName", sub->device_name);
	cw_json_end_map(j);
}

int cw_alink_batch_logout(uint32_t id, const struct cw_alink_sub *subs, size_t count, char **ret_text, size_t *ret_len)
{
	struct cw_json j;
	size_t i;

	begin(&j, id, "", 0);
	cw_json_array(&j); /* unlike batch login, which holds a deviceList */
	for (i = 0; i < count; i++)
		put_names(&j, &subs[i]);
	cw_json_end_array(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_logout(uint32_t id, const struct cw_alink_sub *sub, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	begin(&j, id, "", 0);
	put_names(&j, sub);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_sub_register(uint32_t id, const struct cw_alink_sub *sub, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	begin(&j, id, "thing.sub.register", 1);
	cw_json_array(&j);
	put_names(&j, sub);
	cw_json_end_array(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_product_register(uint32_t id, const struct cw_alink_sub *sub, const char *random, char **ret_text,
			      size_t *ret_len)
{
	char content[320], sign[CW_SIGN_HEX_MAX];
	struct cw_json j;
	int rc = cw_sign_content_register(content, sizeof(content), sub->device_name, sub->product_key, random);

	if (rc == 0)
		rc = cw_sign_hmac(CW_SIGN_SHA256, sub->secret, content, sign);
	if (rc < 0)
		return rc;
	begin(&j, id, "thing.proxy.provisioning.product_register", 1);
	cw_json_map(&j);
	cw_json_text(&j, "proxieds");
	cw_json_array(&j);
	cw_json_map(&j);
	cw_json_field(&j, "productKey", sub->product_key);
	cw_json_field(&j, "deviceName", sub->device_name);
	cw_json_field(&j, "random", random);
	cw_json_field(&j, "signMethod", "hmacSha256");
	cw_json_field(&j, "sign", sign);
	cw_json_end_map(&j);
	cw_json_end_array(&j);
	cw_json_end_map(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_log_post(uint32_t id, const struct cw_alink_log_line *lines, size_t count, char **ret_text, size_t *ret_len)
{
	struct cw_json j;
	size_t i;

	begin(&j, id, "thing.log.post", 1);
	cw_json_array(&j);
	for (i = 0; i < count; i++) {
		char level[8];
		size_t k;

		for (k = 0; k + 1 < sizeof(level) && lines[i].level[k] != '\0'; k++)
			level[k] = (char)toupper((unsigned char)lines[i].level[k]);
		level[k] = '\0';
		cw_json_map(&j);
		cw_json_field(&j, "utcTime", lines[i].utc_time);
		cw_json_field(&j, "logLevel", level);
		cw_json_field(&j, "module", "causeway");
		cw_json_field(&j, "code", lines[i].code);
		cw_json_field(&j, "traceContext", "");
		cw_json_field(&j, "logContent", lines[i].content);
		cw_json_end_map(&j);
	}
	cw_json_end_array(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_config_get(uint32_t id, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	begin(&j, id, "thing.config.get", 1);
	cw_json_map(&j);
	cw_json_field(&j, "configScope", "product");
	cw_json_field(&j, "getType", "file");
	cw_json_end_map(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_alink_log_config_get(uint32_t id, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	begin(&j, id, "thing.config.log.get", 1);
	cw_json_map(&j);
	cw_json_field(&j, "configScope", "device");
	cw_json_field(&j, "getType", "content");
	cw_json_end_map(&j);
	end(&j, 1);
	return cw_json_finish(&j, ret_text, ret_len);
}
