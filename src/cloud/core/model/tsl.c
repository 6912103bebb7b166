/* tsl.c - the thing model: reading the platform's TSL JSON; see tsl.h. tsl_check.c judges values. */
#include "cloud/core/model/tsl.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "cloud/core/model/tsl_type.h"

#define ENTRIES_MAX   1000u       /* properties, events and services of a model together */
#define MEMBERS_MAX   100u        /* of a struct, an event's outputs, a service's inputs */
#define DEPTH_MAX     5u          /* of array and struct in one another */
#define TEXT_MAX      10240u      /* bytes; the platform's largest length */
#define ARRAY_MAX     512u
#define BYTES_MAX     (16u << 20) /* compiled */
#define IDENTIFIER_MAX 64u

struct builder {
	struct cloud_model *model;
	struct cw_msg *msg;
	const char *block; /* prefix of identifiers, or NULL */
	unsigned entries;
};

static void *room(struct builder *b, size_t size)
{
	void *p = cw_arena_alloc(&b->model->arena, size);

	if (p == NULL)
		(void)cw_fail(b->msg, CW_ENOMEM, "the model is too large, or memory is short");
	else
		memset(p, 0, size);
	return p;
}

static int wrong(struct builder *b, const char *what)
{
	return cw_fail(b->msg, CW_EINVAL, "%s", what);
}

/* ---- data types ---- */

/* A number as such or, as the platform writes it, as text. 0: absent, 1: there, CW_EINVAL. */
static int read_number(const json_t *specs, const char *name, double *ret)
{
	const json_t *j = json_object_get(specs, name);
	char *end;

	if (j == NULL || json_is_null(j) || (json_is_string(j) && json_string_length(j) == 0))
		return 0;
	if (json_is_number(j)) {
		*ret = json_number_value(j);
		return 1;
	}
	if (!json_is_string(j))
		return CW_EINVAL;
	*ret = strtod(json_string_value(j), &end);
	return *end == '\0' && isfinite(*ret) ? 1 : CW_EINVAL;
}

static int read_range(struct builder *b, const json_t *specs, struct model_type *t)
{
	double step = 1;
	int low, high;

	t->min = t->kind == MODEL_INT ? INT32_MIN : t->kind == MODEL_FLOAT ? -(double)FLT_MAX : -DBL_MAX;
	t->max = t->kind == MODEL_INT ? INT32_MAX : t->kind == MODEL_FLOAT ? (double)FLT_MAX : DBL_MAX;
	low = read_number(specs, "min", &t->min);
	high = read_number(specs, "max", &t->max);
	if (low < 0 || high < 0 || t->min > t->max)
		return wrong(b, "dataType.specs: min and max must be numbers, min not above max");
	/* The step is for people's sliders: values between steps are taken. */
	if (read_number(specs, "step", &step) < 0 || step < 0)
		return wrong(b, "dataType.specs.step: must be a number, not negative");
	return 0;
}

/* {"0": "off", "1": "on"}: keys are what is sent. */
static int read_enum(struct builder *b, const json_t *specs, struct model_type *t)
{
	const char *key;
	json_t *label;
	char *end;

	if (json_object_size(specs) == 0 || json_object_size(specs) > MEMBERS_MAX)
		return wrong(b, "dataType.specs of an enum: an object of up to 100 numbers to names is expected");
	t->keys = room(b, json_object_size(specs) * sizeof(*t->keys));
	if (t->keys == NULL)
		return CW_ENOMEM;
	json_object_foreach((json_t *)(uintptr_t)specs, key, label) {
		t->keys[t->count] = strtoll(key, &end, 10);
		if (end == key || *end != '\0')
			return wrong(b, "dataType.specs of an enum: keys must be whole numbers");
		t->count++;
	}
	return 0;
}

static int read_length(struct builder *b, const json_t *specs, const char *name, double most, struct model_type *t)
{
	double n = most;

	if (read_number(specs, name, &n) < 0 || n < 1 || n > most || n != floor(n))
		return cw_fail(b->msg, CW_EINVAL, "dataType.specs.%s: must be a whole number from 1 to %.0f", name, most);
	t->length = (size_t)n;
	return 0;
}

static int read_type(struct builder *b, const json_t *type, unsigned depth, struct model_type **ret_type);
static int read_fields(struct builder *b, const json_t *list, unsigned depth, struct model_fields *f);

