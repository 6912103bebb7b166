/*
 * remote.c - connections whose decoder runs in a plugin host: this side of them.
 *
 * What goes down is sent when a host is ready and otherwise remembered as state: a connection knows
 * how it was opened, its devices, and the bytes that no host has finished with, so that the next
 * one can be told all of it (cw_remote_resume_all). What comes up is checked like bytes of a stranger: handles, lengths,
 * records, positions. A message about something that has gone meanwhile is dropped; one that cannot be is
 * reason to end the host.
 */
#include "plugin/remote.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "plugin/runner_impl.h"

/* Bytes beyond one frame that a host may have in hand of one connection before reading stops. */
#define WINDOW 65536u
/* Records from a connection that was told to hold: what may have been under way. More is no decoder's doing. */
#define HELD_MOST (4u << 20)

struct remote_conf {
	uint64_t sent_to; /* the host that knows it */
	uint32_t id;
	size_t len;
	uint8_t bytes[];
};

struct open_command {
	struct open_command *next;
	uint64_t id;
};

/* An identify() without outcome. */
struct open_ask {
	struct open_ask *next;
	int stale; /* a host asked that has died: nobody waits for a refusal */
	size_t len;
	char identity[];
};

struct remote_device {
	uint8_t *saved;
	size_t saved_len;
	int told, online, code;
};

struct remote_conn {
	struct cw_list link;
	struct cw_conn *conn;
	struct keeper *keeper;
	struct open_command *commands;
	struct open_ask *asks;
	uint64_t base;     /* where in the stream kept[0] stands, for the host that has it open */
	uint64_t done;     /* up to where frames were judged and noise dropped: no host gets that again */
	size_t waiting;    /* decode() wants so many bytes of kept again */
	size_t emitted_held;
	uint32_t open_flags;
	uint8_t opened;    /* the host that is ready knows it */
	uint8_t resumed;   /* an earlier one did */
	uint8_t full;      /* the owner was told CW_EBUSY */
	uint8_t ending;
	uint8_t suspect;   /* somebody killed a host while it had these bytes at hand */
	size_t identity_len;
	char identity[];   /* bound by the configuration */
};

static struct keeper *keeper_of(const struct cw_conn *c)
{
	return c->runner->keeper;
}

static void down(const struct cw_conn *c, struct cw_wire m)
{
	m.conn = c->handle;
	if (c->remote->opened)
		cw_keeper_send(keeper_of(c), &m);
}

/* ---- settings ------------------------------------------------------------------- */

