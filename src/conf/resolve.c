/*
 * resolve.c - see resolve.h.
 *
 * A substitution looks its path up from the root. Only what lies on that path is
 * resolved for it (`only`), so that siblings can refer to each other without
 * making a circle.
 *
 * A value that was given several times and refers to itself means its older
 * value: a = 1, a = ${a}2. While one layer of such a stack is resolved, look-ups
 * therefore see a copy of the tree in which the stack is replaced by the layers
 * below (struct view; `way` is how we came down from its root).
 *
 * A circle that no older value ends is CIRCLE: it travels up to the
 * substitution that closes it, where an optional one becomes nothing.
 *
 * What was found is kept (struct memo), by value and path, because the number of
 * look-ups would else grow with the power of the nesting.
 */
#include "conf/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "conf/merge.h"
#include "conf/read.h"

#define CIRCLE 1 /* beside 0 and errors: the value refers to itself */

struct way {
	struct cw_value *value;
	const struct way *up;
};

struct view {
	struct cw_value *root;
	const struct way *way; /* innermost container first, its end is root; NULL: not known */
};

struct memo {
	const struct cw_value *value;
	const struct conf_path *only;
	struct cw_value *result;
	uint32_t next; /* number of the next memo in the slot + 1 */
};

struct resolver {
	struct conf_build *b;
	struct memo *memos;
	size_t memo_count, memo_room;
	uint32_t *slots;
	size_t slot_mask;
	unsigned depth;

};

static int resolve(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret);

static bool same_path(const struct conf_path *a, const struct conf_path *b)
{
	for (; a != NULL && b != NULL && a != b; a = a->next, b = b->next) {
		if (a->key != b->key)
			return false;
	}
	return a == b;
}

static size_t memo_slot(const struct resolver *r, const struct cw_value *v, const struct conf_path *only)
{
	uint64_t h = (uint64_t)(uintptr_t)v >> 3;

	for (; only != NULL; only = only->next)
		h = h * 31 + only->key->hash;
	h *= 0x9e3779b97f4a7c15u;
	return (size_t)(h >> 32) & r->slot_mask;
}

static struct cw_value *memo_find(const struct resolver *r, const struct cw_value *v, const struct conf_path *only)
{
	for (uint32_t i = r->slots[memo_slot(r, v, only)]; i != 0; i = r->memos[i - 1].next) {
		const struct memo *m = &r->memos[i - 1];

		if (m->value == v && same_path(m->only, only))
			return m->result;
	}
	return NULL;
}

static int memo_grow(struct resolver *r)
{
	size_t room = r->memo_room == 0 ? 256 : r->memo_room * 2, s;
	struct memo *memos = cw_realloc(r->memos, room * sizeof(*memos));
	uint32_t *slots;

	if (memos == NULL)
		return conf_no_memory(r->b);
	r->memos = memos;
	r->memo_room = room;
	slots = cw_calloc(room, sizeof(*slots));
	if (slots == NULL)
		return conf_no_memory(r->b);
	cw_free(r->slots);
	r->slots = slots;
	r->slot_mask = room - 1;
	for (uint32_t i = 0; i < r->memo_count; i++) {
		s = memo_slot(r, memos[i].value, memos[i].only);
		memos[i].next = slots[s];
		slots[s] = i + 1;
	}
	return 0;
}

static int memo_add(struct resolver *r, const struct cw_value *v, const struct conf_path *only, struct cw_value *result)
{
	size_t s;

	if (r->memo_count == r->memo_room && memo_grow(r) < 0)
		return r->b->rc;
	s = memo_slot(r, v, only);
	r->memos[r->memo_count] = (struct memo){ .value = v, .only = only, .result = result, .next = r->slots[s] };
	r->slots[s] = (uint32_t)++r->memo_count;
	return 0;
}

/* Forget the newest memos: they were made inside a circle and may be wrong outside. */
static void memo_forget(struct resolver *r, size_t count)
{
	while (r->memo_count > count) {
		struct memo *m = &r->memos[--r->memo_count];

		r->slots[memo_slot(r, m->value, m->only)] = m->next;
	}
}

