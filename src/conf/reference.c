/* reference.c - settings tables as documentation, and bound structs as they took effect (dump.h). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conf/check.h"
#include "conf/dump.h"
#include "conf/out.h"

/* One line of the reference, wherever it comes from. */
struct entry {
	const char *prefix, *path;
	const char *type, *initial, *min, *max, *help;
	char values[256];
	bool required;
};

static void add_range(struct conf_out *o, const struct entry *e)
{
	if (e->values[0] != '\0')
		conf_out_printf(o, "%s", e->values);
	else if (e->min != NULL && e->max != NULL)
		conf_out_printf(o, "%s to %s", e->min, e->max);
	else if (e->min != NULL)
		conf_out_printf(o, "from %s", e->min);
	else if (e->max != NULL)
		conf_out_printf(o, "up to %s", e->max);
}

static bool has_range(const struct entry *e)
{
	return e->values[0] != '\0' || e->min != NULL || e->max != NULL;
}

static void put_text(struct conf_out *o, const struct entry *e)
{
	conf_out_printf(o, "%s%s\n    %s", e->prefix, e->path, e->type);
	if (e->required)
		conf_out_puts(o, ", must be given");
	else if (e->initial != NULL)
		conf_out_printf(o, ", default %s", e->initial[0] == '\0' ? "\"\"" : e->initial);
	if (has_range(e)) {
		conf_out_puts(o, e->values[0] != '\0' ? ", one of " : ", ");
		add_range(o, e);
	}
	conf_out_printf(o, "\n    %s\n", e->help == NULL ? "" : e->help);
}

static void put_markdown(struct conf_out *o, const struct entry *e)
{
	conf_out_printf(o, "| `%s%s` | %s | ", e->prefix, e->path, e->type);
	if (e->required)
		conf_out_puts(o, "must be given");
	else if (e->initial != NULL)
		conf_out_printf(o, "`%s`", e->initial[0] == '\0' ? "\"\"" : e->initial);
	conf_out_puts(o, " | ");
	add_range(o, e);
	conf_out_puts(o, " | ");
	for (const char *p = e->help == NULL ? "" : e->help; *p != '\0'; p++)
		conf_out_printf(o, *p == '|' ? "\\%c" : "%c", *p);
	conf_out_puts(o, " |\n");
}

static bool needs_quotes(const char *text)
{
	return text[0] == '\0' || strpbrk(text, "$\"{}[]:=,+#`^?!@*&\\/ ") != NULL;
}

static void put_hocon(struct conf_out *o, const struct entry *e)
{
	conf_out_printf(o, "# %s\n# (%s", e->help == NULL ? "" : e->help, e->type);
	if (has_range(e)) {
		conf_out_puts(o, ", ");
		add_range(o, e);
	}
	conf_out_printf(o, "%s)\n# %s%s = ", e->required ? ", must be given" : "", e->prefix, e->path);
	if (e->initial == NULL)
		conf_out_puts(o, "...");
	else if (needs_quotes(e->initial))
		conf_out_quoted(o, e->initial, strlen(e->initial));
	else
		conf_out_puts(o, e->initial);
	conf_out_puts(o, "\n\n");
}

static void put_entry(struct conf_out *o, enum cw_reference_format format, const struct entry *e)
{
	if (format == CW_REFERENCE_TEXT)
		put_text(o, e);
	else if (format == CW_REFERENCE_MARKDOWN)
		put_markdown(o, e);
	else
		put_hocon(o, e);
}

static void put_head(struct conf_out *o, enum cw_reference_format format)
{
	if (format == CW_REFERENCE_MARKDOWN)
		conf_out_puts(o, "| setting | type | default | accepted | meaning |\n| --- | --- | --- | --- | --- |\n");
}

static const char *const type_names[] = {
	[CW_CONF_TYPE_STRING] = "text",         [CW_CONF_TYPE_BOOL] = "boolean",       [CW_CONF_TYPE_INT] = "integer",
	[CW_CONF_TYPE_DOUBLE] = "number",       [CW_CONF_TYPE_BYTES] = "size",         [CW_CONF_TYPE_DURATION] = "duration",
	[CW_CONF_TYPE_ENUM] = "word",           [CW_CONF_TYPE_STRINGS] = "list of texts", [CW_CONF_TYPE_SECRET] = "secret",
	[CW_CONF_TYPE_TABLE] = "object",        [CW_CONF_TYPE_LIST] = "list of objects", [CW_CONF_TYPE_MAP] = "objects by name",
	[CW_CONF_TYPE_ANY] = "object, free",    [CW_CONF_TYPE_NAME] = "",              [CW_CONF_TYPE_ORIGIN] = "",
	[CW_CONF_TYPE_VARIANT] = "",           [CW_CONF_TYPE_FILE] = "file",
};

static void put_table(struct conf_out *o, enum cw_reference_format format, const struct cw_conf_table *table, const char *prefix);

