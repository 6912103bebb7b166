/*
 * tls.h - TLS 1.2 over byte pipes: mbedTLS contexts and sessions without a socket.
 *
 * A cw_tls_ctx is what sessions share (certificate, key, authorities). It belongs to
 * one thread at a time, for mbedTLS caches curve tables in the key: who has N
 * loops makes N contexts. It must outlive its sessions. Reloading means making a new
 * one for new sessions.
 *
 * A cw_tls is one connection: cipher bytes in by cw_tls_feed(), cipher bytes out by
 * ops.out, plain bytes in by cw_tls_send(), plain bytes out by ops.plain. Both
 * callbacks run inside those calls only, and must not free the cw_tls.
 */
#ifndef CW_TLS_TLS_H
#define CW_TLS_TLS_H

#include <stddef.h>

#include "base/err.h"
#include "causeway/bytes.h"

enum cw_tls_verify { CW_TLS_VERIFY_NONE, CW_TLS_VERIFY_OPTIONAL, CW_TLS_VERIFY_REQUIRED };

struct cw_tls_conf {
	const char *certificate, *key; /* PEM files; a client may have none */
	const char *key_store, *key_password; /* instead: a PKCS#12 key store with both, and its password (NULL: empty) */
	const char *ca;                /* PEM file: who signs the other side's certificate. NULL: a client that verifies trusts
					  the system's authorities */
	enum cw_tls_verify verify;     /* OPTIONAL: the other side may have none, a bad one is refused */
	const char *const *alpn;       /* NULL, or protocols ending with NULL; lent as long as the context lives */
};

struct cw_tls_ctx;
struct cw_tls;

/* 0; CW_ECONF with a sentence that names the file; CW_ENOMEM. */
int cw_tls_server_new(const struct cw_tls_conf *conf, struct cw_msg *msg, struct cw_tls_ctx **ret_ctx);
int cw_tls_client_new(const struct cw_tls_conf *conf, struct cw_msg *msg, struct cw_tls_ctx **ret_ctx);
void cw_tls_ctx_free(struct cw_tls_ctx *ctx);
/* PEM files of a client, each may be NULL: are they there, and does the key belong to the certificate? With OpenSSL, for the
 * libraries that use it. 0 or CW_ECONF with a sentence that begins with the one's name: ca, certificate or key. */
int cw_tls_check_files(const char *ca, const char *certificate, const char *key, struct cw_msg *msg);

struct cw_tls_ops {
	/* Send these, all of them; lent. An error ends the connection and is returned by the call under way. */
	int (*out)(void *arg, struct cw_bytes cipher);
	/* Decrypted bytes, lent. Anything but 0 drops the rest of the input and is returned by cw_tls_feed(). */
	int (*plain)(void *arg, struct cw_bytes plain);
};

/* `host` (client only, may be NULL) is sent as SNI, unless it is an address, and must be in the server's certificate. */
int cw_tls_new(struct cw_tls_ctx *ctx, const char *host, const struct cw_tls_ops *ops, void *arg, struct cw_tls **ret_tls);
void cw_tls_free(struct cw_tls *t);

/* Client: send the first flight. 0 or an error. */
int cw_tls_start(struct cw_tls *t);
/*
 * Take cipher bytes of the peer, all of them. 0; CW_ECLOSED: the peer ended TLS in order; CW_EAUTH: a certificate was
 * refused; CW_EPROTO: anything else that is not TLS as we want it; or what a callback returned.
 */
int cw_tls_feed(struct cw_tls *t, struct cw_bytes cipher);
/* 1 when the handshake is done. */
int cw_tls_up(const struct cw_tls *t);
/* 0, CW_EBUSY before the handshake is done, or an error that ends the connection. */
int cw_tls_send(struct cw_tls *t, struct cw_bytes plain);
/* Say goodbye (close_notify); nothing may be sent after it. */
void cw_tls_goodbye(struct cw_tls *t);

/* Why the last call failed, for a person; never NULL, lent until the next call. */
const char *cw_tls_reason(const struct cw_tls *t);
/* Subject of the peer's certificate; NULL when it sent none. Returns `out`. */
const char *cw_tls_peer_subject(const struct cw_tls *t, char *out, size_t size);
/* The protocol agreed by ALPN, or NULL. */
const char *cw_tls_alpn(const struct cw_tls *t);

#endif
