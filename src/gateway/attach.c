/*
 * attach.c - from "who is this?" on a worker to the bridge and back.
 *
 * worker: gw_ask() mails an ask; control: looks the identity up or attaches it, fills
 * the ask and mails it back; worker: on_answer() tells the decoder. The worker may
 * have lost the session meanwhile: then it says `left` at once. On the control loop
 * a device is owned by a tie, known to the worker by its number; a `left` for a
 * number that is gone is ignored, so crossing mails are harmless.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "gateway/gateway_impl.h"

/* One log line a minute for each unknown identity (by hash). */
#define UNKNOWN_LOG_MS 60000u

/* ---- ties (control loop) -------------------------------------------------------- */

static struct tie *find_tie(struct cw_gateway *g, uint64_t id)
{
	struct cw_map_node *n = cw_map_find(&g->ties, &id, sizeof(id));

	return n == NULL ? NULL : cw_container_of(n, struct tie, node);
}

static void free_tie(struct tie *t)
{
	if (t->is_member)
		gw_member_tied(t, -1);
	cw_map_remove(&t->gateway->ties, &t->node);
	cw_free(t);
}

void gw_free_ask(struct ask *k)
{
	cw_free(k->found);
	cw_free(k->settings);
	explicit_bzero(k->secret, sizeof(k->secret));
	cw_free(k);
}

void cw_gateway_drop_ties(struct cw_gateway *g)
{
	struct cw_map_node *n;
	struct cw_list *e;

	gw_members_fini(g);
	gw_pending_drop_all(g);
	while ((e = cw_list_pop(&g->lookups)) != NULL) {
		struct ask *k = cw_container_of(e, struct ask, link);

		cw_resolver_cancel(cw_bridge_resolver(g->conf.bridge), &k->question);
		gw_free_ask(k);
	}
	/* Always the first: what one leaves may be given to another, or end another. */
	while ((n = cw_map_next(&g->ties, NULL)) != NULL) {
		struct tie *t = cw_container_of(n, struct tie, node);

		if (t->device != NULL)
			cw_bridge_left(g->conf.bridge, t->device, t);
		else
			cw_bridge_attach_cancel(&t->ask->attach); /* no device, so it is open */
		if (t->ask != NULL)
			gw_free_ask(t->ask);
		free_tie(t);
	}
}

/* left, or moved */
struct left {
	struct cw_mail mail;
	struct cw_gateway *gateway;
	uint64_t tie;
	uint32_t linger_ms;
};

static void on_left(struct cw_mail *mail)
{
	struct left *m = cw_container_of(mail, struct left, mail);
	struct tie *t = find_tie(m->gateway, m->tie);

	if (t != NULL) {
		if (t->device != NULL)
			cw_bridge_left_for(m->gateway->conf.bridge, t->device, t, m->linger_ms);
		else
			cw_bridge_attach_cancel(&t->ask->attach); /* no device, so it is open */
		if (t->ask != NULL)                               /* overtaken while it waited */
			gw_answer(t->ask, CW_REFUSED_LATER);
		free_tie(t);
	}
	cw_free(m);
}

void gw_post_left(struct gw_worker *gw, uint64_t tie, uint32_t linger_ms)
{
	struct left *m = cw_alloc(sizeof(*m));

	/* Without this mail the directory would believe in a dead session for ever. */
	cw_invariant(m != NULL);
	m->gateway = gw->gateway;
	m->tie = tie;
	m->linger_ms = linger_ms;
	cw_post(gw->gateway->conf.control, &m->mail, on_left);
}

static void on_moved(struct cw_mail *mail)
{
	struct left *m = cw_container_of(mail, struct left, mail);
	struct tie *t = find_tie(m->gateway, m->tie);
	struct cw_device *d = t == NULL ? NULL : t->device != NULL ? t->device : t->ask->attach.device;

	if (d != NULL)
		cw_bridge_moved(m->gateway->conf.bridge, d, t);
	cw_free(m);
}

void gw_post_moved(struct gw_worker *gw, uint64_t tie)
{
	struct left *m = cw_alloc(sizeof(*m));

	cw_invariant(m != NULL); /* the device would wait for ever */
	m->gateway = gw->gateway;
	m->tie = tie;
	cw_post(gw->gateway->conf.control, &m->mail, on_moved);
}

/* ---- the answer (worker) ----------------------------------------------------------- */

