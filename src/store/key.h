/*
 * key.h - the key that secrets on disk are encrypted with: a file of its own, AES-256-GCM.
 *
 * The file holds one line: "causeway-key 1 ID KEY" in hexadecimal. The ID tells which key
 * something was encrypted with, without saying anything about the key. Any thread.
 */
#ifndef CW_STORE_KEY_H
#define CW_STORE_KEY_H

#include <stdint.h>

#include "base/err.h"
#include "causeway/bytes.h"

#define CW_KEY_ID 17      /* 16 digits and NUL */
#define CW_SEAL_EXTRA 28u /* nonce and tag: what sealed bytes are longer than plain ones */

struct cw_key {
	uint8_t bytes[32];
	char id[CW_KEY_ID];
};

/* CW_ENOENT (without a sentence) when there is no such file. */
int cw_key_load(const char *path, struct cw_key *ret_key, struct cw_msg *msg);
/* Make a random key and write it to `path`, mode 0600, whole or not at all. */
int cw_key_make(const char *path, struct cw_key *ret_key, struct cw_msg *msg);
/* out[plain.len + CW_SEAL_EXTRA]; the nonce is random. `with` must be the same when it is opened. */
int cw_key_seal(const struct cw_key *key, struct cw_bytes with, struct cw_bytes plain, uint8_t *out);
/* out[sealed.len - CW_SEAL_EXTRA]; CW_EAUTH: another key, another `with`, or damaged. */
int cw_key_open(const struct cw_key *key, struct cw_bytes with, struct cw_bytes sealed, uint8_t *out);
void cw_key_wipe(struct cw_key *key);

#endif
