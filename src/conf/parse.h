/*
 * parse.h - HOCON text to a resolved tree.
 *
 * The language is that of the reference implementation 1.4, complete, except that
 * `include url()` and `include classpath()` are refused. Files named *.json are
 * strict JSON, *.properties Java properties, everything else HOCON. Text that is
 * not UTF-8 reads as if the bad bytes were U+FFFD.
 *
 * Threads: parsing uses nothing shared and may run on any thread. A tree is
 * immutable and counted; ref and unref may be called from any thread.
 *
 * Errors: CW_ECONF with `FILE:LINE:COLUMN: sentence` in msg, CW_ENOENT when the
 * file itself is missing, CW_EIO/CW_EACCESS when it cannot be read, CW_ENOMEM.
 */
#ifndef CW_CONF_PARSE_H
#define CW_CONF_PARSE_H

#include <stddef.h>

#include "base/err.h"
#include "conf/value.h"

enum cw_conf_syntax {
	CW_CONF_GUESS, /* by the file's name */
	CW_CONF_HOCON,
	CW_CONF_JSON,
	CW_CONF_PROPERTIES,
};

/* Zero-initialise for the usual behaviour. */
struct cw_conf_options {
	enum cw_conf_syntax syntax;
	const char *include_dir; /* cw_conf_parse_text: where includes are looked for; NULL: current directory */
	/* Environment for substitutions: text or NULL. NULL function: getenv(). */
	const char *(*env)(void *env_ctx, const char *name);
	void *env_ctx;
	size_t memory_limit; /* most bytes of the tree, 0: none; beyond it CW_ELIMIT */
};

struct cw_conf_tree;

/* Parse a file or memory and resolve its substitutions. opt may be NULL. *ret_tree is owned: cw_conf_tree_unref(). */
int cw_conf_parse_file(const char *path, const struct cw_conf_options *opt, struct cw_conf_tree **ret_tree, struct cw_msg *msg);
/* `name` is what messages call the text. */
int cw_conf_parse_text(const char *name, const char *text, size_t len, const struct cw_conf_options *opt,
                       struct cw_conf_tree **ret_tree, struct cw_msg *msg);

/* Always an object. Lent: lives as long as the tree. */
const struct cw_value *cw_conf_root(const struct cw_conf_tree *tree);
/* Bytes held by the tree. */
size_t cw_conf_memory(const struct cw_conf_tree *tree);

struct cw_conf_tree *cw_conf_tree_ref(struct cw_conf_tree *tree);
void cw_conf_tree_unref(struct cw_conf_tree *tree); /* accepts NULL */

#endif
