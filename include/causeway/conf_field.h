/*
 * conf_field.h - how a plugin declares its settings: tables, checked by the host
 * before the plugin sees a value. What reaches the plugin is an encoded map
 * (record.h) in which every field of the table is present, defaults filled in.
 *
 * A field given outside its scope is refused. A CW_FIELD_TABLE named `defaults` on the
 * outermost level is special: its members, where they are fields of that level too,
 * stand below what all other places say, for those who keep defaults apart.
 */
#ifndef CAUSEWAY_CONF_FIELD_H
#define CAUSEWAY_CONF_FIELD_H

#include <stdint.h>

#define CW_FIELD_BOOL 1     /* true or false */
#define CW_FIELD_INT 2      /* 64 bits */
#define CW_FIELD_DECIMAL 3  /* decimal fraction */
#define CW_FIELD_STRING 4   /* text */
#define CW_FIELD_ENUM 5     /* text, one of `values` */
#define CW_FIELD_DURATION 6 /* integer milliseconds; `10s` in the file */
#define CW_FIELD_BYTES 7    /* integer bytes; `64KiB` in the file */
#define CW_FIELD_SECRET 8   /* text, `file:PATH` allowed, never shown */
#define CW_FIELD_LIST 9     /* array of tables of `fields`; of strings when `fields` is NULL */
#define CW_FIELD_MAP 10     /* map of name to table of `fields`; to string when `fields` is NULL */
#define CW_FIELD_TABLE 11   /* one table of `fields` */

/* Where a field may be given; the narrowest place counts. */
#define CW_SCOPE_PROTOCOL 1u /* protocols.<name> */
#define CW_SCOPE_LISTENER 2u /* listeners[].settings, connections[].settings */
#define CW_SCOPE_PRODUCT 4u  /* products.<productKey>.settings */
#define CW_SCOPE_DEVICE 8u   /* devices.conf, <identity>.settings */
#define CW_SCOPE_ANY 15u

/* All texts are static. Lists end with an entry whose name is NULL. */
struct cw_conf_field {
	const char *name;    /* camelCase */
	uint32_t type;       /* CW_FIELD_* */
	uint32_t scope;      /* CW_SCOPE_* bits; 0 means CW_SCOPE_ANY */
	const char *initial; /* default, written as in the file; NULL: must be given */
	const char *min;     /* smallest and largest accepted value, as in the file; NULL: none */
	const char *max;
	const char *values; /* CW_FIELD_ENUM: "a|b|c" */
	const char *help;   /* one sentence for the reference */
	const struct cw_conf_field *fields; /* nested */
};

#endif
