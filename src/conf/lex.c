/* lex.c - see lex.h. */
#include "conf/lex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/number.h"

/* Characters that unquoted text cannot hold, beside whitespace and //. */
static bool is_reserved(char c)
{
	return c != '\0' && strchr("$\"{}[]:=,+#`^?!@*&\\", c) != NULL;
}

static bool is_number_char(char c)
{
	return (c >= '0' && c <= '9') || c == 'e' || c == 'E' || c == '+' || c == '-' || c == '.';
}

size_t conf_space(const char *at, const char *end)
{
	const unsigned char *p = (const unsigned char *)at;
	unsigned c;

	if (at >= end)
		return 0;
	if (p[0] < 0x80)
		return p[0] == ' ' || (p[0] >= 9 && p[0] <= 13) || (p[0] >= 0x1c && p[0] <= 0x1f);
	if (p[0] == 0xc2)
		return end - at >= 2 && p[1] == 0xa0 ? 2 : 0;
	if (p[0] < 0xe1 || p[0] > 0xef || end - at < 3)
		return 0;
	c = (unsigned)(p[0] & 0xf) << 12 | (unsigned)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
	if (c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
	    c == 0x3000 || c == 0xfeff)
		return 3;
	return 0;
}

void conf_trim(const char **text, size_t *len)
{
	const char *at = *text, *end = at + *len, *last;
	size_t n;

	while ((n = conf_space(at, end)) > 0)
		at += n;
	while (end > at) {
		for (last = end - 1; last > at && ((unsigned char)*last & 0xc0) == 0x80; last--)
			;
		if (conf_space(last, end) != (size_t)(end - last))
			break;
		end = last;
	}
	*text = at;
	*len = (size_t)(end - at);
}

void conf_lexer_init(struct conf_lexer *lx, struct conf_build *b, const struct conf_source *source, const char *text, size_t len,
                     bool json)
{
	memset(lx, 0, sizeof(*lx));
	lx->b = b;
	lx->source = source;
	lx->text = lx->at = lx->line_start = text;
	lx->end = text + len;
	lx->line = 1;
	lx->json = json;
}

void conf_lexer_fini(struct conf_lexer *lx)
{
	cw_free(lx->scratch);
	lx->scratch = NULL;
}

static int scratch_add(struct conf_lexer *lx, const char *text, size_t len)
{
	size_t room = lx->scratch_room == 0 ? 256 : lx->scratch_room;
	char *bigger;

	if (lx->scratch_room - lx->scratch_len < len) {
		while (room - lx->scratch_len < len)
			room *= 2;
		bigger = cw_realloc(lx->scratch, room);
		if (bigger == NULL)
			return conf_no_memory(lx->b);
		lx->scratch = bigger;
		lx->scratch_room = room;
	}
	if (len > 0)
		memcpy(lx->scratch + lx->scratch_len, text, len);
	lx->scratch_len += len;
	return 0;
}

/* Columns count characters. The last answer is kept, so that one long line does not cost its square. */
static unsigned column_of(struct conf_lexer *lx, const char *at)
{
	const char *p = lx->line_start;
	unsigned column = 1;

	if (lx->column_at != NULL && lx->column_at >= p && lx->column_at <= at) {
		p = lx->column_at;
		column = lx->column_known;
	}
	for (; p < at; p++)
		column += ((unsigned char)*p & 0xc0) != 0x80;
	lx->column_at = at;
	lx->column_known = column;
	return column;
}

static void newline_at(struct conf_lexer *lx, const char *at)
{
	lx->line++;
	lx->line_start = at + 1;
}

#define lex_fail(lx, where, ...) \
	conf_fail((lx)->b, CW_ECONF, (lx)->source, (lx)->line, column_of((lx), (where)), __VA_ARGS__)

/* The character at `at` for a message. */
static const char *char_name(const struct conf_lexer *lx, const char *at, char out[16])
{
	size_t n = 1;

	if (at >= lx->end)
		return "the end of the text";
	if (*at == '\n')
		return "a newline";
	if ((unsigned char)*at < 0x20) {
		snprintf(out, 16, "control 0x%02x", (unsigned)(unsigned char)*at);
		return out;
	}
	if (lx->secret)
		return "a character";
	while (at + n < lx->end && n < 4 && ((unsigned char)at[n] & 0xc0) == 0x80)
		n++;
	snprintf(out, 16, "'%.*s'", (int)n, at);
	return out;
}

