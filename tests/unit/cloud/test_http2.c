/* Unit tests of the bridge channel's parts without a connection: envelopes, paths, the header block of pushes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cloud/core/base64.h"
#include "cloud/http2/conn.h"

static int decode(const char *text, char *out)
{
	size_t n = 0;
	int rc = cw_cloud_base64_decode(text, strlen(text), (uint8_t *)out, &n);

	if (rc == 0)
		out[n] = '\0';
	return rc;
}

static void base64_takes_the_standard_alphabet_only(void **state)
{
	static const struct {
		const char *in, *out;
	} good[] = { { "", "" }, { "aA==", "h" }, { "aGk=", "hi" }, { "aGVs", "hel" }, { "aGVsbG8=", "hello" }, { "+/+/", "\xfb\xff\xbf" } };
	static const char *const bad[] = { "a", "aG", "aGk", "aGk=aGk=", "====", "a===", "aG=k", "a-_b", "aGk\n", "{}!!", " aGk" };
	char out[32];
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(decode(good[i].in, out), 0);
		assert_string_equal(out, good[i].out);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(decode(bad[i], out), CW_EPROTO);
}

static int parse(const char *text, struct h2_envelope *e)
{
	return cw_cloud_envelope_parse(text, strlen(text), e);
}

static void an_envelope_of_the_library_is_read(void **state)
{
	struct h2_envelope e;

	assert_int_equal(parse("{\"id\":\"05a4a962\",\"method\":\"fake\",\"params\":{\"deviceName\":\"dev-0001\",\"payload\":\"aGVsbG8=\","
	                       "\"productKey\":\"a1EmuPk0001\",\"topic\":\"/a1EmuPk0001/dev-0001/user/update\"}}", &e), 0);
	assert_string_equal(e.pk, "a1EmuPk0001");
	assert_string_equal(e.dn, "dev-0001");
	assert_string_equal(e.id, "05a4a962");
	assert_int_equal(e.topic_len, strlen("/a1EmuPk0001/dev-0001/user/update"));
	assert_int_equal(e.payload.len, 5);
	assert_memory_equal(e.payload.data, "hello", 5);
	cw_cloud_envelope_fini(&e);
}

static void what_is_missing_or_strange_is_refused(void **state)
{
	static const char *const bad[] = { "", "{", "5", "[]", "{}", "{\"params\":[]}", "{\"params\":{\"productKey\":\"a\"}}",
		"{\"params\":{\"productKey\":\"a\",\"deviceName\":5}}",
		"{\"params\":{\"productKey\":\"a\",\"deviceName\":\"b\",\"payload\":{}}}",
		"{\"params\":{\"productKey\":\"a\",\"deviceName\":\"b\",\"payload\":\"x\"}}" };
	struct h2_envelope e;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i], &e), CW_EPROTO);
		cw_cloud_envelope_fini(&e);
	}
	assert_int_equal(parse("{\"params\":{\"productKey\":\"a\",\"deviceName\":\"b\",\"payload\":null}}", &e), 0);
	assert_int_equal(e.payload.len, 0);
	assert_null(e.topic);
	cw_cloud_envelope_fini(&e);
}

static void a_payload_ends_at_its_limit(void **state)
{
	static const char head[] = "{\"params\":{\"productKey\":\"a\",\"deviceName\":\"b\",\"payload\":\"", tail[] = "\"}}";
	size_t digits;

	/* 262144 bytes are 349526 digits and two of padding; one group more is too much. */
	for (digits = 349528; digits <= 349532; digits += 4) {
		char *text = malloc(sizeof(head) + digits + sizeof(tail));
		struct h2_envelope e;

		memcpy(text, head, sizeof(head));
		memset(text + sizeof(head) - 1, 'A', digits);
		if (digits == 349528)
			memcpy(text + sizeof(head) - 1 + digits - 2, "==", 2);
		memcpy(text + sizeof(head) - 1 + digits, tail, sizeof(tail));
		assert_int_equal(parse(text, &e), digits == 349528 ? 0 : CW_ELIMIT);
		cw_cloud_envelope_fini(&e);
		free(text);
	}
}

