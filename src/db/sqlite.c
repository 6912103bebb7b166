/* sqlite.c - see db.h: a file. */
#include "db/db_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"

/* What the write-ahead log is cut to after a long reader (a copy, an export) had let it grow. */
#define WAL_KEPT "67108864"
#define PARAMS_MOST 64u
#define CACHE_KIB "16384" /* of pages; the default of 2 MB holds the indexes of 20,000 certificates only */

struct statement {
	struct cw_map_node node; /* key: sqlite3_sql(q) */
	sqlite3_stmt *q;
	struct cw_db_value *row;
	size_t columns; /* room in row */
	size_t param_count;
	uint8_t params[PARAMS_MOST]; /* of each place: 3 of $3 */
};

struct sqlite {
	struct cw_db base; /* first */
	sqlite3 *db;
	struct cw_map statements;
	struct timespec waits_since;
};

static struct sqlite *of(struct cw_db *db)
{
	return cw_container_of(db, struct sqlite, base);
}

/* ---- errors ---------------------------------------------------------------------------- */

/* The disk said no. Only ENOSPC is a SQLITE_FULL; a quota and a limit are not, and writes of the log do not even say their errno. */
static int failed_on_disk(const struct sqlite *s, int code, struct cw_msg *msg)
{
	const char *name = s->base.name;
	int err = sqlite3_system_errno(s->db);

	if (err == ENOSPC || err == EDQUOT || err == EFBIG)
		return cw_fail(msg, CW_EIO, "%s: the disk is full (%s); make room, nothing needs to be restarted", name, strerror(err));
	if (err == EROFS || err == EACCES || err == EPERM)
		return cw_fail(msg, CW_EACCESS, "%s: the disk does not let it be written (%s)", name, strerror(err));
	if (code == SQLITE_IOERR_WRITE)
		return cw_fail(msg, CW_EIO, "%s: cannot be written: the disk or a quota is full, or the disk fails (the kernel's log says it); "
			       "make room, nothing needs to be restarted", name);
	return cw_fail(msg, CW_EIO, "%s: the disk fails: %s%s%s", name, sqlite3_errmsg(s->db), err == 0 ? "" : ": ",
		       err == 0 ? "" : strerror(err));
}

static int failed_to_open(const struct sqlite *s, struct cw_msg *msg)
{
	const char *name = s->base.name;
	int err = sqlite3_system_errno(s->db);

	if (err == ENOENT)
		return cw_fail(msg, CW_ENOENT, "%s: there is no such file or folder", name);
	if (err == EACCES || err == EPERM || err == EROFS)
		return cw_fail(msg, CW_EACCESS,
			       "%s: this user may not open it, or not make NAME-wal and NAME-shm beside it (%s); "
			       "run as the user that owns the file and its folder, or read a copy", name, strerror(err));
	return cw_fail(msg, CW_EIO, "%s: cannot be opened: %s", name, err == 0 ? sqlite3_errmsg(s->db) : strerror(err));
}

static int failed(const struct sqlite *s, struct cw_msg *msg)
{
	const char *name = s->base.name;
	int code = s->db == NULL ? SQLITE_NOMEM : sqlite3_extended_errcode(s->db);

	if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_ROWID)
		return cw_fail(msg, CW_EEXIST, "%s: %s", name, sqlite3_errmsg(s->db));
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return cw_fail(msg, CW_EBUSY, "%s: another process has been writing for more than %u ms; try again", name, s->base.wait_ms);
	case SQLITE_NOMEM: return cw_fail(msg, CW_ENOMEM, "%s: out of memory", name);
	case SQLITE_FULL:
		return cw_fail(msg, CW_EIO, "%s: the disk is full; make room, nothing needs to be restarted", name);
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return cw_fail(msg, CW_EACCESS, "%s: may not be written: it was opened for reading, or its mode, its folder's or the disk's says so", name);
	case SQLITE_CANTOPEN: return failed_to_open(s, msg);
	case SQLITE_IOERR: return failed_on_disk(s, code, msg);
	case SQLITE_CORRUPT:
		return cw_fail(msg, CW_EIO, "%s: the file is damaged (%s); stop what uses it, keep it, and put a copy (backup) in its place "
			       "or rescue its rows with: sqlite3 FILE .recover", name, sqlite3_errmsg(s->db));
	case SQLITE_NOTADB:
		return cw_fail(msg, CW_EIO, "%s: is not a database; name another file, or put a copy (backup) in its place", name);
	default: return cw_fail(msg, CW_EIO, "%s: %s", name, sqlite3_errmsg(s->db));
	}
}

/* ---- opening --------------------------------------------------------------------------- */

