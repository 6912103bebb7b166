/*
 * link.c - one session tied to one connection of its decoder, on one worker.
 *
 * Bytes go from the session into the runner, what the decoder says goes out to the
 * session, to ingest.c, attach.c and dispatch.c. A link is paused when the runner
 * holds (a question is open) or when a lane had no room, and goes on by
 * gw_link_continue(). It ends once, in on_closed(), whoever wanted it.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "gateway/gateway_impl.h"

struct link *gw_link_find(struct gw_worker *gw, uint64_t session)
{
	struct cw_map_node *n = cw_map_find(&gw->links, &session, sizeof(session));

	return n == NULL ? NULL : cw_container_of(n, struct link, node);
}

struct attachee *gw_attachee_find(struct link *l, uint64_t tie)
{
	struct attachee *a;

	for (a = l->attached; a != NULL; a = a->next)
		if (a->tie == tie)
			return a;
	return NULL;
}

void gw_attachee_drop(struct link *l, struct attachee *a, int tell_decoder)
{
	struct attachee **p;
	uint64_t tie = a->tie;
	uint32_t linger_ms = a->linger_ms;

	for (p = &l->attached; *p != NULL; p = &(*p)->next) {
		if (*p == a) {
			*p = a->next;
			break;
		}
	}
	gw_ingest_device_gone(l, a->up);
	while (a->again > 0) { /* the question has an outcome, though another than it looked like */
		a->again--;
		if (l->conn != NULL)
			cw_conn_refused(l->conn, cw_bytes_text(cw_rdevice_identity(a->rdev)), CW_REFUSED_LATER);
	}
	if (tell_decoder)
		cw_conn_detached(l->conn, a->rdev);
	cw_runner_settings_free(l->gw->runners[l->binding->protocol_index], a->conf);
	cw_free(a);
	gw_post_left(l->gw, tie, l->closing && !tell_decoder ? linger_ms : 0); /* when the connection has gone, not the device */
}

const char *gw_link_peer(const struct link *l, char out[CW_ADDR_TEXT])
{
	if (l->replay == NULL)
		return l->net == NULL ? NULL : cw_session_peer(l->net, out);
	memcpy(out, l->replay->peer, CW_ADDR_TEXT);
	return out;
}

/* ---- closing ------------------------------------------------------------------- */

struct delayed_close {
	struct cw_timer timer;
	struct link *link;
	int why;
	char reason[80];
};

static void drop_closer(struct link *l)
{
	if (l->closer == NULL)
		return;
	cw_timer_stop(cw_worker_timers(l->gw->worker), l->closer);
	cw_free(cw_container_of(l->closer, struct delayed_close, timer));
	l->closer = NULL;
}

static void on_close_due(struct cw_timer *t)
{
	struct delayed_close *d = cw_container_of(t, struct delayed_close, timer);

	d->link->closing = 1;
	cw_session_close(d->link->net, d->why, d->reason);
}

void gw_link_close(struct link *l, uint64_t delay_ms, int why, const char *reason)
{
	struct delayed_close *d;

	if (l->closing)
		return;
	if (l->replay != NULL) {
		l->closing = 1;
		gw_replay_close(l->replay);
		return;
	}
	d = delay_ms > 0 && l->closer == NULL ? cw_zalloc(sizeof(*d)) : NULL;
	if (delay_ms > 0 && l->closer != NULL)
		return; /* the first word counts */
	if (d == NULL) {
		l->closing = 1;
		cw_session_close(l->net, why, reason);
		return;
	}
	d->link = l;
	d->why = why;
	strncpy(d->reason, reason, sizeof(d->reason) - 1);
	l->closer = &d->timer;
	cw_timer_set(cw_worker_timers(l->gw->worker), &d->timer, delay_ms, on_close_due);
}

/* ---- what the decoder says --------------------------------------------------------- */

static int on_send(void *owner, struct cw_bytes out)
{
	struct link *l = owner;

	if (gw_traced(l))
		gw_trace_bytes(l, "out", out);
	if (l->replay != NULL)
		return 0; /* nobody is there */
	return l->net == NULL ? CW_ECLOSED : cw_session_send(l->net, out);
}

static int on_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec)
{
	struct link *l = owner;

	return gw_ingest(l, cw_rdevice_user(dev), ticket, record, rec);
}

