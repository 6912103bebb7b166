/*
 * keeper.c - looks after the process of one isolated runner: starts it, reads what it says, notices that it
 * died or hangs, says whose frame that was, and starts it again, or takes the protocol out of service.
 *
 * All on the loop of the runner's worker, save cw_runner_host_info(). A death is dealt with in one place,
 * died(), never from within a call about a connection.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "loop/closing.h"
#include "plugin/process.h"
#include "plugin/remote.h"
#include "plugin/runner_impl.h"

#define TICK_MS 50u           /* at least; a host is looked at eight times in timeout_ms */
#define START_MS 30000u       /* create() may read files */
#define BACKOFF_MOST_MS 5000u
#define TURN_MOST 2000        /* messages taken before other connections of the worker have their turn */
#define DEATHS_KEPT 64

/* One process. Its memory lives until its handles are closed. */
struct incarnation {
	struct cw_closing closing;
	struct keeper *keeper; /* NULL: given up */
	struct cw_process process;
	uv_poll_t bell, alive;
	struct cw_outlet down;
	struct cw_intake up;
	uint64_t number;
	int ready;
};

struct keeper {
	struct cw_runner *runner;
	struct cw_isolation how;
	char poison_dir[1024], plugin[1024];
	struct incarnation *now; /* NULL: none */
	struct cw_list conns;
	struct cw_timer tick, again;
	uint64_t started, deaths[DEATHS_KEPT]; /* when, ms */
	unsigned death_count;
	uint64_t backoff_ms;
	/* what it did at the last tick */
	uint64_t seen_seq, seen_tail;
	unsigned same;
	int out, busy;
	char distrusted[160]; /* empty: not */
	char failed[200];     /* what the host said about itself */
	atomic_uint next_conf;
	/* for status, from any thread */
	_Atomic(int) state, pid, sandboxed;
	_Atomic(uint64_t) starts_seen, deaths_seen;
};

static void start(struct keeper *k);
static void died(struct keeper *k, const char *hung);
static void drain(struct keeper *k);

struct cw_runner *cw_keeper_runner(const struct keeper *k)
{
	return k->runner;
}

struct cw_list *cw_keeper_conns(struct keeper *k)
{
	return &k->conns;
}

uint64_t cw_keeper_ready(const struct keeper *k)
{
	return k->now != NULL && k->now->ready ? k->now->number : 0;
}

int cw_keeper_out(const struct keeper *k)
{
	return k->out;
}

uint32_t cw_keeper_next_conf(struct keeper *k)
{
	return atomic_fetch_add(&k->next_conf, 1) + 1;
}

static struct cw_timers *timers(struct keeper *k)
{
	return cw_worker_timers(k->runner->worker);
}

void cw_keeper_distrust(struct keeper *k, const char *what)
{
	if (k->distrusted[0] == '\0')
		(void)snprintf(k->distrusted, sizeof(k->distrusted), "it was ended, for what it said cannot be: %s", what);
}

/* ---- down ------------------------------------------------------------------------- */

static void push_down(struct incarnation *i)
{
	int through = cw_outlet_flush(&i->down);

	while (!through && !i->down.failed && !cw_ring_wait(&i->down.ring))
		through = cw_outlet_flush(&i->down);
	if (cw_ring_publish(&i->down.ring))
		cw_process_ring_bell(i->process.bell);
}

void cw_keeper_send(struct keeper *k, const struct cw_wire *m)
{
	struct incarnation *i = k->now;

	if (i == NULL || !i->ready)
		return;
	cw_outlet_put(&i->down, m);
	push_down(i);
	if (i->down.failed)
		cw_keeper_distrust(k, i->down.failed == CW_EPROTO ? "how far it has read" : cw_error_text(i->down.failed));
}

/* ---- up ------------------------------------------------------------------------------ */

