/* The desk: many requests to a transaction, BUSY over its bound, everything answered exactly once, also at its end. Covers: B16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "factory/desk.h"
#include "factory/stock/lots.h"
#include "factory/stock/shelf.h"

#define ASKS (CW_DESK_WAITING + 500u)

struct asked {
	struct cw_desk_ask ask;
	char board[16];
	unsigned done;
};

static char folder[64], file[96];
static struct asked asked[ASKS];
static struct cw_worker *loop;
static struct cw_desk *desk;
static unsigned answers[CW_STOCK_ANSWER_COUNT], answered, jobs_done;
static struct cw_desk_figures figures;

static void fill(size_t count)
{
	const struct cw_stock_conf conf = { .db = file };
	const struct cw_lot_conf lot_conf = { .batch = "lot", .file = "test", .who = { "test", "" } };
	struct cw_lot_result result;
	struct cw_msg msg = { "" };
	struct cw_stock *s;
	struct cw_lot *lot;
	char name[32];
	size_t i;

	assert_int_equal(cw_stock_open(&conf, &s, &msg), 0);
	assert_int_equal(cw_lot_begin(s, &lot_conf, &lot, &msg), 0);
	for (i = 0; i < count; i++) {
		(void)snprintf(name, sizeof(name), "dev-%05zu", i);
		assert_int_equal(cw_lot_add(lot, &(struct cw_lot_row){ .product_key = "a1EmuPk0001", .device_name = name,
								       .device_secret = "0123456789abcdef0123456789abcdef", .product_secret = "EmuPs0123456789A" },
					    &msg), 0);
	}
	assert_int_equal(cw_lot_finish(lot, &result, &msg), 0);
	assert_int_equal(result.fresh, count);
	cw_stock_close(s);
}

static int setup(void **state)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/cw-desk-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(file, sizeof(file), "%s/factory.db", folder);
	fill(CW_DESK_WAITING);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static void on_closed(void *arg)
{
	desk = NULL;
	cw_worker_release(loop);
}

static void on_done(struct cw_desk_ask *a)
{
	struct asked *mine = cw_container_of(a, struct asked, ask);

	mine->done++;
	answers[a->ask.answer]++;
	explicit_bzero(&a->ask.cert, sizeof(a->ask.cert));
	if (++answered == ASKS / 2)
		cw_desk_close(desk, on_closed, NULL); /* the other half is answered all the same */
	if (desk != NULL)
		cw_desk_figures(desk, &figures);
}

static void ask_all(void)
{
	size_t i;

	for (i = 0; i < ASKS; i++) {
		struct asked *a = &asked[i];

		(void)snprintf(a->board, sizeof(a->board), "SN%zu", i);
		a->ask.done = on_done;
		a->ask.ask = (struct cw_stock_ask){ .action = CW_STOCK_ALLOCATE, .product_key = "a1EmuPk0001",
						    .device_id = cw_bytes_text(a->board), .who = { "station", "" } };
		cw_desk_ask(desk, &a->ask);
		assert_int_equal(a->done, 0); /* never before the call returns */
	}
}

static void test_asks(void **state)
{
	const struct cw_stock_conf conf = { .db = file, .wait_ms = 60000 };
	struct cw_msg msg = { "" };
	struct cw_db *other;
	unsigned i;

	assert_int_equal(cw_worker_new("test", 0, &loop), 0);
	assert_int_equal(cw_desk_open(loop, &conf, &desk, &msg), 0);
	assert_int_equal(cw_db_open(&(struct cw_db_conf){ .where = file }, &other, &msg), 0);
	assert_int_equal(cw_db_begin(other, 1, &msg), 0); /* so that nothing is served while they come */
	ask_all();
	cw_db_close(other);
	cw_worker_run(loop);
	cw_worker_free(loop);
	for (i = 0; i < ASKS; i++)
		assert_int_equal(asked[i].done, 1);
	assert_int_equal(answers[CW_STOCK_OK], CW_DESK_WAITING);
	assert_int_equal(answers[CW_STOCK_BUSY], ASKS - CW_DESK_WAITING);
	assert_true(figures.largest > 1 && figures.commits > 0 && figures.commits < 20);
}

static struct cw_desk_job job;

static void work(struct cw_desk_job *j, struct cw_stock *s)
{
	jobs_done += s != NULL ? 1 : 100;
}

static void job_after_close(struct cw_desk_job *j)
{
	assert_int_equal(jobs_done, 101); /* the second had no stock, and a reason */
	assert_non_null(strstr(j->msg.text, "stops"));
}

static void job_done(struct cw_desk_job *j)
{
	assert_int_equal(jobs_done, 1);
	cw_desk_close(desk, on_closed, NULL);
	job = (struct cw_desk_job){ .work = work, .done = job_after_close };
	cw_desk_do(desk, &job);
}

static void test_jobs(void **state)
{
	const struct cw_stock_conf conf = { .db = file };
	struct cw_msg msg = { "" };

	assert_int_equal(cw_worker_new("test", 0, &loop), 0);
	assert_int_equal(cw_desk_open(loop, &conf, &desk, &msg), 0);
	job = (struct cw_desk_job){ .work = work, .done = job_done };
	cw_desk_do(desk, &job);
	cw_worker_run(loop);
	cw_worker_free(loop);
	assert_int_equal(jobs_done, 101);
}

static void test_what_cannot_be_opened(void **state)
{
	const struct cw_stock_conf nowhere = { .db = "/nowhere/factory.db" };
	struct cw_msg msg = { "" };

	assert_int_equal(cw_worker_new("test", 0, &loop), 0);
	assert_true(cw_desk_open(loop, &nowhere, &desk, &msg) < 0);
	assert_non_null(strstr(msg.text, "/nowhere/factory.db"));
	cw_worker_release(loop);
	cw_worker_run(loop);
	cw_worker_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asks), cmocka_unit_test(test_jobs), cmocka_unit_test(test_what_cannot_be_opened),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
