/*
 * http.c - see http.h.
 *
 * libmicrohttpd is driven by its epoll descriptor: uv_poll says when it has something to do, and
 * after each MHD_run() the timer is set to what it asks for. A request whose answer is not there yet
 * is suspended; resuming makes the library call on_request() again, which queues the answer. A
 * suspended connection cannot be stopped, so close() resumes all of them first.
 */
#include "http/http.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "http/form.h"
#include "http/framing.h"
#include "loop/closing.h"

#define STREAM_MAX (4u << 20) /* bytes waiting for one stream's client */
#define HELD_MORE  (64u << 20) /* all clients' bodies and streams together: so much, beside one body of the largest size */
#define HEAD_MAX     (32u << 10)
#define IDLE_SECONDS 120u     /* a silent connection is closed */
#define EAGER_RUNS   256u     /* in a row without news, then the library has to wait a little for the next */
#define PATIENT_MS   20u      /* at most so long */
#define CONNECTIONS_MAX 4096u /* further clients wait in the backlog */

/* GnuTLS's terms. RSA key exchange and CBC are in NORMAL: old device SDKs offer little else. */
#define TLS_VERSIONS "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct cw_http {
	struct cw_worker *worker;
	struct cw_http_conf conf;
	struct MHD_Daemon *daemon;
	struct cw_closing closing;
	uv_poll_t poll;
	uv_timer_t timer;
	uv_idle_t kick; /* runs MHD_run() soon after an answer given outside of it */
	struct cw_list requests;
	unsigned idle_runs; /* MHD_run() in a row that wanted another at once, since something last happened */
	size_t held; /* bytes of bodies and streams */
	int stopping, draining, asks_certificates;
	struct cw_timer drain;
	void (*drained)(void *arg); /* until it was told */
	void *drained_arg;
	void (*closed)(void *arg);
	void *closed_arg;
	char address[64];
	char unix_path[108]; /* empty: TCP */
};

enum req_state { REQ_HEAD, REQ_BODY, REQ_HANDED, REQ_ANSWERED, REQ_STREAM };

struct cw_http_req {
	struct cw_list link;
	struct cw_http *http;
	struct MHD_Connection *conn;
	struct MHD_Response *response; /* to be queued */
	unsigned status;
	enum req_state state;
	int suspended, too_large, ended;
	char *method, *path, *target;
	char *body;
	struct cw_form query, form; /* once asked for */
	int parsed;
	char peer[64];
	size_t len, room, most; /* of the body */
	char *out; /* a stream's bytes not yet taken */
	size_t out_len, out_room;
	void (*gone)(void *arg);
	void *gone_arg;
};

/* ---- driving the library ---- */

static void on_timer(uv_timer_t *timer);
static void on_kick(uv_idle_t *kick);

/*
 * The library wants to run at once. That may be because of bytes it has not looked at yet; it wants it too for as long as a TLS
 * handshake is half done, whose other half may never come. A timer of 0 ms would never let go of the loop (libuv runs
 * what is due until nothing is), so it is the next pass, and a few ms when nothing comes of it.
 */
static void run_again(struct cw_http *h)
{
	unsigned over;

	if (h->idle_runs++ < EAGER_RUNS) {
		(void)uv_idle_start(&h->kick, on_kick);
		return;
	}
	over = h->idle_runs - EAGER_RUNS;
	if (over > PATIENT_MS) {
		over = PATIENT_MS;
		h->idle_runs = EAGER_RUNS + PATIENT_MS;
	}
	(void)uv_timer_start(&h->timer, on_timer, over, 0);
}

static void run(struct cw_http *h)
{
	MHD_UNSIGNED_LONG_LONG ms = 1;

	(void)MHD_run(h->daemon);
	if (MHD_get_timeout(h->daemon, &ms) != MHD_YES)
		(void)uv_timer_stop(&h->timer);
	else if (ms != 0)
		(void)uv_timer_start(&h->timer, on_timer, ms, 0);
	else
		run_again(h);
	if (ms != 0)
		h->idle_runs = 0;
}

