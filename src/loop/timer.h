/*
 * timer.h - deadlines by the hundred thousand on one uv_timer_t.
 *
 * A cw_timer is embedded in its owner and armed on the loop of one worker. Its
 * callback may arm or stop any timer, its own included, and may free its owner.
 * Resolution is 10 ms; a deadline never fires early. Arming an armed timer moves it.
 */
#ifndef CW_LOOP_TIMER_H
#define CW_LOOP_TIMER_H

#include <stdint.h>
#include <uv.h>

#include "base/list.h"

struct cw_timers; /* all deadlines of one loop */

struct cw_timer {
	struct cw_list link; /* zero when never armed: cw_timer_stop() is harmless then */
	uint64_t due_ms;     /* loop time; 0 when not armed */
	void (*fire)(struct cw_timer *t);
};

int cw_timers_new(uv_loop_t *loop, struct cw_timers **ret_timers);
/* Closes the uv_timer_t; memory goes in its close callback. Armed timers never fire. */
void cw_timers_close(struct cw_timers *ts);

void cw_timer_set(struct cw_timers *ts, struct cw_timer *t, uint64_t delay_ms, void (*fire)(struct cw_timer *t));
void cw_timer_stop(struct cw_timers *ts, struct cw_timer *t);
/* Every armed deadline comes `ms` earlier, at the soonest now: what a clock that was put forward does to them. */
void cw_timers_skip(struct cw_timers *ts, uint64_t ms);

/*
 * For tools that live through the past: from here on the clock of these deadlines is the caller's, in milliseconds, and only
 * cw_timers_run() moves it, firing what is due by then. cw_timers_due: when the next one fires, 0: none is armed. Nothing
 * may be armed yet.
 */
void cw_timers_manual(struct cw_timers *ts, uint64_t start_ms);
uint64_t cw_timers_due(struct cw_timers *ts);
void cw_timers_run(struct cw_timers *ts, uint64_t to_ms);

static inline int cw_timer_armed(const struct cw_timer *t)
{
	return t->due_ms != 0;
}

#endif
