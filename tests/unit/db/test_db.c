/* What both kinds of database do alike: values, transactions, sets of parameters, errors and their sentences. */
#include "db_test.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static void every_type_comes_back_as_it_went(void **state)
{
	static const uint8_t bytes[] = { 0, 1, 0xff, '\\', '\'', 0 };
	struct cw_db *db = db_fresh();
	struct cw_db_value p[3] = { cw_db_text("Grüße \\ '"), cw_db_int(INT64_MIN), cw_db_blob(cw_bytes_of(bytes, sizeof(bytes))) };

	db_expect(db, "1|'Grüße \\ '';", DB_INSERT, p, 3);
	p[0] = cw_db_text("");
	p[1] = cw_db_int(INT64_MAX);
	p[2] = cw_db_blob(cw_bytes_of(NULL, 0));
	db_expect(db, "2|'';", DB_INSERT, p, 3);
	p[0] = cw_db_text(NULL);
	p[1] = p[2] = cw_db_null();
	db_expect(db, "3|NULL;", DB_INSERT, p, 3);
	db_expect(db, "'Grüße \\ ''|-9223372036854775808|x0001ff5c2700;''|9223372036854775807|x;NULL|NULL|NULL;",
		    "SELECT name, number, bytes FROM thing ORDER BY id", NULL, 0);
	db_expect(db, "3|2|1;", "SELECT count(*), count(number), CAST(1 AS INT) FROM thing", NULL, 0);
	cw_db_close(db);
}

static void parameters_go_by_their_number(void **state)
{
	struct cw_db *db = db_fresh();
	const struct cw_db_value p[] = { cw_db_text("first"), cw_db_text("second"), cw_db_null() };

	db_expect(db, "'second'|'first'|'second'|NULL;",
		    "SELECT CAST($2 AS TEXT), CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT)", p, 3);
	cw_db_close(db);
}

static void rows_changed_are_counted(void **state)
{
	struct cw_db *db = db_fresh();
	const struct cw_db_value two = cw_db_int(2);

	assert_int_equal(db_put(db, "a", 1), 1);
	assert_int_equal(db_put(db, "b", 2), 1);
	assert_int_equal(db_put(db, "c", 2), 1);
	assert_int_equal(db_run(db, "UPDATE thing SET number = 3 WHERE number = $1", &two, 1), 2);
	assert_int_equal(db_run(db, "UPDATE thing SET number = 3 WHERE number = $1", &two, 1), 0);
	assert_int_equal(db_run(db, "SELECT name FROM thing", NULL, 0), 0);
	assert_int_equal(db_run(db, "INSERT INTO thing (name) VALUES ('a') ON CONFLICT DO NOTHING", NULL, 0), 0);
	assert_int_equal(db_run(db, "DELETE FROM thing", NULL, 0), 3);
	cw_db_close(db);
}

static void a_walk_can_be_ended_and_what_was_changed_stays(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_msg msg = { "" };
	struct db_text t = { .stop_at = 2 };
	size_t changed = 0;

	assert_int_equal(cw_db_run(db, "INSERT INTO thing (name) VALUES ('a'), ('b'), ('c') RETURNING name", NULL, 0, db_on_row, &t, &changed, &msg), 77);
	assert_int_equal(t.seen, 2);
	assert_int_equal(changed, 3);
	db_expect(db, "3;", "SELECT count(*) FROM thing", NULL, 0);
	db_put(db, "d", 4); /* the connection is as it was */
	cw_db_close(db);
}

