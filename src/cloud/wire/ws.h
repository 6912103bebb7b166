/*
 * ws.h - the server's side of WebSocket (RFC 6455) over memory: bytes of the client in, what its frames carry out.
 *
 * A layer between the wire (or TLS) and a protocol that is a stream of bytes: the borders of frames and messages mean
 * nothing to it. First the HTTP upgrade, to any path, then binary frames. Pings are answered here, text is refused
 * with 1003. Bounded: the request by 8 KiB, a message by 1 MiB, and nothing is kept of a message beyond what the
 * caller takes. No socket; one thread.
 */
#ifndef CW_CLOUD_WS_H
#define CW_CLOUD_WS_H

#include <stddef.h>

#include "cloud/wire/bytes.h"

#define CLOUD_WS_HEAD_MAX    8192u      /* the upgrade request */
#define CLOUD_WS_MESSAGE_MAX (1u << 20) /* all frames of one message; clients begin a message for each write */

struct cloud_ws;

/* `protocols`: sub-protocols that are agreed to when asked for, space between them; a client that asks for none is fine. */
int cw_cloud_ws_new(const char *protocols, struct cloud_ws **ret_ws);
void cw_cloud_ws_free(struct cloud_ws *ws);
/*
 * Bytes from the client: payload is appended to `in`, answers to `out`. 0; CW_ECLOSED: send what is in `out`, then end
 * the connection; CW_ENOMEM. What comes after CW_ECLOSED is thrown away.
 */
int cw_cloud_ws_feed(struct cloud_ws *ws, const void *data, size_t len, struct cloud_bytes *in, struct cloud_bytes *out);
/* Why cw_cloud_ws_feed() said CW_ECLOSED: static text. */
const char *cw_cloud_ws_reason(const struct cloud_ws *ws);
/* Put all of `plain` (emptied) into one frame at the end of `out`. 0 or CW_ENOMEM. */
int cw_cloud_ws_wrap(struct cloud_ws *ws, struct cloud_bytes *plain, struct cloud_bytes *out);

#endif
