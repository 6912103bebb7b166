/*
 * session.c - which devices are online behind this bridge; see the phases in http2.h.
 *
 * Online is one HTTPS call a device, several at once. Offline is a message of the
 * bridge that the platform answers by one of its own. A large bridge writes down who is
 * online (store/online.h): after a restart those that do not come back within
 * returnTime are reported offline.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "platform/codes.h"
#include "upstream/http2/http2.h"

#define AUTH_MS 10000u
#define OFFLINE_MS 5000u /* for the platform's answer to a logout */
#define OFFLINE_TRIES 3u
#define OFFLINES_OUT 64u
#define PAUSE_MIN_MS 1000u /* after a failure, 1, 2, 4 ... 60 s */
#define PAUSE_MAX_MS 60000u
#define PAUSE_REFUSED_TIMES 15u /* of retryMin at least, after a refusal: somebody has to change something first */
#define CODE_PARAMETER 460      /* also: a net id that is not known any more */
#define CODE_NO_SESSION 520
#define CODE_DELETED 521
#define CODE_DISABLED 522
#define CODE_TOO_MANY 428

struct http2_auth {
	struct cw_list link;
	struct cw_fetch *fetch;
	struct http2 *h;
	struct cw_updevice *d;
};

struct http2_offline {
	struct http2_call call;
	struct cw_list link;
	struct http2 *h;
	struct cw_updevice *d; /* NULL: of one that is not here any more */
	uint64_t due_ms;
	unsigned tries;
	char id[HTTP2_ID_SIZE];
	char product_key[32], device_name[64];
};

struct http2_put {
	struct cw_online_put put;
	struct cw_list link;
	struct http2 *h;
	struct cw_updevice *d; /* NULL: has gone meanwhile */
};

static void enter(struct http2 *h, struct cw_updevice *d);
static void offline_over(struct http2_offline *o);
static void logged_out(struct http2 *h, struct cw_updevice *d);

static struct http2 *http2_of(struct cw_updevice *d)
{
	return d->u->connector;
}

static void on_pump(struct cw_timer *t)
{
	http2_session_pump(cw_container_of(t, struct http2, pump_timer));
}

static void pump_in(struct http2 *h, uint64_t ms)
{
	if (!cw_timer_armed(&h->pump_timer))
		cw_timer_set(http2_timers(h), &h->pump_timer, ms, on_pump);
}

/* ---- moving a device -------------------------------------------------------------- */

static void end_auth(struct http2_auth *a)
{
	cw_list_remove(&a->link);
	a->h->logins_out--;
	http2_device_of(a->d)->auth = NULL;
	cw_free(a);
}

/* Out of every list, timer and request. */
static void leave(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	cw_list_remove(&hd->link);
	if (hd->pause != NULL)
		cw_timer_stop(http2_timers(h), &hd->pause->timer);
	if (hd->phase == HTTP2_ASKED && hd->auth != NULL) {
		cw_fetch_cancel(hd->auth->fetch);
		end_auth(hd->auth);
	} else if (hd->phase == HTTP2_STORING && hd->put != NULL) {
		hd->put->d = NULL;
		cw_online_drop(h->online, d->key); /* behind the put */
	} else if (hd->phase == HTTP2_LEAVING && hd->offline != NULL) {
		hd->offline->d = NULL; /* goes on by itself */
	}
	hd->auth = NULL;
}

static void forget_pause(struct http2 *h, struct http2_device *hd)
{
	if (hd->pause == NULL)
		return;
	cw_timer_stop(http2_timers(h), &hd->pause->timer);
	cw_free(hd->pause);
	hd->pause = NULL;
}

static void on_pause(struct cw_timer *t)
{
	struct http2_pause *p = cw_container_of(t, struct http2_pause, timer);

	http2_device_of(p->d)->phase = HTTP2_OFF;
	enter(http2_of(p->d), p->d);
}