static void many_sets_are_one_statement_each_in_order(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_db_value p[300];
	struct cw_msg msg = { "" };
	struct db_text t = { .seen = 0 };
	char names[100][8];
	size_t i, changed = 0;

	for (i = 0; i < 100; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "n%zu", i);
		p[3 * i] = cw_db_text(names[i]);
		p[3 * i + 1] = cw_db_int((int64_t)i);
		p[3 * i + 2] = cw_db_null();
	}
	db_begin(db);
	assert_int_equal(cw_db_many(db, DB_INSERT, p, 3, 100, NULL, NULL, &changed, &msg), 0);
	assert_int_equal(changed, 100);
	db_commit(db);
	p[0] = cw_db_int(1);
	p[1] = cw_db_int(700); /* not there */
	p[2] = cw_db_int(99);
	db_begin(db);
	assert_int_equal(cw_db_many(db, "SELECT name FROM thing WHERE number = $1 OR number = $1 - 1 ORDER BY number", p, 1, 3, db_on_row, &t, NULL, &msg), 0);
	assert_string_equal(t.text, "'n0';'n1';2:'n98';2:'n99';");
	memset(&t, 0, sizeof(t));
	t.stop_at = 1;
	assert_int_equal(cw_db_many(db, "UPDATE thing SET number = 1000 WHERE number = $1 RETURNING name", p, 1, 3, db_on_row, &t, &changed, &msg), 77);
	assert_string_equal(t.text, "'n1';");
	assert_int_equal(changed, 2); /* the walk ended, the work did not */
	assert_int_equal(cw_db_many(db, "DELETE FROM thing WHERE number = $1", p, 1, 0, NULL, NULL, &changed, &msg), 0);
	assert_int_equal(changed, 0);
	db_commit(db);
	db_expect(db, "2;", "SELECT count(*) FROM thing WHERE number = 1000", NULL, 0);
	cw_db_close(db);
}

static void what_is_rolled_back_has_not_been(void **state)
{
	struct cw_db *db = db_fresh();

	cw_db_rollback(db); /* harmless */
	db_begin(db);
	db_put(db, "a", 1);
	cw_db_rollback(db);
	cw_db_rollback(db);
	db_begin(db);
	db_put(db, "b", 1);
	cw_db_close(db);
	db = db_opened();
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	db_begin(db);
	db_put(db, "c", 1);
	db_commit(db);
	cw_db_close(db);
	db = db_opened();
	db_expect(db, "'c';", "SELECT name FROM thing", NULL, 0);
	cw_db_close(db);
}

