/*
 * pace.h - keeping to rates that a platform enforces by dropping without a word.
 * Plain data, no clock: the caller passes the time.
 */
#ifndef CW_UPSTREAM_PACE_H
#define CW_UPSTREAM_PACE_H

#include <stddef.h>
#include <stdint.h>

/*
 * At most `count` events in any stretch of `span_ms`: it remembers when the last `count` were. A token
 * bucket would let twice the rate through in the second after a pause, and the platform drops the surplus.
 */
struct cw_pace_window {
	uint64_t *at; /* `count` times; lent. NULL until the first event is noted, for who wants to save them */
	unsigned count, next;
	uint64_t span_ms;
};

/* `at` has room for `count` times and is zero; count 0: no limit. */
static inline void cw_pace_window_init(struct cw_pace_window *w, uint64_t *at, unsigned count, uint64_t span_ms)
{
	w->at = at;
	w->count = count;
	w->next = 0;
	w->span_ms = span_ms;
}

/* Milliseconds until another event is allowed; 0: now. */
static inline uint64_t cw_pace_window_wait(const struct cw_pace_window *w, uint64_t now_ms)
{
	uint64_t oldest;

	if (w->count == 0 || w->at == NULL)
		return 0;
	oldest = w->at[w->next];
	return oldest == 0 || now_ms >= oldest + w->span_ms ? 0 : oldest + w->span_ms - now_ms;
}

static inline void cw_pace_window_note(struct cw_pace_window *w, uint64_t now_ms)
{
	if (w->count == 0)
		return;
	w->at[w->next] = now_ms == 0 ? 1 : now_ms;
	w->next = (w->next + 1) % w->count;
}

/* A steady rate for large numbers: `rate` a second, a tenth of a second's worth at once. */
struct cw_pace_rate {
	unsigned rate;   /* 0: no limit */
	uint64_t due_us; /* when the events noted so far would have been due at the steady rate */
};

static inline uint64_t cw_pace_rate_wait(const struct cw_pace_rate *r, uint64_t now_ms)
{
	uint64_t now = now_ms * 1000, slack = 100000;

	if (r->rate == 0 || r->due_us <= now + slack)
		return 0;
	return (r->due_us - now - slack + 999) / 1000;
}

static inline void cw_pace_rate_note(struct cw_pace_rate *r, uint64_t now_ms, unsigned events)
{
	uint64_t now = now_ms * 1000;

	if (r->rate == 0)
		return;
	if (r->due_us < now)
		r->due_us = now;
	r->due_us += 1000000ull * events / r->rate;
}

#endif
