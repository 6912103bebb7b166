/*
 * await.h - messages of ours that wait for the platform's reply, by message id. One
 * set a connection; all on the upstream's loop.
 */
#ifndef CW_UPSTREAM_AWAIT_H
#define CW_UPSTREAM_AWAIT_H

#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "loop/worker.h"

/* Embedded in whatever waits; zero-initialised. */
struct cw_await {
	struct cw_map_node node; /* by id */
	struct cw_list age;      /* oldest first */
	uint32_t id;
	uint64_t due_ms;
	int waits;
};

struct cw_await_set {
	struct cw_map by_id;
	struct cw_list age;
	struct cw_timer timer;
	struct cw_worker *w;
	uint64_t patience_ms;
	uint32_t last_id;
	/* No reply came in time; `a` no longer waits. */
	void (*late)(struct cw_await_set *set, struct cw_await *a);
};

void cw_await_init(struct cw_await_set *set, struct cw_worker *w, uint64_t patience_ms,
		   void (*late)(struct cw_await_set *set, struct cw_await *a));
/* Nothing may wait any more. */
void cw_await_fini(struct cw_await_set *set);
/* A message id that nothing waits for, 1 to 4294967295. */
uint32_t cw_await_next_id(struct cw_await_set *set);
/* 1 when a reply with this id is waited for. */
int cw_await_used(struct cw_await_set *set, uint32_t id);
/* Begin to wait for `id`. 0 or CW_ENOMEM. */
int cw_await_add(struct cw_await_set *set, struct cw_await *a, uint32_t id);
/* Who waits for `id`, or NULL. It goes on waiting. */
struct cw_await *cw_await_find(struct cw_await_set *set, uint32_t id);
/* Wait no longer; harmless when it does not. */
void cw_await_end(struct cw_await_set *set, struct cw_await *a);
/* The one that waits longest, or NULL: for ending all of them. */
struct cw_await *cw_await_oldest(struct cw_await_set *set);

#endif
