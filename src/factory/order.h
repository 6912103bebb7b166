/*
 * order.h - certificates from the platform straight into the stock: batch registration over the management API.
 *
 * An order is a row in the stock (orders.h) that says how far it has come; each step is on the disk before the call that it stands for. So an
 * order that a crash, a network or a platform interrupted is taken up where it was:
 *
 *   named     our names are chosen and kept; nothing was asked for
 *   checking  BatchCheckDeviceNames gave an ApplyId; asked for its status until the names are good
 *   creating  BatchRegisterDeviceWithApplyId was, or is about to be, called: the ApplyId stands for one creation however
 *             often it is called; asked for its status until it is done
 *   fetching  the certificates are read, page by page, into a lot
 *   done, failed
 *
 * With names of the platform's choice (BatchRegisterDevice) there is one step of which nobody can say whether it happened when its
 * answer is lost: `asked`, without an ApplyId. Such an order is not repeated: the operator looks the batch up in the console and gives its
 * number, or forgets the order. Names of our own have no such step.
 *
 * On a worker's loop, but for the stock, whose calls block: a tool's loop, not the server's.
 */
#ifndef CW_FACTORY_ORDER_H
#define CW_FACTORY_ORDER_H

#include "factory/stock/lots.h"
#include "factory/stock/orders.h"
#include "loop/worker.h"
#include "provision/openapi_call.h"

#define CW_ORDER_MOST 1000u /* certificates of one order: what a call of the platform takes */

struct cw_order_run {
	struct cw_worker *worker;
	struct cw_fetch_pool *pool;
	struct cw_stock *stock;
	const struct cw_openapi_account *account;
	const char *product_secret; /* goes with the certificates; the platform's answers do not have it */
	const char *apply_id;       /* for an order that is `asked`: what the operator found; or NULL */
	struct cw_stock_actor who;
	/* How it goes, for people. May be NULL. */
	void (*tell)(struct cw_order_run *r, const char *sentence);
	/*
	 * Exactly once. 0: all is in stock, `got` says how much; CW_EREFUSED: the order has failed, `text` says why; anything
	 * else: it stays where it is, run it again.
	 */
	void (*done)(struct cw_order_run *r, int rc, const struct cw_lot_result *got, const char *text);
	void *ctx;  /* the caller's */
};

/* A new order on the disk. `named`: names of ours. ret_id: its number. */
int cw_order_new(struct cw_stock *s, const char *product_key, const char *batch, unsigned count, int named, const struct cw_stock_actor *who,
		 int64_t *ret_id, struct cw_msg *msg);
/* Go on with an order until it ends. CW_ENOENT; CW_EEXIST: has ended; CW_EBUSY: `asked`, see above. */
int cw_order_start(struct cw_order_run *r, int64_t id, struct cw_msg *msg);
/* An order that is not to be gone on with. CW_ENOENT, CW_EEXIST as above. */
int cw_order_forget(struct cw_stock *s, int64_t id, const struct cw_stock_actor *who, struct cw_msg *msg);

#endif
