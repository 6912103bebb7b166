/* stock.c - opening: the tables, the key, and whether they belong together. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "factory/stock/stock_impl.h"

#define TRIES 6u /* of a transaction that meets another */

/* ---- transactions ------------------------------------------------------------------------------ */

/* 0 to 2, 4, 8 .. ms: two servers that met do not meet again. */
static void nap(unsigned tries)
{
	struct timespec t = { 0 };
	uint32_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)getpid();
	t.tv_nsec = (long)(random % (2u << tries) * 1000000u);
	(void)nanosleep(&t, NULL);
}

int stock_transact(struct cw_stock *s, int (*work)(struct cw_stock *s, void *arg, struct cw_msg *msg), void *arg, struct cw_msg *msg)
{
	unsigned tries;
	int rc = CW_EBUSY;

	for (tries = 0; tries < TRIES && rc == CW_EBUSY; tries++) {
		if (tries > 0)
			nap(tries);
		/* It has waited for others itself. */
		rc = cw_db_begin(s->db, 1, msg);
		if (rc != 0)
			return rc;
		rc = work(s, arg, msg);
		if (rc == 0)
			rc = cw_db_commit(s->db, msg);
		else
			cw_db_rollback(s->db);
	}
	return rc;
}

/* ---- tables ------------------------------------------------------------------------------------ */

struct meta {
	char version[16], key_id[CW_KEY_ID];
};

static int on_number(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	*(int64_t *)arg = columns[0].number;
	return 0;
}

static int on_meta(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct meta *m = arg;
	const char *name = (const char *)columns[0].bytes.ptr, *value = (const char *)columns[1].bytes.ptr;

	if (strcmp(name, "version") == 0)
		(void)snprintf(m->version, sizeof(m->version), "%s", value);
	else if (strcmp(name, "key_id") == 0)
		(void)snprintf(m->key_id, sizeof(m->key_id), "%s", value);
	return 0;
}

