/* alink.c - see alink.h. */
#include "cloud/core/alink/alink.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/alink/device_log.h"
#include "cloud/core/alink/job.h"
#include "cloud/core/alink/remote_config.h"
#include "cloud/core/alink/shadow.h"
#include "cloud/core/fault/delay.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/model/script.h"
#include "cloud/core/traffic/violations.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/parse.h"
#include "cloud/core/traffic/call.h"

#define REQUEST(pattern, handler)  { CLOUD_TOPIC_SYS, pattern, ALINK_REQUEST, handler, NULL, 0 }
#define GATEWAY(pattern, handler)  { CLOUD_TOPIC_SYS, pattern, ALINK_REQUEST, handler, NULL, 1 }
#define SESSION(pattern, handler)  { CLOUD_TOPIC_SESSION, pattern, ALINK_SESSION, handler, NULL, 1 }
#define ANSWER(pattern)            { CLOUD_TOPIC_SYS, pattern, ALINK_ANSWER, NULL, NULL, 0 }
#define RECORD(kind, pattern)      { kind, pattern, ALINK_RECORD, NULL, NULL, 0 }

/* What devices may publish to; most frequent first. A topic that is not here is undeclared. */
static const struct alink_rule rules[] = {
	REQUEST("thing/event/property/post", cw_cloud_property_post),
	REQUEST("thing/event/property/pack/post", cw_cloud_pack_post),
	REQUEST("thing/event/property/history/post", cw_cloud_history_post),
	REQUEST("thing/event/property/batch/post", cw_cloud_batch_post),
	REQUEST("thing/event/+/post", cw_cloud_event_post),
	{ CLOUD_TOPIC_SYS, "thing/model/up_raw", ALINK_RAW, NULL, NULL, 0 },
	{ CLOUD_TOPIC_SYS, "thing/model/down_raw_reply", ALINK_RAW_ANSWER, NULL, NULL, 0 },
	ANSWER("thing/service/property/set_reply"),
	ANSWER("thing/service/property/get_reply"),
	ANSWER("rrpc/response/+"),
	SESSION("combine/login", cw_cloud_login),
	SESSION("combine/batch_login", cw_cloud_batch_login),
	SESSION("combine/logout", cw_cloud_logout),
	SESSION("combine/batch_logout", cw_cloud_batch_logout),
	GATEWAY("thing/topo/add", cw_cloud_topo_add),
	GATEWAY("thing/topo/delete", cw_cloud_topo_delete),
	GATEWAY("thing/topo/get", cw_cloud_topo_get),
	GATEWAY("thing/list/found", cw_cloud_list_found),
	GATEWAY("thing/sub/register", cw_cloud_sub_register),
	GATEWAY("thing/sub/unregister", cw_cloud_sub_unregister),
	GATEWAY("thing/proxy/provisioning/product_register", cw_cloud_product_register),
	ANSWER("thing/topo/add/notify_reply"),
	ANSWER("thing/topo/change_reply"),
	ANSWER("thing/gateway/permit_reply"),
	ANSWER("thing/disable_reply"),
	ANSWER("thing/enable_reply"),
	ANSWER("thing/delete_reply"),
	ANSWER("thing/config/push_reply"),
	ANSWER("thing/bootstrap/notify_reply"),
	ANSWER("thing/model/config/push_reply"),
	REQUEST("thing/property/desired/get", cw_cloud_desired_get),
	REQUEST("thing/property/desired/delete", cw_cloud_desired_delete),
	REQUEST("thing/deviceinfo/update", cw_cloud_tags_update),
	REQUEST("thing/deviceinfo/delete", cw_cloud_tags_delete),
	REQUEST("thing/dsltemplate/get", cw_cloud_tsl_get),
	REQUEST("thing/dynamicTsl/get", cw_cloud_tsl_get_short),
	REQUEST("thing/config/get", cw_cloud_config_get),
	REQUEST("thing/config/log/get", cw_cloud_log_config_get),
	REQUEST("thing/log/post", cw_cloud_log_post),
	REQUEST("thing/reset", NULL),
	REQUEST("thing/ota/firmware/get", cw_cloud_ota_get),
	{ CLOUD_TOPIC_SYS, "thing/file/download", ALINK_SPECIAL, NULL, cw_cloud_ota_download, 0 },
	{ CLOUD_TOPIC_SYS, "_thing/diag/post", ALINK_SESSION, cw_cloud_diag_post, NULL, 0 },
	/* Official clients misspell the method. */
	{ CLOUD_TOPIC_SYS, "thing/job/get", ALINK_SESSION, cw_cloud_job_get, NULL, 0 },
	{ CLOUD_TOPIC_SYS, "thing/job/update", ALINK_SESSION, cw_cloud_job_update, NULL, 0 },
	ANSWER("thing/job/notify_reply"),
	{ CLOUD_TOPIC_NTP, "request", ALINK_SPECIAL, NULL, cw_cloud_ntp, 0 },
	{ CLOUD_TOPIC_OTA, "inform", ALINK_SPECIAL, NULL, cw_cloud_ota_inform, 0 },
	{ CLOUD_TOPIC_OTA, "progress", ALINK_SPECIAL, NULL, cw_cloud_ota_progress, 0 },
	{ CLOUD_TOPIC_OTA, "request", ALINK_SPECIAL, NULL, cw_cloud_ota_request, 0 },
	{ CLOUD_TOPIC_SHADOW, "update", ALINK_SPECIAL, NULL, cw_cloud_shadow, 0 },
};

