/* pg_impl.h - a connection to a PostgreSQL server: pg_session.c keeps it, postgres.c asks over it. Not for others. */
#ifndef CW_DB_PG_IMPL_H
#define CW_DB_PG_IMPL_H

#include <libpq-fe.h>

#include "base/map.h"
#include "db/db_impl.h"

struct pg {
	struct cw_db base; /* first */
	char *where;       /* with the password; wiped */
	int read_only;
	PGconn *conn;             /* NULL: to be opened; else always in pipeline mode between calls */
	struct cw_map statements; /* prepared on this connection: struct pg_statement */
	unsigned prepared;        /* counts their names */
	int stale;                /* its statements are not what they were: a new connection once the transaction is over */
	struct cw_db_value *row;
	size_t columns;           /* room in row */
	uint8_t *bytes;           /* BLOBs of the row under way, decoded */
	size_t bytes_size;
};

/* The longest silence of the server before it counts as gone. Locks are given up by the server after wait_ms, so a bit more. */
#define PG_MARGIN_MS 2000u
#define PG_SCRIPT_MS 60000u /* a schema is made, an index over all there is */

/* pg_session.c */

/* There is a connection, or a fresh one is made: outside of transactions only. */
int pg_session(struct pg *s, struct cw_msg *msg);
/* Drop the connection and what was prepared on it. */
void pg_drop(struct pg *s);
/*
 * The next result, or NULL behind the last of a statement, while the server is not silent for longer than `silence_ms`. An
 * error drops the connection.
 */
int pg_next(struct pg *s, unsigned silence_ms, PGresult **ret, struct cw_msg *msg);
/* What a result that is no good says. Drops the connection if that is what it says. */
int pg_failed(struct pg *s, const PGresult *res, struct cw_msg *msg);
/* Forget what is prepared. */
void pg_forget(struct pg *s);

#endif
