/* tsl_check.c - values against a model; see tsl.h. Recursion is as deep as the model, not as the value. */
#include <math.h>
#include <string.h>

#include "cloud/core/model/tsl.h"
#include "cloud/core/model/tsl_type.h"

const struct model_kind_info cw_cloud_model_kinds[MODEL_KINDS] = {
#define KIND_INFO(sym, name, code) { name, code },
	MODEL_TYPES(KIND_INFO)
#undef KIND_INFO
};

static int check_value(const struct model_type *t, const json_t *v);

static int in_range(const struct model_type *t, const json_t *v)
{
	double d = json_number_value(v);

	return isfinite(d) && d >= t->min && d <= t->max;
}

static int is_key(const struct model_type *t, const json_t *v)
{
	unsigned i;

	for (i = 0; json_is_integer(v) && i < t->count; i++) {
		if (t->keys[i] == json_integer_value(v))
			return 1;
	}
	return 0;
}

/* UTC milliseconds as text. */
static int is_date(const json_t *v)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);

	return s != NULL && n >= 1 && n <= 19 && strspn(s, "0123456789") == n;
}

static int check_array(const struct model_type *t, const json_t *v)
{
	const json_t *item;
	size_t i;

	if (json_array_size(v) > t->length)
		return 6324;
	json_array_foreach(v, i, item) {
		int code = check_value(t->item, item);

		/* What is wrong inside a struct says more than that an element is. */
		if (code != 0)
			return t->item->kind == MODEL_STRUCT && code != 6312 ? code : 6325;
	}
	return 0;
}

static const struct model_field *find_field(const struct model_fields *f, const char *identifier)
{
	unsigned i;

	for (i = 0; i < f->count; i++) {
		if (strcmp(f->list[i].identifier, identifier) == 0)
			return &f->list[i];
	}
	return NULL;
}

static int check_fields(const struct model_fields *f, const json_t *v)
{
	const struct model_field *field;
	const char *key;
	json_t *value;
	unsigned i;
	int code;

	if (!json_is_object(v))
		return 6312;
	json_object_foreach((json_t *)(uintptr_t)v, key, value) {
		field = find_field(f, key);
		if (field == NULL)
			return 6304;
		code = check_value(field->type, value);
		if (code != 0)
			return code;
	}
	for (i = 0; i < f->count; i++) {
		if (f->list[i].required && json_object_get(v, f->list[i].identifier) == NULL)
			return 6302;
	}
	return 0;
}

static int check_value(const struct model_type *t, const json_t *v)
{
	int fits = 0;

	switch (t->kind) {
	case MODEL_INT: fits = json_is_integer(v) && in_range(t, v); break;
	case MODEL_FLOAT:
	case MODEL_DOUBLE: fits = json_is_number(v) && in_range(t, v); break;
	case MODEL_ENUM: fits = is_key(t, v); break;
	case MODEL_BOOL: fits = json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 1); break;
	case MODEL_TEXT: fits = json_is_string(v) && json_string_length(v) <= t->length; break;
	case MODEL_DATE: fits = is_date(v); break;
	case MODEL_ARRAY:
		if (json_is_array(v))
			return check_array(t, v);
		break;
	case MODEL_STRUCT: return check_fields(t->fields, v);
	}
	return fits ? 0 : cw_cloud_model_kinds[t->kind].code;
}

static const struct model_entry *find(const struct cloud_model *m, enum model_section section, const char *identifier)
{
	struct cw_map_node *n = cw_map_find(&m->entries[section], identifier, strlen(identifier));

	return n != NULL ? (const struct model_entry *)(const void *)n : NULL;
}

int cw_cloud_model_property(const struct cloud_model *m, const char *identifier, const json_t *value)
{
	const struct model_entry *e = find(m, MODEL_PROPERTIES, identifier);

	if (e == NULL)
		return identifier[0] == '\0' ? 6321 : 6320;
	return check_value(e->type, value);
}

int cw_cloud_model_set(const struct cloud_model *m, const char *identifier, const json_t *value)
{
	const struct model_entry *e = find(m, MODEL_PROPERTIES, identifier);

	return e != NULL && !e->writable ? 6320 : cw_cloud_model_property(m, identifier, value);
}

int cw_cloud_model_event(const struct cloud_model *m, const char *identifier, const json_t *outputs)
{
	const struct model_entry *e = find(m, MODEL_EVENTS, identifier);

	return e == NULL ? 5160 : check_fields(&e->out, outputs);
}

int cw_cloud_model_input(const struct cloud_model *m, const char *identifier, const json_t *inputs)
{
	const struct model_entry *e = find(m, MODEL_SERVICES, identifier);

	return e == NULL ? 5161 : check_fields(&e->in, inputs);
}

int cw_cloud_model_output(const struct cloud_model *m, const char *identifier, const json_t *outputs)
{
	const struct model_entry *e = find(m, MODEL_SERVICES, identifier);

	return e == NULL ? 5161 : check_fields(&e->out, outputs);
}

int cw_cloud_model_sync(const struct cloud_model *m, const char *identifier)
{
	const struct model_entry *e = find(m, MODEL_SERVICES, identifier);

	return e == NULL ? -1 : e->sync;
}