/* `upstreams.NAME(type = http2).` before each key that only this choice has. */
static void put_variants(struct conf_out *o, enum cw_reference_format format, const struct cw_conf_setting *s, const char *prefix)
{
	const struct cw_conf_setting *choice = s - 1;
	char with[300];

	for (size_t i = 0; choice->values[i] != NULL; i++) {
		if (s->variants[i] == NULL)
			continue;
		snprintf(with, sizeof(with), "%.*s(%s = %s).", (int)strlen(prefix) - 1, prefix, choice->path, choice->values[i]);
		put_table(o, format, s->variants[i], with);
	}
}

static void put_table(struct conf_out *o, enum cw_reference_format format, const struct cw_conf_table *table, const char *prefix)
{
	char below[300];

	for (const struct cw_conf_setting *s = table->settings; s->type != CW_CONF_TYPE_END; s++) {
		struct entry e = { .prefix = prefix, .path = s->path, .type = type_names[s->type], .initial = s->initial, .min = s->min,
			           .max = s->max, .help = s->help, .required = (s->flags & CW_CONF_REQUIRED) != 0 };
		size_t used = 0;

		if (s->type == CW_CONF_TYPE_VARIANT)
			put_variants(o, format, s, prefix);
		if (s->path == NULL)
			continue;
		for (const char *const *v = s->values; v != NULL && *v != NULL && used < sizeof(e.values); v++)
			used += (size_t)snprintf(e.values + used, sizeof(e.values) - used, "%s%s", used > 0 ? ", " : "", *v);
		if (s->type != CW_CONF_TYPE_TABLE)
			put_entry(o, format, &e);
		if (s->table == NULL)
			continue;
		snprintf(below, sizeof(below), "%s%s%s", prefix, s->path,
		         s->type == CW_CONF_TYPE_LIST ? "[]." : s->type == CW_CONF_TYPE_MAP ? ".NAME." : ".");
		put_table(o, format, s->table, below);
	}
}

int cw_dump_reference(const struct cw_conf_table *table, enum cw_reference_format format, char **ret_text, size_t *ret_len)
{
	struct conf_out o = { 0 };

	put_head(&o, format);
	put_table(&o, format, table, "");
	return conf_out_take(&o, ret_text, ret_len);
}

const char *cw_conf_field_type(uint32_t type)
{
	static const char *const names[] = { "?", "boolean", "integer", "number", "text", "word", "duration", "size", "secret", "list",
		                             "values by name", "object" };

	return names[type < sizeof(names) / sizeof(names[0]) ? type : 0];
}

/* Where it may stand, when that is not everywhere. */
static void put_scope(struct conf_out *o, uint32_t scope)
{
	static const char *const places[] = { "the protocol", "a listener or connection", "a product", "a device" };
	const char *between = "    Only of ";
	unsigned i;

	if (scope == 0 || (scope & CW_SCOPE_ANY) == CW_SCOPE_ANY)
		return;
	for (i = 0; i < 4; i++) {
		if ((scope & 1u << i) == 0)
			continue;
		conf_out_printf(o, "%s%s", between, places[i]);
		between = ", ";
	}
	conf_out_puts(o, ".\n");
}

static void put_fields(struct conf_out *o, enum cw_reference_format format, const struct cw_conf_field *f, const char *prefix)
{
	char below[300];

	for (; f->name != NULL; f++) {
		bool nested = f->type >= CW_FIELD_LIST;
		struct entry e = { .prefix = prefix, .path = f->name, .type = cw_conf_field_type(f->type), .initial = f->initial,
			           .min = f->min, .max = f->max, .help = f->help, .required = f->initial == NULL && !nested };
		size_t used = 0;

		for (const char *v = f->values; v != NULL && *v != '\0' && used < sizeof(e.values) - 2; v++) {
			if (*v == '|')
				e.values[used++] = ',';
			e.values[used++] = *v == '|' ? ' ' : *v;
		}
		put_entry(o, format, &e);
		if (format == CW_REFERENCE_TEXT)
			put_scope(o, f->scope);
		if (f->fields == NULL)
			continue;
		snprintf(below, sizeof(below), "%s%s%s", prefix, f->name,
		         f->type == CW_FIELD_LIST ? "[]." : f->type == CW_FIELD_MAP ? ".NAME." : ".");
		put_fields(o, format, f->fields, below);
	}
}

int cw_dump_fields(const struct cw_conf_field *fields, const char *prefix, enum cw_reference_format format, char **ret_text,
                   size_t *ret_len)
{
	struct conf_out o = { 0 };
	char dotted[200];

	snprintf(dotted, sizeof(dotted), "%s%s", prefix, prefix[0] == '\0' ? "" : ".");
	put_head(&o, format);
	put_fields(&o, format, fields, dotted);
	return conf_out_take(&o, ret_text, ret_len);
}

static void put_struct(struct conf_out *o, const struct cw_conf_table *table, const void *conf, unsigned indent);

static const char *map_name(const struct cw_conf_table *table, const void *conf)
{
	const char *name = NULL;

	for (const struct cw_conf_setting *s = table->settings; s->type != CW_CONF_TYPE_END; s++) {
		if (s->type == CW_CONF_TYPE_NAME)
			memcpy(&name, (const char *)conf + s->offset, sizeof(name));
	}
	return name;
}

