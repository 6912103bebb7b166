/*
 * pending.c - frames of devices that no source knows (`unknown = keep`), on the control loop.
 *
 * A worker sets a frame aside by mail, after the sources have said that nobody knows its device. A `pend` holds the
 * frames of one identity, bounded in frames, bytes and time; all of them together are bounded in bytes, and the
 * identity that was not heard of for longest goes first. When a source knows the identity the frames go to a worker as
 * a `replay` (replay.c), which decodes them as a connection of their own and keeps them until their records are
 * settled. Whoever asks for the device meanwhile waits in `parked` until the last frame was handed over, so that order
 * holds.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "gateway/gateway_impl.h"
#include "plugin/isolate.h"

#define SWEEP_MS 2000u
/* Connections of kept frames at once. */
#define REPLAYS_MOST 64u

struct pend {
	struct cw_map_node node;
	struct cw_list all;    /* the store's, in the order they came */
	struct cw_list old;    /* the store's, heard of last at the end; only with frames that wait */
	struct cw_list ready;  /* the store's: waits for its replay */
	struct cw_list frames; /* struct kept_frame that wait, oldest first */
	struct cw_list parked; /* struct ask of live sessions */
	struct cw_gateway *gateway;
	struct cw_question question;
	struct binding *binding;   /* of the latest frame, as the next two */
	struct gw_worker *live_gw; /* the session that may be given the device; NULL: none */
	uint64_t live_session;
	size_t count, bytes; /* that wait */
	size_t out;          /* with replays, not settled */
	uint64_t dropped;
	int64_t last_ms;
	uint8_t replaying; /* frames are being decoded */
	uint8_t asking, ask_again;
	uint8_t retry; /* a replay could not attach for now */
	char peer[CW_ADDR_TEXT];
	uint8_t length;
	char identity[];
};

struct pending {
	struct cw_gateway *gateway;
	struct cw_map map;
	struct cw_list all, old, ready;
	struct cw_pending_limits limits;
	struct cw_timer sweep;
	size_t total; /* bytes, with what keeping them costs */
	unsigned running;
	int sweeping, over;
};

static void pump(struct pending *s);
static void ask_sources(struct pend *p);
static void let_in(struct pend *p, int refused);

static struct pend *find(struct pending *s, const char *identity, size_t len)
{
	struct cw_map_node *n = cw_map_find(&s->map, identity, len);

	return n == NULL ? NULL : cw_container_of(n, struct pend, node);
}

static struct pending *store_of(const struct pend *p)
{
	return p->gateway->pending;
}

static size_t cost(const struct kept_frame *f)
{
	return sizeof(*f) + f->identity_len + f->len;
}

static void account(struct pending *s, const struct kept_frame *f, int sign)
{
	s->total += sign > 0 ? cost(f) : -cost(f);
	cw_gauge_add(pending, frames, sign);
	cw_gauge_add(pending, bytes, sign * (int64_t)cost(f));
}

/* ---- frames that wait ------------------------------------------------------------------ */

static void push(struct pend *p, struct kept_frame *f, int front)
{
	if (front)
		cw_list_push_front(&p->frames, &f->link);
	else
		cw_list_push_back(&p->frames, &f->link);
	p->count++;
	p->bytes += f->len;
}

/* NULL: it has none. */
static struct kept_frame *oldest_of(const struct pend *p)
{
	struct cw_list *e = cw_list_first(&p->frames);

	return e == NULL ? NULL : cw_container_of(e, struct kept_frame, link);
}

static struct kept_frame *shift(struct pend *p)
{
	struct cw_list *e = cw_list_pop(&p->frames);
	struct kept_frame *f = e == NULL ? NULL : cw_container_of(e, struct kept_frame, link);

	if (f == NULL)
		return NULL;
	p->count--;
	p->bytes -= f->len;
	if (p->count == 0)
		cw_list_remove(&p->old);
	return f;
}

static void drop_oldest(struct pend *p)
{
	struct kept_frame *f = shift(p);

	account(store_of(p), f, -1);
	cw_count(pending, dropped);
	p->dropped++;
	cw_free(f);
}