/* Try again after a delay that grows with each failure in a row, `least` at least. */
static void try_later(struct http2 *h, struct cw_updevice *d, uint64_t least)
{
	struct http2_device *hd = http2_device_of(d);
	uint64_t ms;

	leave(h, d);
	if (hd->pause == NULL) {
		hd->pause = cw_zalloc(sizeof(*hd->pause));
		if (hd->pause == NULL) { /* in line again, at the end */
			hd->phase = HTTP2_QUEUED;
			cw_list_push_back(&h->to_login, &hd->link);
			pump_in(h, PAUSE_MIN_MS);
			return;
		}
		hd->pause->d = d;
		cw_retry_init(&hd->pause->retry, PAUSE_MIN_MS, PAUSE_MAX_MS,
			      (uint32_t)cw_hash_stable(d->key, strlen(d->key)));
	}
	hd->phase = HTTP2_PAUSE;
	ms = cw_retry_down(&hd->pause->retry, http2_now(h));
	cw_timer_set(http2_timers(h), &hd->pause->timer, ms > least ? ms : least, on_pause);
}

static void forget_absent(struct http2 *h, struct http2_absent *a)
{
	cw_map_remove(&h->absent, &a->node);
	cw_list_remove(&a->link);
	cw_free(a);
}

static void online(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	leave(h, d);
	forget_pause(h, hd);
	hd->phase = HTTP2_UP;
	hd->renewed = 0;
	hd->fails = 0;
	if (!hd->is_bridge)
		cw_count(upstream, logins);
	cw_updevice_report(d, CW_UPDEVICE_ONLINE, CW_CODE_OK, "logged in");
	http2_device_drained(h, d); /* it may not be wanted any more by now */
}

/* The platform takes so many devices through one bridge: say so here rather than be refused one by one. */
static int admit(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	if (hd->admitted)
		return 1;
	if (h->u->conf.max_devices > 0 && h->admitted >= h->u->conf.max_devices) {
		cw_updevice_report(d, CW_UPDEVICE_REFUSED, CODE_TOO_MANY,
				   "maxDevices of this upstream are logged in already");
		try_later(h, d, h->u->conf.retry_max_ms);
		return 0;
	}
	hd->admitted = 1;
	h->admitted++;
	return 1;
}

static void dismiss(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	if (hd->admitted)
		h->admitted--;
	hd->admitted = 0;
}

/* Somebody wants it online, or has left it records: those go up although their device has gone. */
static int needed(const struct cw_updevice *d)
{
	return (d->wanted || d->lane.records > 0) && !d->removing;
}

static void on_stored(struct cw_online_put *put)
{
	struct http2_put *p = cw_container_of(put, struct http2_put, put);
	struct http2 *h = p->h;
	struct cw_updevice *d = p->d;

	cw_list_remove(&p->link);
	cw_free(p);
	if (d == NULL)
		return;
	http2_device_of(d)->put = NULL;
	http2_device_of(d)->stored =
		1; /* also where the disk refused: who cannot be remembered must not be kept away */
	http2_device_of(d)->phase = HTTP2_QUEUED;
	cw_list_push_back(&h->to_login, &http2_device_of(d)->link);
	http2_session_pump(h);
}

/* Write down that it may be online from now on, so that no crash forgets it. 0: no need, or no memory. */
static int store(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);
	struct http2_put *p = h->online == NULL || hd->stored ? NULL : cw_zalloc(sizeof(*p));

	if (p == NULL)
		return 0;
	p->h = h;
	p->d = d;
	p->put.done = on_stored;
	cw_list_init(&p->link);
	if (cw_online_put(h->online, d->key, &p->put) < 0) {
		cw_free(p);
		return 0;
	}
	hd->phase = HTTP2_STORING;
	hd->put = p;
	cw_list_push_back(&h->puts, &p->link);
	return 1;
}

/* The platform says that it is not online. */
static void unstore(struct http2 *h, struct cw_updevice *d)
{
	if (h->online != NULL && http2_device_of(d)->stored)
		cw_online_drop(h->online, d->key);
	http2_device_of(d)->stored = 0;
}

/* Start the way up for a device that needs it and is at rest. */
static void enter(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	if (h->state != HTTP2_LINK_UP || !needed(d) || hd->phase != HTTP2_OFF)
		return;
	if (hd->is_bridge) {
		online(h, d);
		return;
	}
	if (!admit(h, d) || store(h, d))
		return;
	hd->phase = HTTP2_QUEUED;
	cw_list_push_back(&h->to_login, &hd->link);
	pump_in(h, 0);
}

