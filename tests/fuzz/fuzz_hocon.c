/*
 * fuzz_hocon.c - any bytes as HOCON, JSON and properties. What parses is printed
 * and must read the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/dump.h"
#include "conf/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *no_env(void *ctx, const char *name)
{
	(void)ctx;
	return name[0] == 'E' ? "env" : NULL;
}

static void again(const struct cw_conf_tree *tree, const struct cw_conf_options *opt)
{
	char *first = NULL, *second = NULL;
	struct cw_conf_tree *twin = NULL;
	size_t len = 0;

	if (cw_dump_value(cw_conf_root(tree), CW_DUMP_JSON, 0, &first, &len) < 0 || len > 1000000) {
		cw_free(first);
		return;
	}
	if (cw_conf_parse_text("again", first, len, opt, &twin, NULL) < 0 ||
	    cw_dump_value(cw_conf_root(twin), CW_DUMP_JSON, 0, &second, NULL) < 0 || strcmp(first, second) != 0)
		abort();
	cw_conf_tree_unref(twin);
	cw_free(first);
	cw_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int syntax = CW_CONF_HOCON; syntax <= CW_CONF_PROPERTIES; syntax++) {
		struct cw_conf_options opt = { .syntax = (enum cw_conf_syntax)syntax, .env = no_env, .include_dir = "/nonexistent",
			                       .memory_limit = 32u * 1024 * 1024 };
		struct cw_conf_tree *tree = NULL;
		struct cw_msg msg = { "" };

		if (cw_conf_parse_text("fuzz", (const char *)data, size, &opt, &tree, &msg) == 0) {
			opt.syntax = CW_CONF_JSON;
			again(tree, &opt);
		}
		cw_conf_tree_unref(tree);
	}
	return 0;
}
