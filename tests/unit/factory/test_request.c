/* The JSON of the distribution protocol (factory.md C.1, C.3). Covers: B02, B03, B04, B05, B06, B13, B14, B15. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "factory/line/request.h"

static struct factory_request request;
static struct cw_msg message;

static int parse_n(const char *text, size_t len)
{
	cw_factory_request_fini(&request);
	message.text[0] = '\0';
	return cw_factory_request_parse(text, len, &request, &message);
}

static int parse(const char *text)
{
	return parse_n(text, strlen(text));
}

static int sent(const char *id)
{
	return cw_bytes_equal(request.device_id, cw_bytes_text(id));
}

static int teardown(void **state)
{
	cw_factory_request_fini(&request);
	return 0;
}

static void test_what_clients_send(void **state)
{
	assert_int_equal(parse("{\"ProductKey\":\"a1B2c3D4e5F\",\"DeviceID\":\"SN01\",\"Action\":0}"), 0);
	assert_string_equal(request.product_key, "a1B2c3D4e5F");
	assert_true(sent("SN01"));
	assert_int_equal(request.action, CW_STOCK_ALLOCATE);
	assert_int_equal(request.deviation, 0);
	assert_int_equal(parse(" { \"Action\" : 1 , \"More\":{\"a\":[1]}, \"DeviceID\" : \"SN 01\", \"ProductKey\":\"p\" } \r\n"), 0);
	assert_int_equal(request.action, CW_STOCK_REPORT);
	assert_true(sent("SN 01"));
	assert_int_equal(parse("\xef\xbb\xbf{\"ProductKey\":\"p\",\"Action\":0}"), 0);
	assert_int_equal(parse_n("{\"ProductKey\":\"p\",\"Action\":0}\0", 31), 0);
	assert_int_equal(parse("{\"ProductKey\":\"p\",\"DeviceID\":\"\xe6\x9d\xbf\xe5\xad\x90\",\"Action\":0}"), 0);
	assert_true(sent("\xe6\x9d\xbf\xe5\xad\x90"));
}

/* Trap 4: absent, null and empty are one thing, the text "null" is another. */
static void test_no_device_id(void **state)
{
	assert_int_equal(parse("{\"ProductKey\":\"p\",\"Action\":0}"), 0);
	assert_int_equal(request.device_id.len, 0);
	assert_int_equal(parse("{\"ProductKey\":\"p\",\"DeviceID\":null,\"Action\":0}"), 0);
	assert_int_equal(request.device_id.len, 0);
	assert_int_equal(parse("{\"ProductKey\":\"p\",\"DeviceID\":\"\",\"Action\":0}"), 0);
	assert_int_equal(request.device_id.len, 0);
	assert_int_equal(parse("{\"ProductKey\":\"p\",\"DeviceID\":\"null\",\"Action\":0}"), 0);
	assert_true(sent("null"));
	assert_int_equal(parse("{\"ProductKey\":\"p\",\"Action\":1}"), CW_EINVAL);
	assert_non_null(strstr(message.text, "DeviceID"));
}

