/* settings.c - what can be set of an upstream of type broker, and what of it makes no sense. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "upstream/broker/broker.h"

static const char *const versions[] = { "3.1.1", "5", NULL };
static const char *const payloads[] = { "alink", "plain", NULL };
const char *const broker_kind_names[] = { "property", "event", "tag", "raw", "ota", "history", NULL };

#define TOPIC_ALINK "site/${productKey}/${deviceName}/${kind}"
#define TOPIC_PLAIN "site/${productKey}/${deviceName}/${kind}/${name}"

static const struct cw_conf_setting settings[] = {
	CW_CONF_CHOICE(struct broker_settings, client, "client", cw_mqtt_client_names, "mosquitto",
		       "MQTT client library. mosquitto costs a tenth of paho a message."),
	CW_CONF_CHOICE(struct broker_settings, version, "mqttVersion", versions, "3.1.1",
		       "MQTT version to speak. With 5 the broker can say why it refuses a message."),
	CW_CONF(struct broker_settings, client_id, STRING, "clientId", NULL, NULL, NULL,
		"MQTT client id, one for each gateway at a broker; default: causeway-HOST-UPSTREAM."),
	CW_CONF(struct broker_settings, user, STRING, "user", NULL, NULL, NULL, "User name at the broker."),
	CW_CONF(struct broker_settings, password, SECRET, "password", NULL, NULL, NULL,
		"Password at the broker; file:PATH reads it from a file."),
	CW_CONF(struct broker_settings, clean_session, BOOL, "cleanSession", "true", NULL, NULL,
		"false: the broker keeps commands while the gateway is away. MQTT 3.1.1 only."),
	CW_CONF_CHOICE(
		struct broker_settings, payload, "payload", payloads, "alink",
		"alink: one JSON message a record, as the platform defines them. plain: one message a property or tag "
		"with nothing but its value, events as JSON {time, value}."),
	CW_CONF(struct broker_settings, topic, STRING, "topic", NULL, NULL, NULL,
		"Topic of records. Variables: ${productKey}, ${deviceName}, ${kind} (property, event, tag, raw, ota, "
		"history) and "
		"${name} (with plain the property or tag; an event's name; a raw record's own topic; else post, "
		"version or "
		"progress). Default: " TOPIC_ALINK ", with plain " TOPIC_PLAIN "."),
	CW_CONF(struct broker_settings, retain, STRINGS, "retain", NULL, NULL, NULL,
		"Kinds of records the broker keeps for those who subscribe later: property, event, tag, raw, ota. "
		"Default: none."),
	CW_CONF(struct broker_settings, state, STRING, "state", "site/${productKey}/${deviceName}/state", NULL, NULL,
		"Topic of a device's state: online or offline, retained. Empty: none."),
	CW_CONF(struct broker_settings, bridge_state, STRING, "bridgeState", "site/bridges/${clientId}/state", NULL,
		NULL,
		"Topic of the gateway's own state, retained; the broker's last will says offline there. Empty: none."),
	CW_CONF(struct broker_settings, command, STRING, "command", "site/${productKey}/${deviceName}/command/${name}",
		NULL, NULL,
		"Topic on which commands come. ${name}: set, get, raw, or the name of a service; ${request} (may be "
		"left out): the "
		"caller's id. Each must be a whole level. Empty: no commands."),
	CW_CONF(struct broker_settings, reply, STRING, "reply", "site/${productKey}/${deviceName}/reply/${name}", NULL,
		NULL,
		"Topic of the answer to a command, with the command's variables: JSON {id, code, data}. Empty: none."),
	CW_CONF(struct broker_settings, qos, INT, "qos", "1", "0", "1", "QoS of records; raw ones say it themselves."),
	CW_CONF(struct broker_settings, keep_alive_ms, DURATION, "keepAlive", "60s", "30s", "1200s",
		"MQTT keep-alive; a gateway that has vanished is declared offline by the broker after one and a half "
		"of it."),
	CW_CONF(struct broker_settings, in_flight, INT, "inFlight", "100", "1", "1000",
		"Messages sent and not yet confirmed. The client library goes through all of them with each one: more "
		"than some "
		"hundred pay only where the broker is far away."),
	CW_CONF(struct broker_settings, max_devices, INT, "maxDevices", "200000", "1", "1000000",
		"Devices online at once behind this upstream; no more are taken."),
	CW_CONF_END
};

const struct cw_conf_table cw_upstream_broker_table = { .name = "upstream",
							.size = sizeof(struct broker_settings),
							.settings = settings };

int broker_configure(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg)
{
	const struct broker_settings *own = conf->own;

	if (conf->confirm_reply)
		return cw_fail(msg, CW_ECONF, "confirm: nobody replies over a plain broker; leave out confirm = reply");
	if (conf->endpoint == NULL)
		return cw_fail(msg, CW_ECONF, "endpoint is missing; it looks like tcp://host:1883 or ssl://host:8883");
	conf->keep_alive_s = (unsigned)(own->keep_alive_ms / 1000);
	conf->in_flight = own->in_flight;
	conf->qos = (int)own->qos;
	conf->max_devices = own->max_devices;
	conf->login_batch = 1;
	conf->post_version = 1;
	return 0;
}

static const struct cw_endpoint_scheme schemes[] = { { .name = "tcp" }, { .name = "ssl", .tls = 1 }, { .name = NULL } };
const struct cw_endpoint_form broker_endpoint_form = { schemes, "tcp:// or ssl://",
						       "tcp://host:1883 or tcp://[2001:db8::1]:1883" };

static int take_endpoint(struct broker *b, const char *text, struct cw_msg *msg)
{
	struct cw_endpoint at;
	int rc;

	if (strncmp(text, "ws", 2) == 0 && b->ops == &cw_mqtt_mosquitto)
		return cw_fail(msg, CW_ECONF, "endpoint: '%s': client mosquitto has no WebSocket; use tcp:// or ssl://",
			       text);
	rc = cw_endpoint_parse(text, &broker_endpoint_form, &at, msg);
	if (rc < 0)
		return rc;
	(void)snprintf(b->host, sizeof(b->host), "%s", at.host);
	b->port = (int)at.number;
	b->tls = at.scheme->tls;
	return 0;
}

static int take_client_id(struct broker *b, struct cw_msg *msg)
{
	char node[65] = "";

	(void)gethostname(node, sizeof(node) - 1);
	if (b->own->client_id == NULL || b->own->client_id[0] == '\0')
		(void)snprintf(b->client_id, sizeof(b->client_id), "causeway-%s-%.40s", node, b->u->conf.name);
	else if (strlen(b->own->client_id) >= sizeof(b->client_id))
		return cw_fail(msg, CW_ECONF, "clientId is longer than %zu bytes", sizeof(b->client_id) - 1);
	else
		(void)snprintf(b->client_id, sizeof(b->client_id), "%s", b->own->client_id);
	return 0;
}

static int take_retain(struct broker *b, struct cw_msg *msg)
{
	size_t i, k;

	for (i = 0; i < b->own->retain.count; i++) {
		for (k = 0; k < BROKER_HISTORY; k++)
			if (strcmp(b->own->retain.items[i], broker_kind_names[k]) == 0)
				break;
		if (k == BROKER_HISTORY)
			return cw_fail(msg, CW_ECONF, "retain: '%s' is not one of property, event, tag, raw, ota",
				       b->own->retain.items[i]);
		b->retain |= 1u << k;
	}
	return 0;
}

/* What we publish ourselves must not come back as a command: an answer would be answered, and that again. */
static int check_echo(const struct broker *b, struct cw_msg *msg)
{
	const struct broker_settings *s = b->own;
	const struct {
		const char *key, *text;
	} ours[] = { { "topic", b->topic }, { "reply", s->reply }, { "state", s->state }, { "bridgeState", s->bridge_state } };
	size_t i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (ours[i].text[0] != '\0' && broker_template_meets(s->command, ours[i].text))
			return cw_fail(msg, CW_ECONF, "command: '%s' and %s: '%s' can be one topic; what is published there would come back as a command",
				       s->command, ours[i].key, ours[i].text);
	return 0;
}

