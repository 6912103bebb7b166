/*
 * paho.c - mqtt_client.h with Eclipse Paho's MQTTAsync. Paho's threads end here:
 * its callbacks, which run with Paho's lock held, only note a result and post.
 *
 * Paho never reconnects by itself here: it would resend what was in flight right
 * after CONNACK, before the sub-devices are logged in again, and the platform
 * acknowledges such messages and drops them. So a lost connection's handle is
 * destroyed and a new one is made, which remembers nothing.
 *
 * The end of a client: MQTTAsync_destroy() takes Paho's lock, so no callback runs
 * after it returned. A last mail posted then arrives behind all that were posted
 * before; when it is delivered, nothing refers to the client any more, and tokens
 * that got no callback are told.
 *
 * Names are resolved on our loop before Paho sees them: Paho would do it with its
 * lock held and stop every other connection of the process meanwhile. With TLS it is
 * given the name all the same, for the check of the certificate; by then the resolver
 * has answered once.
 */
#include "mqtt/inside.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <MQTTAsync.h>
#include <openssl/ssl.h>

#include "base/err.h"
#include "base/mem.h"

#define NUDGE_MS 20 /* after something came over WebSocket; see nudge() */
#define INBOUND_MOST 2000 /* messages from the platform between Paho's thread and our loop */

struct subscription {
	struct cw_mail mail;
	struct cw_list link;
	struct cw_mqtt_client *client;
	void *arg;
	int count, refused;
	atomic_int posted;
};

struct inbound {
	struct cw_mail mail;
	struct cw_mqtt_client *client;
	int qos, retained;
	size_t topic_len, len;
	uint8_t bytes[]; /* topic, then payload */
};

struct cw_mqtt_client {
	struct cw_worker *w;
	const struct cw_mqtt_events *events;
	void *ctx;
	MQTTAsync handle; /* NULL until resolved, and again after close */
	uv_getaddrinfo_t resolver;
	int resolving, closing, is_up;
	struct cw_timer disconnect_timer, nudge_timer;
	struct cw_list tokens, subscriptions;
	unsigned under_way; /* tokens: Paho bounds only what it has not written yet */
	atomic_int inbound;
	/* One mail each, written by Paho's thread before it is posted. */
	struct cw_mail connected_mail, down_mail, disconnected_mail, gone_mail;
	atomic_int connected_posted, down_posted, disconnected_posted;
	int code;
	char text[160];
	char tls_text[120]; /* OpenSSL's first complaint */
	struct cw_mqtt_settings s;
};

/* Paho starts its threads with its first client and stops them with its last; two upstreams must not do both at once. */
static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;

static void open_library(void)
{
	MQTTAsync_init_options options = MQTTAsync_init_options_initializer;

	(void)OPENSSL_init_ssl(0, NULL); /* once, by us: other libraries of the process use OpenSSL too */
	options.do_openssl_init = 0;
	MQTTAsync_global_init(&options);
}

static void free_client(struct cw_mqtt_client *c)
{
	cw_mqtt_settings_free(&c->s);
	cw_free(c);
}

static void on_nudge(struct cw_timer *t);

/*
 * Several packets may share one frame of a WebSocket, and Paho, which took the first, looks for the next one only
 * when the socket has more to read: the last acknowledgement of a burst would wait for the next ping. So, a moment after
 * something came, the other side is made to send something: the answer to an UNSUBSCRIBE of what nobody subscribed.
 */
static void nudge(struct cw_mqtt_client *c)
{
	if (c->s.ws_path != NULL && c->is_up && !c->closing && !cw_timer_armed(&c->nudge_timer))
		cw_timer_set(cw_worker_timers(c->w), &c->nudge_timer, NUDGE_MS, on_nudge);
}

static void on_nudge(struct cw_timer *t)
{
	struct cw_mqtt_client *c = cw_container_of(t, struct cw_mqtt_client, nudge_timer);
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

	if (c->is_up && !c->closing)
		(void)MQTTAsync_unsubscribe(c->handle, "causeway/nudge", &options);
}

/* ---- on our loop ------------------------------------------------------------ */

