/* fuzz_small.c - a case that was found, made small: parts and bytes are left out while it still ends the same way. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/plugin/fuzz.h"
#include "fuzz/drive.h"

#define TIME_MOST_MS 10000

struct small {
	struct fuzzer *f;
	struct fuzz_end end;
	struct fuzz_end (*try)(struct fuzzer *f, struct cw_bytes one, int aloud);
	uint64_t until_ms;
	uint8_t *one, *tried;
	size_t len;
};

/* Without `n` bytes at `at`; with the length of the part that begins at `head` made right, where head is not 0. 1: it was taken. */
static int without(struct small *s, size_t at, size_t n, size_t head)
{
	size_t len = s->len - n, size;
	struct fuzz_end end;

	if (cw_clock_ms() > s->until_ms)
		return 0;
	memcpy(s->tried, s->one, at);
	memcpy(s->tried + at, s->one + at + n, s->len - at - n);
	if (head > 0) {
		size = ((size_t)s->one[head + 1] | (size_t)s->one[head + 2] << 8) - n;
		s->tried[head + 1] = (uint8_t)size;
		s->tried[head + 2] = (uint8_t)(size >> 8);
	}
	end = s->try(s->f, cw_bytes_of(s->tried, len), 0);
	if (end.kind != s->end.kind || end.number != s->end.number)
		return 0;
	memcpy(s->one, s->tried, len);
	s->len = len;
	return 1;
}

static size_t part_size(const struct small *s, size_t at)
{
	size_t size = (size_t)s->one[at + 1] | (size_t)s->one[at + 2] << 8;

	return size > s->len - at - 3 ? s->len - at - 3 : size;
}

static int drop_parts(struct small *s)
{
	size_t at = 1;
	int any = 0;

	while (s->len - at >= 3 && at < s->len) {
		size_t size = 3 + part_size(s, at);

		if (without(s, at, size, 0))
			any = 1;
		else
			at += size;
	}
	return any;
}

static int drop_bytes(struct small *s)
{
	size_t at, off, n;
	int any = 0;

	for (at = 1; at < s->len && s->len - at >= 3; at += 3 + part_size(s, at)) {
		for (n = part_size(s, at); n > 0; n /= 2) {
			for (off = 0; off + n <= part_size(s, at);) {
				if (without(s, at + 3 + off, n, at))
					any = 1;
				else
					off += n;
			}
		}
	}
	return any;
}

size_t fuzz_minimise(struct fuzzer *f, uint8_t *one, size_t len, struct fuzz_end end,
                     struct fuzz_end (*try)(struct fuzzer *f, struct cw_bytes one, int aloud))
{
	struct small s = { .f = f, .end = end, .try = try, .one = one, .len = len, .until_ms = cw_clock_ms() + TIME_MOST_MS };
	size_t at;

	s.tried = cw_alloc(len);
	if (s.tried == NULL || len == 0)
		return len;
	/* Where the lengths lie, they are made right first: what is left out later is then a part or bytes of one. */
	for (at = 1; at < s.len && s.len - at >= 3; at += 3 + part_size(&s, at)) {
		size_t size = part_size(&s, at);

		s.one[at + 1] = (uint8_t)size;
		s.one[at + 2] = (uint8_t)(size >> 8);
	}
	while ((drop_parts(&s) | drop_bytes(&s)) && cw_clock_ms() < s.until_ms)
		;
	cw_free(s.tried);
	return s.len;
}
