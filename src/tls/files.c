/* files.c - can the files of a tls { } be used? For those of our libraries that say so only when they connect. */
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tls/tls.h"

/* Without this OpenSSL would ask on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return 0;
}

static int check(SSL_CTX *ctx, const char *ca, const char *certificate, const char *key, struct cw_msg *msg)
{
	if (ca != NULL && SSL_CTX_load_verify_file(ctx, ca) != 1)
		return cw_fail(msg, CW_ECONF, "ca: %s cannot be read, or has no certificate (PEM) in it", ca);
	if (certificate != NULL && SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
		return cw_fail(msg, CW_ECONF, "certificate: %s cannot be read, or has no certificate (PEM) in it", certificate);
	if (key != NULL && SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return cw_fail(msg, CW_ECONF, "key: %s cannot be read, or is no key (PEM, without a password) of the certificate", key);
	return 0;
}

int cw_tls_check_files(const char *ca, const char *certificate, const char *key, struct cw_msg *msg)
{
	SSL_CTX *ctx;
	int rc;

	if (ca == NULL && certificate == NULL && key == NULL)
		return 0;
	ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	rc = check(ctx, ca, certificate, key, msg);
	SSL_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}
