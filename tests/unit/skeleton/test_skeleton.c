/* The skeleton decoder, driven as every decoder can be: without sockets and daemon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "fake_host.h"

static struct fake f;

static void say(const char *line)
{
	fake_feed(&f, cw_bytes_text(line));
}

static void expect(const char *line)
{
	struct fake_blob *b = fake_next(&f.sent);

	assert_non_null(b);
	assert_int_equal(b->len, strlen(line));
	assert_memory_equal(b->ptr, line, b->len);
}

static int setup(void **state)
{
	(void)state;
	fake_init(&f, cw_plugin_entry(), NULL);
	fake_open(&f);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_fini(&f);
	return cw_mem_live() == 0 ? 0 : -1;
}

static void a_login_is_answered_and_a_reading_acknowledged_when_settled(void **state)
{
	(void)state;
	say("log");
	say("in,meter-7\r\ntemp,-21.50\n");
	expect("ok,login\n");
	expect("ok,temp\n");
	assert_string_equal(f.identity, "meter-7");
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"Temperature\":-21.50}");
}

static void an_unknown_device_is_told_so(void **state)
{
	(void)state;
	f.auto_identify = 0;
	say("login,nobody\n");
	fake_refused(&f, CW_REFUSED_UNKNOWN);
	expect("no,login\n");
	say("temp,1\n");
	assert_int_equal(f.records.n, 0);
	assert_int_equal(f.bad, 1);
}

static void a_reading_that_is_not_safe_is_not_acknowledged(void **state)
{
	(void)state;
	f.auto_settle = 0;
	say("login,a\ntemp,1\n");
	expect("ok,login\n");
	fake_settle(&f, f.records.v[0].tag, CW_SETTLED_PENDING);
	assert_null(fake_next(&f.sent));
}

static void a_command_ends_with_the_devices_answer(void **state)
{
	(void)state;
	say("login,a\n");
	expect("ok,login\n");
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "SetInterval", "{\"seconds\": 60}", 3, 7500), 0);
	expect("interval,60\n");
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "SetInterval", "{\"seconds\": 60}", 4, 7500), CW_EBUSY);
	assert_int_equal(f.done.n, 0);
	say("ok,interval\n");
	assert_int_equal(f.done.v[0].code, CW_CODE_OK);
	fake_command(&f, CW_KIND_SERVICE, "SetInterval", "{\"seconds\": 5}", 4, 7500);
	say("no,interval\n");
	assert_int_equal(f.done.v[1].code, CW_CODE_FAILED);
	fake_command(&f, CW_KIND_SERVICE, "SetInterval", "{\"seconds\": 0}", 5, 7500);
	assert_int_equal(f.done.v[2].code, CW_CODE_BAD_INPUT);
	fake_command(&f, CW_KIND_SERVICE, "Dance", "{}", 6, 7500);
	assert_int_equal(f.done.v[3].code, CW_CODE_UNSUPPORTED);
}

static void a_command_without_answer_times_out(void **state)
{
	(void)state;
	say("login,a\n");
	fake_command(&f, CW_KIND_SERVICE, "SetInterval", "{\"seconds\": 60}", 3, 7500);
	fake_advance(&f, 4999);
	assert_int_equal(f.done.n, 0);
	fake_advance(&f, 1);
	assert_int_equal(f.done.v[0].code, CW_CODE_TIMED_OUT);
}

static void other_lines_are_counted_and_endless_ones_dropped(void **state)
{
	char junk[300];

	(void)state;
	say("hello\n");
	assert_int_equal(f.counters[0], 1);
	memset(junk, 'x', sizeof(junk) - 1);
	junk[sizeof(junk) - 1] = 0;
	say(junk);
	assert_int_equal(f.noise, sizeof(junk) - 1);
	say("login,a\n");
	expect("ok,login\n");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_login_is_answered_and_a_reading_acknowledged_when_settled), T(an_unknown_device_is_told_so),
		T(a_reading_that_is_not_safe_is_not_acknowledged), T(a_command_ends_with_the_devices_answer),
		T(a_command_without_answer_times_out), T(other_lines_are_counted_and_endless_ones_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
