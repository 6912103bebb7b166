/* request.c - see request.h. */
#include "cloud/coap/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/base64.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/login/sign.h"
#include "cloud/core/save.h"
#include "cloud/core/traffic/violations.h"

#define ONLINE_MS      (10 * 60 * 1000u) /* after a publish the device counts as online */
#define CLIENT_ID_MAX  64u
#define SEQ_DIGITS_MAX 15u
#define PULL_MAX       10u
#define CIPHER_MAX     COAP_CIPHER_LEN(COAP_BODY_BYTES)

static const char channel[] = "coap";

struct coap_service {
	struct cw_list link;
	struct cw_cloud *cloud;
	struct coap_tokens tokens;
	unsigned refs;
	uint64_t messages; /* numbered so far */
};

/* There is one core a process, and its two listeners meet here; a list, because tests have several. */
static struct cw_list services = { &services, &services };

struct coap_service *cw_cloud_coap_service_get(struct cw_cloud *c)
{
	struct coap_service *s;
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &services) {
		s = cw_container_of(e, struct coap_service, link);
		if (s->cloud == c) {
			s->refs++;
			return s;
		}
	}
	s = cw_zalloc(sizeof(*s));
	if (s == NULL)
		return NULL;
	s->cloud = c;
	s->refs = 1;
	cw_cloud_coap_tokens_init(&s->tokens, c);
	cw_list_push_back(&services, &s->link);
	return s;
}

void cw_cloud_coap_service_put(struct coap_service *s)
{
	if (s == NULL || --s->refs != 0)
		return;
	cw_list_remove(&s->link);
	cw_cloud_coap_tokens_fini(&s->tokens);
	cw_free(s);
}

enum route { ROUTE_NONE, ROUTE_AUTH, ROUTE_REGISTER, ROUTE_TOPIC, ROUTE_PULL };

/* One request on its way. */
struct exchange {
	struct coap_service *service;
	struct cw_cloud *cloud;
	const struct coap_request *request;
	struct coap_answer *answer;
	enum route route;
	struct coap_token *token;    /* of topics and pull */
	struct cloud_device *device; /* the token's, or the one the body names; NULL: unknown */
	struct coap_fields fields;   /* of /auth and registration */
	int fields_ok;
	uint8_t plain[CIPHER_MAX];
	size_t plain_len;
};

static enum route route_of(const struct exchange *x)
{
	const struct cloud_text *path = &x->request->path;

	if (cw_cloud_text_is(path, "auth"))
		return ROUTE_AUTH;
	if (cw_cloud_text_is(path, "auth/register/device"))
		return ROUTE_REGISTER;
	if (cw_cloud_text_is(path, "pull"))
		return x->cloud->conf.switches.coap_pull ? ROUTE_PULL : ROUTE_NONE;
	return path->len > 6 && memcmp(path->s, "topic/", 6) == 0 ? ROUTE_TOPIC : ROUTE_NONE;
}

static struct cloud_text topic_of(const struct exchange *x)
{
	const struct cloud_text *path = &x->request->path;

	if (x->route != ROUTE_TOPIC)
		return (struct cloud_text){ NULL, 0 };
	return (struct cloud_text){ path->s + 5, path->len - 5 };
}

/* Whose request it is, for faults that are meant for one device. What is wrong with it is said later. */
static void identify(struct exchange *x)
{
	const struct coap_request *r = x->request;
	struct cloud_text pk, dn;

	if (x->route == ROUTE_TOPIC || x->route == ROUTE_PULL) {
		if (r->token.s != NULL)
			x->token = cw_cloud_coap_token_find(&x->service->tokens, &r->token, &x->device);
		if (x->token != NULL && x->token->secure != r->secure)
			x->token = NULL;
	} else if (x->route != ROUTE_NONE) {
		x->fields_ok = cw_cloud_coap_fields(r->payload, r->len,
		                                    r->format == COAP_FORMAT_CBOR ? COAP_FORMAT_CBOR : COAP_FORMAT_JSON,
		                                    &x->fields) == 0;
		pk = cw_cloud_coap_field(&x->fields, "productKey");
		dn = cw_cloud_coap_field(&x->fields, "deviceName");
		if (x->fields_ok && pk.len != 0 && dn.len != 0)
			x->device = cw_cloud_device_find(x->cloud, pk.s, pk.len, dn.s, dn.len);
	}
}