static int read_specs(struct builder *b, const json_t *specs, unsigned depth, struct model_type *t)
{
	int rc;

	switch (t->kind) {
	case MODEL_INT:
	case MODEL_FLOAT:
	case MODEL_DOUBLE: return read_range(b, specs, t);
	case MODEL_ENUM: return read_enum(b, specs, t);
	case MODEL_TEXT: return read_length(b, specs, "length", TEXT_MAX, t);
	case MODEL_ARRAY:
		rc = read_length(b, specs, "size", ARRAY_MAX, t);
		return rc < 0 ? rc : read_type(b, json_object_get(specs, "item"), depth + 1, &t->item);
	case MODEL_STRUCT:
		if (json_array_size(specs) == 0)
			return wrong(b, "dataType.specs of a struct: a list of members is expected");
		t->fields = room(b, sizeof(*t->fields));
		return t->fields == NULL ? CW_ENOMEM : read_fields(b, specs, depth + 1, t->fields);
	case MODEL_BOOL:
	case MODEL_DATE: break;
	}
	return 0;
}

static int read_type(struct builder *b, const json_t *type, unsigned depth, struct model_type **ret_type)
{
	const char *name = json_string_value(json_object_get(type, "type"));
	struct model_type *t;
	size_t i;

	if (name == NULL)
		return wrong(b, "dataType.type is missing");
	if (depth > DEPTH_MAX)
		return wrong(b, "array and struct are nested too deeply");
	for (i = 0; i < MODEL_KINDS && strcmp(cw_cloud_model_kinds[i].name, name) != 0; i++)
		;
	if (i == MODEL_KINDS)
		return cw_fail(b->msg, CW_EINVAL, "dataType.type \"%.32s\" is unknown: int, float, double, enum, bool, text, date, "
		               "array or struct", name);
	t = room(b, sizeof(*t));
	if (t == NULL)
		return CW_ENOMEM;
	t->kind = (enum model_kind)i;
	*ret_type = t;
	return read_specs(b, json_object_get(type, "specs"), depth, t);
}

/* The identifier of an entry, or NULL with a sentence. */
static const char *read_identifier(struct builder *b, const json_t *entry)
{
	const char *id = json_string_value(json_object_get(entry, "identifier"));
	size_t n = id != NULL ? strlen(id) : 0;

	if (n >= 1 && n <= IDENTIFIER_MAX &&
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n)
		return id;
	(void)cw_fail(b->msg, CW_EINVAL, "identifier: 1 to %u letters, digits and _ are expected", IDENTIFIER_MAX);
	return NULL;
}

static int read_field(struct builder *b, const json_t *entry, unsigned depth, struct model_field *f)
{
	const char *id = read_identifier(b, entry);
	int rc;

	if (id == NULL)
		return CW_EINVAL;
	f->required = json_is_true(json_object_get(entry, "required"));
	f->identifier = cw_arena_strndup(&b->model->arena, id, strlen(id));
	rc = f->identifier == NULL ? cw_fail(b->msg, CW_ENOMEM, "out of memory") : read_type(b, json_object_get(entry, "dataType"), depth, &f->type);
	if (rc < 0)
		cw_msg_wrap(b->msg, "\"%.64s\"", id);
	return rc;
}

static int read_fields(struct builder *b, const json_t *list, unsigned depth, struct model_fields *f)
{
	size_t n = json_array_size(list), i, k;

	if (list != NULL && !json_is_array(list))
		return wrong(b, "a list of {identifier, dataType} is expected");
	if (n > MEMBERS_MAX)
		return wrong(b, "more than 100 members");
	f->list = room(b, n * sizeof(*f->list) + 1);
	if (f->list == NULL)
		return CW_ENOMEM;
	for (i = 0; i < n; i++) {
		int rc = read_field(b, json_array_get(list, i), depth, &f->list[i]);

		if (rc < 0)
			return rc;
		for (k = 0; k < i; k++) {
			if (strcmp(f->list[k].identifier, f->list[i].identifier) == 0)
				return cw_fail(b->msg, CW_EINVAL, "\"%s\" occurs twice", f->list[i].identifier);
		}
		f->count++;
	}
	return 0;
}

/* ---- entries ---- */

static int is_own(const char *identifier)
{
	return strcmp(identifier, "set") == 0 || strcmp(identifier, "get") == 0 || strcmp(identifier, "post") == 0;
}

