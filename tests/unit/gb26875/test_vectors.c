/* Every vector: what the decode tool is shown, what answers it at the wire, streams, splits at every byte, truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "fake_host.h"
#include "vectors.h"

static int load(void **state)
{
	(void)state;
	return vectors_read("tests/vectors/gb26875.json");
}

static struct fake f;

static const char *text_of(struct cw_bytes map, const char *key, char *buf, size_t size)
{
	struct cw_bytes t = cw_map_text(map, key);

	assert_true(t.len < size);
	if (t.len > 0)
		memcpy(buf, t.ptr, t.len);
	buf[t.len] = 0;
	return buf;
}

static unsigned each(void (*fn)(struct cw_bytes v, struct cw_bytes decoded, const char *hex, const char *name))
{
	struct cw_reader r = cw_reader_of(cw_bytes_of(vectors, vectors_len));
	struct cw_item list = cw_read_item(&r);
	static char hex[8192];
	char name[80];
	unsigned n = 0;

	while (cw_item_more(&r, &list)) {
		struct cw_bytes v = cw_read_whole_item(&r);

		assert_true(v.len > 0);
		fn(v, cw_map_get(v, "decoded"), text_of(v, "hex", hex, sizeof(hex)), text_of(v, "name", name, sizeof(name)));
		n++;
	}
	return n;
}

/* The last value shown under that name, in either group. */
static struct cw_bytes shown(const char *name)
{
	size_t i;

	for (i = f.fields.n; i-- > 0;)
		if (strcmp(f.fields.v[i].name, name) == 0)
			return cw_bytes_of(f.fields.v[i].ptr, f.fields.v[i].len);
	return cw_bytes_of(NULL, 0);
}

static int is_stream(struct cw_bytes decoded)
{
	return cw_map_get(decoded, "frames").len > 0;
}

static int is_cut_off(struct cw_bytes decoded)
{
	return cw_bytes_equal(cw_map_text(decoded, "error"), cw_bytes_text("incomplete"));
}

/* The vector of the fullest frame sums its objects up. */
static int sums_up(struct cw_bytes want, struct cw_bytes got)
{
	struct cw_bytes objects = cw_map_get(got, "objects");
	struct cw_reader r = cw_reader_of(objects);
	struct cw_item list = cw_read_item(&r);
	int64_t first = -1, last = -1, n = 0;

	if (cw_map_get(want, "firstAddress").len == 0)
		return 0;
	while (cw_item_more(&r, &list)) {
		last = cw_map_int(cw_read_whole_item(&r), "componentAddress", -2);
		first = n++ == 0 ? last : first;
	}
	return n == cw_map_int(want, "count", 0) && first == cw_map_int(want, "firstAddress", -3) && last == cw_map_int(want, "lastAddress", -3);
}

static void check_members(struct cw_bytes decoded, const char *vector)
{
	struct cw_reader r = cw_reader_of(decoded);
	struct cw_item m = cw_read_item(&r);
	char key[64];

	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);
		struct cw_bytes want, got;

		(void)cw_item_more(&r, &m);
		want = cw_read_whole_item(&r);
		assert_true(k.s.len < sizeof(key));
		memcpy(key, k.s.ptr, k.s.len);
		key[k.s.len] = 0;
		if (strcmp(key, "frames") == 0 || strcmp(key, "errors") == 0 || strcmp(key, "skipped") == 0)
			continue;
		got = shown(key);
		if (got.len == 0 || !(fake_same(got, want) || sums_up(want, got)))
			fail_msg("%s: %s is %s, should be %s", vector, key, got.len == 0 ? "absent" : fake_json(got), fake_json(want));
	}
}

static void inspect_one(struct cw_bytes v, struct cw_bytes decoded, const char *hex, const char *name)
{
	struct cw_bytes reply = cw_map_get(v, "reply");
	int64_t command = cw_map_int(reply, "command", 0);
	struct fake_blob *b;

	fake_init(&f, cw_plugin_entry(), cw_bytes_equal(cw_map_text(decoded, "error"), cw_bytes_text("adu")) ? "{\"strict\": true}" : NULL);
	f.flags = CW_EVF_INSPECT;
	fake_open(&f);
	fake_feed_hex(&f, hex);
	if (is_cut_off(decoded)) {
		assert_int_equal(f.in_len * 2, strlen(hex));
		fake_fini(&f);
		return;
	}
	check_members(decoded, name);
	b = is_stream(decoded) ? NULL : fake_next(&f.sent);
	if (!is_stream(decoded) && reply.len > 0 && (command == 0 ? b != NULL : b == NULL || b->ptr[26] != command || b->ptr[24] != 0))
		fail_msg("%s: %s was sent, command %d expected", name, b == NULL ? "nothing" : fake_hex(b), (int)command);
	if (b != NULL) {
		/* Same serial and versions, addresses exchanged. */
		char want[80];

		snprintf(want, sizeof(want), "%.8s", hex + 4);
		assert_int_equal(strncasecmp(fake_hex(b) + 4, want, 8), 0);
		assert_int_equal(strncasecmp(fake_hex(b) + 24, hex + 36, 12), 0);
		assert_int_equal(strncasecmp(fake_hex(b) + 36, hex + 24, 12), 0);
	}
	fake_fini(&f);
}

