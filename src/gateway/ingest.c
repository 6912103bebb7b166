/*
 * ingest.c - from a decoder's emit() to the lane, and the way back to its ticket.
 *
 * A record is copied once, into a parcel. When the lane has no room the parcel waits
 * at its session and the session is no longer read; nothing is dropped. A ticket
 * gathers the results of its records and is told to the decoder once, with the
 * worst, after the call that emitted them is over.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "gateway/gateway_impl.h"

/* A device's clock further off than this is not believed (for all protocols alike). */
#define TIME_PAST_MS (30LL * 24 * 3600 * 1000)
#define TIME_AHEAD_MS (24LL * 3600 * 1000)

/* ---- tickets ------------------------------------------------------------------- */

static struct ticket *take_ticket(struct link *l, uint64_t number)
{
	struct cw_list *e;
	struct ticket *t;

	cw_list_each(e, &l->open) {
		t = cw_container_of(e, struct ticket, link);
		if (t->number == number)
			return t;
	}
	e = cw_list_pop(&l->gw->spare_tickets);
	t = e != NULL ? cw_container_of(e, struct ticket, link) : cw_alloc(sizeof(*t));
	if (t == NULL)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->of = l;
	t->gw = l->gw;
	t->number = number;
	t->open = 1;
	cw_list_init(&t->link);
	cw_list_push_back(&l->open, &t->link);
	return t;
}

static void put_ticket(struct ticket *t)
{
	struct gw_worker *gw = t->gw;

	cw_list_remove(&t->link);
	cw_list_push_front(&gw->spare_tickets, &t->link);
}

/* All records of the ticket are settled, or it has been told already: say it once, free it when nothing is on its way. */
static void judge_ticket(struct ticket *t)
{
	struct link *l = t->of;
	int tell = !t->open && !t->told && (t->outstanding == 0 || t->worst == CW_SETTLED_PENDING);
	uint64_t number = t->number;
	int worst = t->worst;

	if (tell)
		t->told = 1;
	if (!t->open && t->outstanding == 0)
		put_ticket(t);
	if (!tell)
		return;
	if (l == NULL) {
		cw_count(bridge, settles_late);
		return;
	}
	if (gw_traced(l))
		gw_trace_text(l, "settled", worst == CW_SETTLED_DONE ? "done" : worst == CW_SETTLED_PENDING ? "pending"
		                            : worst == CW_SETTLED_REFUSED ? "refused" : "lost", (int64_t)number);
	if (l->conn != NULL)
		cw_conn_settled(l->conn, number, worst);
}

void gw_ingest_called(struct link *l)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&l->open)) != NULL) {
		struct ticket *t = cw_container_of(e, struct ticket, link);

		t->open = 0;
		cw_list_push_back(&l->tickets, &t->link);
		judge_ticket(t);
	}
}

/* ---- the way back ---------------------------------------------------------------- */

static unsigned badness(int result)
{
	static const uint8_t rank[] = { [CW_SETTLED_DONE] = 0, [CW_SETTLED_REFUSED] = 1, [CW_SETTLED_PENDING] = 2, [CW_SETTLED_LOST] = 3 };

	return rank[result & 3];
}

static void note_result(struct ticket *t, int result)
{
	if (badness(result) > badness(t->worst))
		t->worst = (uint8_t)result;
}

/* By mail, on the home worker. */
static void on_settled(struct cw_parcel *p)
{
	struct ticket *t = p->ticket;

	if (t != NULL) {
		note_result(t, p->result);
		t->outstanding--;
		judge_ticket(t);
	}
	cw_parcel_unref(p);
}

/* ---- the way up ------------------------------------------------------------------- */

static int time_is_odd(const struct cw_record *rec, int64_t now_ms)
{
	return rec->has_time && (rec->time_ms < now_ms - TIME_PAST_MS || rec->time_ms > now_ms + TIME_AHEAD_MS);
}

static void copy_members(struct cw_writer *w, struct cw_bytes map)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);

	while (cw_item_more(&r, &m))
		cw_write_bytes(w, cw_read_whole_item(&r));
}

/* The same record with the arrival time, the device's own kept as RawTime, and the mark. */
static size_t rewrite_time(uint8_t *out, size_t size, const struct cw_record *rec, int64_t now_ms)
{
	struct cw_writer w = cw_writer_of(out, size);

	cw_record_begin(&w, rec->kind);
	if (rec->name.len > 0) {
		cw_put_uint(&w, 1);
		cw_put_textn(&w, (const char *)rec->name.ptr, rec->name.len);
	}
	cw_record_time(&w, now_ms);
	cw_record_flags(&w, rec->flags | CW_RECORD_TIME_BAD);
	if (rec->event_type != 0)
		cw_record_event_type(&w, rec->event_type);
	if (rec->dedup.len > 0)
		cw_record_dedup(&w, rec->dedup);
	if (rec->request.len > 0) {
		cw_put_uint(&w, 6);
		cw_put_textn(&w, (const char *)rec->request.ptr, rec->request.len);
	}
	if (rec->kind == CW_KIND_RAW) {
		cw_record_body_bytes(&w, rec->body);
		cw_record_qos(&w, rec->qos);
	} else {
		cw_record_body(&w);
		copy_members(&w, rec->body);
		cw_field_int(&w, "RawTime", rec->time_ms);
		cw_put_end(&w);
	}
	cw_record_end(&w);
	return w.overflow ? 0 : w.len;
}

