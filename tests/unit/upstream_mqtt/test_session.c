/* Logging in: the connection, topology, devices. The same peer as in test_mqtt.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mqtt_fixture.h"

static void forty_devices_come_online_in_batches(void **state)
{
	int i, online = 0;

	conf.login_rate = 200;
	conf.rate_device_qos0 = 30; /* on a slow machine the batches are smaller and more */
	start();
	for (i = 0; i < DEVICES; i++)
		cw_upstream_device_want(add(i)->d, 1);
	for (i = 0; i < DEVICES; i++)
		WAIT(t.devices[i].state == CW_UPDEVICE_ONLINE);
	for (i = 0; i < DEVICES; i++)
		online += t.devices[i].told == 1;
	assert_int_equal(online, DEVICES);
	WAIT(peer_count(&t.peer, "\"ev\":\"batch_login\"", "\"code\":200") >= 7); /* what it says may come after what it does */
	for (i = 0; i < DEVICES; i++)
		cw_upstream_device_want(t.devices[i].d, 0);
	for (i = 0; i < DEVICES; i++)
		assert_non_null(peer_expect(&t.peer, "\"ev\":\"logout\"", ""));
	assert_true(peer_count(&t.peer, "\"ev\":\"publish\"", "combine/batch_logout") >= 7);
	assert_int_equal(violations(), 0);
}

static void the_gateways_own_messages_keep_its_rate(void **state)
{
	int i;

	conf.rate_device_qos0 = 30;
	conf.login_batch = 1;
	start();
	for (i = 0; i < DEVICES; i++)
		cw_upstream_device_want(add(i)->d, 1);
	for (i = 0; i < DEVICES; i++)
		WAIT(t.devices[i].state == CW_UPDEVICE_ONLINE);
	for (i = 0; i < DEVICES; i++)
		cw_upstream_device_want(t.devices[i].d, 0);
	for (i = 0; i < DEVICES; i++)
		assert_non_null(peer_expect(&t.peer, "\"ev\":\"logout\"", ""));
	for (i = 0; i < DEVICES; i++)
		WAIT(t.devices[i].state == CW_UPDEVICE_OFFLINE);
	assert_int_equal(violations(), 0);
}

static void one_bad_secret_costs_the_others_nothing(void **state)
{
	struct device *bad = &t.devices[9];
	int i;

	conf.retry_min_ms = conf.retry_max_ms = 1000; /* the bad one is asked again far later */
	start();
	for (i = 0; i < 10; i++)
		add(i);
	peer_do(&t.peer, "{\"do\":\"refuse\",\"what\":\"login\",\"dn\":\"dev-003\",\"code\":6287}");
	peer_do(&t.peer,
		"{\"do\":\"device\",\"key\":\"" PK "/dev-009\",\"secret\":\"other\"}"); /* topology add says 401 */
	for (i = 0; i < 10; i++)
		cw_upstream_device_want(t.devices[i].d, 1);
	for (i = 0; i < 9; i++)
		if (i != 3)
			WAIT(t.devices[i].state == CW_UPDEVICE_ONLINE);
	WAIT(t.devices[3].state == CW_UPDEVICE_REFUSED);
	assert_int_equal(t.devices[3].code, 6287);
	WAIT(bad->state == CW_UPDEVICE_REFUSED);
	assert_int_equal(bad->code, 401);
}

static void a_refused_device_is_asked_again_and_comes_online(void **state)
{
	struct device *d;

	conf.retry_min_ms = 10;
	conf.retry_max_ms = 20;
	start();
	d = add(1);
	peer_do(&t.peer, "{\"do\":\"refuse\",\"dn\":\"dev-001\",\"code\":522}");
	cw_upstream_device_want(d->d, 1);
	WAIT(d->state == CW_UPDEVICE_REFUSED);
	assert_int_equal(d->code, 522);
	peer_do(&t.peer, "{\"do\":\"refuse\",\"dn\":\"dev-001\",\"code\":0}");
	WAIT(d->state == CW_UPDEVICE_ONLINE);
}

static void a_missing_relation_is_made_again(void **state)
{
	struct device *d;

	start();
	d = add_online(1);
	cw_upstream_device_want(d->d, 0);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"logout\"", "dev-001"));
	WAIT(d->state == CW_UPDEVICE_OFFLINE);
	peer_do(&t.peer, "{\"do\":\"unrelate\",\"key\":\"" PK "/dev-001\"}");
	cw_upstream_device_want(d->d, 1);
	WAIT(d->state == CW_UPDEVICE_ONLINE);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"login\"", "\"code\":6401"), 1);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", "thing/topo/add"), 2);
}

