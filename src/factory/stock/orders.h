/*
 * orders.h - certificates ordered from the platform (batch registration over the OpenAPI): how far each order has come, so
 * that a crash at any step neither loses nor repeats one. The steps themselves are factory/order.h.
 */
#ifndef CW_FACTORY_ORDERS_H
#define CW_FACTORY_ORDERS_H

#include "factory/stock/stock.h"

#define CW_ORDER_STEP 32

struct cw_order {
	int64_t id;     /* 0: a new one; filled by put */
	const char *product_key, *batch;
	uint64_t count; /* ordered */
	const char *step;     /* the steps of factory/order.h, as text; "done", "failed" end it */
	const char *apply_id; /* of the platform, "" before */
	const char *names;    /* JSON array of names asked for, "" when the platform makes them */
	const char *text;     /* for people: why it failed */
	int64_t created, changed;
};

/* Insert or replace, on the disk when it returns. An order under way belongs to who put it last: a second tool that works on it meets
 * CW_EEXIST when `step` is no more what it read (`expect`; NULL for a new one). */
int cw_order_put(struct cw_stock *s, struct cw_order *o, const char *expect, const struct cw_stock_actor *who, struct cw_msg *msg);
/* Newest first; lent. */
int cw_order_each(struct cw_stock *s, int (*fn)(void *arg, const struct cw_order *o), void *arg, struct cw_msg *msg);

#endif
