/* state.c - see state.h. */
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "loop/worker.h"

#define SCHEMA_VERSION 1
#define COMMIT_MS 50u

struct entry {
	struct cw_map_node node;
	struct cw_bytes value; /* in text, behind the identity */
	size_t identity_len;
	uint8_t text[];
};

struct change {
	struct cw_mail mail;
	struct cw_state *state;
	size_t identity_len, len;
	uint8_t text[]; /* identity, then value */
};

struct cw_state {
	struct cw_map entries;
	struct cw_worker *thread;
	/* from here on the thread's own */
	sqlite3 *db;
	sqlite3_stmt *put, *del;
	struct cw_timer commit;
	int in_transaction;
};

static int failed(sqlite3 *db, const char *what, struct cw_msg *msg)
{
	return cw_fail(msg, CW_EIO, "devices.db: %s: %s", what, db == NULL ? "out of memory" : sqlite3_errmsg(db));
}

static int run(sqlite3 *db, const char *sql, struct cw_msg *msg)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(db, sql, msg);
}

static int check_version(sqlite3 *db, struct cw_msg *msg)
{
	sqlite3_stmt *q;
	int version;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK)
		return failed(db, "not a database", msg);
	version = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int(q, 0) : -1;
	sqlite3_finalize(q);
	if (version < 0)
		return failed(db, "not a database", msg);
	if (version > SCHEMA_VERSION)
		return cw_fail(msg, CW_EIO, "devices.db: made by a newer Causeway (schema %d, this one knows %d)", version, SCHEMA_VERSION);
	return 0;
}

static int open_db(struct cw_state *s, const char *path, struct cw_msg *msg)
{
	/* Made here, because SQLite would let everybody read it; the files it puts beside take this mode. */
	int rc, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "%s: %s", path, strerror(errno));
	(void)fchmod(fd, 0600); /* one of an older version; its directory is closed to others all the same */
	(void)close(fd);
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return failed(s->db, path, msg);
	rc = check_version(s->db, msg);
	if (rc == 0)
		rc = run(s->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA user_version = 1;"
		                "CREATE TABLE IF NOT EXISTS device_state (identity TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID", msg);
	if (rc == 0 && (sqlite3_prepare_v2(s->db, "INSERT INTO device_state VALUES (?1, ?2) ON CONFLICT (identity) DO UPDATE SET value = ?2",
	                                   -1, &s->put, NULL) != SQLITE_OK ||
	                sqlite3_prepare_v2(s->db, "DELETE FROM device_state WHERE identity = ?1", -1, &s->del, NULL) != SQLITE_OK))
		rc = failed(s->db, "prepare", msg);
	return rc;
}

/* ---- memory ------------------------------------------------------------------------ */

static struct entry *find(struct cw_state *s, const char *identity, size_t len)
{
	struct cw_map_node *n = cw_map_find(&s->entries, identity, len);

	return n == NULL ? NULL : cw_container_of(n, struct entry, node);
}

static int remember(struct cw_state *s, const void *identity, size_t identity_len, struct cw_bytes value)
{
	struct entry *old = find(s, identity, identity_len), *e;
	int rc;

	if (old != NULL) {
		cw_map_remove(&s->entries, &old->node);
		cw_free(old);
	}
	if (value.len == 0)
		return 0;
	e = cw_alloc(sizeof(*e) + identity_len + value.len);
	if (e == NULL)
		return CW_ENOMEM;
	e->identity_len = identity_len;
	memcpy(e->text, identity, identity_len);
	memcpy(e->text + identity_len, value.ptr, value.len);
	e->value = cw_bytes_of(e->text + identity_len, value.len);
	rc = cw_map_add(&s->entries, &e->node, e->text, identity_len);
	if (rc < 0)
		cw_free(e);
	return rc;
}

static int read_all(struct cw_state *s, struct cw_msg *msg)
{
	sqlite3_stmt *q;
	int rc = 0, step;

	if (sqlite3_prepare_v2(s->db, "SELECT identity, value FROM device_state", -1, &q, NULL) != SQLITE_OK)
		return failed(s->db, "read", msg);
	while (rc == 0 && (step = sqlite3_step(q)) == SQLITE_ROW)
		rc = remember(s, sqlite3_column_text(q, 0), (size_t)sqlite3_column_bytes(q, 0),
		              cw_bytes_of(sqlite3_column_blob(q, 1), (size_t)sqlite3_column_bytes(q, 1)));
	sqlite3_finalize(q);
	if (rc < 0)
		return cw_fail(msg, rc, "devices.db: %s", cw_error_text(rc));
	return step == SQLITE_DONE ? 0 : failed(s->db, "read", msg);
}

