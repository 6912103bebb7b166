/*
 * swap.c - a reload's other upstreams and routes: what stays, what is made, which configuration each was made of.
 *
 * A kind's settings are lent to its upstreams for as long as they live, so a configuration that a running upstream was
 * made of is kept beside the one that counts now.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "daemon/daemon.h"
#include "upstream/connector.h"

#define FILE_MOST 1048576u

/* ---- which upstreams a configuration makes ------------------------------------------------ */

static uint64_t mix(uint64_t print, const void *bytes, size_t len)
{
	uint64_t both[2] = { print, cw_hash_stable(bytes, len) };

	return cw_hash_stable(both, sizeof(both));
}

static uint64_t mix_text(uint64_t print, const char *text)
{
	return text == NULL ? mix(print, "", 0) : mix(print, text, strlen(text) + 1);
}

/* A certificate that was renewed in its place makes another upstream. What cannot be read is found out by whoever needs it. */
static uint64_t mix_file(uint64_t print, const char *path)
{
	char block[4096];
	size_t total = 0;
	ssize_t n;
	int fd;

	print = mix_text(print, path);
	fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return print;
	while (total < FILE_MOST && (n = read(fd, block, sizeof(block))) > 0) {
		print = mix(print, block, (size_t)n);
		total += (size_t)n;
	}
	explicit_bzero(block, sizeof(block));
	close(fd);
	return print;
}

static uint64_t print_of(const struct cw_upstream_conf *c)
{
	uint64_t print = mix_text(0, c->product_key);

	print = mix_text(print, c->device_name);
	print = mix_text(print, c->device_secret);
	print = mix_text(print, c->client_id);
	print = mix_text(print, c->device_token);
	print = mix_file(print, c->ca);
	print = mix_file(print, c->certificate);
	return mix_file(print, c->key);
}

struct looking {
	const struct cw_config *config;
	struct cw_made_list *list;
};

static const struct cw_config_upstream *origin_of(const struct cw_config *c, const void *own)
{
	size_t i;

	for (i = 0; i < c->upstreams.count; i++) {
		const struct cw_config_upstream *u = cw_conf_item(&c->upstreams, struct cw_config_upstream, i);

		if (u->own == own)
			return u;
	}
	return NULL;
}

static int look(void *ctx, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	struct looking *l = ctx;
	struct cw_made *m = &l->list->items[l->list->count];

	if (l->list->count == CW_MADE_MOST)
		return cw_fail(msg, CW_ELIMIT, "more than %d upstreams", CW_MADE_MOST);
	(void)snprintf(m->name, sizeof(m->name), "%s", conf->name);
	m->config = l->config;
	m->from = origin_of(l->config, conf->own);
	m->print = print_of(conf);
	l->list->count++;
	return 0;
}

int cw_daemon_look_at_upstreams(struct cw_daemon *d, const struct cw_config *config, struct cw_made_list *list, struct cw_msg *msg)
{
	struct looking l = { config, list };

	list->count = 0;
	return cw_config_each_upstream(config, d->state_dir, cw_daemon_dedup_window(d), look, &l, msg);
}

static const struct cw_made *find(const struct cw_made_list *list, const char *name)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	return NULL;
}

/* ---- the plan ---------------------------------------------------------------------------------- */

struct planning {
	struct cw_daemon *daemon;
	struct cw_bridge_plan *plan;
	struct cw_made_list *list;
	struct cw_swap_result *result;
	size_t at;
};

static int plan_one(void *ctx, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	struct planning *p = ctx;
	struct cw_made *now = &p->list->items[p->at++];
	const struct cw_made *old = find(&p->daemon->made, conf->name);

	if (old != NULL && old->print == now->print && cw_config_same_upstream(old->from, now->from)) {
		*now = *old;
		return cw_bridge_plan_keep(p->plan, conf->name, msg);
	}
	if (old == NULL)
		p->result->added++;
	else
		p->result->changed++;
	if (!conf->kind->without_bridge && conf->device_secret == NULL && conf->device_token == NULL && conf->certificate == NULL)
		return cw_fail(msg, CW_ECONF, "upstream \"%s\": the certificate of its bridge has yet to be obtained from the platform; that needs a restart",
		               conf->name);
	return cw_bridge_plan_upstream(p->plan, conf, msg);
}

