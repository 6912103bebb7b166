/* The platform over MQTT against the scripted peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "upstream/device.h"

#include "mqtt_fixture.h"

/* ---- tests ------------------------------------------------------------------ */

static void a_device_is_added_logged_in_and_its_reading_confirmed(void **state)
{
	struct device *d;
	const char *line;

	start();
	assert_non_null(line = peer_expect(&t.peer, "\"ev\":\"connect\"", "a1Gateway01.gw-1|"));
	assert_non_null(strstr(line, "\"code\":0"));
	assert_non_null(strstr(line, "\"level\":4,\"clean\":0"));
	d = add_online(1);
	submit(reading(d, 7, NULL, NULL));
	line = peer_expect(&t.peer, "\"ev\":\"publish\"", "/sys/" PK "/dev-001/thing/event/property/post");
	assert_non_null(line);
	assert_non_null(strstr(line, "\"qos\":1"));
	assert_non_null(strstr(line, "\\\"temperature\\\":{\\\"value\\\":12.30,\\\"time\\\":1700000000007}"));
	assert_non_null(strstr(line, "\\\"sys\\\":{\\\"ack\\\":0}"));
	assert_non_null(strstr(line, "\\\"method\\\":\\\"thing.event.property.post\\\""));
	WAIT(atomic_load(&t.home_settled) == 1);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 1);
	assert_int_equal(peer_count(&t.peer, "violation", ""), 0);
}

static void a_record_without_time_carries_its_arrival(void **state)
{
	uint8_t buf[100];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	struct cw_parcel *p;
	struct device *d;

	start();
	d = add_online(1);
	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_body(&w);
	cw_field_int(&w, "n", 1);
	cw_put_end(&w);
	p = parcel(d, &w);
	p->arrival_ms = 1700000000999;
	p->want_answer = 0;
	submit(p);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "{\\\"value\\\":1,\\\"time\\\":1700000000999}"));
}

static void a_property_set_becomes_a_command_and_its_answer_goes_up(void **state)
{
	struct cw_record rec;
	const char *line;

	start();
	add_online(1);
	peer_do(&t.peer,
		"{\"do\":\"push\",\"topic\":\"/sys/" PK "/dev-001/thing/service/property/set\",\"qos\":1,"
		"\"payload\":\"{\\\"id\\\":\\\"77\\\",\\\"version\\\":\\\"1.0\\\",\\\"params\\\":{\\\"level\\\":12.30},"
		"\\\"method\\\":\\\"thing.service.property.set\\\"}\"}");
	WAIT(t.command != NULL);
	assert_int_equal(t.command->kind, CW_KIND_PROPERTY_SET);
	assert_string_equal(t.command->device_name, "dev-001");
	assert_string_equal(t.command->request, "77");
	assert_true(t.command->wants_answer);
	assert_true(cw_record_read(cw_bytes_of(t.command->bytes, t.command->len), &rec));
	assert_int_equal(cw_map_item(rec.body, "level").type, CW_ITEM_DECIMAL);
	assert_int_equal(cw_map_item(rec.body, "level").i, 1230);
	t.command->code = 200;
	cw_upstream_answer(t.command);
	line = peer_expect(&t.peer, "publish", "/sys/" PK "/dev-001/thing/service/property/set_reply");
	assert_non_null(line);
	assert_non_null(strstr(line, "{\\\"id\\\":\\\"77\\\",\\\"code\\\":200,\\\"data\\\":{}}"));
	t.command = NULL;
}

static int violations(void)
{
	return peer_count(&t.peer, "\"ev\":\"violation\"", "");
}

static void push(const char *topic, const char *json_payload)
{
	char line[1500];

	snprintf(line, sizeof(line), "{\"do\":\"push\",\"topic\":\"%s\",\"payload\":\"%s\"}", topic, json_payload);
	peer_do(&t.peer, line);
}

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

static void after_a_lost_connection_the_unconfirmed_go_out_behind_the_new_login(void **state)
{
	struct device *d;
	int i;

	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	for (i = 0; i < 5; i++)
		submit(reading(d, i, NULL, NULL));
	for (i = 0; i < 5; i++)
		assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "event/property/post"));
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":0}");
	WAIT(atomic_load(&t.home_settled) == 5);
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	for (i = 10; i < 13; i++)
		submit(reading(d, i, NULL, NULL));
	for (i = 10; i < 13; i++)
		assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "event/property/post"));
	peer_do(&t.peer, "{\"do\":\"drop\"}");
	WAIT(d->state == CW_UPDEVICE_OFFLINE);
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":0}");
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"connect\"", "\"code\":0"));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"login\"", "\"code\":200"));
	for (i = 10; i < 13; i++) {
		char n[40];

		snprintf(n, sizeof(n), "\\\"n\\\":{\\\"value\\\":%d,", i);
		assert_non_null(strstr(peer_expect(&t.peer, "\"ev\":\"publish\"", "event/property/post"), n));
	}
	WAIT(atomic_load(&t.home_settled) == 8);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 8);
	assert_int_equal(violations(), 0);
	assert_int_equal(t.ups, 2);
}

