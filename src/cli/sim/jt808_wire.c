#include "cli/sim/jt808_wire.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

void cw_sim_raw(struct cw_sim_body *o, const void *bytes, size_t n)
{
	cw_invariant(n <= sizeof(o->b) - o->n);
	if (n > 0)
		memcpy(o->b + o->n, bytes, n);
	o->n += n;
}

void cw_sim_u8(struct cw_sim_body *o, unsigned v)
{
	uint8_t b = (uint8_t)v;

	cw_sim_raw(o, &b, 1);
}

void cw_sim_u16(struct cw_sim_body *o, unsigned v)
{
	cw_sim_u8(o, v >> 8);
	cw_sim_u8(o, v);
}

void cw_sim_u32(struct cw_sim_body *o, uint32_t v)
{
	cw_sim_u16(o, v >> 16);
	cw_sim_u16(o, v & 0xffff);
}

void cw_sim_fixed(struct cw_sim_body *o, const char *text, size_t width)
{
	char field[64] = { 0 };
	size_t n = strlen(text);

	cw_invariant(width <= sizeof(field));
	memcpy(field, text, n < width ? n : width);
	cw_sim_raw(o, field, width);
}

void cw_sim_bcd_time(struct cw_sim_body *o, int64_t utc_ms)
{
	time_t t = (time_t)(utc_ms / 1000 + 8 * 3600);
	struct tm tm;
	int part[6], i;

	gmtime_r(&t, &tm);
	part[0] = tm.tm_year % 100;
	part[1] = tm.tm_mon + 1;
	part[2] = tm.tm_mday;
	part[3] = tm.tm_hour;
	part[4] = tm.tm_min;
	part[5] = tm.tm_sec;
	for (i = 0; i < 6; i++)
		cw_sim_u8(o, (unsigned)(part[i] / 10 << 4 | part[i] % 10));
}

int cw_sim_number_set(struct cw_sim_number *to, const char *digits, int wide)
{
	size_t n = strlen(digits), width = wide ? 20 : 12, i;

	while (n > width && *digits == '0') {
		digits++;
		n--;
	}
	if (n == 0 || n > width || strspn(digits, "0123456789") != n)
		return -1;
	memset(to, 0, sizeof(*to));
	to->wide = wide;
	for (i = 0; i < n; i++) {
		size_t at = width - n + i;

		to->bytes[at / 2] |= (uint8_t)((digits[i] - '0') << (at % 2 == 0 ? 4 : 0));
	}
	return 0;
}

static size_t put(uint8_t *out, size_t at, uint8_t byte)
{
	if (byte != 0x7e && byte != 0x7d) {
		out[at++] = byte;
		return at;
	}
	out[at++] = 0x7d;
	out[at++] = byte == 0x7e ? 2 : 1;
	return at;
}

size_t cw_sim_frame(const struct cw_sim_number *who, unsigned id, unsigned serial, unsigned total, unsigned index,
                    const uint8_t *body, size_t n, uint8_t *out)
{
	struct cw_sim_body head = { .n = 0 };
	uint8_t sum = 0;
	size_t at = 0, i;

	cw_sim_u16(&head, id);
	cw_sim_u16(&head, (unsigned)n | (total > 0 ? 1u << 13 : 0) | (who->wide ? 1u << 14 : 0));
	if (who->wide)
		cw_sim_u8(&head, 1);
	cw_sim_raw(&head, who->bytes, who->wide ? 10 : 6);
	cw_sim_u16(&head, serial);
	if (total > 0) {
		cw_sim_u16(&head, total);
		cw_sim_u16(&head, index);
	}
	out[at++] = 0x7e;
	for (i = 0; i < head.n; i++) {
		sum ^= head.b[i];
		at = put(out, at, head.b[i]);
	}
	for (i = 0; i < n; i++) {
		sum ^= body[i];
		at = put(out, at, body[i]);
	}
	at = put(out, at, sum);
	out[at++] = 0x7e;
	return at;
}

