/* digits.h - bytes as text: hex and Base64. No state; any thread. */
#ifndef CW_CLOUD_DIGITS_H
#define CW_CLOUD_DIGITS_H

#include <stddef.h>
#include <stdint.h>

/* `len` bytes as lower-case hex with a NUL: 2 * len + 1 bytes of `out`. */
void cw_cloud_hex(const void *bytes, size_t len, char *out);
/* Value of one hex digit of either case, or -1. */
int cw_cloud_hex_value(char c);
/* A new text, NUL behind it, for cw_free(); NULL: out of memory. */
char *cw_cloud_base64(const void *bytes, size_t len);
/*
 * Digits in groups of four, '=' only at the end, nothing between; anything else is CW_EPROTO. `out` has room for
 * len / 4 * 3 bytes, which may be written whatever is returned; *ret_len of them count.
 */
int cw_cloud_base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len);

#endif
