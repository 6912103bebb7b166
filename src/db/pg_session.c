/* pg_session.c - see pg_impl.h: connecting, waiting, and what errors mean. */
#include "db/pg_impl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

#define SERVER_VERSION_MIN 120000

/* ---- what errors mean -------------------------------------------------------------------- */

static const struct {
	const char *state; /* SQLSTATE, or its class */
	int rc;
	const char *say; /* behind the server's own words; NULL: nothing to add */
} meanings[] = {
	{ "40001", CW_EBUSY, "another changed the same; try again" },
	{ "40P01", CW_EBUSY, "two waited for each other; try again" },
	{ "55P03", CW_EBUSY, "another holds what this needs; try again" },
	{ "57014", CW_EBUSY, "the server's statement_timeout; try again" },
	{ "0A000", CW_EBUSY, NULL }, /* a statement whose tables were changed: on a new connection it is prepared anew */
	{ "26000", CW_EBUSY, "something between here and the server mixes connections; connect to the server itself or pool by session" },
	{ "23505", CW_EEXIST, NULL },
	{ "25006", CW_EACCESS, "it takes no writes: a standby, or opened for reading; name the primary, or add ?target_session_attrs=read-write" },
	{ "28", CW_EACCESS, "check user, password and the server's pg_hba.conf" },
	{ "42501", CW_EACCESS, "grant this user the rights to the tables, or let it own them" },
	{ "3D000", CW_ENOENT, "make it with: createdb NAME" },
	{ "53100", CW_EIO, "the server's disk is full; make room there, nothing needs to be restarted here" },
	{ "53300", CW_EUNREACH, "raise the server's max_connections, or close others" },
	{ "53", CW_EIO, "the server has run out of something" },
	{ "57P", CW_EUNREACH, NULL },
	{ "25P03", CW_EUNREACH, NULL },
	{ "08", CW_EUNREACH, NULL },
	{ "XX001", CW_EIO, "the server's files are damaged; restore its backup" },
	{ "XX002", CW_EIO, "an index of the server is damaged; reindex it" },
};

static int meaning(const char *state, const char **ret_say)
{
	size_t i;

	*ret_say = NULL;
	for (i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) != 0)
			continue;
		*ret_say = meanings[i].say;
		return meanings[i].rc;
	}
	return CW_EIO;
}

/* libpq's texts are lines. */
static void one_line(const char *from, char *out, size_t size)
{
	size_t used = 0;

	for (; *from != '\0' && used + 1 < size; from++) {
		if (*from == '\n' || *from == '\t') {
			if (from[1] != '\0' && used > 0 && out[used - 1] != ' ')
				out[used++] = ' ';
		} else {
			out[used++] = *from;
		}
	}
	out[used] = '\0';
}

static int lost(struct pg *s, const char *why, struct cw_msg *msg)
{
	char text[300];

	one_line(why, text, sizeof(text));
	pg_drop(s);
	return cw_fail(msg, CW_EUNREACH, "%s: the connection was lost: %s", s->base.name, text);
}

int pg_failed(struct pg *s, const PGresult *res, struct cw_msg *msg)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE), *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY), *say;
	int rc;

	if (state == NULL || text == NULL) {
		if (PQstatus(s->conn) == CONNECTION_BAD)
			return lost(s, PQerrorMessage(s->conn), msg);
		return cw_fail(msg, CW_EIO, "%s: %s", s->base.name, PQresStatus(PQresultStatus(res)));
	}
	rc = meaning(state, &say);
	/* "invalid input syntax for type bigint: .." has the value in it. */
	if (strncmp(state, "22", 2) == 0)
		text = "a value does not fit its column";
	cw_msg_set(msg, "%s: %s (%s)%s%s", s->base.name, text, state, say == NULL ? "" : ": ", say == NULL ? "" : say);
	if (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0)
		s->stale = 1;
	if (rc == CW_EUNREACH)
		pg_drop(s); /* what it says goes before the end of the connection, which may not have come yet */
	return rc;
}

/* ---- waiting ----------------------------------------------------------------------------- */

/* 0: something happened; CW_ETIMEDOUT. */
static int wait_for(PGconn *conn, short events, int64_t until_ms)
{
	struct pollfd p = { .fd = PQsocket(conn), .events = events };
	int64_t left;
	int n;

	for (;;) {
		left = until_ms - (int64_t)(cw_clock_ns() / 1000000);
		n = poll(&p, 1, left < 0 ? 0 : (int)left);
		if (n > 0 || (n < 0 && errno != EINTR))
			return 0;
		if (n == 0)
			return CW_ETIMEDOUT;
	}
}

static int64_t from_now(unsigned ms)
{
	return (int64_t)(cw_clock_ns() / 1000000) + ms;
}

