/* The management API without sockets: every signature of the vectors, the gateway's checks and memory of nonces, XML.
 * Runs in the top folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cloud/openapi/answer.h"
#include "cloud/openapi/gate.h"

#define NOW_MS 1603440000000 /* 2020-10-23T08:00:00Z */

static json_t *vectors;

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}

static void take_params(struct pop_params *p, const json_t *from)
{
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)from, name, value)
		assert_int_equal(cw_cloud_pop_add(p, name, json_string_value(value)), 0);
	cw_cloud_pop_sort(p);
}

static void bytes_are_encoded_as_the_vectors_say(void **state)
{
	json_t *list = json_object_get(vectors, "percent_encode"), *v;
	struct cloud_bytes out = { NULL, 0, 0 };
	size_t i;

	assert_true(json_array_size(list) > 10);
	json_array_foreach (list, i, v) {
		const char *want = text_of(v, "output");

		out.len = 0;
		assert_int_equal(cw_cloud_pop_encode(&out, text_of(v, "input")), 0);
		assert_int_equal(out.len, strlen(want));
		assert_memory_equal(out.data, want, out.len);
	}
	cw_cloud_bytes_free(&out);
}

static void every_vector_is_signed_alike(void **state)
{
	json_t *list = json_object_get(vectors, "vectors"), *v;
	size_t i;

	assert_true(json_array_size(list) > 10);
	json_array_foreach (list, i, v) {
		struct pop_params p = { NULL, 0, 0 };
		struct cloud_bytes text = { NULL, 0, 0 };
		const char *want = text_of(v, "string_to_sign");
		char signature[POP_SIGNATURE_SIZE];

		take_params(&p, json_object_get(v, "params"));
		/* What is signed does not hold the signature itself. */
		assert_int_equal(cw_cloud_pop_add(&p, "Signature", "x"), 0);
		cw_cloud_pop_sort(&p);
		assert_int_equal(cw_cloud_pop_string_to_sign(&p, text_of(v, "method"), &text), 0);
		assert_int_equal(text.len, strlen(want));
		assert_memory_equal(text.data, want, text.len);
		assert_int_equal(cw_cloud_pop_sign(text_of(v, "access_key_secret"), text.data, text.len, signature), 0);
		assert_string_equal(signature, text_of(v, "signature"));
		cw_cloud_bytes_free(&text);
		cw_cloud_pop_fini(&p);
	}
}

/* Mistakes that clients make: what they would have signed is not what is checked. */
static void mistaken_signatures_are_not_ours(void **state)
{
	json_t *negative, *v;
	size_t i, k;

	assert_int_equal(json_array_size(json_object_get(vectors, "negative")), 3);
	json_array_foreach (json_object_get(vectors, "negative"), i, negative) {
		struct pop_params p = { NULL, 0, 0 };
		struct cloud_bytes text = { NULL, 0, 0 };
		char signature[POP_SIGNATURE_SIZE] = "";

		json_array_foreach (json_object_get(vectors, "vectors"), k, v) {
			if (strcmp(text_of(v, "name"), text_of(negative, "base")) != 0)
				continue;
			take_params(&p, json_object_get(v, "params"));
			cw_cloud_pop_sort(&p);
			assert_int_equal(cw_cloud_pop_string_to_sign(&p, text_of(v, "method"), &text), 0);
			assert_int_equal(cw_cloud_pop_sign(text_of(v, "access_key_secret"), text.data, text.len, signature), 0);
			assert_string_equal(signature, text_of(v, "signature"));
		}
		assert_string_not_equal(signature, "");
		assert_string_not_equal(signature, text_of(negative, "wrong_signature"));
		cw_cloud_bytes_free(&text);
		cw_cloud_pop_fini(&p);
	}
}

static void the_first_of_a_name_counts(void **state)
{
	struct pop_params p = { NULL, 0, 0 };
	unsigned i;

	assert_int_equal(cw_cloud_pop_add(&p, "b", "1"), 0);
	assert_int_equal(cw_cloud_pop_add(&p, "a", ""), 0);
	assert_int_equal(cw_cloud_pop_add(&p, "b", "2"), 0);
	assert_int_equal(cw_cloud_pop_add(&p, "B", "3"), 0);
	cw_cloud_pop_sort(&p);
	assert_int_equal(p.count, 3);
	assert_string_equal(cw_cloud_pop_find(&p, "b"), "1");
	assert_string_equal(cw_cloud_pop_find(&p, "a"), "");
	assert_string_equal(cw_cloud_pop_find(&p, "B"), "3");
	assert_null(cw_cloud_pop_find(&p, "c"));
	for (i = p.count; i < POP_PARAMS_MAX; i++)
		assert_int_equal(cw_cloud_pop_add(&p, "x", ""), 0);
	assert_int_equal(cw_cloud_pop_add(&p, "x", ""), CW_ELIMIT);
	cw_cloud_pop_fini(&p);
}

