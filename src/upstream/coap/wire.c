/*
 * wire.c - see wire.h.
 *
 * Each client session has a socket of its own with one request under way, so the default receive buffer is plenty (it
 * is a server's one socket that has to be widened). A session that ends is told to libcoap first (it would otherwise
 * live on, for as long as it repeats a request) and released when no call of libcoap is on the stack.
 */
#include "upstream/coap/wire.h"

#include <coap3/coap.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "loop/closing.h"

#define OPTION_TOKEN 2088u
#define OPTION_TOKEN_OLD 61u
#define OPTION_SEQ 2089u
#define OPTION_ID 2090u
#define OVERHEAD 512u /* of a message beside its payload: path, token, sequence, DTLS */
#define RETRANSMITS 4u
#define UNREACHABLE "nobody listens there, or the network cannot reach it"

struct shard {
	struct cw_list link;
	struct coap_wire *wire;
	coap_context_t *context;
	uv_poll_t poll;
	struct cw_timer timer;
	unsigned sessions;
	int dirty; /* something was sent or received: ask for the next deadline */
};

struct coap_link {
	struct cw_list news, end; /* in the wire's, while something is to be told or it is to be freed */
	struct shard *shard;
	coap_session_t *session;
	void *owner;
	const char *host;
	int is_ready, tell_ready, tell_broken, refused;
	char text[384];
};

struct coap_wire {
	struct coap_wire_conf conf;
	const struct coap_wire_ops *ops;
	struct cw_worker *w;
	struct cw_list shards, news, end;
	uv_prepare_t prepare;
	struct cw_closing closing;
	int started;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* libcoap says only in its log why a handshake failed. Of this thread's last call. */
static _Thread_local char last_words[160];
/* Contexts are made one after the other, whatever threads upstreams have. */
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static void on_library_log(coap_log_t level, const char *message)
{
	const char *dtls = strstr(message, "DTLS: "); /* behind the addresses */
	char *routine;

	if (dtls != NULL)
		message = dtls;
	if (strstr(last_words, "certificate") != NULL)
		return; /* what follows says less */
	(void)snprintf(last_words, sizeof(last_words), "%.*s", (int)strcspn(message, "\n"), message);
	routine = strstr(last_words, " at SSL routines"); /* of OpenSSL's: of no use to anybody here */
	if (routine != NULL)
		*routine = '\0';
}

/* ---- what happened ---- */

static struct coap_link *link_of(coap_session_t *session)
{
	return coap_session_get_app_data(session);
}

static void note(struct coap_link *l)
{
	cw_list_remove(&l->news);
	cw_list_push_back(&l->shard->wire->news, &l->news);
}

static void note_broken(struct coap_link *l, int refused, const char *text)
{
	if (l == NULL || l->tell_broken)
		return;
	l->tell_broken = 1;
	l->refused = refused;
	(void)snprintf(l->text, sizeof(l->text), "%s%s%s", text, last_words[0] != '\0' ? ": " : "", last_words);
	note(l);
}

static int on_event(coap_session_t *session, const coap_event_t event)
{
	struct coap_link *l = link_of(session);

	if (l == NULL)
		return 0;
	if (event == COAP_EVENT_DTLS_CONNECTED && !l->is_ready) {
		l->is_ready = l->tell_ready = 1;
		note(l);
	} else if (event == COAP_EVENT_DTLS_ERROR || event == COAP_EVENT_DTLS_CLOSED) {
		int unreachable = strstr(last_words, "ICMP") != NULL;

		note_broken(l, !l->is_ready && !unreachable,
			    unreachable ? UNREACHABLE
			    : l->is_ready
				    ? "the DTLS session was closed by the platform"
				    : "the DTLS handshake was refused; check the device secret (dtls = psk) or the certificates (dtls = certificate)");
	}
	return 0;
}

static void on_nack(coap_session_t *session, const coap_pdu_t *sent, const coap_nack_reason_t reason,
		    const coap_mid_t mid)
{
	static const char *const texts[] = {
		[COAP_NACK_TOO_MANY_RETRIES] = "no acknowledgement, however often it was sent",
		[COAP_NACK_NOT_DELIVERABLE] = "a message could not be delivered",
		[COAP_NACK_RST] = "the platform reset the request",
		[COAP_NACK_TLS_FAILED] = "DTLS failed",
		[COAP_NACK_ICMP_ISSUE] = UNREACHABLE,
	};
	struct coap_link *l = link_of(session);

	note_broken(l, 0, (size_t)reason < sizeof(texts) / sizeof(texts[0]) ? texts[reason] : "a message was given up");
}

/* Text as it is; anything else as the number that its bytes are. */
static void read_id(const coap_pdu_t *pdu, char out[WIRE_ID_BYTES])
{
	coap_opt_iterator_t it;
	const coap_opt_t *o = coap_check_option(pdu, OPTION_ID, &it);
	const uint8_t *bytes = o == NULL ? NULL : coap_opt_value(o);
	size_t len = o == NULL ? 0 : coap_opt_length(o), i;

	out[0] = '\0';
	for (i = 0; i < len && bytes[i] > 0x20 && bytes[i] < 0x7f; i++)
		;
	if (len > 0 && i == len)
		(void)snprintf(out, WIRE_ID_BYTES, "%.*s", (int)len, (const char *)bytes);
	else if (len > 0 && len <= 8)
		(void)snprintf(out, WIRE_ID_BYTES, "%llu", (unsigned long long)coap_decode_var_bytes8(bytes, len));
}

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent, const coap_pdu_t *received,
				   const coap_mid_t mid)
{
	struct coap_link *l = link_of(session);
	coap_bin_const_t token = coap_pdu_get_token(received);
	unsigned code = coap_pdu_get_code(received);
	struct coap_response r = { .code = (int)(code >> 5) * 100 + (int)(code & 31) };
	const uint8_t *data = NULL;
	size_t len = 0;

	if (l == NULL || l->tell_broken || token.length != 4)
		return COAP_RESPONSE_OK; /* of a link that has ended, or to somebody else */
	read_id(received, r.id);
	if (coap_get_data(received, &len, &data))
		r.payload = cw_bytes_of(data, len);
	l->shard->wire->ops->answer(
		l->owner,
		(uint32_t)token.s[0] << 24 | (uint32_t)token.s[1] << 16 | (uint32_t)token.s[2] << 8 | token.s[3], &r);
	return COAP_RESPONSE_OK;
}

