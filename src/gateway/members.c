/*
 * members.c - all devices of a prefix on one connection (CW_IDENTIFY_MEMBERS), on the control loop.
 *
 * A `roll` is one prefix of one session: the sources are asked who begins with it, each that is not on the session yet is
 * attached as if the decoder had asked for it alone, and when the last has its outcome the decoder is told how many there
 * are. The roll stays until the session ends or another session asks for the same prefix (the same DTU has dialled in
 * again): entries that appear meanwhile are attached by themselves, those that go take the way of all devices.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "gateway/gateway_impl.h"

/* Members of one session, and prefixes it may ask for. */
#define MEMBERS_MOST 300u
#define ROLLS_MOST 8u

struct roll;

/* A session that has rolls. */
struct roster {
	struct cw_map_node node;
	struct {
		uint64_t session, worker;
	} key;
	struct cw_gateway *gateway;
	struct gw_worker *gw;
	struct cw_list rolls;
	size_t count;    /* rolls */
	size_t members;  /* ties, also those whose attach is open */
};

struct roll {
	struct cw_map_node node; /* by prefix */
	struct cw_list link;     /* the roster's */
	struct roster *of;
	struct binding *binding;
	struct cw_listing listing;
	struct ask *ask;         /* the decoder's, until it is answered */
	struct cw_list asks;     /* struct ask of members, under way */
	int count;               /* found by this ask */
	int busy;                /* the names are being gone through */
	uint8_t length;
	char prefix[];
};

static struct roster *find_roster(struct cw_gateway *g, const struct gw_worker *gw, uint64_t session)
{
	uint64_t key[2] = { session, gw->index };
	struct cw_map_node *n = cw_map_find(&g->rosters, key, sizeof(key));

	return n == NULL ? NULL : cw_container_of(n, struct roster, node);
}

static struct roll *find_roll(struct cw_gateway *g, const char *prefix, size_t len)
{
	struct cw_map_node *n = cw_map_find(&g->rolls, prefix, len);

	return n == NULL ? NULL : cw_container_of(n, struct roll, node);
}

/* ---- members ------------------------------------------------------------------------- */

static void end_if_done(struct roll *r)
{
	struct ask *k = r->ask;

	if (k == NULL || r->busy || r->listing.token != 0 || !cw_list_empty(&r->asks))
		return;
	r->ask = NULL;
	k->count = r->count;
	gw_answer(k, 0);
}

struct roll *gw_roll_leave(struct ask *k, int refused)
{
	struct roll *r = k->roll;

	if (r == NULL)
		return NULL; /* of kept frames, or the roll has gone */
	if (refused == 0)
		cw_count(bridge, members_attached);
	cw_list_remove(&k->in_roll);
	k->roll = NULL;
	r->count += refused == 0;
	return r;
}

void gw_roll_go_on(struct roll *r)
{
	if (r != NULL)
		end_if_done(r);
}

void gw_member_tied(const struct tie *t, int how_many)
{
	struct roster *o = find_roster(t->gateway, t->gw, t->session);

	if (o != NULL)
		o->members += (size_t)how_many;
}

/* 1: the session is the way to it, or is about to be. */
static int is_here(const struct roll *r, const char *identity)
{
	const struct cw_device *d = cw_bridge_find(r->of->gateway->conf.bridge, identity, strlen(identity));
	const struct tie *t = d == NULL || cw_device_leaves(d) ? NULL : cw_device_owner(d);
	struct cw_list *e;

	if (t != NULL && t->gw == r->of->gw && t->session == r->of->key.session)
		return 1;
	cw_list_each(e, &r->asks)
		if (strcmp(cw_container_of(e, struct ask, in_roll)->identity, identity) == 0)
			return 1;
	return 0;
}

static void warn_limit(const struct roll *r)
{
	cw_log(members_limit, "the others are left out; spread them over more connections", CW_LB("prefix", r->prefix, r->length),
	       CW_LS("listener", r->binding->name), CW_LU("most", MEMBERS_MOST));
}

/* 0, or CW_ELIMIT. */
static int add_member(struct roll *r, const char *identity)
{
	size_t len = strlen(identity);
	struct ask *k;

	if (r->of->members >= MEMBERS_MOST)
		return CW_ELIMIT;
	k = cw_zalloc(sizeof(*k) + len + 1);
	if (k == NULL) {
		cw_log(identity_later, cw_error_text(CW_ENOMEM), CW_LS("identity", identity));
		return 0;
	}
	k->gw = r->of->gw;
	k->session = r->of->key.session;
	k->binding = r->binding;
	k->optional = k->unasked = 1;
	k->identity_len = len;
	memcpy(k->identity, identity, len);
	k->roll = r;
	cw_list_push_back(&r->asks, &k->in_roll);
	gw_attach_in_turn(k);
	return 0;
}

static void on_listed(struct cw_listing *q, int rc, const struct cw_names *names)
{
	struct roll *r = cw_container_of(q, struct roll, listing);
	int over = names->more;
	size_t i;

	if (rc < 0)
		cw_log(identity_later, cw_error_text(rc), CW_LB("prefix", r->prefix, r->length), CW_LS("listener", r->binding->name));
	if (rc < 0 && names->count == 0) {
		struct ask *k = r->ask;

		r->ask = NULL;
		gw_answer(k, CW_REFUSED_LATER);
		return;
	}
	r->busy = 1;
	for (i = 0; i < names->count; i++) {
		if (is_here(r, names->items[i]))
			r->count++;
		else
			over |= add_member(r, names->items[i]) < 0;
	}
	r->busy = 0;
	if (over)
		warn_limit(r);
	end_if_done(r);
}

