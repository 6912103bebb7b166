/*
 * session.c - which sub-devices are related to this gateway and logged in; see
 * the phases in mqtt.h.
 *
 * Requests go in batches (30 in a topology add, 5 in a login). A batch login is all
 * or nothing: when it is refused its members are asked one by one, so that a bad one
 * costs the others one round trip. Refused devices are asked again, ever more slowly.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "platform/codes.h"
#include "upstream/mqtt/mqtt.h"

#define GATHER_MS 10u /* devices that come together go together */
/* Delays of one device in terms of the connection's: 5 s to 10 min where that has 1 s to 1 min. */
#define PAUSE_MIN_TIMES 5u
#define PAUSE_REFUSED_TIMES 15u /* at least, after a refusal: somebody has to change something first */
#define PAUSE_MAX_TIMES 10u
#define RETOPO_MOST 2u /* topology adds that do not help before it counts as a refusal */
#define CODE_DELETED 521
#define CODE_DISABLED 522
#define CODE_RATE 429
#define CODE_TOO_MANY 428

static void enter(struct mqtt *m, struct cw_updevice *d);
static void on_late(struct cw_await_set *set, struct cw_await *a);

static struct cw_timers *timers(struct mqtt *m)
{
	return cw_worker_timers(m->u->w);
}

static uint64_t now_of(struct mqtt *m)
{
	return cw_worker_now(m->u->w);
}

static struct mqtt *mqtt_of(struct cw_updevice *d)
{
	return d->u->connector;
}

int mqtt_session_init(struct mqtt *m)
{
	unsigned rate = m->u->conf.rate_device_qos0;

	m->own_times = cw_calloc((size_t)rate + 1, sizeof(m->own_times[0]));
	if (m->own_times == NULL)
		return CW_ENOMEM;
	cw_pace_window_init(&m->own, m->own_times, rate, 1000);
	cw_list_init(&m->to_logout);
	cw_await_init(&m->requests, m->u->w, MQTT_REQUEST_MS, on_late);
	cw_list_init(&m->to_topo);
	cw_list_init(&m->to_login);
	mqtt_enroll_init(m);
	m->logins.rate = m->u->conf.login_rate;
	return 0;
}

static void free_request(struct mqtt *m, struct mqtt_request *q)
{
	size_t i;

	if (q->what == ASK_TOPO)
		m->topo_out--;
	else if (q->what == ASK_LOGIN)
		m->login_out--;
	for (i = 0; i < q->count; i++)
		if (q->devices[i] != NULL)
			mqtt_device_of(q->devices[i])->request = NULL;
	cw_await_end(&m->requests, &q->await);
	cw_free(q);
}

static void free_requests(struct mqtt *m)
{
	struct cw_await *a;

	while ((a = cw_await_oldest(&m->requests)) != NULL)
		free_request(m, cw_container_of(a, struct mqtt_request, await));
}

void mqtt_session_fini(struct mqtt *m)
{
	free_requests(m);
	cw_await_fini(&m->requests);
	mqtt_enroll_fini(m);
	cw_free(m->own_times);
}

/* ---- moving a device ----------------------------------------------------------- */

/* Out of every list, timer and request. */
static void leave(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);
	size_t i;

	cw_list_remove(&md->link);
	cw_timer_stop(timers(m), &md->pause);
	if (md->request == NULL)
		return;
	for (i = 0; i < md->request->count; i++)
		if (md->request->devices[i] == d)
			md->request->devices[i] = NULL;
	md->request = NULL;
}

static void on_pump(struct cw_timer *t)
{
	mqtt_pump(cw_container_of(t, struct mqtt, pump_timer));
}

static void pump_in(struct mqtt *m, uint64_t ms)
{
	if (!cw_timer_armed(&m->pump_timer))
		cw_timer_set(timers(m), &m->pump_timer, ms, on_pump);
}

static void on_pause(struct cw_timer *t)
{
	struct mqtt_device *md = cw_container_of(t, struct mqtt_device, pause);

	md->phase = PHASE_OFF;
	enter(mqtt_of(md->d), md->d);
}

