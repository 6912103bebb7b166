/* Texts and numbers to integers, durations, sizes, periods, lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_help.h"

#define NONE INT64_MIN

struct number_case {
	const char *text;
	int64_t want; /* NONE: refused */
};

static void durations_have_units_and_fractions(void **state)
{
	static const struct number_case cases[] = {
		{ "250", 250000000 },      { "10s", 10000000000 },    { " 10 s ", 10000000000 }, { "1.5s", 1500000000 },
		{ "10ms", 10000000 },      { "10 milliseconds", 10000000 }, { "10 milli", 10000000 }, { "3us", 3000 },
		{ "3 micros", 3000 },      { "4ns", 4 },              { "4 nanosecond", 4 },     { "5m", 300000000000 },
		{ "5 minute", 300000000000 }, { "6h", 21600000000000 }, { "7 days", 604800000000000 }, { "1 day", 86400000000000 },
		{ "-5s", -5000000000 },    { "0.5ms", 500000 },       { "1e2 ms", 100000000 },   { "9999999999d", INT64_MAX },
		{ "10 S", NONE },          { "10 sec", NONE },        { "s", NONE },             { "", NONE },
		{ "10 weeks", NONE },      { "x s", NONE },           { "99999999999999999999", NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ns = NONE;
		int rc = cw_text_to_duration_ns(cases[i].text, &ns, NULL);

		if (ns != cases[i].want || (rc == 0) != (cases[i].want != NONE))
			fail_msg("%s: %d, %lld", cases[i].text, rc, (long long)ns);
	}
}

static void sizes_are_exact_in_both_powers(void **state)
{
	static const struct number_case cases[] = {
		{ "512", 512 },         { "512b", 512 },         { "512 bytes", 512 },   { "1K", 1024 },          { "1k", 1024 },
		{ "1Ki", 1024 },        { "1KiB", 1024 },        { "1kB", 1000 },        { "1 kilobyte", 1000 },  { "1kibibyte", 1024 },
		{ "2M", 2097152 },      { "2MB", 2000000 },      { "3GiB", 3221225472 }, { "4TB", 4000000000000 }, { "5PiB", 5629499534213120 },
		{ "7E", 8070450532247928832 }, { "1.5K", 1536 }, { "0.1kB", 100 },       { "1.999 kB", 1999 },    { "0.000001Z", 1180591620717411 },
		{ "1.5", 1 },           { "1e3K", 1024000 },     { "9223372036854775807b", INT64_MAX },
		{ "8E", NONE },         { "1Z", NONE },          { "1KB", NONE },        { "10MIB", NONE },       { "-1", NONE },
		{ "-1K", NONE },        { "1 e", 1152921504606846976 }, { "K", NONE },   { "", NONE },            { "9223372036854775808b", NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = (uint64_t)NONE;
		int rc = cw_text_to_bytes(cases[i].text, &bytes, NULL);

		if (bytes != (uint64_t)cases[i].want || (rc == 0) != (cases[i].want != NONE))
			fail_msg("%s: %d, %llu", cases[i].text, rc, (unsigned long long)bytes);
	}
}

static void integers_are_cut_and_kept_in_range(void **state)
{
	static const struct number_case cases[] = {
		{ "12", 12 },   { "+5", 5 },   { "-3.7", -3 },  { "1e3", 1000 }, { "9223372036854775807", INT64_MAX },
		{ "1e30", INT64_MAX }, { " 12 ", 12 }, { "NaN", 0 }, { "12d", 12 }, { "0x10p0", 16 },
		{ "0x10", NONE }, { "1_000", NONE }, { "", NONE }, { "x", NONE },
	};
	static const char text[] = "a=2147483648\nb=true\nc=\"on\"\nd=null";
	struct cw_conf_tree *tree = NULL;
	const struct cw_value *v;
	int64_t n;
	int32_t small;
	bool b = false;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		n = NONE;
		if ((cw_text_to_int64(cases[i].text, &n, NULL) == 0) != (cases[i].want != NONE) || n != cases[i].want)
			fail_msg("%s: %lld", cases[i].text, (long long)n);
	}
	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), NULL, &tree, NULL), 0);
	v = cw_value_get(cw_conf_root(tree), "a");
	assert_int_equal(cw_value_to_int32(v, &small, NULL), CW_ECONF);
	assert_int_equal(cw_value_to_int64(v, &n, NULL), 0);
	assert_int_equal(n, 2147483648);
	assert_int_equal(cw_value_to_int64(cw_value_get(cw_conf_root(tree), "b"), &n, NULL), CW_ECONF);
	assert_int_equal(cw_value_to_bool(cw_value_get(cw_conf_root(tree), "b"), &b, NULL), 0);
	assert_true(b);
	b = false;
	assert_int_equal(cw_value_to_bool(cw_value_get(cw_conf_root(tree), "c"), &b, NULL), 0);
	assert_true(b);
	assert_int_equal(cw_value_to_bool(v, &b, NULL), CW_ECONF);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "d", &v, NULL), CW_ENOENT);
	cw_conf_tree_unref(tree);
}

