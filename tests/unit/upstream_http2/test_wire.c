/* The texts of the bridge channel, against what the platform's own library was seen to send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "causeway/error.h"
#include "upstream/http2/settings.h"
#include "upstream/http2/wire.h"

static struct cw_bytes text(const char *t)
{
	return cw_bytes_of((const uint8_t *)t, strlen(t));
}

static void test_forms_are_the_librarys_byte_for_byte(void **state)
{
	static const struct {
		struct http2_form form;
		const char *body;
	} cases[] = {
		{ { .product_key = "a1EmuBrg001",
		    .device_name = "bridge-01",
		    .secret = "fedcba9876543210fedcba9876543210",
		    .client_id = "a1EmuBrg001-bridge-01",
		    .utc_ms = 1795243061567 },
		  "productKey=a1EmuBrg001&deviceName=bridge-01&signmethod=hmacsha1&sign="
		  "D36AF53D6864260ED6F3A96AF5467BA52C39E3AE&clientId=a1EmuBrg001-bridge-01&isGateway=true&timestamp="
		  "1795243061567" },
		{ { .product_key = "a1EmuBrg001",
		    .device_name = "bridge-01",
		    .secret = "fedcba9876543210fedcba9876543210",
		    .client_id = "a1EmuBrg001-bridge-01",
		    .utc_ms = 1795243710569,
		    .mode = 3 },
		  "productKey=a1EmuBrg001&deviceName=bridge-01&signmethod=hmacsha1&sign="
		  "65F41727F4686EFF9766F221EFDA289583A419C0&clientId=a1EmuBrg001-bridge-01&isGateway=true&timestamp="
		  "1795243710569&subDeviceConnectMode=3" },
		{ { .product_key = "a1EmuPk0001",
		    .device_name = "dev-0001",
		    .secret = "0123456789abcdef0123456789abcdef",
		    .client_id = "null-null",
		    .utc_ms = 1795243062208,
		    .net_id = "net0001" },
		  "productKey=a1EmuPk0001&deviceName=dev-0001&signmethod=hmacsha1&sign="
		  "04B336AFF4652881D96C3AB1E062BF5600AA1F90&clientId=null-null&isGateway=false&timestamp=1795243062208&"
		  "netId=net0001" },
	};
	char body[HTTP2_FORM_SIZE];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(http2_form(&cases[i].form, body), 0);
		assert_string_equal(body, cases[i].body);
	}
}

static void test_replies_of_the_vectors(void **state)
{
	static const struct {
		const char *body;
		int32_t code;
		const char *net_id;
	} cases[] = {
		{ "{\"code\":200,\"message\":\"success\",\"data\":{\"iotId\":\"i\",\"iotToken\":\"t\",\"netId\":"
		  "\"net0001\"}}",
		  200, "net0001" },
		{ "{\"code\":\"200\",\"data\":{\"netId\":\"net0001\"}}", 200, "net0001" },
		{ "{\"code\":200,\"data\":{\"netId\":5}}", 200, "5" },
		{ "{\"code\":200,\"data\":{\"iotId\":\"i\"}}", 200, "" },
		{ "{\"code\":200,\"data\":{\"netId\":\"\"}}", 200, "" },
		{ "{\"code\":200,\"data\":{\"netId\":\"a&b=c\"}}", 200, "" },
		{ "{\"code\":200,\"data\":7}", 200, "" },
		{ "{\"success\":true,\"data\":{\"netId\":\"n\"}}", HTTP2_NO_CODE, "n" },
		{ "{\"code\":429,\"message\":\"limit\"}", 429, "" },
		{ "{\"code\":\"many\"}", HTTP2_NO_CODE, "" },
	};
	struct http2_form_reply r;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(http2_form_reply(text(cases[i].body), &r), 0);
		assert_int_equal(r.code, cases[i].code);
		assert_string_equal(r.net_id, cases[i].net_id);
	}
	assert_int_equal(http2_form_reply(text("<html>"), &r), CW_EPROTO);
	assert_int_equal(http2_form_reply(text("[1]"), &r), CW_EPROTO);
	assert_int_equal(http2_form_reply(text(""), &r), CW_EPROTO);
}

static void test_envelopes_are_the_librarys_byte_for_byte(void **state)
{
	uint8_t *body;
	size_t len;

	assert_int_equal(http2_envelope("05a4a962-f21d-48b1-82de-86fb8c2cc796", "a1EmuPk0001", "dev-0001",
					"/a1EmuPk0001/dev-0001/user/update", text("hello"), &body, &len),
			 0);
	assert_int_equal(len, 188);
	assert_string_equal((char *)body, "{\"id\":\"05a4a962-f21d-48b1-82de-86fb8c2cc796\",\"method\":\"fake\","
					  "\"params\":{\"deviceName\":\"dev-0001\","
					  "\"payload\":\"aGVsbG8=\",\"productKey\":\"a1EmuPk0001\",\"topic\":\"/"
					  "a1EmuPk0001/dev-0001/user/update\"}}");
	cw_free(body);
	assert_int_equal(http2_offline("fd77ba3b-b9b5-4a10-a888-2cffefb42684", "a1EmuPk0001", "dev-0001", "net0001",
				       &body, &len),
			 0);
	assert_int_equal(len, 141);
	assert_string_equal((char *)body, "{\"id\":\"fd77ba3b-b9b5-4a10-a888-2cffefb42684\",\"method\":\"fake\","
					  "\"params\":{\"deviceName\":\"dev-0001\","
					  "\"netId\":\"net0001\",\"productKey\":\"a1EmuPk0001\"}}");
	cw_free(body);
}

static void test_a_message_from_the_platform_is_taken_apart(void **state)
{
	struct http2_down d;

	assert_int_equal(
		http2_down(
			text("{\"id\":\"100\",\"params\":{\"productKey\":\"a1EmuPk0001\",\"deviceName\":\"dev-0001\","
			     "\"topic\":\"/a1EmuPk0001/dev-0001/user/get\",\"payload\":\"aGk=\"}}"),
			&d),
		0);
	assert_int_equal(d.payload.len, 2);
	assert_memory_equal(d.payload.ptr, "hi", 2);
	assert_int_equal(d.topic.len, 30);
	assert_int_equal(d.device_name.len, 8);
	http2_down_drop(&d);
	assert_int_equal(http2_down(text("{\"params\":{\"topic\":\"/broadcast/a/x\"}}"), &d), 0);
	assert_int_equal(d.product_key.len + d.device_name.len + d.payload.len, 0);
	http2_down_drop(&d);
	assert_int_equal(http2_down(text("{\"params\":{\"payload\":\"{}!!\"}}"), &d), CW_EPROTO);
	assert_int_equal(http2_down(text("{\"params\":3}"), &d), CW_EPROTO);
	assert_int_equal(http2_down(text("{"), &d), CW_EPROTO);
}

static void test_logout_answers(void **state)
{
	char id[HTTP2_ID_SIZE];
	int32_t code;

	assert_int_equal(http2_offline_reply(text("{\"id\":\"x\",\"code\":\"520\"}"), id, &code), 0);
	assert_string_equal(id, "x");
	assert_int_equal(code, 520);
	assert_int_equal(http2_offline_reply(text("{\"code\":200}"), id, &code), CW_EPROTO);
	assert_int_equal(
		http2_offline_reply(text("{\"id\":\"a longer one than any that we have ever sent\"}"), id, &code),
		CW_EPROTO);
}

static void test_ids_differ(void **state)
{
	char a[HTTP2_ID_SIZE], b[HTTP2_ID_SIZE];

	http2_id(0x0123456789abcdef, 0xfedcba9876543210, a);
	assert_string_equal(a, "01234567-89ab-cdef-fedc-ba9876543210");
	http2_id(0x0123456789abcdef, 0xfedcba9876543211, b);
	assert_string_not_equal(a, b);
}

static void test_base64_both_ways(void **state)
{
	static const char *const cases[][2] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
						{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfd", "//79" } };
	static const char *const bad[] = { "Z", "Zg=", "Zg===", "Z===", "Zm9v\n", "Zm9*", "=", "Zg==Zg==" };
	uint8_t bytes[64];
	char out[64];
	size_t i, n;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		n = cw_base64_encode(out, text(cases[i][0]));
		assert_int_equal(n, strlen(cases[i][1]));
		assert_memory_equal(out, cases[i][1], n);
		assert_int_equal(cw_base64_decode(bytes, &n, text(cases[i][1])), 0);
		assert_int_equal(n, strlen(cases[i][0]));
		assert_memory_equal(bytes, cases[i][0], n);
	}
	assert_int_equal(cw_base64_decode(bytes, &n, text("Zm8")), 0); /* without its padding */
	assert_int_equal(n, 2);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cw_base64_decode(bytes, &n, text(bad[i])), CW_EPROTO);
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *text, *host, *port, *authority;
	} good[] = {
		{ "https://a1.iot-as-http2.cn-shanghai.aliyuncs.com:443", "a1.iot-as-http2.cn-shanghai.aliyuncs.com",
		  "443", "a1.iot-as-http2.cn-shanghai.aliyuncs.com" },
		{ "https://host", "host", "443", "host" },
		{ "http://host:9443/path?x:1", "host", "9443", "host:9443" },
		{ "https://[2001:db8::1]:8443", "2001:db8::1", "8443", "[2001:db8::1]:8443" },
		{ "https://[::1]/", "::1", "443", "[::1]" },
		{ "https://127.0.0.1:1", "127.0.0.1", "1", "127.0.0.1:1" },
	};
	static const char *const bad[] = { "host:443",       "ssl://host:443",     "https://",         "https://:443",
					   "https://host:0", "https://host:65536", "https://host:44x", "https://host:",
					   "https://[::1",   "https://[host]:1",   "https://[::1]x:1", "" };
	struct http2_address at;
	struct cw_msg msg;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(http2_parse_endpoint(good[i].text, &at, &msg), 0);
		assert_string_equal(at.host, good[i].host);
		assert_string_equal(at.port, good[i].port);
		assert_string_equal(at.authority, good[i].authority);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(http2_parse_endpoint(bad[i], &at, &msg), CW_ECONF);
}

