/* What devices in the field do differently, by the numbers of the list in the plugin's README; and what bad frames get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "utd.h"

#define NO_TEXT "00000000000000000000000000000000000000000000000000000000000000"
#define COMPONENT(status, text) "0201" "0101" "28" "0a000200" status text T

static struct cw_bytes body_of_next(void)
{
	static struct cw_record rec;
	struct fake_blob *b = fake_next(&f.records);

	assert_non_null(b);
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	return rec.body;
}

static void expect_member(const char *key, const char *json)
{
	struct cw_bytes v = cw_map_get(body_of_next(), key);

	if (json == NULL ? v.len != 0 : v.len == 0 || !fake_equals(v, json))
		fail_msg("%s is %s, %s expected", key, v.len == 0 ? "absent" : fake_json(v), json == NULL ? "nothing" : json);
}

static void restart(const char *settings)
{
	fake_fini(&f);
	attach(settings);
}

static void q1_bit_0_says_nothing_unless_configured(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell(COMPONENT("0000", NO_TEXT));
	expect_member("flags", "[]");
	tell("1501" "00" T);
	expect_member("utdNormal", "true");
	restart("{" QUIET ", \"bit0\": \"standard\"}");
	tell(COMPONENT("0200", NO_TEXT));
	expect_member("flags", "[\"test\", \"fire\"]");
	tell("1501" "00" T);
	expect_member("utdNormal", "false");
	tell("1501" "03" T);
	expect_member("utdNormal", "true");
	restart("{" QUIET ", \"bit0\": \"inverted\"}");
	tell(COMPONENT("0300", NO_TEXT));
	expect_member("flags", "[\"test\", \"fire\"]");
	tell(COMPONENT("0000", NO_TEXT));
	expect_member("flags", "[\"normal\"]");
	tell("1501" "01" T);
	expect_member("utdNormal", "false");
}

static void q2_an_address_and_port_as_destination_is_mirrored(void **state)
{
	(void)state;
	start("{" QUIET ", \"zeroSource\": \"destination\"}");
	utd_source = "000000000000";
	utd_centre = "ac103cd56d1d";
	tell("16");
	assert_string_equal(f.identity, "AC103CD56D1D");
	expect(CONFIRM, 5, "");
}

static void q3_addresses_need_not_be_numbers(void **state)
{
	(void)state;
	start("{" QUIET "}");
	utd_source = "2c312c320000";
	tell("");
	assert_string_equal(f.identity, "2C312C320000");
	expect(CONFIRM, 5, "");
}

static void q4_any_version_is_taken(void **state)
{
	(void)state;
	start("{" QUIET "}");
	utd_version = "1000";
	tell("");
	expect(CONFIRM, 5, ""); /* with the same version bytes */
	expect_properties("{\"protocolVersion\": \"16.0\"}");
}

static void q5_times_in_bcd_are_noticed_and_remembered(void **state)
{
	struct heard h;

	(void)state;
	attach("{" QUIET "}");
	utd_time = "000016211126"; /* 2026-11-21 16:00:00 in BCD; in binary it is no date */
	tell("1501" "01" T);
	assert_int_equal(f.saves, 1);
	assert_true(hear(&h));
	assert_string_equal(h.time, "000016211126"); /* answered in kind */
	fake_forget(&f);
	utd_time = "000000000000"; /* says nothing: as before */
	tell("0101" "0101" "0000" "020816211126");
	expect_member("time", "\"1795248482000\"");
	fake_close(&f);
	fake_forget(&f);
	fake_open(&f);
	tell("0101" "0101" "0000" "020816211126");
	(void)body_of_next();
	expect_member("time", "\"1795248482000\"");
	/* Both forms are dates: the one near the gateway's clock is meant. */
	fake_forget(&f);
	utd_time = "01010115111a";
	tell("0101" "0101" "0000" T);
	restart("{" QUIET ", \"timeForm\": \"binary\"}");
	utd_time = "000016211126";
	tell("0101" "0101" "0000" T);
	expect_member("time", T_DATE);
	restart("{" QUIET ", \"timeForm\": \"bcd\"}");
	utd_time = UTD_TIME;
	tell("0101" "0101" "0000" T);
	expect_member("time", NULL); /* 3a is no BCD */
}

