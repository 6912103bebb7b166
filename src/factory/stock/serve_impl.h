/*
 * serve_impl.h - one group of requests on its way through one transaction (serve.c), and its statements (serve_sql.c).
 *
 * Everything of a group is asked for in sets, so that a group costs a handful of journeys to a server, however many requests
 * it has: products, boards, quotas, free certificates; then the answers are decided here, in order, without the database;
 * then the entries of the audit log and the changes are written.
 */
#ifndef CW_FACTORY_SERVE_IMPL_H
#define CW_FACTORY_SERVE_IMPL_H

#include "base/arena.h"
#include "base/map.h"
#include "factory/stock/stock_impl.h"

#define SERVE_KEY_MOST (CW_STOCK_PRODUCT_KEY + 1 + CW_STOCK_DEVICE_ID)

/* A certificate that a board has, or is to have. */
struct serve_cert {
	int64_t id;
	char device_name[CW_STOCK_DEVICE_NAME + 1], product_id[33];
	char device_secret[CW_STOCK_DEVICE_SECRET + 1], product_secret[CW_STOCK_PRODUCT_SECRET + 1];
	struct cw_bytes sealed; /* in the arena */
	const char *extra;      /* likewise */
	int opened;             /* 1; CW_EAUTH: cannot be */
};

/* A lot with free certificates. */
struct serve_lot {
	struct serve_lot *next;
	int64_t id, after; /* certificates up to this one were looked at */
	int closed;
};

struct serve_product {
	struct cw_map_node node; /* by its key */
	struct cw_stock_product p;
	const char *key;
	int known;
	struct serve_lot *lots, **lots_end, *lot; /* oldest first; the one that is taken from */
	struct serve_cert *picks;                 /* free ones: `have` of `need` */
	size_t need, have, used, damaged;
};

/* A DeviceID that is asked for or reported in this group, once for all its requests. */
struct serve_board {
	struct cw_map_node node;
	char key[SERVE_KEY_MOST + 1]; /* product_key NUL device_id NUL */
	size_t key_len;
	struct serve_product *product;
	const char *device_id; /* in key */
	int anonymous;         /* it was made up by us, now or earlier */
	int made_up;           /* now: nobody has it */
	int wants;             /* somebody asks for a certificate */
	int hidden;            /* its certificate is of an import under way */
	int state;             /* CW_STOCK_FREE: has none */
	struct serve_cert cert;

	const char *station;
	unsigned taken : 1, reported : 1; /* what there is to be written: was free, was not yet written */
	size_t entry_taken, entry_reported; /* of these in the group's entries */
};

struct serve_quota {
	struct cw_map_node node;
	char key[CW_STOCK_STATION + 32];
	const char *station;
	int64_t since;
	uint64_t used;
};

struct serve_group {
	struct cw_stock *s;
	struct cw_stock_ask *const *asks;
	size_t count;
	struct cw_arena arena;
	struct cw_map product_map, board_map, quota_map;
	struct serve_product *products; /* [count] */
	struct serve_board *boards;     /* [count] */
	struct serve_quota *quotas;     /* [count] */
	struct serve_board **of_ask;    /* [count]; NULL: the answer stands already */
	struct serve_board **sorted;    /* [count]; those looked up, in the order in which all servers lock them */
	struct serve_quota **quota_of;  /* [count] */
	struct cw_audit_entry *entries; /* [count] */
	struct cw_db_value *values;     /* [count * SERVE_VALUES] */
	size_t product_count, board_count, quota_count, entry_count;
	struct cw_msg damaged; /* the first seal that did not open */
};
#define SERVE_VALUES 8u

int serve_load_products(struct serve_group *g, struct cw_msg *msg);
int serve_load_boards(struct serve_group *g, struct cw_msg *msg);
int serve_load_quotas(struct serve_group *g, struct cw_msg *msg);
/* Free certificates for all that need some, as far as there are any. */
int serve_pick(struct serve_group *g, struct cw_msg *msg);
/* What was decided. CW_EBUSY: another server was quicker. */
int serve_store(struct serve_group *g, struct cw_msg *msg);
/* The secrets of `c`, once. CW_EAUTH */
int serve_open(struct serve_group *g, const struct serve_product *p, struct serve_cert *c);

#endif
