/*
 * What is in stock, for operators: batches and their counts, look-ups by everything, void, reclaim, leases, export, boards, figures.
 * covers: B24 B28 B29
 */
#include "standing.h"

#define HOUR INT64_C(3600000)

static enum cw_stock_answer ask(enum cw_stock_action action, const char *product, const char *id, const char *station, char *ret_name)
{
	struct cw_stock_ask a = world_ask(action, id);

	a.product_key = product;
	a.who.name = station;
	world_serve(s, &a, 1);
	if (ret_name != NULL)
		strcpy(ret_name, action == CW_STOCK_ALLOCATE ? a.cert.device_name : a.cert.device_id);
	return a.answer;
}

static void allocate(const char *id)
{
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, id, "line-1", NULL), CW_STOCK_OK);
}

static void report(const char *id)
{
	assert_int_equal(ask(CW_STOCK_REPORT, PK, id, "line-1", NULL), CW_STOCK_OK);
}

/* ---- batches ---- */

struct batches {
	struct cw_stock_batch list[8];
	size_t count;
};

static int on_batch(void *arg, const struct cw_stock_batch *b)
{
	struct batches *all = arg;

	all->list[all->count++] = *b;
	return 0;
}

static void read_batches(const char *product, struct batches *all)
{
	all->count = 0;
	ok(cw_stock_batches(s, product, on_batch, all, &msg));
}

static void batches_are_counted(void **state)
{
	struct batches all;
	const uint64_t *n;

	world_import(s, PK, "2026-11", 0, 20);
	cw_clock_fake(1, NOW + HOUR);
	world_import(s, PK, "2026-11", 20, 10);
	world_import(s, "a1Other0002", "2026-11", 0, 3);
	world_import(s, PK, "2026-12", 100, 4);
	allocate("SN01");
	allocate("SN02");
	report("SN02");
	ok(cw_stock_void(s, PK, "dev-0029", "scratched", &tester, &msg));
	read_batches(NULL, &all);
	assert_int_equal(all.count, 3);
	assert_string_equal(all.list[0].product_key, PK);
	assert_string_equal(all.list[0].name, "2026-11");
	assert_string_equal(all.list[0].file, "test.csv");
	assert_int_equal(all.list[0].created, NOW);
	assert_int_equal(all.list[0].imported, NOW + HOUR);
	n = all.list[0].count;
	assert_int_equal(n[CW_STOCK_FREE], 27);
	assert_int_equal(n[CW_STOCK_ALLOCATED], 1);
	assert_int_equal(n[CW_STOCK_WRITTEN], 1);
	assert_int_equal(n[CW_STOCK_VOID], 1);
	assert_string_equal(all.list[1].name, "2026-12");
	assert_int_equal(all.list[1].count[CW_STOCK_FREE], 4);
	assert_string_equal(all.list[2].product_key, "a1Other0002");
	read_batches("a1Other0002", &all);
	assert_int_equal(all.count, 1);
	assert_int_equal(all.list[0].count[CW_STOCK_FREE], 3);
}

static int on_count(void *arg, const struct cw_stock_row *row)
{
	++*(size_t *)arg;
	return 0;
}

static size_t count(const struct cw_stock_filter *f)
{
	size_t n = 0;

	ok(cw_stock_query(s, f, on_count, &n, &msg));
	return n;
}

/* An import that has not come to its end: nobody sees any of it. */
static void unfinished_imports_count_nowhere(void **state)
{
	const struct cw_lot_conf conf = { .batch = "half", .file = "half.csv", .who = tester };
	const struct cw_stock_filter any = { .state = -1 }, newest = { .state = -1, .newest = 1 }, text = { .state = -1, .text = "half" };
	struct cw_stock_figures f;
	struct batches all;
	struct cw_lot *lot = NULL;
	char dn[33];
	unsigned i;

	world_import(s, PK, "whole", 0, 5);
	ok(cw_lot_begin(s, &conf, &lot, &msg));
	for (i = 0; i < 1100; i++) { /* more than a piece of it is in the database */
		struct cw_lot_row row = { .product_key = PK, .device_name = dn, .device_secret = DS, .product_secret = PS };

		(void)snprintf(dn, sizeof(dn), "half-%04u", i);
		ok(cw_lot_add(lot, &row, &msg));
	}
	assert_true(world_number(s, "SELECT COUNT(*) FROM cert") > 500);
	read_batches(NULL, &all);
	assert_int_equal(all.count, 1);
	assert_int_equal(count(&any), 5);
	assert_int_equal(count(&newest), 5);
	assert_int_equal(count(&text), 0);
	ok(cw_stock_figures(s, NULL, &f, &msg));
	assert_int_equal(f.count[CW_STOCK_FREE], 5);
	assert_int_equal(cw_stock_void(s, PK, "half-0000", "no", &tester, &msg), CW_ENOENT);
	cw_lot_abandon(lot);
}

