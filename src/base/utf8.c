/* utf8.c - see utf8.h. */
#include "base/utf8.h"

#include <string.h>

int cw_utf8_valid(struct cw_bytes s)
{
	size_t i = 0;

	while (i < s.len) {
		uint8_t b = s.ptr[i];
		uint32_t cp;
		size_t n, k;

		if (b < 0x80) {
			i++;
			continue;
		}
		if (b >= 0xc2 && b <= 0xdf) {
			n = 1;
			cp = b & 0x1fu;
		} else if (b >= 0xe0 && b <= 0xef) {
			n = 2;
			cp = b & 0x0fu;
		} else if (b >= 0xf0 && b <= 0xf4) {
			n = 3;
			cp = b & 0x07u;
		} else {
			return 0;
		}
		if (s.len - i <= n)
			return 0;
		for (k = 1; k <= n; k++) {
			if ((s.ptr[i + k] & 0xc0u) != 0x80u)
				return 0;
			cp = cp << 6 | (s.ptr[i + k] & 0x3fu);
		}
		if ((n == 2 && cp < 0x800) || (n == 3 && (cp < 0x10000 || cp > 0x10ffff)) ||
		    (cp >= 0xd800 && cp <= 0xdfff))
			return 0;
		i += n + 1;
	}
	return 1;
}

/* Bytes of the character at `at` that is not to be shown; 0: it may be. */
static size_t commands(const unsigned char *at)
{
	if (at[0] < 0x20 || at[0] == 0x7f)
		return 1;
	if (at[0] == 0xc2 && at[1] < 0xa0)
		return 2;
	if (at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0x8e || at[2] == 0x8f || (at[2] >= 0xa8 && at[2] <= 0xae)))
		return 3;
	return at[0] == 0xe2 && at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9 ? 3 : 0;
}

void cw_utf8_tame(char *text)
{
	unsigned char *at = (unsigned char *)text;
	int valid = cw_utf8_valid(cw_bytes_text(text));

	while (*at != '\0') {
		size_t n = valid ? commands(at) : *at < 0x20 || *at >= 0x7f;

		if (n == 0)
			n = 1;
		else
			memset(at, '?', n);
		at += n;
	}
}
