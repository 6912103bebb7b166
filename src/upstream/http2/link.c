/*
 * link.c - see link.h.
 *
 * Out: nghttp2's frames are gathered to TLS records of up to 16 KiB, those to one
 * write; while the kernel does not take a write, nothing more is asked of nghttp2. What
 * was submitted in one pass of the loop goes out at its end (uv_prepare).
 * In: TCP -> TLS -> pushes.c, which takes out what the platform opened -> nghttp2.
 *
 * Whatever ends the connection while bytes are being worked on is noted (`doomed`) and
 * done afterwards, for nghttp2's and mbedTLS's sessions may not be freed in their calls.
 */
#include "upstream/http2/link.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define ADDRESSES_MOST 8
#define CONNECT_MS 5000u /* for one address */
#define RECORD 16384u
#define OUT_MOST (512u * 1024) /* bytes of one write */

/* One attempt at one address. */
struct socket {
	uv_tcp_t tcp; /* data: the link */
	uv_connect_t connect;
};

/* Bytes that the kernel did not take at once. */
struct written {
	uv_write_t req;
	struct http2_link *l;
	uint8_t *bytes; /* owned */
};

struct http2_link {
	struct cw_worker *w;
	struct http2_address at;
	struct cw_tls_ctx *tls_ctx;
	uint64_t keep_alive_ms;
	const struct http2_link_events *events;
	void *ctx;
	/* name and TCP */
	uv_getaddrinfo_t resolve;
	struct sockaddr_storage addresses[ADDRESSES_MOST];
	int address_count, next_address, resolving;
	struct socket *socket; /* NULL: none; freed by its close callback */
	uv_prepare_t prepare;
	struct cw_timer timer; /* TCP connect, then silence */
	int handles;           /* libuv holds: `prepare`, sockets, the name look-up */
	/* TLS and HTTP/2 */
	struct cw_tls *tls;
	nghttp2_session *h2;
	struct http2_pushes pushes;
	int has_pushes;
	int up, leaving, busy, doomed, dead, quiet;
	char why[512];  /* for `down` */
	char note[160]; /* what went wrong before, for the sentence about the end */
	struct cw_list calls;
	unsigned call_count;
	uint64_t heard_ms;
	/* output */
	uint8_t *out; /* cipher bytes not yet given to the kernel */
	size_t out_len, out_size;
	int dirty, writing;
	uint8_t plain[RECORD];
	size_t plain_len;
	char in[65536];
};

static void flush(struct http2_link *l);
static void next_connect(struct http2_link *l);

/* ---- end ------------------------------------------------------------------------- */

static void unhold(struct http2_link *l)
{
	if (--l->handles > 0)
		return;
	cw_free(l->out);
	cw_free(l);
}

static void on_tcp_closed(uv_handle_t *handle)
{
	struct http2_link *l = handle->data;

	cw_free(cw_container_of((uv_tcp_t *)handle, struct socket, tcp));
	unhold(l);
}

static void on_prepare_closed(uv_handle_t *handle)
{
	unhold(handle->data);
}

static void close_tcp(struct http2_link *l)
{
	struct socket *s = l->socket;

	l->socket = NULL;
	if (s != NULL)
		uv_close((uv_handle_t *)&s->tcp, on_tcp_closed);
}

static void end_calls(struct http2_link *l)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&l->calls)) != NULL) {
		struct http2_call *c = cw_container_of(e, struct http2_call, link);

		c->of = NULL;
		c->done(c, CW_ECLOSED);
	}
	l->call_count = 0;
}

/* Everything but what libuv still holds. */
static void tear_down(struct http2_link *l)
{
	l->dead = 1;
	cw_timer_stop(cw_worker_timers(l->w), &l->timer);
	if (l->h2 != NULL)
		nghttp2_session_del(l->h2);
	l->h2 = NULL;
	if (l->has_pushes)
		http2_pushes_fini(&l->pushes);
	l->has_pushes = 0;
	cw_tls_free(l->tls);
	l->tls = NULL;
	if (l->resolving)
		(void)uv_cancel((uv_req_t *)&l->resolve);
	close_tcp(l);
	end_calls(l);
	if (!l->quiet)
		l->events->down(l->ctx, l->why);
	uv_close((uv_handle_t *)&l->prepare, on_prepare_closed); /* last: it may free the link */
}

