/* state.c - see state.h. */
#include "cloud/state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/stock/stock.h"

#define SCHEMA_VERSION 1

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS product(key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS device(id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS deleted(id TEXT PRIMARY KEY) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS chapter(name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS message(n INTEGER PRIMARY KEY, device TEXT NOT NULL, topic TEXT NOT NULL, payload BLOB,"
	" qos INTEGER NOT NULL, until INTEGER NOT NULL, sent INTEGER NOT NULL);"
	"CREATE INDEX IF NOT EXISTS message_device ON message(device);"
	"PRAGMA user_version = 1;";

enum statement {
	PUT_PRODUCT, PUT_DEVICE, PUT_CHAPTER, PUT_MESSAGE, PUT_DELETED, DEL_PRODUCT, DEL_DEVICE, DEL_MESSAGES,
	STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
	[PUT_PRODUCT] = "INSERT OR REPLACE INTO product VALUES(?1, ?2)",
	[PUT_DEVICE] = "INSERT OR REPLACE INTO device VALUES(?1, ?2)",
	[PUT_CHAPTER] = "INSERT OR REPLACE INTO chapter VALUES(?1, ?2)",
	[PUT_MESSAGE] = "INSERT INTO message(device, topic, payload, qos, until, sent) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
	[PUT_DELETED] = "INSERT OR REPLACE INTO deleted VALUES(?1)",
	[DEL_PRODUCT] = "DELETE FROM product WHERE key = ?1",
	[DEL_DEVICE] = "DELETE FROM device WHERE id = ?1",
	[DEL_MESSAGES] = "DELETE FROM message WHERE device = ?1",
};

/* Written in one pass of the loop, about 10 ms; a large bridge that comes back marks its 200,000 devices at once. */
#define PASS_DEVICES 1000u

/* Deleted since the last commit. */
struct gone {
	struct cw_list link;
	int product;
	char id[];
};

struct cloud_state {
	struct cloud_saver saver; /* first */
	struct cw_cloud *cloud;
	char *path;
	sqlite3 *db;
	sqlite3_stmt *stmt[STATEMENT_COUNT];
	uv_prepare_t prepare;
	struct cw_timer more; /* wakes the loop for the marks that a pass has left */
	struct cw_list gone;
	int in_transaction, complained;
	void (*closed)(void *arg);
	void *closed_arg;
};

static int failed(struct cloud_state *s, const char *what, struct cw_msg *msg)
{
	if (s->db != NULL && sqlite3_errcode(s->db) == SQLITE_BUSY)
		return cw_fail(msg, CW_EBUSY, "%s: in use by another process; one emulator a file", s->path);
	return cw_fail(msg, CW_EIO, "%s: %s: %s", s->path, what, s->db != NULL ? sqlite3_errmsg(s->db) : "out of memory");
}

/* While running: said once until it works again. Nothing is forgotten: marks stay. */
static void complain(struct cloud_state *s)
{
	if (!s->complained)
		cw_log(cloud_state, "cannot write", CW_LS("file", s->path), CW_LS("error", sqlite3_errmsg(s->db)));
	s->complained = 1;
}

/* ---- writing ---- */

static int begin(struct cloud_state *s)
{
	if (s->in_transaction)
		return 0;
	if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return CW_EIO;
	s->in_transaction = 1;
	return 0;
}

/* Bind one or two texts and run. */
static int run_text(struct cloud_state *s, enum statement which, const char *a, const char *b)
{
	sqlite3_stmt *q = s->stmt[which];
	int ok = begin(s) == 0 && sqlite3_bind_text(q, 1, a, -1, SQLITE_STATIC) == SQLITE_OK &&
	         (b == NULL || sqlite3_bind_text(q, 2, b, -1, SQLITE_STATIC) == SQLITE_OK) && sqlite3_step(q) == SQLITE_DONE;

	(void)sqlite3_reset(q);
	(void)sqlite3_clear_bindings(q);
	return ok ? 0 : CW_EIO;
}

/* `j` is consumed. */
static int run_json(struct cloud_state *s, enum statement which, const char *key, json_t *j)
{
	char *text = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
	int rc = text != NULL ? run_text(s, which, key, text) : CW_ENOMEM;

	free(text);
	json_decref(j);
	return rc;
}

static int put_message(struct cloud_state *s, const struct cloud_device *d, const struct cloud_stored *m)
{
	sqlite3_stmt *q = s->stmt[PUT_MESSAGE];
	int ok = begin(s) == 0 && sqlite3_bind_text(q, 1, d->id, -1, SQLITE_STATIC) == SQLITE_OK &&
	         sqlite3_bind_text(q, 2, m->msg->topic, (int)m->msg->topic_len, SQLITE_STATIC) == SQLITE_OK &&
	         sqlite3_bind_blob(q, 3, cw_cloud_msg_payload(m->msg), (int)m->msg->len, SQLITE_STATIC) == SQLITE_OK &&
	         sqlite3_bind_int(q, 4, m->msg->qos) == SQLITE_OK && sqlite3_bind_int64(q, 5, m->until_ms) == SQLITE_OK &&
	         sqlite3_bind_int(q, 6, m->sent) == SQLITE_OK && sqlite3_step(q) == SQLITE_DONE;

	(void)sqlite3_reset(q);
	return ok ? 0 : CW_EIO;
}

/* Kept messages only grow at their end, or go all at once. */
static int put_messages(struct cloud_state *s, struct cloud_device *d)
{
	struct cw_list *e;
	int rc = 0;

	if (d->stored_gone) {
		rc = run_text(s, DEL_MESSAGES, d->id, NULL);
		cw_list_each(e, &d->stored)
			cw_container_of(e, struct cloud_stored, link)->saved = 0;
		d->stored_gone = rc < 0;
	}
	cw_list_each(e, &d->stored) {
		struct cloud_stored *m = cw_container_of(e, struct cloud_stored, link);

		if (rc < 0)
			break;
		if (!m->saved)
			rc = put_message(s, d, m);
		m->saved = rc == 0;
	}
	return rc;
}

static int put_device(struct cloud_state *s, struct cloud_device *d)
{
	int rc = run_json(s, PUT_DEVICE, d->id, cw_cloud_device_save(s->cloud, d));

	if (rc == 0)
		rc = put_messages(s, d);
	return rc;
}

static int put_gone(struct cloud_state *s, const struct gone *g)
{
	int rc = run_text(s, g->product ? DEL_PRODUCT : DEL_DEVICE, g->id, NULL);

	if (rc == 0 && !g->product)
		rc = run_text(s, DEL_MESSAGES, g->id, NULL);
	return rc == 0 ? run_text(s, PUT_DELETED, g->id, NULL) : rc;
}

/* Deletions first: a name may have been made anew since. */
static int put(struct cloud_state *s, unsigned most, unsigned *ret_count)
{
	struct cw_cloud *c = s->cloud;
	struct cw_list *e;
	int rc = 0;

	cw_list_each(e, &s->gone) {
		rc = put_gone(s, cw_container_of(e, struct gone, link));
		if (rc < 0)
			return rc;
	}
	cw_list_each(e, &c->changed_products) {
		struct cloud_product *p = cw_container_of(e, struct cloud_product, changed);

		rc = run_json(s, PUT_PRODUCT, p->key, cw_cloud_product_save(p));
		if (rc < 0)
			return rc;
	}
	*ret_count = 0;
	cw_list_each(e, &c->changed_devices) {
		if (*ret_count == most)
			break;
		rc = put_device(s, cw_container_of(e, struct cloud_device, changed));
		if (rc < 0)
			return rc;
		++*ret_count;
	}
	cw_list_each(e, &c->chapters) {
		struct cloud_chapter *ch = cw_container_of(e, struct cloud_chapter, link);

		if (ch->changed)
			rc = run_json(s, PUT_CHAPTER, ch->name, ch->save(c, ch->arg));
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Of everything that was written, `count` devices among it. */
static void forget_marks(struct cloud_state *s, unsigned count)
{
	struct cw_cloud *c = s->cloud;
	struct cw_list *e;

	while ((e = cw_list_pop(&s->gone)) != NULL)
		cw_free(cw_container_of(e, struct gone, link));
	while (cw_list_pop(&c->changed_products) != NULL)
		;
	while (count-- != 0)
		(void)cw_list_pop(&c->changed_devices);
	cw_list_each(e, &c->chapters)
		cw_container_of(e, struct cloud_chapter, link)->changed = 0;
	c->chapters_changed = 0;
}

static void on_more(struct cw_timer *t)
{
	/* The loop comes by on_prepare() before it waits again. */
}

/* The marks, of devices `most`, in one transaction; on failure nothing of it counts and everything stays marked. */
static void commit_some(struct cloud_state *s, unsigned most)
{
	struct cw_cloud *c = s->cloud;
	struct cw_list *e, *k;
	unsigned count = 0;

	if (cw_list_empty(&s->gone) && cw_list_empty(&c->changed_devices) && cw_list_empty(&c->changed_products) && !c->chapters_changed)
		return;
	if (put(s, most, &count) == 0 && (!s->in_transaction || sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)) {
		s->in_transaction = 0;
		s->complained = 0;
		forget_marks(s, count);
		if (!cw_list_empty(&c->changed_devices) && cw_worker_timers(c->worker) != NULL)
			cw_timer_set(cw_worker_timers(c->worker), &s->more, 0, on_more);
		return;
	}
	complain(s);
	(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	s->in_transaction = 0;
	/* What the transaction had taken is to be written again. */
	cw_list_each(e, &c->changed_devices) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, changed);

		d->stored_gone = 1;
		cw_list_each(k, &d->stored)
			cw_container_of(k, struct cloud_stored, link)->saved = 0;
	}
}

static void commit(struct cloud_saver *saver)
{
	commit_some(cw_container_of(saver, struct cloud_state, saver), UINT_MAX);
}

static void remember_gone(struct cloud_saver *saver, const char *id, int product)
{
	struct cloud_state *s = cw_container_of(saver, struct cloud_state, saver);
	size_t len = strlen(id);
	struct gone *g = cw_alloc(sizeof(*g) + len + 1);

	if (g == NULL) {
		complain(s);
		return;
	}
	g->product = product;
	memcpy(g->id, id, len + 1);
	g->link.next = NULL;
	cw_list_push_back(&s->gone, &g->link);
}

static void on_device_gone(struct cloud_saver *saver, const char *id)
{
	remember_gone(saver, id, 0);
}

static void on_product_gone(struct cloud_saver *saver, const char *key)
{
	remember_gone(saver, key, 1);
}

static void on_prepare(uv_prepare_t *prepare)
{
	commit_some(prepare->data, PASS_DEVICES);
}

/* ---- reading ---- */

/* Call `row` for each result of `sql`. */
static int each_row(struct cloud_state *s, const char *sql, int (*row)(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg),
                    struct cw_msg *msg)
{
	sqlite3_stmt *q;
	int rc = 0, step;

	if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
		return failed(s, "reading", msg);
	while (rc == 0 && (step = sqlite3_step(q)) == SQLITE_ROW)
		rc = row(s, q, msg);
	if (rc == 0 && step != SQLITE_DONE)
		rc = failed(s, "reading", msg);
	(void)sqlite3_finalize(q);
	return rc;
}

/* The JSON of column 1, new; NULL with a sentence. */
static json_t *body_of(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg)
{
	const void *text = sqlite3_column_text(q, 1);
	json_t *j = text != NULL ? json_loads(text, 0, NULL) : NULL;

	if (j == NULL)
		(void)cw_fail(msg, CW_EIO, "%s: \"%s\" is damaged; move the file away to begin anew", s->path,
		              (const char *)sqlite3_column_text(q, 0));
	return j;
}

static int on_product(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg)
{
	json_t *j = body_of(s, q, msg);
	int rc = j != NULL ? cw_cloud_product_load(s->cloud, j, msg) : CW_EIO;

	json_decref(j);
	return rc;
}

static int on_device(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg)
{
	json_t *j = body_of(s, q, msg);
	int rc = j != NULL ? cw_cloud_device_load(s->cloud, j, msg) : CW_EIO;

	json_decref(j);
	return rc;
}

static int on_relation(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg)
{
	json_t *j = body_of(s, q, msg);

	if (j == NULL)
		return CW_EIO;
	cw_cloud_device_load_gateway(s->cloud, j);
	json_decref(j);
	return 0;
}

static int on_chapter(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg)
{
	const char *name = (const char *)sqlite3_column_text(q, 0);
	struct cw_list *e;
	json_t *j;
	int rc = 0;

	cw_list_each(e, &s->cloud->chapters) {
		struct cloud_chapter *ch = cw_container_of(e, struct cloud_chapter, link);

		if (name == NULL || strcmp(ch->name, name) != 0)
			continue;
		j = body_of(s, q, msg);
		if (j == NULL)
			return CW_EIO;
		rc = ch->load(s->cloud, ch->arg, j);
		json_decref(j);
		if (rc < 0)
			return cw_fail(msg, rc, "%s: chapter \"%s\": %s", s->path, name, cw_error_text(rc));
	}
	return 0;
}

static int on_deleted(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg)
{
	cw_cloud_bury(s->cloud, (const char *)sqlite3_column_text(q, 0));
	return 0;
}

static int on_message(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg)
{
	const char *id = (const char *)sqlite3_column_text(q, 0), *slash = id != NULL ? strchr(id, '/') : NULL;
	struct cloud_device *d = slash != NULL ? cw_cloud_device_find(s->cloud, id, (size_t)(slash - id), slash + 1, strlen(slash + 1)) : NULL;

	if (d != NULL)
		cw_cloud_stored_load(s->cloud, d, (const char *)sqlite3_column_text(q, 1), sqlite3_column_blob(q, 2),
		                     (size_t)sqlite3_column_bytes(q, 2), (uint8_t)sqlite3_column_int(q, 3),
		                     sqlite3_column_int64(q, 4), sqlite3_column_int(q, 5));
	return 0;
}

static int load(struct cloud_state *s, struct cw_msg *msg)
{
	static const struct {
		const char *sql;
		int (*row)(struct cloud_state *s, sqlite3_stmt *q, struct cw_msg *msg);
	} steps[] = {
		{ "SELECT key, body FROM product", on_product },
		{ "SELECT id, body FROM device", on_device },
		{ "SELECT id, body FROM device WHERE body LIKE '%\"gateway\":%'", on_relation },
		{ "SELECT id FROM deleted", on_deleted },
		{ "SELECT device, topic, payload, qos, until, sent FROM message ORDER BY n", on_message },
		{ "SELECT name, body FROM chapter", on_chapter },
	};
	size_t i;
	int rc = 0;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == 0; i++)
		rc = each_row(s, steps[i].sql, steps[i].row, msg);
	return rc;
}

/* ---- opening, closing ---- */

static int check_version(struct cloud_state *s, struct cw_msg *msg)
{
	sqlite3_stmt *q;
	int version;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK)
		return failed(s, "no state file of causeway-cloud", msg);
	version = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int(q, 0) : -1;
	(void)sqlite3_finalize(q);
	if (version < 0)
		return failed(s, "no state file of causeway-cloud", msg);
	if (version > SCHEMA_VERSION)
		return cw_fail(msg, CW_EIO, "%s: made by a newer causeway-cloud (schema %d, this one knows %d)", s->path, version,
		               SCHEMA_VERSION);
	return 0;
}

static int open_db(struct cloud_state *s, struct cw_msg *msg)
{
	/* Made here because it holds secrets, and SQLite would let everybody read it. */
	int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc;
	size_t i;

	if (fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "%s: %s", s->path, strerror(errno));
	(void)fchmod(fd, 0600);
	(void)close(fd);
	if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return failed(s, "opening", msg);
	rc = check_version(s, msg);
	if (rc < 0)
		return rc;
	/* EXCLUSIVE: two emulators on one file would each undo what the other did. */
	if (sqlite3_exec(s->db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;", NULL, NULL,
	                 NULL) != SQLITE_OK || sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		return failed(s, "preparing", msg);
	for (i = 0; i < STATEMENT_COUNT; i++) {
		if (sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[i], NULL) != SQLITE_OK)
			return failed(s, "preparing", msg);
	}
	return 0;
}

static void state_free(struct cloud_state *s)
{
	struct cw_list *e;
	size_t i;

	while (s->cloud != NULL && (e = cw_list_pop(&s->gone)) != NULL)
		cw_free(cw_container_of(e, struct gone, link));
	for (i = 0; i < STATEMENT_COUNT; i++)
		(void)sqlite3_finalize(s->stmt[i]);
	(void)sqlite3_close(s->db);
	cw_free(s->path);
	cw_free(s);
}

int cw_cloud_state_open(struct cw_cloud *c, const char *path, struct cloud_state **ret_state, struct cw_msg *msg)
{
	struct cloud_state *s = cw_zalloc(sizeof(*s));
	int rc = s != NULL && (s->path = cw_strdup(path)) != NULL ? 0 : cw_fail(msg, CW_ENOMEM, "out of memory");

	if (rc == 0) {
		s->cloud = c;
		cw_list_init(&s->gone);
		s->saver = (struct cloud_saver){ on_device_gone, on_product_gone, commit };
		rc = open_db(s, msg);
	}
	if (rc == 0)
		rc = load(s, msg);
	if (rc < 0) {
		if (s != NULL)
			state_free(s);
		return rc;
	}
	(void)uv_prepare_init(cw_worker_loop(c->worker), &s->prepare);
	s->prepare.data = s;
	(void)uv_prepare_start(&s->prepare, on_prepare);
	c->saver = &s->saver;
	*ret_state = s;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct cloud_state *s = handle->data;
	void (*closed)(void *arg) = s->closed;
	void *arg = s->closed_arg;

	state_free(s);
	closed(arg);
}

void cw_cloud_state_close(struct cloud_state *s, void (*closed)(void *arg), void *arg)
{
	commit(&s->saver);
	if (cw_worker_timers(s->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(s->cloud->worker), &s->more);
	s->cloud->saver = NULL;
	s->closed = closed;
	s->closed_arg = arg;
	uv_close((uv_handle_t *)&s->prepare, on_closed);
}