static int way_add(struct resolver *r, struct cw_value *v, const struct way *up, const struct way **ret)
{
	struct way *w = conf_alloc(r->b, sizeof(*w));

	if (w == NULL)
		return r->b->rc;
	w->value = v;
	w->up = up;
	*ret = w;
	return 0;
}

/* The view for what is inside container v. */
static int view_enter(struct resolver *r, struct view *view, struct cw_value *v)
{
	if (view->way == NULL && v != view->root)
		return 0;
	return way_add(r, v, view->way, &view->way);
}

static bool is_container(const struct cw_value *v)
{
	return v->type == CW_VALUE_OBJECT || v->type == CW_VALUE_LIST || v->type >= CONF_CONCAT;
}

/* A copy of an object in which `old` is `fresh` (NULL: gone); the object itself when it does not hold `old`. */
static struct cw_value *replace_member(struct resolver *r, struct cw_value *object, const struct cw_value *old, struct cw_value *fresh)
{
	const struct conf_object *o = object->u.object;
	struct cw_value *copy;
	uint32_t i;

	for (i = 0; i < o->count && o->members[i].value != old; i++)
		;
	if (i == o->count)
		return object;
	if (fresh != NULL) {
		copy = conf_object_copy(r->b, object);
		if (copy != NULL)
			conf_member_replace(copy, &copy->u.object->members[i], fresh, conf_is_resolved(old));
		return copy;
	}
	copy = conf_object_new(r->b, object->source, object->line, object->column, o->count);
	if (copy == NULL)
		return NULL;
	copy->flags = object->flags;
	for (uint32_t k = 0; k < o->count; k++) {
		if (k != i && conf_object_add(r->b, copy, o->members[k].key, o->members[k].value) < 0)
			return NULL;
	}
	return copy;
}

/* The same for any container; *ret NULL when a stack or list has nothing left. */
static int replace_child(struct resolver *r, struct cw_value *parent, const struct cw_value *old, struct cw_value *fresh,
                         struct cw_value **ret)
{
	size_t from = r->b->piece_count, count;
	bool found = false;

	if (parent->type == CW_VALUE_OBJECT) {
		*ret = replace_member(r, parent, old, fresh);
		return *ret == NULL ? r->b->rc : 0;
	}
	for (uint32_t i = 0; i < parent->len; i++) {
		bool it = parent->u.items[i] == old && !found;

		found |= it;
		if ((!it || fresh != NULL) && conf_piece_push(r->b, it ? fresh : parent->u.items[i]) < 0)
			return r->b->rc;
	}
	count = r->b->piece_count - from;
	r->b->piece_count = from;
	if (!found)
		*ret = parent;
	else if (count == 0 && parent->type != CW_VALUE_LIST)
		*ret = NULL;
	else if (count == 1 && parent->type == CONF_CONCAT)
		*ret = r->b->pieces[from];
	else
		*ret = conf_items(r->b, parent->type, parent, r->b->pieces + from, count);
	return r->b->rc;
}

/* A way on which every container holds the changed one below it; `w` is the innermost, to become `fresh`. */
static int rebuild_way(struct resolver *r, const struct way *w, struct cw_value *fresh, const struct way **ret)
{
	struct cw_value *parent = NULL;
	const struct way *up = NULL;
	bool keep = fresh != NULL && is_container(fresh);

	if (w->up != NULL) {
		if (replace_child(r, w->up->value, w->value, keep ? fresh : NULL, &parent) < 0 ||
		    rebuild_way(r, w->up, parent, &up) < 0)
			return r->b->rc;
	}
	*ret = up;
	return keep ? way_add(r, fresh, up, ret) : 0;
}

