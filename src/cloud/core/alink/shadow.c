/* shadow.c - see shadow.h. */
#include "cloud/core/alink/shadow.h"

#include <stdio.h>
#include <string.h>

#include "cloud/core/fault/delay.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/parse.h"
#include "cloud/core/traffic/violations.h"


static const char *error_text(int code)
{
	switch (code) {
	case 400: return "not a JSON object within 16 KB and five levels";
	case 401: return "method is missing";
	case 402: return "state is missing";
	case 403: return "version is not a number";
	case 404: return "reported is missing";
	case 405: return "reported is empty";
	case 406: return "method is unknown";
	case 407: return "the shadow is empty";
	case 408: return "more than 128 attributes";
	case 409: return "version is not larger than the stored one";
	case 429: return "too many requests";
	default: return "server error";
	}
}

static int is_null(const json_t *j)
{
	return json_is_null(j) || (json_is_string(j) && strcmp(json_string_value(j), "null") == 0);
}

/* ---- trees ---- */

/* Attributes of a tree and how deep they lie; a leaf that lies too deep counts as far too many. */
static unsigned leaves(const json_t *tree, unsigned depth)
{
	const char *key;
	json_t *value;
	unsigned n = 0;

	if (depth > CLOUD_SHADOW_DEPTH)
		return 1u << 20;
	json_object_foreach((json_t *)(uintptr_t)tree, key, value)
		n += json_is_object(value) && n < 1u << 20 ? leaves(value, depth + 1) : 1;
	return n;
}

static json_t *sub_object(json_t *tree, const char *key)
{
	json_t *sub = json_object_get(tree, key);

	if (json_is_object(sub))
		return sub;
	sub = json_object();
	return json_object_set_new(tree, key, sub) == 0 ? sub : NULL;
}

/* Objects are merged, everything else (arrays too) is replaced. `clears`: null takes an attribute away. */
static void merge(json_t *tree, json_t *meta, const json_t *from, json_int_t now_s, int clears)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, key, value) {
		if (json_is_object(value)) {
			/* Its metadata was a leaf if it was one. */
			if (!json_is_object(json_object_get(tree, key)))
				json_object_del(meta, key);
			merge(sub_object(tree, key), sub_object(meta, key), value, now_s, clears);
		} else if (clears && is_null(value)) {
			json_object_del(tree, key);
			json_object_del(meta, key);
		} else {
			json_object_set_new(tree, key, json_deep_copy(value));
			json_object_set_new(meta, key, json_pack("{s:I}", "timestamp", now_s));
		}
	}
}

/* Only what is "null" in `from` goes. */
static void cut(json_t *tree, json_t *meta, const json_t *from)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, key, value) {
		if (is_null(value)) {
			json_object_del(tree, key);
			json_object_del(meta, key);
		} else if (json_is_object(value) && json_is_object(json_object_get(tree, key))) {
			cut(json_object_get(tree, key), json_object_get(meta, key), value);
		}
	}
}

/* ---- the document ---- */

json_t *cw_cloud_shadow_json(const struct cloud_device *d)
{
	return json_object_size(d->doc[CLOUD_DOC_SHADOW]) != 0 ? d->doc[CLOUD_DOC_SHADOW] : NULL;
}

static json_int_t version_of(const json_t *shadow)
{
	return json_integer_value(json_object_get(shadow, "version"));
}

/* A copy to change; an empty shadow at first. */
static json_t *draft_of(const struct cloud_device *d)
{
	const json_t *now = cw_cloud_shadow_json(d);

	return now != NULL ? json_deep_copy(now)
	                   : json_pack("{s:{s:{}, s:{}}, s:{s:{}, s:{}}, s:i}", "state", "reported", "desired", "metadata",
	                               "reported", "desired", "version", 0);
}

static json_t *part(json_t *draft, const char *half, const char *which)
{
	return json_object_get(json_object_get(draft, half), which);
}

static void clear(json_t *draft, const char *which)
{
	json_object_clear(part(draft, "state", which));
	json_object_clear(part(draft, "metadata", which));
}

