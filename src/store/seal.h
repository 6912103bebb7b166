/*
 * seal.h - secrets at rest: AES-256-GCM with the key of a file (identity.keyFile).
 *
 * A sealed text is version (1), nonce (12, random), ciphertext, tag (16). What it belongs to (a row's
 * id) goes in as associated data, so that one row's secret does not open in another.
 * Any thread; one seal may be used by several.
 */
#ifndef CW_STORE_SEAL_H
#define CW_STORE_SEAL_H

#include "base/err.h"
#include "causeway/bytes.h"

#define CW_SEAL_EXTRA 29u /* bytes that sealing adds */

struct cw_seal;

/*
 * Read the key: 64 hexadecimal digits in `path`, mode 0600. With `make` a file that is not there is made, with
 * a random key, on disk before it is used. A file that others may read is refused. Errors carry a sentence.
 */
int cw_seal_open(const char *path, int make, struct cw_seal **ret_seal, struct cw_msg *msg);
/* Wipes the key; accepts NULL. */
void cw_seal_close(struct cw_seal *s);

/* plain -> *ret_sealed (cw_free), plain.len + CW_SEAL_EXTRA bytes. 0, CW_ENOMEM, CW_EINTERNAL (no random bytes). */
int cw_seal_bytes(const struct cw_seal *s, struct cw_bytes plain, struct cw_bytes belongs_to, uint8_t **ret_sealed,
		  size_t *ret_len);
/*
 * The reverse; *ret_plain is NUL-terminated (not counted), cw_free after explicit_bzero. CW_EAUTH: another key, another owner,
 * or damaged; CW_EPROTO: no sealed text of a version known here.
 */
int cw_unseal_bytes(const struct cw_seal *s, struct cw_bytes sealed, struct cw_bytes belongs_to, char **ret_plain,
		    size_t *ret_len);

#endif
