/* start.c - pieces of the start that only turn settings into what the modules take. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "daemon/daemon.h"
#include "plugin/load.h"

static int make_dir(const char *path, struct cw_msg *msg)
{
	char part[1024];
	size_t i;

	for (i = 1; path[i - 1] != '\0' && i < sizeof(part); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, path[i] == '\0' ? 0700 : 0755) != 0 && errno != EEXIST)
			return cw_fail(msg, cw_err_from_errno(errno), "stateDir: cannot make %s: %s", part, strerror(errno));
	}
	return 0;
}

int cw_daemon_open_state_dir(struct cw_daemon *d, struct cw_msg *msg)
{
	const char *dir = cw_config_path(d->config_file, d->config->state_dir, d->state_dir, sizeof(d->state_dir));
	char lock[1100];
	int rc = make_dir(dir, msg);

	if (rc < 0)
		return rc;
	(void)snprintf(lock, sizeof(lock), "%s/lock", dir);
	d->lock_fd = open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "stateDir: cannot open %s: %s%s", lock, strerror(errno),
		               errno == EACCES ? "; all in it must belong to the user who runs causewayd (chown -R)" : "");
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return cw_fail(msg, CW_EEXIST, "stateDir: %s is in use by another causewayd; give each its own stateDir", dir);
	if (d->config->attachments.directory != NULL)
		(void)cw_config_path(d->config_file, d->config->attachments.directory, d->attach_dir, sizeof(d->attach_dir));
	else
		(void)snprintf(d->attach_dir, sizeof(d->attach_dir), "%s/attachments", dir);
	return make_dir(d->attach_dir, msg);
}

/* ---- files ---------------------------------------------------------------------------- */

int cw_daemon_read_config(const char *config_file, struct cw_config **ret_config, struct cw_conf_tree **ret_tree, struct cw_msg *msg)
{
	struct cw_conf_report report = { 0 };
	int rc = cw_config_load(config_file, ret_config, ret_tree, &report, msg);
	size_t i;

	for (i = 0; i < report.kept; i++)
		if (report.items[i].warning)
			cw_log(conf_warning, report.items[i].text);
	cw_conf_report_fini(&report);
	return rc;
}

static void on_skip(void *arg, const char *sentence)
{
	(void)arg;
	cw_count(bridge, entries_skipped);
	cw_log(identity_skipped, sentence);
}

int cw_daemon_read_identities(const char *config_file, const struct cw_config *config, struct cw_identities **ret_set,
                              struct cw_msg *msg)
{
	char path[1100];
	int rc;

	if (!cw_config_has_source(config, "devices"))
		return cw_identities_new(ret_set);
	(void)cw_config_path(config_file, config->identity.devices, path, sizeof(path));
	rc = cw_identities_load(path, on_skip, NULL, ret_set, msg);
	if (rc == 0)
		(void)cw_daemon_warn_file_mode(path);
	if (rc == 0 && (*ret_set)->open_secret[0] != '\0')
		(void)cw_daemon_warn_file_mode((*ret_set)->open_secret);
	return rc;
}

/* ---- plugins ------------------------------------------------------------------------ */

static int load_protocol(struct cw_daemon *d, const char *name, struct cw_msg *msg)
{
	const struct cw_plugin_desc *desc;
	size_t i;
	int rc;

	for (i = 0; i < d->protocol_count; i++)
		if (strcmp(d->protocols[i]->name, name) == 0)
			return 0;
	if (d->protocol_count == CW_PROTOCOLS_MOST)
		return cw_fail(msg, CW_ELIMIT, "more than %d protocols", CW_PROTOCOLS_MOST);
	rc = cw_plugin_load_named(d->plugin_dir, name, &desc, msg);
	if (rc < 0)
		return rc;
	d->protocols[d->protocol_count++] = desc;
	cw_log(plugin_loaded, desc->summary == NULL ? "" : desc->summary, CW_LS("protocol", desc->name), CW_LS("version", desc->version),
	       CW_LS("pluginDir", d->plugin_dir));
	return 0;
}

int cw_daemon_load_protocols(struct cw_daemon *d, const struct cw_config *config, struct cw_msg *msg)
{
	char beside[1024];
	size_t i;
	int rc = 0;

	cw_plugin_dir(config->plugin_dir == NULL ? NULL : cw_config_path(d->config_file, config->plugin_dir, beside, sizeof(beside)),
	              d->plugin_dir, sizeof(d->plugin_dir));
	for (i = 0; i < config->listeners.count && rc == 0; i++) {
		const struct cw_config_listener *l = cw_conf_item(&config->listeners, struct cw_config_listener, i);

		rc = cw_config_placed(&l->origin, load_protocol(d, l->protocol, msg), msg);
	}
	for (i = 0; i < config->connections.count && rc == 0; i++) {
		const struct cw_config_connection *c = cw_conf_item(&config->connections, struct cw_config_connection, i);

		rc = cw_config_placed(&c->origin, load_protocol(d, c->protocol, msg), msg);
	}
	return rc;
}

/* ---- listeners and upstreams ------------------------------------------------------------- */

static struct cw_strings strings(const struct cw_conf_strings *from)
{
	return (struct cw_strings){ .v = from->items, .count = from->count };
}

