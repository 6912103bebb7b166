/* send.c - from the platform to a device: subscriptions, outcomes, the log; see cloud.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cloud/core/fault/disturb.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/traffic/msglog.h"
#include "cloud/core/traffic/violations.h"

static const struct {
	int code;
	const char *text;
} code_texts[] = {
	{ 200, "success" },
	{ 400, "request error" },
	{ 401, "request auth error" },
	{ 427, "device connect in elsewhere" },
	{ 428, "too many subdevices under gateway" },
	{ 429, "rate limit, too many subDeviceOnline msg in one minute" },
	{ 460, "request parameter error" },
	{ 500, "server error" },
	{ 520, "device session error" },
	{ 521, "device deleted" },
	{ 522, "device forbidden" },
	{ 5160, "no such event in the model" },
	{ 5161, "no such service in the model" },
	{ 6100, "device not found" },
	{ 6104, "too many desired properties" },
	{ 6106, "too many properties" },
	{ 6203, "topic cannot be parsed" },
	{ 6204, "device disabled" },
	{ 6207, "payload is not JSON" },
	{ 6250, "product not found" },
	{ 6280, "device name is illegal" },
	{ 6287, "invalid sign" },
	{ 6288, "dynamic registration is off" },
	{ 6289, "device is active already" },
	{ 6292, "sign method not supported" },
	{ 6280, "device name is illegal" },
	{ 6300, "method is wrong" },
	{ 6301, "not an array" },
	{ 6302, "a required input is missing" },
	{ 6304, "no such member of the struct" },
	{ 6306, "not an int of the model" },
	{ 6307, "not a float of the model" },
	{ 6308, "not a bool of the model" },
	{ 6309, "not an enum of the model" },
	{ 6310, "not a text of the model" },
	{ 6311, "not a date of the model" },
	{ 6312, "not a struct of the model" },
	{ 6317, "the model is incomplete" },
	{ 6320, "no such property in the model" },
	{ 6321, "the identifier is empty or too long" },
	{ 6322, "not a double of the model" },
	{ 6324, "the array does not fit the model" },
	{ 6325, "an element of the array does not fit the model" },
	{ 6326, "the time is no number of milliseconds" },
	{ 6328, "not an array of the model" },
	{ 6356, "too many events" },
	{ 6357, "too many subdevices in a pack" },
	{ 6450, "the script's result has no method" },
	{ 6400, "too many topology relations" },
	{ 6401, "topo relation not exist" },
	{ 6402, "gateway and subdevice are the same" },
	{ 6600, "invalid product sign" },
	{ 6619, "device is bound to another gateway" },
	{ 6710, "no configuration" },
	{ 26001, "the product has no script" },
	{ 26002, "the script failed" },
	{ 26006, "the script lacks a function" },
	{ 26007, "the script's result is of the wrong type" },
	{ 26010, "too many messages wait for the script" },
	{ 6713, "configuration service is off" },
	{ 6717, "getType is wrong" },
	{ 6718, "configScope is wrong" },
};

const char *cw_cloud_code_text(int code)
{
	size_t i;

	for (i = 0; i < sizeof(code_texts) / sizeof(code_texts[0]); i++) {
		if (code_texts[i].code == code)
			return code_texts[i].text;
	}
	return "refused";
}

const char *cw_cloud_outcome_name(enum cloud_outcome o)
{
	static const char *const names[] = { "delivered", "stored", "offline", "unsubscribed", "limited", "nomem" };

	return names[o];
}

struct cloud_msg *cw_cloud_msg_new(const char *topic, size_t topic_len, const void *payload, size_t len, uint8_t qos)
{
	struct cloud_msg *m = cw_alloc(sizeof(*m) + topic_len + 1 + len + 1);

	if (m == NULL)
		return NULL;
	m->refs = 1;
	m->qos = qos;
	m->topic_len = topic_len;
	m->len = len;
	memcpy(m->topic, topic, topic_len);
	m->topic[topic_len] = '\0';
	if (len != 0)
		memcpy(m->topic + topic_len + 1, payload, len);
	m->topic[topic_len + 1 + len] = '\0';
	return m;
}

void cw_cloud_msg_unref(struct cloud_msg *msg)
{
	if (msg != NULL && --msg->refs == 0)
		cw_free(msg);
}

/* The call to all online devices of a product reaches each of them without a subscription. */
static int is_broadcast(const char *topic)
{
	return strncmp(topic, "/sys/", 5) == 0 && strstr(topic, "/broadcast/request/") != NULL;
}

