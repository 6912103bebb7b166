/*
 * main.c - causeway, the command-line tool. Each verb family is a file of its own
 * (cmd_*.c) with one entry in the table here.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/cmd_config.h"
#include "daemon/version.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit status */
	const char *help;
} verbs[] = {
	{ "status", cw_cmd_control,
	  "is the gateway up, its upstreams, listeners and connections; exit 0 only if all upstreams are up" },
	{ "stats", cw_cmd_control, "every counter and gauge of the running gateway" },
	{ "device", cw_cmd_control, "device list | show IDENTITY | kick IDENTITY" },
	{ "trace", cw_cmd_control, "follow one device: frames both ways, commands, settles" },
	{ "reload", cw_cmd_control, "read configuration and devices.conf again" },
	{ "stop", cw_cmd_control, "drain and stop the gateway" },
	{ "config", cw_cmd_config, "look at configuration files: check, print, get, reference" },
	{ "identity", cw_cmd_identity, "the table of identities: import, add, remove, list, rekey" },
	{ "pending", cw_cmd_pending, "frames kept of unknown devices: list | show IDENTITY | drop IDENTITY|--all" },
	{ "factory", cw_cmd_factory, "a production line: its stock (import, order, query, void, audit, backup), and a station" },
	{ "decode", cw_cmd_decode, "decode frames of a protocol: hex in, JSON out" },
	{ "plugin", cw_cmd_plugin, "for authors of protocols: new, test, fuzz, replay, describe" },
	{ "sign", cw_cmd_sign, "sign mqtt: what any MQTT client needs to log in as a device" },
	{ "doctor", cw_cmd_doctor, "each upstream step by step: name, TCP, TLS, login; what fails and what to do" },
	{ "triple", cw_cmd_triple,
	  "a device's secret from its product's (dynamic registration); --check a stored certificate" },
	{ "simulate", cw_cmd_simulate, "devices that connect, report and answer commands" },
};

int cw_cli_verb(size_t i, const char **ret_name, const char **ret_help)
{
	if (i >= sizeof(verbs) / sizeof(verbs[0]))
		return 0;
	*ret_name = verbs[i].name;
	*ret_help = verbs[i].help;
	return 1;
}

static void print_help(FILE *to)
{
	fputs("usage: causeway VERB ...\n\n", to);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-12s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n`causeway VERB --help` says more. Exit status: 0 done, 1 failed, 2 wrong command line.\n", to);
}

/* A list that was cut off by a full disk is no success. */
static int all_said(int rc)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return rc;
	fputs("causeway: standard output cannot be written\n", stderr);
	return rc == 0 ? 1 : rc;
}

int main(int argc, char **argv)
{
	cw_file_standard();
	/* Threads of Paho may still be giving back what OpenSSL keeps for each when the process ends: it must not clean up meanwhile. */
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		cw_print_version("causeway");
		return 0;
	}
	cw_cmd_config_check = cw_cmd_check;
	cw_cmd_config_reference = cw_cmd_reference;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[1], verbs[i].name) == 0)
			return all_said(verbs[i].run(argc - 1, argv + 1));
	}
	fprintf(stderr, "causeway: no such verb: %s\n", argv[1]);
	print_help(stderr);
	return 2;
}