static void pause_for(struct mqtt *m, struct cw_updevice *d, uint64_t ms)
{
	struct mqtt_device *md = mqtt_device_of(d);

	leave(m, d);
	md->phase = PHASE_PAUSE;
	cw_timer_set(timers(m), &md->pause, ms, on_pause);
}

/* Try again after a delay that grows with each failure in a row, `least` at least. */
static void try_later(struct mqtt *m, struct cw_updevice *d, uint64_t least)
{
	uint64_t ms = cw_retry_down(&mqtt_device_of(d)->retry, now_of(m));

	pause_for(m, d, ms > least ? ms : least);
}

static void online(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	leave(m, d);
	md->phase = PHASE_UP;
	md->alone = 0;
	md->retopo = 0;
	cw_retry_up(&md->retry, now_of(m));
	if (!md->is_bridge) {
		cw_count(upstream, logins);
		mqtt_product_up(m, d->product_key);
		mqtt_subscribe(m, 0, d->product_key, d->device_name);
	}
	cw_updevice_report(d, CW_UPDEVICE_ONLINE, CW_CODE_OK, "logged in");
}

/* The platform takes so many sub-devices through one gateway: say so here rather than be refused one by one. */
static int admit(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (md->admitted)
		return 1;
	if (m->u->conf.max_devices > 0 && m->admitted >= m->u->conf.max_devices) {
		cw_updevice_report(d, CW_UPDEVICE_REFUSED, CODE_TOO_MANY,
				   "maxDevices of this upstream are logged in already");
		pause_for(m, d, (uint64_t)m->u->conf.retry_max_ms);
		return 0;
	}
	md->admitted = 1;
	m->admitted++;
	return 1;
}

static void dismiss(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (md->admitted)
		m->admitted--;
	md->admitted = 0;
}

/* Start the way up for a device that needs it and is at rest. */
static void enter(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (m->state != LINK_UP || !cw_updevice_needed(d) || md->phase != PHASE_OFF)
		return;
	if (md->is_bridge) {
		online(m, d);
		return;
	}
	if (!admit(m, d))
		return;
	md->phase = md->related ? PHASE_LOGIN : PHASE_TOPO;
	cw_list_push_back(md->related ? &m->to_login : &m->to_topo, &md->link);
	pump_in(m, GATHER_MS);
}

static void first_seen(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);
	const struct cw_upstream_conf *c = &m->u->conf;

	md->is_bridge = strcmp(d->product_key, m->pk) == 0 && strcmp(d->device_name, m->dn) == 0;
	if (md->d != NULL)
		return;
	md->d = d;
	cw_list_init(&md->link);
	cw_list_init(&md->sends);
	cw_retry_init(&md->retry, (uint64_t)c->retry_min_ms * PAUSE_MIN_TIMES,
		      (uint64_t)c->retry_max_ms * PAUSE_MAX_TIMES, (uint32_t)cw_hash_stable(d->key, strlen(d->key)));
	cw_pace_window_init(&md->logins, md->login_times, c->login_rate > 0 ? MQTT_LOGINS_A_MINUTE : 0, 60000);
}

/* ---- asking ---------------------------------------------------------------------- */

static void logged_out(struct mqtt *m, struct cw_updevice *d);

static struct mqtt_request *new_request(struct mqtt *m, enum mqtt_what what)
{
	struct mqtt_request *q = cw_zalloc(sizeof(*q));

	if (q == NULL)
		return NULL;
	q->what = what;
	if (cw_await_add(&m->requests, &q->await, cw_await_next_id(&m->replies)) < 0) {
		cw_free(q);
		return NULL;
	}
	if (what == ASK_TOPO)
		m->topo_out++;
	else if (what == ASK_LOGIN)
		m->login_out++;
	return q;
}

static void add_device(struct mqtt_request *q, struct cw_updevice *d)
{
	mqtt_device_of(d)->request = q;
	q->devices[q->count++] = d;
}

static size_t list_subs(const struct mqtt_request *q, struct cw_alink_sub *subs)
{
	size_t i;

	for (i = 0; i < q->count; i++) {
		subs[i].product_key = q->devices[i]->product_key;
		subs[i].device_name = q->devices[i]->device_name;
		subs[i].secret = q->devices[i]->secret;
	}
	return q->count;
}

