/* The JSON a bridge publishes. What was taken is written as a push and must read back as the same. */
#include <stdlib.h>
#include <string.h>

#include "cloud/http2/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cloud_bytes out = { NULL, 0, 0 };
	struct h2_envelope e, again;

	if (cw_cloud_envelope_parse(data, size, &e) == 0 && e.topic != NULL) {
		if (cw_cloud_envelope_write(&out, "1", e.pk, e.dn, e.topic,
					    e.payload.len != 0 ? (const char *)e.payload.data : "",
					    e.payload.len) < 0 ||
		    cw_cloud_envelope_parse(out.data, out.len, &again) < 0)
			abort();
		if (strcmp(e.pk, again.pk) != 0 || strcmp(e.dn, again.dn) != 0 || strcmp(e.topic, again.topic) != 0 ||
		    e.payload.len != again.payload.len ||
		    (e.payload.len != 0 && memcmp(e.payload.data, again.payload.data, e.payload.len) != 0))
			abort();
		cw_cloud_envelope_fini(&again);
	}
	cw_cloud_envelope_fini(&e);
	cw_cloud_bytes_free(&out);
	return 0;
}
