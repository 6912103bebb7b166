/* Identities out of CSV, JSON and the answers of a look-up: what is taken, what is refused, with which words. covers: M16 M1D */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "identity/http.h"
#include "identity/import.h"

static char told[1024];
static int told_count;

static void on_skip(void *arg, const char *sentence)
{
	told_count++;
	(void)snprintf(told, sizeof(told), "%s", sentence);
}

static struct cw_identities *csv(const char *text)
{
	struct cw_identities *set = NULL;
	struct cw_msg msg = { "" };

	told_count = 0;
	told[0] = '\0';
	if (cw_identities_csv("x.csv", cw_bytes_text(text), on_skip, NULL, &set, &msg) < 0)
		fail_msg("%s", msg.text);
	return set;
}

static const struct cw_identity *find(const struct cw_identities *set, const char *identity)
{
	const struct cw_identity *id = cw_identities_find(set, identity, strlen(identity));

	assert_non_null(id);
	return id;
}

static void columns_come_in_any_order_and_others_are_left_out(void **state)
{
	struct cw_identities *set = csv("\xef\xbb\xbf note , DEVICEsecret,productKey , \"DeviceName\",Identity\r\n"
					"\"a, \"\"b\"\"\nc\", s1 ,pk1,dev-1,one\r\n"
					"\r\n"
					",\"s 2\",pk1,dev-2,\r\n"
					"x,s3,pk1,dev-3,three,more,and more");

	assert_int_equal(told_count, 0);
	assert_int_equal(set->count, 3);
	assert_string_equal(find(set, "one")->device_secret, "s1");
	assert_string_equal(find(set, "one")->device_name, "dev-1");
	assert_string_equal(find(set, "dev-2")->device_secret, "s 2"); /* the DeviceName is the identity */
	assert_string_equal(find(set, "three")->product_key, "pk1");
	cw_identities_free(set);
}

static void lines_that_cannot_be_used_are_named(void **state)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ "pk,dev-1,", "x.csv:2: device \"dev-1\": deviceSecret is missing" },
		{ ",dev-1,s", "productKey is missing" },
		{ "pk,,s", "x.csv:2: the identity is empty" },
		{ "pk,de v,s", "device \"de v\": productKey or deviceName has characters" },
		{ "pk,\"dev,s", "a quoted field does not end" },
		{ "pk,\"dev\"x,s", "a quoted field does not end" },
	};
	char text[200], longest[700];
	struct cw_identities *set;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(text, sizeof(text), "productKey,deviceName,deviceSecret\n%s", cases[i].line);
		set = csv(text);
		assert_int_equal(told_count, 1);
		assert_int_equal(set->count, 0);
		assert_int_equal(set->skipped, 1);
		if (strstr(told, cases[i].why) == NULL)
			fail_msg("%s: %s", cases[i].line, told);
		cw_identities_free(set);
	}
	set = csv("productKey,deviceName,deviceSecret\npk,a,s\npk,b,s\npk,a,s\n");
	assert_non_null(strstr(told, "x.csv:4: device \"a\": the identity stands in an earlier line"));
	assert_int_equal(set->count, 2);
	cw_identities_free(set);
	(void)snprintf(longest, sizeof(longest), "productKey,deviceName,deviceSecret\npk,%0600d,s", 1);
	set = csv(longest);
	assert_non_null(strstr(told, "longer than 511 bytes"));
	cw_identities_free(set);
}

static void a_first_line_that_names_no_columns_is_refused(void **state)
{
	static const char *const cases[][2] = { { "", "no column ProductKey" },
		                                { "productKey,deviceName", "no column DeviceSecret" },
		                                { "productKey,deviceName,deviceSecret,DEVICENAME\n", "two columns named DeviceName" },
		                                { "productKey,\"deviceName\n", "cannot be read" } };
	struct cw_identities *set;
	struct cw_msg msg;
	size_t i;

	for (i = 0; i < 4; i++) {
		assert_int_equal(cw_identities_csv("x.csv", cw_bytes_text(cases[i][0]), on_skip, NULL, &set, &msg), CW_ECONF);
		if (strstr(msg.text, cases[i][1]) == NULL)
			fail_msg("%s", msg.text);
	}
}

static void a_set_survives_json(void **state)
{
	struct cw_identities *set, *again = NULL;
	struct cw_msg msg = { "" };
	char *text;
	size_t len;

	assert_int_equal(cw_identities_new(&set), 0);
	assert_int_equal(cw_identities_add(set, "o\"ne", "pk", "dev-1", "s\\1", cw_bytes_text("{\"a\":12.30,\"b\":[1,{\"c\":null}]}")), 0);
	assert_int_equal(cw_identities_add(set, "\xe4\xb8\xad", "pk", "dev-2", "s2", cw_bytes_of(NULL, 0)), 0);
	assert_int_equal(cw_identities_to_json(set, &text, &len), 0);
	if (cw_identities_of_json(cw_bytes_of(text, len), &again, &msg) < 0)
		fail_msg("%s", msg.text);
	cw_free(text);
	assert_int_equal(again->count, 2);
	assert_true(cw_identity_same(find(set, "o\"ne"), find(again, "o\"ne")));
	assert_true(cw_identity_same(find(set, "\xe4\xb8\xad"), find(again, "\xe4\xb8\xad")));
	cw_identities_free(set);
	cw_identities_free(again);
}

