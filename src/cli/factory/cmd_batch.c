/* cmd_batch.c - `causeway factory batches` and `batch`: what there is, and what holds for each. */
#include <string.h>

#include "cli/factory/batch.h"
#include "cli/factory/factory.h"
#include "conf/value.h"

static const char list_usage[] =
	"usage: causeway factory batches [--product PRODUCTKEY] [--json]\n"
	"\n"
	"All batches by product and age: what is free, allocated, written and void in each, and what holds for it.\n";

static const char usage[] =
	"usage: causeway factory batch close NAME [--product PRODUCTKEY]\n"
	"       causeway factory batch open NAME [--product PRODUCTKEY]\n"
	"       causeway factory batch set NAME [--product PRODUCTKEY] OPTIONS\n"
	"\n" FACTORY_BATCH_USAGE
	"\n"
	"Of a closed batch nothing more is allocated; boards that have theirs still get it, and reports are taken. Where several\n"
	"products have a batch of that name, it is for all of them unless --product says one.\n";

/* ---- options -------------------------------------------------------------------------- */

void factory_batch_options(struct factory_batch_options *b, struct factory_option out[FACTORY_BATCH_OPTIONS])
{
	const struct factory_option options[FACTORY_BATCH_OPTIONS] = { { "lease", FACTORY_TEXT, &b->lease },
		                                                       { "lease-of", FACTORY_TEXT, &b->lease_of },
		                                                       { "low", FACTORY_NUMBER, &b->low } };

	*b = (struct factory_batch_options){ .low = -1 };
	memcpy(out, options, sizeof(options));
}

int factory_batch_check(const struct factory_tool *t, const struct factory_batch_options *b, struct cw_stock_batch_change *change)
{
	int of = b->lease_of == NULL ? CW_STOCK_LEASE_ANONYMOUS : cw_stock_lease_of(b->lease_of);

	*change = (struct cw_stock_batch_change){ 0 };
	if (of < 0 || (of == CW_STOCK_LEASE_NONE && b->lease_of != NULL))
		return factory_misused(t, "--lease-of %s: is anonymous or all", b->lease_of);
	if (b->lease_of != NULL && b->lease == NULL)
		return factory_misused(t, "--lease-of needs --lease");
	if (b->lease != NULL && strcmp(b->lease, "none") == 0) {
		change->what |= CW_BATCH_LEASE;
	} else if (b->lease != NULL) {
		size_t n = strlen(b->lease);

		/* a bare number would be milliseconds */
		if (n == 0 || strchr("0123456789", b->lease[n - 1]) != NULL || cw_text_to_duration_ms(b->lease, &change->lease_ms, NULL) < 0 ||
		    change->lease_ms <= 0)
			return factory_misused(t, "--lease %s: is no time like 30m, 24h or 7 days", b->lease);
		change->what |= CW_BATCH_LEASE;
		change->lease = (enum cw_stock_lease)of;
	}
	if (b->low >= 0) {
		change->what |= CW_BATCH_LOW;
		change->low = (uint64_t)b->low;
	}
	return -1;
}

/* ---- batches ------------------------------------------------------------------------------ */

struct listing {
	struct factory_tool *t;
	struct factory_table tb;
	const char *only; /* a name */
};

