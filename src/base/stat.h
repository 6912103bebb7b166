/*
 * stat.h - counters and gauges, one slot per thread, summed on reading.
 *
 * A thread that counts registers its block once (cw_stat_thread); adding is then
 * one relaxed load and store. A thread without a block counts into a shared one
 * with atomic additions, so that nothing is lost.
 */
#ifndef CW_BASE_STAT_H
#define CW_BASE_STAT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/stat_list.h"

enum cw_stat_kind { CW_STAT_COUNTER, CW_STAT_GAUGE };

enum cw_stat_id {
#define CW_STAT_ENUM(kind, module, name, help) CW_STAT_##module##_##name,
	CW_STATS(CW_STAT_ENUM)
#undef CW_STAT_ENUM
	CW_STAT_COUNT
};

struct cw_stat_block {
	struct cw_stat_block *next;
	_Atomic(uint64_t) v[CW_STAT_COUNT];
};

extern _Thread_local struct cw_stat_block *cw_stat_here;

/* Register this thread's block; it must live until the process ends or cw_stat_thread_gone(). */
void cw_stat_thread(struct cw_stat_block *block);
/* Fold the block of this thread into the shared one. */
void cw_stat_thread_gone(void);
void cw_stat_add_shared(enum cw_stat_id id, uint64_t n);

static inline void cw_stat_add(enum cw_stat_id id, uint64_t n)
{
	struct cw_stat_block *b = cw_stat_here;

	if (b == NULL) {
		cw_stat_add_shared(id, n);
		return;
	}
	atomic_store_explicit(&b->v[id], atomic_load_explicit(&b->v[id], memory_order_relaxed) + n, memory_order_relaxed);
}

#define cw_count(module, name) cw_stat_add(CW_STAT_##module##_##name, 1)
#define cw_count_n(module, name, n) cw_stat_add(CW_STAT_##module##_##name, (uint64_t)(n))
/* Gauges: add and take away; the sum over threads is the value. */
#define cw_gauge_add(module, name, n) cw_stat_add(CW_STAT_##module##_##name, (uint64_t)(int64_t)(n))

/* Sum over all threads. A gauge is a signed number in the same 64 bits. */
int64_t cw_stat_read(enum cw_stat_id id);

struct cw_stat_entry {
	const char *module, *name, *help;
	enum cw_stat_kind kind;
};
const struct cw_stat_entry *cw_stat_entry(enum cw_stat_id id);

#endif
