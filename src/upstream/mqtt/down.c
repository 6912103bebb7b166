/*
 * down.c - messages from the platform: replies to what was asked, notices to the
 * gateway, and commands for devices, which become records for the bridge. What is not
 * understood is counted and logged, never answered.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "platform/codes.h"
#include "upstream/mqtt/mqtt.h"

static int is_ours(struct mqtt *m, const struct cw_topic *t)
{
	return cw_topic_is(t->pk, m->pk) && cw_topic_is(t->dn, m->dn);
}

/* The device that {productKey, deviceName} names. */
static struct cw_updevice *named_device(struct mqtt *m, struct cw_bytes map)
{
	return map.len == 0 ? NULL
			    : cw_upstream_find(m->u, cw_map_text(map, "productKey"), cw_map_text(map, "deviceName"));
}

/* An error without being asked: a device was kicked, or published without a session. */
static void take_error(struct mqtt *m, const struct cw_alink_reply *r, struct cw_bytes topic)
{
	struct cw_updevice *d = named_device(m, r->data);

	if (d == NULL && r->has_id)
		d = mqtt_post_device(m, r->id);
	cw_log(upstream_reply_failed, r->message[0] != '\0' ? r->message : cw_code_text(r->code),
	       CW_LS("upstream", m->u->conf.name), CW_LS("device", d != NULL ? d->device_name : "unknown"),
	       CW_LI("code", r->code));
	if (d == NULL || r->code == CW_ALINK_CODE_NONE) {
		cw_message_odd(m->u, "an error that names no device of ours", topic);
		return;
	}
	mqtt_device_kicked(m, d, r->code, r->message);
}

static void take_session(struct mqtt *m, const struct cw_topic *t, const struct cw_alink_reply *r,
			 struct cw_bytes topic)
{
	if (cw_topic_is(t->rest, "login_reply") || cw_topic_is(t->rest, "batch_login_reply")) {
		if (!mqtt_request_replied(m, ASK_LOGIN, r))
			cw_message_odd(m->u, "a login reply that nobody waits for", topic);
		return;
	}
	if (!cw_topic_is(t->rest, "logout_reply") && !cw_topic_is(t->rest, "batch_logout_reply")) {
		cw_message_odd(m->u, "not understood", topic);
		return;
	}
	if (mqtt_request_replied(m, ASK_LOGOUT, r) || r->code == CW_CODE_OK)
		return;
	take_error(m, r, topic); /* older platforms tell kicks this way */
}

/* Say 200 to one of the platform's own requests to the gateway. */
static void agree(struct mqtt *m, const struct cw_alink_reply *r, struct cw_bytes topic)
{
	char to[CW_TOPIC_MAX], id[24], *text;
	size_t len;
	int n = snprintf(to, sizeof(to), "%.*s_reply", (int)topic.len, (const char *)topic.ptr);

	(void)snprintf(id, sizeof(id), "%u", r->id);
	if (n < 0 || (size_t)n >= sizeof(to) || !r->has_id)
		return;
	if (cw_alink_answer(id, CW_CODE_OK, cw_bytes_of(NULL, 0), &text, &len) == 0)
		(void)mqtt_say(m, to, text, len);
}

static void each_listed(struct mqtt *m, struct cw_bytes array, int status)
{
	struct cw_reader r = cw_reader_of(array);
	struct cw_item list = cw_read_item(&r);

	while (cw_item_more(&r, &list)) {
		struct cw_updevice *d = named_device(m, cw_read_whole_item(&r));

		if (d != NULL)
			mqtt_device_related(m, d, status);
	}
}

static int take_gateway(struct mqtt *m, const struct cw_topic *t, const struct cw_alink_reply *r, struct cw_bytes topic)
{
	struct cw_bytes list;

	if (cw_topic_is(t->rest, "thing/sub/register_reply") ||
	    cw_topic_is(t->rest, "thing/proxy/provisioning/product_register_reply")) {
		if (!mqtt_enroll_replied(m, r)) /* it may hold a secret: of whom is in the platform's log */
			cw_message_odd(m->u, "a registration that nobody waits for", topic);
		return 1;
	}
	if (mqtt_self_take(m, t, r)) {
		if (cw_topic_is(t->rest, "thing/config/push"))
			agree(m, r, topic);
		return 1;
	}
	if (cw_topic_is(t->rest, "thing/topo/add_reply")) {
		if (!mqtt_request_replied(m, ASK_TOPO, r))
			cw_message_odd(m->u, "a topology reply that nobody waits for", topic);
		return 1;
	}
	if (cw_topic_is(t->rest, "thing/topo/change")) {
		list = cw_map_get(r->params, "subList");
		agree(m, r, topic);
		each_listed(m, list.len > 0 ? list : cw_map_get(r->params, "sublist"),
			    (int)cw_map_int(r->params, "status", -1));
		return 1;
	}
	if (cw_topic_is(t->rest, "thing/topo/add/notify")) {
		agree(m, r, topic);
		each_listed(m, r->params, -1); /* wakes those of ours that wait; their topology add follows */
		return 1;
	}
	return 0;
}

