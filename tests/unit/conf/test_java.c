/* Files as users of the Java libraries have them: application.conf and devices.conf in all their spellings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_help.h"

#define TRIPLE "\"deviceName\":\"dev1\",\"deviceSecret\":\"0a1b\",\"productKey\":\"a1Xy\""

static void devices_may_be_spelled_in_many_ways(void **state)
{
	static const struct help_doc docs[] = {
		{ "860000000001 {\n  productKey : a1Xy\n  deviceName : dev1\n  deviceSecret : 0a1b\n}", "{\"860000000001\":{" TRIPLE "}}" },
		{ "860000000001 { productKey : a1Xy, deviceName : dev1, deviceSecret : 0a1b }", "{\"860000000001\":{" TRIPLE "}}" },
		{ "\"860000000001\" = { productKey = \"a1Xy\", deviceName = \"dev1\", deviceSecret = \"0a1b\" }", "{\"860000000001\":{" TRIPLE "}}" },
		{ "{\"860000000001\":{\"productKey\":\"a1Xy\",\"deviceName\":\"dev1\",\"deviceSecret\":\"0a1b\"}}", "{\"860000000001\":{" TRIPLE "}}" },
		{ "860000000001.productKey=a1Xy\n860000000001.deviceName=dev1\n860000000001.deviceSecret=0a1b", "{\"860000000001\":{" TRIPLE "}}" },
		{ "a.b { productKey : a1Xy, deviceName : dev1, deviceSecret : 0a1b }", "{\"a\":{\"b\":{" TRIPLE "}}}" },
		{ "\"a.b\" { productKey : a1Xy, deviceName : dev1, deviceSecret : 0a1b }", "{\"a.b\":{" TRIPLE "}}" },
		{ "pk = a1Xy\nx { productKey : ${pk}, deviceName : dev1, deviceSecret : 0a1b }", "{\"pk\":\"a1Xy\",\"x\":{" TRIPLE "}}" },
		{ "x { productKey : old, deviceName : dev1 }\nx { productKey : a1Xy, deviceSecret : 0a1b }", "{\"x\":{" TRIPLE "}}" },
		{ "x { productKey : a1Xy # key\n deviceName : dev1 // name\n deviceSecret : 0a1b }\r\n", "{\"x\":{" TRIPLE "}}" },
		{ "x { productKey : a1Xy, deviceName : dev1, deviceSecret : 0a1b, settings { timezone = \"+8\" } }",
		  "{\"x\":{\"deviceName\":\"dev1\",\"deviceSecret\":\"0a1b\",\"productKey\":\"a1Xy\",\"settings\":{\"timezone\":\"+8\"}}}" },
		{ "x { productKey : a1Xy, deviceName : dev1, deviceSecret : 0a1b", "!1:62" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void the_sample_with_its_placeholders_names_the_first_one(void **state)
{
	static const char text[] = "# Server endpoint\nhttp2Endpoint = \"https://x:443\"\nproductKey = ${YourProductKey}\n";
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };

	(void)state;
	assert_int_equal(cw_conf_parse_text("application.conf", text, strlen(text), NULL, &tree, &msg), CW_ECONF);
	assert_string_equal(msg.text, "application.conf:3:14: the substitution ${YourProductKey} finds neither a setting nor an environment "
	                              "variable of that name; ${?YourProductKey} would be left out instead");
}

static void an_application_conf_gives_its_keys_in_every_type(void **state)
{
	static const char text[] = "productKey = a1Xy\nsubDeviceConnectMode = \"3\"\nhttp2Endpoint = \"https://a.iot-as-http2.cn-shanghai.aliyuncs.com:443\"\n"
		"popClientProfile = {\n  accessKey = LTAI\n  accessSecret = 1234\n  product = Iot\n}\nsocketServer { ports = [9123, \"9124\"], unsecured = yes }\n";
	struct cw_conf_tree *tree = NULL;
	const struct cw_value *v = NULL, *const *items;
	int32_t mode = 0, port = 0;
	size_t count;
	bool flag = false;

	(void)state;
	assert_int_equal(cw_conf_parse_text("application.conf", text, strlen(text), NULL, &tree, NULL), 0);
	assert_int_equal(cw_value_to_int32(cw_value_get(cw_conf_root(tree), "subDeviceConnectMode"), &mode, NULL), 0);
	assert_int_equal(mode, 3);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "popClientProfile.accessSecret", &v, NULL), 0);
	assert_string_equal(cw_value_text(v, NULL), "1234");
	assert_int_equal(cw_value_find(cw_conf_root(tree), "socketServer.ports", &v, NULL), 0);
	assert_int_equal(cw_value_to_list(v, &items, &count, NULL), 0);
	assert_int_equal(cw_value_to_int32(items[1], &port, NULL), 0);
	assert_int_equal(port, 9124);
	cw_value_list_free(items);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "socketServer.unsecured", &v, NULL), 0);
	assert_int_equal(cw_value_to_bool(v, &flag, NULL), 0);
	assert_true(flag);
	cw_conf_tree_unref(tree);
	assert_int_equal(cw_mem_live(), 0);
}

static void keys_that_name_a_secret_are_known(void **state)
{
	(void)state;
	assert_true(cw_conf_key_is_secret("deviceSecret", 12));
	assert_true(cw_conf_key_is_secret("PASSWORD", 8));
	assert_true(cw_conf_key_is_secret("accessTokens", 12));
	assert_false(cw_conf_key_is_secret("productKey", 10));
	assert_false(cw_conf_key_is_secret("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_may_be_spelled_in_many_ways),
		cmocka_unit_test(the_sample_with_its_placeholders_names_the_first_one),
		cmocka_unit_test(an_application_conf_gives_its_keys_in_every_type),
		cmocka_unit_test(keys_that_name_a_secret_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
