/* parse.c - see parse.h: reading, then resolving, then handing the tree out. */
#include "conf/parse.h"

#include <string.h>

#include "conf/read.h"
#include "conf/resolve.h"
#include "conf/tree.h"

/* Ends a parse either way; `root` NULL: b->rc says why. */
static int finish(struct conf_build *b, struct cw_value *root, struct cw_conf_tree **ret_tree)
{
	int rc;

	if (root != NULL)
		root = conf_resolve(b, root);
	rc = b->rc;
	if (rc == 0) {
		b->tree->root = root;
		*ret_tree = b->tree;
		b->tree = NULL;
	}
	conf_build_fini(b);
	return rc;
}

int cw_conf_parse_file(const char *path, const struct cw_conf_options *opt, struct cw_conf_tree **ret_tree, struct cw_msg *msg)
{
	struct cw_value *root = NULL;
	struct conf_build b;
	int rc = conf_build_init(&b, opt, msg);

	if (rc < 0)
		return rc;
	rc = conf_read_file(&b, path, b.opt->syntax, &root);
	if (rc == CW_ENOENT && b.rc == 0)
		conf_fail(&b, CW_ENOENT, NULL, 0, 0, "%.600s: there is no such file", path);
	return finish(&b, root, ret_tree);
}

int cw_conf_parse_text(const char *name, const char *text, size_t len, const struct cw_conf_options *opt,
                       struct cw_conf_tree **ret_tree, struct cw_msg *msg)
{
	struct cw_value *root = NULL;
	struct conf_source *source;
	struct conf_build b;
	int rc = conf_build_init(&b, opt, msg);

	if (rc < 0)
		return rc;
	source = conf_alloc(&b, sizeof(*source));
	if (source != NULL)
		source->name = conf_text(&b, name, strlen(name));
	if (source != NULL && source->name != NULL) {
		b.tree->source = source;
		root = conf_read_text(&b, source, b.opt->include_dir, text, len, b.opt->syntax);
	}
	return finish(&b, root, ret_tree);
}
