/* session.c - who is online through which link, subscriptions, and what is kept for those away; see cloud.h. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/fault/disturb.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/traffic/violations.h"

#define STORE_MS          (7LL * 24 * 3600 * 1000)
#define SUBSCRIBE_REFUSED 0x80 /* in SUBACK */

void cw_cloud_link_init(struct cw_cloud *c, struct cloud_link *l, const struct cloud_link_ops *ops, int tls)
{
	memset(l, 0, sizeof(*l));
	l->ops = ops;
	l->tls = tls;
	l->members_max = c->conf.limits.members;
	cw_list_init(&l->members);
	cw_list_push_back(&c->links, &l->all);
}

void cw_cloud_link_fini(struct cloud_link *l)
{
	cw_invariant(l->owner == NULL);
	cw_list_remove(&l->all);
}

static void drop_subs(struct cloud_device *d)
{
	while (d->sub_count > 0)
		cw_free(d->subs[--d->sub_count].filter);
}

static void drop_stored(struct cloud_device *d)
{
	struct cw_list *e;

	d->stored_gone |= d->stored_count != 0;
	while ((e = cw_list_pop(&d->stored)) != NULL) {
		struct cloud_stored *s = cw_container_of(e, struct cloud_stored, link);

		cw_cloud_msg_unref(s->msg);
		cw_free(s);
	}
	d->stored_count = 0;
}

void cw_cloud_session_forget(struct cw_cloud *c, struct cloud_device *session)
{
	session->persistent = 0;
	drop_subs(session);
	drop_stored(session);
	cw_cloud_changed(c, session);
}

/* Common to both ways of being online. Returns 1 when state of an earlier session exists. */
static int begin(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct cloud_login *login)
{
	int present = d->persistent && !login->clean;
	struct cloud_device *name = cw_cloud_name_of(d);

	if (!present) {
		drop_subs(d);
		drop_stored(d);
	}
	d->persistent = !login->clean;
	d->ss = login->ss;
	d->ext = login->ext;
	cw_free(d->client_id);
	d->client_id = cw_strndup(login->client_id, login->client_id_len);
	d->link = l;
	d->online_ms = cw_cloud_wall_ms(c);
	name->online_ms = d->online_ms;
	if (name->active_ms == 0)
		name->active_ms = d->online_ms;
	cw_cloud_changed(c, d);
	cw_log(cloud_device, "online", CW_LS("device", d->id), CW_LS("channel", l->ops->channel));
	return present;
}

static void end(struct cw_cloud *c, struct cloud_device *d, const char *reason)
{
	cw_cloud_disturb_session_gone(c, d);
	d->half_until_ms = 0;
	d->link = NULL;
	d->offline_ms = cw_cloud_wall_ms(c);
	cw_cloud_name_of(d)->offline_ms = d->offline_ms;
	if (!d->persistent) {
		drop_subs(d);
		drop_stored(d);
	}
	cw_cloud_changed(c, d);
	cw_log(cloud_device, "offline", CW_LS("device", d->id), CW_LS("reason", reason));
}

int cw_cloud_link_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct cloud_login *login)
{
	int present;

	if (d->link != NULL) {
		c->stats.kicks++;
		cw_cloud_session_kick(c, d, 427, "the same identity connected again");
	}
	present = begin(c, l, d, login);
	l->owner = d;
	l->last = cw_cloud_name_of(d);
	l->last_of = c->deletions;
	l->since_ms = d->online_ms;
	c->stats.connects++;
	return present;
}

void cw_cloud_link_adopt(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d)
{
	if (d->link != NULL) {
		c->stats.kicks++;
		cw_cloud_device_kick(c, d, 427, "the same identity connected again");
	}
	d->link = l;
	d->persistent = 1; /* a bridge's subscriptions belong to its identity */
	l->owner = d;
	l->last = d;
	l->last_of = c->deletions;
	l->resting = 1;
}

void cw_cloud_link_wake(struct cw_cloud *c, struct cloud_link *l, const struct cloud_login *login)
{
	(void)begin(c, l, l->owner, login);
	l->resting = 0;
	l->goodbye = 0;
	l->since_ms = l->owner->online_ms;
	c->stats.connects++;
}

void cw_cloud_link_rest(struct cw_cloud *c, struct cloud_link *l, const char *reason)
{
	end(c, l->owner, reason);
	l->owner->half_until_ms = l->goodbye ? 0 : cw_cloud_now_ms(c) + l->keep_alive_ms;
	l->owner->link = l;
	l->resting = 1;
}

