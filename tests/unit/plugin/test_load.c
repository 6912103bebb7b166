/* Loading: every way of being broken has its own refusal, and the sentence says what to do. covers: M03 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/load.h"

static const struct {
	const char *file;
	int rc;
	const char *says;
} refusals[] = {
	{ "no_entry", CW_EINVAL, "does not export cw_plugin_entry()" },
	{ "null", CW_EINVAL, "returned NULL" },
	{ "size", CW_EABI, "begin it with CW_PLUGIN_INIT" },
	{ "abi", CW_EABI, "rebuild it against the headers" },
	{ "minor", CW_EABI, "rebuild it against the headers" },
	{ "name", CW_EINVAL, "'Bad Name' is not 1 to 31 lower-case letters" },
	{ "no_name", CW_EINVAL, "'(none)' is not" },
	{ "no_version", CW_EINVAL, "has no version" },
	{ "caps", CW_EABI, "use a newer causewayd" },
	{ "no_command", CW_EINVAL, "add it or drop the capability" },
	{ "max_frame", CW_EINVAL, "say how long a frame can be" },
	{ "no_settings", CW_EINVAL, "no settings() to take them" },
	{ "field_type", CW_EINVAL, "unknown type 99" },
	{ "field_help", CW_EINVAL, "has no help text" },
	{ "no_decoder", CW_EINVAL, "has no decoder" },
	{ "ops_size", CW_EABI, "begin it with CW_DECODER_OPS_INIT" },
	{ "no_frame", CW_EINVAL, "has no frame()" },
};

static void every_broken_plugin_is_refused_with_a_sentence_that_teaches(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct cw_plugin_desc *desc = NULL;
		struct cw_msg msg = { "" };
		char path[600];
		int rc;

		(void)snprintf(path, sizeof(path), "%s/tests/bad/%s.so", getenv("CW_BUILD_DIR"), refusals[i].file);
		rc = cw_plugin_load(path, &desc, &msg);
		if (rc != refusals[i].rc && !(rc < 0 && refusals[i].rc < 0))
			print_error("%s: %d %s\n", refusals[i].file, rc, msg.text);
		assert_true(rc < 0);
		assert_null(desc);
		if (strstr(msg.text, refusals[i].says) == NULL)
			print_error("%s says: %s\n", refusals[i].file, msg.text);
		assert_non_null(strstr(msg.text, refusals[i].says));
		assert_non_null(strstr(msg.text, refusals[i].file)); /* it names the file */
	}
}

static void a_missing_file_and_one_that_is_no_object_are_refused(void **state)
{
	const struct cw_plugin_desc *desc = NULL;
	struct cw_msg msg = { "" };

	assert_int_equal(cw_plugin_load("/nonexistent/x.so", &desc, &msg), CW_ENOENT);
	assert_non_null(strstr(msg.text, "/nonexistent/x.so"));
	assert_int_equal(cw_plugin_load(__FILE__, &desc, &msg), CW_ENOENT);
	assert_null(desc);
}

static void an_unknown_protocol_names_those_that_are_there(void **state)
{
	const struct cw_plugin_desc *desc = NULL;
	struct cw_msg msg = { "" };
	char dir[600];

	(void)snprintf(dir, sizeof(dir), "%s/plugins", getenv("CW_BUILD_DIR"));
	assert_int_equal(cw_plugin_load_named(dir, "nonesuch", &desc, &msg), CW_ENOENT);
	assert_non_null(strstr(msg.text, "jt808"));
	assert_int_equal(cw_plugin_load_named(dir, "jt808", &desc, &msg), 0);
	assert_string_equal(desc->name, "jt808");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_broken_plugin_is_refused_with_a_sentence_that_teaches),
		cmocka_unit_test(a_missing_file_and_one_that_is_no_object_are_refused),
		cmocka_unit_test(an_unknown_protocol_names_those_that_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
