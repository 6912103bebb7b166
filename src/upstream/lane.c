/* lane.c - see lane.h. */
#include "upstream/lane.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/decoder.h"
#include "causeway/record.h"
#include "upstream/device.h"

#define BUSY_MS 20u /* the connector had no room: ask again */
#define AGAIN_MS 1000u

/* What is known of one message by its duplicate key. */
struct cw_lane_dup {
	struct cw_map_node node;
	struct cw_list link; /* the lane's, once settled */
	struct cw_lane_device *ld;
	struct cw_parcel *parcel; /* the first copy; NULL once settled */
	uint64_t settled_ms;
	uint8_t key[];
};

static void pump(struct cw_lane *lane);
static void on_pause(struct cw_timer *t);
static void on_wait(struct cw_timer *t);
static void on_flight(struct cw_timer *t);

static uint64_t now_of(struct cw_lane *lane)
{
	return cw_worker_now(lane->w);
}

static struct cw_updevice *device_of(struct cw_lane_device *ld)
{
	return cw_container_of(ld, struct cw_updevice, lane);
}

size_t cw_lane_cost(const struct cw_parcel *p)
{
	return sizeof(*p) + p->len;
}

void cw_lane_init(struct cw_lane *lane, const struct cw_upstream_conf *conf, struct cw_worker *w,
		  const struct cw_lane_ops *ops, void *ctx)
{
	memset(lane, 0, sizeof(*lane));
	lane->conf = conf;
	lane->w = w;
	lane->ops = ops;
	lane->ctx = ctx;
	cw_list_init(&lane->ready[0]);
	cw_list_init(&lane->ready[1]);
	cw_list_init(&lane->flight);
	cw_list_init(&lane->wait);
	cw_list_init(&lane->dups);
	lane->rate.rate = conf->rate_bridge;
}

void cw_lane_fini(struct cw_lane *lane)
{
	struct cw_timers *ts = lane->w == NULL ? NULL : cw_worker_timers(lane->w);

	if (ts != NULL) {
		cw_timer_stop(ts, &lane->pause);
		cw_timer_stop(ts, &lane->wait_timer);
		cw_timer_stop(ts, &lane->flight_timer);
	}
}

void cw_lane_device_init(struct cw_lane *lane, struct cw_lane_device *ld)
{
	memset(ld, 0, sizeof(*ld));
	cw_list_init(&ld->queue[0]);
	cw_list_init(&ld->queue[1]);
	cw_list_init(&ld->sent);
	cw_list_init(&ld->ready);
	cw_map_init(&ld->dups);
	cw_pace_window_init(&ld->rate[0], NULL, lane->conf->rate_device_qos0, 1000);
	cw_pace_window_init(&ld->rate[1], NULL, lane->conf->rate_device_qos1, 1000);
}

void cw_lane_device_fini(struct cw_lane_device *ld)
{
	cw_free(ld->rate[0].at);
	cw_free(ld->rate[1].at);
	ld->rate[0].at = ld->rate[1].at = NULL;
}

/* A silent device keeps no times. 0 without memory for them. */
static int has_times(struct cw_pace_window *rate)
{
	if (rate->at == NULL && rate->count > 0)
		rate->at = cw_calloc(rate->count, sizeof(rate->at[0]));
	return rate->at != NULL || rate->count == 0;
}

/* ---- answers ---------------------------------------------------------------- */

static void on_answer(struct cw_mail *mail)
{
	struct cw_parcel *p = cw_container_of(mail, struct cw_parcel, answer);

	p->settled(p);
}

/* Tell the home worker, or nobody; the reference passed in goes with it. */
static void answer(struct cw_parcel *p, uint8_t result, int32_t code)
{
	cw_list_remove(&p->wait);
	if (!p->want_answer || p->answered) {
		cw_parcel_unref(p);
		return;
	}
	p->answered = 1;
	p->result = result;
	p->code = code;
	cw_post(p->home, &p->answer, on_answer);
}

