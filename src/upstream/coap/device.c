/*
 * device.c - sessions and logins of devices; see the phases in coap.h.
 *
 * Handshakes cost the platform and us a fraction of a millisecond each, and a thousand at once take longer than in
 * turn: so many as `handshakes` are under way. What fails is tried again ever more slowly, each device by itself; the
 * upstream counts as down when an attempt gets no answer and no device is online.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "upstream/coap/coap.h"

#define PAUSE_REFUSED_TIMES 15u /* first waits, at least, after a refusal: somebody has to change something first */
#define CODE_TOO_MANY 428

static void pump(struct coap *c);

static struct coap *coap_of(const struct coap_device *md)
{
	return md->d->u->connector;
}

/* Somebody wants it online, or has left it records: those go up although their device has gone. */
static int needed(const struct cw_updevice *d)
{
	return (d->wanted || d->lane.records > 0) && !d->removing;
}

static int is_online(const struct coap_device *md)
{
	return md->d->state == CW_UPDEVICE_ONLINE;
}

static int has_token(struct coap *c, const struct coap_device *md)
{
	return md->token != NULL && cw_coap_now(c) - md->token_ms < c->renew_ms;
}

void cw_coap_drop_token(struct coap_device *md)
{
	if (md->token != NULL)
		explicit_bzero(md->token, strlen(md->token));
	cw_free(md->token);
	md->token = NULL;
	explicit_bzero(md->key, sizeof(md->key));
}

void cw_coap_reached(struct coap *c)
{
	if (atomic_load(&c->u->is_up))
		return;
	cw_log(upstream_up, "the platform answers", CW_LS("upstream", c->u->conf.name));
	cw_upstream_report(c->u, 1, "the platform answers");
}

/* ---- a place among the handshakes -------------------------------------------------- */

static void on_pump(struct cw_timer *t)
{
	pump(cw_container_of(t, struct coap, pump_timer));
}

static void pump_in(struct coap *c, uint64_t ms)
{
	if (!cw_timer_armed(&c->pump_timer))
		cw_timer_set(cw_coap_timers(c), &c->pump_timer, ms, on_pump);
}

static void leave_place(struct coap *c, struct coap_device *md)
{
	if (!md->opening)
		return;
	md->opening = 0;
	c->opening--;
	if (!cw_list_empty(&c->queue))
		pump_in(c, 0);
}

/* A device costs a session of some 45 kB and a descriptor: so many are taken, the others are told. */
static int admit(struct coap *c, struct coap_device *md)
{
	const struct cw_upstream_conf *conf = &c->u->conf;

	if (md->admitted)
		return 1;
	if (conf->max_devices > 0 && c->admitted >= conf->max_devices)
		return 0;
	md->admitted = 1;
	c->admitted++;
	return 1;
}

static void dismiss(struct coap *c, struct coap_device *md)
{
	if (md->admitted)
		c->admitted--;
	md->admitted = 0;
}

/* ---- sessions ------------------------------------------------------------------------ */

static void on_deadline(struct cw_timer *t)
{
	struct coap_device *md = cw_container_of(t, struct coap_device, deadline);

	cw_count(upstream, requests_timed_out);
	if (md->phase == PHASE_OPENING && cw_coap_link_is_key_ignored(md->link_up))
		cw_coap_lost(coap_of(md), md, CW_UPDEVICE_REFUSED, 401,
			     "the platform does not go on with the handshake after it got the key: the device secret "
			     "is wrong");
	else
		cw_coap_lost(coap_of(md), md, CW_UPDEVICE_OFFLINE, 0, md->why);
}

void cw_coap_deadline(struct coap *c, struct coap_device *md, uint64_t ms, const char *why)
{
	if (c->stopping)
		return;
	md->why = why;
	cw_timer_set(cw_coap_timers(c), &md->deadline, ms, on_deadline);
}

static void on_pause(struct cw_timer *t)
{
	struct coap_device *md = cw_container_of(t, struct coap_device, pause);

	cw_coap_work(coap_of(md), md);
}

