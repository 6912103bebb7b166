/*
 * write.c - bytes towards the device.
 *
 * At first they are offered to the socket directly; what it does not take is kept
 * in chunks, of which the first belongs to libuv while it is being written and the
 * last is filled up by what follows. So an idle connection keeps nothing, and a
 * slow one keeps few large pieces instead of many small ones.
 */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/inside.h"

#define COLLECT_SIZE (64u * 1024u)
#define CHUNK_LEAST 4000u

/* Only one session of a thread is inside its read callback at a time. */
static _Thread_local struct {
	struct cw_session *owner;
	size_t len;
	uint8_t data[COLLECT_SIZE];
} collected;

static void on_written(uv_write_t *req, int status);

static int fail(struct cw_session *s, int rc, const char *reason)
{
	cw_session_abort(s, rc, reason);
	return rc;
}

static void drop_first(struct cw_session *s)
{
	struct cw_net_out *o = s->first;

	s->first = o->next;
	if (s->first == NULL)
		s->last = NULL;
	s->queued -= o->len;
	cw_free(o);
}

void cw_net_write_free(struct cw_session *s)
{
	while (s->first != NULL)
		drop_first(s);
}

static int start_write(struct cw_session *s)
{
	struct cw_net_out *o = s->first;
	uv_buf_t buf = uv_buf_init((char *)o->data, o->len);
	int rc = uv_write(&o->req, &s->u.stream, &buf, 1, on_written);

	return rc < 0 ? fail(s, cw_err_from_uv(rc), uv_strerror(rc)) : 0;
}

/* Half of the limit, above which writable() is due below half of that. */
static size_t high_mark(const struct cw_session *s)
{
	return (size_t)s->policy->conf.limits.bytes_per_connection / 2;
}

static void on_written(uv_write_t *req, int status)
{
	struct cw_session *s = cw_container_of(req->handle->data, struct cw_session, closing);

	if (s->state == CW_NET_CLOSED) /* libuv cancels late; what is kept is freed with the session */
		return;
	if (status < 0) {
		cw_session_abort(s, cw_err_from_uv(status), uv_strerror(status));
		return;
	}
	cw_count_n(net, bytes_out, s->first->len);
	drop_first(s);
	if (s->first != NULL && start_write(s) < 0)
		return;
	if (s->state == CW_NET_FLUSHING) {
		cw_net_session_flushed(s);
	} else if (s->flags & CW_NET_HIGH && s->queued <= high_mark(s) / 2) {
		s->flags &= (uint8_t)~CW_NET_HIGH;
		if (s->port->ops->writable != NULL && s->flags & CW_NET_HAS_CTX)
			s->port->ops->writable(s->ctx);
	}
}

/* A chunk at the end with room for more. */
static struct cw_net_out *add_chunk(struct cw_session *s, size_t len)
{
	size_t size = len < CHUNK_LEAST ? CHUNK_LEAST : len;
	struct cw_net_out *o = cw_alloc(sizeof(*o) + size);

	if (o == NULL)
		return NULL;
	o->next = NULL;
	o->len = 0;
	o->size = (uint32_t)size;
	if (s->last != NULL)
		s->last->next = o;
	else
		s->first = o;
	s->last = o;
	return o;
}

static int keep(struct cw_session *s, struct cw_bytes out)
{
	struct cw_net_out *o = s->last;
	int idle = s->first == NULL;

	if (s->queued + out.len > s->policy->conf.limits.bytes_per_connection) {
		cw_net_count(s->port->gate, closed_bytes);
		return fail(s, CW_ELIMIT, "bytesPerConnection reached: the peer does not read");
	}
	if (o == NULL || o == s->first || o->size - o->len < out.len)
		o = add_chunk(s, out.len);
	if (o == NULL)
		return fail(s, CW_ENOMEM, "out of memory");
	memcpy(o->data + o->len, out.ptr, out.len);
	o->len += (uint32_t)out.len;
	s->queued += out.len;
	if (s->queued > high_mark(s))
		s->flags |= CW_NET_HIGH;
	return idle ? start_write(s) : 0;
}

