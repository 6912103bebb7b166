/* Client identifiers and signatures against the golden vectors. Runs in the top folder of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "causeway/error.h"
#include "cloud/core/login/client_id.h"
#include "cloud/core/login/sign.h"

static json_t *vectors;

static int load(void **state)
{
	vectors = json_load_file("tests/vectors/platform-mqtt.json", 0, NULL);
	return vectors != NULL ? 0 : -1;
}

static int unload(void **state)
{
	json_decref(vectors);
	return 0;
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void identifiers_come_apart_as_the_vectors_say(void **state)
{
	json_t *v, *want;
	const char *key;
	size_t i;

	assert_true(json_array_size(json_object_get(vectors, "client_id_parse")) >= 8);
	json_array_foreach(json_object_get(vectors, "client_id_parse"), i, v) {
		struct cloud_client_id id;
		json_t *params = json_object_get(v, "params");

		assert_int_equal(cw_cloud_client_id_parse(text(v, "raw"), strlen(text(v, "raw")), &id), 0);
		assert_true(cw_cloud_text_is(&id.base, text(v, "base")));
		assert_int_equal(id.count, json_object_size(params));
		json_object_foreach(params, key, want)
			assert_true(cw_cloud_text_is(cw_cloud_client_id_get(&id, key), json_string_value(want)));
	}
}

static void blanks_around_keys_are_no_part_of_them(void **state)
{
	static const char raw[] = "id|securemode=3,\n        signmethod=hmacsha1,\n        timestamp=789|";
	struct cloud_client_id id;

	assert_int_equal(cw_cloud_client_id_parse(raw, strlen(raw), &id), 0);
	assert_true(cw_cloud_text_is(cw_cloud_client_id_get(&id, "signmethod"), "hmacsha1"));
	assert_true(cw_cloud_text_is(cw_cloud_client_id_get(&id, "timestamp"), "789"));
}

static void malformed_identifiers_are_refused(void **state)
{
	static const char *const bad[] = { "id|", "id|securemode=3", "id|securemode|", "id|=3|", "id|a=1,a=2|", "id|a=1|tail" };
	struct cloud_client_id id;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (cw_cloud_client_id_parse(bad[i], strlen(bad[i]), &id) != CW_EPROTO)
			fail_msg("%s", bad[i]);
	}
}

static void without_a_bar_all_is_base(void **state)
{
	struct cloud_client_id id;

	assert_int_equal(cw_cloud_client_id_parse("plain", 5, &id), 0);
	assert_false(id.has_tail);
	assert_true(cw_cloud_text_is(&id.base, "plain"));
	assert_null(cw_cloud_client_id_get(&id, "securemode"));
}

static void check(const json_t *v, const char *method_name, const char *secret)
{
	const char *content = text(v, "content"), *hex = text(v, "hex");
	enum cloud_hmac method;
	char got[65], upper[65];
	size_t n, i;

	assert_int_equal(cw_cloud_hmac_parse(method_name, strlen(method_name), &method), 0);
	n = cw_cloud_hmac_hex(method, secret, content, strlen(content), got);
	assert_string_equal(got, hex);
	for (i = 0; i <= n; i++)
		upper[i] = got[i] >= 'a' ? (char)(got[i] - 32) : got[i];
	assert_true(cw_cloud_hmac_matches(method, secret, content, strlen(content), upper, n));
	assert_false(cw_cloud_hmac_matches(method, secret, content, strlen(content), got, n - 1));
	got[n - 1] = got[n - 1] == '0' ? '1' : '0';
	assert_false(cw_cloud_hmac_matches(method, secret, content, strlen(content), got, n));
}

static void digests_are_those_of_the_vectors(void **state)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(vectors, "connect"), i, v)
		check(v, text(v, "sign_method"), text(v, "device_secret"));
	json_array_foreach(json_object_get(vectors, "subdevice_sign"), i, v)
		check(v, text(v, "sign_method_on_wire"), text(v, "device_secret"));
	json_array_foreach(json_object_get(vectors, "dynreg_mqtt"), i, v)
		check(v, text(v, "sign_method"), text(v, "product_secret"));
}

static void unknown_methods_are_refused(void **state)
{
	enum cloud_hmac method;

	assert_int_equal(cw_cloud_hmac_parse("hmacsha512", 10, &method), CW_EINVAL);
	assert_int_equal(cw_cloud_hmac_parse("", 0, &method), CW_EINVAL);
	assert_int_equal(cw_cloud_hmac_parse("hmacMd5", 7, &method), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_come_apart_as_the_vectors_say),
		cmocka_unit_test(blanks_around_keys_are_no_part_of_them),
		cmocka_unit_test(malformed_identifiers_are_refused),
		cmocka_unit_test(without_a_bar_all_is_base),
		cmocka_unit_test(digests_are_those_of_the_vectors),
		cmocka_unit_test(unknown_methods_are_refused),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
