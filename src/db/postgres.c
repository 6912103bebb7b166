/* postgres.c - see db.h: a server. */
#include "db/pg_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "base/mem.h"

#define PARAMS_MAX 64u
#define WINDOW 256u /* sets that are under way at once: what either side has to keep for the other is bounded */

/* Types of results, from the server's pg_type.dat: those numbers never change. */
enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_NUMERIC = 1700 };

struct pg_statement {
	struct cw_map_node node; /* first */
	char name[16];
	char sql[];
};

/* One call of run(). */
struct job {
	cw_db_row_fn fn;
	void *arg;
	size_t changed;
	const char *tag; /* NULL, or what the server must say it did */
	int tagged;      /* it did */
	int stop;        /* fn has seen enough */
	int synced;      /* the end of the pipeline was sent */
	int rc;          /* the first error; what follows of the pipeline was not done */
};

static struct pg *of(struct cw_db *db)
{
	return cw_container_of(db, struct pg, base);
}

static int no_memory(const struct pg *s, struct cw_msg *msg)
{
	return cw_fail(msg, CW_ENOMEM, "%s: out of memory", s->base.name);
}

/* libpq did not even take it. */
static int not_sent(struct pg *s, struct cw_msg *msg)
{
	int rc = PQstatus(s->conn) == CONNECTION_BAD ? CW_EUNREACH : CW_EIO;

	cw_msg_set(msg, "%s: nothing can be sent: %s", s->base.name, rc == CW_EUNREACH ? "the connection was lost" : "out of memory");
	pg_drop(s);
	return rc;
}

/* ---- results ----------------------------------------------------------------------------- */

/* "\x00ff" to bytes at `out`. */
static struct cw_bytes decode(const char *text, size_t len, uint8_t *out)
{
	size_t i, n = len < 2 ? 0 : (len - 2) / 2;

	for (i = 0; i < n; i++)
		out[i] = (uint8_t)(cw_hex_value(text[2 + 2 * i]) << 4 | cw_hex_value(text[3 + 2 * i]));
	return cw_bytes_of(out, n);
}

static int room_for_row(struct pg *s, const PGresult *res, int row, struct cw_msg *msg)
{
	size_t columns = (size_t)PQnfields(res), bytes = 0, i;

	for (i = 0; i < columns; i++)
		bytes += PQftype(res, (int)i) == OID_BYTEA ? (size_t)PQgetlength(res, row, (int)i) / 2 : 0;
	if (columns > s->columns) {
		struct cw_db_value *grown = cw_realloc(s->row, columns * sizeof(*grown));

		if (grown == NULL)
			return no_memory(s, msg);
		s->row = grown;
		s->columns = columns;
	}
	if (bytes > s->bytes_size) {
		uint8_t *grown = cw_realloc(s->bytes, bytes * 2);

		if (grown == NULL)
			return no_memory(s, msg);
		s->bytes = grown;
		s->bytes_size = bytes * 2;
	}
	return 0;
}

static void read_column(const PGresult *res, int row, int i, uint8_t **bytes, struct cw_db_value *v)
{
	const char *text = PQgetvalue(res, row, i);
	size_t len = (size_t)PQgetlength(res, row, i);

	memset(v, 0, sizeof(*v));
	if (PQgetisnull(res, row, i))
		return;
	switch (PQftype(res, i)) {
	case OID_BOOL:
		v->type = CW_DB_INT;
		v->number = *text == 't';
		return;
	case OID_NUMERIC: /* sum() of a BIGINT; one with a fraction is a text, as in SQLite */
		errno = 0;
		v->number = strtoll(text, NULL, 10);
		if (strspn(text, "-0123456789") == len && errno == 0) {
			v->type = CW_DB_INT;
			return;
		}
		break;
	case OID_INT8:
	case OID_INT4:
	case OID_INT2:
		v->type = CW_DB_INT;
		v->number = strtoll(text, NULL, 10);
		return;
	case OID_BYTEA:
		v->type = CW_DB_BLOB;
		v->bytes = decode(text, len, *bytes);
		*bytes += v->bytes.len;
		return;
	default: break;
	}
	v->type = CW_DB_TEXT;
	v->bytes = cw_bytes_of(text, len);
}

