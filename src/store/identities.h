/*
 * identities.h - the table of identities in SQLite: identities.db in the state directory.
 *
 * Secret and settings of a row are encrypted with the key of a file beside it (key.h),
 * bound to the row's number and names: a row that is changed or moved does not open.
 * A table belongs to one thread at a time (the store thread, or a command-line tool
 * that holds the state directory's lock).
 */
#ifndef CW_STORE_IDENTITIES_H
#define CW_STORE_IDENTITIES_H

#include "base/err.h"
#include "causeway/bytes.h"

struct cw_table;

struct cw_table_row {
	const char *identity, *product_key, *device_name;
	const char *device_secret; /* NULL in lists */
	struct cw_bytes settings;  /* JSON, may be empty */
};

/* Lent for the call. Not 0 ends the walk. */
typedef int (*cw_table_row_fn)(void *arg, const struct cw_table_row *row);

enum cw_table_change { CW_TABLE_SAME, CW_TABLE_ADDED, CW_TABLE_CHANGED };

/*
 * Open or make both files. CW_EACCESS, CW_ECONF, CW_EIO with a sentence that says the way out; a change of key that was
 * interrupted is finished or undone.
 */
int cw_table_open(const char *dir, const char *key_file, struct cw_table **ret_table, struct cw_msg *msg);
void cw_table_close(struct cw_table *t); /* accepts NULL */
size_t cw_table_count(const struct cw_table *t);

/* CW_OK after fn was called; CW_ENOENT; CW_EAUTH: the row is there and does not open; CW_EIO. */
int cw_table_find(struct cw_table *t, const char *identity, size_t len, cw_table_row_fn fn, void *arg, struct cw_msg *msg);
int cw_table_find_name(struct cw_table *t, const char *product_key, const char *device_name, cw_table_row_fn fn, void *arg,
		       struct cw_msg *msg);
/* By identity, from behind `after` (NULL: the first), at most `most`. Nothing is decrypted. */
int cw_table_each(struct cw_table *t, const char *after, size_t most, cw_table_row_fn fn, void *arg, struct cw_msg *msg);

/* The same for identities that begin with `prefix`. */
int cw_table_with(struct cw_table *t, const char *prefix, size_t len, size_t most, cw_table_row_fn fn, void *arg,
		  struct cw_msg *msg);

/* Many changes as one: all of them are on disk when commit has returned, or none. */
int cw_table_begin(struct cw_table *t, struct cw_msg *msg);
int cw_table_commit(struct cw_table *t, struct cw_msg *msg);
void cw_table_rollback(struct cw_table *t);
/* Add or replace; on its own or between begin and commit. */
int cw_table_put(struct cw_table *t, const struct cw_table_row *row, enum cw_table_change *ret_change, struct cw_msg *msg);
/* CW_ENOENT when there is no such row. */
int cw_table_remove(struct cw_table *t, const char *identity, struct cw_msg *msg);
/*
 * A new key for all rows, in one transaction: the new key's file is there (KEYFILE.new) before it, and takes the
 * old one's name after it. Whatever step is the last before a crash, the next open finds the key that fits.
 */
int cw_table_rekey(struct cw_table *t, size_t *ret_rows, struct cw_msg *msg);

#endif
