/* office.c - the office front, as far as metrics and health go. */
#include <string.h>

#include "base/mem.h"
#include "factory/factory.h"
#include "factory/report.h"

struct office {
	struct factory *factory;
	struct cw_http *http;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void on_request(void *arg, struct cw_http_req *req)
{
	struct office *o = arg;
	const char *path = cw_http_path(req);
	int health = strcmp(path, "/health") == 0, status;
	char *text;
	size_t len;

	if (!health && strcmp(path, "/metrics") != 0) {
		cw_http_reply(req, 404, "text/plain", "not found\n", 10);
		return;
	}
	status = health ? factory_health_json(o->factory, &text, &len) : factory_metrics_text(o->factory, &text, &len);
	if (status < 0) {
		cw_http_reply(req, 503, "text/plain", "out of memory\n", 14);
		return;
	}
	cw_http_reply(req, health ? (unsigned)status : 200, health ? "application/json" : "text/plain; version=0.0.4", text, len);
	cw_free(text);
}

static int office_open(struct factory *f, const struct factory_listen *listen, void **ret_front, struct cw_msg *msg)
{
	struct office *o = cw_zalloc(sizeof(*o));
	struct cw_http_conf conf = { .max_body = 65536, .handle = on_request, .arg = o };
	int rc;

	if (o == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	o->factory = f;
	rc = cw_factory_http_open(f, cw_factory_office.name, listen, &conf, &o->http, msg);
	if (rc < 0) {
		cw_free(o);
		return rc;
	}
	*ret_front = o;
	return 0;
}

static const char *office_address(void *front)
{
	return cw_http_address(((struct office *)front)->http);
}

static void on_closed(void *arg)
{
	struct office *o = arg;
	void (*closed)(void *arg) = o->closed;
	void *closed_arg = o->closed_arg;

	cw_free(o);
	closed(closed_arg);
}

static void on_drained(void *arg)
{
	struct office *o = arg;

	cw_http_close(o->http, on_closed, o);
}

static void office_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct office *o = front;

	o->closed = closed;
	o->closed_arg = arg;
	cw_http_drain(o->http, (uint64_t)o->factory->conf->stop_ms, on_drained, o);
}

const struct factory_front cw_factory_office = { "office", office_open, office_address, office_close };
