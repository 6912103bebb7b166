/*
 * field.c - the front that devices in the field and gateways ask (factory.md D).
 *
 *   GET or POST /api/v1/certificate   deviceId in query, form or JSON; with a signature nonce, time and sign beside it
 *   GET /api/v1/identity?identity=I   or ?productKey=P&deviceName=N: the look-up of gateways (conf/IDENTITIES.md)
 *
 * A request is: the address's pace, the proof, the id's pace, then the office looks the id up and, when there is a certificate, writes
 * down that it is handed out, both before anything is answered. An id without one goes to register.c and is looked up again.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/utf8.h"
#include "factory/field/field_impl.h"
#include "factory/field_name.h"
#include "factory/stock/devices.h"
#include "factory/stock/known.h"
#include "http/secret.h"
#include "json/json.h"
#include "net/addr.h"

#define BODY_MOST 4096u
#define HEAD_MOST 8192u
#define ADDRESSES_MOST 65536u
#define IDS_MOST 65536u
#define SEEN_MOST 131072u /* some 20 MB */
#define WAITING_MOST 8192u /* requests that have not been answered */
#define IN_OFFICE_MOST 8u /* look-ups the office has at a time: whoever uses the page waits for these at most, not for a fleet that powers up */
#define COME_AGAIN_S 5u
#define ROUNDS_MOST 3u /* look-ups of one request */

/* What all listeners of the process share. */
struct factory_field {
	struct factory *f;
	unsigned fronts;
	size_t waiting;
	size_t in_office;
	struct cw_list turn; /* requests that wait until the office has fewer */
	struct factory_paces addresses, ids;
	struct factory_seen seen;
	struct factory_enrolments enrolments;
	struct front *last; /* the front whose close ends all of this */
};

struct front {
	struct factory_field *hall;
	struct cw_http *http;
	size_t out; /* jobs of the office that will come back */
	int http_closed;
	void (*closed)(void *arg);
	void *arg;
};

enum kind { CERTIFICATE, IDENTITY, NAME };

struct request {
	struct front *front;
	struct cw_http_req *req; /* NULL: its client has gone */
	enum kind kind;
	struct cw_desk_job job;
	struct cw_list link; /* of those that wait for their turn */
	int out; /* the job is under way */
	struct factory_wait wait;
	struct cw_timer deadline;
	unsigned rounds;
	char address[64], who[FACTORY_WHO];
	char *products; /* of its token, each between line feeds; NULL: any */
	char device_id[CW_STOCK_DEVICE_ID + 1];
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_name[CW_STOCK_DEVICE_NAME + 1]; /* of NAME: asked for */
	/* what the office found */
	int rc;
	struct cw_stock_known found;
};

/* ---- answers ---------------------------------------------------------------------------------------- */

static void free_request(struct request *r)
{
	struct factory_field *hall = r->front->hall;

	cw_timer_stop(cw_worker_timers(hall->f->loop), &r->deadline);
	factory_enrol_cancel(&r->wait);
	cw_list_remove(&r->link);
	hall->waiting--;
	explicit_bzero(&r->found, sizeof(r->found));
	cw_free(r->products);
	cw_free(r);
}

/* The text may hold a secret. */
static void send_json(struct cw_http_req *req, unsigned status, unsigned again_s, struct cw_json *j)
{
	struct cw_http_field fields[3] = { { "Content-Type", "application/json" }, { "Cache-Control", "no-store" }, { "Retry-After", NULL } };
	char seconds[16], *text;
	size_t len;

	(void)snprintf(seconds, sizeof(seconds), "%u", again_s);
	fields[2].value = seconds;
	if (cw_json_finish(j, &text, &len) < 0)
		cw_http_reply(req, 503, NULL, "", 0);
	else
		cw_http_reply_secret(req, status, fields, again_s > 0 ? 3 : 2, text, len);
}

static void refuse(struct cw_http_req *req, unsigned status, unsigned again_s, const char *code, const char *message, const char *platform)
{
	struct cw_json j;

	cw_json_begin(&j, 16384);
	cw_json_map(&j);
	cw_json_field(&j, "code", code);
	cw_json_field(&j, "message", message);
	if (platform != NULL && platform[0] != '\0')
		cw_json_field(&j, "platformCode", platform);
	cw_json_end_map(&j);
	send_json(req, status, again_s, &j);
}

