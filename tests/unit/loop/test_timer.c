/* Deadlines: order, never early, moved, stopped, far ones, from within callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "loop/worker.h"

#define N 2000

struct one {
	struct cw_timer t;
	uint64_t want, at;
};

static struct cw_worker *worker;
static struct one many[N];
static int fired;

static void note(struct cw_timer *t)
{
	struct one *o = cw_container_of(t, struct one, t);

	o->at = cw_worker_now(worker);
	fired++;
}

static void run_until(int count)
{
	while (fired < count)
		uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
}

static int setup(void **state)
{
	fired = 0;
	return cw_worker_new("t", 0, &worker);
}

static int teardown(void **state)
{
	cw_worker_free(worker);
	return cw_mem_live() == 0 ? 0 : -1;
}

static void a_deadline_never_fires_early_and_none_is_forgotten(void **state)
{
	int i;

	uv_update_time(cw_worker_loop(worker));
	for (i = 0; i < N; i++) {
		uint64_t delay = (uint64_t)(rand() % 3000);

		many[i].want = cw_worker_now(worker) + delay;
		cw_timer_set(cw_worker_timers(worker), &many[i].t, delay, note);
	}
	run_until(N);
	for (i = 0; i < N; i++) {
		assert_true(many[i].at >= many[i].want);
		assert_false(cw_timer_armed(&many[i].t));
	}
}

static void a_stopped_deadline_stays_silent_and_a_moved_one_fires_once(void **state)
{
	struct one a = { 0 }, b = { 0 };

	cw_timer_set(cw_worker_timers(worker), &a.t, 20, note);
	cw_timer_set(cw_worker_timers(worker), &b.t, 5000, note);
	cw_timer_stop(cw_worker_timers(worker), &a.t);
	cw_timer_stop(cw_worker_timers(worker), &a.t);
	b.want = cw_worker_now(worker) + 40;
	cw_timer_set(cw_worker_timers(worker), &b.t, 40, note);
	run_until(1);
	assert_true(b.at >= b.want);
	assert_int_equal(a.at, 0);
	uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
	assert_int_equal(fired, 1);
}

static void again(struct cw_timer *t)
{
	struct one *o = cw_container_of(t, struct one, t);

	fired++;
	if (fired < 5)
		cw_timer_set(cw_worker_timers(worker), &o->t, 10, again);
}

static void a_callback_may_arm_its_own_timer(void **state)
{
	struct one a = { 0 };

	cw_timer_set(cw_worker_timers(worker), &a.t, 0, again);
	run_until(5);
	assert_false(cw_timer_armed(&a.t));
}

static void a_far_deadline_does_not_hide_a_near_one(void **state)
{
	struct one far = { 0 }, near = { 0 };

	cw_timer_set(cw_worker_timers(worker), &far.t, 40ULL * 24 * 3600 * 1000, note);
	cw_timer_set(cw_worker_timers(worker), &near.t, 30, note);
	run_until(1);
	assert_true(near.at > 0);
	assert_true(cw_timer_armed(&far.t));
	cw_timer_stop(cw_worker_timers(worker), &far.t);
}

/* Two timers of a past that is lived through by hand: who fired, at which moment of that past. */
static struct {
	struct cw_timer t;
	uint64_t at;
	int times;
} past[3];

static uint64_t past_now;

static void note_past(struct cw_timer *t)
{
	size_t i;

	for (i = 0; i < 3; i++) {
		if (t == &past[i].t) {
			past[i].at = past_now;
			past[i].times++;
		}
	}
}

/* As a tool does: from deadline to deadline, never beyond `to`. */
static void live_until(struct cw_timers *ts, uint64_t to)
{
	uint64_t due, before = 0;

	while ((due = cw_timers_due(ts)) != 0 && due <= to) {
		assert_true(due > before); /* or a tool would never come to an end */
		before = past_now = due;
		cw_timers_run(ts, due);
	}
	past_now = to;
	cw_timers_run(ts, to);
}

static void a_manual_clock_fires_in_its_own_time_and_only_when_it_is_moved(void **state)
{
	const uint64_t begin = 1700000000123ULL; /* milliseconds of UTC, as captures have them */
	struct cw_timers *ts = cw_worker_timers(worker);
	struct cw_timer later = { 0 };
	uint64_t wait;

	memset(past, 0, sizeof(past));
	cw_timers_manual(ts, begin);
	assert_int_equal(cw_timers_due(ts), 0);
	cw_timer_set(ts, &past[0].t, 60000, note_past);
	cw_timer_set(ts, &past[1].t, 15, note_past);
	cw_timer_set(ts, &past[2].t, 30ULL * 3600 * 1000, note_past);
	/* The loop's own clock does not count. */
	uv_update_time(cw_worker_loop(worker));
	wait = uv_now(cw_worker_loop(worker)) + 40;
	while (uv_now(cw_worker_loop(worker)) < wait)
		uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
	assert_int_equal(past[1].times, 0);
	assert_in_range(cw_timers_due(ts), begin + 15, begin + 15 + 19); /* the end of a tick */
	live_until(ts, begin + 59999);
	assert_in_range(past[1].at, begin + 15, begin + 15 + 19);
	assert_int_equal(past[0].times, 0);
	live_until(ts, begin + 61000);
	assert_in_range(past[0].at, begin + 60000, begin + 60000 + 19);
	/* The clock does not go back, and a capture whose packets are out of order ends. */
	live_until(ts, begin);
	assert_int_equal(past[0].times + past[1].times, 2);
	cw_timer_set(ts, &past[0].t, 0, note_past);
	live_until(ts, begin + 61000 + 20);
	assert_int_equal(past[0].times, 2);
	/* Far ones are found, too, and stopping the last leaves nothing due. */
	live_until(ts, begin + 31ULL * 3600 * 1000);
	assert_int_equal(past[2].times, 1);
	assert_in_range(past[2].at, begin + 30ULL * 3600 * 1000, begin + 30ULL * 3600 * 1000 + 19);
	assert_int_equal(cw_timers_due(ts), 0);
	cw_timer_set(ts, &later, 10, note_past);
	cw_timer_stop(ts, &later);
	assert_int_equal(cw_timers_due(ts), 0);
}

static void a_manual_clock_rearms_from_within_and_jumps_over_years(void **state)
{
	struct cw_timers *ts = cw_worker_timers(worker);
	struct one a = { 0 };

	cw_timers_manual(ts, 0);
	cw_timer_set(ts, &a.t, 10, again); /* four more times from its callback */
	live_until(ts, 200);
	assert_int_equal(fired, 5);
	fired = 0;
	cw_timer_set(ts, &a.t, 10, again);
	live_until(ts, 200 + 10ULL * 365 * 24 * 3600 * 1000);
	assert_int_equal(fired, 5);
	assert_int_equal(cw_timers_due(ts), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_manual_clock_fires_in_its_own_time_and_only_when_it_is_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(a_manual_clock_rearms_from_within_and_jumps_over_years, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deadline_never_fires_early_and_none_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stopped_deadline_stays_silent_and_a_moved_one_fires_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_callback_may_arm_its_own_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_far_deadline_does_not_hide_a_near_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
