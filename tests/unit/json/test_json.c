/* JSON text and encoded items: numbers exact, bounds, depth, bad input, short memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "json/json.h"

static char text_back[70000];

/* JSON -> item -> JSON. */
static const char *round_trip(const char *text)
{
	uint8_t *item = NULL;
	char *out = NULL;
	size_t len, out_len;

	if (cw_json_to_item(cw_bytes_text(text), &item, &len) != 0)
		return "refused";
	assert_int_equal(cw_json_from_item(cw_bytes_of(item, len), sizeof(text_back), &out, &out_len), 0);
	assert_int_equal(strlen(out), out_len);
	strcpy(text_back, out);
	cw_free(out);
	cw_free(item);
	return text_back;
}

static int check_leaks(void **state)
{
	return cw_mem_live() == 0 ? 0 : -1;
}

static void numbers_keep_their_digits(void **state)
{
	static const char *const same[] = {
		"12.30",
		"0.05",
		"-0.5",
		"0.10",
		"100",
		"0",
		"-1",
		"9223372036854775807",
		"-9223372036854775808",
		"18446744073709551615",
		"123456789012345678",
		"0.000000000000000001",
		"0.1",
		"12345678901234567.8",
		"0.00",
	};
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_string_equal(round_trip(same[i]), same[i]);
	assert_string_equal(round_trip("1.5e3"), "1500");
	assert_string_equal(round_trip("1E-2"), "0.01");
	assert_string_equal(round_trip("1e99"), "1e+99");
	assert_string_equal(round_trip("100000000000000000000"), "1e+20");
	assert_string_equal(round_trip("1e999"), "refused");
}

static void a_double_is_written_with_the_fewest_digits_that_read_back(void **state)
{
	static const double v[] = { 0.1, 1.0 / 3, 5e-324, DBL_MAX, 31.205, 100000.0, -2.5 };
	uint8_t buf[16];
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct cw_writer w = cw_writer_of(buf, sizeof(buf));
		char *text;
		size_t len;

		cw_put_double(&w, v[i]);
		assert_int_equal(cw_json_from_item(cw_written(&w), 100, &text, &len), 0);
		assert_true(strtod(text, NULL) == v[i]);
		if (v[i] == 0.1)
			assert_string_equal(text, "0.1");
		if (v[i] == 31.205)
			assert_string_equal(text, "31.205");
		cw_free(text);
	}
}

static void structures_and_text_come_through(void **state)
{
	static const char *const same[] = {
		"{}",
		"[]",
		"\"\"",
		"{\"a\":[1,{\"b\":null},true,false],\"c\":\"\\u0001\\\"\\\\\"}",
		"{\"name\":\"\xe6\xb8\xa9\xe5\xba\xa6\"}",
		"[[[[[[[[[[[[[[]]]]]]]]]]]]]]",
	};
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_string_equal(round_trip(same[i]), same[i]);
	assert_string_equal(round_trip("\"\\u6e29\\ud83d\\ude00\""), "\"\xe6\xb8\xa9\xf0\x9f\x98\x80\"");
}

static void bytes_become_hexadecimal_text(void **state)
{
	static const uint8_t raw[] = { 0x00, 0xab, 0x7f };
	uint8_t buf[300], big[200] = { 0xee };
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	char *text;
	size_t len;

	cw_put_bytes(&w, cw_bytes_of(raw, sizeof(raw)));
	assert_int_equal(cw_json_from_item(cw_written(&w), 100, &text, &len), 0);
	assert_string_equal(text, "\"00ab7f\"");
	cw_free(text);
	w = cw_writer_of(buf, sizeof(buf));
	cw_put_bytes(&w, cw_bytes_of(big, sizeof(big)));
	assert_int_equal(cw_json_from_item(cw_written(&w), 1000, &text, &len), 0);
	assert_int_equal(len, 402);
	assert_memory_equal(text, "\"ee00", 5);
	cw_free(text);
}