static void q6_halves_of_component_addresses(void **state)
{
	struct cw_bytes body;

	(void)state;
	attach("{" QUIET "}");
	tell(COMPONENT("0000", NO_TEXT));
	body = body_of_next();
	assert_int_equal(cw_map_int(body, "loop", -1), 10);
	assert_int_equal(cw_map_int(body, "point", -1), 2);
	restart("{" QUIET ", \"loopIn\": \"high\"}");
	tell(COMPONENT("0000", NO_TEXT));
	body = body_of_next();
	assert_int_equal(cw_map_int(body, "loop", -1), 2);
	assert_int_equal(cw_map_int(body, "point", -1), 10);
	restart("{" QUIET ", \"loopIn\": \"none\"}");
	tell(COMPONENT("0000", NO_TEXT));
	expect_member("loop", NULL);
}

static void q7_one_makers_status_bits(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell(COMPONENT("00fe", NO_TEXT));
	expect_member("flags", "[\"bit9\", \"bit10\", \"bit11\", \"bit12\", \"bit13\", \"bit14\", \"bit15\"]");
	restart("{" QUIET ", \"componentBits\": \"vendor\"}");
	tell(COMPONENT("00fe", NO_TEXT));
	expect_member("flags", "[\"offline\", \"openCircuit\", \"shortCircuit\", \"removed\", \"bit13\", \"sensorFault\", \"upgradeFault\"]");
}

static void q8_texts_end_in_many_ways(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell(COMPONENT("0000", "4142000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c"));
	expect_member("description", "\"AB\"");
	tell(COMPONENT("0000", "41422020202020202020202020202020202020202020202020202020202020"));
	expect_member("description", "\"AB\"");
	tell(COMPONENT("0000", "41414141414141414141414141414141414141414141414141414141414141"));
	expect_member("description", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"");
	tell(COMPONENT("0000", "414141414141414141414141414141414141414141414141414141414141bb"));
	expect_member("description", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"");
	tell(COMPONENT("0000", "4101ff42000000000000000000000000000000000000000000000000000000"));
	expect_member("description", "\"A \\uFFFDB\"");
	restart("{" QUIET ", \"textCharset\": \"utf-8\"}");
	tell(COMPONENT("0000", "e781abe781be000000000000000000000000000000000000000000000000bb"));
	expect_member("description", "\"火灾\"");
	tell(COMPONENT("0000", "414141414141414141414141414141414141414141414141414141414141e7"));
	expect_member("description", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"");
	tell(COMPONENT("0000", "41ff42000000000000000000000000000000000000000000000000000000bb"));
	expect_member("description", "\"A\\uFFFDB\"");
}

static void q9_the_confirm_carries_our_time_or_a_copy(void **state)
{
	struct heard h;

	(void)state;
	attach("{" QUIET "}");
	utd_time = "010203040506";
	tell("");
	assert_true(hear(&h));
	assert_string_equal(h.time, UTD_TIME);
	restart("{" QUIET ", \"confirmTime\": \"copy\"}");
	utd_time = "010203040506";
	tell("1501" "01" T);
	assert_true(hear(&h));
	assert_string_equal(h.time, "010203040506");
}

static void q10_data_in_a_confirm_is_ignored(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("initialise", "{}", 1), 0);
	tell_as(CONFIRM, 0, "170102030405");
	expect_done(1, CW_CODE_OK, "{}");
	tell_as(CONFIRM, 44, "17");
	tell_as(DENY, 45, "");
	assert_int_equal(counter("unmatched"), 2);
}

static void q11_an_upload_that_answers_a_read_closes_it(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("readUtdVersion", "{}", 1), 0);
	expect(REQUEST, 0, "550100");
	tell("1901" "0203"); /* serial of its own */
	expect(CONFIRM, 6, "");
	expect_done(1, CW_CODE_OK, "{\"objects\": [{\"version\": \"2.3\"}]}");
	expect_properties("{\"softwareVersion\": \"2.3\"}");
	/* Of something else that was not asked for. */
	assert_int_equal(call("readSystemVersion", "{\"systemType\": 1, \"systemAddress\": 1}", 2), 0);
	tell("0501" "0b01" "0203");
	expect_running();
	tell("0501" "0101" "0203");
	expect_done(2, CW_CODE_OK, "{\"objects\": [{\"systemType\": 1, \"systemAddress\": 1, \"version\": \"2.3\"}]}");
	/* New operations are not old records, unless they say whose answer they are. */
	assert_int_equal(call("readUtdOperations", "{\"count\": 1, \"startTime\": " T_MS "}", 3), 0);
	tell("1801" "01" "02" T);
	expect_running();
	tell_as(SEND, 2, "1801" "01" "02" T);
	expect_done(3, CW_CODE_OK, "{\"objects\": [{\"operation\": 1, \"flags\": [\"reset\"], \"operator\": 2, \"time\": " T_DATE "}]}");
}