/* Everybody of a request that could not be made or was not answered: a little later. */
static void all_later(struct mqtt *m, struct mqtt_request *q)
{
	struct cw_updevice *devices[CW_ALINK_TOPO_BATCH];
	size_t i, count = q->count;
	int logout = q->what == ASK_LOGOUT;

	memcpy(devices, q->devices, sizeof(devices));
	free_request(m, q);
	for (i = 0; i < count; i++)
		if (devices[i] != NULL && logout)
			logged_out(m, devices[i]); /* the platform notices by itself some time */
		else if (devices[i] != NULL)
			try_later(m, devices[i], 0);
}

static void say_request(struct mqtt *m, struct mqtt_request *q)
{
	static const char *const names[2][2] = { { "login", "batch_login" }, { "logout", "batch_logout" } };
	struct cw_alink_sub subs[CW_ALINK_TOPO_BATCH];
	size_t n = list_subs(q, subs), len;
	char topic[CW_TOPIC_MAX], *text = NULL;
	int64_t utc_ms = cw_clock_wall_ms();
	int rc;

	if (q->what == ASK_TOPO)
		rc = cw_topic_sys(topic, m->pk, m->dn, "thing/topo/add");
	else
		rc = cw_topic_session(topic, m->pk, m->dn, names[q->what == ASK_LOGOUT][n > 1]);
	if (rc == 0 && q->what == ASK_TOPO)
		rc = cw_alink_topo_add(q->await.id, subs, n, utc_ms, &text, &len);
	else if (rc == 0 && q->what == ASK_LOGOUT && n > 1)
		rc = cw_alink_batch_logout(q->await.id, subs, n, &text, &len);
	else if (rc == 0 && q->what == ASK_LOGOUT)
		rc = cw_alink_logout(q->await.id, &subs[0], &text, &len);
	else if (rc == 0 && n > 1)
		rc = cw_alink_batch_login(q->await.id, subs, n, utc_ms, &text, &len);
	else if (rc == 0)
		rc = cw_alink_login(q->await.id, &subs[0], utc_ms, &text, &len);
	cw_pace_window_note(&m->own, now_of(m));
	if (rc == 0)
		rc = mqtt_say(m, topic, text, len);
	if (rc < 0)
		all_later(m, q);
}

/* One request for the head of a queue; 0 when nothing could be sent. */
static int ask_topo(struct mqtt *m)
{
	struct mqtt_request *q = new_request(m, ASK_TOPO);
	struct cw_list *e;

	if (q == NULL)
		return 0;
	while (q->count < CW_ALINK_TOPO_BATCH && (e = cw_list_first(&m->to_topo)) != NULL) {
		struct mqtt_device *md = cw_container_of(e, struct mqtt_device, link);

		if (md->alone && q->count > 0)
			break;
		cw_list_remove(&md->link);
		add_device(q, md->d);
		if (md->alone)
			break;
	}
	say_request(m, q);
	return 1;
}

static unsigned batch_most(struct mqtt *m)
{
	return m->u->conf.login_batch < CW_ALINK_TOPO_BATCH ? m->u->conf.login_batch : CW_ALINK_TOPO_BATCH;
}

static int ask_login(struct mqtt *m)
{
	struct mqtt_request *q = new_request(m, ASK_LOGIN);
	unsigned most = batch_most(m);
	struct cw_list *e;

	if (q == NULL)
		return 0;
	while (q->count < most && (e = cw_list_first(&m->to_login)) != NULL) {
		struct mqtt_device *md = cw_container_of(e, struct mqtt_device, link);
		uint64_t wait = cw_pace_window_wait(&md->logins, now_of(m));

		if (wait > 0) {
			pause_for(m, md->d, wait);
			continue;
		}
		if (md->alone && q->count > 0)
			break;
		cw_list_remove(&md->link);
		cw_pace_window_note(&md->logins, now_of(m));
		add_device(q, md->d);
		if (md->alone)
			break;
	}
	if (q->count == 0) {
		free_request(m, q);
		return 0;
	}
	cw_pace_rate_note(&m->logins, now_of(m), (unsigned)q->count);
	say_request(m, q);
	return 1;
}