static void on_timer(uv_timer_t *timer)
{
	run(cw_container_of(timer, struct cw_http, timer));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct cw_http *h = cw_container_of(poll, struct cw_http, poll);

	h->idle_runs = 0;
	run(h);
}

static void on_kick(uv_idle_t *kick)
{
	struct cw_http *h = cw_container_of(kick, struct cw_http, kick);

	(void)uv_idle_stop(kick);
	run(h);
}

/*
 * A resumed connection is read from once more before it is asked for its answer, and a client that has closed its half behind the
 * request is then taken for one that left. Those with a time limit of their own (another than the server's, it need
 * not differ by much) the library asks before it reads from any; from the answer's end on it is one of the many again, which
 * cost nothing.
 */
static void ask_first(const struct cw_http_req *req, int first)
{
	(void)MHD_set_connection_option(req->conn, MHD_CONNECTION_OPTION_TIMEOUT, IDLE_SECONDS + (unsigned)first);
}

static void suspend(struct cw_http_req *req)
{
	if (!req->suspended) {
		req->suspended = 1;
		MHD_suspend_connection(req->conn);
	}
}

static void resume(struct cw_http_req *req)
{
	if (req->suspended) {
		req->suspended = 0;
		ask_first(req, 1);
		MHD_resume_connection(req->conn);
		if (!req->http->stopping)
			(void)uv_idle_start(&req->http->kick, on_kick);
	}
}

/* ---- requests ---- */

static void tell_drained(struct cw_timer *t)
{
	struct cw_http *h = cw_container_of(t, struct cw_http, drain);
	void (*drained)(void *arg) = h->drained;

	h->drained = NULL;
	drained(h->drained_arg);
}

/* Bodies bring tokens, and files with secrets. */
static void wipe_body(struct cw_http_req *req)
{
	if (req->body != NULL)
		explicit_bzero(req->body, req->len);
}

static void req_free(struct cw_http_req *req)
{
	cw_list_remove(&req->link);
	if (req->http->drained != NULL && cw_list_empty(&req->http->requests)) /* not from inside the library, which still holds the connection */
		cw_timer_set(cw_worker_timers(req->http->worker), &req->http->drain, 0, tell_drained);
	req->http->held -= req->room + req->out_room;
	if (req->response != NULL)
		MHD_destroy_response(req->response);
	cw_free(req->method);
	cw_free(req->path);
	cw_free(req->target);
	cw_form_fini(&req->query);
	cw_form_fini(&req->form);
	wipe_body(req);
	cw_free(req->body);
	cw_free(req->out);
	cw_free(req);
}

/* `ss` as text; "" for what has no port. */
static void name_of(const struct sockaddr *sa, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "";

	out[0] = '\0';
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)sa;

		(void)uv_ip6_name(v6, host, sizeof(host));
		(void)snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)sa;

		(void)uv_ip4_name(v4, host, sizeof(host));
		(void)snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
	}
}

/* The request line has come: the only time the library shows it as it was written. What is returned is on_request()'s
 * *state. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *conn)
{
	struct cw_http *h = cls;
	struct cw_http_req *req = cw_zalloc(sizeof(*req));
	const union MHD_ConnectionInfo *peer = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	if (req == NULL)
		return NULL;
	req->http = h;
	req->conn = conn;
	req->target = cw_strdup(target);
	cw_list_push_back(&h->requests, &req->link);
	if (req->target == NULL) {
		req_free(req);
		return NULL;
	}
	if (peer != NULL && peer->client_addr != NULL)
		name_of(peer->client_addr, req->peer, sizeof(req->peer));
	return req;
}

static enum MHD_Result take_head(struct cw_http_req *req, const char *method, const char *path)
{
	const struct cw_http_conf *conf = &req->http->conf;

	if (!http_has_one_length(req->conn))
		return MHD_NO;
	req->state = REQ_BODY;
	req->method = cw_strdup(method);
	req->path = cw_strdup(cw_form_path(path));
	if (req->method == NULL || req->path == NULL)
		return MHD_NO;
	req->most = conf->room != NULL ? conf->room(conf->arg, req) : conf->max_body;
	return MHD_YES;
}

/* `more` bytes for a request, noted. 0 or CW_ELIMIT. */
static int claim(struct cw_http *h, size_t more)
{
	size_t most = h->conf.max_body + HELD_MORE;

	if (h->held > most || more > most - h->held)
		return CW_ELIMIT;
	h->held += more;
	return 0;
}

