/* files.c - blobs and the links to them; see files.h. */
#include "cloud/core/files.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "base/mem.h"

#define NAME_MAX_BYTES 48u

struct cloud_files {
	struct cw_map blobs; /* by path, each with a reference */
	unsigned char key[32];
	char key_id[25]; /* a name for the key, as the platform's links show one; no secret */
};

/* ---- blobs ---- */

struct cloud_blob *cw_cloud_blob_new(const char *name, const char *type, const void *data, size_t len)
{
	struct cloud_blob *b = cw_alloc(sizeof(*b) + len);
	size_t i;

	if (b == NULL)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->refs = 1;
	b->type = type;
	b->len = len;
	if (len != 0)
		memcpy(b->data, data, len);
	b->name = cw_strndup(name, strnlen(name, NAME_MAX_BYTES));
	if (b->name == NULL) {
		cw_free(b);
		return NULL;
	}
	for (i = 0; b->name[i] != '\0'; i++) {
		if (!isalnum((unsigned char)b->name[i]) && strchr("-_.", b->name[i]) == NULL)
			b->name[i] = '_';
	}
	return b;
}

void cw_cloud_blob_unref(struct cloud_blob *b)
{
	if (b == NULL || --b->refs > 0)
		return;
	cw_free(b->name);
	cw_free(b);
}

static void digest_of(const struct cloud_blob *b, const EVP_MD *md, char *out)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (EVP_Digest(b->data, b->len, digest, &n, md, NULL) != 1)
		n = 0;
	cw_hex(out, cw_bytes_of(digest, n));
}

void cw_cloud_blob_md5(const struct cloud_blob *b, char out[33])
{
	digest_of(b, EVP_md5(), out);
}

void cw_cloud_blob_sha256(const struct cloud_blob *b, char out[65])
{
	digest_of(b, EVP_sha256(), out);
}

/* ---- links ---- */

int cw_cloud_files_new(struct cloud_files **ret_files)
{
	struct cloud_files *f = cw_zalloc(sizeof(*f));
	unsigned char id[8];

	if (f == NULL)
		return CW_ENOMEM;
	cw_map_init(&f->blobs);
	if (RAND_bytes(f->key, sizeof(f->key)) != 1 || RAND_bytes(id, sizeof(id)) != 1) {
		cw_free(f);
		return CW_EINTERNAL;
	}
	memcpy(f->key_id, "LTAIemu.", 8);
	cw_hex(f->key_id + 8, cw_bytes_of(id, sizeof(id)));
	*ret_files = f;
	return 0;
}

static void withdraw(struct cloud_files *f, struct cloud_blob *b)
{
	cw_map_remove(&f->blobs, &b->node);
	b->until_ms = 0;
	cw_cloud_blob_unref(b);
}

void cw_cloud_files_free(struct cloud_files *f)
{
	struct cw_map_node *n, *next;

	if (f == NULL)
		return;
	cw_map_each_safe(n, next, &f->blobs)
		withdraw(f, cw_container_of(n, struct cloud_blob, node));
	cw_map_fini(&f->blobs);
	OPENSSL_cleanse(f->key, sizeof(f->key));
	cw_free(f);
}

/* Base64 of an HMAC over method, end and path: 28 characters and a NUL. */
static void sign_link(const struct cloud_files *f, const char *path, const char *expires, char out[32])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[160];
	unsigned n = 0;
	int len = snprintf(text, sizeof(text), "GET\n\n\n%s\n%s", expires, path);

	out[0] = '\0';
	if (len < 0 || (size_t)len >= sizeof(text) ||
	    HMAC(EVP_sha1(), f->key, (int)sizeof(f->key), (const unsigned char *)text, (size_t)len, digest, &n) == NULL || n != 20)
		return;
	(void)EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
}

