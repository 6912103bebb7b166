/*
 * open.c - the life of a bridge: open, start or drive, close.
 *
 * close, on the loop: nobody new, whoever is not online yet never will be -> lanes drain, devices log
 * out, upstreams stop, and what is left is settled -> owners let go -> the loop ends. Then the
 * closing thread frees everything: until that moment every callback may still use the handle.
 */
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "libcauseway/lib.h"

#define TIMEOUT_MOST_MS 1000
/* Of one step: what one pass adds to the loop another one hands to the kernel. */
#define PASSES 3

/* ---- open ------------------------------------------------------------------------------ */

static atomic_int log_was_set;

void cw_bridge_log(int level, int json, int fd)
{
	atomic_store(&log_was_set, 1);
	cw_log_setup((enum cw_log_level)(level < 0                  ? 0
					 : level > CW_LOG_ERROR + 1 ? CW_LOG_ERROR + 1
								    : level),
		     json != 0, fd);
}

static void free_lib(struct lib *l)
{
	if (l == NULL)
		return;
	cw_bridge_free(l->bridge);
	cw_bridges_free(l->bridges);
	cw_worker_free(l->control);
	cw_map_fini(&l->seats);
	cw_conf_free(l->config);
	cw_conf_tree_unref(l->tree);
	cw_free(l->state_dir);
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	cw_free(l);
}

static int add_upstream(void *ctx, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	return cw_bridge_add_upstream(((struct lib *)ctx)->bridge, conf, msg);
}

static int add_upstreams(struct lib *l, struct cw_msg *msg)
{
	int rc = cw_config_each_upstream(l->config, l->state_dir, 0, add_upstream, l, msg);

	return rc < 0 ? rc : cw_config_add_routes(l->config, l->bridge, msg);
}

/* The bridge's own: given, kept from an earlier run, or to be obtained once the loop runs. */
static int find_certificates(struct lib *l, struct cw_msg *msg)
{
	int rc = cw_bridges_new(l->config, l->state_dir != NULL ? l->state_dir : "/nonexistent", &l->bridges, msg);

	if (rc < 0)
		return rc;
	l->config->obtained = l->bridges;
	if (cw_bridges_missing(l->bridges) > 0 && l->state_dir == NULL)
		return cw_fail(
			msg, CW_ECONF,
			"the bridge's certificate is to be obtained from the platform, and stateDir, where it is "
			"kept, is missing; it is given away only once");
	return 0;
}

static int make_bridge(struct lib *l, const struct cw_bridge_setup *setup, struct cw_msg *msg)
{
	struct cw_bridge_conf conf = {
		.control = l->control,
		.owner_ops = &lib_owner_ops,
		.command_queue = l->config->commands.queue,
		.command_timeout_ms = (unsigned)l->config->commands.timeout_ms,
		.contest_window_ms = (unsigned)l->config->identity.contest_window_ms,
		.remove_topology = l->config->identity.remove_topology,
		.ctx = l,
	};
	struct cw_reload_result result;
	struct cw_identities *set;
	int rc = cw_bridge_new(&conf, &l->bridge);

	if (rc < 0)
		return cw_fail(msg, rc, "bridge: %s", cw_error_text(rc));
	rc = find_certificates(l, msg);
	if (rc == 0 && cw_bridges_missing(l->bridges) == 0)
		rc = add_upstreams(l, msg);
	if (rc == 0)
		rc = cw_bridge_add_devices(l->bridge);
	if (rc == 0)
		rc = lib_add_lookup(l);
	if (rc == 0)
		rc = lib_identities(l, setup, &set, msg);
	if (rc < 0)
		return rc;
	cw_bridge_swap_identities(l->bridge, set, &result);
	cw_bridges_warn(l->bridges, cw_resolver_count(cw_bridge_resolver(l->bridge)));
	return 0;
}

/* The upstreams are there: from now on calls are carried out, those that waited first. */
static void go(struct lib *l)
{
	int rc = cw_bridge_connect(l->bridge);

	l->connected = rc == 0;
	l->obtaining = 0;
	if (rc < 0 && LIB_HAS(l, state)) /* no thread to be had: every call will end as closed */
		l->handler.state(l->ctx, "", 0, cw_error_text(rc));
	lib_pending_go(l);
}

