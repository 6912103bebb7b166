/*
 * office.c - the office front: who may ask for what, the page out of the binary, and calls to the office's thread.
 *
 * GET /health            open to whoever reaches the listener
 * GET /, /page.css, ..   the page; it holds no data of its own
 * /api/v1/session        log-in, log-out, who am I
 * GET /metrics           for operators, as the rest: its labels name products and batches
 * everything else        for operators; without `operators` in the configuration the listener is on loopback, and everybody is one
 */
#include "factory/office/office.h"
#include "factory/report.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "http/origin.h"

#define CALLS_MAX 256u /* at a time; the office does one after the other */

/* ---- answers -------------------------------------------------------------------------------- */

/* No script but ours, nobody's frame, nothing kept: a shared tablet's cache is everybody's. */
static void reply(struct cw_http_req *req, unsigned status, const char *type, const char *cookie, const void *text, size_t len)
{
	const struct cw_http_field fields[] = {
		{ "Content-Type", type },
		{ "Cache-Control", "no-store" },
		{ "Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
					     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'" },
		{ "X-Frame-Options", "DENY" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
		{ "Set-Cookie", cookie },
	};

	cw_http_reply_with(req, status, fields, sizeof(fields) / sizeof(fields[0]) - (cookie == NULL), text, len);
}

void office_reply_text(struct cw_http_req *req, unsigned status, const char *type, const void *text, size_t len)
{
	reply(req, status, type, NULL, text, len);
}

void office_reply_cookie(struct cw_http_req *req, unsigned status, struct cw_json *j, const char *cookie)
{
	static const char lost[] = "{\"code\":\"UNAVAILABLE\",\"message\":\"the answer does not fit into memory; ask for less\"}";
	char *text;
	size_t len;

	if (cw_json_finish(j, &text, &len) < 0) {
		reply(req, 503, "application/json", NULL, lost, sizeof(lost) - 1);
		return;
	}
	reply(req, status, "application/json", cookie, text, len);
	cw_free(text);
}

void office_reply_json(struct cw_http_req *req, unsigned status, struct cw_json *j)
{
	office_reply_cookie(req, status, j, NULL);
}

void office_refuse(struct cw_http_req *req, unsigned status, const char *code, const char *message)
{
	struct cw_json j;

	cw_json_begin(&j, 8192);
	cw_json_map(&j);
	cw_json_field(&j, "code", code);
	cw_json_field(&j, "message", message);
	cw_json_end_map(&j);
	office_reply_json(req, status, &j);
}

void office_put_int(struct cw_json *j, const char *key, int64_t v)
{
	cw_json_text(j, key);
	cw_json_int(j, v);
}

void office_put_bool(struct cw_json *j, const char *key, int v)
{
	cw_json_text(j, key);
	cw_json_bool(j, v);
}

/* ---- life ------------------------------------------------------------------------------------ */

void office_hold(struct office *o)
{
	o->calls++;
}

void office_release(struct office *o)
{
	void (*closed)(void *arg) = o->closed;
	void *arg = o->closed_arg;

	if (--o->calls != 0)
		return;
	cw_free(o->line.text);
	explicit_bzero(&o->door, sizeof(o->door));
	cw_free(o);
	if (closed != NULL)
		closed(arg);
}

/* ---- arguments of calls -------------------------------------------------------------------- */

const char *office_text(const struct office_call *c, const char *name)
{
	const char *text = json_string_value(json_object_get(c->args, name));

	return text != NULL && text[0] != '\0' ? text : NULL;
}

int office_number(struct office_call *c, const char *name, int64_t dflt, int64_t *ret)
{
	const json_t *v = json_object_get(c->args, name);
	const char *text = json_string_value(v);
	int used = 0;
	long long n = -1;

	*ret = dflt;
	if (v == NULL || json_is_null(v) || (text != NULL && text[0] == '\0'))
		return 0;
	if (json_is_integer(v))
		n = json_integer_value(v);
	else if (text == NULL || strlen(text) > 18 || sscanf(text, "%lld%n", &n, &used) != 1 || text[used] != '\0')
		n = -1;
	if (n < 0)
		return cw_fail(&c->job.msg, CW_EINVAL, "%s: a whole number from 0 on is accepted", name);
	*ret = n;
	return 0;
}

int office_flag(const struct office_call *c, const char *name)
{
	const json_t *v = json_object_get(c->args, name);
	const char *text = json_string_value(v);

	return json_is_true(v) || (text != NULL && (strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0));
}

struct cw_stock_actor office_actor(const struct office_call *c)
{
	return (struct cw_stock_actor){ .name = c->who, .address = c->address };
}

/* ---- calls ------------------------------------------------------------------------------------ */

static void call_free(struct office_call *c)
{
	if (c->body != NULL) {
		explicit_bzero(c->body, c->body_len);
		cw_free(c->body);
	}
	explicit_bzero(c->product_secret, sizeof(c->product_secret));
	json_decref(c->args);
	cw_json_drop(&c->json);
	cw_free(c);
}

static void on_gone(void *arg)
{
	((struct office_call *)arg)->req = NULL;
}

static void call_work(struct cw_desk_job *job, struct cw_stock *s)
{
	struct office_call *c = cw_container_of(job, struct office_call, job);

	if (s == NULL) {
		c->rc = CW_EUNREACH;
		return;
	}
	cw_json_map(&c->json);
	c->rc = c->route->work(c, s);
	job->reopen = c->rc == CW_EUNREACH || c->rc == CW_EIO;
	cw_json_end_map(&c->json);
}

static void refuse_call(struct cw_http_req *req, int rc, const char *text)
{
	if (text[0] == '\0')
		text = cw_error_text(rc);
	switch (rc) {
	case CW_ENOENT: office_refuse(req, 404, "NOT_FOUND", text); return;
	case CW_EEXIST: office_refuse(req, 409, "CONFLICT", text); return;
	case CW_EINVAL:
	case CW_EPROTO:
	case CW_ELIMIT: office_refuse(req, 400, "BAD_REQUEST", text); return;
	case CW_EACCESS:
	case CW_EAUTH:
	case CW_ECONF:
	case CW_EINTERNAL: office_refuse(req, 500, "FAILED", text); return;
	default: office_refuse(req, 503, "UNAVAILABLE", text);
	}
}

static unsigned lengthy_bit(const struct office_route *r)
{
	return r->lengthy ? 1u << (r->work == office_import) : 0;
}

static void call_done(struct cw_desk_job *job)
{
	struct office_call *c = cw_container_of(job, struct office_call, job);
	struct office *o = c->office;

	o->lengthy &= ~lengthy_bit(c->route);
	if (c->route->need == OFFICE_CHANGE)
		office_line_stale(o);
	if (c->req != NULL) {
		cw_http_on_gone(c->req, NULL, NULL);
		if (c->rc == 0)
			office_reply_json(c->req, c->status != 0 ? c->status : 200, &c->json);
		else
			refuse_call(c->req, c->rc, c->job.msg.text);
	}
	call_free(c);
	office_release(o);
}

static void lengthy_work(uv_work_t *work)
{
	struct office_call *c = cw_container_of(work, struct office_call, lengthy);
	struct cw_stock *s = NULL;

	if (cw_stock_open(cw_desk_conf(c->office->factory->desk), &s, &c->job.msg) < 0)
		s = NULL;
	call_work(&c->job, s);
	cw_stock_close(s);
}

static void lengthy_done(uv_work_t *work, int status)
{
	call_done(&cw_container_of(work, struct office_call, lengthy)->job);
}

static void each_param(void *arg, const char *name, const char *value)
{
	struct office_call *c = arg;

	if (json_object_get(c->args, name) == NULL) /* the first counts; one that is not UTF-8 is left out */
		(void)json_object_set_new(c->args, name, json_string(value));
}

/* The JSON body of a change, or the query. 0, or answered. */
static int read_args(struct office_call *c, struct cw_http_req *req)
{
	const char *type = cw_http_header(req, "Content-Type"), *text;
	size_t len;

	if (strcmp(c->route->method, "GET") == 0 || c->route->work == office_import) {
		c->args = json_object();
		cw_http_params(req, each_param, c);
		return 0;
	}
	/* Of the types that a form of another page can send, none is this one. */
	if (type == NULL || strncasecmp(type, "application/json", 16) != 0 || strchr("; ", type[16]) == NULL) {
		office_refuse(req, 415, "BAD_REQUEST", "the body is to be JSON, with Content-Type: application/json");
		return CW_EINVAL;
	}
	text = cw_http_body(req, &len);
	c->args = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(c->args)) {
		office_refuse(req, 400, "BAD_REQUEST", "the body is not a JSON object");
		return CW_EPROTO;
	}
	return 0;
}

/* The file becomes the call's, and the secret that goes with it. 0, or answered. */
static int read_file(struct office_call *c, struct cw_http_req *req)
{
	const char *secret = cw_http_header(req, "X-Product-Secret"), *type = cw_http_header(req, "Content-Type");

	if (type == NULL || (strncasecmp(type, "text/csv", 8) != 0 && strncasecmp(type, "application/octet-stream", 24) != 0)) {
		office_refuse(req, 415, "BAD_REQUEST", "the body is to be the CSV file itself, with Content-Type: text/csv");
		return CW_EINVAL;
	}
	if (secret != NULL)
		(void)snprintf(c->product_secret, sizeof(c->product_secret), "%s", secret);
	c->body = cw_http_take_body(req, &c->body_len);
	if (c->body == NULL) {
		office_refuse(req, 400, "BAD_REQUEST", "the file is empty");
		return CW_EINVAL;
	}
	return 0;
}

/* Of "host:port" the host: the port says nothing afterwards. */
static void note_address(char *out, size_t size, const char *peer)
{
	const char *port = strrchr(peer, ':');

	(void)snprintf(out, size, "%.*s", port != NULL ? (int)(port - peer) : (int)strlen(peer), peer);
}

static void run_call(struct office *o, const struct office_route *r, struct cw_http_req *req, const struct office_who *who)
{
	struct office_call *c;

	if (o->calls > CALLS_MAX || (o->lengthy & lengthy_bit(r)) != 0) {
		office_refuse(req, 503, "BUSY", r->lengthy ? "another one is under way; try again when it has ended" : "too much is asked for at once; try again");
		return;
	}
	c = cw_zalloc(sizeof(*c));
	if (c == NULL) {
		office_refuse(req, 503, "UNAVAILABLE", "out of memory");
		return;
	}
	c->office = o;
	c->route = r;
	c->job.work = call_work;
	c->job.done = call_done;
	cw_json_begin(&c->json, OFFICE_ANSWER_MAX);
	(void)snprintf(c->who, sizeof(c->who), "page:%s", who->name);
	note_address(c->address, sizeof(c->address), cw_http_peer(req));
	if (read_args(c, req) < 0 || (r->work == office_import && read_file(c, req) < 0)) {
		call_free(c);
		return;
	}
	c->req = req;
	cw_http_on_gone(req, on_gone, c);
	o->lengthy |= lengthy_bit(r);
	office_hold(o);
	if (!r->lengthy)
		cw_desk_do(o->factory->desk, &c->job);
	else
		(void)uv_queue_work(cw_worker_loop(o->factory->loop), &c->lengthy, lengthy_work, lengthy_done); /* fails without a function only */
}

/* ---- the page ----------------------------------------------------------------------------------- */

#define FILES(X) \
	X("/", "text/html; charset=utf-8", cw_factory_page_html)      \
	X("/page.css", "text/css; charset=utf-8", cw_factory_page_css) \
	X("/page.js", "text/javascript; charset=utf-8", cw_factory_page_js)

#define DECLARE(path, type, name) \
	extern const unsigned char name[]; \
	extern const size_t name##_len;
FILES(DECLARE)
#undef DECLARE

static int serve_file(struct cw_http_req *req)
{
	static const struct {
		const char *path, *type;
		const unsigned char *data;
		const size_t *len;
	} files[] = {
#define ROW(path, type, name) { path, type, name, &name##_len },
		FILES(ROW)
#undef ROW
	};
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(files[i].path, cw_http_path(req)) != 0 || strcmp(cw_http_method(req), "GET") != 0)
			continue;
		office_reply_text(req, 200, files[i].type, files[i].data, *files[i].len);
		return 1;
	}
	return 0;
}