/*
 * SQLite would let everybody read a file it makes. mknod() and not open(): closing a file takes away the locks that another
 * connection of this process has on it. The files beside it take its mode and, when root makes them, its owner.
 */
static int make_file(const char *path, struct cw_msg *msg)
{
	struct stat st;
	int fd;

	if (mknod(path, S_IFREG | 0600, 0) == 0) {
		fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC); /* takes no locks away */
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) /* still ours */
			cw_file_give_to_owner(fd, path);
		if (fd >= 0)
			(void)close(fd);
		return 0;
	}
	if (errno == EEXIST)
		return 0;
	return cw_fail(msg, errno == ENOENT ? CW_ENOENT : errno == EROFS ? CW_EACCESS : cw_err_from_errno(errno), "cannot make %s: %s%s",
		       path, strerror(errno), errno == ENOENT ? "; its folder is not there" : "");
}

/* The change of a new file to WAL needs it alone and does not wait by itself when two processes open it in one moment. */
static int use_wal(struct sqlite *s, struct cw_msg *msg)
{
	const struct timespec nap = { .tv_nsec = 5000000 };
	unsigned naps = s->base.wait_ms / 5;
	sqlite3_stmt *q;
	int rc, wal;

	for (;;) {
		rc = sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &q, NULL);
		if (rc == SQLITE_OK)
			rc = sqlite3_step(q);
		wal = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(q, 0), "wal") == 0;
		if (rc == SQLITE_ROW)
			rc = SQLITE_OK;
		if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
			int ret = failed(s, msg);

			sqlite3_finalize(q);
			return ret;
		}
		sqlite3_finalize(q);
		if (wal)
			return 0;
		if (rc == SQLITE_OK)
			return cw_fail(msg, CW_EIO, "%s: its file system cannot share memory between processes (a network drive?); "
				       "put the file on a local disk", s->base.name);
		if (naps-- == 0)
			return failed(s, msg);
		(void)nanosleep(&nap, NULL);
	}
}

/*
 * Another writes. SQLite's own handler looks again after 100 ms in the end; who writes one piece after the other, with a pause of 2 ms
 * for others (an import), would hardly ever let anybody in.
 */
static int on_busy(void *arg, int count)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	struct sqlite *s = arg;
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		return 0;
	if (count == 0)
		s->waits_since = now;
	if ((now.tv_sec - s->waits_since.tv_sec) * 1000 + (now.tv_nsec - s->waits_since.tv_nsec) / 1000000 >= (long)s->base.wait_ms)
		return 0;
	(void)nanosleep(&nap, NULL);
	return 1;
}

static int set_up(struct sqlite *s, int read_only, struct cw_msg *msg)
{
	int rc = 0;

	(void)sqlite3_extended_result_codes(s->db, 1);
	(void)sqlite3_busy_handler(s->db, on_busy, s);
	/* "x" is a name, never a text, as in PostgreSQL. */
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	if (!read_only)
		rc = use_wal(s, msg);
	if (rc == 0 && sqlite3_exec(s->db,
				    "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = " WAL_KEPT ";"
				    "PRAGMA cache_size = -" CACHE_KIB "; SELECT count(*) FROM sqlite_schema",
				    NULL, NULL, NULL) != SQLITE_OK)
		rc = failed(s, msg);
	return rc;
}

static void close_sqlite(struct cw_db *db)
{
	struct sqlite *s = of(db);
	struct cw_map_node *n, *next;

	cw_map_each_safe(n, next, &s->statements) {
		struct statement *t = cw_container_of(n, struct statement, node);

		cw_map_remove(&s->statements, n);
		sqlite3_finalize(t->q);
		cw_free(t->row);
		cw_free(t);
	}
	cw_map_fini(&s->statements);
	(void)sqlite3_close(s->db); /* the last connection of all writes the log into the file */
	cw_free(s);
}

/* ---- transactions ---------------------------------------------------------------------- */

static int exec(struct sqlite *s, const char *sql, struct cw_msg *msg)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(s, msg);
}

static int begin(struct cw_db *db, int write, struct cw_msg *msg)
{
	return exec(of(db), write ? "BEGIN IMMEDIATE" : "BEGIN", msg);
}