static void take_rows(struct pg *s, struct job *j, size_t set, const PGresult *res, struct cw_msg *msg)
{
	int row, i, rows = PQntuples(res), columns = PQnfields(res);

	for (row = 0; row < rows && j->fn != NULL && !j->stop && j->rc == 0; row++) {
		uint8_t *bytes;

		j->rc = room_for_row(s, res, row, msg);
		if (j->rc < 0)
			return;
		bytes = s->bytes;
		for (i = 0; i < columns; i++)
			read_column(res, row, i, &bytes, &s->row[i]);
		j->stop = j->fn(j->arg, set, s->row, (size_t)columns) != 0;
	}
}

/* PQcmdTuples() is the rows that were read, too. */
static size_t count_changed(PGresult *res)
{
	static const char *const changing[] = { "INSERT", "UPDATE", "DELETE", "MERGE" };
	const char *did = PQcmdStatus(res);
	size_t i;

	for (i = 0; i < sizeof(changing) / sizeof(changing[0]); i++) {
		if (strncmp(did, changing[i], strlen(changing[i])) == 0)
			return (size_t)strtoull(PQcmdTuples(res), NULL, 10);
	}
	return 0;
}

/* 0, or an error after which there is no connection any more. */
static int take(struct pg *s, struct job *j, size_t set, PGresult *res, struct cw_msg *msg)
{
	switch (PQresultStatus(res)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_SINGLE_TUPLE:
		take_rows(s, j, set, res, msg);
		j->changed += count_changed(res);
		j->tagged |= j->tag != NULL && strcmp(PQcmdStatus(res), j->tag) == 0;
		break;
	case PGRES_PIPELINE_ABORTED:
	case PGRES_PIPELINE_SYNC:
	case PGRES_EMPTY_QUERY: break;
	default:
		if (j->rc == 0)
			j->rc = pg_failed(s, res, msg);
		break;
	}
	PQclear(res);
	return s->conn == NULL ? j->rc : 0;
}

/* All results of one command. */
static int receive(struct pg *s, struct job *j, size_t set, unsigned silence_ms, struct cw_msg *msg)
{
	PGresult *res;
	int rc;

	for (;;) {
		rc = pg_next(s, silence_ms, &res, msg);
		if (rc < 0 || res == NULL)
			return rc;
		rc = take(s, j, set, res, msg);
		if (rc < 0)
			return rc;
	}
}

/* Behind everything that was sent: up to the sign that the server is ready for the next. */
static int finish(struct pg *s, struct job *j, unsigned silence_ms, struct cw_msg *msg)
{
	PGresult *res;
	int rc, ready = 0, nothing = 0;

	if (!j->synced && !PQpipelineSync(s->conn))
		return not_sent(s, msg);
	while (!ready) {
		rc = pg_next(s, silence_ms, &res, msg);
		if (rc < 0)
			return rc;
		if (res == NULL) {
			if (++nothing < 3)
				continue;
			pg_drop(s);
			return cw_fail(msg, CW_EUNREACH, "%s: the connection is out of step", s->base.name);
		}
		nothing = 0;
		ready = PQresultStatus(res) == PGRES_PIPELINE_SYNC;
		rc = take(s, j, 0, res, msg);
		if (rc < 0)
			return rc;
	}
	return j->rc;
}

/* ---- transactions ------------------------------------------------------------------------ */

static unsigned silence(const struct pg *s)
{
	return s->base.wait_ms + PG_MARGIN_MS;
}

/* `tag`: a COMMIT of a failed transaction is answered with ROLLBACK and no error. */
static int command(struct pg *s, const char *sql, const char *tag, struct cw_msg *msg)
{
	struct job j = { .tag = tag };
	int rc;

	if (!PQsendQueryParams(s->conn, sql, 0, NULL, NULL, NULL, NULL, 0))
		return not_sent(s, msg);
	rc = finish(s, &j, silence(s), msg);
	if (rc == 0 && !j.tagged)
		return cw_fail(msg, CW_EIO, "%s: the server was asked to %s and did something else", s->base.name, tag);
	return rc;
}

