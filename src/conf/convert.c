/*
 * convert.c - values to C types (value.h), by the rules of the reference: texts
 * that read as numbers are numbers, fractions are cut towards zero, integers that
 * do not fit are refused. Messages never quote the value: a value does not know
 * whether its key names a secret; callers who know may add it.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conf/number.h"
#include "conf/tree.h"
#include "conf/value.h"

static int fail_at(const struct cw_value *v, struct cw_msg *msg, const char *accepted)
{
	const char *found = cw_value_type_name((enum cw_value_type)v->type);

	if (v->line == 0)
		return cw_fail(msg, CW_ECONF, "%s: found %s, accepted is %s", v->source->name, found, accepted);
	return cw_fail(msg, CW_ECONF, "%s:%u:%u: found %s, accepted is %s", v->source->name, v->line, v->column, found, accepted);
}

int cw_value_to_string(const struct cw_value *v, const char **ret_text, size_t *ret_len, struct cw_msg *msg)
{
	const char *text = cw_value_text(v, ret_len);

	if (text == NULL)
		return fail_at(v, msg, "a text");
	*ret_text = text;
	return 0;
}

static int text_to_bool(const char *text, size_t len, bool *ret)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = { { "true", true }, { "yes", true }, { "on", true }, { "false", false }, { "no", false }, { "off", false } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].word) == len && memcmp(words[i].word, text, len) == 0) {
			*ret = words[i].value;
			return 0;
		}
	}
	return CW_EINVAL;
}

static int text_to_int64(const char *text, size_t len, int64_t *ret)
{
	double d;
	int rc = conf_parse_long(text, len, ret);

	if (rc == 0)
		return 0;
	rc = conf_parse_double(text, len, &d);
	if (rc == 0)
		*ret = conf_double_to_long(d);
	return rc;
}

#define ACCEPT_BOOL "true, false, yes, no, on or off"
#define ACCEPT_INT "an integer"
#define ACCEPT_DOUBLE "a number"
#define ACCEPT_DURATION "a duration such as 500ms, 10s, 5m, 2h, 1d, or a number of milliseconds"
#define ACCEPT_BYTES "a size such as 512, 64KiB, 10MB, 1GiB, not negative and below 2^63 bytes"
#define ACCEPT_PERIOD "a period such as 7 days, 2w, 3 months, 1y, or a number of days"

int cw_value_to_bool(const struct cw_value *v, bool *ret_bool, struct cw_msg *msg)
{
	if ((v->type != CW_VALUE_BOOL && v->type != CW_VALUE_STRING) || text_to_bool(v->u.text, v->len, ret_bool) < 0)
		return fail_at(v, msg, ACCEPT_BOOL);
	return 0;
}

static bool is_numeric(const struct cw_value *v)
{
	return v->type == CW_VALUE_NUMBER || v->type == CW_VALUE_STRING;
}

int cw_value_to_int64(const struct cw_value *v, int64_t *ret_int, struct cw_msg *msg)
{
	if (!is_numeric(v) || text_to_int64(v->u.text, v->len, ret_int) < 0)
		return fail_at(v, msg, ACCEPT_INT);
	return 0;
}

int cw_value_to_int32(const struct cw_value *v, int32_t *ret_int, struct cw_msg *msg)
{
	int64_t n;
	int rc = cw_value_to_int64(v, &n, msg);

	if (rc < 0)
		return rc;
	if (n > INT32_MAX || n < INT32_MIN)
		return fail_at(v, msg, "an integer from -2147483648 to 2147483647");
	*ret_int = (int32_t)n;
	return 0;
}

int cw_value_to_double(const struct cw_value *v, double *ret_double, struct cw_msg *msg)
{
	if (!is_numeric(v) || conf_parse_double(v->u.text, v->len, ret_double) < 0)
		return fail_at(v, msg, ACCEPT_DOUBLE);
	return 0;
}

int cw_value_to_duration_ns(const struct cw_value *v, int64_t *ret_ns, struct cw_msg *msg)
{
	if (!is_numeric(v) || conf_parse_duration(v->u.text, v->len, ret_ns) < 0)
		return fail_at(v, msg, ACCEPT_DURATION);
	return 0;
}

int cw_value_to_duration_ms(const struct cw_value *v, int64_t *ret_ms, struct cw_msg *msg)
{
	int64_t ns;
	int rc = cw_value_to_duration_ns(v, &ns, msg);

	if (rc == 0)
		*ret_ms = ns / 1000000;
	return rc;
}

int cw_value_to_bytes(const struct cw_value *v, uint64_t *ret_bytes, struct cw_msg *msg)
{
	if (!is_numeric(v) || conf_parse_bytes(v->u.text, v->len, ret_bytes) < 0)
		return fail_at(v, msg, ACCEPT_BYTES);
	return 0;
}

int cw_value_to_period(const struct cw_value *v, struct cw_period *ret_period, struct cw_msg *msg)
{
	if (!is_numeric(v) || conf_parse_period(v->u.text, v->len, ret_period) < 0)
		return fail_at(v, msg, ACCEPT_PERIOD);
	return 0;
}

int cw_value_to_list(const struct cw_value *v, const struct cw_value *const **ret_items, size_t *ret_count, struct cw_msg *msg)
{
	size_t most = cw_value_count(v), count = most;
	struct cw_value **items = cw_calloc(most + 1, sizeof(*items));

	if (items == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	if (v->type == CW_VALUE_LIST) {
		for (size_t i = 0; i < most; i++)
			items[i] = v->u.items[i];
	} else if (v->type == CW_VALUE_OBJECT && most > 0) {
		if (conf_numbered_members(v->u.object, items, &count) < 0) {
			cw_free(items);
			return cw_fail(msg, CW_ENOMEM, "out of memory");
		}
	}
	if (v->type != CW_VALUE_LIST && count == 0) {
		cw_free(items);
		return fail_at(v, msg, "a list");
	}
	*ret_items = (const struct cw_value *const *)items;
	*ret_count = count;
	return 0;
}

void cw_value_list_free(const struct cw_value *const *items)
{
	cw_free((void *)(uintptr_t)items);
}

static int fail_text(struct cw_msg *msg, const char *accepted)
{
	return cw_fail(msg, CW_EINVAL, "accepted is %s", accepted);
}

int cw_text_to_bool(const char *text, bool *ret_bool, struct cw_msg *msg)
{
	return text_to_bool(text, strlen(text), ret_bool) < 0 ? fail_text(msg, ACCEPT_BOOL) : 0;
}

int cw_text_to_int64(const char *text, int64_t *ret_int, struct cw_msg *msg)
{
	return text_to_int64(text, strlen(text), ret_int) < 0 ? fail_text(msg, ACCEPT_INT) : 0;
}

int cw_text_to_double(const char *text, double *ret_double, struct cw_msg *msg)
{
	return conf_parse_double(text, strlen(text), ret_double) < 0 ? fail_text(msg, ACCEPT_DOUBLE) : 0;
}

int cw_text_to_duration_ns(const char *text, int64_t *ret_ns, struct cw_msg *msg)
{
	return conf_parse_duration(text, strlen(text), ret_ns) < 0 ? fail_text(msg, ACCEPT_DURATION) : 0;
}

int cw_text_to_duration_ms(const char *text, int64_t *ret_ms, struct cw_msg *msg)
{
	int64_t ns;
	int rc = cw_text_to_duration_ns(text, &ns, msg);

	if (rc == 0)
		*ret_ms = ns / 1000000;
	return rc;
}

int cw_text_to_bytes(const char *text, uint64_t *ret_bytes, struct cw_msg *msg)
{
	return conf_parse_bytes(text, strlen(text), ret_bytes) < 0 ? fail_text(msg, ACCEPT_BYTES) : 0;
}

int cw_text_to_period(const char *text, struct cw_period *ret_period, struct cw_msg *msg)
{
	return conf_parse_period(text, strlen(text), ret_period) < 0 ? fail_text(msg, ACCEPT_PERIOD) : 0;
}
