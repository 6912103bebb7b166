/* Unit tests of the emulator's options: what holds without a file is what an empty file says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cloud/options.h"

/*
 * Defaults stand in core.c, for those who use the core without a file, and in the rows of options.c, for those who
 * read the reference. Both blocks are zero before, so that gaps between members compare equal.
 */
static void an_empty_file_changes_nothing(void **state)
{
	char name[] = "causeway-cloud", option[] = "--config", path[] = "/tmp/cw-options-XXXXXX";
	int fd = mkstemp(path);
	struct cloud_options o;
	struct cloud_conf without;
	struct cw_msg msg = { "" };
	char *argv[] = { name, option, path, NULL };

	(void)state;
	assert_true(fd >= 0);
	memset(&without, 0, sizeof(without));
	cw_cloud_conf_default(&without);
	assert_int_equal(cw_cloud_options_parse(3, argv, &o), -1);
	assert_int_equal(cw_cloud_options_load(&o, &msg), 0);
	(void)close(fd);
	(void)unlink(path);
	assert_memory_equal(&o.conf.limits, &without.limits, sizeof(without.limits));
	assert_memory_equal(&o.conf.switches, &without.switches, sizeof(without.switches));
	assert_int_equal(o.conf.keep_messages, without.keep_messages);
	assert_int_equal(o.conf.keep_bytes, without.keep_bytes);
	assert_int_equal(o.conf.fault_seed, without.fault_seed);
	cw_cloud_options_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