static void close_session(struct coap *c, struct coap_device *md)
{
	if (md->link_up != NULL && md->phase == PHASE_OPEN)
		cw_gauge_add(upstream, sessions, -1);
	cw_coap_link_close(md->link_up);
	md->link_up = NULL;
	cw_coap_seeker_cancel(&md->seeker);
	cw_list_remove(&md->queue);
	leave_place(c, md);
	md->phase = PHASE_OFF;
}

/* Out of everything but what waits to be sent. */
static void leave(struct coap *c, struct coap_device *md)
{
	cw_timer_stop(cw_coap_timers(c), &md->pause);
	cw_timer_stop(cw_coap_timers(c), &md->deadline);
	cw_timer_stop(cw_coap_timers(c), &md->rest);
	close_session(c, md);
	md->ask = ASK_NONE;
}

static void pause_for(struct coap *c, struct coap_device *md, uint64_t ms)
{
	cw_timer_set(cw_coap_timers(c), &md->pause, ms, on_pause);
}

void cw_coap_lost(struct coap *c, struct coap_device *md, enum cw_updevice_state state, int code, const char *text)
{
	struct cw_updevice *d = md->d;
	uint64_t ms = cw_retry_down(&md->retry, cw_coap_now(c)), least = 0;

	if (state == CW_UPDEVICE_REFUSED) {
		cw_count(upstream, logins_refused);
		least = (uint64_t)c->u->conf.retry_min_ms * PAUSE_REFUSED_TIMES;
	} else if (is_online(md)) {
		cw_count(upstream, disconnects);
	} else {
		cw_count(upstream, connect_failed);
	}
	leave(c, md);
	cw_coap_drop_token(md);
	md->relogins = 0;
	if (code == 0) { /* no answer at all */
		md->address++;
		cw_coap_places_doubt(c->places, md->host);
	}
	cw_upstream_note_error(c->u, text);
	if (state == CW_UPDEVICE_OFFLINE && !is_online(md)) /* the bridge tells the rest */
		cw_log(upstream_device_failed, text, CW_LS("product", d->product_key), CW_LS("device", d->device_name),
		       CW_LI("code", code), CW_LU("retry_ms", ms));
	if (needed(d) || is_online(md))
		cw_updevice_report(d, state, code, text);
	if (needed(d))
		pause_for(c, md, ms > least ? ms : least);
	else
		dismiss(c, md);
	if (code != 0 || !atomic_load(&c->u->is_up) || atomic_load(&c->u->devices_online) > 0)
		return;
	cw_log(upstream_down, text, CW_LS("upstream", c->u->conf.name), CW_LU("retry_ms", ms));
	cw_upstream_report(c->u, 0, text);
}

static void on_ready(void *owner)
{
	struct coap_device *md = owner;
	struct coap *c = coap_of(md);

	md->phase = PHASE_OPEN;
	md->last_ms = cw_coap_now(c);
	cw_timer_stop(cw_coap_timers(c), &md->deadline);
	cw_count(upstream, connects);
	cw_gauge_add(upstream, sessions, 1);
	if (has_token(c, md))
		leave_place(c, md);
	cw_coap_work(c, md);
}

static void on_broken(void *owner, int refused, const char *text)
{
	struct coap_device *md = owner;
	struct coap *c = coap_of(md);
	char reason[256];

	if (md->phase == PHASE_OPEN && md->ask == ASK_NONE && has_token(c, md)) {
		close_session(c, md); /* nothing was under way: the next request opens another one */
		cw_coap_work(c, md);
		return;
	}
	(void)snprintf(reason, sizeof(reason), "%s: %s", md->host, text);
	refused = refused && c->dtls == COAP_DTLS_PSK; /* a certificate that is wrong is not the device's fault */
	cw_coap_lost(c, md, refused ? CW_UPDEVICE_REFUSED : CW_UPDEVICE_OFFLINE, refused ? 401 : 0, reason);
}

const struct coap_wire_ops cw_coap_wire_ops = { on_ready, cw_coap_answered, on_broken };

