/* capture.c - see capture.h: which format it is, and the list that all of them fill. */
#include "capture/capture_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static int grow(void **v, size_t *size, size_t need, size_t each)
{
	size_t more = *size == 0 ? 64 : *size;
	void *grown;

	if (need <= *size)
		return 0;
	while (more < need)
		more *= 2;
	grown = cw_realloc(*v, more * each);
	if (grown == NULL)
		return CW_ENOMEM;
	*v = grown;
	*size = more;
	return 0;
}

int capture_conn(struct cw_capture *c, const char *name, uint32_t *ret_conn)
{
	void *v = c->conns;

	if (c->conn_count == CONNS_MOST)
		return CW_ELIMIT;
	if (grow(&v, &c->conn_size, c->conn_count + 1, sizeof(*c->conns)) < 0)
		return CW_ENOMEM;
	c->conns = v;
	memset(&c->conns[c->conn_count], 0, sizeof(*c->conns));
	(void)snprintf(c->conns[c->conn_count].name, sizeof(c->conns[0].name), "%.*s", (int)sizeof(c->conns[0].name) - 1, name);
	*ret_conn = (uint32_t)c->conn_count++;
	return 0;
}

/* No clock says this; sums of two such times fit easily. */
static int64_t sane_time(int64_t ms)
{
	return ms < 0 ? 0 : ms > (int64_t)1 << 52 ? (int64_t)1 << 52 : ms;
}

static int add_event(struct cw_capture *c, struct cw_seen **ret_event)
{
	void *v = c->events;

	if (c->count == EVENTS_MOST)
		return CW_ELIMIT;
	if (grow(&v, &c->size, c->count + 1, sizeof(*c->events)) < 0)
		return CW_ENOMEM;
	c->events = v;
	*ret_event = &c->events[c->count++];
	memset(*ret_event, 0, sizeof(**ret_event));
	return 0;
}

int capture_event(struct cw_capture *c, uint32_t conn, int kind, int64_t time_ms, struct cw_bytes bytes)
{
	struct cw_seen *e;
	void *v = c->bytes;
	int rc;

	if (grow(&v, &c->bytes_size, c->len + bytes.len, 1) < 0)
		return CW_ENOMEM;
	c->bytes = v;
	rc = add_event(c, &e);
	if (rc < 0)
		return rc;
	e->time_ms = sane_time(time_ms);
	e->conn = conn;
	e->kind = (uint8_t)kind;
	e->at = c->len;
	e->len = bytes.len;
	if (bytes.len > 0)
		memcpy(c->bytes + c->len, bytes.ptr, bytes.len);
	c->len += bytes.len;
	return 0;
}

int capture_gap(struct cw_capture *c, uint32_t conn, int down, int64_t time_ms, uint64_t len)
{
	struct cw_seen *e;
	int rc = add_event(c, &e);

	if (rc < 0)
		return rc;
	e->time_ms = sane_time(time_ms);
	e->conn = conn;
	e->kind = CW_SEEN_GAP;
	e->down = (uint8_t)down;
	e->len = len;
	return 0;
}

static int is_text(struct cw_bytes file)
{
	size_t i;

	for (i = 0; i < file.len && i < 4096; i++)
		if (file.ptr[i] < 0x20 && file.ptr[i] != '\n' && file.ptr[i] != '\r' && file.ptr[i] != '\t')
			return 0;
	return 1;
}

/* Bytes of no format we know: what one device sent. */
static int stream_read(struct cw_capture *c, struct cw_bytes file, const struct cw_capture_how *how)
{
	uint32_t conn;
	int rc = capture_conn(c, "stream", &conn);

	c->format = "a stream of bytes";
	if (rc == 0)
		rc = capture_event(c, conn, CW_SEEN_OPEN, how->start_ms, cw_bytes_of(NULL, 0));
	return rc < 0 ? rc : capture_event(c, conn, CW_SEEN_UP, how->start_ms, file);
}

static int read_any(struct cw_capture *c, struct cw_bytes file, const struct cw_capture_how *how, struct cw_msg *msg)
{
	size_t i = 0;
	int rc = pcap_read(c, file, how, msg);

	if (rc != CW_EPROTO || msg->text[0] != '\0')
		return rc;
	if (!is_text(file))
		return stream_read(c, file, how);
	while (i < file.len && strchr(" \t\r\n", file.ptr[i]) != NULL)
		i++;
	return i < file.len && file.ptr[i] == '{' ? recording_read(c, file, msg) : lines_read(c, file, how, msg);
}

int cw_capture_read(struct cw_bytes file, const struct cw_capture_how *how, struct cw_capture **ret_capture, struct cw_msg *msg)
{
	struct cw_capture *c = cw_zalloc(sizeof(*c));
	int rc;

	msg->text[0] = '\0';
	if (c == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	if (file.len > CW_CAPTURE_FILE_MOST)
		rc = cw_fail(msg, CW_ELIMIT, "the capture is longer than %u MiB; cut it in pieces", CW_CAPTURE_FILE_MOST >> 20);
	else
		rc = read_any(c, file, how, msg);
	if (rc == 0) {
		*ret_capture = c;
		return 0;
	}
	if (msg->text[0] == '\0')
		(void)cw_fail(msg, rc, "%s", rc == CW_ELIMIT ? "more than 65536 connections or 8 million events in one capture; cut it in pieces"
		                                             : cw_error_text(rc));
	cw_capture_free(c);
	return rc;
}

void cw_capture_free(struct cw_capture *c)
{
	if (c == NULL)
		return;
	cw_free(c->events);
	cw_free(c->conns);
	cw_free(c->bytes);
	cw_free(c);
}