/* thing/service/{service}_reply: the level's end is no wildcard of MQTT. */
static const struct alink_rule service_answer = ANSWER("thing/service/+");
/* The answer to a custom RRPC goes on the topic of the request, whatever that is. */
static const struct alink_rule rrpc_answer = { CLOUD_TOPIC_RRPC, "#", ALINK_ANSWER, NULL, NULL, 0 };

const struct alink_rule *cw_cloud_alink_rule(const struct cloud_topic *t)
{
	size_t i;

	if (t->kind == CLOUD_TOPIC_RRPC)
		return &rrpc_answer;
	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].kind == t->kind &&
		    cw_cloud_topic_matches(rules[i].pattern, strlen(rules[i].pattern), t->rest.s, t->rest.len))
			return &rules[i];
	}
	if (t->kind == CLOUD_TOPIC_SYS && t->rest.len > 6 && memcmp(t->rest.s + t->rest.len - 6, "_reply", 6) == 0 &&
	    cw_cloud_topic_matches(service_answer.pattern, strlen(service_answer.pattern), t->rest.s, t->rest.len))
		return &service_answer;
	return NULL;
}

/* The id as text into out: echoed as it came. 0, or CW_ENOENT. */
static int read_id(const json_t *body, char *out, size_t size)
{
	const json_t *id = json_object_get(body, "id");

	(void)snprintf(out, size, "0");
	if (json_is_string(id) && json_string_length(id) != 0 && json_string_length(id) < size)
		memcpy(out, json_string_value(id), json_string_length(id) + 1);
	else if (json_is_integer(id))
		(void)snprintf(out, size, "%lld", (long long)json_integer_value(id));
	else
		return CW_ENOENT;
	return 0;
}

/* thing/event/property/post -> thing.event.property.post */
static void method_of(const struct cloud_topic *t, char out[128])
{
	size_t i, n = t->rest.len < 127 ? t->rest.len : 127;

	for (i = 0; i < n; i++)
		out[i] = t->rest.s[i] == '/' ? '.' : t->rest.s[i];
	out[n] = '\0';
}

static int wants_reply(const json_t *body)
{
	const json_t *ack = json_object_get(json_object_get(body, "sys"), "ack");

	return !(json_is_integer(ack) && json_integer_value(ack) == 0) &&
	       !(json_is_string(ack) && strcmp(json_string_value(ack), "0") == 0);
}

static int judge(struct alink_request *r, const struct alink_rule *rule, const char *topic, size_t topic_len,
                 const char *method, int id_rc)
{
	const json_t *sent = json_object_get(r->body, "method");
	struct cloud_strike at = { .channel = r->channel, .device = r->device->id, .topic = topic,
		                   .topic_len = topic_len };

	if (r->body == NULL)
		return 6207;
	if (!json_is_object(r->body) || id_rc < 0)
		return 460;
	if (rule->mode == ALINK_REQUEST && sent != NULL &&
	    (!json_is_string(sent) || strcmp(json_string_value(sent), method) != 0))
		return 6300;
	r->params = json_object_get(r->body, "params");
	if (r->params == NULL)
		return 460;
	if (cw_cloud_fault(r->cloud, CLOUD_FAULT_REFUSE, &at))
		return at.code;
	if (rule->gateway && r->device->product->type != CLOUD_NODE_GATEWAY)
		return 460;
	return rule->handle != NULL ? rule->handle(r) : 200;
}

