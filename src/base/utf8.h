/* utf8.h - is this text? Plain C, no state, any thread. */
#ifndef CW_BASE_UTF8_H
#define CW_BASE_UTF8_H

#include "causeway/bytes.h"

/* 1: well-formed UTF-8. Overlong forms, surrogates and values above U+10FFFF are not. One pass, no tables. */
int cw_utf8_valid(struct cw_bytes s);

/*
 * What somebody else has written, before it goes to a person's terminal: each byte of a character that would command it, or turn the
 * direction of what stands beside it, becomes a question mark. Those are C0, DEL and C1, line separators, marks of direction, and what
 * is no UTF-8. The length stays.
 */
void cw_utf8_tame(char *text);

#endif
