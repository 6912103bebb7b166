/* Listeners over UDP: a session for each source, the same promises as over TCP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"

static const uint8_t v2_header[] = "\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\xcb\0\x71\x01\xdc\x04\x01\xbb";
#define V2_LEN (sizeof(v2_header) - 1)

static struct cw_listener_conf udp_conf(void)
{
	struct cw_listener_conf conf = fx_conf();

	conf.transport = CW_TRANSPORT_UDP;
	return conf;
}

static int udp_connect(struct cw_listener *l)
{
	return fx_socket(SOCK_DGRAM, NULL, cw_listener_address(l));
}

static void expect_datagram(int fd, const char *text)
{
	char got[2048];
	ssize_t n = recv(fd, got, sizeof(got), 0);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

static void udp_echo(int fd, const char *text)
{
	fx_send(fd, text, strlen(text));
	expect_datagram(fd, text);
}

static void wait_for_dropped(struct cw_listener *l, uint64_t n)
{
	while (fx_counts(l).datagrams_dropped < n)
		fx_settle();
	assert_int_equal(fx_counts(l).datagrams_dropped, n);
}

static void datagrams_stay_whole_and_sources_apart(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l = fx_listen(&conf);
	int a = udp_connect(l), b = udp_connect(l);

	(void)state;
	udp_echo(a, "one");
	udp_echo(b, "two");
	udp_echo(a, "three");
	fx_wait(fx.opened == 2);
	assert_memory_equal(fx.peer, "127.0.0.1:", 10);
	assert_true(fx.on_worker[0] == 0 || fx.on_worker[1] == 0); /* one socket, one worker */
	assert_int_equal(fx_counts(l).open, 2);
	fx_close(l);
	assert_int_equal(fx.closed, 2);
	close(a);
	close(b);
}

static void an_empty_datagram_is_a_datagram(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l = fx_listen(&conf);
	char got[8];
	int fd = udp_connect(l);

	(void)state;
	fx_send(fd, "", 0);
	assert_int_equal(recv(fd, got, sizeof(got), 0), 0);
	fx_wait(fx.opened == 1);
	close(fd);
	fx_close(l);
}

static void ipv4_and_ipv6_share_the_any_address(void **state)
{
	struct cw_addr v4 = { .family = 4, .ip = { 127, 0, 0, 1 } }, v6 = { .family = 6, .ip = { [15] = 1 } };
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	int a, b;

	(void)state;
	if (!fx_has_ipv6()) {
		print_message("skipped: this machine has no ::1\n");
		skip();
	}
	conf.address = "[::]:0";
	l = fx_listen(&conf);
	v4.port = v6.port = cw_listener_address(l)->port;
	a = fx_socket(SOCK_DGRAM, NULL, &v4);
	b = fx_socket(SOCK_DGRAM, NULL, &v6);
	udp_echo(a, "four");
	udp_echo(b, "six");
	close(a);
	close(b);
	fx_close(l);
}

static void a_silent_source_expires_and_comes_back_as_a_new_session(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	uint64_t first;
	int fd;

	(void)state;
	conf.limits.idle_ms = 100;
	l = fx_listen(&conf);
	fd = udp_connect(l);
	udp_echo(fd, "hello");
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_ETIMEDOUT);
	first = fx.last_id;
	udp_echo(fd, "again");
	fx_wait(fx.opened == 2);
	assert_int_not_equal(fx.last_id, first);
	assert_int_equal(fx_counts(l).closed_idle, 1);
	close(fd);
	fx_close(l);
}

static void sources_above_the_limits_are_dropped_and_counted(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	int fds[3], i;

	(void)state;
	conf.limits.connections = 2;
	conf.deny = (struct cw_strings){ (const char *const[]){ "127.0.0.9" }, 1 };
	l = fx_listen(&conf);
	for (i = 0; i < 3; i++)
		fds[i] = udp_connect(l);
	udp_echo(fds[0], "in");
	udp_echo(fds[1], "in");
	fx_send(fds[2], "out", 3);
	wait_for_dropped(l, 1);
	assert_int_equal(fx_counts(l).refused_connections, 1);
	close(fds[2]);
	fds[2] = fx_socket(SOCK_DGRAM, "127.0.0.9", cw_listener_address(l));
	fx_send(fds[2], "out", 3);
	wait_for_dropped(l, 2);
	assert_int_equal(fx_counts(l).refused_list, 1);
	for (i = 0; i < 3; i++)
		close(fds[i]);
	fx_close(l);
}

static void sources_of_one_address_are_limited(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	int a, b;

	(void)state;
	conf.limits.connections_per_source = 1;
	l = fx_listen(&conf);
	a = udp_connect(l);
	b = udp_connect(l);
	udp_echo(a, "in");
	fx_send(b, "out", 3);
	wait_for_dropped(l, 1);
	assert_int_equal(fx_counts(l).refused_source, 1);
	assert_int_equal(fx_counts(l).open, 1);
	close(a);
	close(b);
	fx_close(l);
}

static void answer_and_close(struct cw_session *s, struct cw_bytes in)
{
	assert_int_equal(cw_session_send(s, in), 0);
	cw_session_close(s, CW_EREFUSED, "goodbye");
	cw_session_close(s, CW_EREFUSED, "again");
	cw_session_abort(s, CW_EREFUSED, "and again");
	assert_int_equal(cw_session_send(s, in), CW_ECLOSED);
}

