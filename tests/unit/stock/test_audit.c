/*
 * The log of who did what: reading it, and what the verifier finds when somebody has written to the database behind the program's
 * back. Whoever does so here has the whole database, also older rows of it, but not the key file.
 */
#include "world.h"

#include "base/clock.h"

#define NOW INT64_C(1795000000000)
#define OTHER_PK "a1Other0002"

static struct world *w;
static struct cw_stock *s, *two;
static struct cw_msg msg;

static void ok(int rc)
{
	if (rc != 0)
		fail_msg("%d: %s", rc, msg.text);
}

/* ---- a stock with everything in it ---- */

static void serve(struct cw_stock *at, enum cw_stock_action action, const char *id)
{
	struct cw_stock_ask a = world_ask(action, id);

	world_serve(at, &a, 1);
	assert_int_equal(a.answer, CW_STOCK_OK);
}

/* One that comes with its board, allocated and written. */
static void import_given_out(unsigned from, int finish)
{
	const struct cw_lot_conf conf = { .batch = "old line", .file = "old.csv", .who = tester };
	struct cw_lot_row row = { .product_key = PK, .device_secret = DS, .product_secret = PS };
	struct cw_lot_result got;
	struct cw_lot *lot = NULL;
	char dn[33], id[33];
	unsigned i;

	ok(cw_lot_begin(s, &conf, &lot, &msg));
	for (i = from; i < from + (finish ? 2 : 600); i++) {
		(void)snprintf(dn, sizeof(dn), "old-%04u", i);
		(void)snprintf(id, sizeof(id), "OLD%04u", i);
		row.device_name = dn;
		row.device_id = id;
		row.written = i % 2 != 0;
		ok(cw_lot_add(lot, &row, &msg));
	}
	if (finish)
		ok(cw_lot_finish(lot, &got, &msg));
	else
		cw_lot_abandon(lot);
}

/*
 * dev-0000 allocated, dev-0001 written, dev-0002 allocated without a DeviceID, dev-0003 void after written, dev-0004 taken back and
 * allocated again, dev-0005 void, dev-0006 taken back and free, the others free; two chains.
 */
static int set_up(void **state)
{
	const struct cw_stock_filter sn04 = { .device_id = "SN04" }, sn06 = { .device_id = "SN06" };
	size_t n;

	(void)world_make(state);
	w = *state;
	cw_clock_fake(1, NOW);
	s = world_open(w);
	two = world_open_as(w, "two");
	world_import(s, PK, "one", 0, 12);
	world_import(s, OTHER_PK, "one", 0, 3);
	import_given_out(0, 0); /* leaves entries about boards, and no certificates */
	import_given_out(0, 1);
	serve(s, CW_STOCK_ALLOCATE, "SN00");
	serve(s, CW_STOCK_ALLOCATE, "SN01");
	serve(two, CW_STOCK_REPORT, "SN01");
	serve(s, CW_STOCK_ALLOCATE, "");
	serve(s, CW_STOCK_ALLOCATE, "SN03");
	serve(s, CW_STOCK_REPORT, "SN03");
	ok(cw_stock_void(two, PK, "dev-0003", "burned", &tester, &msg));
	serve(s, CW_STOCK_ALLOCATE, "SN04");
	ok(cw_stock_void(s, PK, "dev-0005", "lost", &tester, &msg));
	ok(cw_stock_reclaim(s, &sn04, 1, &tester, NULL, NULL, &n, &msg));
	cw_clock_fake(1, NOW + 300000);
	serve(s, CW_STOCK_ALLOCATE, "SN14");
	serve(s, CW_STOCK_ALLOCATE, "SN06");
	ok(cw_stock_reclaim(two, &sn06, 1, &tester, NULL, NULL, &n, &msg));
	serve(s, CW_STOCK_ALLOCATE, "SN00"); /* again */
	memset(&msg, 0, sizeof(msg));
	return 0;
}

