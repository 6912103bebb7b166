/* modbus_value.c - numbers and texts in registers; see modbus_value.h. */
#include "modbus_value.h"
#include "modbus_wide.h"

#include <math.h> /* isfinite(), fabs(): nothing that needs the library */
#include <stdio.h>
#include <stdlib.h>

/* ---- decimals --------------------------------------------------------------------------------- */

static double to_double(struct mb_dec d)
{
	double v = (double)d.m;

	for (; d.e > 0; d.e--)
		v *= 10;
	if (d.e < 0) {
		double divisor = 10; /* one division: powers of ten up to 10^22 are exact */

		while (++d.e < 0)
			divisor *= 10;
		v /= divisor;
	}
	return v;
}

/* m x 10^n; 0 when it does not fit. */
static int shift(struct wide *m, int n)
{
	for (; n > 0 && !wide_zero(m); n--)
		if (!wide_mul_small(m, 10, 0))
			return 0;
	return 1;
}

/* Drop n digits, rounding half away from zero. */
static struct wide drop(struct wide m, int n)
{
	int minus = m.minus;
	uint32_t last = 0;

	for (; n > 0; n--)
		last = wide_div_small(&m, 10);
	if (last >= 5)
		wide_add_abs(&m, &(struct wide){ 0, { 1, 0, 0, 0 } });
	m.minus = minus && !wide_zero(&m);
	return m;
}

/* To 64 bits and an exponent that record.h takes; 0: not representable. */
static int narrow(struct wide m, int e, struct mb_dec *ret)
{
	struct wide more = m;

	while (e > 0 && !wide_zero(&m) && wide_mul_small(&more, 10, 0) && wide_to_i64(&more, &ret->m)) {
		m = more;
		e--;
	}
	while ((e < -18 || !wide_to_i64(&m, &ret->m)) && e < 18) {
		m = drop(m, 1);
		e++;
	}
	if (!wide_to_i64(&m, &ret->m) || (e > 18 && ret->m != 0))
		return 0;
	ret->e = ret->m == 0 && e > 0 ? 0 : e;
	return 1;
}

int mb_dec_of_text(struct cw_bytes t, struct mb_dec *ret)
{
	size_t i = 0, seen = 0;
	int minus, dot = 0, e = 0, x = 0, xminus;
	struct wide m = { 0, { 0, 0, 0, 0 } };

	minus = t.len > 0 && t.ptr[0] == '-';
	if (t.len > 0 && (t.ptr[0] == '-' || t.ptr[0] == '+'))
		i++;
	for (; i < t.len && t.ptr[i] != 'e' && t.ptr[i] != 'E'; i++) {
		if (t.ptr[i] == '.' && !dot) {
			dot = 1;
			continue;
		}
		if (t.ptr[i] < '0' || t.ptr[i] > '9' || !wide_mul_small(&m, 10, (uint32_t)(t.ptr[i] - '0')))
			return 0;
		e -= dot;
		seen++;
	}
	if (i < t.len) {
		i++;
		xminus = i < t.len && t.ptr[i] == '-';
		if (i < t.len && (t.ptr[i] == '-' || t.ptr[i] == '+'))
			i++;
		if (i == t.len)
			return 0;
		for (; i < t.len; i++) {
			if (t.ptr[i] < '0' || t.ptr[i] > '9' || x > 400)
				return 0;
			x = x * 10 + (t.ptr[i] - '0');
		}
		e += xminus ? -x : x;
	}
	return seen > 0 && narrow(minus ? wide_negate(m) : m, e, ret);
}

/* The shortest digits that read back as the same float or double. */
int mb_dec_of_double(double v, int is_float, struct mb_dec *ret)
{
	char text[40];
	int digits, n = 0;
	struct mb_dec d;

	if (!isfinite(v))
		return 0;
	for (digits = is_float ? 6 : 15; digits <= (is_float ? 9 : 17); digits++) {
		n = snprintf(text, sizeof(text), "%.*e", digits - 1, v);
		if (is_float ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v)
			break;
	}
	if (!mb_dec_of_text(cw_bytes_of(text, (size_t)n), &d))
		return 0;
	while (d.e < 0 && d.m % 10 == 0) {
		d.m /= 10;
		d.e++;
	}
	if (fabs(v) < 0.01 && v != 0) { /* digits below 10^-18 have been lost */
		(void)snprintf(text, sizeof(text), "%llde%d", (long long)d.m, d.e);
		if (is_float ? strtof(text, NULL) != (float)v : strtod(text, NULL) != v)
			return 0;
	}
	*ret = d;
	return 1;
}

