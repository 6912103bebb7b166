/* The management API's signatures: every vector, and the wrong ways to make one do not give the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "causeway/record.h"
#include "platform/names.h"
#include "platform/pop.h"
#include "platform/sign.h"
#include "vectors.h"

static int load(void **state)
{
	return vectors_read("tests/vectors/platform-openapi.json");
}

static char *text_of(struct cw_bytes t)
{
	char *s = strndup((const char *)t.ptr, t.len);

	assert_non_null(s);
	return s;
}

static void check(struct cw_bytes v)
{
	struct cw_pop_param params[CW_POP_PARAMS_MOST];
	struct cw_bytes map = cw_map_get(v, "params");
	char *secret = text_of(cw_map_text(v, "access_key_secret")), *method = text_of(cw_map_text(v, "method"));
	char *expected = text_of(cw_map_text(v, "signature")), signature[32], *form, encoded[100];
	struct cw_reader r = cw_reader_of(map);
	struct cw_item it = cw_read_item(&r);
	size_t n = 0, len, i;

	while (cw_item_more(&r, &it)) {
		struct cw_item key = cw_read_item(&r), value;

		assert_true(cw_item_more(&r, &it));
		value = cw_read_item(&r);
		params[n].name = text_of(key.s);
		params[n++].value = text_of(value.s);
	}
	assert_int_equal(cw_pop_sign(method, params, n, secret, signature), 0);
	assert_string_equal(signature, expected);
	if (strcmp(method, "POST") == 0) {
		assert_int_equal(cw_pop_form(params, n, secret, &form, &len), 0);
		assert_int_equal(strlen(form), len);
		(void)snprintf(encoded, sizeof(encoded), "&Signature=%.8s", expected);
		assert_true(strpbrk(encoded + 11, "+/=") != NULL || strstr(form, encoded) != NULL);
		assert_null(strstr(form, secret));
		assert_null(strchr(form, ' '));
		cw_free(form);
	}
	for (i = 0; i < n; i++) {
		free((char *)(uintptr_t)params[i].name);
		free((char *)(uintptr_t)params[i].value);
	}
	free(secret);
	free(method);
	free(expected);
}

static void test_vectors(void **state)
{
	struct cw_bytes all = cw_map_get(cw_bytes_of(vectors, vectors_len), "vectors");
	struct cw_reader r = cw_reader_of(all);
	struct cw_item it = cw_read_item(&r);
	int n = 0;

	while (cw_item_more(&r, &it)) {
		check(cw_read_whole_item(&r));
		n++;
	}
	assert_true(n >= 8);
}

static void test_bounds(void **state)
{
	struct cw_pop_param params[CW_POP_PARAMS_MOST + 1] = { { "a", "b" } };
	char signature[32];

	assert_int_equal(cw_pop_sign("GET", params, CW_POP_PARAMS_MOST + 1, "s", signature), CW_ELIMIT);
	cw_mem_fail_at(0);
	assert_int_equal(cw_pop_sign("GET", params, 1, "s", signature), CW_ENOMEM);
	cw_mem_fail_at(1);
	assert_int_equal(cw_pop_sign("GET", params, 1, "s", signature), CW_ENOMEM);
	cw_mem_fail_at(-1);
}

/* covers: A08 D10 */
static void test_names(void **state)
{
	struct cw_msg m = { "" };
	int odd;

	assert_int_equal(cw_check_product_key("a1B2c3D4e5F", &m), 0);
	assert_true(cw_check_product_key("a1B2c3D4e5", &m) < 0);
	assert_non_null(strstr(m.text, "10 characters; expected are 11"));
	assert_true(cw_check_product_key("a1B2c3D4e5-", &m) < 0);
	assert_true(cw_check_product_key(NULL, &m) < 0);
	assert_int_equal(cw_check_device_name("Dev-_@.:01", &m), 0);
	assert_true(cw_check_device_name("abc", &m) < 0);
	assert_int_equal(cw_check_device_name("abcd", &m), 0);
	assert_int_equal(cw_check_device_name("12345678901234567890123456789012", &m), 0);
	assert_true(cw_check_device_name("123456789012345678901234567890123", &m) < 0);
	assert_true(cw_check_device_name("with/slash", &m) < 0);
	assert_int_equal(cw_check_product_secret("0123456789abcdef", &odd, &m), 0);
	assert_int_equal(odd, 0);
	assert_int_equal(cw_check_product_secret("0123456789abcdefg", &odd, &m), 0);
	assert_int_equal(odd, 1);
	assert_true(cw_check_product_secret("0123456789abcde", &odd, &m) < 0);
	assert_null(strstr(m.text, "0123456789abcde"));
	assert_true(cw_check_device_secret("", &m) < 0);
	assert_true(cw_check_device_secret("has blank", &m) < 0);
}

/* covers: H30 H31 H32 */
static void test_register(void **state)
{
	struct cw_sign_connect c;

	assert_int_equal(cw_sign_connect_register(&c, CW_SIGN_SHA1, "mac01", "a123456789", "device1", "h1nQFYPZ50mWabcd", "123", 0, NULL), 0);
	assert_string_equal(c.client_id, "mac01|securemode=2,authType=register,random=123,signmethod=hmacsha1|");
	assert_string_equal(c.user, "device1&a123456789");
	assert_string_equal(c.password, "f2f88edb8447413a3354fac1a836bbc81838d963");
	assert_int_equal(cw_sign_connect_register(&c, CW_SIGN_SHA256, "b", "pk", "dn", "ps", "r", 1, "iot-1"), 0);
	assert_string_equal(c.client_id, "b|securemode=-2,authType=regnwl,random=r,signmethod=hmacsha256,instanceId=iot-1|");
	assert_int_equal(cw_sign_connect_register(&c, CW_SIGN_SHA256, "b|x", "pk", "dn", "ps", "r", 1, NULL), CW_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors), cmocka_unit_test(test_bounds), cmocka_unit_test(test_names), cmocka_unit_test(test_register),
	};

	return cmocka_run_group_tests(tests, load, vectors_free);
}