void cw_cloud_stored_drop(struct cw_cloud *c, struct cloud_device *d, int sent)
{
	struct cloud_stored *s = cw_container_of(cw_list_pop(&d->stored), struct cloud_stored, link);

	d->stored_count--;
	d->stored_gone = 1;
	cw_cloud_changed(c, d);
	if (sent)
		c->stats.pushed++;
	else
		c->stats.undeliverable++;
	cw_cloud_msg_unref(s->msg);
	cw_free(s);
}

struct cloud_msg *cw_cloud_stored_next(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_list *e;

	while ((e = cw_list_first(&d->stored)) != NULL) {
		struct cloud_stored *s = cw_container_of(e, struct cloud_stored, link);

		if (s->until_ms > cw_cloud_wall_ms(c))
			return s->msg;
		cw_cloud_stored_drop(c, d, 0);
	}
	return NULL;
}

int cw_cloud_stored_full(struct cw_cloud *c, struct cloud_device *d)
{
	if (d->stored_count == CLOUD_STORED_MAX)
		(void)cw_cloud_stored_next(c, d);
	return d->stored_count == CLOUD_STORED_MAX;
}

void cw_cloud_link_ready(struct cw_cloud *c, struct cloud_device *d)
{
	struct cloud_msg *msg;

	while (d->link != NULL && (msg = cw_cloud_stored_next(c, d)) != NULL) {
		int sent = cw_container_of(cw_list_first(&d->stored), struct cloud_stored, link)->sent;

		msg->refs++; /* out of the list before push(), which may end the session */
		cw_cloud_stored_drop(c, d, 1);
		(void)cw_cloud_push(c, d->link, d, msg, sent);
		cw_cloud_msg_unref(msg);
	}
	if (d->link != NULL)
		cw_cloud_ota_online(c, cw_cloud_name_of(d));
}

void cw_cloud_visit(struct cw_cloud *c, struct cloud_device *d, const char *channel, const struct cloud_text *client_id,
                    uint64_t for_ms)
{
	int64_t now = cw_cloud_wall_ms(c);

	if (d->link == NULL && d->visit_until_ms <= now) {
		d->online_ms = now;
		cw_log(cloud_device, "online", CW_LS("device", d->id), CW_LS("channel", channel));
	}
	if (d->active_ms == 0)
		d->active_ms = now;
	if (d->link == NULL) {
		cw_free(d->client_id);
		d->client_id = cw_strndup(client_id->s, client_id->len);
	}
	d->visit_channel = channel;
	d->visit_until_ms = now + (int64_t)for_ms;
	cw_cloud_changed(c, d);
}

void cw_cloud_link_down(struct cw_cloud *c, struct cloud_link *l, const char *reason)
{
	uint64_t half_ms = l->goodbye ? 0 : cw_cloud_now_ms(c) + l->keep_alive_ms;
	struct cloud_device *owner = l->owner;
	struct cw_list *e;

	if (owner == NULL)
		return;
	while ((e = cw_list_first(&l->members)) != NULL) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, member);

		cw_cloud_member_down(c, d, 0);
		d->half_until_ms = half_ms;
	}
	l->ops->forget(l, owner, owner->persistent);
	cw_cloud_disturb_link_gone(c, l);
	l->owner = NULL;
	l->last = NULL;
	if (l->resting) {
		owner->link = NULL;
	} else {
		end(c, owner, reason);
		owner->half_until_ms = half_ms;
	}
	l->resting = 0;
}

void cw_cloud_member_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct cloud_login *login)
{
	(void)begin(c, l, d, login);
	cw_list_push_back(&l->members, &d->member);
	l->member_count++;
}

void cw_cloud_member_down(struct cw_cloud *c, struct cloud_device *d, int code)
{
	struct cloud_link *l = d->link;

	if (l == NULL || l->owner == d)
		return;
	l->ops->forget(l, d, d->persistent);
	cw_list_remove(&d->member);
	l->member_count--;
	end(c, d, code == 0 ? "logged out" : cw_cloud_code_text(code));
	if (code != 0) {
		c->stats.kicks++;
		cw_cloud_send_error(c, l->owner, d, code, NULL);
	}
}

void cw_cloud_session_kick(struct cw_cloud *c, struct cloud_device *d, int code, const char *reason)
{
	struct cloud_link *l = d->link;

	if (l == NULL)
		return;
	if (l->owner != d) {
		cw_cloud_member_down(c, d, code);
		return;
	}
	l->goodbye = 1;
	cw_cloud_link_down(c, l, reason);
	l->ops->close(l, reason);
}