/* Trap 5. */
static void test_action(void **state)
{
	static const struct {
		const char *text;
		int action, deviation;
	} good[] = { { "0", 0, 0 }, { "1", 1, 0 }, { "\"0\"", 0, 1 }, { "\"1\"", 1, 1 }, { "\"00\"", 0, 1 }, { "\"01\"", 1, 1 },
		     { "0.0", 0, 1 }, { "1.0", 1, 1 }, { "-0.0", 0, 1 } };
	static const char *const bad[] = { "2", "-1", "\"\"", "\"2\"", "\"-1\"", "\" 1\"", "\"1 \"", "\"x\"", "true", "null", "[0]", "{}", "0.5",
					   "1e300", "10000000000000000000000" };
	char text[128];
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		(void)snprintf(text, sizeof(text), "{\"ProductKey\":\"p\",\"DeviceID\":\"d\",\"Action\":%s}", good[i].text);
		assert_int_equal(parse(text), 0);
		assert_int_equal(request.action, good[i].action);
		assert_int_equal(request.deviation, good[i].deviation);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text), "{\"ProductKey\":\"p\",\"DeviceID\":\"d\",\"Action\":%s}", bad[i]);
		assert_int_equal(parse(text), CW_EINVAL);
		assert_true(i >= 14 || strstr(message.text, "Action") != NULL); /* the last is no number that JSON's readers take */
	}
	assert_int_equal(parse("{\"ProductKey\":\"p\",\"DeviceID\":\"d\"}"), CW_EINVAL);
	assert_non_null(strstr(message.text, "Action is missing"));
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *text, *names;
	} bad[] = {
		{ "", "empty" },
		{ "ProductKey=p&Action=0", "not JSON" },
		{ "[]", "no object" },
		{ "\"p\"", "not JSON" },
		{ "{\"ProductKey\":\"p\",\"Action\":0", "not JSON" },
		{ "{\"ProductKey\":\"p\",\"Action\":0} x", "not JSON" },
		{ "{\"DeviceID\":\"d\",\"Action\":0}", "ProductKey is missing" },
		{ "{\"ProductKey\":null,\"Action\":0}", "ProductKey is missing" },
		{ "{\"ProductKey\":\"\",\"Action\":0}", "ProductKey is empty" },
		{ "{\"ProductKey\":7,\"Action\":0}", "ProductKey must" },
		{ "{\"ProductKey\":\"p\\n\",\"Action\":0}", "ProductKey has control" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":7,\"Action\":0}", "DeviceID must" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":[],\"Action\":0}", "DeviceID must" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":\"a\\rb\",\"Action\":0}", "DeviceID has control" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":\"a\\u007f\",\"Action\":0}", "DeviceID has control" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":\"a\\u0085\",\"Action\":0}", "DeviceID has control" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":\"a\\u0000\",\"Action\":0}", "not JSON" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":\"\xff\",\"Action\":0}", "not JSON" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":\"\\ud800\",\"Action\":0}", "not JSON" },
		{ "{\"ProductKey\":\"p\",\"DeviceID\":\"a\",\"DeviceID\":\"b\",\"Action\":0}", "twice" },
		{ "{\"ProductKey\":\"p\",\"DeviceId\":\"a\",\"Action\":0}", "DeviceId is written DeviceID" },
		{ "{\"productKey\":\"p\",\"Action\":0}", "productKey is written ProductKey" },
		{ "{\"ProductKey\":\"p\",\"ACTION\":0}", "ACTION is written Action" },
		{ "{\"ProductKey\":\"p \",\"Action\":0}", "ProductKey has a blank" },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i].text), CW_EINVAL);
		if (strstr(message.text, bad[i].names) == NULL)
			fail_msg("%s: %s", bad[i].text, message.text);
	}
}

static void test_longest_device_id(void **state)
{
	char text[256], id[CW_STOCK_DEVICE_ID + 2];

	memset(id, 'x', sizeof(id));
	id[CW_STOCK_DEVICE_ID] = '\0';
	(void)snprintf(text, sizeof(text), "{\"ProductKey\":\"p\",\"DeviceID\":\"%s\",\"Action\":0}", id);
	assert_int_equal(parse(text), 0);
	assert_int_equal(request.device_id.len, CW_STOCK_DEVICE_ID);
	id[CW_STOCK_DEVICE_ID] = 'x';
	id[CW_STOCK_DEVICE_ID + 1] = '\0';
	(void)snprintf(text, sizeof(text), "{\"ProductKey\":\"p\",\"DeviceID\":\"%s\",\"Action\":0}", id);
	assert_int_equal(parse(text), CW_EINVAL);
	assert_non_null(strstr(message.text, "129 bytes"));
}

static struct cw_stock_cert certificate(void)
{
	return (struct cw_stock_cert){ .product_key = "a1B2c3D4e5F", .device_name = "dev-0006", .device_secret = "DS", .product_secret = "PS",
		                       .device_id = "CW0123456789ABCDEF", .crc = 0x0cd87e3a };
}

