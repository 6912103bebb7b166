/*
 * read.c - see read.h. The grammar of HOCON and, with the same functions, JSON.
 *
 * Values are built while reading. Three things need to know where they stand: an
 * include (its substitutions are moved to that place), += (it refers to the path
 * it stands at), and messages (which must not show what belongs to a secret).
 */
#include "conf/read.h"

#include <string.h>

#include "base/mem.h"
#include "conf/merge.h"
#include "conf/out.h"

struct reader {
	struct conf_build *b;
	const struct conf_source *source;
	const char *dir;
	struct conf_lexer lx;
	bool json;
	struct conf_token held[4]; /* put back, last one first */
	unsigned held_count;
	unsigned lists; /* lists (and +=) we are inside */
	struct conf_out text; /* scratch */
};

static int read_object(struct reader *r, const struct conf_place *place, struct cw_value *object, const struct conf_token *open);
static struct cw_value *read_list(struct reader *r, const struct conf_place *place, const struct conf_token *open);

static int fail_at(struct reader *r, const struct conf_token *t, const char *what)
{
	char name[64];

	return conf_fail(r->b, CW_ECONF, r->source, t->line, t->column, "found %s, %s", conf_token_name(t, r->lx.secret, name), what);
}

static int next_token(struct reader *r, struct conf_token *t)
{
	if (r->held_count > 0) {
		*t = r->held[--r->held_count];
		return 0;
	}
	if (conf_lex(&r->lx, t) < 0)
		return r->b->rc;
	return 0;
}

static void put_back(struct reader *r, const struct conf_token *t)
{
	cw_invariant(r->held_count < sizeof(r->held) / sizeof(r->held[0]));
	r->held[r->held_count++] = *t;
}

