/*
 * lookup.c - what the sources of identities say after a device was attached: reloads, edits,
 * and the reverse look-up of downlinks.
 *
 * A recheck asks for an identity again and lets its device go only when the answer is
 * another one; that nobody could answer changes nothing.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bridge/bridge_impl.h"
#include "causeway/command.h"

/* Rechecks under way at once, of those that are not answered from memory. */
#define RECHECKS_MOST 256u
/* Downlinks that wait for an identity; more end as offline. */
#define REVERSES_MOST 1024u

struct recheck {
	struct cw_question question;
	struct cw_list link;
	struct cw_bridge *bridge;
	struct cw_reload_result *result; /* NULL: it has been reported already */
	struct cw_identity *was;         /* with removeTopology, of a device that was never attached */
	char identity[];
};

struct recheck_set {
	struct cw_list link;
	struct cw_identities *set;
	struct cw_map_node *at; /* the last one asked */
};

struct reverse {
	struct cw_question question;
	struct cw_list link;
	struct cw_bridge *bridge;
	struct cw_downlink *down;
};

void cw_lookup_init(struct cw_bridge *b)
{
	cw_list_init(&b->rechecks);
	cw_list_init(&b->reverses);
	cw_list_init(&b->recheck_sets);
}

/* ---- rechecks ------------------------------------------------------------------------ */

static void go_on(struct cw_bridge *b);

static void free_recheck(struct recheck *c)
{
	cw_identity_free(c->was);
	cw_free(c);
}

static void appeared(struct cw_bridge *b, const char *identity)
{
	if (b->conf.owner_ops->appeared != NULL)
		b->conf.owner_ops->appeared(b, identity);
}

static void judge(struct cw_bridge *b, struct recheck *c, int rc, const struct cw_identity *id)
{
	struct cw_device *d = cw_bridge_find(b, c->identity, strlen(c->identity));
	enum cw_leave why = rc == CW_OK ? CW_LEAVE_CHANGED : CW_LEAVE_REMOVED;
	int disconnected;

	if (d == NULL && rc == CW_OK)
		appeared(b, c->identity);

	if (d == NULL && c->was != NULL && rc == CW_ENOENT)
		cw_devices_forget(b, c->was);
	if (d == NULL || (rc != CW_OK && rc != CW_ENOENT) || (rc == CW_OK && cw_device_is(d, id, d->own_secret ? d->secret : NULL)))
		return;
	disconnected = cw_devices_let_go(d, why);
	if (c->result != NULL)
		c->result->disconnected += (size_t)disconnected;
	else if (disconnected)
		cw_log(identity_changed, rc == CW_OK ? "its certificate or settings are others now" : "no source knows it any more",
		       CW_LS("device", c->identity));
	if (rc == CW_OK)
		appeared(b, c->identity);
}

static void on_rechecked(struct cw_question *q, int rc, const struct cw_identity *id)
{
	struct recheck *c = cw_container_of(q, struct recheck, question);
	struct cw_bridge *b = c->bridge;

	judge(b, c, rc, id);
	cw_list_remove(&c->link);
	b->recheck_count--;
	free_recheck(c);
	go_on(b);
}

/* `id`: the entry as it is or was in the source that has changed. */
static void recheck(struct cw_bridge *b, const struct cw_identity *id, struct cw_reload_result *result)
{
	const char *identity = id->identity;
	size_t len = strlen(identity);
	int seen = cw_bridge_find(b, identity, len) != NULL;
	struct recheck *c;
	struct cw_claim claim;

	if (!seen && (!b->conf.remove_topology || id->product_key[0] == '\0')) {
		appeared(b, identity);
		return;
	}
	c = cw_zalloc(sizeof(*c) + len + 1);
	if (c == NULL) {
		cw_log(identity_later, "no memory to ask again; its old certificate stays until it attaches anew", CW_LS("identity", identity));
		return;
	}
	memcpy(c->identity, identity, len + 1);
	c->bridge = b;
	c->result = result;
	if (!seen)
		c->was = cw_identity_new(id->identity, id->product_key, id->device_name, id->device_secret, cw_bytes_of(NULL, 0));
	c->question.done = on_rechecked;
	cw_list_push_back(&b->rechecks, &c->link);
	b->recheck_count++;
	claim = (struct cw_claim){ .identity = c->identity, .identity_len = len };
	cw_resolver_ask(b->resolver, &claim, &c->question);
}

/* The next ones of the sets that wait. Not from within itself: an answer from memory comes before recheck() returns. */
static void go_on(struct cw_bridge *b)
{
	struct cw_list *e;

	if (b->going_on)
		return;
	b->going_on = 1;
	while (b->recheck_count < RECHECKS_MOST && (e = cw_list_first(&b->recheck_sets)) != NULL) {
		struct recheck_set *s = cw_container_of(e, struct recheck_set, link);

		s->at = cw_map_next(&s->set->by_identity, s->at);
		if (s->at != NULL) {
			recheck(b, cw_container_of(s->at, struct cw_identity, by_identity), NULL);
			continue;
		}
		cw_list_remove(&s->link);
		cw_identities_free(s->set);
		cw_free(s);
	}
	b->going_on = 0;
}