static int is_name_right(const struct coap_link *l, const uint8_t *der, size_t len)
{
	X509 *x = d2i_X509(NULL, &der, (long)len);
	int ok = x != NULL && (X509_check_host(x, l->host, 0, 0, NULL) == 1 || X509_check_ip_asc(x, l->host, 0) == 1);

	X509_free(x);
	return ok;
}

static int on_certificate(const char *cn, const uint8_t *der, size_t len, coap_session_t *session, unsigned depth,
			  int validated, void *arg)
{
	const struct coap_link *l = link_of(session);

	if (!validated)
		return 0;
	if (depth > 0 || (l != NULL && is_name_right(l, der, len)))
		return 1;
	(void)snprintf(last_words, sizeof(last_words), "the certificate is for '%.60s', not for this host", cn);
	return 0;
}

/* ---- the loop ---- */

static void mark(struct shard *s)
{
	s->dirty = 1;
}

static void run(struct shard *s)
{
	last_words[0] = '\0';
	(void)coap_io_process(s->context, COAP_IO_NO_WAIT);
	mark(s);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	run(cw_container_of(poll, struct shard, poll));
}

static void on_timer(struct cw_timer *t)
{
	run(cw_container_of(t, struct shard, timer));
}

static void arm(struct shard *s)
{
	coap_tick_t now;
	unsigned wait_ms;

	s->dirty = 0;
	last_words[0] = '\0';
	coap_ticks(&now);
	wait_ms = coap_io_prepare_epoll(s->context, now);
	if (wait_ms != 0)
		cw_timer_set(cw_worker_timers(s->wire->w), &s->timer, wait_ms, on_timer);
	else
		cw_timer_stop(cw_worker_timers(s->wire->w), &s->timer);
}

static void release(struct coap_link *l)
{
	cw_list_remove(&l->end);
	cw_list_remove(&l->news);
	coap_session_set_app_data(l->session, NULL);
	/* Forgets what is not acknowledged, which would keep the session. */
	coap_session_disconnected(l->session, COAP_NACK_NOT_DELIVERABLE);
	coap_session_release(l->session);
	l->shard->sessions--;
	mark(l->shard);
	cw_free(l);
}

