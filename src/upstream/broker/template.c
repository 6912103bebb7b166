/* template.c - topics with variables in them; see broker.h. No state; any thread. */
#include <stdio.h>
#include <string.h>

#include "upstream/broker/broker.h"

static const char *const names[BROKER_VARS] = { "productKey", "deviceName", "kind", "name", "request", "clientId" };

/* The variable that begins at `at`, and what is behind it. BROKER_VARS: an unknown one; -1: none begins here. */
static int variable(const char *at, const char **ret_end)
{
	const char *end;
	int i;

	if (at[0] != '$' || at[1] != '{')
		return -1;
	end = strchr(at, '}');
	if (end == NULL)
		return BROKER_VARS;
	*ret_end = end + 1;
	for (i = 0; i < BROKER_VARS; i++)
		if (strlen(names[i]) == (size_t)(end - at - 2) && strncmp(names[i], at + 2, strlen(names[i])) == 0)
			break;
	return i;
}

unsigned broker_template_vars(const char *text)
{
	const char *end;
	unsigned has = 0;

	for (; *text != '\0'; text++) {
		int v = variable(text, &end);

		if (v >= 0 && v < BROKER_VARS)
			has |= 1u << v;
	}
	return has;
}

static void list_names(unsigned which, char *out, size_t size)
{
	size_t n = 0;
	int i;

	out[0] = '\0';
	for (i = 0; i < BROKER_VARS; i++)
		if ((which & 1u << i) != 0 && n < size)
			n += (size_t)snprintf(out + n, size - n, "%s${%s}", n > 0 ? ", " : "", names[i]);
}

static int check_levels(const char *key, const char *text, struct cw_msg *msg)
{
	const char *p;

	if (text[0] == '\0')
		return cw_fail(msg, CW_ECONF, "%s is empty", key);
	if (text[0] == '$' && text[1] != '{')
		return cw_fail(msg, CW_ECONF, "%s: '%s' begins with $, which is the broker's own", key, text);
	if (strlen(text) >= BROKER_TOPIC_MOST / 2)
		return cw_fail(msg, CW_ECONF, "%s is longer than %d bytes", key, BROKER_TOPIC_MOST / 2 - 1);
	for (p = text; *p != '\0'; p++) {
		if (*p == '+' || *p == '#' || (unsigned char)*p < ' ' || *p == 0x7f)
			return cw_fail(msg, CW_ECONF, "%s: '%s' has a wildcard (+, #) or a control character", key,
				       text);
		if (*p == '/' && (p == text || p[1] == '/' || p[1] == '\0'))
			return cw_fail(msg, CW_ECONF, "%s: '%s' has an empty level", key, text);
	}
	return 0;
}

int broker_template_check(const char *key, const char *text, unsigned known, unsigned needed, int whole,
			  struct cw_msg *msg)
{
	char list[160];
	const char *p = text, *end = NULL;
	int rc = check_levels(key, text, msg);

	if (rc < 0)
		return rc;
	for (; *p != '\0'; p = end) {
		int v = variable(p, &end);

		if (v < 0) {
			end = p + 1;
			continue;
		}
		if (v == BROKER_VARS || (known & 1u << v) == 0) {
			list_names(known, list, sizeof(list));
			return cw_fail(msg, CW_ECONF, "%s: '%.*s' is not known here; there are %s", key,
				       (int)strcspn(p, "}/") + (p[strcspn(p, "}/")] == '}'), p, list);
		}
		if (whole && ((p != text && p[-1] != '/') || (*end != '/' && *end != '\0')))
			return cw_fail(msg, CW_ECONF, "%s: ${%s} must be a whole level of '%s'", key, names[v], text);
	}
	needed &= ~broker_template_vars(text);
	list_names(needed, list, sizeof(list));
	return needed == 0 ? 0 : cw_fail(msg, CW_ECONF, "%s: '%s' must have %s in it", key, text, list);
}

/* A value that may stand in a topic: not empty, nothing that a broker reads as something else. */
static int fit(struct cw_bytes value, int levels)
{
	size_t i, level = 0;

	for (i = 0; i <= value.len; i++) {
		uint8_t c = i < value.len ? value.ptr[i] : '/';

		if (c == '/') {
			if (i == level || (i < value.len && !levels))
				return 0;
			level = i + 1;
		} else if (c < ' ' || c == 0x7f || c == '+' || c == '#') {
			return 0;
		}
	}
	return 1;
}

