/* reclaim.c - what takes certificates out of the stock or back into it; see shelf.h. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "factory/stock/shelf.h"
#include "factory/stock/stock_impl.h"

#define PIECE 500 /* certificates a transaction: the line waits for one of these at most */

/* ---- certificates kept beyond their row ---- */

struct kept {
	struct cw_stock_row row; /* its texts are in `texts` */
	char *texts;
	char audit_node[65];
	int64_t audit_number;
	char why[320]; /* text of its entry */
};

struct keep {
	struct kept *list;
	size_t count, size;
};

static void drop(struct keep *k)
{
	size_t i;

	for (i = 0; i < k->count; i++)
		cw_free(k->list[i].texts);
	k->count = 0;
}

static void keep_free(struct keep *k)
{
	drop(k);
	cw_free(k->list);
}

/* All texts of a row in one block. */
static int copy_texts(struct kept *k)
{
	const char **const texts[] = {
		&k->row.product_key, &k->row.device_name, &k->row.device_id,  &k->row.batch,
		&k->row.station,     &k->row.reason,      &k->row.product_id, &k->row.extra,
	};
	size_t i, len = 0, n = sizeof(texts) / sizeof(texts[0]);
	char *at;

	for (i = 0; i < n; i++)
		len += strlen(*texts[i]) + 1;
	at = k->texts = cw_alloc(len);
	if (at == NULL)
		return CW_ENOMEM;
	for (i = 0; i < n; i++) {
		len = strlen(*texts[i]) + 1;
		memcpy(at, *texts[i], len);
		*texts[i] = at;
		at += len;
	}
	return 0;
}

static int on_keep(void *arg, const struct stock_row *r)
{
	struct keep *k = arg;
	struct kept *one;

	if (k->count == k->size) {
		size_t size = k->size == 0 ? 16 : k->size * 2;
		struct kept *list = cw_realloc(k->list, size * sizeof(*list));

		if (list == NULL)
			return CW_ENOMEM;
		k->list = list;
		k->size = size;
	}
	one = &k->list[k->count];
	one->row = r->row;
	one->audit_number = r->audit_number;
	one->why[0] = '\0';
	(void)snprintf(one->audit_node, sizeof(one->audit_node), "%s", r->audit_node);
	if (copy_texts(one) < 0)
		return CW_ENOMEM;
	k->count++;
	return 0;
}

/* ---- changes with their entries ---- */

#define CHANGE_PARAMS 7

static int on_locked(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	++*(size_t *)arg;
	return 0;
}

/*
 * PostgreSQL: certificates are locked before the end of the chain, as stations' requests do it, so that nobody waits in a circle. One that
 * somebody has locked is about to be changed: all is done again with what is there then.
 */
static int lock_certs(struct cw_stock *s, const struct keep *k, struct cw_msg *msg)
{
	struct cw_db_value *ids;
	size_t i, locked = 0;
	int rc;

	if (cw_db_kind(s->db) != CW_DB_POSTGRES)
		return 0;
	ids = cw_calloc(k->count, sizeof(*ids));
	if (ids == NULL)
		return cw_fail(msg, CW_ENOMEM, "stock: out of memory");
	for (i = 0; i < k->count; i++)
		ids[i] = cw_db_int(k->list[i].row.id);
	rc = cw_db_many(s->db, "SELECT id FROM cert WHERE id = $1 FOR UPDATE SKIP LOCKED", ids, 1, k->count, on_locked, &locked, NULL, msg);
	cw_free(ids);
	return rc == 0 && locked != k->count ? cw_fail(msg, CW_EBUSY, "stock: others change the same certificates at this moment; try again") : rc;
}

/*
 * The entries of all that is kept, and `sql` for each: $1 id, $2 $3 the entry it named until now, $4 $5 the one it names now, $6 the
 * time, $7 `text`. Somebody was quicker where the entry is no more the same: then all is done again with what is there now.
 */
