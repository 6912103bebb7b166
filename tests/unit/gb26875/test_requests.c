/* The link down: every service to its frame and its answer to a reply; time limits, resends, denies, duty checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "utd.h"

static const struct {
	const char *service, *input, *adu, *answer, *reply;
} reads[] = {
	{ "readSystemState", "{\"systems\": [{\"systemType\": 1, \"systemAddress\": 1}, {\"systemType\": 13, \"systemAddress\": 2}]}", "3d020101" "0d02",
	  "0101" "0101" "0200" T,
	  "{\"systemType\": 1, \"systemTypeName\": \"fire alarm system\", \"systemAddress\": 1, \"status\": 2, \"flags\": [\"fire\"], \"time\": " T_DATE "}" },
	{ "readComponentState", "{\"components\": [{\"systemType\": 13, \"systemAddress\": 3, \"componentAddress\": 305419896}]}", "3e01" "0d0378563412",
	  "0201" "0d03" "c8" "78563412" "0100" "00000000000000000000000000000000000000000000000000000000000000" T,
	  "{\"systemType\": 13, \"systemAddress\": 3, \"componentType\": 200, \"componentAddress\": 305419896, \"loop\": 22136, \"point\": 4660,"
	  "\"status\": 1, \"flags\": [\"normal\"], \"description\": \"\", \"time\": " T_DATE "}" },
	{ "readAnalogue", "{\"systemType\": 11, \"systemAddress\": 1, \"componentAddress\": 7}", "3f01" "0b0107000000",
	  "0301" "0b01" "5c" "07000000" "02" "4501" T,
	  "{\"systemType\": 11, \"systemAddress\": 1, \"componentType\": 92, \"componentAddress\": 7, \"analogueType\": 2, \"raw\": 325, \"value\": 3.25,"
	  "\"unit\": \"m\", \"time\": " T_DATE "}" },
	{ "readOperationRecords", "{\"systemType\": 1, \"systemAddress\": 2, \"count\": 20, \"startTime\": " T_MS "}", "4001" "0102" "14" T,
	  "0401" "0102" "01" "05" T,
	  "{\"systemType\": 1, \"systemAddress\": 2, \"operation\": 1, \"flags\": [\"reset\"], \"operator\": 5, \"time\": " T_DATE "}" },
	{ "readSystemVersion", "{\"systemType\": 1, \"systemAddress\": 2}", "4101" "0102", "0501" "0102" "0309",
	  "{\"systemType\": 1, \"systemAddress\": 2, \"version\": \"3.9\"}" },
	{ "readSystemConfig", "{\"systems\": [{\"systemType\": 1, \"systemAddress\": 1}]}", "4201" "0101", "0601" "0101" "02" "6f6b",
	  "{\"systemType\": 1, \"systemAddress\": 1, \"description\": \"ok\"}" },
	{ "readComponentConfig", "{\"components\": [{\"systemType\": 1, \"systemAddress\": 1, \"componentAddress\": 4294967295}]}", "4301" "0101ffffffff",
	  "0701" "0101" "28" "ffffffff" "41000000000000000000000000000000000000000000000000000000000000",
	  "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentAddress\": 4294967295, \"description\": \"A\"}" },
	{ "readSystemClock", "{\"systemType\": 1, \"systemAddress\": 2}", "4401" "0102", "0801" "0102" T,
	  "{\"systemType\": 1, \"systemAddress\": 2, \"time\": " T_DATE "}" },
	{ "readUtdStatus", "{}", "510100", "1501" "08" T, "{\"status\": 8, \"flags\": [\"mainPowerFault\"], \"time\": " T_DATE "}" },
	{ "readUtdOperations", "{\"count\": 5, \"startTime\": \"" T_MS "\"}", "5401" "05" T, "1801" "08" "02" T,
	  "{\"operation\": 8, \"flags\": [\"alarmCleared\"], \"operator\": 2, \"time\": " T_DATE "}" },
	{ "readUtdVersion", "{}", "550100", "1901" "0102", "{\"version\": \"1.2\"}" },
	{ "readUtdConfig", NULL, "560100", "1a01" "0141", "{\"description\": \"A\"}" },
	{ "readUtdClock", "{}", "580100", "1c01" T, "{\"time\": " T_DATE "}" },
};

static void every_read_is_a_request_and_its_response_the_reply(void **state)
{
	char want[1024];
	unsigned i;

	(void)state;
	attach("{" QUIET "}");
	for (i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		assert_int_equal(call(reads[i].service, reads[i].input, 100 + i), 0);
		expect(REQUEST, i, reads[i].adu);
		expect_running();
		tell_as(RESPONSE, i, reads[i].answer);
		snprintf(want, sizeof(want), "{\"objects\": [%s]}", reads[i].reply);
		expect_done(100 + i, CW_CODE_OK, want);
		expect_silence(); /* a response is not confirmed */
	}
	assert_int_equal(counter("unmatched"), 0);
}