int mb_dec_of_item(const struct cw_item *it, struct mb_dec *ret)
{
	switch (it->type) {
	case CW_ITEM_INT:
	case CW_ITEM_BOOL:
		ret->m = it->i;
		ret->e = 0;
		return 1;
	case CW_ITEM_UINT: return narrow(wide_of_u64(it->u), 0, ret);
	case CW_ITEM_DECIMAL:
		ret->m = it->i;
		ret->e = it->exponent;
		return 1;
	case CW_ITEM_DOUBLE: return mb_dec_of_double(it->d, 0, ret);
	default: return 0;
	}
}

/* Both at the smaller exponent; 0 when that does not fit. */
static int align(struct mb_dec a, struct mb_dec b, struct wide *ra, struct wide *rb, int *ret_e)
{
	*ra = wide_of(a.m);
	*rb = wide_of(b.m);
	*ret_e = a.e < b.e ? a.e : b.e;
	return shift(ra, a.e - *ret_e) && shift(rb, b.e - *ret_e);
}

int mb_dec_compare(struct mb_dec a, struct mb_dec b)
{
	struct wide x, y;
	int e;

	if (!align(a, b, &x, &y, &e))
		return to_double(a) < to_double(b) ? -1 : 1;
	return wide_compare(&x, &y);
}

/* ---- values -------------------------------------------------------------------------------------- */

static int number_of(const struct mb_value *v, struct mb_dec *ret)
{
	if (v->kind == MB_V_INT || v->kind == MB_V_DEC || v->kind == MB_V_BOOL)
		*ret = v->dec;
	else if (v->kind == MB_V_UINT)
		return narrow(wide_of_u64(v->u), 0, ret);
	else
		return 0;
	return 1;
}

int mb_value_equal(const struct mb_value *a, const struct mb_value *b)
{
	struct mb_dec x, y;

	if (a->kind == MB_V_TEXT || b->kind == MB_V_TEXT)
		return a->kind == b->kind && cw_bytes_equal(a->text, b->text);
	if (a->kind == MB_V_DOUBLE || b->kind == MB_V_DOUBLE)
		return a->kind == b->kind && !(a->d < b->d) && !(a->d > b->d);
	if (a->kind == MB_V_UINT && b->kind == MB_V_UINT)
		return a->u == b->u;
	return number_of(a, &x) && number_of(b, &y) && mb_dec_compare(x, y) == 0;
}

int mb_moved(const struct mb_value *a, const struct mb_value *b, struct mb_dec band)
{
	struct mb_dec x, y;
	struct wide p, q, r, s;
	int e;

	if (mb_value_equal(a, b))
		return 0;
	if (a->kind == MB_V_BOOL || b->kind == MB_V_BOOL || band.m == 0)
		return 1;
	if (a->kind == MB_V_DOUBLE && b->kind == MB_V_DOUBLE)
		return fabs(a->d - b->d) >= to_double(band);
	if (!number_of(a, &x) || !number_of(b, &y) || !align(x, y, &p, &q, &e))
		return 1;
	s = wide_add(p, wide_negate(q));
	r = wide_of(band.m);
	if (!shift(&s, e - band.e) || !shift(&r, band.e - e))
		return 1;
	return wide_compare_abs(&s, &r) >= 0;
}

void mb_put_value(struct cw_writer *w, const struct mb_value *v)
{
	switch (v->kind) {
	case MB_V_BOOL: cw_put_bool(w, v->dec.m != 0); break;
	case MB_V_INT: cw_put_int(w, v->dec.m); break;
	case MB_V_UINT: cw_put_uint(w, v->u); break;
	case MB_V_DEC: cw_put_decimal(w, v->dec.m, v->dec.e); break;
	case MB_V_DOUBLE: cw_put_double(w, v->d); break;
	case MB_V_TEXT: cw_put_textn(w, (const char *)v->text.ptr, v->text.len); break;
	default: cw_put_null(w); break;
	}
}

