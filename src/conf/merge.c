/*
 * merge.c - see merge.h.
 *
 * The rules in one place: an object over an object merges member by member; any
 * other resolved value hides what is older, and an object over a non-object
 * becomes final, so that still older objects do not shine through. With something
 * unresolved on either side the values are stacked, newest first.
 */
#include "conf/merge.h"

#include <string.h>

bool conf_is_final(const struct cw_value *v)
{
	switch (v->type) {
	case CW_VALUE_OBJECT:
		return (v->flags & CONF_FINAL) != 0;
	case CONF_REFERENCE:
	case CONF_CONCAT:
		return false;
	case CONF_MERGE:
	case CONF_MERGE_OBJECT:
		return conf_is_final(v->u.items[v->len - 1]);
	default:
		return conf_is_resolved(v);
	}
}

static bool is_stack(const struct cw_value *v)
{
	return v->type == CONF_MERGE || v->type == CONF_MERGE_OBJECT;
}

/* Both values (stacks are taken apart) into one new stack. */
static struct cw_value *stack_up(struct conf_build *b, struct cw_value *newer, struct cw_value *older)
{
	size_t top = is_stack(newer) ? newer->len : 1, below = is_stack(older) ? older->len : 1;
	unsigned type = conf_is_object(newer) ? CONF_MERGE_OBJECT : CONF_MERGE;
	struct cw_value *v = conf_value_like(b, type, newer);

	if (v == NULL)
		return NULL;
	v->u.items = conf_alloc(b, (top + below) * sizeof(struct cw_value *));
	if (v->u.items == NULL)
		return NULL;
	memcpy(v->u.items, is_stack(newer) ? newer->u.items : &newer, top * sizeof(struct cw_value *));
	memcpy(v->u.items + top, is_stack(older) ? older->u.items : &older, below * sizeof(struct cw_value *));
	v->len = (uint32_t)(top + below);
	v->flags = CONF_UNRESOLVED;
	return v;
}

static struct cw_value *made_final(struct conf_build *b, struct cw_value *object)
{
	struct cw_value *v = object;

	if (b->shared) {
		v = conf_value_like(b, CW_VALUE_OBJECT, object);
		if (v == NULL)
			return NULL;
		*v = *object;
	}
	v->flags |= CONF_FINAL;
	return v;
}

static struct cw_value *merge_objects(struct conf_build *b, struct cw_value *newer, struct cw_value *older)
{
	struct cw_value *merged = older;
	const struct conf_object *from = newer->u.object;

	if (b->shared) {
		merged = conf_object_copy(b, older);
		if (merged == NULL)
			return NULL;
	}
	for (uint32_t i = 0; i < from->count; i++) {
		if (conf_put(b, merged, from->members[i].key, from->members[i].value) < 0)
			return NULL;
	}
	return merged;
}

struct cw_value *conf_merge(struct conf_build *b, struct cw_value *newer, struct cw_value *older)
{
	if (conf_is_final(newer))
		return newer;
	if (conf_is_unmergeable(older) || newer->type != CW_VALUE_OBJECT)
		return stack_up(b, newer, older);
	if (older->type == CW_VALUE_OBJECT)
		return merge_objects(b, newer, older);
	return conf_is_resolved(newer) ? made_final(b, newer) : stack_up(b, newer, older);
}

int conf_put(struct conf_build *b, struct cw_value *object, const struct conf_key *key, struct cw_value *value)
{
	struct conf_member *m = conf_object_find(object->u.object, key);
	bool was_resolved;

	if (m == NULL)
		return conf_object_add(b, object, key, value);
	was_resolved = conf_is_resolved(m->value);
	value = conf_merge(b, value, m->value);
	if (value == NULL)
		return b->rc;
	conf_member_replace(object, m, value, was_resolved);
	return 0;
}

struct cw_value *conf_object_to_list(struct conf_build *b, const struct cw_value *object)
{
	const struct conf_object *o = object->u.object;
	struct cw_value **items;
	size_t count;

