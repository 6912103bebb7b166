/* db_impl.h - what the two kinds of database share with db.c. Not for others. */
#ifndef CW_DB_DB_IMPL_H
#define CW_DB_DB_IMPL_H

#include "db/db.h"

#define DB_WAIT_MS 5000u /* of a configuration that says 0 */
#define DB_NAME 300

/*
 * One kind. db.c keeps what is the same for both: whether a transaction is under way and whether it has failed. So begin()
 * meets no transaction, commit() and rollback() always meet one; an error of commit() has rolled back.
 */
struct db_driver {
	enum cw_db_kind kind;
	void (*close)(struct cw_db *db);
	int (*begin)(struct cw_db *db, int write, struct cw_msg *msg);
	int (*commit)(struct cw_db *db, struct cw_msg *msg);
	void (*rollback)(struct cw_db *db);
	/* `sets` is at least 1. Not 0 from `fn` ends the walk, not the statement. Adds to *changed. */
	int (*run)(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, size_t sets,
		   cw_db_row_fn fn, void *arg, size_t *changed, struct cw_msg *msg);
	int (*script)(struct cw_db *db, const char *sql, struct cw_msg *msg);
	int (*copy)(struct cw_db *db, const char *file, struct cw_msg *msg);
};

/* The first member of each kind's own. */
struct cw_db {
	const struct db_driver *driver;
	char name[DB_NAME]; /* for sentences */
	unsigned wait_ms;
	int in_transaction;
	int failed;  /* the error that ended the transaction under way; only a rollback is possible */
	int walking; /* inside of a row function */
};

/* sqlite.c, postgres.c: everything but the members above that db.c fills. */
int db_sqlite_open(const struct cw_db_conf *conf, const char *name, struct cw_db **ret_db, struct cw_msg *msg);
int db_postgres_open(const struct cw_db_conf *conf, const char *name, struct cw_db **ret_db, struct cw_msg *msg);

#endif
