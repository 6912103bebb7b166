/* Orders of certificates: each step is kept, and two tools that work on one do not both go on. covers: C06 */
#include "world.h"

#include "base/clock.h"

static struct cw_stock *s;
static struct cw_msg msg;

static int set_up(void **state)
{
	(void)world_make(state);
	s = world_open(*state);
	return 0;
}

static int tear_down(void **state)
{
	cw_stock_close(s);
	cw_clock_fake(0, 0);
	return world_drop(state);
}

struct seen {
	int64_t ids[4];
	char step[33], apply_id[65], names[64];
	int64_t created, changed;
	size_t count;
};

static int on_order(void *arg, const struct cw_order *o)
{
	struct seen *x = arg;

	if (x->count == 0) {
		strcpy(x->step, o->step);
		strcpy(x->apply_id, o->apply_id);
		strcpy(x->names, o->names);
		x->created = o->created;
		x->changed = o->changed;
	}
	x->ids[x->count++] = o->id;
	return 0;
}

static struct cw_order fresh(const char *step)
{
	return (struct cw_order){ .product_key = PK, .batch = "2026-11", .count = 100, .step = step, .apply_id = "", .names = "", .text = "" };
}

static void steps_are_kept(void **state)
{
	struct cw_order o = fresh("asked"), older = fresh("asked"), second;
	struct cw_stock *other;
	struct seen x = { .count = 0 };

	cw_clock_fake(1, 1000);
	assert_int_equal(cw_order_put(s, &older, NULL, &tester, &msg), 0);
	assert_int_equal(cw_order_put(s, &o, NULL, &tester, &msg), 0);
	assert_true(o.id > older.id);
	second = o;
	cw_clock_fake(1, 2000);
	o.step = "applied";
	o.apply_id = "20260001";
	o.names = "[\"a\"]";
	assert_int_equal(cw_order_put(s, &o, "asked", &tester, &msg), 0);
	/* A second tool, which has read the first step. */
	other = world_open_as(*state, "two");
	second.step = "applied";
	assert_int_equal(cw_order_put(other, &second, "asked", &tester, &msg), CW_EEXIST);
	assert_non_null(strstr(msg.text, "is at step applied"));
	assert_int_equal(cw_order_each(other, on_order, &x, &msg), 0);
	assert_int_equal(x.count, 2);
	assert_int_equal(x.ids[0], o.id); /* the newest first */
	assert_string_equal(x.step, "applied");
	assert_string_equal(x.apply_id, "20260001");
	assert_string_equal(x.names, "[\"a\"]");
	assert_int_equal(x.created, 1000);
	assert_int_equal(x.changed, 2000);
	cw_stock_close(other);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'order'"), 3);
}

static void bad_orders_are_refused(void **state)
{
	struct cw_order o = fresh("asked");

	o.count = 0;
	assert_int_equal(cw_order_put(s, &o, NULL, &tester, &msg), CW_EINVAL);
	o = fresh("a step whose name is longer than any");
	assert_int_equal(cw_order_put(s, &o, NULL, &tester, &msg), CW_EINVAL);
	o = fresh("asked");
	o.id = 77;
	assert_int_equal(cw_order_put(s, &o, "asked", &tester, &msg), CW_ENOENT);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM orders"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(steps_are_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_orders_are_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