/* Forget the identity when nothing is left of it. Who waits behind frames that were dropped waits for nothing. */
static void end_if_empty(struct pend *p)
{
	struct pending *s = store_of(p);

	if (p->count == 0 && !p->replaying && !cw_list_empty(&p->parked) && !s->over)
		let_in(p, 0);
	if (p->count > 0 || p->out > 0 || p->replaying || !cw_list_empty(&p->parked))
		return;
	if (p->asking)
		cw_resolver_cancel(cw_bridge_resolver(p->gateway->conf.bridge), &p->question);
	cw_map_remove(&s->map, &p->node);
	cw_list_remove(&p->all);
	cw_list_remove(&p->ready);
	cw_gauge_add(pending, identities, -1);
	cw_free(p);
}

static void log_dropped(const struct pend *p, size_t frames, const char *why)
{
	cw_log(pending_dropped, why, CW_LB("identity", p->identity, p->length), CW_LS("listener", p->binding->name),
	       CW_LU("frames", frames));
}

static size_t drop_all(struct pend *p)
{
	size_t n = p->count;

	while (p->count > 0)
		drop_oldest(p);
	return n;
}

/* Within the identity's limits, then within all. */
static void make_room(struct pending *s, struct pend *p)
{
	size_t n = 0;

	while (p->count > s->limits.frames || p->bytes > s->limits.bytes_each) {
		drop_oldest(p);
		n++;
	}
	if (n > 0)
		log_dropped(p, n, "its oldest frames went: pending.frames or pending.bytesEach is reached");
	while (s->total > s->limits.bytes) {
		struct cw_list *e = cw_list_first(&s->old);
		struct pend *victim = e == NULL ? NULL : cw_container_of(e, struct pend, old);

		if (victim == NULL)
			return; /* all of it is on its way */
		if (victim == p) {
			drop_oldest(p);
			continue;
		}
		log_dropped(victim, drop_all(victim), "pending.bytes is reached, and it was not heard of for longest");
		end_if_empty(victim);
	}
}

static void on_sweep(struct cw_timer *t)
{
	struct pending *s = cw_container_of(t, struct pending, sweep);
	int64_t oldest = cw_clock_wall_ms() - s->limits.time_ms;
	struct cw_list *e, *next;
	struct kept_frame *f;

	cw_list_each_safe(e, next, &s->all) {
		struct pend *p = cw_container_of(e, struct pend, all);
		size_t n = 0;

		while ((f = oldest_of(p)) != NULL && f->arrived_ms < oldest) {
			drop_oldest(p);
			n++;
		}
		if (n > 0)
			log_dropped(p, n, "they were kept for pending.time");
		if (p->retry && p->count > 0) {
			p->retry = 0;
			ask_sources(p);
			continue; /* it may be gone now */
		}
		end_if_empty(p);
	}
	s->sweeping = !cw_list_empty(&s->all);
	if (s->sweeping)
		cw_timer_set(cw_worker_timers(s->gateway->conf.control), &s->sweep, SWEEP_MS, on_sweep);
}

static struct pend *make(struct pending *s, const struct kept_frame *f)
{
	struct pend *p = cw_zalloc(sizeof(*p) + f->identity_len + 1);

	if (p == NULL)
		return NULL;
	p->gateway = s->gateway;
	p->length = f->identity_len;
	memcpy(p->identity, f->bytes, f->identity_len);
	cw_list_init(&p->frames);
	cw_list_init(&p->parked);
	cw_list_init(&p->old);
	cw_list_init(&p->ready);
	if (cw_map_add(&s->map, &p->node, p->identity, p->length) < 0) {
		cw_free(p);
		return NULL;
	}
	cw_list_push_back(&s->all, &p->all);
	cw_gauge_add(pending, identities, 1);
	if (!s->sweeping)
		cw_timer_set(cw_worker_timers(s->gateway->conf.control), &s->sweep, SWEEP_MS, on_sweep);
	s->sweeping = 1;
	return p;
}

