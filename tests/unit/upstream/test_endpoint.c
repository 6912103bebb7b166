/* scheme://host[:port][/...]: what is taken, and which sentence the rest gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "upstream/endpoint.h"
#include "upstream/kinds.h"

static const struct cw_endpoint_scheme schemes[] = {
	{ .name = "must" },
	{ .name = "may", .port = 5684, .tls = 1 },
	{ .name = "path", .port = 443, .rest = 1 },
	{ .name = NULL },
};
static const struct cw_endpoint_form form = { schemes, "must://, may:// or path://", "must://host:1" };

static void what_is_well_formed_is_taken_apart(void **state)
{
	static const struct {
		const char *text, *scheme, *host, *port, *rest;
		int bracketed;
	} good[] = {
		{ "must://host:1883", "must", "host", "1883", "", 0 },
		{ "must://127.0.0.1:1", "must", "127.0.0.1", "1", "", 0 },
		{ "must://[2001:db8::1]:65535", "must", "2001:db8::1", "65535", "", 1 },
		{ "must://host:00080", "must", "host", "80", "", 0 },
		{ "may://host", "may", "host", "5684", "", 0 },
		{ "may://[::1]", "may", "::1", "5684", "", 1 },
		{ "may://${productKey}.coap.example:1", "may", "${productKey}.coap.example", "1", "", 0 },
		{ "path://host/", "path", "host", "443", "/", 0 },
		{ "path://host:9443/a:b?c@d", "path", "host", "9443", "/a:b?c@d", 0 },
		{ "path://[::1]?x", "path", "::1", "443", "?x", 1 },
	};
	struct cw_endpoint at;
	struct cw_msg msg;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(cw_endpoint_parse(good[i].text, &form, &at, &msg), 0);
		assert_string_equal(at.scheme->name, good[i].scheme);
		assert_string_equal(at.host, good[i].host);
		assert_string_equal(at.port, good[i].port);
		assert_string_equal(at.rest, good[i].rest);
		assert_int_equal(at.bracketed, good[i].bracketed);
	}
}

static void what_is_not_gets_a_sentence(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "does not begin with must://, may:// or path://" },
		{ "host:1883", "does not begin" },
		{ "mustn://host:1", "does not begin" },
		{ "must:/host:1", "does not begin" },
		{ "MUST://host:1", "does not begin" },
		{ "must://host", "is not like must://host:1" },
		{ "must://", "is not like" },
		{ "must://:1", "is not like" },
		{ "must://[]:1", "is not like" },
		{ "must://[::1", "is not like" },
		{ "must://[::1]", "is not like" },
		{ "must://[::1]1:1", "is not like" },
		{ "must://host:1/", "is not like" },
		{ "may://host?x", "is not like" },
		{ "must://user@host:1", "is not like" },
		{ "must://a host:1", "is not like" },
		{ "path:///:1", "is not like" },
		{ "must://host:", "port of" },
		{ "must://host:0", "port of" },
		{ "must://host:65536", "port of" },
		{ "must://host:4294967297", "port of" },
		{ "must://host:1x", "port of" },
		{ "must://host:+1", "port of" },
		{ "must://host: 1", "port of" },
		{ "must://::1:1883", "is not like" },
		{ "must://fe80::1:1883", "port of" },
	};
	struct cw_endpoint at;
	struct cw_msg msg;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(cw_endpoint_parse(bad[i].text, &form, &at, &msg), CW_ECONF);
		assert_non_null(strstr(msg.text, bad[i].says));
	}
}

static void a_host_too_long_is_refused_and_not_cut(void **state)
{
	char text[400] = "may://";
	struct cw_endpoint at;
	struct cw_msg msg;

	memset(text + 6, 'a', sizeof(at.host) - 1);
	text[6 + sizeof(at.host) - 1] = '\0';
	assert_int_equal(cw_endpoint_parse(text, &form, &at, &msg), 0);
	assert_int_equal(strlen(at.host), sizeof(at.host) - 1);
	memcpy(text + 6 + sizeof(at.host) - 1, "a", 2);
	assert_int_equal(cw_endpoint_parse(text, &form, &at, &msg), CW_ECONF);
}

/* `causeway doctor` and the sentences for people rely on it. */
static void every_kind_says_what_its_endpoints_are_like(void **state)
{
	const struct cw_connector_ops *kind;
	struct cw_endpoint at;
	struct cw_msg msg;
	char text[100];
	size_t i;

	for (i = 0; (kind = cw_upstream_kind(i)) != NULL; i++) {
		assert_string_equal(kind->type, cw_upstream_kind_names[i]);
		assert_non_null(kind->endpoint);
		(void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(kind->endpoint->like, " "), kind->endpoint->like);
		assert_int_equal(cw_endpoint_parse(text, kind->endpoint, &at, &msg), 0);
		assert_non_null(strstr(kind->endpoint->begins, at.scheme->name));
	}
	assert_true(i > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_well_formed_is_taken_apart),
		cmocka_unit_test(what_is_not_gets_a_sentence),
		cmocka_unit_test(a_host_too_long_is_refused_and_not_cut),
		cmocka_unit_test(every_kind_says_what_its_endpoints_are_like),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
