/* tree.c - see tree.h. Memory, keys and objects of a tree being built. */
#include "conf/tree.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define PIECES_FIRST 64u
#define TEXT_BLOCK 16384u
#define INDEX_FROM 12u /* members from which an object gets a hash table */

int conf_fail(struct conf_build *b, int rc, const struct conf_source *source, unsigned line, unsigned column, const char *fmt, ...)
{
	struct cw_msg text;
	va_list ap;

	if (b->rc != 0)
		return b->rc;
	b->rc = rc;
	if (b->msg == NULL)
		return rc;
	va_start(ap, fmt);
	vsnprintf(text.text, sizeof(text.text), fmt, ap);
	va_end(ap);
	if (source == NULL)
		cw_msg_set(b->msg, "%s", text.text);
	else if (line == 0)
		cw_msg_set(b->msg, "%s: %s", source->name, text.text);
	else
		cw_msg_set(b->msg, "%s:%u:%u: %s", source->name, line, column, text.text);
	return rc;
}

int conf_no_memory(struct conf_build *b)
{
	size_t limit = b->tree == NULL ? 0 : b->tree->arena.limit;

	/* The arena answers NULL for both; near its limit the limit is the reason. */
	if (limit != 0 && b->tree->arena.total + 2u * 1024 * 1024 > limit)
		return conf_fail(b, CW_ELIMIT, NULL, 0, 0, "the configuration needs more than %zu bytes of memory", limit);
	return conf_fail(b, CW_ENOMEM, NULL, 0, 0, "out of memory");
}

int conf_build_init(struct conf_build *b, const struct cw_conf_options *opt, struct cw_msg *msg)
{
	static const struct cw_conf_options usual;

	memset(b, 0, sizeof(*b));
	b->opt = opt == NULL ? &usual : opt;
	b->msg = msg;
	b->tree = cw_zalloc(sizeof(*b->tree));
	b->pieces = cw_calloc(PIECES_FIRST, sizeof(*b->pieces));
	if (b->tree == NULL || b->pieces == NULL) {
		cw_free(b->tree);
		cw_free(b->pieces);
		b->tree = NULL;
		b->pieces = NULL;
		return conf_no_memory(b);
	}
	b->piece_room = PIECES_FIRST;
	cw_arena_init(&b->tree->arena, b->opt->memory_limit);
	atomic_init(&b->tree->refs, 1);
	return 0;
}

void conf_build_fini(struct conf_build *b)
{
	cw_free(b->keys);
	cw_free(b->pieces);
	cw_conf_tree_unref(b->tree);
	memset(b, 0, sizeof(*b));
}

void *conf_alloc(struct conf_build *b, size_t size)
{
	void *ptr = cw_arena_alloc(&b->tree->arena, size);

	if (ptr == NULL)
		conf_no_memory(b);
	return ptr;
}

/* Texts are packed without the arena's alignment: with many short ones that is a third of all memory. */
static void *alloc_bytes(struct conf_build *b, size_t size, size_t align)
{
	size_t skip = (align - (uintptr_t)b->bytes % align) % align;
	char *ptr;

	if (size > TEXT_BLOCK / 8)
		return conf_alloc(b, size);
	if (b->bytes_left < size + skip) {
		b->bytes = conf_alloc(b, TEXT_BLOCK);
		b->bytes_left = b->bytes == NULL ? 0 : TEXT_BLOCK;
		if (b->bytes == NULL)
			return NULL;
		skip = 0;
	}
	ptr = b->bytes + skip;
	b->bytes = ptr + size;
	b->bytes_left -= size + skip;
	return ptr;
}