/* What came of it goes at once: its client may take its time with the rest. */
static void refuse_body(struct cw_http_req *req)
{
	wipe_body(req);
	cw_free(req->body);
	req->http->held -= req->room;
	req->body = NULL;
	req->too_large = 1;
	req->len = req->room = 0;
}

static void take_body(struct cw_http_req *req, const char *data, size_t len)
{
	size_t room = req->room != 0 ? req->room : 1024;
	char *grown;

	if (req->too_large || len > req->most - req->len) {
		refuse_body(req);
		return;
	}
	while (room < req->len + len + 1)
		room *= 2;
	if (room != req->room) {
		if (claim(req->http, room - req->room) < 0) {
			refuse_body(req);
			return;
		}
		grown = cw_realloc(req->body, room);
		if (grown == NULL) {
			req->http->held -= room - req->room;
			refuse_body(req);
			return;
		}
		req->body = grown;
		req->room = room;
	}
	memcpy(req->body + req->len, data, len);
	req->len += len;
	req->body[req->len] = '\0';
}

static enum MHD_Result queue_answer(struct cw_http_req *req)
{
	enum MHD_Result rc = MHD_queue_response(req->conn, req->status, req->response);

	MHD_destroy_response(req->response);
	req->response = NULL;
	return rc;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
				  const char *version, const char *data, size_t *size, void **state)
{
	struct cw_http *h = cls;
	struct cw_http_req *req = *state;

	h->idle_runs = 0;
	if (req == NULL) /* no memory for it */
		return MHD_NO;
	if (req->state == REQ_HEAD)
		return take_head(req, method, url);
	if (*size != 0) {
		take_body(req, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (req->state == REQ_BODY) {
		req->state = REQ_HANDED;
		if (req->too_large && !h->conf.hand_large)
			cw_http_reply(req, 413, "text/plain", "body too large\n", 15);
		else
			h->conf.handle(h->conf.arg, req);
	}
	if (req->response != NULL)
		return queue_answer(req);
	if (h->stopping || req->state != REQ_HANDED)
		return MHD_NO; /* ended without an answer */
	suspend(req);
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why)
{
	struct cw_http_req *req = *state;

	if (req == NULL)
		return;
	*state = NULL;
	if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		ask_first(req, 0);
	if (req->gone != NULL)
		req->gone(req->gone_arg);
	req_free(req);
}

const char *cw_http_method(const struct cw_http_req *req)
{
	return req->method;
}

const char *cw_http_path(const struct cw_http_req *req)
{
	return req->path;
}

/* Whose certificate it is that the client has shown and proved to have; a text for the connection to keep, or NULL. */
static char *name_client(const struct cw_http_req *req)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	gnutls_session_t session = info != NULL ? (gnutls_session_t)info->tls_session : NULL;
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t leaf;
	unsigned status = 0, count = 0;
	char name[256];
	size_t size = sizeof(name);
	int rc;

	if (session == NULL || gnutls_certificate_verify_peers(session, &purpose, 1, &status) < 0 || status != 0)
		return NULL;
	chain = gnutls_certificate_get_peers(session, &count);
	if (chain == NULL || count == 0 || gnutls_x509_crt_init(&leaf) < 0)
		return NULL;
	rc = gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER);
	if (rc == 0)
		rc = gnutls_x509_crt_get_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size);
	gnutls_x509_crt_deinit(leaf);
	return rc == 0 && strlen(name) == size ? cw_strdup(name) : NULL; /* a NUL inside would show only its beginning */
}

