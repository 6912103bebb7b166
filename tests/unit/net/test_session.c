/* One session over TCP: writing, backpressure, deadlines, and every way to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"
#include "net/inside.h"

#define MANY 3000

/* ---- what the owner does in a test ------------------------------------------------ */

static void send_many(struct cw_session *s, struct cw_bytes in)
{
	uint32_t i;

	(void)in;
	for (i = 0; i < MANY; i++)
		assert_int_equal(cw_session_send(s, cw_bytes_of(&i, sizeof(i))), 0);
}

static void send_until_refused(void *arg)
{
	static const uint8_t block[8192];
	struct cw_session *s = arg;
	int rc;

	while ((rc = cw_session_send(s, cw_bytes_of(block, sizeof(block)))) == 0)
		;
	assert_int_equal(rc, CW_ELIMIT);
	assert_int_equal(cw_session_send(s, cw_bytes_of(block, 1)), CW_ECLOSED);
}

/* More than the socket takes, less than may be kept. */
static void send_until_high(void *arg)
{
	static const uint8_t block[8192];
	struct cw_session *s = arg;

	while (cw_session_queued(s) <= cw_session_conf(s)->limits.bytes_per_connection / 2)
		assert_int_equal(cw_session_send(s, cw_bytes_of(block, sizeof(block))), 0);
}

static void send_until_high_and_close(void *arg)
{
	send_until_high(arg);
	cw_session_close(arg, CW_EREFUSED, "first");
	cw_session_close(arg, CW_EPROTO, "second");
}

static void send_until_high_and_abort(void *arg)
{
	send_until_high(arg);
	cw_session_close(arg, CW_EREFUSED, "first");
	cw_session_abort(arg, CW_EPROTO, "second");
	cw_session_abort(arg, CW_EPROTO, "third");
}

static void answer_and_close(struct cw_session *s, struct cw_bytes in)
{
	assert_int_equal(cw_session_send(s, in), 0);
	cw_session_close(s, CW_EREFUSED, "goodbye");
	assert_int_equal(cw_session_send(s, in), CW_ECLOSED);
}

static void answer_and_abort(struct cw_session *s, struct cw_bytes in)
{
	cw_session_abort(s, CW_EPROTO, "no such thing");
	assert_int_equal(cw_session_send(s, in), CW_ECLOSED);
}

static void close_it(struct cw_session *s)
{
	assert_int_equal(cw_session_send(s, cw_bytes_text("busy")), 0);
	cw_session_close(s, CW_EBUSY, "closed while opening");
}

static void pause_first(struct cw_session *s)
{
	if (fx.opened > 1)
		return;
	cw_session_pause(s);
	cw_session_pause(s);
	assert_true(cw_session_paused(s));
}

static void pause_after_bytes(struct cw_session *s, struct cw_bytes in)
{
	assert_int_equal(cw_session_send(s, in), 0);
	cw_session_pause(s);
}

static void pause_on_bytes(struct cw_session *s, struct cw_bytes in)
{
	(void)in;
	cw_session_pause(s);
}

static void say_goodbye(void *arg)
{
	assert_int_equal(cw_session_send(arg, cw_bytes_text("goodbye")), 0);
	cw_session_close(arg, CW_EREFUSED, "goodbye");
}

static void resume_it(void *arg)
{
	cw_session_resume(arg);
	assert_false(cw_session_paused(arg));
}

static void identify_it(void *arg)
{
	cw_session_identified(arg);
}

static void identify_and_echo(struct cw_session *s, struct cw_bytes in)
{
	cw_session_identified(s);
	cw_session_touch(s);
	(void)cw_session_send(s, in);
}

/* ---- tests ------------------------------------------------------------------------ */

static struct cw_listener *listen_with(uint64_t bytes, uint64_t identify_ms, uint64_t idle_ms)
{
	struct cw_listener_conf conf = fx_conf();

	conf.limits.bytes_per_connection = bytes;
	conf.limits.identify_ms = identify_ms;
	conf.limits.idle_ms = idle_ms;
	return fx_listen(&conf);
}

static void a_session_is_small(void **state)
{
	(void)state;
	print_message("sizeof(struct cw_session) = %zu, of which uv_tcp_t = %zu\n", sizeof(struct cw_session), sizeof(uv_tcp_t));
	assert_true(sizeof(struct cw_session) <= 600);
}

