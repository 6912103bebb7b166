/* daemon.c - see daemon.h: the order of starting and stopping. */
#include "daemon/daemon.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "daemon/watchdog.h"

/* ---- stop --------------------------------------------------------------------------- */

/* There and back through one worker: what it had posted before comes before the pong. */
struct barrier {
	struct cw_mail mail;
	struct cw_daemon *daemon;
};

static void on_handle_closed(uv_handle_t *h)
{
	(void)h;
}

static void worker_stopping(void *arg)
{
	struct cw_daemon *d = ((void **)arg)[0];
	struct cw_worker *w = ((void **)arg)[1];

	cw_gateway_worker_fini(d->gateway, cw_worker_index(w));
	cw_free(arg);
	cw_worker_release(w);
}

static void stop_workers(struct cw_daemon *d)
{
	unsigned i;

	for (i = 0; i < d->worker_started; i++) {
		void **arg = cw_alloc(2 * sizeof(void *));

		cw_invariant(arg != NULL);
		arg[0] = d;
		arg[1] = d->workers[i];
		cw_worker_stop(d->workers[i], worker_stopping, arg);
	}
	for (i = 0; i < d->worker_started; i++)
		cw_worker_join(d->workers[i]);
}

static void on_pong(struct cw_mail *mail)
{
	struct barrier *b = cw_container_of(mail, struct barrier, mail);
	struct cw_daemon *d = b->daemon;

	cw_free(b);
	if (--d->barrier == 0)
		d->after_barrier(d);
}

static void on_ping(struct cw_mail *mail)
{
	struct barrier *b = cw_container_of(mail, struct barrier, mail);

	cw_post(b->daemon->control, &b->mail, on_pong);
}

static void pass_barrier(struct cw_daemon *d, void (*then)(struct cw_daemon *d))
{
	unsigned i;

	d->after_barrier = then;
	d->barrier = d->worker_started;
	for (i = 0; i < d->worker_started; i++) {
		struct barrier *b = cw_zalloc(sizeof(*b));

		cw_invariant(b != NULL);
		b->daemon = d;
		cw_post(d->workers[i], &b->mail, on_ping);
	}
}

/* Nothing is on its way between the workers and here: end the upstreams, then the workers, then this loop. */
void cw_daemon_finish(struct cw_daemon *d)
{
	if (d->reloading) { /* its thread will post here; it calls again */
		d->finish_waits = 1;
		return;
	}
	if (d->bridge != NULL) {
		cw_watchdog_stop(d->watchdog);
		d->watchdog = NULL;
		cw_bridge_free(d->bridge);
		d->bridge = NULL;
		cw_firmware_free(d->firmware);
		d->firmware = NULL;
		cw_fetch_pool_free(d->fetch);
		d->fetch = NULL;
		stop_workers(d);
		cw_gateway_free(d->gateway);
		d->gateway = NULL;
	}
	cw_state_close(d->state);
	d->state = NULL;
	cw_notify_close(&d->notify);
	uv_close((uv_handle_t *)&d->on_hup, on_handle_closed);
	uv_close((uv_handle_t *)&d->on_term, on_handle_closed);
	uv_close((uv_handle_t *)&d->on_int, on_handle_closed);
	cw_worker_release(d->control);
}

/* Letting go of one device may give it to somebody who waited, whose worker then says that his session is gone, too. */
static void drop_ties(struct cw_daemon *d)
{
	cw_gateway_drop_ties(d->gateway);
	pass_barrier(d, cw_daemon_finish);
}

static void on_sessions_gone(void *arg)
{
	pass_barrier(arg, drop_ties);
}

static void on_upstreams_stopped(void *arg)
{
	struct cw_daemon *d = arg;

	cw_gateway_stop(d->gateway, on_sessions_gone, d);
}

static void drain(struct cw_daemon *d)
{
	cw_bridge_stop(d->bridge, (uint64_t)d->config->stop_timeout_ms, on_upstreams_stopped, d);
}

