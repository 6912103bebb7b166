/*
 * mqtt.c - the platform over MQTT: the connection and what is published on it.
 *
 * One normal run: start -> connect (signed) -> CONNACK 0 -> subscribe the bridge's
 * topics -> sessions log the devices in -> the lane hands parcels to send(), each
 * becomes a publish with a token -> PUBACK -> settled.
 * One failing run: the connection breaks -> all devices offline, so the lane takes
 * back what was unconfirmed -> the client is closed, its tokens end as orphans -> a
 * new client with the same id after the delay of retry.c.
 *
 * An acknowledgement counts for a parcel only while that device is logged in on this
 * connection: going offline recalls its parcels, and a token whose parcel was
 * recalled says nothing.
 */
#include "upstream/mqtt/mqtt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "platform/codes.h"
#include "platform/sign.h"

#define CONNECT_TIMEOUT_S 15
#define FIXED_TIMESTAMP                                                                                                \
	"2524608000000" /* the platform checks no clock; a constant keeps the client id, and with it the session, over \
			   restarts */
#define IDENTITY_MS 15000    /* for the platform to name a client that has only a certificate */
#define ROOM_AT_CLIENT 4000u /* messages the library may hold beside the window: subscriptions, logins, answers */

static void connect_now(struct mqtt *m);
static void on_reply_late(struct cw_await_set *set, struct cw_await *a);
static void free_send_when_idle(struct mqtt_send *s);

static struct cw_timers *timers(struct mqtt *m)
{
	return cw_worker_timers(m->u->w);
}

/* ---- settings ------------------------------------------------------------------ */

static const struct cw_endpoint_scheme schemes[] = {
	{ .name = "tcp" },
	{ .name = "ssl", .tls = 1 },
	{ .name = "ws", .rest = 1 },
	{ .name = "wss", .tls = 1, .rest = 1 },
	{ .name = NULL },
};
static const struct cw_endpoint_form endpoint_form = { schemes, "tcp:// or ssl://, ws:// or wss://",
						       "ssl://host:1883 or ssl://[2001:db8::1]:1883" };

static int take_endpoint(struct mqtt *m, const char *text, struct cw_msg *msg)
{
	struct cw_endpoint at;
	int rc = cw_endpoint_parse(text, &endpoint_form, &at, msg);

	if (rc < 0)
		return rc;
	if ((at.rest[0] != '\0' && at.rest[0] != '/') || strlen(at.rest) >= sizeof(m->path))
		return cw_fail(msg, CW_ECONF, "endpoint: '%s' has something behind the port that is not understood", text);
	(void)snprintf(m->path, sizeof(m->path), "%s", at.rest[0] == '\0' ? "/" : at.rest);
	(void)snprintf(m->host, sizeof(m->host), "%s", at.host);
	m->port = (int)at.number;
	m->tls = at.scheme->tls;
	m->ws = at.scheme->rest;
	return 0;
}

/* The base client id: what was issued or is configured, else one made of the names. CW_ELIMIT. */
static int base_of(const struct mqtt *m, char *out, size_t size)
{
	const struct cw_upstream_conf *c = &m->u->conf;
	int n = c->client_id != NULL ? snprintf(out, size, "%s", c->client_id) : snprintf(out, size, "%s.%s", m->pk, m->dn);

	return n < 0 || (size_t)n >= size ? CW_ELIMIT : 0;
}

