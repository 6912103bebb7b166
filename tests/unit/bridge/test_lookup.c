/*
 * A bridge whose sources take their time: attaching while a source thinks, secrets that a device brings itself, entries
 * that change, and downlinks whose device only a source knows. covers: E21 M16 M17
 */
#include "bridge_fixture.h"

/* A source that answers when the test says so. */
static struct {
	int asked, names;
	uint64_t token;
	char secret[64], identity[64];
} slow;

static void slow_ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	slow.asked++;
	slow.token = token;
	(void)snprintf(slow.identity, sizeof(slow.identity), "%.*s", (int)claim->identity_len, claim->identity);
	(void)snprintf(slow.secret, sizeof(slow.secret), "%s", claim->device_secret == NULL ? "" : claim->device_secret);
}

static void slow_ask_name(void *source, const char *product_key, const char *device_name, uint64_t token)
{
	slow.names++;
	slow.token = token;
}

static void slow_free(void *source)
{
}

static const struct cw_source_ops slow_ops = { .name = "slow", .ask = slow_ask, .ask_name = slow_ask_name, .free = slow_free };

static int open_slow(void **state)
{
	int rc = open_bridge(state);

	memset(&slow, 0, sizeof(slow));
	assert_int_equal(cw_resolver_add(cw_bridge_resolver(t.bridge), &slow_ops, NULL, 60000, 60000), 0);
	cw_resolver_keep_stale(cw_bridge_resolver(t.bridge), 60000);
	return rc;
}

static void says(int rc, const char *identity, const char *device_name, const char *secret)
{
	struct cw_identity *id = rc != CW_OK ? NULL : cw_identity_new(identity, "a1Product01", device_name, secret, cw_bytes_of(NULL, 0));

	cw_resolver_answer(cw_bridge_resolver(t.bridge), slow.token, rc, id);
	cw_identity_free(id);
}

static void attach_with(struct owner *o, const char *identity, const char *secret)
{
	memset(o, 0, sizeof(*o));
	o->attach = (struct cw_attach){ .identity = identity, .identity_len = strlen(identity), .device_secret = secret, .owner = o,
		                        .max_outstanding = 1, .done = on_done };
	cw_bridge_attach(t.bridge, &o->attach);
}

/* The entry as it was or is, to be looked at again. */
static void touch(const char *identity)
{
	struct cw_identities *set;

	assert_int_equal(cw_identities_new(&set), 0);
	assert_int_equal(cw_identities_add(set, identity, "a1Product01", "touched", "s", cw_bytes_of(NULL, 0)), 0);
	cw_resolver_forget_source(cw_bridge_resolver(t.bridge), "slow");
	cw_bridge_recheck_set(t.bridge, set);
}

static const char *secret_of(const struct cw_device *d)
{
	return cw_device_updevice(d)->secret;
}

/* The upstream has let the device go, as it does some time after it was told to. */
static void gone(struct cw_device *d)
{
	cw_devices_on_removed(t.bridge, d->way);
}

static void an_attach_waits_for_the_source(void **state)
{
	struct owner a, b, c;

	attach(&a, "9");
	attach(&b, "9");
	attach(&c, "1"); /* of the file: does not wait */
	assert_non_null(c.device);
	assert_int_equal(a.told + b.told, 0);
	assert_int_equal(slow.asked, 1);
	cw_bridge_attach_cancel(&a.attach);
	says(CW_OK, "9", "dev-9", "s");
	assert_int_equal(a.told, 0);
	assert_non_null(b.device);
	assert_string_equal(cw_device_name(b.device), "dev-9");
	left(&b);
	attach(&a, "9"); /* kept */
	assert_non_null(a.device);
	assert_int_equal(slow.asked, 1);
	left(&a);
	left(&c);
}

static void a_source_that_fails_refuses_for_now_and_one_that_does_not_know_for_good(void **state)
{
	struct owner a;

	attach(&a, "9");
	says(CW_ETIMEDOUT, NULL, NULL, NULL);
	assert_int_equal(a.refused, CW_REFUSED_LATER);
	attach(&a, "9");
	says(CW_ENOENT, NULL, NULL, NULL);
	assert_int_equal(a.refused, CW_REFUSED_UNKNOWN);
}

static void what_is_open_when_the_bridge_goes_is_freed(void **state)
{
	static struct owner a;

	attach(&a, "9");
	touch("1");
	arrive_for("nobody", "1", 0);
	cw_bridge_attach_cancel(&a.attach);
	assert_int_equal(a.told, 0);
}

/* ---- what appears ----------------------------------------------------------------------- */