/* The plugin of this process has checked them: its form is not needed here. */
int cw_remote_settings(struct cw_runner *r, struct cw_bytes settings, void **ret_conf, struct cw_msg *msg)
{
	struct remote_conf *conf = cw_zalloc(sizeof(*conf) + settings.len);

	if (*ret_conf != NULL)
		r->desc->decoder->settings_free(r->decoder, *ret_conf);
	*ret_conf = conf;
	if (conf == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	conf->id = cw_keeper_next_conf(r->keeper);
	conf->len = settings.len;
	if (settings.len > 0)
		memcpy(conf->bytes, settings.ptr, settings.len);
	return 0;
}

void cw_remote_settings_free(struct cw_runner *r, void *ptr)
{
	struct remote_conf *conf = ptr;

	if (conf->sent_to != 0 && conf->sent_to == cw_keeper_ready(r->keeper))
		cw_keeper_send(r->keeper, &(struct cw_wire){ .kind = CW_DOWN_CONF_FREE, .a = conf->id });
	cw_free(conf);
}

/* Its number, known to the host that is ready; 0: none. */
static uint32_t conf_number(struct keeper *k, const void *ptr)
{
	struct remote_conf *conf = (struct remote_conf *)(uintptr_t)ptr;

	if (conf == NULL)
		return 0;
	if (conf->sent_to != cw_keeper_ready(k)) {
		conf->sent_to = cw_keeper_ready(k);
		cw_keeper_send(k, &(struct cw_wire){ .kind = CW_DOWN_CONF, .a = conf->id, .parts = 1, .part = { cw_bytes_of(conf->bytes, conf->len) } });
	}
	return conf->id;
}

/* ---- connections: telling the host ------------------------------------------------- */

static void tell_identified(struct cw_conn *c, struct cw_rdevice *d, unsigned how)
{
	uint32_t conf = conf_number(keeper_of(c), d->conf);
	struct remote_device *rd = d->remote;

	down(c, (struct cw_wire){ .kind = CW_DOWN_IDENTIFIED, .dev = d->handle, .a = how, .b = conf, .parts = 4, .part = {
		cw_bytes_text(cw_rdevice_identity(d)), cw_bytes_text(cw_rdevice_product_key(d)), cw_bytes_text(cw_rdevice_device_name(d)),
		cw_bytes_of(rd == NULL ? NULL : rd->saved, rd == NULL ? 0 : rd->saved_len) } });
}

static void tell_devices(struct cw_conn *c, struct cw_rdevice *d)
{
	if (d == NULL)
		return;
	tell_devices(c, d->next); /* the oldest first */
	tell_identified(c, d, CW_CONN_ATTACHED | CW_CONN_UNASKED | CW_CONN_RESUMED);
	if (d->remote != NULL && d->remote->told)
		down(c, (struct cw_wire){ .kind = CW_DOWN_STATE, .dev = d->handle, .a = (uint64_t)d->remote->online, .b = (uint64_t)(int64_t)d->remote->code });
}

/* Everything about the connection to a host that has not heard of it. */
static void tell_open(struct remote_conn *rc)
{
	struct cw_conn *c = rc->conn;
	uint32_t flags = rc->open_flags | (rc->resumed ? CW_EVF_RESUMED : 0), conf = conf_number(keeper_of(c), c->conf);

	rc->opened = 1;
	rc->base = rc->done = 0;
	rc->waiting = 0;
	down(c, (struct cw_wire){ .kind = CW_DOWN_OPEN, .a = (uint64_t)flags << 32 | conf, .b = c->max_noise, .c = c->cap, .dev = c->attach_most,
		.parts = 3, .part = { cw_bytes_text(c->listener), cw_bytes_of(c->peer, c->peer_len), cw_bytes_of(rc->identity, rc->identity_len) } });
	if (c->arrived_ms != 0)
		down(c, (struct cw_wire){ .kind = CW_DOWN_ARRIVAL, .a = (uint64_t)c->arrived_ms });
	tell_devices(c, c->devices);
	if (c->held)
		down(c, (struct cw_wire){ .kind = CW_DOWN_HOLD });
	if (c->kept_len > 0)
		down(c, (struct cw_wire){ .kind = CW_DOWN_FEED, .parts = 1, .part = { cw_bytes_of(c->kept, c->kept_len) } });
	rc->resumed = 1;
}

void cw_remote_resume_all(struct keeper *k)
{
	struct cw_list *e;

	cw_list_each(e, cw_keeper_conns(k)) {
		struct remote_conn *rc = cw_container_of(e, struct remote_conn, link);

		if (!rc->conn->closing)
			tell_open(rc);
	}
}

int cw_remote_open(struct cw_runner *r, const struct cw_conn_ops *ops, void *owner, const struct cw_conn_open *how, struct cw_conn **ret_conn)
{
	struct remote_conn *rc;
	struct cw_conn *c;
	int err;

	if (cw_keeper_out(r->keeper)) {
		cw_count(plugin, refused_out);
		return CW_EREFUSED;
	}
	err = cw_conn_make(r, ops, owner, how, &c);
	if (err < 0)
		return err;
	rc = cw_zalloc(sizeof(*rc) + how->identity.len);
	if (rc == NULL) {
		cw_conn_unmake(c);
		return CW_ENOMEM;
	}
	rc->conn = c;
	rc->keeper = r->keeper;
	rc->open_flags = how->flags;
	rc->identity_len = how->identity.len;
	if (how->identity.len > 0)
		memcpy(rc->identity, how->identity.ptr, how->identity.len);
	c->remote = rc;
	cw_list_init(&rc->link);
	cw_list_push_back(cw_keeper_conns(r->keeper), &rc->link);
	*ret_conn = c;
	if (cw_keeper_ready(r->keeper) != 0)
		tell_open(rc);
	return 0;
}

static int is_full(struct cw_conn *c)
{
	c->remote->full = c->kept_len > (size_t)c->runner->desc->max_frame + WINDOW;
	return c->remote->full;
}

int cw_remote_feed(struct cw_conn *c, struct cw_bytes in)
{
	int rc;

	if (c->closing)
		return CW_ECLOSED;
	if (in.len == 0)
		return 0;
	rc = cw_conn_keep_more(c, in);
	if (rc < 0) {
		c->closing = 1;
		c->ops->close(c->owner, 0, rc == CW_ENOMEM ? "out of memory" : "more bytes than may wait");
		return CW_ECLOSED;
	}
	down(c, (struct cw_wire){ .kind = CW_DOWN_FEED, .parts = 1, .part = { in } });
	return is_full(c) ? CW_EBUSY : 0;
}

void cw_remote_hold(struct cw_conn *c)
{
	if (!c->held)
		down(c, (struct cw_wire){ .kind = CW_DOWN_HOLD });
}

int cw_remote_resume(struct cw_conn *c)
{
	c->held = 0;
	c->remote->emitted_held = 0;
	if (c->closing)
		return CW_ECLOSED;
	down(c, (struct cw_wire){ .kind = CW_DOWN_RESUME });
	return is_full(c) ? CW_EBUSY : 0;
}

void cw_remote_set_arrival(struct cw_conn *c, int64_t utc_ms)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_ARRIVAL, .a = (uint64_t)utc_ms });
}