static void on_rules_stopped(void *arg)
{
	struct cw_daemon *d = arg;

	cw_gateway_stop_accepting(d->gateway);
	/* What is read from here on would be acknowledged and find the lanes closed. */
	cw_gateway_hold(d->gateway);
	pass_barrier(d, drain);
}

static void on_bridges_stopped(void *arg)
{
	struct cw_daemon *d = arg;

	if (d->bridge == NULL) /* it waited for a certificate and has nothing to drain */
		cw_daemon_finish(d);
	else if (d->rules != NULL)
		cw_rules_stop(d->rules, on_rules_stopped, d);
	else
		on_rules_stopped(d);
}

void cw_daemon_stop(struct cw_daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = 1;
	cw_notify_say(&d->notify, "STOPPING=1\nSTATUS=queues are drained");
	cw_log(daemon_stopping, "queues are drained first", CW_LU("stopTimeoutMs", d->config->stop_timeout_ms));
	cw_admin_close(d->admin);
	d->admin = NULL;
	cw_bridges_stop(d->bridges, on_bridges_stopped, d);
}

static void on_term(uv_signal_t *h, int signum)
{
	struct cw_daemon *d = h->data;

	if (d->stopping)
		_exit(128 + signum);
	cw_daemon_stop(d);
}

static void on_hup(uv_signal_t *h, int signum)
{
	struct cw_daemon *d = h->data;

	(void)signum;
	if (d->reloading || d->moving) /* the files may have changed after they were read */
		d->reload_again = 1;
	else
		(void)cw_daemon_reload(d, NULL, NULL);
}

/* ---- start --------------------------------------------------------------------------- */

static int open_signal(struct cw_daemon *d, uv_signal_t *h, uv_signal_cb cb, int signum)
{
	int rc = uv_signal_init(cw_worker_loop(d->control), h);

	if (rc < 0)
		return cw_err_from_uv(rc);
	h->data = d;
	d->signals_open++;
	return cw_err_from_uv(uv_signal_start(h, cb, signum));
}

static int encode_device_settings(void *ctx, const struct cw_plugin_desc *protocol, const char *listener,
                                  const char *product_key, struct cw_bytes device_settings, uint8_t **ret_bytes, size_t *ret_len, struct cw_msg *msg)
{
	struct cw_daemon *d = ctx;
	struct cw_conf_report report = { 0 };
	const struct cw_value *own = NULL, *product = NULL;
	size_t i;
	int rc;

	for (i = 0; i < d->config->products.count; i++) {
		const struct cw_config_product *p = cw_conf_item(&d->config->products, struct cw_config_product, i);

		if (strcmp(p->name, product_key) == 0)
			product = p->settings;
	}
	if (product == NULL && device_settings.len == 0)
		return 0;
	for (i = 0; i < d->config->listeners.count; i++) {
		const struct cw_config_listener *l = cw_conf_item(&d->config->listeners, struct cw_config_listener, i);

		if (strcmp(l->name, listener) == 0)
			own = l->settings;
	}
	for (i = 0; i < d->config->connections.count; i++) {
		const struct cw_config_connection *c = cw_conf_item(&d->config->connections, struct cw_config_connection, i);

		if (strcmp(c->name, listener) == 0)
			own = c->settings;
	}
	rc = cw_config_settings(protocol, d->config, own, product, device_settings, ret_bytes, ret_len, &report);
	if (rc < 0)
		cw_conf_report_msg(&report, msg);
	cw_conf_report_fini(&report);
	return rc;
}

