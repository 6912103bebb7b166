/*
 * upstream.c - what all kinds of upstreams share: the thread, the mails in and out,
 * credit, status. See upstream.h for who may call what.
 *
 * Mails from the control loop and the data workers are embedded in what they are
 * about. News to the control loop are one mail per device (and one for the upstream)
 * that goes there and comes back: while it is away newer news wait, and only the
 * newest is told. So telling cannot fail (without memory the sentence is left out), and
 * nothing is freed under a mail.
 */
#include "upstream/upstream.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "upstream/device.h"

#define DRAIN_POLL_MS 20u

/* ---- credit ----------------------------------------------------------------- */

/* A single parcel may always pass an empty queue, however large it is. */
static int take(struct cw_credit *c, size_t bytes)
{
	size_t used = atomic_fetch_add(&c->used, bytes);

	if (used == 0 || used + bytes <= c->most)
		return 1;
	atomic_fetch_sub(&c->used, bytes);
	return 0;
}

/* Take, or leave word that somebody waits; looks again after leaving word, so that no wake-up is missed. */
static int take_or_wait(struct cw_credit *c, size_t bytes)
{
	if (take(c, bytes))
		return 1;
	atomic_store(&c->waiting, 1);
	return take(c, bytes);
}

/* 1 when somebody waits and a quarter of the queue is free again. */
static int give_back(struct cw_credit *c, size_t bytes)
{
	size_t left = atomic_fetch_sub(&c->used, bytes) - bytes;

	return left <= c->most - c->most / 4 && atomic_load(&c->waiting) && atomic_exchange(&c->waiting, 0);
}

static void on_room(struct cw_mail *mail)
{
	struct cw_upstream_watch *watch = cw_container_of(mail, struct cw_upstream_watch, mail);

	atomic_store(&watch->posted, 0);
	watch->on_room(watch);
}

static void tell_room(struct cw_upstream_watch *watch)
{
	if (atomic_exchange(&watch->posted, 1) == 0)
		cw_post(watch->w, &watch->mail, on_room);
}

static void note_load(struct cw_upstream *u)
{
	atomic_store_explicit(&u->queued_records, u->lane.records, memory_order_relaxed);
	atomic_store_explicit(&u->in_flight, u->lane.in_flight, memory_order_relaxed);
}

static void lane_released(void *ctx, struct cw_updevice *d, size_t bytes)
{
	struct cw_upstream *u = ctx;
	struct cw_list *e;
	int room = give_back(&d->credit, bytes);

	note_load(u);
	if (give_back(&u->credit, bytes))
		room = 1;
	if (room)
		cw_list_each (e, &u->watches)
			tell_room(cw_container_of(e, struct cw_upstream_watch, link));
}

static void on_watch(struct cw_mail *mail)
{
	struct cw_upstream_watch *watch = cw_container_of(mail, struct cw_upstream_watch, mail);

	cw_list_push_back(&watch->u->watches, &watch->link);
	cw_post(watch->w, &watch->mail, on_room); /* room may have come before it was known here */
}

void cw_upstream_watch(struct cw_upstream *u, struct cw_upstream_watch *watch)
{
	watch->u = u;
	cw_list_init(&watch->link);
	atomic_init(&watch->posted, 1);
	cw_post(u->w, &watch->mail, on_watch);
}

static void on_parcel(struct cw_mail *mail)
{
	struct cw_parcel *p = cw_container_of(mail, struct cw_parcel, mail);
	struct cw_updevice *d = p->device;
	struct cw_upstream *u = d->u;

	if (u->stopped || d->removing) {
		cw_list_init(&p->wait);
		lane_released(u, d, cw_lane_cost(p));
		cw_lane_lost(p);
		return;
	}
	cw_lane_accept(&u->lane, p);
	note_load(u);
	/* Wishes are told by one mail, so that "no longer" may be read before the records of the time between: they
	 * need a login. */
	if (!d->wanted && d->lane.records > 0 && u->begun)
		u->ops->device_changed(u->connector, d);
}

int cw_upstream_submit(struct cw_parcel *p)
{
	struct cw_upstream *u = p->device->u;
	size_t bytes = cw_lane_cost(p);

	if (!take_or_wait(&p->device->credit, bytes))
		return CW_EBUSY;
	if (!take_or_wait(&u->credit, bytes)) {
		atomic_fetch_sub(&p->device->credit.used, bytes);
		return CW_EBUSY;
	}
	cw_post(u->w, &p->mail, on_parcel);
	return 0;
}

/* ---- lane to connector ------------------------------------------------------ */

static int lane_send(void *ctx, struct cw_updevice *d, struct cw_parcel *p)
{
	struct cw_upstream *u = ctx;

	note_load(u);
	return u->ops->send(u->connector, d, p);
}