/* Lines of the runner and the plugin, as hosted.c sends them: only rows that come from there, fields as text. */
static void take_log(struct keeper *k, const struct cw_wire *m)
{
	static const enum cw_log_id from_host[] = { CW_LOG_ID_plugin_debug, CW_LOG_ID_plugin_line, CW_LOG_ID_plugin_warning,
		CW_LOG_ID_plugin_slow, CW_LOG_ID_plugin_misbehaved, CW_LOG_ID_frame_noise, CW_LOG_ID_frame_oversize };
	static const char *const keys[] = { "protocol", "device", "peer", "listener", "bytes", "max", "maxNoise", "ms" };
	struct cw_log_kv fields[9] = { { 0 } };
	struct cw_reader r = cw_reader_of(m->part[1]);
	size_t count = 1, i;
	char text[600];

	while (cw_read_left(&r) > 0 && count < 9) {
		unsigned key = cw_read_u8(&r);
		struct cw_bytes value = cw_read_bytes(&r, cw_read_u16be(&r));

		if (r.short_read || key >= sizeof(keys) / sizeof(keys[0])) {
			cw_keeper_distrust(k, "a log line that is none");
			return;
		}
		fields[count++] = CW_LB(keys[key], value.ptr == NULL ? (const uint8_t *)"" : value.ptr, value.len);
	}
	i = m->part[0].len < sizeof(text) - 1 ? m->part[0].len : sizeof(text) - 1;
	if (i > 0)
		memcpy(text, m->part[0].ptr, i);
	text[i] = '\0';
	for (i = 0; i < sizeof(from_host) / sizeof(from_host[0]); i++)
		if (m->a == (uint64_t)from_host[i])
			cw_log_write(from_host[i], text, fields, count);
}

static void take_stat(struct keeper *k, const struct cw_wire *m)
{
	switch (m->a) {
	case CW_STAT_plugin_frames_in:
	case CW_STAT_plugin_frames_malformed:
	case CW_STAT_plugin_noise_bytes:
	case CW_STAT_plugin_closed_noise:
	case CW_STAT_plugin_closed_partial:
	case CW_STAT_plugin_slow_calls:
	case CW_STAT_plugin_refused_calls:
	case CW_STAT_plugin_records:
	case CW_STAT_bridge_records_unidentified:
	case CW_STAT_bridge_foreign_identity: cw_stat_add((enum cw_stat_id)m->a, m->b); break;
	default: cw_keeper_distrust(k, "a counter that is not a decoder's"); break;
	}
}

static void take_count(struct keeper *k, const struct cw_wire *m)
{
	struct cw_runner *r = k->runner;

	if (m->a >= r->counter_count)
		cw_keeper_distrust(k, "a counter that the plugin has not");
	else
		__atomic_store_n(&r->counters[m->a], r->counters[m->a] + m->b, __ATOMIC_RELAXED);
}

static void take_ready(struct keeper *k, const struct cw_wire *m)
{
	struct incarnation *i = k->now;

	if (i->ready) {
		cw_keeper_distrust(k, "that it is ready, twice");
		return;
	}
	i->ready = 1;
	atomic_store(&k->state, CW_HOST_UP);
	atomic_store(&k->sandboxed, m->a != 0);
	cw_log(plugin_host_started, "", CW_LS("protocol", k->runner->desc->name),
	       CW_LU("worker", cw_worker_index(k->runner->worker)), CW_LU("pid", i->process.pid),
	       CW_LS("sandbox", m->a != 0 ? "seccomp" : "limits only"));
	if (m->a == 0 && k->how.sandbox != CW_SANDBOX_OFF)
		cw_log(plugin_host_open,
		       "the plugin host runs without a filter of system calls: it could open files and sockets of this "
		       "user",
		       CW_LS("protocol", k->runner->desc->name),
		       CW_LB("why", m->part[0].ptr, m->part[0].len > 200 ? 200 : m->part[0].len));
	cw_remote_resume_all(k);
}