static int change_all(struct cw_stock *s, struct keep *k, const char *sql, enum cw_audit_kind kind, const char *text,
                      const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct cw_audit_entry *entries = cw_calloc(k->count, sizeof(*entries));
	struct cw_db_value *params = cw_calloc(k->count * CHANGE_PARAMS, sizeof(*params));
	size_t i, changed = 0;
	int rc = entries == NULL || params == NULL ? cw_fail(msg, CW_ENOMEM, "stock: out of memory") : lock_certs(s, k, msg);

	for (i = 0; rc == 0 && i < k->count; i++)
		entries[i] = (struct cw_audit_entry){
			.what = stock_audit_name(kind),
			.who = who->name,
			.address = who->address,
			.product_key = k->list[i].row.product_key,
			.device_name = k->list[i].row.device_name,
			.device_id = k->list[i].row.device_id,
			.text = k->list[i].why[0] != '\0' ? k->list[i].why : text,
		};
	if (rc == 0)
		rc = stock_audit(s, entries, k->count, msg);
	for (i = 0; rc == 0 && i < k->count; i++) {
		struct cw_db_value *p = params + i * CHANGE_PARAMS;

		p[0] = cw_db_int(k->list[i].row.id);
		p[1] = cw_db_text(k->list[i].audit_node);
		p[2] = cw_db_int(k->list[i].audit_number);
		p[3] = cw_db_text(entries[i].node);
		p[4] = cw_db_int(entries[i].number);
		p[5] = cw_db_int(entries[i].at);
		p[6] = cw_db_text(text);
	}
	if (rc == 0)
		rc = cw_db_many(s->db, sql, params, CHANGE_PARAMS, k->count, NULL, NULL, &changed, msg);
	if (rc == 0 && changed != k->count)
		rc = cw_fail(msg, CW_EBUSY, "stock: another server changed the same certificates at the same moment; try again");
	cw_free(entries);
	cw_free(params);
	return rc;
}

/* ---- void ---- */

struct void_job {
	const char *product_key, *device_name, *reason;
	const struct cw_stock_actor *who;
	struct keep kept;
};

static int work_void(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	static const char sql[] = "UPDATE cert SET state = 3, voided = $6, changed = $6, reason = $7, audit_node = $4, audit_number = $5"
				  " WHERE id = $1 AND audit_node = $2 AND audit_number = $3";
	struct void_job *v = arg;
	const struct cw_stock_filter filter = { .product_key = v->product_key, .device_name = v->device_name, .state = -1 };
	int rc;

	drop(&v->kept);
	rc = stock_walk(s, &filter, on_keep, &v->kept, msg);
	if (rc < 0)
		return rc;
	if (v->kept.count == 0)
		return cw_fail(msg, CW_ENOENT, "the stock has no certificate %s of product %s", v->device_name, v->product_key);
	if (v->kept.list[0].row.state == CW_STOCK_VOID)
		return cw_fail(msg, CW_EEXIST, "certificate %s of product %s is void already: %s", v->device_name, v->product_key,
		               v->kept.list[0].row.reason);
	return change_all(s, &v->kept, sql, CW_AUDIT_VOID, v->reason, v->who, msg);
}

