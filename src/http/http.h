/*
 * http.h - an HTTP/1.0 and 1.1 server on a worker's loop, plain or over TLS: libmicrohttpd without threads of its own.
 *
 * Every request is collected whole (bounded body) and handed to one function, which answers now or
 * later, once, or opens a stream of events. Waiting requests cost no polling: their connection is
 * suspended. Everything happens on the worker's thread.
 */
#ifndef CW_HTTP_HTTP_H
#define CW_HTTP_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/worker.h"

struct cw_http;
struct cw_http_req;

/* A request is whole. `req` belongs to the server; it lives until answered, and its client is gone or served. */
typedef void (*cw_http_fn)(void *arg, struct cw_http_req *req);

struct cw_http_conf {
	const char *address; /* "host:port", numeric host, port 0: any free one; or "unix:/path", mode 0660 */
	size_t max_body;     /* a larger body is answered 413 */
	unsigned per_address; /* connections from one address at a time; further ones are closed. 0: as many as there may be */
	size_t max_head;     /* bytes of request line and header fields together; 0: 32 KiB. More is answered 414 or 431 */
	size_t (*room)(void *arg, const struct cw_http_req *req); /* NULL, or how long this one's body may be, told by its head; <= max_body */
	int hand_large;      /* hand a request with a larger body up instead, without it; cw_http_too_large() tells */
	const char *tls_certificate,
		*tls_key; /* PEM texts (chain; key), read while opening; NULL: plain. TLS 1.2 and later */
	const char *tls_client_ca; /* PEM text of authorities: clients are asked for a certificate of one of them, which
	                              cw_http_client() looks at. Who has none may ask all the same, and is told so by an answer */
	cw_http_fn handle;
	void *arg;
	void (*settle)(void *arg); /* NULL, or called before each answer leaves: make safe what it tells */
	void *settle_arg;
};

struct cw_http_field {
	const char *name, *value;
};

/* 0 or an error with a sentence. `conf` is copied. */
int cw_http_open(struct cw_worker *w, const struct cw_http_conf *conf, struct cw_http **ret_http, struct cw_msg *msg);
/* The bound address, "host:port". */
const char *cw_http_address(const struct cw_http *h);
/*
 * Nobody new is let in, and every answer from here on ends its connection. `drained` runs, once, when no request is under way
 * any more or `ms` have passed, never before this returns. Then close. Not with streams, which end by their owner's doing.
 */
void cw_http_drain(struct cw_http *h, uint64_t ms, void (*drained)(void *arg), void *arg);
/* End every request and stream, close; `closed` runs when the last handle is gone and the server is freed. */
void cw_http_close(struct cw_http *h, void (*closed)(void *arg), void *arg);

/* Of the request; all texts are lent and live as long as it. */
const char *cw_http_method(const struct cw_http_req *req);
const char *cw_http_path(const struct cw_http_req *req);                    /* percent-decoded, without the query */
const char *cw_http_query(const struct cw_http_req *req, const char *name); /* NULL: not there */
const char *cw_http_target(const struct cw_http_req *req); /* path and query as the client wrote them */
const char *cw_http_header(const struct cw_http_req *req, const char *name); /* case is no matter; NULL: not there */
const char *cw_http_peer(const struct cw_http_req *req);                     /* "host:port", empty on a unix socket */
/* The common name of the client's certificate, which tls_client_ca vouches for and which is in force now; NULL: there is none such. */
const char *cw_http_client(const struct cw_http_req *req);
const char *cw_http_body(const struct cw_http_req *req, size_t *ret_len);
/* The body, NUL-terminated, to keep (cw_free); the request has none afterwards. NULL: there was none. For work that outlives the request. */
char *cw_http_take_body(struct cw_http_req *req, size_t *ret_len);
int cw_http_too_large(const struct cw_http_req *req);
/*
 * Parameters, decoded: of the query, and then of the body if that is application/x-www-form-urlencoded. At most
 * CW_FORM_PAIRS_MAX of either. None when there is no memory for them.
 */
void cw_http_params(struct cw_http_req *req, void (*each)(void *arg, const char *name, const char *value), void *arg);
/* The first of that name, or NULL. */
const char *cw_http_param(struct cw_http_req *req, const char *name);

/*
 * Told when a request that waits, or a stream, ends without the owner's doing (the client left, the server
 * closes). Not called after cw_http_reply(). A later call replaces the earlier; fn NULL: nobody.
 */
void cw_http_on_gone(struct cw_http_req *req, void (*fn)(void *arg), void *arg);

/* Answer, once. The body is copied. `type` NULL: no Content-Type. Afterwards the caller lets go of req. */
void cw_http_reply(struct cw_http_req *req, unsigned status, const char *type, const void *body, size_t len);
/* The same with header fields of the caller's choice, copied as the body is. */
void cw_http_reply_with(struct cw_http_req *req, unsigned status, const struct cw_http_field *fields, size_t count,
			const void *body, size_t len);
/*
 * The same without copying the body: it stays as it is until release(arg) is called, which is when the client has it
 * all or has gone, or before this returns when there is no memory. Of HEAD the body is not sent, only its length.
 */
void cw_http_reply_lent(struct cw_http_req *req, unsigned status, const struct cw_http_field *fields, size_t count,
			const void *body, size_t len, void (*release)(void *arg), void *arg);
/* End the connection without an answer. Afterwards the caller lets go of req. */
void cw_http_abort(struct cw_http_req *req);

/* Answer 200 and keep the connection open for what follows. */
void cw_http_stream(struct cw_http_req *req, const char *type);
/* Append to a stream. 0; CW_ELIMIT: the client reads too slowly, nothing was added; CW_ENOMEM. */
int cw_http_stream_write(struct cw_http_req *req, const void *data, size_t len);
/* No more will come. Afterwards the caller lets go of req. */
void cw_http_stream_end(struct cw_http_req *req);

#endif
