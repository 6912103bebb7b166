/* publish.c - one message from a client: whose it is, whether it may pass, the log; see cloud.h. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cloud/core/alink/alink.h"
#include "cloud/core/fault/disturb.h"
#include "cloud/core/model/script.h"
#include "cloud/core/parse.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/traffic/msglog.h"
#include "cloud/core/traffic/violations.h"

static int is_device(const struct cloud_device *d, const struct cloud_topic *t)
{
	size_t pk_len = (size_t)(d->dn - d->id) - 1;

	return pk_len == t->pk.len && memcmp(d->id, t->pk.s, pk_len) == 0 && strlen(d->dn) == t->dn.len &&
	       memcmp(d->dn, t->dn.s, t->dn.len) == 0; /* the topic's name may hold any byte */
}

/* The device that owns the topic, cached per link: publishes come in runs. */
static struct cloud_device *resolve(struct cw_cloud *c, struct cloud_link *l, const struct cloud_topic *t)
{
	struct cloud_device *d = l->last;

	if (t->dn.len == 0)
		return NULL;
	if (d != NULL && is_device(d, t))
		return d;
	d = cw_cloud_device_find(c, t->pk.s, t->pk.len, t->dn.s, t->dn.len);
	if (d != NULL)
		l->last = d;
	return d;
}

static int within_rate(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, uint8_t qos)
{
	uint64_t second = cw_cloud_now_ms(c) / 1000;
	unsigned limit = qos == 0 ? c->conf.limits.publish_qos0 : c->conf.limits.publish_qos1;

	/* Logins have limits of their own, and those are answered. */
	if (!c->conf.limits.documented || t->kind == CLOUD_TOPIC_SESSION)
		return 1;
	if (second != d->window_s) {
		d->window_s = second;
		d->window_qos[0] = d->window_qos[1] = d->window_down = 0;
	}
	return d->window_qos[qos != 0]++ < limit;
}

/* Tell the gateway, at most once a sub-device and second; the id is copied if the payload has one. */
static void report_520(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const void *payload, size_t len)
{
	uint64_t second = cw_cloud_now_ms(c) / 1000 + 1;
	json_t *body, *id;
	char number[24];

	if (d->error520_s == second)
		return;
	d->error520_s = second;
	body = cw_cloud_json(payload, len, 0, NULL);
	id = json_object_get(body, "id");
	(void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(id));
	cw_cloud_send_error(c, l->owner, d, 520,
	                    json_is_string(id) ? json_string_value(id) : json_is_integer(id) ? number : NULL);
	json_decref(body);
}

struct passage {
	enum cloud_verdict verdict;
	const char *reason;
	struct cloud_device *device;
	const struct alink_rule *rule;
};

static struct passage refuse(enum cloud_verdict verdict, const char *reason, struct cloud_device *d)
{
	return (struct passage){ verdict, reason, d, NULL };
}

static struct passage examine(struct cw_cloud *c, struct cloud_link *l, const struct cloud_topic *t, const char *topic,
                              size_t topic_len, uint8_t qos)
{
	struct cloud_device *d, *session;
	const struct alink_rule *rule = NULL;

	if (t->kind == CLOUD_TOPIC_BAD)
		return refuse(CLOUD_DROP_TOPIC, "topic names no device", l->owner);
	d = resolve(c, l, t);
	if (d == NULL)
		return refuse(CLOUD_DROP_TOPIC, "topic of an unknown device", l->owner);
	session = cw_cloud_session_on(l, d);
	if (session == NULL) {
		if (l->bridge || l->owner->product->type == CLOUD_NODE_GATEWAY)
			return refuse(CLOUD_DROP_SESSION, "sub-device has no session here", d);
		return refuse(CLOUD_DROP_TOPIC, "topic of another device", l->owner);
	}
	if (l->uplink_only && t->kind == CLOUD_TOPIC_SESSION)
		return refuse(CLOUD_DROP_TOPIC, "sub-devices need a standing connection", d);
	if (!within_rate(c, session, t, qos)) {
		cw_cloud_violation(c, d, qos == 0 ? "publishQos0" : "publishQos1", "dropped");
		return refuse(CLOUD_DROP_LIMIT, "over the device's publish rate", d);
	}
	if (!cw_cloud_window_ok(c, &c->account_up, c->conf.limits.account_up)) {
		cw_cloud_violation(c, d, "accountUp", "dropped");
		return refuse(CLOUD_DROP_LIMIT, "over the account's publish rate", d);
	}
	if (t->kind == CLOUD_TOPIC_CUSTOM) {
		if (!cw_cloud_topic_fits(topic, topic_len, c->conf.limits.topic_bytes, c->conf.limits.topic_slashes)) {
			cw_cloud_violation(c, d, topic_len > c->conf.limits.topic_bytes ? "topicBytes" : "topicSlashes", "dropped");
			return refuse(CLOUD_DROP_TOPIC, "custom topic longer than 128 bytes or deeper than 7 levels", d);
		}
		if (!cw_cloud_custom_valid(t->rest.s, t->rest.len, 0) ||
		    !cw_cloud_class_publishable(d->product, t->rest.s, t->rest.len))
			return refuse(CLOUD_DROP_TOPIC, "no topic class allows publishing", d);
	} else {
		rule = cw_cloud_alink_rule(t);
		if (rule == NULL)
			return refuse(CLOUD_DROP_TOPIC, "not a topic devices may publish to", d);
	}
	return (struct passage){ CLOUD_TAKEN, NULL, d, rule };
}

