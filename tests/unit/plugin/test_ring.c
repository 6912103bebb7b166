/* The stream through shared memory, and the messages in it: wrapping, full, torn, and another side that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "plugin/wire.h"

#define SIZE 64

static struct cw_ring_shared shared;
static uint8_t data[1 << 16];
static struct cw_outlet out;
static struct cw_intake in;
static long live_before;

static void open_ring(size_t size)
{
	memset(&shared, 0, sizeof(shared));
	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	cw_ring_init(&out.ring, &shared, data, size);
	cw_ring_init(&in.ring, &shared, data, size);
}

static int setup(void **state)
{
	live_before = cw_mem_live();
	open_ring(SIZE);
	return 0;
}

static int teardown(void **state)
{
	cw_outlet_fini(&out);
	cw_intake_fini(&in);
	return cw_mem_live() == live_before ? 0 : -1;
}

/* ---- bytes ------------------------------------------------------------------------- */

static void bytes_come_out_as_they_went_in_however_the_ring_wraps(void **state)
{
	uint8_t next_in = 0, next_out = 0, bytes[SIZE];
	int round, wake = 0;
	int64_t n, i;

	for (round = 0; round < 1000; round++) {
		size_t len = (size_t)(round * 7 % 50 + 1);

		for (i = 0; i < (int64_t)len; i++)
			bytes[i] = next_in++;
		assert_int_equal(cw_ring_write(&out.ring, bytes, len), len);
		(void)cw_ring_publish(&out.ring);
		while ((n = cw_ring_read(&in.ring, bytes, 13, &wake)) > 0)
			for (i = 0; i < n; i++)
				assert_int_equal(bytes[i], next_out++);
		assert_int_equal(n, 0);
	}
	assert_int_equal(next_in, next_out);
}

static void a_full_ring_takes_what_fits(void **state)
{
	uint8_t bytes[SIZE + 10] = { 1 };
	int wake = 0;

	assert_int_equal(cw_ring_write(&out.ring, bytes, sizeof(bytes)), SIZE);
	assert_int_equal(cw_ring_write(&out.ring, bytes, 1), 0);
	(void)cw_ring_publish(&out.ring);
	assert_int_equal(cw_ring_read(&in.ring, bytes, 5, &wake), 5);
	assert_int_equal(cw_ring_write(&out.ring, bytes, 10), 5);
}

static void nothing_is_seen_before_it_is_published(void **state)
{
	uint8_t b[8] = { 0 };
	int wake = 0;

	assert_int_equal(cw_ring_write(&out.ring, b, 8), 8);
	assert_int_equal(cw_ring_read(&in.ring, b, 8, &wake), 0);
	assert_false(cw_ring_drained(&out.ring) == 0); /* nothing was published, so nothing is unread */
	(void)cw_ring_publish(&out.ring);
	assert_false(cw_ring_drained(&out.ring));
	assert_int_equal(cw_ring_read(&in.ring, b, 8, &wake), 8);
	assert_true(cw_ring_drained(&out.ring));
}

static void who_sleeps_is_woken_and_nobody_else(void **state)
{
	uint8_t b[SIZE] = { 0 };
	int wake = 0;

	(void)cw_ring_write(&out.ring, b, 1);
	assert_false(cw_ring_publish(&out.ring));
	assert_false(cw_ring_sleep(&in.ring)); /* there is something */
	(void)cw_ring_read(&in.ring, b, 1, &wake);
	assert_true(cw_ring_sleep(&in.ring));
	(void)cw_ring_write(&out.ring, b, 1);
	assert_true(cw_ring_publish(&out.ring));
	(void)cw_ring_write(&out.ring, b, 1);
	assert_false(cw_ring_publish(&out.ring)); /* once is enough */
	(void)cw_ring_write(&out.ring, b, SIZE - 2);
	(void)cw_ring_publish(&out.ring);
	assert_true(cw_ring_wait(&out.ring));
	assert_int_equal(wake, 0);
	(void)cw_ring_read(&in.ring, b, 1, &wake);
	assert_int_equal(wake, 1);
	assert_false(cw_ring_wait(&out.ring)); /* there is room now, though this side has not looked */
}

