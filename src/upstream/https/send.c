/* send.c - messages over HTTPS, and what their answers mean; see https.h. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "upstream/https/https.h"

#define FAILURES_MOST 5u /* of one message, with a code that may be for good: then it is refused */

static void on_posted(void *ctx, const struct cw_fetch_reply *reply);

static void free_send(struct https_send *s)
{
	s->p->send = NULL;
	https_device_of(s->d)->send = NULL;
	cw_split_drop(&s->messages.split);
	cw_free(s);
}

static int start_part(struct https_send *s)
{
	struct https_device *hd = https_device_of(s->d);
	const struct cw_split_part *part = &s->messages.split.parts[s->part];
	char url[sizeof(s->h->base) + 3 * CW_TOPIC_MAX + 16], password[HTTPS_TOKEN_MOST + 16];
	const char *const headers[] = { password, "Content-Type: application/octet-stream", NULL };
	int n = snprintf(url, sizeof(url), "%s/topic", s->h->base), rc;
	struct cw_fetch_request r;

	rc = https_encode_path(s->messages.split.head.topic, url + n, sizeof(url) - (size_t)n);
	if (rc < 0)
		return rc;
	(void)snprintf(password, sizeof(password), "password: %s", hd->token);
	r = https_request(s->h, url, headers, cw_bytes_of(part->payload, part->len));
	r.done = on_posted;
	r.ctx = s;
	rc = cw_fetch_start(s->h->pool, &r, &s->fetch);
	explicit_bzero(password, sizeof(password));
	if (rc == 0)
		cw_count(upstream, published);
	return rc;
}

int https_send(void *connector, struct cw_updevice *d, struct cw_parcel *p)
{
	struct https *h = connector;
	struct https_device *hd = https_device_of(d);
	struct https_send *s;
	int rc;

	if (h->state != LINK_UP || hd->phase != PHASE_UP || hd->send != NULL)
		return CW_EBUSY;
	s = cw_zalloc(sizeof(*s));
	if (s == NULL)
		return CW_ENOMEM;
	s->h = h;
	s->d = d;
	s->p = p;
	rc = cw_messages_of_parcel(h->u, &h->ids, d, p, h->own.message_bytes, &s->messages);
	if (rc < 0) {
		cw_free(s);
		return rc;
	}
	p->send = s;
	hd->send = s;
	rc = start_part(s);
	if (rc < 0)
		free_send(s);
	return rc;
}

void https_recall(void *connector, struct cw_parcel *p)
{
	struct https_send *s = p->send;

	(void)connector;
	if (s == NULL)
		return;
	if (s->fetch != NULL)
		cw_fetch_cancel(s->fetch);
	free_send(s);
}

/* ---- outcomes; each ends `s` --------------------------------------------------------- */

/* Back into the queue, for longer each time. */
static void later(struct https_send *s)
{
	struct https_device *hd = https_device_of(s->d);
	const struct cw_upstream_conf *c = &s->h->u->conf;
	struct cw_lane *lane = &s->h->u->lane;
	struct cw_parcel *p = s->p;

	hd->later_ms = hd->later_ms == 0 ? c->retry_min_ms : hd->later_ms * 2;
	if (hd->later_ms > c->retry_max_ms)
		hd->later_ms = c->retry_max_ms;
	free_send(s);
	cw_lane_later(lane, p, hd->later_ms);
}

static void settle(struct https_send *s, uint8_t result, int32_t code, const char *text)
{
	struct cw_lane *lane = &s->h->u->lane;
	struct cw_parcel *p = s->p;

	https_device_of(s->d)->later_ms = 0;
	free_send(s);
	cw_lane_settle(lane, p, result, code, text);
}

/* 30001 says both "not now" and "not this topic": a few times, or the queue behind it would wait for ever. */
static void later_a_few_times(struct https_send *s, const struct https_answer *a)
{
	struct https_device *hd = https_device_of(s->d);

	if (hd->failed_number != s->p->number)
		hd->failures = 0;
	hd->failed_number = s->p->number;
	if (++hd->failures < FAILURES_MOST)
		later(s);
	else
		settle(s, CW_SETTLED_REFUSED, a->code, a->message);
}

