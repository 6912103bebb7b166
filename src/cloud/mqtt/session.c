/* session.c - what MQTT packets mean to the platform; see front.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/traffic/msglog.h"
#include "cloud/core/traffic/violations.h"
#include "cloud/mqtt/conn.h"
#include "cloud/mqtt/login.h"

#define CONNECT_MS      10000u /* from accept to CONNECT */
#define REGISTERED_MS   15000u /* from registration to the end of the connection */
#define GOODBYE_MS      2000u  /* for a refusal to be read */
#define WAITING_MAX     10000u /* QoS 1 messages behind a full window */
#define CONNACK_LEVEL   1
#define CONNACK5_LEVEL  0x84

/* A QoS 1 message on its way to the client, or waiting for room in the window. */
struct mqtt_push {
	struct cw_list link;
	struct cloud_device *to;
	struct cloud_msg *msg;
	uint16_t id; /* 0 while waiting */
	int dup;
};

static struct cw_timers *timers_of(struct mqtt_conn *m)
{
	return cw_worker_timers(m->cloud->worker);
}

/* ---- to the client ---- */

static void put_publish(struct mqtt_conn *m, const struct cloud_msg *msg, int dup, uint16_t id)
{
	uint8_t *at;

	if (m->state == MQTT_CLOSING)
		return;
	at = cw_cloud_stream_want(&m->stream, MQTT_PUBLISH_HEAD(msg->topic_len) + msg->len);
	if (at == NULL)
		return;
	m->stream.out.len += cw_cloud_mqtt_publish_head(at, msg->topic, msg->topic_len, msg->len, msg->qos, dup, id);
	cw_cloud_mqtt_put(m, cw_cloud_msg_payload(msg), msg->len);
}

static void send_push(struct mqtt_conn *m, struct mqtt_push *p)
{
	if (++m->next_id == 0)
		m->next_id = 1;
	p->id = m->next_id;
	cw_list_push_back(&m->inflight, &p->link);
	m->inflight_count++;
	put_publish(m, p->msg, p->dup, p->id);
}

static void push_free(struct mqtt_push *p)
{
	cw_cloud_msg_unref(p->msg);
	cw_free(p);
}

static int window_open(const struct mqtt_conn *m)
{
	unsigned limit = m->cloud->conf.limits.inflight_out;

	/* 65,535 ids; a window of half of them never meets its own tail. */
	return m->inflight_count < (limit != 0 ? limit : 32768);
}

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	struct mqtt_conn *m = cw_container_of(l, struct mqtt_conn, link);
	struct mqtt_push *p;

	if (m->state == MQTT_CLOSING)
		return;
	if (msg->qos == 0) {
		put_publish(m, msg, 0, 0);
		return;
	}
	p = m->waiting_count < WAITING_MAX ? cw_zalloc(sizeof(*p)) : NULL;
	if (p == NULL) {
		m->cloud->stats.undeliverable++;
		return;
	}
	p->to = to;
	p->msg = msg;
	msg->refs++;
	p->dup = dup;
	if (window_open(m)) {
		send_push(m, p);
	} else {
		cw_list_push_back(&m->waiting, &p->link);
		m->waiting_count++;
	}
}

static void take_puback(struct mqtt_conn *m, uint16_t id)
{
	struct cw_list *e, *n;

	/* Acknowledgements come in order: the first is nearly always the one. */
	cw_list_each_safe(e, n, &m->inflight) {
		struct mqtt_push *p = cw_container_of(e, struct mqtt_push, link);

		if (p->id != id)
			continue;
		cw_list_remove(e);
		m->inflight_count--;
		push_free(p);
		break;
	}
	while (window_open(m) && (e = cw_list_pop(&m->waiting)) != NULL) {
		m->waiting_count--;
		send_push(m, cw_container_of(e, struct mqtt_push, link));
	}
}

static void forget_in(struct mqtt_conn *m, struct cw_list *list, unsigned *count, struct cloud_device *d, int store)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, list) {
		struct mqtt_push *p = cw_container_of(e, struct mqtt_push, link);

		if (p->to != d)
			continue;
		cw_list_remove(e);
		(*count)--;
		if (store)
			cw_cloud_store(m->cloud, d, p->msg, p->id != 0 || p->dup);
		push_free(p);
	}
}