/* What is kept with a connection of a server that asks for certificates. */
struct client {
	char *name;
	int looked; /* at its certificate: once, for it stays; it may not run out meanwhile by more than a connection lasts */
};

const char *cw_http_client(const struct cw_http_req *req)
{
	const union MHD_ConnectionInfo *kept = MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct client *c = kept != NULL ? kept->socket_context : NULL;

	if (c == NULL)
		return NULL;
	if (!c->looked)
		c->name = name_client(req);
	c->looked = 1;
	return c->name;
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **socket_context, enum MHD_ConnectionNotificationCode what)
{
	struct cw_http *h = cls;
	struct client *c = *socket_context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = h->asks_certificates ? cw_zalloc(sizeof(*c)) : NULL; /* without memory nobody has shown one */
		return;
	}
	if (c != NULL)
		cw_free(c->name);
	cw_free(c);
	*socket_context = NULL;
}

const char *cw_http_query(const struct cw_http_req *req, const char *name)
{
	return MHD_lookup_connection_value(req->conn, MHD_GET_ARGUMENT_KIND, name);
}

const char *cw_http_body(const struct cw_http_req *req, size_t *ret_len)
{
	*ret_len = req->len;
	return req->body != NULL ? req->body : "";
}

char *cw_http_take_body(struct cw_http_req *req, size_t *ret_len)
{
	char *body = req->body;

	*ret_len = req->len;
	req->http->held -= req->room;
	req->body = NULL;
	req->len = req->room = 0;
	return body;
}

void cw_http_on_gone(struct cw_http_req *req, void (*fn)(void *arg), void *arg)
{
	req->gone = fn;
	req->gone_arg = arg;
}

const char *cw_http_target(const struct cw_http_req *req)
{
	return req->target;
}

const char *cw_http_header(const struct cw_http_req *req, const char *name)
{
	return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

const char *cw_http_peer(const struct cw_http_req *req)
{
	return req->peer;
}

int cw_http_too_large(const struct cw_http_req *req)
{
	return req->too_large;
}

static int is_form(const struct cw_http_req *req)
{
	static const char form[] = "application/x-www-form-urlencoded";
	const char *type = cw_http_header(req, MHD_HTTP_HEADER_CONTENT_TYPE);

	return type != NULL && strncasecmp(type, form, sizeof(form) - 1) == 0 &&
	       strchr("; ", type[sizeof(form) - 1]) != NULL;
}

static void parse_params(struct cw_http_req *req)
{
	const char *query = strchr(req->target, '?');

	if (req->parsed)
		return;
	req->parsed = 1;
	if (query != NULL)
		(void)cw_form_parse(query + 1, strlen(query + 1), &req->query);
	if (req->len != 0 && is_form(req))
		(void)cw_form_parse(req->body, req->len, &req->form);
}

void cw_http_params(struct cw_http_req *req, void (*each)(void *arg, const char *name, const char *value), void *arg)
{
	size_t i;

	parse_params(req);
	for (i = 0; i < req->query.count; i++)
		each(arg, req->query.pairs[i].name, req->query.pairs[i].value);
	for (i = 0; i < req->form.count; i++)
		each(arg, req->form.pairs[i].name, req->form.pairs[i].value);
}

static const char *find_pair(const struct cw_form *form, const char *name)
{
	size_t i;

	for (i = 0; i < form->count; i++) {
		if (strcmp(form->pairs[i].name, name) == 0)
			return form->pairs[i].value;
	}
	return NULL;
}

const char *cw_http_param(struct cw_http_req *req, const char *name)
{
	const char *value;

	parse_params(req);
	value = find_pair(&req->query, name);
	return value != NULL ? value : find_pair(&req->form, name);
}

/* `response` NULL: there was no memory for it, the connection ends. */
static void answer_with(struct cw_http_req *req, unsigned status, const struct cw_http_field *fields, size_t count,
			struct MHD_Response *response)
{
	size_t i;

	req->status = status;
	req->response = response;
	for (i = 0; response != NULL && i < count; i++)
		(void)MHD_add_response_header(response, fields[i].name, fields[i].value);
	if (response != NULL && req->http->draining)
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	resume(req);
}

static void answered(struct cw_http_req *req)
{
	const struct cw_http_conf *conf = &req->http->conf;

	cw_invariant(req->state == REQ_HANDED);
	if (conf->settle != NULL)
		conf->settle(conf->settle_arg);
	req->state = REQ_ANSWERED;
	req->gone = NULL;
}

void cw_http_reply_with(struct cw_http_req *req, unsigned status, const struct cw_http_field *fields, size_t count,
			const void *body, size_t len)
{
	static char empty[1];

	answered(req);
	/* The library's parameter lost its const; with MUST_COPY it only reads. */
	answer_with(req, status, fields, count,
		    MHD_create_response_from_buffer(len, len != 0 ? (void *)(uintptr_t)body : empty,
						    MHD_RESPMEM_MUST_COPY));
}

void cw_http_reply_lent(struct cw_http_req *req, unsigned status, const struct cw_http_field *fields, size_t count,
			const void *body, size_t len, void (*release)(void *arg), void *arg)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback_cls(len, (void *)(uintptr_t)body, release, arg);

	answered(req);
	if (response == NULL)
		release(arg);
	answer_with(req, status, fields, count, response);
}

