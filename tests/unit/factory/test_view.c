/* Rows of the stock as JSON: camelCase keys, times as text, absent things as null, never a secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "factory/view.h"

#define NOW INT64_C(1795000000123)
#define NOW_TEXT "\"2026-11-18T11:06:40.123Z\""

static struct cw_json j;
static char *text;

static int begin(void **state)
{
	cw_json_begin(&j, CW_VIEW_MOST);
	return 0;
}

static int end(void **state)
{
	cw_free(text);
	text = NULL;
	return 0;
}

static void is(const char *expected)
{
	size_t len;

	assert_int_equal(cw_json_finish(&j, &text, &len), 0);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected));
}

static void a_batch(void **state)
{
	const struct cw_stock_batch b = {
		.name = "2026-11", .product_key = "a1EmuPk0001", .file = "a \"b\".csv", .closed = 1, .lease = CW_STOCK_LEASE_ANONYMOUS,
		.lease_ms = 60000, .low = 10, .created = NOW, .imported = NOW, .count = { 1, 2, 3, 4 },
	};

	cw_view_batch(&j, &b);
	is("{\"name\":\"2026-11\",\"productKey\":\"a1EmuPk0001\",\"file\":\"a \\\"b\\\".csv\",\"closed\":true,\"lease\":\"anonymous\","
	   "\"leaseMs\":60000,\"low\":10,\"created\":" NOW_TEXT ",\"imported\":" NOW_TEXT
	   ",\"count\":{\"free\":1,\"allocated\":2,\"written\":3,\"void\":4},\"total\":10}");
}

static void a_row(void **state)
{
	struct cw_stock_row r = {
		.id = 7, .product_key = "a1EmuPk0001", .device_name = "dev-1", .device_id = "", .batch = "b", .station = "", .reason = "",
		.product_id = "", .extra = "", .state = CW_STOCK_FREE, .imported = NOW,
	};

	cw_json_array(&j);
	cw_view_row(&j, &r);
	r.device_id = "SN\xc3\xa4";
	r.station = "line-1";
	r.state = CW_STOCK_WRITTEN;
	r.anonymous = 1;
	r.allocated = r.written = NOW;
	r.extra = "{\"SKU\":\"A\",\"n\":[1,2.50]}";
	cw_view_row(&j, &r);
	cw_json_end_array(&j);
	is("[{\"id\":7,\"productKey\":\"a1EmuPk0001\",\"deviceName\":\"dev-1\",\"deviceId\":null,\"batch\":\"b\",\"state\":\"free\","
	   "\"station\":null,\"anonymous\":false,\"imported\":" NOW_TEXT ",\"allocated\":null,\"written\":null,\"voided\":null,\"reason\":null,"
	   "\"productId\":null,\"extra\":null},"
	   "{\"id\":7,\"productKey\":\"a1EmuPk0001\",\"deviceName\":\"dev-1\",\"deviceId\":\"SN\xc3\xa4\",\"batch\":\"b\",\"state\":\"written\","
	   "\"station\":\"line-1\",\"anonymous\":true,\"imported\":" NOW_TEXT ",\"allocated\":" NOW_TEXT ",\"written\":" NOW_TEXT
	   ",\"voided\":null,\"reason\":null,\"productId\":null,\"extra\":{\"SKU\":\"A\",\"n\":[1,2.50]}}]");
}

/* Somebody wrote into the database what is no JSON: the row is JSON all the same. */
static void damaged_columns(void **state)
{
	const struct cw_stock_row r = {
		.product_key = "p", .device_name = "d", .device_id = "", .batch = "b", .station = "", .reason = "", .product_id = "",
		.extra = "{\"a\":1}}, \"deviceSecret\": {", .state = (enum cw_stock_state)9,
	};

	cw_view_row(&j, &r);
	is("{\"id\":0,\"productKey\":\"p\",\"deviceName\":\"d\",\"deviceId\":null,\"batch\":\"b\",\"state\":null,\"station\":null,\"anonymous\":false,"
	   "\"imported\":null,\"allocated\":null,\"written\":null,\"voided\":null,\"reason\":null,\"productId\":null,\"extra\":null}");
}