static int tear_down(void **state)
{
	cw_stock_close(two);
	cw_stock_close(s);
	cw_clock_fake(0, 0);
	return world_drop(state);
}

/* ---- verifying ---- */

struct found {
	char text[8192];
	uint64_t told;
};

static void on_problem(void *arg, const struct cw_audit_problem *p)
{
	struct found *f = arg;
	size_t n = strlen(f->text);

	f->told++;
	(void)snprintf(f->text + n, sizeof(f->text) - n, "%s %lld: %s\n", p->node, (long long)p->number, p->sentence);
}

static struct found found;

static uint64_t verify(const char *heads)
{
	uint64_t entries, problems;

	memset(&found, 0, sizeof(found));
	ok(cw_audit_verify(s, heads, on_problem, &found, &entries, &problems, &msg));
	assert_int_equal(entries, world_number(s, "SELECT COUNT(*) FROM audit"));
	return problems;
}

static void clean(void)
{
	if (verify(NULL) != 0)
		fail_msg("%s", found.text);
}

/* Do it; it must be found and said so; `undo` makes it clean again, or is NULL. */
static void finds(const char *deed, const char *said, const char *undo)
{
	clean();
	world_sql(s, deed);
	if (verify(NULL) == 0)
		fail_msg("not found: %s", deed);
	if (strstr(found.text, said) == NULL)
		fail_msg("%s: is not said, but\n%s", said, found.text);
	if (undo != NULL) {
		world_sql(s, undo);
		clean();
	}
}

static void nothing_is_found_in_a_clean_stock(void **state)
{
	clean();
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 3"), 2);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 1"), 4); /* SN00, SN14, a made up one, an old one */
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 2"), 2);
	assert_true(world_number(s, "SELECT COUNT(*) FROM audit WHERE device_name LIKE 'old-%'") >= 500);
	/* An import under way is nobody's business. */
	world_import(s, PK, "later", 100, 3);
	clean();
}

#define KEEP "CREATE TABLE kept AS SELECT * FROM "
#define BACK(table) "DELETE FROM " table "; INSERT INTO " table " SELECT * FROM kept; DROP TABLE kept"

static void edited_entries_are_found(void **state)
{
	static const char *const columns[] = { "what = 'again'",     "who = 'cli:root'",        "address = '127.0.0.1'", "product_key = 'a1'",
		                               "device_name = 'd'",  "device_id = 'SN99'",      "text = 'no'",           "at = at + 1",
		                               "mac = zeroblob(32)", "text = text || char(0)" };
	char deed[200];
	size_t i;

	if (world_has_server()) /* other names of functions; what is tested is the same */
		skip();
	for (i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		(void)snprintf(deed, sizeof(deed), KEEP "audit; UPDATE audit SET %s WHERE node = 'one' AND device_id = 'SN01'", columns[i]);
		finds(deed, "edited, put in or moved", BACK("audit"));
	}
}

