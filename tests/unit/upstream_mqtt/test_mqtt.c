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
		TEST(after_a_lost_connection_the_unconfirmed_go_out_behind_the_new_login),
		TEST(with_the_platform_away_a_device_hears_pending_and_a_copy_joins),
		TEST(with_confirm_reply_the_platforms_code_decides),
		TEST(a_puback_without_reply_confirms_nothing_under_confirm_reply),
		TEST(a_caller_with_a_request_id_gets_the_reply),
		TEST(what_is_not_understood_is_counted_and_not_answered),
		TEST(a_raw_call_is_answered_with_bytes_on_its_own_topic),
		TEST(all_topics_are_subscribed_after_the_login),
		TEST(full_queues_say_busy_and_tell_when_there_is_room),
		TEST(stopping_drains_logs_out_and_disconnects),
		TEST(stopping_gives_up_what_is_not_confirmed_in_time),
		TEST(wrong_settings_are_refused_with_a_sentence),
		TEST(short_memory_delays_but_loses_nothing),
		TEST(short_memory_while_being_made_is_reported),
	};

	cw_log_setup(getenv("CW_TEST_LOG") != NULL ? CW_LOG_DEBUG : CW_LOG_ERROR, 0, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