static int strikes(struct exchange *x, enum cloud_fault_kind kind, int *ret_code)
{
	struct cloud_text topic = topic_of(x);
	struct cloud_strike at = { .channel = channel, .device = x->device != NULL ? x->device->id : NULL, .topic = topic.s,
		                   .topic_len = topic.len };

	if (!cw_cloud_fault(x->cloud, kind, &at))
		return 0;
	*ret_code = at.code;
	return 1;
}

/* ---- /auth ---- */

static int refuse(struct exchange *x, int code, const char *reason)
{
	x->cloud->stats.connects_refused++;
	if (x->device != NULL)
		cw_cloud_device_refused(x->cloud, x->device, code, reason);
	cw_log(cloud_refused, reason, CW_LS("channel", channel), CW_LS("peer", x->request->peer),
	       CW_LS("device", x->device != NULL ? x->device->id : ""), CW_LU("code", (unsigned)code));
	return code;
}

static int check_formats(const struct coap_request *r)
{
	if (r->format != COAP_FORMAT_NONE && r->format != COAP_FORMAT_JSON && r->format != COAP_FORMAT_CBOR)
		return 415;
	if (r->accept != COAP_FORMAT_NONE && r->accept != COAP_FORMAT_OCTETS && r->accept != COAP_FORMAT_JSON &&
	    r->accept != COAP_FORMAT_CBOR)
		return 406;
	return 0;
}

static int put_object(struct exchange *x, const struct coap_pair *pairs, unsigned count)
{
	const struct coap_request *r = x->request;
	enum coap_format format = COAP_FORMAT_JSON;

	if (r->accept == COAP_FORMAT_CBOR || (r->accept != COAP_FORMAT_JSON && r->format == COAP_FORMAT_CBOR))
		format = COAP_FORMAT_CBOR;
	x->answer->format = format;
	x->answer->len = cw_cloud_coap_object(pairs, count, format, x->answer->payload, sizeof(x->answer->payload));
	return x->answer->len != 0 ? 205 : 500;
}

/* The method that the body names, or the default. */
static struct cloud_text method_of(const struct coap_fields *f)
{
	struct cloud_text method = cw_cloud_coap_field(f, "signmethod");

	return method.s != NULL ? method : (struct cloud_text){ "hmacmd5", 7 };
}

static int check_auth(struct exchange *x)
{
	static const char *const needed[] = { "productKey", "deviceName", "clientId", "sign" };
	const struct coap_fields *f = &x->fields;
	struct cloud_text ack = cw_cloud_coap_field(f, "ackMode"), sign = cw_cloud_coap_field(f, "sign"), method = method_of(f);
	char content[sizeof(f->text)];
	enum cloud_hmac hmac;
	size_t i, n;

	if (!x->fields_ok)
		return refuse(x, 400, "body is not a flat object of texts and numbers");
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (cw_cloud_coap_field(f, needed[i]).len == 0)
			return refuse(x, 400, "productKey, deviceName, clientId or sign is missing");
	}
	if (cw_cloud_coap_field(f, "clientId").len > CLIENT_ID_MAX)
		return refuse(x, 400, "clientId is longer than 64 characters");
	if (!x->request->secure && cw_cloud_coap_field(f, "seq").len == 0)
		return refuse(x, 400, "seq is missing, which the symmetric mode needs");
	if (ack.s != NULL && !cw_cloud_text_is(&ack, "0") && !cw_cloud_text_is(&ack, "1"))
		return refuse(x, 400, "ackMode is neither 0 nor 1");
	if (cw_cloud_hmac_parse(method.s, method.len, &hmac) < 0)
		return refuse(x, 400, "unknown signmethod");
	if (x->device == NULL)
		return refuse(x, 401, "unknown device");
	n = cw_cloud_coap_content(f, content, sizeof(content));
	if (x->device->product->x509 ||
	    !cw_cloud_hmac_matches(hmac, x->device->secret, content, n, sign.s, sign.len))
		return refuse(x, 401, "sign is wrong");
	if (x->device->disabled)
		return refuse(x, 403, "device is disabled");
	if (x->device->product->type == CLOUD_NODE_SUBDEVICE)
		return refuse(x, 403, "a sub-device connects through its gateway only");
	return 0;
}

