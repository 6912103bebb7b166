/* db.c - see db.h: what is the same for both kinds. */
#include "db/db_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

int cw_db_is_server(const char *where)
{
	return strncmp(where, "postgresql://", 13) == 0 || strncmp(where, "postgres://", 11) == 0;
}

/* libpq's other form, "host=db password=..": not taken, but it must be recognised, for it would be the name of a file. */
static int is_keywords(const char *where)
{
	static const char *const words[] = { "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "sslmode" };
	size_t i, len = strspn(where, "abcdefghijklmnopqrstuvwxyz");

	for (i = 0; where[len] == '=' && i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i]) == len && strncmp(words[i], where, len) == 0)
			return 1;
	}
	return 0;
}

/* `?key=value&..`: only what cannot be secret keeps its value. */
static void name_query(const char *query, char *out, size_t size)
{
	static const char *const open[] = { "host", "hostaddr", "port", "dbname", "user", "sslmode", "target_session_attrs" };
	size_t used = 0;

	out[0] = '\0';
	while (*query != '\0' && used < size) {
		size_t len = strcspn(query + 1, "&") + 1, key = strcspn(query + 1, "=&"), i;
		int shown = 0, n;

		for (i = 0; i < sizeof(open) / sizeof(open[0]); i++)
			shown |= strlen(open[i]) == key && strncmp(open[i], query + 1, key) == 0;
		if (shown)
			n = snprintf(out + used, size - used, "%.*s", (int)len, query);
		else
			n = snprintf(out + used, size - used, "%.*s=***", (int)key + 1, query);
		used += (size_t)n;
		query += len;
	}
}

/* Where libpq sees the parts of scheme://user:password@hosts/name?query; at: NULL without a user. */
struct parts {
	const char *start, *at, *query;
};

/*
 * People write passwords with @, / and ? in them; then the parts are others than they think, and a sentence about the host
 * would show a piece of the password. CW_EINVAL for whatever may be that.
 */
static int split(const char *where, struct parts *ret)
{
	const char *stop, *rest;

	ret->start = strstr(where, "://") + 3;
	stop = strpbrk(ret->start, "@/");
	ret->at = stop != NULL && *stop == '@' ? stop : NULL;
	rest = ret->at == NULL ? ret->start : ret->at + 1;
	ret->query = rest + strcspn(rest, "?");
	if (memchr(ret->start, '?', (size_t)(rest - ret->start)) != NULL || memchr(rest, '@', (size_t)(ret->query - rest)) != NULL)
		return CW_EINVAL;
	return 0;
}

void cw_db_name(const char *where, char *out, size_t size)
{
	struct parts p;
	char tail[DB_NAME];
	const char *user;

	if (!cw_db_is_server(where)) {
		(void)snprintf(out, size, "%s", is_keywords(where) ? "(a connection string)" : where);
		return;
	}
	if (split(where, &p) < 0) {
		(void)snprintf(out, size, "postgresql://***");
		return;
	}
	name_query(p.query, tail, sizeof(tail));
	user = p.at == NULL ? p.start : p.start + strcspn(p.start, ":@"); /* its end */
	(void)snprintf(out, size, "%.*s%s%.*s%s", (int)(user - where), where, p.at != NULL && *user == ':' ? ":***" : "",
		       p.at == NULL ? (int)(p.query - p.start) : (int)(p.query - p.at), p.at == NULL ? p.start : p.at, tail);
}

const char *cw_db_hide(char *arg)
{
	char *copy = cw_strdup(arg), name[DB_NAME];
	size_t len = strlen(arg);

	if (copy == NULL || !cw_db_is_server(arg))
		return copy;
	cw_db_name(copy, name, sizeof(name));
	explicit_bzero(arg, len);
	(void)snprintf(arg, len + 1, "%s", name);
	return copy;
}

