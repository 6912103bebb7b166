/*
 * session.c - the life of one device connection; states in inside.h, promises in session.h.
 *
 * A normal run over TLS behind a proxy: the port accepts, start() reads, the PROXY
 * header names the source, the gate lets it in, the handshake is done, opened() is
 * called, bytes flow, the peer closes, what is kept is written, libuv closes, gone().
 * Every other end is one of the named reasons here; all of them lead to gone().
 */
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/inside.h"
#include "net/serial.h"

#define SETUP_MS 10000u /* for PROXY header and handshake, unless identifyTime is shorter */
#define FLUSH_MS 5000u  /* for the last write */
#define LINGER_MS 500u  /* for a peer that is still sending to take it */
#define REASON_MOST 200u
#define DISCARD_MOST (256u * 1024u)

/* Which states may follow which; anything else is our bug. */
static const uint8_t next_states[] = {
	[CW_NET_PROXY] = 1u << CW_NET_SHAKING | 1u << CW_NET_OPEN | 1u << CW_NET_FLUSHING | 1u << CW_NET_CLOSED,
	[CW_NET_SHAKING] = 1u << CW_NET_OPEN | 1u << CW_NET_FLUSHING | 1u << CW_NET_CLOSED,
	[CW_NET_OPEN] = 1u << CW_NET_FLUSHING | 1u << CW_NET_CLOSED,
	[CW_NET_FLUSHING] = 1u << CW_NET_CLOSED,
	[CW_NET_CLOSED] = 0,
};

static _Thread_local char read_buffer[CW_NET_READ_SIZE];

static void on_deadline(struct cw_timer *t);
static int on_plain(void *arg, struct cw_bytes plain);
static int on_cipher(void *arg, struct cw_bytes cipher);

static const struct cw_tls_ops tls_ops = { .out = on_cipher, .plain = on_plain };

uv_buf_t cw_net_read_buffer(void)
{
	return uv_buf_init(read_buffer, sizeof(read_buffer));
}

static void enter(struct cw_session *s, enum cw_net_state state)
{
	cw_invariant(next_states[s->state] & 1u << state);
	s->state = (uint8_t)state;
}

static uint64_t make_id(struct cw_worker *w)
{
	static _Atomic(uint64_t) last;

	return (uint64_t)cw_worker_index(w) << 48 | (atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1);
}

/* ---- deadlines ----------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Loop time of the next deadline of a session that is not closing; 0: none. */
static uint64_t next_due(const struct cw_session *s)
{
	const struct cw_listener_limits *lim = &s->policy->conf.limits;
	uint64_t identify = lim->identify_ms != 0 && !(s->flags & CW_NET_IDENTIFIED) ? s->accepted_ms + lim->identify_ms : 0;

	if (s->state < CW_NET_OPEN)
		return earlier(s->accepted_ms + SETUP_MS, identify);
	return earlier(identify, lim->idle_ms != 0 ? s->seen_ms + lim->idle_ms : 0);
}

static void arm(struct cw_session *s)
{
	uint64_t due = next_due(s), now = cw_worker_now(s->port->worker);

	if (due == 0)
		cw_timer_stop(cw_worker_timers(s->port->worker), &s->timer);
	else
		cw_timer_set(cw_worker_timers(s->port->worker), &s->timer, due > now ? due - now : 0, on_deadline);
}

static void on_deadline(struct cw_timer *t)
{
	struct cw_session *s = cw_container_of(t, struct cw_session, timer);
	const struct cw_listener_limits *lim = &s->policy->conf.limits;
	uint64_t now = cw_worker_now(s->port->worker);

	if (s->state == CW_NET_FLUSHING) {
		cw_session_abort(s, 0, NULL);
		return;
	}
	if (s->flags & CW_NET_PAUSED) /* we do not read: that the device is silent is our doing */
		s->seen_ms = now;
	if (next_due(s) == 0 || next_due(s) > now) {
		arm(s);
	} else if (s->state == CW_NET_PROXY) {
		cw_net_count(s->port->gate, proxy_bad);
		cw_session_abort(s, CW_ETIMEDOUT, "no PROXY header in time");
	} else if (s->state == CW_NET_SHAKING) {
		cw_net_count(s->port->gate, tls_failed);
		cw_session_abort(s, CW_ETIMEDOUT, "no TLS handshake in time");
	} else if (!(s->flags & CW_NET_IDENTIFIED) && lim->identify_ms != 0 && s->accepted_ms + lim->identify_ms <= now) {
		cw_net_count(s->port->gate, closed_identify);
		cw_session_close(s, CW_ETIMEDOUT, "not identified within identifyTime");
	} else {
		cw_net_count(s->port->gate, closed_idle);
		cw_session_close(s, CW_ETIMEDOUT, "no valid frame within idleTime");
	}
}

