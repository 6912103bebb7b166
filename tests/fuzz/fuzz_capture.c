/* fuzz_capture.c - files that are or nearly are captures. The first byte chooses what is asked for. */
#include <stdint.h>
#include <stdlib.h>

#include "capture/capture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_capture_how how = { .start_ms = 1767225600000 };
	struct cw_msg msg = { "" };
	struct cw_capture *c;
	size_t i;
	uint64_t sum = 0;

	if (size < 1)
		return 0;
	how.udp = data[0] & 1;
	how.port = data[0] & 2 ? 7611 : 0;
	how.device_port = data[0] & 4 ? 502 : 0;
	if (cw_capture_read(cw_bytes_of(data + 1, size - 1), &how, &c, &msg) < 0)
		return msg.text[0] == '\0' ? abort(), 0 : 0;
	for (i = 0; i < c->count; i++) {
		const struct cw_seen *e = &c->events[i];
		struct cw_bytes b = cw_seen_bytes(c, e);

		if (e->conn >= c->conn_count || e->time_ms < 0 || b.len > c->len || e->at > c->len - b.len)
			abort();
		for (size_t k = 0; k < b.len; k++)
			sum += b.ptr[k];
	}
	if (sum > 255 * (uint64_t)c->len) /* no byte is told twice */
		abort();
	cw_capture_free(c);
	return 0;
}