static void cannot(struct lib *l, const struct cw_msg *msg)
{
	l->obtaining = 0;
	if (LIB_HAS(l, state))
		l->handler.state(l->ctx, "", 0, msg->text);
	lib_pending_drop(l);
}

static void on_obtained(void *ctx)
{
	struct cw_msg msg = { "" };
	struct lib *l = ctx;

	if (atomic_load(&l->closing))
		return;
	if (add_upstreams(l, &msg) < 0)
		cannot(l, &msg);
	else
		go(l);
}

static void on_begin(struct cw_mail *mail)
{
	struct lib *l = cw_container_of(mail, struct lib, begin_mail);
	struct cw_msg msg = { "" };

	if (atomic_load(&l->closing))
		return;
	if (cw_bridges_missing(l->bridges) == 0) {
		go(l);
		return;
	}
	l->obtaining = 1;
	if (cw_bridges_obtain(l->bridges, l->control, on_obtained, l, &msg) < 0)
		cannot(l, &msg);
}

/* Members behind the caller's size stay NULL: an older program knows fewer of them. */
static void take_handler(struct lib *l, const struct cw_bridge_handler *h)
{
	if (h != NULL)
		memcpy(&l->handler, h, h->size < sizeof(l->handler) ? h->size : sizeof(l->handler));
}

static int make(struct lib *l, const struct cw_bridge_setup *setup, struct cw_msg *msg)
{
	int rc = lib_settings(l, setup, msg);

	if (rc == 0)
		rc = cw_worker_new("cw-bridge", 0, &l->control);
	if (rc == 0)
		rc = make_bridge(l, setup, msg);
	if (rc < 0)
		return rc;
	/* The wake-up for mails becomes known to the kernel, so that a caller's poll() sees them before the first step.
	 */
	uv_run(cw_worker_loop(l->control), UV_RUN_NOWAIT);
	cw_post(l->control, &l->begin_mail, on_begin);
	return 0;
}

int cw_bridge_open(const struct cw_bridge_setup *given, struct cw_bridge **ret_bridge, char *why, size_t size)
{
	struct cw_bridge_setup setup;
	struct cw_msg msg = { "" };
	struct lib *l;
	int rc;

	if (given == NULL || given->size < offsetof(struct cw_bridge_setup, text))
		return CW_EINVAL;
	memset(&setup, 0, sizeof(setup));
	memcpy(&setup, given, given->size < sizeof(setup) ? given->size : sizeof(setup));
	if (atomic_exchange(&log_was_set, 1) == 0)
		cw_log_setup(CW_LOG_WARN, 0, 2);
	l = cw_zalloc(sizeof(*l));
	if (l == NULL)
		return CW_ENOMEM;
	l->lock_fd = -1;
	l->ctx = setup.ctx;
	cw_map_init(&l->seats);
	cw_list_init(&l->owners);
	take_handler(l, setup.handler);
	rc = make(l, &setup, &msg);
	if (rc < 0) {
		if (why != NULL && size > 0)
			(void)snprintf(why, size, "%s", msg.text[0] != '\0' ? msg.text : cw_error_text(rc));
		free_lib(l);
		return rc;
	}
	*ret_bridge = l->bridge;
	return 0;
}

/* ---- run --------------------------------------------------------------------------------- */

static void run(void *arg)
{
	struct lib *l = arg;

	atomic_store(&l->here, pthread_self());
	atomic_store(&l->runs, 1);
	cw_worker_run(l->control);
}

int lib_on_loop(struct lib *l)
{
	if (atomic_load(&l->mode) != LIB_THREAD)
		return 1; /* or on a thread of the caller's that must not be here */
	return atomic_load(&l->runs) && pthread_equal(atomic_load(&l->here), pthread_self());
}

int cw_bridge_start(struct cw_bridge *b)
{
	struct lib *l = cw_bridge_ctx(b);
	int idle = LIB_IDLE, rc;

	if (!atomic_compare_exchange_strong(&l->mode, &idle, LIB_THREAD))
		return CW_EEXIST;
	rc = cw_thread_start(&l->thread, "cw-bridge", run, l);
	if (rc < 0)
		atomic_store(&l->mode, LIB_IDLE);
	return rc;
}