void cw_lane_lost(struct cw_parcel *p)
{
	cw_count(bridge, records_lost);
	answer(p, CW_SETTLED_LOST, 0);
}

static void arm(struct cw_lane *lane, struct cw_timer *t, uint64_t due_ms, void (*fire)(struct cw_timer *))
{
	uint64_t now = now_of(lane);

	if (!cw_timer_armed(t))
		cw_timer_set(cw_worker_timers(lane->w), t, due_ms > now ? due_ms - now : 0, fire);
}

static void wait_for_answer(struct cw_lane *lane, struct cw_parcel *p)
{
	if (!p->want_answer || p->final_only || lane->conf->ack_timeout_ms == 0)
		return;
	cw_list_push_back(&lane->wait, &p->wait);
	arm(lane, &lane->wait_timer, p->offered_ms + lane->conf->ack_timeout_ms, on_wait);
}

/* ackTimeout: the device hears `pending`, the parcel stays where it is. */
static void on_wait(struct cw_timer *t)
{
	struct cw_lane *lane = cw_container_of(t, struct cw_lane, wait_timer);
	struct cw_list *e;

	while ((e = cw_list_first(&lane->wait)) != NULL) {
		struct cw_parcel *p = cw_container_of(e, struct cw_parcel, wait);

		if (p->offered_ms + lane->conf->ack_timeout_ms > now_of(lane)) {
			arm(lane, t, p->offered_ms + lane->conf->ack_timeout_ms, on_wait);
			return;
		}
		cw_count(bridge, records_pending);
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
		answer(p, CW_SETTLED_PENDING, 0);
	}
}

/* ---- duplicates ------------------------------------------------------------- */

static void dup_free(struct cw_lane *lane, struct cw_lane_dup *dup)
{
	if (dup->parcel == NULL) {
		cw_list_remove(&dup->link);
		lane->dup_count--;
	}
	cw_map_remove(&dup->ld->dups, &dup->node);
	cw_free(dup);
}

static void forget_old(struct cw_lane *lane)
{
	uint64_t window = (uint64_t)lane->conf->dedup_window_s * 1000;
	struct cw_list *e;

	while ((e = cw_list_first(&lane->dups)) != NULL) {
		struct cw_lane_dup *dup = cw_container_of(e, struct cw_lane_dup, link);

		if (lane->dup_count <= CW_LANE_DUPS_MOST && dup->settled_ms + window > now_of(lane))
			return;
		dup_free(lane, dup);
	}
}

/* 1 when `p` is a copy and was dealt with. Without memory a copy is published twice rather than lost. */
static int join_or_remember(struct cw_lane *lane, struct cw_parcel *p, struct cw_bytes key)
{
	struct cw_lane_device *ld = &p->device->lane;
	struct cw_map_node *n;
	struct cw_lane_dup *dup;

	forget_old(lane);
	n = cw_map_find(&ld->dups, key.ptr, key.len);
	if (n != NULL) {
		dup = cw_container_of(n, struct cw_lane_dup, node);
		cw_count(bridge, records_duplicate);
		lane->ops->released(lane->ctx, p->device, cw_lane_cost(p));
		if (dup->parcel == NULL) {
			answer(p, CW_SETTLED_DONE, 0);
			return 1;
		}
		cw_list_push_back(&dup->parcel->joined, &p->joined);
		wait_for_answer(lane, p);
		return 1;
	}
	dup = cw_zalloc(sizeof(*dup) + key.len);
	if (dup == NULL)
		return 0;
	memcpy(dup->key, key.ptr, key.len);
	if (cw_map_add(&ld->dups, &dup->node, dup->key, key.len) < 0) {
		cw_free(dup);
		return 0;
	}
	dup->ld = ld;
	dup->parcel = p;
	p->dup = dup;
	return 0;
}

