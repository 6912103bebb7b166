/* Devices that have an owner already: several connections for one, and an older one that keeps it. */
#include "bridge_fixture.h"

static void *state_of[8];
static int states;

static void note_state(void *owner, struct cw_device *d, enum cw_updevice_state state, int code)
{
	if (states < 8)
		state_of[states] = owner;
	states++;
}

static void *asked_command;

static int note_command(void *owner, struct cw_device *d, uint64_t id, struct cw_bytes bytes, uint64_t deadline_ms)
{
	asked_command = owner;
	t.last_command = id;
	return 0;
}

static void note_cancel(void *owner, struct cw_device *d, uint64_t id)
{
	t.cancels++;
	t.left_by = owner;
}

static struct cw_owner_ops noting;

static int open_noting(void **state)
{
	int rc = open_bridge(state);

	noting = owner_ops;
	noting.state = note_state;
	noting.command = note_command;
	noting.cancel = note_cancel;
	t.bridge->conf.owner_ops = &noting;
	states = 0;
	return rc;
}

static void attach_as(struct owner *o, const char *identity, enum cw_sharing sharing, int require_online)
{
	memset(o, 0, sizeof(*o));
	o->attach = (struct cw_attach){ .identity = identity, .identity_len = strlen(identity), .owner = o, .max_outstanding = 4,
		                        .sharing = sharing, .require_online = require_online, .done = on_done };
	cw_bridge_attach(t.bridge, &o->attach);
}

static void leave(struct owner *o)
{
	cw_bridge_left(t.bridge, o->device, o);
}

static void the_older_one_keeps_it_where_the_protocol_says_so(void **state)
{
	struct owner a, b, c;

	attach_as(&a, "1", CW_ATTACH_YIELD, 0);
	attach_as(&b, "1", CW_ATTACH_YIELD, 0);
	assert_int_equal(b.refused, CW_REFUSED_OLDER);
	assert_int_equal(t.leaves, 0);
	leave(&a);
	attach_as(&c, "1", CW_ATTACH_YIELD, 0);
	assert_non_null(c.device);
	leave(&c);
}

static void two_that_share_both_have_it_and_nobody_leaves(void **state)
{
	struct owner a, b;

	attach_as(&a, "1", CW_ATTACH_SHARE, 0);
	attach_as(&b, "1", CW_ATTACH_SHARE, 0);
	assert_ptr_equal(a.device, b.device);
	assert_int_equal(t.leaves, 0);
	assert_int_equal(cw_device_connections(a.device), 2);
	assert_ptr_equal(cw_device_owner(a.device), &b);
	cw_devices_on_state(t.bridge, a.device->way, CW_UPDEVICE_ONLINE, 0, NULL);
	assert_int_equal(states, 2);
	assert_true(state_of[0] != state_of[1]);
	leave(&b);
	assert_ptr_equal(cw_device_owner(a.device), &a);
	leave(&a);
	assert_null(cw_device_owner(a.device));
	assert_int_equal(cw_device_connections(a.device), 0);
}

static void an_elder_may_leave_first(void **state)
{
	struct owner a, b, c;

	attach_as(&a, "1", CW_ATTACH_SHARE, 0);
	attach_as(&b, "1", CW_ATTACH_SHARE, 0);
	attach_as(&c, "1", CW_ATTACH_SHARE, 0);
	leave(&a);
	leave(&a); /* what crosses is harmless */
	leave(&c);
	assert_ptr_equal(cw_device_owner(b.device), &b);
	leave(&b);
}

static void a_kick_and_a_changed_entry_reach_all(void **state)
{
	struct owner a, b;

	attach_as(&a, "1", CW_ATTACH_SHARE, 0);
	attach_as(&b, "1", CW_ATTACH_SHARE, 0);
	assert_int_equal(cw_bridge_kick(t.bridge, "1"), 0);
	assert_int_equal(t.leaves, 2);
	leave(&b);
	leave(&a);
	attach_as(&a, "1", CW_ATTACH_SHARE, 0);
	attach_as(&b, "1", CW_ATTACH_SHARE, 0);
	(void)load(ENTRY(1, "zz"));
	assert_int_equal(t.leaves, 4);
	leave(&a);
	assert_false(b.device->removing);
	leave(&b);
	assert_true(b.device->removing); /* the old certificate goes with the last connection */
}

