/* gb26875_wire.c - see gb26875_wire.h. */
#include "cli/sim/gb26875_wire.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void cw_gbsim_u8(struct cw_gbsim_unit *u, unsigned v)
{
	if (u->n == sizeof(u->b))
		abort();
	u->b[u->n++] = (uint8_t)v;
}

void cw_gbsim_u16(struct cw_gbsim_unit *u, unsigned v)
{
	cw_gbsim_u8(u, v & 0xff);
	cw_gbsim_u8(u, v >> 8 & 0xff);
}

void cw_gbsim_u32(struct cw_gbsim_unit *u, uint32_t v)
{
	cw_gbsim_u16(u, v & 0xffff);
	cw_gbsim_u16(u, v >> 16);
}

void cw_gbsim_fixed(struct cw_gbsim_unit *u, const char *text, size_t width)
{
	size_t n = strlen(text);

	while (width-- > 0) {
		cw_gbsim_u8(u, n > 0 ? (uint8_t)*text++ : 0);
		n -= n > 0;
	}
}

void cw_gbsim_time(struct cw_gbsim_unit *u, int64_t utc_ms)
{
	time_t t = (time_t)(utc_ms / 1000) + 8 * 3600;
	struct tm tm;

	gmtime_r(&t, &tm);
	cw_gbsim_u8(u, (unsigned)tm.tm_sec);
	cw_gbsim_u8(u, (unsigned)tm.tm_min);
	cw_gbsim_u8(u, (unsigned)tm.tm_hour);
	cw_gbsim_u8(u, (unsigned)tm.tm_mday);
	cw_gbsim_u8(u, (unsigned)tm.tm_mon + 1);
	cw_gbsim_u8(u, (unsigned)(tm.tm_year - 100));
}

void cw_gbsim_begin(struct cw_gbsim_unit *u, unsigned type, unsigned count)
{
	u->n = 0;
	cw_gbsim_u8(u, type);
	cw_gbsim_u8(u, count);
}

void cw_gbsim_system(struct cw_gbsim_unit *u, unsigned type, unsigned address)
{
	cw_gbsim_u8(u, type);
	cw_gbsim_u8(u, address);
}

void cw_gbsim_component(struct cw_gbsim_unit *u, unsigned system, unsigned address, unsigned type, uint32_t component)
{
	cw_gbsim_system(u, system, address);
	cw_gbsim_u8(u, type);
	cw_gbsim_u32(u, component);
}

int cw_gbsim_address(uint8_t to[6], const char *digits)
{
	static const char hex[] = "0123456789ABCDEFabcdef";
	size_t n = strlen(digits), i;

	if (n == 0 || n > 12 || strspn(digits, hex) != n)
		return -1;
	memset(to, 0, 6);
	for (i = 0; i < n; i++) {
		unsigned at = (unsigned)(12 - n + i), v = (unsigned)(strchr(hex, digits[i]) - hex);

		v = v > 15 ? v - 6 : v;
		to[at / 2] |= (uint8_t)(at % 2 ? v : v << 4);
	}
	return 0;
}

static unsigned sum_of(const uint8_t *p, size_t n)
{
	unsigned sum = 0;

	while (n-- > 0)
		sum += *p++;
	return sum & 0xff;
}

size_t cw_gbsim_make(const struct cw_gbsim_frame *f, uint8_t *out)
{
	size_t n = f->unit_len;

	if (n > CW_GBSIM_UNIT_MAX)
		abort();
	out[0] = out[1] = '@';
	out[2] = (uint8_t)f->serial;
	out[3] = (uint8_t)(f->serial >> 8);
	out[4] = (uint8_t)f->version_main;
	out[5] = (uint8_t)f->version_user;
	memcpy(out + 6, f->time, 6);
	memcpy(out + 12, f->source, 6);
	memcpy(out + 18, f->destination, 6);
	out[24] = (uint8_t)n;
	out[25] = (uint8_t)(n >> 8);
	out[26] = (uint8_t)f->command;
	if (n > 0)
		memcpy(out + 27, f->unit, n);
	out[27 + n] = (uint8_t)sum_of(out + 2, 25 + n);
	out[28 + n] = out[29 + n] = '#';
	return 30 + n;
}

int cw_gbsim_take(const uint8_t *in, size_t n, struct cw_gbsim_frame *f)
{
	size_t len;

	if ((n > 0 && in[0] != '@') || (n > 1 && in[1] != '@'))
		return -1;
	if (n < 27)
		return 0;
	len = (size_t)in[24] | (size_t)in[25] << 8;
	if (len > CW_GBSIM_UNIT_MAX)
		return -1;
	if (n < 30 + len)
		return 0;
	if (in[28 + len] != '#' || in[29 + len] != '#' || sum_of(in + 2, 25 + len) != in[27 + len])
		return -1;
	f->serial = (unsigned)in[2] | (unsigned)in[3] << 8;
	f->version_main = in[4];
	f->version_user = in[5];
	memcpy(f->time, in + 6, 6);
	memcpy(f->source, in + 12, 6);
	memcpy(f->destination, in + 18, 6);
	f->command = in[26];
	f->unit = in + 27;
	f->unit_len = len;
	return (int)(30 + len);
}
