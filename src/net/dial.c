/*
 * dial.c - see dial.h. One connection on its worker: attempts, waits, and what becomes of its session.
 *
 * The session hangs on a port (inside.h) that has no listening socket. An attempt is either a poll on a socket that
 * connects, or a look-up in libuv's pool; both are blocks of their own, for libuv may keep them longer than the
 * connection wants to live.
 */
#include "net/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/retry.h"
#include "net/inside.h"

#define CONNECT_MS 10000u
#define RETRY_MIN_MS 1000u
#define RETRY_MAX_MS 60000u
#define ADDRESSES_MOST 16u
#define LOOKUPS_MOST 2      /* at a time in the process: libuv's pool has four threads, which others need */
#define LOOKUP_AGAIN_MS 50u
#define SAME_ERROR_MS 600000u /* so often the same failure is logged again */

struct attempt {
	uv_poll_t poll;
	struct cw_dial *dial;
	int fd;
};

struct lookup {
	uv_getaddrinfo_t req;
	struct cw_dial *dial; /* NULL: nobody waits for it any more */
};

struct cw_dial {
	struct cw_net_port port;
	struct cw_net_gate gate;
	struct cw_worker *home;
	struct cw_arena arena; /* texts of conf */
	struct cw_dial_conf conf;
	struct cw_net_target target;
	struct cw_retry retry;
	struct cw_timer timer; /* the next attempt, or the limit of this one */
	struct attempt *attempt;
	struct lookup *lookup;
	unsigned handles; /* polls that libuv still has */
	struct cw_addr addrs[ADDRESSES_MOST];
	size_t count, at;
	uint64_t up_ms;           /* 0: not up */
	uint64_t failed_log_ms;   /* when a failure was logged last; 0: not since it was up */
	char failed_log[240];     /* and which */
	char error[240];          /* of this attempt */
	uv_mutex_t lock;          /* of status */
	struct cw_dial_status status;
	void (*gone)(void *arg);
	void *gone_arg;
	struct cw_mail gone_mail;
	uint8_t stop_posted;
};

static _Atomic(int) lookups; /* under way */

static void on_due(struct cw_timer *t);
static void next_address(struct cw_dial *d);

static struct cw_dial *dial_of(struct cw_net_port *p)
{
	return cw_container_of(p, struct cw_dial, port);
}

/* ---- what others see -------------------------------------------------------------- */

static void set_state(struct cw_dial *d, enum cw_dial_state state)
{
	uv_mutex_lock(&d->lock);
	if (d->status.state != state || state == CW_DIAL_WAITING)
		d->status.since_ms = cw_clock_wall_ms();
	d->status.state = state;
	uv_mutex_unlock(&d->lock);
}

static void set_address(struct cw_dial *d, const char *text)
{
	size_t len = strlen(text), most = sizeof(d->status.address) - 1;

	uv_mutex_lock(&d->lock);
	/* Of a long path of a serial line the end: that is what tells lines apart. */
	(void)snprintf(d->status.address, sizeof(d->status.address), "%s", len > most ? text + len - most : text);
	uv_mutex_unlock(&d->lock);
}

static void set_error(struct cw_dial *d, const char *text)
{
	uv_mutex_lock(&d->lock);
	(void)snprintf(d->status.last_error, sizeof(d->status.last_error), "%s", text);
	uv_mutex_unlock(&d->lock);
}

void cw_dial_status(struct cw_dial *d, struct cw_dial_status *ret_status)
{
	uv_mutex_lock(&d->lock);
	*ret_status = d->status;
	uv_mutex_unlock(&d->lock);
}

const char *cw_dial_state_name(enum cw_dial_state state)
{
	static const char *const names[] = { "waiting", "looking up", "connecting", "up", "stopped" };

	return names[state];
}

/* ---- waiting ------------------------------------------------------------------------- */

static void try_later(struct cw_dial *d)
{
	uint64_t wait;

	if (d->port.stopped) {
		set_state(d, CW_DIAL_STOPPED);
		return;
	}
	wait = cw_retry_down(&d->retry, cw_worker_now(d->port.worker));
	set_state(d, CW_DIAL_WAITING);
	uv_mutex_lock(&d->lock);
	d->status.next_ms = cw_clock_wall_ms() + (int64_t)wait;
	uv_mutex_unlock(&d->lock);
	cw_timer_set(cw_worker_timers(d->port.worker), &d->timer, wait, on_due);
}