static void on_found(struct coap_seeker *s, int rc, const char *text, const struct sockaddr_storage *at, unsigned count)
{
	struct coap_device *md = cw_container_of(s, struct coap_device, seeker);
	struct coap *c = coap_of(md);
	const struct sockaddr_storage *to;
	struct coap_psk psk;
	char reason[192];

	md->host = s->host;
	if (rc < 0) {
		cw_coap_lost(c, md, CW_UPDEVICE_OFFLINE, 0, text);
		return;
	}
	to = &at[md->address % count];
	if (c->dtls == COAP_DTLS_PSK)
		rc = cw_coap_psk(&psk, c->sign, md->d->product_key, md->d->device_name, md->d->secret);
	if (rc == 0)
		rc = cw_coap_link_open(c->wire, md, (const struct sockaddr *)to,
				       to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
								 : sizeof(struct sockaddr_in),
				       md->host, &psk, &md->link_up);
	explicit_bzero(&psk, sizeof(psk));
	if (rc < 0) {
		(void)snprintf(reason, sizeof(reason), "%s: no session can be made: %s", md->host,
			       rc == CW_EUNREACH ? strerror(errno) : cw_error_text(rc));
		cw_coap_lost(c, md, CW_UPDEVICE_OFFLINE, 0, reason);
		return;
	}
	md->phase = PHASE_OPENING;
	cw_coap_deadline(c, md, c->open_ms, "the platform does not answer the handshake");
}

static void open_session(struct coap *c, struct coap_device *md)
{
	int rc;

	cw_list_remove(&md->queue);
	md->opening = 1;
	c->opening++;
	cw_pace_rate_note(&c->logins, cw_coap_now(c), 1);
	md->phase = PHASE_SEEKING;
	md->seeker.found = on_found;
	rc = cw_coap_places_seek(c->places, c->u->w, md->d->product_key, &md->seeker);
	if (rc < 0)
		cw_coap_lost(c, md, CW_UPDEVICE_OFFLINE, 0, cw_error_text(rc));
}

static void pump(struct coap *c)
{
	struct cw_list *e;
	uint64_t wait;

	while (!c->stopping && c->opening < c->handshakes && (e = cw_list_first(&c->queue)) != NULL) {
		wait = cw_pace_rate_wait(&c->logins, cw_coap_now(c));
		if (wait > 0) {
			pump_in(c, wait);
			return;
		}
		open_session(c, cw_container_of(e, struct coap_device, queue));
	}
}

/* ---- what to do next ------------------------------------------------------------------ */

static enum coap_ask next_ask(struct coap *c, const struct coap_device *md)
{
	if (!needed(md->d) && cw_list_empty(&md->answers))
		return ASK_NONE;
	if (!has_token(c, md))
		return ASK_AUTH;
	if (!is_online(md))
		return ASK_SESSION;
	if (!cw_list_empty(&md->answers))
		return ASK_ANSWER;
	if (md->parcel != NULL)
		return ASK_POST;
	if (md->ota != NULL)
		return ASK_OTA;
	return md->pull_due && !c->no_pull ? ASK_PULL : ASK_NONE;
}

static void log_out(struct coap *c, struct coap_device *md)
{
	leave(c, md);
	dismiss(c, md);
	cw_retry_reset(&md->retry);
	if (is_online(md))
		cw_updevice_report(md->d, CW_UPDEVICE_OFFLINE, 200, "logged out");
}

static void on_rest(struct cw_timer *t)
{
	struct coap_device *md = cw_container_of(t, struct coap_device, rest);
	struct coap *c = coap_of(md);
	uint64_t now = cw_coap_now(c);

	if (c->pull_ms > 0 && md->pull_at_ms <= now)
		md->pull_due = 1;
	if (md->ask == ASK_NONE && md->phase == PHASE_OPEN && c->idle_ms > 0 && md->last_ms + c->idle_ms <= now)
		close_session(c, md); /* the token stays, and with it the device online */
	cw_coap_work(c, md);
}

/* Nothing to ask: until when? */
static void rest(struct coap *c, struct coap_device *md)
{
	uint64_t now = cw_coap_now(c), due = UINT64_MAX;

	if (!needed(md->d)) {
		log_out(c, md);
		return;
	}
	if (c->pull_ms > 0 && !c->no_pull)
		due = md->pull_at_ms;
	if (md->phase == PHASE_OPEN && c->idle_ms > 0 && md->last_ms + c->idle_ms < due)
		due = md->last_ms + c->idle_ms;
	if (due != UINT64_MAX)
		cw_timer_set(cw_coap_timers(c), &md->rest, due > now ? due - now : 0, on_rest);
}