struct cw_bytes cw_remote_waiting_frame(const struct cw_conn *c)
{
	return cw_bytes_of(c->kept, c->remote->waiting);
}

/* ---- outcomes and devices ------------------------------------------------------------ */

/* The question that an outcome is for. 1: the host that is there asked it; 0: nobody did. */
static int take_ask(struct cw_conn *c, struct cw_bytes identity)
{
	struct open_ask **p, *ask;
	int fresh;

	for (p = &c->remote->asks; *p != NULL; p = &(*p)->next)
		if (cw_bytes_equal(cw_bytes_of((*p)->identity, (*p)->len), identity))
			break;
	ask = *p;
	if (ask == NULL)
		return 0;
	*p = ask->next;
	fresh = !ask->stale;
	c->asked = (uint8_t)(c->asked - fresh);
	cw_free(ask);
	return fresh;
}

static void save_copy(struct cw_rdevice *d, struct cw_bytes saved)
{
	uint8_t *copy = saved.len == 0 ? NULL : cw_memdup(saved.ptr, saved.len);

	if (d->remote == NULL || (copy == NULL && saved.len > 0))
		return; /* after a crash the decoder would see the older state, or none */
	cw_free(d->remote->saved);
	d->remote->saved = copy;
	d->remote->saved_len = saved.len;
}

int cw_remote_identified(struct cw_conn *c, struct cw_rdevice *d, struct cw_bytes saved, unsigned how)
{
	if (d->remote == NULL)
		d->remote = cw_zalloc(sizeof(*d->remote));
	/* That it is attached already is told without its bytes: those that are known stay. */
	if (saved.len > 0)
		save_copy(d, saved);
	if ((how & CW_CONN_UNASKED) == 0 && !take_ask(c, cw_bytes_text(cw_rdevice_identity(d))))
		how |= CW_CONN_UNASKED;
	tell_identified(c, d, how);
	return 0;
}

void cw_remote_refused(struct cw_conn *c, struct cw_bytes identity, int code)
{
	if (take_ask(c, identity))
		down(c, (struct cw_wire){ .kind = CW_DOWN_REFUSED, .a = (uint64_t)(int64_t)code, .parts = 1, .part = { identity } });
}

void cw_remote_members(struct cw_conn *c, struct cw_bytes prefix, int count)
{
	if (take_ask(c, prefix))
		down(c, (struct cw_wire){ .kind = CW_DOWN_MEMBERS, .a = (uint64_t)(int64_t)count, .parts = 1, .part = { prefix } });
}

