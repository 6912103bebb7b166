/* A device on one connection: who it is, what answers it and when, what is published, silence. covers: M01 M06 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "utd.h"

static void the_first_frame_waits_for_its_device_and_is_then_used(void **state)
{
	(void)state;
	start(NULL);
	f.auto_identify = 0;
	tell("150108" T);
	assert_string_equal(f.identity, "790300000000");
	assert_true(fake_equals(cw_bytes_of(f.facts, f.facts_len),
	                        "{\"address\": \"790300000000\", \"centre\": \"385B01000000\", \"version\": \"1.1\"}"));
	expect_silence();
	expect_no_record();
	fake_identified(&f);
	expect_properties("{\"protocolVersion\": \"1.1\"}");
	expect_record_of("790300000000", CW_KIND_PROPERTIES, NULL, 0, URGENT,
	                 "{\"utdStatus\": 8, \"utdNormal\": false, \"utdFireAlarm\": false, \"utdFault\": false, \"mainPowerFault\": true,"
	                 "\"backupPowerFault\": false, \"centerLinkFault\": false, \"monitorLineFault\": false}");
	/* What is asked by ourselves goes out behind the frame, the confirm when it is settled. */
	expect(REQUEST, 0, "550100");
	expect(CONFIRM, 5, "");
}

static void after_the_first_contact_the_clock_is_set_and_the_reads_follow_one_by_one(void **state)
{
	(void)state;
	start(NULL);
	utd_time = "3b3b0f150b1a"; /* one second early is right enough */
	tell("");
	expect(CONFIRM, 5, "");
	expect(REQUEST, 0, "550100");
	tell_as(RESPONSE, 0, "19010203");
	expect(REQUEST, 1, "510100");
	tell_as(RESPONSE, 1, "150101" T);
	expect(REQUEST, 2, "560100");
	tell_as(RESPONSE, 2, "1a0104b9ab4f4b");
	expect_silence();
	expect_properties("{\"protocolVersion\": \"1.1\"}");
	expect_properties("{\"softwareVersion\": \"2.3\"}");
	expect_properties("{\"utdStatus\": 1, \"utdNormal\": true, \"utdFireAlarm\": false, \"utdFault\": false, \"mainPowerFault\": false,"
	                  "\"backupPowerFault\": false, \"centerLinkFault\": false, \"monitorLineFault\": false}");
	expect_properties("{\"configText\": \"公OK\"}");
	expect_no_record();
}

static void a_clock_that_is_wrong_is_set(void **state)
{
	(void)state;
	start("{\"firstReads\": \"88\"}");
	utd_time = "3a3a0f150b1a"; /* 15:58:58 */
	tell("");
	expect(CONFIRM, 5, "");
	expect(CONTROL, 0, "5a01" UTD_TIME);
	tell_as(CONFIRM, 0, "");
	expect(REQUEST, 1, "580100");
	tell_as(RESPONSE, 1, "1c01" "3a3a0f150b1a");
	expect_properties("{\"protocolVersion\": \"1.1\"}");
	expect_properties("{\"deviceClock\": \"1795247938000\", \"clockOffset\": -62}");
	fake_close(&f);
	fake_forget(&f);
	/* A clock that says nothing is wrong too, unless nobody wants it set. */
	fake_open(&f);
	utd_time = "000000000000";
	tell("");
	expect(CONFIRM, 6, "");
	expect(CONTROL, 0, "5a01" UTD_TIME);
}

static void nothing_is_asked_when_nothing_is_configured(void **state)
{
	(void)state;
	start("{" QUIET "}");
	utd_time = "000000000000";
	tell("");
	expect(CONFIRM, 5, "");
	expect_silence();
	fake_advance(&f, 60000);
	expect_silence();
}

