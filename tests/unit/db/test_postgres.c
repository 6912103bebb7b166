/* Databases on a server: it goes and comes back, others hold what one needs, and its refusals. Run by tests/lib/private_postgres.py. */
#include "db_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The launcher does it to the server: stop, start, kill, pause, resume. */
static void server(const char *order)
{
	const char *control = getenv("CW_TEST_DB_CONTROL");
	int to, from;
	char done, line[16];
	int n = snprintf(line, sizeof(line), "%s\n", order);

	assert_non_null(control);
	assert_int_equal(sscanf(control, "%d,%d", &to, &from), 2);
	assert_int_equal(write(to, line, (size_t)n), n);
	assert_int_equal(read(from, &done, 1), 1);
}

/* The process of the server that serves `db`. */
static int64_t process_of(struct cw_db *db)
{
	struct db_text t = { .seen = 0 };
	struct cw_msg msg = { "" };

	assert_int_equal(cw_db_run(db, "SELECT pg_backend_pid()", NULL, 0, db_on_row, &t, NULL, &msg), 0);
	return strtoll(t.text, NULL, 10);
}

/* An administrator ends the connection of `db`, and it is over when this returns. */
static void cut(struct cw_db *db, struct cw_db *other, int64_t pid)
{
	const struct cw_db_value p = cw_db_int(pid);

	db_expect(other, "1;", "SELECT pg_terminate_backend(CAST($1 AS INT), 60000)", &p, 1);
}