static int read_property(struct builder *b, const json_t *entry, struct model_entry *e)
{
	const json_t *mode = json_object_get(entry, "accessMode");
	const char *access = mode == NULL ? "rw" : json_string_value(mode);

	if (access == NULL || (strcmp(access, "r") != 0 && strcmp(access, "rw") != 0 && strcmp(access, "w") != 0))
		return wrong(b, "accessMode: r, rw or w");
	e->writable = strchr(access, 'w') != NULL;
	return read_type(b, json_object_get(entry, "dataType"), 1, &e->type);
}

static int read_event(struct builder *b, const json_t *entry, struct model_entry *e)
{
	const json_t *type = json_object_get(entry, "type");
	const char *name = json_string_value(type);

	if (type != NULL && (name == NULL || (strcmp(name, "info") != 0 && strcmp(name, "alert") != 0 && strcmp(name, "error") != 0)))
		return wrong(b, "type of an event: info, alert or error");
	return read_fields(b, json_object_get(entry, "outputData"), 1, &e->out);
}

static int read_service(struct builder *b, const json_t *entry, struct model_entry *e)
{
	const json_t *type = json_object_get(entry, "callType");
	const char *name = type == NULL ? "async" : json_string_value(type);
	int rc;

	if (name == NULL || (strcmp(name, "sync") != 0 && strcmp(name, "async") != 0))
		return wrong(b, "callType: sync or async");
	e->sync = name[0] == 's';
	rc = read_fields(b, json_object_get(entry, "inputData"), 1, &e->in);
	return rc < 0 ? rc : read_fields(b, json_object_get(entry, "outputData"), 1, &e->out);
}

static int (*const readers[MODEL_SECTIONS])(struct builder *b, const json_t *entry, struct model_entry *e) = {
	read_property, read_event, read_service,
};

static char *full_identifier(struct builder *b, const char *id)
{
	size_t size = (b->block != NULL ? strlen(b->block) + 1 : 0) + strlen(id) + 1;
	char *out = room(b, size);

	if (out != NULL && b->block != NULL)
		(void)snprintf(out, size, "%s:%s", b->block, id);
	else if (out != NULL)
		memcpy(out, id, size);
	return out;
}

static int read_entry(struct builder *b, enum model_section section, const json_t *json)
{
	const char *id = read_identifier(b, json);
	struct cw_map *map = &b->model->entries[section];
	struct model_entry *e;
	int rc;

	if (id == NULL)
		return CW_EINVAL;
	if (section != MODEL_PROPERTIES && is_own(id))
		return 0;
	if (++b->entries > ENTRIES_MAX)
		return wrong(b, "more than 1000 properties, events and services");
	e = room(b, sizeof(*e));
	if (e == NULL || (e->identifier = full_identifier(b, id)) == NULL)
		return CW_ENOMEM;
	if (cw_map_find(map, e->identifier, strlen(e->identifier)) != NULL)
		return cw_fail(b->msg, CW_EINVAL, "\"%s\" occurs twice", e->identifier);
	rc = readers[section](b, json, e);
	if (rc == 0 && cw_map_add(map, &e->node, e->identifier, strlen(e->identifier)) < 0)
		rc = cw_fail(b->msg, CW_ENOMEM, "out of memory");
	if (rc < 0)
		cw_msg_wrap(b->msg, "\"%s\"", e->identifier);
	return rc;
}

static int read_sections(struct builder *b, const json_t *tsl)
{
	static const char *const names[MODEL_SECTIONS] = { "properties", "events", "services" };
	unsigned s;
	size_t i;

	for (s = 0; s < MODEL_SECTIONS; s++) {
		const json_t *list = json_object_get(tsl, names[s]);

		if (list != NULL && !json_is_array(list))
			return cw_fail(b->msg, CW_EINVAL, "%s: a list is expected", names[s]);
		for (i = 0; i < json_array_size(list); i++) {
			int rc = read_entry(b, (enum model_section)s, json_array_get(list, i));

			if (rc < 0) {
				cw_msg_wrap(b->msg, "%s[%zu]", names[s], i);
				return rc;
			}
		}
	}
	return 0;
}