static int reserved(struct conf_lexer *lx, const char *at)
{
	char name[16];

	return lex_fail(lx, at, "%s is reserved and not allowed outside quotes; put the whole key or value into double quotes",
	                char_name(lx, at, name));
}

static size_t put_utf8(char out[4], unsigned long c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Four hex digits at `at`, or -1. The reference lets a plus sign stand for the first. */
static long hex4(const struct conf_lexer *lx, const char *at)
{
	long c = 0;

	if (lx->end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char d = at[i];

		if (i == 0 && d == '+')
			continue;
		if (d >= '0' && d <= '9')
			c = c * 16 + (d - '0');
		else if (d >= 'a' && d <= 'f')
			c = c * 16 + (d - 'a' + 10);
		else if (d >= 'A' && d <= 'F')
			c = c * 16 + (d - 'A' + 10);
		else
			return -1;
	}
	return c;
}

/* `at` stands behind "\u". Pairs of surrogates become one character, single ones U+FFFD. */
static int unicode_escape(struct conf_lexer *lx, const char **at)
{
	long c = hex4(lx, *at), low;
	char out[4];

	if (c < 0)
		return lex_fail(lx, *at - 2, "\\u must be followed by four hex digits");
	*at += 4;
	if (c >= 0xd800 && c < 0xdc00 && lx->end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
		low = hex4(lx, *at + 2);
		if (low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			*at += 6;
		}
	}
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd;
	return scratch_add(lx, out, put_utf8(out, (unsigned long)c));
}

static int escape(struct conf_lexer *lx, const char **at)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p = *at + 1, *which;
	char name[16];

	if (p >= lx->end)
		return lex_fail(lx, *at, "the text ends inside a quoted string");
	*at += 2;
	if (*p == 'u')
		return unicode_escape(lx, at);
	which = *p == '\0' ? NULL : strchr(from, *p);
	if (which == NULL)
		return lex_fail(lx, p - 1, "a backslash followed by %s is no escape; accepted are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX",
		                char_name(lx, p, name));
	return scratch_add(lx, &to[which - from], 1);
}

/* at: behind the three opening quotes */
static int lex_triple(struct conf_lexer *lx, const char *open, struct conf_token *t)
{
	const char *at = lx->at, *close = NULL;
	unsigned line = lx->line, column = column_of(lx, open);

	for (; at < lx->end; at++) {
		if (*at == '\n')
			newline_at(lx, at);
		if (*at == '"' && lx->end - at >= 3 && at[1] == '"' && at[2] == '"') {
			close = at;
			break;
		}
	}
	if (close == NULL)
		return conf_fail(lx->b, CW_ECONF, lx->source, line, column, "the string opened with \"\"\" here is never closed");
	/* Of four and more quotes the last three close, the others belong to the text. */
	while (close + 3 < lx->end && close[3] == '"')
		close++;
	t->kind = CONF_T_QUOTED;
	t->text = lx->at;
	t->len = (size_t)(close - lx->at);
	lx->at = close + 3;
	return 0;
}

