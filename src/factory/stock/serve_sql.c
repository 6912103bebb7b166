/* serve_sql.c - the statements of one group of requests. See serve_impl.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "factory/stock/serve_impl.h"

/* How many damaged certificates of a product are stepped over in one group; whoever has more has another problem. */
#define DAMAGED_MOST 64u

/* ---- products ------------------------------------------------------------------------------------ */

static int on_product(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct serve_group *g = arg;

	stock_product_read(columns, &g->products[set].p);
	g->products[set].known = 1;
	return 0;
}

int serve_load_products(struct serve_group *g, struct cw_msg *msg)
{
	size_t i;

	for (i = 0; i < g->product_count; i++)
		g->values[i] = cw_db_text(g->products[i].key);
	return cw_db_many(g->s->db,
			  "SELECT product_key, bluetooth, product_id, crc_form, crc_order, normalize_mac, reply_columns FROM product"
			  " WHERE product_key = $1",
			  g->values, 1, g->product_count, on_product, g, NULL, msg);
}

/* ---- certificates ----------------------------------------------------------------------------------- */

/* From the columns id, device_name, secrets, product_id, extra. */
static int read_cert(struct serve_group *g, struct serve_cert *c, const struct cw_db_value *v)
{
	char *sealed = cw_arena_strndup(&g->arena, (const char *)v[2].bytes.ptr, v[2].bytes.len);
	char *extra = cw_arena_strndup(&g->arena, (const char *)v[4].bytes.ptr, v[4].bytes.len);

	if (sealed == NULL || extra == NULL)
		return CW_ENOMEM;
	c->id = v[0].number;
	(void)snprintf(c->device_name, sizeof(c->device_name), "%.*s", (int)v[1].bytes.len, (const char *)v[1].bytes.ptr);
	(void)snprintf(c->product_id, sizeof(c->product_id), "%.*s", (int)v[3].bytes.len, (const char *)v[3].bytes.ptr);
	c->sealed = cw_bytes_of(sealed, v[2].bytes.len);
	c->extra = extra;
	c->opened = 0;
	return 0;
}

int serve_open(struct serve_group *g, const struct serve_product *p, struct serve_cert *c)
{
	struct cw_stock_cert opened;

	if (c->opened != 0)
		return c->opened < 0 ? c->opened : 0;
	c->opened = stock_open_seal(g->s, p->key, c->device_name, c->sealed, &opened, g->damaged.text[0] == '\0' ? &g->damaged : NULL);
	if (c->opened == 0) {
		memcpy(c->device_secret, opened.device_secret, sizeof(c->device_secret));
		memcpy(c->product_secret, opened.product_secret, sizeof(c->product_secret));
		c->opened = 1;
	}
	explicit_bzero(opened.device_secret, sizeof(opened.device_secret));
	explicit_bzero(opened.product_secret, sizeof(opened.product_secret));
	return c->opened < 0 ? c->opened : 0;
}

/* ---- boards --------------------------------------------------------------------------------------- */

static int on_board(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct serve_group *g = arg;
	struct serve_board *b = g->sorted[set];

	b->state = (int)columns[5].number;
	b->anonymous = columns[6].number != 0;
	b->hidden = columns[7].number == 0;
	return read_cert(g, &b->cert, columns);
}

static int by_key(const void *a, const void *b)
{
	const struct serve_board *x = *(struct serve_board *const *)a, *y = *(struct serve_board *const *)b;
	size_t len = x->key_len < y->key_len ? x->key_len : y->key_len;
	int order = memcmp(x->key, y->key, len);

	return order != 0 ? order : x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
}

/* An import that was killed left it: nobody will finish that. */
static int drop_orphans(struct serve_group *g, size_t n, struct cw_msg *msg)
{
	int runs = -1;
	size_t i;

	for (i = 0; i < n; i++) {
		struct serve_board *b = g->sorted[i];
		struct cw_db_value id = cw_db_int(b->cert.id);
		int rc;

		if (b->state == CW_STOCK_FREE || !b->hidden)
			continue;
		if (runs < 0)
			runs = stock_import_runs(g->s, msg);
		if (runs < 0)
			return runs;
		if (runs > 0)
			continue;
		rc = cw_db_run(g->s->db, "DELETE FROM cert WHERE id = $1", &id, 1, NULL, NULL, NULL, msg);
		if (rc < 0)
			return rc;
		b->state = CW_STOCK_FREE;
		b->hidden = 0;
	}
	return 0;
}

