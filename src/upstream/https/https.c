/*
 * https.c - the platform over HTTPS: whether it answers, and the devices' tokens; see https.h.
 */
#include "upstream/https/https.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "json/json.h"
#include "platform/sign.h"

#define STRIKES_MOST 3u         /* requests in a row without an answer: nobody is there */
#define LOGINS_OUT 4u           /* /auth at once: half of the connections stay for messages */
#define PAUSE_REFUSED_TIMES 15u /* of the first delay, after a refusal: somebody has to change something first */
#define CLIENT_ID_MOST 64       /* characters */

static void enter(struct https *h, struct cw_updevice *d);
static void pump(struct https *h);
static void try_link(struct https *h);
static void on_pause(struct cw_timer *t);
static void token_came(struct https *h, struct cw_updevice *d, const struct https_answer *a);

static struct cw_timers *timers(struct https *h)
{
	return cw_worker_timers(h->u->w);
}

static uint64_t now_of(struct https *h)
{
	return cw_worker_now(h->u->w);
}

/* ---- settings ------------------------------------------------------------------ */

static const char *const methods[] = { "hmacmd5", "hmacsha1", "hmacsha256", NULL }; /* as enum cw_sign_method */

static const struct cw_conf_setting settings[] = {
	CW_CONF_CHOICE(struct https_settings, sign_method, "signMethod", methods, "hmacsha256",
		       "How a device's login is signed."),
	CW_CONF(struct https_settings, in_flight, INT, "inFlight", "8", "1", "8",
		"Messages sent and not yet answered, of different devices; each takes a connection."),
	CW_CONF(struct https_settings, rate_device, INT, "ratePerDevice", "10", "0", "10000",
		"Messages a second and device; the platform refuses more (40000). 0: no limit."),
	CW_CONF(struct https_settings, login_rate, INT, "loginRate", "50", "0", "1000000",
		"Device logins a second; 0: no limit."),
	CW_CONF(struct https_settings, timeout_ms, DURATION, "timeout", "10s", "100ms", "10m",
		"A request without an answer for this long is given up and made again."),
	CW_CONF(struct https_settings, renewal_ms, DURATION, "tokenRenewal", "6d", "1s", "365d",
		"Age at which a device's token is renewed; the platform's tokens live 7 days."),
	CW_CONF(struct https_settings, message_bytes, BYTES, "messageBytes", "128KiB", "1KiB", "128KiB",
		"Longest message; a longer record is sent as several where it can be, else refused."),
	CW_CONF_END
};

const struct cw_conf_table cw_upstream_https_table = {
	.name = "upstream", .size = sizeof(struct https_settings), .settings = settings
};

static int configure(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg)
{
	const struct https_settings *own = conf->own;

	(void)msg;
	conf->in_flight = own->in_flight;
	conf->in_flight_device = 1;
	conf->qos = 1;
	conf->rate_device_qos0 = own->rate_device;
	conf->rate_device_qos1 = own->rate_device;
	conf->login_rate = own->login_rate;
	conf->login_batch = 1;
	conf->post_version = 1;
	if (conf->endpoint == NULL && conf->region != NULL) {
		(void)snprintf(text, size, "https://iot-as-http.%s.aliyuncs.com", conf->region);
		conf->endpoint = text;
	}
	return 0;
}

static const struct cw_endpoint_scheme schemes[] = { { .name = "https", .port = 443, .tls = 1, .rest = 1 }, { .name = NULL } };
static const struct cw_endpoint_form endpoint_form = { schemes, "https://", "https://host:443 or https://[2001:db8::1]:443" };

static int check(struct https *h, struct cw_msg *msg)
{
	const char *e = h->u->conf.endpoint;
	struct cw_endpoint at;
	int rc;

	if (e == NULL)
		return cw_fail(msg, CW_ECONF, "endpoint is missing; it looks like https://host:443");
	rc = cw_endpoint_parse(e, &endpoint_form, &at, msg);
	if (rc < 0)
		return rc;
	if ((at.rest[0] != '\0' && strcmp(at.rest, "/") != 0) || (size_t)(at.rest - e) >= sizeof(h->base))
		return cw_fail(msg, CW_ECONF, "endpoint: '%s' is not like %s", e, endpoint_form.like);
	(void)snprintf(h->base, sizeof(h->base), "%.*s", (int)(at.rest - e), e);
	return 0;
}

