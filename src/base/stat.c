/* stat.c - see stat.h. */
#include "base/stat.h"

#include <pthread.h>
#include <stddef.h>

_Thread_local struct cw_stat_block *cw_stat_here;

static const struct cw_stat_entry entries[CW_STAT_COUNT] = {
#define CW_STAT_ROW(kind, module, name, help) [CW_STAT_##module##_##name] = { #module, #name, help, CW_STAT_##kind },
	CW_STATS(CW_STAT_ROW)
#undef CW_STAT_ROW
};
static struct cw_stat_block shared;
static struct cw_stat_block *blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list of blocks; never on the data path */

void cw_stat_thread(struct cw_stat_block *block)
{
	pthread_mutex_lock(&lock);
	block->next = blocks;
	blocks = block;
	pthread_mutex_unlock(&lock);
	cw_stat_here = block;
}

void cw_stat_thread_gone(void)
{
	struct cw_stat_block *mine = cw_stat_here, **p;
	int i;

	if (mine == NULL)
		return;
	pthread_mutex_lock(&lock);
	for (p = &blocks; *p != NULL; p = &(*p)->next) {
		if (*p == mine) {
			*p = mine->next;
			break;
		}
	}
	for (i = 0; i < CW_STAT_COUNT; i++)
		cw_stat_add_shared((enum cw_stat_id)i, atomic_load_explicit(&mine->v[i], memory_order_relaxed));
	pthread_mutex_unlock(&lock);
	cw_stat_here = NULL;
}

void cw_stat_add_shared(enum cw_stat_id id, uint64_t n)
{
	atomic_fetch_add_explicit(&shared.v[id], n, memory_order_relaxed);
}

int64_t cw_stat_read(enum cw_stat_id id)
{
	uint64_t sum = atomic_load_explicit(&shared.v[id], memory_order_relaxed);
	struct cw_stat_block *b;

	pthread_mutex_lock(&lock);
	for (b = blocks; b != NULL; b = b->next)
		sum += atomic_load_explicit(&b->v[id], memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return (int64_t)sum;
}

const struct cw_stat_entry *cw_stat_entry(enum cw_stat_id id)
{
	return &entries[id];
}
