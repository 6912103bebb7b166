/*
 * number.h - inside of module conf: text to numbers as the HOCON reference reads it.
 * Nothing depends on the locale. Every function returns 0 or CW_EINVAL (CW_ELIMIT: out of range).
 */
#ifndef CW_CONF_NUMBER_H
#define CW_CONF_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits with an optional sign, within 64 bits. ret may be NULL. */
int conf_parse_long(const char *text, size_t len, int64_t *ret);
/* 1, 1., .5, 1e-3, -2.5E+10: digits, at most one point, an exponent; no suffix, no space. */
bool conf_is_decimal(const char *text, size_t len);
/* As above, and what Double.parseDouble() takes beside it: space around, f or d behind, NaN, Infinity, hexadecimal. */
int conf_parse_double(const char *text, size_t len, double *ret);
/* A number as JSON allows it. */
bool conf_is_json_number(const char *text, size_t len);
/* A double to an integer: cut towards zero, saturating, NaN is 0. */
int64_t conf_double_to_long(double d);

/* "10s", "64KiB" and "3 weeks"; the text is trimmed first. `unit` (may be NULL): the unit found, for messages. */
int conf_parse_duration(const char *text, size_t len, int64_t *ret_ns);
int conf_parse_bytes(const char *text, size_t len, uint64_t *ret_bytes);
struct cw_period;
int conf_parse_period(const char *text, size_t len, struct cw_period *ret_period);

#endif
