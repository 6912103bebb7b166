/*
 * What goes wrong: processes killed at any moment, full disks, no memory. What was answered is in the stock, always, and what was
 * not can be asked again. covers: B07 B08 B16 B17
 */
#include "world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define KILLS 25
#define BOARDS 60

/* One answer, as a station knows it. */
struct told {
	unsigned board;
	char name[CW_STOCK_DEVICE_NAME + 1];
	int written;
};

/* Asks and reports for random boards, and says what it was told, until it is killed. */
static void work(const struct world *w, int out, unsigned seed)
{
	struct cw_stock *s = world_open(w);

	for (;;) {
		struct cw_stock_ask a[8];
		char ids[8][16];
		struct told told[8];
		size_t n = 1 + (size_t)rand_r(&seed) % 8, i;

		memset(told, 0, sizeof(told));
		for (i = 0; i < n; i++) {
			told[i].board = (unsigned)rand_r(&seed) % BOARDS;
			(void)snprintf(ids[i], sizeof(ids[i]), "B%u", told[i].board);
			a[i] = world_ask(rand_r(&seed) % 3 == 0 ? CW_STOCK_REPORT : CW_STOCK_ALLOCATE, ids[i]);
		}
		world_serve(s, a, n);
		for (i = 0; i < n; i++) {
			if (a[i].answer != CW_STOCK_OK)
				continue;
			told[i].written = a[i].action == CW_STOCK_REPORT;
			strcpy(told[i].name, a[i].cert.device_name);
			if (write(out, &told[i], sizeof(told[i])) != (ssize_t)sizeof(told[i]))
				_exit(1);
		}
	}
}

struct known {
	char names[BOARDS][CW_STOCK_DEVICE_NAME + 1];
	int written[BOARDS];
};

/* What it said before it died. */
static size_t listen_to(int in, struct known *k)
{
	struct told t;
	size_t n = 0;

	while (read(in, &t, sizeof(t)) == (ssize_t)sizeof(t)) { /* less than PIPE_BUF: whole or not at all */
		n++;
		if (t.written)
			k->written[t.board] = 1;
		else if (k->names[t.board][0] == '\0')
			strcpy(k->names[t.board], t.name);
		else
			assert_string_equal(k->names[t.board], t.name);
	}
	return n;
}

static void check_told(struct cw_stock *s, const struct known *k)
{
	unsigned i;

	for (i = 0; i < BOARDS; i++) {
		char sql[200];

		if (k->names[i][0] != '\0') {
			(void)snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM cert WHERE device_id = 'B%u' AND device_name = '%s' AND state IN (1, 2)",
				       i, k->names[i]);
			assert_int_equal(world_number(s, sql), 1);
		}
		if (k->written[i]) {
			(void)snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM cert WHERE device_id = 'B%u' AND state = 2 AND written > 0", i);
			assert_int_equal(world_number(s, sql), 1);
		}
	}
}

static void test_killed(void **state)
{
	const struct world *w = *state;
	struct known *k = calloc(1, sizeof(*k));
	struct cw_stock *s = world_open(w);
	unsigned seed = (unsigned)getpid(), i;
	size_t answers = 0;

	world_import(s, PK, "b", 0, BOARDS + 5);
	cw_stock_close(s);
	for (i = 0; i < KILLS; i++) {
		const struct timespec nap = { .tv_nsec = 1000000L + rand_r(&seed) % 30000000L };
		int pipes[2], status;
		pid_t pid;

		assert_int_equal(pipe(pipes), 0);
		pid = fork();
		if (pid == 0)
			work(w, pipes[1], seed + i);
		(void)close(pipes[1]);
		(void)nanosleep(&nap, NULL); /* the moment is any */
		assert_int_equal(kill(pid, SIGKILL), 0);
		answers += listen_to(pipes[0], k);
		(void)close(pipes[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		s = world_open(w);
		check_told(s, k);
		world_check(s);
		cw_stock_close(s);
	}
	print_message("%zu answers\n", answers);
	free(k);
}

/* A child that serves one group and dies at a crash point. Whether it was told anything is of no use to it. */
static void die_at(const struct world *w, const char *point)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct cw_stock *s = world_open(w);
		struct cw_stock_ask a[2] = { world_ask(CW_STOCK_ALLOCATE, "A"), world_ask(CW_STOCK_ALLOCATE, "B") };

		(void)setenv("CW_CRASH_AT", point, 1);
		world_serve(s, a, 2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void test_before_and_after_commit(void **state)
{
	struct cw_stock *s = world_open(*state);
	char name[33];

	world_import(s, PK, "b", 0, 5);
	die_at(*state, "stock.serve");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), 5);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'allocate'"), 0);
	die_at(*state, "stock.served");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 1"), 2);
	/* nobody was told, and whoever asks again gets what was meant for it */
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0001");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0000");
	world_check(s);
	cw_stock_close(s);
}

