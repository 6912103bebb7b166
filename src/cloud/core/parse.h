/*
 * parse.h - JSON from outside, no deeper than what can be kept.
 *
 * The library reads 2,048 levels and writes any number; what was read from a message is written into the state file some levels
 * deeper, and could not be read from there again. So everything that comes in is bounded far below. No state.
 */
#ifndef CW_CLOUD_PARSE_H
#define CW_CLOUD_PARSE_H

#include <jansson.h>
#include <stddef.h>

#define CLOUD_JSON_DEPTH 256u

/* json_loadb(); NULL also for what nests deeper than CLOUD_JSON_DEPTH. `error` may be NULL. */
json_t *cw_cloud_json(const char *text, size_t len, size_t flags, json_error_t *error);
/* 1: UTF-8, so that it can stand in JSON. */
int cw_cloud_is_utf8(const char *text, size_t len);

#endif