static void batches_are_changed(void **state)
{
	struct cw_stock_batch_change close = { .what = CW_BATCH_CLOSED, .closed = 1 };
	struct cw_stock_batch_change lease = { .what = CW_BATCH_LEASE | CW_BATCH_LOW, .lease = CW_STOCK_LEASE_ALL, .lease_ms = 60000, .low = 7 };
	struct batches all;

	world_import(s, PK, "2026-11", 0, 2);
	world_import(s, "a1Other0002", "2026-11", 0, 2);
	ok(cw_stock_batch_change(s, "2026-11", NULL, &close, &tester, &msg));
	ok(cw_stock_batch_change(s, "2026-11", PK, &lease, &tester, &msg));
	read_batches(NULL, &all);
	assert_int_equal(all.list[0].closed, 1);
	assert_int_equal(all.list[1].closed, 1);
	assert_int_equal(all.list[0].lease, CW_STOCK_LEASE_ALL);
	assert_int_equal(all.list[0].lease_ms, 60000);
	assert_int_equal(all.list[0].low, 7);
	assert_int_equal(all.list[1].lease, CW_STOCK_LEASE_NONE);
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "SN01", "line-1", NULL), CW_STOCK_BATCH_CLOSED);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'batch'"), 3);
	says(cw_stock_batch_change(s, "no", NULL, &close, &tester, &msg), CW_ENOENT, "no batch \"no\"");
	says(cw_stock_batch_change(s, "2026-11", "a1None", &close, &tester, &msg), CW_ENOENT, "a1None");
	lease.lease_ms = 0;
	says(cw_stock_batch_change(s, "2026-11", PK, &lease, &tester, &msg), CW_EINVAL, "lease");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'batch'"), 3);
}

/* ---- look-ups ---- */

struct rows {
	struct {
		int64_t id;
		char name[33], device_id[129], station[65], batch[65];
		enum cw_stock_state state;
	} list[64];
	size_t count;
};

static int on_row(void *arg, const struct cw_stock_row *row)
{
	struct rows *r = arg;

	assert_true(r->count < 64);
	r->list[r->count].id = row->id;
	r->list[r->count].state = row->state;
	strcpy(r->list[r->count].name, row->device_name);
	strcpy(r->list[r->count].device_id, row->device_id);
	strcpy(r->list[r->count].station, row->station);
	strcpy(r->list[r->count].batch, row->batch);
	r->count++;
	return 0;
}

/* Names of what fits, with blanks between. */
static const char *names(const struct cw_stock_filter *f)
{
	static char out[2048];
	struct rows r = { .count = 0 };
	size_t i;

	ok(cw_stock_query(s, f, on_row, &r, &msg));
	out[0] = '\0';
	for (i = 0; i < r.count; i++)
		(void)snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i > 0 ? " " : "", r.list[i].name);
	return out;
}

