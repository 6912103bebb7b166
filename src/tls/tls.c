/*
 * tls.c - see tls.h. mbedTLS asks for bytes by a callback and says "want read" when
 * there are none; here the callback reads from what cw_tls_feed() was lent.
 */
#include "tls/tls.h"

#include <arpa/inet.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "tls/keystore.h"

#define SAN_ADDRESS 0x87 /* tag of an address among a certificate's alternative names */

struct cw_tls_ctx {
	mbedtls_ssl_config conf;
	mbedtls_x509_crt chain, ca;
	mbedtls_pk_context key;
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
	int verify;
};

struct cw_tls {
	mbedtls_ssl_context ssl;
	const struct cw_tls_ops *ops;
	void *arg;
	struct cw_bytes in; /* lent by the cw_tls_feed() under way */
	int rc;             /* what ops.out returned when it failed; it ends the connection */
	int up, said_goodbye;
	uint8_t address[16]; /* of the server, when it was named by its address */
	size_t address_len;
	int check_address;
	char reason[160];
};

/* ---- contexts ------------------------------------------------------------------ */

void cw_tls_ctx_free(struct cw_tls_ctx *ctx)
{
	if (ctx == NULL)
		return;
	mbedtls_ssl_config_free(&ctx->conf);
	mbedtls_x509_crt_free(&ctx->chain);
	mbedtls_x509_crt_free(&ctx->ca);
	mbedtls_pk_free(&ctx->key);
	mbedtls_ctr_drbg_free(&ctx->random);
	mbedtls_entropy_free(&ctx->entropy);
	cw_free(ctx);
}

static int fail_file(struct cw_msg *msg, const char *what, const char *file, int err)
{
	char text[100];

	mbedtls_strerror(err, text, sizeof(text));
	return cw_fail(msg, CW_ECONF, "%s %s cannot be read: %s", what, file, text);
}

/* mbedTLS asks for the length of a directory, gets the largest number there is, and wants as much memory. */
static int refuse_directory(struct cw_msg *msg, const char *what, const char *file)
{
	struct stat st;

	if (stat(file, &st) != 0 || !S_ISDIR(st.st_mode))
		return 0;
	return cw_fail(msg, CW_ECONF, "%s %s cannot be read: it is a directory", what, file);
}

static int load_certificates(mbedtls_x509_crt *crt, const char *what, const char *file, struct cw_msg *msg)
{
	int err = refuse_directory(msg, what, file);

	if (err < 0)
		return err;
	err = mbedtls_x509_crt_parse_file(crt, file);
	if (err < 0)
		return fail_file(msg, what, file, err);
	if (err > 0)
		return cw_fail(msg, CW_ECONF, "%s %s holds %d certificates that cannot be read", what, file, err);
	return 0;
}

static int load_store(struct cw_tls_ctx *ctx, const struct cw_tls_conf *conf, struct cw_msg *msg)
{
	struct cw_keystore store;
	int rc = cw_keystore_read(conf->key_store, conf->key_password, &store, msg);

	if (rc < 0)
		return rc;
	if (mbedtls_x509_crt_parse(&ctx->chain, (const unsigned char *)store.chain, strlen(store.chain) + 1) != 0 ||
	    mbedtls_pk_parse_key(&ctx->key, (const unsigned char *)store.key, strlen(store.key) + 1, NULL, 0) != 0)
		rc = cw_fail(msg, CW_ECONF, "key store %s holds a certificate or key of a kind that is not supported", conf->key_store);
	cw_keystore_drop(&store);
	return rc;
}

static int load_files(struct cw_tls_ctx *ctx, const struct cw_tls_conf *conf, struct cw_msg *msg)
{
	int err, rc;

	rc = load_certificates(&ctx->chain, "certificate", conf->certificate, msg);
	if (rc == 0)
		rc = refuse_directory(msg, "key", conf->key);
	if (rc < 0)
		return rc;
	err = mbedtls_pk_parse_keyfile(&ctx->key, conf->key, NULL);
	if (err < 0)
		return fail_file(msg, "key", conf->key, err);
	if (mbedtls_pk_check_pair(&ctx->chain.pk, &ctx->key) != 0)
		return cw_fail(msg, CW_ECONF, "key %s does not belong to certificate %s", conf->key, conf->certificate);
	return 0;
}