static void systems_and_components_are_events_in_order_with_their_level(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell("0103" "0101" "0200" T "0b02" "0401" T "8003" "0100" T);
	expect_event("systemState", CW_EVENT_ERROR,
	             "{\"systemType\": 1, \"systemTypeName\": \"fire alarm system\", \"systemAddress\": 1, \"status\": 2, \"flags\": [\"fire\"], \"time\": " T_DATE "}");
	expect_event("systemState", CW_EVENT_ALERT,
	             "{\"systemType\": 11, \"systemTypeName\": \"hydrant system\", \"systemAddress\": 2, \"status\": 260,"
	             "\"flags\": [\"fault\", \"mainPowerFault\"], \"time\": " T_DATE "}");
	expect_event("systemState", CW_EVENT_INFO, "{\"systemType\": 128, \"systemAddress\": 3, \"status\": 1, \"flags\": [\"normal\"], \"time\": " T_DATE "}");
	expect(CONFIRM, 6, "");
	tell("0201" "0101" "28" "0a000200" "0001" "bbf0d4d600aabbccddeeff00112233445566778899aabbccddeeff00112233" T);
	expect_event("componentState", CW_EVENT_ALERT,
	             "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentTypeName\": \"smoke detector\","
	             "\"componentAddress\": 131082, \"loop\": 10, \"point\": 2, \"status\": 256, \"flags\": [\"powerFault\"], \"description\": \"火灾\", \"time\": " T_DATE "}");
	/* The same again is again an occurrence, with a key of its own. */
	tell("0201" "0101" "28" "0a000200" "0200" "00000000000000000000000000000000000000000000000000000000000000" "000000000000");
	expect_event("componentState", CW_EVENT_ERROR,
	             "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentTypeName\": \"smoke detector\","
	             "\"componentAddress\": 131082, \"loop\": 10, \"point\": 2, \"status\": 2, \"flags\": [\"fire\"], \"description\": \"\"}");
}

static void analogue_values_are_scaled_by_their_type(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell("0302" "0101" "1f" "05000100" "03" "97ff" T "0b01" "5c" "07000000" "80" "4d00" T);
	expect_event("analogueReport", CW_EVENT_INFO,
	             "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 31, \"componentAddress\": 65541, \"analogueType\": 3, \"raw\": -105,"
	             "\"value\": -10.5, \"unit\": \"degC\", \"time\": " T_DATE "}");
	expect_event("analogueReport", CW_EVENT_INFO,
	             "{\"systemType\": 11, \"systemAddress\": 1, \"componentType\": 92, \"componentAddress\": 7, \"analogueType\": 128, \"raw\": 77, \"time\": " T_DATE "}");
	assert_int_equal(counter("outOfRange"), 0);
	tell("0301" "0b01" "5c" "07000000" "02" "ffff" T);
	expect_event("analogueReport", CW_EVENT_INFO,
	             "{\"systemType\": 11, \"systemAddress\": 1, \"componentType\": 92, \"componentAddress\": 7, \"analogueType\": 2, \"raw\": -1,"
	             "\"value\": -0.01, \"unit\": \"m\", \"time\": " T_DATE "}");
	assert_int_equal(counter("outOfRange"), 1);
}

static void operations_are_events_and_a_manual_alarm_is_urgent(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell("0401" "0101" "a1" "07" T);
	expect_event("systemOperation", CW_EVENT_INFO,
	             "{\"systemType\": 1, \"systemAddress\": 1, \"operation\": 161, \"flags\": [\"reset\", \"confirm\", \"bit7\"], \"operator\": 7, \"time\": " T_DATE "}");
	tell("1802" "04" "07" T "20" "09" T);
	expect_event("dutyCheckAnswered", CW_EVENT_INFO, "{\"answeredAt\": \"1795248000000\", \"operator\": 9}");
	expect_event("utdOperation", CW_EVENT_ALERT, "{\"operation\": 4, \"flags\": [\"manualAlarm\"], \"operator\": 7, \"time\": " T_DATE "}");
	expect_event("utdOperation", CW_EVENT_INFO, "{\"operation\": 32, \"flags\": [\"dutyAnswer\"], \"operator\": 9, \"time\": " T_DATE "}");
}

static void what_is_known_of_the_facilities_is_published_as_a_whole(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell("0501" "0101" "0102");
	expect_properties("{\"systemVersions\": [{\"systemType\": 1, \"systemAddress\": 1, \"version\": \"1.2\"}]}");
	tell("0501" "0b03" "0a64");
	expect_properties("{\"systemVersions\": [{\"systemType\": 1, \"systemAddress\": 1, \"version\": \"1.2\"},"
	                  "{\"systemType\": 11, \"systemAddress\": 3, \"version\": \"10.100\"}]}");
	tell("0602" "0101" "02" "4f4b" "0b03" "00");
	expect_properties("{\"systemConfigs\": [{\"systemType\": 1, \"systemAddress\": 1, \"description\": \"OK\"}]}");
	expect_properties("{\"systemConfigs\": [{\"systemType\": 1, \"systemAddress\": 1, \"description\": \"OK\"},"
	                  "{\"systemType\": 11, \"systemAddress\": 3, \"description\": \"\"}]}");
	tell("0801" "0b03" T);
	expect_properties("{\"systemClocks\": [{\"systemType\": 11, \"systemAddress\": 3, \"time\": " T_DATE "}]}");
	tell("0501" "0101" "0103");
	expect_properties("{\"systemVersions\": [{\"systemType\": 1, \"systemAddress\": 1, \"version\": \"1.3\"},"
	                  "{\"systemType\": 11, \"systemAddress\": 3, \"version\": \"10.100\"}]}");
	tell("0701" "0101" "28" "0a000200" "5f3100000000000000000000000000000000000000000000000000000000ff");
	expect_event("componentConfig", CW_EVENT_INFO,
	             "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentAddress\": 131082, \"description\": \"_1\"}");
}