static void tell(struct coap_link *l)
{
	const struct coap_wire_ops *ops = l->shard->wire->ops;
	void *owner = l->owner;

	if (l->tell_broken) {
		ops->broken(owner, l->refused, l->text); /* before it is closed there */
	} else if (l->tell_ready) {
		l->tell_ready = 0;
		ops->ready(owner);
	}
}

/* One round of what has gathered; 0 when there was nothing. */
static int settle(struct coap_wire *wire)
{
	struct cw_list *e;
	int did = 0;

	while ((e = cw_list_pop(&wire->news)) != NULL) {
		tell(cw_container_of(e, struct coap_link, news));
		did = 1;
	}
	while ((e = cw_list_first(&wire->end)) != NULL) {
		release(cw_container_of(e, struct coap_link, end));
		did = 1;
	}
	cw_list_each (e, &wire->shards) {
		struct shard *s = cw_container_of(e, struct shard, link);

		if (s->dirty) {
			arm(s);
			did = 1;
		}
	}
	return did;
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct coap_wire *wire = cw_container_of(prepare, struct coap_wire, prepare);

	while (settle(wire))
		;
}

/* ---- life ---- */

static int is_readable(const char *path, const char *what, struct cw_msg *msg)
{
	if (path == NULL || access(path, R_OK) == 0)
		return 0;
	return cw_fail(msg, CW_ECONF, "tls.%s: '%s' cannot be read: %s", what, path, strerror(errno));
}

int cw_coap_wire_new(const struct coap_wire_conf *conf, const struct coap_wire_ops *ops, struct coap_wire **ret_wire,
		     struct cw_msg *msg)
{
	struct coap_wire *wire;
	int rc = 0;

	if (conf->dtls == COAP_DTLS_CERTIFICATE) {
		if (conf->verify && conf->ca == NULL)
			rc = cw_fail(msg, CW_ECONF,
				     "dtls = certificate needs tls.ca, the platform's root certificate; it can be "
				     "downloaded there");
		if (rc == 0)
			rc = is_readable(conf->ca, "ca", msg);
		if (rc == 0)
			rc = is_readable(conf->certificate, "certificate", msg);
		if (rc == 0)
			rc = is_readable(conf->key, "key", msg);
	}
	if (rc < 0)
		return rc;
	wire = cw_zalloc(sizeof(*wire));
	if (wire == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	wire->conf = *conf;
	wire->ops = ops;
	cw_list_init(&wire->shards);
	cw_list_init(&wire->news);
	cw_list_init(&wire->end);
	pthread_mutex_lock(&making);
	coap_startup();
	coap_set_log_handler(on_library_log);
	coap_set_log_level(LOG_WARNING);
	coap_dtls_set_log_level(LOG_WARNING);
	pthread_mutex_unlock(&making);
	*ret_wire = wire;
	return 0;
}

static void free_shards(struct coap_wire *wire)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&wire->shards)) != NULL)
		cw_free(cw_container_of(e, struct shard, link));
}

void cw_coap_wire_free(struct coap_wire *wire)
{
	if (wire == NULL)
		return;
	free_shards(wire);
	cw_free(wire);
}

static void on_gone(struct cw_closing *closing)
{
	struct coap_wire *wire = cw_container_of(closing, struct coap_wire, closing);

	wire->closed(wire->closed_arg);
}

int cw_coap_wire_start(struct coap_wire *wire, struct cw_worker *w)
{
	int rc = uv_prepare_init(cw_worker_loop(w), &wire->prepare);

	if (rc < 0)
		return cw_err_from_uv(rc);
	wire->w = w;
	wire->started = 1;
	cw_closing_init(&wire->closing, on_gone);
	cw_closing_add(&wire->closing, (uv_handle_t *)&wire->prepare);
	return cw_err_from_uv(uv_prepare_start(&wire->prepare, on_prepare));
}

void cw_coap_wire_close(struct coap_wire *wire, void (*closed)(void *arg), void *arg)
{
	struct cw_list *e;

	wire->closed = closed;
	wire->closed_arg = arg;
	if (!wire->started) {
		closed(arg);
		return;
	}
	while ((e = cw_list_first(&wire->end)) != NULL)
		release(cw_container_of(e, struct coap_link, end));
	cw_list_each (e, &wire->shards) {
		struct shard *s = cw_container_of(e, struct shard, link);

		cw_timer_stop(cw_worker_timers(wire->w), &s->timer);
		cw_closing_close((uv_handle_t *)&s->poll);
		coap_free_context(s->context);
		s->context = NULL;
	}
	cw_closing_close((uv_handle_t *)&wire->prepare);
}

