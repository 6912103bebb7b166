/*
 * HTTP calls out of a loop: against a scripted server on plain sockets, which says
 * exactly what a test wants it to, and against libmicrohttpd with TLS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/stat.h"
#include "certs.h"
#include "fetch/fetch.h"
#include "http/http.h"

#define PATIENCE_S 20

static struct cw_worker *worker;
static struct cw_fetch_pool *pool;
static long live_before;

/* ---- the scripted server -------------------------------------------------------------- */

struct conn {
	uv_tcp_t tcp;
	uv_write_t write;
	char in[8192];
	size_t len;
	char out[4096];
	struct conn *next;
	int open;
};

static struct {
	uv_tcp_t tcp;
	int port, listens;
	struct conn *conns;
	int accepted, open, open_most, requests, hold;
	char last[8192]; /* the last request, whole */
	struct conn *held[128];
	int held_count;
} srv;

static void on_conn_closed(uv_handle_t *h)
{
	struct conn *c = h->data, **at = &srv.conns;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	free(c);
}

static void conn_close(struct conn *c)
{
	int i;

	for (i = 0; i < srv.held_count; i++)
		if (srv.held[i] == c)
			srv.held[i] = NULL;
	if (c->open) {
		c->open = 0;
		srv.open--;
		uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
	}
}

static void on_sent_close(uv_write_t *w, int status)
{
	conn_close(w->data);
}

static void say(struct conn *c, const char *text, uv_write_cb then)
{
	uv_buf_t buf;

	(void)snprintf(c->out, sizeof(c->out), "%s", text);
	buf = uv_buf_init(c->out, (unsigned)strlen(c->out));
	c->write.data = c;
	assert_int_equal(uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, then), 0);
}

static void answer(struct conn *c)
{
	char path[256] = "";

	(void)sscanf(c->in, "%*s %255s", path);
	if (strcmp(path, "/cut") == 0)
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", on_sent_close);
	else if (strcmp(path, "/close") == 0)
		conn_close(c);
	else if (strcmp(path, "/stall") == 0)
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", NULL);
	else if (strcmp(path, "/silent") == 0)
		return;
	else if (strcmp(path, "/announced") == 0)
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nx", NULL);
	else if (strcmp(path, "/chunks") == 0)
		say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", NULL);
	else if (strcmp(path, "/odd") == 0)
		say(c, "220 mail.example ESMTP\r\n", NULL);
	else if (strcmp(path, "/moved") == 0)
		say(c, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", NULL);
	else
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", NULL);
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf)
{
	struct conn *c = h->data;

	*buf = uv_buf_init(c->in + c->len, (unsigned)(sizeof(c->in) - 1 - c->len));
}

/* 1 when a request with all of its body is there. */
static int whole(const struct conn *c)
{
	const char *end = strstr(c->in, "\r\n\r\n"), *len = strstr(c->in, "Content-Length: ");

	return end != NULL && (len == NULL || len > end || c->len >= (size_t)(end + 4 - c->in) + (size_t)atoi(len + 16));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = s->data;

	if (n < 0) {
		conn_close(c);
		return;
	}
	c->len += (size_t)n;
	c->in[c->len] = '\0';
	if (!whole(c))
		return;
	memcpy(srv.last, c->in, c->len + 1);
	srv.requests++;
	c->len = 0;
	if (srv.hold)
		srv.held[srv.held_count++] = c;
	else
		answer(c);
}

static void on_accept(uv_stream_t *s, int status)
{
	struct conn *c = calloc(1, sizeof(*c));

	assert_int_equal(status, 0);
	assert_non_null(c);
	assert_int_equal(uv_tcp_init(s->loop, &c->tcp), 0);
	c->tcp.data = c;
	assert_int_equal(uv_accept(s, (uv_stream_t *)&c->tcp), 0);
	c->open = 1;
	c->next = srv.conns;
	srv.conns = c;
	srv.accepted++;
	srv.open++;
	if (srv.open > srv.open_most)
		srv.open_most = srv.open;
	assert_int_equal(uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read), 0);
}

