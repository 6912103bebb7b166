/*
 * link.h - one connection: name, TCP, TLS, HTTP/2, and the requests on it. Knows nothing
 * of devices. All on the upstream's loop.
 *
 * Life: open -> (up) -> down, or close by the owner. It frees itself when libuv has let
 * go of it; after `down` or http2_link_close() the pointer is dead. Every call that was
 * accepted ends with its done() exactly once unless cancelled, calls of a connection
 * that ends with CW_ECLOSED, before `down`.
 */
#ifndef CW_UPSTREAM_HTTP2_LINK_H
#define CW_UPSTREAM_HTTP2_LINK_H

#include <nghttp2/nghttp2.h>

#include "loop/worker.h"
#include "tls/tls.h"
#include "upstream/http2/pushes.h"
#include "upstream/http2/settings.h"

#define HTTP2_STREAM_WINDOW 4194304
#define HTTP2_WINDOW 16777215
#define HTTP2_CALLS_MOST 8192u /* under way on one connection, queued ones included */

struct http2_link;

/* One request; embedded in whatever asks. Zero-initialise, fill the first block. */
struct http2_call {
	uint8_t *body; /* owned by whoever asks, until done */
	size_t len;
	/* rc 0: answered, whatever the status; CW_EBUSY: reset by the platform; CW_ECLOSED: the connection ended. */
	void (*done)(struct http2_call *c, int rc);
	/* The answer. */
	int status;
	char text[96]; /* beginning of a refusal's body */
	/* The link's. */
	struct cw_list link;
	struct http2_link *of; /* NULL: not under way */
	int32_t stream;
	unsigned text_len;
	size_t sent;
};

struct http2_link_events {
	void (*up)(void *ctx);                       /* requests may be made */
	void (*leaving)(void *ctx, const char *why); /* GOAWAY: no more requests; what is under way may be finished */
	void (*idle)(void *ctx);                     /* the last call under way has ended */
	void (*down)(void *ctx, const char *why);
	void (*push)(void *ctx, const struct http2_push *p);
};

struct http2_link_conf {
	struct cw_worker *w;
	const struct http2_address *at;
	struct cw_tls_ctx *tls;
	uint64_t keep_alive_ms;
};

int http2_link_open(const struct http2_link_conf *conf, const struct http2_link_events *events, void *ctx,
		    struct http2_link **ret_link);
/* Say goodbye if that is possible. Calls end with CW_ECLOSED; no further event. Also from within events and done(). */
void http2_link_close(struct http2_link *l);

/* Header fields after the pseudo headers; names in lower case. All are copied. 0; CW_ECLOSED; CW_EBUSY: too many are
 * under way; CW_ENOMEM. */
int http2_link_call(struct http2_link *l, struct http2_call *c, const char *method, const char *path,
		    const nghttp2_nv *fields, size_t count);
/* Reset it; done() will not run. Harmless when it is not under way. */
void http2_link_cancel(struct http2_call *c);

/* A field of two texts that must live until http2_link_call() has returned. */
nghttp2_nv http2_field(const char *name, const char *value);

#endif
