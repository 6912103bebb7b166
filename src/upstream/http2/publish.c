/*
 * publish.c - messages up: parcels, answers to commands, acknowledgements.
 *
 * Of one device one message is under way at a time (the lane sees to that), so their
 * order is kept although requests of one connection may overtake each other.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "platform/codes.h"
#include "upstream/http2/http2.h"

#define AGAIN_MS 100u /* doubling with each message in a row that the platform could not take */
#define AGAIN_MOST_MS 30000u
#define STATUS_FORBIDDEN 403

struct http2_ack {
	struct cw_list link;
	uint64_t number;
	char message_id[64];
};

/* An answer or an acknowledgement on its way; nobody waits for it. */
struct http2_spoken {
	struct http2_call call;
	struct cw_list link;
	int is_answer;
};

void http2_new_id(struct http2 *h, char out[HTTP2_ID_SIZE])
{
	http2_id(h->random, UINT64_C(1) << 63 | ++h->serial, out);
}

/* The same in every attempt: pointer, number and time of a parcel are. */
static void id_of_parcel(const struct http2 *h, const struct cw_parcel *p, char out[HTTP2_ID_SIZE])
{
	http2_id(h->random ^ (uint64_t)(uintptr_t)p, ((uint64_t)p->number << 31 ^ p->offered_ms) & ~(UINT64_C(1) << 63),
		 out);
}

/* ---- parcels -------------------------------------------------------------------------- */

static void free_send_when_idle(struct http2_send *s)
{
	if (s->call.of != NULL || s->await.waits || s->p != NULL)
		return;
	cw_list_remove(&s->of_device);
	cw_free(s->call.body);
	cw_free(s);
}

/* Take the parcel out of the attempt. */
static struct cw_parcel *detach(struct http2_send *s)
{
	struct cw_parcel *p = s->p;

	s->p = NULL;
	if (p != NULL)
		p->send = NULL;
	return p;
}

static uint64_t again_after(struct http2_device *hd)
{
	uint64_t ms = (uint64_t)AGAIN_MS << hd->fails;

	if (ms >= AGAIN_MOST_MS)
		return AGAIN_MOST_MS;
	hd->fails++;
	return ms;
}

/* What the platform says to a message; the attempt is over but for a reply that may still be waited for. */
static void settle_by_status(struct http2 *h, struct cw_updevice *d, struct cw_parcel *p, int rc, int status,
			     const char *text)
{
	struct http2_device *hd = http2_device_of(d);
	char why[160];

	if (rc == CW_ECLOSED) { /* goes out on the next connection */
		cw_lane_later(&h->u->lane, p, AGAIN_MS);
	} else if (rc < 0 || status == 429 || status >= 500) {
		cw_lane_later(&h->u->lane, p, again_after(hd));
	} else if (status == 401) {
		cw_lane_later(&h->u->lane, p, AGAIN_MS);
		http2_lost(h, "the platform has forgotten the login of this connection");
	} else if (status == STATUS_FORBIDDEN && hd->denied != p->number) {
		hd->denied = p->number; /* the platform may have lost the device's session: log in again, once */
		http2_device_kicked(h, d, CW_ALINK_CODE_NONE,
				    "the platform does not take messages of this device: it is logged in again");
	} else {
		(void)snprintf(why, sizeof(why), "status %d %.100s", status, text);
		cw_lane_settle(&h->u->lane, p, CW_SETTLED_REFUSED, status, why);
	}
}

static void on_published(struct http2_call *c, int rc)
{
	struct http2_send *s = cw_container_of(c, struct http2_send, call);
	struct cw_updevice *d = s->d;
	struct http2 *h = s->h;
	struct cw_parcel *p = NULL;
	int status = c->status, ok = rc == 0 && c->status == 200;
	char text[sizeof(c->text)];

	memcpy(text, c->text, sizeof(text));
	if (ok) {
		cw_count(upstream, confirmed);
		if (d != NULL)
			http2_device_of(d)->fails = 0;
	} else {
		cw_await_end(&h->replies, &s->await);
	}
	if (s->p != NULL && (!ok || !s->await.waits || !h->u->conf.confirm_reply))
		p = detach(s);
	cw_free(s->call.body);
	s->call.body = NULL;
	free_send_when_idle(s);
	if (p == NULL)
		return;
	if (ok)
		cw_lane_settle(&h->u->lane, p, CW_SETTLED_DONE, 0, NULL);
	else
		settle_by_status(h, d, p, rc, status, text);
}

