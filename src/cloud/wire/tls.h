/*
 * tls.h - TLS 1.2 for the emulator's listeners, over memory: bytes of the wire in, bytes of the wire out.
 *
 * Certificates come from files, or are made at the start: an authority of our own and a server
 * certificate for localhost, 127.0.0.1 and ::1. One thread.
 */
#ifndef CW_CLOUD_TLS_H
#define CW_CLOUD_TLS_H

#include <stddef.h>

#include "base/err.h"
#include "cloud/wire/bytes.h"

struct cloud_tls;
struct cloud_tls_conn;

struct cloud_tls_conf {
	const char *certificate, *key; /* both or none */
	const char *ca;                /* beside a certificate: shown to people as what to trust */
	const char *dir; /* where made certificates are kept and found again; NULL: a new directory under /tmp */
};

/* 0 or an error with a sentence. */
int cw_cloud_tls_new(const struct cloud_tls_conf *conf, struct cloud_tls **ret_tls, struct cw_msg *msg);
/* Removes what was made under /tmp. */
void cw_cloud_tls_free(struct cloud_tls *t);
/* Path of the authority's certificate, or NULL when files were given without one. */
const char *cw_cloud_tls_ca(const struct cloud_tls *t);

/* Certificate with its chain, and private key, as PEM texts for a library that wants them so. 0 or CW_ENOMEM. */
int cw_cloud_tls_pem(const struct cloud_tls *t, char **ret_certificate, char **ret_key);
/* Both; the key's bytes are wiped. NULL is fine. */
void cw_cloud_tls_pem_free(char *certificate, char *key);

/* The key of a pre-shared identity, filled into out[psk_max]: its length, 0 when unknown. */
typedef unsigned (*cloud_tls_psk_fn)(void *arg, const char *identity, unsigned char *out, unsigned psk_max);
void cw_cloud_tls_set_psk(struct cloud_tls *t, cloud_tls_psk_fn find, void *arg);

/*
 * Certificates of clients must chain to this authority: PEM, fetched when the first of them comes (NULL: none is
 * good). Without a call nobody's is.
 */
typedef const char *(*cloud_tls_authority_fn)(void *arg);
void cw_cloud_tls_set_authority(struct cloud_tls *t, cloud_tls_authority_fn fetch, void *arg);

/*
 * `alpn` (static text or NULL): the protocol of the port. A client that offers others only is refused, one that offers none
 * goes on; NULL: what it offers is not looked at.
 */
int cw_cloud_tls_conn_new(struct cloud_tls *t, const char *alpn, struct cloud_tls_conn **ret_conn);
void cw_cloud_tls_conn_free(struct cloud_tls_conn *c);
/* Before the first byte: ask for a certificate. A client without one is as welcome. */
void cw_cloud_tls_ask(struct cloud_tls_conn *c);
/* SHA-256 of the client's certificate, whose key it has proved to own. 1, or 0: it sent none. */
int cw_cloud_tls_fingerprint(const struct cloud_tls_conn *c, uint8_t out[32]);
/* Static text for people after CW_EPROTO. */
const char *cw_cloud_tls_why(const struct cloud_tls_conn *c);
/* Bytes read from the wire. 0 or CW_EPROTO. */
int cw_cloud_tls_feed(struct cloud_tls_conn *c, const void *data, size_t len);
/* Plain bytes: their number, 0 when there are none now, CW_ECLOSED, CW_EPROTO. */
int cw_cloud_tls_read(struct cloud_tls_conn *c, void *out, size_t size);
/* Encrypt all of `plain` (emptied) once the handshake is over, and append what the wire must carry to `wire`. */
int cw_cloud_tls_flush(struct cloud_tls_conn *c, struct cloud_bytes *plain, struct cloud_bytes *wire);

#endif
