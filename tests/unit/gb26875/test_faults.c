/* No memory: each allocation of the decoder fails in turn through a device's whole life; settings; noise of all sorts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "utd.h"

#include "../../../plugins/gb26875/gb26875.h"

/* The decoder's sources are compiled into this test with these in place of malloc and calloc. */
static long countdown = -1;
static int failed;

static int fails(void)
{
	if (countdown < 0 || countdown-- > 0)
		return 0;
	failed = 1;
	return 1;
}

void *plugin_malloc(size_t n);
void *plugin_calloc(size_t count, size_t n);

void *plugin_malloc(size_t n)
{
	return fails() ? NULL : realloc(NULL, n > 0 ? n : 1);
}

void *plugin_calloc(size_t count, size_t n)
{
	void *p = fails() ? NULL : realloc(NULL, count * n + 1);

	if (p != NULL)
		memset(p, 0, count * n);
	return p;
}

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
	int nth;

	(void)state;
	start("{\"components\": \"child\"}");
	fake_close(&f);
	for (nth = 0;; nth++) {
		failed = 0;
		countdown = nth;
		a_life();
		countdown = -1;
		if (!failed)
			break;
	}
	assert_true(nth > 12);
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
	struct cw_decoder *d = NULL;
	struct cw_host host = { .size = sizeof(host), .abi = CW_ABI };
	void *conf = NULL;
	char why[64];
	int nth, rc;

	(void)state;
	for (nth = 0; nth < 3; nth++) {
		countdown = nth;
		rc = cw_plugin_entry()->decoder->create(&host, NULL, &d);
		countdown = -1;
		assert_int_equal(rc, CW_ENOMEM);
		assert_null(d);
	}
	assert_int_equal(cw_plugin_entry()->decoder->create(&host, NULL, &d), 0);
	countdown = 0;
	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of("\xa0", 1), why, sizeof(why), &conf), CW_ENOMEM);
	countdown = -1;
	cw_plugin_entry()->decoder->destroy(d);
}

static void settings_that_cannot_be_used_are_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {
		"{\"firstReads\": \"61\"}", "{\"firstReads\": \"81 85\"}", "{\"firstReads\": \"x\"}", "{\"vendorCommands\": \"2\"}",
		"{\"vendorCommands\": \"300\"}", "{\"vendorCommands\": \"7:\"}", "{\"analogueSteps\": {\"4\": \"0\"}}",
		"{\"analogueSteps\": {\"256\": \"1\"}}", "{\"analogueSteps\": {\"4\": \"1.x\"}}", "{\"analogueSteps\": {\"4\": \"99999\"}}",
	};
	struct cw_decoder *d = NULL;
	struct cw_host host = { .size = sizeof(host), .abi = CW_ABI };
	size_t i, n;

	(void)state;
	assert_int_equal(cw_plugin_entry()->decoder->create(&host, NULL, &d), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t *s = fake_settings(cw_plugin_entry()->conf, bad[i], &n);
		void *conf = NULL;
		char why[200] = "";

		if (cw_plugin_entry()->decoder->settings(d, cw_bytes_of(s, n), why, sizeof(why), &conf) != CW_ECONF)
			fail_msg("%s is accepted", bad[i]);
		assert_null(conf);
		assert_true(strlen(why) > 10);
		cw_free(s);
	}
	cw_plugin_entry()->decoder->destroy(d);
}

/* The defaults of the table mean what the code does without settings. */
static void every_default_is_that_of_the_code(void **state)
{
	const struct cw_conf_field *c = cw_plugin_entry()->conf;
	struct cw_decoder *d = NULL;
	struct cw_host host = { .size = sizeof(host), .abi = CW_ABI };
	void *empty = NULL, *full = NULL;
	char why[64];
	uint8_t *s;
	size_t n;

	(void)state;
	assert_int_equal(cw_plugin_entry()->decoder->create(&host, NULL, &d), 0);
	s = fake_settings(c, NULL, &n);
	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of("\xa0", 1), why, sizeof(why), &empty), 0);
	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of(s, n), why, sizeof(why), &full), 0);
	assert_memory_equal(empty, full, sizeof(struct gb_conf));
	cw_free(s);
	cw_plugin_entry()->decoder->settings_free(d, empty);
	cw_plugin_entry()->decoder->settings_free(d, full);
	cw_plugin_entry()->decoder->destroy(d);
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
