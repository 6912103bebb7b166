/*
 * cmocka.c - as much of cmocka as the 32-bit tests call, for machines that have the
 * library in one width only. The first failure ends the program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	exit(1);
}

void _assert_true(const LargestIntegralType result, const char *const expression, const char *const file, const int line)
{
	if (!result)
		failed(expression, file, line);
}

void _assert_int_equal(const LargestIntegralType a, const LargestIntegralType b, const char *const file, const int line)
{
	if (a == b)
		return;
	fprintf(stderr, "%#llx != %#llx\n", (unsigned long long)a, (unsigned long long)b);
	failed("integers differ", file, line);
}

void _assert_int_not_equal(const LargestIntegralType a, const LargestIntegralType b, const char *const file, const int line)
{
	if (a == b)
		failed("integers are the same", file, line);
}

void _assert_in_range(const LargestIntegralType value, const LargestIntegralType minimum, const LargestIntegralType maximum,
                      const char *const file, const int line)
{
	if (value >= minimum && value <= maximum)
		return;
	fprintf(stderr, "%llu is not within %llu to %llu\n", (unsigned long long)value, (unsigned long long)minimum, (unsigned long long)maximum);
	failed("out of range", file, line);
}

void _assert_string_equal(const char *const a, const char *const b, const char *const file, const int line)
{
	if (strcmp(a, b) == 0)
		return;
	fprintf(stderr, "\"%s\" != \"%s\"\n", a, b);
	failed("texts differ", file, line);
}

void _assert_memory_equal(const void *const a, const void *const b, const size_t size, const char *const file, const int line)
{
	if (memcmp(a, b, size) != 0)
		failed("bytes differ", file, line);
}

void _fail(const char *const file, const int line)
{
	failed("failed", file, line);
}

void print_error(const char *const format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
}

int _cmocka_run_group_tests(const char *group_name, const struct CMUnitTest *const tests, const size_t num_tests,
                            CMFixtureFunction group_setup, CMFixtureFunction group_teardown)
{
	void *group = NULL;
	size_t i;

	if (group_setup != NULL && group_setup(&group) != 0)
		failed("the group's setup failed", group_name, 0);
	for (i = 0; i < num_tests; i++) {
		void *state = tests[i].initial_state != NULL ? tests[i].initial_state : group;

		if (tests[i].setup_func != NULL && tests[i].setup_func(&state) != 0)
			failed("setup failed", tests[i].name, 0);
		tests[i].test_func(&state);
		if (tests[i].teardown_func != NULL && tests[i].teardown_func(&state) != 0)
			failed("teardown failed", tests[i].name, 0);
		printf("ok %s\n", tests[i].name);
	}
	if (group_teardown != NULL && group_teardown(&group) != 0)
		failed("the group's teardown failed", group_name, 0);
	return 0;
}
