/*
 * jt808_text.c - GBK and UTF-8, BCD times, hex digits, hashes.
 *
 * The converters are opened once, in create(): later the sandbox may keep the
 * decoder from opening files. Plain ASCII never touches them.
 */
#include "jt808.h"

#include <errno.h>
#include <iconv.h>

int jt_text_init(struct cw_decoder *d)
{
	iconv_t a = iconv_open("UTF-8", "GBK"), b;

	if (a == (iconv_t)-1)
		return CW_EIO;
	b = iconv_open("GBK", "UTF-8");
	if (b == (iconv_t)-1) {
		iconv_close(a);
		return CW_EIO;
	}
	d->to_utf8 = a;
	d->to_gbk = b;
	return 0;
}

void jt_text_fini(struct cw_decoder *d)
{
	if (d->to_utf8 != NULL)
		iconv_close((iconv_t)d->to_utf8);
	if (d->to_gbk != NULL)
		iconv_close((iconv_t)d->to_gbk);
	d->to_utf8 = d->to_gbk = NULL;
}

struct cw_bytes jt_trim(struct cw_bytes s)
{
	while (s.len > 0 && s.ptr[s.len - 1] == 0)
		s.len--;
	return s;
}

struct cw_bytes jt_strip(struct cw_bytes s)
{
	while (s.len > 0 && s.ptr[0] == 0)
		s = cw_bytes_of(s.ptr + 1, s.len - 1);
	while (s.len > 0 && (s.ptr[s.len - 1] == 0 || s.ptr[s.len - 1] == ' '))
		s.len--;
	return s;
}

int jt_printable(struct cw_bytes s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if ((s.ptr[i] < 32 && s.ptr[i] != '\t' && s.ptr[i] != '\r' && s.ptr[i] != '\n') || s.ptr[i] == 127)
			return 0;
	return 1;
}

static int ascii(struct cw_bytes s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (s.ptr[i] >= 0x80)
			return 0;
	return 1;
}

/* Convert into out (3 bytes for 2 at most, so 2 x len is room enough). Returns the length; *ret_bad counts replacements. */
static size_t utf8_of(struct cw_decoder *d, struct cw_bytes s, char *out, size_t size, int *ret_bad)
{
	char *in = (char *)(uintptr_t)s.ptr, *to = out;
	size_t left = s.len, room = size;

	*ret_bad = 0;
	iconv((iconv_t)d->to_utf8, NULL, NULL, NULL, NULL);
	while (left > 0) {
		if (iconv((iconv_t)d->to_utf8, &in, &left, &to, &room) != (size_t)-1)
			break;
		if (errno == E2BIG || room < 3)
			break;
		memcpy(to, "\xef\xbf\xbd", 3);
		to += 3;
		room -= 3;
		in++;
		left--;
		*ret_bad = 1;
		iconv((iconv_t)d->to_utf8, NULL, NULL, NULL, NULL);
	}
	return (size_t)(to - out);
}

int jt_put_gbk(struct jt_out *o, struct cw_bytes s)
{
	size_t n, room;
	char *to;
	int bad;

	s = jt_trim(s);
	if (ascii(s)) {
		cw_put_textn(&o->w, (const char *)s.ptr, s.len);
		return 1;
	}
	/* Convert behind the place of the head, then move: the length of the head depends on the result. */
	room = 3 * s.len;
	if (o->w.overflow || room + 16 > o->w.size - o->w.len) {
		o->w.overflow = 1;
		return 0;
	}
	to = (char *)o->w.ptr + o->w.len + 9;
	n = utf8_of(o->d, s, to, room, &bad);
	cw_put_head(&o->w, 3, n);
	memmove(o->w.ptr + o->w.len, to, n);
	o->w.len += n;
	return !bad;
}

int jt_to_gbk(struct cw_decoder *d, struct cw_bytes utf8, struct cw_writer *w)
{
	char *in = (char *)(uintptr_t)utf8.ptr, *to = (char *)w->ptr + w->len;
	size_t left = utf8.len, room = w->size - w->len, had = room;

	if (ascii(utf8)) {
		cw_write_bytes(w, utf8);
		return w->overflow ? CW_ELIMIT : 0;
	}
	iconv((iconv_t)d->to_gbk, NULL, NULL, NULL, NULL);
	if (iconv((iconv_t)d->to_gbk, &in, &left, &to, &room) == (size_t)-1) {
		if (errno == E2BIG)
			w->overflow = 1;
		return errno == E2BIG ? CW_ELIMIT : CW_EINVAL;
	}
	w->len += had - room;
	return 0;
}

void jt_put_hex(struct cw_writer *w, struct cw_bytes b)
{
	static const char digit[] = "0123456789abcdef";
	size_t i;

	cw_put_head(w, 3, b.len * 2);
	if (w->overflow || b.len * 2 > w->size - w->len) {
		w->overflow = 1;
		return;
	}
	for (i = 0; i < b.len; i++) {
		w->ptr[w->len++] = (uint8_t)digit[b.ptr[i] >> 4];
		w->ptr[w->len++] = (uint8_t)digit[b.ptr[i] & 15];
	}
}