/* The view in which `old`, a child of the innermost container, is `fresh`, NULL for gone. */
static int view_replace(struct resolver *r, struct view *view, const struct cw_value *old, struct cw_value *fresh)
{
	struct cw_value *parent;
	const struct way *way;

	if (view->way == NULL) /* not in the tree that look-ups see: nothing to replace there */
		return 0;
	if (replace_child(r, view->way->value, old, fresh, &parent) < 0)
		return r->b->rc;
	if (parent == view->way->value)
		return 0;
	if (rebuild_way(r, view->way, parent, &way) < 0)
		return r->b->rc;
	view->way = way;
	if (way == NULL) {
		view->root = conf_object_new(r->b, view->root->source, 0, 0, 0);
		return view->root == NULL ? r->b->rc : 0;
	}
	while (way->up != NULL)
		way = way->up;
	view->root = way->value;
	return 0;
}

static int resolve_object_at(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only,
                             struct cw_value **ret)
{
	struct conf_member *m = conf_object_find(v->u.object, only->key);
	struct cw_value *fresh;
	int rc;

	*ret = v;
	if (m == NULL || only->next == NULL)
		return 0;
	rc = resolve(r, m->value, view, only->next, &fresh);
	if (rc == 0 && fresh != m->value)
		*ret = replace_member(r, v, m->value, fresh);
	return *ret == NULL ? r->b->rc : rc;
}

/* String.hashCode() of Java, spread as its HashMap does. */
static uint32_t java_hash(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	uint32_t h = 0, c;

	while (p < end) {
		unsigned more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc0 ? 1 : 0;

		c = more == 3 ? p[0] & 0x07u : more == 2 ? p[0] & 0x0fu : more == 1 ? p[0] & 0x1fu : p[0];
		for (p++; more > 0 && p < end; more--, p++)
			c = c << 6 | (*p & 0x3fu);
		if (c >= 0x10000) { /* two UTF-16 units */
			h = h * 31 + 0xd800 + ((c - 0x10000) >> 10);
			c = 0xdc00 + (c & 0x3ff);
		}
		h = h * 31 + c;
	}
	return h ^ h >> 16;
}

struct turn {
	uint32_t bucket, member;
};

static int by_bucket(const void *a, const void *b)
{
	const struct turn *l = a, *r = b;

	if (l->bucket != r->bucket)
		return l->bucket < r->bucket ? -1 : 1;
	return l->member < r->member ? -1 : 1;
}

/*
 * In which order members are resolved shows only where optional substitutions form
 * circles: the one that is met first becomes nothing. The reference goes through a
 * HashMap, and its answers are the measure, so we take its order.
 */
static struct turn *turns_of(struct resolver *r, const struct conf_object *o)
{
	struct turn *turns = conf_alloc(r->b, (o->count + 1) * sizeof(*turns));
	uint32_t buckets = 16;

	if (turns == NULL)
		return NULL;
	while (o->count > buckets / 4 * 3)
		buckets *= 2;
	for (uint32_t i = 0; i < o->count; i++) {
		turns[i].bucket = java_hash(o->members[i].key->text, o->members[i].key->len) & (buckets - 1);
		turns[i].member = i;
	}
	qsort(turns, o->count, sizeof(*turns), by_bucket);
	return turns;
}

static int resolve_object(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret)
{
	struct conf_object *o = v->u.object;
	struct cw_value *copy, **values;
	struct turn *turns;
	int rc;

	if (view_enter(r, &view, v) < 0)
		return r->b->rc;
	if (only != NULL)
		return resolve_object_at(r, v, view, only, ret);
	copy = conf_object_new(r->b, v->source, v->line, v->column, o->count);
	turns = turns_of(r, o);
	values = conf_alloc(r->b, (o->count + 1) * sizeof(*values));
	if (copy == NULL || turns == NULL || values == NULL)
		return r->b->rc;
	copy->flags = v->flags;
	for (uint32_t i = 0; i < o->count; i++) {
		rc = resolve(r, o->members[turns[i].member].value, view, NULL, &values[turns[i].member]);
		if (rc != 0)
			return rc;
	}
	for (uint32_t i = 0; i < o->count; i++) {
		if (values[i] != NULL && conf_object_add(r->b, copy, o->members[i].key, values[i]) < 0)
			return r->b->rc;
	}
	*ret = copy;
	return 0;
}