static void listen_on(const char *address)
{
	struct sockaddr_storage at;
	int len = sizeof(at);

	memset(&srv, 0, sizeof(srv));
	assert_int_equal(uv_tcp_init(cw_worker_loop(worker), &srv.tcp), 0);
	srv.listens = 1;
	if (strchr(address, ':') != NULL)
		assert_int_equal(uv_ip6_addr(address, 0, (struct sockaddr_in6 *)&at), 0);
	else
		assert_int_equal(uv_ip4_addr(address, 0, (struct sockaddr_in *)&at), 0);
	if (uv_tcp_bind(&srv.tcp, (struct sockaddr *)&at, 0) != 0 || uv_listen((uv_stream_t *)&srv.tcp, 256, on_accept) != 0)
		return; /* no ::1 here */
	assert_int_equal(uv_tcp_getsockname(&srv.tcp, (struct sockaddr *)&at, &len), 0);
	srv.port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
						  : ((struct sockaddr_in *)&at)->sin_port);
}

static void on_unlistened(uv_handle_t *h)
{
	srv.listens = 0;
}

static void unlisten(void)
{
	struct conn *c, *next;

	if (srv.listens && !uv_is_closing((uv_handle_t *)&srv.tcp))
		uv_close((uv_handle_t *)&srv.tcp, on_unlistened);
	for (c = srv.conns; c != NULL; c = next) {
		next = c->next;
		conn_close(c);
	}
}

/* ---- calls ------------------------------------------------------------------------------- */

struct call {
	int ended, rc, status;
	char body[4096], text[512];
	size_t len, pieces;
	int say;                  /* what on_data answers */
	struct cw_fetch *cancel;  /* cancelled by on_data or done */
	int free_pool, start_more;
	struct call *more;
};

static char url[300];

static const char *at(const char *path)
{
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", srv.port, path);
	return url;
}

static int begin(struct call *c, struct cw_fetch_request r, struct cw_fetch **ret);

static void interfere(struct call *c)
{
	if (c->cancel != NULL)
		cw_fetch_cancel(c->cancel);
	c->cancel = NULL;
	if (c->more != NULL)
		assert_int_equal(begin(c->more, (struct cw_fetch_request){ .url = at("/ok") }, NULL), 0);
	c->more = NULL;
	if (c->free_pool) {
		cw_fetch_pool_free(pool);
		pool = NULL;
	}
}

static void on_done(void *ctx, const struct cw_fetch_reply *reply)
{
	struct call *c = ctx;

	assert_int_equal(c->ended, 0);
	c->ended = 1;
	c->rc = reply->rc;
	c->status = reply->status;
	assert_true(c->pieces == 0 || reply->body.len == 0);
	if (c->pieces == 0) {
		assert_true(reply->body.len < sizeof(c->body));
		c->len = reply->body.len;
		if (c->len > 0)
			memcpy(c->body, reply->body.ptr, c->len);
	}
	(void)snprintf(c->text, sizeof(c->text), "%s", reply->text);
	interfere(c);
}

static int on_piece(void *ctx, int status, struct cw_bytes piece)
{
	struct call *c = ctx;

	assert_int_equal(status, 200);
	c->pieces++;
	assert_true(c->len + piece.len < sizeof(c->body));
	memcpy(c->body + c->len, piece.ptr, piece.len);
	c->len += piece.len;
	interfere(c);
	return c->say;
}

static int begin(struct call *c, struct cw_fetch_request r, struct cw_fetch **ret)
{
	r.done = on_done;
	r.ctx = c;
	return cw_fetch_start(pool, &r, ret);
}

#define WAIT(cond)                                                                                                     \
	do {                                                                                                           \
		time_t end_ = time(NULL) + PATIENCE_S;                                                                 \
		while (!(cond)) {                                                                                      \
			if (time(NULL) > end_)                                                                         \
				fail_msg("did not happen: %s", #cond);                                                 \
			uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);                                                 \
			usleep(100);                                                                                   \
		}                                                                                                      \
	} while (0)

