/*
 * connections.c - from `connections` of the configuration to what the gateway dials, at the start and after a reload.
 *
 * A listener's new settings wait for new devices; a connection is the gateway's own, so one that changed is closed
 * and dialled again at once. Everything is checked before the first is closed.
 */
#include <string.h>

#include "base/mem.h"
#include "daemon/daemon.h"

static uint32_t seconds(int64_t ms)
{
	return (uint32_t)((ms + 999) / 1000);
}

void cw_daemon_connection(const struct cw_config_connection *from, struct cw_gateway_connection *c)
{
	*c = (struct cw_gateway_connection){
		.net = {
			.name = from->name,
			.to = from->to,
			.tls = { from->tls.ca, from->tls.certificate, from->tls.key, from->tls.key_store, from->tls.key_password,
			         from->tls.server_name, !from->tls.verify },
			.serial = {
				.baud = from->serial.baud,
				.parity = (enum cw_parity)from->serial.parity,
				.stop_bits = from->serial.stop_bits,
				.data_bits = from->serial.data_bits,
				.rs485 = from->serial.rs485,
				.rts_on_send = from->serial.rts_on_send,
				.before_ms = (uint32_t)from->serial.before_ms,
				.after_ms = (uint32_t)from->serial.after_ms,
			},
			.connect_ms = (uint64_t)from->connect_ms,
			.retry_min_ms = (uint64_t)from->retry_min_ms,
			.retry_max_ms = (uint64_t)from->retry_max_ms,
			.keep_alive_s = seconds(from->keep_alive_ms),
			.keep_interval_s = seconds(from->keep_interval_ms),
			.keep_probes = from->keep_probes,
			.limits = {
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
		.identity = from->identity,
	};
}

struct item {
	struct cw_gateway_connection c;
	const struct cw_config_connection *from;
	uint8_t *settings; /* owned */
};

static int make_item(struct cw_daemon *d, const struct cw_config_connection *from, struct item *it, struct cw_msg *msg)
{
	size_t len;
	int rc;

	it->from = from;
	cw_daemon_connection(from, &it->c);
	rc = cw_daemon_encode(d, "connection", from->name, from->protocol, from->settings, &it->settings, &len, msg);
	if (rc < 0)
		return rc;
	it->c.rules.settings = cw_bytes_of(it->settings, len);
	return cw_dial_check(&it->c.net, msg);
}

static void close_gone(struct cw_daemon *d, const struct item *items, size_t count)
{
	size_t i = cw_gateway_connection_count(d->gateway), k;
	const char *protocol;

	while (i-- > 0) {
		const char *name = cw_dial_name(cw_gateway_connection(d->gateway, i, &protocol));

		for (k = 0; k < count && strcmp(items[k].c.net.name, name) != 0; k++)
			;
		if (k == count)
			cw_gateway_close_connection(d->gateway, name);
	}
}

/* Close what has gone or changed before anything is made: a serial line may have passed from one entry to another. */
static int apply(struct cw_daemon *d, struct item *items, size_t count, struct cw_msg *msg)
{
	size_t i;
	int rc;

	close_gone(d, items, count);
	for (i = 0; i < count; i++) {
		rc = cw_gateway_update_connection(d->gateway, &items[i].c, msg);
		if (rc == CW_EINVAL)
			cw_gateway_close_connection(d->gateway, items[i].c.net.name);
		else if (rc < 0 && rc != CW_ENOENT)
			return cw_config_placed(&items[i].from->origin, rc, msg);
		items[i].c.net.name = rc == 0 ? NULL : items[i].c.net.name; /* NULL: it is there and stays */
	}
	for (i = 0; i < count; i++) {
		if (items[i].c.net.name == NULL)
			continue;
		rc = cw_config_placed(&items[i].from->origin, cw_gateway_add_connection(d->gateway, &items[i].c, msg), msg);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int cw_daemon_apply_connections(struct cw_daemon *d, struct cw_msg *msg)
{
	size_t count = d->config->connections.count, i;
	struct item *items = cw_calloc(count + 1, sizeof(*items));
	int rc = 0;

	if (items == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	for (i = 0; i < count && rc == 0; i++) {
		const struct cw_config_connection *from = cw_conf_item(&d->config->connections, struct cw_config_connection, i);

		rc = cw_config_placed(&from->origin, make_item(d, from, &items[i], msg), msg);
	}
	if (rc == 0)
		rc = apply(d, items, count, msg);
	for (i = 0; i < count; i++)
		cw_free(items[i].settings);
	cw_free(items);
	return rc;
}
