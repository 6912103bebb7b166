/* bridge.c - see bridge.h: upstreams and routes; devices.c and command.c do the rest. */
#include "bridge/bridge.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bridge/bridge_impl.h"

static void on_upstream_state(void *ctx, struct cw_upstream *u, int up, const char *reason)
{
	struct cw_bridge *b = ctx;
	size_t i;

	for (i = 0; i < b->upstream_count; i++) {
		if (b->upstreams[i] != u || b->up[i] == up)
			continue;
		b->up[i] = (uint8_t)up;
		cw_gauge_add(upstream, up, up ? 1 : -1);
		if (b->conf.owner_ops->upstream != NULL)
			b->conf.owner_ops->upstream(b, u, up, reason);
	}
}

static const struct cw_upstream_events events = {
	.state = on_upstream_state,
	.device = cw_devices_on_state,
	.command = cw_command_on_downlink,
	.reply = cw_devices_on_reply,
	.removed = cw_devices_on_removed,
};

int cw_bridge_new(const struct cw_bridge_conf *conf, struct cw_bridge **ret_bridge)
{
	struct cw_bridge *b = cw_zalloc(sizeof(*b));
	int rc;

	if (b == NULL)
		return CW_ENOMEM;
	b->conf = *conf;
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

void *cw_bridge_ctx(const struct cw_bridge *b)
{
	return b->conf.ctx;
}

void cw_bridge_free(struct cw_bridge *b)
{
	size_t i;

	if (b == NULL)
		return;
	cw_gauge_add(bridge, devices_known, -(int64_t)cw_bridge_identities(b)->count);
	cw_lookup_fini(b);
	for (i = 0; i < b->upstream_count; i++)
		cw_upstream_free(b->upstreams[i]);
	cw_devices_fini(b);
	cw_map_fini(&b->commands);
	if (!b->devices_added)
		cw_file_source_ops.free(b->devices_file);
	cw_resolver_free(b->resolver);
	cw_free(b);
}

int cw_bridge_add_upstream(struct cw_bridge *b, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	size_t i;
	int rc;

	if (b->upstream_count == UPSTREAMS_MOST)
		return cw_fail(msg, CW_ELIMIT, "more than %d upstreams", UPSTREAMS_MOST);
	for (i = 0; i < b->upstream_count; i++)
		if (strcmp(cw_upstream_name(b->upstreams[i]), conf->name) == 0)
			return cw_fail(msg, CW_ECONF, "two upstreams, or one and a member of another's bridges, are named \"%s\"", conf->name);
	rc = cw_upstream_new(conf, b->conf.control, &events, b, &b->upstreams[b->upstream_count], msg);
	if (rc < 0) {
		cw_msg_wrap(msg, "upstream \"%s\"", conf->name);
		return rc;
	}
	b->upstream_count++;
	return 0;
}

static int copy_part(char *to, size_t size, const char *from, const char *what, struct cw_msg *msg)
{
	int n = snprintf(to, size, "%s", from == NULL ? "" : from);

	return n < 0 || (size_t)n >= size ? cw_fail(msg, CW_ECONF, "route: %s is longer than %zu characters", what, size - 1) : 0;
}

int cw_bridge_add_route(struct cw_bridge *b, const struct cw_route *route, struct cw_msg *msg)
{
	struct route *r = &b->routes[b->route_count];
	size_t i;
	int rc;

	if (b->route_count == ROUTES_MOST)
		return cw_fail(msg, CW_ELIMIT, "more than %d routes", ROUTES_MOST);
	rc = copy_part(r->product_key, sizeof(r->product_key), route->product_key, "productKey", msg);
	if (rc == 0)
		rc = copy_part(r->device_name, sizeof(r->device_name), route->device_name, "deviceName", msg);
	if (rc == 0)
		rc = copy_part(r->identity, sizeof(r->identity), route->identity, "identity", msg);
	if (rc < 0)
		return rc;
	for (i = 0; i < b->upstream_count; i++) {
		if (strcmp(cw_upstream_group(b->upstreams[i]), route->upstream) != 0)
			continue;
		r->group = cw_upstream_group(b->upstreams[i]);
		b->route_count++;
		return 0;
	}
	return cw_fail(msg, CW_ECONF, "route to \"%s\": there is no upstream of that name", route->upstream);
}

static int fits(const struct route *r, const struct cw_device *d)
{
	return (r->product_key[0] == '\0' || strcmp(r->product_key, d->product_key) == 0) &&
	       (r->device_name[0] == '\0' || fnmatch(r->device_name, d->device_name, 0) == 0) &&
	       (r->identity[0] == '\0' || fnmatch(r->identity, d->identity, 0) == 0);
}

/* The member of a group that a device takes: the one with the highest hash of both (rendezvous hashing). */
static struct cw_upstream *member(struct cw_bridge *b, const char *group, const struct cw_device *d)
{
	struct cw_upstream *best = NULL;
	uint64_t highest = 0;
	char text[160];
	size_t i;

	for (i = 0; i < b->upstream_count; i++) {
		struct cw_upstream *u = b->upstreams[i];
		uint64_t h;

		if (strcmp(cw_upstream_group(u), group) != 0)
			continue;
		(void)snprintf(text, sizeof(text), "%s/%s/%s", d->product_key, d->device_name, cw_upstream_name(u));
		h = cw_hash_stable(text, strlen(text));
		if (best == NULL || h > highest) {
			best = u;
			highest = h;
		}
	}
	return best;
}

struct cw_upstream *cw_bridge_route(struct cw_bridge *b, const struct cw_device *d)
{
	size_t i;

	for (i = 0; i < b->route_count; i++)
		if (fits(&b->routes[i], d))
			return member(b, b->routes[i].group, d);
	return b->route_count == 0 && b->upstream_count > 0 ? member(b, cw_upstream_group(b->upstreams[0]), d) : NULL;
}

int cw_bridge_connect(struct cw_bridge *b)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < b->upstream_count && rc == 0; i++)
		rc = cw_upstream_start(b->upstreams[i]);
	return rc;
}

static void on_upstream_stopped(void *arg)
{
	struct cw_bridge *b = arg;

	if (--b->stopping == 0)
		b->stopped(b->stopped_arg);
}

void cw_bridge_stop(struct cw_bridge *b, uint64_t drain_ms, void (*done)(void *arg), void *arg)
{
	size_t i;

	b->stopped = done;
	b->stopped_arg = arg;
	b->stopping = b->upstream_count + 1;
	for (i = 0; i < b->upstream_count; i++)
		cw_upstream_stop(b->upstreams[i], drain_ms, on_upstream_stopped, b);
	on_upstream_stopped(b);
}

int cw_bridge_up(struct cw_bridge *b)
{
	size_t i;

	for (i = 0; i < b->upstream_count; i++)
		if (!b->up[i])
			return 0;
	return 1;
}

size_t cw_bridge_upstream_count(const struct cw_bridge *b)
{
	return b->upstream_count;
}

struct cw_upstream *cw_bridge_upstream(struct cw_bridge *b, size_t i)
{
	return b->upstreams[i];
}

void cw_bridge_watch(struct cw_bridge *b, size_t i, struct cw_upstream_watch *watch)
{
	cw_upstream_watch(b->upstreams[i], watch);
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
