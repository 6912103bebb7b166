/* stream.c - see stream.h. */
#include "cloud/wire/stream.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

const char cw_cloud_stream_slow[] = "the client does not read";

struct cloud_port {
	struct cloud_port_conf conf;
	uv_tcp_t tcp;
	uv_prepare_t prepare;
	struct cw_list streams, dirty;
	unsigned open; /* streams and our own handles */
	void (*closed)(void *arg);
	void *closed_arg;
	char address[64];
	char read_buf[65536], plain_buf[65536];
};

static void flush(struct cloud_stream *s);

/* ---- ending ---- */

static void port_released(struct cloud_port *p)
{
	void (*closed)(void *arg) = p->closed;
	void *arg = p->closed_arg;

	if (--p->open != 0)
		return;
	cw_free(p);
	if (closed != NULL)
		closed(arg);
}

static void stream_gone(struct cw_closing *closing)
{
	struct cloud_stream *s = cw_container_of(closing, struct cloud_stream, closing);
	struct cloud_port *p = s->port;

	cw_list_remove(&s->all);
	p->conf.ops->freed(s);
	cw_cloud_tls_conn_free(s->tls);
	cw_cloud_ws_free(s->ws);
	cw_cloud_bytes_free(&s->in);
	cw_cloud_bytes_free(&s->out);
	cw_cloud_bytes_free(&s->framed);
	cw_cloud_bytes_free(&s->wire);
	cw_cloud_bytes_free(&s->writing);
	cw_free(s);
	port_released(p);
}

void cw_cloud_stream_drop(struct cloud_stream *s, const char *reason)
{
	if (s->ended)
		return;
	s->ended = 1;
	cw_list_remove(&s->dirty);
	if (cw_worker_timers(s->port->conf.worker) != NULL)
		cw_timer_stop(cw_worker_timers(s->port->conf.worker), &s->throttle);
	s->port->conf.ops->closed(s, reason);
	cw_log(cloud_closed, reason, CW_LS("peer", s->peer));
	cw_closing_close((uv_handle_t *)&s->tcp);
}

void cw_cloud_stream_doom(struct cloud_stream *s, const char *reason)
{
	if (s->ended || s->doomed != NULL)
		return;
	s->doomed = reason;
	cw_cloud_stream_dirty(s);
}

/* ---- writing ---- */

void cw_cloud_stream_dirty(struct cloud_stream *s)
{
	if (!s->ended && (s->dirty.next == NULL || cw_list_empty(&s->dirty)))
		cw_list_push_back(&s->port->dirty, &s->dirty);
}

uint8_t *cw_cloud_stream_want(struct cloud_stream *s, size_t n)
{
	uint8_t *at = s->ended ? NULL : cw_cloud_bytes_want(&s->out, n);

	if (at == NULL)
		cw_cloud_stream_doom(s, "out of memory");
	return at;
}

void cw_cloud_stream_put(struct cloud_stream *s, const void *data, size_t len)
{
	if (s->ended)
		return;
	if (cw_cloud_bytes_add(&s->out, data, len) < 0)
		cw_cloud_stream_doom(s, "out of memory");
	cw_cloud_stream_dirty(s);
}

static void on_written(uv_write_t *req, int status)
{
	struct cloud_stream *s = cw_container_of(req, struct cloud_stream, write);

	s->write_busy = 0;
	cw_cloud_bytes_reset(&s->writing);
	if (s->ended)
		return;
	if (status < 0) {
		cw_cloud_stream_drop(s, "the connection broke");
		return;
	}
	flush(s);
}

/* What the socket does not take at once goes on in the background. Returns 0 when all is written. */
static int write_wire(struct cloud_stream *s)
{
	uv_buf_t buf = uv_buf_init((char *)s->wire.data, (unsigned)s->wire.len);
	int n = uv_try_write((uv_stream_t *)&s->tcp, &buf, 1);
	struct cloud_bytes swap;

	if (n < 0 && n != UV_EAGAIN)
		return n;
	cw_cloud_bytes_drop(&s->wire, n > 0 ? (size_t)n : 0);
	if (s->wire.len == 0) {
		cw_cloud_bytes_reset(&s->wire);
		return 0;
	}
	swap = s->writing;
	s->writing = s->wire;
	s->wire = swap;
	buf = uv_buf_init((char *)s->writing.data, (unsigned)s->writing.len);
	n = uv_write(&s->write, (uv_stream_t *)&s->tcp, &buf, 1, on_written);
	s->write_busy = n == 0;
	return n;
}

