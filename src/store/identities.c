/* identities.c - see identities.h. */
#include "store/identities.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/key.h"

#define SCHEMA_VERSION 1
#define PLAIN_MOST (256u * 1024)
#define WITH_MOST 600
#define PREFIX_MOST 256

enum {
	Q_FIND,
	Q_FIND_NAME,
	Q_EACH,
	Q_WITH,
	Q_INSERT,
	Q_SEAL,
	Q_UPDATE,
	Q_REMOVE,
	Q_NEXT,
	Q_META_GET,
	Q_META_PUT,
	Q_COUNT
};

#define COLUMNS "id, identity, product_key, device_name, sealed"

static const char *const statements[Q_COUNT] = {
	[Q_FIND] = "SELECT " COLUMNS " FROM identities WHERE identity = ?1",
	[Q_FIND_NAME] = "SELECT " COLUMNS " FROM identities WHERE product_key = ?1 AND device_name = ?2 ORDER BY id DESC LIMIT 1",
	[Q_EACH] = "SELECT " COLUMNS " FROM identities WHERE identity > ?1 ORDER BY identity LIMIT ?2",
	[Q_WITH] =
		"SELECT " COLUMNS " FROM identities WHERE identity >= ?1 AND identity < ?2 ORDER BY identity LIMIT ?3",
	[Q_INSERT] = "INSERT INTO identities (identity, product_key, device_name, sealed) VALUES (?1, ?2, ?3, x'')",
	[Q_SEAL] = "UPDATE identities SET sealed = ?2 WHERE id = ?1",
	[Q_UPDATE] = "UPDATE identities SET product_key = ?2, device_name = ?3, sealed = ?4 WHERE id = ?1",
	[Q_REMOVE] = "DELETE FROM identities WHERE identity = ?1",
	[Q_NEXT] = "SELECT " COLUMNS " FROM identities WHERE id > ?1 ORDER BY id LIMIT 1",
	[Q_META_GET] = "SELECT value FROM meta WHERE name = ?1",
	[Q_META_PUT] = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
};

static const char schema[] =
	"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
	"BEGIN IMMEDIATE;"
	"CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS identities (id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL UNIQUE,"
	" product_key TEXT NOT NULL, device_name TEXT NOT NULL, sealed BLOB NOT NULL);"
	"CREATE INDEX IF NOT EXISTS identities_by_name ON identities (product_key, device_name);"
	"PRAGMA user_version = 1;"
	"COMMIT";

struct cw_table {
	sqlite3 *db;
	sqlite3_stmt *q[Q_COUNT];
	struct cw_key key;
	size_t count;
	char path[1100], key_path[1100], new_path[1110];
};

/* A row as it stands in the file; texts live until the statement is reset. */
struct stored {
	int64_t id;
	const char *identity, *product_key, *device_name;
	struct cw_bytes sealed;
};

/* ---- SQLite ---------------------------------------------------------------------- */

static int failed(struct cw_table *t, const char *what, struct cw_msg *msg)
{
	int code = t->db == NULL ? SQLITE_NOMEM : sqlite3_extended_errcode(t->db);
	const char *text = t->db == NULL ? "out of memory" : sqlite3_errmsg(t->db);

	switch (code & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return cw_fail(msg, CW_EIO, "%s: %s: %s; stop the gateway, put the file back from a backup, or move it away and import the identities again",
		               t->path, what, text);
	case SQLITE_FULL:
		return cw_fail(msg, CW_EIO, "%s: %s: %s; nothing was changed; make room on the disk", t->path, what, text);
	default:
		return cw_fail(msg, CW_EIO, "%s: %s: %s", t->path, what, text);
	}
}

static int run(struct cw_table *t, const char *sql, struct cw_msg *msg)
{
	return sqlite3_exec(t->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(t, "write", msg);
}

static void bind_text(sqlite3_stmt *q, int i, const char *text)
{
	sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC);
}

static void done_with(sqlite3_stmt *q)
{
	sqlite3_reset(q);
	sqlite3_clear_bindings(q);
}

