/*
 * pushes.h - messages that the platform opens itself, taken out of the bytes before
 * nghttp2 sees them. No socket, no clock.
 *
 * The platform sends a message as HEADERS and DATA on an even stream that it never
 * promised, which nghttp2 answers by ending the connection; or it promises it on a
 * request that may have ended. All forms are treated alike: an HPACK inflater of our
 * own reads every header block that comes in, so that it is in step; frames on even
 * streams are collected here, and nghttp2 gets the same bytes as frames on stream 1,
 * which is ours and closed (our requests begin with stream 3): it inflates and ignores
 * the block, drops the data, and gives the connection's window back.
 */
#ifndef CW_UPSTREAM_HTTP2_PUSHES_H
#define CW_UPSTREAM_HTTP2_PUSHES_H

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "causeway/bytes.h"

#define HTTP2_FIRST_STREAM 3 /* of our requests; the one before it stands for all pushes */
#define HTTP2_FRAME_MOST 16384u
#define HTTP2_HEADERS_MOST 65536u      /* bytes of one header list */
#define HTTP2_PUSHES_MOST 256u         /* begun and not ended */
#define HTTP2_PUSH_BYTES (1u << 20)    /* of one: 256 KiB as Base64 in JSON are less */
#define HTTP2_PUSHES_BYTES (16u << 20) /* of all together */

/* One message; lent to ops.push() when it is whole. */
struct http2_push {
	struct cw_list link;
	uint32_t stream;
	int qos;
	char topic[256];     /* empty: none, or too long */
	char message_id[64]; /* any text; empty: none */
	uint8_t *body;       /* owned (cw_free) */
	size_t len, size;
};

struct http2_pushes_ops {
	/* Whole frames and pieces of them for nghttp2, in order; lent. Not 0 ends the feed under way with it. */
	int (*pass)(void *ctx, struct cw_bytes bytes);
	void (*push)(void *ctx, const struct http2_push *p);
	/* There is no room for this one: the platform shall be told (RST_STREAM, REFUSED_STREAM). */
	void (*refuse)(void *ctx, uint32_t stream);
};

struct http2_pushes {
	const struct http2_pushes_ops *ops;
	void *ctx;
	nghttp2_hd_inflater *inflater;
	struct cw_list open; /* struct http2_push */
	unsigned count;
	size_t bytes;
	uint8_t *hold; /* an unfinished frame */
	size_t held, pass_left;
	int broken; /* what came is not HTTP/2: everything goes to nghttp2, which says so */
	/* The header block under way. */
	uint32_t block_stream; /* 0: none */
	int block_of_push, block_promise, block_ends;
	size_t block_bytes;
	unsigned status;
	struct http2_push fields;
};

/* 0 or CW_ENOMEM. */
int http2_pushes_init(struct http2_pushes *p, const struct http2_pushes_ops *ops, void *ctx);
void http2_pushes_fini(struct http2_pushes *p);
/* Bytes of the platform, in pieces of any size. 0; CW_EPROTO: not HTTP/2, or headers beyond all bounds; CW_ENOMEM; what
 * pass() returned. */
int http2_pushes_feed(struct http2_pushes *p, struct cw_bytes in);

#endif