static int wants(struct cw_cloud *c, const struct cloud_device *to, const char *topic, size_t len, unsigned flags,
                 const char **ret_why)
{
	struct cloud_topic t;

	if ((flags & CLOUD_ALWAYS) != 0)
		return 1;
	cw_cloud_topic_parse(topic, len, &t);
	*ret_why = "not subscribed";
	if (to->ss && cw_cloud_topic_is_system(&t))
		return 1;
	return is_broadcast(topic) || cw_cloud_device_subscribed(c, to, topic, len);
}

/* Custom topics: the platform sends only where a class allows subscribing, whatever the way and whoever is away. */
static int permitted(const struct cloud_device *to, const char *topic, size_t len, unsigned flags)
{
	struct cloud_topic t;

	if ((flags & CLOUD_ALWAYS) != 0)
		return 1;
	cw_cloud_topic_parse(topic, len, &t);
	return t.kind != CLOUD_TOPIC_CUSTOM || cw_cloud_class_subscribable(to->product, t.rest.s, t.rest.len);
}

/* The link that takes a message: a reply goes where its request came from. */
static struct cloud_link *way_to(const struct cw_cloud *c, const struct cloud_device *to, unsigned flags)
{
	struct cloud_link *l = c->answering;

	return (flags & CLOUD_REPLY) != 0 && l != NULL && l->owner == to ? l : to->link;
}

/* Is the device offline for this message, and if so, is it kept? Or over its rate? */
static enum cloud_outcome judge(struct cw_cloud *c, struct cloud_device *to, const char *topic, size_t topic_len,
                                uint8_t qos, unsigned flags, const char **ret_why)
{
	uint64_t second = cw_cloud_now_ms(c) / 1000;
	const struct cloud_link *l = way_to(c, to, flags);
	int wanted;

	*ret_why = "no topic class allows subscribing";
	if (!permitted(to, topic, topic_len, flags))
		return CLOUD_UNSUBSCRIBED;
	wanted = (l != NULL && (l->uplink_only || l->bridge)) || wants(c, to, topic, topic_len, flags, ret_why);

	if (l == NULL) {
		int kept = (to->persistent && wanted) || to->pull_until_ms > cw_cloud_wall_ms(c);

		return qos != 0 && kept && !cw_cloud_name_of(to)->disabled && (flags & CLOUD_NOW) == 0 ? CLOUD_STORED : CLOUD_OFFLINE;
	}
	if (l->resting) /* the bridge keeps it until it is back */
		return qos != 0 && (flags & CLOUD_NOW) == 0 ? CLOUD_STORED : CLOUD_OFFLINE;
	if (!wanted)
		return CLOUD_UNSUBSCRIBED;
	*ret_why = "over the device's downlink rate";
	if (second != to->window_s) {
		to->window_s = second;
		to->window_qos[0] = to->window_qos[1] = to->window_down = 0;
	}
	/* Replies (QoS 0) answer what was admitted by the uplink's limit. */
	if (c->conf.limits.documented && qos != 0 && to->window_down++ >= c->conf.limits.down_per_second) {
		cw_cloud_violation(c, to, "downPerSecond", "not sent");
		return CLOUD_LIMITED;
	}
	*ret_why = "over the account's downlink rate";
	if (qos != 0 && !cw_cloud_window_ok(c, &c->account_down, c->conf.limits.account_down)) {
		cw_cloud_violation(c, to, "accountDown", "not sent");
		return CLOUD_LIMITED;
	}
	return CLOUD_DELIVERED;
}

