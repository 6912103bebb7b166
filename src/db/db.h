/*
 * db.h - one SQL database, SQLite or PostgreSQL, behind one set of calls.
 *
 * The same SQL text runs on both: parameters are $1, $2 ..; NULLs are typed with CAST($1 AS TEXT); ON CONFLICT and RETURNING
 * are there. What differs is asked with cw_db_kind(): FOR UPDATE SKIP LOCKED, and the names of a few types in CREATE TABLE.
 * SQL texts are static: the statement is prepared at its first use and kept with the connection.
 *
 * SQLite: WAL, synchronous=FULL, foreign keys on; other processes may have the file open at the same time, and a writer
 * waits for another up to `wait_ms`. PostgreSQL: synchronous_commit on; READ COMMITTED in a transaction for writing, while one
 * for reading sees one state, as in SQLite; a lock is waited for up to `wait_ms` (CW_EBUSY), a silent server a little longer;
 * several hosts in a connection string are tried in their order; the password may come from ~/.pgpass. A lost connection is opened again by
 * the next cw_db_begin() or statement outside a transaction, not in the middle of one.
 *
 * A database belongs to one thread at a time. Every call may block on the disk or the network, for at most about `wait_ms`.
 *
 * Errors of all calls, with a sentence (never with the values of parameters, nor the password of a connection string):
 *   CW_EBUSY     another has what this needs; nothing was changed: roll back and try the whole transaction again. After
 *                `wait_ms` in SQLite; serialisation failures and deadlocks (40001, 40P01) in PostgreSQL
 *   CW_EEXIST    a unique key is taken
 *   CW_EUNREACH  the server cannot be reached, or is gone. If that was cw_db_commit(), nobody knows whether it happened
 *   CW_EACCESS   refused by file mode, by the server's rules, or a read-only disk
 *   CW_ENOENT    cw_db_open(): the file is not there (for reading), or its folder, or no such database on the server
 *   CW_EINVAL    a TEXT that is not UTF-8, or has a NUL in it; cw_db_open(): a connection string that is not understood
 *   CW_ENOMEM    out of memory
 *   CW_EIO       everything else: disk full, damaged file, SQL that the database does not take
 * A statement that fails inside a transaction fails the transaction: every later one is refused with the same error, and so is
 * the commit, until cw_db_rollback(). "x" in SQL is a name, 'x' a text, in both.
 */
#ifndef CW_DB_DB_H
#define CW_DB_DB_H

#include <stdint.h>

#include "base/err.h"
#include "causeway/bytes.h"

struct cw_db;

enum cw_db_kind { CW_DB_SQLITE, CW_DB_POSTGRES };

enum cw_db_type { CW_DB_NULL, CW_DB_INT, CW_DB_TEXT, CW_DB_BLOB };

struct cw_db_value {
	enum cw_db_type type;
	int64_t number;        /* INT */
	struct cw_bytes bytes; /* TEXT (UTF-8) and BLOB; lent. TEXT of a result has a NUL behind it, not counted */
};

static inline struct cw_db_value cw_db_null(void)
{
	return (struct cw_db_value){ .type = CW_DB_NULL };
}

static inline struct cw_db_value cw_db_int(int64_t number)
{
	return (struct cw_db_value){ .type = CW_DB_INT, .number = number };
}

/* NULL: a NULL. */
static inline struct cw_db_value cw_db_text(const char *text)
{
	return (struct cw_db_value){ .type = text == NULL ? CW_DB_NULL : CW_DB_TEXT, .bytes = cw_bytes_text(text) };
}

static inline struct cw_db_value cw_db_blob(struct cw_bytes bytes)
{
	return (struct cw_db_value){ .type = CW_DB_BLOB, .bytes = bytes };
}

/* One row of a result, lent for the call. `set` counts the parameter sets of cw_db_many() from 0 (0 for cw_db_run()). Not 0
 * ends the walk, and is what the call returns. It must not use the database. */
typedef int (*cw_db_row_fn)(void *arg, size_t set, const struct cw_db_value *columns, size_t count);

struct cw_db_conf {
	const char *where;   /* a file (made when it is not there, mode 0600), or postgresql://.. (postgres://..); not "host=.. .." */
	int read_only;       /* the file must be there; nothing is written, not even a schema */
	unsigned wait_ms;    /* 0: 5,000 */
};

int cw_db_open(const struct cw_db_conf *conf, struct cw_db **ret_db, struct cw_msg *msg);
void cw_db_close(struct cw_db *db); /* accepts NULL; a transaction under way is rolled back */
enum cw_db_kind cw_db_kind(const struct cw_db *db);
/* 1: `where` names a PostgreSQL server. */
int cw_db_is_server(const char *where);
/* `where` without a password, for people and logs. */
void cw_db_name(const char *where, char *out, size_t size);
/*
 * `arg` of main() as a copy that is kept until the process ends; where it lies it stands without its password from now on: everybody on the machine can
 * read command lines, as they are at that moment. NULL: no memory.
 */
const char *cw_db_hide(char *arg);

/* `write`: SQLite takes the writer's lock at once (BEGIN IMMEDIATE), so that a later statement does not meet CW_EBUSY. */
int cw_db_begin(struct cw_db *db, int write, struct cw_msg *msg);
int cw_db_commit(struct cw_db *db, struct cw_msg *msg); /* on the disk when it returns; an error has rolled back, but see above */
void cw_db_rollback(struct cw_db *db);                  /* harmless without a transaction */

/* One statement. `fn` may be NULL. ret_changed (may be NULL): rows inserted, updated or deleted. */
int cw_db_run(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, cw_db_row_fn fn, void *arg,
	      size_t *ret_changed, struct cw_msg *msg);
/*
 * The same statement for `sets` sets of `count` parameters each, which lie behind one another, in order, inside a
 * transaction: SQLite one after the other, PostgreSQL in one pipeline, so that it costs one journey.
 */
int cw_db_many(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, size_t sets, cw_db_row_fn fn,
	       void *arg, size_t *ret_changed, struct cw_msg *msg);
/* Several statements with ; between, without parameters or results, not kept: schemas. */
int cw_db_script(struct cw_db *db, const char *sql, struct cw_msg *msg);
/*
 * A consistent copy in a new file while others work (SQLite only; CW_EUNSUPPORTED for PostgreSQL, whose own tools do that).
 * CW_EEXIST when `file` is there. On the disk when it returns.
 */
int cw_db_copy(struct cw_db *db, const char *file, struct cw_msg *msg);

#endif
