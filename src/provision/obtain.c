/* obtain.c - see obtain.h. */
#include "provision/obtain.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/mem.h"
#include "platform/names.h"
#include "provision/mac.h"

#define REFUSED_WAIT_MS 60000u /* after a refusal: somebody has to change something at the platform first */

struct cw_obtain {
	struct cw_obtain_conf conf;
	struct cw_worker *w;
	struct cw_fetch_pool *pool;
	struct cw_obtain_plan plan;
	struct cw_registration registration;
	struct cw_openapi_find find;
	char endpoint[300];
	struct cw_timer timer;
	uint64_t wait_ms;
	int registering; /* the registration has not gone yet */
	int finished;    /* told, or in a state that only the operator ends */
	int freeing;
	struct cw_certificate *got; /* owned; on disk, to be told when the registration has gone */
	void (*done)(void *ctx, const struct cw_certificate *got);
	void *ctx;
	void (*gone)(void *arg);
	void *gone_arg;
	char says[900];
};

static const char *way(const struct cw_obtain_conf *c)
{
	return c->account != NULL ? "popClientProfile" : c->no_whitelist ? "regnwl" : "register";
}

/* ---- what is there -------------------------------------------------------------------- */

static int check_conf(const struct cw_obtain_conf *c, struct cw_msg *msg)
{
	struct cw_registration r = { .product_key = c->product_key, .device_name = c->device_name, .via = c->via,
				     .no_whitelist = c->no_whitelist, .endpoint = c->endpoint };
	char endpoint[300];
	int odd, rc = cw_check_product_key(c->product_key, msg);

	if (rc < 0)
		return rc;
	if (c->account != NULL)
		return cw_openapi_check(c->account, msg);
	rc = cw_check_device_name(c->device_name, msg);
	if (rc == 0)
		rc = cw_check_product_secret(c->product_secret, &odd, msg);
	if (rc == 0 && c->endpoint == NULL && c->region != NULL) {
		cw_register_endpoint(c->via, c->product_key, c->region, endpoint, sizeof(endpoint));
		r.endpoint = endpoint;
	}
	return rc < 0 ? rc : cw_register_check(&r, msg);
}

int cw_obtain_plan(const struct cw_obtain_conf *c, struct cw_obtain_plan *p, struct cw_msg *msg)
{
	char who[64], when[25];
	int rc = check_conf(c, msg);

	memset(p, 0, sizeof(*p));
	if (rc < 0)
		return rc;
	if (c->account != NULL)
		(void)snprintf(who, sizeof(who), c->interface == NULL ? "mac" : "mac-%.32s", c->interface);
	else
		(void)snprintf(who, sizeof(who), "%.63s", c->device_name);
	cw_keep_path(c->state_dir, c->product_key, who, p->path, sizeof(p->path));
	rc = cw_keep_read(p->path, &p->keep, msg);
	if (rc < 0)
		return rc;
	if (p->keep.state == CW_KEEP_ASKED) {
		cw_clock_format(p->keep.at_ms, when);
		return cw_fail(msg, CW_EEXIST,
			       "the certificate of the bridge %s/%s was asked for (%s, %s) and never stored, so the platform may have given it "
			       "out already, which it does once only. Look at the device in the console: if it was never active, delete the "
			       "file %s and start again; else reset it, or delete it and add it anew, and then delete the file",
			       p->keep.certificate.product_key, p->keep.certificate.device_name, p->keep.by, when, p->path);
	}
	if (p->keep.state == CW_KEEP_OBTAINED)
		(void)snprintf(p->device_name, sizeof(p->device_name), "%s", p->keep.certificate.device_name);
	else if (c->account != NULL)
		rc = cw_mac_name(c->interface, p->device_name, p->interface, msg);
	else
		(void)snprintf(p->device_name, sizeof(p->device_name), "%s", c->device_name);
	return rc;
}

/* ---- asking ----------------------------------------------------------------------------- */

static void ask(struct cw_obtain *o);

static void say(struct cw_obtain *o, const char *fate, const char *text)
{
	(void)snprintf(o->says, sizeof(o->says), "the certificate of the bridge %s/%s (%s): %.500s%s", o->conf.product_key,
		       o->plan.device_name, way(&o->conf), text, fate);
}

static void on_timer(struct cw_timer *t)
{
	struct cw_obtain *o = cw_container_of(t, struct cw_obtain, timer);

	if (o->registering) /* the last attempt's connection is still closing */
		cw_timer_set(cw_worker_timers(o->w), &o->timer, 100, on_timer);
	else
		ask(o);
}