/* Every item in full, those that became nothing left out; they are pushed on the stack of pieces. */
static int resolve_items(struct resolver *r, struct cw_value *v, struct view view)
{
	struct cw_value *fresh;
	int rc;

	for (uint32_t i = 0; i < v->len; i++) {
		rc = resolve(r, v->u.items[i], view, NULL, &fresh);
		if (rc != 0)
			return rc;
		if (fresh != NULL && conf_piece_push(r->b, fresh) < 0)
			return r->b->rc;
	}
	return 0;
}

static int resolve_list(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret)
{
	size_t from = r->b->piece_count;
	int rc;

	*ret = v;
	if (only != NULL) /* a path never leads into a list */
		return 0;
	if (view_enter(r, &view, v) < 0)
		return r->b->rc;
	rc = resolve_items(r, v, view);
	if (rc == 0)
		*ret = conf_items(r->b, CW_VALUE_LIST, v, r->b->pieces + from, r->b->piece_count - from);
	r->b->piece_count = from;
	return rc != 0 ? rc : *ret == NULL ? r->b->rc : 0;
}

static int resolve_concat(struct resolver *r, struct cw_value *v, struct view view, struct cw_value **ret)
{
	size_t from = r->b->piece_count;
	int rc = resolve_items(r, v, view);

	*ret = rc == 0 ? conf_concat(r->b, r->b->pieces + from, r->b->piece_count - from, v) : NULL;
	r->b->piece_count = from;
	return rc != 0 ? rc : r->b->rc;
}

/* What a stack is without its first `skip` layers; NULL: nothing. */
static int rest_of_stack(struct resolver *r, const struct cw_value *stack, uint32_t skip, struct cw_value **ret)
{
	struct cw_value *v = NULL;

	for (uint32_t i = skip; i < stack->len; i++) {
		v = v == NULL ? stack->u.items[i] : conf_merge(r->b, v, stack->u.items[i]);
		if (v == NULL)
			return r->b->rc;
	}
	*ret = v;
	return 0;
}

static int resolve_stack(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret)
{
	struct cw_value *merged = NULL, *layer, *rest = NULL, *fresh;
	struct view inner;
	int rc;

	for (uint32_t i = 0; i < v->len; i++) {
		layer = v->u.items[i];
		inner = view;
		if (conf_is_unmergeable(layer)) {
			if (rest_of_stack(r, v, i + 1, &rest) < 0 || view_replace(r, &inner, v, rest) < 0)
				return r->b->rc;
			inner.way = NULL;
		} else if (view_enter(r, &inner, v) < 0) {
			return r->b->rc;
		}
		rc = resolve(r, layer, inner, only, &fresh);
		if (rc != 0)
			return rc;
		if (fresh == NULL)
			continue;
		merged = merged == NULL ? fresh : conf_merge(r->b, merged, fresh);
		if (merged == NULL)
			return r->b->rc;
	}
	*ret = merged;
	return 0;
}

/* A member of a stack that is still open: only an untouchable one can be told. */
static int peek_stack(struct resolver *r, struct cw_value *stack, const struct conf_key *key, struct cw_value **ret)
{
	struct conf_member *m;

	*ret = NULL;
	for (uint32_t i = 0; i < stack->len; i++) {
		struct cw_value *layer = stack->u.items[i];

		if (layer->type != CW_VALUE_OBJECT) {
			if (conf_is_unmergeable(layer))
				return CIRCLE;
			return 0;
		}
		m = conf_object_find(layer->u.object, key);
		if (m != NULL && conf_is_final(m->value)) {
			*ret = m->value;
			return 0;
		}
	}
	return CIRCLE;
}

