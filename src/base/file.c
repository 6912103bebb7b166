/* file.c - see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static int failed(struct cw_msg *msg, const char *what, const char *path)
{
	return cw_fail(msg, cw_err_from_errno(errno), "cannot %s %s: %s", what, path, strerror(errno));
}

static void directory_of(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');

	(void)snprintf(out, size, "%.*s", slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path),
		       slash == NULL ? "." : path);
}

/* The entry of a directory is as lasting as the file only when the directory was synced, too. */
static int sync_directory(const char *path, struct cw_msg *msg)
{
	char dir[1024];
	int fd, rc = 0;

	directory_of(path, dir, sizeof(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return failed(msg, "open", dir);
	if (fsync(fd) != 0 && errno != EINVAL) /* a file system that knows no sync of directories */
		rc = failed(msg, "sync", dir);
	(void)close(fd);
	return rc;
}
void cw_file_give_to_owner(int fd, const char *path)
{
	char dir[1024];
	struct stat st;

	if (geteuid() != 0)
		return;
	directory_of(path, dir, sizeof(dir));
	if (stat(dir, &st) == 0 && fchownat(fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) != 0)
		return; /* whoever cannot read it says so, with its name */
}

int cw_file_begin(struct cw_file_new *f, const char *path, struct cw_msg *msg)
{
	f->fd = -1;
	if ((size_t)snprintf(f->path, sizeof(f->path), "%s", path) >= sizeof(f->path))
		return cw_fail(msg, CW_ELIMIT, "the path %.60s... is too long", path);
	(void)snprintf(f->part, sizeof(f->part), "%s.XXXXXX", f->path);
	f->fd = mkostemp(f->part, O_CLOEXEC);
	if (f->fd < 0)
		return failed(msg, "write beside", f->path);
	if (fchmod(f->fd, 0600) != 0) {
		int rc = failed(msg, "set the mode of", f->part);

		cw_file_abandon(f);
		return rc;
	}
	return 0;
}

static int write_all(int fd, struct cw_bytes bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes.ptr += n;
		bytes.len -= (size_t)n;
	}
	return 0;
}

int cw_file_commit(struct cw_file_new *f, struct cw_bytes bytes, int overwrite, struct cw_msg *msg)
{
	int rc = 0;

	if (write_all(f->fd, bytes) != 0 || fsync(f->fd) != 0)
		rc = failed(msg, "write", f->path);
	else if (overwrite && rename(f->part, f->path) != 0)
		rc = failed(msg, "replace", f->path);
	else if (!overwrite && link(f->part, f->path) != 0)
		rc = errno == EEXIST ? cw_fail(msg, CW_EEXIST, "%s is there already and is not overwritten", f->path)
				     : failed(msg, "write", f->path);
	if (rc < 0 || !overwrite)
		(void)unlink(f->part);
	(void)close(f->fd);
	f->fd = -1;
	return rc < 0 ? rc : sync_directory(f->path, msg);
}

void cw_file_abandon(struct cw_file_new *f)
{
	if (f->fd < 0)
		return;
	(void)close(f->fd);
	(void)unlink(f->part);
	f->fd = -1;
}

int cw_file_replace(const char *path, struct cw_bytes bytes, struct cw_msg *msg)
{
	struct cw_file_new f;
	int rc = cw_file_begin(&f, path, msg);

	return rc < 0 ? rc : cw_file_commit(&f, bytes, 1, msg);
}

int cw_file_rename(const char *from, const char *to, struct cw_msg *msg)
{
	return rename(from, to) != 0 ? failed(msg, "replace", to) : sync_directory(to, msg);
}

int cw_file_remove(const char *path, struct cw_msg *msg)
{
	if (unlink(path) != 0)
		return errno == ENOENT ? 0 : failed(msg, "remove", path);
	return sync_directory(path, msg);
}

static int read_all(int fd, const char *path, size_t most, char **ret_text, size_t *ret_len, struct cw_msg *msg)
{
	char *text = NULL;
	size_t len = 0, size = 0;
	ssize_t n;

	for (;;) {
		if (len == size) {
			char *grown = cw_realloc(text, size + 4096 + 1);

			if (grown == NULL) {
				cw_free(text);
				return cw_fail(msg, CW_ENOMEM, "%s: out of memory", path);
			}
			text = grown;
			size += 4096;
		}
		n = read(fd, text + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len > most)
			break;
	}
	if (n < 0 || len > most) {
		int rc = n < 0 ? failed(msg, "read", path)
			       : cw_fail(msg, CW_ELIMIT, "%s is longer than %zu bytes", path, most);

		explicit_bzero(text, size);
		cw_free(text);
		return rc;
	}
	text[len] = '\0';
	*ret_text = text;
	*ret_len = len;
	return 0;
}

int cw_file_read(const char *path, size_t most, char **ret_text, size_t *ret_len, struct cw_msg *msg)
{
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		rc = errno == ENOENT ? CW_ENOENT : cw_err_from_errno(errno);
		return cw_fail(msg, rc, "cannot read %s: %s", path, strerror(errno));
	}
	rc = read_all(fd, path, most, ret_text, ret_len, msg);
	(void)close(fd);
	return rc;
}

const char *cw_file_authorities(void)
{
	const char *own = getenv("SSL_CERT_FILE");

	return own != NULL && own[0] != '\0' ? own : "/etc/ssl/certs/ca-certificates.crt";
}

void cw_file_standard(void)
{
	int fd;

	do { /* the lowest number that is free */
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}
