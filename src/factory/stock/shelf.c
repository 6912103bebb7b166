/* shelf.c - see shelf.h. Figures: figures.c; what takes certificates out or back: reclaim.c. */
#include "factory/stock/shelf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "factory/stock/stock_impl.h"

/* ---- names ---- */

static const char *const states[] = {
#define STATE_NAME(sym, name, text) name,
	CW_STOCK_STATES(STATE_NAME)
#undef STATE_NAME
};

static const char *const leases[] = {
#define LEASE_NAME(sym, name, text) name,
	CW_STOCK_LEASES(LEASE_NAME)
#undef LEASE_NAME
};

static int index_of(const char *const *names, int count, const char *name)
{
	int i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

const char *cw_stock_state_name(enum cw_stock_state state)
{
	return (unsigned)state < CW_STOCK_STATE_COUNT ? states[state] : "";
}

int cw_stock_state_of(const char *name)
{
	return index_of(states, CW_STOCK_STATE_COUNT, name);
}

const char *cw_stock_lease_name(enum cw_stock_lease lease)
{
	return (unsigned)lease < CW_STOCK_LEASE_COUNT ? leases[lease] : "";
}

int cw_stock_lease_of(const char *name)
{
	return index_of(leases, CW_STOCK_LEASE_COUNT, name);
}

const char *stock_text(const struct cw_db_value *column)
{
	/* A hand that edited the file may have put bytes there, which have no NUL behind them. */
	return column->type != CW_DB_TEXT || column->bytes.ptr == NULL ? "" : (const char *)column->bytes.ptr;
}

/* Bytes of the character at `at` that begins with no control character, or 0. */
static size_t character(const uint8_t *at)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = at[0] < 0x80 ? 1 : (at[0] & 0xe0) == 0xc0 ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : (at[0] & 0xf8) == 0xf0 ? 4 : 0, i;
	uint32_t c = len <= 1 ? at[0] : at[0] & (0x7fu >> len);

	for (i = 1; i < len; i++) { /* the NUL at the end is no continuation */
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3f);
	}
	if (len == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return len;
}

int stock_check_text(const char *what, const char *text, size_t most, struct cw_msg *msg)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t len;

	if (strlen(text) > most)
		return cw_fail(msg, CW_EINVAL, "%s has %zu bytes; %zu are the most", what, strlen(text), most);
	for (; *at != 0; at += len) {
		len = character(at);
		if (len == 0)
			return cw_fail(msg, CW_EINVAL, "%s has a control character, or is not UTF-8, at byte %zu", what,
			               (size_t)(at - (const uint8_t *)text) + 1);
	}
	return 0;
}

/* ---- batches ---- */

/* Numbers of batches, to add up what the index counted: an operator has hundreds. */
struct batches {
	struct cw_stock_batch *list;
	int64_t *ids;
	size_t count, size;
	int rc;
};

static int grow(struct batches *all)
{
	size_t size = all->size == 0 ? 16 : all->size * 2;
	struct cw_stock_batch *list = cw_realloc(all->list, size * sizeof(*list));
	int64_t *ids;

	if (list == NULL)
		return CW_ENOMEM;
	all->list = list;
	ids = cw_realloc(all->ids, size * sizeof(*ids));
	if (ids == NULL)
		return CW_ENOMEM;
	all->ids = ids;
	all->size = size;
	return 0;
}

static int on_batch(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct batches *all = arg;
	struct cw_stock_batch *b;

	if (all->count == all->size && grow(all) < 0)
		return CW_ENOMEM;
	all->ids[all->count] = c[0].number;
	b = &all->list[all->count++];
	memset(b, 0, sizeof(*b));
	(void)snprintf(b->name, sizeof(b->name), "%s", stock_text(&c[1]));
	(void)snprintf(b->product_key, sizeof(b->product_key), "%s", stock_text(&c[2]));
	b->closed = c[3].number != 0;
	b->lease = (enum cw_stock_lease)c[4].number;
	b->lease_ms = c[5].number;
	b->low = (uint64_t)c[6].number;
	b->created = c[7].number;
	(void)snprintf(b->file, sizeof(b->file), "%s", stock_text(&c[8]));
	b->imported = c[9].number;
	return 0;
}

static int on_batch_count(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct batches *all = arg;
	size_t i;

	for (i = 0; i < all->count; i++)
		if (all->ids[i] == c[0].number && c[1].number >= 0 && c[1].number < CW_STOCK_STATE_COUNT)
			all->list[i].count[c[1].number] += (uint64_t)c[2].number;
	return 0;
}

