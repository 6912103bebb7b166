/*
 * hj212_text.c - character sets, times, exact numbers.
 *
 * The converters are opened once, in create(): later a sandbox may keep the decoder from opening files.
 */
#include "hj212.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>

int hj_text_init(struct cw_decoder *d)
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

void hj_text_fini(struct cw_decoder *d)
{
	if (d->to_utf8 != NULL)
		iconv_close((iconv_t)d->to_utf8);
	if (d->to_gbk != NULL)
		iconv_close((iconv_t)d->to_gbk);
}

/* Bytes of the character at the front, 0: malformed. */
static size_t utf8_char(const uint8_t *p, size_t len)
{
	unsigned c = p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0, i;

	if (n == 0 || n > len)
		return 0;
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3 && ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0)))
		return 0;
	if (n == 4 && ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] >= 0x90)))
		return 0;
	return n;
}

int hj_utf8_valid(struct cw_bytes t)
{
	size_t i = 0, n;

	while (i < t.len) {
		n = utf8_char(t.ptr + i, t.len - i);
		if (n == 0)
			return 0;
		i += n;
	}
	return 1;
}

/* Into `to`, which has room for 3 bytes for each of the input's. What has no meaning becomes U+FFFD. */
static size_t from_gbk(struct cw_decoder *d, struct cw_bytes t, char *to, size_t room)
{
	char *in = (char *)(uintptr_t)t.ptr, *out = to;
	size_t left = t.len;

	iconv((iconv_t)d->to_utf8, NULL, NULL, NULL, NULL);
	while (left > 0 && iconv((iconv_t)d->to_utf8, &in, &left, &out, &room) == (size_t)-1) {
		if (errno == E2BIG || room < 3)
			break;
		memcpy(out, "\xef\xbf\xbd", 3);
		out += 3;
		room -= 3;
		in++;
		left--;
		iconv((iconv_t)d->to_utf8, NULL, NULL, NULL, NULL);
	}
	return (size_t)(out - to);
}

/* The same for bytes that should be UTF-8. */
static size_t mend_utf8(struct cw_bytes t, char *to)
{
	size_t i = 0, n, len = 0;

	while (i < t.len) {
		n = utf8_char(t.ptr + i, t.len - i);
		memcpy(to + len, n == 0 ? (const void *)"\xef\xbf\xbd" : t.ptr + i, n == 0 ? 3 : n);
		len += n == 0 ? 3 : n;
		i += n == 0 ? 1 : n;
	}
	return len;
}

void hj_put_text(struct cw_decoder *d, struct cw_writer *w, unsigned charset, struct cw_bytes t)
{
	size_t room = 3 * t.len, n;
	char *to;

	if (charset != 2 && hj_utf8_valid(t)) {
		cw_put_textn(w, (const char *)t.ptr, t.len);
		return;
	}
	/* Made behind the place of the head, then moved: how long the head is depends on the result. */
	if (w->overflow || room + 16 > w->size - w->len) {
		w->overflow = 1;
		return;
	}
	to = (char *)w->ptr + w->len + 9;
	n = charset == 1 ? mend_utf8(t, to) : from_gbk(d, t, to, room);
	cw_put_head(w, 3, n);
	memmove(w->ptr + w->len, to, n);
	w->len += n;
}

int hj_to_device(struct cw_decoder *d, int gbk, struct cw_bytes utf8, struct cw_writer *w)
{
	char *in = (char *)(uintptr_t)utf8.ptr, *out = (char *)w->ptr + w->len;
	size_t left = utf8.len, room = w->size - w->len;

	if (!gbk) {
		cw_write_bytes(w, utf8);
		return w->overflow ? CW_EINVAL : 0;
	}
	iconv((iconv_t)d->to_gbk, NULL, NULL, NULL, NULL);
	if (left > 0 && iconv((iconv_t)d->to_gbk, &in, &left, &out, &room) == (size_t)-1)
		return CW_EINVAL;
	w->len = w->size - room;
	return 0;
}

/* ---- times ------------------------------------------------------------------------------- */

