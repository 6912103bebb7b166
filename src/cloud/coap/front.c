/*
 * front.c - see front.h.
 *
 * libcoap keeps everything behind one epoll descriptor, which the loop polls. One call reads one datagram and walks
 * all sessions, so the number of sessions is bounded and idle ones end. The answer of a request is made while
 * libcoap waits for it; one that is to come separately is sent when the call has returned.
 */
#include "cloud/coap/front.h"

#include <coap3/coap.h>
#include <dirent.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/digits.h"
#include "base/log.h"
#include "base/mem.h"
#include "cloud/coap/session.h"
#include "cloud/core/login/psk.h"
#include "cloud/core/save.h"
#include "cloud/wire/stream.h"
#include "loop/closing.h"

#define OPTION_TOKEN_OLD 61u /* where older SDKs put the token */
#define OPTION_TOKEN 2088u
#define OPTION_SEQ 2089u
#define OPTION_ID 2090u
#define PATH_MAX_BYTES 256u
#define RUN_MOST 64u /* datagrams in one pass of the loop */
#define RECEIVE_BYTES (1 << 20)

/* An answer that comes after its acknowledgement. */
struct separate {
	struct cw_list link;
	coap_session_t *session; /* referenced */
	uint64_t due_ms;         /* loop time */
	uint8_t token[8];
	size_t token_len;
	struct coap_answer answer;
};

struct coap_front {
	struct cloud_front_conf conf;
	struct coap_service *service;
	coap_context_t *context;
	int secure, fd; /* fd: of the socket; libcoap's, found by its address */
	char address[64];
	struct cw_closing closing;
	uv_poll_t poll;
	uv_timer_t timer;
	struct cw_list separates;
	struct coap_peers peers;
	coap_bin_const_t key; /* of the identity asked for last */
	char key_bytes[CLOUD_PSK_MAX];
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- one request ---- */

/* The bytes of the first option of this number, s NULL when there is none. */
static struct cloud_text option_of(const coap_pdu_t *pdu, coap_option_num_t number)
{
	coap_opt_iterator_t it;
	coap_opt_t *o = coap_check_option(pdu, number, &it);

