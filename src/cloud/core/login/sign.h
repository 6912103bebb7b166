/*
 * sign.h - the platform's side of signatures: contents to sign, HMAC in hex, comparison.
 *
 * Written for the emulator alone and from the documents alone: it shares nothing with
 * the gateway's own signing, so that a misreading on one side shows on the other.
 * Any thread; nothing is kept.
 */
#ifndef CW_CLOUD_SIGN_H
#define CW_CLOUD_SIGN_H

#include <stddef.h>

enum cloud_hmac { CLOUD_HMAC_MD5, CLOUD_HMAC_SHA1, CLOUD_HMAC_SHA256 };

/* Name as clients spell it (hmacmd5, hmacSha1, ...), letters compared without case. 0 or CW_EINVAL. */
int cw_cloud_hmac_parse(const char *name, size_t len, enum cloud_hmac *ret_method);

/* HMAC(key, text) as lower-case hex with a final NUL. Returns the number of digits. */
size_t cw_cloud_hmac_hex(enum cloud_hmac method, const char *key, const char *text, size_t len, char out[65]);

/* 1 when `given` is the HMAC of text in hex, upper or lower case; takes the same time for every wrong digit. */
int cw_cloud_hmac_matches(enum cloud_hmac method, const char *key, const char *text, size_t len, const char *given,
                          size_t given_len);

#endif
