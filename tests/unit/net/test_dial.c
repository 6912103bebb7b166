/* Outgoing TCP and TLS connections against sockets of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/stat.h"
#include "certs.h"
#include "dial_fixture.h"

static struct certs certs;

/* ---- a device that listens ---------------------------------------------------------- */

static int device_at(const char *host, uint16_t *port)
{
	struct cw_addr addr;
	struct sockaddr_storage ss;
	socklen_t len;
	char text[80];
	int fd, one = 1;

	(void)snprintf(text, sizeof(text), "%s:%u", host, *port);
	assert_int_equal(cw_addr_parse(text, &addr, NULL), 0);
	len = cw_addr_to_sockaddr(&addr, &ss);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	fx_be_patient(fd);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	cw_addr_from_sockaddr(&addr, (struct sockaddr *)&ss);
	*port = addr.port;
	return fd;
}

static int device_accept(int listening)
{
	int fd = accept(listening, NULL, NULL);

	if (fd < 0)
		fail_msg("nobody dialled: %s", strerror(errno));
	fx_be_patient(fd);
	return fd;
}

/* A port where nobody listens, and nobody else is given it meanwhile. */
static int dead_port(uint16_t *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static const char *to(const char *scheme, const char *host, uint16_t port)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s://%s:%u", scheme, host, port);
	return text;
}

static struct cw_dial *dial_to(const char *where)
{
	struct cw_dial_conf conf = dial_conf(where);

	return dial(&conf);
}

/* ---- TCP ------------------------------------------------------------------------------- */

static void say_hello(struct cw_session *s)
{
	assert_int_equal(cw_session_direction(s), CW_DIRECTION_DIALLED);
	assert_int_equal(cw_session_send(s, cw_bytes_text("poll")), 0);
}

static void test_both_ways(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fd;
	struct cw_dial_status st;
	struct cw_dial *d;

	(void)state;
	fx.on_open = say_hello;
	d = dial_to(to("tcp", "127.0.0.1", port));
	fd = device_accept(listening);
	fx_expect(fd, "poll", 4);
	fx_echo(fd, "answer");
	st = dial_status(d);
	assert_int_equal(st.state, CW_DIAL_UP);
	assert_int_equal(st.attempts, 1);
	assert_int_equal(st.successes, 1);
	assert_string_equal(st.last_error, "");
	assert_string_equal(fx.peer, st.address);
	dial_close(d);
	assert_int_equal(fx_expect_end(fd), 0);
	assert_string_equal(fx.reason, "the test is over");
	close(listening);
}

/* The worker is the same for the same name, and names spread. */
static void test_worker(void **state)
{
	unsigned i, on[4] = { 0 };
	char name[16];

	(void)state;
	for (i = 0; i < 400; i++) {
		(void)snprintf(name, sizeof(name), "plc%u", i);
		on[cw_dial_worker(name, 4)]++;
		assert_int_equal(cw_dial_worker(name, 4), cw_dial_worker(name, 4));
	}
	for (i = 0; i < 4; i++)
		assert_in_range(on[i], 60, 140);
	assert_int_equal(cw_dial_worker("plc7", 1), 0);
}

static void test_refused_then_there(void **state)
{
	struct cw_dial_status st;
	struct cw_dial *d;
	uint16_t port;
	int bound = dead_port(&port), fd;

	(void)state;
	d = dial_to(to("tcp", "127.0.0.1", port));
	dial_wait(d, st, st.attempts >= 4);
	assert_int_equal(st.successes, 0);
	assert_non_null(strstr(st.last_error, "127.0.0.1:"));
	if (strstr(st.last_error, "connection refused") == NULL)
		fail_msg("%s", st.last_error);
	assert_int_equal(listen(bound, 4), 0);
	fx_be_patient(bound);
	fd = device_accept(bound);
	fx_wait(fx.opened == 1);
	fx_echo(fd, "here I am");
	close(fd);
	close(bound);
}

/* It goes away and comes back; what was before does not count against it. */
static void test_comes_back(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fd, i;
	struct cw_dial_status st;
	struct cw_dial *d = dial_to(to("tcp", "127.0.0.1", port));

	(void)state;
	for (i = 1; i <= 3; i++) {
		fd = device_accept(listening);
		fx_wait(fx.opened == i);
		fx_echo(fd, "hello");
		close(fd);
		fx_wait(fx.closed == i);
	}
	dial_wait(d, st, st.successes >= 3);
	assert_string_equal(st.last_error, "closed by the peer");
	close(listening);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* A device that accepts and closes at once: the waits grow all the same. */
static void test_no_spin(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), i;
	struct cw_dial_conf conf = dial_conf(to("tcp", "127.0.0.1", port));
	uint64_t start = now_ms();

	(void)state;
	conf.retry_min_ms = 20;
	conf.retry_max_ms = 60000; /* so nothing here lasts long enough to count as working */
	(void)dial(&conf);
	for (i = 0; i < 5; i++)
		close(device_accept(listening));
	assert_true(now_ms() - start >= (20 + 40 + 80 + 160) * 3 / 4);
	close(listening);
}

