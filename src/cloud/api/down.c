/* api_down.c - the API's calls to devices: property set, services, raw bytes, RRPC. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/api/api.h"
#include "cloud/core/call.h"
#include "cloud/core/msglog.h"

#define TIMEOUT_DEFAULT_MS 8000u
#define TIMEOUT_MAX_MS     60000u

/* A call whose HTTP request waits for the device. */
struct waiter {
	struct cloud_call call;
	struct cw_http_req *req;
	char id[24];
};

/* What is sent, and where the answer is expected. */
struct order {
	char topic[512], answer[520], id[24];
	int match_id;
	const void *payload;
	size_t len;
	uint8_t qos;
};

static uint64_t timeout_of(struct cw_http_req *req)
{
	const char *text = cw_http_query(req, "timeout");
	uint64_t ms = text != NULL ? strtoull(text, NULL, 10) : TIMEOUT_DEFAULT_MS;

	return ms < 1 ? 1 : ms > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS : ms;
}

static int flag_of(struct cw_http_req *req, const char *name)
{
	const char *text = cw_http_query(req, name);

	return text != NULL && strcmp(text, "0") != 0 && strcmp(text, "false") != 0;
}

static json_t *answer_json(const char *id, const char *payload, size_t len)
{
	json_t *j = json_pack("{s:s, s:s}", "result", "answered", "id", id), *text;
	json_t *reply = json_loadb(payload, len, 0, NULL);

	if (reply != NULL)
		json_object_set_new(j, "reply", reply);
	text = json_stringn(payload, len);
	if (text != NULL)
		json_object_set_new(j, "payload", text);
	else
		json_object_set_new(j, "payloadHex", cw_cloud_log_hex(payload, len));
	return j;
}

static void on_done(struct cloud_call *call, enum cloud_call_end end, const char *payload, size_t len)
{
	struct waiter *w = cw_container_of(call, struct waiter, call);

	if (end == CLOUD_CALL_ANSWERED)
		cw_cloud_api_json(w->req, 200, answer_json(w->id, payload, len));
	else
		cw_cloud_api_json(w->req, end == CLOUD_CALL_TIMEOUT ? 504 : 410, json_pack("{s:s, s:s}", "result",
		                  end == CLOUD_CALL_TIMEOUT ? "timeout" : "gone", "id", w->id));
	cw_free(w);
}

static void on_client_gone(void *arg)
{
	struct waiter *w = arg;

	cw_cloud_call_cancel(&w->call);
	cw_free(w);
}

static void reply_outcome(struct api_call *a, const struct order *o, enum cloud_outcome outcome)
{
	unsigned status = outcome == CLOUD_DELIVERED || outcome == CLOUD_STORED ? 202 : outcome == CLOUD_NOMEM ? 503 : 409;

	cw_cloud_api_json(a->req, status, json_pack("{s:s, s:s}", "result", cw_cloud_outcome_name(outcome), "id", o->id));
}

/* Waiting is set up before sending: the answer must not be able to come first. */
static void send_and_wait(struct api_call *a, const struct order *o)
{
	struct waiter *w = cw_zalloc(sizeof(*w));
	enum cloud_outcome outcome;

	if (w == NULL) {
		cw_cloud_api_error(a->req, 503, "out of memory");
		return;
	}
	w->req = a->req;
	w->call.cloud = a->cloud;
	w->call.device = a->device;
	w->call.done = on_done;
	memcpy(w->id, o->id, sizeof(w->id));
	if (o->match_id)
		memcpy(w->call.id, o->id, sizeof(w->call.id));
	if (cw_cloud_call_wait(&w->call, o->answer, timeout_of(a->req)) < 0) {
		cw_free(w);
		cw_cloud_api_error(a->req, 503, "out of memory");
		return;
	}
	outcome = a->device->link != NULL ? cw_cloud_send(a->cloud, a->device, o->topic, o->payload, o->len, o->qos, 0)
	                                  : CLOUD_OFFLINE;
	if (outcome != CLOUD_DELIVERED) {
		cw_cloud_call_cancel(&w->call);
		cw_free(w);
		reply_outcome(a, o, outcome);
		return;
	}
	cw_http_on_gone(a->req, on_client_gone, w);
}

static void carry_out(struct api_call *a, const struct order *o)
{
	if (!flag_of(a->req, "async"))
		send_and_wait(a, o);
	else
		reply_outcome(a, o, cw_cloud_send(a->cloud, a->device, o->topic, o->payload, o->len, o->qos, 0));
}

