/*
 * http2.c - the bridge over HTTP/2: the connection, its login, its end.
 *
 * One normal run: start -> TCP, TLS -> login -> two subscriptions -> net id (HTTPS,
 * once a process) -> session.c logs the devices in -> the lane hands parcels to
 * publish.c, each becomes a request -> 200 -> settled.
 * One failing run: the connection breaks or stays silent -> requests under way end, their
 * parcels go back to the lane -> (small bridge) all devices offline -> a new connection
 * after the delay of retry.c.
 */
#include "upstream/http2/http2.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "platform/sign.h"

#define LOGIN_MS 15000u    /* TCP, TLS and login */
#define STEP_MS 10000u     /* subscriptions, net id */
#define LEAVE_MS 5000u     /* after GOAWAY, for what is under way */
#define NET_RETRY_MS 5000u /* a net id that has to be renewed and was not given */
#define LARGE_MODE 3

static const char *const alpn[] = { "h2", NULL };

static void connect_now(struct http2 *h);
static void subscribe(struct http2 *h);
static void ask_net_id(struct http2 *h);

/* ---- settings ------------------------------------------------------------------------ */

static int set_up(struct http2 *h, struct cw_msg *msg)
{
	const struct cw_upstream_conf *c = &h->u->conf;
	const struct http2_settings *own = c->own;
	struct cw_tls_conf tls = { .ca = c->ca,
				   .certificate = c->certificate,
				   .key = c->key,
				   .verify = c->verify ? CW_TLS_VERIFY_REQUIRED : CW_TLS_VERIFY_NONE,
				   .alpn = own == NULL || own->alpn ? alpn : NULL };
	const char *auth = own == NULL ? NULL : own->auth_endpoint;
	int rc;

	if (auth != NULL)
		(void)snprintf(h->auth_url, sizeof(h->auth_url), "%s", auth);
	else if (c->region != NULL)
		(void)snprintf(h->auth_url, sizeof(h->auth_url), "https://iot-auth.%s.aliyuncs.com/auth/bridge",
			       c->region);
	rc = http2_check(c, h->auth_url[0] == '\0' ? NULL : h->auth_url, msg);
	if (rc == 0)
		rc = http2_parse_endpoint(c->endpoint, &h->at, msg);
	if (rc == 0)
		rc = cw_tls_client_new(&tls, msg, &h->tls);
	if (rc < 0)
		return rc;
	h->pk = c->product_key;
	h->dn = c->device_name;
	h->large = c->large;
	h->login_parallel = own == NULL ? 8 : own->login_parallel;
	h->return_ms = own == NULL ? 600000 : (uint64_t)own->return_ms;
	h->keep_alive_ms = (uint64_t)c->keep_alive_s * 1000;
	(void)snprintf(h->topic_push, sizeof(h->topic_push), "/sys/%s/%s/bridge/push", h->pk, h->dn);
	(void)snprintf(h->topic_offline, sizeof(h->topic_offline), "/sys/%s/%s/bridge/offline_reply", h->pk, h->dn);
	(void)snprintf(h->path_post, sizeof(h->path_post), "/message/pub/sys/%s/%s/bridge/post", h->pk, h->dn);
	(void)snprintf(h->path_offline, sizeof(h->path_offline), "/message/pub/sys/%s/%s/bridge/offline", h->pk, h->dn);
	return 0;
}

static void destroy(void *connector)
{
	struct http2 *h = connector;

	cw_await_fini(&h->replies);
	http2_acks_drop(h);
	http2_session_fini(h);
	cw_tls_ctx_free(h->tls);
	explicit_bzero(h->net_id, sizeof(h->net_id));
	cw_free(h);
}

static int create(struct cw_upstream *u, void **ret_connector, struct cw_msg *msg)
{
	struct http2 *h = cw_zalloc(sizeof(*h));
	int rc;

	if (h == NULL)
		return CW_ENOMEM;
	h->u = u;
	cw_await_init(&h->replies, u->w, HTTP2_REPLY_MS, http2_on_reply_late);
	cw_list_init(&h->acks);
	http2_session_init(h);
	rc = set_up(h, msg);
	if (rc == 0 && getrandom(&h->random, sizeof(h->random), 0) != (ssize_t)sizeof(h->random))
		rc = cw_fail(msg, CW_EIO, "no random numbers from the system");
	if (rc < 0) {
		destroy(h);
		return rc;
	}
	cw_retry_init(&h->retry, u->conf.retry_min_ms, u->conf.retry_max_ms,
		      (uint32_t)cw_hash_stable(h->dn, strlen(h->dn)));
	*ret_connector = h;
	return 0;
}

