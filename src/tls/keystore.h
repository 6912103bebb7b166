/*
 * keystore.h - inside of module tls: certificate and key out of a PKCS#12 key store, as Java's keytool writes them.
 * mbedTLS cannot read one; OpenSSL can. Any thread.
 */
#ifndef CW_TLS_KEYSTORE_H
#define CW_TLS_KEYSTORE_H

#include "base/err.h"

/* PEM texts with their NULs; owned, cw_keystore_drop(). */
struct cw_keystore {
	char *chain, *key;
};

/* `password` NULL: empty. 0; CW_ECONF with a sentence that names the file and, for JKS, the command that converts it. */
int cw_keystore_read(const char *file, const char *password, struct cw_keystore *ret, struct cw_msg *msg);
void cw_keystore_drop(struct cw_keystore *k);

#endif
