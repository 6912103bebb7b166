/* Who is this board? What gateways are told, by every name a board may go by. covers: C14 C18 D13 */
#include "world.h"

#include "factory/stock/known.h"

#define OTHER "a1EmuPk0002"

static int known(struct cw_stock *s, const char *identity, struct cw_stock_known *k)
{
	struct cw_msg msg = { "" };

	return cw_stock_known(s, identity, k, &msg);
}

static const char *name_of(struct cw_stock *s, const char *identity)
{
	static struct cw_stock_known k;
	struct cw_msg msg = { "" };
	int rc = cw_stock_known(s, identity, &k, &msg);

	if (rc == CW_ENOENT)
		return "nobody";
	if (rc < 0)
		fail_msg("%s: %s", identity, msg.text);
	assert_string_equal(k.device_secret, DS);
	return k.device_name;
}

static void serve(struct cw_stock *s, const char *product_key, enum cw_stock_action action, const char *device_id)
{
	struct cw_stock_ask a = world_ask(action, device_id);

	a.product_key = product_key;
	world_serve(s, &a, 1);
	assert_int_equal(a.answer, CW_STOCK_OK);
}

static void a_board_is_known_from_its_allocation_on_by_id_and_by_name(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_known k;
	struct cw_msg msg = { "" };

	(void)world_import(s, PK, "b", 1, 3);
	assert_string_equal(name_of(s, "AA00BB11"), "nobody");
	assert_string_equal(name_of(s, "dev-0001"), "nobody"); /* free */
	serve(s, PK, CW_STOCK_ALLOCATE, "AA00BB11");
	assert_string_equal(name_of(s, "AA00BB11"), "dev-0001");
	assert_string_equal(name_of(s, "dev-0001"), "dev-0001");
	serve(s, PK, CW_STOCK_REPORT, "AA00BB11");
	assert_string_equal(name_of(s, "AA00BB11"), "dev-0001");
	assert_string_equal(name_of(s, "aa00bb11"), "nobody"); /* byte by byte */
	assert_int_equal(cw_stock_known_name(s, PK, "dev-0001", &k, &msg), 0);
	assert_string_equal(k.identity, "AA00BB11");
	assert_int_equal(cw_stock_known_name(s, PK, "dev-0002", &k, &msg), CW_ENOENT);
	assert_int_equal(cw_stock_known_name(s, OTHER, "dev-0001", &k, &msg), CW_ENOENT);
	assert_int_equal(cw_stock_void(s, PK, "dev-0001", "scrapped", &tester, &msg), 0);
	assert_string_equal(name_of(s, "AA00BB11"), "nobody");
	assert_string_equal(name_of(s, "dev-0001"), "nobody");
	assert_string_equal(name_of(s, ""), "nobody");
	cw_stock_close(s);
}

static void a_mac_is_known_in_any_form_where_the_product_says_so(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_product p;
	struct cw_msg msg = { "" };

	(void)world_import(s, PK, "b", 1, 2);
	assert_int_equal(cw_stock_product_get(s, PK, &p, &msg), 0);
	p.normalize_mac = 1;
	assert_int_equal(cw_stock_product_put(s, &p, &tester, &msg), 0);
	serve(s, PK, CW_STOCK_ALLOCATE, "aa:bb:cc:00:11:22");
	assert_string_equal(name_of(s, "AA-BB-CC-00-11-22"), "dev-0001");
	assert_string_equal(name_of(s, "aabbcc001122"), "dev-0001");
	assert_string_equal(name_of(s, "aa:bb:cc:00:11:23"), "nobody");
	cw_stock_close(s);
}

static void boards_of_two_products_with_one_id_are_not_guessed(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_known k;

	(void)world_import(s, PK, "b", 1, 1);
	(void)world_import(s, OTHER, "b", 1, 1);
	serve(s, PK, CW_STOCK_ALLOCATE, "AA00BB11");
	assert_int_equal(known(s, "AA00BB11", &k), 0);
	serve(s, OTHER, CW_STOCK_ALLOCATE, "AA00BB11");
	assert_int_equal(known(s, "AA00BB11", &k), CW_EEXIST);
	assert_int_equal(known(s, "dev-0001", &k), CW_EEXIST);
	assert_string_equal(k.device_secret, "");
	cw_stock_close(s);
}

static void a_device_in_the_field_is_known_once_it_has_its_certificate(void **state)
{
	static const struct cw_field_device devices[] = {
		{ .device_id = "sn-1", .product_key = PK, .device_name = "", .device_secret = "", .iot_id = "" },
		{ .device_id = "sn-2", .product_key = PK, .device_name = "field-2", .device_secret = DS, .iot_id = "i2" },
		{ .device_id = "sn-3", .product_key = OTHER, .device_name = "field-2", .device_secret = DS, .iot_id = "i3" },
	};
	struct cw_stock *s = world_open(*state);
	struct cw_stock_known k;
	struct cw_msg msg = { "" };
	size_t fresh;

	assert_int_equal(cw_field_import(s, devices, 2, &tester, &fresh, &msg), 0);
	assert_string_equal(name_of(s, "sn-1"), "nobody");
	assert_string_equal(name_of(s, "sn-2"), "field-2");
	assert_string_equal(name_of(s, "field-2"), "field-2");
	assert_int_equal(cw_stock_known_name(s, PK, "field-2", &k, &msg), 0);
	assert_string_equal(k.identity, "sn-2");
	assert_int_equal(cw_field_store(s, "sn-1", "field-1", DS, "i1", &tester, &msg), 0);
	assert_string_equal(name_of(s, "sn-1"), "field-1");
	assert_int_equal(cw_field_import(s, devices + 2, 1, &tester, &fresh, &msg), 0);
	assert_int_equal(known(s, "field-2", &k), CW_EEXIST); /* of two products */
	assert_string_equal(name_of(s, "sn-3"), "field-2");
	cw_stock_close(s);
}

static void one_name_is_the_certificate_of_one_id(void **state)
{
	static const struct cw_field_device devices[] = {
		{ .device_id = "sn-1", .product_key = PK, .device_name = "twin", .device_secret = "", .iot_id = "" },
		{ .device_id = "sn-2", .product_key = PK, .device_name = "twin", .device_secret = "", .iot_id = "" },
	};
	struct cw_stock *s = world_open(*state);
	struct cw_msg msg = { "" };
	size_t fresh;

	assert_int_equal(cw_field_import(s, devices, 2, &tester, &fresh, &msg), 0);
	assert_int_equal(cw_field_store(s, "sn-2", "twin", DS, "", &tester, &msg), 0);
	assert_int_equal(cw_field_store(s, "sn-2", "twin", DS, "", &tester, &msg), 0); /* the same again */
	assert_int_equal(cw_field_store(s, "sn-1", "twin", DS, "", &tester, &msg), CW_EEXIST);
	assert_string_equal(name_of(s, "sn-1"), "nobody");
	assert_string_equal(name_of(s, "sn-2"), "twin");
	cw_stock_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_board_is_known_from_its_allocation_on_by_id_and_by_name, world_make, world_drop),
		cmocka_unit_test_setup_teardown(a_mac_is_known_in_any_form_where_the_product_says_so, world_make, world_drop),
		cmocka_unit_test_setup_teardown(boards_of_two_products_with_one_id_are_not_guessed, world_make, world_drop),
		cmocka_unit_test_setup_teardown(a_device_in_the_field_is_known_once_it_has_its_certificate, world_make, world_drop),
		cmocka_unit_test_setup_teardown(one_name_is_the_certificate_of_one_id, world_make, world_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
