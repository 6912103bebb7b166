/*
 * front.c - the HTTPS listener; see front.h. What requests mean is in device.c and auth_host.c.
 *
 * An answer that a fault keeps back waits in a *hold*, with its request: until a time, until a stall is over, or until
 * the client must have given up. The connection is not read meanwhile.
 */
#include "cloud/core/save.h"
#include "cloud/https/front.h"

#include <stdlib.h>
#include <string.h>

#include "cloud/core/save.h"
#include "cloud/https/device.h"
#include "cloud/web/files.h"

#define BODY_MAX (1u << 20) /* what is taken off the wire; limits below it are answered as the platform does */
#define WITHHELD_MS 60000u  /* then a connection without an answer is closed */
#define STALL_MS 20u        /* between two looks whether a stall is over */

static const struct {
	const char *path;
	https_fn fn;
} paths[] = {
	{ "/auth", cw_cloud_https_auth },
	{ "/topic/", cw_cloud_https_topic },
	{ "/auth/register/device", cw_cloud_https_register },
	{ "/auth/bootstrap", cw_cloud_https_bootstrap },
	{ "/auth/devicename", cw_cloud_https_device_name },
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

struct https_front;

struct https_path {
	struct https_front *front;
	https_fn fn;
};

struct https_front {
	struct https_device device; /* requests that carry a device's business */
	struct cw_cloud *cloud;
	struct cloud_routes *routes;
	struct cw_http *http;
	struct https_path path[PATHS];
	void (*closed)(void *arg);
	void *closed_arg;
};

struct hold {
	struct https_path *path;
	struct cw_http_req *req;
	struct cw_timer timer;
	json_t *body; /* of the answer */
	unsigned status;
	int again; /* the request was not looked at yet */
};

static void serve(struct https_path *path, struct cw_http_req *req);

static void reply(struct cw_http_req *req, unsigned status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	cw_http_reply(req, status, text != NULL ? "application/json" : NULL, text != NULL ? text : "",
		      text != NULL ? strlen(text) : 0);
	free(text);
	json_decref(body);
}

/* ---- answers kept back ---- */

static void hold_free(struct hold *x)
{
	if (cw_worker_timers(x->path->front->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(x->path->front->cloud->worker), &x->timer);
	json_decref(x->body);
	cw_free(x);
}

static void on_gone(void *arg)
{
	hold_free(arg);
}

static void on_hold_over(struct cw_timer *t)
{
	struct hold *x = cw_container_of(t, struct hold, timer);
	struct https_path *path = x->path;
	struct cw_http_req *req = x->req;
	json_t *body = json_incref(x->body);
	unsigned status = x->status;
	int again = x->again;

	cw_http_on_gone(req, NULL, NULL);
	hold_free(x);
	if (again) {
		serve(path, req);
	} else if (status != 0) {
		reply(req, status, body);
	} else {
		json_decref(body);
		cw_http_abort(req);
	}
}

/* Consumes ret->body. */
static void hold(struct https_path *path, struct cw_http_req *req, struct https_answer *ret)
{
	struct hold *x = cw_zalloc(sizeof(*x));

	if (x == NULL) {
		json_decref(ret->body);
		cw_http_abort(req);
		return;
	}
	x->path = path;
	x->req = req;
	x->body = ret->body;
	x->status = ret->withheld ? 0 : ret->status;
	x->again = ret->stalled;
	cw_http_on_gone(req, on_gone, x);
	cw_timer_set(cw_worker_timers(path->front->cloud->worker), &x->timer,
		     ret->stalled    ? STALL_MS
		     : ret->withheld ? WITHHELD_MS
				     : ret->delay_ms,
		     on_hold_over);
}

/* ---- requests ---- */

static void serve(struct https_path *path, struct cw_http_req *req)
{
	const char *query = strchr(cw_http_target(req), '?');
	struct https_answer ret = { .status = 0 };
	struct https_ask ask = { .path = cw_http_path(req),
				 .query = query != NULL ? query + 1 : NULL,
				 .type = cw_http_header(req, "Content-Type"),
				 .token = cw_http_header(req, "password"),
				 .host = cw_http_header(req, "Host"),
				 .peer = cw_http_peer(req),
				 .too_large = cw_http_too_large(req) };

	ask.body = cw_http_body(req, &ask.len);
	path->fn(&path->front->device, &ask, &ret);
	if (ret.cut) {
		json_decref(ret.body);
		cw_http_abort(req);
		return;
	}
	if (ret.stalled || ret.withheld || ret.delay_ms != 0)
		hold(path, req, &ret);
	else
		reply(req, ret.status, ret.body);
}

static void on_path(void *arg, struct cw_http_req *req)
{
	static const struct cw_http_field allow = { "Allow", "POST" };

	if (strcmp(cw_http_method(req), "POST") != 0)
		cw_http_reply_with(req, 405, &allow, 1, "", 0);
	else
		serve(arg, req);
}

static void on_http(void *arg, struct cw_http_req *req)
{
	struct https_front *f = arg;

	if (cw_cloud_routes_serve(f->routes, req) < 0)
		cw_http_reply(req, 404, NULL, "", 0);
}

/* ---- opening and closing ---- */

static void settle(void *arg)
{
	struct https_front *f = arg;

	cw_cloud_commit(f->cloud);
}

static int open_http(struct https_front *f, const struct cloud_front_conf *front, struct cw_msg *msg)
{
	struct cw_http_conf conf = {
		.address = front->address, .max_body = BODY_MAX, .max_head = CLOUD_WEB_HEAD, .hand_large = 1, .handle = on_http, .arg = f,
		.settle = settle
	};
	char *certificate = NULL, *key = NULL;
	int rc = cw_cloud_tls_pem(front->tls, &certificate, &key);

	if (rc < 0)
		return cw_fail(msg, rc, "out of memory");
	conf.tls_certificate = certificate;
	conf.tls_key = key;
	rc = cw_http_open(f->cloud->worker, &conf, &f->http, msg);
	cw_cloud_tls_pem_free(certificate, key);
	return rc;
}

static int front_open(const struct cloud_front_conf *front, void **ret_front, struct cw_msg *msg)
{
	struct https_front *f = cw_zalloc(sizeof(*f));
	size_t i;
	int rc = f != NULL ? cw_cloud_routes_add(front->routes, CLOUD_FILES_PATH, cw_cloud_web_file, front->cloud)
			   : CW_ENOMEM;

	for (i = 0; i < PATHS && rc == 0; i++) {
		f->path[i] = (struct https_path){ f, paths[i].fn };
		rc = cw_cloud_routes_add(front->routes, paths[i].path, on_path, &f->path[i]);
	}
	if (rc < 0) {
		cw_free(f);
		return cw_fail(msg, rc, "out of memory");
	}
	f->cloud = f->device.cloud = front->cloud;
	f->routes = front->routes;
	rc = open_http(f, front, msg);
	if (rc < 0) {
		cw_free(f);
		return rc;
	}
	*ret_front = f;
	return 0;
}

static const char *front_address(const void *front)
{
	return cw_http_address(((const struct https_front *)front)->http);
}

static void on_http_closed(void *arg)
{
	struct https_front *f = arg;
	void (*closed)(void *arg) = f->closed;
	void *closed_arg = f->closed_arg;

	cw_free(f);
	if (closed != NULL)
		closed(closed_arg);
}

static void front_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct https_front *f = front;

	f->closed = closed;
	f->closed_arg = arg;
	cw_http_close(f->http, on_http_closed, f);
}

const struct cloud_front cw_cloud_https_front = { front_open, front_address, front_close };
