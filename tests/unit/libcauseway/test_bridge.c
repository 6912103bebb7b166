/*
 * libcauseway without a platform: settings, arguments, life and exactly one completion
 * where nothing can be delivered. covers: M11 M12 M16 M17 M20 M23 M24 M28 H60 H61 H62 H63 H64
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "causeway/bridge.h"

/* Nobody listens there; port 9 is discard. */
#define NOWHERE "tcp://127.0.0.1:9"

static char dir[] = "/tmp/cw-lib-XXXXXX";

static const char *put_file(const char *name, const char *text)
{
	static char path[4][128];
	static unsigned at;
	char *to = path[at++ % 4];
	FILE *f;

	snprintf(to, 128, "%s/%s", dir, name);
	f = fopen(to, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(to, 0600), 0);
	return to;
}

#define DEVICES "d1 { productKey : a1Product01, deviceName : dev-1, deviceSecret : s1 }\n"
#define BRIDGE "productKey = a1Gateway01, deviceName = gw-1, deviceSecret = verysecret\n"

/* One bridge with what came back. */
static struct {
	struct cw_bridge *b;
	int told, rc;
	char text[128];
	int looked_up, answer;
	uint64_t token;
	char asked[64];
	int left;
} t;

static void on_done(void *arg, const struct cw_bridge_outcome *o)
{
	t.told++;
	t.rc = o->rc;
	assert_non_null(o->text);
	snprintf(t.text, sizeof(t.text), "%s", o->text);
	if (arg != NULL)
		++*(int *)arg;
}

static void on_lookup(void *ctx, uint64_t token, const char *identity)
{
	static const struct cw_bridge_certificate c = { "a1Product01", "dev-9", "s9" },
						  other = { "a1Product01", "dev-10", "s10" };

	t.looked_up++;
	t.token = token;
	snprintf(t.asked, sizeof(t.asked), "%s", identity);
	if (t.answer > 0)
		assert_int_equal(cw_bridge_found(t.b, token, 0, t.answer == 1 ? &c : &other), 0);
	if (t.answer < 0)
		assert_int_equal(cw_bridge_found(t.b, token, t.answer, NULL), 0);
}

static void on_device(void *ctx, void *user, const struct cw_bridge_device *d)
{
	if (d->what >= CW_DEVICE_LEFT_SUPERSEDED)
		t.left++;
}

static const struct cw_bridge_handler handler = { .size = sizeof(handler), .lookup = on_lookup, .device = on_device };

static int open_with(struct cw_bridge_setup s, char why[512])
{
	s.size = sizeof(s);
	t.b = NULL;
	why[0] = '\0';
	return cw_bridge_open(&s, &t.b, why, 512);
}

static struct cw_bridge_setup plain(void)
{
	return (struct cw_bridge_setup){ .product_key = "a1Gateway01",
					 .device_name = "gw-1",
					 .device_secret = "verysecret",
					 .endpoint = NOWHERE,
					 .devices = put_file("devices.conf", DEVICES),
					 .handler = &handler };
}

static void open_plain(void)
{
	char why[512];

	memset(&t, 0, sizeof(t));
	if (open_with(plain(), why) < 0)
		fail_msg("%s", why);
}

/* Drive until `*what` reaches `value`. */
static void step_until(const int *what, int value)
{
	while (*what < value) {
		struct pollfd p = { .fd = cw_bridge_fd(t.b), .events = POLLIN };

		assert_int_equal(cw_bridge_step(t.b), 0);
		if (*what < value)
			(void)poll(&p, 1, cw_bridge_timeout(t.b));
	}
}

static void steps(int n)
{
	while (n-- > 0)
		assert_int_equal(cw_bridge_step(t.b), 0);
}

static const struct cw_bridge_wait *wait_ms(unsigned ms)
{
	static struct cw_bridge_wait w;

	w = (struct cw_bridge_wait){ ms, on_done, NULL };
	return &w;
}

/* ---- settings ------------------------------------------------------------------------ */