static void controls_are_done_when_confirmed(void **state)
{
	struct heard h;

	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("initialise", "{}", 1), 0);
	expect(CONTROL, 0, "590100");
	tell_as(CONFIRM, 0, "17"); /* data in a confirm is of no interest */
	expect_done(1, CW_CODE_OK, "{}");
	assert_int_equal(call("syncTime", "{}", 2), 0);
	fake_advance(&f, 5000);
	expect(CONTROL, 1, "5a01" UTD_TIME);
	expect(CONTROL, 1, "5a01" "050010150b1a"); /* the resend tells its own time */
	tell_as(CONFIRM, 1, "");
	expect_done(2, CW_CODE_OK, "{}");
	assert_int_equal(call("syncTime", "{\"time\": " T_DATE "}", 3), 0);
	assert_true(hear(&h));
	assert_string_equal(h.adu, "5a01" T);
	assert_string_equal(h.time, "050010150b1a");
	assert_int_equal(h.serial, 2);
}

static void long_lists_are_asked_for_in_several_requests(void **state)
{
	static char input[40000];
	char adu[2100], one[80];
	unsigned i;

	(void)state;
	attach("{" QUIET "}");
	strcpy(input, "{\"components\": [");
	for (i = 0; i < 50; i++) {
		snprintf(one, sizeof(one), "%s{\"systemType\": 1, \"systemAddress\": 1, \"componentAddress\": %u}", i ? "," : "", i);
		strcat(input, one);
	}
	strcat(input, "]}");
	assert_int_equal(call("readComponentConfig", input, 7), 0);
	strcpy(adu, "431a");
	for (i = 0; i < 26; i++) {
		snprintf(one, sizeof(one), "0101%02x000000", i);
		strcat(adu, one);
	}
	expect(REQUEST, 0, adu);
	tell_as(RESPONSE, 0, "0701" "0101" "28" "00000000" "41000000000000000000000000000000000000000000000000000000000000");
	expect_running();
	strcpy(adu, "4318");
	for (i = 26; i < 50; i++) {
		snprintf(one, sizeof(one), "0101%02x000000", i);
		strcat(adu, one);
	}
	expect(REQUEST, 1, adu);
	tell_as(RESPONSE, 1, "0701" "0101" "28" "1a000000" "42000000000000000000000000000000000000000000000000000000000000");
	expect_done(7, CW_CODE_OK,
	            "{\"objects\": [{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentAddress\": 0, \"description\": \"A\"},"
	            "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentAddress\": 26, \"description\": \"B\"}]}");
}

/* A resent request may be answered twice; the second answer is none to the next request of the same type. */
static void a_late_answer_is_not_taken_for_the_next_one(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("readSystemClock", "{\"systems\": [{\"systemType\": 1, \"systemAddress\": 1}, {\"systemType\": 1, \"systemAddress\": 2}]}", 7), 0);
	expect(REQUEST, 0, "44010101");
	fake_advance(&f, 5000);
	expect(REQUEST, 0, "44010101");
	tell_as(RESPONSE, 0, "0801" "0101" T);
	expect(REQUEST, 1, "44010102");
	tell_as(RESPONSE, 0, "0801" "0101" T);
	expect_running();
	assert_int_equal(counter("unmatched"), 1);
	/* A device that does not copy serials is understood. */
	tell_as(RESPONSE, 0, "0801" "0102" T);
	expect_done(7, CW_CODE_OK, "{\"objects\": [{\"systemType\": 1, \"systemAddress\": 1, \"time\": " T_DATE "},"
	            "{\"systemType\": 1, \"systemAddress\": 2, \"time\": " T_DATE "}]}");
}

static void a_request_is_sent_again_and_then_has_failed(void **state)
{
	int i;

	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("readUtdStatus", "{}", 1), 0);
	assert_true(f.extend_ms >= 20000);
	expect(REQUEST, 0, "510100");
	for (i = 0; i < 3; i++) {
		fake_advance(&f, 4999);
		expect_silence();
		fake_advance(&f, 1);
		expect(REQUEST, 0, "510100");
	}
	expect_running();
	fake_advance(&f, 5000);
	expect_silence();
	expect_done(1, CW_CODE_TIMED_OUT, "{\"message\": \"timeout\"}");
	assert_int_equal(counter("resent"), 3);
	assert_int_equal(counter("timedOut"), 1);
	/* Too late. */
	tell_as(RESPONSE, 0, "1501" "08" T);
	assert_int_equal(counter("unmatched"), 1);
	fake_fini(&f);
	attach("{" QUIET ", \"requestTime\": 1000, \"resends\": 0}");
	assert_int_equal(call("readUtdStatus", "{}", 1), 0);
	fake_advance(&f, 1000);
	expect(REQUEST, 0, "510100");
	expect_silence();
	expect_done(1, CW_CODE_TIMED_OUT, "{\"message\": \"timeout\"}");
}