static void q12_many_frames_in_one_segment(void **state)
{
	char all[3000] = "";
	unsigned i;

	(void)state;
	attach("{" QUIET "}");
	for (i = 0; i < 20; i++)
		strcat(all, utd_frame(SEND, i, ""));
	fake_feed_hex(&f, all);
	for (i = 0; i < 20; i++)
		expect(CONFIRM, i, "");
}

/* Command at offset 2, no length: our length field is whatever stands there. */
#define LOOKALIKE "4040" "08" "0102030405060708090a0b0c0d0e0f10111213141516ffff0203" "2323"

static void q13_a_look_alike_is_reported_and_not_denied_for_ever(void **state)
{
	unsigned i, denied = 0;
	struct fake_blob *b;

	(void)state;
	start("{\"denyRate\": 1000, \"foreignAfter\": 5}");
	for (i = 0; i < 50; i++)
		fake_feed_hex(&f, LOOKALIKE);
	while ((b = fake_next(&f.sent)) != NULL) {
		assert_int_equal(b->ptr[26], DENY);
		denied++;
	}
	assert_int_equal(denied, 5);
	assert_int_equal(counter("foreignProtocol"), 1);
	assert_int_equal(counter("lengthBad"), 50);
	/* A good frame proves the contrary. */
	tell("");
	expect(CONFIRM, 5, "");
}

static void q14_whatever_the_centre_is_called_it_answers_by_that_name(void **state)
{
	(void)state;
	start("{" QUIET "}");
	utd_centre = "000000000000";
	tell("");
	expect(CONFIRM, 5, "");
	utd_centre = "ffffffffffff";
	tell("");
	expect(CONFIRM, 6, "");
	assert_int_equal(call("readUtdVersion", "{}", 1), 0);
	expect(REQUEST, 0, "550100");
}

static void q15_steps_can_be_overridden(void **state)
{
	(void)state;
	attach("{" QUIET ", \"analogueSteps\": {\"4\": \"0.001\", \"130\": \"2.5\"}}");
	tell("0302" "0101" "1f" "05000100" "04" "5802" T "0101" "1f" "05000100" "82" "0a00" T);
	expect_event("analogueReport", CW_EVENT_INFO,
	             "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 31, \"componentAddress\": 65541, \"analogueType\": 4, \"raw\": 600,"
	             "\"value\": 0.6, \"unit\": \"MPa\", \"time\": " T_DATE "}");
	expect_event("analogueReport", CW_EVENT_INFO,
	             "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 31, \"componentAddress\": 65541, \"analogueType\": 130, \"raw\": 10,"
	             "\"value\": 25, \"time\": " T_DATE "}");
}

/* ---- bad frames ------------------------------------------------------------------------ */

static void bad_frames_are_denied_in_moderation_and_told_the_platform(void **state)
{
	char bad[2400], want[2500];
	size_t n, i;

	(void)state;
	attach("{" QUIET "}");
	strcpy(bad, utd_frame(SEND, 9, "150108" T));
	n = strlen(bad);
	bad[n - 6] = bad[n - 6] == '0' ? '1' : '0';
	fake_feed_hex(&f, bad);
	expect(DENY, 9, "");
	for (i = 0; i < n; i++)
		bad[i] = (char)(bad[i] >= 'a' && bad[i] <= 'f' ? bad[i] - 32 : bad[i]);
	snprintf(want, sizeof(want), "{\"reason\": \"checksum\", \"frameHex\": \"%s\"}", bad);
	expect_event("malformed", CW_EVENT_ALERT, want);
	fake_feed_hex(&f, bad);
	expect_silence();
	assert_int_equal(counter("deniesHeld"), 1);
	fake_advance(&f, 1000);
	fake_feed_hex(&f, bad);
	expect(DENY, 9, "");
	fake_advance(&f, 1000);
	bad[n - 1] = '4';
	fake_feed_hex(&f, bad);
	expect(DENY, 9, "");
	assert_int_equal(counter("terminatorBad"), 1);
	fake_advance(&f, 1000);
	tell_as(9, 7, "");
	expect(DENY, 7, "");
	restart("{" QUIET ", \"denyRate\": 0}");
	tell("");
	fake_forget(&f);
	tell_as(9, 7, "");
	tell_as(9, 8, "");
	expect_silence();
	assert_int_equal(f.records.n, 1); /* the platform hears of it, in moderation */
}