/* Settings of the device's own, NULL when it has none. */
static void *own_settings(struct link *l, struct ask *k)
{
	struct cw_msg msg;
	void *conf = NULL;

	if (k->settings != NULL &&
	    cw_runner_settings(l->gw->runners[l->binding->protocol_index], cw_bytes_of(k->settings, k->settings_len), &conf, &msg) < 0)
		cw_log(conf_warning, msg.text, CW_LB("device", k->identity, k->identity_len));
	return conf;
}

static struct attachee *new_attachee(struct link *l, struct ask *k)
{
	struct attachee *a = cw_zalloc(sizeof(*a));

	if (a == NULL)
		return NULL;
	a->up = k->up;
	a->tie = k->tie;
	a->conf = own_settings(l, k);
	return a;
}

/* For want of memory. Of a member nobody has asked. */
static void not_identified(struct link *l, struct ask *k)
{
	if (!k->unasked)
		cw_conn_refused(l->conn, cw_bytes_of(k->identity, k->identity_len), CW_REFUSED_LATER);
}

static void tell_identified(struct link *l, struct ask *k)
{
	const char *pk = k->found, *dn = k->found + k->product_key_len + 1;
	struct cw_bytes saved = cw_bytes_of(dn + k->device_name_len + 1, k->saved_len);
	struct cw_bytes identity = cw_bytes_of(k->identity, k->identity_len);
	unsigned how = (k->lookup ? 0 : CW_CONN_ATTACHED) | (k->unasked ? CW_CONN_UNASKED : 0);
	struct attachee *a = NULL;
	struct cw_rdevice *dev;
	void *conf;
	int rc;

	if (!k->lookup) {
		a = new_attachee(l, k);
		if (a == NULL) {
			gw_post_left(l->gw, k->tie, 0);
			not_identified(l, k);
			return;
		}
		a->next = l->attached;
		l->attached = a;
		if (l->net != NULL)
			cw_session_identified(l->net);
		gw_trace_attach(l, k->identity);
	}
	/* The handle is there before the decoder hears of it: what it says meanwhile may ask for it. */
	conf = a == NULL ? own_settings(l, k) : a->conf;
	rc = cw_conn_identified(l->conn, identity, pk, dn, saved, how, conf, a, a == NULL ? &dev : &a->rdev);
	if (a == NULL) /* nobody keeps them: they were there while the decoder was told */
		cw_runner_settings_free(l->gw->runners[l->binding->protocol_index], conf);
	if (rc == 0)
		return;
	if (a != NULL) {
		l->attached = a->next;
		cw_runner_settings_free(l->gw->runners[l->binding->protocol_index], a->conf);
		cw_free(a);
		gw_post_left(l->gw, k->tie, 0);
	}
	not_identified(l, k);
}

static void tell_refused(struct link *l, struct ask *k)
{
	int unknown = k->refused == CW_REFUSED_UNKNOWN && !k->optional && l->net != NULL;
	int kept = unknown && !l->binding->close_unknown && gw_pending_keep(l, k);

	if (l->replay != NULL)
		gw_replay_refused(l, k);
	cw_conn_refused(l->conn, cw_bytes_of(k->identity, k->identity_len), kept ? CW_REFUSED_KEPT : k->refused);
	if (unknown && l->binding->close_unknown)
		gw_link_close(l, UNKNOWN_CLOSE_MS, CW_EAUTH, "unknown device");
}

static void on_answer(struct cw_mail *mail)
{
	struct ask *k = cw_container_of(mail, struct ask, mail);
	struct link *l = gw_link_find(k->gw, k->session);

	if (l == NULL || l->closing) {
		if (k->refused == 0 && !k->lookup && !k->members)
			gw_post_left(k->gw, k->tie, 0);
		gw_free_ask(k);
		return;
	}
	if (!k->unasked)
		l->asked = 0;
	if (!k->unasked && k->refused != CW_REFUSED_UNKNOWN)
		gw_link_take_frame(l, cw_bytes_of(NULL, 0));
	if (k->refused == 0 && k->members)
		cw_conn_members(l->conn, cw_bytes_of(k->identity, k->identity_len), k->count);
	else if (k->refused == 0)
		tell_identified(l, k);
	else
		tell_refused(l, k);
	gw_free_ask(k);
	gw_link_continue(l);
}

/* ---- the question (control loop) ------------------------------------------------------ */

