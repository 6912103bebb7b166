/* device.c - tokens for signatures, messages for tokens; see device.h. */
#include "cloud/https/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/login/tokens.h"
#include "cloud/core/traffic/violations.h"

#define CHANNEL "https"
#define PAIRS_MAX 16u     /* parameters of one /auth */
#define CONTENT_MAX 2048u /* of what is signed */
#define CLIENT_ID_MAX 64u
#define TIMESTAMP_MS (15 * 60 * 1000) /* how far one may be off */
#define VISIT_MS (10 * 60 * 1000)     /* online after a message */

enum {
	HTTPS_OK = 0,
	HTTPS_COMMON = 10000,
	HTTPS_PARAM = 10001,
	HTTPS_AUTH = 20000,
	HTTPS_TOKEN_OVER = 20001,
	HTTPS_TOKEN_NULL = 20002,
	HTTPS_TOKEN_WRONG = 20003,
	HTTPS_SESSION = 20004,
	HTTPS_PUBLISH = 30001,
	HTTPS_MANY = 40000,
};

static const char *text_of(int code)
{
	switch (code) {
	case HTTPS_OK: return "success";
	case HTTPS_COMMON: return "common error";
	case HTTPS_PARAM: return "param error";
	case HTTPS_AUTH: return "auth check error";
	case HTTPS_TOKEN_OVER: return "token is expired";
	case HTTPS_TOKEN_NULL: return "token is null";
	case HTTPS_TOKEN_WRONG: return "check token error";
	case HTTPS_SESSION: return "update session error";
	case HTTPS_PUBLISH: return "publish message error";
	case HTTPS_MANY: return "request too many";
	default: return cw_cloud_registration_text(code);
	}
}

void cw_cloud_https_code(struct https_answer *ret, int code)
{
	ret->status = 200;
	json_decref(ret->body);
	ret->body = json_pack("{s:i, s:s}", "code", code, "message", text_of(code));
}

int cw_cloud_https_struck(struct https_device *h, const char *device, const char *topic, struct https_answer *ret)
{
	struct cloud_strike at = {
		.channel = CHANNEL, .device = device, .topic = topic, .topic_len = topic != NULL ? strlen(topic) : 0
	};

	if (cw_cloud_fault_active(h->cloud, CLOUD_FAULT_STALL, CHANNEL, device)) {
		ret->stalled = 1;
		return 1;
	}
	if (!cw_cloud_fault(h->cloud, CLOUD_FAULT_STATUS, &at))
		return 0;
	if (at.code >= 200 && at.code < 600)
		ret->status = (unsigned)at.code;
	else
		cw_cloud_https_code(ret, at.code);
	return 1;
}

