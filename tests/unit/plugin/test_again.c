/*
 * The runner and protocols with several devices on a connection: frames that come again, several questions at once,
 * partial frames that are given up, looking again. The toy's frames are a length byte and that many letters; each letter
 * is a device, which is asked for when it is not known, and sent back when it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "plugin/asked.h"
#include "plugin/runner.h"

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
	char known[256], refused[256];
	int scanned, members, decoded, kept, stubborn;
	size_t held;
	int64_t now_ms;
};

static struct cw_decoder toy;

static int toy_create(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder)
{
	memset(&toy, 0, sizeof(toy));
	toy.host = host;
	toy.hx = hx;
	*ret_decoder = &toy;
	return 0;
}

static void toy_destroy(struct cw_decoder *d)
{
}

static int toy_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *cut)
{
	if (in.len > in.ptr[0])
		cut->length = 1u + in.ptr[0];
	else if ((ev->flags & CW_EVF_FINAL) != 0)
		cut->skip = 1;
	else
		cut->wait_ms = 10;
	return 0;
}

static int ask(struct cw_decoder *d, const struct cw_event *ev, const char *letter, uint32_t flags)
{
	struct cw_identify who = { .size = sizeof(who), .flags = flags, .identity = cw_bytes_of(letter, 1) };

	return d->host->identify(d->hx, ev->conn, &who);
}

static int toy_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes f)
{
	int asked = 0;
	size_t i;

	d->decoded++;
	d->now_ms = ev->now_ms;
	if (f.len > 1 && f.ptr[1] == '!')
		return d->host->rescan(d->hx, ev->conn, f.len > 2);
	if (f.len > 1 && f.ptr[1] == '?')
		return CW_EBUSY; /* without having asked */
	if (f.len > 1 && f.ptr[1] == '*')
		return ask(d, ev, "*", CW_IDENTIFY_MEMBERS);
	for (i = 1; i < f.len; i++) {
		const char *letter = (const char *)f.ptr + i;

		if (strchr(d->known, *letter) == NULL && (strchr(d->refused, *letter) == NULL || d->stubborn))
			asked += ask(d, ev, letter, 0) == 0;
	}
	if (asked > 0)
		return CW_EBUSY;
	return d->host->send(d->hx, ev->conn, cw_bytes_of(f.ptr + 1, f.len - 1));
}

static int toy_event(struct cw_decoder *d, const struct cw_event *ev)
{
	switch (ev->kind) {
	case CW_EV_IDENTIFIED: strncat(d->known, (const char *)ev->identity.ptr, 1); break;
	case CW_EV_REFUSED:
		if (ev->code == CW_REFUSED_KEPT)
			d->kept++;
		else
			strncat(d->refused, (const char *)ev->identity.ptr, 1);
		break;
	case CW_EV_SCANNED:
		d->scanned++;
		d->held = (size_t)ev->offset;
		break;
	case CW_EV_MEMBERS: d->members = ev->code; break;
	default: break;
	}
	return 0;
}

static const struct cw_decoder_ops toy_ops = {
	CW_DECODER_OPS_INIT, .create = toy_create, .destroy = toy_destroy, .frame = toy_frame, .decode = toy_decode, .event = toy_event,
};
static const struct cw_plugin_desc toy_desc = {
	CW_PLUGIN_INIT, .name = "toy", .version = "1", .caps = CW_CAP_MULTI_DEVICE, .max_frame = 250, .decoder = &toy_ops,
};

static struct {
	struct cw_worker *worker;
	struct cw_runner *runner;
	struct cw_conn *conn;
	struct cw_asked asked;
	char sent[256];
	int ok, bad, noise, closed;
	long live;
} t;

static int own_send(void *owner, struct cw_bytes out)
{
	strncat(t.sent, (const char *)out.ptr, out.len);
	strcat(t.sent, ";");
	return 0;
}

static int own_identify(void *owner, const struct cw_identify *who)
{
	cw_asked_add(&t.asked, who);
	return 0;
}

static void own_frame(void *owner, struct cw_bytes frame, int rc)
{
	*(rc == 0 ? &t.ok : &t.bad) += 1;
}

static void own_noise(void *owner, struct cw_bytes dropped)
{
	t.noise += (int)dropped.len;
}

static void own_close(void *owner, uint64_t delay_ms, const char *reason)
{
	t.closed++;
}

static void own_called(void *owner)
{
}

static const struct cw_conn_ops own_ops = {
	.send = own_send, .identify = own_identify, .frame = own_frame, .noise = own_noise, .close = own_close, .called = own_called,
};

static int setup(void **state)
{
	struct cw_conn_open how = { .listener = "test", .max_noise = 64, .cap = 1000 };
	struct cw_msg msg;

	cw_log_setup(CW_LOG_ERROR, 0, 2);
	memset(&t, 0, sizeof(t));
	t.live = cw_mem_live();
	if (cw_worker_new("test", 0, &t.worker) < 0 || cw_runner_new(&toy_desc, t.worker, &t.runner, &msg) < 0)
		return -1;
	return cw_conn_open(t.runner, &own_ops, &t, &how, &t.conn);
}

