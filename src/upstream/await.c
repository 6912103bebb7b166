/* await.c - see await.h. */
#include "upstream/await.h"

#include "base/err.h"
#include "base/mem.h"

void cw_await_init(struct cw_await_set *set, struct cw_worker *w, uint64_t patience_ms,
		   void (*late)(struct cw_await_set *set, struct cw_await *a))
{
	*set = (struct cw_await_set){ .w = w, .patience_ms = patience_ms, .late = late };
	cw_map_init(&set->by_id);
	cw_list_init(&set->age);
}

void cw_await_fini(struct cw_await_set *set)
{
	cw_map_fini(&set->by_id);
}

int cw_await_used(struct cw_await_set *set, uint32_t id)
{
	return cw_map_find(&set->by_id, &id, sizeof(id)) != NULL;
}

uint32_t cw_await_next_id(struct cw_await_set *set)
{
	do {
		set->last_id = set->last_id == UINT32_MAX ? 1 : set->last_id + 1;
	} while (cw_await_used(set, set->last_id));
	return set->last_id;
}

static void on_time(struct cw_timer *t)
{
	struct cw_await_set *set = cw_container_of(t, struct cw_await_set, timer);
	uint64_t now = cw_worker_now(set->w);
	struct cw_await *a;

	while ((a = cw_await_oldest(set)) != NULL) {
		if (a->due_ms > now) {
			cw_timer_set(cw_worker_timers(set->w), t, a->due_ms - now, on_time);
			return;
		}
		cw_await_end(set, a);
		set->late(set, a);
	}
}

int cw_await_add(struct cw_await_set *set, struct cw_await *a, uint32_t id)
{
	a->id = id;
	if (cw_map_add(&set->by_id, &a->node, &a->id, sizeof(a->id)) < 0)
		return CW_ENOMEM;
	a->waits = 1;
	a->due_ms = cw_worker_now(set->w) + set->patience_ms;
	cw_list_push_back(&set->age, &a->age);
	if (!cw_timer_armed(&set->timer))
		cw_timer_set(cw_worker_timers(set->w), &set->timer, set->patience_ms, on_time);
	return 0;
}

struct cw_await *cw_await_find(struct cw_await_set *set, uint32_t id)
{
	struct cw_map_node *n = cw_map_find(&set->by_id, &id, sizeof(id));

	return n == NULL ? NULL : cw_container_of(n, struct cw_await, node);
}

void cw_await_end(struct cw_await_set *set, struct cw_await *a)
{
	if (!a->waits)
		return;
	a->waits = 0;
	cw_map_remove(&set->by_id, &a->node);
	cw_list_remove(&a->age);
}

struct cw_await *cw_await_oldest(struct cw_await_set *set)
{
	struct cw_list *e = cw_list_first(&set->age);

	return e == NULL ? NULL : cw_container_of(e, struct cw_await, age);
}
