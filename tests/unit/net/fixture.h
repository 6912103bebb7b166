/*
 * fixture.h - workers with listeners on the one side, blocking sockets of the test
 * on the other. What happens on the workers is noted in `fx` under its lock; a test
 * waits for it with fx_wait(), never by sleeping, and gives up after ten seconds.
 */
#ifndef CW_TEST_NET_FIXTURE_H
#define CW_TEST_NET_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/worker.h"
#include "net/listener.h"
#include "net/session.h"

#define FX_WORKERS_MOST 4
#define FX_PATIENCE_S 10

/* What the owner keeps of a session. */
struct fx_ctx {
	struct cw_session *s;
	struct fx_ctx *next;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct cw_worker *workers[FX_WORKERS_MOST];
	unsigned count;
	/* What the test wants to happen; set before a session is made. */
	int refuse_open;
	void (*on_open)(struct cw_session *s); /* under the lock */
	void (*on_bytes)(struct cw_session *s, struct cw_bytes in); /* NULL: echo */
	/* What has happened; under the lock. */
	int opened, closed, writable, gone, steps;
	unsigned on_worker[FX_WORKERS_MOST];
	uint64_t bytes, last_id;
	size_t queued; /* when writable was called */
	int why;
	char reason[256], peer[CW_ADDR_TEXT], subject[256];
	struct fx_ctx *list; /* open sessions */
	struct cw_listener *listeners[8]; /* not closed yet: a test that fails half-way leaves them to its teardown */
} fx;

static inline void fx_changed(void)
{
	pthread_cond_broadcast(&fx.changed);
	pthread_mutex_unlock(&fx.lock);
}

static int fx_opened(struct cw_session *s, void *arg, void **ret_ctx)
{
	struct fx_ctx *ctx;

	assert_ptr_equal(arg, &fx);
	assert_true(cw_worker_here(cw_session_worker(s)));
	if (fx.refuse_open)
		return CW_EREFUSED;
	ctx = malloc(sizeof(*ctx));
	assert_non_null(ctx);
	ctx->s = s;
	pthread_mutex_lock(&fx.lock);
	ctx->next = fx.list;
	fx.list = ctx;
	fx.opened++;
	fx.on_worker[cw_worker_index(cw_session_worker(s))]++;
	fx.last_id = cw_session_id(s);
	(void)cw_session_peer(s, fx.peer);
	if (cw_session_client_subject(s, fx.subject, sizeof(fx.subject)) == NULL)
		fx.subject[0] = '\0';
	*ret_ctx = ctx;
	if (fx.on_open != NULL)
		fx.on_open(s);
	fx_changed();
	return 0;
}

static void fx_bytes(void *arg, struct cw_bytes in)
{
	struct fx_ctx *ctx = arg;

	if (fx.on_bytes != NULL)
		fx.on_bytes(ctx->s, in);
	else
		(void)cw_session_send(ctx->s, in);
	pthread_mutex_lock(&fx.lock);
	fx.bytes += in.len;
	fx_changed();
}

static void fx_writable(void *arg)
{
	struct fx_ctx *ctx = arg;

	pthread_mutex_lock(&fx.lock);
	fx.queued = cw_session_queued(ctx->s);
	fx.writable++;
	fx_changed();
}

static void fx_closed(void *arg, int why, const char *reason)
{
	struct fx_ctx *ctx = arg, **at;

	pthread_mutex_lock(&fx.lock);
	for (at = &fx.list; *at != ctx; at = &(*at)->next)
		;
	*at = ctx->next;
	fx.closed++;
	fx.why = why;
	(void)snprintf(fx.reason, sizeof(fx.reason), "%s", reason);
	fx_changed();
	free(ctx);
}

static const struct cw_session_ops fx_ops = { fx_opened, fx_bytes, fx_writable, fx_closed };

static struct timespec fx_deadline(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += FX_PATIENCE_S;
	return ts;
}