/* Of a statement without rows. */
static int step_done(struct cw_table *t, sqlite3_stmt *q, struct cw_msg *msg)
{
	int rc = sqlite3_step(q) == SQLITE_DONE ? 0 : failed(t, "write", msg);

	done_with(q);
	return rc;
}

static int read_number(struct cw_table *t, const char *sql, int64_t *ret, struct cw_msg *msg)
{
	sqlite3_stmt *q;
	int ok;

	if (sqlite3_prepare_v2(t->db, sql, -1, &q, NULL) != SQLITE_OK)
		return failed(t, "read", msg);
	ok = sqlite3_step(q) == SQLITE_ROW;
	*ret = ok ? sqlite3_column_int64(q, 0) : 0;
	sqlite3_finalize(q);
	return ok ? 0 : failed(t, "read", msg);
}

static const char *column_text(sqlite3_stmt *q, int i)
{
	const unsigned char *text = sqlite3_column_text(q, i);

	return text == NULL ? "" : (const char *)text;
}

static struct stored stored_of(sqlite3_stmt *q)
{
	return (struct stored){
		.id = sqlite3_column_int64(q, 0),
		.identity = column_text(q, 1),
		.product_key = column_text(q, 2),
		.device_name = column_text(q, 3),
		.sealed = cw_bytes_of(sqlite3_column_blob(q, 4), (size_t)sqlite3_column_bytes(q, 4)),
	};
}

/* ---- encryption --------------------------------------------------------------------- */

/* What a row's secret is bound to. */
static struct cw_bytes bound_to(char with[WITH_MOST], int64_t id, const char *identity, const char *pk, const char *dn)
{
	int n = snprintf(with, WITH_MOST, "%lld%c%s%c%s%c%s", (long long)id, 0, identity, 0, pk, 0, dn);

	return cw_bytes_of(with, n < 0 ? 0 : (size_t)n < WITH_MOST ? (size_t)n : WITH_MOST - 1);
}

/* *ret_sealed is owned. */
static int seal(const struct cw_key *key, int64_t id, const struct cw_table_row *row, uint8_t **ret_sealed, size_t *ret_len)
{
	size_t ns = strlen(row->device_secret) + 1, len = ns + row->settings.len;
	uint8_t *plain = cw_alloc(len), *sealed = cw_alloc(len + CW_SEAL_EXTRA);
	char with[WITH_MOST];
	int rc = CW_ENOMEM;

	if (plain != NULL && sealed != NULL) {
		memcpy(plain, row->device_secret, ns);
		if (row->settings.len > 0)
			memcpy(plain + ns, row->settings.ptr, row->settings.len);
		rc = cw_key_seal(key, bound_to(with, id, row->identity, row->product_key, row->device_name), cw_bytes_of(plain, len), sealed);
		explicit_bzero(plain, len);
	}
	cw_free(plain);
	if (rc < 0) {
		cw_free(sealed);
		return rc;
	}
	*ret_sealed = sealed;
	*ret_len = len + CW_SEAL_EXTRA;
	return 0;
}

/* *ret_plain is owned: secret, NUL, settings. */
static int unseal(const struct cw_key *key, const struct stored *s, uint8_t **ret_plain, size_t *ret_len)
{
	char with[WITH_MOST];
	size_t len;
	uint8_t *plain;
	int rc;

	if (s->sealed.len <= CW_SEAL_EXTRA || s->sealed.len > PLAIN_MOST)
		return CW_EAUTH;
	len = s->sealed.len - CW_SEAL_EXTRA;
	plain = cw_alloc(len);
	if (plain == NULL)
		return CW_ENOMEM;
	rc = cw_key_open(key, bound_to(with, s->id, s->identity, s->product_key, s->device_name), s->sealed, plain);
	if (rc == 0 && memchr(plain, '\0', len) == NULL)
		rc = CW_EAUTH;
	if (rc < 0) {
		cw_free(plain);
		return rc;
	}
	*ret_plain = plain;
	*ret_len = len;
	return 0;
}

