/* batch.h - the options about a batch that `import` and `batch set` share. */
#ifndef CW_CLI_FACTORY_BATCH_H
#define CW_CLI_FACTORY_BATCH_H

#include "cli/factory/tool.h"

struct factory_batch_options {
	const char *lease, *lease_of;
	int64_t low; /* -1: as it is */
};
#define FACTORY_BATCH_OPTIONS 3
#define FACTORY_BATCH_USAGE                                                                                \
	"  --lease TIME|none           allocations that are not reported within this time go back into the\n"      \
	"                              stock (24h); by default none do\n"                                          \
	"  --lease-of anonymous|all    only those without a DeviceID of the station's own (the default), or all:\n" \
	"                              for lines whose stations always report\n"                                   \
	"  --low N                     warn when fewer of the batch are free; 0: never\n"

void factory_batch_options(struct factory_batch_options *b, struct factory_option out[FACTORY_BATCH_OPTIONS]);
/* -1: all right, or the exit status. change->what is 0 when nothing was given. */
int factory_batch_check(const struct factory_tool *t, const struct factory_batch_options *b, struct cw_stock_batch_change *change);

#endif
