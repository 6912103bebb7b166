/* mqtt_front.c - listener and bytes of the MQTT channel; see mqtt_front.h. What packets mean is in mqtt_session.c. */
#include "cloud/mqtt/front.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "cloud/mqtt/conn.h"

static void flush(struct mqtt_conn *m);

static void conn_gone(struct cw_closing *closing)
{
	struct mqtt_conn *m = cw_container_of(closing, struct mqtt_conn, closing);
	struct cloud_mqtt *f = m->front;

	cw_list_remove(&m->all);
	cw_cloud_link_fini(&m->link);
	cw_cloud_tls_conn_free(m->tls);
	cw_cloud_bytes_free(&m->in);
	cw_cloud_bytes_free(&m->out);
	cw_cloud_bytes_free(&m->wire);
	cw_cloud_bytes_free(&m->writing);
	cw_free(m);
	cw_cloud_mqtt_released(f);
}

void cw_cloud_mqtt_drop(struct mqtt_conn *m, const char *reason)
{
	if (m->state == MQTT_CLOSING)
		return;
	m->state = MQTT_CLOSING;
	cw_cloud_link_down(m->front->cloud, &m->link, reason);
	cw_list_remove(&m->dirty);
	if (cw_worker_timers(m->front->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(m->front->cloud->worker), &m->deadline);
	cw_log(cloud_closed, reason, CW_LS("peer", m->link.peer));
	cw_closing_close((uv_handle_t *)&m->tcp);
}

void cw_cloud_mqtt_dirty(struct mqtt_conn *m)
{
	if (m->dirty.next == NULL || cw_list_empty(&m->dirty))
		cw_list_push_back(&m->front->dirty, &m->dirty);
}

void cw_cloud_mqtt_put(struct mqtt_conn *m, const void *data, size_t len)
{
	if (m->state == MQTT_CLOSING)
		return;
	if (cw_cloud_bytes_add(&m->out, data, len) < 0)
		m->doomed = "out of memory";
	cw_cloud_mqtt_dirty(m);
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
	struct mqtt_conn *m = cw_container_of(req, struct mqtt_conn, write);

	m->write_busy = 0;
	cw_cloud_bytes_reset(&m->writing);
	if (m->state == MQTT_CLOSING)
		return;
	if (status < 0) {
		cw_cloud_mqtt_drop(m, "the connection broke");
		return;
	}
	flush(m);
}

/* What the socket does not take at once goes on in the background. Returns 0 when all is written. */
static int write_wire(struct mqtt_conn *m)
{
	uv_buf_t buf = uv_buf_init((char *)m->wire.data, (unsigned)m->wire.len);
	int n = uv_try_write((uv_stream_t *)&m->tcp, &buf, 1);
	struct cloud_bytes swap;

	if (n < 0 && n != UV_EAGAIN)
		return n;
	cw_cloud_bytes_drop(&m->wire, n > 0 ? (size_t)n : 0);
	if (m->wire.len == 0) {
		cw_cloud_bytes_reset(&m->wire);
		return 0;
	}
	swap = m->writing;
	m->writing = m->wire;
	m->wire = swap;
	buf = uv_buf_init((char *)m->writing.data, (unsigned)m->writing.len);
	n = uv_write(&m->write, (uv_stream_t *)&m->tcp, &buf, 1, on_written);
	m->write_busy = n == 0;
	return n;
}

static void flush(struct mqtt_conn *m)
{
	size_t limit = m->front->cloud->conf.limits.out_queue_bytes;
	int rc = 0;

	if (m->state == MQTT_CLOSING)
		return;
	if (m->tls != NULL) {
		rc = cw_cloud_tls_flush(m->tls, &m->out, &m->wire);
	} else if (m->wire.len == 0) {
		struct cloud_bytes swap = m->wire;

		m->wire = m->out;
		m->out = swap;
	} else {
		rc = cw_cloud_bytes_add(&m->wire, m->out.data, m->out.len);
		cw_cloud_bytes_reset(&m->out);
	}
	if (rc == 0 && m->wire.len != 0 && !m->write_busy)
		rc = write_wire(m);
	if (rc < 0) {
		cw_cloud_mqtt_drop(m, "the connection broke");
	} else if (m->doomed != NULL && !m->write_busy && m->wire.len == 0) {
		cw_cloud_mqtt_drop(m, m->doomed);
	} else if (m->out.len + m->wire.len + m->writing.len > limit) {
		m->front->cloud->stats.slow_closed++;
		cw_cloud_mqtt_drop(m, "the client does not read");
	}
}

/* Before the loop waits: everything this pass has to say, one write a connection. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct cloud_mqtt *f = cw_container_of(prepare, struct cloud_mqtt, prepare);
	struct cw_list *e;

	while ((e = cw_list_pop(&f->dirty)) != NULL)
		flush(cw_container_of(e, struct mqtt_conn, dirty));
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct mqtt_conn *m = cw_container_of((uv_tcp_t *)handle, struct mqtt_conn, tcp);

	*buf = uv_buf_init(m->front->read_buf, sizeof(m->front->read_buf));
}

/* Whole packets are decoded where they lie; only the unfinished rest is copied. */
static void feed_plain(struct mqtt_conn *m, const uint8_t *data, size_t len)
{
	size_t used;

	if (m->in.len != 0) {
		if (cw_cloud_bytes_add(&m->in, data, len) < 0) {
			cw_cloud_mqtt_drop(m, "out of memory");
			return;
		}
		used = cw_cloud_mqtt_packets(m, m->in.data, m->in.len);
		cw_cloud_bytes_drop(&m->in, used);
		if (m->in.len == 0)
			cw_cloud_bytes_reset(&m->in);
		return;
	}
	used = cw_cloud_mqtt_packets(m, data, len);
	if (used < len && m->state != MQTT_CLOSING && cw_cloud_bytes_add(&m->in, data + used, len - used) < 0)
		cw_cloud_mqtt_drop(m, "out of memory");
}

static void feed_tls(struct mqtt_conn *m, const uint8_t *data, size_t len)
{
	int n = cw_cloud_tls_feed(m->tls, data, len);

	while (n == 0 && m->state != MQTT_CLOSING) {
		n = cw_cloud_tls_read(m->tls, m->front->plain_buf, sizeof(m->front->plain_buf));
		if (n <= 0)
			break;
		feed_plain(m, (const uint8_t *)m->front->plain_buf, (size_t)n);
		n = 0;
	}
	if (m->state == MQTT_CLOSING)
		return;
	if (n == CW_EPROTO) { /* send the alert, then go */
		flush(m);
		cw_cloud_mqtt_drop(m, "TLS failed");
		return;
	}
	if (n == CW_ECLOSED)
		cw_cloud_mqtt_drop(m, "closed by the client");
	else
		cw_cloud_mqtt_dirty(m);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct mqtt_conn *m = cw_container_of((uv_tcp_t *)stream, struct mqtt_conn, tcp);
	const uint8_t *data = (const uint8_t *)buf->base;

	if (n == 0)
		return;
	if (n < 0) {
		cw_cloud_mqtt_drop(m, n == UV_EOF ? "closed by the client" : "the connection broke");
		return;
	}
	if (m->state == MQTT_FIRST_BYTE) {
		m->state = MQTT_LOGIN;
		if (data[0] == 0x16) { /* a TLS record; CONNECT begins with 0x10 */
			if (cw_cloud_tls_conn_new(m->front->tls, &m->tls) < 0) {
				cw_cloud_mqtt_drop(m, "out of memory");
				return;
			}
			m->link.tls = 1;
		}
	}
	if (m->tls != NULL)
		feed_tls(m, data, (size_t)n);
	else
		feed_plain(m, data, (size_t)n);
}

void cw_cloud_mqtt_read_again(struct mqtt_conn *m)
{
	int want = cw_cloud_mqtt_may_read(m);

	if (m->state == MQTT_CLOSING || want == m->reading)
		return;
	m->reading = want;
	if (want)
		(void)uv_read_start((uv_stream_t *)&m->tcp, on_alloc, on_read);
	else
		(void)uv_read_stop((uv_stream_t *)&m->tcp);
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
	struct cloud_mqtt *f = cw_container_of((uv_tcp_t *)server, struct cloud_mqtt, tcp);
	struct mqtt_conn *m = status == 0 ? cw_zalloc(sizeof(*m)) : NULL;
	struct sockaddr_storage peer = { 0 };
	int len = sizeof(peer);

	if (m == NULL)
		return;
	cw_closing_init(&m->closing, conn_gone);
	m->front = f;
	cw_list_init(&m->inflight);
	cw_list_init(&m->waiting);
	if (uv_tcp_init(cw_worker_loop(f->cloud->worker), &m->tcp) < 0) {
		cw_free(m);
		return;
	}
	cw_closing_add(&m->closing, (uv_handle_t *)&m->tcp);
	cw_cloud_link_init(f->cloud, &m->link, &cw_cloud_mqtt_ops, 0);
	cw_list_push_back(&f->conns, &m->all);
	f->open++;
	if (uv_accept(server, (uv_stream_t *)&m->tcp) < 0) {
		cw_cloud_mqtt_drop(m, "accept failed");
		return;
	}
	(void)uv_tcp_nodelay(&m->tcp, 1);
	if (uv_tcp_getpeername(&m->tcp, (struct sockaddr *)&peer, &len) == 0)
		name_of(&peer, m->link.peer, sizeof(m->link.peer));
	cw_cloud_mqtt_begin(m);
	cw_cloud_mqtt_read_again(m);
}

void cw_cloud_mqtt_released(struct cloud_mqtt *f)
{
	void (*closed)(void *arg) = f->closed;
	void *arg = f->closed_arg;

	if (--f->open != 0)
		return;
	cw_free(f);
	if (closed != NULL)
		closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
	cw_cloud_mqtt_released(handle->data);
}

/* "host:port" or "[v6]:port", numeric. */
static int parse_address(const char *text, struct sockaddr_storage *ret, struct cw_msg *msg)
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

static int listen_on(struct cloud_mqtt *f, const struct sockaddr_storage *ss, const char *address, struct cw_msg *msg)
{
	struct sockaddr_storage bound = { 0 };
	int len = sizeof(bound), rc;

	rc = uv_tcp_bind(&f->tcp, (const struct sockaddr *)ss, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&f->tcp, 4096, on_connection);
	if (rc == 0)
		rc = uv_tcp_getsockname(&f->tcp, (struct sockaddr *)&bound, &len);
	if (rc < 0)
		return cw_fail(msg, cw_err_from_uv(rc), "cannot listen on %s: %s", address, uv_strerror(rc));
	name_of(&bound, f->address, sizeof(f->address));
	return 0;
}

int cw_cloud_mqtt_open(struct cw_cloud *c, struct cloud_tls *tls, const char *address, struct cloud_mqtt **ret_front,
                       struct cw_msg *msg)
{
	struct sockaddr_storage ss = { 0 };
	struct cloud_mqtt *f;
	int rc = parse_address(address, &ss, msg);

	if (rc < 0)
		return rc;
	f = cw_zalloc(sizeof(*f));
	if (f == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	f->cloud = c;
	f->tls = tls;
	cw_list_init(&f->conns);
	cw_list_init(&f->dirty);
	rc = uv_tcp_init(cw_worker_loop(c->worker), &f->tcp);
	if (rc < 0) {
		cw_free(f);
		return cw_fail(msg, cw_err_from_uv(rc), "cannot make a socket: %s", uv_strerror(rc));
	}
	(void)uv_prepare_init(cw_worker_loop(c->worker), &f->prepare);
	f->tcp.data = f->prepare.data = f;
	f->open = 2;
	(void)uv_prepare_start(&f->prepare, on_prepare);
	rc = listen_on(f, &ss, address, msg);
	if (rc < 0) {
		cw_cloud_mqtt_close(f, NULL, NULL);
		return rc;
	}
	*ret_front = f;
	return 0;
}

const char *cw_cloud_mqtt_address(const struct cloud_mqtt *f)
{
	return f->address;
}

void cw_cloud_mqtt_close(struct cloud_mqtt *f, void (*closed)(void *arg), void *arg)
{
	struct cw_list *e, *n;

	f->closed = closed;
	f->closed_arg = arg;
	cw_list_each_safe(e, n, &f->conns)
		cw_cloud_mqtt_drop(cw_container_of(e, struct mqtt_conn, all), "the emulator stops");
	uv_close((uv_handle_t *)&f->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&f->prepare, on_handle_closed);
}