/* ---- what operations asks for -------------------------------------------------------------------- */

static void answer_health(struct office *o, struct cw_http_req *req)
{
	char *text;
	size_t len;
	int status = factory_health_json(o->factory, &text, &len);

	if (status < 0) {
		office_refuse(req, 503, "UNAVAILABLE", "out of memory");
		return;
	}
	office_reply_text(req, (unsigned)status, "application/json", text, len);
	cw_free(text);
}

static void answer_metrics(struct office *o, struct cw_http_req *req)
{
	char *text;
	size_t len;

	if (factory_metrics_text(o->factory, &text, &len) < 0) {
		office_refuse(req, 503, "UNAVAILABLE", "out of memory");
		return;
	}
	office_reply_text(req, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
	cw_free(text);
}

/* ---- routes ----------------------------------------------------------------------------------- */

static const struct office_route routes[] = {
	{ "GET", "/health", OFFICE_OPEN, NULL, answer_health, 0 },
	{ "GET", "/metrics", OFFICE_READ, NULL, answer_metrics, 0 },
	{ "GET", "/api/v1/session", OFFICE_OPEN, NULL, office_session_get, 0 },
	{ "POST", "/api/v1/session", OFFICE_OPEN, NULL, office_session_post, 0 },
	{ "DELETE", "/api/v1/session", OFFICE_OPEN, NULL, office_session_delete, 0 },
	{ "GET", "/api/v1/line", OFFICE_READ, NULL, office_line, 0 },
	{ "GET", "/api/v1/devices", OFFICE_READ, office_devices, NULL, 0 },
	{ "GET", "/api/v1/board", OFFICE_READ, office_board, NULL, 0 },
	{ "GET", "/api/v1/batches", OFFICE_READ, office_batches, NULL, 0 },
	{ "GET", "/api/v1/products", OFFICE_READ, office_products, NULL, 0 },
	{ "GET", "/api/v1/audit", OFFICE_READ, office_audit, NULL, 0 },
	{ "GET", "/api/v1/audit/verify", OFFICE_READ, office_verify, NULL, 1 },
	{ "POST", "/api/v1/import", OFFICE_CHANGE, office_import, NULL, 1 },
	{ "POST", "/api/v1/batch", OFFICE_CHANGE, office_batch, NULL, 0 },
	{ "POST", "/api/v1/product", OFFICE_CHANGE, office_product, NULL, 0 },
	{ "POST", "/api/v1/void", OFFICE_CHANGE, office_void, NULL, 0 },
	{ "POST", "/api/v1/reclaim", OFFICE_CHANGE, office_reclaim, NULL, 0 },
};

static const struct office_route *find_route(const struct cw_http_req *req, int *ret_known)
{
	size_t i;

	*ret_known = 0;
	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strcmp(routes[i].path, cw_http_path(req)) != 0)
			continue;
		*ret_known = 1;
		if (strcmp(routes[i].method, cw_http_method(req)) == 0)
			return &routes[i];
	}
	return NULL;
}