/* The value at a path of an object, unresolved, with the way to it. *ret NULL: there is none. */
static int look_up(struct resolver *r, struct cw_value *root, const struct conf_path *path, struct cw_value **ret, struct view *ret_view)
{
	struct view view = { .root = root };
	struct cw_value *v = NULL, *at;
	struct conf_member *m;
	int rc = resolve(r, root, view, path, &at);

	if (rc != 0)
		return rc;
	view.root = at;
	for (const struct conf_path *p = path; p != NULL; p = p->next) {
		v = NULL;
		if (way_add(r, at, view.way, &view.way) < 0)
			return r->b->rc;
		if (at->type == CONF_MERGE_OBJECT) {
			rc = peek_stack(r, at, p->key, &v);
			if (rc != 0)
				return rc;
		} else {
			m = conf_object_find(at->u.object, p->key);
			v = m == NULL ? NULL : m->value;
		}
		if (v == NULL || (p->next != NULL && !conf_is_object(v))) {
			v = NULL;
			break;
		}
		at = v;
	}
	*ret = v;
	*ret_view = view;
	return 0;
}

/* a.b as text, with quotes where an element needs them in messages; plain for the environment. */
static char *path_text(struct resolver *r, const struct conf_path *path, const char *suffix)
{
	size_t len = strlen(suffix) + 1;
	char *text, *at;

	for (const struct conf_path *p = path; p != NULL; p = p->next)
		len += p->key->len + 1;
	text = at = conf_alloc(r->b, len);
	if (text == NULL)
		return NULL;
	for (const struct conf_path *p = path; p != NULL; p = p->next) {
		memcpy(at, p->key->text, p->key->len);
		at += p->key->len;
		if (p->next != NULL)
			*at++ = '.';
	}
	memcpy(at, suffix, strlen(suffix) + 1);
	return text;
}

static int environment_text(struct resolver *r, const struct conf_path *path, const char *suffix, struct cw_value **ret)
{
	static const struct conf_source source = { "environment" };
	const struct cw_value where = { .source = &source };
	char *name = path_text(r, path, suffix);
	const char *text;

	if (name == NULL)
		return r->b->rc;
	text = r->b->opt->env != NULL ? r->b->opt->env(r->b->opt->env_ctx, name) : getenv(name);
	if (text == NULL)
		return 0;
	*ret = conf_string(r->b, &where, text, strlen(text));
	return *ret == NULL ? r->b->rc : 0;
}

/* VAR_0, VAR_1 ... up to the first that is not set. */
static int environment_list(struct resolver *r, const struct conf_path *path, struct cw_value **ret)
{
	static const struct conf_source source = { "environment" };
	const struct cw_value where = { .source = &source };
	size_t from = r->b->piece_count;
	struct cw_value *v = NULL;
	char suffix[16];

	for (unsigned i = 0; i < 100000; i++) {
		snprintf(suffix, sizeof(suffix), "_%u", i);
		v = NULL;
		if (environment_text(r, path, suffix, &v) < 0)
			return r->b->rc;
		if (v == NULL)
			break;
		if (conf_piece_push(r->b, v) < 0)
			return r->b->rc;
	}
	if (r->b->piece_count > from)
		*ret = conf_items(r->b, CW_VALUE_LIST, &where, r->b->pieces + from, r->b->piece_count - from);
	r->b->piece_count = from;
	return r->b->rc;
}

static int from_environment(struct resolver *r, const struct cw_value *v, const struct conf_path *path, struct cw_value **ret)
{
	struct cw_value *environment;
	struct view view;
	int rc;

	*ret = NULL;
	if (v->flags & CONF_ENV_LIST) {
		rc = environment_list(r, path, ret);
		if (rc != 0 || *ret != NULL)
			return rc;
	}
	if (r->b->opt->env != NULL)
		return environment_text(r, path, "", ret);
	environment = conf_environment(r->b);
	if (environment == NULL)
		return r->b->rc;
	return look_up(r, environment, path, ret, &view);
}

/* The value a substitution stands for: in the tree, in the tree without the include's prefix, in the environment. */
static int find_target(struct resolver *r, const struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret)
{
	const struct conf_path *path = v->u.ref->path;
	struct cw_value *target = NULL;
	struct view at;
	int rc = look_up(r, view.root, path, &target, &at);

	if (rc != 0)
		return rc;
	if (target == NULL && v->u.ref->prefix > 0) {
		for (uint32_t i = 0; i < v->u.ref->prefix; i++)
			path = path->next;
		rc = look_up(r, view.root, path, &target, &at);
		if (rc != 0)
			return rc;
	}
	*ret = NULL;
	if (target == NULL)
		return from_environment(r, v, path, ret);
	return resolve(r, target, at, only, ret);
}

