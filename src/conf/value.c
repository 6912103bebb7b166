/* value.c - see value.h. Looking at values; conversions are in convert.c. */
#include "conf/value.h"

#include <string.h>

#include "base/map.h"
#include "conf/lex.h"
#include "conf/tree.h"

enum cw_value_type cw_value_type(const struct cw_value *v)
{
	return (enum cw_value_type)v->type;
}

const char *cw_value_type_name(enum cw_value_type type)
{
	static const char *const names[] = { "null", "a boolean", "a number", "a text", "a list", "an object",
		                             "a substitution", "a concatenation", "a merge", "an object" };

	return (unsigned)type < sizeof(names) / sizeof(names[0]) ? names[type] : "a value";
}

struct cw_origin cw_value_origin(const struct cw_value *v)
{
	struct cw_origin o = { v->source->name, v->line, v->column };

	return o;
}

size_t cw_value_count(const struct cw_value *v)
{
	return v->type == CW_VALUE_OBJECT ? v->u.object->count : v->type == CW_VALUE_LIST ? v->len : 0;
}

const struct cw_value *cw_value_at(const struct cw_value *v, size_t i)
{
	return v->type == CW_VALUE_LIST && i < v->len ? v->u.items[i] : NULL;
}

int cw_value_member(const struct cw_value *v, size_t i, struct cw_member *ret_member)
{
	const struct conf_member *m;

	if (v->type != CW_VALUE_OBJECT || i >= v->u.object->count)
		return 0;
	m = &v->u.object->members[i];
	ret_member->key = m->key->text;
	ret_member->key_len = m->key->len;
	ret_member->value = m->value;
	return 1;
}

static bool key_is(const struct conf_key *k, const char *key, size_t len)
{
	return k->len == len && memcmp(k->text, key, len) == 0;
}

const struct cw_value *cw_value_get_n(const struct cw_value *v, const char *key, size_t len)
{
	const struct conf_object *o;
	uint32_t hash;

	if (v->type != CW_VALUE_OBJECT)
		return NULL;
	o = v->u.object;
	if (o->index == NULL) {
		for (uint32_t i = 0; i < o->count; i++) {
			if (key_is(o->members[i].key, key, len))
				return o->members[i].value;
		}
		return NULL;
	}
	hash = (uint32_t)cw_hash(key, len);
	for (uint32_t s = hash & o->index_mask; o->index[s] != 0; s = (s + 1) & o->index_mask) {
		const struct conf_member *m = &o->members[o->index[s] - 1];

		if (m->key->hash == hash && key_is(m->key, key, len))
			return m->value;
	}
	return NULL;
}

const struct cw_value *cw_value_get(const struct cw_value *v, const char *key)
{
	return cw_value_get_n(v, key, strlen(key));
}

/* One step down; `shown` is what messages call the path so far. */
static int step(const struct cw_value **v, const char *key, size_t len, const char *path, struct cw_msg *msg)
{
	const struct cw_value *next = cw_value_get_n(*v, key, len);

	if (next == NULL || next->type == CW_VALUE_NULL) {
		const char *why = next != NULL              ? "it is null"
		                  : (*v)->type == CW_VALUE_OBJECT ? "it is not set"
		                                                  : "what is above it is no object";

		return cw_fail(msg, CW_ENOENT, "no setting at %.300s: at \"%.*s\" %s", path, (int)(len > 100 ? 100 : len), key, why);
	}
	*v = next;
	return 0;
}

/* Letters, digits, - and _ between dots need no parser. */
static bool is_simple_path(const char *path)
{
	bool dot = true;

	for (; *path != '\0'; path++) {
		bool plain = (*path >= 'a' && *path <= 'z') || (*path >= 'A' && *path <= 'Z') || (*path >= '0' && *path <= '9') ||
		             *path == '-' || *path == '_';

		if (!plain && (*path != '.' || dot))
			return false;
		dot = *path == '.';
	}
	return !dot;
}

static int parse_path(struct conf_build *b, struct conf_lexer *lx, const struct conf_path **ret_path)
{
	struct conf_path_parser p;
	struct conf_token t, start = { .line = 1, .column = 1 };

	conf_path_begin(&p, lx, &start);
	for (;;) {
		if (conf_lex(lx, &t) < 0)
			return b->rc;
		if (t.kind == CONF_T_END)
			return conf_path_end(&p, NULL, ret_path);
		if (conf_path_token(&p, &t) < 0)
			return b->rc;
	}
}

static int find_quoted(const struct cw_value **v, const char *path, struct cw_msg *msg)
{
	static const struct conf_source source = { "path" };
	const struct conf_path *p = NULL;
	struct conf_lexer lx;
	struct conf_build b;
	int rc = conf_build_init(&b, NULL, msg);

	if (rc == 0) {
		conf_lexer_init(&lx, &b, &source, path, strlen(path), false);
		rc = parse_path(&b, &lx, &p);
		conf_lexer_fini(&lx);
	}
	if (rc == CW_ECONF)
		rc = CW_EINVAL;
	for (; rc == 0 && p != NULL; p = p->next)
		rc = step(v, p->key->text, p->key->len, path, msg);
	conf_build_fini(&b);
	return rc;
}

int cw_value_find(const struct cw_value *root, const char *path, const struct cw_value **ret_value, struct cw_msg *msg)
{
	const struct cw_value *v = root;
	const char *at = path;
	size_t len;
	int rc = 0;

	if (is_simple_path(path)) {
		do {
			len = strcspn(at, ".");
			rc = step(&v, at, len, path, msg);
			at += len;
		} while (rc == 0 && *at++ == '.');
	} else {
		rc = find_quoted(&v, path, msg);
	}
	if (rc == 0)
		*ret_value = v;
	return rc;
}

const char *cw_value_text(const struct cw_value *v, size_t *ret_len)
{
	if (v->type != CW_VALUE_STRING && v->type != CW_VALUE_NUMBER && v->type != CW_VALUE_BOOL)
		return NULL;
	if (ret_len != NULL)
		*ret_len = v->len;
	return v->u.text;
}

int cw_conf_key_is_secret(const char *key, size_t len)
{
	static const char *const words[] = { "secret", "password", "passwd", "token", "passphrase" };

	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
		size_t n = strlen(words[w]);

		for (size_t i = 0; i + n <= len; i++) {
			size_t k = 0;

			while (k < n && (key[i + k] | 32) == words[w][k])
				k++;
			if (k == n)
				return 1;
		}
	}
	return 0;
}
