/*
 * runner.c - see runner.h.
 *
 * One normal run: feed() adds bytes, cut_frames() asks frame() where the first
 * frame ends and calls decode() with it; decode() speaks through the host table
 * (host.c), which calls the owner's cw_conn_ops; afterwards `called` lets the owner
 * settle what was emitted. One that stops half-way: the decoder asked identify(),
 * so cut_frames() leaves the rest in `kept`; the outcome arrives by
 * cw_conn_identified(), and cw_conn_resume() goes on.
 */
#include "plugin/runner.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "plugin/remote.h"
#include "plugin/runner_impl.h"

/* A call of a decoder over this is counted and logged. */
#define CALL_BUDGET_NS 20000000u
/* Bytes kept while decoding is held; the owner stops reading long before. */
#define KEPT_MOST (256u * 1024u)
/* So often decode() may ask for one frame again; each time after identify(). */
#define AGAIN_MOST 16

/* ---- calling the decoder ------------------------------------------------------ */

static void fill_event_at(struct cw_conn *c, struct cw_rdevice *dev, uint32_t kind, int64_t now_ms, uint64_t mono_ms,
                          struct cw_event *ev)
{
	memset(ev, 0, sizeof(*ev));
	ev->size = sizeof(*ev);
	ev->kind = kind;
	ev->flags = c->flags;
	ev->conn = c->handle;
	ev->now_ms = now_ms;
	ev->mono_ms = mono_ms;
	ev->conn_ctx = &c->ctx;
	ev->conf = ev->conn_conf = c->conf;
	ev->peer = cw_bytes_of(c->peer, c->peer_len);
	ev->listener = cw_bytes_text(c->listener);
	if (dev == NULL)
		return;
	ev->device = dev->handle;
	ev->device_ctx = &dev->ctx;
	if (dev->conf != NULL)
		ev->conf = dev->conf;
	ev->identity = cw_bytes_of(dev->text, dev->identity_len);
	ev->product_key = cw_bytes_of(dev->text + dev->identity_len + 1, dev->product_key_len);
	ev->device_name = cw_bytes_of(dev->text + dev->identity_len + dev->product_key_len + 2, dev->device_name_len);
}

static void fill_event(struct cw_conn *c, struct cw_rdevice *dev, uint32_t kind, struct cw_event *ev)
{
	fill_event_at(c, dev, kind, cw_clock_wall_ms(), cw_clock_ms(), ev);
}

/* Around every entry of the decoder: what the watchdog needs, and the time spent. */
static void enter(struct cw_conn *c, uint32_t kind, uint64_t id, struct cw_bytes frame)
{
	struct cw_runner *r = c->runner;

	if (r->entering != NULL)
		r->entering(c, kind, id, frame);
	atomic_store_explicit(&r->at_conn, c, memory_order_relaxed);
	atomic_store_explicit(&r->at_frame, frame.ptr, memory_order_relaxed);
	atomic_store_explicit(&r->at_frame_len, frame.len, memory_order_relaxed);
	atomic_store_explicit(&r->entered_ms, uv_now(cw_worker_loop(r->worker)) + 1, memory_order_release);
}

static void outside(struct cw_runner *r)
{
	atomic_store_explicit(&r->entered_ms, 0, memory_order_release);
	if (r->leaving != NULL)
		r->leaving(r);
}

/* The only device of a connection is the one most events are about. */
static struct cw_rdevice *only_device(struct cw_conn *c)
{
	return c->devices != NULL && c->devices->next == NULL ? c->devices : NULL;
}

/* Returns the time, from which the next call counts where one follows at once. */
static uint64_t leave(struct cw_conn *c, uint64_t started_ns)
{
	uint64_t now = cw_clock_ns(), spent = now - started_ns;

	outside(c->runner);
	if (spent < CALL_BUDGET_NS)
		return now;
	cw_count(plugin, slow_calls);
	cw_log(plugin_slow, "the whole worker waited", CW_LS("protocol", c->runner->desc->name),
	       CW_LB("peer", c->peer, c->peer_len), CW_LU("ms", spent / 1000000u));
	return now;
}

static void ask_close(struct cw_conn *c, const char *reason)
{
	if (c->closing)
		return;
	c->closing = 1;
	c->ops->close(c->owner, 0, reason);
}

