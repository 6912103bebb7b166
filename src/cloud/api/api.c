/* api.c - routes of the emulator's API and what changes its stock; see api.h. */
#include "cloud/api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/fault/delay.h"
#include "cloud/core/fault/disturb.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/login/tokens.h"
#include "cloud/core/parse.h"
#include "cloud/core/save.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/traffic/call.h"
#include "cloud/core/traffic/down.h"
#include "cloud/core/traffic/msglog.h"
#include "cloud/core/traffic/violations.h"
#include "cloud/web/files.h"
#include "http/origin.h"

#define BODY_MAX (1u << 20)

struct cloud_api {
	struct cw_cloud *cloud;
	struct cw_http *http;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct route {
	const char *method;
	const char *path; /* {pk}/{dn} and {tail} stand for levels */
	void (*handle)(struct api_call *a);
};

void cw_cloud_api_json(struct cw_http_req *req, unsigned status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL) {
		cw_http_reply(req, 500, "application/json", "{\"error\":\"out of memory\"}", 25);
		return;
	}
	cw_http_reply(req, status, "application/json", text, strlen(text));
	free(text);
}

void cw_cloud_api_error(struct cw_http_req *req, unsigned status, const char *text)
{
	cw_cloud_api_json(req, status, json_pack("{s:s}", "error", text));
}

unsigned cw_cloud_api_status(int rc)
{
	switch (rc) {
	case CW_EEXIST:
	case CW_EREFUSED:
	case CW_EBUSY: return 409;
	case CW_ENOENT: return 404;
	case CW_ENOMEM:
	case CW_EINTERNAL: return 503;
	default: return 400;
	}
}

void cw_cloud_api_fail(struct cw_http_req *req, int rc, const char *text)
{
	cw_cloud_api_error(req, cw_cloud_api_status(rc), text);
}

struct cloud_product *cw_cloud_api_product(struct api_call *a, const char *pk)
{
	struct cloud_product *p = cw_cloud_product_find(a->cloud, pk, strlen(pk));

	if (p == NULL)
		cw_cloud_api_error(a->req, 404, "no such product");
	return p;
}

/* ---- changing the stock ---- */

static void on_class_add(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_product_find(a->cloud, a->tail, strlen(a->tail));
	const char *pattern = NULL, *permission = NULL;
	struct cw_msg msg = { "" };
	int rc;

	if (p == NULL) {
		cw_cloud_api_error(a->req, 404, "no such product");
		return;
	}
	if (json_unpack(a->body, "{s:s, s:s}", "topic", &pattern, "permission", &permission) < 0 ||
	    (strcmp(permission, "publish") != 0 && strcmp(permission, "subscribe") != 0 && strcmp(permission, "both") != 0)) {
		cw_cloud_api_error(a->req, 400, "topic (levels behind the device's), permission publish, subscribe or both");
		return;
	}
	rc = cw_cloud_class_add(p, pattern, permission[0] != 's', permission[0] != 'p', &msg);
	if (rc < 0)
		cw_cloud_api_error(a->req, cw_cloud_api_status(rc), msg.text);
	else
		cw_cloud_api_json(a->req, 201, json_pack("{s:s, s:s}", "topic", pattern, "permission", permission));
}

static void on_enable(struct api_call *a)
{
	cw_cloud_device_enable(a->cloud, a->device);
	cw_cloud_api_json(a->req, 200, json_pack("{s:s}", "status", cw_cloud_device_status(a->cloud, a->device)));
}

static void on_disable(struct api_call *a)
{
	cw_cloud_device_disable(a->cloud, a->device);
	cw_cloud_api_json(a->req, 200, json_pack("{s:s}", "status", cw_cloud_device_status(a->cloud, a->device)));
}

static void on_delete(struct api_call *a)
{
	cw_cloud_device_delete(a->cloud, a->device);
	cw_http_reply(a->req, 204, NULL, NULL, 0);
}

