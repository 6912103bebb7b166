/*
 * The table of identities: what was put is there, encrypted; a disk that fills up, a torn file, a wrong key and every
 * moment at which a change of key may be interrupted. covers: M16 O04
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/identities.h"
#include "store/key.h"

static char dir[64], db[100], key[100], fresh[110];
static char got[600];

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/cw-table-XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(db, sizeof(db), "%s/identities.db", dir);
	(void)snprintf(key, sizeof(key), "%s/identity.key", dir);
	(void)snprintf(fresh, sizeof(fresh), "%s.new", key);
	return 0;
}

static int drop_dir(void **state)
{
	char command[100];

	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command); /* NOLINT */
}

static struct cw_table *open_table(void)
{
	struct cw_msg msg = { "" };
	struct cw_table *t = NULL;

	if (cw_table_open(dir, key, &t, &msg) < 0)
		fail_msg("%s", msg.text);
	return t;
}

static void refused(int rc, const char *why)
{
	struct cw_msg msg = { "" };
	struct cw_table *t = NULL;

	assert_int_equal(cw_table_open(dir, key, &t, &msg), rc);
	if (strstr(msg.text, why) == NULL)
		fail_msg("%s", msg.text);
}

static int put_as(struct cw_table *t, const char *identity, const char *dn, const char *secret, struct cw_msg *msg)
{
	const struct cw_table_row row = { identity, "pk", dn, secret, cw_bytes_text("{\"a\":1}") };
	enum cw_table_change change;
	int rc = cw_table_put(t, &row, &change, msg);

	return rc < 0 ? rc : (int)change;
}

static void put(struct cw_table *t, const char *identity, const char *dn, const char *secret, enum cw_table_change want)
{
	struct cw_msg msg = { "" };
	int rc = put_as(t, identity, dn, secret, &msg);

	if (rc != (int)want)
		fail_msg("%d, not %d: %s", rc, (int)want, msg.text);
}

static int take(void *arg, const struct cw_table_row *row)
{
	(void)snprintf(got, sizeof(got), "%s %s/%s %s %.*s", row->identity, row->product_key, row->device_name,
		       row->device_secret == NULL ? "-" : row->device_secret, (int)row->settings.len, (const char *)row->settings.ptr);
	return 0;
}

static void expect(struct cw_table *t, const char *identity, const char *text)
{
	struct cw_msg msg = { "" };

	if (cw_table_find(t, identity, strlen(identity), take, NULL, &msg) < 0)
		fail_msg("%s: %s", identity, msg.text);
	assert_string_equal(got, text);
}

static int file_has(const char *path, const char *text)
{
	static char bytes[1 << 20];
	FILE *f = fopen(path, "r");
	size_t n;

	if (f == NULL)
		return 0;
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	return memmem(bytes, n, text, strlen(text)) != NULL;
}

/* ---- entries ---------------------------------------------------------------------- */

