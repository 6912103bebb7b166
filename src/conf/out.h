/*
 * out.h - inside of module conf: text that grows. Failure is remembered and asked
 * for once, at the end. Zero-initialise.
 */
#ifndef CW_CONF_OUT_H
#define CW_CONF_OUT_H

#include <stdbool.h>
#include <stddef.h>

struct conf_out {
	char *text;
	size_t len, room;
	bool failed;
};

void conf_out_add(struct conf_out *o, const char *text, size_t len);
void conf_out_puts(struct conf_out *o, const char *text);
void conf_out_printf(struct conf_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void conf_out_pad(struct conf_out *o, unsigned spaces);
/* A JSON string with its quotes. */
void conf_out_quoted(struct conf_out *o, const char *text, size_t len);
/* Hands the text over (owned, NUL-terminated): 0 or CW_ENOMEM. */
int conf_out_take(struct conf_out *o, char **ret_text, size_t *ret_len);

#endif