int mb_value_is(const struct mb_value *v, struct cw_bytes text)
{
	struct mb_dec want, have;

	if (v->kind == MB_V_TEXT)
		return cw_bytes_equal(v->text, text);
	if (v->kind == MB_V_BOOL && (cw_bytes_equal(text, cw_bytes_text("true")) || cw_bytes_equal(text, cw_bytes_text("false"))))
		return (text.ptr[0] == 't') == (v->dec.m != 0);
	return number_of(v, &have) && mb_dec_of_text(text, &want) && mb_dec_compare(have, want) == 0;
}

/* ---- byte orders ------------------------------------------------------------------------------------ */

unsigned mb_type_registers(enum mb_type t)
{
	switch (t) {
	case MB_INT32:
	case MB_UINT32:
	case MB_FLOAT32:
	case MB_BCD32: return 2;
	case MB_INT64:
	case MB_UINT64:
	case MB_FLOAT64: return 4;
	case MB_STRING:
	case MB_BYTES: return 0;
	default: return 1;
	}
}

int mb_order_of(struct cw_bytes text, unsigned bytes, enum mb_order *ret)
{
	static const struct { const char *name; unsigned bytes; enum mb_order order; } names[] = {
		{ "AB", 2, MB_ABCD }, { "BA", 2, MB_DCBA },
		{ "ABCD", 4, MB_ABCD }, { "CDAB", 4, MB_CDAB }, { "BADC", 4, MB_BADC }, { "DCBA", 4, MB_DCBA },
		{ "ABCDEFGH", 8, MB_ABCD }, { "GHEFCDAB", 8, MB_CDAB }, { "BADCFEHG", 8, MB_BADC }, { "HGFEDCBA", 8, MB_DCBA },
		{ "CDABGHEF", 8, MB_CDABGHEF }, { "EFGHABCD", 8, MB_EFGHABCD },
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!cw_bytes_equal(text, cw_bytes_text(names[i].name)))
			continue;
		/* Four letters say the same of every size; two and eight only of their own. */
		if (names[i].bytes != 4 && names[i].bytes != bytes)
			return -1;
		*ret = names[i].order;
		return 0;
	}
	return -1;
}

/* Which byte of the value stands at place k on the wire; its own inverse. */
static unsigned place(enum mb_order order, unsigned bytes, unsigned k)
{
	switch (order) {
	case MB_CDAB: return (bytes / 2 - 1 - k / 2) * 2 + k % 2;
	case MB_BADC: return k ^ 1;
	case MB_DCBA: return bytes - 1 - k;
	case MB_CDABGHEF: return k ^ 2;
	case MB_EFGHABCD: return k ^ 4;
	default: return k;
	}
}

static uint64_t gather(const struct mb_point *p, const uint8_t *wire, unsigned bytes)
{
	uint64_t v = 0;
	unsigned k;

	for (k = 0; k < bytes; k++)
		v |= (uint64_t)wire[k] << (8 * (bytes - 1 - place(p->order, bytes, k)));
	return v;
}

static void scatter(const struct mb_point *p, uint64_t v, uint8_t *wire, unsigned bytes)
{
	unsigned k;

	for (k = 0; k < bytes; k++)
		wire[k] = (uint8_t)(v >> (8 * (bytes - 1 - place(p->order, bytes, k))));
}

/* ---- texts --------------------------------------------------------------------------------------------- */

/* How far `b` is UTF-8 without control characters: all of it, or not. */
static int is_utf8(struct cw_bytes b)
{
	size_t i = 0;

	while (i < b.len) {
		uint8_t c = b.ptr[i];
		unsigned more = c < 0x80 ? 0 : c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 9, k;

		if (more == 9 || i + more >= b.len)
			return 0;
		for (k = 1; k <= more; k++)
			if ((b.ptr[i + k] & 0xc0) != 0x80)
				return 0;
		if ((c == 0xe0 && b.ptr[i + 1] < 0xa0) || (c == 0xed && b.ptr[i + 1] > 0x9f) || (c == 0xf0 && b.ptr[i + 1] < 0x90) ||
		    (c == 0xf4 && b.ptr[i + 1] > 0x8f))
			return 0;
		i += more + 1;
	}
	return 1;
}