int cw_bridge_fd(struct cw_bridge *b)
{
	return uv_backend_fd(cw_worker_loop(((struct lib *)cw_bridge_ctx(b))->control));
}

int cw_bridge_timeout(struct cw_bridge *b)
{
	uv_loop_t *loop = cw_worker_loop(((struct lib *)cw_bridge_ctx(b))->control);
	int ms;

	uv_update_time(loop);
	ms = uv_backend_timeout(loop);
	return ms < 0 || ms > TIMEOUT_MOST_MS ? TIMEOUT_MOST_MS : ms;
}

static void pass(struct lib *l)
{
	int i;

	l->stepping = 1;
	for (i = 0; i < PASSES && !l->ended; i++)
		uv_run(cw_worker_loop(l->control), UV_RUN_NOWAIT);
	l->stepping = 0;
}

int cw_bridge_step(struct cw_bridge *b)
{
	struct lib *l = cw_bridge_ctx(b);
	int idle = LIB_IDLE;

	if (!atomic_compare_exchange_strong(&l->mode, &idle, LIB_DRIVEN) && idle != LIB_DRIVEN)
		return CW_EEXIST;
	if (l->stepping)
		return CW_EINVAL;
	pass(l);
	return 0;
}

/* ---- close --------------------------------------------------------------------------------- */

/* All that the upstreams had to say is said: the last mails before this one were theirs. */
static void on_last(struct cw_mail *mail)
{
	struct lib *l = cw_container_of(mail, struct lib, last_mail);

	cw_invariant(atomic_load(&l->open) == 0);
	l->ended = 1;
	cw_worker_release(l->control);
}

static void on_stopped(void *arg)
{
	struct lib *l = arg;

	lib_owners_drop(l);
	lib_lookup_drop(l);
	cw_post(l->control, &l->last_mail, on_last);
}

static void on_obtaining_stopped(void *arg)
{
	struct lib *l = arg;

	cw_bridge_stop(l->bridge, l->drain_ms, on_stopped, l);
}

static void on_end(struct cw_mail *mail)
{
	struct lib *l = cw_container_of(mail, struct lib, end_mail);

	l->obtaining = 0;
	lib_pending_drop(l);
	cw_bridges_stop(l->bridges, on_obtaining_stopped, l);
}

/* The calling thread is the loop's: wait for it as a loop does, until it has ended. */
static void drive_to_end(struct lib *l)
{
	struct pollfd p = { .fd = uv_backend_fd(cw_worker_loop(l->control)), .events = POLLIN };

	while (!l->ended) {
		pass(l);
		if (!l->ended)
			(void)poll(&p, 1, cw_bridge_timeout(l->bridge));
	}
}

int cw_bridge_close(struct cw_bridge *b, unsigned drain_ms)
{
	struct lib *l;

	if (b == NULL)
		return 0;
	l = cw_bridge_ctx(b);
	if (l->stepping || (atomic_load(&l->mode) == LIB_THREAD && lib_on_loop(l)))
		return CW_EINVAL;
	atomic_store(&l->closing, 1);
	/* Calls that came in before have posted when this ends; they only copy and post. */
	while (atomic_load(&l->inside) > 0)
		sched_yield();
	l->drain_ms = drain_ms;
	cw_post(l->control, &l->end_mail, on_end);
	if (atomic_load(&l->mode) == LIB_THREAD)
		cw_thread_join(&l->thread);
	else
		drive_to_end(l);
	free_lib(l);
	return 0;
}

void cw_bridge_status(struct cw_bridge *b, struct cw_bridge_status *ret)
{
	struct lib *l = cw_bridge_ctx(b);
	struct cw_bridge_status s = { .size = ret->size, .up = 1, .open_calls = atomic_load(&l->open) };
	size_t i;

	for (i = 0; i < cw_bridge_upstream_count(b); i++) {
		struct cw_upstream_status u;

		cw_upstream_status(cw_bridge_upstream(b, i), &u);
		s.up = s.up && u.up;
		s.devices_online += u.devices_online;
		s.queued_records += u.queued_records;
		s.queued_bytes += u.queued_bytes;
		s.in_flight += u.in_flight;
	}
	memcpy(ret, &s, ret->size < sizeof(s) ? ret->size : sizeof(s));
}