	if (o->count == 0)
		return NULL;
	items = conf_alloc(b, o->count * sizeof(*items));
	if (items == NULL)
		return NULL;
	if (conf_numbered_members(o, items, &count) < 0) {
		conf_no_memory(b);
		return NULL;
	}
	return count == 0 ? NULL : conf_items(b, CW_VALUE_LIST, object, items, count);
}

static struct cw_value *join_lists(struct conf_build *b, struct cw_value **lists, size_t count)
{
	struct cw_value *v = conf_value_like(b, CW_VALUE_LIST, lists[0]);
	uint64_t total = 0;

	if (v == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++)
		total += lists[i]->len;
	if (total > UINT32_MAX / 16) {
		conf_fail(b, CW_ELIMIT, v->source, v->line, v->column, "a list with too many elements");
		return NULL;
	}
	v->u.items = conf_alloc(b, (size_t)total * sizeof(struct cw_value *));
	if (v->u.items == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (lists[i]->len > 0)
			memcpy(v->u.items + v->len, lists[i]->u.items, lists[i]->len * sizeof(struct cw_value *));
		v->len += lists[i]->len;
		v->flags |= lists[i]->flags & CONF_UNRESOLVED;
	}
	return v;
}

static const char *plain_text(const struct cw_value *v, size_t *ret_len)
{
	*ret_len = 4;
	if (v->type == CW_VALUE_NULL)
		return "null";
	if (v->type > CW_VALUE_STRING)
		return NULL;
	*ret_len = v->len;
	return v->u.text;
}

/* Several plain values to one text. All at once: two by two would cost the square of a long line. */
static struct cw_value *join_texts(struct conf_build *b, struct cw_value **pieces, size_t count)
{
	struct cw_value *v = conf_value_like(b, CW_VALUE_STRING, pieces[0]);
	size_t total = 0, len;
	char *text;

	if (v == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		plain_text(pieces[i], &len);
		total += len;
		if (total >= UINT32_MAX) {
			conf_fail(b, CW_ELIMIT, v->source, v->line, v->column, "a text of more than 4 GiB");
			return NULL;
		}
	}
	text = conf_alloc(b, total + 1);
	if (text == NULL)
		return NULL;
	v->u.text = text;
	v->len = (uint32_t)total;
	v->flags = CONF_QUOTED;
	for (size_t i = 0; i < count; i++) {
		const char *from = plain_text(pieces[i], &len);

		memcpy(text, from, len);
		text += len;
	}
	*text = '\0';
	return v;
}

static struct cw_value *join_mixed(struct conf_build *b, const struct cw_value *left, const struct cw_value *right,
                                   const struct cw_value *where)
{
	conf_fail(b, CW_ECONF, where->source, where->line, where->column,
	          "%s and %s stand side by side; only lists join lists, objects join objects, and plain values plain values",
	          cw_value_type_name((enum cw_value_type)left->type), cw_value_type_name((enum cw_value_type)right->type));
	return NULL;
}

/* Join right to left where that can be done now: *ret_joined, or NULL when both must stay as they are. */
static int join_two(struct conf_build *b, struct cw_value *left, struct cw_value *right, const struct cw_value *where,
                    struct cw_value **ret_joined)
{
	struct cw_value *list;