int64_t hj_days(int64_t y, unsigned m, unsigned d)
{
	int64_t era;
	unsigned yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = (unsigned)(y - era * 400);
	doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
	return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static void civil(int64_t days, int *y, unsigned *m, unsigned *d)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097), yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = (int)(yoe + era * 400) + (*m <= 2);
}

static unsigned two(const uint8_t *p)
{
	return (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
}

int hj_time(struct cw_bytes t, int zone_min, int64_t *ret_ms)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	unsigned y, mo, day, h, mi, s;
	uint64_t v;

	if (t.len < 14 || t.len > 17 || !hj_digits(t, &v))
		return 0;
	y = two(t.ptr) * 100 + two(t.ptr + 2);
	mo = two(t.ptr + 4);
	day = two(t.ptr + 6);
	h = two(t.ptr + 8);
	mi = two(t.ptr + 10);
	s = two(t.ptr + 12);
	if (y < 1970 || mo < 1 || mo > 12 || day < 1 || h > 23 || mi > 59 || s > 59 ||
	    day > days[mo - 1] + (unsigned)(mo == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)))
		return 0;
	*ret_ms = (hj_days(y, mo, day) * 86400 + (int64_t)(h * 3600 + mi * 60 + s) - (int64_t)zone_min * 60) * 1000;
	return 1;
}

void hj_time_text(int64_t utc_ms, int zone_min, int millis, char out[18])
{
	int64_t ms = utc_ms + (int64_t)zone_min * 60000, day, rest;
	unsigned mo, d;
	char text[64];
	int y;

	if (ms < 0)
		ms = 0;
	day = ms / 86400000;
	rest = ms % 86400000;
	civil(day, &y, &mo, &d);
	snprintf(text, sizeof(text), "%04d%02u%02u%02d%02d%02d%03d", y % 10000, mo, d, (int)(rest / 3600000), (int)(rest / 60000 % 60),
	         (int)(rest / 1000 % 60), (int)(rest % 1000));
	memcpy(out, text, 17);
	out[millis ? 17 : 14] = 0;
}

/* ---- numbers ----------------------------------------------------------------------------- */

/* `E-05` at the end, as programs print small values; t.len is moved before it. 0: none, 99: none that can be. */
static int take_exponent(struct cw_bytes *t)
{
	size_t at = t->len, from;
	int v = 0, minus;

	while (at > 0 && t->ptr[at - 1] >= '0' && t->ptr[at - 1] <= '9')
		at--;
	from = at;
	minus = at > 0 && t->ptr[at - 1] == '-';
	at -= at > 0 && (minus || t->ptr[at - 1] == '+');
	if (at == 0 || (t->ptr[at - 1] | 32) != 'e' || from == t->len)
		return 0;
	for (; from < t->len && v < 99; from++)
		v = v * 10 + (t->ptr[from] - '0');
	t->len = at - 1;
	return v > 18 ? 99 : minus ? -v : v;
}

int hj_put_number(struct cw_writer *w, struct cw_bytes t)
{
	int64_t v = 0;
	size_t i = 0;
	int minus = 0, point = 0, digits = 0, used = 0, exponent = take_exponent(&t);

	if (t.len > 0 && (t.ptr[0] == '-' || t.ptr[0] == '+')) {
		minus = t.ptr[0] == '-';
		i++;
	}
	for (; i < t.len; i++) {
		uint8_t c = t.ptr[i];

		if (c == '.' && !point) {
			point = 1;
			continue;
		}
		if (c < '0' || c > '9')
			return 0;
		used += used > 0 || c != '0'; /* leading zeros need no room */
		if (used > 18)
			return 0;
		v = v * 10 + (c - '0');
		digits += point ? 1 : 0;
		if (digits > 18)
			return 0;
		minus |= 2; /* a digit was there */
	}
	exponent -= digits;
	if (!(minus & 2) || exponent > 18 || exponent < -18)
		return 0;
	v = minus & 1 ? -v : v;
	if (exponent != 0)
		cw_put_decimal(w, v, exponent);
	else
		cw_put_int(w, v);
	return 1;
}