static void log_unknown(struct cw_gateway *g, struct ask *k)
{
	uint64_t now = cw_clock_ms();
	uint64_t *last = &g->unknown_logged_ms[cw_hash(k->identity, k->identity_len) % 256];

	if (*last != 0 && now - *last < UNKNOWN_LOG_MS)
		return;
	*last = now;
	cw_log(device_unknown,
	       "make it known to one of the sources in identity.order: devices.conf and a reload, causeway identity add, or a board burned under it",
	       CW_LB("identity", k->identity, k->identity_len), CW_LS("listener", k->binding->name), CW_LS("then", k->binding->close_unknown ? "closed" : "kept"));
}

/* Of a member the decoder hears only when it is found. */
static void answer_member(struct ask *k)
{
	struct roll *r = gw_roll_leave(k, k->refused);

	if (k->refused != 0)
		gw_free_ask(k);
	else
		cw_post(k->gw->worker, &k->mail, on_answer);
	gw_roll_go_on(r);
}

void gw_answer(struct ask *k, int refused)
{
	k->refused = refused;
	if (refused == CW_REFUSED_UNKNOWN && !k->optional)
		log_unknown(k->gw->gateway, k);
	if (k->unasked) {
		answer_member(k);
		return;
	}
	cw_post(k->gw->worker, &k->mail, on_answer);
}

/* What the decoder is told about the device: names and saved bytes, in one block. */
static int fill_found(struct ask *k, const char *pk, const char *dn)
{
	struct cw_saver *saver = &k->gw->gateway->conf.saver;
	struct cw_bytes saved = saver->get == NULL ? cw_bytes_of(NULL, 0) : saver->get(saver->ctx, k->identity, k->identity_len);

	k->product_key_len = strlen(pk);
	k->device_name_len = strlen(dn);
	k->saved_len = saved.len;
	k->found = cw_alloc(k->product_key_len + k->device_name_len + 2 + saved.len);
	if (k->found == NULL)
		return CW_ENOMEM;
	memcpy(k->found, pk, k->product_key_len + 1);
	memcpy(k->found + k->product_key_len + 1, dn, k->device_name_len + 1);
	if (saved.len > 0)
		memcpy(k->found + k->product_key_len + k->device_name_len + 2, saved.ptr, saved.len);
	return 0;
}

static void fill_settings(struct ask *k, const char *product_key, struct cw_bytes settings)
{
	struct cw_device_settings *ds = &k->gw->gateway->conf.device_settings;
	struct cw_msg msg;

	if (ds->encode == NULL)
		return;
	if (ds->encode(ds->ctx, k->binding->protocol, k->binding->name, product_key, settings, &k->settings, &k->settings_len, &msg) < 0)
		cw_log(conf_warning, msg.text, CW_LB("device", k->identity, k->identity_len), CW_LS("then", "the listener's settings are used"));
}

static void on_found(struct cw_question *q, int rc, const struct cw_identity *id)
{
	struct ask *k = cw_container_of(q, struct ask, question);

	cw_list_remove(&k->link);
	if (rc == CW_ENOENT && k->optional)
		cw_count(bridge, identify_none);
	else if (rc == CW_ENOENT)
		cw_count(bridge, identify_unknown);
	else if (rc != CW_OK)
		cw_log(identity_later, cw_error_text(rc), CW_LB("identity", k->identity, k->identity_len), CW_LS("listener", k->binding->name));
	if (rc == CW_OK)
		rc = fill_found(k, id->product_key, id->device_name);
	if (rc == CW_OK)
		fill_settings(k, id->product_key, id->settings);
	gw_answer(k, rc == CW_OK ? 0 : rc == CW_ENOENT ? CW_REFUSED_UNKNOWN : CW_REFUSED_LATER);
}

