/*
 * shelf.h - what is in stock, for operators: batches, look-ups, void, reclaim, export, figures.
 */
#ifndef CW_FACTORY_SHELF_H
#define CW_FACTORY_SHELF_H

#include "factory/stock/stock.h"

/* X(symbol, name, what it means) */
#define CW_STOCK_STATES(X) \
	X(FREE, "free", "nobody has it")                                        \
	X(ALLOCATED, "allocated", "a station has it for a board")               \
	X(WRITTEN, "written", "a station reported that the board has it")       \
	X(VOID, "void", "an operator took it out; nobody gets it")

enum cw_stock_state {
#define CW_STOCK_STATE(sym, name, text) CW_STOCK_##sym,
	CW_STOCK_STATES(CW_STOCK_STATE)
#undef CW_STOCK_STATE
	CW_STOCK_STATE_COUNT
};
/* "free" and so on; of a name, or -1. */
const char *cw_stock_state_name(enum cw_stock_state state);
int cw_stock_state_of(const char *name);

/* ---- batches --------------------------------------------------------------------------- */

/* Which allocations without a report go back to the stock by themselves after the batch's lease time. A board whose report was lost may
 * have the certificate all the same: ALL is for lines whose stations always report. */
#define CW_STOCK_LEASES(X) \
	X(NONE, "none", "none")                                                 \
	X(ANONYMOUS, "anonymous", "those without a DeviceID of the station's own") \
	X(ALL, "all", "all")

enum cw_stock_lease {
#define CW_STOCK_LEASE_(sym, name, text) CW_STOCK_LEASE_##sym,
	CW_STOCK_LEASES(CW_STOCK_LEASE_)
#undef CW_STOCK_LEASE_
	CW_STOCK_LEASE_COUNT
};
/* "none" and so on; of a name, or -1. */
const char *cw_stock_lease_name(enum cw_stock_lease lease);
int cw_stock_lease_of(const char *name);

struct cw_stock_batch {
	char name[CW_STOCK_BATCH + 1], product_key[CW_STOCK_PRODUCT_KEY + 1];
	char file[256];  /* of the last import */
	int closed;      /* nothing is allocated from it; boards that have theirs still get it */
	enum cw_stock_lease lease;
	int64_t lease_ms;
	uint64_t low;    /* warn when fewer are free; 0: never */
	int64_t created, imported; /* first and last import */
	uint64_t count[CW_STOCK_STATE_COUNT];
};

/* What to change; a member counts when its bit is set. */
enum { CW_BATCH_CLOSED = 1, CW_BATCH_LEASE = 2, CW_BATCH_LOW = 4 };
struct cw_stock_batch_change {
	unsigned what;
	int closed;
	enum cw_stock_lease lease;
	int64_t lease_ms;
	uint64_t low;
};

/* Of a product, or all (NULL), by product and age. Counting looks at an index, not at the certificates: 0.1 s for a million. */
int cw_stock_batches(struct cw_stock *s, const char *product_key, int (*fn)(void *arg, const struct cw_stock_batch *b), void *arg,
		     struct cw_msg *msg);
/* product_key NULL: of every product that has a batch of that name. CW_ENOENT. */
int cw_stock_batch_change(struct cw_stock *s, const char *name, const char *product_key, const struct cw_stock_batch_change *change,
			  const struct cw_stock_actor *who, struct cw_msg *msg);

/* ---- look-ups ---------------------------------------------------------------------------- */

/* A certificate as people see it: without secrets. */
struct cw_stock_row {
	int64_t id; /* rises; for paging */
	const char *product_key, *device_name, *device_id /* "" while free */, *batch, *station, *reason, *product_id;
	const char *extra; /* further columns of the import, JSON object or "" */
	enum cw_stock_state state;
	int anonymous; /* the DeviceID was made up by us */
	int64_t imported, allocated, written, voided;
};
typedef int (*cw_stock_row_fn)(void *arg, const struct cw_stock_row *row); /* lent; not 0 ends the walk and is returned */