/* CPUs this process may use: cgroups and affinity count, not the machine. */
static unsigned allowed_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int make_workers(struct cw_daemon *d, struct cw_msg *msg)
{
	unsigned n = d->config->workers;
	char name[16];
	int rc;

	if (n == 0)
		n = allowed_cpus();
	for (d->worker_count = 0; d->worker_count < n && d->worker_count < CW_WORKERS_MOST; d->worker_count++) {
		(void)snprintf(name, sizeof(name), "worker%u", d->worker_count);
		rc = cw_worker_new(name, d->worker_count, &d->workers[d->worker_count]);
		if (rc < 0)
			return cw_fail(msg, rc, "cannot make worker %u: %s", d->worker_count, cw_error_text(rc));
	}
	return 0;
}

static int load_identities(struct cw_daemon *d, struct cw_msg *msg)
{
	struct cw_identities *set;
	struct cw_reload_result result;
	int rc = cw_daemon_read_identities(d->config_file, d->config, &set, msg);

	if (rc < 0)
		return rc;
	cw_bridge_swap_identities(d->bridge, set, &result);
	return 0;
}

static int make_firmware(struct cw_daemon *d, struct cw_msg *msg)
{
	char dir[1100];
	struct cw_firmware_conf conf = {
		.dir = dir,
		.most = d->config->firmware.max_bytes,
		.keep = d->config->firmware.keep_bytes,
		.attempts = d->config->firmware.attempts,
		.retry_ms = (unsigned)d->config->firmware.retry_ms,
		.stall_ms = (unsigned)d->config->firmware.stall_ms,
		.ca = d->config->ca,
	};
	int rc;

	rc = cw_fetch_pool_new(d->control, &d->fetch);
	if (rc < 0)
		return cw_fail(msg, rc, "HTTP calls: %s", cw_error_text(rc));
	if (d->config->firmware.directory != NULL)
		(void)cw_config_path(d->config_file, d->config->firmware.directory, dir, sizeof(dir));
	else
		(void)snprintf(dir, sizeof(dir), "%s/firmware", d->state_dir);
	conf.pool = d->fetch;
	rc = cw_firmware_new(d->control, &conf, &d->firmware);
	return rc < 0 ? cw_fail(msg, rc, "firmware: %s", cw_error_text(rc)) : 0;
}

static int make_bridge(struct cw_daemon *d, struct cw_msg *msg)
{
	struct cw_bridge_conf conf = {
		.control = d->control,
		.owner_ops = &cw_gateway_owner_ops,
		.firmware = d->firmware,
		.command_queue = d->config->commands.queue,
		.command_timeout_ms = (unsigned)d->config->commands.timeout_ms,
		.contest_window_ms = (unsigned)d->config->identity.contest_window_ms,
		.remove_topology = d->config->identity.remove_topology,
	};
	int rc = cw_bridge_new(&conf, &d->bridge);

	if (rc < 0)
		return cw_fail(msg, rc, "bridge: %s", cw_error_text(rc));
	rc = cw_daemon_add_upstreams(d, msg);
	if (rc == 0)
		rc = cw_daemon_add_sources(d, msg);
	if (rc == 0)
		rc = load_identities(d, msg);
	if (rc == 0)
		cw_bridges_warn(d->bridges, cw_resolver_count(cw_bridge_resolver(d->bridge)));
	return rc;
}

static int is_isolated(void *ctx, size_t protocol)
{
	struct cw_daemon *d = ctx;
	const struct cw_conf_strings *names = &d->config->isolation.protocols;
	size_t i;

	for (i = 0; i < names->count; i++)
		if (strcmp(names->items[i], "*") == 0 || strcmp(names->items[i], d->protocols[protocol]->name) == 0)
			return 1;
	return 0;
}

static void warn_unused_isolation(const struct cw_daemon *d)
{
	const struct cw_conf_strings *names = &d->config->isolation.protocols;
	char text[200];
	size_t i, p;

	for (i = 0; i < names->count; i++) {
		for (p = 0; p < d->protocol_count && strcmp(names->items[i], d->protocols[p]->name) != 0; p++)
			;
		if (p < d->protocol_count || strcmp(names->items[i], "*") == 0)
			continue;
		(void)snprintf(text, sizeof(text), "isolation.protocols: no listener uses the protocol \"%.60s\"", names->items[i]);
		cw_log(conf_warning, text);
	}
}