static const char *given(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

void gw_ask_sources(struct ask *k, void (*done)(struct cw_question *q, int rc, const struct cw_identity *id))
{
	struct cw_gateway *g = k->gw->gateway;
	struct cw_claim claim = { .identity = k->identity, .identity_len = k->identity_len, .device_secret = given(k->secret),
		                  .imei = given(k->imei), .mac = given(k->mac) };

	k->question.done = done;
	cw_list_push_back(&g->lookups, &k->link);
	cw_resolver_ask(cw_bridge_resolver(g->conf.bridge), &claim, &k->question);
}

static void on_attached(struct cw_attach *a, struct cw_device *d, int refused)
{
	struct ask *k = cw_container_of(a, struct ask, attach);
	struct tie *t = k->for_tie;

	t->ask = NULL;
	if (refused != 0) {
		free_tie(t);
		gw_answer(k, refused);
		return;
	}
	t->device = d;
	k->tie = t->id;
	k->up = cw_device_updevice(d);
	if (fill_found(k, cw_device_product_key(d), cw_device_name(d)) < 0) {
		t->device = NULL;
		cw_bridge_left(t->gateway->conf.bridge, d, t);
		free_tie(t);
		gw_answer(k, CW_REFUSED_LATER);
		return;
	}
	fill_settings(k, cw_device_product_key(d), cw_device_settings(d));
	gw_answer(k, 0);
}

static enum cw_sharing sharing_of(const struct cw_plugin_desc *protocol)
{
	if ((protocol->caps & CW_CAP_SHARED) != 0)
		return CW_ATTACH_SHARE;
	return (protocol->caps & CW_CAP_KEEP_OLDER) != 0 ? CW_ATTACH_YIELD : CW_ATTACH_SUPERSEDE;
}

void gw_attach(struct ask *k)
{
	struct cw_gateway *g = k->gw->gateway;
	struct tie *t = cw_zalloc(sizeof(*t));

	if (t == NULL) {
		gw_answer(k, CW_REFUSED_LATER);
		return;
	}
	t->gateway = g;
	t->gw = k->gw;
	t->id = ++g->next_tie;
	t->session = k->session;
	t->via = k->binding->name;
	t->ask = k;
	if (cw_map_add(&g->ties, &t->node, &t->id, sizeof(t->id)) < 0) {
		cw_free(t);
		gw_answer(k, CW_REFUSED_LATER);
		return;
	}
	t->is_member = k->unasked;
	if (t->is_member)
		gw_member_tied(t, 1);
	k->for_tie = t;
	k->attach = (struct cw_attach){
		.identity = k->identity,
		.identity_len = k->identity_len,
		.device_secret = given(k->secret),
		.imei = given(k->imei),
		.mac = given(k->mac),
		.owner = t,
		.max_outstanding = k->binding->protocol->max_outstanding,
		.sharing = sharing_of(k->binding->protocol),
		.optional = k->optional,
		.require_online = k->binding->require_online,
		.done = on_attached,
	};
	cw_bridge_attach(g->conf.bridge, &k->attach);
}

static void on_ask(struct cw_mail *mail)
{
	struct ask *k = cw_container_of(mail, struct ask, mail);

	k->known_at = k->gw->gateway->appeared;
	if (k->members)
		gw_members_ask(k);
	else if (k->lookup)
		gw_ask_sources(k, on_found);
	else if (k->replayed)
		gw_attach(k);
	else
		gw_attach_in_turn(k);
}

/* A text of the decoder's into out[size]; 0 when it has a place there and is printable. */
static int take_text(struct cw_bytes text, char *out, size_t size)
{
	size_t i;

	if (text.len >= size)
		return CW_EINVAL;
	for (i = 0; i < text.len; i++)
		if (text.ptr[i] < 0x21 || text.ptr[i] > 0x7e)
			return CW_EINVAL;
	if (text.len > 0)
		memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return 0;
}

int gw_ask(struct link *l, const struct cw_identify *who)
{
	uint32_t both = CW_IDENTIFY_MEMBERS | CW_IDENTIFY_LOOKUP;
	struct ask *k;

	if ((who->flags & both) == both)
		return CW_EINVAL;
	k = cw_zalloc(sizeof(*k) + who->identity.len + 1);
	if (k == NULL)
		return CW_ENOMEM;
	if (take_text(who->secret, k->secret, sizeof(k->secret)) < 0 ||
	    take_text(cw_map_text(who->facts, "imei"), k->imei, sizeof(k->imei)) < 0 ||
	    take_text(cw_map_text(who->facts, "mac"), k->mac, sizeof(k->mac)) < 0) {
		gw_free_ask(k);
		return CW_EINVAL;
	}
	k->gw = l->gw;
	k->session = l->id;
	k->binding = l->binding;
	k->lookup = (who->flags & CW_IDENTIFY_LOOKUP) != 0;
	k->optional = (who->flags & CW_IDENTIFY_OPTIONAL) != 0;
	k->members = (who->flags & CW_IDENTIFY_MEMBERS) != 0;
	k->replayed = l->replay != NULL;
	l->has_rolls |= k->members;
	k->identity_len = who->identity.len;
	memcpy(k->identity, who->identity.ptr, who->identity.len);
	cw_post(l->gw->gateway->conf.control, &k->mail, on_ask);
	return 0;
}
