/* load.c - the gateway's configuration file, with what only the gateway has in it. See config.h. */
#include "daemon/config.h"
#include "daemon/java.h"
#include "plugin/load.h"

/* Set once, before any thread: for a socketServer that names no protocol. */
static const char *default_protocol;

void cw_config_set_protocol(const char *name)
{
	default_protocol = name;
}

int cw_config_load(const char *path, struct cw_config **ret_config, struct cw_conf_tree **ret_tree, struct cw_conf_report *report,
                   struct cw_msg *msg)
{
	struct cw_conf_tree *tree = NULL;
	void *conf = NULL;
	const struct cw_value *dir;
	char plugin_dir[1024], there[400];
	int rc = cw_conf_parse_file(path, NULL, &tree, msg);

	if (rc < 0)
		return rc;
	dir = cw_value_get(cw_conf_root(tree), "pluginDir");
	cw_plugin_dir(dir == NULL ? NULL : cw_value_text(dir, NULL), plugin_dir, sizeof(plugin_dir));
	cw_plugin_list(plugin_dir, there, sizeof(there));
	rc = cw_java_config(path, default_protocol, there, &tree, report, msg);
	if (rc == 0)
		rc = cw_conf_bind(&cw_config_table, tree, cw_conf_root(tree), report, &conf);
	if (rc < 0) {
		if (report->errors > 0)
			cw_conf_report_msg(report, msg);
		cw_conf_tree_unref(tree);
		return rc;
	}
	*ret_config = conf;
	*ret_tree = tree;
	return 0;
}
