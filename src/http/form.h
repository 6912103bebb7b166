/*
 * form.h - application/x-www-form-urlencoded text, of a query or a body, taken apart. Any thread; no I/O.
 */
#ifndef CW_HTTP_FORM_H
#define CW_HTTP_FORM_H

#include <stddef.h>

#include "base/err.h"

#define CW_FORM_PAIRS_MAX 2560u /* further pairs are left out; a call of the management API may have 2,500 */

struct cw_form_pair {
	const char *name, *value;
};

struct cw_form {
	char *text; /* what the pairs point into */
	struct cw_form_pair *pairs;
	size_t count;
};

/*
 * In the order of the text. '+' is a space, %XX a byte; a percent sign that begins no byte stands for itself. A pair
 * without '=' has the value "". Pairs with a NUL in them are left out: a C text would show only their beginning.
 * 0 or CW_ENOMEM; *ret_form must be given to cw_form_fini() when 0.
 */
int cw_form_parse(const char *text, size_t len, struct cw_form *ret_form);
void cw_form_fini(struct cw_form *form);

/* The path of a target, also of one in absolute form, which every server takes (RFC 9112 3.2.2): behind its host. In `target`, or static. */
const char *cw_form_path(const char *target);

#endif