static int create(struct cw_upstream *u, void **ret_connector, struct cw_msg *msg)
{
	struct https *h;
	int rc;

	if (u->conf.own == NULL)
		return cw_fail(msg, CW_ECONF, "an upstream of type https needs its settings");
	h = cw_zalloc(sizeof(*h));
	if (h == NULL)
		return CW_ENOMEM;
	h->u = u;
	h->own = *(const struct https_settings *)u->conf.own;
	rc = check(h, msg);
	if (rc < 0) {
		cw_free(h);
		return rc;
	}
	cw_retry_init(&h->retry, u->conf.retry_min_ms, u->conf.retry_max_ms, (uint32_t)cw_hash_stable(h->base, strlen(h->base)));
	h->logins.rate = h->own.login_rate;
	cw_list_init(&h->to_login);
	cw_await_init(&h->ids, u->w, 0, NULL); /* for numbers only: nothing waits in it */
	*ret_connector = h;
	return 0;
}

static void destroy(void *connector)
{
	struct https *h = connector;
	struct cw_map_node *n;

	cw_map_each (n, &h->u->devices)
		explicit_bzero(https_device_of(cw_container_of(n, struct cw_updevice, node))->token, HTTPS_TOKEN_MOST);
	cw_await_fini(&h->ids);
	cw_free(h);
}

/* ---- the link -------------------------------------------------------------------- */

struct cw_fetch_request https_request(struct https *h, const char *url, const char *const *headers, struct cw_bytes body)
{
	const struct cw_upstream_conf *c = &h->u->conf;

	return (struct cw_fetch_request){
		.url = url,
		.headers = headers,
		.body = body,
		.tls = { .ca = c->ca, .certificate = c->certificate, .key = c->key, .verify = c->verify },
		.connect_timeout_ms = (unsigned)h->own.timeout_ms,
		.timeout_ms = (unsigned)h->own.timeout_ms,
		.most = HTTPS_ANSWER_MOST,
	};
}

/* Ends what the device asks, and its place in the queue. */
static void leave(struct https *h, struct cw_updevice *d)
{
	struct https_device *hd = https_device_of(d);

	cw_list_remove(&hd->link);
	if (timers(h) != NULL)
		cw_timer_stop(timers(h), &hd->pause);
	if (hd->asking != NULL) {
		cw_fetch_cancel(hd->asking);
		hd->asking = NULL;
		h->asking--;
	}
	hd->phase = PHASE_OFF;
}

static void all_off(struct https *h, const char *why)
{
	struct cw_map_node *n;

	cw_map_each (n, &h->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);

		if (https_device_of(d)->d == NULL)
			continue;
		leave(h, d);
		cw_retry_reset(&https_device_of(d)->retry);
		if (d->state == CW_UPDEVICE_ONLINE)
			cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 0, why);
	}
}

static void on_retry(struct cw_timer *t)
{
	try_link(cw_container_of(t, struct https, retry_timer));
}

static void link_down(struct https *h, const char *why)
{
	uint64_t ms = cw_retry_down(&h->retry, now_of(h));

	if (h->state == LINK_UP)
		cw_count(upstream, disconnects);
	else
		cw_count(upstream, connect_failed);
	h->state = LINK_WAITING;
	all_off(h, why);
	cw_log(upstream_down, why, CW_LS("upstream", h->u->conf.name), CW_LU("retry_ms", ms));
	cw_upstream_report(h->u, 0, why);
	cw_timer_set(timers(h), &h->retry_timer, ms, on_retry);
}

static void link_up(struct https *h)
{
	struct cw_map_node *n;

	h->state = LINK_UP;
	h->strikes = 0;
	cw_retry_up(&h->retry, now_of(h));
	cw_count(upstream, connects);
	cw_log(upstream_up, "the platform answers", CW_LS("upstream", h->u->conf.name), CW_LS("endpoint", h->base));
	cw_upstream_report(h->u, 1, "the platform answers");
	cw_map_each (n, &h->u->devices)
		enter(h, cw_container_of(n, struct cw_updevice, node));
	pump(h);
}