static int nibble(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int jt_unhex(struct cw_bytes text, struct cw_writer *w)
{
	size_t i;

	if (text.len % 2 != 0)
		return 0;
	for (i = 0; i < text.len; i += 2) {
		int hi = nibble(text.ptr[i]), lo = nibble(text.ptr[i + 1]);

		if (hi < 0 || lo < 0)
			return 0;
		cw_write_u8(w, (uint8_t)(hi << 4 | lo));
	}
	return !w->overflow;
}

/* Days from civil and back, counting from 1 March so that the leap day ends the year. */
int64_t jt_days(int y, int m, int d)
{
	int64_t yy = m <= 2 ? y - 1 : y;
	int64_t era = (yy >= 0 ? yy : yy - 399) / 400;
	int64_t yoe = yy - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void jt_civil(int64_t days, int *y, int *m, int *d)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = (int)(yoe + era * 400 + (*m <= 2));
}

int jt_bcd_time(const uint8_t *p, int zone_min, int64_t *ret_ms)
{
	static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int v[6], i, leap;

	for (i = 0; i < 6; i++) {
		if ((p[i] >> 4) > 9 || (p[i] & 15) > 9)
			return 0;
		v[i] = (p[i] >> 4) * 10 + (p[i] & 15);
	}
	leap = v[0] % 4 == 0; /* 2000 to 2099 */
	if (v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > month_days[v[1] - 1] + (v[1] == 2 && leap) || v[3] > 23 || v[4] > 59 || v[5] > 59)
		return 0;
	*ret_ms = ((jt_days(2000 + v[0], v[1], v[2]) * 24 + v[3]) * 60 + v[4] - zone_min) * 60000 + v[5] * 1000;
	return 1;
}

static uint8_t bcd(int v)
{
	return (uint8_t)(v / 10 % 10 * 16 + v % 10);
}

void jt_write_bcd_time(struct cw_writer *w, int64_t utc_ms, int zone_min)
{
	int64_t s = utc_ms / 1000 + (int64_t)zone_min * 60, days = s / 86400, rest;
	int y, m, d;

	if (s < 0 && s % 86400 != 0)
		days--;
	rest = s - days * 86400;
	jt_civil(days, &y, &m, &d);
	cw_write_u8(w, bcd(y % 100));
	cw_write_u8(w, bcd(m));
	cw_write_u8(w, bcd(d));
	cw_write_u8(w, bcd((int)(rest / 3600)));
	cw_write_u8(w, bcd((int)(rest / 60 % 60)));
	cw_write_u8(w, bcd((int)(rest % 60)));
}

/* SipHash-2-4 with 128 bits of output: dedup keys (fixed key) and authentication codes (secret key). */
#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define ROUND()                                                                                       \
	do {                                                                                          \
		v0 += v1; v1 = ROTL(v1, 13); v1 ^= v0; v0 = ROTL(v0, 32);                             \
		v2 += v3; v3 = ROTL(v3, 16); v3 ^= v2;                                                \
		v0 += v3; v3 = ROTL(v3, 21); v3 ^= v0;                                                \
		v2 += v1; v1 = ROTL(v1, 17); v1 ^= v2; v2 = ROTL(v2, 32);                             \
	} while (0)

static uint64_t le64(const uint8_t *p)
{
	uint64_t v = 0;
	int i;

	for (i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static void put64(uint8_t *p, uint64_t v)
{
	int i;

	for (i = 0; i < 8; i++, v >>= 8)
		p[i] = (uint8_t)v;
}

void jt_siphash(const uint8_t key[16], struct cw_bytes data, uint64_t extra, uint8_t out[16])
{
	uint64_t k0 = le64(key), k1 = le64(key + 8);
	uint64_t v0 = 0x736f6d6570736575u ^ k0, v1 = 0x646f72616e646f6du ^ k1 ^ 0xee, v2 = 0x6c7967656e657261u ^ k0,
	         v3 = 0x7465646279746573u ^ k1, m;
	uint8_t last[8] = { 0 };
	size_t i;

	v3 ^= extra;
	ROUND();
	ROUND();
	v0 ^= extra;
	for (i = 0; i + 8 <= data.len; i += 8) {
		m = le64(data.ptr + i);
		v3 ^= m;
		ROUND();
		ROUND();
		v0 ^= m;
	}
	if (data.len > i)
		memcpy(last, data.ptr + i, data.len - i);
	last[7] = (uint8_t)data.len;
	m = le64(last);
	v3 ^= m;
	ROUND();
	ROUND();
	v0 ^= m;
	v2 ^= 0xee;
	ROUND();
	ROUND();
	ROUND();
	ROUND();
	put64(out, v0 ^ v1 ^ v2 ^ v3);
	v1 ^= 0xdd;
	ROUND();
	ROUND();
	ROUND();
	ROUND();
	put64(out + 8, v0 ^ v1 ^ v2 ^ v3);
}