static void on_forget(struct cloud_link *l, struct cloud_device *d, int store)
{
	struct mqtt_conn *m = cw_container_of(l, struct mqtt_conn, link);

	forget_in(m, &m->inflight, &m->inflight_count, d, store);
	forget_in(m, &m->waiting, &m->waiting_count, d, store);
}

static void on_close(struct cloud_link *l, const char *reason)
{
	cw_cloud_mqtt_drop(cw_container_of(l, struct mqtt_conn, link), reason);
}

int cw_cloud_mqtt_may_read(const struct mqtt_conn *m)
{
	const struct cloud_limits *limits = &m->cloud->conf.limits;

	if (m->link.doomed)
		return 0;
	if (m->link.owner != NULL && cw_cloud_fault_active(m->cloud, CLOUD_FAULT_STALL, "mqtt", m->link.owner->id))
		return 0;
	return !limits->documented || limits->inflight_in == 0 || m->withheld < limits->inflight_in;
}

static void on_recheck(struct cloud_link *l)
{
	cw_cloud_stream_recheck(&cw_container_of(l, struct mqtt_conn, link)->stream);
}

static void on_half_close(struct cloud_link *l)
{
	cw_cloud_stream_half_close(&cw_container_of(l, struct mqtt_conn, link)->stream);
}

const struct cloud_link_ops cw_cloud_mqtt_ops = {
	.channel = "mqtt", .push = on_push, .close = on_close, .recheck = on_recheck, .forget = on_forget,
	.half_close = on_half_close,
};

/* By the limit or a fault; 0: any number. */
uint64_t cw_cloud_mqtt_rate(const struct mqtt_conn *m)
{
	uint64_t limit = m->cloud->conf.limits.documented ? m->cloud->conf.limits.throughput : 0, fault = 0;

	if (m->link.owner != NULL)
		fault = cw_cloud_fault_rate(m->cloud, "mqtt", m->link.owner->id);
	return fault != 0 && (limit == 0 || fault < limit) ? fault : limit;
}

void cw_cloud_mqtt_throttled(struct mqtt_conn *m, uint64_t rate)
{
	m->cloud->stats.throttled++;
	if (rate == m->cloud->conf.limits.throughput)
		cw_cloud_violation(m->cloud, m->link.owner, "throughput", "read later");
}

/* ---- deadlines ---- */

static void on_connect_deadline(struct cw_timer *t)
{
	cw_cloud_mqtt_drop(cw_container_of(t, struct mqtt_conn, deadline), "no CONNECT in time");
}

static void on_goodbye(struct cw_timer *t)
{
	cw_cloud_mqtt_drop(cw_container_of(t, struct mqtt_conn, deadline), "refused");
}

/* 1.5 times the interval after the last packet. Packets only note the time; here it is looked at. */
static void on_keep_alive(struct cw_timer *t)
{
	struct mqtt_conn *m = cw_container_of(t, struct mqtt_conn, deadline);
	uint64_t now = cw_worker_now(m->cloud->worker), due = m->heard_ms + m->keep_alive_s * 1500u;

	if (!m->stream.reading) /* it is us who do not listen */
		due = now + m->keep_alive_s * 1500u;
	if (now >= due) {
		m->cloud->stats.keepalive_closed++;
		cw_cloud_mqtt_drop(m, "nothing heard for 1.5 times the keep-alive");
		return;
	}
	cw_timer_set(timers_of(m), &m->deadline, due - now, on_keep_alive);
}

void cw_cloud_mqtt_begin(struct mqtt_conn *m)
{
	m->heard_ms = cw_worker_now(m->cloud->worker);
	cw_timer_set(timers_of(m), &m->deadline, CONNECT_MS, on_connect_deadline);
}

/* ---- packets ---- */

/* Say it, then close as soon as it is written. */
static void refuse(struct mqtt_conn *m, const void *packet, size_t len, const char *reason)
{
	cw_cloud_mqtt_put(m, packet, len);
	cw_cloud_stream_doom(&m->stream, reason);
	cw_timer_set(timers_of(m), &m->deadline, GOODBYE_MS, on_goodbye);
}

