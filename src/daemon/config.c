/* config.c - see config.h. */
#include "daemon/config.h"

#include <stdio.h>
#include <string.h>

#include "daemon/config_check.h"
#include "daemon/connection_rows.h"
#include "daemon/identity_rows.h"
#include "provision/rules.h"
#include "upstream/kinds.h"

static const char *const transports[] = { "tcp", "udp", "tls", NULL };
static const char *const verifies[] = { "none", "optional", "required", NULL };
static const char *const confirms[] = { "transport", "reply", NULL };
static const char *const tls_versions[] = { "1.2", "1.3", NULL };
static const char *const formats[] = { "text", "json", NULL };
static const char *const sandboxes[] = { "preferred", "required", "off", NULL };
static const char *const levels[] = { "debug", "info", "note", "warn", "error", NULL };

static const struct cw_conf_setting limit_settings[] = {
	CW_CONF(struct cw_config_limits, connections, INT, "connections", "50000", "0", "1000000",
	        "Connections open at once; 0: no limit but the descriptors."),
	CW_CONF(struct cw_config_limits, connections_per_source, INT, "connectionsPerSource", "0", "0", "1000000",
	        "Connections open at once from one address; 0: no limit."),
	CW_CONF(struct cw_config_limits, accept_rate, INT, "acceptRate", "0", "0", "1000000",
	        "New connections a second; 0: no limit. More are closed at once and counted."),
	CW_CONF(struct cw_config_limits, identify_ms, DURATION, "identifyTime", "30s", "1s", "1h",
	        "A connection that has not identified itself by then is closed."),
	CW_CONF(struct cw_config_limits, idle_ms, DURATION, "idleTime", "10m", "1s", "7d",
	        "A connection without a valid frame for this long is closed."),
	CW_CONF(struct cw_config_limits, bytes_per_connection, BYTES, "bytesPerConnection", "64KiB", "4KiB", "64MiB",
	        "Bytes kept for one connection: output the device does not read, and what its decoder keeps."),
	CW_CONF(struct cw_config_limits, max_noise, BYTES, "maxNoise", "4KiB", "0", "16MiB",
	        "Bytes that belong to no frame before the connection is closed; a good frame starts the count anew."),
	CW_CONF_END
};
static const struct cw_conf_table limit_table = { .name = "limits", .size = sizeof(struct cw_config_limits), .settings = limit_settings };

static const struct cw_conf_setting listener_tls_settings[] = {
	CW_CONF(struct cw_config_tls, certificate, FILE, "certificate", NULL, NULL, NULL, "Server certificate, PEM file with its chain."),
	CW_CONF(struct cw_config_tls, key, FILE, "key", NULL, NULL, NULL, "Its private key, PEM file."),
	CW_CONF(struct cw_config_tls, key_store, FILE, "keyStore", NULL, NULL, NULL, "PKCS#12 file with both, instead of certificate and key."),
	CW_CONF(struct cw_config_tls, key_password, SECRET, "keyPassword", NULL, NULL, NULL, "Password of the keyStore; file:PATH reads it from a file."),
	CW_CONF(struct cw_config_tls, client_ca, FILE, "clientCa", NULL, NULL, NULL,
	        "PEM file of the authorities whose client certificates are accepted."),
	CW_CONF_CHOICE(struct cw_config_tls, client_verify, "clientVerify", verifies, "none",
	               "Client certificates: none asked for, optional, or required. With clientCa alone: required."),
	CW_CONF_END
};
static const struct cw_conf_table listener_tls_table = {
	.name = "tls", .size = sizeof(struct cw_config_tls), .settings = listener_tls_settings
};

static void check_listener(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_config_listener *l = conf;
	int has_tls = l->tls.certificate != NULL || l->tls.key != NULL || l->tls.client_ca != NULL || l->tls.key_store != NULL;

	if (!cw_config_name_ok(l->name))
		cw_conf_error_at(report, object, "listener \"%.64s\": a name is 1 to 64 of letters, digits and - _ .", l->name);
	if (l->transport == CW_CONFIG_TLS && (l->tls.certificate == NULL || l->tls.key == NULL) && l->tls.key_store == NULL)
		cw_conf_error_at(report, object, "listener \"%s\": transport = tls needs tls { certificate, key } or tls { keyStore }", l->name);
	if (l->transport != CW_CONFIG_TLS && has_tls)
		cw_conf_error_at(report, object, "listener \"%s\": tls { } is given but transport is %s; say transport = tls", l->name,
		                 transports[l->transport]);
	if (l->tls.client_verify != 0 && l->tls.client_ca == NULL)
		cw_conf_error_at(report, object, "listener \"%s\": clientVerify needs clientCa", l->name);
}

