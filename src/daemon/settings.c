/*
 * settings.c - a protocol's settings from all their places to the one encoded map its decoder gets.
 *
 * The places are merged as HOCON merges: the text of each is assigned to the same
 * key, later ones win member by member. The merged text has lines of its own, so
 * when something in it is wrong the places are looked through for the real line.
 */
#include "daemon/config.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conf/dump.h"

struct encoder {
	struct cw_writer w;
};

static int put_key(struct encoder *e, const struct cw_conf_field *field, const char *key, int element)
{
	if (key != NULL)
		cw_put_text(&e->w, key);
	else if (!element)
		cw_put_text(&e->w, field->name);
	return 0;
}

/* 12.30 as [-2, 1230]; an exponent or too many digits goes as a double. */
static void put_decimal(struct encoder *e, const struct cw_conf_typed *v)
{
	int64_t mantissa = 0;
	int exponent = 0, seen_dot = 0, negative = 0;
	size_t i = 0;

	if (i < v->len && (v->text[i] == '-' || v->text[i] == '+'))
		negative = v->text[i++] == '-';
	for (; i < v->len; i++) {
		char c = v->text[i];

		if (c == '.' && !seen_dot) {
			seen_dot = 1;
			continue;
		}
		if (c < '0' || c > '9' || mantissa > INT64_MAX / 10 - 1 || exponent <= -18) {
			cw_put_double(&e->w, v->decimal);
			return;
		}
		mantissa = mantissa * 10 + (c - '0');
		exponent -= seen_dot;
	}
	cw_put_decimal(&e->w, negative ? -mantissa : mantissa, exponent);
}

static int on_value(void *ctx, const struct cw_conf_field *field, const char *key, const struct cw_conf_typed *v)
{
	struct encoder *e = ctx;
	/* Members of a list of strings have neither name nor key of their own. */
	int element = field->type == CW_FIELD_LIST || (field->type == CW_FIELD_MAP && key == NULL);

	(void)put_key(e, field, key, element);
	switch (field->type) {
	case CW_FIELD_BOOL: cw_put_bool(&e->w, v->boolean); break;
	case CW_FIELD_INT:
	case CW_FIELD_DURATION:
	case CW_FIELD_BYTES: cw_put_int(&e->w, v->integer); break;
	case CW_FIELD_DECIMAL: put_decimal(e, v); break;
	default: cw_put_textn(&e->w, v->text, v->len); break;
	}
	return 0;
}

static int on_begin(void *ctx, const struct cw_conf_field *field, const char *key, int element, size_t count)
{
	struct encoder *e = ctx;

	(void)put_key(e, field, key, element);
	if (field->type == CW_FIELD_LIST && !element)
		cw_put_array(&e->w);
	else
		cw_put_map(&e->w);
	return 0;
}

static int on_end(void *ctx, const struct cw_conf_field *field, int element)
{
	cw_put_end(&((struct encoder *)ctx)->w);
	return 0;
}

/* `s = {..}` for a place; nothing when it is empty. */
static int append_place(char **text, size_t *len, const char *json, size_t json_len)
{
	char *grown = cw_realloc(*text, *len + json_len + 8);

	if (grown == NULL)
		return CW_ENOMEM;
	*text = grown;
	memcpy(grown + *len, "s = ", 4);
	memcpy(grown + *len + 4, json, json_len);
	grown[*len + 4 + json_len] = '\n';
	*len += json_len + 5;
	return 0;
}

static int append_value(char **text, size_t *len, const struct cw_value *v)
{
	char *json;
	size_t n;
	int rc;

	if (v == NULL || cw_value_type(v) == CW_VALUE_NULL)
		return 0;
	rc = cw_dump_value(v, CW_DUMP_JSON, 0, &json, &n);
	if (rc < 0)
		return rc;
	rc = append_place(text, len, json, n);
	cw_free(json);
	return rc;
}

static int encode(const struct cw_plugin_desc *protocol, const struct cw_value *object, uint8_t **ret_bytes, size_t *ret_len,
                  struct cw_conf_report *report)
{
	size_t size = 8192;

	for (;; size *= 4) {
		uint8_t *bytes = cw_alloc(size);
		struct encoder e;
		struct cw_conf_sink sink = { .ctx = &e, .value = on_value, .begin = on_begin, .end = on_end };
		int rc = 0;

		if (bytes == NULL)
			return CW_ENOMEM;
		e.w = cw_writer_of(bytes, size);
		cw_put_map(&e.w);
		if (protocol->conf != NULL)
			rc = cw_conf_fields(protocol->conf, CW_SCOPE_ANY, object, &sink, report);
		cw_put_end(&e.w);
		if (rc == 0 && !e.w.overflow) {
			*ret_bytes = bytes;
			*ret_len = e.w.len;
			return 0;
		}
		cw_free(bytes);
		if (rc != 0 || size > (64u << 20))
			return rc != 0 ? rc : CW_ELIMIT;
	}
}

static int skip_value(void *ctx, const struct cw_conf_field *field, const char *key, const struct cw_conf_typed *v)
{
	return 0;
}

static int skip_begin(void *ctx, const struct cw_conf_field *field, const char *key, int element, size_t count)
{
	return 0;
}

static int skip_end(void *ctx, const struct cw_conf_field *field, int element)
{
	return 0;
}

/* The merged settings are wrong: complain where it was written, or else with what the merged text said. */
static void complain(const struct cw_plugin_desc *protocol, const struct cw_value *const places[3], const struct cw_conf_report *merged,
                     struct cw_conf_report *report)
{
	struct cw_conf_sink sink = { .value = skip_value, .begin = skip_begin, .end = skip_end };
	size_t before = report->errors, i;