static void first_seen(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	if (hd->seen)
		return;
	hd->seen = 1;
	hd->is_bridge = strcmp(d->product_key, h->pk) == 0 && strcmp(d->device_name, h->dn) == 0;
	cw_list_init(&hd->link);
	cw_list_init(&hd->sends);
}

/* ---- online ---------------------------------------------------------------------------- */

/* Out of a session, with what the bridge is told about it. */
static void refuse(struct http2 *h, struct cw_updevice *d, enum cw_updevice_state state, int32_t code, const char *text)
{
	uint64_t least = state == CW_UPDEVICE_REFUSED ? (uint64_t)h->u->conf.retry_min_ms * PAUSE_REFUSED_TIMES : 0;

	cw_updevice_report(d, state, code, text);
	try_later(h, d, least);
}

/* The platform takes it for online. */
static void accepted(struct http2 *h, struct cw_updevice *d)
{
	struct cw_map_node *n = h->large ? cw_map_find(&h->absent, d->key, strlen(d->key)) : NULL;

	if (n != NULL)
		forget_absent(h, cw_container_of(n, struct http2_absent, node));
	online(h, d);
}

static void not_accepted(struct http2 *h, struct cw_updevice *d, const struct http2_form_reply *r)
{
	struct http2_device *hd = http2_device_of(d);
	const char *text = r->message[0] != '\0' ? r->message : cw_code_text(r->code);

	cw_count(upstream, logins_refused);
	if (r->code != HTTP2_NO_CODE)
		unstore(h, d);
	if (!needed(d)) {
		hd->phase = HTTP2_OFF;
		dismiss(h, d);
	} else if (r->code == CODE_PARAMETER && !hd->renewed) { /* once more with a new net id */
		hd->renewed = 1;
		hd->phase = HTTP2_QUEUED;
		cw_list_push_front(&h->to_login, &hd->link);
		if (h->net_id[0] != '\0')
			http2_renew_net_id(h);
	} else if (r->code == 200 || r->code == HTTP2_NO_CODE || r->code == 429 || (r->code >= 500 && r->code < 520)) {
		refuse(h, d, CW_UPDEVICE_OFFLINE, r->code, text);
	} else {
		refuse(h, d, CW_UPDEVICE_REFUSED, r->code, text);
	}
}

static void on_auth(void *ctx, const struct cw_fetch_reply *reply)
{
	struct http2_auth *a = ctx;
	struct http2 *h = a->h;
	struct cw_updevice *d = a->d;
	struct http2_form_reply r = { .code = HTTP2_NO_CODE };

	end_auth(a);
	if (reply->rc < 0) {
		if (reply->rc == CW_ETIMEDOUT)
			cw_count(upstream, requests_timed_out);
		(void)snprintf(r.message, sizeof(r.message), "%s", reply->text);
	} else if (reply->status != 200 || http2_form_reply(reply->body, &r) < 0) {
		(void)snprintf(r.message, sizeof(r.message),
			       "authEndpoint answers with status %d and no form of its own", reply->status);
		r.code = HTTP2_NO_CODE;
	}
	if (r.code == 200 && r.net_id[0] != '\0')
		accepted(h, d);
	else
		not_accepted(h, d, &r);
	explicit_bzero(&r, sizeof(r));
	http2_session_pump(h);
}

static int ask_login(struct http2 *h, struct cw_updevice *d)
{
	const struct cw_upstream_conf *c = &h->u->conf;
	char body[HTTP2_FORM_SIZE];
	struct http2_form form = { .product_key = d->product_key,
				   .device_name = d->device_name,
				   .secret = d->secret,
				   .client_id = "null-null", /* the only one known to work */
				   .net_id = h->net_id,
				   .utc_ms = cw_clock_wall_ms() };
	const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded", NULL };
	struct cw_fetch_request q = { .url = h->auth_url,
				      .headers = headers,
				      .tls = { c->ca, c->certificate, c->key, c->verify },
				      .timeout_ms = AUTH_MS,
				      .most = 65536,
				      .done = on_auth };
	struct http2_auth *a = cw_zalloc(sizeof(*a));
	int rc = a == NULL ? CW_ENOMEM : http2_form(&form, body);

	if (rc == 0) {
		a->h = h;
		a->d = d;
		cw_list_init(&a->link);
		q.ctx = a;
		q.body = cw_bytes_of((const uint8_t *)body, strlen(body));
		rc = cw_fetch_start(h->pool, &q, &a->fetch);
	}
	explicit_bzero(body, sizeof(body));
	if (rc < 0) {
		cw_free(a);
		return rc;
	}
	http2_device_of(d)->phase = HTTP2_ASKED;
	http2_device_of(d)->auth = a;
	cw_list_push_back(&h->auths, &a->link);
	h->logins_out++;
	cw_pace_rate_note(&h->logins, http2_now(h), 1);
	return 0;
}