/* Every allocation of a group fails once: nothing happened, or everything. */
static void test_no_memory(void **state)
{
	struct cw_stock *s = world_open(*state);
	long nth, live = -1;

	world_import(s, PK, "b", 0, 500);
	for (nth = 0; nth < 400; nth++) {
		struct cw_stock_ask a[4] = { world_ask(CW_STOCK_ALLOCATE, ""), world_ask(CW_STOCK_ALLOCATE, "A"),
					     world_ask(CW_STOCK_REPORT, "A"), world_ask(CW_STOCK_ALLOCATE, "") };
		struct cw_stock_ask *group[] = { &a[0], &a[1], &a[2], &a[3] };
		int64_t before = world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0");
		struct cw_msg msg = { "" };
		int rc, failed, i;

		a[3].quota = 10000;
		cw_mem_fail_at(nth);
		rc = cw_stock_serve(s, group, 4, &msg);
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		if (rc == 0) {
			assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), before - 2 - (a[1].fresh != 0));
			if (live < 0)
				live = cw_mem_live();
		} else {
			assert_int_equal(rc, CW_ENOMEM);
			assert_true(msg.text[0] != '\0');
			for (i = 0; i < 4; i++)
				assert_int_equal(a[i].answer, CW_STOCK_BUSY);
			assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), before);
		}
		if (!failed)
			break;
	}
	assert_true(nth > 10 && nth < 400);
	assert_true(live < 0 || cw_mem_live() <= live);
	world_check(s);
	cw_stock_close(s);
}

static void test_no_memory_import(void **state)
{
	struct cw_stock *s = world_open(*state);
	long nth;
	int done = 0, imports = 0;

	for (nth = 0; !done && nth < 3000; nth++) {
		const struct cw_lot_conf conf = { .batch = "b", .file = "f", .who = tester };
		struct cw_lot_row row = { .product_key = PK, .device_secret = DS, .product_secret = PS };
		struct cw_lot *lot = NULL;
		struct cw_lot_result got;
		struct cw_msg msg = { "" };
		char dn[33], id[33];
		int rc, i;

		cw_mem_fail_at(nth);
		rc = cw_lot_begin(s, &conf, &lot, &msg);
		for (i = 0; i < 20 && rc == 0; i++) {
			(void)snprintf(dn, sizeof(dn), "dev-%ld-%d", nth, i);
			(void)snprintf(id, sizeof(id), "B%ld-%d", nth, i);
			row.device_name = dn;
			row.device_id = i % 2 == 0 ? id : NULL;
			rc = cw_lot_add(lot, &row, &msg);
			if (rc < 0)
				cw_lot_abandon(lot);
		}
		if (rc == 0)
			rc = cw_lot_finish(lot, &got, &msg);
		done = !cw_mem_failed();
		cw_mem_fail_at(-1);
		assert_true(rc == 0 || rc == CW_ENOMEM);
		imports += rc == 0; /* a map that cannot grow is slower, no more */
		assert_int_equal(world_number(s, "SELECT COUNT(*) FROM lot WHERE visible = 1"), imports);
		assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert c JOIN lot l ON l.id = c.lot WHERE l.visible = 1"), 20 * imports);
	}
	assert_true(done && nth > 20);
	assert_int_equal(world_import(s, PK, "b", 0, 1), 1); /* takes away what could not be taken away without memory */
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert"), 20 * imports + 1);
	world_check(s);
	cw_stock_close(s);
}

/* The disk is full: BUSY, nothing allocated; with room again it goes on, without being opened again. */
static void test_full_disk(void **state)
{
	const struct world *w = *state;
	struct rlimit old, small;
	struct cw_stock_ask a = world_ask(CW_STOCK_ALLOCATE, ""), *group[] = { &a };
	struct cw_msg msg = { "" };
	struct cw_stock *s;
	int64_t free_before = 0;
	unsigned i;
	int rc = 0;

	if (world_has_server())
		return; /* the server's disk is not ours to fill */
	s = world_open(w);
	world_import(s, PK, "b", 0, 900);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 1500000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (i = 0; i < 800 && rc == 0; i++) {
		free_before = world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0");
		rc = cw_stock_serve(s, group, 1, &msg);
	}
	assert_int_equal(rc, CW_EIO);
	if (strstr(msg.text, "full") == NULL)
		fail_msg("%s", msg.text);
	assert_int_equal(a.answer, CW_STOCK_BUSY);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), free_before);
	for (i = 0, rc = 0; i < 1000 && rc == 0; i++) /* a page or two may still fit */
		rc = cw_stock_ping(s, &msg);
	assert_int_equal(rc, CW_EIO);
	rc = 0;
	{
		struct cw_lot *lot = NULL;
		const struct cw_lot_conf conf = { .batch = "c", .who = tester };

		rc = cw_lot_begin(s, &conf, &lot, &msg);
		for (i = 0; i < 2000 && rc == 0; i++) {
			char dn[33];
			const struct cw_lot_row row = { .product_key = PK, .device_name = dn, .device_secret = DS, .product_secret = PS };

			(void)snprintf(dn, sizeof(dn), "new-%u", i);
			rc = cw_lot_add(lot, &row, &msg);
		}
		assert_true(rc < 0);
		cw_lot_abandon(lot);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(cw_stock_ping(s, &msg), 0);
	assert_int_equal(cw_stock_serve(s, group, 1, &msg), 0);
	assert_int_equal(a.answer, CW_STOCK_OK);
	assert_int_equal(world_import(s, PK, "c", 5000, 10), 10);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert"), 910);
	world_check(s);
	cw_stock_close(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_make, world_drop)
	const struct CMUnitTest tests[] = {
		TEST(test_killed), TEST(test_before_and_after_commit), TEST(test_no_memory), TEST(test_no_memory_import), TEST(test_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