static void online(struct coap *c, struct coap_device *md)
{
	leave_place(c, md);
	cw_retry_up(&md->retry, cw_coap_now(c));
	md->pull_due = c->pull_ms > 0;
	cw_updevice_report(md->d, CW_UPDEVICE_ONLINE, 200, "logged in");
}

static void get_session(struct coap *c, struct coap_device *md)
{
	if (!admit(c, md)) {
		cw_updevice_report(md->d, CW_UPDEVICE_REFUSED, CODE_TOO_MANY,
				   "maxDevices of this upstream are here already");
		pause_for(c, md, (uint64_t)c->u->conf.retry_max_ms);
		return;
	}
	md->phase = PHASE_QUEUED;
	cw_list_push_back(&c->queue, &md->queue);
	pump_in(c, 0);
}

void cw_coap_work(struct coap *c, struct coap_device *md)
{
	enum coap_ask next;

	if (c->stopping || md->d->removing || md->ask != ASK_NONE || cw_timer_armed(&md->pause))
		return;
	next = next_ask(c, md);
	if (next == ASK_NONE) {
		rest(c, md);
		return;
	}
	if (md->phase == PHASE_OFF)
		get_session(c, md);
	if (md->phase != PHASE_OPEN)
		return;
	if (next != ASK_SESSION) {
		cw_coap_ask(c, md, next);
		return;
	}
	online(c, md);
	cw_coap_work(c, md);
}

void cw_coap_logged_in(struct coap *c, struct coap_device *md)
{
	cw_count(upstream, logins);
	if (!is_online(md) && needed(md->d))
		online(c, md);
	else
		leave_place(c, md);
	cw_coap_work(c, md);
}

/* ---- the bridge's wishes ---------------------------------------------------------------- */

static void first_seen(struct coap *c, struct cw_updevice *d)
{
	struct coap_device *md = cw_coap_device_of(d);
	const struct cw_upstream_conf *conf = &c->u->conf;

	if (md->d != NULL)
		return;
	md->d = d;
	cw_list_init(&md->queue);
	cw_list_init(&md->seeker.link);
	cw_list_init(&md->answers);
	cw_retry_init(&md->retry, conf->retry_min_ms, conf->retry_max_ms,
		      (uint32_t)cw_hash_stable(d->key, strlen(d->key)));
}

void cw_coap_device_free(struct coap_device *md)
{
	struct cw_list *e;

	if (md->d == NULL)
		return;
	cw_coap_drop_token(md);
	cw_split_drop(&md->messages.split);
	while ((e = cw_list_pop(&md->answers)) != NULL) {
		struct coap_answer_out *a = cw_container_of(e, struct coap_answer_out, link);

		cw_free(a->text);
		cw_free(a);
	}
	cw_free(md->ota);
	cw_free(md->ota_next);
	md->ota = md->ota_next = NULL;
	md->answer_count = 0;
}

void cw_coap_device_changed(void *connector, struct cw_updevice *d)
{
	struct coap *c = connector;
	struct coap_device *md = cw_coap_device_of(d);

	first_seen(c, d);
	if (!d->removing) {
		if (needed(d))
			cw_coap_work(c, md);
		else
			cw_coap_device_drained(c, d);
		return;
	}
	if (!c->stopping)
		leave(c, md);
	dismiss(c, md);
	if (is_online(md))
		cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 200, "removed");
	cw_coap_device_free(md);
	cw_updevice_gone(d);
}

/* Nobody wants it and its queue is empty: down, or no further up. */
void cw_coap_device_drained(void *connector, struct cw_updevice *d)
{
	struct coap *c = connector;
	struct coap_device *md = cw_coap_device_of(d);

	if (needed(d) || d->removing || c->stopping)
		return;
	if (cw_timer_armed(&md->pause) || (md->phase != PHASE_OPEN && md->phase != PHASE_OFF))
		log_out(c, md);
	else
		cw_coap_work(c, md);
}

void cw_coap_all_down(struct coap *c, const char *why)
{
	struct cw_map_node *n;

	cw_map_each (n, &c->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);
		struct coap_device *md = cw_coap_device_of(d);

		if (md->d == NULL)
			continue;
		leave(c, md);
		if (is_online(md))
			cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 0, why);
	}
}
