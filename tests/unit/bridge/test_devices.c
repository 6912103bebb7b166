/*
 * The directory and the commands of the bridge on one thread: the upstream is real but never started, so what it would
 * say is said here. covers: M21 M23 M25 M32 M33
 */
#include "bridge_fixture.h"

/* ---- who has the device ---------------------------------------------------------- */

static void an_identity_that_no_source_has_is_unknown(void **state)
{
	struct owner a;

	attach(&a, "3");
	assert_int_equal(a.told, 1);
	assert_int_equal(a.refused, CW_REFUSED_UNKNOWN);
	assert_null(cw_bridge_find(t.bridge, "3", 1));
}

static void a_newer_owner_gets_the_device_when_the_older_has_left(void **state)
{
	struct owner a, b;

	attach(&a, "1");
	assert_non_null(a.device);
	assert_string_equal(cw_device_name(a.device), "dev-1");
	attach(&b, "1");
	assert_int_equal(t.leaves, 1);
	assert_int_equal(t.why, CW_LEAVE_SUPERSEDED);
	assert_ptr_equal(t.left_by, &a);
	assert_int_equal(b.told, 0);
	left(&a);
	assert_ptr_equal(b.device, a.device);
	assert_ptr_equal(cw_device_owner(b.device), &b);
	left(&a); /* once more, late: it is not the owner */
	assert_ptr_equal(cw_device_owner(b.device), &b);
	left(&b);
	assert_null(cw_device_owner(b.device));
}

static void of_two_that_wait_the_newest_gets_it_and_the_other_is_told(void **state)
{
	struct owner a, b, c;

	attach(&a, "1");
	attach(&b, "1");
	attach(&c, "1");
	assert_int_equal(t.leaves, 1); /* asked once */
	left(&a);
	assert_int_equal(b.refused, CW_REFUSED_LATER);
	assert_non_null(c.device);
	left(&c);
}

static void who_stops_waiting_does_not_get_it(void **state)
{
	struct owner a, b;

	attach(&a, "1");
	attach(&b, "1");
	cw_bridge_attach_cancel(&b.attach);
	left(&a);
	assert_int_equal(b.told, 0);
	assert_null(cw_device_owner(a.device));
}

static void a_contest_is_slowed_down_but_a_free_device_is_given_at_once(void **state)
{
	struct owner o[6];
	int i;

	attach(&o[0], "1");
	for (i = 1; i <= 4; i++) {
		attach(&o[i], "1");
		assert_int_equal(t.leaves, i);
		left(&o[i - 1]);
		assert_non_null(o[i].device);
	}
	attach(&o[5], "1");
	assert_int_equal(t.leaves, 4); /* the owner is left in peace for now */
	left(&o[4]);                   /* but goes by itself */
	assert_non_null(o[5].device);
	assert_int_equal(cw_device_superseded(o[5].device), 5);
	left(&o[5]);
}

static void a_refusal_of_the_platform_lets_the_next_in_line_go_on(void **state)
{
	struct owner a, b;
	struct cw_device *d;

	memset(&a, 0, sizeof(a));
	a.attach = (struct cw_attach){ .identity = "1", .identity_len = 1, .owner = &a, .require_online = 1, .done = on_done };
	cw_bridge_attach(t.bridge, &a.attach);
	assert_int_equal(a.told, 0);
	attach(&b, "1");
	assert_int_equal(t.leaves, 1);
	d = cw_bridge_find(t.bridge, "1", 1);
	cw_devices_on_state(t.bridge, d, CW_UPDEVICE_REFUSED, 6288, "disabled");
	assert_int_equal(a.refused, CW_REFUSED_PLATFORM);
	assert_ptr_equal(b.device, d);
	assert_int_equal(cw_device_last_code(d), 6288);
	left(&b);
}

static void a_kick_asks_the_owner_and_needs_one(void **state)
{
	struct owner a;

	assert_int_equal(cw_bridge_kick(t.bridge, "1"), CW_ENOENT);
	attach(&a, "1");
	assert_int_equal(cw_bridge_kick(t.bridge, "1"), 0);
	assert_int_equal(t.why, CW_LEAVE_KICKED);
	left(&a);
	assert_int_equal(cw_bridge_kick(t.bridge, "1"), CW_ENOENT);
}