static void deliver_gone(struct cw_mail *mail)
{
	struct cw_mqtt_client *c = cw_container_of(mail, struct cw_mqtt_client, gone_mail);
	struct cw_list *e;

	while ((e = cw_list_pop(&c->subscriptions)) != NULL)
		cw_free(cw_container_of(e, struct subscription, link));
	while ((e = cw_list_pop(&c->tokens)) != NULL) {
		struct cw_mqtt_token *t = cw_container_of(e, struct cw_mqtt_token, link);

		t->rc = CW_ECLOSED;
		t->done(t);
	}
	c->events->gone(c->ctx);
	free_client(c);
}

static void destroy_handle(struct cw_mqtt_client *c)
{
	if (cw_worker_timers(c->w) != NULL) {
		cw_timer_stop(cw_worker_timers(c->w), &c->disconnect_timer);
		cw_timer_stop(cw_worker_timers(c->w), &c->nudge_timer);
	}
	if (c->handle != NULL) {
		pthread_mutex_lock(&handles_lock);
		MQTTAsync_destroy(&c->handle);
		pthread_mutex_unlock(&handles_lock);
	}
	c->handle = NULL;
	cw_post(c->w, &c->gone_mail, deliver_gone);
}

static void deliver_connected(struct cw_mail *mail)
{
	struct cw_mqtt_client *c = cw_container_of(mail, struct cw_mqtt_client, connected_mail);

	if (c->closing)
		return;
	c->is_up = c->code == 0;
	nudge(c);
	c->events->connected(c->ctx, c->code, c->text);
}

static void deliver_down(struct cw_mail *mail)
{
	struct cw_mqtt_client *c = cw_container_of(mail, struct cw_mqtt_client, down_mail);

	if (c->closing)
		return;
	c->is_up = 0;
	c->events->down(c->ctx, "the connection was closed by the other side or broke");
}

static void deliver_token(struct cw_mail *mail)
{
	struct cw_mqtt_token *t = cw_container_of(mail, struct cw_mqtt_token, mail);

	cw_list_remove(&t->link);
	t->client->under_way--;
	nudge(t->client);
	t->done(t);
}

static void deliver_subscribed(struct cw_mail *mail)
{
	struct subscription *s = cw_container_of(mail, struct subscription, mail);

	cw_list_remove(&s->link);
	nudge(s->client);
	if (!s->client->closing)
		s->client->events->subscribed(s->client->ctx, s->arg, s->refused);
	cw_free(s);
}

static void deliver_message(struct cw_mail *mail)
{
	struct inbound *in = cw_container_of(mail, struct inbound, mail);
	struct cw_mqtt_client *c = in->client;

	atomic_fetch_sub_explicit(&c->inbound, 1, memory_order_relaxed);
	nudge(c);
	if (!c->closing)
		c->events->message(c->ctx, cw_bytes_of(in->bytes, in->topic_len),
				   cw_bytes_of(in->bytes + in->topic_len, in->len), in->qos, in->retained);
	cw_free(in);
}

static void deliver_disconnected(struct cw_mail *mail)
{
	struct cw_mqtt_client *c = cw_container_of(mail, struct cw_mqtt_client, disconnected_mail);

	if (c->handle != NULL)
		destroy_handle(c);
}

/* ---- on Paho's threads ------------------------------------------------------ */

static void post_once(struct cw_mqtt_client *c, atomic_int *posted, struct cw_mail *mail,
		      void (*deliver)(struct cw_mail *))
{
	if (atomic_exchange(posted, 1) == 0)
		cw_post(c->w, mail, deliver);
}

static void on_connected(void *ctx, MQTTAsync_successData *ok)
{
	struct cw_mqtt_client *c = ctx;

	c->code = 0;
	(void)snprintf(c->text, sizeof(c->text), "connected");
	post_once(c, &c->connected_posted, &c->connected_mail, deliver_connected);
}

static void on_connected5(void *ctx, MQTTAsync_successData5 *ok)
{
	on_connected(ctx, NULL);
}

