/* pushes.c - see pushes.h. */
#include "upstream/http2/pushes.h"

#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"

#define HEAD 9u
#define STAND_IN 1u /* the stream under which nghttp2 sees pushes */

enum {
	FRAME_DATA,
	FRAME_HEADERS,
	FRAME_PRIORITY,
	FRAME_RST_STREAM,
	FRAME_PUSH_PROMISE = 5,
	FRAME_WINDOW_UPDATE = 8,
	FRAME_CONTINUATION
};
enum { FLAG_END_STREAM = 1, FLAG_END_HEADERS = 4, FLAG_PADDED = 8, FLAG_PRIORITY = 32 };

struct frame {
	uint8_t type, flags;
	uint32_t stream;
	struct cw_bytes payload;
	struct cw_bytes whole;
};

int http2_pushes_init(struct http2_pushes *p, const struct http2_pushes_ops *ops, void *ctx)
{
	memset(p, 0, sizeof(*p));
	p->ops = ops;
	p->ctx = ctx;
	cw_list_init(&p->open);
	p->hold = cw_alloc(HEAD + HTTP2_FRAME_MOST);
	if (p->hold == NULL || nghttp2_hd_inflate_new(&p->inflater) != 0) {
		http2_pushes_fini(p);
		return CW_ENOMEM;
	}
	return 0;
}

static void drop(struct http2_pushes *p, struct http2_push *push)
{
	cw_list_remove(&push->link);
	p->count--;
	p->bytes -= push->len;
	cw_free(push->body);
	cw_free(push);
}

void http2_pushes_fini(struct http2_pushes *p)
{
	struct cw_list *e;

	while ((e = cw_list_first(&p->open)) != NULL)
		drop(p, cw_container_of(e, struct http2_push, link));
	if (p->inflater != NULL)
		nghttp2_hd_inflate_del(p->inflater);
	cw_free(p->hold);
	p->inflater = NULL;
	p->hold = NULL;
}

/* ---- to nghttp2 ------------------------------------------------------------------ */

static int pass(struct http2_pushes *p, struct cw_bytes bytes)
{
	return bytes.len == 0 ? 0 : p->ops->pass(p->ctx, bytes);
}

/* The same frame as one of the stand-in. */
static int pass_as(struct http2_pushes *p, uint8_t type, uint8_t flags, struct cw_bytes payload)
{
	const uint8_t head[HEAD] = { (uint8_t)(payload.len >> 16),
				     (uint8_t)(payload.len >> 8),
				     (uint8_t)payload.len,
				     type,
				     flags,
				     0,
				     0,
				     0,
				     STAND_IN };
	int rc = pass(p, cw_bytes_of(head, sizeof(head)));

	return rc != 0 ? rc : pass(p, payload);
}

/* nghttp2 shall see this frame and all that follow, and end the connection over it. */
static int give_up(struct http2_pushes *p, const struct frame *f)
{
	p->broken = 1;
	return pass(p, f->whole);
}

/* ---- messages -------------------------------------------------------------------- */

static struct http2_push *find(struct http2_pushes *p, uint32_t stream)
{
	struct cw_list *e;

	cw_list_each (e, &p->open) {
		struct http2_push *push = cw_container_of(e, struct http2_push, link);

		if (push->stream == stream)
			return push;
	}
	return NULL;
}

static void finish(struct http2_pushes *p, struct http2_push *push)
{
	p->ops->push(p->ctx, push);
	drop(p, push);
}

static void refuse(struct http2_pushes *p, struct http2_push *push, uint32_t stream)
{
	if (push != NULL)
		drop(p, push);
	p->ops->refuse(p->ctx, stream);
}

/* A header block on an even stream is whole. */
static void on_headers(struct http2_pushes *p)
{
	struct http2_push *push = find(p, p->block_stream);

	if (push == NULL && p->status >= 100 && p->status < 200)
		return; /* the real ones follow */
	if (push == NULL) {
		push = p->count >= HTTP2_PUSHES_MOST ? NULL : cw_zalloc(sizeof(*push));
		if (push == NULL) {
			refuse(p, NULL, p->block_stream);
			return;
		}
		memcpy(push, &p->fields, sizeof(*push));
		push->stream = p->block_stream;
		cw_list_init(&push->link);
		cw_list_push_back(&p->open, &push->link);
		p->count++;
	}
	if (p->block_ends)
		finish(p, push);
}

static int add_bytes(struct http2_pushes *p, struct http2_push *push, struct cw_bytes data)
{
	size_t need = push->len + data.len, size = push->size == 0 ? 1024 : push->size;
	uint8_t *at;

	if (need > HTTP2_PUSH_BYTES || p->bytes + data.len > HTTP2_PUSHES_BYTES)
		return 0;
	while (size < need)
		size *= 2;
	if (size != push->size) {
		at = cw_realloc(push->body, size);
		if (at == NULL)
			return 0;
		push->body = at;
		push->size = size;
	}
	if (data.len > 0)
		memcpy(push->body + push->len, data.ptr, data.len);
	push->len = need;
	p->bytes += data.len;
	return 1;
}