/* A device that is away for a week would fill the log: the same words come again after a while only. */
static void log_failed(struct cw_dial *d, const char *text)
{
	uint64_t now = cw_clock_ms();

	if (d->failed_log_ms != 0 && now - d->failed_log_ms < SAME_ERROR_MS && strcmp(text, d->failed_log) == 0)
		return;
	d->failed_log_ms = now == 0 ? 1 : now;
	(void)snprintf(d->failed_log, sizeof(d->failed_log), "%s", text);
	cw_log(net_connection_failed, "it is tried again", CW_LS("connection", d->conf.name), CW_LS("to", d->conf.to),
	       CW_LS("reason", text), CW_LU("attempts", d->status.attempts));
}

static void failed(struct cw_dial *d, const char *text)
{
	cw_count(net, dials_failed);
	set_error(d, text);
	if (!d->port.finishing)
		log_failed(d, text);
	try_later(d);
}

/* ---- one address ------------------------------------------------------------------------ */

static void set_option(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int make_socket(const struct cw_dial *d, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (d->conf.keep_alive_s > 0) {
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)d->conf.keep_alive_s);
		if (d->conf.keep_interval_s > 0)
			set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)d->conf.keep_interval_s);
		if (d->conf.keep_probes > 0)
			set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)d->conf.keep_probes);
	}
	return fd;
}

/* `192.0.2.7:502: connection refused`, for when no other address is left. */
static void note_address_error(struct cw_dial *d, const struct cw_addr *addr, const char *text)
{
	char address[CW_ADDR_TEXT];

	(void)snprintf(d->error, sizeof(d->error), "%s: %s", cw_addr_format(addr, address), text);
}

static void on_attempt_closed(uv_handle_t *h)
{
	struct attempt *a = h->data;
	struct cw_dial *d = a->dial;

	cw_free(a);
	d->handles--;
	d->port.dialler->step(&d->port);
}

/* The descriptor, which is the caller's from here on. */
static int end_attempt(struct cw_dial *d)
{
	struct attempt *a = d->attempt;
	int fd = a->fd;

	d->attempt = NULL;
	cw_timer_stop(cw_worker_timers(d->port.worker), &d->timer);
	uv_close((uv_handle_t *)&a->poll, on_attempt_closed); /* it does not look at the descriptor any more */
	return fd;
}

static void on_connect_timeout(struct cw_timer *t)
{
	struct cw_dial *d = cw_container_of(t, struct cw_dial, timer);

	close(end_attempt(d));
	note_address_error(d, &d->addrs[d->at - 1], "no answer within connectTimeout");
	next_address(d);
}

/* A socket that connects to a port of this machine where nobody listens can be given that very port, and meet itself. */
static int met_itself(int fd)
{
	struct sockaddr_storage a, b;
	struct cw_addr own, peer;
	socklen_t len = sizeof(a), len_b = sizeof(b);

	if (getsockname(fd, (struct sockaddr *)&a, &len) != 0 || getpeername(fd, (struct sockaddr *)&b, &len_b) != 0)
		return 0;
	cw_addr_from_sockaddr(&own, (struct sockaddr *)&a);
	cw_addr_from_sockaddr(&peer, (struct sockaddr *)&b);
	return own.port == peer.port && cw_addr_same_host(&own, &peer);
}

static void made(struct cw_dial *d, int fd, const struct cw_addr *peer)
{
	enum cw_net_count refused;

	if (cw_net_gate_enter(&d->gate, d->port.policy, &refused) < 0) {
		close(fd);
		failed(d, cw_net_refused_text(refused));
		return;
	}
	cw_net_session_dialled(&d->port, fd, peer);
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
	struct attempt *a = poll->data;
	struct cw_dial *d = a->dial;
	struct cw_addr *addr = &d->addrs[d->at - 1];
	int err = 0, fd = end_attempt(d);
	socklen_t len = sizeof(err);

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err == 0 && status < 0) /* libuv says EBADF to every POLLERR: the socket knows better, as a rule */
		err = -status;
	if (err == 0 && met_itself(fd))
		err = ECONNREFUSED;
	if (err == 0) {
		made(d, fd, addr);
		return;
	}
	close(fd);
	note_address_error(d, addr, uv_strerror(-err));
	next_address(d);
}

