/* options.c - see options.h. */
#include "cloud/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static const char usage[] =
	"Usage: causeway-cloud [--config FILE] [--ready-file FILE]\n"
	"\n"
	"A local emulator of the IoT Platform. Without a file it listens on free ports and has a\n"
	"demonstration stock, both of which it prints.\n"
	"\n"
	"  -c, --config FILE      read products, devices, listeners and limits from FILE\n"
	"      --ready-file FILE  write the bound addresses to FILE as JSON when everything listens\n"
	"  -h, --help             show this and exit\n"
	"  -V, --version          show the version and exit\n";

enum { OPT_READY = 256 };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "ready-file", required_argument, NULL, OPT_READY },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

int cw_cloud_options_parse(int argc, char **argv, struct cloud_options *o)
{
	int opt;

	memset(o, 0, sizeof(*o));
	cw_cloud_conf_default(&o->conf);
	(void)snprintf(o->mqtt, sizeof(o->mqtt), "127.0.0.1:0");
	(void)snprintf(o->api, sizeof(o->api), "127.0.0.1:0");
	while ((opt = getopt_long(argc, argv, "c:hV", long_options, NULL)) != -1) {
		switch (opt) {
		case 'c': o->config = optarg; break;
		case OPT_READY: o->ready_file = optarg; break;
		case 'h': (void)fputs(usage, stdout); return 0;
		case 'V': (void)puts("causeway-cloud " CW_VERSION); return 0;
		default: (void)fputs(usage, stderr); return 2;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "causeway-cloud: unexpected argument '%s'\n%s", argv[optind], usage);
		return 2;
	}
	return -1;
}

void cw_cloud_options_free(struct cloud_options *o)
{
	cw_free(o->certificate);
	cw_free(o->key);
	cw_free(o->ca);
	cw_free(o->state);
}

int cw_cloud_demo_stock(struct cw_cloud *c, struct cw_msg *msg)
{
	static const struct {
		const char *pk, *ps, *dn, *ds;
		enum cloud_node type;
	} stock[] = {
		{ "a1EmuGw0001", "EmuGwPs012345678", "gw-0001", "0123456789abcdef0123456789abcd01", CLOUD_NODE_GATEWAY },
		{ "a1EmuPk0001", "EmuPs0123456789A", "dev-0001", "0123456789abcdef0123456789abcdef", CLOUD_NODE_DEVICE },
		{ "a1EmuSub001", "EmuSubPs01234567", "sub-0001", "0123456789abcdef0123456789abcd11", CLOUD_NODE_SUBDEVICE },
		{ "a1EmuSub001", "EmuSubPs01234567", "sub-0002", "0123456789abcdef0123456789abcd12", CLOUD_NODE_SUBDEVICE },
		{ "a1EmuSub001", "EmuSubPs01234567", "sub-0003", "0123456789abcdef0123456789abcd13", CLOUD_NODE_SUBDEVICE },
	};
	struct cloud_device *d;
	size_t i;
	int rc;

	for (i = 0; i < sizeof(stock) / sizeof(stock[0]); i++) {
		struct cloud_product *p = cw_cloud_product_find(c, stock[i].pk, strlen(stock[i].pk));

		if (p == NULL) {
			rc = cw_cloud_product_add(c, stock[i].pk, stock[i].ps, stock[i].type, &p, msg);
			if (rc < 0)
				return rc;
		}
		rc = cw_cloud_device_add(c, p, stock[i].dn, stock[i].ds, &d, msg);
		if (rc < 0)
			return rc;
		(void)printf("device      %s %s %s %s\n", cw_cloud_node_name(p->type), p->key, d->dn, d->secret);
	}
	return 0;
}
