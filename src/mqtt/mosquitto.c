/*
 * mosquitto.c - client.h with libmosquitto, which has no thread: its socket stands in
 * our loop, and everything here runs there.
 *
 * What is published in one pass of the loop is written at its end, in as few segments
 * as it fits: the library writes each packet on its own, so the socket is corked
 * around them. It would also write from within publish(); that it does not is what
 * mosquitto_threaded_set() is for.
 *
 * The library closes its socket whenever it likes, which must not happen to a
 * descriptor that is being polled. So a duplicate of it is polled, and is ours to
 * close. It takes user callbacks' errno for its own: they leave it at 0.
 *
 * Names are resolved before it sees them, because it would block. TLS gets a context
 * made here, in which the name to be checked and shown to the server is the one that
 * was configured, not the address the library knows.
 *
 * Its callbacks reach the owner directly, save for the end: close() from inside one
 * takes effect when the library has returned.
 */
#include "mqtt/inside.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/mem.h"

#define BUCKETS 1024u /* of tokens, by message id: about as many as are under way at once */
#define MISC_MS 1000u

struct subscription {
	struct cw_list link;
	void *arg;
	int mid;
};

struct cw_mqtt_client {
	struct cw_worker *w;
	const struct cw_mqtt_events *events;
	void *ctx;
	struct cw_mqtt_settings s;
	struct mosquitto *lib;
	SSL_CTX *tls;
	uv_getaddrinfo_t resolver;
	uv_poll_t poll;
	uv_prepare_t flush; /* runs before the loop sleeps, while there is something to write */
	struct cw_timer misc, deadline;
	struct cw_list subscriptions;
	unsigned outstanding;
	unsigned queued;  /* packets since the last write */
	unsigned last_id; /* the library's last message id */
	int fd;           /* the duplicate; -1: none */
	int watched;      /* events polled for */
	int handles;      /* open ones */
	int resolving, told, is_up, broken, wedged;
	int closing, saying_goodbye, ended;
	int inside; /* the library is on the stack */
	char text[160], tls_text[120];
	struct cw_list by_mid[BUCKETS];
};

static void init_library(void)
{
	(void)OPENSSL_init_ssl(0, NULL); /* once, by us: other libraries of the process use OpenSSL too */
	(void)mosquitto_lib_init();
}

static struct cw_timers *timers(struct cw_mqtt_client *c)
{
	return cw_worker_timers(c->w);
}

/* ---- the end ------------------------------------------------------------------ */

static void free_client(struct cw_mqtt_client *c)
{
	mosquitto_destroy(c->lib);
	SSL_CTX_free(c->tls);
	if (c->fd >= 0)
		close(c->fd);
	cw_mqtt_settings_free(&c->s);
	cw_free(c);
}

static void on_closed(uv_handle_t *h)
{
	struct cw_mqtt_client *c = h->data;
	struct cw_list *e;
	unsigned i;

	if (--c->handles > 0)
		return;
	while ((e = cw_list_pop(&c->subscriptions)) != NULL)
		cw_free(cw_container_of(e, struct subscription, link));
	for (i = 0; i < BUCKETS; i++)
		while ((e = cw_list_pop(&c->by_mid[i])) != NULL) {
			struct cw_mqtt_token *t = cw_container_of(e, struct cw_mqtt_token, link);

			t->rc = CW_ECLOSED;
			t->done(t);
		}
	c->events->gone(c->ctx);
	free_client(c);
}

static void end(struct cw_mqtt_client *c)
{
	if (c->ended || c->inside)
		return; /* if inside: settle() comes back here */
	c->ended = 1;
	cw_timer_stop(timers(c), &c->misc);
	cw_timer_stop(timers(c), &c->deadline);
	if (c->fd >= 0)
		uv_close((uv_handle_t *)&c->poll, on_closed);
	uv_close((uv_handle_t *)&c->flush, on_closed);
}

