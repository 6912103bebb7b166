/*
 * alloc_sweep.h - a life of the core with its first, second, .. allocation failing, until one passes without: no
 * failure may crash, leak, or go unnoticed. Included by tests that have `worker` and `cloud`.
 */
#ifndef CW_TESTS_ALLOC_SWEEP_H
#define CW_TESTS_ALLOC_SWEEP_H

#include "base/mem.h"
#include "cloud/core/cloud.h"

/* `life` acts on `cloud`, made anew by `conf` each time; 1: all of it succeeded. */
static inline void sweep_allocations(const struct cloud_conf *conf, int (*life)(void))
{
	struct cw_cloud *whole = cloud;
	int nth, done = 0;

	for (nth = 0; !done; nth++) {
		long before = cw_mem_live();
		int failed;

		assert_int_equal(cw_cloud_new(worker, conf, &cloud), 0);
		cw_mem_fail_at(nth);
		done = life();
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		cw_cloud_free(cloud);
		assert_int_equal(cw_mem_live(), before);
		assert_true(failed || done);
	}
	cloud = whole;
	assert_true(nth > 20);
}

#endif