static void on_kept(struct cw_mail *mail)
{
	struct kept_frame *f = cw_container_of(mail, struct kept_frame, mail);
	struct pending *s = f->gw->gateway->pending;
	struct pend *p = find(s, (const char *)f->bytes, f->identity_len);
	uint64_t known_at = f->known_at;

	if (p == NULL && !s->over)
		p = make(s, f);
	if (p == NULL) {
		cw_count(pending, dropped);
		cw_free(f);
		return;
	}
	p->binding = f->binding;
	memcpy(p->peer, f->peer, sizeof(p->peer));
	p->last_ms = f->arrived_ms;
	if (f->session != 0) {
		p->live_gw = f->gw;
		p->live_session = f->session;
	}
	cw_count(pending, kept);
	account(s, f, 1);
	push(p, f, 0);
	cw_list_remove(&p->old);
	cw_list_push_back(&s->old, &p->old);
	make_room(s, p);
	if (p->count == 0)
		end_if_empty(p);
	else if (known_at != s->gateway->appeared ||
		 p->out > 0) /* it may have been added since its device was refused */
		ask_sources(p);
}

/* On the worker: the frame that waits for its outcome, of a device that nobody knows. 1: it is on its way. */
int gw_pending_keep(struct link *l, const struct ask *k)
{
	struct cw_runner *runner = l->gw->runners[l->binding->protocol_index];
	struct cw_bytes waiting = cw_conn_waiting_frame(l->conn);
	struct cw_bytes frame = waiting.len > 0 ? waiting : cw_bytes_of(l->at_hand, l->at_hand_len);
	struct cw_host_info host;
	/* A decoder in a process of its own cannot be shown single frames yet. */
	int can = frame.len > 0 && !cw_runner_host_info(runner, &host);
	struct kept_frame *f = !can ? NULL : cw_alloc(sizeof(*f) + k->identity_len + frame.len);

	if (f == NULL)
		return 0;
	memset(f, 0, sizeof(*f));
	f->gw = l->gw;
	f->binding = l->binding;
	f->session = k->lookup ? 0 : l->id; /* who only looks has not shown that it is the device */
	f->known_at = k->known_at;
	f->arrived_ms = l->asked_ms;
	f->flags = gw_link_flags(l) & ~CW_EVF_DIALLED;
	f->len = (uint32_t)frame.len;
	f->identity_len = (uint8_t)k->identity_len;
	(void)gw_link_peer(l, f->peer);
	memcpy(f->bytes, k->identity, k->identity_len);
	memcpy(f->bytes + k->identity_len, frame.ptr, frame.len);
	gw_link_take_frame(l, cw_bytes_of(NULL, 0));
	cw_session_identified(l->net); /* its frames are taken: identifyTime is met, idleTime counts */
	cw_post(l->gw->gateway->conf.control, &f->mail, on_kept);
	return 1;
}

/* ---- a source knows it ------------------------------------------------------------------- */

static void make_ready(struct pend *p)
{
	struct pending *s = store_of(p);

	if (p->replaying || p->count == 0 || !cw_list_empty(&p->ready))
		return;
	cw_list_push_back(&s->ready, &p->ready);
	pump(s);
}

static void on_answer(struct cw_question *q, int rc, const struct cw_identity *id)
{
	struct pend *p = cw_container_of(q, struct pend, question);

	p->asking = 0;
	if (rc == CW_OK)
		make_ready(p);
	else if (rc != CW_ENOENT)
		p->retry = 1;
	else if (p->ask_again)
		ask_sources(p);
}

static void ask_sources(struct pend *p)
{
	struct cw_claim claim = { .identity = p->identity, .identity_len = p->length };

	if (p->replaying)
		return;
	p->ask_again = p->asking;
	if (p->asking)
		return;
	p->asking = 1;
	p->question = (struct cw_question){ .done = on_answer };
	cw_resolver_ask(cw_bridge_resolver(p->gateway->conf.bridge), &claim, &p->question);
}

void gw_pending_appeared(struct cw_gateway *g, const char *identity)
{
	struct pend *p = g->pending->map.count == 0 ? NULL : find(g->pending, identity, strlen(identity));

	if (p != NULL && p->count > 0)
		ask_sources(p);
}

/* ---- live sessions ask --------------------------------------------------------------------- */

static void on_parking(struct cw_question *q, int rc, const struct cw_identity *id)
{
	struct ask *k = cw_container_of(q, struct ask, question);
	struct pend *p = find(k->gw->gateway->pending, k->identity, k->identity_len);

	cw_list_remove(&k->link);
	if (rc != CW_OK || p == NULL || (p->count == 0 && !p->replaying)) {
		gw_attach(k); /* says also that nobody knows it */
		return;
	}
	cw_list_push_back(&p->parked, &k->link);
	make_ready(p);
}

