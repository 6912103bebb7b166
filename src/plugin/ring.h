/*
 * ring.h - a stream of bytes from one process to another through shared memory: one writer, one reader.
 *
 * Indices count all bytes ever written and read and never go back. Each side keeps its own
 * index in private memory and believes the other's only as far as it is possible: one that went
 * back, or beyond what there is, is CW_EPROTO, and then the other side is broken or hostile.
 * Data bytes are not believed at all: a reader copies before it looks (wire.h).
 *
 * Neither side blocks here. A reader that goes to sleep says so first (cw_ring_sleep), so that
 * a writer need not wake one that is awake; the same for a writer who waits for room.
 */
#ifndef CW_PLUGIN_RING_H
#define CW_PLUGIN_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct cw_ring_shared {
	_Alignas(64) _Atomic(uint64_t) head; /* bytes written and published; the writer's */
	_Alignas(64) _Atomic(uint64_t) tail; /* bytes read; the reader's */
	_Alignas(64) atomic_uint reader_sleeps;
	atomic_uint writer_waits;
};

/* One side's view; private. */
struct cw_ring {
	struct cw_ring_shared *shared;
	uint8_t *data;
	uint64_t size;      /* a power of two */
	uint64_t own;       /* this side's index; the writer's may be ahead of what is published */
	uint64_t other;     /* the other side's, as last believed */
	uint64_t published; /* writer */
};

void cw_ring_init(struct cw_ring *r, struct cw_ring_shared *shared, void *data, size_t size);

/* Copy in as much as there is room for; how much, or CW_EPROTO. The reader sees it after cw_ring_publish(). */
int64_t cw_ring_write(struct cw_ring *r, const void *bytes, size_t len);
/* 1: the reader sleeps and must be woken. */
int cw_ring_publish(struct cw_ring *r);
/* Ask to be woken when there is room. 1: wait; 0: there is some now. */
int cw_ring_wait(struct cw_ring *r);

/* Copy out at most `len`; how much, or CW_EPROTO. *ret_wake becomes 1 when the writer waits for the room this made. */
int64_t cw_ring_read(struct cw_ring *r, void *out, size_t len, int *ret_wake);
/* Ask to be woken when there is something. 1: sleep; 0: there is something now. */
int cw_ring_sleep(struct cw_ring *r);
/* Writer: 1 when all that was published has been read. A reader that lies has read nothing. */
int cw_ring_drained(struct cw_ring *r);

#endif
