/* What is kept of a bridge's certificate, what a platform's answer must hold, the names that rules and MAC addresses make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "provision/keep.h"
#include "provision/mac.h"
#include "provision/register.h"
#include "provision/rules.h"

static char dir[32], file[64];

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/cw-keep-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(file, sizeof(file), "%s/file", dir);
	return 0;
}

static int drop_dir(void **state)
{
	(void)unlink(file);
	return rmdir(dir); /* fails when a part file was left */
}

static void test_keep(void **state)
{
	struct cw_keep k, put = { .state = CW_KEEP_OBTAINED, .at_ms = 1234, .by = "register",
				  .certificate = { "a1B2c3D4e5F", "dev@1:2", "0123456789abcdef", "", "" } };
	struct cw_msg m = { "" };
	struct stat st;

	assert_int_equal(cw_keep_read(file, &k, &m), 0);
	assert_int_equal(k.state, CW_KEEP_NONE);
	assert_int_equal(cw_keep_write(file, &put, &m), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(cw_keep_read(file, &k, &m), 0);
	assert_int_equal(k.state, CW_KEEP_OBTAINED);
	assert_int_equal(k.at_ms, 1234);
	assert_string_equal(k.certificate.device_name, "dev@1:2");
	assert_string_equal(k.certificate.device_secret, "0123456789abcdef");
	put.certificate.device_secret[0] = '\0'; /* obtained, but without anything to log in with */
	assert_int_equal(cw_keep_write(file, &put, &m), 0);
	assert_true(cw_keep_read(file, &k, &m) < 0);
	put.state = CW_KEEP_ASKED;
	assert_int_equal(cw_keep_write(file, &put, &m), 0);
	assert_int_equal(cw_keep_read(file, &k, &m), 0);
	assert_int_equal(k.state, CW_KEEP_ASKED);
	assert_int_equal(cw_keep_remove(file, &m), 0);
}

/* Each allocation in turn: an error, nothing half-written, nothing leaked. */
static void test_keep_without_memory(void **state)
{
	struct cw_keep k, put = { .state = CW_KEEP_OBTAINED, .by = "regnwl", .certificate = { "a1B2c3D4e5F", "dev1", "", "id", "token" } };
	struct cw_msg m = { "" };
	long before = cw_mem_live(), n;

	for (n = 0; n < 50; n++) {
		int rc;

		cw_mem_fail_at(n);
		rc = cw_keep_write(file, &put, &m);
		if (rc == 0)
			rc = cw_keep_read(file, &k, &m);
		if (!cw_mem_failed()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_true(rc < 0);
		assert_int_equal(cw_mem_live(), before);
	}
	cw_mem_fail_at(-1);
	assert_in_range(n, 1, 49);
}

static void test_path(void **state)
{
	char path[300];

	cw_keep_path("/state", "a1B2c3D4e5F", "../x/y:z", path, sizeof(path));
	assert_string_equal(path, "/state/bridge-a1B2c3D4e5F-.._x_y_z.json");
}

static void test_file(void **state)
{
	struct cw_file_new f;
	struct cw_msg m = { "" };
	char *text;
	size_t len;

	assert_int_equal(cw_file_begin(&f, file, &m), 0);
	assert_int_equal(cw_file_commit(&f, cw_bytes_text("one"), 0, &m), 0);
	assert_int_equal(cw_file_begin(&f, file, &m), 0);
	assert_int_equal(cw_file_commit(&f, cw_bytes_text("two"), 0, &m), CW_EEXIST);
	assert_int_equal(cw_file_read(file, 100, &text, &len, &m), 0);
	assert_string_equal(text, "one");
	cw_free(text);
	assert_int_equal(cw_file_replace(file, cw_bytes_text("three"), &m), 0);
	assert_int_equal(cw_file_read(file, 4, &text, &len, &m), CW_ELIMIT);
	assert_int_equal(cw_file_begin(&f, file, &m), 0);
	cw_file_abandon(&f);
	cw_file_abandon(&f);
	assert_int_equal(cw_file_remove(file, &m), 0);
	assert_int_equal(cw_file_remove(file, &m), 0);
	assert_int_equal(cw_file_read(file, 4, &text, &len, &m), CW_ENOENT);
	assert_true(cw_file_begin(&f, "/nowhere/at/all", &m) < 0);
	assert_non_null(strstr(m.text, "/nowhere/at/all"));
}

static int parse(const char *json, int no_whitelist, struct cw_certificate *got)
{
	struct cw_registration r = { .product_key = "a1B2c3D4e5F", .device_name = "dev1", .no_whitelist = no_whitelist };

	return cw_register_parse(&r, cw_bytes_text(json), got);
}

/* covers: H36 H37 */
static void test_answers(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "1", "{}", "{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\"}",
		"{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"other\",\"deviceSecret\":\"s\"}",
		"{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\",\"deviceSecret\":7}",
		"{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\",\"deviceSecret\":\"two words\"}",
		"{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\",\"deviceSecret\":\"\\u0000\"}",
		"{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\",\"clientId\":\"c\",\"deviceToken\":\"t\"}",
	};
	struct cw_certificate got;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i], 0, &got), CW_EPROTO);
	assert_int_equal(parse("{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\",\"deviceSecret\":\"s3\"}", 0, &got), 0);
	assert_string_equal(got.device_secret, "s3");
	assert_int_equal(parse(bad[10], 1, &got), 0);
	assert_string_equal(got.device_token, "t");
	assert_int_equal(parse("{\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\",\"clientId\":\"c\"}", 1, &got), CW_EPROTO);
}

