/*
 * hosted.c - what runs inside a plugin host: the local runner, with causewayd at the other end of two rings.
 *
 * A message from above is a call of runner.h; a call of the decoder's is a message up. Answers to the decoder
 * come from what is known here. What one entry says is shown to causewayd when it has returned, so that of an
 * entry that crashes nothing is known but that it crashed.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "plugin/load.h"
#include "plugin/process.h"
#include "plugin/remote.h"
#include "plugin/runner_impl.h"
#include "plugin/sandbox.h"

#define TURN_MOST 500          /* messages before timers have their turn */
#define RING_AFTER 16          /* entries, then causewayd is woken though there is more to do */
#define SENT_MOST (4u << 20)       /* bytes for one peer in one turn, beyond what it may keep */
#define WAITING_MOST (256u << 10) /* bytes that found no room in the ring; then this side waits */

struct hosted_device {
	struct hosted_device *next;
	struct cw_rdevice *rdev;
	uint64_t wire;
};

struct hosted {
	struct cw_list dirty; /* host->dirty: something was done with its bytes */
	struct host *host;
	struct cw_conn *conn;
	struct hosted_device *devices;
	uint64_t wire;     /* its handle in causewayd */
	uint64_t fed, reported;
	size_t reported_again, sent;
	char listener[];
};

struct host_conf {
	uint32_t id;
	void *conf;
};

/* Things by the lower half of causewayd's handles, which are small numbers. */
struct table {
	void **v;
	uint32_t size;
};

struct host {
	struct cw_shared *shared;
	struct cw_worker *worker;
	struct cw_runner *runner;
	struct cw_outlet up;
	struct cw_intake down;
	uv_poll_t poll;
	uv_prepare_t prepare;
	int bell, parent_bell;
	struct table conns, devices, confs;
	struct cw_list dirty;
	unsigned unrung; /* entries since causewayd was woken */
	int must_ring, bell_taken;
	uint64_t stats[CW_STAT_COUNT], *counts;
};

const struct cw_rehearsal *cw_rehearsal;

static struct host *the_host; /* one a process; for lines of the log, which carry no context */

/* ---- up ---------------------------------------------------------------------------- */

static void ring_up(struct host *h)
{
	if (h->must_ring)
		cw_process_ring_bell(h->parent_bell);
	h->must_ring = 0;
	h->unrung = 0;
}

static void publish(struct host *h)
{
	(void)cw_outlet_flush(&h->up);
	h->must_ring |= cw_ring_publish(&h->up.ring);
	if (h->up.failed)
		abort(); /* out of memory: the next host begins with less */
}

/* Everything into the ring, however long causewayd takes. */
static void push_all(struct host *h)
{
	publish(h);
	while (h->up.wait_len > 0) {
		struct pollfd p = { .fd = h->bell, .events = POLLIN };

		ring_up(h);
		if (cw_ring_wait(&h->up.ring)) {
			(void)poll(&p, 1, -1);
			cw_process_hush_bell(h->bell);
			h->bell_taken = 1; /* it may have meant the other ring */
		}
		publish(h);
	}
}

static void say(struct host *h, const struct cw_wire *m)
{
	cw_outlet_put(&h->up, m);
	if (h->up.wait_len > WAITING_MOST)
		push_all(h);
}

static void say_for(const struct hosted *x, struct cw_wire m)
{
	m.conn = x->wire;
	say(x->host, &m);
}

static uint64_t wire_of(const struct cw_rdevice *dev)
{
	return dev == NULL ? 0 : ((const struct hosted_device *)dev->user)->wire;
}

static void soil(struct hosted *x)
{
	if (cw_list_empty(&x->dirty))
		cw_list_push_back(&x->host->dirty, &x->dirty);
}

static void on_close(void *owner, uint64_t delay_ms, const char *reason)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_CLOSE, .a = delay_ms, .parts = 1, .part = { cw_bytes_text(reason) } });
}

