/* crypt.c - see crypt.h. */
#include "upstream/coap/crypt.h"

#include <mbedtls/aes.h>
#include <mbedtls/sha256.h>
#include <stdio.h>
#include <string.h>

#include "causeway/error.h"

#define PSK_TIMESTAMP "2524608000000" /* nobody checks it, and the server reads it from the identity */
#define KEY_FROM 8u                   /* of the digest */

static const uint8_t vector[] = "543yhjy97ae7fyfg";

int cw_coap_psk(struct coap_psk *ret, enum cw_sign_method method, const char *product_key, const char *device_name,
		const char *secret)
{
	char text[160];
	char *c;
	int rc, n = snprintf(ret->identity, sizeof(ret->identity), "devicename|%s|%s&%s|" PSK_TIMESTAMP,
			     cw_sign_method_name(method), product_key, device_name);
	int m = snprintf(text, sizeof(text), "id%s&%stimestamp" PSK_TIMESTAMP, product_key, device_name);

	if (n < 0 || (size_t)n >= sizeof(ret->identity) || m < 0 || (size_t)m >= sizeof(text))
		return CW_ELIMIT;
	rc = cw_sign_hmac(method, secret, text, ret->key);
	for (c = ret->key; rc == 0 && *c != '\0'; c++)
		if (*c >= 'a' && *c <= 'f')
			*c = (char)(*c - 'a' + 'A');
	return rc;
}

int cw_coap_key(const char *secret, const char *random, uint8_t ret_key[COAP_KEY_BYTES])
{
	unsigned char digest[32];
	char text[512];
	int n = snprintf(text, sizeof(text), "%s,%s", secret, random), rc = CW_ELIMIT;

	if (n >= 0 && (size_t)n < sizeof(text))
		rc = mbedtls_sha256_ret((const unsigned char *)text, (size_t)n, digest, 0) == 0 ? 0 : CW_EINTERNAL;
	if (rc == 0)
		memcpy(ret_key, digest + KEY_FROM, COAP_KEY_BYTES);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(digest, sizeof(digest));
	return rc;
}

size_t cw_coap_encrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out)
{
	size_t whole = COAP_CIPHER_LEN(len);
	mbedtls_aes_context aes;
	uint8_t iv[COAP_BLOCK];
	int rc;

	memcpy(iv, vector, sizeof(iv));
	if (len > 0)
		memmove(out, data, len);
	memset(out + len, (int)(whole - len), whole - len);
	mbedtls_aes_init(&aes);
	rc = mbedtls_aes_setkey_enc(&aes, key, 8 * COAP_KEY_BYTES);
	if (rc == 0)
		rc = mbedtls_aes_crypt_cbc(&aes, MBEDTLS_AES_ENCRYPT, whole, iv, out, out);
	mbedtls_aes_free(&aes);
	return rc == 0 ? whole : 0;
}

/* All bytes of the padding say how many there are. */
static int padding_of(const uint8_t *out, size_t len, size_t *ret_len)
{
	size_t i, n = out[len - 1];

	if (n == 0 || n > COAP_BLOCK)
		return CW_EPROTO;
	for (i = 0; i < n; i++)
		if (out[len - 1 - i] != n)
			return CW_EPROTO;
	*ret_len = len - n;
	return 0;
}

int cw_coap_decrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out, size_t *ret_len)
{
	mbedtls_aes_context aes;
	uint8_t iv[COAP_BLOCK];
	int rc;

	if (len == 0 || len % COAP_BLOCK != 0)
		return CW_EPROTO;
	memcpy(iv, vector, sizeof(iv));
	mbedtls_aes_init(&aes);
	rc = mbedtls_aes_setkey_dec(&aes, key, 8 * COAP_KEY_BYTES);
	if (rc == 0)
		rc = mbedtls_aes_crypt_cbc(&aes, MBEDTLS_AES_DECRYPT, len, iv, data, out);
	mbedtls_aes_free(&aes);
	return rc == 0 ? padding_of(out, len, ret_len) : CW_EPROTO;
}
