/*
 * conf_help.h - documents to one-line JSON for the tests of module conf, and files
 * in a directory of their own.
 */
#ifndef CW_TEST_CONF_HELP_H
#define CW_TEST_CONF_HELP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/dump.h"
#include "conf/parse.h"

/* The environment of the documents under test. */
static inline const char *help_env(void *ctx, const char *name)
{
	static const struct {
		const char *name, *value;
	} vars[] = { { "HOME", "/home/op" }, { "EMPTY", "" }, { "HOSTS_0", "a" }, { "HOSTS_1", "b" }, { "HOSTS_3", "d" }, { "a.b", "dotted" } };

	(void)ctx;
	for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
		if (strcmp(vars[i].name, name) == 0)
			return vars[i].value;
	}
	return NULL;
}

/* Take the layout out of JSON. */
static inline void help_squeeze(char *json)
{
	char *out = json;
	int quoted = 0;

	for (char *p = json; *p != '\0'; p++) {
		if (*p == '"')
			quoted = !quoted;
		if (quoted && *p == '\\')
			*out++ = *p++;
		if (quoted || (*p != ' ' && *p != '\n'))
			*out++ = *p;
	}
	*out = '\0';
}

/* The tree as JSON without layout; for an error "!LINE:COLUMN", or "!" when it has no place. Owned by the caller. */
static inline char *help_json(const char *text, size_t len, enum cw_conf_syntax syntax)
{
	struct cw_conf_options opt = { .syntax = syntax, .env = help_env };
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };
	unsigned line, column;
	char *out = NULL;

	if (cw_conf_parse_text("t", text, len, &opt, &tree, &msg) < 0) {
		out = cw_zalloc(64);
		if (out != NULL && sscanf(msg.text, "t:%u:%u:", &line, &column) == 2)
			snprintf(out, 64, "!%u:%u", line, column);
		else if (out != NULL)
			out[0] = '!';
		return out;
	}
	if (cw_dump_value(cw_conf_root(tree), CW_DUMP_JSON, 0, &out, NULL) == 0)
		help_squeeze(out);
	cw_conf_tree_unref(tree);
	return out;
}

struct help_doc {
	const char *text, *want;
};

static inline void help_check(const struct help_doc *docs, size_t count, enum cw_conf_syntax syntax)
{
	int wrong = 0;

	for (size_t i = 0; i < count; i++) {
		char *got = help_json(docs[i].text, strlen(docs[i].text), syntax);

		if (got == NULL || strcmp(got, docs[i].want) != 0) {
			print_error("document: %s\n  expected %s\n  got      %s\n", docs[i].text, docs[i].want, got == NULL ? "nothing" : got);
			wrong++;
		}
		cw_free(got);
	}
	assert_int_equal(wrong, 0);
}

#define HELP_CHECK(docs, syntax) help_check((docs), sizeof(docs) / sizeof((docs)[0]), (syntax))

/* A file below a fresh directory; dir is a template like "/tmp/cw-conf-XXXXXX" that help_dir() has filled. */
static inline void help_file(const char *dir, const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline void help_remove(const char *dir, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

#endif
