/* audit.c - reading the log; see audit.h. Its end grows in chain.c, verify.c looks for what was changed. */
#include "factory/stock/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/digits.h"
#include "factory/stock/stock_impl.h"

#define PIECE 1000

/* By time, entries of one moment by chain and number; a static text for each index that may lead. */
#define COLUMNS "SELECT a.node, a.number, a.at, a.what, a.who, a.address, a.product_key, a.device_name, a.device_id, a.text FROM audit a WHERE "
#define REST                                                                                                             \
	" AND (CAST($1 AS TEXT) IS NULL OR a.node = $1) AND (CAST($2 AS TEXT) IS NULL OR a.what = $2)"                       \
	" AND (CAST($3 AS TEXT) IS NULL OR a.who = $3) AND (CAST($4 AS TEXT) IS NULL OR a.product_key = $4)"                 \
	" AND (CAST($5 AS TEXT) IS NULL OR a.device_name = $5) AND (CAST($6 AS TEXT) IS NULL OR a.device_id = $6)"
#define OLDEST " AND (a.at, a.node, a.number) > ($9, $10, $11) ORDER BY a.at, a.node, a.number LIMIT $12"
#define NEWEST " AND (a.at, a.node, a.number) < ($9, $10, $11) ORDER BY a.at DESC, a.node DESC, a.number DESC LIMIT $12"
#define BY_TIME COLUMNS "a.at >= $7 AND a.at < $8" REST
#define BY_DEVICE COLUMNS "a.device_name = $5 AND +a.at >= $7 AND +a.at < $8" REST

static const char *const statements[2][2] = { { BY_TIME OLDEST, BY_TIME NEWEST }, { BY_DEVICE OLDEST, BY_DEVICE NEWEST } };

struct reading {
	int (*fn)(void *arg, const struct cw_audit_entry *e);
	void *arg;
	size_t told;
	int64_t at, number; /* of the last one */
	char node[65];
};

static int on_entry(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct reading *r = arg;
	const struct cw_audit_entry e = {
		.node = stock_text(&c[0]),
		.number = c[1].number,
		.at = c[2].number,
		.what = stock_text(&c[3]),
		.who = stock_text(&c[4]),
		.address = stock_text(&c[5]),
		.product_key = stock_text(&c[6]),
		.device_name = stock_text(&c[7]),
		.device_id = stock_text(&c[8]),
		.text = stock_text(&c[9]),
	};

	r->told++;
	r->at = e.at;
	r->number = e.number;
	(void)snprintf(r->node, sizeof(r->node), "%s", e.node);
	return r->fn(r->arg, &e);
}

static const char *given(const char *text)
{
	return text == NULL || text[0] == '\0' ? NULL : text;
}

/* Behind every node name: see shelf.c. */
#define LAST_NODE "\xf4\x8f\xbf\xbf"

int cw_audit_each(struct cw_stock *s, const struct cw_audit_filter *filter, int (*fn)(void *arg, const struct cw_audit_entry *e), void *arg,
                  struct cw_msg *msg)
{
	const char *texts[] = { given(filter->node),        given(filter->what),        given(filter->who),
		                given(filter->product_key), given(filter->device_name), given(filter->device_id) };
	const char *sql = statements[texts[4] != NULL][filter->newest != 0];
	struct reading r = { .fn = fn, .arg = arg, .at = filter->newest ? INT64_MAX : INT64_MIN };
	size_t i, left = filter->most, want;
	struct cw_db_value p[12];
	int rc = 0;

	(void)snprintf(r.node, sizeof(r.node), "%s", filter->newest ? LAST_NODE : "");
	for (i = 0; rc == 0 && i < 6; i++) {
		p[i] = cw_db_text(texts[i]);
		if (texts[i] != NULL)
			rc = stock_check_text("what is sought", texts[i], CW_STOCK_DEVICE_ID, msg);
	}
	p[6] = cw_db_int(filter->since);
	p[7] = cw_db_int(filter->until != 0 ? filter->until : INT64_MAX);
	do {
		char node[sizeof(r.node)]; /* each row overwrites the last one's */

		memcpy(node, r.node, sizeof(node));
		want = filter->most > 0 && left < PIECE ? left : PIECE;
		p[8] = cw_db_int(r.at);
		p[9] = cw_db_text(node);
		p[10] = cw_db_int(r.number);
		p[11] = cw_db_int((int64_t)want);
		r.told = 0;
		if (rc == 0)
			rc = cw_db_run(s->db, sql, p, 12, on_entry, &r, NULL, msg);
		left -= filter->most > 0 ? r.told : 0;
	} while (rc == 0 && r.told == want && (filter->most == 0 || left > 0));
	return rc;
}

struct heads {
	void (*fn)(void *arg, const char *line);
	void *arg;
};

static int on_head(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	const struct heads *h = arg;
	char mac[CW_HEX_SIZE(STOCK_MAC)] = "", line[65 + 21 + sizeof(mac)];

	if (c[2].type == CW_DB_BLOB && c[2].bytes.len == STOCK_MAC)
		cw_hex(mac, c[2].bytes);
	(void)snprintf(line, sizeof(line), "%s %" PRId64 " %s", stock_text(&c[0]), c[1].number, mac);
	h->fn(h->arg, line);
	return 0;
}

int cw_audit_heads(struct cw_stock *s, void (*fn)(void *arg, const char *line), void *arg, struct cw_msg *msg)
{
	struct heads h = { fn, arg };

	return cw_db_run(s->db, "SELECT node, number, mac FROM chain ORDER BY node", NULL, 0, on_head, &h, NULL, msg);
}
