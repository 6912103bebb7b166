/* No memory: each allocation of the decoder fails in turn through a device's whole life; settings; noise of all sorts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faults.h"
#include "utd.h"

#include "../../../plugins/gb26875/gb26875.h"

/* Whatever fails inside, the device goes on talking and everything is given back. */
static void a_life(void)
{
	fake_open(&f);
	utd_serial = 5;
	tell("");
	tell("150108" T);
	tell("0502" "0101" "0102" "0b01" "0102");
	tell("0302" "0101" "1f" "05000100" "03" "97ff" T "0b01" "5c" "07000000" "80" "4d00" T);
	tell_as(RESPONSE, 0, "19010102");
	if (f.attached) {
		call("readUtdStatus", "{}", 5);
		tell_as(RESPONSE, 1, "150101" T);
		tell_as(RESPONSE, 2, "1a0100");
		tell_as(RESPONSE, 3, "150101" T);
		call("dutyCheck", "{\"timeoutMinutes\": 1}", 6);
		tell_as(CONFIRM, 4, "");
		tell("1801" "20" "2a" T);
		call("readUtdConfig", "{}", 7);
		fake_advance(&f, 130000);
	}
	tell("");
	fake_forget(&f);
	fake_close(&f);
}

static void every_allocation_may_fail_once(void **state)
{
	(void)state;
	start("{\"components\": \"child\"}");
	fake_close(&f);
	assert_true(faults_each_allocation(a_life) > 12);
	a_life();
	assert_int_equal(f.charged, 0);
	/* The same with a cap that is reached instead. */
	for (f.cap = 0; f.cap < 4000; f.cap += 40)
		a_life();
	fake_fini(&f);
	assert_int_equal(cw_mem_live(), 0);
}

static void a_decoder_that_cannot_be_made_says_so(void **state)
{
	(void)state;
	faults_create(3);
}

static void settings_that_cannot_be_used_are_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {
		"{\"firstReads\": \"61\"}", "{\"firstReads\": \"81 85\"}", "{\"firstReads\": \"x\"}", "{\"vendorCommands\": \"2\"}",
		"{\"vendorCommands\": \"300\"}", "{\"vendorCommands\": \"7:\"}", "{\"analogueSteps\": {\"4\": \"0\"}}",
		"{\"analogueSteps\": {\"256\": \"1\"}}", "{\"analogueSteps\": {\"4\": \"1.x\"}}", "{\"analogueSteps\": {\"4\": \"99999\"}}",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		faults_refused(bad[i], NULL);
}

/* The defaults of the table mean what the code does without settings. */
static void every_default_is_that_of_the_code(void **state)
{
	(void)state;
	faults_defaults(sizeof(struct gb_conf));
}

static void noise_of_all_sorts_passes(void **state)
{
	uint8_t junk[4096] = { 0 };
	unsigned round, i;

	(void)state;
	srand(26875);
	start("{" QUIET "}");
	fake_close(&f);
	for (round = 0; round < 300; round++) {
		size_t n = (size_t)rand() % sizeof(junk);

		for (i = 0; i < n; i++)
			junk[i] = (uint8_t)(rand() % 3 == 0 ? 0x40 : rand() % 5 == 0 ? 0x23 : rand() % 3 == 0 ? rand() % 4 : rand() % 256);
		fake_open(&f);
		fake_feed(&f, cw_bytes_of(junk, n));
		fake_close(&f);
		fake_forget(&f);
	}
	/* After any noise a good frame is found again, at the latest when the false ones are given up. */
	fake_open(&f);
	fake_feed(&f, cw_bytes_of(junk, sizeof(junk)));
	fake_forget(&f);
	f.device_count = 0;
	tell("");
	for (i = 0; i < 100 && f.in_len > 0; i++)
		fake_advance(&f, 10000);
	assert_int_equal(f.in_len, 0);
	assert_true(f.sent.n >= 1);
	fake_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_may_fail_once), cmocka_unit_test(a_decoder_that_cannot_be_made_says_so),
		cmocka_unit_test(settings_that_cannot_be_used_are_refused_with_a_sentence), cmocka_unit_test(every_default_is_that_of_the_code),
		cmocka_unit_test(noise_of_all_sorts_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