static int take_templates(struct broker *b, struct cw_msg *msg)
{
	const struct broker_settings *s = b->own;
	unsigned asked = BROKER_DEVICE | BROKER_VAR(NAME) | BROKER_VAR(REQUEST);
	struct broker_vars vars = { 0 };
	int rc;

	b->topic = s->topic != NULL ? s->topic : s->payload == BROKER_PLAIN ? TOPIC_PLAIN : TOPIC_ALINK;
	rc = broker_template_check("topic", b->topic, BROKER_DEVICE | BROKER_VAR(KIND) | BROKER_VAR(NAME),
				   BROKER_VAR(DEVICE_NAME) | (s->payload == BROKER_PLAIN ? BROKER_VAR(NAME) : 0), 0,
				   msg);
	if (rc == 0 && s->state[0] != '\0')
		rc = broker_template_check("state", s->state, BROKER_DEVICE, BROKER_VAR(DEVICE_NAME), 0, msg);
	if (rc == 0 && s->command[0] != '\0')
		rc = broker_template_check("command", s->command, asked, BROKER_DEVICE | BROKER_VAR(NAME), 1, msg);
	if (rc == 0 && s->reply[0] != '\0')
		rc = broker_template_check("reply", s->reply, asked, 0, 0, msg);
	if (rc == 0 && s->bridge_state[0] != '\0')
		rc = broker_template_check("bridgeState", s->bridge_state, BROKER_VAR(CLIENT_ID), 0, 0, msg);
	if (rc == 0 && s->command[0] != '\0')
		rc = check_echo(b, msg);
	if (rc < 0 || s->bridge_state[0] == '\0')
		return rc;
	vars.of[BROKER_CLIENT_ID] = cw_bytes_text(b->client_id);
	if (broker_template_fill(s->bridge_state, &vars, b->bridge_topic, sizeof(b->bridge_topic)) < 0)
		return cw_fail(msg, CW_ECONF,
			       "bridgeState: the client id '%s' cannot stand in a topic; give another clientId",
			       b->client_id);
	return 0;
}

int broker_settings_take(struct broker *b, struct cw_msg *msg)
{
	const struct broker_settings *s = b->own;
	int rc = take_endpoint(b, b->u->conf.endpoint, msg);

	if (rc == 0 && b->tls && b->u->conf.verify && strchr(b->host, ':') != NULL && !(b->ops->can & CW_MQTT_CAN_TLS6))
		rc = cw_fail(msg, CW_ECONF, "endpoint: the client library %s cannot check the certificate of an IPv6 address; "
			     "give a name instead, or say client = mosquitto", b->ops->name);
	if (rc == 0 && s->version == 1 && !s->clean_session)
		rc = cw_fail(msg, CW_ECONF, "cleanSession = false needs mqttVersion = \"3.1.1\"");
	if (rc == 0 && s->password != NULL && s->user == NULL)
		rc = cw_fail(msg, CW_ECONF, "password without user: MQTT 3.1.1 does not have that; give both");
	if (rc == 0)
		rc = take_client_id(b, msg);
	if (rc == 0)
		rc = take_retain(b, msg);
	return rc < 0 ? rc : take_templates(b, msg);
}