static void lane_recall(void *ctx, struct cw_parcel *p)
{
	struct cw_upstream *u = ctx;

	u->ops->recall(u->connector, p);
}

static void lane_drained(void *ctx, struct cw_updevice *d)
{
	struct cw_upstream *u = ctx;

	u->ops->drained(u->connector, d);
	cw_updevice_tell_drained(d);
}

static const struct cw_lane_ops lane_ops = { lane_send, lane_recall, lane_drained, lane_released };

/* ---- life ------------------------------------------------------------------- */

/* Copy the settings with all their strings, in order; on failure what was copied is freed by free_conf(). */
static int copy_conf(struct cw_upstream_conf *to, const struct cw_upstream_conf *from)
{
	const char **strings[] = { &to->name,      &to->group,  &to->endpoint,     &to->region,
				   &to->product_key, &to->device_name, &to->device_secret, &to->client_id,
				   &to->device_token, &to->ca,   &to->certificate,  &to->key, &to->state_dir };
	size_t i, n = sizeof(strings) / sizeof(strings[0]);
	int rc = 0;

	*to = *from;
	for (i = 0; i < n; i++) {
		if (*strings[i] == NULL)
			continue;
		*strings[i] = rc == 0 ? cw_strdup(*strings[i]) : NULL;
		if (*strings[i] == NULL)
			rc = CW_ENOMEM;
	}
	return rc;
}

static void free_string(const char *text, int secret)
{
	char *p = (char *)(uintptr_t)text;

	if (p != NULL && secret)
		explicit_bzero(p, strlen(p));
	cw_free(p);
}

static void free_conf(struct cw_upstream_conf *c)
{
	free_string(c->name, 0);
	free_string(c->group, 0);
	free_string(c->endpoint, 0);
	free_string(c->region, 0);
	free_string(c->product_key, 0);
	free_string(c->device_name, 0);
	free_string(c->device_secret, 1);
	free_string(c->client_id, 0);
	free_string(c->device_token, 1);
	free_string(c->ca, 0);
	free_string(c->certificate, 0);
	free_string(c->key, 0);
	free_string(c->state_dir, 0);
}

/* What holds for every kind; a connector checks the rest. */
static int check_conf(const struct cw_upstream_conf *c, struct cw_msg *msg)
{
	if (c->in_flight < 1 || c->in_flight > 1000)
		return cw_fail(msg, CW_ECONF, "inFlight: %u is not between 1 and 1000", c->in_flight);
	if (c->queue_bytes == 0 || c->queue_bytes_device == 0)
		return cw_fail(msg, CW_ECONF, "queue sizes must not be 0");
	if (c->qos != 0 && c->qos != 1)
		return cw_fail(msg, CW_ECONF, "qos: %d is not 0 or 1", c->qos);
	if (c->rate_device_qos0 > 10000 || c->rate_device_qos1 > 10000)
		return cw_fail(msg, CW_ECONF,
			       "a rate per device above 10000 a second makes no sense; 0 switches it off");
	if (c->retry_min_ms == 0 || c->retry_max_ms < c->retry_min_ms)
		return cw_fail(msg, CW_ECONF, "retry: the least delay must be above 0 and not above the longest");
	if (c->tls_min > 0 && !(c->kind->can & CW_CAN_TLS13))
		return cw_fail(msg, CW_ECONF, "tls.minVersion: an upstream of type %s cannot refuse TLS 1.2", c->kind->type);
	if (c->login_batch < 1 || c->login_batch > 50)
		return cw_fail(msg, CW_ECONF, "loginBatch: %u is not between 1 and 50", c->login_batch);
	return 0;
}

static int make(struct cw_upstream *u, struct cw_msg *msg)
{
	char name[16];
	int rc;

	rc = copy_conf(&u->conf, &u->conf);
	if (rc == 0)
		rc = cw_map_reserve(&u->devices, 64); /* so that no device is ever left out of it */
	if (rc < 0)
		return rc;
	(void)snprintf(name, sizeof(name), "up-%s", u->conf.name);
	rc = cw_worker_new(name, 0, &u->w);
	if (rc < 0)
		return rc;
	cw_lane_init(&u->lane, &u->conf, u->w, &lane_ops, u);
	return u->ops->create(u, &u->connector, msg);
}

int cw_upstream_new(const struct cw_upstream_conf *conf, struct cw_worker *control,
		    const struct cw_upstream_events *events, void *ctx, struct cw_upstream **ret_upstream,
		    struct cw_msg *msg)
{
	struct cw_upstream_conf full = *conf;
	struct cw_upstream *u;
	char text[512];
	int rc = 0;