static void dup_settled(struct cw_lane *lane, struct cw_lane_dup *dup, uint8_t result)
{
	if (dup == NULL)
		return;
	if (result == CW_SETTLED_LOST) { /* the device will send it again, and then it must count */
		cw_map_remove(&dup->ld->dups, &dup->node);
		cw_free(dup);
		return;
	}
	dup->parcel = NULL;
	dup->settled_ms = now_of(lane);
	cw_list_push_back(&lane->dups, &dup->link);
	lane->dup_count++;
}

/* ---- queues ----------------------------------------------------------------- */

static void mark_ready(struct cw_lane *lane, struct cw_lane_device *ld)
{
	int class = !cw_list_empty(&ld->queue[0]) ? 0 : 1;

	if (lane->conf->in_flight_device > 0 && ld->out >= lane->conf->in_flight_device)
		return;
	if (!ld->online || cw_timer_armed(&ld->pause) || cw_list_empty(&ld->queue[class]))
		return;
	cw_list_remove(&ld->ready);
	cw_list_push_back(&lane->ready[class], &ld->ready);
}

static void count_result(uint8_t result)
{
	if (result == CW_SETTLED_DONE)
		cw_count(bridge, records_delivered);
	else if (result == CW_SETTLED_REFUSED)
		cw_count(bridge, records_refused);
	else
		cw_count(bridge, records_lost);
}

static void leave_flight(struct cw_lane *lane, struct cw_parcel *p)
{
	if (!p->sent)
		return;
	p->sent = 0;
	p->device->lane.out--;
	cw_list_remove(&p->flight);
	lane->in_flight--;
	cw_gauge_add(lane, in_flight, -1);
}

/* The one end of every parcel that was not a copy. */
static void finish(struct cw_lane *lane, struct cw_parcel *p, uint8_t result, int32_t code)
{
	struct cw_updevice *d = p->device;
	struct cw_list *e;

	leave_flight(lane, p);
	cw_list_remove(&p->link);
	lane->records--;
	d->lane.records--;
	cw_gauge_add(lane, queued_records, -1);
	cw_gauge_add(lane, queued_bytes, -(int64_t)cw_lane_cost(p));
	count_result(result);
	dup_settled(lane, p->dup, result);
	p->dup = NULL;
	while ((e = cw_list_pop(&p->joined)) != NULL)
		answer(cw_container_of(e, struct cw_parcel, joined), result, code);
	lane->ops->released(lane->ctx, d, cw_lane_cost(p));
	answer(p, result, code);
}

static void log_refused(struct cw_updevice *d, int32_t code, const char *text)
{
	cw_log(record_refused, text != NULL ? text : "", CW_LS("product", d->product_key),
	       CW_LS("device", d->device_name), CW_LI("code", code));
}

void cw_lane_accept(struct cw_lane *lane, struct cw_parcel *p)
{
	struct cw_lane_device *ld = &p->device->lane;
	struct cw_record rec;

	cw_list_init(&p->link);
	cw_list_init(&p->wait);
	cw_list_init(&p->flight);
	cw_list_init(&p->joined);
	p->offered_ms = now_of(lane);
	if (!cw_record_read(cw_bytes_of(p->bytes, p->len), &rec)) {
		cw_count(bridge, records_refused);
		log_refused(p->device, CW_EPROTO, "the record is malformed");
		lane->ops->released(lane->ctx, p->device, cw_lane_cost(p));
		answer(p, CW_SETTLED_REFUSED, CW_EPROTO);
		return;
	}
	if (rec.dedup.len > 0 && join_or_remember(lane, p, rec.dedup))
		return;
	p->qos = (uint8_t)(rec.kind == CW_KIND_RAW ? rec.qos : (unsigned)lane->conf->qos);
	lane->records++;
	ld->records++;
	cw_gauge_add(lane, queued_records, 1);
	cw_gauge_add(lane, queued_bytes, cw_lane_cost(p));
	cw_list_push_back(&ld->queue[p->urgent ? 0 : 1], &p->link);
	wait_for_answer(lane, p);
	mark_ready(lane, ld);
	pump(lane);
}

