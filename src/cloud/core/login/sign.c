/* sign.c - see sign.h. */
#include "cloud/core/login/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

#include "base/digits.h"
#include "causeway/error.h"


int cw_cloud_hmac_parse(const char *name, size_t len, enum cloud_hmac *ret_method)
{
	static const char *const names[] = { "hmacmd5", "hmacsha1", "hmacsha256" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0) {
			*ret_method = (enum cloud_hmac)i;
			return 0;
		}
	}
	return CW_EINVAL;
}

size_t cw_cloud_hmac_hex(enum cloud_hmac method, const char *key, const char *text, size_t len, char out[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	const EVP_MD *md;
	unsigned n = 0;

	md = method == CLOUD_HMAC_MD5 ? EVP_md5() : method == CLOUD_HMAC_SHA1 ? EVP_sha1() : EVP_sha256();
	if (HMAC(md, key, (int)strlen(key), (const unsigned char *)text, len, digest, &n) == NULL)
		n = 0;
	cw_hex(out, cw_bytes_of(digest, n));
	return 2 * (size_t)n;
}

int cw_cloud_hmac_matches(enum cloud_hmac method, const char *key, const char *text, size_t len, const char *given,
                          size_t given_len)
{
	char want[65], got[65];
	size_t n = cw_cloud_hmac_hex(method, key, text, len, want), i;

	if (n == 0 || given_len != n)
		return 0;
	for (i = 0; i < n; i++)
		got[i] = given[i] >= 'A' && given[i] <= 'F' ? (char)(given[i] + ('a' - 'A')) : given[i];
	return CRYPTO_memcmp(want, got, n) == 0;
}