static void a_protocol_that_does_not_share_takes_it_from_all(void **state)
{
	struct owner a, b, c;

	attach_as(&a, "1", CW_ATTACH_SHARE, 0);
	attach_as(&b, "1", CW_ATTACH_SHARE, 0);
	attach_as(&c, "1", CW_ATTACH_SUPERSEDE, 0);
	assert_int_equal(t.leaves, 2);
	assert_int_equal(c.told, 0);
	leave(&b);
	assert_int_equal(c.told, 0);
	leave(&a);
	assert_non_null(c.device);
	leave(&c);
}

static void commands_go_to_the_newest_and_end_with_it_alone(void **state)
{
	struct owner a, b;
	uint64_t first;

	attach_as(&a, "1", CW_ATTACH_SHARE, 0);
	cw_devices_on_state(t.bridge, a.device->way, CW_UPDEVICE_ONLINE, 0, NULL);
	arrive_for("dev-1", "r1", 0);
	assert_ptr_equal(asked_command, &a);
	first = t.last_command;
	attach_as(&b, "1", CW_ATTACH_SHARE, 0);
	arrive_for("dev-1", "r2", 0);
	assert_ptr_equal(asked_command, &b);
	assert_int_equal(cw_device_commands(a.device), 2);
	leave(&b);
	assert_int_equal(cw_device_commands(a.device), 1); /* the first is still with its own connection */
	cw_bridge_command_done(t.bridge, first, 200, cw_bytes_of(NULL, 0));
	assert_int_equal(cw_device_commands(a.device), 0);
	leave(&a);
}

static void with_require_online_each_waits_and_each_is_refused(void **state)
{
	struct owner a, b;
	struct cw_device *d;

	attach_as(&a, "1", CW_ATTACH_SHARE, 1);
	attach_as(&b, "1", CW_ATTACH_SHARE, 1);
	assert_int_equal(a.told + b.told, 0);
	d = cw_bridge_find(t.bridge, "1", 1);
	cw_devices_on_state(t.bridge, d->way, CW_UPDEVICE_REFUSED, 6288, "disabled");
	assert_int_equal(a.refused, CW_REFUSED_PLATFORM);
	assert_int_equal(b.refused, CW_REFUSED_PLATFORM);
	assert_int_equal(cw_device_connections(d), 0);
	attach_as(&a, "1", CW_ATTACH_SHARE, 1);
	attach_as(&b, "1", CW_ATTACH_SHARE, 1);
	cw_devices_on_state(t.bridge, d->way, CW_UPDEVICE_ONLINE, 0, NULL);
	assert_ptr_equal(a.device, d);
	assert_ptr_equal(b.device, d);
	leave(&a);
	leave(&b);
}

static int wanted(const struct cw_device *d)
{
	return atomic_load(&d->way->up->want);
}

static void who_is_expected_back_stays_online(void **state)
{
	struct owner a, b;
	struct cw_device *d;

	attach_as(&a, "1", CW_ATTACH_SUPERSEDE, 0);
	d = a.device;
	assert_true(wanted(d));
	cw_bridge_left_for(t.bridge, d, &a, 1000000);
	assert_null(cw_device_owner(d));
	assert_true(wanted(d));
	attach_as(&b, "1", CW_ATTACH_SUPERSEDE, 0); /* it is back */
	assert_ptr_equal(b.device, d);
	cw_bridge_left_for(t.bridge, d, &b, 5);
	assert_true(wanted(d));
	while (wanted(d))
		uv_run(cw_worker_loop(t.control), UV_RUN_ONCE);
	attach_as(&a, "1", CW_ATTACH_SUPERSEDE, 0);
	assert_int_equal(cw_bridge_kick(t.bridge, "1"), 0);
	cw_bridge_left_for(t.bridge, d, &a, 1000000); /* who was sent away is not waited for */
	assert_false(wanted(d));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_noting, close_bridge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_older_one_keeps_it_where_the_protocol_says_so),
		TEST(two_that_share_both_have_it_and_nobody_leaves),
		TEST(an_elder_may_leave_first),
		TEST(a_kick_and_a_changed_entry_reach_all),
		TEST(a_protocol_that_does_not_share_takes_it_from_all),
		TEST(commands_go_to_the_newest_and_end_with_it_alone),
		TEST(with_require_online_each_waits_and_each_is_refused),
		TEST(who_is_expected_back_stays_online),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
