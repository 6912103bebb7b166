/* The one reader of comma-separated files: what is a field, which line it stands in, what is refused and where it goes on. covers: B25 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"

static struct cw_csv csv;
static struct cw_csv_row row;

static void begin(const char *text)
{
	cw_csv_begin(&csv, cw_bytes_text(text));
}

/* The next row, its fields with | between. */
static const char *next(void)
{
	static char text[CW_CSV_ROW + CW_CSV_FIELDS];
	size_t i;

	assert_int_equal(cw_csv_next(&csv, &row), 1);
	if (row.problem != NULL)
		return row.problem;
	text[0] = '\0';
	for (i = 0; i < row.count; i++) {
		(void)strcat(text, i > 0 ? "|" : "");
		(void)strcat(text, row.field[i]);
	}
	return text;
}

static void a_row_is_read_as_written(void **state)
{
	begin("\xef\xbb\xbf" "a, \"b\"\"c,d\" ,\t e f ,\r\n \t\r\n,x\n\" kept \"\nfirst \"quoted\" word,\"\"\nlast");
	assert_string_equal(next(), "a|b\"c,d|e f|");
	assert_string_equal(next(), "|x");
	assert_int_equal(row.line, 3);
	assert_string_equal(next(), " kept ");
	assert_string_equal(next(), "first \"quoted\" word|");
	assert_int_equal(row.count, 2);
	assert_string_equal(next(), "last");
	assert_int_equal(row.line, 6);
	assert_int_equal(cw_csv_next(&csv, &row), 0);
	begin("");
	assert_int_equal(cw_csv_next(&csv, &row), 0);
	begin("\xef\xbb\xbf\r\n\r\n");
	assert_int_equal(cw_csv_next(&csv, &row), 0);
	cw_csv_begin(&csv, cw_bytes_of(NULL, 0));
	assert_int_equal(cw_csv_next(&csv, &row), 0);
}

static void a_quoted_field_may_hold_lines(void **state)
{
	begin("a,\"one\r\ntwo\n\",b\nc\n\"\n\n\"\nd");
	assert_string_equal(next(), "a|one\r\ntwo\n|b");
	assert_int_equal(row.line, 1);
	assert_string_equal(next(), "c");
	assert_int_equal(row.line, 4);
	assert_string_equal(next(), "\n\n");
	assert_int_equal(row.line, 5);
	assert_string_equal(next(), "d");
	assert_int_equal(row.line, 8);
}

static void what_is_no_row_is_told_and_the_next_one_is_read(void **state)
{
	static const char text[] = "x,\"open\n\"a\"b,c\nl,m\0n\nlast,\"open";

	cw_csv_begin(&csv, cw_bytes_of(text, sizeof(text) - 1));
	assert_non_null(strstr(next(), "quoted field does not end where"));
	assert_int_equal(row.line, 1);
	assert_int_equal(row.column, 2);
	assert_non_null(strstr(next(), "quoted field does not end where"));
	assert_int_equal(row.line, 2);
	assert_int_equal(row.column, 1);
	assert_non_null(strstr(next(), "NUL"));
	assert_int_equal(row.line, 3);
	assert_int_equal(row.column, 2);
	assert_non_null(strstr(next(), "closing quote is missing"));
	assert_int_equal(row.line, 4);
	assert_int_equal(cw_csv_next(&csv, &row), 0);
}

/* `count` times `unit` behind `text`. */
static char *repeat(const char *text, const char *unit, size_t count, const char *end)
{
	char *all = malloc(strlen(text) + strlen(unit) * count + strlen(end) + 1), *at = all + sprintf(all, "%s", text);

	for (; count > 0; count--)
		at += sprintf(at, "%s", unit);
	(void)sprintf(at, "%s", end);
	return all;
}

static void what_is_too_long_is_refused_and_passed_over(void **state)
{
	static const struct {
		const char *text, *unit;
		size_t count, column;
		const char *end, *problem;
	} cases[] = {
		{ "", "0123456789abcdef", 1024, 0, "\nlast", NULL }, /* exactly 16 KiB */
		{ "", "0123456789abcdef", 1024, 1, "x\nlast", "longer than 16 KiB" },
		{ "a,", "0123456789abcdef", 1024, 2, ",c\nlast", "longer than 16 KiB" },
		{ "\"", "0123456789abcdef", 1024, 1, "x\"\nlast", "longer than 16 KiB" },
		{ "a", ",\"\"", 63, 0, "\nlast", NULL },
		{ "a", ",", 64, 64, "\nlast", "more than 64 fields" },
		{ "a", ",bc", 20000, 64, ",\"d\ne\"\nlast", "more than 64 fields" },
		{ "a,", "b\"", 8192, 2, ",c,\"d\"\"e\",f\nlast", "longer than 16 KiB" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = repeat(cases[i].text, cases[i].unit, cases[i].count, cases[i].end);

		begin(text);
		assert_int_equal(cw_csv_next(&csv, &row), 1);
		assert_int_equal(row.problem == NULL, cases[i].problem == NULL);
		assert_true(row.problem == NULL || strstr(row.problem, cases[i].problem) != NULL);
		assert_int_equal(row.column, cases[i].column);
		assert_string_equal(next(), "last");
		assert_int_equal(cw_csv_next(&csv, &row), 0);
		free(text);
	}
}

static void what_is_written_is_read(void **state)
{
	static const char *const rows[][3] = { { "a", "b", "c" }, { "", "", "" }, { " a", "b\t", "c,d" }, { "a\"b", "\"", "\n\r\n" } };
	static const char *const empty[] = { "" };
	char *text = NULL;
	size_t len = 0, i, k;
	FILE *f = open_memstream(&text, &len);

	assert_int_equal(cw_csv_write(f, empty, 1), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(cw_csv_write(f, rows[i], 3), 0);
	(void)fclose(f);
	assert_memory_equal(text, "\"\"\r\na,b,c\r\n,,\r\n\" a\"", 19);
	begin(text);
	assert_string_equal(next(), "");
	for (i = 0; i < 4; i++) {
		assert_int_equal(cw_csv_next(&csv, &row), 1);
		assert_int_equal(row.count, 3);
		for (k = 0; k < 3; k++)
			assert_string_equal(row.field[k], rows[i][k]);
	}
	free(text);
	f = fopen("/dev/full", "w");
	assert_non_null(f);
	setbuf(f, NULL);
	assert_true(cw_csv_write(f, rows[0], 3) < 0);
	(void)fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_is_read_as_written),
		cmocka_unit_test(a_quoted_field_may_hold_lines),
		cmocka_unit_test(what_is_no_row_is_told_and_the_next_one_is_read),
		cmocka_unit_test(what_is_too_long_is_refused_and_passed_over),
		cmocka_unit_test(what_is_written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