static void rollback(struct cw_db *db)
{
	struct sqlite *s = of(db);

	/* A full disk and the like have rolled back already. */
	if (!sqlite3_get_autocommit(s->db))
		(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static int commit(struct cw_db *db, struct cw_msg *msg)
{
	int rc = exec(of(db), "COMMIT", msg);

	if (rc < 0)
		rollback(db);
	return rc;
}

/* ---- statements ------------------------------------------------------------------------ */

/* To SQLite $2 is a name like any other: it numbers names in the order in which they come. */
static int number_params(struct sqlite *s, struct statement *t, struct cw_msg *msg)
{
	int at, most = sqlite3_bind_parameter_count(t->q);

	for (at = 1; at <= most; at++) {
		const char *name = sqlite3_bind_parameter_name(t->q, at);
		unsigned long n = name == NULL ? 0 : strtoul(name + 1, NULL, 10);

		if (n == 0 || n > UINT8_MAX || t->param_count == PARAMS_MOST)
			return cw_fail(msg, CW_EINTERNAL, "%s: a statement names parameter %s, or too many", s->base.name, name == NULL ? "?" : name);
		t->params[t->param_count++] = (uint8_t)n;
	}
	return 0;
}

static int find_statement(struct sqlite *s, const char *sql, struct statement **ret, struct cw_msg *msg)
{
	struct cw_map_node *n = cw_map_find(&s->statements, sql, strlen(sql));
	struct statement *t;

	if (n != NULL) {
		*ret = cw_container_of(n, struct statement, node);
		return 0;
	}
	t = cw_zalloc(sizeof(*t));
	if (t == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s: out of memory", s->base.name);
	if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &t->q, NULL) != SQLITE_OK) {
		cw_free(t);
		return failed(s, msg);
	}
	if (number_params(s, t, msg) < 0) {
		sqlite3_finalize(t->q);
		cw_free(t);
		return CW_EINTERNAL;
	}
	if (cw_map_add(&s->statements, &t->node, sqlite3_sql(t->q), strlen(sql)) < 0) {
		sqlite3_finalize(t->q);
		cw_free(t);
		return cw_fail(msg, CW_ENOMEM, "%s: out of memory", s->base.name);
	}
	*ret = t;
	return 0;
}

static int bind_value(sqlite3_stmt *q, int at, const struct cw_db_value *v)
{
	switch (v->type) {
	case CW_DB_INT: return sqlite3_bind_int64(q, at, v->number);
	case CW_DB_TEXT:
		/* A NULL pointer would be a NULL. */
		return sqlite3_bind_text64(q, at, v->bytes.len == 0 ? "" : (const char *)v->bytes.ptr, v->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
	case CW_DB_BLOB: return v->bytes.len == 0 ? sqlite3_bind_zeroblob(q, at, 0) : sqlite3_bind_blob64(q, at, v->bytes.ptr, v->bytes.len, SQLITE_STATIC);
	default: return sqlite3_bind_null(q, at);
	}
}

static int bind_all(struct sqlite *s, struct statement *t, const struct cw_db_value *params, size_t count, struct cw_msg *msg)
{
	size_t i;

	for (i = 0; i < t->param_count; i++) {
		if (t->params[i] > count)
			return cw_fail(msg, CW_EINTERNAL, "%s: a statement names parameter $%u of %zu", s->base.name, t->params[i], count);
		if (bind_value(t->q, (int)i + 1, &params[t->params[i] - 1]) != SQLITE_OK)
			return failed(s, msg);
	}
	return 0;
}

static int room_for_row(struct sqlite *s, struct statement *t, size_t columns, struct cw_msg *msg)
{
	struct cw_db_value *row;

	if (columns <= t->columns)
		return 0;
	row = cw_realloc(t->row, columns * sizeof(*row));
	if (row == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s: out of memory", s->base.name);
	t->row = row;
	t->columns = columns;
	return 0;
}

/* 0, or CW_ENOMEM: a text of a result had to be copied. */
static int read_column(sqlite3_stmt *q, int i, struct cw_db_value *v)
{
	const void *p;

	memset(v, 0, sizeof(*v));
	switch (sqlite3_column_type(q, i)) {
	case SQLITE_NULL: return 0;
	case SQLITE_INTEGER:
		v->type = CW_DB_INT;
		v->number = sqlite3_column_int64(q, i);
		return 0;
	case SQLITE_BLOB:
		v->type = CW_DB_BLOB;
		p = sqlite3_column_blob(q, i);
		v->bytes = cw_bytes_of(p, (size_t)sqlite3_column_bytes(q, i));
		return p == NULL && v->bytes.len > 0 ? CW_ENOMEM : 0;
	default: /* numbers with a fraction, too */
		v->type = CW_DB_TEXT;
		p = sqlite3_column_text(q, i);
		v->bytes = cw_bytes_of(p, (size_t)sqlite3_column_bytes(q, i));
		return p == NULL ? CW_ENOMEM : 0;
	}
}

static int walk(struct sqlite *s, struct statement *t, size_t set, cw_db_row_fn fn, void *arg, int *stop, struct cw_msg *msg)
{
	int step, rc, i;

	while ((step = sqlite3_step(t->q)) == SQLITE_ROW) {
		int columns = sqlite3_data_count(t->q);

		if (fn == NULL || *stop) {
			/* What it changes is changed before its first row; the others need not be read. */
			return 0;
		}
		rc = room_for_row(s, t, (size_t)columns, msg);
		for (i = 0; rc == 0 && i < columns; i++) {
			rc = read_column(t->q, i, &t->row[i]);
			if (rc < 0)
				return cw_fail(msg, rc, "%s: out of memory", s->base.name);
		}
		if (rc < 0)
			return rc;
		*stop = fn(arg, set, t->row, (size_t)columns) != 0;
	}
	return step == SQLITE_DONE ? 0 : failed(s, msg);
}

static int run(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, size_t sets, cw_db_row_fn fn, void *arg,
	       size_t *changed, struct cw_msg *msg)
{
	struct sqlite *s = of(db);
	struct statement *t = NULL;
	int stop = 0, rc = find_statement(s, sql, &t, msg);
	size_t i;

	for (i = 0; i < sets && rc == 0; i++) {
		sqlite3_int64 before = sqlite3_total_changes64(s->db);

		rc = bind_all(s, t, count == 0 ? NULL : params + i * count, count, msg);
		if (rc == 0)
			rc = walk(s, t, i, fn, arg, &stop, msg);
		/* The commit of a statement alone is here, and may fail. */
		if (sqlite3_reset(t->q) != SQLITE_OK && rc == 0)
			rc = failed(s, msg);
		(void)sqlite3_clear_bindings(t->q); /* they are the caller's */
		if (rc == 0 && sqlite3_total_changes64(s->db) != before)
			*changed += (size_t)sqlite3_changes64(s->db);
	}
	return rc;
}

static int script(struct cw_db *db, const char *sql, struct cw_msg *msg)
{
	return exec(of(db), sql, msg);
}

/* ---- a copy ---------------------------------------------------------------------------- */

/*
 * VACUUM INTO reads in one transaction; in WAL others write meanwhile. It makes a file without WAL, which can be read where
 * nothing may be written. It does not sync what it has written: the part file's commit does.
 */
static int copy(struct cw_db *db, const char *file, struct cw_msg *msg)
{
	struct sqlite *s = of(db);
	struct cw_file_new part;
	sqlite3_stmt *q = NULL;
	int rc;

	if (access(file, F_OK) == 0)
		return cw_fail(msg, CW_EEXIST, "%s is there already and is not overwritten", file);
	rc = cw_file_begin(&part, file, msg);
	if (rc < 0)
		return rc;
	cw_file_give_to_owner(part.fd, file);
	if (sqlite3_prepare_v2(s->db, "VACUUM INTO $1", -1, &q, NULL) != SQLITE_OK ||
	    sqlite3_bind_text(q, 1, part.part, -1, SQLITE_STATIC) != SQLITE_OK || sqlite3_step(q) != SQLITE_DONE) {
		rc = failed(s, msg);
		cw_msg_wrap(msg, "no copy was made in %s", file);
	}
	sqlite3_finalize(q);
	if (rc == 0)
		return cw_file_commit(&part, cw_bytes_of(NULL, 0), 0, msg);
	cw_file_abandon(&part);
	return rc;
}

static const struct db_driver sqlite_driver = {
	.kind = CW_DB_SQLITE,
	.close = close_sqlite,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.run = run,
	.script = script,
	.copy = copy,
};

int db_sqlite_open(const struct cw_db_conf *conf, const char *name, struct cw_db **ret_db, struct cw_msg *msg)
{
	struct sqlite *s = cw_zalloc(sizeof(*s));
	int rc = 0;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s: out of memory", name);
	s->base.driver = &sqlite_driver;
	s->base.wait_ms = conf->wait_ms == 0 ? DB_WAIT_MS : conf->wait_ms;
	(void)snprintf(s->base.name, sizeof(s->base.name), "%s", name);
	cw_map_init(&s->statements);
	if (!conf->read_only)
		rc = make_file(conf->where, msg);
	if (rc == 0 && sqlite3_open_v2(conf->where, &s->db,
				       (conf->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX,
				       NULL) != SQLITE_OK)
		rc = failed(s, msg);
	if (rc == 0)
		rc = set_up(s, conf->read_only, msg);
	if (rc < 0) {
		close_sqlite(&s->base);
		return rc;
	}
	*ret_db = &s->base;
	return 0;
}
