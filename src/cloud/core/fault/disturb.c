/* disturb.c - see disturb.h. */
#include "cloud/core/fault/disturb.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/traffic/msglog.h"
#include "cloud/core/traffic/violations.h"

#define HELD_MAX   10000u
#define OVERTAKE_MS 1000u /* how long a message waits to be overtaken when the fault does not say */

static const char dropped[] = "dropped by a fault", corrupted[] = "corrupted by a fault", delayed[] = "held back by a fault",
                  doubled[] = "doubled by a fault", doomed[] = "lost with its connection, by a fault";

struct held {
	struct cw_list link;
	struct cw_timer timer;
	struct cw_cloud *cloud;
	enum { HELD_UP, HELD_DOWN, HELD_END } what;
	int swap; /* goes when it has been overtaken */
	struct cloud_link *on;   /* up, end */
	struct cloud_device *to; /* down, end */
	struct cloud_msg *msg;   /* up, down */
	int dup;
	enum cloud_fault_kind kind; /* end */
	int code, waited;
};

int cw_cloud_disturbed(const struct cw_cloud *c)
{
	return cw_cloud_faults_on_messages(c->faults) || !cw_list_empty(&c->held);
}

/* ---- what is held ---- */

static void held_free(struct held *h)
{
	struct cw_timers *timers = cw_worker_timers(h->cloud->worker);

	if (timers != NULL)
		cw_timer_stop(timers, &h->timer);
	cw_list_remove(&h->link);
	h->cloud->held_count--;
	cw_cloud_msg_unref(h->msg);
	cw_free(h);
}

/* Let it go on its way. */
static void release(struct held *h)
{
	struct cw_cloud *c = h->cloud;
	struct held at = *h;

	if (at.msg != NULL)
		at.msg->refs++;
	held_free(h);
	if (at.what == HELD_UP)
		(void)cw_cloud_publish_now(c, at.on, at.msg->topic, at.msg->topic_len, cw_cloud_msg_payload(at.msg), at.msg->len, at.msg->qos);
	else if (at.what == HELD_DOWN && at.to->link != NULL)
		at.to->link->ops->push(at.to->link, at.to, at.msg, at.dup);
	else if (at.what == HELD_END)
		cw_cloud_fault_end(c, at.on, at.to, at.kind, at.code);
	cw_cloud_msg_unref(at.msg);
}

static void on_due(struct cw_timer *t)
{
	struct held *h = cw_container_of(t, struct held, timer);

	/* What the front has to say about the message itself goes out when the loop waits for the first time: after this. */
	if (h->what == HELD_END && !h->waited) {
		h->waited = 1;
		cw_timer_set(cw_worker_timers(h->cloud->worker), &h->timer, 0, on_due);
		return;
	}
	release(h);
}

/* NULL: no room or no memory; then nothing is held. */
static struct held *hold(struct cw_cloud *c, const struct held *what, unsigned ms)
{
	struct held *h = c->held_count < HELD_MAX ? cw_zalloc(sizeof(*h)) : NULL;

	if (h == NULL)
		return NULL;
	*h = *what;
	h->cloud = c;
	cw_list_push_back(&c->held, &h->link);
	c->held_count++;
	cw_timer_set(cw_worker_timers(c->worker), &h->timer, ms, on_due);
	return h;
}

/* One message behind which another is waiting: there is at most one for each link and direction. */
static struct held *find_swap(struct cw_cloud *c, int what, const struct cloud_link *on, const struct cloud_device *to)
{
	struct cw_list *e;

	cw_list_each(e, &c->held) {
		struct held *h = cw_container_of(e, struct held, link);

		if (h->swap && (int)h->what == what && (what == HELD_UP ? h->on == on : h->to == to))
			return h;
	}
	return NULL;
}

void cw_cloud_disturb_link_gone(struct cw_cloud *c, const struct cloud_link *l)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &c->held) {
		struct held *h = cw_container_of(e, struct held, link);

		if (h->on == l)
			held_free(h);
	}
}

void cw_cloud_disturb_session_gone(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &c->held) {
		struct held *h = cw_container_of(e, struct held, link);

		if (h->to != d)
			continue;
		if (h->what == HELD_DOWN && h->msg->qos != 0 && d->persistent)
			cw_cloud_store(c, d, h->msg, 0);
		held_free(h);
	}
}

void cw_cloud_disturb_drop(struct cw_cloud *c)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &c->held)
		held_free(cw_container_of(e, struct held, link));
}

/* ---- ends of connections ---- */

