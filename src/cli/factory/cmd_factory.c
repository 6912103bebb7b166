/* cmd_factory.c - `causeway factory VERB`: the stock of a production line. The verbs' families are files here, with rows in the table here. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/factory/factory.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "import", cw_factory_import, "certificates of a CSV file into the stock, all or none" },
	{ "batches", cw_factory_batches, "the batches, and how many of each are free, allocated, written, void" },
	{ "batch", cw_factory_batch, "close | open | set: what holds for a batch" },
	{ "product", cw_factory_product, "show | set: check sum, Bluetooth, DeviceIDs that are MACs" },
	{ "stock", cw_factory_stock, "what is left, by product; it sums to what was imported" },
	{ "stats", cw_factory_stats, "boards an hour, stations, how long the stock lasts" },
	{ "query", cw_factory_query, "certificates that fit: by name, DeviceID, status, batch, station, time" },
	{ "show", cw_factory_show, "one certificate and what was done with it" },
	{ "void", cw_factory_void, "take a certificate out of the stock, with a reason" },
	{ "reclaim", cw_factory_reclaim, "allocations that were never reported back into the stock" },
	{ "export", cw_factory_export, "certificates with their secrets into a CSV file; audited" },
	{ "audit", cw_factory_audit, "who did what; --verify finds whatever was edited behind our back" },
	{ "devices", cw_factory_devices, "import | list | remove: the table of devices in the field" },
	{ "order", cw_factory_order, "certificates from the platform into the stock; what was interrupted goes on with --resume" },
	{ "orders", cw_factory_orders, "how far these orders are" },
	{ "station", cw_factory_station, "a programmer station: ids in, each board's certificate through a command, reported" },
	{ "request", cw_factory_request, "one request of a station to a distribution server; prints the reply" },
	{ "backup", cw_factory_backup, "a copy of the database while the line runs" },
	{ "restore", cw_factory_restore, "such a copy in place of a database that is gone, after looking at it" },
};

static void print_help(FILE *to)
{
	size_t i;

	fputs("usage: causeway factory VERB ... [--db FILE | postgresql://..] [--key FILE] [-c factory.conf] [--json]\n\n", to);
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n`station` and `request` ask a server and take options of their own; all others work on the database.\n"
	      "The database is factory.db in this folder, the one that CAUSEWAY_FACTORY_DB or the configuration names, or --db; a connection\n"
	      "string with a password belongs into one of the first two, because everybody can read command lines. A server may run meanwhile.\n"
	      "Times are 2026-11-21, 2026-11-21T08:00:00Z or 2h (two hours ago). `causeway factory VERB --help` says more.\n"
	      "Exit status: 0 done, 1 failed or nothing found, 2 wrong command line.\n",
	      to);
}

int cw_cmd_factory(int argc, char **argv)
{
	const struct rlimit none = { 0, 0 };
	size_t i;

	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_help(stdout);
		return 0;
	}
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	(void)setrlimit(RLIMIT_CORE, &none); /* no file of our memory, in which the key is, and tokens, and certificates */
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	fprintf(stderr, "causeway factory: no such verb: %s\n", argv[1]);
	print_help(stderr);
	return 2;
}
