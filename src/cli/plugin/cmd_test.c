/* cmd_test.c - `causeway plugin test`: the conformance suite and the author's wire scripts, over one plugin. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/inspect.h"
#include "cli/plugin/plugin.h"
#include "conform/conform.h"
#include "json/json.h"

#define JSON_MOST (1u << 20)

struct told {
	int json, all;
	unsigned rules, broken, findings, shown;
	char note[400]; /* of the rule that is under way */
};

/* One line of JSON an object; `variant` and `text` NULL: not said. */
static void put_line(const char *what, const char *rule, const char *variant, const char *text, long findings)
{
	struct cw_json j;
	char *out;
	size_t len;

	cw_json_begin(&j, JSON_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "what", what);
	cw_json_field(&j, "rule", rule);
	if (variant != NULL && variant[0] != '\0')
		cw_json_field(&j, "variant", variant);
	if (text != NULL)
		cw_json_field(&j, "text", text);
	if (findings >= 0) {
		cw_json_text(&j, "findings");
		cw_json_int(&j, findings);
	}
	cw_json_end_map(&j);
	if (cw_json_finish(&j, &out, &len) < 0)
		return;
	puts(out);
	cw_free(out);
}

static const char *clause_of(const char *rule)
{
	struct cw_conform_rule r;
	size_t i;

	for (i = 0; cw_conform_rule(i, &r); i++)
		if (strcmp(r.name, rule) == 0)
			return r.clause;
	return "";
}

static void on_finding(void *ctx, const char *rule, const char *text)
{
	struct told *t = ctx;

	t->shown++;
	if (t->json)
		put_line("finding", rule, NULL, text, -1);
	else
		printf("FAULT  %s: %s\n       the rule: %s\n", rule, text, clause_of(rule));
	fflush(stdout);
}

static void on_note(void *ctx, const char *rule, const char *text)
{
	struct told *t = ctx;

	if (t->json)
		put_line("note", rule, NULL, text, -1);
	else
		(void)snprintf(t->note, sizeof(t->note), ": %s", text);
}

static void on_rule(void *ctx, const char *rule, const char *variant, unsigned findings)
{
	struct told *t = ctx;

	t->findings += findings;
	t->rules++;
	t->broken += findings > 0;
	if (t->json)
		put_line("rule", rule, variant, NULL, (long)findings);
	else
		printf("%s %s%s%s%s\n", findings == 0 ? "ok    " : "FAILED", rule, variant[0] == '\0' ? "" : ", ",
		       variant, t->note);
	t->note[0] = '\0';
	fflush(stdout);
}

static void print_rules(int json)
{
	struct cw_conform_rule r;
	size_t i;

	for (i = 0; cw_conform_rule(i, &r); i++) {
		if (json)
			put_line("clause", r.name, r.not_isolated == NULL ? "" : "in-process", r.clause, -1);
		else
			printf("%-11s %s\n", r.name, r.clause);
		if (!json && r.not_isolated != NULL)
			printf("%-11s   in-process only: %s\n", "", r.not_isolated);
	}
}

static int is_rule(const char *name)
{
	struct cw_conform_rule r;
	size_t i;

	for (i = 0; cw_conform_rule(i, &r); i++)
		if (strcmp(r.name, name) == 0)
			return 1;
	return 0;
}

/* Files of frames alone go first: they make one session together. */
static int read_scripts(char **paths, int n, struct cw_wire_script *out, size_t *ret_n)
{
	struct cw_msg msg = { "" };
	int strict, i;

	*ret_n = 0;
	for (strict = 0; strict < 2; strict++) {
		for (i = 0; i < n; i++) {
			size_t len = strlen(paths[i]);

			if (strict != !(len > 4 && strcmp(paths[i] + len - 4, ".txt") == 0))
				continue;
			if (cw_wire_read(paths[i], &out[*ret_n], &msg) < 0) {
				fprintf(stderr, "causeway plugin test: %s\n", msg.text);
				return -1;
			}
			++*ret_n;
		}
	}
	return 0;
}

