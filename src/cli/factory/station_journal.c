/* station_journal.c - see station.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "cli/factory/station.h"

static const char *const words[] = { "got", "written", "failed", "reported" };

enum { LINE_MOST = 32 + PRODUCT_KEY_LEN + DEVICE_NAME_LEN + DEVICE_ID_LEN };

static int add(struct station_journal *j, const char *pk, const char *dn, const char *id, struct station_entry **ret)
{
	struct station_entry *e = cw_zalloc(sizeof(*e));

	*ret = e;
	if (e == NULL)
		return CW_ENOMEM;
	(void)snprintf(e->product_key, sizeof(e->product_key), "%s", pk);
	(void)snprintf(e->device_name, sizeof(e->device_name), "%s", dn);
	(void)snprintf(e->device_id, sizeof(e->device_id), "%s", id);
	cw_list_push_back(&j->entries, &e->link);
	return 0;
}

static void end(struct station_entry *e)
{
	cw_list_remove(&e->link);
	cw_free(e);
}

/* ---- reading -------------------------------------------------------------------------------- */

static struct station_entry *find(struct station_journal *j, const char *pk, const char *id)
{
	struct cw_list *l;

	cw_list_each(l, &j->entries) {
		struct station_entry *e = cw_container_of(l, struct station_entry, link);

		if (strcmp(e->product_key, pk) == 0 && strcmp(e->device_id, id) == 0)
			return e;
	}
	return NULL;
}

/* A board that was written and came again keeps what it has: it is the same certificate. */
static int apply(struct station_journal *j, enum station_state state, const char *pk, const char *dn, const char *id)
{
	struct station_entry *e = find(j, pk, id);

	if (state == STATION_REPORTED || (state == STATION_FAILED && e != NULL && e->state == STATION_GOT)) {
		if (e != NULL)
			end(e);
		return 0;
	}
	if (state == STATION_FAILED)
		return 0;
	if (e == NULL && add(j, pk, dn, id, &e) < 0)
		return CW_ENOMEM;
	if (state == STATION_WRITTEN)
		e->state = STATION_WRITTEN;
	return 0;
}

/* Cuts `line` at its tabs. */
static int read_line(struct station_journal *j, char *line)
{
	char *part[4];
	size_t i;

	for (i = 0; i < 4; i++) {
		part[i] = strsep(&line, i < 3 ? "\t" : "\n");
		if (part[i] == NULL)
			return CW_EPROTO;
	}
	if (strlen(part[1]) > PRODUCT_KEY_LEN || strlen(part[2]) > DEVICE_NAME_LEN || strlen(part[3]) > DEVICE_ID_LEN)
		return CW_EPROTO;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(part[0], words[i]) == 0)
			return apply(j, (enum station_state)i, part[1], part[2], part[3]);
	return CW_EPROTO;
}

/* A last line without its end is what a power cut left: it was not waited for, and is dropped. */
static int read_all(struct station_journal *j, FILE *f, struct cw_msg *msg)
{
	char line[LINE_MOST + 2];
	unsigned n = 0;
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof(line), f) != NULL) {
		size_t len = strlen(line);

		n++;
		if (line[len - 1] != '\n') {
			if (feof(f))
				break;
			rc = CW_EPROTO;
		} else {
			rc = read_line(j, line);
		}
		j->size += (long long)len;
	}
	if (rc == 0 && ferror(f))
		return cw_fail(msg, CW_EIO, "%s: %s", j->path, strerror(errno));
	if (rc == CW_EPROTO)
		return cw_fail(msg, rc, "%s, line %u: this is no journal of a station; is it the right file?", j->path, n);
	return rc;
}

static int load(struct station_journal *j, struct cw_msg *msg)
{
	int copy = dup(j->fd), rc;
	FILE *f = copy < 0 ? NULL : fdopen(copy, "r");

	if (f == NULL) {
		if (copy >= 0)
			(void)close(copy);
		return cw_fail(msg, CW_EIO, "%s: %s", j->path, strerror(errno));
	}
	rc = read_all(j, f, msg);
	(void)fclose(f);
	if (rc < 0)
		return rc;
	if (cw_list_empty(&j->entries))
		j->size = 0; /* nothing is open: begin anew */
	if (ftruncate(j->fd, (off_t)j->size) != 0 || fsync(j->fd) != 0)
		return cw_fail(msg, CW_EIO, "%s: %s", j->path, strerror(errno));
	return 0;
}

/* The name of a new file is in its directory. */
static int sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[1024];
	int fd, rc;

	(void)snprintf(dir, sizeof(dir), "%.*s", slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path), slash == NULL ? "." : path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

