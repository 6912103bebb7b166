/* Databases in files: their modes, several processes, copies, disks that are full and files that are damaged. */
#include "db_test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[128];

/* In the test's folder; overwritten by the next call. */
static const char *beside(const char *name)
{
	(void)snprintf(path, sizeof(path), "%s/%s", db_folder, name);
	return path;
}

/* `work` in a process of its own returns 0. */
static void in_child(int (*work)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(work());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_new_file_is_for_its_owner_only(void **state)
{
	struct cw_db *db;
	struct stat st;
	mode_t old = umask(0);

	db = db_fresh();
	umask(old);
	assert_int_equal(stat(db_where, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(beside("a.db-wal"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	cw_db_close(db);
	/* Who gave others a right to it keeps that. */
	assert_int_equal(chmod(db_where, 0640), 0);
	cw_db_close(db_opened());
	assert_int_equal(stat(db_where, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	/* A shell's quarrel with a name is not SQLite's: no memory, no temporary file. */
	db_not_opened(beside("nowhere/a.db"), 0, CW_ENOENT, "folder");
	db_not_opened(beside("other.db"), 1, CW_ENOENT, "no such file");
	assert_int_equal(access(path, F_OK), -1);
}

static int open_as_nobody(void)
{
	struct cw_db_conf conf = { .where = db_where };
	struct cw_msg msg = { "" };
	struct cw_db *db = NULL;

	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return 1;
	if (cw_db_open(&conf, &db, &msg) != CW_EACCESS || strstr(msg.text, "run as the user") == NULL)
		return 2;
	conf.where = beside("b.db");
	return cw_db_open(&conf, &db, &msg) == CW_EACCESS ? 0 : 3;
}

static void a_file_of_others_is_refused_with_the_way_out(void **state)
{
	cw_db_close(db_fresh());
	assert_int_equal(chmod(db_where, 0), 0); /* who is not root is its owner here */
	assert_int_equal(chmod(db_folder, 0555), 0);
	in_child(open_as_nobody);
	assert_int_equal(chmod(db_folder, 0700), 0);
}

static void two_writers_take_turns(void **state)
{
	struct cw_db *a = db_fresh(), *b = db_opened();
	struct cw_msg msg = { "" };

	db_begin(a);
	db_put(a, "a", 1);
	assert_int_equal(cw_db_begin(b, 1, &msg), CW_EBUSY);
	assert_non_null(strstr(msg.text, "200 ms"));
	db_expect(b, "0;", "SELECT count(*) FROM thing", NULL, 0); /* who reads does not wait */
	db_commit(a);
	db_begin(b);
	db_put(b, "b", 2);
	db_commit(b);
	db_expect(a, "2;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(a);
	cw_db_close(b);
}


/* Twenty processes find no file, in one moment. */
static void many_processes_make_one_file(void **state)
{
	struct cw_db_conf conf = { .where = db_where, .wait_ms = 10000 };
	int gate[2], i, status, failed = 0;
	char go;

	assert_int_equal(pipe(gate), 0);
	for (i = 0; i < 20; i++) {
		struct cw_msg msg = { "" };
		struct cw_db *db;

		if (fork() != 0)
			continue;
		close(gate[1]);
		(void)!read(gate[0], &go, 1); /* its end */
		if (cw_db_open(&conf, &db, &msg) < 0 || cw_db_begin(db, 1, &msg) < 0 ||
		    cw_db_script(db, "CREATE TABLE IF NOT EXISTS once (a TEXT); INSERT INTO once VALUES ('x')", &msg) < 0 || cw_db_commit(db, &msg) < 0) {
			fprintf(stderr, "%s\n", msg.text);
			_exit(1);
		}
		cw_db_close(db);
		_exit(0);
	}
	close(gate[0]);
	close(gate[1]);
	for (i = 0; i < 20; i++) {
		assert_true(wait(&status) > 0);
		failed += status != 0;
	}
	assert_int_equal(failed, 0);
	{
		struct cw_db *db = db_opened();

		db_expect(db, "20;", "SELECT count(*) FROM once", NULL, 0);
		cw_db_close(db);
	}
}

/* Byte-range locks of the file that others hold: SQLite's readers lock these. */
static int is_locked(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510 };
	int fd = open(db_where, O_RDWR);

	return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 0 : 1;
}

/* Closing any descriptor of a file drops all locks a process has on it; opening a database must not do that to another one. */
static void a_second_connection_leaves_the_locks_of_the_first(void **state)
{
	struct cw_db *first = db_fresh();

	in_child(is_locked);
	cw_db_close(db_opened());
	in_child(is_locked);
	cw_db_close(first);
}

static void a_copy_is_whole_while_others_write(void **state)
{
	struct cw_db *writer = db_fresh(), *db = db_opened(), *copy = NULL;
	char file[128];
	struct cw_db_conf conf = { .where = file, .read_only = 1 };
	struct cw_msg msg = { "" };
	struct stat st;

	(void)snprintf(file, sizeof(file), "%s", beside("copy.db"));
	db_put(writer, "a", 1);
	db_begin(writer);
	db_put(writer, "not yet", 2);
	assert_int_equal(cw_db_copy(db, file, &msg), 0);
	db_commit(writer);
	assert_int_equal(cw_db_copy(db, file, &msg), CW_EEXIST);
	assert_non_null(strstr(msg.text, "not overwritten"));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* It needs nothing beside it, and is read where nothing can be written. */
	assert_int_equal(cw_db_open(&conf, &copy, &msg), 0);
	db_expect(copy, "'a'|1;", "SELECT name, number FROM thing", NULL, 0);
	db_expect(copy, "'ok';", "PRAGMA integrity_check", NULL, 0);
	assert_int_equal(access(beside("copy.db-wal"), F_OK), -1);
	/* From a copy, read only, one can be made, too. */
	assert_int_equal(cw_db_copy(copy, beside("second.db"), &msg), 0);
	cw_db_close(copy);
	assert_int_equal(cw_db_copy(db, beside("nowhere/copy.db"), &msg), CW_ENOENT);
	cw_db_close(db);
	cw_db_close(writer);
}

/* Nothing may grow beyond `bytes`; for SQLite that is a disk without room. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_loses_nothing_and_passes(void **state)
{
	struct cw_db *db = db_fresh();
	const struct cw_db_value p[] = { cw_db_text("large"), cw_db_int(1), cw_db_blob(cw_bytes_of(calloc(1, 300000), 300000)) };
	struct cw_msg msg = { "" };

	(void)signal(SIGXFSZ, SIG_IGN);
	db_put(db, "a", 1);
	limit_files(200000);
	db_begin(db);
	db_put(db, "b", 2);
	/* In the statement or at the commit, as much as SQLite keeps in memory. */
	if (cw_db_run(db, DB_INSERT, p, 3, NULL, NULL, NULL, &msg) == 0)
		assert_int_equal(cw_db_commit(db, &msg), CW_EIO);
	assert_non_null(strstr(msg.text, "full"));
	cw_db_rollback(db);
	assert_int_equal(cw_db_run(db, DB_INSERT, p, 3, NULL, NULL, NULL, &msg), CW_EIO);
	assert_non_null(strstr(msg.text, "full"));
	assert_int_equal(cw_db_copy(db, beside("small.db"), &msg), 0);
	limit_files(4000);
	assert_int_equal(cw_db_copy(db, beside("copy.db"), &msg), CW_EIO);
	assert_non_null(strstr(msg.text, "no copy was made"));
	assert_int_equal(access(path, F_OK), -1);
	limit_files(RLIM_INFINITY);
	/* The same answer as of a file system without room, which is not a limit's. */
	assert_int_equal(cw_db_run(db, "PRAGMA max_page_count = 20", NULL, 0, NULL, NULL, NULL, &msg), 0);
	db_refused(db, CW_EIO, "the disk is full", DB_INSERT, p, 3);
	assert_int_equal(cw_db_run(db, "PRAGMA max_page_count = 1000000", NULL, 0, NULL, NULL, NULL, &msg), 0);
	db_expect(db, "'a';", "SELECT name FROM thing", NULL, 0);
	assert_int_equal(db_run(db, DB_INSERT, p, 3), 1);
	cw_db_close(db);
	free((void *)(uintptr_t)p[2].bytes.ptr);
	db = db_opened();
	db_expect(db, "2;", "SELECT count(*) FROM thing", NULL, 0);
	cw_db_close(db);
}

static void overwrite(off_t at, const char *with, size_t len)
{
	int fd = open(db_where, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, with, len, at), len);
	close(fd);
}

static void a_damaged_file_says_so(void **state)
{
	static const char noise[16384] = { 'n', 'o' };
	struct cw_db *db = db_fresh();
	struct cw_msg msg = { "" };
	int i;

	for (i = 0; i < 500; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "thing %d", i);
		db_put(db, name, i);
	}
	cw_db_close(db);
	overwrite(4096, noise, sizeof(noise));
	db = db_opened();
	assert_int_equal(cw_db_run(db, "SELECT count(*), max(name) FROM thing", NULL, 0, NULL, NULL, NULL, &msg), CW_EIO);
	assert_non_null(strstr(msg.text, "damaged"));
	assert_non_null(strstr(msg.text, ".recover"));
	cw_db_close(db);
	overwrite(0, "ProductKey,DeviceName,DeviceSecret\n", 35);
	db_not_opened(db_where, 0, CW_EIO, "is not a database");
	db_not_opened(db_where, 1, CW_EIO, "is not a database");
	db_not_opened(db_folder, 0, CW_EIO, "cannot be opened");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DB_RUN(a_new_file_is_for_its_owner_only),
		DB_RUN(a_file_of_others_is_refused_with_the_way_out),
		DB_RUN(two_writers_take_turns),
		DB_RUN(many_processes_make_one_file),
		DB_RUN(a_second_connection_leaves_the_locks_of_the_first),
		DB_RUN(a_copy_is_whole_while_others_write),
		DB_RUN(a_full_disk_loses_nothing_and_passes),
		DB_RUN(a_damaged_file_says_so),
	};

	return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