/* The draft becomes the shadow, if it is within the limits: 200, or a code and nothing has changed. Consumed. */
static int settle(struct cw_cloud *c, struct cloud_device *d, json_t *draft, json_int_t version)
{
	const struct cloud_limits *limits = &c->conf.limits;
	unsigned reported = leaves(part(draft, "state", "reported"), 1), desired = leaves(part(draft, "state", "desired"), 1);
	size_t size = draft != NULL ? json_dumpb(json_object_get(draft, "state"), NULL, 0, JSON_COMPACT) : 0;
	int code = size == 0                                                                 ? 500
	           : reported >= 1u << 20 || desired >= 1u << 20 || size > limits->shadow_bytes ? 400
	           : reported > limits->shadow_attributes || desired > limits->shadow_attributes ? 408
	                                                                                     : 200;

	if (code == 408 || (code == 400 && size > limits->shadow_bytes))
		cw_cloud_violation(c, d, code == 408 ? "shadowAttributes" : "shadowBytes", "refused");
	if (code != 200) {
		json_decref(draft);
		return code;
	}
	json_object_set_new(draft, "version", json_integer(version == -1 ? 0 : version));
	json_object_set_new(draft, "timestamp", json_integer((json_int_t)(cw_cloud_wall_ms(c) / 1000)));
	json_decref(d->doc[CLOUD_DOC_SHADOW]);
	d->doc[CLOUD_DOC_SHADOW] = draft;
	cw_cloud_changed(c, d);
	return 200;
}

/* -1 starts the count again; otherwise it must rise. */
static int version_check(const struct cloud_device *d, const json_t *version)
{
	if (!json_is_integer(version))
		return 403;
	if (json_integer_value(version) == -1)
		return 200;
	return json_integer_value(version) > version_of(cw_cloud_shadow_json(d)) ? 200 : 409;
}

/* ---- the device's requests ---- */

static int on_update(struct cw_cloud *c, struct cloud_device *d, const json_t *body)
{
	const json_t *state = json_object_get(body, "state"), *version = json_object_get(body, "version");
	const json_t *reported = json_object_get(state, "reported"), *desired = json_object_get(state, "desired");
	json_t *draft;
	int code;

	if (!json_is_object(state))
		return 402;
	if (!json_is_integer(version))
		return 403;
	if (reported == NULL && !is_null(desired))
		return 404;
	if (reported != NULL && (!json_is_object(reported) || json_object_size(reported) == 0))
		return 405;
	if (leaves(reported, 1) >= 1u << 20)
		return 400;
	code = version_check(d, version);
	draft = code == 200 ? draft_of(d) : NULL;
	if (draft == NULL)
		return code == 200 ? 500 : code;
	merge(part(draft, "state", "reported"), part(draft, "metadata", "reported"), reported,
	      (json_int_t)(cw_cloud_wall_ms(c) / 1000), 0);
	if (is_null(desired))
		clear(draft, "desired");
	return settle(c, d, draft, json_integer_value(version));
}

/* With a version as update has it; without one, as some documents show it, the version stays. */
static int on_delete(struct cw_cloud *c, struct cloud_device *d, const json_t *body)
{
	const json_t *state = json_object_get(body, "state"), *version = json_object_get(body, "version");
	const json_t *reported = json_object_get(state, "reported");
	json_t *draft;
	int code;

	if (!json_is_object(state))
		return 402;
	if (version != NULL && !json_is_integer(version))
		return 403;
	if (reported == NULL)
		return 404;
	if (!is_null(reported) && (!json_is_object(reported) || json_object_size(reported) == 0))
		return 405;
	if (cw_cloud_shadow_json(d) == NULL)
		return 407;
	if (leaves(reported, 1) >= 1u << 20)
		return 400;
	code = version != NULL ? version_check(d, version) : 200;
	draft = code == 200 ? draft_of(d) : NULL;
	if (draft == NULL)
		return code == 200 ? 500 : code;
	if (is_null(reported))
		clear(draft, "reported");
	else
		cut(part(draft, "state", "reported"), part(draft, "metadata", "reported"), reported);
	return settle(c, d, draft, version != NULL ? json_integer_value(version) : version_of(draft));
}

/* What a get is answered with, and what a change of `desired` is pushed as. */
static json_t *whole(struct cw_cloud *c, const struct cloud_device *d, const char *method)
{
	const json_t *shadow = cw_cloud_shadow_json(d);

	return json_pack("{s:s, s:{s:s, s:O, s:O}, s:I, s:I}", "method", method, "payload", "status", "success", "state",
	                 json_object_get(shadow, "state"), "metadata", json_object_get(shadow, "metadata"), "version",
	                 version_of(shadow), "timestamp", (json_int_t)(cw_cloud_wall_ms(c) / 1000));
}

/* 200, or the code of the refusal; a get leaves its answer in *ret_answer. */
static int carry_out(struct cw_cloud *c, struct cloud_device *d, const json_t *body, json_t **ret_answer)
{
	const char *method = json_string_value(json_object_get(body, "method"));

	if (!json_is_object(body))
		return 400;
	if (method == NULL)
		return 401;
	if (strcmp(method, "update") == 0)
		return on_update(c, d, body);
	if (strcmp(method, "delete") == 0)
		return on_delete(c, d, body);
	if (strcmp(method, "get") != 0)
		return 406;
	if (cw_cloud_shadow_json(d) == NULL)
		return 407;
	*ret_answer = whole(c, d, "reply");
	return *ret_answer != NULL ? 200 : 500;
}

