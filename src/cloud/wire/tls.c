/* tls.c - see tls.h. */
#include "cloud/wire/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct cloud_tls {
	SSL_CTX *ctx;
	char *ca;
	char *made_dir; /* to be removed */
	cloud_tls_psk_fn psk;
	void *psk_arg;
	X509_STORE *clients; /* empty until a client sends a certificate */
	int clients_known;
	cloud_tls_authority_fn authority;
	void *authority_arg;
};

struct cloud_tls_conn {
	SSL *ssl;
	BIO *in, *out; /* owned by ssl */
	const char *alpn;
};

/* Suites with forward secrecy first; then what old device SDKs offer: RSA key exchange with AES-CBC, and PSK. */
#define SUITES "ECDHE+AESGCM:ECDHE+AES:AES128-SHA:AES256-SHA:AES128-SHA256:AES256-SHA256:PSK-AES128-CBC-SHA"

static int ssl_fail(struct cw_msg *msg, const char *what, const char *path)
{
	char text[256];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	return cw_fail(msg, CW_ECONF, "%s%s%s: %s", what, path[0] != '\0' ? " " : "", path, text);
}

/* ---- certificates made at the start ---- */

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (ext == NULL)
		return 0;
	ok = X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

/* A certificate for ten years; issuer NULL: signed by itself, an authority. */
static X509 *make_cert(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	X509_NAME *subject;
	int ok;

	if (cert == NULL)
		return NULL;
	subject = X509_get_subject_name(cert);
	ok = X509_set_version(cert, 2) && ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer != NULL ? 2 : 1) &&
	     X509_gmtime_adj(X509_getm_notBefore(cert), -86400) != NULL &&
	     X509_gmtime_adj(X509_getm_notAfter(cert), 10L * 365 * 86400) != NULL && X509_set_pubkey(cert, key) &&
	     X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) &&
	     X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : subject);
	if (ok && issuer == NULL)
		ok = add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE") &&
		     add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		     add_extension(cert, cert, NID_subject_key_identifier, "hash");
	else if (ok)
		ok = add_extension(cert, issuer, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1") &&
		     add_extension(cert, issuer, NID_ext_key_usage, "serverAuth");
	if (!ok || X509_sign(cert, issuer != NULL ? issuer_key : key, EVP_sha256()) == 0) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

static FILE *create(const char *dir, const char *name, mode_t mode)
{
	char path[PATH_MAX + 16];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	return fd >= 0 ? fdopen(fd, "w") : NULL;
}

static int save(const char *dir, X509 *ca, X509 *cert, EVP_PKEY *key)
{
	FILE *ca_file = create(dir, "ca.pem", 0644), *cert_file = create(dir, "server.pem", 0644);
	FILE *key_file = create(dir, "server.key", 0600);
	int ok = ca_file != NULL && cert_file != NULL && key_file != NULL && PEM_write_X509(ca_file, ca) &&
		 PEM_write_X509(cert_file, cert) && PEM_write_PrivateKey(key_file, key, NULL, NULL, 0, NULL, NULL);

	/* Written is what fclose() says was written. */
	ok = (ca_file == NULL || fclose(ca_file) == 0) && ok;
	ok = (cert_file == NULL || fclose(cert_file) == 0) && ok;
	ok = (key_file == NULL || fclose(key_file) == 0) && ok;
	return ok;
}

/* The authority's key is forgotten: nothing else will ever be signed by it. */
static int make_files(const char *dir, struct cw_msg *msg)
{
	EVP_PKEY *ca_key = EVP_RSA_gen(2048), *key = EVP_RSA_gen(2048);
	X509 *ca = ca_key != NULL ? make_cert(ca_key, "Causeway emulator CA", NULL, NULL) : NULL;
	X509 *cert = ca != NULL && key != NULL ? make_cert(key, "localhost", ca, ca_key) : NULL;
	int rc = 0;

	if (cert == NULL)
		rc = ssl_fail(msg, "cannot make a certificate", "");
	else if (!save(dir, ca, cert, key))
		rc = cw_fail(msg, CW_EIO, "cannot write certificates to '%s': %s", dir, strerror(errno));
	X509_free(cert);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	return rc;
}

static int exists(const char *dir, const char *name)
{
	char path[PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, R_OK) == 0;
}

static int choose_dir(struct cloud_tls *t, const struct cloud_tls_conf *conf, char out[PATH_MAX], struct cw_msg *msg)
{
	if (conf->dir != NULL) {
		if (mkdir(conf->dir, 0700) < 0 && errno != EEXIST)
			return cw_fail(msg, cw_err_from_errno(errno), "cannot make '%s': %s", conf->dir,
				       strerror(errno));
		(void)snprintf(out, PATH_MAX, "%s", conf->dir);
		return 0;
	}
	(void)snprintf(out, PATH_MAX, "/tmp/causeway-cloud-XXXXXX");
	if (mkdtemp(out) == NULL)
		return cw_fail(msg, cw_err_from_errno(errno), "cannot make a directory under /tmp: %s",
			       strerror(errno));
	t->made_dir = cw_strdup(out);
	return t->made_dir != NULL ? 0 : cw_fail(msg, CW_ENOMEM, "out of memory");
}

static int load(struct cloud_tls *t, const char *cert, const char *key, struct cw_msg *msg)
{
	if (SSL_CTX_use_certificate_chain_file(t->ctx, cert) != 1)
		return ssl_fail(msg, "tls.certificate: cannot use", cert);
	if (SSL_CTX_use_PrivateKey_file(t->ctx, key, SSL_FILETYPE_PEM) != 1)
		return ssl_fail(msg, "tls.key: cannot use", key);
	return 0;
}

static int load_or_make(struct cloud_tls *t, const struct cloud_tls_conf *conf, struct cw_msg *msg)
{
	char dir[PATH_MAX], cert[PATH_MAX + 16], key[PATH_MAX + 16], ca[PATH_MAX + 16];
	int rc;

	if ((conf->certificate == NULL) != (conf->key == NULL))
		return cw_fail(msg, CW_ECONF, "tls: certificate and key belong together, one of them is missing");
	if (conf->certificate != NULL) {
		if (conf->ca != NULL && (t->ca = cw_strdup(conf->ca)) == NULL)
			return cw_fail(msg, CW_ENOMEM, "out of memory");
		return load(t, conf->certificate, conf->key, msg);
	}
	rc = choose_dir(t, conf, dir, msg);
	if (rc == 0 && !(exists(dir, "ca.pem") && exists(dir, "server.pem") && exists(dir, "server.key")))
		rc = make_files(dir, msg);
	if (rc < 0)
		return rc;
	(void)snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	(void)snprintf(cert, sizeof(cert), "%s/server.pem", dir);
	(void)snprintf(key, sizeof(key), "%s/server.key", dir);
	t->ca = cw_strdup(ca);
	return t->ca != NULL ? load(t, cert, key, msg) : cw_fail(msg, CW_ENOMEM, "out of memory");
}

static unsigned on_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned max)
{
	struct cloud_tls *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	return t->psk != NULL && identity != NULL ? t->psk(t->psk_arg, identity, psk, max) : 0;
}

