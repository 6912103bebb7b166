/*
 * stream.h - TCP listeners and connections of the emulator's fronts: bytes in, bytes out.
 *
 * A *port* listens; TLS and plain TCP share it, told apart by the first byte, and a WebSocket in either by the first
 * byte behind that, where the port says so; its front does not notice. A *stream* is one connection, embedded
 * first in the front's own structure, which the port allocates (ops->size, zeroed). What a pass of the loop has to say goes out in one
 * write before the loop waits. A peer that does not read is closed when too much waits for it; it never
 * delays another.
 *
 * A normal run: opened(), then data() for whatever arrives, cw_cloud_stream_put() for answers, and at the end - whoever
 * ends it - closed() exactly once, then freed() when the handles are gone. One thread.
 */
#ifndef CW_CLOUD_STREAM_H
#define CW_CLOUD_STREAM_H

#include <uv.h>

#include "base/list.h"
#include "cloud/wire/bytes.h"
#include "cloud/wire/tls.h"
#include "cloud/wire/ws.h"
#include "loop/closing.h"
#include "loop/worker.h"

struct cloud_port;

struct cloud_stream {
	struct cloud_port *port;
	struct cw_list all, dirty;
	struct cw_closing closing;
	uv_tcp_t tcp;
	uv_write_t write;
	int write_busy, reading, ended, sniffed, greeted;
	uint64_t received;          /* bytes of the wire */
	int64_t credit;             /* bytes that may be read now by the rate; below zero it waits */
	uint64_t credit_ms, counted; /* when credit was right, 0: never; bytes of `received` that are in it */
	struct cw_timer throttle;
	int throttled;
	const char *doomed;         /* close with this reason once all is written */
	struct cloud_tls_conn *tls; /* NULL: plain */
	struct cloud_ws *ws;        /* NULL: no WebSocket */
	struct cloud_bytes in;      /* received and not yet used, plain */
	struct cloud_bytes out;     /* to be sent, plain */
	struct cloud_bytes framed;  /* `out` as frames of a WebSocket */
	struct cloud_bytes wire, writing;
	char peer[64];
};

struct cloud_port_ops {
	size_t size; /* of the front's structure; struct cloud_stream is its first member */
	void (*opened)(struct cloud_stream *s);
	/* Take from the bytes not used so far; returns how many were used. The stream may have ended afterwards. */
	size_t (*data)(struct cloud_stream *s, const uint8_t *data, size_t len);
	/* It ends; nothing can be sent any more. `reason` is static text. */
	void (*closed)(struct cloud_stream *s, const char *reason);
	/* Let go of what the front's structure owns; the structure is freed after it. */
	void (*freed)(struct cloud_stream *s);
	/* NULL: always. Whether to read now; asked at cw_cloud_stream_recheck(). */
	int (*may_read)(const struct cloud_stream *s);
	/* NULL, or 0: as many as come. Bytes a second to be read; asked after each read. A second's worth may come at once. */
	uint64_t (*rate)(const struct cloud_stream *s);
	/* NULL, or: it is not read for a while, because of that rate. */
	void (*throttled)(struct cloud_stream *s, uint64_t rate);
};

enum cloud_port_tls { CLOUD_PORT_BOTH, CLOUD_PORT_TLS_ONLY };

struct cloud_port_conf {
	struct cw_worker *worker;
	struct cloud_tls *tls;
	enum cloud_port_tls mode;
	int ask_certificate;    /* over TLS; see cw_cloud_tls_fingerprint() */
	const char *websocket;  /* sub-protocols of WebSockets on this port; NULL: there are none */
	const char *alpn;       /* see cw_cloud_tls_conn_new() */
	const char *address;    /* "host:port", numeric host; port 0: any free one */
	size_t out_queue_bytes; /* a stream with more waiting is closed */
	const struct cloud_port_ops *ops;
	void *arg;
};

/* Reason with which a stream ends whose peer does not read; compared by pointer. */
extern const char cw_cloud_stream_slow[];

/* "host:port" or "[v6]:port", numeric, or localhost. CW_ECONF with a sentence. */
int cw_cloud_parse_address(const char *text, struct sockaddr_storage *ret, struct cw_msg *msg);
/* `conf` is copied. 0 or an error with a sentence. */
int cw_cloud_port_open(const struct cloud_port_conf *conf, struct cloud_port **ret_port, struct cw_msg *msg);
/* Bound address, "host:port". */
const char *cw_cloud_port_address(const struct cloud_port *p);
void *cw_cloud_port_arg(const struct cloud_port *p);
/* Ends every stream; `closed` (or NULL) runs when the last handle is gone and the port is freed. */
void cw_cloud_port_close(struct cloud_port *p, void (*closed)(void *arg), void *arg);

/* Queue bytes; no error: out of memory ends the stream in the next pass. Ignored once it has ended. */
void cw_cloud_stream_put(struct cloud_stream *s, const void *data, size_t len);
/* Space for n bytes at the end of s->out (add them to s->out.len, then call cw_cloud_stream_dirty()), or NULL. */
uint8_t *cw_cloud_stream_want(struct cloud_stream *s, size_t n);
void cw_cloud_stream_dirty(struct cloud_stream *s);
/* Close as soon as everything is written. */
void cw_cloud_stream_doom(struct cloud_stream *s, const char *reason);
/* Close now. closed() has run when it returns. */
void cw_cloud_stream_drop(struct cloud_stream *s, const char *reason);
/* Ask may_read() again, and start or stop reading. */
void cw_cloud_stream_recheck(struct cloud_stream *s);
/* No more bytes from us, reading goes on: half of the connection is closed. */
void cw_cloud_stream_half_close(struct cloud_stream *s);

#endif
