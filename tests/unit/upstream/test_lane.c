/* Queues in front of an upstream, with a connector that does what the test says and a clock that is the loop's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/decoder.h"
#include "causeway/record.h"
#include "upstream/device.h"

#define MOST 64

/* What the connector was handed, in order; `n` is the number inside the record. */
static struct {
	struct cw_parcel *p;
	int n;
} sent[4096];
static int sent_count, refuse_with, drained;
static size_t released;
static struct cw_upstream u;
static struct cw_upstream_conf conf;
static struct cw_updevice devices[3];
static int settled[4], settled_order[4096], settled_count;

static int number_of(const struct cw_parcel *p)
{
	struct cw_record rec;

	assert_true(cw_record_read(cw_bytes_of(p->bytes, p->len), &rec));
	return (int)cw_map_int(rec.body, "n", -1);
}

static int fake_send(void *ctx, struct cw_updevice *d, struct cw_parcel *p)
{
	if (refuse_with != 0)
		return refuse_with;
	sent[sent_count].p = p;
	sent[sent_count++].n = number_of(p);
	return 0;
}

static void fake_recall(void *ctx, struct cw_parcel *p)
{
	int i;

	for (i = 0; i < sent_count; i++)
		if (sent[i].p == p)
			sent[i].p = NULL;
}

static void fake_drained(void *ctx, struct cw_updevice *d)
{
	drained++;
}

static void fake_released(void *ctx, struct cw_updevice *d, size_t bytes)
{
	released += bytes;
}

static const struct cw_lane_ops ops = { fake_send, fake_recall, fake_drained, fake_released };

static int setup(void **state)
{
	int i;

	memset(&u, 0, sizeof(u));
	memset(devices, 0, sizeof(devices));
	memset(settled, 0, sizeof(settled));
	sent_count = refuse_with = drained = settled_count = 0;
	released = 0;
	conf = (struct cw_upstream_conf){
		.name = "t", .in_flight = MOST, .qos = 1, .ack_timeout_ms = 8000, .dedup_window_s = 60
	};
	assert_int_equal(cw_worker_new("lane", 0, &u.w), 0);
	cw_lane_init(&u.lane, &conf, u.w, &ops, NULL);
	for (i = 0; i < 3; i++) {
		devices[i].u = &u;
		cw_lane_device_init(&u.lane, &devices[i].lane);
	}
	return 0;
}

static void run_once(void)
{
	uv_run(cw_worker_loop(u.w), UV_RUN_NOWAIT);
}

static int teardown(void **state)
{
	int i;

	for (i = 0; i < 3; i++) {
		cw_lane_device_drop(&u.lane, &devices[i]);
		cw_lane_device_fini(&devices[i].lane);
	}
	run_once();
	assert_int_equal(u.lane.records, 0);
	assert_int_equal(u.lane.in_flight, 0);
	cw_lane_fini(&u.lane);
	cw_worker_free(u.w);
	return cw_mem_live() == 0 ? 0 : -1;
}

static void on_settled(struct cw_parcel *p)
{
	settled[p->result]++;
	settled_order[settled_count++] = number_of(p);
	cw_parcel_unref(p);
}

static struct cw_parcel *make(int device, int n, int urgent, const char *dedup)
{
	uint8_t buf[120];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	struct cw_parcel *p;

	cw_record_begin(&w, CW_KIND_PROPERTIES);
	if (dedup != NULL)
		cw_record_dedup(&w, cw_bytes_text(dedup));
	cw_record_body(&w);
	cw_field_int(&w, "n", n);
	cw_put_end(&w);
	cw_record_end(&w);
	p = cw_parcel_new(w.len);
	assert_non_null(p);
	memcpy(p->bytes, buf, w.len);
	p->home = u.w;
	p->device = &devices[device];
	p->settled = on_settled;
	p->want_answer = 1;
	p->urgent = (uint8_t)urgent;
	return p;
}

static void offer(int device, int n, int urgent, const char *dedup)
{
	cw_lane_accept(&u.lane, make(device, n, urgent, dedup));
}

