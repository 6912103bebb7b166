/*
 * arena.h - scratch memory for one frame or one document, dropped in one go.
 * One owner, one thread. Memory is aligned for any type and not cleared.
 */
#ifndef CW_BASE_ARENA_H
#define CW_BASE_ARENA_H

#include <stddef.h>

struct cw_arena_chunk;

struct cw_arena {
	struct cw_arena_chunk *chunk; /* newest chunk */
	size_t used;                  /* bytes used in it */
	size_t total;                 /* bytes of all chunks */
	size_t limit;                 /* most bytes of all chunks; 0: none */
};

void cw_arena_init(struct cw_arena *a, size_t limit);
/* NULL when memory is short or the limit is reached. */
void *cw_arena_alloc(struct cw_arena *a, size_t size);
char *cw_arena_strndup(struct cw_arena *a, const char *text, size_t len);
/* Give all memory back; the arena may be used again. */
void cw_arena_fini(struct cw_arena *a);

#endif