static coap_context_t *new_context(struct coap_wire *wire)
{
	static const uint16_t options[] = { OPTION_TOKEN_OLD, OPTION_TOKEN, OPTION_SEQ, OPTION_ID };
	coap_context_t *context;
	size_t i;

	pthread_mutex_lock(&making);
	context = coap_new_context(NULL);
	pthread_mutex_unlock(&making);
	if (context == NULL)
		return NULL;
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		coap_register_option(context, options[i]);
	/* libcoap reads the authority of a session's own settings for servers only. */
	if (wire->conf.dtls == COAP_DTLS_CERTIFICATE && wire->conf.ca != NULL &&
	    !coap_context_set_pki_root_cas(context, wire->conf.ca, NULL)) {
		coap_free_context(context);
		return NULL;
	}
	coap_register_response_handler(context, on_response);
	coap_register_nack_handler(context, on_nack);
	coap_register_event_handler(context, on_event);
	return context;
}

/* With room for one more. NULL: out of memory or descriptors. */
static struct shard *find_shard(struct coap_wire *wire)
{
	struct shard *s;
	struct cw_list *e;

	cw_list_each (e, &wire->shards) {
		s = cw_container_of(e, struct shard, link);
		if (s->sessions < WIRE_SHARD)
			return s;
	}
	s = cw_zalloc(sizeof(*s));
	if (s == NULL)
		return NULL;
	s->wire = wire;
	s->context = new_context(wire);
	if (s->context == NULL ||
	    uv_poll_init(cw_worker_loop(wire->w), &s->poll, coap_context_get_coap_fd(s->context)) < 0) {
		if (s->context != NULL)
			coap_free_context(s->context);
		cw_free(s);
		return NULL;
	}
	cw_closing_add(&wire->closing, (uv_handle_t *)&s->poll);
	(void)uv_poll_start(&s->poll, UV_READABLE, on_readable);
	cw_list_push_back(&wire->shards, &s->link);
	return s;
}

/* ---- links ---- */

static char *lent(const char *text)
{
	return (char *)(uintptr_t)text;
}

static coap_session_t *open_psk(coap_context_t *context, const coap_address_t *to, const struct coap_psk *psk)
{
	coap_dtls_cpsk_t setup = { .version = COAP_DTLS_CPSK_SETUP_VERSION };

	setup.psk_info.identity = (coap_bin_const_t){ strlen(psk->identity), (const uint8_t *)psk->identity };
	setup.psk_info.key = (coap_bin_const_t){ strlen(psk->key), (const uint8_t *)psk->key };
	return coap_new_client_session_psk2(context, NULL, to, COAP_PROTO_DTLS, &setup);
}

static coap_session_t *open_pki(const struct coap_wire *wire, coap_context_t *context, const coap_address_t *to,
				const char *host)
{
	const struct coap_wire_conf *c = &wire->conf;
	struct in6_addr literal;
	int is_address = inet_pton(AF_INET, host, &literal) == 1 || inet_pton(AF_INET6, host, &literal) == 1;
	coap_dtls_pki_t setup = { .version = COAP_DTLS_PKI_SETUP_VERSION,
				  .verify_peer_cert = c->verify != 0,
				  .cert_chain_validation = 1,
				  .cert_chain_verify_depth = 4,
				  .allow_self_signed = !c->verify,
				  .allow_expired_certs = !c->verify,
				  .validate_cn_call_back = c->verify ? on_certificate : NULL,
				  .client_sni = is_address ? NULL : lent(host) };

	setup.pki_key.key_type = COAP_PKI_KEY_PEM;
	setup.pki_key.key.pem.public_cert = c->certificate;
	setup.pki_key.key.pem.private_key = c->key;
	return coap_new_client_session_pki(context, NULL, to, COAP_PROTO_DTLS, &setup);
}

static void set_pace(const struct coap_wire *wire, coap_session_t *session)
{
	unsigned ms = wire->conf.retransmit_ms;
	coap_fixed_point_t t = { .integer_part = (uint16_t)(ms / 1000), .fractional_part = (uint16_t)(ms % 1000) };

	coap_session_set_ack_timeout(session, t);
	coap_session_set_max_retransmit(session, RETRANSMITS);
	coap_session_set_mtu(session, wire->conf.payload_most + OVERHEAD);
}

