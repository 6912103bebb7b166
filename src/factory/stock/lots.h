/*
 * lots.h - certificates into the stock: a lot is one import, in whole or not at all.
 *
 * Rows are written in pieces, so that the line is never kept waiting, into a lot that nobody sees until it is finished. What a
 * killed import left behind is removed by the next one.
 */
#ifndef CW_FACTORY_LOTS_H
#define CW_FACTORY_LOTS_H

#include "factory/stock/stock.h"

struct cw_lot;

struct cw_lot_conf {
	const char *batch; /* its name; made when new; its certificates may be of several products, each then has a batch of that name */
	const char *file;  /* where it came from, for people */
	struct cw_stock_actor who;
};

struct cw_lot_row {
	const char *product_key, *device_name, *device_secret, *product_secret; /* all needed */
	const char *product_id;     /* may be NULL */
	const char *extra;          /* JSON object of further columns, or NULL */
	const char *device_id;      /* NULL, or: allocated to this board already (an import of what another system gave out) */
	int written;                /* with device_id: and reported */
};

struct cw_lot_result {
	size_t fresh, known; /* new in stock; there already with the same secrets */
	int64_t lot;         /* its number; 0: nothing was new */
};

/*
 * Begin. One import at a time in a database, in whatever process: CW_EBUSY. Who imports holds a lock that ends with the process (on
 * `db`.import beside a file; an advisory lock of PostgreSQL, so the connection string must lead to the server itself or a
 * pool that keeps sessions); a lot that nobody sees while nobody holds the lock is a dead one, and is removed here.
 */
int cw_lot_begin(struct cw_stock *s, const struct cw_lot_conf *conf, struct cw_lot **ret_lot, struct cw_msg *msg);
/*
 * Add a row. CW_EEXIST: in stock, or earlier in this lot, with another secret, or the device_id has another certificate;
 * CW_EINVAL: a part is missing, too long or not of its form. The sentence names the column (DeviceName, DeviceSecret, ..), not the value of
 * a secret. After an error that is not one of these two, abandon.
 */
int cw_lot_add(struct cw_lot *lot, const struct cw_lot_row *row, struct cw_msg *msg);
/* Everything becomes visible at once; CW_EBUSY when a station was quicker with one of its boards. on the disk when it returns. Frees the lot, also on errors. */
int cw_lot_finish(struct cw_lot *lot, struct cw_lot_result *ret, struct cw_msg *msg);
/* Nothing of it stays. Accepts NULL. */
void cw_lot_abandon(struct cw_lot *lot);

#endif
