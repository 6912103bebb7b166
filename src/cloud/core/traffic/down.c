/* down.c - orders to one device that may wait for its answer; see down.h. */
#include "cloud/core/traffic/down.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/model/script.h"
#include "cloud/core/model/tsl.h"
#include "cloud/core/parse.h"
#include "cloud/core/traffic/call.h"

#define SYNC_MS        8000u
#define CALLS_KEPT     20u   /* of one device, shown by the API */
#define CALL_BYTES     8192u /* larger inputs and outputs are not kept */

enum order_kind { ORDER_ALINK, ORDER_BYTES };

struct cloud_order {
	struct cloud_call call;
	enum order_kind kind;
	struct cloud_ask ask;
	struct cw_cloud *cloud;
	int answered_by_id; /* the answer's topic is shared: its id must be ours */
	int started;        /* the call waits */
	uint8_t qos;
	char id[24], topic[512], answer[520];
	struct cloud_script_job job; /* raw products: the request on its way to bytes, or an answer from bytes */
	char *service;  /* an Alink order to a service, or NULL */
	json_t *record; /* in the device's document of calls, or NULL */
};

static const char *const end_names[] = {
#define END_NAME(sym, name, rrpc) name,
	CLOUD_DOWN_ENDS(END_NAME)
#undef END_NAME
};
static const char *const end_codes[] = {
#define END_CODE(sym, name, rrpc) rrpc,
	CLOUD_DOWN_ENDS(END_CODE)
#undef END_CODE
};

const char *cw_cloud_down_name(enum cloud_down_end end)
{
	return end_names[end];
}

const char *cw_cloud_rrpc_code(enum cloud_down_end end)
{
	return end_codes[end];
}

/* ---- the record of calls ---- */

static json_t *clipped(const json_t *value)
{
	return json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) <= CALL_BYTES ? json_deep_copy(value) : json_null();
}

static void keep_record(struct cloud_order *o, const char *what, const json_t *input)
{
	json_t *calls = cw_cloud_doc(o->ask.device, CLOUD_DOC_CALLS);

	o->record = json_pack("{s:s, s:s, s:I, s:o}", "id", o->id, "call", what, "time",
	                      (json_int_t)cw_cloud_wall_ms(o->cloud), "input", clipped(input));
	while (json_array_size(calls) >= CALLS_KEPT)
		json_array_remove(calls, 0);
	json_array_append(calls, o->record);
	cw_cloud_changed(o->cloud, o->ask.device);
}

static void close_record(struct cloud_order *o, const struct cloud_result *r)
{
	if (o->record == NULL)
		return;
	json_object_set_new(o->record, "result", json_string(cw_cloud_down_name(r->end)));
	if (r->end == CLOUD_DOWN_ANSWERED) {
		json_object_set_new(o->record, "replyTime", json_integer((json_int_t)cw_cloud_wall_ms(o->cloud)));
		json_object_set_new(o->record, "code", json_integer(r->code));
		if (r->model_code != 0)
			json_object_set_new(o->record, "modelCode", json_integer(r->model_code));
		if (r->data != NULL)
			json_object_set_new(o->record, "output", clipped(r->data));
	}
	if (r->end != CLOUD_DOWN_GONE) /* the device may be on its way out */
		cw_cloud_changed(o->cloud, o->ask.device);
}

/* ---- ends ---- */

static void order_free(struct cloud_order *o)
{
	json_decref(o->record);
	cw_free(o->service);
	cw_free(o);
}

static void finish(struct cloud_order *o, const struct cloud_result *r)
{
	struct cloud_ask ask = o->ask;

	if (o->started)
		cw_cloud_call_cancel(&o->call);
	close_record(o, r);
	ask.done(ask.arg, r);
	order_free(o);
}