int cw_cloud_https_type_is(const char *type, const char *want)
{
	size_t n = strlen(want);

	return type != NULL && strncasecmp(type, want, n) == 0 && strchr("; \t", type[n]) != NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct cloud_text *x = &((const struct https_pair *)a)->name, *y = &((const struct https_pair *)b)->name;
	int order = memcmp(x->s, y->s, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static int is_signed(const struct cloud_text *name)
{
	return !cw_cloud_text_is(name, "version") && !cw_cloud_text_is(name, "sign") &&
	       !cw_cloud_text_is(name, "signmethod");
}

int cw_cloud_https_signed(const char *secret, enum cloud_hmac method, struct https_pair *pairs, size_t count,
			  const struct cloud_text *sign)
{
	char content[CONTENT_MAX];
	size_t n = 0, i;

	qsort(pairs, count, sizeof(*pairs), by_name);
	for (i = 0; i < count; i++) {
		const struct https_pair *p = &pairs[i];

		if (!is_signed(&p->name))
			continue;
		if (p->name.len + p->value.len > sizeof(content) - n)
			return 0;
		memcpy(content + n, p->name.s, p->name.len);
		memcpy(content + n + p->name.len, p->value.s, p->value.len);
		n += p->name.len + p->value.len;
	}
	return cw_cloud_hmac_matches(method, secret, content, n, sign->s, sign->len);
}

const char *cw_cloud_https_barred(const struct cloud_device *d)
{
	if (d->disabled)
		return "disabled device";
	if (d->product->x509)
		return "the product's devices log in with certificates";
	return d->product->type == CLOUD_NODE_SUBDEVICE ? "sub-devices come through a gateway" : NULL;
}

void cw_cloud_https_refused(struct https_device *h, const struct https_ask *ask, struct cloud_device *d, int code,
			    const char *reason)
{
	h->cloud->stats.auths_refused++;
	if (d != NULL)
		cw_cloud_device_refused(h->cloud, d, code, reason);
	cw_log(cloud_refused, reason, CW_LI("code", code), CW_LS("peer", ask->peer),
	       CW_LS("device", d != NULL ? d->id : "?"));
}

/* ---- /auth ---- */

struct auth {
	struct https_pair pairs[PAIRS_MAX];
	char numbers[PAIRS_MAX][24]; /* values that came as numbers */
	size_t count;
	const struct cloud_text *pk, *dn, *client_id, *sign, *timestamp;
	enum cloud_hmac method;
};

/* Texts and whole numbers only. 0 or CW_EINVAL. */
static int take_pairs(struct auth *a, json_t *body)
{
	const char *key;
	json_t *value;

	json_object_foreach (body, key, value) {
		struct https_pair *p = &a->pairs[a->count];
		int n;

		if (a->count == PAIRS_MAX)
			return CW_EINVAL;
		p->name = (struct cloud_text){ key, strlen(key) };
		if (json_is_string(value)) {
			p->value = (struct cloud_text){ json_string_value(value), json_string_length(value) };
		} else if (json_is_integer(value)) {
			n = snprintf(a->numbers[a->count], sizeof(a->numbers[0]), "%lld",
				     (long long)json_integer_value(value));
			p->value = (struct cloud_text){ a->numbers[a->count], (size_t)n };
		} else {
			return CW_EINVAL;
		}
		a->count++;
	}
	return 0;
}

/* Lent until the pairs are sorted. */
static const struct cloud_text *find(const struct auth *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->count; i++) {
		if (cw_cloud_text_is(&a->pairs[i].name, name))
			return &a->pairs[i].value;
	}
	return NULL;
}

static int has(const struct cloud_text *t)
{
	return t != NULL && t->len != 0;
}

/* Whether the request has the form it must have; *ret then. */
static int auth_shape(struct auth *a, json_t *body)
{
	const struct cloud_text *method;

	if (!json_is_object(body) || take_pairs(a, body) < 0)
		return 0;
	a->pk = find(a, "productKey");
	a->dn = find(a, "deviceName");
	a->client_id = find(a, "clientId");
	a->sign = find(a, "sign");
	a->timestamp = find(a, "timestamp");
	method = find(a, "signmethod");
	a->method = CLOUD_HMAC_MD5;
	return has(a->pk) && has(a->dn) && has(a->client_id) && has(a->sign) && a->client_id->len <= CLIENT_ID_MAX &&
	       (method == NULL || cw_cloud_hmac_parse(method->s, method->len, &a->method) == 0);
}

static int is_recent(const struct https_device *h, const struct cloud_text *timestamp)
{
	int64_t now = cw_cloud_wall_ms(h->cloud), ms = 0;
	size_t i;

	if (timestamp->len == 0 || timestamp->len > 15)
		return 0;
	for (i = 0; i < timestamp->len; i++) {
		if (timestamp->s[i] < '0' || timestamp->s[i] > '9')
			return 0;
		ms = 10 * ms + (timestamp->s[i] - '0');
	}
	return ms >= now - TIMESTAMP_MS && ms <= now + TIMESTAMP_MS;
}

/* NULL, or why not. The pairs are sorted afterwards: copies of what is needed later were made before. */
static const char *auth_check(const struct https_device *h, struct auth *a, const struct cloud_device *d)
{
	struct cloud_text sign = *a->sign;

	if (d == NULL)
		return "unknown device";
	if (cw_cloud_https_barred(d) != NULL)
		return cw_cloud_https_barred(d);
	if (a->timestamp != NULL && !is_recent(h, a->timestamp))
		return "timestamp more than 15 minutes off";
	return cw_cloud_https_signed(d->secret, a->method, a->pairs, a->count, &sign) ? NULL : "wrong sign";
}

static void auth_device(struct https_device *h, const struct https_ask *ask, struct auth *a, struct https_answer *ret)
{
	struct cloud_device *d = cw_cloud_device_find(h->cloud, a->pk->s, a->pk->len, a->dn->s, a->dn->len);
	struct cloud_text client_id = *a->client_id;
	const struct cloud_token *token;
	const char *reason;

	if (cw_cloud_https_struck(h, d != NULL ? d->id : NULL, ask->path, ret))
		return;
	reason = auth_check(h, a, d);
	if (reason != NULL) {
		cw_cloud_https_refused(h, ask, d, HTTPS_AUTH, reason);
		cw_cloud_https_code(ret, HTTPS_AUTH);
		return;
	}
	token = cw_cloud_token_issue(h->cloud, d, CHANNEL, &client_id, h->cloud->conf.limits.https_token_ms);
	if (token == NULL) {
		cw_cloud_https_code(ret, HTTPS_COMMON);
		return;
	}
	h->cloud->stats.auths++;
	cw_cloud_https_code(ret, HTTPS_OK);
	json_object_set_new(ret->body, "info", json_pack("{s:s}", "token", token->text));
}

void cw_cloud_https_auth(struct https_device *h, const struct https_ask *ask, struct https_answer *ret)
{
	struct auth a = { .count = 0 };
	json_t *body = NULL;

	if (ask->query == NULL && !ask->too_large && cw_cloud_https_type_is(ask->type, "application/json"))
		body = json_loadb(ask->body, ask->len, JSON_REJECT_DUPLICATES, NULL);
	if (auth_shape(&a, body)) {
		auth_device(h, ask, &a, ret);
	} else if (!cw_cloud_https_struck(h, NULL, ask->path, ret)) {
		cw_cloud_https_refused(h, ask, NULL, HTTPS_PARAM, "a parameter is missing or malformed");
		cw_cloud_https_code(ret, HTTPS_PARAM);
	}
	json_decref(body);
}

/* ---- /topic ---- */

/* The link of one request. */
struct visit {
	struct cloud_link link;
	struct cloud_msg *reply;
};

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	struct visit *v = cw_container_of(l, struct visit, link);

	if (v->reply == NULL) {
		v->reply = msg;
		msg->refs++;
	}
}

