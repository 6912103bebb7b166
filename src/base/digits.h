/* digits.h - bytes as text: hexadecimal and percent-encoding. Plain C, no state, any thread. Base64: base64.h. */
#ifndef CW_BASE_DIGITS_H
#define CW_BASE_DIGITS_H

#include <stddef.h>

#include "causeway/bytes.h"

/* Characters for `n` bytes in hexadecimal, without and with a NUL. */
#define CW_HEX_LEN(n) (2 * (n))
#define CW_HEX_SIZE(n) (2 * (n) + 1)

/* Lower-case digits and a NUL into out[CW_HEX_SIZE(in.len)]. */
void cw_hex(char *out, struct cw_bytes in);
/* The value of one digit of either case; -1: it is none. */
int cw_hex_value(char c);

/*
 * Everything but letters, digits and - _ . ~ as %XX (RFC 3986, and what the platform signs), with a NUL behind it. The end
 * of the text (its NUL), or NULL when out[size] is too small; out is then without meaning. 3 * in.len + 1 bytes always do.
 */
char *cw_percent(char *out, size_t size, struct cw_bytes in);

#endif