static const struct cw_conf_setting listener_settings[] = {
	CW_CONF_SELF(struct cw_config_listener, origin, ORIGIN),
	CW_CONF_MUST(struct cw_config_listener, name, STRING, "name", NULL, NULL, "Name in logs, status and counters; unique."),
	CW_CONF_MUST(struct cw_config_listener, protocol, STRING, "protocol", NULL, NULL, "Protocol of the devices: the name of a plugin."),
	CW_CONF_CHOICE(struct cw_config_listener, transport, "transport", transports, "tcp", "How devices connect."),
	CW_CONF_MUST(struct cw_config_listener, address, STRING, "address", NULL, NULL,
	             "host:port or [v6]:port to listen on; port 0 takes any free one; [::] takes IPv4 too."),
	CW_CONF(struct cw_config_listener, backlog, INT, "backlog", "4096", "1", "65535", "Connections the kernel keeps until they are accepted."),
	CW_CONF_CHOICE(struct cw_config_listener, ack, "ack", cw_config_acks, "received",
	               "When a device's message is acknowledged: when it was received and queued, or when the platform has confirmed it."),
	CW_CONF(struct cw_config_listener, require_online, BOOL, "requireOnline", "false", NULL, NULL,
	        "Accept a device only when the platform has accepted its login."),
	CW_CONF_CHOICE(struct cw_config_listener, unknown, "unknown", cw_config_unknowns, "close",
	               "A device that no identity source knows: close it after 5 s, or keep its frames (see pending) until it is added."),
	CW_CONF(struct cw_config_listener, proxy_from, STRINGS, "proxyFrom", NULL, NULL, NULL,
	        "Networks of load balancers whose connections begin with a PROXY protocol header (v1 or v2)."),
	CW_CONF(struct cw_config_listener, allow, STRINGS, "allow", NULL, NULL, NULL, "Networks that may connect; empty: all."),
	CW_CONF(struct cw_config_listener, deny, STRINGS, "deny", NULL, NULL, NULL, "Networks that may not connect; counts before allow."),
	CW_CONF_TABLES(struct cw_config_listener, tls, TABLE, "tls", &listener_tls_table, "For transport = tls."),
	CW_CONF_TABLES(struct cw_config_listener, limits, TABLE, "limits", &limit_table, "Limits of this listener."),
	CW_CONF(struct cw_config_listener, settings, ANY, "settings", NULL, NULL, NULL,
	        "The protocol's settings on this listener; see the protocol's own reference."),
	CW_CONF_END
};
static const struct cw_conf_table listener_table = {
	.name = "listener", .size = sizeof(struct cw_config_listener), .settings = listener_settings, .check = check_listener
};

static const struct cw_conf_setting upstream_tls_settings[] = {
	CW_CONF(struct cw_config_tls, ca, FILE, "ca", NULL, NULL, NULL, "PEM file of the authorities to trust; default: the top-level ca."),
	CW_CONF(struct cw_config_tls, certificate, FILE, "certificate", NULL, NULL, NULL, "Client certificate, PEM file."),
	CW_CONF(struct cw_config_tls, key, FILE, "key", NULL, NULL, NULL, "Its private key, PEM file."),
	CW_CONF(struct cw_config_tls, verify, BOOL, "verify", "true", NULL, NULL, "Check the server's certificate and name."),
	CW_CONF_CHOICE(struct cw_config_tls, min_version, "minVersion", tls_versions, "1.2", "Oldest TLS that is accepted."),
	CW_CONF_END
};
static const struct cw_conf_table upstream_tls_table = {
	.name = "tls", .size = sizeof(struct cw_config_tls), .settings = upstream_tls_settings
};