/* ---- the end ------------------------------------------------------------------- */

static void note_reason(struct cw_session *s, int why, const char *reason)
{
	if (s->reason != NULL || reason == NULL)
		return;
	s->why = why;
	s->reason = cw_strndup(reason, strnlen(reason, REASON_MOST)); /* without memory the error's own text has to do */
}

static void log_closed(const struct cw_session *s)
{
	char peer[CW_ADDR_TEXT];

	if (cw_log_enabled(CW_LOG_ID_net_closed))
		cw_log(net_closed, s->reason != NULL ? s->reason : cw_error_text(s->why), CW_LS("listener", s->policy->conf.name),
		       CW_LS("peer", cw_session_peer(s, peer)), CW_LU("session", s->id));
}

void cw_net_session_on_gone(struct cw_closing *c)
{
	struct cw_session *s = cw_container_of(c, struct cw_session, closing);
	struct cw_net_port *port = s->port;

	if (s->transport == CW_TRANSPORT_UDP)
		cw_net_udp_unlist(s);
	log_closed(s);
	cw_net_write_free(s);
	cw_tls_free(s->tls);
	cw_free(s->head);
	if (s->flags & CW_NET_SOURCE_COUNTED)
		cw_net_gate_source_leave(port->gate, &s->source);
	cw_net_gate_leave(port->gate, s->policy);
	cw_count(net, closed);
	cw_gauge_add(net, connections, -1);
	cw_list_remove(&s->link);
	port->session_count--;
	if (s->flags & CW_NET_HAS_CTX)
		port->ops->closed(s->ctx, s->why, s->reason != NULL ? s->reason : cw_error_text(s->why));
	if (port->dialler != NULL)
		port->dialler->ended(port, s);
	cw_free(s->reason);
	cw_net_policy_unref(s->policy);
	cw_free(s);
	cw_net_port_step(port);
}

static void on_udp_gone(struct cw_mail *mail)
{
	struct cw_session *s = cw_container_of(mail, struct cw_session, u.udp.gone);

	if (--s->closing.open == 0)
		cw_net_session_on_gone(&s->closing);
}

/*
 * Bytes that arrived and were not read make close() send a reset, which can destroy
 * our last answer on its way. MSG_TRUNC drops them without touching the read
 * buffer, which may be lent to the caller right now.
 */
static size_t discard_input(struct cw_session *s)
{
	uv_os_fd_t fd;
	ssize_t n, total = 0;

	if (uv_fileno((uv_handle_t *)&s->u.stream, &fd) < 0)
		return 0;
	do {
		n = recv(fd, NULL, CW_NET_READ_SIZE, MSG_DONTWAIT | MSG_TRUNC);
		total += n > 0 ? n : 0;
	} while (n > 0 && total < (ssize_t)DISCARD_MOST);
	return (size_t)total;
}

/*
 * All is written, but the peer has not stopped: bytes that arrive after close() would send the same reset. So our side
 * is shut, and what comes is read and dropped until the peer ends, for a moment at most.
 */
static int linger(struct cw_session *s)
{
	uv_os_fd_t fd;

	if (!(s->flags & CW_NET_PEER_BUSY) || s->flags & CW_NET_LINGERING || !uv_is_readable(&s->u.stream) ||
	    uv_fileno((uv_handle_t *)&s->u.stream, &fd) < 0 || shutdown(fd, SHUT_WR) != 0)
		return 0;
	s->flags |= CW_NET_LINGERING;
	cw_timer_set(cw_worker_timers(s->port->worker), &s->timer, LINGER_MS, on_deadline);
	return 1;
}

static void release_line(struct cw_session *s)
{
	uv_os_fd_t fd;

	if (s->transport == CW_TRANSPORT_SERIAL && uv_fileno((uv_handle_t *)&s->u.stream, &fd) == 0)
		cw_serial_release(fd);
}

static void finish(struct cw_session *s)
{
	enter(s, CW_NET_CLOSED);
	cw_timer_stop(cw_worker_timers(s->port->worker), &s->timer);
	if (s->transport == CW_TRANSPORT_UDP) {
		cw_net_udp_unlist(s);
		cw_post(s->port->worker, &s->u.udp.gone, on_udp_gone);
	} else {
		release_line(s);
		cw_closing_close((uv_handle_t *)&s->u.stream);
	}
}