static void figures(void **state)
{
	const struct cw_stock_figures f = { .count = { 5, 4, 3, 2 }, .anonymous = 1, .allocated_hour = 2, .written_hour = 3, .allocated_day = 4,
		                            .written_day = 5, .last = NOW };
	const struct cw_stock_station st = { .name = "line-1", .allocated = 3, .written = 2, .unreported = 1, .last = NOW };
	const uint64_t a[] = { 1, 2 }, w[] = { 0, 3 };

	cw_json_array(&j);
	cw_view_figures(&j, &f);
	cw_view_station(&j, &st);
	cw_view_rate(&j, NOW, 60000, 2, a, w);
	cw_json_end_array(&j);
	is("[{\"count\":{\"free\":5,\"allocated\":4,\"written\":3,\"void\":2},\"total\":14,\"anonymous\":1,\"allocatedHour\":2,\"writtenHour\":3,"
	   "\"allocatedDay\":4,\"writtenDay\":5,\"firstToday\":null,\"last\":" NOW_TEXT "},"
	   "{\"name\":\"line-1\",\"allocated\":3,\"written\":2,\"unreported\":1,\"last\":" NOW_TEXT "},"
	   "{\"slotMs\":60000,\"until\":" NOW_TEXT ",\"allocated\":[1,2],\"written\":[0,3]}]");
}

static void a_product(void **state)
{
	struct cw_stock_product p = { .product_key = "p", .bluetooth = 1, .product_id = "4711", .crc_form = CW_STOCK_CRC_NUMBER,
		                      .crc_order = CW_STOCK_CRC_PROSE, .normalize_mac = 1, .reply_columns = "SKU,Color" };

	cw_json_array(&j);
	cw_view_product(&j, &p);
	p = (struct cw_stock_product){ .product_key = "q" };
	cw_view_product(&j, &p);
	cw_json_end_array(&j);
	is("[{\"productKey\":\"p\",\"bluetooth\":true,\"productId\":\"4711\",\"crcForm\":\"number\",\"crcOrder\":\"prose\",\"normalizeMac\":true,"
	   "\"replyColumns\":[\"SKU\",\"Color\"]},"
	   "{\"productKey\":\"q\",\"bluetooth\":false,\"productId\":null,\"crcForm\":\"text\",\"crcOrder\":\"code\",\"normalizeMac\":false,"
	   "\"replyColumns\":[]}]");
}

static void the_log(void **state)
{
	const struct cw_audit_entry e = { "one", 7, NOW, "void", "cli:root", "", "p", "d", "SN", "burned" };
	const struct cw_audit_problem p = { "one", 7, "edited" };

	cw_json_array(&j);
	cw_view_audit(&j, &e);
	cw_view_problem(&j, &p);
	cw_json_end_array(&j);
	is("[{\"node\":\"one\",\"number\":7,\"at\":" NOW_TEXT ",\"what\":\"void\",\"who\":\"cli:root\",\"address\":null,\"productKey\":\"p\","
	   "\"deviceName\":\"d\",\"deviceId\":\"SN\",\"text\":\"burned\"},{\"node\":\"one\",\"number\":7,\"sentence\":\"edited\"}]");
}

static void a_device_without_its_secret(void **state)
{
	const struct cw_field_device d = { "SN", "p", "d", "TheSecretOfSN", "iot", NOW, 0 };
	const struct cw_order o = { 3, "p", "b", 100, "applied", "42", "[\"a\"]", "", NOW, NOW };

	cw_json_array(&j);
	cw_view_field(&j, &d);
	cw_view_order(&j, &o);
	cw_json_end_array(&j);
	is("[{\"deviceId\":\"SN\",\"registerTime\":" NOW_TEXT ",\"activateTime\":null,\"productKey\":\"p\",\"deviceName\":\"d\",\"iotId\":\"iot\","
	   "\"registered\":true},{\"id\":3,\"productKey\":\"p\",\"batch\":\"b\",\"count\":100,\"step\":\"applied\",\"applyId\":\"42\",\"text\":null,"
	   "\"created\":" NOW_TEXT ",\"changed\":" NOW_TEXT "}]");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_batch), TEST(a_row), TEST(damaged_columns), TEST(figures), TEST(a_product), TEST(the_log), TEST(a_device_without_its_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
