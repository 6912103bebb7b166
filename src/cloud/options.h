/*
 * options.h - the command line and the file of causeway-cloud.
 *
 * The file is HOCON; its settings are declared in options.c and conf/cloud.conf shows them all. What the
 * options point at lives until cw_cloud_options_free().
 */
#ifndef CW_CLOUD_OPTIONS_H
#define CW_CLOUD_OPTIONS_H

#include <limits.h>

#include "cloud/front.h"
#include "cloud/wire/tls.h"

struct cloud_options {
	const char *config, *ready_file, *state; /* lent from argv, or NULL */
	const char *listeners[CLOUD_LISTENER_COUNT]; /* addresses, or "off" */
	int free_ports;
	struct cloud_tls_conf tls;
	struct cloud_conf conf;
	char tls_dir[PATH_MAX];
	void *file; /* the bound file, or NULL */
};

/* -1: go on; otherwise the exit status after --help, --version or a wrong option. */
int cw_cloud_options_parse(int argc, char **argv, struct cloud_options *o);
/* Read o->config if there is one. 0, or an error with `FILE:LINE:COLUMN: sentence`. */
int cw_cloud_options_load(struct cloud_options *o, struct cw_msg *msg);
/* Products, devices and faults of the file; without one a demonstration stock, which is printed. */
int cw_cloud_options_stock(const struct cloud_options *o, struct cw_cloud *c, struct cw_msg *msg);
void cw_cloud_options_free(struct cloud_options *o);

#endif
