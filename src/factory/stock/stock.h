/*
 * stock.h - the stock of certificates of a production line, in SQLite or PostgreSQL (db.h): who has got which.
 *
 * A product's certificates come in batches (a name an operator gives, with what holds for it) and in lots (one import,
 * whole or not at all). A certificate is free, allocated (已分配: a station has it for a board), written (已烧录: the station
 * said that the board has it) or void. Secrets are sealed with the key of a file (store/key.h), bound to product and
 * name. Every change leaves an entry in the audit log in the same transaction (audit.h).
 *
 * A stock belongs to one thread at a time; several, also of other processes and machines, may have the same database open.
 * Calls block. All times are UTC milliseconds since 1970, 0: never. Errors are those of db.h, with a sentence.
 *
 * The rest of the module: lots.h (import), shelf.h (batches, look-ups, void, reclaim, export), audit.h, devices.h (the
 * table of devices in the field), orders.h (certificates ordered from the platform).
 */
#ifndef CW_FACTORY_STOCK_H
#define CW_FACTORY_STOCK_H

#include <stdint.h>

#include "db/db.h"

/* Longest texts in bytes, without NUL: factory.md C.3 and C.5. */
#define CW_STOCK_PRODUCT_KEY 20
#define CW_STOCK_DEVICE_NAME 32
#define CW_STOCK_DEVICE_SECRET 64
#define CW_STOCK_PRODUCT_SECRET 64
#define CW_STOCK_DEVICE_ID 128
#define CW_STOCK_BATCH 64
#define CW_STOCK_STATION 64
#define CW_STOCK_REASON 200

struct cw_stock;

struct cw_stock_conf {
	const char *db;       /* as in cw_db_conf.where */
	const char *key_file; /* NULL: `db`.key beside a file; a server needs one, the same for all. Made for a new database, mode 0600 */
	const char *node;     /* whose chain of the audit log this is; NULL: this host's name. Several servers: one name each */
	int read_only;        /* look-ups only; secrets open when the key is there */
	unsigned wait_ms;     /* as in db.h */
};

/*
 * Opens, makes or upgrades the tables; a new database gets the key of the file, which is made when it is not there. CW_ECONF: no
 * key file for a database that has one, another key than its secrets were sealed with, tables of a later version, or a file with
 * tables of somebody else; the sentence says the way out.
 */
int cw_stock_open(const struct cw_stock_conf *conf, struct cw_stock **ret_stock, struct cw_msg *msg);
void cw_stock_close(struct cw_stock *s); /* accepts NULL */
/* Is the database there and does it take writes? For health. */
int cw_stock_ping(struct cw_stock *s, struct cw_msg *msg);
/* A copy while others work; the key file is not in it. As cw_db_copy(). */
int cw_stock_backup(struct cw_stock *s, const char *file, struct cw_msg *msg);

/* Who does something, for the audit log. */
struct cw_stock_actor {
	const char *name;    /* an operator ("cli:root", "page:maria") or a station; never NULL */
	const char *address; /* where from; may be empty */
};

/* ---- products ------------------------------------------------------------------------ */

enum cw_stock_crc_form { CW_STOCK_CRC_TEXT, CW_STOCK_CRC_NUMBER };
enum cw_stock_crc_order { CW_STOCK_CRC_CODE, CW_STOCK_CRC_PROSE }; /* pk dn ds ps; pk ps dn ds (features B11) */

/* What holds for all certificates of a product. Made with defaults by its first import. */
struct cw_stock_product {
	char product_key[CW_STOCK_PRODUCT_KEY + 1];
	int bluetooth;              /* the CRC goes over ProductID too (C.2) */
	char product_id[33];        /* of a Bluetooth product; a certificate's own (column ProductID) comes first */
	enum cw_stock_crc_form crc_form;
	enum cw_stock_crc_order crc_order;
	int normalize_mac;          /* DeviceIDs that are MACs in any form become 12 upper-case hex digits (E.3) */
	char reply_columns[256];    /* further columns of the import that replies carry, with commas; empty: none (B55) */
};

/* CW_ENOENT: no batch of it was imported. */
int cw_stock_product_get(struct cw_stock *s, const char *product_key, struct cw_stock_product *ret, struct cw_msg *msg);
int cw_stock_product_put(struct cw_stock *s, const struct cw_stock_product *p, const struct cw_stock_actor *who, struct cw_msg *msg);
int cw_stock_products(struct cw_stock *s, int (*fn)(void *arg, const struct cw_stock_product *p), void *arg, struct cw_msg *msg);