static int check_identity(struct mqtt *m, struct cw_msg *msg)
{
	const struct cw_upstream_conf *c = &m->u->conf;
	char base[CW_BASE_CLIENT_ID_MAX + 1];
	int certificate = c->certificate != NULL && c->key != NULL;

	if (c->device_secret == NULL && c->device_token == NULL && !certificate)
		return cw_fail(msg, CW_ECONF,
			       "deviceSecret of the bridge is missing, and there is no tls certificate with key instead");
	if ((c->product_key == NULL) != (c->device_name == NULL) ||
	    (c->product_key == NULL && (c->device_secret != NULL || c->device_token != NULL)))
		return cw_fail(msg, CW_ECONF, "productKey and deviceName of the bridge go together, and with deviceSecret");
	if (c->device_token != NULL && c->client_id == NULL)
		return cw_fail(msg, CW_ECONF, "a device token is of use with the client id that came with it only");
	if (c->product_key != NULL &&
	    (strlen(c->product_key) >= sizeof(m->pk) || strlen(c->device_name) >= sizeof(m->dn)))
		return cw_fail(msg, CW_ECONF, "productKey or deviceName of the bridge are too long");
	(void)snprintf(m->pk, sizeof(m->pk), "%s", c->product_key != NULL ? c->product_key : "");
	(void)snprintf(m->dn, sizeof(m->dn), "%s", c->device_name != NULL ? c->device_name : "");
	if (base_of(m, base, sizeof(base)) < 0 || strchr(base, '|') != NULL)
		return cw_fail(msg, CW_ECONF, "the client id is longer than %d characters or has a '|' in it",
			       CW_BASE_CLIENT_ID_MAX);
	return 0;
}

static int check(struct mqtt *m, struct cw_msg *msg)
{
	const struct cw_upstream_conf *c = &m->u->conf;
	int rc;

	if (c->endpoint == NULL)
		return cw_fail(msg, CW_ECONF, "endpoint is missing; it looks like ssl://host:1883");
	rc = check_identity(m, msg);
	if (rc == 0)
		rc = take_endpoint(m, c->endpoint, msg);
	if (rc < 0)
		return rc;
	if (c->keep_alive_s < 30 || c->keep_alive_s > 1200)
		return cw_fail(msg, CW_ECONF,
			       "keepAlive: %u s is not between 30 and 1200; the platform refuses anything else",
			       c->keep_alive_s);
	if (!m->tls && c->device_secret == NULL)
		return cw_fail(msg, CW_ECONF, "endpoint: '%s' is without TLS: a token or a certificate is of use over ssl:// and wss:// only",
			       c->endpoint);
	if (m->ws && !(m->ops->can & CW_MQTT_CAN_WS))
		return cw_fail(msg, CW_ECONF, "endpoint: the client library %s knows no ws:// and wss://; say client = paho",
			       m->ops->name);
	if (m->tls && c->verify && strchr(m->host, ':') != NULL && !(m->ops->can & CW_MQTT_CAN_TLS6))
		return cw_fail(msg, CW_ECONF, "endpoint: the client library %s cannot check the certificate of an IPv6 address; "
			       "give a name instead, or say client = mosquitto", m->ops->name);
	if (c->tls_min > 0 && !(m->ops->can & CW_MQTT_CAN_TLS13))
		return cw_fail(msg, CW_ECONF, "tls.minVersion: the client library %s cannot refuse TLS 1.2; say client = mosquitto",
			       m->ops->name);
	return 0;
}

static const struct cw_conf_setting settings[] = {
	CW_CONF_CHOICE(struct mqtt_settings, client, "client", cw_mqtt_client_names, "paho", "MQTT client library."),
	CW_CONF(struct mqtt_settings, keep_alive_ms, DURATION, "keepAlive", "300s", "30s", "1200s", "MQTT keep-alive."),
	CW_CONF(struct mqtt_settings, in_flight, INT, "inFlight", "100", "1", "1000",
		"Messages sent and not yet confirmed; the platform allows 100 a connection."),
	CW_CONF(struct mqtt_settings, qos, INT, "qos", "1", "0", "1", "QoS of posts."),
	CW_CONF(struct mqtt_settings, rate_device_qos0, INT, "ratePerDeviceQos0", "30", "0", "1000000",
		"Messages a second and device at QoS 0; the platform drops more without a word. 0: no limit."),
	CW_CONF(struct mqtt_settings, rate_device_qos1, INT, "ratePerDeviceQos1", "10", "0", "1000000",
		"The same at QoS 1."),
	CW_CONF(struct mqtt_settings, login_rate, INT, "loginRate", "200", "0", "1000000",
		"Device logins a second; 0: no limit."),
	CW_CONF(struct mqtt_settings, login_batch, INT, "loginBatch", "5", "1", "50", "Devices in one batch login."),
	CW_CONF(struct mqtt_settings, max_devices, INT, "maxDevices", "1500", "1", "1000000",
		"Sub-devices behind one gateway device."),
	CW_CONF(struct mqtt_settings, packs.enabled, BOOL, "packs.enabled", "false", NULL, NULL,
		"Readings of several devices in one message (pack post); each is confirmed by the platform's reply."),
	CW_CONF(struct mqtt_settings, packs.count, INT, "packs.count", "20", "2", "20", "Devices in one pack."),
	CW_CONF(struct mqtt_settings, packs.bytes, BYTES, "packs.bytes", "64KiB", "1KiB", "192KiB", "About so long is a pack at most."),
	CW_CONF(struct mqtt_settings, packs.age_ms, DURATION, "packs.age", "5ms", "1ms", "10s",
		"How long the first reading of a pack waits for others. Alarms never wait."),
	CW_CONF_END
};