void cw_remote_state(struct cw_conn *c, struct cw_rdevice *dev, int online, int code)
{
	if (dev->remote != NULL) {
		dev->remote->told = 1;
		dev->remote->online = online;
		dev->remote->code = code;
	}
	down(c, (struct cw_wire){ .kind = CW_DOWN_STATE, .dev = dev->handle, .a = (uint64_t)online, .b = (uint64_t)(int64_t)code });
}

void cw_remote_settled(struct cw_conn *c, uint64_t ticket, int code)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_SETTLED, .a = ticket, .b = (uint64_t)(int64_t)code });
}

static void forget_remote_device(struct cw_conn *c, struct cw_rdevice *d)
{
	if (d->remote != NULL)
		cw_free(d->remote->saved);
	cw_free(d->remote);
	cw_forget_device(c, d);
}

void cw_remote_detached(struct cw_conn *c, struct cw_rdevice *dev)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_DETACHED, .dev = dev->handle });
	forget_remote_device(c, dev);
}

/* ---- commands ------------------------------------------------------------------------- */

/* 1 when it was open. */
static int end_command(struct cw_conn *c, uint64_t id)
{
	struct open_command **p, *cmd;

	for (p = &c->remote->commands; *p != NULL && (*p)->id != id; p = &(*p)->next)
		;
	cmd = *p;
	if (cmd == NULL)
		return 0;
	*p = cmd->next;
	cw_free(cmd);
	return 1;
}

int cw_remote_command(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, struct cw_bytes command, uint64_t deadline_ms)
{
	struct open_command *cmd;

	if (!c->remote->opened)
		return CW_EBUSY; /* its host is being started */
	cmd = cw_zalloc(sizeof(*cmd));
	if (cmd == NULL)
		return CW_ENOMEM;
	cmd->id = id;
	cmd->next = c->remote->commands;
	c->remote->commands = cmd;
	down(c, (struct cw_wire){ .kind = CW_DOWN_COMMAND, .dev = dev->handle, .a = id, .b = deadline_ms, .parts = 1, .part = { command } });
	return 0;
}

void cw_remote_command_cancelled(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id)
{
	(void)end_command(c, id);
	down(c, (struct cw_wire){ .kind = CW_DOWN_CANCEL, .dev = dev->handle, .a = id });
}

void cw_remote_reply(struct cw_conn *c, struct cw_rdevice *dev, struct cw_bytes request, int code, struct cw_bytes data)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_REPLY, .dev = dev->handle, .a = (uint64_t)(int64_t)code, .parts = 2, .part = { request, data } });
}

void cw_remote_block(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, uint64_t offset, int code, struct cw_bytes data)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_BLOCK, .dev = dev->handle, .a = id, .b = offset, .c = (uint64_t)(int64_t)code,
		.parts = 1, .part = { data } });
}

void cw_remote_broadcast(struct cw_conn *c, struct cw_bytes command)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_BROADCAST, .parts = 1, .part = { command } });
}

void cw_conn_rehearse(struct cw_conn *c, uint64_t what, uint64_t number, struct cw_bytes data)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_REHEARSE, .a = what, .b = number, .parts = 1, .part = { data } });
}

/* ---- the end of a connection ------------------------------------------------------------- */

static void free_conn(struct cw_conn *c)
{
	struct remote_conn *rc = c->remote;

	while (c->devices != NULL)
		forget_remote_device(c, c->devices);
	while (rc->commands != NULL)
		(void)end_command(c, rc->commands->id);
	while (rc->asks != NULL) {
		struct open_ask *ask = rc->asks;

		rc->asks = ask->next;
		cw_free(ask);
	}
	cw_list_remove(&rc->link);
	cw_free(rc);
	cw_conn_unmake(c);
}

void cw_remote_close(struct cw_conn *c)
{
	down(c, (struct cw_wire){ .kind = CW_DOWN_CLOSE });
	free_conn(c);
}

int cw_remote_end(struct cw_conn *c)
{
	if (!c->remote->opened) {
		cw_remote_close(c);
		return 0;
	}
	c->closing = 1;
	c->remote->ending = 1;
	down(c, (struct cw_wire){ .kind = CW_DOWN_CLOSE });
	return CW_EBUSY;
}

