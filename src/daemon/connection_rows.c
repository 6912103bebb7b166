/* connection_rows.c - see connection_rows.h. */
#include "daemon/connection_rows.h"

#include <string.h>

#include "daemon/config_check.h"

const char *const cw_config_acks[] = { "received", "delivered", NULL };
const char *const cw_config_unknowns[] = { "close", "keep", NULL };
static const char *const parities[] = { "none", "even", "odd", NULL };

static const struct cw_conf_setting limit_settings[] = {
	CW_CONF(struct cw_config_limits, identify_ms, DURATION, "identifyTime", "30s", "1s", "1h",
	        "A connection whose device has not been identified by then is closed, and opened again."),
	CW_CONF(struct cw_config_limits, idle_ms, DURATION, "idleTime", "10m", "1s", "7d",
	        "The same for one without a valid frame for this long."),
	CW_CONF(struct cw_config_limits, bytes_per_connection, BYTES, "bytesPerConnection", "64KiB", "4KiB", "64MiB",
	        "Bytes kept for it: output the device does not take, and what its decoder keeps."),
	CW_CONF(struct cw_config_limits, max_noise, BYTES, "maxNoise", "4KiB", "0", "16MiB",
	        "Bytes that belong to no frame before it is closed; a good frame starts the count anew."),
	CW_CONF_END
};
static const struct cw_conf_table limit_table = { .name = "limits", .size = sizeof(struct cw_config_limits), .settings = limit_settings };

static const struct cw_conf_setting tls_settings[] = {
	CW_CONF(struct cw_config_tls, ca, FILE, "ca", NULL, NULL, NULL,
	        "PEM file of the authorities that sign devices; default: the system's, not the top-level ca."),
	CW_CONF(struct cw_config_tls, certificate, FILE, "certificate", NULL, NULL, NULL, "Client certificate, PEM file with its chain."),
	CW_CONF(struct cw_config_tls, key, FILE, "key", NULL, NULL, NULL, "Its private key, PEM file."),
	CW_CONF(struct cw_config_tls, key_store, FILE, "keyStore", NULL, NULL, NULL, "PKCS#12 file with both, instead of certificate and key."),
	CW_CONF(struct cw_config_tls, key_password, SECRET, "keyPassword", NULL, NULL, NULL, "Password of the keyStore; file:PATH reads it from a file."),
	CW_CONF(struct cw_config_tls, verify, BOOL, "verify", "true", NULL, NULL, "Check the device's certificate and name."),
	CW_CONF(struct cw_config_tls, server_name, STRING, "serverName", NULL, NULL, NULL,
	        "The name that must be in the device's certificate; default: the host of `to`."),
	CW_CONF_END
};
static const struct cw_conf_table tls_table = { .name = "tls", .size = sizeof(struct cw_config_tls), .settings = tls_settings };

static const struct cw_conf_setting serial_settings[] = {
	CW_CONF(struct cw_config_serial, baud, INT, "baud", "9600", "300", "4000000", "Bits a second, one of the usual rates."),
	CW_CONF_CHOICE(struct cw_config_serial, parity, "parity", parities, "none", "Parity bit. With none, Modbus asks for stopBits = 2."),
	CW_CONF(struct cw_config_serial, stop_bits, INT, "stopBits", "1", "1", "2", "Stop bits."),
	CW_CONF(struct cw_config_serial, data_bits, INT, "dataBits", "8", "7", "8", "Data bits; Modbus ASCII has 7."),
	CW_CONF(struct cw_config_serial, rs485, BOOL, "rs485", "off", NULL, NULL,
	        "The driver switches the direction of an RS485 transceiver by RTS. Off: it stays as it is, which is right for adapters that do it by themselves."),
	CW_CONF(struct cw_config_serial, rts_on_send, BOOL, "rtsOnSend", "true", NULL, NULL, "With rs485: RTS is high while sending; false: low."),
	CW_CONF(struct cw_config_serial, before_ms, DURATION, "delayBeforeSend", "0ms", "0ms", "1s", "With rs485: between RTS and the first bit."),
	CW_CONF(struct cw_config_serial, after_ms, DURATION, "delayAfterSend", "0ms", "0ms", "1s", "With rs485: between the last bit and RTS."),
	CW_CONF_END
};
static const struct cw_conf_table serial_table = { .name = "serial", .size = sizeof(struct cw_config_serial), .settings = serial_settings };

static int starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static void check_connection(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_config_connection *c = conf;

	if (!cw_config_name_ok(c->name))
		cw_conf_error_at(report, object, "connection \"%.64s\": a name is 1 to 64 of letters, digits and - _ .", c->name);
	if (!starts_with(c->to, "tls://") && cw_value_get(object, "tls") != NULL)
		cw_conf_error_at(report, object, "connection \"%s\": tls { } is given but to does not begin with tls://", c->name);
	if (!starts_with(c->to, "serial://") && cw_value_get(object, "serial") != NULL)
		cw_conf_error_at(report, object, "connection \"%s\": serial { } is given but to does not begin with serial://", c->name);
	if ((c->tls.certificate == NULL) != (c->tls.key == NULL))
		cw_conf_error_at(report, object, "connection \"%s\": tls.certificate and tls.key come together", c->name);
	if (c->retry_min_ms > c->retry_max_ms)
		cw_conf_error_at(report, object, "connection \"%s\": retryMin is longer than retryMax", c->name);
	if (c->identity != NULL && (c->identity[0] == '\0' || strlen(c->identity) > 128))
		cw_conf_error_at(report, object, "connection \"%s\": identity is 1 to 128 bytes", c->name);
}