void cw_http_reply(struct cw_http_req *req, unsigned status, const char *type, const void *body, size_t len)
{
	struct cw_http_field field = { MHD_HTTP_HEADER_CONTENT_TYPE, type };

	cw_http_reply_with(req, status, &field, type != NULL, body, len);
}

void cw_http_abort(struct cw_http_req *req)
{
	answered(req);
	resume(req);
}

/* ---- streams ---- */

static ssize_t on_stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct cw_http_req *req = cls;
	size_t n = req->out_len < max ? req->out_len : max;

	if (n == 0) {
		if (req->ended || req->http->stopping)
			return MHD_CONTENT_READER_END_OF_STREAM;
		suspend(req);
		return 0;
	}
	memcpy(buf, req->out, n);
	req->out_len -= n;
	memmove(req->out, req->out + n, req->out_len);
	return (ssize_t)n;
}

void cw_http_stream(struct cw_http_req *req, const char *type)
{
	struct cw_http_field fields[] = { { MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache" },
					  { MHD_HTTP_HEADER_CONTENT_TYPE, type } };

	cw_invariant(req->state == REQ_HANDED);
	req->state = REQ_STREAM;
	answer_with(req, 200, fields, type != NULL ? 2 : 1,
		    MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, on_stream_read, req, NULL));
}

int cw_http_stream_write(struct cw_http_req *req, const void *data, size_t len)
{
	size_t room = req->out_room != 0 ? req->out_room : 4096;
	char *grown;

	if (req->out_len + len > STREAM_MAX)
		return CW_ELIMIT;
	while (room < req->out_len + len)
		room *= 2;
	if (room != req->out_room) {
		if (claim(req->http, room - req->out_room) < 0)
			return CW_ELIMIT;
		grown = cw_realloc(req->out, room);
		if (grown == NULL) {
			req->http->held -= room - req->out_room;
			return CW_ENOMEM;
		}
		req->out = grown;
		req->out_room = room;
	}
	memcpy(req->out + req->out_len, data, len);
	req->out_len += len;
	resume(req);
	return 0;
}

void cw_http_stream_end(struct cw_http_req *req)
{
	req->gone = NULL;
	req->ended = 1;
	resume(req);
}

/* ---- opening and closing ---- */

static int parse_address(const char *text, struct sockaddr_storage *ret, struct cw_msg *msg)
{
	const char *colon = strrchr(text, ':');
	char host[64], *end = NULL;
	size_t n = colon != NULL ? (size_t)(colon - text) : sizeof(host);
	long port = colon != NULL ? strtol(colon + 1, &end, 10) : -1;

	if (n >= sizeof(host) || port < 0 || port > 65535 || *end != '\0' || colon[1] == '\0')
		goto bad;
	memcpy(host, text, n);
	host[n] = '\0';
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)(void *)ret) == 0)
			return 0;
	} else if (uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port,
			       (struct sockaddr_in *)(void *)ret) == 0) {
		return 0;
	}
