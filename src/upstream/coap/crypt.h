/*
 * crypt.h - what the platform's CoAP access wants signed and encrypted: the pre-shared key of DTLS, and key and cipher
 * of the symmetric mode. No I/O, no state; any thread.
 */
#ifndef CW_UPSTREAM_COAP_CRYPT_H
#define CW_UPSTREAM_COAP_CRYPT_H

#include <stddef.h>
#include <stdint.h>

#include "platform/sign.h"

#define COAP_KEY_BYTES 16u
#define COAP_BLOCK 16u
/* Bytes that n become: at least one of padding. */
#define COAP_CIPHER_LEN(n) (((n) / COAP_BLOCK + 1) * COAP_BLOCK)

/* Identity and key of a DTLS session: the key is the text of the digest in upper case. */
struct coap_psk {
	char identity[192];
	char key[CW_SIGN_HEX_MAX];
};
/* 0, CW_ELIMIT (names too long) or CW_EINTERNAL. */
int cw_coap_psk(struct coap_psk *ret, enum cw_sign_method method, const char *product_key, const char *device_name,
		const char *secret);

/* The key of one login in symmetric mode: bytes 8 to 23 of SHA-256("secret,random"). 0, CW_ELIMIT or CW_EINTERNAL. */
int cw_coap_key(const char *secret, const char *random, uint8_t ret_key[COAP_KEY_BYTES]);
/*
 * Each item is a message of its own: AES-128-CBC from the same fixed vector, PKCS#7 padding. `out` has room for
 * COAP_CIPHER_LEN(len). Returns the length, 0 when the library failed.
 */
size_t cw_coap_encrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out);
/* `out` has room for len bytes. 0, or CW_EPROTO: not whole blocks, or wrong padding. */
int cw_coap_decrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out, size_t *ret_len);

#endif
