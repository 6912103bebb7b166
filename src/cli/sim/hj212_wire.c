/* hj212_wire.c - see hj212_wire.h. */
#include "cli/sim/hj212_wire.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

#define HEAD 6 /* ## and the length */
#define TAIL 6 /* checksum, CR LF */

/* Annex A: the register moves by a byte, then takes the next one in. */
uint16_t cw_sim_hj_crc(const char *p, size_t n)
{
	unsigned reg = 0xffff, bit;

	while (n-- > 0) {
		reg = reg >> 8 ^ (unsigned char)*p++;
		for (bit = 0; bit < 8; bit++) {
			unsigned out = reg & 1;

			reg >>= 1;
			if (out)
				reg ^= 0xa001;
		}
	}
	return (uint16_t)reg;
}

static void add(char *out, size_t *n, const char *key, const char *value)
{
	int k = value[0] == 0 ? 0 : snprintf(out + *n, CW_SIM_HJ_WIRE - TAIL - *n, "%s=%s;", key, value);

	cw_invariant(k >= 0 && *n + (size_t)k < CW_SIM_HJ_WIRE - TAIL);
	*n += (size_t)k;
}

size_t cw_sim_hj_frame(const struct cw_sim_hj *m, char out[CW_SIM_HJ_WIRE])
{
	size_t n = HEAD;
	char number[16];

	add(out, &n, "QN", m->qn);
	add(out, &n, "ST", m->st);
	add(out, &n, "CN", m->cn);
	add(out, &n, "PW", m->pw);
	add(out, &n, "MN", m->mn);
	add(out, &n, "Flag", m->flag);
	add(out, &n, "PNUM", m->pnum);
	add(out, &n, "PNO", m->pno);
	add(out, &n, "CP", m->cp);
	n--; /* nothing stands between CP and the checksum */
	cw_invariant(n - HEAD <= 1024);
	snprintf(number, sizeof(number), "##%04u", (unsigned)(n - HEAD));
	memcpy(out, number, HEAD);
	snprintf(number, sizeof(number), "%04X\r\n", (unsigned)cw_sim_hj_crc(out + HEAD, n - HEAD));
	memcpy(out + n, number, TAIL + 1);
	return n + TAIL;
}

/* One `key=value` of the segment into its place. */
static void keep(struct cw_sim_hj *m, const char *p, size_t n)
{
	const struct { const char *key; char *to; size_t size; } places[] = {
		{ "QN=", m->qn, sizeof(m->qn) }, { "ST=", m->st, sizeof(m->st) }, { "CN=", m->cn, sizeof(m->cn) }, { "PW=", m->pw, sizeof(m->pw) },
		{ "MN=", m->mn, sizeof(m->mn) }, { "Flag=", m->flag, sizeof(m->flag) }, { "PNUM=", m->pnum, sizeof(m->pnum) },
		{ "PNO=", m->pno, sizeof(m->pno) }, { "CP=", m->cp, sizeof(m->cp) },
	};
	size_t i, k;

	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		k = strlen(places[i].key);
		if (n < k || memcmp(p, places[i].key, k) != 0 || n - k >= places[i].size)
			continue;
		memcpy(places[i].to, p + k, n - k);
		places[i].to[n - k] = 0;
	}
}

long cw_sim_hj_parse(const char *in, size_t n, struct cw_sim_hj *ret)
{
	size_t len = 0, i, at, end;
	char sum[16];

	if (n < HEAD)
		return 0;
	for (i = 2; i < HEAD; i++) {
		if (in[0] != '#' || in[1] != '#' || in[i] < '0' || in[i] > '9')
			return -1;
		len = len * 10 + (size_t)(in[i] - '0');
	}
	if (len > 1024)
		return -1;
	if (n < HEAD + len + TAIL)
		return 0;
	end = HEAD + len;
	snprintf(sum, sizeof(sum), "%04X", (unsigned)cw_sim_hj_crc(in + HEAD, len));
	if (memcmp(in + end, sum, 4) != 0 || memcmp(in + end + 4, "\r\n", 2) != 0)
		return -1;
	memset(ret, 0, sizeof(*ret));
	for (at = HEAD; at < end; at = i + 1) {
		if (end - at > 3 && memcmp(in + at, "CP=", 3) == 0) {
			keep(ret, in + at, end - at);
			break;
		}
		for (i = at; i < end && in[i] != ';'; i++)
			;
		keep(ret, in + at, i - at);
	}
	return (long)(end + TAIL);
}

int cw_sim_hj_value(const struct cw_sim_hj *m, const char *name, char *out, size_t size)
{
	size_t k = strlen(name), n;
	const char *p = m->cp;

	for (p = strstr(p, name); p != NULL; p = strstr(p + 1, name)) {
		if (p[k] != '=' || (p != m->cp && strchr(";,&", p[-1]) == NULL))
			continue;
		n = strcspn(p + k + 1, ";,&");
		if (n >= size)
			return 0;
		memcpy(out, p + k + 1, n);
		out[n] = 0;
		return 1;
	}
	return 0;
}

void cw_sim_hj_time(int64_t utc_ms, int millis, char out[18])
{
	time_t s = (time_t)(utc_ms / 1000 + 8 * 3600);
	struct tm tm;

	gmtime_r(&s, &tm);
	cw_invariant(strftime(out, 18, "%Y%m%d%H%M%S", &tm) == 14);
	if (!millis)
		return;
	out[14] = (char)('0' + utc_ms / 100 % 10);
	out[15] = (char)('0' + utc_ms / 10 % 10);
	out[16] = (char)('0' + utc_ms % 10);
	out[17] = 0;
}