static void many_sends_arrive_whole_and_in_order(void **state)
{
	struct cw_listener *l;
	uint32_t i;
	int fd;

	(void)state;
	fx.on_bytes = send_many;
	l = listen_with(0, 0, 0);
	fd = fx_connect(l);
	fx_send(fd, "go", 2);
	for (i = 0; i < MANY; i++)
		fx_expect(fd, &i, sizeof(i));
	close(fd);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void a_peer_that_never_reads_is_closed_with_elimit(void **state)
{
	struct cw_listener *l = listen_with(32 * 1024, 0, 0);
	int fd = fx_connect(l);

	(void)state;
	fx_wait(fx.opened == 1);
	fx_on_session(send_until_refused);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_ELIMIT);
	assert_non_null(strstr(fx.reason, "bytesPerConnection"));
	assert_int_equal(fx_counts(l).closed_bytes, 1);
	fx_expect_end(fd);
	fx_close(l);
}

static void the_owner_hears_when_a_slow_peer_has_caught_up(void **state)
{
	struct cw_listener *l = listen_with(256 * 1024, 0, 0);
	int fd = fx_connect(l);
	uint8_t got[65536];
	size_t total = 0;

	(void)state;
	fx_wait(fx.opened == 1);
	fx_on_session(send_until_high);
	assert_int_equal(fx.writable, 0);
	shutdown(fd, SHUT_WR);
	for (;;) { /* the end of our side is answered only after all was written */
		ssize_t n = recv(fd, got, sizeof(got), 0);

		assert_true(n >= 0);
		if (n == 0)
			break;
		total += (size_t)n;
	}
	assert_int_equal(total % 8192, 0);
	close(fd);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void writable_is_called_once_below_the_low_mark(void **state)
{
	struct cw_listener *l = listen_with(256 * 1024, 0, 0);
	int fd = fx_connect(l), n = 0;
	uint8_t got[8192];

	(void)state;
	fx_wait(fx.opened == 1);
	fx_on_session(send_until_high);
	while (n == 0) { /* reads block until more comes; the last block is never waited for */
		assert_true(recv(fd, got, sizeof(got), 0) > 0);
		pthread_mutex_lock(&fx.lock);
		n = fx.writable;
		pthread_mutex_unlock(&fx.lock);
	}
	close(fd);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.writable, 1);
	assert_true(fx.queued <= 64 * 1024);
	fx_close(l);
}

static void closing_writes_what_is_kept_and_the_first_reason_counts(void **state)
{
	struct cw_listener *l = listen_with(256 * 1024, 0, 0);
	int fd = fx_connect(l);
	size_t total;

	(void)state;
	fx_wait(fx.opened == 1);
	fx_on_session(send_until_high_and_close);
	assert_int_equal(fx.closed, 0);
	fx_send(fd, "still talking", 13); /* dropped, and no reason to lose what is under way */
	total = fx_expect_end(fd);
	assert_true(total > 128 * 1024);
	assert_int_equal(total % 8192, 0);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_EREFUSED);
	assert_string_equal(fx.reason, "first");
	fx_close(l);
}

static void aborting_cuts_a_close_under_way_short(void **state)
{
	struct cw_listener *l = listen_with(256 * 1024, 0, 0);
	int fd = fx_connect(l);

	(void)state;
	fx_wait(fx.opened == 1);
	fx_on_session(send_until_high_and_abort);
	fx_wait(fx.closed == 1);
	assert_string_equal(fx.reason, "first");
	fx_expect_end(fd);
	fx_close(l);
}

static void a_peer_that_does_not_read_its_goodbye_is_cut_off_after_five_seconds(void **state)
{
	struct cw_listener *l = listen_with(256 * 1024, 0, 0);
	int fd = fx_connect(l);
	struct timespec a, b;

	(void)state;
	fx_wait(fx.opened == 1);
	fx_on_session(send_until_high_and_close);
	clock_gettime(CLOCK_MONOTONIC, &a);
	fx_wait(fx.closed == 1);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_in_range((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000, 4900, 9900);
	fx_expect_end(fd);
	fx_close(l);
}

static void an_answer_sent_before_close_arrives(void **state)
{
	struct cw_listener *l;
	int i;

	(void)state;
	fx.on_bytes = answer_and_close;
	l = listen_with(0, 0, 0);
	for (i = 0; i < 50; i++) {
		int fd = fx_connect(l);

		fx_send(fd, "question", 8);
		(void)send(fd, "more", 4, MSG_NOSIGNAL); /* unread by us: must not turn the answer into a reset */
		fx_expect(fd, "question", 8);
		fx_expect_end(fd);
	}
	fx_wait(fx.closed == 50);
	assert_string_equal(fx.reason, "goodbye");
	fx_close(l);
}

static void what_was_never_read_does_not_reset_the_answer(void **state)
{
	struct cw_listener *l;
	int fd;

	(void)state;
	fx.on_bytes = pause_on_bytes;
	l = listen_with(0, 0, 0);
	fd = fx_connect(l);
	fx_send(fd, "question", 8);
	fx_wait(fx.bytes == 8);
	fx_send(fd, "more", 4);
	fx_on_session(say_goodbye);
	fx_expect_orderly_end(fd, 7);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void a_peer_busy_sending_still_gets_its_goodbye(void **state)
{
	static const uint8_t block[65536];
	struct cw_listener *l;
	int fd, i;

	(void)state;
	fx.on_open = pause_first;
	l = listen_with(256 * 1024, 0, 0);
	fd = fx_connect(l);
	fx_wait(fx.opened == 1);
	while (send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	fx_on_session(send_until_high_and_close);
	for (i = 0; i < 64; i++) /* it would wait for ever if the closing session did not read and drop */
		fx_send(fd, block, sizeof(block));
	assert_int_equal(fx_expect_orderly_end(fd, 128 * 1024) % 8192, 0);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.bytes, 0);
	fx_close(l);
}

static void a_session_may_be_aborted_from_its_own_bytes(void **state)
{
	struct cw_listener *l;
	int fd;

	(void)state;
	fx.on_bytes = answer_and_abort;
	l = listen_with(0, 0, 0);
	fd = fx_connect(l);
	fx_send(fd, "question", 8);
	assert_int_equal(fx_expect_end(fd), 0);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_EPROTO);
	fx_close(l);
}

static void a_session_may_be_closed_while_it_opens(void **state)
{
	struct cw_listener *l;
	int fd;

	(void)state;
	fx.on_open = close_it;
	l = listen_with(0, 0, 0);
	fd = fx_connect(l);
	fx_expect(fd, "busy", 4);
	fx_expect_end(fd);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_EBUSY);
	fx_close(l);
}