static void rows_are_found(void **state)
{
	struct cw_stock_filter f = { .state = -1 };
	struct rows r = { .count = 0 };

	world_import(s, PK, "one", 0, 4);
	world_import(s, PK, "two", 4, 2);
	world_import(s, "a1Other0002", "two", 4, 2);
	allocate("SN01");
	cw_clock_fake(1, NOW + 1000);
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "SN02", "line-2", NULL), CW_STOCK_OK);
	cw_clock_fake(1, NOW + 2000);
	report("SN01");
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "", "line-2", NULL), CW_STOCK_OK);

	assert_string_equal(names(&f), "dev-0000 dev-0001 dev-0002 dev-0003 dev-0004 dev-0005 dev-0004 dev-0005");
	f.device_name = "dev-0000";
	ok(cw_stock_query(s, &f, on_row, &r, &msg));
	assert_int_equal(r.count, 1);
	assert_string_equal(r.list[0].device_id, "SN01");
	assert_string_equal(r.list[0].station, "line-1");
	assert_string_equal(r.list[0].batch, "one");
	assert_int_equal(r.list[0].state, CW_STOCK_WRITTEN);
	f = (struct cw_stock_filter){ .state = -1, .device_name = "dev-0004" };
	assert_string_equal(names(&f), "dev-0004 dev-0004");
	f.product_key = "a1Other0002";
	assert_string_equal(names(&f), "dev-0004");
	f = (struct cw_stock_filter){ .state = -1, .device_id = "SN02" };
	assert_string_equal(names(&f), "dev-0001");
	f = (struct cw_stock_filter){ .state = -1, .device_id = "sn02" };
	assert_string_equal(names(&f), "");
	f = (struct cw_stock_filter){ .state = -1, .station = "line-2" };
	assert_string_equal(names(&f), "dev-0001 dev-0002");
	f = (struct cw_stock_filter){ .state = -1, .batch = "two" };
	assert_string_equal(names(&f), "dev-0004 dev-0005 dev-0004 dev-0005");
	f = (struct cw_stock_filter){ .state = CW_STOCK_ALLOCATED };
	assert_string_equal(names(&f), "dev-0001 dev-0002");
	f.anonymous = 1;
	assert_string_equal(names(&f), "dev-0002");
	f = (struct cw_stock_filter){ .state = -1, .since = NOW + 1000, .until = NOW + 2000 };
	assert_string_equal(names(&f), "dev-0001");
	f.until = 0;
	assert_string_equal(names(&f), "dev-0000 dev-0001 dev-0002");
	f = (struct cw_stock_filter){ .state = -1, .newest = 1, .most = 3 };
	assert_string_equal(names(&f), "dev-0002 dev-0000 dev-0001");
	f = (struct cw_stock_filter){ .state = -1, .text = "SN0" };
	assert_string_equal(names(&f), "dev-0000 dev-0001");
	f.text = "dev-0003";
	assert_string_equal(names(&f), "dev-0003");
	f.text = "ev-0003";
	assert_string_equal(names(&f), "");
	f = (struct cw_stock_filter){ .state = CW_STOCK_FREE, .text = "dev", .batch = "two", .product_key = PK };
	assert_string_equal(names(&f), "dev-0004 dev-0005");
	f = (struct cw_stock_filter){ .state = -1, .text = "\xff" };
	says(cw_stock_query(s, &f, on_row, &r, &msg), CW_EINVAL, "UTF-8");
}

static void pages_follow_each_other(void **state)
{
	struct cw_stock_filter f = { .state = -1, .most = 4 };
	struct rows r = { .count = 0 };
	size_t had;

	world_import(s, PK, "one", 0, 10);
	do {
		had = r.count;
		ok(cw_stock_query(s, &f, on_row, &r, &msg));
		f.after = r.list[r.count - 1].id;
	} while (r.count - had == 4);
	assert_int_equal(r.count, 10);
	assert_string_equal(r.list[4].name, "dev-0004");
	assert_string_equal(r.list[9].name, "dev-0009");
}

static int on_stop(void *arg, const struct cw_stock_row *row)
{
	return ++*(int *)arg == 3 ? 42 : 0;
}

static void a_walk_can_be_ended(void **state)
{
	const struct cw_stock_filter f = { .state = -1 };
	int n = 0;

	world_import(s, PK, "one", 0, 10);
	assert_int_equal(cw_stock_query(s, &f, on_stop, &n, &msg), 42);
	assert_int_equal(n, 3);
}

/* A MAC in another form than the one that the product stores. */
static void macs_are_found_in_any_form(void **state)
{
	const struct cw_stock_product p = { .product_key = PK, .normalize_mac = 1 };
	struct cw_stock_filter f = { .state = -1, .device_id = "aa:bb:cc:dd:ee:0f" };
	struct cw_stock_cert cert;

	world_import(s, PK, "one", 0, 3);
	world_import(s, "a1Other0002", "one", 3, 3);
	ok(cw_stock_product_put(s, &p, &tester, &msg));
	allocate("AA-BB-CC-DD-EE-0F");
	assert_int_equal(ask(CW_STOCK_ALLOCATE, "a1Other0002", "AABBCCDDEE0F", "line-1", NULL), CW_STOCK_OK);
	assert_string_equal(names(&f), "dev-0000");
	ok(cw_stock_find(s, NULL, "aa:bb:cc:dd:ee:0f", NULL, &cert, &msg));
	assert_string_equal(cert.device_name, "dev-0000");
	explicit_bzero(&cert, sizeof(cert));
}

