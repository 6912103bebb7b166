/* Addresses and networks as the configuration and the logs spell them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "net/addr.h"

static void addresses_are_read_and_written_alike(void **state)
{
	static const char *const same[] = { "127.0.0.1:7611", "0.0.0.0:0", "255.255.255.255:65535", "[::]:7612", "[2001:db8::1]:1" };
	char text[CW_ADDR_TEXT];
	struct cw_addr a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_int_equal(cw_addr_parse(same[i], &a, NULL), 0);
		assert_string_equal(cw_addr_format(&a, text), same[i]);
	}
	assert_int_equal(cw_addr_parse("*:7", &a, NULL), 0);
	assert_string_equal(cw_addr_format(&a, text), "0.0.0.0:7");
	assert_int_equal(cw_addr_parse("localhost:7", &a, NULL), 0);
	assert_string_equal(cw_addr_format(&a, text), "127.0.0.1:7");
}

static void bad_addresses_are_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = { "", "7611", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:7x", "127.0.0.1:-1",
		"127.0.0.256:1", "::1:7611", "[::1:7611", "[zz]:1", "example.com:1", "[::1%nosuchinterface]:1",
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789:1" };
	struct cw_addr a = { .port = 77 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cw_msg msg = { "" };

		if (cw_addr_parse(bad[i], &a, &msg) != CW_ECONF)
			fail_msg("taken: %s", bad[i]);
		assert_true(strlen(msg.text) > 10);
		assert_int_equal(a.port, 77);
	}
}

static void mapped_addresses_are_ipv4(void **state)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(99) };
	struct cw_addr a, b;

	(void)state;
	memcpy(&in6.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07", 16);
	cw_addr_from_sockaddr(&a, (const struct sockaddr *)&in6);
	assert_int_equal(cw_addr_parse("192.0.2.7:98", &b, NULL), 0);
	assert_true(cw_addr_same_host(&a, &b));
	b.ip[0]++;
	assert_false(cw_addr_same_host(&a, &b));
}

static int matches(const char *net, const char *host)
{
	struct cw_cidrs list = { NULL, 0 };
	struct cw_addr a;
	int yes;

	assert_int_equal(cw_cidrs_parse(&net, 1, &list, NULL), 0);
	assert_int_equal(cw_addr_parse(host, &a, NULL), 0);
	yes = cw_cidrs_match(&list, &a);
	cw_cidrs_fini(&list);
	return yes;
}

static void networks_match_their_addresses_only(void **state)
{
	(void)state;
	assert_true(matches("10.0.0.0/8", "10.255.0.1:1"));
	assert_false(matches("10.0.0.0/8", "11.0.0.1:1"));
	assert_true(matches("192.0.2.64/26", "192.0.2.127:1"));
	assert_false(matches("192.0.2.64/26", "192.0.2.128:1"));
	assert_false(matches("192.0.2.64/26", "192.0.2.63:1"));
	assert_true(matches("192.0.2.7", "192.0.2.7:1"));
	assert_false(matches("192.0.2.7", "192.0.2.6:1"));
	assert_true(matches("0.0.0.0/0", "203.0.113.9:1"));
	assert_false(matches("0.0.0.0/0", "[2001:db8::1]:1"));
	assert_true(matches("2001:db8::/33", "[2001:db8:7fff::1]:1"));
	assert_false(matches("2001:db8::/33", "[2001:db8:8000::1]:1"));
	assert_true(matches("::/0", "[2001:db8::1]:1"));
	assert_false(matches("::/0", "10.0.0.1:1"));
	assert_true(matches("::1", "[::1]:1"));
}

static void bad_networks_are_refused_and_leave_nothing(void **state)
{
	static const char *const bad[] = { "", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/x", "*", "localhost", "10.0.0.0/8/8" };
	struct cw_cidrs list = { NULL, 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *texts[] = { "10.0.0.0/8", bad[i] };
		struct cw_msg msg = { "" };

		if (cw_cidrs_parse(texts, 2, &list, &msg) != CW_ECONF)
			fail_msg("taken: %s", bad[i]);
		assert_true(strlen(msg.text) > 10);
		assert_null(list.v);
	}
	assert_int_equal(cw_mem_live(), 0);
}

static void limits_count_a_network_of_ipv6(void **state)
{
	/* However short an address is written: 64 bits are its network. */
	static const char *const pairs[][2] = {
		{ "192.0.2.7:50000", "192.0.2.7" },
		{ "[::ffff:192.0.2.7]:50000", "192.0.2.7" },
		{ "[2001:db8:1:2:3:4:5:6]:50000", "[2001:db8:1:2::]" },
		{ "[2001:db8::1:2:3:4]:1", "[2001:db8::]" },
		{ "[2001:db8::9:2:3:4]:1", "[2001:db8::]" },
		{ "[2001:db8::7]:1", "[2001:db8::]" },
		{ "[2001:db8:1::7]:1", "[2001:db8:1::]" },
		{ "[2001:db8:1:2::7]:1", "[2001:db8:1:2::]" },
		{ "[fe80::a:b:c:d]:1", "[fe80::]" },
		{ "[::1]:50000", "[::]" },
		{ "unix", "unix" },
		{ "", "" },
	};
	char out[CW_ADDR_TEXT];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_string_equal(cw_addr_limited(pairs[i][0], out), pairs[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written_alike),
		cmocka_unit_test(bad_addresses_are_refused_with_a_sentence),
		cmocka_unit_test(mapped_addresses_are_ipv4),
		cmocka_unit_test(limits_count_a_network_of_ipv6),
		cmocka_unit_test(networks_match_their_addresses_only),
		cmocka_unit_test(bad_networks_are_refused_and_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