void cw_cloud_device_kick(struct cw_cloud *c, struct cloud_device *d, int code, const char *reason)
{
	struct cloud_device *s;
	unsigned at = 0;

	cw_cloud_session_kick(c, d, code, reason);
	while ((s = cw_cloud_next_session(d, &at)) != NULL)
		cw_cloud_session_kick(c, s, code, reason);
}

/* ---- limits ---- */

int cw_cloud_rate_ok(struct cw_cloud *c, struct cloud_rate *r, unsigned limit)
{
	uint64_t now = cw_cloud_now_ms(c), oldest;

	if (!c->conf.limits.documented || limit == 0)
		return 1;
	if (limit > CLOUD_RATE_SLOTS)
		limit = CLOUD_RATE_SLOTS;
	/* The attempt `limit` attempts ago must be more than a minute old; 0: there was none. */
	oldest = r->at_ms[(r->next + CLOUD_RATE_SLOTS - limit) % CLOUD_RATE_SLOTS];
	if (oldest != 0 && now - oldest < 60000)
		return 0;
	r->at_ms[r->next] = now != 0 ? now : 1;
	r->next = (r->next + 1) % CLOUD_RATE_SLOTS;
	return 1;
}

int cw_cloud_window_ok(struct cw_cloud *c, struct cloud_window *w, unsigned limit)
{
	uint64_t second = cw_cloud_now_ms(c) / 1000;

	if (!c->conf.limits.documented || limit == 0)
		return 1;
	if (second != w->second)
		*w = (struct cloud_window){ second, 0 };
	return w->count < limit && ++w->count != 0;
}

const char *cw_cloud_connect_limit(struct cw_cloud *c, struct cloud_device *session)
{
	if (!cw_cloud_window_ok(c, &c->account_connects, c->conf.limits.account_connects)) {
		cw_cloud_violation(c, session, "accountConnects", "refused");
		return "too many CONNECTs a second of the account";
	}
	if (!cw_cloud_rate_ok(c, &session->connects, c->conf.limits.connect_per_minute)) {
		cw_cloud_violation(c, session, "connectPerMinute", "refused");
		return "too many CONNECTs a minute";
	}
	return NULL;
}

/* ---- subscriptions ---- */

/* A product of the owner, or of a device that is logged in behind it. */
static int is_product_on(const struct cloud_link *l, const struct cloud_text *pk)
{
	struct cw_list *e;

	if (cw_cloud_text_is(pk, l->owner->product->key))
		return 1;
	cw_list_each (e, &l->members)
		if (cw_cloud_text_is(pk, cw_container_of(e, struct cloud_device, member)->product->key))
			return 1;
	return 0;
}

/* Whose filter is it? NULL when it belongs to nobody on this link, or may not be; then *ret_why is set. */
static struct cloud_device *filter_owner(struct cw_cloud *c, struct cloud_link *l, const char *filter, size_t len,
                                         const char **ret_why)
{
	struct cloud_topic t;
	struct cloud_device *d;

	*ret_why = "subscription refused: not a topic of this device";
	cw_cloud_topic_parse(filter, len, &t);
	if (t.kind == CLOUD_TOPIC_BAD || l->owner == NULL)
		return NULL;
	if (t.kind == CLOUD_TOPIC_BROADCAST)
		return is_product_on(l, &t.pk) ? l->owner : NULL;
	if (t.kind == CLOUD_TOPIC_CUSTOM &&
	    (!cw_cloud_custom_valid(t.rest.s, t.rest.len, 1) ||
	     !cw_cloud_topic_fits(filter, len, c->conf.limits.topic_bytes, c->conf.limits.topic_slashes))) {
		*ret_why = "subscription refused: custom topic too long, too deep or illegal";
		return NULL;
	}
	d = cw_cloud_device_find(c, t.pk.s, t.pk.len, t.dn.s, t.dn.len);
	return d != NULL ? cw_cloud_session_on(l, d) : NULL;
}

static unsigned find_sub(const struct cloud_device *d, const char *filter, size_t len)
{
	unsigned i;

	for (i = 0; i < d->sub_count; i++) {
		if (strlen(d->subs[i].filter) == len && memcmp(d->subs[i].filter, filter, len) == 0)
			break;
	}
	return i;
}

