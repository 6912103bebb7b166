/* Readings of several devices in one message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "upstream/device.h"

#include "mqtt_fixture.h"

static struct mqtt_settings settings;

static void start_with_packs(void)
{
	settings = (struct mqtt_settings){ .keep_alive_ms = 300000, .in_flight = 100, .login_batch = 5, .max_devices = 1500,
					   .qos = 1, .packs = { true, 20, 65536, 50 } };
	conf.own = &settings;
	peer_do(&t.peer, "{\"do\":\"fast\",\"value\":1}");
}

static void bring_online(int n)
{
	int i;

	start();
	for (i = 0; i < n; i++)
		cw_upstream_device_want(add(i)->d, 1);
	for (i = 0; i < n; i++)
		WAIT(t.devices[i].state == CW_UPDEVICE_ONLINE);
}

static int packs(const char *what)
{
	return peer_count(&t.peer, "\"ev\":\"pack\"", what);
}

static void teardown_is_clean(void)
{
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"violation\"", ""), 0);
}

static void first_readings_of_twenty_devices_go_together(void **state)
{
	int i;

	start_with_packs();
	settings.packs.age_ms = 10000; /* only the count closes it */
	bring_online(20);
	for (i = 0; i < 20; i++)
		submit(reading(&t.devices[i], i, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 20);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 20);
	assert_int_equal(packs(""), 1);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", "thing/event/property/post"), 0);
	teardown_is_clean();
}

static void a_pack_that_gets_no_older_than_told_is_sent_unfilled(void **state)
{
	const char *line;

	start_with_packs();
	bring_online(3);
	submit(reading(&t.devices[0], 7, NULL, NULL));
	submit(reading(&t.devices[2], 8, NULL, NULL));
	line = peer_expect(&t.peer, "\"ev\":\"publish\"", "/sys/a1Gateway01/gw-1/thing/event/property/pack/post");
	assert_non_null(line);
	assert_non_null(strstr(line, "\\\"identity\\\":{\\\"productKey\\\":\\\"" PK "\\\",\\\"deviceName\\\":\\\"dev-000\\\"},"
				     "\\\"properties\\\":{\\\"n\\\":{\\\"value\\\":7,\\\"time\\\":1700000000007}"));
	assert_non_null(strstr(line, "\\\"method\\\":\\\"thing.event.property.pack.post\\\""));
	WAIT(t.settled[CW_SETTLED_DONE] == 2);
	teardown_is_clean();
}

static void a_reading_that_stays_alone_goes_as_an_ordinary_post(void **state)
{
	start_with_packs();
	settings.packs.age_ms = 1;
	bring_online(1);
	submit(reading(&t.devices[0], 1, NULL, NULL));
	WAIT(t.settled[CW_SETTLED_DONE] == 1);
	assert_int_equal(packs(""), 0);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", "thing/event/property/post"), 1);
	teardown_is_clean();
}

static void a_bad_member_costs_nobody_else(void **state)
{
	int i;

	start_with_packs();
	settings.packs.count = 8;
	bring_online(8);
	peer_do(&t.peer, "{\"do\":\"refuse\",\"what\":\"post\",\"dn\":\"dev-005\",\"code\":6306}");
	for (i = 0; i < 8; i++)
		submit(reading(&t.devices[i], i, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 8);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 7);
	assert_int_equal(t.settled[CW_SETTLED_REFUSED], 1);
	assert_int_equal(t.settled_code, 6306);
	assert_int_equal(packs("\"code\":6306"), 3); /* of 8, 4 and 2 */
	assert_int_equal(packs("\"code\":200"), 2);  /* of 4 and 2; the last two went alone */
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", "thing/event/property/post"), 2);
	teardown_is_clean();
}

static void each_device_keeps_its_order(void **state)
{
	int i, k, last[4] = { -1, -1, -1, -1 };

	start_with_packs();
	settings.packs.age_ms = 5;
	bring_online(4);
	peer_do(&t.peer, "{\"do\":\"refuse\",\"what\":\"post\",\"dn\":\"dev-002\",\"code\":6306}");
	for (k = 0; k < 10; k++)
		for (i = 0; i < 4; i++)
			submit(reading(&t.devices[i], k, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 40);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 30);
	assert_int_equal(t.settled[CW_SETTLED_REFUSED], 10);
	for (k = 0; k < t.peer.count; k++) {
		const char *line = t.peer.lines[k];

		if (strstr(line, "\"ev\":\"publish\"") == NULL || strstr(line, "property/") == NULL)
			continue;
		for (i = 0; i < 4; i++) {
			char name[16];
			const char *at;
			int n;

			snprintf(name, sizeof(name), "dev-%03d", i);
			at = strstr(line, name);
			if (at == NULL || (at = strstr(at, "\\\"value\\\":")) == NULL)
				continue;
			n = atoi(at + strlen("\\\"value\\\":"));
			assert_true(n >= last[i] && n <= last[i] + 1); /* again in halves, never before the one that went first */
			last[i] = n;
		}
	}
	teardown_is_clean();
}