void https_heard(struct https *h, const struct cw_fetch_reply *reply)
{
	char why[400];

	if (reply->rc == 0) {
		h->strikes = 0;
		return;
	}
	if (h->state != LINK_UP || h->stopping || reply->rc == CW_ENOMEM || reply->rc == CW_ELIMIT)
		return;
	cw_upstream_note_error(h->u, reply->text);
	if (reply->rc != CW_EUNREACH && reply->rc != CW_EACCESS && ++h->strikes < STRIKES_MOST)
		return;
	(void)snprintf(why, sizeof(why), "%s", reply->text);
	link_down(h, why);
}

void https_odd(struct https *h, const struct cw_fetch_reply *reply)
{
	cw_log(upstream_odd, reply->status == 200 ? "an answer that is not the platform's" : "an HTTP status instead of an answer",
	       CW_LS("upstream", h->u->conf.name), CW_LI("status", reply->status));
}

/* Any answer will do, a refusal too: it has proved name, network and certificate. */
static void on_tried(void *ctx, const struct cw_fetch_reply *reply)
{
	struct https *h = ctx;

	if (reply->rc == 0)
		link_up(h);
	else
		link_down(h, reply->text);
}

static void try_link(struct https *h)
{
	char url[sizeof(h->base) + 8];
	struct cw_fetch_request r;

	h->state = LINK_TRYING;
	cw_log(upstream_connecting, "asking", CW_LS("upstream", h->u->conf.name), CW_LS("endpoint", h->base));
	(void)snprintf(url, sizeof(url), "%s/auth", h->base);
	r = https_request(h, url, NULL, cw_bytes_of(NULL, 0));
	r.done = on_tried;
	r.ctx = h;
	if (h->pool == NULL)
		(void)cw_fetch_pool_new(h->u->w, &h->pool);
	if (h->pool == NULL || cw_fetch_start(h->pool, &r, NULL) < 0)
		link_down(h, "out of memory");
}

static void start(void *connector)
{
	struct https *h = connector;

	cw_log(upstream_one_way, "devices behind this upstream cannot be sent commands", CW_LS("upstream", h->u->conf.name));
	if (!h->stopping)
		try_link(h);
}

static void stop(void *connector)
{
	struct https *h = connector;

	if (h->stopping)
		return;
	h->stopping = 1;
	h->state = LINK_OFF;
	cw_timer_stop(timers(h), &h->retry_timer);
	cw_timer_stop(timers(h), &h->pump_timer);
	all_off(h, "the gateway stops");
	cw_fetch_pool_free(h->pool);
	h->pool = NULL;
	cw_upstream_report(h->u, 0, "the gateway stops");
	cw_upstream_stopped(h->u);
}

/* ---- tokens ------------------------------------------------------------------------ */

static int needed(const struct cw_updevice *d)
{
	return !d->removing && (d->wanted || d->lane.records > 0);
}

static void first_seen(struct https *h, struct cw_updevice *d)
{
	struct https_device *hd = https_device_of(d);
	const struct cw_upstream_conf *c = &h->u->conf;

	if (hd->d != NULL)
		return;
	hd->d = d;
	cw_list_init(&hd->link);
	cw_retry_init(&hd->retry, c->retry_min_ms, c->retry_max_ms, (uint32_t)cw_hash_stable(d->key, strlen(d->key)));
}

static void forget_token(struct https_device *hd)
{
	explicit_bzero(hd->token, sizeof(hd->token));
	hd->token_ms = 0;
}

static void pause_for(struct https *h, struct https_device *hd, uint64_t ms)
{
	if (hd->phase != PHASE_UP)
		hd->phase = PHASE_PAUSE;
	cw_timer_set(timers(h), &hd->pause, ms, on_pause);
}

