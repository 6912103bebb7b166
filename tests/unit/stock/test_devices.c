/* The table of devices in the field. covers: C16 C17 C18 */
#include "standing.h"

static struct cw_field_device device(const char *id)
{
	return (struct cw_field_device){ .device_id = id, .product_key = PK, .device_name = "", .device_secret = "", .iot_id = "" };
}

struct seen {
	char device_id[129], product_key[21], device_name[33], secret[65], iot_id[65], all[512];
	int64_t registered, activated;
	size_t count;
};

static int on_device(void *arg, const struct cw_field_device *d)
{
	struct seen *x = arg;

	strcpy(x->device_id, d->device_id);
	strcpy(x->product_key, d->product_key);
	strcpy(x->device_name, d->device_name);
	strcpy(x->secret, d->device_secret);
	strcpy(x->iot_id, d->iot_id);
	x->registered = d->register_time;
	x->activated = d->activate_time;
	x->count++;
	if (strlen(x->all) < 400) {
		strcat(x->all, d->device_id);
		strcat(x->all, " ");
	}
	return 0;
}

static struct seen find(const char *id)
{
	struct seen x = { .count = 0 };

	ok(cw_field_find(s, id, on_device, &x, &msg));
	assert_int_equal(x.count, 1);
	return x;
}

static size_t import(const struct cw_field_device *d, size_t count)
{
	size_t fresh = 99;

	ok(cw_field_import(s, d, count, &tester, &fresh, &msg));
	return fresh;
}

/* Illegal, known, registered, handed out. */
static void a_device_lives(void **state)
{
	struct cw_field_device d = device("SN01");
	struct seen x;

	says(cw_field_find(s, "SN01", on_device, &x, &msg), CW_ENOENT, "illegal device");
	assert_int_equal(import(&d, 1), 1);
	x = find("SN01");
	assert_string_equal(x.product_key, PK);
	assert_string_equal(x.secret, "");
	assert_int_equal(x.registered, 0);
	assert_int_equal(x.activated, 0);
	says(cw_field_handed_out(s, "SN01", &tester, &msg), CW_ENOENT, "no certificate yet");
	cw_clock_fake(1, NOW + 1);
	ok(cw_field_store(s, "SN01", "dev-SN01", DS, "iot-4711", &tester, &msg));
	x = find("SN01");
	assert_string_equal(x.device_name, "dev-SN01");
	assert_string_equal(x.secret, DS);
	assert_string_equal(x.iot_id, "iot-4711");
	assert_int_equal(x.registered, NOW + 1);
	assert_int_equal(x.activated, 0);
	cw_clock_fake(1, NOW + 2);
	ok(cw_field_handed_out(s, "SN01", &tester, &msg));
	cw_clock_fake(1, NOW + 3);
	ok(cw_field_handed_out(s, "SN01", &tester, &msg));
	assert_int_equal(find("SN01").activated, NOW + 2); /* the first time */
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'handout' AND device_id = 'SN01' AND device_name = 'dev-SN01'"), 2);
	memset(&x, 0, sizeof(x));
	ok(cw_field_find_name(s, PK, "dev-SN01", on_device, &x, &msg));
	assert_string_equal(x.device_id, "SN01");
	assert_string_equal(x.secret, DS);
	says(cw_field_find_name(s, PK, "dev-SN02", on_device, &x, &msg), CW_ENOENT, "dev-SN02");
	says(cw_field_find_name(s, PK, "", on_device, &x, &msg), CW_EINVAL, "name");
	ok(cw_field_remove(s, "SN01", &tester, &msg));
	says(cw_field_remove(s, "SN01", &tester, &msg), CW_ENOENT, "SN01");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'device'"), 3);
}

/* Two servers were told the same id in one moment, and both asked the platform. */
static void only_one_certificate_is_stored(void **state)
{
	struct cw_field_device d = device("SN01");
	struct cw_stock *two = world_open_as(*state, "two");

	import(&d, 1);
	ok(cw_field_store(s, "SN01", "dev-SN01", DS, "iot-1", &tester, &msg));
	says(cw_field_store(two, "SN01", "dev-SN01", "ffffffffffffffffffffffffffffffff", "iot-2", &tester, &msg), CW_EEXIST, "another certificate");
	says(cw_field_store(two, "SN01", "dev-x", DS, "iot-1", &tester, &msg), CW_EEXIST, "another certificate");
	ok(cw_field_store(two, "SN01", "dev-SN01", DS, "iot-1", &tester, &msg)); /* the same: its commit had been in doubt */
	assert_string_equal(find("SN01").iot_id, "iot-1");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE device_id = 'SN01'"), 1);
	says(cw_field_store(s, "SN02", "dev-SN02", DS, "", &tester, &msg), CW_ENOENT, "illegal device");
	says(cw_field_store(s, "SN01", "dev-SN01", "", "", &tester, &msg), CW_EINVAL, "DeviceSecret");
	cw_stock_close(two);
}

