/* bytes.h - a byte buffer that grows at its end and is emptied as a whole; keeps its memory for reuse. */
#ifndef CW_CLOUD_BYTES_H
#define CW_CLOUD_BYTES_H

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"

struct cloud_bytes {
	uint8_t *data;
	size_t len, room;
};

/* Space for n more bytes at the end, or NULL. */
static inline uint8_t *cw_cloud_bytes_want(struct cloud_bytes *b, size_t n)
{
	size_t room = b->room != 0 ? b->room : 512;
	uint8_t *grown;

	if (b->len + n <= b->room)
		return b->data + b->len;
	while (room < b->len + n)
		room *= 2;
	grown = cw_realloc(b->data, room);
	if (grown == NULL)
		return NULL;
	b->data = grown;
	b->room = room;
	return b->data + b->len;
}

/* 0 or CW_ENOMEM. */
static inline int cw_cloud_bytes_add(struct cloud_bytes *b, const void *data, size_t n)
{
	uint8_t *at = n != 0 ? cw_cloud_bytes_want(b, n) : NULL;

	if (n == 0)
		return 0;
	if (at == NULL)
		return CW_ENOMEM;
	memcpy(at, data, n);
	b->len += n;
	return 0;
}

static inline void cw_cloud_bytes_drop(struct cloud_bytes *b, size_t n)
{
	b->len -= n;
	if (b->len != 0 && n != 0)
		memmove(b->data, b->data + n, b->len);
}

static inline void cw_cloud_bytes_free(struct cloud_bytes *b)
{
	cw_free(b->data);
	*b = (struct cloud_bytes){ NULL, 0, 0 };
}

/* Emptied; a large block is given back so that one burst does not stay for ever. */
static inline void cw_cloud_bytes_reset(struct cloud_bytes *b)
{
	b->len = 0;
	if (b->room > 65536)
		cw_cloud_bytes_free(b);
}

#endif