static void all_forms_of_heartbeat_are_confirmed(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell("");
	expect(CONFIRM, 6, "");
	tell("16");
	expect(CONFIRM, 7, "");
	tell("1c01" UTD_TIME);
	expect(CONFIRM, 8, "");
	expect_properties("{\"deviceClock\": \"1795248000000\", \"clockOffset\": 0}");
	tell_as(7, 9, "");
	expect(CONFIRM, 9, "");
	assert_int_equal(counter("heartbeats"), 4); /* with the first */
	expect_no_record();
}

static void a_private_registration_is_confirmed_and_forwarded(void **state)
{
	(void)state;
	start("{" QUIET "}");
	utd_centre = "ffffffffffff";
	tell_as(0, 1, "00010103");
	expect(CONFIRM, 1, "");
	expect_properties("{\"protocolVersion\": \"1.1\"}");
	expect_event("rawUpload", CW_EVENT_INFO, "{\"type\": 0, \"count\": 1, \"dataHex\": \"0103\"}");
	/* Other commands of nobody are errors. */
	tell_as(7, 2, "1501");
	expect(DENY, 2, "");
	assert_int_equal(counter("commandUnknown"), 1);
}

static void which_private_commands_are_confirmed_is_a_setting(void **state)
{
	(void)state;
	attach("{" QUIET ", \"vendorCommands\": \"9, 200:7\", \"denyRate\": 100}");
	tell_as(9, 1, "");
	expect(CONFIRM, 1, "");
	tell_as(200, 2, "0701aa");
	expect(CONFIRM, 2, "");
	tell_as(7, 3, "");
	expect(DENY, 3, "");
	tell_as(0, 4, "0001");
	expect(DENY, 4, "");
}

static void a_device_that_asks_for_the_time_is_told(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell_as(CONTROL, 77, "5a01000000000000");
	expect(CONTROL, 77, "5a01" UTD_TIME);
	tell_as(REQUEST, 78, "510100");
	expect(DENY, 78, "");
	fake_fini(&f);
	attach("{" QUIET ", \"vendorClock\": false}");
	tell_as(CONTROL, 77, "5a01000000000000");
	expect(DENY, 77, "");
}

static void unknown_types_are_confirmed_and_forwarded_raw(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell("c801deadbeef");
	expect_event("rawUpload", CW_EVENT_INFO, "{\"type\": 200, \"count\": 1, \"dataHex\": \"DEADBEEF\"}");
	tell("3d01" "0101");
	expect_event("rawUpload", CW_EVENT_INFO, "{\"type\": 61, \"count\": 1, \"dataHex\": \"0101\"}");
	expect(CONFIRM, 6, "");
	expect(CONFIRM, 7, "");
	assert_int_equal(counter("typeUnknown"), 2);
}

/* ---- settling ----------------------------------------------------------------- */

static void the_answer_comes_when_the_records_are_settled(void **state)
{
	uint64_t ticket;

	(void)state;
	attach("{" QUIET "}");
	f.auto_settle = 0;
	tell("0102" "0101" "0200" T "0b02" "0401" T);
	expect_silence();
	ticket = f.records.v[0].tag;
	assert_true(ticket != 0);
	assert_int_equal(f.records.v[1].tag, ticket);
	tell(""); /* answered at once, whatever waits */
	expect(CONFIRM, 7, "");
	fake_settle(&f, ticket, CW_SETTLED_DONE);
	expect(CONFIRM, 6, "");
	fake_settle(&f, ticket, CW_SETTLED_DONE);
	expect_silence();
}

static void what_is_lost_is_denied_and_what_is_refused_is_confirmed(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	f.auto_settle = 0;
	tell("0501" "0101" "0102");
	fake_settle(&f, f.records.v[0].tag, CW_SETTLED_LOST);
	expect(DENY, 6, "");
	tell("0501" "0101" "0103");
	fake_settle(&f, f.records.v[1].tag, CW_SETTLED_REFUSED);
	expect(CONFIRM, 7, "");
}