static int call_event(struct cw_conn *c, struct cw_event *ev)
{
	const struct cw_decoder_ops *ops = c->runner->desc->decoder;
	uint64_t started = cw_clock_ns();
	int rc;

	enter(c, ev->kind, ev->id, ev->data);
	rc = ev->kind == CW_EV_COMMAND ? ops->command(c->runner->decoder, ev) : ops->event(c->runner->decoder, ev);
	(void)leave(c, started);
	if (rc == CW_ECLOSED)
		ask_close(c, "the decoder closed the connection");
	return rc;
}

static int after_call(struct cw_conn *c);

/* An event outside of feeding: call, let the owner settle, and look whether frames can go on. */
static void deliver(struct cw_conn *c, struct cw_event *ev)
{
	(void)call_event(c, ev);
	c->ops->called(c->owner);
	if (c->scan)
		(void)after_call(c);
}

/* ---- frames ------------------------------------------------------------------- */

static int keep(struct cw_conn *c, struct cw_bytes rest)
{
	if (rest.len == 0) {
		cw_free(c->kept);
		c->kept = NULL;
		c->kept_len = c->kept_size = 0;
		return 0;
	}
	if (c->kept != NULL && rest.ptr >= c->kept && rest.ptr < c->kept + c->kept_size) {
		memmove(c->kept, rest.ptr, rest.len);
		c->kept_len = rest.len;
		return 0;
	}
	if (rest.len > c->kept_size) {
		uint8_t *grown = cw_realloc(c->kept, rest.len);

		if (grown == NULL)
			return CW_ENOMEM;
		c->kept = grown;
		c->kept_size = rest.len;
	}
	memcpy(c->kept, rest.ptr, rest.len);
	c->kept_len = rest.len;
	return 0;
}

static int count_noise(struct cw_conn *c, struct cw_bytes dropped)
{
	cw_count_n(plugin, noise_bytes, dropped.len);
	c->noise += dropped.len;
	if (c->ops->noise != NULL)
		c->ops->noise(c->owner, dropped);
	if (c->noise <= c->max_noise)
		return 0;
	cw_count(plugin, closed_noise);
	cw_log(frame_noise, "closing; whoever this is does not speak the protocol", CW_LS("protocol", c->runner->desc->name),
	       CW_LS("listener", c->listener), CW_LB("peer", c->peer, c->peer_len), CW_LU("bytes", c->noise),
	       CW_LU("maxNoise", c->max_noise));
	ask_close(c, "too much noise");
	return CW_ECLOSED;
}

/* `ev` is as frame() had it; *clock_ns is when that began, and afterwards when decode() ended. */
static int decode_one(struct cw_conn *c, const struct cw_event *ev, struct cw_bytes frame, int again, uint64_t *clock_ns)
{
	const struct cw_decoder_ops *ops = c->runner->desc->decoder;
	int rc;

	if (!again)
		cw_count(plugin, frames_in);
	enter(c, CW_EV_DATA, 0, frame);
	rc = ops->decode(c->runner->decoder, ev, frame);
	*clock_ns = leave(c, *clock_ns);
	if (rc == CW_EBUSY && c->asked > 0)
		return rc; /* judged when it has been shown again */
	if (rc == CW_EBUSY)
		rc = CW_EPROTO; /* nothing was asked that it could wait for */
	if (rc == 0)
		c->noise = 0;
	else if (rc != CW_ECLOSED)
		cw_count(plugin, frames_malformed);
	if (c->ops->frame != NULL)
		c->ops->frame(c->owner, frame, rc);
	if (rc == CW_ECLOSED)
		ask_close(c, "the decoder closed the connection");
	return rc;
}

static int misbehaved(struct cw_conn *c, const char *what)
{
	cw_log(plugin_misbehaved, what, CW_LS("protocol", c->runner->desc->name), CW_LB("peer", c->peer, c->peer_len));
	ask_close(c, what);
	return CW_ECLOSED;
}

/* Nothing more can be cut: what may stay? */
static int judge_rest(struct cw_conn *c, struct cw_bytes *rest)
{
	if (rest->len <= c->runner->desc->max_frame)
		return 0;
	cw_count(plugin, closed_partial);
	cw_log(frame_oversize, "closing", CW_LS("protocol", c->runner->desc->name), CW_LB("peer", c->peer, c->peer_len),
	       CW_LU("bytes", rest->len), CW_LU("max", c->runner->desc->max_frame));
	ask_close(c, "an unfinished frame is longer than any frame of this protocol");
	return CW_ECLOSED;
}