int cw_cloud_sub_add(struct cw_cloud *c, struct cloud_device *d, const char *filter, size_t len)
{
	struct cloud_sub *s;

	if (d->sub_count >= c->conf.limits.subscriptions)
		return CW_ELIMIT;
	if (d->sub_count == d->sub_room) {
		unsigned room = d->sub_room != 0 ? 2 * d->sub_room : 4;

		s = cw_realloc(d->subs, room * sizeof(*s));
		if (s == NULL)
			return CW_ENOMEM;
		d->subs = s;
		d->sub_room = room;
	}
	s = &d->subs[d->sub_count];
	s->filter = cw_strndup(filter, len);
	if (s->filter == NULL)
		return CW_ENOMEM;
	s->from_ms = cw_cloud_now_ms(c) + c->conf.switches.subscribe_delay_ms;
	d->sub_count++;
	return 0;
}

uint8_t cw_cloud_subscribe(struct cw_cloud *c, struct cloud_link *l, const char *filter, size_t len, uint8_t qos)
{
	const char *why = "subscription refused: the wildcards are malformed";
	struct cloud_device *d = cw_cloud_filter_valid(filter, len) ? filter_owner(c, l, filter, len, &why) : NULL;
	struct cloud_device *asker = cw_cloud_name_of(l->owner);
	int rc = CW_EINVAL;

	if (d != NULL && find_sub(d, filter, len) < d->sub_count) {
		rc = 0;
	} else if (d != NULL) {
		rc = cw_cloud_sub_add(c, d, filter, len);
		if (rc == 0 && d->persistent)
			cw_cloud_changed(c, d);
		if (rc == 0)
			cw_cloud_ota_subscribed(c, cw_cloud_name_of(d));
	}
	if (rc == 0)
		return qos > 1 ? 1 : qos;
	if (rc == CW_ELIMIT)
		cw_cloud_violation(c, asker, "subscriptions", "refused");
	if (d != NULL)
		why = rc == CW_ELIMIT ? "subscription refused: too many of this device" : "subscription refused: out of memory";
	c->stats.subscribes_refused++;
	cw_cloud_device_refused(c, asker, SUBSCRIBE_REFUSED, why);
	cw_log(cloud_dropped, why, CW_LS("device", asker->id), CW_LB("topic", filter, len));
	return SUBSCRIBE_REFUSED;
}

void cw_cloud_unsubscribe(struct cw_cloud *c, struct cloud_link *l, const char *filter, size_t len)
{
	const char *why;
	struct cloud_device *d = filter_owner(c, l, filter, len, &why);
	unsigned i;

	if (d == NULL)
		return;
	i = find_sub(d, filter, len);
	if (i == d->sub_count)
		return;
	cw_free(d->subs[i].filter);
	d->subs[i] = d->subs[--d->sub_count];
	if (d->persistent)
		cw_cloud_changed(c, d);
}

int cw_cloud_device_subscribed(struct cw_cloud *c, const struct cloud_device *d, const char *topic, size_t len)
{
	unsigned i;

	for (i = 0; i < d->sub_count; i++) {
		const struct cloud_sub *s = &d->subs[i];

		if (s->from_ms <= cw_cloud_now_ms(c) && cw_cloud_topic_matches(s->filter, strlen(s->filter), topic, len))
			return 1;
	}
	return 0;
}

/* ---- kept messages ---- */

static struct cloud_stored *keep(struct cw_cloud *c, struct cloud_device *d, struct cloud_msg *msg, int64_t until_ms, int sent)
{
	struct cloud_stored *s = d->stored_count < CLOUD_STORED_MAX ? cw_zalloc(sizeof(*s)) : NULL;

	if (s == NULL) {
		c->stats.undeliverable++;
		return NULL;
	}
	s->msg = msg;
	msg->refs++;
	s->sent = sent;
	s->until_ms = until_ms;
	cw_list_push_back(&d->stored, &s->link);
	d->stored_count++;
	return s;
}

void cw_cloud_store(struct cw_cloud *c, struct cloud_device *d, struct cloud_msg *msg, int sent)
{
	if (keep(c, d, msg, cw_cloud_wall_ms(c) + STORE_MS, sent) == NULL)
		return;
	c->stats.stored++;
	cw_cloud_changed(c, d);
}

void cw_cloud_stored_load(struct cw_cloud *c, struct cloud_device *d, const char *topic, const void *payload, size_t len,
                          uint8_t qos, int64_t until_ms, int sent)
{
	struct cloud_msg *msg = cw_cloud_msg_new(topic, strlen(topic), payload, len, qos);
	struct cloud_stored *s = msg != NULL ? keep(c, d, msg, until_ms, sent) : NULL;

	if (s != NULL)
		s->saved = 1;
	cw_cloud_msg_unref(msg);
}
