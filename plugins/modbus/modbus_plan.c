/* modbus_plan.c - see modbus_plan.h. */
#include "modbus_plan.h"

static int before(const struct mb_point *a, const struct mb_point *b)
{
	if (a->area != b->area)
		return a->area < b->area;
	if (a->address != b->address)
		return a->address < b->address;
	if (a->count != b->count)
		return a->count > b->count;
	return strcmp(a->name, b->name) < 0;
}

/* Stable and in place; profiles are planned when they are loaded, not when they are polled. */
static void sort(const struct mb_point *points, uint16_t *order, unsigned count)
{
	unsigned gap, i, k;

	for (gap = count / 2; gap > 0; gap /= 2) {
		for (i = gap; i < count; i++) {
			uint16_t it = order[i];

			for (k = i; k >= gap && before(&points[it], &points[order[k - gap]]); k -= gap)
				order[k] = order[k - gap];
			order[k] = it;
		}
	}
}

static int joins(const struct mb_point *last, const struct mb_point *p, const struct mb_block *b, const struct mb_limits *l)
{
	unsigned end = (unsigned)(b->address + b->quantity), past = (unsigned)(p->address + p->count);
	unsigned size = (past > end ? past : end) - b->address, most = b->fc <= MB_READ_DISCRETE ? l->max_bits : l->max_registers;

	if (last->area != p->area || last->isolate || p->isolate)
		return 0;
	return (p->address <= end || p->address - end <= l->max_gap) && size <= most;
}

unsigned mb_plan(const struct mb_point *points, uint16_t *order, unsigned count, const struct mb_limits *limits, struct mb_block *blocks)
{
	unsigned i, n = 0;

	sort(points, order, count);
	for (i = 0; i < count; i++) {
		const struct mb_point *p = &points[order[i]];
		struct mb_block *b = n > 0 ? &blocks[n - 1] : NULL;

		if (b != NULL && joins(&points[order[i - 1]], p, b, limits)) {
			unsigned end = (unsigned)(p->address + p->count - b->address);

			b->quantity = (uint16_t)(end > b->quantity ? end : b->quantity);
			b->count++;
			continue;
		}
		blocks[n++] = (struct mb_block){ .fc = mb_area_fc(p->area), .address = p->address, .quantity = p->count,
			                         .first = (uint16_t)i, .count = 1 };
	}
	return n;
}

static void cover(const struct mb_point *points, const uint16_t *order, struct mb_block *b)
{
	unsigned i, end = 0;

	b->address = points[order[b->first]].address;
	for (i = 0; i < b->count; i++) {
		const struct mb_point *p = &points[order[b->first + i]];

		if (p->address + p->count > end)
			end = (unsigned)(p->address + p->count);
	}
	b->quantity = (uint16_t)(end - b->address);
}

int mb_halve(const struct mb_point *points, const uint16_t *order, const struct mb_block *b, struct mb_block *ret_low, struct mb_block *ret_high)
{
	if (b->count < 2)
		return 0;
	*ret_low = *ret_high = *b;
	ret_low->count = (uint16_t)(b->count / 2);
	ret_high->first = (uint16_t)(b->first + ret_low->count);
	ret_high->count = (uint16_t)(b->count - ret_low->count);
	cover(points, order, ret_low);
	cover(points, order, ret_high);
	return 1;
}

struct cw_bytes mb_point_wire(const struct mb_point *p, unsigned offset, struct cw_bytes data, uint8_t *bit)
{
	size_t at = (size_t)offset * 2;

	if (p->area <= MB_DISCRETE) {
		*bit = (uint8_t)mb_bit(data, offset);
		return cw_bytes_of(bit, 1);
	}
	if (at + p->count * 2u > data.len)
		return cw_bytes_of(NULL, 0);
	return cw_bytes_of(data.ptr + at, p->count * 2u);
}

int mb_report_due(const struct mb_report *r, const struct mb_value *last, uint64_t last_ms, const struct mb_value *v, uint64_t now_ms)
{
	if (v->kind == MB_V_NONE)
		return 0;
	if (r->mode == MB_R_ALWAYS || last->kind == MB_V_NONE)
		return 1;
	if (r->max_ms > 0 && now_ms - last_ms >= r->max_ms)
		return 1;
	return r->mode != MB_R_PERIOD && mb_moved(last, v, r->deadband);
}