static const char usage[] =
	"usage: causeway plugin test [--isolated] [--only RULE] [--all] [--json] PLUGIN.so [SCRIPT...]\n"
	"       causeway plugin test --list [--json]\n"
	"\n"
	"Holds a plugin to the rules of the ABI (--list names them) and plays wire scripts; plugins/README.md says "
	"how\n"
	"these are written. A script's frames are also what the rules try: without scripts little is tested. A file\n"
	"*.txt has frames alone, one a line, which are tried but not played. The object is taken as it was built; "
	"each\n"
	"rule runs in a process of its own, so that one which crashes, hangs or eats memory is named, with the frame\n"
	"that was at hand. Allocations fail by way of the object's own relocations: no special build is needed.\n"
	"\n"
	"  --only RULE     this rule alone\n"
	"  --isolated      with the decoder in a plugin host, as causewayd runs an isolated protocol: its rings, its\n"
	"                  sandbox; --list says which rules are tried in-process only, and why\n"
	"  --all           every fault; else the first three of each rule\n"
	"  --timeout SECS  an entry of the decoder that takes longer hangs (10)\n"
	"  --json          a JSON object a line: what (rule, finding, note), rule, text\n"
	"\n"
	"Exit status: 0 all rules are kept; 1 one is broken, or the plugin cannot be loaded; 2 wrong command line, or "
	"a\n"
	"script that cannot be read.\n";

static int run(const char *plugin, char **scripts, int n, const char *only, unsigned timeout_ms, int isolated, struct told *told)
{
	struct cw_conform_setup setup = { .plugin = plugin,
					  .only = only,
					  .isolated = isolated,
					  .all = told->all,
					  .entry_timeout_ms = timeout_ms,
					  .settings = cw_inspect_settings,
					  .ctx = told,
					  .finding = on_finding,
					  .note = on_note,
					  .rule = on_rule };
	struct cw_wire_script *v = cw_calloc((size_t)n + 1, sizeof(*v));
	size_t i;
	int rc;

	if (v == NULL)
		return 1;
	rc = read_scripts(scripts, n, v, &setup.script_count) < 0 ? 2 : 0;
	setup.scripts = v;
	if (rc == 0)
		rc = cw_conform_run(&setup) == 0 ? 0 : 1;
	for (i = 0; i < setup.script_count; i++)
		cw_wire_free(&v[i]);
	cw_free(v);
	if (rc != 2 && !told->json)
		printf("%s: %u of %u kept, %u fault%s%s\n", plugin, told->rules - told->broken, told->rules,
		       told->findings, told->findings == 1 ? "" : "s",
		       told->findings > told->shown ? " (--all shows each)" : "");
	return rc;
}

int cw_plugin_test(int argc, char **argv)
{
	static const struct option options[] = {
		{ "only", required_argument, NULL, 'o' },
		{ "isolated", no_argument, NULL, 'i' },
		{ "all", no_argument, NULL, 'a' },
		{ "timeout", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct told told = { 0 };
	const char *only = NULL;
	char path[1024];
	unsigned long seconds = 0;
	int opt, list = 0, isolated = 0;

	optind = 1;
	while ((opt = getopt_long(argc, argv, "o:iat:jlh", options, NULL)) != -1) {
		switch (opt) {
		case 'o': only = optarg; break;
		case 'i': isolated = 1; break;
		case 'a': told.all = 1; break;
		case 't': seconds = strtoul(optarg, NULL, 10); break;
		case 'j': told.json = 1; break;
		case 'l': list = 1; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (list) {
		print_rules(told.json);
		return 0;
	}
	if (only != NULL && !is_rule(only)) {
		fprintf(stderr, "causeway plugin test: there is no rule '%s'; --list names them\n", only);
		return 2;
	}
	if (optind >= argc || seconds > 3600) {
		fputs(usage, stderr);
		return 2;
	}
	/* dlopen() would look for a name without a slash in the system's folders. */
	(void)snprintf(path, sizeof(path), "%s%s", strchr(argv[optind], '/') == NULL ? "./" : "", argv[optind]);
	return run(path, argv + optind + 1, argc - optind - 1, only, (unsigned)seconds * 1000, isolated, &told);
}
