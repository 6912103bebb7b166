/* Every vector of tests/vectors/platform-mqtt.json that this side signs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "platform/alink.h"
#include "platform/sign.h"
#include "vectors.h"

static int load(void **state)
{
	return vectors_read("tests/vectors/platform-mqtt.json");
}

/* A member as a C string; NULL when it is null or absent. */
static const char *text_of(struct cw_bytes map, const char *key, char out[512])
{
	struct cw_item it = cw_map_item(map, key);

	if (it.type != CW_ITEM_TEXT)
		return NULL;
	snprintf(out, 512, "%.*s", (int)it.s.len, (const char *)it.s.ptr);
	return out;
}

static enum cw_sign_method method_of(struct cw_bytes v, const char *key)
{
	enum cw_sign_method m;
	char name[512];

	assert_int_equal(cw_sign_method_parse(text_of(v, key, name), &m), 0);
	return m;
}

static void check_hmac(struct cw_bytes v, enum cw_sign_method m, const char *key, const char *content,
		       const char *hex_key)
{
	char hex[CW_SIGN_HEX_MAX], want[512];

	assert_int_equal(cw_sign_hmac(m, key, content, hex), 0);
	assert_string_equal(hex, text_of(v, hex_key, want));
}

static int each(const char *list, void (*check)(struct cw_bytes v))
{
	struct cw_reader r = cw_reader_of(cw_map_get(cw_bytes_of(vectors, vectors_len), list));
	struct cw_item array = cw_read_item(&r);
	int n = 0;

	while (cw_item_more(&r, &array)) {
		check(cw_read_whole_item(&r));
		n++;
	}
	return n;
}

static void check_connect(struct cw_bytes v)
{
	char base[512], dn[512], pk[512], secret[512], stamp[512], want[512], content[1024];
	const char *timestamp = text_of(v, "timestamp", stamp);
	enum cw_sign_method m = method_of(v, "sign_method");
	struct cw_sign_connect c;

	text_of(v, "client_id", base);
	text_of(v, "device_name", dn);
	text_of(v, "product_key", pk);
	text_of(v, "device_secret", secret);
	assert_int_equal(cw_sign_content_device(content, sizeof(content), base, dn, pk, timestamp), 0);
	assert_string_equal(content, text_of(v, "content", want));
	check_hmac(v, m, secret, content, "hex");
	assert_int_equal(cw_sign_connect(&c, m, base, pk, dn, secret, timestamp,
					 strcmp(text_of(v, "securemode", want), "2") == 0, NULL),
			 0);
	assert_string_equal(c.user, text_of(v, "mqtt_username", want));
	assert_string_equal(c.password, text_of(v, "hex", want));
	text_of(v, "name", want);
	if (strncmp(want, "manual-", 7) == 0 || strncmp(want, "no-timestamp", 12) == 0 ||
	    strcmp(want, "maxlen-clientid") == 0)
		assert_string_equal(c.client_id, text_of(v, "mqtt_client_id", want));
}

static void every_login_of_the_vectors_is_signed_as_it_should(void **state)
{
	assert_int_equal(each("connect", check_connect), 13);
}

/* No slip of the documents gives what the platform wants. */
static void check_negative(struct cw_bytes v)
{
	char key[512], content[512], want[512];
	struct cw_sign_connect c;

	text_of(v, "key", key);
	text_of(v, "content", content);
	assert_int_equal(cw_sign_connect(&c, CW_SIGN_SHA1, "12345", "pk", "device", "secret", "789", 0, NULL), 0);
	assert_string_not_equal(c.password, text_of(v, "hex", want));
	if (strcmp(text_of(v, "name", want), "plain-hash-instead-of-hmac") != 0) /* that one is no HMAC */
		check_hmac(v, method_of(v, "sign_method"), key, content, "hex");
}

static void wrong_contents_give_other_signatures(void **state)
{
	assert_int_equal(each("connect_negative", check_negative), 4);
}

static void check_register(struct cw_bytes v)
{
	char dn[512], pk[512], secret[512], nonce[512], want[512], content[1024];

	text_of(v, "device_name", dn);
	text_of(v, "product_key", pk);
	text_of(v, "product_secret", secret);
	text_of(v, "random", nonce);
	assert_int_equal(cw_sign_content_register(content, sizeof(content), dn, pk, nonce), 0);
	assert_string_equal(content, text_of(v, "content", want));
	check_hmac(v, method_of(v, cw_map_text(v, "sign_method").len > 0 ? "sign_method" : "sign_method_on_wire"),
		   secret, content, "hex");
}

static void registrations_sign_the_random_text(void **state)
{
	assert_int_equal(each("dynreg_mqtt", check_register), 5);
	assert_int_equal(each("dynreg_https", check_register), 3);
	assert_int_equal(each("product_register", check_register), 1);
}

