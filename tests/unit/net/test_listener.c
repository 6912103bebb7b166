/* Listeners over TCP: workers, addresses, lists and limits, reload, the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "fixture.h"

static void a_device_is_answered_and_its_end_is_reported(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l = fx_listen(&conf);
	int fd = fx_connect(l);

	(void)state;
	fx_echo(fd, "hello");
	fx_wait(fx.opened == 1);
	assert_memory_equal(fx.peer, "127.0.0.1:", 10);
	assert_int_equal(fx_counts(l).open, 1);
	assert_int_equal(fx_counts(l).accepted, 1);
	close(fd);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_ECLOSED);
	assert_string_equal(fx.reason, "closed by the peer");
	assert_int_equal(fx_counts(l).open, 0);
	fx_close(l);
}

static void every_worker_gets_connections(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l = fx_listen(&conf);
	int fds[64], i;

	(void)state;
	/* The kernel spreads by a hash of the addresses: 64 on one of two has a chance of 2^-63. */
	for (i = 0; i < 64; i++)
		fds[i] = fx_connect(l);
	fx_wait(fx.opened == 64);
	assert_true(fx.on_worker[0] > 0 && fx.on_worker[1] > 0);
	for (i = 0; i < 64; i++) {
		fx_echo(fds[i], "x");
		close(fds[i]);
	}
	fx_wait(fx.closed == 64);
	fx_close(l);
}

static void ipv6_works_and_takes_ipv4_on_the_any_address(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;
	struct cw_addr v4 = { .family = 4, .ip = { 127, 0, 0, 1 } }, v6 = { .family = 6, .ip = { [15] = 1 } };
	int fd;

	(void)state;
	if (!fx_has_ipv6()) {
		print_message("skipped: this machine has no ::1\n");
		skip();
	}
	conf.address = "[::]:0";
	l = fx_listen(&conf);
	v4.port = v6.port = cw_listener_address(l)->port;
	fd = fx_socket(SOCK_STREAM, NULL, &v6);
	fx_echo(fd, "six");
	fx_wait(fx.opened == 1);
	assert_memory_equal(fx.peer, "[::1]:", 6);
	close(fd);
	fd = fx_socket(SOCK_STREAM, NULL, &v4);
	fx_echo(fd, "four");
	fx_wait(fx.opened == 2);
	assert_memory_equal(fx.peer, "127.0.0.1:", 10);
	close(fd);
	fx_wait(fx.closed == 2);
	fx_close(l);
}

static void an_address_in_use_is_said(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l = fx_listen(&conf), *second = NULL;
	struct cw_listener_env env = fx_env();
	struct cw_msg msg = { "" };
	char text[CW_ADDR_TEXT];

	(void)state;
	conf.address = cw_addr_format(cw_listener_address(l), text);
	assert_int_equal(cw_listener_new(&conf, &env, &msg, &second), CW_EEXIST);
	assert_non_null(strstr(msg.text, "in use"));
	assert_non_null(strstr(msg.text, "listener \"test\""));
	assert_null(second);
	fx_close(l);
}

static void a_bad_address_is_said(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener_env env = fx_env();
	struct cw_listener *l = NULL;
	struct cw_msg msg = { "" };

	(void)state;
	conf.address = "gateway.example.com:7611";
	assert_int_equal(cw_listener_new(&conf, &env, &msg, &l), CW_ECONF);
	assert_non_null(strstr(msg.text, "address"));
	conf.address = "192.0.2.77:7611";
	assert_int_equal(cw_listener_new(&conf, &env, &msg, &l), CW_ECONF);
	assert_non_null(strstr(msg.text, "no address of this machine"));
	conf = fx_conf();
	conf.deny = (struct cw_strings){ (const char *const[]){ "10.0.0.0/33" }, 1 };
	assert_int_equal(cw_listener_new(&conf, &env, &msg, &l), CW_ECONF);
	assert_non_null(strstr(msg.text, "deny"));
	conf = fx_conf();
	conf.transport = CW_TRANSPORT_TLS;
	assert_int_equal(cw_listener_new(&conf, &env, &msg, &l), CW_ECONF);
	assert_non_null(strstr(msg.text, "tls.certificate"));
	assert_null(l);
}