static enum cw_client_verify client_verify(const struct cw_config_tls *tls)
{
	if (tls->client_ca != NULL && tls->client_verify == CW_CLIENT_VERIFY_NONE)
		return CW_CLIENT_VERIFY_REQUIRED;
	return (enum cw_client_verify)tls->client_verify;
}

void cw_daemon_listener(const struct cw_daemon *d, const struct cw_config_listener *from, struct cw_gateway_listener *l)
{
	static const enum cw_transport transports[] = { CW_TRANSPORT_TCP, CW_TRANSPORT_UDP, CW_TRANSPORT_TLS };

	*l = (struct cw_gateway_listener){
		.net = {
			.name = from->name,
			.transport = transports[from->transport],
			.address = from->address,
			.backlog = from->backlog,
			.proxy_from = strings(&from->proxy_from),
			.allow = strings(&from->allow),
			.deny = strings(&from->deny),
			.tls = { from->tls.certificate, from->tls.key, from->tls.client_ca, client_verify(&from->tls), from->tls.key_store,
			         from->tls.key_password },
			.limits = {
				.connections = from->limits.connections,
				.connections_per_source = from->limits.connections_per_source,
				.accept_rate = from->limits.accept_rate,
				.bytes_per_connection = from->limits.bytes_per_connection,
				.identify_ms = (uint64_t)from->limits.identify_ms,
				.idle_ms = (uint64_t)from->limits.idle_ms,
			},
		},
		.rules = {
			.protocol = from->protocol,
			.ack = from->ack == 0 ? CW_ACK_RECEIVED : CW_ACK_DELIVERED,
			.require_online = from->require_online,
			.close_unknown = from->unknown == 0,
			.max_noise = from->limits.max_noise,
			.bytes_kept = from->limits.bytes_per_connection,
		},
	};
}

int cw_daemon_encode(struct cw_daemon *d, const char *what, const char *name, const char *protocol, const struct cw_value *own,
                     uint8_t **ret_bytes, size_t *ret_len, struct cw_msg *msg)
{
	const struct cw_plugin_desc *desc = NULL;
	struct cw_conf_report report = { 0 };
	size_t i;
	int rc;

	for (i = 0; i < d->protocol_count; i++)
		if (strcmp(d->protocols[i]->name, protocol) == 0)
			desc = d->protocols[i];
	if (desc == NULL)
		return cw_fail(msg, CW_ECONF, "%s \"%s\": protocol \"%s\" is not loaded; that needs a restart", what, name, protocol);
	rc = cw_config_settings(desc, d->config, own, NULL, cw_bytes_of(NULL, 0), ret_bytes, ret_len, &report);
	if (rc < 0)
		cw_conf_report_msg(&report, msg);
	cw_conf_report_fini(&report);
	return rc;
}

struct cw_pending_limits cw_daemon_pending_limits(const struct cw_config *config)
{
	return (struct cw_pending_limits){
		.frames = config->pending.frames,
		.bytes_each = config->pending.bytes_each,
		.bytes = config->pending.bytes,
		.time_ms = config->pending.time_ms,
	};
}

unsigned cw_daemon_dedup_window(const struct cw_daemon *d)
{
	unsigned longest = 0;
	size_t i;

	for (i = 0; i < d->protocol_count; i++)
		if (d->protocols[i]->dedup_window_s > longest)
			longest = d->protocols[i]->dedup_window_s;
	return longest;
}

struct adding {
	struct cw_daemon *daemon;
	int (*fn)(struct cw_daemon *d, const struct cw_upstream_conf *conf, struct cw_msg *msg);
};

static int on_upstream(void *ctx, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	struct adding *a = ctx;

	return a->fn(a->daemon, conf, msg);
}

int cw_daemon_each_upstream(struct cw_daemon *d, int (*fn)(struct cw_daemon *d, const struct cw_upstream_conf *conf, struct cw_msg *msg),
                            struct cw_msg *msg)
{
	struct adding a = { d, fn };

	return cw_config_each_upstream(d->config, d->state_dir, cw_daemon_dedup_window(d), on_upstream, &a, msg);
}

static int add_upstream(struct cw_daemon *d, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	return cw_bridge_add_upstream(d->bridge, conf, msg);
}

int cw_daemon_add_routes(struct cw_daemon *d, struct cw_msg *msg)
{
	return cw_config_add_routes(d->config, d->bridge, msg);
}

int cw_daemon_add_upstreams(struct cw_daemon *d, struct cw_msg *msg)
{
	int rc = cw_daemon_each_upstream(d, add_upstream, msg);

	if (rc == 0)
		rc = cw_daemon_look_at_upstreams(d, d->config, &d->made, msg);
	return rc < 0 ? rc : cw_daemon_add_routes(d, msg);
}

int cw_daemon_warn_file_mode(const char *path)
{
	struct stat st;
	char text[1400];

	if (stat(path, &st) != 0 || (st.st_mode & 0007) == 0)
		return 0;
	(void)snprintf(text, sizeof(text), "everybody on this machine can read it; run: chmod o-rwx %s", path);
	cw_log(conf_warning, text, CW_LS("file", path));
	return 1;
}