static void periods_are_calendar_time(void **state)
{
	struct cw_period p;

	(void)state;
	assert_int_equal(cw_text_to_period("3", &p, NULL), 0);
	assert_int_equal(p.days, 3);
	assert_int_equal(cw_text_to_period("2 weeks", &p, NULL), 0);
	assert_int_equal(p.days, 14);
	assert_int_equal(cw_text_to_period("5mo", &p, NULL), 0);
	assert_int_equal(p.months, 5);
	assert_int_equal(cw_text_to_period("1 year", &p, NULL), 0);
	assert_int_equal(p.years, 1);
	assert_int_equal(cw_text_to_period("1.5d", &p, NULL), CW_EINVAL);
	assert_int_equal(cw_text_to_period("1 h", &p, NULL), CW_EINVAL);
}

static void objects_with_numbers_for_keys_are_lists(void **state)
{
	static const char text[] = "a { 2 : c, 0 : a, x : q, 10 : d }\nb { x : 1 }";
	const struct cw_value *const *items;
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };
	size_t count;

	(void)state;
	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), NULL, &tree, NULL), 0);
	assert_int_equal(cw_value_to_list(cw_value_get(cw_conf_root(tree), "a"), &items, &count, NULL), 0);
	assert_int_equal(count, 3);
	assert_string_equal(cw_value_text(items[0], NULL), "a");
	assert_string_equal(cw_value_text(items[1], NULL), "c");
	assert_string_equal(cw_value_text(items[2], NULL), "d");
	cw_value_list_free(items);
	assert_int_equal(cw_value_to_list(cw_value_get(cw_conf_root(tree), "b"), &items, &count, &msg), CW_ECONF);
	assert_string_equal(msg.text, "t:2:3: found an object, accepted is a list");
	cw_conf_tree_unref(tree);
	assert_int_equal(cw_mem_live(), 0);
}

static void paths_find_values_with_and_without_quotes(void **state)
{
	static const char text[] = "a.b=1\n\"c.d\".e=2\n10.0=x";
	struct cw_conf_tree *tree = NULL;
	const struct cw_value *v = NULL;
	struct cw_msg msg = { "" };

	(void)state;
	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), NULL, &tree, NULL), 0);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "a.b", &v, NULL), 0);
	assert_int_equal(cw_value_find(cw_conf_root(tree), " \"a\".\"b\"", &v, NULL), 0);
	assert_string_equal(cw_value_text(v, NULL), "1");
	assert_int_equal(cw_value_find(cw_conf_root(tree), "\"c.d\".e", &v, NULL), 0);
	assert_string_equal(cw_value_text(v, NULL), "2");
	assert_int_equal(cw_value_find(cw_conf_root(tree), "10.0", &v, NULL), 0);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "a..b", &v, &msg), CW_EINVAL);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "", &v, &msg), CW_EINVAL);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "a.c", &v, &msg), CW_ENOENT);
	assert_string_equal(msg.text, "no setting at a.c: at \"c\" it is not set");
	assert_int_equal(cw_value_find(cw_conf_root(tree), "a.b.c", &v, &msg), CW_ENOENT);
	cw_conf_tree_unref(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_have_units_and_fractions),
		cmocka_unit_test(sizes_are_exact_in_both_powers),
		cmocka_unit_test(integers_are_cut_and_kept_in_range),
		cmocka_unit_test(periods_are_calendar_time),
		cmocka_unit_test(objects_with_numbers_for_keys_are_lists),
		cmocka_unit_test(paths_find_values_with_and_without_quotes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