static int ask_logout(struct mqtt *m)
{
	struct mqtt_request *q = new_request(m, ASK_LOGOUT);
	unsigned most = batch_most(m);
	struct cw_list *e;

	if (q == NULL)
		return 0;
	while (q->count < most && (e = cw_list_pop(&m->to_logout)) != NULL)
		add_device(q, cw_container_of(e, struct mqtt_device, link)->d);
	say_request(m, q);
	return 1;
}

/* Which queue may send a request now: 1 done, 0 none may, -1 the memory for it is missing. */
static int ask_next(struct mqtt *m)
{
	if (!cw_list_empty(&m->to_topo) && m->topo_out < MQTT_TOPO_OUT)
		return ask_topo(m) ? 1 : -1;
	if (!cw_list_empty(&m->to_login) && m->login_out < MQTT_LOGIN_OUT &&
	    cw_pace_rate_wait(&m->logins, now_of(m)) == 0)
		return ask_login(m) ? 1 : cw_list_empty(&m->to_login) ? 0 : -1;
	if (!cw_list_empty(&m->to_enroll))
		return mqtt_ask_enroll(m);
	if (!cw_list_empty(&m->to_logout))
		return ask_logout(m) ? 1 : -1;
	return 0;
}

void mqtt_pump(struct mqtt *m)
{
	uint64_t wait;
	int more = 1;

	if (m->state != LINK_UP)
		return;
	while ((wait = cw_pace_window_wait(&m->own, now_of(m))) == 0 && more > 0)
		more = ask_next(m);
	if (more < 0)
		wait = 1000;
	else if (wait == 0 && !cw_list_empty(&m->to_login))
		wait = cw_pace_rate_wait(&m->logins, now_of(m)); /* else a reply comes back here */
	if (wait > 0)
		pump_in(m, wait);
}

static void on_late(struct cw_await_set *set, struct cw_await *a)
{
	struct mqtt *m = cw_container_of(set, struct mqtt, requests);

	cw_count(upstream, requests_timed_out);
	all_later(m, cw_container_of(a, struct mqtt_request, await));
	mqtt_pump(m);
}

/* ---- answers ------------------------------------------------------------------------ */

static const char *text_of(const struct cw_alink_reply *r)
{
	return r->message[0] != '\0' ? r->message : cw_code_text(r->code);
}

/* Out of a session, with what the bridge is told about it. */
static void refuse(struct mqtt *m, struct cw_updevice *d, enum cw_updevice_state state, int32_t code, const char *text)
{
	uint64_t least = code == CODE_RATE ? 60000 : 0;

	if (state == CW_UPDEVICE_REFUSED)
		least = (uint64_t)m->u->conf.retry_min_ms * PAUSE_REFUSED_TIMES;
	cw_updevice_report(d, state, code, text);
	try_later(m, d, least);
}

/* Topology add or login of one device did not work. */
static void not_accepted(struct mqtt *m, struct cw_updevice *d, const struct cw_alink_reply *r)
{
	struct mqtt_device *md = mqtt_device_of(d);
	enum cw_code_action action = cw_code_action(r->code);

	cw_count(upstream, logins_refused);
	if (!cw_updevice_needed(d)) {
		md->phase = PHASE_OFF;
		dismiss(m, d);
		return;
	}
	if (action == CW_CODE_RETOPO && md->retopo < RETOPO_MOST) {
		md->retopo++;
		md->related = 0;
		leave(m, d);
		md->phase = PHASE_OFF;
		enter(m, d);
		return;
	}
	refuse(m, d, action == CW_CODE_REFUSED || action == CW_CODE_RETOPO ? CW_UPDEVICE_REFUSED : CW_UPDEVICE_OFFLINE,
	       r->code, text_of(r));
}