/* {action: notify | add | delete, productKey, deviceName}: the cloud's side of topology. */
static void on_topo(struct api_call *a)
{
	const char *action = NULL, *pk = NULL, *dn = NULL;
	struct cloud_device *d, *gw = a->device;

	if (json_unpack(a->body, "{s:s, s:s, s:s}", "action", &action, "productKey", &pk, "deviceName", &dn) < 0) {
		cw_cloud_api_error(a->req, 400, "action notify, add or delete, productKey, deviceName");
		return;
	}
	d = cw_cloud_device_find(a->cloud, pk, strlen(pk), dn, strlen(dn));
	if (d == NULL) {
		cw_cloud_api_error(a->req, 404, "no such device");
		return;
	}
	if (strcmp(action, "notify") == 0) {
		cw_cloud_notify_found(a->cloud, gw, json_pack("[{s:s, s:s}]", "productKey", pk, "deviceName", dn));
	} else if (strcmp(action, "add") == 0 && d != gw && d->gateway == NULL && gw->child_count < a->cloud->conf.limits.members) {
		cw_cloud_relate(gw, d);
		cw_cloud_topo_changed(a->cloud, gw, d, 0);
	} else if (strcmp(action, "delete") == 0 && d->gateway == gw) {
		cw_cloud_member_down(a->cloud, d, 6401);
		cw_cloud_unrelate(d);
		cw_cloud_topo_changed(a->cloud, gw, d, 1);
	} else {
		cw_cloud_api_error(a->req, 409, "the relation does not allow this action");
		return;
	}
	cw_cloud_api_json(a->req, 200, json_pack("{s:s}", "action", action));
}

/* Back to the start but for the stock: connections end, faults, messages, reports and counters go. */
static void on_reset(struct api_call *a)
{
	struct cw_list *e, *n;

	(void)cw_cloud_faults_remove(a->cloud, 0);
	cw_cloud_delay_drop(a->cloud);
	cw_cloud_disturb_drop(a->cloud);
	cw_cloud_violations_clear(a->cloud);
	cw_cloud_calls_abandon(a->cloud, NULL);
	cw_list_each_safe(e, n, &a->cloud->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		cw_cloud_device_kick(a->cloud, d, 0, "reset");
		d->disabled = 0;
		cw_cloud_unrelate(d);
	}
	cw_cloud_stock_reset(a->cloud);
	cw_cloud_log_clear(a->cloud->log);
	memset(&a->cloud->stats, 0, sizeof(a->cloud->stats));
	cw_http_reply(a->req, 204, NULL, NULL, 0);
}

/* ---- routes ---- */