static void test_answers_without_memory(void **state)
{
	static const char text[] = "{\"code\":200,\"data\":{},\"productKey\":\"a1B2c3D4e5F\",\"deviceName\":\"dev1\",\"deviceSecret\":\"s3\"}";
	struct cw_certificate got;
	long before = cw_mem_live();
	int n, failed = 1, rc;

	for (n = 0; failed; n++) {
		cw_mem_fail_at(n);
		rc = parse(text, 0, &got);
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		assert_true(failed ? rc < 0 : rc == 0);
		assert_int_equal(cw_mem_live(), before);
	}
	assert_true(n > 1);
}

static int check(enum cw_register_via via, int no_whitelist, const char *endpoint)
{
	struct cw_registration r = { .via = via, .no_whitelist = no_whitelist, .endpoint = endpoint };
	struct cw_msg m = { "" };

	return cw_register_check(&r, &m);
}

/* covers: E08 E09 */
static void test_tls_only(void **state)
{
	assert_int_equal(check(CW_REGISTER_HTTPS, 0, "https://host:8443/auth/register/device"), 0);
	assert_int_equal(check(CW_REGISTER_HTTPS, 0, "https://host"), 0);
	assert_int_equal(check(CW_REGISTER_HTTPS, 0, "http://host"), CW_ECONF);
	assert_int_equal(check(CW_REGISTER_HTTPS, 0, "https://"), CW_ECONF);
	assert_int_equal(check(CW_REGISTER_HTTPS, 1, "https://host"), CW_ECONF);
	assert_int_equal(check(CW_REGISTER_HTTPS, 0, NULL), CW_ECONF);
	assert_int_equal(check(CW_REGISTER_MQTT, 1, "ssl://host:1883"), 0);
	assert_int_equal(check(CW_REGISTER_MQTT, 0, "ssl://[::1]:1883"), 0);
	assert_int_equal(check(CW_REGISTER_MQTT, 0, "tcp://host:1883"), CW_ECONF);
	assert_int_equal(check(CW_REGISTER_MQTT, 0, "ssl://host"), CW_ECONF);
	assert_int_equal(check(CW_REGISTER_MQTT, 0, "ssl://host:0"), CW_ECONF);
	assert_int_equal(check(CW_REGISTER_MQTT, 0, "ssl://[::1:1883"), CW_ECONF);
}

/* covers: M1B */
static void test_mac(void **state)
{
	const unsigned char a[6] = { 0x02, 0xfc, 0, 0, 0, 1 }, b[6] = { 0x0a, 0x1b, 0, 0xff, 5, 6 };
	char name[18], interface[16];
	struct cw_msg m = { "" };

	cw_mac_format(a, name);
	assert_string_equal(name, "2-FC-0-0-0-1");
	cw_mac_format(b, name);
	assert_string_equal(name, "A-1B-0-FF-5-6");
	assert_int_equal(cw_mac_name("no-such-if", name, interface, &m), CW_ENOENT);
	assert_non_null(strstr(m.text, "no-such-if"));
}

/* covers: E16 D10 */
static void test_rule_name(void **state)
{
	struct cw_claim c = { .identity = "13800001111", .identity_len = 11, .imei = "860000000000001" };
	struct cw_msg m = { "" };
	char name[64];

	assert_int_equal(cw_rule_name("${identity}", &c, name, &m), 0);
	assert_string_equal(name, "13800001111");
	assert_int_equal(cw_rule_name("car-${imei}.${identity}", &c, name, &m), 0);
	assert_string_equal(name, "car-860000000000001.13800001111");
	assert_int_equal(cw_rule_name("${mac}", &c, name, &m), CW_EINVAL);
	assert_non_null(strstr(m.text, "${mac}"));
	assert_int_equal(cw_rule_name("${other}", &c, name, &m), CW_EINVAL);
	assert_int_equal(cw_rule_name("${imei}-${imei}-${identity}", &c, name, &m), CW_EINVAL);
	c.identity_len = 3;
	assert_int_equal(cw_rule_name("${identity}", &c, name, &m), CW_EINVAL);
	c = (struct cw_claim){ .identity = "12\0004567", .identity_len = 7 };
	assert_int_equal(cw_rule_name("${identity}", &c, name, &m), CW_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keep, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_keep_without_memory, make_dir, drop_dir),
		cmocka_unit_test(test_path),
		cmocka_unit_test_setup_teardown(test_file, make_dir, drop_dir),
		cmocka_unit_test(test_answers), cmocka_unit_test(test_answers_without_memory),
		cmocka_unit_test(test_tls_only),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_rule_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
