/* seal.c - see seal.h. */
#include "store/seal.h"

#include <errno.h>
#include <mbedtls/gcm.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

#define VERSION 1
#define NONCE 12u
#define TAG 16u
#define KEY 32u

struct cw_seal {
	uint8_t key[KEY];
};

static int random_bytes(void *to, size_t n)
{
	return getrandom(to, n, 0) == (ssize_t)n ? 0 : CW_EINTERNAL;
}

static int make_key(const char *path, struct cw_msg *msg)
{
	char text[2 * KEY + 2];
	struct cw_file_new f;
	uint8_t key[KEY];
	size_t i;
	int rc = random_bytes(key, sizeof(key));

	if (rc < 0)
		return cw_fail(msg, rc, "the kernel gives no random bytes for the key file %s", path);
	for (i = 0; i < KEY; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", key[i]);
	text[2 * KEY] = '\n';
	rc = cw_file_begin(&f, path, msg);
	if (rc == 0) /* two starts at once: the first one's key counts */
		rc = cw_file_commit(&f, cw_bytes_of(text, 2 * KEY + 1), 0, msg);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, sizeof(text));
	return rc == CW_EEXIST ? 0 : rc;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int read_key(const char *path, struct cw_seal *s, struct cw_msg *msg)
{
	struct stat st;
	char *text = NULL;
	size_t i, len = 0;
	int rc = cw_file_read(path, 4096, &text, &len, msg);

	if (rc < 0)
		return rc;
	if (stat(path, &st) == 0 && (st.st_mode & 0077) != 0)
		rc = cw_fail(msg, CW_EACCESS, "the key file %s may be read by others; run: chmod 0600 %s", path, path);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
		len--;
	for (i = 0; rc == 0 && i < KEY; i++) {
		int high = len == 2 * KEY ? nibble(text[2 * i]) : -1, low = len == 2 * KEY ? nibble(text[2 * i + 1]) : -1;

		if (high < 0 || low < 0)
			rc = cw_fail(msg, CW_ECONF,
				     "the key file %s holds no key: 64 hexadecimal digits are expected; restore it from a backup, "
				     "for without it the stored secrets cannot be read",
				     path);
		else
			s->key[i] = (uint8_t)(high << 4 | low);
	}
	explicit_bzero(text, strlen(text));
	cw_free(text);
	return rc;
}

int cw_seal_open(const char *path, int make, struct cw_seal **ret_seal, struct cw_msg *msg)
{
	struct cw_seal *s = cw_zalloc(sizeof(*s));
	int rc;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	rc = read_key(path, s, msg);
	if (rc == CW_ENOENT && make) {
		rc = make_key(path, msg);
		if (rc == 0)
			rc = read_key(path, s, msg);
	}
	if (rc < 0) {
		cw_seal_close(s);
		return rc;
	}
	*ret_seal = s;
	return 0;
}

void cw_seal_close(struct cw_seal *s)
{
	if (s == NULL)
		return;
	explicit_bzero(s, sizeof(*s));
	cw_free(s);
}

static int load(mbedtls_gcm_context *gcm, const struct cw_seal *s)
{
	mbedtls_gcm_init(gcm);
	return mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, s->key, 8 * KEY) == 0 ? 0 : CW_EINTERNAL;
}

int cw_seal_bytes(const struct cw_seal *s, struct cw_bytes plain, struct cw_bytes belongs_to, uint8_t **ret_sealed,
		  size_t *ret_len)
{
	mbedtls_gcm_context gcm;
	uint8_t *out = cw_alloc(plain.len + CW_SEAL_EXTRA);
	int rc;

	if (out == NULL)
		return CW_ENOMEM;
	out[0] = VERSION;
	rc = random_bytes(out + 1, NONCE);
	if (rc == 0)
		rc = load(&gcm, s);
	if (rc == 0) {
		rc = mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, plain.len, out + 1, NONCE, belongs_to.ptr,
					       belongs_to.len, plain.ptr, out + 1 + NONCE, TAG,
					       out + 1 + NONCE + plain.len) == 0
			     ? 0
			     : CW_EINTERNAL;
		mbedtls_gcm_free(&gcm);
	}
	if (rc < 0) {
		cw_free(out);
		return rc;
	}
	*ret_sealed = out;
	*ret_len = plain.len + CW_SEAL_EXTRA;
	return 0;
}

int cw_unseal_bytes(const struct cw_seal *s, struct cw_bytes sealed, struct cw_bytes belongs_to, char **ret_plain,
		    size_t *ret_len)
{
	mbedtls_gcm_context gcm;
	size_t len;
	char *out;
	int rc;

	if (sealed.len < CW_SEAL_EXTRA || sealed.ptr[0] != VERSION)
		return CW_EPROTO;
	len = sealed.len - CW_SEAL_EXTRA;
	out = cw_alloc(len + 1);
	if (out == NULL)
		return CW_ENOMEM;
	rc = load(&gcm, s);
	if (rc == 0)
		rc = mbedtls_gcm_auth_decrypt(&gcm, len, sealed.ptr + 1, NONCE, belongs_to.ptr, belongs_to.len,
					      sealed.ptr + 1 + NONCE + len, TAG, sealed.ptr + 1 + NONCE, (uint8_t *)out) == 0
			     ? 0
			     : CW_EAUTH;
	mbedtls_gcm_free(&gcm);
	if (rc < 0) {
		explicit_bzero(out, len);
		cw_free(out);
		return rc;
	}
	out[len] = '\0';
	*ret_plain = out;
	*ret_len = len;
	return 0;
}
