/* figures.c - how the line is doing; see shelf.h. All of it is counted from indexes. */
#include <string.h>

#include "base/clock.h"
#include "factory/stock/shelf.h"
#include "factory/stock/stock_impl.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

/* Certificates whose import is whole; $1: of one product, or NULL. */
#define SEEN " AND l.id = c.lot AND l.visible = 1 AND b.id = l.batch AND (CAST($1 AS TEXT) IS NULL OR b.product_key = $1)"
#define CERT "cert c CROSS JOIN lot l CROSS JOIN batch b"

static int on_state(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct cw_stock_figures *f = arg;

	if (c[0].number >= 0 && c[0].number < CW_STOCK_STATE_COUNT)
		f->count[c[0].number] += (uint64_t)c[1].number;
	return 0;
}

static int on_numbers(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	int64_t *numbers = arg;
	size_t i;

	for (i = 0; i < count; i++)
		numbers[i] = c[i].type == CW_DB_INT ? c[i].number : 0;
	return 0;
}

int cw_stock_figures(struct cw_stock *s, const char *product_key, struct cw_stock_figures *ret, struct cw_msg *msg)
{
	/* By lot: of a product only what is its own is walked through, and the page asks for each. */
	static const char states[] =
		"SELECT x.state, CAST(SUM((SELECT COUNT(*) FROM cert c WHERE c.lot = l.id AND c.state = x.state)) AS BIGINT)"
		" FROM (SELECT 0 AS state UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) x CROSS JOIN lot l JOIN batch b ON b.id = l.batch"
		" WHERE l.visible = 1 AND (CAST($1 AS TEXT) IS NULL OR b.product_key = $1) GROUP BY x.state";
	static const char anonymous[] = "SELECT COUNT(*) FROM batch b CROSS JOIN lot l CROSS JOIN cert c WHERE l.batch = b.id AND c.lot = l.id"
					" AND c.anonymous = 1 AND c.state = 1" SEEN;
	static const char allocated[] =
		"SELECT COUNT(*), COUNT(CASE WHEN c.allocated >= $3 THEN 1 END), MIN(CASE WHEN c.allocated >= $4 THEN c.allocated END)"
		" FROM " CERT " WHERE c.allocated > 0 AND c.allocated >= $2" SEEN;
	static const char written[] = "SELECT COUNT(*), COUNT(CASE WHEN c.written >= $3 THEN 1 END) FROM " CERT
				      " WHERE c.written > 0 AND c.written >= $2" SEEN;
	static const char last[] = "SELECT c.changed FROM " CERT " WHERE c.changed > 0" SEEN " ORDER BY c.changed DESC, c.id DESC LIMIT 1";
	int64_t now = cw_clock_wall_ms(), n[3] = { 0 };
	const struct cw_db_value params[] = {
		cw_db_text(product_key), cw_db_int(now - DAY_MS), cw_db_int(now - HOUR_MS), cw_db_int(now - now % DAY_MS)
	};
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = cw_db_run(s->db, states, params, 1, on_state, ret, NULL, msg);
	if (rc == 0)
		rc = cw_db_run(s->db, anonymous, params, 1, on_numbers, n, NULL, msg);
	ret->anonymous = (uint64_t)n[0];
	if (rc == 0)
		rc = cw_db_run(s->db, allocated, params, 4, on_numbers, n, NULL, msg);
	ret->allocated_day = (uint64_t)n[0];
	ret->allocated_hour = (uint64_t)n[1];
	ret->first_today = n[2];
	if (rc == 0)
		rc = cw_db_run(s->db, written, params, 3, on_numbers, n, NULL, msg);
	ret->written_day = (uint64_t)n[0];
	ret->written_hour = (uint64_t)n[1];
	return rc < 0 ? rc : cw_db_run(s->db, last, params, 1, on_numbers, &ret->last, NULL, msg);
}

struct rate {
	uint64_t *slots;
	size_t n;
};

static int on_slot(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct rate *r = arg;

	if (c[0].number >= 0 && (uint64_t)c[0].number < r->n)
		r->slots[c[0].number] = (uint64_t)c[1].number;
	return 0;
}

int cw_stock_rate(struct cw_stock *s, const char *product_key, int64_t slot_ms, size_t n, uint64_t *allocated, uint64_t *written,
                  struct cw_msg *msg)
{
	static const char of_allocated[] = "SELECT (c.allocated - CAST($2 AS BIGINT)) / CAST($4 AS BIGINT), COUNT(*) FROM " CERT
					   " WHERE c.allocated > 0 AND c.allocated >= $2 AND c.allocated < $3" SEEN " GROUP BY 1";
	static const char of_written[] = "SELECT (c.written - CAST($2 AS BIGINT)) / CAST($4 AS BIGINT), COUNT(*) FROM " CERT
					 " WHERE c.written > 0 AND c.written >= $2 AND c.written < $3" SEEN " GROUP BY 1";
	int64_t now = cw_clock_wall_ms();
	struct rate a = { allocated, n }, w = { written, n };
	struct cw_db_value params[4];
	int rc;

