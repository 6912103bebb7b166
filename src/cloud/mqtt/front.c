/* front.c - streams of the MQTT channel; see front.h. What packets mean is in session.c. */
#include "cloud/core/traffic/violations.h"
#include "cloud/mqtt/front.h"

#include "base/log.h"
#include "cloud/mqtt/conn.h"

static struct mqtt_conn *conn_of(struct cloud_stream *s)
{
	return cw_container_of(s, struct mqtt_conn, stream);
}

static void on_opened(struct cloud_stream *s)
{
	struct mqtt_conn *m = conn_of(s);

	m->cloud = cw_cloud_port_arg(s->port);
	cw_list_init(&m->inflight);
	cw_list_init(&m->waiting);
	cw_cloud_link_init(m->cloud, &m->link, &cw_cloud_mqtt_ops, 0);
	memcpy(m->link.peer, s->peer, sizeof(m->link.peer));
	cw_cloud_mqtt_begin(m);
}

static size_t on_data(struct cloud_stream *s, const uint8_t *data, size_t len)
{
	struct mqtt_conn *m = conn_of(s);

	m->link.tls = s->tls != NULL;
	m->link.websocket = s->ws != NULL;
	return cw_cloud_mqtt_packets(m, data, len);
}

static void on_closed(struct cloud_stream *s, const char *reason)
{
	struct mqtt_conn *m = conn_of(s);

	m->state = MQTT_CLOSING;
	if (reason == cw_cloud_stream_slow) {
		m->cloud->stats.slow_closed++;
		cw_cloud_violation(m->cloud, m->link.owner, "outQueue", "connection closed");
	}
	cw_cloud_link_down(m->cloud, &m->link, reason);
	if (cw_worker_timers(m->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(m->cloud->worker), &m->deadline);
}

static void on_freed(struct cloud_stream *s)
{
	cw_cloud_link_fini(&conn_of(s)->link);
}

static int may_read(const struct cloud_stream *s)
{
	return cw_cloud_mqtt_may_read((const struct mqtt_conn *)(const void *)s);
}

static uint64_t rate(const struct cloud_stream *s)
{
	return cw_cloud_mqtt_rate((const struct mqtt_conn *)(const void *)s);
}

static void throttled(struct cloud_stream *s, uint64_t by)
{
	cw_cloud_mqtt_throttled(conn_of(s), by);
}

static const struct cloud_port_ops port_ops = {
	.size = sizeof(struct mqtt_conn),
	.opened = on_opened,
	.data = on_data,
	.closed = on_closed,
	.freed = on_freed,
	.may_read = may_read,
	.rate = rate,
	.throttled = throttled,
};

static int front_open(const struct cloud_front_conf *conf, void **ret_front, struct cw_msg *msg)
{
	struct cloud_port_conf port = { .worker = conf->cloud->worker, .tls = conf->tls, .mode = CLOUD_PORT_BOTH, .websocket = "mqtt mqttv3.1",
		                        .ask_certificate = 1,
		                        .address = conf->address, .out_queue_bytes = conf->cloud->conf.limits.out_queue_bytes,
		                        .ops = &port_ops, .arg = conf->cloud };
	struct cloud_port *p = NULL;
	int rc = cw_cloud_port_open(&port, &p, msg);

	*ret_front = p;
	return rc;
}

static const char *front_address(const void *front)
{
	return cw_cloud_port_address(front);
}

static void front_close(void *front, void (*closed)(void *arg), void *arg)
{
	cw_cloud_port_close(front, closed, arg);
}

const struct cloud_front cw_cloud_mqtt_front = { front_open, front_address, front_close };