static void a_taken_key_has_an_error_of_its_own(void **state)
{
	struct cw_db *db = db_fresh();
	const struct cw_db_value p[] = { cw_db_text("the-secret-value"), cw_db_int(1), cw_db_null() };
	const struct cw_db_value none = cw_db_int(4711);
	struct cw_msg msg = { "" };

	db_run(db, DB_INSERT, p, 3);
	assert_int_equal(cw_db_run(db, DB_INSERT, p, 3, NULL, NULL, NULL, &msg), CW_EEXIST);
	assert_null(strstr(msg.text, "the-secret-value"));
	db_refused(db, CW_EIO, "", "INSERT INTO part VALUES ($1)", &none, 1);
	db_refused(db, CW_EIO, "nowhere", "SELECT 1 FROM nowhere", NULL, 0);
	db_refused(db, CW_EIO, "", "SELECT \"not a text\"", NULL, 0);
	db_expect(db, "1;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
}

static void after_an_error_a_transaction_only_ends(void **state)
{
	struct cw_db *db = db_fresh();
	const struct cw_db_value p[] = { cw_db_text("a"), cw_db_int(1), cw_db_null() };
	struct cw_msg msg = { "" };

	db_begin(db);
	db_put(db, "a", 1);
	db_refused(db, CW_EEXIST, "", DB_INSERT, p, 3);
	db_refused(db, CW_EEXIST, "earlier statement", "SELECT 1", NULL, 0);
	assert_int_equal(cw_db_commit(db, &msg), CW_EEXIST);
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	db_begin(db);
	db_put(db, "a", 1);
	db_commit(db);
	/* The second of three sets: none of them is there. */
	db_begin(db);
	{
		const struct cw_db_value sets[] = { cw_db_text("b"), cw_db_text("a"), cw_db_text("c") };

		assert_int_equal(cw_db_many(db, "INSERT INTO thing (name) VALUES ($1)", sets, 1, 3, NULL, NULL, NULL, &msg), CW_EEXIST);
	}
	cw_db_rollback(db);
	db_expect(db, "'a';", "SELECT name FROM thing", NULL, 0);
	cw_db_close(db);
}

static void texts_that_are_none_are_refused_by_both(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_db_value p[3] = { cw_db_text("Gr\xfc\xdf" "e"), cw_db_int(1), cw_db_null() };

	db_refused(db, CW_EINVAL, "not UTF-8", DB_INSERT, p, 3);
	p[0].bytes = cw_bytes_of("a\0b", 3);
	db_refused(db, CW_EINVAL, "not UTF-8", DB_INSERT, p, 3);
	db_begin(db);
	db_refused(db, CW_EINVAL, "not UTF-8", DB_INSERT, p, 3);
	db_refused(db, CW_EINVAL, "earlier statement", "SELECT 1", NULL, 0);
	cw_db_rollback(db);
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
}

static void who_reads_in_a_transaction_sees_one_state(void **state)
{
	struct cw_db *reader = db_fresh(), *writer = db_opened();
	struct cw_msg msg = { "" };

	db_put(writer, "a", 1);
	assert_int_equal(cw_db_begin(reader, 0, &msg), 0);
	db_expect(reader, "1;", "SELECT count(*) FROM thing", NULL, 0);
	db_put(writer, "b", 2);
	db_expect(reader, "1;", "SELECT count(*) FROM thing", NULL, 0);
	/* What it saw is no longer so: it may not write on top of that. */
	db_run(writer, "UPDATE thing SET number = 5", NULL, 0);
	db_refused(reader, CW_EBUSY, "try again", "UPDATE thing SET number = number + 1", NULL, 0);
	cw_db_rollback(reader);
	db_expect(reader, "2|10;", "SELECT count(*), sum(number) FROM thing", NULL, 0);
	cw_db_close(reader);
	cw_db_close(writer);
}

static void opened_for_reading_nothing_is_written(void **state)
{
	struct cw_db_conf conf = { .where = db_where, .read_only = 1, .wait_ms = 200 };
	struct cw_db *writer = db_fresh(), *db = NULL;
	struct cw_msg msg = { "" };

	db_put(writer, "a", 1);
	assert_int_equal(cw_db_open(&conf, &db, &msg), 0);
	db_expect(db, "'a';", "SELECT name FROM thing", NULL, 0);
	db_refused(db, CW_EACCESS, "reading", "DELETE FROM thing", NULL, 0);
	assert_int_equal(cw_db_script(db, "CREATE TABLE other (a TEXT)", &msg), CW_EACCESS);
	db_put(writer, "b", 1);
	db_expect(db, "2;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
	cw_db_close(writer);
}

#define SERIES "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"

static int on_sum(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	int64_t *sum = arg;

	assert_int_equal(columns[0].type, CW_DB_INT);
	*sum += columns[0].number;
	return 0;
}

static void a_long_walk_comes_row_by_row(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_msg msg = { "" };
	int64_t sum = 0;

	assert_int_equal(cw_db_run(db, SERIES, NULL, 0, on_sum, &sum, NULL, &msg), 0);
	assert_int_equal(sum, 200000LL * 200001 / 2);
	cw_db_close(db);
}

#define MANY 1000

/* More than are ever under way at once; and one of them fails somewhere in the middle. */
static void a_thousand_sets_or_none(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_db_value p[MANY * 2];
	struct cw_msg msg = { "" };
	static char names[MANY][8];
	size_t i, changed = 0;
	int64_t sum = 0;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%zu", i);
		p[2 * i] = cw_db_text(names[i]);
		p[2 * i + 1] = cw_db_int((int64_t)i);
	}
	p[1202] = cw_db_text("3");
	db_begin(db);
	assert_int_equal(cw_db_many(db, "INSERT INTO thing (name, number) VALUES ($1, $2) RETURNING number", p, 2, MANY, on_sum, &sum, NULL, &msg), CW_EEXIST);
	cw_db_rollback(db);
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	p[1202] = cw_db_text("601");
	sum = 0;
	db_begin(db);
	assert_int_equal(cw_db_many(db, "INSERT INTO thing (name, number) VALUES ($1, $2) RETURNING number", p, 2, MANY, on_sum, &sum, &changed, &msg), 0);
	db_commit(db);
	assert_int_equal(changed, MANY);
	assert_int_equal(sum, MANY * (MANY - 1) / 2);
	cw_db_close(db);
}

/* The nth allocation fails, for every n there is: an error, nothing kept, nothing leaked, and the next try succeeds. */
static void memory_that_is_short_is_an_error(void **state)
{
	struct cw_db_conf conf = { .where = db_where, .wait_ms = 200 };
	const struct cw_db_value p[] = { cw_db_text("a"), cw_db_int(1), cw_db_blob(cw_bytes_text("bytes")) };
	struct cw_db *db = db_fresh();
	long before, nth;
	int failed = 1;

	cw_db_close(db);
	before = cw_mem_live();
	for (nth = 0; failed; nth++) {
		struct db_text t = { .seen = 0 };
		struct cw_msg msg = { "" };
		int rc;

		cw_mem_fail_at(nth);
		rc = cw_db_open(&conf, &db, &msg);
		if (rc == 0) {
			db_begin(db);
			rc = cw_db_run(db, "INSERT INTO thing (name, number, bytes) VALUES ($1, $2, $3) RETURNING bytes", p, 3, db_on_row, &t, NULL, &msg);
		}
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		assert_int_equal(rc, failed ? CW_ENOMEM : 0);
		if (failed)
			assert_non_null(strstr(msg.text, "memory"));
		else
			assert_string_equal(t.text, "x6279746573;");
		cw_db_close(db);
		assert_int_equal(cw_mem_live(), before);
	}
	assert_true(nth > 3);
	db = db_opened();
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
}

static void a_name_never_has_the_password(void **state)
{
	static const char *const names[][2] = {
		{ "/var/lib/causeway/factory.db", "/var/lib/causeway/factory.db" },
		{ "postgresql://line@db.example/stock", "postgresql://line@db.example/stock" },
		{ "postgresql://line:secret@db.example:5433/stock", "postgresql://line:***@db.example:5433/stock" },
		{ "postgres://:secret@/stock", "postgres://:***@/stock" },
		{ "postgresql://db.example:5432/stock?user=line@works&password=secret&sslmode=require",
		  "postgresql://db.example:5432/stock?user=line@works&password=***&sslmode=require" },
		{ "postgresql:///stock?host=/run/pg&passfile=/secret&options=-c%20secret", "postgresql:///stock?host=/run/pg&passfile=***&options=***" },
		{ "postgresql://line:se@cret@db.example/stock", "postgresql://***" },
		{ "postgresql://line:se/cret@db.example/stock", "postgresql://***" },
		{ "postgresql://line:se?cret@db.example/stock", "postgresql://***" },
		{ "postgresql://?password=se:cret@db.example/stock", "postgresql://***" },
		{ "host=db.example password=secret", "(a connection string)" },
	};
	char name[200];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cw_db_name(names[i][0], name, sizeof(name));
		assert_string_equal(name, names[i][1]);
		cw_db_name(names[i][0], name, 12); /* cut, not beyond */
		assert_true(strlen(name) < 12);
	}
	db_not_opened("postgresql://line:se@cret@db.example/stock", 0, CW_EINVAL, "%40");
	db_not_opened("postgresql://line:se%cret@db.example/stock", 0, CW_EINVAL, "line:***@db.example");
	db_not_opened("host=db.example password=secret", 0, CW_EINVAL, "postgresql://");
	db_not_opened("", 0, CW_EINVAL, "no database is named");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DB_RUN(every_type_comes_back_as_it_went),
		DB_RUN(parameters_go_by_their_number),
		DB_RUN(rows_changed_are_counted),
		DB_RUN(a_walk_can_be_ended_and_what_was_changed_stays),
		DB_RUN(many_sets_are_one_statement_each_in_order),
		DB_RUN(what_is_rolled_back_has_not_been),
		DB_RUN(a_taken_key_has_an_error_of_its_own),
		DB_RUN(after_an_error_a_transaction_only_ends),
		DB_RUN(texts_that_are_none_are_refused_by_both),
		DB_RUN(who_reads_in_a_transaction_sees_one_state),
		DB_RUN(opened_for_reading_nothing_is_written),
		DB_RUN(a_long_walk_comes_row_by_row),
		DB_RUN(a_thousand_sets_or_none),
		DB_RUN(memory_that_is_short_is_an_error),
		DB_RUN(a_name_never_has_the_password),
	};

	return cmocka_run_group_tests_name("db", tests, NULL, NULL);
}
