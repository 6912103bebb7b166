/* The PROXY protocol: the header as bytes, and a listener behind a proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"
#include "net/proxy.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define B(text) { text, sizeof(text) - 1 }

struct bytes {
	const char *ptr;
	size_t len;
};

static const struct {
	struct bytes header;
	const char *source; /* NULL: the proxy's own */
} good[] = {
	{ B("PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\n"), "192.0.2.7:56324" },
	{ B("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535" },
	{ B("PROXY TCP6 2001:db8::7 2001:db8::1 4000 443\r\n"), "[2001:db8::7]:4000" },
	{ B("PROXY UNKNOWN\r\n"), NULL },
	{ B("PROXY UNKNOWN ffff:f...f:ffff anything at all\r\n"), NULL },
	{ B(SIG "\x21\x11\0\x0c\xc0\0\x02\x07\xcb\0\x71\x01\xdc\x04\x01\xbb"), "192.0.2.7:56324" },
	{ B(SIG "\x21\x12\0\x0c\xc0\0\x02\x07\xcb\0\x71\x01\xdc\x04\x01\xbb"), "192.0.2.7:56324" }, /* UDP over IPv4 */
	{ B(SIG "\x21\x11\0\x13\xc0\0\x02\x07\xcb\0\x71\x01\xdc\x04\x01\xbb\x04\0\x04zzzz"), "192.0.2.7:56324" }, /* an extension */
	{ B(SIG "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x0f\xa0\x01\xbb"),
	  "[2001:db8::7]:4000" },
	{ B(SIG "\x20\0\0\0"), NULL },             /* LOCAL */
	{ B(SIG "\x20\x11\0\x04" "abcd"), NULL },  /* LOCAL: what follows is skipped */
	{ B(SIG "\x21\0\0\0"), NULL },             /* unspecified */
	{ B(SIG "\x21\x31\0\x02" "ab"), NULL },    /* a Unix socket */
};

static const struct bytes bad[] = {
	B("GET / HTTP/1.1\r\n"), B("~\x01\x02"), B("PROXY TCP4 192.0.2.7 203.0.113.1 56324\r\n"), B("PROXY TCP4 192.0.2.7\r\n"),
	B("PROXY TCP4 192.0.2.7 203.0.113.1 56324 443 \r\n"), B("PROXY TCP4 192.0.2.7 203.0.113.1 65536 443\r\n"),
	B("PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n"), B("PROXY TCP6 192.0.2.7 203.0.113.1 1 2\r\n"), B("PROXY TCP5 1 2 3 4\r\n"),
	B("PROXY  TCP4 192.0.2.7 203.0.113.1 1 2\r\n"), B("PROXY TCP4 192.0.2.7 203.0.113.1 1 2\rX"), B("PROXY TCP4 192.0.2.7 203.0.113.1  2\r\n"),
	B("PROXY TCP4 192.0.2.7 203.0.113.1 -1 2\r\n"), B("PROXY UNKNOWN_\r\n"), B("proxy TCP4 192.0.2.7 203.0.113.1 1 2\r\n"),
	B("PROXY UNKNOWN 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n"),
	B(SIG "\x11\x11\0\x0c"), B(SIG "\x22\x11\0\x0c"), B(SIG "\x21\x41\0\x0c"), B(SIG "\x21\x13\0\x0c"),
	B(SIG "\x21\x11\0\x0b\xc0\0\x02\x07\xcb\0\x71\x01\xdc\x04\x01"), B(SIG "\x21\x21\0\x0c\xc0\0\x02\x07\xcb\0\x71\x01\xdc\x04\x01\xbb"),
	B(SIG "\x21\x11\x10\0"), B("\r\n\r\nX"),
};

static void good_headers_are_read_at_every_length(void **state)
{
	char text[CW_ADDR_TEXT];
	uint8_t more[256];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct cw_proxy p = { .known = 7 };

		for (n = 0; n < good[i].header.len; n++) /* cut anywhere it is neither whole nor wrong */
			assert_int_equal(cw_proxy_parse(cw_bytes_of(good[i].header.ptr, n), &p), 0);
		assert_int_equal(p.known, 7);
		memcpy(more, good[i].header.ptr, n);
		memset(more + n, 'x', 20);
		assert_int_equal(cw_proxy_parse(cw_bytes_of(more, n), &p), n);
		assert_int_equal(cw_proxy_parse(cw_bytes_of(more, n + 20), &p), n);
		assert_int_equal(p.known, good[i].source != NULL);
		if (p.known)
			assert_string_equal(cw_addr_format(&p.source, text), good[i].source);
	}
}