	return o != NULL ? (struct cloud_text){ (const char *)coap_opt_value(o), coap_opt_length(o) }
			 : (struct cloud_text){ NULL, 0 };
}

static int number_of(const coap_pdu_t *pdu, coap_option_num_t number)
{
	coap_opt_iterator_t it;
	coap_opt_t *o = coap_check_option(pdu, number, &it);

	return o != NULL ? (int)coap_decode_var_bytes(coap_opt_value(o), coap_opt_length(o)) : -1;
}

/* Segments with a slash between; CW_EINVAL: too long, or a segment that is none. */
static int read_path(const coap_pdu_t *pdu, char *out, size_t size, size_t *ret_len)
{
	coap_opt_filter_t filter;
	coap_opt_iterator_t it;
	coap_opt_t *o;
	size_t n = 0;

	coap_option_filter_clear(&filter);
	coap_option_filter_set(&filter, COAP_OPTION_URI_PATH);
	coap_option_iterator_init(pdu, &it, &filter);
	while ((o = coap_option_next(&it)) != NULL) {
		size_t len = coap_opt_length(o);

		if (len + 1 > size - n || memchr(coap_opt_value(o), '/', len) != NULL ||
		    memchr(coap_opt_value(o), 0, len) != NULL)
			return CW_EINVAL;
		if (n != 0)
			out[n++] = '/';
		if (len != 0)
			memcpy(out + n, coap_opt_value(o), len);
		n += len;
	}
	while (n > 0 && out[n - 1] == '/')
		n--;
	*ret_len = n;
	return 0;
}

/* token=TEXT and seq=HEX, where no option says otherwise. A seq that is not hex becomes an empty one. */
static void read_query(const coap_pdu_t *pdu, struct coap_request *r, char seq[COAP_BLOCK])
{
	coap_opt_filter_t filter;
	coap_opt_iterator_t it;
	coap_opt_t *o;

	coap_option_filter_clear(&filter);
	coap_option_filter_set(&filter, COAP_OPTION_URI_QUERY);
	coap_option_iterator_init(pdu, &it, &filter);
	while ((o = coap_option_next(&it)) != NULL) {
		const char *text = (const char *)coap_opt_value(o);
		size_t len = coap_opt_length(o), i;

		if (r->token.s == NULL && len > 6 && memcmp(text, "token=", 6) == 0) {
			r->token = (struct cloud_text){ text + 6, len - 6 };
		} else if (r->seq.s == NULL && len >= 4 && memcmp(text, "seq=", 4) == 0) {
			r->seq = (struct cloud_text){ seq, 0 };
			for (i = 0; len == 4 + 2 * COAP_BLOCK && i < COAP_BLOCK; i++) {
				int high = cw_hex_value(text[4 + 2 * i]), low = cw_hex_value(text[5 + 2 * i]);

				if (high < 0 || low < 0)
					break;
				seq[i] = (char)(high << 4 | low);
				r->seq.len = i + 1;
			}
		}
	}
}

static void fill_pdu(coap_pdu_t *pdu, const struct coap_answer *a)
{
	uint8_t format[4];

	coap_pdu_set_code(pdu, (coap_pdu_code_t)((a->code / 100) << 5 | a->code % 100));
	if (a->format >= 0)
		(void)coap_add_option(pdu, COAP_OPTION_CONTENT_FORMAT,
				      coap_encode_var_safe(format, sizeof(format), (unsigned)a->format), format);
	if (a->id[0] != '\0')
		(void)coap_add_option(pdu, OPTION_ID, strlen(a->id), (const uint8_t *)a->id);
	if (a->len != 0)
		(void)coap_add_data(pdu, a->len, a->payload);
}

static void send_later(struct coap_front *f, coap_session_t *session, coap_bin_const_t token,
		       const struct coap_answer *a)
{
	struct separate *s = token.length <= 8 ? cw_zalloc(sizeof(*s)) : NULL;

	if (s == NULL)
		return; /* as if it was lost: the client repeats its request */
	s->session = coap_session_reference(session);
	s->token_len = token.length;
	if (token.length != 0)
		memcpy(s->token, token.s, token.length);
	s->answer = *a;
	s->due_ms = cw_worker_now(f->conf.cloud->worker) + a->delay_ms;
	cw_list_push_back(&f->separates, &s->link);
}

static void separate_free(struct separate *s)
{
	cw_list_remove(&s->link);
	coap_session_release(s->session);
	cw_free(s);
}

/* Those that are due. Returns in how many milliseconds the next one is, 0: there is none. */
static uint64_t send_separates(struct coap_front *f)
{
	uint64_t now = cw_worker_now(f->conf.cloud->worker), next = 0;
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &f->separates) {
		struct separate *s = cw_container_of(e, struct separate, link);
		coap_pdu_t *pdu;

		if (s->due_ms > now) {
			next = next == 0 || s->due_ms - now < next ? s->due_ms - now : next;
			continue;
		}
		pdu = coap_new_pdu(COAP_MESSAGE_CON, COAP_RESPONSE_CODE_CONTENT, s->session);

		if (pdu != NULL) {
			(void)coap_add_token(pdu, s->token_len, s->token);
			fill_pdu(pdu, &s->answer);
			(void)coap_send(s->session, pdu);
		}
		separate_free(s);
	}
	return next;
}

/* Nothing at all is sent for an answer that is neither confirmed nor a response. */
static void keep_silent(coap_pdu_t *response)
{
	coap_pdu_set_type(response, COAP_MESSAGE_NON);
	coap_pdu_set_code(response, COAP_EMPTY_CODE);
}