static const char *end_text(enum cloud_down_end end)
{
	switch (end) {
	case CLOUD_DOWN_OFFLINE: return "the device is offline";
	case CLOUD_DOWN_HALFCONN: return "the device's connection was cut less than a keep-alive ago";
	case CLOUD_DOWN_UNSUBSCRIBED: return "the device did not subscribe to the topic";
	case CLOUD_DOWN_LIMITED: return "more messages a second than the device may get";
	case CLOUD_DOWN_TIMEOUT: return "the device did not answer in time";
	case CLOUD_DOWN_GONE: return "the device was deleted, or the emulator stops";
	case CLOUD_DOWN_NOMEM: return "out of memory";
	default: return "success";
	}
}

static struct cloud_order *finish_as(struct cloud_order *o, enum cloud_down_end end)
{
	finish(o, &(struct cloud_result){ .end = end, .message_id = o->id, .message = end_text(end) });
	return NULL;
}

static struct cloud_order *refuse(struct cloud_order *o, int code, const char *message)
{
	finish(o, &(struct cloud_result){ .end = CLOUD_DOWN_REFUSED, .message_id = o->id, .code = code, .message = message });
	return NULL;
}

static int code_of(const json_t *reply)
{
	const json_t *code = json_object_get(reply, "code");

	return json_is_integer(code) ? (int)json_integer_value(code) :
	       json_is_string(code)  ? (int)strtol(json_string_value(code), NULL, 10) : 0;
}

static void finish_answered(struct cloud_order *o, const char *payload, size_t len)
{
	json_t *reply = cw_cloud_json(payload, len, 0, NULL);
	const char *text = json_string_value(json_object_get(reply, "message"));
	struct cloud_result r = { .end = CLOUD_DOWN_ANSWERED, .message_id = o->id, .code = code_of(reply), .reply = reply,
		                  .data = json_object_get(reply, "data"), .payload = payload, .len = len };

	if (o->service != NULL && r.code == 200 && o->ask.device->product->model != NULL)
		r.model_code = cw_cloud_model_output(o->ask.device->product->model, o->service, r.data);
	r.message = text != NULL ? text : o->kind == ORDER_BYTES || r.code == 200 ? "success" : "the device gave no reason";
	finish(o, &r);
	json_decref(reply);
}

/* An answer over RRPC that came as bytes. */
static void on_decoded(struct cloud_script_job *job, const struct cloud_script_result *r)
{
	struct cloud_order *o = cw_container_of(job, struct cloud_order, job);

	if (r->code == 0 && r->output != NULL)
		finish_answered(o, r->output, r->len);
	else if (r->code == 500)
		(void)finish_as(o, CLOUD_DOWN_GONE);
	else
		(void)refuse(o, r->code != 0 ? r->code : 26007, "the device answered, but the script made nothing of it");
}

static void on_call_done(struct cloud_call *call, enum cloud_call_end end, const char *payload, size_t len)
{
	struct cloud_order *o = cw_container_of(call, struct cloud_order, call);

	o->started = 0;
	if (end == CLOUD_CALL_ANSWERED && o->kind == ORDER_ALINK && o->ask.device->product->raw && !o->answered_by_id) {
		o->job.kind = SCRIPT_UP;
		o->job.done = on_decoded;
		if (cw_cloud_script_submit(o->cloud, &o->job, NULL, payload, len) == 0)
			return;
	}
	if (end == CLOUD_CALL_ANSWERED)
		finish_answered(o, payload, len);
	else
		(void)finish_as(o, end == CLOUD_CALL_TIMEOUT ? CLOUD_DOWN_TIMEOUT : CLOUD_DOWN_GONE);
}

void cw_cloud_order_cancel(struct cloud_order *o)
{
	if (o->started)
		cw_cloud_call_cancel(&o->call);
	cw_cloud_script_cancel(&o->job);
	order_free(o);
}

/* ---- sending ---- */

static struct cloud_order *order_new(struct cw_cloud *c, const struct cloud_ask *ask, enum order_kind kind)
{
	struct cloud_order *o = cw_zalloc(sizeof(*o));