static void login_again(struct https_send *s, const struct https_answer *a)
{
	struct https_device *hd = https_device_of(s->d);
	struct https *h = s->h;
	struct cw_updevice *d = s->d;

	if (hd->relogin_number == s->p->number) { /* a fresh token did not help it */
		later(s);
		return;
	}
	hd->relogin_number = s->p->number;
	https_token_dead(h, d, a->code, a->message); /* recalls it */
}

/* The reply of Alink, where the answer has one. 1: it settles the parcel. */
static int take_reply(struct https_send *s, const struct https_answer *a)
{
	struct cw_upstream *u = s->h->u;
	struct cw_updevice *d = s->d;
	struct cw_alink_reply r;
	struct cw_parcel *p = s->p;

	if (a->data.len == 0 || cw_alink_reply(a->data, &r) < 0)
		return 0;
	if (r.code == CW_CODE_OK) {
		cw_count(upstream, replies_ok);
	} else {
		cw_count(upstream, replies_failed);
		cw_log(upstream_reply_failed, r.message, CW_LS("product", d->product_key),
		       CW_LS("device", d->device_name), CW_LI("code", r.code));
	}
	if (s->reply_code == 0 || s->reply_code == CW_CODE_OK)
		s->reply_code = r.code;
	if (s->messages.request[0] != '\0' && (s->part + 1 == s->messages.split.count || r.code != CW_CODE_OK)) {
		cw_upstream_reply(d, s->messages.request, s->reply_code, r.data);
		s->messages.request[0] = '\0'; /* told */
	}
	if (!u->conf.confirm_reply || r.code == CW_CODE_OK) {
		cw_alink_reply_drop(&r);
		return 0;
	}
	free_send(s);
	cw_message_settle(u, p, &r);
	cw_alink_reply_drop(&r);
	return 1;
}

static void taken(struct https_send *s, const struct https_answer *a)
{
	struct cw_updevice *d = s->d;

	cw_count(upstream, confirmed);
	cw_log(upstream_message, "taken", CW_LS("product", d->product_key), CW_LS("device", d->device_name),
	       CW_LS("topic", s->messages.split.head.topic), CW_LU("id", cw_split_id(s->messages.id, s->part)),
	       CW_LS("messageId", a->message_id));
	if (take_reply(s, a))
		return;
	if (++s->part < s->messages.split.count) {
		if (start_part(s) < 0)
			later(s);
		return;
	}
	if (s->messages.request[0] != '\0') /* no reply of its own came: the platform took it */
		cw_upstream_reply(d, s->messages.request, CW_CODE_OK, cw_bytes_of(NULL, 0));
	settle(s, CW_SETTLED_DONE, 0, NULL);
}

static void on_answer(struct https_send *s, const struct https_answer *a)
{
	switch (https_topic_action(a->code)) {
	case HTTPS_DONE: taken(s, a); return;
	case HTTPS_RELOGIN: login_again(s, a); return;
	case HTTPS_AFEW: later_a_few_times(s, a); return;
	case HTTPS_REFUSED: settle(s, CW_SETTLED_REFUSED, a->code, a->message); return;
	default: later(s); return;
	}
}

static void on_posted(void *ctx, const struct cw_fetch_reply *reply)
{
	struct https_send *s = ctx;
	struct https *h = s->h;
	struct https_answer a;

	s->fetch = NULL;
	if (reply->rc < 0) {
		later(s);
	} else if (reply->status == 413) {
		settle(s, CW_SETTLED_REFUSED, 413, "too long for the platform");
	} else if (reply->status != 200 || https_answer_read(reply->body, &a) < 0) {
		https_odd(h, reply);
		later(s);
	} else {
		on_answer(s, &a);
		https_answer_drop(&a);
	}
	https_heard(h, reply); /* after its parcel is in safety: this may end the link */
}
