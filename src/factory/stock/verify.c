/*
 * verify.c - has anybody changed the log, or the stock behind its back? See audit.h.
 *
 * One snapshot of the database is walked twice, piece by piece: entry after entry of each chain, then certificate after certificate with
 * the entries about it. What is kept in memory grows with the number of lots only.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "base/mem.h"
#include "factory/stock/stock_impl.h"

#define PIECE 2000
#define TOLD_MOST 100
#define SLACK_MS 60000 /* a certificate's time is that of its transaction, as is its entry's; clocks of servers may differ */

/* A lot as its certificates are, and as its entry says. */
struct lot {
	int64_t id;
	char product_key[CW_STOCK_PRODUCT_KEY + 1]; /* of its batch */
	struct stock_lot_sum is, said;
	int has_entry;
};

/* A certificate and what has been seen about it. */
struct subject {
	int64_t id, lot, audit_number, allocated, written, voided, changed;
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_name[CW_STOCK_DEVICE_NAME + 1], device_id[CW_STOCK_DEVICE_ID + 1];
	char station[256], reason[CW_STOCK_REASON + 1], audit_node[65];
	int64_t state;
	int has_id, anonymous;
	/* the entry it names */
	int named, kind;
	int64_t at;
	char entry_id[CW_STOCK_DEVICE_ID + 1], who[256], text[CW_STOCK_REASON + 1];
	/* all entries about it */
	int counts[CW_AUDIT_KIND_COUNT];
	int station_known, overtaken;
	int64_t elsewhere; /* the last time it was given out or taken back, as another chain says */
};

struct verify {
	struct cw_stock *s;
	void (*fn)(void *arg, const struct cw_audit_problem *p);
	void *arg;
	uint64_t entries, problems;
	struct lot *lots;
	size_t lot_count, lot_size;
	/* the chain at hand */
	const char *node;
	int64_t expected; /* number */
	uint8_t before[STOCK_MAC];
	int before_known, has_head, any; /* `any`: entries so far */
	size_t told; /* rows of this piece */
	int64_t last;
	/* the certificate at hand; id 0: none */
	struct subject cert;
	struct cw_msg *msg;
};

__attribute__((format(printf, 4, 5))) static void problem(struct verify *v, const char *node, int64_t number, const char *fmt, ...)
{
	char sentence[512];
	const struct cw_audit_problem p = { node, number, sentence };
	va_list ap;

	if (v->problems++ >= TOLD_MOST)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	v->fn(v->arg, &p);
}

static int kind_of(const char *what)
{
	int i;

	for (i = 0; i < CW_AUDIT_KIND_COUNT; i++)
		if (strcmp(what, stock_audit_name((enum cw_audit_kind)i)) == 0)
			return i;
	return -1;
}

/* ---- lots ---- */

static int on_lot(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct verify *v = arg;

	if (v->lot_count == v->lot_size) {
		size_t size = v->lot_size == 0 ? 64 : v->lot_size * 2;
		struct lot *lots = cw_realloc(v->lots, size * sizeof(*lots));

		if (lots == NULL)
			return cw_fail(v->msg, CW_ENOMEM, "audit: out of memory");
		v->lots = lots;
		v->lot_size = size;
	}
	memset(&v->lots[v->lot_count], 0, sizeof(*v->lots));
	v->lots[v->lot_count].id = c[0].number;
	(void)snprintf(v->lots[v->lot_count].product_key, sizeof(v->lots->product_key), "%s", stock_text(&c[1]));
	v->lot_count++;
	return 0;
}

