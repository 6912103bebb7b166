/* x509.c - see x509.h. */
#include "cloud/core/stock/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cloud/core/save.h"

#define FILE_NAME "device-ca.pem"
#define VALID_DAYS (20 * 365) /* longer than a device lives */

struct cloud_x509 {
	char *dir; /* or NULL */
	X509 *ca;  /* NULL until needed */
	EVP_PKEY *ca_key;
	char *ca_pem;
	struct cw_map certs; /* by fingerprint */
	EVP_PKEY *ready;     /* made in the background, not yet used */
	EVP_PKEY *made;      /* the pool's result; its own while `busy` */
	uv_work_t work;
	int busy;
};

static int ssl_fail(struct cw_msg *msg, const char *what)
{
	char text[256];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	return cw_fail(msg, CW_EINTERNAL, "%s: %s", what, text);
}

/* What a memory BIO holds, as text of our own; the BIO is freed. */
static char *text_of(BIO *bio, int ok)
{
	char *data = NULL, *text = NULL;
	long len = bio != NULL ? BIO_get_mem_data(bio, &data) : 0;

	if (ok && len > 0)
		text = cw_strndup(data, (size_t)len);
	BIO_free(bio);
	return text;
}

static char *cert_text(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());

	return text_of(bio, bio != NULL && PEM_write_bio_X509(bio, cert));
}

/* In the older form (BEGIN RSA PRIVATE KEY), which every SDK reads. */
static char *key_text(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	return text_of(bio, bio != NULL && PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL));
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext != NULL && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static int add_name(X509 *cert, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), field, MBSTRING_ASC, (const unsigned char *)value, -1, -1,
	                                  0);
}

/* Serial numbers are random, positive and of 63 bits: the file of the authority need not count them. */
static int set_serial(X509 *cert)
{
	uint64_t number = 0;

	if (RAND_bytes((unsigned char *)&number, sizeof(number)) != 1)
		return 0;
	number = (number >> 1) | 1u;
	return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), number);
}