static void refuse_login(struct mqtt_conn *m, const struct cloud_mqtt_verdict *v, const struct cloud_mqtt_connect *p)
{
	uint8_t out[4];

	m->cloud->stats.connects_refused++;
	if (v->device != NULL)
		cw_cloud_device_refused(m->cloud, v->device, v->code, v->reason);
	cw_log(cloud_refused, v->reason, CW_LS("peer", m->link.peer), CW_LB("user", p->user.s, p->user.len),
	       CW_LB("client_id", p->client_id.s, p->client_id.len), CW_LU("code", v->code));
	refuse(m, out, cw_cloud_mqtt_connack(out, 0, v->code), "refused");
}

static void refuse_level(struct mqtt_conn *m, unsigned level)
{
	uint8_t out[5];

	m->cloud->stats.connects_refused++;
	cw_log(cloud_refused, "protocol level is not supported", CW_LS("peer", m->link.peer), CW_LU("level", level));
	if (level == 5)
		refuse(m, out, cw_cloud_mqtt_connack5(out, CONNACK5_LEVEL), "protocol level");
	else
		refuse(m, out, cw_cloud_mqtt_connack(out, 0, CONNACK_LEVEL), "protocol level");
}

static void on_registration_over(struct cw_timer *t)
{
	cw_cloud_mqtt_drop(cw_container_of(t, struct mqtt_conn, deadline), "registered and stayed");
}

/* What the platform says by itself right after CONNACK, QoS 0, without a subscription; `body` is consumed. */
static void announce(struct mqtt_conn *m, const char *device, const char *topic, json_t *body, int secret)
{
	static const char hidden[] = "(holds a secret, not shown)";
	char *text = json_dumps(body, JSON_COMPACT);
	struct cloud_log_note note = { .down = 1, .device = device, .topic = topic, .topic_len = strlen(topic),
		                       .payload = secret ? hidden : text, .outcome = "delivered" };
	uint8_t *at = text != NULL ? cw_cloud_stream_want(&m->stream, MQTT_PUBLISH_HEAD(note.topic_len)) : NULL;

	if (at != NULL) {
		m->stream.out.len += cw_cloud_mqtt_publish_head(at, topic, note.topic_len, strlen(text), 0, 0, 0);
		cw_cloud_mqtt_put(m, text, strlen(text));
		note.len = strlen(note.payload);
		cw_cloud_log_add(m->cloud->log, &note);
	}
	free(text);
	json_decref(body);
}

static void announce_token(struct mqtt_conn *m, const char *device, const struct cloud_mqtt_verdict *v)
{
	static const char *const topics[] = { "/ext/regnwl", "/ext/register" };
	int which = m->cloud->conf.switches.regnwl_topic, i; /* 0, 1, or 2 for both */

	for (i = 0; i < 2; i++) {
		if (which == i || which == 2)
			announce(m, device, topics[i], json_pack("{s:s%, s:s%, s:s, s:s}", "productKey", v->pk.s, v->pk.len,
			         "deviceName", v->dn.s, v->dn.len, "clientId", v->client->id, "deviceToken", v->client->token), 1);
	}
}

/* The credential goes out once. The log of messages does not show it. */
static void register_client(struct mqtt_conn *m, const struct cloud_mqtt_verdict *v)
{
	const struct cloud_device *d = v->device;
	char device[128];
	uint8_t out[4];

	cw_cloud_mqtt_put(m, out, cw_cloud_mqtt_connack(out, 0, 0));
	if (v->as == MQTT_ADMIT_REGISTER) {
		(void)snprintf(device, sizeof(device), "%s", d->id);
		announce(m, device, "/ext/register", json_pack("{s:s, s:s, s:s}", "productKey", d->product->key, "deviceName",
		         d->dn, "deviceSecret", d->secret), 1);
	} else {
		(void)snprintf(device, sizeof(device), "%.*s/%.*s", (int)v->pk.len, v->pk.s, (int)v->dn.len, v->dn.s);
		announce_token(m, device, v);
	}
	cw_log(cloud_connect, "registered", CW_LS("device", device), CW_LS("peer", m->link.peer));
	m->state = MQTT_REGISTERED;
	cw_timer_set(timers_of(m), &m->deadline, REGISTERED_MS, on_registration_over);
}

