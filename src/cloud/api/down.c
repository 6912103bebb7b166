/* down.c - the API's calls to devices: property set and get, services, raw bytes, RRPC, publishes, broadcasts, desired values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/api/api.h"
#include "cloud/core/traffic/down.h"
#include "cloud/core/traffic/msglog.h"

#define TIMEOUT_DEFAULT_MS 8000u
#define TIMEOUT_MAX_MS     60000u

/* An HTTP request whose order waits for the device. */
struct waiter {
	struct cw_http_req *req;
	struct cloud_order *order;
	int done;
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

static unsigned status_of(const struct cloud_result *r)
{
	switch (r->end) {
	case CLOUD_DOWN_ANSWERED: return 200;
	case CLOUD_DOWN_SENT:
	case CLOUD_DOWN_STORED: return 202;
	case CLOUD_DOWN_REFUSED: return r->code == 26001 ? 409 : 400;
	case CLOUD_DOWN_TIMEOUT: return 504;
	case CLOUD_DOWN_GONE: return 410;
	case CLOUD_DOWN_NOMEM: return 503;
	default: return 409;
	}
}

static json_t *result_json(const struct cloud_result *r)
{
	json_t *j = json_pack("{s:s, s:s}", "result", cw_cloud_down_name(r->end), "id", r->message_id), *text;

	if (r->end == CLOUD_DOWN_REFUSED) {
		json_object_set_new(j, "code", json_integer(r->code));
		json_object_set_new(j, "error", json_string(r->message));
	}
	if (r->end != CLOUD_DOWN_ANSWERED)
		return j;
	if (r->reply != NULL)
		json_object_set(j, "reply", (json_t *)(uintptr_t)r->reply);
	if (r->model_code != 0)
		json_object_set_new(j, "modelCode", json_integer(r->model_code));
	text = json_stringn(r->payload, r->len);
	if (text != NULL)
		json_object_set_new(j, "payload", text);
	else
		json_object_set_new(j, "payloadHex", cw_cloud_log_hex(r->payload, r->len));
	return j;
}

static void on_done(void *arg, const struct cloud_result *r)
{
	struct waiter *w = arg;

	cw_cloud_api_json(w->req, status_of(r), result_json(r));
	w->done = 1;
	if (w->order != NULL) /* not from within the call that makes it */
		cw_free(w);
}

static void on_client_gone(void *arg)
{
	struct waiter *w = arg;

	cw_cloud_order_cancel(w->order);
	cw_free(w);
}

/* What to ask with; NULL was answered. */
static struct waiter *waiter_new(struct api_call *a, struct cloud_ask *ask)
{
	struct waiter *w = cw_zalloc(sizeof(*w));

