/*
 * The store of kept frames by itself: its limits, what goes first, and who waits behind frames that are dropped. Its source
 * stands in here, for what is asked of it comes by mail and from loops that a test would have to wait for.
 */
#include "gateway/pending.c"

#include "../bridge/bridge_fixture.h"

static struct cw_gateway g;
static struct gw_worker gw;
static struct binding trucks;
static const struct cw_plugin_desc toy = { CW_PLUGIN_INIT, .name = "toy", .version = "1" };

static int setup(void **state)
{
	int rc = open_bridge(state);

	cw_log_setup(CW_LOG_ERROR, 0, 2);
	memset(&g, 0, sizeof(g));
	memset(&gw, 0, sizeof(gw));
	memset(&trucks, 0, sizeof(trucks));
	t.bridge->conf.owner_ops = &cw_gateway_owner_ops;
	g.conf.control = t.control;
	g.conf.bridge = t.bridge;
	g.conf.pending = (struct cw_pending_limits){ .frames = 64, .bytes_each = 65536, .bytes = 16u << 20, .time_ms = 3600000 };
	g.workers = &gw;
	cw_map_init(&g.ties);
	cw_map_init(&g.rosters);
	cw_map_init(&g.rolls);
	cw_list_init(&g.lookups);
	gw.gateway = &g;
	gw.worker = t.control;
	cw_map_init(&gw.links);
	trucks.gateway = &g;
	trucks.protocol = &toy;
	strcpy(trucks.name, "trucks");
	return rc < 0 ? rc : gw_pending_init(&g);
}

/* What was mailed is done. */
static void drain(void)
{
	int i;

	for (i = 0; i < 20; i++)
		uv_run(cw_worker_loop(t.control), UV_RUN_NOWAIT);
}

static int teardown(void **state)
{
	drain();
	cw_gateway_drop_ties(&g);
	gw_pending_fini(&g);
	cw_map_fini(&g.ties);
	cw_map_fini(&gw.links);
	drain();
	return close_bridge(state);
}

static void keep_at(const char *identity, size_t len, uint8_t mark, int64_t arrived_ms)
{
	size_t n = strlen(identity);
	struct kept_frame *f = cw_zalloc(sizeof(*f) + n + len);

	assert_non_null(f);
	f->gw = &gw;
	f->binding = &trucks;
	f->arrived_ms = arrived_ms;
	f->identity_len = (uint8_t)n;
	f->len = (uint32_t)len;
	memcpy(f->bytes, identity, n);
	memset(f->bytes + n, mark, len);
	on_kept(&f->mail);
}

static void keep_one(const char *identity, size_t len, uint8_t mark)
{
	keep_at(identity, len, mark, cw_clock_wall_ms());
}

static struct pend *of(const char *identity)
{
	return find(g.pending, identity, strlen(identity));
}

static uint8_t marks[100];
static size_t seen;

static void on_frame(void *arg, int64_t arrived_ms, const char *listener, const char *protocol, const char *peer, struct cw_bytes frame)
{
	marks[seen++ % 100] = frame.ptr[0];
}

static void an_identity_keeps_its_newest_64_frames(void **state)
{
	int i;

	for (i = 0; i < 70; i++)
		keep_one("stranger", 100, (uint8_t)i);
	assert_int_equal(of("stranger")->count, 64);
	assert_int_equal(of("stranger")->dropped, 6);
	seen = 0;
	assert_int_equal(cw_gateway_pending_frames(&g, "stranger", on_frame, NULL), 0);
	assert_int_equal(seen, 64);
	assert_int_equal(marks[0], 6);
	assert_int_equal(marks[63], 69);
}

static void an_identity_keeps_its_newest_64_kib(void **state)
{
	int i;

	for (i = 0; i < 64; i++)
		keep_one("stranger", 1024, (uint8_t)i);
	assert_int_equal(of("stranger")->count, 64); /* just fits */
	keep_one("stranger", 1, 99);
	assert_int_equal(of("stranger")->count, 64);
	assert_true(of("stranger")->bytes <= 65536);
	keep_one("stranger", 40000, 100);
	assert_true(of("stranger")->bytes <= 65536);
	/* One that is larger than all there is room for is not kept, and nothing is left of the identity. */
	keep_one("stranger", 65537, 101);
	assert_null(of("stranger"));
	assert_int_equal(g.pending->total, 0);
}