static struct call get(struct cw_fetch_request r)
{
	struct call c = { 0 };

	assert_int_equal(begin(&c, r, NULL), 0);
	assert_int_equal(c.ended, 0);
	WAIT(c.ended);
	return c;
}

static struct call get_path(const char *path)
{
	return get((struct cw_fetch_request){ .url = at(path) });
}

static int setup(void **state)
{
	live_before = cw_mem_live();
	assert_int_equal(cw_worker_new("t", 0, &worker), 0);
	assert_int_equal(cw_fetch_pool_new(worker, &pool), 0);
	listen_on("127.0.0.1");
	return 0;
}

static int teardown(void **state)
{
	cw_mem_fail_at(-1);
	cw_fetch_pool_free(pool);
	unlisten();
	cw_worker_release(worker);
	uv_run(cw_worker_loop(worker), UV_RUN_DEFAULT);
	cw_worker_free(worker);
	return cw_mem_live() == live_before ? 0 : -1;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void a_get_and_a_post_come_back_over_one_connection(void **state)
{
	static const char *const headers[] = { "password: token", "Content-Type: application/octet-stream", NULL };
	struct call c = get_path("/ok");

	assert_int_equal(c.rc, 0);
	assert_int_equal(c.status, 200);
	assert_string_equal(c.body, "ok");
	assert_memory_equal(srv.last, "GET /ok HTTP/1.1\r\n", 18);
	assert_null(strstr(srv.last, "Content-Type"));
	c = get((struct cw_fetch_request){ .url = at("/ok?a=b"), .headers = headers, .body = cw_bytes_of("a\0b", 3) });
	assert_string_equal(c.body, "ok");
	assert_memory_equal(srv.last, "POST /ok?a=b HTTP/1.1\r\n", 23);
	assert_non_null(strstr(srv.last, "password: token\r\n"));
	assert_non_null(strstr(srv.last, "Content-Type: application/octet-stream\r\n"));
	assert_non_null(strstr(srv.last, "Content-Length: 3\r\n"));
	assert_memory_equal(strstr(srv.last, "\r\n\r\n"), "\r\n\r\na\0b", 7);
	c = get((struct cw_fetch_request){ .url = at("/ok"), .method = "POST" });
	assert_non_null(strstr(srv.last, "Content-Length: 0\r\n"));
	assert_null(strstr(srv.last, "Content-Type"));
	c = get((struct cw_fetch_request){ .url = at("/ok"), .method = "PUT", .body = cw_bytes_of("xyz", 3) });
	assert_memory_equal(srv.last, "PUT /ok HTTP/1.1\r\n", 18);
	assert_int_equal(srv.accepted, 1);
}

static void a_redirect_is_an_answer_like_any_other(void **state)
{
	struct call c = get_path("/moved");

	assert_int_equal(c.rc, 0);
	assert_int_equal(c.status, 302);
	assert_int_equal(srv.requests, 1);
}

static void a_status_is_no_failure_but_other_bytes_are(void **state)
{
	struct call c = get_path("/odd");

	assert_int_equal(c.rc, CW_EIO);
	assert_non_null(strstr(c.text, "is not HTTP"));
}

static void an_ipv6_literal_works(void **state)
{
	struct call c;

	unlisten();
	WAIT(!srv.listens);
	listen_on("::1");
	if (srv.port == 0)
		skip(); /* no ::1 on this machine */
	(void)snprintf(url, sizeof(url), "http://[::1]:%d/ok", srv.port);
	c = get((struct cw_fetch_request){ .url = url });
	assert_int_equal(c.rc, 0);
	assert_string_equal(c.body, "ok");
}

static void failures_name_host_and_cause_and_no_secret(void **state)
{
	static const char *const paths[] = { "/cut", "/close" };
	struct call c;
	size_t i;
	char full[300];

	for (i = 0; i < 2; i++) {
		c = get((struct cw_fetch_request){ .url = at(paths[i]), .body = cw_bytes_of("secret", 6) });
		assert_int_equal(c.rc, CW_EIO);
		assert_int_equal(c.len, 0);
		(void)snprintf(full, sizeof(full), "http://127.0.0.1:%d: the connection ended", srv.port);
		assert_memory_equal(c.text, full, strlen(full));
	}
	unlisten();
	WAIT(!srv.listens);
	c = get_path("/x?token=verysecret");
	assert_int_equal(c.rc, CW_EUNREACH);
	assert_non_null(strstr(c.text, "refused"));
	assert_null(strstr(c.text, "verysecret"));
	c = get((struct cw_fetch_request){ .url = "http://name.invalid/?verysecret" });
	assert_int_equal(c.rc, CW_EUNREACH);
	assert_string_equal(c.text, "http://name.invalid:80: the name has no address");
}

static void addresses_of_no_use_are_told_by_done(void **state)
{
	static const char *const bad[] = { "ftp://host/verysecret", "http://user:verysecret@host/", "http://ho st/verysecret",
					   "verysecret\r\nX: y", "http://host:99999/verysecret", "" };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct call c = get((struct cw_fetch_request){ .url = bad[i] });

		assert_int_equal(c.rc, CW_EINVAL);
		assert_null(strstr(c.text, "verysecret"));
	}
	assert_int_equal(begin(&(struct call){ 0 },
			       (struct cw_fetch_request){ .url = at("/ok"), .headers = (const char *const[]){ "a: b\r\nc: d", NULL } },
			       NULL),
			 CW_EINVAL);
}