void cw_cloud_fault_end(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, enum cloud_fault_kind kind, int code)
{
	if (l != NULL) /* a bridge's link outlives its connections */
		l->doomed = 0;
	if (kind == CLOUD_FAULT_KICK) {
		cw_cloud_violation(c, d, "fault", "kicked");
		cw_cloud_device_kick(c, d, code != 0 ? code : 427, "kicked by a fault");
	} else if (kind == CLOUD_FAULT_HALF_CLOSE && l != NULL && l->ops->half_close != NULL) {
		cw_cloud_violation(c, l->owner, "fault", "connection half-closed");
		l->ops->half_close(l);
	} else {
		d = l != NULL && l->owner != NULL ? l->owner : d;
		cw_cloud_violation(c, d, "fault", "connection cut");
		if (l != NULL && l->ops->cut != NULL)
			l->ops->cut(l, "cut by a fault");
		else
			cw_cloud_device_kick(c, d, 0, "cut by a fault");
	}
}

/* Does this message end its connection? `d` is the session it belongs to. */
static void look_for_end(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, struct cloud_strike *at)
{
	static const enum cloud_fault_kind kinds[] = { CLOUD_FAULT_CUT, CLOUD_FAULT_KICK, CLOUD_FAULT_HALF_CLOSE };
	size_t i;

	cw_cloud_faults_passed(c, at);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct held end = { .what = HELD_END, .on = l, .to = d, .kind = kinds[i] };

		if (!cw_cloud_fault(c, kinds[i], at))
			continue;
		end.code = at->code;
		/* Nothing passes a connection that is cut; a half of it that is closed, and a sub-device that goes, leave the rest. */
		l->doomed |= l->uplink_only || kinds[i] == CLOUD_FAULT_CUT || (kinds[i] == CLOUD_FAULT_KICK && l->owner == d);
		if (!l->uplink_only)
			(void)hold(c, &end, 0);
		return;
	}
}

/* ---- messages ---- */

/* One byte of the payload becomes another. */
static struct cloud_msg *corrupt(const char *topic, size_t topic_len, const void *payload, size_t len, uint8_t qos, uint64_t random)
{
	struct cloud_msg *copy = cw_cloud_msg_new(topic, topic_len, payload, len, qos);

	if (copy != NULL && len != 0) {
		char *byte = copy->topic + topic_len + 1 + (size_t)(random >> 8) % len;

		*byte = (char)(*byte ^ (char)(1 + random % 255));
	}
	return copy;
}

static void note_lost(struct cw_cloud *c, const struct cloud_strike *at, const void *payload, size_t len, uint8_t qos)
{
	cw_cloud_log_add(c->log, &(struct cloud_log_note){ .device = at->device, .topic = at->topic, .topic_len = at->topic_len,
	                 .payload = payload, .len = len, .qos = qos, .outcome = "lost", .reason = dropped });
}

/* 1 when the message waits now. */
static int hold_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_msg *msg, struct cloud_strike *at)
{
	struct held h = { .what = HELD_UP, .on = l, .msg = msg };

	if (cw_cloud_fault(c, CLOUD_FAULT_DELAY, at)) {
		if (l->uplink_only)
			l->delay_ms += (unsigned)at->ms;
	} else if (!l->uplink_only && find_swap(c, HELD_UP, l, NULL) == NULL && cw_cloud_fault(c, CLOUD_FAULT_REORDER, at)) {
		h.swap = 1;
		at->ms = at->ms != 0 ? at->ms : (int)OVERTAKE_MS;
	} else {
		return 0;
	}
	if (l->uplink_only || hold(c, &h, (unsigned)at->ms) == NULL)
		return 0;
	msg->refs++;
	return 1;
}

static enum cloud_verdict pass_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_msg *msg, struct cloud_strike *at)
{
	struct held *behind = find_swap(c, HELD_UP, l, NULL);
	enum cloud_verdict verdict;

	if (hold_up(c, l, msg, at))
		return CLOUD_TAKEN;
	verdict = cw_cloud_publish_now(c, l, msg->topic, msg->topic_len, cw_cloud_msg_payload(msg), msg->len, msg->qos);
	if (l->owner != NULL && cw_cloud_fault(c, CLOUD_FAULT_DUPLICATE, at))
		(void)cw_cloud_publish_now(c, l, msg->topic, msg->topic_len, cw_cloud_msg_payload(msg), msg->len, msg->qos);
	/* It may have gone with its link meanwhile. */
	if (behind != NULL && l->owner != NULL && find_swap(c, HELD_UP, l, NULL) == behind)
		release(behind);
	return verdict;
}

