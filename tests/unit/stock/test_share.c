/* Several processes, one stock: no certificate twice, no board with two, nobody waits for ever. covers: B16 B17 C07 */
#include "world.h"

#include <pthread.h>
#include <sys/wait.h>

#include "factory/stock/shelf.h"

#define PROCESSES 4
#define BOARDS 200
#define GROUP 10

struct given {
	char names[BOARDS][CW_STOCK_DEVICE_NAME + 1]; /* empty: none */
};

/* All boards, beginning at another place and in another direction each, so that the groups of two processes cross. */
static void serve_all(const struct world *w, int which, struct given *given)
{
	char node[16], ids[GROUP][16];
	struct cw_stock_ask asks[GROUP], *group[GROUP];
	struct cw_stock *s;
	unsigned i, j, at[GROUP];

	(void)snprintf(node, sizeof(node), "node%d", which);
	s = world_open_as(w, node);
	for (i = 0; i < BOARDS; i += GROUP) {
		struct cw_msg msg = { "" };
		int rc;

		for (j = 0; j < GROUP; j++) {
			unsigned step = which % 2 == 0 ? i + j : BOARDS - 1 - i - j;

			at[j] = (step + (unsigned)which * 7) % BOARDS;
			(void)snprintf(ids[j], sizeof(ids[j]), "board-%u", at[j]);
			asks[j] = world_ask(CW_STOCK_ALLOCATE, ids[j]);
			group[j] = &asks[j];
		}
		/* Busy after its own tries: as a station does it, once more. */
		do
			rc = cw_stock_serve(s, group, GROUP, &msg);
		while (rc == CW_EBUSY);
		if (rc < 0)
			fail_msg("%s", msg.text);
		for (j = 0; j < GROUP; j++)
			if (asks[j].answer == CW_STOCK_OK)
				strcpy(given->names[at[j]], asks[j].cert.device_name);
	}
	cw_stock_close(s);
}