static void with_the_platform_away_a_device_hears_pending_and_a_copy_joins(void **state)
{
	struct device *d;

	conf.ack_timeout_ms = 100;
	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"connack\",\"value\":3}");
	peer_do(&t.peer, "{\"do\":\"drop\"}");
	WAIT(d->state == CW_UPDEVICE_OFFLINE);
	submit(reading(d, 1, "k", NULL));
	submit(reading(d, 2, "k", NULL));
	WAIT(atomic_load(&t.home_settled) >= 1 && (t.settled[CW_SETTLED_PENDING] + t.settled[CW_SETTLED_DONE]) == 2);
	WAIT(d->state == CW_UPDEVICE_ONLINE);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "event/property/post"));
	submit(reading(d, 3, "k", NULL));
	WAIT(t.settled[CW_SETTLED_DONE] >= 1);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", "event/property/post"), 1);
}

static void with_confirm_reply_the_platforms_code_decides(void **state)
{
	struct device *d;

	conf.confirm_reply = 1;
	start();
	d = add_online(1);
	submit(reading(d, 1, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 1);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 1);
	assert_null(strstr(peer_expect(&t.peer, "\"ev\":\"publish\"", "event/property/post"), "ack"));
	peer_do(&t.peer, "{\"do\":\"reply\",\"code\":6320}");
	submit(reading(d, 2, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 2);
	assert_int_equal(t.settled[CW_SETTLED_REFUSED], 1);
	assert_int_equal(t.settled_code, 6320);
	peer_do(&t.peer, "{\"do\":\"reply\",\"code\":429}");
	submit(reading(d, 3, NULL, NULL));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "\\\"value\\\":3,"));
	peer_do(&t.peer, "{\"do\":\"reply\",\"code\":200}");
	WAIT(atomic_load(&t.home_settled) == 3); /* asked for later, sent again */
	assert_int_equal(t.settled[CW_SETTLED_DONE], 2);
}

static void a_puback_without_reply_confirms_nothing_under_confirm_reply(void **state)
{
	struct device *d;

	conf.confirm_reply = 1;
	conf.ack_timeout_ms = 50;
	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"mute\",\"value\":1}");
	submit(reading(d, 1, NULL, NULL));
	WAIT(t.settled[CW_SETTLED_PENDING] == 1);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "\\\"value\\\":1,"));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "\\\"value\\\":1,")); /* and again */
	assert_int_equal(t.settled[CW_SETTLED_DONE], 0);
}

static void a_caller_with_a_request_id_gets_the_reply(void **state)
{
	struct device *d;

	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"reply\",\"code\":6106}");
	submit(reading(d, 1, NULL, "req-9"));
	WAIT(t.replies == 1);
	assert_string_equal(t.reply_request, "req-9");
	assert_int_equal(t.reply_code, 6106);
	WAIT(atomic_load(&t.home_settled) == 1);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 1); /* transport: the PUBACK counts */
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

static void what_is_not_understood_is_counted_and_not_answered(void **state)
{
	int64_t before;
	int publishes;

	start();
	add_online(1);
	before = cw_stat_read(CW_STAT_upstream_downlinks_odd);
	publishes = peer_count(&t.peer, "\"ev\":\"publish\"", "");
	push("/sys/" PK "/dev-001/thing/service/property/set", "{not json");
	push("/sys/" PK "/nobody/thing/service/property/set", "{}");
	push("/sys/" PK "/dev-001/thing/what/ever", "{\\\"id\\\":\\\"1\\\"}");
	push("/ext/error/a1Gateway01/gw-1", "{\\\"code\\\":520}");
	push("/ext/session/other/gw-1/combine/login_reply", "{}");
	push("/ext/session/a1Gateway01/gw-1/combine/login_reply", "{\\\"id\\\":\\\"424242\\\",\\\"code\\\":200}");
	push("nonsense", "x");
	WAIT(cw_stat_read(CW_STAT_upstream_downlinks_odd) - before == 7);
	assert_null(t.command);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", ""), publishes);
}