static int lex_quoted(struct conf_lexer *lx, struct conf_token *t)
{
	const char *open = lx->at, *at = open + 1;
	bool plain = true;
	char name[16];

	lx->scratch_len = 0;
	for (;;) {
		const char *run = at;

		while (at < lx->end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
			at++;
		if (at >= lx->end)
			return lex_fail(lx, open, "the string opened here is never closed");
		if (plain && *at == '"')
			break;
		plain = false;
		if (scratch_add(lx, run, (size_t)(at - run)) < 0)
			return lx->b->rc;
		if (*at == '"')
			break;
		if (*at != '\\')
			return lex_fail(lx, at, "%s inside a quoted string; write it as an escape, or use \"\"\"three quotes\"\"\"",
			                char_name(lx, at, name));
		if (escape(lx, &at) < 0)
			return lx->b->rc;
	}
	t->kind = CONF_T_QUOTED;
	lx->at = at + 1;
	if (plain) {
		t->text = open + 1;
		t->len = (size_t)(at - open - 1);
	} else {
		t->len = lx->scratch_len;
		t->text = conf_text(lx->b, lx->scratch, t->len);
		if (t->text == NULL)
			return lx->b->rc;
	}
	if (t->len == 0 && lx->at < lx->end && *lx->at == '"') {
		lx->at++;
		return lex_triple(lx, open, t);
	}
	return 0;
}

static int lex_number(struct conf_lexer *lx, struct conf_token *t)
{
	const char *at = lx->at;
	bool fraction = false;

	for (at++; at < lx->end && is_number_char(*at); at++)
		fraction |= *at == '.' || *at == 'e' || *at == 'E';
	t->text = lx->at;
	t->len = (size_t)(at - lx->at);
	lx->at = at;
	if (fraction ? conf_is_decimal(t->text, t->len) : conf_parse_long(t->text, t->len, NULL) == 0) {
		t->kind = CONF_T_NUMBER;
		return 0;
	}
	/* Not a number after all: then it is text, and text cannot hold a plus sign. */
	for (size_t i = 0; i < t->len; i++) {
		if (t->text[i] == '+')
			return reserved(lx, t->text + i);
	}
	t->kind = CONF_T_UNQUOTED;
	return 0;
}

static bool starts_comment(const struct conf_lexer *lx, const char *at)
{
	if (lx->json)
		return false;
	return *at == '#' || (*at == '/' && lx->end - at >= 2 && at[1] == '/');
}

static int lex_unquoted(struct conf_lexer *lx, struct conf_token *t)
{
	const char *at = lx->at;
	size_t left = (size_t)(lx->end - at);

	/* These three are words at the start of a text, whatever follows. */
	t->kind = left >= 4 && memcmp(at, "true", 4) == 0    ? CONF_T_TRUE
	          : left >= 4 && memcmp(at, "null", 4) == 0  ? CONF_T_NULL
	          : left >= 5 && memcmp(at, "false", 5) == 0 ? CONF_T_FALSE
	                                                     : CONF_T_UNQUOTED;
	if (t->kind != CONF_T_UNQUOTED) {
		lx->at += t->kind == CONF_T_FALSE ? 5 : 4;
		return 0;
	}
	while (at < lx->end && !is_reserved(*at) && conf_space(at, lx->end) == 0 && !starts_comment(lx, at))
		at++;
	t->text = lx->at;
	t->len = (size_t)(at - lx->at);
	lx->at = at;
	return 0;
}

static int lex_substitution(struct conf_lexer *lx, struct conf_token *t);

static int lex_punctuation(struct conf_lexer *lx, struct conf_token *t)
{
	static const char marks[] = ",=:{}[]";
	static const enum conf_token_kind kinds[] = { CONF_T_COMMA, CONF_T_EQUALS, CONF_T_COLON, CONF_T_OPEN_CURLY,
		                                      CONF_T_CLOSE_CURLY, CONF_T_OPEN_SQUARE, CONF_T_CLOSE_SQUARE };
	const char *mark = *lx->at == '\0' ? NULL : strchr(marks, *lx->at);

	if (mark == NULL)
		return 0;
	t->kind = kinds[mark - marks];
	lx->at++;
	return 1;
}

/* One token at lx->at, whitespace skipped already. */
static int lex_here(struct conf_lexer *lx, struct conf_token *t)
{
	char c;

	memset(t, 0, sizeof(*t));
	t->line = lx->line;
	t->column = column_of(lx, lx->at);
	if (lx->at >= lx->end)
		return 0;
	if (lex_punctuation(lx, t))
		return 0;
	c = *lx->at;
	if (c == '\n') {
		newline_at(lx, lx->at);
		lx->at++;
		t->kind = CONF_T_NEWLINE;
		return 0;
	}
	if (c == '"')
		return lex_quoted(lx, t);
	if (c == '$')
		return lex_substitution(lx, t);
	if (c == '+') {
		if (lx->end - lx->at < 2 || lx->at[1] != '=')
			return reserved(lx, lx->at);
		t->kind = CONF_T_PLUS_EQUALS;
		lx->at += 2;
		return 0;
	}
	if ((c >= '0' && c <= '9') || c == '-')
		return lex_number(lx, t);
	if (is_reserved(c))
		return reserved(lx, lx->at);
	return lex_unquoted(lx, t);
}

static const char *skip_space(const struct conf_lexer *lx, const char *at)
{
	size_t n;

	while (at < lx->end && *at != '\n' && (n = conf_space(at, lx->end)) > 0)
		at += n;
	return at;
}

int conf_lex(struct conf_lexer *lx, struct conf_token *t)
{
	const char *from = lx->at, *space_end;
	struct conf_token space;
	bool simple;

	if (lx->has_held) {
		lx->has_held = false;
		*t = lx->held;
		return 0;
	}
	lx->at = skip_space(lx, lx->at);
	space_end = lx->at;
	memset(&space, 0, sizeof(space));
	if (lx->was_simple && space_end > from) {
		space.line = lx->line;
		space.column = column_of(lx, from);
		space.kind = CONF_T_UNQUOTED;
		space.text = from;
		space.len = (size_t)(space_end - from);
	}
	while (lx->at < lx->end && starts_comment(lx, lx->at)) {
		while (lx->at < lx->end && *lx->at != '\n')
			lx->at++;
	}
	if (lex_here(lx, t) < 0)
		return lx->b->rc;
	simple = t->kind >= CONF_T_UNQUOTED;
	if (simple && space.len > 0) {
		lx->held = *t;
		lx->has_held = true;
		*t = space;
	}
	lx->was_simple = simple;
	return 0;
}

/* ${ path }, ${?path}, ${path[]} */
static int lex_substitution(struct conf_lexer *lx, struct conf_token *t)
{
	const char *open = lx->at;
	struct conf_token part, start = *t;
	struct conf_path_parser path;
	bool outer_simple = lx->was_simple, list = false;
	char name[64];

	if (lx->end - lx->at < 2 || lx->at[1] != '{')
		return reserved(lx, open);
	lx->at += 2;
	t->kind = CONF_T_SUBSTITUTION;
	if (lx->at < lx->end && *lx->at == '?') {
		t->flags = CONF_OPTIONAL;
		lx->at++;
	}
	lx->was_simple = false;
	conf_path_begin(&path, lx, &start);
	for (;;) {
		if (conf_lex(lx, &part) < 0)
			return lx->b->rc;
		if (part.kind == CONF_T_CLOSE_CURLY)
			break;
		if (part.kind == CONF_T_END)
			return conf_fail(lx->b, CW_ECONF, lx->source, start.line, start.column,
			                 "the substitution opened with ${ here is never closed with }");
		if (part.kind == CONF_T_OPEN_SQUARE && !list && path.any && lx->at < lx->end && *lx->at == ']') {
			lx->at++;
			list = true;
			continue;
		}
		if (list)
			return conf_fail(lx->b, CW_ECONF, lx->source, part.line, part.column,
			                 "after [] in a substitution only } is accepted, found %s", conf_token_name(&part, lx->secret, name));
		if (conf_path_token(&path, &part) < 0)
			return lx->b->rc;
	}
	if (list)
		t->flags |= CONF_ENV_LIST;
	lx->was_simple = outer_simple;
	return conf_path_end(&path, NULL, &t->path);
}

void conf_path_begin(struct conf_path_parser *p, struct conf_lexer *lx, const struct conf_token *at)
{
	memset(p, 0, sizeof(*p));
	p->lx = lx;
	p->at = at;
}

static int path_fail(struct conf_path_parser *p, const struct conf_token *t, const char *sentence)
{
	return conf_fail(p->lx->b, CW_ECONF, p->lx->source, t->line, t->column, "%s", sentence);
}

static int path_append(struct conf_path_parser *p, const char *text, size_t len)
{
	char *joined;

	if (len == 0)
		return 0;
	if (p->len == 0) {
		p->text = text;
		p->len = len;
		return 0;
	}
	joined = conf_alloc(p->lx->b, p->len + len);
	if (joined == NULL)
		return p->lx->b->rc;
	memcpy(joined, p->text, p->len);
	memcpy(joined + p->len, text, len);
	p->text = joined;
	p->len += len;
	return 0;
}

static int path_element_end(struct conf_path_parser *p, const struct conf_token *t)
{
	struct conf_build *b = p->lx->b;
	const struct conf_key *key;
	struct conf_path *node;

	if (p->len == 0 && !p->may_be_empty)
		return path_fail(p, t, "the path begins or ends with a dot or has two in a row; an empty element is written \"\"");
	if (p->count >= CONF_DEPTH_MAX)
		return conf_fail(b, CW_ELIMIT, p->lx->source, t->line, t->column, "a path of more than %u elements", CONF_DEPTH_MAX);
	key = conf_key(b, p->text, p->len);
	if (key == NULL)
		return b->rc;
	if (p->count++ == 0) {
		p->one = key;
	} else {
		if (p->head == NULL)
			p->head = p->tail = conf_path_add(b, p->one, NULL);
		node = p->head == NULL ? NULL : conf_path_add(b, key, NULL);
		if (node == NULL)
			return b->rc;
		p->tail->next = node;
		p->tail = node;
	}
	p->text = NULL;
	p->len = 0;
	p->may_be_empty = false;
	return 0;
}

int conf_path_token(struct conf_path_parser *p, const struct conf_token *t)
{
	const char *text, *dot;
	size_t len;
	char name[64];

	p->any = true;
	if (t->kind != CONF_T_UNQUOTED && !conf_token_is_value(t))
		return conf_fail(p->lx->b, CW_ECONF, p->lx->source, t->line, t->column,
		                 "a path cannot hold %s; put the element into double quotes", conf_token_name(t, p->lx->secret, name));
	text = conf_token_text(t, &len);
	if (t->kind == CONF_T_QUOTED) {
		if (path_append(p, text, len) < 0)
			return p->lx->b->rc;
		p->may_be_empty |= p->len == 0;
		return 0;
	}
	while (len > 0 && (dot = memchr(text, '.', len)) != NULL) {
		if (path_append(p, text, (size_t)(dot - text)) < 0 || path_element_end(p, t) < 0)
			return p->lx->b->rc;
		len -= (size_t)(dot - text) + 1;
		text = dot + 1;
	}
	return path_append(p, text, len);
}

int conf_path_end(struct conf_path_parser *p, struct conf_path *first, const struct conf_path **ret_path)
{
	if (!p->any)
		return path_fail(p, p->at, "a path is expected here");
	if (path_element_end(p, p->at) < 0)
		return p->lx->b->rc;
	if (p->count > 1) {
		*ret_path = p->head;
	} else if (first != NULL) {
		first->key = p->one;
		first->next = NULL;
		*ret_path = first;
	} else {
		*ret_path = conf_path_add(p->lx->b, p->one, NULL);
	}
	return *ret_path == NULL ? p->lx->b->rc : 0;
}

const char *conf_token_name(const struct conf_token *t, bool secret, char out[64])
{
	static const char *const fixed[] = { "the end of the text", "the end of the line", "','", "'='", "':'", "'+='",
		                             "'{'", "'}'", "'['", "']'" };
	size_t len, show;
	const char *text;

	if (t->kind <= CONF_T_CLOSE_SQUARE)
		return fixed[t->kind];
	if (t->kind == CONF_T_SUBSTITUTION)
		return "a substitution";
	if (secret)
		return "a value";
	text = conf_token_text(t, &len);
	for (show = 0; show < len && show < 40 && (unsigned char)text[show] >= 0x20; show++)
		;
	while (show > 0 && show < len && ((unsigned char)text[show] & 0xc0) == 0x80)
		show--;
	snprintf(out, 64, t->kind == CONF_T_QUOTED ? "\"%.*s%s\"" : "'%.*s%s'", (int)show, text, show < len ? "..." : "");
	return out;
}