void cw_net_session_flushed(struct cw_session *s)
{
	if (s->transport == CW_TRANSPORT_UDP ? s->closing.open > 1 : s->first != NULL)
		return;
	if (s->transport == CW_TRANSPORT_TCP || s->transport == CW_TRANSPORT_TLS) {
		if (discard_input(s) > 0)
			s->flags |= CW_NET_PEER_BUSY;
		if (linger(s))
			return;
	}
	finish(s);
}

void cw_session_abort(struct cw_session *s, int why, const char *reason)
{
	if (s->state == CW_NET_CLOSED)
		return;
	note_reason(s, why, reason);
	finish(s);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	(void)handle;
	(void)size;
	*buf = cw_net_read_buffer();
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

void cw_session_close(struct cw_session *s, int why, const char *reason)
{
	if (s->state >= CW_NET_FLUSHING)
		return;
	note_reason(s, why, reason);
	if (s->tls != NULL && s->state == CW_NET_OPEN)
		cw_tls_goodbye(s->tls);
	if (s->transport != CW_TRANSPORT_UDP)
		(void)cw_net_collect_flush(s);
	if (s->state == CW_NET_CLOSED) /* that write failed */
		return;
	enter(s, CW_NET_FLUSHING);
	cw_timer_set(cw_worker_timers(s->port->worker), &s->timer, FLUSH_MS, on_deadline);
	if (s->transport == CW_TRANSPORT_UDP)
		cw_net_udp_unlist(s); /* a datagram from there begins a new session */
	else if (s->flags & CW_NET_PAUSED)
		(void)uv_read_start(&s->u.stream, on_alloc, on_read); /* to drop what comes, and to see the end */
	cw_net_session_flushed(s);
}

/* ---- the way in ---------------------------------------------------------------- */

static void open_session(struct cw_session *s)
{
	void *ctx = NULL;
	int rc;

	enter(s, CW_NET_OPEN);
	s->seen_ms = cw_worker_now(s->port->worker);
	arm(s);
	rc = s->port->ops->opened(s, s->port->arg, &ctx);
	if (rc < 0) {
		cw_session_close(s, rc, "refused when opened");
		return;
	}
	s->ctx = ctx;
	s->flags |= CW_NET_HAS_CTX;
	if (s->port->dialler != NULL)
		s->port->dialler->up(s->port, s);
}

void cw_net_session_deliver(struct cw_session *s, struct cw_bytes in)
{
	if (s->state == CW_NET_OPEN && s->flags & CW_NET_HAS_CTX)
		s->port->ops->bytes(s->ctx, in);
}

/* Ends a session that has no context yet: there is nobody else to say it to. */
static void refuse(struct cw_session *s, enum cw_net_count what)
{
	cw_net_refused(s->port, &s->source, what);
	cw_session_abort(s, CW_EREFUSED, cw_net_refused_text(what));
}

static void proxy_bad(struct cw_session *s)
{
	char peer[CW_ADDR_TEXT];

	cw_net_count(s->port->gate, proxy_bad);
	cw_log(net_proxy_bad, "closed", CW_LS("listener", s->policy->conf.name), CW_LS("peer", cw_session_peer(s, peer)));
	cw_session_abort(s, CW_EPROTO, "no PROXY header");
}

static void tls_failed(struct cw_session *s, int rc)
{
	const char *reason = cw_tls_reason(s->tls);
	char peer[CW_ADDR_TEXT];

	if (s->state == CW_NET_SHAKING) {
		cw_net_count(s->port->gate, tls_failed);
		if (s->direction == CW_DIRECTION_ACCEPTED) /* a dialler tells its failures itself, once each */
			cw_log(net_tls_failed, "closed", CW_LS("listener", s->policy->conf.name),
			       CW_LS("peer", cw_session_peer(s, peer)), CW_LS("reason", reason));
	}
	if (rc == CW_ECLOSED)
		cw_session_close(s, rc, "closed by the peer");
	else
		cw_session_close(s, rc, reason); /* with a close, not an abort: the alert should reach the peer */
}

/* The source is known: lists and the limit per source. 0, or refused and ended. */
static int pass_source(struct cw_session *s, int listed)
{
	enum cw_net_count refused;
	int rc;

	if (listed && cw_net_gate_lists(s->policy, &s->source, &refused) < 0) {
		refuse(s, refused);
		return CW_EREFUSED;
	}
	rc = cw_net_gate_source(s->port->gate, s->policy, &s->source);
	if (rc < 0) {
		refuse(s, CW_NET_COUNT_refused_source);
		return rc;
	}
	if (rc > 0)
		s->flags |= CW_NET_SOURCE_COUNTED;
	cw_net_count(s->port->gate, accepted);
	return 0;
}

/* Behind the PROXY header, or right after accept. */
static void begin(struct cw_session *s)
{
	int rc;

	if (s->transport != CW_TRANSPORT_TLS) {
		open_session(s);
		return;
	}
	if (s->state != CW_NET_SHAKING)
		enter(s, CW_NET_SHAKING);
	arm(s);
	if (cw_tls_new(s->policy->tls[s->port->index], s->port->server_name, &tls_ops, s, &s->tls) < 0)
		cw_session_abort(s, CW_ENOMEM, "out of memory");
	else if (s->direction == CW_DIRECTION_DIALLED && (rc = cw_tls_start(s->tls)) < 0 && s->state == CW_NET_SHAKING)
		tls_failed(s, rc);
}

static int on_cipher(void *arg, struct cw_bytes cipher)
{
	return cw_net_write(arg, cipher);
}

static int on_plain(void *arg, struct cw_bytes plain)
{
	struct cw_session *s = arg;

	if (s->state == CW_NET_SHAKING) /* the first bytes came along with the end of the handshake */
		open_session(s);
	cw_net_session_deliver(s, plain);
	return s->state == CW_NET_OPEN ? 0 : CW_ECLOSED;
}

static void take_tls(struct cw_session *s, struct cw_bytes in)
{
	int rc = cw_tls_feed(s->tls, in);

	if (s->state >= CW_NET_FLUSHING)
		return;
	if (rc < 0)
		tls_failed(s, rc);
	else if (s->state == CW_NET_SHAKING && cw_tls_up(s->tls))
		open_session(s);
}

static void take_bytes(struct cw_session *s, struct cw_bytes in)
{
	if (s->state == CW_NET_SHAKING || (s->state == CW_NET_OPEN && s->tls != NULL))
		take_tls(s, in);
	else
		cw_net_session_deliver(s, in);
}

/* Keep the start of a header until the rest comes. */
static int keep_head(struct cw_session *s, struct cw_bytes in)
{
	size_t had = s->head == NULL ? 0 : s->head->len;
	struct cw_net_partial *head;

	if (had + in.len > CW_PROXY_MOST + CW_NET_READ_SIZE)
		return CW_EPROTO;
	head = cw_realloc(s->head, sizeof(*head) + had + in.len);
	if (head == NULL)
		return CW_ENOMEM;
	s->head = head;
	memcpy(head->data + had, in.ptr, in.len);
	head->len = (uint32_t)(had + in.len);
	return 0;
}

static void take_proxy(struct cw_session *s, struct cw_bytes in)
{
	struct cw_net_partial *head = NULL;
	struct cw_proxy proxy = { 0 };
	int n;

	if (s->head != NULL) {
		if (keep_head(s, in) < 0)
			goto bad;
		in = cw_bytes_of(s->head->data, s->head->len);
	}
	n = cw_proxy_parse(in, &proxy);
	if (n == 0 && (s->head != NULL || keep_head(s, in) == 0))
		return;
	if (n <= 0)
		goto bad;
	head = s->head; /* `in` may point into it */
	s->head = NULL;
	if (proxy.known)
		s->source = proxy.source;
	if (pass_source(s, proxy.known) == 0)
		begin(s);
	in = cw_bytes_of(in.ptr + n, in.len - (size_t)n);
	if (in.len > 0 && s->state < CW_NET_FLUSHING)
		take_bytes(s, in);
	cw_free(head);
	return;
bad:
	proxy_bad(s);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct cw_session *s = cw_container_of(stream->data, struct cw_session, closing);
	struct cw_bytes in;

	if (nread == 0 || s->state == CW_NET_CLOSED)
		return;
	if (nread == UV_EOF) {
		if (s->state == CW_NET_PROXY && s->head != NULL)
			cw_net_count(s->port->gate, proxy_bad);
		else if (s->state == CW_NET_SHAKING)
			cw_net_count(s->port->gate, tls_failed);
		if (s->flags & CW_NET_LINGERING)
			cw_session_abort(s, 0, NULL);
		else
			cw_session_close(s, CW_ECLOSED, "closed by the peer");
		return;
	}
	if (nread < 0) {
		cw_session_abort(s, cw_err_from_uv((int)nread), uv_strerror((int)nread));
		return;
	}
	if (s->state == CW_NET_FLUSHING) {
		s->flags |= CW_NET_PEER_BUSY;
		return;
	}
	cw_count_n(net, bytes_in, nread);
	in = cw_bytes_of(buf->base, (size_t)nread);
	cw_net_collect(s);
	if (s->state == CW_NET_PROXY)
		take_proxy(s, in);
	else
		take_bytes(s, in);
	cw_net_collect_end(s);
}

/* ---- making one ---------------------------------------------------------------- */

static struct cw_session *make_session(struct cw_net_port *p, const struct cw_addr *source)
{
	struct cw_session *s = cw_zalloc(sizeof(*s));

	if (s == NULL)
		return NULL;
	s->port = p;
	s->policy = cw_net_policy_ref(p->policy);
	s->transport = (uint8_t)p->policy->conf.transport;
	s->direction = p->dialler != NULL ? CW_DIRECTION_DIALLED : CW_DIRECTION_ACCEPTED;
	s->id = make_id(p->worker);
	s->source = *source;
	s->accepted_ms = s->seen_ms = cw_worker_now(p->worker);
	cw_closing_init(&s->closing, cw_net_session_on_gone);
	cw_list_push_back(&p->sessions, &s->link);
	p->session_count++;
	cw_gauge_add(net, connections, 1);
	return s;
}

/* The handle is open from here on, so every end goes through finish(). */
static void start(struct cw_session *s, int proxied)
{
	s->state = proxied ? CW_NET_PROXY : s->transport == CW_TRANSPORT_TLS ? CW_NET_SHAKING : CW_NET_PROXY;
	if (!proxied && pass_source(s, 0) < 0)
		return;
	if (proxied)
		arm(s);
	else
		begin(s);
	if (s->state < CW_NET_FLUSHING && !(s->flags & CW_NET_PAUSED))
		(void)uv_read_start(&s->u.stream, on_alloc, on_read);
}

void cw_net_session_accept(struct cw_net_port *p, int fd, const struct cw_addr *peer)
{
	enum cw_net_count refused = CW_NET_COUNT_accept_failed;
	int proxied = cw_cidrs_match(&p->policy->proxy_from, peer);
	struct cw_session *s;

	if (!proxied && cw_net_gate_lists(p->policy, peer, &refused) < 0)
		goto err_fd;
	if (cw_net_gate_enter(p->gate, p->policy, &refused) < 0)
		goto err_fd;
	s = make_session(p, peer);
	if (s == NULL) {
		cw_net_gate_leave(p->gate, p->policy);
		refused = CW_NET_COUNT_accept_failed;
		goto err_fd;
	}
	cw_invariant(uv_tcp_init(cw_worker_loop(p->worker), &s->u.tcp) == 0); /* without a family it opens nothing */
	cw_closing_add(&s->closing, (uv_handle_t *)&s->u.stream);
	if (uv_tcp_open(&s->u.tcp, fd) < 0) {
		close(fd);
		cw_net_count(p->gate, accept_failed);
		cw_session_abort(s, CW_EIO, "the socket cannot be used");
		return;
	}
	start(s, proxied);
	return;
err_fd:
	cw_net_refused(p, peer, refused);
	close(fd);
}

void cw_net_session_dialled(struct cw_net_port *p, int fd, const struct cw_addr *peer)
{
	struct cw_session *s = make_session(p, peer);
	int serial = p->policy->conf.transport == CW_TRANSPORT_SERIAL, rc;

	if (s == NULL) {
		cw_net_gate_leave(p->gate, p->policy);
		close(fd);
		p->dialler->ended(p, NULL);
		return;
	}
	rc = serial ? uv_pipe_init(cw_worker_loop(p->worker), &s->u.pipe, 0) : uv_tcp_init(cw_worker_loop(p->worker), &s->u.tcp);
	cw_invariant(rc == 0); /* nothing is opened yet */
	cw_closing_add(&s->closing, (uv_handle_t *)&s->u.stream);
	rc = serial ? uv_pipe_open(&s->u.pipe, fd) : uv_tcp_open(&s->u.tcp, fd);
	if (rc < 0) {
		close(fd);
		cw_session_abort(s, CW_EIO, "the descriptor cannot be used");
		return;
	}
	s->state = s->transport == CW_TRANSPORT_TLS ? CW_NET_SHAKING : CW_NET_PROXY; /* as if the header had come */
	begin(s);
	if (s->state < CW_NET_FLUSHING && !(s->flags & CW_NET_PAUSED))
		(void)uv_read_start(&s->u.stream, on_alloc, on_read);
}

struct cw_session *cw_net_session_udp(struct cw_net_port *p, const struct cw_addr *to, const struct cw_addr *source,
                                      int source_counted)
{
	struct cw_session *s = make_session(p, source);

	if (s == NULL) {
		if (source_counted)
			cw_net_gate_source_leave(p->gate, source);
		cw_net_gate_leave(p->gate, p->policy);
		return NULL;
	}
	s->u.udp.to = *to;
	s->closing.open = 1;
	if (source_counted)
		s->flags |= CW_NET_SOURCE_COUNTED;
	if (cw_map_add(&p->sources, &s->u.udp.node, &s->u.udp.to, sizeof(s->u.udp.to)) < 0) {
		cw_session_abort(s, CW_ENOMEM, "out of memory");
		return NULL;
	}
	s->flags |= CW_NET_LISTED;
	cw_net_count(p->gate, accepted);
	open_session(s);
	return s->state == CW_NET_OPEN ? s : NULL;
}

/* ---- for the owner ------------------------------------------------------------- */

int cw_session_send(struct cw_session *s, struct cw_bytes out)
{
	int rc;

	cw_invariant(cw_worker_here(s->port->worker));
	if (s->state != CW_NET_OPEN)
		return CW_ECLOSED;
	if (s->transport == CW_TRANSPORT_UDP)
		return cw_net_write_datagram(s, out);
	if (s->tls == NULL)
		return cw_net_write(s, out);
	rc = cw_tls_send(s->tls, out);
	if (rc < 0 && s->state == CW_NET_OPEN)
		cw_session_abort(s, rc, cw_tls_reason(s->tls));
	return rc;
}

size_t cw_session_queued(const struct cw_session *s)
{
	return s->queued;
}

void cw_session_pause(struct cw_session *s)
{
	if (s->flags & CW_NET_PAUSED || s->state >= CW_NET_FLUSHING)
		return;
	s->flags |= CW_NET_PAUSED;
	cw_count(net, paused);
	if (s->transport != CW_TRANSPORT_UDP)
		(void)uv_read_stop(&s->u.stream);
}

void cw_session_resume(struct cw_session *s)
{
	if (!(s->flags & CW_NET_PAUSED) || s->state >= CW_NET_FLUSHING)
		return;
	s->flags &= (uint8_t)~CW_NET_PAUSED;
	s->seen_ms = cw_worker_now(s->port->worker);
	if (s->transport != CW_TRANSPORT_UDP)
		(void)uv_read_start(&s->u.stream, on_alloc, on_read);
}

int cw_session_paused(const struct cw_session *s)
{
	return (s->flags & CW_NET_PAUSED) != 0;
}

void cw_session_identified(struct cw_session *s)
{
	if (s->flags & CW_NET_IDENTIFIED)
		return;
	s->flags |= CW_NET_IDENTIFIED;
	cw_session_touch(s); /* the timer is left to run out and finds idleTime instead */
}

void cw_session_touch(struct cw_session *s)
{
	s->seen_ms = cw_worker_now(s->port->worker);
}

uint64_t cw_session_id(const struct cw_session *s)
{
	return s->id;
}

struct cw_worker *cw_session_worker(const struct cw_session *s)
{
	return s->port->worker;
}

const struct cw_listener_conf *cw_session_conf(const struct cw_session *s)
{
	return &s->policy->conf;
}

enum cw_transport cw_session_transport(const struct cw_session *s)
{
	return (enum cw_transport)s->transport;
}

enum cw_direction cw_session_direction(const struct cw_session *s)
{
	return (enum cw_direction)s->direction;
}

const char *cw_session_peer(const struct cw_session *s, char out[CW_ADDR_TEXT])
{
	const char *path = s->policy->conf.address;
	size_t len = strlen(path);

	if (s->transport == CW_TRANSPORT_SERIAL)
		return memcpy(out, len < CW_ADDR_TEXT ? path : path + (len - CW_ADDR_TEXT + 1), len < CW_ADDR_TEXT ? len + 1 : CW_ADDR_TEXT);
	return cw_addr_format(&s->source, out);
}

const char *cw_session_client_subject(const struct cw_session *s, char *out, size_t size)
{
	return s->tls == NULL ? NULL : cw_tls_peer_subject(s->tls, out, size);
}