static void on_pause(struct cw_timer *t)
{
	struct https_device *hd = cw_container_of(t, struct https_device, pause);
	struct https *h = hd->d->u->connector;

	if (hd->phase == PHASE_UP) { /* time to renew, while the old token goes on working */
		cw_list_push_back(&h->to_login, &hd->link);
	} else {
		hd->phase = PHASE_OFF;
		enter(h, hd->d);
	}
	pump(h);
}

static void go_up(struct https *h, struct cw_updevice *d)
{
	struct https_device *hd = https_device_of(d);
	uint64_t age = now_of(h) - hd->token_ms, most = (uint64_t)h->own.renewal_ms;

	hd->phase = PHASE_UP;
	cw_timer_set(timers(h), &hd->pause, age < most ? most - age : 0, on_pause);
	if (d->state != CW_UPDEVICE_ONLINE)
		cw_updevice_report(d, CW_UPDEVICE_ONLINE, 0, "has a token");
}

/* A device that is needed takes the next step. */
static void enter(struct https *h, struct cw_updevice *d)
{
	struct https_device *hd = https_device_of(d);

	first_seen(h, d);
	if (h->state != LINK_UP || hd->phase != PHASE_OFF || !needed(d))
		return;
	if (hd->token[0] != '\0') {
		go_up(h, d);
		return;
	}
	hd->phase = PHASE_QUEUED;
	cw_list_push_back(&h->to_login, &hd->link);
}

/* No token: `ms` at least until the next attempt. */
static void login_failed(struct https *h, struct cw_updevice *d, uint64_t least_ms)
{
	struct https_device *hd = https_device_of(d);
	uint64_t ms = cw_retry_down(&hd->retry, now_of(h));

	pause_for(h, hd, ms > least_ms ? ms : least_ms);
}

static void login_refused(struct https *h, struct cw_updevice *d, const struct https_answer *a)
{
	cw_count(upstream, logins_refused);
	forget_token(https_device_of(d));
	https_device_of(d)->phase = PHASE_OFF; /* also in the middle of a renewal */
	cw_updevice_report(d, CW_UPDEVICE_REFUSED, a->code, a->message);
	login_failed(h, d, (uint64_t)h->u->conf.retry_min_ms * PAUSE_REFUSED_TIMES);
}

static void on_auth_answer(struct https *h, struct cw_updevice *d, const struct https_answer *a)
{
	switch (https_auth_action(a->code)) {
	case HTTPS_DONE:
		token_came(h, d, a);
		return;
	case HTTPS_REFUSED:
		login_refused(h, d, a);
		return;
	default:
		cw_upstream_note_error(h->u, a->message);
		login_failed(h, d, 0);
		return;
	}
}

static void token_came(struct https *h, struct cw_updevice *d, const struct https_answer *a)
{
	struct https_device *hd = https_device_of(d);

	if (a->token[0] == '\0') {
		cw_log(upstream_odd, "a login was accepted without a token", CW_LS("upstream", h->u->conf.name));
		login_failed(h, d, 0);
		return;
	}
	cw_count(upstream, logins);
	cw_retry_reset(&hd->retry);
	memcpy(hd->token, a->token, sizeof(hd->token));
	hd->token_ms = now_of(h) > 0 ? now_of(h) : 1;
	go_up(h, d);
}

static void on_auth(void *ctx, const struct cw_fetch_reply *reply)
{
	struct cw_updevice *d = ctx;
	struct https *h = d->u->connector;
	struct https_device *hd = https_device_of(d);
	struct https_answer a;

	hd->asking = NULL;
	h->asking--;
	if (reply->rc == CW_ETIMEDOUT)
		cw_count(upstream, requests_timed_out);
	if (reply->rc < 0) {
		login_failed(h, d, 0);
	} else if (reply->status != 200 || https_answer_read(reply->body, &a) < 0) {
		https_odd(h, reply);
		login_failed(h, d, 0);
	} else {
		on_auth_answer(h, d, &a);
		https_answer_drop(&a);
	}
	https_heard(h, reply);
	pump(h);
}