static void fill_isolation(struct cw_daemon *d)
{
	warn_unused_isolation(d);
	d->isolation = (struct cw_isolation){
		.memory = d->config->isolation.memory,
		.timeout_ms = (uint64_t)d->config->isolation.timeout_ms,
		.crashes = d->config->isolation.crashes,
		.window_ms = (uint64_t)d->config->isolation.window_ms,
		.retry_ms = (uint64_t)d->config->isolation.retry_ms,
		.sandbox = (enum cw_sandbox)d->config->isolation.sandbox,
		.poison_dir = d->poison_dir,
		.poison_files = d->config->isolation.poison_files,
	};
	(void)snprintf(d->poison_dir, sizeof(d->poison_dir), "%s/poison", d->state_dir);
}

static int make_gateway(struct cw_daemon *d, struct cw_msg *msg)
{
	struct cw_gateway_conf conf = {
		.control = d->control,
		.workers = d->workers,
		.worker_count = d->worker_count,
		.bridge = d->bridge,
		.saver = { d->state, cw_state_get, cw_state_put },
		.device_settings = { d, encode_device_settings },
		.protocols = d->protocols,
		.protocol_count = d->protocol_count,
		.attach_dir = d->attach_dir,
		.attach_most = d->config->attachments.max_bytes,
		.isolation = &d->isolation,
		.isolated = is_isolated,
		.isolated_ctx = d,
	};
	int rc;

	fill_isolation(d);
	rc = cw_gateway_new(&conf, &d->gateway, msg);
	return rc < 0 ? rc : cw_gateway_start(d->gateway, msg);
}

static int add_listener(struct cw_daemon *d, const struct cw_config_listener *from, struct cw_msg *msg)
{
	struct cw_gateway_listener l;
	uint8_t *settings;
	size_t len;
	int rc = cw_daemon_encode(d, "listener", from->name, from->protocol, from->settings, &settings, &len, msg);

	if (rc < 0)
		return rc;
	cw_daemon_listener(d, from, &l);
	l.rules.settings = cw_bytes_of(settings, len);
	rc = cw_gateway_update_listener(d->gateway, &l, msg);
	if (rc == CW_EINVAL) { /* another address, transport or protocol: close and make anew */
		cw_gateway_close_listener(d->gateway, from->name);
		rc = CW_ENOENT;
	}
	if (rc == CW_ENOENT)
		rc = cw_gateway_add_listener(d->gateway, &l, msg);
	cw_free(settings);
	return cw_config_placed(&from->origin, rc, msg);
}

int cw_daemon_apply_listeners(struct cw_daemon *d, struct cw_msg *msg)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < d->config->listeners.count && rc == 0; i++)
		rc = add_listener(d, cw_conf_item(&d->config->listeners, struct cw_config_listener, i), msg);
	return rc;
}

static int start_workers(struct cw_daemon *d, struct cw_msg *msg)
{
	int rc;

	for (d->worker_started = 0; d->worker_started < d->worker_count; d->worker_started++) {
		rc = cw_worker_start(d->workers[d->worker_started]);
		if (rc < 0)
			return cw_fail(msg, rc, "cannot start a worker thread: %s", cw_error_text(rc));
	}
	return 0;
}

static void say_descriptors(void)
{
	uint64_t limit, fit = cw_net_descriptor_limit(&limit);

	cw_log(daemon_limit, "", CW_LU("openFiles", limit), CW_LU("connections", fit));
}