static void an_idle_connection_that_was_lost_is_opened_again(void **state)
{
	struct cw_db *db = db_fresh(), *other = db_opened();

	cut(db, other, process_of(db));
	assert_int_equal(db_put(db, "a", 1), 1);
	cut(db, other, process_of(db));
	db_begin(db);
	db_put(db, "b", 1);
	db_commit(db);
	db_expect(other, "2;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
	cw_db_close(other);
}

static void a_connection_lost_within_a_transaction_ends_it(void **state)
{
	struct cw_db *db = db_fresh(), *other = db_opened();
	struct cw_msg msg = { "" };
	int64_t pid;

	db_begin(db);
	db_put(db, "a", 1);
	cut(db, other, process_of(db));
	db_refused(db, CW_EUNREACH, "57P01", "SELECT 1", NULL, 0);
	db_refused(db, CW_EUNREACH, "earlier statement", DB_INSERT, NULL, 0);
	assert_int_equal(cw_db_commit(db, &msg), CW_EUNREACH);
	assert_null(strstr(msg.text, "not known")); /* it is: nothing was kept */
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	db_begin(db);
	db_put(db, "a", 1);
	pid = process_of(db);
	cut(db, other, pid);
	assert_int_equal(cw_db_commit(db, &msg), CW_EUNREACH);
	assert_non_null(strstr(msg.text, "not known"));
	db_begin(db);
	db_put(db, "b", 1);
	cut(db, other, process_of(db));
	cw_db_rollback(db);
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
	cw_db_close(other);
}

static void a_server_that_stops_and_starts_is_used_again(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_msg msg = { "" };

	db_put(db, "a", 1);
	server("stop");
	assert_int_equal(cw_db_begin(db, 1, &msg), CW_EUNREACH);
	db_refused(db, CW_EUNREACH, "", "SELECT 1", NULL, 0);
	assert_int_equal(cw_db_script(db, "SELECT 1", &msg), CW_EUNREACH);
	db_not_opened(db_where, 0, CW_EUNREACH, db_where);
	server("start");
	db_expect(db, "'a';", "SELECT name FROM thing", NULL, 0);
	db_begin(db);
	db_put(db, "b", 1);
	server("stop");
	server("start");
	assert_int_equal(cw_db_commit(db, &msg), CW_EUNREACH);
	db_begin(db);
	db_put(db, "b", 1);
	db_commit(db);
	db_expect(db, "2;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
}

static int on_row_kill(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	size_t *seen = arg;

	if (++*seen == 300)
		server("kill");
	return 0;
}

/* The primary crashes while a thousand sets are under way. */
static void a_server_that_dies_in_the_middle_of_a_pipeline_has_kept_nothing(void **state)
{
	struct cw_db *db = db_fresh();
	static struct cw_db_value p[2000];
	struct cw_msg msg = { "" };
	size_t i, seen = 0;

	for (i = 0; i < 2000; i++)
		p[i] = cw_db_int((int64_t)i);
	db_begin(db);
	assert_int_equal(cw_db_many(db, "INSERT INTO thing (number) VALUES ($1) RETURNING number", p, 1, 2000, on_row_kill, &seen, NULL, &msg), CW_EUNREACH);
	assert_true(seen >= 300 && seen < 2000);
	cw_db_rollback(db);
	server("start");
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	db_begin(db);
	assert_int_equal(cw_db_many(db, "INSERT INTO thing (number) VALUES ($1) RETURNING number", p, 1, 2000, NULL, NULL, NULL, &msg), 0);
	db_commit(db);
	cw_db_close(db);
}

/* The network swallows everything: no error comes, only the time passes. */
static void a_silent_server_is_left(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_msg msg = { "" };

	db_begin(db);
	db_put(db, "a", 1);
	server("pause");
	db_refused(db, CW_EUNREACH, "no answer for", "SELECT 1", NULL, 0);
	cw_db_rollback(db);
	assert_int_equal(cw_db_begin(db, 1, &msg), CW_EUNREACH);
	assert_non_null(strstr(msg.text, "200 ms"));
	server("resume");
	db_begin(db);
	db_put(db, "b", 1);
	db_commit(db);
	db_expect(db, "'b';", "SELECT name FROM thing ORDER BY name", NULL, 0);
	cw_db_close(db);
}

static void what_another_has_locked_is_busy_after_a_while(void **state)
{
	struct cw_db *a = db_fresh(), *b = db_opened();

	db_put(a, "a", 1);
	db_put(a, "b", 1);
	db_begin(a);
	db_run(a, "UPDATE thing SET number = 2 WHERE name = 'a'", NULL, 0);
	db_begin(b);
	db_refused(b, CW_EBUSY, "55P03", "UPDATE thing SET number = 3 WHERE name = 'a'", NULL, 0);
	cw_db_rollback(b);
	db_begin(b);
	db_expect(b, "'b';", "SELECT name FROM thing ORDER BY id FOR UPDATE SKIP LOCKED", NULL, 0);
	db_commit(b);
	db_commit(a);
	cw_db_close(a);
	cw_db_close(b);
}

struct crossing {
	struct cw_db *db;
	pthread_barrier_t *both;
	const char *first, *second;
	int rc;
	struct cw_msg msg;
};

static void *cross(void *arg)
{
	struct crossing *c = arg;

	c->rc = cw_db_begin(c->db, 1, &c->msg);
	if (c->rc == 0)
		c->rc = cw_db_run(c->db, c->first, NULL, 0, NULL, NULL, NULL, &c->msg);
	(void)pthread_barrier_wait(c->both);
	if (c->rc == 0)
		c->rc = cw_db_run(c->db, c->second, NULL, 0, NULL, NULL, NULL, &c->msg);
	if (c->rc == 0)
		c->rc = cw_db_commit(c->db, &c->msg);
	cw_db_rollback(c->db);
	return NULL;
}

static void of_two_who_wait_for_each_other_one_is_told_to_try_again(void **state)
{
	static const char a[] = "UPDATE thing SET number = number + 1 WHERE name = 'a'", b[] = "UPDATE thing SET number = number + 1 WHERE name = 'b'";
	struct cw_db_conf conf = { .where = db_where, .wait_ms = 20000 };
	struct crossing one = { .first = a, .second = b }, two = { .first = b, .second = a };
	pthread_barrier_t both;
	pthread_t thread;
	struct cw_db *db = db_fresh();
	struct cw_msg msg;

	db_put(db, "a", 0);
	db_put(db, "b", 0);
	assert_int_equal(pthread_barrier_init(&both, NULL, 2), 0);
	one.both = two.both = &both;
	assert_int_equal(cw_db_open(&conf, &one.db, &msg), 0);
	assert_int_equal(cw_db_open(&conf, &two.db, &msg), 0);
	assert_int_equal(pthread_create(&thread, NULL, cross, &two), 0);
	(void)cross(&one);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true((one.rc == 0 && two.rc == CW_EBUSY) || (one.rc == CW_EBUSY && two.rc == 0));
	assert_non_null(strstr(one.rc < 0 ? one.msg.text : two.msg.text, "40P01"));
	db_expect(db, "1|1;", "SELECT min(number), max(number) FROM thing", NULL, 0);
	(void)pthread_barrier_destroy(&both);
	cw_db_close(one.db);
	cw_db_close(two.db);
	cw_db_close(db);
}

static void a_table_that_was_changed_is_read_anew(void **state)
{
	struct cw_db *db = db_fresh(), *other = db_opened();

	db_expect(db, "", "SELECT * FROM part", NULL, 0);
	db_script(other, "ALTER TABLE part ADD COLUMN more TEXT");
	db_refused(db, CW_EBUSY, "0A000", "SELECT * FROM part", NULL, 0);
	db_expect(db, "", "SELECT * FROM part", NULL, 0);
	db_script(other, "DEALLOCATE ALL"); /* as a pooler that mixes connections does it */
	db_expect(db, "", "SELECT * FROM part", NULL, 0);
	db_script(db, "DEALLOCATE ALL");
	db_refused(db, CW_EBUSY, "pool by session", "SELECT * FROM part", NULL, 0);
	db_expect(db, "", "SELECT * FROM part", NULL, 0);
	cw_db_close(db);
	cw_db_close(other);
}

static void refusals_say_what_to_do_and_no_password(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_db_conf conf = { .where = NULL, .wait_ms = 200 };
	char where[600];
	const char *folder = strstr(db_where, "host=");
	struct cw_msg msg = { "" };

	db_script(db, "DROP ROLE IF EXISTS guarded; SET password_encryption = 'scram-sha-256'; CREATE ROLE guarded LOGIN PASSWORD 'right-secret'");
	cw_db_close(db);
	(void)snprintf(where, sizeof(where), "postgresql://guarded:wrong-secret@/postgres?%s", folder);
	db_not_opened(where, 0, CW_EACCESS, "28P01");
	conf.where = where;
	assert_int_equal(cw_db_open(&conf, &db, &msg), CW_EACCESS);
	assert_null(strstr(msg.text, "wrong-secret"));
	assert_null(strstr(msg.text, "LOCATION"));
	assert_non_null(strstr(msg.text, "pg_hba.conf"));
	(void)snprintf(where, sizeof(where), "postgresql://guarded:right-secret@/postgres?%s", folder);
	assert_int_equal(cw_db_open(&conf, &db, &msg), 0);
	db_refused(db, CW_EACCESS, "42501", "SELECT * FROM thing", NULL, 0);
	cw_db_close(db);
	(void)snprintf(where, sizeof(where), "postgresql://causeway@/nowhere?%s", folder);
	db_not_opened(where, 0, CW_ENOENT, "createdb");
	db_not_opened("postgresql://causeway@/postgres?host=/nonexistent", 0, CW_EUNREACH, "/nonexistent");
	db_not_opened("postgresql://causeway@/postgres?sslmode=perhaps", 0, CW_EUNREACH, "sslmode");
	/* Of several hosts the first that is there. */
	(void)snprintf(where, sizeof(where), "postgresql://causeway@/postgres?host=/nonexistent,%s", folder + 5);
	assert_int_equal(cw_db_open(&conf, &db, &msg), 0);
	db_expect(db, "0;", "SELECT count(*) FROM thing", NULL, 0);
	db_expect(db, "'test_db_postgres';", "SHOW application_name", NULL, 0);
	db_refused(db, CW_EIO, "a value does not fit", "SELECT CAST('my-secret' AS BIGINT)", NULL, 0);
	db_refused(db, CW_EIO, "22P02", "SELECT CAST('my-secret' AS BIGINT)", NULL, 0);
	cw_db_close(db);
}

/* What commits must wait for is not what an operator may have set for everybody. */
static void commits_wait_for_the_disk(void **state)
{
	struct cw_db *db = db_fresh();

	db_script(db, "ALTER ROLE causeway SET synchronous_commit = off; ALTER ROLE causeway SET bytea_output = 'escape'");
	cw_db_close(db);
	db = db_opened();
	db_expect(db, "'on';", "SHOW synchronous_commit", NULL, 0);
	db_expect(db, "'200ms';", "SHOW lock_timeout", NULL, 0);
	db_expect(db, "x00ff;", "SELECT CAST('\\x00ff' AS BYTEA)", NULL, 0);
	db_begin(db);
	db_expect(db, "'read committed';", "SHOW transaction_isolation", NULL, 0);
	cw_db_rollback(db);
	db_script(db, "ALTER ROLE causeway RESET ALL");
	cw_db_close(db);
}

static void copies_are_made_with_the_servers_own_tools(void **state)
{
	struct cw_db *db = db_fresh();
	struct cw_msg msg = { "" };

	assert_int_equal(cw_db_copy(db, "/tmp/copy", &msg), CW_EUNSUPPORTED);
	assert_non_null(strstr(msg.text, "pg_dump"));
	cw_db_close(db);
}

static void notices_go_nowhere(void **state)
{
	char file[128], text[200] = "";
	int saved = dup(STDERR_FILENO), fd;
	struct cw_db *db;
	ssize_t n;

	(void)snprintf(file, sizeof(file), "%s/stderr", db_folder);
	fd = open(file, O_RDWR | O_CREAT, 0600);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	db = db_fresh();
	db_script(db, "DROP TABLE IF EXISTS nowhere; DO $$ BEGIN RAISE WARNING 'loud'; END $$");
	cw_db_close(db);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_string_equal(text, "");
	assert_int_equal(n, 0);
	close(fd);
	close(saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DB_RUN(an_idle_connection_that_was_lost_is_opened_again),
		DB_RUN(a_connection_lost_within_a_transaction_ends_it),
		DB_RUN(a_server_that_stops_and_starts_is_used_again),
		DB_RUN(a_server_that_dies_in_the_middle_of_a_pipeline_has_kept_nothing),
		DB_RUN(a_silent_server_is_left),
		DB_RUN(what_another_has_locked_is_busy_after_a_while),
		DB_RUN(of_two_who_wait_for_each_other_one_is_told_to_try_again),
		DB_RUN(a_table_that_was_changed_is_read_anew),
		DB_RUN(refusals_say_what_to_do_and_no_password),
		DB_RUN(commits_wait_for_the_disk),
		DB_RUN(copies_are_made_with_the_servers_own_tools),
		DB_RUN(notices_go_nowhere),
	};

	if (getenv("CW_TEST_DB") == NULL)
		return 1;
	return cmocka_run_group_tests_name("postgres", tests, NULL, NULL);
}