static int on_identify(void *owner, const struct cw_identify *who)
{
	struct link *l = owner;
	struct attachee *a;

	l->asked_ms = cw_clock_wall_ms();
	l->asked = 1;
	for (a = l->attached; a != NULL && (who->flags & (CW_IDENTIFY_LOOKUP | CW_IDENTIFY_MEMBERS)) == 0;
	     a = a->next) {
		if (cw_bytes_equal(who->identity, cw_bytes_text(cw_rdevice_identity(a->rdev)))) {
			a->again++; /* told after this call, as the decoder expects */
			l->again = 1;
			return 0;
		}
	}
	return gw_ask(l, who);
}

static int on_detach(void *owner, struct cw_rdevice *dev)
{
	struct link *l = owner;
	struct attachee *a = cw_rdevice_user(dev);

	if (a == NULL)
		return CW_ENOENT;
	a->leaving = 1; /* done in on_called(): the decoder is inside its own entry now */
	l->leaving = 1;
	return 0;
}

static int on_linger(void *owner, struct cw_rdevice *dev, uint64_t delay_ms)
{
	struct attachee *a = cw_rdevice_user(dev);

	if (a == NULL)
		return CW_ENOENT;
	a->linger_ms = (uint32_t)delay_ms;
	return 0;
}

static int on_command_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct link *l = owner;

	if (gw_traced(l))
		gw_trace_text(l, "answered", "command", code);
	return gw_post_done(l, id, code, reply);
}

static int on_command_extend(void *owner, uint64_t id, uint64_t delay_ms)
{
	return gw_post_extend(owner, id, delay_ms);
}

static int on_want_block(void *owner, uint64_t id, uint64_t offset, size_t length)
{
	return gw_post_want_block(owner, id, offset, length);
}

static int on_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	return gw_post_save(owner, dev, state);
}

static int on_attach_open(void *owner, struct cw_rdevice *dev, uint64_t attachment, const char *name)
{
	return gw_attachment_open(owner, attachment, name);
}

static int on_attach_write(void *owner, uint64_t attachment, struct cw_bytes data)
{
	return gw_attachment_write(owner, attachment, data);
}

static int on_attach_close(void *owner, uint64_t attachment, int commit, char name[64])
{
	return gw_attachment_close(owner, attachment, commit);
}

static void on_line(void *owner, int level, const char *text)
{
	struct link *l = owner;

	if (gw_traced(l))
		gw_trace_text(l, "line", text, level);
}

static void on_foreign(void *owner, struct cw_bytes identity)
{
	struct link *l = owner;
	char peer[CW_ADDR_TEXT];

	cw_log(device_foreign, "dropped", CW_LS("device", l->attached == NULL ? NULL : cw_rdevice_identity(l->attached->rdev)),
	       CW_LB("other", identity.ptr, identity.len), CW_LS("peer", gw_link_peer(l, peer)));
}

static void log_refused_frame(struct link *l, struct cw_bytes frame)
{
	static const char digits[] = "0123456789abcdef";
	char peer[CW_ADDR_TEXT], hex[129];
	size_t i, n = frame.len < 64 ? frame.len : 64;

	for (i = 0; i < n; i++) {
		hex[2 * i] = digits[frame.ptr[i] >> 4];
		hex[2 * i + 1] = digits[frame.ptr[i] & 15];
	}
	hex[2 * n] = '\0';
	cw_log(frame_refused, "the session stays", CW_LS("listener", l->binding->name),
	       CW_LS("device", l->attached == NULL ? NULL : cw_rdevice_identity(l->attached->rdev)),
	       CW_LS("peer", gw_link_peer(l, peer)), CW_LU("bytes", frame.len), CW_LS("frame", hex));
}

/* The frame from which the decoder has asked who this is, and that it does not want to see again. */
void gw_link_take_frame(struct link *l, struct cw_bytes frame)
{
	cw_free(l->at_hand);
	l->at_hand = frame.len == 0 ? NULL : cw_memdup(frame.ptr, frame.len);
	l->at_hand_len = l->at_hand == NULL ? 0 : frame.len;
}

static void on_frame(void *owner, struct cw_bytes frame, int rc)
{
	struct link *l = owner;

	if (gw_traced(l))
		gw_trace_bytes(l, rc == 0 ? "in" : "refused", frame);
	if (rc == 0 && l->net != NULL)
		cw_session_touch(l->net);
	if (rc == 0 && l->asked && l->net != NULL && !l->binding->close_unknown)
		gw_link_take_frame(l, frame);
	l->asked = 0;
	if (rc != 0 && rc != CW_ECLOSED)
		log_refused_frame(l, frame);
}

