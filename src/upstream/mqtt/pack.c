/*
 * pack.c - readings of several devices in one message: the platform's pack post.
 *
 * The lane hands over one parcel after the other; those that fit are members of the open
 * pack until it is full or old enough. Each device has at most one message on its
 * way (in_flight_device), so a pack never holds two readings of one device and the
 * next one waits for the pack's reply: a pack that is refused and goes again in
 * halves cannot be overtaken. The platform checks a pack as a whole; the member that
 * is alone in the end goes as an ordinary post, which has the platform's verdict on it
 * and on nobody else.
 *
 * Nothing is published inside send(): a full pack is `ripe` and goes with the timer, so
 * that a failure never settles a parcel which the lane is about to count as sent.
 *
 * Packs are the gateway's own QoS 1 messages for the platform's rates: when those allow
 * none, readings go alone, each at its device's rate.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "platform/codes.h"
#include "upstream/mqtt/mqtt.h"

#define AGAIN_MS 20u        /* no room at the client: another try */
#define PROPERTIES_MOST 200 /* in one pack: the platform refuses more */
#define EVENTS_MOST 20

struct mqtt_pack {
	struct cw_mqtt_token token;
	struct cw_await await;
	struct cw_list link;    /* in `ripe` */
	struct cw_list members; /* struct mqtt_send.of_pack */
	struct mqtt *m;
	unsigned count, properties, events;
	size_t bytes;
	int at_client, orphan;
};

/* What one record adds to a pack. */
struct load {
	unsigned properties, events;
	size_t bytes;
};

static void on_age(struct cw_timer *t);
static void on_ripe(struct cw_timer *t);
static void on_late(struct cw_await_set *set, struct cw_await *a);
static void on_published(struct cw_mqtt_token *t);

static struct cw_timers *timers(struct mqtt *m)
{
	return cw_worker_timers(m->u->w);
}

int mqtt_pack_init(struct mqtt *m)
{
	unsigned rate = m->u->conf.rate_device_qos1;

	cw_list_init(&m->ripe);
	cw_await_init(&m->packs, m->u->w, MQTT_REPLY_MS, on_late);
	m->pack_times = cw_calloc((size_t)rate + 1, sizeof(m->pack_times[0]));
	if (m->pack_times == NULL)
		return CW_ENOMEM;
	cw_pace_window_init(&m->pack_pace, m->pack_times, rate, 1000);
	return 0;
}

void mqtt_pack_fini(struct mqtt *m)
{
	cw_await_fini(&m->packs);
	cw_free(m->pack_times);
}

/* ---- a pack's life -------------------------------------------------------------- */

static struct mqtt_pack *new_pack(struct mqtt *m)
{
	struct mqtt_pack *k = cw_zalloc(sizeof(*k));

	if (k == NULL)
		return NULL;
	k->m = m;
	k->token.done = on_published;
	cw_list_init(&k->link);
	cw_list_init(&k->members);
	return k;
}

static void free_when_idle(struct mqtt_pack *k)
{
	struct mqtt *m = k->m;

	if (!cw_list_empty(&k->members))
		return;
	cw_await_end(&m->packs, &k->await); /* nobody is left whom the reply could concern */
	cw_list_remove(&k->link);
	if (m->open == k)
		m->open = NULL;
	if (!k->at_client)
		cw_free(k);
	else if (!k->orphan) {
		k->orphan = 1;
		mqtt_orphaned(m);
	}
}

static void add(struct mqtt_pack *k, struct mqtt_send *s)
{
	s->pack = k;
	cw_list_push_back(&k->members, &s->of_pack);
	k->count++;
}

/* All members into a list of the caller's; the pack may be gone then. */
static void empty_into(struct mqtt_pack *k, struct cw_list *list)
{
	struct cw_list *e;

	cw_list_init(list);
	while ((e = cw_list_pop(&k->members)) != NULL) {
		cw_container_of(e, struct mqtt_send, of_pack)->pack = NULL;
		cw_list_push_back(list, e);
	}
	k->count = 0;
	free_when_idle(k);
}