const struct cw_conf_table cw_upstream_mqtt_table = {
	.name = "upstream", .size = sizeof(struct mqtt_settings), .settings = settings
};

static int configure(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg)
{
	const struct mqtt_settings *own = conf->own;

	conf->keep_alive_s = (unsigned)(own->keep_alive_ms / 1000);
	conf->in_flight = own->in_flight;
	conf->qos = (int)own->qos;
	conf->rate_device_qos0 = own->rate_device_qos0;
	conf->rate_device_qos1 = own->rate_device_qos1;
	conf->login_rate = own->login_rate;
	conf->login_batch = own->login_batch;
	conf->max_devices = own->max_devices;
	conf->post_version = 1;
	if (own->packs.enabled) {
		conf->confirm_reply = 1; /* the platform acknowledges packs that it refuses, too */
		conf->in_flight_device = 1; /* a pack that goes again must not be overtaken */
		conf->in_flight_records = own->in_flight * own->packs.count;
	}
	if (conf->endpoint == NULL && conf->region != NULL) {
		if (conf->product_key == NULL)
			(void)snprintf(text, size, "ssl://x509.itls.%s.aliyuncs.com:1883", conf->region);
		else
			(void)snprintf(text, size, "ssl://%s.iot-as-mqtt.%s.aliyuncs.com:1883", conf->product_key,
				       conf->region);
		conf->endpoint = text;
	}
	return 0;
}

static int has_no_names(const struct cw_upstream_conf *c)
{
	return c->product_key == NULL;
}

static int create(struct cw_upstream *u, void **ret_connector, struct cw_msg *msg)
{
	struct mqtt *m = cw_zalloc(sizeof(*m));
	const char *seed;
	int rc;

	if (m == NULL)
		return CW_ENOMEM;
	m->u = u;
	m->ops = cw_mqtt_client(u->conf.own == NULL ? 0 : ((const struct mqtt_settings *)u->conf.own)->client);
	rc = check(m, msg);
	if (rc < 0) {
		cw_free(m);
		return rc;
	}
	seed = m->dn[0] != '\0' ? m->dn : u->conf.certificate;
	cw_retry_init(&m->retry, u->conf.retry_min_ms, u->conf.retry_max_ms, (uint32_t)cw_hash_stable(seed, strlen(seed)));
	cw_pace_window_init(&m->connects, m->connect_times, u->conf.login_rate > 0 ? MQTT_LOGINS_A_MINUTE : 0, 60000);
	cw_await_init(&m->replies, u->w, MQTT_REPLY_MS, on_reply_late);
	cw_map_init(&m->products);
	if (u->conf.own != NULL && ((const struct mqtt_settings *)u->conf.own)->packs.enabled) {
		const struct mqtt_settings *own = u->conf.own;

		m->pack_count = own->packs.count;
		m->pack_bytes = own->packs.bytes;
		m->pack_age_ms = (uint64_t)own->packs.age_ms;
	}
	rc = mqtt_pack_init(m);
	if (rc == 0)
		rc = mqtt_session_init(m);
	if (rc < 0) {
		mqtt_pack_fini(m);
		cw_free(m);
		return rc;
	}
	if (has_no_names(&u->conf))
		mqtt_names_read(m);
	*ret_connector = m;
	return 0;
}