/* ---- offline ------------------------------------------------------------------------------ */

static void on_offline_late(struct cw_timer *t)
{
	struct http2 *h = cw_container_of(t, struct http2, offline_timer);
	struct cw_list *e;

	while ((e = cw_list_first(&h->offlines)) != NULL) {
		struct http2_offline *o = cw_container_of(e, struct http2_offline, link);

		if (o->due_ms > http2_now(h)) {
			cw_timer_set(http2_timers(h), t, o->due_ms - http2_now(h), on_offline_late);
			break;
		}
		cw_count(upstream, requests_timed_out);
		http2_link_cancel(&o->call);
		offline_over(o);
	}
	http2_session_pump(h);
}

static void free_offline(struct http2_offline *o)
{
	struct http2 *h = o->h;

	http2_link_cancel(&o->call);
	cw_list_remove(&o->link);
	h->offlines_out--;
	cw_free(o->call.body);
	cw_free(o);
}

static void on_offline_sent(struct http2_call *c, int rc)
{
	struct http2_offline *o = cw_container_of(c, struct http2_offline, call);

	if (rc != CW_ECLOSED && (rc < 0 || c->status != 200))
		offline_over(o); /* else the answer comes as a message, or `session_down` takes it back */
}

/* Send it; 0 or an error. */
static int say_offline(struct http2_offline *o)
{
	const nghttp2_nv qos = http2_field("x-qos", "0");
	struct http2 *h = o->h;
	int rc;

	http2_new_id(h, o->id);
	cw_free(o->call.body);
	o->call.body = NULL;
	rc = http2_offline(o->id, o->product_key, o->device_name, h->net_id, &o->call.body, &o->call.len);
	if (rc == 0)
		rc = http2_link_call(h->link, &o->call, "POST", h->path_offline, &qos, 1);
	if (rc < 0)
		return rc;
	o->tries++;
	o->due_ms = http2_now(h) + OFFLINE_MS;
	cw_list_remove(&o->link);
	cw_list_push_back(&h->offlines, &o->link);
	if (!cw_timer_armed(&h->offline_timer))
		cw_timer_set(http2_timers(h), &h->offline_timer, OFFLINE_MS, on_offline_late);
	return 0;
}

/* A logout of `key`, of `d` where that is still here. 0 or an error: then nothing has begun. */
static int ask_offline(struct http2 *h, struct cw_updevice *d, const char *key)
{
	struct http2_offline *o = cw_zalloc(sizeof(*o));
	const char *slash = strchr(key, '/');
	int rc;

	if (o == NULL)
		return CW_ENOMEM;
	o->h = h;
	o->d = d;
	cw_list_init(&o->link);
	o->call.done = on_offline_sent;
	(void)snprintf(o->product_key, sizeof(o->product_key), "%.*s", (int)(slash - key), key);
	(void)snprintf(o->device_name, sizeof(o->device_name), "%s", slash + 1);
	h->offlines_out++;
	rc = say_offline(o);
	if (rc < 0) {
		free_offline(o);
		return rc;
	}
	if (d != NULL)
		http2_device_of(d)->offline = o;
	return 0;
}

static void drop_from_store(struct http2 *h, const char *product_key, const char *device_name)
{
	char key[CW_ONLINE_KEY];

	(void)snprintf(key, sizeof(key), "%s/%s", product_key, device_name);
	if (h->online != NULL)
		cw_online_drop(h->online, key);
}

/* No good answer came: once more, or it counts as done (the platform has it online until somebody else says so; what is
 * in the store is reported again after a restart). */
static void offline_over(struct http2_offline *o)
{
	struct http2 *h = o->h;
	struct cw_updevice *d = o->d;

	if (o->tries < OFFLINE_TRIES && h->state == HTTP2_LINK_UP && say_offline(o) == 0)
		return;
	free_offline(o);
	if (d != NULL) {
		http2_device_of(d)->offline = NULL;
		logged_out(h, d);
	}
}