int station_journal_open(struct station_journal *j, const char *path, struct cw_msg *msg)
{
	int rc;

	memset(j, 0, sizeof(*j));
	pthread_mutex_init(&j->lock, NULL);
	cw_list_init(&j->entries);
	j->fd = -1;
	j->path = path;
	if (path == NULL)
		return 0;
	j->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (j->fd < 0)
		return cw_fail(msg, CW_EIO, "%s: %s", path, strerror(errno));
	if (flock(j->fd, LOCK_EX | LOCK_NB) != 0)
		rc = cw_fail(msg, CW_EBUSY, "%s: another station uses this journal; each has its own", path);
	else if (sync_directory(path) != 0)
		rc = cw_fail(msg, CW_EIO, "%s: its folder cannot be synchronized: %s", path, strerror(errno));
	else
		rc = load(j, msg);
	if (rc < 0)
		station_journal_close(j);
	return rc;
}

void station_journal_close(struct station_journal *j)
{
	struct cw_list *l;

	while ((l = cw_list_first(&j->entries)) != NULL)
		end(cw_container_of(l, struct station_entry, link));
	if (j->fd >= 0)
		(void)close(j->fd);
	j->fd = -1;
	pthread_mutex_destroy(&j->lock);
}

/* ---- writing -------------------------------------------------------------------------------- */

static int append(struct station_journal *j, enum station_state state, const char *pk, const char *dn, const char *id, struct cw_msg *msg)
{
	char line[LINE_MOST + 2];
	int len, err;
	ssize_t n;

	if (j->fd < 0)
		return 0;
	len = snprintf(line, sizeof(line), "%s\t%s\t%s\t%s\n", words[state], pk, dn, id);
	n = write(j->fd, line, (size_t)len);
	if (n == len && fdatasync(j->fd) == 0) {
		j->size += len;
		return 0;
	}
	err = n >= 0 && n != len ? ENOSPC : errno;
	if (ftruncate(j->fd, (off_t)j->size) != 0) { /* half a line at the end is dropped when it is opened again */
	}
	return cw_fail(msg, CW_EIO, "%s: %s; make room, or give another --journal", j->path, strerror(err));
}

static int is_printable(const char *text)
{
	char tame[DEVICE_NAME_LEN + DEVICE_ID_LEN + 1]; /* either of them */

	(void)snprintf(tame, sizeof(tame), "%s", text);
	cw_utf8_tame(tame);
	return strcmp(tame, text) == 0;
}

int station_journal_got(struct station_journal *j, const struct triple_burn_cert *cert, struct station_entry **ret, struct cw_msg *msg)
{
	int rc;

	*ret = NULL;
	/* Names and ids are the server's, who is not to write lines of ours, or to a terminal. */
	if (!is_printable(cert->device_name) || !is_printable(cert->device_id))
		return cw_fail(msg, CW_EPROTO, "the reply's DeviceName or DeviceID has control characters");
	pthread_mutex_lock(&j->lock);
	rc = append(j, STATION_GOT, cert->product_key, cert->device_name, cert->device_id, msg);
	if (rc == 0)
		rc = add(j, cert->product_key, cert->device_name, cert->device_id, ret);
	if (rc == 0)
		(*ret)->busy = 1;
	pthread_mutex_unlock(&j->lock);
	return rc == CW_ENOMEM ? cw_fail(msg, rc, "%s", cw_error_text(rc)) : rc;
}

int station_journal_note(struct station_journal *j, struct station_entry *e, enum station_state state, struct cw_msg *msg)
{
	int rc;

	pthread_mutex_lock(&j->lock);
	rc = append(j, state, e->product_key, e->device_name, e->device_id, msg);
	e->state = state;
	if (state != STATION_WRITTEN)
		end(e);
	pthread_mutex_unlock(&j->lock);
	return rc;
}

struct station_entry *station_journal_take(struct station_journal *j, unsigned round)
{
	struct station_entry *found = NULL;
	struct cw_list *l;

	pthread_mutex_lock(&j->lock);
	cw_list_each(l, &j->entries) {
		struct station_entry *e = cw_container_of(l, struct station_entry, link);

		if (e->state == STATION_WRITTEN && !e->busy && e->round != round) {
			e->busy = 1;
			e->round = round;
			found = e;
			break;
		}
	}
	pthread_mutex_unlock(&j->lock);
	return found;
}

void station_journal_put_back(struct station_journal *j, struct station_entry *e)
{
	pthread_mutex_lock(&j->lock);
	e->busy = 0;
	pthread_mutex_unlock(&j->lock);
}
