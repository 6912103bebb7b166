/*
 * firmware.c - see firmware.h.
 *
 * A job is one file under way: download -> check (libuv's pool) -> handed to all who
 * wished for it. The part file DIR/METHOD-DIGEST.part is what a later attempt goes on
 * with; DIR/METHOD-DIGEST is whole and right.
 */
#include "firmware/firmware.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mbedtls/md.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"

#define PATH_SIZE 1200
#define TEXT_SIZE 400
#define DIGEST_MOST 64 /* hexadecimal digits of SHA-256 */
#define RETRY_MOST_MS 60000u

struct cw_firmware {
	struct cw_worker *w;
	struct cw_firmware_conf conf;
	struct cw_list jobs;
	unsigned refs; /* this module's user, jobs being checked, files */
	int gone;
	char dir[1024], ca[1024];
};

struct cw_firmware_file {
	struct cw_firmware *f;
	unsigned refs;
	int fd;
	uint64_t size;
};

struct job {
	struct cw_list link, wishes;
	struct cw_firmware *f;
	struct cw_fetch *fetch;
	struct cw_timer pause;
	uv_work_t check;
	int checking, fd, rc;
	unsigned attempt;
	uint64_t size, have; /* announced (0: not), and in the part file */
	mbedtls_md_type_t md;
	char digest[DIGEST_MOST + 1];
	char path[PATH_SIZE], part[PATH_SIZE];
	char text[TEXT_SIZE];
	char url[];
};

static void unref(struct cw_firmware *f)
{
	if (--f->refs == 0)
		cw_free(f);
}

int cw_firmware_new(struct cw_worker *control, const struct cw_firmware_conf *conf, struct cw_firmware **ret_firmware)
{
	struct cw_firmware *f = cw_zalloc(sizeof(*f));

	if (f == NULL)
		return CW_ENOMEM;
	f->w = control;
	f->conf = *conf;
	f->refs = 1;
	cw_list_init(&f->jobs);
	(void)snprintf(f->dir, sizeof(f->dir), "%s", conf->dir);
	if (conf->ca != NULL)
		(void)snprintf(f->ca, sizeof(f->ca), "%s", conf->ca);
	*ret_firmware = f;
	return 0;
}

/* ---- the end of a job --------------------------------------------------------------- */

static void free_job(struct job *j)
{
	cw_list_remove(&j->link);
	if (j->fetch != NULL)
		cw_fetch_cancel(j->fetch);
	cw_timer_stop(cw_worker_timers(j->f->w), &j->pause);
	if (j->fd >= 0)
		close(j->fd);
	cw_free(j);
}

void cw_firmware_free(struct cw_firmware *f)
{
	struct cw_list *e, *next;

	if (f == NULL)
		return;
	f->gone = 1;
	cw_list_each_safe (e, next, &f->jobs) {
		struct job *j = cw_container_of(e, struct job, link);

		if (!j->checking) /* else it is freed when the pool is done with it */
			free_job(j);
	}
	unref(f);
}

static struct cw_firmware_file *open_file(struct cw_firmware *f, const char *path)
{
	struct cw_firmware_file *file = cw_zalloc(sizeof(*file));
	struct stat st;

	if (file == NULL)
		return NULL;
	file->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (file->fd < 0 || fstat(file->fd, &st) != 0) {
		if (file->fd >= 0)
			close(file->fd);
		cw_free(file);
		return NULL;
	}
	file->f = f;
	file->size = (uint64_t)st.st_size;
	file->refs = 1;
	f->refs++;
	return file;
}

/* Tell everybody who wished for it; the job is gone then. */
static void finish(struct job *j, int rc)
{
	struct cw_list *e;

	if (rc == 0)
		cw_count(firmware, files);
	else
		cw_count(firmware, failed);
	if (rc < 0)
		cw_log(firmware_failed, j->text, CW_LS("file", strrchr(j->path, '/') + 1));
	while ((e = cw_list_pop(&j->wishes)) != NULL) {
		struct cw_firmware_wish *w = cw_container_of(e, struct cw_firmware_wish, link);
		struct cw_firmware_file *file = rc == 0 ? open_file(j->f, j->path) : NULL;

		w->job = NULL;
		w->done(w, rc == 0 && file == NULL ? CW_EIO : rc, file, j->text);
	}
	free_job(j);
}

