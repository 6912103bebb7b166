/*
 * devices.c - the directory: which device has which owner, and what the platform says of it.
 *
 * One normal life: attach() finds the certificate, makes the device known to its
 * upstream, sets the owner and answers; left() clears the owner and logs out. The
 * hard case is a second connection: the older owner is asked to leave and answers
 * with left() after its last record; only then does the newer one get its `done`,
 * so order is kept and the platform sees no offline in between.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bridge/bridge_impl.h"
#include "causeway/decoder.h"

/* From this many supersedes in a window on, each further one waits; the wait doubles up to the most. */
#define CONTEST_FROM 4u
#define CONTEST_DELAY_MS 1000u
#define CONTEST_DELAY_MOST_MS 60000u

static void drop_secret(struct cw_attach *a)
{
	if (a->own_secret != NULL)
		explicit_bzero(a->own_secret, strlen(a->own_secret));
	cw_free(a->own_secret);
	a->own_secret = NULL;
}

static void finish_attach(struct cw_attach *a, int refused)
{
	struct cw_device *d = a->device;

	cw_list_remove(&a->link);
	cw_timer_stop(cw_worker_timers(a->bridge->conf.control), &a->delay);
	a->device = NULL;
	drop_secret(a);
	a->done(a, refused == 0 ? d : NULL, refused);
}

/* ---- making and dropping ---------------------------------------------------- */

static struct cw_device *new_device(struct cw_bridge *b, const struct cw_identity *id, const char *own_secret)
{
	const char *secret = own_secret != NULL ? own_secret : id->device_secret;
	size_t ni = strlen(id->identity) + 1, np = strlen(id->product_key) + 1, nn = strlen(id->device_name) + 1;
	size_t ns = strlen(secret) + 1;
	struct cw_device *d = cw_zalloc(sizeof(*d) + ni + np + nn + ns);

	if (d == NULL)
		return NULL;
	d->bridge = b;
	d->identity = d->text;
	d->product_key = d->text + ni;
	d->device_name = d->product_key + np;
	d->secret = d->device_name + nn;
	memcpy(d->text, id->identity, ni);
	memcpy(d->text + ni, id->product_key, np);
	memcpy(d->text + ni + np, id->device_name, nn);
	memcpy(d->text + ni + np + nn, secret, ns);
	d->own_secret = own_secret != NULL;
	if (id->settings.len > 0) {
		d->settings = cw_memdup(id->settings.ptr, id->settings.len);
		d->settings_len = d->settings == NULL ? 0 : id->settings.len;
	}
	cw_list_init(&d->elders);
	cw_list_init(&d->waiting);
	cw_list_init(&d->move);
	cw_list_init(&d->fetching);
	cw_list_init(&d->queued);
	cw_list_init(&d->running);
	d->since_ms = cw_clock_wall_ms();
	return d;
}

static void free_device(struct cw_device *d)
{
	cw_timer_stop(cw_worker_timers(d->bridge->conf.control), &d->linger);
	cw_free(d->last_text);
	cw_free(d->settings);
	explicit_bzero(d->text + (d->secret - d->text), strlen(d->secret));
	cw_free(d);
}

int cw_devices_open_way(struct cw_device *d, struct way *w, struct uplink *to, int held)
{
	int (*add)(struct cw_upstream *u, const char *pk, const char *dn, const char *secret, void *cookie, struct cw_updevice **up) =
		held ? cw_upstream_device_add_held : cw_upstream_device_add;
	int rc;

	w->device = d;
	w->uplink = to;
	rc = add(to->u, d->product_key, d->device_name, d->secret, w, &w->up);
	if (rc == 0)
		to->devices++;
	return rc;
}

/* While it moves, the end of that decides (cw_move_removed()). */
static void want(struct cw_device *d, int online)
{
	if (d->parting == NULL)
		cw_upstream_device_want(d->way->up, online);
}