static int do_auth(struct exchange *x)
{
	struct cloud_text ack = cw_cloud_coap_field(&x->fields, "ackMode"), id = cw_cloud_coap_field(&x->fields, "clientId");
	int code = check_formats(x->request);
	struct coap_token *k;
	struct coap_pair pairs[3];
	unsigned n = 0;

	if (code == 0)
		code = check_auth(x);
	if (code != 0)
		return code;
	k = cw_cloud_coap_token_new(&x->service->tokens, x->device, x->request->secure);
	if (k == NULL)
		return refuse(x, 500, "out of memory");
	k->separate = cw_cloud_text_is(&ack, "1");
	(void)snprintf(k->client_id, sizeof(k->client_id), "%.*s", (int)id.len, id.s);
	if (x->cloud->conf.switches.coap_pull)
		x->device->pull_until_ms = k->until_ms;
	x->cloud->stats.connects++;
	cw_log(cloud_connect, "authenticated", CW_LS("channel", channel), CW_LS("device", x->device->id),
	       CW_LS("peer", x->request->peer), CW_LS("client_id", k->client_id));
	if (!k->secure) {
		pairs[n++] = (struct coap_pair){ .name = "random", .text = k->random };
		pairs[n++] = (struct coap_pair){ .name = "seqOffset", .number = k->seq_offset };
	}
	pairs[n++] = (struct coap_pair){ .name = "token", .text = k->text };
	return put_object(x, pairs, n);
}

/* ---- /auth/register/device ---- */

static int do_register(struct exchange *x)
{
	const struct coap_fields *f = &x->fields;
	struct cloud_registration r = { .pk = cw_cloud_coap_field(f, "productKey"), .dn = cw_cloud_coap_field(f, "deviceName"),
		                        .random = cw_cloud_coap_field(f, "random"), .method = method_of(f),
		                        .sign = cw_cloud_coap_field(f, "sign") };
	struct cloud_device *d = NULL;
	int code = check_formats(x->request), result;

	if (code != 0)
		return code;
	if (!x->request->secure)
		return refuse(x, 403, "registration needs DTLS: the answer holds a secret");
	if (!x->fields_ok || r.sign.len == 0)
		return refuse(x, 400, "body is not a flat object of texts and numbers, or sign is missing");
	result = cw_cloud_register(x->cloud, &r, &d);
	switch (result) {
	case 200: break;
	case 460:
	case 6292: return refuse(x, 400, cw_cloud_registration_text(result));
	case 6250:
	case 6100:
	case 6600: return refuse(x, 401, cw_cloud_registration_text(result));
	default: return refuse(x, 403, cw_cloud_registration_text(result));
	}
	cw_cloud_commit(x->cloud);
	return put_object(x, (struct coap_pair[]){ { .name = "deviceName", .text = d->dn },
	                     { .name = "deviceSecret", .text = d->secret },
	                     { .name = "productKey", .text = d->product->key } }, 3);
}

/* ---- requests with a token ---- */

/* The number inside option 2089, or a code. */
static int read_seq(struct exchange *x, uint64_t *ret_seq)
{
	const struct cloud_text *seq = &x->request->seq;
	uint8_t text[COAP_BLOCK + 1];
	size_t n = 0, i;

	if (seq->s == NULL || seq->len != COAP_BLOCK || cw_cloud_coap_decrypt(x->token->key, seq->s, seq->len, text, &n) < 0 ||
	    n == 0 || n > SEQ_DIGITS_MAX)
		return 400;
	*ret_seq = 0;
	for (i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 400;
		*ret_seq = *ret_seq * 10 + (uint64_t)(text[i] - '0');
	}
	return 0;
}

static int too_long(struct exchange *x)
{
	cw_cloud_violation(x->cloud, x->device, "coapBody", "refused with 4.13");
	return refuse(x, 413, "payload is longer than limits.coapBody");
}