static void chunks_come_as_pieces_or_as_one(void **state)
{
	struct call c = get_path("/chunks");

	assert_string_equal(c.body, "hello world");
	memset(&c, 0, sizeof(c));
	assert_int_equal(begin(&c, (struct cw_fetch_request){ .url = at("/chunks"), .on_data = on_piece }, NULL), 0);
	WAIT(c.ended);
	assert_string_equal(c.body, "hello world");
	assert_int_equal(c.rc, 0);
	memset(&c, 0, sizeof(c));
	c.say = CW_EUNSUPPORTED;
	assert_int_equal(begin(&c, (struct cw_fetch_request){ .url = at("/chunks"), .on_data = on_piece }, NULL), 0);
	WAIT(c.ended);
	assert_int_equal(c.pieces, 1);
	assert_int_equal(c.rc, CW_EUNSUPPORTED);
}

static void an_answer_longer_than_allowed_ends_the_call(void **state)
{
	struct call c = get((struct cw_fetch_request){ .url = at("/chunks"), .most = 10 });

	assert_int_equal(c.rc, CW_ELIMIT);
	c = get((struct cw_fetch_request){ .url = at("/chunks"), .most = 11 });
	assert_int_equal(c.rc, 0);
	c = get_path("/announced"); /* ends at the announcement: the rest never comes */
	assert_int_equal(c.rc, CW_ELIMIT);
	assert_non_null(strstr(c.text, "larger than allowed"));
}

static void who_says_nothing_is_given_up(void **state)
{
	struct call c = get((struct cw_fetch_request){ .url = at("/silent"), .timeout_ms = 60 });

	assert_int_equal(c.rc, CW_ETIMEDOUT);
	assert_non_null(strstr(c.text, "not finished in time"));
	c = get((struct cw_fetch_request){ .url = at("/silent"), .stall_ms = 60 });
	assert_int_equal(c.rc, CW_ETIMEDOUT);
	assert_non_null(strstr(c.text, "no byte"));
	c = get((struct cw_fetch_request){ .url = at("/stall"), .stall_ms = 60 });
	assert_int_equal(c.rc, CW_ETIMEDOUT);
	assert_int_equal(c.status, 200);
	assert_non_null(strstr(c.text, "no byte"));
}

