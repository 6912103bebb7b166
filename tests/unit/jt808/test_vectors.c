/* Every vector: header and fields as the decode tool shows them, what is accepted, streams, splits, truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_host.h"
#include "vectors.h"

static int load(void **state)
{
	return vectors_read("tests/vectors/jt808.json");
}

static const char *text_of(struct cw_bytes map, const char *key, char *buf, size_t size)
{
	struct cw_bytes t = cw_map_text(map, key);

	if (t.len >= size)
		return "";
	if (t.len > 0)
		memcpy(buf, t.ptr, t.len);
	buf[t.len] = 0;
	return buf;
}

/* Calls `fn` with each vector of a kind. */
static unsigned each(const char *kind, void (*fn)(struct cw_bytes v, const char *name))
{
	struct cw_reader r = cw_reader_of(cw_bytes_of(vectors, vectors_len));
	struct cw_item list = cw_read_item(&r);
	unsigned n = 0;

	while (cw_item_more(&r, &list)) {
		struct cw_bytes v = cw_read_whole_item(&r);
		char name[80];

		assert_true(v.len > 0);
		if (!cw_bytes_equal(cw_map_text(v, "kind"), cw_bytes_text(kind)))
			continue;
		fn(v, text_of(v, "name", name, sizeof(name)));
		n++;
	}
	return n;
}

static struct cw_bytes shown(struct fake *f, int group, const char *name)
{
	size_t i;

	for (i = 0; i < f->fields.n; i++)
		if (f->fields.v[i].tag == (uint64_t)group && strcmp(f->fields.v[i].name, name) == 0)
			return cw_bytes_of(f->fields.v[i].ptr, f->fields.v[i].len);
	return cw_bytes_of(NULL, 0);
}

static void check(struct fake *f, int group, const char *name, struct cw_bytes want, const char *vector)
{
	struct cw_bytes got = shown(f, group, name);

	if (got.len == 0 || !fake_same(got, want))
		fail_msg("%s: %s is %s, should be %s", vector, name, fake_json(got), fake_json(want));
}

/* Each member of `map` must be among the fields of the group; *ret_n how many. */
static size_t check_members(struct fake *f, int group, struct cw_bytes map, const char *vector)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);
	char key[64];
	size_t n = 0;

	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);

		(void)cw_item_more(&r, &m);
		memcpy(key, k.s.ptr, k.s.len);
		key[k.s.len] = 0;
		check(f, group, key, cw_read_whole_item(&r), vector);
		n++;
	}
	return n;
}

static struct fake tool;

static void inspect_one(struct cw_bytes v, const char *name)
{
	static const char *const header[] = { "version", "message_id", "phone", "serial", "protocol_version", "fragment", "encryption_bits",
		                              "body_len", "strict_ok", "anomalies", "serial_width", "attr" };
	char hex[8192];
	size_t i, n = 0, want;

	fake_forget(&tool);
	tool.good = tool.bad = 0;
	fake_feed_hex(&tool, text_of(v, "hex", hex, sizeof(hex)));
	if (tool.good + tool.bad != 1)
		fail_msg("%s: %u frames, %zu bytes left", name, (unsigned)(tool.good + tool.bad), tool.in_len);
	for (i = 0; i < sizeof(header) / sizeof(header[0]); i++)
		if (cw_map_get(v, header[i]).len > 0)
			check(&tool, CW_GROUP_HEADER, header[i], cw_map_get(v, header[i]), name);
	if (cw_map_get(v, "anomalies").len == 0 && shown(&tool, CW_GROUP_HEADER, "anomalies").len > 0)
		fail_msg("%s: anomalies %s", name, fake_json(shown(&tool, CW_GROUP_HEADER, "anomalies")));
	want = check_members(&tool, CW_GROUP_FIELDS, cw_map_get(v, "decoded"), name);
	if (cw_map_get(v, "reassembled_decoded").len > 0) {
		check(&tool, CW_GROUP_FIELDS, "reassembled_decoded", cw_map_get(v, "reassembled_decoded"), name);
		want++;
	}
	for (i = 0; i < tool.fields.n; i++)
		n += tool.fields.v[i].tag == CW_GROUP_FIELDS;
	if (n != want)
		fail_msg("%s: %zu fields, should be %zu", name, n, want);
}

