/* What decoders keep for their devices: it is there after a restart, and a file that is not ours is refused. covers: M23 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/state.h"

static char dir[] = "/tmp/cw-state-XXXXXX";
static char file[64];

static int make_dir(void **state)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	(void)snprintf(file, sizeof(file), "%s/devices.db", mkdtemp(dir));
	return 0;
}

static int drop_dir(void **state)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	char path[80];
	size_t i;

	for (i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", file, tails[i]);
		(void)unlink(path);
	}
	return rmdir(dir);
}

static struct cw_state *reopen(struct cw_state *s)
{
	struct cw_msg msg = { "" };
	struct cw_state *fresh = NULL;

	cw_state_close(s);
	if (cw_state_open(dir, &fresh, &msg) < 0)
		fail_msg("%s", msg.text);
	return fresh;
}

static void put(struct cw_state *s, const char *identity, const char *value)
{
	cw_state_put(s, identity, strlen(identity), cw_bytes_text(value));
}

static void expect(struct cw_state *s, const char *identity, const char *value)
{
	struct cw_bytes got = cw_state_get(s, identity, strlen(identity));

	assert_int_equal(got.len, strlen(value));
	if (got.len > 0)
		assert_memory_equal(got.ptr, value, got.len);
}

static void what_was_kept_is_there_after_a_restart(void **state)
{
	static const char bytes[] = "\0code\0\xff";
	struct cw_state *s = reopen(NULL);
	struct cw_bytes got;

	expect(s, "4711", "");
	put(s, "4711", "first");
	put(s, "4711", "second");
	put(s, "4712", "gone");
	cw_state_put(s, "4712", 4, cw_bytes_of(NULL, 0));
	cw_state_put(s, "binary", 6, cw_bytes_of(bytes, sizeof(bytes)));
	expect(s, "4711", "second");
	expect(s, "4712", "");
	s = reopen(s);
	expect(s, "4711", "second");
	expect(s, "4712", "");
	got = cw_state_get(s, "binary", 6);
	assert_int_equal(got.len, sizeof(bytes));
	assert_memory_equal(got.ptr, bytes, sizeof(bytes));
	cw_state_close(s);
}

static void thousands_of_changes_are_all_written(void **state)
{
	struct cw_state *s = reopen(NULL);
	char identity[16], value[16];
	int i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 2000; i++) {
			(void)snprintf(identity, sizeof(identity), "%d", i);
			(void)snprintf(value, sizeof(value), "v%d", i + round);
			put(s, identity, value);
		}
	}
	s = reopen(s);
	for (i = 0; i < 2000; i++) {
		(void)snprintf(identity, sizeof(identity), "%d", i);
		(void)snprintf(value, sizeof(value), "v%d", i + 2);
		expect(s, identity, value);
	}
	cw_state_close(s);
}

static void refused(const char *word)
{
	struct cw_msg msg = { "" };
	struct cw_state *s = NULL;

	assert_true(cw_state_open(dir, &s, &msg) < 0);
	assert_null(s);
	assert_non_null(strstr(msg.text, "devices.db"));
	assert_non_null(strstr(msg.text, word));
}

static void a_file_of_a_newer_causeway_is_refused_and_left_alone(void **state)
{
	sqlite3 *db;
	sqlite3_stmt *q;

	cw_state_close(reopen(NULL));
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	refused("newer");
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(q, 0), 99);
	sqlite3_finalize(q);
	sqlite3_close(db);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
	FILE *f = fopen(file, "w");
	int i;

	assert_non_null(f);
	for (i = 0; i < 1000; i++)
		fputs("no database\n", f);
	fclose(f);
	refused("database");
}

static void a_directory_that_is_not_there_is_named(void **state)
{
	struct cw_msg msg = { "" };
	struct cw_state *s = NULL;

	assert_true(cw_state_open("/nowhere/at/all", &s, &msg) < 0);
	assert_non_null(strstr(msg.text, "/nowhere/at/all"));
}

static void nothing_is_left_in_memory(void **state)
{
	long before = cw_mem_live();

	thousands_of_changes_are_all_written(state);
	assert_int_equal(cw_mem_live(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_kept_is_there_after_a_restart, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(thousands_of_changes_are_all_written, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_file_of_a_newer_causeway_is_refused_and_left_alone, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_file_that_is_no_database_is_refused, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_directory_that_is_not_there_is_named, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(nothing_is_left_in_memory, make_dir, drop_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
