/* Imports: in whole or not at all, seen by nobody before they are done, one at a time, and whatever dies on the way. covers: B24 B26 B29 */
#include "world.h"

#include <signal.h>
#include <sys/wait.h>


static const struct cw_lot_row plain = { .product_key = PK, .device_name = "dev-0000", .device_secret = DS, .product_secret = PS };

static struct cw_lot *begin(struct cw_stock *s, const char *batch)
{
	const struct cw_lot_conf conf = { .batch = batch, .file = "test.csv", .who = tester };
	struct cw_msg msg = { "" };
	struct cw_lot *lot = NULL;

	if (cw_lot_begin(s, &conf, &lot, &msg) < 0)
		fail_msg("%s", msg.text);
	return lot;
}

static void add(struct cw_lot *lot, const struct cw_lot_row *row)
{
	struct cw_msg msg = { "" };

	if (cw_lot_add(lot, row, &msg) < 0)
		fail_msg("%s", msg.text);
}

static void refused(struct cw_lot *lot, const struct cw_lot_row *row, int rc, const char *column)
{
	struct cw_msg msg = { "" };

	assert_int_equal(cw_lot_add(lot, row, &msg), rc);
	if (strncmp(msg.text, column, strlen(column)) != 0)
		fail_msg("%s does not begin with %s", msg.text, column);
	assert_null(strstr(msg.text, DS));
	assert_null(strstr(msg.text, PS));
}

static struct cw_lot_result finish(struct cw_lot *lot)
{
	struct cw_lot_result got;
	struct cw_msg msg = { "" };

	if (cw_lot_finish(lot, &got, &msg) < 0)
		fail_msg("%s", msg.text);
	return got;
}

/* Nobody sees anything before the end; nothing stays of one that was given up. */
static void test_whole_or_not(void **state)
{
	struct cw_stock *s = world_open(*state), *other = world_open_as(*state, "two");
	struct cw_lot *lot = begin(s, "b");
	struct cw_lot_result got;
	unsigned i;

	for (i = 0; i < 1700; i++) {
		char dn[33];
		struct cw_lot_row row = plain;

		(void)snprintf(dn, sizeof(dn), "dev-%04u", i);
		row.device_name = dn;
		add(lot, &row);
	}
	assert_true(world_number(other, "SELECT COUNT(*) FROM cert") >= 1500); /* pieces */
	assert_int_equal(world_one(other, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OUT_OF_STOCK);
	cw_lot_abandon(lot);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert"), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM lot"), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM batch"), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM product"), 0);
	assert_int_equal(world_one(other, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_UNKNOWN_PRODUCT);
	assert_int_equal(world_import(s, PK, "b", 0, 1700), 1700);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), 1700);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'import'"), 1);
	assert_int_equal(world_one(other, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OK);
	/* all of it again is known, and leaves nothing new */
	lot = begin(s, "c");
	for (i = 0; i < 1700; i++) {
		char dn[33];
		struct cw_lot_row row = plain;

		(void)snprintf(dn, sizeof(dn), "dev-%04u", i);
		row.device_name = dn;
		add(lot, &row);
	}
	got = finish(lot);
	assert_int_equal(got.fresh, 0);
	assert_int_equal(got.known, 1700);
	assert_int_equal(got.lot, 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM batch"), 1);
	world_check(s);
	cw_stock_close(s);
	cw_stock_close(other);
}

static void test_refusals(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_lot_row row = plain;
	struct cw_lot *lot;
	char longest[200];

	world_import(s, PK, "b", 0, 1);
	lot = begin(s, "c");
	add(lot, &row); /* known */
	row.device_secret = "ffffffffffffffffffffffffffffffff";
	refused(lot, &row, CW_EEXIST, "DeviceSecret");
	row = plain;
	row.product_secret = "AnotherSecret001";
	refused(lot, &row, CW_EEXIST, "ProductSecret");
	row = plain;
	row.device_name = "dev-new";
	add(lot, &row);
	add(lot, &row); /* twice the same in one file */
	row.device_secret = "ffffffffffffffffffffffffffffffff";
	refused(lot, &row, CW_EEXIST, "DeviceSecret");
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	row = plain;
	row.device_name = "";
	refused(lot, &row, CW_EINVAL, "DeviceName");
	row.device_name = longest + sizeof(longest) - 34;
	refused(lot, &row, CW_EINVAL, "DeviceName");
	row = plain;
	row.product_key = "a b";
	refused(lot, &row, CW_EINVAL, "ProductKey");
	row = plain;
	row.device_secret = NULL;
	refused(lot, &row, CW_EINVAL, "DeviceSecret");
	row.device_secret = longest;
	refused(lot, &row, CW_EINVAL, "DeviceSecret");
	row = plain;
	row.product_secret = NULL;
	refused(lot, &row, CW_EINVAL, "ProductSecret");
	row = plain;
	row.product_id = longest;
	refused(lot, &row, CW_EINVAL, "ProductID");
	row = plain;
	row.device_id = longest;
	refused(lot, &row, CW_EINVAL, "DeviceID");
	row.device_id = "a\tb";
	refused(lot, &row, CW_EINVAL, "DeviceID");
	/* the longest parts of each kind */
	row = plain;
	row.device_name = longest + sizeof(longest) - 33;
	row.device_secret = row.product_secret = longest + sizeof(longest) - 65;
	row.device_id = longest + sizeof(longest) - 129;
	add(lot, &row);
	assert_int_equal(finish(lot).fresh, 2);
	{
		struct cw_stock_ask a = world_ask(CW_STOCK_ALLOCATE, row.device_id);

		world_serve(s, &a, 1);
		assert_int_equal(a.answer, CW_STOCK_OK);
		assert_string_equal(a.cert.device_name, row.device_name);
		assert_string_equal(a.cert.device_secret, row.device_secret);
		assert_string_equal(a.cert.product_secret, row.product_secret);
	}
	cw_stock_close(s);
}

/* What another system gave out already comes with its boards. */
static void test_with_boards(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_lot *lot;
	struct cw_lot_row row = plain;
	char name[33];

	world_import(s, PK, "b", 0, 3);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OK);
	lot = begin(s, "old");
	row.device_name = "old-1";
	row.device_id = "B1";
	row.written = 1;
	add(lot, &row);
	row.device_name = "old-2";
	row.device_id = "B2";
	row.written = 0;
	add(lot, &row);
	add(lot, &row); /* the same again */
	row.device_name = "old-3";
	refused(lot, &row, CW_EEXIST, "DeviceID"); /* B2 has one in this import */
	row.device_id = "A";
	refused(lot, &row, CW_EEXIST, "DeviceID"); /* A has one in stock */
	row.device_name = "dev-0001";
	row.device_id = "B3";
	refused(lot, &row, CW_EEXIST, "DeviceID"); /* that one is free in stock */
	row.device_name = "dev-0000";
	row.device_id = "A";
	add(lot, &row); /* known: A has it */
	assert_int_equal(finish(lot).fresh, 2);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B1", name), CW_STOCK_OK);
	assert_string_equal(name, "old-1");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B2", name), CW_STOCK_OK);
	assert_string_equal(name, "old-2");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 2 AND written > 0 AND device_id = 'B1'"), 1);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'import' AND device_id <> ''"), 2);
	world_check(s);
	cw_stock_close(s);
}