/* Make the device of a certificate known to its upstream and to the directory. */
static int add_device(struct cw_bridge *b, const struct cw_identity *id, const char *own_secret, struct cw_device **ret_device)
{
	struct cw_device *d = new_device(b, id, own_secret);
	struct uplink *to;
	int rc;

	if (d == NULL)
		return CW_ENOMEM;
	to = cw_bridge_route(b, d);
	if (to == NULL) {
		free_device(d);
		return CW_ENOENT;
	}
	rc = cw_map_add(&b->devices, &d->node, d->identity, strlen(d->identity));
	if (rc < 0)
		goto err_device;
	rc = cw_map_add(&b->by_name, &d->name_node, d->product_key, strlen(d->product_key) + 1 + strlen(d->device_name));
	if (rc < 0)
		goto err_node;
	rc = cw_devices_open_way(d, &d->ways[0], to, 0);
	if (rc < 0)
		goto err_name;
	d->way = &d->ways[0];
	*ret_device = d;
	return 0;
err_name:
	cw_map_remove(&b->by_name, &d->name_node);
err_node:
	cw_map_remove(&b->devices, &d->node);
err_device:
	free_device(d);
	return rc;
}

void cw_devices_remove(struct cw_device *d)
{
	d->removing = 1;
	cw_timer_stop(cw_worker_timers(d->bridge->conf.control), &d->linger);
	if (d->parting != NULL)
		return; /* comes again once that is through */
	if (d->forget_relation)
		cw_upstream_device_forget(d->way->up);
	else
		cw_upstream_device_remove(d->way->up);
}

void cw_devices_forget(struct cw_bridge *b, const struct cw_identity *id)
{
	struct cw_device *d;

	if (add_device(b, id, NULL, &d) == 0)
		(void)cw_devices_let_go(d, CW_LEAVE_REMOVED);
}

static void resolve(struct cw_attach *a);

void cw_devices_on_removed(void *ctx, void *cookie)
{
	struct way *w = cookie;
	struct cw_device *d = w->device;
	struct cw_bridge *b = ctx;
	struct cw_list waiting, *e;

	w->uplink->devices--;
	w->up = NULL;
	if (w == d->parting) {
		cw_move_removed(d);
		cw_move_look(b);
		return;
	}
	if (d->state == CW_UPDEVICE_ONLINE)
		cw_gauge_add(bridge, devices_online, -1);
	cw_map_remove(&b->devices, &d->node);
	cw_map_remove(&b->by_name, &d->name_node);
	cw_list_init(&waiting);
	while ((e = cw_list_pop(&d->waiting)) != NULL)
		cw_list_push_back(&waiting, e);
	free_device(d);
	/* Who asked in between gets the new certificate, or is unknown now. */
	while ((e = cw_list_pop(&waiting)) != NULL) {
		struct cw_attach *a = cw_container_of(e, struct cw_attach, link);

		cw_timer_stop(cw_worker_timers(b->conf.control), &a->delay);
		a->imei = a->mac = NULL; /* were lent; the sources have heard them */
		resolve(a);
	}
	cw_move_look(b);
}

void cw_devices_fini(struct cw_bridge *b)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe(n, next, &b->devices) {
		struct cw_device *d = cw_container_of(n, struct cw_device, node);

		cw_map_remove(&b->devices, n);
		free_device(d);
	}
	cw_map_fini(&b->devices);
	cw_map_fini(&b->by_name);
}

/* ---- attach ------------------------------------------------------------------ */

