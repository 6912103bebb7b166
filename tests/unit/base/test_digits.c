/* Bytes as text and back: hexadecimal, percent-encoding, Base64 (RFC 4648 section 10, RFC 3986 section 2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/base64.h"
#include "base/digits.h"
#include "causeway/error.h"

static void hexadecimal_is_lower_case_and_read_in_both(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x0f, 0xa0, 0xff };
	char out[CW_HEX_SIZE(sizeof(bytes))];
	int c, digits = 0;

	cw_hex(out, cw_bytes_of(bytes, sizeof(bytes)));
	assert_string_equal(out, "000fa0ff");
	cw_hex(out, cw_bytes_of(NULL, 0));
	assert_string_equal(out, "");
	assert_int_equal(cw_hex_value('9'), 9);
	assert_int_equal(cw_hex_value('a'), 10);
	assert_int_equal(cw_hex_value('F'), 15);
	for (c = 0; c < 256; c++)
		digits += cw_hex_value((char)c) >= 0;
	assert_int_equal(digits, 22);
}

static void what_is_not_plain_is_percent_encoded(void **state)
{
	static const uint8_t odd[] = { 0x00, 0x7f, 0xe4 };
	char out[32], *end;

	end = cw_percent(out, sizeof(out), cw_bytes_text("aZ09-_.~ +/*@"));
	assert_string_equal(out, "aZ09-_.~%20%2B%2F%2A%40");
	assert_ptr_equal(end, out + strlen(out));
	assert_non_null(cw_percent(out, sizeof(out), cw_bytes_of(odd, sizeof(odd))));
	assert_string_equal(out, "%00%7F%E4");
}

static void a_room_too_small_is_never_overrun(void **state)
{
	char out[8];
	size_t size;

	for (size = 0; size < 8; size++) {
		memset(out, '#', sizeof(out));
		assert_true((cw_percent(out, size, cw_bytes_text("a b/")) != NULL) == (size > 8));
		assert_int_equal(out[size], '#');
	}
	assert_non_null(cw_percent(out, 6, cw_bytes_text("ab ")));
	assert_null(cw_percent(out, 5, cw_bytes_text("ab ")));
	assert_null(cw_percent(out, 2, cw_bytes_text("ab")));
	assert_non_null(cw_percent(out, 1, cw_bytes_text("")));
}

static void base64_goes_both_ways(void **state)
{
	static const char *const pairs[][2] = { { "", "" },         { "f", "Zg==" },         { "fo", "Zm8=" },
						{ "foo", "Zm9v" },  { "foob", "Zm9vYg==" },  { "fooba", "Zm9vYmE=" },
						{ "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Z", "Zg=", "Zm9v!mFy", "Z=g=", "Zm9v\nYg==", "====" };
	uint8_t bytes[16];
	char text[16];
	size_t i, n;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		n = cw_base64_encode(text, cw_bytes_text(pairs[i][0]));
		assert_int_equal(n, CW_BASE64_SIZE(strlen(pairs[i][0])));
		assert_memory_equal(text, pairs[i][1], n);
		assert_int_equal(cw_base64_decode(bytes, &n, cw_bytes_text(pairs[i][1])), 0);
		assert_int_equal(n, strlen(pairs[i][0]));
		assert_memory_equal(bytes, pairs[i][0], n);
	}
	assert_int_equal(cw_base64_decode(bytes, &n, cw_bytes_text("Zm8")), 0); /* without its padding */
	assert_int_equal(n, 2);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cw_base64_decode(bytes, &n, cw_bytes_text(bad[i])), CW_EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hexadecimal_is_lower_case_and_read_in_both),
		cmocka_unit_test(what_is_not_plain_is_percent_encoded),
		cmocka_unit_test(a_room_too_small_is_never_overrun),
		cmocka_unit_test(base64_goes_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