int http2_offline_replied(struct http2 *h, const char *id, int32_t code)
{
	struct http2_offline *o = NULL;
	struct cw_updevice *d;
	struct cw_list *e;

	cw_list_each (e, &h->offlines) {
		o = cw_container_of(e, struct http2_offline, link);
		if (strcmp(o->id, id) == 0)
			break;
		o = NULL;
	}
	if (o == NULL)
		return 0;
	d = o->d;
	if (code == CW_CODE_OK || code == CODE_NO_SESSION) {
		cw_count(upstream, replies_ok);
		drop_from_store(h, o->product_key, o->device_name);
	} else {
		cw_count(upstream, replies_failed);
		cw_log(upstream_reply_failed, cw_code_text(code), CW_LS("product", o->product_key),
		       CW_LS("device", o->device_name), CW_LI("code", code));
	}
	free_offline(o);
	if (d != NULL) {
		http2_device_of(d)->offline = NULL;
		http2_device_of(d)->stored = 0;
		logged_out(h, d);
	}
	http2_session_pump(h);
	return 1;
}

static void logged_out(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	hd->phase = HTTP2_OFF;
	if (!needed(d))
		dismiss(h, d);
	forget_pause(h, hd);
	enter(h, d); /* it may be wanted again by now */
}

static void log_out(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);

	cw_updevice_report(d, CW_UPDEVICE_OFFLINE, CW_CODE_OK, "logged out");
	hd->phase = hd->is_bridge ? HTTP2_OFF : HTTP2_LEAVING;
	if (hd->is_bridge)
		return;
	hd->offline = NULL;
	cw_list_push_back(&h->to_logout, &hd->link);
	pump_in(h, 0);
}

/* ---- absent devices of a large bridge -------------------------------------------------------- */

static int remember_absent(struct http2 *h, const char *key, int now)
{
	size_t len = strlen(key);
	struct http2_absent *a;

	if (strchr(key, '/') == NULL || cw_map_find(&h->absent, key, len) != NULL)
		return 0;
	a = cw_zalloc(sizeof(*a) + len + 1);
	if (a == NULL)
		return CW_ENOMEM;
	memcpy(a->key, key, len + 1);
	cw_list_init(&a->link);
	if (cw_map_add(&h->absent, &a->node, a->key, len) < 0) {
		cw_free(a);
		return CW_ENOMEM;
	}
	if (now)
		cw_list_push_back(&h->leavers, &a->link);
	return 0;
}

static int on_known(void *ctx, const char *key)
{
	return remember_absent(ctx, key, 0);
}

/* returnTime is over: who is not back, and not about to be, is reported offline. */
static void on_return(struct cw_timer *t)
{
	struct http2 *h = cw_container_of(t, struct http2, return_timer);
	struct cw_map_node *n;
	unsigned count = 0;

	cw_map_each (n, &h->absent) {
		struct http2_absent *a = cw_container_of(n, struct http2_absent, node);
		struct cw_bytes key = cw_bytes_text(a->key);
		size_t slash = (size_t)(strchr(a->key, '/') - a->key);
		struct cw_updevice *d = cw_upstream_find(h->u, cw_bytes_of(key.ptr, slash),
							 cw_bytes_of(key.ptr + slash + 1, key.len - slash - 1));

		if (!cw_list_empty(&a->link) || (d != NULL && needed(d)))
			continue;
		cw_list_push_back(&h->leavers, &a->link);
		count++;
	}
	if (count > 0)
		cw_log(upstream_absent, "were online before the restart and are reported offline",
		       CW_LS("upstream", h->u->conf.name), CW_LU("devices", count));
	http2_session_pump(h);
}

static int ask_leaver(struct http2 *h)
{
	struct http2_absent *a = cw_container_of(cw_list_first(&h->leavers), struct http2_absent, link);
	struct cw_bytes key = cw_bytes_text(a->key);
	size_t slash = (size_t)(strchr(a->key, '/') - a->key);
	struct cw_updevice *d = cw_upstream_find(h->u, cw_bytes_of(key.ptr, slash),
						 cw_bytes_of(key.ptr + slash + 1, key.len - slash - 1));
	int rc = 0;

	if (d == NULL || http2_device_of(d)->phase == HTTP2_OFF) /* else it has come back meanwhile */
		rc = ask_offline(h, NULL, a->key);
	if (rc == 0)
		forget_absent(h, a);
	return rc;
}