struct cw_stock_filter { /* NULL, -1 and 0 mean any; all that is set must fit */
	const char *product_key, *batch, *device_name, *device_id, *station;
	const char *text;     /* in the beginning of DeviceName or DeviceID: a search field */
	int state;            /* -1: any */
	int anonymous;        /* 1: only those whose DeviceID was made up by us */
	int64_t since, until; /* of the last change of state, [since, until) */
	int64_t after;        /* id: from behind this one */
	int newest;           /* the last change first (then `after` does not count) */
	size_t most;          /* 0: all */
};

int cw_stock_query(struct cw_stock *s, const struct cw_stock_filter *filter, cw_stock_row_fn fn, void *arg, struct cw_msg *msg);
/* With secrets; wiped after each call. Leaves one entry in the audit log, before the first row. */
int cw_stock_export(struct cw_stock *s, const struct cw_stock_filter *filter, const struct cw_stock_actor *who,
		    int (*fn)(void *arg, const struct cw_stock_row *row, const struct cw_stock_cert *cert), void *arg, struct cw_msg *msg);
/* The certificate of a board, for the gateway: by DeviceID (of any product, or of one), or by product and name. Written ones come
 * before allocated ones. CW_ENOENT; CW_EEXIST: several products have such a board, say which. */
int cw_stock_find(struct cw_stock *s, const char *product_key, const char *device_id, const char *device_name, struct cw_stock_cert *ret,
		  struct cw_msg *msg);

/* ---- changes --------------------------------------------------------------------------------- */

/* Take one out of the stock, whatever its state. CW_ENOENT; CW_EEXIST: is void already. */
int cw_stock_void(struct cw_stock *s, const char *product_key, const char *device_name, const char *reason,
		  const struct cw_stock_actor *who, struct cw_msg *msg);
/*
 * Allocations without report that fit the filter (its state is not looked at) go back to the stock. Without `doit` nothing is changed, only
 * shown. Each is told to fn (may be NULL) as it was.
 */
int cw_stock_reclaim(struct cw_stock *s, const struct cw_stock_filter *filter, int doit, const struct cw_stock_actor *who, cw_stock_row_fn fn,
		     void *arg, size_t *ret_count, struct cw_msg *msg);
/* The same by the leases of batches, as of now. */
int cw_stock_reclaim_leases(struct cw_stock *s, size_t *ret_count, struct cw_msg *msg);

/* ---- figures ----------------------------------------------------------------------------------- */

struct cw_stock_figures {
	uint64_t count[CW_STOCK_STATE_COUNT];
	uint64_t anonymous;               /* allocated and never written, without a DeviceID of the station's own */
	uint64_t allocated_hour, written_hour, allocated_day, written_day; /* the last 60 minutes and 24 hours */
	int64_t first_today, last;        /* of the allocations since midnight UTC; the last change */
};
/* product_key NULL: all. */
int cw_stock_figures(struct cw_stock *s, const char *product_key, struct cw_stock_figures *ret, struct cw_msg *msg);
/* Boards a slot: slots of `slot_ms` that end now, oldest first. allocated[n], written[n]. */
int cw_stock_rate(struct cw_stock *s, const char *product_key, int64_t slot_ms, size_t n, uint64_t *allocated, uint64_t *written,
		  struct cw_msg *msg);
struct cw_stock_station {
	const char *name;
	uint64_t allocated, written; /* since `since` */
	uint64_t unreported;         /* allocated and not written, of those */
	int64_t last;                /* its last change */
};
int cw_stock_stations(struct cw_stock *s, int64_t since, int (*fn)(void *arg, const struct cw_stock_station *st), void *arg,
		      struct cw_msg *msg);
/* Free certificates of each batch; a closed one has none to give, and is not warned about (low 0). Quick enough for once a minute. */
int cw_stock_free(struct cw_stock *s, int (*fn)(void *arg, const char *product_key, const char *batch, uint64_t free, uint64_t low), void *arg,
		  struct cw_msg *msg);

#endif