int broker_template_fill(const char *text, const struct broker_vars *vars, char *out, size_t size)
{
	const char *end = text;
	size_t n = 0;

	while (*text != '\0') {
		int v = variable(text, &end);
		struct cw_bytes part = cw_bytes_of(text, 1);

		if (v < 0) {
			part.len = strcspn(text + 1, "$") + 1;
			end = text + part.len;
		} else {
			part = vars->of[v];
			if (!fit(part, v == BROKER_NAME))
				return CW_EINVAL;
		}
		if (n + part.len >= size)
			return CW_ELIMIT;
		memcpy(out + n, part.ptr, part.len);
		n += part.len;
		text = end;
	}
	out[n] = '\0';
	return out[0] == '$' ? CW_EINVAL : 0;
}

int broker_template_filter(const char *text, char *out, size_t size)
{
	const char *end = text;
	size_t n = 0;

	for (; *text != '\0'; text = end) {
		int v = variable(text, &end);

		if (v < 0)
			end = text + 1;
		if (n + 1 >= size)
			return CW_ELIMIT;
		out[n++] = v < 0 ? *text : '+';
	}
	out[n] = '\0';
	return 0;
}

int broker_template_match(const char *text, struct cw_bytes topic, struct broker_vars *ret)
{
	const char *end = text;
	size_t at = 0;

	memset(ret, 0, sizeof(*ret));
	while (*text != '\0') {
		int v = variable(text, &end);
		const uint8_t *slash;

		if (v < 0) {
			if (at >= topic.len || topic.ptr[at] != (uint8_t)*text)
				return 0;
			at++;
			text++;
			continue;
		}
		slash = at < topic.len ? memchr(topic.ptr + at, '/', topic.len - at) : NULL;
		ret->of[v] =
			cw_bytes_of(topic.ptr + at, (slash != NULL ? (size_t)(slash - topic.ptr) : topic.len) - at);
		if (!fit(ret->of[v], 0))
			return 0;
		at += ret->of[v].len;
		text = end;
	}
	return at == topic.len;
}

/* ---- can two templates make one topic? ------------------------------------------------- */

/* One character, or `any` for each of none or more. */
struct piece {
	char c;   /* 0: whatever may stand in a value */
	int many; /* and any number of them, or none */
	int levels; /* a / as well */
};

/* ${kind} is one of few words; each of the other variables is one character at least. */
static size_t take_apart(const char *text, const char *kind, struct piece *out)
{
	const char *end = text;
	size_t n = 0;

	for (; *text != '\0'; text = end) {
		int v = variable(text, &end);

		if (v < 0) {
			out[n++] = (struct piece){ .c = *text };
			end = text + 1;
		} else if (v == BROKER_KIND) {
			const char *k;

			for (k = kind; *k != '\0'; k++)
				out[n++] = (struct piece){ .c = *k };
		} else {
			out[n++] = (struct piece){ .levels = v == BROKER_NAME };
			out[n++] = (struct piece){ .levels = v == BROKER_NAME, .many = 1 };
		}
	}
	return n;
}

static int go_together(const struct piece *a, const struct piece *b)
{
	if (a->c != 0 && b->c != 0)
		return a->c == b->c;
	return (a->c != '/' || b->levels) && (b->c != '/' || a->levels);
}

/* Backwards through all pairs of positions: can what is behind them be one text? */
static int pieces_meet(const struct piece *a, size_t n, const struct piece *b, size_t m)
{
	static const struct piece end = { .c = '\n' };
	uint8_t row[BROKER_TOPIC_MOST + 1], below[BROKER_TOPIC_MOST + 1];
	size_t i, j;

	memset(below, 0, sizeof(below));
	for (i = n + 1; i-- > 0;) {
		for (j = m + 1; j-- > 0;) {
			const struct piece *x = i < n ? &a[i] : &end, *y = j < m ? &b[j] : &end;

			if (i == n && j == m)
				row[j] = 1;
			else if (x->many)
				row[j] = below[j] || (j < m && (y->many || go_together(x, y)) && row[j + 1]);
			else if (y->many)
				row[j] = row[j + 1] || (i < n && go_together(x, y) && below[j]);
			else
				row[j] = i < n && j < m && go_together(x, y) && below[j + 1];
		}
		memcpy(below, row, sizeof(below));
	}
	return row[0];
}

int broker_template_meets(const char *a, const char *b)
{
	struct piece x[BROKER_TOPIC_MOST], y[BROKER_TOPIC_MOST];
	int i, k;

	for (i = 0; i < BROKER_KINDS; i++)
		for (k = 0; k < BROKER_KINDS; k++)
			if (pieces_meet(x, take_apart(a, broker_kind_names[i], x), y, take_apart(b, broker_kind_names[k], y)))
				return 1;
	return 0;
}