/* ---- header blocks ---------------------------------------------------------------- */

static int is_named(const nghttp2_nv *nv, const char *name)
{
	return nv->namelen == strlen(name) && memcmp(nv->name, name, nv->namelen) == 0;
}

static void copy_value(const nghttp2_nv *nv, char *to, size_t size)
{
	if (nv->valuelen >= size || memchr(nv->value, 0, nv->valuelen) != NULL)
		return;
	memcpy(to, nv->value, nv->valuelen);
	to[nv->valuelen] = '\0';
}

static void take_field(struct http2_pushes *p, const nghttp2_nv *nv)
{
	if (is_named(nv, "x-topic"))
		copy_value(nv, p->fields.topic, sizeof(p->fields.topic));
	else if (is_named(nv, "x-message-id"))
		copy_value(nv, p->fields.message_id, sizeof(p->fields.message_id));
	else if (is_named(nv, "x-qos"))
		p->fields.qos = nv->valuelen == 1 && nv->value[0] >= '1' && nv->value[0] <= '9';
	else if (is_named(nv, ":status") && nv->valuelen == 3)
		p->status = (unsigned)(nv->value[0] - '0') * 100 + (unsigned)(nv->value[1] - '0') * 10 +
			    (unsigned)(nv->value[2] - '0');
}

static int inflate(struct http2_pushes *p, struct cw_bytes in, int final)
{
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(p->inflater, &nv, &flags, in.ptr, in.len, final);

		if (n < 0)
			return n == NGHTTP2_ERR_NOMEM ? CW_ENOMEM : CW_EPROTO;
		in = cw_bytes_of(in.ptr + n, in.len - (size_t)n);
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
			p->block_bytes += nv.namelen + nv.valuelen + 32;
			if (p->block_bytes > HTTP2_HEADERS_MOST)
				return CW_EPROTO;
			if (p->block_of_push && !p->block_promise)
				take_field(p, &nv);
		}
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
			return nghttp2_hd_inflate_end_headers(p->inflater) == 0 ? 0 : CW_EPROTO;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && in.len == 0)
			return 0;
	}
}

/* What is between padding length and padding, less `skip` bytes in front. 0 when it does not fit. */
static int inner(const struct frame *f, size_t skip, struct cw_bytes *ret)
{
	size_t pad = 0;

	if ((f->flags & FLAG_PADDED) != 0) {
		if (f->payload.len == 0)
			return 0;
		pad = f->payload.ptr[0];
		skip++;
	}
	if (skip + pad > f->payload.len)
		return 0;
	*ret = cw_bytes_of(f->payload.ptr + skip, f->payload.len - skip - pad);
	return 1;
}

static int block_piece(struct http2_pushes *p, const struct frame *f, struct cw_bytes piece)
{
	int final = (f->flags & FLAG_END_HEADERS) != 0, rc = inflate(p, piece, final);

	if (rc == 0 && p->block_of_push)
		rc = pass_as(p, f->type == FRAME_CONTINUATION ? FRAME_CONTINUATION : FRAME_HEADERS,
			     final ? FLAG_END_HEADERS : 0, piece);
	else if (rc == 0)
		rc = pass(p, f->whole);
	if (rc == 0 && final) {
		if (p->block_of_push && !p->block_promise)
			on_headers(p);
		p->block_stream = 0;
	}
	return rc;
}

static int on_block(struct http2_pushes *p, const struct frame *f)
{
	int promise = f->type == FRAME_PUSH_PROMISE;
	struct cw_bytes piece;

	if (f->stream == 0 || !inner(f, promise ? 4 : (f->flags & FLAG_PRIORITY) != 0 ? 5 : 0, &piece))
		return give_up(p, f);
	memset(&p->fields, 0, sizeof(p->fields));
	p->status = 0;
	p->block_stream = f->stream;
	p->block_promise = promise;
	p->block_of_push = promise || f->stream % 2 == 0;
	p->block_ends = !promise && (f->flags & FLAG_END_STREAM) != 0;
	p->block_bytes = 0;
	return block_piece(p, f, piece);
}

/* ---- frames ------------------------------------------------------------------------ */

static int on_data(struct http2_pushes *p, const struct frame *f)
{
	struct http2_push *push = find(p, f->stream);
	struct cw_bytes data;
	int rc;

	if (!inner(f, 0, &data))
		return give_up(p, f);
	rc = pass_as(p, FRAME_DATA, f->flags & FLAG_PADDED, f->payload);
	if (rc != 0 || push == NULL)
		return rc; /* of one that was refused, or never was */
	if (!add_bytes(p, push, data))
		refuse(p, push, f->stream);
	else if ((f->flags & FLAG_END_STREAM) != 0)
		finish(p, push);
	return 0;
}