/* The batch of an import under way has no visible lot yet. */
#define BATCHES \
	"SELECT b.id, b.name, b.product_key, b.closed, b.lease, b.lease_ms, b.low, b.created, l.file, l.imported" \
	" FROM batch b JOIN lot l ON l.id = (SELECT MAX(x.id) FROM lot x WHERE x.batch = b.id AND x.visible = 1)"
#define BATCHES_ORDER " ORDER BY b.product_key, b.created, b.id"

/* Along the index cert_state, lot by lot: a sort of a million is what this form avoids. */
static const char batch_counts[] = "SELECT l.batch, g.state, g.n FROM (SELECT c.lot AS lot, c.state AS state, COUNT(*) AS n FROM cert c"
				   " GROUP BY c.lot, c.state) g JOIN lot l ON l.id = g.lot WHERE l.visible = 1";
static const char batch_counts_of[] =
	"SELECT l.batch, c.state, COUNT(*) FROM batch b CROSS JOIN lot l CROSS JOIN cert c WHERE b.product_key = $1 AND l.batch = b.id"
	" AND l.visible = 1 AND c.lot = l.id GROUP BY l.batch, c.state";

static int read_batches(struct cw_stock *s, const char *product_key, struct batches *all, struct cw_msg *msg)
{
	struct cw_db_value param = cw_db_text(product_key);
	size_t n = product_key != NULL;
	int rc;

	rc = cw_db_run(s->db, n ? BATCHES " WHERE b.product_key = $1" BATCHES_ORDER : BATCHES BATCHES_ORDER, &param, n, on_batch, all,
	               NULL, msg);
	if (rc == 0)
		rc = cw_db_run(s->db, n ? batch_counts_of : batch_counts, &param, n, on_batch_count, all, NULL, msg);
	return rc == CW_ENOMEM ? cw_fail(msg, rc, "batches: not enough memory to count them") : rc;
}

int cw_stock_batches(struct cw_stock *s, const char *product_key, int (*fn)(void *arg, const struct cw_stock_batch *b), void *arg,
                     struct cw_msg *msg)
{
	struct batches all = { 0 };
	int rc = read_batches(s, product_key, &all, msg);
	size_t i;

	for (i = 0; rc == 0 && i < all.count; i++)
		rc = fn(arg, &all.list[i]);
	cw_free(all.list);
	cw_free(all.ids);
	return rc;
}

struct batch_change {
	const char *name, *product_key;
	const struct cw_stock_batch_change *change;
	const struct cw_stock_actor *who;
	struct batches found;
};

static void say_change(const char *name, const struct cw_stock_batch_change *ch, char *out, size_t size)
{
	int n = snprintf(out, size, "batch %s:", name);

	if ((ch->what & CW_BATCH_CLOSED) != 0)
		n += snprintf(out + n, size - (size_t)n, " %s;", ch->closed ? "closed" : "opened");
	if ((ch->what & CW_BATCH_LEASE) != 0)
		n += snprintf(out + n, size - (size_t)n, " lease %s, %lld ms;", cw_stock_lease_name(ch->lease), (long long)ch->lease_ms);
	if ((ch->what & CW_BATCH_LOW) != 0)
		n += snprintf(out + n, size - (size_t)n, " warn below %llu;", (unsigned long long)ch->low);
	out[n - 1] = '\0';
}

/* Of one batch, with its entry. */
static int change_one(struct cw_stock *s, const struct batch_change *b, size_t i, struct cw_msg *msg)
{
	static const char sql[] = "UPDATE batch SET closed = $2, lease = $3, lease_ms = $4, low = $5 WHERE id = $1";
	const struct cw_stock_batch_change *ch = b->change;
	const struct cw_stock_batch *now = &b->found.list[i];
	int closed = (ch->what & CW_BATCH_CLOSED) != 0, lease = (ch->what & CW_BATCH_LEASE) != 0;
	const struct cw_db_value params[] = {
		cw_db_int(b->found.ids[i]),
		cw_db_int(closed ? ch->closed != 0 : now->closed),
		cw_db_int((int64_t)(lease ? ch->lease : now->lease)),
		cw_db_int(lease ? ch->lease_ms : now->lease_ms),
		cw_db_int((int64_t)((ch->what & CW_BATCH_LOW) != 0 ? ch->low : now->low)),
	};
	char text[256];
	struct cw_audit_entry e = {
		.what = stock_audit_name(CW_AUDIT_BATCH),
		.who = b->who->name,
		.address = b->who->address,
		.product_key = now->product_key,
		.text = text,
	};
	int rc;

	say_change(now->name, ch, text, sizeof(text));
	rc = cw_db_run(s->db, sql, params, 5, NULL, NULL, NULL, msg);
	return rc < 0 ? rc : stock_audit(s, &e, 1, msg);
}