static void a_denied_request_is_sent_again_or_has_failed(void **state)
{
	int i;

	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("initialise", "{}", 1), 0);
	for (i = 0; i < 4; i++) {
		expect(CONTROL, 0, "590100");
		tell_as(DENY, 0, "");
	}
	expect_done(1, CW_CODE_ERROR, "{\"message\": \"denied\"}");
	expect_silence();
	assert_int_equal(counter("deniedByDevice"), 1);
	fake_fini(&f);
	attach("{" QUIET ", \"resendDenied\": false}");
	assert_int_equal(call("readUtdStatus", "{}", 1), 0);
	expect(REQUEST, 0, "510100");
	tell_as(DENY, 0, "");
	expect_done(1, CW_CODE_ERROR, "{\"message\": \"denied\"}");
}

static void a_wrong_response_has_the_request_sent_again(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("readUtdStatus", "{}", 1), 0);
	expect(REQUEST, 0, "510100");
	tell_as(RESPONSE, 0, "1901" "0102");
	expect(REQUEST, 0, "510100");
	expect_running();
	/* Another serial, but the right type. */
	tell_as(RESPONSE, 999, "1501" "00" T);
	expect_done(1, CW_CODE_OK, "{\"objects\": [{\"status\": 0, \"flags\": [], \"time\": " T_DATE "}]}");
}

static void one_exchange_is_open_at_a_time(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("readUtdStatus", "{}", 1), 0);
	assert_int_equal(call("readUtdVersion", "{}", 2), 0);
	assert_int_equal(call("readUtdClock", "{}", 3), 0);
	expect(REQUEST, 0, "510100");
	expect_silence();
	fake_event(&f, CW_EV_COMMAND_CANCELLED, 2);
	tell_as(CONFIRM, 0, ""); /* of a read: the answer is coming */
	expect_silence();
	fake_event(&f, CW_EV_COMMAND_CANCELLED, 1);
	expect(REQUEST, 1, "580100");
	tell_as(RESPONSE, 1, "1c01" T);
	expect_done(3, CW_CODE_OK, "{\"objects\": [{\"time\": " T_DATE "}]}");
	assert_true(cw_plugin_entry()->max_outstanding > 1);
}

/* ---- duty checks -------------------------------------------------------------------- */

static void a_duty_check_waits_for_the_person_on_duty(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("dutyCheck", "{\"timeoutMinutes\": 3}", 1), 0);
	expect(CONTROL, 0, "5b0103");
	tell_as(CONFIRM, 0, "");
	expect_running();
	assert_true(f.extend_ms >= 3 * 60000 + 30000);
	/* Meanwhile the link is free. */
	assert_int_equal(call("readUtdVersion", "{}", 2), 0);
	expect(REQUEST, 1, "550100");
	tell_as(RESPONSE, 1, "1901" "0102");
	expect_done(2, CW_CODE_OK, "{\"objects\": [{\"version\": \"1.2\"}]}");
	fake_forget(&f);
	fake_advance(&f, 60000);
	tell("1801" "20" "2a" T);
	expect_event("dutyCheckAnswered", CW_EVENT_INFO, "{\"requestedAt\": \"1795248000000\", \"answeredAt\": \"1795248060000\", \"operator\": 42}");
	expect_event("utdOperation", CW_EVENT_INFO, "{\"operation\": 32, \"flags\": [\"dutyAnswer\"], \"operator\": 42, \"time\": " T_DATE "}");
	expect_done(1, CW_CODE_OK, "{\"requestedAt\": \"1795248000000\", \"answeredAt\": \"1795248060000\", \"operator\": 42}");
}

static void a_duty_check_nobody_answers_is_an_alert(void **state)
{
	uint64_t past;

	(void)state;
	attach("{" QUIET ", \"silenceTime\": 0, \"dutyMargin\": 10000}");
	assert_int_equal(call("dutyCheck", "{\"timeoutMinutes\": 20}", 1), 0);
	tell_as(CONFIRM, 0, "");
	fake_forget(&f);
	/* Longer than the host moves a deadline at once: it is moved again and again. */
	for (past = 0; past < 20 * 60000 + 9000; past += 60000) {
		assert_true(f.extend_ms > 60000 && f.extend_ms <= 600000);
		fake_advance(&f, past + 60000 > 20 * 60000 + 9000 ? 9000 : 60000);
		expect_running();
		if (past % 300000 == 240000)
			f.extend_ms = f.extend_ms > 400000 ? f.extend_ms : 400000;
	}
	expect_no_record();
	fake_advance(&f, 1000);
	expect_event("dutyCheckTimeout", CW_EVENT_ALERT, "{\"requestedAt\": \"1795248000000\"}");
	expect_done(1, CW_CODE_TIMED_OUT, "{\"requestedAt\": \"1795248000000\", \"message\": \"timeout\"}");
}