/* Wait until the condition over `fx` holds; 0 when patience ran out. */
#define fx_wait(cond)                                                                                       \
	do {                                                                                                \
		struct timespec fx_until = fx_deadline();                                                   \
		int fx_rc = 0;                                                                              \
		pthread_mutex_lock(&fx.lock);                                                               \
		while (!(cond) && fx_rc == 0)                                                               \
			fx_rc = pthread_cond_timedwait(&fx.changed, &fx.lock, &fx_until);                   \
		pthread_mutex_unlock(&fx.lock);                                                             \
		if (fx_rc != 0)                                                                             \
			fail_msg("waited in vain for: %s", #cond);                                          \
	} while (0)

/* Run fn(arg) on a worker and wait for it. */
struct fx_call {
	struct cw_mail mail;
	void (*fn)(void *arg);
	void *arg;
	int done;
};

static void fx_on_call(struct cw_mail *mail)
{
	struct fx_call *call = cw_container_of(mail, struct fx_call, mail);

	call->fn(call->arg);
	pthread_mutex_lock(&fx.lock);
	call->done = 1;
	fx_changed();
}

static inline void fx_on(struct cw_worker *w, void (*fn)(void *arg), void *arg)
{
	struct fx_call call = { .fn = fn, .arg = arg };

	cw_post(w, &call.mail, fx_on_call);
	fx_wait(call.done);
}

static void fx_nothing(void *arg)
{
	(void)arg;
}

/* Whatever was posted to the workers before is done when this returns. */
static inline void fx_settle(void)
{
	unsigned i;

	for (i = 0; i < fx.count; i++)
		fx_on(fx.workers[i], fx_nothing, NULL);
}

/* Run fn on the worker of the session opened last, or of the only one. */
static inline void fx_on_session(void (*fn)(void *session))
{
	struct cw_session *s;

	pthread_mutex_lock(&fx.lock);
	s = fx.list == NULL ? NULL : fx.list->s;
	pthread_mutex_unlock(&fx.lock);
	assert_non_null(s);
	fx_on(cw_session_worker(s), fn, s);
}

static inline int fx_start(unsigned workers)
{
	char name[24];
	unsigned i;

	signal(SIGPIPE, SIG_IGN);
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	memset(&fx, 0, sizeof(fx));
	pthread_mutex_init(&fx.lock, NULL);
	pthread_cond_init(&fx.changed, NULL);
	for (i = 0; i < workers; i++) {
		(void)snprintf(name, sizeof(name), "worker-%u", i);
		if (cw_worker_new(name, i, &fx.workers[i]) < 0 || cw_worker_start(fx.workers[i]) < 0)
			return -1;
		fx.count++;
	}
	return 0;
}

static inline int fx_setup(void **state)
{
	(void)state;
	return fx_start(2);
}

static inline struct cw_listener_env fx_env(void)
{
	return (struct cw_listener_env){ .home = fx.workers[0], .workers = fx.workers, .count = fx.count, .ops = &fx_ops, .arg = &fx };
}

static inline struct cw_listener_conf fx_conf(void)
{
	return (struct cw_listener_conf){ .name = "test", .transport = CW_TRANSPORT_TCP, .address = "127.0.0.1:0" };
}

/* On the first `workers` of the workers. */
static inline struct cw_listener *fx_listen_on(const struct cw_listener_conf *conf, unsigned workers)
{
	struct cw_listener_env env = fx_env();
	struct cw_listener *l = NULL;
	struct cw_msg msg = { "" };
	int i;

	env.count = workers;
	if (cw_listener_new(conf, &env, &msg, &l) < 0)
		fail_msg("%s", msg.text);
	assert_int_not_equal(cw_listener_address(l)->port, 0);
	for (i = 0; fx.listeners[i] != NULL; i++)
		;
	fx.listeners[i] = l;
	return l;
}

static inline struct cw_listener *fx_listen(const struct cw_listener_conf *conf)
{
	return fx_listen_on(conf, fx.count);
}

static void fx_on_gone(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&fx.lock);
	fx.gone++;
	fx_changed();
}