static void connections_above_the_limit_are_refused_and_counted(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;
	int a, b;

	(void)state;
	conf.limits.connections = 2;
	l = fx_listen(&conf);
	a = fx_connect(l);
	b = fx_connect(l);
	fx_wait(fx.opened == 2);
	fx_expect_end(fx_connect(l));
	assert_int_equal(fx_counts(l).refused_connections, 1);
	close(a);
	fx_wait(fx.closed == 1);
	a = fx_connect(l);
	fx_echo(a, "room again");
	close(a);
	close(b);
	fx_wait(fx.closed == 3);
	fx_close(l);
}

static void connections_of_one_source_are_limited_over_all_workers(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;
	int fds[4], i;

	(void)state;
	conf.limits.connections_per_source = 3;
	l = fx_listen(&conf);
	for (i = 0; i < 3; i++)
		fds[i] = fx_connect(l);
	fx_wait(fx.opened == 3);
	for (i = 0; i < 8; i++)
		fx_expect_end(fx_connect(l));
	assert_int_equal(fx_counts(l).refused_source, 8);
	fds[3] = fx_socket(SOCK_STREAM, "127.0.0.2", cw_listener_address(l));
	fx_echo(fds[3], "another source");
	close(fds[0]);
	fx_wait(fx.closed == 1);
	fds[0] = fx_connect(l);
	fx_echo(fds[0], "one left, one comes");
	for (i = 0; i < 4; i++)
		close(fds[i]);
	fx_wait(fx.closed == 5);
	assert_int_equal(fx_counts(l).accepted, 5);
	fx_close(l);
}

static void arrivals_above_the_rate_are_refused_and_counted(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener_counts c;
	struct cw_listener *l;
	int fds[40], i;

	(void)state;
	conf.limits.accept_rate = 2;
	l = fx_listen(&conf);
	for (i = 0; i < 40; i++)
		fds[i] = fx_connect(l);
	for (i = 0; i < 40; i++) {
		shutdown(fds[i], SHUT_WR);
		fx_expect_end(fds[i]);
	}
	fx_wait(fx.opened == fx.closed);
	c = fx_counts(l);
	assert_int_equal(c.accepted + c.refused_rate, 40);
	/* Two at once, and two for each second that passed: a machine so slow that all pass would take 19 s. */
	assert_true(c.accepted >= 2);
	assert_true(c.refused_rate > 0);
	fx_close(l);
}