static void a_reset_by_the_peer_ends_the_session(void **state)
{
	struct cw_listener *l = listen_with(0, 0, 0);
	struct linger hard = { 1, 0 };
	int fd = fx_connect(l);

	(void)state;
	fx_echo(fd, "hello");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	fx_wait(fx.closed == 1);
	assert_int_not_equal(fx.why, 0);
	fx_close(l);
}

static void a_paused_session_reads_nothing_until_resumed(void **state)
{
	struct cw_listener *l;
	int fd, other;

	(void)state;
	fx.on_open = pause_first;
	l = listen_with(0, 0, 0);
	fd = fx_connect(l);
	fx_send(fd, "waiting", 7);
	fx_wait(fx.opened == 1);
	fx_settle();
	fx_settle();
	other = fx_connect(l); /* another session is served meanwhile: two full turns of the loop */
	fx_echo(other, "x");
	fx_wait(fx.bytes == 1);
	close(other);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.bytes, 1);
	fx_on_session(resume_it);
	fx_expect(fd, "waiting", 7);
	close(fd);
	fx_wait(fx.closed == 2);
	fx_close(l);
}

static void pausing_pushes_back_on_the_peer(void **state)
{
	static uint8_t block[65536];
	struct cw_listener *l;
	size_t sent = 0, got;
	ssize_t n;
	int fd;

	(void)state;
	fx.on_open = pause_first;
	l = listen_with(1024 * 1024 * 64, 0, 0);
	fd = fx_connect(l);
	fx_wait(fx.opened == 1);
	while ((n = send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	assert_int_equal(errno, EAGAIN); /* the socket buffers are full, and nothing is kept by us */
	assert_int_equal(fx.bytes, 0);
	fx_on_session(resume_it);
	shutdown(fd, SHUT_WR);
	got = fx_expect_end(fd);
	assert_int_equal(got, sent);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void a_session_paused_in_its_own_bytes_still_answers(void **state)
{
	struct cw_listener *l;
	int fd;

	(void)state;
	fx.on_bytes = pause_after_bytes;
	l = listen_with(0, 0, 0);
	fd = fx_connect(l);
	fx_echo(fd, "one");
	fx_send(fd, "two", 3);
	fx_settle();
	fx_on_session(resume_it);
	fx_expect(fd, "two", 3);
	close(fd);
	fx_settle();
	fx_on_session(resume_it);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void who_does_not_identify_in_time_is_closed(void **state)
{
	struct cw_listener *l = listen_with(0, 100, 0);
	int fd = fx_connect(l);

	(void)state;
	fx_echo(fd, "bytes alone do not help");
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_ETIMEDOUT);
	assert_non_null(strstr(fx.reason, "identifyTime"));
	assert_int_equal(fx_counts(l).closed_identify, 1);
	fx_expect_end(fd);
	fx_close(l);
}

static void who_identifies_in_time_stays_until_idle(void **state)
{
	struct cw_listener *l = listen_with(0, 150, 400);
	struct timespec a, b;
	int fd = fx_connect(l);

	(void)state;
	fx_wait(fx.opened == 1);
	clock_gettime(CLOCK_MONOTONIC, &a);
	fx_on_session(identify_it);
	fx_wait(fx.closed == 1);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_non_null(strstr(fx.reason, "idleTime"));
	assert_in_range((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000, 390, 9900);
	assert_int_equal(fx_counts(l).closed_idle, 1);
	assert_int_equal(fx_counts(l).closed_identify, 0);
	fx_expect_end(fd);
	fx_close(l);
}

static void valid_frames_keep_a_session_alive(void **state)
{
	struct timespec a, b;
	struct cw_listener *l;
	int fd;

	(void)state;
	fx.on_bytes = identify_and_echo;
	l = listen_with(0, 5000, 300);
	fd = fx_connect(l);
	clock_gettime(CLOCK_MONOTONIC, &a);
	do { /* four times idleTime of frames, one after the other */
		fx_echo(fd, "frame");
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 < 1200);
	pthread_mutex_lock(&fx.lock);
	assert_int_equal(fx.closed, 0);
	pthread_mutex_unlock(&fx.lock);
	fx_expect_end(fd); /* and silence ends it */
	fx_wait(fx.closed == 1);
	assert_int_equal(fx_counts(l).closed_idle, 1);
	fx_close(l);
}

static void idle_time_rests_while_paused(void **state)
{
	struct cw_listener *l;
	int fd, probe;

	(void)state;
	fx.on_open = pause_first;
	l = listen_with(0, 0, 200);
	fd = fx_connect(l);
	fx_wait(fx.opened == 1);
	probe = fx_connect(l); /* not paused: its end says that idleTime is over */
	fx_wait(fx.closed == 1);
	fx_expect_end(probe);
	fx_on_session(resume_it);
	fx_wait(fx.closed == 2);
	fx_expect_end(fd);
	assert_int_equal(fx_counts(l).closed_idle, 2);
	fx_close(l);
}

/* Allocations of a session on its worker fail in turn: such a session ends, the next one works. */
static int fail_nth;

static void arm_failure(void *arg)
{
	(void)arg;
	cw_mem_fail_at(fail_nth);
}

static void read_failure(void *arg)
{
	*(int *)arg = cw_mem_failed();
	cw_mem_fail_at(-1);
}

static void a_session_survives_every_failing_allocation(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;
	int failed = 1;

	(void)state;
	conf.limits.connections_per_source = 10;
	conf.limits.bytes_per_connection = 256 * 1024;
	conf.proxy_from = (struct cw_strings){ (const char *const[]){ "127.0.0.1" }, 1 };
	fx.on_bytes = answer_and_close;
	l = fx_listen_on(&conf, 1); /* so that it is known on which thread to arm */
	fx_settle();
	for (fail_nth = 0; failed; fail_nth++) {
		uint8_t got[16];
		int fd;

		fx_on(fx.workers[0], arm_failure, NULL);
		fd = fx_connect(l);
		(void)send(fd, "PROXY TCP4 1.2.3.4 ", 19, MSG_NOSIGNAL);
		fx_settle();
		(void)send(fd, "1.2.3.5 1 2\r\nhello", 18, MSG_NOSIGNAL);
		while (recv(fd, got, sizeof(got), 0) > 0)
			;
		close(fd);
		while (fx_counts(l).open != 0) /* each turn of the loop brings its end nearer */
			fx_settle();
		fx_settle();
		fx_on(fx.workers[0], read_failure, &failed);
	}
	assert_true(fail_nth > 4); /* that nothing was lost is asked by the teardown */
	fx_close(l);
}

#define net_test(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_is_small),
		net_test(many_sends_arrive_whole_and_in_order),
		net_test(a_peer_that_never_reads_is_closed_with_elimit),
		net_test(the_owner_hears_when_a_slow_peer_has_caught_up),
		net_test(writable_is_called_once_below_the_low_mark),
		net_test(closing_writes_what_is_kept_and_the_first_reason_counts),
		net_test(aborting_cuts_a_close_under_way_short),
		net_test(a_peer_that_does_not_read_its_goodbye_is_cut_off_after_five_seconds),
		net_test(an_answer_sent_before_close_arrives),
		net_test(what_was_never_read_does_not_reset_the_answer),
		net_test(a_peer_busy_sending_still_gets_its_goodbye),
		net_test(a_session_may_be_aborted_from_its_own_bytes),
		net_test(a_session_may_be_closed_while_it_opens),
		net_test(a_reset_by_the_peer_ends_the_session),
		net_test(a_paused_session_reads_nothing_until_resumed),
		net_test(pausing_pushes_back_on_the_peer),
		net_test(a_session_paused_in_its_own_bytes_still_answers),
		net_test(who_does_not_identify_in_time_is_closed),
		net_test(who_identifies_in_time_stays_until_idle),
		net_test(valid_frames_keep_a_session_alive),
		net_test(idle_time_rests_while_paused),
		net_test(a_session_survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