static void a_file_a_text_and_members_are_merged_in_this_order(void **state)
{
	struct cw_bridge_setup s = { .handler = &handler };
	char why[512];

	put_file("devices.conf", DEVICES);
	s.file = put_file("application.conf", BRIDGE "upstreams { cloud { endpoint = \"" NOWHERE "\", qos = 7 } }\n");
	assert_int_equal(open_with(s, why), CW_ECONF);
	assert_non_null(strstr(why, "application.conf:2:"));
	s.text = "upstreams.cloud.qos = 8";
	assert_int_equal(open_with(s, why), CW_ECONF);
	assert_non_null(strstr(why, "8"));
	s.text = "upstreams.cloud { qos = 0, endpoint = \"udp://nowhere\" }";
	assert_int_equal(open_with(s, why), CW_ECONF);
	assert_non_null(strstr(why, "udp://nowhere"));
	s.endpoint = NOWHERE;
	assert_int_equal(open_with(s, why), 0);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void what_is_missing_is_named_and_no_secret_is(void **state)
{
	struct cw_bridge_setup s = plain();
	char why[512];

	s.device_name = NULL;
	assert_int_equal(open_with(s, why), CW_ECONF);
	assert_non_null(strstr(why, "deviceName"));
	assert_null(strstr(why, "verysecret"));
	s = plain();
	s.endpoint = NULL;
	assert_int_equal(open_with(s, why), CW_ECONF);
	assert_non_null(strstr(why, "upstream"));
	s = plain();
	s.type = "pigeon";
	assert_int_equal(open_with(s, why), CW_ECONF);
	assert_non_null(strstr(why, "pigeon"));
	s = plain();
	s.device_secret = "a\"b\\c\n${nothing}"; /* whatever it is, it stays a text */
	assert_int_equal(open_with(s, why), 0);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void files_that_are_not_there_are_named(void **state)
{
	static const struct cw_bridge_handler deaf = { .size = sizeof(deaf) };
	struct cw_bridge_setup s = plain();
	char why[512];

	s.devices = "/nonexistent/devices.conf";
	assert_int_not_equal(open_with(s, why), 0);
	assert_non_null(strstr(why, "/nonexistent/devices.conf"));
	s.devices = NULL;
	assert_int_equal(open_with(s, why), 0); /* there is a lookup */
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	s.handler = &deaf;
	assert_int_equal(open_with(s, why), CW_ENOENT);
	assert_non_null(strstr(why, "lookup"));
	s.file = "/nonexistent/application.conf";
	assert_int_not_equal(open_with(s, why), 0);
	assert_non_null(strstr(why, "/nonexistent/application.conf"));
}

static void a_state_directory_belongs_to_one_bridge(void **state)
{
	struct cw_bridge_setup s = plain();
	struct cw_bridge *first;
	char why[512], path[64];

	snprintf(path, sizeof(path), "%s/state", dir);
	s.state_dir = path;
	assert_int_equal(open_with(s, why), 0);
	first = t.b;
	assert_int_equal(open_with(s, why), CW_EEXIST);
	assert_non_null(strstr(why, path));
	assert_int_equal(cw_bridge_close(first, 0), 0);
	assert_int_equal(open_with(s, why), 0);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

/* A program that was built with an older header has smaller structs: what lies behind them is not read. */
static void smaller_structs_of_an_older_program_are_taken(void **state)
{
	struct cw_bridge_setup s = plain();
	struct cw_bridge_handler h = handler;
	struct cw_bridge_status status = { .size = offsetof(struct cw_bridge_status, queued_records),
					   .open_calls = 77 };
	char why[512];

	h.size = offsetof(struct cw_bridge_handler, device);
	h.device = (void (*)(void *, void *, const struct cw_bridge_device *))(uintptr_t)1;
	s.handler = &h;
	memset(&t, 0, sizeof(t));
	assert_int_equal(open_with(s, why), 0);
	cw_bridge_status(t.b, &status);
	assert_int_equal(status.open_calls, 77);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	s.size = 4;
	assert_int_equal(cw_bridge_open(&s, &t.b, why, sizeof(why)), CW_EINVAL);
}

/* ---- life ------------------------------------------------------------------------------ */

static void a_bridge_that_never_ran_can_be_closed_and_tells_what_is_open(void **state)
{
	int i;

	open_plain();
	for (i = 0; i < 100; i++)
		assert_int_equal(cw_bridge_online(t.b, "d1", &t, i % 2 == 0 ? CW_ONLINE_EARLY : 0, wait_ms(0)), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(cw_bridge_publish(t.b, "d1", "user/x", cw_bytes_text("x"), 1, wait_ms(0)), 0);
	assert_int_equal(t.told, 0);
	assert_int_equal(cw_bridge_close(t.b, 1000), 0);
	assert_int_equal(t.told, 200);
	assert_int_equal(cw_bridge_close(NULL, 0), 0);
}

static void it_is_started_once_or_driven(void **state)
{
	open_plain();
	assert_int_equal(cw_bridge_start(t.b), 0);
	assert_int_equal(cw_bridge_start(t.b), CW_EEXIST);
	assert_int_equal(cw_bridge_step(t.b), CW_EEXIST);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	open_plain();
	assert_int_equal(cw_bridge_step(t.b), 0);
	assert_int_equal(cw_bridge_start(t.b), CW_EEXIST);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void close_from_within(void *arg, const struct cw_bridge_outcome *o)
{
	t.told++;
	assert_int_equal(cw_bridge_close(t.b, 0), CW_EINVAL);
	assert_int_equal(cw_bridge_step(t.b), arg != NULL ? CW_EINVAL : CW_EEXIST);
}

static void a_callback_cannot_close_its_own_bridge(void **state)
{
	struct cw_bridge_wait w = { 10, close_from_within, &t };

	open_plain();
	assert_int_equal(cw_bridge_offline(t.b, "d1", &w), 0);
	step_until(&t.told, 1);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	open_plain();
	w.arg = NULL;
	assert_int_equal(cw_bridge_offline(t.b, "d1", &w), 0);
	assert_int_equal(cw_bridge_start(t.b), 0);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.told, 1);
}

static void call_again(void *arg, const struct cw_bridge_outcome *o)
{
	t.told++;
	assert_int_equal(o->rc, CW_ECLOSED);
	assert_int_equal(cw_bridge_publish(t.b, "d1", "user/x", cw_bytes_text("x"), 0, NULL), CW_ECLOSED);
	assert_int_equal(cw_bridge_online(t.b, "d1", NULL, 0, NULL), CW_ECLOSED);
	assert_int_equal(cw_bridge_answer(t.b, 1, 200, cw_bytes_text("")), CW_ECLOSED);
	assert_int_equal(cw_bridge_extend(t.b, 1, 5), CW_ECLOSED);
	assert_int_equal(cw_bridge_found(t.b, 1, CW_ENOENT, NULL), CW_ECLOSED);
	assert_int_equal(cw_bridge_offline(t.b, "d1", NULL), CW_ECLOSED);
}

static void while_it_closes_callbacks_may_still_call(void **state)
{
	struct cw_bridge_wait w = { 0, call_again, NULL };

	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d1", NULL, 0, &w), 0);
	steps(3);
	assert_int_equal(t.told, 0);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.told, 1);
}

/* ---- devices ------------------------------------------------------------------------------ */

static void online_ends_in_time_where_the_platform_cannot_be_reached(void **state)
{
	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d1", &t, 0, wait_ms(30)), 0);
	step_until(&t.told, 1);
	assert_int_equal(t.rc, CW_ETIMEDOUT);
	assert_int_equal(cw_bridge_publish(t.b, "d1", "user/x", cw_bytes_text("x"), 0, wait_ms(0)), 0);
	step_until(&t.told, 2);
	assert_int_equal(t.rc, CW_EOFFLINE);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.told, 2);
}

static void an_identity_nobody_knows_is_refused(void **state)
{
	open_plain();
	t.answer = CW_ENOENT;
	assert_int_equal(cw_bridge_online(t.b, "stranger", &t, 0, wait_ms(0)), 0);
	step_until(&t.told, 1);
	assert_int_equal(t.rc, CW_ENOENT);
	assert_string_equal(t.asked, "stranger");
	t.answer = CW_EUNREACH; /* could not be asked is another thing */
	assert_int_equal(cw_bridge_online(t.b, "stranger", &t, 0, wait_ms(0)), 0);
	step_until(&t.told, 2);
	assert_int_not_equal(t.rc, CW_ENOENT);
	assert_int_not_equal(t.rc, 0);
	assert_int_equal(t.looked_up, 2);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void *answer_later(void *arg)
{
	static const struct cw_bridge_certificate c = { "a1Product01", "dev-9", "s9" };

	assert_int_equal(cw_bridge_found(t.b, t.token, 0, &c), 0);
	assert_int_equal(cw_bridge_found(t.b, t.token, 0, &c), 0); /* once more changes nothing */
	return NULL;
}

static void a_lookup_is_answered_later_from_another_thread(void **state)
{
	char pk[32], dn[64];
	pthread_t id;

	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d9", &t, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.looked_up, 1);
	steps(3);
	assert_int_equal(t.told, 0);
	assert_int_equal(cw_bridge_names(t.b, "d9", pk, dn), CW_ENOENT);
	assert_int_equal(pthread_create(&id, NULL, answer_later, NULL), 0);
	step_until(&t.told, 1);
	pthread_join(id, NULL);
	assert_int_equal(t.rc, 0);
	assert_int_equal(cw_bridge_names(t.b, "d9", pk, dn), 0);
	assert_string_equal(pk, "a1Product01");
	assert_string_equal(dn, "dev-9");
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void another_answer_is_another_certificate(void **state)
{
	char pk[32], dn[64];
	int one, two;

	open_plain();
	t.answer = 1;
	assert_int_equal(cw_bridge_online(t.b, "d9", &one, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 1);
	assert_int_equal(cw_bridge_names(t.b, "d9", pk, dn), 0);
	assert_string_equal(dn, "dev-9");
	t.answer = 2;
	assert_int_equal(cw_bridge_online(t.b, "d9", &two, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 2);
	assert_int_equal(t.rc, 0);
	assert_int_equal(t.left, 1);
	assert_int_equal(cw_bridge_names(t.b, "d9", pk, dn), 0);
	assert_string_equal(dn, "dev-10");
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void a_question_that_is_still_open_at_the_end_is_dropped(void **state)
{
	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d8", &t, 0, wait_ms(0)), 0);
	assert_int_equal(cw_bridge_online(t.b, "d7", &t, 0, wait_ms(20)), 0);
	step_until(&t.looked_up, 2);
	step_until(&t.told, 1);
	assert_int_equal(t.rc, CW_ETIMEDOUT);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.told, 2);
}

static void names_that_are_none_are_not_taken(void **state)
{
	const struct cw_bridge_certificate bad[] = { { "a/b", "d", "s" },
						     { "a", "d+", "s" },
						     { "a", "", "s" },
						     { "a", "d", NULL },
						     { "a123456789012345678901234567890123", "d", "s" } };
	size_t i;

	open_plain();
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cw_bridge_found(t.b, 1, 0, &bad[i]), CW_EINVAL);
	assert_int_equal(cw_bridge_found(t.b, 1, 0, NULL), CW_EINVAL);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void offline_cancels_an_online_that_has_not_come_true(void **state)
{
	int first = 0, second = 0;
	struct cw_bridge_wait a = { 0, on_done, &first }, b = { 0, on_done, &second };

	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d1", &t, 0, &a), 0);
	assert_int_equal(cw_bridge_offline(t.b, "d1", &b), 0);
	step_until(&t.told, 2);
	assert_int_equal(first, 1);
	assert_int_equal(second, 1);
	assert_int_equal(t.rc, 0);
	assert_int_equal(cw_bridge_offline(t.b, "d1", &b), 0);
	step_until(&second, 2);
	assert_int_equal(t.rc, CW_ENOENT);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

static void a_second_online_takes_the_device_from_the_first(void **state)
{
	int one, two;

	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d1", &one, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 1);
	assert_int_equal(cw_bridge_online(t.b, "d1", &two, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 2);
	assert_int_equal(t.rc, 0);
	assert_int_equal(t.left, 1);
	/* One that waits for the platform is overtaken while it waits. */
	assert_int_equal(cw_bridge_online(t.b, "d1", &one, 0, wait_ms(0)), 0);
	steps(3);
	assert_int_equal(t.left, 2);
	assert_int_equal(cw_bridge_online(t.b, "d1", &two, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 4);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.left, 2);
	assert_int_equal(t.told, 4);
}

static void records_of_a_device_without_a_platform_end_once(void **state)
{
	int i;

	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d1", &t, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 1);
	for (i = 0; i < 50; i++)
		assert_int_equal(cw_bridge_report_properties(t.b, "d1", NULL, cw_bytes_text("{\"a\": 1.50}"),
							     wait_ms(i < 25 ? 20 : 0)),
				 0);
	step_until(&t.told, 26);
	assert_int_equal(t.rc, CW_ETIMEDOUT);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.told, 51);
	assert_int_equal(t.rc, CW_ECLOSED);
}

static void full_queues_are_said_and_nothing_is_kept(void **state)
{
	struct cw_bridge_setup s = plain();
	static uint8_t big[100000];
	char why[512];
	int i, full = 0;

	memset(&t, 0, sizeof(t));
	s.text = "upstreams.cloud.queueBytesPerDevice = 300KiB";
	assert_int_equal(open_with(s, why), 0);
	assert_int_equal(cw_bridge_online(t.b, "d1", &t, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 1);
	for (i = 0; i < 10; i++)
		assert_int_equal(cw_bridge_publish(t.b, "d1", "user/x", cw_bytes_of(big, sizeof(big)), 1, wait_ms(0)),
				 0);
	step_until(&t.told, 2);
	assert_int_equal(t.rc, CW_EBUSY);
	full = t.told - 1;
	assert_true(full >= 1);
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.told, 11);
}

static void arguments_are_checked_before_anything_is_taken(void **state)
{
	static uint8_t big[300000];
	struct cw_bytes x = cw_bytes_text("x");
	char longest[200], topic[300], request[80];

	memset(longest, 'i', sizeof(longest) - 1);
	longest[199] = '\0';
	memset(topic, 't', sizeof(topic) - 1);
	topic[299] = '\0';
	memset(request, '1', sizeof(request) - 1);
	request[79] = '\0';
	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "", NULL, 0, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_online(t.b, NULL, NULL, 0, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_online(t.b, "a\nb", NULL, 0, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_online(t.b, longest, NULL, 0, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_online(t.b, "d1", NULL, 8, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_publish(t.b, "d1", "", x, 0, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_publish(t.b, "d1", "user/x", x, 2, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_publish(t.b, "d1", topic, x, 0, wait_ms(0)), CW_ELIMIT);
	assert_int_equal(cw_bridge_publish(t.b, "d1", "user/x", cw_bytes_of(big, sizeof(big)), 0, wait_ms(0)),
			 CW_ELIMIT);
	assert_int_equal(cw_bridge_report_properties(t.b, "d1", NULL, cw_bytes_text("{\"a\": "), wait_ms(0)),
			 CW_EINVAL);
	assert_int_equal(cw_bridge_report_properties(t.b, "d1", NULL, cw_bytes_text("[1]"), wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_report_properties(t.b, "d1", NULL, cw_bytes_of(NULL, 0), wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_report_properties(t.b, "d1", request, cw_bytes_text("{}"), wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_fire_event(t.b, "d1", NULL, "e", 4, cw_bytes_text("{}"), wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_fire_event(t.b, "d1", NULL, "", CW_EVENT_INFO, cw_bytes_text("{}"), wait_ms(0)),
			 CW_EINVAL);
	assert_int_equal(cw_bridge_report_ota_version(t.b, "d1", NULL, NULL, "", wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_report_ota_progress(t.b, "d1", NULL, NULL, 101, "", wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_report(t.b, "d1", x, wait_ms(0)), CW_EINVAL);
	assert_int_equal(cw_bridge_answer(t.b, 1, 200, cw_bytes_of(big, sizeof(big))), CW_EINVAL);
	assert_int_equal(cw_bridge_answer(t.b, 1, 200, x), 0); /* nobody waits for it */
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
	assert_int_equal(t.told, 0);
}

static void a_topic_that_is_not_the_devices_is_refused(void **state)
{
	static const char *const others[] = { "/a1Product01/dev-2/user/x",
					      "/a1Product01/dev-1",
					      "/a1Product01/dev-1/",
					      "/sys/a1Product01/dev-1/rrpc/x",
					      "/ota/device/inform/a1Product01/dev-1",
					      "/",
					      "//dev-1/x",
					      "/a1Product01/dev-1x/user/x" };
	size_t i;

	open_plain();
	assert_int_equal(cw_bridge_online(t.b, "d1", &t, CW_ONLINE_EARLY, wait_ms(0)), 0);
	step_until(&t.told, 1);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(cw_bridge_publish(t.b, "d1", others[i], cw_bytes_text("x"), 0, wait_ms(0)), 0);
		step_until(&t.told, (int)i + 2);
		assert_int_equal(t.rc, CW_EINVAL);
	}
	assert_int_equal(cw_bridge_close(t.b, 0), 0);
}

/* Without memory a call is refused or completed, and nothing is lost or left. */
static void without_memory_a_call_is_refused_or_completed(void **state)
{
	long live = cw_mem_live();
	int n, accepted;

	for (n = 0; n < 40; n++) {
		open_plain();
		assert_int_equal(cw_bridge_step(t.b), 0);
		cw_mem_fail_at(n);
		accepted = cw_bridge_online(t.b, "d1", &t, CW_ONLINE_EARLY, wait_ms(0)) == 0;
		accepted += cw_bridge_publish(t.b, "d1", "user/x", cw_bytes_text("x"), 0, wait_ms(0)) == 0;
		accepted += cw_bridge_report_properties(t.b, "d1", "7", cw_bytes_text("{\"a\": 1}"), wait_ms(0)) == 0;
		accepted += cw_bridge_offline(t.b, "d1", wait_ms(0)) == 0;
		steps(2);
		cw_mem_fail_at(-1);
		assert_int_equal(cw_bridge_close(t.b, 0), 0);
		assert_int_equal(t.told, accepted);
		assert_int_equal(cw_mem_live(), live);
	}
}

/* ---- signing --------------------------------------------------------------------------------- */

static void signing_gives_the_values_of_the_vector(void **state)
{
	static const char *const hosts[] = { "cn-shanghai", "ap-southeast-1", "ap-northeast-1", "us-west-1",
					     "eu-central-1" };
	struct cw_sign_meta m = { .product_key = "a1Product01",
				  .device_name = "dev-1",
				  .device_secret = "0123456789abcdef",
				  .host = "iot.example" };
	struct cw_sign_out out, before;
	char host[128];
	int i;

	for (i = CW_REGION_SHANGHAI; i < CW_REGION_CUSTOM; i++) {
		assert_int_equal(cw_sign_mqtt((enum cw_region)i, &m, &out), 0);
		snprintf(host, sizeof(host), "a1Product01.iot-as-mqtt.%s.aliyuncs.com", hosts[i]);
		assert_string_equal(out.host, host);
		assert_int_equal(out.port, 1883);
		assert_string_equal(out.user, "dev-1&a1Product01");
		assert_non_null(strstr(out.client_id, "signmethod=hmacsha256"));
		assert_int_equal(strlen(out.password), 64);
	}
	assert_int_equal(cw_sign_mqtt(CW_REGION_CUSTOM, &m, &out), 0);
	assert_string_equal(out.host, "iot.example");

	/* platform-mqtt.json: connect, csdk4-style-tls. */
	m.product_key = "a1B2c3D4e5F";
	m.device_name = "gw_dtu-01";
	m.device_secret = "0123456789abcdef0123456789ABCDEF";
	assert_int_equal(cw_sign_mqtt(CW_REGION_SHANGHAI, &m, &out), 0);
	assert_string_equal(out.password, "0307bbd8c9819e62ce2e9699582da7556f48d96a550ddeb55841fd92408149e6");
	assert_string_equal(out.user, "gw_dtu-01&a1B2c3D4e5F");

	/* The longest of everything fits; one more is refused and writes nothing. */
	m.product_key = "abcdefghijklmnopqrst";
	m.device_name = "abcdefghijklmnopqrstuvwxyz012345";
	m.device_secret = m.product_secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	assert_int_equal(cw_sign_mqtt(CW_REGION_GERMANY, &m, &out), 0);
	memset(&before, 0x5a, sizeof(before));
	out = before;
	m.product_key = "abcdefghijklmnopqrstu";
	assert_int_equal(cw_sign_mqtt(CW_REGION_GERMANY, &m, &out), -1);
	m.product_key = "a";
	m.device_name = "abcdefghijklmnopqrstuvwxyz0123456";
	assert_int_equal(cw_sign_mqtt(CW_REGION_GERMANY, &m, &out), -1);
	m.device_name = "d";
	m.product_secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0";
	assert_int_equal(cw_sign_mqtt(CW_REGION_GERMANY, &m, &out), -1);
	m.product_secret = NULL;
	m.device_secret = "";
	assert_int_equal(cw_sign_mqtt(CW_REGION_GERMANY, &m, &out), -1);
	m.device_secret = NULL;
	assert_int_equal(cw_sign_mqtt(CW_REGION_GERMANY, &m, &out), -1);
	m.device_secret = "s";
	assert_int_equal(cw_sign_mqtt((enum cw_region)9, &m, &out), -1);
	m.host = NULL;
	assert_int_equal(cw_sign_mqtt(CW_REGION_CUSTOM, &m, &out), -1);
	assert_int_equal(cw_sign_mqtt(CW_REGION_GERMANY, NULL, &out), -1);
	assert_memory_equal(&out, &before, sizeof(out));
}

static int make_dir(void **state)
{
	cw_bridge_log(5, 0, 2);
	return mkdtemp(dir) == NULL;
}

static int drop_dir(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_a_text_and_members_are_merged_in_this_order),
		cmocka_unit_test(what_is_missing_is_named_and_no_secret_is),
		cmocka_unit_test(files_that_are_not_there_are_named),
		cmocka_unit_test(a_state_directory_belongs_to_one_bridge),
		cmocka_unit_test(smaller_structs_of_an_older_program_are_taken),
		cmocka_unit_test(a_bridge_that_never_ran_can_be_closed_and_tells_what_is_open),
		cmocka_unit_test(it_is_started_once_or_driven),
		cmocka_unit_test(a_callback_cannot_close_its_own_bridge),
		cmocka_unit_test(while_it_closes_callbacks_may_still_call),
		cmocka_unit_test(online_ends_in_time_where_the_platform_cannot_be_reached),
		cmocka_unit_test(an_identity_nobody_knows_is_refused),
		cmocka_unit_test(a_lookup_is_answered_later_from_another_thread),
		cmocka_unit_test(another_answer_is_another_certificate),
		cmocka_unit_test(a_question_that_is_still_open_at_the_end_is_dropped),
		cmocka_unit_test(names_that_are_none_are_not_taken),
		cmocka_unit_test(offline_cancels_an_online_that_has_not_come_true),
		cmocka_unit_test(a_second_online_takes_the_device_from_the_first),
		cmocka_unit_test(records_of_a_device_without_a_platform_end_once),
		cmocka_unit_test(full_queues_are_said_and_nothing_is_kept),
		cmocka_unit_test(arguments_are_checked_before_anything_is_taken),
		cmocka_unit_test(a_topic_that_is_not_the_devices_is_refused),
		cmocka_unit_test(without_memory_a_call_is_refused_or_completed),
		cmocka_unit_test(signing_gives_the_values_of_the_vector),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
