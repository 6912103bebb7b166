/* utf8.h - is this text? Plain C, no state, any thread. */
#ifndef CW_BASE_UTF8_H
#define CW_BASE_UTF8_H

#include "causeway/bytes.h"

/* 1: well-formed UTF-8. Overlong forms, surrogates and values above U+10FFFF are not. One pass, no tables. */
int cw_utf8_valid(struct cw_bytes s);

#endif
