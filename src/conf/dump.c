/* dump.c - see dump.h. Trees as JSON and HOCON; the references of tables are in reference.c. */
#include "conf/dump.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/number.h"
#include "conf/out.h"

struct dump {
	struct conf_out out;
	enum cw_dump_format format;
	unsigned flags;
};

static void dump_value(struct dump *d, const struct cw_value *v, unsigned indent, bool secret);

static int by_key(const void *a, const void *b)
{
	const struct cw_member *l = a, *r = b;
	size_t n = l->key_len < r->key_len ? l->key_len : r->key_len;
	int c = n == 0 ? 0 : memcmp(l->key, r->key, n);

	return c != 0 ? c : (l->key_len > r->key_len) - (l->key_len < r->key_len);
}

/* As written where JSON allows it; 01 and 1. are numbers for HOCON only. */
static void dump_number(struct dump *d, const char *text, size_t len)
{
	int64_t n;
	double f;

	if (conf_is_json_number(text, len)) {
		conf_out_add(&d->out, text, len);
	} else if (conf_parse_long(text, len, &n) == 0) {
		conf_out_printf(&d->out, "%lld", (long long)n);
	} else if (conf_parse_double(text, len, &f) == 0 && isfinite(f)) {
		char shortest[40];

		for (int digits = 15; digits <= 17; digits++) {
			snprintf(shortest, sizeof(shortest), "%.*g", digits, f);
			if (strtod(shortest, NULL) == f)
				break;
		}
		conf_out_puts(&d->out, shortest);
	} else {
		conf_out_quoted(&d->out, text, len);
	}
}

static bool plain_key(const char *key, size_t len)
{
	if (len == 0 || (len == 7 && memcmp(key, "include", 7) == 0))
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = key[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return true;
}

static void dump_key(struct dump *d, const struct cw_member *m)
{
	if (d->format == CW_DUMP_HOCON && plain_key(m->key, m->key_len))
		conf_out_add(&d->out, m->key, m->key_len);
	else
		conf_out_quoted(&d->out, m->key, m->key_len);
}

static void dump_members(struct dump *d, const struct cw_member *members, size_t count, unsigned indent, bool secret)
{
	bool json = d->format == CW_DUMP_JSON;

	for (size_t i = 0; i < count; i++) {
		bool hide = secret || cw_conf_key_is_secret(members[i].key, members[i].key_len);

		conf_out_pad(&d->out, indent);
		dump_key(d, &members[i]);
		conf_out_puts(&d->out, json ? ": " : cw_value_type(members[i].value) == CW_VALUE_OBJECT ? " " : " = ");
		dump_value(d, members[i].value, indent, hide);
		conf_out_puts(&d->out, json && i + 1 < count ? ",\n" : "\n");
	}
}

static void dump_object(struct dump *d, const struct cw_value *v, unsigned indent, bool secret, bool braces)
{
	size_t count = cw_value_count(v);
	struct cw_member *members;

	if (count == 0) {
		conf_out_puts(&d->out, braces ? "{}" : "");
		return;
	}
	members = cw_calloc(count, sizeof(*members));
	if (members == NULL) {
		d->out.failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		cw_value_member(v, i, &members[i]);
	qsort(members, count, sizeof(*members), by_key);
	if (braces)
		conf_out_puts(&d->out, "{\n");
	dump_members(d, members, count, braces ? indent + 2 : indent, secret);
	if (braces) {
		conf_out_pad(&d->out, indent);
		conf_out_puts(&d->out, "}");
	}
	cw_free(members);
}

static void dump_list(struct dump *d, const struct cw_value *v, unsigned indent, bool secret)
{
	size_t count = cw_value_count(v);

	conf_out_puts(&d->out, count == 0 ? "[]" : "[\n");
	for (size_t i = 0; i < count; i++) {
		conf_out_pad(&d->out, indent + 2);
		dump_value(d, cw_value_at(v, i), indent + 2, secret);
		conf_out_puts(&d->out, d->format == CW_DUMP_JSON && i + 1 < count ? ",\n" : "\n");
	}
	if (count > 0) {
		conf_out_pad(&d->out, indent);
		conf_out_puts(&d->out, "]");
	}
}

static void dump_value(struct dump *d, const struct cw_value *v, unsigned indent, bool secret)
{
	size_t len;
	const char *text = cw_value_text(v, &len);

	switch (cw_value_type(v)) {
	case CW_VALUE_OBJECT:
		dump_object(d, v, indent, secret, true);
		break;
	case CW_VALUE_LIST:
		dump_list(d, v, indent, secret);
		break;
	case CW_VALUE_NULL:
		conf_out_puts(&d->out, "null");
		break;
	default:
		if (secret && (d->flags & CW_DUMP_MASK))
			conf_out_puts(&d->out, "\"***\"");
		else if (cw_value_type(v) == CW_VALUE_STRING)
			conf_out_quoted(&d->out, text, len);
		else if (cw_value_type(v) == CW_VALUE_NUMBER)
			dump_number(d, text, len);
		else
			conf_out_add(&d->out, text, len);
	}
}

int cw_dump_value(const struct cw_value *v, enum cw_dump_format format, unsigned flags, char **ret_text, size_t *ret_len)
{
	struct dump d = { .format = format, .flags = flags };

	if (format == CW_DUMP_HOCON && cw_value_type(v) == CW_VALUE_OBJECT) {
		dump_object(&d, v, 0, false, false);
	} else {
		dump_value(&d, v, 0, false);
		conf_out_puts(&d.out, "\n");
	}
	return conf_out_take(&d.out, ret_text, ret_len);
}
