/*
 * move.c - devices change their upstream while they are connected, and upstreams go.
 *
 * One move: the device is made known to the new upstream, held: what its owner submits waits there. The owner is
 * told, and says when nothing of its is on its way to the old one (cw_bridge_moved()). The old one then delivers what it
 * has, and commands that came over it end; or time is up: its commands end as offline and what it could not deliver is
 * carried over. It is removed there (logged out); with `removed` the new one is let go on and logs in. So the platform
 * sees the device in one place at a time, and its records in order.
 *
 * An upstream that no route leads to any more stops when the last device has left it. One that logs in as the same
 * bridge, or has its name, connects only then: the platform would end one of two connections of one device.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bridge/bridge_impl.h"
#include "upstream/connector.h"

/* ---- devices ------------------------------------------------------------------------- */

static void part(struct cw_device *d)
{
	d->parted = 1;
	cw_command_device_parts(d);
	cw_upstream_device_leave_to(d->parting->up, d->way->up);
}

static void go_on(struct cw_device *d)
{
	if (d->parting == NULL || cw_owners_asked(d) || d->parted)
		return;
	if (d->bridge->move_late || (d->drained && d->command_count == 0)) {
		part(d);
		return;
	}
	if (!d->draining)
		cw_upstream_device_drain(d->parting->up);
	d->draining = 1;
}

void cw_devices_on_drained(void *ctx, void *cookie)
{
	struct way *w = cookie;

	w->device->drained = 1;
	go_on(w->device);
}

void cw_move_command_ended(struct cw_device *d)
{
	go_on(d);
}

void cw_move_owner_gone(struct cw_device *d)
{
	d->asked = 0;
	go_on(d);
}

void cw_bridge_moved(struct cw_bridge *b, struct cw_device *d, void *owner)
{
	cw_owners_moved(d, owner);
	go_on(d);
}

void cw_move_removed(struct cw_device *d)
{
	d->parting = NULL;
	cw_list_remove(&d->move);
	if (d->state != CW_UPDEVICE_OFFLINE)
		cw_devices_set_state(d, CW_UPDEVICE_OFFLINE, 0, "it goes over another upstream now");
	if (d->removing)
		cw_devices_remove(d);
	else
		cw_upstream_device_release(d->way->up, d->owner != NULL);
}

/* 1 when it moves. */
static int begin(struct cw_device *d, struct uplink *to)
{
	struct way *w = d->way == &d->ways[0] ? &d->ways[1] : &d->ways[0];

	if (to == NULL || cw_devices_open_way(d, w, to, 1) < 0) {
		cw_log(device_stranded, to == NULL ? "no route fits it any more" : "out of memory", CW_LS("device", d->identity));
		(void)cw_devices_let_go(d, CW_LEAVE_CHANGED);
		return 0;
	}
	d->parting = d->way;
	d->way = w;
	d->draining = d->drained = d->parted = 0;
	d->asked = 0;
	cw_list_push_back(&d->bridge->moves, &d->move);
	cw_count(bridge, devices_moved);
	if (d->owner != NULL)
		cw_owners_tell_moved(d);
	else
		go_on(d);
	return 1;
}

void cw_move_hurry(struct cw_bridge *b)
{
	struct cw_list *e, *next;

	b->move_late = 1;
	cw_list_each_safe(e, next, &b->moves)
		go_on(cw_container_of(e, struct cw_device, move));
}

static void on_move_late(struct cw_timer *t)
{
	cw_move_hurry(cw_container_of(t, struct cw_bridge, move_timer));
}

/* ---- upstreams ------------------------------------------------------------------------- */

static int same_text(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* May `x` not be connected beside one that still goes? */
static int must_wait(struct cw_bridge *b, const struct uplink *x)
{
	const struct cw_upstream_conf *c = cw_upstream_settings(x->u);
	struct cw_list *e;

	cw_list_each(e, &b->retired) {
		const struct cw_upstream_conf *o = cw_upstream_settings(cw_container_of(e, struct uplink, link)->u);

		if (same_text(c->name, o->name) ||
		    (!c->kind->without_bridge && !o->kind->without_bridge && same_text(c->product_key, o->product_key) &&
		     same_text(c->device_name, o->device_name)))
			return 1;
	}
	return 0;
}

static void start_waiting(struct cw_bridge *b)
{
	size_t i;

	for (i = 0; i < b->routing.uplink_count; i++) {
		struct uplink *x = b->routing.uplinks[i];

		if (!x->waits || must_wait(b, x))
			continue;
		x->waits = 0;
		(void)cw_upstream_start(x->u); /* its thread is there: cannot fail */
	}
}

static void on_retired(void *arg)
{
	struct uplink *x = arg;
	struct cw_bridge *b = x->bridge;

	cw_command_upstream_gone(b, x->u);
	cw_lookup_upstream_gone(b, x->u);
	cw_log(upstream_gone, "", CW_LS("upstream", cw_upstream_name(x->u)));
	cw_list_remove(&x->link);
	cw_uplink_free(x);
	start_waiting(b);
	cw_move_look(b);
}

void cw_move_look(struct cw_bridge *b)
{
	struct cw_list *e;

	if (!b->applying)
		return;
	cw_list_each(e, &b->retired) {
		struct uplink *x = cw_container_of(e, struct uplink, link);

		if (x->devices > 0 || x->stopping)
			continue;
		x->stopping = 1;
		cw_upstream_stop(x->u, 0, on_retired, x);
	}
	if (!cw_list_empty(&b->retired) || !cw_list_empty(&b->moves))
		return;
	b->applying = 0;
	cw_timer_stop(cw_worker_timers(b->conf.control), &b->move_timer);
	if (b->stop_waits)
		cw_bridge_stop_now(b);
	if (b->applied != NULL)
		b->applied(b->applied_arg);
}

size_t cw_move_all(struct cw_bridge *b, uint64_t drain_ms)
{
	struct cw_map_node *n, *next;
	size_t i, count = 0;

	b->applying = 1;
	b->move_late = 0;
	cw_timer_set(cw_worker_timers(b->conf.control), &b->move_timer, drain_ms, on_move_late);
	for (i = 0; i < b->routing.uplink_count; i++) {
		b->routing.uplinks[i]->waits = b->routing.uplinks[i]->fresh;
		b->routing.uplinks[i]->fresh = 0;
	}
	start_waiting(b);
	cw_map_each_safe(n, next, &b->devices) {
		struct cw_device *d = cw_container_of(n, struct cw_device, node);
		struct uplink *to = cw_bridge_route(b, d);

		/* Who has to leave makes its way anew when it comes back. */
		if (to != d->way->uplink && !d->removing && !d->stale)
			count += (size_t)begin(d, to);
	}
	cw_move_look(b);
	return count;
}
