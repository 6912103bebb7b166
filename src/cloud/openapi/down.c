/* down.c - actions that send something to devices: publishes, broadcasts, RRPC, property set, services. */
#include "cloud/core/traffic/down.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/core/base64.h"
#include "cloud/openapi/pop.h"

#define DEVICES_MAX 100u /* of SetDevicesProperty and InvokeThingsService */

/* Shown as a number, which does not fit a double any more. */
static json_t *id_number(const char *id)
{
	return json_integer((json_int_t)strtoll(id, NULL, 10));
}

/* ---- publishes ---- */

static void on_pub(struct pop_call *call)
{
	struct cloud_publication what = { .topic = cw_cloud_pop_text(call, "TopicFullName") };
	enum cloud_outcome outcome = CLOUD_OFFLINE;
	struct cw_msg msg = { "" };
	char id[24];
	int64_t qos;
	void *bytes;
	int rc;

	if (what.topic == NULL) {
		cw_cloud_pop_fail(call, POP_NULL_TOPIC, NULL);
		return;
	}
	if (cw_cloud_pop_number(call, "Qos", 0, &qos) < 0 || qos < 0 || qos > 1) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.Qos", "Qos is 0 or 1.");
		return;
	}
	bytes = cw_cloud_pop_base64(call, "MessageContent", &what.len);
	if (bytes == NULL)
		return;
	what.bytes = bytes;
	what.qos = (uint8_t)qos;
	rc = cw_cloud_pub(call->cloud, call->product, &what, &outcome, id, &msg);
	cw_free(bytes);
	if (rc < 0)
		cw_cloud_pop_fail(call,
				  rc == CW_ENOENT   ? POP_NO_DEVICE
				  : rc == CW_ENOMEM ? POP_SYSTEM
						    : POP_BAD_TOPIC,
				  msg.text);
	else if (outcome == CLOUD_LIMITED || outcome == CLOUD_NOMEM)
		cw_cloud_pop_fail(call, POP_PUBLISH_FAILED, NULL);
	else /* a device that is away or did not subscribe does not make the call fail */
		cw_cloud_pop_ok(call, json_pack("{s:o}", "MessageId", id_number(id)));
}

static void on_broadcast(struct pop_call *call)
{
	const char *topic = cw_cloud_pop_text(call, "TopicFullName");
	struct cw_msg msg = { "" };
	unsigned count = 0;
	char id[24];
	size_t len = 0;
	void *bytes = cw_cloud_pop_base64(call, "MessageContent", &len);
	int rc;

	if (bytes == NULL)
		return;
	rc = cw_cloud_broadcast(call->cloud, call->product, topic, bytes, len, &count, id, &msg);
	cw_free(bytes);
	if (rc == CW_ELIMIT)
		cw_cloud_pop_refuse(call, 400, "Throttling.User", msg.text);
	else if (rc < 0)
		cw_cloud_pop_fail(call, topic != NULL ? POP_BAD_TOPIC : POP_PUBLISH_FAILED, msg.text);
	else
		cw_cloud_pop_ok(call, json_pack("{s:o}", "MessageId", id_number(id)));
}

/* ---- RRPC ---- */

static json_t *base64_of(const void *bytes, size_t len)
{
	char *text = cw_cloud_base64(bytes, len);
	json_t *j = json_string(text != NULL ? text : "");

	cw_free(text);
	return j;
}

/* How the call ended is told by RrpcCode; only what could not be sent at all fails. */
static void on_rrpc_done(void *arg, const struct cloud_result *r)
{
	struct pop_call *call = arg;
	json_t *body;

	if (r->end == CLOUD_DOWN_REFUSED || r->end == CLOUD_DOWN_NOMEM) {
		cw_cloud_pop_fail(call, cw_cloud_pop_text(call, "Topic") != NULL ? POP_BAD_TOPIC : POP_PUBLISH_FAILED,
				  r->message);
		return;
	}
	body = json_pack("{s:s, s:o}", "RrpcCode", cw_cloud_rrpc_code(r->end), "MessageId", id_number(r->message_id));
	if (r->payload != NULL)
		json_object_set_new(body, "PayloadBase64Byte", base64_of(r->payload, r->len));
	cw_cloud_pop_ok(call, body);
}