/* Nobody is let in: answered. */
static void refuse_entry(struct cw_http_req *req, enum office_entry entry)
{
	if (entry == OFFICE_SLOW)
		office_refuse(req, 429, "SLOW", "too many wrong tokens came from this address; wait a minute");
	else
		office_refuse(req, 401, "LOGIN", entry == OFFICE_WRONG ? "this token is no operator's" : "log in first");
}

static void serve_route(struct office *o, struct cw_http_req *req)
{
	struct office_who who = { "", "", 1 };
	const struct office_route *r;
	enum office_entry entry = OFFICE_IN;
	int known;

	r = find_route(req, &known);
	if (r == NULL) {
		office_refuse(req, known ? 405 : 404, "NOT_FOUND", known ? "this method is not for this path" : "there is no such path");
		return;
	}
	if (r->need != OFFICE_OPEN)
		entry = office_enter(o, req, 0, &who);
	if (entry != OFFICE_IN) {
		refuse_entry(req, entry);
		return;
	}
	if (r->need == OFFICE_CHANGE && who.view_only) {
		office_refuse(req, 403, "VIEW_ONLY", "this operator may look, not change anything");
		return;
	}
	if (cw_http_too_large(req))
		office_refuse(req, 413, "TOO_LARGE", "the body is too large; files of at most 64 MiB are taken here, larger ones by causeway factory import");
	else if (r->answer != NULL)
		r->answer(o, req);
	else
		run_call(o, r, req, &who);
}

