/* check.c - `causewayd --check` and `causeway config check`: everything that can be found without starting. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon.h"
#include "net/addr.h"
#include "plugin/runner.h"
#include "upstream/connector.h"

static void print_report(const struct cw_conf_report *report)
{
	size_t i;

	for (i = 0; i < report->kept; i++)
		fprintf(stderr, "%s%s\n", report->items[i].warning ? "warning: " : "", report->items[i].text);
	if (report->errors + report->warnings > report->kept)
		fprintf(stderr, "(and %zu more)\n", report->errors + report->warnings - report->kept);
}

static void on_skip(void *arg, const char *sentence)
{
	++*(int *)arg;
	fprintf(stderr, "%s\n", sentence);
}

static int check_devices(struct cw_daemon *d, struct cw_identities **ret_set)
{
	struct cw_msg msg;
	char path[1100];
	int skipped = 0;

	if (!cw_config_has_source(d->config, "devices"))
		return cw_identities_new(ret_set) < 0;
	(void)cw_config_path(d->config_file, d->config->identity.devices, path, sizeof(path));
	if (cw_identities_load(path, on_skip, &skipped, ret_set, &msg) < 0) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	return skipped;
}

static int say(const struct cw_msg *msg)
{
	fprintf(stderr, "%s\n", msg->text);
	return 1;
}

static const struct cw_plugin_desc *find_protocol(const struct cw_daemon *d, const char *name)
{
	size_t i;

	for (i = 0; i < d->protocol_count; i++)
		if (strcmp(d->protocols[i]->name, name) == 0)
			return d->protocols[i];
	return NULL;
}

/* What the fields' types and ranges cannot say the decoder itself does. */
static int ask_decoder(struct cw_daemon *d, const struct cw_plugin_desc *protocol, const char *what, const char *name,
                       const struct cw_origin *origin, struct cw_bytes settings)
{
	struct cw_runner *r;
	struct cw_msg msg;
	void *conf = NULL;
	int rc = cw_runner_new(protocol, d->control, &r, &msg);

	if (rc < 0)
		return say(&msg);
	rc = cw_runner_settings(r, settings, &conf, &msg);
	if (msg.text[0] != '\0') { /* with 0: a warning */
		cw_msg_wrap(&msg, "%s \"%s\": settings", what, name);
		(void)cw_config_placed(origin, rc, &msg);
		fprintf(stderr, "%s%s\n", rc < 0 ? "" : "warning: ", msg.text);
	}
	cw_runner_settings_free(r, conf);
	cw_runner_free(r);
	return rc < 0;
}

static int udp_refused(const struct cw_config_listener *l)
{
	struct cw_msg msg;

	(void)cw_config_placed(&l->origin, cw_fail(&msg, CW_ECONF, "listener \"%s\": protocol \"%s\" does not work over UDP", l->name, l->protocol), &msg);
	return say(&msg);
}

/* The protocol's settings of a listener or connection. */
static int check_settings(struct cw_daemon *d, const struct cw_plugin_desc *protocol, const char *what, const char *name,
                          const struct cw_origin *origin, const struct cw_value *settings)
{
	struct cw_conf_report report = { 0 };
	uint8_t *bytes = NULL;
	size_t len;
	int wrong = cw_config_settings(protocol, d->config, settings, NULL, cw_bytes_of(NULL, 0), &bytes, &len, &report) < 0;

	print_report(&report);
	cw_conf_report_fini(&report);
	if (!wrong)
		wrong = ask_decoder(d, protocol, what, name, origin, cw_bytes_of(bytes, len));
	cw_free(bytes);
	return wrong;
}

static int check_listener(struct cw_daemon *d, const struct cw_config_listener *l)
{
	const struct cw_plugin_desc *protocol = find_protocol(d, l->protocol);
	int wrong = check_settings(d, protocol, "listener", l->name, &l->origin, l->settings);
	struct cw_gateway_listener listener;
	struct cw_msg msg;

	if (l->transport == CW_CONFIG_UDP && (protocol->caps & CW_CAP_DATAGRAM) == 0)
		wrong += udp_refused(l);
	cw_daemon_listener(d, l, &listener);
	if (cw_config_placed(&l->origin, cw_listener_check(&listener.net, &msg), &msg) < 0)
		wrong += say(&msg);
	return wrong;
}

static int check_connection(struct cw_daemon *d, const struct cw_config_connection *c)
{
	int wrong = check_settings(d, find_protocol(d, c->protocol), "connection", c->name, &c->origin, c->settings);
	struct cw_gateway_connection connection;
	struct cw_msg msg;

	cw_daemon_connection(c, &connection);
	if (cw_config_placed(&c->origin, cw_dial_check(&connection.net, &msg), &msg) < 0)
		wrong += say(&msg);
	return wrong;
}

