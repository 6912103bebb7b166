/*
 * schema.c - see schema.h: objects to structs, by a table.
 *
 * A struct and everything it points to live in one arena whose head (struct bound)
 * stands before the struct, so that the caller holds and frees one pointer.
 */
#include "conf/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "conf/check.h"

struct bound {
	struct cw_arena arena;
	struct cw_conf_tree *tree; /* held while an ANY setting points into it */
	_Alignas(max_align_t) unsigned char conf[];
};

struct binder {
	struct bound *bound;
	struct cw_conf_tree *tree;
	struct cw_conf_report *report;
};

static int bind_table(struct binder *b, const struct cw_conf_table *table, const struct cw_value *object, const char *name, void *out);

static int no_memory(struct binder *b)
{
	b->report->out_of_memory = true;
	return CW_ENOMEM;
}

static void *member_of(void *out, const struct cw_conf_setting *s)
{
	return (char *)out + s->offset;
}

static void store_int(void *out, const struct cw_conf_setting *s, int64_t n)
{
	int8_t i8 = (int8_t)n;
	int16_t i16 = (int16_t)n;
	int32_t i32 = (int32_t)n;

	switch (s->member_size) {
	case 1:
		memcpy(member_of(out, s), &i8, 1);
		break;
	case 2:
		memcpy(member_of(out, s), &i16, 2);
		break;
	case 4:
		memcpy(member_of(out, s), &i32, 4);
		break;
	default:
		cw_invariant(s->member_size == 8);
		memcpy(member_of(out, s), &n, 8);
	}
}

int64_t conf_load_int(const void *member, size_t size)
{
	int8_t i8;
	int16_t i16;
	int32_t i32;
	int64_t i64;

	switch (size) {
	case 1:
		memcpy(&i8, member, 1);
		return i8;
	case 2:
		memcpy(&i16, member, 2);
		return i16;
	case 4:
		memcpy(&i32, member, 4);
		return i32;
	default:
		memcpy(&i64, member, 8);
		return i64;
	}
}

/* The types of this table under the names that conf_field.h uses, so that both kinds of table are checked by one function. */
static uint32_t field_type(enum cw_conf_type type)
{
	switch (type) {
	case CW_CONF_TYPE_BOOL:
		return CW_FIELD_BOOL;
	case CW_CONF_TYPE_INT:
		return CW_FIELD_INT;
	case CW_CONF_TYPE_DOUBLE:
		return CW_FIELD_DECIMAL;
	case CW_CONF_TYPE_BYTES:
		return CW_FIELD_BYTES;
	case CW_CONF_TYPE_DURATION:
		return CW_FIELD_DURATION;
	case CW_CONF_TYPE_ENUM:
		return CW_FIELD_ENUM;
	case CW_CONF_TYPE_SECRET:
		return CW_FIELD_SECRET;
	default:
		return CW_FIELD_STRING;
	}
}

static int store_text(struct binder *b, void *out, const struct cw_conf_setting *s, const char *text, size_t len)
{
	char *copy = cw_arena_strndup(&b->bound->arena, text, len);

	if (copy == NULL)
		return no_memory(b);
	memcpy(member_of(out, s), &copy, sizeof(copy));
	return 0;
}

/* A relative path stands beside the file that names it, like those of file:PATH. */
static int store_path(struct binder *b, void *out, const struct cw_conf_setting *s, const struct cw_value *v, const struct conf_checked *c)
{
	const char *file = v == NULL ? NULL : cw_value_origin(v).file, *slash = file == NULL ? NULL : strrchr(file, '/');
	size_t dir = slash == NULL || c->len == 0 || c->text[0] == '/' ? 0 : (size_t)(slash - file) + 1;
	char *path = cw_arena_alloc(&b->bound->arena, dir + c->len + 1);

	if (path == NULL)
		return no_memory(b);
	if (dir > 0)
		memcpy(path, file, dir);
	memcpy(path + dir, c->text, c->len);
	path[dir + c->len] = '\0';
	memcpy(member_of(out, s), &path, sizeof(path));
	return 0;
}