static void end_if_doomed(struct http2_link *l)
{
	if (l->doomed && l->busy == 0 && !l->dead)
		tear_down(l);
}

static void doom(struct http2_link *l, const char *what, const char *why)
{
	if (l->doomed)
		return;
	l->doomed = 1;
	(void)snprintf(l->why, sizeof(l->why), "%.150s: %.60s%s%.160s", l->at.authority, what,
		       why[0] != '\0' ? ": " : "", why);
}

void http2_link_close(struct http2_link *l)
{
	l->quiet = 1;
	if (l->up && !l->doomed && l->busy == 0) {
		l->busy++;
		(void)nghttp2_session_terminate_session(l->h2, NGHTTP2_NO_ERROR);
		flush(l);
		if (!l->doomed)
			cw_tls_goodbye(l->tls);
		if (!l->doomed && !l->writing && l->out_len > 0) {
			uv_buf_t buf = uv_buf_init((char *)l->out, (unsigned)l->out_len);

			(void)uv_try_write((uv_stream_t *)&l->socket->tcp, &buf, 1);
		}
		l->busy--;
	}
	doom(l, "closed", "");
	end_if_doomed(l);
}

/* ---- output ---------------------------------------------------------------------- */

static int on_cipher(void *arg, struct cw_bytes bytes)
{
	struct http2_link *l = arg;
	size_t size = l->out_size == 0 ? 65536 : l->out_size;
	uint8_t *at;

	while (size < l->out_len + bytes.len)
		size *= 2;
	if (size != l->out_size) {
		at = cw_realloc(l->out, size);
		if (at == NULL)
			return CW_ENOMEM;
		l->out = at;
		l->out_size = size;
	}
	memcpy(l->out + l->out_len, bytes.ptr, bytes.len);
	l->out_len += bytes.len;
	return 0;
}

static void on_written(uv_write_t *req, int status)
{
	struct written *w = cw_container_of(req, struct written, req);
	struct http2_link *l = w->l;

	cw_free(w->bytes);
	cw_free(w);
	l->writing = 0;
	if (!l->dead) {
		if (status < 0)
			doom(l, "sending", uv_strerror(status));
		flush(l);
		end_if_doomed(l);
	}
	unhold(l);
}

/* The rest of the output, with its buffer, waits for on_written(). */
static void write_later(struct http2_link *l, size_t from)
{
	struct written *w = cw_zalloc(sizeof(*w));
	uv_buf_t buf = uv_buf_init((char *)l->out + from, (unsigned)(l->out_len - from));

	if (w == NULL || uv_write(&w->req, (uv_stream_t *)&l->socket->tcp, &buf, 1, on_written) != 0) {
		cw_free(w);
		doom(l, "sending", "out of memory");
		return;
	}
	w->l = l;
	w->bytes = l->out;
	l->out = NULL;
	l->out_len = l->out_size = 0;
	l->writing = 1;
	l->handles++;
}

/* Give the kernel what is there. */
static void write_out(struct http2_link *l)
{
	uv_buf_t buf = uv_buf_init((char *)l->out, (unsigned)l->out_len);
	int n;

	if (l->out_len == 0 || l->writing || l->socket == NULL)
		return;
	n = uv_try_write((uv_stream_t *)&l->socket->tcp, &buf, 1);
	if (n < 0 && n != UV_EAGAIN)
		doom(l, "sending", uv_strerror(n));
	else if (n < 0 || (size_t)n < l->out_len)
		write_later(l, n < 0 ? 0 : (size_t)n);
	else
		l->out_len = 0;
}

static void seal_record(struct http2_link *l)
{
	if (l->plain_len > 0 && cw_tls_send(l->tls, cw_bytes_of(l->plain, l->plain_len)) < 0)
		doom(l, "TLS", cw_tls_reason(l->tls));
	l->plain_len = 0;
}