static void go_online(struct mqtt_conn *m, const struct cloud_mqtt_connect *p, const struct cloud_mqtt_verdict *v)
{
	struct cloud_device *d = v->device;
	uint8_t out[4];
	int present;

	if (p->will)
		cw_log(cloud_dropped, "the will is ignored: the platform has none", CW_LS("device", d->id));
	/* Closes an older connection of the same identity before our answer is written. */
	present = cw_cloud_link_up(m->cloud, &m->link, v->session, &v->login);
	m->state = MQTT_UP;
	m->keep_alive_s = v->keep_alive_s;
	m->link.keep_alive_ms = v->keep_alive_s * 1000u;
	cw_log(cloud_connect, "accepted", CW_LS("device", d->id), CW_LS("peer", m->link.peer),
	       CW_LB("client_id", p->client_id.s, p->client_id.len), CW_LU("keep_alive_s", v->keep_alive_s));
	/* MQTT 3.1 has no session present flag: that byte is reserved. */
	cw_cloud_mqtt_put(m, out, cw_cloud_mqtt_connack(out, present && p->level == 4, 0));
	if (v->as == MQTT_ADMIT_IDENTIFIED)
		announce(m, d->id, "/ext/auth/identity/response", json_pack("{s:s, s:s}", "productKey", d->product->key,
		         "deviceName", d->dn), 0);
	cw_timer_set(timers_of(m), &m->deadline, m->keep_alive_s * 1500u, on_keep_alive);
	cw_cloud_link_ready(m->cloud, v->session);
	cw_cloud_stream_recheck(&m->stream);
}

static void take_connect(struct mqtt_conn *m, const struct cloud_mqtt_connect *p)
{
	struct cloud_mqtt_channel channel = { .tls = m->link.tls };
	struct cloud_mqtt_verdict v;
	uint8_t fingerprint[32];

	if (p->level != 3 && p->level != 4) {
		refuse_level(m, p->level);
		return;
	}
	if (m->stream.tls != NULL && cw_cloud_tls_fingerprint(m->stream.tls, fingerprint))
		channel.fingerprint = fingerprint;
	cw_cloud_mqtt_login(m->cloud, p, &channel, &v);
	m->level = p->level;
	if (v.code != 0)
		refuse_login(m, &v, p);
	else if (v.as == MQTT_ADMIT_REGISTER || v.as == MQTT_ADMIT_REGNWL)
		register_client(m, &v);
	else
		go_online(m, p, &v);
}

static const char payload_too_large[] = "payload above limits.payload (256 KiB)";

/* The connection ends by it, and the log of messages says so. */
static void refuse_publish(struct mqtt_conn *m, const struct cloud_mqtt_publish *p, const char *reason)
{
	cw_cloud_publish_refused(m->cloud, &m->link, p->topic.s, p->topic.len, p->qos, reason);
	cw_cloud_mqtt_drop(m, reason);
}

static void take_publish(struct mqtt_conn *m, const struct cloud_mqtt_publish *p)
{
	struct cw_cloud *c = m->cloud;
	struct cloud_device *owner = m->link.owner;
	struct cloud_strike at = { .channel = "mqtt", .device = owner->id, .topic = p->topic.s, .topic_len = p->topic.len };
	uint8_t out[4];

	if (p->qos == 2) {
		c->stats.malformed++;
		refuse_publish(m, p, "QoS 2 does not exist here");
		return;
	}
	if (p->len > c->conf.limits.payload_bytes) {
		cw_cloud_violation(c, owner, "payload", "connection closed");
		refuse_publish(m, p, payload_too_large);
		return;
	}
	if (p->retain)
		cw_log(cloud_dropped, "the retain bit is ignored: the platform keeps none", CW_LS("device", owner->id));
	/* Acknowledged whatever becomes of it; the acknowledgement goes before the platform's reply. */
	if (p->qos == 1) {
		if (cw_cloud_fault(c, CLOUD_FAULT_PUBACK, &at)) {
			m->withheld++;
			cw_cloud_stream_recheck(&m->stream);
		} else {
			cw_cloud_mqtt_put(m, out, cw_cloud_mqtt_ack(out, MQTT_PUBACK, p->id));
		}
	}
	(void)cw_cloud_publish(c, &m->link, p->topic.s, p->topic.len, p->payload, p->len, p->qos);
}