void mqtt_pack_leave(struct mqtt_send *s)
{
	struct mqtt_pack *k = s->pack;

	cw_list_remove(&s->of_pack);
	s->pack = NULL;
	if (k == NULL)
		return;
	k->count--;
	free_when_idle(k);
}

/* Back to the lane, which recalls each. */
static void all_again(struct mqtt *m, struct mqtt_pack *k)
{
	struct cw_list list, *e;

	empty_into(k, &list);
	while ((e = cw_list_pop(&list)) != NULL)
		cw_lane_again(&m->u->lane, cw_container_of(e, struct mqtt_send, of_pack)->p);
}

static void settle_all(struct mqtt *m, struct mqtt_pack *k)
{
	struct cw_list list, *e;

	empty_into(k, &list);
	while ((e = cw_list_pop(&list)) != NULL) {
		struct cw_parcel *p = mqtt_send_end(cw_container_of(e, struct mqtt_send, of_pack));

		cw_lane_settle(&m->u->lane, p, CW_SETTLED_DONE, 0, NULL);
	}
}

/* ---- publishing ------------------------------------------------------------------ */

static void ripen(struct mqtt *m, uint64_t ms)
{
	if (!cw_timer_armed(&m->ripe_timer) && !cw_list_empty(&m->ripe))
		cw_timer_set(timers(m), &m->ripe_timer, ms, on_ripe);
}

static void close_open(struct mqtt *m)
{
	struct mqtt_pack *k = m->open;

	if (k == NULL)
		return;
	m->open = NULL;
	cw_timer_stop(timers(m), &m->age_timer);
	cw_list_push_back(&m->ripe, &k->link);
	ripen(m, 0);
}

static void on_age(struct cw_timer *t)
{
	close_open(cw_container_of(t, struct mqtt, age_timer));
}

/* Members that are too many, too long or not to the platform's liking: again in two halves, in their place of the queue. */
static void split(struct mqtt *m, struct mqtt_pack *k)
{
	struct mqtt_pack *half[2] = { new_pack(m), new_pack(m) };
	struct cw_list list, *e;
	unsigned i, n = k->count;

	if (half[0] == NULL || half[1] == NULL) {
		cw_free(half[0]);
		cw_free(half[1]);
		all_again(m, k);
		return;
	}
	cw_count(upstream, packs_split);
	empty_into(k, &list);
	for (i = 0; (e = cw_list_pop(&list)) != NULL; i++)
		add(half[i < n / 2 ? 0 : 1], cw_container_of(e, struct mqtt_send, of_pack));
	cw_list_push_front(&m->ripe, &half[1]->link);
	cw_list_push_front(&m->ripe, &half[0]->link);
	free_when_idle(half[0]); /* some had left: half of one is none */
	ripen(m, 0);
}

/* The members' records as one message. */
static int build(struct mqtt *m, struct mqtt_pack *k, uint32_t id, struct cw_alink_post *post)
{
	const struct cw_upstream_conf *c = &m->u->conf;
	const struct cw_alink_options options = { .want_reply = 1, .version = c->post_version, .qos = (unsigned)c->qos };
	struct cw_alink_member members[MQTT_PACK_MOST];
	struct cw_record records[MQTT_PACK_MOST];
	struct cw_list *e;
	size_t n = 0;

	cw_list_each (e, &k->members) {
		struct mqtt_send *s = cw_container_of(e, struct mqtt_send, of_pack);

		if (!cw_record_read(cw_bytes_of(s->p->bytes, s->p->len), &records[n]))
			return CW_EPROTO;
		if (!records[n].has_time && s->p->arrival_ms > 0) {
			records[n].has_time = 1;
			records[n].time_ms = s->p->arrival_ms;
		}
		members[n] = (struct cw_alink_member){ s->d->product_key, s->d->device_name, &records[n] };
		n++;
	}
	return cw_alink_pack(id, m->pk, m->dn, members, n, &options, post);
}