static void free_plain(uint8_t *plain, size_t len)
{
	explicit_bzero(plain, len);
	cw_free(plain);
}

static struct cw_table_row row_of(const struct stored *s, const uint8_t *plain, size_t len)
{
	const char *secret = (const char *)plain;
	size_t ns = strlen(secret) + 1;

	return (struct cw_table_row){ .identity = s->identity, .product_key = s->product_key, .device_name = s->device_name,
		                      .device_secret = secret, .settings = cw_bytes_of(plain + ns, len - ns) };
}

static int damaged(const struct cw_table *t, const char *identity, struct cw_msg *msg)
{
	return cw_fail(msg, CW_EAUTH, "%s: the entry of \"%.128s\" cannot be decrypted: it was damaged or changed by another program; "
	               "remove and add it again (causeway identity remove, add)", t->path, identity);
}

/* ---- reading -------------------------------------------------------------------------- */

static int hand_out(struct cw_table *t, sqlite3_stmt *q, cw_table_row_fn fn, void *arg, struct cw_msg *msg)
{
	struct stored s = stored_of(q);
	struct cw_table_row row;
	uint8_t *plain;
	size_t len;
	int rc = unseal(&t->key, &s, &plain, &len);

	if (rc == CW_EAUTH)
		return damaged(t, s.identity, msg);
	if (rc < 0)
		return cw_fail(msg, rc, "%s: %s", t->path, cw_error_text(rc));
	row = row_of(&s, plain, len);
	rc = fn(arg, &row);
	free_plain(plain, len);
	return rc;
}

static int find(struct cw_table *t, sqlite3_stmt *q, cw_table_row_fn fn, void *arg, struct cw_msg *msg)
{
	int step = sqlite3_step(q), rc;

	if (step == SQLITE_ROW)
		rc = hand_out(t, q, fn, arg, msg);
	else
		rc = step == SQLITE_DONE ? CW_ENOENT : failed(t, "read", msg);
	done_with(q);
	return rc;
}

int cw_table_find(struct cw_table *t, const char *identity, size_t len, cw_table_row_fn fn, void *arg, struct cw_msg *msg)
{
	sqlite3_bind_text(t->q[Q_FIND], 1, identity, (int)len, SQLITE_STATIC);
	return find(t, t->q[Q_FIND], fn, arg, msg);
}

int cw_table_find_name(struct cw_table *t, const char *product_key, const char *device_name, cw_table_row_fn fn, void *arg,
		       struct cw_msg *msg)
{
	bind_text(t->q[Q_FIND_NAME], 1, product_key);
	bind_text(t->q[Q_FIND_NAME], 2, device_name);
	return find(t, t->q[Q_FIND_NAME], fn, arg, msg);
}

/* Rows of a bound statement, without what is sealed. */
static int walk(struct cw_table *t, sqlite3_stmt *q, cw_table_row_fn fn, void *arg, struct cw_msg *msg)
{
	int step = SQLITE_DONE, rc = 0;

	while (rc == 0 && (step = sqlite3_step(q)) == SQLITE_ROW) {
		struct stored s = stored_of(q);
		struct cw_table_row row = { .identity = s.identity, .product_key = s.product_key, .device_name = s.device_name };

		rc = fn(arg, &row);
	}
	if (rc == 0 && step != SQLITE_DONE)
		rc = failed(t, "read", msg);
	done_with(q);
	return rc;
}

int cw_table_each(struct cw_table *t, const char *after, size_t most, cw_table_row_fn fn, void *arg, struct cw_msg *msg)
{
	sqlite3_stmt *q = t->q[Q_EACH];

	bind_text(q, 1, after == NULL ? "" : after);
	sqlite3_bind_int64(q, 2, (sqlite3_int64)most);
	return walk(t, q, fn, arg, msg);
}

int cw_table_with(struct cw_table *t, const char *prefix, size_t len, size_t most, cw_table_row_fn fn, void *arg,
		  struct cw_msg *msg)
{
	sqlite3_stmt *q = t->q[Q_WITH];
	char behind[PREFIX_MOST];