/* For whoever waits: all bound addresses, whole or not at all. */
static int write_ready_file(struct cw_daemon *d, struct cw_msg *msg)
{
	char part[1100], address[CW_ADDR_TEXT];
	const char *protocol;
	FILE *f;
	size_t i, n = cw_gateway_listener_count(d->gateway);
	int ok;

	if (d->ready_file == NULL)
		return 0;
	(void)snprintf(part, sizeof(part), "%s.part", d->ready_file);
	f = fopen(part, "we");
	if (f == NULL)
		return cw_fail(msg, CW_EIO, "cannot write %s", part);
	fprintf(f, "{\"pid\": %ld, \"listeners\": {", (long)getpid());
	for (i = 0; i < n; i++) {
		const struct cw_listener *l = cw_gateway_listener(d->gateway, i, &protocol);

		/* Names are letters, digits and dashes by the configuration's check; nothing needs escaping. */
		fprintf(f, "%s\"%s\": \"%s\"", i == 0 ? "" : ", ", cw_listener_name(l), cw_addr_format(cw_listener_address(l), address));
	}
	fprintf(f, "}}\n");
	ok = ferror(f) == 0;
	if (fclose(f) != 0 || !ok || rename(part, d->ready_file) != 0)
		return cw_fail(msg, CW_EIO, "cannot write %s", d->ready_file);
	return 0;
}

static void admin_stop(void *ctx)
{
	cw_daemon_stop(ctx);
}

static int admin_reload(void *ctx, cw_reload_fn done, void *arg)
{
	return cw_daemon_reload(ctx, done, arg);
}

static const char *admin_waits(void *ctx, size_t n)
{
	return cw_bridges_says(((struct cw_daemon *)ctx)->bridges, n);
}

/* Without bridge and gateway it says what is waited for; opened so and again with them, it is the same socket. */
static int open_admin(struct cw_daemon *d, struct cw_msg *msg)
{
	struct cw_admin_conf conf = {
		.control = d->control,
		.address = d->config->control,
		.bridge = d->bridge,
		.gateway = d->gateway,
		.protocols = d->protocols,
		.protocol_count = d->protocol_count,
		.worker_count = d->worker_count,
		.started_ms = d->started_ms,
		.ctx = d,
		.stop = admin_stop,
		.reload = admin_reload,
		.waits = admin_waits,
	};

	if (d->admin != NULL) {
		cw_admin_update(d->admin, &conf);
		return 0;
	}
	return d->config->control[0] == '\0' ? 0 : cw_admin_open(&conf, &d->admin, msg);
}

/* Every bridge has its certificate: the rest of the start. */
static int start_bridge(struct cw_daemon *d, struct cw_msg *msg)
{
	int rc = make_workers(d, msg);

	if (rc == 0)
		rc = make_firmware(d, msg);
	if (rc == 0)
		rc = make_bridge(d, msg);
	if (rc == 0)
		rc = make_gateway(d, msg);
	if (rc < 0)
		return rc;
	say_descriptors();
	rc = start_workers(d, msg);
	if (rc == 0)
		rc = cw_daemon_apply_listeners(d, msg);
	if (rc == 0)
		rc = cw_daemon_apply_connections(d, msg);
	if (rc == 0)
		rc = cw_bridge_connect(d->bridge);
	if (rc == 0)
		rc = cw_watchdog_start(d->gateway, (uint64_t)d->config->decoder_timeout_ms, &d->watchdog);
	if (rc == 0)
		rc = open_admin(d, msg);
	if (rc == 0)
		rc = write_ready_file(d, msg);
	if (rc == 0)
		cw_notify_say(&d->notify, "READY=1\nSTATUS=devices may connect");
	if (rc == 0)
		cw_log(daemon_ready, "", CW_LU("listeners", cw_gateway_listener_count(d->gateway)),
		       CW_LU("connections", cw_gateway_connection_count(d->gateway)),
		       CW_LU("devices", cw_resolver_count(cw_bridge_resolver(d->bridge))));
	return rc;
}