static void bad_headers_are_refused(void **state)
{
	struct cw_proxy p = { .known = 7 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (cw_proxy_parse(cw_bytes_of(bad[i].ptr, bad[i].len), &p) != CW_EPROTO)
			fail_msg("taken: number %zu, %s", i, bad[i].ptr);
	assert_int_equal(p.known, 7);
}

static void a_datagram_needs_a_whole_version_2_header(void **state)
{
	struct cw_bytes v2 = cw_bytes_of(good[5].header.ptr, good[5].header.len);
	struct cw_proxy p;

	(void)state;
	assert_int_equal(cw_proxy_parse_datagram(v2, &p), v2.len);
	assert_int_equal(cw_proxy_parse_datagram(cw_bytes_of(v2.ptr, v2.len - 1), &p), CW_EPROTO);
	assert_int_equal(cw_proxy_parse_datagram(cw_bytes_of(v2.ptr, 5), &p), CW_EPROTO);
	assert_int_equal(cw_proxy_parse_datagram(cw_bytes_text("PROXY UNKNOWN\r\n"), &p), CW_EPROTO);
}

/* ---- a listener behind a proxy ------------------------------------------------------ */

static struct cw_listener_conf proxied_conf(void)
{
	static const char *const from[] = { "127.0.0.1/32" };
	struct cw_listener_conf conf = fx_conf();

	conf.proxy_from = (struct cw_strings){ from, 1 };
	return conf;
}

static void the_source_is_the_one_in_the_header_wherever_it_is_cut(void **state)
{
	static const size_t tried[] = { 0, 5, 8 };
	struct cw_listener_conf conf = proxied_conf();
	struct cw_listener *l = fx_listen(&conf);
	int rounds = 0, one = 1;
	size_t i, cut;

	(void)state;
	for (i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
		const struct bytes *h = &good[tried[i]].header;

		for (cut = 1; cut <= h->len; cut++) {
			int fd = fx_connect(l);

			setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
			fx_send(fd, h->ptr, cut);
			if (cut % 5 == 0)
				fx_settle(); /* now and then let the first piece be read alone for certain */
			if (cut < h->len)
				fx_send(fd, h->ptr + cut, h->len - cut);
			fx_echo(fd, "payload");
			rounds++;
			fx_wait(fx.opened == rounds);
			assert_string_equal(fx.peer, good[tried[i]].source);
			close(fd);
		}
	}
	fx_wait(fx.closed == rounds);
	assert_int_equal(fx_counts(l).proxy_bad, 0);
	fx_close(l);
}

static void a_header_byte_by_byte_together_with_payload(void **state)
{
	struct cw_listener_conf conf = proxied_conf();
	struct cw_listener *l = fx_listen(&conf);
	static const char text[] = "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\npayload";
	int fd = fx_connect(l);
	size_t i;

	(void)state;
	for (i = 0; i < 40; i++) {
		fx_send(fd, text + i, 1);
		fx_settle();
	}
	fx_send(fd, text + i, sizeof(text) - 1 - i);
	fx_expect(fd, "payload", 7);
	fx_wait(fx.opened == 1);
	assert_string_equal(fx.peer, "192.0.2.7:56324");
	close(fd);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void without_a_header_a_proxied_connection_is_closed_and_counted(void **state)
{
	struct cw_listener_conf conf = proxied_conf();
	struct cw_listener *l = fx_listen(&conf);
	unsigned expected = 0;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = fx_connect(l);

		fx_send(fd, bad[i].ptr, bad[i].len);
		fx_expect_end(fd);
		expected++;
	}
	assert_int_equal(fx_counts(l).proxy_bad, expected);
	assert_int_equal(fx.opened, 0);
	fx_close(l);
}

static void a_header_cut_off_by_the_end_is_counted_but_a_health_check_is_not(void **state)
{
	struct cw_listener_conf conf = proxied_conf();
	struct cw_listener *l = fx_listen(&conf);
	int fd = fx_connect(l);

	(void)state;
	shutdown(fd, SHUT_WR);
	fx_expect_end(fd);
	assert_int_equal(fx_counts(l).proxy_bad, 0);
	fd = fx_connect(l);
	fx_send(fd, "PROXY TCP4", 10);
	fx_settle();
	shutdown(fd, SHUT_WR);
	fx_expect_end(fd);
	assert_int_equal(fx_counts(l).proxy_bad, 1);
	fx_close(l);
}

static void others_than_the_proxy_are_taken_as_they_are(void **state)
{
	struct cw_listener_conf conf = proxied_conf();
	struct cw_listener *l = fx_listen(&conf);
	int fd = fx_socket(SOCK_STREAM, "127.0.0.2", cw_listener_address(l));

	(void)state;
	fx_echo(fd, "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\n");
	fx_wait(fx.opened == 1);
	assert_memory_equal(fx.peer, "127.0.0.2:", 10);
	close(fd);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void lists_and_limits_look_at_the_source_in_the_header(void **state)
{
	struct cw_listener_conf conf = proxied_conf();
	struct cw_listener *l;
	int fd, second;

	(void)state;
	conf.allow = (struct cw_strings){ (const char *const[]){ "192.0.2.0/24" }, 1 };
	conf.limits.connections_per_source = 1;
	l = fx_listen(&conf);
	fd = fx_connect(l);
	fx_send(fd, "PROXY TCP4 203.0.113.9 203.0.113.1 1 2\r\n", 40);
	fx_expect_end(fd);
	assert_int_equal(fx_counts(l).refused_list, 1);
	fd = fx_connect(l);
	fx_send(fd, good[0].header.ptr, good[0].header.len);
	fx_echo(fd, "in");
	second = fx_connect(l);
	fx_send(second, good[0].header.ptr, good[0].header.len);
	fx_expect_end(second);
	assert_int_equal(fx_counts(l).refused_source, 1);
	second = fx_connect(l); /* the proxy speaking for itself passes the lists */
	fx_send(second, "PROXY UNKNOWN\r\n", 15);
	fx_echo(second, "health");
	close(second);
	close(fd);
	fx_wait(fx.closed == 2);
	fx_close(l);
}

static void a_header_that_never_comes_ends_at_the_deadline(void **state)
{
	struct cw_listener_conf conf = proxied_conf();
	struct cw_listener *l;

	(void)state;
	conf.limits.identify_ms = 100;
	l = fx_listen(&conf);
	fx_expect_end(fx_connect(l));
	assert_int_equal(fx_counts(l).proxy_bad, 1);
	fx_close(l);
}

#define net_test(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_headers_are_read_at_every_length),
		cmocka_unit_test(bad_headers_are_refused),
		cmocka_unit_test(a_datagram_needs_a_whole_version_2_header),
		net_test(the_source_is_the_one_in_the_header_wherever_it_is_cut),
		net_test(a_header_byte_by_byte_together_with_payload),
		net_test(without_a_header_a_proxied_connection_is_closed_and_counted),
		net_test(a_header_cut_off_by_the_end_is_counted_but_a_health_check_is_not),
		net_test(others_than_the_proxy_are_taken_as_they_are),
		net_test(lists_and_limits_look_at_the_source_in_the_header),
		net_test(a_header_that_never_comes_ends_at_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