static int load_own(struct cw_tls_ctx *ctx, const struct cw_tls_conf *conf, struct cw_msg *msg)
{
	int rc = conf->key_store != NULL ? load_store(ctx, conf, msg) : load_files(ctx, conf, msg);

	if (rc < 0)
		return rc;
	if (mbedtls_ssl_conf_own_cert(&ctx->conf, &ctx->chain, &ctx->key) != 0)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	return 0;
}

static int load_authorities(struct cw_tls_ctx *ctx, const struct cw_tls_conf *conf, int endpoint, struct cw_msg *msg)
{
	int rc = 0;

	if (conf->ca != NULL)
		rc = load_certificates(&ctx->ca, "authority", conf->ca, msg);
	else if (conf->verify == CW_TLS_VERIFY_NONE || endpoint == MBEDTLS_SSL_IS_SERVER)
		return 0;
	else if (mbedtls_x509_crt_parse_file(&ctx->ca, cw_file_authorities()) < 0 || ctx->ca.raw.p == NULL)
		return cw_fail(msg, CW_ECONF,
			       "no authority to trust: ca is not given, and the system's (%s) cannot be read; install ca-certificates",
			       cw_file_authorities());
	mbedtls_ssl_conf_ca_chain(&ctx->conf, &ctx->ca, NULL);
	return rc;
}