static void take(struct keeper *k, const struct cw_wire *m)
{
	switch (m->kind) {
	case CW_UP_READY: take_ready(k, m); return;
	case CW_UP_FAILED:
		(void)snprintf(k->failed, sizeof(k->failed), "%.*s", (int)(m->part[0].len > 190 ? 190 : m->part[0].len),
			       (const char *)m->part[0].ptr);
		return;
	case CW_UP_LOG: take_log(k, m); return;
	case CW_UP_STAT: take_stat(k, m); return;
	case CW_UP_COUNT: take_count(k, m); return;
	default: cw_remote_take(k, m); return;
	}
}

/* Take what there is. */
static void drain(struct keeper *k)
{
	struct incarnation *i = k->now;
	struct cw_wire m;
	int rc = 0, wake = 0, n = 0;

	k->busy = 1;
	do {
		while (k->distrusted[0] == '\0' && n < TURN_MOST && (rc = cw_intake_next(&i->up, &m, &wake)) == 1) {
			take(k, &m);
			n++;
		}
		if (rc < 0)
			cw_keeper_distrust(k, rc == CW_EPROTO ? "a message that is none" : cw_error_text(rc));
	} while (k->distrusted[0] == '\0' && n < TURN_MOST && !cw_ring_sleep(&i->up.ring));
	if (n >= TURN_MOST)
		cw_process_ring_bell(i->process.parent_bell);
	if (wake)
		cw_process_ring_bell(i->process.bell);
	push_down(i);
	k->busy = 0;
}

static void on_bell(uv_poll_t *h, int status, int events)
{
	struct incarnation *i = cw_container_of(h, struct incarnation, bell);

	if (i->keeper == NULL)
		return;
	cw_process_hush_bell(i->process.parent_bell);
	drain(i->keeper);
	if (i->keeper->distrusted[0] != '\0')
		died(i->keeper, NULL);
}

static void on_alive(uv_poll_t *h, int status, int events)
{
	struct incarnation *i = cw_container_of(h, struct incarnation, alive);

	if (i->keeper != NULL)
		died(i->keeper, NULL);
}

/* ---- watching --------------------------------------------------------------------------- */

static uint64_t tick_ms(const struct keeper *k)
{
	uint64_t ms = k->how.timeout_ms / 8;

	return ms < TICK_MS ? TICK_MS : ms;
}

/* Inside an entry, or with something to read, and nothing moves. A worker that was late itself counts one tick, not many. */
static void on_tick(struct cw_timer *t)
{
	struct keeper *k = cw_container_of(t, struct keeper, tick);
	struct incarnation *i = k->now;
	uint64_t seq, tail, most = i->ready ? k->how.timeout_ms : START_MS;
	char text[80];
	int works;

	cw_timer_set(timers(k), &k->tick, tick_ms(k), on_tick);
	seq = atomic_load(&i->process.shared->at_hand.seq);
	tail = atomic_load(&i->process.shared->down.tail);
	works = !i->ready || (seq & 1) != 0 || !cw_ring_drained(&i->down.ring);
	k->same = works && seq == k->seen_seq && tail == k->seen_tail ? k->same + 1 : 0;
	k->seen_seq = seq;
	k->seen_tail = tail;
	if (most != 0 && k->same * tick_ms(k) >= most) {
		(void)snprintf(text, sizeof(text), "it did not come back for %llu ms", (unsigned long long)most);
		died(k, text);
	} else if (k->distrusted[0] != '\0') {
		died(k, NULL);
	}
}

/* ---- starting ------------------------------------------------------------------------------ */

static void on_incarnation_gone(struct cw_closing *c)
{
	struct incarnation *i = cw_container_of(c, struct incarnation, closing);

	cw_process_fini(&i->process);
	cw_outlet_fini(&i->down);
	cw_intake_fini(&i->up);
	cw_free(i);
}

static void give_up_incarnation(struct keeper *k)
{
	struct incarnation *i = k->now;

	k->now = NULL;
	atomic_store(&k->pid, 0);
	i->keeper = NULL;
	cw_timer_stop(timers(k), &k->tick);
	(void)uv_poll_stop(&i->bell);
	(void)uv_poll_stop(&i->alive);
	cw_closing_close((uv_handle_t *)&i->bell);
	cw_closing_close((uv_handle_t *)&i->alive);
}