static void a_raw_call_is_answered_with_bytes_on_its_own_topic(void **state)
{
	const char *line;

	start();
	add_online(1);
	push("/sys/" PK "/dev-001/rrpc/request/815", "ping");
	WAIT(t.command != NULL);
	assert_int_equal(t.command->kind, CW_KIND_RRPC);
	assert_int_equal(t.command->deadline_ms, 8000);
	t.command->reply = cw_memdup("pong", 4);
	t.command->reply_len = 4;
	t.command->code = 200;
	cw_upstream_answer(t.command);
	t.command = NULL;
	line = peer_expect(&t.peer, "\"ev\":\"publish\"", "/sys/" PK "/dev-001/rrpc/response/815");
	assert_non_null(line);
	assert_non_null(strstr(line, "\"payload\":\"pong\""));
	push("/" PK "/dev-001/user/get", "raw");
	WAIT(t.command != NULL);
	assert_int_equal(t.command->kind, CW_KIND_RAW_DOWN);
	assert_false(t.command->wants_answer);
	cw_upstream_answer(t.command);
	t.command = NULL;
}

static void all_topics_are_subscribed_after_the_login(void **state)
{
	const char *line;

	start();
	add_online(1);
	line = peer_expect(&t.peer, "\"ev\":\"login\"", "");
	do {
		peer_do(&t.peer, "{\"do\":\"filters\"}");
		line = peer_expect(&t.peer, "\"ev\":\"filters\"", "");
	} while (strstr(line, "/" PK "/dev-001/user/#") == NULL);
	assert_non_null(strstr(line, "/sys/" PK "/dev-001/thing/service/+"));
	assert_non_null(strstr(line, "/ext/rrpc/+/sys/" PK "/dev-001/thing/service/+"));
	assert_non_null(strstr(line, "/ext/error/a1Gateway01/gw-1"));
	assert_int_equal(violations(), 0);
}

static atomic_int rooms;

static void on_room(struct cw_upstream_watch *watch)
{
	atomic_fetch_add(&rooms, 1);
}

static void full_queues_say_busy_and_tell_when_there_is_room(void **state)
{
	static struct cw_upstream_watch watch;
	struct device *d;
	struct cw_parcel *p;
	int n = 0;

	memset(&watch, 0, sizeof(watch));
	atomic_store(&rooms, 0);
	watch.w = t.home;
	watch.on_room = on_room;
	conf.queue_bytes_device = 4096;
	start();
	cw_upstream_watch(t.u, &watch);
	WAIT(atomic_load(&rooms) == 1);
	d = add(1);
	while (cw_upstream_submit(p = reading(d, n, NULL, NULL)) == 0)
		n++;
	cw_parcel_unref(p);
	assert_in_range(n, 5, 30);
	assert_int_equal(atomic_load(&rooms), 1);
	cw_upstream_device_want(d->d, 1);
	WAIT(atomic_load(&rooms) >= 2);
	WAIT(atomic_load(&t.home_settled) == n);
	assert_int_equal(t.settled[CW_SETTLED_DONE], n);
}

static void stopping_drains_logs_out_and_disconnects(void **state)
{
	struct device *d;
	int i;

	conf.rate_device_qos1 = 10;
	start();
	d = add_online(1);
	for (i = 0; i < 14; i++)
		submit(reading(d, i, NULL, NULL));
	cw_upstream_stop(t.u, 5000, on_done, NULL);
	WAIT(t.done);
	WAIT(atomic_load(&t.home_settled) == 14);
	assert_int_equal(t.settled[CW_SETTLED_DONE], 14);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"logout\"", "dev-001"));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"disconnect\"", ""));
	assert_int_equal(violations(), 0); /* the pace was kept while draining */
	submit(reading(d, 99, NULL, NULL));
	WAIT(atomic_load(&t.home_settled) == 15);
	assert_int_equal(t.settled[CW_SETTLED_LOST], 1);
	cw_upstream_free(t.u);
	t.u = NULL;
}

static void stopping_gives_up_what_is_not_confirmed_in_time(void **state)
{
	struct device *d;

	start();
	d = add_online(1);
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	submit(reading(d, 1, NULL, NULL));
	cw_upstream_stop(t.u, 100, on_done, NULL);
	WAIT(t.done);
	WAIT(atomic_load(&t.home_settled) == 1);
	assert_int_equal(t.settled[CW_SETTLED_LOST], 1);
	cw_upstream_free(t.u);
	t.u = NULL;
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

static void wrong_settings_are_refused_with_a_sentence(void **state)
{
	struct cw_msg msg = { "" };
	struct cw_upstream *u;

	conf.keep_alive_s = 29;
	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &u, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "keepAlive"));
	conf = conf_of("http://x:1883");
	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &u, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "tcp:// or ssl://"));
	conf = conf_of("tcp://x");
	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &u, &msg), CW_ECONF);
	conf = conf_of("tcp://x:70000");
	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &u, &msg), CW_ECONF);
	conf = conf_of("tcp://[::1]:1883");
	conf.device_secret = NULL;
	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &u, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "deviceSecret"));
}