static void give_to(struct cw_attach *a)
{
	struct cw_device *d = a->device;

	if (d->owner != a->owner)
		cw_gauge_add(bridge, devices_attached, d->owner == NULL ? 1 : 0);
	d->owner = a->owner;
	cw_timer_stop(cw_worker_timers(d->bridge->conf.control), &d->linger);
	d->max_outstanding = a->max_outstanding == 0 ? 1 : a->max_outstanding;
	/* With requireOnline it goes on waiting, as the owner: a contest's delay must not make it leave itself. */
	cw_timer_stop(cw_worker_timers(d->bridge->conf.control), &a->delay);
	want(d, 1);
	cw_count(bridge, identify_ok);
	cw_log(device_attached, "", CW_LS("device", d->identity), CW_LS("productKey", d->product_key), CW_LS("deviceName", d->device_name));
	if (a->require_online && d->state != CW_UPDEVICE_ONLINE)
		return; /* cw_devices_on_state() goes on */
	finish_attach(a, 0);
	/* Still logged in from the connection before: the new owner hears it, for no login will follow. */
	if (d->state == CW_UPDEVICE_ONLINE && d->owner != NULL)
		d->bridge->conf.owner_ops->state(d->owner, d, CW_UPDEVICE_ONLINE, 0);
	cw_command_device_idle(d);
}

static void ask_to_leave(struct cw_device *d, enum cw_leave why)
{
	if (d->owner == NULL || d->leaving)
		return;
	d->leaving = 1;
	cw_owners_leave(d, why);
}

/* The owner, if any, is gone: the newest of those who wait gets the device, older ones are told they were overtaken. */
static void next_owner(struct cw_device *d)
{
	struct cw_list *e;

	while ((e = cw_list_first(&d->waiting)) != NULL && e->next != &d->waiting)
		finish_attach(cw_container_of(e, struct cw_attach, link), CW_REFUSED_LATER);
	if (e != NULL)
		give_to(cw_container_of(e, struct cw_attach, link));
}

static void on_contest_over(struct cw_timer *t)
{
	struct cw_attach *a = cw_container_of(t, struct cw_attach, delay);

	if (a->device->owner == NULL && !a->device->leaving)
		next_owner(a->device);
	else
		ask_to_leave(a->device, CW_LEAVE_SUPERSEDED);
}

/* How long a superseding attach has to wait; 0 unless two devices keep taking the identity from each other. */
static unsigned contest_delay(struct cw_device *d)
{
	uint64_t now = cw_worker_now(d->bridge->conf.control);
	unsigned delay = CONTEST_DELAY_MS, n;

	if (now - d->contest_start_ms > d->bridge->conf.contest_window_ms) {
		d->contest_start_ms = now;
		d->contest = 0;
	}
	if (++d->contest <= CONTEST_FROM)
		return 0;
	for (n = CONTEST_FROM + 1; n < d->contest && delay < CONTEST_DELAY_MOST_MS; n++)
		delay *= 2;
	return delay < CONTEST_DELAY_MOST_MS ? delay : CONTEST_DELAY_MOST_MS;
}

static void supersede(struct cw_attach *a)
{
	struct cw_device *d = a->device;
	unsigned delay = contest_delay(d);

	d->superseded++;
	cw_count(bridge, superseded);
	if (delay == 0) {
		cw_log(device_superseded, "the newer connection wins", CW_LS("device", d->identity));
		ask_to_leave(d, CW_LEAVE_SUPERSEDED);
		return;
	}
	cw_log(device_contested, "two devices take this identity from each other; is it configured twice?",
	       CW_LS("device", d->identity), CW_LU("times", d->contest), CW_LU("waitMs", delay));
	cw_timer_set(cw_worker_timers(d->bridge->conf.control), &a->delay, delay, on_contest_over);
}

static void refuse_attach(struct cw_attach *a, int refused)
{
	cw_list_init(&a->link);
	finish_attach(a, refused);
}

