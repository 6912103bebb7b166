/*
 * Every vector: what the decode tool is shown, what is answered, in any pieces. The checksum, the code table.
 * covers: M02
 */
#include "station.h"
#include "vectors.h"
#include "../../../plugins/hj212/hj212.h"

static int load(void **state)
{
	return vectors_read("tests/vectors/hj212.json");
}

static const char *text_of(struct cw_bytes map, const char *key, char *buf, size_t size)
{
	struct cw_bytes t = cw_map_text(map, key);

	assert_true(t.len < size);
	if (t.len > 0)
		memcpy(buf, t.ptr, t.len);
	buf[t.len] = 0;
	return buf;
}

static unsigned each(void (*fn)(struct cw_bytes v, const char *name))
{
	struct cw_reader r = cw_reader_of(cw_bytes_of(vectors, vectors_len));
	struct cw_item list = cw_read_item(&r);
	unsigned n = 0;

	while (cw_item_more(&r, &list)) {
		struct cw_bytes v = cw_read_whole_item(&r);
		char name[80];

		assert_true(v.len > 0);
		fn(v, text_of(v, "name", name, sizeof(name)));
		n++;
	}
	return n;
}

/* The nth field of that name: frames show theirs one after another. */
static struct cw_bytes shown(const char *name, unsigned nth)
{
	size_t i;

	for (i = 0; i < f.fields.n; i++)
		if (f.fields.v[i].tag == CW_GROUP_FIELDS && strcmp(f.fields.v[i].name, name) == 0 && nth-- == 0)
			return cw_bytes_of(f.fields.v[i].ptr, f.fields.v[i].len);
	return cw_bytes_of(NULL, 0);
}

static void check_frame(struct cw_bytes decoded, const char *vector, unsigned nth)
{
	struct cw_reader r = cw_reader_of(decoded);
	struct cw_item m = cw_read_item(&r);

	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);
		char key[64] = "";
		struct cw_bytes want, got;

		(void)cw_item_more(&r, &m);
		want = cw_read_whole_item(&r);
		memcpy(key, k.s.ptr, k.s.len);
		got = shown(key, nth);
		if (got.len == 0 || !fake_same(got, want))
			fail_msg("%s: %s is %s, should be %s", vector, key, fake_json(got), fake_json(want));
	}
}

static void inspect_one(struct cw_bytes v, const char *name)
{
	struct cw_bytes decoded = cw_map_get(v, "decoded"), frames = cw_map_get(decoded, "frames");
	struct cw_reader r = cw_reader_of(frames);
	char text[4096];
	unsigned nth = 0;

	start(NULL);
	fake_close(&f);
	f.flags = CW_EVF_INSPECT;
	fake_open(&f);
	tell_bytes(text_of(v, "text", text, sizeof(text)));
	if (frames.len > 0) {
		struct cw_item list = cw_read_item(&r);

		while (cw_item_more(&r, &list))
			check_frame(cw_read_whole_item(&r), name, nth++);
		assert_int_equal(f.good, nth);
		assert_int_equal(f.noise, cw_map_int(decoded, "skipped", 0));
	} else if (cw_bytes_equal(cw_map_text(decoded, "error"), cw_bytes_text("incomplete"))) {
		assert_int_equal(f.good + f.bad, 0);
		assert_int_equal(f.in_len, strlen(text));
	} else {
		check_frame(decoded, name, 0);
		assert_int_equal(f.good, cw_map_int(decoded, "valid", 0));
		assert_int_equal(f.good + f.bad, 1);
	}
	fake_fini(&f);
}

static void every_vector_shows_its_fields(void **state)
{
	(void)state;
	assert_int_equal(each(inspect_one), 47);
}

/* On a live connection, and byte by byte. */
static void answer_one(struct cw_bytes v, const char *name)
{
	struct cw_bytes reply = cw_map_get(v, "reply");
	char text[4096], want[1024];
	const char *got;
	unsigned pieces;
	size_t i;

	if (reply.len == 0)
		return;
	text_of(v, "text", text, sizeof(text));
	for (pieces = 0; pieces < 2; pieces++) {
		start("{\"answerTimeCalibration\": false}");
		for (i = 0; text[i] != 0; i += pieces ? 1 : strlen(text))
			fake_feed(&f, cw_bytes_of(text + i, pieces ? 1 : strlen(text)));
		got = heard();
		if (reply.ptr[0] == 0xf6) {
			if (got != NULL)
				fail_msg("%s: answered with %s", name, got);
		} else if (got == NULL || strcmp(got, text_of(reply, "text", want, sizeof(want))) != 0) {
			fail_msg("%s: answered with %s", name, got == NULL ? "nothing" : got);
		}
		assert_null(heard());
		fake_fini(&f);
	}
}

static void every_vector_is_answered_as_it_says(void **state)
{
	(void)state;
	each(answer_one);
}