/*
 * A transaction for writing reads what others have committed until then, row by row, as it comes to their locks. One for
 * reading sees one state, as in SQLite.
 */
static int begin(struct cw_db *db, int write, struct cw_msg *msg)
{
	struct pg *s = of(db);
	const char *sql = write ? "BEGIN ISOLATION LEVEL READ COMMITTED" : "BEGIN ISOLATION LEVEL REPEATABLE READ";
	int rc, old;

	do {
		old = s->conn != NULL; /* may have died without a sign */
		rc = pg_session(s, msg);
		if (rc == 0)
			rc = command(s, sql, "BEGIN", msg);
	} while (rc == CW_EUNREACH && old);
	return rc;
}

static void rollback(struct cw_db *db)
{
	struct pg *s = of(db);
	struct cw_msg msg;

	if (s->conn != NULL && command(s, "ROLLBACK", "ROLLBACK", &msg) < 0)
		pg_drop(s);
}

static int commit(struct cw_db *db, struct cw_msg *msg)
{
	struct pg *s = of(db);
	int rc;

	rc = command(s, "COMMIT", "COMMIT", msg);
	if (rc == CW_EUNREACH)
		cw_msg_wrap(msg, "whether the transaction was kept is not known");
	else if (rc < 0)
		rollback(db); /* a warning to the server if it has done that already */
	return rc;
}

/* ---- statements -------------------------------------------------------------------------- */

/* ret_fresh: it is yet to be prepared. */
static int find_statement(struct pg *s, const char *sql, struct pg_statement **ret, int *ret_fresh, struct cw_msg *msg)
{
	size_t len = strlen(sql);
	struct cw_map_node *n = cw_map_find(&s->statements, sql, len);
	struct pg_statement *t;

	*ret_fresh = n == NULL;
	if (n != NULL) {
		*ret = cw_container_of(n, struct pg_statement, node);
		return 0;
	}
	t = cw_zalloc(sizeof(*t) + len + 1);
	if (t == NULL)
		return no_memory(s, msg);
	memcpy(t->sql, sql, len);
	(void)snprintf(t->name, sizeof(t->name), "s%u", ++s->prepared);
	if (cw_map_add(&s->statements, &t->node, t->sql, len) < 0) {
		cw_free(t);
		return no_memory(s, msg);
	}
	*ret = t;
	return 0;
}

/* Numbers go as texts, which the server takes for every type of number; texts and bytes as they are. */
static int send_set(struct pg *s, const char *name, const struct cw_db_value *params, size_t count)
{
	const char *values[PARAMS_MAX];
	int lengths[PARAMS_MAX], formats[PARAMS_MAX];
	char numbers[PARAMS_MAX][24];
	size_t i;

	for (i = 0; i < count; i++) {
		const struct cw_db_value *v = &params[i];

		values[i] = v->bytes.len == 0 ? "" : (const char *)v->bytes.ptr;
		lengths[i] = (int)v->bytes.len;
		formats[i] = v->type != CW_DB_INT;
		if (v->type == CW_DB_NULL)
			values[i] = NULL;
		if (v->type == CW_DB_INT) {
			(void)snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)v->number);
			values[i] = numbers[i];
		}
	}
	return PQsendQueryPrepared(s->conn, name, (int)count, values, lengths, formats, 0);
}

/* For the caller's next try, and for what another may have made meanwhile. */
static void forget_statement(struct pg *s, struct pg_statement *t)
{
	cw_map_remove(&s->statements, &t->node);
	cw_free(t);
}