int cw_stock_void(struct cw_stock *s, const char *product_key, const char *device_name, const char *reason,
                  const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct void_job v = { .product_key = product_key, .device_name = device_name, .reason = reason, .who = who };
	int rc;

	if (product_key[0] == '\0' || device_name[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "a certificate is named by its ProductKey and its DeviceName");
	if (reason == NULL || reason[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "say the reason why %s is taken out; who looks at the stock later will ask", device_name);
	rc = stock_check_text("the reason", reason, CW_STOCK_REASON, msg);
	if (rc == 0)
		rc = stock_transact(s, work_void, &v, msg);
	keep_free(&v.kept);
	return rc;
}

/* ---- back to the stock ---- */

static const char back[] = "UPDATE cert SET state = 0, device_id = NULL, anonymous = 0, station = '', allocated = 0, changed = $6,"
			   " audit_node = $4, audit_number = $5"
			   " WHERE id = $1 AND audit_node = $2 AND audit_number = $3 AND state = 1 AND $7 <> ''";

/* $7 of `back` is looked at because PostgreSQL wants a use, and so the type, of every parameter. */
static int put_back(struct cw_stock *s, struct keep *k, const char *because, const struct cw_stock_actor *who, struct cw_msg *msg)
{
	size_t i;

	for (i = 0; i < k->count; i++) {
		char at[25];

		cw_clock_format(k->list[i].row.allocated, at);
		(void)snprintf(k->list[i].why, sizeof(k->list[i].why), "allocated by %s at %s, never reported; %s", k->list[i].row.station, at,
		               because);
	}
	return change_all(s, k, back, CW_AUDIT_RECLAIM, because, who, msg);
}

struct reclaim_job {
	struct cw_stock_filter filter;
	const struct cw_stock_actor *who;
	struct keep kept;
};

static int work_reclaim(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct reclaim_job *r = arg;
	int rc;

	drop(&r->kept);
	rc = stock_walk(s, &r->filter, on_keep, &r->kept, msg);
	if (rc < 0 || r->kept.count == 0)
		return rc == CW_ENOMEM ? cw_fail(msg, rc, "stock: out of memory") : rc;
	return put_back(s, &r->kept, "taken back", r->who, msg);
}

struct show {
	cw_stock_row_fn fn;
	void *arg;
	size_t count;
};

static int on_show(void *arg, const struct cw_stock_row *row)
{
	struct show *x = arg;

	x->count++;
	return x->fn == NULL ? 0 : x->fn(x->arg, row);
}

/* By rising id whatever the order asked for, so that a piece does not meet those of the piece before. */
static int reclaim_pieces(struct cw_stock *s, struct reclaim_job *r, size_t most, struct show *show, struct cw_msg *msg)
{
	size_t i;
	int rc;

	do {
		r->filter.most = most > 0 && most - show->count < PIECE ? most - show->count : PIECE;
		rc = stock_transact(s, work_reclaim, r, msg);
		for (i = 0; rc == 0 && i < r->kept.count; i++) {
			r->filter.after = r->kept.list[i].row.id;
			rc = on_show(show, &r->kept.list[i].row);
		}
	} while (rc == 0 && r->kept.count == r->filter.most && (most == 0 || show->count < most));
	return rc;
}

int cw_stock_reclaim(struct cw_stock *s, const struct cw_stock_filter *filter, int doit, const struct cw_stock_actor *who, cw_stock_row_fn fn,
                     void *arg, size_t *ret_count, struct cw_msg *msg)
{
	struct reclaim_job r = { .filter = *filter, .who = who };
	struct show show = { fn, arg, 0 };
	int rc;

	r.filter.state = CW_STOCK_ALLOCATED;
	if (!doit) {
		rc = cw_stock_query(s, &r.filter, on_show, &show, msg);
	} else {
		if (r.filter.newest)
			r.filter.after = 0;
		r.filter.newest = 0;
		rc = reclaim_pieces(s, &r, filter->most, &show, msg);
		keep_free(&r.kept);
	}
	*ret_count = show.count;
	return rc;
}

/* ---- leases ---- */

/*
 * A lease is the batch's own, so its batch leads; anonymous ones have an index of their own. It runs from when the board was told
 * its certificate last: one that asked again a moment ago is just being burned.
 */
#define OVER \
	"SELECT c.id, c.product_key, c.device_name, c.device_id, c.station, c.allocated, c.audit_node, c.audit_number" \
	" FROM batch b CROSS JOIN lot l CROSS JOIN cert c WHERE (CAST($1 AS TEXT) IS NULL OR b.product_key = $1)" \
	" AND l.batch = b.id AND l.visible = 1 AND c.lot = l.id AND c.state = 1 AND b.lease_ms > 0 AND c.allocated <= $2 - b.lease_ms" \
	" AND NOT EXISTS (SELECT 1 FROM audit a WHERE a.device_name = c.device_name AND a.product_key = c.product_key" \
	" AND a.device_id = c.device_id AND a.what = 'again' AND a.at > $2 - b.lease_ms)"
static const char over_anonymous[] = OVER " AND b.lease = 1 AND c.anonymous = 1 LIMIT $3";
static const char over_all[] = OVER " AND b.lease = 2 LIMIT $3";

static int on_over(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	const struct stock_row r = {
		.row = {
			.id = c[0].number,
			.product_key = stock_text(&c[1]),
			.device_name = stock_text(&c[2]),
			.device_id = stock_text(&c[3]),
			.station = stock_text(&c[4]),
			.allocated = c[5].number,
			.batch = "",
			.reason = "",
			.product_id = "",
			.extra = "",
		},
		.audit_node = stock_text(&c[6]),
		.audit_number = c[7].number,
	};

	return on_keep(arg, &r);
}

/*
 * PostgreSQL: a board that asked again while this looked is in a row that the look did not see. Its request held the
 * certificate until it was committed, so whoever has the certificate locked sees that entry now.
 */
static int check_again(struct cw_stock *s, const struct keep *k, int64_t now, struct cw_msg *msg)
{
	static const char again[] =
		"SELECT 1 FROM cert c JOIN lot l ON l.id = c.lot JOIN batch b ON b.id = l.batch WHERE c.id = $1 AND EXISTS (SELECT 1 FROM audit a"
		" WHERE a.device_name = c.device_name AND a.product_key = c.product_key AND a.device_id = c.device_id AND a.what = 'again'"
		" AND a.at > $2 - b.lease_ms)";
	struct cw_db_value *params;
	size_t i, found = 0;
	int rc;

	if (cw_db_kind(s->db) != CW_DB_POSTGRES)
		return 0;
	rc = lock_certs(s, k, msg);
	if (rc < 0)
		return rc;
	params = cw_calloc(2 * k->count, sizeof(*params));
	if (params == NULL)
		return cw_fail(msg, CW_ENOMEM, "stock: out of memory");
	for (i = 0; i < k->count; i++) {
		params[2 * i] = cw_db_int(k->list[i].row.id);
		params[2 * i + 1] = cw_db_int(now);
	}
	rc = cw_db_many(s->db, again, params, 2, k->count, on_locked, &found, NULL, msg);
	cw_free(params);
	return rc == 0 && found > 0 ? cw_fail(msg, CW_EBUSY, "stock: a board asked again at the moment its lease ended; try again") : rc;
}

int stock_leases_over(struct cw_stock *s, const char *product_key, size_t most, size_t *ret_count, struct cw_msg *msg)
{
	static const struct cw_stock_actor lease = { .name = "lease", .address = "" };
	const int64_t now = cw_clock_wall_ms();
	struct cw_db_value params[] = { cw_db_text(product_key), cw_db_int(now), cw_db_int((int64_t)most) };
	struct keep k = { 0 };
	int rc;

	*ret_count = 0;
	rc = cw_db_run(s->db, over_anonymous, params, 3, on_over, &k, NULL, msg);
	if (rc == 0 && k.count < most) {
		params[2] = cw_db_int((int64_t)(most - k.count));
		rc = cw_db_run(s->db, over_all, params, 3, on_over, &k, NULL, msg);
	}
	if (rc == CW_ENOMEM)
		(void)cw_fail(msg, rc, "stock: out of memory");
	if (rc == 0 && k.count > 0)
		rc = check_again(s, &k, now, msg);
	if (rc == 0 && k.count > 0)
		rc = put_back(s, &k, "its lease is over", &lease, msg);
	if (rc == 0)
		*ret_count = k.count;
	keep_free(&k);
	return rc;
}

static int work_leases(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	return stock_leases_over(s, NULL, PIECE, arg, msg);
}

int cw_stock_reclaim_leases(struct cw_stock *s, size_t *ret_count, struct cw_msg *msg)
{
	size_t piece = 0;
	int rc;

	*ret_count = 0;
	do {
		rc = stock_transact(s, work_leases, &piece, msg);
		*ret_count += rc == 0 ? piece : 0;
	} while (rc == 0 && piece == PIECE);
	return rc;
}
