/* cmd_stats.c - `causeway factory stock` and `stats`: what is left, how fast it goes, who takes it. */
#include <string.h>

#include "base/clock.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"

#define SLOTS_MOST    1000
#define JSON_MOST     (16u << 20)

static const char stock_usage[] =
	"usage: causeway factory stock [--product PRODUCTKEY] [--json]\n"
	"\n"
	"How many certificates of each product are free, allocated, written and void; together what was imported. `low` says that\n"
	"fewer are free than a batch is set to.\n";

static const char stats_usage[] =
	"usage: causeway factory stats [--product PRODUCTKEY] [--slot TIME] [--slots N] [--since TIME] [--json]\n"
	"\n"
	"  --slot TIME     boards a slot of this length (1h), as many slots as --slots says (12), the last one ends now\n"
	"  --since TIME    stations since then (24h)\n";

/* ---- stock ------------------------------------------------------------------------------ */

struct product {
	char key[CW_STOCK_PRODUCT_KEY + 1];
	uint64_t count[CW_STOCK_STATE_COUNT];
	int low, closed; /* batches */
};

struct summing {
	struct product products[256]; /* more are summed up in the last one */
	size_t count;
};

static int sum_one(void *arg, const struct cw_stock_batch *b)
{
	struct summing *s = arg;
	struct product *p = s->count == 0 ? NULL : &s->products[s->count - 1];
	int i;

	if ((p == NULL || strcmp(p->key, b->product_key) != 0) && s->count < sizeof(s->products) / sizeof(s->products[0])) {
		p = &s->products[s->count++];
		*p = (struct product){ .low = 0 };
		(void)snprintf(p->key, sizeof(p->key), "%s", b->product_key);
	} else if (p != NULL && strcmp(p->key, b->product_key) != 0) {
		(void)snprintf(p->key, sizeof(p->key), "(others)");
	}
	for (i = 0; p != NULL && i < CW_STOCK_STATE_COUNT; i++)
		p->count[i] += b->count[i];
	if (p != NULL) {
		p->closed += b->closed;
		p->low += !b->closed && b->count[CW_STOCK_FREE] < b->low;
	}
	return 0;
}

static void print_counts(struct factory_table *tb, const char *what, const uint64_t count[CW_STOCK_STATE_COUNT], const char *note)
{
	uint64_t total = 0;
	int i;

	factory_cell(tb, "%s", what);
	for (i = 0; i < CW_STOCK_STATE_COUNT; i++) {
		factory_cell(tb, "%llu", (unsigned long long)count[i]);
		total += count[i];
	}
	factory_cell(tb, "%llu", (unsigned long long)total);
	if (note != NULL)
		factory_cell(tb, "%s", note);
}

static void print_stock(const struct summing *s)
{
	uint64_t all[CW_STOCK_STATE_COUNT] = { 0 };
	struct factory_table tb;
	char note[80];
	size_t i;
	int k;

	factory_table_begin(&tb, "PRODUCT|>FREE|>ALLOCATED|>WRITTEN|>VOID|>TOTAL|NOTE");
	for (i = 0; i < s->count; i++) {
		const struct product *p = &s->products[i];

		note[0] = '\0';
		if (p->low > 0)
			(void)snprintf(note, sizeof(note), "batches low: %d", p->low);
		if (p->closed > 0)
			(void)snprintf(note + strlen(note), sizeof(note) - strlen(note), "%sbatches closed: %d", note[0] == '\0' ? "" : ", ", p->closed);
		print_counts(&tb, p->key, p->count, note);
		for (k = 0; k < CW_STOCK_STATE_COUNT; k++)
			all[k] += p->count[k];
	}
	if (s->count != 1)
		print_counts(&tb, "all", all, "");
	factory_table_end(&tb);
}

static int json_stock(struct factory_tool *t, const struct summing *s)
{
	size_t i;
	int k, rc = 0;

	factory_list_begin(t);
	for (i = 0; i < s->count && rc == 0; i++) {
		const struct product *p = &s->products[i];
		uint64_t total = 0;
		struct cw_json j;

		cw_json_begin(&j, CW_VIEW_MOST);
		cw_json_map(&j);
		cw_json_field(&j, "productKey", p->key);
		cw_json_text(&j, "count");
		cw_json_map(&j);
		for (k = 0; k < CW_STOCK_STATE_COUNT; k++) {
			cw_json_text(&j, cw_stock_state_name((enum cw_stock_state)k));
			cw_json_uint(&j, p->count[k]);
			total += p->count[k];
		}
		cw_json_end_map(&j);
		cw_json_text(&j, "total");
		cw_json_uint(&j, total);
		cw_json_text(&j, "lowBatches");
		cw_json_int(&j, p->low);
		cw_json_text(&j, "closedBatches");
		cw_json_int(&j, p->closed);
		cw_json_end_map(&j);
		rc = factory_list_item(t, &j);
	}
	factory_list_end(t);
	return rc;
}

int cw_factory_stock(int argc, char **argv)
{
	static struct summing sum;
	struct factory_tool t = { 0 };
	struct cw_msg msg = { "" };
	const char *product = NULL;
	const struct factory_option options[] = { { "product", FACTORY_TEXT, &product } };
	int rc = factory_options(&t, argc, argv, stock_usage, options, 1);

	if (rc < 0)
		rc = factory_words(&t, 0, 0);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_READ);
	if (rc == 0 && cw_stock_batches(t.stock, product, sum_one, &sum, &msg) < 0)
		rc = factory_complain(&t, "%s", msg.text);
	if (rc == 0 && t.as_json)
		rc = json_stock(&t, &sum);
	else if (rc == 0)
		print_stock(&sum);
	factory_close(&t);
	return rc;
}

/* ---- stats -------------------------------------------------------------------------------- */