static void units_that_do_not_fit_are_used_in_part_or_denied(void **state)
{
	struct cw_bytes body;

	(void)state;
	attach("{" QUIET "}");
	tell("0103" "0101" "0200" T "0b01" "0100" T "0101");
	body = body_of_next();
	assert_true(fake_equals(cw_map_get(body, "reason"), "\"adu\""));
	expect_member("systemType", "1");
	expect_member("systemType", "11");
	expect_no_record();
	expect(CONFIRM, 6, "");
	/* Objects with texts. */
	tell("1a01" "05" "4142");
	expect_no_record();
	tell("0602" "0101" "02" "4142" "0b01" "09" "41");
	expect_member("systemConfigs", "[{\"systemType\": 1, \"systemAddress\": 1, \"description\": \"AB\"}]");
	assert_int_equal(counter("unitBad"), 3);
	assert_int_equal(counter("unitPartial"), 3);
}

/* Objects that a maker has made longer: the standard's fields are in front. */
static void longer_objects_are_read_by_their_front(void **state)
{
	(void)state;
	attach("{" QUIET ", \"strict\": true}");
	tell("0102" "0101" "0200" T "aabb" "0b01" "0100" T "ccdd");
	expect_member("systemType", "1");
	expect_member("systemType", "11");
	expect(CONFIRM, 6, "");
	tell("0102" "0101" "0200" T "0b01");
	expect(DENY, 7, "");
	expect_event("malformed", CW_EVENT_ALERT,
	             "{\"reason\": \"adu\", \"frameHex\": \"404007000101000010150B1A790300000000385B010000000E0002010201010200023A091A090C0B01FA2323\"}");
	expect_no_record();
	assert_int_equal(counter("unitBad"), 1);
}

static void an_incomplete_frame_is_given_up_after_a_while(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	/* The head of a frame of a thousand bytes, then a good one inside what it claims. */
	fake_feed_hex(&f, "404001000101" UTD_TIME "790300000000" "385b01000000" "e80302");
	tell("");
	fake_advance(&f, 9999);
	expect_silence();
	fake_advance(&f, 1);
	expect(CONFIRM, 6, "");
	assert_int_equal(f.in_len, 0);
}

static void start_markers_in_front_of_a_frame_are_survived(void **state)
{
	char nested[200], whole[400], head[400];

	(void)state;
	attach("{" QUIET "}");
	fake_feed_hex(&f, "40");
	tell("");
	expect(CONFIRM, 6, "");
	fake_feed_hex(&f, "4040");
	tell("");
	expect(CONFIRM, 7, "");
	fake_feed_hex(&f, "404023234040");
	tell("150101" T);
	expect(CONFIRM, 8, "");
	expect_silence();
	/* A lone 40 makes a length of 1024 out of one of 4, for which nobody waits when the frame is there. */
	fake_feed_hex(&f, "40");
	tell("19010102");
	expect(CONFIRM, 9, "");
	/* But a frame inside data is data, though more is to come. */
	snprintf(nested, sizeof(nested), "c801%s", utd_frame(SEND, 3, "19010102"));
	snprintf(whole, sizeof(whole), "%s", utd_frame(SEND, 4, nested));
	snprintf(head, sizeof(head), "%.*s", (int)strlen(whole) - 2, whole);
	fake_feed_hex(&f, head);
	expect_silence();
	fake_feed_hex(&f, "23");
	expect(CONFIRM, 4, "");
	expect_silence();
	/* A serial of 4040 looks like another start. */
	tell_as(SEND, 0x4040, "");
	expect(CONFIRM, 0x4040, "");
}

int main(void)
{
#define RUN(t) cmocka_unit_test_teardown(t, check_and_end)
	const struct CMUnitTest tests[] = {
		RUN(q1_bit_0_says_nothing_unless_configured),
		RUN(q2_an_address_and_port_as_destination_is_mirrored),
		RUN(q3_addresses_need_not_be_numbers),
		RUN(q4_any_version_is_taken),
		RUN(q5_times_in_bcd_are_noticed_and_remembered),
		RUN(q6_halves_of_component_addresses),
		RUN(q7_one_makers_status_bits),
		RUN(q8_texts_end_in_many_ways),
		RUN(q9_the_confirm_carries_our_time_or_a_copy),
		RUN(q10_data_in_a_confirm_is_ignored),
		RUN(q11_an_upload_that_answers_a_read_closes_it),
		RUN(q12_many_frames_in_one_segment),
		RUN(q13_a_look_alike_is_reported_and_not_denied_for_ever),
		RUN(q14_whatever_the_centre_is_called_it_answers_by_that_name),
		RUN(q15_steps_can_be_overridden),
		RUN(bad_frames_are_denied_in_moderation_and_told_the_platform),
		RUN(units_that_do_not_fit_are_used_in_part_or_denied),
		RUN(longer_objects_are_read_by_their_front),
		RUN(an_incomplete_frame_is_given_up_after_a_while),
		RUN(start_markers_in_front_of_a_frame_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