static void give(struct coap_front *f, coap_session_t *session, coap_bin_const_t token, const struct coap_answer *a,
		 coap_pdu_t *response)
{
	if (a->silent) {
		keep_silent(response);
	} else if (a->separate) {
		coap_pdu_set_code(response, COAP_EMPTY_CODE);
		send_later(f, session, token, a);
	} else {
		fill_pdu(response, a);
	}
}

/* Of all that tells one message from another. */
static uint64_t hash_of(const coap_pdu_t *request, const struct coap_request *r)
{
	coap_bin_const_t token = coap_pdu_get_token(request);
	uint64_t part[6] = { (uint64_t)coap_pdu_get_mid(request), cw_hash(token.s, token.length),
			     cw_hash(r->payload, r->len),         cw_hash(r->path.s, r->path.len),
			     cw_hash(r->token.s, r->token.len),   cw_hash(r->seq.s, r->seq.len) };

	return cw_hash(part, sizeof(part));
}

/* A body in blocks would have to be put together first, which the platform does not do. */
static int is_block(const coap_pdu_t *request)
{
	int block = number_of(request, COAP_OPTION_BLOCK1);

	return block >= 0 && (block >> 3) != 0; /* more to come, or not the first */
}

static void answer_request(struct coap_front *f, coap_session_t *session, const coap_pdu_t *request,
			   coap_bin_const_t token, struct coap_answer *a, coap_pdu_t *response)
{
	char path[PATH_MAX_BYTES], peer[160], seq[COAP_BLOCK];
	struct coap_request r = { .post = coap_pdu_get_code(request) == COAP_REQUEST_CODE_POST,
				  .secure = f->secure,
				  .confirmable = coap_pdu_get_type(request) == COAP_MESSAGE_CON,
				  .format = number_of(request, COAP_OPTION_CONTENT_FORMAT),
				  .accept = number_of(request, COAP_OPTION_ACCEPT),
				  .peer = peer };
	uint64_t now = cw_worker_now(f->conf.cloud->worker);
	struct coap_peer *p;
	const struct coap_answer *before;
	const uint8_t *payload = NULL;
	uint64_t hash;

	if (read_path(request, path, sizeof(path), &r.path.len) < 0 || is_block(request)) {
		a->code = is_block(request) ? 402 : 404;
		give(f, session, token, a, response);
		return;
	}
	r.path.s = path;
	(void)snprintf(peer, sizeof(peer), "%s", coap_session_str(session));
	r.token = option_of(request, OPTION_TOKEN);
	if (r.token.s == NULL)
		r.token = option_of(request, OPTION_TOKEN_OLD);
	r.seq = option_of(request, OPTION_SEQ);
	read_query(request, &r, seq);
	(void)coap_get_data(request, &r.len, &payload);
	r.payload = payload;
	hash = hash_of(request, &r);
	p = cw_cloud_coap_peer(&f->peers, peer);
	before = p != NULL ? cw_cloud_coap_recall(p, hash, now) : NULL;
	if (before != NULL) {
		*a = *before;
		a->silent = cw_cloud_coap_withheld(f->service, &r);
	} else {
		cw_cloud_coap_handle(f->service, &r, a);
		cw_cloud_commit(f->conf.cloud); /* the answer leaves at once */
		/* A stalled request was not looked at: its repetition will be. */
		if (p != NULL && a->code != 0)
			cw_cloud_coap_remember(p, hash, a, now);
	}
	give(f, session, token, a, response);
}

static void on_request(coap_resource_t *resource, coap_session_t *session, const coap_pdu_t *request,
		       const coap_string_t *query, coap_pdu_t *response)
{
	struct coap_front *f = coap_get_app_data(coap_session_get_context(session));
	struct coap_answer a = { .format = COAP_FORMAT_NONE };

	answer_request(f, session, request, coap_pdu_get_token(request), &a, response);
}

/* ---- sessions ---- */

