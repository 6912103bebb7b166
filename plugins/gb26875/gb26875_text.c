/*
 * gb26875_text.c - time labels, GB 18030, hex digits.
 *
 * The converter is opened once, in create(): later a sandbox may keep the decoder from opening files. Plain ASCII never
 * touches it.
 */
#include "gb26875.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>

#define TEXT_MOST 256 /* of a field: a length byte says 255 at most */

int gb_text_init(struct cw_decoder *d)
{
	iconv_t cd = iconv_open("UTF-8", "GB18030");

	if (cd == (iconv_t)-1)
		return CW_EIO;
	d->to_utf8 = cd;
	return 0;
}

void gb_text_fini(struct cw_decoder *d)
{
	if (d->to_utf8 != NULL)
		iconv_close((iconv_t)d->to_utf8);
	d->to_utf8 = NULL;
}

static int ascii(struct cw_bytes s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (s.ptr[i] >= 0x80)
			return 0;
	return 1;
}

/* One good UTF-8 character at p: its length, 0 when there is none. */
static size_t utf8_char(const uint8_t *p, size_t n)
{
	uint32_t v;
	size_t len, i;

	if (p[0] < 0x80)
		return 1;
	len = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
	if (len == 0 || len > n || p[0] >= 0xf5)
		return 0;
	v = p[0] & (0xffu >> (len + 1));
	for (i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3fu);
	}
	return (len == 3 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) || (len == 4 && (v < 0x10000 || v > 0x10ffff)) ? 0 : len;
}

/* 1 when all that is left is the beginning of a character. */
static int half_char(const uint8_t *p, size_t n)
{
	size_t need = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : 0, i;

	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n < need;
}

static size_t replace(char *to, size_t room)
{
	if (room < 3)
		return 0;
	memcpy(to, "\xef\xbf\xbd", 3);
	return 3;
}

/* Bytes that are said to be UTF-8: what is not is replaced, half a character at the end is dropped. */
static size_t clean_utf8(struct cw_bytes s, char *out, size_t size)
{
	size_t i = 0, n = 0, k;

	while (i < s.len && n + 4 <= size) {
		k = utf8_char(s.ptr + i, s.len - i);
		if (k > 0) {
			memcpy(out + n, s.ptr + i, k);
			n += k;
			i += k;
		} else if (half_char(s.ptr + i, s.len - i)) {
			break;
		} else {
			n += replace(out + n, size - n);
			i++;
		}
	}
	return n;
}

static size_t from_gb(struct cw_decoder *d, struct cw_bytes s, char *out, size_t size)
{
	char *in = (char *)(uintptr_t)s.ptr, *to = out;
	size_t left = s.len, room = size;

	iconv((iconv_t)d->to_utf8, NULL, NULL, NULL, NULL);
	while (left > 0 && iconv((iconv_t)d->to_utf8, &in, &left, &to, &room) == (size_t)-1) {
		/* EINVAL: the field ends in the middle of a character. */
		if (errno != EILSEQ || room < 3)
			break;
		room -= replace(to, room);
		to += 3;
		in++;
		left--;
		iconv((iconv_t)d->to_utf8, NULL, NULL, NULL, NULL);
	}
	return (size_t)(to - out);
}

void gb_put_text(struct cw_writer *w, struct cw_decoder *d, int utf8, struct cw_bytes s)
{
	char out[3 * TEXT_MOST];
	const uint8_t *nul = s.len > 0 ? memchr(s.ptr, 0, s.len) : NULL;
	size_t n, i;

	if (nul != NULL)
		s.len = (size_t)(nul - s.ptr);
	if (s.len > TEXT_MOST)
		s.len = TEXT_MOST;
	if (s.len > 0 && ascii(s)) {
		memcpy(out, s.ptr, s.len);
		n = s.len;
	} else {
		n = utf8 ? clean_utf8(s, out, sizeof(out)) : from_gb(d, s, out, sizeof(out));
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	for (i = 0; i < n; i++)
		if ((uint8_t)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = ' ';
	cw_put_textn(w, out, n);
}

void gb_hex(char *out, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = 0;
}

void gb_put_hex(struct cw_writer *w, struct cw_bytes b)
{
	size_t i;

	cw_put_head(w, 3, 2 * b.len);
	for (i = 0; i < b.len; i++) {
		char two[3];

		gb_hex(two, b.ptr + i, 1);
		cw_write_raw(w, two, 2);
	}
}

/* ---- time labels (8.2.2): second, minute, hour, day, month, year --------------- */

/* Days since 1970 of a date of the years 2000 to 2099, where every fourth year is a leap year. */
static int64_t days_of(int y, int m, int day)
{
	static const short before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };

	return 10957 + y * 365 + (y + 3) / 4 + before[m - 1] + (m > 2 && y % 4 == 0) + day - 1;
}

static int month_days(int y, int m)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[m - 1] + (m == 2 && y % 4 == 0);
}

