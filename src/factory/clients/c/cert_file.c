/* cert_file.c - see cert_file.h. */
#define _POSIX_C_SOURCE 200809L

#include "cert_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One part a line, in this order. */
enum { PARTS = 5 };
static const char *const names[PARTS] = { "ProductKey=", "DeviceName=", "ProductSecret=", "DeviceSecret=", "DeviceID=" };

static char *part(struct triple_burn_cert *c, int i, size_t *ret_size)
{
	char *const parts[PARTS] = { c->product_key, c->device_name, c->product_secret, c->device_secret, c->device_id };
	const size_t sizes[PARTS] = { sizeof(c->product_key), sizeof(c->device_name), sizeof(c->product_secret), sizeof(c->device_secret),
				      sizeof(c->device_id) };

	*ret_size = sizes[i];
	return parts[i];
}

int cert_file_read(const char *path, struct triple_burn_cert *ret)
{
	char line[DEVICE_ID_LEN + 32];
	FILE *f = fopen(path, "r");
	int i, whole = 1;

	memset(ret, 0, sizeof(*ret));
	if (f == NULL)
		return errno == ENOENT ? 1 : -1;
	for (i = 0; i < PARTS && whole; i++) {
		size_t skip = strlen(names[i]), size, len;
		char *to = part(ret, i, &size);

		whole = 0;
		if (fgets(line, (int)sizeof(line), f) == NULL)
			break;
		len = strcspn(line, "\n");
		if (line[len] != '\n' || strncmp(line, names[i], skip) != 0 || len - skip >= size)
			break;
		line[len] = '\0';
		memcpy(to, line + skip, len - skip + 1);
		whole = 1;
	}
	(void)fclose(f);
	/* What a boot program looks at: no part of the device's certificate is empty. */
	if (whole && ret->product_key[0] != '\0' && ret->device_name[0] != '\0' && ret->device_secret[0] != '\0')
		return 0;
	memset(ret, 0, sizeof(*ret));
	return -1;
}

/* The name of a file is in its directory, which has to be on the disk, too. */
static int sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[1024];
	size_t len = slash == NULL ? 0 : (size_t)(slash - path);
	int fd, rc;

	if (len >= sizeof(dir))
		return -1;
	memcpy(dir, path, len);
	dir[len] = '\0';
	fd = open(len != 0 ? dir : slash != NULL ? "/" : ".", O_RDONLY);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	(void)close(fd);
	return rc;
}

int cert_file_store(void *path, const struct triple_burn_cert *cert)
{
	struct triple_burn_cert copy = *cert;
	char beside[1024];
	size_t size;
	FILE *f;
	int fd, i, ok;

	if (strlen((const char *)path) + 6 > sizeof(beside)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	(void)snprintf(beside, sizeof(beside), "%s.part", (const char *)path);
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return -1;
	f = fdopen(fd, "w");
	if (f == NULL) {
		(void)close(fd);
		return -1;
	}
	for (i = 0, ok = 1; i < PARTS && ok; i++)
		ok = fprintf(f, "%s%s\n", names[i], part(&copy, i, &size)) > 0;
	ok = ok && fflush(f) == 0 && fsync(fd) == 0;
	ok = fclose(f) == 0 && ok;
	if (ok && rename(beside, (const char *)path) == 0 && sync_directory((const char *)path) == 0)
		return 0;
	i = errno;
	(void)unlink(beside);
	errno = i;
	return -1;
}