static void entries_that_come_or_change_are_told_and_others_are_not(void **state)
{
	struct owner a;

	t.appeared = 0;
	attach(&a, "1");
	(void)load(ENTRY(1, "aa") ENTRY(2, "bb") ENTRY(3, "cc"));
	assert_int_equal(t.appeared, 1);
	assert_string_equal(t.last_appeared, "3");
	(void)load(ENTRY(1, "aa") ENTRY(2, "xx") ENTRY(3, "cc")); /* that nobody has attached */
	assert_int_equal(t.appeared, 2);
	assert_string_equal(t.last_appeared, "2");
	(void)load(ENTRY(1, "zz") ENTRY(2, "xx") ENTRY(3, "cc")); /* that somebody has: behind the old one's leave */
	assert_int_equal(t.leaves, 1);
	assert_int_equal(t.appeared, 3);
	assert_string_equal(t.last_appeared, "1");
	left(&a);
	gone(a.device);
	touch("9");
	assert_string_equal(t.last_appeared, "9");
}

static void that_an_optional_one_is_unknown_is_counted_apart(void **state)
{
	struct owner a = { .attach = { .identity = "9", .identity_len = 1, .optional = 1, .done = on_done } };
	int64_t alarms = cw_stat_read(CW_STAT_bridge_identify_unknown), none = cw_stat_read(CW_STAT_bridge_identify_none);

	cw_bridge_attach(t.bridge, &a.attach);
	says(CW_ENOENT, NULL, NULL, NULL);
	assert_int_equal(a.refused, CW_REFUSED_UNKNOWN);
	assert_int_equal(cw_stat_read(CW_STAT_bridge_identify_unknown), alarms);
	assert_int_equal(cw_stat_read(CW_STAT_bridge_identify_none), none + 1);
}

/* ---- the device's own secret ---------------------------------------------------------------- */

static void a_secret_burned_on_the_device_counts_before_the_source_s(void **state)
{
	struct owner a, b;

	attach_with(&a, "1", "burned");
	assert_non_null(a.device);
	assert_string_equal(secret_of(a.device), "burned");
	(void)load(ENTRY(1, "zz") ENTRY(2, "bb")); /* the source's secret is not the device's: nothing changes for it */
	assert_int_equal(t.leaves, 0);
	attach_with(&b, "1", "another"); /* the device was given a new one */
	assert_int_equal(t.leaves, 1);
	assert_int_equal(t.why, CW_LEAVE_CHANGED);
	left(&a);
	assert_int_equal(b.told, 0);
	gone(a.device);
	assert_non_null(b.device);
	assert_string_equal(secret_of(b.device), "another");
	left(&b);
	attach(&a, "1"); /* and none: the source's counts again */
	assert_int_equal(a.told, 0);
	gone(b.device);
	assert_string_equal(secret_of(a.device), "zz");
	left(&a);
}

static void a_source_without_a_secret_is_for_devices_that_bring_one(void **state)
{
	struct owner a, b;

	attach(&a, "9");
	says(CW_OK, "9", "dev-9", "");
	assert_int_equal(a.refused, CW_REFUSED_LATER);
	attach_with(&b, "9", "burned");
	assert_non_null(b.device);
	assert_string_equal(secret_of(b.device), "burned");
	left(&b);
}

/* ---- entries that change --------------------------------------------------------------------- */

static void only_another_answer_lets_a_device_go(void **state)
{
	struct owner a;

	attach(&a, "9");
	says(CW_OK, "9", "dev-9", "s");
	touch("9");
	assert_int_equal(slow.asked, 2);
	says(CW_OK, "9", "dev-9", "s"); /* the same */
	assert_int_equal(t.leaves, 0);
	touch("9");
	says(CW_EUNREACH, NULL, NULL, NULL); /* nobody could say */
	assert_int_equal(t.leaves, 0);
	touch("9");
	says(CW_OK, "9", "dev-9", "another");
	assert_int_equal(t.leaves, 1);
	assert_int_equal(t.why, CW_LEAVE_CHANGED);
	left(&a);
	gone(a.device);
	attach(&a, "9");
	touch("9");
	says(CW_ENOENT, NULL, NULL, NULL);
	assert_int_equal(t.leaves, 2);
	assert_int_equal(t.why, CW_LEAVE_REMOVED);
	left(&a);
}

static void an_entry_that_moves_to_another_source_disconnects_nobody(void **state)
{
	struct cw_reload_result r;
	struct owner a;

	attach(&a, "1");
	r = load(ENTRY(2, "bb")); /* it has left the file; the other source is asked */
	assert_int_equal(r.removed, 1);
	assert_int_equal(r.disconnected, 0);
	assert_string_equal(slow.identity, "1");
	says(CW_OK, "1", "dev-1", "aa");
	assert_int_equal(t.leaves, 0);
	r = load(ENTRY(1, "aa") ENTRY(2, "bb")); /* and back */
	assert_int_equal(r.added, 1);
	assert_int_equal(r.disconnected, 0);
	assert_int_equal(t.leaves, 0);
	left(&a);
}

