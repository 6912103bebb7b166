/*
 * owners.c - devices for which several connections speak at once (CW_ATTACH_SHARE).
 *
 * The newest is the owner as everywhere else: commands go to it. Those before it are
 * elders: their records are taken, they hear of state, replies and moves, and the
 * youngest of them becomes the owner again when the owner leaves.
 */
#include "base/mem.h"
#include "bridge/bridge_impl.h"

struct elder {
	struct cw_list link; /* the device's elders, youngest first */
	void *owner;
	uint8_t asked;       /* as cw_device.asked */
};

static struct elder *find(const struct cw_device *d, const void *owner)
{
	struct cw_list *e;

	cw_list_each(e, &d->elders) {
		struct elder *x = cw_container_of(e, struct elder, link);

		if (x->owner == owner)
			return x;
	}
	return NULL;
}

int cw_owners_push(struct cw_device *d)
{
	struct elder *x = cw_zalloc(sizeof(*x));

	if (x == NULL)
		return CW_ENOMEM;
	x->owner = d->owner;
	x->asked = d->asked;
	d->asked = 0;
	cw_list_push_front(&d->elders, &x->link);
	return 0;
}

int cw_owners_drop(struct cw_device *d, void *owner)
{
	struct elder *x = find(d, owner);

	if (x == NULL)
		return 0;
	cw_list_remove(&x->link);
	cw_free(x);
	return 1;
}

int cw_owners_promote(struct cw_device *d)
{
	struct cw_list *e = cw_list_pop(&d->elders);
	struct elder *x;

	if (e == NULL)
		return 0;
	x = cw_container_of(e, struct elder, link);
	d->owner = x->owner;
	d->asked = x->asked;
	cw_free(x);
	return 1;
}

int cw_owners_has(const struct cw_device *d, const void *owner)
{
	return d->owner == owner || find(d, owner) != NULL;
}

void cw_owners_moved(struct cw_device *d, void *owner)
{
	struct elder *x = find(d, owner);

	if (d->owner == owner)
		d->asked = 0;
	else if (x != NULL)
		x->asked = 0;
}

int cw_owners_asked(const struct cw_device *d)
{
	struct cw_list *e;

	cw_list_each(e, &d->elders)
		if (cw_container_of(e, struct elder, link)->asked)
			return 1;
	return d->asked;
}

/* What the callbacks do may drop the elder they are told by, not another. */
static void tell(struct cw_device *d, void (*say)(struct cw_device *d, void *owner, void *arg), void *arg)
{
	struct cw_list *e, *next;

	if (d->owner != NULL)
		say(d, d->owner, arg);
	cw_list_each_safe(e, next, &d->elders)
		say(d, cw_container_of(e, struct elder, link)->owner, arg);
}

static void say_leave(struct cw_device *d, void *owner, void *arg)
{
	d->bridge->conf.owner_ops->leave(owner, d, *(enum cw_leave *)arg);
}

void cw_owners_leave(struct cw_device *d, enum cw_leave why)
{
	tell(d, say_leave, &why);
}

struct state_told {
	enum cw_updevice_state state;
	int code;
};

static void say_state(struct cw_device *d, void *owner, void *arg)
{
	const struct state_told *s = arg;

	d->bridge->conf.owner_ops->state(owner, d, s->state, s->code);
}

void cw_owners_state(struct cw_device *d, enum cw_updevice_state state, int code)
{
	struct state_told s = { state, code };

	tell(d, say_state, &s);
}

struct reply_told {
	const char *request;
	int code;
	struct cw_bytes data;
};

static void say_reply(struct cw_device *d, void *owner, void *arg)
{
	const struct reply_told *r = arg;

	d->bridge->conf.owner_ops->reply(owner, d, r->request, r->code, r->data);
}

void cw_owners_reply(struct cw_device *d, const char *request, int code, struct cw_bytes data)
{
	struct reply_told r = { request, code, data };

	tell(d, say_reply, &r);
}

static void say_moved(struct cw_device *d, void *owner, void *arg)
{
	struct elder *x = find(d, owner);

	if (x != NULL)
		x->asked = 1;
	else
		d->asked = 1;
	d->bridge->conf.owner_ops->moved(owner, d);
}

void cw_owners_tell_moved(struct cw_device *d)
{
	tell(d, say_moved, NULL);
}

unsigned cw_device_connections(const struct cw_device *d)
{
	unsigned n = d->owner != NULL;
	struct cw_list *e;

	cw_list_each(e, &d->elders)
		n++;
	return n;
}