static json_t *answer(struct cw_cloud *c, const struct cloud_device *d, int code)
{
	json_int_t now_s = (json_int_t)(cw_cloud_wall_ms(c) / 1000);
	char number[16];

	if (code == 200)
		return json_pack("{s:s, s:{s:s, s:I}, s:I}", "method", "reply", "payload", "status", "success", "version",
		                 version_of(cw_cloud_shadow_json(d)), "timestamp", now_s);
	(void)snprintf(number, sizeof(number), "%d", code);
	return json_pack("{s:s, s:{s:s, s:{s:s, s:s}}, s:I}", "method", "reply", "payload", "status", "error", "content",
	                 "errorcode", number, "errormessage", error_text(code), "timestamp", now_s);
}

/* Over its rate a request is lost without an answer, as all that is over a rate. */
static int within_rate(struct cw_cloud *c, struct cloud_device *d)
{
	uint64_t second = cw_cloud_now_ms(c) / 1000;

	if (second != d->shadow_second) {
		d->shadow_second = second;
		d->shadow_count = 0;
	}
	if (!c->conf.limits.documented || d->shadow_count++ < c->conf.limits.shadow_requests)
		return 1;
	d->dropped++;
	c->stats.dropped_limit++;
	cw_cloud_violation(c, d, "shadowPerSecond", "dropped");
	return 0;
}

void cw_cloud_shadow(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload, size_t len)
{
	char from[256], to[256];
	struct cloud_strike at = { .channel = d->link != NULL ? d->link->ops->channel : NULL, .device = d->id, .topic = from };
	json_t *body, *reply = NULL;
	int code;

	if (!within_rate(c, d))
		return;
	(void)snprintf(from, sizeof(from), "/shadow/update/%s", d->id);
	(void)snprintf(to, sizeof(to), "/shadow/get/%s", d->id);
	at.topic_len = strlen(from);
	body = cw_cloud_json(payload, len, 0, NULL);
	code = cw_cloud_fault(c, CLOUD_FAULT_REFUSE, &at) ? at.code : carry_out(c, d, body, &reply);
	json_decref(body);
	if (reply == NULL)
		reply = answer(c, d, code);
	c->stats.replies++;
	c->stats.replies_failed += code != 200;
	if (cw_cloud_fault(c, CLOUD_FAULT_REPLY, &at))
		json_decref(reply);
	else if (cw_cloud_fault(c, CLOUD_FAULT_DELAY, &at))
		cw_cloud_delay(c, d, to, reply, CLOUD_REPLY, (unsigned)at.ms);
	else
		cw_cloud_send_json(c, d, to, reply, 0, CLOUD_REPLY);
}

/* ---- the application's side ---- */

int cw_cloud_shadow_set_desired(struct cw_cloud *c, struct cloud_device *d, const json_t *desired, int64_t version,
                                struct cw_msg *msg)
{
	json_int_t stored = version_of(cw_cloud_shadow_json(d)), next = version == CLOUD_SHADOW_NEXT ? stored + 1 : version;
	char topic[256];
	json_t *draft;
	int code;

	if (!is_null(desired) && (!json_is_object(desired) || json_object_size(desired) == 0))
		return cw_fail(msg, CW_EINVAL, "desired: an object of attributes, or null");
	if (next != -1 && next <= stored)
		return cw_fail(msg, CW_EEXIST, "version %lld is not larger than the stored %lld", (long long)next, (long long)stored);
	if (leaves(desired, 1) >= 1u << 20)
		return cw_fail(msg, CW_ELIMIT, "desired: attributes lie at most %u levels deep", CLOUD_SHADOW_DEPTH);
	draft = draft_of(d);
	if (draft == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	if (is_null(desired))
		clear(draft, "desired");
	else
		merge(part(draft, "state", "desired"), part(draft, "metadata", "desired"), desired,
		      (json_int_t)(cw_cloud_wall_ms(c) / 1000), 1);
	code = settle(c, d, draft, next);
	if (code != 200)
		return cw_fail(msg, code == 500 ? CW_ENOMEM : CW_ELIMIT, "%s", error_text(code));
	(void)snprintf(topic, sizeof(topic), "/shadow/get/%s", d->id);
	if (!is_null(desired) && cw_cloud_device_linked(d))
		cw_cloud_send_json(c, d, topic, whole(c, d, "control"), 1, CLOUD_NOW);
	return 0;
}
