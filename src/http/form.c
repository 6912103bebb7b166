/* form.c - see form.h. */
#include "http/form.h"

#include <string.h>
#include <strings.h>

#include "base/digits.h"
#include "base/mem.h"

/* In place; a decoded text is never longer. Ends in NUL at its new end. Returns 0 when it holds a NUL. */
static int decode(char *s, size_t len)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		char c = s[i] == '+' ? ' ' : s[i];

		if (c == '%' && len - i > 2 && cw_hex_value(s[i + 1]) >= 0 && cw_hex_value(s[i + 2]) >= 0) {
			c = (char)(cw_hex_value(s[i + 1]) << 4 | cw_hex_value(s[i + 2]));
			i += 2;
		}
		if (c == '\0')
			return 0;
		s[n++] = c;
	}
	s[n] = '\0';
	return 1;
}

static size_t count_pairs(const char *text, size_t len)
{
	size_t i, n = 1;

	for (i = 0; i < len && n < CW_FORM_PAIRS_MAX; i++)
		n += text[i] == '&';
	return n;
}

/* `s` is followed by the byte that the final NUL may be written to. */
static void take_pair(struct cw_form *form, char *s, size_t len)
{
	static char empty[1];
	char *eq = memchr(s, '=', len), *value = eq != NULL ? eq + 1 : empty;
	size_t name_len = eq != NULL ? (size_t)(eq - s) : len;

	if (len == 0 || !decode(s, name_len) || (eq != NULL && !decode(value, len - name_len - 1)))
		return;
	form->pairs[form->count++] = (struct cw_form_pair){ s, value };
}

int cw_form_parse(const char *text, size_t len, struct cw_form *ret_form)
{
	struct cw_form form = { NULL, NULL, 0 };
	size_t room = count_pairs(text, len), from = 0;

	form.text = cw_alloc(len + 1);
	form.pairs = cw_zalloc(room * sizeof(*form.pairs));
	if (form.text == NULL || form.pairs == NULL) {
		cw_form_fini(&form);
		return CW_ENOMEM;
	}
	memcpy(form.text, text, len);
	while (from < len && form.count < room) {
		const char *amp = memchr(form.text + from, '&', len - from);
		size_t n = amp != NULL ? (size_t)(amp - form.text) - from : len - from;

		take_pair(&form, form.text + from, n);
		from += n + 1;
	}
	*ret_form = form;
	return 0;
}

void cw_form_fini(struct cw_form *form)
{
	cw_free(form->text);
	cw_free(form->pairs);
	*form = (struct cw_form){ NULL, NULL, 0 };
}

const char *cw_form_path(const char *target)
{
	const char *slash;

	if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0)
		return target;
	slash = strchr(strstr(target, "://") + 3, '/');
	return slash != NULL ? slash : "/";
}