static void times_have_one_form(void **state)
{
	static const char *const bad[] = { "",
					   "2020-10-23T08:00:00",
					   "2020-10-23 08:00:00Z",
					   "2020-10-23T08:00:00.0Z",
					   "2020-13-01T00:00:00Z",
					   "2020-00-01T00:00:00Z",
					   "2021-02-29T00:00:00Z",
					   "2020-10-23T24:00:00Z",
					   "2020-10-23T08:60:00Z",
					   "2020-1O-23T08:00:00Z",
					   "1969-12-31T23:59:59Z" };
	int64_t ms = 0;
	size_t i;

	assert_int_equal(cw_cloud_pop_time("2020-10-23T08:00:00Z", &ms), 0);
	assert_true(ms == NOW_MS);
	assert_int_equal(cw_cloud_pop_time("1970-01-01T00:00:00Z", &ms), 0);
	assert_true(ms == 0);
	assert_int_equal(cw_cloud_pop_time("2020-02-29T23:59:59Z", &ms), 0);
	assert_true(ms == 1583020799000);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cw_cloud_pop_time(bad[i], &ms), CW_EINVAL);
}

/* ---- the gate ---- */

static const struct cloud_access_key keys[] = { { "testid", "testsecret", true }, { "gone", "x", false } };

/* A signed call; returns the code of the refusal, "" when it passes. `extra` is a name and a value that replace the
 * usual. */