static int encode(struct cloud_stream *s)
{
	struct cloud_bytes *from = s->ws != NULL ? &s->framed : &s->out, swap;
	int rc = s->ws != NULL ? cw_cloud_ws_wrap(s->ws, &s->out, &s->framed) : 0;

	if (rc < 0)
		return rc;
	if (s->tls != NULL)
		return cw_cloud_tls_flush(s->tls, from, &s->wire);
	if (s->wire.len == 0) {
		swap = s->wire;
		s->wire = *from;
		*from = swap;
		return 0;
	}
	rc = cw_cloud_bytes_add(&s->wire, from->data, from->len);
	cw_cloud_bytes_reset(from);
	return rc;
}

static void flush(struct cloud_stream *s)
{
	int rc;

	if (s->ended)
		return;
	rc = encode(s);
	if (rc == 0 && s->wire.len != 0 && !s->write_busy)
		rc = write_wire(s);
	if (rc < 0)
		cw_cloud_stream_drop(s, "the connection broke");
	else if (s->doomed != NULL && !s->write_busy && s->wire.len == 0)
		cw_cloud_stream_drop(s, s->doomed);
	else if (s->out.len + s->framed.len + s->wire.len + s->writing.len > s->port->conf.out_queue_bytes)
		cw_cloud_stream_drop(s, cw_cloud_stream_slow);
}

/* Before the loop waits: everything this pass has to say, one write a stream. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct cloud_port *p = cw_container_of(prepare, struct cloud_port, prepare);
	struct cw_list *e;

	while ((e = cw_list_pop(&p->dirty)) != NULL)
		flush(cw_container_of(e, struct cloud_stream, dirty));
}

static void on_shut(uv_shutdown_t *req, int status)
{
	cw_free(req);
}

void cw_cloud_stream_half_close(struct cloud_stream *s)
{
	uv_shutdown_t *req;

	if (s->ended)
		return;
	flush(s);
	if (s->ended)
		return;
	req = cw_zalloc(sizeof(*req));
	if (req == NULL || uv_shutdown(req, (uv_stream_t *)&s->tcp, on_shut) < 0)
		cw_free(req);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct cloud_stream *s = cw_container_of((uv_tcp_t *)handle, struct cloud_stream, tcp);

	*buf = uv_buf_init(s->port->read_buf, sizeof(s->port->read_buf));
}

/* What is whole is taken where it lies; only the unfinished rest is copied. */
static void feed_front(struct cloud_stream *s, const uint8_t *data, size_t len)
{
	size_t used;

	if (s->in.len != 0) {
		if (cw_cloud_bytes_add(&s->in, data, len) < 0) {
			cw_cloud_stream_drop(s, "out of memory");
			return;
		}
		used = s->port->conf.ops->data(s, s->in.data, s->in.len);
		cw_cloud_bytes_drop(&s->in, used);
		if (s->in.len == 0)
			cw_cloud_bytes_reset(&s->in);
		return;
	}
	used = s->port->conf.ops->data(s, data, len);
	if (used < len && !s->ended && cw_cloud_bytes_add(&s->in, data + used, len - used) < 0)
		cw_cloud_stream_drop(s, "out of memory");
}

/* What the frames carry is joined in s->in: their borders mean nothing. */
static void feed_ws(struct cloud_stream *s, const uint8_t *data, size_t len)
{
	int rc = cw_cloud_ws_feed(s->ws, data, len, &s->in, &s->framed);

	if (s->in.len != 0)
		feed_front(s, NULL, 0);
	if (rc == CW_ECLOSED)
		cw_cloud_stream_doom(s, cw_cloud_ws_reason(s->ws));
	else if (rc < 0)
		cw_cloud_stream_drop(s, "out of memory");
	cw_cloud_stream_dirty(s);
}

/* Behind TLS, if there is any. An HTTP request begins with G; no protocol that shares a port with it does. */
static void feed_plain(struct cloud_stream *s, const uint8_t *data, size_t len)
{
	const char *protocols = s->port->conf.websocket;

	if (!s->greeted && protocols != NULL && data[0] == 'G' && cw_cloud_ws_new(protocols, &s->ws) < 0) {
		cw_cloud_stream_drop(s, "out of memory");
		return;
	}
	s->greeted = 1;
	if (s->ws != NULL)
		feed_ws(s, data, len);
	else
		feed_front(s, data, len);
}