static void finish_ending(struct cw_conn *c)
{
	c->ops->closed(c->owner);
	free_conn(c);
}

void cw_remote_end_all(struct keeper *k)
{
	struct cw_list *e, *next;

	cw_list_each_safe(e, next, cw_keeper_conns(k)) {
		struct remote_conn *rc = cw_container_of(e, struct remote_conn, link);

		if (rc->ending)
			finish_ending(rc->conn);
	}
}

void cw_remote_close_all(struct keeper *k, const char *reason)
{
	struct cw_list *e;

	cw_list_each(e, cw_keeper_conns(k)) {
		struct cw_conn *c = cw_container_of(e, struct remote_conn, link)->conn;

		c->closing = 1;
		c->ops->close(c->owner, 0, reason);
	}
}

/* ---- after a death ------------------------------------------------------------------------ */

static struct cw_conn *conn_at_hand(struct keeper *k, const struct at_hand *h)
{
	struct cw_conn *c = h->inside ? cw_handle_get(&cw_keeper_runner(k)->conns, h->conn) : NULL;

	return c != NULL && c->remote->opened ? c : NULL;
}

/* Killed from outside (by a person, or the system that was out of memory): once is chance. */
static int is_guilty(const struct cw_conn *c, const struct at_hand *h)
{
	return !h->from_outside || c->remote->suspect;
}

void cw_remote_find_affected(struct keeper *k, const struct at_hand *h, struct affected *ret)
{
	struct cw_conn *c = conn_at_hand(k, h);
	struct cw_list *e;
	size_t used = 0;

	memset(ret, 0, sizeof(*ret));
	cw_list_each(e, cw_keeper_conns(k)) {
		struct remote_conn *rc = cw_container_of(e, struct remote_conn, link);

		if (!rc->opened)
			continue;
		ret->connections++;
		if (rc->conn->devices != NULL && used + CW_IDENTITY_MAX + 2 < sizeof(ret->devices))
			used += (size_t)snprintf(ret->devices + used, sizeof(ret->devices) - used, "%s%s", used == 0 ? "" : ",", rc->conn->devices->text);
	}
	if (c == NULL)
		return;
	ret->found = 1;
	ret->guilty = is_guilty(c, h);
	(void)snprintf(ret->device, sizeof(ret->device), "%s", c->devices == NULL ? "-" : c->devices->text);
	(void)snprintf(ret->peer, sizeof(ret->peer), "%.*s", c->peer_len, c->peer);
	if (h->kind == CW_EV_DATA && h->pos >= c->remote->base && h->pos - c->remote->base <= c->kept_len &&
	    h->len <= c->kept_len - (h->pos - c->remote->base))
		ret->frame = cw_bytes_of(c->kept + (h->pos - c->remote->base), (size_t)h->len);
}

static void drop_front(struct cw_conn *c, size_t n)
{
	c->kept_len -= n;
	if (c->kept_len > 0 && n > 0)
		memmove(c->kept, c->kept + n, c->kept_len);
}

/* The host knew it; the next will be told of it again. */
static void lose(struct cw_conn *c, int guilty)
{
	struct remote_conn *rc = c->remote;
	struct cw_rdevice *d, *next;
	struct open_ask *ask;

	rc->opened = 0;
	rc->waiting = 0;
	rc->emitted_held = 0;
	if (rc->done > rc->base)
		drop_front(c, (size_t)(rc->done - rc->base));
	while (rc->commands != NULL) {
		uint64_t id = rc->commands->id;

		(void)end_command(c, id);
		c->ops->command_refused(c->owner, id, CW_EIO);
	}
	for (ask = rc->asks; ask != NULL; ask = ask->next)
		ask->stale = 1;
	c->asked = 0;
	for (d = c->devices; d != NULL; d = next) {
		next = d->next;
		if (!d->attached) /* looked up, for a question that nobody has any more */
			forget_remote_device(c, d);
	}
	c->ops->lost(c->owner);
	c->ops->called(c->owner); /* what it had asked for until then */
	if (guilty || (c->flags & CW_EVF_DATAGRAM) != 0)
		c->kept_len = 0; /* of datagrams nobody knows any more where they ended */
	if (!guilty)
		return;
	c->closing = 1;
	c->ops->close(c->owner, 0, "what it sent ended the plugin host");
}