/* ---- connection ----------------------------------------------------------------------- */

static void on_retry(struct cw_timer *t)
{
	connect_now(cw_container_of(t, struct http2, retry_timer));
}

void http2_lost(struct http2 *h, const char *why)
{
	struct http2_link *link = h->link;
	int was_up = h->state == HTTP2_LINK_UP || h->state == HTTP2_LINK_LEAVING;
	uint64_t wait;

	if (h->state == HTTP2_LINK_WAITING || h->stopping)
		return;
	h->state = HTTP2_LINK_WAITING;
	h->link = NULL;
	cw_timer_stop(http2_timers(h), &h->step_timer);
	cw_timer_stop(http2_timers(h), &h->net_timer);
	if (h->net_fetch != NULL)
		cw_fetch_cancel(h->net_fetch);
	h->net_fetch = NULL;
	http2_link_cancel(&h->step);
	if (link != NULL)
		http2_link_close(link); /* what was under way goes back to the lane, or is asked again */
	wait = cw_retry_down(&h->retry, http2_now(h));
	if (was_up) {
		cw_count(upstream, disconnects);
		http2_session_down(h, why);
		http2_replies_drop(h);
	} else {
		cw_count(upstream, connect_failed);
	}
	cw_log(upstream_down, why, CW_LS("upstream", h->u->conf.name), CW_LU("retry_ms", wait));
	if (cw_retry_is_twin(&h->retry))
		cw_log(upstream_twin, "closed right after each login: does another gateway, or a program, log in with the same productKey and deviceName? Waiting longer each time",
		       CW_LS("upstream", h->u->conf.name), CW_LU("times", h->retry.short_lived));
	cw_upstream_report(h->u, 0, why);
	cw_timer_set(http2_timers(h), &h->retry_timer, wait, on_retry);
}

static void on_step_late(struct cw_timer *t)
{
	struct http2 *h = cw_container_of(t, struct http2, step_timer);
	static const char *const whys[] = {
		[HTTP2_LINK_CONNECTING] = "the platform did not answer the login in time",
		[HTTP2_LINK_SUBSCRIBING] = "the platform did not answer a subscription in time",
		[HTTP2_LINK_NET_ID] = "no net id came in time",
		[HTTP2_LINK_LEAVING] = "the platform has ended the connection",
	};

	if (h->state != HTTP2_LINK_WAITING && h->state != HTTP2_LINK_UP)
		http2_lost(h, whys[h->state]);
}

static void step_within(struct http2 *h, enum http2_state state, uint64_t ms)
{
	h->state = state;
	cw_timer_set(http2_timers(h), &h->step_timer, ms, on_step_late);
}

static void link_ready(struct http2 *h)
{
	cw_timer_stop(http2_timers(h), &h->step_timer);
	h->state = HTTP2_LINK_UP;
	cw_retry_up(&h->retry, http2_now(h));
	cw_count(upstream, connects);
	cw_log(upstream_up, "logged in", CW_LS("upstream", h->u->conf.name), CW_LS("product", h->pk),
	       CW_LS("device", h->dn));
	cw_upstream_report(h->u, 1, "logged in");
	http2_session_up(h);
	cw_lane_pump(&h->u->lane);
}

/* ---- net id ----------------------------------------------------------------------------- */

static void on_net_retry(struct cw_timer *t)
{
	ask_net_id(cw_container_of(t, struct http2, net_timer));
}

/* At the start that is the end of this attempt; later on the devices that are online do not need it. */
static void net_id_missing(struct http2 *h, const char *text)
{
	char why[400];

	(void)snprintf(why, sizeof(why), "no net id for the bridge: %.350s", text);
	if (h->state == HTTP2_LINK_NET_ID) {
		http2_lost(h, why);
		return;
	}
	cw_upstream_note_error(h->u, why);
	cw_timer_set(http2_timers(h), &h->net_timer, NET_RETRY_MS, on_net_retry);
}

static void on_net_id(void *ctx, const struct cw_fetch_reply *reply)
{
	struct http2 *h = ctx;
	struct http2_form_reply r;
	char text[200];

	h->net_fetch = NULL;
	if (reply->rc < 0) {
		net_id_missing(h, reply->text);
		return;
	}
	if (reply->status != 200 || http2_form_reply(reply->body, &r) < 0) {
		(void)snprintf(text, sizeof(text), "authEndpoint answers with status %d and no form of its own",
			       reply->status);
		net_id_missing(h, text);
		return;
	}
	if (r.code != 200 || r.net_id[0] == '\0') {
		(void)snprintf(text, sizeof(text), "code %d, %.120s", (int)r.code,
			       r.message[0] != '\0' ? r.message : "no net id in it");
		net_id_missing(h, text);
		return;
	}
	memcpy(h->net_id, r.net_id, sizeof(h->net_id));
	explicit_bzero(&r, sizeof(r));
	if (h->state == HTTP2_LINK_NET_ID)
		link_ready(h);
	else
		http2_session_pump(h);
}