static void a_large_import_asks_a_few_at_a_time(void **state)
{
	struct cw_identities *set;
	struct owner *o = test_calloc(600, sizeof(*o));
	char id[64], dn[80];
	int i;

	assert_int_equal(cw_identities_new(&set), 0);
	for (i = 0; i < 600; i++) {
		(void)snprintf(id, sizeof(id), "many-%d", i);
		(void)snprintf(dn, sizeof(dn), "dev-many-%d", i);
		attach(&o[i], cw_strdup(id));
		says(CW_OK, id, dn, "s");
		assert_non_null(o[i].device);
		assert_int_equal(cw_identities_add(set, id, "a1Product01", dn, "s", cw_bytes_of(NULL, 0)), 0);
	}
	cw_resolver_forget(cw_bridge_resolver(t.bridge), NULL);
	slow.asked = 0;
	cw_bridge_recheck_set(t.bridge, set);
	assert_true(slow.asked > 0 && slow.asked < 600);
	for (i = 0; i < 600 && slow.asked < 600; i++) {
		int before = slow.asked;

		(void)snprintf(id, sizeof(id), "%s", slow.identity);
		(void)snprintf(dn, sizeof(dn), "dev-%s", id);
		says(CW_OK, id, dn, "s");
		assert_int_equal(slow.asked, before + 1); /* the next in its place */
	}
	assert_int_equal(t.leaves, 0);
	for (i = 0; i < 600; i++) {
		left(&o[i]);
		cw_free((void *)(uintptr_t)o[i].attach.identity);
	}
	test_free(o);
}

/* ---- downlinks ---------------------------------------------------------------------------------- */

static void a_downlink_finds_the_session_of_a_device_that_only_a_source_knows_by_that_name(void **state)
{
	int64_t offline = cw_stat_read(CW_STAT_bridge_commands_offline);
	struct owner a;

	attach(&a, "9");
	says(CW_OK, "9", "dev-9", "s");
	arrive_for("dev-9", "1", 0); /* attached under this name: nobody is asked */
	assert_int_equal(t.commands, 1);
	assert_int_equal(slow.names, 0);
	cw_bridge_command_done(t.bridge, t.last_command, CW_CODE_OK, cw_bytes_of(NULL, 0));
	arrive_for("dev-9-renamed", "2", 0);
	assert_int_equal(slow.names, 1);
	assert_int_equal(t.commands, 1);
	says(CW_OK, "9", "dev-9-renamed", "s");
	assert_int_equal(t.commands, 2);
	cw_bridge_command_done(t.bridge, t.last_command, CW_CODE_OK, cw_bytes_of(NULL, 0));
	arrive_for("stranger", "3", 0);
	says(CW_ENOENT, NULL, NULL, NULL);
	arrive_for("stranger", "4", 0); /* kept */
	assert_int_equal(slow.names, 2);
	assert_int_equal(cw_stat_read(CW_STAT_bridge_commands_offline) - offline, 2);
	left(&a);
}

static void downlinks_that_wait_for_a_source_are_bounded(void **state)
{
	int64_t offline = cw_stat_read(CW_STAT_bridge_commands_offline);
	char name[32];
	int i;

	for (i = 0; i < 1100; i++) {
		(void)snprintf(name, sizeof(name), "unseen-%d", i);
		arrive_for(name, "1", 0);
	}
	assert_int_equal(cw_stat_read(CW_STAT_bridge_commands_offline) - offline, 1100 - 1024);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_slow, close_bridge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_attach_waits_for_the_source),
		TEST(entries_that_come_or_change_are_told_and_others_are_not),
		TEST(that_an_optional_one_is_unknown_is_counted_apart),
		TEST(a_source_that_fails_refuses_for_now_and_one_that_does_not_know_for_good),
		TEST(what_is_open_when_the_bridge_goes_is_freed),
		TEST(a_secret_burned_on_the_device_counts_before_the_source_s),
		TEST(a_source_without_a_secret_is_for_devices_that_bring_one),
		TEST(only_another_answer_lets_a_device_go),
		TEST(an_entry_that_moves_to_another_source_disconnects_nobody),
		TEST(a_large_import_asks_a_few_at_a_time),
		TEST(a_downlink_finds_the_session_of_a_device_that_only_a_source_knows_by_that_name),
		TEST(downlinks_that_wait_for_a_source_are_bounded),
	};

	cw_log_setup(CW_LOG_ERROR, 0, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
