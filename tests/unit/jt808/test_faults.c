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
#include "terminal.h"

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
	int nth;

	(void)state;
	fake_init(&f, cw_plugin_entry(), NULL);
	for (nth = 0;; nth++) {
		failed = 0;
		countdown = nth;
		a_life();
		countdown = -1;
		if (!failed)
			break;
	}
	assert_true(nth > 8);
	a_life();
	assert_int_equal(f.charged, 0);
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
	static const char *const bad[] = { "{\"timezone\": \"Mars/Base\"}", "{\"timezone\": \"+99:00\"}", "{\"rsaKey\": {\"e\": 3, \"n\": \"12\"}}" };
	struct cw_decoder *d = NULL;
	struct cw_host host = { .size = sizeof(host), .abi = CW_ABI };
	size_t i, n;

	(void)state;
	assert_int_equal(cw_plugin_entry()->decoder->create(&host, NULL, &d), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t *s = fake_settings(cw_plugin_entry()->conf, bad[i], &n);
		void *conf = NULL;
		char why[200] = "";

		assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of(s, n), why, sizeof(why), &conf), CW_ECONF);
		assert_null(conf);
		assert_true(strlen(why) > 10);
		cw_free(s);
	}
	cw_plugin_entry()->decoder->destroy(d);
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
	struct cw_decoder *d = NULL;
	struct cw_host host = { .size = sizeof(host), .abi = CW_ABI };
	void *empty = NULL, *full = NULL;
	uint8_t *s;
	char why[64];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_non_null(c[i].name);
		assert_string_equal(c[i].name, want[i].name);
		if (want[i].initial != NULL)
			assert_string_equal(c[i].initial, want[i].initial);
		assert_non_null(c[i].help);
	}
	assert_null(c[i].name);
	assert_int_equal(cw_plugin_entry()->decoder->create(&host, NULL, &d), 0);
	s = fake_settings(c, NULL, &n);
	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of("\xa0", 1), why, sizeof(why), &empty), 0);
	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of(s, n), why, sizeof(why), &full), 0);
	assert_memory_equal(empty, full, sizeof(struct jt_conf));
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
