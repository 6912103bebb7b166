/*
 * audit.h - who did what to the stock, when, from where. Nobody changes it afterwards unseen.
 *
 * Each server and tool has a chain of its own (its node name), numbered from 1. An entry's mac is HMAC-SHA256, with a key
 * made from the key file, over the mac before it and all its fields; the last number and mac of a chain stand in a row
 * of their own, with a mac too. Each certificate has the number of the entry that changed it last, and the entry of an import
 * has a keyed sum of its certificates. So what is found, without the key being able to be guessed from the file: an entry that was
 * edited, taken out, put in, moved, renumbered or copied to another chain; a head that was edited; a certificate that was added or
 * deleted by hand, or put back to what it was before; an edited name, product, ProductID, further column, DeviceID, station, state,
 * reason, time of the last change, or secret of a certificate.
 *
 * What is not found:
 *  - a whole database put back from an older copy, which is consistent in itself; nor a whole chain taken out that no certificate names, nor
 *    the newest entries taken out together with an older head, if no certificate names one of them (entries of exports, of boards that asked
 *    again, of settings). Note the heads (`audit --head`) elsewhere: verified with these, all three are found;
 *  - edits of what holds for a batch or a product (closed, lease, warning, form of the CRC), which batch a lot is in within
 *    a product, orders, file names of lots, and times in the table of devices; a device's secret is bound to its id, product and name, so an edit
 *    of those is refused when the device asks;
 *  - the time of the allocation of a certificate that has been written or made void since; a row put back over entries of two servers
 *    within a minute, for their clocks may differ;
 *  - anything done by one who has the key file, or the rights of the server while it runs.
 */
#ifndef CW_FACTORY_AUDIT_H
#define CW_FACTORY_AUDIT_H

#include "factory/stock/stock.h"

/* X(symbol, name, what it means): `what` of an entry */
#define CW_AUDIT_KINDS(X)                                                                                              \
	X(ALLOCATE, "allocate", "a certificate was given out for a board")                                             \
	X(AGAIN, "again", "a board that has one asked again")                                                          \
	X(WRITE, "write", "a station reported that the board has it")                                                  \
	X(IMPORT, "import", "a lot was imported")                                                                      \
	X(VOID, "void", "a certificate was taken out")                                                                 \
	X(RECLAIM, "reclaim", "an allocation without report went back to the stock")                                   \
	X(BATCH, "batch", "a batch was closed, opened or changed")                                                     \
	X(PRODUCT, "product", "a product's settings were changed")                                                     \
	X(EXPORT, "export", "certificates were exported with their secrets")                                           \
	X(DEVICE, "device", "the table of devices in the field was changed")                                           \
	X(HANDOUT, "handout", "a device in the field was given its certificate")                                       \
	X(ORDER, "order", "certificates were ordered from the platform")

enum cw_audit_kind {
#define CW_AUDIT_KIND(sym, name, text) CW_AUDIT_##sym,
	CW_AUDIT_KINDS(CW_AUDIT_KIND)
#undef CW_AUDIT_KIND
	CW_AUDIT_KIND_COUNT
};

struct cw_audit_entry {
	const char *node;
	int64_t number, at;
	const char *what, *who, *address, *product_key, *device_name, *device_id, *text; /* "" where there is none */
};

struct cw_audit_filter { /* NULL and 0: any */
	const char *node, *what, *who, *product_key, *device_name, *device_id;
	int64_t since, until;
	int newest;  /* last first */
	size_t most;
};

int cw_audit_each(struct cw_stock *s, const struct cw_audit_filter *filter, int (*fn)(void *arg, const struct cw_audit_entry *e), void *arg,
		  struct cw_msg *msg);

struct cw_audit_problem {
	const char *node;
	int64_t number;       /* of the entry; 0: of the chain or the stock */
	const char *sentence; /* what does not fit */
};
/*
 * All chains, and the stock against them. fn is told each problem (the first 100). ret_entries: looked at. `heads`: NULL, or
 * what cw_audit_heads() said earlier: those entries must still be there. 0 also when there are problems.
 */
int cw_audit_verify(struct cw_stock *s, const char *heads, void (*fn)(void *arg, const struct cw_audit_problem *p), void *arg,
		    uint64_t *ret_entries, uint64_t *ret_problems, struct cw_msg *msg);
/* "NODE NUMBER MAC" lines, one a chain. */
int cw_audit_heads(struct cw_stock *s, void (*fn)(void *arg, const char *line), void *arg, struct cw_msg *msg);

/* Whether entries can be added to this node's own chain; each transaction asks it, too. CW_EIO: its end was edited or lost. */
int cw_stock_chain_check(struct cw_stock *s, struct cw_msg *msg);

#endif
