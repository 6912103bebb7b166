/* bridge.c - see bridge.h: upstreams and routes; devices.c and command.c do the rest. */
#include "bridge/bridge.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bridge/bridge_impl.h"

static struct uplink *find_uplink(struct cw_bridge *b, const struct cw_upstream *u)
{
	struct cw_list *e;
	size_t i;

	for (i = 0; i < b->routing.uplink_count; i++)
		if (b->routing.uplinks[i]->u == u)
			return b->routing.uplinks[i];
	e = cw_list_first(&b->retired);
	while (cw_container_of(e, struct uplink, link)->u != u)
		e = e->next;
	return cw_container_of(e, struct uplink, link);
}

static void on_upstream_state(void *ctx, struct cw_upstream *u, int up, const char *reason)
{
	struct cw_bridge *b = ctx;
	struct uplink *x = find_uplink(b, u);

	if (x->up == up)
		return;
	x->up = (uint8_t)up;
	cw_gauge_add(upstream, up, up ? 1 : -1);
	if (b->conf.owner_ops->upstream != NULL)
		b->conf.owner_ops->upstream(b, u, up, reason);
}

static const struct cw_upstream_events events = {
	.state = on_upstream_state,
	.device = cw_devices_on_state,
	.command = cw_command_on_downlink,
	.reply = cw_devices_on_reply,
	.removed = cw_devices_on_removed,
	.drained = cw_devices_on_drained,
};

int cw_bridge_new(const struct cw_bridge_conf *conf, struct cw_bridge **ret_bridge)
{
	struct cw_bridge *b = cw_zalloc(sizeof(*b));
	int rc;

	if (b == NULL)
		return CW_ENOMEM;
	b->conf = *conf;
	cw_list_init(&b->retired);
	cw_list_init(&b->moves);
	cw_lookup_init(b);
	rc = cw_resolver_new(conf->control, &b->resolver);
	if (rc == 0)
		rc = cw_file_source_new(b->resolver, &b->devices_file);
	if (rc < 0) {
		cw_resolver_free(b->resolver);
		cw_free(b);
		return rc;
	}
	*ret_bridge = b;
	return 0;
}

void cw_bridge_set_ctx(struct cw_bridge *b, void *ctx)
{
	b->conf.ctx = ctx;
}

void *cw_bridge_ctx(const struct cw_bridge *b)
{
	return b->conf.ctx;
}

void cw_bridge_free(struct cw_bridge *b)
{
	struct cw_list *e;
	size_t i;

	if (b == NULL)
		return;
	cw_gauge_add(bridge, devices_known, -(int64_t)cw_bridge_identities(b)->count);
	cw_lookup_fini(b);
	cw_timer_stop(cw_worker_timers(b->conf.control), &b->move_timer);
	for (i = 0; i < b->routing.uplink_count; i++)
		cw_uplink_free(b->routing.uplinks[i]);
	while ((e = cw_list_pop(&b->retired)) != NULL)
		cw_uplink_free(cw_container_of(e, struct uplink, link));
	cw_devices_fini(b);
	cw_map_fini(&b->commands);
	if (!b->devices_added)
		cw_file_source_ops.free(b->devices_file);
	cw_resolver_free(b->resolver);
	cw_free(b);
}

/* ---- upstreams and routes -------------------------------------------------------- */

void cw_uplink_free(struct uplink *x)
{
	if (x->up)
		cw_gauge_add(upstream, up, -1);
	cw_upstream_free(x->u);
	cw_free(x);
}

/* May one more, of this name, be added? */
static int has_room(const struct routing *r, const char *name, struct cw_msg *msg)
{
	size_t i;

	if (r->uplink_count == UPSTREAMS_MOST)
		return cw_fail(msg, CW_ELIMIT, "more than %d upstreams", UPSTREAMS_MOST);
	for (i = 0; i < r->uplink_count; i++)
		if (strcmp(cw_upstream_name(r->uplinks[i]->u), name) == 0)
			return cw_fail(msg, CW_ECONF, "two upstreams, or one and a member of another's bridges, are named \"%s\"", name);
	return 0;
}