/* What the platform asks for must be, byte for byte, what the vectors have. */
static void request(const char *vector, unsigned kind, const char *service, const char *body)
{
	struct cw_reader r = cw_reader_of(cw_bytes_of(vectors, vectors_len));
	struct cw_item list = cw_read_item(&r);
	char text[4096] = "", name[80], pw[16], settings[128], segment[200];
	const char *got;

	while (cw_item_more(&r, &list)) {
		struct cw_bytes v = cw_read_whole_item(&r);

		if (strcmp(text_of(v, "name", name, sizeof(name)), vector) == 0) {
			text_of(v, "text", text, sizeof(text));
			text_of(cw_map_get(v, "decoded"), "PW", pw, sizeof(pw));
		}
	}
	assert_true(text[0] != 0);
	snprintf(settings, sizeof(settings), "{\"password\": \"%s\"}", pw);
	start(settings);
	f.now_ms = 1470013137223; /* 2016-08-01 08:58:57.223 in UTC+8 */
	snprintf(segment, sizeof(segment), "QN=20160801085857000;ST=32;CN=2021;PW=%s;MN=" MN ";Flag=4;CP=&&&&", pw);
	tell(segment);
	assert_int_equal(fake_command(&f, kind, service, body, 5, 7500), 0);
	got = heard();
	if (got == NULL || strcmp(got, text) != 0)
		fail_msg("%s: %s, should be %s", vector, got == NULL ? "nothing" : got, text);
	fake_fini(&f);
}

static void requests_are_those_of_the_vectors(void **state)
{
	(void)state;
	request("std-annexA-set-rtd-interval", CW_KIND_PROPERTY_SET, NULL, "{\"RtdInterval\": 30}");
	request("std-annexA-set-rtd-interval", CW_KIND_SERVICE, "setRtdInterval", "{\"rtdInterval\": 30}");
	request("req-set-timeout", CW_KIND_SERVICE, "setTimeout", "{\"overTime\": 5, \"reCount\": 3}");
	request("req-get-time-meter", CW_KIND_SERVICE, "getTime", "{\"polId\": \"w01018\"}");
	request("req-get-rtd-interval", CW_KIND_SERVICE, "getRtdInterval", "{}");
	request("req-get-rtd-interval", CW_KIND_PROPERTY_GET, NULL, "{\"identifiers\": [\"RtdInterval\"]}");
	request("req-set-min-interval", CW_KIND_SERVICE, "setMinInterval", "{\"minInterval\": 10}");
	request("req-start-realtime", CW_KIND_SERVICE, "startRealtime", "{}");
	request("notify-stop-realtime", CW_KIND_SERVICE, "stopRealtime", "{}");
	request("req-history-minute", CW_KIND_SERVICE, "queryHistory", "{\"kind\": \"minute\", \"begin\": \"20160801084000\", \"end\": 1470012000000}");
	request("req-overproof-sample", CW_KIND_SERVICE, "keepSample", "{}");
	request("req-set-device-parameter", CW_KIND_SERVICE, "setParameter", "{\"polId\": \"w01018\", \"infoId\": \"i13004\", \"value\": 168.0}");
}

static void the_checksum_is_the_standard_s_own(void **state)
{
	(void)state;
	assert_int_equal(hj_crc("", 0), 0xffff);
	assert_int_equal(hj_crc("1", 1), 0x9481);
	assert_int_equal(hj_crc("123456789", 9), 0x2f80);
}

static void the_table_of_codes_is_sorted_and_found(void **state)
{
	static const char *const listed[] = {
#define HJ_CODE(code, name, unit, old) code,
#include "../../../plugins/hj212/hj212_codes.def"
#undef HJ_CODE
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
		assert_true(i == 0 || strcmp(listed[i - 1], listed[i]) < 0);
		assert_string_equal(hj_code_find(cw_bytes_text(listed[i]))->code, listed[i]);
	}
	assert_string_equal(hj_code_find(cw_bytes_text("w01018"))->unit, "mg/L");
	assert_string_equal(hj_code_find_old(cw_bytes_text("011"))->code, "w01018");
	assert_string_equal(hj_code_find_old(cw_bytes_text("02"))->name, "SO2");
	assert_null(hj_code_find(cw_bytes_text("w010180")));
	assert_null(hj_code_find_old(cw_bytes_text("")));
	assert_true(hj_code_standard(cw_bytes_text("e10101")) && hj_code_standard(cw_bytes_text("SB12")) && hj_code_standard(cw_bytes_text("w99999")));
	assert_false(hj_code_standard(cw_bytes_text("a2106")) || hj_code_standard(cw_bytes_text("ele01")) || hj_code_standard(cw_bytes_text("SB")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_shows_its_fields), cmocka_unit_test(every_vector_is_answered_as_it_says),
		cmocka_unit_test(requests_are_those_of_the_vectors), cmocka_unit_test(the_checksum_is_the_standard_s_own),
		cmocka_unit_test(the_table_of_codes_is_sorted_and_found),
	};

	return cmocka_run_group_tests(tests, load, vectors_free);
}