static bool is_blank(const struct conf_token *t)
{
	const char *at = t->text;
	size_t n;

	if (t->kind != CONF_T_UNQUOTED)
		return false;
	while (at < t->text + t->len) {
		n = conf_space(at, t->text + t->len);
		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

/* The next token that is neither whitespace nor a newline. */
static int next_solid(struct reader *r, struct conf_token *t)
{
	do {
		if (next_token(r, t) < 0)
			return r->b->rc;
	} while (t->kind == CONF_T_NEWLINE || is_blank(t));
	return 0;
}

/* Between elements: 1 after a comma or (not in JSON) a newline, 0 when there is none. */
static int read_separator(struct reader *r)
{
	struct conf_token t;
	int newline = 0;

	for (;;) {
		if (next_token(r, &t) < 0)
			return r->b->rc;
		if (t.kind == CONF_T_COMMA)
			return 1;
		if (t.kind == CONF_T_NEWLINE) {
			newline = !r->json;
		} else if (!is_blank(&t)) {
			put_back(r, &t);
			return newline;
		}
	}
}

static bool starts_value(const struct conf_token *t)
{
	return t->kind >= CONF_T_UNQUOTED || t->kind == CONF_T_OPEN_CURLY || t->kind == CONF_T_OPEN_SQUARE;
}

static struct cw_value *read_reference(struct reader *r, const struct conf_token *t)
{
	struct cw_value *v = conf_value(r->b, CONF_REFERENCE, r->source, t->line, t->column);

	if (v == NULL)
		return NULL;
	v->u.ref = conf_alloc(r->b, sizeof(*v->u.ref));
	if (v->u.ref == NULL)
		return NULL;
	v->u.ref->path = t->path;
	v->u.ref->prefix = 0;
	v->flags = (uint8_t)(t->flags & (CONF_OPTIONAL | CONF_ENV_LIST));
	return v;
}

static struct cw_value *read_simple(struct reader *r, const struct conf_token *t)
{
	static const uint8_t types[] = { CW_VALUE_STRING, CW_VALUE_STRING, CW_VALUE_NUMBER, CW_VALUE_BOOL, CW_VALUE_BOOL, CW_VALUE_NULL };
	struct cw_value *v;
	const char *text;
	size_t len;

	if (t->kind == CONF_T_SUBSTITUTION) {
		if (!r->json)
			return read_reference(r, t);
		conf_fail(r->b, CW_ECONF, r->source, t->line, t->column, "JSON has no substitutions");
		return NULL;
	}
	if (r->json && t->kind == CONF_T_UNQUOTED) {
		fail_at(r, t, "but JSON wants texts in double quotes");
		return NULL;
	}
	v = conf_value(r->b, types[t->kind - CONF_T_UNQUOTED], r->source, t->line, t->column);
	if (v == NULL)
		return NULL;
	text = conf_token_text(t, &len);
	if (v->type == CW_VALUE_BOOL || v->type == CW_VALUE_NULL)
		v->u.text = text;
	else
		v->u.text = conf_text(r->b, text, len);
	v->len = (uint32_t)len;
	v->flags = t->kind == CONF_T_QUOTED ? CONF_QUOTED : 0;
	return v->u.text == NULL ? NULL : v;
}

/* One value that starts with t. */
static struct cw_value *read_value(struct reader *r, const struct conf_place *place, const struct conf_token *t)
{
	struct cw_value *v;

	if (t->kind == CONF_T_OPEN_SQUARE)
		return read_list(r, place, t);
	if (t->kind == CONF_T_OPEN_CURLY) {
		v = conf_object_new(r->b, r->source, t->line, t->column, 0);
		if (v == NULL || read_object(r, place, v, t) < 0)
			return NULL;
		return v;
	}
	return read_simple(r, t);
}

/* In JSON nothing is joined, and what follows a list or an object may turn out to be space that is ignored. */
static bool joins(const struct reader *r, size_t from, const struct conf_token *t)
{
	const struct conf_build *b = r->b;

	if (r->json || t->kind < CONF_T_UNQUOTED || t->kind == CONF_T_SUBSTITUTION)
		return false;
	return b->piece_count == from || b->pieces[b->piece_count - 1]->type == CONF_REFERENCE;
}

/*
 * Plain values side by side, as in `3f0a b`, become one text right here, without a
 * value for each part; one alone keeps its type. *t becomes the token behind them.
 */
static struct cw_value *read_plain(struct reader *r, struct conf_token *t)
{
	struct cw_value where = { .source = r->source, .line = t->line, .column = t->column };
	struct conf_token first = *t;
	const char *text;
	size_t len;

	if (next_token(r, t) < 0)
		return NULL;
	if (t->kind < CONF_T_UNQUOTED || t->kind == CONF_T_SUBSTITUTION)
		return read_simple(r, &first);
	r->text.len = 0;
	text = conf_token_text(&first, &len);
	conf_out_add(&r->text, text, len);
	while (t->kind >= CONF_T_UNQUOTED && t->kind != CONF_T_SUBSTITUTION) {
		text = conf_token_text(t, &len);
		conf_out_add(&r->text, text, len);
		if (next_token(r, t) < 0)
			return NULL;
	}
	if (r->text.failed) {
		conf_no_memory(r->b);
		return NULL;
	}
	return conf_string(r->b, &where, r->text.text, r->text.len);
}

/*
 * Values side by side on one line. NULL with no error when there is none; the
 * token that ended them is put back. In JSON: exactly one.
 */
static struct cw_value *read_values(struct reader *r, const struct conf_place *place)
{
	size_t from = r->b->piece_count, count;
	struct cw_value *v = NULL;
	struct conf_token t;

	if (next_solid(r, &t) < 0)
		return NULL;
	while (starts_value(&t)) {
		bool plain = joins(r, from, &t);

		v = plain ? read_plain(r, &t) : read_value(r, place, &t);
		if (v == NULL || conf_piece_push(r->b, v) < 0 || (!r->json && !plain && next_token(r, &t) < 0)) {
			r->b->piece_count = from;
			return NULL;
		}
		if (r->json)
			break;
	}
	if (!r->json || v == NULL)
		put_back(r, &t);
	count = r->b->piece_count - from;
	v = count == 0 ? NULL : conf_concat(r->b, r->b->pieces + from, count, NULL);
	r->b->piece_count = from;
	return v;
}

static struct cw_value *read_list(struct reader *r, const struct conf_place *place, const struct conf_token *open)
{
	struct conf_place here = { .up = place, .path = NULL, .depth = place->depth + 1 };
	size_t from = r->b->piece_count;
	struct cw_value *v = NULL;
	struct conf_token t;
	int separator = 1;
	bool first = true;

	if (here.depth > CONF_DEPTH_MAX) {
		conf_fail(r->b, CW_ELIMIT, r->source, open->line, open->column, "nested more than %u deep", CONF_DEPTH_MAX);
		return NULL;
	}
	r->lists++;
	for (;;) {
		v = separator ? read_values(r, &here) : NULL;
		if (r->b->rc != 0)
			goto out;
		if (v != NULL) {
			first = false;
			if (conf_piece_push(r->b, v) < 0 || (separator = read_separator(r)) < 0)
				goto out;
			continue;
		}
		if (next_solid(r, &t) < 0)
			goto out;
		if (t.kind == CONF_T_CLOSE_SQUARE && (!separator || first || !r->json))
			break;
		fail_at(r, &t, !separator ? "but a comma, a newline or ] is expected in a list"
		               : first    ? "but ] or a first element is expected after ["
		                          : "but another element is expected after the comma in a list");
		goto out;
	}
	v = conf_items(r->b, CW_VALUE_LIST, &(struct cw_value){ .source = r->source, .line = open->line, .column = open->column },
	               r->b->pieces + from, r->b->piece_count - from);
out:
	r->lists--;
	r->b->piece_count = from;
	return r->b->rc != 0 ? NULL : v;
}

static int read_key(struct reader *r, struct conf_token *t, struct conf_path *first, const struct conf_path **ret_path)
{
	struct conf_path_parser p;
	struct conf_token start = *t;

	if (r->json ? t->kind != CONF_T_QUOTED : t->kind != CONF_T_UNQUOTED && !conf_token_is_value(t))
		return fail_at(r, t, r->json ? "but a key in double quotes or } is expected" : "but a key or } is expected");
	conf_path_begin(&p, &r->lx, &start);
	if (r->json) {
		if (conf_path_token(&p, t) < 0)
			return r->b->rc;
		return conf_path_end(&p, first, ret_path);
	}
	while (t->kind == CONF_T_UNQUOTED || conf_token_is_value(t)) {
		if (conf_path_token(&p, t) < 0 || next_token(r, t) < 0)
			return r->b->rc;
	}
	put_back(r, t);
	return conf_path_end(&p, first, ret_path);
}

/* The path from the root to the value being read; only for places outside lists. */
static const struct conf_path *full_path(struct reader *r, const struct conf_place *place)
{
	struct conf_path *head = NULL, *last, *p;

	for (; place != NULL; place = place->up) {
		struct conf_path *part = NULL;

		last = NULL;
		for (const struct conf_path *e = place->path; e != NULL; e = e->next) {
			p = conf_path_add(r->b, e->key, NULL);
			if (p == NULL)
				return NULL;
			if (last == NULL)
				part = p;
			else
				last->next = p;
			last = p;
		}
		if (last != NULL) {
			last->next = head;
			head = part;
		}
	}
	return head;
}

/* a += v is a = ${?a} [v] */
static struct cw_value *append_to_list(struct reader *r, const struct conf_place *place, struct cw_value *v)
{
	struct conf_token self = { .kind = CONF_T_SUBSTITUTION, .flags = CONF_OPTIONAL, .line = v->line, .column = v->column };
	struct cw_value *pieces[2];

	self.path = full_path(r, place);
	if (self.path == NULL)
		return NULL;
	pieces[0] = read_reference(r, &self);
	pieces[1] = conf_items(r->b, CW_VALUE_LIST, v, &v, 1);
	if (pieces[0] == NULL || pieces[1] == NULL)
		return NULL;
	return conf_concat(r->b, pieces, 2, NULL);
}

/* What follows a key: separator and value. */
static struct cw_value *read_field_value(struct reader *r, const struct conf_place *here)
{
	struct conf_token t;
	struct cw_value *v;
	bool append;

	if (next_solid(r, &t) < 0)
		return NULL;
	if (!r->json && t.kind == CONF_T_OPEN_CURLY)
		return read_value(r, here, &t);
	append = t.kind == CONF_T_PLUS_EQUALS;
	if (t.kind != CONF_T_COLON && (r->json || (t.kind != CONF_T_EQUALS && !append))) {
		fail_at(r, &t, r->json ? "but : is expected after a key" : "but one of : = += { is expected after a key");
		return NULL;
	}
	if (append && r->lists > 0) {
		conf_fail(r->b, CW_ECONF, r->source, t.line, t.column, "+= does not work inside a list or another +=, because it refers to "
		          "the older value by its path, and elements of lists have none");
		return NULL;
	}
	r->lists += append;
	v = read_values(r, here);
	r->lists -= append;
	if (v == NULL && r->b->rc == 0 && next_solid(r, &t) == 0)
		fail_at(r, &t, "but a value is expected");
	return v == NULL || !append ? v : append_to_list(r, here, v);
}

/* { a { b { value } } } for the path a.b; NULL after an error */
static struct cw_value *under_path(struct reader *r, const struct conf_path *path, struct cw_value *value)
{
	struct cw_value *object;

	if (path == NULL)
		return value;
	object = conf_object_new(r->b, value->source, value->line, value->column, 1);
	value = under_path(r, path->next, value);
	if (object == NULL || value == NULL || conf_object_add(r->b, object, path->key, value) < 0)
		return NULL;
	return object;
}

static bool path_is_secret(const struct conf_path *path)
{
	for (; path != NULL; path = path->next) {
		if (cw_conf_key_is_secret(path->key->text, path->key->len))
			return true;
	}
	return false;
}

static int read_field(struct reader *r, const struct conf_place *place, struct cw_value *object, struct conf_token *t)
{
	struct conf_token at = *t;
	struct conf_path first;
	struct conf_place here = { .up = place };
	struct cw_value *v;
	bool secret = r->lx.secret;

	if (read_key(r, t, &first, &here.path) < 0)
		return r->b->rc;
	here.depth = place->depth;
	for (const struct conf_path *p = here.path; p != NULL; p = p->next)
		here.depth++;
	if (here.depth > CONF_DEPTH_MAX)
		return conf_fail(r->b, CW_ELIMIT, r->source, at.line, at.column, "nested more than %u deep", CONF_DEPTH_MAX);
	r->lx.secret = secret || path_is_secret(here.path);
	v = read_field_value(r, &here);
	if (v == NULL)
		return r->b->rc;
	if (r->json && conf_object_find(object->u.object, here.path->key) != NULL)
		return conf_fail(r->b, CW_ECONF, r->source, at.line, at.column, "the key \"%s\" is there twice, which JSON does not allow",
		                 here.path->key->text);
	v = under_path(r, here.path->next, v);
	if (v == NULL)
		return r->b->rc;
	return conf_put(r->b, object, here.path->key, v);
}

/* file("x"), "x": t is the first token. The closing parenthesis of required() is looked at by the caller. */
static int read_include_name(struct reader *r, struct conf_token *t, enum conf_include_kind *ret_kind, struct conf_token *ret_name)
{
	static const char *const words[] = { "file(", "url(", "classpath(" };
	struct conf_token rest;
	size_t n;

	*ret_kind = CONF_INCLUDE_ANY;
	for (unsigned i = 0; t->kind == CONF_T_UNQUOTED && i < 3; i++) {
		n = strlen(words[i]);
		if (t->len < n || memcmp(t->text, words[i], n) != 0)
			continue;
		*ret_kind = (enum conf_include_kind)(i + 1);
		if (t->len > n) {
			rest = *t;
			rest.text += n;
			rest.len -= n;
			put_back(r, &rest);
		}
		if (next_solid(r, t) < 0)
			return r->b->rc;
		break;
	}
	if (t->kind != CONF_T_QUOTED)
		return fail_at(r, t, "but include wants a name in double quotes, file(\"...\"), required(\"...\") or required(file(\"...\"))");
	*ret_name = *t;
	if (*ret_kind == CONF_INCLUDE_ANY)
		return 0;
	if (next_solid(r, t) < 0)
		return r->b->rc;
	if (t->kind != CONF_T_UNQUOTED || t->text[0] != ')')
		return fail_at(r, t, "but ) is expected after the name of an include");
	if (t->len > 1) {
		rest = *t;
		rest.text++;
		rest.len--;
		put_back(r, &rest);
	}
	return 0;
}

static int merge_included(struct reader *r, const struct conf_place *place, struct cw_value *object, struct cw_value *included,
                          const struct conf_token *at)
{
	const struct conf_path *prefix;
	unsigned prefix_len = 0;

	if (r->lists > 0 && !conf_is_resolved(included))
		return conf_fail(r->b, CW_ECONF, r->source, at->line, at->column,
		                 "a file that is included inside a list cannot use substitutions, because elements of lists have no path");
	if (place->depth > 0 && !conf_is_resolved(included)) {
		prefix = full_path(r, place);
		if (prefix == NULL)
			return r->b->rc;
		for (const struct conf_path *p = prefix; p != NULL; p = p->next)
			prefix_len++;
		if (conf_relativize(r->b, included, prefix, prefix_len) < 0)
			return r->b->rc;
	}
	for (uint32_t i = 0; i < included->u.object->count; i++) {
		if (conf_put(r->b, object, included->u.object->members[i].key, included->u.object->members[i].value) < 0)
			return r->b->rc;
	}
	return 0;
}

static int read_include(struct reader *r, const struct conf_place *place, struct cw_value *object)
{
	static const char word[] = "required(";
	struct conf_token t, name, rest;
	enum conf_include_kind kind;
	struct cw_value *included;
	bool required;

	if (next_solid(r, &t) < 0)
		return r->b->rc;
	required = t.kind == CONF_T_UNQUOTED && t.len >= sizeof(word) - 1 && memcmp(t.text, word, sizeof(word) - 1) == 0;
	if (required) {
		if (t.len > sizeof(word) - 1) {
			rest = t;
			rest.text += sizeof(word) - 1;
			rest.len -= sizeof(word) - 1;
			put_back(r, &rest);
		}
		if (next_solid(r, &t) < 0)
			return r->b->rc;
	}
	if (read_include_name(r, &t, &kind, &name) < 0)
		return r->b->rc;
	if (required) {
		if (next_solid(r, &t) < 0)
			return r->b->rc;
		if (t.kind != CONF_T_UNQUOTED || t.len != 1 || t.text[0] != ')')
			return fail_at(r, &t, "but ) is expected at the end of required(");
	}
	included = conf_include(r->b, r->source, r->dir, &name, kind, name.text, name.len, required);
	if (included == NULL)
		return r->b->rc;
	return merge_included(r, place, object, included, &name);
}

/* Members up to the closing brace; open NULL: the root without braces, up to the end of the text. */
static int read_object(struct reader *r, const struct conf_place *place, struct cw_value *object, const struct conf_token *open)
{
	struct conf_token t;
	bool secret = r->lx.secret, after_comma = false;
	int separator;

	for (;;) {
		if (next_solid(r, &t) < 0)
			return r->b->rc;
		if (t.kind == CONF_T_CLOSE_CURLY && open != NULL && !(r->json && after_comma))
			return 0;
		if (t.kind == CONF_T_CLOSE_CURLY && open == NULL)
			return fail_at(r, &t, "but no { was opened");
		if (t.kind == CONF_T_END && open == NULL)
			return 0;
		if (t.kind == CONF_T_END)
			return conf_fail(r->b, CW_ECONF, r->source, t.line, t.column,
			                 "the text ends, but the { of line %u, column %u is not closed", open->line, open->column);
		r->lx.secret = secret;
		if (!r->json && t.kind == CONF_T_UNQUOTED && t.len == 7 && memcmp(t.text, "include", 7) == 0) {
			if (read_include(r, place, object) < 0)
				return r->b->rc;
		} else if (read_field(r, place, object, &t) < 0) {
			return r->b->rc;
		}
		separator = read_separator(r);
		if (separator < 0)
			return r->b->rc;
		after_comma = separator != 0;
		if (separator)
			continue;
		if (next_solid(r, &t) < 0)
			return r->b->rc;
		if (open == NULL ? t.kind == CONF_T_END : t.kind == CONF_T_CLOSE_CURLY) {
			r->lx.secret = secret;
			return 0;
		}
		return fail_at(r, &t, open == NULL ? "but a comma, a newline or the end of the text is expected after a value"
		                                   : "but a comma, a newline or } is expected after a value");
	}
}

static struct cw_value *read_root(struct reader *r)
{
	struct conf_place top = { .up = NULL };
	struct cw_value *root;
	struct conf_token t;

	if (next_solid(r, &t) < 0)
		return NULL;
	if (t.kind != CONF_T_OPEN_CURLY && t.kind != CONF_T_OPEN_SQUARE) {
		if (r->json) {
			fail_at(r, &t, "but a JSON document starts with {");
			return NULL;
		}
		put_back(r, &t);
		root = conf_object_new(r->b, r->source, 1, 1, 0);
		return root == NULL || read_object(r, &top, root, NULL) < 0 ? NULL : root;
	}
	root = read_value(r, &top, &t);
	if (root == NULL)
		return NULL;
	if (root->type == CW_VALUE_LIST) {
		conf_fail(r->b, CW_ECONF, r->source, root->line, root->column, "the document is a list, but settings are an object: key and value");
		return NULL;
	}
	if (next_solid(r, &t) < 0)
		return NULL;
	if (t.kind == CONF_T_END)
		return root;
	fail_at(r, &t, "but nothing may follow the last }");
	return NULL;
}

struct cw_value *conf_read_document(struct conf_build *b, const struct conf_source *source, const char *dir, const char *text,
                                    size_t len, bool json)
{
	struct reader r = { .b = b, .source = source, .dir = dir, .json = json };
	struct cw_value *root;

	conf_lexer_init(&r.lx, b, source, text, len, json);
	root = read_root(&r);
	conf_lexer_fini(&r.lx);
	cw_free(r.text.text);
	return b->rc != 0 ? NULL : root;
}
