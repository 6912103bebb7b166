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

/* What a text between quotes becomes, at every place of an eight-byte step and behind one. */
static void every_byte_is_escaped_or_kept(void **state)
{
	char in[24], want[64], *out;
	size_t at, len;
	unsigned c;

	for (c = 1; c < 128; c++) {
		for (at = 0; at < 20; at++) {
			const char *names = "\"\"\\\\\bb\ff\nn\rr\tt", *p;
			struct cw_json j;

			memset(in, 'x', sizeof(in));
			in[at] = (char)c;
			for (p = names; *p != '\0' && *p != (char)c; p += 2)
				;
			if (*p != '\0')
				(void)snprintf(want, sizeof(want), "\"%.*s\\%c%.*s\"", (int)at, in, p[1], (int)(19 - at), in + at + 1);
			else if (c < 0x20)
				(void)snprintf(want, sizeof(want), "\"%.*s\\u%04X%.*s\"", (int)at, in, c, (int)(19 - at), in + at + 1);
			else
				(void)snprintf(want, sizeof(want), "\"%.20s\"", in);
			cw_json_begin(&j, 100);
			cw_json_textn(&j, cw_bytes_of(in, 20));
			assert_int_equal(cw_json_finish(&j, &out, &len), 0);
			assert_string_equal(out, want);
			assert_int_equal(len, strlen(want));
			cw_free(out);
		}
	}
}

static int finish_of(struct cw_json *j)
{
	char *out;
	size_t len;
	int rc = cw_json_finish(j, &out, &len);

	if (rc == 0)
		cw_free(out);
	return rc;
}

static void a_wrong_order_of_calls_is_an_error(void **state)
{
	struct cw_json j;
	int i;

	cw_json_begin(&j, 100); /* a key that is no text */
	cw_json_map(&j);
	cw_json_int(&j, 1);
	assert_int_equal(finish_of(&j), CW_EPROTO);
	cw_json_begin(&j, 100); /* a key without a value */
	cw_json_map(&j);
	cw_json_text(&j, "a");
	cw_json_end_map(&j);
	assert_int_equal(finish_of(&j), CW_EPROTO);
	cw_json_begin(&j, 100); /* the other end */
	cw_json_array(&j);
	cw_json_end_map(&j);
	assert_int_equal(finish_of(&j), CW_EPROTO);
	cw_json_begin(&j, 100);
	cw_json_end_array(&j);
	assert_int_equal(finish_of(&j), CW_EPROTO);
	cw_json_begin(&j, 100); /* one text behind another */
	cw_json_bool(&j, 1);
	cw_json_null(&j);
	assert_int_equal(finish_of(&j), CW_EPROTO);
	cw_json_begin(&j, 1000);
	for (i = 0; i < CW_JSON_LEVELS; i++)
		cw_json_array(&j);
	assert_int_equal(finish_of(&j), CW_EPROTO);
}

static void bytes_that_are_not_utf8_are_refused(void **state)
{
	static const char *const bad[] = { "\x80", "abcdefgh\xff", "\xc3", "abc\xe4\xb8", "\xc3(" };
	struct cw_json j;
	char *out;
	size_t i, len;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cw_json_begin(&j, 100);
		cw_json_text(&j, bad[i]);
		assert_int_equal(finish_of(&j), CW_EPROTO);
	}
	cw_json_begin(&j, 100);
	cw_json_text(&j, "abcdefg\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80 \"");
	assert_int_equal(cw_json_finish(&j, &out, &len), 0);
	assert_string_equal(out, "\"abcdefg\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80 \\\"\"");
	cw_free(out);
}

static void the_bound_is_exact(void **state)
{
	struct cw_json j;
	size_t most;

	for (most = 0; most < 40; most++) {
		cw_json_begin(&j, most);
		cw_json_map(&j); /* {"a\nb":[1,true],"c":"d"} */
		cw_json_text(&j, "a\nb");
		cw_json_array(&j);
		cw_json_int(&j, 1);
		cw_json_bool(&j, 1);
		cw_json_end_array(&j);
		cw_json_field(&j, "c", "d");
		cw_json_end_map(&j);
		assert_int_equal(finish_of(&j), most < 25 ? CW_ELIMIT : 0);
	}
}

/* The walk that looks at everything. */
static int read_all(struct cw_reader *r, int depth)
{
	struct cw_item it = cw_read_item(r);

	if (it.type == CW_ITEM_BAD)
		return 0;
	if (it.type != CW_ITEM_ARRAY && it.type != CW_ITEM_MAP)
		return 1;
	if (depth <= 0)
		return 0;
	while (cw_item_more(r, &it))
		if (!read_all(r, depth - 1))
			return 0;
	return !r->short_read;
}

static void skipping_accepts_what_reading_accepts(void **state)
{
	static const uint8_t some[] = { 0x00, 0x18, 0x1b, 0x20, 0x3b, 0x41, 0x61, 0x63, 0x80, 0x82, 0x9f, 0xa1, 0xbf, 0xc4, 0xd8, 0x04,
					0x82, 0x12, 0xf4, 0xf6, 0xf7, 0xfb, 0xff, 0x7f, 0x5f, 0x1f, 0xfa, 0x31, 0x13 };
	uint8_t bytes[24];
	unsigned round, taken = 0;
	size_t i;

	srand(4711);
	for (round = 0; round < 300000; round++) {
		size_t len = 1 + (unsigned)rand() % sizeof(bytes);
		struct cw_reader a, b;
		int first, second;

		for (i = 0; i < len; i++)
			bytes[i] = some[(unsigned)rand() % sizeof(some)];
		a = b = cw_reader_of(cw_bytes_of(bytes, len));
		first = read_all(&a, 4);
		second = cw_skip_item(&b, 4);
		assert_int_equal(first, second);
		if (first) {
			assert_int_equal(a.pos, b.pos);
			taken++;
		}
	}
	assert_true(taken > 1000);
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
		cmocka_unit_test_teardown(every_byte_is_escaped_or_kept, check_leaks),
		cmocka_unit_test_teardown(a_wrong_order_of_calls_is_an_error, check_leaks),
		cmocka_unit_test_teardown(bytes_that_are_not_utf8_are_refused, check_leaks),
		cmocka_unit_test_teardown(the_bound_is_exact, check_leaks),
		cmocka_unit_test_teardown(skipping_accepts_what_reading_accepts, check_leaks),
		cmocka_unit_test_teardown(short_memory_is_reported_and_leaves_nothing, check_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