static const struct route routes[] = {
	{ "GET", "/api/v1/devices", cw_cloud_api_devices },
	{ "POST", "/api/v1/devices", cw_cloud_api_device_add },
	{ "GET", "/api/v1/products", cw_cloud_api_products },
	{ "POST", "/api/v1/products", cw_cloud_api_product_add },
	{ "POST", "/api/v1/products/{tail}", cw_cloud_api_product_change },
	{ "DELETE", "/api/v1/products/{tail}", cw_cloud_api_product_delete },
	{ "POST", "/api/v1/products/{tail}/names", cw_cloud_api_names },
	{ "POST", "/api/v1/products/{tail}/topics", on_class_add },
	{ "POST", "/api/v1/products/{tail}/broadcast", cw_cloud_api_broadcast },
	{ "GET", "/api/v1/products/{tail}/tsl", cw_cloud_api_tsl_get },
	{ "POST", "/api/v1/products/{tail}/tsl", cw_cloud_api_tsl },
	{ "GET", "/api/v1/products/{tail}/script", cw_cloud_api_script_get },
	{ "POST", "/api/v1/products/{tail}/script", cw_cloud_api_script },
	{ "GET", "/api/v1/devices/{pk}/{dn}", cw_cloud_api_device },
	{ "DELETE", "/api/v1/devices/{pk}/{dn}", on_delete },
	{ "POST", "/api/v1/devices/{pk}/{dn}/properties", cw_cloud_api_properties },
	{ "POST", "/api/v1/devices/{pk}/{dn}/services/{tail}", cw_cloud_api_service },
	{ "POST", "/api/v1/devices/{pk}/{dn}/raw", cw_cloud_api_raw },
	{ "POST", "/api/v1/devices/{pk}/{dn}/rrpc", cw_cloud_api_rrpc },
	{ "POST", "/api/v1/devices/{pk}/{dn}/tags", cw_cloud_api_tags },
	{ "POST", "/api/v1/devices/{pk}/{dn}/topo", on_topo },
	{ "POST", "/api/v1/devices/{pk}/{dn}/enable", on_enable },
	{ "POST", "/api/v1/devices/{pk}/{dn}/disable", on_disable },
	{ "POST", "/api/v1/devices/{pk}/{dn}/reset", cw_cloud_api_device_reset },
	{ "GET", "/api/v1/devices/{pk}/{dn}/certificate", cw_cloud_api_certificate },
	{ "GET", "/api/v1/devices/{pk}/{dn}/clients", cw_cloud_api_clients },
	{ "POST", "/api/v1/devices/{pk}/{dn}/clients", cw_cloud_api_client_keep },
	{ "DELETE", "/api/v1/devices/{pk}/{dn}/clients", cw_cloud_api_client_clear },
	{ "GET", "/api/v1/clients", cw_cloud_api_client_risks },
	{ "GET", "/api/v1/batches", cw_cloud_api_batches },
	{ "POST", "/api/v1/batches", cw_cloud_api_batch_add },
	{ "GET", "/api/v1/batches/{tail}", cw_cloud_api_batch },
	{ "POST", "/api/v1/batches/{tail}", cw_cloud_api_batch_create },
	{ "GET", "/api/v1/products/{tail}/packages", cw_cloud_api_packages },
	{ "POST", "/api/v1/products/{tail}/packages", cw_cloud_api_package_add },
	{ "GET", "/api/v1/packages/{tail}", cw_cloud_api_package },
	{ "DELETE", "/api/v1/packages/{tail}", cw_cloud_api_package_delete },
	{ "POST", "/api/v1/packages/{tail}/files", cw_cloud_api_package_file },
	{ "GET", "/api/v1/packages/{tail}/batches", cw_cloud_api_package_batches },
	{ "POST", "/api/v1/packages/{tail}/batches", cw_cloud_api_upgrade_start },
	{ "GET", "/api/v1/upgrades/{tail}", cw_cloud_api_upgrade },
	{ "POST", "/api/v1/upgrades/{tail}/cancel", cw_cloud_api_upgrade_cancel },
	{ "GET", "/api/v1/devices/{pk}/{dn}/upgrades", cw_cloud_api_upgrades },
	{ "GET", "/api/v1/devices/{pk}/{dn}/shadow", cw_cloud_api_shadow },
	{ "PUT", "/api/v1/devices/{pk}/{dn}/shadow", cw_cloud_api_shadow_put },
	{ "GET", "/api/v1/products/{tail}/config", cw_cloud_api_config },
	{ "PUT", "/api/v1/products/{tail}/config", cw_cloud_api_config_put },
	{ "POST", "/api/v1/products/{tail}/config/push", cw_cloud_api_config_push },
	{ "GET", "/api/v1/devices/{pk}/{dn}/logs", cw_cloud_api_logs },
	{ "POST", "/api/v1/devices/{pk}/{dn}/logs", cw_cloud_api_logs_switch },
	{ "GET", "/api/v1/devices/{pk}/{dn}/jobs", cw_cloud_api_jobs },
	{ "POST", "/api/v1/devices/{pk}/{dn}/jobs", cw_cloud_api_job_add },
	{ "DELETE", "/api/v1/devices/{pk}/{dn}/jobs/{tail}", cw_cloud_api_job_remove },
	{ "POST", "/api/v1/devices/{pk}/{dn}/bootstrap", cw_cloud_api_bootstrap },
	{ "GET", "/api/v1/messages", cw_cloud_api_messages },
	{ "GET", "/api/v1/messages/stream", cw_cloud_api_stream },
	{ "GET", "/api/v1/faults", cw_cloud_api_faults },
	{ "POST", "/api/v1/faults", cw_cloud_api_fault_add },
	{ "DELETE", "/api/v1/faults", cw_cloud_api_fault_remove },
	{ "DELETE", "/api/v1/faults/{tail}", cw_cloud_api_fault_remove },
	{ "GET", "/api/v1/violations", cw_cloud_api_violations },
	{ "GET", "/api/v1/clock", cw_cloud_api_clock },
	{ "POST", "/api/v1/clock", cw_cloud_api_clock_advance },
	{ "GET", "/api/v1/openapi.json", cw_cloud_api_document },
	{ "GET", "/api/v1/stats", cw_cloud_api_stats },
	{ "POST", "/api/v1/reset", on_reset },
};

/* These take the body as it comes, up to limits.packages; everything else is JSON of at most BODY_MAX. */
static void (*const takes_bytes[])(struct api_call *a) = {
	cw_cloud_api_raw, cw_cloud_api_rrpc, cw_cloud_api_broadcast, cw_cloud_api_names, cw_cloud_api_package_add,
	cw_cloud_api_package_file, cw_cloud_api_config_put, cw_cloud_api_script,
};

/* Levels of a path that stand for something. */
struct levels {
	struct cloud_text pk, dn, tail;
};