	if (o == NULL) {
		ask->done(ask->arg, &(struct cloud_result){ .end = CLOUD_DOWN_NOMEM, .message_id = "", .message = "out of memory" });
		return NULL;
	}
	o->cloud = c;
	o->ask = *ask;
	o->kind = kind;
	o->job.device = ask->device;
	cw_cloud_next_id(c, o->id);
	return o;
}

static enum cloud_down_end end_of(const struct cloud_order *o, enum cloud_outcome outcome)
{
	const struct cloud_device *d = o->ask.device;

	switch (outcome) {
	case CLOUD_DELIVERED: return CLOUD_DOWN_SENT;
	case CLOUD_STORED: return CLOUD_DOWN_STORED;
	case CLOUD_OFFLINE:
		return d->half_until_ms > cw_cloud_now_ms(o->cloud) ? CLOUD_DOWN_HALFCONN : CLOUD_DOWN_OFFLINE;
	case CLOUD_UNSUBSCRIBED: return CLOUD_DOWN_UNSUBSCRIBED;
	case CLOUD_LIMITED: return CLOUD_DOWN_LIMITED;
	case CLOUD_NOMEM: break;
	}
	return CLOUD_DOWN_NOMEM;
}

/* Waiting is set up before sending: the answer must not be able to come first. */
static struct cloud_order *order_send(struct cloud_order *o, const void *bytes, size_t len)
{
	struct cloud_device *d = o->ask.device;
	int waits = o->ask.timeout_ms != 0;
	enum cloud_outcome outcome;

	if (waits) {
		o->call.cloud = o->cloud;
		o->call.device = d;
		o->call.done = on_call_done;
		if (o->answered_by_id)
			memcpy(o->call.id, o->id, sizeof(o->call.id));
		if (cw_cloud_call_wait(&o->call, o->answer, o->ask.timeout_ms) < 0)
			return finish_as(o, CLOUD_DOWN_NOMEM);
		o->started = 1;
	}
	/* Nobody waits for an answer to what is only stored. */
	outcome = waits && !cw_cloud_device_linked(d) ? CLOUD_OFFLINE
	                                   : cw_cloud_send(o->cloud, d, o->topic, bytes, len, o->qos, 0);
	if (outcome != CLOUD_DELIVERED || !waits)
		return finish_as(o, end_of(o, outcome));
	return o;
}

/* Where a request on /sys/pk/dn/{path} goes and its answer comes: by itself, or over RRPC. */
static void address(struct cloud_order *o, const char *path, int rrpc)
{
	const struct cloud_device *d = o->ask.device;

	if (!rrpc) {
		(void)snprintf(o->topic, sizeof(o->topic), "/sys/%s/%s", d->id, path);
		(void)snprintf(o->answer, sizeof(o->answer), "%s_reply", o->topic);
		o->answered_by_id = 1;
		o->qos = 1;
	} else if ((d->ext & 1) != 0) {
		(void)snprintf(o->topic, sizeof(o->topic), "/ext/rrpc/%s/sys/%s/%s", o->id, d->id, path);
		(void)snprintf(o->answer, sizeof(o->answer), "%s", o->topic);
	} else {
		(void)snprintf(o->topic, sizeof(o->topic), "/sys/%s/rrpc/request/%s", d->id, o->id);
		(void)snprintf(o->answer, sizeof(o->answer), "/sys/%s/rrpc/response/%s", d->id, o->id);
	}
}

/* The request as bytes. */
static void on_encoded(struct cloud_script_job *job, const struct cloud_script_result *r)
{
	struct cloud_order *o = cw_container_of(job, struct cloud_order, job);

	if (r->code == 500)
		(void)finish_as(o, CLOUD_DOWN_GONE);
	else if (r->code != 0)
		(void)refuse(o, r->code, cw_cloud_code_text(r->code));
	else if (r->output == NULL)
		(void)refuse(o, 26007, "the script makes no bytes of this request");
	else
		(void)order_send(o, r->output, r->len);
}