static int list_one(void *arg, const struct cw_stock_batch *b)
{
	struct listing *l = arg;
	uint64_t total = 0;
	char text[32];
	struct cw_json j;
	int i;

	if (l->only != NULL && strcmp(l->only, b->name) != 0)
		return 0;
	if (l->t->as_json) {
		cw_json_begin(&j, CW_VIEW_MOST);
		cw_view_batch(&j, b);
		(void)factory_list_item(l->t, &j);
		return 0;
	}
	factory_cell(&l->tb, "%s", b->name);
	factory_cell(&l->tb, "%s", b->product_key);
	factory_cell(&l->tb, "%s", b->closed ? "closed" : "open");
	for (i = 0; i < CW_STOCK_STATE_COUNT; i++) {
		factory_cell(&l->tb, "%llu", (unsigned long long)b->count[i]);
		total += b->count[i];
	}
	factory_cell(&l->tb, "%llu", (unsigned long long)total);
	factory_cell(&l->tb, "%llu", (unsigned long long)b->low);
	factory_cell(&l->tb, "%s%s%s", b->lease == CW_STOCK_LEASE_NONE ? "none" : factory_span(b->lease_ms, text),
	             b->lease == CW_STOCK_LEASE_NONE ? "" : ", ", b->lease == CW_STOCK_LEASE_NONE ? "" : cw_stock_lease_name(b->lease));
	factory_cell(&l->tb, "%s", factory_time(b->imported, text));
	factory_cell(&l->tb, "%s", b->file);
	return 0;
}

static int list(struct factory_tool *t, const char *product_key, const char *only)
{
	struct listing l = { .t = t, .only = only };
	struct cw_msg msg = { "" };
	int rc;

	if (t->as_json)
		factory_list_begin(t);
	else
		factory_table_begin(&l.tb, "BATCH|PRODUCT|STATE|>FREE|>ALLOCATED|>WRITTEN|>VOID|>TOTAL|>LOW|LEASE|IMPORTED (UTC)|FILE");
	rc = cw_stock_batches(t->stock, product_key, list_one, &l, &msg);
	if (t->as_json)
		factory_list_end(t);
	else
		factory_table_end(&l.tb);
	return rc < 0 ? factory_complain(t, "%s", msg.text) : 0;
}

int cw_factory_batches(int argc, char **argv)
{
	struct factory_tool t = { 0 };
	const char *product = NULL;
	const struct factory_option options[] = { { "product", FACTORY_TEXT, &product } };
	int rc = factory_options(&t, argc, argv, list_usage, options, 1);

	if (rc < 0)
		rc = factory_words(&t, 0, 0);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_READ);
	if (rc == 0)
		rc = list(&t, product, NULL);
	factory_close(&t);
	return rc;
}

/* ---- batch ---------------------------------------------------------------------------------- */

static int what_to_do(const struct factory_tool *t, struct cw_stock_batch_change *change)
{
	if (strcmp(t->word[0], "set") == 0)
		return change->what != 0 ? -1 : factory_misused(t, "set takes what to change: --lease, --low");
	if (strcmp(t->word[0], "close") != 0 && strcmp(t->word[0], "open") != 0)
		return factory_misused(t, "%s: is close, open or set", t->word[0]);
	if (change->what != 0)
		return factory_misused(t, "%s changes nothing else", t->word[0]);
	change->what = CW_BATCH_CLOSED;
	change->closed = strcmp(t->word[0], "close") == 0;
	return -1;
}

int cw_factory_batch(int argc, char **argv)
{
	struct factory_batch_options b;
	struct factory_option options[FACTORY_BATCH_OPTIONS + 1];
	struct cw_stock_batch_change change;
	struct factory_tool t = { 0 };
	struct cw_msg msg = { "" };
	const char *product = NULL;
	int rc;

	factory_batch_options(&b, options);
	options[FACTORY_BATCH_OPTIONS] = (struct factory_option){ "product", FACTORY_TEXT, &product };
	rc = factory_options(&t, argc, argv, usage, options, FACTORY_BATCH_OPTIONS + 1);
	if (rc < 0)
		rc = factory_words(&t, 2, 2);
	if (rc < 0)
		rc = factory_batch_check(&t, &b, &change);
	if (rc < 0)
		rc = what_to_do(&t, &change);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_CHANGE);
	if (rc == 0 && cw_stock_batch_change(t.stock, t.word[1], product, &change, &t.who, &msg) < 0)
		rc = factory_complain(&t, "%s", msg.text);
	if (rc == 0)
		rc = list(&t, product, t.word[1]);
	factory_close(&t);
	return rc;
}