static void take_reply(struct mqtt *m, const struct cw_topic *t, struct cw_bytes payload, struct cw_bytes topic)
{
	struct cw_alink_reply r;
	int rc = cw_alink_reply(payload, &r);

	if (rc < 0) {
		cw_message_odd(m->u, "a reply that is not JSON", topic);
		return;
	}
	if (cw_topic_is(t->rest, "thing/event/property/pack/post_reply") && is_ours(m, t))
		mqtt_pack_replied(m, &r);
	else if (!mqtt_post_replied(m, &r) && r.code != CW_CODE_OK)
		cw_log(upstream_reply_failed, r.message[0] != '\0' ? r.message : cw_code_text(r.code),
		       CW_LB("topic", topic.ptr, topic.len), CW_LI("code", r.code));
	cw_alink_reply_drop(&r);
}

static int is_config(const struct cw_topic *t)
{
	return cw_topic_is(t->rest, "thing/config/push") || cw_topic_is(t->rest, CW_TOPIC_CONFIG_REPLY);
}

/* Is this a topic of the gateway's own work, not of a device that has the bridge's identity? */
static int for_gateway(struct mqtt *m, const struct cw_topic *t)
{
	static const char *const prefixes[] = { "thing/topo/", "thing/sub/", "thing/proxy/", "thing/config/log/", "thing/log/" };
	struct cw_bytes rest;
	size_t i;

	if (t->kind == CW_TOPIC_SYS && is_config(t)) /* a device that has the bridge's identity gets its own */
		return is_ours(m, t) && cw_upstream_find(m->u, t->pk, t->dn) == NULL;
	for (i = 0; t->kind == CW_TOPIC_SYS && i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (cw_topic_after(t->rest, prefixes[i], &rest))
			return is_ours(m, t);
	return 0;
}

/* Messages with an Alink envelope that are for the gateway itself. 1 when dealt with. */
static int take_envelope(struct mqtt *m, const struct cw_topic *t, struct cw_bytes topic, struct cw_bytes payload)
{
	int gateway = for_gateway(m, t);
	struct cw_alink_reply r;

	if (t->kind != CW_TOPIC_SESSION && t->kind != CW_TOPIC_ERROR && !gateway)
		return 0;
	if (!is_ours(m, t) || cw_alink_reply(payload, &r) < 0) {
		cw_message_odd(m->u, "malformed, or for another gateway", topic);
		return 1;
	}
	if (t->kind == CW_TOPIC_SESSION)
		take_session(m, t, &r, topic);
	else if (t->kind == CW_TOPIC_ERROR)
		take_error(m, &r, topic);
	else if (!take_gateway(m, t, &r, topic))
		cw_message_odd(m->u, "not understood", topic);
	explicit_bzero(r.item, r.item_len); /* registrations hold secrets */
	cw_alink_reply_drop(&r);
	return 1;
}

/* Pushed to a client that logged in with nothing but a certificate. */
static void take_identity(struct mqtt *m, struct cw_bytes topic, struct cw_bytes payload)
{
	struct cw_alink_reply r;

	if (cw_alink_reply(payload, &r) < 0) {
		cw_message_odd(m->u, "malformed", topic);
		return;
	}
	mqtt_identity(m, cw_map_text(cw_bytes_of(r.item, r.item_len), "productKey"),
		      cw_map_text(cw_bytes_of(r.item, r.item_len), "deviceName"));
	cw_alink_reply_drop(&r);
}

void mqtt_message(struct mqtt *m, struct cw_bytes topic, struct cw_bytes payload)
{
	struct cw_topic t;

	cw_count(upstream, downlinks);
	if (cw_topic_is(topic, "/ext/auth/identity/response")) {
		take_identity(m, topic, payload);
		return;
	}
	cw_topic_parse(topic, &t);
	if (take_envelope(m, &t, topic, payload))
		return;
	switch (t.kind) {
	case CW_TOPIC_SYS:
		if (cw_topic_is_reply(&t)) {
			if (!cw_topic_is(
				    t.rest,
				    "thing/model/up_raw_reply")) /* bytes of the product's script: for nobody here */
				take_reply(m, &t, payload, topic);
			return;
		}
		break;
	case CW_TOPIC_NTP:
		if (!is_ours(m, &t) || mqtt_self_time(m, payload) < 0)
			cw_message_odd(m->u, "not understood", topic);
		return;
	case CW_TOPIC_UNKNOWN: cw_message_odd(m->u, "not understood", topic); return;
	default: break;
	}
	(void)cw_message_take(m->u, &t, topic, payload, 0); /* Paho has acknowledged it already */
}

void mqtt_answer(void *connector, struct cw_downlink *d)
{
	struct mqtt *m = connector;
	struct cw_updevice *of = cw_upstream_find(m->u, cw_bytes_text(d->product_key), cw_bytes_text(d->device_name));
	char *text = NULL;
	size_t len = 0;
	int rc;

	if (of == NULL ||
	    mqtt_device_of(of)->phase != PHASE_UP) { /* a publish without session is dropped, and costs a kick */
		cw_count(upstream, answers_lost);
		return;
	}
	rc = cw_message_answer(d, &text, &len);
	if (rc == 0)
		rc = mqtt_say(m, d->answer_topic, text, len);
	if (rc == 0)
		cw_count(upstream, answers);
	else
		cw_count(upstream, answers_lost);
}
