/* station_ids.c - see station.h. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "cli/factory/station.h"

/* 1: bytes came; 0: the end; CW_EIO. */
static int fill(struct station_ids *ids, struct cw_msg *msg)
{
	struct pollfd p[2] = { { .fd = ids->fd, .events = POLLIN }, { .fd = ids->stop_fd, .events = POLLIN } };
	ssize_t n;

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return cw_fail(msg, CW_EIO, "%s", strerror(errno));
		if (p[1].revents != 0) {
			ids->id_len = 0;
			return 0;
		}
		n = read(ids->fd, ids->buffer, sizeof(ids->buffer));
		if (n >= 0) {
			ids->at = 0;
			ids->len = (size_t)n;
			return n > 0;
		}
		if (errno != EAGAIN && errno != EINTR)
			return cw_fail(msg, CW_EIO, "%s", strerror(errno));
	}
}

/* One byte more. 1: that was the end of a line. */
static int take(struct station_ids *ids, char c)
{
	if (c == '\n' || c == '\r')
		return 1;
	if (ids->id_len == 0 && (c == ' ' || c == '\t'))
		return 0;
	if (ids->id_len < DEVICE_ID_LEN)
		ids->id[ids->id_len++] = c;
	else if (c != ' ' && c != '\t')
		ids->too_long = 1;
	return 0;
}

/* 1: an id; 0: nothing on that line; or why it is none. */
static int finish(struct station_ids *ids, struct cw_msg *msg)
{
	size_t len = ids->id_len, i;
	int too_long = ids->too_long;

	ids->id_len = 0;
	ids->too_long = 0;
	while (len > 0 && (ids->id[len - 1] == ' ' || ids->id[len - 1] == '\t'))
		len--;
	ids->id[len] = '\0';
	if (too_long)
		return cw_fail(msg, CW_EINVAL, "a line is longer than the %d bytes of a DeviceID", DEVICE_ID_LEN);
	for (i = 0; i < len; i++)
		if ((unsigned char)ids->id[i] < 0x20 || ids->id[i] == 0x7F)
			return cw_fail(msg, CW_EINVAL, "a line has control characters; is the scanner's speed (--baud) right?");
	if (!cw_utf8_valid(cw_bytes_of(ids->id, len)))
		return cw_fail(msg, CW_EINVAL, "a line is no UTF-8; is the scanner's speed (--baud) right?");
	return len > 0;
}

int station_ids_next(struct station_ids *ids, struct cw_msg *msg)
{
	int rc;

	for (;;) {
		while (ids->at < ids->len) {
			if (!take(ids, ids->buffer[ids->at++]))
				continue;
			rc = finish(ids, msg);
			if (rc != 0)
				return rc;
		}
		if (ids->over)
			return 0;
		rc = fill(ids, msg);
		if (rc < 0)
			return rc;
		ids->over = rc == 0;
		if (rc == 0)
			return finish(ids, msg); /* a last line without its end */
	}
}