/* Token, sequence, cipher: 0 and the payload in x->plain, or a code. */
static int open_request(struct exchange *x)
{
	const struct coap_request *r = x->request;
	uint64_t seq = 0;
	int code;

	if (x->token == NULL)
		return refuse(x, 401, "token is missing, unknown or expired");
	if (x->device->disabled)
		return refuse(x, 403, "device is disabled");
	if (r->len > CIPHER_MAX || (r->secure && r->len > x->cloud->conf.limits.coap_body))
		return too_long(x);
	if (r->secure) {
		if (r->len != 0)
			memcpy(x->plain, r->payload, r->len);
		x->plain_len = r->len;
		return 0;
	}
	code = read_seq(x, &seq);
	if (code != 0)
		return refuse(x, code, "seq is not the cipher of a decimal number");
	if (seq < x->token->seq_offset)
		return refuse(x, 401, "seq is below seqOffset");
	switch (cw_cloud_coap_seq_use(&x->token->seqs, seq)) {
	case 0: break;
	case CW_EEXIST: return refuse(x, 401, "seq was used before");
	case CW_ELIMIT: return refuse(x, 401, "too many gaps between the sequence numbers of this login");
	default: return refuse(x, 500, "out of memory");
	}
	if (cw_cloud_coap_decrypt(x->token->key, r->payload, r->len, x->plain, &x->plain_len) < 0)
		return refuse(x, 400, "payload cannot be decrypted");
	if (x->plain_len > x->cloud->conf.limits.coap_body)
		return too_long(x);
	return 0;
}

/* Payload of the answer, encrypted where the request was. */
static int put_payload(struct exchange *x, const void *data, size_t len)
{
	struct coap_answer *a = x->answer;

	if (x->request->secure) {
		if (len > sizeof(a->payload))
			return 500;
		memcpy(a->payload, data, len);
		a->len = len;
		return 205;
	}
	if (COAP_CIPHER_LEN(len) > sizeof(a->payload) || cw_cloud_coap_encrypt(x->token->key, data, len, a->payload, &a->len) < 0)
		return 500;
	return 205;
}

static void number_message(struct exchange *x)
{
	uint64_t ms = (uint64_t)cw_cloud_wall_ms(x->cloud), n = x->service->messages++;

	(void)snprintf(x->answer->id, sizeof(x->answer->id), "%" PRIu64, ms * 1000000u + n % 1000000u);
}

struct visit {
	struct cloud_link link;
	struct cloud_msg *reply;
};

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	struct visit *v = cw_container_of(l, struct visit, link);

	if (v->reply != NULL)
		return;
	v->reply = msg;
	msg->refs++;
}

static void on_close(struct cloud_link *l, const char *reason)
{
}

static void on_recheck(struct cloud_link *l)
{
}

static void on_forget(struct cloud_link *l, struct cloud_device *member, int store)
{
}

static const struct cloud_link_ops ops = {
	.channel = channel,
	.push = on_push,
	.close = on_close,
	.recheck = on_recheck,
	.forget = on_forget,
};

static int do_publish(struct exchange *x)
{
	struct visit v = { .reply = NULL };
	struct cloud_text topic = topic_of(x), id = { x->token->client_id, strlen(x->token->client_id) };
	enum cloud_verdict verdict;
	int code = 205;

	cw_cloud_link_init(x->cloud, &v.link, &ops, x->request->secure);
	(void)snprintf(v.link.peer, sizeof(v.link.peer), "%s", x->request->peer);
	v.link.uplink_only = 1;
	v.link.owner = x->device;
	verdict = cw_cloud_publish(x->cloud, &v.link, topic.s, topic.len, x->plain, x->plain_len, x->request->confirmable != 0);
	x->answer->delay_ms = v.link.delay_ms;
	x->answer->silent = v.link.doomed; /* there is no connection to cut: the answer is lost */
	/* Not cw_cloud_link_down(): nobody was online by it. */
	v.link.owner = NULL;
	cw_cloud_link_fini(&v.link);
	if (verdict != CLOUD_TAKEN) {
		code = verdict == CLOUD_DROP_LIMIT ? 429 : 403;
	} else {
		cw_cloud_visit(x->cloud, x->device, channel, &id, ONLINE_MS);
		number_message(x);
		if (v.reply != NULL)
			code = put_payload(x, cw_cloud_msg_payload(v.reply), v.reply->len);
	}
	cw_cloud_msg_unref(v.reply);
	return code;
}

/* ---- /pull ---- */

static unsigned page_size(const uint8_t *data, size_t len)
{
	json_t *root = json_loadb((const char *)data, len, 0, NULL), *size = json_object_get(root, "pageSize");
	long n = json_is_string(size) ? strtol(json_string_value(size), NULL, 10) : (long)json_integer_value(size);

	json_decref(root);
	return n < 1 || n > (long)PULL_MAX ? 0 : (unsigned)n;
}

