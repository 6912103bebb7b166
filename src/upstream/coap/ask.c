/*
 * ask.c - requests of devices and what their answers mean. In symmetric mode payload and sequence number are encrypted
 * here, and payloads that come are opened here.
 *
 * A record that needs several messages goes in parts, one after the other; it is settled with the last. A token that is
 * refused is replaced once, and the same message goes again.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "platform/codes.h"
#include "upstream/coap/coap.h"
#include "json/json.h"

#define CHECK_MS 60000u /* a refused topic may mean a disabled device: /auth tells, this often at most */
#define PATH_BYTES (CW_TOPIC_MAX + 80u)

static struct coap *coap_of(const struct coap_device *md)
{
	return md->d->u->connector;
}

/* ---- asking -------------------------------------------------------------------------- */

struct draft {
	char path[PATH_BYTES], seq_text[24];
	uint8_t seq[COAP_CIPHER_LEN(24)];
	uint8_t body[COAP_BODY_BYTES];
	struct coap_post post;
};

static int draft_auth(struct coap *c, struct coap_device *md, struct draft *w)
{
	struct coap_login login = { .product_key = md->d->product_key,
				    .device_name = md->d->device_name,
				    .secret = md->d->secret,
				    .method = c->sign,
				    .separate = c->separate,
				    .format = c->format };
	size_t len;
	int rc;

	if (c->dtls == COAP_DTLS_OFF) { /* any text; the numbers of messages follow the platform's answer */
		(void)snprintf(w->seq_text, sizeof(w->seq_text), "%u", c->next_number % 10000);
		login.seq = w->seq_text;
	}
	rc = cw_coap_login_body(&login, w->body, &len);
	(void)snprintf(w->path, sizeof(w->path), "auth");
	w->post.format = w->post.accept = (int)c->format;
	w->post.payload = cw_bytes_of(w->body, len);
	return rc;
}

static void draft_topic(struct draft *w, const char *topic, const void *text, size_t len, int format)
{
	(void)snprintf(w->path, sizeof(w->path), "topic%s", topic);
	w->post.payload = cw_bytes_of(text, len);
	w->post.format = format;
}

static int draft_of(struct coap *c, struct coap_device *md, enum coap_ask what, struct draft *w)
{
	const struct cw_split *s = &md->messages.split;
	const struct coap_answer_out *a;

	w->post.path = w->path;
	w->post.accept = COAP_FORMAT_JSON;
	switch (what) {
	case ASK_AUTH: return draft_auth(c, md, w);
	case ASK_POST:
		draft_topic(w, s->head.topic, s->parts[md->part].payload, s->parts[md->part].len,
			    strncmp(s->head.topic, "/sys/", 5) == 0 || strncmp(s->head.topic, "/ota/", 5) == 0
				    ? COAP_FORMAT_JSON
				    : COAP_FORMAT_OCTETS);
		return 0;
	case ASK_ANSWER:
		a = cw_container_of(cw_list_first(&md->answers), struct coap_answer_out, link);
		draft_topic(w, a->topic, a->text, a->len, COAP_FORMAT_JSON);
		return 0;
	case ASK_OTA:
		(void)snprintf(w->path, sizeof(w->path), "topic/ota/device/request/%s", md->d->key);
		w->post.payload = cw_bytes_text(md->ota);
		w->post.format = COAP_FORMAT_JSON;
		return 0;
	default:
		(void)snprintf(w->path, sizeof(w->path), "pull");
		w->post.payload = cw_bytes_of(w->body, (size_t)snprintf((char *)w->body, sizeof(w->body),
									"{\"pageSize\":\"%u\"}", COAP_PAGE));
		w->post.format = COAP_FORMAT_JSON;
		return 0;
	}
}