static void a_platform_that_forgot_the_topology_gets_it_again_in_batches(void **state)
{
	int i, adds;

	start();
	for (i = 0; i < DEVICES; i++)
		cw_upstream_device_want(add(i)->d, 1);
	for (i = 0; i < DEVICES; i++)
		WAIT(t.devices[i].state == CW_UPDEVICE_ONLINE);
	adds = peer_count(&t.peer, "\"ev\":\"publish\"", "thing/topo/add");
	peer_do(&t.peer, "{\"do\":\"unrelate\",\"key\":\"*\"}");
	peer_do(&t.peer, "{\"do\":\"drop\"}");
	WAIT(t.devices[0].state == CW_UPDEVICE_OFFLINE);
	for (i = 0; i < DEVICES; i++)
		WAIT(t.devices[i].state == CW_UPDEVICE_ONLINE && t.devices[i].told == 3);
	assert_in_range(peer_count(&t.peer, "\"ev\":\"publish\"", "thing/topo/add") - adds, 2, 12);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"login\"", "6401"), 0);
	assert_int_equal(violations(), 0);
}

static void a_kicked_device_is_logged_in_again(void **state)
{
	struct device *d;

	start();
	d = add_online(1);
	push("/ext/error/a1Gateway01/gw-1",
	     "{\\\"id\\\":\\\"0\\\",\\\"code\\\":427,\\\"message\\\":\\\"elsewhere\\\","
	     "\\\"data\\\":{\\\"productKey\\\":\\\"" PK "\\\",\\\"deviceName\\\":\\\"dev-001\\\"}}");
	WAIT(d->state == CW_UPDEVICE_OFFLINE && d->told == 2);
	assert_int_equal(d->code, 427);
	WAIT(d->state == CW_UPDEVICE_ONLINE);
	push("/ext/session/a1Gateway01/gw-1/combine/logout_reply",
	     "{\\\"id\\\":\\\"99\\\",\\\"code\\\":521,\\\"data\\\":{\\\"productKey\\\":\\\"" PK
	     "\\\",\\\"deviceName\\\":\\\"dev-001\\\"}}");
	WAIT(d->state == CW_UPDEVICE_REFUSED);
	assert_int_equal(d->code, 521);
}

static void a_publish_without_session_leads_to_a_new_login_and_the_record_arrives(void **state)
{
	struct device *d;

	conf.confirm_reply = 1;
	conf.ack_timeout_ms = 2000;
	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"session\",\"key\":\"" PK "/dev-001\"}");
	submit(reading(d, 1, NULL, NULL));
	WAIT(d->state == CW_UPDEVICE_OFFLINE && d->code == 520);
	WAIT(atomic_load(&t.home_settled) == 1);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 1);
}

static void topology_notices_are_answered_and_obeyed(void **state)
{
	struct device *d;

	conf.retry_min_ms = conf.retry_max_ms = 60000; /* only the notice brings it back */
	start();
	d = add_online(1);
	push("/sys/a1Gateway01/gw-1/thing/topo/change",
	     "{\\\"id\\\":\\\"5\\\",\\\"params\\\":{\\\"status\\\":8,\\\"subList\\\":[{\\\"productKey\\\":\\\"" PK
	     "\\\",\\\"deviceName\\\":\\\"dev-001\\\"}]}}");
	WAIT(d->state == CW_UPDEVICE_REFUSED);
	assert_int_equal(d->code, 522);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "thing/topo/change_reply"));
	push("/sys/a1Gateway01/gw-1/thing/topo/change",
	     "{\\\"id\\\":\\\"6\\\",\\\"params\\\":{\\\"status\\\":2,\\\"subList\\\":[{\\\"productKey\\\":\\\"" PK
	     "\\\",\\\"deviceName\\\":\\\"dev-001\\\"}]}}");
	WAIT(d->state == CW_UPDEVICE_ONLINE);
}

static void logging_out_waits_for_the_queue(void **state)
{
	struct device *d;

	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	submit(reading(d, 1, NULL, NULL));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "\\\"value\\\":1,"));
	cw_upstream_device_want(d->d, 0);
	assert_null(peer_find(&t.peer, "\"ev\":\"logout\"", "", 100));
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":0}");
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"logout\"", "dev-001"));
	WAIT(d->state == CW_UPDEVICE_OFFLINE);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 1);
}