static void unavailable(struct cw_http_req *req, const char *message)
{
	cw_count(field, unavailable);
	refuse(req, 503, COME_AGAIN_S, "UNAVAILABLE", message, NULL);
}

/* Answers, and lets go of the request: of all but what the office has of it. */
static struct cw_http_req *take_req(struct request *r)
{
	struct cw_http_req *req = r->req;

	r->req = NULL;
	return req;
}

static void on_gone(void *arg)
{
	struct request *r = arg;

	r->req = NULL;
	if (!r->out)
		free_request(r);
}

static void give(struct cw_http_req *req, const char *identity, const struct cw_stock_known *k)
{
	struct cw_json j;

	cw_json_begin(&j, 16384);
	cw_json_map(&j);
	if (identity != NULL)
		cw_json_field(&j, "identity", identity);
	cw_json_field(&j, "productKey", k->product_key);
	cw_json_field(&j, "deviceName", k->device_name);
	cw_json_field(&j, "deviceSecret", k->device_secret);
	cw_json_end_map(&j);
	send_json(req, 200, 0, &j);
}

/* ---- a device asks: in the office ----------------------------------------------------------------------- */

static int take_device(void *arg, const struct cw_field_device *d)
{
	struct cw_stock_known *k = arg;

	(void)snprintf(k->identity, sizeof(k->identity), "%s", d->device_id);
	(void)snprintf(k->product_key, sizeof(k->product_key), "%s", d->product_key);
	(void)snprintf(k->device_name, sizeof(k->device_name), "%s", d->device_name);
	(void)snprintf(k->device_secret, sizeof(k->device_secret), "%s", d->device_secret);
	return 0;
}

static int is_allowed(const struct request *r)
{
	char key[CW_STOCK_PRODUCT_KEY + 3];

	(void)snprintf(key, sizeof(key), "\n%s\n", r->found.product_key);
	return r->products == NULL || strstr(r->products, key) != NULL;
}

static void certificate_work(struct cw_desk_job *job, struct cw_stock *s)
{
	struct request *r = cw_container_of(job, struct request, job);
	const struct cw_stock_actor who = { r->who, r->address };

	r->rc = s == NULL ? CW_EUNREACH : cw_field_find(s, r->device_id, take_device, &r->found, &job->msg);
	if (r->rc == 0 && !is_allowed(r))
		r->rc = CW_EAUTH;
	/* On the disk before it is answered: an answer that nobody knows of would be no good, its repetition is harmless. */
	if (r->rc == 0 && r->found.device_secret[0] != '\0')
		r->rc = cw_field_handed_out(s, r->device_id, &who, &job->msg);
}

static void certificate_done(struct cw_desk_job *job);

/* As many to the office as it may have. */
static void take_turns(struct factory_field *hall)
{
	struct cw_list *e;

	while (hall->in_office < IN_OFFICE_MOST && (e = cw_list_pop(&hall->turn)) != NULL) {
		struct request *r = cw_container_of(e, struct request, link);

		hall->in_office++;
		r->out = 1;
		r->front->out++;
		cw_desk_do(hall->f->desk, &r->job);
	}
}

static void to_office(struct request *r, void (*work)(struct cw_desk_job *job, struct cw_stock *s), void (*done)(struct cw_desk_job *job))
{
	r->job = (struct cw_desk_job){ .work = work, .done = done };
	cw_list_push_back(&r->front->hall->turn, &r->link);
	take_turns(r->front->hall);
}

static void look_up(struct request *r)
{
	explicit_bzero(&r->found, sizeof(r->found));
	to_office(r, certificate_work, certificate_done);
}

/* ---- a device asks: on the loop ----------------------------------------------------------------------------- */

static void maybe_closed(struct front *fr);

/* The job has come back. 0: nobody waits for it any more. */
static int came_back(struct request *r)
{
	struct front *fr = r->front;

	r->out = 0;
	fr->out--;
	fr->hall->in_office--;
	take_turns(fr->hall);
	if (r->req != NULL)
		return 1;
	free_request(r);
	maybe_closed(fr);
	return 0;
}

static void on_registered(struct factory_wait *w, int rc, const char *code, const char *text)
{
	struct request *r = cw_container_of(w, struct request, wait);
	struct cw_http_req *req;

	cw_timer_stop(cw_worker_timers(r->front->hall->f->loop), &r->deadline);
	if (rc == 0 && ++r->rounds < ROUNDS_MOST) {
		look_up(r);
		return;
	}
	req = take_req(r);
	if (rc == CW_EREFUSED) {
		cw_count(field, platform_refused);
		refuse(req, 502, 0, "PLATFORM_REFUSED", text, code);
	} else {
		unavailable(req, text[0] != '\0' ? text : cw_error_text(rc));
	}
	free_request(r);
}