static const coap_bin_const_t *on_identity(coap_bin_const_t *identity, coap_session_t *session, void *arg)
{
	struct coap_front *f = arg;
	unsigned n = cw_cloud_psk_key(f->conf.cloud, (const char *)identity->s, identity->length, f->key_bytes,
				      sizeof(f->key_bytes));

	if (n == 0) {
		f->conf.cloud->stats.connects_refused++;
		cw_log(cloud_refused, "DTLS: the identity is malformed or unknown",
		       CW_LS("peer", coap_session_str(session)),
		       CW_LB("user", (const char *)identity->s, identity->length < 128 ? identity->length : 128));
		return NULL;
	}
	f->key = (coap_bin_const_t){ .length = n, .s = (const uint8_t *)f->key_bytes };
	return &f->key;
}

/*
 * A client that restarts from the same port begins a new handshake, and libcoap would hand it to the session it
 * has of that address, where it is lost. So the next datagram is looked at: an unencrypted ClientHello for a session
 * that is up ends that session. Anybody who can forge an address can do that; on the real thing a cookie would come
 * first.
 */
static void make_way(struct coap_front *f)
{
	uint8_t head[14];
	coap_address_t from;
	coap_session_t *old;
	ssize_t n;

	coap_address_init(&from);
	from.size = sizeof(from.addr);
	n = recvfrom(f->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC, &from.addr.sa, &from.size);
	/* handshake, epoch 0, ClientHello */
	if (n < (ssize_t)sizeof(head) || head[0] != 22 || head[3] != 0 || head[4] != 0 || head[13] != 1)
		return;
	old = coap_session_get_by_peer(f->context, &from, 0);
	if (old == NULL || coap_session_get_state(old) != COAP_SESSION_STATE_ESTABLISHED)
		return;
	/* As a client's session it is freed with the last reference. */
	if (coap_session_set_type_client(old))
		coap_session_release(old);
}

/* ---- libcoap on the loop ---- */

static void run(struct coap_front *f);

static void on_timer(uv_timer_t *timer)
{
	run(cw_container_of(timer, struct coap_front, timer));
}

static int is_more(const struct coap_front *f)
{
	uint8_t byte;

	return recv(f->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC) >= 0;
}

static void run(struct coap_front *f)
{
	uint64_t later_ms = 0;
	unsigned n = 0, wait_ms;
	coap_tick_t now;

	do {
		if (f->secure)
			make_way(f);
		(void)coap_io_process(f->context, COAP_IO_NO_WAIT);
		later_ms = send_separates(f);
	} while (++n < RUN_MOST && is_more(f));
	coap_ticks(&now);
	wait_ms = coap_io_prepare_epoll(f->context, now);
	if (later_ms != 0 && (wait_ms == 0 || later_ms < wait_ms))
		wait_ms = (unsigned)later_ms;
	if (wait_ms != 0)
		(void)uv_timer_start(&f->timer, on_timer, wait_ms, 0);
	else
		(void)uv_timer_stop(&f->timer);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	run(cw_container_of(poll, struct coap_front, poll));
}

/* ---- open and close ---- */

static int add_resource(coap_context_t *context, coap_resource_t *r)
{
	static const coap_request_t methods[] = { COAP_REQUEST_GET,    COAP_REQUEST_POST,  COAP_REQUEST_PUT,
						  COAP_REQUEST_DELETE, COAP_REQUEST_FETCH, COAP_REQUEST_PATCH,
						  COAP_REQUEST_IPATCH };
	size_t i;

	if (r == NULL)
		return CW_ENOMEM;
	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		coap_register_request_handler(r, methods[i], on_request);
	coap_add_resource(context, r);
	return 0;
}

