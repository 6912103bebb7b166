/* Components as devices of their own: asked for together, read by themselves, gone with their UTD. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "utd.h"

#define CHILD "{" QUIET ", \"components\": \"child\"}"
#define VALUE(address) "0101" "1f" address "03" "0a00" T
#define READING(address) \
	"{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 31, \"componentAddress\": " address ", \"analogueType\": 3, \"raw\": 10," \
	"\"value\": 1.0, \"unit\": \"degC\", \"time\": " T_DATE "}"

static void by_default_all_belongs_to_the_utd(void **state)
{
	(void)state;
	attach("{" QUIET "}");
	tell("0301" VALUE("07000000"));
	expect_record_of("790300000000", CW_KIND_EVENT, "analogueReport", CW_EVENT_INFO, 0, READING("7"));
	assert_int_equal(f.device_count, 1);
}

static void all_components_of_a_unit_are_asked_for_at_once(void **state)
{
	(void)state;
	attach(CHILD);
	f.auto_identify = 0;
	tell("0304" VALUE("07000000") VALUE("08000000") VALUE("07000000") VALUE("09000000"));
	assert_int_equal(f.asked.count, 3);
	expect_no_record();
	expect_silence();
	fake_identified(&f);
	assert_string_equal(f.devices[1].identity, "790300000000:1.1.7");
	fake_refused(&f, CW_REFUSED_UNKNOWN);
	expect_no_record();
	fake_identified(&f);
	expect_record_of("790300000000:1.1.7", CW_KIND_EVENT, "analogueReport", CW_EVENT_INFO, 0, READING("7"));
	expect_record_of("790300000000", CW_KIND_EVENT, "analogueReport", CW_EVENT_INFO, 0, READING("8"));
	expect_record_of("790300000000:1.1.7", CW_KIND_EVENT, "analogueReport", CW_EVENT_INFO, 0, READING("7"));
	expect_record_of("790300000000:1.1.9", CW_KIND_EVENT, "analogueReport", CW_EVENT_INFO, 0, READING("9"));
	expect(CONFIRM, 6, "");
	/* All is known now. */
	tell("0301" VALUE("08000000"));
	assert_int_equal(f.asked.count, 0);
	expect(CONFIRM, 7, "");
	/* What was unknown is asked about again after a while. */
	fake_advance(&f, 100000);
	tell("");
	fake_forget(&f);
	fake_advance(&f, 100000);
	tell("");
	f.mono_ms += 600000;
	tell("0301" VALUE("08000000"));
	assert_int_equal(f.asked.count, 1);
	fake_identified(&f);
	fake_forget(&f);
	tell("0301" VALUE("08000000"));
	expect_record_of("790300000000:1.1.8", CW_KIND_EVENT, "analogueReport", CW_EVENT_INFO, 0, READING("8"));
}

/* Settings of the UTD go on counting when its components are there too, of which an event names none. */
static void states_and_configurations_go_to_the_component_too(void **state)
{
	(void)state;
	attach("{" QUIET ", \"components\": \"child\", \"loopIn\": \"high\"}");
	tell("0201" "0101" "28" "0a000200" "0200" "00000000000000000000000000000000000000000000000000000000000000" T);
	expect_record_of("790300000000:1.1.131082", CW_KIND_EVENT, "componentState", CW_EVENT_ERROR, URGENT,
	                 "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentTypeName\": \"smoke detector\","
	                 "\"componentAddress\": 131082, \"loop\": 2, \"point\": 10, \"status\": 2, \"flags\": [\"fire\"], \"description\": \"\", \"time\": " T_DATE "}");
	tell("0701" "0101" "28" "0a000200" "4100000000000000000000000000000000000000000000000000000000000000");
	expect_record_of("790300000000:1.1.131082", CW_KIND_EVENT, "componentConfig", CW_EVENT_INFO, 0,
	                 "{\"systemType\": 1, \"systemAddress\": 1, \"componentType\": 40, \"componentAddress\": 131082, \"description\": \"A\"}");
	tell("0101" "0101" "0100" T);
	expect_record_of("790300000000", CW_KIND_EVENT, "systemState", CW_EVENT_INFO, 0,
	                 "{\"systemType\": 1, \"systemTypeName\": \"fire alarm system\", \"systemAddress\": 1, \"status\": 1, \"flags\": [\"normal\"], \"time\": " T_DATE "}");
}

