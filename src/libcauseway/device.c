/*
 * device.c - online and offline, and what becomes of the devices in between. Control loop.
 *
 * online: call -> owner on its seat -> attach (which asks the sources) -> the platform accepts ->
 * the call is told, the owner has the device. It ends by offline, by another online of the
 * same identity, by a change of its certificate, or with the bridge.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/decoder.h"
#include "libcauseway/lib.h"

static struct lib *lib_of(struct cw_bridge *b)
{
	return cw_bridge_ctx(b);
}

/* ---- seats --------------------------------------------------------------------------- */

static struct seat *find_seat(struct lib *l, const char *identity)
{
	struct cw_map_node *n = cw_map_find(&l->seats, identity, strlen(identity));

	return n == NULL ? NULL : cw_container_of(n, struct seat, node);
}

static struct seat *take_seat(struct lib *l, const char *identity)
{
	struct seat *s = find_seat(l, identity);

	if (s != NULL)
		return s;
	s = cw_zalloc(sizeof(*s));
	if (s == NULL)
		return NULL;
	(void)snprintf(s->identity, sizeof(s->identity), "%s", identity);
	cw_list_init(&s->pending);
	cw_list_init(&s->leaving);
	if (cw_map_add(&l->seats, &s->node, s->identity, strlen(s->identity)) < 0) {
		cw_free(s);
		return NULL;
	}
	return s;
}

static void leave_seat(struct lib *l, struct seat *s)
{
	if (!cw_list_empty(&s->pending) || !cw_list_empty(&s->leaving))
		return;
	cw_map_remove(&l->seats, &s->node);
	cw_free(s);
}

/* Whoever waits for the platform's word that the device is offline. */
static void tell_leaving(struct lib *l, struct seat *s, int rc, const char *text)
{
	struct cw_list all, *e;

	cw_list_init(&all);
	while ((e = cw_list_pop(&s->leaving)) != NULL)
		cw_list_push_back(&all, e);
	leave_seat(l, s);
	while ((e = cw_list_pop(&all)) != NULL)
		lib_call_tell(cw_container_of(e, struct call, link), rc, 0, text);
}

/* ---- pending owners ---------------------------------------------------------------------- */

/* Off its seat; afterwards it is either an owner of a device or freed. */
static struct call *unseat(struct owner *o)
{
	struct call *c = o->call;

	cw_list_remove(&o->link);
	cw_list_remove(&o->held);
	leave_seat(o->lib, o->seat);
	o->seat = NULL;
	o->call = NULL;
	return c;
}

/* It does not become online: say why, once nothing refers to it. */
static void give_up(struct owner *o, int rc, int32_t code, const char *text)
{
	struct call *c = unseat(o);

	if (o->attaching)
		cw_bridge_attach_cancel(&o->attach);
	cw_free(o);
	lib_call_tell(c, rc, code, text);
}

static void on_online_late(struct cw_timer *t)
{
	struct call *c = cw_container_of(t, struct call, deadline);

	give_up(c->owner, CW_ETIMEDOUT, 0, "the platform did not accept the device in time");
}

static void refused(struct owner *o, int why)
{
	struct cw_device *d = cw_bridge_find(o->lib->bridge, o->identity, strlen(o->identity));
	char text[200] = "";
	int code = 0;

	o->attaching = 0;
	switch (why) {
	case CW_REFUSED_UNKNOWN: give_up(o, CW_ENOENT, 0, "no source knows this identity"); return;
	case CW_REFUSED_INVALID: give_up(o, CW_EINVAL, 0, "this identity is not acceptable"); return;
	case CW_REFUSED_PLATFORM:
		if (d != NULL) {
			code = cw_device_last_code(d);
			(void)snprintf(text, sizeof(text), "%s",
				       cw_device_last_text(d) == NULL ? "" : cw_device_last_text(d));
		}
		give_up(o, CW_EREFUSED, code, text);
		return;
	default:
		give_up(o, CW_EBUSY, 0,
			"no source of identities could say, another call for this device was faster, or a limit is "
			"reached: try again later");
		return;
	}
}

static void on_attached(struct cw_attach *a, struct cw_device *d, int why)
{
	struct owner *o = cw_container_of(a, struct owner, attach);
	struct lib *l = o->lib;
	struct seat *s;
	struct call *c;

	if (why != 0) {
		refused(o, why);
		return;
	}
	o->attaching = 0;
	o->device = d;
	c = unseat(o);
	cw_list_push_back(&l->owners, &o->link);
	s = find_seat(l, o->identity);
	if (s != NULL) /* who asked for offline before has had it let go; the platform need not see it */
		tell_leaving(l, s, 0, NULL);
	lib_call_tell(c, 0, 0, NULL);
}

