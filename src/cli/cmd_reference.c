/*
 * cmd_reference.c - `causeway config check` and `causeway config reference`.
 *
 * The reference is printed from the tables that the programs run on: settings,
 * protocols' settings, log ids, counters, verbs. Nothing in it is kept by hand.
 */
#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "cli/cli.h"
#include "conf/dump.h"
#include "daemon/daemon.h"
#include "factory/config.h"
#include "plugin/load.h"

int cw_cmd_check(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: causeway config check FILE\n", stderr);
		return 2;
	}
	return cw_daemon_check(argv[1]);
}

static void heading(enum cw_reference_format format, const char *text)
{
	printf(format == CW_REFERENCE_MARKDOWN ? "\n## %s\n\n" : format == CW_REFERENCE_HOCON ? "\n# ---- %s\n\n" : "\n%s\n\n", text);
}

static int print_settings(const char *title, const struct cw_conf_table *table, enum cw_reference_format format)
{
	char *text;
	size_t len;
	int rc = cw_dump_reference(table, format, &text, &len);

	if (rc < 0)
		return rc;
	heading(format, title);
	fwrite(text, 1, len, stdout);
	cw_free(text);
	return 0;
}

static int print_protocol(const char *dir, const char *name, enum cw_reference_format format)
{
	const struct cw_plugin_desc *desc;
	struct cw_msg msg;
	char title[128], prefix[64], *text;
	size_t len, i;

	if (cw_plugin_load_named(dir, name, &desc, &msg) < 0) {
		fprintf(stderr, "%s\n", msg.text);
		return 0;
	}
	(void)snprintf(title, sizeof(title), "Protocol %s %s", desc->name, desc->version);
	(void)snprintf(prefix, sizeof(prefix), "protocols.%s", desc->name);
	heading(format, title);
	if (desc->conf != NULL) {
		int rc = cw_dump_fields(desc->conf, prefix, format, &text, &len);

		if (rc < 0)
			return rc;
		fwrite(text, 1, len, stdout);
		cw_free(text);
	}
	if (format != CW_REFERENCE_HOCON)
		for (i = 0; desc->counters != NULL && desc->counters[i].name != NULL; i++)
			printf(format == CW_REFERENCE_MARKDOWN ? "- `plugin.%s.%s`: %s\n" : "plugin.%s.%s\n    %s\n", desc->name,
			       desc->counters[i].name, desc->counters[i].help);
	return 0;
}

static int print_protocols(const char *dir, enum cw_reference_format format)
{
	DIR *at = opendir(dir);
	struct dirent *e;
	int rc = 0;

	while (at != NULL && rc == 0 && (e = readdir(at)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n > 3 && strcmp(e->d_name + n - 3, ".so") == 0) {
			e->d_name[n - 3] = '\0';
			rc = print_protocol(dir, e->d_name, format);
		}
	}
	if (at != NULL)
		closedir(at);
	return rc;
}

static void print_lists(enum cw_reference_format format)
{
	int markdown = format == CW_REFERENCE_MARKDOWN, i;
	const char *name, *help;
	size_t k;

	heading(format, "Log ids");
	for (i = 0; i < CW_LOG_ID_COUNT; i++) {
		const struct cw_log_entry *e = cw_log_entry((enum cw_log_id)i);

		printf(markdown ? "- `%s` (%s): %s\n" : "%s (%s)\n    %s\n", e->id, cw_log_level_name(e->level), e->meaning);
	}
	heading(format, "Counters and gauges");
	for (i = 0; i < CW_STAT_COUNT; i++) {
		const struct cw_stat_entry *e = cw_stat_entry((enum cw_stat_id)i);

		printf(markdown ? "- `%s.%s` (%s): %s\n" : "%s.%s (%s)\n    %s\n", e->module, e->name,
		       e->kind == CW_STAT_GAUGE ? "gauge" : "counter", e->help);
	}
	heading(format, "Verbs of causeway");
	for (k = 0; cw_cli_verb(k, &name, &help); k++)
		printf(markdown ? "- `causeway %s`: %s\n" : "causeway %s\n    %s\n", name, help);
}

int cw_cmd_reference(int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'f' },
		{ "plugin-dir", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	enum cw_reference_format format = CW_REFERENCE_TEXT;
	const char *plugin_dir = NULL;
	char dir[1024];
	int opt;

	optind = 1;
	while ((opt = getopt_long(argc, argv, "f:p:", options, NULL)) != -1) {
		if (opt == 'p') {
			plugin_dir = optarg;
		} else if (opt == 'f' && strcmp(optarg, "markdown") == 0) {
			format = CW_REFERENCE_MARKDOWN;
		} else if (opt == 'f' && strcmp(optarg, "hocon") == 0) {
			format = CW_REFERENCE_HOCON;
		} else if (opt != 'f' || strcmp(optarg, "text") != 0) {
			fputs("usage: causeway config reference [--format text|markdown|hocon] [--plugin-dir DIR]\n", stderr);
			return 2;
		}
	}
	cw_plugin_dir(plugin_dir, dir, sizeof(dir));
	if (print_settings("Settings", &cw_config_table, format) < 0 || print_protocols(dir, format) < 0 ||
	    print_settings("Settings of causeway-factory", &cw_factory_config_table, format) < 0) {
		fputs("causeway config reference: out of memory\n", stderr);
		return 1;
	}
	if (format != CW_REFERENCE_HOCON)
		print_lists(format);
	return 0;
}