static void an_answer_may_overtake_the_confirm_and_ends_all_duty_checks(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	assert_int_equal(call("dutyCheck", "{\"timeoutMinutes\": 1}", 1), 0);
	tell_as(CONFIRM, 0, "");
	assert_int_equal(call("dutyCheck", "{\"timeoutMinutes\": 1}", 2), 0);
	tell("1801" "20" "2a" T);
	expect_done(2, CW_CODE_OK, "{\"requestedAt\": \"1795248000000\", \"answeredAt\": \"1795248000000\", \"operator\": 42}");
	expect_done(1, CW_CODE_OK, "{\"requestedAt\": \"1795248000000\", \"answeredAt\": \"1795248000000\", \"operator\": 42}");
	assert_int_equal(call("dutyCheck", "{\"timeoutMinutes\": 1}", 3), 0);
	tell_as(CONFIRM, 2, "");
	fake_event(&f, CW_EV_COMMAND_CANCELLED, 3);
	fake_advance(&f, 100000);
	expect_running();
}

/* ---- refusals -------------------------------------------------------------------------- */

static void what_cannot_be_sent_is_refused_with_a_sentence(void **state)
{
	static const struct { const char *service, *input; } bad[] = {
		{ "readSystemState", "{}" }, { "readSystemState", "{\"systems\": []}" }, { "readSystemState", "{\"systems\": [1]}" },
		{ "readSystemState", "{\"systems\": {\"systemType\": 1}}" }, { "readSystemState", "{\"systems\": [{\"systemType\": 256, \"systemAddress\": 1}]}" },
		{ "readComponentState", "{\"components\": [{\"systemType\": 1, \"systemAddress\": 1}]}" },
		{ "readAnalogue", "{\"systemType\": 1, \"systemAddress\": 1, \"componentAddress\": 4294967296}" },
		{ "readOperationRecords", "{\"systemType\": 1, \"systemAddress\": 2, \"count\": 103, \"startTime\": 1348624682000}" },
		{ "readUtdOperations", "{\"count\": 5}" }, { "readUtdOperations", "{\"count\": 5, \"startTime\": 1}" },
		{ "readUtdOperations", "{\"count\": 5, \"startTime\": \"12x\"}" }, { "syncTime", "{\"time\": true}" },
		{ "dutyCheck", "{}" }, { "dutyCheck", "{\"timeoutMinutes\": 0}" }, { "dutyCheck", "{\"timeoutMinutes\": 256}" },
	};
	unsigned i;

	(void)state;
	attach("{" QUIET "}");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fake_blob *b;

		assert_int_equal(call(bad[i].service, bad[i].input, 50 + i), 0);
		b = fake_next(&f.done);
		if (b == NULL || b->code != CW_CODE_BAD_INPUT)
			fail_msg("%s %s is accepted", bad[i].service, bad[i].input);
		assert_true(cw_map_text(cw_bytes_of(b->ptr, b->len), "message").len > 10);
		expect_silence();
	}
	assert_int_equal(call("openTheDoor", "{}", 90), 0);
	expect_done(90, CW_CODE_UNSUPPORTED, "{\"message\": \"GB/T 26875.3 has no such service\"}");
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"utdNormal\": true}", 91, 7500), 0);
	expect_done(91, CW_CODE_UNSUPPORTED, "{\"message\": \"GB/T 26875.3 has no command that sets a property\"}");
	assert_int_equal(fake_command(&f, CW_KIND_SHADOW, NULL, "{}", 92, 7500), CW_EUNSUPPORTED);
}

int main(void)
{
#define RUN(t) cmocka_unit_test_teardown(t, check_and_end)
	const struct CMUnitTest tests[] = {
		RUN(every_read_is_a_request_and_its_response_the_reply),
		RUN(controls_are_done_when_confirmed),
		RUN(long_lists_are_asked_for_in_several_requests),
		RUN(a_late_answer_is_not_taken_for_the_next_one),
		RUN(a_request_is_sent_again_and_then_has_failed),
		RUN(a_denied_request_is_sent_again_or_has_failed),
		RUN(a_wrong_response_has_the_request_sent_again),
		RUN(one_exchange_is_open_at_a_time),
		RUN(a_duty_check_waits_for_the_person_on_duty),
		RUN(a_duty_check_nobody_answers_is_an_alert),
		RUN(an_answer_may_overtake_the_confirm_and_ends_all_duty_checks),
		RUN(what_cannot_be_sent_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