/* More than is sorted at once, so that certificates are scanned in the order asked for: the same ones are found. */
static void many_are_found_as_few_are(void **state)
{
	struct cw_stock_ask *asks = calloc(MOST, sizeof(*asks));
	static char ids[MOST][24];
	struct cw_stock_filter f = { .state = -1 };
	struct batches all;
	unsigned i;

	world_import(s, PK, "small", 0, 700);
	world_import(s, PK, "large", 1000, 10300);
	for (i = 0; i < MOST; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "SN%04u", i);
		asks[i] = world_ask(CW_STOCK_ALLOCATE, ids[i]);
	}
	world_serve(s, asks, MOST);
	free(asks);
	assert_int_equal(count(&f), 11000);
	f.newest = 1;
	assert_int_equal(count(&f), 11000);
	f = (struct cw_stock_filter){ .state = CW_STOCK_FREE };
	assert_int_equal(count(&f), 9800);
	f.newest = 1;
	assert_int_equal(count(&f), 9800);
	f = (struct cw_stock_filter){ .state = -1, .batch = "large" };
	assert_int_equal(count(&f), 10300);
	f = (struct cw_stock_filter){ .state = -1, .text = "dev-" };
	assert_int_equal(count(&f), 11000);
	f.newest = 1;
	f.most = 1000;
	assert_int_equal(count(&f), 1000);
	f = (struct cw_stock_filter){ .state = -1, .text = "dev-", .batch = "small" };
	assert_int_equal(count(&f), 700);
	f = (struct cw_stock_filter){ .state = CW_STOCK_ALLOCATED, .station = "line-1", .batch = "large", .newest = 1 };
	assert_int_equal(count(&f), 500);
	f = (struct cw_stock_filter){ .state = -1, .since = NOW };
	assert_int_equal(count(&f), 1200);
	f = (struct cw_stock_filter){ .state = -1, .text = "SN000" };
	assert_int_equal(count(&f), 10);
	read_batches(PK, &all);
	assert_int_equal(all.list[0].count[CW_STOCK_FREE] + all.list[0].count[CW_STOCK_ALLOCATED], 700);
}

/* ---- void ---- */

static void certificates_are_made_void(void **state)
{
	struct cw_stock_filter f = { .state = CW_STOCK_VOID };
	char first[33], second[33];
	struct rows r = { .count = 0 };

	world_import(s, PK, "one", 0, 3);
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "SN01", "line-1", first), CW_STOCK_OK);
	report("SN01");
	ok(cw_stock_void(s, PK, first, "board burned", &tester, &msg));
	says(cw_stock_void(s, PK, first, "again", &tester, &msg), CW_EEXIST, "board burned");
	says(cw_stock_void(s, PK, "dev-none", "x", &tester, &msg), CW_ENOENT, "dev-none");
	says(cw_stock_void(s, PK, "dev-0002", "", &tester, &msg), CW_EINVAL, "reason");
	says(cw_stock_void(s, PK, "dev-0002", "a\nb", &tester, &msg), CW_EINVAL, "control character");
	says(cw_stock_void(s, PK, "dev-0002", "a\xc3", &tester, &msg), CW_EINVAL, "UTF-8");
	ok(cw_stock_query(s, &f, on_row, &r, &msg));
	assert_int_equal(r.count, 1);
	assert_string_equal(r.list[0].device_id, "SN01");
	/* The board may have another one. */
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "SN01", "line-1", second), CW_STOCK_OK);
	assert_string_not_equal(first, second);
	/* And one that is free is gone. */
	ok(cw_stock_void(s, PK, "dev-0002", "lost \xe2\x82\xac", &tester, &msg));
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "SN02", "line-1", NULL), CW_STOCK_OUT_OF_STOCK);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'void' AND who = 'cli:test'"), 2);
	world_check(s);
}

/* ---- reclaim ---- */