/* The connection is of no use any more: say so, once; who hears it closes. */
static void fail(struct cw_mqtt_client *c, int code, const char *text)
{
	if (c->broken)
		return;
	c->broken = 1;
	c->is_up = 0;
	cw_timer_stop(timers(c), &c->misc);
	cw_timer_stop(timers(c), &c->deadline);
	if (c->fd >= 0 && c->watched != 0)
		(void)uv_poll_stop(&c->poll);
	c->watched = 0;
	if (c->closing) {
		end(c);
		return;
	}
	if (c->told) {
		c->events->down(c->ctx, text);
		return;
	}
	c->told = 1;
	c->events->connected(c->ctx, code, text);
}

static void fail_by(struct cw_mqtt_client *c, int rc)
{
	const char *text = "the connection was closed by the other side or broke";

	if (c->tls_text[0] != '\0' && !c->is_up)
		(void)snprintf(c->text, sizeof(c->text), "TLS: %s", c->tls_text);
	else if (rc == MOSQ_ERR_ERRNO && errno != 0)
		(void)snprintf(c->text, sizeof(c->text), "%s", strerror(errno));
	else if (rc == MOSQ_ERR_KEEPALIVE)
		(void)snprintf(c->text, sizeof(c->text), "the other side does not answer any more");
	else if (rc == MOSQ_ERR_SUCCESS || rc == MOSQ_ERR_CONN_LOST || rc == MOSQ_ERR_NO_CONN)
		(void)snprintf(c->text, sizeof(c->text), "%s", text);
	else
		(void)snprintf(c->text, sizeof(c->text), "%s", mosquitto_strerror(rc));
	fail(c, CW_EUNREACH, c->text);
}

/* ---- the loop ------------------------------------------------------------------- */

static void on_poll(uv_poll_t *h, int status, int events);
static void on_flush(uv_prepare_t *h);

static void enter(struct cw_mqtt_client *c)
{
	c->inside = 1;
	errno = 0; /* the library looks at it also after calls that worked */
}

/* After each call into the library that may have called back. */
static void settle(struct cw_mqtt_client *c, int rc)
{
	int events = UV_READABLE;

	c->inside = 0;
	if (c->closing && !c->saying_goodbye) {
		end(c);
		return;
	}
	if (rc != MOSQ_ERR_SUCCESS || mosquitto_socket(c->lib) < 0) {
		fail_by(c, rc);
		return;
	}
	if (c->broken)
		return;
	if (mosquitto_want_write(c->lib) && c->queued == 0)
		events |= UV_WRITABLE; /* else it is written at the end of this pass */
	if (events != c->watched && uv_poll_start(&c->poll, events, on_poll) == 0)
		c->watched = events;
}

