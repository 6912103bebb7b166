/*
 * line.c - the distribution front: stations ask for certificates and report what they have written (factory.md C).
 *
 * A request is looked at on the loop, waits at the desk, and is answered when its transaction is on the disk. Who has hung up meanwhile is
 * served all the same: its board asks again with the same DeviceID.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/factory.h"
#include "factory/line/request.h"
#include "factory/stations.h"
#include "http/secret.h"

/* Of a request's line and header fields. A connection has that much for itself, cleared between any two requests. */
#define HEAD_MOST (8u << 10)

struct line {
	struct factory *factory;
	struct cw_http *http;
	int certificate_needed;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* A request that waits at the desk. */
struct asked {
	struct cw_desk_ask ask;
	struct factory *factory;
	struct cw_http_req *req; /* NULL: its client is gone */
	struct factory_request request;
	struct factory_caller caller;
};

/* ---- answers -------------------------------------------------------------------------------- */

static void count_answer(enum cw_stock_answer answer)
{
	switch (answer) {
	case CW_STOCK_OK: cw_count(factory, answer_ok); break;
	case CW_STOCK_UNKNOWN_PRODUCT: cw_count(factory, answer_unknown_product); break;
	case CW_STOCK_OUT_OF_STOCK: cw_count(factory, answer_out_of_stock); break;
	case CW_STOCK_UNKNOWN_DEVICE: cw_count(factory, answer_unknown_device); break;
	case CW_STOCK_BATCH_CLOSED: cw_count(factory, answer_batch_closed); break;
	case CW_STOCK_QUOTA_EXCEEDED: cw_count(factory, answer_quota_exceeded); break;
	case CW_STOCK_BAD_REQUEST: cw_count(factory, answer_bad_request); break;
	case CW_STOCK_UNAUTHORIZED: cw_count(factory, answer_unauthorized); break;
	case CW_STOCK_BUSY:
	case CW_STOCK_ANSWER_COUNT: cw_count(factory, answer_busy); break;
	}
}

/* Takes `text`. `answer`: for what the header says. */
static void send_reply(struct cw_http_req *req, enum cw_stock_answer answer, unsigned http, char *text, size_t len)
{
	struct cw_http_field fields[3] = { { "Content-Type", "application/json" }, { "Cache-Control", "no-store" } };
	size_t count = 2;

	if (answer == CW_STOCK_BUSY)
		fields[count++] = (struct cw_http_field){ "Retry-After", "1" };
	else if (answer == CW_STOCK_UNAUTHORIZED)
		fields[count++] = (struct cw_http_field){ "WWW-Authenticate", "Bearer realm=\"causeway-factory\"" };
	else if (http == 405)
		fields[count++] = (struct cw_http_field){ "Allow", "POST" };
	cw_http_reply_secret(req, http, fields, count, text, len);
}

/* `text` NULL: what C.3 says; http 0 likewise. */
static void refuse(struct cw_http_req *req, const struct factory_request *request, enum cw_stock_answer answer, unsigned http,
		   const char *text)
{
	char *reply;
	size_t len;

	if (text == NULL)
		text = cw_factory_answer_text(answer);
	count_answer(answer);
	if (cw_factory_reply_refusal(request, answer, text, &reply, &len) < 0)
		cw_http_abort(req);
	else
		send_reply(req, answer, http != 0 ? http : cw_factory_answer_http(answer), reply, len);
}

static void log_refusal(const char *station, const char *address, enum cw_stock_answer answer, const char *text,
			const struct cw_stock_ask *ask)
{
	cw_log(factory_refused, text != NULL ? text : cw_factory_answer_text(answer), CW_LS("status", cw_factory_answer_status(answer)),
	       CW_LS("station", station), CW_LS("address", address), CW_LS("product", ask != NULL ? ask->product_key : ""),
	       CW_LB("deviceId", ask != NULL ? (const char *)ask->device_id.ptr : "", ask != NULL ? ask->device_id.len : 0));
}

/* ---- the desk's answer ------------------------------------------------------------------------ */

static void count_served(const struct cw_stock_ask *a)
{
	if (a->answer != CW_STOCK_OK)
		return;
	if (a->action == CW_STOCK_REPORT) {
		cw_count_n(factory, written, a->fresh != 0);
		return;
	}
	cw_count_n(factory, allocated, a->fresh != 0);
	cw_count_n(factory, again, a->fresh == 0);
	cw_count_n(factory, anonymous, a->fresh != 0 && a->anonymous);
}

static int make_reply(const struct asked *a, char **ret_text, size_t *ret_len)
{
	const struct cw_stock_ask *ask = &a->ask.ask;

	if (ask->answer != CW_STOCK_OK)
		return cw_factory_reply_refusal(&a->request, ask->answer, cw_factory_answer_text(ask->answer), ret_text, ret_len);
	if (ask->action == CW_STOCK_REPORT)
		return cw_factory_reply_report(ask->product_key, ask->device_id, ret_text, ret_len);
	return cw_factory_reply_cert(&ask->cert, ask->device_id, ret_text, ret_len);
}

static void free_asked(struct asked *a)
{
	explicit_bzero(&a->ask.ask.cert, sizeof(a->ask.ask.cert));
	cw_factory_request_fini(&a->request);
	cw_free(a);
}

static void on_served(struct cw_desk_ask *desk_ask)
{
	struct asked *a = cw_container_of(desk_ask, struct asked, ask);
	const struct cw_stock_ask *ask = &a->ask.ask;
	char *text;
	size_t len;

	count_answer(ask->answer);
	count_served(ask);
	cw_factory_station_answered(a->factory->stations, a->caller.name, ask->answer, ask);
	if (ask->answer == CW_STOCK_OK)
		cw_log(factory_answer, ask->action == CW_STOCK_REPORT ? "written" : ask->fresh ? "allocated" : "again",
		       CW_LS("station", a->caller.name), CW_LS("product", ask->product_key), CW_LS("device", ask->cert.device_name),
		       CW_LS("deviceId", ask->cert.device_id));
	else if (ask->answer != CW_STOCK_BUSY) /* the desk has said why, once */
		log_refusal(a->caller.name, a->caller.address, ask->answer, NULL, ask);
	if (a->req == NULL)
		cw_count(factory, unheard);
	else if (make_reply(a, &text, &len) < 0)
		cw_http_abort(a->req);
	else
		send_reply(a->req, ask->answer, cw_factory_answer_http(ask->answer), text, len);
	free_asked(a);
}

static void on_gone(void *arg)
{
	struct asked *a = arg;

	a->req = NULL;
}

/* ---- requests ------------------------------------------------------------------------------------ */

/* Takes what is in `request`. */
static void ask_desk(struct line *line, struct cw_http_req *req, struct factory_request *request, const struct factory_caller *caller,
		     int64_t now)
{
	struct asked *a = cw_zalloc(sizeof(*a));
	struct cw_stock_ask *ask;
	char id[CW_STOCK_DEVICE_ID + 1] = "";

	if (a == NULL) {
		refuse(req, request, CW_STOCK_BUSY, 0, NULL);
		cw_factory_request_fini(request);
		return;
	}
	a->factory = line->factory;
	a->req = req;
	a->request = *request;
	a->caller = *caller;
	a->caller.station = NULL; /* a reload may come before the answer */
	a->ask.done = on_served;
	ask = &a->ask.ask;
	*ask = (struct cw_stock_ask){
		.action = request->action,
		.product_key = request->product_key,
		.device_id = request->device_id,
		.who = { a->caller.name, a->caller.address },
		.quota = caller->quota,
		.quota_since = caller->quota_since,
	};
	if (request->device_id.len != 0)
		memcpy(id, request->device_id.ptr, request->device_id.len);
	cw_factory_station_asks(line->factory->stations, caller, request->product_key, id, now);
	cw_http_on_gone(req, on_gone, a);
	cw_desk_ask(line->factory->desk, &a->ask);
}

static int find_caller(const struct line *line, const struct cw_http_req *req, int64_t now, struct factory_caller *ret, const char **ret_why)
{
	const struct factory_sign sign = {
		.authorization = cw_http_header(req, "Authorization"),
		.certificate = line->certificate_needed ? cw_http_client(req) : NULL,
		.certificate_needed = line->certificate_needed,
		.peer = cw_http_peer(req),
	};

	return cw_factory_station_find(line->factory->stations, &sign, now, ret, ret_why);
}

/* A POST on a path that is ours, its body whole. */
static void serve(struct line *line, struct cw_http_req *req)
{
	struct factory_request request;
	struct factory_caller caller;
	struct cw_msg msg = { "" };
	const char *body, *why = NULL;
	enum cw_stock_answer answer = CW_STOCK_OK;
	int64_t now = cw_clock_wall_ms();
	size_t len;
	int rc;

	body = cw_http_body(req, &len);
	rc = cw_factory_request_parse(body, len, &request, &msg);
	if (find_caller(line, req, now, &caller, &why) < 0 ||
	    (rc == 0 && !cw_factory_station_may(&caller, request.product_key))) {
		answer = CW_STOCK_UNAUTHORIZED;
	} else if (rc < 0) {
		answer = CW_STOCK_BAD_REQUEST;
		why = msg.text;
	} else if (strlen(request.product_key) > CW_STOCK_PRODUCT_KEY) {
		answer = CW_STOCK_UNKNOWN_PRODUCT;
	}
	if (answer == CW_STOCK_OK) {
		cw_count_n(factory, deviations, request.deviation);
		ask_desk(line, req, &request, &caller, now);
		return;
	}
	log_refusal(caller.name, caller.address, answer, why, NULL);
	cw_factory_station_asks(line->factory->stations, &caller, "", "", now);
	cw_factory_station_answered(line->factory->stations, caller.name, answer, NULL);
	refuse(req, &request, answer, 0, why);
	cw_factory_request_fini(&request);
}

static void on_request(void *arg, struct cw_http_req *req)
{
	static const struct factory_request none = { .body = NULL };
	struct line *line = arg;
	const char *path = cw_http_path(req);

	cw_count(factory, requests);
	if (strcmp(path, "/api") == 0 || strncmp(path, "/api/", 5) == 0)
		refuse(req, &none, CW_STOCK_BAD_REQUEST, 404,
		       "this port serves only the distribution protocol; page and API are on the office's, devices in the field have one of their own");
	else if (strcmp(cw_http_method(req), "POST") != 0)
		refuse(req, &none, CW_STOCK_BAD_REQUEST, 405, "send a POST with {\"ProductKey\":\"..\",\"DeviceID\":\"..\",\"Action\":0} as its body");
	else if (cw_http_too_large(req))
		refuse(req, &none, CW_STOCK_BAD_REQUEST, 413, "the body has more than 64 KiB; a request has a ProductKey, a DeviceID and an Action");
	else
		serve(line, req);
}

/* ---- the front ------------------------------------------------------------------------------------ */

static int line_open(struct factory *f, const struct factory_listen *listen, void **ret_front, struct cw_msg *msg)
{
	struct line *line = cw_zalloc(sizeof(*line));
	struct cw_http_conf conf = { .max_body = CW_FACTORY_BODY_MOST, .max_head = HEAD_MOST, .hand_large = 1, .handle = on_request, .arg = line };
	int rc;

	if (line == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	line->factory = f;
	line->certificate_needed = listen->tls.client_ca != NULL;
	rc = cw_factory_http_open(f, cw_factory_line.name, listen, &conf, &line->http, msg);
	if (rc < 0) {
		cw_free(line);
		return rc;
	}
	*ret_front = line;
	return 0;
}

static const char *line_address(void *front)
{
	struct line *line = front;

	return cw_http_address(line->http);
}

static void on_closed(void *arg)
{
	struct line *line = arg;
	void (*closed)(void *arg) = line->closed;
	void *closed_arg = line->closed_arg;

	cw_free(line);
	closed(closed_arg);
}

static void on_drained(void *arg)
{
	struct line *line = arg;

	cw_http_close(line->http, on_closed, line);
}

static void line_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct line *line = front;

	line->closed = closed;
	line->closed_arg = arg;
	cw_http_drain(line->http, (uint64_t)line->factory->conf->stop_ms, on_drained, line);
}

const struct factory_front cw_factory_line = { "line", line_open, line_address, line_close };