	if (full.group == NULL)
		full.group = full.name;
	if (full.own != NULL)
		rc = full.kind->configure(&full, text, sizeof(text), msg);
	if (rc == 0)
		rc = check_conf(&full, msg);
	if (rc < 0)
		return rc;
	u = cw_zalloc(sizeof(*u));
	if (u == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	u->conf = full;
	atomic_init(&u->clock_offset_ms, LLONG_MIN);
	u->control = control;
	u->events = events;
	u->ctx = ctx;
	u->ops = full.kind;
	u->credit.most = conf->queue_bytes;
	cw_map_init(&u->devices);
	cw_list_init(&u->removed);
	cw_list_init(&u->watches);
	pthread_mutex_init(&u->lock, NULL);
	cw_msg_set(msg, "out of memory");
	rc = make(u, msg);
	if (rc < 0) {
		cw_upstream_free(u);
		return rc;
	}
	*ret_upstream = u;
	return 0;
}

static void on_start(struct cw_mail *mail)
{
	struct cw_upstream *u = cw_container_of(mail, struct cw_upstream, start_mail);
	struct cw_map_node *n, *next;

	u->begun = 1;
	u->ops->start(u->connector);
	cw_map_each_safe (n, next, &u->devices) /* those of the time before */
		u->ops->device_changed(u->connector, cw_container_of(n, struct cw_updevice, node));
}

int cw_upstream_run(struct cw_upstream *u)
{
	int rc = u->started ? 0 : cw_worker_start(u->w);

	if (rc == 0)
		u->started = 1;
	return rc;
}

int cw_upstream_start(struct cw_upstream *u)
{
	int rc = cw_upstream_run(u);

	if (rc == 0)
		cw_post(u->w, &u->start_mail, on_start);
	return rc;
}

static void lose_all(struct cw_upstream *u)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe (n, next, &u->devices)
		cw_lane_device_drop(&u->lane, cw_container_of(n, struct cw_updevice, node));
	note_load(u);
}

static void on_done(struct cw_mail *mail)
{
	struct cw_upstream *u = cw_container_of(mail, struct cw_upstream, done_mail);

	if (u->done != NULL)
		u->done(u->done_arg);
}

void cw_upstream_stopped(struct cw_upstream *u)
{
	u->stopped = 1;
	lose_all(u);
	cw_post(u->control, &u->done_mail, on_done);
}

/* Is there a record that may still go? Those of a device that the platform refuses are not worth the wait. */
static int may_drain(struct cw_upstream *u)
{
	struct cw_map_node *n;

	if (u->lane.records == 0)
		return 0;
	cw_map_each (n, &u->devices) {
		const struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);

		if (d->lane.records > 0 && d->state != CW_UPDEVICE_REFUSED)
			return 1;
	}
	return 0;
}

static void on_drain(struct cw_timer *t)
{
	struct cw_upstream *u = cw_container_of(t, struct cw_upstream, drain_timer);

	if (may_drain(u) && u->drain_ms >= DRAIN_POLL_MS) {
		u->drain_ms -= DRAIN_POLL_MS;
		cw_timer_set(cw_worker_timers(u->w), t, DRAIN_POLL_MS, on_drain);
		return;
	}
	if (u->begun)
		u->ops->stop(u->connector);
	else
		cw_upstream_stopped(u);
}

static void on_stop(struct cw_mail *mail)
{
	struct cw_upstream *u = cw_container_of(mail, struct cw_upstream, stop_mail);

	on_drain(&u->drain_timer);
}

void cw_upstream_stop(struct cw_upstream *u, uint64_t drain_ms, void (*done)(void *arg), void *arg)
{
	u->done = done;
	u->done_arg = arg;
	u->drain_ms = drain_ms;
	if (!u->started) {
		cw_post(u->control, &u->done_mail, on_done);
		return;
	}
	cw_post(u->w, &u->stop_mail, on_stop);
}

static void on_end(struct cw_mail *mail)
{
	struct cw_upstream *u = cw_container_of(mail, struct cw_upstream, end_mail);

	lose_all(u);
	cw_worker_release(u->w);
}

void cw_upstream_free(struct cw_upstream *u)
{
	struct cw_map_node *n, *next;
	struct cw_list *e;

	if (u == NULL)
		return;
	if (u->started) {
		cw_post(u->w, &u->end_mail, on_end);
		cw_worker_join(u->w);
	} else if (u->w != NULL) {
		u->stopped = 1;
		cw_worker_release(u->w); /* delivers what was posted */
		lose_all(u);
	}
	cw_lane_fini(&u->lane);
	if (u->connector != NULL)
		u->ops->destroy(u->connector);
	cw_worker_free(u->w);
	cw_map_each_safe (n, next, &u->devices)
		cw_updevice_free(cw_container_of(n, struct cw_updevice, node));
	while ((e = cw_list_pop(&u->removed)) != NULL)
		cw_updevice_free(cw_container_of(e, struct cw_updevice, link));
	cw_map_fini(&u->devices);
	pthread_mutex_destroy(&u->lock);
	free_conf(&u->conf);
	cw_free(u);
}