static int store_scalar(struct binder *b, void *out, const struct cw_conf_setting *s, const struct conf_checked *c)
{
	switch (s->type) {
	case CW_CONF_TYPE_BOOL:
		memcpy(member_of(out, s), &c->boolean, sizeof(bool));
		return 0;
	case CW_CONF_TYPE_DOUBLE:
		memcpy(member_of(out, s), &c->decimal, sizeof(double));
		return 0;
	case CW_CONF_TYPE_INT:
	case CW_CONF_TYPE_ENUM:
	case CW_CONF_TYPE_BYTES:
	case CW_CONF_TYPE_DURATION:
		store_int(out, s, c->integer);
		return 0;
	default:
		return store_text(b, out, s, c->text, c->len);
	}
}

static int bind_scalar(struct binder *b, const struct cw_conf_setting *s, const struct cw_value *v, const char *name, void *out)
{
	struct conf_rule rule = { .name = name, .type = field_type(s->type), .min = s->min, .max = s->max, .values = s->values,
		                  .required = (s->flags & CW_CONF_REQUIRED) != 0 };
	struct conf_checked checked = { 0 };
	char file[CONF_SECRET_MAX];
	int rc;

	checked.file = file;
	rc = conf_check(&rule, v, v == NULL ? s->initial : NULL, b->report, &checked);
	if (rc == 0)
		rc = s->type == CW_CONF_TYPE_FILE ? store_path(b, out, s, v, &checked) : store_scalar(b, out, s, &checked);
	if (s->type == CW_CONF_TYPE_SECRET)
		explicit_bzero(file, sizeof(file));
	return rc == CW_ENOMEM ? rc : 0;
}

static int bind_strings(struct binder *b, const struct cw_conf_setting *s, const struct cw_value *v, const char *name, void *out)
{
	const struct cw_value *const *items = NULL, *one[1] = { v };
	struct cw_conf_strings list = { NULL, 0 };
	const char **texts;
	size_t count = 1, len;
	int rc = 0;

	if (cw_value_text(v, NULL) == NULL) {
		rc = cw_value_to_list(v, &items, &count, NULL);
		if (rc == CW_ENOMEM)
			return no_memory(b);
		if (rc < 0) {
			conf_complain_type(b->report, v, name, "a list of texts");
			return 0;
		}
	}
	texts = cw_arena_alloc(&b->bound->arena, (count + 1) * sizeof(*texts));
	for (size_t i = 0; texts != NULL && rc == 0 && i < count; i++) {
		const struct cw_value *item = items == NULL ? one[0] : items[i];
		const char *text = cw_value_text(item, &len);

		if (text == NULL) {
			conf_complain_type(b->report, item, name, "a text in each element of the list");
			continue;
		}
		texts[list.count] = cw_arena_strndup(&b->bound->arena, text, len);
		if (texts[list.count++] == NULL)
			rc = CW_ENOMEM;
	}
	cw_value_list_free(items);
	if (texts == NULL || rc == CW_ENOMEM)
		return no_memory(b);
	list.items = texts;
	memcpy(member_of(out, s), &list, sizeof(list));
	return 0;
}

/* Room for `count` structs of the table, zeroed, into the list member. */
static int make_list(struct binder *b, const struct cw_conf_setting *s, size_t count, void *out, struct cw_conf_list *ret_list)
{
	struct cw_conf_list list = { .count = count, .item_size = s->table->size };

	list.items = cw_arena_alloc(&b->bound->arena, count * list.item_size);
	if (list.items == NULL)
		return no_memory(b);
	memset(list.items, 0, count * list.item_size);
	memcpy(member_of(out, s), &list, sizeof(list));
	*ret_list = list;
	return 0;
}

static int bind_list(struct binder *b, const struct cw_conf_setting *s, const struct cw_value *v, const char *name, void *out)
{
	const struct cw_value *const *items;
	struct cw_conf_list list;
	size_t count;
	int rc = cw_value_to_list(v, &items, &count, NULL);

	if (rc == CW_ENOMEM)
		return no_memory(b);
	if (rc < 0) {
		conf_complain_type(b->report, v, name, "a list of objects");
		return 0;
	}
	rc = make_list(b, s, count, out, &list);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (cw_value_type(items[i]) != CW_VALUE_OBJECT)
			conf_complain_type(b->report, items[i], name, "an object in each element of the list");
		else
			rc = bind_table(b, s->table, items[i], NULL, (char *)list.items + i * list.item_size);
	}
	cw_value_list_free(items);
	return rc;
}