static const char too_many_topics[] = "more topics in one SUBSCRIBE than limits.topicsPerSubscribe (8)";

static void take_subscribe(struct mqtt_conn *m, struct cloud_mqtt_packet *p)
{
	struct cw_cloud *c = m->cloud;
	struct cloud_text filter;
	uint8_t codes[MQTT_TOPICS_MAX], out[MQTT_TOPICS_MAX + 4], qos;
	size_t n = 0;

	if (p->type == MQTT_SUBSCRIBE && p->u.filters.count > c->conf.limits.topics_per_subscribe) {
		c->stats.subscribes_refused++;
		cw_cloud_violation(c, m->link.owner, "topicsPerSubscribe", "connection closed");
		cw_cloud_device_refused(c, cw_cloud_name_of(m->link.owner), 0, too_many_topics);
		cw_cloud_mqtt_drop(m, too_many_topics);
		return;
	}
	while (cw_cloud_mqtt_filter(p, &filter, &qos)) {
		if (p->type == MQTT_UNSUBSCRIBE) {
			cw_cloud_unsubscribe(c, &m->link, filter.s, filter.len);
			continue;
		}
		codes[n++] = cw_cloud_subscribe(c, &m->link, filter.s, filter.len, qos);
	}
	if (p->type == MQTT_UNSUBSCRIBE)
		cw_cloud_mqtt_put(m, out, cw_cloud_mqtt_ack(out, MQTT_UNSUBACK, p->id));
	else
		cw_cloud_mqtt_put(m, out, cw_cloud_mqtt_suback(out, p->id, codes, n));
}

static void take_packet(struct mqtt_conn *m, struct cloud_mqtt_packet *p)
{
	uint8_t out[2];

	if ((p->type == MQTT_CONNECT) != (m->state == MQTT_LOGIN)) {
		m->cloud->stats.malformed++;
		cw_cloud_mqtt_drop(m, p->type == MQTT_CONNECT ? "a second CONNECT" : "a packet before CONNECT");
		return;
	}
	/* Nobody is online here: nothing but leaving makes sense, and pinging until then. */
	if (m->state == MQTT_REGISTERED && p->type != MQTT_PINGREQ && p->type != MQTT_DISCONNECT) {
		cw_cloud_mqtt_drop(m, "a registration is no login");
		return;
	}
	switch (p->type) {
	case MQTT_CONNECT: take_connect(m, &p->u.connect); break;
	case MQTT_PUBLISH: take_publish(m, &p->u.publish); break;
	case MQTT_PUBACK: take_puback(m, p->id); break;
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE: take_subscribe(m, p); break;
	case MQTT_PINGREQ: cw_cloud_mqtt_put(m, out, cw_cloud_mqtt_pingresp(out)); break;
	default:
		m->link.goodbye = 1;
		cw_cloud_mqtt_drop(m, "DISCONNECT");
		break;
	}
}

static void refuse_packet(struct mqtt_conn *m, int rc, const struct cloud_mqtt_packet *p)
{
	static const struct cloud_mqtt_publish unread = { .topic = { "", 0 } }; /* too large to be read up to its topic */

	m->cloud->stats.malformed++;
	if (rc == CW_ELIMIT && m->state == MQTT_UP)
		refuse_publish(m, p->size <= MQTT_PACKET_MAX ? &p->u.publish : &unread, payload_too_large);
	else
		cw_cloud_mqtt_drop(m, rc == CW_ELIMIT ? "packet too large" : "malformed packet");
}

size_t cw_cloud_mqtt_packets(struct mqtt_conn *m, const uint8_t *data, size_t len)
{
	struct cloud_mqtt_packet p;
	size_t used = 0;

	m->heard_ms = cw_worker_now(m->cloud->worker);
	while (used < len && m->state != MQTT_CLOSING && m->stream.doomed == NULL && !m->link.doomed) {
		int rc = cw_cloud_mqtt_decode(data + used, len - used, m->level, &p);

		if (rc == CW_EBUSY)
			return used;
		if (rc < 0) {
			refuse_packet(m, rc, &p);
			break;
		}
		used += p.size;
		take_packet(m, &p);
	}
	return len; /* a connection that ends needs the rest no more */
}