static int publish(struct mqtt *m, struct mqtt_pack *k)
{
	struct cw_alink_post post = { .payload = NULL };
	uint32_t id = cw_await_next_id(&m->replies);
	int rc = cw_await_add(&m->packs, &k->await, id);

	if (rc == 0)
		rc = build(m, k, id, &post);
	if (rc == 0)
		rc = m->ops->publish(m->client, post.topic, cw_bytes_of(post.payload, post.len), (int)post.qos, 0, &k->token);
	cw_free(post.payload);
	if (rc < 0) {
		cw_await_end(&m->packs, &k->await);
		return rc;
	}
	k->at_client = 1;
	m->posts_out++;
	cw_count(upstream, packs);
	cw_count_n(upstream, packed, k->count);
	return 0;
}

/* The only member goes the way it would have gone without packs. */
static int publish_alone(struct mqtt *m, struct mqtt_pack *k)
{
	struct mqtt_send *s = cw_container_of(cw_list_first(&k->members), struct mqtt_send, of_pack);
	int rc = mqtt_publish_one(m, s);

	if (rc == CW_EBUSY || rc == CW_ENOMEM)
		return rc;
	mqtt_pack_leave(s);
	if (rc < 0) {
		struct cw_parcel *p = mqtt_send_end(s);

		cw_lane_settle(&m->u->lane, p, CW_SETTLED_REFUSED, rc, cw_error_text(rc));
	}
	return 0;
}

/* Send the first ripe pack. 0, or CW_EBUSY: none can go now. */
static int send_first(struct mqtt *m)
{
	struct mqtt_pack *k = cw_container_of(cw_list_first(&m->ripe), struct mqtt_pack, link);
	int rc;

	if (m->state != LINK_UP || m->posts_out >= m->u->conf.in_flight)
		return CW_EBUSY;
	if (k->count == 1)
		return publish_alone(m, k);
	rc = publish(m, k);
	if (rc == CW_EBUSY || rc == CW_ENOMEM || rc == CW_ECLOSED)
		return CW_EBUSY;
	cw_list_remove(&k->link);
	if (rc < 0) /* too long, or one of them is malformed */
		split(m, k);
	return 0;
}

void mqtt_pack_go_on(struct mqtt *m)
{
	while (!cw_list_empty(&m->ripe) && send_first(m) == 0)
		;
	ripen(m, AGAIN_MS);
}

static void on_ripe(struct cw_timer *t)
{
	mqtt_pack_go_on(cw_container_of(t, struct mqtt, ripe_timer));
}

static void on_published(struct cw_mqtt_token *t)
{
	struct mqtt_pack *k = cw_container_of(t, struct mqtt_pack, token);
	struct mqtt *m = k->m;

	k->at_client = 0;
	mqtt_post_out(m, k->orphan);
	k->orphan = 0;
	if (t->rc == 0)
		cw_count(upstream, confirmed);
	if (t->rc < 0)
		all_again(m, k);
	else if (!k->await.waits)
		free_when_idle(k);
	mqtt_pack_go_on(m);
	cw_lane_pump(&m->u->lane);
}

/* ---- taking ------------------------------------------------------------------------ */

