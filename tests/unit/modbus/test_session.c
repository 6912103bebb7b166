/* Polling and writing against a clock that stands still: order, retries, units that fall silent, late answers, splits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_host.h"
#include "modbus.h"

static struct fake f;

#define POINTS                                                                                                                \
	"{\"property\":\"a\",\"area\":\"holding\",\"address\":0,\"type\":\"uint16\",\"access\":\"rw\"},"                         \
	"{\"property\":\"b\",\"area\":\"holding\",\"address\":1,\"type\":\"uint16\"},"                                           \
	"{\"property\":\"bit\",\"area\":\"holding\",\"address\":9,\"type\":\"bit\",\"bit\":2,\"access\":\"rw\",\"interval\":3600000}"

static void begin_with(const char *more, const char *points)
{
	char json[3000];

	snprintf(json, sizeof(json),
	         "{\"framing\":\"rtu\",\"registration\":{\"mode\":\"once\",\"length\":3},\"settle\":0,\"gap\":20,\"spreadStart\":false,"
	         "\"answerTimeout\":1000%s,\"profile\":\"m\",\"profiles\":{\"m\":{\"interval\":10000,\"points\":[%s]}}}", more, points);
	fake_init(&f, cw_plugin_entry(), json);
	f.auto_identify = 0;
	fake_open(&f);
	fake_advance(&f, 5000);
	assert_null(fake_next(&f.sent)); /* nothing before the registration packet */
	fake_feed(&f, cw_bytes_text("D01"));
	fake_member(&f, "D01/1");
	fake_members_done(&f);
}

static void end(void)
{
	fake_fini(&f);
}

/* Unit, PDU in hex, CRC. */
static const char *rtu(const char *hex)
{
	static char out[8][700];
	static unsigned at;
	char *o = out[at++ % 8];
	uint8_t b[300];
	size_t n = strlen(hex) / 2, i;
	unsigned v;

	for (i = 0; i < n; i++) {
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		b[i] = (uint8_t)v;
	}
	snprintf(o, sizeof(out[0]), "%s%02x%02x", hex, mb_crc(cw_bytes_of(b, n)) & 255, mb_crc(cw_bytes_of(b, n)) >> 8);
	return o;
}

/* Let time pass until something is sent. */
static void until_sent(uint64_t most_ms)
{
	size_t n = f.sent.n;

	for (; f.sent.n == n && most_ms > 0; most_ms -= most_ms < 10 ? most_ms : 10)
		fake_advance(&f, 10);
}

static void sent(const char *hex)
{
	struct fake_blob *b = fake_next(&f.sent);

	if (b == NULL || strcmp(fake_hex(b), rtu(hex)) != 0)
		fail_msg("sent %s, should be %s", b == NULL ? "nothing" : fake_hex(b), rtu(hex));
}

static void silence(void)
{
	struct fake_blob *b = fake_next(&f.sent);

	if (b != NULL)
		fail_msg("sent %s", fake_hex(b));
}

static void no_record(void)
{
	if (fake_next(&f.records) != NULL)
		fail_msg("something was reported");
}

static void answer(const char *hex)
{
	fake_feed_hex(&f, rtu(hex));
}

static void first_cycle(void)
{
	sent("010300000002");
	answer("01030400050006");
	fake_advance(&f, 20);
	sent("010300090001");
	answer("0103020004");
	fake_forget(&f);
}

static void readings_are_reported_when_they_change(void **state)
{
	begin_with("", POINTS);
	sent("010300000002");
	answer("01030400050006");
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"a\":5,\"b\":6}");
	fake_advance(&f, 19);
	silence();
	fake_advance(&f, 1);
	sent("010300090001");
	answer("0103020004");
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"bit\":true}");
	fake_advance(&f, 9979);
	silence();
	fake_advance(&f, 1);
	sent("010300000002");
	answer("01030400050007");
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"b\":7}");
	fake_advance(&f, 10000);
	sent("010300000002");
	answer("01030400050007");
	no_record();
	end();
}

