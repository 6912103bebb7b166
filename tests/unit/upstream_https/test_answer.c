/* Answers over HTTPS: the documents' forms, and what a broken or hostile platform may say instead. covers: J10 J11 J15 J16 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "upstream/https/answer.h"

static struct https_answer read_ok(const char *text)
{
	struct https_answer a;

	assert_int_equal(https_answer_read(cw_bytes_of(text, strlen(text)), &a), 0);
	return a;
}

static void the_forms_of_the_documents(void **state)
{
	struct https_answer a = read_ok("{\"code\":0,\"message\":\"success\",\"info\":{\"token\":\"6944e5bfb92e4d4ea3918d1eda3942f6\"}}");

	assert_int_equal(a.code, HTTPS_CODE_OK);
	assert_string_equal(a.token, "6944e5bfb92e4d4ea3918d1eda3942f6");
	assert_string_equal(a.message, "success");
	assert_string_equal(a.message_id, "");
	https_answer_drop(&a);
	assert_string_equal(a.token, "");
	a = read_ok("{\"code\":0,\"message\":\"success\",\"info\":{\"messageId\":892687627916247040,\"data\":\"{\\\"code\\\":200}\"}}");
	assert_string_equal(a.message_id, "892687627916247040"); /* a double would end in 41 or the like */
	assert_int_equal(a.data.len, 12);
	assert_memory_equal(a.data.ptr, "{\"code\":200}", 12);
	https_answer_drop(&a);
	a = read_ok("{\"info\":{\"messageId\":18446744073709551615},\"code\":\"0\"}");
	assert_string_equal(a.message_id, "18446744073709551615");
	assert_int_equal(a.code, 0);
	https_answer_drop(&a);
	a = read_ok("{\"code\":20001}");
	assert_string_equal(a.message, "the token is expired");
	https_answer_drop(&a);
}

static void what_is_no_answer(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "null", "{}", "{\"code\":null}", "{\"code\":[0]}", "{\"code\":\"x\"}", "{\"code\":\"\"}",
					   "{\"code\":99999999999}", "{\"code\":0.5}", "<html>", "{\"code\":0,}" };
	struct https_answer a;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(https_answer_read(cw_bytes_of(bad[i], strlen(bad[i])), &a), CW_EPROTO);
}

/* The token becomes a header: nothing that would end it, or begin another. */
static void a_token_that_cannot_stand_in_a_header_is_none(void **state)
{
	static const char *const bad[] = { "{\"code\":0,\"info\":{\"token\":\"a\\r\\nb: c\"}}", "{\"code\":0,\"info\":{\"token\":\"a b\"}}",
					   "{\"code\":0,\"info\":{\"token\":\"a\\u0000b\"}}", "{\"code\":0,\"info\":{\"token\":[\"a\"]}}",
					   "{\"code\":0,\"info\":\"token\"}", "{\"code\":0,\"info\":null}", "{\"code\":0,\"info\":{}}" };
	char longest[HTTPS_TOKEN_MOST + 64];
	struct https_answer a;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		a = read_ok(bad[i]);
		assert_string_equal(a.token, "");
		https_answer_drop(&a);
	}
	(void)strcpy(longest, "{\"code\":0,\"info\":{\"token\":\"");
	i = strlen(longest);
	memset(longest + i, 'x', HTTPS_TOKEN_MOST);
	(void)strcpy(longest + i + HTTPS_TOKEN_MOST, "\"}}");
	a = read_ok(longest);
	assert_string_equal(a.token, "");
	https_answer_drop(&a);
	(void)strcpy(longest + i + HTTPS_TOKEN_MOST - 1, "\"}}");
	a = read_ok(longest);
	assert_int_equal(strlen(a.token), HTTPS_TOKEN_MOST - 1);
	https_answer_drop(&a);
}

static void no_memory_is_said(void **state)
{
	static const char text[] = "{\"code\":0,\"message\":\"success\",\"info\":{\"token\":\"t\"}}";
	long before = cw_mem_live();
	struct https_answer a;
	int n;

	for (n = 0;; n++) {
		int rc, failed;

		cw_mem_fail_at(n);
		rc = https_answer_read(cw_bytes_of(text, sizeof(text) - 1), &a);
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		if (rc == 0)
			https_answer_drop(&a);
		assert_int_equal(rc, failed ? CW_ENOMEM : 0);
		assert_int_equal(cw_mem_live(), before);
		if (!failed)
			break;
	}
	assert_true(n > 0);
}

static void codes_ask_for_different_things(void **state)
{
	assert_int_equal(https_auth_action(HTTPS_CODE_MANY), HTTPS_LATER);
	assert_int_equal(https_auth_action(HTTPS_CODE_COMMON), HTTPS_LATER);
	assert_int_equal(https_auth_action(HTTPS_CODE_AUTH), HTTPS_REFUSED);
	assert_int_equal(https_auth_action(HTTPS_CODE_SESSION), HTTPS_REFUSED);
	assert_int_equal(https_auth_action(4711), HTTPS_REFUSED);
	assert_int_equal(https_topic_action(HTTPS_CODE_TOKEN_OVER), HTTPS_RELOGIN);
	assert_int_equal(https_topic_action(HTTPS_CODE_TOKEN_NULL), HTTPS_RELOGIN);
	assert_int_equal(https_topic_action(HTTPS_CODE_TOKEN_WRONG), HTTPS_RELOGIN);
	assert_int_equal(https_topic_action(HTTPS_CODE_PUBLISH), HTTPS_AFEW);
	assert_int_equal(https_topic_action(HTTPS_CODE_PARAM), HTTPS_REFUSED);
	assert_int_equal(https_topic_action(4711), HTTPS_AFEW);
}

static void a_topic_becomes_a_path(void **state)
{
	char out[40];

	assert_int_equal(https_encode_path("/sys/a1/dev-1@x:y/thing", out, sizeof(out)), 0);
	assert_string_equal(out, "/sys/a1/dev-1@x:y/thing");
	assert_int_equal(https_encode_path("/a%b?c#d e\xc3\xa9\x7f", out, sizeof(out)), 0);
	assert_string_equal(out, "/a%25b%3Fc%23d%20e%C3%A9%7F");
	assert_int_equal(https_encode_path("", out, sizeof(out)), 0);
	assert_string_equal(out, "");
	assert_int_equal(https_encode_path("/0123456789012345678901234567890123456789", out, sizeof(out)), CW_ELIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_forms_of_the_documents), cmocka_unit_test(what_is_no_answer),
		cmocka_unit_test(a_token_that_cannot_stand_in_a_header_is_none), cmocka_unit_test(no_memory_is_said),
		cmocka_unit_test(codes_ask_for_different_things), cmocka_unit_test(a_topic_becomes_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