	if (w == NULL) {
		cw_cloud_api_error(a->req, 503, "out of memory");
		return NULL;
	}
	w->req = a->req;
	*ask = (struct cloud_ask){ .device = a->device, .timeout_ms = flag_of(a->req, "async") ? 0 : timeout_of(a->req),
		                   .done = on_done, .arg = w };
	return w;
}

static void waiter_keep(struct waiter *w, struct cloud_order *order)
{
	if (order == NULL) {
		cw_free(w);
		return;
	}
	w->order = order;
	cw_http_on_gone(w->req, on_client_gone, w);
}

/* ?desired=1: only kept for the device to ask for. */
static void set_desired(struct api_call *a)
{
	struct cw_msg msg = { "" };

	if (cw_cloud_set_desired(a->cloud, a->device, a->body, NULL, &msg) != 200)
		cw_cloud_api_error(a->req, 400, msg.text);
	else
		cw_cloud_api_json(a->req, 200, json_pack("{s:O}", "desired", cw_cloud_doc(a->device, CLOUD_DOC_DESIRED)));
}

/* An object sets properties, a list asks for them by the old call. */
void cw_cloud_api_properties(struct api_call *a)
{
	struct cloud_ask ask;
	struct waiter *w;

	if (flag_of(a->req, "desired")) {
		set_desired(a);
		return;
	}
	w = waiter_new(a, &ask);
	if (w != NULL)
		waiter_keep(w, json_is_array(a->body) ? cw_cloud_get_properties(a->cloud, &ask, a->body)
		                                      : cw_cloud_set_properties(a->cloud, &ask, a->body));
}

/* ?sync=1 or sync=0 overrides what the model says. */
void cw_cloud_api_service(struct api_call *a)
{
	enum cloud_service_mode mode = cw_http_query(a->req, "sync") == NULL ? CLOUD_SERVICE_BY_MODEL :
	                               flag_of(a->req, "sync")               ? CLOUD_SERVICE_SYNC : CLOUD_SERVICE_ASYNC;
	struct cloud_ask ask;
	struct waiter *w = waiter_new(a, &ask);

	if (w != NULL)
		waiter_keep(w, cw_cloud_invoke_service(a->cloud, &ask, a->tail, a->body, mode));
}

static void publish(struct api_call *a, const char *topic)
{
	const char *qos = cw_http_query(a->req, "qos");
	struct cloud_publication what = { .topic = topic, .qos = qos != NULL && qos[0] == '1', .any_topic = 1 };
	enum cloud_outcome outcome = CLOUD_NOMEM;
	struct cw_msg msg = { "" };
	struct cloud_topic t;
	char id[24];

	cw_cloud_topic_parse(topic, strlen(topic), &t);
	if (!cw_cloud_text_is(&t.dn, a->device->dn)) {
		cw_cloud_api_error(a->req, 400, "not a topic of this device");
		return;
	}
	what.bytes = cw_http_body(a->req, &what.len);
	if (cw_cloud_pub(a->cloud, a->device->product, &what, &outcome, id, &msg) < 0) {
		cw_cloud_api_error(a->req, 400, msg.text);
		return;
	}
	cw_cloud_api_json(a->req, outcome == CLOUD_DELIVERED || outcome == CLOUD_STORED ? 202 : outcome == CLOUD_NOMEM ? 503 : 409,
	                  json_pack("{s:s, s:s}", "result", cw_cloud_outcome_name(outcome), "id", id));
}

void cw_cloud_api_raw(struct api_call *a)
{
	const char *topic = cw_http_query(a->req, "topic");
	struct cloud_ask ask;
	const void *bytes;
	struct waiter *w;
	size_t len;

	if (topic != NULL) {
		publish(a, topic);
		return;
	}
	w = waiter_new(a, &ask);
	bytes = cw_http_body(a->req, &len);
	if (w != NULL)
		waiter_keep(w, cw_cloud_down_raw(a->cloud, &ask, bytes, len));
}

void cw_cloud_api_rrpc(struct api_call *a)
{
	struct cloud_ask ask;
	struct waiter *w = waiter_new(a, &ask);
	size_t len;
	const void *bytes = cw_http_body(a->req, &len);

	ask.timeout_ms = timeout_of(a->req);
	if (w != NULL)
		waiter_keep(w, cw_cloud_rrpc(a->cloud, &ask, cw_http_query(a->req, "topic"), bytes, len));
}

void cw_cloud_api_tags(struct api_call *a)
{
	struct cw_msg msg = { "" };

	if (cw_cloud_set_tags(a->cloud, a->device, a->body, &msg) != 200)
		cw_cloud_api_error(a->req, 400, msg.text);
	else
		cw_cloud_api_json(a->req, 200, json_pack("{s:O}", "tags", cw_cloud_doc(a->device, CLOUD_DOC_TAGS)));
}

/* POST /products/PK/broadcast with bytes; ?name=N: to the subscribers of /broadcast/PK/N, else to all online devices. */
void cw_cloud_api_broadcast(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_product_find(a->cloud, a->tail, strlen(a->tail));
	const char *name = cw_http_query(a->req, "name");
	struct cw_msg msg = { "" };
	char topic[300], id[24];
	unsigned count = 0;
	const void *bytes;
	size_t len;
	int rc;

	if (p == NULL) {
		cw_cloud_api_error(a->req, 404, "no such product");
		return;
	}
	bytes = cw_http_body(a->req, &len);
	(void)snprintf(topic, sizeof(topic), "/broadcast/%s/%s", p->key, name != NULL ? name : "");
	rc = cw_cloud_broadcast(a->cloud, p, name != NULL ? topic : NULL, bytes, len, &count, id, &msg);
	if (rc < 0)
		cw_cloud_api_error(a->req, rc == CW_ELIMIT ? 429 : 400, msg.text);
	else
		cw_cloud_api_json(a->req, 202, json_pack("{s:s, s:i}", "id", id, "devices", (int)count));
}