	if (len == 0 || len > sizeof(behind))
		return cw_fail(msg, CW_EINVAL, "a prefix of %zu bytes", len);
	/* Texts are compared by bytes, and no byte of UTF-8 is 255: the next one at the end bounds all that begin with
	 * it. */
	memcpy(behind, prefix, len);
	behind[len - 1]++;
	sqlite3_bind_text(q, 1, prefix, (int)len, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, behind, (int)len, SQLITE_STATIC);
	sqlite3_bind_int64(q, 3, (sqlite3_int64)most);
	return walk(t, q, fn, arg, msg);
}

size_t cw_table_count(const struct cw_table *t)
{
	return t->count;
}

/* ---- changing ---------------------------------------------------------------------------- */

int cw_table_begin(struct cw_table *t, struct cw_msg *msg)
{
	return run(t, "BEGIN IMMEDIATE", msg);
}

static int recount(struct cw_table *t, struct cw_msg *msg)
{
	int64_t n;
	int rc = read_number(t, "SELECT count(*) FROM identities", &n, msg);

	if (rc == 0)
		t->count = (size_t)n;
	return rc;
}

void cw_table_rollback(struct cw_table *t)
{
	if (sqlite3_get_autocommit(t->db) == 0)
		(void)sqlite3_exec(t->db, "ROLLBACK", NULL, NULL, NULL);
	(void)recount(t, NULL);
}

int cw_table_commit(struct cw_table *t, struct cw_msg *msg)
{
	int rc = run(t, "COMMIT", msg);

	if (rc < 0)
		cw_table_rollback(t);
	return rc;
}

static int insert(struct cw_table *t, const struct cw_table_row *row, struct cw_msg *msg)
{
	sqlite3_stmt *q = t->q[Q_INSERT];
	uint8_t *sealed;
	size_t len;
	int64_t id;
	int rc;

	bind_text(q, 1, row->identity);
	bind_text(q, 2, row->product_key);
	bind_text(q, 3, row->device_name);
	rc = step_done(t, q, msg);
	if (rc < 0)
		return rc;
	id = sqlite3_last_insert_rowid(t->db);
	rc = seal(&t->key, id, row, &sealed, &len);
	if (rc < 0)
		return cw_fail(msg, rc, "%s: %s", t->path, cw_error_text(rc));
	q = t->q[Q_SEAL];
	sqlite3_bind_int64(q, 1, id);
	sqlite3_bind_blob(q, 2, sealed, (int)len, SQLITE_STATIC);
	rc = step_done(t, q, msg);
	cw_free(sealed);
	return rc;
}

static int update(struct cw_table *t, int64_t id, const struct cw_table_row *row, struct cw_msg *msg)
{
	sqlite3_stmt *q = t->q[Q_UPDATE];
	uint8_t *sealed;
	size_t len;
	int rc = seal(&t->key, id, row, &sealed, &len);

	if (rc < 0)
		return cw_fail(msg, rc, "%s: %s", t->path, cw_error_text(rc));
	sqlite3_bind_int64(q, 1, id);
	bind_text(q, 2, row->product_key);
	bind_text(q, 3, row->device_name);
	sqlite3_bind_blob(q, 4, sealed, (int)len, SQLITE_STATIC);
	rc = step_done(t, q, msg);
	cw_free(sealed);
	return rc;
}

static int same(struct cw_table *t, const struct stored *s, const struct cw_table_row *row)
{
	struct cw_table_row old;
	uint8_t *plain;
	size_t len;
	int is;

	if (unseal(&t->key, s, &plain, &len) < 0)
		return 0;
	old = row_of(s, plain, len);
	is = strcmp(old.product_key, row->product_key) == 0 && strcmp(old.device_name, row->device_name) == 0 &&
	     strcmp(old.device_secret, row->device_secret) == 0 && cw_bytes_equal(old.settings, row->settings);
	free_plain(plain, len);
	return is;
}