static void add_plain(struct http2_link *l, const uint8_t *data, size_t len)
{
	while (len > 0 && !l->doomed) {
		size_t n = RECORD - l->plain_len < len ? RECORD - l->plain_len : len;

		memcpy(l->plain + l->plain_len, data, n);
		l->plain_len += n;
		data += n;
		len -= n;
		if (l->plain_len == RECORD)
			seal_record(l);
	}
}

static void flush(struct http2_link *l)
{
	const uint8_t *data;
	ssize_t n = 0;

	l->dirty = 0;
	l->busy++;
	while (l->h2 != NULL && !l->writing && !l->doomed) {
		while (l->out_len < OUT_MOST && !l->doomed && (n = nghttp2_session_mem_send(l->h2, &data)) > 0)
			add_plain(l, data, (size_t)n);
		if (n < 0)
			doom(l, "HTTP/2", nghttp2_strerror((int)n));
		seal_record(l);
		if (l->out_len == 0)
			break;
		write_out(l);
	}
	l->busy--;
	if (!l->doomed && l->h2 != NULL && l->up && nghttp2_session_want_read(l->h2) == 0 &&
	    nghttp2_session_want_write(l->h2) == 0)
		doom(l, "HTTP/2", l->note[0] != '\0' ? l->note : "the session has ended");
}

static void on_prepare(uv_prepare_t *handle)
{
	struct http2_link *l = handle->data;

	if (l->dirty && !l->dead)
		flush(l);
	end_if_doomed(l);
}

/* ---- silence ----------------------------------------------------------------------- */

static void on_silence(struct cw_timer *t)
{
	struct http2_link *l = cw_container_of(t, struct http2_link, timer);
	uint64_t now = cw_worker_now(l->w), silent = now - l->heard_ms, wait;
	char text[64];

	if (silent >= 2 * l->keep_alive_ms) {
		(void)snprintf(text, sizeof(text), "%llu s", (unsigned long long)(silent / 1000));
		doom(l, "nothing was heard for", text);
		end_if_doomed(l);
		return;
	}
	wait = l->keep_alive_ms - silent;
	if (silent >= l->keep_alive_ms) {
		uint64_t clock = (uint64_t)cw_clock_wall_ms();
		uint8_t bytes[8];
		int i;

		for (i = 0; i < 8; i++)
			bytes[i] = (uint8_t)(clock >> (56 - 8 * i));
		(void)nghttp2_submit_ping(l->h2, NGHTTP2_FLAG_NONE, bytes);
		l->dirty = 1;
		wait = 2 * l->keep_alive_ms - silent;
	}
	cw_timer_set(cw_worker_timers(l->w), t, wait, on_silence);
}

/* ---- HTTP/2 ------------------------------------------------------------------------- */

static void call_done(struct http2_link *l, struct http2_call *c, int rc)
{
	cw_list_remove(&c->link);
	l->call_count--;
	c->of = NULL;
	c->done(c, rc);
	if (l->call_count == 0 && !l->doomed && !l->quiet)
		l->events->idle(l->ctx);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct http2_call *c = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
	int status = 0;
	size_t i;

	if (c == NULL || name_len != 7 || memcmp(name, ":status", 7) != 0 || value_len != 3)
		return 0;
	for (i = 0; i < 3; i++)
		status = status * 10 + (value[i] - '0');
	c->status = status;
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
	struct http2_call *c = nghttp2_session_get_stream_user_data(h2, stream);
	size_t i;

	if (c == NULL)
		return 0;
	for (i = 0; i < len && c->text_len + 1 < sizeof(c->text); i++)
		c->text[c->text_len++] = data[i] >= ' ' && data[i] < 127 ? (char)data[i] : '?';
	return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t error, void *arg)
{
	struct http2_call *c = nghttp2_session_get_stream_user_data(h2, stream);

	if (c != NULL)
		call_done(arg, c, error == NGHTTP2_NO_ERROR && c->status != 0 ? 0 : CW_EBUSY);
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct http2_link *l = arg;
	char *why = l->note;
	size_t i, n;

	if (frame->hd.type != NGHTTP2_GOAWAY || l->leaving || l->quiet)
		return 0;
	l->leaving = 1;
	n = (size_t)snprintf(why, sizeof(l->note), "the platform ends the connection (GOAWAY %u) ",
			     frame->goaway.error_code);
	for (i = 0; i < frame->goaway.opaque_data_len && n + 1 < sizeof(l->note); i++)
		why[n++] = frame->goaway.opaque_data[i] >= ' ' && frame->goaway.opaque_data[i] < 127
				   ? (char)frame->goaway.opaque_data[i]
				   : '?';
	why[n] = '\0';
	l->events->leaving(l->ctx, why);
	return 0;
}