int gb_time(const uint8_t *label, int bcd, int64_t *ret_ms)
{
	uint8_t v[6];
	int i;

	for (i = 0; i < 6; i++) {
		if (bcd && ((label[i] & 15) > 9 || label[i] > 0x99))
			return 0;
		v[i] = bcd ? (uint8_t)((label[i] >> 4) * 10 + (label[i] & 15)) : label[i];
	}
	if (v[0] > 59 || v[1] > 59 || v[2] > 23 || v[5] > 99 || v[4] < 1 || v[4] > 12 || v[3] < 1 || v[3] > month_days(v[5], v[4]))
		return 0;
	*ret_ms = (((days_of(v[5], v[4], v[3]) * 24 + v[2]) * 60 + v[1]) * 60 + v[0]) * 1000 - GB_ZONE_MS;
	return 1;
}

void gb_write_time(uint8_t label[6], int64_t utc_ms, int bcd)
{
	int64_t s = (utc_ms + GB_ZONE_MS) / 1000, days = s / 86400;
	int y, m = 1, i;

	if (days < days_of(0, 1, 1))
		days = days_of(0, 1, 1);
	for (y = 0; y < 99 && days_of(y + 1, 1, 1) <= days; y++)
		;
	while (m < 12 && days_of(y, m + 1, 1) <= days)
		m++;
	label[0] = (uint8_t)(s % 60);
	label[1] = (uint8_t)(s / 60 % 60);
	label[2] = (uint8_t)(s / 3600 % 24);
	label[3] = (uint8_t)(days - days_of(y, m, 1) + 1);
	label[4] = (uint8_t)m;
	label[5] = (uint8_t)y;
	for (i = 0; bcd && i < 6; i++)
		label[i] = (uint8_t)(label[i] / 10 << 4 | label[i] % 10);
}

void gb_put_iso(struct cw_writer *w, const uint8_t *label, int bcd)
{
	uint8_t v[6];
	char text[40];
	int64_t ms;

	if (!gb_time(label, bcd, &ms)) {
		cw_put_null(w);
		return;
	}
	gb_write_time(v, ms, 0);
	snprintf(text, sizeof(text), "20%02u-%02u-%02uT%02u:%02u:%02u+08:00", v[5], v[4], v[3], v[2], v[1], v[0]);
	cw_put_text(w, text);
}

void gb_put_date(struct cw_writer *w, const char *key, int64_t utc_ms)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)utc_ms);
	cw_field_text(w, key, text);
}

int gb_guess_bcd(const struct gb_conf *conf, const uint8_t *label, int64_t now_ms, int was)
{
	int64_t binary = 0, bcd = 0;
	int is_binary, is_bcd;

	if (conf->time_form != GB_TIME_AUTO)
		return conf->time_form == GB_TIME_BCD;
	is_binary = gb_time(label, 0, &binary);
	is_bcd = gb_time(label, 1, &bcd);
	if (!is_binary || !is_bcd)
		return is_binary ? 0 : is_bcd ? 1 : was;
	binary = binary > now_ms ? binary - now_ms : now_ms - binary;
	bcd = bcd > now_ms ? bcd - now_ms : now_ms - bcd;
	return bcd == binary ? was : bcd < binary;
}