static void on_noise(void *owner, struct cw_bytes dropped)
{
	struct link *l = owner;

	if (gw_traced(l))
		gw_trace_bytes(l, "noise", dropped);
}

static void on_close_asked(void *owner, uint64_t delay_ms, const char *reason)
{
	gw_link_close(owner, delay_ms, 0, reason);
}

static void drop_leaving(struct link *l)
{
	struct attachee *a;

	l->leaving = 0;
	for (;;) {
		for (a = l->attached; a != NULL && !a->leaving; a = a->next)
			;
		if (a == NULL)
			return;
		gw_attachee_drop(l, a, 1);
	}
}

/* One of the devices that were identified though they are here already. */
static void tell_again(struct link *l)
{
	struct attachee *a;
	struct cw_rdevice *dev;

	for (a = l->attached; a != NULL && a->again == 0; a = a->next)
		;
	if (a == NULL) {
		l->again = 0;
		return;
	}
	a->again--;
	(void)cw_conn_identified(l->conn, cw_bytes_text(cw_rdevice_identity(a->rdev)), cw_rdevice_product_key(a->rdev),
	                         cw_rdevice_device_name(a->rdev), cw_bytes_of(NULL, 0), CW_CONN_ATTACHED, a->conf, a, &dev);
}

static void on_called(void *owner)
{
	struct link *l = owner;

	if (l->conn == NULL) /* still inside cw_conn_open() */
		return;
	gw_ingest_called(l);
	if (l->leaving)
		drop_leaving(l);
	while (l->again)
		tell_again(l);
}

/* ---- only from decoders in another process ------------------------------------------- */

static void on_room(void *owner)
{
	gw_link_continue(owner);
}

static void on_command_refused(void *owner, uint64_t id, int rc)
{
	(void)gw_post_done(owner, id, cw_bridge_refusal_code(rc), cw_bytes_of(NULL, 0));
}

static void on_lost(void *owner)
{
	struct link *l = owner;

	gw_ingest_lost(l);
	gw_attachments_gone(l);
}

static void end_link(struct link *l);

static void on_conn_closed(void *owner)
{
	end_link(owner);
}

static const struct cw_conn_ops conn_ops = {
	.send = on_send,
	.emit = on_emit,
	.identify = on_identify,
	.detach = on_detach,
	.linger = on_linger,
	.command_done = on_command_done,
	.command_extend = on_command_extend,
	.save = on_save,
	.want_block = on_want_block,
	.attach_open = on_attach_open,
	.attach_write = on_attach_write,
	.attach_close = on_attach_close,
	.line = on_line,
	.foreign = on_foreign,
	.frame = on_frame,
	.noise = on_noise,
	.close = on_close_asked,
	.called = on_called,
	.room = on_room,
	.command_refused = on_command_refused,
	.lost = on_lost,
	.closed = on_conn_closed,
};

/* ---- what the session says ------------------------------------------------------------ */

static struct gw_worker *worker_here(struct cw_gateway *g, struct cw_session *s)
{
	return &g->workers[cw_worker_index(cw_session_worker(s))];
}

uint32_t gw_link_flags(const struct link *l)
{
	struct cw_session *s = l->net;
	enum cw_transport t;

	if (l->replay != NULL)
		return l->replay->flags | CW_EVF_KEPT;
	t = cw_session_transport(s);
	return (t == CW_TRANSPORT_UDP ? CW_EVF_DATAGRAM : 0) | (t == CW_TRANSPORT_SERIAL ? CW_EVF_SERIAL : 0) |
	       (cw_session_direction(s) == CW_DIRECTION_DIALLED ? CW_EVF_DIALLED : 0);
}

static int open_conn(struct link *l)
{
	struct binding *b = l->binding;
	char peer[CW_ADDR_TEXT];
	struct cw_conn_open how = {
		.listener = b->name,
		.conf = b->confs[l->gw->index],
		.peer = cw_bytes_text(gw_link_peer(l, peer)),
		.identity = l->replay != NULL     ? cw_bytes_text(l->replay->identity)
			    : b->identity == NULL ? cw_bytes_of(NULL, 0)
						  : cw_bytes_text(b->identity),
		.flags = gw_link_flags(l),
		.max_noise = b->max_noise,
		.cap = b->bytes_kept,
		.attach_most = l->gw->gateway->conf.attach_dir == NULL ? 0 : l->gw->gateway->conf.attach_most,
	};
	struct cw_conn *conn = NULL;
	int rc = cw_conn_open(l->gw->runners[b->protocol_index], &conn_ops, l, &how, &conn);

	if (rc < 0)
		return rc;
	l->conn = conn;
	on_called(l); /* what OPEN itself asked for */
	return 0;
}