struct arm {
	struct cw_mail mail;
	long nth;
	atomic_int armed;
};

/* On the upstream's own thread: failures are armed per thread. */
static void on_arm(struct cw_mail *mail)
{
	struct arm *a = cw_container_of(mail, struct arm, mail);

	cw_mem_fail_at(a->nth);
	atomic_store(&a->armed, 1);
}

static void arm_upstream(long nth)
{
	struct arm a = { .nth = nth };

	cw_post(t.u->w, &a.mail, on_arm);
	WAIT(atomic_load(&a.armed));
}

/* How long it waits for the platform's answers: one that cannot be read for want of memory is asked for again then. */
static void be_impatient(void)
{
	struct mqtt *m = t.u->connector;

	m->requests.patience_ms = 300;
}

static void short_memory_delays_but_loses_nothing(void **state)
{
	struct cw_msg msg = { "" };
	int i, n = 12;

	conf.retry_min_ms = 10;
	conf.retry_max_ms = 20;
	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &t.u, &msg), 0);
	be_impatient();
	assert_int_equal(cw_upstream_start(t.u), 0);
	add_online(0);
	for (i = 0; i < n; i++) {
		struct device *d = &t.devices[0];

		arm_upstream(i);
		submit(reading(d, i, NULL, NULL));
		WAIT(atomic_load(&t.home_settled) == i + 1);
	}
	for (i = 1; i < n; i++) {
		struct device *d = add(i);

		arm_upstream(i - 1);
		cw_upstream_device_want(d->d, 1);
		WAIT(d->state == CW_UPDEVICE_ONLINE);
	}
	arm_upstream(-1);
	assert_int_equal(t.settled[CW_SETTLED_DONE], n);
}

static void short_memory_while_being_made_is_reported(void **state)
{
	long nth, live = cw_mem_live();
	int rc = -1;

	for (nth = 0; rc != 0; nth++) {
		struct cw_msg msg = { "" };

		cw_mem_fail_at(nth);
		rc = cw_upstream_new(&conf, t.control, &events, NULL, &t.u, &msg);
		cw_mem_fail_at(-1);
		if (rc != 0) {
			assert_int_equal(rc, CW_ENOMEM);
			assert_null(t.u);
			assert_int_equal(cw_mem_live(), live);
		}
	}
	cw_upstream_free(t.u);
	t.u = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_device_is_added_logged_in_and_its_reading_confirmed),
		TEST(a_record_without_time_carries_its_arrival),
		TEST(a_property_set_becomes_a_command_and_its_answer_goes_up),
		TEST(forty_devices_come_online_in_batches),
		TEST(the_gateways_own_messages_keep_its_rate),
		TEST(one_bad_secret_costs_the_others_nothing),
		TEST(a_refused_device_is_asked_again_and_comes_online),
		TEST(a_missing_relation_is_made_again),
		TEST(a_platform_that_forgot_the_topology_gets_it_again_in_batches),
		TEST(after_a_lost_connection_the_unconfirmed_go_out_behind_the_new_login),
		TEST(with_the_platform_away_a_device_hears_pending_and_a_copy_joins),
		TEST(with_confirm_reply_the_platforms_code_decides),
		TEST(a_puback_without_reply_confirms_nothing_under_confirm_reply),
		TEST(a_caller_with_a_request_id_gets_the_reply),
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
		TEST(what_is_not_understood_is_counted_and_not_answered),
		TEST(a_raw_call_is_answered_with_bytes_on_its_own_topic),
		TEST(all_topics_are_subscribed_after_the_login),
		TEST(full_queues_say_busy_and_tell_when_there_is_room),
		TEST(stopping_drains_logs_out_and_disconnects),
		TEST(stopping_gives_up_what_is_not_confirmed_in_time),
		TEST(more_devices_than_allowed_are_refused_here),
		TEST(wrong_settings_are_refused_with_a_sentence),
		TEST(short_memory_delays_but_loses_nothing),
		TEST(short_memory_while_being_made_is_reported),
	};

	cw_log_setup(getenv("CW_TEST_LOG") != NULL ? CW_LOG_DEBUG : CW_LOG_ERROR, 0, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