int serve_load_boards(struct serve_group *g, struct cw_msg *msg)
{
	size_t n = 0, i;
	int rc;

	for (i = 0; i < g->board_count; i++)
		if (!g->boards[i].made_up)
			g->sorted[n++] = &g->boards[i];
	/* In one order everywhere: two servers that lock the same boards do not wait for each other in a circle. */
	qsort(g->sorted, n, sizeof(g->sorted[0]), by_key);
	for (i = 0; i < n; i++) {
		g->values[2 * i] = cw_db_text(g->sorted[i]->product->key);
		g->values[2 * i + 1] = cw_db_text(g->sorted[i]->device_id);
	}
#define BOARD                                                                                                                      \
	"SELECT c.id, c.device_name, c.secrets, c.product_id, c.extra, c.state, c.anonymous,"                                       \
	" (SELECT COUNT(*) FROM lot l WHERE l.id = c.lot AND l.visible = 1)"                                                        \
	" FROM cert c WHERE c.product_key = $1 AND c.device_id = $2 AND c.state IN (1, 2)"
	rc = n == 0 ? 0 : cw_db_many(g->s->db, STOCK_SQL(g->s, BOARD, BOARD " FOR UPDATE"), g->values, 2, n, on_board, g, NULL, msg);
#undef BOARD
	if (rc == CW_ENOMEM)
		return cw_fail(msg, rc, "stock: out of memory");
	return rc != 0 ? rc : drop_orphans(g, n, msg);
}

/* ---- quotas ---------------------------------------------------------------------------------------- */

static int on_quota(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct serve_group *g = arg;

	g->quotas[set].used = (uint64_t)columns[0].number;
	return 0;
}

static int by_station(const void *a, const void *b)
{
	return strcmp(((const struct cw_db_value *)a)->bytes.len == 0 ? "" : (const char *)((const struct cw_db_value *)a)->bytes.ptr,
		      ((const struct cw_db_value *)b)->bytes.len == 0 ? "" : (const char *)((const struct cw_db_value *)b)->bytes.ptr);
}

int serve_load_quotas(struct serve_group *g, struct cw_msg *msg)
{
	size_t i;
	int rc = 0;

	if (g->quota_count == 0)
		return 0;
	for (i = 0; i < g->quota_count; i++)
		g->values[i] = cw_db_text(g->quotas[i].station);
	/* One station at two servers at once does not get twice its quota: until the commit nobody else counts it. */
	if (cw_db_kind(g->s->db) == CW_DB_POSTGRES) {
		qsort(g->values, g->quota_count, sizeof(g->values[0]), by_station);
		rc = cw_db_many(g->s->db, "SELECT pg_advisory_xact_lock(48501863, hashtext($1))", g->values, 1, g->quota_count, NULL, NULL, NULL,
				msg);
	}
	for (i = 0; i < g->quota_count; i++) {
		g->values[2 * i] = cw_db_text(g->quotas[i].station);
		g->values[2 * i + 1] = cw_db_int(g->quotas[i].since);
	}
	if (rc == 0)
		rc = cw_db_many(g->s->db, "SELECT COUNT(*) FROM cert WHERE station = $1 AND allocated >= $2 AND allocated > 0", g->values, 2,
				g->quota_count, on_quota, g, NULL, msg);
	return rc;
}

/* ---- free ones --------------------------------------------------------------------------------------- */

static int on_lot(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct serve_group *g = arg;
	struct cw_map_node *n = cw_map_find(&g->product_map, columns[0].bytes.ptr, columns[0].bytes.len);
	struct serve_product *p = n == NULL ? NULL : cw_container_of(n, struct serve_product, node);
	struct serve_lot *lot;

	if (p == NULL || p->need == 0)
		return 0;
	lot = cw_arena_alloc(&g->arena, sizeof(*lot));
	if (lot == NULL)
		return CW_ENOMEM;
	*lot = (struct serve_lot){ .id = columns[1].number, .closed = columns[2].number != 0 };
	*p->lots_end = lot;
	p->lots_end = &lot->next;
	return 0;
}

/*
 * Lots with free certificates, oldest first, by leaps through the index of free ones: lots that are used up, of which
 * there are more each year, cost nothing. Both would find the index of all states as good, and walk through what is used up
 * there: SQLite is told, PostgreSQL has that order in this index only.
 */