static int on_invalid(nghttp2_session *h2, const nghttp2_frame *frame, int error, void *arg)
{
	struct http2_link *l = arg;

	if (nghttp2_is_fatal(error) || error == NGHTTP2_ERR_PROTO || error == NGHTTP2_ERR_HEADER_COMP ||
	    error == NGHTTP2_ERR_FLOW_CONTROL)
		(void)snprintf(l->note, sizeof(l->note), "%s", nghttp2_strerror(error));
	return 0;
}

static ssize_t read_body(nghttp2_session *h2, int32_t stream, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct http2_call *c = source->ptr;
	size_t n = c->len - c->sent < len ? c->len - c->sent : len;

	memcpy(buf, c->body + c->sent, n);
	c->sent += n;
	if (c->sent == c->len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* From pushes.c. */
static int on_pass(void *ctx, struct cw_bytes bytes)
{
	struct http2_link *l = ctx;
	ssize_t n = nghttp2_session_mem_recv(l->h2, bytes.ptr, bytes.len);

	if (n < 0)
		doom(l, "HTTP/2", nghttp2_strerror((int)n));
	return l->doomed ? CW_ECLOSED : 0;
}

static void on_push(void *ctx, const struct http2_push *p)
{
	struct http2_link *l = ctx;

	if (!l->doomed && !l->quiet)
		l->events->push(l->ctx, p);
}

static void on_refuse(void *ctx, uint32_t stream)
{
	struct http2_link *l = ctx;

	(void)nghttp2_submit_rst_stream(l->h2, NGHTTP2_FLAG_NONE, (int32_t)stream, NGHTTP2_REFUSED_STREAM);
	l->dirty = 1;
}

static const struct http2_pushes_ops pushes_ops = { on_pass, on_push, on_refuse };

static int make_session(struct http2_link *l)
{
	nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_ENABLE_PUSH, 1 },
					      { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW },
					      { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 8192 } };
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	int rc;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return CW_ENOMEM;
	if (nghttp2_option_new(&option) != 0) {
		nghttp2_session_callbacks_del(callbacks);
		return CW_ENOMEM;
	}
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid);
	nghttp2_option_set_no_http_messaging(option, 1); /* the platform's answers need not be perfect */
	rc = nghttp2_session_client_new2(&l->h2, callbacks, l, option);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	if (rc != 0)
		return CW_ENOMEM;
	rc = http2_pushes_init(&l->pushes, &pushes_ops, l);
	l->has_pushes = rc == 0;
	if (rc == 0 && (nghttp2_submit_settings(l->h2, NGHTTP2_FLAG_NONE, settings, 3) != 0 ||
			nghttp2_session_set_local_window_size(l->h2, NGHTTP2_FLAG_NONE, 0, HTTP2_WINDOW) != 0 ||
			nghttp2_session_set_next_stream_id(l->h2, HTTP2_FIRST_STREAM) != 0))
		rc = CW_ENOMEM;
	return rc;
}

static void handshake_done(struct http2_link *l)
{
	cw_timer_stop(cw_worker_timers(l->w), &l->timer);
	if (make_session(l) < 0) {
		doom(l, "HTTP/2", "out of memory");
		return;
	}
	l->up = 1;
	l->dirty = 1;
	cw_timer_set(cw_worker_timers(l->w), &l->timer, l->keep_alive_ms, on_silence);
	l->events->up(l->ctx);
}

