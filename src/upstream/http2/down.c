/*
 * down.c - messages from the platform: answers to logouts, replies to posts, and
 * commands for devices, which become records for the bridge. A message with QoS 1 is
 * acknowledged once somebody answers for it: the command table, or nobody because it is
 * of no use; else it would come again for ever.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "platform/codes.h"
#include "upstream/http2/http2.h"

static void take_offline_reply(struct http2 *h, const struct http2_push *p)
{
	struct cw_bytes topic = cw_bytes_text(p->topic);
	char id[HTTP2_ID_SIZE];
	int32_t code;

	if (http2_offline_reply(cw_bytes_of(p->body, p->len), id, &code) < 0)
		cw_message_odd(h->u, "malformed", topic);
	else if (!http2_offline_replied(h, id, code))
		cw_message_odd(h->u, "an answer to a logout that nobody waits for", topic);
}

static void take_reply(struct http2 *h, const struct http2_down *d)
{
	struct cw_alink_reply r;

	if (cw_alink_reply(d->payload, &r) < 0) {
		cw_message_odd(h->u, "a reply that is not JSON", d->topic);
		return;
	}
	if (!http2_post_replied(h, &r) && r.code != CW_CODE_OK)
		cw_log(upstream_reply_failed, r.message[0] != '\0' ? r.message : cw_code_text(r.code),
		       CW_LB("topic", d->topic.ptr, d->topic.len), CW_LI("code", r.code));
	cw_alink_reply_drop(&r);
}

/* Without being asked: the device is online through another bridge, for one. */
static void take_error(struct http2 *h, const struct http2_down *d)
{
	struct cw_updevice *of = cw_upstream_find(h->u, d->product_key, d->device_name);
	struct cw_alink_reply r;

	if (cw_alink_reply(d->payload, &r) < 0) {
		cw_message_odd(h->u, "malformed", d->topic);
		return;
	}
	if (of == NULL || r.code == CW_ALINK_CODE_NONE)
		cw_message_odd(h->u, "an error that names no device of ours", d->topic);
	else
		http2_device_kicked(h, of, r.code, r.message);
	cw_alink_reply_drop(&r);
}

/* 1 when nobody else has to answer for it. */
static int take_own(struct http2 *h, const struct http2_down *d, const struct cw_topic *t)
{
	switch (t->kind) {
	case CW_TOPIC_ERROR: take_error(h, d); return 1;
	case CW_TOPIC_SYS:
		if (!cw_topic_is_reply(t))
			return 0;
		if (!cw_topic_is(t->rest,
				 "thing/model/up_raw_reply")) /* bytes of the product's script: for nobody here */
			take_reply(h, d);
		return 1;
	case CW_TOPIC_SESSION:
	case CW_TOPIC_UNKNOWN:
	case CW_TOPIC_NTP: /* never asked for */ cw_message_odd(h->u, "not understood", d->topic); return 1;
	default: return 0;
	}
}

static void take_envelope(struct http2 *h, const struct http2_push *p)
{
	int wants_ack = p->qos > 0 && p->message_id[0] != '\0';
	struct http2_down d;
	struct cw_topic t;
	uint64_t ack = 0;
	int rc = http2_down(cw_bytes_of(p->body, p->len), &d);

	if (rc == CW_ENOMEM)
		return; /* it comes again */
	if (rc < 0) {
		cw_message_odd(h->u, "malformed", cw_bytes_text(p->topic));
		http2_ack_now(h, wants_ack ? p->message_id : "");
		return;
	}
	cw_topic_parse(d.topic, &t);
	if (d.product_key.len > 0 && d.device_name.len > 0 &&
	    t.kind != CW_TOPIC_UNKNOWN) { /* they count, not the topic */
		t.pk = d.product_key;
		t.dn = d.device_name;
	}
	if (take_own(h, &d, &t)) {
		http2_ack_now(h, wants_ack ? p->message_id : "");
	} else {
		if (wants_ack)
			ack = http2_ack_later(h, p->message_id);
		rc = wants_ack && ack == 0 ? CW_ENOMEM : cw_message_take(h->u, &t, d.topic, d.payload, ack);
		if (ack != 0 && rc < 0 && rc != CW_ENOMEM)
			http2_taken(h, ack);
		else if (ack != 0 && rc < 0)
			http2_ack_forget(h, ack);
	}
	http2_down_drop(&d);
}

void http2_on_push(void *ctx, const struct http2_push *p)
{
	struct http2 *h = ctx;

	cw_count(upstream, downlinks);
	if (strcmp(p->topic, h->topic_push) == 0) {
		take_envelope(h, p);
		return;
	}
	if (strcmp(p->topic, h->topic_offline) == 0)
		take_offline_reply(h, p);
	else
		cw_message_odd(h->u, "on a topic that was not subscribed", cw_bytes_text(p->topic));
	if (p->qos > 0)
		http2_ack_now(h, p->message_id);
}
