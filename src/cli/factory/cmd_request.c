/* cmd_request.c - `causeway factory request`: one request of a station, by hand or in a script. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "cli/factory/factory.h"
#include "cli/factory/line.h"

enum { DONE = 0, FAILED = 1, MISUSED = 2, REFUSED = 3, UNREACHED = 4, REPORT = 1 };

static const char usage[] =
	"usage: causeway factory request [OPTIONS] SERVER[:PORT] PRODUCT_KEY [DEVICE_ID]\n"
	"\n"
	"Asks a distribution server for the certificate of a board, prints the reply (with its secrets), and checks it. The same\n"
	"DEVICE_ID gets the same certificate; without one it is a new one each time.\n"
	"\n"
	"  --report            say that DEVICE_ID's certificate is on its board, instead\n" FACTORY_LINE_USAGE
	"\n"
	"Exit status: 0 Status is OK, 1 the reply is wrong, 2 wrong command line, 3 refused (the reply says why), 4 not reached.\n";

static int misused(const char *why)
{
	fprintf(stderr, "causeway factory request: %s\n%s", why, usage);
	return MISUSED;
}

static int run(const struct factory_line_conf *conf, int action, const char *product_key, const char *device_id)
{
	struct factory_line *l;
	struct triple_burn_cert cert;
	enum factory_line_answer answer;

	if (factory_line_open(conf, &l) < 0) {
		fputs("causeway factory request: out of memory\n", stderr);
		return FAILED;
	}
	if (action == TRIPLE_BURN_ASK)
		answer = factory_line_certificate(l, product_key, device_id, &cert);
	else
		answer = factory_line_request(l, action, product_key, device_id);
	explicit_bzero(&cert, sizeof(cert));
	if (l->reply[0] != '\0' && l->reply[strlen(l->reply) - 1] == '\n')
		l->reply[strlen(l->reply) - 1] = '\0';
	if (isatty(STDOUT_FILENO)) /* scripts get it as it came; a terminal is not the server's */
		cw_utf8_tame(l->reply);
	if (l->reply[0] != '\0')
		printf("%s\n", l->reply);
	if (answer != FACTORY_LINE_DONE)
		fprintf(stderr, "causeway factory request: %s\n", l->why);
	factory_line_close(l);
	if (fflush(stdout) != 0 && answer == FACTORY_LINE_DONE) {
		fputs("causeway factory request: standard output cannot be written\n", stderr);
		return FAILED;
	}
	return answer == FACTORY_LINE_DONE ? DONE : answer == FACTORY_LINE_REFUSED ? REFUSED : answer == FACTORY_LINE_ODD ? FAILED : UNREACHED;
}

int cw_factory_request(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { "report", no_argument, NULL, REPORT }, FACTORY_LINE_OPTIONS,
						 { NULL, 0, NULL, 0 } };
	struct factory_line_conf conf;
	struct cw_msg msg = { "" };
	int c, rc, action = TRIPLE_BURN_ASK;

	factory_line_conf_init(&conf);
	optind = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (c == 'h') {
			fputs(usage, stdout);
			return DONE;
		}
		if (c == '?')
			return misused("wrong option");
		if (c == REPORT)
			action = TRIPLE_BURN_WRITTEN;
		else if (factory_line_option(&conf, c, optarg, &msg) < 0)
			return misused(msg.text);
	}
	if (argc - optind < 2 || argc - optind > 3)
		return misused("it takes a server, a ProductKey and perhaps a DeviceID");
	if (action == TRIPLE_BURN_WRITTEN && argc - optind < 3)
		return misused("a report needs the DeviceID");
	conf.server = argv[optind];
	if (factory_line_conf_done(&conf, &msg) < 0)
		return misused(msg.text);
	rc = run(&conf, action, argv[optind + 1], argc - optind == 3 ? argv[optind + 2] : "");
	factory_line_conf_wipe(&conf);
	return rc;
}