/* Its certificate and settings are known: find or make the device, and stand in line for it. */
static void take_place(struct cw_attach *a, const struct cw_identity *id)
{
	struct cw_bridge *b = a->bridge;
	struct cw_device *d = cw_bridge_find(b, a->identity, a->identity_len);

	if (a->own_secret == NULL && id->device_secret[0] == '\0') {
		cw_log(identity_later, "its source has no deviceSecret for it, and the device brings none", CW_LS("identity", id->identity));
		refuse_attach(a, CW_REFUSED_LATER);
		return;
	}
	if (d == NULL && add_device(b, id, a->own_secret, &d) < 0) {
		refuse_attach(a, CW_REFUSED_LATER);
		return;
	}
	a->device = d;
	cw_list_push_back(&d->waiting, &a->link);
	if (!d->removing && !d->stale && !cw_device_is(d, id, a->own_secret))
		(void)cw_devices_let_go(d, CW_LEAVE_CHANGED);
	if (d->removing || d->stale)
		return; /* goes on when the old certificate is gone */
	if (d->owner == NULL)
		next_owner(d);
	else if (cw_owners_has(d, a->owner))
		finish_attach(a, 0); /* identified once more on the same connection */
	else if (a->sharing == CW_ATTACH_YIELD && !d->leaving)
		finish_attach(a, CW_REFUSED_OLDER);
	else if (a->sharing == CW_ATTACH_SHARE && !d->leaving && cw_owners_push(d) == 0)
		give_to(a);
	else
		supersede(a);
}

static void on_resolved(struct cw_question *q, int rc, const struct cw_identity *id)
{
	struct cw_attach *a = cw_container_of(q, struct cw_attach, question);

	if (rc == CW_OK) {
		take_place(a, id);
		return;
	}
	if (rc == CW_ENOENT && a->optional)
		cw_count(bridge, identify_none);
	else if (rc == CW_ENOENT)
		cw_count(bridge, identify_unknown);
	else
		cw_log(identity_later, cw_error_text(rc), CW_LB("identity", a->identity, a->identity_len));
	refuse_attach(a, rc == CW_ENOENT ? CW_REFUSED_UNKNOWN : CW_REFUSED_LATER);
}

/* `own_secret` is there already when the question is asked once more. */
static void resolve(struct cw_attach *a)
{
	struct cw_claim claim = { .identity = a->identity, .identity_len = a->identity_len, .device_secret = a->own_secret,
		                  .imei = a->imei, .mac = a->mac };

	a->device = NULL;
	a->question = (struct cw_question){ .done = on_resolved };
	cw_resolver_ask(a->bridge->resolver, &claim, &a->question);
}

void cw_bridge_attach(struct cw_bridge *b, struct cw_attach *a)
{
	a->bridge = b;
	a->device = NULL;
	a->own_secret = NULL;
	if (a->device_secret != NULL && a->device_secret[0] != '\0') {
		a->own_secret = cw_strdup(a->device_secret);
		if (a->own_secret == NULL) {
			refuse_attach(a, CW_REFUSED_LATER);
			return;
		}
	}
	resolve(a); /* a may be gone now */
}

void cw_bridge_attach_cancel(struct cw_attach *a)
{
	struct cw_device *d = a->device;

	drop_secret(a);
	cw_resolver_cancel(a->bridge->resolver, &a->question);
	if (d == NULL)
		return;
	cw_list_remove(&a->link);
	cw_timer_stop(cw_worker_timers(a->bridge->conf.control), &a->delay);
	a->device = NULL;
	if (cw_owners_has(d, a->owner) && !d->removing)
		cw_bridge_left(a->bridge, d, a->owner);
}

/* One of several connections; those that stay go on. */
static void other_left(struct cw_device *d, const void *owner)
{
	cw_command_owner_left(d, owner);
	cw_move_command_ended(d); /* nobody waits for its word any more */
}

static void on_not_back(struct cw_timer *t)
{
	want(cw_container_of(t, struct cw_device, linger), 0);
}

void cw_bridge_left(struct cw_bridge *b, struct cw_device *d, void *owner)
{
	cw_bridge_left_for(b, d, owner, 0);
}