static void expect_sent(const char *numbers)
{
	char text[1024] = "";
	int i;

	for (i = 0; i < sent_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d", i > 0 ? " " : "", sent[i].n);
	assert_string_equal(text, numbers);
}

static void done(int i)
{
	cw_lane_settle(&u.lane, sent[i].p, CW_SETTLED_DONE, 0, NULL);
	run_once();
}

/* The loop's time is real; waits are short and end with the event, never before. */
static void run_until(const int *what, int value)
{
	while (*what < value)
		uv_run(cw_worker_loop(u.w), UV_RUN_NOWAIT);
}

/* ---- tests ------------------------------------------------------------------- */

static void what_comes_before_the_login_waits_and_then_goes_in_order(void **state)
{
	offer(0, 1, 0, NULL);
	offer(0, 2, 0, NULL);
	offer(0, 3, 0, NULL);
	expect_sent("");
	cw_lane_device_online(&u.lane, &devices[0], 1);
	expect_sent("1 2 3");
	done(0);
	done(1);
	done(2);
	assert_int_equal(settled[CW_SETTLED_DONE], 3);
	assert_int_equal(drained, 1);
}

static void alarms_overtake_and_keep_their_own_order(void **state)
{
	offer(0, 1, 0, NULL);
	offer(0, 2, 0, NULL);
	offer(0, 10, 1, NULL);
	offer(0, 11, 1, NULL);
	cw_lane_device_online(&u.lane, &devices[0], 1);
	expect_sent("10 11 1 2");
}

static void devices_take_turns_so_that_a_loud_one_does_not_starve_the_others(void **state)
{
	int i;

	conf.in_flight = 4;
	for (i = 0; i < 10; i++)
		offer(0, i, 0, NULL);
	offer(1, 100, 0, NULL);
	offer(2, 200, 0, NULL);
	devices[1].lane.online = devices[2].lane.online = 1;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	cw_lane_device_online(&u.lane, &devices[1], 1);
	cw_lane_device_online(&u.lane, &devices[2], 1);
	expect_sent("0 1 2 3"); /* the window was full before the others came online */
	done(0);
	done(1);
	done(2);
	expect_sent("0 1 2 3 4 100 200");
}

static void a_device_may_have_a_window_of_its_own(void **state)
{
	int i;

	conf.in_flight_device = 1;
	for (i = 1; i <= 3; i++)
		offer(0, i, 0, NULL);
	offer(1, 100, 0, NULL);
	cw_lane_device_online(&u.lane, &devices[0], 1);
	cw_lane_device_online(&u.lane, &devices[1], 1);
	expect_sent("1 100"); /* the first device's second record waits; nobody else does */
	offer(0, 10, 1, NULL);
	expect_sent("1 100");
	done(0);
	expect_sent("1 100 10");
	cw_lane_device_online(&u.lane, &devices[0], 0);
	cw_lane_device_online(&u.lane, &devices[0], 1);
	expect_sent("1 100 10 10");
	done(3);
	done(4);
	expect_sent("1 100 10 10 2 3");
	assert_int_equal(u.lane.in_flight, 2);
}

static void the_window_bounds_what_is_unconfirmed(void **state)
{
	int i;

	conf.in_flight = 2;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	for (i = 0; i < 5; i++)
		offer(0, i, 0, NULL);
	expect_sent("0 1");
	assert_int_equal(u.lane.in_flight, 2);
	done(1); /* out of order is fine */
	expect_sent("0 1 2");
}

static void after_a_loss_everything_unconfirmed_goes_again_in_order_and_before_the_rest(void **state)
{
	int i;

	conf.in_flight = 3;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, NULL);
	offer(0, 2, 1, NULL);
	for (i = 3; i < 6; i++)
		offer(0, i, 0, NULL);
	expect_sent("1 2 3");
	done(0);
	expect_sent("1 2 3 4");
	cw_lane_device_online(&u.lane, &devices[0], 0);
	assert_int_equal(u.lane.in_flight, 0);
	assert_null(sent[2].p); /* recalled */
	cw_lane_device_online(&u.lane, &devices[0], 1);
	expect_sent("1 2 3 4 2 3 4");
	done(4);
	done(5);
	done(6);
	done(7);
	expect_sent("1 2 3 4 2 3 4 5");
	assert_int_equal(settled[CW_SETTLED_DONE], 5);
}

