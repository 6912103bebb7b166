/* sources.c - the identity sources that identity.order names, made from their settings. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/daemon.h"
#include "identity/factory.h"
#include "identity/http.h"
#include "identity/import.h"
#include "identity/table.h"
#include "upstream/connector.h"

/* An edit of the table makes what is kept of it void, so this only bounds the memory's age. */
#define TABLE_KEEP_MS 600000u
#define TABLE_KEEP_UNKNOWN_MS 60000u

const char *cw_daemon_key_file(const struct cw_config *config, const char *state_dir, char *out, size_t size)
{
	if (config->identity.key_file[0] == '/')
		(void)snprintf(out, size, "%s", config->identity.key_file);
	else
		(void)snprintf(out, size, "%s/%s", state_dir, config->identity.key_file);
	return out;
}

static int add(struct cw_daemon *d, const struct cw_source_ops *ops, void *source, uint64_t keep_ms, uint64_t keep_unknown_ms,
               struct cw_msg *msg)
{
	int rc = cw_resolver_add(cw_bridge_resolver(d->bridge), ops, source, keep_ms, keep_unknown_ms);

	if (rc == 0)
		return 0;
	ops->free(source);
	return cw_fail(msg, rc, "identity source %s: %s", ops->name, cw_error_text(rc));
}

static int add_devices(struct cw_daemon *d, struct cw_msg *msg)
{
	int rc = cw_bridge_add_devices(d->bridge);

	return rc < 0 ? cw_fail(msg, rc, "identity source devices: %s", cw_error_text(rc)) : 0;
}

static int add_sqlite(struct cw_daemon *d, struct cw_msg *msg)
{
	struct cw_table_source *s;
	char key[1100];
	int rc = cw_table_source_new(cw_bridge_resolver(d->bridge), d->control, cw_state_thread(d->state), d->state_dir,
	                             cw_daemon_key_file(d->config, d->state_dir, key, sizeof(key)), &s, msg);

	if (rc == 0)
		rc = add(d, &cw_table_source_ops, s, TABLE_KEEP_MS, TABLE_KEEP_UNKNOWN_MS, msg);
	d->table = rc == 0 ? s : NULL;
	return rc;
}

/* ---- rules: what they obtain is put into the table ---------------------------------------- */

struct put {
	struct cw_edit edit;
	void (*done)(void *arg, int rc, const char *text);
	void *arg;
};

static void on_put(struct cw_edit *e)
{
	struct put *p = cw_container_of(e, struct put, edit);

	cw_identities_free(e->touched);
	if (e->text != NULL)
		explicit_bzero(e->text, e->len);
	cw_free(e->text);
	p->done(p->arg, e->rc, e->msg.text);
	cw_free(p);
}

static void put_identity(void *ctx, const struct cw_identity *id, void (*done)(void *arg, int rc, const char *text), void *arg)
{
	struct cw_daemon *d = ctx;
	struct cw_identities *set = NULL;
	struct put *p = cw_zalloc(sizeof(*p));
	int rc = p == NULL ? CW_ENOMEM : cw_identities_new(&set);

	if (rc == 0)
		rc = cw_identities_add(set, id->identity, id->product_key, id->device_name, id->device_secret, id->settings);
	if (rc == 0)
		rc = cw_identities_to_json(set, &p->edit.text, &p->edit.len);
	cw_identities_free(set);
	if (rc < 0) {
		cw_free(p);
		done(arg, rc, cw_error_text(rc));
		return;
	}
	p->edit.kind = CW_EDIT_IMPORT;
	p->edit.done = on_put;
	p->done = done;
	p->arg = arg;
	cw_table_source_edit(d->table, &p->edit);
}

/* A name is of an upstream, or of a group with several bridges: the first that is up. */
static struct cw_upstream *find_enroller(void *ctx, const char *name, struct cw_msg *msg)
{
	struct cw_daemon *d = ctx;
	struct cw_upstream *able = NULL;
	struct cw_upstream_status s;
	size_t i;

	for (i = 0; i < cw_bridge_upstream_count(d->bridge); i++) {
		struct cw_upstream *u = cw_bridge_upstream(d->bridge, i);

		if (cw_upstream_settings(u)->kind->enroll == NULL || (name != NULL && strcmp(cw_upstream_group(u), name) != 0))
			continue;
		able = u;
		cw_upstream_status(u, &s);
		if (s.up)
			return u;
	}
	if (able == NULL)
		cw_msg_set(msg, "by = gateway: no upstream%s%s can register devices for others (type mqtt can); say by = https, mqtt or openapi",
			   name == NULL ? "" : " named ", name == NULL ? "" : name);
	else
		cw_msg_set(msg, "by = gateway: the bridge is not logged in, so it cannot ask for the device now");
	return NULL;
}