static void test_ipv6(void **state)
{
	uint16_t port = 0;
	struct cw_dial_status st;
	struct cw_dial *d;
	int listening, fd;

	(void)state;
	if (!fx_has_ipv6()) {
		print_message("skipped: no ::1 here\n");
		skip();
	}
	listening = device_at("[::1]", &port);
	d = dial_to(to("tcp", "[::1]", port));
	fd = device_accept(listening);
	fx_wait(fx.opened == 1);
	st = dial_status(d);
	assert_int_equal(strncmp(st.address, "[::1]:", 6), 0);
	fx_echo(fd, "six");
	close(fd);
	close(listening);
}

/* localhost has ::1 and 127.0.0.1 here; one of them does not listen, and the other is found. */
static void name_with(const char *host)
{
	uint16_t port = 0;
	int listening = device_at(host, &port), fd;
	struct cw_dial *d = dial_to(to("tcp", "localhost", port));
	struct cw_dial_status st;

	fd = device_accept(listening);
	dial_wait(d, st, st.state == CW_DIAL_UP);
	fx_echo(fd, "name");
	dial_close(d);
	close(fd);
	close(listening);
}

static void test_name(void **state)
{
	(void)state;
	name_with("127.0.0.1");
}

static void test_name_second_address(void **state)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_family = AF_INET6 }, *list = NULL;

	(void)state;
	if (!fx_has_ipv6() || getaddrinfo("localhost", "1", &hints, &list) != 0) {
		print_message("skipped: localhost is not ::1 here\n");
		skip();
	}
	freeaddrinfo(list);
	name_with("[::1]");
}

static void test_no_such_name(void **state)
{
	struct cw_dial *d = dial_to("tcp://no-such-host.invalid:502");
	struct cw_dial_status st;

	(void)state;
	dial_wait(d, st, st.last_error[0] != '\0');
	assert_non_null(strstr(st.last_error, "no-such-host.invalid cannot be looked up"));
}

/* Many at once: not more than two look-ups run, and everybody gets an answer. */
static void test_many_names(void **state)
{
	struct cw_dial_status st;
	struct cw_dial *d[4];
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		char name[8];
		struct cw_dial_conf conf = dial_conf("tcp://no-such-host.invalid:502");

		(void)snprintf(name, sizeof(name), "c%d", i);
		conf.name = name;
		d[i] = dial(&conf);
	}
	for (i = 0; i < 4; i++)
		dial_wait(d[i], st, st.last_error[0] != '\0');
}

/* The queue of who listens is full: the kernel drops what comes, and nothing answers. */
static void test_connect_timeout(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fill[4], i;
	struct cw_dial_conf conf = dial_conf(to("tcp", "127.0.0.1", port));
	struct cw_addr addr;
	struct sockaddr_storage ss;
	struct cw_dial_status st;
	struct cw_dial *d;
	socklen_t len;
	char text[64];

	(void)state;
	assert_int_equal(listen(listening, 0), 0);
	(void)snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	assert_int_equal(cw_addr_parse(text, &addr, NULL), 0);
	len = cw_addr_to_sockaddr(&addr, &ss);
	for (i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fill[i], (struct sockaddr *)&ss, len);
	}
	conf.connect_ms = 50;
	d = dial(&conf);
	dial_wait(d, st, st.attempts >= 2);
	assert_non_null(strstr(st.last_error, "no answer within connectTimeout"));
	for (i = 0; i < 4; i++)
		close(fill[i]);
	close(listening);
}

static void test_refused_by_owner(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fd;
	struct cw_dial_status st;
	struct cw_dial *d;

	(void)state;
	fx.refuse_open = 1;
	d = dial_to(to("tcp", "127.0.0.1", port));
	fd = device_accept(listening);
	(void)fx_expect_end(fd);
	dial_wait(d, st, st.attempts >= 2);
	assert_string_equal(st.last_error, "refused when opened");
	assert_int_equal(st.successes, 0);
	close(listening);
}