static void entries_taken_out_or_put_in_are_found(void **state)
{
	finds(KEEP "audit; DELETE FROM audit WHERE node = 'one' AND number = 5", "one 5: this entry is missing", BACK("audit"));
	finds(KEEP "audit; DELETE FROM audit WHERE node = 'one' AND number BETWEEN 5 AND 9", "one 5: entries 5 to 9 are missing", BACK("audit"));
	finds(KEEP "audit; DELETE FROM audit WHERE node = 'one' AND number = 1", "one 1: this entry is missing", BACK("audit"));
	finds(KEEP "audit; DELETE FROM audit WHERE node = 'one' AND number = (SELECT MAX(number) FROM audit WHERE node = 'one')",
	      "missing at its end", BACK("audit"));
	finds(KEEP "audit; DELETE FROM audit WHERE node = 'two'", "missing at its end", BACK("audit"));
	/* In the middle, and all behind it moved up. */
	finds(KEEP "audit; DELETE FROM audit WHERE node = 'one' AND number = 9; UPDATE audit SET number = -number WHERE number > 9 AND node = 'one';"
	      " UPDATE audit SET number = -number - 1 WHERE number < 0",
	      "edited, put in or moved", BACK("audit"));
	/* Two change places. */
	finds(KEEP "audit; UPDATE audit SET number = -9 WHERE node = 'one' AND number = 9; UPDATE audit SET number = 9 WHERE node = 'one' AND"
	      " number = 8; UPDATE audit SET number = 8 WHERE number = -9",
	      "one 8: this entry was edited", BACK("audit"));
	finds(KEEP "audit; UPDATE audit SET number = -9 WHERE node = 'one' AND number = 9", "no entry has this number", BACK("audit"));
	/* A copy of one at the end, with its number, or in another chain, or in a new one. */
	finds(KEEP "audit; INSERT INTO audit SELECT node, (SELECT MAX(number) + 1 FROM audit WHERE node = 'one'), at, what, who, address, product_key,"
	      " device_name, device_id, text, mac FROM audit WHERE node = 'one' AND number = 7",
	      "were put in, or an older head was put back", BACK("audit"));
	finds(KEEP "audit; INSERT INTO audit SELECT 'two', (SELECT MAX(number) + 1 FROM audit WHERE node = 'two'), at, what, who, address, product_key,"
	      " device_name, device_id, text, mac FROM audit WHERE node = 'one' AND number = 7",
	      "edited, put in or moved", BACK("audit"));
	finds(KEEP "audit; INSERT INTO audit SELECT 'three', number, at, what, who, address, product_key, device_name, device_id, text, mac FROM audit"
	      " WHERE node = 'one'",
	      "the head of this chain is gone", BACK("audit"));
	finds(KEEP "audit; INSERT INTO audit SELECT '', number, at, what, who, address, product_key, device_name, device_id, text, mac FROM audit"
	      " WHERE node = 'one'",
	      "the head of this chain is gone", BACK("audit"));
}

static void heads_are_checked(void **state)
{
	finds(KEEP "chain; UPDATE chain SET number = number - 1 WHERE node = 'one'", "head of this chain was edited", BACK("chain"));
	finds(KEEP "chain; UPDATE chain SET mac = seal WHERE node = 'one'", "head of this chain was edited", BACK("chain"));
	finds(KEEP "chain; DELETE FROM chain WHERE node = 'one'", "head of this chain is gone", BACK("chain"));
	finds(KEEP "chain; UPDATE chain SET node = 'three' WHERE node = 'one'", "head of this chain was edited", BACK("chain"));
}

/* The newest entries go, and the head that stood there before comes back: consistent, but certificates know better. */
static void a_tail_that_is_cut_off_is_found(void **state)
{
	world_sql(s, KEEP "chain");
	serve(s, CW_STOCK_ALLOCATE, "SN20");
	clean();
	world_sql(s, "DELETE FROM audit WHERE node = 'one' AND device_id = 'SN20';" BACK("chain"));
	assert_true(verify(NULL) > 0);
	assert_non_null(strstr(found.text, "the entry it names is missing"));
}

static char heads[512];

static void on_head(void *arg, const char *line)
{
	size_t n = strlen(heads);

	(void)snprintf(heads + n, sizeof(heads) - n, "%s\n", line);
}

/* Where no certificate names what was cut off, only a head that was noted elsewhere tells. */
static void noted_heads_are_compared(void **state)
{
	world_sql(s, KEEP "chain");
	serve(s, CW_STOCK_ALLOCATE, "SN00"); /* again: changes nothing */
	heads[0] = '\0';
	ok(cw_audit_heads(s, on_head, NULL, &msg));
	assert_int_equal(verify(heads), 0);
	serve(s, CW_STOCK_ALLOCATE, "SN00");
	assert_int_equal(verify(heads), 0); /* it has grown */
	world_sql(s, "DELETE FROM audit WHERE node = 'one' AND number > (SELECT number FROM kept WHERE node = 'one');" BACK("chain"));
	assert_int_equal(verify(NULL), 0);
	assert_int_equal(verify(heads), 1);
	assert_non_null(strstr(found.text, "noted as the head of its chain and is gone"));
	/* Other entries with these numbers. */
	serve(s, CW_STOCK_ALLOCATE, "SN21");
	serve(s, CW_STOCK_ALLOCATE, "SN22");
	assert_int_equal(verify(NULL), 0);
	assert_int_equal(verify(heads), 1);
	assert_non_null(strstr(found.text, "is another one now"));
	/* A whole chain that nothing names. */
	assert_int_equal(cw_audit_verify(s, "one x\n", on_problem, &found, &(uint64_t){ 0 }, &(uint64_t){ 0 }, &msg), CW_EINVAL);
}

