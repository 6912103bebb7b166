/*
 * The sources' order, what is kept of them, one question for many, failing sources, the reverse look-up.
 * covers: M16 M17
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stat.h"
#include "identity/file.h"
#include "identity/resolver.h"

/* A source whose answers the test gives, at once or later. */
struct fake {
	struct cw_source_ops ops;
	int asked, names, freed;
	uint64_t token;
	int now; /* answer before ask() returns */
	int rc;
	struct cw_identity *id;
	char last[64], secret[64];
};

struct asker {
	struct cw_question q;
	int told, rc;
	char device_name[64];
};

static struct {
	struct cw_worker *control;
	struct cw_resolver *r;
	struct fake a, b;
	long live;
} t;

static void fake_ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	struct fake *f = source;

	f->asked++;
	f->token = token;
	memcpy(f->last, claim->identity, claim->identity_len);
	f->last[claim->identity_len] = '\0';
	strcpy(f->secret, claim->device_secret == NULL ? "" : claim->device_secret);
	if (f->now)
		cw_resolver_answer(t.r, token, f->rc, f->id);
}

static void fake_ask_name(void *source, const char *pk, const char *dn, uint64_t token)
{
	struct fake *f = source;

	f->names++;
	f->token = token;
	strcpy(f->last, dn);
	if (f->now)
		cw_resolver_answer(t.r, token, f->rc, f->id);
}

static void fake_free(void *source)
{
	struct fake *f = source;

	f->freed++;
	cw_identity_free(f->id);
	f->id = NULL;
}

static int open_two(void **state)
{
	memset(&t, 0, sizeof(t));
	t.live = cw_mem_live();
	cw_clock_fake(1000, 0);
	assert_int_equal(cw_worker_new("control", 0, &t.control), 0);
	assert_int_equal(cw_resolver_new(t.control, &t.r), 0);
	t.a.ops = (struct cw_source_ops){ .name = "a", .ask = fake_ask, .ask_name = fake_ask_name, .free = fake_free };
	t.b.ops = t.a.ops;
	t.b.ops.name = "b";
	assert_int_equal(cw_resolver_add(t.r, &t.a.ops, &t.a, 10000, 1000), 0);
	assert_int_equal(cw_resolver_add(t.r, &t.b.ops, &t.b, 10000, 1000), 0);
	cw_resolver_keep_stale(t.r, 60000);
	return 0;
}

static int close_two(void **state)
{
	cw_resolver_free(t.r);
	cw_worker_free(t.control);
	assert_int_equal(t.a.freed, 1);
	assert_int_equal(t.b.freed, 1);
	assert_int_equal(cw_mem_live(), t.live);
	return 0;
}

static struct cw_identity *entry(const char *identity, const char *dn)
{
	struct cw_identity *id = cw_identity_new(identity, "pk", dn, "secret", cw_bytes_of(NULL, 0));

	assert_non_null(id);
	return id;
}

static void on_done(struct cw_question *q, int rc, const struct cw_identity *id)
{
	struct asker *a = cw_container_of(q, struct asker, q);

	a->told++;
	a->rc = rc;
	if (id != NULL)
		strcpy(a->device_name, id->device_name);
}

static void ask(struct asker *a, const char *identity)
{
	struct cw_claim claim = { .identity = identity, .identity_len = strlen(identity), .device_secret = "burned" };

	memset(a, 0, sizeof(*a));
	a->q.done = on_done;
	cw_resolver_ask(t.r, &claim, &a->q);
}

static void says(struct fake *f, int rc, const char *dn)
{
	struct cw_identity *id = dn == NULL ? NULL : entry(f->last, dn);
	uint64_t token = f->token;

	cw_resolver_answer(t.r, token, rc, id);
	cw_identity_free(id);
}

/* ---- the order --------------------------------------------------------------- */

static void the_next_is_asked_when_one_does_not_know(void **state)
{
	struct asker q;

	ask(&q, "1");
	assert_int_equal(t.a.asked, 1);
	assert_string_equal(t.a.secret, "burned");
	assert_int_equal(t.b.asked, 0);
	says(&t.a, CW_ENOENT, NULL);
	assert_int_equal(t.b.asked, 1);
	assert_int_equal(q.told, 0);
	says(&t.b, CW_OK, "dev-1");
	assert_int_equal(q.told, 1);
	assert_int_equal(q.rc, CW_OK);
	assert_string_equal(q.device_name, "dev-1");
	assert_string_equal(q.q.source, "b");
}

static void nobody_knows(void **state)
{
	struct asker q;

	t.a.now = t.b.now = 1;
	t.a.rc = t.b.rc = CW_ENOENT;
	ask(&q, "1");
	assert_int_equal(q.rc, CW_ENOENT);
	ask(&q, "1"); /* kept */
	assert_int_equal(t.a.asked, 1);
	assert_int_equal(t.b.asked, 1);
	assert_int_equal(q.rc, CW_ENOENT);
}

