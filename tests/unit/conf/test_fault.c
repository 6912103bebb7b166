/* What a parse does without memory, with half a file, and with a very big one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_help.h"

/* Everything that allocates: escapes, joins, lists, merges, stacks, substitutions, the environment, many keys. */
static const char document[] =
	"a { b = \"x\\ny\", c = [1, 2, {d = 3}] }\n"
	"a.e = ${a.b} ${?nope} z\n"
	"p = \"/a\"\np = ${p}\":/b\"\nl = [1]\nl += ${a.c}\n"
	"m = ${a} {f = 1}\nm { g = ${m.f} }\nn = {0:x} [y]\nh = ${HOME}\nk = ${?HOSTS[]}\n"
	"\"q.r\" = \"\"\"three\"\"\"\nx1=1,x2=2,x3=3,x4=4,x5=5,x6=6,x7=7,x8=8,x9=9,x10=10,x11=11,x12=12,x13=13,x14=14\n"
	"s = a b c d, t = 3f b\n";

static void every_allocation_may_fail_and_nothing_is_lost(void **state)
{
	struct cw_conf_options opt = { .env = help_env };

	(void)state;
	for (long nth = 0;; nth++) {
		struct cw_conf_tree *tree = NULL;
		struct cw_msg msg = { "" };
		int rc;

		cw_mem_fail_at(nth);
		rc = cw_conf_parse_text("t", document, strlen(document), &opt, &tree, &msg);
		if (!cw_mem_failed()) {
			cw_mem_fail_at(-1);
			assert_int_equal(rc, 0);
			cw_conf_tree_unref(tree);
			assert_true(nth > 5);
			break;
		}
		cw_mem_fail_at(-1);
		assert_int_equal(rc, CW_ENOMEM);
		assert_null(tree);
		assert_int_equal(cw_mem_live(), 0);
	}
	assert_int_equal(cw_mem_live(), 0);
}

static void a_document_cut_anywhere_is_read_or_refused(void **state)
{
	size_t len = strlen(document);
	char *part;

	(void)state;
	for (size_t cut = 0; cut <= len; cut++) {
		struct cw_conf_options opt = { .env = help_env, .syntax = (enum cw_conf_syntax)(CW_CONF_HOCON + cut % 3) };

		for (int round = 0; round < 2; round++) {
			struct cw_conf_tree *tree = NULL;
			struct cw_msg msg = { "" };
			int rc;

			part = malloc(cut + 1); /* exactly as long as the text, so that ASan sees one byte too many */
			assert_non_null(part);
			memcpy(part, document, cut);
			rc = cw_conf_parse_text("t", part, cut, &opt, &tree, &msg);
			free(part);
			assert_true(rc == 0 || rc == CW_ECONF);
			assert_true((rc == 0) == (tree != NULL));
			assert_true((rc == 0) == (msg.text[0] == '\0'));
			cw_conf_tree_unref(tree);
			opt.syntax = CW_CONF_HOCON;
		}
	}
	assert_int_equal(cw_mem_live(), 0);
}

static void two_hundred_thousand_devices_are_found_with_their_lines(void **state)
{
	enum { DEVICES = 200000, ENTRY = 160 };
	char *text = malloc((size_t)DEVICES * ENTRY), key[40];
	struct cw_conf_tree *tree = NULL;
	struct cw_member m;
	size_t len = 0;

	(void)state;
	assert_non_null(text);
	for (unsigned i = 0; i < DEVICES; i++)
		len += (size_t)snprintf(text + len, ENTRY, "86%010u {\n  productKey : a1Bc\n  deviceName : dev%u\n  deviceSecret : %032x\n}\n", i, i, i);
	assert_int_equal(cw_conf_parse_text("devices.conf", text, len, NULL, &tree, NULL), 0);
	free(text);
	assert_int_equal(cw_value_count(cw_conf_root(tree)), DEVICES);
	assert_true(cw_conf_memory(tree) < 120u * 1024 * 1024);
	for (unsigned i = 0; i < DEVICES; i += 777) {
		snprintf(key, sizeof(key), "86%010u", i);
		assert_int_equal(cw_value_member(cw_conf_root(tree), i, &m), 1);
		assert_string_equal(m.key, key);
		assert_ptr_equal(m.value, cw_value_get(cw_conf_root(tree), key));
		assert_int_equal(cw_value_origin(m.value).line, i * 5 + 1);
		snprintf(key, sizeof(key), "%032x", i);
		assert_string_equal(cw_value_text(cw_value_get(m.value, "deviceSecret"), NULL), key);
	}
	assert_null(cw_value_get(cw_conf_root(tree), "86x"));
	cw_conf_tree_unref(tree);
	assert_int_equal(cw_mem_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_may_fail_and_nothing_is_lost),
		cmocka_unit_test(a_document_cut_anywhere_is_read_or_refused),
		cmocka_unit_test(two_hundred_thousand_devices_are_found_with_their_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
