/* cmd_plugin.c - `causeway plugin VERB`: what authors of protocols need. Each verb is a file cmd_*.c here with a row in the table here. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/plugin/plugin.h"
#include "plugin/load.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "describe", cw_plugin_describe, "name, version, ABI, capabilities, settings and counters of a plugin" },
	{ "new", cw_plugin_new, "a folder with a plugin to start from: builds, is tested, runs" },
	{ "test", cw_plugin_test, "hold a plugin to the rules of the ABI, and play wire scripts" },
	{ "replay", cw_plugin_replay, "a capture through a decoder: records, answers, refusals; --diff compares two versions" },
	{ "fuzz", cw_plugin_fuzz, "look for bytes that crash, hang or bloat a plugin; from wire scripts and captures" },
};

static void print_help(FILE *to)
{
	size_t i;

	fputs("usage: causeway plugin VERB ...\n\n", to);
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n`causeway plugin VERB --help` says more.\n", to);
}

int cw_plugin_find(const char *name, const char *plugin_dir, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg)
{
	char dir[1024];

	if (strchr(name, '/') != NULL)
		return cw_plugin_load(name, ret_desc, msg);
	if (strlen(name) > 3 && strcmp(name + strlen(name) - 3, ".so") == 0) { /* dlopen() would look for it in the system's folders */
		(void)snprintf(dir, sizeof(dir), "./%s", name);
		return cw_plugin_load(dir, ret_desc, msg);
	}
	cw_plugin_dir(plugin_dir, dir, sizeof(dir));
	return cw_plugin_load_named(dir, name, ret_desc, msg);
}

int cw_cmd_plugin(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_help(stdout);
		return 0;
	}
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	fprintf(stderr, "causeway plugin: no such verb: %s\n", argv[1]);
	print_help(stderr);
	return 2;
}