/* Within the deadband nothing is reported, so what was reported last stays: the event still fires once a change. */
static void changes_within_a_deadband_fire_once(void **state)
{
	begin_with("", "{\"property\":\"a\",\"area\":\"holding\",\"address\":0,\"report\":{\"deadband\":5},"
	               "\"event\":{\"id\":\"moved\",\"when\":\"change\"}}");
	sent("010300000001");
	answer("0103020005");
	fake_forget(&f);
	fake_advance(&f, 10000);
	sent("010300000001");
	answer("0103020007");
	assert_string_equal(fake_record(&f, CW_KIND_EVENT, "moved"), "{}");
	fake_forget(&f);
	fake_advance(&f, 10000);
	sent("010300000001");
	answer("0103020007");
	no_record();
	end();
}

static void silent_units_go_offline_and_are_probed(void **state)
{
	unsigned n;

	begin_with(",\"probeEvery\":60000", POINTS);
	first_cycle();
	fake_advance(&f, 9980);
	sent("010300000002");
	fake_advance(&f, 1999); /* a retry, not before lateGuard */
	silence();
	fake_advance(&f, 1);
	sent("010300000002");
	for (n = 0; f.attached && n < 1000; n++)
		fake_advance(&f, 100);
	assert_int_equal(f.attached, 0);
	fake_forget(&f);
	for (n = 0; n < 2; n++) {
		fake_advance(&f, 59000);
		silence();
		until_sent(2000);
		sent("010300000002");
	}
	answer("018304"); /* an exception too is a sign of life */
	assert_int_equal(f.asked.count, 1);
	fake_identified(&f);
	until_sent(2000);
	sent("010300000002");
	answer("01030400050006");
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"a\":5,\"b\":6}"); /* everything once */
	end();
}

static void late_answers_are_not_taken_for_the_next(void **state)
{
	begin_with(",\"retries\":0", POINTS);
	sent("010300000002");
	fake_advance(&f, 1000); /* timed out */
	answer("01030400050006");
	no_record();
	sent("010300090001");
	answer("01030400050006"); /* once more, for a request of another shape */
	no_record();
	answer("0103020004");
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"bit\":true}");
	end();
}

static void refused_blocks_are_halved(void **state)
{
	begin_with("", POINTS);
	sent("010300000002");
	answer("018302");
	fake_advance(&f, 20);
	sent("010300000001");
	answer("0103020005");
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"a\":5}");
	fake_advance(&f, 20);
	sent("010300010001");
	answer("018302");
	fake_advance(&f, 20);
	sent("010300090001");
	answer("0103020004");
	fake_forget(&f);
	fake_advance(&f, 10000);
	sent("010300000001"); /* and never again the other one */
	answer("0103020005");
	fake_advance(&f, 20);
	silence();
	end();
}

static void bits_are_read_changed_and_written(void **state)
{
	begin_with("", POINTS);
	first_cycle();
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"bit\":false}", 7, 8000), 0);
	fake_advance(&f, 20);
	sent("010300090001");
	answer("010302FF0F");
	fake_advance(&f, 20);
	sent("01060009ff0b");
	answer("01060009ff0b");
	assert_int_equal(fake_next(&f.done)->code, 200);
	fake_advance(&f, 20);
	sent("010300090001"); /* soon, though it is read once an hour */
	end();
}

static void writes_end_with_what_the_device_said(void **state)
{
	begin_with("", POINTS);
	first_cycle();
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"a\":1}", 7, 8000), 0);
	fake_advance(&f, 20);
	sent("010600000001");
	answer("018602");
	assert_int_equal(fake_next(&f.done)->code, 100002);
	fake_forget(&f);
	fake_advance(&f, 20);
	fake_forget(&f);
	answer("01030400050006");
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"a\":2}", 8, 8000), 0);
	fake_advance(&f, 20);
	sent("010600000002");
	fake_advance(&f, 1000);
	assert_int_equal(fake_next(&f.done)->code, MB_CODE_TIMEOUT);
	end();
}

static void busy_devices_are_asked_again(void **state)
{
	begin_with("", POINTS);
	sent("010300000002");
	answer("018306");
	fake_advance(&f, 99);
	silence();
	fake_advance(&f, 1);
	sent("010300000002");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readings_are_reported_when_they_change),
		cmocka_unit_test(changes_within_a_deadband_fire_once),
		cmocka_unit_test(silent_units_go_offline_and_are_probed),
		cmocka_unit_test(late_answers_are_not_taken_for_the_next),
		cmocka_unit_test(refused_blocks_are_halved),
		cmocka_unit_test(bits_are_read_changed_and_written),
		cmocka_unit_test(writes_end_with_what_the_device_said),
		cmocka_unit_test(busy_devices_are_asked_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