static void a_removed_device_is_logged_out_and_its_records_are_lost(void **state)
{
	struct device *d;

	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	submit(reading(d, 1, NULL, NULL));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "\\\"value\\\":1,"));
	cw_upstream_device_remove(d->d);
	WAIT(d->removed);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"logout\"", "dev-001"));
	WAIT(atomic_load(&t.home_settled) == 1);
	assert_int_equal(t.settled[CW_SETTLED_LOST], 1);
}

static void every_address_of_a_name_is_tried(void **state)
{
	char by_name[64];

	snprintf(by_name, sizeof(by_name), "tcp://localhost%s", strrchr(endpoint, ':'));
	conf.endpoint = by_name;
	start();
	WAIT(t.up);
}

static void a_name_that_does_not_exist_is_said_so(void **state)
{
	conf.endpoint = "tcp://nowhere.invalid:1883";
	start();
	WAIT(t.reason[0] != '\0');
	assert_non_null(strstr(t.reason, "nowhere.invalid:1883: its name cannot be resolved"));
}

static void a_device_may_be_removed_and_added_again_at_once(void **state)
{
	struct device *old, *d;

	start();
	old = add_online(1);
	cw_upstream_device_remove(old->d);
	d = &t.devices[2];
	assert_int_equal(cw_upstream_device_add(t.u, PK, "dev-001", "secret-1", d, &d->d), 0);
	cw_upstream_device_want(d->d, 1);
	WAIT(old->removed);
	WAIT(d->state == CW_UPDEVICE_ONLINE);
	submit(reading(d, 5, NULL, NULL));
	WAIT(t.settled[CW_SETTLED_DONE] == 1);
	push("/" PK "/dev-001/user/get", "raw");
	WAIT(t.command != NULL);
	cw_upstream_answer(t.command);
	t.command = NULL;
	assert_int_equal(violations(), 0);
}

static void a_refused_bridge_says_why_and_tries_again(void **state)
{
	peer_do(&t.peer, "{\"do\":\"connack\",\"value\":4}");
	start();
	WAIT(t.reason[0] != '\0');
	assert_non_null(strstr(t.reason, "secret"));
	WAIT(t.up);
}

static void a_twin_is_noticed_and_the_attempts_grow_apart(void **state)
{
	struct cw_upstream_status status;

	peer_do(&t.peer, "{\"do\":\"twin\",\"value\":1}");
	start();
	WAIT(peer_count(&t.peer, "\"ev\":\"connect\"", "\"code\":0") >= 5);
	peer_do(&t.peer, "{\"do\":\"twin\",\"value\":0}");
	WAIT(t.up && peer_count(&t.peer, "\"ev\":\"connect\"", "\"code\":0") >= 6);
	cw_upstream_status(t.u, &status);
	assert_true(status.last_error[0] != '\0');
}

static void more_devices_than_allowed_are_refused_here(void **state)
{
	conf.max_devices = 2;
	start();
	add_online(1);
	add_online(2);
	cw_upstream_device_want(add(3)->d, 1);
	WAIT(t.devices[3].state == CW_UPDEVICE_REFUSED);
	assert_int_equal(t.devices[3].code, 428);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(forty_devices_come_online_in_batches),
		TEST(the_gateways_own_messages_keep_its_rate),
		TEST(one_bad_secret_costs_the_others_nothing),
		TEST(a_refused_device_is_asked_again_and_comes_online),
		TEST(a_missing_relation_is_made_again),
		TEST(a_platform_that_forgot_the_topology_gets_it_again_in_batches),
		TEST(a_kicked_device_is_logged_in_again),
		TEST(a_publish_without_session_leads_to_a_new_login_and_the_record_arrives),
		TEST(topology_notices_are_answered_and_obeyed),
		TEST(logging_out_waits_for_the_queue),
		TEST(a_removed_device_is_logged_out_and_its_records_are_lost),
		TEST(every_address_of_a_name_is_tried),
		TEST(a_name_that_does_not_exist_is_said_so),
		TEST(a_device_may_be_removed_and_added_again_at_once),
		TEST(a_refused_bridge_says_why_and_tries_again),
		TEST(a_twin_is_noticed_and_the_attempts_grow_apart),
		TEST(more_devices_than_allowed_are_refused_here),
	};

	cw_log_setup(getenv("CW_TEST_LOG") != NULL ? CW_LOG_DEBUG : CW_LOG_ERROR, 0, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