static void destroy(void *connector)
{
	struct mqtt *m = connector;

	cw_await_fini(&m->replies);
	mqtt_session_fini(m);
	mqtt_pack_fini(m);
	mqtt_self_fini(m);
	mqtt_products_down(m);
	cw_map_fini(&m->products);
	cw_free(m);
}

/* ---- connection ------------------------------------------------------------------ */

static void on_retry(struct cw_timer *t)
{
	connect_now(cw_container_of(t, struct mqtt, retry_timer));
}

/* The connection is not there, for the reason given: everything of it goes, the next attempt is `gone`'s business. */
static void link_lost(struct mqtt *m, const char *why)
{
	int was_up = m->state == LINK_UP;

	if (m->state == LINK_CLOSING)
		return;
	cw_timer_stop(timers(m), &m->identity_timer);
	m->state = LINK_CLOSING;
	m->retry_ms = cw_retry_down(&m->retry, cw_worker_now(m->u->w));
	mqtt_self_down(m);
	if (was_up) {
		cw_count(upstream, disconnects);
		mqtt_session_down(m, why);
	} else {
		cw_count(upstream, connect_failed);
	}
	if (m->stopping)
		return;
	cw_log(upstream_down, why, CW_LS("upstream", m->u->conf.name), CW_LU("retry_ms", m->retry_ms));
	if (cw_retry_is_twin(&m->retry))
		cw_log(upstream_twin, "closed right after each login: does another gateway, or a program, log in with the same productKey and deviceName? Waiting longer each time",
		       CW_LS("upstream", m->u->conf.name), CW_LU("times", m->retry.short_lived));
	cw_upstream_report(m->u, 0, why);
}

static void wait_and_retry(struct mqtt *m)
{
	uint64_t now = cw_worker_now(m->u->w), paced = cw_pace_window_wait(&m->connects, now);

	m->state = LINK_WAITING;
	cw_timer_set(timers(m), &m->retry_timer, paced > m->retry_ms ? paced : m->retry_ms, on_retry);
}

/* No reply comes over a connection that is gone. */
static void drop_replies(struct mqtt *m)
{
	struct cw_await *a;

	while ((a = cw_await_oldest(&m->replies)) != NULL) {
		struct mqtt_send *s = cw_container_of(a, struct mqtt_send, await);

		cw_await_end(&m->replies, a);
		if (s->d != NULL && s->request[0] != '\0' && !m->stopping)
			cw_upstream_reply(s->d, s->request, CW_CODE_TIMED_OUT, cw_bytes_of(NULL, 0));
		free_send_when_idle(s);
	}
}

static void on_gone(void *ctx)
{
	struct mqtt *m = ctx;

	m->client = NULL;
	m->orphans = m->posts_out = 0;
	mqtt_products_down(m);
	drop_replies(m);
	mqtt_pack_down(m);
	if (m->stopping)
		cw_upstream_stopped(m->u);
	else
		wait_and_retry(m);
}

static void close_link(struct mqtt *m, int polite)
{
	if (m->client != NULL)
		m->ops->close(m->client, polite);
}

static void link_ready(struct mqtt *m)
{
	m->state = LINK_UP;
	cw_retry_up(&m->retry, cw_worker_now(m->u->w));
	cw_count(upstream, connects);
	cw_log(upstream_up, "logged in", CW_LS("upstream", m->u->conf.name), CW_LS("product", m->pk),
	       CW_LS("device", m->dn));
	cw_upstream_report(m->u, 1, "logged in");
	mqtt_product_up(m, m->pk);
	mqtt_subscribe(m, 1, m->pk, m->dn);
	mqtt_self_up(m);
	mqtt_session_up(m);
}

static void on_no_identity(struct cw_timer *t)
{
	struct mqtt *m = cw_container_of(t, struct mqtt, identity_timer);

	link_lost(m, "the platform did not say which device the certificate belongs to");
	close_link(m, 0);
}