void gw_attach_in_turn(struct ask *k)
{
	struct cw_gateway *g = k->gw->gateway;
	struct pend *p = g->pending->map.count == 0 ? NULL : find(g->pending, k->identity, k->identity_len);

	if (p == NULL || (p->count == 0 && !p->replaying))
		gw_attach(k);
	else
		gw_ask_sources(k, on_parking);
}

/* What was kept has been handed over: now those who wait, or who had their frames kept. */
static void let_in(struct pend *p, int refused)
{
	struct cw_list parked, *e;
	struct ask *k;

	cw_list_init(&parked);
	while ((e = cw_list_pop(&p->parked)) != NULL)
		cw_list_push_back(&parked, e);
	if (refused == 0 && cw_list_empty(&parked) && p->live_gw != NULL) {
		k = cw_zalloc(sizeof(*k) + p->length + 1u);
		if (k == NULL)
			return; /* its next frame asks */
		k->gw = p->live_gw;
		k->session = p->live_session;
		k->binding = p->binding;
		k->optional = k->unasked = 1;
		k->identity_len = p->length;
		memcpy(k->identity, p->identity, p->length);
		cw_list_push_back(&parked, &k->link);
	}
	if (refused == 0)
		p->live_gw = NULL;
	while ((e = cw_list_pop(&parked)) != NULL) {
		k = cw_container_of(e, struct ask, link);
		if (refused == 0)
			gw_attach(k);
		else
			gw_answer(k, refused);
	}
}

/* ---- replays --------------------------------------------------------------------------------- */

void gw_pending_fed(struct cw_mail *mail)
{
	struct replay *r = cw_container_of(mail, struct replay, fed_mail);
	struct pend *p = r->pend;
	struct pending *s = store_of(p);
	int refused = r->refused;
	struct cw_list *e;

	s->running--;
	p->replaying = 0;
	while ((e = cw_list_pop(&r->back)) != NULL) { /* the last one first */
		push(p, cw_container_of(e, struct kept_frame, link), 1);
		p->out--;
	}
	if (p->count > 0 && cw_list_empty(&p->old))
		cw_list_push_front(&s->old, &p->old);
	if (refused != 0) {
		p->retry = refused != CW_REFUSED_UNKNOWN;
		let_in(p, refused);
	} else if (p->count > 0) {
		make_ready(p);
	} else {
		let_in(p, 0);
	}
	make_room(s, p);
	end_if_empty(p);
	pump(s);
}

void gw_pending_settled(struct cw_mail *mail)
{
	struct replay *r = cw_container_of(mail, struct replay, done_mail);
	struct pend *p = r->pend;
	struct cw_list *e;

	while ((e = cw_list_pop(&r->taken)) != NULL) {
		struct kept_frame *f = cw_container_of(e, struct kept_frame, link);

		if (f->worst == CW_SETTLED_LOST)
			cw_count(pending, lost);
		else
			cw_count(pending, delivered);
		account(store_of(p), f, -1);
		p->out--;
		cw_free(f);
	}
	cw_free(r);
	end_if_empty(p);
}

/* `f` is the oldest of its frames. */
static int start(struct pend *p, struct kept_frame *f)
{
	struct replay *r = cw_zalloc(sizeof(*r));

	if (r == NULL)
		return CW_ENOMEM;
	cw_list_init(&r->frames);
	cw_list_init(&r->taken);
	cw_list_init(&r->back);
	r->gw = f->gw; /* of a connection, the only one that has its settings */
	r->pend = p;
	r->binding = f->binding;
	r->flags = f->flags;
	r->identity_len = p->length;
	memcpy(r->identity, p->identity, p->length);
	memcpy(r->peer, p->peer, sizeof(r->peer));
	/* Frames that came by another listener are decoded after these. */
	for (; f != NULL && f->binding == r->binding && f->gw == r->gw; f = oldest_of(p)) {
		(void)shift(p);
		f->replay = r;
		cw_list_push_back(&r->frames, &f->link);
		p->out++;
	}
	r->binding = gw_binding_now(r->binding);
	p->replaying = 1;
	cw_log(pending_replay, "", CW_LB("identity", p->identity, p->length), CW_LS("listener", r->binding->name),
	       CW_LU("frames", p->out));
	cw_post(r->gw->worker, &r->mail, gw_replay_start);
	return 0;
}