/* Links that are over hold their bytes no longer. */
static void sweep(struct cw_cloud *c)
{
	int64_t now = cw_cloud_wall_ms(c);
	struct cw_map_node *n, *next;

	cw_map_each_safe(n, next, &c->files->blobs) {
		struct cloud_blob *b = cw_container_of(n, struct cloud_blob, node);

		if (b->until_ms <= now)
			withdraw(c->files, b);
	}
}

/* Under which path, from the first link on always the same. */
static int enlist(struct cw_cloud *c, struct cloud_blob *b)
{
	unsigned char random[16];
	char digits[2 * sizeof(random) + 1];
	int rc;

	if (b->path[0] == '\0') {
		if (RAND_bytes(random, sizeof(random)) != 1)
			return CW_EINTERNAL;
		cw_hex(digits, cw_bytes_of(random, sizeof(random)));
		(void)snprintf(b->path, sizeof(b->path), CLOUD_FILES_PATH "%s/%s", digits, b->name);
	}
	if (b->until_ms != 0)
		return 0;
	rc = cw_map_add(&c->files->blobs, &b->node, b->path, strlen(b->path));
	if (rc == 0)
		b->refs++;
	return rc;
}

int cw_cloud_link_file(struct cw_cloud *c, struct cloud_blob *b, uint64_t valid_ms, char out[CLOUD_URL_MAX])
{
	int64_t until_s = (cw_cloud_wall_ms(c) + (int64_t)valid_ms + 999) / 1000;
	char expires[24], sign[32], safe[96];
	size_t i, n = 0;
	int rc;

	sweep(c);
	rc = enlist(c, b);
	if (rc < 0)
		return rc;
	if (until_s * 1000 > b->until_ms)
		b->until_ms = until_s * 1000;
	(void)snprintf(expires, sizeof(expires), "%lld", (long long)until_s);
	sign_link(c->files, b->path, expires, sign);
	for (i = 0; sign[i] != '\0'; i++) {
		if (isalnum((unsigned char)sign[i]))
			safe[n++] = sign[i];
		else
			n += (size_t)snprintf(safe + n, sizeof(safe) - n, "%%%02X", (unsigned char)sign[i]);
	}
	safe[n] = '\0';
	(void)snprintf(out, CLOUD_URL_MAX, "%s%s?Expires=%s&OSSAccessKeyId=%s&Signature=%s", c->download_url, b->path, expires,
	               c->files->key_id, safe);
	return 0;
}

void cw_cloud_unlink_file(struct cw_cloud *c, struct cloud_blob *b)
{
	if (b->until_ms != 0)
		withdraw(c->files, b);
}

static const struct cloud_blob *refuse(unsigned status, const char *code, unsigned *ret_status, const char **ret_code)
{
	*ret_status = status;
	*ret_code = code;
	return NULL;
}

const struct cloud_blob *cw_cloud_find_file(struct cw_cloud *c, const struct cloud_file_ask *ask, unsigned *ret_status,
                                            const char **ret_code)
{
	struct cw_map_node *n;
	char sign[32];

	if (ask->expires == NULL || ask->key_id == NULL || ask->signature == NULL || strcmp(ask->key_id, c->files->key_id) != 0)
		return refuse(403, "SignatureDoesNotMatch", ret_status, ret_code);
	sign_link(c->files, ask->path, ask->expires, sign);
	if (sign[0] == '\0' || strlen(ask->signature) != strlen(sign) || CRYPTO_memcmp(sign, ask->signature, strlen(sign)) != 0)
		return refuse(403, "SignatureDoesNotMatch", ret_status, ret_code);
	/* What is signed by us is a number. */
	if (strtoll(ask->expires, NULL, 10) * 1000 <= cw_cloud_wall_ms(c))
		return refuse(403, "AccessDenied", ret_status, ret_code);
	n = cw_map_find(&c->files->blobs, ask->path, strlen(ask->path));
	if (n == NULL)
		return refuse(404, "NoSuchKey", ret_status, ret_code);
	*ret_status = 200;
	*ret_code = "OK";
	return cw_container_of(n, struct cloud_blob, node);
}