static void a_reload_disturbs_only_whose_entry_is_gone_or_changed(void **state)
{
	struct owner a, b;
	struct cw_reload_result r;

	attach(&a, "1");
	attach(&b, "2");
	r = load(ENTRY(1, "aa") ENTRY(2, "cc") ENTRY(3, "dd"));
	assert_int_equal(r.added, 1);
	assert_int_equal(r.changed, 1);
	assert_int_equal(r.unchanged, 1);
	assert_int_equal(r.removed, 0);
	assert_int_equal(r.disconnected, 1);
	assert_int_equal(t.leaves, 1);
	assert_int_equal(t.why, CW_LEAVE_CHANGED);
	assert_ptr_equal(t.left_by, &b);
	r = load(ENTRY(3, "dd"));
	assert_int_equal(r.removed, 2);
	assert_int_equal(t.leaves, 2);
	assert_int_equal(t.why, CW_LEAVE_REMOVED);
	left(&a);
	left(&b);
	attach(&b, "3");
	assert_non_null(b.device);
	left(&b);
}

/* ---- commands ---------------------------------------------------------------------- */

static void arrive(const char *request, uint64_t deadline_ms)
{
	arrive_for("dev-1", request, deadline_ms);
}

static int64_t ended(enum cw_stat_id id)
{
	static int64_t before[CW_STAT_COUNT];
	int64_t now = cw_stat_read(id), since = now - before[id];

	before[id] = now;
	return since;
}

static void forget_counts(void)
{
	(void)ended(CW_STAT_bridge_commands_answered);
	(void)ended(CW_STAT_bridge_commands_refused);
	(void)ended(CW_STAT_bridge_commands_offline);
	(void)ended(CW_STAT_bridge_commands_timed_out);
	(void)ended(CW_STAT_bridge_commands_repeated);
}

static void commands_are_handed_out_one_by_one_and_end_once(void **state)
{
	struct owner a;
	uint64_t first;

	forget_counts();
	arrive("0", 0);
	assert_int_equal(ended(CW_STAT_bridge_commands_offline), 1);
	attach(&a, "1");
	arrive("1", 0);
	first = t.last_command;
	arrive("2", 0);
	assert_int_equal(t.commands, 1);
	assert_int_equal(cw_device_commands(a.device), 2);
	cw_bridge_command_done(t.bridge, first, CW_CODE_OK, cw_bytes_of(NULL, 0));
	cw_bridge_command_done(t.bridge, first, CW_CODE_OK, cw_bytes_of(NULL, 0));
	assert_int_equal(ended(CW_STAT_bridge_commands_answered), 1);
	assert_int_equal(t.commands, 2);
	left(&a);
	assert_int_equal(ended(CW_STAT_bridge_commands_offline), 1);
	cw_bridge_command_done(t.bridge, t.last_command, CW_CODE_OK, cw_bytes_of(NULL, 0));
	assert_int_equal(ended(CW_STAT_bridge_commands_answered), 0);
}

static void repeats_are_not_run_and_a_full_queue_refuses(void **state)
{
	struct owner a;
	char request[8];
	int i;

	forget_counts();
	attach(&a, "1");
	for (i = 0; i < 6; i++) {
		(void)snprintf(request, sizeof(request), "r%d", i);
		arrive(request, 0);
	}
	assert_int_equal(ended(CW_STAT_bridge_commands_refused), 2); /* four may be there */
	arrive("r0", 0);
	assert_int_equal(ended(CW_STAT_bridge_commands_repeated), 1);
	assert_int_equal(t.commands, 1);
	left(&a);
	assert_int_equal(ended(CW_STAT_bridge_commands_offline), 4);
}

static void what_the_owner_cannot_take_ends_at_once(void **state)
{
	struct owner a;

	forget_counts();
	attach(&a, "1");
	t.refuse = CW_ENOMEM;
	arrive("1", 0);
	assert_int_equal(ended(CW_STAT_bridge_commands_refused), 1);
	assert_int_equal(cw_device_commands(a.device), 0);
	left(&a);
}

/* It may come some other way than over the upstream. covers: J03 */
static void a_device_without_a_downlink_is_sent_no_command(void **state)
{
	struct cw_connector_ops one_way = *t.bridge->upstreams[0]->ops;
	struct owner a;

	one_way.can &= ~(unsigned)CW_CAN_DOWNLINK;
	t.bridge->upstreams[0]->ops = &one_way;
	forget_counts();
	attach(&a, "1");
	arrive("1", 0);
	assert_int_equal(ended(CW_STAT_bridge_commands_refused), 1);
	assert_int_equal(t.commands, 0);
	assert_int_equal(cw_device_commands(a.device), 0);
	left(&a);
	t.bridge->upstreams[0]->ops = &cw_connector_mqtt;
}

