/*
 * dump.h - trees and settings tables as text for people and programs.
 *
 * Output goes through a growing buffer that the caller owns. Values under keys
 * that name a secret (cw_conf_key_is_secret) read "***" when CW_DUMP_MASK is set.
 */
#ifndef CW_CONF_DUMP_H
#define CW_CONF_DUMP_H

#include <stddef.h>

#include "conf/schema.h"
#include "conf/value.h"

enum cw_dump_format { CW_DUMP_JSON, CW_DUMP_HOCON };
#define CW_DUMP_MASK 1u

/* *ret_text is NUL-terminated and owned (cw_free). 0 or CW_ENOMEM. JSON: sorted keys, two spaces, ends with a newline. */
int cw_dump_value(const struct cw_value *v, enum cw_dump_format format, unsigned flags, char **ret_text, size_t *ret_len);

enum cw_reference_format { CW_REFERENCE_TEXT, CW_REFERENCE_MARKDOWN, CW_REFERENCE_HOCON };

/* The reference of a settings table: path, type, default, range, meaning of each. */
int cw_dump_reference(const struct cw_conf_table *table, enum cw_reference_format format, char **ret_text, size_t *ret_len);
/* The same for a plugin's table; `prefix` (as in "protocols.jt808") goes before each name. */
int cw_dump_fields(const struct cw_conf_field *fields, const char *prefix, enum cw_reference_format format, char **ret_text,
                   size_t *ret_len);
/* What a plugin's CW_FIELD_* type is called in the reference. */
const char *cw_conf_field_type(uint32_t type);
/* A bound struct as it took effect, defaults included, secrets masked; as HOCON. */
int cw_dump_effective(const struct cw_conf_table *table, const void *conf, char **ret_text, size_t *ret_len);

#endif
