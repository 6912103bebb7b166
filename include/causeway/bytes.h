/*
 * bytes.h - bounds-checked reading and writing of bytes, inline.
 *
 * A reader never runs past its end: a read that does not fit returns zero and
 * sets `short_read`, which stays set, so a decoder reads all its fields and asks
 * once.  A writer behaves the same way with `overflow`.  Neither allocates.
 */
#ifndef CAUSEWAY_BYTES_H
#define CAUSEWAY_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view of bytes; never owns them. */
struct cw_bytes {
	const uint8_t *ptr; /* may be NULL when len is 0 */
	size_t len;
};

static inline struct cw_bytes cw_bytes_of(const void *ptr, size_t len)
{
	struct cw_bytes b;

	b.ptr = (const uint8_t *)ptr;
	b.len = len;
	return b;
}

static inline struct cw_bytes cw_bytes_text(const char *text)
{
	return cw_bytes_of(text, text == NULL ? 0 : strlen(text));
}

/* 1 when both views hold the same bytes. */
static inline int cw_bytes_equal(struct cw_bytes a, struct cw_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

struct cw_reader {
	const uint8_t *ptr;
	size_t len;     /* bytes in all */
	size_t pos;     /* next byte to read, at most len */
	int short_read; /* 1 once a read did not fit */
};

static inline struct cw_reader cw_reader_of(struct cw_bytes b)
{
	struct cw_reader r;

	r.ptr = b.ptr;
	r.len = b.len;
	r.pos = 0;
	r.short_read = 0;
	return r;
}

static inline size_t cw_read_left(const struct cw_reader *r)
{
	return r->len - r->pos;
}

/* The next `n` bytes as a view, or an empty one with short_read set. */
static inline struct cw_bytes cw_read_bytes(struct cw_reader *r, size_t n)
{
	struct cw_bytes b = { NULL, 0 };

	if (n > r->len - r->pos) {
		r->short_read = 1;
		r->pos = r->len;
		return b;
	}
	b.ptr = n == 0 ? NULL : r->ptr + r->pos;
	b.len = n;
	r->pos += n;
	return b;
}

/* All bytes that are left; may be none. */
static inline struct cw_bytes cw_read_rest(struct cw_reader *r)
{
	return cw_read_bytes(r, r->len - r->pos);
}

static inline uint8_t cw_read_u8(struct cw_reader *r)
{
	if (r->pos >= r->len) {
		r->short_read = 1;
		return 0;
	}
	return r->ptr[r->pos++];
}

static inline uint64_t cw_read_be(struct cw_reader *r, unsigned n)
{
	struct cw_bytes b = cw_read_bytes(r, n);
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < b.len; i++)
		v = v << 8 | b.ptr[i];
	return v;
}

static inline uint64_t cw_read_le(struct cw_reader *r, unsigned n)
{
	struct cw_bytes b = cw_read_bytes(r, n);
	uint64_t v = 0;
	size_t i;

	for (i = b.len; i > 0; i--)
		v = v << 8 | b.ptr[i - 1];
	return v;
}

static inline uint16_t cw_read_u16be(struct cw_reader *r) { return (uint16_t)cw_read_be(r, 2); }
static inline uint32_t cw_read_u24be(struct cw_reader *r) { return (uint32_t)cw_read_be(r, 3); }
static inline uint32_t cw_read_u32be(struct cw_reader *r) { return (uint32_t)cw_read_be(r, 4); }
static inline uint64_t cw_read_u64be(struct cw_reader *r) { return cw_read_be(r, 8); }
static inline uint16_t cw_read_u16le(struct cw_reader *r) { return (uint16_t)cw_read_le(r, 2); }
static inline uint32_t cw_read_u24le(struct cw_reader *r) { return (uint32_t)cw_read_le(r, 3); }
static inline uint32_t cw_read_u32le(struct cw_reader *r) { return (uint32_t)cw_read_le(r, 4); }
static inline uint64_t cw_read_u64le(struct cw_reader *r) { return cw_read_le(r, 8); }

struct cw_writer {
	uint8_t *ptr;
	size_t size;  /* room in all */
	size_t len;   /* bytes written */
	int overflow; /* 1 once a write did not fit; nothing of it was written */
};

static inline struct cw_writer cw_writer_of(void *ptr, size_t size)
{
	struct cw_writer w;

	w.ptr = (uint8_t *)ptr;
	w.size = size;
	w.len = 0;
	w.overflow = 0;
	return w;
}

static inline struct cw_bytes cw_written(const struct cw_writer *w)
{
	return cw_bytes_of(w->ptr, w->len);
}

static inline void cw_write_raw(struct cw_writer *w, const void *ptr, size_t n)
{
	if (w->overflow || n > w->size - w->len) {
		w->overflow = 1;
		return;
	}
	if (n > 0)
		memcpy(w->ptr + w->len, ptr, n);
	w->len += n;
}

static inline void cw_write_bytes(struct cw_writer *w, struct cw_bytes b) { cw_write_raw(w, b.ptr, b.len); }

static inline void cw_write_u8(struct cw_writer *w, uint8_t v) { cw_write_raw(w, &v, 1); }

static inline void cw_write_be(struct cw_writer *w, uint64_t v, unsigned n)
{
	uint8_t b[8];
	unsigned i;

	for (i = 0; i < n && i < 8; i++)
		b[n - 1 - i] = (uint8_t)(v >> (8 * i));
	cw_write_raw(w, b, n);
}

static inline void cw_write_le(struct cw_writer *w, uint64_t v, unsigned n)
{
	uint8_t b[8];
	unsigned i;

	for (i = 0; i < n && i < 8; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	cw_write_raw(w, b, n);
}

static inline void cw_write_u16be(struct cw_writer *w, uint16_t v) { cw_write_be(w, v, 2); }
static inline void cw_write_u32be(struct cw_writer *w, uint32_t v) { cw_write_be(w, v, 4); }
static inline void cw_write_u64be(struct cw_writer *w, uint64_t v) { cw_write_be(w, v, 8); }
static inline void cw_write_u16le(struct cw_writer *w, uint16_t v) { cw_write_le(w, v, 2); }
static inline void cw_write_u32le(struct cw_writer *w, uint32_t v) { cw_write_le(w, v, 4); }

#endif