/* 0: under way. Else an errno. */
static int start_address(struct cw_dial *d, const struct cw_addr *addr)
{
	struct sockaddr_storage ss;
	socklen_t len = cw_addr_to_sockaddr(addr, &ss);
	struct attempt *a;
	int fd = make_socket(d, ss.ss_family), rc;

	if (fd < 0)
		return errno;
	if (connect(fd, (struct sockaddr *)&ss, len) != 0 && errno != EINPROGRESS) {
		rc = errno;
		close(fd);
		return rc;
	}
	a = cw_zalloc(sizeof(*a));
	if (a == NULL || uv_poll_init(cw_worker_loop(d->port.worker), &a->poll, fd) < 0) {
		cw_free(a);
		close(fd);
		return ENOMEM;
	}
	a->poll.data = a;
	a->dial = d;
	a->fd = fd;
	d->handles++;
	d->attempt = a;
	(void)uv_poll_start(&a->poll, UV_WRITABLE, on_connected);
	cw_timer_set(cw_worker_timers(d->port.worker), &d->timer, d->conf.connect_ms, on_connect_timeout);
	return 0;
}

static void next_address(struct cw_dial *d)
{
	char text[CW_ADDR_TEXT];
	int err;

	set_state(d, CW_DIAL_CONNECTING);
	while (d->at < d->count) {
		const struct cw_addr *addr = &d->addrs[d->at++];

		set_address(d, cw_addr_format(addr, text));
		err = start_address(d, addr);
		if (err == 0)
			return;
		note_address_error(d, addr, uv_strerror(-err));
	}
	failed(d, d->error);
}

/* ---- one attempt --------------------------------------------------------------------------- */

static void on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct lookup *l = cw_container_of(req, struct lookup, req);
	struct cw_dial *d = l->dial;
	struct addrinfo *ai;

	(void)atomic_fetch_sub(&lookups, 1);
	cw_free(l);
	if (d != NULL) {
		d->lookup = NULL;
		for (ai = list; ai != NULL && d->count < ADDRESSES_MOST; ai = ai->ai_next) {
			cw_addr_from_sockaddr(&d->addrs[d->count], ai->ai_addr);
			d->count += d->addrs[d->count].family != 0;
		}
		if (d->count == 0) {
			(void)snprintf(d->error, sizeof(d->error), "%.120s cannot be looked up: %s", d->target.host,
			               status < 0 ? uv_strerror(status) : "it has no address");
			failed(d, d->error);
		} else {
			next_address(d);
		}
	}
	uv_freeaddrinfo(list);
}

static void look_up(struct cw_dial *d)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct lookup *l;

	set_state(d, CW_DIAL_LOOKING_UP);
	if (atomic_fetch_add(&lookups, 1) >= LOOKUPS_MOST) {
		(void)atomic_fetch_sub(&lookups, 1);
		cw_timer_set(cw_worker_timers(d->port.worker), &d->timer, LOOKUP_AGAIN_MS, on_due);
		return;
	}
	l = cw_zalloc(sizeof(*l));
	if (l == NULL ||
	    uv_getaddrinfo(cw_worker_loop(d->port.worker), &l->req, on_looked_up, d->target.host, d->target.port, &hints) < 0) {
		cw_free(l);
		(void)atomic_fetch_sub(&lookups, 1);
		failed(d, "out of memory");
		return;
	}
	l->dial = d;
	d->lookup = l;
}

static void open_line(struct cw_dial *d)
{
	static const struct cw_addr none;
	struct cw_msg msg, warning;
	int fd;

	set_address(d, d->target.path);
	if (cw_serial_open(d->target.path, &d->conf.serial, &msg, &warning, &fd) < 0) {
		failed(d, msg.text);
		return;
	}
	if (warning.text[0] != '\0')
		cw_log(net_serial, warning.text, CW_LS("connection", d->conf.name));
	made(d, fd, &none);
}

static void on_due(struct cw_timer *t)
{
	struct cw_dial *d = cw_container_of(t, struct cw_dial, timer);

	if (d->status.state != CW_DIAL_LOOKING_UP) { /* else it only waited for its turn to look up */
		cw_count(net, dials);
		uv_mutex_lock(&d->lock);
		d->status.attempts++;
		uv_mutex_unlock(&d->lock);
	}
	d->count = d->at = 0;
	if (d->target.transport == CW_TRANSPORT_SERIAL) {
		open_line(d);
	} else if (d->target.numeric) {
		d->addrs[d->count++] = d->target.addr;
		next_address(d);
	} else {
		look_up(d);
	}
}