static void put_list(struct conf_out *o, const struct cw_conf_setting *s, const void *member, unsigned indent)
{
	struct cw_conf_list list;
	bool map = s->type == CW_CONF_TYPE_MAP;

	memcpy(&list, member, sizeof(list));
	conf_out_puts(o, list.count == 0 ? (map ? "{}" : "[]") : map ? "{\n" : "[\n");
	for (size_t i = 0; i < list.count; i++) {
		const void *item = (const char *)list.items + i * list.item_size;
		const char *name = map ? map_name(s->table, item) : NULL;

		conf_out_pad(o, indent + 2);
		if (name != NULL) {
			conf_out_quoted(o, name, strlen(name));
			conf_out_puts(o, " ");
		}
		conf_out_puts(o, "{\n");
		put_struct(o, s->table, item, indent + 4);
		conf_out_pad(o, indent + 2);
		conf_out_puts(o, "}\n");
	}
	if (list.count > 0) {
		conf_out_pad(o, indent);
		conf_out_puts(o, map ? "}" : "]");
	}
}

static void put_strings(struct conf_out *o, const void *member)
{
	struct cw_conf_strings list;

	memcpy(&list, member, sizeof(list));
	conf_out_puts(o, "[");
	for (size_t i = 0; i < list.count; i++) {
		conf_out_puts(o, i > 0 ? ", " : "");
		conf_out_quoted(o, list.items[i], strlen(list.items[i]));
	}
	conf_out_puts(o, "]");
}

static void put_any(struct conf_out *o, const struct cw_value *v)
{
	char *text;
	size_t len;

	if (v == NULL) {
		conf_out_puts(o, "{}");
	} else if (cw_dump_value(v, CW_DUMP_JSON, CW_DUMP_MASK, &text, &len) == 0) {
		conf_out_add(o, text, len - 1); /* without its newline */
		cw_free(text);
	} else {
		o->failed = true;
	}
}

static void put_member(struct conf_out *o, const struct cw_conf_setting *s, const void *member, unsigned indent)
{
	const char *text;
	double d;
	bool b;

	switch (s->type) {
	case CW_CONF_TYPE_BOOL:
		memcpy(&b, member, sizeof(b));
		conf_out_puts(o, b ? "true" : "false");
		break;
	case CW_CONF_TYPE_DOUBLE:
		memcpy(&d, member, sizeof(d));
		conf_out_printf(o, "%.15g", d);
		break;
	case CW_CONF_TYPE_INT:
	case CW_CONF_TYPE_BYTES:
	case CW_CONF_TYPE_DURATION:
		conf_out_printf(o, "%lld%s", (long long)conf_load_int(member, s->member_size), s->type == CW_CONF_TYPE_DURATION ? "ms" : "");
		break;
	case CW_CONF_TYPE_ENUM:
		conf_out_puts(o, s->values[conf_load_int(member, s->member_size)]);
		break;
	case CW_CONF_TYPE_STRINGS:
		put_strings(o, member);
		break;
	case CW_CONF_TYPE_LIST:
	case CW_CONF_TYPE_MAP:
		put_list(o, s, member, indent);
		break;
	case CW_CONF_TYPE_ANY:
		memcpy(&text, member, sizeof(text));
		put_any(o, (const struct cw_value *)(const void *)text);
		break;
	default:
		memcpy(&text, member, sizeof(text));
		if (text == NULL)
			conf_out_puts(o, "null");
		else if (s->type == CW_CONF_TYPE_SECRET || cw_conf_key_is_secret(s->path, strlen(s->path)))
			conf_out_puts(o, text[0] == '\0' ? "\"\"" : "\"***\"");
		else
			conf_out_quoted(o, text, strlen(text));
	}
}

static void put_struct(struct conf_out *o, const struct cw_conf_table *table, const void *conf, unsigned indent)
{
	for (const struct cw_conf_setting *s = table->settings; s->type != CW_CONF_TYPE_END; s++) {
		const void *member = (const char *)conf + s->offset;
		void *variant;

		if (s->type == CW_CONF_TYPE_VARIANT) {
			memcpy(&variant, member, sizeof(variant));
			if (variant != NULL)
				put_struct(o, s->variants[conf_load_int((const char *)conf + s[-1].offset, s[-1].member_size)], variant, indent);
		}
		if (s->path == NULL)
			continue;
		conf_out_pad(o, indent);
		conf_out_puts(o, s->path);
		if (s->type == CW_CONF_TYPE_TABLE) {
			conf_out_puts(o, " {\n");
			put_struct(o, s->table, member, indent + 2);
			conf_out_pad(o, indent);
			conf_out_puts(o, "}\n");
			continue;
		}
		conf_out_puts(o, " = ");
		put_member(o, s, member, indent);
		conf_out_puts(o, "\n");
	}
}

int cw_dump_effective(const struct cw_conf_table *table, const void *conf, char **ret_text, size_t *ret_len)
{
	struct conf_out o = { 0 };

	put_struct(&o, table, conf, 0);
	return conf_out_take(&o, ret_text, ret_len);
}