static const struct cw_conf_setting connection_settings[] = {
	CW_CONF_SELF(struct cw_config_connection, origin, ORIGIN),
	CW_CONF_MUST(struct cw_config_connection, name, STRING, "name", NULL, NULL, "Name in logs, status and counters; unique, among listeners too."),
	CW_CONF_MUST(struct cw_config_connection, protocol, STRING, "protocol", NULL, NULL, "Protocol of the device: the name of a plugin."),
	CW_CONF_MUST(struct cw_config_connection, to, STRING, "to", NULL, NULL,
	             "Where the device is: tcp://host:port, tls://host:port or serial:///dev/ttyS1. A host is a name, an address or [v6]."),
	CW_CONF(struct cw_config_connection, identity, STRING, "identity", NULL, NULL, NULL,
	        "originalIdentity of the device there, for protocols that do not say it themselves."),
	CW_CONF_CHOICE(struct cw_config_connection, ack, "ack", cw_config_acks, "received",
	               "When a device's message is acknowledged: when it was received and queued, or when the platform has confirmed it."),
	CW_CONF(struct cw_config_connection, require_online, BOOL, "requireOnline", "false", NULL, NULL,
	        "Accept a device only when the platform has accepted its login."),
	CW_CONF_CHOICE(struct cw_config_connection, unknown, "unknown", cw_config_unknowns, "close",
	               "A device that no identity source knows: close the connection after 5 s, or keep it until identifyTime."),
	CW_CONF(struct cw_config_connection, connect_ms, DURATION, "connectTimeout", "10s", "10ms", "5m", "How long one address may take to answer; all that a name has are tried."),
	CW_CONF(struct cw_config_connection, retry_min_ms, DURATION, "retryMin", "1s", "10ms", "1h",
	        "First wait before connecting again; doubles, with jitter. A connection that lasted for retryMax or 20 s starts it anew."),
	CW_CONF(struct cw_config_connection, retry_max_ms, DURATION, "retryMax", "60s", "10ms", "24h", "Longest wait before connecting again."),
	CW_CONF(struct cw_config_connection, keep_alive_ms, DURATION, "keepAlive", "60s", "0s", "9h",
	        "TCP keep-alive after so long without a byte, so that a device that vanished is noticed; 0s: none."),
	CW_CONF(struct cw_config_connection, keep_interval_ms, DURATION, "keepAliveInterval", "15s", "1s", "9h", "Between its probes."),
	CW_CONF(struct cw_config_connection, keep_probes, INT, "keepAliveProbes", "3", "1", "127", "Probes without an answer before the connection has ended."),
	CW_CONF_TABLES(struct cw_config_connection, serial, TABLE, "serial", &serial_table, "For serial lines."),
	CW_CONF_TABLES(struct cw_config_connection, tls, TABLE, "tls", &tls_table, "For tls://."),
	CW_CONF_TABLES(struct cw_config_connection, limits, TABLE, "limits", &limit_table, "Limits of this connection."),
	CW_CONF(struct cw_config_connection, settings, ANY, "settings", NULL, NULL, NULL,
	        "The protocol's settings on this connection, as on a listener; see the protocol's own reference."),
	CW_CONF_END
};
const struct cw_conf_table cw_config_connection_table = {
	.name = "connection", .size = sizeof(struct cw_config_connection), .settings = connection_settings, .check = check_connection
};

void cw_config_check_connections(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_value *where = cw_value_get(object, "connections");
	size_t i, k;

	for (i = 0; i < c->connections.count; i++) {
		const struct cw_config_connection *one = cw_conf_item(&c->connections, struct cw_config_connection, i);

		for (k = 0; k < i; k++) {
			const struct cw_config_connection *other = cw_conf_item(&c->connections, struct cw_config_connection, k);

			if (strcmp(one->name, other->name) == 0)
				cw_conf_error_at(report, where, "two connections are named \"%s\"", one->name);
			if (starts_with(one->to, "serial://") && strcmp(one->to, other->to) == 0)
				cw_conf_error_at(report, where, "connections \"%s\" and \"%s\" both use %s; one line is one connection", other->name, one->name,
				                 one->to + strlen("serial://"));
		}
		for (k = 0; k < c->listeners.count; k++)
			if (strcmp(one->name, cw_conf_item(&c->listeners, struct cw_config_listener, k)->name) == 0)
				cw_conf_error_at(report, where, "a listener and a connection are both named \"%s\"", one->name);
	}
}