static void a_push_reads_back(void **state)
{
	struct cloud_bytes out = { NULL, 0, 0 };
	struct h2_envelope e;

	assert_int_equal(cw_cloud_envelope_write(&out, "7", "pk", "dn", "/a\"b\\c\x01", "\0\1", 2), 0);
	assert_int_equal(cw_cloud_envelope_parse(out.data, out.len, &e), 0);
	assert_string_equal(e.topic, "/a\"b\\c\x01");
	assert_string_equal(e.pk, "pk");
	assert_int_equal(e.payload.len, 2);
	assert_memory_equal(e.payload.data, "\0\1", 2);
	cw_cloud_envelope_fini(&e);
	cw_cloud_bytes_reset(&out);
	assert_int_equal(cw_cloud_envelope_write(&out, "7", NULL, NULL, "/broadcast/pk/x", "hi", 2), 0);
	assert_int_equal(cw_cloud_bytes_add(&out, "", 1), 0);
	assert_string_equal((const char *)out.data, "{\"id\":\"7\",\"version\":\"1.0\",\"method\":\"thing.bridge.push\",\"params\":"
	                                            "{\"topic\":\"/broadcast/pk/x\",\"payload\":\"aGk=\"}}");
	cw_cloud_bytes_free(&out);
}

static void short_memory_is_said(void **state)
{
	long before = cw_mem_live(), nth;
	int rc = CW_ENOMEM;

	for (nth = 0; rc == CW_ENOMEM; nth++) {
		struct cloud_bytes out = { NULL, 0, 0 };
		char payload[2000] = "x";

		cw_mem_fail_at(nth);
		rc = cw_cloud_envelope_write(&out, "7", "pk", "dn", "/t", payload, sizeof(payload));
		cw_mem_fail_at(-1);
		cw_cloud_bytes_free(&out);
		assert_int_equal(cw_mem_live(), before);
	}
	assert_int_equal(rc, 0);
	assert_true(nth > 1);
}

static void paths_are_decoded_and_slashes_collapse(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = { { "/a/b", "/a/b" }, { "//a///b/", "/a/b/" }, { "/a%2fb", "/a/b" }, { "/%41%7E", "/A~" }, { "", "" },
		      { "/%", NULL }, { "/%4", NULL }, { "/%4g", NULL }, { "/%00", NULL }, { "/0123456789012345", NULL } };
	char out[16];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int n = cw_cloud_h2_path(cases[i].in, strlen(cases[i].in), out, sizeof(out));

		if (cases[i].out == NULL) {
			assert_int_equal(n, -1);
			continue;
		}
		assert_int_equal(n, strlen(cases[i].out));
		assert_string_equal(out, cases[i].out);
	}
}

/* nghttp2's own decoder reads what we write, and its table stays empty. */
static void a_header_block_by_hand_is_hpack(void **state)
{
	static const char *const want[][2] = { { ":status", "200" }, { "x-topic", NULL }, { "x-message-id", "18446744073709551615" },
					       { "x-qos", "1" }, { "x-generate-time", "1795243061338" } };
	nghttp2_hd_inflater *inflater = NULL;
	char topic[301];
	size_t length;

	for (length = 1; length <= 300; length++) {
		uint8_t block[640];
		size_t n, at = 0, field = 0;
		int flags = 0;

		memset(topic, 'x', length);
		topic[length] = '\0';
		n = cw_cloud_h2_push_block(block, topic, UINT64_MAX, 1, 1795243061338);
		assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
		while (at < n || (flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
			nghttp2_nv nv;
			ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, block + at, n - at, 1);

			assert_true(used >= 0);
			at += (size_t)used;
			if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
				continue;
			assert_true(field < 5);
			assert_int_equal(nv.namelen, strlen(want[field][0]));
			assert_memory_equal(nv.name, want[field][0], nv.namelen);
			assert_int_equal(nv.valuelen, strlen(field == 1 ? topic : want[field][1]));
			assert_memory_equal(nv.value, field == 1 ? topic : want[field][1], nv.valuelen);
			field++;
		}
		assert_int_equal(field, 5);
		assert_int_equal(nghttp2_hd_inflate_get_dynamic_table_size(inflater), 0);
		nghttp2_hd_inflate_del(inflater);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_takes_the_standard_alphabet_only),
		cmocka_unit_test(an_envelope_of_the_library_is_read),
		cmocka_unit_test(what_is_missing_or_strange_is_refused),
		cmocka_unit_test(a_payload_ends_at_its_limit),
		cmocka_unit_test(a_push_reads_back),
		cmocka_unit_test(short_memory_is_said),
		cmocka_unit_test(paths_are_decoded_and_slashes_collapse),
		cmocka_unit_test(a_header_block_by_hand_is_hpack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