/* An Alink request on /sys/pk/dn/{path}; its answer comes with the same id. */
static void alink_order(struct api_call *a, struct order *o, const char *path, const char *method, int sync)
{
	char *text;
	json_t *body;

	if (a->device->product->raw) {
		cw_cloud_api_error(a->req, 409, "the product's format is raw: send bytes to .../raw");
		return;
	}
	cw_cloud_next_id(a->cloud, o->id);
	body = json_pack("{s:s, s:s, s:s, s:O}", "id", o->id, "version", "1.0", "method", method, "params", a->body);
	text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	if (text == NULL) {
		cw_cloud_api_error(a->req, 503, "out of memory");
		return;
	}
	o->payload = text;
	o->len = strlen(text);
	if (!sync) {
		(void)snprintf(o->topic, sizeof(o->topic), "/sys/%s/%s", a->device->id, path);
		(void)snprintf(o->answer, sizeof(o->answer), "%s_reply", o->topic);
		o->match_id = 1;
		o->qos = 1;
	} else if ((a->device->ext & 1) != 0) {
		(void)snprintf(o->topic, sizeof(o->topic), "/ext/rrpc/%s/sys/%s/%s", o->id, a->device->id, path);
		(void)snprintf(o->answer, sizeof(o->answer), "%s", o->topic);
	} else {
		(void)snprintf(o->topic, sizeof(o->topic), "/sys/%s/rrpc/request/%s", a->device->id, o->id);
		(void)snprintf(o->answer, sizeof(o->answer), "/sys/%s/rrpc/response/%s", a->device->id, o->id);
	}
	carry_out(a, o);
	free(text);
}

/* The desired value's version starts at 1 and rises with each setting. */
static void set_desired(struct cloud_device *d, const json_t *params)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)params, name, value) {
		json_t *desired = cw_cloud_doc(d, CLOUD_DOC_DESIRED);
		json_int_t version = json_integer_value(json_object_get(json_object_get(desired, name), "version"));

		json_object_set_new(desired, name, json_pack("{s:O, s:I}", "value", value, "version", version + 1));
	}
}

/* ?desired=1: only kept for the device to ask for; the next property set of the same value is the platform's affair. */
void cw_cloud_api_properties(struct api_call *a)
{
	struct order o = { .id = "" };

	if (!json_is_object(a->body)) {
		cw_cloud_api_error(a->req, 400, "an object of properties is expected");
		return;
	}
	if (flag_of(a->req, "desired")) {
		set_desired(a->device, a->body);
		cw_cloud_api_json(a->req, 200, json_pack("{s:O}", "desired", cw_cloud_doc(a->device, CLOUD_DOC_DESIRED)));
		return;
	}
	alink_order(a, &o, "thing/service/property/set", "thing.service.property.set", 0);
}

void cw_cloud_api_service(struct api_call *a)
{
	struct order o = { .id = "" };
	char path[160], method[160];

	(void)snprintf(path, sizeof(path), "thing/service/%s", a->tail);
	(void)snprintf(method, sizeof(method), "thing.service.%s", a->tail);
	alink_order(a, &o, path, method, flag_of(a->req, "sync"));
}

/* A topic named by the caller must be the device's own and hold no wildcard. */
static const char *topic_problem(struct api_call *a, const char *topic)
{
	struct cloud_topic t;

	if (strpbrk(topic, "+#") != NULL)
		return "a topic with wildcards cannot be published to";
	cw_cloud_topic_parse(topic, strlen(topic), &t);
	if (strlen(topic) > 255 || t.kind == CLOUD_TOPIC_BAD ||
	    cw_cloud_device_find(a->cloud, t.pk.s, t.pk.len, t.dn.s, t.dn.len) != a->device)
		return "not a topic of this device";
	return NULL;
}

void cw_cloud_api_raw(struct api_call *a)
{
	const char *topic = cw_http_query(a->req, "topic"), *qos = cw_http_query(a->req, "qos");
	const char *problem = topic != NULL ? topic_problem(a, topic) : NULL;
	struct order o = { .qos = qos != NULL ? qos[0] == '1' : topic == NULL };

	if (problem != NULL) {
		cw_cloud_api_error(a->req, 400, problem);
		return;
	}
	cw_cloud_next_id(a->cloud, o.id);
	o.payload = cw_http_body(a->req, &o.len);
	if (topic != NULL) {
		(void)snprintf(o.topic, sizeof(o.topic), "%s", topic);
		reply_outcome(a, &o, cw_cloud_send(a->cloud, a->device, o.topic, o.payload, o.len, o.qos, 0));
		return;
	}
	(void)snprintf(o.topic, sizeof(o.topic), "/sys/%s/thing/model/down_raw", a->device->id);
	(void)snprintf(o.answer, sizeof(o.answer), "%s_reply", o.topic);
	carry_out(a, &o);
}

void cw_cloud_api_rrpc(struct api_call *a)
{
	const char *topic = cw_http_query(a->req, "topic");
	const char *problem = topic != NULL ? topic_problem(a, topic) : NULL;
	struct order o = { .qos = 0 };

	if (problem == NULL && topic != NULL && a->device->link != NULL && (a->device->ext & 1) == 0)
		problem = "custom RRPC needs a client with ext=1";
	if (problem != NULL) {
		cw_cloud_api_error(a->req, 400, problem);
		return;
	}
	cw_cloud_next_id(a->cloud, o.id);
	o.payload = cw_http_body(a->req, &o.len);
	if (topic != NULL) {
		(void)snprintf(o.topic, sizeof(o.topic), "/ext/rrpc/%s%s", o.id, topic);
		(void)snprintf(o.answer, sizeof(o.answer), "%s", o.topic);
	} else {
		(void)snprintf(o.topic, sizeof(o.topic), "/sys/%s/rrpc/request/%s", a->device->id, o.id);
		(void)snprintf(o.answer, sizeof(o.answer), "/sys/%s/rrpc/response/%s", a->device->id, o.id);
	}
	send_and_wait(a, &o);
}