static int open_handles(struct keeper *k, struct incarnation *i)
{
	uv_loop_t *loop = cw_worker_loop(k->runner->worker);

	/* Neither can fail for an eventfd or a pipe but for memory, and libuv ends the process then. */
	cw_invariant(uv_poll_init(loop, &i->bell, i->process.parent_bell) == 0 &&
		     uv_poll_init(loop, &i->alive, i->process.alive) == 0);
	cw_closing_init(&i->closing, on_incarnation_gone);
	cw_closing_add(&i->closing, (uv_handle_t *)&i->bell);
	cw_closing_add(&i->closing, (uv_handle_t *)&i->alive);
	(void)uv_poll_start(&i->bell, UV_READABLE, on_bell);
	return cw_err_from_uv(uv_poll_start(&i->alive, UV_READABLE | UV_DISCONNECT, on_alive));
}

static void on_again(struct cw_timer *t)
{
	struct keeper *k = cw_container_of(t, struct keeper, again);

	if (k->out) {
		k->out = 0;
		k->death_count = 0;
		cw_log(plugin_back, "it is tried again", CW_LS("protocol", k->runner->desc->name),
		       CW_LU("worker", cw_worker_index(k->runner->worker)));
	}
	start(k);
}

static void start_later(struct keeper *k, uint64_t ms)
{
	atomic_store(&k->state, k->out ? CW_HOST_OUT : CW_HOST_WAITING);
	cw_timer_set(timers(k), &k->again, ms, on_again);
}

static void start(struct keeper *k)
{
	struct cw_host_setup setup = {
		.worker = cw_worker_index(k->runner->worker),
		.log_level = (int)cw_log_lowest(),
		.sandbox = k->how.sandbox,
		.memory = k->how.memory,
	};
	struct incarnation *i = cw_zalloc(sizeof(*i));
	struct cw_msg msg = { "out of memory" };

	memcpy(setup.plugin, k->plugin, sizeof(setup.plugin));
	if (i == NULL || cw_process_start(&i->process, &setup, k->runner->desc, k->how.fork_only, &msg) < 0) {
		cw_free(i);
		cw_log(plugin_host_failed, msg.text, CW_LS("protocol", k->runner->desc->name),
		       CW_LS("then", "it is tried again"));
		start_later(k, BACKOFF_MOST_MS);
		return;
	}
	cw_count(plugin, host_starts);
	atomic_fetch_add(&k->starts_seen, 1);
	atomic_store(&k->pid, i->process.pid);
	atomic_store(&k->state, CW_HOST_STARTING);
	atomic_store(&k->sandboxed, 0);
	i->keeper = k;
	i->number = ++k->started;
	cw_ring_init(&i->down.ring, &i->process.shared->down, i->process.shared->down_data, CW_SHARED_RING);
	cw_ring_init(&i->up.ring, &i->process.shared->up, i->process.shared->up_data, CW_SHARED_RING);
	k->now = i;
	k->same = 0;
	k->seen_seq = k->seen_tail = 0;
	k->distrusted[0] = k->failed[0] = '\0';
	cw_invariant(open_handles(k, i) == 0);
	cw_timer_set(timers(k), &k->tick, tick_ms(k), on_tick);
	drain(k); /* says that this side sleeps */
}

/* ---- a death ---------------------------------------------------------------------------------- */

static void read_at_hand(const struct cw_at_hand *from, struct at_hand *h)
{
	*h = (struct at_hand){ atomic_load(&from->conn), atomic_load(&from->kind), atomic_load(&from->pos), atomic_load(&from->len),
		               atomic_load(&from->id), (atomic_load(&from->seq) & 1) != 0, 0 };
}