static void a_copy_joins_the_unsettled_first_and_is_not_sent(void **state)
{
	size_t cost;

	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, "k1");
	cost = cw_lane_cost(sent[0].p);
	offer(0, 2, 0, "k1");
	offer(0, 3, 0, "k2");
	offer(1, 4, 0, "k1"); /* another device's key is another key */
	expect_sent("1 3");
	assert_int_equal(released, cost);
	assert_int_equal(settled_count, 0);
	done(0);
	assert_int_equal(settled[CW_SETTLED_DONE], 2);
}

static void a_copy_of_a_settled_message_is_dropped_and_answered(void **state)
{
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, "k1");
	done(0);
	offer(0, 2, 0, "k1");
	run_once();
	expect_sent("1");
	assert_int_equal(settled[CW_SETTLED_DONE], 2);
}

static void a_copy_after_the_window_is_a_new_message(void **state)
{
	conf.dedup_window_s = 0;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, "k1");
	done(0);
	offer(0, 2, 0, "k1");
	expect_sent("1 2");
}

static void a_lost_message_may_come_again(void **state)
{
	offer(0, 1, 0, "k1");
	cw_lane_device_drop(&u.lane, &devices[0]);
	run_once();
	assert_int_equal(settled[CW_SETTLED_LOST], 1);
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 2, 0, "k1");
	expect_sent("2");
}

static void after_ack_timeout_the_device_hears_pending_once_and_the_parcel_stays(void **state)
{
	conf.ack_timeout_ms = 30;
	offer(0, 1, 0, "k1");
	offer(0, 2, 0, "k1");
	run_until(&settled[CW_SETTLED_PENDING], 2);
	assert_int_equal(u.lane.records, 1);
	offer(0, 3, 0, "k1"); /* the resent frame joins it */
	cw_lane_device_online(&u.lane, &devices[0], 1);
	expect_sent("1");
	done(0);
	assert_int_equal(settled[CW_SETTLED_PENDING], 2);
	assert_int_equal(settled[CW_SETTLED_DONE], 1);
	assert_int_equal(settled_order[2], 3);
}

static void a_message_that_stays_unconfirmed_is_sent_again_with_what_followed_it(void **state)
{
	conf.ack_timeout_ms = 10;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, NULL);
	offer(0, 2, 0, NULL);
	expect_sent("1 2");
	run_until(&sent_count, 4);
	expect_sent("1 2 1 2");
	assert_int_equal(u.lane.in_flight, 2);
}

static void a_device_is_held_to_its_rate_in_any_second(void **state)
{
	uint64_t began, i;

	conf.rate_device_qos1 = 5;
	cw_lane_device_init(&u.lane, &devices[0].lane);
	cw_lane_device_online(&u.lane, &devices[0], 1);
	uv_update_time(cw_worker_loop(u.w));
	began = cw_worker_now(u.w);
	for (i = 0; i < 7; i++)
		offer(0, (int)i, 0, NULL);
	offer(1, 100, 0, NULL);
	cw_lane_device_online(&u.lane, &devices[1], 1);
	expect_sent("0 1 2 3 4 100"); /* the other device is not held up */
	run_until(&sent_count, 8);
	assert_true(cw_worker_now(u.w) - began >= 1000);
	expect_sent("0 1 2 3 4 100 5 6");
}

static void the_bridge_is_held_to_its_rate(void **state)
{
	uint64_t began;
	int i;

	u.lane.rate.rate = 100;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	uv_update_time(cw_worker_loop(u.w));
	began = cw_worker_now(u.w);
	for (i = 0; i < 30; i++)
		offer(0, i, 0, NULL);
	assert_in_range(sent_count, 10, 12);
	run_until(&sent_count, 30);
	assert_true(cw_worker_now(u.w) - began >= 180);
}

static void a_busy_connector_is_asked_again(void **state)
{
	refuse_with = CW_EBUSY;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, NULL);
	expect_sent("");
	refuse_with = 0;
	run_until(&sent_count, 1);
	expect_sent("1");
}

static void what_the_connector_refuses_for_good_is_settled_as_refused(void **state)
{
	refuse_with = CW_EINVAL;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, NULL);
	run_once();
	assert_int_equal(settled[CW_SETTLED_REFUSED], 1);
	assert_int_equal(drained, 1);
}

