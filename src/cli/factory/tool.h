/*
 * tool.h - what the verbs of `causeway factory` have in common: options, the stock, filters, times, and their two ways to tell:
 * tables for people, JSON for programs.
 */
#ifndef CW_CLI_FACTORY_TOOL_H
#define CW_CLI_FACTORY_TOOL_H

#include <stdio.h>

#include "factory/stock/shelf.h"
#include "factory/view.h"

/* ---- options ------------------------------------------------------------------------ */

enum factory_option_kind {
	FACTORY_FLAG,     /* int: becomes 1 */
	FACTORY_CLEAR,    /* int: becomes 0; of --no-.. */
	FACTORY_TEXT,     /* const char * */
	FACTORY_NUMBER,   /* int64_t, not negative */
	FACTORY_DURATION, /* int64_t, ms: 2h, 30m, 1 day */
	FACTORY_TIME      /* int64_t, UTC ms: 2026-11-21, RFC 3339, or a duration: so long ago */
};

struct factory_option {
	const char *name;
	enum factory_option_kind kind;
	void *to;
};

/* One run of a verb. */
struct factory_tool {
	const char *verb, *usage;
	const char *db, *key, *config; /* as given; db also by CAUSEWAY_FACTORY_DB */
	int as_json;
	int count; /* words that are no options */
	char **word;
	struct cw_stock *stock;
	struct cw_stock_actor who; /* cli:USER */
	char user[80], key_path[1100];
	struct factory_conf *conf; /* of -c */
	size_t listed;             /* items of a JSON array */
};

/* -1: go on; else the exit status. `own` beside --db, --key, -c, --json and --help. */
int factory_options(struct factory_tool *t, int argc, char **argv, const char *usage, const struct factory_option *own, size_t count);
/* factory_options() for verbs that take `least` to `most` words; more or fewer is a wrong command line. */
int factory_words(const struct factory_tool *t, int least, int most);

/* Always 1: "causeway factory VERB: .." on standard error. */
int factory_complain(const struct factory_tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Always 2. */
int factory_misused(const struct factory_tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- the stock ------------------------------------------------------------------------- */

enum factory_need { FACTORY_READ, FACTORY_CHANGE, FACTORY_MAKE }; /* MAKE: a database that is not there is made */

/* 0, or the exit status after a complaint. Ends with factory_close(). */
int factory_open(struct factory_tool *t, enum factory_need need);
/* Where it is, and where its key is (empty: nobody said), without opening. 0 or the exit status. */
int factory_place(struct factory_tool *t);
void factory_close(struct factory_tool *t);

/* The options of a filter, with a place for each. */
struct factory_filter {
	struct cw_stock_filter filter;
	const char *status;
	int64_t limit, after;
};
#define FACTORY_FILTER_OPTIONS 10
/* `f` begins as { .filter = { .state = -1 } }. */
void factory_filter_options(struct factory_filter *f, struct factory_option out[FACTORY_FILTER_OPTIONS]);
/* What was given, once parsed, into f->filter. 0 or the exit status. */
int factory_filter_done(const struct factory_tool *t, struct factory_filter *f);

/* The same for a text from elsewhere. 0, or -1. */
int factory_read_time(const char *text, int64_t *ret_ms);

/* ---- telling ------------------------------------------------------------------------------ */

/* 2026-11-21 08:00:00 (UTC), "-" for never; into out[24]. */
const char *factory_time(int64_t ms, char out[24]);
/* "2 h", "1 day", "90 s": into out[32]. */
const char *factory_span(int64_t ms, char out[32]);
/* "Allocated": the words of the protocol. */
const char *factory_state(enum cw_stock_state state);

/* A table whose columns are as wide as their contents; rows that come after the first 500 follow those widths. */
#define FACTORY_COLUMNS 12
struct factory_table {
	size_t columns, rows, used, size;
	char *text; /* cells of the rows that wait, each with a NUL */
	size_t width[FACTORY_COLUMNS];
	int right[FACTORY_COLUMNS]; /* numbers stand to the right */
	int flowing;
};
/* `heads` with | between; one that begins with > stands to the right. */
void factory_table_begin(struct factory_table *tb, const char *heads);
void factory_cell(struct factory_table *tb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void factory_table_end(struct factory_table *tb);

/* A JSON array on standard output, item by item. */
void factory_list_begin(struct factory_tool *t);
/* Takes what was written since cw_json_begin(). 0, or 1 after a complaint. */
int factory_list_item(struct factory_tool *t, struct cw_json *j);
void factory_list_end(struct factory_tool *t);
/* One value, alone. 0, or 1 after a complaint. */
int factory_json(struct factory_tool *t, struct cw_json *j);

#endif
