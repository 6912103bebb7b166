/*
 * secret.h - what carries secrets over HTTP: tokens that clients send, answers that nobody else may find in memory later.
 */
#ifndef CW_HTTP_SECRET_H
#define CW_HTTP_SECRET_H

#include "http/http.h"

/* The token of "Bearer TOKEN", or NULL. `authorization`: the header field, NULL: there was none. Lent as that is. */
const char *cw_http_bearer(const char *authorization);
/* The same text? In a time that tells nothing about `secret` but its length. An empty secret is nobody's: 0. */
int cw_http_secret_same(const char *given, const char *secret);
/*
 * cw_http_reply_lent() with a text that is given away (cw_alloc): it is wiped and freed when the client has it or has gone. Without
 * memory the connection ends.
 */
void cw_http_reply_secret(struct cw_http_req *req, unsigned status, const struct cw_http_field *fields, size_t count, char *text, size_t len);

#endif
