/* digits.c - see digits.h. */
#include "base/digits.h"

static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

void cw_hex(char *out, struct cw_bytes in)
{
	size_t i;

	for (i = 0; i < in.len; i++) {
		*out++ = lower[in.ptr[i] >> 4];
		*out++ = lower[in.ptr[i] & 15];
	}
	*out = '\0';
}

int cw_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int is_plain(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
	       c == '~';
}

char *cw_percent(char *out, size_t size, struct cw_bytes in)
{
	char *end = out + size;
	size_t i;

	for (i = 0; i < in.len; i++) {
		uint8_t c = in.ptr[i];

		if (end - out < (is_plain(c) ? 2 : 4))
			return NULL;
		if (is_plain(c)) {
			*out++ = (char)c;
		} else {
			*out++ = '%';
			*out++ = upper[c >> 4];
			*out++ = upper[c & 15];
		}
	}
	if (out == end)
		return NULL;
	*out = '\0';
	return out;
}