/* ---- rolls ------------------------------------------------------------------------------- */

/* What is under way goes on as if the decoder had asked for it. */
static void unlink_roll(struct roll *r)
{
	struct cw_gateway *g = r->of->gateway;
	struct cw_list *e;

	cw_resolver_list_cancel(cw_bridge_resolver(g->conf.bridge), &r->listing);
	while ((e = cw_list_pop(&r->asks)) != NULL)
		cw_container_of(e, struct ask, in_roll)->roll = NULL;
	cw_map_remove(&g->rolls, &r->node);
	g->roll_lengths[r->length]--;
	cw_list_remove(&r->link);
	r->of->count--;
}

static void drop_roll(struct roll *r)
{
	unlink_roll(r);
	if (r->ask != NULL)
		gw_answer(r->ask, CW_REFUSED_LATER);
	cw_free(r);
}

static struct roster *make_roster(struct cw_gateway *g, const struct ask *k)
{
	struct roster *o = find_roster(g, k->gw, k->session);

	if (o != NULL)
		return o;
	o = cw_zalloc(sizeof(*o));
	if (o == NULL)
		return NULL;
	o->gateway = g;
	o->gw = k->gw;
	o->key.session = k->session;
	o->key.worker = k->gw->index;
	cw_list_init(&o->rolls);
	if (cw_map_add(&g->rosters, &o->node, &o->key, sizeof(o->key)) < 0) {
		cw_free(o);
		return NULL;
	}
	return o;
}

static struct roll *make_roll(struct roster *o, const struct ask *k)
{
	struct cw_gateway *g = o->gateway;
	struct roll *r = o->count >= ROLLS_MOST ? NULL : cw_zalloc(sizeof(*r) + k->identity_len);

	if (r == NULL)
		return NULL;
	r->of = o;
	r->binding = k->binding;
	r->length = (uint8_t)k->identity_len;
	memcpy(r->prefix, k->identity, k->identity_len);
	cw_list_init(&r->asks);
	if (cw_map_add(&g->rolls, &r->node, r->prefix, r->length) < 0) {
		cw_free(r);
		return NULL;
	}
	g->roll_lengths[r->length]++;
	cw_list_push_back(&o->rolls, &r->link);
	o->count++;
	return r;
}

void gw_members_ask(struct ask *k)
{
	struct cw_gateway *g = k->gw->gateway;
	struct roster *o = make_roster(g, k);
	struct roll *r = find_roll(g, k->identity, k->identity_len);

	cw_count(bridge, members_asked);
	if (r != NULL && r->of != o) {
		drop_roll(r); /* its members follow: each is taken over when it is attached here */
		r = NULL;
	}
	if (r == NULL && o != NULL)
		r = make_roll(o, k);
	if (r == NULL || r->ask != NULL) {
		gw_answer(k, CW_REFUSED_LATER);
		return;
	}
	r->ask = k;
	r->count = 0;
	r->listing.done = on_listed;
	r->listing.most = MEMBERS_MOST;
	cw_resolver_list(cw_bridge_resolver(g->conf.bridge), r->prefix, r->length, &r->listing);
}

void gw_members_appeared(struct cw_gateway *g, const char *identity)
{
	size_t len = strlen(identity), n;

	if (g->rolls.count == 0)
		return;
	for (n = 1; n <= len && n <= CW_IDENTITY_MAX; n++) {
		struct roll *r = g->roll_lengths[n] == 0 ? NULL : find_roll(g, identity, n);

		if (r == NULL || r->listing.token != 0 || is_here(r, identity))
			continue;
		if (add_member(r, identity) < 0)
			warn_limit(r);
	}
}

/* ---- sessions ------------------------------------------------------------------------------ */

struct ended {
	struct cw_mail mail;
	struct gw_worker *gw;
	uint64_t session;
};

static void free_roster(struct roster *o)
{
	cw_map_remove(&o->gateway->rosters, &o->node);
	cw_free(o);
}

static void on_ended(struct cw_mail *mail)
{
	struct ended *m = cw_container_of(mail, struct ended, mail);
	struct roster *o = find_roster(m->gw->gateway, m->gw, m->session);

	if (o != NULL) {
		while (!cw_list_empty(&o->rolls))
			drop_roll(cw_container_of(cw_list_first(&o->rolls), struct roll, link));
		free_roster(o);
	}
	cw_free(m);
}

void gw_post_members_ended(struct link *l)
{
	struct ended *m = cw_zalloc(sizeof(*m));

	cw_invariant(m != NULL); /* the prefix would be taken for ever */
	m->gw = l->gw;
	m->session = l->id;
	cw_post(l->gw->gateway->conf.control, &m->mail, on_ended);
}

void gw_members_fini(struct cw_gateway *g)
{
	struct cw_map_node *n;

	while ((n = cw_map_next(&g->rosters, NULL)) != NULL) {
		struct roster *o = cw_container_of(n, struct roster, node);
		struct cw_list *e;

		while ((e = cw_list_first(&o->rolls)) != NULL) {
			struct roll *r = cw_container_of(e, struct roll, link);

			unlink_roll(r);
			if (r->ask != NULL)
				gw_free_ask(r->ask);
			cw_free(r);
		}
		free_roster(o);
	}
	cw_map_fini(&g->rosters);
	cw_map_fini(&g->rolls);
}
