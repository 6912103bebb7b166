/* front.c - the bridge channel's streams, from accept to the last closed handle; see front.h and conn.h. */
#include "cloud/core/traffic/violations.h"
#include "cloud/http2/front.h"

#include "base/log.h"
#include "cloud/core/fault/fault.h"
#include "cloud/http2/conn.h"

#define LOGIN_MS 30000u /* from accept to the login */

static struct h2_conn *conn_of(struct cloud_stream *s)
{
	return cw_container_of(s, struct h2_conn, stream);
}

/* ---- deadlines ---- */

/* Input only notes the time; here it is looked at. */
static void on_idle(struct cw_timer *t)
{
	struct h2_conn *x = cw_container_of(t, struct h2_conn, deadline);
	uint64_t now = cw_worker_now(x->cloud->worker), due = x->heard_ms + H2_IDLE_MS;

	if (!x->stream.reading) /* it is us who do not listen */
		due = now + H2_IDLE_MS;
	if (now < due) {
		cw_timer_set(cw_cloud_h2_timers(x->cloud), &x->deadline, due - now, on_idle);
		return;
	}
	x->cloud->stats.keepalive_closed++;
	cw_cloud_h2_goodbye(x, NGHTTP2_NO_ERROR, "idle");
}

/* The machine's time, however far the platform's clock is put forward. */
static void on_login_deadline(struct cw_timer *t)
{
	struct h2_conn *x = cw_container_of(t, struct h2_conn, deadline);
	uint64_t now = cw_worker_now(x->cloud->worker);

	if (x->state == H2_UP)
		on_idle(t);
	else if (now < x->heard_ms + LOGIN_MS)
		cw_timer_set(cw_cloud_h2_timers(x->cloud), t, x->heard_ms + LOGIN_MS - now, on_login_deadline);
	else
		cw_cloud_h2_goodbye(x, NGHTTP2_NO_ERROR, "no login in time");
}

/* ---- streams ---- */

static void on_opened(struct cloud_stream *s)
{
	struct h2_conn *x = conn_of(s);

	x->front = cw_cloud_port_arg(s->port);
	x->cloud = x->front->cloud;
	cw_list_init(&x->deferred);
	cw_list_init(&x->outstanding);
	cw_list_init(&x->reqs);
	cw_list_init(&x->promised);
	x->heard_ms = cw_worker_now(x->cloud->worker);
	if (cw_cloud_h2_begin(x) < 0) {
		cw_cloud_stream_drop(s, "out of memory");
		return;
	}
	/* Our SETTINGS leave with the answer to the client's first bytes: then TLS is up. */
	cw_timer_set(cw_cloud_h2_timers(x->cloud), &x->deadline, LOGIN_MS, on_login_deadline);
}

static size_t on_data(struct cloud_stream *s, const uint8_t *data, size_t len)
{
	struct h2_conn *x = conn_of(s);
	size_t used = len;

	if (x->state >= H2_LEAVING)
		return len;
	if (x->state == H2_UP) /* before the login only time counts */
		x->heard_ms = cw_worker_now(x->cloud->worker);
	x->front->busy++;
	used = cw_cloud_h2_filter(x, data, len);
	cw_cloud_h2_drain(x);
	if (x->leave != NULL)
		cw_cloud_h2_goodbye(x, NGHTTP2_NO_ERROR, x->leave);
	if (--x->front->busy == 0)
		cw_cloud_h2_pump_due(x->front);
	return x->state >= H2_LEAVING ? len : used;
}

static void on_closed(struct cloud_stream *s, const char *reason)
{
	struct h2_conn *x = conn_of(s);
	struct cw_timers *timers = cw_cloud_h2_timers(x->cloud);

	x->state = H2_CLOSED;
	if (reason == cw_cloud_stream_slow) {
		x->cloud->stats.slow_closed++;
		cw_cloud_violation(x->cloud, x->bridge != NULL ? x->bridge->device : NULL, "outQueue", "connection closed");
	}
	cw_cloud_h2_part(x, reason);
	if (timers == NULL)
		return;
	cw_timer_stop(timers, &x->deadline);
	cw_timer_stop(timers, &x->repeat);
	cw_timer_stop(timers, &x->resume);
}