/* Nobody accepts: the backlog takes the connection, and no TLS greeting ever comes back. */
static void a_handshake_that_never_ends_is_given_up(void **state)
{
	struct call c;

	srv.hold = 1;
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%d/", srv.port);
	c = get((struct cw_fetch_request){ .url = url, .connect_timeout_ms = 60 });
	assert_int_equal(c.rc, CW_ETIMEDOUT);
	assert_non_null(strstr(c.text, "no connection in time"));
}

static void a_hundred_at_once_use_eight_connections(void **state)
{
	static struct call calls[100];
	int i, ended = 0;

	memset(calls, 0, sizeof(calls));
	srv.hold = 1;
	for (i = 0; i < 100; i++)
		assert_int_equal(begin(&calls[i], (struct cw_fetch_request){ .url = at("/ok"), .stall_ms = PATIENCE_S * 1000 }, NULL), 0);
	WAIT(srv.held_count == 8);
	for (i = 0; i < 20; i++)
		uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
	assert_int_equal(srv.open, 8);
	srv.hold = 0;
	for (i = 0; i < 8; i++)
		answer(srv.held[i]);
	srv.held_count = 0;
	WAIT((ended = 0, ({ for (i = 0; i < 100; i++) ended += calls[i].ended; }), ended == 100));
	for (i = 0; i < 100; i++)
		assert_int_equal(calls[i].rc, 0);
	assert_int_equal(srv.requests, 100);
	assert_int_equal(srv.open_most, 8);
	assert_int_equal(srv.accepted, 8);
}

/* libcurl counts no time for a call that waits for a connection; we do. */
static void a_call_that_never_gets_a_connection_ends_in_time(void **state)
{
	static struct call calls[9];
	int i;

	memset(calls, 0, sizeof(calls));
	srv.hold = 1;
	for (i = 0; i < 9; i++)
		assert_int_equal(begin(&calls[i], (struct cw_fetch_request){ .url = at("/ok"), .timeout_ms = i < 8 ? 0 : 80 }, NULL), 0);
	WAIT(calls[8].ended);
	assert_int_equal(calls[8].rc, CW_ETIMEDOUT);
	assert_int_equal(calls[0].ended, 0);
	assert_int_equal(srv.requests, 8);
}

static void a_cancelled_call_tells_nothing(void **state)
{
	struct call a = { 0 }, b = { 0 };
	struct cw_fetch *fa, *fb;

	assert_int_equal(begin(&a, (struct cw_fetch_request){ .url = at("/ok") }, &fa), 0);
	cw_fetch_cancel(fa); /* before it went */
	assert_int_equal(begin(&a, (struct cw_fetch_request){ .url = "no address" }, &fa), 0);
	cw_fetch_cancel(fa);
	assert_int_equal(begin(&a, (struct cw_fetch_request){ .url = at("/silent") }, &fa), 0);
	WAIT(srv.requests == 1);
	cw_fetch_cancel(fa); /* with its answer outstanding */
	WAIT(srv.open == 0);
	assert_int_equal(begin(&a, (struct cw_fetch_request){ .url = at("/chunks"), .on_data = on_piece }, &fa), 0);
	a.cancel = fa; /* by its own on_data */
	WAIT(a.pieces > 0);
	assert_int_equal(begin(&b, (struct cw_fetch_request){ .url = at("/ok") }, &fb), 0);
	b.cancel = fb; /* by its own done: too late, and harmless */
	WAIT(b.ended);
	memset(&b, 0, sizeof(b));
	assert_int_equal(begin(&a, (struct cw_fetch_request){ .url = at("/silent") }, &fa), 0);
	b.cancel = fa; /* by another's on_data */
	b.say = 0;
	assert_int_equal(begin(&b, (struct cw_fetch_request){ .url = at("/chunks"), .on_data = on_piece }, NULL), 0);
	WAIT(b.ended);
	assert_int_equal(b.rc, 0);
	assert_int_equal(a.ended, 0);
}

