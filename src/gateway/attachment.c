/*
 * attachment.c - binaries that decoders put aside (pictures, audio): gathered in memory
 * up to a limit, then written by libuv's pool into the attachment directory, first
 * under a hidden name, so that nobody finds half a picture.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_impl.h"

struct attachment {
	struct cw_list link;
	struct link *of;
	uint64_t id;
	uint8_t *bytes;
	size_t len, size;
	char name[64];
};

struct write_job {
	uv_work_t work;
	uint8_t *bytes;
	size_t len;
	int error;
	char name[64];
	char path[1024], hidden[1088];
};

static struct attachment *find(struct link *l, uint64_t id)
{
	struct cw_list *e;

	cw_list_each(e, &l->gw->attachments) {
		struct attachment *a = cw_container_of(e, struct attachment, link);

		if (a->id == id && a->of == l)
			return a;
	}
	return NULL;
}

static void drop(struct attachment *a)
{
	cw_list_remove(&a->link);
	cw_free(a->bytes);
	cw_free(a);
}

int gw_attachment_open(struct link *l, uint64_t id, const char *name)
{
	struct attachment *a = find(l, id) == NULL ? cw_zalloc(sizeof(*a)) : NULL;

	if (a == NULL)
		return CW_ENOMEM;
	a->of = l;
	a->id = id;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	cw_list_push_back(&l->gw->attachments, &a->link);
	return 0;
}

int gw_attachment_write(struct link *l, uint64_t id, struct cw_bytes data)
{
	struct attachment *a = find(l, id);
	size_t need;

	if (a == NULL)
		return CW_EINVAL;
	need = a->len + data.len;
	if (need > l->gw->gateway->conf.attach_most)
		return CW_ELIMIT;
	if (need > a->size) {
		size_t size = a->size * 2 > need ? a->size * 2 : need;
		uint8_t *grown = cw_realloc(a->bytes, size);

		if (grown == NULL)
			return CW_ENOMEM;
		a->bytes = grown;
		a->size = size;
	}
	if (data.len > 0)
		memcpy(a->bytes + a->len, data.ptr, data.len);
	a->len = need;
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return errno;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static void on_work(uv_work_t *work)
{
	struct write_job *j = cw_container_of(work, struct write_job, work);
	int fd = open(j->hidden, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);

	if (fd < 0) {
		j->error = errno;
		return;
	}
	j->error = write_all(fd, j->bytes, j->len);
	if (close(fd) != 0 && j->error == 0)
		j->error = errno;
	if (j->error == 0 && rename(j->hidden, j->path) != 0)
		j->error = errno;
	if (j->error != 0)
		(void)unlink(j->hidden);
}

static void on_written(uv_work_t *work, int status)
{
	struct write_job *j = cw_container_of(work, struct write_job, work);

	if (status == 0 && j->error != 0)
		cw_log(attachment_failed, strerror(j->error), CW_LS("file", j->path), CW_LU("bytes", j->len));
	cw_free(j->bytes);
	cw_free(j);
}

static int store(struct link *l, struct attachment *a)
{
	struct write_job *j = cw_zalloc(sizeof(*j));
	const char *dir = l->gw->gateway->conf.attach_dir;
	int rc;

	if (j == NULL)
		return CW_ENOMEM;
	j->bytes = a->bytes;
	j->len = a->len;
	(void)snprintf(j->path, sizeof(j->path), "%s/%s", dir, a->name);
	(void)snprintf(j->hidden, sizeof(j->hidden), "%s/.%s.part", dir, a->name);
	rc = cw_err_from_uv(uv_queue_work(cw_worker_loop(l->gw->worker), &j->work, on_work, on_written));
	if (rc < 0) {
		cw_free(j);
		return rc;
	}
	a->bytes = NULL; /* the job's now */
	return 0;
}

int gw_attachment_close(struct link *l, uint64_t id, int commit)
{
	struct attachment *a = find(l, id);
	int rc = 0;

	if (a == NULL)
		return CW_EINVAL;
	if (commit)
		rc = store(l, a);
	drop(a);
	return rc;
}

void gw_attachments_gone(struct link *l)
{
	struct cw_list *e, *next;

	cw_list_each_safe(e, next, &l->gw->attachments) {
		struct attachment *a = cw_container_of(e, struct attachment, link);

		if (a->of == l)
			drop(a);
	}
}