static void every_vector_shows_its_header_and_fields(void **state)
{
	(void)state;
	fake_init(&tool, cw_plugin_entry(), NULL);
	tool.flags = CW_EVF_INSPECT;
	fake_open(&tool);
	assert_int_equal(each("frame", inspect_one), 148);
	fake_fini(&tool);
}

static int expects(struct cw_bytes v, const char *what)
{
	return cw_bytes_equal(cw_map_text(v, "expect"), cw_bytes_text(what));
}

static const char *verdict_settings;
static uint64_t join_count;

/* Frames are judged one by one on fresh connections, without a tool's leniency. */
static int accepted(struct cw_bytes v, int inspecting)
{
	struct fake f;
	char hex[8192];
	int ok;

	fake_init(&f, cw_plugin_entry(), verdict_settings);
	f.flags = inspecting ? CW_EVF_INSPECT : 0;
	fake_open(&f);
	fake_feed_hex(&f, text_of(v, "hex", hex, sizeof(hex)));
	ok = f.good == 1 && f.bad == 0;
	join_count = f.counters[15];
	fake_fini(&f);
	return ok;
}

static void judge_strict(struct cw_bytes v, const char *name)
{
	int want = expects(v, "accept");

	verdict_settings = "{\"strict\": true}";
	if (accepted(v, 1) != want)
		fail_msg("%s: strict mode %s it", name, want ? "refuses" : "takes");
}

static void judge_lenient(struct cw_bytes v, const char *name)
{
	int want = expects(v, "accept") || expects(v, "accept_lenient");

	verdict_settings = NULL;
	if (accepted(v, 0) != want)
		fail_msg("%s: lenient mode %s it", name, want ? "refuses" : "takes");
}

static void strict_mode_takes_what_is_by_the_book_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(each("frame", judge_strict), 148);
}

static void lenient_mode_takes_all_but_wrong_checksums_and_broken_parts(void **state)
{
	(void)state;
	assert_int_equal(each("frame", judge_lenient), 148);
}

static void joined(struct cw_bytes v, const char *name)
{
	if (!expects(v, "reject_or_resync"))
		return;
	verdict_settings = "{\"joinUnescaped\": true}";
	if (!accepted(v, 0))
		fail_msg("%s: not joined", name);
	assert_int_equal(join_count, 1);
}

static void a_frame_cut_by_an_unescaped_delimiter_is_joined_when_asked(void **state)
{
	(void)state;
	each("frame", joined);
}

/* Frames of a stream: what decode() was given, in order, with and without closing delimiter alike. */
static void stream_in_pieces(struct cw_bytes v, const char *name, size_t piece)
{
	struct cw_bytes frames = cw_map_get(cw_map_get(v, "decoded"), "frames"), pending = cw_map_text(v, "pending_hex");
	struct cw_reader r = cw_reader_of(frames);
	struct cw_item list = cw_read_item(&r);
	char hex[4096], part[8];
	unsigned good = 0, bad = 0;
	size_t i, n;
	struct fake f;

	while (cw_item_more(&r, &list)) {
		struct cw_bytes one = cw_read_whole_item(&r);

		if (cw_map_int(one, "accept", 0))
			good++;
		else
			bad++;
	}
	fake_init(&f, cw_plugin_entry(), NULL);
	f.flags = CW_EVF_INSPECT;
	fake_open(&f);
	n = strlen(text_of(v, "hex", hex, sizeof(hex)));
	if (piece == 0) {
		fake_feed_hex(&f, hex);
	} else {
		for (i = 0; i < n; i += 2) {
			memcpy(part, hex + i, 2);
			part[2] = 0;
			fake_feed_hex(&f, part);
		}
	}
	if (f.good != good || f.bad != bad || f.in_len != pending.len / 2)
		fail_msg("%s: %u good, %u bad, %zu pending", name, (unsigned)f.good, (unsigned)f.bad, f.in_len);
	fake_fini(&f);
}