/* Token, and in symmetric mode sequence number and cipher. */
static int seal(struct coap *c, struct coap_device *md, struct draft *w)
{
	size_t n, len = w->post.payload.len;

	w->post.pass = md->token;
	if (c->dtls != COAP_DTLS_OFF)
		return 0;
	n = (size_t)snprintf(w->seq_text, sizeof(w->seq_text), "%llu", (unsigned long long)md->seq);
	if (n >= COAP_BLOCK || cw_coap_encrypt(md->key, w->seq_text, n, w->seq) != COAP_BLOCK)
		return CW_ELIMIT; /* 10 to the 15th messages with one login */
	md->seq++;
	w->post.seq = w->seq;
	if (COAP_CIPHER_LEN(len) > COAP_CIPHER_LEN(c->max_payload))
		return CW_ELIMIT;
	n = cw_coap_encrypt(md->key, w->post.payload.ptr, len, c->sealed);
	w->post.payload = cw_bytes_of(c->sealed, n);
	return n == 0 ? CW_EINTERNAL : 0;
}

void cw_coap_ask(struct coap *c, struct coap_device *md, enum coap_ask what)
{
	struct draft w = { .post = { .token = ++c->next_number } };
	int rc = draft_of(c, md, what, &w);

	if (rc == 0 && what != ASK_AUTH)
		rc = seal(c, md, &w);
	md->ask = what;
	md->number = w.post.token;
	if (rc == 0)
		rc = cw_coap_link_send(md->link_up, &w.post);
	explicit_bzero(&w.body, sizeof(w.body));
	if (rc < 0) {
		cw_coap_deadline(c, md, 0, cw_error_text(rc)); /* the lane may be the caller */
		return;
	}
	if (what == ASK_POST)
		cw_count(upstream, published);
	if (what == ASK_ANSWER)
		cw_count(upstream, answers);
	cw_coap_deadline(c, md, c->answer_ms,
			 what == ASK_AUTH ? "the platform does not answer /auth"
					  : "the platform does not answer a request");
}

/* ---- the lane -------------------------------------------------------------------------- */

/* A version that is taken is followed by the question whether there is another one: nothing would be pushed. */
static void plan_ota(struct coap_device *md, const struct cw_parcel *p)
{
	struct cw_record rec;
	struct cw_json j;
	size_t len;

	cw_free(md->ota_next);
	md->ota_next = NULL;
	if (!cw_record_read(cw_bytes_of(p->bytes, p->len), &rec) || rec.kind != CW_KIND_OTA_VERSION)
		return;
	cw_json_begin(&j, 512);
	cw_json_map(&j);
	cw_json_field(&j, "id", "1");
	cw_json_text(&j, "params");
	cw_json_map(&j);
	cw_json_text(&j, "version");
	cw_json_textn(&j, cw_map_text(rec.body, "version"));
	if (rec.name.len > 0) {
		cw_json_text(&j, "module");
		cw_json_textn(&j, rec.name);
	}
	cw_json_end_map(&j);
	cw_json_end_map(&j);
	if (cw_json_finish(&j, &md->ota_next, &len) < 0)
		md->ota_next = NULL; /* the next report asks */
}

int cw_coap_send(void *connector, struct cw_updevice *d, struct cw_parcel *p)
{
	struct coap *c = connector;
	struct coap_device *md = cw_coap_device_of(d);
	struct cw_messages messages;
	int rc = cw_messages_of_parcel(c->u, &c->ids, d, p, c->max_payload, &messages);

	if (rc < 0)
		return rc;
	cw_split_drop(&md->messages.split);
	md->messages = messages;
	md->part = 0;
	md->worst = 0;
	md->parcel = p;
	p->send = md;
	plan_ota(md, p);
	cw_coap_work(c, md);
	return 0;
}

/* Take the parcel out of the device. */
static struct cw_parcel *detach(struct coap_device *md)
{
	struct cw_parcel *p = md->parcel;

	md->parcel = NULL;
	if (p != NULL)
		p->send = NULL;
	cw_split_drop(&md->messages.split);
	return p;
}

void cw_coap_recall(void *connector, struct cw_parcel *p)
{
	struct coap_device *md = p->send;

	if (md == NULL)
		return;
	(void)detach(md);
	if (md->ask == ASK_POST) /* libcoap cannot be told to forget a request: its session ends */
		cw_coap_deadline(connector, md, 0, "a record was taken back while it was under way");
}