static void deny_counts_before_allow_and_allow_before_the_rest(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;
	int fd;

	(void)state;
	conf.allow = (struct cw_strings){ (const char *const[]){ "127.0.0.0/29", "10.0.0.0/8" }, 2 };
	conf.deny = (struct cw_strings){ (const char *const[]){ "127.0.0.3" }, 1 };
	l = fx_listen(&conf);
	fd = fx_socket(SOCK_STREAM, "127.0.0.2", cw_listener_address(l));
	fx_echo(fd, "allowed");
	close(fd);
	fx_expect_end(fx_socket(SOCK_STREAM, "127.0.0.3", cw_listener_address(l)));
	assert_int_equal(fx_counts(l).refused_list, 1);
	fx_expect_end(fx_socket(SOCK_STREAM, "127.0.0.9", cw_listener_address(l)));
	assert_int_equal(fx_counts(l).refused_list, 2);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void changed_limits_hold_for_new_connections(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l = fx_listen(&conf);
	struct cw_msg msg = { "" };
	int fd = fx_connect(l);

	(void)state;
	fx_echo(fd, "before");
	conf.deny = (struct cw_strings){ (const char *const[]){ "127.0.0.0/8" }, 1 };
	assert_int_equal(cw_listener_update(l, &conf, &msg), 0);
	fx_settle();
	fx_expect_end(fx_connect(l));
	fx_echo(fd, "after");
	conf.address = "127.0.0.1:1";
	assert_int_equal(cw_listener_update(l, &conf, &msg), CW_EINVAL);
	conf = fx_conf();
	conf.allow = (struct cw_strings){ (const char *const[]){ "nonsense" }, 1 };
	assert_int_equal(cw_listener_update(l, &conf, &msg), CW_ECONF);
	fx_expect_end(fx_connect(l)); /* nothing has changed */
	fx_echo(fd, "still");
	close(fd);
	fx_close(l);
}

static void a_stopped_listener_keeps_its_sessions(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l = fx_listen(&conf);
	struct sockaddr_storage ss;
	socklen_t len = cw_addr_to_sockaddr(cw_listener_address(l), &ss);
	int fd = fx_connect(l), late = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	fx_echo(fd, "before");
	cw_listener_stop(l);
	cw_listener_stop(l);
	fx_settle();
	assert_int_equal(connect(late, (struct sockaddr *)&ss, len), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(late);
	fx_echo(fd, "after");
	fx_close(l);
	fx_expect_end(fd);
	assert_int_equal(fx.closed, 1);
	assert_string_equal(fx.reason, "the test is over");
}

static void closing_ends_every_session(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l = fx_listen(&conf);
	int fds[200], i;

	(void)state;
	for (i = 0; i < 200; i++)
		fds[i] = fx_connect(l);
	fx_wait(fx.opened == 200);
	fx_close(l);
	assert_int_equal(fx.closed, 200);
	for (i = 0; i < 200; i++)
		fx_expect_end(fds[i]);
}

static void reconnecting_many_times_leaves_nothing(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;
	uint64_t last = 0;
	long live = 0;
	int i;

	(void)state;
	conf.limits.connections_per_source = 5;
	conf.limits.connections = 5;
	l = fx_listen(&conf);
	for (i = 0; i < 1500; i++) {
		int fd = fx_connect(l);

		fx_echo(fd, "again");
		fx_wait(fx.opened == i + 1);
		assert_int_not_equal(fx.last_id, last);
		last = fx.last_id;
		close(fd);
		fx_wait(fx.closed == i + 1);
		if (i == 10) {
			fx_settle();
			live = cw_mem_live();
		}
	}
	fx_settle();
	assert_int_equal(cw_mem_live(), live);
	assert_int_equal(fx_counts(l).open, 0);
	assert_int_equal(fx_counts(l).accepted, 1500);
	fx_close(l);
}

static void a_session_refused_by_its_owner_is_closed_without_a_word(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;

	(void)state;
	fx.refuse_open = 1;
	l = fx_listen(&conf);
	assert_int_equal(fx_expect_end(fx_connect(l)), 0);
	fx_close(l);
	assert_int_equal(fx.opened, 0);
	assert_int_equal(fx.closed, 0);
}

/* Fill the table of descriptors, then let a device come: it is refused, and the loop does not spin. */
static void without_descriptors_a_connection_is_refused_and_counted(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l = fx_listen(&conf);
	struct rlimit old, low;
	struct sockaddr_storage ss;
	socklen_t len = cw_addr_to_sockaddr(cw_listener_address(l), &ss);
	int fd, client, spare[4096], n = 0;

	(void)state;
	fd = fx_connect(l);
	fx_echo(fd, "hello");
	fx_settle(); /* every worker has its socket and its reserve */
	client = socket(AF_INET, SOCK_STREAM, 0);
	fx_be_patient(client);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 256;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n < 4096 && (spare[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	assert_int_equal(connect(client, (struct sockaddr *)&ss, len), 0);
	fx_expect_end(client); /* frees one descriptor here */
	while (n > 0)
		close(spare[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(fx_counts(l).refused_descriptors, 1);
	fx_echo(fd, "unharmed");
	client = fx_connect(l);
	fx_echo(client, "welcome again");
	close(client);
	close(fd);
	fx_wait(fx.closed == 2);
	fx_close(l);
}

/* Not even the reserve could be opened: accepting rests, and goes on by itself when there is room. */
static void without_a_reserve_accepting_pauses_until_there_is_room(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener *l;
	struct rlimit old, low;
	struct sockaddr_storage ss;
	int clients[3], spare[4096], n = 0, i;
	socklen_t len;

	(void)state;
	for (i = 0; i < 3; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		fx_be_patient(clients[i]);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 256;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n < 4096 && (spare[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	close(spare[--n]); /* one for the listener's own socket, none for its reserve */
	l = fx_listen_on(&conf, 1);
	len = cw_addr_to_sockaddr(cw_listener_address(l), &ss);
	for (i = 0; i < 3; i++)
		assert_int_equal(connect(clients[i], (struct sockaddr *)&ss, len), 0);
	while (fx_counts(l).accept_failed == 0)
		fx_settle();
	assert_int_equal(fx_counts(l).accepted, 0);
	while (n > 0)
		close(spare[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (i = 0; i < 3; i++) {
		fx_echo(clients[i], "after a while");
		close(clients[i]);
	}
	fx_wait(fx.closed == 3);
	assert_true(fx_counts(l).accept_failed < 100); /* it did not spin */
	fx_close(l);
}

static void the_descriptor_limit_is_raised_and_leaves_a_thousand(void **state)
{
	struct rlimit old, now;
	uint64_t limit, fit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	fit = cw_net_descriptor_limit(&limit);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(now.rlim_cur, old.rlim_max);
	assert_int_equal(limit, now.rlim_cur);
	assert_int_equal(fit, limit < 2000 ? limit / 2 : limit - 1000);
}

/* Every allocation of making and changing a listener fails in turn. */
static void a_listener_survives_every_failing_allocation(void **state)
{
	struct cw_listener_conf conf = fx_conf();
	struct cw_listener_env env = fx_env();
	int nth, rc;

	(void)state;
	fx_settle(); /* what a starting thread allocates is not counted here */
	conf.allow = (struct cw_strings){ (const char *const[]){ "127.0.0.0/8" }, 1 };
	conf.proxy_from = (struct cw_strings){ (const char *const[]){ "10.0.0.0/8" }, 1 };
	for (nth = 0;; nth++) {
		struct cw_listener *l = NULL;
		struct cw_msg msg = { "" };
		long live = cw_mem_live();

		cw_mem_fail_at(nth);
		rc = cw_listener_new(&conf, &env, &msg, &l);
		if (rc == 0)
			rc = cw_listener_update(l, &conf, &msg);
		if (!cw_mem_failed()) {
			cw_mem_fail_at(-1);
			assert_int_equal(rc, 0);
			fx_close(l);
			break;
		}
		cw_mem_fail_at(-1);
		assert_int_equal(rc, CW_ENOMEM);
		assert_non_null(strstr(msg.text, "memory"));
		if (l != NULL)
			fx_close(l);
		assert_int_equal(cw_mem_live(), live);
	}
	assert_true(nth > 5);
}

#define net_test(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(a_device_is_answered_and_its_end_is_reported),
		net_test(every_worker_gets_connections),
		net_test(ipv6_works_and_takes_ipv4_on_the_any_address),
		net_test(an_address_in_use_is_said),
		net_test(a_bad_address_is_said),
		net_test(connections_above_the_limit_are_refused_and_counted),
		net_test(connections_of_one_source_are_limited_over_all_workers),
		net_test(arrivals_above_the_rate_are_refused_and_counted),
		net_test(deny_counts_before_allow_and_allow_before_the_rest),
		net_test(changed_limits_hold_for_new_connections),
		net_test(a_stopped_listener_keeps_its_sessions),
		net_test(closing_ends_every_session),
		net_test(reconnecting_many_times_leaves_nothing),
		net_test(a_session_refused_by_its_owner_is_closed_without_a_word),
		net_test(without_descriptors_a_connection_is_refused_and_counted),
		net_test(without_a_reserve_accepting_pauses_until_there_is_room),
		net_test(a_listener_survives_every_failing_allocation),
		net_test(the_descriptor_limit_is_raised_and_leaves_a_thousand),
	};

	if (getenv("CW_MEMCHECK") != NULL)
		cmocka_set_skip_filter("without_*"); /* memcheck keeps descriptors of its own and answers for the limit itself */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