char *conf_text(struct conf_build *b, const char *text, size_t len)
{
	char *copy;

	if (len >= UINT32_MAX) {
		conf_fail(b, CW_ELIMIT, NULL, 0, 0, "a text of more than 4 GiB");
		return NULL;
	}
	copy = alloc_bytes(b, len + 1, 1);
	if (copy == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

static int grow_keys(struct conf_build *b)
{
	size_t room = b->key_room == 0 ? 64 : b->key_room * 2;
	struct conf_key **keys = cw_calloc(room, sizeof(struct conf_key *));

	if (keys == NULL)
		return conf_no_memory(b);
	for (size_t i = 0; i < b->key_room; i++) {
		if (b->keys[i] == NULL)
			continue;
		for (size_t s = b->keys[i]->hash & (room - 1);; s = (s + 1) & (room - 1)) {
			if (keys[s] == NULL) {
				keys[s] = b->keys[i];
				break;
			}
		}
	}
	cw_free(b->keys);
	b->keys = keys;
	b->key_room = room;
	return 0;
}

const struct conf_key *conf_key(struct conf_build *b, const char *text, size_t len)
{
	uint32_t hash = (uint32_t)cw_hash(text, len);
	struct conf_key *k;
	size_t s;

	if (b->key_count * 4 >= b->key_room * 3 && grow_keys(b) < 0)
		return NULL;
	for (s = hash & (b->key_room - 1); b->keys[s] != NULL; s = (s + 1) & (b->key_room - 1)) {
		k = b->keys[s];
		if (k->hash == hash && k->len == len && (len == 0 || memcmp(k->text, text, len) == 0))
			return k;
	}
	k = alloc_bytes(b, sizeof(*k) + len + 1, _Alignof(struct conf_key));
	if (k == NULL)
		return NULL;
	k->hash = hash;
	k->len = (uint32_t)len;
	if (len > 0)
		memcpy(k->text, text, len);
	k->text[len] = '\0';
	b->keys[s] = k;
	b->key_count++;
	return k;
}

struct conf_path *conf_path_add(struct conf_build *b, const struct conf_key *key, const struct conf_path *next)
{
	struct conf_path *p = conf_alloc(b, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->key = key;
	p->next = next;
	return p;
}

struct cw_value *conf_value(struct conf_build *b, unsigned type, const struct conf_source *source, unsigned line, unsigned column)
{
	struct cw_value *v = conf_alloc(b, sizeof(*v));

	if (v == NULL)
		return NULL;
	memset(v, 0, sizeof(*v));
	v->type = (uint8_t)type;
	v->source = source;
	v->line = line;
	v->column = column;
	return v;
}

struct cw_value *conf_value_like(struct conf_build *b, unsigned type, const struct cw_value *where)
{
	return conf_value(b, type, where->source, where->line, where->column);
}

struct cw_value *conf_string(struct conf_build *b, const struct cw_value *where, const char *text, size_t len)
{
	struct cw_value *v = conf_value_like(b, CW_VALUE_STRING, where);

	if (v == NULL)
		return NULL;
	v->u.text = conf_text(b, text, len);
	v->len = (uint32_t)len;
	v->flags = CONF_QUOTED;
	return v->u.text == NULL ? NULL : v;
}

struct cw_value *conf_items(struct conf_build *b, unsigned type, const struct cw_value *where, struct cw_value **items, size_t count)
{
	struct cw_value *v = conf_value_like(b, type, where);

	if (v == NULL)
		return NULL;
	v->u.items = conf_alloc(b, count * sizeof(struct cw_value *));
	if (v->u.items == NULL)
		return NULL;
	v->len = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		v->u.items[i] = items[i];
		if (!conf_is_resolved(items[i]))
			v->flags |= CONF_UNRESOLVED;
	}
	return v;
}

struct cw_value *conf_object_new(struct conf_build *b, const struct conf_source *source, unsigned line, unsigned column, size_t room)
{
	struct cw_value *v = conf_value(b, CW_VALUE_OBJECT, source, line, column);
	struct conf_object *o;

	if (v == NULL)
		return NULL;
	o = conf_alloc(b, sizeof(*o));
	if (o == NULL)
		return NULL;
	memset(o, 0, sizeof(*o));
	v->u.object = o;
	if (room > 0) {
		o->members = conf_alloc(b, room * sizeof(struct conf_member));
		if (o->members == NULL)
			return NULL;
		o->room = (uint32_t)room;
	}
	return v;
}

static void index_add(struct conf_object *o, uint32_t member)
{
	uint32_t s = o->members[member].key->hash & o->index_mask;

	while (o->index[s] != 0)
		s = (s + 1) & o->index_mask;
	o->index[s] = member + 1;
}

static int index_build(struct conf_build *b, struct conf_object *o)
{
	uint32_t slots = 32;

	while (slots < o->room * 2)
		slots *= 2;
	o->index = conf_alloc(b, slots * sizeof(uint32_t));
	if (o->index == NULL)
		return b->rc;
	memset(o->index, 0, slots * sizeof(uint32_t));
	o->index_mask = slots - 1;
	for (uint32_t i = 0; i < o->count; i++)
		index_add(o, i);
	return 0;
}

struct cw_value *conf_object_copy(struct conf_build *b, const struct cw_value *object)
{
	const struct conf_object *from = object->u.object;
	struct cw_value *v = conf_object_new(b, object->source, object->line, object->column, from->count);

	if (v == NULL)
		return NULL;
	v->flags = object->flags;
	v->u.object->count = from->count;
	v->u.object->unresolved = from->unresolved;
	if (from->count > 0)
		memcpy(v->u.object->members, from->members, from->count * sizeof(struct conf_member));
	if (from->count > INDEX_FROM && index_build(b, v->u.object) < 0)
		return NULL;
	return v;
}

struct conf_member *conf_object_find(const struct conf_object *o, const struct conf_key *key)
{
	if (o->index == NULL) {
		for (uint32_t i = 0; i < o->count; i++) {
			if (o->members[i].key == key)
				return &o->members[i];
		}
		return NULL;
	}
	for (uint32_t s = key->hash & o->index_mask; o->index[s] != 0; s = (s + 1) & o->index_mask) {
		if (o->members[o->index[s] - 1].key == key)
			return &o->members[o->index[s] - 1];
	}
	return NULL;
}

void conf_member_replace(struct cw_value *object, struct conf_member *m, struct cw_value *value, bool was_resolved)
{
	struct conf_object *o = object->u.object;

	if (!was_resolved)
		o->unresolved--;
	if (!conf_is_resolved(value))
		o->unresolved++;
	m->value = value;
}

static int object_grow(struct conf_build *b, struct conf_object *o)
{
	uint32_t room = o->room < 3 ? 3 : o->room * 2;
	struct conf_member *members;

	if (o->room >= UINT32_MAX / 8)
		return conf_fail(b, CW_ELIMIT, NULL, 0, 0, "an object with too many members");
	members = conf_alloc(b, room * sizeof(*members));
	if (members == NULL)
		return b->rc;
	if (o->count > 0)
		memcpy(members, o->members, o->count * sizeof(*members));
	o->members = members;
	o->room = room;
	o->index = NULL;
	return o->count >= INDEX_FROM ? index_build(b, o) : 0;
}

int conf_object_add(struct conf_build *b, struct cw_value *object, const struct conf_key *key, struct cw_value *value)
{
	struct conf_object *o = object->u.object;

	if (o->count == o->room && object_grow(b, o) < 0)
		return b->rc;
	o->members[o->count].key = key;
	o->members[o->count].value = value;
	o->count++;
	if (o->index != NULL)
		index_add(o, o->count - 1);
	if (!conf_is_resolved(value))
		o->unresolved++;
	return 0;
}

int conf_piece_push(struct conf_build *b, struct cw_value *v)
{
	struct cw_value **pieces;
	size_t room;

	if (b->piece_count == b->piece_room) {
		room = b->piece_room * 2;
		pieces = cw_realloc(b->pieces, room * sizeof(*pieces));
		if (pieces == NULL)
			return conf_no_memory(b);
		b->pieces = pieces;
		b->piece_room = room;
	}
	b->pieces[b->piece_count++] = v;
	return 0;
}

long conf_key_index(const char *text, size_t len)
{
	size_t i = len > 1 && (text[0] == '+' || text[0] == '-') ? 1 : 0;
	int64_t n = 0;

	if (len == 0)
		return -1;
	for (; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		n = n * 10 + (text[i] - '0');
		if (n > INT32_MAX)
			return -1;
	}
	return text[0] == '-' && n > 0 ? -1 : (long)n;
}

struct numbered {
	long index;
	size_t order;
	struct cw_value *value;
};

static int by_index(const void *a, const void *b)
{
	const struct numbered *l = a, *r = b;

	if (l->index != r->index)
		return l->index < r->index ? -1 : 1;
	return l->order < r->order ? -1 : 1;
}

int conf_numbered_members(const struct conf_object *o, struct cw_value **items, size_t *ret_count)
{
	struct numbered *found = cw_calloc(o->count, sizeof(*found));
	size_t n = 0, count = 0;

	if (found == NULL)
		return CW_ENOMEM;
	for (uint32_t i = 0; i < o->count; i++) {
		found[n].index = conf_key_index(o->members[i].key->text, o->members[i].key->len);
		found[n].order = i;
		found[n].value = o->members[i].value;
		n += found[n].index >= 0;
	}
	qsort(found, n, sizeof(*found), by_index);
	for (size_t i = 0; i < n; i++) {
		count -= i > 0 && found[i].index == found[i - 1].index;
		items[count++] = found[i].value;
	}
	cw_free(found);
	*ret_count = count;
	return 0;
}

const struct cw_value *cw_conf_root(const struct cw_conf_tree *tree)
{
	return tree->root;
}

size_t cw_conf_memory(const struct cw_conf_tree *tree)
{
	return sizeof(*tree) + tree->arena.total;
}

struct cw_conf_tree *cw_conf_tree_ref(struct cw_conf_tree *tree)
{
	atomic_fetch_add_explicit(&tree->refs, 1, memory_order_relaxed);
	return tree;
}

void cw_conf_tree_unref(struct cw_conf_tree *tree)
{
	bool big;

	if (tree == NULL || atomic_fetch_sub_explicit(&tree->refs, 1, memory_order_acq_rel) != 1)
		return;
	big = tree->arena.total > 4u * 1024 * 1024;
	cw_arena_fini(&tree->arena);
	cw_free(tree);
#ifdef __GLIBC__
	/* A big file is read once and dropped: glibc would keep tens of megabytes of it for later. */
	if (big)
		malloc_trim(0);
#endif
	(void)big;
}
