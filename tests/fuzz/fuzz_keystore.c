/*
 * Key stores: any bytes as a PKCS#12 file, opened without a password. What is taken is PEM. Seeds: seed_keystore.py. Stores
 * that ask for more than some thousand rounds of hashing only cost time, so four-byte integers are left out.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tls/keystore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int asks_for_many_rounds(const uint8_t *data, size_t size)
{
	size_t i;

	for (i = 0; i + 2 < size; i++)
		if (data[i] == 2 && data[i + 1] >= 3 && data[i + 1] <= 8 && (data[i + 2] & 0x80) == 0)
			return 1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_keystore k;
	struct cw_msg msg = { "" };
	static int fd = -1;
	char path[64];

	if (asks_for_many_rounds(data, size))
		return 0;
	if (fd < 0)
		fd = memfd_create("fuzz", 0);
	if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (cw_keystore_read(path, "", &k, &msg) == 0) {
		if (strncmp(k.chain, "-----BEGIN CERTIFICATE", 22) != 0 || strncmp(k.key, "-----BEGIN PRIVATE KEY", 22) != 0)
			abort();
		cw_keystore_drop(&k);
	} else if (msg.text[0] == '\0' || k.chain != NULL || k.key != NULL) {
		abort();
	}
	return 0;
}
