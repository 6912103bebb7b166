/* The table as a source: asked and edited over the store thread, and closed while something is on its way. covers: M16 M17 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "identity/table.h"

static struct {
	struct cw_worker *control, *store;
	struct cw_resolver *r;
	struct cw_table_source *table;
	char dir[64], key[100];
	long live;
	int told, rc, edited;
	char name[64];
	struct cw_edit edit;
} t;

static int open_source(void **state)
{
	struct cw_msg msg = { "" };

	memset(&t, 0, sizeof(t));
	t.live = cw_mem_live();
	strcpy(t.dir, "/tmp/cw-source-XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	(void)snprintf(t.key, sizeof(t.key), "%s/identity.key", t.dir);
	assert_int_equal(cw_worker_new("control", 0, &t.control), 0);
	assert_int_equal(cw_worker_new("store", 0, &t.store), 0);
	assert_int_equal(cw_worker_start(t.store), 0);
	assert_int_equal(cw_resolver_new(t.control, &t.r), 0);
	if (cw_table_source_new(t.r, t.control, t.store, t.dir, t.key, &t.table, &msg) < 0)
		fail_msg("%s", msg.text);
	assert_int_equal(cw_resolver_add(t.r, &cw_table_source_ops, t.table, 0, 0), 0);
	return 0;
}

static void let_store_end(void *arg)
{
	cw_worker_release(t.store);
}

static void let_control_end(void *arg)
{
	cw_worker_release(t.control); /* delivers what the store thread has posted */
}

static int close_source(void **state)
{
	char command[100];

	cw_resolver_free(t.r);
	cw_worker_stop(t.store, let_store_end, NULL);
	cw_worker_join(t.store);
	cw_worker_stop(t.control, let_control_end, NULL);
	cw_worker_run(t.control);
	if (t.edit.closed) /* what came of it is the editor's to free, also then */
		cw_free(t.edit.list);
	cw_worker_free(t.store);
	cw_worker_free(t.control);
	assert_int_equal(cw_mem_live(), t.live);
	(void)snprintf(command, sizeof(command), "rm -r %s", t.dir);
	return system(command); /* NOLINT */
}

static void run_until(const int *counter, int n)
{
	while (*counter < n)
		(void)uv_run(cw_worker_loop(t.control), UV_RUN_ONCE);
}

static void on_done(struct cw_question *q, int rc, const struct cw_identity *id)
{
	t.told++;
	t.rc = rc;
	(void)snprintf(t.name, sizeof(t.name), "%s", id == NULL ? "" : id->device_name);
}

static void ask(struct cw_question *q, const char *identity)
{
	struct cw_claim claim = { .identity = identity, .identity_len = strlen(identity) };

	*q = (struct cw_question){ .done = on_done };
	cw_resolver_ask(t.r, &claim, q);
}

static void on_edited(struct cw_edit *e)
{
	t.edited++;
}

static void start_edit(enum cw_edit_kind kind, const char *text)
{
	t.edit = (struct cw_edit){ .kind = kind, .text = cw_strdup(text), .len = strlen(text), .most = 10, .done = on_edited };
	cw_table_source_edit(t.table, &t.edit);
}

static int edit(enum cw_edit_kind kind, const char *text)
{
	int before = t.edited;

	start_edit(kind, text);
	run_until(&t.edited, before + 1);
	return t.edit.rc;
}

static void drop_edit(void)
{
	cw_identities_free(t.edit.touched);
	cw_free(t.edit.list);
}

#define ONE "[{\"identity\":\"1\",\"productKey\":\"pk\",\"deviceName\":\"dev-1\",\"deviceSecret\":\"s1\"}]"

static void questions_and_edits_go_there_and_back(void **state)
{
	struct cw_question q, r = { .done = on_done };

	ask(&q, "1");
	assert_int_equal(t.told, 1); /* an empty table is asked nothing */
	assert_int_equal(t.rc, CW_ENOENT);
	assert_int_equal(edit(CW_EDIT_IMPORT, ONE), 0);
	assert_int_equal(t.edit.result.added, 1);
	assert_int_equal(t.edit.touched->count, 1);
	drop_edit();
	assert_int_equal(cw_resolver_count(t.r), 1);
	ask(&q, "1");
	assert_int_equal(t.told, 1);
	run_until(&t.told, 2);
	assert_string_equal(t.name, "dev-1");
	cw_resolver_ask_name(t.r, "pk", "dev-1", &r);
	run_until(&t.told, 3);
	assert_int_equal(t.rc, CW_OK);
	assert_int_equal(edit(CW_EDIT_LIST, ""), 0);
	assert_non_null(strstr(t.edit.list, "\"dev-1\""));
	assert_null(strstr(t.edit.list, "s1"));
	drop_edit();
	assert_int_equal(edit(CW_EDIT_REKEY, ""), 0);
	assert_int_equal(t.edit.result.rows, 1);
	assert_true(edit(CW_EDIT_IMPORT, "[{\"identity\":\"2\"}]") < 0);
	assert_int_equal(edit(CW_EDIT_REMOVE, "1"), 0);
	assert_string_equal(cw_identities_find(t.edit.touched, "1", 1)->device_name, "dev-1");
	drop_edit();
	assert_int_equal(edit(CW_EDIT_REMOVE, "1"), CW_ENOENT);
	drop_edit();
	assert_int_equal(cw_resolver_count(t.r), 0);
}

static void what_is_on_its_way_when_it_closes_comes_back_to_nobody(void **state)
{
	static struct cw_question q;

	assert_int_equal(edit(CW_EDIT_IMPORT, ONE), 0);
	drop_edit();
	ask(&q, "1");
	start_edit(CW_EDIT_LIST, "");
	cw_resolver_cancel(t.r, &q);
	/* close_source() frees the source now */
}

static int closed_and_told(void **state)
{
	int rc = close_source(state);

	assert_int_equal(t.edited, 2);
	assert_int_equal(t.edit.closed, 1);
	assert_int_equal(t.edit.rc, 0);
	assert_int_equal(t.told, 0);
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(questions_and_edits_go_there_and_back, open_source, close_source),
		cmocka_unit_test_setup_teardown(what_is_on_its_way_when_it_closes_comes_back_to_nobody, open_source, closed_and_told),
	};

	cw_log_setup(CW_LOG_ERROR, 0, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