#define LEAP(hint, order)                                                                                                            \
	"WITH RECURSIVE leap (lot) AS (SELECT (SELECT f.lot FROM cert f " hint " WHERE f.state = 0 ORDER BY " order " LIMIT 1)"       \
	" UNION ALL SELECT (SELECT f.lot FROM cert f " hint " WHERE f.state = 0 AND f.lot > leap.lot ORDER BY " order " LIMIT 1)"    \
	" FROM leap WHERE leap.lot IS NOT NULL)"                                                                                       \
	" SELECT b.product_key, l.id, b.closed FROM leap JOIN lot l ON l.id = leap.lot JOIN batch b ON b.id = l.batch"                 \
	" WHERE l.visible = 1 ORDER BY l.id"

static int load_lots(struct serve_group *g, struct cw_msg *msg)
{
	return cw_db_run(g->s->db, STOCK_SQL(g->s, LEAP("INDEXED BY cert_free", "f.lot"), LEAP("", "f.lot, f.id")), NULL, 0, on_lot, g, NULL,
			 msg);
}

struct pick {
	struct serve_group *g;
	struct serve_product **of_set;
	size_t *wanted, *rows; /* of each set */
	int again;    /* some come that we have already */
};

static int has(const struct serve_product *p, int64_t id)
{
	size_t i;

	for (i = 0; i < p->have; i++)
		if (p->picks[i].id == id)
			return 1;
	return 0;
}

static int on_free(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct pick *k = arg;
	struct serve_product *p = k->of_set[set];

	k->rows[set]++;
	if (columns[0].number > p->lot->after)
		p->lot->after = columns[0].number;
	if (p->have == p->need || (k->again && has(p, columns[0].number)))
		return 0;
	return read_cert(k->g, &p->picks[p->have++], columns);
}

/* Damaged ones go out again, at the end of each round. */
static void open_picks(struct serve_group *g, struct serve_product *p, size_t from)
{
	size_t i;

	for (i = from; i < p->have; i++) {
		if (serve_open(g, p, &p->picks[i]) == 0) {
			if (i != from)
				p->picks[from] = p->picks[i];
			from++;
		} else {
			p->damaged++;
		}
	}
	p->have = from;
}

static struct serve_lot *next_open(struct serve_lot *lot)
{
	while (lot != NULL && lot->closed)
		lot = lot->next;
	return lot;
}

#define FREE "SELECT id, device_name, secrets, product_id, extra FROM cert WHERE lot = $1 AND state = 0 AND id > $2 ORDER BY id LIMIT $3"

/* `sets` of the products' lots at hand, in one journey. */
static int pick_round(struct serve_group *g, struct pick *k, size_t sets, struct cw_msg *msg)
{
	const char *postgres = k->again ? FREE " FOR UPDATE" : FREE " FOR UPDATE SKIP LOCKED";
	size_t i;
	int rc;

	for (i = 0; i < sets; i++) {
		struct serve_product *p = k->of_set[i];

		/* Again: ours come again, too. */
		k->wanted[i] = k->again ? p->need + p->damaged : p->need - p->have;
		k->rows[i] = 0;
		g->values[3 * i] = cw_db_int(p->lot->id);
		g->values[3 * i + 1] = cw_db_int(k->again ? 0 : p->lot->after);
		g->values[3 * i + 2] = cw_db_int((int64_t)k->wanted[i]);
	}
	rc = cw_db_many(g->s->db, STOCK_SQL(g->s, FREE, postgres), g->values, 3, sets, on_free, k, NULL, msg);
	if (rc == CW_ENOMEM)
		return cw_fail(msg, rc, "stock: out of memory");
	return rc;
}

/* All lots of all products. `again`: those that another server holds at this moment, too; it may roll back. */
static int pick_all(struct serve_group *g, int again, struct cw_msg *msg)
{
	struct serve_product **of_set = cw_arena_alloc(&g->arena, g->product_count * sizeof(*of_set));
	size_t *numbers = cw_arena_alloc(&g->arena, 3 * g->product_count * sizeof(*numbers));
	size_t *had, sets, i;
	struct pick k = { g, of_set, NULL, NULL, again };

	if (of_set == NULL || numbers == NULL)
		return cw_fail(msg, CW_ENOMEM, "stock: out of memory");
	k.wanted = numbers;
	k.rows = numbers + g->product_count;
	had = k.rows + g->product_count;
	for (i = 0; i < g->product_count; i++)
		g->products[i].lot = next_open(g->products[i].lots);
	do {
		int rc;

		for (i = 0, sets = 0; i < g->product_count; i++) {
			struct serve_product *p = &g->products[i];

			if (p->have == p->need || p->lot == NULL || p->damaged > DAMAGED_MOST)
				continue;
			had[sets] = p->have;
			of_set[sets++] = p;
		}
		rc = sets == 0 ? 0 : pick_round(g, &k, sets, msg);
		if (rc != 0)
			return rc;
		for (i = 0; i < sets; i++) {
			struct serve_product *p = of_set[i];

			open_picks(g, p, had[i]);
			/* Fewer than asked for: that lot has no more. */
			if (again || k.rows[i] < k.wanted[i])
				p->lot = next_open(p->lot->next);
		}
	} while (sets > 0);
	return 0;
}

