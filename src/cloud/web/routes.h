/*
 * routes.h - which paths of the emulator's HTTPS listener belong to whom.
 *
 * The platform has several hosts behind TLS (device access, authentication, downloads, management); here they are
 * paths of one listener. A front adds its paths while it opens. One thread.
 */
#ifndef CW_CLOUD_ROUTES_H
#define CW_CLOUD_ROUTES_H

#include "http/http.h"

/* Bytes of request line and header fields that a listener must take which serves the management API: newer SDKs put
   everything in the query, a thousand names with nicknames too. */
#define CLOUD_WEB_HEAD (256u << 10)

struct cloud_routes;

int cw_cloud_routes_new(struct cloud_routes **ret_routes);
void cw_cloud_routes_free(struct cloud_routes *r);
/* `path` (static text): this one; ending in '/': and everything below, "/" alone only itself. 0 or CW_ENOMEM. */
int cw_cloud_routes_add(struct cloud_routes *r, const char *path, cw_http_fn fn, void *arg);
/* Hand the request to the longest path that fits. 0; CW_ENOENT: nobody's, not answered. */
int cw_cloud_routes_serve(struct cloud_routes *r, struct cw_http_req *req);

#endif
