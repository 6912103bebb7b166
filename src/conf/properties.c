/*
 * properties.c - Java properties, and the environment, which is read by the same
 * rules (read.h). Keys are split at every dot; where a key is both a text and the
 * front of longer keys, the object counts.
 */
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/read.h"

struct scan {
	struct conf_build *b;
	const struct conf_source *source;
	const char *at, *end;
	unsigned line;
	char *out; /* key or value with escapes taken away */
	size_t len;
};

int conf_put_property(struct conf_build *b, struct cw_value *root, const char *key, size_t key_len, struct cw_value *value)
{
	struct cw_value *object = root, *below;
	const struct conf_key *k;
	struct conf_member *m;
	const char *dot;
	unsigned depth = 0;

	for (;;) {
		dot = key_len == 0 ? NULL : memchr(key, '.', key_len);
		k = conf_key(b, key, dot == NULL ? key_len : (size_t)(dot - key));
		if (k == NULL)
			return b->rc;
		m = conf_object_find(object->u.object, k);
		if (dot == NULL)
			break;
		if (++depth > CONF_DEPTH_MAX)
			return conf_fail(b, CW_ELIMIT, value->source, value->line, value->column, "a key of more than %u parts", CONF_DEPTH_MAX);
		below = m == NULL ? NULL : m->value;
		if (below == NULL || below->type != CW_VALUE_OBJECT) {
			below = conf_object_new(b, value->source, value->line, value->column, 0);
			if (below == NULL)
				return b->rc;
			if (m != NULL)
				m->value = below;
			else if (conf_object_add(b, object, k, below) < 0)
				return b->rc;
		}
		object = below;
		key_len -= (size_t)(dot - key) + 1;
		key = dot + 1;
	}
	if (m == NULL)
		return conf_object_add(b, object, k, value);
	if (m->value->type != CW_VALUE_OBJECT)
		m->value = value;
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\f';
}

static bool at_line_end(const struct scan *s)
{
	return s->at >= s->end || *s->at == '\n' || *s->at == '\r';
}

static void skip_line_end(struct scan *s)
{
	if (s->at >= s->end)
		return;
	if (*s->at == '\r' && s->at + 1 < s->end && s->at[1] == '\n')
		s->at++;
	s->at++;
	s->line++;
}

/* Space, and the ends of lines that go on behind a backslash. */
static void skip_blanks(struct scan *s)
{
	for (;;) {
		while (s->at < s->end && is_blank(*s->at))
			s->at++;
		if (s->end - s->at < 2 || *s->at != '\\' || (s->at[1] != '\n' && s->at[1] != '\r'))
			return;
		s->at++;
		skip_line_end(s);
	}
}

static long hex4(struct scan *s)
{
	long c = 0;

	if (s->end - s->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const char *d = s->at[i] == '\0' ? NULL : strchr("0123456789abcdef", s->at[i] | (s->at[i] >= 'A' ? 32 : 0));

		if (d == NULL)
			return -1;
		c = c * 16 + (d - "0123456789abcdef");
	}
	s->at += 4;
	return c;
}

static void put_utf8(struct scan *s, long c)
{
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd;
	if (c < 0x80) {
		s->out[s->len++] = (char)c;
	} else if (c < 0x800) {
		s->out[s->len++] = (char)(0xc0 | c >> 6);
		s->out[s->len++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		s->out[s->len++] = (char)(0xe0 | c >> 12);
		s->out[s->len++] = (char)(0x80 | (c >> 6 & 0x3f));
		s->out[s->len++] = (char)(0x80 | (c & 0x3f));
	} else {
		s->out[s->len++] = (char)(0xf0 | c >> 18);
		s->out[s->len++] = (char)(0x80 | (c >> 12 & 0x3f));
		s->out[s->len++] = (char)(0x80 | (c >> 6 & 0x3f));
		s->out[s->len++] = (char)(0x80 | (c & 0x3f));
	}
}

static int escape(struct scan *s)
{
	static const char from[] = "tnrf", to[] = "\t\n\r\f";
	const char *which;
	long c, low;

	if (*s->at != 'u') {
		which = *s->at == '\0' ? NULL : strchr(from, *s->at);
		s->out[s->len++] = which == NULL ? *s->at : to[which - from];
		s->at++;
		return 0;
	}
	s->at++;
	c = hex4(s);
	if (c < 0)
		return conf_fail(s->b, CW_ECONF, s->source, s->line, 1, "\\u must be followed by four hex digits");
	if (c >= 0xd800 && c < 0xdc00 && s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u') {
		const char *back = s->at;

		s->at += 2;
		low = hex4(s);
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		else
			s->at = back;
	}
	put_utf8(s, c);
	return 0;
}

/* A key or a value up to its end into s->out. */
static int take(struct scan *s, bool key)
{
	s->len = 0;
	for (;;) {
		if (s->at < s->end && *s->at == '\\')
			skip_blanks(s); /* only moves when the line goes on */
		if (at_line_end(s) || (key && (is_blank(*s->at) || *s->at == '=' || *s->at == ':')))
			return 0;
		if (*s->at != '\\') {
			s->out[s->len++] = *s->at++;
			continue;
		}
		s->at++;
		if (s->at < s->end && escape(s) < 0)
			return s->b->rc;
	}
}

static int take_line(struct scan *s, struct cw_value *root)
{
	struct cw_value where = { .source = s->source, .line = s->line, .column = 1 }, *v;
	char *key;
	size_t key_len;

	if (take(s, true) < 0)
		return s->b->rc;
	key_len = s->len;
	key = conf_text(s->b, s->out, key_len);
	if (key == NULL)
		return s->b->rc;
	skip_blanks(s);
	if (s->at < s->end && (*s->at == '=' || *s->at == ':')) {
		s->at++;
		skip_blanks(s);
	}
	if (take(s, false) < 0)
		return s->b->rc;
	v = conf_string(s->b, &where, s->out, s->len);
	if (v == NULL)
		return s->b->rc;
	return conf_put_property(s->b, root, key, key_len, v);
}

struct cw_value *conf_read_properties(struct conf_build *b, const struct conf_source *source, const char *text, size_t len)
{
	struct scan s = { .b = b, .source = source, .at = text, .end = text + len, .line = 1 };
	struct cw_value *root = conf_object_new(b, source, 1, 1, 0);

	if (root == NULL)
		return NULL;
	s.out = cw_alloc(len + 4);
	if (s.out == NULL) {
		conf_no_memory(b);
		return NULL;
	}
	while (s.at < s.end && b->rc == 0) {
		skip_blanks(&s); /* a line of nothing but a backslash is no line yet */
		if (at_line_end(&s)) {
			skip_line_end(&s);
		} else if (*s.at == '#' || *s.at == '!') {
			while (!at_line_end(&s))
				s.at++;
		} else {
			take_line(&s, root);
		}
	}
	cw_free(s.out);
	return b->rc != 0 ? NULL : root;
}

struct cw_value *conf_environment(struct conf_build *b)
{
	static const struct conf_source source = { "environment" };
	struct cw_value where = { .source = &source }, *root, *v;
	const char *equals;

	if (b->environment != NULL)
		return b->environment;
	root = conf_object_new(b, &source, 0, 0, 0);
	if (root == NULL)
		return NULL;
	for (char **e = environ; e != NULL && *e != NULL; e++) {
		equals = strchr(*e, '=');
		if (equals == NULL)
			continue;
		v = conf_string(b, &where, equals + 1, strlen(equals + 1));
		if (v == NULL || conf_put_property(b, root, *e, (size_t)(equals - *e), v) < 0)
			return NULL;
	}
	b->environment = root;
	return root;
}