void mqtt_identity(struct mqtt *m, struct cw_bytes pk, struct cw_bytes dn)
{
	if (m->pk[0] != '\0' || m->state != LINK_CONNECTING || pk.len == 0 || dn.len == 0 || pk.len >= sizeof(m->pk) ||
	    dn.len >= sizeof(m->dn))
		return;
	cw_timer_stop(timers(m), &m->identity_timer);
	(void)snprintf(m->pk, sizeof(m->pk), "%.*s", (int)pk.len, (const char *)pk.ptr);
	(void)snprintf(m->dn, sizeof(m->dn), "%.*s", (int)dn.len, (const char *)dn.ptr);
	mqtt_names_keep(m);
	link_ready(m);
}

static void on_connected(void *ctx, int code, const char *text)
{
	struct mqtt *m = ctx;

	if (code >= 0)
		cw_pace_window_note(&m->connects,
				    cw_worker_now(m->u->w)); /* it reached the platform: it counts there */
	if (code > 0 && has_no_names(&m->u->conf) && m->pk[0] != '\0')
		mqtt_names_forget(m); /* of another certificate, it seems: the next attempt asks again */
	if (code != 0) {
		(void)snprintf(m->reason, sizeof(m->reason), "%s:%d: %s", m->host, m->port,
			       code > 0 ? cw_connack_text(code) : text);
		link_lost(m, m->reason);
		close_link(m, 0);
		return;
	}
	if (m->pk[0] == '\0')
		cw_timer_set(timers(m), &m->identity_timer, IDENTITY_MS, on_no_identity);
	else
		link_ready(m);
}

static void on_down(void *ctx, const char *text)
{
	struct mqtt *m = ctx;

	link_lost(m, text);
	close_link(m, 0);
}

static void on_message(void *ctx, struct cw_bytes topic, struct cw_bytes payload, int qos, int retained)
{
	mqtt_message(ctx, topic, payload);
}

static void on_subscribed(void *ctx, void *arg, int refused)
{
	struct mqtt *m = ctx;

	if (refused != 0)
		cw_log(upstream_odd,
		       refused < 0 ? "a SUBSCRIBE was not answered" : "the platform refused some subscriptions",
		       CW_LS("upstream", m->u->conf.name), CW_LI("refused", refused));
}

static const struct cw_mqtt_events client_events = { on_connected, on_down, on_message, on_subscribed, on_gone };

/* Who we are, in one of the four forms of login. `password` is lent or in `sign`. */
static int identify(struct mqtt *m, struct cw_sign_connect *sign, const char **password)
{
	const struct cw_upstream_conf *c = &m->u->conf;
	char base[CW_BASE_CLIENT_ID_MAX + 1];
	int n, rc;

	*password = sign->password;
	if (m->pk[0] == '\0') {
		cw_sign_connect_unknown(sign);
		return 0;
	}
	rc = base_of(m, base, sizeof(base));
	if (rc < 0)
		return rc;
	if (c->device_token != NULL) {
		*password = c->device_token;
		n = snprintf(sign->client_id, sizeof(sign->client_id), "%s|securemode=-2,authType=connwl|", base);
		if (n < 0 || (size_t)n >= sizeof(sign->client_id))
			return CW_ELIMIT;
		n = snprintf(sign->user, sizeof(sign->user), "%s&%s", m->dn, m->pk);
		return n < 0 || (size_t)n >= sizeof(sign->user) ? CW_ELIMIT : 0;
	}
	if (c->device_secret == NULL) /* the form that the platform's document shows for certificates, nothing added */
		return cw_sign_connect(sign, CW_SIGN_SHA1, base, m->pk, m->dn, NULL, FIXED_TIMESTAMP, m->tls, NULL);
	return cw_sign_connect(sign, CW_SIGN_SHA256, base, m->pk, m->dn, c->device_secret, FIXED_TIMESTAMP, m->tls,
			       "ext=1");
}