void cw_bridge_recheck_set(struct cw_bridge *b, struct cw_identities *set)
{
	struct recheck_set *s = cw_zalloc(sizeof(*s));

	if (s == NULL) {
		cw_log(identity_later, "no memory to ask again; old certificates stay until their devices attach anew");
		cw_identities_free(set);
		return;
	}
	s->set = set;
	cw_list_push_back(&b->recheck_sets, &s->link);
	go_on(b);
}

/* ---- the file ------------------------------------------------------------------------- */

/* What is gone or another. */
static void compare_old(struct cw_bridge *b, const struct cw_identities *old, const struct cw_identities *fresh, struct cw_reload_result *res)
{
	struct cw_map_node *n;

	cw_map_each(n, &old->by_identity) {
		const struct cw_identity *before = cw_container_of(n, struct cw_identity, by_identity);
		const struct cw_identity *now = cw_identities_find(fresh, n->key, n->key_len);

		if (now != NULL && cw_identity_same(before, now)) {
			res->unchanged++;
			continue;
		}
		if (now == NULL)
			res->removed++;
		else
			res->changed++;
		recheck(b, before, res);
	}
}

/* What is new here; another source may have had it, with another certificate. */
static void compare_fresh(struct cw_bridge *b, const struct cw_identities *old, const struct cw_identities *fresh, struct cw_reload_result *res)
{
	struct cw_map_node *n;

	res->added = fresh->count - res->unchanged - res->changed;
	if (res->added == 0)
		return;
	cw_map_each(n, &fresh->by_identity)
		if (cw_identities_find(old, n->key, n->key_len) == NULL)
			recheck(b, cw_container_of(n, struct cw_identity, by_identity), res);
}

void cw_bridge_swap_identities(struct cw_bridge *b, struct cw_identities *fresh, struct cw_reload_result *ret_result)
{
	struct cw_identities *old = cw_file_source_swap(b->devices_file, fresh);
	struct cw_list *e;

	if (!b->devices_added)
		(void)cw_bridge_add_devices(b);
	memset(ret_result, 0, sizeof(*ret_result));
	ret_result->skipped = fresh->skipped;
	compare_old(b, old, fresh, ret_result);
	compare_fresh(b, old, fresh, ret_result);
	cw_list_each(e, &b->rechecks) /* those that a slower source has yet to answer */
		cw_container_of(e, struct recheck, link)->result = NULL;
	cw_gauge_add(bridge, devices_known, (int64_t)fresh->count - (int64_t)old->count);
	cw_identities_free(old);
}

/* ---- downlinks ---------------------------------------------------------------------------- */

static void hand_over(struct reverse *v, struct cw_device *d)
{
	struct cw_bridge *b = v->bridge;
	struct cw_downlink *down = v->down;

	cw_list_remove(&v->link);
	b->reverse_count--;
	cw_free(v);
	if (d == NULL)
		d = cw_devices_find_name(b, down->product_key, down->device_name); /* attached meanwhile */
	cw_command_for(b, d, down);
}

static void on_reversed(struct cw_question *q, int rc, const struct cw_identity *id)
{
	struct reverse *v = cw_container_of(q, struct reverse, question);

	hand_over(v, rc == CW_OK ? cw_bridge_find(v->bridge, id->identity, strlen(id->identity)) : NULL);
}

void cw_lookup_downlink(struct cw_bridge *b, struct cw_downlink *down)
{
	struct reverse *v = b->reverse_count < REVERSES_MOST ? cw_zalloc(sizeof(*v)) : NULL;

	if (v == NULL) {
		cw_command_for(b, NULL, down);
		return;
	}
	v->bridge = b;
	v->down = down;
	v->question.done = on_reversed;
	cw_list_push_back(&b->reverses, &v->link);
	b->reverse_count++;
	cw_resolver_ask_name(b->resolver, down->product_key, down->device_name, &v->question);
}

void cw_lookup_upstream_gone(struct cw_bridge *b, const struct cw_upstream *u)
{
	struct cw_list *e, *next;

	cw_list_each_safe(e, next, &b->reverses) {
		struct reverse *v = cw_container_of(e, struct reverse, link);
		struct cw_downlink *down = v->down;

		if (down->from != u)
			continue;
		cw_resolver_cancel(b->resolver, &v->question);
		cw_list_remove(&v->link);
		b->reverse_count--;
		cw_free(v);
		cw_command_for(b, NULL, down); /* ends as offline */
	}
}

void cw_lookup_fini(struct cw_bridge *b)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&b->rechecks)) != NULL) {
		struct recheck *c = cw_container_of(e, struct recheck, link);

		cw_resolver_cancel(b->resolver, &c->question);
		free_recheck(c);
	}
	while ((e = cw_list_pop(&b->reverses)) != NULL) {
		struct reverse *v = cw_container_of(e, struct reverse, link);

		cw_resolver_cancel(b->resolver, &v->question);
		cw_downlink_free(v->down);
		cw_free(v);
	}
	while ((e = cw_list_pop(&b->recheck_sets)) != NULL) {
		struct recheck_set *s = cw_container_of(e, struct recheck_set, link);

		cw_identities_free(s->set);
		cw_free(s);
	}
}