static int add_uplink(struct cw_bridge *b, struct routing *r, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	int rc = has_room(r, conf->name, msg);
	struct uplink *x;

	if (rc < 0)
		return rc;
	x = cw_zalloc(sizeof(*x));
	if (x == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	x->bridge = b;
	cw_list_init(&x->link);
	rc = cw_upstream_new(conf, b->conf.control, &events, b, &x->u, msg);
	if (rc < 0) {
		cw_free(x);
		cw_msg_wrap(msg, "upstream \"%s\"", conf->name);
		return rc;
	}
	r->uplinks[r->uplink_count++] = x;
	return 0;
}

int cw_bridge_add_upstream(struct cw_bridge *b, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	return add_uplink(b, &b->routing, conf, msg);
}

static int copy_part(char *to, size_t size, const char *from, const char *what, struct cw_msg *msg)
{
	int n = snprintf(to, size, "%s", from == NULL ? "" : from);

	return n < 0 || (size_t)n >= size ? cw_fail(msg, CW_ECONF, "route: %s is longer than %zu characters", what, size - 1) : 0;
}

static int add_route(struct routing *to, const struct cw_route *route, struct cw_msg *msg)
{
	struct route *r = &to->routes[to->route_count];
	size_t i;
	int rc;

	if (to->route_count == ROUTES_MOST)
		return cw_fail(msg, CW_ELIMIT, "more than %d routes", ROUTES_MOST);
	rc = copy_part(r->product_key, sizeof(r->product_key), route->product_key, "productKey", msg);
	if (rc == 0)
		rc = copy_part(r->device_name, sizeof(r->device_name), route->device_name, "deviceName", msg);
	if (rc == 0)
		rc = copy_part(r->identity, sizeof(r->identity), route->identity, "identity", msg);
	if (rc < 0)
		return rc;
	for (i = 0; i < to->uplink_count; i++) {
		if (strcmp(cw_upstream_group(to->uplinks[i]->u), route->upstream) != 0)
			continue;
		r->group = cw_upstream_group(to->uplinks[i]->u);
		to->route_count++;
		return 0;
	}
	return cw_fail(msg, CW_ECONF, "route to \"%s\": there is no upstream of that name", route->upstream);
}

int cw_bridge_add_route(struct cw_bridge *b, const struct cw_route *route, struct cw_msg *msg)
{
	return add_route(&b->routing, route, msg);
}

static int fits(const struct route *r, const struct cw_device *d)
{
	return (r->product_key[0] == '\0' || strcmp(r->product_key, d->product_key) == 0) &&
	       (r->device_name[0] == '\0' || fnmatch(r->device_name, d->device_name, 0) == 0) &&
	       (r->identity[0] == '\0' || fnmatch(r->identity, d->identity, 0) == 0);
}

/* The member of a group that a device takes: the one with the highest hash of both (rendezvous hashing). */
static struct uplink *member(const struct routing *r, const char *group, const struct cw_device *d)
{
	struct uplink *best = NULL;
	uint64_t highest = 0;
	char text[160];
	size_t i;

	for (i = 0; i < r->uplink_count; i++) {
		struct uplink *x = r->uplinks[i];
		uint64_t h;

		if (strcmp(cw_upstream_group(x->u), group) != 0)
			continue;
		(void)snprintf(text, sizeof(text), "%s/%s/%s", d->product_key, d->device_name, cw_upstream_name(x->u));
		h = cw_hash_stable(text, strlen(text));
		if (best == NULL || h > highest) {
			best = x;
			highest = h;
		}
	}
	return best;
}

struct uplink *cw_bridge_route(const struct cw_bridge *b, const struct cw_device *d)
{
	const struct routing *r = &b->routing;
	size_t i;

	for (i = 0; i < r->route_count; i++)
		if (fits(&r->routes[i], d))
			return member(r, r->routes[i].group, d);
	return r->route_count == 0 && r->uplink_count > 0 ? member(r, cw_upstream_group(r->uplinks[0]->u), d) : NULL;
}

/* ---- other upstreams and routes while it runs -------------------------------------- */

struct cw_bridge_plan {
	struct cw_bridge *bridge;
	struct routing routing;
};

int cw_bridge_plan_new(struct cw_bridge *b, struct cw_bridge_plan **ret_plan)
{
	struct cw_bridge_plan *p;

	if (b->applying)
		return CW_EBUSY;
	p = cw_zalloc(sizeof(*p));
	if (p == NULL)
		return CW_ENOMEM;
	p->bridge = b;
	*ret_plan = p;
	return 0;
}

int cw_bridge_plan_keep(struct cw_bridge_plan *p, const char *name, struct cw_msg *msg)
{
	struct routing *now = &p->bridge->routing;
	int rc = has_room(&p->routing, name, msg);
	size_t i;

	for (i = 0; rc == 0 && i < now->uplink_count; i++) {
		if (strcmp(cw_upstream_name(now->uplinks[i]->u), name) != 0)
			continue;
		p->routing.uplinks[p->routing.uplink_count++] = now->uplinks[i];
		return 0;
	}
	return rc < 0 ? rc : cw_fail(msg, CW_ENOENT, "upstream \"%s\": there is none to keep", name);
}

int cw_bridge_plan_upstream(struct cw_bridge_plan *p, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	int rc = add_uplink(p->bridge, &p->routing, conf, msg);

	if (rc < 0)
		return rc;
	p->routing.uplinks[p->routing.uplink_count - 1]->fresh = 1;
	rc = cw_upstream_run(p->routing.uplinks[p->routing.uplink_count - 1]->u);
	return rc < 0 ? cw_fail(msg, rc, "upstream \"%s\": cannot start its thread: %s", conf->name, cw_error_text(rc)) : 0;
}

int cw_bridge_plan_route(struct cw_bridge_plan *p, const struct cw_route *route, struct cw_msg *msg)
{
	return add_route(&p->routing, route, msg);
}

struct cw_upstream *cw_bridge_plan_fresh(struct cw_bridge_plan *p, size_t n)
{
	size_t i;

	for (i = 0; i < p->routing.uplink_count; i++)
		if (p->routing.uplinks[i]->fresh && n-- == 0)
			return p->routing.uplinks[i]->u;
	return NULL;
}

void cw_bridge_plan_free(struct cw_bridge_plan *p)
{
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->routing.uplink_count; i++)
		if (p->routing.uplinks[i]->fresh)
			cw_uplink_free(p->routing.uplinks[i]);
	cw_free(p);
}