static void on_deadline(struct cw_timer *t)
{
	struct request *r = cw_container_of(t, struct request, deadline);
	struct cw_http_req *req = take_req(r);

	unavailable(req, "the platform has not answered yet; the registration goes on, come again");
	free_request(r);
}

/* Known, and without a certificate. */
static void enrol(struct request *r)
{
	struct factory *f = r->front->hall->f;
	const struct cw_stock_actor who = { r->who, r->address };
	char name[CW_STOCK_DEVICE_NAME + 1];
	struct cw_msg msg = { "" };
	struct cw_http_req *req;
	int rc = 0;

	(void)snprintf(name, sizeof(name), "%s", r->found.device_name);
	if (name[0] == '\0')
		rc = factory_field_name(f->conf->field.name_template, r->device_id, name, &msg);
	r->wait.done = on_registered;
	if (rc == 0)
		rc = factory_enrol(&r->front->hall->enrolments, r->device_id, r->found.product_key, name, &who, &r->wait, &msg);
	if (rc == 0) {
		cw_timer_set(cw_worker_timers(f->loop), &r->deadline, (uint64_t)f->conf->field.answer_ms, on_deadline);
		return;
	}
	cw_log(field_failed, msg.text, CW_LS("deviceId", r->device_id), CW_LS("product", r->found.product_key));
	req = take_req(r);
	unavailable(req, msg.text);
	free_request(r);
}

static void certificate_done(struct cw_desk_job *job)
{
	struct request *r = cw_container_of(job, struct request, job);
	struct cw_http_req *req;

	if (!came_back(r))
		return;
	if (r->rc == 0 && r->found.device_secret[0] == '\0') {
		enrol(r);
		return;
	}
	req = take_req(r);
	if (r->rc == 0) {
		cw_count(field, given);
		give(req, NULL, &r->found);
	} else if (r->rc == CW_ENOENT) {
		cw_count(field, illegal);
		cw_log(field_denied, "illegal device (设备非法): this deviceId was never imported", CW_LS("deviceId", r->device_id), CW_LS("peer", r->address));
		refuse(req, 403, 0, "ILLEGAL_DEVICE", "illegal device: this deviceId is not known; have it imported", NULL);
	} else if (r->rc == CW_EAUTH && job->msg.text[0] == '\0') {
		cw_count(field, unauthorized);
		cw_log(field_denied, "the token is not for this product", CW_LS("deviceId", r->device_id), CW_LS("peer", r->address), CW_LS("who", r->who));
		refuse(req, 401, 0, "UNAUTHORIZED", "this token is not for this deviceId", NULL);
	} else {
		cw_log(field_failed, job->msg.text[0] != '\0' ? job->msg.text : cw_error_text(r->rc), CW_LS("deviceId", r->device_id));
		unavailable(req, "the storage is not available; come again");
	}
	free_request(r);
}

/* ---- a gateway asks ------------------------------------------------------------------------------------------ */

static void identity_work(struct cw_desk_job *job, struct cw_stock *s)
{
	struct request *r = cw_container_of(job, struct request, job);

	if (s == NULL)
		r->rc = CW_EUNREACH;
	else if (r->kind == IDENTITY)
		r->rc = cw_stock_known(s, r->device_id, &r->found, &job->msg);
	else
		r->rc = cw_stock_known_name(s, r->product_key, r->device_name, &r->found, &job->msg);
}

static void identity_done(struct cw_desk_job *job)
{
	struct request *r = cw_container_of(job, struct request, job);
	struct cw_http_req *req;

	if (!came_back(r))
		return;
	req = take_req(r);
	if (r->rc == 0) {
		cw_count(field, lookups_known);
		give(req, r->kind == IDENTITY ? r->device_id : r->found.identity, &r->found);
	} else if (r->rc == CW_ENOENT) {
		refuse(req, 404, 0, "NOT_FOUND", "no board and no device in the field has this identity", NULL);
	} else if (r->rc == CW_EEXIST) {
		cw_log(field_failed, job->msg.text, CW_LS("identity", r->device_id));
		refuse(req, 409, 0, "AMBIGUOUS", job->msg.text, NULL);
	} else {
		cw_log(field_failed, job->msg.text[0] != '\0' ? job->msg.text : cw_error_text(r->rc));
		unavailable(req, "the storage is not available; come again");
	}
	free_request(r);
}