static int on_tls_error(const char *line, size_t len, void *ctx)
{
	struct cw_mqtt_client *c = ctx;

	cw_mqtt_tls_text(c->tls_text, sizeof(c->tls_text), line);
	return 1;
}

static void on_connect_failed(void *ctx, MQTTAsync_failureData *failure)
{
	struct cw_mqtt_client *c = ctx;

	if (atomic_load(&c->connected_posted))
		return;
	c->code = failure != NULL && failure->code > 0 ? failure->code : CW_EUNREACH;
	if (c->tls_text[0] != '\0')
		(void)snprintf(c->text, sizeof(c->text), "TLS: %s", c->tls_text);
	else
		(void)snprintf(c->text, sizeof(c->text), "%s",
			       failure == NULL || failure->message == NULL ? "cannot be reached"
			       : strcmp(failure->message, "TCP connect completion failure") == 0
				       ? "cannot be reached, or closed before it answered the login: is this an MQTT endpoint, and rather ssl:// than tcp://?"
				       : failure->message);
	post_once(c, &c->connected_posted, &c->connected_mail, deliver_connected);
}

/* With MQTT 5 a refusal has a reason, and so has everything else that fails. */
static void on_connect_failed5(void *ctx, MQTTAsync_failureData5 *failure)
{
	MQTTAsync_failureData plain = { 0 };
	const char *reason = MQTTReasonCode_toString(failure->reasonCode);

	plain.code = (int)failure->reasonCode >= 0x80 ? (int)failure->reasonCode : failure->code;
	plain.message = failure->message != NULL || (int)failure->reasonCode < 0x80 ? failure->message : reason;
	on_connect_failed(ctx, &plain);
}

static void on_lost(void *ctx, char *cause)
{
	struct cw_mqtt_client *c = ctx;

	post_once(c, &c->down_posted, &c->down_mail, deliver_down);
}

static int on_message(void *ctx, char *topic, int topic_len, MQTTAsync_message *m)
{
	struct cw_mqtt_client *c = ctx;
	size_t tlen = topic_len > 0 ? (size_t)topic_len : strlen(topic), len = (size_t)m->payloadlen;
	struct inbound *in;

	if (atomic_load_explicit(&c->inbound, memory_order_relaxed) >= INBOUND_MOST)
		return 0; /* Paho keeps it and asks again */
	in = cw_alloc(sizeof(*in) + tlen + len);
	if (in == NULL)
		return 0;
	in->client = c;
	in->qos = m->qos;
	in->retained = m->retained;
	in->topic_len = tlen;
	in->len = len;
	memcpy(in->bytes, topic, tlen);
	if (len > 0)
		memcpy(in->bytes + tlen, m->payload, len);
	atomic_fetch_add_explicit(&c->inbound, 1, memory_order_relaxed);
	cw_post(c->w, &in->mail, deliver_message);
	MQTTAsync_freeMessage(&m);
	MQTTAsync_free(topic);
	return 1;
}

static void settle_token(struct cw_mqtt_token *t, int rc)
{
	if (atomic_exchange(&t->posted, 1) != 0)
		return;
	t->rc = rc;
	cw_post(t->client->w, &t->mail, deliver_token);
}

static void on_published(void *ctx, MQTTAsync_successData *ok)
{
	settle_token(ctx, 0);
}

static void on_publish_failed(void *ctx, MQTTAsync_failureData *failure)
{
	settle_token(ctx, CW_ECLOSED);
}

static void on_published5(void *ctx, MQTTAsync_successData5 *ok)
{
	struct cw_mqtt_token *t = ctx;

	t->code = (int)ok->reasonCode;
	settle_token(t, t->code >= 0x80 ? CW_EREFUSED : 0);
}

static void on_publish_failed5(void *ctx, MQTTAsync_failureData5 *failure)
{
	struct cw_mqtt_token *t = ctx;

	t->code = (int)failure->reasonCode;
	settle_token(t, t->code >= 0x80 ? CW_EREFUSED : CW_ECLOSED);
}