/* A board whose certificate is coming in: neither another one nor, when the import fails, none for ever. */
static void test_board_under_way(void **state)
{
	struct cw_stock *s = world_open(*state), *other = world_open_as(*state, "two");
	struct cw_lot *lot;
	struct cw_lot_row row = plain;
	unsigned i;
	char name[33];

	world_import(s, PK, "b", 0, 3);
	lot = begin(s, "old");
	for (i = 0; i < 600; i++) {
		char dn[33], id[33];

		(void)snprintf(dn, sizeof(dn), "old-%u", i);
		(void)snprintf(id, sizeof(id), "B%u", i);
		row.device_name = dn;
		row.device_id = id;
		add(lot, &row);
	}
	assert_int_equal(world_one(other, CW_STOCK_ALLOCATE, "B0", name), CW_STOCK_BUSY);
	assert_int_equal(world_one(other, CW_STOCK_REPORT, "B0", NULL), CW_STOCK_BUSY);
	assert_int_equal(world_one(other, CW_STOCK_ALLOCATE, "B599", name), CW_STOCK_OK); /* not read so far */
	assert_string_equal(name, "dev-0000");
	{
		struct cw_lot_result got;
		struct cw_msg msg = { "" };

		assert_int_equal(cw_lot_finish(lot, &got, &msg), CW_EBUSY);
		assert_non_null(strstr(msg.text, "import again"));
	}
	assert_int_equal(world_one(other, CW_STOCK_ALLOCATE, "B0", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0001");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert"), 3);
	world_check(s);
	cw_stock_close(s);
	cw_stock_close(other);
}

/* A process that imports and is killed after `rows`. */
static void die_importing(const struct world *w, unsigned rows, int with_boards)
{
	int up[2], status;
	pid_t pid;
	char c;

	assert_int_equal(pipe(up), 0);
	pid = fork();
	if (pid == 0) {
		struct cw_lot *lot = begin(world_open_as(w, "dies"), "dead");
		struct cw_lot_row row = plain;
		unsigned i;

		for (i = 0; i < rows; i++) {
			char dn[33], id[33];

			(void)snprintf(dn, sizeof(dn), "dead-%u", i);
			(void)snprintf(id, sizeof(id), "D%u", i);
			row.device_name = dn;
			row.device_id = with_boards ? id : NULL;
			add(lot, &row);
		}
		(void)!write(up[1], "x", 1);
		for (;;)
			(void)pause();
	}
	(void)close(up[1]);
	assert_int_equal(read(up[0], &c, 1), 1);
	(void)close(up[0]);
	{
		struct cw_stock *s = world_open(w);
		struct cw_lot *lot = NULL;
		const struct cw_lot_conf conf = { .batch = "x", .who = tester };
		struct cw_msg msg = { "" };

		/* while it lives nobody else imports, nor takes its rows for dead */
		assert_int_equal(cw_lot_begin(s, &conf, &lot, &msg), CW_EBUSY);
		assert_non_null(strstr(msg.text, "another import"));
		if (with_boards)
			assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "D0", NULL), CW_STOCK_BUSY);
		cw_stock_close(s);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* PostgreSQL notices a moment later that a client is gone. */