int cw_sim_parse(const struct cw_sim_number *who, uint8_t *b, size_t n, struct cw_sim_frame *ret)
{
	size_t number = who->wide ? 10 : 6, head = number + (who->wide ? 7 : 6), k = 0, i;
	unsigned sum = 0, attr;

	for (i = 0; i < n; i++, k++) {
		b[k] = b[i];
		if (b[i] == 0x7d) {
			if (++i >= n || b[i] < 1 || b[i] > 2)
				return -1;
			b[k] = (uint8_t)(0x7c + b[i]);
		}
		sum ^= b[k];
	}
	if (sum != 0 || k < head + 1)
		return -1;
	attr = (unsigned)(b[2] << 8 | b[3]);
	if (((attr >> 14) & 1) != (unsigned)who->wide || memcmp(b + head - 2 - number, who->bytes, number) != 0)
		return -1;
	memset(ret, 0, sizeof(*ret));
	ret->id = (unsigned)(b[0] << 8 | b[1]);
	ret->serial = (unsigned)(b[head - 2] << 8 | b[head - 1]);
	if (attr & 0x2000) {
		if (k < head + 5)
			return -1;
		ret->total = (unsigned)(b[head] << 8 | b[head + 1]);
		ret->index = (unsigned)(b[head + 2] << 8 | b[head + 3]);
		head += 4;
	}
	ret->body = b + head;
	ret->n = k - head - 1;
	return ret->n == (attr & 0x3ff) ? 0 : -1;
}

void cw_sim_register(struct cw_sim_body *o, int wide, unsigned province, unsigned city, const char *maker, const char *model,
                     const char *terminal, unsigned color, const char *plate_gbk)
{
	cw_sim_u16(o, province);
	cw_sim_u16(o, city);
	cw_sim_fixed(o, maker, wide ? 11 : 5);
	cw_sim_fixed(o, model, wide ? 30 : 20);
	cw_sim_fixed(o, terminal, wide ? 30 : 7);
	cw_sim_u8(o, color);
	cw_sim_raw(o, plate_gbk, strlen(plate_gbk));
}

void cw_sim_auth(struct cw_sim_body *o, int wide, const char *code, const char *imei, const char *version)
{
	if (wide)
		cw_sim_u8(o, (unsigned)strlen(code));
	cw_sim_raw(o, code, strlen(code));
	if (wide) {
		cw_sim_fixed(o, imei, 15);
		cw_sim_fixed(o, version, 20);
	}
}

static uint32_t micro(double degrees)
{
	return (uint32_t)((degrees < 0 ? -degrees : degrees) * 1e6 + 0.5);
}

void cw_sim_location(struct cw_sim_body *o, const struct cw_sim_place *p, int items)
{
	cw_sim_u32(o, p->alarm);
	cw_sim_u32(o, p->status | (p->latitude < 0 ? 4u : 0) | (p->longitude < 0 ? 8u : 0));
	cw_sim_u32(o, micro(p->latitude));
	cw_sim_u32(o, micro(p->longitude));
	cw_sim_u16(o, p->altitude);
	cw_sim_u16(o, p->speed);
	cw_sim_u16(o, p->direction);
	cw_sim_bcd_time(o, p->utc_ms);
	if (!items)
		return;
	cw_sim_u8(o, 0x01);
	cw_sim_u8(o, 4);
	cw_sim_u32(o, p->mileage);
	cw_sim_u8(o, 0x02);
	cw_sim_u8(o, 2);
	cw_sim_u16(o, p->fuel);
	cw_sim_u8(o, 0x30);
	cw_sim_u8(o, 1);
	cw_sim_u8(o, 25);
	cw_sim_u8(o, 0x31);
	cw_sim_u8(o, 1);
	cw_sim_u8(o, 12);
}

void cw_sim_attributes(struct cw_sim_body *o, int wide)
{
	cw_sim_u16(o, 0x0004);
	cw_sim_fixed(o, "CWSIM", 5);
	cw_sim_fixed(o, "SIM-808", wide ? 30 : 20);
	cw_sim_fixed(o, "S000001", wide ? 30 : 7);
	cw_sim_raw(o, "\x89\x86\x00\x00\x00\x00\x00\x00\x00\x01", 10);
	cw_sim_u8(o, 3);
	cw_sim_raw(o, "1.0", 3);
	cw_sim_u8(o, 3);
	cw_sim_raw(o, "2.0", 3);
	cw_sim_u8(o, 3);
	cw_sim_u8(o, 0x20);
}

void cw_sim_driver(struct cw_sim_body *o, int wide, int64_t utc_ms)
{
	cw_sim_u8(o, 1);
	cw_sim_bcd_time(o, utc_ms);
	cw_sim_u8(o, 0);
	cw_sim_u8(o, 6);
	cw_sim_raw(o, "DRIVER", 6);
	cw_sim_fixed(o, "L-1234567890", 20);
	cw_sim_u8(o, 6);
	cw_sim_raw(o, "ISSUER", 6);
	cw_sim_raw(o, "\x20\x30\x12\x31", 4);
	if (wide)
		cw_sim_fixed(o, "310115199001010010", 20);
}

void cw_sim_key(struct cw_sim_body *o)
{
	unsigned i;

	cw_sim_u32(o, 65537);
	for (i = 1; i <= 128; i++)
		cw_sim_u8(o, i);
}