static void allocations_are_taken_back(void **state)
{
	struct cw_stock_filter f = { .state = CW_STOCK_WRITTEN, .station = "line-1" }, last = { .state = -1, .newest = 1, .most = 1 };
	struct rows r = { .count = 0 };
	size_t n;

	world_import(s, PK, "one", 0, 4);
	allocate("SN01");
	allocate("SN02");
	report("SN02");
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "SN03", "line-2", NULL), CW_STOCK_OK);
	ok(cw_stock_reclaim(s, &f, 0, &tester, on_row, &r, &n, &msg));
	assert_int_equal(n, 1);
	assert_string_equal(r.list[0].device_id, "SN01");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'reclaim'"), 0);
	cw_clock_fake(1, NOW + 5000);
	r.count = 0;
	ok(cw_stock_reclaim(s, &f, 1, &tester, on_row, &r, &n, &msg));
	assert_int_equal(n, 1);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.list[0].device_id, "SN01"); /* as it was */
	assert_string_equal(r.list[0].station, "line-1");
	ok(cw_stock_reclaim(s, &f, 1, &tester, NULL, NULL, &n, &msg));
	assert_int_equal(n, 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'reclaim' AND device_id = 'SN01' AND device_name = 'dev-0000'"
					 " AND text LIKE '%line-1%'"), 1);
	assert_string_equal(names(&last), "dev-0000");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0 AND device_id IS NULL AND station = ''"), 2);
	assert_int_equal(ask(CW_STOCK_REPORT, PK, "SN01", "line-1", NULL), CW_STOCK_UNKNOWN_DEVICE);
	world_check(s);
}

/* More than one transaction takes. */
static void many_are_taken_back(void **state)
{
	struct cw_stock_ask *asks = calloc(MOST, sizeof(*asks));
	struct cw_stock_filter f = { .state = -1, .newest = 1, .most = 700 };
	unsigned i;
	size_t n;

	world_import(s, PK, "one", 0, MOST);
	for (i = 0; i < MOST; i++)
		asks[i] = world_ask(CW_STOCK_ALLOCATE, "");
	world_serve(s, asks, MOST);
	free(asks);
	ok(cw_stock_reclaim(s, &f, 1, &tester, NULL, NULL, &n, &msg));
	assert_int_equal(n, 700);
	f.most = 0;
	ok(cw_stock_reclaim(s, &f, 1, &tester, NULL, NULL, &n, &msg));
	assert_int_equal(n, MOST - 700);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), MOST);
	world_check(s);
}

static void leases_end(void **state)
{
	struct cw_stock_batch_change all = { .what = CW_BATCH_LEASE, .lease = CW_STOCK_LEASE_ALL, .lease_ms = 60000 };
	struct cw_stock_batch_change ours = { .what = CW_BATCH_LEASE, .lease = CW_STOCK_LEASE_ANONYMOUS, .lease_ms = 60000 };
	char made_up[129];
	struct cw_stock_ask a;
	size_t n;

	world_import(s, PK, "one", 0, 3);
	world_import(s, "a1Other0002", "one", 0, 3);
	ok(cw_stock_batch_change(s, "one", PK, &all, &tester, &msg));
	ok(cw_stock_batch_change(s, "one", "a1Other0002", &ours, &tester, &msg));
	allocate("SN01");
	allocate("SN02");
	report("SN02");
	assert_int_equal(ask(CW_STOCK_ALLOCATE, "a1Other0002", "SN01", "line-1", NULL), CW_STOCK_OK);
	a = world_ask(CW_STOCK_ALLOCATE, "");
	a.product_key = "a1Other0002";
	world_serve(s, &a, 1);
	strcpy(made_up, a.cert.device_id);
	cw_clock_fake(1, NOW + 59999);
	ok(cw_stock_reclaim_leases(s, &n, &msg));
	assert_int_equal(n, 0);
	cw_clock_fake(1, NOW + 60000);
	ok(cw_stock_reclaim_leases(s, &n, &msg));
	assert_int_equal(n, 2); /* SN01 of the first, the made up one of the second */
	assert_int_equal(ask(CW_STOCK_REPORT, PK, "SN01", "line-1", NULL), CW_STOCK_UNKNOWN_DEVICE);
	assert_int_equal(ask(CW_STOCK_REPORT, "a1Other0002", made_up, "line-1", NULL), CW_STOCK_UNKNOWN_DEVICE);
	assert_int_equal(ask(CW_STOCK_REPORT, "a1Other0002", "SN01", "line-1", NULL), CW_STOCK_OK);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'reclaim' AND who = 'lease'"), 2);
	world_check(s);
}

/* ---- with secrets ---- */

struct exported {
	struct cw_stock *other;
	size_t count;
	char names[256];
};