const char *cw_upstream_name(const struct cw_upstream *u)
{
	return u->conf.name;
}

const struct cw_upstream_conf *cw_upstream_settings(const struct cw_upstream *u)
{
	return &u->conf;
}

const char *cw_upstream_group(const struct cw_upstream *u)
{
	return u->conf.group;
}

int cw_upstream_has_downlink(const struct cw_upstream *u)
{
	return (u->ops->can & CW_CAN_DOWNLINK) != 0;
}

void cw_upstream_status(struct cw_upstream *u, struct cw_upstream_status *ret)
{
	ret->up = atomic_load_explicit(&u->is_up, memory_order_relaxed);
	ret->devices_online = atomic_load_explicit(&u->devices_online, memory_order_relaxed);
	ret->queued_records = atomic_load_explicit(&u->queued_records, memory_order_relaxed);
	ret->queued_bytes = atomic_load_explicit(&u->credit.used, memory_order_relaxed);
	ret->in_flight = atomic_load_explicit(&u->in_flight, memory_order_relaxed);
	ret->clock_offset_ms = atomic_load_explicit(&u->clock_offset_ms, memory_order_relaxed);
	ret->clock_known = ret->clock_offset_ms != LLONG_MIN;
	pthread_mutex_lock(&u->lock);
	memcpy(ret->last_error, u->last_error, sizeof(ret->last_error));
	ret->config = u->config;
	pthread_mutex_unlock(&u->lock);
}

void cw_upstream_note_clock(struct cw_upstream *u, int64_t offset_ms)
{
	atomic_store_explicit(&u->clock_offset_ms, offset_ms, memory_order_relaxed);
}

void cw_upstream_note_config(struct cw_upstream *u, const struct cw_upstream_offer *offer)
{
	pthread_mutex_lock(&u->lock);
	u->config = *offer;
	pthread_mutex_unlock(&u->lock);
}

void cw_upstream_note_error(struct cw_upstream *u, const char *text)
{
	pthread_mutex_lock(&u->lock);
	(void)snprintf(u->last_error, sizeof(u->last_error), "%s", text);
	pthread_mutex_unlock(&u->lock);
}

/* ---- news of the upstream --------------------------------------------------- */

static void tell_state(struct cw_upstream *u);

static void on_state_back(struct cw_mail *mail)
{
	struct cw_upstream *u = cw_container_of(mail, struct cw_upstream, news_mail);

	u->news_away = 0;
	if (u->news_fresh)
		tell_state(u);
}

static void on_state_told(struct cw_mail *mail)
{
	struct cw_upstream *u = cw_container_of(mail, struct cw_upstream, news_mail);

	u->events->state(u->ctx, u, u->told.up, u->told.reason);
	cw_post(u->w, &u->news_mail, on_state_back);
}

static void tell_state(struct cw_upstream *u)
{
	if (u->news_away || u->stopped) /* after `done` nothing may be on its way to the control loop */
		return;
	u->news_away = 1;
	u->news_fresh = 0;
	u->told = u->news;
	cw_post(u->control, &u->news_mail, on_state_told);
}

void cw_upstream_report(struct cw_upstream *u, int up, const char *reason)
{
	atomic_store(&u->is_up, up);
	u->news.up = up;
	(void)snprintf(u->news.reason, sizeof(u->news.reason), "%s", reason);
	u->news_fresh = 1;
	if (!up)
		cw_upstream_note_error(u, reason);
	tell_state(u);
}

/* ---- provisioning ------------------------------------------------------------- */

static void on_enrolled(struct cw_mail *mail)
{
	struct cw_enroll *e = cw_container_of(mail, struct cw_enroll, mail);

	e->done(e);
}

void cw_upstream_enrolled(struct cw_enroll *e)
{
	cw_post(e->u->control, &e->mail, on_enrolled);
}

static void on_enroll(struct cw_mail *mail)
{
	struct cw_enroll *e = cw_container_of(mail, struct cw_enroll, mail);
	struct cw_upstream *u = e->u;

	e->rc = u->ops->enroll == NULL ? CW_EUNSUPPORTED : u->stopped ? CW_ECLOSED : 0;
	if (e->rc == 0)
		u->ops->enroll(u->connector, e);
	else
		cw_upstream_enrolled(e);
}

void cw_upstream_enroll(struct cw_upstream *u, struct cw_enroll *e)
{
	e->u = u;
	cw_post(u->w, &e->mail, on_enroll);
}
