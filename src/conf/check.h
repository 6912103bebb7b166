/*
 * check.h - inside of module conf: what schema.c (tables of ours) and fields.c
 * (tables of plugins) share: one value against its rule, unknown keys, complaints.
 */
#ifndef CW_CONF_CHECK_H
#define CW_CONF_CHECK_H

#include "conf/schema.h"

#define CONF_SECRET_MAX 4096 /* bytes read from a file: reference */

struct conf_rule {
	const char *name; /* for messages */
	uint32_t type;    /* CW_FIELD_*, scalars only */
	const char *min, *max;
	const char *const *values; /* ENUM: list, or */
	const char *joined;        /* ENUM: "a|b|c" */
	bool required;             /* empty text is missing */
};

struct conf_checked {
	bool boolean;
	int64_t integer;
	double decimal;
	const char *text; /* lent: from the value, the default, or `file` */
	size_t len;
	char *file; /* CONF_SECRET_MAX bytes of the caller's, for secrets */
};

/* v NULL: the default `initial` (one that the rule refuses is a complaint too). 0, or CW_ECONF with a complaint in report. */
int conf_check(const struct conf_rule *rule, const struct cw_value *v, const char *initial, struct cw_conf_report *report,
               struct conf_checked *ret);

/* An integer member of 1, 2, 4 or 8 bytes. */
int64_t conf_load_int(const void *member, size_t size);

/* Member at a path without quotes; NULL when absent or null, or when something on the way is no object. */
void conf_look(const struct cw_value *object, const char *path, const struct cw_value **ret_value);

void conf_complain_type(struct cw_conf_report *report, const struct cw_value *v, const char *name, const char *accepted);
void conf_complain_missing(struct cw_conf_report *report, const struct cw_value *object, const char *name, const char *help);

/* The i-th name (a path with dots, "" for none) of a table, NULL behind the last. */
typedef const char *(*conf_name_fn)(const void *table, size_t i);
/* Complain about members that no path of the table leads to or through. 0 or CW_ENOMEM. */
int conf_check_unknown(const struct cw_value *object, conf_name_fn name, const void *table, const char *(*hint)(const char *key),
                       bool warn, struct cw_conf_report *report);

#endif