static int publish(struct http2 *h, struct http2_call *c, struct cw_updevice *d, const char id[HTTP2_ID_SIZE],
		   const char *topic, struct cw_bytes payload, unsigned qos)
{
	const nghttp2_nv field = http2_field("x-qos", qos != 0 ? "1" : "0");
	int rc = http2_envelope(id, d->product_key, d->device_name, topic, payload, &c->body, &c->len);

	if (rc == 0)
		rc = http2_link_call(h->link, c, "POST", h->path_post, &field, 1);
	if (rc < 0) {
		cw_free(c->body);
		c->body = NULL;
	}
	return rc;
}

int http2_send_parcel(void *connector, struct cw_updevice *d, struct cw_parcel *p)
{
	struct http2 *h = connector;
	char id[HTTP2_ID_SIZE];
	struct cw_message message;
	struct http2_send *s;
	int rc;

	if (h->state != HTTP2_LINK_UP)
		return CW_EBUSY;
	s = cw_zalloc(sizeof(*s));
	if (s == NULL)
		return CW_ENOMEM;
	rc = cw_message_of_parcel(h->u, &h->replies, d, p, &message);
	if (rc == 0) {
		s->call.done = on_published;
		id_of_parcel(h, p, id);
		rc = publish(h, &s->call, d, id, message.post.topic,
			     cw_bytes_of((const uint8_t *)message.post.payload, message.post.len), message.post.qos);
		cw_free(message.post.payload);
		rc = rc == CW_ECLOSED ? CW_EBUSY : rc; /* the news that it is down are on their way */
	}
	if (rc < 0) {
		cw_free(s);
		return rc;
	}
	s->h = h;
	s->d = d;
	s->p = p;
	memcpy(s->request, message.request, sizeof(s->request));
	p->send = s;
	cw_list_init(&s->of_device);
	cw_list_push_back(&http2_device_of(d)->sends, &s->of_device);
	if (message.want_reply)
		(void)cw_await_add(&h->replies, &s->await, message.id); /* else the acknowledgement has to do */
	cw_count(upstream, published);
	return 0;
}

void http2_recall(void *connector, struct cw_parcel *p)
{
	struct http2_send *s = p->send;

	if (s == NULL)
		return;
	(void)detach(s);
	http2_link_cancel(&s->call);
	cw_await_end(&s->h->replies, &s->await);
	free_send_when_idle(s);
}

void http2_posts_forget(struct http2_device *hd, struct http2 *h)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&hd->sends)) != NULL) {
		struct http2_send *s = cw_container_of(e, struct http2_send, of_device);

		s->d = NULL;
		http2_link_cancel(&s->call);
		cw_await_end(&h->replies, &s->await);
		free_send_when_idle(s);
	}
}

/* ---- replies ---------------------------------------------------------------------------- */

void http2_on_reply_late(struct cw_await_set *set, struct cw_await *a)
{
	struct http2 *h = cw_container_of(set, struct http2, replies);
	struct http2_send *s = cw_container_of(a, struct http2_send, await);
	struct cw_parcel *p = h->u->conf.confirm_reply ? detach(s) : NULL;

	if (s->d != NULL && s->request[0] != '\0')
		cw_upstream_reply(s->d, s->request, CW_CODE_TIMED_OUT, cw_bytes_of(NULL, 0));
	if (p != NULL)
		http2_link_cancel(&s->call);
	free_send_when_idle(s);
	if (p != NULL)
		cw_lane_again(&h->u->lane, p);
}

/* No reply is waited for over a connection that is gone. */
void http2_replies_drop(struct http2 *h)
{
	struct cw_await *a;

	while ((a = cw_await_oldest(&h->replies)) != NULL) {
		struct http2_send *s = cw_container_of(a, struct http2_send, await);
		struct cw_parcel *p = s->call.of == NULL ? detach(s) : NULL; /* else it goes back when its request ends */

		cw_await_end(&h->replies, a);
		if (s->d != NULL && s->request[0] != '\0' && !h->stopping)
			cw_upstream_reply(s->d, s->request, CW_CODE_TIMED_OUT, cw_bytes_of(NULL, 0));
		free_send_when_idle(s);
		if (p != NULL)
			cw_lane_later(&h->u->lane, p, AGAIN_MS);
	}
}