struct stats {
	struct factory_tool t;
	const char *product;
	int64_t slot_ms, slots, since, now;
	struct cw_stock_figures figures;
	uint64_t allocated[SLOTS_MOST], written[SLOTS_MOST];
	struct factory_table tb;
	struct cw_json j;
};

static int table_station(void *arg, const struct cw_stock_station *st)
{
	struct stats *s = arg;
	char text[24];

	factory_cell(&s->tb, "%s", st->name);
	factory_cell(&s->tb, "%llu", (unsigned long long)st->allocated);
	factory_cell(&s->tb, "%llu", (unsigned long long)st->written);
	factory_cell(&s->tb, "%llu", (unsigned long long)st->unreported);
	factory_cell(&s->tb, "%s", factory_time(st->last, text));
	return 0;
}

static int json_station(void *arg, const struct cw_stock_station *st)
{
	cw_view_station(&((struct stats *)arg)->j, st);
	return 0;
}

/* How long the free ones last at the rate of the last hour, ms; 0: nothing went out. */
static int64_t lasts(const struct cw_stock_figures *f)
{
	return f->allocated_hour == 0 ? 0 : (int64_t)(f->count[CW_STOCK_FREE] * 3600000 / f->allocated_hour);
}

static int print_stats(struct stats *s, struct cw_msg *msg)
{
	const struct cw_stock_figures *f = &s->figures;
	char text[32];
	int64_t i;
	int rc;

	factory_table_begin(&s->tb, "|>FREE|>ALLOCATED|>WRITTEN|>VOID|>TOTAL");
	print_counts(&s->tb, "stock", f->count, NULL);
	factory_table_end(&s->tb);
	printf("\nlast hour   %llu allocated, %llu written\n", (unsigned long long)f->allocated_hour, (unsigned long long)f->written_hour);
	printf("last day    %llu allocated, %llu written\n", (unsigned long long)f->allocated_day, (unsigned long long)f->written_day);
	if (f->anonymous > 0)
		printf("unreported  %llu allocated without a DeviceID of the station's own (query --anonymous; reclaim takes them back)\n",
		       (unsigned long long)f->anonymous);
	if (lasts(f) > 0)
		printf("stock lasts %s at the last hour's rate\n", factory_span(lasts(f) / 60000 * 60000, text));
	putchar('\n');
	factory_table_begin(&s->tb, "UNTIL (UTC)|>ALLOCATED|>WRITTEN");
	for (i = 0; i < s->slots; i++) {
		factory_cell(&s->tb, "%s", factory_time(s->now - (s->slots - 1 - i) * s->slot_ms, text));
		factory_cell(&s->tb, "%llu", (unsigned long long)s->allocated[i]);
		factory_cell(&s->tb, "%llu", (unsigned long long)s->written[i]);
	}
	factory_table_end(&s->tb);
	putchar('\n');
	factory_table_begin(&s->tb, "STATION|>ALLOCATED|>WRITTEN|>UNREPORTED|LAST (UTC)");
	rc = cw_stock_stations(s->t.stock, s->since, table_station, s, msg);
	factory_table_end(&s->tb);
	return rc;
}

static int json_stats(struct stats *s, struct cw_msg *msg)
{
	int rc;

	cw_json_begin(&s->j, JSON_MOST);
	cw_json_map(&s->j);
	cw_json_text(&s->j, "figures");
	cw_view_figures(&s->j, &s->figures);
	cw_json_text(&s->j, "lastsMs");
	if (lasts(&s->figures) > 0)
		cw_json_int(&s->j, lasts(&s->figures));
	else
		cw_json_null(&s->j);
	cw_json_text(&s->j, "rate");
	cw_view_rate(&s->j, s->now, s->slot_ms, (size_t)s->slots, s->allocated, s->written);
	cw_json_text(&s->j, "stations");
	cw_json_array(&s->j);
	rc = cw_stock_stations(s->t.stock, s->since, json_station, s, msg);
	cw_json_end_array(&s->j);
	cw_json_end_map(&s->j);
	if (rc < 0)
		cw_json_drop(&s->j);
	else
		(void)factory_json(&s->t, &s->j);
	return rc;
}

int cw_factory_stats(int argc, char **argv)
{
	static struct stats s; /* too large for a stack */
	const struct factory_option options[] = { { "product", FACTORY_TEXT, &s.product },
		                                  { "slot", FACTORY_DURATION, &s.slot_ms },
		                                  { "slots", FACTORY_NUMBER, &s.slots },
		                                  { "since", FACTORY_TIME, &s.since } };
	struct cw_msg msg = { "" };
	int rc;

	s.now = cw_clock_wall_ms();
	s.slot_ms = 3600000;
	s.slots = 12;
	s.since = s.now - 86400000;
	rc = factory_options(&s.t, argc, argv, stats_usage, options, 4);
	if (rc < 0)
		rc = factory_words(&s.t, 0, 0);
	if (rc < 0 && (s.slots < 1 || s.slots > SLOTS_MOST || s.slot_ms < 1000))
		rc = factory_misused(&s.t, "--slots is 1 to %d, --slot a second at least", SLOTS_MOST);
	if (rc >= 0)
		return rc;
	rc = factory_open(&s.t, FACTORY_READ);
	if (rc == 0 && (cw_stock_figures(s.t.stock, s.product, &s.figures, &msg) < 0 ||
	                cw_stock_rate(s.t.stock, s.product, s.slot_ms, (size_t)s.slots, s.allocated, s.written, &msg) < 0 ||
	                (s.t.as_json ? json_stats(&s, &msg) : print_stats(&s, &msg)) < 0))
		rc = factory_complain(&s.t, "%s", msg.text);
	factory_close(&s.t);
	return rc;
}