static int weigh(struct cw_parcel *p, struct load *ret)
{
	struct cw_record rec;
	struct cw_reader r;
	struct cw_item map;
	unsigned n = 0;

	if (p->urgent || p->qos == 0 || !cw_record_read(cw_bytes_of(p->bytes, p->len), &rec))
		return 0;
	if ((rec.kind != CW_KIND_PROPERTIES && rec.kind != CW_KIND_EVENT) || rec.body.len == 0 || rec.request.len > 0 ||
	    (rec.flags & CW_RECORD_REPLAY) != 0)
		return 0;
	r = cw_reader_of(rec.body);
	map = cw_read_item(&r);
	while (cw_item_more(&r, &map)) {
		(void)cw_read_item(&r);
		(void)cw_item_more(&r, &map);
		(void)cw_read_whole_item(&r);
		n++;
	}
	ret->properties = rec.kind == CW_KIND_PROPERTIES ? n : 0;
	ret->events = rec.kind == CW_KIND_EVENT;
	ret->bytes = 2 * rec.body.len + (size_t)n * 40 + 160; /* about: names, {"value":..,"time":..}, identity */
	return ret->properties <= PROPERTIES_MOST;
}

static int has_room(const struct mqtt *m, const struct mqtt_pack *k, const struct load *l)
{
	return k->count < m->pack_count && k->properties + l->properties <= PROPERTIES_MOST &&
	       k->events + l->events <= EVENTS_MOST && k->bytes + l->bytes <= m->pack_bytes;
}

int mqtt_pack_take(struct mqtt *m, struct cw_updevice *d, struct cw_parcel *p)
{
	struct load l;
	struct mqtt_send *s;

	if (m->pack_count < 2 || mqtt_device_of(d)->is_bridge || !weigh(p, &l))
		return 0;
	if (m->open != NULL && !has_room(m, m->open, &l))
		close_open(m);
	if (m->open == NULL && cw_pace_window_wait(&m->pack_pace, cw_worker_now(m->u->w)) > 0)
		return 0;
	s = mqtt_send_new(m, d, p);
	if (s == NULL)
		return CW_ENOMEM;
	if (m->open == NULL) {
		m->open = new_pack(m);
		if (m->open == NULL) {
			(void)mqtt_send_end(s);
			return CW_ENOMEM;
		}
		cw_pace_window_note(&m->pack_pace, cw_worker_now(m->u->w));
		cw_timer_set(timers(m), &m->age_timer, m->pack_age_ms, on_age);
	}
	add(m->open, s);
	m->open->properties += l.properties;
	m->open->events += l.events;
	m->open->bytes += l.bytes;
	if (m->open->count == m->pack_count)
		close_open(m);
	return 1;
}

/* ---- replies ------------------------------------------------------------------------ */

static void on_late(struct cw_await_set *set, struct cw_await *a)
{
	struct mqtt *m = cw_container_of(set, struct mqtt, packs);

	all_again(m, cw_container_of(a, struct mqtt_pack, await));
}

void mqtt_pack_replied(struct mqtt *m, const struct cw_alink_reply *r)
{
	struct cw_await *a = r->has_id ? cw_await_find(&m->packs, r->id) : NULL;
	struct mqtt_pack *k;

	if (r->code == CW_CODE_OK)
		cw_count(upstream, replies_ok);
	else
		cw_count(upstream, replies_failed);
	if (a == NULL)
		return; /* a second copy, or too late: its members have gone again already */
	k = cw_container_of(a, struct mqtt_pack, await);
	cw_await_end(&m->packs, a);
	switch (cw_code_action(r->code)) {
	case CW_CODE_DONE: settle_all(m, k); return;
	case CW_CODE_LATER: all_again(m, k); return;
	default: break;
	}
	cw_log(upstream_pack_split, r->message[0] != '\0' ? r->message : cw_code_text(r->code),
	       CW_LS("upstream", m->u->conf.name), CW_LI("code", r->code), CW_LU("readings", k->count));
	split(m, k);
}

void mqtt_pack_down(struct mqtt *m)
{
	struct cw_await *a;

	/* The lane has recalled all members, so that nothing is open or ripe; what is left are replies nobody waits for. */
	cw_timer_stop(timers(m), &m->age_timer);
	while ((a = cw_await_oldest(&m->packs)) != NULL)
		all_again(m, cw_container_of(a, struct mqtt_pack, await));
}