static struct cloud_order *order_encode(struct cloud_order *o, const char *text)
{
	int code;

	o->job.kind = SCRIPT_DOWN;
	o->job.done = on_encoded;
	code = cw_cloud_script_submit(o->cloud, &o->job, NULL, text, strlen(text));
	return code != 0 ? refuse(o, code, cw_cloud_code_text(code)) : o;
}

/* An Alink request; `what` is shown in the record of calls. */
static struct cloud_order *order_request(struct cloud_order *o, const char *what, const char *path, const char *method,
                                         const json_t *params, int rrpc)
{
	json_t *body = json_pack("{s:s, s:s, s:s, s:O}", "id", o->id, "version", "1.0", "method", method, "params", params);
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	struct cloud_order *left;

	json_decref(body);
	if (text == NULL)
		return finish_as(o, CLOUD_DOWN_NOMEM);
	address(o, o->ask.device->product->raw ? "thing/model/down_raw" : path, rrpc);
	keep_record(o, what, params);
	left = o->ask.device->product->raw ? order_encode(o, text) : order_send(o, text, strlen(text));
	free(text);
	return left;
}

static const struct cloud_model *model_of(const struct cloud_device *d)
{
	return d->product->model;
}

static struct cloud_order *refuse_value(struct cloud_order *o, int code, const char *name)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "\"%.128s\": %s", name, cw_cloud_code_text(code));
	return refuse(o, code, text);
}

struct cloud_order *cw_cloud_set_properties(struct cw_cloud *c, const struct cloud_ask *ask, const json_t *items)
{
	struct cloud_order *o = order_new(c, ask, ORDER_ALINK);
	const char *name;
	json_t *value;
	int code;

	if (o == NULL)
		return NULL;
	if (!json_is_object(items) || json_object_size(items) == 0)
		return refuse(o, 460, "an object of properties is expected");
	if (json_object_size(items) > c->conf.limits.properties)
		return refuse(o, 6106, cw_cloud_code_text(6106));
	json_object_foreach((json_t *)(uintptr_t)items, name, value) {
		code = model_of(ask->device) != NULL ? cw_cloud_model_set(model_of(ask->device), name, value) : 0;
		if (code != 0)
			return refuse_value(o, code, name);
	}
	return order_request(o, "property/set", "thing/service/property/set", "thing.service.property.set", items, 0);
}

static int all_texts(const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		if (!json_is_string(item))
			return 0;
	}
	return json_array_size(list) != 0;
}

struct cloud_order *cw_cloud_get_properties(struct cw_cloud *c, const struct cloud_ask *ask, const json_t *names)
{
	struct cloud_order *o = order_new(c, ask, ORDER_ALINK);

	if (o == NULL)
		return NULL;
	if (!all_texts(names))
		return refuse(o, 460, "a list of identifiers is expected");
	if (json_array_size(names) > c->conf.limits.properties)
		return refuse(o, 6106, cw_cloud_code_text(6106));
	return order_request(o, "property/get", "thing/service/property/get", "thing.service.property.get", names, 0);
}