static void ask_net_id(struct http2 *h)
{
	const struct cw_upstream_conf *c = &h->u->conf;
	char body[HTTP2_FORM_SIZE], client_id[128];
	struct http2_form form = { .product_key = h->pk,
				   .device_name = h->dn,
				   .secret = c->device_secret,
				   .client_id = client_id,
				   .mode = h->large ? LARGE_MODE : 0,
				   .utc_ms = cw_clock_wall_ms() };
	const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded", NULL };
	struct cw_fetch_request q = { .url = h->auth_url,
				      .headers = headers,
				      .tls = { c->ca, c->certificate, c->key, c->verify },
				      .timeout_ms = STEP_MS,
				      .most = 65536,
				      .done = on_net_id,
				      .ctx = h };
	int rc;

	if (h->net_fetch != NULL)
		return;
	(void)snprintf(client_id, sizeof(client_id), "%s-%s", h->pk, h->dn);
	rc = http2_form(&form, body);
	q.body = cw_bytes_of((const uint8_t *)body, strlen(body));
	if (rc == 0)
		rc = cw_fetch_start(h->pool, &q, &h->net_fetch);
	explicit_bzero(body, sizeof(body));
	if (rc < 0) {
		h->net_fetch = NULL;
		net_id_missing(h, cw_error_text(rc));
	}
}

void http2_renew_net_id(struct http2 *h)
{
	h->net_id[0] = '\0';
	if (!cw_timer_armed(&h->net_timer))
		ask_net_id(h);
}

/* ---- login and subscriptions -------------------------------------------------------------- */

/* 1 when a step was answered as it should be; else the connection is given up. */
static int step_ok(struct http2 *h, int rc, const char *what)
{
	char why[400];

	if (rc == CW_ECLOSED || h->link == NULL)
		return 0; /* `down` says why */
	if (rc == 0 && h->step.status == 200)
		return 1;
	if (rc < 0)
		(void)snprintf(why, sizeof(why), "%.160s: the platform reset the request of %s", h->at.authority, what);
	else
		(void)snprintf(why, sizeof(why), "%.80s: the platform refused %.60s: status %d %.95s%s", h->at.authority,
			       what, h->step.status, h->step.text,
			       h->step.status == 401 ? "; compare productKey, deviceName and deviceSecret with the console" : "");
	http2_lost(h, why);
	return 0;
}

static void after_subscriptions(struct http2 *h)
{
	if (h->net_id[0] != '\0') {
		link_ready(h);
		return;
	}
	step_within(h, HTTP2_LINK_NET_ID, STEP_MS + 1000);
	ask_net_id(h);
}

static void on_subscribed(struct http2_call *c, int rc)
{
	struct http2 *h = cw_container_of(c, struct http2, step);

	if (!step_ok(h, rc, "a subscription"))
		return;
	h->subscribed++;
	if (h->subscribed < 2)
		subscribe(h);
	else
		after_subscriptions(h);
}

static void step(struct http2 *h, const char *path, const nghttp2_nv *fields, size_t count,
		 void (*done)(struct http2_call *, int))
{
	int rc;

	h->step.done = done;
	rc = http2_link_call(h->link, &h->step, "GET", path, fields, count);
	if (rc < 0)
		http2_lost(h, rc == CW_ECLOSED ? "the platform has ended the connection" : cw_error_text(rc));
}

static void subscribe(struct http2 *h)
{
	char path[CW_TOPIC_MAX + 16];

	(void)snprintf(path, sizeof(path), "/message/sub%s", h->subscribed == 0 ? h->topic_offline : h->topic_push);
	step_within(h, HTTP2_LINK_SUBSCRIBING, STEP_MS);
	step(h, path, NULL, 0, on_subscribed);
}

static void on_login(struct http2_call *c, int rc)
{
	struct http2 *h = cw_container_of(c, struct http2, step);

	if (!step_ok(h, rc, "the login"))
		return;
	h->subscribed = 0;
	subscribe(h);
}

