/*
 * All identities that begin with a text: of a set in memory (also a large one), of the table, and of several sources in
 * one list. covers: M16
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "identity/file.h"
#include "identity/resolver.h"
#include "store/identities.h"

static struct {
	struct cw_worker *control;
	struct cw_resolver *r;
	struct cw_file_source *file;
	uint64_t token; /* of the source that is slow */
	size_t most;
	long live;
	int told, rc, more;
	char names[400];
} t;

static void slow_ask(void *source, const struct cw_claim *claim, uint64_t token)
{
}

static void slow_list(void *source, const char *prefix, size_t len, size_t most, uint64_t token)
{
	t.token = token;
	t.most = most;
}

/* The first cannot be listed. */
static const struct cw_source_ops mute_ops = { .name = "mute", .ask = slow_ask };
static const struct cw_source_ops slow_ops = { .name = "slow", .ask = slow_ask, .list = slow_list };

static void put(struct cw_identities *set, const char *identity)
{
	assert_int_equal(cw_identities_add(set, identity, "pk", identity, "s", cw_bytes_of(NULL, 0)), 0);
}

static int open_sources(void **state)
{
	struct cw_identities *set;

	memset(&t, 0, sizeof(t));
	t.live = cw_mem_live();
	assert_int_equal(cw_worker_new("control", 0, &t.control), 0);
	assert_int_equal(cw_resolver_new(t.control, &t.r), 0);
	assert_int_equal(cw_file_source_new(t.r, &t.file), 0);
	assert_int_equal(cw_resolver_add(t.r, &mute_ops, NULL, 0, 0), 0);
	assert_int_equal(cw_resolver_add(t.r, &cw_file_source_ops, t.file, 0, 0), 0);
	assert_int_equal(cw_resolver_add(t.r, &slow_ops, NULL, 0, 0), 0);
	assert_int_equal(cw_identities_new(&set), 0);
	put(set, "b/2");
	put(set, "a/1");
	put(set, "b/1");
	put(set, "b");
	put(set, "b0");
	cw_identities_free(cw_file_source_swap(t.file, set));
	return 0;
}

static int close_sources(void **state)
{
	cw_resolver_free(t.r);
	cw_worker_free(t.control);
	assert_int_equal(cw_mem_live(), t.live);
	return 0;
}

static void on_listed(struct cw_listing *q, int rc, const struct cw_names *names)
{
	size_t i;

	t.told++;
	t.rc = rc;
	t.more = names->more;
	t.names[0] = '\0';
	for (i = 0; i < names->count; i++) {
		strcat(t.names, names->items[i]);
		strcat(t.names, " ");
	}
	memset(q, 0xaa, sizeof(*q)); /* may be gone now */
}

static void list(struct cw_listing *q, const char *prefix, size_t most)
{
	*q = (struct cw_listing){ .done = on_listed, .most = most };
	t.token = 0;
	cw_resolver_list(t.r, prefix, strlen(prefix), q);
}

static void slow_says(int rc, const char *one, const char *other)
{
	struct cw_names names = { 0 };

	if (one != NULL)
		assert_int_equal(cw_names_add(&names, one, strlen(one)), 0);
	if (other != NULL)
		assert_int_equal(cw_names_add(&names, other, strlen(other)), 0);
	cw_resolver_listed(t.r, t.token, rc, &names);
	cw_names_fini(&names);
}

static void what_several_sources_have_is_one_list(void **state)
{
	struct cw_listing q;

	list(&q, "b/", 10);
	assert_int_equal(t.told, 0);
	assert_int_equal(t.most, 10);
	slow_says(0, "b/3", "b/1");
	assert_int_equal(t.told, 1);
	assert_string_equal(t.names, "b/1 b/2 b/3 ");
	assert_int_equal(t.more, 0);
	list(&q, "b", 10);
	slow_says(0, NULL, NULL);
	assert_string_equal(t.names, "b b/1 b/2 b0 ");
	list(&q, "c", 10);
	slow_says(0, NULL, NULL);
	assert_string_equal(t.names, "");
	assert_int_equal(t.rc, 0);
}

static void no_more_than_asked_for_and_it_says_so(void **state)
{
	struct cw_listing q;

	list(&q, "b", 2); /* the file alone has more */
	slow_says(0, NULL, NULL);
	assert_string_equal(t.names, "b b/1 ");
	assert_int_equal(t.more, 1);
	list(&q, "b/", 2); /* together they have */
	slow_says(0, "b/0", NULL);
	assert_string_equal(t.names, "b/0 b/1 ");
	assert_int_equal(t.more, 1);
}