static void what_was_put_is_there_again_and_no_file_shows_the_secret(void **state)
{
	long live = cw_mem_live();
	struct cw_table *t = open_table();
	struct cw_msg msg;
	struct stat st;
	char wal[120];

	put(t, "1", "dev-1", "s3cr3t-one", CW_TABLE_ADDED);
	put(t, "2", "dev-2", "s3cr3t-two", CW_TABLE_ADDED);
	put(t, "1", "dev-1", "s3cr3t-one", CW_TABLE_SAME);
	put(t, "1", "dev-x", "s3cr3t-one", CW_TABLE_CHANGED);
	(void)snprintf(wal, sizeof(wal), "%s-wal", db);
	assert_false(file_has(wal, "s3cr3t"));
	cw_table_close(t);
	assert_false(file_has(db, "s3cr3t"));
	assert_int_equal(stat(db, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	t = open_table();
	assert_int_equal(cw_table_count(t), 2);
	expect(t, "1", "1 pk/dev-x s3cr3t-one {\"a\":1}");
	assert_int_equal(cw_table_find(t, "3", 1, take, NULL, &msg), CW_ENOENT);
	assert_int_equal(cw_table_find_name(t, "pk", "dev-2", take, NULL, &msg), 0);
	assert_string_equal(got, "2 pk/dev-2 s3cr3t-two {\"a\":1}");
	assert_int_equal(cw_table_remove(t, "2", &msg), 0);
	assert_int_equal(cw_table_remove(t, "2", &msg), CW_ENOENT);
	assert_int_equal(cw_table_find_name(t, "pk", "dev-2", take, NULL, &msg), CW_ENOENT);
	assert_int_equal(cw_table_each(t, NULL, 10, take, NULL, &msg), 0);
	assert_string_equal(got, "1 pk/dev-x - ");
	assert_int_equal(cw_table_count(t), 1);
	cw_table_close(t);
	assert_int_equal(cw_mem_live(), live);
}

static void a_rolled_back_import_leaves_nothing(void **state)
{
	struct cw_table *t = open_table();
	struct cw_msg msg;

	put(t, "1", "dev-1", "a", CW_TABLE_ADDED);
	assert_int_equal(cw_table_begin(t, &msg), 0);
	put(t, "2", "dev-2", "b", CW_TABLE_ADDED);
	put(t, "1", "dev-9", "a", CW_TABLE_CHANGED);
	cw_table_rollback(t);
	assert_int_equal(cw_table_count(t), 1);
	expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
	cw_table_close(t);
}

/* ---- disks ---------------------------------------------------------------------------- */

static void a_full_disk_is_said_and_changes_nothing(void **state)
{
	struct rlimit old, small;
	struct cw_table *t = open_table();
	struct cw_msg msg = { "" };
	char name[32];
	struct stat st;
	char wal[120];
	int i, rc;

	put(t, "1", "dev-1", "a", CW_TABLE_ADDED);
	(void)snprintf(wal, sizeof(wal), "%s-wal", db);
	assert_int_equal(stat(wal, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = (rlim_t)st.st_size + 20000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (i = 0, rc = 0; i < 200 && rc >= 0; i++) {
		(void)snprintf(name, sizeof(name), "more-%d", i);
		rc = put_as(t, name, name, "b", &msg);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(rc, CW_EIO);
	assert_non_null(strstr(msg.text, "identities.db"));
	assert_int_equal(cw_table_count(t), (size_t)i); /* 1, and all but the last */
	expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
	put(t, "later", "dev-l", "c", CW_TABLE_ADDED); /* there is room again */
	cw_table_close(t);
	t = open_table();
	assert_int_equal(cw_table_count(t), (size_t)i + 1);
	cw_table_close(t);
}

static void a_torn_file_is_refused_with_the_way_out(void **state)
{
	struct cw_table *t = open_table();
	char name[32];
	int i, fd;

	for (i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		put(t, name, name, "secret", CW_TABLE_ADDED);
	}
	cw_table_close(t);
	fd = open(db, O_WRONLY);
	for (i = 1; i < 12; i++)
		assert_int_equal(pwrite(fd, "torn torn torn torn torn torn", 29, i * 4096), 29);
	close(fd);
	refused(CW_EIO, "put the file back from a backup");
	fd = open(db, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "no database at all, but long enough to be looked at as one", 58), 58);
	close(fd);
	refused(CW_EIO, "not a database");
}

static void run_sql(const char *sql)
{
	sqlite3 *h;

	assert_int_equal(sqlite3_open(db, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
}

static void a_table_of_a_newer_causeway_is_left_alone(void **state)
{
	cw_table_close(open_table());
	run_sql("PRAGMA user_version = 99");
	refused(CW_EIO, "newer Causeway");
}

/* ---- keys --------------------------------------------------------------------------------- */

static void a_row_that_was_changed_or_moved_does_not_open_and_the_others_do(void **state)
{
	struct cw_table *t = open_table();
	struct cw_msg msg = { "" };
	size_t rows;
	int i;
	static const char *const changes[] = {
		"UPDATE identities SET device_name = 'dev-3' WHERE identity = '1'",
		"UPDATE identities SET sealed = (SELECT sealed FROM identities WHERE identity = '2') WHERE identity = '1'",
		"UPDATE identities SET sealed = x'00' WHERE identity = '1'",
		"UPDATE identities SET id = 77 WHERE identity = '1'",
	};

	put(t, "2", "dev-2", "b", CW_TABLE_ADDED);
	for (i = 0; i < 4; i++) {
		(void)put_as(t, "1", "dev-1", "a", &msg);
		expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
		run_sql(changes[i]);
		assert_int_equal(cw_table_find(t, "1", 1, take, NULL, &msg), CW_EAUTH);
		assert_non_null(strstr(msg.text, "\"1\" cannot be decrypted"));
		assert_int_equal(cw_table_rekey(t, &rows, &msg), CW_EAUTH);
		assert_int_not_equal(access(fresh, F_OK), 0);
		expect(t, "2", "2 pk/dev-2 b {\"a\":1}");
		assert_int_equal(cw_table_remove(t, "1", &msg), 0);
	}
	cw_table_close(t);
}

static void copy(const char *from, const char *to)
{
	char command[300];

	(void)snprintf(command, sizeof(command), "cp -p %s %s", from, to);
	assert_int_equal(system(command), 0); /* NOLINT */
}

static void a_wrong_a_missing_and_a_broken_key_are_told_apart(void **state)
{
	struct cw_table *t = open_table();
	char kept[120];
	struct cw_key other;
	struct cw_msg msg;
	FILE *f;

	put(t, "1", "dev-1", "a", CW_TABLE_ADDED);
	cw_table_close(t);
	(void)snprintf(kept, sizeof(kept), "%s.kept", key);
	copy(key, kept);
	assert_int_equal(cw_key_make(key, &other, &msg), 0);
	refused(CW_ECONF, "is not the key of");
	assert_int_equal(unlink(key), 0);
	refused(CW_ECONF, "is missing");
	assert_int_not_equal(access(key, F_OK), 0); /* none was made in its place */
	f = fopen(key, "w");
	fputs("something else\n", f);
	fclose(f);
	refused(CW_ECONF, "is not a key file");
	copy(kept, key);
	assert_int_equal(chmod(key, 0644), 0);
	refused(CW_EACCESS, "chmod 0600");
	assert_int_equal(chmod(key, 0600), 0);
	f = fopen(key, "r+"); /* the right name, another key */
	assert_int_equal(fseek(f, 40, SEEK_SET), 0);
	fputs(file_has(key, "0") ? "f0f0f0f0" : "0f0f0f0f", f);
	fclose(f);
	refused(CW_ECONF, "damaged");
	copy(kept, key);
	t = open_table();
	expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
	cw_table_close(t);
}

static void a_change_of_key_may_be_interrupted_anywhere(void **state)
{
	struct cw_table *t = open_table();
	char old[120], old_db[120];
	struct cw_key unused;
	struct cw_msg msg = { "" };
	size_t rows;

	put(t, "1", "dev-1", "a", CW_TABLE_ADDED);
	put(t, "2", "dev-2", "b", CW_TABLE_ADDED);
	cw_table_close(t);
	(void)snprintf(old, sizeof(old), "%s.old", key);
	(void)snprintf(old_db, sizeof(old_db), "%s.old", db);
	copy(key, old);
	copy(db, old_db);
	/* after the new key was written, before the table changed */
	assert_int_equal(cw_key_make(fresh, &unused, &msg), 0);
	t = open_table();
	expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
	assert_int_not_equal(access(fresh, F_OK), 0);
	/* after the table changed, before the new key had its name */
	if (cw_table_rekey(t, &rows, &msg) < 0)
		fail_msg("%s", msg.text);
	assert_int_equal(rows, 2);
	expect(t, "2", "2 pk/dev-2 b {\"a\":1}");
	cw_table_close(t);
	assert_int_equal(rename(key, fresh), 0);
	copy(old, key);
	t = open_table();
	expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
	assert_int_not_equal(access(fresh, F_OK), 0);
	put(t, "3", "dev-3", "c", CW_TABLE_ADDED);
	cw_table_close(t);
	/* and when it was not interrupted */
	t = open_table();
	expect(t, "3", "3 pk/dev-3 c {\"a\":1}");
	cw_table_close(t);
	/* the table of before does not open with the key of after */
	copy(old_db, db);
	refused(CW_ECONF, "is not the key of");
}

static void a_failed_rekey_leaves_the_old_key(void **state)
{
	struct cw_table *t = open_table();
	struct cw_msg msg = { "" };
	size_t rows;
	long n;
	int rc;

	put(t, "1", "dev-1", "a", CW_TABLE_ADDED);
	for (n = 0;; n++) {
		cw_mem_fail_at(n);
		rc = cw_table_rekey(t, &rows, &msg);
		cw_mem_fail_at(-1);
		expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
		if (rc == 0)
			break;
		assert_int_not_equal(access(fresh, F_OK), 0);
	}
	assert_true(n > 0);
	cw_table_close(t);
	t = open_table();
	expect(t, "1", "1 pk/dev-1 a {\"a\":1}");
	cw_table_close(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_put_is_there_again_and_no_file_shows_the_secret),
		TEST(a_rolled_back_import_leaves_nothing),
		TEST(a_full_disk_is_said_and_changes_nothing),
		TEST(a_torn_file_is_refused_with_the_way_out),
		TEST(a_table_of_a_newer_causeway_is_left_alone),
		TEST(a_row_that_was_changed_or_moved_does_not_open_and_the_others_do),
		TEST(a_wrong_a_missing_and_a_broken_key_are_told_apart),
		TEST(a_change_of_key_may_be_interrupted_anywhere),
		TEST(a_failed_rekey_leaves_the_old_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
