/*
 * frame.h - the little of JT/T 808 that the load tools need, written apart from the decoder under test:
 * frames of the 2013 edition built and found. Inline, no memory, no state.
 */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define FRAME_MOST 256u /* longest frame built here, escaped */

#define MSG_HEARTBEAT 0x0002u
#define MSG_REGISTER 0x0100u
#define MSG_AUTH 0x0102u
#define MSG_POSITION 0x0200u
#define MSG_GENERAL 0x8001u
#define MSG_REGISTERED 0x8100u

static inline void put_u16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, v >> 16);
	put_u16(p + 2, v & 0xffffu);
}

static inline unsigned get_u16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* Eleven digits of a number as the six BCD bytes of the header. */
static inline void put_phone(uint8_t out[6], uint64_t number)
{
	int i;

	for (i = 5; i >= 0; i--) {
		out[i] = (uint8_t)(number % 10 | (number / 10 % 10) << 4);
		number /= 100;
	}
}

/* Now in UTC+8, as six BCD bytes. */
static inline void put_time(uint8_t out[6])
{
	time_t now = time(NULL) + 8 * 3600;
	struct tm tm;
	int v[6], i;

	(void)gmtime_r(&now, &tm);
	v[0] = tm.tm_year % 100;
	v[1] = tm.tm_mon + 1;
	v[2] = tm.tm_mday;
	v[3] = tm.tm_hour;
	v[4] = tm.tm_min;
	v[5] = tm.tm_sec;
	for (i = 0; i < 6; i++)
		out[i] = (uint8_t)(v[i] / 10 << 4 | v[i] % 10);
}

static inline size_t escape_byte(uint8_t *out, uint8_t byte)
{
	if (byte != 0x7e && byte != 0x7d) {
		out[0] = byte;
		return 1;
	}
	out[0] = 0x7d;
	out[1] = byte == 0x7e ? 2 : 1;
	return 2;
}

/* One frame into out[FRAME_MOST]; the body is at most 100 bytes. Returns its length. */
static inline size_t build_frame(uint8_t *out, unsigned id, const uint8_t phone[6], unsigned serial,
				 const uint8_t *body, size_t len)
{
	uint8_t content[120], sum = 0;
	size_t i, n = 1, all = 12 + len;

	put_u16(content, id);
	put_u16(content + 2, (unsigned)len);
	memcpy(content + 4, phone, 6);
	put_u16(content + 10, serial);
	if (len > 0)
		memcpy(content + 12, body, len);
	for (i = 0; i < all; i++)
		sum ^= content[i];
	content[all++] = sum;
	out[0] = 0x7e;
	for (i = 0; i < all; i++)
		n += escape_byte(out + n, content[i]);
	out[n++] = 0x7e;
	return n;
}

/* A position of 28 bytes; `n` makes each one different. */
static inline void build_position(uint8_t body[28], const uint8_t when[6], uint32_t n)
{
	put_u32(body, 0);
	put_u32(body + 4, 3);
	put_u32(body + 8, 31230416u + n % 1000000u);
	put_u32(body + 12, 121473701u + n / 7u % 1000000u);
	put_u16(body + 16, 12);
	put_u16(body + 18, 605);
	put_u16(body + 20, n % 360u);
	memcpy(body + 22, when, 6);
}

/*
 * The next frame in in[len]: returns how many bytes it and what is before it take, 0 when there is no whole one.
 * *ret_content points behind its first delimiter, *ret_len is without both. Delimiters are not shared between frames
 * here.
 */
static inline size_t find_frame(const uint8_t *in, size_t len, const uint8_t **ret_content, size_t *ret_len)
{
	const uint8_t *start = memchr(in, 0x7e, len), *end;

	if (start == NULL)
		return 0;
	end = memchr(start + 1, 0x7e, len - (size_t)(start + 1 - in));
	if (end == NULL)
		return 0;
	*ret_content = start + 1;
	*ret_len = (size_t)(end - start - 1);
	return (size_t)(end + 1 - in);
}

/* Take escapes out; returns the length, at most `size`. */
static inline size_t unescape(const uint8_t *in, size_t len, uint8_t *out, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < len && n < size; i++) {
		if (in[i] == 0x7d && i + 1 < len)
			out[n++] = in[++i] == 2 ? 0x7e : 0x7d;
		else
			out[n++] = in[i];
	}
	return n;
}

#endif
