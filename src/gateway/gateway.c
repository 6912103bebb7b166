/* gateway.c - see gateway.h: workers' decoders, listeners with their bindings, start and stop. */
#include "gateway/gateway.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_impl.h"

/* ---- making -------------------------------------------------------------------- */

int cw_gateway_new(const struct cw_gateway_conf *conf, struct cw_gateway **ret_gateway, struct cw_msg *msg)
{
	struct cw_gateway *g = cw_zalloc(sizeof(*g));
	unsigned i;

	if (g == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	g->conf = *conf;
	g->listeners.most = LISTENERS_MOST;
	g->connections.most = CONNECTIONS_MOST;
	cw_list_init(&g->traces);
	cw_list_init(&g->lookups);
	g->workers = cw_calloc(conf->worker_count, sizeof(*g->workers));
	g->checkers = cw_calloc(conf->protocol_count, sizeof(struct cw_runner *));
	if (g->workers == NULL || g->checkers == NULL) {
		cw_free(g->workers);
		cw_free(g->checkers);
		cw_free(g);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	for (i = 0; i < conf->worker_count; i++) {
		struct gw_worker *gw = &g->workers[i];

		gw->gateway = g;
		gw->worker = conf->workers[i];
		gw->index = i;
		cw_list_init(&gw->stalled);
		cw_list_init(&gw->parting);
		cw_list_init(&gw->spare_tickets);
		cw_list_init(&gw->attachments);
		cw_list_init(&gw->taps);
	}
	cw_map_init(&g->rosters);
	cw_map_init(&g->rolls);
	cw_bridge_set_ctx(conf->bridge, g);
	*ret_gateway = g;
	return 0;
}

static int start_worker(struct gw_worker *gw, struct cw_msg *msg)
{
	const struct cw_gateway_conf *conf = &gw->gateway->conf;
	size_t i;
	int rc;

	gw->runners = cw_calloc(conf->protocol_count, sizeof(struct cw_runner *));
	if (gw->runners == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	for (i = 0; i < conf->protocol_count; i++) {
		if (conf->isolated != NULL && conf->isolated(conf->isolated_ctx, i))
			rc = cw_runner_new_isolated(conf->protocols[i], gw->worker, conf->isolation, &gw->runners[i], msg);
		else
			rc = cw_runner_new(conf->protocols[i], gw->worker, &gw->runners[i], msg);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int cw_gateway_watch(struct cw_gateway *g, struct cw_upstream *u, struct cw_msg *msg)
{
	unsigned i;

	for (i = 0; i < g->conf.worker_count; i++) {
		struct room *r = cw_zalloc(sizeof(*r));

		if (r == NULL)
			return cw_fail(msg, CW_ENOMEM, "out of memory");
		r->next = g->rooms;
		g->rooms = r;
		r->gw = &g->workers[i];
		r->watch.w = r->gw->worker;
		r->watch.on_room = gw_on_room;
		cw_upstream_watch(u, &r->watch);
	}
	return 0;
}

int cw_gateway_start(struct cw_gateway *g, struct cw_msg *msg)
{
	unsigned w;
	size_t i;
	int rc;

	for (i = 0; i < g->conf.protocol_count; i++) {
		rc = cw_runner_new(g->conf.protocols[i], g->conf.control, &g->checkers[i], msg);
		if (rc < 0)
			return rc;
	}
	for (w = 0; w < g->conf.worker_count; w++) {
		rc = start_worker(&g->workers[w], msg);
		if (rc < 0)
			return rc;
	}
	for (i = 0; i < cw_bridge_upstream_count(g->conf.bridge); i++) {
		rc = cw_gateway_watch(g, cw_bridge_upstream(g->conf.bridge, i), msg);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- bindings ---------------------------------------------------------------------- */

static int find_protocol(struct cw_gateway *g, const char *name, size_t *ret_index, struct cw_msg *msg)
{
	char known[256] = "";
	size_t i, at = 0;

	for (i = 0; i < g->conf.protocol_count; i++) {
		if (strcmp(g->conf.protocols[i]->name, name) == 0) {
			*ret_index = i;
			return 0;
		}
		if (at < sizeof(known) - 40)
			at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i == 0 ? "" : ", ", g->conf.protocols[i]->name);
	}
	return cw_fail(msg, CW_ECONF, "protocol \"%s\" is not loaded; there are: %s", name, known[0] == '\0' ? "none" : known);
}

static void free_binding(struct binding *b)
{
	unsigned i;

	for (i = 0; b->confs != NULL && i < b->gateway->conf.worker_count; i++)
		cw_runner_settings_free(b->gateway->workers[i].runners[b->protocol_index], b->confs[i]);
	cw_free(b->confs);
	cw_free(b->settings);
	cw_free(b->identity);
	cw_free(b);
}

/*
 * The plugin's form of the settings for every worker, or for the only one that needs it. Made on the control loop: settings()
 * may not touch anything but its arguments, so the thread does not matter until the pointer is handed out.
 */
static int make_confs(struct binding *b, const unsigned *only, struct cw_msg *msg)
{
	struct cw_gateway *g = b->gateway;
	struct cw_bytes settings = cw_bytes_of(b->settings, b->settings_len);
	unsigned i;
	int rc;

	b->confs = cw_calloc(g->conf.worker_count, sizeof(void *));
	if (b->confs == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	for (i = 0; i < g->conf.worker_count; i++) {
		if (only != NULL && *only != i)
			continue;
		rc = cw_runner_settings(g->workers[i].runners[b->protocol_index], settings, &b->confs[i], msg);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int new_binding(struct cw_gateway *g, const char *name, const struct cw_gateway_rules *rules, const unsigned *only,
                       struct binding **ret_binding, struct cw_msg *msg)
{
	struct binding *b = cw_zalloc(sizeof(*b));
	int rc;

	if (b == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	b->gateway = g;
	(void)snprintf(b->name, sizeof(b->name), "%s", name);
	b->ack = rules->ack;
	b->require_online = rules->require_online;
	b->close_unknown = rules->close_unknown;
	b->max_noise = rules->max_noise;
	b->bytes_kept = rules->bytes_kept;
	rc = find_protocol(g, rules->protocol, &b->protocol_index, msg);
	if (rc < 0)
		goto err_binding;
	b->protocol = g->conf.protocols[b->protocol_index];
	b->settings = cw_memdup(rules->settings.ptr, rules->settings.len);
	b->settings_len = rules->settings.len;
	rc = b->settings == NULL ? cw_fail(msg, CW_ENOMEM, "out of memory") : make_confs(b, only, msg);
	if (rc < 0)
		goto err_binding;
	*ret_binding = b;
	return 0;
err_binding:
	free_binding(b);
	return rc;
}

/* From here on sessions may see it, and it stays until the gateway ends. */
static void publish(struct bound *bd, struct binding *b)
{
	b->next = bd->gateway->bindings;
	bd->gateway->bindings = b;
	atomic_store_explicit(&bd->current, b, memory_order_release);
}

static int same_rules(const struct binding *b, const struct cw_gateway_rules *r)
{
	return strcmp(b->protocol->name, r->protocol) == 0 && b->ack == r->ack && b->require_online == r->require_online &&
	       b->close_unknown == r->close_unknown && b->max_noise == r->max_noise && b->bytes_kept == r->bytes_kept &&
	       b->settings_len == r->settings.len && memcmp(b->settings, r->settings.ptr, b->settings_len) == 0;
}

/* ---- what listeners and connections share ----------------------------------------------------- */

struct bound *gw_bound_find(const struct bound_list *list, const char *name, size_t *ret_index)
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		if (strcmp(list->v[i]->name, name) == 0) {
			if (ret_index != NULL)
				*ret_index = i;
			return list->v[i];
		}
	}
	return NULL;
}

/* Room for one more, so that the end of making it cannot fail. */
static int make_room(struct bound_list *list, const char *what, struct cw_msg *msg)
{
	struct bound **grown;
	size_t room = list->room == 0 ? 16 : list->room * 2;

	if (list->count == list->most)
		return cw_fail(msg, CW_ELIMIT, "more than %zu %s", list->most, what);
	if (list->count < list->room)
		return 0;
	grown = cw_realloc(list->v, room * sizeof(struct bound *));
	if (grown == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	list->v = grown;
	list->room = room;
	return 0;
}

static struct bound *new_bound(struct cw_gateway *g, const char *name, struct cw_msg *msg)
{
	struct bound *bd = cw_zalloc(sizeof(*bd));

	if (bd == NULL) {
		(void)cw_fail(msg, CW_ENOMEM, "out of memory");
		return NULL;
	}
	bd->gateway = g;
	(void)snprintf(bd->name, sizeof(bd->name), "%s", name);
	return bd;
}

static void on_bound_gone(void *arg)
{
	struct bound *bd = arg;
	struct cw_gateway *g = bd->gateway;

	cw_free(bd);
	if (--g->closing == 0 && g->stopped != NULL)
		g->stopped(g->stopped_arg);
}

static void close_bound(struct cw_gateway *g, struct bound_list *list, size_t i, const char *reason)
{
	struct bound *bd = list->v[i];

	list->v[i] = list->v[--list->count];
	g->closing++;
	if (bd->dial != NULL)
		cw_dial_close(bd->dial, CW_ECLOSED, reason, on_bound_gone, bd);
	else
		cw_listener_close(bd->listener, CW_ECLOSED, reason, on_bound_gone, bd);
}

static const char *protocol_of(const struct bound *bd)
{
	return atomic_load_explicit(&bd->current, memory_order_relaxed)->protocol->name;
}

static struct cw_listener_env env_of(struct cw_gateway *g, struct bound *bd)
{
	return (struct cw_listener_env){
		.home = g->conf.control,
		.workers = g->conf.workers,
		.count = g->conf.worker_count,
		.ops = &gw_session_ops,
		.arg = bd,
	};
}

/* ---- listeners ------------------------------------------------------------------------ */

/* The rules of a listener; its errors name it. */
static int listener_binding(struct cw_gateway *g, const struct cw_gateway_listener *l, struct binding **ret_binding, struct cw_msg *msg)
{
	int rc = new_binding(g, l->net.name, &l->rules, NULL, ret_binding, msg);

	if (rc == 0 && l->net.transport == CW_TRANSPORT_UDP && ((*ret_binding)->protocol->caps & CW_CAP_DATAGRAM) == 0) {
		free_binding(*ret_binding);
		rc = cw_fail(msg, CW_ECONF, "protocol \"%s\" does not work over UDP", l->rules.protocol);
	}
	if (rc < 0)
		cw_msg_wrap(msg, "listener \"%s\"", l->net.name);
	return rc;
}

int cw_gateway_add_listener(struct cw_gateway *g, const struct cw_gateway_listener *l, struct cw_msg *msg)
{
	struct cw_listener_env env;
	struct binding *b;
	struct bound *bd;
	int rc = make_room(&g->listeners, "listeners", msg);

	if (rc < 0)
		return rc;
	bd = new_bound(g, l->net.name, msg);
	if (bd == NULL)
		return CW_ENOMEM;
	rc = listener_binding(g, l, &b, msg);
	if (rc < 0)
		goto err_bound;
	publish(bd, b);
	env = env_of(g, bd);
	rc = cw_listener_new(&l->net, &env, msg, &bd->listener);
	if (rc < 0)
		goto err_bound;
	g->listeners.v[g->listeners.count++] = bd;
	return 0;
err_bound:
	cw_free(bd);
	return rc;
}

int cw_gateway_update_listener(struct cw_gateway *g, const struct cw_gateway_listener *l, struct cw_msg *msg)
{
	struct bound *bd = gw_bound_find(&g->listeners, l->net.name, NULL);
	struct binding *b;
	int rc;

	if (bd == NULL)
		return CW_ENOENT;
	b = atomic_load_explicit(&bd->current, memory_order_relaxed);
	if (strcmp(b->protocol->name, l->rules.protocol) != 0)
		return CW_EINVAL;
	rc = cw_listener_update(bd->listener, &l->net, msg);
	if (rc < 0 || same_rules(b, &l->rules))
		return rc;
	/* The new settings' plugin form is made here; the workers' runners are shared with running code only by pointer. */
	rc = listener_binding(g, l, &b, msg);
	if (rc < 0)
		return rc;
	publish(bd, b);
	return 0;
}

void cw_gateway_close_listener(struct cw_gateway *g, const char *name)
{
	size_t i;

	if (gw_bound_find(&g->listeners, name, &i) != NULL)
		close_bound(g, &g->listeners, i, "the listener was removed from the configuration");
}

size_t cw_gateway_listener_count(const struct cw_gateway *g)
{
	return g->listeners.count;
}

const struct cw_listener *cw_gateway_listener(const struct cw_gateway *g, size_t i, const char **ret_protocol)
{
	*ret_protocol = protocol_of(g->listeners.v[i]);
	return g->listeners.v[i]->listener;
}

/* ---- connections ------------------------------------------------------------------------ */

static int connection_binding(struct cw_gateway *g, const struct cw_gateway_connection *c, struct binding **ret_binding, struct cw_msg *msg)
{
	unsigned worker = cw_dial_worker(c->net.name, g->conf.worker_count);
	int rc = new_binding(g, c->net.name, &c->rules, &worker, ret_binding, msg);

	if (rc == 0 && c->identity != NULL) {
		(*ret_binding)->identity = cw_strdup(c->identity);
		if ((*ret_binding)->identity == NULL) {
			free_binding(*ret_binding);
			rc = cw_fail(msg, CW_ENOMEM, "out of memory");
		}
	}
	if (rc < 0)
		cw_msg_wrap(msg, "connection \"%s\"", c->net.name);
	return rc;
}

int cw_gateway_add_connection(struct cw_gateway *g, const struct cw_gateway_connection *c, struct cw_msg *msg)
{
	struct cw_listener_env env;
	struct binding *b;
	struct bound *bd;
	int rc = make_room(&g->connections, "connections", msg);

	if (rc < 0)
		return rc;
	bd = new_bound(g, c->net.name, msg);
	if (bd == NULL)
		return CW_ENOMEM;
	rc = connection_binding(g, c, &b, msg);
	if (rc < 0)
		goto err_bound;
	publish(bd, b);
	env = env_of(g, bd);
	rc = cw_dial_new(&c->net, &env, msg, &bd->dial);
	if (rc < 0)
		goto err_bound;
	g->connections.v[g->connections.count++] = bd;
	return 0;
err_bound:
	cw_free(bd);
	return rc;
}

static int same_identity(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

int cw_gateway_update_connection(struct cw_gateway *g, const struct cw_gateway_connection *c, struct cw_msg *msg)
{
	struct bound *bd = gw_bound_find(&g->connections, c->net.name, NULL);
	const struct binding *b;

	if (bd == NULL)
		return CW_ENOENT;
	b = atomic_load_explicit(&bd->current, memory_order_relaxed);
	if (!same_rules(b, &c->rules) || !same_identity(b->identity, c->identity))
		return CW_EINVAL;
	return cw_dial_update(bd->dial, &c->net, msg);
}

void cw_gateway_close_connection(struct cw_gateway *g, const char *name)
{
	size_t i;

	if (gw_bound_find(&g->connections, name, &i) != NULL)
		close_bound(g, &g->connections, i, "the connection was changed or removed in the configuration");
}

size_t cw_gateway_connection_count(const struct cw_gateway *g)
{
	return g->connections.count;
}

struct cw_dial *cw_gateway_connection(const struct cw_gateway *g, size_t i, const char **ret_protocol)
{
	*ret_protocol = protocol_of(g->connections.v[i]);
	return g->connections.v[i]->dial;
}

/* ---- for status and watchdog --------------------------------------------------------------- */

uint64_t cw_gateway_plugin_counter(const struct cw_gateway *g, size_t protocol, size_t counter)
{
	uint64_t sum = 0;
	unsigned w;

	for (w = 0; w < g->conf.worker_count; w++) {
		size_t n;
		const uint64_t *counters = cw_runner_counters(g->workers[w].runners[protocol], &n);

		if (counter < n)
			sum += __atomic_load_n(&counters[counter], __ATOMIC_RELAXED);
	}
	return sum;
}

int cw_gateway_stuck(struct cw_gateway *g, uint64_t limit_ms, char *out, size_t size)
{
	unsigned w;
	size_t p;

	for (w = 0; w < g->conf.worker_count; w++) {
		for (p = 0; p < g->conf.protocol_count; p++) {
			if (cw_runner_stuck_ms(g->workers[w].runners[p]) < limit_ms)
				continue;
			cw_runner_describe(g->workers[w].runners[p], out, size);
			return 1;
		}
	}
	return 0;
}

int cw_gateway_host(const struct cw_gateway *g, size_t protocol, unsigned worker, struct cw_host_info *ret)
{
	return cw_runner_host_info(g->workers[worker].runners[protocol], ret);
}

static void on_revive(struct cw_mail *mail)
{
	struct revival *v = cw_container_of(mail, struct revival, mail);
	size_t i;

	for (i = 0; v->gw->runners != NULL && i < v->gw->gateway->conf.protocol_count; i++)
		cw_runner_revive(v->gw->runners[i]);
	cw_free(v);
}

void cw_gateway_revive(struct cw_gateway *g)
{
	unsigned i;

	for (i = 0; i < g->conf.worker_count; i++) {
		struct revival *v = cw_zalloc(sizeof(*v));

		if (v == NULL)
			return; /* they come back by themselves, later */
		v->gw = &g->workers[i];
		cw_post(v->gw->worker, &v->mail, on_revive);
	}
}

/* ---- stopping ----------------------------------------------------------------------------- */

void cw_gateway_stop_accepting(struct cw_gateway *g)
{
	size_t i;

	for (i = 0; i < g->listeners.count; i++)
		cw_listener_stop(g->listeners.v[i]->listener);
	for (i = 0; i < g->connections.count; i++)
		cw_dial_stop(g->connections.v[i]->dial);
}

static void on_hold(struct cw_mail *mail)
{
	struct gw_worker *gw = cw_container_of(mail, struct gw_worker, hold_mail);
	struct cw_map_node *n;

	gw->holding = 1;
	gw_link_end_parting(gw);
	cw_map_each(n, &gw->links) {
		struct link *l = cw_container_of(n, struct link, node);

		cw_conn_hold(l->conn);
		cw_session_pause(l->net);
	}
}

void cw_gateway_hold(struct cw_gateway *g)
{
	unsigned i;

	for (i = 0; i < g->conf.worker_count; i++)
		cw_post(g->workers[i].worker, &g->workers[i].hold_mail, on_hold);
}

void cw_gateway_stop(struct cw_gateway *g, void (*done)(void *arg), void *arg)
{
	g->stopped = done;
	g->stopped_arg = arg;
	g->closing++;
	while (g->listeners.count > 0)
		close_bound(g, &g->listeners, g->listeners.count - 1, "the gateway stops");
	while (g->connections.count > 0)
		close_bound(g, &g->connections, g->connections.count - 1, "the gateway stops");
	if (--g->closing == 0)
		done(arg);
}

void cw_gateway_worker_fini(struct cw_gateway *g, unsigned index)
{
	struct gw_worker *gw = &g->workers[index];
	struct binding *b;
	size_t i;

	cw_invariant(gw->links.count == 0);
	gw_trace_fini(gw);
	gw_ingest_fini(gw);
	cw_map_fini(&gw->links);
	for (b = g->bindings; b != NULL; b = b->next) {
		cw_runner_settings_free(gw->runners[b->protocol_index], b->confs[index]);
		b->confs[index] = NULL;
	}
	for (i = 0; gw->runners != NULL && i < g->conf.protocol_count; i++)
		cw_runner_free(gw->runners[i]);
	cw_free(gw->runners);
	gw->runners = NULL;
}

void cw_gateway_free(struct cw_gateway *g)
{
	size_t i;

	if (g == NULL)
		return;
	while (g->bindings != NULL) {
		struct binding *b = g->bindings;

		g->bindings = b->next;
		cw_free(b->confs);
		cw_free(b->settings);
		cw_free(b->identity);
		cw_free(b);
	}
	for (i = 0; i < g->conf.worker_count; i++)
		cw_invariant(g->workers[i].runners == NULL);
	for (i = 0; i < g->conf.protocol_count; i++)
		cw_runner_free(g->checkers[i]);
	cw_invariant(cw_list_empty(&g->traces));
	cw_invariant(g->ties.count == 0);
	cw_map_fini(&g->ties);
	while (g->rooms != NULL) {
		struct room *r = g->rooms;

		g->rooms = r->next;
		cw_free(r);
	}
	cw_free(g->listeners.v);
	cw_free(g->connections.v);
	cw_free(g->checkers);
	cw_free(g->workers);
	cw_free(g);
}