/* ---- what may be asked now ----------------------------------------------------------------- */

static int login_may_go(struct http2 *h)
{
	return !cw_list_empty(&h->to_login) && h->logins_out < h->login_parallel && h->net_id[0] != '\0';
}

void http2_session_pump(struct http2 *h)
{
	uint64_t wait = 0;
	int rc = 0;

	if (h->state != HTTP2_LINK_UP)
		return;
	while (rc == 0 && login_may_go(h) && (wait = cw_pace_rate_wait(&h->logins, http2_now(h))) == 0) {
		struct cw_updevice *d =
			(struct cw_updevice *)cw_container_of(cw_list_pop(&h->to_login), struct http2_device, link) - 1;

		rc = ask_login(h, d);
		if (rc < 0)
			try_later(h, d, 0);
	}
	while (rc == 0 && h->offlines_out < OFFLINES_OUT && !cw_list_empty(&h->to_logout)) {
		struct http2_device *hd = cw_container_of(cw_list_first(&h->to_logout), struct http2_device, link);
		struct cw_updevice *d = (struct cw_updevice *)hd - 1;

		rc = ask_offline(h, d, d->key);
		if (rc == 0)
			cw_list_remove(&hd->link);
	}
	while (rc == 0 && h->offlines_out < OFFLINES_OUT && !cw_list_empty(&h->leavers))
		rc = ask_leaver(h);
	if (rc < 0 || wait > 0)
		pump_in(h, wait > 0 ? wait : 1000);
}

/* ---- the platform's initiative ------------------------------------------------------------- */

void http2_device_kicked(struct http2 *h, struct cw_updevice *d, int32_t code, const char *text)
{
	struct http2_device *hd = http2_device_of(d);

	if (!hd->seen || hd->is_bridge || hd->phase != HTTP2_UP)
		return; /* on its way already */
	cw_count(upstream, kicked);
	unstore(h, d);
	refuse(h, d, code == CODE_DELETED || code == CODE_DISABLED ? CW_UPDEVICE_REFUSED : CW_UPDEVICE_OFFLINE, code,
	       text != NULL && text[0] != '\0' ? text : cw_code_text(code));
}

/* ---- the bridge's wishes -------------------------------------------------------------------- */

static void remove_device(struct http2 *h, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);
	int known = hd->phase == HTTP2_ASKED || hd->phase == HTTP2_UP || hd->stored ||
		    (hd->phase == HTTP2_LEAVING && hd->offline == NULL);

	if (d->state == CW_UPDEVICE_ONLINE)
		cw_updevice_report(d, CW_UPDEVICE_OFFLINE, CW_CODE_OK, "removed");
	leave(h, d);
	forget_pause(h, hd);
	dismiss(h, d);
	http2_posts_forget(hd, h);
	if (known && !hd->is_bridge && !h->stopping &&
	    (h->state != HTTP2_LINK_UP || ask_offline(h, NULL, d->key) < 0) && h->large) {
		(void)remember_absent(h, d->key, 1);
		pump_in(h, 0);
	}
	cw_updevice_gone(d);
}

void http2_device_changed(void *connector, struct cw_updevice *d)
{
	struct http2 *h = connector;

	first_seen(h, d);
	if (d->removing)
		remove_device(h, d);
	else if (needed(d) && http2_device_of(d)->phase == HTTP2_LEAVING && http2_device_of(d)->offline == NULL)
		online(h, d); /* nobody has told the platform yet that it is gone */
	else if (needed(d))
		enter(h, d);
	else
		http2_device_drained(h, d);
}

/* Nobody wants it and its queue is empty: down, or no further up. */
void http2_device_drained(void *connector, struct cw_updevice *d)
{
	struct http2_device *hd = http2_device_of(d);
	struct http2 *h = connector;

	if (needed(d) || d->removing || !hd->seen)
		return;
	if (hd->phase == HTTP2_UP ||
	    (hd->phase == HTTP2_PAUSE && hd->stored)) { /* stored: an answer got lost, it may be online */
		leave(h, d);
		forget_pause(h, hd);
		log_out(h, d);
	} else if (hd->phase == HTTP2_STORING || hd->phase == HTTP2_QUEUED || hd->phase == HTTP2_PAUSE) {
		leave(h, d); /* a login that was asked for is waited for: it must be undone */
		forget_pause(h, hd);
		unstore(h, d);
		dismiss(h, d);
		hd->phase = HTTP2_OFF;
	}
}

