/* crc32.h - CRC-32 as zlib and Ethernet have it (polynomial 04C11DB7, reflected, initial and final XOR FFFFFFFF). Any thread. */
#ifndef CW_BASE_CRC32_H
#define CW_BASE_CRC32_H

#include <stdint.h>

#include "causeway/bytes.h"

/* `before` is 0, or the sum of the bytes before these: parts add up to the sum of the whole. */
uint32_t cw_crc32(uint32_t before, struct cw_bytes bytes);

#endif