static int teardown(void **state)
{
	cw_conn_close(t.conn);
	cw_runner_free(t.runner);
	cw_worker_free(t.worker);
	return cw_mem_live() == t.live ? 0 : -1;
}

static int feed(const char *bytes, size_t len)
{
	return cw_conn_feed(t.conn, cw_bytes_of(bytes, len));
}

/* The oldest question has an answer: known, or a code of refusal. */
static void answer(int refused)
{
	char identity[CW_IDENTITY_MAX + 1];
	struct cw_rdevice *dev;

	assert_true(cw_asked_take(&t.asked, identity) >= 0);
	if (refused != 0)
		cw_conn_refused(t.conn, cw_bytes_text(identity), refused);
	else
		assert_int_equal(cw_conn_identified(t.conn, cw_bytes_text(identity), "pk", identity, cw_bytes_of(NULL, 0), CW_CONN_ATTACHED,
		                                    NULL, NULL, &dev), 0);
	(void)cw_conn_resume(t.conn);
}

static void a_frame_comes_again_when_its_device_is_known(void **state)
{
	assert_int_equal(feed("\2ax\2ay", 6), CW_EBUSY);
	assert_int_equal(t.asked.count, 2);
	assert_int_equal(cw_conn_waiting_frame(t.conn).len, 3);
	answer(0);
	assert_string_equal(t.sent, ""); /* one of two is known */
	answer(0);
	assert_string_equal(t.sent, "ax;");
	assert_int_equal(t.asked.count, 1);
	answer(0);
	assert_string_equal(t.sent, "ax;ay;");
	assert_int_equal(t.ok, 2); /* each frame is judged once */
	assert_int_equal(t.bad, 0);
	assert_int_equal(cw_conn_buffered(t.conn), 0);
}

static void a_refused_device_does_not_stop_the_others(void **state)
{
	assert_int_equal(feed("\2ab\1a", 5), CW_EBUSY);
	answer(CW_REFUSED_UNKNOWN);
	answer(0);
	assert_string_equal(t.sent, "ab;a;");
}

static void a_frame_that_was_set_aside_does_not_come_again(void **state)
{
	assert_int_equal(feed("\1a\1b", 4), CW_EBUSY);
	assert_int_equal(cw_conn_waiting_frame(t.conn).len, 2);
	answer(CW_REFUSED_KEPT);
	assert_int_equal(toy.kept, 1);
	answer(0);
	assert_string_equal(t.sent, "b;");
	assert_int_equal(cw_conn_waiting_frame(t.conn).len, 0);
}

static void what_is_waited_for_must_have_been_asked(void **state)
{
	assert_int_equal(feed("\1?", 2), 0);
	assert_int_equal(t.bad, 1);
	assert_int_equal(t.closed, 0);
}

static void a_decoder_that_never_stops_asking_is_closed(void **state)
{
	int i;

	toy.stubborn = 1;
	assert_int_equal(feed("\1a", 2), CW_EBUSY);
	for (i = 0; i < 100 && !t.closed; i++)
		answer(CW_REFUSED_UNKNOWN);
	assert_int_equal(t.closed, 1);
	assert_true(toy.decoded < 20);
}

static void questions_are_bounded(void **state)
{
	char frame[1 + 200];
	int i;

	frame[0] = (char)200;
	for (i = 1; i <= 200; i++)
		frame[i] = (char)(1 + i % 30 + 64 + (i & 32)); /* the same letters again: the host does not look */
	assert_int_equal(feed(frame, sizeof(frame)), CW_EBUSY);
	assert_int_equal(t.asked.count, CW_ASKED_MOST);
	while (t.asked.count > 0)
		answer(CW_REFUSED_LATER);
}

static void members_come_unasked_and_are_counted(void **state)
{
	struct cw_rdevice *dev;

	assert_int_equal(feed("\1*\1m", 4), CW_EBUSY);
	assert_int_equal(cw_conn_identified(t.conn, cw_bytes_text("m"), "pk", "m", cw_bytes_of(NULL, 0),
	                                    CW_CONN_ATTACHED | CW_CONN_UNASKED, NULL, NULL, &dev), 0);
	assert_string_equal(t.sent, "");
	cw_conn_members(t.conn, cw_bytes_text("*"), 1);
	assert_int_equal(cw_conn_resume(t.conn), 0);
	assert_int_equal(toy.members, 1);
	assert_string_equal(t.sent, "m;");
}

static void wait_for_noise(int n)
{
	while (t.noise < n)
		uv_run(cw_worker_loop(t.worker), UV_RUN_ONCE);
}

static void a_partial_frame_is_given_up_after_its_wait(void **state)
{
	assert_int_equal(feed("\5\1", 2), 0);
	assert_int_equal(t.noise, 0);
	wait_for_noise(1); /* the first byte is no frame's begin; the second could be, and is given up in the same pass */
	wait_for_noise(2);
	assert_int_equal(cw_conn_buffered(t.conn), 0);
	assert_int_equal(t.closed, 0);
}