static void a_session_may_be_closed_from_its_own_datagram(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	int fd, i;

	(void)state;
	fx.on_bytes = answer_and_close;
	l = fx_listen(&conf);
	fd = udp_connect(l);
	for (i = 1; i <= 100; i++) {
		udp_echo(fd, "question");
		fx_wait(fx.opened == i);
	}
	fx_wait(fx.closed == 100);
	assert_string_equal(fx.reason, "goodbye");
	assert_int_equal(fx_counts(l).open, 0);
	close(fd);
	fx_close(l);
}

static void pause_it(void *arg)
{
	cw_session_pause(arg);
}

static void resume_it(void *arg)
{
	cw_session_resume(arg);
}

static void datagrams_for_a_paused_session_are_dropped_and_counted(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l = fx_listen(&conf);
	int fd = udp_connect(l);

	(void)state;
	udp_echo(fd, "hello");
	fx_wait(fx.opened == 1);
	fx_on_session(pause_it);
	fx_send(fd, "lost", 4);
	wait_for_dropped(l, 1);
	fx_on_session(resume_it);
	udp_echo(fd, "heard");
	close(fd);
	fx_close(l);
}

static void send_too_long(struct cw_session *s, struct cw_bytes in)
{
	static const uint8_t block[70000];

	assert_true(cw_session_send(s, cw_bytes_of(block, sizeof(block))) < 0);
	assert_int_equal(cw_session_send(s, in), 0); /* the session stays */
}

static void a_datagram_that_is_too_long_is_an_error_of_that_send_only(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	int fd;

	(void)state;
	fx.on_bytes = send_too_long;
	l = fx_listen(&conf);
	fd = udp_connect(l);
	udp_echo(fd, "hello");
	close(fd);
	fx_close(l);
}

static void behind_a_proxy_the_first_datagram_names_the_source(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	uint8_t with[64];
	int fd;

	(void)state;
	conf.proxy_from = (struct cw_strings){ (const char *const[]){ "127.0.0.1" }, 1 };
	l = fx_listen(&conf);
	fd = udp_connect(l);
	fx_send(fd, "no header", 9);
	wait_for_dropped(l, 1);
	assert_int_equal(fx_counts(l).proxy_bad, 1);
	memcpy(with, v2_header, V2_LEN);
	memcpy(with + V2_LEN, "hello", 5);
	fx_send(fd, with, V2_LEN + 5);
	expect_datagram(fd, "hello");
	fx_wait(fx.opened == 1);
	assert_string_equal(fx.peer, "192.0.2.7:56324");
	udp_echo(fd, "later without");
	fx_send(fd, with, V2_LEN + 5);
	expect_datagram(fd, "hello");
	fx_send(fd, with, 20); /* a header that is cut off */
	wait_for_dropped(l, 2);
	assert_int_equal(fx.opened, 1);
	close(fd);
	fx_close(l);
}

static void a_stopped_listener_serves_its_sources_but_no_new_ones(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l = fx_listen(&conf);
	int a = udp_connect(l), b = udp_connect(l);

	(void)state;
	udp_echo(a, "in");
	cw_listener_stop(l);
	fx_settle();
	fx_send(b, "out", 3);
	wait_for_dropped(l, 1);
	udp_echo(a, "still in");
	close(a);
	close(b);
	fx_close(l);
}

/* Allocations of a session on its worker fail in turn: the datagram is dropped, the next one is served. */
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

static void a_source_survives_every_failing_allocation(void **state)
{
	struct cw_listener_conf conf = udp_conf();
	struct cw_listener *l;
	int failed = 1, fd;

	(void)state;
	fx.on_bytes = answer_and_close;
	conf.limits.connections_per_source = 10;
	l = fx_listen_on(&conf, 1);
	fx_settle();
	fd = udp_connect(l);
	for (fail_nth = 0; failed; fail_nth++) {
		uint64_t dropped = fx_counts(l).datagrams_dropped;
		int closed = fx.closed;

		fx_on(fx.workers[0], arm_failure, NULL);
		fx_send(fd, "hello", 5);
		for (;;) {
			int now;

			fx_settle();
			pthread_mutex_lock(&fx.lock);
			now = fx.closed;
			pthread_mutex_unlock(&fx.lock);
			if (fx_counts(l).datagrams_dropped > dropped || now > closed)
				break;
		}
		fx_settle();
		fx_on(fx.workers[0], read_failure, &failed);
		assert_int_equal(fx_counts(l).open, 0);
	}
	assert_true(fail_nth > 4);
	close(fd);
	fx_close(l);
}

#define net_test(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(datagrams_stay_whole_and_sources_apart),
		net_test(an_empty_datagram_is_a_datagram),
		net_test(ipv4_and_ipv6_share_the_any_address),
		net_test(a_silent_source_expires_and_comes_back_as_a_new_session),
		net_test(sources_above_the_limits_are_dropped_and_counted),
		net_test(sources_of_one_address_are_limited),
		net_test(a_session_may_be_closed_from_its_own_datagram),
		net_test(datagrams_for_a_paused_session_are_dropped_and_counted),
		net_test(a_datagram_that_is_too_long_is_an_error_of_that_send_only),
		net_test(behind_a_proxy_the_first_datagram_names_the_source),
		net_test(a_stopped_listener_serves_its_sources_but_no_new_ones),
		net_test(a_source_survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