int cw_coap_link_open(struct coap_wire *wire, void *owner, const struct sockaddr *to, socklen_t len, const char *host,
		      const struct coap_psk *psk, struct coap_link **ret_link)
{
	struct shard *s = find_shard(wire);
	struct coap_link *l = s == NULL ? NULL : cw_zalloc(sizeof(*l));
	coap_address_t at;

	if (l == NULL)
		return CW_ENOMEM;
	coap_address_init(&at);
	at.size = len;
	memcpy(&at.addr, to, len);
	last_words[0] = '\0';
	if (wire->conf.dtls == COAP_DTLS_PSK)
		l->session = open_psk(s->context, &at, psk);
	else if (wire->conf.dtls == COAP_DTLS_CERTIFICATE)
		l->session = open_pki(wire, s->context, &at, host);
	else
		l->session = coap_new_client_session(s->context, NULL, &at, COAP_PROTO_UDP);
	if (l->session == NULL) {
		cw_free(l);
		return CW_EUNREACH;
	}
	cw_list_init(&l->news);
	cw_list_init(&l->end);
	l->shard = s;
	l->owner = owner;
	l->host = host;
	s->sessions++;
	mark(s);
	coap_session_set_app_data(l->session, l);
	set_pace(wire, l->session);
	if (wire->conf.dtls == COAP_DTLS_OFF) {
		l->is_ready = l->tell_ready = 1;
		note(l);
	}
	*ret_link = l;
	return 0;
}

int cw_coap_link_is_key_ignored(const struct coap_link *l)
{
	coap_tls_library_t library = COAP_TLS_LIBRARY_NOTLS;
	const SSL *ssl = l == NULL || l->is_ready ? NULL : coap_session_get_tls(l->session, &library);

	return ssl != NULL && library == COAP_TLS_LIBRARY_OPENSSL && SSL_get_state(ssl) == TLS_ST_CW_FINISHED;
}

void cw_coap_link_close(struct coap_link *l)
{
	if (l == NULL)
		return;
	coap_session_set_app_data(l->session, NULL);
	cw_list_remove(&l->news);
	cw_list_push_back(&l->shard->wire->end, &l->end);
}

/* ---- requests ---- */

static int add_path(coap_pdu_t *pdu, const char *path)
{
	while (*path != '\0') {
		size_t n = strcspn(path, "/");

		if (n > 255 || (n > 0 && !coap_add_option(pdu, COAP_OPTION_URI_PATH, n, (const uint8_t *)path)))
			return 0;
		path += n;
		path += *path == '/';
	}
	return 1;
}

static int add_number(coap_pdu_t *pdu, coap_option_num_t option, int value)
{
	uint8_t buf[4];

	return value < 0 ||
	       coap_add_option(pdu, option, coap_encode_var_safe(buf, sizeof(buf), (unsigned)value), buf) != 0;
}

static int fill(coap_pdu_t *pdu, const struct coap_post *post)
{
	const uint8_t token[4] = { (uint8_t)(post->token >> 24), (uint8_t)(post->token >> 16),
				   (uint8_t)(post->token >> 8), (uint8_t)post->token };

	if (!coap_add_token(pdu, sizeof(token), token) || !add_path(pdu, post->path) ||
	    !add_number(pdu, COAP_OPTION_CONTENT_FORMAT, post->format) ||
	    !add_number(pdu, COAP_OPTION_ACCEPT, post->accept))
		return 0;
	if (post->pass != NULL && !coap_add_option(pdu, OPTION_TOKEN, strlen(post->pass), (const uint8_t *)post->pass))
		return 0;
	if (post->seq != NULL && !coap_add_option(pdu, OPTION_SEQ, COAP_BLOCK, post->seq))
		return 0;
	return post->payload.len == 0 || coap_add_data(pdu, post->payload.len, post->payload.ptr);
}

int cw_coap_link_send(struct coap_link *l, const struct coap_post *post)
{
	coap_pdu_t *pdu;

	if (l->tell_broken)
		return CW_ECLOSED;
	pdu = coap_new_pdu(COAP_MESSAGE_CON, COAP_REQUEST_CODE_POST, l->session);
	if (pdu == NULL)
		return CW_ENOMEM;
	if (!fill(pdu, post)) {
		coap_delete_pdu(pdu);
		return CW_ELIMIT;
	}
	last_words[0] = '\0';
	mark(l->shard);
	return coap_send(l->session, pdu) == COAP_INVALID_MID ? CW_ECLOSED : 0;
}