static void a_frame_that_is_completed_in_time_is_whole(void **state)
{
	assert_int_equal(feed("\1", 1), 0);
	assert_int_equal(feed("q", 1), CW_EBUSY);
	answer(0);
	assert_string_equal(t.sent, "q;");
	assert_int_equal(t.noise, 0);
}

static void looking_again_ends_with_an_event(void **state)
{
	assert_int_equal(feed("\1!", 2), 0);
	assert_int_equal(toy.scanned, 1);
	assert_int_equal(toy.held, 0);
	assert_int_equal(feed("\1!\7x", 4), 0); /* not final: the rest is held */
	assert_int_equal(toy.scanned, 2);
	assert_int_equal(toy.held, 2);
	assert_int_equal(cw_conn_buffered(t.conn), 2);
}

static void looking_for_the_last_time_leaves_nothing(void **state)
{
	assert_int_equal(feed("\2!!\7xy", 6), 0);
	assert_int_equal(toy.scanned, 1);
	assert_int_equal(toy.held, 0);
	assert_int_equal(t.noise, 3);
}

static void frames_that_were_set_aside_keep_their_time(void **state)
{
	cw_conn_set_arrival(t.conn, 1234);
	assert_int_equal(feed("\1!", 2), 0);
	assert_int_equal(toy.now_ms, 1234);
	cw_conn_set_arrival(t.conn, 0);
	assert_int_equal(feed("\1!", 2), 0);
	assert_true(toy.now_ms > 1234);
}

static int feed_frame(const char *bytes, size_t len)
{
	return cw_conn_feed_frame(t.conn, cw_bytes_of(bytes, len));
}

/* Each is one frame as it was cut: frame() is not asked, whatever the length in front says. */
static void a_frame_that_was_set_aside_is_decoded_as_it_is(void **state)
{
	assert_int_equal(feed("\1a", 2), CW_EBUSY);
	answer(0);
	assert_int_equal(feed_frame("\1a", 2), 0);
	assert_int_equal(feed_frame("\7a", 2), 0);
	assert_int_equal(feed_frame("\1aa", 3), 0);
	assert_string_equal(t.sent, "a;a;a;aa;");
	assert_int_equal(t.noise, 0);
	assert_int_equal(cw_conn_buffered(t.conn), 0);
	/* Bytes that follow are cut as always. */
	assert_int_equal(feed("\1a\1a", 4), 0);
	assert_string_equal(t.sent, "a;a;a;aa;a;a;");
}

static void a_frame_that_was_set_aside_may_ask_and_comes_again(void **state)
{
	assert_int_equal(feed_frame("\7ab", 3), CW_EBUSY);
	assert_int_equal(cw_conn_waiting_frame(t.conn).len, 3);
	answer(0);
	assert_string_equal(t.sent, "");
	answer(0);
	assert_string_equal(t.sent, "ab;");
	/* The next asks, is refused for good, and is shown once more. */
	assert_int_equal(feed_frame("\7c", 2), CW_EBUSY);
	answer(CW_REFUSED_LATER);
	assert_string_equal(t.sent, "ab;c;");
	assert_int_equal(cw_conn_buffered(t.conn), 0);
}

static void a_frame_that_was_set_aside_waits_where_the_connection_is_held(void **state)
{
	assert_int_equal(feed("\1a", 2), CW_EBUSY);
	answer(0);
	cw_conn_hold(t.conn);
	assert_int_equal(feed_frame("\7a", 2), CW_EBUSY);
	assert_string_equal(t.sent, "a;");
	assert_int_equal(cw_conn_resume(t.conn), 0);
	assert_string_equal(t.sent, "a;a;");
}

static void without_memory_a_frame_that_was_set_aside_closes_and_leaks_nothing(void **state)
{
	cw_conn_hold(t.conn);
	cw_mem_fail_at(0);
	assert_int_equal(feed_frame("\1a", 2), CW_ECLOSED);
	cw_mem_fail_at(-1);
	assert_int_equal(t.closed, 1);
	assert_int_equal(feed_frame("\1a", 2), CW_ECLOSED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_frame_comes_again_when_its_device_is_known),
		TEST(a_refused_device_does_not_stop_the_others),
		TEST(a_frame_that_was_set_aside_does_not_come_again),
		TEST(what_is_waited_for_must_have_been_asked),
		TEST(a_decoder_that_never_stops_asking_is_closed),
		TEST(questions_are_bounded),
		TEST(members_come_unasked_and_are_counted),
		TEST(a_partial_frame_is_given_up_after_its_wait),
		TEST(a_frame_that_is_completed_in_time_is_whole),
		TEST(looking_again_ends_with_an_event),
		TEST(looking_for_the_last_time_leaves_nothing),
		TEST(frames_that_were_set_aside_keep_their_time),
		TEST(a_frame_that_was_set_aside_is_decoded_as_it_is),
		TEST(a_frame_that_was_set_aside_may_ask_and_comes_again),
		TEST(a_frame_that_was_set_aside_waits_where_the_connection_is_held),
		TEST(without_memory_a_frame_that_was_set_aside_closes_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