bad:
	return cw_fail(msg, CW_ECONF, "address \"%s\": host:port with a numeric host is accepted", text);
}

/*
 * A listening unix socket for programs of this machine, mode 0660. A socket that nobody listens on any more (a killed
 * process left it) is taken over; one that somebody does is an error.
 */
static int open_unix(const char *path, int *ret_fd, struct cw_msg *msg)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char dir[sizeof(un.sun_path)];
	struct stat st;
	char *slash;
	int fd, rc;

	if (path[0] != '/' || strlen(path) >= sizeof(un.sun_path))
		return cw_fail(msg, CW_ECONF, "unix:%s: an absolute path of at most %zu characters is accepted", path,
			       sizeof(un.sun_path) - 1);
	strcpy(un.sun_path, path);
	strcpy(dir, path);
	slash = strrchr(dir, '/');
	*slash = '\0';
	if (slash != dir)
		(void)mkdir(dir, 0755);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "unix:%s: %s", path, strerror(errno));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0) {
		close(fd);
		return cw_fail(msg, CW_EEXIST, "unix:%s: another process listens there", path);
	}
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		close(fd);
		return cw_fail(msg, CW_EEXIST, "unix:%s: something that is no socket is there already; choose another path", path);
	}
	(void)unlink(path); /* of a process that is gone */
	rc = bind(fd, (struct sockaddr *)&un, sizeof(un));
	if (rc == 0)
		rc = chmod(path, 0660);
	if (rc == 0)
		rc = listen(fd, 64);
	if (rc != 0) {
		rc = errno;
		close(fd);
		return cw_fail(msg, cw_err_from_errno(rc), "unix:%s: %s", path, strerror(rc));
	}
	*ret_fd = fd;
	return 0;
}

static void note_address(struct cw_http *h)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_LISTEN_FD);
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	if (info != NULL && getsockname(info->listen_fd, (struct sockaddr *)&ss, &len) == 0)
		name_of((const struct sockaddr *)&ss, h->address, sizeof(h->address));
}

static void http_gone(struct cw_closing *closing)
{
	struct cw_http *h = cw_container_of(closing, struct cw_http, closing);
	void (*closed)(void *arg) = h->closed;
	void *arg = h->closed_arg;

	cw_free(h);
	if (closed != NULL)
		closed(arg);
}

/* On a socket that listens already, or `fd` -1: on the address. */
static int start_daemon(struct cw_http *h, const struct sockaddr_storage *ss, int fd)
{
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (ss->ss_family == AF_INET6 ? MHD_USE_IPv6 : 0) |
			 (h->conf.tls_certificate != NULL ? MHD_USE_TLS : 0);
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)h->conf.tls_certificate },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)h->conf.tls_key },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_VERSIONS },
		{ h->conf.tls_client_ca != NULL ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, (void *)(uintptr_t)h->conf.tls_client_ca },
		{ MHD_OPTION_END, 0, NULL },
	};
	struct MHD_OptionItem where[] = {
		/* Its pool for one connection holds the head and what it works with. */
		{ MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)h->conf.per_address, NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)(h->conf.max_head != 0 ? h->conf.max_head : HEAD_MAX), NULL },
		{ fd < 0 ? MHD_OPTION_SOCK_ADDR : MHD_OPTION_LISTEN_SOCKET, fd,
		  (void *)(uintptr_t)(fd < 0 ? ss : NULL) },
		{ MHD_OPTION_END, 0, NULL },
	};

	h->daemon =
		MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				 MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_CONNECTION_LIMIT,
				 CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_NOTIFY_CONNECTION,
				 on_connection, h, MHD_OPTION_ARRAY, where, MHD_OPTION_ARRAY, h->conf.tls_certificate != NULL ? tls : where + 3, MHD_OPTION_END);
	if (h->daemon == NULL && fd >= 0)
		close(fd);
	return h->daemon != NULL ? 0 : CW_EIO;
}