static int write_now(struct cw_session *s, struct cw_bytes out)
{
	if (s->first == NULL && out.len > 0) {
		uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
		int n = uv_try_write(&s->u.stream, &buf, 1);

		if (n < 0 && n != UV_EAGAIN)
			return fail(s, cw_err_from_uv(n), uv_strerror(n));
		if (n > 0) {
			cw_count_n(net, bytes_out, n);
			out = cw_bytes_of(out.ptr + n, out.len - (size_t)n);
		}
	}
	return out.len > 0 ? keep(s, out) : 0;
}

int cw_net_write(struct cw_session *s, struct cw_bytes out)
{
	int rc;

	if (s->state == CW_NET_CLOSED)
		return CW_ECLOSED;
	if (collected.owner != s)
		return write_now(s, out);
	if (out.len > COLLECT_SIZE - collected.len) {
		rc = cw_net_collect_flush(s);
		if (rc < 0 || out.len > COLLECT_SIZE)
			return rc < 0 ? rc : write_now(s, out);
	}
	if (out.len > 0)
		memcpy(collected.data + collected.len, out.ptr, out.len);
	collected.len += out.len;
	return 0;
}

void cw_net_collect(struct cw_session *s)
{
	collected.owner = s;
	collected.len = 0;
}

int cw_net_collect_flush(struct cw_session *s)
{
	size_t len = collected.len;

	if (collected.owner != s || len == 0)
		return 0;
	collected.len = 0;
	return s->state == CW_NET_CLOSED ? CW_ECLOSED : write_now(s, cw_bytes_of(collected.data, len));
}

void cw_net_collect_end(struct cw_session *s)
{
	(void)cw_net_collect_flush(s);
	collected.owner = NULL;
}

/* ---- datagrams ------------------------------------------------------------- */

struct datagram {
	uv_udp_send_t req;
	struct cw_session *s;
	size_t len;
	uint8_t data[];
};

static void on_datagram_sent(uv_udp_send_t *req, int status)
{
	struct datagram *d = cw_container_of(req, struct datagram, req);
	struct cw_session *s = d->s;

	if (status == 0)
		cw_count_n(net, bytes_out, d->len);
	s->queued -= d->len;
	cw_free(d);
	if (--s->closing.open == 0)
		cw_net_session_on_gone(&s->closing);
	else if (s->state == CW_NET_FLUSHING)
		cw_net_session_flushed(s);
}

int cw_net_write_datagram(struct cw_session *s, struct cw_bytes out)
{
	struct sockaddr_storage to;
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
	struct datagram *d;
	int rc;

	cw_net_udp_sockaddr(s, &to);
	rc = uv_udp_try_send(&s->port->u.udp, &buf, 1, (const struct sockaddr *)&to);
	if (rc >= 0) {
		cw_count_n(net, bytes_out, out.len);
		return 0;
	}
	if (rc != UV_EAGAIN)
		return cw_err_from_uv(rc); /* too long, no route: this datagram's trouble, not the session's */
	if (s->queued + out.len > s->policy->conf.limits.bytes_per_connection)
		return CW_EBUSY;
	d = cw_alloc(sizeof(*d) + out.len);
	if (d == NULL)
		return CW_ENOMEM;
	d->s = s;
	d->len = out.len;
	if (out.len > 0)
		memcpy(d->data, out.ptr, out.len);
	buf = uv_buf_init((char *)d->data, (unsigned)out.len);
	rc = uv_udp_send(&d->req, &s->port->u.udp, &buf, 1, (const struct sockaddr *)&to, on_datagram_sent);
	if (rc < 0) {
		cw_free(d);
		return cw_err_from_uv(rc);
	}
	s->queued += out.len;
	s->closing.open++;
	return 0;
}