static int on_plain(void *arg, struct cw_bytes bytes)
{
	struct http2_link *l = arg;
	int rc;

	if (!l->up)
		handshake_done(l); /* the platform's first bytes came with the end of the handshake */
	if (l->doomed)
		return CW_ECLOSED;
	rc = http2_pushes_feed(&l->pushes, bytes);
	if (rc < 0)
		doom(l, "HTTP/2", rc == CW_ENOMEM ? "out of memory" : "malformed or too large header fields");
	return l->doomed ? CW_ECLOSED : 0;
}

static const struct cw_tls_ops tls_ops = { on_cipher, on_plain };

/* ---- TCP ----------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct http2_link *l = handle->data;

	*buf = uv_buf_init(l->in, sizeof(l->in));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct http2_link *l = stream->data;
	int rc;

	if (n == 0 || l->dead)
		return;
	if (n < 0) {
		doom(l, n == UV_EOF ? "closed by the platform" : "receiving",
		     n == UV_EOF ? l->note : uv_strerror((int)n));
		end_if_doomed(l);
		return;
	}
	l->heard_ms = cw_worker_now(l->w);
	l->busy++;
	rc = cw_tls_feed(l->tls, cw_bytes_of(buf->base, (size_t)n));
	if (rc == 0 && !l->up && cw_tls_up(l->tls))
		handshake_done(l);
	if (rc < 0 && !l->doomed)
		doom(l, rc == CW_ECLOSED ? "TLS closed by the platform" : "TLS",
		     rc == CW_ECLOSED ? "" : cw_tls_reason(l->tls));
	if (!l->doomed || l->h2 != NULL)
		flush(l);
	write_out(l); /* of the handshake, or an alert */
	l->busy--;
	end_if_doomed(l);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct http2_link *l = req->handle->data;

	if (status == UV_ECANCELED || l->dead)
		return; /* given up; its socket is being closed */
	if (status < 0) {
		(void)snprintf(l->note, sizeof(l->note), "%s", uv_strerror(status));
		next_connect(l);
		end_if_doomed(l);
		return;
	}
	cw_timer_stop(cw_worker_timers(l->w), &l->timer);
	l->note[0] = '\0';
	(void)uv_tcp_nodelay(&l->socket->tcp, 1);
	l->heard_ms = cw_worker_now(l->w);
	if (cw_tls_new(l->tls_ctx, l->at.host, &tls_ops, l, &l->tls) < 0 || cw_tls_start(l->tls) < 0 ||
	    uv_read_start((uv_stream_t *)&l->socket->tcp, on_alloc, on_read) != 0)
		doom(l, "TLS", l->tls == NULL ? "out of memory" : cw_tls_reason(l->tls));
	else
		write_out(l);
	end_if_doomed(l);
}

static void on_connect_late(struct cw_timer *t)
{
	struct http2_link *l = cw_container_of(t, struct http2_link, timer);

	(void)snprintf(l->note, sizeof(l->note), "no answer within %u s", CONNECT_MS / 1000);
	next_connect(l);
	end_if_doomed(l);
}

/* The next address of the name. */
static void next_connect(struct http2_link *l)
{
	close_tcp(l);
	while (l->next_address < l->address_count) {
		const struct sockaddr *sa = (const struct sockaddr *)&l->addresses[l->next_address++];
		struct socket *s = cw_zalloc(sizeof(*s));
		int rc;

		if (s == NULL || uv_tcp_init(cw_worker_loop(l->w), &s->tcp) != 0) {
			cw_free(s);
			(void)snprintf(l->note, sizeof(l->note), "out of memory");
			break;
		}
		s->tcp.data = l;
		l->socket = s;
		l->handles++;
		rc = uv_tcp_connect(&s->connect, &s->tcp, sa, on_connect);
		if (rc == 0) {
			cw_timer_set(cw_worker_timers(l->w), &l->timer, CONNECT_MS, on_connect_late);
			return;
		}
		(void)snprintf(l->note, sizeof(l->note), "%s", uv_strerror(rc));
		close_tcp(l);
	}
	doom(l, "connecting", l->note);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct http2_link *l = cw_container_of(req, struct http2_link, resolve);
	const struct addrinfo *a;

	l->resolving = 0;
	for (a = list; a != NULL && l->address_count < ADDRESSES_MOST; a = a->ai_next)
		if (a->ai_family == AF_INET || a->ai_family == AF_INET6)
			memcpy(&l->addresses[l->address_count++], a->ai_addr, a->ai_addrlen);
	uv_freeaddrinfo(list);
	if (!l->dead) {
		if (status < 0)
			doom(l, "the name cannot be resolved", uv_strerror(status));
		else
			next_connect(l);
		end_if_doomed(l);
	}
	unhold(l);
}