static int compare_lots(const void *a, const void *b)
{
	const struct lot *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static struct lot *lot_of(struct verify *v, int64_t id)
{
	const struct lot key = { .id = id };

	return v->lot_count == 0 ? NULL : bsearch(&key, v->lots, v->lot_count, sizeof(key), compare_lots);
}

static int read_lots(struct verify *v)
{
	static const char sql[] = "SELECT l.id, b.product_key FROM lot l JOIN batch b ON b.id = l.batch WHERE l.visible = 1 ORDER BY l.id";

	return cw_db_run(v->s->db, sql, NULL, 0, on_lot, v, NULL, v->msg);
}

static void on_import_entry(struct verify *v, int64_t number, const char *text)
{
	struct stock_lot_sum said;
	struct lot *lot;
	int64_t id;

	if (!stock_lot_sum_read(text, &id, &said))
		return; /* nothing was new */
	lot = lot_of(v, id);
	if (lot == NULL) {
		problem(v, v->node, number, "lot %" PRId64 ", which this entry says was imported, is not in the stock", id);
		return;
	}
	lot->said = said;
	lot->has_entry = 1;
}

static void judge_lots(struct verify *v)
{
	size_t i;

	for (i = 0; i < v->lot_count; i++) {
		const struct lot *l = &v->lots[i];

		if (!l->has_entry)
			problem(v, "", 0, "lot %" PRId64 " with %" PRIu64 " certificates: no entry says that it was imported", l->id, l->is.count);
		else if (l->is.count != l->said.count)
			problem(v, "", 0,
			        "lot %" PRId64 " has %" PRIu64 " certificates, but %" PRIu64 " were imported: some were taken out or put in", l->id,
			        l->is.count, l->said.count);
		else if (memcmp(l->is.sum, l->said.sum, STOCK_MAC) != 0)
			problem(v, "", 0,
			        "lot %" PRId64 ": its certificates are not those that were imported: a name, ProductID or further column was edited", l->id);
	}
}

/* ---- chains ---- */

/* A text with a NUL inside would be read only up to there. */
static int is_whole(const struct cw_db_value *c)
{
	return c->type == CW_DB_TEXT && strlen(stock_text(c)) == c->bytes.len;
}

static void judge_entry(struct verify *v, const struct cw_db_value *c)
{
	const struct cw_audit_entry e = {
		.node = v->node,
		.number = c[0].number,
		.at = c[1].number,
		.what = stock_text(&c[2]),
		.who = stock_text(&c[3]),
		.address = stock_text(&c[4]),
		.product_key = stock_text(&c[5]),
		.device_name = stock_text(&c[6]),
		.device_id = stock_text(&c[7]),
		.text = stock_text(&c[8]),
	};
	uint8_t mac[STOCK_MAC];
	int i, whole = c[9].type == CW_DB_BLOB && c[9].bytes.len == STOCK_MAC, fits = whole;

	for (i = 2; i <= 8; i++)
		fits &= is_whole(&c[i]);
	stock_audit_mac(v->s, v->before, &e, mac);
	if (v->before_known)
		fits &= whole && memcmp(mac, c[9].bytes.ptr, STOCK_MAC) == 0;
	if (!fits)
		problem(v, v->node, e.number, "this entry was edited, put in or moved, or the one before it was");
	v->before_known = whole;
	if (whole)
		memcpy(v->before, c[9].bytes.ptr, STOCK_MAC);
	if (c[10].number != 0)
		problem(v, v->node, e.number, "certificate %s of product %s, which this entry is about, is not in the stock", e.device_name,
		        e.product_key);
	if (strcmp(e.what, stock_audit_name(CW_AUDIT_IMPORT)) == 0 && e.device_name[0] == '\0')
		on_import_entry(v, e.number, e.text);
}

static int on_entry(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct verify *v = arg;
	int64_t number = c[0].number;

	if (!v->has_head && !v->any)
		problem(v, v->node, 0, "the head of this chain is gone, so nobody knows how many entries there were");
	v->any = 1;
	v->told++;
	v->entries++;
	v->last = number;
	if (number < 1) {
		problem(v, v->node, number, "no entry has this number: it was put in or renumbered");
		return 0;
	}
	if (number != v->expected) {
		if (number - v->expected == 1)
			problem(v, v->node, v->expected, "this entry is missing");
		else
			problem(v, v->node, v->expected, "entries %" PRId64 " to %" PRId64 " are missing", v->expected, number - 1);
		v->before_known = 0;
	}
	v->expected = number + 1;
	judge_entry(v, c);
	return 0;
}

struct head {
	int found, whole;
	int64_t number;
	uint8_t mac[STOCK_MAC], seal[STOCK_MAC];
};

static int on_head(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct head *h = arg;

	h->found = 1;
	h->number = c[0].number;
	h->whole = c[1].type == CW_DB_BLOB && c[2].type == CW_DB_BLOB && c[1].bytes.len == STOCK_MAC && c[2].bytes.len == STOCK_MAC;
	if (h->whole) {
		memcpy(h->mac, c[1].bytes.ptr, STOCK_MAC);
		memcpy(h->seal, c[2].bytes.ptr, STOCK_MAC);
	}
	return 0;
}

static void judge_head(struct verify *v, const struct head *h)
{
	uint8_t seal[STOCK_MAC];
	int64_t last = v->expected - 1;

	if (!h->found)
		return;
	stock_chain_seal(v->s, v->node, h->number, h->mac, seal);
	if (!h->whole || memcmp(seal, h->seal, STOCK_MAC) != 0)
		problem(v, v->node, 0, "the head of this chain was edited");
	else if (h->number > last)
		problem(v, v->node, last + 1, "the chain has %" PRId64 " entries; those from here on are missing at its end", h->number);
	else if (h->number < last)
		problem(v, v->node, h->number + 1, "the chain ends at %" PRId64 "; the entries from here on were put in, or an older head was put back",
		        h->number);
	else if (v->before_known && memcmp(h->mac, v->before, STOCK_MAC) != 0)
		problem(v, v->node, last, "the last entry is not the one that the head of the chain was made with");
}

static int walk_chain(struct verify *v, const char *node)
{
	static const char entries[] =
		"SELECT a.number, a.at, a.what, a.who, a.address, a.product_key, a.device_name, a.device_id, a.text, a.mac,"
		" CASE WHEN a.what IN ('allocate', 'write', 'void', 'reclaim') AND NOT EXISTS (SELECT 1 FROM cert c"
		" WHERE c.product_key = a.product_key AND c.device_name = a.device_name) THEN 1 ELSE 0 END"
		" FROM audit a WHERE a.node = $1 AND a.number > $2 ORDER BY a.number LIMIT $3";
	struct cw_db_value p[] = { cw_db_text(node), cw_db_int(0), cw_db_int(PIECE) };
	struct head h = { 0 };
	int rc = cw_db_run(v->s->db, "SELECT number, mac, seal FROM chain WHERE node = $1", p, 1, on_head, &h, NULL, v->msg);

	v->node = node;
	v->expected = 1;
	memset(v->before, 0, STOCK_MAC);
	v->before_known = 1;
	v->has_head = h.found;
	v->any = 0;
	v->last = INT64_MIN;
	do {
		p[1] = cw_db_int(v->last);
		v->told = 0;
		if (rc == 0)
			rc = cw_db_run(v->s->db, entries, p, 3, on_entry, v, NULL, v->msg);
	} while (rc == 0 && v->told == PIECE);
	if (rc == 0)
		judge_head(v, &h);
	return rc;
}

static int on_name(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	if (c[0].type == CW_DB_TEXT)
		(void)snprintf(arg, 256, "%s", stock_text(&c[0]));
	return 0;
}

/* One node after the other; the empty name, which is nobody's, first. */
static int walk_chains(struct verify *v)
{
	static const char next[] = "SELECT MIN(x.node) FROM (SELECT MIN(node) AS node FROM chain WHERE node > $1 UNION ALL"
				   " SELECT MIN(node) AS node FROM audit WHERE node > $1) x";
	char node[256] = "", name[256] = "";
	int rc;

	for (;;) {
		struct cw_db_value p = cw_db_text(node);

		rc = walk_chain(v, node);
		name[0] = '\0';
		if (rc == 0)
			rc = cw_db_run(v->s->db, next, &p, 1, on_name, name, NULL, v->msg);
		if (rc < 0 || name[0] == '\0' || strcmp(name, node) <= 0)
			return rc;
		memcpy(node, name, sizeof(node));
	}
}

/* ---- certificates ---- */

#define ENTRY_COLUMNS 18 /* where they begin in a row of the walk below */

static void begin_cert(struct verify *v, const struct cw_db_value *c)
{
	struct subject *t = &v->cert;
	struct cw_stock_cert cert;
	struct lot *lot;

	memset(t, 0, sizeof(*t));
	t->id = c[0].number;
	t->lot = c[1].number;
	(void)snprintf(t->product_key, sizeof(t->product_key), "%s", stock_text(&c[2]));
	(void)snprintf(t->device_name, sizeof(t->device_name), "%s", stock_text(&c[3]));
	t->state = c[7].number;
	t->has_id = c[8].type != CW_DB_NULL;
	(void)snprintf(t->device_id, sizeof(t->device_id), "%s", stock_text(&c[8]));
	t->anonymous = c[9].number != 0;
	(void)snprintf(t->station, sizeof(t->station), "%s", stock_text(&c[10]));
	t->allocated = c[11].number;
	t->written = c[12].number;
	t->voided = c[13].number;
	t->changed = c[14].number;
	(void)snprintf(t->reason, sizeof(t->reason), "%s", stock_text(&c[15]));
	(void)snprintf(t->audit_node, sizeof(t->audit_node), "%s", stock_text(&c[16]));
	t->audit_number = c[17].number;
	t->kind = -1;
	if (stock_open_seal(v->s, t->product_key, t->device_name, c[4].bytes, &cert, NULL) < 0)
		problem(v, "", 0, "certificate %s of product %s: its secrets were edited, or moved from another one", t->device_name, t->product_key);
	explicit_bzero(&cert, sizeof(cert));
	lot = lot_of(v, t->lot);
	if (lot != NULL && strcmp(lot->product_key, t->product_key) != 0)
		problem(v, "", 0, "certificate %s of product %s is in a batch of product %s", t->device_name, t->product_key, lot->product_key);
	if (lot != NULL && stock_lot_sum_add(v->s, &lot->is, stock_text(&c[2]), stock_text(&c[3]), stock_text(&c[5]), stock_text(&c[6])) < 0)
		problem(v, "", 0, "certificate %s of product %s could not be looked at: out of memory", t->device_name, t->product_key);
}

/*
 * The text of an import's entry about a board is "lot 7: allocated". One of another lot is of an import that did not come to its end, and
 * says nothing about this certificate.
 */
static int is_of_lot(const char *text, int64_t lot)
{
	return strncmp(text, "lot ", 4) == 0 && strtoll(text + 4, NULL, 10) == lot;
}

static int ends_with(const char *text, const char *word)
{
	size_t len = strlen(text), n = strlen(word);

	return len >= n && strcmp(text + len - n, word) == 0;
}

static void add_entry(struct verify *v, const struct cw_db_value *c)
{
	struct subject *t = &v->cert;
	const char *node = stock_text(&c[0]), *who = stock_text(&c[4]), *text = stock_text(&c[6]);
	int kind = kind_of(stock_text(&c[3])), same_chain = strcmp(node, t->audit_node) == 0;

	if (kind < 0 || (kind == CW_AUDIT_IMPORT && !is_of_lot(text, t->lot)))
		return;
	t->counts[kind]++;
	if ((kind == CW_AUDIT_ALLOCATE || kind == CW_AUDIT_WRITE || kind == CW_AUDIT_IMPORT) && strcmp(who, t->station) == 0)
		t->station_known = 1;
	if (same_chain && c[1].number > t->audit_number)
		t->overtaken = 1;
	if (!same_chain && (kind == CW_AUDIT_ALLOCATE || kind == CW_AUDIT_RECLAIM) && c[2].number > t->elsewhere)
		t->elsewhere = c[2].number;
	if (!same_chain || c[1].number != t->audit_number)
		return;
	t->named = 1;
	t->kind = kind;
	t->at = c[2].number;
	(void)snprintf(t->who, sizeof(t->who), "%s", who);
	(void)snprintf(t->entry_id, sizeof(t->entry_id), "%s", stock_text(&c[5]));
	(void)snprintf(t->text, sizeof(t->text), "%s", text);
}

static int looks_anonymous(const char *id)
{
	return strlen(id) == 18 && strncmp(id, "CW", 2) == 0 && strspn(id + 2, "0123456789abcdefABCDEF") == 16;
}

static int is_near(int64_t a, int64_t b)
{
	return a > b ? a - b <= SLACK_MS : b - a <= SLACK_MS;
}

/* What the entry it names says of its state; -1: nothing. */
static int said_state(const struct subject *t)
{
	switch (t->kind) {
	case CW_AUDIT_ALLOCATE: return CW_STOCK_ALLOCATED;
	case CW_AUDIT_WRITE: return CW_STOCK_WRITTEN;
	case CW_AUDIT_VOID: return CW_STOCK_VOID;
	case CW_AUDIT_RECLAIM: return CW_STOCK_FREE;
	case CW_AUDIT_IMPORT: return ends_with(t->text, "allocated") ? CW_STOCK_ALLOCATED : ends_with(t->text, "written") ? CW_STOCK_WRITTEN : -1;
	default: return -1;
	}
}

/*
 * Do the entries about it, in whatever chain, allow this state? Chains have no common order beyond their clocks, but what happens to a
 * certificate has one: it is given out, taken back, given out; once written it is never taken back, and once void it stays so.
 */
static const char *wrong_counts(const struct subject *t)
{
	int out = t->counts[CW_AUDIT_ALLOCATE] + t->counts[CW_AUDIT_IMPORT] - t->counts[CW_AUDIT_RECLAIM];

	if (t->overtaken ||
	    ((t->kind == CW_AUDIT_ALLOCATE || t->kind == CW_AUDIT_RECLAIM) && t->elsewhere > t->at + SLACK_MS))
		return "a later entry than the one it names is about it, so its row was put back";
	if (t->state != CW_STOCK_VOID && t->counts[CW_AUDIT_VOID] > 0)
		return "it was made void, and is not void now";
	if (t->state < CW_STOCK_WRITTEN && t->counts[CW_AUDIT_WRITE] > 0)
		return "it was written, and is not written now";
	if (t->state == CW_STOCK_FREE && out != 0)
		return "it was given out and not taken back, and is free now";
	if ((t->state == CW_STOCK_ALLOCATED || t->state == CW_STOCK_WRITTEN) && out != 1)
		return "it was taken back, and is given out now";
	return NULL;
}

/* What does not fit, or NULL. */
static const char *wrong_with(const struct subject *t)
{
	int is_out = t->state == CW_STOCK_ALLOCATED || t->state == CW_STOCK_WRITTEN, ours = t->kind != CW_AUDIT_IMPORT;

	if (t->state < 0 || t->state >= CW_STOCK_STATE_COUNT)
		return "no certificate has this state";
	if (t->audit_number == 0 && t->audit_node[0] == '\0') {
		if (t->state != CW_STOCK_FREE)
			return "no entry says how it came into its state";
	} else if (!t->named) {
		return "the entry it names is missing, or is about another one";
	} else if (said_state(t) != t->state) {
		return "the entry it names says another state";
	}
	if (t->state == CW_STOCK_FREE && (t->has_id || t->station[0] != '\0' || t->allocated != 0 || t->written != 0 || t->voided != 0))
		return "it is free, but has a DeviceID, station or time";
	if (t->state != CW_STOCK_FREE && strcmp(t->device_id, t->entry_id) != 0)
		return "the entry it names is about another DeviceID";
	if (is_out && !t->has_id)
		return "it was given out, but has no DeviceID";
	if (t->anonymous && !looks_anonymous(t->device_id))
		return "its DeviceID is a station's own, but stands as made up";
	if (t->state == CW_STOCK_ALLOCATED ? strcmp(t->station, t->who) != 0 : t->station[0] != '\0' && !t->station_known)
		return "no entry says that this station had it";
	if (t->state == CW_STOCK_VOID && strcmp(t->reason, t->text) != 0)
		return "its reason is not that of its entry";
	if (t->named && ours &&
	    (!is_near(t->changed, t->at) || (t->state == CW_STOCK_ALLOCATED && !is_near(t->allocated, t->at)) ||
	     (t->state == CW_STOCK_WRITTEN && !is_near(t->written, t->at)) || (t->state == CW_STOCK_VOID && !is_near(t->voided, t->at))))
		return "its time is not that of its entry";
	return wrong_counts(t);
}

static void end_cert(struct verify *v)
{
	struct subject *t = &v->cert;
	const char *what;

	if (t->id == 0)
		return;
	what = wrong_with(t);
	if (what != NULL)
		problem(v, t->audit_node, t->audit_number, "certificate %s of product %s, %s: %s", t->device_name, t->product_key,
		        t->state >= 0 && t->state < CW_STOCK_STATE_COUNT ? cw_stock_state_name((enum cw_stock_state)t->state) : "in an unknown state",
		        what);
	t->id = 0;
}

static int on_cert(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct verify *v = arg;

	if (c[0].number != v->cert.id || v->cert.id == 0) {
		end_cert(v);
		begin_cert(v, c);
		v->last = c[0].number;
		v->told++;
	}
	if (c[ENTRY_COLUMNS].type != CW_DB_NULL)
		add_entry(v, c + ENTRY_COLUMNS);
	return 0;
}

static int walk_certs(struct verify *v)
{
	static const char sql[] =
		"SELECT c.id, c.lot, c.product_key, c.device_name, c.secrets, c.product_id, c.extra, c.state, c.device_id, c.anonymous, c.station,"
		" c.allocated, c.written, c.voided, c.changed, c.reason, c.audit_node, c.audit_number,"
		" a.node, a.number, a.at, a.what, a.who, a.device_id, a.text"
		" FROM (SELECT x.* FROM cert x CROSS JOIN lot l WHERE x.id > $1 AND l.id = x.lot AND l.visible = 1 ORDER BY x.id LIMIT $2) c"
		" LEFT JOIN audit a ON a.device_name = c.device_name AND a.product_key = c.product_key"
		" AND a.what IN ('import', 'allocate', 'write', 'void', 'reclaim') ORDER BY c.id";
	struct cw_db_value p[] = { cw_db_int(0), cw_db_int(PIECE) };
	int rc;

	v->last = INT64_MIN;
	v->cert.id = 0;
	do {
		p[0] = cw_db_int(v->last);
		v->told = 0;
		rc = cw_db_run(v->s->db, sql, p, 2, on_cert, v, NULL, v->msg);
		end_cert(v);
	} while (rc == 0 && v->told == PIECE);
	return rc;
}

/* ---- heads that were noted ---- */

static int on_mac(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	if (c[0].type == CW_DB_BLOB && c[0].bytes.len == STOCK_MAC)
		cw_hex(arg, c[0].bytes);
	return 0;
}

/* One line: NODE NUMBER MAC. */
static int judge_noted(struct verify *v, const char *line, size_t len)
{
	char node[65], said[CW_HEX_SIZE(STOCK_MAC)], is[CW_HEX_SIZE(STOCK_MAC)] = "";
	int64_t number;
	struct cw_db_value p[2];
	char text[256];
	int at = 0, rc;

	if (len >= sizeof(text))
		return cw_fail(v->msg, CW_EINVAL, "the noted heads have a line of %zu bytes; lines are like NODE NUMBER MAC", len);
	memcpy(text, line, len);
	text[len] = '\0';
	if (sscanf(text, " %64s %" SCNd64 " %64[0-9a-f] %n", node, &number, said, &at) != 3 || text[at] != '\0' || strlen(said) != 64)
		return cw_fail(v->msg, CW_EINVAL, "the noted heads have the line \"%s\"; lines are like NODE NUMBER MAC", text);
	p[0] = cw_db_text(node);
	p[1] = cw_db_int(number);
	rc = cw_db_run(v->s->db, "SELECT mac FROM audit WHERE node = $1 AND number = $2", p, 2, on_mac, is, NULL, v->msg);
	if (rc == 0 && strcmp(is, said) != 0)
		problem(v, node, number,
		        is[0] == '\0' ? "this entry was noted as the head of its chain and is gone: entries were taken out, or an older copy was put back"
				      : "this entry was noted as the head of its chain and is another one now");
	return rc;
}

static int judge_all_noted(struct verify *v, const char *heads)
{
	int rc = 0;

	while (rc == 0 && *heads != '\0') {
		size_t len = strcspn(heads, "\n"), blank = strspn(heads, " \t\r");

		if (blank < len)
			rc = judge_noted(v, heads, len);
		heads += len + (heads[len] == '\n');
	}
	return rc;
}

static int verify(struct verify *v, const char *heads)
{
	int rc = 0;

	/* SQLite's transactions see one state by themselves. */
	if (cw_db_kind(v->s->db) == CW_DB_POSTGRES)
		rc = cw_db_run(v->s->db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", NULL, 0, NULL, NULL, NULL, v->msg);
	if (rc == 0)
		rc = read_lots(v);
	if (rc == 0)
		rc = walk_chains(v);
	if (rc == 0)
		rc = walk_certs(v);
	if (rc < 0)
		return rc;
	judge_lots(v);
	return heads == NULL ? 0 : judge_all_noted(v, heads);
}

int cw_audit_verify(struct cw_stock *s, const char *heads, void (*fn)(void *arg, const struct cw_audit_problem *p), void *arg,
                    uint64_t *ret_entries, uint64_t *ret_problems, struct cw_msg *msg)
{
	struct verify v = { .s = s, .fn = fn, .arg = arg, .msg = msg };
	int rc;

	*ret_entries = *ret_problems = 0;
	if (!s->has_key)
		return cw_fail(msg, CW_ECONF, "the audit log cannot be verified without the key file");
	rc = cw_db_begin(s->db, 0, msg);
	if (rc == 0)
		rc = verify(&v, heads);
	cw_db_rollback(s->db);
	cw_free(v.lots);
	*ret_entries = v.entries;
	*ret_problems = v.problems;
	return rc;
}