static void an_index_that_cannot_be_is_found_out(void **state)
{
	static const uint64_t heads[] = { SIZE + 1, UINT64_MAX, 1ull << 63, 3 /* it was at 4 */ };
	static const uint64_t tails[] = { 5 /* beyond what was written */, UINT64_MAX, 1 /* it was at 2 */ };
	uint8_t b[SIZE];
	size_t i;
	int wake = 0;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		open_ring(SIZE);
		atomic_store(&shared.head, 4);
		assert_int_equal(cw_ring_read(&in.ring, b, 2, &wake), 2);
		atomic_store(&shared.head, heads[i] == SIZE + 1 ? SIZE + 3 : heads[i]);
		assert_int_equal(cw_ring_read(&in.ring, b, 2, &wake), CW_EPROTO);
	}
	for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		open_ring(SIZE);
		assert_int_equal(cw_ring_write(&out.ring, b, 4), 4);
		(void)cw_ring_publish(&out.ring);
		atomic_store(&shared.tail, 2);
		assert_int_equal(cw_ring_write(&out.ring, b, SIZE), SIZE - 2);
		out.ring.own = 4; /* as if nothing more had been written */
		atomic_store(&shared.tail, tails[i]);
		assert_false(cw_ring_drained(&out.ring));
		assert_int_equal(cw_ring_write(&out.ring, b, SIZE), CW_EPROTO);
	}
}

/* ---- messages ----------------------------------------------------------------------- */

static void messages_keep_their_numbers_and_parts(void **state)
{
	struct cw_wire m = { .kind = 7, .conn = 1, .dev = UINT64_MAX, .a = 3, .b = 4, .c = 5, .parts = 3,
		             .part = { cw_bytes_text("one"), cw_bytes_of(NULL, 0), cw_bytes_text("three") } };
	struct cw_wire got;
	int wake = 0, n;

	open_ring(1 << 16);
	for (n = 0; n < 3000; n++) {
		m.a = (uint64_t)n;
		cw_outlet_put(&out, &m);
		(void)cw_ring_publish(&out.ring);
		assert_int_equal(cw_intake_next(&in, &got, &wake), 1);
		assert_int_equal(got.kind, 7);
		assert_int_equal(got.dev, UINT64_MAX);
		assert_int_equal(got.a, n);
		assert_int_equal(got.parts, 3);
		assert_memory_equal(got.part[2].ptr, "three", 5);
		assert_int_equal(got.part[1].len, 0);
	}
	assert_int_equal(cw_intake_next(&in, &got, &wake), 0);
}

static void a_message_longer_than_the_ring_comes_in_pieces(void **state)
{
	uint8_t *big = malloc(100000);
	struct cw_wire m = { .kind = 9, .parts = 1, .part = { cw_bytes_of(big, 100000) } }, got;
	int wake = 0, rc, turns = 0;
	size_t i;

	for (i = 0; i < 100000; i++)
		big[i] = (uint8_t)(i * 31);
	cw_outlet_put(&out, &m);
	m.parts = 0;
	m.kind = 10;
	cw_outlet_put(&out, &m);
	(void)cw_ring_publish(&out.ring);
	while ((rc = cw_intake_next(&in, &got, &wake)) == 0) {
		(void)cw_outlet_flush(&out);
		(void)cw_ring_publish(&out.ring);
		turns++;
	}
	assert_int_equal(rc, 1);
	assert_true(turns > 1000);
	assert_int_equal(got.part[0].len, 100000);
	assert_memory_equal(got.part[0].ptr, big, 100000);
	while ((rc = cw_intake_next(&in, &got, &wake)) == 0) {
		(void)cw_outlet_flush(&out);
		(void)cw_ring_publish(&out.ring);
	}
	assert_int_equal(got.kind, 10);
	assert_int_equal(in.size, 65536); /* not kept for ever */
	free(big);
}

static void put_raw(const void *bytes, size_t len)
{
	(void)cw_ring_write(&out.ring, bytes, len);
	(void)cw_ring_publish(&out.ring);
}