/* To one session of a device. */
static enum cloud_outcome send_one(struct cw_cloud *c, struct cloud_device *to, const char *topic, const void *payload, size_t len,
                                   uint8_t qos, unsigned flags)
{
	static const char hidden[] = "(holds a secret, not shown)";
	size_t topic_len = strlen(topic);
	int secret = (flags & CLOUD_SECRET) != 0;
	const char *why = NULL, *reason = NULL;
	enum cloud_outcome outcome = judge(c, to, topic, topic_len, qos, flags, &why);
	struct cloud_msg *msg;

	if (outcome == CLOUD_STORED && way_to(c, to, flags) == NULL && cw_cloud_stored_full(c, to)) {
		outcome = CLOUD_LIMITED;
		why = "as many messages as are kept for it wait already";
	}
	if (outcome == CLOUD_DELIVERED || outcome == CLOUD_STORED) {
		msg = cw_cloud_msg_new(topic, topic_len, payload, len, qos);
		if (msg == NULL)
			outcome = CLOUD_NOMEM;
		else if (outcome == CLOUD_STORED && way_to(c, to, flags) == NULL)
			cw_cloud_store(c, to, msg, 0);
		else
			reason = cw_cloud_push(c, way_to(c, to, flags), to, msg, 0);
		cw_cloud_msg_unref(msg);
	}
	if (outcome == CLOUD_DELIVERED) {
		c->stats.pushed++;
		cw_cloud_name_of(to)->down++;
	} else if (outcome != CLOUD_STORED) {
		c->stats.undeliverable++;
	}
	if (outcome == CLOUD_UNSUBSCRIBED || outcome == CLOUD_LIMITED)
		reason = why;
	cw_cloud_log_add(c->log, &(struct cloud_log_note){ .down = 1, .device = to->id, .topic = topic,
	                 .topic_len = topic_len, .payload = secret ? hidden : payload, .len = secret ? sizeof(hidden) - 1 : len, .qos = qos,
	                 .outcome = cw_cloud_outcome_name(outcome), .reason = reason });
	return outcome;
}

enum cloud_outcome cw_cloud_send(struct cw_cloud *c, struct cloud_device *to, const char *topic, const void *payload,
                                 size_t len, uint8_t qos, unsigned flags)
{
	const struct cloud_link *l = c->answering;
	enum cloud_outcome outcome, one;
	struct cloud_device *s;
	unsigned at = 0;

	if ((flags & CLOUD_REPLY) != 0 && l != NULL && l->owner != NULL && cw_cloud_name_of(l->owner) == to)
		return send_one(c, l->owner, topic, payload, len, qos, flags);
	outcome = send_one(c, to, topic, payload, len, qos, flags);
	while ((s = cw_cloud_next_session(to, &at)) != NULL) {
		one = send_one(c, s, topic, payload, len, qos, flags);
		if (one < outcome) /* delivered counts before stored, stored before the rest */
			outcome = one;
	}
	return outcome;
}

enum cloud_outcome cw_cloud_send_json(struct cw_cloud *c, struct cloud_device *to, const char *topic, json_t *body,
                                      uint8_t qos, unsigned flags)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	enum cloud_outcome outcome = CLOUD_NOMEM;

	if (text != NULL)
		outcome = cw_cloud_send(c, to, topic, text, strlen(text), qos, flags);
	free(text);
	json_decref(body);
	return outcome;
}

static enum cloud_outcome request(struct cw_cloud *c, struct cloud_device *to, const char *path, const char *method,
                                  json_t *params, unsigned flags)
{
	char topic[256], id[24];

	cw_cloud_next_id(c, id);
	(void)snprintf(topic, sizeof(topic), "/sys/%s/%s", to->id, path);
	return cw_cloud_send_json(c, to, topic, json_pack("{s:s, s:s, s:s, s:o}", "id", id, "version", "1.0", "method",
	                          method, "params", params), 1, flags);
}

enum cloud_outcome cw_cloud_request(struct cw_cloud *c, struct cloud_device *to, const char *path, const char *method,
                                    json_t *params)
{
	return request(c, to, path, method, params, 0);
}

enum cloud_outcome cw_cloud_request_now(struct cw_cloud *c, struct cloud_device *to, const char *path, const char *method,
                                        json_t *params)
{
	return request(c, to, path, method, params, CLOUD_NOW);
}

void cw_cloud_send_error(struct cw_cloud *c, struct cloud_device *gateway, const struct cloud_device *about, int code,
                         const char *id)
{
	char topic[256];

	if (gateway->link != NULL && gateway->link->ops->tell != NULL) {
		gateway->link->ops->tell(gateway->link, about, code);
		return;
	}
	if (c->conf.switches.kick_logout_reply && code != 520)
		(void)snprintf(topic, sizeof(topic), "/ext/session/%s/combine/logout_reply", gateway->id);
	else
		(void)snprintf(topic, sizeof(topic), "/ext/error/%s", gateway->id);
	cw_cloud_send_json(c, gateway, topic, json_pack("{s:s, s:i, s:s, s:{s:s, s:s}}", "id", id != NULL ? id : "0", "code",
	                   code, "message", cw_cloud_code_text(code), "data", "productKey", about->product->key,
	                   "deviceName", about->dn), 0, CLOUD_ALWAYS);
}