/* ---- what a request says --------------------------------------------------------------------------------------- */

/* The texts of a request; those of a JSON body are copied. */
struct said {
	const char *device_id, *nonce, *time, *sign;
	char texts[4][256];
};

static int take_text(struct cw_bytes map, const char *key, char out[256], const char **ret)
{
	struct cw_item it = cw_map_item(map, key);

	*ret = NULL;
	if (it.type == CW_ITEM_BAD || it.type == CW_ITEM_NULL)
		return 0;
	if (it.type == CW_ITEM_INT)
		(void)snprintf(out, 256, "%lld", (long long)it.i);
	else if (it.type == CW_ITEM_TEXT && it.s.len < 256 && memchr(it.s.ptr, '\0', it.s.len) == NULL)
		(void)snprintf(out, 256, "%.*s", (int)it.s.len, (const char *)it.s.ptr);
	else
		return CW_EINVAL;
	*ret = out;
	return 0;
}

static int read_json(const char *body, size_t len, struct said *said)
{
	struct cw_bytes map;
	uint8_t *item = NULL;
	size_t n = 0;
	int rc = cw_json_to_item(cw_bytes_of(body, len), &item, &n);

	if (rc < 0)
		return rc;
	map = cw_bytes_of(item, n);
	rc = cw_map_item(map, "deviceId").type == CW_ITEM_INT ? CW_EINVAL : take_text(map, "deviceId", said->texts[0], &said->device_id);
	if (rc == 0)
		rc = take_text(map, "nonce", said->texts[1], &said->nonce);
	if (rc == 0)
		rc = take_text(map, "time", said->texts[2], &said->time);
	if (rc == 0)
		rc = take_text(map, "sign", said->texts[3], &said->sign);
	cw_free(item);
	return rc;
}

static int read_said(struct cw_http_req *req, struct said *said)
{
	size_t len, i = 0;
	const char *body = cw_http_body(req, &len);

	memset(said, 0, sizeof(*said));
	while (i < len && strchr(" \t\r\n", body[i]) != NULL && body[i] != '\0')
		i++;
	if (i < len && body[i] == '{')
		return read_json(body, len, said);
	said->device_id = cw_http_param(req, "deviceId");
	said->nonce = cw_http_param(req, "nonce");
	said->time = cw_http_param(req, "time");
	said->sign = cw_http_param(req, "sign");
	return 0;
}

/* 1 to 128 bytes of UTF-8 without control characters. */
static int is_id(const char *id)
{
	size_t n = id == NULL ? 0 : strlen(id), i;

	if (n == 0 || n > CW_STOCK_DEVICE_ID)
		return 0;
	for (i = 0; i < n; i++)
		if ((unsigned char)id[i] < 0x20 || id[i] == 0x7f)
			return 0;
	return cw_utf8_valid(cw_bytes_of(id, n));
}

static int pace_address(struct factory_field *hall, struct cw_http_req *req)
{
	char host[CW_ADDR_TEXT];
	const char *from = cw_addr_limited(cw_http_peer(req), host);
	unsigned again = factory_pace(&hall->addresses, from, strlen(from), hall->f->conf->field.per_address, cw_worker_now(hall->f->loop));

	if (again == 0)
		return 0;
	cw_count(field, limited);
	refuse(req, 429, again, "TOO_MANY_REQUESTS", "too many requests from this address; come again later", NULL);
	return CW_ELIMIT;
}

static void unauthorized(struct cw_http_req *req, const char *device_id, const char *why)
{
	cw_count(field, unauthorized);
	cw_log(field_denied, why, CW_LS("deviceId", device_id), CW_LS("peer", cw_http_peer(req)));
	refuse(req, 401, 0, "UNAUTHORIZED", why, NULL);
}

/* "\nPK1\nPK2\n" for the office, which must not look into the configuration. */
static int join_products(const struct factory_field_token *t, char **ret)
{
	size_t i, n = 2, at = 0;

	if (t == NULL || t->products.count == 0)
		return 0;
	for (i = 0; i < t->products.count; i++)
		n += strlen(t->products.items[i]) + 1;
	*ret = cw_alloc(n);
	if (*ret == NULL)
		return CW_ENOMEM;
	for (i = 0; i < t->products.count; i++)
		at += (size_t)snprintf(*ret + at, n - at, "%s%s\n", i == 0 ? "\n" : "", t->products.items[i]);
	return 0;
}

