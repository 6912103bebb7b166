/* Records that are too long for their way. covers: I04 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "platform/split.h"
#include "json/json.h"

#define PK "a1Product01"
#define DN "dev-1"

static uint8_t buf[70000];
static struct cw_writer w;
static struct cw_record rec;
static struct cw_split s;

static int check_leaks(void **state)
{
	return cw_mem_live() == 0 ? 0 : -1;
}

/* Properties p0, p1, .. with texts of `len` bytes; number `giant` (-1: none) has 2,000. */
static void properties(unsigned kind, int count, int len, int giant)
{
	static char text[2001];
	char key[16];
	int i;

	memset(text, 'x', 2000);
	w = cw_writer_of(buf, sizeof(buf));
	cw_record_begin(&w, kind);
	cw_record_time(&w, 1700000000123);
	cw_record_body(&w);
	for (i = 0; i < count; i++) {
		(void)snprintf(key, sizeof(key), "p%d", i);
		cw_field_textn(&w, key, text, (size_t)(i == giant ? 2000 : len));
	}
	cw_put_end(&w);
	cw_record_end(&w);
	assert_false(w.overflow);
	assert_true(cw_record_read(cw_written(&w), &rec));
}

static int split(size_t most)
{
	struct cw_alink_options options = { .version = 1, .qos = 1 };

	return cw_split_record(&rec, PK, DN, 7, &options, most, &s);
}

/* All members are there once, in order, and no part is too long. Returns the number of parts. */
static size_t check_parts(int count, size_t most)
{
	int next = 0;
	size_t i, parts = s.count;

	for (i = 0; i < s.count; i++) {
		struct cw_alink_reply part;
		struct cw_reader r;
		struct cw_item map;

		assert_true(s.parts[i].len <= most);
		assert_int_equal(cw_alink_reply(cw_bytes_of(s.parts[i].payload, s.parts[i].len), &part), 0);
		assert_true(part.has_id);
		assert_int_equal(part.id, 7 + i);
		r = cw_reader_of(part.params);
		map = cw_read_item(&r);
		while (cw_item_more(&r, &map)) {
			struct cw_item key = cw_read_item(&r);
			char want[16];

			(void)cw_item_more(&r, &map);
			(void)cw_read_whole_item(&r);
			(void)snprintf(want, sizeof(want), "p%d", next++);
			assert_true(cw_bytes_equal(key.s, cw_bytes_text(want)));
		}
		cw_alink_reply_drop(&part);
	}
	assert_int_equal(next, count);
	cw_split_drop(&s);
	return parts;
}

static void what_fits_is_one_message_as_always(void **state)
{
	struct cw_alink_options options = { .version = 1, .qos = 1 };
	struct cw_alink_post whole;

	properties(CW_KIND_PROPERTIES, 5, 20, -1);
	assert_int_equal(cw_alink_record(&rec, PK, DN, 7, &options, &whole), 0);
	assert_int_equal(split(whole.len), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.parts[0].len, whole.len);
	assert_memory_equal(s.parts[0].payload, whole.payload, whole.len);
	assert_string_equal(s.head.topic, whole.topic);
	assert_int_equal(s.head.qos, 1);
	cw_free(whole.payload);
	cw_split_drop(&s);
}

static void properties_are_shared_out_in_order(void **state)
{
	properties(CW_KIND_PROPERTIES, 40, 60, -1);
	assert_int_equal(split(1000), 0);
	/* 40 times about 120 bytes, and an envelope of 90 each */
	assert_in_range(check_parts(40, 1000), 5, 8);
	assert_int_equal(split(300), 0);
	assert_in_range(check_parts(40, 300), 20, 40);
}

static void more_members_than_the_platform_takes_are_shared_out_too(void **state)
{
	properties(CW_KIND_PROPERTIES, 450, 1, -1);
	assert_int_equal(split(CW_ALINK_MOST), 0);
	assert_in_range(check_parts(450, CW_ALINK_MOST), 3, 5);
}

static void one_member_too_long_refuses_all(void **state)
{
	properties(CW_KIND_PROPERTIES, 10, 20, 6);
	assert_int_equal(split(1000), CW_ELIMIT);
	assert_null(s.parts);
	properties(CW_KIND_PROPERTIES, 1, 20, 0);
	assert_int_equal(split(1000), CW_ELIMIT);
}