static void a_failure_is_the_answer_only_when_nobody_else_knows(void **state)
{
	struct asker q;

	t.a.now = t.b.now = 1;
	t.a.rc = CW_EUNREACH;
	t.b.rc = CW_ENOENT;
	ask(&q, "1");
	assert_int_equal(q.rc, CW_EUNREACH);
	t.b.rc = CW_OK;
	t.b.id = entry("1", "dev-1");
	cw_resolver_forget(t.r, "1");
	ask(&q, "1");
	assert_int_equal(q.rc, CW_OK);
	assert_int_equal(t.a.asked, 2); /* a failure is not kept */
}

static void an_empty_or_endless_identity_asks_nobody(void **state)
{
	char longest[400];
	struct asker q;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	ask(&q, longest);
	assert_int_equal(q.rc, CW_ENOENT);
	ask(&q, "");
	assert_int_equal(q.rc, CW_ENOENT);
	assert_int_equal(t.a.asked, 0);
}

/* ---- one question for many ------------------------------------------------------- */

static void questions_at_the_same_time_are_one(void **state)
{
	struct asker q[3], other;

	ask(&q[0], "1");
	ask(&q[1], "1");
	ask(&q[2], "1");
	ask(&other, "2");
	assert_int_equal(t.a.asked, 2);
	cw_resolver_cancel(t.r, &q[1].q);
	cw_resolver_cancel(t.r, &q[1].q); /* twice is harmless */
	says(&t.a, CW_OK, "dev-2");
	assert_int_equal(other.told, 1);
	assert_int_equal(q[0].told + q[1].told + q[2].told, 0);
	t.a.token--; /* that of the first question */
	strcpy(t.a.last, "1");
	says(&t.a, CW_OK, "dev-1");
	assert_int_equal(q[0].told, 1);
	assert_int_equal(q[1].told, 0);
	assert_int_equal(q[2].told, 1);
	says(&t.a, CW_OK, "dev-1"); /* a second answer finds nobody */
	assert_int_equal(q[0].told, 1);
}

static void an_answer_that_comes_after_all_have_left_is_kept(void **state)
{
	struct asker q;

	ask(&q, "1");
	cw_resolver_cancel(t.r, &q.q);
	says(&t.a, CW_OK, "dev-1");
	assert_int_equal(q.told, 0);
	ask(&q, "1");
	assert_int_equal(q.told, 1);
	assert_int_equal(t.a.asked, 1);
}

static struct asker second;

static void asks_again(struct cw_question *q, int rc, const struct cw_identity *id)
{
	on_done(q, rc, id);
	cw_resolver_forget(t.r, NULL);
	ask(&second, "1"); /* answered at once, and replaces what the caller is being lent */
	assert_string_equal(id->device_name, "dev-1");
}

static void who_asks_again_from_within_its_answer_gets_one(void **state)
{
	struct asker q;
	struct cw_claim claim = { .identity = "1", .identity_len = 1 };

	t.a.now = 1;
	t.a.id = entry("1", "dev-1");
	memset(&q, 0, sizeof(q));
	q.q.done = on_done;
	cw_resolver_ask(t.r, &claim, &q.q);
	q.q.done = asks_again;
	cw_resolver_ask(t.r, &claim, &q.q);
	assert_int_equal(second.told, 1);
	assert_int_equal(t.a.asked, 2);
}

/* ---- what is kept --------------------------------------------------------------------- */

static void answers_are_kept_so_long_and_until_forgotten(void **state)
{
	struct asker q;

	t.a.now = t.b.now = 1;
	t.a.id = entry("1", "dev-1");
	ask(&q, "1");
	ask(&q, "1");
	assert_int_equal(t.a.asked, 1);
	cw_resolver_forget(t.r, "2");
	ask(&q, "1");
	assert_int_equal(t.a.asked, 1);
	cw_resolver_forget(t.r, "1");
	ask(&q, "1");
	assert_int_equal(t.a.asked, 2);
	cw_resolver_forget_source(t.r, "b");
	ask(&q, "1");
	assert_int_equal(t.a.asked, 2);
	cw_resolver_forget_source(t.r, "a");
	ask(&q, "1");
	assert_int_equal(t.a.asked, 3);
}

static void while_it_fails_an_older_answer_counts(void **state)
{
	struct asker q;
	int64_t before = cw_stat_read(CW_STAT_identity_stale);

	t.a.now = t.b.now = 1;
	t.a.rc = CW_ENOENT;
	t.b.id = entry("1", "dev-1");
	ask(&q, "1");
	assert_int_equal(q.rc, CW_OK);
	cw_resolver_forget(t.r, NULL);
	t.b.rc = CW_ETIMEDOUT;
	ask(&q, "1");
	assert_int_equal(q.rc, CW_OK);
	assert_string_equal(q.device_name, "dev-1");
	assert_int_equal(cw_stat_read(CW_STAT_identity_stale) - before, 1);
	assert_int_equal(t.b.asked, 2);
	ask(&q, "1"); /* and it is left alone for a while */
	assert_int_equal(t.b.asked, 2);
	ask(&q, "2"); /* about which it never said anything */
	assert_int_equal(q.rc, CW_ETIMEDOUT);
	cw_resolver_forget(t.r, NULL);
	t.b.rc = CW_ENOENT; /* it is well again, and has it no more */
	ask(&q, "1");
	assert_int_equal(q.rc, CW_ENOENT);
}