static void cork(struct cw_mqtt_client *c, int on)
{
	if (c->fd >= 0 && c->tls == NULL)
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static void write_out(struct cw_mqtt_client *c)
{
	int several = c->queued > 1, rc;

	(void)uv_prepare_stop(&c->flush);
	c->queued = 0;
	if (c->broken || c->ended)
		return;
	if (several)
		cork(c, 1);
	enter(c);
	rc = mosquitto_loop_write(c->lib, 1);
	if (several && mosquitto_socket(c->lib) >= 0) {
		int saved = errno;

		cork(c, 0);
		errno = saved;
	}
	settle(c, rc);
}

static void on_flush(uv_prepare_t *h)
{
	struct cw_mqtt_client *c = h->data;

	if (c->wedged) {
		(void)uv_prepare_stop(&c->flush);
		fail(c, CW_EUNREACH,
		     "the broker left a message unacknowledged for as long as there are numbers for messages");
		return;
	}
	write_out(c);
}

static void write_soon(struct cw_mqtt_client *c)
{
	c->queued++;
	(void)uv_prepare_start(&c->flush, on_flush); /* nothing when it is started already */
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct cw_mqtt_client *c = h->data;
	int error = 0, rc;
	socklen_t len = sizeof(error);

	if (c->broken || c->ended)
		return;
	if (status < 0) /* the socket's error is the reason; what was said before it still counts */
		(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (status < 0 || (events & UV_READABLE) != 0) {
		enter(c);
		rc = mosquitto_loop_read(c->lib, 1);
		if (status < 0 && error != 0 && !c->closing && !c->broken) {
			c->inside = 0;
			fail(c, CW_EUNREACH, strerror(error));
			return;
		}
		settle(c, status < 0 && rc == MOSQ_ERR_SUCCESS ? MOSQ_ERR_CONN_LOST : rc);
	}
	if ((events & UV_WRITABLE) != 0 && !c->broken && !c->ended)
		write_out(c);
}

static void on_misc(struct cw_timer *t)
{
	struct cw_mqtt_client *c = cw_container_of(t, struct cw_mqtt_client, misc);
	int rc;

	enter(c);
	rc = mosquitto_loop_misc(c->lib);
	settle(c, rc);
	if (c->broken || c->ended)
		return;
	if (mosquitto_want_write(c->lib))
		write_soon(c);
	cw_timer_set(timers(c), &c->misc, MISC_MS, on_misc);
}

static void on_deadline(struct cw_timer *t)
{
	struct cw_mqtt_client *c = cw_container_of(t, struct cw_mqtt_client, deadline);

	if (c->saying_goodbye) {
		c->saying_goodbye = 0;
		end(c);
		return;
	}
	fail(c, CW_ETIMEDOUT, mosquitto_want_write(c->lib) ? "cannot be reached" : "it does not answer");
}

/* ---- called by the library -------------------------------------------------------- */

static void on_connect(struct mosquitto *lib, void *ctx, int code, int flags, const mosquitto_property *properties)
{
	struct cw_mqtt_client *c = ctx;
	int refused = code != 0;

	if (!c->closing && !c->told) {
		cw_timer_stop(timers(c), &c->deadline);
		c->told = 1;
		c->is_up = !refused;
		c->broken = refused;
		c->events->connected(c->ctx, code,
				     !refused     ? "connected"
				     : c->s.mqtt5 ? mosquitto_reason_string(code)
						  : mosquitto_connack_string(code));
	}
	errno = 0;
}

static void say_goodbye(struct cw_mqtt_client *c)
{
	(void)mosquitto_disconnect(c->lib); /* behind all that is still to be written */
	write_soon(c);
}

static void on_publish(struct mosquitto *lib, void *ctx, int mid, int code, const mosquitto_property *properties)
{
	struct cw_mqtt_client *c = ctx;
	struct cw_list *e, *bucket = &c->by_mid[(unsigned)mid % BUCKETS];

	cw_list_each (e, bucket) {
		struct cw_mqtt_token *t = cw_container_of(e, struct cw_mqtt_token, link);

		if (t->mid != (unsigned)mid)
			continue;
		cw_list_remove(&t->link);
		c->outstanding--;
		t->code = code;
		t->rc = code >= 0x80 ? CW_EREFUSED : 0;
		t->done(t);
		break;
	}
	if (c->saying_goodbye && c->outstanding == 0)
		say_goodbye(c);
	errno = 0;
}

static void on_message(struct mosquitto *lib, void *ctx, const struct mosquitto_message *m)
{
	struct cw_mqtt_client *c = ctx;

	if (!c->closing)
		c->events->message(c->ctx, cw_bytes_text(m->topic), cw_bytes_of(m->payload, (size_t)m->payloadlen),
				   m->qos, m->retain);
	errno = 0;
}

static void on_subscribe(struct mosquitto *lib, void *ctx, int mid, int count, const int *granted)
{
	struct cw_mqtt_client *c = ctx;
	struct cw_list *e;
	int i, refused = 0;

	for (i = 0; i < count && i < CW_MQTT_SUBSCRIBE_MOST; i++)
		if (granted[i] > 2)
			refused |= 1 << i;
	cw_list_each (e, &c->subscriptions) {
		struct subscription *s = cw_container_of(e, struct subscription, link);

		if (s->mid != mid)
			continue;
		cw_list_remove(&s->link);
		if (!c->closing)
			c->events->subscribed(c->ctx, s->arg, refused);
		cw_free(s);
		break;
	}
	errno = 0;
}

static void on_log(struct mosquitto *lib, void *ctx, int level, const char *line)
{
	struct cw_mqtt_client *c = ctx;

	cw_mqtt_tls_text(c->tls_text, sizeof(c->tls_text), line);
}

/* ---- connecting --------------------------------------------------------------------- */

static int is_address(const char *host)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* At the start of the handshake: the server is shown the name we want, not the address the library went to. */
static void on_tls_state(const SSL *ssl, int where, int ret)
{
	struct cw_mqtt_client *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	char *name = is_address(c->s.host) ? NULL : c->s.host;

	if (where == SSL_CB_HANDSHAKE_START)
		(void)SSL_set_tlsext_host_name((SSL *)(uintptr_t)ssl, name);
}

static int load_files(struct cw_mqtt_client *c, char *text, size_t size)
{
	if (c->s.ca != NULL && SSL_CTX_load_verify_locations(c->tls, c->s.ca, NULL) != 1) {
		(void)snprintf(text, size, "TLS: the authorities in %s cannot be read", c->s.ca);
		return CW_EACCESS;
	}
	if (c->s.ca == NULL)
		(void)SSL_CTX_set_default_verify_paths(c->tls);
	if (c->s.certificate != NULL && SSL_CTX_use_certificate_chain_file(c->tls, c->s.certificate) != 1) {
		(void)snprintf(text, size, "TLS: the certificate in %s cannot be read", c->s.certificate);
		return CW_EACCESS;
	}
	if (c->s.key != NULL && (SSL_CTX_use_PrivateKey_file(c->tls, c->s.key, SSL_FILETYPE_PEM) != 1 ||
				 SSL_CTX_check_private_key(c->tls) != 1)) {
		(void)snprintf(text, size, "TLS: the key in %s cannot be read or is of another certificate", c->s.key);
		return CW_EACCESS;
	}
	return 0;
}

static int make_tls(struct cw_mqtt_client *c, char *text, size_t size)
{
	X509_VERIFY_PARAM *check;
	int rc, named;

	c->tls = SSL_CTX_new(TLS_client_method());
	if (c->tls == NULL)
		return CW_ENOMEM;
	(void)SSL_CTX_set_min_proto_version(c->tls, c->s.tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_mode(c->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_app_data(c->tls, c);
	SSL_CTX_set_info_callback(c->tls, on_tls_state);
	rc = load_files(c, text, size);
	ERR_clear_error();
	if (rc < 0 || !c->s.verify)
		return rc;
	check = SSL_CTX_get0_param(c->tls);
	X509_VERIFY_PARAM_set_hostflags(check, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	named = is_address(c->s.host) ? X509_VERIFY_PARAM_set1_ip_asc(check, c->s.host)
				      : X509_VERIFY_PARAM_set1_host(check, c->s.host, 0);
	SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
	return named == 1 ? 0 : CW_ENOMEM;
}

static int make_library(struct cw_mqtt_client *c, char *text, size_t size)
{
	int rc = 0;

	c->lib = mosquitto_new(c->s.client_id, c->s.clean_session, c);
	if (c->lib == NULL)
		return CW_ENOMEM;
	(void)mosquitto_int_option(c->lib, MOSQ_OPT_PROTOCOL_VERSION,
				   c->s.mqtt5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
	(void)mosquitto_int_option(c->lib, MOSQ_OPT_TCP_NODELAY, 1);
	(void)mosquitto_threaded_set(c->lib, true);
	(void)mosquitto_max_inflight_messages_set(c->lib, 0); /* the window is ours */
	mosquitto_connect_v5_callback_set(c->lib, on_connect);
	mosquitto_publish_v5_callback_set(c->lib, on_publish);
	mosquitto_message_callback_set(c->lib, on_message);
	mosquitto_subscribe_callback_set(c->lib, on_subscribe);
	mosquitto_log_callback_set(c->lib, on_log);
	if (c->s.user != NULL)
		rc = mosquitto_username_pw_set(c->lib, c->s.user, c->s.password);
	if (rc == MOSQ_ERR_SUCCESS && c->s.will_topic != NULL)
		rc = mosquitto_will_set(c->lib, c->s.will_topic, (int)c->s.will_len, c->s.will, c->s.will_qos,
					c->s.will_retain != 0);
	if (rc == MOSQ_ERR_NOMEM)
		return CW_ENOMEM;
	if (rc != MOSQ_ERR_SUCCESS) {
		(void)snprintf(text, size, "user name, password or will: %s", mosquitto_strerror(rc));
		return CW_EINVAL;
	}
	if (c->s.tls) {
		(void)mosquitto_int_option(c->lib, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
		rc = make_tls(c, text, size);
		if (rc == 0 && mosquitto_void_option(c->lib, MOSQ_OPT_SSL_CTX, c->tls) != MOSQ_ERR_SUCCESS)
			rc = CW_ENOMEM;
	}
	return rc;
}

static void attempt(struct cw_mqtt_client *c, const char *address)
{
	int rc;

	enter(c);
	rc = mosquitto_connect_async(c->lib, address, c->s.port, (int)c->s.keep_alive_s);
	c->inside = 0;
	if (rc != MOSQ_ERR_SUCCESS || mosquitto_socket(c->lib) < 0) {
		fail_by(c, rc);
		return;
	}
	c->fd = fcntl(mosquitto_socket(c->lib), F_DUPFD_CLOEXEC, 0);
	if (c->fd >= 0 && uv_poll_init(cw_worker_loop(c->w), &c->poll, c->fd) < 0) {
		close(c->fd);
		c->fd = -1;
	}
	if (c->fd < 0) {
		fail(c, CW_ELIMIT, "no descriptor is left for its connection");
		return;
	}
	c->poll.data = c;
	c->handles++;
	cw_timer_set(timers(c), &c->misc, MISC_MS, on_misc);
	settle(c, MOSQ_ERR_SUCCESS);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct cw_mqtt_client *c = cw_container_of(req, struct cw_mqtt_client, resolver);
	char address[INET6_ADDRSTRLEN];
	int found = status == 0 && cw_mqtt_address(res, c->s.attempt, address);

	uv_freeaddrinfo(res);
	c->resolving = 0;
	if (c->closing)
		end(c);
	else if (c->broken)
		return; /* it took too long */
	else if (!found)
		fail(c, CW_EUNREACH, "its name cannot be resolved");
	else
		attempt(c, address);
}

static int mosquitto_open(const struct cw_mqtt_conf *conf, struct cw_worker *w, const struct cw_mqtt_events *events,
			  void *ctx, char *text, size_t size, struct cw_mqtt_client **ret_client)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct cw_mqtt_client *c = cw_zalloc(sizeof(*c));
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	unsigned i;
	int rc;

	(void)pthread_once(&once, init_library);
	(void)snprintf(text, size, "out of memory");
	if (c == NULL)
		return CW_ENOMEM;
	c->w = w;
	c->events = events;
	c->ctx = ctx;
	c->fd = -1;
	cw_list_init(&c->subscriptions);
	for (i = 0; i < BUCKETS; i++)
		cw_list_init(&c->by_mid[i]);
	rc = cw_mqtt_settings_copy(&c->s, conf);
	if (rc == 0)
		rc = make_library(c, text, size);
	if (rc == 0 && uv_getaddrinfo(cw_worker_loop(w), &c->resolver, on_resolved, c->s.host, NULL, &hints) < 0) {
		(void)snprintf(text, size, "its name cannot be resolved");
		rc = CW_EUNREACH;
	}
	if (rc < 0) {
		free_client(c);
		return rc;
	}
	c->resolving = 1;
	c->handles = 1;
	(void)uv_prepare_init(cw_worker_loop(w), &c->flush);
	c->flush.data = c;
	cw_timer_set(timers(c), &c->deadline, (uint64_t)c->s.connect_timeout_s * 1000, on_deadline);
	*ret_client = c;
	return 0;
}

/* ---- the other operations ------------------------------------------------------------- */

static int err_of(int rc)
{
	switch (rc) {
	case MOSQ_ERR_SUCCESS: return 0;
	case MOSQ_ERR_NOMEM: return CW_ENOMEM;
	case MOSQ_ERR_PAYLOAD_SIZE:
	case MOSQ_ERR_OVERSIZE_PACKET: return CW_ELIMIT;
	case MOSQ_ERR_INVAL:
	case MOSQ_ERR_MALFORMED_UTF8:
	case MOSQ_ERR_QOS_NOT_SUPPORTED:
	case MOSQ_ERR_RETAIN_NOT_SUPPORTED: return CW_EINVAL;
	default: return CW_ECLOSED;
	}
}

/* The library hands out message ids in turn without looking whether one is still in use. */
static int id_is_used(struct cw_mqtt_client *c, unsigned mid)
{
	struct cw_list *e;

	cw_list_each (e, &c->by_mid[mid % BUCKETS])
		if (cw_container_of(e, struct cw_mqtt_token, link)->mid == mid)
			return 1;
	return 0;
}

static int mosquitto_send(struct cw_mqtt_client *c, const char *topic, struct cw_bytes payload, int qos, int retain,
			  struct cw_mqtt_token *t)
{
	int mid = 0, rc;

	if (!c->is_up || c->closing)
		return CW_ECLOSED;
	if (c->outstanding >= c->s.outstanding)
		return CW_EBUSY;
	if (id_is_used(c, c->last_id >= 65535 ? 1 : c->last_id + 1)) {
		c->wedged = 1;
		(void)uv_prepare_start(&c->flush, on_flush);
		return CW_EBUSY;
	}
	if (payload.len > MQTT_MAX_PAYLOAD)
		return CW_ELIMIT;
	rc = mosquitto_publish(c->lib, &mid, topic, (int)payload.len, payload.ptr, qos, retain != 0);
	if (mid > 0)
		c->last_id = (unsigned)mid;
	if (rc != MOSQ_ERR_SUCCESS)
		return err_of(rc);
	t->client = c;
	t->mid = (unsigned)mid;
	t->rc = t->code = 0;
	cw_list_push_back(&c->by_mid[t->mid % BUCKETS], &t->link);
	c->outstanding++;
	write_soon(c);
	return 0;
}

static int mosquitto_listen(struct cw_mqtt_client *c, const char *const *topics, int count, void *arg)
{
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
		list[i] = (char *)(uintptr_t)topics[i]; /* the library copies them */
	rc = mosquitto_subscribe_multiple(c->lib, &s->mid, count, list, 1, 0, NULL);
	if (rc != MOSQ_ERR_SUCCESS) {
		cw_free(s);
		return err_of(rc);
	}
	c->last_id = (unsigned)s->mid;
	s->arg = arg;
	cw_list_push_back(&c->subscriptions, &s->link);
	write_soon(c);
	return 0;
}

static void mosquitto_end(struct cw_mqtt_client *c, int polite)
{
	if (c->closing)
		return;
	c->closing = 1;
	if (c->resolving) { /* the answer comes, if only as cancelled, and goes on from there */
		cw_timer_stop(timers(c), &c->deadline);
		(void)uv_cancel((uv_req_t *)&c->resolver);
		return;
	}
	if (!polite || !c->is_up) {
		end(c);
		return;
	}
	c->saying_goodbye = 1;
	cw_timer_set(timers(c), &c->deadline, CW_MQTT_DISCONNECT_MS, on_deadline);
	if (c->outstanding == 0)
		say_goodbye(c);
}

const struct cw_mqtt_ops cw_mqtt_mosquitto = {
	.name = "mosquitto",
	.can = CW_MQTT_CAN_TLS13 | CW_MQTT_CAN_TLS6,
	.connect = mosquitto_open,
	.publish = mosquitto_send,
	.subscribe = mosquitto_listen,
	.close = mosquitto_end,
};