static int on_send(void *owner, struct cw_bytes out)
{
	struct hosted *x = owner;

	if (x->conn->closing)
		return CW_ECLOSED;
	if (x->sent + out.len > x->conn->cap + SENT_MOST) { /* what the peer takes is known in causewayd; this is without end */
		x->conn->closing = 1;
		on_close(owner, 0, "more to send than any peer can take");
		return CW_ELIMIT;
	}
	x->sent += out.len;
	say_for(x, (struct cw_wire){ .kind = CW_UP_SEND, .parts = 1, .part = { out } });
	return 0;
}

static int on_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_EMIT, .dev = wire_of(dev), .a = ticket, .parts = 1, .part = { record } });
	return 0;
}

static int on_identify(void *owner, const struct cw_identify *who)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_IDENTIFY, .a = who->flags, .parts = 3, .part = { who->identity, who->facts, who->secret } });
	return 0;
}

static int on_detach(void *owner, struct cw_rdevice *dev)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_DETACH, .dev = wire_of(dev) });
	return 0;
}

static int on_linger(void *owner, struct cw_rdevice *dev, uint64_t delay_ms)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_LINGER, .dev = wire_of(dev), .a = delay_ms });
	return 0;
}

static int on_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_DONE, .a = id, .b = (uint64_t)code, .parts = 1, .part = { reply } });
	return 0;
}

static int on_extend(void *owner, uint64_t id, uint64_t delay_ms)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_EXTEND, .a = id, .b = delay_ms });
	return 0;
}

static int on_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_SAVE, .dev = wire_of(dev), .parts = 1, .part = { state } });
	return 0;
}

static int on_want_block(void *owner, uint64_t id, uint64_t offset, size_t length)
{
	struct hosted *x = owner;
	struct cw_rdevice *only = x->conn->devices;

	say_for(x, (struct cw_wire){ .kind = CW_UP_WANT_BLOCK, .dev = wire_of(only), .a = id, .b = offset, .c = length });
	return 0;
}

static int on_attach_open(void *owner, struct cw_rdevice *dev, uint64_t attachment, const char *name)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_ATTACH_OPEN, .dev = wire_of(dev), .a = attachment, .parts = 1, .part = { cw_bytes_text(name) } });
	return 0;
}

static int on_attach_write(void *owner, uint64_t attachment, struct cw_bytes data)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_ATTACH_WRITE, .a = attachment, .parts = 1, .part = { data } });
	return 0;
}

static int on_attach_close(void *owner, uint64_t attachment, int keep, char name[64])
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_ATTACH_CLOSE, .a = attachment, .b = keep != 0 });
	return 0;
}

static void on_line(void *owner, int level, const char *text)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_LINE, .a = (uint64_t)level, .parts = 1, .part = { cw_bytes_text(text) } });
}

static void on_foreign(void *owner, struct cw_bytes identity)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_FOREIGN, .parts = 1, .part = { identity } });
}

/* Where in all that was fed these bytes of the input stand. */
static uint64_t position(const struct hosted *x, struct cw_bytes piece)
{
	return x->fed - (uint64_t)(x->conn->input_end - piece.ptr);
}

static void on_frame(void *owner, struct cw_bytes frame, int rc)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_FRAME, .a = position(owner, frame), .b = frame.len, .c = (uint64_t)(int64_t)rc });
}

static void on_noise(void *owner, struct cw_bytes dropped)
{
	say_for(owner, (struct cw_wire){ .kind = CW_UP_NOISE, .a = position(owner, dropped), .b = dropped.len });
}

static void on_called(void *owner)
{
	struct hosted *x = owner;

	say_for(x, (struct cw_wire){ .kind = CW_UP_CALLED });
	soil(x);
	if (x->conn->feeding && x->conn->again_len > 0)
		return; /* with the frame that waits, which is not known before all of it was cut */
	publish(x->host);
	if (++x->host->unrung >= RING_AFTER)
		ring_up(x->host);
}