/* Unknown identities are made up by whoever connects: what is kept of them has a bound. */
static void a_flood_of_unknown_identities_is_bounded(void **state)
{
	struct asker q;
	char name[32];
	long before;
	int i;

	t.a.now = t.b.now = 1;
	t.a.rc = t.b.rc = CW_ENOENT;
	for (i = 0; i < 70000; i++) {
		(void)snprintf(name, sizeof(name), "made-up-%d", i);
		ask(&q, name);
	}
	before = cw_mem_live();
	for (; i < 80000; i++) {
		(void)snprintf(name, sizeof(name), "made-up-%d", i);
		ask(&q, name);
	}
	assert_int_equal(cw_mem_live(), before);
}

static void without_memory_the_question_fails_and_nothing_is_lost(void **state)
{
	struct asker q;
	long n, live = cw_mem_live();
	int failed;

	t.a.now = t.b.now = 1;
	t.a.rc = CW_ENOENT;
	t.b.rc = CW_ENOENT;
	for (n = 0;; n++) {
		cw_mem_fail_at(n);
		ask(&q, "1");
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		assert_int_equal(q.told, 1);
		assert_true(q.rc == CW_ENOMEM || q.rc == CW_ENOENT);
		cw_resolver_forget(t.r, NULL);
		if (!failed)
			break;
	}
	assert_true(n > 3);
	assert_true(cw_mem_live() >= live);
}

/* ---- the reverse ------------------------------------------------------------------------ */

static void a_certificate_has_an_identity(void **state)
{
	struct asker q = { .q.done = on_done }, again = { .q.done = on_done };

	cw_resolver_ask_name(t.r, "pk", "dev-1", &q.q);
	assert_int_equal(t.a.names, 1);
	assert_string_equal(t.a.last, "dev-1");
	cw_resolver_ask_name(t.r, "pk", "dev-1", &again.q);
	says(&t.a, CW_ENOENT, NULL);
	assert_int_equal(t.b.names, 1);
	strcpy(t.b.last, "1");
	says(&t.b, CW_OK, "dev-1");
	assert_int_equal(q.rc, CW_OK);
	assert_int_equal(again.told, 1);
	ask(&q, "1"); /* the forward question is another one */
	assert_int_equal(t.a.asked, 1);
	cw_resolver_cancel(t.r, &q.q);
}

static void that_nobody_has_a_certificate_is_forgotten_with_the_identity(void **state)
{
	struct asker q = { .q.done = on_done };

	t.a.now = t.b.now = 1;
	t.a.rc = t.b.rc = CW_ENOENT;
	cw_resolver_ask_name(t.r, "pk", "dev-1", &q.q);
	cw_resolver_ask_name(t.r, "pk", "dev-1", &q.q);
	assert_int_equal(t.a.names, 1);
	cw_resolver_forget(t.r, "1");
	cw_resolver_ask_name(t.r, "pk", "dev-1", &q.q);
	assert_int_equal(t.a.names, 2);
	assert_int_equal(q.rc, CW_ENOENT);
}

static void the_file_answers_from_memory_and_is_swapped(void **state)
{
	struct asker q = { .q.done = on_done };
	struct cw_file_source *file;
	struct cw_identities *set;
	struct cw_resolver *r;

	assert_int_equal(cw_resolver_new(t.control, &r), 0);
	assert_int_equal(cw_file_source_new(r, &file), 0);
	assert_int_equal(cw_resolver_add(r, &cw_file_source_ops, file, 0, 0), 0);
	cw_resolver_ask_name(r, "pk", "dev-1", &q.q);
	assert_int_equal(q.rc, CW_ENOENT);
	assert_int_equal(cw_identities_new(&set), 0);
	assert_int_equal(cw_identities_add(set, "1", "pk", "dev-1", "s", cw_bytes_of(NULL, 0)), 0);
	cw_identities_free(cw_file_source_swap(file, set));
	cw_resolver_ask_name(r, "pk", "dev-1", &q.q);
	assert_int_equal(q.rc, CW_OK);
	assert_string_equal(q.q.source, "devices");
	assert_int_equal(cw_resolver_count(r), 1);
	cw_resolver_free(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_two, close_two)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_next_is_asked_when_one_does_not_know),
		TEST(nobody_knows),
		TEST(a_failure_is_the_answer_only_when_nobody_else_knows),
		TEST(an_empty_or_endless_identity_asks_nobody),
		TEST(questions_at_the_same_time_are_one),
		TEST(an_answer_that_comes_after_all_have_left_is_kept),
		TEST(who_asks_again_from_within_its_answer_gets_one),
		TEST(answers_are_kept_so_long_and_until_forgotten),
		TEST(while_it_fails_an_older_answer_counts),
		TEST(a_flood_of_unknown_identities_is_bounded),
		TEST(without_memory_the_question_fails_and_nothing_is_lost),
		TEST(a_certificate_has_an_identity),
		TEST(that_nobody_has_a_certificate_is_forgotten_with_the_identity),
		TEST(the_file_answers_from_memory_and_is_swapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