/* Frames that were set aside have the time of their arrival. */
static int64_t frame_time(const struct cw_conn *c)
{
	return c->arrived_ms != 0 ? c->arrived_ms : cw_clock_wall_ms();
}

/* Wait for the rest of a frame; 0 ends the waiting. */
static void wait_for_more(struct cw_conn *c, uint64_t wait_ms);

/* The frame at the front of *rest, which decode() judges; CW_EBUSY: it wants the frame again. */
static int take_frame(struct cw_conn *c, struct cw_bytes *rest, size_t length, const struct cw_event *ev, uint64_t *clock_ns)
{
	struct cw_bytes frame = cw_bytes_of(rest->ptr, length);
	int rc = decode_one(c, ev, frame, c->again_len != 0, clock_ns);

	if (rc == CW_EBUSY) {
		if (++c->again_times > AGAIN_MOST)
			return misbehaved(c, "decode() asked for the same frame again and again");
		c->again_len = length;
	} else {
		c->again_len = 0;
		c->again_times = 0;
		rest->ptr += length;
		rest->len -= length;
	}
	c->ops->called(c->owner);
	return rc == CW_EBUSY ? CW_EBUSY : 0;
}

/* One question to frame() about *rest. 1: go on; 0: it waits for more; or CW_ECLOSED. */
static int cut_one(struct cw_conn *c, struct cw_bytes *rest, struct cw_event *ev, struct cw_cut *cut)
{
	int rc;

	ev->flags |= c->final ? CW_EVF_FINAL : 0;
	enter(c, CW_EV_DATA, 0, *rest);
	rc = c->runner->desc->decoder->frame(c->runner->decoder, ev, *rest, cut);
	outside(c->runner);
	ev->flags = c->flags;
	if (rc < 0) {
		ask_close(c, "the decoder cannot find a frame in these bytes");
		return CW_ECLOSED;
	}
	if (cut->skip > rest->len || cut->length > rest->len - cut->skip)
		return misbehaved(c, "frame() cut more than there is");
	if (cut->length > c->runner->desc->max_frame)
		return misbehaved(c, "frame() cut a frame longer than max_frame");
	if (cut->skip > 0 && count_noise(c, cw_bytes_of(rest->ptr, cut->skip)) < 0)
		return CW_ECLOSED;
	rest->ptr += cut->skip;
	rest->len -= cut->skip;
	c->missing = 0;
	if (cut->length > 0 || cut->skip > 0)
		return 1;
	c->missing = cut->need > rest->len ? cut->need - rest->len : 0;
	wait_for_more(c, c->final ? 0 : cut->wait_ms);
	return judge_rest(c, rest);
}

/*
 * Cut and decode while it goes; *rest is what is left. 0, CW_EBUSY (held, identifying) or CW_ECLOSED. What was read
 * together has arrived together: the clocks are read once for all of it, and once more behind each frame for its budget.
 */
static int cut_pass(struct cw_conn *c, struct cw_bytes *rest)
{
	uint64_t clock_ns = cw_clock_ns();
	int64_t now_ms = frame_time(c);
	struct cw_event ev;

	while (rest->len > 0) {
		struct cw_cut cut = { 0, 0, 0, 0 };
		int rc;

		if (c->closing)
			return CW_ECLOSED;
		if (c->asked > 0 || c->held)
			return CW_EBUSY;
		if (c->again_drop) {
			rest->ptr += c->again_len;
			rest->len -= c->again_len;
			c->again_len = c->again_times = c->again_drop = 0;
			continue;
		}
		fill_event_at(c, only_device(c), CW_EV_DATA, now_ms, clock_ns / 1000000u, &ev);
		cut.length = c->again_len;
		if (c->again_len == 0) {
			rc = cut_one(c, rest, &ev, &cut);
			if (rc <= 0)
				return rc;
			if (cut.length == 0)
				continue;
		}
		rc = take_frame(c, rest, cut.length, &ev, &clock_ns);
		if (rc == CW_ECLOSED)
			return rc;
	}
	wait_for_more(c, 0);
	return c->closing ? CW_ECLOSED : 0;
}