/* `d` NULL: the authority, signed by itself. Times are the platform's. */
static X509 *make_cert(const struct cw_cloud *c, EVP_PKEY *key, const struct cloud_device *d, X509 *issuer,
                       EVP_PKEY *issuer_key)
{
	time_t now = (time_t)(cw_cloud_wall_ms(c) / 1000);
	X509 *cert = X509_new();
	int ok = cert != NULL && X509_set_version(cert, 2) && set_serial(cert) &&
	         X509_time_adj_ex(X509_getm_notBefore(cert), -1, 0, &now) != NULL &&
	         X509_time_adj_ex(X509_getm_notAfter(cert), VALID_DAYS, 0, &now) != NULL && X509_set_pubkey(cert, key);

	if (ok && d != NULL)
		ok = add_name(cert, "O", d->product->key) && add_name(cert, "CN", d->dn);
	else if (ok)
		ok = add_name(cert, "CN", "Causeway emulator device CA");
	if (issuer == NULL)
		issuer = cert;
	ok = ok && X509_set_issuer_name(cert, X509_get_subject_name(issuer));
	if (ok && d == NULL)
		ok = add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
		     add_extension(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		     add_extension(cert, issuer, NID_subject_key_identifier, "hash");
	else if (ok)
		ok = add_extension(cert, issuer, NID_ext_key_usage, "clientAuth");
	if (!ok || X509_sign(cert, issuer_key, EVP_sha256()) == 0) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

/* ---- the authority and its file ---- */

static void file_path(const struct cloud_x509 *x, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/" FILE_NAME, x->dir);
}

/* Written beside and renamed, so that half a file is never taken for the authority. */
static int save(const struct cloud_x509 *x, struct cw_msg *msg)
{
	char path[PATH_MAX], beside[PATH_MAX + 16];
	FILE *f = NULL;
	int fd, ok;

	(void)mkdir(x->dir, 0700); /* if nobody has needed it before; open() tells what is wrong */
	file_path(x, path);
	(void)snprintf(beside, sizeof(beside), "%s.%d", path, (int)getpid()); /* another emulator may use the same directory */
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0)
		f = fdopen(fd, "w");
	ok = f != NULL && PEM_write_PrivateKey(f, x->ca_key, NULL, NULL, 0, NULL, NULL) && PEM_write_X509(f, x->ca) &&
	     fflush(f) == 0 && fsync(fd) == 0;
	if (f != NULL)
		ok = fclose(f) == 0 && ok;
	else if (fd >= 0)
		(void)close(fd);
	if (!ok || rename(beside, path) < 0)
		return cw_fail(msg, CW_EIO, "cannot write '%s': %s", path, strerror(errno));
	return 0;
}

static int load(struct cloud_x509 *x, struct cw_msg *msg)
{
	char path[PATH_MAX];
	FILE *f;

	file_path(x, path);
	f = fopen(path, "re");
	if (f == NULL)
		return errno == ENOENT ? 0 : cw_fail(msg, CW_EIO, "cannot read '%s': %s", path, strerror(errno));
	x->ca_key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	x->ca = PEM_read_X509(f, NULL, NULL, NULL);
	(void)fclose(f);
	if (x->ca_key == NULL || x->ca == NULL || X509_check_private_key(x->ca, x->ca_key) != 1) {
		ERR_clear_error();
		return cw_fail(msg, CW_ECONF, "'%s' is no private key followed by its certificate; remove it to have another made",
		               path);
	}
	x->ca_pem = cert_text(x->ca);
	return x->ca_pem != NULL ? 0 : cw_fail(msg, CW_ENOMEM, "out of memory");
}

static void forget_authority(struct cloud_x509 *x)
{
	X509_free(x->ca);
	EVP_PKEY_free(x->ca_key);
	cw_free(x->ca_pem);
	x->ca = NULL;
	x->ca_key = NULL;
	x->ca_pem = NULL;
}

static int need_authority(struct cw_cloud *c, struct cw_msg *msg)
{
	struct cloud_x509 *x;
	int rc = 0;

	if (c->x509 == NULL)
		rc = cw_cloud_x509_open(c, NULL, msg);
	x = c->x509;
	if (rc < 0 || x->ca_pem != NULL)
		return rc;
	x->ca_key = EVP_RSA_gen(2048);
	x->ca = x->ca_key != NULL ? make_cert(c, x->ca_key, NULL, NULL, x->ca_key) : NULL;
	if (x->ca == NULL) {
		forget_authority(x);
		return ssl_fail(msg, "cannot make the device authority");
	}
	x->ca_pem = cert_text(x->ca);
	rc = x->ca_pem == NULL ? cw_fail(msg, CW_ENOMEM, "out of memory") : x->dir != NULL ? save(x, msg) : 0;
	if (rc < 0)
		forget_authority(x);
	return rc;
}

int cw_cloud_x509_open(struct cw_cloud *c, const char *dir, struct cw_msg *msg)
{
	struct cloud_x509 *x;
	int rc;

	cw_invariant(c->x509 == NULL);
	x = cw_zalloc(sizeof(*x));
	if (x == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_map_init(&x->certs);
	c->x509 = x;
	if (dir == NULL)
		return 0;
	if (strlen(dir) > PATH_MAX - 32)
		rc = cw_fail(msg, CW_ECONF, "state directory: path is too long");
	else if ((x->dir = cw_strdup(dir)) == NULL)
		rc = cw_fail(msg, CW_ENOMEM, "out of memory");
	else
		rc = load(x, msg);
	if (rc < 0)
		cw_cloud_x509_close(c);
	return rc;
}

const char *cw_cloud_x509_ca(struct cw_cloud *c, struct cw_msg *msg)
{
	return need_authority(c, msg) == 0 ? c->x509->ca_pem : NULL;
}

/* ---- keys made in the background ---- */

static void make_key(uv_work_t *work)
{
	struct cloud_x509 *x = work->data;

	x->made = EVP_RSA_gen(2048);
}

static void on_key(uv_work_t *work, int status)
{
	struct cloud_x509 *x = work->data;

	x->busy = 0;
	x->ready = x->made;
	x->made = NULL;
}

int cw_cloud_x509_prepare(struct cw_cloud *c)
{
	int rc = 0;

	if (c->x509 == NULL)
		rc = cw_cloud_x509_open(c, NULL, NULL);
	if (rc < 0)
		return rc;
	if (c->x509->ready != NULL)
		return 1;
	if (c->x509->busy)
		return 0;
	c->x509->work.data = c->x509;
	if (uv_queue_work(cw_worker_loop(c->worker), &c->x509->work, make_key, on_key) != 0)
		return CW_ENOMEM;
	c->x509->busy = 1;
	return 0;
}

/* ---- certificates ---- */

static void cert_free(struct cloud_cert *t)
{
	if (t == NULL)
		return;
	if (t->key_pem != NULL)
		OPENSSL_cleanse(t->key_pem, strlen(t->key_pem));
	cw_free(t->cert_pem);
	cw_free(t->key_pem);
	cw_free(t);
}

/* Take the parts over into the stock; texts are ours from now on, whatever is returned. */
static int keep(struct cw_cloud *c, struct cloud_device *d, X509 *cert, char *cert_pem, char *key_pem)
{
	struct cloud_cert *t = cw_zalloc(sizeof(*t));
	unsigned len = sizeof(t->fingerprint);
	uint64_t number = 0;

	if (t == NULL) {
		cw_free(cert_pem);
		cw_free(key_pem);
		return CW_ENOMEM;
	}
	t->cert_pem = cert_pem;
	t->key_pem = key_pem;
	t->device = d;
	t->status = 1;
	if (cert_pem == NULL || key_pem == NULL || X509_digest(cert, EVP_sha256(), t->fingerprint, &len) != 1 ||
	    cw_map_find(&c->x509->certs, t->fingerprint, sizeof(t->fingerprint)) != NULL ||
	    cw_map_add(&c->x509->certs, &t->node, t->fingerprint, sizeof(t->fingerprint)) < 0) {
		cert_free(t);
		return CW_ENOMEM;
	}
	(void)ASN1_INTEGER_get_uint64(&number, X509_get0_serialNumber(cert));
	(void)snprintf(t->serial, sizeof(t->serial), "%llu", (unsigned long long)number);
	d->cert = t;
	return 0;
}

int cw_cloud_x509_issue(struct cw_cloud *c, struct cloud_device *d, const struct cloud_cert **ret_cert, struct cw_msg *msg)
{
	EVP_PKEY *key;
	X509 *cert;
	int rc;

	if (!d->product->x509)
		return cw_fail(msg, CW_EINVAL, "device \"%s\" has no certificate: its product authenticates by secret", d->id);
	if (d->cert != NULL) {
		*ret_cert = d->cert;
		return 0;
	}
	rc = need_authority(c, msg);
	if (rc < 0)
		return rc;
	key = c->x509->ready != NULL ? c->x509->ready : EVP_RSA_gen(2048);
	c->x509->ready = NULL;
	cert = key != NULL ? make_cert(c, key, d, c->x509->ca, c->x509->ca_key) : NULL;
	if (cert == NULL)
		rc = ssl_fail(msg, "cannot make a device certificate");
	else if (keep(c, d, cert, cert_text(cert), key_text(key)) < 0)
		rc = cw_fail(msg, CW_ENOMEM, "out of memory");
	X509_free(cert);
	EVP_PKEY_free(key);
	if (rc < 0)
		return rc;
	cw_cloud_changed(c, d);
	cw_cloud_commit(c); /* before anybody is given the key */
	*ret_cert = d->cert;
	return 0;
}

json_t *cw_cloud_x509_save(struct cw_cloud *c, const struct cloud_device *d)
{
	return d->cert != NULL ? json_pack("{s:s, s:s}", "certificate", d->cert->cert_pem, "key", d->cert->key_pem) : NULL;
}

/* The pair in j, compared and kept; cert and key are lent. */
static int load_pair(struct cw_cloud *c, struct cloud_device *d, X509 *cert, EVP_PKEY *key, const char *cert_pem,
                     const char *key_pem)
{
	int rc = 0;

	if (cert == NULL || key == NULL || X509_check_private_key(cert, key) != 1)
		return CW_EINVAL;
	if (c->x509 == NULL)
		rc = cw_cloud_x509_open(c, NULL, NULL);
	cw_cloud_x509_drop(c, d);
	return rc == 0 ? keep(c, d, cert, cw_strdup(cert_pem), cw_strdup(key_pem)) : rc;
}

int cw_cloud_x509_load(struct cw_cloud *c, struct cloud_device *d, const json_t *j)
{
	const char *cert_pem = json_string_value(json_object_get(j, "certificate"));
	const char *key_pem = json_string_value(json_object_get(j, "key"));
	BIO *cert_bio = cert_pem != NULL ? BIO_new_mem_buf(cert_pem, -1) : NULL;
	BIO *key_bio = key_pem != NULL ? BIO_new_mem_buf(key_pem, -1) : NULL;
	X509 *cert = cert_bio != NULL ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = key_bio != NULL ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
	int rc = load_pair(c, d, cert, key, cert_pem, key_pem);

	ERR_clear_error();
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return rc;
}

struct cloud_device *cw_cloud_x509_find(struct cw_cloud *c, const uint8_t fingerprint[32])
{
	struct cw_map_node *n = c->x509 != NULL ? cw_map_find(&c->x509->certs, fingerprint, 32) : NULL;
	const struct cloud_cert *t = n != NULL ? cw_container_of(n, struct cloud_cert, node) : NULL;

	return t != NULL && t->status == 1 ? t->device : NULL;
}

void cw_cloud_x509_drop(struct cw_cloud *c, struct cloud_device *d)
{
	if (d->cert == NULL)
		return;
	cw_map_remove(&c->x509->certs, &d->cert->node);
	cert_free(d->cert);
	d->cert = NULL;
}

void cw_cloud_x509_close(struct cw_cloud *c)
{
	struct cloud_x509 *x = c->x509;

	if (x == NULL)
		return;
	cw_invariant(!x->busy && x->certs.count == 0); /* a loop ends after what it has on the pool */
	forget_authority(x);
	EVP_PKEY_free(x->ready);
	cw_map_fini(&x->certs);
	cw_free(x->dir);
	cw_free(x);
	c->x509 = NULL;
}