void cw_bridge_left_for(struct cw_bridge *b, struct cw_device *d, void *owner, uint64_t linger_ms)
{
	if (d->leaving)
		linger_ms = 0;
	if (d->owner != owner) {
		if (cw_owners_drop(d, owner))
			other_left(d, owner);
		return;
	}
	if (cw_owners_promote(d)) {
		other_left(d, owner);
		cw_command_device_idle(d);
		return;
	}
	d->owner = NULL;
	d->leaving = 0;
	cw_gauge_add(bridge, devices_attached, -1);
	cw_command_device_left(d);
	cw_move_owner_gone(d);
	if (d->stale) {
		cw_devices_remove(d);
		return;
	}
	if (!cw_list_empty(&d->waiting))
		next_owner(d);
	else if (linger_ms > 0)
		cw_timer_set(cw_worker_timers(b->conf.control), &d->linger, linger_ms, on_not_back);
	else
		want(d, 0);
}

int cw_bridge_kick(struct cw_bridge *b, const char *identity)
{
	struct cw_device *d = cw_bridge_find(b, identity, strlen(identity));

	if (d == NULL || d->owner == NULL)
		return CW_ENOENT;
	ask_to_leave(d, CW_LEAVE_KICKED);
	return 0;
}

/* ---- what the upstream says ----------------------------------------------------- */

static void note_refusal(struct cw_device *d, int code, const char *text)
{
	d->last_code = code;
	cw_free(d->last_text);
	d->last_text = text == NULL ? NULL : cw_strdup(text);
	cw_log(device_refused, text, CW_LS("device", d->identity), CW_LS("productKey", d->product_key),
	       CW_LS("deviceName", d->device_name), CW_LI("code", code));
}

/*
 * With requireOnline the platform's refusal ends the attach. Whoever waited for this owner to leave goes on:
 * the owner was never told that it has the device, so no left() of it will come. 1: others go on as its owners.
 */
static int refuse_owner(struct cw_device *d, struct cw_attach *a)
{
	void *owner = a->owner;

	if (cw_owners_drop(d, owner) || cw_owners_promote(d)) {
		finish_attach(a, CW_REFUSED_PLATFORM);
		other_left(d, owner);
		return 1;
	}
	d->owner = NULL;
	d->leaving = 0;
	cw_gauge_add(bridge, devices_attached, -1);
	cw_command_device_left(d);
	cw_move_owner_gone(d);
	finish_attach(a, CW_REFUSED_PLATFORM);
	if (d->stale)
		cw_devices_remove(d);
	else if (cw_list_empty(&d->waiting))
		want(d, 0);
	else
		next_owner(d);
	return 0;
}

/* An owner that is to have the device only once it is online (requireOnline). */
static struct cw_attach *waits_online(struct cw_device *d)
{
	struct cw_list *e;

	cw_list_each(e, &d->waiting) {
		struct cw_attach *a = cw_container_of(e, struct cw_attach, link);

		if (cw_owners_has(d, a->owner))
			return a;
	}
	return NULL;
}

void cw_devices_on_state(void *ctx, void *cookie, enum cw_updevice_state state, int code, const char *text)
{
	struct way *w = cookie;

	if (w == (w->device->parting != NULL ? w->device->parting : w->device->way))
		cw_devices_set_state(w->device, state, code, text);
}

void cw_devices_set_state(struct cw_device *d, enum cw_updevice_state state, int code, const char *text)
{
	struct cw_attach *a;

	if (state == CW_UPDEVICE_ONLINE && d->state != CW_UPDEVICE_ONLINE) {
		cw_gauge_add(bridge, devices_online, 1);
		cw_log(device_online, "", CW_LS("device", d->identity), CW_LS("deviceName", d->device_name));
	} else if (state != CW_UPDEVICE_ONLINE && d->state == CW_UPDEVICE_ONLINE) {
		cw_gauge_add(bridge, devices_online, -1);
		cw_log(device_offline, text, CW_LS("device", d->identity), CW_LS("deviceName", d->device_name), CW_LI("code", code));
	}
	if (state == CW_UPDEVICE_REFUSED)
		note_refusal(d, code, text);
	d->state = (uint8_t)state;
	d->since_ms = cw_clock_wall_ms();
	if (d->owner == NULL) {
		if (state != CW_UPDEVICE_ONLINE && d->bridge->conf.owner_ops->logged_out != NULL)
			d->bridge->conf.owner_ops->logged_out(d->bridge, d);
		return;
	}
	while (state != CW_UPDEVICE_OFFLINE && (a = waits_online(d)) != NULL) {
		if (state == CW_UPDEVICE_ONLINE)
			finish_attach(a, 0);
		else if (!refuse_owner(d, a))
			return; /* whoever is its owner now has asked for a login of its own */
	}
	cw_owners_state(d, state, code);
	if (state == CW_UPDEVICE_ONLINE)
		cw_command_device_idle(d);
}

