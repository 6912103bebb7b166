/*
 * modbus_plan.h - from points to requests, and from readings to reports: pure functions of both.
 */
#ifndef MODBUS_PLAN_H
#define MODBUS_PLAN_H

#include "modbus_value.h"

/* One read request: `count` points, from place `first` of the plan's order. */
struct mb_block {
	uint8_t fc;
	uint8_t bad; /* the device refused this one point: not asked again */
	uint16_t address, quantity, first, count;
};

struct mb_limits {
	unsigned max_gap, max_registers, max_bits;
};

/*
 * The merge rule. `order` holds indices of `count` points and is sorted in place; blocks[count] has room for all.
 * Returns how many blocks there are.
 */
unsigned mb_plan(const struct mb_point *points, uint16_t *order, unsigned count, const struct mb_limits *limits, struct mb_block *blocks);
/* Halve a block of several points; 0: it has only one. */
int mb_halve(const struct mb_point *points, const uint16_t *order, const struct mb_block *b, struct mb_block *ret_low, struct mb_block *ret_high);
/* The wire bytes of a point that stands `offset` registers or bits into an answer (bits: one byte, 0 or 1, in *bit). */
struct cw_bytes mb_point_wire(const struct mb_point *p, unsigned offset, struct cw_bytes data, uint8_t *bit);

/* Is this reading to be reported? `last` of kind MB_V_NONE: nothing was reported yet. */
int mb_report_due(const struct mb_report *r, const struct mb_value *last, uint64_t last_ms, const struct mb_value *v, uint64_t now_ms);

#endif