static size_t put_hex(struct cw_bytes b, char *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < b.len && i * 2 + 1 < size; i++) {
		out[i * 2] = hex[b.ptr[i] >> 4];
		out[i * 2 + 1] = hex[b.ptr[i] & 15];
	}
	return i * 2;
}

static size_t convert(iconv_t cd, struct cw_bytes in, char *out, size_t size)
{
	char *from = (char *)(uintptr_t)in.ptr, *to = out;
	size_t left = in.len, room = size;

	(void)iconv(cd, NULL, NULL, NULL, NULL);
	return iconv(cd, &from, &left, &to, &room) == (size_t)-1 ? 0 : size - room;
}

static size_t unpack(const struct mb_point *p, struct cw_bytes wire, uint8_t *out)
{
	size_t i, n = 0;

	for (i = 0; i + 1 < wire.len && n < p->length; i += 2) {
		switch (p->packing) {
		case MB_LOW_BYTE: out[n++] = wire.ptr[i + 1]; break;
		case MB_HIGH_BYTE: out[n++] = wire.ptr[i]; break;
		case MB_LOW_FIRST:
			out[n++] = wire.ptr[i + 1];
			out[n++] = wire.ptr[i];
			break;
		default:
			out[n++] = wire.ptr[i];
			out[n++] = wire.ptr[i + 1];
			break;
		}
	}
	return n < p->length ? n : p->length;
}

