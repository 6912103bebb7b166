/*
 * origin.h - requests that a web page of somebody else made its reader's browser send to us.
 *
 * Any page may POST to an address of the reader's own machine, and a page whose name was made to resolve to that
 * address (DNS rebinding) may read the answers too. Browsers tell: the first in Origin, the second in Host. Programs
 * send no Origin and are not concerned. One thread.
 */
#ifndef CW_HTTP_ORIGIN_H
#define CW_HTTP_ORIGIN_H

#include "http/http.h"

/* Origin and Host are NULL when the request has none. 1: made by a page that did not come from `host`. */
int cw_http_origin_foreign(const char *origin, const char *host);
/* 1: a name that does not mean this machine wherever it is looked up; addresses and localhost do. */
int cw_http_host_foreign(const char *host);
/*
 * Both, the second only where `http` listens on a loopback address, and what browsers say themselves about a request that is to
 * change something (Sec-Fetch-Site). NULL, or the sentence to refuse it with.
 */
const char *cw_http_foreign(const struct cw_http *http, const struct cw_http_req *req);

#endif