/* Inside a transaction. */
static int put(struct cw_table *t, const struct cw_table_row *row, enum cw_table_change *ret_change, struct cw_msg *msg)
{
	sqlite3_stmt *q = t->q[Q_FIND];
	int64_t id = 0;
	int step, is_same = 0;

	bind_text(q, 1, row->identity);
	step = sqlite3_step(q);
	if (step == SQLITE_ROW) {
		struct stored s = stored_of(q);

		id = s.id;
		is_same = same(t, &s, row);
	}
	done_with(q);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return failed(t, "read", msg);
	*ret_change = step == SQLITE_DONE ? CW_TABLE_ADDED : is_same ? CW_TABLE_SAME : CW_TABLE_CHANGED;
	if (*ret_change == CW_TABLE_SAME)
		return 0;
	if (*ret_change == CW_TABLE_CHANGED)
		return update(t, id, row, msg);
	t->count++;
	return insert(t, row, msg);
}

int cw_table_put(struct cw_table *t, const struct cw_table_row *row, enum cw_table_change *ret_change, struct cw_msg *msg)
{
	int own = sqlite3_get_autocommit(t->db), rc;

	if (strlen(row->device_secret) + row->settings.len > PLAIN_MOST - 64)
		return cw_fail(msg, CW_ELIMIT, "\"%.128s\": secret and settings are longer than %u bytes", row->identity, PLAIN_MOST - 64);
	rc = own ? cw_table_begin(t, msg) : 0;
	if (rc < 0)
		return rc;
	rc = put(t, row, ret_change, msg);
	if (!own)
		return rc;
	if (rc == 0)
		return cw_table_commit(t, msg);
	cw_table_rollback(t);
	return rc;
}

int cw_table_remove(struct cw_table *t, const char *identity, struct cw_msg *msg)
{
	int rc;

	bind_text(t->q[Q_REMOVE], 1, identity);
	rc = step_done(t, t->q[Q_REMOVE], msg);
	if (rc < 0)
		return rc;
	if (sqlite3_changes(t->db) == 0)
		return cw_fail(msg, CW_ENOENT, "the table has no entry of \"%.128s\"", identity);
	t->count--;
	return 0;
}

/* ---- the key -------------------------------------------------------------------------------- */

static int get_meta(struct cw_table *t, const char *name, uint8_t *out, size_t size, size_t *ret_len, struct cw_msg *msg)
{
	sqlite3_stmt *q = t->q[Q_META_GET];
	int step, rc = 0;

	bind_text(q, 1, name);
	step = sqlite3_step(q);
	*ret_len = 0;
	if (step == SQLITE_ROW && (size_t)sqlite3_column_bytes(q, 0) <= size) {
		*ret_len = (size_t)sqlite3_column_bytes(q, 0);
		memcpy(out, sqlite3_column_blob(q, 0), *ret_len);
	} else if (step != SQLITE_ROW && step != SQLITE_DONE) {
		rc = failed(t, "read", msg);
	}
	done_with(q);
	return rc;
}

static int put_meta(struct cw_table *t, const char *name, const void *value, size_t len, struct cw_msg *msg)
{
	bind_text(t->q[Q_META_PUT], 1, name);
	sqlite3_bind_blob(t->q[Q_META_PUT], 2, value, (int)len, SQLITE_STATIC);
	return step_done(t, t->q[Q_META_PUT], msg);
}

static int note_key(struct cw_table *t, const struct cw_key *key, struct cw_msg *msg)
{
	static const char known[] = "causeway";
	uint8_t sealed[sizeof(known) + CW_SEAL_EXTRA];
	int rc = cw_key_seal(key, cw_bytes_text("key"), cw_bytes_of(known, sizeof(known)), sealed);

	if (rc < 0)
		return cw_fail(msg, rc, "%s: %s", t->path, cw_error_text(rc));
	rc = put_meta(t, "key_id", key->id, 16, msg);
	return rc < 0 ? rc : put_meta(t, "key_check", sealed, sizeof(sealed), msg);
}