static void attach(struct owner *o)
{
	o->attaching = 1;
	o->attach.identity = o->identity;
	o->attach.identity_len = strlen(o->identity);
	o->attach.owner = o;
	o->attach.max_outstanding = o->lib->config->commands.queue;
	o->attach.require_online = (o->call->flags & CW_ONLINE_EARLY) == 0;
	o->attach.done = on_attached;
	cw_bridge_attach(o->lib->bridge, &o->attach);
}

/* ---- online --------------------------------------------------------------------------------- */

void lib_on_online(struct cw_mail *mail)
{
	struct call *c = cw_container_of(mail, struct call, mail);
	struct lib *l = c->lib;
	struct owner *o = l->connected || l->obtaining ? cw_zalloc(sizeof(*o)) : NULL;
	struct seat *s = o == NULL ? NULL : take_seat(l, c->identity);

	if (!l->connected && !l->obtaining) {
		lib_call_tell(c, CW_ECLOSED, 0, "the bridge never ran");
		return;
	}
	if (s == NULL) {
		cw_free(o);
		lib_call_tell(c, CW_ENOMEM, 0, NULL);
		return;
	}
	o->lib = l;
	o->seat = s;
	o->call = c;
	o->user = c->user;
	c->owner = o;
	memcpy(o->identity, c->identity, sizeof(o->identity));
	cw_list_init(&o->held);
	cw_list_push_back(&s->pending, &o->link);
	lib_call_arm(c, c->wait.timeout_ms, on_online_late);
	if (l->connected)
		attach(o);
}

int cw_bridge_online(struct cw_bridge *b, const char *identity, void *user, unsigned flags,
		     const struct cw_bridge_wait *wait)
{
	struct call *c;
	struct lib *l;
	int rc;

	if ((flags & ~CW_ONLINE_EARLY) != 0)
		return CW_EINVAL;
	rc = lib_enter(b, &l);
	if (rc < 0)
		return rc;
	rc = lib_call(l, identity, wait, &c);
	if (rc == 0) {
		c->user = user;
		c->flags = flags;
		cw_post(l->control, &c->mail, lib_on_online);
	}
	lib_leave(l);
	return rc;
}

/* ---- offline --------------------------------------------------------------------------------- */

struct owner *lib_owner_of(struct lib *l, const char *identity)
{
	struct cw_device *d = cw_bridge_find(l->bridge, identity, strlen(identity));
	struct owner *o = d == NULL ? NULL : cw_device_owner(d);

	return o == NULL || o->device == NULL ? NULL : o;
}

static void on_offline_late(struct cw_timer *t)
{
	struct call *c = cw_container_of(t, struct call, deadline);
	struct seat *s = find_seat(c->lib, c->identity);

	cw_list_remove(&c->link);
	leave_seat(c->lib, s);
	lib_call_tell(c, CW_ETIMEDOUT, 0, "the platform has not confirmed the logout yet; it goes on by itself");
}

/* The owner lets go; it is gone afterwards. */
static void let_go(struct owner *o)
{
	struct cw_device *d = o->device;
	struct lib *l = o->lib;

	cw_list_remove(&o->link);
	cw_bridge_left(l->bridge, d, o);
	cw_free(o);
}

static int drop_seat_pending(struct lib *l, const char *identity, int rc, const char *text)
{
	struct seat *s;
	struct cw_list *e;
	int n = 0;

	while ((s = find_seat(l, identity)) != NULL && (e = cw_list_first(&s->pending)) != NULL) {
		give_up(cw_container_of(e, struct owner, link), rc, 0, text);
		n++;
	}
	return n;
}

void lib_on_offline(struct cw_mail *mail)
{
	struct call *c = cw_container_of(mail, struct call, mail);
	struct lib *l = c->lib;
	int dropped = drop_seat_pending(l, c->identity, CW_ECLOSED, "cw_bridge_offline() was called meanwhile");
	struct owner *o = lib_owner_of(l, c->identity);
	struct cw_device *d;
	struct seat *s;

	if (o == NULL) {
		lib_call_tell(c, dropped ? 0 : CW_ENOENT, 0, dropped ? NULL : "the device was not online");
		return;
	}
	d = o->device;
	let_go(o);
	s = cw_device_state(d) == CW_UPDEVICE_ONLINE ? take_seat(l, c->identity) : NULL;
	if (s == NULL) {
		lib_call_tell(c, 0, 0, NULL);
		return;
	}
	cw_list_push_back(&s->leaving, &c->link);
	lib_call_arm(c, c->wait.timeout_ms > 0 ? c->wait.timeout_ms : LIB_OFFLINE_MS, on_offline_late);
}

int cw_bridge_offline(struct cw_bridge *b, const char *identity, const struct cw_bridge_wait *wait)
{
	struct call *c;
	struct lib *l;
	int rc = lib_enter(b, &l);

	if (rc < 0)
		return rc;
	rc = lib_call(l, identity, wait, &c);
	if (rc == 0)
		cw_post(l->control, &c->mail, lib_on_offline);
	lib_leave(l);
	return rc;
}