static void wait_for_death(struct cw_stock *s)
{
	struct cw_msg msg = { "" };
	int runs = 1;

	while (runs) {
		assert_int_equal(cw_db_begin(s->db, 1, &msg), 0);
		runs = stock_import_runs(s, &msg);
		assert_true(runs >= 0);
		cw_db_rollback(s->db);
	}
}

static void test_killed(void **state)
{
	struct cw_stock *s = world_open(*state);
	char name[33];

	world_import(s, PK, "b", 0, 5);
	die_importing(*state, 1200, 0);
	wait_for_death(s);
	assert_true(world_number(s, "SELECT COUNT(*) FROM cert") >= 1005);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0000");
	assert_int_equal(world_import(s, PK, "c", 100, 3), 3);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert"), 8);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM batch"), 2);
	/* boards of a dead import get another one, without waiting for the next import */
	die_importing(*state, 600, 1);
	wait_for_death(s);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "D0", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0001");
	assert_int_equal(world_import(s, PK, "c", 200, 3), 3);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert"), 11);
	world_check(s);
	cw_stock_close(s);
}

/* Many rows: names are read once, and every kind of duplicate is found all the same. */
static void test_many(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_lot_row row = plain;
	struct cw_lot *lot;
	char dn[33];
	unsigned i;

	assert_int_equal(world_import(s, PK, "b", 0, 3000), 3000);
	lot = begin(s, "c");
	row.device_name = dn;
	for (i = 2500; i < 6000; i++) {
		(void)snprintf(dn, sizeof(dn), "dev-%04u", i);
		add(lot, &row);
	}
	strcpy(dn, "dev-0001"); /* in stock */
	row.device_secret = "ffffffffffffffffffffffffffffffff";
	refused(lot, &row, CW_EEXIST, "DeviceSecret");
	strcpy(dn, "dev-3500"); /* in an earlier piece */
	refused(lot, &row, CW_EEXIST, "DeviceSecret");
	strcpy(dn, "dev-5999"); /* in this one */
	refused(lot, &row, CW_EEXIST, "DeviceSecret");
	row.device_secret = DS;
	add(lot, &row);
	{
		struct cw_lot_result got = finish(lot);

		assert_int_equal(got.fresh, 3000);
		assert_int_equal(got.known, 501);
		assert_true(got.lot > 0);
	}
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), 6000);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM lot WHERE visible = 1"), 2);
	cw_stock_close(s);
}

/* Several products in one file: a batch of that name for each. */
static void test_products(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_lot *lot = begin(s, "b");
	struct cw_lot_row row = plain;

	add(lot, &row);
	row.product_key = "a1Other0000";
	add(lot, &row);
	assert_int_equal(finish(lot).fresh, 2);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM batch WHERE name = 'b'"), 2);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM lot WHERE visible = 1"), 2);
	/* the oldest lot first, also of the same batch */
	world_import(s, PK, "b", 10, 1);
	{
		char name[33];

		assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
		assert_string_equal(name, "dev-0000");
		assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B", name), CW_STOCK_OK);
		assert_string_equal(name, "dev-0010");
	}
	cw_stock_close(s);
}

/* A station is served between two pieces. */
static void test_line_goes_on(void **state)
{
	struct world *w = *state;
	struct cw_stock *s = world_open(w);
	int up[2], status, served = 0;
	pid_t pid;
	char c;

	world_import(s, PK, "b", 0, 1000);
	assert_int_equal(pipe(up), 0);
	pid = fork();
	if (pid == 0) {
		struct cw_stock *own = world_open_as(w, "imports");

		(void)!write(up[1], "x", 1);
		world_import(own, PK, "c", 1000, 8000);
		(void)!write(up[1], "y", 1);
		_exit(0);
	}
	(void)close(up[1]);
	assert_int_equal(read(up[0], &c, 1), 1);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		char id[20];

		(void)snprintf(id, sizeof(id), "SN%d", served);
		if (served < 1000)
			assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, id, NULL), CW_STOCK_OK);
		served++;
	}
	assert_int_equal(status, 0);
	assert_int_equal(read(up[0], &c, 1), 1);
	(void)close(up[0]);
	assert_true(served >= 8); /* of 16 pieces, at the least */
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert"), 9000);
	world_check(s);
	cw_stock_close(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_make, world_drop)
	const struct CMUnitTest tests[] = {
		TEST(test_whole_or_not), TEST(test_refusals), TEST(test_with_boards), TEST(test_board_under_way), TEST(test_killed),
		TEST(test_many), TEST(test_products), TEST(test_line_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