/* One kept message as JSON text, to be freed. */
static char *show(struct exchange *x, const struct cloud_msg *msg)
{
	char *base64 = cw_cloud_base64(cw_cloud_msg_payload(msg), msg->len), *text, id[24];
	json_t *j;

	if (base64 == NULL)
		return NULL;
	cw_cloud_next_id(x->cloud, id);
	j = json_pack("{s:s, s:s, s:s, s:i}", "messageId", id, "topic", msg->topic, "payload", base64, "qos", (int)msg->qos);
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	cw_free(base64);
	return text;
}

static int do_pull(struct exchange *x)
{
	unsigned most = page_size(x->plain, x->plain_len), n = 0;
	char page[COAP_ANSWER_BYTES - COAP_BLOCK], *text;
	size_t used = 1, len;
	struct cloud_msg *msg;

	if (most == 0)
		return refuse(x, 400, "pageSize is not 1 to 10");
	page[0] = '[';
	while (n < most && (msg = cw_cloud_stored_next(x->cloud, x->device)) != NULL) {
		text = show(x, msg);
		if (text == NULL)
			return 500;
		len = strlen(text);
		if (used + len + 2 <= sizeof(page)) {
			if (n++ != 0)
				page[used++] = ',';
			memcpy(page + used, text, len);
			used += len;
			cw_cloud_stored_drop(x->cloud, x->device, 1);
		} else if (n != 0) {
			most = n; /* it comes with the next pull */
		} else {
			cw_cloud_stored_drop(x->cloud, x->device, 0); /* never fits */
		}
		free(text);
	}
	page[used++] = ']';
	number_message(x);
	return put_payload(x, page, used);
}

/* ---- the whole ---- */

static int carry_out(struct exchange *x)
{
	int code;

	if (x->route == ROUTE_NONE)
		return 404;
	if (!x->request->post)
		return 405;
	if (x->route == ROUTE_AUTH)
		return do_auth(x);
	if (x->route == ROUTE_REGISTER)
		return do_register(x);
	code = open_request(x);
	if (code != 0)
		return code;
	x->answer->separate = x->token->separate && x->request->confirmable;
	return x->route == ROUTE_PULL ? do_pull(x) : do_publish(x);
}

void cw_cloud_coap_handle(struct coap_service *s, const struct coap_request *r, struct coap_answer *ret)
{
	struct exchange x = { .service = s, .cloud = s->cloud, .request = r, .answer = ret };
	int code = 0;

	*ret = (struct coap_answer){ .format = COAP_FORMAT_NONE };
	x.route = route_of(&x);
	identify(&x);
	if (cw_cloud_fault_active(s->cloud, CLOUD_FAULT_STALL, channel, x.device != NULL ? x.device->id : NULL)) {
		ret->silent = 1;
		return;
	}
	if (strikes(&x, CLOUD_FAULT_STATUS, &code)) {
		ret->code = code >= 400 && code < 600 && code % 100 < 32 ? code : 500;
		return;
	}
	ret->code = carry_out(&x);
	if (ret->code != 205) {
		ret->len = 0;
		ret->id[0] = '\0';
		ret->format = COAP_FORMAT_NONE;
	}
	if ((x.route == ROUTE_TOPIC || x.route == ROUTE_PULL) && ret->code == 205)
		ret->silent |= strikes(&x, CLOUD_FAULT_PUBACK, &code);
	/* An acknowledgement cannot wait: who did not ask for separate answers loses it, and gets it when asking again. */
	if (ret->delay_ms != 0 && !ret->separate)
		ret->silent = 1;
}

int cw_cloud_coap_withheld(struct coap_service *s, const struct coap_request *r)
{
	struct exchange x = { .service = s, .cloud = s->cloud, .request = r };
	int code;

	x.route = route_of(&x);
	identify(&x);
	return cw_cloud_fault_active(s->cloud, CLOUD_FAULT_STALL, channel, x.device != NULL ? x.device->id : NULL) ||
	       ((x.route == ROUTE_TOPIC || x.route == ROUTE_PULL) && strikes(&x, CLOUD_FAULT_PUBACK, &code));
}
