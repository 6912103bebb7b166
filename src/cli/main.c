/*
 * main.c - causeway, the command-line tool. Each verb family is a file of its own
 * (cmd_*.c) with one entry in the table here.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cmd_config.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit status */
	const char *help;
} verbs[] = {
	{ "config", cw_cmd_config, "look at configuration files: print, get, check, reference" },
};

static void print_help(FILE *to)
{
	fputs("usage: causeway VERB ...\n\n", to);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-12s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n`causeway VERB --help` says more. Exit status: 0 done, 1 failed, 2 wrong command line.\n", to);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("causeway " CW_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "causeway: no such verb: %s\n", argv[1]);
	print_help(stderr);
	return 2;
}