static void on_close(struct cloud_link *l, const char *reason) {}

static void on_recheck(struct cloud_link *l) {}

static void on_forget(struct cloud_link *l, struct cloud_device *member, int store) {}

static const struct cloud_link_ops visit_ops = {
	.channel = CHANNEL, .push = on_push, .close = on_close, .recheck = on_recheck, .forget = on_forget,
};

static int code_of(enum cloud_verdict verdict)
{
	switch (verdict) {
	case CLOUD_TAKEN: return HTTPS_OK;
	case CLOUD_DROP_LIMIT: return HTTPS_MANY;
	default: return HTTPS_PUBLISH;
	}
}

/* Milliseconds of the platform's clock and five digits more: 18 together until the year 2286. */
static uint64_t next_message(struct https_device *h)
{
	uint64_t id = (uint64_t)cw_cloud_wall_ms(h->cloud) * 100000;

	h->last_message = id > h->last_message ? id : h->last_message + 1;
	return h->last_message;
}

static void publish(struct https_device *h, const struct https_ask *ask, const struct cloud_token *token,
		    const char *topic, struct https_answer *ret)
{
	struct cloud_device *d = token->device;
	struct cloud_text client_id = { token->client_id, strlen(token->client_id) };
	struct cloud_strike at = { .channel = CHANNEL, .device = d->id, .topic = topic, .topic_len = strlen(topic) };
	struct visit v = { .reply = NULL };
	enum cloud_verdict verdict;
	json_t *info;

	cw_cloud_link_init(h->cloud, &v.link, &visit_ops, 1);
	v.link.uplink_only = 1;
	v.link.owner = v.link.last = d;
	(void)snprintf(v.link.peer, sizeof(v.link.peer), "%s", ask->peer);
	verdict = cw_cloud_publish(h->cloud, &v.link, topic, strlen(topic), ask->body, ask->len, 1);
	v.link.owner = NULL;
	cw_cloud_link_fini(&v.link);
	cw_cloud_https_code(ret, code_of(verdict));
	if (verdict == CLOUD_TAKEN) {
		cw_cloud_visit(h->cloud, d, CHANNEL, &client_id, VISIT_MS);
		info = json_pack("{s:I}", "messageId", (json_int_t)next_message(h));
		if (v.reply != NULL)
			json_object_set_new(info, "data", json_stringn(cw_cloud_msg_payload(v.reply), v.reply->len));
		json_object_set_new(ret->body, "info", info);
		ret->withheld = cw_cloud_fault(h->cloud, CLOUD_FAULT_PUBACK, &at);
	}
	ret->delay_ms = v.link.delay_ms;
	ret->cut = v.link.doomed;
	cw_cloud_msg_unref(v.reply);
}

