/* main.c - causewayd: options, then cw_daemon_run(). */
#include <getopt.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/version.h"
#include "plugin/isolate.h"

static const char usage[] =
	"usage: causewayd [-c FILE] [--ready-file FILE] [--protocol NAME] [--check] [--version] [--help]\n"
	"\n"
	"  -c, --config FILE    configuration (default /etc/causeway/application.conf)\n"
	"      --ready-file F   write the bound addresses as JSON to F once everything listens\n"
	"      --protocol NAME  protocol of a socketServer { } that names none\n"
	"      --check          check the configuration, print what is wrong, start nothing\n"
	"      --version        versions of causewayd, the plugin ABI and the libraries\n"
	"  -h, --help           this text\n"
	"\n"
	"Signals: SIGHUP reads the configuration again, SIGTERM and SIGINT stop in order,\n"
	"a second one stops at once. Ask a running gateway with: causeway status\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "ready-file", required_argument, NULL, 'r' },
		{ "check", no_argument, NULL, 'k' },        { "protocol", required_argument, NULL, 'p' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },         { NULL, 0, NULL, 0 },
	};
	const char *config = "/etc/causeway/application.conf", *ready = NULL;
	int opt, check = 0;

	if (argc == 3 && strcmp(argv[1], "--plugin-host") == 0) { /* started by causewayd itself; see plugin/isolate.h */
		(void)umask(0077);
		cw_hosted_main(CW_HOST_FIRST_FD, NULL);
	}

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c': config = optarg; break;
		case 'r': ready = optarg; break;
		case 'k': check = 1; break;
		case 'p': cw_config_set_protocol(optarg); break;
		case 'v': cw_print_version("causewayd"); return 0;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "causewayd: unexpected argument '%s'\n%s", argv[optind], usage);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk, which whoever writes says */
	/* Paho's threads may still be giving back what OpenSSL keeps for each when the process ends: no cleaning up meanwhile. */
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	(void)umask(0077); /* what devices authenticate with is kept in files */
	if (check)
		return cw_daemon_check(config);
	return cw_daemon_run(config, ready);
}