static int on_export(void *arg, const struct cw_stock_row *row, const struct cw_stock_cert *cert)
{
	struct exported *x = arg;

	/* Whoever looks at the log by another connection finds the entry before the first row has been told. */
	assert_int_equal(world_number(x->other, "SELECT COUNT(*) FROM audit WHERE what = 'export' AND text LIKE '%batch one%'"), 1);
	assert_string_equal(cert->device_secret, DS);
	assert_string_equal(cert->product_secret, PS);
	assert_string_equal(cert->device_name, row->device_name);
	assert_int_not_equal(cert->crc, 0);
	x->count++;
	return 0;
}

static void exports_are_logged_first(void **state)
{
	const struct cw_stock_filter f = { .state = -1, .batch = "one" };
	struct exported x = { .other = world_open_as(*state, "two") };

	world_import(s, PK, "one", 0, 5);
	ok(cw_stock_export(s, &f, &tester, on_export, &x, &msg));
	assert_int_equal(x.count, 5);
	/* A secret that was moved from another one. */
	world_sql(s, "UPDATE cert SET secrets = (SELECT o.secrets FROM cert o WHERE o.device_name = 'dev-0000') WHERE device_name = 'dev-0003'");
	world_sql(s, "DELETE FROM audit WHERE what = 'export'");
	x.count = 0;
	says(cw_stock_export(s, &f, &tester, on_export, &x, &msg), CW_EAUTH, "dev-0003");
	assert_int_equal(x.count, 3);
	cw_stock_close(x.other);
}

static void boards_are_found(void **state)
{
	struct cw_stock_cert cert;

	world_import(s, PK, "one", 0, 3);
	world_import(s, "a1Other0002", "one", 10, 3);
	allocate("SN01");
	ok(cw_stock_find(s, NULL, "SN01", NULL, &cert, &msg));
	assert_string_equal(cert.device_name, "dev-0000");
	assert_string_equal(cert.device_secret, DS);
	assert_int_equal(ask(CW_STOCK_ALLOCATE, "a1Other0002", "SN01", "line-1", NULL), CW_STOCK_OK);
	says(cw_stock_find(s, NULL, "SN01", NULL, &cert, &msg), CW_EEXIST, "2 products");
	assert_string_equal(cert.device_secret, "");
	ok(cw_stock_find(s, PK, "SN01", NULL, &cert, &msg));
	assert_string_equal(cert.device_name, "dev-0000");
	assert_int_equal(ask(CW_STOCK_REPORT, "a1Other0002", "SN01", "line-1", NULL), CW_STOCK_OK);
	ok(cw_stock_find(s, NULL, "SN01", NULL, &cert, &msg)); /* the written one */
	assert_string_equal(cert.device_name, "dev-0010");
	ok(cw_stock_find(s, PK, NULL, "dev-0000", &cert, &msg));
	assert_string_equal(cert.device_id, "SN01");
	says(cw_stock_find(s, PK, NULL, "dev-0001", &cert, &msg), CW_ENOENT, "dev-0001"); /* nobody has it */
	says(cw_stock_find(s, NULL, "SN09", NULL, &cert, &msg), CW_ENOENT, "SN09");
	says(cw_stock_find(s, NULL, NULL, "dev-0000", &cert, &msg), CW_EINVAL, "ProductKey");
	ok(cw_stock_void(s, PK, "dev-0000", "x", &tester, &msg));
	assert_int_equal(cw_stock_find(s, PK, "SN01", NULL, &cert, &msg), CW_ENOENT);
	explicit_bzero(&cert, sizeof(cert));
}

/* ---- figures ---- */

struct stations {
	char text[256];
};

static int on_station(void *arg, const struct cw_stock_station *st)
{
	struct stations *x = arg;
	size_t n = strlen(x->text);

	(void)snprintf(x->text + n, sizeof(x->text) - n, "%s %d %d %d %d;", st->name, (int)st->allocated, (int)st->written, (int)st->unreported,
		       (int)(st->last - NOW));
	return 0;
}

static int on_free(void *arg, const char *product_key, const char *batch, uint64_t free, uint64_t low)
{
	struct stations *x = arg;
	size_t n = strlen(x->text);

	(void)snprintf(x->text + n, sizeof(x->text) - n, "%s %s %d %d;", product_key, batch, (int)free, (int)low);
	return 0;
}

