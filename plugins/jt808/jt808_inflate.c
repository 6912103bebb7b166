/*
 * jt808_inflate.c - a bounded inflate for 0x0901 (RFC 1951 inside RFC 1952).
 *
 * Small rather than fast: codes are read bit by bit with the counting method. The
 * output never grows beyond what the caller gave, and a stream that ends early,
 * refers before its start or has an impossible code is refused.
 */
#include "jt808.h"

#define MAX_BITS 15

struct bits {
	struct cw_bytes in;
	size_t pos;
	uint32_t buf;
	unsigned count;
	int bad;
};

struct code {
	uint16_t count[MAX_BITS + 1];
	uint16_t symbol[288];
};

static unsigned take(struct bits *b, unsigned n)
{
	unsigned v;

	while (b->count < n) {
		if (b->pos >= b->in.len) {
			b->bad = 1;
			return 0;
		}
		b->buf |= (uint32_t)b->in.ptr[b->pos++] << b->count;
		b->count += 8;
	}
	v = b->buf & ((1u << n) - 1u);
	b->buf >>= n;
	b->count -= n;
	return v;
}

/* 0 when the lengths make no code. */
static int build(struct code *c, const uint8_t *lengths, unsigned n)
{
	uint16_t at[MAX_BITS + 1];
	unsigned i;
	int left = 1;

	memset(c->count, 0, sizeof(c->count));
	for (i = 0; i < n; i++)
		c->count[lengths[i]]++;
	for (i = 1; i <= MAX_BITS; i++) {
		left = left * 2 - c->count[i];
		if (left < 0)
			return 0;
	}
	at[1] = 0;
	for (i = 1; i < MAX_BITS; i++)
		at[i + 1] = (uint16_t)(at[i] + c->count[i]);
	for (i = 0; i < n; i++)
		if (lengths[i] != 0)
			c->symbol[at[lengths[i]]++] = (uint16_t)i;
	return 1;
}

static unsigned symbol(struct bits *b, const struct code *c)
{
	int code = 0, first = 0, index = 0;
	unsigned len;

	for (len = 1; len <= MAX_BITS && !b->bad; len++) {
		code |= (int)take(b, 1);
		if (code - c->count[len] < first)
			return c->symbol[index + (code - first)];
		index += c->count[len];
		first = (first + c->count[len]) << 1;
		code <<= 1;
	}
	b->bad = 1;
	return 0;
}

static int block(struct bits *b, struct cw_writer *w, const struct code *lit, const struct code *dist)
{
	static const uint16_t len_base[] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
	static const uint8_t len_more[] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
	static const uint16_t dist_base[] = { 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
		                              4097, 6145, 8193, 12289, 16385, 24577 };

	for (;;) {
		unsigned s = symbol(b, lit), len, back;

		if (b->bad || w->overflow)
			return 0;
		if (s < 256) {
			cw_write_u8(w, (uint8_t)s);
			continue;
		}
		if (s == 256)
			return 1;
		s -= 257;
		if (s >= 29)
			return 0;
		len = len_base[s] + take(b, len_more[s]);
		s = symbol(b, dist);
		if (b->bad || s >= 30)
			return 0;
		back = dist_base[s] + take(b, s < 4 ? 0 : s / 2 - 1);
		if (b->bad || back > w->len)
			return 0;
		while (len-- > 0 && !w->overflow)
			cw_write_u8(w, w->ptr[w->len - back]);
	}
}

static int stored(struct bits *b, struct cw_writer *w)
{
	unsigned n, not_n;

	b->buf = 0;
	b->count = 0;
	n = take(b, 16);
	not_n = take(b, 16);
	if (b->bad || n != (~not_n & 0xffffu) || n > b->in.len - b->pos)
		return 0;
	cw_write_raw(w, b->in.ptr + b->pos, n);
	b->pos += n;
	return !w->overflow;
}

static int fixed(struct bits *b, struct cw_writer *w)
{
	struct code lit, dist;
	uint8_t lengths[288];
	unsigned i;

	for (i = 0; i < 288; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	build(&lit, lengths, 288);
	memset(lengths, 5, 30);
	build(&dist, lengths, 30);
	return block(b, w, &lit, &dist);
}

static int dynamic(struct bits *b, struct cw_writer *w)
{
	static const uint8_t order[] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
	struct code lit, dist;
	uint8_t lengths[320] = { 0 };
	unsigned nlit = take(b, 5) + 257, ndist = take(b, 5) + 1, ncode = take(b, 4) + 4, i, s, n;

	if (b->bad || nlit > 286 || ndist > 30)
		return 0;
	for (i = 0; i < ncode; i++)
		lengths[order[i]] = (uint8_t)take(b, 3);
	if (!build(&lit, lengths, 19))
		return 0;
	memset(lengths, 0, sizeof(lengths));
	for (i = 0; i < nlit + ndist;) {
		uint8_t value = 0;

		s = symbol(b, &lit);
		if (b->bad)
			return 0;
		if (s < 16) {
			lengths[i++] = (uint8_t)s;
			continue;
		}
		if (s == 16 && i == 0)
			return 0;
		if (s == 16)
			value = lengths[i - 1];
		n = s == 16 ? 3 + take(b, 2) : s == 17 ? 3 + take(b, 3) : 11 + take(b, 7);
		if (b->bad || i + n > nlit + ndist)
			return 0;
		while (n-- > 0)
			lengths[i++] = value;
	}
	if (lengths[256] == 0 || !build(&lit, lengths, nlit) || !build(&dist, lengths + nlit, ndist))
		return 0;
	return block(b, w, &lit, &dist);
}

/* Skip what RFC 1952 puts in front. 0 when it is no gzip member. */
static int header(struct bits *b)
{
	struct cw_reader r = cw_reader_of(b->in);
	unsigned flags;

	if (cw_read_u16be(&r) != 0x1f8b || cw_read_u8(&r) != 8)
		return 0;
	flags = cw_read_u8(&r);
	(void)cw_read_bytes(&r, 6);
	if (flags & 4)
		(void)cw_read_bytes(&r, cw_read_u16le(&r));
	if (flags & 8)
		while (cw_read_u8(&r) != 0 && !r.short_read)
			;
	if (flags & 16)
		while (cw_read_u8(&r) != 0 && !r.short_read)
			;
	if (flags & 2)
		(void)cw_read_u16be(&r);
	b->pos = r.pos;
	return !r.short_read;
}

int jt_inflate(struct cw_bytes gzip, struct cw_writer *w)
{
	struct bits b = { gzip, 0, 0, 0, 0 };
	int last = 0, ok = header(&b);

	while (ok && !last) {
		last = (int)take(&b, 1);
		switch (take(&b, 2)) {
		case 0: ok = stored(&b, w); break;
		case 1: ok = fixed(&b, w); break;
		case 2: ok = dynamic(&b, w); break;
		default: ok = 0; break;
		}
	}
	return ok && !b.bad && !w->overflow;
}