/* A batch was refused as a whole: each on its own, without the delay of a failure. */
static void ask_alone(struct mqtt *m, struct cw_updevice *d, int32_t code)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (cw_code_action(code) == CW_CODE_RETOPO && md->retopo < RETOPO_MOST) {
		md->retopo++; /* a platform that forgot its topology forgot all of it: add them again together */
		md->related = 0;
	} else {
		md->alone = 1;
	}
	md->phase = PHASE_OFF;
	enter(m, d);
}

static void accepted(struct mqtt *m, struct cw_updevice *d, enum mqtt_what what)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (what == ASK_LOGIN) {
		online(m, d);
		mqtt_device_drained(m, d); /* it may not be wanted any more by now */
		return;
	}
	md->related = 1;
	md->alone = 0;
	md->phase = PHASE_OFF;
	enter(m, d);
}

static void logged_out(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	md->phase = PHASE_OFF;
	if (!cw_updevice_needed(d))
		dismiss(m, d);
	cw_retry_reset(&md->retry);
	enter(m, d); /* it may be wanted again by now */
}

int mqtt_request_replied(struct mqtt *m, enum mqtt_what what, const struct cw_alink_reply *r)
{
	struct cw_await *a = r->has_id ? cw_await_find(&m->requests, r->id) : NULL;
	struct cw_updevice *devices[CW_ALINK_TOPO_BATCH];
	struct mqtt_request *q;
	size_t i, count;

	if (a == NULL)
		return 0;
	q = cw_container_of(a, struct mqtt_request, await);
	if (q->what != what)
		return 0;
	count = q->count;
	memcpy(devices, q->devices, sizeof(devices));
	free_request(m, q);
	if (r->code == CW_CODE_OK)
		cw_count(upstream, replies_ok);
	else
		cw_count(upstream, replies_failed);
	for (i = 0; i < count; i++) {
		if (devices[i] == NULL)
			continue;
		if (what == ASK_LOGOUT)
			logged_out(m, devices[i]);
		else if (r->code == CW_CODE_OK)
			accepted(m, devices[i], what);
		else if (count > 1)
			ask_alone(m, devices[i], r->code);
		else
			not_accepted(m, devices[i], r);
	}
	mqtt_pump(m);
	return 1;
}

/* ---- the platform's initiative -------------------------------------------------------- */

void mqtt_device_kicked(struct mqtt *m, struct cw_updevice *d, int32_t code, const char *text)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (md->d == NULL || md->is_bridge)
		return;
	if (cw_code_action(code) == CW_CODE_RETOPO)
		md->related = 0;
	if (md->phase != PHASE_UP && code != CODE_DELETED && code != CODE_DISABLED)
		return; /* on its way already */
	cw_count(upstream, kicked);
	refuse(m, d, cw_code_action(code) == CW_CODE_REFUSED ? CW_UPDEVICE_REFUSED : CW_UPDEVICE_OFFLINE, code,
	       text != NULL && text[0] != '\0' ? text : cw_code_text(code));
}

void mqtt_device_related(struct mqtt *m, struct cw_updevice *d, int status)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (md->d == NULL || md->is_bridge)
		return;
	switch (status) {
	case 1: mqtt_device_kicked(m, d, 6401, "the relation was removed at the platform"); return;
	case 8: mqtt_device_kicked(m, d, CODE_DISABLED, "the device was disabled at the platform"); return;
	case 0: md->related = 1; break;
	default: break;
	}
	if (md->phase != PHASE_PAUSE)
		return;
	leave(m, d);
	cw_retry_reset(&md->retry);
	md->phase = PHASE_OFF;
	enter(m, d);
}

/* ---- the bridge's wishes ---------------------------------------------------------------- */

static void log_out(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	cw_updevice_report(d, CW_UPDEVICE_OFFLINE, CW_CODE_OK, "logged out");
	md->phase = md->is_bridge ? PHASE_OFF : PHASE_LOGOUT;
	if (md->is_bridge)
		return;
	cw_list_push_back(&m->to_logout, &md->link);
	pump_in(m, GATHER_MS);
}