static void say_who(struct keeper *k, long pid, const struct affected *who, const struct at_hand *h, const char *why)
{
	static const char digits[] = "0123456789abcdef";
	char hex[129], file[1200] = "";
	size_t n = who->frame.len < 64 ? who->frame.len : 64, i;

	for (i = 0; i < n; i++) {
		hex[2 * i] = digits[who->frame.ptr[i] >> 4];
		hex[2 * i + 1] = digits[who->frame.ptr[i] & 15];
	}
	hex[2 * n] = '\0';
	if (who->frame.len > 0 && who->guilty) {
		cw_count(plugin, poisonous_frames);
		cw_poison_keep(k->runner, &k->how, who, why, file, sizeof(file));
	}
	if (who->found)
		cw_log(plugin_host_died, why, CW_LS("protocol", k->runner->desc->name),
		       CW_LU("worker", cw_worker_index(k->runner->worker)), CW_LU("pid", pid),
		       CW_LS("device", who->device), CW_LS("peer", who->peer), CW_LU("event", h->kind),
		       CW_LS("frame", n == 0 ? NULL : hex), CW_LU("bytes", who->frame.len),
		       CW_LS("file", file[0] == '\0' ? NULL : file), CW_LU("connections", who->connections),
		       CW_LS("devices", who->devices[0] == '\0' ? NULL : who->devices));
	else
		cw_log(plugin_host_died, why, CW_LS("protocol", k->runner->desc->name),
		       CW_LU("worker", cw_worker_index(k->runner->worker)), CW_LU("pid", pid),
		       CW_LU("connections", who->connections),
		       CW_LS("devices", who->devices[0] == '\0' ? NULL : who->devices));
}

/* How often it died within the window, this time included. */
static unsigned recent_deaths(struct keeper *k)
{
	uint64_t now = cw_clock_ms();
	unsigned i, n = 0;

	k->deaths[k->death_count++ % DEATHS_KEPT] = now;
	for (i = 0; i < k->death_count && i < DEATHS_KEPT; i++)
		if (now - k->deaths[i] <= k->how.window_ms)
			n++;
	return n;
}

static void take_out(struct keeper *k, unsigned deaths)
{
	k->out = 1;
	cw_count(plugin, taken_out);
	cw_log(plugin_out, "its connections are closed and new ones refused; a reload tries it again at once",
	       CW_LS("protocol", k->runner->desc->name), CW_LU("worker", cw_worker_index(k->runner->worker)),
	       CW_LU("deaths", deaths), CW_LU("retryMs", k->how.retry_ms));
	cw_remote_close_all(k, "its protocol was taken out of service");
	start_later(k, k->how.retry_ms);
}

static void died(struct keeper *k, const char *hung)
{
	struct incarnation *i = k->now;
	long pid = i->process.pid;
	struct affected who;
	struct at_hand h;
	unsigned deaths, n;
	char why[300];

	/* What it said until then counts, all of it. */
	for (n = 0; n < 100 && k->distrusted[0] == '\0' && !cw_ring_sleep(&i->up.ring); n++)
		drain(k);
	read_at_hand(&i->process.shared->at_hand, &h);
	h.from_outside = cw_process_end(&i->process, why, sizeof(why)) && hung == NULL && k->distrusted[0] == '\0';
	if (hung != NULL || k->distrusted[0] != '\0')
		(void)snprintf(why, sizeof(why), "%s", hung != NULL ? hung : k->distrusted);
	else if (!i->ready && k->failed[0] != '\0')
		(void)snprintf(why, sizeof(why), "it could not start: %s", k->failed);
	cw_count(plugin, host_deaths);
	if (hung != NULL)
		cw_count(plugin, host_hangs);
	atomic_fetch_add(&k->deaths_seen, 1);
	cw_remote_find_affected(k, &h, &who);
	say_who(k, pid, &who, &h, why);
	i->ready = 0; /* nothing more is sent to it */
	cw_remote_after_death(k, &h);
	give_up_incarnation(k);
	deaths = recent_deaths(k);
	if (deaths >= k->how.crashes) {
		take_out(k, deaths);
		return;
	}
	k->backoff_ms = deaths <= 1 ? 0 : deaths == 2 ? 100 : k->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : k->backoff_ms * 2;
	start_later(k, k->backoff_ms);
}