static void while_the_platform_is_away_an_upload_is_denied_once(void **state)
{
	struct cw_record first, again;

	(void)state;
	attach("{" QUIET "}");
	f.auto_settle = 0;
	tell("0501" "0101" "0102");
	fake_settle(&f, f.records.v[0].tag, CW_SETTLED_PENDING);
	expect(DENY, 6, "");
	tell_as(SEND, 6, "0501" "0101" "0102"); /* sent again, as it must */
	assert_true(cw_record_read(cw_bytes_of(f.records.v[0].ptr, f.records.v[0].len), &first));
	assert_true(cw_record_read(cw_bytes_of(f.records.v[1].ptr, f.records.v[1].len), &again));
	assert_true(first.dedup.len > 0 && cw_bytes_equal(first.dedup, again.dedup));
	fake_settle(&f, f.records.v[1].tag, CW_SETTLED_PENDING);
	expect_silence();
	assert_int_equal(counter("deniedPending"), 1);
	tell_as(SEND, 6, "0501" "0101" "0102");
	fake_settle(&f, f.records.v[2].tag, CW_SETTLED_DONE);
	expect(CONFIRM, 6, "");
}

/* Two objects of one frame are not each other's copies, nor are two frames with the same serial and other data. */
static void keys_of_copies_are_made_of_source_serial_and_data(void **state)
{
	struct cw_record r[4];
	int i;

	(void)state;
	attach("{" QUIET "}");
	tell_as(SEND, 0, "0102" "0101" "0200" T "0101" "0200" T);
	tell_as(SEND, 0, "0101" "0101" "0200" T);
	tell_as(SEND, 1, "0101" "0101" "0200" T);
	assert_int_equal(f.records.n, 4);
	for (i = 0; i < 4; i++) {
		int k;

		assert_true(cw_record_read(cw_bytes_of(f.records.v[i].ptr, f.records.v[i].len), &r[i]));
		for (k = 0; k < i; k++)
			assert_false(cw_bytes_equal(r[i].dedup, r[k].dedup));
	}
	assert_int_equal(cw_plugin_entry()->dedup_window_s, 60);
}

static void a_full_queue_denies(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	f.emit_error = CW_EBUSY;
	tell("0501" "0101" "0102");
	expect(DENY, 6, "");
}

/* ---- identity ------------------------------------------------------------------ */

static void the_form_of_the_identity_is_a_setting(void **state)
{
	(void)state;
	start("{" QUIET ", \"identity\": \"decimal\"}");
	tell("");
	assert_string_equal(f.identity, "889");
	fake_fini(&f);
	start("{" QUIET ", \"identity\": \"reversed\"}");
	tell("");
	assert_string_equal(f.identity, "000000000379");
}

static void zero_sources_are_told_apart_as_configured(void **state)
{
	(void)state;
	start("{" QUIET "}");
	utd_source = "000000000000";
	tell("");
	expect_silence(); /* nothing is bound: dropped */
	assert_int_equal(counter("unidentified"), 1);
	utd_source = "ffffffffffff";
	tell("");
	expect_silence();
	fake_fini(&f);
	start("{" QUIET ", \"zeroSource\": \"destination\"}");
	utd_source = "000000000000";
	utd_centre = "640000000000";
	tell("");
	assert_string_equal(f.identity, "640000000000");
	expect(CONFIRM, 5, "");
	fake_fini(&f);
	start("{" QUIET ", \"zeroSource\": \"remote\"}");
	utd_source = "000000000000";
	tell("");
	assert_string_equal(f.identity, "192.0.2.7");
	expect(CONFIRM, 5, "");
	fake_fini(&f);
	start("{" QUIET ", \"zeroSource\": \"refuse\"}");
	utd_source = "000000000000";
	tell("");
	expect_silence();
}

static void an_unknown_device_is_not_answered_and_asked_about_again(void **state)
{
	(void)state;
	start("{" QUIET "}");
	f.auto_identify = 0;
	tell("");
	fake_refused(&f, CW_REFUSED_UNKNOWN);
	expect_silence();
	assert_int_equal(f.in_len, 0);
	tell("");
	assert_int_equal(f.asked.count, 1);
	fake_refused(&f, CW_REFUSED_LATER);
	expect_silence();
	tell("");
	fake_identified(&f);
	expect(CONFIRM, 7, "");
	assert_int_equal(counter("unidentified"), 2);
}