static void imports_are_all_or_none(void **state)
{
	struct cw_field_device d[3] = { device("SN01"), device("SN02"), device("SN03") };
	size_t fresh;

	d[1].device_name = "dev-2";
	d[1].device_secret = DS;
	d[1].iot_id = "iot-2";
	assert_int_equal(import(d, 2), 2);
	assert_int_equal(find("SN02").registered, NOW);
	assert_string_equal(find("SN02").secret, DS);
	assert_int_equal(import(d, 3), 1); /* the others are known */
	assert_int_equal(import(d, 3), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'device'"), 2);
	/* one that is different, behind one that is new */
	d[0] = device("SN04");
	d[1].device_secret = "00000000000000000000000000000000";
	says(cw_field_import(s, d, 3, &tester, &fresh, &msg), CW_EEXIST, "SN02");
	assert_null(strstr(msg.text, "0000000"));
	assert_int_equal(fresh, 0);
	assert_int_equal(cw_field_find(s, "SN04", on_device, &(struct seen){ .count = 0 }, &msg), CW_ENOENT);
	d[1] = device("SN02"); /* what the file leaves open has been filled since */
	assert_int_equal(import(d, 3), 1);
	d[0] = device("SN02");
	d[0].product_key = "a1Other0002";
	says(cw_field_import(s, d, 1, &tester, &fresh, &msg), CW_EEXIST, "productKey");
	/* twice in one file */
	d[0] = d[1] = device("SN09");
	assert_int_equal(import(d, 2), 1);
}

static void bad_devices_are_refused(void **state)
{
	struct cw_field_device d = device("");
	char text[200];
	size_t fresh;

	memset(text, 'x', sizeof(text));
	text[129] = '\0';
	says(cw_field_import(s, &d, 1, &tester, &fresh, &msg), CW_EINVAL, "no id");
	d = device(text);
	says(cw_field_import(s, &d, 1, &tester, &fresh, &msg), CW_EINVAL, "128");
	d = device("a\tb");
	says(cw_field_import(s, &d, 1, &tester, &fresh, &msg), CW_EINVAL, "control character");
	d = device("SN01");
	d.product_key = "";
	says(cw_field_import(s, &d, 1, &tester, &fresh, &msg), CW_EINVAL, "productKey");
	d = device("SN01");
	d.device_secret = DS;
	says(cw_field_import(s, &d, 1, &tester, &fresh, &msg), CW_EINVAL, "no deviceName");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM device_table"), 0);
	assert_int_equal(import(&d, 0), 0);
}

/* Sealed, and bound to id, product and name. */
static void secrets_cannot_be_moved(void **state)
{
	struct cw_field_device d[2] = { device("SN01"), device("SN02") };
	struct seen x = { .count = 0 };

	d[0].device_name = "dev-1";
	d[1].device_name = "dev-2"; /* two with one certificate are refused by themselves */
	d[0].device_secret = DS;
	d[1].device_secret = "00000000000000000000000000000000";
	import(d, 2);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM device_table WHERE CAST(\"deviceSecret\" AS TEXT) LIKE '%0123456789abcdef%'"), 0);
	world_sql(s, "UPDATE device_table SET \"deviceSecret\" = (SELECT o.\"deviceSecret\" FROM device_table o WHERE o.\"deviceId\" = 'SN02')"
		     " WHERE \"deviceId\" = 'SN01'");
	says(cw_field_find(s, "SN01", on_device, &x, &msg), CW_EAUTH, "does not open");
	world_sql(s, "UPDATE device_table SET \"deviceName\" = 'dev-3' WHERE \"deviceId\" = 'SN02'");
	says(cw_field_find(s, "SN02", on_device, &x, &msg), CW_EAUTH, "does not open");
	assert_int_equal(x.count, 0);
}

static void devices_are_listed(void **state)
{
	struct cw_field_device *d = calloc(2500, sizeof(*d));
	char (*ids)[16] = calloc(2500, sizeof(*ids));
	struct seen x = { .count = 0 };
	unsigned i;

	for (i = 0; i < 2500; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "SN%04u", i);
		d[i] = device(ids[i]);
	}
	d[1].device_name = "dev-1";
	d[1].device_secret = DS;
	assert_int_equal(import(d, 2500), 2500);
	ok(cw_field_each(s, NULL, 0, NULL, on_device, &x, &msg));
	assert_int_equal(x.count, 2500);
	memset(&x, 0, sizeof(x));
	ok(cw_field_each(s, "SN0002", 3, NULL, on_device, &x, &msg));
	assert_string_equal(x.all, "SN0003 SN0004 SN0005 ");
	memset(&x, 0, sizeof(x));
	ok(cw_field_each(s, "SN0000", 1, NULL, on_device, &x, &msg));
	assert_string_equal(x.secret, "");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'export'"), 0);
	ok(cw_field_each(s, "SN0000", 1, &tester, on_device, &x, &msg));
	assert_string_equal(x.secret, DS);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'export'"), 1);
	free(ids);
	free(d);
}

/* The columns of the document, and no others. */
static void the_table_has_the_columns_of_the_document(void **state)
{
	ok(cw_db_run(s->db, "SELECT \"deviceId\", \"registerTime\", \"activateTime\", \"productKey\", \"deviceName\", \"deviceSecret\", \"iotId\""
			    " FROM device_table",
		     NULL, 0, NULL, NULL, NULL, &msg));
	assert_int_equal(world_number(s, world_has_server()
						 ? "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'device_table'"
						   " AND table_schema = current_schema()"
						 : "SELECT COUNT(*) FROM pragma_table_info('device_table')"),
			 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_device_lives),
		TEST(only_one_certificate_is_stored),
		TEST(imports_are_all_or_none),
		TEST(bad_devices_are_refused),
		TEST(secrets_cannot_be_moved),
		TEST(devices_are_listed),
		TEST(the_table_has_the_columns_of_the_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