int cw_cloud_alink_exceeded(struct alink_request *r, const char *limit, int code)
{
	cw_cloud_violation(r->cloud, r->device, limit, "refused");
	return code;
}

static void reply(struct alink_request *r, const char *topic, size_t topic_len, const char *id, const char *method, int code)
{
	struct cw_cloud *c = r->cloud;
	char out[512];
	struct cloud_strike at = { .channel = r->channel, .device = r->device->id, .topic = topic,
		                   .topic_len = topic_len };
	unsigned flags = r->secret ? CLOUD_SECRET : 0;
	json_t *body;

	c->stats.replies++;
	if (code != 200)
		c->stats.replies_failed++;
	if (cw_cloud_fault(c, CLOUD_FAULT_REPLY, &at))
		return;
	if (!r->raw && topic_len + 7 > sizeof(out))
		return;
	(void)snprintf(out, sizeof(out), "%.*s_reply", (int)topic_len, topic);
	body = json_pack("{s:s, s:i, s:O, s:s, s:s, s:s}", "id", id, "code", code, "data", r->data, "message",
	                 cw_cloud_code_text(code), "method", method, "version", "1.0");
	if (cw_cloud_fault(c, CLOUD_FAULT_DELAY, &at) && !r->raw && r->link->uplink_only) {
		r->link->delay_ms += (unsigned)at.ms;
		at.ms = 0;
	}
	if (at.ms != 0)
		cw_cloud_delay(c, r->device, r->raw ? NULL : out, body, flags, (unsigned)at.ms);
	else if (r->raw)
		cw_cloud_raw_reply(c, r->device, body);
	else
		cw_cloud_send_json(c, r->device, out, body, 0, CLOUD_REPLY | flags);
}

/* r->body is consumed. */
static void answer_request(struct alink_request *r, const struct alink_rule *rule, const char *topic, size_t topic_len)
{
	char id[160], method[128];
	int id_rc = read_id(r->body, id, sizeof(id)), code;

	method_of(r->topic, method);
	code = judge(r, rule, topic, topic_len, method, id_rc);
	if (code == 200)
		cw_cloud_changed(r->cloud, r->device);
	if (r->data == NULL)
		r->data = json_object();
	if (wants_reply(r->body))
		reply(r, topic, topic_len, id, method, code);
	while (r->fresh_count > 0)
		cw_cloud_link_ready(r->cloud, r->fresh[--r->fresh_count]);
	json_decref(r->data);
	json_decref(r->body);
}

static void handle_request(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct alink_rule *rule,
                           const struct cloud_topic *t, const char *topic, size_t topic_len, const char *payload, size_t len)
{
	struct alink_request r = { .cloud = c, .link = l, .channel = l->ops->channel, .device = d, .topic = t, .len = len,
		                   .body = cw_cloud_json(payload, len, 0, NULL) };

	answer_request(&r, rule, topic, topic_len);
}

void cw_cloud_alink_decoded(struct cw_cloud *c, struct cloud_device *d, const struct alink_rule *rule,
                            const struct cloud_topic *t, const char *channel, json_t *body, size_t len)
{
	struct alink_request r = { .cloud = c, .channel = channel, .device = d, .topic = t, .len = len, .body = body, .raw = 1 };
	char topic[256];
	int n = snprintf(topic, sizeof(topic), "/sys/%s/%.*s", d->id, (int)t->rest.len, t->rest.s);

	answer_request(&r, rule, topic, n > 0 && (size_t)n < sizeof(topic) ? (size_t)n : 0);
}

void cw_cloud_alink_handle(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct alink_rule *rule,
                           const struct cloud_topic *t, const char *topic, size_t topic_len, const char *payload, size_t len)
{
	switch (rule->mode) {
	case ALINK_RECORD: break;
	case ALINK_RAW: cw_cloud_raw_up(c, l, d, payload, len); break;
	case ALINK_RAW_ANSWER:
		if (!cw_cloud_call_answer(c, d, topic, topic_len, payload, len))
			cw_cloud_raw_answer(c, d, topic, topic_len, payload, len);
		break;
	case ALINK_ANSWER: (void)cw_cloud_call_answer(c, d, topic, topic_len, payload, len); break;
	case ALINK_REQUEST:
	case ALINK_SESSION: handle_request(c, l, d, rule, t, topic, topic_len, payload, len); break;
	case ALINK_SPECIAL: rule->special(c, d, t, payload, len); break;
	}
}
