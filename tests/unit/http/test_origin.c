/* Which requests a page of somebody else made: Origin and Host as browsers write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/origin.h"

static void test_origin(void **state)
{
	assert_int_equal(cw_http_origin_foreign(NULL, "127.0.0.1:8090"), 0);
	assert_int_equal(cw_http_origin_foreign(NULL, NULL), 0);
	assert_int_equal(cw_http_origin_foreign("http://127.0.0.1:8090", "127.0.0.1:8090"), 0);
	assert_int_equal(cw_http_origin_foreign("http://LOCALHOST:8090", "localhost:8090"), 0);
	assert_int_equal(cw_http_origin_foreign("https://cloud.test", "cloud.test"), 0);
	assert_int_equal(cw_http_origin_foreign("http://evil.test", "127.0.0.1:8090"), 1);
	assert_int_equal(cw_http_origin_foreign("http://127.0.0.1:3000", "127.0.0.1:8090"), 1);
	assert_int_equal(cw_http_origin_foreign("http://127.0.0.1:8090", NULL), 1);
	assert_int_equal(cw_http_origin_foreign("null", "127.0.0.1:8090"), 1);
	assert_int_equal(cw_http_origin_foreign("", "127.0.0.1:8090"), 1);
}

static void test_host(void **state)
{
	static const char *const ours[] = { "127.0.0.1:8090", "127.0.0.1", "localhost", "LocalHost:1", "a.localhost:80",
					    "[::1]:8090", "[::1]", "192.0.2.7:80" };
	static const char *const foreign[] = { "evil.test:8090", "evil.test", "127.0.0.1.evil.test", "localhost.evil.test",
					       "evillocalhost", "", ":8090", "[::1", "[]", "[evil.test]:1", "::1",
					       "1111111111111111111111111111111111111111111111111111111111111111" };
	size_t i;

	assert_int_equal(cw_http_host_foreign(NULL), 0);
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		assert_int_equal(cw_http_host_foreign(ours[i]), 0);
	for (i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		assert_int_equal(cw_http_host_foreign(foreign[i]), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origin),
		cmocka_unit_test(test_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