/* ---- its session ------------------------------------------------------------------------------ */

static void on_up(struct cw_net_port *p, const struct cw_session *s)
{
	struct cw_dial *d = dial_of(p);
	char peer[CW_ADDR_TEXT];

	d->up_ms = cw_worker_now(p->worker);
	d->up_ms += d->up_ms == 0;
	d->failed_log_ms = 0;
	cw_retry_up(&d->retry, d->up_ms);
	cw_gauge_add(net, dialled, 1);
	uv_mutex_lock(&d->lock);
	d->status.successes++;
	uv_mutex_unlock(&d->lock);
	set_state(d, CW_DIAL_UP);
	cw_log(net_connection_up, "", CW_LS("connection", d->conf.name), CW_LS("peer", cw_session_peer(s, peer)),
	       CW_LU("session", cw_session_id(s)), CW_LU("attempts", d->status.attempts));
}

static void on_ended(struct cw_net_port *p, const struct cw_session *s)
{
	struct cw_dial *d = dial_of(p);
	const char *reason = s == NULL ? "out of memory" : s->reason != NULL ? s->reason : cw_error_text(s->why);

	if (d->up_ms == 0) {
		failed(d, reason);
		return;
	}
	cw_gauge_add(net, dialled, -1);
	cw_count(net, dialled_lost);
	set_error(d, reason);
	if (!p->finishing)
		cw_log(net_connection_down, reason, CW_LS("connection", d->conf.name), CW_LS("to", d->conf.to),
		       CW_LU("upMs", cw_worker_now(p->worker) - d->up_ms));
	d->up_ms = 0;
	try_later(d);
}

/* ---- life ------------------------------------------------------------------------------------- */

static void free_dial(struct cw_dial *d)
{
	cw_net_policy_unref(d->port.policy);
	cw_net_gate_fini(&d->gate);
	uv_mutex_destroy(&d->lock);
	cw_arena_fini(&d->arena);
	cw_free(d);
}

static void on_gone(struct cw_mail *mail)
{
	struct cw_dial *d = cw_container_of(mail, struct cw_dial, gone_mail);
	void (*gone)(void *arg) = d->gone;
	void *arg = d->gone_arg;

	free_dial(d);
	gone(arg);
}

static void step(struct cw_net_port *p)
{
	struct cw_dial *d = dial_of(p);

	if (!p->finishing || p->done || p->session_count > 0 || d->handles > 0)
		return;
	p->done = 1;
	cw_map_fini(&p->sources);
	cw_post(d->home, &d->gone_mail, on_gone);
}

static const struct cw_net_dialler dialler = { .up = on_up, .ended = on_ended, .step = step };

static void stop_trying(struct cw_dial *d)
{
	if (d->port.stopped)
		return;
	d->port.stopped = 1;
	cw_timer_stop(cw_worker_timers(d->port.worker), &d->timer);
	if (d->attempt != NULL)
		close(end_attempt(d));
	if (d->lookup != NULL) {
		d->lookup->dial = NULL;
		(void)uv_cancel((uv_req_t *)&d->lookup->req);
		d->lookup = NULL;
	}
	if (d->port.session_count == 0)
		set_state(d, CW_DIAL_STOPPED);
}

static void on_open(struct cw_mail *mail)
{
	struct cw_dial *d = cw_container_of(cw_container_of(mail, struct cw_net_port, open_mail), struct cw_dial, port);

	on_due(&d->timer);
}

static void on_stop(struct cw_mail *mail)
{
	stop_trying(cw_container_of(cw_container_of(mail, struct cw_net_port, stop_mail), struct cw_dial, port));
}

static void on_close(struct cw_mail *mail)
{
	struct cw_net_port *p = cw_container_of(mail, struct cw_net_port, close_mail);
	struct cw_list *e, *next;

	stop_trying(dial_of(p));
	p->finishing = 1;
	cw_list_each_safe(e, next, &p->sessions) /* closing only marks and starts */
		cw_session_close(cw_container_of(e, struct cw_session, link), p->why, p->reason);
	step(p);
}

