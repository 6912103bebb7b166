/* online.c - see online.h. */
#include "store/online.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define SCHEMA_VERSION 1
#define COMMIT_MS 10u /* what comes meanwhile goes along */
#define COMMIT_MOST 1000u

struct removal {
	struct cw_mail mail;
	struct cw_online *o;
	char key[CW_ONLINE_KEY];
};

struct cw_online {
	struct cw_worker *owner, *thread;
	char name[200]; /* of the file, for messages */
	/* from here on the thread's own */
	sqlite3 *db;
	sqlite3_stmt *put, *del;
	struct cw_timer commit;
	struct cw_list written; /* struct cw_online_put of this transaction */
	unsigned changes;
	int in_transaction, rc;
};

static int failed(struct cw_online *o, const char *what, struct cw_msg *msg)
{
	return cw_fail(msg, CW_EIO, "%s: %s: %s", o->name, what,
		       o->db == NULL ? "out of memory" : sqlite3_errmsg(o->db));
}

static int read_version(struct cw_online *o, struct cw_msg *msg)
{
	sqlite3_stmt *q;
	int version;

	if (sqlite3_prepare_v2(o->db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK)
		return failed(o, "not a database", msg);
	version = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int(q, 0) : -1;
	sqlite3_finalize(q);
	if (version < 0)
		return failed(o, "not a database", msg);
	if (version > SCHEMA_VERSION)
		return cw_fail(msg, CW_EIO, "%s: made by a newer Causeway (schema %d, this one knows %d)", o->name,
			       version, SCHEMA_VERSION);
	return 0;
}

static int open_db(struct cw_online *o, const char *path, struct cw_msg *msg)
{
	/* Made here, because SQLite would let everybody read it; the files it puts beside take this mode. */
	int rc, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "%s: %s", path, strerror(errno));
	(void)close(fd);
	if (sqlite3_open_v2(path, &o->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return failed(o, path, msg);
	rc = read_version(o, msg);
	if (rc == 0 && sqlite3_exec(o->db,
				    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA user_version = 1;"
				    "CREATE TABLE IF NOT EXISTS online (device TEXT PRIMARY KEY) WITHOUT ROWID",
				    NULL, NULL, NULL) != SQLITE_OK)
		rc = failed(o, "open", msg);
	if (rc == 0 &&
	    (sqlite3_prepare_v2(o->db, "INSERT OR IGNORE INTO online VALUES (?1)", -1, &o->put, NULL) != SQLITE_OK ||
	     sqlite3_prepare_v2(o->db, "DELETE FROM online WHERE device = ?1", -1, &o->del, NULL) != SQLITE_OK))
		rc = failed(o, "prepare", msg);
	return rc;
}

static int read_all(struct cw_online *o, int (*known)(void *ctx, const char *key), void *ctx, struct cw_msg *msg)
{
	sqlite3_stmt *q;
	int rc = 0, step = SQLITE_DONE;

	if (sqlite3_prepare_v2(o->db, "SELECT device FROM online", -1, &q, NULL) != SQLITE_OK)
		return failed(o, "read", msg);
	while (rc == 0 && (step = sqlite3_step(q)) == SQLITE_ROW)
		rc = known(ctx, (const char *)sqlite3_column_text(q, 0));
	sqlite3_finalize(q);
	if (rc < 0)
		return cw_fail(msg, rc, "%s: %s", o->name, cw_error_text(rc));
	return step == SQLITE_DONE ? 0 : failed(o, "read", msg);
}

/* ---- the thread ------------------------------------------------------------------------- */

static void note_failure(struct cw_online *o, const char *what)
{
	o->rc = CW_EIO;
	cw_log(state_failed, sqlite3_errmsg(o->db), CW_LS("file", o->name), CW_LS("step", what));
}

static void on_put_done(struct cw_mail *mail)
{
	struct cw_online_put *p = cw_container_of(mail, struct cw_online_put, mail);

	p->done(p);
}

static void commit(struct cw_online *o)
{
	struct cw_list *e;

	if (o->in_transaction && sqlite3_exec(o->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
		note_failure(o, "commit");
		(void)sqlite3_exec(o->db, "ROLLBACK", NULL, NULL, NULL);
	}
	while ((e = cw_list_pop(&o->written)) != NULL) {
		struct cw_online_put *p = cw_container_of(e, struct cw_online_put, link);

		p->rc = o->rc;
		cw_post(o->owner, &p->mail, on_put_done);
	}
	o->in_transaction = 0;
	o->changes = 0;
	o->rc = 0;
}

static void on_commit(struct cw_timer *t)
{
	commit(cw_container_of(t, struct cw_online, commit));
}

static void change(struct cw_online *o, sqlite3_stmt *q, const char *key)
{
	if (!o->in_transaction) {
		if (sqlite3_exec(o->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
			note_failure(o, "begin");
		o->in_transaction = 1;
		cw_timer_set(cw_worker_timers(o->thread), &o->commit, COMMIT_MS, on_commit);
	}
	sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
	if (sqlite3_step(q) != SQLITE_DONE)
		note_failure(o, "write");
	sqlite3_reset(q);
	sqlite3_clear_bindings(q);
	if (++o->changes >= COMMIT_MOST)
		commit(o);
}

static void on_put(struct cw_mail *mail)
{
	struct cw_online_put *p = cw_container_of(mail, struct cw_online_put, mail);
	struct cw_online *o = p->o;

	cw_list_push_back(&o->written, &p->link);
	change(o, o->put, p->key);
}

static void on_drop(struct cw_mail *mail)
{
	struct removal *r = cw_container_of(mail, struct removal, mail);

	change(r->o, r->o->del, r->key);
	cw_free(r);
}

static void on_stopping(void *arg)
{
	struct cw_online *o = arg;

	commit(o);
	cw_worker_release(o->thread); /* nothing is behind the order to stop: all come from one loop */
}

/* ---- the owner's side ---------------------------------------------------------------------- */

int cw_online_open(const char *dir, const char *bridge, struct cw_worker *owner,
		   int (*known)(void *ctx, const char *key), void *ctx, struct cw_online **ret_online,
		   struct cw_msg *msg)
{
	struct cw_online *o = cw_zalloc(sizeof(*o));
	char path[1400];
	int rc;

	if (o == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	o->owner = owner;
	cw_list_init(&o->written);
	(void)snprintf(o->name, sizeof(o->name), "online-%s.db", bridge);
	(void)snprintf(path, sizeof(path), "%s/%s", dir, o->name);
	rc = open_db(o, path, msg);
	if (rc == 0)
		rc = read_all(o, known, ctx, msg);
	if (rc == 0) {
		rc = cw_worker_new("online", 0, &o->thread);
		if (rc == 0)
			rc = cw_worker_start(o->thread);
		if (rc < 0)
			(void)cw_fail(msg, rc, "store thread: %s", cw_error_text(rc));
	}
	if (rc < 0) {
		cw_worker_free(o->thread);
		o->thread = NULL;
		cw_online_close(o);
		return rc;
	}
	*ret_online = o;
	return 0;
}

int cw_online_put(struct cw_online *o, const char *key, struct cw_online_put *p)
{
	if (strlen(key) >= sizeof(p->key))
		return CW_ELIMIT;
	p->o = o;
	p->rc = 0;
	cw_list_init(&p->link);
	memcpy(p->key, key, strlen(key) + 1);
	cw_post(o->thread, &p->mail, on_put);
	return 0;
}

void cw_online_drop(struct cw_online *o, const char *key)
{
	struct removal *r = strlen(key) < CW_ONLINE_KEY ? cw_zalloc(sizeof(*r)) : NULL;

	if (r == NULL)
		return;
	r->o = o;
	memcpy(r->key, key, strlen(key) + 1);
	cw_post(o->thread, &r->mail, on_drop);
}

void cw_online_close(struct cw_online *o)
{
	if (o == NULL)
		return;
	if (o->thread != NULL) {
		cw_worker_stop(o->thread, on_stopping, o);
		cw_worker_join(o->thread);
		cw_worker_free(o->thread);
	}
	sqlite3_finalize(o->put);
	sqlite3_finalize(o->del);
	sqlite3_close(o->db);
	cw_free(o);
}