static struct request *new_request(struct front *fr, struct cw_http_req *req, enum kind kind)
{
	struct request *r = fr->hall->waiting >= WAITING_MOST ? NULL : cw_zalloc(sizeof(*r));
	size_t n;

	if (r == NULL)
		return NULL;
	fr->hall->waiting++;
	r->front = fr;
	r->req = req;
	r->kind = kind;
	n = strlen(cw_http_peer(req));
	while (n > 0 && cw_http_peer(req)[n] != ':')
		n--;
	(void)snprintf(r->address, sizeof(r->address), "%.*s", (int)n, cw_http_peer(req));
	return r;
}

static void certificate(struct front *fr, struct cw_http_req *req)
{
	struct factory_field *hall = fr->hall;
	const struct factory_field_conf *conf = &hall->f->conf->field;
	const struct factory_field_token *token = NULL;
	struct factory_proof proof = { .bearer = cw_http_bearer(cw_http_header(req, "Authorization")), .common_name = cw_http_client(req) };
	struct cw_msg msg = { "" };
	char who[FACTORY_WHO];
	struct request *r;
	struct said said;
	unsigned again;
	int rc;

	cw_count(field, asked);
	if (pace_address(hall, req) < 0)
		return;
	if (read_said(req, &said) < 0 || !is_id(said.device_id)) {
		cw_count(field, bad);
		refuse(req, 400, 0, "BAD_REQUEST", "deviceId is missing, or not 1 to 128 bytes of text; as query, form or JSON {\"deviceId\":\"..\"}", NULL);
		return;
	}
	proof.device_id = said.device_id;
	proof.nonce = said.nonce;
	proof.time = said.time;
	proof.sign = said.sign;
	rc = factory_field_prove(conf, &hall->seen, &proof, cw_clock_wall_ms(), cw_worker_now(hall->f->loop), who, &token, &msg);
	if (rc == CW_EAUTH) {
		unauthorized(req, said.device_id, msg.text);
		return;
	}
	again = rc < 0 ? COME_AGAIN_S : factory_pace(&hall->ids, said.device_id, strlen(said.device_id), conf->per_id, cw_worker_now(hall->f->loop));
	if (again > 0) {
		cw_count(field, limited);
		refuse(req, 429, again, "TOO_MANY_REQUESTS", rc < 0 ? msg.text : "too many requests for this deviceId; come again later", NULL);
		return;
	}
	r = new_request(fr, req, CERTIFICATE);
	if (r == NULL || join_products(token, &r->products) < 0) {
		if (r != NULL)
			free_request(r);
		unavailable(req, "too many requests wait; come again");
		return;
	}
	(void)snprintf(r->device_id, sizeof(r->device_id), "%s", said.device_id);
	(void)snprintf(r->who, sizeof(r->who), "%s", who);
	cw_http_on_gone(req, on_gone, r);
	look_up(r);
}

static void identity(struct front *fr, struct cw_http_req *req)
{
	const struct factory_field_conf *conf = &fr->hall->f->conf->field;
	const char *id = cw_http_query(req, "identity"), *pk = cw_http_query(req, "productKey"), *dn = cw_http_query(req, "deviceName");
	struct request *r;

	cw_count(field, lookups);
	if (!factory_field_is_gateway(conf, cw_http_bearer(cw_http_header(req, "Authorization")), cw_http_client(req))) {
		if (pace_address(fr->hall, req) == 0)
			unauthorized(req, id == NULL ? "" : id, "identities are looked up by gateways: with the token of field.gatewayToken, or a client certificate of field.gateways");
		return;
	}
	if (id != NULL ? !is_id(id) : pk == NULL || dn == NULL || !is_id(pk) || !is_id(dn)) {
		refuse(req, 400, 0, "BAD_REQUEST", "say ?identity=.. or ?productKey=..&deviceName=..", NULL);
		return;
	}
	if (id == NULL && (strlen(pk) > CW_STOCK_PRODUCT_KEY || strlen(dn) > CW_STOCK_DEVICE_NAME)) {
		refuse(req, 404, 0, "NOT_FOUND", "no certificate has such a long name", NULL);
		return;
	}
	r = new_request(fr, req, id != NULL ? IDENTITY : NAME);
	if (r == NULL) {
		unavailable(req, "too many requests wait; come again");
		return;
	}
	(void)snprintf(r->device_id, sizeof(r->device_id), "%s", id == NULL ? "" : id);
	(void)snprintf(r->product_key, sizeof(r->product_key), "%s", id == NULL ? pk : "");
	(void)snprintf(r->device_name, sizeof(r->device_name), "%s", id == NULL ? dn : "");
	cw_http_on_gone(req, on_gone, r);
	to_office(r, identity_work, identity_done);
}