static size_t count_removed(const struct cw_made_list *old, const struct cw_made_list *now)
{
	size_t i, n = 0;

	for (i = 0; i < old->count; i++)
		n += find(now, old->items[i].name) == NULL;
	return n;
}

static int make_plan(struct cw_daemon *d, const struct cw_config *config, struct planning *p, struct cw_msg *msg)
{
	struct cw_upstream *u;
	size_t i;
	int rc = cw_bridge_plan_new(d->bridge, &p->plan);

	if (rc < 0)
		return cw_fail(msg, rc, "upstreams: %s", cw_error_text(rc));
	rc = cw_config_each_upstream(config, d->state_dir, cw_daemon_dedup_window(d), plan_one, p, msg);
	if (rc == 0)
		rc = cw_config_plan_routes(config, p->plan, msg);
	for (i = 0; rc == 0 && (u = cw_bridge_plan_fresh(p->plan, i)) != NULL; i++)
		rc = cw_gateway_watch(d->gateway, u, msg);
	return rc;
}

int cw_daemon_plan_upstreams(struct cw_daemon *d, const struct cw_config *config, struct cw_made_list *list,
                             struct cw_bridge_plan **ret_plan, struct cw_swap_result *ret_result, struct cw_msg *msg)
{
	struct planning p = { .daemon = d, .list = list, .result = ret_result };
	int rc;

	memset(ret_result, 0, sizeof(*ret_result));
	*ret_plan = NULL;
	rc = make_plan(d, config, &p, msg);
	if (rc < 0) {
		cw_bridge_plan_free(p.plan);
		return rc;
	}
	ret_result->removed = count_removed(&d->made, list);
	if (ret_result->added + ret_result->removed + ret_result->changed == 0 && cw_config_same_routes(d->config, config)) {
		cw_bridge_plan_free(p.plan);
		return 0;
	}
	*ret_plan = p.plan;
	return 0;
}

/* ---- configurations that are still lent ------------------------------------------------------------ */

static int is_lent(const struct cw_daemon *d, const struct cw_config *config)
{
	size_t i;

	for (i = 0; i < d->made.count; i++)
		if (d->made.items[i].config == config)
			return 1;
	return 0;
}

static void free_kept(struct cw_kept_config *k)
{
	cw_conf_free(k->config);
	cw_conf_tree_unref(k->tree);
	cw_free(k);
}

void cw_daemon_sweep_configs(struct cw_daemon *d)
{
	struct cw_kept_config **at = &d->kept;

	while (!d->moving && *at != NULL) {
		struct cw_kept_config *k = *at;

		if (is_lent(d, k->config)) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		free_kept(k);
	}
}

void cw_daemon_free_configs(struct cw_daemon *d)
{
	while (d->kept != NULL) {
		struct cw_kept_config *k = d->kept;

		d->kept = k->next;
		free_kept(k);
	}
}

static void on_applied(void *arg)
{
	struct cw_daemon *d = arg;

	d->moving = 0;
	cw_daemon_sweep_configs(d);
	cw_log(daemon_upstreams_settled, "");
	if (d->reload_again && !d->reloading && !d->stopping)
		(void)cw_daemon_reload(d, NULL, NULL);
}

void cw_daemon_swap_upstreams(struct cw_daemon *d, struct cw_bridge_plan *plan, const struct cw_made_list *list, struct cw_swap_result *result)
{
	d->made = *list;
	d->moving = 1;
	result->moved = cw_bridge_apply(plan, (uint64_t)d->config->stop_timeout_ms, on_applied, d);
}
