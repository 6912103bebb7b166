/* Tokens that clients send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/secret.h"

static void test_bearer(void **state)
{
	assert_null(cw_http_bearer(NULL));
	assert_null(cw_http_bearer(""));
	assert_null(cw_http_bearer("Bearer"));
	assert_null(cw_http_bearer("Basic eDp5"));
	assert_string_equal(cw_http_bearer("BEARER x"), "x");
	assert_string_equal(cw_http_bearer("Bearer   x"), "x");
	assert_string_equal(cw_http_bearer("Bearer "), "");
}

static void test_same(void **state)
{
	assert_int_equal(cw_http_secret_same("abc", "abc"), 1);
	assert_int_equal(cw_http_secret_same("abd", "abc"), 0);
	assert_int_equal(cw_http_secret_same("abcabc", "abc"), 0);
	assert_int_equal(cw_http_secret_same("ab", "abc"), 0);
	assert_int_equal(cw_http_secret_same("", "abc"), 0);
	assert_int_equal(cw_http_secret_same("", ""), 0);
	assert_int_equal(cw_http_secret_same("abc", ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bearer), cmocka_unit_test(test_same) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
