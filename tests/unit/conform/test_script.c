/* Wire scripts: what is read, patterns with holes, JSON that is a part of what was said, short memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/host.h"
#include "conform/script.h"
#include "json/json.h"

static struct cw_wire_script script;
static struct cw_msg msg;

static int check_leaks(void **state)
{
	(void)state;
	return cw_mem_live() == 0 ? 0 : -1;
}

static const struct cw_wire_step *read_one(const char *line)
{
	assert_int_equal(cw_wire_parse("one.wire", line, &script, &msg), 0);
	assert_int_equal(script.n, 1);
	return &script.v[0];
}

static void assert_matches(const char *pattern, const char *got, int yes)
{
	const struct cw_wire_step *s = read_one(pattern);

	assert_int_equal(cw_wire_matches(s, cw_bytes_text(got)), yes);
	cw_wire_free(&script);
}

static void assert_within(const char *want, const char *got, int yes)
{
	uint8_t *a, *b;
	size_t na, nb;

	assert_int_equal(cw_json_to_item(cw_bytes_text(want), &a, &na), 0);
	assert_int_equal(cw_json_to_item(cw_bytes_text(got), &b, &nb), 0);
	assert_int_equal(cw_wire_within(cw_bytes_of(a, na), cw_bytes_of(b, nb)), yes);
	cw_free(a);
	cw_free(b);
}

static void a_script_is_read_line_by_line(void **state)
{
	static const char text[] =
		"# comment\r\n\n  > 0aFf \"a\\x00\\n\" # behind\nsettings { a = 1 }\nsettings { b = 2 }\nbound dev\n"
		"transport serial\nidentify * later\nrecord @m event Leak {\"a\": 1}\nwait 2m\nframe one 01\n";

	(void)state;
	assert_int_equal(cw_wire_parse("x.wire", text, &script, &msg), 0);
	assert_int_equal(script.n, 5);
	assert_int_equal(script.strict, 1);
	assert_string_equal(script.settings, " a = 1 \n b = 2 \n");
	assert_string_equal(script.bound, "dev");
	assert_int_equal(script.flags, CW_EVF_SERIAL | CW_EVF_DIALLED);
	assert_int_equal(script.v[0].kind, CW_WIRE_DATA);
	assert_int_equal(script.v[0].line, 3);
	assert_int_equal(script.v[0].len, 5);
	assert_memory_equal(script.v[0].ptr,
			    "\x0a\xff"
			    "a\0\n",
			    5);
	assert_int_equal(script.v[1].number, CW_REFUSED_LATER);
	assert_string_equal(script.v[2].who, "m");
	assert_string_equal(script.v[2].name, "Leak");
	assert_int_equal(script.v[3].ms, 120000);
	assert_int_equal(script.v[4].sample, 'f');
	cw_wire_free(&script);
}

static void a_file_of_frames_has_letters_and_is_not_strict(void **state)
{
	(void)state;
	assert_int_equal(cw_wire_parse("x.txt", "o {\"a\": 1}\nf one 01\ns step 0203\nc 35 - {}\nc 45 topic {}\n",
				       &script, &msg),
			 0);
	assert_int_equal(script.strict, 0);
	assert_int_equal(script.n, 4);
	assert_int_equal(script.v[1].kind, CW_WIRE_DATA);
	assert_int_equal(script.v[2].number, CW_KIND_SERVICE);
	assert_null(script.v[2].name);
	cw_wire_free(&script);
}

static void patterns_have_holes(void **state)
{
	(void)state;
	assert_matches("< \"abc\"", "abc", 1);
	assert_matches("< \"abc\"", "abcd", 0);
	assert_matches("< \"abcd\"", "abc", 0);
	assert_matches("< 61 ?? 63", "axc", 1);
	assert_matches("< 6? ?3", "os", 1);
	assert_matches("< 6? ?3", "ps", 0);
	assert_matches("< *", "", 1);
	assert_matches("< \"a\" * \"c\"", "abbbcbc", 1);
	assert_matches("< \"a\" * \"c\"", "abbb", 0);
	assert_matches("< * \"ab\" * \"ab\" *", "xabxab", 1);
	assert_matches("< * \"ab\" * \"ab\" *", "xabx", 0);
}

static void json_is_a_part_of_what_was_said(void **state)
{
	(void)state;
	assert_within("{}", "{\"a\":1}", 1);
	assert_within("{\"a\":1}", "{\"b\":2,\"a\":1}", 1);
	assert_within("{\"a\":1}", "{\"b\":2}", 0);
	assert_within("{\"a\":12.3}", "{\"a\":12.30}", 1);
	assert_within("{\"a\":8.000}", "{\"a\":8}", 1);
	assert_within("{\"a\":8.001}", "{\"a\":8.002}", 0);
	assert_within("18446744073709551615", "18446744073709551615", 1);
	assert_within("18446744073709551615", "18446744073709551614", 0);
	assert_within("[1,{\"a\":2}]", "[1,{\"a\":2,\"b\":3}]", 1);
	assert_within("[1]", "[1,2]", 0);
	assert_within("[1,2]", "[1]", 0);
	assert_within("{\"a\":\"*\"}", "{\"a\":{\"b\":null}}", 1);
	assert_within("{\"a\":\"*\"}", "{}", 0);
	assert_within("true", "false", 0);
	assert_within("null", "0", 0);
	assert_within("\"1\"", "1", 0);
}

static void text_of_hex_stands_for_bytes(void **state)
{
	static const uint8_t bytes[] = { 0x42, 0xab, 0xcd };
	static const uint8_t same[] = { 0x64, 'A', 'b', 'c', 'D' }, shorter[] = { 0x62, 'a', 'b' },
			     other[] = { 0x64, 'a', 'b', 'c', 'e' };

	(void)state;
	assert_int_equal(cw_wire_within(cw_bytes_of(same, sizeof(same)), cw_bytes_of(bytes, sizeof(bytes))), 1);
	assert_int_equal(cw_wire_within(cw_bytes_of(shorter, sizeof(shorter)), cw_bytes_of(bytes, sizeof(bytes))), 0);
	assert_int_equal(cw_wire_within(cw_bytes_of(other, sizeof(other)), cw_bytes_of(bytes, sizeof(bytes))), 0);
}

static void short_memory_is_survived(void **state)
{
	long n;
	int rc;

	(void)state;
	for (n = 0;; n++) {
		cw_mem_fail_at(n);
		rc = cw_wire_parse("x.wire",
				   "settings { a = 1 }\n> 00\nidentify a members b c\nrecord event Leak {\"a\": [1, "
				   "2.5]}\nclose\n",
				   &script, &msg);
		if (rc == 0)
			break;
		assert_int_equal(rc, CW_ENOMEM);
		assert_string_equal(msg.text, "out of memory");
	}
	cw_mem_fail_at(-1);
	assert_true(n > 8);
	cw_wire_free(&script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_script_is_read_line_by_line, check_leaks),
		cmocka_unit_test_teardown(a_file_of_frames_has_letters_and_is_not_strict, check_leaks),
		cmocka_unit_test_teardown(patterns_have_holes, check_leaks),
		cmocka_unit_test_teardown(json_is_a_part_of_what_was_said, check_leaks),
		cmocka_unit_test_teardown(text_of_hex_stands_for_bytes, check_leaks),
		cmocka_unit_test_teardown(short_memory_is_survived, check_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