void cw_dial_stop(struct cw_dial *d)
{
	if (d->stop_posted)
		return;
	d->stop_posted = 1;
	cw_post(d->port.worker, &d->port.stop_mail, on_stop);
}

void cw_dial_close(struct cw_dial *d, int why, const char *reason, void (*gone)(void *arg), void *arg)
{
	d->gone = gone;
	d->gone_arg = arg;
	d->port.why = why;
	d->port.reason = reason;
	cw_post(d->port.worker, &d->port.close_mail, on_close);
}

const char *cw_dial_name(const struct cw_dial *d)
{
	return d->conf.name;
}

const char *cw_dial_to(const struct cw_dial *d)
{
	return d->conf.to;
}

/* ---- making ------------------------------------------------------------------------------------ */

/* Every text of a conf, for copying and comparing. */
#define TEXTS 8
static void texts_of(struct cw_dial_conf *c, const char **slots[TEXTS])
{
	const char **all[TEXTS] = { &c->name, &c->to, &c->tls.ca, &c->tls.certificate, &c->tls.key, &c->tls.key_store,
		                    &c->tls.key_password, &c->tls.server_name };

	memcpy(slots, all, sizeof(all));
}

static int keep_conf(struct cw_dial *d, const struct cw_dial_conf *conf)
{
	const char **slots[TEXTS];
	size_t i;

	d->conf = *conf;
	texts_of(&d->conf, slots);
	for (i = 0; i < TEXTS; i++) {
		if (*slots[i] == NULL)
			continue;
		*slots[i] = cw_arena_strndup(&d->arena, *slots[i], strlen(*slots[i]));
		if (*slots[i] == NULL)
			return CW_ENOMEM;
	}
	return 0;
}

static void fill_defaults(struct cw_dial_conf *c)
{
	c->connect_ms = c->connect_ms == 0 ? CONNECT_MS : c->connect_ms;
	c->retry_min_ms = c->retry_min_ms == 0 ? RETRY_MIN_MS : c->retry_min_ms;
	c->retry_max_ms = c->retry_max_ms == 0 ? RETRY_MAX_MS : c->retry_max_ms;
}

/* The policy that its sessions are made under. */
static int make_policy(const struct cw_dial_conf *conf, const struct cw_net_target *t, struct cw_msg *msg,
		       struct cw_net_policy **ret)
{
	struct cw_listener_conf l = {
		.name = conf->name,
		.transport = t->transport,
		.address = t->path != NULL ? t->path : conf->to,
		.limits = {
			.bytes_per_connection = conf->limits.bytes_per_connection,
			.identify_ms = conf->limits.identify_ms,
			.idle_ms = conf->limits.idle_ms,
		},
	};
	struct cw_tls_conf tls = {
		.certificate = conf->tls.certificate, .key = conf->tls.key, .ca = conf->tls.ca, .key_store = conf->tls.key_store,
		.key_password = conf->tls.key_password, .verify = conf->tls.no_verify ? CW_TLS_VERIFY_NONE : CW_TLS_VERIFY_REQUIRED,
	};

	return cw_net_policy_new(&l, &tls, 1, msg, ret);
}

static int check(const struct cw_dial_conf *conf, struct cw_net_target *t, struct cw_net_policy **ret_policy, struct cw_msg *msg)
{
	int rc = cw_net_target_parse(conf->to, t, msg);

	if (rc == 0 && t->transport == CW_TRANSPORT_SERIAL)
		rc = cw_serial_check(&conf->serial, msg);
	if (rc == 0)
		rc = make_policy(conf, t, msg, ret_policy);
	if (rc < 0 && msg != NULL)
		cw_msg_wrap(msg, "connection \"%s\"", conf->name);
	return rc;
}

int cw_dial_check(const struct cw_dial_conf *conf, struct cw_msg *msg)
{
	struct cw_net_policy *policy;
	struct cw_net_target t;
	int rc = check(conf, &t, &policy, msg);

	if (rc == 0)
		cw_net_policy_unref(policy);
	return rc;
}

unsigned cw_dial_worker(const char *name, unsigned count)
{
	return (unsigned)(cw_hash_stable(name, strlen(name)) % count);
}