static void give_up(int rc, const struct cw_msg *msg)
{
	cw_log(daemon_failed, msg->text[0] != '\0' ? msg->text : cw_error_text(rc));
	/* Half-started: the kernel takes back what is left; nothing was accepted, nothing acknowledged. */
	_exit(1);
}

static void on_bridges_ready(void *ctx)
{
	struct cw_daemon *d = ctx;
	struct cw_msg msg = { "" };
	int rc;

	if (d->stopping)
		return;
	rc = start_bridge(d, &msg);
	if (rc < 0)
		give_up(rc, &msg);
}

static int start(struct cw_daemon *d, struct cw_msg *msg)
{
	int rc = cw_daemon_open_state_dir(d, msg);

	if (rc == 0)
		rc = cw_daemon_load_protocols(d, d->config, msg);
	if (rc == 0)
		rc = cw_state_open(d->state_dir, &d->state, msg);
	if (rc == 0)
		rc = cw_bridges_new(d->started, d->state_dir, &d->bridges, msg);
	d->config->obtained = d->bridges;
	if (rc < 0 || cw_bridges_missing(d->bridges) == 0)
		return rc < 0 ? rc : start_bridge(d, msg);
	rc = open_admin(d, msg);
	/* The platform may be away for long; whoever starts services need not wait, and can ask. */
	cw_notify_say(&d->notify, "READY=1\nSTATUS=waits for the certificate of its bridge; causeway status says more");
	return rc < 0 ? rc : cw_bridges_obtain(d->bridges, d->control, on_bridges_ready, d, msg);
}

/* ---- the process ----------------------------------------------------------------------- */

static int load_config(struct cw_daemon *d, struct cw_msg *msg)
{
	int rc = cw_daemon_read_config(d->config_file, &d->config, &d->tree, msg);

	d->started = d->config;
	d->started_tree = d->tree;
	if (rc == 0) {
		cw_log_setup((enum cw_log_level)d->config->log.level, d->config->log.format, 2);
		(void)cw_daemon_warn_file_mode(d->config_file);
	}
	return rc;
}

static void free_daemon(struct cw_daemon *d)
{
	unsigned i;

	for (i = 0; i < d->worker_count; i++)
		cw_worker_free(d->workers[i]);
	cw_worker_free(d->control);
	cw_bridges_free(d->bridges);
	cw_daemon_free_configs(d);
	if (d->config != d->started) {
		cw_conf_free(d->config);
		cw_conf_tree_unref(d->tree);
	}
	cw_conf_free(d->started);
	cw_conf_tree_unref(d->started_tree);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (d->ready_file != NULL)
		(void)unlink(d->ready_file);
}

int cw_daemon_run(const char *config_file, const char *ready_file)
{
	struct cw_daemon d = { .config_file = config_file, .ready_file = ready_file, .lock_fd = -1 };
	struct cw_msg msg = { "" };
	int rc;

	d.started_ms = cw_clock_wall_ms();
	rc = load_config(&d, &msg);
	if (rc == 0) {
		cw_log(daemon_starting, "", CW_LS("version", CW_VERSION), CW_LU("pid", getpid()), CW_LS("config", config_file),
		       CW_LS("stateDir", d.config->state_dir));
		rc = cw_worker_new("control", 0, &d.control);
	}
	if (rc == 0)
		cw_notify_open(&d.notify, d.control);
	if (rc == 0)
		rc = open_signal(&d, &d.on_term, on_term, SIGTERM);
	if (rc == 0)
		rc = open_signal(&d, &d.on_int, on_term, SIGINT);
	if (rc == 0)
		rc = open_signal(&d, &d.on_hup, on_hup, SIGHUP);
	if (rc == 0)
		rc = start(&d, &msg);
	if (rc < 0)
		give_up(rc, &msg);
	cw_worker_run(d.control);
	cw_log(daemon_stopped, "", CW_LU("recordsLost", cw_stat_read(CW_STAT_bridge_records_lost)));
	free_daemon(&d);
	return 0;
}
