/* Who is online behind a large bridge: what was answered is on the disk, whatever happens then. covers: M13 M27 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/online.h"

#define MANY 3000

static char dir[] = "/tmp/cw-online-XXXXXX";

static void path_of(char *out, size_t size, const char *tail)
{
	(void)snprintf(out, size, "%s/online-pk.dn.db%s", dir, tail);
}

static int make_dir(void **state)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int drop_dir(void **state)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	char path[80];
	size_t i;

	for (i = 0; i < 3; i++) {
		path_of(path, sizeof(path), tails[i]);
		(void)unlink(path);
	}
	return rmdir(dir);
}

struct seen {
	unsigned count;
	char last[CW_ONLINE_KEY];
};

static int on_known(void *ctx, const char *key)
{
	struct seen *s = ctx;

	s->count++;
	(void)snprintf(s->last, sizeof(s->last), "%s", key);
	return 0;
}

/* A loop that opens the store, changes it and ends. */
struct run {
	struct cw_worker *w;
	struct cw_online *o;
	struct seen seen;
	struct cw_mail mail;
	void (*work)(struct run *r);
	unsigned awaited, failed;
};

struct one {
	struct cw_online_put put;
	struct run *r;
};

static void end(struct run *r)
{
	cw_online_close(r->o);
	cw_worker_release(r->w);
}

static void on_put(struct cw_online_put *p)
{
	struct run *r = cw_container_of(p, struct one, put)->r;

	r->failed += p->rc != 0;
	if (--r->awaited == 0)
		end(r);
}

static void on_start(struct cw_mail *mail)
{
	struct run *r = cw_container_of(mail, struct run, mail);
	struct cw_msg msg = { "" };

	if (cw_online_open(dir, "pk.dn", r->w, on_known, &r->seen, &r->o, &msg) < 0) {
		r->failed++;
		cw_worker_release(r->w);
		return;
	}
	r->work(r);
}

static void go(struct run *r, void (*work)(struct run *r))
{
	memset(r, 0, sizeof(*r));
	r->work = work;
	assert_int_equal(cw_worker_new("test", 0, &r->w), 0);
	cw_post(r->w, &r->mail, on_start);
	cw_worker_run(r->w);
	cw_worker_free(r->w);
	assert_int_equal(r->failed, 0);
}

static struct one ones[MANY];

static void put_many(struct run *r)
{
	char key[CW_ONLINE_KEY];
	unsigned i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(key, sizeof(key), "pk/device-%04u", i);
		memset(&ones[i], 0, sizeof(ones[i]));
		ones[i].put.done = on_put;
		ones[i].r = r;
		r->awaited++;
		assert_int_equal(cw_online_put(r->o, key, &ones[i].put), 0);
	}
}

static void drop_all_but_the_last(struct run *r)
{
	char key[CW_ONLINE_KEY];
	unsigned i;

	for (i = 0; i + 1 < MANY; i++) {
		(void)snprintf(key, sizeof(key), "pk/device-%04u", i);
		cw_online_drop(r->o, key);
	}
	end(r);
}

/* Ends before the answer has come: it comes all the same. */
static void put_and_end(struct run *r)
{
	memset(&ones[0], 0, sizeof(ones[0]));
	ones[0].put.done = on_put;
	ones[0].r = r;
	r->awaited = 2; /* so that on_put() ends nothing */
	assert_int_equal(cw_online_put(r->o, "pk/late", &ones[0].put), 0);
	end(r);
}

static void too_long(struct run *r)
{
	char key[CW_ONLINE_KEY + 1];

	memset(key, 'k', sizeof(key));
	key[CW_ONLINE_KEY] = '\0';
	assert_int_equal(cw_online_put(r->o, key, &ones[0].put), CW_ELIMIT);
	cw_online_drop(r->o, key);
	end(r);
}

static void test_the_set_survives(void **state)
{
	struct stat st;
	char path[80];
	struct run r;

	go(&r, put_many);
	assert_int_equal(r.seen.count, 0);
	path_of(path, sizeof(path), "");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	go(&r, drop_all_but_the_last);
	assert_int_equal(r.seen.count, MANY);
	go(&r, put_and_end);
	assert_int_equal(r.seen.count, 1);
	assert_string_equal(r.seen.last, "pk/device-2999");
	assert_int_equal(r.awaited, 1);
	go(&r, too_long);
	assert_int_equal(r.seen.count, 2);
}

static void test_a_file_that_is_not_ours_is_refused(void **state)
{
	struct cw_online *o = NULL;
	struct cw_msg msg = { "" };
	struct seen seen = { 0 };
	char path[80];
	sqlite3 *db;
	FILE *f;

	path_of(path, sizeof(path), "");
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fputs(
		"This is a text and no database, and long enough to be noticed as one by everybody who looks at it.",
		f);
	(void)fclose(f);
	assert_int_equal(cw_online_open(dir, "pk.dn", NULL, on_known, &seen, &o, &msg), CW_EIO);
	assert_non_null(strstr(msg.text, "online-pk.dn.db"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(cw_online_open(dir, "pk.dn", NULL, on_known, &seen, &o, &msg), CW_EIO);
	assert_non_null(strstr(msg.text, "newer"));
	assert_int_equal(cw_online_open("/nowhere", "pk.dn", NULL, on_known, &seen, &o, &msg), CW_ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_set_survives, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_a_file_that_is_not_ours_is_refused, make_dir, drop_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