int cw_db_open(const struct cw_db_conf *conf, struct cw_db **ret_db, struct cw_msg *msg)
{
	char name[DB_NAME];
	struct parts parts;
	int rc;

	*ret_db = NULL;
	cw_db_name(conf->where, name, sizeof(name));
	if (is_keywords(conf->where))
		return cw_fail(msg, CW_EINVAL, "%s of the form host=.. is not taken; write postgresql://USER:PASSWORD@HOST:PORT/NAME", name);
	if (conf->where[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "no database is named; name a file, or postgresql://USER:PASSWORD@HOST:PORT/NAME");
	if (cw_db_is_server(conf->where) && split(conf->where, &parts) < 0)
		return cw_fail(msg, CW_EINVAL, "%s: user and password with @, / or ? in them are written with %%40, %%2F and %%3F", name);
	rc = (cw_db_is_server(conf->where) ? db_postgres_open : db_sqlite_open)(conf, name, ret_db, msg);
	if (rc < 0)
		*ret_db = NULL;
	return rc;
}

void cw_db_close(struct cw_db *db)
{
	if (db == NULL)
		return;
	cw_db_rollback(db);
	db->driver->close(db);
}

enum cw_db_kind cw_db_kind(const struct cw_db *db)
{
	return db->driver->kind;
}

/* ---- transactions ---------------------------------------------------------------------- */

int cw_db_begin(struct cw_db *db, int write, struct cw_msg *msg)
{
	int rc;

	cw_invariant(!db->in_transaction && !db->walking);
	rc = db->driver->begin(db, write, msg);
	db->in_transaction = rc == 0;
	db->failed = 0;
	return rc;
}

int cw_db_commit(struct cw_db *db, struct cw_msg *msg)
{
	int rc;

	cw_invariant(db->in_transaction && !db->walking);
	if (db->failed != 0) {
		rc = cw_fail(msg, db->failed, "%s: nothing of the transaction is kept, for a statement of it has failed", db->name);
		cw_db_rollback(db);
		return rc;
	}
	rc = db->driver->commit(db, msg);
	db->in_transaction = 0;
	return rc;
}

void cw_db_rollback(struct cw_db *db)
{
	cw_invariant(!db->walking);
	if (db->in_transaction)
		db->driver->rollback(db);
	db->in_transaction = 0;
	db->failed = 0;
}

/* ---- statements ------------------------------------------------------------------------ */

struct walk {
	struct cw_db *db;
	cw_db_row_fn fn;
	void *arg;
	int rc; /* of fn */
};

static int on_row(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct walk *w = arg;

	w->db->walking = 1;
	w->rc = w->fn(w->arg, set, columns, count);
	w->db->walking = 0;
	return w->rc;
}

/* A statement that has failed fails its transaction, in SQLite too: whoever goes on all the same learns it with either. */
static int may_run(struct cw_db *db, struct cw_msg *msg)
{
	cw_invariant(!db->walking);
	if (db->in_transaction && db->failed != 0)
		return cw_fail(msg, db->failed, "%s: not run, for an earlier statement of the transaction has failed", db->name);
	return 0;
}

static int ran(struct cw_db *db, int rc)
{
	if (db->in_transaction && rc < 0)
		db->failed = rc;
	return rc;
}

/* PostgreSQL does not take others, and says the bytes in its sentence; SQLite takes them and cuts them elsewhere. */
static int check_texts(struct cw_db *db, const struct cw_db_value *params, size_t count, struct cw_msg *msg)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct cw_bytes text = params[i].bytes;

		if (params[i].type != CW_DB_TEXT || text.len == 0)
			continue;
		if (memchr(text.ptr, '\0', text.len) != NULL || !cw_utf8_valid(text))
			return cw_fail(msg, CW_EINVAL, "%s: a text is not UTF-8", db->name);
	}
	return 0;
}

static int run_sets(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, size_t sets, cw_db_row_fn fn,
		    void *arg, size_t *ret_changed, struct cw_msg *msg)
{
	struct walk w = { .db = db, .fn = fn, .arg = arg };
	size_t changed = 0;
	int rc = may_run(db, msg);

	if (rc < 0)
		return rc;
	rc = ran(db, check_texts(db, params, count * sets, msg));
	if (rc == 0 && sets > 0)
		rc = ran(db, db->driver->run(db, sql, params, count, sets, fn == NULL ? NULL : on_row, &w, &changed, msg));
	if (ret_changed != NULL)
		*ret_changed = changed;
	return rc < 0 ? rc : w.rc;
}

int cw_db_run(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, cw_db_row_fn fn, void *arg,
	      size_t *ret_changed, struct cw_msg *msg)
{
	return run_sets(db, sql, params, count, 1, fn, arg, ret_changed, msg);
}

int cw_db_many(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, size_t sets, cw_db_row_fn fn, void *arg,
	       size_t *ret_changed, struct cw_msg *msg)
{
	cw_invariant(db->in_transaction);
	return run_sets(db, sql, params, count, sets, fn, arg, ret_changed, msg);
}

int cw_db_script(struct cw_db *db, const char *sql, struct cw_msg *msg)
{
	int rc = may_run(db, msg);

	return rc < 0 ? rc : ran(db, db->driver->script(db, sql, msg));
}

int cw_db_copy(struct cw_db *db, const char *file, struct cw_msg *msg)
{
	cw_invariant(!db->in_transaction && !db->walking);
	return db->driver->copy(db, file, msg);
}