int pg_next(struct pg *s, unsigned silence_ms, PGresult **ret, struct cw_msg *msg)
{
	int unsent;

	*ret = NULL;
	for (;;) {
		unsent = PQflush(s->conn);
		if (unsent < 0)
			return lost(s, PQerrorMessage(s->conn), msg);
		if (!PQisBusy(s->conn))
			break;
		if (wait_for(s->conn, (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)), from_now(silence_ms)) < 0) {
			pg_drop(s);
			return cw_fail(msg, CW_EUNREACH, "%s: no answer for %u ms", s->base.name, silence_ms);
		}
		/* A failure shows in the next result, behind what came before it. */
		(void)PQconsumeInput(s->conn);
	}
	*ret = PQgetResult(s->conn);
	/* Without a result the loss of the connection would look like the end of a statement. */
	if (*ret == NULL && PQstatus(s->conn) == CONNECTION_BAD)
		return lost(s, PQerrorMessage(s->conn), msg);
	return 0;
}

/* ---- connecting -------------------------------------------------------------------------- */

static void quiet(void *arg, const PGresult *res)
{
	/* libpq prints notices on stderr otherwise. */
}

/* 0 and SQLSTATE of a refusal by the server, from a text of PQERRORS_VERBOSE: ".. failed: FATAL:  28P01: password .." */
static int find_state(const char *text, char state[6])
{
	for (; *text != '\0'; text++) {
		if (strncmp(text, ":  ", 3) == 0 && strspn(text + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && text[8] == ':') {
			(void)snprintf(state, 6, "%.5s", text + 3);
			return 0;
		}
	}
	return CW_ENOENT;
}

static int refused(struct pg *s, PGconn *conn, char state[6], struct cw_msg *msg)
{
	char text[400];
	const char *say = NULL;
	char *end;
	int rc = CW_EUNREACH;

	one_line(conn == NULL ? "out of memory" : PQerrorMessage(conn), text, sizeof(text));
	end = strstr(text, " LOCATION:");
	if (end != NULL)
		*end = '\0';
	if (find_state(text, state) == 0)
		rc = meaning(state, &say);
	else
		state[0] = '\0';
	return cw_fail(msg, rc, "%s: %s%s%s", s->base.name, text, say == NULL ? "" : "; ", say == NULL ? "" : say);
}

/* One host of the list, or all there is. */
static int dial(struct pg *s, const char *host, const char *addr, const char *port, char state[6], struct cw_msg *msg)
{
	char wait[16];
	/* What the connection string says comes behind the defaults, and what must be so behind that. */
	const char *keys[] = { "fallback_application_name", "tcp_user_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count",
			       "dbname", "client_encoding", "host", "hostaddr", "port", NULL };
	const char *values[] = { program_invocation_short_name, wait, "10", "5", "3", s->where, "UTF8", host, addr, port, NULL };
	PostgresPollingStatusType step = PGRES_POLLING_WRITING;
	int64_t until = from_now(s->base.wait_ms);
	PGconn *conn;
	int rc = 0;

	state[0] = '\0';
	(void)snprintf(wait, sizeof(wait), "%u", s->base.wait_ms);
	conn = PQconnectStartParams(keys, values, 1);
	if (conn == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s: out of memory", s->base.name);
	(void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	(void)PQsetNoticeReceiver(conn, quiet, NULL);
	while (PQstatus(conn) != CONNECTION_BAD && step != PGRES_POLLING_OK && step != PGRES_POLLING_FAILED && rc == 0) {
		rc = wait_for(conn, step == PGRES_POLLING_READING ? POLLIN : POLLOUT, until);
		if (rc == 0)
			step = PQconnectPoll(conn);
	}
	if (rc < 0)
		rc = cw_fail(msg, CW_EUNREACH, "%s: no connection within %u ms", s->base.name, s->base.wait_ms);
	else if (PQstatus(conn) != CONNECTION_OK)
		rc = refused(s, conn, state, msg);
	if (rc < 0) {
		PQfinish(conn);
		return rc;
	}
	(void)PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
	s->conn = conn;
	return 0;
}

/* The nth of a list with commas, or the only one there is. NULL: none, as in an empty place. */
static const char *nth(const char *list, size_t n, char *out, size_t size)
{
	if (list == NULL || *list == '\0')
		return NULL;
	if (strchr(list, ',') == NULL)
		return list;
	while (n-- > 0 && list != NULL) {
		list = strchr(list, ',');
		list = list == NULL ? NULL : list + 1;
	}
	if (list == NULL)
		return NULL;
	(void)snprintf(out, size, "%.*s", (int)strcspn(list, ","), list);
	return *out == '\0' ? NULL : out;
}

static size_t count_hosts(const char *list)
{
	size_t n = 1;

	for (; list != NULL && *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* Each host with wait_ms of its own: libpq would give all of it to the first, when it is not asked to block. */
static int dial_hosts(struct pg *s, char state[6], struct cw_msg *msg)
{
	PQconninfoOption *options = PQconninfoParse(s->where, NULL), *o;
	const char *hosts = NULL, *addrs = NULL, *ports = NULL;
	char host[256], addr[64], port[16];
	size_t count, i;
	int rc = CW_EUNREACH;

	/* libpq's own text would have the password in it. */
	if (options == NULL)
		return cw_fail(msg, CW_EINVAL, "%s: is not understood; write postgresql://USER:PASSWORD@HOST:PORT/NAME?sslmode=verify-full, "
			       "special characters as %%40 for @", s->base.name);
	for (o = options; o->keyword != NULL; o++) {
		if (strcmp(o->keyword, "host") == 0)
			hosts = o->val;
		if (strcmp(o->keyword, "hostaddr") == 0)
			addrs = o->val;
		if (strcmp(o->keyword, "port") == 0)
			ports = o->val;
	}
	count = count_hosts(hosts);
	if (count == 1)
		count = count_hosts(addrs);
	if (count == 1)
		rc = dial(s, NULL, NULL, NULL, state, msg);
	for (i = 0; count > 1 && i < count && rc < 0; i++)
		rc = dial(s, nth(hosts, i, host, sizeof(host)), nth(addrs, i, addr, sizeof(addr)), nth(ports, i, port, sizeof(port)), state, msg);
	PQconninfoFree(options);
	return rc;
}

/*
 * Read committed, and what an operator may have set otherwise: commits that wait for the disk, locks that are given up, a
 * transaction that ends when this machine has lost its power, so that it does not keep its rows for hours. No compiler: it is called by
 * estimates of cost, which are high for a walk that a LIMIT ends soon, and takes 15 ms for each of our statements of 1 ms.
 */
static int set_up(struct pg *s, struct cw_msg *msg)
{
	char sql[900];
	PGresult *res;
	int rc, bad = 0;

	if (PQserverVersion(s->conn) < SERVER_VERSION_MIN) {
		rc = cw_fail(msg, CW_EUNSUPPORTED, "%s: a PostgreSQL server of version %d; 12 or later is needed", s->base.name,
			     PQserverVersion(s->conn) / 10000);
		pg_drop(s);
		return rc;
	}
	(void)snprintf(sql, sizeof(sql),
		       "SELECT CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END,"
		       " set_config('lock_timeout', '%u', false), set_config('idle_in_transaction_session_timeout', '60000', false),"
		       " set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),"
		       " set_config('tcp_keepalives_count', '3', false), set_config('bytea_output', 'hex', false),"
		       " set_config('jit', 'off', false)%s",
		       s->base.wait_ms, s->read_only ? ", set_config('default_transaction_read_only', 'on', false)" : "");
	if (PQsetnonblocking(s->conn, 1) != 0 || !PQsendQuery(s->conn, sql))
		return lost(s, PQerrorMessage(s->conn), msg);
	for (;;) {
		rc = pg_next(s, s->base.wait_ms + PG_MARGIN_MS, &res, msg);
		if (rc < 0 || res == NULL)
			break;
		if (PQresultStatus(res) != PGRES_TUPLES_OK && bad == 0)
			bad = pg_failed(s, res, msg);
		PQclear(res);
		if (s->conn == NULL)
			return bad;
	}
	rc = rc < 0 ? rc : bad;
	if (rc < 0)
		pg_drop(s);
	else if (!PQenterPipelineMode(s->conn))
		rc = lost(s, PQerrorMessage(s->conn), msg);
	return rc;
}

/* Has the server gone while nothing was asked? */
static int is_alive(struct pg *s)
{
	int i;

	for (i = 0; i < 10; i++) {
		if (PQstatus(s->conn) == CONNECTION_BAD)
			return 0;
		if (wait_for(s->conn, POLLIN, from_now(0)) < 0)
			return 1;
		if (!PQconsumeInput(s->conn))
			return 0;
	}
	return 0; /* talks without being asked */
}

int pg_session(struct pg *s, struct cw_msg *msg)
{
	const struct timespec nap = { .tv_nsec = 50000000 };
	int64_t until = from_now(s->base.wait_ms);
	char state[6];
	int rc;

	if (s->conn != NULL && (s->stale || !is_alive(s)))
		pg_drop(s);
	if (s->conn != NULL)
		return 0;
	s->stale = 0;
	for (;;) {
		rc = dial_hosts(s, state, msg);
		/* It is there and just about to start: 57P03, cannot_connect_now. */
		if (rc == 0 || strcmp(state, "57P03") != 0 || from_now(0) > until)
			break;
		(void)nanosleep(&nap, NULL);
	}
	return rc < 0 ? rc : set_up(s, msg);
}

void pg_forget(struct pg *s)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe(n, next, &s->statements) {
		cw_map_remove(&s->statements, n);
		cw_free(n);
	}
	s->prepared = 0;
}

void pg_drop(struct pg *s)
{
	PQfinish(s->conn);
	s->conn = NULL;
	pg_forget(s);
}