void cw_devices_on_reply(void *ctx, void *cookie, const char *request, int code, struct cw_bytes data)
{
	struct cw_device *d = ((struct way *)cookie)->device;

	cw_owners_reply(d, request, code, data);
}

/* ---- a certificate changes ----------------------------------------------------------- */

int cw_device_is(const struct cw_device *d, const struct cw_identity *id, const char *own_secret)
{
	const char *secret = own_secret != NULL ? own_secret : id->device_secret;

	return strcmp(d->product_key, id->product_key) == 0 && strcmp(d->device_name, id->device_name) == 0 &&
	       strcmp(d->secret, secret) == 0 && cw_bytes_equal(cw_device_settings(d), id->settings);
}

int cw_devices_let_go(struct cw_device *d, enum cw_leave why)
{
	int owned = d->owner != NULL;

	if (d->removing)
		return 0;
	d->stale = 1;
	d->forget_relation = why == CW_LEAVE_REMOVED && d->bridge->conf.remove_topology;
	if (owned)
		ask_to_leave(d, why);
	else
		cw_devices_remove(d);
	return owned;
}

/* ---- looking ---------------------------------------------------------------------- */

struct cw_device *cw_bridge_find(struct cw_bridge *b, const char *identity, size_t len)
{
	struct cw_map_node *n = cw_map_find(&b->devices, identity, len);

	return n == NULL ? NULL : cw_container_of(n, struct cw_device, node);
}

struct cw_device *cw_bridge_next(struct cw_bridge *b, struct cw_device *prev)
{
	struct cw_map_node *n = cw_map_next(&b->devices, prev == NULL ? NULL : &prev->node);

	return n == NULL ? NULL : cw_container_of(n, struct cw_device, node);
}

struct cw_device *cw_devices_find_name(struct cw_bridge *b, const char *product_key, const char *device_name)
{
	char key[128];
	int n = snprintf(key, sizeof(key), "%s%c%s", product_key, 0, device_name);
	struct cw_map_node *node;

	if (n < 0 || (size_t)n >= sizeof(key))
		return NULL;
	node = cw_map_find(&b->by_name, key, (size_t)n);
	return node == NULL ? NULL : cw_container_of(node, struct cw_device, name_node);
}

const char *cw_device_identity(const struct cw_device *d) { return d->identity; }
const char *cw_device_product_key(const struct cw_device *d) { return d->product_key; }
const char *cw_device_name(const struct cw_device *d) { return d->device_name; }
struct cw_updevice *cw_device_updevice(const struct cw_device *d) { return d->way->up; }
const struct cw_upstream *cw_device_upstream(const struct cw_device *d) { return d->way->uplink->u; }
int cw_device_leaves(const struct cw_device *d) { return d->leaving || d->stale || d->removing; }
void *cw_device_owner(const struct cw_device *d) { return d->owner; }
enum cw_updevice_state cw_device_state(const struct cw_device *d) { return (enum cw_updevice_state)d->state; }
int64_t cw_device_since_ms(const struct cw_device *d) { return d->since_ms; }
int cw_device_last_code(const struct cw_device *d) { return d->last_code; }
const char *cw_device_last_text(const struct cw_device *d) { return d->last_text; }
unsigned cw_device_commands(const struct cw_device *d) { return d->command_count; }
unsigned cw_device_superseded(const struct cw_device *d) { return d->superseded; }
struct cw_bytes cw_device_settings(const struct cw_device *d) { return cw_bytes_of(d->settings, d->settings_len); }