/* ---- what an answer means ---------------------------------------------------------------- */

static void log_code(const struct coap_device *md, const char *what, int code)
{
	cw_log(upstream_reply_failed, cw_coap_code_text(code), CW_LS("product", md->d->product_key),
	       CW_LS("device", md->d->device_name), CW_LI("code", code), CW_LS("request", what));
}

/* The token was refused: another one, and the same request again; twice in a row is a failure. */
static void relogin(struct coap *c, struct coap_device *md, int code)
{
	cw_count(upstream, kicked);
	cw_coap_drop_token(md);
	if (++md->relogins > 1) {
		cw_coap_lost(c, md, CW_UPDEVICE_OFFLINE, code, cw_coap_code_text(code));
		return;
	}
	cw_count(upstream, resent);
	cw_coap_work(c, md);
}

static void auth_answered(struct coap *c, struct coap_device *md, const struct coap_response *r)
{
	enum coap_action action = cw_coap_auth_action(r->code);
	struct coap_pass pass = { .token = "" };
	int rc = 0;

	if (action != COAP_DONE) {
		cw_coap_lost(c, md, action == COAP_REFUSED ? CW_UPDEVICE_REFUSED : CW_UPDEVICE_OFFLINE, r->code,
			     cw_coap_auth_text(r->code));
		return;
	}
	rc = cw_coap_login_answer(r->payload, &pass);
	if (rc == 0 && c->dtls == COAP_DTLS_OFF && pass.random[0] == '\0')
		rc = CW_EPROTO;
	if (rc == 0) {
		cw_coap_drop_token(md);
		if (c->dtls == COAP_DTLS_OFF)
			rc = cw_coap_key(md->d->secret, pass.random, md->key);
		md->token = cw_strdup(pass.token);
		md->token_ms = md->checked_ms = cw_coap_now(c);
		md->seq = pass.seq_offset + 1;
	}
	explicit_bzero(&pass, sizeof(pass));
	if (rc < 0 || md->token == NULL)
		cw_coap_lost(c, md, CW_UPDEVICE_OFFLINE, 205,
			     rc < 0 ? "the answer to /auth is not understood: it has no token, or no random"
				    : cw_error_text(CW_ENOMEM));
	else
		cw_coap_logged_in(c, md);
}

static void log_taken(const struct coap_device *md, const struct coap_response *r)
{
	cw_log(upstream_message, "taken", CW_LS("product", md->d->product_key), CW_LS("device", md->d->device_name),
	       CW_LS("topic", md->messages.split.head.topic), CW_LU("id", cw_split_id(md->messages.id, md->part)),
	       CW_LS("messageId", r->id));
}

/* The platform's reply that stands in the answer to a part of a record. */
static void take_reply(struct coap_device *md, struct cw_bytes payload, int last)
{
	const struct cw_messages *m = &md->messages;
	struct cw_alink_reply r = { .code = CW_CODE_TIMED_OUT };
	int rc = payload.len == 0 ? CW_EPROTO : cw_alink_reply(payload, &r);
	int32_t code = rc == 0 ? r.code : CW_CODE_TIMED_OUT;

	if (rc == 0 && code == CW_CODE_OK)
		cw_count(upstream, replies_ok);
	else if (rc == 0)
		cw_count(upstream, replies_failed);
	if (rc == 0 && code != CW_CODE_OK)
		cw_log(upstream_reply_failed, r.message[0] != '\0' ? r.message : cw_code_text(code),
		       CW_LS("product", md->d->product_key), CW_LS("device", md->d->device_name), CW_LI("code", code),
		       CW_LS("request", m->split.head.topic));
	if (md->worst == 0 || md->worst == CW_CODE_OK)
		md->worst = code;
	if (last && m->request[0] != '\0')
		cw_upstream_reply(md->d, m->request, md->worst, rc == 0 ? r.data : cw_bytes_of(NULL, 0));
	if (rc == 0)
		cw_alink_reply_drop(&r);
}

