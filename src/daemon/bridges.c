/* bridges.c - see bridges.h. */
#include "daemon/bridges.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "upstream/connector.h"
#include "upstream/kinds.h"

/* One certificate; several upstreams may use it. */
struct bridge {
	struct cw_bridges *all;
	const struct cw_config_bridge *conf;
	struct cw_openapi_account account;
	struct cw_obtain_conf how;
	struct cw_obtain_plan plan; /* without the secret */
	struct cw_certificate certificate;
	int has;
	struct cw_obtain *obtain;
};

struct cw_bridges {
	const struct cw_config *config;
	struct bridge *items;
	size_t count, missing, stopping;
	struct cw_worker *control;
	struct cw_fetch_pool *pool;
	void (*ready)(void *ctx);
	void *ctx;
	void (*gone)(void *arg);
	void *gone_arg;
	char text[2048];
};

/* ---- what there is ------------------------------------------------------------------ */

static void fill(struct bridge *b, const struct cw_config *c, const struct cw_config_upstream *u, enum cw_config_way way,
		 const char *state_dir)
{
	const struct cw_config_registration *r = &c->registration;

	b->how = (struct cw_obtain_conf){
		.state_dir = state_dir,
		.product_key = b->conf->product_key,
		.tls = { .ca = c->ca, .verify = 1 },
		.retry_min_ms = (uint64_t)u->retry_min_ms,
		.retry_max_ms = (uint64_t)u->retry_max_ms,
		.label = u->name,
	};
	if (way == CW_WAY_PROFILE) {
		b->account = (struct cw_openapi_account){ .endpoint = c->profile.endpoint, .region = c->profile.region,
							  .access_key = c->profile.access_key,
							  .access_secret = c->profile.access_secret, .tls = b->how.tls };
		b->how.account = &b->account;
		b->how.interface = b->conf->interface != NULL ? b->conf->interface : c->profile.interface;
		return;
	}
	b->how.device_name = b->conf->device_name;
	b->how.product_secret = b->conf->product_secret;
	b->how.no_whitelist = r->type == CW_CONFIG_REGNWL;
	b->how.via = r->via == CW_CONFIG_VIA_MQTT || r->type == CW_CONFIG_REGNWL ? CW_REGISTER_MQTT : CW_REGISTER_HTTPS;
	b->how.endpoint = r->endpoint;
	b->how.region = r->region != NULL ? r->region : u->region != NULL ? u->region : "cn-shanghai";
	b->how.instance_id = r->instance_id;
}

static int add(struct cw_bridges *all, const struct cw_config_upstream *u, const struct cw_config_bridge *conf, const char *state_dir,
	       struct cw_msg *msg)
{
	struct bridge *b = &all->items[all->count];
	const char *missing;
	enum cw_config_way way = cw_config_way(all->config, conf, &missing);
	size_t i;
	int rc;

	if (missing != NULL || (way != CW_WAY_REGISTER && way != CW_WAY_PROFILE))
		return 0;
	for (i = 0; i < all->count; i++)
		if (all->items[i].conf == conf) /* the gateway's own, behind a second upstream */
			return 0;
	b->all = all;
	b->conf = conf;
	fill(b, all->config, u, way, state_dir);
	rc = cw_obtain_plan(&b->how, &b->plan, msg);
	for (i = 0; rc == 0 && i < all->count; i++)
		if (strcmp(all->items[i].plan.path, b->plan.path) == 0)
			rc = cw_fail(msg, CW_ECONF, "upstream \"%s\": another bridge is the same device %s/%s; each needs its own", u->name,
				     conf->product_key, b->plan.device_name);
	if (rc < 0)
		return rc;
	b->has = b->plan.keep.state == CW_KEEP_OBTAINED;
	if (b->has)
		b->certificate = b->plan.keep.certificate;
	explicit_bzero(&b->plan.keep, sizeof(b->plan.keep));
	all->missing += !b->has;
	all->count++;
	return 0;
}

static size_t count_bridges(const struct cw_config *c)
{
	size_t i, n = 1;

	for (i = 0; i < c->upstreams.count; i++)
		n += cw_conf_item(&c->upstreams, struct cw_config_upstream, i)->bridges.count;
	return n;
}

int cw_bridges_new(const struct cw_config *config, const char *state_dir, struct cw_bridges **ret_bridges, struct cw_msg *msg)
{
	struct cw_bridges *b = cw_zalloc(sizeof(*b));
	size_t i, k;
	int rc = 0;

	if (b != NULL)
		b->items = cw_calloc(count_bridges(config), sizeof(*b->items));
	if (b == NULL || b->items == NULL) {
		cw_free(b);
		return cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	}
	b->config = config;
	for (i = 0; rc == 0 && i < config->upstreams.count; i++) {
		const struct cw_config_upstream *u = cw_conf_item(&config->upstreams, struct cw_config_upstream, i);

		for (k = 0; rc == 0 && (k == 0 || k < u->bridges.count) && !cw_upstream_kind((size_t)u->type)->without_bridge; k++)
			rc = add(b, u, cw_config_bridge_of(config, u, k), state_dir, msg);
	}
	if (rc < 0) {
		cw_bridges_free(b);
		return rc;
	}
	*ret_bridges = b;
	return 0;
}