static void a_deadline_ends_the_command_and_tells_the_owner(void **state)
{
	struct owner a;

	forget_counts();
	attach(&a, "1");
	arrive("1", 20);
	arrive("2", 0);
	cw_bridge_command_extend(t.bridge, 4711, 5); /* unknown: ignored */
	while (t.cancels == 0)
		(void)uv_run(cw_worker_loop(t.control), UV_RUN_NOWAIT);
	assert_int_equal(ended(CW_STAT_bridge_commands_timed_out), 1);
	assert_int_equal(t.commands, 2); /* the next had its turn */
	left(&a);
}

/* ---- routes ------------------------------------------------------------------------- */

static struct cw_upstream *route_of(const char *pk, const char *dn, const char *identity)
{
	struct cw_device d = { .product_key = pk, .device_name = dn, .identity = identity };

	return cw_bridge_route(t.bridge, &d);
}

static void add_member(const char *name, const char *group)
{
	struct cw_upstream_conf up = *cw_upstream_settings(cw_bridge_upstream(t.bridge, 0));
	struct cw_msg msg = { "" };

	up.name = name;
	up.group = group;
	if (cw_bridge_add_upstream(t.bridge, &up, &msg) < 0)
		fail_msg("%s", msg.text);
}

static void the_first_route_that_fits_counts(void **state)
{
	static const struct cw_route routes[] = { { .product_key = "a1Fire00001", .upstream = "fire" },
		                                  { .device_name = "bus-??", .upstream = "fire" },
		                                  { .identity = "138*", .product_key = "a1Truck0001", .upstream = "cloud" } };
	struct cw_route wrong = { .upstream = "nowhere" };
	struct cw_msg msg = { "" };
	size_t i;

	assert_ptr_equal(route_of("a1Truck0001", "x", "1"), cw_bridge_upstream(t.bridge, 0)); /* no route: the first */
	add_member("fire", "fire");
	for (i = 0; i < 3; i++)
		assert_int_equal(cw_bridge_add_route(t.bridge, &routes[i], &msg), 0);
	assert_int_equal(cw_bridge_add_route(t.bridge, &wrong, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "nowhere"));
	assert_ptr_equal(route_of("a1Fire00001", "x", "1"), cw_bridge_upstream(t.bridge, 1));
	assert_ptr_equal(route_of("a1Truck0001", "bus-12", "13800000000"), cw_bridge_upstream(t.bridge, 1));
	assert_ptr_equal(route_of("a1Truck0001", "bus-123", "13800000000"), cw_bridge_upstream(t.bridge, 0));
	assert_null(route_of("a1Truck0001", "bus-123", "13900000000"));
}

static void a_group_shares_its_devices_and_a_new_member_takes_only_its_share(void **state)
{
	enum { N = 2000 };
	static struct cw_upstream *before[N];
	unsigned count[3] = { 0 }, moved = 0;
	char name[32];
	int i;

	add_member("cloud-2", "cloud");
	for (i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "dev-%d", i);
		before[i] = route_of("a1Truck0001", name, name);
		count[before[i] == cw_bridge_upstream(t.bridge, 1)]++;
	}
	assert_true(count[0] > N * 4 / 10 && count[1] > N * 4 / 10);
	add_member("cloud-3", "cloud");
	for (i = 0; i < N; i++) {
		struct cw_upstream *now;

		snprintf(name, sizeof(name), "dev-%d", i);
		now = route_of("a1Truck0001", name, name);
		moved += now != before[i];
		assert_true(now == before[i] || now == cw_bridge_upstream(t.bridge, 2));
	}
	assert_true(moved > N / 4 && moved < N * 42 / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_first_route_that_fits_counts, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_group_shares_its_devices_and_a_new_member_takes_only_its_share, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(an_identity_that_no_source_has_is_unknown, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_newer_owner_gets_the_device_when_the_older_has_left, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(of_two_that_wait_the_newest_gets_it_and_the_other_is_told, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(who_stops_waiting_does_not_get_it, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_contest_is_slowed_down_but_a_free_device_is_given_at_once, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_refusal_of_the_platform_lets_the_next_in_line_go_on, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_kick_asks_the_owner_and_needs_one, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_reload_disturbs_only_whose_entry_is_gone_or_changed, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(commands_are_handed_out_one_by_one_and_end_once, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(repeats_are_not_run_and_a_full_queue_refuses, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(what_the_owner_cannot_take_ends_at_once, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_device_without_a_downlink_is_sent_no_command, open_bridge, close_bridge),
		cmocka_unit_test_setup_teardown(a_deadline_ends_the_command_and_tells_the_owner, open_bridge, close_bridge),
	};

	cw_log_setup(CW_LOG_ERROR, 0, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
