/* stock_impl.h - what the rooms of the stock share. Not for others. */
#ifndef CW_FACTORY_STOCK_IMPL_H
#define CW_FACTORY_STOCK_IMPL_H

#include <mbedtls/sha256.h>

#include "factory/stock/audit.h"
#include "factory/stock/devices.h"
#include "factory/stock/lots.h"
#include "factory/stock/orders.h"
#include "factory/stock/shelf.h"
#include "factory/stock/stock.h"
#include "store/key.h"

#define STOCK_VERSION 1 /* of the tables */
#define STOCK_MAC 32

/* chain.c: the states of SHA-256 in which the two halves of an HMAC begin. As secret as the key. */
struct stock_mac_key {
	mbedtls_sha256_context inner, outer;
};
void stock_mac_key_take(struct stock_mac_key *k, const uint8_t key[STOCK_MAC]);

struct cw_stock {
	struct cw_db *db;
	struct cw_key key;
	uint8_t audit_key[STOCK_MAC]; /* HMAC-SHA256(key, "causeway audit") */
	struct stock_mac_key audit_mac; /* of it */
	int has_key;                  /* 0: read-only and without the key's file; nothing opens */
	int read_only;
	char node[65];
	struct cw_lot *lot; /* the import under way */
	char import_lock[1088]; /* lots.c; of a file */
};

/* schema.c: make all tables, inside a transaction. */
int stock_schema_make(struct cw_db *db, struct cw_msg *msg);

/* seal.c: DeviceSecret and ProductSecret of a certificate as one sealed text, bound to product and name. */
#define STOCK_SEALED_MAX (CW_STOCK_DEVICE_SECRET + CW_STOCK_PRODUCT_SECRET + 2u + CW_SEAL_EXTRA)
int stock_seal(struct cw_stock *s, const char *product_key, const char *device_name, const char *device_secret, const char *product_secret,
	       uint8_t out[STOCK_SEALED_MAX], size_t *ret_len);
/* CW_EAUTH with a sentence: sealed with another key, moved or damaged. Fills the two secrets only. */
int stock_open_seal(struct cw_stock *s, const char *product_key, const char *device_name, struct cw_bytes sealed, struct cw_stock_cert *ret,
		    struct cw_msg *msg);

/* product.c: a row of COLUMNS there. */
void stock_product_read(const struct cw_db_value *columns, struct cw_stock_product *p);
/* 1: one to `most` printable ASCII characters without blanks. */
int stock_word(const char *text, size_t most);
/* 1: every reply has a member of this name, so that a further column cannot be in it. */
int stock_reply_member(const char *name);

/* lots.c: 1: somebody is importing at this moment, here or elsewhere. Inside a transaction. CW_E* */
int stock_import_runs(struct cw_stock *s, struct cw_msg *msg);

/* chain.c: the key of all macs. */
void stock_audit_key(const struct cw_key *key, uint8_t out[STOCK_MAC]);
/* entries to the end of this node's chain, inside a transaction for writing. Fills number, node and at of each; NULL texts are "". */
int stock_audit(struct cw_stock *s, struct cw_audit_entry *entries, size_t count, struct cw_msg *msg);
/* What an entry's mac is made of; the verifier makes it again. */
void stock_audit_mac(const struct cw_stock *s, const uint8_t before[STOCK_MAC], const struct cw_audit_entry *e, uint8_t out[STOCK_MAC]);
/* Of a row of `chain`. */
void stock_chain_seal(const struct cw_stock *s, const char *node, int64_t number, const uint8_t mac[STOCK_MAC], uint8_t out[STOCK_MAC]);
const char *stock_audit_name(enum cw_audit_kind kind);

/*
 * lot_sum.c: what the entry of an import says of its certificates, so that ones that were put in, taken out or edited by hand are found.
 * The verifier expects of lots.c:
 *  - one IMPORT entry a lot, in the transaction that makes it visible, without device_name and device_id, whose text begins with
 *    stock_lot_sum_text() of all its new certificates; anything may follow;
 *  - audit_node '', audit_number 0 and changed 0 in each certificate until something changes it;
 *  - but for a row that comes with a device_id: an IMPORT entry of its own with product_key, device_name, device_id and the text
 *    "lot 7: allocated" or "lot 7: written", which audit_node and audit_number name; who is its station. An import that does not come to its
 *    end leaves such entries: no certificate is of that lot then.
 * And of serve.c: a certificate names the ALLOCATE or WRITE entry that changed it last, whose device_id is the certificate's, whose who is the
 * station, and whose at is the time of the change.
 */
struct stock_lot_sum {
	uint64_t count;
	uint8_t sum[STOCK_MAC]; /* exclusive or of a mac of each: the order does not count */
};
#define STOCK_LOT_SUM_TEXT 128
/* 0 or CW_ENOMEM. */
int stock_lot_sum_add(const struct cw_stock *s, struct stock_lot_sum *sum, const char *product_key, const char *device_name,
		      const char *product_id, const char *extra);
/* "lot 7: 1000 new, sum HEX" */
void stock_lot_sum_text(const struct stock_lot_sum *sum, int64_t lot, char out[STOCK_LOT_SUM_TEXT]);
/* 1: `text` begins so. */
int stock_lot_sum_read(const char *text, int64_t *ret_lot, struct stock_lot_sum *ret_sum);

/* shelf.c: a certificate as it stands in the database, lent. */
struct stock_row {
	struct cw_stock_row row;
	int64_t changed;
	struct cw_bytes secrets;
	const char *audit_node;
	int64_t audit_number;
	struct cw_stock_product product; /* but for its reply_columns */
};
/* The certificates that fit, piece by piece, so that it may be a million; also inside a transaction. fn must not use the database. */
int stock_walk(struct cw_stock *s, const struct cw_stock_filter *filter, int (*fn)(void *arg, const struct stock_row *r), void *arg,
	       struct cw_msg *msg);
/* A text column; "" for a NULL. */
const char *stock_text(const struct cw_db_value *column);
/* CW_EINVAL naming `what`: longer than `most` bytes, not UTF-8, or with control characters. */
int stock_check_text(const char *what, const char *text, size_t most, struct cw_msg *msg);

/* reclaim.c: inside a transaction for writing, allocations whose batch's lease is over go back to the stock, at most `most`; of a product or
 * (NULL) all. */
int stock_leases_over(struct cw_stock *s, const char *product_key, size_t most, size_t *ret_count, struct cw_msg *msg);

/* A transaction tried again as long as another has what it needs (CW_EBUSY), a few times. `work` runs inside; it may run several times. */
int stock_transact(struct cw_stock *s, int (*work)(struct cw_stock *s, void *arg, struct cw_msg *msg), void *arg, struct cw_msg *msg);

/* " FOR UPDATE SKIP LOCKED" where the database needs it, else "": two static texts of each statement. */
#define STOCK_SQL(s, sqlite_text, postgres_text) (cw_db_kind((s)->db) == CW_DB_SQLITE ? (sqlite_text) : (postgres_text))

#endif