static void connect_now(struct mqtt *m)
{
	const struct cw_upstream_conf *c = &m->u->conf;
	struct cw_sign_connect sign = { .password = "" };
	char text[160];
	struct cw_mqtt_conf conf = { .host = m->host,
				     .port = m->port,
				     .tls = m->tls,
				     .ws_path = m->ws ? m->path : NULL,
				     .tls13 = c->tls_min > 0,
				     .verify = c->verify,
				     .ca = c->ca,
				     .certificate = c->certificate,
				     .key = c->key,
				     .keep_alive_s = c->keep_alive_s,
				     .connect_timeout_s = CONNECT_TIMEOUT_S,
				     .attempt = m->retry.failures,
				     .outstanding = c->in_flight + ROOM_AT_CLIENT };
	int rc;

	m->state = LINK_CONNECTING;
	cw_log(upstream_connecting, "connecting", CW_LS("upstream", c->name), CW_LS("host", m->host),
	       CW_LI("port", m->port));
	(void)snprintf(text, sizeof(text), "productKey or deviceName are too long");
	rc = identify(m, &sign, &conf.password);
	conf.client_id = sign.client_id;
	conf.user = sign.user;
	if (rc == 0)
		rc = m->ops->connect(&conf, m->u->w, &client_events, m, text, sizeof(text), &m->client);
	explicit_bzero(&sign, sizeof(sign));
	if (rc < 0) {
		link_lost(m, text);
		wait_and_retry(m);
	}
}

static void start(void *connector)
{
	struct mqtt *m = connector;

	if (m->stopping)
		return;
	if (!m->tls)
		cw_log(upstream_plain, "use ssl:// or wss:// outside of a closed network", CW_LS("upstream", m->u->conf.name),
		       CW_LS("endpoint", m->u->conf.endpoint));
	connect_now(m);
}

static void stop(void *connector)
{
	struct mqtt *m = connector;
	int polite = m->state == LINK_UP;

	if (m->stopping)
		return;
	m->stopping = 1;
	cw_timer_stop(timers(m), &m->retry_timer);
	cw_timer_stop(timers(m), &m->identity_timer);
	mqtt_self_down(m);
	if (polite) {
		mqtt_session_goodbye(m);
		mqtt_session_down(m, "the gateway stops");
		cw_upstream_report(m->u, 0, "the gateway stops");
	}
	m->state = LINK_CLOSING;
	if (m->client != NULL)
		close_link(m, polite);
	else
		cw_upstream_stopped(m->u);
}

/* ---- publishing ------------------------------------------------------------------- */

struct spoken {
	struct cw_mqtt_token token;
};

static void on_spoken(struct cw_mqtt_token *t)
{
	cw_free(cw_container_of(t, struct spoken, token));
}

int mqtt_say(struct mqtt *m, const char *topic, char *text, size_t len)
{
	struct spoken *s = cw_zalloc(sizeof(*s));
	int rc = CW_ENOMEM;

	if (s != NULL) {
		s->token.done = on_spoken;
		rc = m->state == LINK_UP ? m->ops->publish(m->client, topic, cw_bytes_of(text, len), 0, 0, &s->token)
					 : CW_ECLOSED;
	}
	if (rc < 0)
		cw_free(s);
	cw_free(text);
	return rc;
}

void mqtt_subscribe(struct mqtt *m, int gateway, const char *pk, const char *dn)
{
	char topics[CW_TOPIC_PER_SUBSCRIBE][CW_TOPIC_MAX];
	const char *list[CW_TOPIC_PER_SUBSCRIBE];
	int i, n = 0, count = cw_topic_subscription_count(gateway);

	for (i = 0; i < count; i++) {
		if (cw_topic_subscription(gateway, i, pk, dn, topics[n]) == 0) {
			list[n] = topics[n];
			n++;
		}
		if (n == CW_TOPIC_PER_SUBSCRIBE || (i == count - 1 && n > 0)) {
			int rc = m->ops->subscribe(m->client, list, n, NULL);

			if (rc < 0 && rc != CW_ECLOSED) /* closed: the next connection subscribes again */
				cw_log(upstream_odd, "a SUBSCRIBE could not be sent",
				       CW_LS("upstream", m->u->conf.name), CW_LS("device", dn));
			n = 0;
		}
	}
}