static void check_sub(struct cw_bytes v)
{
	char id[512], dn[512], pk[512], secret[512], stamp[512], want[512], content[1024];

	text_of(v, "device_name", dn);
	text_of(v, "product_key", pk);
	text_of(v, "device_secret", secret);
	text_of(v, "timestamp", stamp);
	assert_int_equal(cw_sign_content_device(content, sizeof(content), text_of(v, "client_id", id), dn, pk, stamp),
			 0);
	assert_string_equal(content, text_of(v, "content", want));
	check_hmac(v, method_of(v, "sign_method_on_wire"), secret, content, "hex");
}

static void sub_devices_sign_their_client_id_whole(void **state)
{
	struct cw_sign_sub s;

	assert_int_equal(each("subdevice_sign", check_sub), 8);
	assert_int_equal(cw_sign_sub(&s, CW_SIGN_SHA256, "a1SubProd01", "meter-000001",
				     "fedcba9876543210fedcba9876543210", 1581417203000),
			 0);
	assert_string_equal(s.client_id, "a1SubProd01&meter-000001");
	assert_string_equal(s.sign, "f08b1c1f078c8860daa4abb541393840529cf0400f730adf5d1fe77382dc5a58");
}

static void a_batch_login_has_the_documented_form(void **state)
{
	struct cw_alink_sub subs[2] = { { "a1SubProd01", "meter-000001", "fedcba9876543210fedcba9876543210" },
					{ "a1SubProd01", "meter-000002", "00112233445566778899aabbccddeeff" } };
	char *text, want[512], sign[CW_SIGN_HEX_MAX];
	struct cw_sign_sub s;
	size_t len;

	assert_int_equal(cw_alink_batch_login(7, subs, 2, 1600000000000, &text, &len), 0);
	assert_ptr_equal(strstr(text, "{\"id\":\"7\",\"params\":{\"deviceList\":[{\"productKey\":\"a1SubProd01\","
				      "\"deviceName\":\"meter-000001\",\"clientId\":\"a1SubProd01&meter-000001\","
				      "\"timestamp\":\"1600000000000\",\"signMethod\":\"hmacSha256\",\"sign\":\""),
			 text);
	assert_int_equal(cw_sign_sub(&s, CW_SIGN_SHA256, "a1SubProd01", "meter-000002",
				     "00112233445566778899aabbccddeeff", 1600000000000),
			 0);
	snprintf(want, sizeof(want), "\"sign\":\"%s\",\"cleanSession\":\"false\"}]}}", s.sign);
	assert_string_equal(text + len - strlen(want), want);
	cw_free(text);
	/* The vector's client ids are joined by a dot; its signatures follow from its contents all the same. */
	assert_int_equal(cw_sign_hmac(CW_SIGN_SHA256, "fedcba9876543210fedcba9876543210",
				      "clientIda1SubProd01.meter-000001deviceNamemeter-"
				      "000001productKeya1SubProd01timestamp1600000000000",
				      sign),
			 0);
	assert_string_equal(sign, "9ae03e13032551d77b1afb96a03268635dbdb147b37f325271c1da2bb35f0b69");
}

static void names_that_do_not_fit_are_refused(void **state)
{
	struct cw_sign_connect c;
	char lots[300];

	memset(lots, 'x', sizeof(lots) - 1);
	lots[sizeof(lots) - 1] = '\0';
	assert_int_equal(cw_sign_connect(&c, CW_SIGN_SHA256, lots, "pk", "dn", "s", "1", 0, NULL), CW_EINVAL);
	assert_int_equal(cw_sign_connect(&c, CW_SIGN_SHA256, "a|b", "pk", "dn", "s", "1", 0, NULL), CW_EINVAL);
	assert_int_equal(cw_sign_connect(&c, CW_SIGN_SHA256, "b", "pk", lots, "s", "1", 0, NULL), CW_ELIMIT);
}

static void a_certificate_needs_no_password(void **state)
{
	struct cw_sign_connect c;

	assert_int_equal(cw_sign_connect(&c, CW_SIGN_SHA1, "00:1A:2B:3C:4D:5E", "a123456789", "device1", NULL,
					 "132323232", 1, NULL),
			 0);
	assert_string_equal(c.client_id, "00:1A:2B:3C:4D:5E|securemode=2,signmethod=hmacsha1,timestamp=132323232|");
	assert_string_equal(c.password, "");
	cw_sign_connect_unknown(&c);
	assert_string_equal(c.client_id, "causeway|securemode=2|");
	assert_string_equal(c.user, "&");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_login_of_the_vectors_is_signed_as_it_should),
		cmocka_unit_test(wrong_contents_give_other_signatures),
		cmocka_unit_test(registrations_sign_the_random_text),
		cmocka_unit_test(sub_devices_sign_their_client_id_whole),
		cmocka_unit_test(a_batch_login_has_the_documented_form),
		cmocka_unit_test(names_that_do_not_fit_are_refused),
		cmocka_unit_test(a_certificate_needs_no_password),
	};

	return cmocka_run_group_tests(tests, load, vectors_free);
}