static int read_block(struct builder *b, const json_t *block)
{
	const char *id = json_string_value(json_object_get(block, "functionBlockId"));

	if (id == NULL || strlen(id) < 1 || strlen(id) > 30 ||
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != strlen(id))
		return wrong(b, "functionBlockId: 1 to 30 letters, digits and _ are expected");
	b->block = id;
	return read_sections(b, block);
}

static int read_model(struct builder *b, const json_t *tsl)
{
	const json_t *blocks = json_object_get(tsl, "functionBlocks");
	size_t i;
	int rc;

	if (!json_is_object(tsl))
		return wrong(b, "a model is a JSON object with properties, events and services");
	if (json_object_get(tsl, "functionBlockId") != NULL)
		rc = read_block(b, tsl);
	else
		rc = read_sections(b, tsl);
	for (i = 0; rc == 0 && i < json_array_size(blocks); i++)
		rc = read_block(b, json_array_get(blocks, i));
	return rc;
}

int cw_cloud_model_new(const json_t *tsl, struct cloud_model **ret_model, struct cw_msg *msg)
{
	struct cloud_model *m = cw_zalloc(sizeof(*m));
	struct builder b = { .model = m, .msg = msg };
	unsigned s;
	int rc;

	if (m == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_arena_init(&m->arena, BYTES_MAX);
	for (s = 0; s < MODEL_SECTIONS; s++)
		cw_map_init(&m->entries[s]);
	rc = read_model(&b, tsl);
	if (rc < 0) {
		cw_cloud_model_free(m);
		return rc;
	}
	*ret_model = m;
	return 0;
}

void cw_cloud_model_free(struct cloud_model *m)
{
	unsigned s;

	if (m == NULL)
		return;
	for (s = 0; s < MODEL_SECTIONS; s++)
		cw_map_fini(&m->entries[s]);
	cw_arena_fini(&m->arena);
	cw_free(m);
}

struct cloud_model_size cw_cloud_model_size(const struct cloud_model *m)
{
	return (struct cloud_model_size){ m->entries[MODEL_PROPERTIES].count, m->entries[MODEL_EVENTS].count,
		                          m->entries[MODEL_SERVICES].count };
}

int cw_cloud_tsl_set(struct cw_cloud *c, struct cloud_product *p, json_t *tsl, struct cw_msg *msg)
{
	struct cloud_model *m = NULL;
	int rc;

	if (json_is_object(tsl) && json_object_size(tsl) == 0)
		tsl = NULL;
	if (tsl != NULL) {
		rc = cw_cloud_model_new(tsl, &m, msg);
		if (rc < 0) {
			cw_msg_wrap(msg, "model of product %s", p->key);
			return rc;
		}
	}
	cw_cloud_model_free(p->model);
	p->model = m;
	json_decref(p->tsl);
	p->tsl = json_incref(tsl);
	cw_cloud_product_changed(c, p);
	return 0;
}

/* ---- the reduced form ---- */

static int named(const json_t *nodes, const char *key)
{
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node) {
		if (json_is_string(node) && strcmp(json_string_value(node), key) == 0)
			return 1;
	}
	return 0;
}

/* Members that are named stay; containers stay while something in them does. NULL: nothing is left. */
static json_t *reduce(const json_t *from, const json_t *nodes, int defaults, unsigned depth)
{
	const char *id = json_string_value(json_object_get(from, "identifier")), *key;
	json_t *out, *member, *left;
	size_t i;

	if (depth > 2 * DEPTH_MAX + 6 || (!defaults && depth == 2 && id != NULL && is_own(id)))
		return NULL;
	out = json_is_array(from) ? json_array() : json_is_object(from) ? json_object() : NULL;
	json_array_foreach(from, i, member) {
		if ((left = reduce(member, nodes, defaults, depth + 1)) != NULL)
			json_array_append_new(out, left);
	}
	json_object_foreach((json_t *)(uintptr_t)from, key, member) {
		left = json_is_object(member) || json_is_array(member) ? reduce(member, nodes, defaults, depth + 1) :
		       named(nodes, key)                               ? json_incref(member) : NULL;
		if (left != NULL)
			json_object_set_new(out, key, left);
	}
	if (json_object_size(out) + json_array_size(out) == 0 && depth > 0) {
		json_decref(out);
		return NULL;
	}
	return out;
}

json_t *cw_cloud_tsl_reduce(const json_t *tsl, const json_t *nodes, int defaults)
{
	return reduce(tsl, nodes, defaults, 0);
}