/* ---- what the bridge says ------------------------------------------------------------------- */

static void tell_device(struct owner *o, struct cw_device *d, uint32_t what, int code)
{
	const char *text = cw_device_last_text(d);
	struct cw_bridge_device news = {
		.size = sizeof(news),
		.what = what,
		.identity = o->identity,
		.product_key = cw_device_product_key(d),
		.device_name = cw_device_name(d),
		.code = code,
		.text = what == CW_DEVICE_REFUSED && text != NULL ? text : "",
	};

	if (LIB_HAS(o->lib, device))
		o->lib->handler.device(o->lib->ctx, o->user, &news);
}

static void on_leave(void *owner, struct cw_device *d, enum cw_leave why)
{
	struct owner *o = owner;

	if (o->device == NULL) { /* not told yet that it has the device: its online fails instead */
		give_up(o, CW_EBUSY, 0, "overtaken by another call for this device, or its certificate was changed");
		return;
	}
	tell_device(o, d,
		    why == CW_LEAVE_REMOVED   ? CW_DEVICE_LEFT_REMOVED
		    : why == CW_LEAVE_CHANGED ? CW_DEVICE_LEFT_CHANGED
					      : CW_DEVICE_LEFT_SUPERSEDED,
		    0);
	let_go(o);
}

static void on_state(void *owner, struct cw_device *d, enum cw_updevice_state state, int code)
{
	struct owner *o = owner;

	if (o->device != NULL)
		tell_device(o, d,
			    state == CW_UPDEVICE_ONLINE    ? CW_DEVICE_ONLINE
			    : state == CW_UPDEVICE_REFUSED ? CW_DEVICE_REFUSED
							   : CW_DEVICE_OFFLINE,
			    code);
}

static void on_logged_out(struct cw_bridge *b, struct cw_device *d)
{
	struct lib *l = lib_of(b);
	struct seat *s = find_seat(l, cw_device_identity(d));

	if (s != NULL && !cw_list_empty(&s->leaving))
		tell_leaving(l, s, 0, NULL);
}

static void on_upstream(struct cw_bridge *b, const struct cw_upstream *u, int up, const char *reason)
{
	struct lib *l = lib_of(b);

	if (LIB_HAS(l, state))
		l->handler.state(l->ctx, cw_upstream_name(u), up, reason);
}

const struct cw_owner_ops lib_owner_ops = {
	.leave = on_leave,
	.state = on_state,
	.command = lib_on_command,
	.cancel = lib_on_cancel,
	.reply = lib_on_reply,
	.logged_out = on_logged_out,
	.broadcast = lib_on_broadcast,
	.upstream = on_upstream,
};

/* ---- the end --------------------------------------------------------------------------------- */

void lib_pending_drop(struct lib *l)
{
	struct cw_map_node *n = NULL, *next;

	cw_map_each_safe (n, next, &l->seats) {
		struct seat *s = cw_container_of(n, struct seat, node);
		char identity[sizeof(s->identity)];

		memcpy(identity, s->identity, sizeof(identity));
		(void)drop_seat_pending(l, identity, CW_ECLOSED, "the bridge is being closed");
	}
}

void lib_pending_go(struct lib *l)
{
	struct cw_list all, *e;
	struct cw_map_node *n;

	if (!l->connected) {
		lib_pending_drop(l);
		return;
	}
	/* Aside first: an attach may be over at once and take its seat with it. */
	cw_list_init(&all);
	cw_map_each (n, &l->seats) {
		struct seat *s = cw_container_of(n, struct seat, node);

		cw_list_each (e, &s->pending)
			cw_list_push_back(&all, &cw_container_of(e, struct owner, link)->held);
	}
	while ((e = cw_list_pop(&all)) != NULL)
		attach(cw_container_of(e, struct owner, held));
}

void lib_owners_drop(struct lib *l)
{
	struct cw_map_node *n;
	struct cw_list *e;

	while ((e = cw_list_first(&l->owners)) != NULL)
		let_go(cw_container_of(e, struct owner, link));
	while ((n = cw_map_next(&l->seats, NULL)) != NULL)
		tell_leaving(l, cw_container_of(n, struct seat, node), 0, NULL);
}

int cw_bridge_names(struct cw_bridge *b, const char *identity, char product_key[32], char device_name[64])
{
	struct lib *l = cw_bridge_ctx(b);
	struct cw_device *d;

	if (!lib_on_loop(l))
		return CW_EINVAL;
	d = cw_bridge_find(b, identity, strlen(identity));
	if (d == NULL)
		return CW_ENOENT;
	(void)snprintf(product_key, 32, "%s", cw_device_product_key(d));
	(void)snprintf(device_name, 64, "%s", cw_device_name(d));
	return 0;
}