int cw_dial_new(const struct cw_dial_conf *conf, const struct cw_listener_env *env, struct cw_msg *msg, struct cw_dial **ret_dial)
{
	struct cw_dial *d = cw_zalloc(sizeof(*d));
	uint64_t stable;
	int rc;

	if (d == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_arena_init(&d->arena, 0);
	cw_invariant(uv_mutex_init(&d->lock) == 0 && cw_net_gate_init(&d->gate) == 0);
	rc = keep_conf(d, conf) < 0 ? cw_fail(msg, CW_ENOMEM, "out of memory") : 0;
	if (rc == 0)
		rc = check(&d->conf, &d->target, &d->port.policy, msg);
	if (rc < 0) {
		free_dial(d);
		return rc;
	}
	fill_defaults(&d->conf);
	d->home = env->home;
	d->port.gate = &d->gate;
	d->port.ops = env->ops;
	d->port.arg = env->arg;
	d->port.worker = env->workers[cw_dial_worker(d->conf.name, env->count)];
	d->port.fd = d->port.reserve = -1;
	d->port.dialler = &dialler;
	d->port.server_name = d->conf.tls.server_name != NULL ? d->conf.tls.server_name : d->target.host;
	cw_list_init(&d->port.sessions);
	cw_map_init(&d->port.sources);
	cw_retry_init(&d->retry, d->conf.retry_min_ms, d->conf.retry_max_ms,
	              (uint32_t)(cw_hash_stable(d->conf.name, strlen(d->conf.name)) ^ cw_clock_ns()));
	stable = d->conf.retry_max_ms < CW_RETRY_STABLE_MS ? d->conf.retry_max_ms : CW_RETRY_STABLE_MS;
	d->retry.stable_ms = stable;
	d->status.since_ms = cw_clock_wall_ms();
	cw_post(d->port.worker, &d->port.open_mail, on_open);
	*ret_dial = d;
	return 0;
}

/* ---- reload -------------------------------------------------------------------------------------- */

static int same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int same(const struct cw_dial_conf *a, const struct cw_dial_conf *b)
{
	struct cw_dial_conf x = *a, y = *b;
	const struct cw_serial_conf *s = &a->serial, *t = &b->serial;
	const char **of_x[TEXTS], **of_y[TEXTS];
	size_t i;

	texts_of(&x, of_x);
	texts_of(&y, of_y);
	for (i = 0; i < TEXTS; i++)
		if (!same_text(*of_x[i], *of_y[i]))
			return 0;
	return a->tls.no_verify == b->tls.no_verify && a->connect_ms == b->connect_ms &&
	       a->retry_min_ms == b->retry_min_ms && a->retry_max_ms == b->retry_max_ms &&
	       a->keep_alive_s == b->keep_alive_s && a->keep_interval_s == b->keep_interval_s &&
	       a->keep_probes == b->keep_probes && a->limits.bytes_per_connection == b->limits.bytes_per_connection &&
	       a->limits.identify_ms == b->limits.identify_ms && a->limits.idle_ms == b->limits.idle_ms &&
	       s->baud == t->baud && s->parity == t->parity && s->stop_bits == t->stop_bits &&
	       s->data_bits == t->data_bits && s->rs485 == t->rs485 && s->rts_on_send == t->rts_on_send &&
	       s->before_ms == t->before_ms && s->after_ms == t->after_ms;
}

struct change {
	struct cw_mail mail;
	struct cw_net_port *port;
	struct cw_net_policy *policy; /* a reference, on its way to the port */
};

static void on_change(struct cw_mail *mail)
{
	struct change *c = cw_container_of(mail, struct change, mail);

	cw_net_policy_unref(c->port->policy);
	c->port->policy = c->policy;
	cw_free(c);
}

int cw_dial_update(struct cw_dial *d, const struct cw_dial_conf *conf, struct cw_msg *msg)
{
	struct cw_dial_conf full = *conf;
	struct cw_net_policy *policy;
	struct cw_net_target t;
	struct change *c;
	int rc;

	fill_defaults(&full);
	if (!same(&d->conf, &full))
		return cw_fail(msg, CW_EINVAL, "it changed: close it and make a new one");
	if (d->target.transport != CW_TRANSPORT_TLS)
		return 0;
	rc = check(&full, &t, &policy, msg);
	if (rc < 0)
		return rc;
	c = cw_zalloc(sizeof(*c));
	if (c == NULL) {
		cw_net_policy_unref(policy);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	c->port = &d->port;
	c->policy = policy;
	cw_post(d->port.worker, &c->mail, on_change);
	return 0;
}