#define CERT(name) " WHERE product_key = '" PK "' AND device_name = '" name "'"
#define EDIT(set, name) KEEP "cert; UPDATE cert SET " set CERT(name)
#define UNDO BACK("cert")

static void edited_certificates_are_found(void **state)
{
	/* states */
	finds(EDIT("state = 0, device_id = NULL, station = '', allocated = 0, changed = 0, audit_node = '', audit_number = 0", "dev-0000"),
	      "it was given out and not taken back", UNDO);
	finds(EDIT("state = 2, written = allocated", "dev-0000"), "says another state", UNDO);
	finds(EDIT("state = 1", "dev-0001"), "says another state", UNDO);
	finds(EDIT("state = 1, device_id = 'X', station = 'x', allocated = 5, changed = 5", "dev-0008"), "no entry says how it came", UNDO);
	finds(EDIT("state = 3, voided = 5, reason = 'x'", "dev-0008"), "no entry says how it came", UNDO);
	finds(EDIT("state = 2", "dev-0003"), "says another state", UNDO);
	finds(EDIT("state = 7", "dev-0003"), "no certificate has this state", UNDO);
	/* back to what it was before, with the entry that it named then */
	finds(EDIT("state = 1, written = 0, audit_node = 'one', audit_number = (SELECT number FROM audit WHERE node = 'one' AND device_id = 'SN01'"
		   " AND what = 'allocate')", "dev-0001"), "it was written, and is not written now", UNDO);
	finds(EDIT("state = 2, voided = 0, reason = '', audit_node = 'one', audit_number = (SELECT number FROM audit WHERE node = 'one' AND"
		   " device_id = 'SN03' AND what = 'write')", "dev-0003"), "it was made void", UNDO);
	finds(EDIT("state = 0, voided = 0, reason = '', changed = 0, audit_node = '', audit_number = 0", "dev-0005"), "it was made void", UNDO);
	finds(EDIT("state = 1, device_id = 'SN04', allocated = (SELECT at FROM audit WHERE what = 'allocate' AND device_id = 'SN04'),"
		   " changed = (SELECT at FROM audit WHERE what = 'allocate' AND device_id = 'SN04'),"
		   " audit_number = (SELECT number FROM audit WHERE what = 'allocate' AND device_id = 'SN04')", "dev-0004"),
	      "a later entry", UNDO);
	finds(EDIT("state = 1, station = 'line-1', device_id = 'SN06', allocated = changed, audit_node = 'one',"
		   " audit_number = (SELECT number FROM audit WHERE what = 'allocate' AND device_id = 'SN06')", "dev-0006"),
	      "it was taken back", UNDO);
	finds(EDIT("state = 0, device_id = NULL, station = '', allocated = 0, changed = 0, audit_node = '', audit_number = 0", "old-0000"),
	      "it was given out and not taken back", UNDO);
	/* another's entry */
	finds(KEEP "cert; UPDATE cert SET state = 3" CERT("dev-0000") "; UPDATE cert SET state = 1, device_id = 'SN00', station = 'line-1', allocated ="
	      " (SELECT at FROM audit WHERE what = 'allocate' AND device_id = 'SN00'), audit_node = 'one', audit_number = (SELECT number FROM audit"
	      " WHERE what = 'allocate' AND device_id = 'SN00')" CERT("dev-0008"),
	      "is missing, or is about another one", UNDO);
}