static void on_link_up(void *ctx)
{
	struct http2 *h = ctx;
	char client_id[128], time[24], text[400], sign[CW_SIGN_HEX_MAX];
	nghttp2_nv fields[8];
	int rc;

	(void)snprintf(client_id, sizeof(client_id), "%s-%s", h->pk, h->dn);
	(void)snprintf(time, sizeof(time), "%lld", (long long)cw_clock_wall_ms());
	rc = cw_sign_content_device(text, sizeof(text), client_id, h->dn, h->pk, time);
	if (rc == 0)
		rc = cw_sign_hmac(CW_SIGN_MD5, h->u->conf.device_secret, text, sign);
	if (rc < 0) {
		http2_lost(h, "the login could not be signed");
		return;
	}
	fields[0] = http2_field("x-auth-name", "devicename");
	fields[1] = http2_field("x-auth-param-client-id", client_id);
	fields[2] = http2_field("x-auth-param-product-key", h->pk);
	fields[3] = http2_field("x-auth-param-device-name", h->dn);
	fields[4] = http2_field("x-auth-param-signmethod", cw_sign_method_name(CW_SIGN_MD5));
	fields[5] = http2_field("x-auth-param-timestamp", time);
	fields[6] = http2_field("x-auth-param-sign", sign);
	fields[7] = http2_field("x-clear-session", "0");
	step(h, "/message/echo/success", fields, 8, on_login);
	explicit_bzero(sign, sizeof(sign));
}

static void on_leaving(void *ctx, const char *why)
{
	struct http2 *h = ctx;

	cw_upstream_note_error(h->u, why);
	if (h->state == HTTP2_LINK_UP)
		step_within(h, HTTP2_LINK_LEAVING, LEAVE_MS);
}

static void on_idle(void *ctx)
{
	struct http2 *h = ctx;

	if (h->state == HTTP2_LINK_LEAVING)
		http2_lost(h, "the platform has ended the connection");
}

static void on_down(void *ctx, const char *why)
{
	struct http2 *h = ctx;

	h->link = NULL; /* it has let go of everything */
	http2_lost(h, why);
}

static const struct http2_link_events link_events = { on_link_up, on_leaving, on_idle, on_down, http2_on_push };

static void connect_now(struct http2 *h)
{
	struct http2_link_conf conf = { .w = h->u->w, .at = &h->at, .tls = h->tls, .keep_alive_ms = h->keep_alive_ms };
	struct cw_msg msg = { { 0 } };
	int rc = 0;

	step_within(h, HTTP2_LINK_CONNECTING, LOGIN_MS);
	cw_log(upstream_connecting, "connecting", CW_LS("upstream", h->u->conf.name), CW_LS("host", h->at.host),
	       CW_LS("port", h->at.port));
	if (h->pool == NULL)
		rc = cw_fetch_pool_new(h->u->w, &h->pool);
	if (rc == 0)
		rc = http2_session_open(h, &msg);
	if (rc == 0)
		rc = http2_link_open(&conf, &link_events, h, &h->link);
	if (rc < 0)
		http2_lost(h, msg.text[0] != '\0' ? msg.text : cw_error_text(rc));
}

static void start(void *connector)
{
	struct http2 *h = connector;

	if (!h->stopping)
		connect_now(h);
}

/* A small bridge's devices go offline with the connection; those of a large one are to stay online. */
static void stop(void *connector)
{
	struct http2 *h = connector;
	struct http2_link *link = h->link;

	if (h->stopping)
		return;
	h->stopping = 1;
	cw_timer_stop(http2_timers(h), &h->retry_timer);
	cw_timer_stop(http2_timers(h), &h->step_timer);
	cw_timer_stop(http2_timers(h), &h->net_timer);
	h->link = NULL;
	if (link != NULL)
		http2_link_close(link);
	if (h->state == HTTP2_LINK_UP || h->state == HTTP2_LINK_LEAVING) {
		http2_session_down(h, "the gateway stops");
		http2_replies_drop(h);
		cw_upstream_report(h->u, 0, "the gateway stops");
	}
	h->state = HTTP2_LINK_WAITING;
	http2_session_close(h);
	cw_fetch_pool_free(h->pool);
	h->pool = NULL;
	h->net_fetch = NULL;
	cw_upstream_stopped(h->u);
}

const struct cw_connector_ops cw_connector_http2 = {
	.type = "http2",
	.endpoint = &http2_endpoint_form,
	.device_size = sizeof(struct http2_device),
	.can = CW_CAN_DOWNLINK | CW_CAN_LARGE,
	.configure = http2_configure,
	.create = create,
	.destroy = destroy,
	.start = start,
	.stop = stop,
	.device_changed = http2_device_changed,
	.send = http2_send_parcel,
	.recall = http2_recall,
	.drained = http2_device_drained,
	.answer = http2_answer,
	.taken = http2_taken,
};