static void on_rrpc(struct pop_call *call)
{
	struct cloud_ask ask = { .device = call->device, .done = on_rrpc_done, .arg = call };
	const char *name = cw_cloud_pop_text(call, "Timeout") != NULL ? "Timeout" : "TimeOut";
	int64_t ms;
	size_t len = 0;
	void *bytes;
	struct cloud_order *order;

	if (cw_cloud_pop_text(call, name) == NULL || cw_cloud_pop_number(call, name, 0, &ms) < 0 ||
	    ms < CLOUD_RRPC_MIN_MS || ms > CLOUD_RRPC_MAX_MS) {
		cw_cloud_pop_fail(call, POP_BAD_TIMEOUT, NULL);
		return;
	}
	bytes = cw_cloud_pop_base64(call, "RequestBase64Byte", &len);
	if (bytes == NULL)
		return;
	ask.timeout_ms = (uint64_t)ms;
	order = cw_cloud_rrpc(call->cloud, &ask, cw_cloud_pop_text(call, "Topic"), bytes, len);
	cw_free(bytes);
	cw_cloud_pop_wait(call, order);
}

/* ---- property set and services, one device ---- */

static void fail_end(struct pop_call *call, const struct cloud_result *r)
{
	switch (r->end) {
	case CLOUD_DOWN_OFFLINE: cw_cloud_pop_fail(call, POP_OFFLINE, NULL); break;
	case CLOUD_DOWN_HALFCONN: cw_cloud_pop_fail(call, POP_HALFCONN, NULL); break;
	case CLOUD_DOWN_TIMEOUT: cw_cloud_pop_fail(call, POP_TIMEOUT, NULL); break;
	case CLOUD_DOWN_GONE: cw_cloud_pop_fail(call, POP_NO_DEVICE, r->message); break;
	case CLOUD_DOWN_NOMEM: cw_cloud_pop_fail(call, POP_SYSTEM, NULL); break;
	default: cw_cloud_pop_fail(call, POP_PUBLISH_FAILED, r->message); break;
	}
}

static void on_order_done(void *arg, const struct cloud_result *r)
{
	struct pop_call *call = arg;
	json_t *data;
	char code[24];

	if (r->end != CLOUD_DOWN_ANSWERED && r->end != CLOUD_DOWN_SENT && r->end != CLOUD_DOWN_STORED) {
		fail_end(call, r);
		return;
	}
	if (r->end == CLOUD_DOWN_ANSWERED && r->code != 200) {
		(void)snprintf(code, sizeof(code), "%d", r->code);
		cw_cloud_pop_fail_code(call, code, r->message);
		return;
	}
	data = json_pack("{s:s}", "MessageId", r->message_id);
	if (r->end == CLOUD_DOWN_ANSWERED)
		json_object_set_new(data, "Result",
				    r->data != NULL ? cw_cloud_pop_value_text(r->data) : json_string("{}"));
	cw_cloud_pop_data(call, data);
}

static void on_set_property(struct pop_call *call)
{
	struct cloud_ask ask = { .device = call->device, .done = on_order_done, .arg = call };
	json_t *items = cw_cloud_pop_json_param(call, "Items", JSON_OBJECT);
	struct cloud_order *order;

	if (items == NULL)
		return;
	order = cw_cloud_set_properties(call->cloud, &ask, items);
	json_decref(items);
	cw_cloud_pop_wait(call, order);
}

static void on_invoke(struct pop_call *call)
{
	struct cloud_ask ask = { .device = call->device, .done = on_order_done, .arg = call };
	json_t *args = cw_cloud_pop_json_param(call, "Args", JSON_OBJECT);
	struct cloud_order *order;

	if (args == NULL)
		return;
	order = cw_cloud_invoke_service(call->cloud, &ask, cw_cloud_pop_text(call, "Identifier"), args,
					CLOUD_SERVICE_BY_MODEL);
	json_decref(args);
	cw_cloud_pop_wait(call, order);
}

/* ---- the same to several devices, without waiting ---- */

/* What became of them: the first that failed is told. */
struct several {
	struct pop_call *call;
	json_t *items; /* or a service's arguments */
	const char *identifier;
	const struct cloud_device *failed;
	enum cloud_down_end end;
	char text[256];
};

struct one_of {
	struct several *all;
	const struct cloud_device *device;
};

static void on_one_done(void *arg, const struct cloud_result *r)
{
	const struct one_of *one = arg;
	struct several *s = one->all;

	if (r->end == CLOUD_DOWN_SENT || r->end == CLOUD_DOWN_STORED || r->end == CLOUD_DOWN_ANSWERED ||
	    s->failed != NULL)
		return;
	s->failed = one->device;
	s->end = r->end;
	(void)snprintf(s->text, sizeof(s->text), "%s: %s", one->device->dn, r->message);
}

/* Every name must be a device before the first is sent to. 0, or the call was failed. */
static int named_devices(struct pop_call *call, struct cloud_device *found[DEVICES_MAX], unsigned *ret_count)
{
	unsigned n = cw_cloud_pop_count(call, "DeviceName", NULL, DEVICES_MAX), i;

	if (n == 0 || n > DEVICES_MAX) {
		cw_cloud_pop_fail(call, n == 0 ? POP_NO_NAMES : POP_TOO_MANY, NULL);
		return -1;
	}
	for (i = 0; i < n; i++) {
		found[i] = cw_cloud_pop_device(call, NULL, call->product->key,
					       cw_cloud_pop_item(call, "DeviceName", i + 1, NULL));
		if (found[i] == NULL)
			return -1;
	}
	*ret_count = n;
	return 0;
}