static int work_batch_change(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct batch_change *b = arg;
	struct cw_db_value params[] = { cw_db_text(b->name), cw_db_text(b->product_key) };
	size_t i;
	int rc;

	b->found.count = 0;
	rc = cw_db_run(s->db,
	               STOCK_SQL(s, BATCHES " WHERE b.name = $1 AND (CAST($2 AS TEXT) IS NULL OR b.product_key = $2)" BATCHES_ORDER,
	                         BATCHES " WHERE b.name = $1 AND (CAST($2 AS TEXT) IS NULL OR b.product_key = $2)" BATCHES_ORDER
	                                 " FOR UPDATE OF b"),
	               params, 2, on_batch, &b->found, NULL, msg);
	if (rc == 0 && b->found.count == 0 && b->product_key != NULL)
		return cw_fail(msg, CW_ENOENT, "product %s has no batch \"%s\"; the batches are listed by causeway factory batches",
		               b->product_key, b->name);
	if (rc == 0 && b->found.count == 0)
		return cw_fail(msg, CW_ENOENT, "there is no batch \"%s\"; the batches are listed by causeway factory batches", b->name);
	for (i = 0; rc == 0 && i < b->found.count; i++)
		rc = change_one(s, b, i, msg);
	return rc;
}

int cw_stock_batch_change(struct cw_stock *s, const char *name, const char *product_key, const struct cw_stock_batch_change *change,
                          const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct batch_change b = { .name = name, .product_key = product_key, .change = change, .who = who };
	int rc;

	if (change->what == 0)
		return cw_fail(msg, CW_EINVAL, "batch %s: nothing to change was named", name);
	if ((change->what & CW_BATCH_LEASE) != 0 &&
	    ((unsigned)change->lease >= CW_STOCK_LEASE_COUNT || change->lease_ms < 0 || (change->lease != CW_STOCK_LEASE_NONE && change->lease_ms == 0)))
		return cw_fail(msg, CW_EINVAL, "batch %s: a lease needs a time over 0 after which an allocation goes back", name);
	if ((change->what & CW_BATCH_LOW) != 0 && change->low > INT64_MAX)
		return cw_fail(msg, CW_EINVAL, "batch %s: the number to warn below is too large", name);
	rc = stock_transact(s, work_batch_change, &b, msg);
	cw_free(b.found.list);
	cw_free(b.found.ids);
	return rc;
}

/* ---- look-ups ---- */

/*
 * How a look-up is answered: one static text for each index that may lead, because SQLite's planner cannot take an index for a
 * condition that a parameter may switch off. The first table leads (CROSS JOIN keeps the order there; PostgreSQL decides
 * by itself). A way over an index whose order is another one sorts what it finds, so it is taken only where that is
 * little (FEW); otherwise certificates are scanned in the order that was asked for, until enough have fitted.
 */
#define FEW 10000
#define FEW_TEXT "10000"
#define PIECE 2000

#define COLUMNS                                                                                                                            \
	"SELECT c.id, c.product_key, c.device_name, c.device_id, b.name, c.station, c.reason, c.product_id, c.extra, c.state, c.anonymous,"  \
	" l.imported, c.allocated, c.written, c.voided, c.changed, c.secrets, c.audit_node, c.audit_number, p.bluetooth, p.product_id,"      \
	" p.crc_form, p.crc_order, p.normalize_mac FROM "
#define CERT_FIRST "cert c CROSS JOIN lot l CROSS JOIN batch b CROSS JOIN product p WHERE "
#define LOT_FIRST "batch b CROSS JOIN lot l CROSS JOIN cert c CROSS JOIN product p WHERE "
#define REST                                                                                                                               \
	" AND l.id = c.lot AND l.visible = 1 AND b.id = l.batch AND p.product_key = c.product_key"                                           \
	" AND (CAST($1 AS TEXT) IS NULL OR c.product_key = $1) AND (CAST($2 AS TEXT) IS NULL OR b.name = $2)"                                \
	" AND (CAST($3 AS TEXT) IS NULL OR c.device_name = $3)"                                                                              \
	" AND (CAST($4 AS TEXT) IS NULL OR c.device_id = $4 OR (c.device_id = $5 AND p.normalize_mac = 1))"                                  \
	" AND (CAST($6 AS TEXT) IS NULL OR c.station = $6)"                                                                                  \
	" AND (CAST($7 AS TEXT) IS NULL OR (c.device_name >= $7 AND c.device_name < $8) OR (c.device_id >= $7 AND c.device_id < $8))"        \
	" AND (CAST($9 AS BIGINT) IS NULL OR c.state = $9) AND (CAST($10 AS BIGINT) = 0 OR c.anonymous = 1)"                                 \
	" AND (CAST($11 AS BIGINT) IS NULL OR (c.changed >= $11 AND c.changed < $12))"