static int cut_frames(struct cw_conn *c, struct cw_bytes *rest)
{
	struct cw_event ev;
	int rc;

	for (;;) {
		rc = cut_pass(c, rest);
		if (rc != 0)
			return rc;
		c->final = 0;
		if (!c->scan)
			return 0;
		c->scan = 0;
		fill_event(c, only_device(c), CW_EV_SCANNED, &ev);
		ev.offset = rest->len;
		ev.skipped = c->noise;
		(void)call_event(c, &ev);
		c->ops->called(c->owner);
	}
}

static int feed_all(struct cw_conn *c, struct cw_bytes all)
{
	int rc;

	c->feeding = 1;
	c->input_end = all.ptr + all.len;
	rc = cut_frames(c, &all);
	if ((c->flags & CW_EVF_DATAGRAM) != 0 && rc == 0 && all.len > 0) {
		(void)count_noise(c, all); /* frames do not span datagrams */
		all.len = 0;
	}
	if (rc == CW_ECLOSED)
		all.len = 0;
	if (keep(c, all) < 0) {
		ask_close(c, "out of memory");
		rc = CW_ECLOSED;
	}
	c->feeding = 0;
	return rc;
}

int cw_conn_keep_more(struct cw_conn *c, struct cw_bytes in)
{
	size_t need = c->kept_len + in.len;

	if (need > KEPT_MOST + c->runner->desc->max_frame)
		return CW_ELIMIT;
	if (need > c->kept_size) {
		uint8_t *grown = cw_realloc(c->kept, need);

		if (grown == NULL)
			return CW_ENOMEM;
		c->kept = grown;
		c->kept_size = need;
	}
	memcpy(c->kept + c->kept_len, in.ptr, in.len);
	c->kept_len = need;
	return 0;
}

int cw_conn_feed(struct cw_conn *c, struct cw_bytes in)
{
	int rc;

	if (c->remote != NULL)
		return cw_remote_feed(c, in);
	if (c->closing)
		return CW_ECLOSED;
	if (in.len == 0)
		return 0;
	if (c->kept_len == 0 && !c->feeding)
		return feed_all(c, in);
	rc = cw_conn_keep_more(c, in);
	if (rc < 0) {
		ask_close(c, rc == CW_ENOMEM ? "out of memory" : "more bytes than may wait");
		return CW_ECLOSED;
	}
	return c->feeding ? 0 : feed_all(c, cw_bytes_of(c->kept, c->kept_len));
}

int cw_conn_feed_frame(struct cw_conn *c, struct cw_bytes frame)
{
	cw_invariant(c->kept_len == 0 && !c->feeding);
	if (c->closing)
		return CW_ECLOSED;
	c->again_len = frame.len;
	return feed_all(c, frame);
}

/* Frames may go on after an event: only when something is kept and nobody holds. */
static int after_call(struct cw_conn *c)
{
	if (c->feeding)
		return 0;
	if (c->closing)
		return CW_ECLOSED;
	if (c->asked > 0 || c->held)
		return CW_EBUSY;
	if (c->kept_len == 0 && !c->scan)
		return 0;
	return feed_all(c, cw_bytes_of(c->kept, c->kept_len));
}

void cw_conn_hold(struct cw_conn *c)
{
	if (c->remote != NULL)
		cw_remote_hold(c);
	c->held = 1;
}

int cw_conn_resume(struct cw_conn *c)
{
	if (c->remote != NULL)
		return cw_remote_resume(c);
	c->held = 0;
	return after_call(c);
}

void cw_conn_set_arrival(struct cw_conn *c, int64_t utc_ms)
{
	if (c->remote != NULL)
		cw_remote_set_arrival(c, utc_ms);
	c->arrived_ms = utc_ms;
}

size_t cw_conn_buffered(const struct cw_conn *c)
{
	return c->kept_len;
}

size_t cw_conn_missing(const struct cw_conn *c)
{
	return c->kept_len == 0 ? 0 : c->missing;
}

/* ---- timers ------------------------------------------------------------------- */

