/* out.c - see out.h. */
#include "conf/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"

static bool make_room(struct conf_out *o, size_t len)
{
	size_t room = o->room == 0 ? 512 : o->room;
	char *bigger;

	if (o->failed)
		return false;
	if (o->room - o->len > len)
		return true;
	while (room - o->len <= len)
		room *= 2;
	bigger = cw_realloc(o->text, room);
	if (bigger == NULL) {
		o->failed = true;
		return false;
	}
	o->text = bigger;
	o->room = room;
	return true;
}

void conf_out_add(struct conf_out *o, const char *text, size_t len)
{
	if (!make_room(o, len))
		return;
	if (len > 0)
		memcpy(o->text + o->len, text, len);
	o->len += len;
	o->text[o->len] = '\0';
}

void conf_out_puts(struct conf_out *o, const char *text)
{
	conf_out_add(o, text, strlen(text));
}

void conf_out_printf(struct conf_out *o, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && make_room(o, (size_t)n)) {
		vsnprintf(o->text + o->len, (size_t)n + 1, fmt, again);
		o->len += (size_t)n;
	}
	va_end(again);
}

void conf_out_pad(struct conf_out *o, unsigned spaces)
{
	static const char blank[] = "                                ";

	for (; spaces > 0; spaces -= spaces < 32 ? spaces : 32)
		conf_out_add(o, blank, spaces < 32 ? spaces : 32);
}

void conf_out_quoted(struct conf_out *o, const char *text, size_t len)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	size_t run = 0;

	conf_out_add(o, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		const char *special = text[i] == '\0' ? NULL : strchr(from, text[i]);

		if (special == NULL && (unsigned char)text[i] >= 0x20)
			continue;
		conf_out_add(o, text + run, i - run);
		run = i + 1;
		if (special != NULL)
			conf_out_printf(o, "\\%c", to[special - from]);
		else
			conf_out_printf(o, "\\u%04x", (unsigned)(unsigned char)text[i]);
	}
	conf_out_add(o, text + run, len - run);
	conf_out_add(o, "\"", 1);
}

int conf_out_take(struct conf_out *o, char **ret_text, size_t *ret_len)
{
	conf_out_add(o, "", 0);
	if (o->failed) {
		cw_free(o->text);
		o->text = NULL;
		return CW_ENOMEM;
	}
	*ret_text = o->text;
	if (ret_len != NULL)
		*ret_len = o->len;
	return 0;
}