#define PARAMS 15 /* of all ways but the scan by id, which has one more */
/* Where a walk goes on ($13: id, $14: changed), and how much of it is wanted at once. A + keeps the order from choosing the index. */
#define BY_ID_SORTED " AND c.id > $13 AND CAST($14 AS BIGINT) IS NOT NULL ORDER BY +c.id LIMIT $15"
#define NEWEST_SORTED " AND (+c.changed, +c.id) < ($14, $13) ORDER BY +c.changed DESC, +c.id DESC LIMIT $15"

enum way { WAY_DEVICE, WAY_NAME, WAY_TEXT, WAY_STATION, WAY_ANONYMOUS, WAY_STATE, WAY_LOT, WAY_CHANGED, WAY_SCAN, WAY_COUNT };

#define BY_DEVICE CERT_FIRST "c.device_id IN ($4, $5)" REST
#define BY_NAME CERT_FIRST "c.device_name = $3" REST
#define BY_TEXT CERT_FIRST "((c.device_name >= $7 AND c.device_name < $8) OR (c.device_id >= $7 AND c.device_id < $8))" REST
#define BY_STATION CERT_FIRST "c.station = $6 AND c.allocated > 0" REST
#define BY_ANONYMOUS LOT_FIRST "l.batch = b.id AND c.lot = l.id AND c.anonymous = 1" REST
#define BY_STATE LOT_FIRST "l.batch = b.id AND c.lot = l.id AND c.state = $9" REST
#define BY_LOT LOT_FIRST "l.batch = b.id AND c.lot = l.id" REST
#define BY_CHANGED CERT_FIRST "c.changed >= $11 AND c.changed < $12" REST

/*
 * What the order is by leads ($16: the last id that may fit), and certificates are picked before anything is joined to them:
 * PostgreSQL would sort them all for the sake of a join. It makes no joins of look-ups that give one value.
 */
#define SCAN(lead, order)                                                                                                                  \
	"(SELECT c.* FROM cert c WHERE " lead " AND (CAST($1 AS TEXT) IS NULL OR c.product_key = $1)"                                        \
	" AND (CAST($6 AS TEXT) IS NULL OR c.station = $6)"                                                                                  \
	" AND (CAST($7 AS TEXT) IS NULL OR (c.device_name >= $7 AND c.device_name < $8) OR (c.device_id >= $7 AND c.device_id < $8))"        \
	" AND (CAST($9 AS BIGINT) IS NULL OR c.state = $9) AND (CAST($10 AS BIGINT) = 0 OR c.anonymous = 1)"                                 \
	" AND (CAST($11 AS BIGINT) IS NULL OR (c.changed >= $11 AND c.changed < $12))"                                                       \
	" AND (CAST($2 AS TEXT) IS NULL OR (SELECT n.name FROM lot v JOIN batch n ON n.id = v.batch WHERE v.id = c.lot) = $2)"               \
	" AND (SELECT v.visible FROM lot v WHERE v.id = c.lot) = 1"                                                                          \
	" ORDER BY " order " LIMIT $15) c CROSS JOIN lot l CROSS JOIN batch b CROSS JOIN product p WHERE 1 = 1" REST

static const char *const ways[WAY_COUNT][2] = {
	[WAY_DEVICE] = { COLUMNS BY_DEVICE BY_ID_SORTED, COLUMNS BY_DEVICE NEWEST_SORTED },
	[WAY_NAME] = { COLUMNS BY_NAME BY_ID_SORTED, COLUMNS BY_NAME NEWEST_SORTED },
	[WAY_TEXT] = { COLUMNS BY_TEXT BY_ID_SORTED, COLUMNS BY_TEXT NEWEST_SORTED },
	[WAY_STATION] = { COLUMNS BY_STATION BY_ID_SORTED, COLUMNS BY_STATION NEWEST_SORTED },
	[WAY_ANONYMOUS] = { COLUMNS BY_ANONYMOUS BY_ID_SORTED, COLUMNS BY_ANONYMOUS NEWEST_SORTED },
	[WAY_STATE] = { COLUMNS BY_STATE BY_ID_SORTED, COLUMNS BY_STATE NEWEST_SORTED },
	[WAY_LOT] = { COLUMNS BY_LOT BY_ID_SORTED, COLUMNS BY_LOT NEWEST_SORTED },
	[WAY_CHANGED] = { COLUMNS BY_CHANGED BY_ID_SORTED, COLUMNS BY_CHANGED NEWEST_SORTED },
	[WAY_SCAN] = { COLUMNS SCAN("c.id > $13 AND c.id <= $16", "c.id") " AND CAST($14 AS BIGINT) IS NOT NULL ORDER BY c.id",
		       COLUMNS SCAN("(c.changed, c.id) < ($14, $13)", "c.changed DESC, c.id DESC") " ORDER BY c.changed DESC, c.id DESC" },
};