static void after_a_lost_connection_all_members_go_again(void **state)
{
	int i;

	start_with_packs();
	bring_online(6);
	peer_do(&t.peer, "{\"do\":\"mute_packs\",\"value\":1}");
	for (i = 0; i < 6; i++)
		submit(reading(&t.devices[i], i, NULL, NULL));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"pack\"", "dev-005"));
	assert_int_equal(atomic_load(&t.home_settled), 0); /* acknowledged is not confirmed */
	peer_do(&t.peer, "{\"do\":\"mute_packs\",\"value\":0}");
	peer_do(&t.peer, "{\"do\":\"drop\"}");
	WAIT(atomic_load(&t.home_settled) == 6);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 6);
	teardown_is_clean();
}

static void a_device_that_leaves_an_open_pack_leaves_the_others_in_it(void **state)
{
	start_with_packs();
	settings.packs.age_ms = 10000; /* only the count closes it */
	settings.packs.count = 4;
	bring_online(5);
	submit(reading(&t.devices[0], 1, NULL, NULL));
	submit(reading(&t.devices[1], 2, NULL, NULL));
	submit(reading(&t.devices[2], 3, NULL, NULL));
	cw_upstream_device_remove(t.devices[1].d);
	WAIT(t.devices[1].removed);
	submit(reading(&t.devices[3], 4, NULL, NULL));
	submit(reading(&t.devices[4], 5, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 5);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 4);
	assert_int_equal(t.settled[CW_SETTLED_LOST], 1);
	WAIT(packs("[\"dev-000\",\"dev-002\",\"dev-003\",\"dev-004\"]") == 1);
	teardown_is_clean();
}

static void a_second_copy_of_a_reply_changes_nothing(void **state)
{
	char line[300];
	const char *said, *id;
	int i;

	start_with_packs();
	bring_online(2);
	for (i = 0; i < 2; i++)
		submit(reading(&t.devices[i], i, NULL, NULL));
	said = peer_expect(&t.peer, "\"ev\":\"publish\"", "pack/post");
	assert_non_null(said);
	WAIT(atomic_load(&t.home_settled) == 2);
	id = strstr(said, "\\\"id\\\":\\\"") + strlen("\\\"id\\\":\\\"");
	snprintf(line, sizeof(line),
		 "{\"do\":\"push\",\"topic\":\"/sys/a1Gateway01/gw-1/thing/event/property/pack/post_reply\","
		 "\"payload\":\"{\\\"id\\\":\\\"%d\\\",\\\"code\\\":6306,\\\"data\\\":{}}\"}", atoi(id));
	peer_do(&t.peer, line);
	submit(reading(&t.devices[0], 9, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 3);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 3);
	teardown_is_clean();
}

static void an_alarm_does_not_wait_for_others(void **state)
{
	struct cw_parcel *p;

	start_with_packs();
	settings.packs.age_ms = 10000;
	bring_online(2);
	submit(reading(&t.devices[0], 1, NULL, NULL));
	p = reading(&t.devices[1], 2, NULL, NULL);
	p->urgent = 1;
	submit(p);
	WAIT(atomic_load(&t.home_settled) == 1);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", "dev-001/thing/event/property/post"), 1);
	assert_int_equal(packs(""), 0);
	teardown_is_clean();
}

static void packs_keep_the_gateways_rate_and_the_rest_goes_alone(void **state)
{
	int i;

	start_with_packs();
	settings.rate_device_qos1 = 2;
	settings.packs.age_ms = 1;
	settings.packs.count = 2;
	bring_online(12);
	for (i = 0; i < 12; i++)
		submit(reading(&t.devices[i], i, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 12);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 12);
	assert_in_range(packs(""), 0, 3);
	teardown_is_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(first_readings_of_twenty_devices_go_together),
		TEST(a_pack_that_gets_no_older_than_told_is_sent_unfilled),
		TEST(a_reading_that_stays_alone_goes_as_an_ordinary_post),
		TEST(a_bad_member_costs_nobody_else),
		TEST(each_device_keeps_its_order),
		TEST(after_a_lost_connection_all_members_go_again),
		TEST(a_device_that_leaves_an_open_pack_leaves_the_others_in_it),
		TEST(a_second_copy_of_a_reply_changes_nothing),
		TEST(an_alarm_does_not_wait_for_others),
		TEST(packs_keep_the_gateways_rate_and_the_rest_goes_alone),
	};

	cw_log_setup(getenv("CW_TEST_LOG") != NULL ? CW_LOG_DEBUG : CW_LOG_ERROR, 0, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