/* ---- life of the keeper ----------------------------------------------------------------------- */

static int find_plugin(struct keeper *k, struct cw_msg *msg)
{
	Dl_info info;
	char *path;

	if (k->how.fork_only)
		return 0;
	if (dladdr(k->runner->desc, &info) == 0 || info.dli_fname == NULL)
		return cw_fail(msg, CW_EINTERNAL, "protocol \"%s\": its shared object has no path", k->runner->desc->name);
	path = realpath(info.dli_fname, NULL);
	if (path == NULL || strlen(path) >= sizeof(k->plugin)) {
		free(path);
		return cw_fail(msg, CW_ENOENT, "protocol \"%s\": %s: %s", k->runner->desc->name, info.dli_fname, strerror(errno));
	}
	(void)snprintf(k->plugin, sizeof(k->plugin), "%s", path);
	free(path);
	return 0;
}

int cw_runner_new_isolated(const struct cw_plugin_desc *desc, struct cw_worker *w, const struct cw_isolation *how,
                           struct cw_runner **ret_runner, struct cw_msg *msg)
{
	struct cw_runner *r;
	struct keeper *k;
	int rc = cw_runner_new(desc, w, &r, msg);

	if (rc < 0)
		return rc;
	k = cw_zalloc(sizeof(*k));
	if (k == NULL) {
		cw_runner_free(r);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	k->runner = r;
	k->how = *how;
	cw_list_init(&k->conns);
	if (how->poison_dir != NULL)
		(void)snprintf(k->poison_dir, sizeof(k->poison_dir), "%s", how->poison_dir);
	k->how.poison_dir = how->poison_dir == NULL ? NULL : k->poison_dir;
	rc = find_plugin(k, msg);
	if (rc < 0) {
		cw_free(k);
		cw_runner_free(r);
		return rc;
	}
	r->keeper = k;
	*ret_runner = r;
	start(k);
	return 0;
}

void cw_keeper_free(struct keeper *k)
{
	char why[80];

	cw_timer_stop(timers(k), &k->again);
	if (k->now != NULL) {
		k->now->ready = 0;
		(void)cw_process_end(&k->now->process, why, sizeof(why));
		give_up_incarnation(k);
	}
	cw_remote_end_all(k);
	k->runner->keeper = NULL;
	cw_free(k);
}

void cw_runner_revive(struct cw_runner *r)
{
	if (r->keeper != NULL && r->keeper->out) {
		cw_timer_stop(timers(r->keeper), &r->keeper->again);
		on_again(&r->keeper->again);
	}
}

int cw_runner_host_info(const struct cw_runner *r, struct cw_host_info *ret)
{
	struct keeper *k = r->keeper;

	if (k == NULL)
		return 0;
	ret->state = (enum cw_host_state)atomic_load(&k->state);
	ret->pid = atomic_load(&k->pid);
	ret->starts = atomic_load(&k->starts_seen);
	ret->deaths = atomic_load(&k->deaths_seen);
	ret->sandboxed = atomic_load(&k->sandboxed);
	return 1;
}

int cw_runner_quiet(struct cw_runner *r)
{
	struct incarnation *i = r->keeper == NULL ? NULL : r->keeper->now;

	if (i == NULL)
		return r->keeper == NULL;
	/* It says that it sleeps after it has said all else; a timer of the decoder's may wake it, of course. */
	return i->ready && i->down.wait_len == 0 && cw_ring_drained(&i->down.ring) &&
	       atomic_load(&i->process.shared->down.reader_sleeps) != 0 &&
	       atomic_load(&i->process.shared->up.head) == i->up.ring.own;
}

const char *cw_host_state_name(enum cw_host_state state)
{
	static const char *const names[] = { "starting", "up", "waiting", "out of service" };

	return names[state];
}