/* No timestamp: with one the platform would compare clocks, and ours may be wrong. */
static int login_body(struct https *h, const struct cw_updevice *d, char **ret_text, size_t *ret_len)
{
	enum cw_sign_method method = (enum cw_sign_method)h->own.sign_method;
	char client_id[CLIENT_ID_MOST + 1], content[512], sign[CW_SIGN_HEX_MAX];
	struct cw_json j;
	int rc;

	(void)snprintf(client_id, sizeof(client_id), "%s.%s", d->product_key, d->device_name);
	rc = cw_sign_content_device(content, sizeof(content), client_id, d->device_name, d->product_key, NULL);
	if (rc == 0)
		rc = cw_sign_hmac(method, d->secret, content, sign);
	if (rc < 0)
		return rc;
	cw_json_begin(&j, 2048);
	cw_json_map(&j);
	cw_json_field(&j, "productKey", d->product_key);
	cw_json_field(&j, "deviceName", d->device_name);
	cw_json_field(&j, "clientId", client_id);
	cw_json_field(&j, "signmethod", cw_sign_method_name(method));
	cw_json_field(&j, "sign", sign);
	cw_json_field(&j, "version", "default");
	cw_json_end_map(&j);
	return cw_json_finish(&j, ret_text, ret_len);
}

static void ask(struct https *h, struct cw_updevice *d)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	struct https_device *hd = https_device_of(d);
	char url[sizeof(h->base) + 8], *text = NULL;
	struct cw_fetch_request r;
	size_t len;
	int rc = login_body(h, d, &text, &len);

	if (rc == 0) {
		(void)snprintf(url, sizeof(url), "%s/auth", h->base);
		r = https_request(h, url, headers, cw_bytes_of(text, len));
		r.done = on_auth;
		r.ctx = d;
		rc = cw_fetch_start(h->pool, &r, &hd->asking);
		cw_free(text);
	}
	if (rc < 0) {
		login_failed(h, d, 0);
		return;
	}
	if (hd->phase == PHASE_QUEUED)
		hd->phase = PHASE_ASKING;
	h->asking++;
}

static void on_pump(struct cw_timer *t)
{
	pump(cw_container_of(t, struct https, pump_timer));
}

static void pump(struct https *h)
{
	while (h->state == LINK_UP && h->asking < LOGINS_OUT && !cw_list_empty(&h->to_login)) {
		uint64_t wait = cw_pace_rate_wait(&h->logins, now_of(h));

		if (wait > 0) {
			cw_count(upstream, paced);
			cw_timer_set(timers(h), &h->pump_timer, wait, on_pump);
			return;
		}
		cw_pace_rate_note(&h->logins, now_of(h), 1);
		ask(h, cw_container_of(cw_list_pop(&h->to_login), struct https_device, link)->d);
	}
}

void https_token_dead(struct https *h, struct cw_updevice *d, int32_t code, const char *text)
{
	cw_count(upstream, kicked);
	forget_token(https_device_of(d));
	leave(h, d);
	cw_updevice_report(d, CW_UPDEVICE_OFFLINE, code, text);
	enter(h, d);
	pump(h);
}

/* ---- the bridge's wishes -------------------------------------------------------------- */

static void drained(void *connector, struct cw_updevice *d)
{
	struct https *h = connector;

	if (needed(d) || d->removing)
		return;
	leave(h, d); /* its token stays good for the next time */
	if (d->state == CW_UPDEVICE_ONLINE)
		cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 0, "logged out");
	pump(h); /* its turn is another's */
}

static void device_changed(void *connector, struct cw_updevice *d)
{
	struct https *h = connector;

	first_seen(h, d);
	if (d->removing) {
		leave(h, d);
		forget_token(https_device_of(d));
		if (d->state == CW_UPDEVICE_ONLINE)
			cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 0, "removed");
		cw_updevice_gone(d);
		pump(h);
	} else if (needed(d)) {
		enter(h, d);
		pump(h);
	} else {
		drained(h, d);
	}
}

const struct cw_connector_ops cw_connector_https = {
	.without_bridge = 1,
	.type = "https",
	.endpoint = &endpoint_form,
	.device_size = sizeof(struct https_device),
	.configure = configure,
	.create = create,
	.destroy = destroy,
	.start = start,
	.stop = stop,
	.device_changed = device_changed,
	.send = https_send,
	.recall = https_recall,
	.drained = drained,
};