static struct cw_parcel *make_parcel(struct cw_bytes record, const struct cw_record *rec)
{
	int64_t now = cw_clock_wall_ms();
	int odd = time_is_odd(rec, now);
	struct cw_parcel *p = cw_parcel_new(record.len + (odd ? 64 : 0));

	if (p == NULL)
		return NULL;
	p->arrival_ms = now;
	if (!odd) {
		memcpy(p->bytes, record.ptr, record.len);
		return p;
	}
	p->len = (uint32_t)rewrite_time(p->bytes, record.len + 64, rec, now);
	cw_invariant(p->len > 0);
	cw_count(bridge, times_corrected);
	return p;
}

static void stall(struct link *l, struct cw_parcel *p)
{
	cw_list_push_back(&l->parcels, &p->link);
	if (l->stall.next == NULL || cw_list_empty(&l->stall))
		cw_list_push_back(&l->gw->stalled, &l->stall);
	cw_count(bridge, records_busy);
	if (l->net == NULL) /* nothing is read any more */
		return;
	cw_conn_hold(l->conn);
	cw_session_pause(l->net);
}

/* Hand over, in order behind what is stalled. Counts the ticket's outstanding records. */
static void offer(struct link *l, struct cw_parcel *p)
{
	struct ticket *t = p->ticket;
	int answer = l->binding->ack == CW_ACK_DELIVERED;

	p->want_answer = (uint8_t)(answer && t != NULL);
	if (t != NULL)
		t->outstanding++;
	if (!cw_list_empty(&l->parcels) || cw_upstream_submit(p) == CW_EBUSY) {
		stall(l, p);
		return;
	}
	if (t != NULL && !answer)
		t->outstanding--;
}

int gw_ingest(struct link *l, struct attachee *a, uint64_t number, struct cw_bytes record, const struct cw_record *rec)
{
	struct cw_parcel *p = make_parcel(record, rec);
	struct ticket *t = NULL;

	if (p == NULL)
		return CW_ENOMEM;
	if (number != 0) {
		t = take_ticket(l, number);
		if (t == NULL) {
			cw_parcel_unref(p);
			return CW_ENOMEM;
		}
	}
	p->home = l->gw->worker;
	p->device = a->up;
	p->settled = on_settled;
	p->session = l->id;
	p->ticket = t;
	p->urgent = (rec->flags & CW_RECORD_URGENT) != 0;
	offer(l, p);
	return 0;
}

/* Room again: go on where it stopped, session by session. */
static int retry_link(struct link *l)
{
	struct cw_list *e;

	while ((e = cw_list_first(&l->parcels)) != NULL) {
		struct cw_parcel *p = cw_container_of(e, struct cw_parcel, link);
		struct ticket *t = p->ticket;
		int answer = p->want_answer;

		cw_list_remove(&p->link);
		if (cw_upstream_submit(p) == CW_EBUSY) {
			cw_list_push_front(&l->parcels, &p->link);
			return 0;
		}
		if (t != NULL && !answer) {
			t->outstanding--;
			judge_ticket(t);
		}
	}
	return 1;
}

/* What is stalled here was not submitted yet: it follows behind what the new way was given, as it came. */
void gw_ingest_moved(struct link *l, const struct cw_updevice *from, struct cw_updevice *to)
{
	struct cw_list *e;

	cw_list_each(e, &l->parcels) {
		struct cw_parcel *p = cw_container_of(e, struct cw_parcel, link);

		if (p->device == from)
			p->device = to;
	}
}

void gw_on_room(struct cw_upstream_watch *watch)
{
	struct gw_worker *gw = cw_container_of(watch, struct room, watch)->gw;
	struct cw_list all, *e;

	cw_list_init(&all);
	while ((e = cw_list_pop(&gw->stalled)) != NULL)
		cw_list_push_back(&all, e);
	while ((e = cw_list_pop(&all)) != NULL) {
		struct link *l = cw_container_of(e, struct link, stall);

		if (retry_link(l))
			gw_link_continue(l);
		else
			cw_list_push_back(&gw->stalled, &l->stall);
	}
}

/* Records that were handed up stay on their way, but whom their settling would be told to has died with his numbers. */
void gw_ingest_lost(struct link *l)
{
	struct cw_list *e;

	cw_list_each(e, &l->tickets)
		cw_container_of(e, struct ticket, link)->told = 1;
	cw_list_each(e, &l->open)
		cw_container_of(e, struct ticket, link)->told = 1;
}

void gw_ingest_gone(struct link *l)
{
	struct cw_list *e;

	cw_list_remove(&l->stall);
	gw_ingest_called(l);
	while ((e = cw_list_pop(&l->parcels)) != NULL) {
		struct cw_parcel *p = cw_container_of(e, struct cw_parcel, link);
		struct ticket *t = p->ticket;

		cw_count(bridge, records_lost); /* not acknowledged, so the device sends it again */
		if (t != NULL) {
			t->outstanding--;
			t->told = 1;
			judge_ticket(t);
		}
		cw_parcel_unref(p);
	}
	cw_list_each(e, &l->tickets)
		cw_container_of(e, struct ticket, link)->of = NULL;
	/* They free themselves when their records come home; take the list head out of the ring. */
	if (!cw_list_empty(&l->tickets)) {
		l->tickets.prev->next = l->tickets.next;
		l->tickets.next->prev = l->tickets.prev;
		cw_list_init(&l->tickets);
	}
}

void gw_ingest_fini(struct gw_worker *gw)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&gw->spare_tickets)) != NULL)
		cw_free(cw_container_of(e, struct ticket, link));
}
