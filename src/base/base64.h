/* base64.h - Base64 of RFC 4648 with its padding, both ways. Plain C, no state. */
#ifndef CW_BASE_BASE64_H
#define CW_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "causeway/bytes.h"

/* Characters for `n` bytes, without a NUL. */
#define CW_BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* Into out[CW_BASE64_SIZE(in.len)]; returns that length. No NUL is written. */
size_t cw_base64_encode(char *out, struct cw_bytes in);
/* Into out[in.len / 4 * 3 + 2]. Padding may be missing, line breaks may not be there. 0 or CW_EPROTO. */
int cw_base64_decode(uint8_t *out, size_t *ret_len, struct cw_bytes in);

#endif