static void every_vector_is_shown_and_answered_as_it_says(void **state)
{
	(void)state;
	assert_int_equal(each(inspect_one), 52);
}

/* ---- streams ---------------------------------------------------------------------- */

static void stream_in_pieces(struct cw_bytes decoded, const char *hex, const char *name, size_t piece)
{
	struct cw_bytes frames = cw_map_get(decoded, "frames");
	struct cw_reader r = cw_reader_of(frames);
	struct cw_item list = cw_read_item(&r);
	size_t i, n = strlen(hex), good = 0;
	char part[4096];

	fake_init(&f, cw_plugin_entry(), NULL);
	f.flags = CW_EVF_INSPECT;
	fake_open(&f);
	for (i = 0; i < n; i += piece) {
		snprintf(part, sizeof(part), "%.*s", (int)piece, hex + i);
		fake_feed_hex(&f, part);
	}
	while (cw_item_more(&r, &list)) {
		check_members(cw_read_whole_item(&r), name);
		good++;
	}
	assert_int_equal(f.good, good);
	assert_int_equal(f.noise, (size_t)cw_map_int(decoded, "skipped", 0));
	assert_int_equal(f.bad, cw_map_get(decoded, "errors").len > 0);
	fake_fini(&f);
}

static void stream(struct cw_bytes v, struct cw_bytes decoded, const char *hex, const char *name)
{
	(void)v;
	if (!is_stream(decoded))
		return;
	stream_in_pieces(decoded, hex, name, 4096);
	stream_in_pieces(decoded, hex, name, 2);
}

static void streams_are_cut_whole_and_byte_by_byte(void **state)
{
	(void)state;
	each(stream);
}

/* In two pieces, cut at every byte: the same verdict. Cut off at every byte: nothing but waiting. */
static void split(struct cw_bytes v, struct cw_bytes decoded, const char *hex, const char *name)
{
	size_t n = strlen(hex), at;
	char head[4096];
	unsigned good, bad;

	(void)v;
	if (is_stream(decoded) || is_cut_off(decoded))
		return;
	fake_init(&f, cw_plugin_entry(), NULL);
	fake_open(&f);
	fake_feed_hex(&f, hex);
	good = (unsigned)f.good;
	bad = (unsigned)f.bad;
	fake_close(&f);
	assert_int_equal(good + bad, 1);
	for (at = 2; at < n; at += n > 600 ? 26 : 2) {
		f.good = f.bad = 0;
		fake_forget(&f);
		fake_open(&f);
		snprintf(head, sizeof(head), "%.*s", (int)at, hex);
		fake_feed_hex(&f, head);
		if (f.good + f.bad != 0)
			fail_msg("%s: decided at %zu", name, at / 2);
		fake_feed_hex(&f, hex + at);
		if (f.good != good || f.bad != bad || f.in_len != 0)
			fail_msg("%s: split at %zu", name, at / 2);
		fake_close(&f);
	}
	fake_fini(&f);
}

static void frames_may_come_in_two_pieces(void **state)
{
	(void)state;
	each(split);
}

/* One byte changed anywhere is never taken for a good frame with other content, and the next frame is found. */
static void damaged(struct cw_bytes v, struct cw_bytes decoded, const char *hex, const char *name)
{
	static const char next[] = "404009000101203A091A090C790300000000385B01000000000002AF2323";
	static char all[8192];
	size_t n = strlen(hex), at;

	(void)v;
	if (is_stream(decoded) || is_cut_off(decoded) || cw_map_int(decoded, "valid", 0) == 0 || n > 300)
		return;
	fake_init(&f, cw_plugin_entry(), NULL);
	f.flags = CW_EVF_INSPECT;
	for (at = 0; at < n; at += 2) {
		fake_forget(&f);
		f.good = f.bad = 0;
		fake_open(&f);
		snprintf(all, sizeof(all), "%s%s", hex, next);
		all[at] = all[at] == '7' ? '3' : '7';
		fake_feed_hex(&f, all);
		fake_advance(&f, 10000);
		if (f.good != 1 || f.in_len != 0)
			fail_msg("%s damaged at %zu: %u good, %zu left", name, at / 2, (unsigned)f.good, f.in_len);
		fake_close(&f);
	}
	fake_fini(&f);
}

static void a_damaged_frame_does_not_cost_the_next_one(void **state)
{
	(void)state;
	each(damaged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_is_shown_and_answered_as_it_says), cmocka_unit_test(streams_are_cut_whole_and_byte_by_byte),
		cmocka_unit_test(frames_may_come_in_two_pieces), cmocka_unit_test(a_damaged_frame_does_not_cost_the_next_one),
	};

	return cmocka_run_group_tests(tests, load, vectors_free);
}