static int bind_map(struct binder *b, const struct cw_conf_setting *s, const struct cw_value *v, const char *name, void *out)
{
	struct cw_conf_list list;
	struct cw_member m;
	int rc;

	if (cw_value_type(v) != CW_VALUE_OBJECT) {
		conf_complain_type(b->report, v, name, "an object whose keys are names and whose values are objects");
		return 0;
	}
	rc = make_list(b, s, cw_value_count(v), out, &list);
	for (size_t i = 0; rc == 0 && cw_value_member(v, i, &m); i++) {
		if (cw_value_type(m.value) != CW_VALUE_OBJECT)
			conf_complain_type(b->report, m.value, m.key, "an object");
		else
			rc = bind_table(b, s->table, m.value, m.key, (char *)list.items + i * list.item_size);
	}
	return rc;
}

static int bind_any(struct binder *b, const struct cw_conf_setting *s, const struct cw_value *v, void *out)
{
	if (b->bound->tree == NULL && b->tree != NULL)
		b->bound->tree = cw_conf_tree_ref(b->tree);
	memcpy(member_of(out, s), &v, sizeof(v));
	return 0;
}

/* An absent embedded table still has defaults. */
static int bind_embedded(struct binder *b, const struct cw_conf_setting *s, const struct cw_value *v, const char *name, void *out)
{
	if (v != NULL && cw_value_type(v) != CW_VALUE_OBJECT) {
		conf_complain_type(b->report, v, name, "an object");
		return 0;
	}
	return bind_table(b, s->table, v, NULL, member_of(out, s));
}

static int bind_strings_default(struct binder *b, const struct cw_conf_setting *s, void *out)
{
	struct cw_conf_strings list = { NULL, 0 };
	const char **texts = NULL, *at = s->initial;
	size_t count = 1;

	if (at == NULL || *at == '\0')
		return 0;
	for (const char *p = at; *p != '\0'; p++)
		count += *p == ',';
	texts = cw_arena_alloc(&b->bound->arena, count * sizeof(*texts));
	if (texts == NULL)
		return no_memory(b);
	while (list.count < count) {
		size_t len = strcspn(at, ",");

		texts[list.count] = cw_arena_strndup(&b->bound->arena, at, len);
		if (texts[list.count++] == NULL)
			return no_memory(b);
		at += len + 1;
	}
	list.items = texts;
	memcpy(member_of(out, s), &list, sizeof(list));
	return 0;
}

static int bind_setting(struct binder *b, const struct cw_conf_setting *s, const struct cw_value *object, const char *map_name, void *out)
{
	const struct cw_value *v = NULL;
	struct cw_origin origin;

	if (s->type == CW_CONF_TYPE_NAME)
		return map_name == NULL ? 0 : store_text(b, out, s, map_name, strlen(map_name));
	if (s->type == CW_CONF_TYPE_ORIGIN) {
		origin = object == NULL ? (struct cw_origin){ "default", 0, 0 } : cw_value_origin(object);
		origin.file = cw_arena_strndup(&b->bound->arena, origin.file, strlen(origin.file));
		if (origin.file == NULL)
			return no_memory(b);
		memcpy(member_of(out, s), &origin, sizeof(origin));
		return 0;
	}
	if (object != NULL)
		conf_look(object, s->path, &v);
	if (s->type == CW_CONF_TYPE_TABLE)
		return bind_embedded(b, s, v, s->path, out);
	if (v == NULL && (s->flags & CW_CONF_REQUIRED)) {
		conf_complain_missing(b->report, object, s->path, s->help);
		return 0;
	}
	switch (s->type) {
	case CW_CONF_TYPE_STRINGS:
		return v == NULL ? bind_strings_default(b, s, out) : bind_strings(b, s, v, s->path, out);
	case CW_CONF_TYPE_LIST:
		return v == NULL ? 0 : bind_list(b, s, v, s->path, out);
	case CW_CONF_TYPE_MAP:
		return v == NULL ? 0 : bind_map(b, s, v, s->path, out);
	case CW_CONF_TYPE_ANY:
		return v == NULL ? 0 : bind_any(b, s, v, out);
	default:
		return v == NULL && s->initial == NULL ? 0 : bind_scalar(b, s, v, s->path, out);
	}
}

static const struct cw_conf_table *variant_of(const struct cw_conf_setting *s, const void *out)
{
	const struct cw_conf_setting *choice = s - 1;

	return s->variants[conf_load_int((const char *)out + choice->offset, choice->member_size)];
}