/* ---- the line -------------------------------------------------------------------------- */

/* A certificate with its secrets. Wipe it after use. */
struct cw_stock_cert {
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_name[CW_STOCK_DEVICE_NAME + 1];
	char device_secret[CW_STOCK_DEVICE_SECRET + 1], product_secret[CW_STOCK_PRODUCT_SECRET + 1];
	char product_id[33];
	char device_id[CW_STOCK_DEVICE_ID + 1]; /* as it was stored; made up by us (CW and 16 hex digits) when none was sent */
	uint32_t crc;
	enum cw_stock_crc_form crc_form;
	char extra[512]; /* JSON object of the product's reply_columns; empty: none */
};

/* X(symbol, Status as the reply spells it, HTTP status, what the reply's Message says) of factory.md C.3. */
#define CW_STOCK_ANSWERS(X) \
	X(OK, "OK", 200, "")                                                                                                                  \
	X(UNKNOWN_PRODUCT, "UNKNOWN_PRODUCT", 200, "no batch of this product was imported; check ProductKey, or import its certificates")    \
	X(OUT_OF_STOCK, "OUT_OF_STOCK", 200, "no certificate of this product is left; import or order more")                                 \
	X(UNKNOWN_DEVICE, "UNKNOWN_DEVICE", 200, "this DeviceID has no certificate; ask for one with Action 0 first")                        \
	X(BATCH_CLOSED, "BATCH_CLOSED", 200, "the operator closed all batches of this product that have certificates left; have one opened") \
	X(QUOTA_EXCEEDED, "QUOTA_EXCEEDED", 200, "this station's quota is used up; have it raised, or wait for its next period")             \
	X(BAD_REQUEST, "BAD_REQUEST", 400, "the request is not like {\"ProductKey\":\"..\",\"DeviceID\":\"..\",\"Action\":0}")               \
	X(UNAUTHORIZED, "UNAUTHORIZED", 401, "this station is not known, or may not ask for this product; check its token or certificate")  \
	X(BUSY, "BUSY", 503, "the storage is not available; nothing was allocated; ask again")

enum cw_stock_answer {
#define CW_STOCK_ANSWER(sym, name, http, text) CW_STOCK_##sym,
	CW_STOCK_ANSWERS(CW_STOCK_ANSWER)
#undef CW_STOCK_ANSWER
	CW_STOCK_ANSWER_COUNT
};

enum cw_stock_action { CW_STOCK_ALLOCATE, CW_STOCK_REPORT }; /* the values of Action */

/* One request of a station. The texts are lent until cw_stock_serve() returns. */
struct cw_stock_ask {
	enum cw_stock_action action;
	const char *product_key;
	struct cw_bytes device_id;    /* as sent, exact bytes, valid UTF-8; empty: none was sent */
	struct cw_stock_actor who;    /* name: the station, or the address without its port where stations have no names */
	uint64_t quota;               /* allocations of new certificates this station may have since quota_since; 0: any number */
	int64_t quota_since;
	/* the answer */
	enum cw_stock_answer answer;
	int fresh;                    /* ALLOCATE: a certificate was taken; 0: it had it already. REPORT: it was not yet written */
	int anonymous;                /* no DeviceID of the station's own */
	struct cw_stock_cert cert;    /* of ALLOCATE with OK; of REPORT only product_key and device_id are filled */
};

/*
 * Serve many in one transaction, in order; two with the same DeviceID get the same certificate. 0: every answer is final and on the
 * disk; a sentence in msg then (empty otherwise) says which certificate's secrets do not open: that one is not given out (BUSY to its board; a
 * free one is stepped over). A board whose certificate is just being imported is told BUSY, too. An error: nothing was changed by it (but see CW_EUNREACH in db.h); all answers are BUSY. Serialisation failures are tried
 * again inside, a few times. Also reclaims leases that are over before it says OUT_OF_STOCK or BATCH_CLOSED, in a transaction
 * of its own after the first.
 */
int cw_stock_serve(struct cw_stock *s, struct cw_stock_ask *const *asks, size_t count, struct cw_msg *msg);

/* A DeviceID as the product compares it, into out[CW_STOCK_DEVICE_ID + 1]. */
void cw_stock_device_id(const struct cw_stock_product *p, struct cw_bytes sent, char *out);
/* The check sum of C.2; product_id and order of `p` count. */
uint32_t cw_stock_crc(const struct cw_stock_product *p, const struct cw_stock_cert *cert);

#endif
