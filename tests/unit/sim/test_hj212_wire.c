/* The simulator's frames against the vectors: what it writes is what they have, what they have it reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/sim/hj212_wire.h"
#include "vectors.h"

static int load(void **state)
{
	return vectors_read("tests/vectors/hj212.json");
}

static void copy(struct cw_bytes map, const char *key, char *to, size_t size)
{
	struct cw_bytes t = cw_map_text(map, key);

	assert_true(t.len < size);
	if (t.len > 0)
		memcpy(to, t.ptr, t.len);
	to[t.len] = 0;
}

/* 1 when the vector is a frame by the book, as a simulator writes it. */
static int one(struct cw_bytes v)
{
	struct cw_bytes decoded = cw_map_get(v, "decoded");
	struct cw_sim_hj m = { .cp = "" }, back;
	char text[4096], out[CW_SIM_HJ_WIRE], name[80];
	const char *cp;
	size_t n;

	copy(v, "text", text, sizeof(text));
	copy(v, "name", name, sizeof(name));
	if (!cw_map_int(decoded, "valid", 0) || cw_map_get(decoded, "frames").len > 0 || cw_map_get(decoded, "lenient").len > 0 ||
	    strncmp(name, "public-", 7) == 0)
		return 0;
	copy(decoded, "QN", m.qn, sizeof(m.qn));
	copy(decoded, "ST", m.st, sizeof(m.st));
	copy(decoded, "CN", m.cn, sizeof(m.cn));
	copy(decoded, "PW", m.pw, sizeof(m.pw));
	copy(decoded, "MN", m.mn, sizeof(m.mn));
	copy(decoded, "PNUM", m.pnum, sizeof(m.pnum));
	copy(decoded, "PNO", m.pno, sizeof(m.pno));
	if (cw_map_get(decoded, "Flag").len > 0)
		snprintf(m.flag, sizeof(m.flag), "%u", (unsigned)(cw_map_int(decoded, "Flag", 0) & 255));
	cp = strstr(text, "CP=") + 3;
	snprintf(m.cp, sizeof(m.cp), "%.*s", (int)(strlen(cp) - 6), cp);
	n = cw_sim_hj_frame(&m, out);
	if (n != strlen(text) || strcmp(out, text) != 0)
		fail_msg("%s: %s, should be %s", name, out, text);
	assert_int_equal(cw_sim_hj_parse(text, n, &back), n);
	assert_memory_equal(&m, &back, sizeof(m));
	assert_int_equal(cw_sim_hj_parse(text, n - 1, &back), 0);
	text[20] ^= 1;
	assert_int_equal(cw_sim_hj_parse(text, n, &back), -1);
	return 1;
}

static void frames_are_those_of_the_vectors(void **state)
{
	struct cw_reader r = cw_reader_of(cw_bytes_of(vectors, vectors_len));
	struct cw_item list = cw_read_item(&r);
	int n = 0;

	(void)state;
	while (cw_item_more(&r, &list))
		n += one(cw_read_whole_item(&r));
	assert_true(n >= 30);
}

static void the_checksum_is_that_of_annex_a(void **state)
{
	(void)state;
	assert_int_equal(cw_sim_hj_crc("", 0), 0xffff);
	assert_int_equal(cw_sim_hj_crc("123456789", 9), 0x2f80);
}

static void values_are_found_by_their_whole_name(void **state)
{
	struct cw_sim_hj m = { .cp = "&&QnRtn=1;QN=20160801085857223;w-Rtd=2,Rtd=3&&" };
	char out[24], t[18];

	(void)state;
	assert_true(cw_sim_hj_value(&m, "QN", out, sizeof(out)));
	assert_string_equal(out, "20160801085857223");
	assert_true(cw_sim_hj_value(&m, "Rtd", out, sizeof(out)));
	assert_string_equal(out, "3");
	assert_false(cw_sim_hj_value(&m, "Rt", out, sizeof(out)));
	cw_sim_hj_time(1470013137223, 1, t);
	assert_string_equal(t, "20160801085857223");
	cw_sim_hj_time(1470013137223, 0, t);
	assert_string_equal(t, "20160801085857");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_those_of_the_vectors), cmocka_unit_test(the_checksum_is_that_of_annex_a),
		cmocka_unit_test(values_are_found_by_their_whole_name),
	};

	return cmocka_run_group_tests(tests, load, vectors_free);
}