static void bad_text_is_refused(void **state)
{
	static const char *const bad[] = {
		"",         " ",  "{",  "{\"a\":}",  "[1,]",      "nul", "{} {}",
		"\"\xff\"", "01", "1.", "\"\\ud800", "{\"a\" 1}", "'a'",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_string_equal(round_trip(bad[i]), "refused");
}

static void nesting_and_length_are_bounded(void **state)
{
	char deep[80];
	uint8_t *item;
	char *text;
	size_t len;

	memset(deep, '[', 40);
	memset(deep + 40, ']', 39);
	deep[79] = '\0';
	assert_int_equal(cw_json_to_item(cw_bytes_text(deep), &item, &len), CW_ELIMIT);
	assert_int_equal(cw_json_to_item(cw_bytes_text("[1,2,3,4,5,6,7,8]"), &item, &len), 0);
	assert_int_equal(cw_json_from_item(cw_bytes_of(item, len), 10, &text, &len), CW_ELIMIT);
	cw_free(item);
}

static void malformed_items_are_refused(void **state)
{
	static const uint8_t cut[] = { 0xbf, 0x61, 'a' }, odd[] = { 0x9f, 0xc0, 0xff }, text[] = { 0x61, 0xff };
	static const uint8_t key[] = { 0xbf, 0x01, 0x02, 0xff };
	char *out;
	size_t len;

	assert_int_equal(cw_json_from_item(cw_bytes_of(cut, 3), 100, &out, &len), CW_EPROTO);
	assert_int_equal(cw_json_from_item(cw_bytes_of(odd, 3), 100, &out, &len), CW_EPROTO);
	assert_int_equal(cw_json_from_item(cw_bytes_of(text, 2), 100, &out, &len), CW_EPROTO);
	assert_int_equal(cw_json_from_item(cw_bytes_of(key, 4), 100, &out, &len), CW_EPROTO);
}

static void dense_and_long_texts_stay_within_the_bounds_reserved_for_them(void **state)
{
	char *text = malloc(200001);
	uint8_t *item;
	size_t len, i;

	strcpy(text, "[");
	for (i = 1; i + 6 < 200000; i += 5)
		memcpy(text + i, "1e99,", 5);
	strcpy(text + i, "1]");
	assert_int_equal(cw_json_to_item(cw_bytes_text(text), &item, &len), 0);
	cw_free(item);
	text[0] = '"';
	for (i = 1; i + 10 < 200000; i += 6)
		memcpy(text + i, "\\u0041", 6);
	strcpy(text + i, "\"");
	assert_int_equal(cw_json_to_item(cw_bytes_text(text), &item, &len), 0);
	cw_free(item);
	memset(text, 'x', 200000);
	text[0] = text[199999] = '"';
	text[200000] = '\0';
	assert_int_equal(cw_json_to_item(cw_bytes_text(text), &item, &len), 0);
	cw_free(item);
	free(text);
}

static void short_memory_is_reported_and_leaves_nothing(void **state)
{
	static const char text[] =
		"{\"a\":[1,2.50,\"x\"],\"long\":\"................................................................"
		"................................................................................................\"}";
	long nth;

	for (nth = 0;; nth++) {
		uint8_t *item = NULL;
		char *out = NULL;
		size_t len, out_len;
		int rc;

		cw_mem_fail_at(nth);
		rc = cw_json_to_item(cw_bytes_text(text), &item, &len);
		if (rc == 0)
			rc = cw_json_from_item(cw_bytes_of(item, len), 1000, &out, &out_len);
		cw_mem_fail_at(-1);
		cw_free(item);
		cw_free(out);
		assert_int_equal(cw_mem_live(), 0);
		if (rc == 0)
			break;
		assert_int_equal(rc, CW_ENOMEM);
	}
	assert_true(nth >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(numbers_keep_their_digits, check_leaks),
		cmocka_unit_test_teardown(a_double_is_written_with_the_fewest_digits_that_read_back, check_leaks),
		cmocka_unit_test_teardown(structures_and_text_come_through, check_leaks),
		cmocka_unit_test_teardown(bytes_become_hexadecimal_text, check_leaks),
		cmocka_unit_test_teardown(bad_text_is_refused, check_leaks),
		cmocka_unit_test_teardown(nesting_and_length_are_bounded, check_leaks),
		cmocka_unit_test_teardown(malformed_items_are_refused, check_leaks),
		cmocka_unit_test_teardown(dense_and_long_texts_stay_within_the_bounds_reserved_for_them, check_leaks),
		cmocka_unit_test_teardown(short_memory_is_reported_and_leaves_nothing, check_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