static const struct cw_conn_ops conn_ops = {
	.send = on_send, .emit = on_emit, .identify = on_identify, .detach = on_detach, .linger = on_linger, .command_done = on_done,
	.command_extend = on_extend, .save = on_save, .want_block = on_want_block, .attach_open = on_attach_open,
	.attach_write = on_attach_write, .attach_close = on_attach_close, .line = on_line, .foreign = on_foreign, .frame = on_frame,
	.noise = on_noise, .close = on_close, .called = on_called,
};

/* ---- the entry under way ----------------------------------------------------------------- */

static void on_entering(struct cw_conn *c, uint32_t kind, uint64_t id, struct cw_bytes frame)
{
	struct hosted *x = c->owner;
	struct cw_at_hand *at = &x->host->shared->at_hand;

	atomic_store_explicit(&at->conn, x->wire, memory_order_relaxed);
	atomic_store_explicit(&at->kind, kind, memory_order_relaxed);
	atomic_store_explicit(&at->pos, kind == CW_EV_DATA ? position(x, frame) : 0, memory_order_relaxed);
	atomic_store_explicit(&at->len, frame.len, memory_order_relaxed);
	atomic_store_explicit(&at->id, id, memory_order_relaxed);
	atomic_fetch_add_explicit(&at->seq, 1, memory_order_release);
}

static void on_leaving(struct cw_runner *r)
{
	atomic_fetch_add_explicit(&the_host->shared->at_hand.seq, 1, memory_order_release);
}

/* ---- lines and counters ---------------------------------------------------------------------- */

static void forward_line(enum cw_log_id id, const char *text, const struct cw_log_kv *fields, size_t count)
{
	static const char *const keys[] = { "protocol", "device", "peer", "listener", "bytes", "max", "maxNoise", "ms" };
	uint8_t flat[1200];
	struct cw_writer w = cw_writer_of(flat, sizeof(flat));
	char number[24];
	size_t i, k;

	for (i = 1; i < count; i++) {
		const char *value = fields[i].kind == CW_KV_STR || fields[i].kind == CW_KV_BYTES ? fields[i].v.s : number;
		size_t len = fields[i].kind == CW_KV_BYTES ? fields[i].len : 0;

		if (value == number)
			(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)fields[i].v.u);
		if (value == NULL)
			continue;
		if (fields[i].kind != CW_KV_BYTES)
			len = strlen(value);
		for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
			if (strcmp(keys[k], fields[i].key) != 0)
				continue;
			cw_write_u8(&w, (uint8_t)k);
			cw_write_u16be(&w, (uint16_t)(len > 300 ? 300 : len));
			cw_write_raw(&w, value, len > 300 ? 300 : len);
		}
	}
	say(the_host, &(struct cw_wire){ .kind = CW_UP_LOG, .a = id, .parts = 2, .part = { cw_bytes_text(text), cw_written(&w) } });
}

static void say_counters(struct host *h)
{
	static const enum cw_stat_id counted[] = { CW_STAT_plugin_frames_in, CW_STAT_plugin_frames_malformed, CW_STAT_plugin_noise_bytes,
		CW_STAT_plugin_closed_noise, CW_STAT_plugin_closed_partial, CW_STAT_plugin_slow_calls, CW_STAT_plugin_refused_calls,
		CW_STAT_plugin_records, CW_STAT_bridge_records_unidentified, CW_STAT_bridge_foreign_identity };
	size_t i;

	for (i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
		uint64_t now = (uint64_t)cw_stat_read(counted[i]);

		if (now != h->stats[counted[i]])
			say(h, &(struct cw_wire){ .kind = CW_UP_STAT, .a = counted[i], .b = now - h->stats[counted[i]] });
		h->stats[counted[i]] = now;
	}
	for (i = 0; i < h->runner->counter_count; i++) {
		if (h->runner->counters[i] != h->counts[i])
			say(h, &(struct cw_wire){ .kind = CW_UP_COUNT, .a = i, .b = h->runner->counters[i] - h->counts[i] });
		h->counts[i] = h->runner->counters[i];
	}
}