static inline void fx_close(struct cw_listener *l)
{
	int before = fx.gone, i;

	for (i = 0; i < 8; i++)
		if (fx.listeners[i] == l)
			fx.listeners[i] = NULL;
	cw_listener_close(l, CW_ECLOSED, "the test is over", fx_on_gone, NULL);
	fx_wait(fx.gone == before + 1);
}

/* All of it is gone when this returns: no handle, no byte. */
static inline int fx_stop(void)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		if (fx.listeners[i] != NULL)
			fx_close(fx.listeners[i]);
	for (i = 0; i < fx.count; i++)
		cw_worker_stop(fx.workers[i], NULL, NULL);
	for (i = 0; i < fx.count; i++) {
		cw_worker_join(fx.workers[i]);
		cw_worker_free(fx.workers[i]);
	}
	if (fx.opened != fx.closed || fx.list != NULL) {
		print_message("sessions: %d opened, %d closed\n", fx.opened, fx.closed);
		return -1;
	}
	if (cw_mem_live() != 0) {
		print_message("%ld blocks were not freed\n", cw_mem_live());
		return -1;
	}
	return 0;
}

static inline int fx_teardown(void **state)
{
	(void)state;
	return fx_stop();
}

/* ---- the other side -------------------------------------------------------------- */

static inline void fx_be_patient(int fd)
{
	struct timeval patience = { FX_PATIENCE_S, 0 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static inline int fx_socket(int type, const char *from, const struct cw_addr *to)
{
	struct sockaddr_storage ss;
	socklen_t len = cw_addr_to_sockaddr(to, &ss);
	int fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	fx_be_patient(fd);
	if (from != NULL) {
		struct sockaddr_in in = { .sin_family = AF_INET };

		assert_int_equal(inet_pton(AF_INET, from, &in.sin_addr), 1);
		assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	}
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

static inline int fx_connect(struct cw_listener *l)
{
	return fx_socket(SOCK_STREAM, NULL, cw_listener_address(l));
}

static inline void fx_send(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Exactly these bytes come. */
static inline void fx_expect(int fd, const void *data, size_t len)
{
	uint8_t got[4096];

	assert_true(len <= sizeof(got));
	assert_int_equal(recv(fd, got, len, MSG_WAITALL), (ssize_t)len);
	assert_memory_equal(got, data, len);
}

/* The other side ends the connection: in order, or with a reset. Returns bytes that came before. */
static inline size_t fx_expect_end(int fd)
{
	uint8_t got[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, got, sizeof(got), 0)) > 0)
		total += (size_t)n;
	if (n < 0 && errno != ECONNRESET)
		fail_msg("the connection was not ended: %s", strerror(errno));
	close(fd);
	return total;
}

/* The other side ends the connection in order, not with a reset, after `len` bytes at least. Returns how many. */
static inline size_t fx_expect_orderly_end(int fd, size_t len)
{
	uint8_t got[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, got, sizeof(got), 0)) > 0)
		total += (size_t)n;
	assert_int_equal(n, 0);
	assert_true(total >= len);
	close(fd);
	return total;
}

static inline void fx_echo(int fd, const char *text)
{
	fx_send(fd, text, strlen(text));
	fx_expect(fd, text, strlen(text));
}

static inline struct cw_listener_counts fx_counts(const struct cw_listener *l)
{
	struct cw_listener_counts c;

	cw_listener_counts(l, &c);
	return c;
}

static inline int fx_has_ipv6(void)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM, 0), ok;

	if (fd < 0)
		return 0;
	ok = bind(fd, (struct sockaddr *)&in6, sizeof(in6)) == 0;
	close(fd);
	return ok;
}

#endif