static void json_that_is_something_else_is_refused(void **state)
{
	static const char twice[] = "[{\"identity\":\"a\",\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"s\"},"
	                            "{\"identity\":\"a\",\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"s\"}]";
	static const char *const cases[] = { "", "{", "{}", "[1]", "[{}]", "[{\"identity\":1}]",
		                             "[{\"identity\":\"a\",\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"\"}]",
		                             "[{\"identity\":\"a\\u0000b\",\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"s\"}]",
		                             twice };
	struct cw_identities *set;
	struct cw_msg msg;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&msg, 0, sizeof(msg));
		assert_true(cw_identities_of_json(cw_bytes_text(cases[i]), &set, &msg) < 0);
		assert_true(msg.text[0] != '\0');
		assert_null(strstr(msg.text, "\"s\""));
	}
}

/* ---- the answers of a look-up --------------------------------------------------------- */

static void answer_is(int status, const char *body, const char *asked, int want, const char *why)
{
	struct cw_identity *id = NULL;
	struct cw_msg msg = { "" };
	int rc = cw_http_source_read(status, cw_bytes_text(body), asked, &id, &msg);

	if (rc != want || strstr(msg.text, why) == NULL)
		fail_msg("%d \"%s\" for %s", rc, msg.text, body);
	assert_int_equal(id != NULL, want == CW_OK);
	cw_identity_free(id);
}

static void answers_are_read_with_care(void **state)
{
	struct cw_identity *id;
	struct cw_msg msg;

	answer_is(200, "{\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"s\",\"more\":[1]}", "1", CW_OK, "");
	answer_is(200, "{\"identity\":\"1\",\"productKey\":\"p\",\"deviceName\":\"n\"}", "1", CW_OK, ""); /* brings its own secret */
	answer_is(200, "{\"identity\":\"1\",\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"s\"}", NULL, CW_OK, "");
	answer_is(404, "whatever", "1", CW_ENOENT, "");
	answer_is(500, "whatever", "1", CW_EREFUSED, "status 500");
	answer_is(301, "", "1", CW_EREFUSED, "status 301");
	answer_is(200, "", "1", CW_EPROTO, "not JSON");
	answer_is(200, "[]", "1", CW_EPROTO, "productKey is missing");
	answer_is(200, "{\"identity\":\"2\",\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"s\"}", "1", CW_EPROTO, "another identity");
	answer_is(200, "{\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"s\"}", NULL, CW_EPROTO, "the identity is empty");
	answer_is(200, "{\"productKey\":\"p\",\"deviceName\":\"a b\",\"deviceSecret\":\"s3cr3t\"}", "1", CW_EPROTO, "characters");
	answer_is(200, "{\"productKey\":\"p\",\"deviceName\":\"n\",\"deviceSecret\":\"a\\u0000b\"}", "1", CW_EPROTO, "no text");
	assert_int_equal(cw_http_source_read(200, cw_bytes_text("{\"productKey\":\"p\",\"deviceName\":\"n\",\"settings\":{\"x\":1.50}}"), "1", &id, &msg), 0);
	assert_int_equal(id->settings.len, strlen("{\"x\":1.50}"));
	assert_memory_equal(id->settings.ptr, "{\"x\":1.50}", id->settings.len);
	cw_identity_free(id);
}

static void a_lack_of_memory_is_survived(void **state)
{
	static const char text[] = "productKey,deviceName,deviceSecret\npk,a,s\npk,b,s\n";
	long live = cw_mem_live(), n;
	int rc;

	for (n = 0;; n++) {
		struct cw_identities *set = NULL, *again = NULL;
		struct cw_msg msg = { "" };
		char *json = NULL;
		size_t len;

		cw_mem_fail_at(n);
		rc = cw_identities_csv("x.csv", cw_bytes_text(text), NULL, NULL, &set, &msg);
		if (rc == 0)
			rc = cw_identities_to_json(set, &json, &len);
		if (rc == 0)
			rc = cw_identities_of_json(cw_bytes_of(json, len), &again, &msg);
		cw_mem_fail_at(-1);
		cw_free(json);
		cw_identities_free(set);
		cw_identities_free(again);
		assert_int_equal(cw_mem_live(), live);
		if (rc == 0)
			break;
	}
	assert_true(n > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_come_in_any_order_and_others_are_left_out),
		cmocka_unit_test(lines_that_cannot_be_used_are_named),
		cmocka_unit_test(a_first_line_that_names_no_columns_is_refused),
		cmocka_unit_test(a_set_survives_json),
		cmocka_unit_test(json_that_is_something_else_is_refused),
		cmocka_unit_test(answers_are_read_with_care),
		cmocka_unit_test(a_lack_of_memory_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