#define FEW_OF(from) "SELECT COUNT(*) FROM (SELECT 1 AS one FROM " from " LIMIT " FEW_TEXT ") few"
#define FEW_LOTS "batch b CROSS JOIN lot l CROSS JOIN cert c WHERE l.batch = b.id AND l.visible = 1 AND c.lot = l.id" \
	" AND (CAST($1 AS TEXT) IS NULL OR b.product_key = $1) AND (CAST($2 AS TEXT) IS NULL OR b.name = $2)"

/* How many a way would find, at most FEW. */
static const char *const few[WAY_COUNT] = {
	[WAY_TEXT] = "SELECT (" FEW_OF("cert WHERE device_name >= $1 AND device_name < $2") ") + ("
		FEW_OF("cert WHERE device_id >= $1 AND device_id < $2") ")",
	[WAY_STATION] = FEW_OF("cert WHERE station = $1 AND allocated > 0"),
	[WAY_ANONYMOUS] = FEW_OF(FEW_LOTS " AND c.anonymous = 1"),
	[WAY_STATE] = FEW_OF(FEW_LOTS " AND c.state = $3"),
	[WAY_LOT] = FEW_OF(FEW_LOTS),
	[WAY_CHANGED] = FEW_OF("cert WHERE changed >= $1 AND changed < $2"),
};

/* Between which ids certificates of these batches and this state are: a lot's lie together, as they were imported. */
static const char range[] =
	"SELECT MIN(x.first), MAX(x.last) FROM (SELECT"
	" (SELECT c.id FROM cert c WHERE c.lot = l.id AND c.state = v.state ORDER BY c.lot, c.state, c.id LIMIT 1) AS first,"
	" (SELECT c.id FROM cert c WHERE c.lot = l.id AND c.state = v.state ORDER BY c.lot DESC, c.state DESC, c.id DESC LIMIT 1) AS last"
	" FROM batch b CROSS JOIN lot l CROSS JOIN (SELECT 0 AS state UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) v"
	" WHERE l.batch = b.id AND l.visible = 1 AND (CAST($1 AS TEXT) IS NULL OR b.product_key = $1)"
	" AND (CAST($2 AS TEXT) IS NULL OR b.name = $2) AND (CAST($3 AS BIGINT) IS NULL OR v.state = $3)) x";

struct walk {
	struct cw_stock *s;
	struct cw_db_value params[PARAMS + 1];
	char mac[CW_STOCK_DEVICE_ID + 1];            /* its device_id if that is a MAC in some form */
	char text_end[CW_STOCK_DEVICE_ID + 5];       /* behind every text that begins with the one sought */
	enum way way;
	int newest;
	size_t left, told;                           /* of `most`; in this piece */
	int64_t id, changed;                         /* of the last one */
	int64_t first, last;                         /* ids of a scan */
	int (*fn)(void *arg, const struct stock_row *r);
	void *arg;
};

static const char *given(const char *text)
{
	return text == NULL || text[0] == '\0' ? NULL : text;
}

/* A search field takes anything; PostgreSQL does not. */
static int check_filter(const struct cw_stock_filter *f, struct cw_msg *msg)
{
	const struct {
		const char *name, *value;
	} texts[] = {
		{ "ProductKey", f->product_key }, { "the batch", f->batch },     { "DeviceName", f->device_name },
		{ "DeviceID", f->device_id },     { "the station", f->station }, { "the text sought", f->text },
	};
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].value != NULL)
			rc = stock_check_text(texts[i].name, texts[i].value, CW_STOCK_DEVICE_ID, msg);
	return rc;
}