/* Closing by the owner, as for a device that nobody knows, is followed by another attempt; idleTime counts, too. */
static void test_idle(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fd;
	struct cw_dial_conf conf = dial_conf(to("tcp", "127.0.0.1", port));
	struct cw_dial *d;

	(void)state;
	conf.limits.idle_ms = 60;
	d = dial(&conf);
	fd = device_accept(listening);
	(void)fx_expect_end(fd);
	fx_wait(fx.closed >= 1);
	assert_string_equal(fx.reason, "no valid frame within idleTime");
	close(device_accept(listening));
	dial_close(d);
	close(listening);
}

static void test_stop(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fd;
	struct cw_dial *d = dial_to(to("tcp", "127.0.0.1", port));
	struct cw_dial_status st;

	(void)state;
	fd = device_accept(listening);
	fx_wait(fx.opened == 1);
	cw_dial_stop(d);
	cw_dial_stop(d);
	fx_echo(fd, "still here");
	close(fd);
	dial_wait(d, st, st.state == CW_DIAL_STOPPED);
	assert_int_equal(st.attempts, 1);
	close(listening);
}

/* The end comes while it looks up, connects, or waits. */
static void test_close_any_time(void **state)
{
	static const char *const places[] = { "tcp://no-such-host.invalid:502", "tcp://localhost:1", "tcp://192.0.2.1:502",
		                              "serial:///dev/no-such-line" };
	size_t i;
	int n;

	(void)state;
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		for (n = 0; n < 20; n++)
			dial_close(dial_to(places[i]));
}

/* ---- what is written in a configuration ---------------------------------------------------- */

static void wrong(const char *where, const char *sentence)
{
	struct cw_dial_conf conf = dial_conf(where);
	struct cw_msg msg = { "" };

	assert_int_equal(cw_dial_check(&conf, &msg), CW_ECONF);
	if (strstr(msg.text, sentence) == NULL || strstr(msg.text, "connection \"plc7\"") == NULL)
		fail_msg("\"%s\" says: %s", where, msg.text);
}

static void test_to(void **state)
{
	static const char *const fine[] = { "tcp://192.0.2.7:502", "tcp://[2001:db8::7]:1", "tcp://plc-7.plant_2.example:65535",
		                            "tls://plc:802", "serial:///dev/ttyS1", "tcp://[fe80::1%lo]:502" };
	struct cw_msg msg = { "" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		struct cw_dial_conf conf = dial_conf(fine[i]);

		if (cw_dial_check(&conf, &msg) != 0)
			fail_msg("%s", msg.text);
	}
	wrong("192.0.2.7:502", "accepted is tcp://host:port, tls://host:port or serial:///dev/");
	wrong("udp://192.0.2.7:502", "accepted is tcp://");
	wrong("tcp://192.0.2.7", "no port from 1 to 65535");
	wrong("tcp://192.0.2.7:", "no port from 1 to 65535");
	wrong("tcp://192.0.2.7:0", "no port from 1 to 65535");
	wrong("tcp://192.0.2.7:65536", "no port from 1 to 65535");
	wrong("tcp://192.0.2.7:502/", "no port from 1 to 65535");
	wrong("tcp://192.0.2.7:502000000000000000000", "no port from 1 to 65535");
	wrong("tcp://:502", "has no host");
	wrong("tcp://[]:502", "has no host");
	wrong("tcp://2001:db8::7:502", "an IPv6 address needs brackets");
	wrong("tcp://a b:502", "does not belong into a host's name");
	wrong("tcp://user@plc:502", "'@' does not belong into a host's name");
	wrong("serial://ttyS1", "no absolute path");
	wrong("serial:///", "no absolute path");
	wrong("serial:///dev/ttyS1?baud=9600", "serial { baud, parity, stopBits, dataBits }");
}

static void test_update(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fd;
	struct cw_dial_conf conf = dial_conf(to("tcp", "127.0.0.1", port));
	struct cw_dial *d = dial(&conf);
	struct cw_msg msg;

	(void)state;
	fd = device_accept(listening);
	fx_wait(fx.opened == 1);
	assert_int_equal(cw_dial_update(d, &conf, &msg), 0);
	conf.limits.idle_ms = 5;
	assert_int_equal(cw_dial_update(d, &conf, &msg), CW_EINVAL);
	conf = dial_conf("tcp://127.0.0.2:502");
	assert_int_equal(cw_dial_update(d, &conf, &msg), CW_EINVAL);
	fx_echo(fd, "nothing has happened");
	close(fd);
	close(listening);
}