static int add_rules(struct cw_daemon *d, struct cw_msg *msg)
{
	const struct cw_config *c = d->config;
	const struct cw_config_upstream *first = cw_conf_item(&c->upstreams, struct cw_config_upstream, 0);
	struct cw_rules_conf conf = {
		.items = c->identity.rules.items,
		.count = c->identity.rules.count,
		.state_dir = d->state_dir,
		.region = first->region,
		.account = c->profile.access_key == NULL ? NULL : &d->account,
		.tls = { .ca = c->ca, .verify = 1 },
		.control = d->control,
		.retry_min_ms = (uint64_t)c->identity.rule_retry_min_ms,
		.retry_max_ms = (uint64_t)c->identity.rule_retry_max_ms,
		.ctx = d,
		.put = put_identity,
		.enroller = find_enroller,
	};
	struct cw_rules *r;
	int rc;

	if (c->identity.rules.count == 0)
		return 0;
	d->account = (struct cw_openapi_account){ .endpoint = c->profile.endpoint, .region = c->profile.region, .access_key = c->profile.access_key,
						  .access_secret = c->profile.access_secret, .tls = conf.tls };
	rc = d->fetch == NULL ? cw_fetch_pool_new(d->control, &d->fetch) : 0;
	conf.pool = d->fetch;
	if (rc == 0)
		rc = cw_rules_new(cw_bridge_resolver(d->bridge), &conf, &r);
	if (rc < 0)
		return cw_fail(msg, rc, "identity source rules: %s", cw_error_text(rc));
	/* It remembers by itself what it was told, also refusals. */
	rc = add(d, &cw_rules_source_ops, r, TABLE_KEEP_MS, 0, msg);
	d->rules = rc == 0 ? r : NULL;
	return rc;
}

static struct cw_fetch_tls tls_of(const struct cw_daemon *d, const struct cw_config_tls *tls)
{
	return (struct cw_fetch_tls){ tls->ca != NULL ? tls->ca : d->config->ca, tls->certificate, tls->key, tls->verify };
}

/* `keep_stale_ms`: what it said last is good for so long when it fails. */
static int add_look_up(struct cw_daemon *d, const struct cw_source_ops *ops, const struct cw_http_source_conf *conf, int64_t keep_ms,
		       int64_t keep_unknown_ms, int64_t keep_stale_ms, struct cw_msg *msg)
{
	struct cw_http_source *s;
	int rc = d->fetch == NULL ? cw_fetch_pool_new(d->control, &d->fetch) : 0;

	if (rc == 0)
		rc = cw_http_source_new(cw_bridge_resolver(d->bridge), d->fetch, conf, &s);
	if (rc < 0)
		return cw_fail(msg, rc, "identity source %s: %s", ops->name, cw_error_text(rc));
	rc = add(d, ops, s, (uint64_t)keep_ms, (uint64_t)keep_unknown_ms, msg);
	if (rc == 0)
		cw_resolver_keep_stale(cw_bridge_resolver(d->bridge), (uint64_t)keep_stale_ms);
	return rc;
}

static int add_http(struct cw_daemon *d, struct cw_msg *msg)
{
	const struct cw_config *c = d->config;
	struct cw_http_source_conf conf = { .url = c->identity.http.url, .token = c->identity.http.token, .tls = tls_of(d, &c->identity.http.tls),
					    .timeout_ms = (unsigned)c->identity.http.timeout_ms };

	if (conf.url == NULL)
		return 0;
	return add_look_up(d, &cw_http_source_ops, &conf, c->identity.http.keep_ms, c->identity.http.keep_unknown_ms, c->identity.http.stale_ms, msg);
}

static int add_store(struct cw_daemon *d, struct cw_msg *msg)
{
	const struct cw_config *c = d->config;
	const char *db = c->identity.factory.db;
	char path[1100];
	struct cw_factory_source_conf conf = { .db = path, .key_file = c->identity.factory.key_file };
	struct cw_factory_source *s;
	int rc;

	if (strncmp(db, "postgres://", 11) == 0 || strncmp(db, "postgresql://", 13) == 0)
		conf.db = db;
	else
		(void)cw_config_path(d->config_file, db, path, sizeof(path));
	rc = cw_factory_source_new(cw_bridge_resolver(d->bridge), d->control, &conf, &s, msg);
	if (rc == 0)
		rc = add(d, &cw_factory_source_ops, s, (uint64_t)c->identity.factory.keep_ms, (uint64_t)c->identity.factory.keep_unknown_ms, msg);
	if (rc == 0)
		cw_resolver_keep_stale(cw_bridge_resolver(d->bridge), (uint64_t)c->identity.factory.stale_ms);
	return rc;
}

static int add_factory(struct cw_daemon *d, struct cw_msg *msg)
{
	const struct cw_config *c = d->config;
	struct cw_http_source_conf conf = { .name = cw_http_factory_ops.name, .url = c->identity.factory.url, .token = c->identity.factory.token,
					    .tls = tls_of(d, &c->identity.factory.tls), .timeout_ms = (unsigned)c->identity.factory.timeout_ms };

	if (c->identity.factory.db != NULL)
		return add_store(d, msg);
	if (conf.url == NULL)
		return 0;
	return add_look_up(d, &cw_http_factory_ops, &conf, c->identity.factory.keep_ms, c->identity.factory.keep_unknown_ms,
			   c->identity.factory.stale_ms, msg);
}

static const struct {
	const char *name;
	int (*add)(struct cw_daemon *d, struct cw_msg *msg); /* adds nothing when it is not configured */
} sources[] = { { "devices", add_devices }, { "sqlite", add_sqlite }, { "factory", add_factory }, { "http", add_http }, { "rules", add_rules } };

int cw_daemon_add_sources(struct cw_daemon *d, struct cw_msg *msg)
{
	const char *name;
	size_t i, k;
	int rc = 0;

	for (i = 0; rc == 0 && (name = cw_config_source(d->config, i)) != NULL; i++)
		for (k = 0; k < sizeof(sources) / sizeof(sources[0]) && rc == 0; k++)
			if (strcmp(sources[k].name, name) == 0)
				rc = sources[k].add(d, msg);
	return rc;
}