/* Port 0: nothing is taken that a running gateway may have. */
static int check_address(const struct cw_config_listener *l, struct cw_addr *ret_addr)
{
	struct sockaddr_storage ss;
	struct cw_addr free_port;
	struct cw_msg msg;
	socklen_t len;
	int fd, err = 0;

	if (cw_addr_parse(l->address, ret_addr, &msg) < 0)
		return 0; /* said already */
	free_port = *ret_addr;
	free_port.port = 0;
	len = cw_addr_to_sockaddr(&free_port, &ss);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0)
		err = errno;
	if (fd >= 0)
		close(fd);
	if (err != EADDRNOTAVAIL && err != EAFNOSUPPORT)
		return 0;
	(void)cw_config_placed(&l->origin, cw_fail(&msg, CW_ECONF, "listener \"%s\": %s is no address of this machine", l->name, l->address), &msg);
	return say(&msg);
}

static int is_any(const struct cw_addr *a)
{
	static const uint8_t none[16];

	return memcmp(a->ip, none, sizeof(none)) == 0;
}

/* [::] has the IPv4 addresses, too. */
static int overlap(const struct cw_addr *a, const struct cw_addr *b)
{
	if (a->port == 0 || a->port != b->port || a->family == 0 || b->family == 0)
		return 0;
	if ((a->family == 6 && is_any(a)) || (b->family == 6 && is_any(b)))
		return 1;
	return a->family == b->family && (is_any(a) || is_any(b) || cw_addr_same_host(a, b));
}

static int check_addresses(struct cw_daemon *d)
{
	struct cw_addr a, b;
	struct cw_msg msg;
	size_t i, k;
	int wrong = 0;

	for (i = 0; i < d->config->listeners.count; i++) {
		const struct cw_config_listener *l = cw_conf_item(&d->config->listeners, struct cw_config_listener, i);

		memset(&a, 0, sizeof(a));
		wrong += check_address(l, &a);
		for (k = 0; k < i; k++) {
			const struct cw_config_listener *other = cw_conf_item(&d->config->listeners, struct cw_config_listener, k);

			if ((l->transport == CW_CONFIG_UDP) != (other->transport == CW_CONFIG_UDP) || cw_addr_parse(other->address, &b, &msg) < 0 ||
			    !overlap(&a, &b))
				continue;
			(void)cw_config_placed(&l->origin, cw_fail(&msg, CW_ECONF, "listener \"%s\": its address %s is taken by listener \"%s\" (%s)", l->name,
			                                           l->address, other->name, other->address), &msg);
			wrong += say(&msg);
		}
	}
	return wrong;
}

/* A directory that is there or can be made: what there is of its path are directories. */
static int check_directory(const char *key, const char *path)
{
	struct cw_msg msg;
	struct stat st;
	char part[1100];
	char *slash;

	(void)snprintf(part, sizeof(part), "%s", path);
	while (stat(part, &st) != 0 && errno == ENOENT && (slash = strrchr(part, '/')) != NULL && slash != part)
		*slash = '\0';
	if (stat(part, &st) == 0 ? S_ISDIR(st.st_mode) : errno == ENOENT || errno == EACCES)
		return 0;
	cw_msg_set(&msg, "%s: %s cannot be made: %s is no directory", key, path, part);
	return say(&msg);
}

static int check_socket(const char *control)
{
	const char *path = control + strlen("unix:");
	struct cw_msg msg;
	struct stat st;
	char dir[1100];

	if (control[0] == '\0')
		return 0;
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		cw_msg_set(&msg, "control: %s is there already and no socket; choose another path", path);
		return say(&msg);
	}
	/* The last directory of it is made, no more; what stands before may come with the system's start (/run). */
	(void)snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	return dir[0] == '\0' ? 0 : check_directory("control", dir);
}

static int check_key_file(const char *path)
{
	struct cw_msg msg;
	struct stat st;
	char dir[1100];

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		cw_msg_set(&msg, "identity.keyFile: %s is no file", path);
		return say(&msg);
	}
	(void)snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	if (dir[0] == '\0' || (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)))
		return 0;
	cw_msg_set(&msg, "identity.keyFile: there is no directory %s", dir);
	return say(&msg);
}