/* How far each connection's bytes were used, and whatever else was not said yet. */
static void say_rest(struct host *h)
{
	struct cw_list *e;
	int any = !cw_list_empty(&h->dirty);

	while ((e = cw_list_pop(&h->dirty)) != NULL) {
		struct hosted *x = cw_container_of(e, struct hosted, dirty);
		uint64_t used = x->fed - x->conn->kept_len;

		x->sent = 0;
		if (used == x->reported && x->conn->again_len == x->reported_again)
			continue;
		x->reported = used;
		x->reported_again = x->conn->again_len;
		say_for(x, (struct cw_wire){ .kind = CW_UP_CONSUMED, .a = used, .b = x->conn->again_len });
	}
	if (any)
		say_counters(h);
	push_all(h);
	ring_up(h);
}

/* ---- down ---------------------------------------------------------------------------------------- */

static void **place(struct table *t, uint64_t wire)
{
	uint32_t i = (uint32_t)wire;

	if (i >= t->size) {
		uint32_t size = i < 64 ? 64 : i * 2;
		void **v = cw_realloc(t->v, size * sizeof(*v));

		if (v == NULL)
			abort();
		memset(v + t->size, 0, (size - t->size) * sizeof(*v));
		t->v = v;
		t->size = size;
	}
	return &t->v[i];
}

static struct hosted *conn_of(struct host *h, uint64_t wire)
{
	struct hosted *x = *place(&h->conns, wire);

	return x != NULL && x->wire == wire ? x : NULL;
}

static struct hosted_device *device_of(struct host *h, uint64_t wire)
{
	struct hosted_device *d = *place(&h->devices, wire);

	return d != NULL && d->wire == wire ? d : NULL;
}

static void take_conf(struct host *h, const struct cw_wire *m)
{
	void **at = place(&h->confs, m->a);
	struct cw_msg msg;

	if (m->kind == CW_DOWN_CONF_FREE) {
		cw_runner_settings_free(h->runner, *at);
		*at = NULL;
	} else if (cw_runner_settings(h->runner, m->part[0], at, &msg) < 0) {
		abort(); /* the same bytes were accepted in causewayd */
	}
}

static void take_open(struct host *h, const struct cw_wire *m)
{
	struct hosted *x = cw_zalloc(sizeof(*x) + m->part[0].len + 1);
	struct cw_conn_open how = {
		.conf = *place(&h->confs, (uint32_t)m->a),
		.flags = (uint32_t)(m->a >> 32),
		.peer = m->part[1],
		.identity = m->part[2],
		.max_noise = (size_t)m->b,
		.cap = (size_t)m->c,
		.attach_most = m->dev,
	};

	if (x == NULL)
		abort();
	x->host = h;
	x->wire = m->conn;
	cw_list_init(&x->dirty);
	memcpy(x->listener, m->part[0].ptr, m->part[0].len);
	how.listener = x->listener;
	*place(&h->conns, m->conn) = x;
	if (cw_conn_open(h->runner, &conn_ops, x, &how, &x->conn) < 0)
		abort();
}

static void take_identified(struct host *h, struct hosted *x, const struct cw_wire *m)
{
	struct hosted_device *d = device_of(h, m->dev);
	char pk[256], dn[256];

	if (d == NULL) {
		d = cw_zalloc(sizeof(*d));
		if (d == NULL)
			abort();
		d->wire = m->dev;
		d->next = x->devices;
		x->devices = d;
		*place(&h->devices, m->dev) = d;
	}
	(void)snprintf(pk, sizeof(pk), "%.*s", (int)m->part[1].len, (const char *)m->part[1].ptr);
	(void)snprintf(dn, sizeof(dn), "%.*s", (int)m->part[2].len, (const char *)m->part[2].ptr);
	if (cw_conn_identified(x->conn, m->part[0], pk, dn, m->part[3], (unsigned)m->a, *place(&h->confs, m->b), d, &d->rdev) < 0)
		abort();
}

static void drop_device(struct host *h, struct hosted *x, struct hosted_device *d)
{
	struct hosted_device **p;

	for (p = &x->devices; *p != d; p = &(*p)->next)
		;
	*p = d->next;
	*place(&h->devices, d->wire) = NULL;
	cw_free(d);
}

