/*
 * The WebSocket layer as a hostile client would meet it. First byte: how the rest is cut into reads. With bit 7 a valid
 * upgrade goes before, so that frames are reached at once. Whatever was taken, what comes out stays in bounds, and nothing more
 * comes once it is over.
 */
#include <stdlib.h>

#include "cloud/wire/ws.h"

static const char upgrade[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n\r\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of exactly these bytes, so that a read beyond them is seen. */
static int feed(struct cloud_ws *ws, const void *data, size_t len, struct cloud_bytes *in, struct cloud_bytes *out)
{
	uint8_t *copy = malloc(len != 0 ? len : 1);
	int rc;

	if (copy == NULL)
		abort();
	memcpy(copy, data, len);
	rc = cw_cloud_ws_feed(ws, copy, len, in, out);
	free(copy);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cloud_bytes in = { NULL, 0, 0 }, out = { NULL, 0, 0 }, plain = { NULL, 0, 0 };
	struct cloud_ws *ws = NULL;
	size_t at = 1, piece;
	int rc = 0;

	if (size == 0 || cw_cloud_ws_new("mqtt mqttv3.1", &ws) < 0)
		return 0;
	if ((data[0] & 0x80) != 0 && feed(ws, upgrade, sizeof(upgrade) - 1, &in, &out) != 0)
		abort();
	piece = (size_t)(data[0] & 0x7f) + 1;
	for (; at < size && rc == 0; at += piece)
		rc = feed(ws, data + at, size - at < piece ? size - at : piece, &in, &out);
	/* Payload is shorter than its frames; answers are pongs, as long as their pings, or one page. */
	if (in.len > size || out.len > size + 1024 || (rc != 0 && cw_cloud_ws_reason(ws) == NULL))
		abort();
	if (rc != 0) {
		size_t before = out.len;

		if (feed(ws, "\x89\x80xxxx", 6, &in, &out) != 0 || out.len != before)
			abort();
	}
	if (cw_cloud_bytes_add(&plain, "\xd0", 2) < 0 || cw_cloud_ws_wrap(ws, &plain, &out) < 0 || plain.len != 0)
		abort();
	cw_cloud_bytes_free(&in);
	cw_cloud_bytes_free(&out);
	cw_cloud_bytes_free(&plain);
	cw_cloud_ws_free(ws);
	return 0;
}