static void settle_subscription(struct subscription *s, int refused)
{
	if (atomic_exchange(&s->posted, 1) != 0)
		return;
	s->refused = refused;
	cw_post(s->client->w, &s->mail, deliver_subscribed);
}

static void on_subscribed(void *ctx, MQTTAsync_successData *ok)
{
	struct subscription *s = ctx;
	int i, refused = 0;

	for (i = 0; s->count > 1 && i < s->count; i++)
		if (ok->alt.qosList[i] > 2)
			refused |= 1 << i;
	settle_subscription(s, refused);
}

static void on_subscribe_failed(void *ctx, MQTTAsync_failureData *failure)
{
	struct subscription *s = ctx;

	settle_subscription(s, s->count == 1 && failure != NULL && failure->code == 0x80 ? 1 : -1);
}

static void on_subscribed5(void *ctx, MQTTAsync_successData5 *ok)
{
	struct subscription *s = ctx;
	int i, refused = 0;

	if (ok->alt.sub.reasonCodeCount <= 1)
		refused = (int)ok->reasonCode >= 0x80;
	for (i = 0; ok->alt.sub.reasonCodeCount > 1 && i < s->count && i < ok->alt.sub.reasonCodeCount; i++)
		if ((int)ok->alt.sub.reasonCodes[i] >= 0x80)
			refused |= 1 << i;
	settle_subscription(s, refused);
}

static void on_subscribe_failed5(void *ctx, MQTTAsync_failureData5 *failure)
{
	struct subscription *s = ctx;

	settle_subscription(s, s->count == 1 && (int)failure->reasonCode >= 0x80 ? 1 : -1);
}

static void on_disconnected(void *ctx, MQTTAsync_successData *ok)
{
	struct cw_mqtt_client *c = ctx;

	post_once(c, &c->disconnected_posted, &c->disconnected_mail, deliver_disconnected);
}

static void on_disconnect_failed(void *ctx, MQTTAsync_failureData *failure)
{
	on_disconnected(ctx, NULL);
}

static void on_disconnected5(void *ctx, MQTTAsync_successData5 *ok)
{
	on_disconnected(ctx, NULL);
}

static void on_disconnect_failed5(void *ctx, MQTTAsync_failureData5 *failure)
{
	on_disconnected(ctx, NULL);
}

/* ---- connecting --------------------------------------------------------------- */

/* The result of an attempt that Paho never saw, told from the loop like any other. */
static void fail_attempt(struct cw_mqtt_client *c, int code, const char *text)
{
	c->code = code;
	(void)snprintf(c->text, sizeof(c->text), "%s", text);
	post_once(c, &c->connected_posted, &c->connected_mail, deliver_connected);
}