static void wait_and_ask(struct cw_obtain *o, int rc, const char *text)
{
	uint64_t wait = o->wait_ms;

	o->wait_ms = o->wait_ms * 2 > o->conf.retry_max_ms ? o->conf.retry_max_ms : o->wait_ms * 2;
	if (rc == CW_EREFUSED && wait < REFUSED_WAIT_MS)
		wait = o->conf.retry_max_ms < REFUSED_WAIT_MS ? o->conf.retry_max_ms : REFUSED_WAIT_MS;
	say(o, "; it is tried again", text);
	cw_log(provision_waiting, text, CW_LS("for", o->conf.label), CW_LS("productKey", o->conf.product_key),
	       CW_LS("deviceName", o->plan.device_name), CW_LS("by", way(&o->conf)), CW_LU("retry_ms", wait));
	if (!o->freeing)
		cw_timer_set(cw_worker_timers(o->w), &o->timer, wait, on_timer);
}

/* Nobody may ask again before the operator has looked. */
static void give_up(struct cw_obtain *o, const char *text)
{
	char more[700];

	o->finished = 1;
	(void)snprintf(more, sizeof(more),
		       "%.260s; the secret may have been given out, which happens once only. Look at the device in the console: if it was never "
		       "active, delete %.200s and restart; else reset it, or delete it and add it anew, then the same",
		       text, o->plan.path);
	say(o, "", more);
	cw_log(provision_lost, more, CW_LS("for", o->conf.label), CW_LS("productKey", o->conf.product_key),
	       CW_LS("deviceName", o->plan.device_name));
}

/* On disk before anybody has it. */
static void keep(struct cw_obtain *o, const struct cw_certificate *got)
{
	struct cw_keep k = { .state = CW_KEEP_OBTAINED, .at_ms = cw_clock_wall_ms(), .certificate = *got };
	struct cw_msg msg = { "" };
	int rc;

	(void)snprintf(k.by, sizeof(k.by), "%s", way(&o->conf));
	cw_crash_point("provision.answered");
	rc = cw_keep_write(o->plan.path, &k, &msg);
	explicit_bzero(&k, sizeof(k));
	cw_crash_point("provision.stored");
	if (rc < 0 && o->conf.account != NULL) {
		wait_and_ask(o, CW_EIO, msg.text); /* it can be had again */
		return;
	}
	if (rc < 0) {
		give_up(o, msg.text);
		return;
	}
	cw_log(provision_obtained, "", CW_LS("for", o->conf.label), CW_LS("productKey", got->product_key),
	       CW_LS("deviceName", got->device_name), CW_LS("by", way(&o->conf)), CW_LS("file", o->plan.path));
	o->got = cw_memdup(got, sizeof(*got));
	if (o->got == NULL) /* it is on disk: the next start has it */
		say(o, "", "stored, but memory is short: restart");
}

static void tell(struct cw_obtain *o)
{
	struct cw_certificate *got = o->got;

	if (got == NULL || o->freeing)
		return;
	o->got = NULL;
	o->finished = 1;
	o->done(o->ctx, got);
	explicit_bzero(got, sizeof(*got));
	cw_free(got);
}

static void on_registered(struct cw_registration *r, int rc, int code, const struct cw_certificate *got, const char *text)
{
	struct cw_obtain *o = r->ctx;
	struct cw_msg msg = { "" };

	(void)code;
	if (rc == 0) {
		keep(o, got);
		return;
	}
	if (!cw_register_gave_nothing(rc)) {
		give_up(o, text);
		return;
	}
	if (cw_keep_remove(o->plan.path, &msg) < 0)
		give_up(o, msg.text);
	else
		wait_and_ask(o, rc, text);
}

static void release(struct cw_obtain *o)
{
	void (*gone)(void *) = o->gone;
	void *arg = o->gone_arg;

	cw_timer_stop(cw_worker_timers(o->w), &o->timer);
	explicit_bzero(&o->plan, sizeof(o->plan));
	if (o->got != NULL)
		explicit_bzero(o->got, sizeof(*o->got));
	cw_free(o->got);
	cw_free(o);
	if (gone != NULL)
		gone(arg);
}

static void on_gone(struct cw_registration *r)
{
	struct cw_obtain *o = r->ctx;

	o->registering = 0;
	if (o->freeing)
		release(o);
	else
		tell(o);
}

static void on_found(struct cw_openapi_find *f, int rc, int created, const char *code, const struct cw_certificate *got, const char *text)
{
	struct cw_obtain *o = f->ctx;

	(void)code;
	if (rc < 0) {
		wait_and_ask(o, rc, text);
		return;
	}
	cw_log(provision_device, created ? "the device was created" : "the device was there already",
	       CW_LS("productKey", got->product_key), CW_LS("deviceName", got->device_name), CW_LS("interface", o->plan.interface));
	keep(o, got);
	tell(o);
}