static void drop_timer(struct cw_conn *c, struct conn_timer *t)
{
	struct conn_timer **p;

	for (p = &c->timers; *p != NULL; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	cw_timer_stop(cw_worker_timers(c->runner->worker), &t->timer);
	cw_free(t);
}

static void on_conn_timer(struct cw_timer *timer)
{
	struct conn_timer *t = cw_container_of(timer, struct conn_timer, timer);
	struct cw_conn *c = t->conn;
	struct cw_event ev;

	fill_event(c, only_device(c), CW_EV_TIMER, &ev);
	ev.timer = t->id;
	drop_timer(c, t);
	deliver(c, &ev);
}

static void stop_waiting(struct cw_conn *c)
{
	if (c->waiter == NULL)
		return;
	cw_timer_stop(cw_worker_timers(c->runner->worker), &c->waiter->timer);
	cw_free(c->waiter);
	c->waiter = NULL;
}

static void final_pass(struct cw_conn *c)
{
	stop_waiting(c);
	c->final = 1;
	(void)after_call(c);
}

static void on_waited(struct cw_timer *timer)
{
	final_pass(cw_container_of(timer, struct conn_timer, timer)->conn);
}

void cw_conn_end_of_input(struct cw_conn *c)
{
	if (c->waiter != NULL)
		final_pass(c);
}

static void wait_for_more(struct cw_conn *c, uint64_t wait_ms)
{
	if (wait_ms == 0) {
		stop_waiting(c);
		return;
	}
	if (c->waiter == NULL) {
		c->waiter = cw_zalloc(sizeof(*c->waiter));
		if (c->waiter == NULL)
			return; /* the bytes wait for others, as without wait_ms */
		c->waiter->conn = c;
	}
	cw_timer_set(cw_worker_timers(c->runner->worker), &c->waiter->timer, wait_ms, on_waited);
}

int cw_conn_set_timer(struct cw_conn *c, uint64_t id, uint64_t delay_ms)
{
	struct conn_timer *t;
	unsigned n = 0;

	for (t = c->timers; t != NULL && t->id != id; t = t->next)
		n++;
	if (delay_ms == CW_TIMER_STOP) {
		if (t != NULL)
			drop_timer(c, t);
		return 0;
	}
	if (t == NULL) {
		if (n >= CONN_TIMERS_MOST)
			return CW_ELIMIT;
		t = cw_zalloc(sizeof(*t));
		if (t == NULL)
			return CW_ENOMEM;
		t->conn = c;
		t->id = id;
		t->next = c->timers;
		c->timers = t;
	}
	cw_timer_set(cw_worker_timers(c->runner->worker), &t->timer, delay_ms, on_conn_timer);
	return 0;
}

/* ---- connections and devices --------------------------------------------------- */

int cw_conn_make(struct cw_runner *r, const struct cw_conn_ops *ops, void *owner, const struct cw_conn_open *how, struct cw_conn **ret_conn)
{
	size_t peer_len = how->peer.len > 255 ? 255 : how->peer.len;
	struct cw_conn *c = cw_zalloc(sizeof(*c) + peer_len);
	int rc;

	if (c == NULL)
		return CW_ENOMEM;
	c->runner = r;
	c->ops = ops;
	c->owner = owner;
	c->conf = how->conf;
	c->listener = how->listener;
	c->flags = how->flags & ~(CW_EVF_DIALLED | CW_EVF_RESUMED);
	c->max_noise = how->max_noise;
	c->cap = how->cap;
	c->attach_most = how->attach_most;
	c->peer_len = (uint8_t)peer_len;
	if (peer_len > 0)
		memcpy(c->peer, how->peer.ptr, peer_len);
	rc = cw_handle_new(&r->conns, c, &c->handle);
	if (rc < 0) {
		cw_free(c);
		return rc;
	}
	r->open_conns++;
	*ret_conn = c;
	return 0;
}

void cw_conn_unmake(struct cw_conn *c)
{
	while (c->attachments != NULL)
		cw_conn_drop_attachment(c, c->attachments);
	cw_handle_free(&c->runner->conns, c->handle);
	c->runner->open_conns--;
	cw_free(c->kept);
	cw_free(c);
}

int cw_conn_open(struct cw_runner *r, const struct cw_conn_ops *ops, void *owner, const struct cw_conn_open *how,
                 struct cw_conn **ret_conn)
{
	struct cw_event ev;
	struct cw_conn *c;
	int rc;

	if (r->keeper != NULL)
		return cw_remote_open(r, ops, owner, how, ret_conn);
	rc = cw_conn_make(r, ops, owner, how, &c);
	if (rc < 0)
		return rc;
	*ret_conn = c;
	fill_event(c, NULL, CW_EV_OPEN, &ev);
	ev.flags |= how->flags & (CW_EVF_DIALLED | CW_EVF_RESUMED);
	ev.identity = how->identity;
	deliver(c, &ev);
	return 0;
}

/* One identify() has its outcome. */
static void answered(struct cw_conn *c)
{
	cw_invariant(c->asked > 0);
	c->asked--;
}

struct cw_rdevice *cw_find_device(struct cw_conn *c, struct cw_bytes identity)
{
	struct cw_rdevice *d;

	for (d = c->devices; d != NULL; d = d->next)
		if (d->identity_len == identity.len && memcmp(d->text, identity.ptr, identity.len) == 0)
			return d;
	return NULL;
}

struct cw_rdevice *cw_new_device(struct cw_conn *c, struct cw_bytes identity, const char *product_key, const char *device_name)
{
	size_t pk = strlen(product_key), dn = strlen(device_name);
	struct cw_rdevice *d;

	if (identity.len > CW_IDENTITY_MAX || pk > 255 || dn > 255)
		return NULL;
	d = cw_zalloc(sizeof(*d) + identity.len + pk + dn + 3);
	if (d == NULL)
		return NULL;
	if (cw_handle_new(&c->runner->devices, d, &d->handle) < 0) {
		cw_free(d);
		return NULL;
	}
	d->conn = c;
	d->identity_len = (uint8_t)identity.len;
	d->product_key_len = (uint8_t)pk;
	d->device_name_len = (uint8_t)dn;
	memcpy(d->text, identity.ptr, identity.len);
	memcpy(d->text + identity.len + 1, product_key, pk);
	memcpy(d->text + identity.len + pk + 2, device_name, dn);
	d->next = c->devices;
	c->devices = d;
	return d;
}

int cw_conn_identified(struct cw_conn *c, struct cw_bytes identity, const char *product_key, const char *device_name,
                       struct cw_bytes saved, unsigned how, const void *conf, void *user, struct cw_rdevice **ret_dev)
{
	struct cw_rdevice *d = cw_find_device(c, identity);
	int attached = (how & CW_CONN_ATTACHED) != 0;
	struct cw_event ev;

	if (d == NULL)
		d = cw_new_device(c, identity, product_key, device_name);
	if (d == NULL)
		return CW_ENOMEM;
	if (attached || !d->attached) { /* a look-up of a device that is attached takes nothing from it */
		d->conf = conf;
		d->user = user;
	}
	d->attached = (uint8_t)(attached || d->attached);
	*ret_dev = d;
	if (c->remote != NULL)
		return cw_remote_identified(c, d, saved, how);
	if ((how & CW_CONN_UNASKED) == 0)
		answered(c);
	fill_event(c, d, CW_EV_IDENTIFIED, &ev);
	ev.saved = saved;
	if (d->attached)
		ev.flags |= CW_EVF_ATTACHED;
	else
		d->conf = NULL; /* lent for this event */
	if ((how & CW_CONN_RESUMED) != 0)
		ev.flags |= CW_EVF_RESUMED;
	deliver(c, &ev);
	return 0;
}

void cw_conn_refused(struct cw_conn *c, struct cw_bytes identity, int code)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_refused(c, identity, code);
		return;
	}
	answered(c);
	if (code == CW_REFUSED_KEPT && c->again_len > 0)
		c->again_drop = 1;
	fill_event(c, NULL, CW_EV_REFUSED, &ev);
	ev.identity = identity;
	ev.code = code;
	deliver(c, &ev);
}