static void edited_columns_are_found(void **state)
{
	finds(EDIT("device_id = 'SN99'", "dev-0000"), "another DeviceID", UNDO);
	finds(EDIT("device_id = 'SN99'", "dev-0001"), "another DeviceID", UNDO);
	finds(EDIT("device_id = NULL", "dev-0003"), "another DeviceID", UNDO);
	finds(EDIT("device_id = 'SN99'", "old-0001"), "another DeviceID", UNDO);
	finds(EDIT("device_id = 'SN99'", "dev-0008"), "it is free, but", UNDO);
	finds(EDIT("station = 'line-9'", "dev-0000"), "no entry says that this station had it", UNDO);
	finds(EDIT("station = 'line-9'", "dev-0001"), "no entry says that this station had it", UNDO);
	finds(EDIT("station = 'line-9'", "dev-0003"), "no entry says that this station had it", UNDO);
	finds(EDIT("anonymous = 1", "dev-0000"), "stands as made up", UNDO);
	finds(EDIT("reason = 'none'", "dev-0005"), "its reason", UNDO);
	finds(EDIT("allocated = allocated - 3600000", "dev-0000"), "its time", UNDO);
	finds(EDIT("written = written + 3600000, changed = changed + 3600000", "dev-0001"), "its time", UNDO);
	finds(EDIT("voided = voided - 3600000", "dev-0005"), "its time", UNDO);
	finds(EDIT("product_id = '4711'", "dev-0000"), "are not those that were imported", UNDO);
	finds(EDIT("extra = '{\"SKU\":\"A\"}'", "dev-0008"), "are not those that were imported", UNDO);
	finds(EDIT("device_name = 'dev-9999'", "dev-0008"), "are not those that were imported", UNDO);
	finds(EDIT("device_name = 'dev-9999'", "dev-0000"), "dev-0000 of product " PK ", which this entry is about, is not in the stock", UNDO);
	finds(EDIT("secrets = (SELECT x.secrets FROM cert x WHERE x.product_key = '" OTHER_PK "' AND x.device_name = 'dev-0000')", "dev-0000"),
	      "its secrets were edited", UNDO);
	finds(EDIT("lot = (SELECT MIN(x.id) FROM lot x JOIN batch b ON b.id = x.batch WHERE b.product_key = '" OTHER_PK "')", "dev-0008"),
	      "is in a batch of product " OTHER_PK, UNDO);
}

static void certificates_by_hand_are_found(void **state)
{
	finds(KEEP "cert; DELETE FROM cert" CERT("dev-0008"), "has 11 certificates, but 12 were imported", UNDO);
	finds(KEEP "cert; DELETE FROM cert" CERT("dev-0000"), "is not in the stock", UNDO);
	finds(KEEP "cert; INSERT INTO cert SELECT 9999, lot, product_key, 'dev-mine', secrets, product_id, extra, state, device_id, anonymous, station,"
	      " allocated, written, voided, changed, reason, audit_node, audit_number FROM cert" CERT("dev-0008"),
	      "has 13 certificates, but 12 were imported", UNDO);
	/* one out, one in */
	finds(KEEP "cert; UPDATE cert SET device_name = 'dev-mine'" CERT("dev-0009"), "are not those that were imported", UNDO);
	/* a lot of one's own */
	finds("INSERT INTO lot SELECT 999, batch, 'mine.csv', imported, 1 FROM lot WHERE id = (SELECT MIN(id) FROM lot)", "no entry says that it was",
	      "DELETE FROM lot WHERE id = 999");
	/* one that is hidden */
	finds("UPDATE lot SET visible = 0 WHERE id = (SELECT MIN(id) FROM lot)", "is not in the stock", "UPDATE lot SET visible = 1 WHERE visible = 0");
}