static void figures_are_counted(void **state)
{
	const struct cw_stock_batch_change close = { .what = CW_BATCH_CLOSED, .closed = 1 }, low = { .what = CW_BATCH_LOW, .low = 5 };
	struct cw_stock_figures f;
	struct stations x = { "" };
	uint64_t a[4], w[4];

	world_import(s, PK, "one", 0, 10);
	world_import(s, "a1Other0002", "two", 0, 4);
	cw_clock_fake(1, NOW - 23 * HOUR); /* yesterday */
	allocate("SN01");
	cw_clock_fake(1, NOW - 2 * HOUR);
	allocate("SN02");
	report("SN01");
	cw_clock_fake(1, NOW - HOUR / 2);
	assert_int_equal(ask(CW_STOCK_ALLOCATE, PK, "", "line-2", NULL), CW_STOCK_OK);
	cw_clock_fake(1, NOW);
	assert_int_equal(ask(CW_STOCK_ALLOCATE, "a1Other0002", "SN01", "line-2", NULL), CW_STOCK_OK);
	ok(cw_stock_figures(s, PK, &f, &msg));
	assert_int_equal(f.count[CW_STOCK_FREE], 7);
	assert_int_equal(f.count[CW_STOCK_ALLOCATED], 2);
	assert_int_equal(f.count[CW_STOCK_WRITTEN], 1);
	assert_int_equal(f.anonymous, 1);
	assert_int_equal(f.allocated_day, 3);
	assert_int_equal(f.allocated_hour, 1);
	assert_int_equal(f.written_day, 1);
	assert_int_equal(f.written_hour, 0);
	assert_int_equal(f.first_today, NOW - 2 * HOUR);
	assert_int_equal(f.last, NOW - HOUR / 2);
	ok(cw_stock_figures(s, NULL, &f, &msg));
	assert_int_equal(f.allocated_hour, 2);
	assert_int_equal(f.last, NOW);
	ok(cw_stock_rate(s, NULL, HOUR, 4, a, w, &msg));
	assert_int_equal(a[3], 2);
	assert_int_equal(a[2], 0);
	assert_int_equal(a[1] + a[2], 1);
	assert_int_equal(w[1] + w[2], 1);
	ok(cw_stock_rate(s, PK, HOUR, 4, a, w, &msg));
	assert_int_equal(a[3], 1);
	says(cw_stock_rate(s, PK, 0, 4, a, w, &msg), CW_EINVAL, "slots");
	ok(cw_stock_stations(s, NOW - 3 * HOUR, on_station, &x, &msg));
	assert_string_equal(x.text, "line-1 1 1 1 -7200000;line-2 2 0 2 0;");
	x.text[0] = '\0';
	ok(cw_stock_batch_change(s, "one", PK, &low, &tester, &msg));
	ok(cw_stock_free(s, on_free, &x, &msg));
	assert_string_equal(x.text, PK " one 7 5;a1Other0002 two 3 0;");
	x.text[0] = '\0';
	ok(cw_stock_batch_change(s, "one", PK, &close, &tester, &msg));
	ok(cw_stock_free(s, on_free, &x, &msg));
	assert_string_equal(x.text, PK " one 0 0;a1Other0002 two 3 0;");
}

static void states_have_names(void **state)
{
	assert_string_equal(cw_stock_state_name(CW_STOCK_WRITTEN), "written");
	assert_int_equal(cw_stock_state_of("void"), CW_STOCK_VOID);
	assert_int_equal(cw_stock_state_of("Void"), -1);
	assert_string_equal(cw_stock_state_name((enum cw_stock_state)17), "");
	assert_int_equal(cw_stock_lease_of("anonymous"), CW_STOCK_LEASE_ANONYMOUS);
	assert_int_equal(cw_stock_lease_of("never"), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(batches_are_counted),
		TEST(unfinished_imports_count_nowhere),
		TEST(batches_are_changed),
		TEST(rows_are_found),
		TEST(pages_follow_each_other),
		TEST(a_walk_can_be_ended),
		TEST(macs_are_found_in_any_form),
		TEST(many_are_found_as_few_are),
		TEST(certificates_are_made_void),
		TEST(allocations_are_taken_back),
		TEST(many_are_taken_back),
		TEST(leases_end),
		TEST(exports_are_logged_first),
		TEST(boards_are_found),
		TEST(figures_are_counted),
		cmocka_unit_test(states_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