void cw_conn_members(struct cw_conn *c, struct cw_bytes prefix, int count)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_members(c, prefix, count);
		return;
	}
	answered(c);
	fill_event(c, NULL, CW_EV_MEMBERS, &ev);
	ev.identity = prefix;
	ev.code = count;
	deliver(c, &ev);
}

struct cw_bytes cw_conn_waiting_frame(const struct cw_conn *c)
{
	if (c->remote != NULL)
		return cw_remote_waiting_frame(c);
	return cw_bytes_of(c->kept, c->feeding ? 0 : c->again_len);
}

void cw_conn_state(struct cw_conn *c, struct cw_rdevice *dev, int online, int code)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_state(c, dev, online, code);
		return;
	}
	fill_event(c, dev, online ? CW_EV_ONLINE : CW_EV_OFFLINE, &ev);
	ev.code = code;
	deliver(c, &ev);
}

void cw_conn_settled(struct cw_conn *c, uint64_t ticket, int code)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_settled(c, ticket, code);
		return;
	}
	fill_event(c, only_device(c), CW_EV_SETTLED, &ev);
	ev.ticket = ticket;
	ev.code = code;
	deliver(c, &ev);
}

int cw_conn_command(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, struct cw_bytes command, uint64_t deadline_ms)
{
	struct cw_event ev;
	int rc;

	if ((c->runner->desc->caps & CW_CAP_DOWNLINK) == 0)
		return CW_EUNSUPPORTED;
	if (c->closing)
		return CW_ECLOSED;
	if (c->remote != NULL)
		return cw_remote_command(c, dev, id, command, deadline_ms);
	fill_event(c, dev, CW_EV_COMMAND, &ev);
	ev.id = id;
	ev.data = command;
	ev.deadline_ms = deadline_ms;
	rc = call_event(c, &ev);
	c->ops->called(c->owner);
	if (c->scan)
		(void)after_call(c);
	return rc;
}