/* ---- for the owner --------------------------------------------------------------------- */

int http2_link_open(const struct http2_link_conf *conf, const struct http2_link_events *events, void *ctx,
		    struct http2_link **ret_link)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = SOCK_STREAM,
					.ai_flags = AI_NUMERICSERV };
	struct http2_link *l = cw_zalloc(sizeof(*l));
	uv_loop_t *loop = cw_worker_loop(conf->w);

	if (l == NULL)
		return CW_ENOMEM;
	l->w = conf->w;
	l->at = *conf->at;
	l->tls_ctx = conf->tls;
	l->keep_alive_ms = conf->keep_alive_ms;
	l->events = events;
	l->ctx = ctx;
	cw_list_init(&l->calls);
	if (uv_getaddrinfo(loop, &l->resolve, on_resolved, l->at.host, l->at.port, &hints) != 0) {
		cw_free(l);
		return CW_ENOMEM;
	}
	l->resolving = 1;
	(void)uv_prepare_init(loop, &l->prepare);
	l->prepare.data = l;
	(void)uv_prepare_start(&l->prepare, on_prepare);
	l->handles = 2;
	*ret_link = l;
	return 0;
}

nghttp2_nv http2_field(const char *name, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .value = (uint8_t *)(uintptr_t)value,
			     .namelen = strlen(name),
			     .valuelen = strlen(value),
			     .flags = NGHTTP2_NV_FLAG_NONE };
}

int http2_link_call(struct http2_link *l, struct http2_call *c, const char *method, const char *path,
		    const nghttp2_nv *fields, size_t count)
{
	nghttp2_data_provider body = { .source.ptr = c, .read_callback = read_body };
	char length[24];
	nghttp2_nv all[16];
	size_t n = 0;

	if (l == NULL || !l->up || l->doomed || l->leaving || l->quiet)
		return CW_ECLOSED;
	if (l->call_count >= HTTP2_CALLS_MOST)
		return CW_EBUSY;
	(void)snprintf(length, sizeof(length), "%zu", c->len);
	all[n++] = http2_field(":method", method);
	all[n++] = http2_field(":scheme", "https");
	all[n++] = http2_field(":authority", l->at.authority);
	all[n++] = http2_field(":path", path);
	cw_invariant(count <= sizeof(all) / sizeof(all[0]) - 5);
	while (count-- > 0)
		all[n++] = *fields++;
	all[n] = http2_field("content-length", length);
	all[n].flags = c->len > 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE; /* it changes with every message */
	n++;
	c->status = 0;
	c->text_len = 0;
	memset(c->text, 0, sizeof(c->text));
	c->sent = 0;
	c->stream = nghttp2_submit_request(l->h2, NULL, all, n, c->len > 0 ? &body : NULL, c);
	if (c->stream < 0)
		return c->stream == NGHTTP2_ERR_NOMEM ? CW_ENOMEM : CW_ECLOSED;
	c->of = l;
	cw_list_init(&c->link);
	cw_list_push_back(&l->calls, &c->link);
	l->call_count++;
	l->dirty = 1;
	return 0;
}

void http2_link_cancel(struct http2_call *c)
{
	struct http2_link *l = c->of;

	if (l == NULL)
		return;
	cw_list_remove(&c->link);
	l->call_count--;
	c->of = NULL;
	if (l->h2 == NULL || l->doomed)
		return;
	(void)nghttp2_session_set_stream_user_data(l->h2, c->stream, NULL);
	(void)nghttp2_submit_rst_stream(l->h2, NGHTTP2_FLAG_NONE, c->stream, NGHTTP2_CANCEL);
	l->dirty = 1;
}