static void a_source_that_fails_is_said_beside_what_the_others_have(void **state)
{
	struct cw_listing q;
	char endless[200];

	list(&q, "b/", 10);
	slow_says(CW_EIO, NULL, NULL);
	assert_int_equal(t.rc, CW_EIO);
	assert_string_equal(t.names, "b/1 b/2 ");
	memset(endless, 'b', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	list(&q, endless, 10);
	assert_int_equal(t.rc, CW_EINVAL);
	assert_int_equal(t.told, 2);
}

static void who_does_not_wait_any_more_is_not_told(void **state)
{
	struct cw_listing q;

	list(&q, "b/", 10);
	cw_resolver_list_cancel(t.r, &q);
	slow_says(0, "b/3", NULL);
	assert_int_equal(t.told, 0);
	cw_resolver_list_cancel(t.r, &q);
}

static void without_memory_it_is_an_error_and_nothing_is_lost(void **state)
{
	long nth;

	for (nth = 0;; nth++) {
		struct cw_listing q;
		int before = t.told, fired;

		cw_mem_fail_at(nth);
		list(&q, "b/", 10);
		fired = cw_mem_failed();
		cw_mem_fail_at(-1);
		if (t.told == before)
			slow_says(0, NULL, NULL);
		assert_int_equal(t.told, before + 1);
		if (!fired)
			break;
		assert_true(t.rc < 0 || strcmp(t.names, "b/1 b/2 ") == 0);
	}
	assert_true(nth > 3);
	assert_int_equal(t.rc, 0);
}

static void a_large_set_is_searched_and_follows_what_is_added(void **state)
{
	const struct cw_identity *const *first;
	struct cw_identities *set;
	char name[32];
	size_t n;
	int i;

	assert_int_equal(cw_identities_new(&set), 0);
	for (i = 0; i < 200000; i++) {
		(void)snprintf(name, sizeof(name), "%06d/%d", (i * 7919) % 20000, i / 20000);
		put(set, name);
	}
	for (i = 0; i < 20000; i++) {
		(void)snprintf(name, sizeof(name), "%06d/", i);
		assert_int_equal(cw_identities_with(set, name, strlen(name), &first, &n), 0);
		assert_int_equal(n, 10);
		assert_memory_equal(first[0]->identity, name, 7);
		assert_string_equal(first[9]->identity + 7, "9");
	}
	assert_int_equal(cw_identities_with(set, "\xc3\xbf", 2, &first, &n), 0);
	assert_int_equal(n, 0);
	put(set, "\xc3\xbf!");
	assert_int_equal(cw_identities_with(set, "\xc3\xbf", 2, &first, &n), 0);
	assert_int_equal(n, 1);
	cw_identities_free(set);
}

/* ---- the table ------------------------------------------------------------------------- */

static int note_row(void *arg, const struct cw_table_row *row)
{
	assert_null(row->device_secret);
	strcat(t.names, row->identity);
	strcat(t.names, " ");
	return 0;
}

static void the_table_is_asked_by_prefix(void **state)
{
	static const char *const rows[] = { "b/1", "b/2", "b", "b0", "a/1", "b\xc3\xbf", "b\xc3\xbf/1", "c" };
	char dir[] = "/tmp/cw-listing-XXXXXX", key[64], command[64];
	struct cw_table *table = NULL;
	struct cw_msg msg = { "" };
	enum cw_table_change change;
	size_t i;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(key, sizeof(key), "%s/identity.key", dir);
	assert_int_equal(cw_table_open(dir, key, &table, &msg), 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct cw_table_row row = { rows[i], "pk", rows[i], "s", { NULL, 0 } };

		assert_int_equal(cw_table_put(table, &row, &change, &msg), 0);
	}
	assert_int_equal(cw_table_with(table, "b/", 2, 10, note_row, NULL, &msg), 0);
	assert_string_equal(t.names, "b/1 b/2 ");
	t.names[0] = '\0';
	assert_int_equal(cw_table_with(table, "b", 1, 3, note_row, NULL, &msg), 0);
	assert_string_equal(t.names, "b b/1 b/2 ");
	t.names[0] = '\0';
	assert_int_equal(cw_table_with(table, "b\xc3\xbf", 3, 10, note_row, NULL, &msg), 0);
	assert_string_equal(t.names, "b\xc3\xbf b\xc3\xbf/1 ");
	assert_int_equal(cw_table_with(table, "", 0, 10, note_row, NULL, &msg), CW_EINVAL);
	cw_table_close(table);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0); /* NOLINT */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sources, close_sources)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_several_sources_have_is_one_list),
		TEST(no_more_than_asked_for_and_it_says_so),
		TEST(a_source_that_fails_is_said_beside_what_the_others_have),
		TEST(who_does_not_wait_any_more_is_not_told),
		TEST(without_memory_it_is_an_error_and_nothing_is_lost),
		TEST(a_large_set_is_searched_and_follows_what_is_added),
		TEST(the_table_is_asked_by_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