static int check_key(struct cw_table *t, struct cw_msg *msg)
{
	uint8_t sealed[64], plain[64];
	size_t len;
	int rc = get_meta(t, "key_check", sealed, sizeof(sealed), &len, msg);

	if (rc == 0 && cw_key_open(&t->key, cw_bytes_text("key"), cw_bytes_of(sealed, len), plain) < 0)
		rc = cw_fail(msg, CW_ECONF, "%s does not open %s: the key file was damaged or edited; put the right one back", t->key_path, t->path);
	return rc;
}

static int first_key(struct cw_table *t, struct cw_msg *msg)
{
	int rc = cw_key_load(t->key_path, &t->key, msg);

	if (rc == CW_ENOENT)
		rc = cw_key_make(t->key_path, &t->key, msg);
	if (rc < 0)
		return rc;
	(void)unlink(t->new_path);
	rc = cw_table_begin(t, msg);
	if (rc == 0)
		rc = note_key(t, &t->key, msg);
	return rc < 0 ? rc : cw_table_commit(t, msg);
}

/* The table knows its key: it is in the key file, or in the new one whose renaming was interrupted. */
static int find_key(struct cw_table *t, const char *id, struct cw_msg *msg)
{
	struct cw_msg unused;
	int rc = cw_key_load(t->key_path, &t->key, msg), missing = rc == CW_ENOENT;

	if (rc == 0 && strcmp(t->key.id, id) == 0) {
		(void)unlink(t->new_path); /* a change of key that did not get to the table */
		return check_key(t, msg);
	}
	if (rc < 0 && !missing)
		return rc;
	if (cw_key_load(t->new_path, &t->key, &unused) == 0 && strcmp(t->key.id, id) == 0) {
		rc = cw_file_rename(t->new_path, t->key_path, msg);
		return rc < 0 ? rc : check_key(t, msg);
	}
	if (missing)
		return cw_fail(msg, CW_ECONF, "%s is missing, and the %zu entries of %s are encrypted with it; put it back, or move %s away and "
		               "import the identities again", t->key_path, t->count, t->path, t->path);
	return cw_fail(msg, CW_ECONF, "%s is not the key of %s (it has %s, the table was encrypted with %s); put the right one back, or move %s "
	               "away and import the identities again", t->key_path, t->path, t->key.id, id, t->path);
}

static int open_key(struct cw_table *t, struct cw_msg *msg)
{
	char id[CW_KEY_ID] = "";
	size_t len;
	int rc = get_meta(t, "key_id", (uint8_t *)id, sizeof(id) - 1, &len, msg);

	if (rc < 0)
		return rc;
	return len == 0 ? first_key(t, msg) : find_key(t, id, msg);
}

static int rekey_row(struct cw_table *t, const struct cw_key *fresh, const struct stored *s, struct cw_msg *msg)
{
	struct cw_table_row row;
	uint8_t *plain, *sealed;
	size_t len, sealed_len;
	int rc = unseal(&t->key, s, &plain, &len);

	if (rc < 0)
		return rc == CW_EAUTH ? damaged(t, s->identity, msg) : cw_fail(msg, rc, "%s: %s", t->path, cw_error_text(rc));
	row = row_of(s, plain, len);
	rc = seal(fresh, s->id, &row, &sealed, &sealed_len);
	free_plain(plain, len);
	if (rc < 0)
		return cw_fail(msg, rc, "%s: %s", t->path, cw_error_text(rc));
	sqlite3_bind_int64(t->q[Q_SEAL], 1, s->id);
	sqlite3_bind_blob(t->q[Q_SEAL], 2, sealed, (int)sealed_len, SQLITE_STATIC);
	rc = step_done(t, t->q[Q_SEAL], msg);
	cw_free(sealed);
	return rc;
}