static int load(struct cw_tls_ctx *ctx, const struct cw_tls_conf *conf, int endpoint, struct cw_msg *msg)
{
	static const int modes[] = {
		[CW_TLS_VERIFY_NONE] = MBEDTLS_SSL_VERIFY_NONE,
		[CW_TLS_VERIFY_OPTIONAL] = MBEDTLS_SSL_VERIFY_OPTIONAL,
		[CW_TLS_VERIFY_REQUIRED] = MBEDTLS_SSL_VERIFY_REQUIRED,
	};
	int rc;

	if (mbedtls_ctr_drbg_seed(&ctx->random, mbedtls_entropy_func, &ctx->entropy, NULL, 0) != 0)
		return cw_fail(msg, CW_EIO, "no random numbers from the system");
	if (mbedtls_ssl_config_defaults(&ctx->conf, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	mbedtls_ssl_conf_min_version(&ctx->conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_max_version(&ctx->conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_rng(&ctx->conf, mbedtls_ctr_drbg_random, &ctx->random);
	mbedtls_ssl_conf_authmode(&ctx->conf, modes[conf->verify]);
	ctx->verify = conf->verify != CW_TLS_VERIFY_NONE;
	if ((conf->certificate != NULL || conf->key_store != NULL) && (rc = load_own(ctx, conf, msg)) < 0)
		return rc;
	rc = load_authorities(ctx, conf, endpoint, msg);
	if (rc < 0)
		return rc;
	if (conf->alpn != NULL) {
		/* mbedTLS takes a plain array of pointers and does not change it. */
		if (mbedtls_ssl_conf_alpn_protocols(&ctx->conf, (const char **)(uintptr_t)conf->alpn) != 0)
			return cw_fail(msg, CW_ECONF, "a protocol name for ALPN is empty or too long");
	}
	return 0;
}

static int make_ctx(const struct cw_tls_conf *conf, int endpoint, struct cw_msg *msg, struct cw_tls_ctx **ret_ctx)
{
	struct cw_tls_ctx *ctx;
	int rc;

	if ((conf->certificate == NULL) != (conf->key == NULL))
		return cw_fail(msg, CW_ECONF, "certificate and key are given together or not at all");
	if (conf->key_store != NULL && conf->certificate != NULL)
		return cw_fail(msg, CW_ECONF, "either certificate and key are given or a key store");
	if (endpoint == MBEDTLS_SSL_IS_SERVER && conf->certificate == NULL && conf->key_store == NULL)
		return cw_fail(msg, CW_ECONF, "a server needs a certificate and a key");
	if (endpoint == MBEDTLS_SSL_IS_SERVER && conf->verify != CW_TLS_VERIFY_NONE && conf->ca == NULL)
		return cw_fail(msg, CW_ECONF, "verifying the other side needs the certificate of its authority");
	ctx = cw_zalloc(sizeof(*ctx));
	if (ctx == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	mbedtls_ssl_config_init(&ctx->conf);
	mbedtls_x509_crt_init(&ctx->chain);
	mbedtls_x509_crt_init(&ctx->ca);
	mbedtls_pk_init(&ctx->key);
	mbedtls_entropy_init(&ctx->entropy);
	mbedtls_ctr_drbg_init(&ctx->random);
	rc = load(ctx, conf, endpoint, msg);
	if (rc < 0) {
		cw_tls_ctx_free(ctx);
		return rc;
	}
	*ret_ctx = ctx;
	return 0;
}

int cw_tls_server_new(const struct cw_tls_conf *conf, struct cw_msg *msg, struct cw_tls_ctx **ret_ctx)
{
	return make_ctx(conf, MBEDTLS_SSL_IS_SERVER, msg, ret_ctx);
}

int cw_tls_client_new(const struct cw_tls_conf *conf, struct cw_msg *msg, struct cw_tls_ctx **ret_ctx)
{
	return make_ctx(conf, MBEDTLS_SSL_IS_CLIENT, msg, ret_ctx);
}

/* ---- connections --------------------------------------------------------------- */

static int on_want_send(void *arg, const unsigned char *data, size_t len)
{
	struct cw_tls *t = arg;

	t->rc = t->ops->out(t->arg, cw_bytes_of(data, len));
	return t->rc < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)len;
}

static int on_want_receive(void *arg, unsigned char *data, size_t len)
{
	struct cw_tls *t = arg;

	if (t->in.len == 0)
		return MBEDTLS_ERR_SSL_WANT_READ;
	if (len > t->in.len)
		len = t->in.len;
	memcpy(data, t->in.ptr, len);
	t->in = cw_bytes_of(t->in.ptr + len, t->in.len - len);
	return (int)len;
}

/* A host that is an address: mbedTLS compares names only, and an address may not stand in SNI. */
static int take_address(struct cw_tls *t, const char *host)
{
	if (inet_pton(AF_INET, host, t->address) == 1)
		t->address_len = 4;
	else if (inet_pton(AF_INET6, host, t->address) == 1)
		t->address_len = 16;
	return t->address_len > 0;
}

static int has_address(const struct cw_tls *t, const mbedtls_x509_crt *crt)
{
	const mbedtls_x509_sequence *name;

	for (name = crt == NULL ? NULL : &crt->subject_alt_names; name != NULL; name = name->next)
		if (name->buf.tag == SAN_ADDRESS && name->buf.len == t->address_len &&
		    memcmp(name->buf.p, t->address, t->address_len) == 0)
			return 1;
	return 0;
}

int cw_tls_new(struct cw_tls_ctx *ctx, const char *host, const struct cw_tls_ops *ops, void *arg, struct cw_tls **ret_tls)
{
	struct cw_tls *t = cw_zalloc(sizeof(*t));

	if (t == NULL)
		return CW_ENOMEM;
	t->ops = ops;
	t->arg = arg;
	mbedtls_ssl_init(&t->ssl);
	if (host != NULL && take_address(t, host)) {
		t->check_address = ctx->verify;
		host = NULL;
	}
	if (mbedtls_ssl_setup(&t->ssl, &ctx->conf) != 0 || (host != NULL && mbedtls_ssl_set_hostname(&t->ssl, host) != 0)) {
		cw_tls_free(t);
		return CW_ENOMEM;
	}
	mbedtls_ssl_set_bio(&t->ssl, t, on_want_send, on_want_receive, NULL);
	*ret_tls = t;
	return 0;
}

void cw_tls_free(struct cw_tls *t)
{
	if (t == NULL)
		return;
	mbedtls_ssl_free(&t->ssl);
	cw_free(t);
}

static void explain_certificate(struct cw_tls *t)
{
	uint32_t flags = mbedtls_ssl_get_verify_result(&t->ssl);
	char *p;
	int n;

	n = mbedtls_x509_crt_verify_info(t->reason, sizeof(t->reason), "", flags);
	if (n <= 0 || flags == UINT32_MAX)
		(void)snprintf(t->reason, sizeof(t->reason), "the peer's certificate was refused");
	for (p = t->reason; *p != '\0'; p++) /* the library puts each reason on a line of its own */
		if (*p == '\n')
			*p = p[1] == '\0' ? '\0' : ' ';
}

/* An error of mbedTLS as one of ours, with its reason. */
static int fail(struct cw_tls *t, int err)
{
	if (t->rc < 0) {
		(void)snprintf(t->reason, sizeof(t->reason), "%s", cw_error_text(t->rc));
		return t->rc;
	}
	switch (err) {
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		(void)snprintf(t->reason, sizeof(t->reason), "closed by the peer");
		return CW_ECLOSED;
	case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
		explain_certificate(t);
		return CW_EAUTH;
	case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
		(void)snprintf(t->reason, sizeof(t->reason), "the client sent no certificate");
		return CW_EAUTH;
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
		(void)snprintf(t->reason, sizeof(t->reason), "out of memory");
		return CW_ENOMEM;
	default:
		mbedtls_strerror(err, t->reason, sizeof(t->reason));
		return CW_EPROTO;
	}
}

/* 0: done or more bytes are needed. */
static int shake(struct cw_tls *t)
{
	uint32_t flags;
	int err = mbedtls_ssl_handshake(&t->ssl);

	if (err == MBEDTLS_ERR_SSL_WANT_READ || err == MBEDTLS_ERR_SSL_WANT_WRITE)
		return 0;
	if (err != 0)
		return fail(t, err);
	/* With OPTIONAL mbedTLS goes on after a bad certificate; we only forgive a missing one. */
	flags = mbedtls_ssl_get_verify_result(&t->ssl);
	if (mbedtls_ssl_get_peer_cert(&t->ssl) != NULL && (flags & ~(uint32_t)MBEDTLS_X509_BADCERT_SKIP_VERIFY) != 0) {
		explain_certificate(t);
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
		return CW_EAUTH;
	}
	if (t->check_address && !has_address(t, mbedtls_ssl_get_peer_cert(&t->ssl))) {
		(void)snprintf(t->reason, sizeof(t->reason), "the certificate does not name the address that was connected to");
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
		return CW_EAUTH;
	}
	t->up = 1;
	return 0;
}

int cw_tls_start(struct cw_tls *t)
{
	return shake(t);
}

int cw_tls_feed(struct cw_tls *t, struct cw_bytes cipher)
{
	uint8_t plain[MBEDTLS_SSL_IN_CONTENT_LEN];
	int n, rc = 0;

	t->in = cipher;
	if (!t->up)
		rc = shake(t);
	while (rc == 0 && t->up) {
		n = mbedtls_ssl_read(&t->ssl, plain, sizeof(plain));
		if (n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE)
			break;
		if (n > 0)
			rc = t->ops->plain(t->arg, cw_bytes_of(plain, (size_t)n));
		else
			rc = fail(t, n == 0 ? MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY : n);
	}
	t->in = cw_bytes_of(NULL, 0);
	return rc;
}

int cw_tls_up(const struct cw_tls *t)
{
	return t->up;
}

int cw_tls_send(struct cw_tls *t, struct cw_bytes plain)
{
	int n;

	if (!t->up)
		return CW_EBUSY;
	if (t->said_goodbye)
		return CW_ECLOSED;
	while (plain.len > 0) {
		n = mbedtls_ssl_write(&t->ssl, plain.ptr, plain.len);
		if (n < 0)
			return fail(t, n);
		plain = cw_bytes_of(plain.ptr + n, plain.len - (size_t)n);
	}
	return 0;
}

void cw_tls_goodbye(struct cw_tls *t)
{
	if (!t->up || t->said_goodbye)
		return;
	t->said_goodbye = 1;
	(void)mbedtls_ssl_close_notify(&t->ssl);
}

const char *cw_tls_reason(const struct cw_tls *t)
{
	return t->reason;
}

const char *cw_tls_peer_subject(const struct cw_tls *t, char *out, size_t size)
{
	const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);

	if (crt == NULL || mbedtls_x509_dn_gets(out, size, &crt->subject) < 0)
		return NULL;
	return out;
}

const char *cw_tls_alpn(const struct cw_tls *t)
{
	return mbedtls_ssl_get_alpn_protocol(&t->ssl);
}
