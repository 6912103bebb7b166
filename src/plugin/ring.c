/* ring.c - see ring.h. The stores and loads that decide about sleeping are sequentially consistent: one of the two sides sees. */
#include "plugin/ring.h"

#include <string.h>

#include "base/err.h"

void cw_ring_init(struct cw_ring *r, struct cw_ring_shared *shared, void *data, size_t size)
{
	cw_invariant(size > 0 && (size & (size - 1)) == 0);
	memset(r, 0, sizeof(*r));
	r->shared = shared;
	r->data = data;
	r->size = size;
}

/* What the reader has read, as far as that can be. */
static int look_at_tail(struct cw_ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->shared->tail, memory_order_acquire);

	if (tail < r->other || tail > r->published)
		return CW_EPROTO;
	r->other = tail;
	return 0;
}

int64_t cw_ring_write(struct cw_ring *r, const void *bytes, size_t len)
{
	uint64_t room = r->size - (r->own - r->other), at, first;

	if (room < len) {
		if (look_at_tail(r) < 0)
			return CW_EPROTO;
		room = r->size - (r->own - r->other);
	}
	if (len > room)
		len = (size_t)room;
	if (len == 0)
		return 0;
	at = r->own & (r->size - 1);
	first = r->size - at < len ? r->size - at : len;
	memcpy(r->data + at, bytes, first);
	if (first < len)
		memcpy(r->data, (const uint8_t *)bytes + first, len - first);
	r->own += len;
	return (int64_t)len;
}

int cw_ring_publish(struct cw_ring *r)
{
	if (r->published == r->own)
		return 0;
	r->published = r->own;
	atomic_store(&r->shared->head, r->own);
	return atomic_load(&r->shared->reader_sleeps) != 0 && atomic_exchange(&r->shared->reader_sleeps, 0) != 0;
}

int cw_ring_wait(struct cw_ring *r)
{
	atomic_store(&r->shared->writer_waits, 1);
	if (atomic_load(&r->shared->tail) == r->other)
		return 1;
	atomic_store(&r->shared->writer_waits, 0);
	return 0;
}

int64_t cw_ring_read(struct cw_ring *r, void *out, size_t len, int *ret_wake)
{
	uint64_t head = atomic_load_explicit(&r->shared->head, memory_order_acquire), at, first;

	if (head < r->other || head - r->own > r->size)
		return CW_EPROTO;
	r->other = head;
	if (len > head - r->own)
		len = (size_t)(head - r->own);
	if (len == 0)
		return 0;
	at = r->own & (r->size - 1);
	first = r->size - at < len ? r->size - at : len;
	memcpy(out, r->data + at, first);
	if (first < len)
		memcpy((uint8_t *)out + first, r->data, len - first);
	r->own += len;
	atomic_store(&r->shared->tail, r->own);
	if (atomic_load(&r->shared->writer_waits) != 0 && atomic_exchange(&r->shared->writer_waits, 0) != 0)
		*ret_wake = 1;
	return (int64_t)len;
}

int cw_ring_sleep(struct cw_ring *r)
{
	atomic_store(&r->shared->reader_sleeps, 1);
	if (atomic_load(&r->shared->head) == r->own)
		return 1;
	atomic_store(&r->shared->reader_sleeps, 0);
	return 0;
}

int cw_ring_drained(struct cw_ring *r)
{
	return look_at_tail(r) == 0 && r->other == r->published;
}
