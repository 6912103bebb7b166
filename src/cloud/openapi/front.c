/*
 * front.c - requests of the management API: parameters, the gateway's checks, throttling, answers.
 *
 * Calls arrive on the listener `openapi` and on "/" of the HTTPS listener, in on_http(), and are told apart by nothing.
 */
#include "cloud/openapi/front.h"

#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/save.h"
#include "cloud/core/traffic/violations.h"
#include "cloud/openapi/answer.h"
#include "cloud/openapi/gate.h"
#include "cloud/openapi/pop.h"

#define BODY_MAX (2u << 20)
#define HOST_ID "iot.cn-shanghai.aliyuncs.com"

/* Calls of one action in one second. */
struct pop_window {
	uint64_t second;
	unsigned calls;
};

struct pop_service {
	struct cw_cloud *cloud;
	struct cw_http *http;
	struct pop_gate *gate;
	struct pop_window *windows; /* one an action */
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- answers ---- */

static void call_free(struct pop_call *call)
{
	cw_cloud_pop_fini(&call->params);
	cw_free(call);
}

/* Freed by on_http() while it is at work, so that a handler may still look at a call that a helper has failed. */
static void call_end(struct pop_call *call)
{
	cw_invariant(!call->ended);
	call->ended = 1;
	if (!call->dispatching)
		call_free(call);
}

static void send_body(struct pop_call *call, unsigned status, const char *root, const json_t *body)
{
	static const char nomem[] = "out of memory\n";
	struct cloud_bytes out = { NULL, 0, 0 };
	int rc = body == NULL ? CW_ENOMEM
		 : call->json ? cw_cloud_pop_json(body, &out)
			      : cw_cloud_pop_xml(body, root, &out);

	if (rc < 0)
		cw_http_reply(call->req, 503, "text/plain", nomem, sizeof(nomem) - 1);
	else
		cw_http_reply(call->req, status,
			      call->json ? "application/json;charset=utf-8" : "text/xml;charset=utf-8", out.data,
			      out.len);
	cw_cloud_bytes_free(&out);
}

void cw_cloud_pop_send(struct pop_call *call, json_t *members, int success)
{
	char id[37], root[96];
	json_t *body;

	cw_cloud_pop_uuid(id);
	body = json_pack("{s:s, s:b}", "RequestId", id, "Success", success);
	if (body != NULL && members != NULL)
		(void)json_object_update(body, members);
	json_decref(members);
	(void)snprintf(root, sizeof(root), "%sResponse", call->action->name);
	send_body(call, 200, root, body);
	json_decref(body);
	call->service->cloud->stats.openapi_calls++;
	if (!success)
		call->service->cloud->stats.openapi_failed++;
	call_end(call);
}

void cw_cloud_pop_refuse(struct pop_call *call, unsigned status, const char *code, const char *text)
{
	char id[37];
	json_t *body;

	cw_cloud_pop_uuid(id);
	body = json_pack("{s:s, s:s, s:s, s:s}", "RequestId", id, "HostId", HOST_ID, "Code", code, "Message", text);
	send_body(call, status, "Error", body);
	json_decref(body);
	call->service->cloud->stats.openapi_refused++;
	cw_log(cloud_openapi_refused, code, CW_LS("action", call->action != NULL ? call->action->name : ""),
	       CW_LI("status", (int)status));
	call_end(call);
}

/* ---- requests ---- */

struct taking {
	struct pop_params *params;
	int rc;
};

static void take_param(void *arg, const char *name, const char *value)
{
	struct taking *t = arg;

	if (t->rc == 0)
		t->rc = cw_cloud_pop_add(t->params, name, value);
}

/* A fault without a device of its own strikes any call; its topic, if any, is an action. */
static int struck(struct pop_call *call)
{
	const char *pk = cw_cloud_pop_text(call, "ProductKey"), *dn = cw_cloud_pop_text(call, "DeviceName");
	const char *action = cw_cloud_pop_text(call, "Action"), *code;
	struct cloud_strike at = { .channel = "openapi",
				   .topic = action,
				   .topic_len = action != NULL ? strlen(action) : 0 };
	char id[128];
	unsigned status;

	if (pk != NULL && dn != NULL && snprintf(id, sizeof(id), "%s/%s", pk, dn) < (int)sizeof(id))
		at.device = id;
	if (!cw_cloud_fault(call->cloud, CLOUD_FAULT_STATUS, &at))
		return 0;
	status = at.code >= 400 && at.code <= 599 ? (unsigned)at.code : 503;
	code = status == 429   ? "Throttling.User"
	       : status == 403 ? "Forbidden.RAM"
	       : status < 500  ? "InvalidParameter"
	       : status == 503 ? "ServiceUnavailable"
			       : "InternalError";
	cw_cloud_pop_refuse(call, status, code, "An injected fault.");
	return 1;
}

/* Within the account's rate? Notes it. */
static int throttled(struct pop_service *s, const struct pop_action *action, unsigned index)
{
	unsigned limit = action->rate != 0 ? action->rate : s->cloud->conf.limits.openapi_per_second;
	struct pop_window *w = &s->windows[index];
	uint64_t second = cw_cloud_now_ms(s->cloud) / 1000;

	if (w->second != second)
		*w = (struct pop_window){ second, 0 };
	w->calls++;
	if (!s->cloud->conf.limits.documented || w->calls <= limit)
		return 0;
	cw_cloud_violation(s->cloud, NULL, "openapiPerSecond", "refused with Throttling.User");
	return 1;
}

static void carry_out(struct pop_call *call)
{
	struct pop_service *s = call->service;
	const struct cloud_access_key *key = NULL;
	struct pop_refusal why = { .status = 0 };
	unsigned index = 0;
	int rc = cw_cloud_gate_check(s->gate, cw_http_method(call->req), &call->params, &key, &why);

	if (rc < 0) {
		if (rc == CW_EREFUSED)
			cw_cloud_pop_refuse(call, why.status, why.code, (const char *)why.message.data);
		else
			cw_cloud_pop_refuse(call, 500, "InternalError",
					    "The platform could not carry this out; try again.");
		cw_cloud_bytes_free(&why.message);
		return;
	}
	call->action = cw_cloud_pop_action(cw_cloud_pop_text(call, "Action"), &index);
	if (call->action == NULL)
		cw_cloud_pop_refuse(call, 404, "InvalidAction.NotFound", "There is no such action.");
	else if (throttled(s, call->action, index))
		cw_cloud_pop_refuse(call, 400, "Throttling.User",
				    "More calls of this action a second than the account may make.");
	else
		cw_cloud_pop_dispatch(call);
}

/* Newer SDKs sign in a header unless they are told otherwise; without a word they would be told of missing parameters.
 */
static int is_acs3(const struct cw_http_req *req)
{
	const char *header = cw_http_header(req, "Authorization");

	return header != NULL && strncmp(header, "ACS3-", 5) == 0;
}

static void on_http(void *arg, struct cw_http_req *req)
{
	static const char no_path[] = "the management API is at /\n";
	struct pop_service *s = arg;
	struct pop_call *call;
	struct taking taking = { .rc = 0 };
	const char *format;

	if (strcmp(cw_http_path(req), "/") != 0) {
		cw_http_reply(req, 404, "text/plain", no_path, sizeof(no_path) - 1);
		return;
	}
	call = cw_zalloc(sizeof(*call));
	if (call == NULL) {
		cw_http_reply(req, 503, NULL, NULL, 0);
		return;
	}
	call->service = s;
	call->cloud = s->cloud;
	call->req = req;
	call->dispatching = 1;
	taking.params = &call->params;
	cw_http_params(req, take_param, &taking);
	cw_cloud_pop_sort(&call->params);
	format = cw_cloud_pop_find(&call->params, "Format");
	call->json = format != NULL && strcasecmp(format, "json") == 0;
	if (cw_http_too_large(req))
		cw_cloud_pop_refuse(call, 413, "InvalidParameter", "More bytes than a call may have.");
	else if (cw_http_header(req, "Origin") != NULL) /* the demonstration's keys are known to everybody */
		cw_cloud_pop_refuse(call, 403, "Forbidden", "Calls of web pages are not taken here.");
	else if (is_acs3(req))
		cw_cloud_pop_refuse(call, 400, "IncompleteSignature",
				    "Signature version 3 is not spoken here; tell the SDK to sign "
				    "with version 1.0 (signatureAlgorithm v2).");
	else if (taking.rc == CW_ENOMEM)
		cw_cloud_pop_refuse(call, 500, "InternalError", "The platform could not carry this out; try again.");
	else if (taking.rc == CW_EPROTO)
		cw_cloud_pop_refuse(call, 400, "InvalidParameter", "A parameter is not UTF-8.");
	else if (taking.rc < 0)
		cw_cloud_pop_refuse(call, 400, "InvalidParameter", "More parameters than a call may have.");
	else if (!struck(call))
		carry_out(call);
	call->dispatching = 0;
	if (call->ended)
		call_free(call);
}

/* ---- the front ---- */

static void service_free(struct pop_service *s)
{
	cw_cloud_gate_free(s->gate);
	cw_free(s->windows);
	cw_free(s);
}

static int front_open(const struct cloud_front_conf *front, void **ret_front, struct cw_msg *msg)
{
	struct pop_service *s = cw_zalloc(sizeof(*s));
	struct cw_http_conf conf = { .address = front->address,
				     .max_body = BODY_MAX,
				     .max_head = CLOUD_WEB_HEAD,
				     .hand_large = 1,
				     .settle = cw_cloud_settle,
				     .settle_arg = front->cloud,
				     .handle = on_http,
				     .arg = s };
	int rc;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	s->cloud = front->cloud;
	s->windows = cw_calloc(cw_cloud_pop_action_count(), sizeof(*s->windows));
	rc = s->windows == NULL ? CW_ENOMEM : cw_cloud_gate_new(s->cloud, &s->gate);
	if (rc == 0)
		rc = cw_cloud_routes_add(front->routes, "/", on_http, s);
	if (rc < 0)
		(void)cw_fail(msg, rc, "out of memory");
	else
		rc = cw_http_open(s->cloud->worker, &conf, &s->http, msg);
	if (rc < 0) {
		service_free(s);
		return rc;
	}
	*ret_front = s;
	return 0;
}

static const char *front_address(const void *front)
{
	const struct pop_service *s = front;

	return cw_http_address(s->http);
}

static void on_http_closed(void *arg)
{
	struct pop_service *s = arg;
	void (*closed)(void *arg) = s->closed;
	void *closed_arg = s->closed_arg;

	service_free(s);
	if (closed != NULL)
		closed(closed_arg);
}

static void front_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct pop_service *s = front;

	s->closed = closed;
	s->closed_arg = arg;
	cw_http_close(s->http, on_http_closed, s);
}

const struct cloud_front cw_cloud_openapi_front = { front_open, front_address, front_close };