static void a_malformed_record_is_refused_not_sent(void **state)
{
	struct cw_parcel *p = make(0, 1, 0, NULL);

	p->bytes[0] = 0x00;
	p->settled = NULL;
	p->want_answer = 0;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	cw_lane_accept(&u.lane, p);
	expect_sent("");
	assert_int_equal(u.lane.records, 0);
}

static void a_parcel_nobody_waits_for_ends_without_a_mail(void **state)
{
	struct cw_parcel *p = make(0, 1, 0, NULL);

	p->want_answer = 0;
	p->settled = NULL;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	cw_lane_accept(&u.lane, p);
	done(0);
	assert_int_equal(settled_count, 0);
	assert_int_equal(cw_stat_read(CW_STAT_lane_queued_bytes), 0);
}

static void again_means_a_moment_later_and_in_order(void **state)
{
	cw_lane_device_online(&u.lane, &devices[0], 1);
	offer(0, 1, 0, NULL);
	offer(0, 2, 0, NULL);
	cw_lane_again(&u.lane, sent[0].p);
	expect_sent("1 2");
	run_until(&sent_count, 4);
	expect_sent("1 2 1 2");
}

static void without_memory_for_a_key_a_message_is_sent_rather_than_lost(void **state)
{
	long nth;

	cw_lane_device_online(&u.lane, &devices[0], 1);
	for (nth = 0; nth < 3; nth++) {
		char key[8];
		struct cw_parcel *p;

		snprintf(key, sizeof(key), "k%ld", nth);
		p = make(0, (int)nth, 0, key);
		cw_mem_fail_at(nth);
		cw_lane_accept(&u.lane, p);
		cw_mem_fail_at(-1);
		assert_int_equal(sent_count, (int)nth + 1);
	}
	for (nth = 0; nth < 3; nth++)
		done((int)nth);
	assert_int_equal(settled[CW_SETTLED_DONE], 3);
}

static void remembered_keys_are_bounded(void **state)
{
	unsigned i;
	char key[16];

	sent_count = 0;
	cw_lane_device_online(&u.lane, &devices[0], 1);
	for (i = 0; i < CW_LANE_DUPS_MOST + 100; i++) {
		snprintf(key, sizeof(key), "%u", i);
		sent_count = 0;
		settled_count = 0;
		offer(0, (int)i, 0, key);
		cw_lane_settle(&u.lane, sent[0].p, CW_SETTLED_DONE, 0, NULL);
		run_once();
	}
	assert_in_range(u.lane.dup_count, CW_LANE_DUPS_MOST, CW_LANE_DUPS_MOST + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(what_comes_before_the_login_waits_and_then_goes_in_order),
		TEST(alarms_overtake_and_keep_their_own_order),
		TEST(devices_take_turns_so_that_a_loud_one_does_not_starve_the_others),
		TEST(a_device_may_have_a_window_of_its_own),
		TEST(the_window_bounds_what_is_unconfirmed),
		TEST(after_a_loss_everything_unconfirmed_goes_again_in_order_and_before_the_rest),
		TEST(a_copy_joins_the_unsettled_first_and_is_not_sent),
		TEST(a_copy_of_a_settled_message_is_dropped_and_answered),
		TEST(a_copy_after_the_window_is_a_new_message),
		TEST(a_lost_message_may_come_again),
		TEST(after_ack_timeout_the_device_hears_pending_once_and_the_parcel_stays),
		TEST(a_message_that_stays_unconfirmed_is_sent_again_with_what_followed_it),
		TEST(a_device_is_held_to_its_rate_in_any_second),
		TEST(the_bridge_is_held_to_its_rate),
		TEST(a_busy_connector_is_asked_again),
		TEST(what_the_connector_refuses_for_good_is_settled_as_refused),
		TEST(a_malformed_record_is_refused_not_sent),
		TEST(a_parcel_nobody_waits_for_ends_without_a_mail),
		TEST(again_means_a_moment_later_and_in_order),
		TEST(without_memory_for_a_key_a_message_is_sent_rather_than_lost),
		TEST(remembered_keys_are_bounded),
	};

	cw_log_setup(CW_LOG_ERROR, 0, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