/* The session on this link that a topic's device has, or the owner's. */
static struct cloud_device *session_of(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len)
{
	struct cloud_topic t;
	struct cloud_device *d = NULL, *session = NULL;

	cw_cloud_topic_parse(topic, topic_len, &t);
	if (t.kind != CLOUD_TOPIC_BAD && t.dn.len != 0)
		d = cw_cloud_device_find(c, t.pk.s, t.pk.len, t.dn.s, t.dn.len);
	if (d != NULL)
		session = cw_cloud_session_on(l, d);
	return session != NULL ? session : l->owner;
}

enum cloud_verdict cw_cloud_disturb_up(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len,
                                       const void *payload, size_t len, uint8_t qos)
{
	struct cloud_device *session = session_of(c, l, topic, topic_len);
	struct cloud_strike at = { .channel = l->ops->channel, .device = session->id, .topic = topic, .topic_len = topic_len,
		                   .direction = CLOUD_UP };
	enum cloud_verdict verdict = CLOUD_TAKEN;
	struct cloud_msg *msg;

	if (l->doomed)
		return CLOUD_DROP_SESSION;
	if (cw_cloud_fault(c, CLOUD_FAULT_DROP, &at)) {
		note_lost(c, &at, payload, len, qos);
	} else {
		msg = cw_cloud_fault(c, CLOUD_FAULT_CORRUPT, &at) ? corrupt(topic, topic_len, payload, len, qos, at.random)
		                                                  : cw_cloud_msg_new(topic, topic_len, payload, len, qos);
		if (msg == NULL)
			return CLOUD_DROP_LIMIT;
		verdict = pass_up(c, l, msg, &at);
		cw_cloud_msg_unref(msg);
	}
	if (l->owner != NULL)
		look_for_end(c, l, session_of(c, l, topic, topic_len), &at);
	return verdict;
}

/* 1 when the message waits now. */
static int hold_down(struct cw_cloud *c, struct cloud_link *l, const struct held *h, struct cloud_strike *at)
{
	struct held x = *h;

	if (cw_cloud_fault(c, CLOUD_FAULT_DELAY, at)) {
		if (l->uplink_only)
			l->delay_ms += (unsigned)at->ms;
	} else if (!l->uplink_only && find_swap(c, HELD_DOWN, NULL, h->to) == NULL && cw_cloud_fault(c, CLOUD_FAULT_REORDER, at)) {
		x.swap = 1;
		at->ms = at->ms != 0 ? at->ms : (int)OVERTAKE_MS;
	} else {
		return 0;
	}
	if (l->uplink_only || hold(c, &x, (unsigned)at->ms) == NULL)
		return 0;
	x.msg->refs++;
	return 1;
}

static const char *pass_down(struct cw_cloud *c, struct cloud_link *l, const struct held *h, struct cloud_strike *at)
{
	struct held *behind = find_swap(c, HELD_DOWN, NULL, h->to);
	const char *what = NULL;

	if (hold_down(c, l, h, at))
		return delayed;
	l->ops->push(l, h->to, h->msg, h->dup);
	if (cw_cloud_fault(c, CLOUD_FAULT_DUPLICATE, at)) {
		l->ops->push(l, h->to, h->msg, h->dup);
		what = doubled;
	}
	if (behind != NULL && find_swap(c, HELD_DOWN, NULL, h->to) == behind)
		release(behind);
	return what;
}

const char *cw_cloud_push(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	struct cloud_strike at = { .channel = l->ops->channel, .device = to->id, .topic = msg->topic, .topic_len = msg->topic_len,
		                   .direction = CLOUD_DOWN };
	struct held h = { .what = HELD_DOWN, .to = to, .msg = msg, .dup = dup };
	struct cloud_msg *bad = NULL;
	const char *what;

	if (l->doomed && !l->uplink_only)
		return doomed;
	if (!cw_cloud_disturbed(c)) {
		l->ops->push(l, to, msg, dup);
		return NULL;
	}
	if (cw_cloud_fault(c, CLOUD_FAULT_DROP, &at)) {
		what = dropped;
	} else {
		if (cw_cloud_fault(c, CLOUD_FAULT_CORRUPT, &at))
			bad = corrupt(msg->topic, msg->topic_len, cw_cloud_msg_payload(msg), msg->len, msg->qos, at.random);
		h.msg = bad != NULL ? bad : msg;
		what = pass_down(c, l, &h, &at);
		if (what == NULL && bad != NULL)
			what = corrupted;
		cw_cloud_msg_unref(bad);
	}
	if (l->owner != NULL)
		look_for_end(c, l, to, &at);
	return what;
}