static int on_frame(struct http2_pushes *p, const struct frame *f)
{
	struct http2_push *push;

	if (p->block_stream != 0) {
		if (f->type != FRAME_CONTINUATION || f->stream != p->block_stream)
			return give_up(p, f);
		return block_piece(p, f, f->payload);
	}
	switch (f->type) {
	case FRAME_DATA: return on_data(p, f);
	case FRAME_HEADERS:
	case FRAME_PUSH_PROMISE: return on_block(p, f);
	case FRAME_RST_STREAM:
		push = find(p, f->stream);
		if (push != NULL)
			drop(p, push);
		return 0;
	case FRAME_PRIORITY:
	case FRAME_WINDOW_UPDATE: return 0; /* about a stream that we send nothing on */
	default: return give_up(p, f);      /* a CONTINUATION of nothing */
	}
}

static uint32_t stream_of(const uint8_t *head)
{
	return ((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8]) & 0x7fffffff;
}

static size_t length_of(const uint8_t *head)
{
	return (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
}

/* Must it be looked at as a whole? A frame that is too long is nghttp2's to complain of. */
static int is_ours(const struct http2_pushes *p, const uint8_t *head)
{
	uint32_t stream = stream_of(head);
	size_t n = length_of(head);

	if (p->broken || n > HTTP2_FRAME_MOST)
		return 0;
	if (p->block_stream != 0)
		return 1;
	switch (head[3]) {
	case FRAME_HEADERS:
	case FRAME_PUSH_PROMISE:
	case FRAME_CONTINUATION: return 1;
	case FRAME_DATA: return stream != 0 && stream % 2 == 0;
	case FRAME_PRIORITY: return stream != 0 && stream % 2 == 0 && n == 5;
	case FRAME_RST_STREAM:
	case FRAME_WINDOW_UPDATE: return stream != 0 && stream % 2 == 0 && n == 4;
	default: return 0;
	}
}

static int whole(struct http2_pushes *p, const uint8_t *at, size_t len)
{
	const struct frame f = { .type = at[3],
				 .flags = at[4],
				 .stream = stream_of(at),
				 .payload = cw_bytes_of(at + HEAD, len - HEAD),
				 .whole = cw_bytes_of(at, len) };

	return on_frame(p, &f);
}

/* Fill the held frame up to `want` bytes. 1 when it has them. */
static int hold(struct http2_pushes *p, struct cw_bytes *in, size_t want)
{
	size_t n = want - p->held < in->len ? want - p->held : in->len;

	memcpy(p->hold + p->held, in->ptr, n);
	p->held += n;
	*in = cw_bytes_of(in->ptr + n, in->len - n);
	return p->held == want;
}

/* Go on with the frame that began in an earlier piece. */
static int continue_held(struct http2_pushes *p, struct cw_bytes *in)
{
	size_t len;

	if (p->held < HEAD && !hold(p, in, HEAD))
		return 0;
	len = HEAD + length_of(p->hold);
	if (!is_ours(p, p->hold)) {
		p->held = 0;
		p->pass_left = len - HEAD;
		return pass(p, cw_bytes_of(p->hold, HEAD));
	}
	if (!hold(p, in, len))
		return 0;
	p->held = 0;
	return whole(p, p->hold, len);
}

int http2_pushes_feed(struct http2_pushes *p, struct cw_bytes in)
{
	int rc = 0;

	while (rc == 0 && in.len > 0) {
		size_t run = 0, len;

		if (p->held > 0) {
			rc = continue_held(p, &in);
			continue;
		}
		/* All frames that are none of ours in one piece. */
		while (run < in.len) {
			if (p->broken)
				p->pass_left = in.len - run;
			if (p->pass_left == 0 && (in.len - run < HEAD || is_ours(p, in.ptr + run)))
				break;
			if (p->pass_left == 0)
				p->pass_left = HEAD + length_of(in.ptr + run);
			len = p->pass_left < in.len - run ? p->pass_left : in.len - run;
			p->pass_left -= len;
			run += len;
		}
		rc = pass(p, cw_bytes_of(in.ptr, run));
		in = cw_bytes_of(in.ptr + run, in.len - run);
		if (rc != 0 || in.len == 0)
			break;
		len = in.len < HEAD ? 0 : HEAD + length_of(in.ptr);
		if (len == 0 || in.len < len) {
			(void)hold(p, &in, len == 0 ? HEAD : len); /* not whole: takes all there is */
			continue;
		}
		rc = whole(p, in.ptr, len);
		in = cw_bytes_of(in.ptr + len, in.len - len);
	}
	return rc;
}