static void on_freed(struct cloud_stream *s)
{
	cw_cloud_h2_end(conn_of(s));
}

static int may_read(const struct cloud_stream *s)
{
	const struct h2_conn *x = (const struct h2_conn *)(const void *)s;

	return x->bridge == NULL || !cw_cloud_fault_active(x->cloud, CLOUD_FAULT_STALL, "http2", x->bridge->device->id);
}

static uint64_t rate(const struct cloud_stream *s)
{
	const struct h2_conn *x = (const struct h2_conn *)(const void *)s;

	return x->bridge != NULL ? cw_cloud_fault_rate(x->cloud, "http2", x->bridge->device->id) : 0;
}

static const struct cloud_port_ops port_ops = {
	.size = sizeof(struct h2_conn),
	.opened = on_opened,
	.data = on_data,
	.closed = on_closed,
	.freed = on_freed,
	.may_read = may_read,
	.rate = rate,
};

/* ---- the front ---- */

static void front_free(struct h2_front *f)
{
	nghttp2_session_callbacks_del(f->callbacks);
	nghttp2_option_del(f->option);
	cw_map_fini(&f->nets);
	cw_free(f);
}

/* Nobody is served before the loop runs, and the state file is read by then. */
static void on_restore(struct cw_timer *t)
{
	cw_cloud_h2_restore(cw_container_of(t, struct h2_front, restore));
}

static int front_open(const struct cloud_front_conf *conf, void **ret_front, struct cw_msg *msg)
{
	struct h2_front *f = cw_zalloc(sizeof(*f));
	struct cloud_port_conf port = { .worker = conf->cloud->worker,
					.tls = conf->tls,
					.mode = CLOUD_PORT_TLS_ONLY,
					.alpn = "h2",
					.address = conf->address,
					.out_queue_bytes = conf->cloud->conf.limits.out_queue_bytes,
					.ops = &port_ops,
					.arg = f };
	int rc;

	if (f == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	f->cloud = conf->cloud;
	cw_map_init(&f->nets);
	cw_list_init(&f->bridges);
	cw_list_init(&f->due);
	rc = cw_cloud_h2_callbacks(f);
	if (rc == 0)
		rc = cw_cloud_routes_add(conf->routes, "/auth/bridge", cw_cloud_h2_auth, f);
	rc = rc < 0 ? cw_fail(msg, rc, "out of memory") : cw_cloud_port_open(&port, &f->port, msg);
	if (rc < 0) {
		front_free(f);
		return rc;
	}
	cw_timer_set(cw_cloud_h2_timers(f->cloud), &f->restore, 0, on_restore);
	*ret_front = f;
	return 0;
}

static const char *front_address(const void *front)
{
	return cw_cloud_port_address(((const struct h2_front *)front)->port);
}

static void on_port_closed(void *arg)
{
	struct h2_front *f = arg;
	void (*closed)(void *arg) = f->closed;
	void *closed_arg = f->closed_arg;

	front_free(f);
	if (closed != NULL)
		closed(closed_arg);
}

/* Large bridges' devices are online again after the next start, so they are not logged out, only let go. */
static void front_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct h2_front *f = front;
	struct cw_list *e;

	f->closed = closed;
	f->closed_arg = arg;
	f->stopping = 1;
	cw_timer_stop(cw_cloud_h2_timers(f->cloud), &f->restore);
	while ((e = cw_list_first(&f->bridges)) != NULL) {
		struct h2_bridge *b = cw_container_of(e, struct h2_bridge, all);

		cw_cloud_link_down(f->cloud, &b->link, "the emulator stops");
		b->link.ops->close(&b->link, "the emulator stops");
	}
	cw_cloud_port_close(f->port, on_port_closed, f);
}

const struct cloud_front cw_cloud_http2_front = { front_open, front_address, front_close };
