/* Deadlines: order, never early, moved, stopped, far ones, from within callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_deadline_never_fires_early_and_none_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stopped_deadline_stays_silent_and_a_moved_one_fires_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_callback_may_arm_its_own_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_far_deadline_does_not_hide_a_near_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