/* All parts were taken. */
static void settle(struct coap *c, struct coap_device *md)
{
	int by_reply = c->u->conf.confirm_reply && md->messages.want_reply;
	struct cw_alink_reply r = { .code = md->worst };
	struct cw_parcel *p = detach(md);

	if (md->ota_next != NULL) {
		cw_free(md->ota);
		md->ota = md->ota_next;
		md->ota_next = NULL;
	}
	if (p == NULL)
		return;
	if (by_reply && r.code == CW_CODE_TIMED_OUT)
		cw_lane_again(&c->u->lane, p);
	else if (by_reply)
		cw_message_settle(c->u, p, &r);
	else
		cw_lane_settle(&c->u->lane, p, CW_SETTLED_DONE, 0, NULL);
}

static void post_refused(struct coap *c, struct coap_device *md, int code)
{
	struct cw_parcel *p;

	log_code(md, md->messages.split.head.topic, code);
	p = detach(md);
	if (code == 403 && cw_coap_now(c) - md->checked_ms > CHECK_MS)
		cw_coap_drop_token(md);
	if (p == NULL)
		return;
	if (cw_coap_code_action(code) == COAP_LATER)
		cw_lane_again(&c->u->lane, p);
	else
		cw_lane_settle(&c->u->lane, p, CW_SETTLED_REFUSED, code, cw_coap_code_text(code));
}

static void post_answered(struct coap *c, struct coap_device *md, const struct coap_response *r)
{
	int last;

	if (md->parcel == NULL)
		return; /* taken back meanwhile */
	if (cw_coap_code_action(r->code) != COAP_DONE) {
		post_refused(c, md, r->code);
		return;
	}
	cw_count(upstream, confirmed);
	log_taken(md, r);
	last = md->part + 1 == md->messages.split.count;
	if (md->messages.want_reply || (r->payload.len > 0 && md->messages.split.head.replies))
		take_reply(md, r->payload, last);
	md->part++;
	if (last)
		settle(c, md);
}

static void answer_answered(struct coap_device *md, int code)
{
	struct cw_list *e = cw_list_pop(&md->answers);
	struct coap_answer_out *a = cw_container_of(e, struct coap_answer_out, link);

	md->answer_count--;
	if (cw_coap_code_action(code) != COAP_DONE) {
		cw_count(upstream, answers_lost);
		log_code(md, a->topic, code);
	}
	cw_free(a->text);
	cw_free(a);
}

/* ---- from the platform -------------------------------------------------------------------- */

static void on_pulled(void *ctx, struct cw_bytes topic, struct cw_bytes payload)
{
	struct coap_device *md = ctx;
	struct cw_topic t;

	cw_count(upstream, downlinks);
	cw_topic_parse(topic, &t);
	/* A token fetches what is kept for its device; anything else is not taken from it. */
	if (t.dn.len > 0 && (!cw_topic_is(t.pk, md->d->product_key) || !cw_topic_is(t.dn, md->d->device_name)))
		cw_message_odd(md->d->u, "pulled for another device", topic);
	else
		(void)cw_message_take(md->d->u, &t, topic, payload, 0);
}

static void pull_answered(struct coap *c, struct coap_device *md, const struct coap_response *r)
{
	unsigned odd = 0;
	int n;

	md->pull_due = 0;
	md->pull_at_ms = cw_coap_now(c) + c->pull_ms;
	if (r->code == 404 || r->code == 405) {
		if (!c->no_pull)
			cw_log(upstream_no_pull, cw_coap_code_text(r->code), CW_LS("upstream", c->u->conf.name));
		c->no_pull = 1;
		return;
	}
	if (cw_coap_code_action(r->code) != COAP_DONE) {
		log_code(md, "/pull", r->code);
		return;
	}
	n = r->payload.len == 0 ? 0 : cw_coap_page(r->payload, on_pulled, md, &odd);
	if (n < 0 || odd > 0)
		cw_message_odd(c->u, n < 0 ? "the page of a pull is not an array" : "not a message, in a pull",
			       cw_bytes_text(md->d->key));
	md->pull_due = n == (int)COAP_PAGE; /* there may be more */
}