int cw_http_open(struct cw_worker *w, const struct cw_http_conf *conf, struct cw_http **ret_http, struct cw_msg *msg)
{
	struct sockaddr_storage ss = { 0 };
	const union MHD_DaemonInfo *info;
	const char *path = strncmp(conf->address, "unix:", 5) == 0 ? conf->address + 5 : NULL;
	struct cw_http *h;
	int fd = -1;
	int rc = path != NULL ? open_unix(path, &fd, msg) : parse_address(conf->address, &ss, msg);

	if (rc < 0)
		return rc;
	h = cw_zalloc(sizeof(*h));
	if (h == NULL) {
		if (fd >= 0)
			close(fd);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	h->worker = w;
	h->conf = *conf;
	cw_list_init(&h->requests);
	cw_closing_init(&h->closing, http_gone);
	if (path != NULL)
		(void)snprintf(h->unix_path, sizeof(h->unix_path), "%s", path);
	rc = start_daemon(h, &ss, fd);
	info = rc == 0 ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (info == NULL || uv_poll_init(cw_worker_loop(w), &h->poll, info->epoll_fd) < 0) {
		if (h->daemon != NULL)
			MHD_stop_daemon(h->daemon);
		cw_free(h);
		return cw_fail(msg, CW_EIO, "cannot listen on %s: the address is in use by another program or is none of this machine's, so end that program or choose another%s", conf->address,
			       conf->tls_certificate != NULL ? "; or certificate and key do not fit" : "");
	}
	cw_closing_add(&h->closing, (uv_handle_t *)&h->poll);
	(void)uv_timer_init(cw_worker_loop(w), &h->timer);
	cw_closing_add(&h->closing, (uv_handle_t *)&h->timer);
	(void)uv_idle_init(cw_worker_loop(w), &h->kick);
	cw_closing_add(&h->closing, (uv_handle_t *)&h->kick);
	(void)uv_poll_start(&h->poll, UV_READABLE, on_poll);
	if (path == NULL)
		note_address(h);
	h->asks_certificates = conf->tls_client_ca != NULL;
	h->conf.address = h->conf.tls_certificate = h->conf.tls_key = h->conf.tls_client_ca = NULL; /* were lent */
	*ret_http = h;
	return 0;
}

const char *cw_http_address(const struct cw_http *h)
{
	return h->address;
}

void cw_http_drain(struct cw_http *h, uint64_t ms, void (*drained)(void *arg), void *arg)
{
	MHD_socket fd = MHD_quiesce_daemon(h->daemon);

	if (fd != MHD_INVALID_SOCKET)
		close(fd);
	h->draining = 1;
	h->drained = drained;
	h->drained_arg = arg;
	cw_timer_set(cw_worker_timers(h->worker), &h->drain, cw_list_empty(&h->requests) ? 0 : ms, tell_drained);
}

void cw_http_close(struct cw_http *h, void (*closed)(void *arg), void *arg)
{
	struct cw_list *e, *n;

	h->closed = closed;
	h->closed_arg = arg;
	h->stopping = 1;
	h->drained = NULL;
	cw_timer_stop(cw_worker_timers(h->worker), &h->drain);
	cw_list_each_safe (e, n, &h->requests)
		resume(cw_container_of(e, struct cw_http_req, link));
	(void)MHD_run(h->daemon); /* lets the resumed ones end */
	(void)uv_poll_stop(&h->poll);
	MHD_stop_daemon(h->daemon);
	h->daemon = NULL;
	if (h->unix_path[0] != '\0')
		(void)unlink(h->unix_path);
	cw_closing_close((uv_handle_t *)&h->poll);
	cw_closing_close((uv_handle_t *)&h->timer);
	cw_closing_close((uv_handle_t *)&h->kick);
}