static void set_params(struct walk *w, const struct cw_stock_filter *f)
{
	const struct cw_stock_product macs = { .normalize_mac = 1 };
	struct cw_db_value *p = w->params;
	int64_t since = f->since > 0 ? f->since : 1, until = f->until != 0 ? f->until : INT64_MAX;

	p[0] = cw_db_text(given(f->product_key));
	p[1] = cw_db_text(given(f->batch));
	p[2] = cw_db_text(given(f->device_name));
	p[3] = p[4] = cw_db_text(given(f->device_id));
	if (p[3].type != CW_DB_NULL) {
		cw_stock_device_id(&macs, p[3].bytes, w->mac);
		p[4] = cw_db_text(w->mac);
	}
	p[5] = cw_db_text(given(f->station));
	p[6] = p[7] = cw_db_text(given(f->text));
	if (p[6].type != CW_DB_NULL) { /* U+10FFFF is no character: no name has it, and its bytes are the greatest of UTF-8 */
		(void)snprintf(w->text_end, sizeof(w->text_end), "%s\xf4\x8f\xbf\xbf", f->text);
		p[7] = cw_db_text(w->text_end);
	}
	p[8] = f->state >= 0 ? cw_db_int(f->state) : cw_db_null();
	p[9] = cw_db_int(f->anonymous != 0);
	p[10] = f->since != 0 || f->until != 0 ? cw_db_int(since) : cw_db_null();
	p[11] = cw_db_int(until);
}

static int on_count(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	*(int64_t *)arg = c[0].number;
	return 0;
}

/* Is what `way` leads over little? */
static int is_few(struct walk *w, enum way way, int *ret_few, struct cw_msg *msg)
{
	static const uint8_t used[WAY_COUNT][3] = { /* numbers of the parameters of few[], from 1 */
		[WAY_TEXT] = { 7, 8 }, [WAY_STATION] = { 6 }, [WAY_ANONYMOUS] = { 1, 2 }, [WAY_STATE] = { 1, 2, 9 },
		[WAY_LOT] = { 1, 2 }, [WAY_CHANGED] = { 11, 12 },
	};
	struct cw_db_value params[3];
	size_t n = 0;
	int64_t found = 0;
	int rc;

	while (n < 3 && used[way][n] != 0) {
		params[n] = w->params[used[way][n] - 1];
		n++;
	}
	rc = cw_db_run(w->s->db, few[way], params, n, on_count, &found, NULL, msg);
	*ret_few = found < FEW;
	return rc;
}

static int choose(struct walk *w, struct cw_msg *msg)
{
	const struct cw_db_value *p = w->params;
	const int may[WAY_COUNT] = {
		[WAY_TEXT] = p[6].type != CW_DB_NULL,
		[WAY_STATION] = p[5].type != CW_DB_NULL,
		[WAY_ANONYMOUS] = p[9].number != 0,
		[WAY_STATE] = p[8].type != CW_DB_NULL,
		[WAY_LOT] = p[0].type != CW_DB_NULL || p[1].type != CW_DB_NULL,
		[WAY_CHANGED] = p[10].type != CW_DB_NULL,
	};
	int found = 0, rc = 0, way;

	w->way = WAY_SCAN;
	if (p[3].type != CW_DB_NULL || p[2].type != CW_DB_NULL) {
		w->way = p[3].type != CW_DB_NULL ? WAY_DEVICE : WAY_NAME;
		return 0;
	}
	for (way = WAY_TEXT; rc == 0 && !found && way < WAY_SCAN; way++) {
		if (!may[way])
			continue;
		rc = is_few(w, (enum way)way, &found, msg);
		if (found)
			w->way = (enum way)way;
	}
	return rc;
}

static int on_range(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct walk *w = arg;

	w->first = c[0].type == CW_DB_INT ? c[0].number : INT64_MAX; /* there is none */
	w->last = c[1].number;
	return 0;
}

/* Where a scan by id begins and ends. */
static int set_range(struct walk *w, struct cw_msg *msg)
{
	const struct cw_db_value params[] = { w->params[0], w->params[1], w->params[8] };
	int narrow = params[0].type != CW_DB_NULL || params[1].type != CW_DB_NULL || params[2].type != CW_DB_NULL, rc = 0;

	w->first = 0;
	w->last = INT64_MAX;
	if (w->way != WAY_SCAN || w->newest)
		return 0;
	if (narrow)
		rc = cw_db_run(w->s->db, range, params, 3, on_range, w, NULL, msg);
	if (w->id < w->first)
		w->id = w->first - 1;
	w->params[15] = cw_db_int(w->last);
	return rc;
}

