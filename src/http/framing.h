/* framing.h - where the body of a request ends; within this folder. */
#ifndef CW_HTTP_FRAMING_H
#define CW_HTTP_FRAMING_H

#include <microhttpd.h>

/*
 * Two lengths that differ, or one beside chunks: the library believes one of them, and whoever stands before us may believe the other and
 * take the rest of the body for somebody else's request (RFC 9112 6.1, 6.3). 1: it has one
 * length, or none.
 */
int http_has_one_length(struct MHD_Connection *conn);

#endif