static void frames_that_are_kept_get_no_answer(void **state)
{
	(void)state;
	start(NULL);
	f.auto_identify = 0;
	tell("0501" "0101" "0102");
	fake_refused(&f, CW_REFUSED_KEPT);
	tell("0501" "0101" "0103");
	assert_int_equal(f.asked.count, 1);
	fake_refused(&f, CW_REFUSED_KEPT);
	expect_silence();
	expect_no_record();
	assert_int_equal(f.in_len, 0);
	/* Added at last: the frames that follow are taken here. */
	fake_member(&f, "790300000000");
	tell("0501" "0101" "0104");
	expect_properties("{\"protocolVersion\": \"1.1\"}");
	expect_properties("{\"systemVersions\": [{\"systemType\": 1, \"systemAddress\": 1, \"version\": \"1.4\"}]}");
	fake_fini(&f);
	/* And the kept ones elsewhere: accepted, nothing sent, nothing asked. */
	fake_init(&f, cw_plugin_entry(), NULL);
	f.flags = CW_EVF_KEPT;
	fake_open(&f);
	tell("0501" "0101" "0102");
	expect_properties("{\"protocolVersion\": \"1.1\"}");
	expect_properties("{\"systemVersions\": [{\"systemType\": 1, \"systemAddress\": 1, \"version\": \"1.2\"}]}");
	expect_silence();
	assert_int_equal(call("readUtdStatus", "{}", 3), CW_EOFFLINE);
	fake_advance(&f, 600000);
	expect_silence();
	assert_int_equal(f.attached, 1);
}

static void frames_of_another_device_are_foreign(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	utd_source = "790400000000";
	tell("");
	expect_silence();
	assert_int_equal(f.foreign, 1);
	utd_source = "790300000000";
	tell("");
	expect(CONFIRM, 7, "");
}

static void a_silent_device_goes_offline_and_its_next_frame_brings_it_back(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	fake_advance(&f, 100000);
	tell("");
	fake_advance(&f, 100000);
	assert_int_equal(f.attached, 1);
	fake_advance(&f, 20000);
	assert_int_equal(f.attached, 0);
	assert_int_equal(f.closing, 0);
	assert_int_equal(counter("silent"), 1);
	fake_forget(&f);
	tell("");
	assert_int_equal(f.attached, 1);
	expect(CONFIRM, 7, "");
	fake_fini(&f);
	attach("{" QUIET ", \"silenceTime\": 30000, \"silenceCloses\": true}");
	fake_advance(&f, 30000);
	assert_int_equal(f.closing, 1);
	fake_fini(&f);
	attach("{" QUIET ", \"silenceTime\": 0}");
	fake_advance(&f, 9000000);
	assert_int_equal(f.attached, 1);
}

static void every_datagram_is_a_frame_of_its_own(void **state)
{
	(void)state;
	fake_init(&f, cw_plugin_entry(), "{" QUIET "}");
	f.flags = CW_EVF_DATAGRAM;
	fake_open(&f);
	utd_serial = 5;
	tell("0501" "0101" "0102");
	expect(CONFIRM, 5, "");
	assert_true(cw_plugin_entry()->caps & CW_CAP_DATAGRAM);
}

int main(void)
{
#define RUN(t) cmocka_unit_test_teardown(t, check_and_end)
	const struct CMUnitTest tests[] = {
		RUN(the_first_frame_waits_for_its_device_and_is_then_used),
		RUN(after_the_first_contact_the_clock_is_set_and_the_reads_follow_one_by_one),
		RUN(a_clock_that_is_wrong_is_set),
		RUN(nothing_is_asked_when_nothing_is_configured),
		RUN(systems_and_components_are_events_in_order_with_their_level),
		RUN(analogue_values_are_scaled_by_their_type),
		RUN(operations_are_events_and_a_manual_alarm_is_urgent),
		RUN(what_is_known_of_the_facilities_is_published_as_a_whole),
		RUN(all_forms_of_heartbeat_are_confirmed),
		RUN(a_private_registration_is_confirmed_and_forwarded),
		RUN(which_private_commands_are_confirmed_is_a_setting),
		RUN(a_device_that_asks_for_the_time_is_told),
		RUN(unknown_types_are_confirmed_and_forwarded_raw),
		RUN(the_answer_comes_when_the_records_are_settled),
		RUN(what_is_lost_is_denied_and_what_is_refused_is_confirmed),
		RUN(while_the_platform_is_away_an_upload_is_denied_once),
		RUN(keys_of_copies_are_made_of_source_serial_and_data),
		RUN(a_full_queue_denies),
		RUN(the_form_of_the_identity_is_a_setting),
		RUN(zero_sources_are_told_apart_as_configured),
		RUN(an_unknown_device_is_not_answered_and_asked_about_again),
		RUN(frames_that_are_kept_get_no_answer),
		RUN(frames_of_another_device_are_foreign),
		RUN(a_silent_device_goes_offline_and_its_next_frame_brings_it_back),
		RUN(every_datagram_is_a_frame_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