static void test_what_is_missing_is_named(void **state)
{
	struct cw_upstream_conf c = {
		.endpoint = "https://h", .product_key = "pk", .device_name = "dn", .device_secret = "s"
	};
	struct cw_msg msg;

	assert_int_equal(http2_check(&c, "https://h/auth/bridge", &msg), 0);
	assert_int_equal(http2_check(&c, NULL, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "authEndpoint"));
	assert_int_equal(http2_check(&c, "h/auth/bridge", &msg), CW_ECONF);
	c.device_secret = NULL;
	assert_int_equal(http2_check(&c, "https://h/auth/bridge", &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "deviceSecret"));
	c.endpoint = NULL;
	assert_int_equal(http2_check(&c, "https://h/auth/bridge", &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "endpoint is missing"));
}

/* One of the calls that need memory; *ret is what they own. */
static int call(int which, uint8_t **ret)
{
	struct http2_form_reply reply;
	struct http2_down d;
	char id[HTTP2_ID_SIZE];
	int32_t code;
	size_t len;
	int rc;

	switch (which) {
	case 0:
		return http2_form_reply(text("{\"code\":200,\"data\":{\"netId\":\"n\"}}"), &reply);
	case 1:
		return http2_envelope("05a4a962-f21d-48b1-82de-86fb8c2cc796", "pk", "dn", "/pk/dn/user/update", text("hello"), ret, &len);
	case 2:
		return http2_offline("05a4a962-f21d-48b1-82de-86fb8c2cc796", "pk", "dn", "n", ret, &len);
	case 3:
		rc = http2_down(text("{\"params\":{\"topic\":\"/pk/dn/user/get\",\"payload\":\"aGk=\"}}"), &d);
		if (rc == 0)
			http2_down_drop(&d);
		return rc;
	default:
		return http2_offline_reply(text("{\"id\":\"x\",\"code\":200}"), id, &code);
	}
}

static void test_no_memory_is_said(void **state)
{
	long before = cw_mem_live();
	int which, n, failed;

	for (which = 0; which < 5; which++) {
		for (n = 0, failed = 1; failed; n++) {
			uint8_t *owned = NULL;
			int rc;

			cw_mem_fail_at(n);
			rc = call(which, &owned);
			failed = cw_mem_failed();
			cw_mem_fail_at(-1);
			assert_int_equal(rc, failed ? CW_ENOMEM : 0);
			if (rc == 0)
				cw_free(owned);
			assert_int_equal(cw_mem_live(), before);
		}
		assert_true(n > 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms_are_the_librarys_byte_for_byte),
		cmocka_unit_test(test_replies_of_the_vectors),
		cmocka_unit_test(test_envelopes_are_the_librarys_byte_for_byte),
		cmocka_unit_test(test_a_message_from_the_platform_is_taken_apart),
		cmocka_unit_test(test_logout_answers),
		cmocka_unit_test(test_ids_differ),
		cmocka_unit_test(test_base64_both_ways),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_what_is_missing_is_named),
		cmocka_unit_test(test_no_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
