/* keystore.c - see keystore.h. */
#include "tls/keystore.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define STORE_MOST (1 << 20)

/* Old key stores are encrypted with RC2 and 3DES, which live in a provider of their own. */
struct library {
	OSSL_LIB_CTX *ctx;
	OSSL_PROVIDER *usual, *legacy;
};

static int open_library(struct library *l)
{
	l->ctx = OSSL_LIB_CTX_new();
	if (l->ctx == NULL)
		return CW_ENOMEM;
	l->usual = OSSL_PROVIDER_load(l->ctx, "default");
	l->legacy = OSSL_PROVIDER_load(l->ctx, "legacy"); /* may be missing: then only new ones are read */
	return 0;
}

static void close_library(struct library *l)
{
	if (l->legacy != NULL)
		OSSL_PROVIDER_unload(l->legacy);
	if (l->usual != NULL)
		OSSL_PROVIDER_unload(l->usual);
	OSSL_LIB_CTX_free(l->ctx);
	ERR_clear_error(); /* nobody else shall find our errors */
}

static int refuse_jks(const char *file, struct cw_msg *msg)
{
	return cw_fail(msg, CW_ECONF, "%s is a JKS key store; make a PKCS#12 one of it: keytool -importkeystore -srckeystore %s "
	                              "-destkeystore %s.p12 -deststoretype PKCS12", file, file, file);
}

static int read_store(struct library *l, const char *file, PKCS12 **ret, struct cw_msg *msg)
{
	static const unsigned char jks[] = { 0xfe, 0xed, 0xfe, 0xed }, jceks[] = { 0xce, 0xce, 0xce, 0xce };
	BIO *in = BIO_new_file(file, "rb");
	PKCS12 *p12 = PKCS12_init_ex(NID_pkcs7_data, l->ctx, NULL);
	unsigned char head[4];

	if (in == NULL || p12 == NULL) {
		BIO_free(in);
		PKCS12_free(p12);
		return cw_fail(msg, CW_ECONF, "key store %s cannot be read", file);
	}
	if (BIO_read(in, head, sizeof(head)) == (int)sizeof(head) &&
	    (memcmp(head, jks, sizeof(head)) == 0 || memcmp(head, jceks, sizeof(head)) == 0)) {
		BIO_free(in);
		PKCS12_free(p12);
		return refuse_jks(file, msg);
	}
	(void)BIO_seek(in, 0);
	if (d2i_PKCS12_bio(in, &p12) == NULL) {
		BIO_free(in);
		PKCS12_free(p12);
		return cw_fail(msg, CW_ECONF, "%s is not a PKCS#12 key store", file);
	}
	BIO_free(in);
	*ret = p12;
	return 0;
}

static char *text_of(BIO *out)
{
	char *bytes, *text;
	long n = BIO_get_mem_data(out, &bytes);

	text = n > 0 && n < STORE_MOST ? cw_strndup(bytes, (size_t)n) : NULL;
	if (n > 0)
		explicit_bzero(bytes, (size_t)n);
	return text;
}

static int to_pem(X509 *cert, STACK_OF(X509) *more, EVP_PKEY *key, struct cw_keystore *ret)
{
	BIO *chain = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
	int i, ok = chain != NULL && secret != NULL && PEM_write_bio_X509(chain, cert);

	for (i = 0; ok && i < sk_X509_num(more); i++)
		ok = PEM_write_bio_X509(chain, sk_X509_value(more, i));
	ok = ok && PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL);
	if (ok) {
		ret->chain = text_of(chain);
		ret->key = text_of(secret);
	}
	BIO_free(chain);
	BIO_free(secret);
	return ret->chain != NULL && ret->key != NULL ? 0 : CW_ENOMEM;
}

static int parse(PKCS12 *p12, const char *file, const char *password, struct cw_keystore *ret, struct cw_msg *msg)
{
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	STACK_OF(X509) *more = NULL;
	int rc;

	if (!PKCS12_parse(p12, password == NULL ? "" : password, &key, &cert, &more))
		return cw_fail(msg, CW_ECONF, "key store %s cannot be opened: the password is wrong, or its encryption is not known", file);
	if (key == NULL || cert == NULL)
		rc = cw_fail(msg, CW_ECONF, "key store %s holds no private key with its certificate", file);
	else if ((rc = to_pem(cert, more, key, ret)) < 0)
		rc = cw_fail(msg, rc, "key store %s: out of memory", file);
	EVP_PKEY_free(key);
	X509_free(cert);
	sk_X509_pop_free(more, X509_free);
	return rc;
}

int cw_keystore_read(const char *file, const char *password, struct cw_keystore *ret, struct cw_msg *msg)
{
	struct library l = { 0 };
	PKCS12 *p12 = NULL;
	int rc = open_library(&l);

	memset(ret, 0, sizeof(*ret));
	if (rc < 0)
		return cw_fail(msg, rc, "out of memory");
	rc = read_store(&l, file, &p12, msg);
	if (rc == 0) {
		rc = parse(p12, file, password, ret, msg);
		PKCS12_free(p12);
	}
	close_library(&l);
	if (rc < 0)
		cw_keystore_drop(ret);
	return rc;
}

void cw_keystore_drop(struct cw_keystore *k)
{
	if (k->key != NULL)
		explicit_bzero(k->key, strlen(k->key));
	cw_free(k->key);
	cw_free(k->chain);
	memset(k, 0, sizeof(*k));
}