void cw_remote_after_death(struct keeper *k, const struct at_hand *h)
{
	struct cw_list *e, *next;
	struct cw_conn *at;
	int guilty;

	cw_remote_end_all(k);
	at = conn_at_hand(k, h); /* not one of these */
	guilty = at != NULL && is_guilty(at, h);
	if (at != NULL)
		at->remote->suspect = 1;
	cw_list_each_safe(e, next, cw_keeper_conns(k)) {
		struct remote_conn *rc = cw_container_of(e, struct remote_conn, link);

		if (rc->opened)
			lose(rc->conn, guilty && rc->conn == at);
	}
}

/* ---- what comes up ------------------------------------------------------------------------- */

static void distrust(struct cw_conn *c, const char *what)
{
	cw_keeper_distrust(keeper_of(c), what);
}

/* A text part, cut to `size`, NUL-terminated. */
static const char *text_of(struct cw_bytes part, char *out, size_t size)
{
	size_t n = part.len < size - 1 ? part.len : size - 1;

	if (n > 0)
		memcpy(out, part.ptr, n);
	out[n] = '\0';
	return out;
}

static void take_emit(struct cw_conn *c, struct cw_rdevice *d, const struct cw_wire *m)
{
	struct cw_record rec;

	if (!cw_flat_valid(m->part[0]) || !cw_record_read(m->part[0], &rec) || !cw_record_kind_ok(rec.kind)) {
		distrust(c, "a malformed record");
		return;
	}
	if (d == NULL || !d->attached) { /* it has left meanwhile; not acknowledged, so the device sends it again */
		cw_count(bridge, records_lost);
		return;
	}
	if (c->held) {
		c->remote->emitted_held += m->part[0].len;
		if (c->remote->emitted_held > HELD_MOST + 4 * (size_t)c->runner->desc->max_frame) {
			distrust(c, "records without end");
			return;
		}
	}
	if (c->ops->emit(c->owner, d, m->a, m->part[0], &rec) < 0 && m->a != 0)
		cw_remote_settled(c, m->a, CW_SETTLED_LOST);
}

static void take_identify(struct cw_conn *c, const struct cw_wire *m)
{
	int multi = (c->runner->desc->caps & CW_CAP_MULTI_DEVICE) != 0;
	struct cw_identify who = { .size = sizeof(who), .flags = (uint32_t)m->a, .identity = m->part[0], .facts = m->part[1], .secret = m->part[2] };
	struct open_ask *ask;

	if (!cw_identity_ok(who.identity) || m->a > CW_IDENTIFY_KNOWN || (!multi && (who.flags & CW_IDENTIFY_MEMBERS) != 0) ||
	    c->asked >= (multi ? CW_ASKED_MOST : 1)) {
		distrust(c, "an identity that is none");
		return;
	}
	ask = cw_zalloc(sizeof(*ask) + who.identity.len);
	if (ask != NULL) {
		ask->len = who.identity.len;
		memcpy(ask->identity, who.identity.ptr, who.identity.len);
		ask->next = c->remote->asks;
		c->remote->asks = ask;
		c->asked++;
		if (c->ops->identify(c->owner, &who) == 0)
			return;
		(void)take_ask(c, who.identity);
	}
	down(c, (struct cw_wire){ .kind = CW_DOWN_REFUSED, .a = ask == NULL ? CW_REFUSED_LATER : CW_REFUSED_INVALID,
		.parts = 1, .part = { who.identity } });
}

static void take_done(struct cw_conn *c, const struct cw_wire *m)
{
	int32_t code = (int32_t)m->b;

	if (code < 1) {
		distrust(c, "a command's end that is none");
		return;
	}
	if (end_command(c, m->a))
		(void)c->ops->command_done(c->owner, m->a, code, m->part[0]);
}

static void take_command_refused(struct cw_conn *c, const struct cw_wire *m)
{
	if (end_command(c, m->a))
		c->ops->command_refused(c->owner, m->a, (int)(int64_t)m->b);
}