/* Whether our tables are there, and in a file, whether any are: ours are not put beside somebody else's. */
static int count_tables(struct cw_stock *s, int64_t *ret_ours, int64_t *ret_any, struct cw_msg *msg)
{
	int rc;

	*ret_ours = *ret_any = 0;
	if (cw_db_kind(s->db) == CW_DB_POSTGRES)
		return cw_db_run(s->db, "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE relname = 'meta' AND pg_catalog.pg_table_is_visible(oid)",
				 NULL, 0, on_number, ret_ours, NULL, msg);
	rc = cw_db_run(s->db, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'meta'", NULL, 0, on_number, ret_ours, NULL, msg);
	return rc < 0 ? rc : cw_db_run(s->db, "SELECT COUNT(*) FROM sqlite_master", NULL, 0, on_number, ret_any, NULL, msg);
}

static int check_version(const struct meta *m, const char *name, struct cw_msg *msg)
{
	char *end;
	long version = strtol(m->version, &end, 10);

	if (m->version[0] == '\0' || *end != '\0' || version < 1 || m->key_id[0] == '\0')
		return cw_fail(msg, CW_ECONF, "%s is not a stock of certificates, but a database of something else; name another one", name);
	if (version > STOCK_VERSION)
		return cw_fail(msg, CW_ECONF,
			       "%s was written by a later version of Causeway (tables %ld, this one knows %d); install that version, or "
			       "go back to a backup that was made before",
			       name, version, STOCK_VERSION);
	return 0;
}

static int put_meta(struct cw_stock *s, const char *name, const char *value, struct cw_msg *msg)
{
	const struct cw_db_value v[] = { cw_db_text(name), cw_db_text(value) };

	return cw_db_run(s->db,
			 "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			 v, 2, NULL, NULL, NULL, msg);
}

struct opening {
	const struct cw_stock_conf *conf;
	char name[300], key_file[1024];
};

/* A new database: its key is on the disk before anything can be sealed with it. */
static int make(struct cw_stock *s, struct opening *o, struct cw_msg *msg)
{
	char version[16];
	int rc = cw_key_load(o->key_file, &s->key, msg);

	if (rc == CW_ENOENT)
		rc = cw_key_make(o->key_file, &s->key, msg);
	if (rc == 0)
		rc = stock_schema_make(s->db, msg);
	(void)snprintf(version, sizeof(version), "%d", STOCK_VERSION);
	if (rc == 0)
		rc = put_meta(s, "version", version, msg);
	if (rc == 0)
		rc = put_meta(s, "key_id", s->key.id, msg);
	s->has_key = rc == 0;
	return rc;
}

static int load_key(struct cw_stock *s, const struct opening *o, const struct meta *m, struct cw_msg *msg)
{
	int rc = cw_key_load(o->key_file, &s->key, msg);

	if (rc == CW_ENOENT && o->conf->read_only)
		return 0;
	if (rc == CW_ENOENT)
		return cw_fail(msg, CW_ECONF,
			       "there is no key file %s, and the secrets in %s are sealed with key %s; copy the key file from where the stock was "
			       "made, or name it; if it is lost the secrets are, too: the platform's CSV has them, and causeway factory query --json tells "
			       "which board has which; import both into a new database (FACTORY.md has the commands)",
			       o->key_file, o->name, m->key_id);
	if (rc < 0)
		return rc;
	if (strcmp(s->key.id, m->key_id) != 0)
		return cw_fail(msg, CW_ECONF,
			       "the key in %s is %s, but the secrets in %s are sealed with key %s; name the key file that belongs to this "
			       "database",
			       o->key_file, s->key.id, o->name, m->key_id);
	s->has_key = 1;
	return 0;
}

/* Two that open a new database in one moment come one after the other: by the writer's lock of SQLite, or this one. */
static int prepare(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct opening *o = arg;
	struct meta m = { "", "" };
	int64_t ours, any;
	int rc = 0;

	if (cw_db_kind(s->db) == CW_DB_POSTGRES && !o->conf->read_only)
		rc = cw_db_run(s->db, "SELECT pg_advisory_xact_lock(4850186342771)", NULL, 0, NULL, NULL, NULL, msg);
	if (rc == 0)
		rc = count_tables(s, &ours, &any, msg);
	if (rc < 0)
		return rc;
	if (ours == 0 && o->conf->read_only)
		return cw_fail(msg, CW_ECONF, "%s holds no stock of certificates yet; import some first", o->name);
	if (ours == 0 && any > 0)
		return check_version(&m, o->name, msg);
	if (ours == 0)
		return make(s, o, msg);
	rc = cw_db_run(s->db, "SELECT name, value FROM meta WHERE name IN ('version', 'key_id')", NULL, 0, on_meta, &m, NULL, msg);
	if (rc == 0)
		rc = check_version(&m, o->name, msg);
	return rc < 0 ? rc : load_key(s, o, &m, msg);
}

static int run_prepare(struct cw_stock *s, struct opening *o, struct cw_msg *msg)
{
	int rc;

	if (!o->conf->read_only)
		return stock_transact(s, prepare, o, msg);
	rc = cw_db_begin(s->db, 0, msg);
	if (rc == 0)
		rc = prepare(s, o, msg);
	cw_db_rollback(s->db);
	return rc;
}

/* ---- opening ------------------------------------------------------------------------------------ */

static int find_key_file(const struct cw_stock_conf *conf, struct opening *o, struct cw_msg *msg)
{
	int n;

	if (conf->key_file != NULL)
		n = snprintf(o->key_file, sizeof(o->key_file), "%s", conf->key_file);
	else if (cw_db_is_server(conf->db))
		return cw_fail(msg, CW_ECONF,
			       "a stock in %s needs a key file to be named, with --key FILE or keyFile of the configuration: the same file for each server "
			       "and tool that uses it; the first import or server makes it", o->name);
	else
		n = snprintf(o->key_file, sizeof(o->key_file), "%s.key", conf->db);
	return (size_t)n < sizeof(o->key_file) ? 0 : cw_fail(msg, CW_ELIMIT, "the path of the key file is too long");
}

static int find_node(struct cw_stock *s, const char *node, struct cw_msg *msg)
{
	char host[HOST_NAME_MAX + 1] = "";

	if (node == NULL) {
		(void)gethostname(host, sizeof(host) - 1);
		node = host[0] == '\0' ? "causeway" : host;
	}
	if (!stock_word(node, sizeof(s->node) - 1))
		return cw_fail(msg, CW_ECONF, "the node name \"%.80s\" is not of 1 to %zu printable characters without blanks; set another one",
			       node, sizeof(s->node) - 1);
	(void)snprintf(s->node, sizeof(s->node), "%s", node);
	return 0;
}

int cw_stock_open(const struct cw_stock_conf *conf, struct cw_stock **ret_stock, struct cw_msg *msg)
{
	const struct cw_db_conf db = { .where = conf->db, .read_only = conf->read_only, .wait_ms = conf->wait_ms };
	struct cw_stock *s = cw_zalloc(sizeof(*s));
	struct opening o = { .conf = conf };
	int rc;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "stock: out of memory");
	s->read_only = conf->read_only;
	cw_db_name(conf->db, o.name, sizeof(o.name));
	rc = find_key_file(conf, &o, msg);
	if (rc == 0)
		rc = find_node(s, conf->node, msg);
	if (rc == 0)
		rc = cw_db_open(&db, &s->db, msg);
	if (rc == 0)
		rc = run_prepare(s, &o, msg);
	if (rc != 0) {
		cw_stock_close(s);
		return rc;
	}
	if (s->has_key) {
		stock_audit_key(&s->key, s->audit_key);
		stock_mac_key_take(&s->audit_mac, s->audit_key);
	}
	if (cw_db_kind(s->db) == CW_DB_SQLITE)
		(void)snprintf(s->import_lock, sizeof(s->import_lock), "%s.import", conf->db);
	*ret_stock = s;
	return 0;
}

void cw_stock_close(struct cw_stock *s)
{
	if (s == NULL)
		return;
	cw_lot_abandon(s->lot);
	cw_db_close(s->db);
	cw_key_wipe(&s->key);
	explicit_bzero(s->audit_key, sizeof(s->audit_key));
	explicit_bzero(&s->audit_mac, sizeof(s->audit_mac));
	cw_free(s);
}

/* ---- health --------------------------------------------------------------------------------------- */

/* Another value each time: one that is as before would not be written. */
static int touch(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	char now[25];

	cw_clock_format(cw_clock_wall_ms(), now);
	return put_meta(s, "checked", now, msg);
}

int cw_stock_ping(struct cw_stock *s, struct cw_msg *msg)
{
	if (s->read_only)
		return cw_db_run(s->db, "SELECT value FROM meta WHERE name = 'version'", NULL, 0, NULL, NULL, NULL, msg);
	return stock_transact(s, touch, NULL, msg);
}

int cw_stock_backup(struct cw_stock *s, const char *file, struct cw_msg *msg)
{
	return cw_db_copy(s->db, file, msg);
}