/* The intention is on disk before the request leaves: what the platform gives once must not be asked for twice. */
static int mark_asked(struct cw_obtain *o, struct cw_msg *msg)
{
	struct cw_keep k = { .state = CW_KEEP_ASKED, .at_ms = cw_clock_wall_ms() };
	int rc;

	(void)snprintf(k.by, sizeof(k.by), "%s", way(&o->conf));
	(void)snprintf(k.certificate.product_key, sizeof(k.certificate.product_key), "%s", o->conf.product_key);
	(void)snprintf(k.certificate.device_name, sizeof(k.certificate.device_name), "%s", o->plan.device_name);
	rc = cw_keep_write(o->plan.path, &k, msg);
	if (rc == 0)
		cw_crash_point("provision.asked");
	return rc;
}

static int ask_registration(struct cw_obtain *o, struct cw_msg *msg)
{
	const struct cw_obtain_conf *c = &o->conf;
	struct cw_msg ignored;
	int rc = mark_asked(o, msg);

	if (rc < 0)
		return rc;
	o->registration = (struct cw_registration){
		.product_key = c->product_key, .device_name = c->device_name, .product_secret = c->product_secret,
		.via = c->via, .no_whitelist = c->no_whitelist, .endpoint = c->endpoint, .instance_id = c->instance_id,
		.tls = c->tls, .done = on_registered, .gone = on_gone, .ctx = o,
	};
	if (c->endpoint == NULL) {
		cw_register_endpoint(c->via, c->product_key, c->region, o->endpoint, sizeof(o->endpoint));
		o->registration.endpoint = o->endpoint;
	}
	rc = cw_register(o->w, o->pool, &o->registration, msg);
	o->registering = rc == 0;
	if (rc < 0)
		(void)cw_keep_remove(o->plan.path, &ignored);
	return rc;
}

static void ask(struct cw_obtain *o)
{
	struct cw_msg msg = { "" };
	int rc;

	say(o, "", "being asked for");
	if (o->conf.account == NULL) {
		rc = ask_registration(o, &msg);
	} else {
		o->find = (struct cw_openapi_find){ .account = o->conf.account, .product_key = o->conf.product_key,
						    .device_name = o->plan.device_name, .done = on_found, .ctx = o };
		rc = cw_openapi_find(o->w, o->pool, &o->find, &msg);
	}
	if (rc < 0)
		wait_and_ask(o, rc, msg.text);
}

int cw_obtain_start(struct cw_worker *w, struct cw_fetch_pool *pool, const struct cw_obtain_conf *conf,
		    void (*done)(void *ctx, const struct cw_certificate *got), void *ctx, struct cw_obtain **ret_obtain,
		    struct cw_msg *msg)
{
	struct cw_obtain *o = cw_zalloc(sizeof(*o));
	int rc;

	if (o == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	rc = cw_obtain_plan(conf, &o->plan, msg);
	if (rc == 0 && o->plan.keep.state != CW_KEEP_NONE)
		rc = cw_fail(msg, CW_EEXIST, "%s is there already", o->plan.path);
	if (rc < 0) {
		explicit_bzero(o, sizeof(*o));
		cw_free(o);
		return rc;
	}
	o->conf = *conf;
	o->w = w;
	o->pool = pool;
	o->done = done;
	o->ctx = ctx;
	o->wait_ms = conf->retry_min_ms;
	*ret_obtain = o;
	cw_timer_set(cw_worker_timers(w), &o->timer, 0, on_timer); /* nothing is told before this has returned */
	say(o, "", "about to be asked for");
	return 0;
}

const char *cw_obtain_says(const struct cw_obtain *o)
{
	return o->says;
}

void cw_obtain_free(struct cw_obtain *o, void (*gone)(void *arg), void *arg)
{
	char path[sizeof(o->plan.path)];
	struct cw_msg ignored;

	if (o == NULL) {
		if (gone != NULL)
			gone(arg);
		return;
	}
	o->freeing = 1;
	o->gone = gone;
	o->gone_arg = arg;
	cw_openapi_cancel(&o->find);
	if (!o->registering) {
		release(o);
		return;
	}
	/* With `asked` left on the disk the next start would want the operator. `gone` may run, and free o, in the call. */
	(void)snprintf(path, sizeof(path), "%s", o->plan.path);
	if (cw_register_cancel(&o->registration))
		(void)cw_keep_remove(path, &ignored);
}
