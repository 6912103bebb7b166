/* digits.c - see digits.h. */
#include "cloud/core/digits.h"

#include <openssl/evp.h>

#include "base/mem.h"
#include "causeway/error.h"

void cw_cloud_hex(const void *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *data = bytes;
	size_t i;

	for (i = 0; i < len; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * len] = '\0';
}

int cw_cloud_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *cw_cloud_base64(const void *bytes, size_t len)
{
	char *out = cw_alloc((len + 2) / 3 * 4 + 1);

	if (out != NULL)
		out[EVP_EncodeBlock((unsigned char *)out, bytes, (int)len)] = '\0';
	return out;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int cw_cloud_base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len)
{
	size_t pad = len >= 2 && text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0, i;

	if (len % 4 != 0)
		return CW_EPROTO;
	for (i = 0; i < len; i += 4) {
		unsigned word = 0, k;

		for (k = 0; k < 4; k++) {
			int v = i + k >= len - pad ? 0 : base64_value(text[i + k]);

			if (v < 0)
				return CW_EPROTO;
			word = word << 6 | (unsigned)v;
		}
		*out++ = (uint8_t)(word >> 16);
		*out++ = (uint8_t)(word >> 8);
		*out++ = (uint8_t)word;
	}
	*ret_len = len / 4 * 3 - pad;
	return 0;
}
