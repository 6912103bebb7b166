/*
 * replay.c - frames of pending.c decoded as a connection of their own, on a worker.
 *
 * A link without a session: what the decoder sends goes nowhere, each frame has the time of its arrival, and the
 * records of each are followed until they are settled. One frame after the other is shown to decode(); it stops where
 * the decoder asks who this is, or a lane has no room, and goes on by gw_link_continue(). When the last was taken, or
 * when the device cannot be attached, the link ends: frames that were not decoded go back, those that were stay here
 * until their last record is settled.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_impl.h"

/* No session of net has this bit in its number. */
#define REPLAY_BIT (1ULL << 47)

static void done_if_settled(struct replay *r)
{
	if (r->link != NULL || r->unsettled > 0 || r->gw->replays_over)
		return;
	cw_list_remove(&r->here);
	cw_post(r->gw->gateway->conf.control, &r->done_mail, gw_pending_settled);
}

/* Its last record is settled, and decode() has returned. */
static void frame_over(struct kept_frame *f)
{
	f->replay->unsettled--;
	done_if_settled(f->replay);
}

static void close_frame(struct replay *r)
{
	struct kept_frame *f = r->current;

	r->current = NULL;
	if (f == NULL)
		return;
	f->open = 0;
	if (f->outstanding == 0)
		frame_over(f);
}

struct kept_frame *gw_replay_ticket(struct link *l)
{
	struct kept_frame *f = l->replay->current;

	if (f != NULL)
		f->outstanding++;
	return f;
}

void gw_replay_settled(struct kept_frame *f, int result)
{
	if (result == CW_SETTLED_LOST)
		f->worst = CW_SETTLED_LOST;
	if (--f->outstanding == 0 && !f->open)
		frame_over(f);
}

int64_t gw_replay_time(const struct link *l)
{
	return l->replay->arrived_ms;
}

/* ---- the end -------------------------------------------------------------------------- */

static void go_back(struct replay *r)
{
	struct cw_list *e;

	if (r->current != NULL) { /* was shown, and could not be used */
		cw_list_remove(&r->current->link);
		cw_list_push_back(&r->back, &r->current->link);
		r->current = NULL;
		r->unsettled--;
	}
	while ((e = cw_list_pop(&r->frames)) != NULL)
		cw_list_push_front(&r->back, e); /* the last one first */
}

static void end(struct replay *r)
{
	struct link *l = r->link;

	if (l != NULL) {
		/* Closed while it asks: once more in a while. */
		if (r->refused == 0 && cw_conn_waiting_frame(l->conn).len > 0)
			r->refused = CW_REFUSED_LATER;
		cw_timer_stop(cw_worker_timers(r->gw->worker), &r->timer);
		gw_link_end(l, 0, "its kept frames are decoded");
	}
	r->link = NULL;
	if (r->current != NULL && (r->refused == 0 || r->current->outstanding > 0))
		close_frame(r);
	go_back(r);
	cw_post(r->gw->gateway->conf.control, &r->fed_mail, gw_pending_fed);
	done_if_settled(r);
}

/* ---- frame after frame -------------------------------------------------------------------- */

/* The rest once the one under way is through. */
static void run(struct replay *r)
{
	struct link *l = r->link;

	while (!l->closing && r->refused == 0) {
		struct cw_list *e;

		if (!cw_list_empty(&l->parcels))
			return; /* a lane has no room: gw_link_continue() comes */
		close_frame(r);
		e = cw_list_pop(&r->frames);
		if (e == NULL)
			break;
		r->current = cw_container_of(e, struct kept_frame, link);
		r->current->open = 1;
		r->unsettled++;
		cw_list_push_back(&r->taken, e);
		r->arrived_ms = r->current->arrived_ms;
		cw_conn_set_arrival(l->conn, r->arrived_ms);
		if (cw_conn_feed_frame(l->conn, cw_bytes_of(r->current->bytes + r->current->identity_len,
							    r->current->len)) == CW_EBUSY)
			return; /* it asks, or is held */
	}
	end(r);
}

void gw_replay_continue(struct replay *r)
{
	struct link *l = r->link;

	if (r->gw->holding)
		return;
	if (!l->closing && r->refused == 0 && (!cw_list_empty(&l->parcels) || cw_conn_resume(l->conn) == CW_EBUSY))
		return;
	run(r);
}

void gw_replay_refused(struct link *l, const struct ask *k)
{
	struct replay *r = l->replay;

	if (!k->optional && r->identity_len == k->identity_len &&
	    memcmp(r->identity, k->identity, k->identity_len) == 0)
		r->refused = k->refused;
}

static void on_closing(struct cw_timer *t)
{
	gw_replay_continue(cw_container_of(t, struct replay, timer));
}

void gw_replay_close(struct replay *r)
{
	/* Not from within the decoder's entry. */
	cw_timer_set(cw_worker_timers(r->gw->worker), &r->timer, 0, on_closing);
}

void gw_replay_start(struct cw_mail *mail)
{
	struct replay *r = cw_container_of(mail, struct replay, mail);
	struct gw_worker *gw = r->gw;
	void *ctx;

	cw_list_push_back(&gw->replays, &r->here);
	if (gw->replays_over || gw->holding)
		return; /* gw_replays_fini() frees it */
	r->link =
		gw_link_new(gw, NULL, r->binding, (uint64_t)gw->index << 48 | REPLAY_BIT | ++gw->next_replay, r, &ctx);
	if (r->link == NULL) {
		r->refused = CW_REFUSED_LATER;
		end(r);
		return;
	}
	run(r);
}

/* ---- the gateway stops ----------------------------------------------------------------------- */

static void free_frames(struct cw_list *list)
{
	struct cw_list *e;

	while ((e = cw_list_pop(list)) != NULL)
		cw_free(cw_container_of(e, struct kept_frame, link));
}

void gw_replays_stop(struct gw_worker *gw)
{
	struct cw_list *e;

	gw->replays_over = 1;
	cw_list_each(e, &gw->replays) {
		struct replay *r = cw_container_of(e, struct replay, here);

		if (r->link == NULL)
			continue;
		cw_timer_stop(cw_worker_timers(gw->worker), &r->timer);
		r->unsettled++; /* nobody is to be told any more */
		gw_link_end(r->link, 0, "the gateway stops");
		r->link = NULL;
	}
}

void gw_replays_fini(struct gw_worker *gw)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&gw->replays)) != NULL) {
		struct replay *r = cw_container_of(e, struct replay, here);

		free_frames(&r->frames);
		free_frames(&r->taken);
		free_frames(&r->back);
		cw_free(r);
	}
}
