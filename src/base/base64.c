/* base64.c - see base64.h. */
#include "base/base64.h"

#include "causeway/error.h"

static const char letters[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t cw_base64_encode(char *out, struct cw_bytes in)
{
	const uint8_t *p = in.ptr;
	char *at = out;
	size_t left;

	for (left = in.len; left >= 3; left -= 3, p += 3) {
		*at++ = letters[p[0] >> 2];
		*at++ = letters[(p[0] & 3) << 4 | p[1] >> 4];
		*at++ = letters[(p[1] & 15) << 2 | p[2] >> 6];
		*at++ = letters[p[2] & 63];
	}
	if (left > 0) {
		*at++ = letters[p[0] >> 2];
		*at++ = letters[(p[0] & 3) << 4 | (left == 2 ? p[1] >> 4 : 0)];
		*at++ = left == 2 ? letters[(p[1] & 15) << 2] : '=';
		*at++ = '=';
	}
	return (size_t)(at - out);
}

/* -1: no letter. */
static int value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int cw_base64_decode(uint8_t *out, size_t *ret_len, struct cw_bytes in)
{
	size_t n = in.len, at = 0, i;
	uint32_t bits = 0;
	int v;

	while (n > 0 && in.len - n < 2 && in.ptr[n - 1] == '=')
		n--;
	if (n % 4 == 1 || (n != in.len && in.len % 4 != 0))
		return CW_EPROTO;
	for (i = 0; i < n; i++) {
		v = value_of(in.ptr[i]);
		if (v < 0)
			return CW_EPROTO;
		bits = bits << 6 | (uint32_t)v;
		if (i % 4 == 3) {
			out[at++] = (uint8_t)(bits >> 16);
			out[at++] = (uint8_t)(bits >> 8);
			out[at++] = (uint8_t)bits;
		}
	}
	if (n % 4 == 2)
		out[at++] = (uint8_t)(bits >> 4);
	if (n % 4 == 3) {
		out[at++] = (uint8_t)(bits >> 10);
		out[at++] = (uint8_t)(bits >> 2);
	}
	*ret_len = at;
	return 0;
}