	for (i = 0; i < 3; i++)
		if (places[i] != NULL && cw_value_type(places[i]) == CW_VALUE_OBJECT)
			(void)cw_conf_fields(protocol->conf, CW_SCOPE_ANY, places[i], &sink, report);
	for (i = 0; i < merged->kept && report->errors == before; i++)
		if (!merged->items[i].warning)
			cw_conf_error_at(report, NULL, "%s", merged->items[i].text);
}

/*
 * `defaults {}`, of a protocol that has such a table: below all places, wherever it stands. It then says the same as its
 * keys one level higher, for those who keep the defaults of channels apart from register maps.
 */
static int append_defaults(const struct cw_plugin_desc *protocol, const struct cw_value *const places[3], char **text, size_t *len)
{
	const struct cw_conf_field *f;
	int rc = 0, i;

	for (f = protocol->conf; f != NULL && f->name != NULL; f++)
		if (f->type == CW_FIELD_TABLE && strcmp(f->name, "defaults") == 0)
			break;
	if (f == NULL || f->name == NULL)
		return 0;
	for (i = 0; i < 3 && rc == 0; i++) {
		const struct cw_value *v = places[i] == NULL || cw_value_type(places[i]) != CW_VALUE_OBJECT ? NULL : cw_value_get(places[i], "defaults");

		if (v != NULL && cw_value_type(v) == CW_VALUE_OBJECT)
			rc = append_value(text, len, v);
	}
	return rc;
}

/* A setting that the protocol allows elsewhere only: `object` is what stands at the place of `scope`. */
static void check_scope(const struct cw_plugin_desc *protocol, const struct cw_value *object, unsigned scope, struct cw_conf_report *report)
{
	static const char *const places[] = { "in protocols.<name>", "in settings {} of a listener or connection", "in settings {} of a product",
		                              "in settings {} of a device" };
	const struct cw_conf_field *f;

	if (object == NULL || cw_value_type(object) != CW_VALUE_OBJECT)
		return;
	for (f = protocol->conf; f != NULL && f->name != NULL; f++) {
		const struct cw_value *v = f->scope == 0 || (f->scope & scope) != 0 ? NULL : cw_value_get(object, f->name);
		char where[200] = "";
		size_t i;

		if (v == NULL)
			continue;
		for (i = 0; i < 4; i++)
			if ((f->scope & 1u << i) != 0)
				(void)snprintf(where + strlen(where), sizeof(where) - strlen(where), "%s%s", where[0] == '\0' ? "" : " or ", places[i]);
		cw_conf_error_at(report, v, "%.100s has no effect here; it is set %s", f->name, where);
	}
}

/* The device's own, which came as text. */
static void check_device_scope(const struct cw_plugin_desc *protocol, struct cw_bytes device, struct cw_conf_report *report)
{
	const struct cw_conf_field *f;
	struct cw_conf_tree *tree;
	struct cw_msg msg;

	for (f = protocol->conf; f != NULL && f->name != NULL; f++)
		if (f->scope != 0 && (f->scope & CW_SCOPE_DEVICE) == 0)
			break;
	if (device.len == 0 || f == NULL || f->name == NULL)
		return;
	if (cw_conf_parse_text("settings", (const char *)device.ptr, device.len, NULL, &tree, &msg) < 0)
		return; /* the merged text says it */
	check_scope(protocol, cw_conf_root(tree), CW_SCOPE_DEVICE, report);
	cw_conf_tree_unref(tree);
}

int cw_config_settings(const struct cw_plugin_desc *protocol, const struct cw_config *config, const struct cw_value *listener,
                       const struct cw_value *product, struct cw_bytes device, uint8_t **ret_bytes, size_t *ret_len, struct cw_conf_report *report)
{
	const struct cw_value *own = config == NULL || config->protocols == NULL ? NULL : cw_value_get(config->protocols, protocol->name);
	const struct cw_value *const places[3] = { own, listener, product };
	struct cw_conf_report merged = { 0 };
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg;
	char *text = NULL, name[64];
	size_t len = 0;
	size_t before = report->errors;
	int rc, i;

	for (i = 0; i < 3; i++)
		check_scope(protocol, places[i], 1u << i, report);
	check_device_scope(protocol, device, report);
	rc = report->errors > before ? CW_ECONF : append_defaults(protocol, places, &text, &len);
	if (rc == 0)
		rc = append_value(&text, &len, own);
	if (rc == 0)
		rc = append_value(&text, &len, listener);
	if (rc == 0)
		rc = append_value(&text, &len, product);
	if (rc == 0 && device.len > 0)
		rc = append_place(&text, &len, (const char *)device.ptr, device.len);
	if (rc == 0 && len > 0) {
		(void)snprintf(name, sizeof(name), "settings of %s", protocol->name);
		rc = cw_conf_parse_text(name, text, len, NULL, &tree, &msg);
		if (rc < 0)
			cw_conf_error_at(report, own != NULL ? own : listener, "%s", msg.text);
	}
	cw_free(text);
	if (rc == 0)
		rc = encode(protocol, tree == NULL ? NULL : cw_value_get(cw_conf_root(tree), "s"), ret_bytes, ret_len, &merged);
	if (merged.errors > 0)
		complain(protocol, places, &merged, report);
	cw_conf_report_fini(&merged);
	cw_conf_tree_unref(tree);
	return rc;
}