static const struct cw_conf_setting upstream_settings[] = {
	CW_CONF_SELF(struct cw_config_upstream, origin, ORIGIN),
	CW_CONF_SELF(struct cw_config_upstream, name, NAME),
	CW_CONF_CHOICE(struct cw_config_upstream, type, "type", cw_upstream_kind_names, "mqtt", "Kind of upstream."),
	CW_CONF_VARIANT(struct cw_config_upstream, own, cw_upstream_kind_tables),
	CW_CONF(struct cw_config_upstream, endpoint, STRING, "endpoint", NULL, NULL, NULL,
	        "Where the platform is, as in ssl://host:1883 (mqtt) or https://host:443 (http2); default: made from region."),
	CW_CONF(struct cw_config_upstream, region, STRING, "region", NULL, NULL, NULL,
	        "Region of the public instance, as in cn-shanghai, for the endpoint's name."),
	CW_CONF(struct cw_config_upstream, large, BOOL, "large", "false", NULL, NULL,
	        "Large bridge (subDeviceConnectMode = 3): devices stay online when the link drops. Over HTTP/2 only."),
	CW_CONF_CHOICE(struct cw_config_upstream, confirm, "confirm", confirms, "transport",
	               "What counts as delivered: the transport's acknowledgement, or the platform's reply with code 200."),
	CW_CONF(struct cw_config_upstream, ack_timeout_ms, DURATION, "ackTimeout", "8s", "100ms", "1h",
	        "A record unconfirmed this long is reported to its device as pending; it stays queued."),
	CW_CONF(struct cw_config_upstream, queue_bytes, BYTES, "queueBytes", "64MiB", "64KiB", "64GiB",
	        "Bytes waiting for this upstream; when full, devices are no longer read."),
	CW_CONF(struct cw_config_upstream, queue_bytes_device, BYTES, "queueBytesPerDevice", "256KiB", "1KiB", "1GiB",
	        "The same for one device."),
	CW_CONF(struct cw_config_upstream, rate_bridge, INT, "rate", "0", "0", "10000000", "Messages a second over this upstream; 0: no limit."),
	CW_CONF(struct cw_config_upstream, retry_min_ms, DURATION, "retryMin", "1s", "10ms", "1h", "First wait before connecting again; doubles, with jitter."),
	CW_CONF(struct cw_config_upstream, retry_max_ms, DURATION, "retryMax", "60s", "10ms", "24h", "Longest wait before connecting again."),
	CW_CONF_TABLES(struct cw_config_upstream, bridges, LIST, "bridges", &cw_config_certificate_table,
	               "Several bridge identities, each with a connection of its own; every device takes one of them, always the same."),
	CW_CONF_TABLES(struct cw_config_upstream, tls, TABLE, "tls", &upstream_tls_table, "For endpoints with TLS."),
	CW_CONF_END
};
static void check_upstream(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_config_upstream *u = conf;

	if (u->endpoint == NULL && u->region == NULL)
		cw_conf_error_at(report, object, "upstream \"%s\": endpoint is missing; say where the platform is, or give region", u->name);
	if (u->retry_min_ms > u->retry_max_ms)
		cw_conf_error_at(report, object, "upstream \"%s\": retryMin is longer than retryMax", u->name);
	if ((u->tls.certificate == NULL) != (u->tls.key == NULL))
		cw_conf_error_at(report, object, "upstream \"%s\": tls.certificate and tls.key come together", u->name);
	cw_config_check_upstream(u, object, report);
}

static const struct cw_conf_table upstream_table = {
	.name = "upstream", .size = sizeof(struct cw_config_upstream), .settings = upstream_settings, .check = check_upstream
};

static const struct cw_conf_setting route_settings[] = {
	CW_CONF_SELF(struct cw_config_route, origin, ORIGIN),
	CW_CONF(struct cw_config_route, product_key, STRING, "productKey", NULL, NULL, NULL, "Product whose devices take this route; absent: all."),
	CW_CONF(struct cw_config_route, device_name, STRING, "deviceName", NULL, NULL, NULL, "Pattern with * and ? for the DeviceName; absent: all."),
	CW_CONF(struct cw_config_route, identity, STRING, "identity", NULL, NULL, NULL, "Pattern with * and ? for the originalIdentity; absent: all."),
	CW_CONF_MUST(struct cw_config_route, upstream, STRING, "upstream", NULL, NULL, "Name of the upstream."),
	CW_CONF_END
};
static const struct cw_conf_table route_table = { .name = "route", .size = sizeof(struct cw_config_route), .settings = route_settings };

static const struct cw_conf_setting product_settings[] = {
	CW_CONF_SELF(struct cw_config_product, name, NAME),
	CW_CONF(struct cw_config_product, settings, ANY, "settings", NULL, NULL, NULL,
	        "The protocol's settings for devices of this product; they count before the listener's."),
	CW_CONF_END
};
static const struct cw_conf_table product_table = {
	.name = "product", .size = sizeof(struct cw_config_product), .settings = product_settings
};

