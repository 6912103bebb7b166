/* Opening: the first time, by two at once, with another key, of another version; and copies, health, read-only. covers: B29 */
#include "world.h"

#include <sys/stat.h>
#include <sys/wait.h>

static void refused(const struct cw_stock_conf *conf, int rc, const char *why)
{
	struct cw_msg msg = { "" };
	struct cw_stock *s = NULL;

	assert_int_equal(cw_stock_open(conf, &s, &msg), rc);
	assert_null(s);
	if (strstr(msg.text, why) == NULL)
		fail_msg("%s", msg.text);
}

static void test_first(void **state)
{
	const struct world *w = *state;
	struct cw_stock *s = world_open(w);
	struct cw_msg msg = { "" };
	struct stat st;
	char id[CW_KEY_ID];

	assert_int_equal(stat(w->key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	strcpy(id, s->key.id);
	world_import(s, PK, "b", 0, 1);
	assert_int_equal(cw_stock_ping(s, &msg), 0);
	cw_stock_close(s);
	s = world_open(w);
	assert_string_equal(s->key.id, id);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OK);
	cw_stock_close(s);
}

static void test_refusals(void **state)
{
	struct world *w = *state;
	struct cw_stock_conf conf = { .db = w->db, .key_file = w->key, .node = "one" };
	struct cw_key key;
	struct cw_msg msg = { "" };
	char other[120];
	struct cw_stock *s;

	(void)snprintf(other, sizeof(other), "%s/other.key", w->dir);
	conf.read_only = 1;
	if (world_has_server())
		refused(&conf, CW_ECONF, "holds no stock");
	conf.read_only = 0;
	s = world_open(w);
	world_import(s, PK, "b", 0, 1);
	cw_stock_close(s);
	conf.key_file = other;
	refused(&conf, CW_ECONF, "there is no key file");
	assert_int_equal(access(other, F_OK), -1); /* none was made */
	assert_int_equal(cw_key_make(other, &key, &msg), 0);
	refused(&conf, CW_ECONF, "name the key file that belongs to this database");
	conf.read_only = 1;
	refused(&conf, CW_ECONF, "name the key file that belongs to this database");
	conf.read_only = 0;
	conf.key_file = w->key;
	conf.node = "two words";
	refused(&conf, CW_ECONF, "node name");
	conf.node = "one";
	s = world_open(w);
	world_sql(s, "UPDATE meta SET value = '2' WHERE name = 'version'");
	refused(&conf, CW_ECONF, "later version");
	world_sql(s, "DELETE FROM meta WHERE name = 'version'");
	refused(&conf, CW_ECONF, "not a stock");
	cw_stock_close(s);
	conf.key_file = NULL;
	if (world_has_server())
		refused(&conf, CW_ECONF, "needs a key file");
}

/* Somebody else's file is left as it is. */
static void test_other_database(void **state)
{
	struct world *w = *state;
	const struct cw_stock_conf conf = { .db = w->db, .key_file = w->key, .node = "one" };
	const struct cw_db_conf db_conf = { .where = w->db };
	struct cw_msg msg = { "" };
	struct cw_db *db = NULL;

	if (world_has_server())
		return; /* there our tables may lie beside others */
	assert_int_equal(cw_db_open(&db_conf, &db, &msg), 0);
	assert_int_equal(cw_db_script(db, "CREATE TABLE mine (a TEXT)", &msg), 0);
	cw_db_close(db);
	refused(&conf, CW_ECONF, "not a stock");
	assert_int_equal(access(w->key, F_OK), -1);
}

static void test_two_at_once(void **state)
{
	const struct world *w = *state;
	int i, status;
	struct cw_stock *s;

	for (i = 0; i < 8; i++) {
		if (fork() == 0) {
			char id[16];
			int rc;

			(void)snprintf(id, sizeof(id), "node%d", i);
			s = world_open_as(w, id);
			rc = world_number(s, "SELECT COUNT(*) FROM meta WHERE name = 'key_id'") != 1;
			cw_stock_close(s);
			_exit(rc);
		}
	}
	for (i = 0; i < 8; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	s = world_open(w);
	world_import(s, PK, "b", 0, 1);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OK);
	cw_stock_close(s);
}

static void test_read_only(void **state)
{
	const struct world *w = *state;
	struct cw_stock_conf conf = { .db = w->db, .key_file = w->key, .node = "one", .read_only = 1 };
	struct cw_stock_ask a = world_ask(CW_STOCK_ALLOCATE, "A"), *group[] = { &a };
	struct cw_stock *s = world_open(w), *ro = NULL;
	struct cw_stock_cert cert;
	struct cw_lot *lot = NULL;
	const struct cw_lot_conf lot_conf = { .batch = "c", .who = tester };
	struct cw_msg msg = { "" };

	world_import(s, PK, "b", 0, 2);
	world_serve(s, &a, 1);
	assert_int_equal(cw_stock_open(&conf, &ro, &msg), 0);
	assert_int_equal(cw_stock_ping(ro, &msg), 0);
	assert_int_equal(cw_stock_find(ro, PK, "A", NULL, &cert, &msg), 0);
	assert_string_equal(cert.device_secret, DS);
	a = world_ask(CW_STOCK_ALLOCATE, "B");
	assert_true(cw_stock_serve(ro, group, 1, &msg) < 0);
	assert_int_equal(a.answer, CW_STOCK_BUSY);
	assert_int_equal(cw_lot_begin(ro, &lot_conf, &lot, &msg), CW_EACCESS);
	cw_stock_close(ro);
	/* without the key: everything but secrets */
	assert_int_equal(unlink(w->key), 0);
	assert_int_equal(cw_stock_open(&conf, &ro, &msg), 0);
	assert_int_equal(world_number(ro, "SELECT COUNT(*) FROM cert"), 2);
	assert_int_equal(cw_stock_find(ro, PK, "A", NULL, &cert, &msg), CW_EAUTH);
	cw_stock_close(ro);
	cw_stock_close(s);
}

static void test_backup(void **state)
{
	const struct world *w = *state;
	struct cw_stock *s = world_open(w);
	struct cw_msg msg = { "" };
	char file[120], name[33];
	const struct cw_stock_conf conf = { .db = file, .key_file = w->key, .node = "one" };

	(void)snprintf(file, sizeof(file), "%s/copy.db", w->dir);
	world_import(s, PK, "b", 0, 2);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OK);
	if (world_has_server()) {
		assert_int_equal(cw_stock_backup(s, file, &msg), CW_EUNSUPPORTED);
		cw_stock_close(s);
		return;
	}
	assert_int_equal(cw_stock_backup(s, file, &msg), 0);
	assert_int_equal(cw_stock_backup(s, file, &msg), CW_EEXIST);
	cw_stock_close(s);
	assert_int_equal(cw_stock_open(&conf, &s, &msg), 0);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0000");
	world_check(s);
	cw_stock_close(s);
}

/* The head of the audit log's chain was edited: nothing is put behind it. */
static void test_edited_head(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a = world_ask(CW_STOCK_ALLOCATE, "B"), *group[] = { &a };
	struct cw_msg msg = { "" };

	world_import(s, PK, "b", 0, 5);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OK);
	world_sql(s, "UPDATE chain SET number = 1");
	assert_int_equal(cw_stock_serve(s, group, 1, &msg), CW_EIO);
	assert_int_equal(a.answer, CW_STOCK_BUSY);
	assert_non_null(strstr(msg.text, "audit log"));
	world_sql(s, "DELETE FROM chain");
	assert_int_equal(cw_stock_serve(s, group, 1, &msg), CW_EIO);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), 4);
	cw_stock_close(s);
	s = world_open_as(*state, "two"); /* the way out */
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B", NULL), CW_STOCK_OK);
	cw_stock_close(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_make, world_drop)
	const struct CMUnitTest tests[] = {
		TEST(test_first), TEST(test_refusals), TEST(test_other_database), TEST(test_two_at_once), TEST(test_read_only),
		TEST(test_backup), TEST(test_edited_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