/* "pk/dn" of the topic's device into out, or NULL when it names none: who a fault is looked up for. */
static const char *device_of(const char *topic, char *out, size_t size)
{
	struct cloud_topic t;
	int n;

	cw_cloud_topic_parse(topic, strlen(topic), &t);
	if (t.kind == CLOUD_TOPIC_BAD || t.dn.len == 0)
		return NULL;
	n = snprintf(out, size, "%.*s/%.*s", (int)t.pk.len, t.pk.s, (int)t.dn.len, t.dn.s);
	return n > 0 && (size_t)n < size ? out : NULL;
}

void cw_cloud_https_topic(struct https_device *h, const struct https_ask *ask, struct https_answer *ret)
{
	const char *topic = ask->path + strlen("/topic");
	const struct cloud_token *token =
		ask->token == NULL ? NULL : cw_cloud_token_find(h->cloud, CHANNEL, ask->token, strlen(ask->token));
	char id[128];
	int code = HTTPS_OK;

	if (cw_cloud_https_struck(h, device_of(topic, id, sizeof(id)), topic, ret))
		return;
	if (ask->query != NULL || !cw_cloud_https_type_is(ask->type, "application/octet-stream"))
		code = HTTPS_PARAM;
	else if (ask->token == NULL || ask->token[0] == '\0')
		code = HTTPS_TOKEN_NULL;
	else if (token == NULL || token->device->disabled)
		code = HTTPS_TOKEN_WRONG;
	else if (cw_cloud_token_over(h->cloud, token))
		code = HTTPS_TOKEN_OVER;
	else if (ask->too_large || ask->len > h->cloud->conf.limits.https_body)
		code = HTTPS_PARAM;
	else if (topic[1] == '\0')
		code = HTTPS_PUBLISH;
	if (code == HTTPS_PARAM && (ask->too_large || ask->len > h->cloud->conf.limits.https_body))
		cw_cloud_violation(h->cloud, token != NULL ? token->device : NULL, "httpsBody", "refused with 10001");
	if (code == HTTPS_OK)
		publish(h, ask, token, topic, ret);
	else
		cw_cloud_https_code(ret, code);
}