static int make_handle(struct cw_mqtt_client *c, const char *host)
{
	MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
	static const char *const schemes[] = { "tcp", "ssl", "ws", "wss" };
	char uri[400];
	int rc;

	(void)snprintf(uri, sizeof(uri), strchr(host, ':') != NULL ? "%s://[%s]:%d%s" : "%s://%s:%d%s",
		       schemes[(c->s.ws_path != NULL ? 2 : 0) + (c->s.tls ? 1 : 0)], host, c->s.port,
		       c->s.ws_path != NULL ? c->s.ws_path : "");
	options.MQTTVersion = c->s.mqtt5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
	options.sendWhileDisconnected = 0;
	options.maxBufferedMessages = (int)c->s.outstanding;
	pthread_mutex_lock(&handles_lock);
	rc = MQTTAsync_createWithOptions(&c->handle, uri, c->s.client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
	pthread_mutex_unlock(&handles_lock);
	if (rc != MQTTASYNC_SUCCESS) {
		c->handle = NULL;
		return CW_EINTERNAL;
	}
	(void)MQTTAsync_setCallbacks(c->handle, c, on_lost, on_message, NULL);
	return 0;
}

static void start_attempt(struct cw_mqtt_client *c, const char *host)
{
	MQTTAsync_connectOptions plain = MQTTAsync_connectOptions_initializer;
	MQTTAsync_connectOptions options5 = MQTTAsync_connectOptions_initializer5;
	MQTTAsync_connectOptions options = c->s.mqtt5 ? options5 : plain;
	MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
	MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
	int rc;

	if (make_handle(c, host) < 0) {
		fail_attempt(c, CW_EINTERNAL, "the MQTT library could not make a client");
		return;
	}
	options.keepAliveInterval = (int)c->s.keep_alive_s;
	if (c->s.mqtt5)
		options.cleanstart = c->s.clean_session;
	else
		options.cleansession = c->s.clean_session;
	options.maxInflight =
		65535; /* our own window is narrower, and Paho's retries only once a second when it is full */
	options.username = c->s.user;
	options.password = c->s.password;
	options.connectTimeout = (int)c->s.connect_timeout_s;
	options.automaticReconnect = 0;
	options.MQTTVersion = c->s.mqtt5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
	if (c->s.mqtt5) {
		options.onSuccess5 = on_connected5;
		options.onFailure5 = on_connect_failed5;
	} else {
		options.onSuccess = on_connected;
		options.onFailure = on_connect_failed;
	}
	if (c->s.will_topic != NULL) {
		will.topicName = c->s.will_topic;
		will.payload.data = c->s.will;
		will.payload.len = (int)c->s.will_len;
		will.qos = c->s.will_qos;
		will.retained = c->s.will_retain;
		options.will = &will;
	}
	options.context = c;
	if (c->s.tls) {
		tls.trustStore = c->s.ca;
		tls.keyStore = c->s.certificate;
		tls.privateKey = c->s.key;
		tls.enableServerCertAuth = c->s.verify;
		tls.verify = c->s.verify;                    /* the name, too */
		tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2; /* and above */
		tls.ssl_error_cb = on_tls_error;
		tls.ssl_error_context = c;
		options.ssl = &tls;
	}
	rc = MQTTAsync_connect(c->handle, &options);
	if (rc != MQTTASYNC_SUCCESS)
		fail_attempt(c, CW_EINTERNAL,
			     MQTTAsync_strerror(rc) != NULL ? MQTTAsync_strerror(rc)
							    : "connect refused by the library");
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct cw_mqtt_client *c = cw_container_of(req, struct cw_mqtt_client, resolver);
	char address[INET6_ADDRSTRLEN];
	int found = status == 0 && cw_mqtt_address(res, c->s.attempt, address);

	uv_freeaddrinfo(res);
	c->resolving = 0;
	if (c->closing)
		destroy_handle(c);
	else if (!found)
		fail_attempt(c, CW_EUNREACH, "its name cannot be resolved");
	else
		start_attempt(c, c->s.tls || c->s.ws_path != NULL ? c->s.host : address); /* the Host header, too */
}

static int paho_connect(const struct cw_mqtt_conf *conf, struct cw_worker *w, const struct cw_mqtt_events *events,
			void *ctx, char *text, size_t size, struct cw_mqtt_client **ret_client)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct cw_mqtt_client *c = cw_zalloc(sizeof(*c));
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char port[8];

	(void)pthread_once(&once, open_library);
	(void)snprintf(text, size, "out of memory");
	if (c == NULL)
		return CW_ENOMEM;
	c->w = w;
	c->events = events;
	c->ctx = ctx;
	cw_list_init(&c->tokens);
	cw_list_init(&c->subscriptions);
	if (cw_mqtt_settings_copy(&c->s, conf) < 0) {
		free_client(c);
		return CW_ENOMEM;
	}
	(void)snprintf(port, sizeof(port), "%d", c->s.port);
	if (uv_getaddrinfo(cw_worker_loop(w), &c->resolver, on_resolved, c->s.host, port, &hints) < 0) {
		(void)snprintf(text, size, "its name cannot be resolved");
		free_client(c);
		return CW_EUNREACH;
	}
	c->resolving = 1;
	*ret_client = c;
	return 0;
}

/* ---- the other operations ------------------------------------------------------ */