/* Who may write there is not looked at: the daemon may be another user. */
static int check_places(struct cw_daemon *d)
{
	const struct cw_config *c = d->config;
	char path[1100], state[1024];
	int wrong;

	wrong = check_directory("stateDir", cw_config_path(d->config_file, c->state_dir, state, sizeof(state)));
	wrong += check_socket(c->control);
	if (c->identity.key_file[0] == '/')
		wrong += check_key_file(c->identity.key_file);
	if (c->attachments.directory != NULL)
		wrong += check_directory("attachments.directory", cw_config_path(d->config_file, c->attachments.directory, path, sizeof(path)));
	if (c->firmware.directory != NULL)
		wrong += check_directory("firmware.directory", cw_config_path(d->config_file, c->firmware.directory, path, sizeof(path)));
	return wrong;
}

static int check_listeners(struct cw_daemon *d)
{
	struct cw_msg msg;
	size_t i;
	int wrong = 0;

	if (cw_daemon_load_protocols(d, d->config, &msg) < 0)
		return say(&msg);
	for (i = 0; i < d->config->listeners.count; i++)
		wrong += check_listener(d, cw_conf_item(&d->config->listeners, struct cw_config_listener, i));
	for (i = 0; i < d->config->connections.count; i++)
		wrong += check_connection(d, cw_conf_item(&d->config->connections, struct cw_config_connection, i));
	return wrong;
}

/* Listener or connection number i: its protocol and settings. 0 behind the last. */
static int way_in(const struct cw_config *c, size_t i, const char **ret_protocol, const struct cw_value **ret_settings)
{
	const struct cw_config_connection *connection;
	const struct cw_config_listener *listener;

	if (i < c->listeners.count) {
		listener = cw_conf_item(&c->listeners, struct cw_config_listener, i);
		*ret_protocol = listener->protocol;
		*ret_settings = listener->settings;
		return 1;
	}
	if (i - c->listeners.count >= c->connections.count)
		return 0;
	connection = cw_conf_item(&c->connections, struct cw_config_connection, i - c->listeners.count);
	*ret_protocol = connection->protocol;
	*ret_settings = connection->settings;
	return 1;
}

/* What the decoder says of settings whose fields are right; its sentence, if any, goes to *ret_msg. */
static int decoder_refuses(struct cw_daemon *d, const struct cw_plugin_desc *protocol, struct cw_bytes settings, struct cw_msg *ret_msg)
{
	struct cw_runner *r;
	void *conf = NULL;
	int rc = cw_runner_new(protocol, d->control, &r, ret_msg);

	if (rc < 0)
		return 1;
	rc = cw_runner_settings(r, settings, &conf, ret_msg);
	cw_runner_settings_free(r, conf);
	cw_runner_free(r);
	return rc < 0;
}

/*
 * Settings of a product or device: fine when one of the protocols in use takes them, for which one its devices will
 * speak is not known here. Else the complaints of the first are printed behind `who`.
 */
static int check_own_settings(struct cw_daemon *d, const struct cw_value *product, struct cw_bytes device, const char *who)
{
	struct cw_conf_report first = { 0 };
	const struct cw_value *settings;
	struct cw_msg msg, said = { "" };
	const char *protocol;
	int wrong = 0;
	size_t i;

	for (i = 0; way_in(d->config, i, &protocol, &settings); i++) {
		const struct cw_plugin_desc *desc = find_protocol(d, protocol);
		struct cw_conf_report report = { 0 };
		uint8_t *bytes = NULL;
		size_t len;

		wrong = cw_config_settings(desc, d->config, settings, product, device, &bytes, &len, i == 0 ? &first : &report) < 0;
		if (!wrong && decoder_refuses(d, desc, cw_bytes_of(bytes, len), &msg)) {
			wrong = 1;
			if (said.text[0] == '\0')
				said = msg;
		}
		cw_free(bytes);
		cw_conf_report_fini(&report);
		if (!wrong)
			break;
	}
	if (wrong) {
		fprintf(stderr, "%s: its settings fit the protocol of no listener or connection:\n", who);
		print_report(&first);
		if (said.text[0] != '\0')
			(void)say(&said);
	}
	cw_conf_report_fini(&first);
	return wrong;
}

/* Settings that were fine for one device are for the next: thousands have the same few. */
struct known_good {
	struct cw_bytes settings[16];
	size_t at;
};

static int is_known_good(const struct known_good *k, struct cw_bytes settings)
{
	size_t i;

	for (i = 0; i < sizeof(k->settings) / sizeof(k->settings[0]); i++)
		if (cw_bytes_equal(k->settings[i], settings))
			return 1;
	return 0;
}

