/*
 * poison.c - the frames that ended a plugin host, one file each, written by libuv's pool: what it was about as comments,
 * then the bytes in hex, a form that `causeway decode` and `causeway plugin replay` read. The oldest make room.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "plugin/remote.h"
#include "plugin/runner_impl.h"

struct job {
	uv_work_t work;
	unsigned most;
	int error;
	char dir[1024], path[1200];
	size_t len;
	char text[];
};

static int by_name(const struct dirent **a, const struct dirent **b)
{
	/* Names carry the time behind the protocol: compare from the first dash on. */
	const char *x = strchr((*a)->d_name, '-'), *y = strchr((*b)->d_name, '-');

	return strcmp(x, y);
}

static int is_ours(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return strchr(e->d_name, '-') != NULL && n > 4 && strcmp(e->d_name + n - 4, ".txt") == 0;
}

/* One more has come: the oldest go. */
static void make_room(const struct job *j)
{
	struct dirent **found;
	int n = scandir(j->dir, &found, is_ours, by_name), i;
	char path[1300];

	for (i = 0; i < n; i++) {
		if (n - i > (int)j->most) {
			(void)snprintf(path, sizeof(path), "%s/%s", j->dir, found[i]->d_name);
			(void)unlink(path);
		}
		free(found[i]);
	}
	if (n >= 0)
		free(found);
}

static void on_work(uv_work_t *work)
{
	struct job *j = cw_container_of(work, struct job, work);
	size_t at = 0;
	int fd;

	if (mkdir(j->dir, 0700) != 0 && errno != EEXIST) {
		j->error = errno;
		return;
	}
	fd = open(j->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0) {
		j->error = errno;
		return;
	}
	while (at < j->len && j->error == 0) {
		ssize_t n = write(fd, j->text + at, j->len - at);

		if (n >= 0)
			at += (size_t)n;
		else if (errno != EINTR)
			j->error = errno;
	}
	if (close(fd) != 0 && j->error == 0)
		j->error = errno;
	if (j->error != 0)
		(void)unlink(j->path); /* half a frame would be taken for one */
	make_room(j);
}

static void on_written(uv_work_t *work, int status)
{
	struct job *j = cw_container_of(work, struct job, work);

	if (status == 0 && j->error != 0)
		cw_log(plugin_poison_failed, strerror(j->error), CW_LS("file", j->path));
	cw_free(j);
}

/* A comment line of it; what a device or a plugin named itself may hold anything. */
static size_t comment(char *out, size_t size, const char *key, const char *value)
{
	size_t n = (size_t)snprintf(out, size, "# %s: ", key);

	for (; *value != '\0' && n + 2 < size; value++)
		out[n++] = (unsigned char)*value < 0x20 || *value == 0x7f ? '?' : *value;
	out[n++] = '\n';
	return n;
}

void cw_poison_keep(struct cw_runner *r, const struct cw_isolation *how, const struct affected *who, const char *why, char *ret_file, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	static atomic_uint count; /* tells files of one millisecond apart */
	struct job *j;
	char when[25];
	size_t i, n = 0, room = 1400 + 2 * who->frame.len;

	if (how->poison_dir == NULL || how->poison_files == 0)
		return;
	j = cw_zalloc(sizeof(*j) + room);
	if (j == NULL)
		return;
	cw_clock_format(cw_clock_wall_ms(), when);
	j->most = how->poison_files;
	(void)snprintf(j->dir, sizeof(j->dir), "%s", how->poison_dir);
	(void)snprintf(j->path, sizeof(j->path), "%s/%s-%s-%06u.txt", how->poison_dir, r->desc->name, when, atomic_fetch_add(&count, 1) % 1000000u);
	n += comment(j->text + n, 200, "protocol", r->desc->name);
	n += comment(j->text + n, 200, "version", r->desc->version);
	n += comment(j->text + n, 200, "device", who->device);
	n += comment(j->text + n, 300, "peer", who->peer);
	n += comment(j->text + n, 100, "time", when);
	n += comment(j->text + n, 350, "why", why);
	for (i = 0; i < who->frame.len; i++) {
		j->text[n++] = digits[who->frame.ptr[i] >> 4];
		j->text[n++] = digits[who->frame.ptr[i] & 15];
	}
	j->text[n++] = '\n';
	j->len = n;
	(void)snprintf(ret_file, size, "%s", j->path);
	if (uv_queue_work(cw_worker_loop(r->worker), &j->work, on_work, on_written) != 0)
		cw_free(j);
}