/* What each process was told, by a pipe. */
static void run_all(const struct world *w, struct given *given)
{
	int pipes[PROCESSES][2], i, status;

	for (i = 0; i < PROCESSES; i++) {
		assert_int_equal(pipe(pipes[i]), 0);
		if (fork() == 0) {
			serve_all(w, i, &given[i]);
			_exit(write(pipes[i][1], &given[i], sizeof(given[i])) != sizeof(given[i]));
		}
		close(pipes[i][1]);
	}
	for (i = 0; i < PROCESSES; i++) {
		size_t len = 0;
		ssize_t n;

		while ((n = read(pipes[i][0], (char *)&given[i] + len, sizeof(given[i]) - len)) > 0)
			len += (size_t)n;
		assert_int_equal(len, sizeof(given[i]));
		close(pipes[i][0]);
	}
	for (i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
}

static void four_processes(void **state, unsigned stock, unsigned expected)
{
	struct given *given = calloc(PROCESSES, sizeof(*given));
	struct world *w = *state;
	struct cw_stock *s = world_open_as(w, "first");
	unsigned i, k, j, served = 0;

	assert_int_equal(world_import(s, PK, "b1", 1, stock), stock);
	run_all(w, given);
	for (i = 0; i < BOARDS; i++) {
		const char *name = "";

		/* All who were told one were told the same one. */
		for (k = 0; k < PROCESSES; k++) {
			if (given[k].names[i][0] == '\0')
				continue;
			if (name[0] != '\0')
				assert_string_equal(name, given[k].names[i]);
			name = given[k].names[i];
		}
		served += name[0] != '\0';
		/* And no other board was. */
		for (j = 0; j < i && name[0] != '\0'; j++)
			for (k = 0; k < PROCESSES; k++)
				assert_string_not_equal(name, given[k].names[j]);
	}
	assert_int_equal(served, expected);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 1"), expected);
	world_check(s);
	cw_stock_close(s);
	free(given);
}

static void test_enough(void **state)
{
	four_processes(state, BOARDS + 50, BOARDS);
}

static void test_too_few(void **state)
{
	four_processes(state, BOARDS / 2, BOARDS / 2);
}

/*
 * PostgreSQL only: what a look for free ones costs does not grow with what was used since the server has last looked at the
 * table by itself. Entries of indexes read, of which each allocation needs a few.
 */
static void test_looks_are_cheap(void **state)
{
	static const char reads[] = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'cert' AND schemaname = current_schema()";
	struct world *w = *state;
	struct cw_stock *s = world_open(w);
	struct cw_stock_ask asks[GROUP];
	char ids[GROUP][16];
	int64_t before;
	unsigned i, j;

	assert_int_equal(world_import(s, PK, "b1", 1, 5000), 5000);
	world_sql(s, "VACUUM ANALYZE cert");
	world_sql(s, "SELECT pg_stat_force_next_flush()");
	before = world_number(s, reads);
	for (i = 0; i < 3000; i += GROUP) {
		for (j = 0; j < GROUP; j++) {
			(void)snprintf(ids[j], sizeof(ids[j]), "board-%u", i + j);
			asks[j] = world_ask(CW_STOCK_ALLOCATE, ids[j]);
		}
		world_serve(s, asks, GROUP);
	}
	world_sql(s, "SELECT pg_stat_force_next_flush()");
	/* 9,000 or so; over all that were used it would be 300 * 1,500. */
	assert_in_range(world_number(s, reads) - before, 3000, 60000);
	cw_stock_close(s);
}

struct reclaimer {
	struct cw_stock *s;
	size_t count;
	int rc;
};

static void *reclaim_main(void *arg)
{
	struct reclaimer *r = arg;
	struct cw_msg msg = { "" };

	r->rc = cw_stock_reclaim_leases(r->s, &r->count, &msg);
	return NULL;
}

/*
 * PostgreSQL only, where a look does not keep others from writing: a board asks again after the reclaimer has seen that its lease is
 * over and before it takes the certificate. Others may look at a table locked so, but not lock rows of it.
 */
static void test_asked_again_at_the_end(void **state)
{
	struct world *w = *state;
	struct cw_stock *s = world_open(w), *other = world_open_as(w, "other");
	struct reclaimer r = { .s = other };
	char name[CW_STOCK_DEVICE_NAME + 1], again[sizeof(name)];
	struct cw_msg msg = { "" };
	pthread_t thread;

	assert_int_equal(world_import(s, PK, "b1", 1, 2), 2);
	world_sql(s, "UPDATE batch SET lease = 2, lease_ms = 60000");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "board-1", name), CW_STOCK_OK);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "board-1", again), CW_STOCK_OK);
	/* both long ago */
	world_sql(s, "UPDATE cert SET allocated = allocated - 90000 WHERE state = 1; UPDATE audit SET at = at - 90000 WHERE what = 'again'");
	if (cw_db_begin(s->db, 1, &msg) < 0)
		fail_msg("%s", msg.text);
	world_sql(s, "LOCK TABLE cert IN EXCLUSIVE MODE");
	assert_int_equal(pthread_create(&thread, NULL, reclaim_main, &r), 0);
	while (world_number(s, "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'cert'::regclass") == 0)
		;
	world_sql(s, "UPDATE audit SET at = at + 90000 WHERE what = 'again'"); /* what a request would have entered now */
	if (cw_db_commit(s->db, &msg) < 0)
		fail_msg("%s", msg.text);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.count, 0);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "board-1", again), CW_STOCK_OK);
	assert_string_equal(again, name);
	cw_stock_close(other);
	cw_stock_close(s);
}

int main(void)
{
	const struct CMUnitTest server[] = {
		cmocka_unit_test_setup_teardown(test_asked_again_at_the_end, world_make, world_drop),
		cmocka_unit_test_setup_teardown(test_looks_are_cheap, world_make, world_drop),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_enough, world_make, world_drop),
		cmocka_unit_test_setup_teardown(test_too_few, world_make, world_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) + (world_has_server() ? cmocka_run_group_tests(server, NULL, NULL) : 0);
}