static int on_row(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct walk *w = arg;
	struct stock_row r = {
		.row = {
			.id = c[0].number,
			.product_key = stock_text(&c[1]),
			.device_name = stock_text(&c[2]),
			.device_id = stock_text(&c[3]),
			.batch = stock_text(&c[4]),
			.station = stock_text(&c[5]),
			.reason = stock_text(&c[6]),
			.product_id = stock_text(&c[7]),
			.extra = stock_text(&c[8]),
			.state = (enum cw_stock_state)c[9].number,
			.anonymous = c[10].number != 0,
			.imported = c[11].number,
			.allocated = c[12].number,
			.written = c[13].number,
			.voided = c[14].number,
		},
		.changed = c[15].number,
		.secrets = c[16].bytes,
		.audit_node = stock_text(&c[17]),
		.audit_number = c[18].number,
		.product = {
			.bluetooth = c[19].number != 0,
			.crc_form = (enum cw_stock_crc_form)c[21].number,
			.crc_order = (enum cw_stock_crc_order)c[22].number,
			.normalize_mac = c[23].number != 0,
		},
	};

	(void)snprintf(r.product.product_key, sizeof(r.product.product_key), "%s", r.row.product_key);
	(void)snprintf(r.product.product_id, sizeof(r.product.product_id), "%s", stock_text(&c[20]));
	w->id = r.row.id;
	w->changed = r.changed;
	w->told++;
	return w->fn(w->arg, &r);
}

int stock_walk(struct cw_stock *s, const struct cw_stock_filter *filter, int (*fn)(void *arg, const struct stock_row *r), void *arg,
               struct cw_msg *msg)
{
	struct walk w = { .s = s, .newest = filter->newest != 0, .fn = fn, .arg = arg };
	size_t want, left = filter->most;
	int rc;

	rc = check_filter(filter, msg);
	if (rc < 0)
		return rc;
	set_params(&w, filter);
	w.id = w.newest ? INT64_MAX : filter->after;
	w.changed = w.newest ? INT64_MAX : 0;
	rc = choose(&w, msg);
	if (rc == 0)
		rc = set_range(&w, msg);
	do {
		want = left > 0 && left < PIECE ? left : PIECE;
		w.params[12] = cw_db_int(w.id);
		w.params[13] = cw_db_int(w.changed);
		w.params[14] = cw_db_int((int64_t)want);
		w.told = 0;
		if (rc == 0)
			rc = cw_db_run(s->db, ways[w.way][w.newest], w.params, w.way == WAY_SCAN && !w.newest ? PARAMS + 1 : PARAMS, on_row, &w, NULL, msg);
		if (filter->most > 0)
			left -= w.told;
	} while (rc == 0 && w.told == want && (filter->most == 0 || left > 0));
	return rc;
}

struct query {
	cw_stock_row_fn fn;
	void *arg;
};

static int on_query(void *arg, const struct stock_row *r)
{
	const struct query *q = arg;

	return q->fn(q->arg, &r->row);
}

int cw_stock_query(struct cw_stock *s, const struct cw_stock_filter *filter, cw_stock_row_fn fn, void *arg, struct cw_msg *msg)
{
	struct query q = { fn, arg };

	return stock_walk(s, filter, on_query, &q, msg);
}

/* ---- with secrets ---- */

/* What a station would have got. */
static int open_cert(struct cw_stock *s, const struct stock_row *r, struct cw_stock_cert *ret, struct cw_msg *msg)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	(void)snprintf(ret->product_key, sizeof(ret->product_key), "%s", r->row.product_key);
	(void)snprintf(ret->device_name, sizeof(ret->device_name), "%s", r->row.device_name);
	(void)snprintf(ret->device_id, sizeof(ret->device_id), "%s", r->row.device_id);
	(void)snprintf(ret->product_id, sizeof(ret->product_id), "%s",
	               r->row.product_id[0] != '\0' ? r->row.product_id : r->product.product_id);
	rc = stock_open_seal(s, r->row.product_key, r->row.device_name, r->secrets, ret, msg);
	if (rc < 0)
		return rc;
	ret->crc_form = r->product.crc_form;
	ret->crc = cw_stock_crc(&r->product, ret);
	return 0;
}

struct export {
	struct cw_stock *s;
	const struct cw_stock_filter *filter;
	const struct cw_stock_actor *who;
	int (*fn)(void *arg, const struct cw_stock_row *row, const struct cw_stock_cert *cert);
	void *arg;
	struct cw_msg *msg;
};