static void take_close(struct host *h, struct hosted *x)
{
	struct cw_wire closed = { .kind = CW_UP_CLOSED };

	cw_conn_close(x->conn);
	while (x->devices != NULL)
		drop_device(h, x, x->devices);
	cw_list_remove(&x->dirty);
	*place(&h->conns, x->wire) = NULL;
	say_for(x, closed);
	publish(h);
	cw_free(x);
}

static void take_command(struct hosted *x, struct hosted_device *d, const struct cw_wire *m)
{
	int rc = cw_conn_command(x->conn, d->rdev, m->a, m->part[0], m->b);

	if (rc != 0)
		say_for(x, (struct cw_wire){ .kind = CW_UP_COMMAND_REFUSED, .a = m->a, .b = (uint64_t)(int64_t)rc });
	soil(x);
}

static void take_of_device(struct host *h, struct hosted *x, const struct cw_wire *m)
{
	struct hosted_device *d = device_of(h, m->dev);

	if (d == NULL)
		return;
	switch (m->kind) {
	case CW_DOWN_STATE: cw_conn_state(x->conn, d->rdev, (int)m->a, (int)(int64_t)m->b); break;
	case CW_DOWN_COMMAND: take_command(x, d, m); break;
	case CW_DOWN_CANCEL: cw_conn_command_cancelled(x->conn, d->rdev, m->a); break;
	case CW_DOWN_REPLY: cw_conn_reply(x->conn, d->rdev, m->part[0], (int)(int64_t)m->a, m->part[1]); break;
	case CW_DOWN_BLOCK: cw_conn_block(x->conn, d->rdev, m->a, m->b, (int)(int64_t)m->c, m->part[0]); break;
	case CW_DOWN_DETACHED:
		cw_conn_detached(x->conn, d->rdev);
		drop_device(h, x, d);
		break;
	}
}

static void take(struct host *h, const struct cw_wire *m)
{
	struct hosted *x;

	if (m->kind == CW_DOWN_CONF || m->kind == CW_DOWN_CONF_FREE) {
		take_conf(h, m);
		return;
	}
	if (m->kind == CW_DOWN_OPEN) {
		take_open(h, m);
		return;
	}
	x = conn_of(h, m->conn);
	if (x == NULL)
		return;
	switch (m->kind) {
	case CW_DOWN_FEED:
		x->fed += m->part[0].len;
		(void)cw_conn_feed(x->conn, m->part[0]);
		break;
	case CW_DOWN_HOLD: cw_conn_hold(x->conn); break;
	case CW_DOWN_RESUME: (void)cw_conn_resume(x->conn); break;
	case CW_DOWN_ARRIVAL: cw_conn_set_arrival(x->conn, (int64_t)m->a); break;
	case CW_DOWN_IDENTIFIED: take_identified(h, x, m); break;
	case CW_DOWN_REFUSED: cw_conn_refused(x->conn, m->part[0], (int)(int64_t)m->a); break;
	case CW_DOWN_MEMBERS: cw_conn_members(x->conn, m->part[0], (int)(int64_t)m->a); break;
	case CW_DOWN_SETTLED: cw_conn_settled(x->conn, m->a, (int)(int64_t)m->b); break;
	case CW_DOWN_BROADCAST: cw_conn_broadcast(x->conn, m->part[0]); break;
	case CW_DOWN_CLOSE: take_close(h, x); return;
	case CW_DOWN_REHEARSE:
		if (cw_rehearsal != NULL)
			cw_rehearsal->told(x->conn, m->a, m->b, m->part[0]);
		break;
	default: take_of_device(h, x, m); break;
	}
	soil(x);
}

static void turn(struct host *h)
{
	struct cw_wire m;
	int rc = 0, wake = 0, n = 0;

	do {
		h->bell_taken = 0;
		while (n < TURN_MOST && (rc = cw_intake_next(&h->down, &m, &wake)) == 1) {
			take(h, &m);
			n++;
			if (wake)
				cw_process_ring_bell(h->parent_bell);
			wake = 0;
		}
		if (rc < 0)
			abort();
		say_rest(h);
	} while (n < TURN_MOST && (!cw_ring_sleep(&h->down.ring) || h->bell_taken));
	if (n >= TURN_MOST)
		cw_process_ring_bell(h->bell);
}