void cw_bridges_free(struct cw_bridges *b)
{
	size_t i;

	if (b == NULL)
		return;
	for (i = 0; i < b->count; i++)
		explicit_bzero(&b->items[i], sizeof(b->items[i]));
	cw_free(b->items);
	cw_free(b);
}

size_t cw_bridges_missing(const struct cw_bridges *b)
{
	return b->missing;
}

const char *cw_bridges_says(const struct cw_bridges *b, size_t n)
{
	size_t i;

	for (i = 0; i < b->count; i++)
		if (!b->items[i].has && b->items[i].obtain != NULL && n-- == 0)
			return cw_obtain_says(b->items[i].obtain);
	return NULL;
}

static int same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The same one, perhaps as a reload has read it again. */
static int is_of(const struct bridge *b, const struct cw_config_bridge *conf)
{
	return b->conf == conf || (conf->device_secret == NULL && same_text(b->conf->product_key, conf->product_key) &&
				   same_text(b->conf->device_name, conf->device_name) && same_text(b->conf->interface, conf->interface));
}

const struct cw_certificate *cw_bridges_certificate(const struct cw_bridges *b, const struct cw_config *c, const struct cw_config_upstream *u, size_t i)
{
	const struct cw_config_bridge *conf = cw_config_bridge_of(c, u, i);
	size_t k;

	for (k = 0; k < b->count; k++)
		if (b->items[k].has && is_of(&b->items[k], conf))
			return &b->items[k].certificate;
	return NULL;
}

const char *cw_bridges_plan(struct cw_bridges *b, size_t n, size_t devices)
{
	const struct bridge *x;
	const char *way;

	if (n >= b->count)
		return NULL;
	x = &b->items[n];
	way = x->how.via == CW_REGISTER_MQTT ? "MQTT" : "HTTPS";
	if (x->how.account != NULL && x->has)
		(void)snprintf(b->text, sizeof(b->text), "the bridge is the device %s/%s of popClientProfile (kept in %s); %zu devices are tied to it",
			       x->how.product_key, x->plan.device_name, x->plan.path, devices);
	else if (x->how.account != NULL)
		(void)snprintf(b->text, sizeof(b->text),
			       "popClientProfile: a start here would look for the device %s/%s (MAC address of %s) at %s, create it if it is not there, and tie "
			       "%zu devices to it; nothing was asked or created now",
			       x->how.product_key, x->plan.device_name, x->plan.interface, x->how.account->endpoint, devices);
	else if (x->has)
		(void)snprintf(b->text, sizeof(b->text), "the certificate of the bridge %s/%s was obtained already (%s)", x->how.product_key,
			       x->plan.device_name, x->plan.path);
	else
		(void)snprintf(b->text, sizeof(b->text),
			       "a start would register the bridge %s/%s over %s (%s), once, and keep its certificate in %s; nothing was asked now", x->how.product_key,
			       x->plan.device_name, way, x->how.no_whitelist ? "regnwl" : "register", x->plan.path);
	return b->text;
}

void cw_bridges_warn(const struct cw_bridges *b, size_t devices)
{
	size_t i;
	char text[300];

	for (i = 0; i < b->count; i++) {
		const struct bridge *x = &b->items[i];

		if (x->how.account == NULL)
			continue;
		(void)snprintf(text, sizeof(text), "popClientProfile: this machine is the device %s/%s, and %zu devices are tied to it", x->how.product_key,
			       x->certificate.device_name, devices);
		cw_log(provision_becomes, text, CW_LS("productKey", x->how.product_key), CW_LS("deviceName", x->certificate.device_name),
		       CW_LU("devices", devices));
	}
}

/* ---- obtaining ------------------------------------------------------------------------- */

static void on_obtained(void *ctx, const struct cw_certificate *got)
{
	struct bridge *b = ctx;
	struct cw_bridges *all = b->all;

	b->certificate = *got;
	b->has = 1;
	if (--all->missing == 0)
		all->ready(all->ctx);
}

int cw_bridges_obtain(struct cw_bridges *b, struct cw_worker *control, void (*ready)(void *ctx), void *ctx, struct cw_msg *msg)
{
	size_t i;
	int rc = cw_fetch_pool_new(control, &b->pool);

	if (rc < 0)
		return cw_fail(msg, rc, "%s", cw_error_text(rc));
	b->control = control;
	b->ready = ready;
	b->ctx = ctx;
	for (i = 0; rc == 0 && i < b->count; i++)
		if (!b->items[i].has)
			rc = cw_obtain_start(control, b->pool, &b->items[i].how, on_obtained, &b->items[i], &b->items[i].obtain, msg);
	return rc;
}

static void on_gone(void *arg)
{
	struct cw_bridges *b = arg;

	if (--b->stopping > 0)
		return;
	cw_fetch_pool_free(b->pool);
	b->pool = NULL;
	b->gone(b->gone_arg);
}

void cw_bridges_stop(struct cw_bridges *b, void (*gone)(void *arg), void *arg)
{
	size_t i;

	if (b->pool == NULL) {
		gone(arg);
		return;
	}
	b->gone = gone;
	b->gone_arg = arg;
	b->stopping = b->count + 1;
	for (i = 0; i < b->count; i++) {
		struct cw_obtain *o = b->items[i].obtain;

		b->items[i].obtain = NULL;
		cw_obtain_free(o, on_gone, b);
	}
	on_gone(b);
}