static void pump(struct pending *s)
{
	struct cw_list *e;

	while (s->running < REPLAYS_MOST && (e = cw_list_pop(&s->ready)) != NULL) {
		struct pend *p = cw_container_of(e, struct pend, ready);
		struct kept_frame *f = oldest_of(p);

		if (f == NULL) { /* dropped meanwhile */
			end_if_empty(p);
			continue;
		}
		if (start(p, f) < 0)
			p->retry = 1;
		else
			s->running++;
	}
}

/* ---- operators ---------------------------------------------------------------------------------- */

void cw_gateway_pending_each(struct cw_gateway *g, cw_pending_fn fn, void *arg)
{
	struct cw_list *e;

	cw_list_each(e, &g->pending->all) {
		const struct pend *p = cw_container_of(e, struct pend, all);
		struct cw_list *first = cw_list_first(&p->frames);
		struct cw_pending_info info = {
			.identity = p->identity,
			.listener = p->binding->name,
			.protocol = p->binding->protocol->name,
			.peer = p->peer,
			.frames = p->count,
			.bytes = p->bytes,
			.delivering = p->out,
			.dropped = p->dropped,
			.first_ms = first == NULL ? p->last_ms
						  : cw_container_of(first, struct kept_frame, link)->arrived_ms,
			.last_ms = p->last_ms,
		};

		fn(arg, &info);
	}
}

int cw_gateway_pending_frames(struct cw_gateway *g, const char *identity, cw_pending_frame_fn fn, void *arg)
{
	const struct pend *p = find(g->pending, identity, strlen(identity));
	struct cw_list *e;

	if (p == NULL)
		return CW_ENOENT;
	cw_list_each(e, &p->frames) {
		const struct kept_frame *f = cw_container_of(e, struct kept_frame, link);

		fn(arg, f->arrived_ms, f->binding->name, f->binding->protocol->name, f->peer,
		   cw_bytes_of(f->bytes + f->identity_len, f->len));
	}
	return 0;
}

int64_t cw_gateway_pending_drop(struct cw_gateway *g, const char *identity)
{
	struct cw_list *e, *next;
	int64_t n = 0;

	cw_list_each_safe(e, next, &g->pending->all) {
		struct pend *p = cw_container_of(e, struct pend, all);

		if (identity != NULL && strcmp(p->identity, identity) != 0)
			continue;
		n += (int64_t)drop_all(p);
		end_if_empty(p);
		if (identity != NULL)
			return n;
	}
	return identity != NULL ? CW_ENOENT : n;
}

void cw_gateway_pending_limits(struct cw_gateway *g, const struct cw_pending_limits *limits)
{
	g->pending->limits = *limits;
}

/* ---- making and ending ------------------------------------------------------------------------------ */

int gw_pending_init(struct cw_gateway *g)
{
	struct pending *s = cw_zalloc(sizeof(*s));

	if (s == NULL)
		return CW_ENOMEM;
	s->gateway = g;
	s->limits = g->conf.pending;
	cw_map_init(&s->map);
	cw_list_init(&s->all);
	cw_list_init(&s->old);
	cw_list_init(&s->ready);
	g->pending = s;
	return 0;
}

void gw_pending_drop_all(struct cw_gateway *g)
{
	struct pending *s = g->pending;
	struct cw_list *e;
	size_t lost = 0;

	s->over = 1;
	cw_timer_stop(cw_worker_timers(g->conf.control), &s->sweep);
	while ((e = cw_list_first(&s->all)) != NULL) {
		struct pend *p = cw_container_of(e, struct pend, all);

		while ((e = cw_list_pop(&p->parked)) != NULL)
			gw_free_ask(cw_container_of(e, struct ask, link));
		lost += p->out + drop_all(p);
		p->out = 0; /* the workers have let go of theirs */
		p->replaying = 0;
		end_if_empty(p);
	}
	if (lost > 0)
		cw_log(pending_lost, "they were in memory only", CW_LU("frames", lost));
}

void gw_pending_fini(struct cw_gateway *g)
{
	if (g->pending == NULL)
		return;
	cw_map_fini(&g->pending->map);
	cw_free(g->pending);
	g->pending = NULL;
}