static int unresolved(struct resolver *r, const struct cw_value *v, bool circle)
{
	const struct conf_path *path = v->u.ref->path;
	const char *mark = v->flags & CONF_OPTIONAL ? "?" : "", *list = v->flags & CONF_ENV_LIST ? "[]" : "";
	char *text;

	for (uint32_t i = 0; i < v->u.ref->prefix && !circle; i++)
		path = path->next;
	text = path_text(r, path, list);
	if (text == NULL)
		return r->b->rc;
	if (circle)
		return conf_fail(r->b, CW_ECONF, v->source, v->line, v->column,
		                 "the substitution ${%s%.200s} leads back to itself and no older value ends the circle", mark, text);
	return conf_fail(r->b, CW_ECONF, v->source, v->line, v->column,
	                 "the substitution ${%s%.200s} finds neither a setting nor an environment variable of that name; "
	                 "${?%.200s} would be left out instead", mark, text, text);
}

static int resolve_reference(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret)
{
	size_t memos = r->memo_count, pieces = r->b->piece_count;
	bool optional = (v->flags & CONF_OPTIONAL) != 0;
	int rc;

	v->flags |= CONF_MARKED;
	rc = find_target(r, v, view, only, ret);
	v->flags &= (uint8_t)~CONF_MARKED;
	if (rc == CIRCLE) {
		memo_forget(r, memos);
		r->b->piece_count = pieces;
		*ret = NULL;
		return optional ? 0 : unresolved(r, v, true);
	}
	if (rc == 0 && *ret == NULL && !optional)
		return unresolved(r, v, false);
	return rc;
}

static int resolve_by_type(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret)
{
	switch (v->type) {
	case CW_VALUE_OBJECT:
		return resolve_object(r, v, view, only, ret);
	case CW_VALUE_LIST:
		return resolve_list(r, v, view, only, ret);
	case CONF_REFERENCE:
		return resolve_reference(r, v, view, only, ret);
	case CONF_CONCAT:
		return resolve_concat(r, v, view, ret);
	default:
		return resolve_stack(r, v, view, only, ret);
	}
}

/* 0 with *ret (NULL: undefined), CIRCLE, or an error. With `only`, containers may stay unresolved beside that path. */
static int resolve(struct resolver *r, struct cw_value *v, struct view view, const struct conf_path *only, struct cw_value **ret)
{
	struct cw_value *known;
	int rc;

	*ret = v;
	if (conf_is_resolved(v))
		return 0;
	known = memo_find(r, v, NULL);
	if (known == NULL && only != NULL)
		known = memo_find(r, v, only);
	if (known != NULL) {
		*ret = known;
		return 0;
	}
	if (v->type == CONF_REFERENCE && (v->flags & CONF_MARKED))
		return CIRCLE;
	if (r->depth >= CONF_RESOLVE_MAX)
		return conf_fail(r->b, CW_ELIMIT, v->source, v->line, v->column, "substitutions lead through more than %u levels", CONF_RESOLVE_MAX);
	r->depth++;
	*ret = NULL;
	rc = resolve_by_type(r, v, view, only, ret);
	r->depth--;
	if (rc != 0)
		return rc;
	if (*ret == NULL)
		return 0;
	return memo_add(r, v, conf_is_resolved(*ret) ? NULL : only, *ret);
}

struct cw_value *conf_resolve(struct conf_build *b, struct cw_value *root)
{
	struct resolver r = { .b = b };
	struct view view = { .root = root };
	struct cw_value *resolved = NULL;
	int rc;

	if (conf_is_resolved(root))
		return root;
	b->shared = true;
	rc = memo_grow(&r);
	if (rc == 0)
		rc = resolve(&r, root, view, NULL, &resolved);
	cw_invariant(rc <= 0);
	cw_free(r.memos);
	cw_free(r.slots);
	return rc < 0 ? NULL : resolved;
}
