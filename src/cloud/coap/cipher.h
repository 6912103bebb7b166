/*
 * cipher.h - the symmetric mode of CoAP access: a key of each login, AES-128-CBC of payloads and sequence numbers.
 *
 * Every item is encrypted by itself, from the same fixed vector, with PKCS#7 padding. Any thread; nothing is kept.
 */
#ifndef CW_CLOUD_COAP_CIPHER_H
#define CW_CLOUD_COAP_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#define COAP_KEY_BYTES 16u
#define COAP_BLOCK     16u
/* Bytes that n become: at least one of padding. */
#define COAP_CIPHER_LEN(n) (((n) / COAP_BLOCK + 1) * COAP_BLOCK)

/* Bytes 8 to 23 of SHA-256("secret,random"). 0 or CW_ENOMEM. */
int cw_cloud_coap_key(const char *secret, const char *random, uint8_t ret_key[COAP_KEY_BYTES]);
/* `out` has room for COAP_CIPHER_LEN(len). 0 or CW_ENOMEM. */
int cw_cloud_coap_encrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out, size_t *ret_len);
/* `out` has room for len bytes; it may be more than the text needs. CW_EINVAL: not whole blocks, or wrong padding. */
int cw_cloud_coap_decrypt(const uint8_t key[COAP_KEY_BYTES], const void *data, size_t len, uint8_t *out, size_t *ret_len);

#endif
