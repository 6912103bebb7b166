/* arena.c - see arena.h. Chunks double from 4 KiB to 1 MiB. */
#include "base/arena.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

#define ARENA_FIRST 4096u
#define ARENA_MOST (1024u * 1024u)
#define ARENA_ALIGN _Alignof(max_align_t)

struct cw_arena_chunk {
	struct cw_arena_chunk *prev;
	size_t size;
	_Alignas(max_align_t) unsigned char data[];
};

void cw_arena_init(struct cw_arena *a, size_t limit)
{
	memset(a, 0, sizeof(*a));
	a->limit = limit;
}

static int grow(struct cw_arena *a, size_t need)
{
	size_t size = a->chunk == NULL ? ARENA_FIRST : a->chunk->size * 2;
	struct cw_arena_chunk *c;

	if (size > ARENA_MOST)
		size = ARENA_MOST;
	if (size < need)
		size = need;
	if (a->limit != 0 && (need > a->limit || a->total > a->limit - need))
		return 0;
	if (a->limit != 0 && size > a->limit - a->total)
		size = a->limit - a->total;
	c = cw_alloc(sizeof(*c) + size);
	if (c == NULL)
		return 0;
	c->prev = a->chunk;
	c->size = size;
	a->chunk = c;
	a->used = 0;
	a->total += size;
	return 1;
}

void *cw_arena_alloc(struct cw_arena *a, size_t size)
{
	void *ptr;

	if (size > (size_t)-1 - ARENA_ALIGN - sizeof(struct cw_arena_chunk))
		return NULL;
	size = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
	if ((a->chunk == NULL || size > a->chunk->size - a->used) && !grow(a, size))
		return NULL;
	ptr = a->chunk->data + a->used;
	a->used += size;
	return ptr;
}

char *cw_arena_strndup(struct cw_arena *a, const char *text, size_t len)
{
	char *copy = cw_arena_alloc(a, len + 1);

	if (copy == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

static void drop_until(struct cw_arena *a, int keep_first)
{
	while (a->chunk != NULL && !(keep_first && a->chunk->prev == NULL)) {
		struct cw_arena_chunk *prev = a->chunk->prev;

		a->total -= a->chunk->size;
		cw_free(a->chunk);
		a->chunk = prev;
	}
	a->used = 0;
}

void cw_arena_fini(struct cw_arena *a)
{
	drop_until(a, 0);
}
