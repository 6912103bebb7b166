/* db_test.h - what the tests of databases share: a place, a database in it, and asking it. */
#ifndef TEST_DB_TEST_H
#define TEST_DB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/db.h"

/* Of the running test: a folder, and a file in it or the server of CW_TEST_DB. A writer waits 200 ms. */
extern char db_folder[64], db_where[512];
int db_make_place(void **state);
int db_drop_place(void **state);

#define DB_RUN(test) cmocka_unit_test_setup_teardown(test, db_make_place, db_drop_place)

struct cw_db *db_opened(void);
/* With the tables `thing` (id, name UNIQUE, number, bytes) and `part` (thing REFERENCES thing), empty. */
struct cw_db *db_fresh(void);
/* cw_db_open() of `where` fails with `rc` and a sentence that has `said` in it. */
void db_not_opened(const char *where, int read_only, int rc, const char *said);

/* All rows as one text: columns with '|' between, rows with ';' behind; blobs in hex; the set before a ':' where it is not 0. */
struct db_text {
	char text[2000];
	size_t seen, stop_at; /* 0: never; else the walk ends with 77 */
};
int db_on_row(void *arg, size_t set, const struct cw_db_value *columns, size_t count);

void db_script(struct cw_db *db, const char *sql);
void db_expect(struct cw_db *db, const char *rows, const char *sql, const struct cw_db_value *params, size_t count);
/* Returns the rows changed. */
size_t db_run(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count);
void db_refused(struct cw_db *db, int rc, const char *said, const char *sql, const struct cw_db_value *params, size_t count);
void db_begin(struct cw_db *db);
void db_commit(struct cw_db *db);
#define DB_INSERT "INSERT INTO thing (name, number, bytes) VALUES ($1, $2, $3) RETURNING id, name"
size_t db_put(struct cw_db *db, const char *name, int64_t number);

#endif