static void feed_tls(struct cloud_stream *s, const uint8_t *data, size_t len)
{
	struct cloud_port *p = s->port;
	int n = cw_cloud_tls_feed(s->tls, data, len);

	while (n == 0 && !s->ended) {
		n = cw_cloud_tls_read(s->tls, p->plain_buf, sizeof(p->plain_buf));
		if (n <= 0)
			break;
		feed_plain(s, (const uint8_t *)p->plain_buf, (size_t)n);
		n = 0;
	}
	if (s->ended)
		return;
	if (n == CW_EPROTO) { /* send the alert, then go */
		flush(s);
		cw_cloud_stream_drop(s, cw_cloud_tls_why(s->tls));
	} else if (n == CW_ECLOSED) {
		cw_cloud_stream_drop(s, "closed by the client");
	} else {
		cw_cloud_stream_dirty(s);
	}
}

/* A TLS record begins with 0x16; no protocol here begins like that. */
static int sniff(struct cloud_stream *s, uint8_t first)
{
	int rc;

	s->sniffed = 1;
	if (first != 0x16 || s->port->conf.tls == NULL)
		return s->port->conf.mode == CLOUD_PORT_TLS_ONLY ? CW_EPROTO : 0;
	rc = cw_cloud_tls_conn_new(s->port->conf.tls, s->port->conf.alpn, &s->tls);
	if (rc == 0 && s->port->conf.ask_certificate)
		cw_cloud_tls_ask(s->tls);
	return rc;
}

static void on_credit(struct cw_timer *t)
{
	struct cloud_stream *s = cw_container_of(t, struct cloud_stream, throttle);

	s->throttled = 0;
	cw_cloud_stream_recheck(s);
}

/* What is not read fills the client's own buffers, and then it waits: nothing is lost, and nobody else notices. */
static void throttle(struct cloud_stream *s)
{
	const struct cloud_port_ops *ops = s->port->conf.ops;
	int64_t rate = ops->rate != NULL ? (int64_t)ops->rate(s) : 0;
	uint64_t now = cw_worker_now(s->port->conf.worker), passed = now - s->credit_ms;

	if (rate <= 0) {
		s->credit_ms = 0;
		s->counted = s->received;
		return;
	}
	if (s->credit_ms == 0)
		s->credit = rate;
	else
		s->credit += (int64_t)(passed < 60000 ? passed : 60000) * rate / 1000;
	if (s->credit > rate)
		s->credit = rate;
	s->credit -= (int64_t)(s->received - s->counted);
	s->counted = s->received;
	s->credit_ms = now;
	if (s->credit >= 0 || s->throttled)
		return;
	s->throttled = 1;
	if (ops->throttled != NULL)
		ops->throttled(s, (uint64_t)rate);
	cw_timer_set(cw_worker_timers(s->port->conf.worker), &s->throttle, (uint64_t)(-s->credit * 1000 / rate) + 1, on_credit);
	cw_cloud_stream_recheck(s);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
	struct cloud_stream *s = cw_container_of((uv_tcp_t *)handle, struct cloud_stream, tcp);
	const uint8_t *data = (const uint8_t *)buf->base;
	int rc = 0;

	if (n == 0)
		return;
	if (n < 0) {
		cw_cloud_stream_drop(s, n == UV_EOF ? "closed by the client" : "the connection broke");
		return;
	}
	s->received += (uint64_t)n;
	throttle(s);
	if (!s->sniffed)
		rc = sniff(s, data[0]);
	if (rc < 0)
		cw_cloud_stream_drop(s, rc == CW_EPROTO ? "this port speaks TLS only" : "out of memory");
	else if (s->tls != NULL)
		feed_tls(s, data, (size_t)n);
	else
		feed_plain(s, data, (size_t)n);
}

void cw_cloud_stream_recheck(struct cloud_stream *s)
{
	int want = !s->throttled && (s->port->conf.ops->may_read == NULL || s->port->conf.ops->may_read(s));

	if (s->ended || want == s->reading)
		return;
	s->reading = want;
	if (want)
		(void)uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
	else
		(void)uv_read_stop((uv_stream_t *)&s->tcp);
}

/* ---- listening ---- */

static void name_of(const struct sockaddr_storage *ss, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "";

	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)ss;

		(void)uv_ip6_name(v6, host, sizeof(host));
		(void)snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		const struct sockaddr_in *v4 = (const void *)ss;

		(void)uv_ip4_name(v4, host, sizeof(host));
		(void)snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
	}
}