static void on_bell(uv_poll_t *p, int status, int events)
{
	cw_process_hush_bell(the_host->bell);
	turn(the_host);
}

/* Timers of the decoder have spoken. */
static void on_prepare(uv_prepare_t *p)
{
	say_rest(the_host);
	if (the_host->bell_taken) { /* while this side waited for room */
		the_host->bell_taken = 0;
		cw_process_ring_bell(the_host->bell);
	}
}

/* ---- begin ------------------------------------------------------------------------------------------ */

static void fail(struct host *h, const char *why)
{
	say(h, &(struct cw_wire){ .kind = CW_UP_FAILED, .parts = 1, .part = { cw_bytes_text(why) } });
	push_all(h);
	ring_up(h);
	_exit(1);
}

static struct host *new_host(int first_fd)
{
	struct host *h = cw_zalloc(sizeof(*h));
	void *at = mmap(NULL, sizeof(struct cw_shared), PROT_READ | PROT_WRITE, MAP_SHARED, first_fd + CW_HOST_FD_MEMORY, 0);

	if (h == NULL || at == MAP_FAILED)
		_exit(1);
	h->shared = at;
	h->bell = first_fd + CW_HOST_FD_BELL;
	h->parent_bell = first_fd + CW_HOST_FD_PARENT_BELL;
	cw_list_init(&h->dirty);
	cw_ring_init(&h->down.ring, &h->shared->down, h->shared->down_data, CW_SHARED_RING);
	cw_ring_init(&h->up.ring, &h->shared->up, h->shared->up_data, CW_SHARED_RING);
	return h;
}

static void tie_to_parent(const struct cw_host_setup *setup)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != setup->parent)
		_exit(0);
	/* The terminal and the service manager mean causewayd, which ends its hosts itself, in order. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
}

void cw_hosted_main(int first_fd, const struct cw_plugin_desc *desc)
{
	struct host *h = new_host(first_fd);
	const struct cw_host_setup setup = h->shared->setup;
	struct cw_msg msg = { "" };
	int rc;

	tie_to_parent(&setup);
	the_host = h;
	cw_log_setup((enum cw_log_level)setup.log_level, 0, -1);
	cw_log_forward(forward_line);
	if (cw_worker_new("host", setup.worker, &h->worker) < 0)
		fail(h, "out of memory");
	if (cw_rehearsal != NULL)
		cw_rehearsal->begun(h->worker);
	if (desc == NULL && cw_plugin_load(setup.plugin, &desc, &msg) < 0)
		fail(h, msg.text);
	if (cw_runner_new(desc, h->worker, &h->runner, &msg) < 0)
		fail(h, msg.text);
	if (cw_rehearsal != NULL)
		cw_rehearsal->made(h->runner);
	h->runner->entering = on_entering;
	h->runner->leaving = on_leaving;
	h->counts = cw_calloc(h->runner->counter_count, sizeof(uint64_t));
	if (h->counts == NULL || uv_poll_init(cw_worker_loop(h->worker), &h->poll, h->bell) != 0 ||
	    uv_prepare_init(cw_worker_loop(h->worker), &h->prepare) != 0)
		fail(h, "out of memory");
	(void)uv_poll_start(&h->poll, UV_READABLE, on_bell);
	(void)uv_prepare_start(&h->prepare, on_prepare);
	rc = cw_sandbox_enter(setup.sandbox, setup.memory, &msg);
	if (rc < 0)
		fail(h, msg.text);
	say(h, &(struct cw_wire){ .kind = CW_UP_READY, .a = (uint64_t)rc, .parts = 1, .part = { cw_bytes_text(msg.text) } });
	turn(h);
	cw_worker_run(h->worker);
	_exit(0);
}
