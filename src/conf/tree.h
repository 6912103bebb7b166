/*
 * tree.h - inside of module conf: how values are stored while a document is
 * parsed, merged and resolved. Nothing outside src/conf includes this.
 *
 * Values live in the arena of their tree and are never freed one by one. While
 * files are being parsed a value has exactly one owner, so merging may change it
 * in place; from the first substitution that is resolved, values are shared and
 * every change makes a copy (struct conf_build, `shared`).
 *
 * A document without substitutions never sees the types above CW_VALUE_OBJECT.
 */
#ifndef CW_CONF_TREE_H
#define CW_CONF_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "conf/parse.h"
#include "conf/value.h"

/* Types that exist only until a tree is resolved; they follow enum cw_value_type. */
enum conf_type {
	CONF_REFERENCE = CW_VALUE_OBJECT + 1, /* ${path} */
	CONF_CONCAT,                          /* values side by side, at least one unresolved */
	CONF_MERGE,                           /* a stack of values for one key, newest first; what it becomes is open */
	CONF_MERGE_OBJECT,                    /* the same, known to become an object */
};

#define CONF_UNRESOLVED 1u /* LIST: holds something unresolved (objects count, see conf_object) */
#define CONF_FINAL 2u      /* OBJECT: takes nothing from older values of its key */
#define CONF_QUOTED 4u     /* STRING: was in quotes, or was made by joining */
#define CONF_OPTIONAL 8u   /* REFERENCE: ${?path} */
#define CONF_ENV_LIST 16u  /* REFERENCE: ${path[]} */
#define CONF_MARKED 32u    /* REFERENCE: being resolved right now */

/* A key, once per tree. */
struct conf_key {
	uint32_t hash;
	uint32_t len;
	char text[]; /* NUL-terminated */
};

struct conf_path {
	const struct conf_key *key;
	const struct conf_path *next;
};

/* A file or other text that values come from. */
struct conf_source {
	const char *name;
};

struct conf_reference {
	const struct conf_path *path;
	uint32_t prefix; /* elements at the front that includes have added */
};

struct conf_member {
	const struct conf_key *key;
	struct cw_value *value;
};

struct conf_object {
	struct conf_member *members;
	uint32_t *index; /* slots of a hash table: member number + 1; NULL while small */
	uint32_t index_mask;
	uint32_t count, room;
	uint32_t unresolved; /* members that are unresolved */
};

struct cw_value {
	union {
		const char *text;            /* STRING, NUMBER, BOOL: NUL-terminated */
		struct cw_value **items;     /* LIST, CONCAT, MERGE, MERGE_OBJECT: `len` of them */
		struct conf_object *object;  /* OBJECT */
		struct conf_reference *ref;  /* REFERENCE */
	} u;
	const struct conf_source *source;
	uint32_t line, column;
	uint32_t len; /* bytes of text, number of items */
	uint8_t type;
	uint8_t flags;
};

struct cw_conf_tree {
	struct cw_arena arena;
	atomic_uint refs;
	const struct conf_source *source;
	struct cw_value *root;
};

/* State of one parse: owns the tree until it is handed out. */
struct conf_build {
	struct cw_conf_tree *tree;
	const struct cw_conf_options *opt;
	struct cw_msg *msg;   /* may be NULL */
	int rc;               /* first error; later ones are not recorded */
	bool shared;          /* values may have several owners now */
	struct conf_key **keys; /* interned keys, open hash */
	size_t key_room, key_count;
	char *bytes;          /* rest of the current block for texts */
	size_t bytes_left;
	struct cw_value **pieces; /* values of concatenations and lists being collected, a stack */
	size_t piece_count, piece_room;
	struct cw_value *environment; /* made on first use */
	unsigned include_depth;
};

#define CONF_DEPTH_MAX 1000u   /* nesting of a document, path elements included */
#define CONF_INCLUDE_MAX 50u   /* as the reference */
#define CONF_RESOLVE_MAX 3000u /* substitutions and containers inside each other while resolving */

int conf_build_init(struct conf_build *b, const struct cw_conf_options *opt, struct cw_msg *msg);
void conf_build_fini(struct conf_build *b);

/* Record an error with a place (line 0: none). Returns rc; NULL-returning callers ignore it. */
int conf_fail(struct conf_build *b, int rc, const struct conf_source *source, unsigned line, unsigned column, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
/* Memory is short, or the limit is reached. */
int conf_no_memory(struct conf_build *b);

/* All of these return NULL after recording the error. */
void *conf_alloc(struct conf_build *b, size_t size);
char *conf_text(struct conf_build *b, const char *text, size_t len); /* NUL-terminated copy, not aligned */
const struct conf_key *conf_key(struct conf_build *b, const char *text, size_t len);
struct conf_path *conf_path_add(struct conf_build *b, const struct conf_key *key, const struct conf_path *next);
struct cw_value *conf_value(struct conf_build *b, unsigned type, const struct conf_source *source, unsigned line, unsigned column);
struct cw_value *conf_value_like(struct conf_build *b, unsigned type, const struct cw_value *where);
struct cw_value *conf_string(struct conf_build *b, const struct cw_value *where, const char *text, size_t len);
/* A value with `count` items (LIST, CONCAT, MERGE, MERGE_OBJECT), copied from `items`. */
struct cw_value *conf_items(struct conf_build *b, unsigned type, const struct cw_value *where, struct cw_value **items, size_t count);
struct cw_value *conf_object_new(struct conf_build *b, const struct conf_source *source, unsigned line, unsigned column, size_t room);
/* A shallow copy with members of its own. */
struct cw_value *conf_object_copy(struct conf_build *b, const struct cw_value *object);

/* Slot of a member, or NULL. */
struct conf_member *conf_object_find(const struct conf_object *o, const struct conf_key *key);
/* Add a member that is not there yet. 0 or negative. */
int conf_object_add(struct conf_build *b, struct cw_value *object, const struct conf_key *key, struct cw_value *value);
/* Give a member another value; was_resolved: state of the old value before anything was merged into it. */
void conf_member_replace(struct cw_value *object, struct conf_member *m, struct cw_value *value, bool was_resolved);

/* Scratch stack of values. */
int conf_piece_push(struct conf_build *b, struct cw_value *v);

static inline bool conf_is_unmergeable(const struct cw_value *v)
{
	return v->type >= CONF_REFERENCE;
}

static inline bool conf_is_resolved(const struct cw_value *v)
{
	switch (v->type) {
	case CW_VALUE_OBJECT:
		return v->u.object->unresolved == 0;
	case CW_VALUE_LIST:
		return (v->flags & CONF_UNRESOLVED) == 0;
	default:
		return v->type < CONF_REFERENCE;
	}
}

/* True for OBJECT and MERGE_OBJECT. */
static inline bool conf_is_object(const struct cw_value *v)
{
	return v->type == CW_VALUE_OBJECT || v->type == CONF_MERGE_OBJECT;
}

/*
 * Members whose keys are numbers, by number, into items (room for o->count): how an
 * object stands for a list. Of "1" and "01" the later one counts. 0 or CW_ENOMEM.
 */
int conf_numbered_members(const struct conf_object *o, struct cw_value **items, size_t *ret_count);
/* Index of a numeric key ("0", "17"), or -1. */
long conf_key_index(const char *text, size_t len);

#endif