/* ---- the thread ------------------------------------------------------------------------- */

static void log_failure(struct cw_state *s, const char *what)
{
	cw_log(state_failed, sqlite3_errmsg(s->db), CW_LS("file", "devices.db"), CW_LS("step", what));
}

static void commit(struct cw_state *s)
{
	if (s->in_transaction && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
		log_failure(s, "commit");
		(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	}
	s->in_transaction = 0;
}

static void on_commit(struct cw_timer *t)
{
	commit(cw_container_of(t, struct cw_state, commit));
}

static void on_change(struct cw_mail *mail)
{
	struct change *c = cw_container_of(mail, struct change, mail);
	struct cw_state *s = c->state;
	sqlite3_stmt *q = c->len == 0 ? s->del : s->put;

	if (!s->in_transaction) {
		if (sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
			log_failure(s, "begin");
		else
			s->in_transaction = 1;
		cw_timer_set(cw_worker_timers(s->thread), &s->commit, COMMIT_MS, on_commit);
	}
	sqlite3_bind_text(q, 1, (const char *)c->text, (int)c->identity_len, SQLITE_STATIC);
	if (c->len > 0)
		sqlite3_bind_blob(q, 2, c->text + c->identity_len, (int)c->len, SQLITE_STATIC);
	if (sqlite3_step(q) != SQLITE_DONE)
		log_failure(s, "write");
	sqlite3_reset(q);
	sqlite3_clear_bindings(q);
	cw_free(c);
}

static void on_stopping(void *arg)
{
	struct cw_state *s = arg;

	commit(s);
	cw_worker_release(s->thread);
}

/* ---- the control loop's side ---------------------------------------------------------------- */

int cw_state_open(const char *dir, struct cw_state **ret_state, struct cw_msg *msg)
{
	struct cw_state *s = cw_zalloc(sizeof(*s));
	char path[1100];
	int rc;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	(void)snprintf(path, sizeof(path), "%s/devices.db", dir);
	rc = open_db(s, path, msg);
	if (rc == 0)
		rc = read_all(s, msg);
	if (rc == 0) {
		rc = cw_worker_new("store", 0, &s->thread);
		if (rc == 0)
			rc = cw_worker_start(s->thread);
		if (rc < 0)
			(void)cw_fail(msg, rc, "store thread: %s", cw_error_text(rc));
	}
	if (rc < 0) {
		cw_worker_free(s->thread);
		s->thread = NULL;
		cw_state_close(s);
		return rc;
	}
	*ret_state = s;
	return 0;
}

struct cw_bytes cw_state_get(void *state, const char *identity, size_t len)
{
	struct entry *e = find(state, identity, len);

	return e == NULL ? cw_bytes_of(NULL, 0) : e->value;
}

void cw_state_put(void *state, const char *identity, size_t len, struct cw_bytes bytes)
{
	struct cw_state *s = state;
	struct change *c;

	if (remember(s, identity, len, bytes) < 0)
		return;
	c = cw_alloc(sizeof(*c) + len + bytes.len);
	if (c == NULL)
		return; /* in memory it is right; the file is one change behind until the next */
	c->state = s;
	c->identity_len = len;
	c->len = bytes.len;
	memcpy(c->text, identity, len);
	if (bytes.len > 0)
		memcpy(c->text + len, bytes.ptr, bytes.len);
	cw_post(s->thread, &c->mail, on_change);
}

struct cw_worker *cw_state_thread(struct cw_state *s)
{
	return s->thread;
}

void cw_state_close(struct cw_state *s)
{
	struct cw_map_node *n, *next;

	if (s == NULL)
		return;
	if (s->thread != NULL) {
		cw_worker_stop(s->thread, on_stopping, s);
		cw_worker_join(s->thread);
		cw_worker_free(s->thread);
	}
	sqlite3_finalize(s->put);
	sqlite3_finalize(s->del);
	sqlite3_close(s->db);
	cw_map_each_safe(n, next, &s->entries)
		cw_free(cw_container_of(n, struct entry, node));
	cw_map_fini(&s->entries);
	cw_free(s);
}
