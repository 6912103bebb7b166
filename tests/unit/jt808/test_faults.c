/* No memory: each allocation of the decoder fails in turn through a terminal's whole life; and noise of all sorts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"
#include "faults.h"
#include "terminal.h"

static struct fake f;
static struct terminal t;

static void tell(unsigned id, const char *body_hex)
{
	fake_feed_hex(&f, terminal_frame(&t, id, body_hex));
}

#define FIX "00000001" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" "261121155900"

/* Whatever fails inside, the terminal goes on talking and everything is given back. */
static void a_life(void)
{
	char code[64] = "31";
	struct message m;
	struct fake_blob *b;

	t = (struct terminal){ .edition = 2013, .number = "013800000001" };
	fake_open(&f);
	tell(0x0100, "002c012f" "3730313131" "42534a2d41362d424400000000000000000000" "00" "30353637383732" "01" "d4c1423838383838");
	while ((b = fake_next(&f.sent)) != NULL)
		if (terminal_read(b, &m) && m.id == 0x8100 && strlen(m.body) > 6)
			snprintf(code, sizeof(code), "%.60s", m.body + 6);
	tell(0x0102, code);
	tell(0x0200, FIX);
	fake_feed_hex(&f, terminal_part(&t, 0x0701, 2, 1, "0000000431"));
	fake_feed_hex(&f, terminal_part(&t, 0x0801, 3, 1, "0000007b00000102" FIX "ffd8"));
	fake_feed_hex(&f, terminal_part(&t, 0x0701, 2, 2, "323334"));
	fake_feed_hex(&f, terminal_part(&t, 0x0801, 3, 3, "ffd9"));
	if (f.attached) {
		fake_command(&f, CW_KIND_SERVICE, "SendText", "{\"text\": \"a\"}", 5, 7500);
		fake_advance(&f, 70000);
		tell(0x0001, "0000" "8300" "00");
	}
	fake_forget(&f);
	fake_close(&f);
	fake_open(&f);
	tell(0x0102, code);
	fake_close(&f);
	fake_forget(&f);
}

static void every_allocation_may_fail_once(void **state)
{
	(void)state;
	fake_init(&f, cw_plugin_entry(), NULL);
	assert_true(faults_each_allocation(a_life) > 8);
	a_life();
	assert_int_equal(f.charged, 0);
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
	static const char *const bad[] = { "{\"timezone\": \"Mars/Base\"}", "{\"timezone\": \"+99:00\"}", "{\"rsaKey\": {\"e\": 3, \"n\": \"12\"}}" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		faults_refused(bad[i], NULL);
}

/* Each switch of the protocol is a setting with a default that means what the code does without settings. */
static void every_switch_is_a_setting_with_its_default(void **state)
{
	static const struct { const char *name, *initial; } want[] = {
		{ "strict", "false" }, { "timezone", "Asia/Shanghai" }, { "edition", "auto" }, { "identifyBy", "auth" }, { "authPolicy", "issued" },
		{ "authSecret", "" }, { "authCloseDelay", "2s" }, { "unknownCloseDelay", "0s" }, { "registerResult", "4" }, { "zeroNumber", "refuse" },
		{ "imeiNumber", "false" }, { "unknownResult", "0" }, { "ackAnswers", "true" }, { "alarmResult", "0" }, { "retryWait", "10s" },
		{ "retries", "3" }, { "retryWaitMax", "60s" }, { "retryGrowth", "factorial" }, { "fragmentSize", "1000" }, { "fragmentBurst", "16" },
		{ "fragmentPause", "500ms" }, { "partsMaxBytes", "4MiB" }, { "partsMaxOpen", "4" }, { "partsMaxCount", "8192" },
		{ "partsAskAfter", "10s" }, { "partsAsks", "5" }, { "partsDropAfter", "60s" }, { "joinUnescaped", "false" }, { "controlCount", "true" },
		{ "changeOnly", "false" }, { "percentFuel", "true" }, { "storeMedia", "true" }, { "inflateMax", "1MiB" }, { "rsaKey", NULL },
	};
	const struct cw_conf_field *c = cw_plugin_entry()->conf;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_non_null(c[i].name);
		assert_string_equal(c[i].name, want[i].name);
		if (want[i].initial != NULL)
			assert_string_equal(c[i].initial, want[i].initial);
		assert_non_null(c[i].help);
	}
	assert_null(c[i].name);
	faults_defaults(sizeof(struct jt_conf));
}

static void noise_of_all_sorts_passes(void **state)
{
	uint8_t junk[4096] = { 0 };
	unsigned round, i;

	(void)state;
	srand(808);
	fake_init(&f, cw_plugin_entry(), NULL);
	for (round = 0; round < 300; round++) {
		size_t n = (size_t)rand() % sizeof(junk);

		for (i = 0; i < n; i++)
			junk[i] = rand() % 9 == 0 ? 0x7e : rand() % 9 == 0 ? 0x7d : (uint8_t)rand();
		fake_open(&f);
		fake_feed(&f, cw_bytes_of(junk, n));
		fake_close(&f);
		fake_forget(&f);
	}
	/* After any noise a good frame is found again. */
	t = (struct terminal){ .edition = 2013, .number = "013800000001" };
	fake_open(&f);
	fake_feed(&f, cw_bytes_of(junk, sizeof(junk)));
	fake_forget(&f);
	tell(0x0002, "");
	tell(0x0002, "");
	assert_true(f.sent.n >= 1);
	fake_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_may_fail_once), cmocka_unit_test(a_decoder_that_cannot_be_made_says_so),
		cmocka_unit_test(settings_that_cannot_be_used_are_refused_with_a_sentence), cmocka_unit_test(every_switch_is_a_setting_with_its_default),
		cmocka_unit_test(noise_of_all_sorts_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