/* Without waiting for the answer. */
static void send_logout(struct mqtt *m, struct cw_updevice *d)
{
	struct cw_alink_sub sub = { d->product_key, d->device_name, d->secret };
	char topic[CW_TOPIC_MAX], *text;
	size_t len;

	cw_pace_window_note(&m->own, now_of(m));
	if (cw_topic_session(topic, m->pk, m->dn, "logout") == 0 &&
	    cw_alink_logout(cw_await_next_id(&m->replies), &sub, &text, &len) == 0)
		(void)mqtt_say(m, topic, text, len);
}

/* Without waiting for the answer: an error is logged, and the operator deletes the relation by hand. */
static void send_topo_delete(struct mqtt *m, struct cw_updevice *d)
{
	struct cw_alink_sub sub = { d->product_key, d->device_name, d->secret };
	char topic[CW_TOPIC_MAX], *text;
	size_t len;

	if (m->state != LINK_UP) {
		cw_log(upstream_relation_kept, "not connected; delete it in the console, or bring the entry back and remove it again",
		       CW_LS("productKey", d->product_key), CW_LS("deviceName", d->device_name));
		return;
	}
	cw_pace_window_note(&m->own, now_of(m));
	if (cw_topic_sys(topic, m->pk, m->dn, "thing/topo/delete") == 0 &&
	    cw_alink_topo_delete(cw_await_next_id(&m->replies), &sub, &text, &len) == 0)
		(void)mqtt_say(m, topic, text, len);
}

static void remove_device(struct mqtt *m, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if ((md->phase == PHASE_UP || md->phase == PHASE_LOGOUT || md->request != NULL) && !md->is_bridge &&
	    m->state == LINK_UP)
		send_logout(m, d);
	if (d->forget && !md->is_bridge)
		send_topo_delete(m, d);
	if (d->state == CW_UPDEVICE_ONLINE)
		cw_updevice_report(d, CW_UPDEVICE_OFFLINE, CW_CODE_OK, "removed");
	leave(m, d);
	dismiss(m, d);
	mqtt_posts_forget(m, d);
	cw_updevice_gone(d);
}

void mqtt_device_changed(void *connector, struct cw_updevice *d)
{
	struct mqtt *m = connector;

	first_seen(m, d);
	if (d->removing) {
		remove_device(m, d);
		return;
	}
	if (cw_updevice_needed(d))
		enter(m, d);
	else
		mqtt_device_drained(m, d);
}

/* Nobody wants it and its queue is empty: down, or no further up. */
void mqtt_device_drained(void *connector, struct cw_updevice *d)
{
	struct mqtt_device *md = mqtt_device_of(d);

	if (cw_updevice_needed(d) || d->removing)
		return;
	if (md->phase == PHASE_UP) {
		log_out(connector, d);
	} else if (md->phase != PHASE_LOGOUT && !(md->phase == PHASE_LOGIN && md->request != NULL)) {
		leave(connector, d); /* a login that was asked for is waited for: it must be undone */
		dismiss(connector, d);
		md->phase = PHASE_OFF;
	}
}

void mqtt_session_up(struct mqtt *m)
{
	struct cw_map_node *n;

	cw_map_each (n, &m->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);

		first_seen(m, d);
		enter(m, d);
	}
}

void mqtt_session_down(struct mqtt *m, const char *why)
{
	struct cw_map_node *n;

	free_requests(m);
	mqtt_enroll_down(m, why);
	cw_map_each (n, &m->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);
		struct mqtt_device *md = mqtt_device_of(d);

		if (md->d == NULL)
			continue;
		leave(m, d);
		md->phase = PHASE_OFF;
		md->alone = 0;
		cw_retry_reset(&md->retry);
		if (d->state == CW_UPDEVICE_ONLINE)
			cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 0, why);
	}
}

void mqtt_session_goodbye(struct mqtt *m)
{
	struct cw_map_node *n;

	cw_map_each (n, &m->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);

		if (cw_pace_window_wait(&m->own, now_of(m)) > 0)
			return; /* the end of the connection logs out the others */
		if (mqtt_device_of(d)->phase == PHASE_UP && !mqtt_device_of(d)->is_bridge)
			send_logout(m, d);
	}
}