static void a_component_can_be_read_and_nothing_else(void **state)
{
	(void)state;
	attach(CHILD);
	tell("0301" VALUE("07000000"));
	fake_forget(&f);
	f.target = 1;
	assert_int_equal(call("readAnalogue", "{}", 9), 0);
	expect(REQUEST, 0, "3f01" "0101" "07000000");
	tell_as(RESPONSE, 0, "0301" VALUE("07000000"));
	expect_done(9, CW_CODE_OK, "{\"objects\": [" READING("7") "]}");
	assert_int_equal(call("initialise", "{}", 10), 0);
	expect_done(10, CW_CODE_UNSUPPORTED, "{\"message\": \"a component can only be read: readComponentState, readAnalogue, readComponentConfig\"}");
}

static void components_leave_with_their_utd(void **state)
{
	(void)state;
	attach(CHILD);
	tell("0302" VALUE("07000000") VALUE("08000000"));
	assert_int_equal(f.devices[2].attached, 1);
	fake_advance(&f, 120000); /* silence */
	assert_int_equal(f.devices[0].attached, 0);
	assert_int_equal(f.devices[1].attached, 0);
	assert_int_equal(f.devices[2].attached, 0);
	fake_forget(&f);
	tell("0301" VALUE("07000000"));
	assert_int_equal(f.devices[1].attached, 1);
	assert_int_equal(f.devices[2].attached, 0);
}

static void a_component_taken_away_is_the_utds_until_it_is_looked_up_again(void **state)
{
	(void)state;
	attach(CHILD);
	tell("0301" VALUE("07000000"));
	fake_forget(&f);
	fake_detach(&f, 1);
	tell("0301" VALUE("07000000"));
	expect_record_of("790300000000", CW_KIND_EVENT, "analogueReport", CW_EVENT_INFO, 0, READING("7"));
	/* The platform takes the UTD: its components go too. */
	f.mono_ms += 600000;
	tell("0301" VALUE("07000000"));
	assert_int_equal(f.devices[1].attached, 1);
	fake_detach(&f, 0);
	fake_advance(&f, 0);
	assert_int_equal(f.devices[1].attached, 0);
}

static void there_are_no_more_components_than_configured(void **state)
{
	(void)state;
	attach("{" QUIET ", \"components\": \"child\", \"componentsMost\": 2}");
	tell("0303" VALUE("07000000") VALUE("08000000") VALUE("09000000"));
	expect_record_of("790300000000:1.1.7", CW_KIND_EVENT, NULL, CW_EVENT_INFO, 0, READING("7"));
	expect_record_of("790300000000:1.1.8", CW_KIND_EVENT, NULL, CW_EVENT_INFO, 0, READING("8"));
	expect_record_of("790300000000", CW_KIND_EVENT, NULL, CW_EVENT_INFO, 0, READING("9"));
	expect(CONFIRM, 6, "");
}

int main(void)
{
#define RUN(t) cmocka_unit_test_teardown(t, check_and_end)
	const struct CMUnitTest tests[] = {
		RUN(by_default_all_belongs_to_the_utd),
		RUN(all_components_of_a_unit_are_asked_for_at_once),
		RUN(states_and_configurations_go_to_the_component_too),
		RUN(a_component_can_be_read_and_nothing_else),
		RUN(components_leave_with_their_utd),
		RUN(a_component_taken_away_is_the_utds_until_it_is_looked_up_again),
		RUN(there_are_no_more_components_than_configured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