	if (slot_ms <= 0 || n == 0 || (int64_t)n > now / slot_ms)
		return cw_fail(msg, CW_EINVAL, "a rate needs slots of a time over 0, and not so many that they begin before 1970");
	params[0] = cw_db_text(product_key);
	params[1] = cw_db_int(now + 1 - slot_ms * (int64_t)n); /* this very millisecond belongs to the last slot */
	params[2] = cw_db_int(now + 1);
	params[3] = cw_db_int(slot_ms);
	memset(allocated, 0, n * sizeof(*allocated));
	memset(written, 0, n * sizeof(*written));
	rc = cw_db_run(s->db, of_allocated, params, 4, on_slot, &a, NULL, msg);
	return rc < 0 ? rc : cw_db_run(s->db, of_written, params, 4, on_slot, &w, NULL, msg);
}

struct stations {
	int (*fn)(void *arg, const struct cw_stock_station *st);
	void *arg;
};

static int on_station(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	const struct stations *to = arg;
	const struct cw_stock_station st = {
		.name = stock_text(&c[0]),
		.allocated = (uint64_t)c[1].number,
		.written = (uint64_t)c[2].number,
		.unreported = (uint64_t)c[3].number,
		.last = c[4].number,
	};

	return to->fn(to->arg, &st);
}

int cw_stock_stations(struct cw_stock *s, int64_t since, int (*fn)(void *arg, const struct cw_stock_station *st), void *arg,
                      struct cw_msg *msg)
{
	/* The text that is put together keeps SQLite from walking all of cert_station for the sake of the groups. */
	static const char sql[] =
		"SELECT x.station, CAST(SUM(x.a) AS BIGINT), CAST(SUM(x.w) AS BIGINT), CAST(SUM(x.u) AS BIGINT), MAX(x.t) FROM ("
		"SELECT y.station AS station, COUNT(*) AS a, 0 AS w, 0 AS u, MAX(y.at) AS t FROM ("
		"SELECT c.station || '' AS station, c.allocated AS at FROM cert c CROSS JOIN lot l"
		" WHERE c.allocated > 0 AND c.allocated >= $1 AND l.id = c.lot AND l.visible = 1) y GROUP BY y.station"
		" UNION ALL SELECT y.station, 0, COUNT(*), 0, MAX(y.at) FROM ("
		"SELECT c.station || '' AS station, c.written AS at FROM cert c CROSS JOIN lot l"
		" WHERE c.written > 0 AND c.written >= $1 AND l.id = c.lot AND l.visible = 1) y GROUP BY y.station"
		" UNION ALL SELECT y.station, 0, 0, COUNT(*), 0 FROM (SELECT c.station || '' AS station FROM lot l CROSS JOIN cert c"
		" WHERE l.visible = 1 AND c.lot = l.id AND c.state = 1 AND c.allocated >= $1) y GROUP BY y.station"
		") x GROUP BY x.station ORDER BY x.station";
	struct stations to = { fn, arg };
	const struct cw_db_value param = cw_db_int(since);

	return cw_db_run(s->db, sql, &param, 1, on_station, &to, NULL, msg);
}

struct frees {
	int (*fn)(void *arg, const char *product_key, const char *batch, uint64_t free, uint64_t low);
	void *arg;
};

static int on_free(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	const struct frees *to = arg;

	return to->fn(to->arg, stock_text(&c[0]), stock_text(&c[1]), (uint64_t)c[2].number, (uint64_t)c[3].number);
}

/* What is left in a closed batch is nobody's, so it counts as none, and no warning is due. */
int cw_stock_free(struct cw_stock *s, int (*fn)(void *arg, const char *product_key, const char *batch, uint64_t free, uint64_t low), void *arg,
                  struct cw_msg *msg)
{
	static const char sql[] =
		"SELECT b.product_key, b.name, (SELECT COUNT(*) FROM lot l CROSS JOIN cert c WHERE b.closed = 0 AND l.batch = b.id AND l.visible = 1"
		" AND c.lot = l.id AND c.state = 0), CASE WHEN b.closed = 0 THEN b.low ELSE 0 END"
		" FROM batch b WHERE EXISTS (SELECT 1 FROM lot v WHERE v.batch = b.id AND v.visible = 1)"
		" ORDER BY b.product_key, b.created, b.id";
	struct frees to = { fn, arg };

	return cw_db_run(s->db, sql, NULL, 0, on_free, &to, NULL, msg);
}