/* Everything of a device that is unconfirmed, back to the front of its queues in the order it went. */
static void take_back(struct cw_lane *lane, struct cw_lane_device *ld)
{
	while (!cw_list_empty(&ld->sent)) {
		struct cw_parcel *p = cw_container_of(ld->sent.prev, struct cw_parcel, link);

		lane->ops->recall(lane->ctx, p);
		leave_flight(lane, p);
		cw_list_remove(&p->link);
		cw_list_push_front(&ld->queue[p->urgent ? 0 : 1], &p->link);
	}
}

void cw_lane_again(struct cw_lane *lane, struct cw_parcel *p)
{
	cw_lane_later(lane, p, AGAIN_MS);
}

void cw_lane_later(struct cw_lane *lane, struct cw_parcel *p, uint64_t ms)
{
	struct cw_lane_device *ld = &p->device->lane;

	cw_count(upstream, resent);
	take_back(lane, ld);
	cw_list_remove(&ld->ready); /* not at once: what failed a moment ago fails again */
	cw_timer_set(cw_worker_timers(lane->w), &ld->pause, ms, on_pause);
}

void cw_lane_device_online(struct cw_lane *lane, struct cw_updevice *d, int online)
{
	d->lane.online = online;
	if (!online) {
		take_back(lane, &d->lane);
		cw_list_remove(&d->lane.ready);
		return;
	}
	mark_ready(lane, &d->lane);
	pump(lane);
}

static void lose_queue(struct cw_lane *lane, struct cw_list *queue)
{
	struct cw_list *e;

	while ((e = cw_list_first(queue)) != NULL)
		finish(lane, cw_container_of(e, struct cw_parcel, link), CW_SETTLED_LOST, 0);
}

void cw_lane_device_drop(struct cw_lane *lane, struct cw_updevice *d)
{
	struct cw_map_node *n, *next;

	cw_lane_device_online(lane, d, 0);
	lose_queue(lane, &d->lane.queue[0]);
	lose_queue(lane, &d->lane.queue[1]);
	cw_map_each_safe (n, next, &d->lane.dups)
		dup_free(lane, cw_container_of(n, struct cw_lane_dup, node));
	cw_map_fini(&d->lane.dups);
	cw_map_init(&d->lane.dups);
	if (cw_timer_armed(&d->lane.pause))
		cw_timer_stop(cw_worker_timers(lane->w), &d->lane.pause);
}

void cw_lane_settle(struct cw_lane *lane, struct cw_parcel *p, uint8_t result, int32_t code, const char *text)
{
	struct cw_updevice *d = p->device;

	if (result == CW_SETTLED_REFUSED)
		log_refused(d, code, text);
	finish(lane, p, result, code);
	if (d->lane.records == 0)
		lane->ops->drained(lane->ctx, d);
	if (lane->conf->in_flight_device > 0)
		mark_ready(lane, &d->lane); /* it was left out while its window was full */
	cw_lane_pump(lane);
}

/* ---- sending ---------------------------------------------------------------- */

static void on_pause(struct cw_timer *t)
{
	struct cw_lane_device *ld = cw_container_of(t, struct cw_lane_device, pause);
	struct cw_lane *lane = &device_of(ld)->u->lane;

	mark_ready(lane, ld);
	pump(lane);
}

static void on_lane_pause(struct cw_timer *t)
{
	struct cw_lane *lane = cw_container_of(t, struct cw_lane, pause);

	lane->busy = 0;
	pump(lane);
}

static void pause_lane(struct cw_lane *lane, uint64_t ms)
{
	if (!cw_timer_armed(&lane->pause))
		cw_timer_set(cw_worker_timers(lane->w), &lane->pause, ms, on_lane_pause);
}

