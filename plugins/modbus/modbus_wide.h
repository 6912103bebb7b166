/*
 * modbus_wide.h - integers of 128 bits and a sign, for decimal arithmetic that loses nothing; not every machine's
 * compiler has them.
 */
#ifndef MODBUS_WIDE_H
#define MODBUS_WIDE_H

#include <stdint.h>

struct wide {
	int minus; /* never set for 0 */
	uint32_t w[4]; /* lowest first */
};

static inline struct wide wide_of_u64(uint64_t v)
{
	struct wide a = { 0, { (uint32_t)v, (uint32_t)(v >> 32), 0, 0 } };

	return a;
}

static inline struct wide wide_of(int64_t v)
{
	struct wide a = wide_of_u64(v < 0 ? ~(uint64_t)v + 1 : (uint64_t)v);

	a.minus = v < 0;
	return a;
}

static inline int wide_zero(const struct wide *a)
{
	return (a->w[0] | a->w[1] | a->w[2] | a->w[3]) == 0;
}

/* Compare magnitudes: -1, 0, 1. */
static inline int wide_compare_abs(const struct wide *a, const struct wide *b)
{
	int i;

	for (i = 3; i >= 0; i--)
		if (a->w[i] != b->w[i])
			return a->w[i] < b->w[i] ? -1 : 1;
	return 0;
}

static inline int wide_compare(const struct wide *a, const struct wide *b)
{
	if (a->minus != b->minus)
		return a->minus ? -1 : 1;
	return a->minus ? wide_compare_abs(b, a) : wide_compare_abs(a, b);
}

/* a = a x by + plus (in magnitude); 0: it does not fit in 127 bits, and a is as before. */
static inline int wide_mul_small(struct wide *a, uint32_t by, uint32_t plus)
{
	struct wide out = *a;
	uint64_t carry = plus;
	int i;

	for (i = 0; i < 4; i++) {
		carry += (uint64_t)a->w[i] * by;
		out.w[i] = (uint32_t)carry;
		carry >>= 32;
	}
	if (carry != 0 || out.w[3] >> 31)
		return 0;
	*a = out;
	return 1;
}

/* Truncates; the rest. */
static inline uint32_t wide_div_small(struct wide *a, uint32_t by)
{
	uint64_t rest = 0;
	int i;

	for (i = 3; i >= 0; i--) {
		rest = rest << 32 | a->w[i];
		a->w[i] = (uint32_t)(rest / by);
		rest %= by;
	}
	if (wide_zero(a))
		a->minus = 0;
	return (uint32_t)rest;
}

static inline struct wide wide_mul(int64_t x, int64_t y)
{
	struct wide a = wide_of(x), b = wide_of(y), out = { 0, { 0, 0, 0, 0 } };
	int i, k;

	for (i = 0; i < 2; i++) {
		uint64_t carry = 0;

		for (k = 0; k < 2; k++) {
			carry += (uint64_t)a.w[i] * b.w[k] + out.w[i + k];
			out.w[i + k] = (uint32_t)carry;
			carry >>= 32;
		}
		out.w[i + 2] = (uint32_t)carry;
	}
	out.minus = a.minus != b.minus && !wide_zero(&out);
	return out;
}

/* Magnitudes: a + b, or a - b when a is not smaller. */
static inline void wide_add_abs(struct wide *a, const struct wide *b)
{
	uint64_t carry = 0;
	int i;

	for (i = 0; i < 4; i++) {
		carry += (uint64_t)a->w[i] + b->w[i];
		a->w[i] = (uint32_t)carry;
		carry >>= 32;
	}
}

static inline void wide_sub_abs(struct wide *a, const struct wide *b)
{
	uint64_t borrow = 0;
	int i;

	for (i = 0; i < 4; i++) {
		uint64_t v = (uint64_t)a->w[i] - b->w[i] - borrow;

		a->w[i] = (uint32_t)v;
		borrow = v >> 63;
	}
}

static inline struct wide wide_add(struct wide a, struct wide b)
{
	if (a.minus == b.minus) {
		wide_add_abs(&a, &b);
		return a;
	}
	if (wide_compare_abs(&a, &b) >= 0) {
		wide_sub_abs(&a, &b);
		if (wide_zero(&a))
			a.minus = 0;
		return a;
	}
	wide_sub_abs(&b, &a);
	return b;
}

static inline struct wide wide_negate(struct wide a)
{
	a.minus = !a.minus && !wide_zero(&a);
	return a;
}

/* a / b, rounded half away from zero. b is not 0. */
static inline struct wide wide_div(struct wide a, struct wide b)
{
	struct wide q = { 0, { 0, 0, 0, 0 } }, rest = q, twice;
	int minus = a.minus != b.minus, i;

	for (i = 127; i >= 0; i--) {
		(void)wide_mul_small(&rest, 2, a.w[i / 32] >> (i % 32) & 1);
		if (wide_compare_abs(&rest, &b) >= 0) {
			wide_sub_abs(&rest, &b);
			q.w[i / 32] |= 1u << (i % 32);
		}
	}
	twice = rest;
	if (wide_mul_small(&twice, 2, 0) && wide_compare_abs(&twice, &b) >= 0) {
		struct wide one = wide_of(1);

		wide_add_abs(&q, &one);
	}
	q.minus = minus && !wide_zero(&q);
	return q;
}

/* 1 and the number when it fits. */
static inline int wide_to_u64(const struct wide *a, uint64_t *ret)
{
	*ret = (uint64_t)a->w[1] << 32 | a->w[0];
	return !a->minus && (a->w[2] | a->w[3]) == 0;
}

static inline int wide_to_i64(const struct wide *a, int64_t *ret)
{
	uint64_t v = (uint64_t)a->w[1] << 32 | a->w[0];

	if ((a->w[2] | a->w[3]) != 0 || v > (uint64_t)INT64_MAX + (uint64_t)a->minus)
		return 0;
	*ret = a->minus ? -(int64_t)(v - 1) - 1 : (int64_t)v;
	return 1;
}

#endif