static void count_drop(struct cw_cloud *c, const struct passage *p, const char *topic, size_t topic_len)
{
	p->device->dropped++;
	if (p->verdict == CLOUD_DROP_LIMIT)
		c->stats.dropped_limit++;
	else if (p->verdict == CLOUD_DROP_SESSION)
		c->stats.dropped_session++;
	else
		c->stats.dropped_permission++;
	cw_log(cloud_dropped, p->reason, CW_LS("device", p->device->id), CW_LB("topic", topic, topic_len));
}

void cw_cloud_publish_refused(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len, uint8_t qos,
                              const char *reason)
{
	struct passage p = refuse(CLOUD_DROP_LIMIT, reason, cw_cloud_name_of(l->owner));

	cw_cloud_log_add(c->log, &(struct cloud_log_note){ .down = 0, .device = p.device->id, .topic = topic,
	                 .topic_len = topic_len, .payload = "", .qos = qos, .outcome = "refused", .reason = reason });
	count_drop(c, &p, topic, topic_len);
}

enum cloud_verdict cw_cloud_publish(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len,
                                    const void *payload, size_t len, uint8_t qos)
{
	if (cw_cloud_disturbed(c) || l->doomed)
		return cw_cloud_disturb_up(c, l, topic, topic_len, payload, len, qos);
	return cw_cloud_publish_now(c, l, topic, topic_len, payload, len, qos);
}

enum cloud_verdict cw_cloud_publish_now(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len,
                                        const void *payload, size_t len, uint8_t qos)
{
	const char *query = memchr(topic, '?', topic_len);
	struct cloud_topic t;
	struct passage p;

	if (query != NULL) /* ?_rid=..., for tracing; no part of the topic */
		topic_len = (size_t)(query - topic);
	cw_cloud_topic_parse(topic, topic_len, &t);
	p = examine(c, l, &t, topic, topic_len, qos);
	c->stats.published++;
	c->stats.published_bytes += len;
	cw_cloud_log_add(c->log, &(struct cloud_log_note){ .down = 0, .device = p.device->id, .topic = topic,
	                 .topic_len = topic_len, .payload = payload, .len = len, .qos = qos,
	                 .outcome = p.verdict == CLOUD_TAKEN ? "taken" : "dropped", .reason = p.reason });
	if (p.verdict != CLOUD_TAKEN) {
		count_drop(c, &p, topic, topic_len);
		if (p.verdict == CLOUD_DROP_SESSION)
			report_520(c, l, p.device, payload, len);
		return p.verdict;
	}
	p.device->up++;
	if (p.rule != NULL) {
		c->answering = l;
		cw_cloud_alink_handle(c, l, p.device, p.rule, &t, topic, topic_len, payload, len);
		c->answering = NULL;
	} else if (p.device->product->script != NULL) {
		cw_cloud_raw_custom(c, p.device, topic, topic_len, payload, len);
	}
	return CLOUD_TAKEN;
}