static int path_matches(const char *pattern, const char *path, struct levels *ret)
{
	while (*pattern != '\0') {
		struct cloud_text *into;
		size_t n;

		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return 0;
			continue;
		}
		into = pattern[1] == 'p' ? &ret->pk : pattern[1] == 'd' ? &ret->dn : &ret->tail;
		n = strcspn(path, "/");
		if (n == 0)
			return 0;
		*into = (struct cloud_text){ path, n };
		path += n;
		pattern = strchr(pattern, '}') + 1;
	}
	return *path == '\0';
}

static int read_body(struct api_call *a)
{
	size_t len;
	const char *text = cw_http_body(a->req, &len);

	if (strcmp(cw_http_method(a->req), "POST") != 0 && strcmp(cw_http_method(a->req), "PUT") != 0)
		return 0;
	a->body = len == 0 ? json_object() : cw_cloud_json(text, len, JSON_DECODE_ANY, NULL);
	return a->body != NULL ? 0 : CW_EPROTO;
}

static void dispatch(struct api_call *a, const struct route *r, const struct levels *at)
{
	char tail[128];
	size_t len, i;
	int bytes = 0;

	for (i = 0; i < sizeof(takes_bytes) / sizeof(takes_bytes[0]); i++)
		bytes |= takes_bytes[i] == r->handle;
	(void)cw_http_body(a->req, &len);
	if (!bytes && len > BODY_MAX) {
		cw_cloud_api_error(a->req, 413, "the body is too large");
		return;
	}
	if (!bytes && read_body(a) < 0) {
		cw_cloud_api_error(a->req, 400, "the body is not JSON");
		return;
	}
	if (at->pk.s != NULL) {
		a->device = cw_cloud_device_find(a->cloud, at->pk.s, at->pk.len, at->dn.s, at->dn.len);
		if (a->device == NULL) {
			cw_cloud_api_error(a->req, 404, "no such device");
			return;
		}
	}
	if (at->tail.s != NULL) {
		(void)snprintf(tail, sizeof(tail), "%.*s", (int)at->tail.len, at->tail.s);
		a->tail = tail;
	}
	r->handle(a);
}

static void on_http(void *arg, struct cw_http_req *req)
{
	struct cloud_api *api = arg;
	struct api_call a = { .cloud = api->cloud, .req = req };
	const char *foreign;
	int known = 0;
	size_t i;

	/* Links to files are signed, and devices may know this host by any name (downloadsUrl). */
	if (strncmp(cw_http_path(req), CLOUD_FILES_PATH, strlen(CLOUD_FILES_PATH)) == 0) {
		cw_cloud_web_file(api->cloud, req);
		return;
	}
	foreign = cw_http_foreign(api->http, req);
	if (foreign != NULL) {
		cw_cloud_api_error(req, 403, foreign);
		return;
	}
	if (cw_cloud_api_page(req))
		return;
	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct levels at = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };

		if (!path_matches(routes[i].path, cw_http_path(req), &at))
			continue;
		known = 1;
		if (strcmp(routes[i].method, cw_http_method(req)) != 0)
			continue;
		dispatch(&a, &routes[i], &at);
		json_decref(a.body);
		return;
	}
	cw_cloud_api_error(req, known ? 405 : 404, known ? "method not allowed here" : "no such path; causeway-cloud --help lists them, /api/v1/devices is one");
}

static int front_open(const struct cloud_front_conf *front, void **ret_front, struct cw_msg *msg)
{
	struct cloud_api *a = cw_zalloc(sizeof(*a));
	struct cw_http_conf conf = { .address = front->address, .max_body = BODY_MAX, .handle = on_http, .arg = a,
	                             .settle = cw_cloud_settle, .settle_arg = front->cloud };
	int rc;

	if (a == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	a->cloud = front->cloud;
	if (a->cloud->conf.limits.package_bytes > conf.max_body)
		conf.max_body = a->cloud->conf.limits.package_bytes;
	rc = cw_http_open(a->cloud->worker, &conf, &a->http, msg);
	if (rc < 0) {
		cw_free(a);
		return rc;
	}
	*ret_front = a;
	return 0;
}

static const char *front_address(const void *front)
{
	const struct cloud_api *a = front;

	return cw_http_address(a->http);
}

static void on_http_closed(void *arg)
{
	struct cloud_api *a = arg;
	void (*closed)(void *arg) = a->closed;
	void *closed_arg = a->closed_arg;

	cw_free(a);
	if (closed != NULL)
		closed(closed_arg);
}

static void front_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct cloud_api *a = front;

	a->closed = closed;
	a->closed_arg = arg;
	cw_http_close(a->http, on_http_closed, a);
}

const struct cloud_front cw_cloud_api_front = { front_open, front_address, front_close };