static void free_send_when_idle(struct mqtt_send *s)
{
	if (s->at_client || s->await.waits || s->p != NULL)
		return;
	mqtt_pack_leave(s);
	cw_list_remove(&s->of_device);
	cw_free(s);
}

/* Take the parcel out of the attempt. */
static struct cw_parcel *detach(struct mqtt_send *s)
{
	struct cw_parcel *p = s->p;

	s->p = NULL;
	if (p != NULL)
		p->send = NULL;
	return p;
}

static void on_published(struct cw_mqtt_token *t)
{
	struct mqtt_send *s = cw_container_of(t, struct mqtt_send, token);
	struct mqtt *m = s->m;
	struct cw_parcel *p = NULL;
	int rc = t->rc;

	s->at_client = 0;
	mqtt_post_out(m, s->orphan);
	s->orphan = 0;
	if (rc == 0)
		cw_count(upstream, confirmed);
	if (s->p != NULL && (rc < 0 || !s->await.waits || !m->u->conf.confirm_reply))
		p = detach(s);
	if (rc < 0)
		cw_await_end(&m->replies, &s->await);
	free_send_when_idle(s);
	if (p != NULL && rc == 0)
		cw_lane_settle(&m->u->lane, p, CW_SETTLED_DONE, 0, NULL);
	else if (p != NULL)
		cw_lane_again(&m->u->lane, p);
	mqtt_pack_go_on(m);
	cw_lane_pump(&m->u->lane);
}

void mqtt_post_out(struct mqtt *m, int orphan)
{
	m->posts_out--;
	if (orphan && m->orphans > 0)
		m->orphans--;
}

static void on_reply_late(struct cw_await_set *set, struct cw_await *a)
{
	struct mqtt *m = cw_container_of(set, struct mqtt, replies);
	struct mqtt_send *s = cw_container_of(a, struct mqtt_send, await);
	struct cw_parcel *p = m->u->conf.confirm_reply ? detach(s) : NULL;

	if (s->d != NULL && s->request[0] != '\0')
		cw_upstream_reply(s->d, s->request, CW_CODE_TIMED_OUT, cw_bytes_of(NULL, 0));
	free_send_when_idle(s);
	if (p != NULL)
		cw_lane_again(&m->u->lane, p);
}

struct mqtt_send *mqtt_send_new(struct mqtt *m, struct cw_updevice *d, struct cw_parcel *p)
{
	struct mqtt_send *s = cw_zalloc(sizeof(*s));

	if (s == NULL)
		return NULL;
	s->m = m;
	s->d = d;
	s->p = p;
	s->token.done = on_published;
	cw_list_init(&s->of_device);
	cw_list_init(&s->of_pack);
	p->send = s;
	return s;
}

struct cw_parcel *mqtt_send_end(struct mqtt_send *s)
{
	struct cw_parcel *p = detach(s);

	free_send_when_idle(s);
	return p;
}

int mqtt_publish_one(struct mqtt *m, struct mqtt_send *s)
{
	struct cw_message message;
	int rc = cw_message_of_parcel(m->u, &m->replies, s->d, s->p, &message);

	if (rc < 0)
		return rc;
	rc = m->ops->publish(m->client, message.post.topic, cw_bytes_of(message.post.payload, message.post.len),
			     (int)message.post.qos, 0, &s->token);
	cw_free(message.post.payload);
	if (rc < 0)
		return rc == CW_ECLOSED ? CW_EBUSY : rc; /* the news that it is down are on their way */
	memcpy(s->request, message.request, sizeof(s->request));
	s->at_client = 1;
	m->posts_out++;
	cw_list_push_back(&mqtt_device_of(s->d)->sends, &s->of_device);
	if (message.want_reply)
		(void)cw_await_add(&m->replies, &s->await, message.id); /* else the acknowledgement has to do */
	cw_count(upstream, published);
	return 0;
}

