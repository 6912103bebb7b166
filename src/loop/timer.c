/*
 * timer.c - a hierarchical wheel: four levels of 256 slots, 10 ms a slot on the
 * lowest, so that arming, moving and stopping cost the same with ten and with
 * 200,000 deadlines. The one uv_timer_t sleeps until the next slot that can hold
 * something and is off while nothing is armed.
 *
 * A level covers 256 ^ (n + 1) ticks. An entry sits on the lowest level that
 * reaches its tick and moves down when the level below wraps around to it.
 */
#include "loop/timer.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define TICK_MS 10u
#define SLOT_BITS 8u
#define SLOTS (1u << SLOT_BITS)
#define LEVELS 4u
#define TICKS_MOST ((1ULL << (SLOT_BITS * LEVELS)) - 1)

struct cw_timers {
	uv_timer_t uv;
	uint64_t tick;  /* all slots up to and including this tick have fired */
	uint64_t armed; /* timers in the wheel */
	int closing;
	int firing;
	int manual;      /* the clock is manual_ms and stands still between cw_timers_run() */
	uint64_t manual_ms;
	struct cw_list wheel[LEVELS][SLOTS];
};

static void on_tick(uv_timer_t *uv);

static uint64_t now_ms(struct cw_timers *ts)
{
	return ts->manual ? ts->manual_ms : uv_now(ts->uv.loop);
}

static uint64_t tick_now(struct cw_timers *ts)
{
	return now_ms(ts) / TICK_MS;
}

int cw_timers_new(uv_loop_t *loop, struct cw_timers **ret_timers)
{
	struct cw_timers *ts = cw_zalloc(sizeof(*ts));
	unsigned l, s;
	int rc;

	if (ts == NULL)
		return CW_ENOMEM;
	for (l = 0; l < LEVELS; l++)
		for (s = 0; s < SLOTS; s++)
			cw_list_init(&ts->wheel[l][s]);
	rc = uv_timer_init(loop, &ts->uv);
	if (rc < 0) {
		cw_free(ts);
		return cw_err_from_errno(-rc);
	}
	ts->uv.data = ts;
	ts->tick = tick_now(ts);
	*ret_timers = ts;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	cw_free(handle->data);
}

void cw_timers_close(struct cw_timers *ts)
{
	if (ts == NULL || ts->closing)
		return;
	ts->closing = 1;
	uv_close((uv_handle_t *)&ts->uv, on_closed);
}

static void place(struct cw_timers *ts, struct cw_timer *t)
{
	uint64_t due = t->due_ms / TICK_MS;
	uint64_t ahead;
	unsigned level = 0;

	if (due <= ts->tick)
		due = ts->tick + 1;
	ahead = due - ts->tick;
	if (ahead > TICKS_MOST) { /* moves down from the last slot again and again until it is near */
		ahead = TICKS_MOST;
		due = ts->tick + ahead;
	}
	while (level < LEVELS - 1 && ahead >> (SLOT_BITS * (level + 1)) != 0)
		level++;
	cw_list_push_back(&ts->wheel[level][(due >> (SLOT_BITS * level)) & (SLOTS - 1)], &t->link);
}

/* Ticks from now until the next slot of level 0 that is not empty, or until level 0 wraps. */
static uint64_t ticks_to_sleep(struct cw_timers *ts)
{
	uint64_t n;

	for (n = 1; n < SLOTS; n++) {
		uint64_t at = ts->tick + n;

		if ((at & (SLOTS - 1)) == 0 || !cw_list_empty(&ts->wheel[0][at & (SLOTS - 1)]))
			return n;
	}
	return SLOTS;
}

static void rearm(struct cw_timers *ts)
{
	uint64_t wake, now;

	if (ts->closing || ts->firing || ts->manual)
		return;
	if (ts->armed == 0) {
		uv_timer_stop(&ts->uv);
		return;
	}
	/* +1: a slot fires only when all of its 10 ms are over, never early. */
	wake = (ts->tick + ticks_to_sleep(ts)) * TICK_MS;
	now = uv_now(ts->uv.loop);
	uv_timer_start(&ts->uv, on_tick, wake > now ? wake - now : 0, 0);
}

static void cascade(struct cw_timers *ts, unsigned level)
{
	struct cw_list moving, *slot, *e;

	slot = &ts->wheel[level][(ts->tick >> (SLOT_BITS * level)) & (SLOTS - 1)];
	cw_list_init(&moving);
	while ((e = cw_list_pop(slot)) != NULL)
		cw_list_push_back(&moving, e);
	while ((e = cw_list_pop(&moving)) != NULL) {
		struct cw_timer *t = cw_container_of(e, struct cw_timer, link);

		if (t->due_ms / TICK_MS <= ts->tick) /* due in this very tick: level 0 is fired next */
			cw_list_push_back(&ts->wheel[0][ts->tick & (SLOTS - 1)], e);
		else
			place(ts, t);
	}
}

