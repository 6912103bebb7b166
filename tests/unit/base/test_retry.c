/* Delays between attempts, and the pace of what the platform counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "upstream/pace.h"
#include "base/retry.h"

static void delays_double_up_to_the_longest_with_jitter(void **state)
{
	struct cw_retry r;
	uint64_t want = 1000;
	int i;

	cw_retry_init(&r, 1000, 60000, 42);
	for (i = 0; i < 12; i++) {
		assert_in_range(cw_retry_down(&r, 0), want * 3 / 4, want * 5 / 4);
		want = want * 2 < 60000 ? want * 2 : 60000;
	}
}

static void two_gateways_do_not_come_back_together(void **state)
{
	struct cw_retry a, b;
	int i, same = 0;

	cw_retry_init(&a, 1000, 60000, 1);
	cw_retry_init(&b, 1000, 60000, 3);
	for (i = 0; i < 20; i++)
		same += cw_retry_down(&a, 0) == cw_retry_down(&b, 0);
	assert_in_range(same, 0, 5);
}

static void a_connection_that_lasted_starts_over(void **state)
{
	struct cw_retry r;
	int i;

	cw_retry_init(&r, 1000, 60000, 42);
	for (i = 0; i < 5; i++)
		(void)cw_retry_down(&r, 1000);
	cw_retry_up(&r, 5000);
	assert_in_range(cw_retry_down(&r, 5000 + CW_RETRY_STABLE_MS), 750, 1250);
}

static void closed_right_after_each_login_is_a_twin_and_the_delay_grows(void **state)
{
	struct cw_retry r;
	uint64_t last = 0, now = 1;
	unsigned i;

	cw_retry_init(&r, 1000, 600000, 42);
	for (i = 0; i < CW_RETRY_TWIN + 3; i++) {
		uint64_t delay;

		assert_int_equal(cw_retry_is_twin(&r), i >= CW_RETRY_TWIN);
		cw_retry_up(&r, now);
		now += 500;
		delay = cw_retry_down(&r, now);
		assert_true(delay > last);
		last = delay;
		now += delay;
	}
	cw_retry_up(&r, now);
	(void)cw_retry_down(&r, now + CW_RETRY_STABLE_MS);
	assert_false(cw_retry_is_twin(&r));
}

static void refused_logins_are_no_twin(void **state)
{
	struct cw_retry r;
	int i;

	cw_retry_init(&r, 1000, 60000, 42);
	for (i = 0; i < 10; i++)
		(void)cw_retry_down(&r, 100);
	assert_false(cw_retry_is_twin(&r));
}

static void a_window_never_lets_more_than_its_count_through_in_any_span(void **state)
{
	struct cw_pace_window w;
	uint64_t at[10] = { 0 }, sent[200], now = 5;
	int n = 0, i;

	cw_pace_window_init(&w, at, 10, 1000);
	while (n < 200) {
		uint64_t wait = cw_pace_window_wait(&w, now);

		if (wait == 0) {
			cw_pace_window_note(&w, now);
			sent[n++] = now;
		}
		now += wait + (uint64_t)(n * 7 % 40);
	}
	for (i = 10; i < 200; i++)
		assert_true(sent[i] - sent[i - 10] >= 1000);
	assert_true(sent[199] - sent[0] < 25000);
}

static void no_limit_means_no_wait(void **state)
{
	struct cw_pace_window w;
	struct cw_pace_rate r = { 0 };

	cw_pace_window_init(&w, NULL, 0, 1000);
	cw_pace_window_note(&w, 1);
	assert_int_equal(cw_pace_window_wait(&w, 1), 0);
	cw_pace_rate_note(&r, 1, 100);
	assert_int_equal(cw_pace_rate_wait(&r, 1), 0);
}

static void a_rate_spreads_events_evenly(void **state)
{
	struct cw_pace_rate r = { .rate = 200 };
	uint64_t now = 10000, began = now;
	int n = 0;

	while (n < 1000) {
		now += cw_pace_rate_wait(&r, now);
		cw_pace_rate_note(&r, now, 5);
		n += 5;
	}
	assert_in_range(now - began, 4800, 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_the_longest_with_jitter),
		cmocka_unit_test(two_gateways_do_not_come_back_together),
		cmocka_unit_test(a_connection_that_lasted_starts_over),
		cmocka_unit_test(closed_right_after_each_login_is_a_twin_and_the_delay_grows),
		cmocka_unit_test(refused_logins_are_no_twin),
		cmocka_unit_test(a_window_never_lets_more_than_its_count_through_in_any_span),
		cmocka_unit_test(no_limit_means_no_wait),
		cmocka_unit_test(a_rate_spreads_events_evenly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