static int check_all_own_settings(struct cw_daemon *d, const struct cw_identities *set)
{
	struct known_good good = { 0 };
	struct cw_map_node *n;
	char who[200];
	int wrong = 0;
	size_t i;

	for (i = 0; i < d->config->products.count; i++) {
		const struct cw_config_product *p = cw_conf_item(&d->config->products, struct cw_config_product, i);

		(void)snprintf(who, sizeof(who), "product %.60s", p->name);
		if (p->settings != NULL)
			wrong += check_own_settings(d, p->settings, cw_bytes_of(NULL, 0), who);
	}
	cw_map_each(n, &set->by_identity) {
		const struct cw_identity *id = cw_container_of(n, struct cw_identity, by_identity);

		(void)snprintf(who, sizeof(who), "device \"%.128s\"", id->identity);
		if (id->settings.len == 0 || is_known_good(&good, id->settings))
			continue;
		if (check_own_settings(d, NULL, id->settings, who) != 0)
			wrong++;
		else
			good.settings[good.at++ % 16] = id->settings;
	}
	return wrong;
}

/* Something in place of the secret that a start would obtain, for the checks that follow; this upstream is never started. */
static int add_unstarted(struct cw_daemon *d, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	struct cw_upstream_conf with = *conf;

	if (with.product_key != NULL && with.device_name == NULL)
		with.device_name = "not-obtained";
	if (with.product_key != NULL && (with.device_secret == NULL || with.device_secret[0] == '\0') && with.device_token == NULL)
		with.device_secret = "not obtained yet";
	return cw_bridge_add_upstream(d->bridge, &with, msg);
}

static int check_upstreams(struct cw_daemon *d)
{
	struct cw_bridge_conf conf = { .control = d->control, .owner_ops = &cw_gateway_owner_ops };
	struct cw_msg msg;
	int rc = cw_bridge_new(&conf, &d->bridge);

	if (rc < 0) {
		cw_msg_set(&msg, "%s", cw_error_text(rc));
		return say(&msg);
	}
	(void)cw_config_path(d->config_file, d->config->state_dir, d->state_dir, sizeof(d->state_dir));
	if (cw_bridges_new(d->config, d->state_dir, &d->bridges, &msg) < 0)
		return say(&msg);
	d->config->obtained = d->bridges;
	rc = cw_daemon_each_upstream(d, add_unstarted, &msg);
	if (rc == 0)
		rc = cw_daemon_add_routes(d, &msg);
	return rc < 0 ? say(&msg) : 0;
}

static void print_summary(const struct cw_daemon *d, size_t devices)
{
	const char *plan;
	size_t i;

	printf("%s: fine; %zu listeners, ", d->config_file, d->config->listeners.count);
	if (d->config->connections.count > 0)
		printf("%zu connections, ", d->config->connections.count);
	printf("%zu upstreams, %zu devices\n", d->config->upstreams.count, devices);
	for (i = 0; i < cw_bridge_upstream_count(d->bridge); i++) {
		const struct cw_upstream_conf *u = cw_upstream_settings(cw_bridge_upstream(d->bridge, i));

		if (u->kind->without_bridge)
			printf("upstream %s: %s of type %s, which needs no certificate of the bridge\n", u->name, u->endpoint, u->kind->type);
		else if (u->product_key == NULL)
			printf("upstream %s: %s by the client certificate %s\n", u->name, u->endpoint, u->certificate);
		else
			printf("upstream %s: %s as %s/%s\n", u->name, u->endpoint, u->product_key, u->device_name);
	}
	for (i = 0; (plan = cw_bridges_plan(d->bridges, i, devices)) != NULL; i++)
		printf("%s\n", plan);
}

int cw_daemon_check(const char *config_file)
{
	struct cw_daemon d = { .config_file = config_file, .lock_fd = -1 };
	struct cw_conf_report report = { 0 };
	struct cw_msg msg = { "" };
	struct cw_identities *set = NULL;
	int rc, wrong;

	cw_log_setup(CW_LOG_WARN, 0, 2);
	rc = cw_config_load(config_file, &d.config, &d.tree, &report, &msg);
	if (rc < 0 && report.errors == 0)
		fprintf(stderr, "%s\n", msg.text);
	print_report(&report);
	cw_conf_report_fini(&report);
	if (rc < 0)
		return 1;
	rc = cw_worker_new("check", 0, &d.control);
	if (rc < 0) {
		fprintf(stderr, "%s\n", cw_error_text(rc));
		wrong = 1;
		goto out;
	}
	wrong = check_devices(&d, &set) + check_listeners(&d) + check_addresses(&d) + check_places(&d) + check_upstreams(&d);
	if (wrong == 0)
		wrong = check_all_own_settings(&d, set);
	if (wrong == 0)
		print_summary(&d, set->count);
	cw_identities_free(set);
	cw_bridge_free(d.bridge);
	cw_bridges_free(d.bridges);
	cw_worker_free(d.control);
out:
	cw_conf_free(d.config);
	cw_conf_tree_unref(d.tree);
	return wrong == 0 ? 0 : 1;
}