size_t cw_bridge_apply(struct cw_bridge_plan *p, uint64_t drain_ms, void (*done)(void *arg), void *arg)
{
	struct cw_bridge *b = p->bridge;
	size_t i, k;

	for (i = 0; i < b->routing.uplink_count; i++) {
		struct uplink *x = b->routing.uplinks[i];

		for (k = 0; k < p->routing.uplink_count && p->routing.uplinks[k] != x; k++)
			;
		if (k < p->routing.uplink_count)
			continue;
		cw_list_push_back(&b->retired, &x->link);
		cw_log(upstream_leaving, "", CW_LS("upstream", cw_upstream_name(x->u)));
	}
	b->routing = p->routing;
	cw_free(p);
	b->applied = done;
	b->applied_arg = arg;
	return cw_move_all(b, drain_ms);
}

/* ---- connecting and stopping ----------------------------------------------------- */

int cw_bridge_connect(struct cw_bridge *b)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < b->routing.uplink_count && rc == 0; i++)
		rc = cw_upstream_start(b->routing.uplinks[i]->u);
	return rc;
}

static void on_upstream_stopped(void *arg)
{
	struct cw_bridge *b = arg;

	if (--b->stopping == 0)
		b->stopped(b->stopped_arg);
}

void cw_bridge_stop_now(struct cw_bridge *b)
{
	size_t i;

	b->stop_waits = 0;
	b->stopping = b->routing.uplink_count + 1;
	for (i = 0; i < b->routing.uplink_count; i++)
		cw_upstream_stop(b->routing.uplinks[i]->u, b->stop_drain_ms, on_upstream_stopped, b);
	on_upstream_stopped(b);
}

void cw_bridge_stop(struct cw_bridge *b, uint64_t drain_ms, void (*done)(void *arg), void *arg)
{
	b->stopped = done;
	b->stopped_arg = arg;
	b->stop_drain_ms = drain_ms;
	b->stop_waits = 1;
	if (b->applying)
		cw_move_hurry(b); /* goes on below when it is through */
	else
		cw_bridge_stop_now(b);
}

int cw_bridge_up(struct cw_bridge *b)
{
	size_t i;

	for (i = 0; i < b->routing.uplink_count; i++)
		if (!b->routing.uplinks[i]->up)
			return 0;
	return 1;
}

size_t cw_bridge_upstream_count(const struct cw_bridge *b)
{
	return b->routing.uplink_count;
}

struct cw_upstream *cw_bridge_upstream(struct cw_bridge *b, size_t i)
{
	return b->routing.uplinks[i]->u;
}

struct cw_resolver *cw_bridge_resolver(struct cw_bridge *b)
{
	return b->resolver;
}

int cw_bridge_add_devices(struct cw_bridge *b)
{
	int rc = cw_resolver_add(b->resolver, &cw_file_source_ops, b->devices_file, 0, 0);

	b->devices_added = rc == 0;
	return rc;
}

const struct cw_identities *cw_bridge_identities(const struct cw_bridge *b)
{
	return cw_file_source_set(b->devices_file);
}