static const char *knock(struct pop_gate *g, const char *nonce, const char *name, const char *value)
{
	static const char *const usual[][2] = { { "AccessKeyId", "testid" },
						{ "Action", "QueryDevice" },
						{ "SignatureMethod", "HMAC-SHA1" },
						{ "SignatureVersion", "1.0" },
						{ "Timestamp", "2020-10-23T08:00:00Z" },
						{ "Version", "2018-01-20" } };
	const struct cloud_access_key *key = NULL;
	struct pop_refusal why = { .status = 0 };
	struct pop_params p = { NULL, 0, 0 };
	struct cloud_bytes text = { NULL, 0, 0 };
	char signature[POP_SIGNATURE_SIZE];
	size_t i;
	int rc;

	if (name != NULL)
		assert_int_equal(cw_cloud_pop_add(&p, name, value), 0);
	assert_int_equal(cw_cloud_pop_add(&p, "SignatureNonce", nonce), 0);
	for (i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		assert_int_equal(cw_cloud_pop_add(&p, usual[i][0], usual[i][1]), 0);
	cw_cloud_pop_sort(&p);
	assert_int_equal(cw_cloud_pop_string_to_sign(&p, "GET", &text), 0);
	assert_int_equal(cw_cloud_pop_sign("testsecret", text.data, text.len, signature), 0);
	assert_int_equal(cw_cloud_pop_add(&p, "Signature", signature), 0);
	cw_cloud_pop_sort(&p);
	rc = cw_cloud_gate_check(g, "GET", &p, &key, &why);
	assert_true(rc == 0 || rc == CW_EREFUSED);
	if (rc == 0)
		assert_ptr_equal(key, &keys[0]);
	else
		assert_true(why.status >= 400 && strlen((const char *)why.message.data) == why.message.len - 1);
	cw_cloud_bytes_free(&why.message);
	cw_cloud_bytes_free(&text);
	cw_cloud_pop_fini(&p);
	return rc == 0 ? "" : why.code;
}

static void the_gate_checks_in_order(void **state)
{
	struct cw_cloud cloud = { .conf = { .keys = keys, .key_count = 2 } };
	struct pop_gate *g = NULL;

	cw_clock_fake(1000, NOW_MS);
	assert_int_equal(cw_cloud_gate_new(&cloud, &g), 0);
	assert_string_equal(knock(g, "n1", NULL, NULL), "");
	assert_string_equal(knock(g, "n1", NULL, NULL), "SignatureNonceUsed");
	assert_string_equal(knock(g, "n2", "Version", ""), "MissingParameter");
	assert_string_equal(knock(g, "n2", "Format", "CSV"), "InvalidParameter.Format");
	assert_string_equal(knock(g, "n2", "Version", "2017-04-20"), "InvalidVersion");
	assert_string_equal(knock(g, "n2", "AccessKeyId", "Testid"), "InvalidAccessKeyId.NotFound");
	assert_string_equal(knock(g, "n2", "AccessKeyId", "gone"), "InvalidAccessKeyId.Inactive");
	assert_string_equal(knock(g, "n2", "Timestamp", "now"), "InvalidTimeStamp.Format");
	assert_string_equal(knock(g, "n2", "Timestamp", "2020-10-23T08:15:01Z"), "InvalidTimeStamp.Expired");
	assert_string_equal(knock(g, "n2", "Timestamp", "2020-10-23T07:44:59Z"), "InvalidTimeStamp.Expired");
	assert_string_equal(knock(g, "n2", "SignatureMethod", "HMAC-SHA256"), "InvalidSignatureMethod");
	assert_int_equal(cw_cloud_gate_nonces(g), 1); /* what was refused used none up */
	assert_string_equal(knock(g, "n2", "Timestamp", "2020-10-23T08:15:00Z"), "");
	cw_cloud_gate_free(g);
	cw_clock_fake(0, 0);
}

static void nonces_are_forgotten_by_the_platforms_clock(void **state)
{
	struct cw_cloud cloud = { .conf = { .keys = keys, .key_count = 1 } };
	struct pop_gate *g = NULL;

	cw_clock_fake(1000, NOW_MS);
	assert_int_equal(cw_cloud_gate_new(&cloud, &g), 0);
	assert_string_equal(knock(g, "n1", NULL, NULL), "");
	cloud.skipped_ms = GATE_WINDOW_MS - 1;
	assert_string_equal(knock(g, "n1", NULL, NULL), "SignatureNonceUsed");
	cloud.skipped_ms = GATE_WINDOW_MS;
	assert_string_equal(knock(g, "n1", NULL, NULL), "");
	assert_int_equal(cw_cloud_gate_nonces(g), 1);
	cw_cloud_gate_free(g);
	cw_clock_fake(0, 0);
}

static void a_flood_of_nonces_is_bounded(void **state)
{
	struct cw_cloud cloud = { .conf = { .keys = keys, .key_count = 1 } };
	struct pop_gate *g = NULL;
	char nonce[24];
	unsigned i;

	cw_clock_fake(1000, NOW_MS);
	assert_int_equal(cw_cloud_gate_new(&cloud, &g), 0);
	for (i = 0; i <= GATE_NONCES_MAX; i++) {
		(void)snprintf(nonce, sizeof(nonce), "%u", i);
		assert_string_equal(knock(g, nonce, NULL, NULL), "");
	}
	assert_int_equal(cw_cloud_gate_nonces(g), GATE_NONCES_MAX);
	assert_string_equal(knock(g, "0", NULL, NULL), ""); /* the oldest made room */
	assert_string_equal(knock(g, nonce, NULL, NULL), "SignatureNonceUsed");
	cw_cloud_gate_free(g);
	cw_clock_fake(0, 0);
}

/* ---- answers ---- */

static void xml_says_the_same(void **state)
{
	json_t *body = json_pack("{s:s, s:b, s:i, s:{s:[s, s]}, s:{s:[{s:s}]}, s:[], s:n, s:f}", "Text",
				 "<a & \"b\">\r\n\x01", "Success", 1, "Total", 2, "Names", "Name", "x", "y", "List",
				 "Info", "Id", "7", "Nothing", "Null", "Real", 0.5);
	struct cloud_bytes out = { NULL, 0, 0 };

	assert_non_null(body);
	assert_int_equal(cw_cloud_pop_xml(body, "PubResponse", &out), 0);
	assert_int_equal(cw_cloud_bytes_add(&out, "", 1), 0);
	assert_string_equal((const char *)out.data,
			    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><PubResponse><Text>&lt;a &amp; "
			    "&quot;b&quot;&gt;&#13;\n\xef\xbf\xbd</Text>"
			    "<Success>true</Success><Total>2</Total><Names><Name>x</Name><Name>y</Name></Names>"
			    "<List><Info><Id>7</Id></Info></List><Null></Null><Real>0.5</Real></PubResponse>");
	cw_cloud_bytes_free(&out);
	json_decref(body);
}

static void request_ids_differ(void **state)
{
	char a[37], b[37];

	cw_cloud_pop_uuid(a);
	cw_cloud_pop_uuid(b);
	assert_int_equal(strlen(a), 36);
	assert_true(a[14] == '4' && a[8] == '-' && strcmp(a, b) != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_encoded_as_the_vectors_say),
		cmocka_unit_test(every_vector_is_signed_alike),
		cmocka_unit_test(mistaken_signatures_are_not_ours),
		cmocka_unit_test(the_first_of_a_name_counts),
		cmocka_unit_test(times_have_one_form),
		cmocka_unit_test(the_gate_checks_in_order),
		cmocka_unit_test(nonces_are_forgotten_by_the_platforms_clock),
		cmocka_unit_test(a_flood_of_nonces_is_bounded),
		cmocka_unit_test(xml_says_the_same),
		cmocka_unit_test(request_ids_differ),
	};
	int failed;

	vectors = json_load_file("tests/vectors/platform-openapi.json", 0, NULL);
	if (vectors == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	json_decref(vectors);
	return failed;
}
