/* cipher.c - see cipher.h. */
#include "cloud/coap/cipher.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "causeway/error.h"

#define KEY_FROM 8u /* of the digest */

static const unsigned char vector[] = "543yhjy97ae7fyfg";

int cw_cloud_coap_key(const char *secret, const char *random, uint8_t ret_key[COAP_KEY_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) && EVP_DigestUpdate(ctx, secret, strlen(secret)) &&
	         EVP_DigestUpdate(ctx, ",", 1) && EVP_DigestUpdate(ctx, random, strlen(random)) &&
	         EVP_DigestFinal_ex(ctx, digest, NULL);

	EVP_MD_CTX_free(ctx);
	if (!ok)
		return CW_ENOMEM;
	memcpy(ret_key, digest + KEY_FROM, COAP_KEY_BYTES);
	OPENSSL_cleanse(digest, sizeof(digest));
	return 0;
}

int cw_cloud_coap_encrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out, size_t *ret_len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, rest = 0;
	int ok = ctx != NULL && len < INT_MAX - COAP_BLOCK && EVP_EncryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, key, vector) &&
	         EVP_EncryptUpdate(ctx, out, &n, data, (int)len) && EVP_EncryptFinal_ex(ctx, out + n, &rest);

	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		return CW_ENOMEM;
	*ret_len = (size_t)n + (size_t)rest;
	return 0;
}

int cw_cloud_coap_decrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out, size_t *ret_len)
{
	EVP_CIPHER_CTX *ctx;
	int n = 0, rest = 0, ok;

	if (len == 0 || len % COAP_BLOCK != 0 || len > INT_MAX)
		return CW_EINVAL;
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL && EVP_DecryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, key, vector) &&
	     EVP_DecryptUpdate(ctx, out, &n, data, (int)len) && EVP_DecryptFinal_ex(ctx, out + n, &rest);
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		return CW_EINVAL;
	*ret_len = (size_t)n + (size_t)rest;
	return 0;
}