struct link *gw_link_new(struct gw_worker *gw, struct cw_session *s, struct binding *b, uint64_t id, struct replay *r,
			 void **ret_ctx)
{
	struct link *l = cw_zalloc(sizeof(*l));

	if (l == NULL)
		return NULL;
	l->gw = gw;
	l->net = s;
	l->replay = r;
	l->id = id;
	l->binding = b;
	cw_list_init(&l->tickets);
	cw_list_init(&l->open);
	cw_list_init(&l->stall);
	cw_list_init(&l->part);
	cw_list_init(&l->parcels);
	if (cw_map_add(&gw->links, &l->node, &l->id, sizeof(l->id)) < 0) {
		cw_free(l);
		return NULL;
	}
	*ret_ctx = l;
	gw_trace_open(l);
	if (open_conn(l) < 0) {
		cw_map_remove(&gw->links, &l->node);
		cw_free(l);
		return NULL;
	}
	return l;
}

static int on_opened(struct cw_session *s, void *arg, void **ret_ctx)
{
	struct bound *bound = arg;
	struct binding *b = atomic_load_explicit(&bound->current, memory_order_acquire);

	return gw_link_new(worker_here(bound->gateway, s), s, b, cw_session_id(s), NULL, ret_ctx) == NULL ? CW_ENOMEM
													  : 0;
}

static void on_bytes(void *ctx, struct cw_bytes in)
{
	struct link *l = ctx;

	if (l->gw->holding) /* was accepted, or read, just before; nothing of it is acknowledged */
		return;
	if (l->wide)
		gw_trace_bytes(l, "data", in);
	if (cw_conn_feed(l->conn, in) == CW_EBUSY)
		cw_session_pause(l->net);
}

void gw_link_continue(struct link *l)
{
	if (l->replay != NULL) {
		gw_replay_continue(l->replay);
		return;
	}
	if (l->closing || l->gw->holding || l->conn == NULL || !cw_list_empty(&l->parcels))
		return;
	if (cw_conn_resume(l->conn) == 0 && cw_session_paused(l->net))
		cw_session_resume(l->net);
}

/* The decoder has said its last words. */
static void end_link(struct link *l)
{
	l->conn = NULL;
	cw_list_remove(&l->part);
	gw_ingest_gone(l);
	gw_attachments_gone(l);
	gw_trace_detach(l);
	if (l->has_rolls)
		gw_post_members_ended(l);
	gw_link_take_frame(l, cw_bytes_of(NULL, 0));
	while (l->attached != NULL)
		gw_attachee_drop(l, l->attached, 0);
	cw_free(l);
}

void gw_link_end_parting(struct gw_worker *gw)
{
	struct cw_list *e;

	while ((e = cw_list_first(&gw->parting)) != NULL) {
		struct link *l = cw_container_of(e, struct link, part);

		cw_conn_close(l->conn);
		end_link(l);
	}
}

void gw_link_end(struct link *l, int why, const char *reason)
{
	l->closing = 1;
	drop_closer(l);
	cw_map_remove(&l->gw->links, &l->node);
	if (gw_traced(l))
		gw_trace_text(l, "closed", reason, why);
	cw_conn_close(l->conn); /* its last words still reach ingest and dispatch */
	end_link(l);
}

static void on_closed(void *ctx, int why, const char *reason)
{
	struct link *l = ctx;

	l->closing = 1;
	drop_closer(l);
	cw_map_remove(&l->gw->links, &l->node);
	if (gw_traced(l))
		gw_trace_text(l, "closed", reason, why);
	if (l->gw->holding) {
		cw_conn_close(l->conn);
	} else if (cw_conn_end(l->conn) == CW_EBUSY) {
		gw_trace_detach(l);
		l->net = NULL;
		cw_list_push_back(&l->gw->parting, &l->part);
		return;
	}
	end_link(l);
}

const struct cw_session_ops gw_session_ops = {
	.opened = on_opened,
	.bytes = on_bytes,
	.closed = on_closed,
};
