/*
 * http.h - the source `http`: somebody else's inventory, asked over HTTP.
 *
 *   GET URL?identity=I[&imei=..][&mac=..]              who is this?
 *   GET URL?productKey=P&deviceName=N                  and the reverse
 *   200 {"identity","productKey","deviceName","deviceSecret","settings"?}, 404: nobody; anything else: not now.
 *
 * On the control loop, which owns the fetch pool.
 */
#ifndef CW_IDENTITY_HTTP_H
#define CW_IDENTITY_HTTP_H

#include "fetch/fetch.h"
#include "identity/resolver.h"

struct cw_http_source;

struct cw_http_source_conf {
	const char *name; /* of the source, in logs; lent. NULL: http */
	const char *url;
	const char *token; /* sent as Authorization: Bearer; may be NULL */
	struct cw_fetch_tls tls;
	unsigned timeout_ms;
};

extern const struct cw_source_ops cw_http_source_ops;
/* The same under the name `factory`: the inventory is a causeway-factory. */
extern const struct cw_source_ops cw_http_factory_ops;

/* Texts are copied. The pool must live as long. */
int cw_http_source_new(struct cw_resolver *r, struct cw_fetch_pool *pool, const struct cw_http_source_conf *conf,
                       struct cw_http_source **ret_source);
/* What an answer says, by its status and body; *ret_id is owned (cw_identity_free). `asked` NULL: a reverse look-up. */
int cw_http_source_read(int status, struct cw_bytes body, const char *asked, struct cw_identity **ret_id, struct cw_msg *msg);

#endif
