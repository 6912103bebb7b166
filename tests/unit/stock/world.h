/*
 * world.h - a stock of its own for each test: a file, or a schema of the server that CW_TEST_DB names
 * (postgresql://user@/db?host=/run/..).
 */
#ifndef CW_TEST_STOCK_WORLD_H
#define CW_TEST_STOCK_WORLD_H

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
#include "factory/stock/stock_impl.h"

#define PK "a1EmuPk0001"
#define DS "0123456789abcdef0123456789abcdef"
#define PS "EmuPs0123456789A"
#define MOST 1200

static const struct cw_stock_actor tester = { "cli:test", "" };

struct world {
	char dir[64], db[600], key[100], schema[40];
};

static inline int world_has_server(void)
{
	return getenv("CW_TEST_DB") != NULL;
}

static inline void world_schema(const struct world *w, const char *verb, const char *tail)
{
	const struct cw_db_conf conf = { .where = getenv("CW_TEST_DB") };
	struct cw_msg msg = { "" };
	struct cw_db *db = NULL;
	char sql[100];

	(void)snprintf(sql, sizeof(sql), "%s SCHEMA %s%s", verb, w->schema, tail);
	if (cw_db_open(&conf, &db, &msg) < 0 || cw_db_script(db, sql, &msg) < 0)
		fail_msg("%s", msg.text);
	cw_db_close(db);
}

static inline int world_make(void **state)
{
	static int count;
	struct world *w = calloc(1, sizeof(*w));

	/* Thousands of commits, and none of them has to survive a power cut. */
	strcpy(w->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/cw-stock-XXXXXX" : "/tmp/cw-stock-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->key, sizeof(w->key), "%s/stock.db.key", w->dir);
	if (world_has_server()) {
		const char *url = getenv("CW_TEST_DB");

		(void)snprintf(w->schema, sizeof(w->schema), "t%d_%d", (int)getpid(), count++);
		world_schema(w, "CREATE", "");
		(void)snprintf(w->db, sizeof(w->db), "%s%coptions=-csearch_path%%3D%s", url, strchr(url, '?') == NULL ? '?' : '&', w->schema);
	} else {
		(void)snprintf(w->db, sizeof(w->db), "%s/stock.db", w->dir);
	}
	*state = w;
	return 0;
}

static inline int world_drop(void **state)
{
	struct world *w = *state;
	char command[100];
	int rc;

	if (w->schema[0] != '\0')
		world_schema(w, "DROP", " CASCADE");
	(void)snprintf(command, sizeof(command), "rm -r %s", w->dir);
	rc = system(command); /* NOLINT */
	free(w);
	return rc;
}

static inline struct cw_stock *world_open_as(const struct world *w, const char *node)
{
	const struct cw_stock_conf conf = { .db = w->db, .key_file = w->key, .node = node };
	struct cw_msg msg = { "" };
	struct cw_stock *s = NULL;

	if (cw_stock_open(&conf, &s, &msg) < 0)
		fail_msg("%s", msg.text);
	return s;
}

static inline struct cw_stock *world_open(const struct world *w)
{
	return world_open_as(w, "one");
}

/* One number out of the database. */
static inline int world_on_number(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	*(int64_t *)arg = columns[0].number;
	return 0;
}

static inline int64_t world_number(struct cw_stock *s, const char *sql)
{
	struct cw_msg msg = { "" };
	int64_t n = -1;

	if (cw_db_run(s->db, sql, NULL, 0, world_on_number, &n, NULL, &msg) < 0)
		fail_msg("%s: %s", sql, msg.text);
	return n;
}

static inline void world_sql(struct cw_stock *s, const char *sql)
{
	struct cw_msg msg = { "" };

	if (cw_db_script(s->db, sql, &msg) < 0)
		fail_msg("%s: %s", sql, msg.text);
}

/* Certificates dev-FROM .. of a product into a batch. */
static inline size_t world_import(struct cw_stock *s, const char *product_key, const char *batch, unsigned from, unsigned count)
{
	const struct cw_lot_conf conf = { .batch = batch, .file = "test.csv", .who = tester };
	struct cw_lot_result got;
	struct cw_msg msg = { "" };
	struct cw_lot *lot = NULL;
	unsigned i;
	int rc = cw_lot_begin(s, &conf, &lot, &msg);

	for (i = from; i < from + count && rc == 0; i++) {
		char dn[33];
		const struct cw_lot_row row = { .product_key = product_key, .device_name = dn, .device_secret = DS, .product_secret = PS };

		(void)snprintf(dn, sizeof(dn), "dev-%04u", i);
		rc = cw_lot_add(lot, &row, &msg);
	}
	if (rc == 0)
		rc = cw_lot_finish(lot, &got, &msg);
	if (rc < 0)
		fail_msg("%s", msg.text);
	return got.fresh;
}

static inline struct cw_stock_ask world_ask(enum cw_stock_action action, const char *device_id)
{
	return (struct cw_stock_ask){ .action = action, .product_key = PK, .device_id = cw_bytes_text(device_id),
				      .who = { "line-1", "192.0.2.7:4711" }, .answer = CW_STOCK_ANSWER_COUNT };
}

/* Serve `count` of them as one group. */
static inline void world_serve(struct cw_stock *s, struct cw_stock_ask *asks, size_t count)
{
	struct cw_stock_ask *group[MOST];
	struct cw_msg msg = { "" };
	size_t i;

	assert_true(count <= MOST);
	for (i = 0; i < count; i++)
		group[i] = &asks[i];
	if (cw_stock_serve(s, group, count, &msg) < 0)
		fail_msg("%s", msg.text);
}

static inline enum cw_stock_answer world_one(struct cw_stock *s, enum cw_stock_action action, const char *device_id, char *ret_name)
{
	struct cw_stock_ask a = world_ask(action, device_id);

	world_serve(s, &a, 1);
	if (ret_name != NULL)
		strcpy(ret_name, a.cert.device_name);
	return a.answer;
}

static inline void world_on_problem(void *arg, const struct cw_audit_problem *p)
{
	print_error("audit: %s %lld: %s\n", p->node, (long long)p->number, p->sentence);
}

/* Nobody touched the stock by hand, so the verifier has nothing to say. */
static inline void world_verify(struct cw_stock *s)
{
	struct cw_msg msg = { "" };
	uint64_t entries, problems;

	if (cw_audit_verify(s, NULL, world_on_problem, NULL, &entries, &problems, &msg) < 0)
		fail_msg("%s", msg.text);
	assert_int_equal(problems, 0);
}

/* What must hold at all times. */
static inline void world_check(struct cw_stock *s)
{
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM (SELECT 1 FROM cert WHERE state IN (1, 2)"
					 " GROUP BY product_key, device_id HAVING COUNT(*) > 1) AS twice"), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state IN (1, 2) AND device_id IS NULL"), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0 AND (device_id IS NOT NULL OR allocated > 0 OR written > 0)"), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 2 AND written < allocated"), 0);
	/* each names the entry that changed it */
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert c WHERE c.audit_number > 0 AND NOT EXISTS (SELECT 1 FROM audit a WHERE"
					 " a.node = c.audit_node AND a.number = c.audit_number AND a.device_name = c.device_name)"), 0);
	world_verify(s);
}

#endif
