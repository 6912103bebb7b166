/*
 * fetch.h - HTTP calls out of a worker's loop, over libcurl: authentication endpoint,
 * tokens, OpenAPI, registration, identity look-ups, firmware.
 *
 * One pool a worker; all calls and callbacks on its loop. HTTP/1.1 and HTTPS, IPv4 and
 * IPv6, connections are kept and reused (8 a host). Nothing here follows redirects,
 * reads netrc or proxies from the environment, or logs a body or a header.
 */
#ifndef CW_FETCH_FETCH_H
#define CW_FETCH_FETCH_H

#include "base/err.h"
#include "causeway/bytes.h"
#include "loop/worker.h"

struct cw_fetch_pool;
struct cw_fetch; /* one call under way */

struct cw_fetch_tls {
	const char *ca;               /* PEM file; NULL: the system's authorities */
	const char *certificate, *key; /* of the client, may be NULL */
	int verify;                   /* the server's certificate and name */
};

struct cw_fetch_reply {
	int rc;     /* 0: an HTTP answer came, whatever its status; CW_EUNREACH, CW_ETIMEDOUT, CW_EACCESS (TLS), CW_ELIMIT
		       (longer than `most`), CW_ENOMEM, CW_EIO (ended in the middle; CW_EINVAL: the URL) */
	int status; /* HTTP status */
	struct cw_bytes body; /* lent; empty when `on_data` took it */
	int sent;   /* of the request at least a part left; 0: the other side cannot have acted on it */
	const char *text;     /* a sentence about a failure: host, step and cause; never has a query or a body. Lent */
};

struct cw_fetch_request {
	const char *method; /* NULL: GET without, POST with body */
	const char *url;
	const char *const *headers; /* "Name: value", ends with NULL; may be NULL */
	struct cw_bytes body;
	struct cw_fetch_tls tls;
	unsigned connect_timeout_ms, timeout_ms; /* 0: 10 s and 30 s */
	unsigned stall_ms;                       /* without a byte for so long: given up; 0: only timeout_ms counts */
	size_t most;                             /* bytes of the answer's body; 0: 1 MiB */
	/* Pieces of the body as they come instead of one at the end; not 0 ends the call with that error. May be NULL. */
	int (*on_data)(void *ctx, int status, struct cw_bytes piece);
	/* Exactly once unless cancelled; never before cw_fetch_start() has returned. The call is gone when it returns. */
	void (*done)(void *ctx, const struct cw_fetch_reply *reply);
	void *ctx;
};

int cw_fetch_pool_new(struct cw_worker *w, struct cw_fetch_pool **ret_pool);
/* Ends what is under way without telling. On the loop, before its end; accepts NULL. */
void cw_fetch_pool_free(struct cw_fetch_pool *pool);

/* 0, or CW_EINVAL: not like https://host:port/path, or with a user name in it; a call would end with that. Any thread. */
int cw_fetch_check_url(const char *url);
/* Everything in `r` is copied but the files' contents. 0 or an error (then `done` never runs). */
int cw_fetch_start(struct cw_fetch_pool *pool, const struct cw_fetch_request *r, struct cw_fetch **ret_fetch);
/* 1 when a part of the request has left; see `sent` of the reply. */
int cw_fetch_sent(const struct cw_fetch *f);
/* `done` will not run. */
void cw_fetch_cancel(struct cw_fetch *f);

/* The same, waiting for it, on any thread without a loop: for the command line. The reply's texts are in msg and *ret_body
 * (cw_free). */
int cw_fetch_wait(const struct cw_fetch_request *r, int *ret_status, char **ret_body, size_t *ret_len, struct cw_msg *msg);

#endif