static void stream(struct cw_bytes v, const char *name)
{
	stream_in_pieces(v, name, 0);
	stream_in_pieces(v, name, 1);
}

static void streams_split_into_their_frames_whole_and_byte_by_byte(void **state)
{
	(void)state;
	assert_int_equal(each("stream", stream), 4);
}

/* Each frame in two pieces, cut at every byte: the same verdict as whole. */
static void split(struct cw_bytes v, const char *name)
{
	char hex[8192], head[8192];
	size_t n = strlen(text_of(v, "hex", hex, sizeof(hex))), at;
	int want = expects(v, "accept") || expects(v, "accept_lenient");
	struct fake f;

	if (expects(v, "reject_or_resync"))
		return;
	fake_init(&f, cw_plugin_entry(), NULL);
	for (at = 2; at < n; at += n > 600 ? 26 : 2) {
		f.good = f.bad = 0;
		fake_open(&f);
		memcpy(head, hex, at);
		head[at] = 0;
		fake_feed_hex(&f, head);
		fake_feed_hex(&f, hex + at);
		if ((f.good == 1 && f.bad == 0) != want || f.in_len != 0)
			fail_msg("%s: split at %zu", name, at / 2);
		fake_close(&f);
		fake_forget(&f);
	}
	fake_fini(&f);
}

static void a_frame_in_two_pieces_is_the_same_frame(void **state)
{
	(void)state;
	each("frame", split);
}

static unsigned nibble_xor(const char *hex, size_t from, size_t to)
{
	unsigned x = 0, v;

	for (; from < to; from += 2) {
		sscanf(hex + from, "%2x", &v);
		x ^= v;
	}
	return x;
}

/* Bodies cut short under a right checksum, and with a header length to match: no crash, no read beyond, in both modes. */
static void cut(struct cw_bytes v, const char *name)
{
	char hex[8192], out[8192];
	size_t n = strlen(text_of(v, "hex", hex, sizeof(hex))), keep_chars;
	unsigned attr;
	struct fake f;

	(void)name;
	if (strstr(hex + 2, "7d0") != NULL || n < 60)
		return;
	fake_init(&f, cw_plugin_entry(), NULL);
	f.flags = CW_EVF_INSPECT;
	fake_open(&f);
	sscanf(hex + 6, "%4x", &attr);
	for (keep_chars = 26; keep_chars + 4 < n; keep_chars += 2) {
		size_t header = (attr & 0x4000u ? 17u : 12u) + (attr & 0x2000u ? 4u : 0);
		size_t body = keep_chars / 2 > header ? keep_chars / 2 - header : 0;

		memcpy(out, hex, 2 + keep_chars);
		out[2 + keep_chars] = '\0';
		snprintf(out + 6, 5, "%04x", (unsigned)((attr & ~0x3ffu) | body));
		out[10] = hex[10];
		snprintf(out + 2 + keep_chars, 8, "%02x7e", nibble_xor(out, 2, 2 + keep_chars));
		fake_feed_hex(&f, out);
		fake_forget(&f);
	}
	fake_fini(&f);
}

static void bodies_cut_anywhere_do_no_harm(void **state)
{
	(void)state;
	each("frame", cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_shows_its_header_and_fields),
		cmocka_unit_test(strict_mode_takes_what_is_by_the_book_and_nothing_else),
		cmocka_unit_test(lenient_mode_takes_all_but_wrong_checksums_and_broken_parts),
		cmocka_unit_test(a_frame_cut_by_an_unescaped_delimiter_is_joined_when_asked),
		cmocka_unit_test(streams_split_into_their_frames_whole_and_byte_by_byte),
		cmocka_unit_test(a_frame_in_two_pieces_is_the_same_frame),
		cmocka_unit_test(bodies_cut_anywhere_do_no_harm),
	};

	return cmocka_run_group_tests(tests, load, vectors_free);
}