int serve_pick(struct serve_group *g, struct cw_msg *msg)
{
	size_t needy = 0, i;
	int rc;

	for (i = 0; i < g->product_count; i++) {
		struct serve_product *p = &g->products[i];

		p->lots_end = &p->lots;
		if (p->need == 0)
			continue;
		needy++;
		p->picks = cw_calloc(p->need, sizeof(*p->picks));
		if (p->picks == NULL)
			return cw_fail(msg, CW_ENOMEM, "stock: out of memory");
	}
	if (needy == 0)
		return 0;
	rc = load_lots(g, msg);
	if (rc == CW_ENOMEM)
		return cw_fail(msg, rc, "stock: out of memory");
	if (rc == 0)
		rc = pick_all(g, 0, msg);
	if (rc == 0 && cw_db_kind(g->s->db) == CW_DB_POSTGRES)
		rc = pick_all(g, 1, msg);
	return rc;
}

/* ---- changes -------------------------------------------------------------------------------------- */

/* Whose board has just got its certificate: a unique board (cert_board) that is taken tells that another server was quicker. */
static int store_taken(struct serve_group *g, struct serve_board **boards, size_t n, struct cw_msg *msg)
{
	size_t changed = 0, i;
	int rc;

	for (i = 0; i < n; i++) {
		const struct serve_board *b = boards[i];
		const struct cw_audit_entry *e = &g->entries[b->entry_taken];
		struct cw_db_value *v = g->values + i * 7;

		v[0] = cw_db_int(b->cert.id);
		v[1] = cw_db_text(b->device_id);
		v[2] = cw_db_int(b->anonymous);
		v[3] = cw_db_text(e->who);
		v[4] = cw_db_int(e->at);
		v[5] = cw_db_text(e->node);
		v[6] = cw_db_int(e->number);
	}
	rc = cw_db_many(g->s->db,
			"UPDATE cert SET state = 1, device_id = $2, anonymous = $3, station = $4, allocated = $5, changed = $5,"
			" audit_node = $6, audit_number = $7 WHERE id = $1 AND state = 0",
			g->values, 7, n, NULL, NULL, &changed, msg);
	if (rc == CW_EEXIST || (rc == 0 && changed != n))
		return cw_fail(msg, CW_EBUSY, "another server gave certificates to the same boards");
	return rc;
}

static int store_reported(struct serve_group *g, struct serve_board **boards, size_t n, struct cw_msg *msg)
{
	size_t changed = 0, i;
	int rc;

	for (i = 0; i < n; i++) {
		const struct serve_board *b = boards[i];
		const struct cw_audit_entry *e = &g->entries[b->entry_reported];
		struct cw_db_value *v = g->values + i * 4;

		v[0] = cw_db_int(b->cert.id);
		v[1] = cw_db_int(e->at);
		v[2] = cw_db_text(e->node);
		v[3] = cw_db_int(e->number);
	}
	rc = cw_db_many(g->s->db,
			"UPDATE cert SET state = 2, written = $2, changed = $2, audit_node = $3, audit_number = $4"
			" WHERE id = $1 AND state = 1",
			g->values, 4, n, NULL, NULL, &changed, msg);
	if (rc == 0 && changed != n)
		return cw_fail(msg, CW_EBUSY, "another server changed the same certificates");
	return rc;
}

int serve_store(struct serve_group *g, struct cw_msg *msg)
{
	size_t taken = 0, reported = 0, i;
	int rc;

	if (g->entry_count == 0)
		return 0;
	rc = stock_audit(g->s, g->entries, g->entry_count, msg);
	if (rc < 0)
		return rc;
	for (i = 0; i < g->board_count; i++)
		if (g->boards[i].taken)
			g->sorted[taken++] = &g->boards[i];
	qsort(g->sorted, taken, sizeof(g->sorted[0]), by_key);
	rc = taken == 0 ? 0 : store_taken(g, g->sorted, taken, msg);
	for (i = 0; i < g->board_count; i++)
		if (g->boards[i].reported)
			g->sorted[reported++] = &g->boards[i];
	return rc < 0 || reported == 0 ? rc : store_reported(g, g->sorted, reported, msg);
}