static void send_several(struct several *s)
{
	struct cloud_device *found[DEVICES_MAX];
	unsigned n = 0, i;

	if (named_devices(s->call, found, &n) < 0)
		return;
	for (i = 0; i < n; i++) {
		struct one_of one = { s, found[i] };
		/* Without a time to wait done() runs before the call returns, so that `one` may live here. */
		struct cloud_ask ask = { .device = found[i], .done = on_one_done, .arg = &one };
		struct cloud_order *order = s->identifier == NULL
						    ? cw_cloud_set_properties(s->call->cloud, &ask, s->items)
						    : cw_cloud_invoke_service(s->call->cloud, &ask, s->identifier,
									      s->items, CLOUD_SERVICE_ASYNC);

		cw_invariant(order == NULL);
	}
	if (s->failed == NULL)
		cw_cloud_pop_ok(s->call, NULL);
	else
		cw_cloud_pop_fail(s->call,
				  s->end == CLOUD_DOWN_OFFLINE    ? POP_OFFLINE
				  : s->end == CLOUD_DOWN_HALFCONN ? POP_HALFCONN
								  : POP_PUBLISH_FAILED,
				  s->text);
}

static void on_set_properties(struct pop_call *call)
{
	struct several s = { .call = call, .items = cw_cloud_pop_json_param(call, "Items", JSON_OBJECT) };

	if (s.items == NULL)
		return;
	send_several(&s);
	json_decref(s.items);
}

static void on_invoke_several(struct pop_call *call)
{
	struct several s = { .call = call, .items = cw_cloud_pop_json_param(call, "Args", JSON_OBJECT) };

	if (s.items == NULL)
		return;
	s.identifier = cw_cloud_pop_text(call, "Identifier");
	send_several(&s);
	json_decref(s.items);
}

/* ---- sub-devices that a gateway should add ---- */

/* The list as it is sent, or NULL: the call was failed. */
static json_t *found_list(struct pop_call *call)
{
	json_t *sent = cw_cloud_pop_json_param(call, "DeviceListStr", JSON_ARRAY), *list, *one;
	size_t i;

	if (sent == NULL)
		return NULL;
	list = json_array();
	json_array_foreach (sent, i, one) {
		struct cloud_device *d = cw_cloud_pop_device(call, json_string_value(json_object_get(one, "iotId")),
							     json_string_value(json_object_get(one, "productKey")),
							     json_string_value(json_object_get(one, "deviceName")));

		if (d == NULL) {
			json_decref(list);
			json_decref(sent);
			return NULL;
		}
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "productKey", d->product->key, "deviceName", d->dn));
	}
	json_decref(sent);
	return list;
}

static void on_notify(struct pop_call *call)
{
	enum cloud_outcome outcome;
	json_t *list;
	char id[24];

	if (call->product->type != CLOUD_NODE_GATEWAY) {
		cw_cloud_pop_fail(call, POP_TOPO_ADD, "The device is no gateway.");
		return;
	}
	list = found_list(call);
	if (list == NULL)
		return;
	outcome = cw_cloud_notify_found(call->cloud, call->device, list);
	/* The request just made has the last id that was given out. */
	(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)call->cloud->next_id);
	if (outcome == CLOUD_DELIVERED || outcome == CLOUD_STORED)
		cw_cloud_pop_data(call, json_pack("{s:s}", "MessageId", id));
	else
		cw_cloud_pop_fail(call, outcome == CLOUD_OFFLINE ? POP_OFFLINE : POP_PUBLISH_FAILED, NULL);
}

const struct pop_action cw_cloud_pop_down_actions[] = {
	{ "Pub", POP_PRODUCT, NULL, 0, on_pub },
	{ "PubBroadcast", POP_PRODUCT, NULL, 0, on_broadcast },
	{ "RRpc", POP_DEVICE, NULL, 0, on_rrpc },
	{ "SetDeviceProperty", POP_DEVICE, NULL, 0, on_set_property },
	{ "SetDevicesProperty", POP_PRODUCT, NULL, 0, on_set_properties },
	{ "InvokeThingService", POP_DEVICE, "Identifier", 0, on_invoke },
	{ "InvokeThingsService", POP_PRODUCT, "Identifier", 0, on_invoke_several },
	{ "NotifyAddThingTopo", POP_GATEWAY, NULL, 0, on_notify },
	{ .name = NULL },
};