static int send_parcel(void *connector, struct cw_updevice *d, struct cw_parcel *p)
{
	struct mqtt *m = connector;
	struct mqtt_send *s;
	int rc;

	if (m->state != LINK_UP || m->orphans >= m->u->conf.in_flight)
		return CW_EBUSY;
	rc = mqtt_pack_take(m, d, p);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (m->posts_out >= m->u->conf.in_flight)
		return CW_EBUSY;
	s = mqtt_send_new(m, d, p);
	rc = s == NULL ? CW_ENOMEM : mqtt_publish_one(m, s);
	if (rc < 0 && s != NULL)
		(void)mqtt_send_end(s);
	return rc;
}

static void on_stalled(struct cw_timer *t)
{
	struct mqtt *m = cw_container_of(t, struct mqtt, stall_timer);

	if (m->state != LINK_UP || m->orphans < m->u->conf.in_flight)
		return;
	link_lost(m, "the platform acknowledges nothing any more");
	close_link(m, 0);
}

static void recall(void *connector, struct cw_parcel *p)
{
	struct mqtt *m = connector;
	struct mqtt_send *s = p->send;

	if (s == NULL)
		return;
	(void)detach(s);
	cw_await_end(&m->replies, &s->await);
	if (s->at_client) {
		s->orphan = 1;
		mqtt_orphaned(m);
	}
	free_send_when_idle(s);
}

void mqtt_orphaned(struct mqtt *m)
{
	m->orphans++;
	if (m->orphans >= m->u->conf.in_flight && m->state == LINK_UP && timers(m) != NULL)
		cw_timer_set(timers(m), &m->stall_timer, 0, on_stalled);
}

void mqtt_posts_forget(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);
	struct cw_list *e;

	while ((e = cw_list_pop(&md->sends)) != NULL) {
		struct mqtt_send *s = cw_container_of(e, struct mqtt_send, of_device);

		s->d = NULL;
		cw_await_end(&m->replies, &s->await);
		free_send_when_idle(s);
	}
}

struct cw_updevice *mqtt_post_device(struct mqtt *m, uint32_t id)
{
	struct cw_await *a = cw_await_find(&m->replies, id);

	return a == NULL ? NULL : cw_container_of(a, struct mqtt_send, await)->d;
}

/* What a reply means for a parcel that waits for it, and for its device's session. */
static void settle_by_code(struct mqtt *m, struct cw_updevice *d, struct cw_parcel *p, const struct cw_alink_reply *r)
{
	enum cw_code_action action = cw_code_action(r->code);

	cw_message_settle(m->u, p, r);
	if (action == CW_CODE_RELOGIN || action == CW_CODE_RETOPO)
		mqtt_device_kicked(m, d, r->code, r->message[0] != '\0' ? r->message : cw_code_text(r->code));
}

int mqtt_post_replied(struct mqtt *m, const struct cw_alink_reply *r)
{
	struct cw_await *a = r->has_id ? cw_await_find(&m->replies, r->id) : NULL;
	struct mqtt_send *s;
	struct cw_updevice *d;
	struct cw_parcel *p = NULL;

	if (a == NULL) {
		cw_message_note_reply(NULL, "", r);
		return 0;
	}
	s = cw_container_of(a, struct mqtt_send, await);
	d = s->d;
	cw_await_end(&m->replies, &s->await);
	cw_message_note_reply(d, s->request, r);
	if (m->u->conf.confirm_reply)
		p = detach(s);
	free_send_when_idle(s);
	if (p != NULL)
		settle_by_code(m, d, p, r);
	return 1;
}

const struct cw_connector_ops cw_connector_mqtt = {
	.type = "mqtt",
	.endpoint = &endpoint_form,
	.device_size = sizeof(struct mqtt_device),
	.can = CW_CAN_DOWNLINK | CW_CAN_TLS13 | CW_CAN_TOKEN | CW_CAN_CERTIFICATE,
	.configure = configure,
	.create = create,
	.destroy = destroy,
	.start = start,
	.stop = stop,
	.device_changed = mqtt_device_changed,
	.send = send_parcel,
	.recall = recall,
	.drained = mqtt_device_drained,
	.answer = mqtt_answer,
	.enroll = mqtt_enroll,
};
