/* Identities from devices.conf: forms the Java library writes, entries that are skipped, both directions, size. covers: M06 M1D M31 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "identity/identity.h"

static char said[10][600];
static int said_count;

static void on_skip(void *arg, const char *sentence)
{
	if (said_count < 10)
		(void)snprintf(said[said_count], sizeof(said[0]), "%s", sentence);
	said_count++;
}

static struct cw_identities *load(const char *text, int expect)
{
	char path[] = "/tmp/cw-identities-XXXXXX";
	struct cw_identities *set = NULL;
	struct cw_msg msg = { "" };
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	said_count = 0;
	rc = cw_identities_load(path, on_skip, NULL, &set, &msg);
	unlink(path);
	if (rc != expect)
		print_error("%s\n", msg.text);
	assert_int_equal(rc, expect);
	return set;
}

static void expect(const struct cw_identities *set, const char *identity, const char *pk, const char *dn, const char *ds)
{
	const struct cw_identity *id = cw_identities_find(set, identity, strlen(identity));

	assert_non_null(id);
	assert_string_equal(id->product_key, pk);
	assert_string_equal(id->device_name, dn);
	assert_string_equal(id->device_secret, ds);
	assert_ptr_equal(cw_identities_find_name(set, pk, dn), id);
}

static void every_documented_form_is_read(void **state)
{
	struct cw_identities *set = load("# devices of site 7\n"
	                                 "868998030939512 {\n  productKey : a1B2c3D4e5F\n  deviceName : dev-1\n  deviceSecret : s1\n}\n"
	                                 "\"00:11:22:33:44:55\" = { productKey = a1B2c3D4e5F, deviceName = \"dev-2\", deviceSecret = \"s2\" }\n"
	                                 "site.a.7 { \"productKey\": \"a1B2c3D4e5F\", \"deviceName\": \"dev-3\", \"deviceSecret\": \"s3\" }\n"
	                                 "\"x.y\" { productKey : a1B2c3D4e5F, deviceName : dev-4, deviceSecret : 4444, other : kept }\n", 0);

	assert_int_equal(set->count, 4);
	assert_int_equal(said_count, 0);
	expect(set, "868998030939512", "a1B2c3D4e5F", "dev-1", "s1");
	expect(set, "00:11:22:33:44:55", "a1B2c3D4e5F", "dev-2", "s2");
	expect(set, "site.a.7", "a1B2c3D4e5F", "dev-3", "s3");
	expect(set, "x.y", "a1B2c3D4e5F", "dev-4", "4444");
	assert_null(cw_identities_find(set, "nobody", 6));
	assert_null(cw_identities_find_name(set, "a1B2c3D4e5F", "dev-9"));
	cw_identities_free(set);
}

static void an_entry_that_lacks_a_key_is_skipped_with_its_place(void **state)
{
	struct cw_identities *set = load("1 { productKey : p, deviceName : d1, deviceSecret : s }\n"
	                                 "2 { productKey : p, deviceName : d2 }\n"
	                                 "3 { productKey : p, devicename : d3, deviceSecret : s }\n"
	                                 "4 = text\n"
	                                 "5 { productKey : \"p/x\", deviceName : d5, deviceSecret : s }\n", 0);

	assert_int_equal(set->count, 1);
	assert_int_equal(set->skipped, 4);
	assert_int_equal(said_count, 4);
	assert_non_null(strstr(said[0], ":2:"));
	assert_non_null(strstr(said[0], "\"2\": deviceSecret is missing"));
	assert_non_null(strstr(said[1], "deviceName is missing"));
	assert_null(strstr(said[1], " s "));
	cw_identities_free(set);
}

static void a_duplicate_key_takes_the_last_and_a_shared_certificate_is_accepted(void **state)
{
	struct cw_identities *set = load("1 { productKey : p, deviceName : old, deviceSecret : s }\n"
	                                 "1 { deviceName : new }\n"
	                                 "2 { productKey : p, deviceName : new, deviceSecret : s }\n", 0);

	assert_int_equal(set->count, 2);
	assert_string_equal(cw_identities_find(set, "1", 1)->device_name, "new");
	assert_non_null(cw_identities_find_name(set, "p", "new"));
	cw_identities_free(set);
}

static void settings_of_an_entry_are_kept(void **state)
{
	struct cw_identities *set = load("1 { productKey : p, deviceName : d, deviceSecret : s, settings { timezone = UTC } }", 0);
	const struct cw_identity *id = cw_identities_find(set, "1", 1);

	assert_true(id->settings.len > 0);
	assert_non_null(memmem(id->settings.ptr, id->settings.len, "UTC", 3));
	cw_identities_free(set);
}

static void a_broken_file_changes_nothing_and_says_where(void **state)
{
	assert_null(load("1 { productKey : p\n2 {", CW_ECONF));
}

static void memory_that_runs_out_is_an_error_and_leaks_nothing(void **state)
{
	const char *text = "1 { productKey : p, deviceName : d1, deviceSecret : s }\n2 { productKey : p, deviceName : d2, deviceSecret : s }\n";
	char path[] = "/tmp/cw-identities-XXXXXX";
	int fd = mkstemp(path), nth;

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	for (nth = 0;; nth++) {
		struct cw_identities *set = NULL;
		struct cw_msg msg;
		long before = cw_mem_live();
		int rc, fired;

		cw_mem_fail_at(nth);
		rc = cw_identities_load(path, on_skip, NULL, &set, &msg);
		fired = cw_mem_failed();
		cw_mem_fail_at(-1);
		if (!fired) {
			assert_int_equal(rc, 0);
			cw_identities_free(set);
			break;
		}
		if (rc == 0) /* a table that could not grow */
			cw_identities_free(set);
		else
			assert_null(set);
		assert_int_equal(cw_mem_live(), before);
	}
	assert_true(nth > 5);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_documented_form_is_read),
		cmocka_unit_test(an_entry_that_lacks_a_key_is_skipped_with_its_place),
		cmocka_unit_test(a_duplicate_key_takes_the_last_and_a_shared_certificate_is_accepted),
		cmocka_unit_test(settings_of_an_entry_are_kept),
		cmocka_unit_test(a_broken_file_changes_nothing_and_says_where),
		cmocka_unit_test(memory_that_runs_out_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