static void handle(void *arg, struct cw_http_req *req)
{
	struct front *fr = arg;
	const char *path = cw_http_path(req), *method = cw_http_method(req);
	int get = strcmp(method, "GET") == 0;

	if (strcmp(path, "/api/v1/certificate") == 0 && (get || strcmp(method, "POST") == 0))
		certificate(fr, req);
	else if (strcmp(path, "/api/v1/identity") == 0 && get)
		identity(fr, req);
	else if (strcmp(path, "/api/v1/certificate") == 0 || strcmp(path, "/api/v1/identity") == 0)
		refuse(req, 405, 0, "BAD_REQUEST", "this method is not known here; GET and, for a certificate, POST are", NULL);
	else
		refuse(req, 404, 0, "NOT_FOUND", "there are /api/v1/certificate and /api/v1/identity", NULL);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int open_hall(struct factory *f, struct cw_msg *msg)
{
	struct factory_field *h = cw_zalloc(sizeof(*h));

	if (h == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	h->f = f;
	cw_list_init(&h->turn);
	factory_paces_init(&h->addresses, ADDRESSES_MOST);
	factory_paces_init(&h->ids, IDS_MOST);
	factory_seen_init(&h->seen, SEEN_MOST);
	factory_enrolments_init(&h->enrolments, f);
	f->field = h;
	return 0;
}

static void end(struct front *fr)
{
	fr->closed(fr->arg);
	cw_free(fr);
}

/* Nothing is under way any more. */
static void close_hall(void *arg)
{
	struct factory_field *h = arg;
	struct front *last = h->last;

	factory_paces_fini(&h->addresses);
	factory_paces_fini(&h->ids);
	factory_seen_fini(&h->seen);
	h->f->field = NULL;
	cw_free(h);
	if (last != NULL)
		end(last);
}

static int open_front(struct factory *f, const struct factory_listen *listen, void **ret_front, struct cw_msg *msg)
{
	struct cw_http_conf conf = { .max_body = BODY_MOST, .max_head = HEAD_MOST, .handle = handle };
	struct front *fr;
	int rc = f->field == NULL ? open_hall(f, msg) : 0;

	if (rc < 0)
		return rc;
	fr = cw_zalloc(sizeof(*fr));
	conf.arg = fr;
	rc = fr == NULL ? cw_fail(msg, CW_ENOMEM, "out of memory") : cw_factory_http_open(f, cw_factory_field.name, listen, &conf, &fr->http, msg);
	if (rc < 0) {
		cw_free(fr);
		if (f->field->fronts == 0)
			factory_enrolments_close(&f->field->enrolments, close_hall, f->field);
		return rc;
	}
	fr->hall = f->field;
	fr->hall->fronts++;
	*ret_front = fr;
	return 0;
}

static const char *address(void *front)
{
	return cw_http_address(((struct front *)front)->http);
}

static void maybe_closed(struct front *fr)
{
	struct factory_field *h = fr->hall;

	if (!fr->http_closed || fr->out > 0)
		return;
	if (--h->fronts > 0) {
		end(fr);
		return;
	}
	h->last = fr;
	factory_enrolments_close(&h->enrolments, close_hall, h);
}

static void on_http_closed(void *arg)
{
	struct front *fr = arg;

	fr->http_closed = 1;
	maybe_closed(fr);
}

static void on_drained(void *arg)
{
	struct front *fr = arg;

	cw_http_close(fr->http, on_http_closed, fr);
}

static void close_front(void *front, void (*closed)(void *arg), void *arg)
{
	struct front *fr = front;

	fr->closed = closed;
	fr->arg = arg;
	cw_http_drain(fr->http, (uint64_t)fr->hall->f->conf->stop_ms, on_drained, fr);
}

const struct factory_front cw_factory_field = { .name = "field", .open = open_front, .address = address, .close = close_front };
