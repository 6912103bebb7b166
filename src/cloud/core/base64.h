/* base64.h - Base64 as the platform takes it, over base/base64.h. No state; any thread. */
#ifndef CW_CLOUD_BASE64_H
#define CW_CLOUD_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* A new text, NUL behind it, for cw_free(); NULL: out of memory. */
char *cw_cloud_base64(const void *bytes, size_t len);
/*
 * Digits in groups of four, '=' only at the end, nothing between; anything else is CW_EPROTO. `out` has room for
 * len / 4 * 3 bytes, which may be written whatever is returned; *ret_len of them count.
 */
int cw_cloud_base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len);

#endif
