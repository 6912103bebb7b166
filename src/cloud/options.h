/* options.h - the command line and the file of causeway-cloud. */
#ifndef CW_CLOUD_OPTIONS_H
#define CW_CLOUD_OPTIONS_H

#include "cloud/cloud.h"
#include "cloud/tls.h"

struct cloud_options {
	const char *config, *ready_file; /* lent from argv, or NULL */
	char mqtt[80], api[80];          /* addresses */
	char *certificate, *key, *ca, *state; /* ours, or NULL */
	struct cloud_conf conf;
};

/* -1: go on; otherwise the exit status after --help, --version or a wrong option. */
int cw_cloud_options_parse(int argc, char **argv, struct cloud_options *o);
void cw_cloud_options_free(struct cloud_options *o);
/* Without a file: a gateway, a direct device and three sub-devices with known secrets. */
int cw_cloud_demo_stock(struct cw_cloud *c, struct cw_msg *msg);

#endif