static void fire_tick(struct cw_timers *ts)
{
	struct cw_list due, *slot, *e;
	unsigned level;

	ts->tick++;
	for (level = 1; level < LEVELS; level++) {
		if ((ts->tick & ((1ULL << (SLOT_BITS * level)) - 1)) != 0)
			break;
	}
	while (--level > 0)
		cascade(ts, level);
	slot = &ts->wheel[0][ts->tick & (SLOTS - 1)];
	cw_list_init(&due);
	while ((e = cw_list_pop(slot)) != NULL)
		cw_list_push_back(&due, e);
	while ((e = cw_list_pop(&due)) != NULL) {
		struct cw_timer *t = cw_container_of(e, struct cw_timer, link);

		if (t->due_ms > ts->tick * TICK_MS) { /* was beyond the wheel's reach, or belongs to the next tick */
			place(ts, t);
			continue;
		}
		t->due_ms = 0;
		ts->armed--;
		t->fire(t);
	}
}

static void fire_due(struct cw_timers *ts)
{
	uint64_t now = tick_now(ts);

	ts->firing = 1;
	while (ts->tick < now && ts->armed > 0 && !ts->closing)
		fire_tick(ts);
	if (ts->armed == 0)
		ts->tick = now;
	ts->firing = 0;
	rearm(ts);
}

static void on_tick(uv_timer_t *uv)
{
	fire_due(uv->data);
}

void cw_timer_set(struct cw_timers *ts, struct cw_timer *t, uint64_t delay_ms, void (*fire)(struct cw_timer *t))
{
	int was_armed = t->due_ms != 0;

	if (was_armed)
		cw_list_remove(&t->link);
	else
		ts->armed++;
	if (ts->armed == 1 && !was_armed && !ts->firing)
		ts->tick = tick_now(ts); /* nothing to fire in between: skip the time asleep */
	/* Round up to the end of a tick, so that nothing fires early. */
	t->due_ms = (now_ms(ts) + delay_ms + TICK_MS - 1) / TICK_MS * TICK_MS;
	if (t->due_ms == 0)
		t->due_ms = TICK_MS;
	t->fire = fire;
	place(ts, t);
	if (!ts->firing && !ts->manual && (!uv_is_active((uv_handle_t *)&ts->uv) ||
	                    t->due_ms < uv_now(ts->uv.loop) + uv_timer_get_due_in(&ts->uv)))
		rearm(ts);
}

void cw_timer_stop(struct cw_timers *ts, struct cw_timer *t)
{
	if (t->due_ms == 0)
		return;
	cw_list_remove(&t->link);
	t->due_ms = 0;
	ts->armed--;
	/* The uv timer is left to run out: one idle wake-up is cheaper than a search here. */
}

void cw_timers_skip(struct cw_timers *ts, uint64_t ms)
{
	uint64_t now = now_ms(ts);
	struct cw_list all, *e;
	unsigned l, s;

	cw_list_init(&all);
	for (l = 0; l < LEVELS; l++) {
		for (s = 0; s < SLOTS; s++) {
			while ((e = cw_list_pop(&ts->wheel[l][s])) != NULL)
				cw_list_push_back(&all, e);
		}
	}
	while ((e = cw_list_pop(&all)) != NULL) {
		struct cw_timer *t = cw_container_of(e, struct cw_timer, link);

		t->due_ms = t->due_ms > now + ms ? t->due_ms - ms : now;
		t->due_ms = (t->due_ms + TICK_MS - 1) / TICK_MS * TICK_MS;
		place(ts, t);
	}
	rearm(ts);
}

void cw_timers_manual(struct cw_timers *ts, uint64_t start_ms)
{
	cw_invariant(ts->armed == 0);
	ts->manual = 1;
	ts->manual_ms = start_ms;
	ts->tick = tick_now(ts);
}

uint64_t cw_timers_due(struct cw_timers *ts)
{
	uint64_t least = UINT64_MAX, next = (ts->tick + 1) * TICK_MS;
	struct cw_list *e;
	unsigned l, s;

	if (ts->armed == 0)
		return 0;
	for (l = 0; l < LEVELS; l++) {
		for (s = 0; s < SLOTS; s++) {
			cw_list_each(e, &ts->wheel[l][s]) {
				struct cw_timer *t = cw_container_of(e, struct cw_timer, link);

				least = t->due_ms < least ? t->due_ms : least;
			}
		}
	}
	return least < next ? next : least;
}

void cw_timers_run(struct cw_timers *ts, uint64_t to_ms)
{
	if (to_ms > ts->manual_ms)
		ts->manual_ms = to_ms;
	fire_due(ts);
}