static void of_all_the_identity_that_was_silent_longest_goes_first(void **state)
{
	char identity[32];
	int i;

	keep_one("first", 1000, 1);
	keep_one("second", 61000, 1);
	keep_one("first", 1000, 2); /* heard of again: the second is the oldest now */
	for (i = 0; of("second") != NULL; i++) {
		assert_true(g.pending->total <= 16u << 20);
		assert_true(i < 400);
		assert_non_null(of("first"));
		(void)snprintf(identity, sizeof(identity), "other%d", i);
		keep_one(identity, 60000, 0);
	}
	assert_true(i > 250);
	assert_non_null(of("first"));
	assert_non_null(of("other0"));
	assert_true(g.pending->total <= 16u << 20);
	keep_one("last", 60000, 0);
	assert_null(of("first"));
	assert_non_null(of("last"));
}

static void many_identities_of_one_small_frame_are_bounded_too(void **state)
{
	char identity[32];
	int i;

	g.pending->limits.bytes = 100000;
	for (i = 0; i < 5000; i++) {
		(void)snprintf(identity, sizeof(identity), "other%d", i);
		keep_one(identity, 1, 0);
	}
	assert_true(g.pending->total <= 100000);
	assert_true(g.pending->map.count < 1000);
	assert_non_null(of("other4999"));
	i = (int)g.pending->map.count;
	assert_int_equal(cw_gateway_pending_drop(&g, NULL), i);
	assert_int_equal(g.pending->total, 0);
}

static void they_are_kept_for_their_time(void **state)
{
	int64_t now = cw_clock_wall_ms();

	keep_at("stranger", 10, 1, now - 3600000 - 5000);
	keep_at("stranger", 10, 2, now);
	keep_at("gone", 10, 1, now - 3600000 - 5000);
	cw_timer_stop(cw_worker_timers(t.control), &g.pending->sweep); /* as when it fires */
	on_sweep(&g.pending->sweep);
	assert_null(of("gone"));
	assert_int_equal(of("stranger")->count, 1);
	assert_true(cw_timer_armed(&g.pending->sweep));
	assert_int_equal(cw_gateway_pending_drop(&g, "stranger"), 1);
	cw_timer_stop(cw_worker_timers(t.control), &g.pending->sweep);
	on_sweep(&g.pending->sweep);
	assert_false(cw_timer_armed(&g.pending->sweep)); /* nobody: the loop may sleep */
	assert_int_equal(cw_gateway_pending_drop(&g, "stranger"), CW_ENOENT);
}

static void without_memory_a_frame_is_dropped_and_nothing_is_left(void **state)
{
	struct kept_frame *f;
	int i;

	for (i = 0; i < 3; i++) {
		f = cw_zalloc(sizeof(*f) + 2);
		f->gw = &gw;
		f->binding = &trucks;
		f->len = f->identity_len = 1;
		cw_mem_fail_at(i);
		on_kept(&f->mail);
		cw_mem_fail_at(-1);
		(void)cw_gateway_pending_drop(&g, NULL);
		assert_int_equal(g.pending->total, 0);
		assert_int_equal(g.pending->map.count, 0);
	}
}

/* A session asks for the device behind its kept frames, whose turn does not come; they are dropped before it does. */
static void who_waits_behind_frames_that_are_dropped_is_let_in(void **state)
{
	struct ask *k = cw_zalloc(sizeof(*k) + 2);

	assert_non_null(k);
	keep_one("1", 100, 1);
	g.pending->running = REPLAYS_MOST;
	k->gw = &gw;
	k->binding = &trucks;
	k->session = 77;
	k->identity_len = 1;
	k->identity[0] = '1';
	gw_attach_in_turn(k);
	assert_non_null(of("1"));
	assert_false(cw_list_empty(&of("1")->parked));
	assert_int_equal(cw_gateway_pending_drop(&g, "1"), 1);
	assert_null(of("1"));
	drain(); /* the answer, and that its session is gone */
	assert_int_equal(g.ties.count, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_identity_keeps_its_newest_64_frames),
		T(an_identity_keeps_its_newest_64_kib),
		T(of_all_the_identity_that_was_silent_longest_goes_first),
		T(many_identities_of_one_small_frame_are_bounded_too),
		T(they_are_kept_for_their_time),
		T(without_memory_a_frame_is_dropped_and_nothing_is_left),
		T(who_waits_behind_frames_that_are_dropped_is_let_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