/* libcoap tells its sockets to nobody, but the address of ours is its own. */
static int find_socket(const struct sockaddr_storage *bound, socklen_t bound_len)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	int found = -1;

	while (dir != NULL && found < 0 && (e = readdir(dir)) != NULL) {
		struct sockaddr_storage mine;
		socklen_t len = sizeof(mine), type_len = sizeof(int);
		int fd = atoi(e->d_name), type = 0;

		if (e->d_name[0] != '.' && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 &&
		    type == SOCK_DGRAM && getsockname(fd, (struct sockaddr *)&mine, &len) == 0 && len == bound_len &&
		    memcmp(&mine, bound, len) == 0)
			found = fd;
	}
	if (dir != NULL)
		(void)closedir(dir);
	return found;
}

static int listen_on(struct coap_front *f, struct cw_msg *msg)
{
	struct sockaddr_storage want = { 0 }, bound = { 0 };
	coap_address_t at;
	coap_endpoint_t *ep;
	int rc = cw_cloud_parse_address(f->conf.address, &want, msg), size = RECEIVE_BYTES;
	const char *space;

	if (rc < 0)
		return rc;
	coap_address_init(&at);
	at.size = want.ss_family == AF_INET6 ? sizeof(at.addr.sin6) : sizeof(at.addr.sin);
	memcpy(&at.addr, &want, at.size);
	ep = coap_new_endpoint(f->context, &at, f->secure ? COAP_PROTO_DTLS : COAP_PROTO_UDP);
	if (ep == NULL)
		return cw_fail(msg, CW_EIO,
			       "cannot listen on %s (UDP): the port is taken, or the address is not this machine's",
			       f->conf.address);
	space = strchr(coap_endpoint_str(ep), ' '); /* "host:port PROTOCOL" */
	(void)snprintf(f->address, sizeof(f->address), "%.*s", (int)(space - coap_endpoint_str(ep)),
		       coap_endpoint_str(ep));
	rc = cw_cloud_parse_address(f->address, &bound, msg);
	if (rc < 0)
		return rc;
	f->fd = find_socket(&bound, at.size);
	if (f->fd < 0)
		return cw_fail(msg, CW_EIO, "listening on %s: the socket was not found", f->address);
	(void)setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

/*
 * libcoap leaves out the one suite that the platform's SDKs offer, and gives no way to choose. OpenSSL calls this for
 * each context that is made, so that libcoap's (for DTLS and TLS) become known.
 */
static SSL_CTX *made[4];
static unsigned made_count;

static void on_tls_context(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	if (made_count < sizeof(made) / sizeof(made[0]))
		made[made_count++] = parent;
}

static int set_suites(struct cw_msg *msg)
{
	unsigned i;

	for (i = 0; i < made_count; i++) {
		if (SSL_CTX_set_cipher_list(made[i], "PSK-AES128-CBC-SHA:PSK-AES128-GCM-SHA256:PSK-AES128-CCM8") != 1)
			return cw_fail(msg, CW_EIO, "the cipher suites of DTLS cannot be chosen");
	}
	made_count = 0;
	return 0;
}

static coap_context_t *new_context(int secure)
{
	static int watched = -1;

	if (secure && watched < 0)
		watched = SSL_CTX_get_ex_new_index(0, NULL, on_tls_context, NULL, NULL);
	made_count = 0;
	return coap_new_context(NULL);
}

static int set_up(struct coap_front *f, struct cw_msg *msg)
{
	static const uint16_t options[] = { OPTION_TOKEN_OLD, OPTION_TOKEN, OPTION_SEQ, OPTION_ID };
	const struct cloud_limits *limits = &f->conf.cloud->conf.limits;
	coap_dtls_spsk_t psk = { .version = COAP_DTLS_SPSK_SETUP_VERSION,
				 .validate_id_call_back = on_identity,
				 .id_call_back_arg = f };
	uint64_t idle_s = limits->coap_idle_ms / 1000;
	size_t i;
	coap_str_const_t *core;

	coap_startup();
	coap_set_log_level(LOG_CRIT);
	coap_dtls_set_log_level(LOG_CRIT);
	f->context = new_context(f->secure);
	if (f->context == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	coap_set_app_data(f->context, f);
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		coap_register_option(f->context, options[i]);
	coap_context_set_max_idle_sessions(f->context, limits->coap_sessions);
	coap_context_set_max_handshake_sessions(f->context, limits->coap_sessions);
	coap_context_set_session_timeout(f->context, idle_s != 0 ? (unsigned)idle_s : 1);
	if (f->secure && !coap_context_set_psk2(f->context, &psk))
		return cw_fail(msg, CW_EIO, "DTLS with pre-shared keys cannot be set up");
	if (f->secure && set_suites(msg) < 0)
		return CW_EIO;
	core = coap_make_str_const(COAP_DEFAULT_URI_WELLKNOWN); /* which libcoap would answer by itself */
	if (add_resource(f->context, coap_resource_unknown_init2(on_request, 0)) < 0 ||
	    add_resource(f->context, coap_resource_init(core, 0)) < 0)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	return listen_on(f, msg);
}

static void release(struct coap_front *f)
{
	struct cw_list *e;

	while (f->separates.next != NULL && (e = cw_list_first(&f->separates)) != NULL)
		separate_free(cw_container_of(e, struct separate, link));
	if (f->context != NULL)
		coap_free_context(f->context);
	cw_cloud_coap_peers_fini(&f->peers);
	cw_cloud_coap_service_put(f->service);
	cw_free(f);
}

static void on_gone(struct cw_closing *closing)
{
	struct coap_front *f = cw_container_of(closing, struct coap_front, closing);
	void (*closed)(void *arg) = f->closed;
	void *arg = f->closed_arg;

	release(f);
	closed(arg);
}

static int open_front(const struct cloud_front_conf *conf, int secure, void **ret_front, struct cw_msg *msg)
{
	uv_loop_t *loop = cw_worker_loop(conf->cloud->worker);
	struct coap_front *f = cw_zalloc(sizeof(*f));
	int rc;

	if (f == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	f->conf = *conf;
	f->secure = secure;
	cw_list_init(&f->separates);
	cw_cloud_coap_peers_init(&f->peers, conf->cloud->conf.limits.coap_sessions);
	cw_closing_init(&f->closing, on_gone);
	f->service = cw_cloud_coap_service_get(conf->cloud);
	rc = f->service == NULL ? cw_fail(msg, CW_ENOMEM, "out of memory") : set_up(f, msg);
	if (rc == 0 && uv_poll_init(loop, &f->poll, coap_context_get_coap_fd(f->context)) < 0)
		rc = cw_fail(msg, CW_EIO, "the descriptor of libcoap cannot be polled: it was built without epoll");
	if (rc < 0) {
		release(f);
		return rc;
	}
	cw_closing_add(&f->closing, (uv_handle_t *)&f->poll);
	(void)uv_timer_init(loop, &f->timer);
	cw_closing_add(&f->closing, (uv_handle_t *)&f->timer);
	(void)uv_poll_start(&f->poll, UV_READABLE, on_readable);
	*ret_front = f;
	return 0;
}

static int open_plain(const struct cloud_front_conf *conf, void **ret_front, struct cw_msg *msg)
{
	return open_front(conf, 0, ret_front, msg);
}

static int open_secure(const struct cloud_front_conf *conf, void **ret_front, struct cw_msg *msg)
{
	return open_front(conf, 1, ret_front, msg);
}

static const char *front_address(const void *front)
{
	return ((const struct coap_front *)front)->address;
}

static void front_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct coap_front *f = front;

	f->closed = closed;
	f->closed_arg = arg;
	cw_closing_close((uv_handle_t *)&f->poll);
	cw_closing_close((uv_handle_t *)&f->timer);
}

const struct cloud_front cw_cloud_coap_front = { open_plain, front_address, front_close };
const struct cloud_front cw_cloud_coaps_front = { open_secure, front_address, front_close };