int http2_post_replied(struct http2 *h, const struct cw_alink_reply *r)
{
	struct cw_await *a = r->has_id ? cw_await_find(&h->replies, r->id) : NULL;
	struct cw_parcel *p = NULL;
	struct cw_updevice *d;
	struct http2_send *s;
	enum cw_code_action action = cw_code_action(r->code);

	if (a == NULL) {
		cw_message_note_reply(NULL, "", r);
		return 0;
	}
	s = cw_container_of(a, struct http2_send, await);
	d = s->d;
	cw_await_end(&h->replies, &s->await);
	cw_message_note_reply(d, s->request, r);
	if (h->u->conf.confirm_reply)
		p = detach(s);
	if (p != NULL)
		http2_link_cancel(&s->call); /* the reply may overtake the answer to the request */
	free_send_when_idle(s);
	if (p != NULL)
		cw_message_settle(h->u, p, r);
	if (action == CW_CODE_RELOGIN || action == CW_CODE_RETOPO)
		http2_device_kicked(h, d, r->code, r->message[0] != '\0' ? r->message : cw_code_text(r->code));
	return 1;
}

/* ---- answers and acknowledgements --------------------------------------------------------- */

static void on_spoken(struct http2_call *c, int rc)
{
	struct http2_spoken *s = cw_container_of(c, struct http2_spoken, call);
	int ok = rc == 0 && c->status == 200;

	if (s->is_answer && ok)
		cw_count(upstream, answers);
	else if (s->is_answer)
		cw_count(upstream, answers_lost);
	cw_free(c->body);
	cw_free(s);
}

static struct http2_spoken *new_spoken(int is_answer)
{
	struct http2_spoken *s = cw_zalloc(sizeof(*s));

	if (s == NULL)
		return NULL;
	s->call.done = on_spoken;
	s->is_answer = is_answer;
	return s;
}

void http2_answer(void *connector, struct cw_downlink *d)
{
	struct http2 *h = connector;
	struct cw_updevice *of = cw_upstream_find(h->u, cw_bytes_text(d->product_key), cw_bytes_text(d->device_name));
	struct http2_spoken *s = NULL;
	char id[HTTP2_ID_SIZE], *text = NULL;
	size_t len = 0;
	int rc = CW_ECLOSED;

	if (of != NULL && http2_device_of(of)->phase == HTTP2_UP && h->state == HTTP2_LINK_UP) {
		s = new_spoken(1);
		rc = s == NULL ? CW_ENOMEM : cw_message_answer(d, &text, &len);
	}
	if (rc == 0) {
		http2_new_id(h, id);
		rc = publish(h, &s->call, of, id, d->answer_topic, cw_bytes_of((const uint8_t *)text, len),
			     (unsigned)h->u->conf.qos);
	}
	cw_free(text);
	if (rc < 0) {
		cw_free(s);
		cw_count(upstream, answers_lost);
	}
}

void http2_ack_now(struct http2 *h, const char *message_id)
{
	const nghttp2_nv field = http2_field("x-message-id", message_id);
	struct http2_spoken *s = message_id[0] == '\0' ? NULL : new_spoken(0);

	if (s == NULL)
		return;
	if (http2_link_call(h->link, &s->call, "GET", "/message/ack", &field, 1) < 0)
		cw_free(s); /* the platform sends the message again, on the next connection */
	else
		cw_count(upstream, acknowledged);
}

uint64_t http2_ack_later(struct http2 *h, const char *message_id)
{
	struct http2_ack *a = h->ack_count >= HTTP2_ACKS_MOST ? NULL : cw_zalloc(sizeof(*a));

	if (a == NULL)
		return 0;
	a->number = ++h->serial;
	(void)snprintf(a->message_id, sizeof(a->message_id), "%s", message_id);
	cw_list_init(&a->link);
	cw_list_push_back(&h->acks, &a->link);
	h->ack_count++;
	return a->number;
}

static void drop_ack(struct http2 *h, struct http2_ack *a)
{
	cw_list_remove(&a->link);
	h->ack_count--;
	cw_free(a);
}

void http2_taken(void *connector, uint64_t number)
{
	struct http2 *h = connector;
	struct cw_list *e;

	cw_list_each (e, &h->acks) {
		struct http2_ack *a = cw_container_of(e, struct http2_ack, link);

		if (a->number != number)
			continue;
		http2_ack_now(h, a->message_id);
		drop_ack(h, a);
		return;
	}
}

void http2_ack_forget(struct http2 *h, uint64_t number)
{
	struct cw_list *e, *next;

	cw_list_each_safe (e, next, &h->acks)
		if (cw_container_of(e, struct http2_ack, link)->number == number)
			drop_ack(h, cw_container_of(e, struct http2_ack, link));
}

void http2_acks_drop(struct http2 *h)
{
	struct cw_list *e;

	while ((e = cw_list_first(&h->acks)) != NULL)
		drop_ack(h, cw_container_of(e, struct http2_ack, link));
}
