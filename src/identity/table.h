/*
 * table.h - the source `sqlite`: the table of store/identities.h, asked and edited from the
 * control loop. Everything that touches SQLite runs on the store thread.
 */
#ifndef CW_IDENTITY_TABLE_H
#define CW_IDENTITY_TABLE_H

#include "identity/resolver.h"
#include "store/identities.h"

struct cw_table_source;

extern const struct cw_source_ops cw_table_source_ops; /* frees: waits for what is under way and closes the table */

/* Opens the table, at once. `store` is the store thread, which must run until the source was freed. */
int cw_table_source_new(struct cw_resolver *r, struct cw_worker *control, struct cw_worker *store, const char *dir, const char *key_file,
                        struct cw_table_source **ret_source, struct cw_msg *msg);

enum cw_edit_kind { CW_EDIT_IMPORT, CW_EDIT_REMOVE, CW_EDIT_REKEY, CW_EDIT_LIST };

struct cw_edit_result {
	size_t added, changed, same, removed, rows;
};

/* One thing an operator wants. Fill the first block; `done` runs on the control loop, once, and may free it. */
struct cw_edit {
	enum cw_edit_kind kind;
	char *text;         /* owned (cw_free), wiped: IMPORT: JSON as of import.h; REMOVE: the identity; LIST: the identity it begins behind */
	size_t len, most;   /* most: of LIST */
	void (*done)(struct cw_edit *e);
	void *arg;
	/* The answer. */
	int rc;
	int closed; /* the source is gone meanwhile, and its resolver with it; what `rc` says of the table is true all the same */
	struct cw_msg msg;
	struct cw_edit_result result;
	struct cw_identities *touched; /* IMPORT: what was in it, REMOVE: what it was; to be rechecked. Owned by whoever takes it */
	char *list;                    /* LIST: JSON, without secrets; owned by whoever takes it */
	size_t list_len;
	/* the source's */
	struct cw_mail mail;
	struct cw_table_source *source;
	size_t count;
};
void cw_table_source_edit(struct cw_table_source *s, struct cw_edit *e);

/* The same on the calling thread, for a tool that has the table to itself. */
int cw_table_import(struct cw_table *t, const struct cw_identities *set, struct cw_edit_result *ret_result, struct cw_msg *msg);
int cw_table_list(struct cw_table *t, const char *after, size_t most, char **ret_json, size_t *ret_len, struct cw_msg *msg);

#endif
