/*
 * front.h - the bridge channel: HTTP/2 (nghttp2) on a port of its own, and /auth/bridge on the HTTPS listener.
 *
 * Built to serve the platform's own Java library unmodified: it offers no ALPN, sends requests whose only pseudo header
 * is :path, begins with stream 3, and takes pushes on streams nobody promised. One thread.
 */
#ifndef CW_CLOUD_HTTP2_FRONT_H
#define CW_CLOUD_HTTP2_FRONT_H

#include "cloud/front.h"

extern const struct cloud_front cw_cloud_http2_front;

#endif
