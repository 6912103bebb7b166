/*
 * value.h - values of a parsed configuration: look at them, convert them.
 *
 * A value belongs to its tree (parse.h) and is read-only; it lives until the last
 * reference to the tree is dropped. Reading needs no lock: several threads may
 * read one tree. Only cw_value_to_list(), and cw_value_find() for paths with quotes,
 * allocate (CW_ENOMEM).
 *
 * Conversions are those of the HOCON reference: text becomes a number or boolean
 * and back where it reads as one, objects with numeric keys become lists. Each
 * returns 0, or CW_ECONF with a sentence in msg that names file, line and column,
 * what was found (never for a secret) and what is accepted.
 */
#ifndef CW_CONF_VALUE_H
#define CW_CONF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum cw_value_type {
	CW_VALUE_NULL,
	CW_VALUE_BOOL,
	CW_VALUE_NUMBER,
	CW_VALUE_STRING,
	CW_VALUE_LIST,
	CW_VALUE_OBJECT,
};

struct cw_value;

/* Where a value was written. Line and column count from 1; 0: not from a file (environment, default). */
struct cw_origin {
	const char *file; /* never NULL; as opened, or "environment" */
	unsigned line, column;
};

/* One member of an object. The key is its spelling with quotes and escapes taken away, NUL-terminated. */
struct cw_member {
	const char *key;
	uint32_t key_len;
	const struct cw_value *value;
};

enum cw_value_type cw_value_type(const struct cw_value *v);
const char *cw_value_type_name(enum cw_value_type type); /* "a string", "an object", ... for messages */
struct cw_origin cw_value_origin(const struct cw_value *v);

/* Elements of a list or members of an object; 0 for anything else. */
size_t cw_value_count(const struct cw_value *v);
/* Element i of a list; NULL when out of range or no list. */
const struct cw_value *cw_value_at(const struct cw_value *v, size_t i);
/* Member i of an object in the order of first appearance; 0 when out of range or no object, else 1. */
int cw_value_member(const struct cw_value *v, size_t i, struct cw_member *ret_member);

/* Member by key (one key, dots mean nothing); NULL when absent or no object. Members that are null are returned. */
const struct cw_value *cw_value_get(const struct cw_value *object, const char *key);
const struct cw_value *cw_value_get_n(const struct cw_value *object, const char *key, size_t key_len);

/*
 * Member by path expression as in a file: `a.b."c.d"`. 0; CW_EINVAL for a path
 * that is none; CW_ENOENT when nothing (or null) is there or the way leads through something
 * that is no object. *ret_value is untouched on failure; msg (may be NULL) says which part is missing.
 */
int cw_value_find(const struct cw_value *root, const char *path, const struct cw_value **ret_value, struct cw_msg *msg);

/* Text of a string, spelling of a number, "true" or "false"; NULL for others. NUL-terminated; ret_len may be NULL. */
const char *cw_value_text(const struct cw_value *v, size_t *ret_len);

int cw_value_to_string(const struct cw_value *v, const char **ret_text, size_t *ret_len, struct cw_msg *msg);
int cw_value_to_bool(const struct cw_value *v, bool *ret_bool, struct cw_msg *msg);
int cw_value_to_int32(const struct cw_value *v, int32_t *ret_int, struct cw_msg *msg);
int cw_value_to_int64(const struct cw_value *v, int64_t *ret_int, struct cw_msg *msg);
int cw_value_to_double(const struct cw_value *v, double *ret_double, struct cw_msg *msg);
/* 10s, 1.5 h, 250 (milliseconds) */
int cw_value_to_duration_ns(const struct cw_value *v, int64_t *ret_ns, struct cw_msg *msg);
int cw_value_to_duration_ms(const struct cw_value *v, int64_t *ret_ms, struct cw_msg *msg);
/* 64KiB, 10 megabytes, 512 (bytes) */
int cw_value_to_bytes(const struct cw_value *v, uint64_t *ret_bytes, struct cw_msg *msg);

/* A span of calendar time: 7 days, 2w, 3 m (months), 1 year; a bare number is days. */
struct cw_period {
	int32_t years, months, days;
};
int cw_value_to_period(const struct cw_value *v, struct cw_period *ret_period, struct cw_msg *msg);

/*
 * The elements of a list, or of an object whose keys are numbers, in their order
 * (keys that are no number are left out). *ret_items is owned: cw_value_list_free().
 */
int cw_value_to_list(const struct cw_value *v, const struct cw_value *const **ret_items, size_t *ret_count, struct cw_msg *msg);
void cw_value_list_free(const struct cw_value *const *items);

/*
 * The same for text that comes from elsewhere (a default in a table, a command
 * line). 0 or CW_EINVAL; msg (may be NULL) says what is accepted, without a place.
 */
int cw_text_to_bool(const char *text, bool *ret_bool, struct cw_msg *msg);
int cw_text_to_int64(const char *text, int64_t *ret_int, struct cw_msg *msg);
int cw_text_to_double(const char *text, double *ret_double, struct cw_msg *msg);
int cw_text_to_duration_ns(const char *text, int64_t *ret_ns, struct cw_msg *msg);
int cw_text_to_duration_ms(const char *text, int64_t *ret_ms, struct cw_msg *msg);
int cw_text_to_bytes(const char *text, uint64_t *ret_bytes, struct cw_msg *msg);
int cw_text_to_period(const char *text, struct cw_period *ret_period, struct cw_msg *msg);

/* 1 when values under this key must not be shown: its name contains secret, password, passwd, token or passphrase. */
int cw_conf_key_is_secret(const char *key, size_t key_len);

#endif