static int sentence(struct job *j, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int sentence(struct job *j, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(j->text, sizeof(j->text), fmt, ap);
	va_end(ap);
	return rc;
}

/* ---- what is kept -------------------------------------------------------------------- */

/* Unlink the oldest files until no more than `keep` bytes are there. Whoever holds one keeps reading it. */
static void make_room(struct cw_firmware *f, const char *but)
{
	for (;;) {
		char oldest[PATH_SIZE] = "", path[PATH_SIZE];
		struct stat st, first = { 0 };
		uint64_t bytes = 0;
		struct dirent *d;
		DIR *dir = opendir(f->dir);

		while (dir != NULL && (d = readdir(dir)) != NULL) {
			(void)snprintf(path, sizeof(path), "%.900s/%.255s", f->dir, d->d_name);
			if (d->d_name[0] == '.' || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
				continue;
			bytes += (uint64_t)st.st_size;
			if (strcmp(path, but) == 0 || (oldest[0] != '\0' && st.st_mtime >= first.st_mtime))
				continue;
			first = st;
			(void)snprintf(oldest, sizeof(oldest), "%s", path);
		}
		if (dir != NULL)
			closedir(dir);
		if (bytes <= f->conf.keep || oldest[0] == '\0' || unlink(oldest) != 0)
			return;
	}
}

/* ---- checking, on the pool ------------------------------------------------------------- */

static void hash_file(uv_work_t *work)
{
	struct job *j = cw_container_of(work, struct job, check);
	const mbedtls_md_info_t *info = mbedtls_md_info_from_type(j->md);
	unsigned char buf[65536], sum[32];
	char hex[DIGEST_MOST + 1];
	mbedtls_md_context_t md;
	off_t at = 0;
	ssize_t n;

	j->rc = CW_EIO;
	mbedtls_md_init(&md);
	if (info == NULL || mbedtls_md_setup(&md, info, 0) != 0 || mbedtls_md_starts(&md) != 0)
		goto out;
	while ((n = pread(j->fd, buf, sizeof(buf), at)) > 0 && mbedtls_md_update(&md, buf, (size_t)n) == 0)
		at += n;
	if (n != 0 || mbedtls_md_finish(&md, sum) != 0)
		goto out;
	cw_hex(hex, cw_bytes_of(sum, mbedtls_md_get_size(info)));
	j->rc = strcmp(hex, j->digest) == 0 ? 0 : CW_EPROTO;
	if (j->rc == 0 && (fsync(j->fd) != 0 || rename(j->part, j->path) != 0))
		j->rc = CW_EIO;
out:
	mbedtls_md_free(&md);
}

static void on_checked(uv_work_t *work, int status)
{
	struct job *j = cw_container_of(work, struct job, check);
	struct cw_firmware *f = j->f;

	j->checking = 0;
	if (f->gone) {
		free_job(j);
	} else if (j->rc == 0) {
		make_room(f, j->path);
		finish(j, 0);
	} else if (j->rc == CW_EPROTO) {
		(void)unlink(j->part); /* nothing good would come of going on with it */
		finish(j, sentence(j, CW_EPROTO, "the file's digest is not the one that was announced"));
	} else {
		finish(j, sentence(j, CW_EIO, "%s: cannot be read or renamed", j->part));
	}
	unref(f);
}

static void check(struct job *j)
{
	if (j->size != 0 && j->have != j->size) {
		(void)unlink(j->part);
		finish(j, sentence(j, CW_EPROTO, "the file has %llu bytes, announced were %llu", (unsigned long long)j->have,
				   (unsigned long long)j->size));
		return;
	}
	j->checking = 1;
	j->f->refs++;
	if (uv_queue_work(cw_worker_loop(j->f->w), &j->check, hash_file, on_checked) != 0) {
		j->checking = 0;
		unref(j->f);
		finish(j, sentence(j, CW_ENOMEM, "out of memory"));
	}
}

/* ---- downloading ------------------------------------------------------------------------- */

static void attempt(struct job *j);

static void on_pause(struct cw_timer *t)
{
	attempt(cw_container_of(t, struct job, pause));
}

static void try_again(struct job *j, int rc, const char *why)
{
	uint64_t ms = (uint64_t)j->f->conf.retry_ms << (j->attempt < 8 ? j->attempt - 1 : 7);

	if (why != j->text)
		(void)sentence(j, rc, "%s", why);
	if (j->attempt >= j->f->conf.attempts) {
		finish(j, rc);
		return;
	}
	cw_timer_set(cw_worker_timers(j->f->w), &j->pause, ms < RETRY_MOST_MS ? ms : RETRY_MOST_MS, on_pause);
}

/* The server does not go on where we were: from the start. */
static int from_start(struct job *j)
{
	j->have = 0;
	return ftruncate(j->fd, 0) == 0 ? 0 : CW_EIO;
}

static int on_data(void *ctx, int status, struct cw_bytes piece)
{
	struct job *j = ctx;
	uint64_t most = j->size != 0 ? j->size : j->f->conf.most;

	if (status != 200 && status != 206)
		return 0; /* the text of an error */
	if (status == 200 && j->have > 0 && j->rc == 0 && from_start(j) < 0)
		return CW_EIO;
	j->rc = status; /* the first piece was seen */
	if (j->have + piece.len > most)
		return sentence(j, CW_EPROTO, "the file is longer than the %llu bytes that were announced or are allowed",
				(unsigned long long)most);
	if (pwrite(j->fd, piece.ptr, piece.len, (off_t)j->have) != (ssize_t)piece.len)
		return sentence(j, CW_EIO, "%s: cannot be written: %s", j->part, strerror(errno));
	j->have += piece.len;
	cw_count_n(firmware, bytes, piece.len);
	return 0;
}

static void on_fetched(void *ctx, const struct cw_fetch_reply *reply)
{
	struct job *j = ctx;

	j->fetch = NULL;
	if (reply->rc == CW_EPROTO) {
		(void)unlink(j->part);
		finish(j, reply->rc);
	} else if (reply->rc < 0) {
		try_again(j, reply->rc, j->text[0] != '\0' ? j->text : reply->text);
	} else if (reply->status == 200 || reply->status == 206) {
		check(j);
	} else if (reply->status == 416 && j->have > 0) { /* nothing is left of that range: is it whole, or another file? */
		check(j);
	} else {
		(void)sentence(j, CW_EIO, "the server answered with status %d", reply->status);
		if (reply->status >= 400 && reply->status < 500 && reply->status != 408 && reply->status != 429)
			finish(j, CW_EIO); /* asking again would not help */
		else
			try_again(j, CW_EIO, j->text);
	}
}

static void attempt(struct job *j)
{
	char range[64];
	const char *headers[2] = { NULL, NULL };
	struct cw_fetch_request r = {
		.url = j->url,
		.headers = headers,
		.tls = { .ca = j->f->ca[0] != '\0' ? j->f->ca : NULL, .verify = 1 },
		.timeout_ms = 3600000,
		.stall_ms = j->f->conf.stall_ms,
		.most = SIZE_MAX,
		.on_data = on_data,
		.done = on_fetched,
		.ctx = j,
	};
	int rc;

	j->attempt++;
	j->rc = 0;
	j->text[0] = '\0';
	if (j->size != 0 && j->have == j->size) {
		check(j);
		return;
	}
	if (j->have > 0) {
		(void)snprintf(range, sizeof(range), "Range: bytes=%llu-", (unsigned long long)j->have);
		headers[0] = range;
	}
	cw_count(firmware, downloads);
	rc = cw_fetch_start(j->f->conf.pool, &r, &j->fetch);
	if (rc < 0)
		try_again(j, rc, "the download could not be started: out of memory, or the address cannot be used");
}

/* ---- wishing -------------------------------------------------------------------------------- */

static int open_part(struct job *j)
{
	struct stat st;

	if (mkdir(j->f->dir, 0700) != 0 && errno != EEXIST)
		return sentence(j, CW_EIO, "%s: cannot be made: %s", j->f->dir, strerror(errno));
	j->fd = open(j->part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (j->fd < 0 || fstat(j->fd, &st) != 0)
		return sentence(j, CW_EIO, "%s: cannot be opened: %s", j->part, strerror(errno));
	j->have = (uint64_t)st.st_size;
	if (j->size != 0 && j->have > j->size)
		return from_start(j);
	return 0;
}

/* The digest in lower case, if it is one of the method's. */
static int take_digest(struct job *j, const struct cw_firmware_info *info)
{
	size_t i, n = info->digest == NULL ? 0 : strlen(info->digest);
	int sha = info->method != NULL && strcasecmp(info->method, "SHA256") == 0;

	j->md = sha ? MBEDTLS_MD_SHA256 : MBEDTLS_MD_MD5;
	if (!sha && info->method != NULL && info->method[0] != '\0' && strcasecmp(info->method, "MD5") != 0)
		return sentence(j, CW_EINVAL, "signMethod is neither MD5 nor SHA256");
	if (n != (sha ? 64u : 32u))
		return sentence(j, CW_EINVAL, "the digest has %zu digits, %s has %u", n, sha ? "SHA256" : "MD5", sha ? 64u : 32u);
	for (i = 0; i < n; i++) {
		if (!isxdigit((unsigned char)info->digest[i]))
			return sentence(j, CW_EINVAL, "the digest is not hexadecimal");
		j->digest[i] = (char)tolower((unsigned char)info->digest[i]);
	}
	return 0;
}

static int prepare(struct job *j, const struct cw_firmware_info *info)
{
	int rc = take_digest(j, info);

	if (rc < 0)
		return rc;
	if (strncasecmp(j->url, "https://", 8) != 0 && strncasecmp(j->url, "http://", 7) != 0)
		return sentence(j, CW_EINVAL, "the address is neither https:// nor http://");
	if (info->size > j->f->conf.most)
		return sentence(j, CW_ELIMIT, "the file has %llu bytes, allowed are %llu (firmware.maxBytes)",
				(unsigned long long)info->size, (unsigned long long)j->f->conf.most);
	j->size = info->size;
	(void)snprintf(j->path, sizeof(j->path), "%s/%s-%s", j->f->dir, j->md == MBEDTLS_MD_MD5 ? "md5" : "sha256", j->digest);
	(void)snprintf(j->part, sizeof(j->part), "%.*s.part", (int)sizeof(j->part) - 6, j->path);
	return 0;
}

static void begin(struct cw_timer *t)
{
	struct job *j = cw_container_of(t, struct job, pause);
	struct stat st;

	if (j->rc < 0)
		finish(j, j->rc);
	else if (stat(j->path, &st) == 0 && (j->size == 0 || (uint64_t)st.st_size == j->size))
		finish(j, 0); /* it was checked when it got this name */
	else if ((j->rc = open_part(j)) < 0)
		finish(j, j->rc);
	else
		attempt(j);
}

static struct job *find_job(struct cw_firmware *f, const struct job *like)
{
	struct cw_list *e;

	cw_list_each (e, &f->jobs) {
		struct job *j = cw_container_of(e, struct job, link);

		if (j != like && j->rc >= 0 && strcmp(j->path, like->path) == 0 && j->size == like->size)
			return j;
	}
	return NULL;
}

int cw_firmware_want(struct cw_firmware *f, const struct cw_firmware_info *info, struct cw_firmware_wish *w)
{
	const char *url = info->url == NULL ? "" : info->url;
	struct job *same = NULL, *j = cw_zalloc(sizeof(*j) + strlen(url) + 1);

	if (j == NULL)
		return CW_ENOMEM;
	memcpy(j->url, url, strlen(url) + 1);
	j->f = f;
	j->fd = -1;
	cw_list_init(&j->wishes);
	(void)snprintf(j->path, sizeof(j->path), "%s/?", f->dir);
	j->rc = prepare(j, info);
	if (j->rc == 0)
		same = find_job(f, j);
	if (same != NULL) {
		cw_free(j);
		j = same;
	} else {
		cw_list_push_back(&f->jobs, &j->link);
		cw_timer_set(cw_worker_timers(f->w), &j->pause, 0, begin);
	}
	w->job = j;
	cw_list_push_back(&j->wishes, &w->link);
	return 0;
}

void cw_firmware_drop(struct cw_firmware_wish *w)
{
	struct job *j = w->job;

	if (j == NULL)
		return;
	w->job = NULL;
	cw_list_remove(&w->link);
	if (cw_list_empty(&j->wishes) && !j->checking)
		free_job(j); /* the part file stays for the next time */
}

/* ---- reading ------------------------------------------------------------------------------------ */

uint64_t cw_firmware_size(const struct cw_firmware_file *file)
{
	return file->size;
}

void cw_firmware_unref(struct cw_firmware_file *file)
{
	struct cw_firmware *f;

	if (file == NULL || --file->refs > 0)
		return;
	f = file->f;
	close(file->fd);
	cw_free(file);
	unref(f);
}

struct reading {
	uv_fs_t req;
	struct cw_firmware_file *file;
	void (*done)(void *ctx, int rc, struct cw_bytes bytes);
	void *ctx;
	uv_buf_t buf;
	uint8_t bytes[];
};

static void on_read(uv_fs_t *req)
{
	struct reading *r = cw_container_of(req, struct reading, req);
	ssize_t n = req->result;

	uv_fs_req_cleanup(req);
	r->done(r->ctx, n < 0 ? CW_EIO : 0, cw_bytes_of(r->bytes, n < 0 ? 0 : (size_t)n));
	cw_firmware_unref(r->file);
	cw_free(r);
}

int cw_firmware_read(struct cw_firmware_file *file, uint64_t offset, size_t length,
		     void (*done)(void *ctx, int rc, struct cw_bytes bytes), void *ctx)
{
	struct reading *r = cw_zalloc(sizeof(*r) + length);
	int rc;

	if (r == NULL)
		return CW_ENOMEM;
	r->file = file;
	r->done = done;
	r->ctx = ctx;
	r->buf = uv_buf_init((char *)r->bytes, (unsigned)length);
	file->refs++;
	rc = uv_fs_read(cw_worker_loop(file->f->w), &r->req, file->fd, &r->buf, 1, (int64_t)offset, on_read);
	if (rc < 0) {
		cw_firmware_unref(file);
		cw_free(r);
		return cw_err_from_uv(rc);
	}
	return 0;
}
