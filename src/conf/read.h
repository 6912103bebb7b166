/*
 * read.h - inside of module conf: documents to unresolved values.
 */
#ifndef CW_CONF_READ_H
#define CW_CONF_READ_H

#include "conf/lex.h"
#include "conf/tree.h"

/* The way to the value being read: one link for each key or list we are inside. Lives on the stack. */
struct conf_place {
	const struct conf_place *up;
	const struct conf_path *path; /* NULL: a list */
	unsigned depth;               /* path elements and lists up to here */
};

/* Text in one of the three syntaxes to an object (unresolved). `dir` is where its includes are looked for. NULL after an error. */
struct cw_value *conf_read_text(struct conf_build *b, const struct conf_source *source, const char *dir, const char *text, size_t len,
                                enum cw_conf_syntax syntax);
struct cw_value *conf_read_document(struct conf_build *b, const struct conf_source *source, const char *dir, const char *text,
                                    size_t len, bool json);
struct cw_value *conf_read_properties(struct conf_build *b, const struct conf_source *source, const char *text, size_t len);

/*
 * A file. CW_ENOENT when it is missing, a directory, or no file: then nothing is
 * recorded as an error and *ret_object is untouched.
 */
int conf_read_file(struct conf_build *b, const char *path, enum cw_conf_syntax syntax, struct cw_value **ret_object);

enum conf_include_kind { CONF_INCLUDE_ANY, CONF_INCLUDE_FILE, CONF_INCLUDE_URL, CONF_INCLUDE_CLASSPATH };
/* An include statement; at: its token, for messages. The object is empty when an include that is not required is missing. */
struct cw_value *conf_include(struct conf_build *b, const struct conf_source *source, const char *dir, const struct conf_token *at,
                              enum conf_include_kind kind, const char *name, size_t len, bool required);

/* "a.b.c" split at dots, nothing else, as in properties: sets the value where no object is. */
int conf_put_property(struct conf_build *b, struct cw_value *root, const char *key, size_t key_len, struct cw_value *value);
/* The process environment as an object, made once. */
struct cw_value *conf_environment(struct conf_build *b);

#endif