static void check_cert(const struct cw_stock_cert *cert, const char *id, const char *expected)
{
	char *text;
	size_t len;

	assert_int_equal(cw_factory_reply_cert(cert, cw_bytes_text(id), &text, &len), 0);
	assert_int_equal(len, strlen(text));
	assert_string_equal(text, expected);
	cw_free(text);
}

static void test_reply_to_action_0(void **state)
{
	struct cw_stock_cert cert = certificate();

	check_cert(&cert, "SN\"01",
	           "{\"ProductKey\":\"a1B2c3D4e5F\",\"ProductSecret\":\"PS\",\"DeviceSecret\":\"DS\",\"CRC32\":\"0CD87E3A\","
	           "\"DeviceName\":\"dev-0006\",\"DeviceID\":\"SN\\\"01\",\"Status\":\"OK\"}");
	cert.crc_form = CW_STOCK_CRC_NUMBER;
	cert.crc = 3041429316;
	check_cert(&cert, "",
	           "{\"ProductKey\":\"a1B2c3D4e5F\",\"ProductSecret\":\"PS\",\"DeviceSecret\":\"DS\",\"CRC32\":3041429316,"
	           "\"DeviceName\":\"dev-0006\",\"DeviceID\":\"CW0123456789ABCDEF\",\"Status\":\"OK\"}");
	(void)snprintf(cert.extra, sizeof(cert.extra), "{\"Mac\":\"00:11\",\"Odd\":7}");
	cert.crc_form = CW_STOCK_CRC_TEXT;
	check_cert(&cert, "d",
	           "{\"ProductKey\":\"a1B2c3D4e5F\",\"ProductSecret\":\"PS\",\"DeviceSecret\":\"DS\",\"CRC32\":\"B5488744\","
	           "\"DeviceName\":\"dev-0006\",\"DeviceID\":\"d\",\"Status\":\"OK\",\"Mac\":\"00:11\"}");
}

static void test_other_replies(void **state)
{
	char *text;
	size_t len;

	assert_int_equal(cw_factory_reply_report("p", cw_bytes_text("SN01"), &text, &len), 0);
	assert_string_equal(text, "{\"ProductKey\":\"p\",\"DeviceID\":\"SN01\",\"Status\":\"OK\"}");
	cw_free(text);
	assert_int_equal(parse("{\"ProductKey\":\"p\\u0007\",\"DeviceID\":null}"), CW_EINVAL);
	assert_int_equal(cw_factory_reply_refusal(&request, CW_STOCK_BAD_REQUEST, "why", &text, &len), 0);
	assert_string_equal(text, "{\"ProductKey\":\"p\\u0007\",\"DeviceID\":\"\",\"Status\":\"BAD_REQUEST\",\"Message\":\"why\"}");
	cw_free(text);
	assert_int_equal(parse("nothing"), CW_EINVAL);
	assert_int_equal(cw_factory_reply_refusal(&request, CW_STOCK_BUSY, cw_factory_answer_text(CW_STOCK_BUSY), &text, &len), 0);
	assert_non_null(strstr(text, "\"ProductKey\":\"\",\"DeviceID\":\"\",\"Status\":\"BUSY\""));
	cw_free(text);
}

static void test_the_table(void **state)
{
	static const unsigned http[CW_STOCK_ANSWER_COUNT] = { 200, 200, 200, 200, 200, 200, 400, 401, 503 };
	int i;

	for (i = 0; i < CW_STOCK_ANSWER_COUNT; i++)
		assert_int_equal(cw_factory_answer_http((enum cw_stock_answer)i), http[i]);
	assert_string_equal(cw_factory_answer_status(CW_STOCK_OUT_OF_STOCK), "OUT_OF_STOCK");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_what_clients_send, teardown), cmocka_unit_test_teardown(test_no_device_id, teardown),
		cmocka_unit_test_teardown(test_action, teardown),            cmocka_unit_test_teardown(test_what_is_refused, teardown),
		cmocka_unit_test_teardown(test_longest_device_id, teardown), cmocka_unit_test(test_reply_to_action_0),
		cmocka_unit_test_teardown(test_other_replies, teardown),     cmocka_unit_test(test_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
