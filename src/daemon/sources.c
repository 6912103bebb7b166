/* sources.c - the identity sources that identity.order names, made from their settings. */
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "identity/http.h"
#include "identity/table.h"

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

	return rc < 0 ? rc : add(d, &cw_table_source_ops, s, TABLE_KEEP_MS, TABLE_KEEP_UNKNOWN_MS, msg);
}

static int add_http(struct cw_daemon *d, struct cw_msg *msg)
{
	const struct cw_config_tls *tls = &d->config->identity.http.tls;
	struct cw_http_source_conf conf = {
		.url = d->config->identity.http.url,
		.token = d->config->identity.http.token,
		.tls = { tls->ca != NULL ? tls->ca : d->config->ca, tls->certificate, tls->key, tls->verify },
		.timeout_ms = (unsigned)d->config->identity.http.timeout_ms,
	};
	struct cw_http_source *s;
	int rc;

	if (conf.url == NULL)
		return 0;
	rc = cw_http_source_new(cw_bridge_resolver(d->bridge), d->fetch, &conf, &s);
	if (rc < 0)
		return cw_fail(msg, rc, "identity source http: %s", cw_error_text(rc));
	rc = add(d, &cw_http_source_ops, s, (uint64_t)d->config->identity.http.keep_ms, (uint64_t)d->config->identity.http.keep_unknown_ms, msg);
	if (rc == 0)
		cw_resolver_keep_stale(cw_bridge_resolver(d->bridge), (uint64_t)d->config->identity.http.stale_ms);
	return rc;
}

static const struct {
	const char *name;
	int (*add)(struct cw_daemon *d, struct cw_msg *msg); /* adds nothing when it is not configured */
} sources[] = { { "devices", add_devices }, { "sqlite", add_sqlite }, { "http", add_http } };

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