/* A message went unconfirmed for long on a connection that works: once more, with all that followed it. */
static void on_flight(struct cw_timer *t)
{
	struct cw_lane *lane = cw_container_of(t, struct cw_lane, flight_timer);
	uint64_t most = (uint64_t)lane->conf->ack_timeout_ms * CW_LANE_RESEND_TIMES;
	struct cw_list *e;

	while ((e = cw_list_first(&lane->flight)) != NULL) {
		struct cw_parcel *p = cw_container_of(e, struct cw_parcel, flight);

		if (p->sent_ms + most > now_of(lane)) {
			arm(lane, t, p->sent_ms + most, on_flight);
			break;
		}
		cw_count(upstream, resent);
		take_back(lane, &p->device->lane);
		mark_ready(lane, &p->device->lane);
	}
	pump(lane);
}

static void enter_flight(struct cw_lane *lane, struct cw_lane_device *ld, struct cw_parcel *p)
{
	p->sent = 1;
	ld->out++;
	p->sent_ms = now_of(lane);
	cw_list_remove(&p->link);
	cw_list_push_back(&ld->sent, &p->link);
	cw_list_push_back(&lane->flight, &p->flight);
	lane->in_flight++;
	cw_gauge_add(lane, in_flight, 1);
	if (lane->conf->ack_timeout_ms > 0)
		arm(lane, &lane->flight_timer, p->sent_ms + (uint64_t)lane->conf->ack_timeout_ms * CW_LANE_RESEND_TIMES,
		    on_flight);
}

/* Send the next parcel of a device. 0 when the lane must wait. */
static int send_next(struct cw_lane *lane, struct cw_lane_device *ld)
{
	struct cw_list *e = cw_list_first(&ld->queue[cw_list_empty(&ld->queue[0]) ? 1 : 0]);
	struct cw_parcel *p = cw_container_of(e, struct cw_parcel, link);
	uint64_t wait = cw_pace_rate_wait(&lane->rate, now_of(lane));
	int rc;

	if (wait > 0) {
		cw_count(upstream, paced);
		pause_lane(lane, wait);
		return 0;
	}
	wait = cw_pace_window_wait(&ld->rate[p->qos], now_of(lane));
	if (wait > 0) {
		cw_count(upstream, paced);
		cw_list_remove(&ld->ready);
		cw_timer_set(cw_worker_timers(lane->w), &ld->pause, wait, on_pause);
		return 1;
	}
	rc = has_times(&ld->rate[p->qos]) ? lane->ops->send(lane->ctx, p->device, p) : CW_ENOMEM;
	if (rc == CW_EBUSY || rc == CW_ENOMEM) {
		lane->busy = rc == CW_EBUSY;
		pause_lane(lane, BUSY_MS);
		return 0;
	}
	cw_list_remove(&ld->ready);
	if (rc == 0) {
		cw_pace_rate_note(&lane->rate, now_of(lane), 1);
		cw_pace_window_note(&ld->rate[p->qos], now_of(lane));
		enter_flight(lane, ld, p);
	} else {
		struct cw_updevice *d = p->device;

		log_refused(d, rc, cw_error_text(rc));
		finish(lane, p, CW_SETTLED_REFUSED, rc);
		if (ld->records == 0)
			lane->ops->drained(lane->ctx, d);
	}
	mark_ready(lane, ld);
	return 1;
}

/* Devices take turns, one message each; those with an alarm come first. */
static void pump(struct cw_lane *lane)
{
	unsigned window = lane->conf->in_flight_records > 0 ? lane->conf->in_flight_records : lane->conf->in_flight;

	if (lane->pumping)
		return;
	lane->pumping = 1;
	while (lane->in_flight < window && !cw_timer_armed(&lane->pause)) {
		struct cw_list *e = cw_list_first(&lane->ready[0]);

		if (e == NULL)
			e = cw_list_first(&lane->ready[1]);
		if (e == NULL || !send_next(lane, cw_container_of(e, struct cw_lane_device, ready)))
			break;
	}
	lane->pumping = 0;
}

void cw_lane_pump(struct cw_lane *lane)
{
	if (lane->busy)
		cw_timer_stop(cw_worker_timers(lane->w), &lane->pause);
	lane->busy = 0;
	pump(lane);
}
