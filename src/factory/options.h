/* options.h - the command line of causeway-factory. What it points at is argv's or its own. */
#ifndef CW_FACTORY_OPTIONS_H
#define CW_FACTORY_OPTIONS_H

#include "factory/config.h"

#define FACTORY_LISTEN_MOST 16

struct factory_options {
	const char *config, *ready_file;
	int check;
	struct factory_overrides over;
	struct factory_listen line[FACTORY_LISTEN_MOST], office[1];
	char port[32]; /* the address that PORT means */
};

/* -1: go on; otherwise the exit status after --help, --version or a wrong option. */
int cw_factory_options_parse(int argc, char **argv, struct factory_options *o);

#endif