	*ret_joined = NULL;
	if (left->type == CW_VALUE_OBJECT && right->type == CW_VALUE_LIST) {
		list = conf_object_to_list(b, left);
		left = list == NULL ? left : list;
	} else if (left->type == CW_VALUE_LIST && right->type == CW_VALUE_OBJECT) {
		list = conf_object_to_list(b, right);
		right = list == NULL ? right : list;
	}
	if (b->rc != 0)
		return b->rc;
	if (left->type == CW_VALUE_OBJECT && right->type == CW_VALUE_OBJECT)
		*ret_joined = conf_merge(b, right, left);
	else if (left->type == CW_VALUE_LIST && right->type == CW_VALUE_LIST)
		*ret_joined = join_lists(b, (struct cw_value *[]){ left, right }, 2);
	else if ((left->type == CW_VALUE_OBJECT || left->type == CW_VALUE_LIST) && right->type == CW_VALUE_STRING &&
	         (right->flags & CONF_QUOTED) == 0)
		*ret_joined = left; /* whitespace between two substitutions that became containers */
	else if (conf_is_unmergeable(left) || conf_is_unmergeable(right))
		return 0;
	else
		*ret_joined = join_mixed(b, left, right, where);
	return *ret_joined == NULL ? b->rc : 0;
}

static size_t run_of(struct cw_value **pieces, size_t count, unsigned from, unsigned to)
{
	size_t run = 0;

	while (run < count && pieces[run]->type >= from && pieces[run]->type <= to)
		run++;
	return run;
}

static int join_all(struct conf_build *b, struct cw_value **pieces, size_t *count, const struct cw_value *where)
{
	struct cw_value *piece, *joined;
	size_t kept = 0, run;

	for (size_t i = 0; i < *count; i += run) {
		piece = pieces[i];
		run = 1;
		if (piece->type == CW_VALUE_LIST)
			run = run_of(pieces + i, *count - i, CW_VALUE_LIST, CW_VALUE_LIST);
		else if (piece->type <= CW_VALUE_STRING && (kept == 0 || conf_is_unmergeable(pieces[kept - 1])))
			run = run_of(pieces + i, *count - i, CW_VALUE_NULL, CW_VALUE_STRING);
		if (run > 1)
			piece = piece->type == CW_VALUE_LIST ? join_lists(b, pieces + i, run) : join_texts(b, pieces + i, run);
		if (piece == NULL)
			return b->rc;
		joined = NULL;
		if (kept > 0 && join_two(b, pieces[kept - 1], piece, where, &joined) < 0)
			return b->rc;
		if (joined != NULL)
			pieces[kept - 1] = joined;
		else
			pieces[kept++] = piece;
	}
	*count = kept;
	return 0;
}

struct cw_value *conf_concat(struct conf_build *b, struct cw_value **pieces, size_t count, const struct cw_value *where)
{
	if (count >= 2 && join_all(b, pieces, &count, where == NULL ? pieces[0] : where) < 0)
		return NULL;
	if (count == 0)
		return NULL;
	return count == 1 ? pieces[0] : conf_items(b, CONF_CONCAT, pieces[0], pieces, count);
}

static int relativize_reference(struct conf_build *b, struct conf_reference *ref, const struct conf_path *prefix,
                                unsigned prefix_len)
{
	struct conf_path *first = NULL, *last = NULL, *p;

	for (; prefix != NULL; prefix = prefix->next) {
		p = conf_path_add(b, prefix->key, NULL);
		if (p == NULL)
			return b->rc;
		if (last == NULL)
			first = p;
		else
			last->next = p;
		last = p;
	}
	if (last != NULL) {
		last->next = ref->path;
		ref->path = first;
		ref->prefix += prefix_len;
	}
	return 0;
}

int conf_relativize(struct conf_build *b, struct cw_value *v, const struct conf_path *prefix, unsigned prefix_len)
{
	if (v->type == CONF_REFERENCE)
		return relativize_reference(b, v->u.ref, prefix, prefix_len);
	if (conf_is_resolved(v))
		return 0;
	if (v->type == CW_VALUE_OBJECT) {
		for (uint32_t i = 0; i < v->u.object->count; i++) {
			if (conf_relativize(b, v->u.object->members[i].value, prefix, prefix_len) < 0)
				return b->rc;
		}
		return 0;
	}
	for (uint32_t i = 0; i < v->len; i++) {
		if (conf_relativize(b, v->u.items[i], prefix, prefix_len) < 0)
			return b->rc;
	}
	return 0;
}