/* The paths of a table, and behind them those of its variant. */
struct names {
	const struct cw_conf_setting *own, *variant;
};

static const char *setting_name(const void *names, size_t i)
{
	const struct names *n = names;
	const struct cw_conf_setting *s = n->own;

	while (s->type != CW_CONF_TYPE_END && i > 0) {
		s++;
		i--;
	}
	if (s->type == CW_CONF_TYPE_END && n->variant != NULL)
		for (s = n->variant; s->type != CW_CONF_TYPE_END && i > 0; i--)
			s++;
	if (s->type == CW_CONF_TYPE_END)
		return NULL;
	return s->path == NULL ? "" : s->path;
}

static int bind_settings(struct binder *b, const struct cw_conf_table *table, const struct cw_value *object, const char *name,
                         void *out)
{
	int rc = 0;

	for (const struct cw_conf_setting *s = table->settings; rc == 0 && s->type != CW_CONF_TYPE_END; s++)
		if (s->type != CW_CONF_TYPE_VARIANT)
			rc = bind_setting(b, s, object, name, out);
	return rc;
}

/* The struct of the variant that was chosen, checked by its own table; *ret_settings are its rows. */
static int bind_variant(struct binder *b, const struct cw_conf_table *table, const struct cw_value *object, void *out,
                        const struct cw_conf_setting **ret_settings)
{
	const struct cw_conf_table *chosen = NULL;
	const struct cw_conf_setting *s;
	void *conf;
	int rc;

	for (s = table->settings; s->type != CW_CONF_TYPE_END && s->type != CW_CONF_TYPE_VARIANT; s++)
		;
	if (s->type == CW_CONF_TYPE_VARIANT)
		chosen = variant_of(s, out);
	if (chosen == NULL)
		return 0;
	conf = cw_arena_alloc(&b->bound->arena, chosen->size);
	if (conf == NULL)
		return no_memory(b);
	memset(conf, 0, chosen->size);
	memcpy(member_of(out, s), &conf, sizeof(conf));
	rc = bind_settings(b, chosen, object, NULL, conf);
	if (rc == 0 && chosen->check != NULL && b->report->errors == 0)
		chosen->check(conf, object, b->report);
	*ret_settings = chosen->settings;
	return rc;
}

static int bind_table(struct binder *b, const struct cw_conf_table *table, const struct cw_value *object, const char *name, void *out)
{
	struct names names = { table->settings, NULL };
	size_t errors = b->report->errors;
	int rc = bind_settings(b, table, object, name, out);

	if (rc == 0)
		rc = bind_variant(b, table, object, out, &names.variant);
	if (rc == 0 && object != NULL && !(table->flags & CW_CONF_UNKNOWN_IGNORE))
		rc = conf_check_unknown(object, setting_name, &names, table->unknown_hint, (table->flags & CW_CONF_UNKNOWN_WARN) != 0,
		                        b->report);
	if (rc < 0)
		return no_memory(b);
	if (rc == 0 && table->check != NULL && b->report->errors == errors)
		table->check(out, object, b->report);
	return rc;
}

int cw_conf_bind(const struct cw_conf_table *table, struct cw_conf_tree *tree, const struct cw_value *object,
                 struct cw_conf_report *report, void **ret_conf)
{
	struct binder b = { .tree = tree, .report = report };
	int rc;

	b.bound = cw_zalloc(sizeof(*b.bound) + table->size);
	if (b.bound == NULL)
		return no_memory(&b);
	cw_arena_init(&b.bound->arena, 0);
	rc = bind_table(&b, table, object, NULL, b.bound->conf);
	if (rc == 0 && report->out_of_memory)
		rc = CW_ENOMEM;
	if (rc == 0 && report->errors > 0)
		rc = CW_ECONF;
	if (rc < 0) {
		cw_conf_free(b.bound->conf);
		return rc;
	}
	*ret_conf = b.bound->conf;
	return 0;
}

void cw_conf_free(void *conf)
{
	struct bound *bound;

	if (conf == NULL)
		return;
	bound = cw_container_of(conf, struct bound, conf);
	cw_conf_tree_unref(bound->tree);
	cw_arena_fini(&bound->arena);
	cw_free(bound);
}