void cw_conn_command_cancelled(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_command_cancelled(c, dev, id);
		return;
	}
	fill_event(c, dev, CW_EV_COMMAND_CANCELLED, &ev);
	ev.id = id;
	deliver(c, &ev);
}

void cw_conn_reply(struct cw_conn *c, struct cw_rdevice *dev, struct cw_bytes request, int code, struct cw_bytes data)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_reply(c, dev, request, code, data);
		return;
	}
	fill_event(c, dev, CW_EV_REPLY, &ev);
	ev.request = request;
	ev.code = code;
	ev.data = data;
	deliver(c, &ev);
}

void cw_conn_block(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, uint64_t offset, int code, struct cw_bytes data)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_block(c, dev, id, offset, code, data);
		return;
	}
	fill_event(c, dev, CW_EV_BLOCK, &ev);
	ev.id = id;
	ev.offset = offset;
	ev.code = code;
	ev.data = data;
	deliver(c, &ev);
}

void cw_conn_broadcast(struct cw_conn *c, struct cw_bytes command)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_broadcast(c, command);
		return;
	}
	fill_event(c, NULL, CW_EV_BROADCAST, &ev);
	ev.data = command;
	deliver(c, &ev);
}

void cw_forget_device(struct cw_conn *c, struct cw_rdevice *dev)
{
	struct cw_rdevice **p;

	for (p = &c->devices; *p != NULL; p = &(*p)->next) {
		if (*p == dev) {
			*p = dev->next;
			break;
		}
	}
	cw_handle_free(&c->runner->devices, dev->handle);
	cw_free(dev);
}

void cw_conn_detached(struct cw_conn *c, struct cw_rdevice *dev)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_detached(c, dev);
		return;
	}
	fill_event(c, dev, CW_EV_DETACHED, &ev);
	(void)call_event(c, &ev);
	cw_forget_device(c, dev);
	c->ops->called(c->owner);
	if (c->scan)
		(void)after_call(c);
}

void cw_conn_close(struct cw_conn *c)
{
	struct cw_event ev;

	if (c->remote != NULL) {
		cw_remote_close(c);
		return;
	}
	c->closing = 1;
	stop_waiting(c);
	while (c->timers != NULL)
		drop_timer(c, c->timers);
	while (c->devices != NULL) {
		fill_event(c, c->devices, CW_EV_DETACHED, &ev);
		(void)call_event(c, &ev);
		cw_forget_device(c, c->devices);
	}
	fill_event(c, NULL, CW_EV_CLOSED, &ev);
	(void)call_event(c, &ev);
	while (c->timers != NULL) /* armed by the last words */
		drop_timer(c, c->timers);
	cw_conn_unmake(c);
}

int cw_conn_end(struct cw_conn *c)
{
	if (c->remote != NULL)
		return cw_remote_end(c);
	cw_conn_close(c);
	return 0;
}

void *cw_rdevice_user(const struct cw_rdevice *dev)
{
	return dev->user;
}

const char *cw_rdevice_identity(const struct cw_rdevice *dev)
{
	return dev->text;
}

const char *cw_rdevice_product_key(const struct cw_rdevice *dev)
{
	return dev->text + dev->identity_len + 1;
}

const char *cw_rdevice_device_name(const struct cw_rdevice *dev)
{
	return dev->text + dev->identity_len + dev->product_key_len + 2;
}

struct cw_rdevice *cw_conn_next_device(const struct cw_conn *c, const struct cw_rdevice *prev)
{
	return prev == NULL ? c->devices : prev->next;
}