static void what_is_no_message_is_found_out(void **state)
{
	struct {
		uint32_t size;
		uint16_t kind, parts;
		uint64_t numbers[5];
		uint32_t lens[6];
	} m;
	struct cw_wire got;
	int wake = 0;

	static const struct {
		uint32_t size;
		uint16_t parts;
		uint32_t len0;
	} bad[] = {
		{ 0, 0, 0 }, { 47, 0, 0 }, { UINT32_MAX, 0, 0 }, { CW_WIRE_MOST + 1, 0, 0 },
		{ 48, 1, 0 },     /* no room for the length of its part */
		{ 72, 7, 0 },     /* more parts than there are */
		{ 52, 1, 1 },     /* a part beyond the end */
		{ 52, 1, UINT32_MAX },
		{ 56, 1, 3 },     /* bytes that belong to nothing */
		{ 48, 65535, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cw_intake_fini(&in);
		open_ring(1 << 16);
		memset(&m, 0, sizeof(m));
		m.size = bad[i].size;
		m.parts = bad[i].parts;
		m.lens[0] = bad[i].len0;
		put_raw(&m, sizeof(m));
		assert_int_equal(cw_intake_next(&in, &got, &wake), CW_EPROTO);
	}
}

static void every_short_or_twisted_message_is_refused_or_read_within_its_bounds(void **state)
{
	static const uint64_t seeds[] = { 1, 7, 99, 12345 };
	uint8_t bytes[200];
	struct cw_wire got;
	size_t s, round, i;
	int wake = 0, rc;
	unsigned sum = 0;

	for (s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
		uint64_t x = seeds[s];

		for (round = 0; round < 5000; round++) {
			cw_intake_fini(&in);
			open_ring(1 << 12);
			for (i = 0; i < sizeof(bytes); i++) {
				x = x * 6364136223846793005ull + 1442695040888963407ull;
				bytes[i] = (uint8_t)(x >> 60 == 3 ? x >> 40 : 0);
			}
			bytes[0] = (uint8_t)(48 + (x >> 33) % 150);
			put_raw(bytes, sizeof(bytes));
			while ((rc = cw_intake_next(&in, &got, &wake)) == 1)
				for (i = 0; i < got.parts; i++) /* ASan looks */
					sum += got.part[i].len == 0 ? 0 : got.part[i].ptr[got.part[i].len - 1];
			assert_true(rc == 0 || rc == CW_EPROTO);
			assert_true(sum < UINT32_MAX);
		}
	}
}

static void memory_that_is_short_is_said(void **state)
{
	struct cw_wire m = { .kind = 1, .parts = 1, .part = { cw_bytes_of(data, 200) } };

	cw_mem_fail_at(0);
	cw_outlet_put(&out, &m);
	cw_mem_fail_at(-1);
	assert_int_equal(out.failed, CW_ENOMEM);
}

/* ---- two threads ----------------------------------------------------------------------- */

#define COUNT 200000u

static void *writer(void *arg)
{
	uint32_t n;

	for (n = 0; n < COUNT; n++) {
		struct cw_wire m = { .kind = 1, .a = n, .parts = 1, .part = { cw_bytes_of(&n, n % 5) } };

		cw_outlet_put(&out, &m);
		do
			(void)cw_ring_publish(&out.ring);
		while (!cw_outlet_flush(&out) && !out.failed);
	}
	(void)cw_ring_publish(&out.ring);
	return NULL;
}

static void a_writer_and_a_reader_at_once_lose_nothing(void **state)
{
	struct cw_wire got;
	uint64_t n = 0;
	pthread_t t;
	int wake = 0, rc;

	open_ring(1 << 10);
	assert_int_equal(pthread_create(&t, NULL, writer, NULL), 0);
	while (n < COUNT) {
		rc = cw_intake_next(&in, &got, &wake);
		assert_in_range(rc, 0, 1);
		if (rc == 0)
			continue;
		assert_int_equal(got.a, n);
		assert_int_equal(got.part[0].len, n % 5);
		n++;
	}
	pthread_join(t, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_come_out_as_they_went_in_however_the_ring_wraps),
		T(a_full_ring_takes_what_fits),
		T(nothing_is_seen_before_it_is_published),
		T(who_sleeps_is_woken_and_nobody_else),
		T(an_index_that_cannot_be_is_found_out),
		T(messages_keep_their_numbers_and_parts),
		T(a_message_longer_than_the_ring_comes_in_pieces),
		T(what_is_no_message_is_found_out),
		T(every_short_or_twisted_message_is_refused_or_read_within_its_bounds),
		T(memory_that_is_short_is_said),
		T(a_writer_and_a_reader_at_once_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