static void tags_are_taken_apart_and_events_are_not(void **state)
{
	properties(CW_KIND_TAGS, 30, 60, -1);
	assert_int_equal(split(1000), 0);
	assert_in_range(s.count, 3, 6);
	assert_string_equal(s.head.topic, "/sys/" PK "/" DN "/thing/deviceinfo/update");
	cw_split_drop(&s);
	properties(CW_KIND_EVENT, 30, 60, -1);
	rec.name = cw_bytes_text("alarm");
	assert_int_equal(split(1000), CW_ELIMIT);
	rec = (struct cw_record){ .kind = CW_KIND_RAW, .name = cw_bytes_text("up"), .body = cw_bytes_of(buf, 1001) };
	assert_int_equal(split(1000), CW_ELIMIT);
	rec.body.len = 1000;
	assert_int_equal(split(1000), 0);
	assert_int_equal(s.count, 1);
	cw_split_drop(&s);
}

static void history_stays_history(void **state)
{
	size_t i;

	properties(CW_KIND_PROPERTIES, 30, 60, -1);
	rec.flags = CW_RECORD_REPLAY;
	assert_int_equal(split(1000), 0);
	assert_true(s.count > 1);
	assert_string_equal(s.head.topic, "/sys/" PK "/" DN "/thing/event/property/history/post");
	for (i = 0; i < s.count; i++) {
		assert_non_null(strstr(s.parts[i].payload, "\"identity\":{\"productKey\":\"" PK "\""));
		assert_non_null(strstr(s.parts[i].payload, "\"time\":1700000000123"));
	}
	cw_split_drop(&s);
}

static void ids_go_around_without_zero(void **state)
{
	assert_int_equal(cw_split_id(5, 0), 5);
	assert_int_equal(cw_split_id(UINT32_MAX, 0), UINT32_MAX);
	assert_int_equal(cw_split_id(UINT32_MAX, 1), 1);
}

static void without_memory_nothing_is_left(void **state)
{
	long n;
	int rc = CW_ENOMEM;

	properties(CW_KIND_PROPERTIES, 40, 60, -1);
	for (n = 0; rc == CW_ENOMEM; n++) {
		assert_true(n < 1000);
		cw_mem_fail_at(n);
		rc = split(1000);
		cw_mem_fail_at(-1);
		if (rc == CW_ENOMEM)
			assert_int_equal(cw_mem_live(), 0);
	}
	assert_int_equal(rc, 0);
	assert_true(n > 10);
	(void)check_parts(40, 1000);
}

/* Records were checked when they came in; what is broken all the same is not read past its end. */
static void cut_off_bodies_are_not_read_past_their_end(void **state)
{
	struct cw_alink_options options = { .version = 1 };
	struct cw_record cut;
	size_t whole, len, refused = 0;

	properties(CW_KIND_PROPERTIES, 20, 100, -1);
	whole = rec.body.len;
	for (len = 0; len < whole; len++) {
		uint8_t *body = malloc(len + 1); /* so that a sanitizer sees a byte too much */

		memcpy(body, rec.body.ptr, len);
		cut = rec;
		cut.body = cw_bytes_of(body, len);
		if (cw_split_record(&cut, PK, DN, 7, &options, 500, &s) < 0)
			refused++;
		cw_split_drop(&s);
		free(body);
	}
	assert_true(refused > whole / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_fits_is_one_message_as_always, check_leaks),
		cmocka_unit_test_teardown(properties_are_shared_out_in_order, check_leaks),
		cmocka_unit_test_teardown(more_members_than_the_platform_takes_are_shared_out_too, check_leaks),
		cmocka_unit_test_teardown(one_member_too_long_refuses_all, check_leaks),
		cmocka_unit_test_teardown(tags_are_taken_apart_and_events_are_not, check_leaks),
		cmocka_unit_test_teardown(history_stays_history, check_leaks),
		cmocka_unit_test_teardown(ids_go_around_without_zero, check_leaks),
		cmocka_unit_test_teardown(without_memory_nothing_is_left, check_leaks),
		cmocka_unit_test_teardown(cut_off_bodies_are_not_read_past_their_end, check_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
