/* base64.c - see base64.h. */
#include "cloud/core/base64.h"

#include "base/base64.h"
#include "base/mem.h"
#include "causeway/error.h"

char *cw_cloud_base64(const void *bytes, size_t len)
{
	char *out = cw_alloc(CW_BASE64_SIZE(len) + 1);

	if (out != NULL)
		out[cw_base64_encode(out, cw_bytes_of(bytes, len))] = '\0';
	return out;
}

int cw_cloud_base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len)
{
	return len % 4 != 0 ? CW_EPROTO : cw_base64_decode(out, ret_len, cw_bytes_of(text, len));
}