static int rekey_rows(struct cw_table *t, const struct cw_key *fresh, size_t *ret_rows, struct cw_msg *msg)
{
	sqlite3_stmt *q = t->q[Q_NEXT];
	int64_t at = 0;
	int rc = 0, step;

	*ret_rows = 0;
	for (;;) {
		sqlite3_bind_int64(q, 1, at);
		step = sqlite3_step(q);
		if (step == SQLITE_ROW) {
			struct stored s = stored_of(q);

			at = s.id;
			rc = rekey_row(t, fresh, &s, msg);
			++*ret_rows;
		} else if (step != SQLITE_DONE) {
			rc = failed(t, "read", msg);
		}
		done_with(q);
		if (rc < 0 || step != SQLITE_ROW)
			return rc;
	}
}

int cw_table_rekey(struct cw_table *t, size_t *ret_rows, struct cw_msg *msg)
{
	struct cw_key fresh;
	int rc = cw_key_make(t->new_path, &fresh, msg);

	if (rc < 0)
		return rc;
	rc = cw_table_begin(t, msg);
	if (rc == 0)
		rc = rekey_rows(t, &fresh, ret_rows, msg);
	if (rc == 0)
		rc = note_key(t, &fresh, msg);
	if (rc < 0) {
		cw_table_rollback(t);
		(void)unlink(t->new_path);
	} else {
		/* After a failed commit nobody knows yet what is on disk: both keys stay, and the next open finds the one that fits. */
		rc = cw_table_commit(t, msg);
	}
	if (rc == 0) {
		t->key = fresh;
		rc = cw_file_rename(t->new_path, t->key_path, msg);
	}
	cw_key_wipe(&fresh);
	return rc;
}

/* ---- opening ---------------------------------------------------------------------------------- */

static int make_file(const char *path, struct cw_msg *msg)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "%s: %s", path, strerror(errno));
	(void)fchmod(fd, 0600);
	cw_file_give_to_owner(fd, path);
	(void)close(fd);
	return 0;
}

static int open_db(struct cw_table *t, struct cw_msg *msg)
{
	int64_t version, n;
	int i, rc = make_file(t->path, msg);

	if (rc < 0)
		return rc;
	if (sqlite3_open_v2(t->path, &t->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return failed(t, "open", msg);
	(void)sqlite3_extended_result_codes(t->db, 1);
	rc = read_number(t, "PRAGMA user_version", &version, msg);
	if (rc == 0 && version > SCHEMA_VERSION)
		rc = cw_fail(msg, CW_EIO, "%s: made by a newer Causeway (schema %lld, this one knows %d)", t->path, (long long)version, SCHEMA_VERSION);
	if (rc == 0)
		rc = run(t, schema, msg);
	for (i = 0; i < Q_COUNT && rc == 0; i++)
		if (sqlite3_prepare_v3(t->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &t->q[i], NULL) != SQLITE_OK)
			rc = failed(t, "prepare", msg);
	if (rc == 0)
		rc = read_number(t, "SELECT count(*) FROM identities", &n, msg);
	if (rc == 0)
		t->count = (size_t)n;
	return rc;
}

int cw_table_open(const char *dir, const char *key_file, struct cw_table **ret_table, struct cw_msg *msg)
{
	struct cw_table *t = cw_zalloc(sizeof(*t));
	int rc;

	if (t == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	(void)snprintf(t->path, sizeof(t->path), "%.1080s/identities.db", dir);
	(void)snprintf(t->key_path, sizeof(t->key_path), "%s", key_file);
	(void)snprintf(t->new_path, sizeof(t->new_path), "%s.new", t->key_path);
	rc = open_db(t, msg);
	if (rc == 0)
		rc = open_key(t, msg);
	if (rc < 0) {
		cw_table_close(t);
		return rc;
	}
	*ret_table = t;
	return 0;
}

void cw_table_close(struct cw_table *t)
{
	int i;

	if (t == NULL)
		return;
	for (i = 0; i < Q_COUNT; i++)
		sqlite3_finalize(t->q[i]);
	sqlite3_close(t->db);
	cw_key_wipe(&t->key);
	cw_free(t);
}