/* A window of sets: sent, then answered. */
static int run_window(struct pg *s, struct pg_statement *t, int fresh, const struct cw_db_value *params, size_t count, size_t from,
		      size_t to, int last, struct job *j, struct cw_msg *msg)
{
	size_t i;
	int rc = 0;

	if (fresh && !PQsendPrepare(s->conn, t->name, t->sql, 0, NULL))
		return not_sent(s, msg);
	for (i = from; i < to; i++) {
		if (!send_set(s, t->name, count == 0 ? NULL : params + i * count, count))
			return not_sent(s, msg);
	}
	if (!(last ? PQpipelineSync(s->conn) : PQsendFlushRequest(s->conn)))
		return not_sent(s, msg);
	j->synced = last;
	if (fresh)
		rc = receive(s, j, 0, silence(s), msg);
	if (rc == 0 && j->rc < 0)
		forget_statement(s, t);
	/* A walk over everything there is must not be in memory as a whole. */
	if (rc == 0 && last && to == 1 && j->fn != NULL)
		(void)PQsetSingleRowMode(s->conn);
	for (i = from; i < to && rc == 0; i++)
		rc = receive(s, j, i, silence(s), msg);
	return rc;
}

static int run(struct cw_db *db, const char *sql, const struct cw_db_value *params, size_t count, size_t sets, cw_db_row_fn fn, void *arg,
	       size_t *changed, struct cw_msg *msg)
{
	struct pg *s = of(db);
	struct job j = { .fn = fn, .arg = arg };
	struct pg_statement *t = NULL;
	size_t from, to;
	int rc, fresh = 0;

	if (count > PARAMS_MAX)
		return cw_fail(msg, CW_EINTERNAL, "%s: a statement with %zu parameters", s->base.name, count);
	rc = db->in_transaction ? 0 : pg_session(s, msg);
	if (rc == 0)
		rc = find_statement(s, sql, &t, &fresh, msg);
	if (rc < 0)
		return rc;
	for (from = 0; from < sets && rc == 0 && j.rc == 0; from = to) {
		to = sets - from > WINDOW ? from + WINDOW : sets;
		rc = run_window(s, t, fresh && from == 0, params, count, from, to, to == sets, &j, msg);
	}
	if (rc == 0)
		rc = finish(s, &j, silence(s), msg);
	*changed += j.changed;
	return rc;
}

/* Several statements go by the simple protocol only, which a pipeline does not have. They are one transaction of their own. */
static int script(struct cw_db *db, const char *sql, struct cw_msg *msg)
{
	struct pg *s = of(db);
	struct job j = { .fn = NULL };
	int rc = db->in_transaction ? 0 : pg_session(s, msg);

	if (rc < 0)
		return rc;
	if (!PQexitPipelineMode(s->conn) || !PQsendQuery(s->conn, sql))
		return not_sent(s, msg);
	rc = receive(s, &j, 0, PG_SCRIPT_MS, msg);
	if (rc == 0 && !PQenterPipelineMode(s->conn))
		return not_sent(s, msg);
	return rc < 0 ? rc : j.rc;
}

static int copy(struct cw_db *db, const char *file, struct cw_msg *msg)
{
	return cw_fail(msg, CW_EUNSUPPORTED, "%s: is copied with the server's own tools: pg_dump --format=custom --file=%s", db->name, file);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void close_postgres(struct cw_db *db)
{
	struct pg *s = of(db);

	pg_drop(s);
	cw_map_fini(&s->statements);
	if (s->where != NULL)
		explicit_bzero(s->where, strlen(s->where));
	cw_free(s->where);
	cw_free(s->row);
	cw_free(s->bytes);
	cw_free(s);
}

static const struct db_driver postgres_driver = {
	.kind = CW_DB_POSTGRES,
	.close = close_postgres,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.run = run,
	.script = script,
	.copy = copy,
};

int db_postgres_open(const struct cw_db_conf *conf, const char *name, struct cw_db **ret_db, struct cw_msg *msg)
{
	struct pg *s = cw_zalloc(sizeof(*s));
	int rc;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s: out of memory", name);
	s->base.driver = &postgres_driver;
	s->base.wait_ms = conf->wait_ms == 0 ? DB_WAIT_MS : conf->wait_ms;
	s->read_only = conf->read_only;
	(void)snprintf(s->base.name, sizeof(s->base.name), "%s", name);
	cw_map_init(&s->statements);
	s->where = cw_strdup(conf->where);
	rc = s->where == NULL ? no_memory(s, msg) : pg_session(s, msg);
	if (rc < 0) {
		close_postgres(&s->base);
		return rc;
	}
	*ret_db = &s->base;
	return 0;
}