static void on_connection(uv_stream_t *server, int status)
{
	struct cloud_port *p = cw_container_of((uv_tcp_t *)server, struct cloud_port, tcp);
	struct cloud_stream *s = status == 0 ? cw_zalloc(p->conf.ops->size) : NULL;
	struct sockaddr_storage peer = { 0 };
	int len = sizeof(peer), rc;

	if (s == NULL)
		return;
	cw_closing_init(&s->closing, stream_gone);
	s->port = p;
	if (uv_tcp_init(cw_worker_loop(p->conf.worker), &s->tcp) < 0) {
		cw_free(s);
		return;
	}
	cw_closing_add(&s->closing, (uv_handle_t *)&s->tcp);
	cw_list_push_back(&p->streams, &s->all);
	p->open++;
	rc = uv_accept(server, (uv_stream_t *)&s->tcp);
	if (rc == 0)
		(void)uv_tcp_nodelay(&s->tcp, 1);
	if (rc == 0 && uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&peer, &len) == 0)
		name_of(&peer, s->peer, sizeof(s->peer));
	p->conf.ops->opened(s);
	if (rc < 0)
		cw_cloud_stream_drop(s, "accept failed");
	else
		cw_cloud_stream_recheck(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
	port_released(handle->data);
}

int cw_cloud_parse_address(const char *text, struct sockaddr_storage *ret, struct cw_msg *msg)
{
	const char *colon = strrchr(text, ':');
	char host[64], *end;
	size_t n = colon != NULL ? (size_t)(colon - text) : sizeof(host);
	long port = colon != NULL ? strtol(colon + 1, &end, 10) : -1;

	if (n >= sizeof(host) || port < 0 || port > 65535 || *end != '\0' || colon[1] == '\0')
		return cw_fail(msg, CW_ECONF, "address \"%s\": host:port with a numeric host is accepted", text);
	memcpy(host, text, n);
	host[n] = '\0';
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)ret) == 0)
			return 0;
	} else if (uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port, (struct sockaddr_in *)ret) == 0) {
		return 0;
	}
	return cw_fail(msg, CW_ECONF, "address \"%s\": host:port with a numeric host is accepted", text);
}

static int listen_on(struct cloud_port *p, const struct sockaddr_storage *ss, struct cw_msg *msg)
{
	struct sockaddr_storage bound = { 0 };
	int len = sizeof(bound), rc;

	rc = uv_tcp_bind(&p->tcp, (const struct sockaddr *)ss, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&p->tcp, 4096, on_connection);
	if (rc == 0)
		rc = uv_tcp_getsockname(&p->tcp, (struct sockaddr *)&bound, &len);
	if (rc < 0)
		return cw_fail(msg, cw_err_from_uv(rc), "cannot listen on %s: %s", p->conf.address, uv_strerror(rc));
	name_of(&bound, p->address, sizeof(p->address));
	return 0;
}

int cw_cloud_port_open(const struct cloud_port_conf *conf, struct cloud_port **ret_port, struct cw_msg *msg)
{
	struct sockaddr_storage ss = { 0 };
	struct cloud_port *p;
	int rc = cw_cloud_parse_address(conf->address, &ss, msg);

	if (rc < 0)
		return rc;
	p = cw_zalloc(sizeof(*p));
	if (p == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	p->conf = *conf;
	cw_list_init(&p->streams);
	cw_list_init(&p->dirty);
	rc = uv_tcp_init(cw_worker_loop(conf->worker), &p->tcp);
	if (rc < 0) {
		cw_free(p);
		return cw_fail(msg, cw_err_from_uv(rc), "cannot make a socket: %s", uv_strerror(rc));
	}
	(void)uv_prepare_init(cw_worker_loop(conf->worker), &p->prepare);
	p->tcp.data = p->prepare.data = p;
	p->open = 2;
	(void)uv_prepare_start(&p->prepare, on_prepare);
	rc = listen_on(p, &ss, msg);
	if (rc < 0) {
		cw_cloud_port_close(p, NULL, NULL);
		return rc;
	}
	*ret_port = p;
	return 0;
}

const char *cw_cloud_port_address(const struct cloud_port *p)
{
	return p->address;
}

void *cw_cloud_port_arg(const struct cloud_port *p)
{
	return p->conf.arg;
}

void cw_cloud_port_close(struct cloud_port *p, void (*closed)(void *arg), void *arg)
{
	struct cw_list *e, *n;

	p->closed = closed;
	p->closed_arg = arg;
	cw_list_each_safe(e, n, &p->streams) {
		struct cloud_stream *s = cw_container_of(e, struct cloud_stream, all);

		if (!s->ended)
			cw_cloud_stream_drop(s, "the emulator stops");
	}
	uv_close((uv_handle_t *)&p->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&p->prepare, on_handle_closed);
}