static void on_http(void *arg, struct cw_http_req *req)
{
	struct office *o = arg;
	const char *foreign = cw_http_foreign(o->http, req);

	if (foreign != NULL)
		office_refuse(req, 403, "FOREIGN", foreign);
	else if (!serve_file(req))
		serve_route(o, req);
}

/* Only who may import is let send a file: others' bytes would be kept for nothing. */
static size_t body_room(void *arg, const struct cw_http_req *req)
{
	struct office *o = arg;
	struct office_who who;

	if (strcmp(cw_http_path(req), "/api/v1/import") != 0 || strcmp(cw_http_method(req), "POST") != 0)
		return OFFICE_BODY_MAX;
	return office_enter(o, req, 1, &who) == OFFICE_IN && !who.view_only && cw_http_foreign(o->http, req) == NULL ? OFFICE_IMPORT_MAX : 0;
}

/* ---- the front -------------------------------------------------------------------------------- */

static int front_open(struct factory *f, const struct factory_listen *listen, void **ret_front, struct cw_msg *msg)
{
	struct office *o = cw_zalloc(sizeof(*o));
	struct cw_http_conf conf = { .max_body = OFFICE_IMPORT_MAX, .room = body_room, .hand_large = 1, .handle = on_http, .arg = o };
	int rc;

	if (o == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	o->factory = f;
	o->calls = 1; /* its listener's */
	office_door_open(o, &listen->tls);
	rc = cw_factory_http_open(f, cw_factory_office.name, listen, &conf, &o->http, msg);
	if (rc < 0) {
		cw_free(o);
		return rc;
	}
	office_door_name(o);
	office_line_open(o);
	*ret_front = o;
	return 0;
}

static const char *front_address(void *front)
{
	struct office *o = front;

	return cw_http_address(o->http);
}

static void on_closed(void *arg)
{
	struct office *o = arg;

	o->http = NULL;
	office_release(o);
}

static void on_drained(void *arg)
{
	struct office *o = arg;

	o->shut = 1;
	office_door_close(o);
	office_line_close(o);
	cw_http_close(o->http, on_closed, o);
}

/* Calls under way keep the office until the desk has answered them. */
static void front_close(void *front, void (*closed)(void *arg), void *arg)
{
	struct office *o = front;

	o->closed = closed;
	o->closed_arg = arg;
	cw_http_drain(o->http, (uint64_t)o->factory->conf->stop_ms, on_drained, o);
}

const struct factory_front cw_factory_office = { "office", front_open, front_address, front_close };