/* An identifier becomes a level of a topic: letters, digits and _, and a colon behind the name of a block. */
static int identifier_valid(const char *identifier)
{
	size_t n = strspn(identifier, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:-.");

	return n >= 1 && n <= 100 && identifier[n] == '\0';
}

static enum cloud_service_mode declared_mode(const struct cloud_device *d, const char *identifier)
{
	int sync = d->product->model != NULL ? cw_cloud_model_sync(d->product->model, identifier) : -1;

	return sync < 0 ? CLOUD_SERVICE_BY_MODEL : sync ? CLOUD_SERVICE_SYNC : CLOUD_SERVICE_ASYNC;
}

struct cloud_order *cw_cloud_invoke_service(struct cw_cloud *c, const struct cloud_ask *ask, const char *identifier,
                                            const json_t *args, enum cloud_service_mode mode)
{
	struct cloud_order *o = order_new(c, ask, ORDER_ALINK);
	char path[160], method[160];

	if (o == NULL)
		return NULL;
	if (!identifier_valid(identifier))
		return refuse(o, 6321, "a service's identifier is of up to 100 letters, digits and _");
	if (!json_is_object(args))
		return refuse(o, 460, "an object of parameters is expected");
	if (model_of(ask->device) != NULL ) {
		int code = cw_cloud_model_input(model_of(ask->device), identifier, args);

		if (code != 0)
			return refuse_value(o, code, identifier);
	}
	o->service = cw_strdup(identifier);
	if (o->service == NULL)
		return finish_as(o, CLOUD_DOWN_NOMEM);
	if (mode == CLOUD_SERVICE_BY_MODEL)
		mode = declared_mode(ask->device, identifier);
	if (mode == CLOUD_SERVICE_SYNC && o->ask.timeout_ms == 0)
		o->ask.timeout_ms = SYNC_MS;
	(void)snprintf(path, sizeof(path), "thing/service/%s", identifier);
	(void)snprintf(method, sizeof(method), "thing.service.%s", identifier);
	return order_request(o, identifier, path, method, args, mode == CLOUD_SERVICE_SYNC);
}

/* NULL, or why a topic is none of the device's own that can be published to. */
static const char *topic_problem(const struct cw_cloud *c, const struct cloud_device *d, const char *topic)
{
	struct cloud_topic t;
	size_t pk_len = (size_t)(d->dn - d->id) - 1;

	if (strpbrk(topic, "+#") != NULL)
		return "a topic with wildcards cannot be published to";
	cw_cloud_topic_parse(topic, strlen(topic), &t);
	if (strlen(topic) > 255 || t.kind == CLOUD_TOPIC_BAD || t.pk.len != pk_len || memcmp(t.pk.s, d->id, pk_len) != 0 ||
	    t.dn.len != strlen(d->dn) || memcmp(t.dn.s, d->dn, t.dn.len) != 0)
		return "not a topic of this device";
	return NULL;
}

struct cloud_order *cw_cloud_rrpc(struct cw_cloud *c, const struct cloud_ask *ask, const char *topic, const void *bytes,
                                  size_t len)
{
	struct cloud_order *o = order_new(c, ask, ORDER_BYTES);
	const struct cloud_device *d = ask->device;
	const char *problem = topic != NULL ? topic_problem(c, d, topic) : NULL;

	if (o == NULL)
		return NULL;
	if (problem != NULL)
		return refuse(o, 460, problem);
	if (topic != NULL && d->link != NULL && (d->ext & 1) == 0)
		return refuse(o, 460, "custom RRPC needs a client with ext=1");
	if (o->ask.timeout_ms == 0)
		o->ask.timeout_ms = SYNC_MS;
	if (topic != NULL) {
		(void)snprintf(o->topic, sizeof(o->topic), "/ext/rrpc/%s%s", o->id, topic);
		(void)snprintf(o->answer, sizeof(o->answer), "%s", o->topic);
	} else {
		(void)snprintf(o->topic, sizeof(o->topic), "/sys/%s/rrpc/request/%s", d->id, o->id);
		(void)snprintf(o->answer, sizeof(o->answer), "/sys/%s/rrpc/response/%s", d->id, o->id);
	}
	return order_send(o, bytes, len);
}

struct cloud_order *cw_cloud_down_raw(struct cw_cloud *c, const struct cloud_ask *ask, const void *bytes, size_t len)
{
	struct cloud_order *o = order_new(c, ask, ORDER_BYTES);

	if (o == NULL)
		return NULL;
	address(o, "thing/model/down_raw", 0);
	o->answered_by_id = 0;
	return order_send(o, bytes, len);
}
