/* upstreams.c - what the configuration says about the platform's side, in the forms the bridge takes. See config.h. */
#include <stdio.h>

#include "daemon/bridges.h"
#include "daemon/config.h"
#include "upstream/kinds.h"

/* The settings of member `i` of an upstream: of one of its bridges, or of the gateway's own. name[size] is for its name. */
static struct cw_upstream_conf upstream_conf(const struct cw_config *c, const struct cw_config_upstream *u, size_t i, char *name,
                                             size_t size)
{
	const struct cw_config_bridge *bridge = cw_config_bridge_of(c, u, i);
	const struct cw_certificate *obtained = c->obtained == NULL ? NULL : cw_bridges_certificate(c->obtained, u, i);
	struct cw_upstream_conf conf;

	(void)snprintf(name, size, i == 0 ? "%s" : "%s-%zu", u->name, i + 1);
	conf = (struct cw_upstream_conf){
		.kind = cw_upstream_kind((size_t)u->type),
		.own = u->own,
		.name = name,
		.group = u->name,
		.endpoint = u->endpoint,
		.region = u->region,
		.product_key = bridge->product_key,
		.device_name = bridge->device_name,
		.device_secret = bridge->device_secret,
		.ca = u->tls.ca != NULL ? u->tls.ca : c->ca,
		.certificate = u->tls.certificate,
		.key = u->tls.key,
		.tls_min = u->tls.min_version,
		.verify = u->tls.verify,
		.large = u->large,
		.confirm_reply = u->confirm,
		.ack_timeout_ms = (unsigned)u->ack_timeout_ms,
		.queue_bytes = u->queue_bytes,
		.queue_bytes_device = u->queue_bytes_device,
		.rate_bridge = u->rate_bridge,
		.retry_min_ms = (unsigned)u->retry_min_ms,
		.retry_max_ms = (unsigned)u->retry_max_ms,
	};
	if (obtained != NULL) {
		conf.device_name = obtained->device_name;
		conf.device_secret = obtained->device_secret[0] != '\0' ? obtained->device_secret : NULL;
		conf.client_id = obtained->client_id[0] != '\0' ? obtained->client_id : NULL;
		conf.device_token = obtained->device_token[0] != '\0' ? obtained->device_token : NULL;
	}
	return conf;
}

int cw_config_each_upstream(const struct cw_config *c, const char *state_dir, unsigned dedup_window_s, cw_config_upstream_fn fn,
                            void *ctx, struct cw_msg *msg)
{
	char name[128];
	size_t i, k;
	int rc = 0;

	for (i = 0; i < c->upstreams.count && rc == 0; i++) {
		const struct cw_config_upstream *u = cw_conf_item(&c->upstreams, struct cw_config_upstream, i);

		for (k = 0; rc == 0 && (k == 0 || k < u->bridges.count); k++) {
			struct cw_upstream_conf conf = upstream_conf(c, u, k, name, sizeof(name));

			conf.state_dir = state_dir;
			conf.dedup_window_s = dedup_window_s;
			rc = cw_config_placed(&u->origin, fn(ctx, &conf, msg), msg);
		}
	}
	return rc;
}

int cw_config_add_routes(const struct cw_config *c, struct cw_bridge *bridge, struct cw_msg *msg)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < c->routes.count && rc == 0; i++) {
		const struct cw_config_route *r = cw_conf_item(&c->routes, struct cw_config_route, i);
		const struct cw_route route = { r->product_key, r->device_name, r->identity, r->upstream };

		rc = cw_config_placed(&r->origin, cw_bridge_add_route(bridge, &route, msg), msg);
	}
	return rc;
}