static int on_export(void *arg, const struct stock_row *r)
{
	const struct export *x = arg;
	struct cw_stock_cert cert;
	int rc = open_cert(x->s, r, &cert, x->msg);

	if (rc == 0)
		rc = x->fn(x->arg, &r->row, &cert);
	explicit_bzero(&cert, sizeof(cert));
	return rc;
}

/* What was asked for, in words. */
static void say_filter(const struct cw_stock_filter *f, char *out, size_t size)
{
	const struct {
		const char *name, *value;
	} parts[] = {
		{ "batch", f->batch }, { "station", f->station }, { "text", f->text },
		{ "state", f->state >= 0 ? cw_stock_state_name((enum cw_stock_state)f->state) : NULL },
	};
	size_t i, n = (size_t)snprintf(out, size, "certificates with their secrets");

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (given(parts[i].value) != NULL && n < size)
			n += (size_t)snprintf(out + n, size - n, ", %s %s", parts[i].name, parts[i].value);
	if (f->anonymous && n < size)
		n += (size_t)snprintf(out + n, size - n, ", without a DeviceID of the station's own");
	if ((f->since != 0 || f->until != 0) && n < size)
		n += (size_t)snprintf(out + n, size - n, ", changed from %lld to %lld", (long long)f->since, (long long)f->until);
	if (f->most > 0 && n < size)
		(void)snprintf(out + n, size - n, ", at most %zu behind number %lld", f->most, (long long)f->after);
}

static int work_export_entry(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	const struct export *x = arg;
	char text[512];
	struct cw_audit_entry e = {
		.what = stock_audit_name(CW_AUDIT_EXPORT),
		.who = x->who->name,
		.address = x->who->address,
		.product_key = x->filter->product_key,
		.device_name = x->filter->device_name,
		.device_id = x->filter->device_id,
		.text = text,
	};

	say_filter(x->filter, text, sizeof(text));
	return stock_audit(s, &e, 1, msg);
}

int cw_stock_export(struct cw_stock *s, const struct cw_stock_filter *filter, const struct cw_stock_actor *who,
                    int (*fn)(void *arg, const struct cw_stock_row *row, const struct cw_stock_cert *cert), void *arg, struct cw_msg *msg)
{
	struct export x = { s, filter, who, fn, arg, msg };
	int rc = stock_transact(s, work_export_entry, &x, msg);

	return rc < 0 ? rc : stock_walk(s, filter, on_export, &x, msg);
}

struct find {
	struct cw_stock *s;
	struct cw_stock_cert *ret;
	const char *device_id;
	enum cw_stock_state state;
	int found, exact, products;
	struct cw_msg *msg;
};

/* Written ones come before allocated ones; then an id as it was given before one that is the same MAC. */
static int on_find(void *arg, const struct stock_row *r)
{
	struct find *f = arg;
	int exact = strcmp(r->row.device_id, f->device_id) == 0, other;

	if (r->row.state != CW_STOCK_ALLOCATED && r->row.state != CW_STOCK_WRITTEN)
		return 0;
	other = f->found && strcmp(f->ret->product_key, r->row.product_key) != 0;
	if (f->found && (r->row.state < f->state || (r->row.state == f->state && f->exact >= exact))) {
		f->products += other && r->row.state == f->state;
		return 0;
	}
	f->products = f->found && r->row.state == f->state ? f->products + other : 1;
	f->found = 1;
	f->state = r->row.state;
	f->exact = exact;
	return open_cert(f->s, r, f->ret, f->msg);
}

int cw_stock_find(struct cw_stock *s, const char *product_key, const char *device_id, const char *device_name, struct cw_stock_cert *ret,
                  struct cw_msg *msg)
{
	const struct cw_stock_filter filter = {
		.product_key = product_key,
		.device_id = device_id,
		.device_name = device_name,
		.state = -1,
	};
	struct find f = { .s = s, .ret = ret, .device_id = device_id != NULL ? device_id : "", .msg = msg };
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (given(device_id) == NULL && (given(device_name) == NULL || given(product_key) == NULL))
		return cw_fail(msg, CW_EINVAL, "a board is found by its DeviceID, or by ProductKey and DeviceName");
	rc = stock_walk(s, &filter, on_find, &f, msg);
	if (rc == 0 && !f.found)
		rc = cw_fail(msg, CW_ENOENT, "no certificate was given out for board %s", f.device_id[0] != '\0' ? device_id : device_name);
	if (rc == 0 && f.products > 1)
		rc = cw_fail(msg, CW_EEXIST, "%d products have a board %s; say which product is meant", f.products, f.device_id);
	if (rc != 0)
		explicit_bzero(ret, sizeof(*ret));
	return rc;
}
