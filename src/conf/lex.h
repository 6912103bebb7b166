/*
 * lex.h - inside of module conf: text to tokens.
 *
 * Comments and the whitespace around punctuation are left out; whitespace between
 * two simple values on one line is a token, because it belongs to their
 * concatenation. A substitution is one token with its path already parsed.
 */
#ifndef CW_CONF_LEX_H
#define CW_CONF_LEX_H

#include "conf/tree.h"

enum conf_token_kind {
	CONF_T_END,
	CONF_T_NEWLINE,
	CONF_T_COMMA,
	CONF_T_EQUALS,
	CONF_T_COLON,
	CONF_T_PLUS_EQUALS,
	CONF_T_OPEN_CURLY,
	CONF_T_CLOSE_CURLY,
	CONF_T_OPEN_SQUARE,
	CONF_T_CLOSE_SQUARE,
	CONF_T_UNQUOTED,     /* text; whitespace between simple values too */
	CONF_T_QUOTED,       /* text, escapes taken away */
	CONF_T_NUMBER,       /* text as written */
	CONF_T_TRUE,
	CONF_T_FALSE,
	CONF_T_NULL,
	CONF_T_SUBSTITUTION, /* path, flags */
};

struct conf_token {
	enum conf_token_kind kind;
	unsigned flags; /* SUBSTITUTION: CONF_OPTIONAL, CONF_ENV_LIST */
	const char *text; /* in the document or the arena; not NUL-terminated */
	size_t len;
	const struct conf_path *path;
	unsigned line, column;
};

struct conf_lexer {
	struct conf_build *b;
	const struct conf_source *source;
	const char *text, *at, *end;
	const char *line_start;
	const char *column_at; /* position whose column is known, for lines that are not ASCII */
	unsigned column_known;
	unsigned line;
	bool json;
	bool was_simple;   /* the last token was a simple value */
	bool secret;       /* what is being read belongs to a secret: do not quote it in messages */
	bool has_held;
	struct conf_token held; /* comes after a whitespace token */
	char *scratch;
	size_t scratch_len, scratch_room;
};

void conf_lexer_init(struct conf_lexer *lx, struct conf_build *b, const struct conf_source *source, const char *text, size_t len,
                     bool json);
void conf_lexer_fini(struct conf_lexer *lx);
/* 0, or negative with the error recorded. */
int conf_lex(struct conf_lexer *lx, struct conf_token *ret_token);

/* How a token is called in messages; out has room for 64 bytes. Secret text is not shown. */
const char *conf_token_name(const struct conf_token *t, bool secret, char out[64]);

static inline bool conf_token_is_value(const struct conf_token *t)
{
	return t->kind >= CONF_T_QUOTED && t->kind <= CONF_T_NULL;
}

/* The words a token stands for in a key or in joined text. */
static inline const char *conf_token_text(const struct conf_token *t, size_t *ret_len)
{
	static const char *const words[] = { "true", "false", "null" };

	if (t->kind >= CONF_T_TRUE && t->kind <= CONF_T_NULL) {
		*ret_len = t->kind == CONF_T_FALSE ? 5 : 4;
		return words[t->kind - CONF_T_TRUE];
	}
	*ret_len = t->len;
	return t->text;
}

/*
 * Path expressions: feed the tokens in order, then ask for the path. `first` is
 * filled and returned for a path of one element, so that plain keys cost no memory.
 */
struct conf_path_parser {
	struct conf_lexer *lx;
	const struct conf_token *at; /* where it starts, for messages */
	struct conf_path *head, *tail; /* from two elements on */
	const struct conf_key *one;    /* the first element */
	unsigned count;
	bool any, may_be_empty;
	const char *text; /* of the current element */
	size_t len;
};
void conf_path_begin(struct conf_path_parser *p, struct conf_lexer *lx, const struct conf_token *at);
int conf_path_token(struct conf_path_parser *p, const struct conf_token *t);
int conf_path_end(struct conf_path_parser *p, struct conf_path *first, const struct conf_path **ret_path);

/* Whitespace as the language defines it. Returns bytes of the character at `at`, 0 when it is none. A newline is one. */
size_t conf_space(const char *at, const char *end);
/* Take whitespace off both ends. */
void conf_trim(const char **text, size_t *len);

#endif