static void check_names(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	size_t i, k;

	for (i = 0; i < c->listeners.count; i++)
		for (k = i + 1; k < c->listeners.count; k++)
			if (strcmp(cw_conf_item(&c->listeners, struct cw_config_listener, i)->name,
			           cw_conf_item(&c->listeners, struct cw_config_listener, k)->name) == 0)
				cw_conf_error_at(report, cw_value_get(object, "listeners"), "two listeners are named \"%s\"",
				                 cw_conf_item(&c->listeners, struct cw_config_listener, i)->name);
	for (i = 0; i < c->routes.count; i++) {
		const struct cw_config_route *r = cw_conf_item(&c->routes, struct cw_config_route, i);

		for (k = 0; k < c->upstreams.count; k++)
			if (strcmp(cw_conf_item(&c->upstreams, struct cw_config_upstream, k)->name, r->upstream) == 0)
				break;
		if (k == c->upstreams.count)
			cw_conf_error_at(report, cw_value_get(object, "routes"), "routes[%zu]: there is no upstream \"%s\"", i, r->upstream);
	}
}

const char *const cw_config_sources[] = { "devices", "sqlite", "factory", "http", "rules", NULL };

const char *cw_config_source(const struct cw_config *config, size_t i)
{
	if (config->identity.order.count == 0)
		return i < sizeof(cw_config_sources) / sizeof(cw_config_sources[0]) ? cw_config_sources[i] : NULL;
	return i < config->identity.order.count ? config->identity.order.items[i] : NULL;
}

int cw_config_has_source(const struct cw_config *config, const char *name)
{
	const char *one;
	size_t i;

	for (i = 0; (one = cw_config_source(config, i)) != NULL; i++)
		if (strcmp(one, name) == 0)
			return 1;
	return 0;
}

static void check_order(const struct cw_config *c, const struct cw_value *order, struct cw_conf_report *report)
{
	size_t i, k;

	for (i = 0; i < c->identity.order.count; i++) {
		const char *name = c->identity.order.items[i];

		for (k = 0; cw_config_sources[k] != NULL && strcmp(cw_config_sources[k], name) != 0; k++)
			;
		if (cw_config_sources[k] == NULL)
			cw_conf_error_at(report, order, "identity.order: there is no source \"%.40s\"; there are devices, sqlite, factory, http and rules", name);
		for (k = 0; k < i; k++)
			if (strcmp(c->identity.order.items[k], name) == 0)
				cw_conf_error_at(report, order, "identity.order: \"%.40s\" stands there twice", name);
	}
}

