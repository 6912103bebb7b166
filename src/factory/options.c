/* options.c - see options.h. */
#include "factory/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"

static const char usage[] =
	"usage: causeway-factory [--db DB] [--key FILE] [--listen HOST:PORT]... [--office HOST:PORT|off] [-c FILE]\n"
	"                        [--ready-file FILE] [--check] [PORT]\n"
	"\n"
	"Gives each board on a production line a certificate of its own, once. Without arguments: the stock is factory.db in\n"
	"this directory (made when it is not there), stations ask on port 8000, page and API are on http://127.0.0.1:8001/\n"
	"\n"
	"  PORT                 stations ask on this port of all IPv4 addresses instead of 8000\n"
	"      --db DB          SQLite file, or postgresql://user@host/name; one with a password belongs into the configuration,\n"
	"                       for everybody can read command lines\n"
	"      --key FILE       key that the secrets in the stock are sealed with (default: DB.key)\n"
	"      --listen A       where stations ask, instead of what is configured; may be given several times\n"
	"      --office A       where page, API, metrics and health are; off: nowhere\n"
	"  -c, --config FILE    configuration; conf/factory.conf shows all settings\n"
	"      --ready-file F   write the bound addresses as JSON to F once everything listens\n"
	"      --check          check the configuration, print what is wrong, start nothing\n"
	"      --version        version\n"
	"  -h, --help           this text\n"
	"\n"
	"Fill the stock with: causeway factory import FILE.csv --batch NAME --db factory.db\n"
	"Signals: SIGHUP reads the configuration again (stations, operators, quotas, low marks), SIGTERM and SIGINT stop in\n"
	"order, a second one stops at once.\n";

enum { OPT_DB = 256, OPT_KEY, OPT_LISTEN, OPT_OFFICE, OPT_READY, OPT_CHECK, OPT_VERSION };

static int wrong(const char *what, const char *text)
{
	(void)fprintf(stderr, "causeway-factory: %s '%s'\n%s", what, text, usage);
	return 2;
}

static int add_listen(struct factory_options *o, const char *text)
{
	if (o->over.line_count == FACTORY_LISTEN_MOST)
		return wrong("too many addresses to listen on, from here on:", text);
	o->line[o->over.line_count++].listen = text;
	o->over.line = o->line;
	return -1;
}

static void set_office(struct factory_options *o, const char *text)
{
	o->office[0].listen = text;
	o->over.office = o->office;
	o->over.office_count = strcmp(text, "off") != 0;
}

/* The documented form: the port as the only argument. */
static int take_port(struct factory_options *o, const char *text)
{
	char *end = NULL;
	long port = strtol(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || port > 65535)
		return wrong("a port is a number up to 65535, not", text);
	(void)snprintf(o->port, sizeof(o->port), "0.0.0.0:%ld", port);
	return add_listen(o, o->port);
}

int cw_factory_options_parse(int argc, char **argv, struct factory_options *o)
{
	static const struct option options[] = {
		{ "db", required_argument, NULL, OPT_DB },         { "key", required_argument, NULL, OPT_KEY },
		{ "listen", required_argument, NULL, OPT_LISTEN }, { "office", required_argument, NULL, OPT_OFFICE },
		{ "config", required_argument, NULL, 'c' },        { "ready-file", required_argument, NULL, OPT_READY },
		{ "check", no_argument, NULL, OPT_CHECK },         { "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, 'h' },                { NULL, 0, NULL, 0 },
	};
	int opt, rc = -1;

	while (rc < 0 && (opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_DB: o->over.db = cw_db_hide(optarg); break;
		case OPT_KEY: o->over.key_file = optarg; break;
		case OPT_LISTEN: rc = add_listen(o, optarg); break;
		case OPT_OFFICE: set_office(o, optarg); break;
		case OPT_READY: o->ready_file = optarg; break;
		case OPT_CHECK: o->check = 1; break;
		case OPT_VERSION: (void)printf("causeway-factory %s\n", CW_VERSION); return 0;
		case 'c': o->config = optarg; break;
		case 'h': (void)fputs(usage, stdout); return 0;
		default: (void)fputs(usage, stderr); return 2;
		}
	}
	if (rc < 0 && optind < argc)
		rc = take_port(o, argv[optind++]);
	if (rc < 0 && optind < argc)
		rc = wrong("unexpected argument", argv[optind]);
	return rc;
}