static void calls_begin_inside_callbacks(void **state)
{
	struct call a = { 0 }, b = { 0 }, c = { 0 };

	a.more = &b;
	b.more = &c;
	assert_int_equal(begin(&a, (struct cw_fetch_request){ .url = at("/chunks"), .on_data = on_piece }, NULL), 0);
	WAIT(a.ended && b.ended && c.ended);
	assert_int_equal(a.rc | b.rc | c.rc, 0);
}

static void the_pool_can_go_at_any_time(void **state)
{
	static struct call calls[20];
	struct call last = { 0 };
	int from, i;

	for (from = 0; from < 3; from++) { /* from outside, from done, from on_data */
		memset(calls, 0, sizeof(calls));
		memset(&last, 0, sizeof(last));
		srv.requests = 0;
		for (i = 0; i < 20; i++)
			assert_int_equal(begin(&calls[i], (struct cw_fetch_request){ .url = at("/silent") }, NULL), 0);
		if (from == 0) {
			WAIT(srv.requests == 8);
			cw_fetch_pool_free(pool);
			pool = NULL;
		} else {
			struct sockaddr_in other;
			int len = sizeof(other);

			/* Another name of the same host: another eight connections. */
			assert_int_equal(uv_tcp_getsockname(&srv.tcp, (struct sockaddr *)&other, &len), 0);
			(void)snprintf(url, sizeof(url), "http://localhost:%d/chunks", srv.port);
			last.free_pool = 1;
			assert_int_equal(begin(&last, (struct cw_fetch_request){ .url = url, .on_data = from == 2 ? on_piece : NULL }, NULL), 0);
			WAIT(pool == NULL);
			assert_int_equal(last.ended, from == 1);
		}
		WAIT(srv.open == 0);
		for (i = 0; i < 20; i++)
			assert_int_equal(calls[i].ended, 0);
		assert_int_equal(cw_fetch_pool_new(worker, &pool), 0);
	}
}

/* Whatever allocation of ours fails: either nothing began, or the call ends once, and nothing is left behind. */
static void every_allocation_may_fail(void **state)
{
	static const char *const headers[] = { "password: token", NULL };
	int n, ended_well = 0;

	for (n = 0; !ended_well; n++) {
		struct call c = { 0 };
		int rc, failed;

		cw_fetch_pool_free(pool); /* with a fresh connection each time */
		pool = NULL;
		WAIT(srv.open == 0);
		assert_int_equal(cw_fetch_pool_new(worker, &pool), 0);
		cw_mem_fail_at(n);
		rc = begin(&c, (struct cw_fetch_request){ .url = at("/chunks"), .headers = headers, .body = cw_bytes_of("x", 1) }, NULL);
		if (rc == 0)
			WAIT(c.ended);
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		assert_true(rc == 0 || rc == CW_ENOMEM);
		if (rc == 0 && failed)
			assert_int_equal(c.rc, CW_ENOMEM);
		ended_well = !failed;
		assert_true(n < 50);
	}
	assert_true(n >= 4); /* the call, its socket, its body, and the run without failure */
	cw_mem_fail_at(0);
	{
		struct cw_fetch_pool *other;

		assert_int_equal(cw_fetch_pool_new(worker, &other), CW_ENOMEM);
	}
	cw_mem_fail_at(-1);
}

/* ---- TLS -------------------------------------------------------------------------------------- */

static void on_request(void *arg, struct cw_http_req *req)
{
	size_t len;
	const char *body = cw_http_body(req, &len);

	cw_http_reply(req, 200, "text/plain", len > 0 ? body : "secure", len > 0 ? len : 6);
}

static char *slurp(const char *path)
{
	char *text = calloc(1, 8192);
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_true(fread(text, 1, 8191, f) > 0);
	fclose(f);
	return text;
}

static void on_http_closed(void *arg)
{
	*(int *)arg = 1;
}

