/* fields.c - settings declared at run time by plugins (schema.h, cw_conf_fields). */
#include <string.h>

#include "conf/check.h"

struct walk {
	unsigned scope;
	const struct cw_conf_sink *sink;
	struct cw_conf_report *report;
};

static int walk_table(const struct walk *w, const struct cw_conf_field *fields, const struct cw_value *object);

static const char *field_name(const void *table, size_t i)
{
	return ((const struct cw_conf_field *)table)[i].name;
}

/* A sink's answer ends the walk; complaints do not. */
static int give(const struct walk *w, const struct cw_conf_field *f, const char *key, const struct conf_checked *c, const struct cw_value *v)
{
	struct cw_conf_typed typed = { .boolean = c->boolean, .integer = c->integer, .decimal = c->decimal, .text = c->text, .len = c->len,
		                       .origin = v };

	return w->sink->value == NULL ? 0 : w->sink->value(w->sink->ctx, f, key, &typed);
}

static int walk_scalar(const struct walk *w, const struct cw_conf_field *f, const char *key, uint32_t type, const struct cw_value *v)
{
	struct conf_rule rule = { .name = f->name, .type = type, .min = f->min, .max = f->max, .joined = f->values,
		                  .required = f->initial == NULL };
	char file[CONF_SECRET_MAX];
	struct conf_checked checked = { .file = file };
	int rc = conf_check(&rule, v, f->initial, w->report, &checked);

	if (rc == 0)
		rc = give(w, f, key, &checked, v);
	else if (rc == CW_ECONF)
		rc = 0;
	if (type == CW_FIELD_SECRET)
		explicit_bzero(file, sizeof(file));
	return rc;
}

static int begin(const struct walk *w, const struct cw_conf_field *f, const char *key, int element, size_t count)
{
	return w->sink->begin == NULL ? 0 : w->sink->begin(w->sink->ctx, f, key, element, count);
}

static int end(const struct walk *w, const struct cw_conf_field *f, int element)
{
	return w->sink->end == NULL ? 0 : w->sink->end(w->sink->ctx, f, element);
}

/* One element of a list or map: a text, or a table of f->fields. */
static int walk_element(const struct walk *w, const struct cw_conf_field *f, const char *key, const struct cw_value *v)
{
	int rc;

	if (f->fields == NULL)
		return walk_scalar(w, f, key, CW_FIELD_STRING, v);
	if (cw_value_type(v) != CW_VALUE_OBJECT) {
		conf_complain_type(w->report, v, f->name, "an object in each element");
		return 0;
	}
	rc = begin(w, f, key, 1, 1);
	if (rc == 0)
		rc = walk_table(w, f->fields, v);
	return rc != 0 ? rc : end(w, f, 1);
}

static int walk_list(const struct walk *w, const struct cw_conf_field *f, const struct cw_value *v)
{
	const struct cw_value *const *items = NULL, *one = v;
	size_t count = 0;
	int rc;

	if (v != NULL && cw_value_text(v, NULL) != NULL && f->fields == NULL) {
		count = 1;
	} else if (v != NULL) {
		rc = cw_value_to_list(v, &items, &count, NULL);
		if (rc == CW_ENOMEM)
			return rc;
		if (rc < 0) {
			conf_complain_type(w->report, v, f->name, "a list");
			return 0;
		}
	}
	rc = begin(w, f, NULL, 0, count);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = walk_element(w, f, NULL, items == NULL ? one : items[i]);
	cw_value_list_free(items);
	return rc != 0 ? rc : end(w, f, 0);
}

static int walk_map(const struct walk *w, const struct cw_conf_field *f, const struct cw_value *v)
{
	struct cw_member m;
	int rc;

	if (v != NULL && cw_value_type(v) != CW_VALUE_OBJECT) {
		conf_complain_type(w->report, v, f->name, "an object");
		return 0;
	}
	rc = begin(w, f, NULL, 0, v == NULL ? 0 : cw_value_count(v));
	for (size_t i = 0; v != NULL && rc == 0 && cw_value_member(v, i, &m); i++)
		rc = walk_element(w, f, m.key, m.value);
	return rc != 0 ? rc : end(w, f, 0);
}

static int walk_embedded(const struct walk *w, const struct cw_conf_field *f, const struct cw_value *v)
{
	int rc;

	if (v != NULL && cw_value_type(v) != CW_VALUE_OBJECT) {
		conf_complain_type(w->report, v, f->name, "an object");
		return 0;
	}
	rc = begin(w, f, NULL, 0, 1);
	if (rc == 0)
		rc = walk_table(w, f->fields, v);
	return rc != 0 ? rc : end(w, f, 0);
}

static int walk_field(const struct walk *w, const struct cw_conf_field *f, const struct cw_value *object)
{
	bool nested = f->type == CW_FIELD_LIST || f->type == CW_FIELD_MAP || f->type == CW_FIELD_TABLE;
	const struct cw_value *v = NULL;

	if (object != NULL)
		conf_look(object, f->name, &v);
	if (v != NULL && f->scope != 0 && !(f->scope & w->scope)) {
		cw_conf_error_at(w->report, v, "%.100s cannot be set here: %.300s", f->name, f->help == NULL ? "" : f->help);
		return 0;
	}
	if (v == NULL && f->initial == NULL && !nested) {
		/* A setting of another place need not be given here. */
		if (f->scope == 0 || (f->scope & w->scope))
			conf_complain_missing(w->report, object, f->name, f->help);
		return 0;
	}
	switch (f->type) {
	case CW_FIELD_LIST:
		return walk_list(w, f, v);
	case CW_FIELD_MAP:
		return walk_map(w, f, v);
	case CW_FIELD_TABLE:
		return walk_embedded(w, f, v);
	default:
		return walk_scalar(w, f, NULL, f->type, v);
	}
}

static int walk_table(const struct walk *w, const struct cw_conf_field *fields, const struct cw_value *object)
{
	int rc = 0;

	if (object != NULL)
		rc = conf_check_unknown(object, field_name, fields, NULL, false, w->report);
	for (; rc == 0 && fields->name != NULL; fields++)
		rc = walk_field(w, fields, object);
	return rc;
}

int cw_conf_fields(const struct cw_conf_field *fields, unsigned scope, const struct cw_value *object,
                   const struct cw_conf_sink *sink, struct cw_conf_report *report)
{
	const struct walk w = { scope, sink, report };
	size_t errors = report->errors;
	int rc = walk_table(&w, fields, object);

	if (rc == 0 && report->out_of_memory)
		return CW_ENOMEM;
	return rc == 0 && report->errors > errors ? CW_ECONF : rc;
}