static int paho_publish(struct cw_mqtt_client *c, const char *topic, struct cw_bytes payload, int qos, int retain,
			struct cw_mqtt_token *t)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	int rc;

	if (!c->is_up || c->closing)
		return CW_ECLOSED;
	if (c->under_way >= c->s.outstanding)
		return CW_EBUSY;
	t->client = c;
	t->rc = t->code = 0;
	atomic_store(&t->posted, 0);
	if (c->s.mqtt5) {
		options.onSuccess5 = on_published5;
		options.onFailure5 = on_publish_failed5;
	} else {
		options.onSuccess = on_published;
		options.onFailure = on_publish_failed;
	}
	options.context = t;
	cw_list_push_back(&c->tokens, &t->link);
	rc = MQTTAsync_send(c->handle, topic, (int)payload.len, payload.ptr, qos, retain, &options);
	if (rc == MQTTASYNC_SUCCESS) {
		c->under_way++;
		return 0;
	}
	cw_list_remove(&t->link);
	return rc == MQTTASYNC_MAX_BUFFERED_MESSAGES || rc == MQTTASYNC_NO_MORE_MSGIDS ? CW_EBUSY : CW_ECLOSED;
}

static int paho_subscribe(struct cw_mqtt_client *c, const char *const *topics, int count, void *arg)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	int qos[CW_MQTT_SUBSCRIBE_MOST] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	char *list[CW_MQTT_SUBSCRIBE_MOST];
	struct subscription *s;
	int i, rc;

	if (!c->is_up || c->closing)
		return CW_ECLOSED;
	if (count < 1 || count > CW_MQTT_SUBSCRIBE_MOST)
		return CW_EINVAL;
	s = cw_zalloc(sizeof(*s));
	if (s == NULL)
		return CW_ENOMEM;
	for (i = 0; i < count; i++)
		list[i] = (char *)(uintptr_t)topics[i]; /* Paho copies them */
	s->client = c;
	s->arg = arg;
	s->count = count;
	if (c->s.mqtt5) {
		options.onSuccess5 = on_subscribed5;
		options.onFailure5 = on_subscribe_failed5;
	} else {
		options.onSuccess = on_subscribed;
		options.onFailure = on_subscribe_failed;
	}
	options.context = s;
	cw_list_push_back(&c->subscriptions, &s->link);
	rc = MQTTAsync_subscribeMany(c->handle, count, list, qos, &options);
	if (rc == MQTTASYNC_SUCCESS)
		return 0;
	cw_list_remove(&s->link);
	cw_free(s);
	return CW_ECLOSED;
}

static void on_disconnect_late(struct cw_timer *t)
{
	destroy_handle(cw_container_of(t, struct cw_mqtt_client, disconnect_timer));
}

static void paho_close(struct cw_mqtt_client *c, int polite)
{
	MQTTAsync_disconnectOptions plain = MQTTAsync_disconnectOptions_initializer;
	MQTTAsync_disconnectOptions options5 = MQTTAsync_disconnectOptions_initializer5;
	MQTTAsync_disconnectOptions options = c->s.mqtt5 ? options5 : plain;

	if (c->closing)
		return;
	c->closing = 1;
	if (c->resolving) { /* the answer comes, if only as cancelled, and goes on from there */
		(void)uv_cancel((uv_req_t *)&c->resolver);
		return;
	}
	options.timeout = CW_MQTT_DISCONNECT_MS;
	if (c->s.mqtt5) {
		options.onSuccess5 = on_disconnected5;
		options.onFailure5 = on_disconnect_failed5;
	} else {
		options.onSuccess = on_disconnected;
		options.onFailure = on_disconnect_failed;
	}
	options.context = c;
	if (polite && c->is_up && MQTTAsync_disconnect(c->handle, &options) == MQTTASYNC_SUCCESS) {
		cw_timer_set(cw_worker_timers(c->w), &c->disconnect_timer, 4 * CW_MQTT_DISCONNECT_MS, on_disconnect_late);
		return;
	}
	destroy_handle(c);
}

const struct cw_mqtt_ops cw_mqtt_paho = {
	.name = "paho",
	.can = CW_MQTT_CAN_WS,
	.connect = paho_connect,
	.publish = paho_publish,
	.subscribe = paho_subscribe,
	.close = paho_close,
};