static void the_server_is_checked_unless_told_otherwise(void **state)
{
	struct certs certs;
	struct cw_http *http;
	struct cw_http_conf conf = { .address = "127.0.0.1:0", .max_body = 1 << 20, .handle = on_request };
	struct cw_msg msg = { { 0 } };
	char *pem, *key, good[128], by_number[128];
	struct call c;
	int closed = 0;
	const char *port;

	certs_init(&certs);
	certs_make(&certs, "ca", "CN=ca", NULL, 1);
	certs_make(&certs, "other", "CN=other", NULL, 1);
	certs_make(&certs, "server", "CN=localhost", "ca", 0);
	pem = slurp(certs_path(&certs, "server.pem"));
	key = slurp(certs_path(&certs, "server.key"));
	conf.tls_certificate = pem;
	conf.tls_key = key;
	assert_int_equal(cw_http_open(worker, &conf, &http, &msg), 0);
	port = strrchr(cw_http_address(http), ':');
	(void)snprintf(good, sizeof(good), "https://localhost%s/x?verysecret", port);
	(void)snprintf(by_number, sizeof(by_number), "https://127.0.0.1%s/x?verysecret", port);

	c = get((struct cw_fetch_request){ .url = good, .tls = { .ca = certs_path(&certs, "ca.pem"), .verify = 1 } });
	assert_int_equal(c.rc, 0);
	assert_string_equal(c.body, "secure");
	/* Another name, an unknown authority, the system's authorities, a file that is not there. */
	c = get((struct cw_fetch_request){ .url = by_number, .tls = { .ca = certs_path(&certs, "ca.pem"), .verify = 1 } });
	assert_int_equal(c.rc, CW_EACCESS);
	assert_null(strstr(c.text, "verysecret"));
	assert_non_null(strstr(c.text, "127.0.0.1"));
	c = get((struct cw_fetch_request){ .url = good, .tls = { .ca = certs_path(&certs, "other.pem"), .verify = 1 } });
	assert_int_equal(c.rc, CW_EACCESS);
	assert_non_null(strstr(c.text, "certificate"));
	c = get((struct cw_fetch_request){ .url = good, .tls = { .verify = 1 } });
	assert_int_equal(c.rc, CW_EACCESS);
	c = get((struct cw_fetch_request){ .url = good, .tls = { .ca = "/nowhere/ca.pem", .verify = 1 } });
	assert_int_equal(c.rc, CW_EACCESS);
	assert_non_null(strstr(c.text, "/nowhere/ca.pem"));
	c = get((struct cw_fetch_request){ .url = by_number });
	assert_int_equal(c.rc, 0);
	assert_string_equal(c.body, "secure");
	/* Plain HTTP on the other side. */
	(void)snprintf(by_number, sizeof(by_number), "https://127.0.0.1:%d/", srv.port);
	srv.hold = 0;
	c = get((struct cw_fetch_request){ .url = by_number, .connect_timeout_ms = 200 });
	assert_true(c.rc == CW_EACCESS || c.rc == CW_ETIMEDOUT);
	cw_http_close(http, on_http_closed, &closed);
	WAIT(closed);
	free(pem);
	free(key);
	certs_fini(&certs);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_get_and_a_post_come_back_over_one_connection),
		TEST(a_redirect_is_an_answer_like_any_other),
		TEST(a_status_is_no_failure_but_other_bytes_are),
		TEST(an_ipv6_literal_works),
		TEST(failures_name_host_and_cause_and_no_secret),
		TEST(addresses_of_no_use_are_told_by_done),
		TEST(chunks_come_as_pieces_or_as_one),
		TEST(an_answer_longer_than_allowed_ends_the_call),
		TEST(who_says_nothing_is_given_up),
		TEST(a_handshake_that_never_ends_is_given_up),
		TEST(a_hundred_at_once_use_eight_connections),
		TEST(a_call_that_never_gets_a_connection_ends_in_time),
		TEST(a_cancelled_call_tells_nothing),
		TEST(calls_begin_inside_callbacks),
		TEST(the_pool_can_go_at_any_time),
		TEST(every_allocation_may_fail),
		TEST(the_server_is_checked_unless_told_otherwise),
	};

	setenv("http_proxy", "http://127.0.0.1:1", 1); /* of the environment; must not matter */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