static struct open_command *open_command(struct cw_conn *c, uint64_t id)
{
	struct open_command *cmd = c->remote->commands;

	while (cmd != NULL && cmd->id != id)
		cmd = cmd->next;
	return cmd;
}

static void take_want_block(struct cw_conn *c, const struct cw_wire *m)
{
	int rc = open_command(c, m->a) == NULL ? CW_ENOENT : c->ops->want_block == NULL ? CW_EUNSUPPORTED
	         : c->ops->want_block(c->owner, m->a, m->b, (size_t)m->c);

	if (rc < 0)
		down(c, (struct cw_wire){ .kind = CW_DOWN_BLOCK, .dev = m->dev, .a = m->a, .b = m->b, .c = (uint64_t)(int64_t)rc,
			.parts = 1, .part = { cw_bytes_of(NULL, 0) } });
}

static void take_save(struct cw_conn *c, struct cw_rdevice *d, const struct cw_wire *m)
{
	if (m->part[0].len > CW_SAVE_MAX) {
		distrust(c, "more to save than may be");
		return;
	}
	if (d == NULL)
		return;
	save_copy(d, m->part[0]);
	(void)c->ops->save(c->owner, d, m->part[0]);
}

static struct conn_attachment *attachment(struct cw_conn *c, uint64_t id)
{
	struct conn_attachment *a = c->attachments;

	while (a != NULL && a->id != id)
		a = a->next;
	return a;
}

/* The name must be one of that device's own, as host.c makes them. */
static int attachment_name_ok(const struct cw_rdevice *d, const char *name)
{
	size_t i, n = strlen(name);

	for (i = 0; i < n; i++)
		if ((name[i] < 'a' || name[i] > 'z') && (name[i] < 'A' || name[i] > 'Z') && (name[i] < '0' || name[i] > '9') &&
		    name[i] != '-' && name[i] != '_' && (name[i] != '.' || i == 0))
			return 0;
	for (i = 0; i < 24 && d->text[i] != '\0'; i++)
		if (name[i] != d->text[i] && name[i] != '_')
			return 0;
	return n > 0 && name[i] == '-';
}

static void take_attach_open(struct cw_conn *c, struct cw_rdevice *d, const struct cw_wire *m)
{
	struct conn_attachment *a = d == NULL || m->part[0].len >= sizeof(a->name) ? NULL : cw_zalloc(sizeof(*a));

	if (a == NULL)
		return; /* what is written to it goes nowhere */
	(void)text_of(m->part[0], a->name, sizeof(a->name));
	a->id = m->a;
	if (!attachment_name_ok(d, a->name) || attachment(c, m->a) != NULL || c->runner->open_attachments > 256 || c->attach_most == 0) {
		cw_free(a);
		distrust(c, "an attachment that cannot be");
		return;
	}
	if (c->ops->attach_open(c->owner, d, a->id, a->name) < 0) {
		cw_free(a);
		return;
	}
	a->next = c->attachments;
	c->attachments = a;
	c->runner->open_attachments++;
}

static void take_attach(struct cw_conn *c, const struct cw_wire *m)
{
	struct conn_attachment *a = attachment(c, m->a);
	char name[64];

	if (a == NULL)
		return;
	if (m->kind == CW_UP_ATTACH_CLOSE) {
		(void)c->ops->attach_close(c->owner, a->id, m->b != 0, name);
		cw_conn_drop_attachment(c, a);
	} else if (m->part[0].len > c->attach_most - a->len) {
		distrust(c, "an attachment longer than may be");
	} else {
		a->len += m->part[0].len;
		(void)c->ops->attach_write(c->owner, a->id, m->part[0]);
	}
}

/* A frame or noise, by its place in what was fed. */
static void take_piece(struct cw_conn *c, const struct cw_wire *m)
{
	uint64_t at = m->a - c->remote->base;
	struct cw_bytes piece;

	if (m->a < c->remote->base || at > c->kept_len || m->b > c->kept_len - at) {
		distrust(c, "a frame that it was not given");
		return;
	}
	piece = cw_bytes_of(c->kept + at, (size_t)m->b);
	c->remote->done = m->a + m->b;
	if (m->kind == CW_UP_NOISE && c->ops->noise != NULL)
		c->ops->noise(c->owner, piece);
	else if (m->kind == CW_UP_FRAME && c->ops->frame != NULL)
		c->ops->frame(c->owner, piece, (int)(int64_t)m->c);
}

