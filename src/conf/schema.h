/*
 * schema.h - settings tables to checked structs.
 *
 * A table lists the settings of one struct: type, member, path, default, range and
 * a sentence for the reference. cw_conf_bind() fills the struct from an object of
 * a parsed tree, checks everything, and collects every complaint with its place:
 *
 *   struct limits { uint64_t journal_bytes; int64_t idle_ms; struct cw_conf_list ports; };
 *   static const struct cw_conf_setting limits_settings[] = {
 *           CW_CONF(struct limits, journal_bytes, BYTES, "journal.maxBytes", "512MiB", "1MiB", "1TiB",
 *                   "Disk the journal may use; beyond it sockets stop being read."),
 *           CW_CONF(struct limits, idle_ms, DURATION, "idleTime", "10m", "1s", NULL, "Silence before a connection is closed."),
 *           CW_CONF_TABLES(struct limits, ports, LIST, "ports", &port_table, "What to listen on."),
 *           CW_CONF_END
 *   };
 *   static const struct cw_conf_table limits_table = { .name = "limits", .size = sizeof(struct limits), .settings = limits_settings };
 *
 * Ownership: the bound struct, its texts, lists and nested tables are one block of
 * memory, freed by cw_conf_free(). It holds a reference to the tree only while it
 * has an ANY setting. One thread at a time.
 */
#ifndef CW_CONF_SCHEMA_H
#define CW_CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "causeway/conf_field.h"
#include "conf/parse.h"
#include "conf/value.h"

/* What a setting is and the C type of its member. */
enum cw_conf_type {
	CW_CONF_TYPE_END,
	CW_CONF_TYPE_STRING,   /* const char *; NULL when absent without default */
	CW_CONF_TYPE_BOOL,     /* bool */
	CW_CONF_TYPE_INT,      /* any integer of 1, 2, 4 or 8 bytes; min and max must fit it */
	CW_CONF_TYPE_DOUBLE,   /* double */
	CW_CONF_TYPE_BYTES,    /* uint64_t, bytes */
	CW_CONF_TYPE_DURATION, /* int64_t or uint64_t, milliseconds */
	CW_CONF_TYPE_ENUM,     /* int or an enum: the index into `values` */
	CW_CONF_TYPE_STRINGS,  /* struct cw_conf_strings; a lone string is a list of one */
	CW_CONF_TYPE_FILE,     /* const char *, a path: a relative one stands beside the file that says so */
	CW_CONF_TYPE_SECRET,   /* const char *; `file:PATH` is replaced by the file's first line; never shown */
	CW_CONF_TYPE_TABLE,    /* an embedded struct of `table` */
	CW_CONF_TYPE_LIST,     /* struct cw_conf_list of structs of `table` */
	CW_CONF_TYPE_MAP,      /* struct cw_conf_list of structs of `table`, one per member; see NAME */
	CW_CONF_TYPE_ANY,      /* const struct cw_value *, not looked into; NULL when absent */
	CW_CONF_TYPE_NAME,     /* const char *: in a table used by MAP, the member's key. No path. */
	CW_CONF_TYPE_VARIANT,  /* void *: a struct of the table that the ENUM before it chooses, from the same object; NULL when
	                          that has none. No path. */
	CW_CONF_TYPE_ORIGIN,   /* struct cw_origin: where the table was written. No path. */
};

struct cw_conf_strings {
	const char *const *items;
	size_t count;
};

/* Structs side by side: ((struct port *)list.items)[i]; cw_conf_item() checks the size. */
struct cw_conf_list {
	void *items;
	size_t count;
	size_t item_size;
};
#define cw_conf_item(list, type, i) ((type *)(void *)((char *)(list)->items + (i) * (list)->item_size))

#define CW_CONF_REQUIRED 1u /* must be given (and not be empty text) */

struct cw_conf_table;

struct cw_conf_setting {
	const char *path; /* relative to the table, with dots; camelCase */
	enum cw_conf_type type;
	unsigned flags;
	size_t offset, member_size;
	const char *initial; /* default as written in a file; NULL: member stays zero */
	const char *min, *max; /* as written in a file; NULL: none */
	const char *const *values; /* ENUM: names, ends with NULL */
	const struct cw_conf_table *table; /* TABLE, LIST, MAP */
	const struct cw_conf_table *const *variants; /* VARIANT: one for each of the ENUM's values, which stands just before it */
	const char *help;
};

#define CW_CONF_UNKNOWN_WARN 1u   /* unknown keys are warnings (application.conf of the Java library) */
#define CW_CONF_UNKNOWN_IGNORE 2u /* unknown keys are nothing */

/*
 * Checks that no table can express: called after a struct was filled without
 * error; complains with cw_conf_error_at() and returns.
 */
struct cw_conf_report;
typedef void (*cw_conf_check_fn)(const void *conf, const struct cw_value *object, struct cw_conf_report *report);

struct cw_conf_table {
	const char *name; /* for messages and the reference */
	size_t size;
	const struct cw_conf_setting *settings; /* ends with CW_CONF_END */
	unsigned flags;
	cw_conf_check_fn check; /* may be NULL */
	/* What to say about a known key that has gone or is not ours: returns a sentence or NULL. May be NULL. */
	const char *(*unknown_hint)(const char *key);
};