/* ---- the connection ------------------------------------------------------------------------- */

void http2_session_up(struct http2 *h)
{
	struct cw_map_node *n;

	if (h->large && !h->return_set) {
		h->return_set = 1;
		cw_timer_set(http2_timers(h), &h->return_timer, h->return_ms, on_return);
	}
	cw_map_each (n, &h->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);

		first_seen(h, d);
		enter(h, d);
	}
	http2_session_pump(h);
}

static void device_down(struct http2 *h, struct cw_updevice *d, const char *why)
{
	struct http2_device *hd = http2_device_of(d);

	if (!hd->seen)
		return;
	if (h->large && !hd->is_bridge && hd->phase != HTTP2_ASKED && hd->phase != HTTP2_QUEUED)
		return; /* the platform keeps it as it is, so do we; LEAVING was put back before */
	leave(h, d);
	forget_pause(h, hd);
	hd->phase = HTTP2_OFF;
	if (d->state == CW_UPDEVICE_ONLINE)
		cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 0, why);
	if (hd->stored && !needed(d))
		log_out(h, d); /* once there is a connection: nobody knows what became of its login */
}

/* Logouts that were not answered: a large bridge says them again. */
static void take_back_offlines(struct http2 *h)
{
	struct cw_list *e;

	while ((e = cw_list_first(&h->offlines)) != NULL) {
		struct http2_offline *o = cw_container_of(e, struct http2_offline, link);
		struct cw_updevice *d = o->d;
		char key[CW_ONLINE_KEY];

		(void)snprintf(key, sizeof(key), "%s/%s", o->product_key, o->device_name);
		free_offline(o);
		if (d != NULL) {
			http2_device_of(d)->offline = NULL;
			cw_list_push_back(&h->to_logout, &http2_device_of(d)->link);
		} else if (h->large) {
			(void)remember_absent(h, key, 1);
		}
	}
}

void http2_session_down(struct http2 *h, const char *why)
{
	struct cw_map_node *n;

	take_back_offlines(h);
	cw_map_each (n, &h->u->devices)
		device_down(h, cw_container_of(n, struct cw_updevice, node), why);
}

int http2_session_open(struct http2 *h, struct cw_msg *msg)
{
	char bridge[128];

	if (!h->large || h->online != NULL || h->u->conf.state_dir == NULL)
		return 0;
	(void)snprintf(bridge, sizeof(bridge), "%s.%s", h->pk, h->dn);
	return cw_online_open(h->u->conf.state_dir, bridge, h->u->w, on_known, h, &h->online, msg);
}

void http2_session_init(struct http2 *h)
{
	cw_list_init(&h->to_login);
	cw_list_init(&h->to_logout);
	cw_list_init(&h->leavers);
	cw_list_init(&h->auths);
	cw_list_init(&h->offlines);
	cw_list_init(&h->puts);
	cw_map_init(&h->absent);
	h->logins.rate = h->u->conf.login_rate;
}

void http2_session_close(struct http2 *h)
{
	struct cw_list *e;

	take_back_offlines(h); /* those of the store stay there */
	while ((e = cw_list_first(&h->auths)) != NULL) {
		struct http2_auth *a = cw_container_of(e, struct http2_auth, link);

		http2_device_of(a->d)->phase = HTTP2_OFF;
		cw_fetch_cancel(a->fetch);
		end_auth(a);
	}
	cw_timer_stop(http2_timers(h), &h->pump_timer);
	cw_timer_stop(http2_timers(h), &h->offline_timer);
	cw_timer_stop(http2_timers(h), &h->return_timer);
	cw_online_close(h->online); /* the answers to what was put have been posted: they come by mail */
	h->online = NULL;
}

void http2_session_fini(struct http2 *h)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe (n, next, &h->absent)
		forget_absent(h, cw_container_of(n, struct http2_absent, node));
	cw_map_fini(&h->absent);
}
