/* pace.c - see field_impl.h. */
#include <string.h>

#include "base/mem.h"
#include "factory/field/field_impl.h"

#define MINUTE_MS 60000u

struct pace {
	struct cw_map_node node;
	struct cw_list link; /* the longest silent first */
	uint64_t level;      /* requests that are left, times MINUTE_MS */
	uint64_t at_ms;
	char key[];
};

void factory_paces_init(struct factory_paces *p, size_t most)
{
	cw_map_init(&p->map);
	cw_list_init(&p->oldest);
	p->count = 0;
	p->most = most;
}

static void drop(struct factory_paces *p, struct pace *x)
{
	cw_map_remove(&p->map, &x->node);
	cw_list_remove(&x->link);
	p->count--;
	cw_free(x);
}

void factory_paces_fini(struct factory_paces *p)
{
	struct cw_list *e;

	while ((e = cw_list_first(&p->oldest)) != NULL)
		drop(p, cw_container_of(e, struct pace, link));
	cw_map_fini(&p->map);
}

static struct pace *find_or_make(struct factory_paces *p, const void *key, size_t len, uint64_t a_minute, uint64_t now_ms)
{
	struct cw_map_node *n = cw_map_find(&p->map, key, len);
	struct pace *x;

	if (n != NULL)
		return cw_container_of(n, struct pace, node);
	if (p->count == p->most)
		drop(p, cw_container_of(cw_list_first(&p->oldest), struct pace, link));
	x = cw_zalloc(sizeof(*x) + len);
	if (x == NULL)
		return NULL;
	memcpy(x->key, key, len);
	x->level = a_minute * MINUTE_MS;
	x->at_ms = now_ms;
	if (cw_map_add(&p->map, &x->node, x->key, len) < 0) {
		cw_free(x);
		return NULL;
	}
	p->count++;
	return x;
}

unsigned factory_pace(struct factory_paces *p, const void *key, size_t len, uint64_t a_minute, uint64_t now_ms)
{
	uint64_t gone, full = a_minute * MINUTE_MS;
	struct pace *x;

	if (a_minute == 0)
		return 0;
	x = find_or_make(p, key, len, a_minute, now_ms);
	if (x == NULL)
		return 1; /* no memory */
	cw_list_remove(&x->link);
	cw_list_push_back(&p->oldest, &x->link);
	gone = now_ms - x->at_ms < MINUTE_MS ? now_ms - x->at_ms : MINUTE_MS;
	x->at_ms = now_ms;
	x->level = x->level + gone * a_minute < full ? x->level + gone * a_minute : full;
	if (x->level >= MINUTE_MS) {
		x->level -= MINUTE_MS;
		return 0;
	}
	return (unsigned)((MINUTE_MS - x->level) / a_minute / 1000 + 1);
}