/* `where`: the settings' own place, for messages. */
static void check_url(const char *name, const char *url, const char *token, const struct cw_config_tls *tls, const struct cw_value *where,
		      struct cw_conf_report *report)
{
	if (url != NULL && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		cw_conf_error_at(report, where, "identity.%s.url: found \"%.100s\", accepted is http://... or https://...", name, url);
	if (url != NULL && strlen(url) > 2000)
		cw_conf_error_at(report, where, "identity.%s.url is longer than 2000 characters", name);
	if (url != NULL && strncmp(url, "http://", 7) == 0 && token != NULL)
		cw_conf_warn_at(report, where, "identity.%s: token and device secrets go over http:// for everybody on the way to read; use https://", name);
	if ((tls->certificate == NULL) != (tls->key == NULL))
		cw_conf_error_at(report, where, "identity.%s.tls: certificate and key come together", name);
	cw_config_check_lookup(name, url, token, tls, where, report);
}

static void check_sources(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_value *own = cw_value_get(object, "identity"), *where;

	if (own == NULL)
		return;
	check_order(c, cw_value_get(own, "order"), report);
	where = cw_value_get(own, "http");
	check_url("http", c->identity.http.url, c->identity.http.token, &c->identity.http.tls, where == NULL ? own : where, report);
	where = cw_value_get(own, "factory") == NULL ? own : cw_value_get(own, "factory");
	check_url("factory", c->identity.factory.url, c->identity.factory.token, &c->identity.factory.tls, where, report);
	if (c->identity.factory.url != NULL && c->identity.factory.db != NULL)
		cw_conf_error_at(report, where, "identity.factory has db and url; say one: the store itself, or the server that has it");
	if (c->identity.factory.db != NULL && strncmp(c->identity.factory.db, "postgres", 8) == 0 && c->identity.factory.key_file == NULL)
		cw_conf_error_at(report, where, "identity.factory.keyFile is missing: with PostgreSQL say which file has the key of the store");
}

static void check_control(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	if (c->control[0] == '\0')
		return;
	if (strncmp(c->control, "unix:/", 6) != 0 || strlen(c->control) - 5 > 107)
		cw_conf_error_at(report, cw_value_get(object, "control"),
		                 "control is \"%s\"; accepted is unix:PATH with an absolute path of at most 107 characters, or empty for none",
		                 c->control);
}

/* 3 is the large bridge; the Java library takes 1 and 2, too, and does nothing with them. */
static void check_mode(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_value *where = cw_value_get(object, "subDeviceConnectMode");
	size_t i;

	if (c->sub_device_connect_mode < 0 || c->sub_device_connect_mode > 3)
		cw_conf_error_at(report, where, "subDeviceConnectMode is %d; 3 is the large bridge, absent the small one", c->sub_device_connect_mode);
	else if (c->sub_device_connect_mode == 1 || c->sub_device_connect_mode == 2)
		cw_conf_warn_at(report, where, "subDeviceConnectMode = %d behaves as the small bridge, as with the Java library; 3 is the large one",
		                c->sub_device_connect_mode);
	for (i = 0; c->sub_device_connect_mode == 3 && i < c->upstreams.count; i++)
		if (cw_upstream_kind((size_t)cw_conf_item(&c->upstreams, struct cw_config_upstream, i)->type)->can & CW_CAN_LARGE)
			return;
	if (c->sub_device_connect_mode == 3)
		cw_conf_warn_at(report, where, "subDeviceConnectMode = 3 behaves as the small bridge: the large one exists over HTTP/2 only, and no "
		                "upstream has type = http2");
}

/* The Java core library leaves the sockets to its user's program, so its file has none. */
static void no_listener(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	if (c->http2_endpoint == NULL)
		cw_conf_error_at(report, object, "there is no listener and no connection; add listeners = [ { name = ..., protocol = ..., address = ... } ]");
	else
		cw_conf_warn_at(report, object, "there is no listener, so no device can connect; add listeners = [ { name = ..., protocol = ..., "
		                "address = ... } ], or socketServer { } with --protocol");
}

/* What concerns the platform's side, of the gateway and of libcauseway alike. */
static void check_bridge(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_config *c = conf;

	check_names(c, object, report);
	check_control(c, object, report);
	cw_config_check_identity(c, object, report);
	check_sources(c, object, report);
	cw_config_check_rules(c, object, report);
	check_mode(c, object, report);
	cw_config_check_upstreams(c, object, report);
	if (c->upstreams.count == 0)
		cw_conf_error_at(report, object, "there is no upstream; add upstreams { cloud { endpoint = \"ssl://...\" } }");
}

static void check_config(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_config *c = conf;

	check_bridge(conf, object, report);
	cw_config_check_connections(c, object, report);
	if (c->listeners.count == 0 && c->connections.count == 0)
		no_listener(c, object, report);
}

static const char *hint(const char *key)
{
	static const char *const java[] = { "registerEndpoint", "networkKey", "isMultiGwMode", NULL };
	static const char *const later[] = { "journal", "admin", NULL };
	int i;

	for (i = 0; java[i] != NULL; i++)
		if (strcmp(key, java[i]) == 0)
			return "a key of the Java library that this version does not use";
	for (i = 0; later[i] != NULL; i++)
		if (strcmp(key, later[i]) == 0)
			return "this version does not have it yet";
	return NULL;
}

static const struct cw_conf_setting settings[] = {
	CW_CONF(struct cw_config, bridge.product_key, STRING, "productKey", NULL, NULL, NULL, "Bridge certificate: ProductKey."),
	CW_CONF(struct cw_config, bridge.device_name, STRING, "deviceName", NULL, NULL, NULL, "Bridge certificate: DeviceName."),
	CW_CONF(struct cw_config, bridge.device_secret, SECRET, "deviceSecret", NULL, NULL, NULL, "Bridge certificate: DeviceSecret; file:PATH reads it from a file."),
	CW_CONF(struct cw_config, bridge.product_secret, SECRET, "productSecret", NULL, NULL, NULL, "Instead of deviceSecret: the bridge registers itself once with its product's secret, and keeps what it got in stateDir."),
	CW_CONF_TABLES(struct cw_config, registration, TABLE, "registration", &cw_config_registration_table, "How bridges with productSecret register."),
	CW_CONF_TABLES(struct cw_config, profile, TABLE, "popClientProfile", &cw_config_profile_table, "Java library: without deviceName the bridge is the device named after this machine's MAC address, found or created over the management API."),
	CW_CONF(struct cw_config, http2_endpoint, STRING, "http2Endpoint", NULL, NULL, NULL, "Java library: HTTP/2 endpoint."),
	CW_CONF(struct cw_config, auth_endpoint, STRING, "authEndpoint", NULL, NULL, NULL, "Java library: authentication endpoint."),
	CW_CONF(struct cw_config, sub_device_connect_mode, INT, "subDeviceConnectMode", "0", NULL, NULL, "Java library: 3 is the large bridge."),
	CW_CONF(struct cw_config, socket_server, ANY, "socketServer", NULL, NULL, NULL, "Java server library: address, ports (9123), listenType (tcp), backlog; its ports become listeners of `protocol`, a key of ours in it."),
	CW_CONF(struct cw_config, ca, FILE, "ca", NULL, NULL, NULL, "PEM file of authorities, inherited by the tls {} of every upstream."),
	CW_CONF(struct cw_config, state_dir, STRING, "stateDir", "/var/lib/causeway", NULL, NULL, "Directory of everything that must survive a restart; mode 0700, locked. A relative one stands beside this file."),
	CW_CONF(struct cw_config, plugin_dir, STRING, "pluginDir", NULL, NULL, NULL, "Directory of protocol plugins; default: ../plugins or ../lib/causeway/plugins seen from the program, else /usr/lib/causeway/plugins."),
	CW_CONF(struct cw_config, workers, INT, "workers", "0", "0", "64", "Data workers (threads); 0: one for each CPU allowed to the process."),
	CW_CONF(struct cw_config, control, STRING, "control", "unix:/run/causeway/control.sock", NULL, NULL, "Socket for operators: unix:PATH. Empty: none."),
	CW_CONF(struct cw_config, stop_timeout_ms, DURATION, "stopTimeout", "10s", "0s", "10m", "How long a stop waits for queued records to be delivered."),
	CW_CONF(struct cw_config, decoder_timeout_ms, DURATION, "decoderTimeout", "10s", "0s", "10m", "A decoder that does not return for this long ends the process, with its frame in the log; 0s: never."),
	CW_CONF_TABLES(struct cw_config, listeners, LIST, "listeners", &listener_table, "Where devices connect."),
	CW_CONF_TABLES(struct cw_config, connections, LIST, "connections", &cw_config_connection_table, "Devices that do not connect: the gateway does, or opens their serial line."),
	CW_CONF_TABLES(struct cw_config, upstreams, MAP, "upstreams", &upstream_table, "Ways to the platform, by name."),
	CW_CONF_TABLES(struct cw_config, routes, LIST, "routes", &route_table, "Which product takes which upstream; first match. None: the first upstream."),
	CW_CONF_TABLES(struct cw_config, products, MAP, "products", &product_table, "What differs by product, by productKey."),
	CW_CONF(struct cw_config, protocols, ANY, "protocols", NULL, NULL, NULL, "A protocol's own settings, by its name."),
	CW_CONF(struct cw_config, isolation.protocols, STRINGS, "isolation.protocols", NULL, NULL, NULL,
	        "Protocols whose plugin runs in a process of its own, one for each worker; \"*\": all. The others run in causewayd itself."),
	CW_CONF(struct cw_config, isolation.memory, BYTES, "isolation.memory", "256MiB", "0", "64GiB",
	        "What such a process may have beyond its start; 0: no limit."),
	CW_CONF(struct cw_config, isolation.timeout_ms, DURATION, "isolation.timeout", "2s", "0s", "10m",
	        "A decoder that does not come back for so long is ended, with its process; 0s: never."),
	CW_CONF(struct cw_config, isolation.crashes, INT, "isolation.crashes", "5", "1", "60",
	        "A process that died so often within isolation.window is not started again: its protocol is out of service."),
	CW_CONF(struct cw_config, isolation.window_ms, DURATION, "isolation.window", "1m", "1s", "1h", "See isolation.crashes."),
	CW_CONF(struct cw_config, isolation.retry_ms, DURATION, "isolation.retry", "5m", "1s", "1d",
	        "A protocol out of service is tried again after so long, or at the next reload."),
	CW_CONF_CHOICE(struct cw_config, isolation.sandbox, "isolation.sandbox", sandboxes, "preferred",
	               "Filter of system calls (seccomp): preferred warns where the system does not allow it, required starts no process without, off."),
	CW_CONF(struct cw_config, isolation.poison_files, INT, "isolation.poisonFiles", "100", "0", "10000",
	        "Frames that ended such a process are kept in stateDir/poison, so many; the oldest go."),
	CW_CONF(struct cw_config, identity.devices, STRING, "identity.devices", "devices.conf", NULL, NULL, "File of identities; a relative name is looked for beside this file."),
	CW_CONF(struct cw_config, identity.contest_window_ms, DURATION, "identity.contestWindow", "1m", "1s", "1h", "Supersedes of one identity within this time are counted as a contest."),
	CW_CONF(struct cw_config, identity.order, STRINGS, "identity.order", NULL, NULL, NULL,
	        "Sources asked one after the other until one knows: devices (the file), sqlite (the table of causeway identity), factory, http, rules; those "
	        "that are not configured are left out, but not devices, whose file has to be there. Default: all, in this order."),
	CW_CONF(struct cw_config, identity.key_file, STRING, "identity.keyFile", "identity.key", NULL, NULL,
	        "File with the key that the table's secrets are encrypted with; made at the first start. A relative name stands in stateDir."),
	CW_CONF(struct cw_config, identity.remove_topology, BOOL, "identity.removeTopology", "false", NULL, NULL,
	        "A device whose entry has gone is not only logged out: its relation to the bridge is deleted at the platform (thing/topo/delete)."),
	CW_CONF(struct cw_config, identity.http.url, STRING, "identity.http.url", NULL, NULL, NULL,
	        "Where identities are looked up over HTTP; absent: nowhere."),
	CW_CONF(struct cw_config, identity.http.token, SECRET, "identity.http.token", NULL, NULL, NULL,
	        "Sent as Authorization: Bearer; file:PATH reads it from a file."),
	CW_CONF(struct cw_config, identity.http.timeout_ms, DURATION, "identity.http.timeout", "5s", "10ms", "29s", "How long one look-up may take."),
	CW_CONF(struct cw_config, identity.http.keep_ms, DURATION, "identity.http.keep", "10m", "0s", "7d", "How long an answer is used without asking again."),
	CW_CONF(struct cw_config, identity.http.keep_unknown_ms, DURATION, "identity.http.keepUnknown", "1m", "0s", "7d", "The same for 404."),
	CW_CONF(struct cw_config, identity.http.stale_ms, DURATION, "identity.http.staleIfError", "1d", "0s", "30d",
	        "While the look-up fails, an answer this old still counts."),
	CW_CONF_TABLES(struct cw_config, identity.http.tls, TABLE, "identity.http.tls", &upstream_tls_table, "For https://."),
	CW_CONF(struct cw_config, identity.factory.db, SECRET, "identity.factory.db", NULL, NULL, NULL,
	        "The stock of causeway-factory, read only: a file (a relative name stands beside this one) or postgresql://user@host/name. Boards of the line and "
	        "devices in the field are known from there. Not shown, for it may have a password in it; file:PATH reads it from a file."),
	CW_CONF(struct cw_config, identity.factory.key_file, FILE, "identity.factory.keyFile", NULL, NULL, NULL,
	        "The key of that stock. Left out: the file's name with .key behind it; PostgreSQL needs one."),
	CW_CONF(struct cw_config, identity.factory.url, STRING, "identity.factory.url", NULL, NULL, NULL,
	        "Instead of db: the server, as in https://factory:8443/api/v1/identity (a listener of its field.listeners)."),
	CW_CONF(struct cw_config, identity.factory.token, SECRET, "identity.factory.token", NULL, NULL, NULL,
	        "The server's field.gatewayToken; file:PATH reads it from a file."),
	CW_CONF(struct cw_config, identity.factory.timeout_ms, DURATION, "identity.factory.timeout", "5s", "10ms", "29s", "How long one look-up at url may take."),
	CW_CONF(struct cw_config, identity.factory.keep_ms, DURATION, "identity.factory.keep", "1m", "0s", "7d", "How long an answer is used without asking again."),
	CW_CONF(struct cw_config, identity.factory.keep_unknown_ms, DURATION, "identity.factory.keepUnknown", "1s", "0s", "7d",
	        "The same for identities that are not there: a board that is burned now is known after this time at the latest."),
	CW_CONF(struct cw_config, identity.factory.stale_ms, DURATION, "identity.factory.staleIfError", "1d", "0s", "30d",
	        "While the store or the server is away, an answer this old still counts."),
	CW_CONF_TABLES(struct cw_config, identity.factory.tls, TABLE, "identity.factory.tls", &upstream_tls_table, "For url."),
	CW_CONF_TABLES(struct cw_config, identity.rules, LIST, "identity.rules", &cw_rule_table,
	        "Devices that no other source knows get their certificate from the platform, once; it is kept in the table."),
	CW_CONF(struct cw_config, identity.rule_retry_min_ms, DURATION, "identity.ruleRetryMin", "1m", "10ms", "7d",
	        "After a refusal an identity is not asked for again for so long; doubles with each."),
	CW_CONF(struct cw_config, identity.rule_retry_max_ms, DURATION, "identity.ruleRetryMax", "1h", "10ms", "30d", "Longest of these."),
	CW_CONF(struct cw_config, commands.queue, INT, "commands.queue", "16", "1", "1024", "Commands that may wait for one device."),
	CW_CONF(struct cw_config, commands.timeout_ms, DURATION, "commands.timeout", "30s", "1s", "1h", "A command without an answer ends as timed out."),
	CW_CONF(struct cw_config, attachments.directory, STRING, "attachments.directory", NULL, NULL, NULL, "Where pictures and audio of devices are put; a relative one stands beside this file; default: attachments in stateDir."),
	CW_CONF(struct cw_config, attachments.max_bytes, BYTES, "attachments.maxBytes", "8MiB", "1KiB", "256MiB", "Largest attachment."),
	CW_CONF(struct cw_config, pending.frames, INT, "pending.frames", "64", "1", "100000",
	        "Frames kept of one device that no source knows, on listeners with unknown = keep; then its oldest go."),
	CW_CONF(struct cw_config, pending.bytes_each, BYTES, "pending.bytesEach", "64KiB", "1KiB", "64MiB", "The same in bytes."),
	CW_CONF(struct cw_config, pending.bytes, BYTES, "pending.bytes", "16MiB", "64KiB", "16GiB",
	        "Memory of all such frames together; then those of the device go that was not heard of for longest."),
	CW_CONF(struct cw_config, pending.time_ms, DURATION, "pending.time", "24h", "1s", "365d", "They are kept for so long."),
	CW_CONF(struct cw_config, firmware.directory, STRING, "firmware.directory", NULL, NULL, NULL, "Where files of upgrades are kept; a relative one stands beside this file; default: firmware in stateDir."),
	CW_CONF(struct cw_config, firmware.max_bytes, BYTES, "firmware.maxBytes", "256MiB", "1KiB", "64GiB", "Largest file of an upgrade."),
	CW_CONF(struct cw_config, firmware.keep_bytes, BYTES, "firmware.keepBytes", "1GiB", "0", "1TiB", "Files of upgrades that nobody uses are removed, oldest first, above this."),
	CW_CONF(struct cw_config, firmware.attempts, INT, "firmware.attempts", "5", "1", "100", "Downloads of one file before it has failed; each goes on where the one before ended."),
	CW_CONF(struct cw_config, firmware.retry_ms, DURATION, "firmware.retry", "2s", "10ms", "1h", "Before the next attempt; doubles, up to a minute."),
	CW_CONF(struct cw_config, firmware.stall_ms, DURATION, "firmware.stall", "30s", "100ms", "1h", "A download without a byte for so long is given up and tried again."),
	CW_CONF_CHOICE(struct cw_config, log.format, "log.format", formats, "text", "Log lines as text (logfmt) or JSON."),
	CW_CONF_CHOICE(struct cw_config, log.level, "log.level", levels, "info", "Lowest level that is written."),
	CW_CONF_END
};

const struct cw_conf_table cw_config_table = {
	.name = "gateway",
	.size = sizeof(struct cw_config),
	.settings = settings,
	.flags = CW_CONF_UNKNOWN_WARN,
	.check = check_config,
	.unknown_hint = hint,
};

const struct cw_conf_table cw_config_bridge_table = {
	.name = "bridge",
	.size = sizeof(struct cw_config),
	.settings = settings,
	.flags = CW_CONF_UNKNOWN_WARN,
	.check = check_bridge,
	.unknown_hint = hint,
};

int cw_config_placed(const struct cw_origin *at, int rc, struct cw_msg *msg)
{
	char place[600];

	if (rc < 0 && at->line > 0) {
		(void)snprintf(place, sizeof(place), "%.560s:%u:%u", at->file, at->line, at->column);
		cw_msg_wrap(msg, "%s", place);
	}
	return rc;
}

const char *cw_config_path(const char *config_file, const char *name, char *out, size_t size)
{
	const char *slash = strrchr(config_file, '/');

	if (name[0] == '/' || slash == NULL)
		(void)snprintf(out, size, "%s", name);
	else
		(void)snprintf(out, size, "%.*s/%s", (int)(slash - config_file), config_file, name);
	return out;
}

int cw_config_same_upstream(const struct cw_config_upstream *a, const struct cw_config_upstream *b)
{
	return cw_conf_same(&upstream_table, a, b);
}

int cw_config_same_routes(const struct cw_config *a, const struct cw_config *b)
{
	size_t i;

	if (a->routes.count != b->routes.count)
		return 0;
	for (i = 0; i < a->routes.count; i++)
		if (!cw_conf_same(&route_table, cw_conf_item(&a->routes, struct cw_config_route, i), cw_conf_item(&b->routes, struct cw_config_route, i)))
			return 0;
	return 1;
}