static void ota_answered(struct coap *c, struct coap_device *md, const struct coap_response *r)
{
	struct cw_alink_reply reply;
	struct cw_topic t;
	char topic[CW_TOPIC_MAX];

	cw_free(md->ota);
	md->ota = NULL;
	if (cw_coap_code_action(r->code) != COAP_DONE || r->payload.len == 0) {
		if (r->code != 205)
			log_code(md, "/ota/device/request", r->code);
		return;
	}
	if (cw_alink_reply(r->payload, &reply) < 0)
		return;
	(void)snprintf(topic, sizeof(topic), "/ota/device/upgrade/%s", md->d->key);
	if (cw_map_text(reply.data, "version").len > 0) { /* else there is nothing to do */
		cw_count(upstream, downlinks);
		cw_topic_parse(cw_bytes_text(topic), &t);
		(void)cw_message_take(c->u, &t, cw_bytes_text(topic), r->payload, 0);
	}
	cw_alink_reply_drop(&reply);
}

/* Payloads are encrypted in symmetric mode; into the connector's buffer. What cannot be opened counts as absent. */
static void unseal(struct coap *c, struct coap_device *md, struct coap_response *r)
{
	size_t len;

	if (c->dtls != COAP_DTLS_OFF || r->payload.len == 0)
		return;
	if (r->payload.len > COAP_CIPHER_LEN(c->max_payload) ||
	    cw_coap_decrypt(md->key, r->payload.ptr, r->payload.len, c->opened, &len) < 0) {
		cw_message_odd(c->u, "the payload of an answer cannot be decrypted", cw_bytes_text(md->d->key));
		r->payload = cw_bytes_of(NULL, 0);
		return;
	}
	r->payload = cw_bytes_of(c->opened, len);
}

void cw_coap_answered(void *owner, uint32_t number, const struct coap_response *answer)
{
	struct coap_device *md = owner;
	struct coap *c = coap_of(md);
	struct coap_response r = *answer;
	enum coap_ask ask = md->ask;

	if (ask == ASK_NONE || number != md->number)
		return; /* the second copy of an answer, or one that is not waited for any more */
	md->ask = ASK_NONE;
	cw_timer_stop(cw_coap_timers(c), &md->deadline);
	md->last_ms = cw_coap_now(c);
	cw_coap_reached(c);
	if (ask == ASK_AUTH) {
		auth_answered(c, md, &r);
		return;
	}
	if (cw_coap_code_action(r.code) == COAP_RELOGIN) {
		log_code(md, ask == ASK_POST ? md->messages.split.head.topic : "", r.code);
		relogin(c, md, r.code);
		return;
	}
	md->relogins = 0;
	unseal(c, md, &r);
	switch (ask) {
	case ASK_POST: post_answered(c, md, &r); break;
	case ASK_ANSWER: answer_answered(md, r.code); break;
	case ASK_OTA: ota_answered(c, md, &r); break;
	default: pull_answered(c, md, &r); break;
	}
	cw_coap_work(c, md);
}

/* ---- answers to commands -------------------------------------------------------------------- */

void cw_coap_answer(void *connector, struct cw_downlink *d)
{
	struct coap *c = connector;
	struct cw_updevice *dev = cw_upstream_find(c->u, cw_bytes_text(d->product_key), cw_bytes_text(d->device_name));
	struct coap_device *md = dev == NULL ? NULL : cw_coap_device_of(dev);
	struct coap_answer_out *a;

	if (md == NULL || md->d == NULL || c->stopping || md->answer_count >= COAP_ANSWERS_MOST) {
		cw_count(upstream, answers_lost);
		return;
	}
	a = cw_zalloc(sizeof(*a));
	if (a == NULL || cw_message_answer(d, &a->text, &a->len) < 0 || a->len > c->max_payload) {
		cw_count(upstream, answers_lost);
		if (a != NULL)
			cw_free(a->text);
		cw_free(a);
		return;
	}
	memcpy(a->topic, d->answer_topic, sizeof(a->topic));
	cw_list_push_back(&md->answers, &a->link);
	md->answer_count++;
	cw_coap_work(c, md);
}