static void take_consumed(struct cw_conn *c, const struct cw_wire *m)
{
	struct remote_conn *rc = c->remote;
	uint64_t n = m->a - rc->base;

	if (m->a < rc->base || n > c->kept_len || m->b > c->kept_len - n) {
		distrust(c, "more bytes consumed than it was given");
		return;
	}
	rc->base = m->a;
	rc->waiting = (size_t)m->b;
	drop_front(c, (size_t)n);
	if (n > 0)
		rc->suspect = 0;
	if (c->kept_len == 0 && c->kept_size > 4096) {
		cw_free(c->kept);
		c->kept = NULL;
		c->kept_size = 0;
	}
	if (rc->full && !is_full(c) && c->ops->room != NULL)
		c->ops->room(c->owner);
}

static void take_close(struct cw_conn *c, const struct cw_wire *m)
{
	char reason[120];

	if (m->a == 0)
		c->closing = 1;
	c->ops->close(c->owner, m->a, text_of(m->part[0], reason, sizeof(reason)));
}

static void take_line(struct cw_conn *c, const struct cw_wire *m)
{
	char text[400];

	if (c->ops->line != NULL)
		c->ops->line(c->owner, (int)m->a, text_of(m->part[0], text, sizeof(text)));
}

void cw_remote_take(struct keeper *k, const struct cw_wire *m)
{
	struct cw_runner *r = cw_keeper_runner(k);
	struct cw_conn *c = cw_handle_get(&r->conns, m->conn);
	struct cw_rdevice *d = m->dev == 0 ? NULL : cw_handle_get(&r->devices, m->dev);

	if (c == NULL || !c->remote->opened)
		return; /* closed meanwhile */
	if (d != NULL && d->conn != c) {
		distrust(c, "a device of another connection");
		return;
	}
	switch (m->kind) {
	case CW_UP_SEND: (void)c->ops->send(c->owner, m->part[0]); break;
	case CW_UP_EMIT: take_emit(c, d, m); break;
	case CW_UP_IDENTIFY: take_identify(c, m); break;
	case CW_UP_DETACH:
		if (d != NULL)
			(void)c->ops->detach(c->owner, d);
		break;
	case CW_UP_LINGER:
		if (d != NULL && m->a <= CW_LINGER_MOST_MS && c->ops->linger != NULL)
			(void)c->ops->linger(c->owner, d, m->a);
		break;
	case CW_UP_DONE: take_done(c, m); break;
	case CW_UP_COMMAND_REFUSED: take_command_refused(c, m); break;
	case CW_UP_EXTEND:
		if (open_command(c, m->a) != NULL)
			(void)c->ops->command_extend(c->owner, m->a, m->b);
		break;
	case CW_UP_SAVE: take_save(c, d, m); break;
	case CW_UP_WANT_BLOCK: take_want_block(c, m); break;
	case CW_UP_ATTACH_OPEN: take_attach_open(c, d, m); break;
	case CW_UP_ATTACH_WRITE:
	case CW_UP_ATTACH_CLOSE: take_attach(c, m); break;
	case CW_UP_LINE: take_line(c, m); break;
	case CW_UP_FOREIGN: c->ops->foreign(c->owner, cw_bytes_of(m->part[0].ptr, m->part[0].len > 200 ? 200 : m->part[0].len)); break;
	case CW_UP_FRAME:
	case CW_UP_NOISE: take_piece(c, m); break;
	case CW_UP_CLOSE: take_close(c, m); break;
	case CW_UP_CALLED: c->ops->called(c->owner); break;
	case CW_UP_CONSUMED: take_consumed(c, m); break;
	case CW_UP_CLOSED:
		if (c->remote->ending)
			finish_ending(c);
		break;
	default: distrust(c, "a message of no known kind"); break;
	}
}