/* Making the authority takes a while, so it is fetched only when somebody needs it. */
static void fetch_authority(struct cloud_tls *t)
{
	const char *pem = t->authority != NULL ? t->authority(t->authority_arg) : NULL;
	BIO *bio = pem != NULL ? BIO_new_mem_buf(pem, -1) : NULL;
	X509 *ca = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	t->clients_known = ca != NULL && X509_STORE_add_cert(t->clients, ca) == 1;
	X509_free(ca);
	BIO_free(bio);
}

static int on_verify(X509_STORE_CTX *x, void *arg)
{
	struct cloud_tls *t = arg;

	if (!t->clients_known)
		fetch_authority(t);
	return X509_verify_cert(x);
}

/* A session that is resumed keeps the certificate it began with, and must not travel to another server. */
static int set_up_clients(struct cloud_tls *t)
{
	static const unsigned char context[] = "causeway-cloud";

	t->clients = X509_STORE_new();
	if (t->clients == NULL || SSL_CTX_set1_verify_cert_store(t->ctx, t->clients) != 1 ||
	    SSL_CTX_set_session_id_context(t->ctx, context, sizeof(context) - 1) != 1)
		return CW_ENOMEM;
	SSL_CTX_set_cert_verify_callback(t->ctx, on_verify, t);
	return 0;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
                   void *arg)
{
	const struct cloud_tls_conn *c = SSL_get_app_data(ssl);
	unsigned at;

	if (c->alpn == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	for (at = 0; at < in_len; at += 1u + in[at]) { /* OpenSSL has checked the list's form */
		if (in[at] == strlen(c->alpn) && memcmp(in + at + 1, c->alpn, in[at]) == 0) {
			*out = in + at + 1;
			*out_len = in[at];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int cw_cloud_tls_new(const struct cloud_tls_conf *conf, struct cloud_tls **ret_tls, struct cw_msg *msg)
{
	struct cloud_tls *t = cw_zalloc(sizeof(*t));
	int rc;

	if (t == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	t->ctx = SSL_CTX_new(TLS_server_method());
	if (t->ctx == NULL || SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(t->ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(t->ctx, SUITES) != 1 ||
	    set_up_clients(t) < 0) {
		rc = ssl_fail(msg, "cannot set up TLS", "");
		goto err_tls;
	}
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_app_data(t->ctx, t);
	SSL_CTX_set_psk_server_callback(t->ctx, on_psk);
	SSL_CTX_set_alpn_select_cb(t->ctx, on_alpn, NULL);
	rc = load_or_make(t, conf, msg);
	if (rc < 0)
		goto err_tls;
	*ret_tls = t;
	return 0;
err_tls:
	cw_cloud_tls_free(t);
	return rc;
}

void cw_cloud_tls_free(struct cloud_tls *t)
{
	static const char *const files[] = { "ca.pem", "server.pem", "server.key" };
	char path[PATH_MAX + 16];
	size_t i;

	if (t == NULL)
		return;
	for (i = 0; t->made_dir != NULL && i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", t->made_dir, files[i]);
		(void)unlink(path);
	}
	if (t->made_dir != NULL)
		(void)rmdir(t->made_dir);
	SSL_CTX_free(t->ctx);
	X509_STORE_free(t->clients);
	cw_free(t->made_dir);
	cw_free(t->ca);
	cw_free(t);
}

const char *cw_cloud_tls_ca(const struct cloud_tls *t)
{
	return t->ca;
}

static char *text_of(BIO *bio)
{
	char *data = NULL, *text;
	long len = BIO_get_mem_data(bio, &data);

	text = len > 0 ? cw_alloc((size_t)len + 1) : NULL;
	if (text != NULL) {
		memcpy(text, data, (size_t)len);
		text[len] = '\0';
	}
	return text;
}

int cw_cloud_tls_pem(const struct cloud_tls *t, char **ret_certificate, char **ret_key)
{
	BIO *certs = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_secmem());
	STACK_OF(X509) *chain = NULL;
	int ok = certs != NULL && key != NULL && PEM_write_bio_X509(certs, SSL_CTX_get0_certificate(t->ctx)) &&
		 PEM_write_bio_PrivateKey(key, SSL_CTX_get0_privatekey(t->ctx), NULL, NULL, 0, NULL, NULL) &&
		 SSL_CTX_get0_chain_certs(t->ctx, &chain);
	int i;

	for (i = 0; ok && i < sk_X509_num(chain); i++)
		ok = PEM_write_bio_X509(certs, sk_X509_value(chain, i));
	*ret_certificate = ok ? text_of(certs) : NULL;
	*ret_key = ok ? text_of(key) : NULL;
	BIO_free(certs);
	BIO_free(key);
	if (*ret_certificate != NULL && *ret_key != NULL)
		return 0;
	cw_cloud_tls_pem_free(*ret_certificate, *ret_key);
	*ret_certificate = *ret_key = NULL;
	return CW_ENOMEM;
}

void cw_cloud_tls_pem_free(char *certificate, char *key)
{
	if (key != NULL)
		OPENSSL_cleanse(key, strlen(key));
	cw_free(certificate);
	cw_free(key);
}

void cw_cloud_tls_set_psk(struct cloud_tls *t, cloud_tls_psk_fn find, void *arg)
{
	t->psk = find;
	t->psk_arg = arg;
}

void cw_cloud_tls_set_authority(struct cloud_tls *t, cloud_tls_authority_fn fetch, void *arg)
{
	t->authority = fetch;
	t->authority_arg = arg;
}

/* ---- one connection ---- */

int cw_cloud_tls_conn_new(struct cloud_tls *t, const char *alpn, struct cloud_tls_conn **ret_conn)
{
	struct cloud_tls_conn *c = cw_zalloc(sizeof(*c));

	if (c == NULL)
		return CW_ENOMEM;
	c->ssl = SSL_new(t->ctx);
	c->in = BIO_new(BIO_s_mem());
	c->out = BIO_new(BIO_s_mem());
	if (c->ssl == NULL || c->in == NULL || c->out == NULL) {
		BIO_free(c->in);
		BIO_free(c->out);
		SSL_free(c->ssl);
		cw_free(c);
		return CW_ENOMEM;
	}
	c->alpn = alpn;
	SSL_set_app_data(c->ssl, c);
	SSL_set_bio(c->ssl, c->in, c->out);
	SSL_set_accept_state(c->ssl);
	*ret_conn = c;
	return 0;
}

void cw_cloud_tls_conn_free(struct cloud_tls_conn *c)
{
	if (c == NULL)
		return;
	SSL_free(c->ssl);
	cw_free(c);
}

void cw_cloud_tls_ask(struct cloud_tls_conn *c)
{
	SSL_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
}

int cw_cloud_tls_fingerprint(const struct cloud_tls_conn *c, uint8_t out[32])
{
	const X509 *cert = SSL_get0_peer_certificate(c->ssl);

	return cert != NULL && X509_digest(cert, EVP_sha256(), out, NULL) == 1;
}

const char *cw_cloud_tls_why(const struct cloud_tls_conn *c)
{
	return SSL_get_verify_result(c->ssl) == X509_V_OK ? "TLS failed" : "the client's certificate is not of the emulator's authority";
}

int cw_cloud_tls_feed(struct cloud_tls_conn *c, const void *data, size_t len)
{
	return BIO_write(c->in, data, (int)len) == (int)len ? 0 : CW_EPROTO;
}

int cw_cloud_tls_read(struct cloud_tls_conn *c, void *out, size_t size)
{
	int n, why;

	ERR_clear_error();
	n = SSL_read(c->ssl, out, (int)size);
	if (n > 0)
		return n;
	why = SSL_get_error(c->ssl, n);
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return 0;
	return why == SSL_ERROR_ZERO_RETURN ? CW_ECLOSED : CW_EPROTO;
}

int cw_cloud_tls_flush(struct cloud_tls_conn *c, struct cloud_bytes *plain, struct cloud_bytes *wire)
{
	size_t pending;

	ERR_clear_error();
	if (plain->len != 0 && SSL_is_init_finished(c->ssl)) {
		if (SSL_write(c->ssl, plain->data, (int)plain->len) != (int)plain->len)
			return CW_EPROTO;
		cw_cloud_bytes_reset(plain);
	}
	pending = BIO_ctrl_pending(c->out);
	if (pending != 0) {
		uint8_t *at = cw_cloud_bytes_want(wire, pending);

		if (at == NULL || BIO_read(c->out, at, (int)pending) != (int)pending)
			return CW_ENOMEM;
		wire->len += pending;
	}
	return 0;
}