static void problems_are_counted_beyond_what_is_told(void **state)
{
	clean();
	world_import(s, PK, "more", 200, 150);
	world_sql(s, "UPDATE cert SET state = 3 WHERE device_name > 'dev-0199' AND device_name < 'dev-0999'");
	assert_int_equal(verify(NULL), 150);
	assert_int_equal(found.told, 100);
}

/* More certificates and entries than are read at once. */
static void large_logs_are_walked(void **state)
{
	struct cw_stock_ask *asks = calloc(MOST, sizeof(*asks));
	unsigned i, round;

	world_import(s, PK, "more", 1000, 2 * MOST);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < MOST; i++)
			asks[i] = world_ask(CW_STOCK_ALLOCATE, "");
		world_serve(s, asks, MOST);
	}
	free(asks);
	clean();
	finds(EDIT("device_id = 'CW0000000000000000'", "dev-3000"), "another DeviceID", UNDO);
}

static void it_needs_the_key(void **state)
{
	const struct cw_stock_conf conf = { .db = w->db, .key_file = "/nonexistent/key", .read_only = 1 };
	struct cw_stock *r = NULL;
	uint64_t n, m;

	ok(cw_stock_open(&conf, &r, &msg));
	assert_int_equal(cw_audit_verify(r, NULL, on_problem, &found, &n, &m, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "key file"));
	cw_stock_close(r);
}

/* ---- reading ---- */

static int on_entry(void *arg, const struct cw_audit_entry *e)
{
	struct found *f = arg;
	size_t n = strlen(f->text);

	f->told++;
	(void)snprintf(f->text + n, sizeof(f->text) - n, "%s %s %s;", e->node, e->what, e->device_id);
	return 0;
}

static const char *entries(const struct cw_audit_filter *f)
{
	memset(&found, 0, sizeof(found));
	ok(cw_audit_each(s, f, on_entry, &found, &msg));
	return found.text;
}

static void entries_are_read(void **state)
{
	struct cw_audit_filter f = { .device_name = "dev-0001" };

	assert_string_equal(entries(&f), "one allocate SN01;two write SN01;");
	f.newest = 1;
	f.most = 1;
	assert_string_equal(entries(&f), "two write SN01;");
	f = (struct cw_audit_filter){ .device_id = "SN06" };
	assert_string_equal(entries(&f), "one allocate SN06;two reclaim SN06;");
	f.what = "reclaim";
	assert_string_equal(entries(&f), "two reclaim SN06;");
	f = (struct cw_audit_filter){ .node = "two", .who = "cli:test" };
	assert_string_equal(entries(&f), "two void SN03;two reclaim SN06;");
	f = (struct cw_audit_filter){ .since = NOW + 1, .product_key = PK };
	assert_string_equal(entries(&f), "one allocate SN14;one allocate SN06;one again SN00;two reclaim SN06;");
	f.newest = 1;
	assert_string_equal(entries(&f), "two reclaim SN06;one again SN00;one allocate SN06;one allocate SN14;");
	f = (struct cw_audit_filter){ .until = NOW };
	assert_string_equal(entries(&f), "");
	f = (struct cw_audit_filter){ .until = NOW + 1, .product_key = OTHER_PK };
	assert_string_equal(entries(&f), "one import ;");
	f = (struct cw_audit_filter){ .newest = 0 };
	entries(&f);
	assert_int_equal(found.told, world_number(s, "SELECT COUNT(*) FROM audit"));
	f.newest = 1;
	entries(&f);
	assert_int_equal(found.told, world_number(s, "SELECT COUNT(*) FROM audit"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_found_in_a_clean_stock),
		TEST(edited_entries_are_found),
		TEST(entries_taken_out_or_put_in_are_found),
		TEST(heads_are_checked),
		TEST(a_tail_that_is_cut_off_is_found),
		TEST(noted_heads_are_compared),
		TEST(edited_certificates_are_found),
		TEST(edited_columns_are_found),
		TEST(certificates_by_hand_are_found),
		TEST(problems_are_counted_beyond_what_is_told),
		TEST(large_logs_are_walked),
		TEST(it_needs_the_key),
		TEST(entries_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