#define CW_CONF_MEMBER(s, member) .offset = offsetof(s, member), .member_size = sizeof(((s *)0)->member)
#define CW_CONF(s, member, kind, path_, initial_, min_, max_, help_)                                                   \
	{ .path = (path_), .type = CW_CONF_TYPE_##kind, CW_CONF_MEMBER(s, member), .initial = (initial_), .min = (min_), \
	  .max = (max_), .help = (help_) }
#define CW_CONF_MUST(s, member, kind, path_, min_, max_, help_)                                                        \
	{ .path = (path_), .type = CW_CONF_TYPE_##kind, .flags = CW_CONF_REQUIRED, CW_CONF_MEMBER(s, member),           \
	  .min = (min_), .max = (max_), .help = (help_) }
#define CW_CONF_CHOICE(s, member, path_, values_, initial_, help_)                                                     \
	{ .path = (path_), .type = CW_CONF_TYPE_ENUM, CW_CONF_MEMBER(s, member), .initial = (initial_),                 \
	  .values = (values_), .help = (help_) }
/* kind: TABLE, LIST or MAP */
#define CW_CONF_TABLES(s, member, kind, path_, table_, help_)                                                          \
	{ .path = (path_), .type = CW_CONF_TYPE_##kind, CW_CONF_MEMBER(s, member), .table = (table_), .help = (help_) }
/* Further settings of the same object, by the ENUM setting just before: tables_[i] (may be NULL) goes with its i-th value. */
#define CW_CONF_VARIANT(s, member, tables_)                                                                            \
	{ .type = CW_CONF_TYPE_VARIANT, CW_CONF_MEMBER(s, member), .variants = (tables_) }
/* kind: NAME or ORIGIN */
#define CW_CONF_SELF(s, member, kind) { .type = CW_CONF_TYPE_##kind, CW_CONF_MEMBER(s, member) }
#define CW_CONF_END { .type = CW_CONF_TYPE_END }

/* Complaints, at most CW_CONF_REPORT_MAX kept (all are counted). Zero-initialise. */
#define CW_CONF_REPORT_MAX 50
struct cw_conf_complaint {
	char *text; /* FILE:LINE:COLUMN: sentence */
	bool warning;
};
struct cw_conf_report {
	struct cw_conf_complaint items[CW_CONF_REPORT_MAX];
	size_t kept, errors, warnings;
	bool out_of_memory;
};
/* Add a complaint about a value. Never pass the text of a secret. */
void cw_conf_error_at(struct cw_conf_report *report, const struct cw_value *where, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void cw_conf_warn_at(struct cw_conf_report *report, const struct cw_value *where, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* First error into msg, with "(and N more)" behind it. */
void cw_conf_report_msg(const struct cw_conf_report *report, struct cw_msg *msg);
void cw_conf_report_fini(struct cw_conf_report *report);

/* Are two values written the same once resolved? NULL is the same as NULL only. Without memory: no. */
int cw_value_same(const struct cw_value *a, const struct cw_value *b);

/*
 * Fill a new struct of `table` from `object` (NULL: all defaults). 0 with
 * *ret_conf owned (cw_conf_free), CW_ECONF when report has errors, CW_ENOMEM.
 * `tree` is the one `object` belongs to; it may be dropped afterwards.
 */
int cw_conf_bind(const struct cw_conf_table *table, struct cw_conf_tree *tree, const struct cw_value *object,
                 struct cw_conf_report *report, void **ret_conf);
void cw_conf_free(void *conf); /* accepts NULL */
/* Do two structs of `table` say the same, wherever it was written? NULL is the same as NULL only. */
int cw_conf_same(const struct cw_conf_table *table, const void *a, const void *b);

/* The name of `candidates` (ends with NULL) nearest to `word`, or NULL when none is near. */
const char *cw_conf_nearest(const char *word, const char *const *candidates);

/*
 * Settings declared at run time (plugins): check an object against a table of
 * conf_field.h and hand every field to a sink, defaults filled in, in table order.
 */
struct cw_conf_typed {
	bool boolean;        /* CW_FIELD_BOOL */
	int64_t integer;     /* CW_FIELD_INT, DURATION (ms), BYTES; CW_FIELD_ENUM: index */
	double decimal;      /* CW_FIELD_DECIMAL */
	const char *text;    /* CW_FIELD_STRING, ENUM, SECRET; CW_FIELD_DECIMAL: its spelling. Lent. */
	size_t len;
	const struct cw_value *origin; /* NULL: the default */
};

/* Each returns 0 to go on; another value ends the walk and is returned. `key` is the member's name inside a MAP, else NULL. */
struct cw_conf_sink {
	void *ctx;
	int (*value)(void *ctx, const struct cw_conf_field *field, const char *key, const struct cw_conf_typed *v);
	/* Around LIST, MAP, TABLE, and around each element of a LIST or MAP of tables (element 1). */
	int (*begin)(void *ctx, const struct cw_conf_field *field, const char *key, int element, size_t count);
	int (*end)(void *ctx, const struct cw_conf_field *field, int element);
};
/* `scope`: CW_SCOPE_* bit of the place; `object` NULL: all defaults. Complaints go to report; 0, CW_ECONF, CW_ENOMEM or the sink's value. */
int cw_conf_fields(const struct cw_conf_field *fields, unsigned scope, const struct cw_value *object,
                   const struct cw_conf_sink *sink, struct cw_conf_report *report);

#endif