static void read_text(const struct mb_charsets *cs, const struct mb_point *p, struct cw_bytes wire, char *text, size_t size, struct mb_value *ret)
{
	uint8_t raw[MB_STRING_MAX + 2];
	size_t n = unpack(p, wire, raw), out = 0;
	const uint8_t *nul;

	ret->kind = MB_V_TEXT;
	if (p->type == MB_BYTES) {
		ret->text = cw_bytes_of(text, put_hex(cw_bytes_of(raw, n), text, size));
		return;
	}
	nul = memchr(raw, 0, n);
	if (nul != NULL)
		n = (size_t)(nul - raw);
	while (p->trim && n > 0 && raw[n - 1] == ' ')
		n--;
	if (p->charset == MB_GBK)
		out = convert(cs->from_gbk, cw_bytes_of(raw, n), text, size);
	else if (p->charset == MB_UTF8 && is_utf8(cw_bytes_of(raw, n)) && n <= size)
		memcpy(text, raw, out = n);
	if (out == 0 && n > 0)
		out = put_hex(cw_bytes_of(raw, n), text, size); /* not in that character set */
	ret->text = cw_bytes_of(text, out);
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

/* value x scale + offset, rounded to the point's decimals. */
static void scaled(const struct mb_point *p, struct mb_dec raw, struct mb_value *ret)
{
	struct wide m = wide_mul(raw.m, p->scale.m), o = wide_of(p->offset.m);
	int e = raw.e + p->scale.e, low = e < p->offset.e ? e : p->offset.e;

	ret->kind = MB_V_NONE;
	if (!shift(&m, e - low) || !shift(&o, p->offset.e - low))
		return;
	m = wide_add(m, o);
	e = low;
	if (p->decimals >= 0 && e < -p->decimals) {
		m = drop(m, -e - p->decimals);
		e = -p->decimals;
	} else if (p->decimals > 0 && e > -p->decimals && e <= 0 && shift(&m, p->decimals + e)) {
		e = -p->decimals; /* 230 with one decimal is 230.0 */
	}
	if (!narrow(m, e, &ret->dec))
		return;
	ret->kind = ret->dec.e == 0 ? MB_V_INT : MB_V_DEC;
}

static void read_float(const struct mb_point *p, uint64_t raw, struct mb_value *ret)
{
	double v;

	if (p->type == MB_FLOAT32) {
		uint32_t bits = (uint32_t)raw;
		float f;

		memcpy(&f, &bits, sizeof(f));
		v = (double)f;
	} else {
		memcpy(&v, &raw, sizeof(v));
	}
	ret->kind = MB_V_NONE;
	if (!isfinite(v))
		return;
	if (mb_dec_of_double(v, p->type == MB_FLOAT32, &ret->dec)) {
		ret->kind = ret->dec.e == 0 ? MB_V_INT : MB_V_DEC;
		if (p->scaled)
			scaled(p, ret->dec, ret);
	}
	if (ret->kind == MB_V_NONE) { /* too large or small for a decimal */
		ret->d = v * to_double(p->scale) + to_double(p->offset);
		ret->kind = isfinite(ret->d) ? MB_V_DOUBLE : MB_V_NONE;
	}
}

/* Nibbles as digits; -1: one is above 9. */
static int64_t bcd(uint64_t raw, unsigned nibbles)
{
	int64_t v = 0;

	while (nibbles-- > 0) {
		unsigned digit = raw >> (4 * nibbles) & 15;

		if (digit > 9)
			return -1;
		v = v * 10 + digit;
	}
	return v;
}

static int64_t signed_of(enum mb_type t, uint64_t raw)
{
	switch (t) {
	case MB_INT16: return (int16_t)raw;
	case MB_INT32: return (int32_t)raw;
	default: return (int64_t)raw;
	}
}

static int mapped(const struct mb_point *p, int64_t raw, struct mb_value *ret)
{
	unsigned i;

	for (i = 0; i < p->map_count; i++) {
		if (p->map[i].raw != raw)
			continue;
		ret->kind = MB_V_TEXT;
		ret->text = p->map[i].text;
		if (p->map_number) {
			ret->dec = p->map[i].number;
			ret->kind = ret->dec.e == 0 ? MB_V_INT : MB_V_DEC;
		}
		return 1;
	}
	return 0;
}

/* asText: a number whose digits a JSON number would lose. */
static void as_text(struct mb_value *v, char *text, size_t size)
{
	int n;

	if (v->kind == MB_V_INT)
		n = snprintf(text, size, "%lld", (long long)v->dec.m);
	else if (v->kind == MB_V_UINT)
		n = snprintf(text, size, "%llu", (unsigned long long)v->u);
	else
		return;
	v->kind = MB_V_TEXT;
	v->text = cw_bytes_of(text, (size_t)n);
}

static void read_bit(const struct mb_point *p, int on, struct mb_value *ret)
{
	if (mapped(p, on, ret))
		return;
	ret->kind = p->as_number ? MB_V_INT : MB_V_BOOL;
	ret->dec.m = on;
	ret->dec.e = 0;
}

void mb_point_read(const struct mb_charsets *cs, const struct mb_point *p, struct cw_bytes wire, char *text, size_t size, struct mb_value *ret)
{
	unsigned bytes = mb_type_registers(p->type) * 2;
	uint64_t raw;

	memset(ret, 0, sizeof(*ret));
	if (p->type == MB_BOOL) {
		if (wire.len > 0)
			read_bit(p, wire.ptr[0] & 1, ret);
		return;
	}
	if (bytes == 0) {
		read_text(cs, p, wire, text, size, ret);
		return;
	}
	if (wire.len < bytes)
		return;
	raw = gather(p, wire.ptr, bytes);
	if (p->type == MB_BIT) {
		read_bit(p, (int)(raw >> p->bit & 1), ret);
		return;
	}
	if (p->type == MB_FLOAT32 || p->type == MB_FLOAT64) {
		read_float(p, raw, ret);
		return;
	}
	if (p->type == MB_UINT64 && raw > INT64_MAX) {
		ret->kind = MB_V_UINT;
		ret->u = raw;
		if (p->scaled) {
			struct mb_dec d;

			if (narrow(wide_of_u64(raw), 0, &d))
				scaled(p, d, ret);
		}
	} else {
		ret->dec.m = p->type == MB_BCD16 || p->type == MB_BCD32 ? bcd(raw, bytes * 2) : signed_of(p->type, raw);
		ret->kind = MB_V_INT;
		if (ret->dec.m < 0 && (p->type == MB_BCD16 || p->type == MB_BCD32)) {
			ret->kind = MB_V_NONE;
			return;
		}
		if (mapped(p, ret->dec.m, ret))
			return;
		if (p->scaled)
			scaled(p, ret->dec, ret);
	}
	if (p->as_text)
		as_text(ret, text, size);
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

const char *mb_refused_name(enum mb_refused r)
{
	static const char *const names[] = { "", "type", "range", "read-only" };

	return names[r];
}

/* (value - offset) / scale, rounded half away from zero. 0: it has no such raw number. */
static int unscaled(const struct mb_point *p, struct mb_dec v, struct wide *ret)
{
	struct wide a, b, d = wide_of(p->scale.m);
	int e, up;

	if (!align(v, p->offset, &a, &b, &e))
		return 0;
	a = wide_add(a, wide_negate(b));
	up = e - p->scale.e;
	if (up >= 0 ? !shift(&a, up) : !shift(&d, -up))
		return 0;
	*ret = wide_div(a, d);
	return 1;
}

/* The bits of a raw number; 0: the type does not have it. */
static int fits(enum mb_type t, const struct wide *w, uint64_t *ret)
{
	int64_t v = 0;

	if (t == MB_UINT64)
		return wide_to_u64(w, ret);
	if (!wide_to_i64(w, &v))
		return 0;
	*ret = (uint64_t)v;
	switch (t) {
	case MB_INT16: return v >= INT16_MIN && v <= INT16_MAX;
	case MB_UINT16: return v >= 0 && v <= UINT16_MAX;
	case MB_INT32: return v >= INT32_MIN && v <= INT32_MAX;
	case MB_UINT32: return v >= 0 && v <= UINT32_MAX;
	case MB_INT64: return 1;
	case MB_BCD16: return v >= 0 && v <= 9999;
	default: return v >= 0 && v <= 99999999;
	}
}

static uint64_t to_bcd(uint64_t v)
{
	uint64_t out = 0;
	unsigned at;

	for (at = 0; v > 0; at += 4, v /= 10)
		out |= v % 10 << at;
	return out;
}

static enum mb_refused write_float(const struct mb_point *p, struct mb_dec v, uint8_t *wire)
{
	double d = (to_double(v) - to_double(p->offset)) / to_double(p->scale);
	uint64_t raw;

	if (!p->scaled) { /* the nearest double of exactly these digits */
		char text[48];

		(void)snprintf(text, sizeof(text), "%llde%d", (long long)v.m, v.e);
		d = strtod(text, NULL);
	}
	if (p->type == MB_FLOAT32) {
		float f = (float)d;
		uint32_t bits;

		if (!isfinite(f))
			return MB_NOT_RANGE;
		memcpy(&bits, &f, sizeof(bits));
		scatter(p, bits, wire, 4);
		return MB_TAKEN;
	}
	if (!isfinite(d))
		return MB_NOT_RANGE;
	memcpy(&raw, &d, sizeof(raw));
	scatter(p, raw, wire, 8);
	return MB_TAKEN;
}

static enum mb_refused pack(const struct mb_point *p, struct cw_bytes s, uint8_t *wire, size_t *ret_len)
{
	size_t i;

	*ret_len = p->count * 2u;
	memset(wire, 0, *ret_len);
	if (s.len > p->length)
		return MB_NOT_RANGE;
	for (i = 0; i < s.len; i++) {
		switch (p->packing) {
		case MB_LOW_BYTE: wire[i * 2 + 1] = s.ptr[i]; break;
		case MB_HIGH_BYTE: wire[i * 2] = s.ptr[i]; break;
		case MB_LOW_FIRST: wire[i ^ 1] = s.ptr[i]; break;
		default: wire[i] = s.ptr[i]; break;
		}
	}
	return MB_TAKEN;
}

static int nibble(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum mb_refused write_text(const struct mb_charsets *cs, const struct mb_point *p, struct cw_bytes s, uint8_t *wire, size_t *ret_len)
{
	uint8_t raw[MB_STRING_MAX + 2];
	size_t i, n = 0;

	if (p->type == MB_BYTES || p->charset == MB_HEX) {
		if (s.len % 2 != 0 || s.len / 2 > p->length)
			return MB_NOT_RANGE;
		for (i = 0; i < s.len; i += 2) {
			int high = nibble(s.ptr[i]), low = nibble(s.ptr[i + 1]);

			if (high < 0 || low < 0)
				return MB_NOT_TYPE;
			raw[n++] = (uint8_t)(high << 4 | low);
		}
		return pack(p, cw_bytes_of(raw, n), wire, ret_len);
	}
	if (p->charset == MB_GBK) {
		n = convert(cs->to_gbk, s, (char *)raw, p->length);
		return n == 0 && s.len > 0 ? MB_NOT_RANGE : pack(p, cw_bytes_of(raw, n), wire, ret_len);
	}
	return pack(p, s, wire, ret_len);
}

/* A text or number that the map knows, as the raw value. */
static int unmapped(const struct mb_point *p, const struct cw_item *it, int64_t *ret)
{
	struct mb_dec d;
	unsigned i;

	for (i = 0; i < p->map_count; i++) {
		if (it->type == CW_ITEM_TEXT ? cw_bytes_equal(p->map[i].text, it->s)
		                             : p->map_number && mb_dec_of_item(it, &d) && mb_dec_compare(d, p->map[i].number) == 0) {
			*ret = p->map[i].raw;
			return 1;
		}
	}
	return 0;
}

static enum mb_refused write_bit(const struct mb_point *p, const struct cw_item *it, uint8_t *wire, size_t *ret_len)
{
	struct mb_dec d;
	int64_t raw;

	*ret_len = 1;
	if (p->map_count > 0 && unmapped(p, it, &raw)) {
		wire[0] = raw != 0;
		return MB_TAKEN;
	}
	if (it->type == CW_ITEM_TEXT || !mb_dec_of_item(it, &d))
		return p->map_count > 0 && it->type == CW_ITEM_TEXT ? MB_NOT_RANGE : MB_NOT_TYPE;
	if (mb_dec_compare(d, (struct mb_dec){ 0, 0 }) != 0 && mb_dec_compare(d, (struct mb_dec){ 1, 0 }) != 0)
		return MB_NOT_RANGE;
	wire[0] = d.m != 0;
	return MB_TAKEN;
}

static int number_for(const struct mb_point *p, const struct cw_item *it, struct mb_dec *ret)
{
	if (it->type == CW_ITEM_TEXT && p->as_text)
		return mb_dec_of_text(it->s, ret);
	return it->type != CW_ITEM_BOOL && mb_dec_of_item(it, ret);
}

static enum mb_refused write_number(const struct mb_point *p, const struct cw_item *it, uint8_t *wire)
{
	unsigned bytes = mb_type_registers(p->type) * 2;
	struct mb_dec v;
	struct wide raw;
	int64_t known;
	uint64_t bits;

	if (p->map_count > 0 && unmapped(p, it, &known)) {
		raw = wide_of(known);
	} else if (it->type == CW_ITEM_UINT && !p->scaled && p->type != MB_FLOAT32 && p->type != MB_FLOAT64) {
		raw = wide_of_u64(it->u); /* all its digits count */
	} else {
		if (!number_for(p, it, &v))
			return it->type == CW_ITEM_TEXT && p->map_count > 0 ? MB_NOT_RANGE : MB_NOT_TYPE;
		if ((p->has_min && mb_dec_compare(v, p->min) < 0) || (p->has_max && mb_dec_compare(v, p->max) > 0))
			return MB_NOT_RANGE;
		if (p->type == MB_FLOAT32 || p->type == MB_FLOAT64)
			return write_float(p, v, wire);
		if (!unscaled(p, v, &raw))
			return MB_NOT_RANGE;
	}
	if (!fits(p->type, &raw, &bits))
		return MB_NOT_RANGE;
	scatter(p, p->type == MB_BCD16 || p->type == MB_BCD32 ? to_bcd(bits) : bits, wire, bytes);
	return MB_TAKEN;
}

enum mb_refused mb_point_write(const struct mb_charsets *cs, const struct mb_point *p, const struct cw_item *it, uint8_t *wire, size_t *ret_len)
{
	if (p->area == MB_DISCRETE || p->area == MB_INPUT || !p->writable)
		return MB_NOT_WRITABLE;
	*ret_len = mb_type_registers(p->type) * 2;
	if (p->type == MB_BOOL || p->type == MB_BIT)
		return write_bit(p, it, wire, ret_len);
	if (p->type == MB_STRING || p->type == MB_BYTES)
		return it->type == CW_ITEM_TEXT ? write_text(cs, p, it->s, wire, ret_len) : MB_NOT_TYPE;
	return write_number(p, it, wire);
}
