/* key.c - see key.h. */
#include "store/key.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/gcm.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digits.h"
#include "base/file.h"
#include "base/mem.h"

#define NONCE 12u
#define TAG 16u
#define LINE_MOST 160

void cw_key_wipe(struct cw_key *key)
{
	explicit_bzero(key, sizeof(*key));
}

static int unhex(const char *hex, uint8_t *out, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (strspn(hex + 2 * i, "0123456789abcdef") < 2)
			return CW_EPROTO;
		out[i] = (uint8_t)(cw_hex_value(hex[2 * i]) << 4 | cw_hex_value(hex[2 * i + 1]));
	}
	return 0;
}

static int parse(const char *line, struct cw_key *key)
{
	static const char head[] = "causeway-key 1 ";
	const char *at = line + sizeof(head) - 1;

	if (strncmp(line, head, sizeof(head) - 1) != 0 || strlen(at) < 16 + 1 + 64 || at[16] != ' ')
		return CW_EPROTO;
	memcpy(key->id, at, 16);
	key->id[16] = '\0';
	return strspn(key->id, "0123456789abcdef") == 16 ? unhex(at + 17, key->bytes, sizeof(key->bytes)) : CW_EPROTO;
}

int cw_key_load(const char *path, struct cw_key *ret_key, struct cw_msg *msg)
{
	struct stat st;
	char *line;
	size_t len;
	int rc = cw_file_read(path, LINE_MOST, &line, &len, msg);

	if (rc < 0)
		return rc;
	rc = parse(line, ret_key);
	explicit_bzero(line, len);
	cw_free(line);
	if (rc < 0)
		return cw_fail(msg, CW_ECONF, "key file: %s is not a key file of Causeway, or is damaged; put the right one back", path);
	if (stat(path, &st) == 0 && (st.st_mode & 0077) != 0)
		return cw_fail(msg, CW_EACCESS, "key file: others than its owner may use %s; say chmod 0600 %s", path, path);
	return 0;
}

/* Its owner, when root made it for a daemon that runs as somebody else. */
static void give(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	cw_file_give_to_owner(fd, path);
	(void)close(fd);
}

int cw_key_make(const char *path, struct cw_key *ret_key, struct cw_msg *msg)
{
	char line[LINE_MOST] = "causeway-key 1 ";
	size_t at = strlen(line);
	uint8_t id[8];
	int rc;

	if (getrandom(ret_key->bytes, sizeof(ret_key->bytes), 0) != sizeof(ret_key->bytes) || getrandom(id, sizeof(id), 0) != sizeof(id))
		return cw_fail(msg, CW_EIO, "key file: no random numbers: %s", strerror(errno));
	cw_hex(ret_key->id, cw_bytes_of(id, sizeof(id)));
	memcpy(line + at, ret_key->id, 16);
	line[at + 16] = ' ';
	cw_hex(line + at + 17, cw_bytes_of(ret_key->bytes, sizeof(ret_key->bytes)));
	memcpy(line + at + 17 + 64, "\n", 2);
	rc = cw_file_replace(path, cw_bytes_text(line), msg);
	if (rc == 0)
		give(path);
	explicit_bzero(line, sizeof(line));
	return rc;
}

int cw_key_seal(const struct cw_key *key, struct cw_bytes with, struct cw_bytes plain, uint8_t *out)
{
	mbedtls_gcm_context gcm;
	int rc;

	if (getrandom(out, NONCE, 0) != NONCE)
		return CW_EIO;
	mbedtls_gcm_init(&gcm);
	rc = mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, key->bytes, 256);
	if (rc == 0)
		rc = mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, plain.len, out, NONCE, with.ptr, with.len, plain.ptr, out + NONCE,
		                               TAG, out + NONCE + plain.len);
	mbedtls_gcm_free(&gcm);
	return rc == 0 ? 0 : CW_EINTERNAL;
}

int cw_key_open(const struct cw_key *key, struct cw_bytes with, struct cw_bytes sealed, uint8_t *out)
{
	mbedtls_gcm_context gcm;
	size_t len;
	int rc;

	if (sealed.len < CW_SEAL_EXTRA)
		return CW_EAUTH;
	len = sealed.len - CW_SEAL_EXTRA;
	mbedtls_gcm_init(&gcm);
	rc = mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, key->bytes, 256);
	if (rc == 0)
		rc = mbedtls_gcm_auth_decrypt(&gcm, len, sealed.ptr, NONCE, with.ptr, with.len, sealed.ptr + NONCE + len, TAG,
		                              sealed.ptr + NONCE, out);
	mbedtls_gcm_free(&gcm);
	return rc == 0 ? 0 : CW_EAUTH;
}