/* ---- TLS --------------------------------------------------------------------------------------- */

/* A listener of ours is the device. */
static struct cw_listener *secure_device(const char *certificate)
{
	static char pem[256], key[256];
	struct cw_listener_conf conf = fx_conf();
	char file[64];

	(void)snprintf(pem, sizeof(pem), "%s", certs_path(&certs, certs_name(file, certificate, "pem")));
	(void)snprintf(key, sizeof(key), "%s", certs_path(&certs, certs_name(file, certificate, "key")));
	conf.transport = CW_TRANSPORT_TLS;
	conf.tls.certificate = pem;
	conf.tls.key = key;
	return fx_listen(&conf);
}

static struct cw_dial *dial_secure(struct cw_listener *l, const char *host, int no_verify)
{
	struct cw_dial_conf conf = dial_conf(to("tls", host, cw_listener_address(l)->port));

	conf.tls.ca = certs_path(&certs, "ca.pem");
	conf.tls.no_verify = no_verify;
	return dial(&conf);
}

static void send_once(struct cw_session *s)
{
	if (cw_session_direction(s) == CW_DIRECTION_DIALLED)
		(void)cw_session_send(s, cw_bytes_text("ciphered"));
}

static void keep_quiet(struct cw_session *s, struct cw_bytes in)
{
	if (cw_session_direction(s) == CW_DIRECTION_ACCEPTED)
		(void)cw_session_send(s, in);
}

static void test_tls(void **state)
{
	struct cw_dial_status st;
	struct cw_dial *d;

	(void)state;
	fx.on_open = send_once;
	fx.on_bytes = keep_quiet;
	d = dial_secure(secure_device("server"), "localhost", 0);
	fx_wait(fx.bytes == 16); /* there and back */
	st = dial_status(d);
	assert_int_equal(st.state, CW_DIAL_UP);
	dial_close(d);
	fx_wait(fx.closed == 2);
}

/* Somebody whom the CA did not sign. */
static void test_tls_stranger(void **state)
{
	int64_t before = cw_stat_read(CW_STAT_net_dials_failed);
	struct cw_dial_status st;
	struct cw_dial *d = dial_secure(secure_device("stranger"), "localhost", 0);

	(void)state;
	dial_wait(d, st, st.attempts >= 2);
	assert_int_equal(st.successes, 0);
	assert_int_not_equal(st.last_error[0], '\0');
	assert_true(cw_stat_read(CW_STAT_net_dials_failed) > before);
	dial_close(d);
	d = dial_secure(fx.listeners[0], "localhost", 1);
	dial_wait(d, st, st.state == CW_DIAL_UP);
	dial_close(d);
	fx_wait(fx.opened == fx.closed);
}

/* What answers does not speak TLS. */
static void test_tls_plain_device(void **state)
{
	uint16_t port = 0;
	int listening = device_at("127.0.0.1", &port), fd;
	struct cw_dial_conf conf = dial_conf(to("tls", "127.0.0.1", port));
	struct cw_dial_status st;
	struct cw_dial *d;

	(void)state;
	conf.tls.no_verify = 1;
	d = dial(&conf);
	fd = device_accept(listening);
	fx_send(fd, "HTTP/1.1 400 Bad Request\r\n", 26);
	(void)fx_expect_end(fd);
	dial_wait(d, st, st.attempts >= 2);
	assert_int_equal(st.successes, 0);
	close(listening);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fx_setup, dial_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_both_ways), TEST(test_worker), TEST(test_refused_then_there), TEST(test_comes_back), TEST(test_no_spin),
		TEST(test_ipv6), TEST(test_name), TEST(test_name_second_address), TEST(test_no_such_name), TEST(test_many_names),
		TEST(test_connect_timeout), TEST(test_refused_by_owner), TEST(test_idle), TEST(test_stop), TEST(test_close_any_time),
		TEST(test_to), TEST(test_update), TEST(test_tls), TEST(test_tls_stranger), TEST(test_tls_plain_device),
	};
	int rc;

	certs_init(&certs);
	certs_make(&certs, "ca", "CN=test authority", NULL, 1);
	certs_make(&certs, "server", "CN=localhost", "ca", 0);
	certs_make(&certs, "foreign-ca", "CN=another authority", NULL, 1);
	certs_make(&certs, "stranger", "CN=localhost", "foreign-ca", 0);
	rc = cmocka_run_group_tests_name("dial", tests, NULL, NULL);
	certs_fini(&certs);
	return rc;
}
