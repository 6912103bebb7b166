/*
 * gb26875_components.c - components as devices of their own (setting `components`).
 *
 * The key of a component is system type, system address and component address; its type is an attribute, because requests
 * do not carry it. Before a unit is published, all its components that were not looked up yet are asked for together, and
 * the frame is taken again when the last outcome is there. What nobody knows belongs to the UTD, and is asked for again
 * after a while.
 */
#include "gb26875.h"

#include <stdio.h>

struct gb_component {
	uint64_t key;
	uint64_t device;   /* 0: unknown */
	uint64_t looked_ms; /* monotonic */
	uint8_t asked;
};

static uint64_t key_of(const struct gb_object *o)
{
	return (uint64_t)o->system_type << 40 | (uint64_t)o->system_address << 32 | o->component;
}

static int has_component(int shape)
{
	return shape == GB_COMPONENT_STATE || shape == GB_ANALOGUE || shape == GB_COMPONENT_CONFIG;
}

/* Where the key is or would be. */
static size_t place(const struct gb_conn *c, uint64_t key)
{
	size_t lo = 0, hi = c->component_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->components[mid].key < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct gb_component *find(const struct gb_conn *c, uint64_t key)
{
	size_t at = place(c, key);

	return at < c->component_count && c->components[at].key == key ? &c->components[at] : NULL;
}

/* NULL: as many as may be, or no memory. */
static struct gb_component *add(const struct gb_call *x, uint64_t key)
{
	struct gb_conn *c = x->c;
	size_t at = place(c, key);
	void *array = c->components;

	if (c->component_count == c->component_size &&
	    !gb_grow(x, &array, &c->component_size, sizeof(*c->components), 16, x->conf->components_most))
		return NULL;
	c->components = array;
	memmove(&c->components[at + 1], &c->components[at], (c->component_count - at) * sizeof(*c->components));
	memset(&c->components[at], 0, sizeof(c->components[at]));
	c->components[at].key = key;
	c->component_count++;
	return &c->components[at];
}

static int ask(const struct gb_call *x, uint64_t key)
{
	char text[CW_IDENTITY_MAX + 40];
	struct cw_identify who;
	int n = snprintf(text, sizeof(text), "%s:%u.%u.%u", x->c->utd, (unsigned)(key >> 40), (unsigned)(key >> 32 & 0xff), (unsigned)key);

	if (n <= 0 || n > CW_IDENTITY_MAX)
		return CW_EINVAL;
	memset(&who, 0, sizeof(who));
	who.size = sizeof(who);
	who.flags = CW_IDENTIFY_OPTIONAL;
	who.identity = cw_bytes_of(text, (size_t)n);
	return x->d->host->identify(x->d->hx, x->ev->conn, &who);
}

unsigned gb_components_ask(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_component *p;
	struct gb_object o;
	struct gb_walk k;
	unsigned asked = 0;

	if (!x->conf->children || m->command != GB_SEND || !gb_walk(&k, m->adu) || k.type == NULL || !has_component(k.type->shape))
		return 0;
	while (gb_next(&k, &o)) {
		p = find(x->c, key_of(&o));
		if (p != NULL && (p->asked || p->device != 0 || x->ev->mono_ms - p->looked_ms < x->conf->recheck_ms))
			continue;
		if (p == NULL)
			p = add(x, key_of(&o));
		if (p == NULL)
			continue;
		/* Also when it could not be asked: the reading at hand is the UTD's then. */
		p->looked_ms = x->ev->mono_ms;
		if (ask(x, p->key) < 0)
			continue;
		p->asked = 1;
		asked++;
	}
	return asked;
}

uint64_t gb_component_device(const struct gb_call *x, const struct gb_object *o)
{
	struct gb_component *p = has_component(o->type->shape) ? find(x->c, key_of(o)) : NULL;

	return p != NULL && p->device != 0 ? p->device : x->c->device;
}

/* The key at the end of an identity of ours. */
static int read_key(const struct gb_conn *c, struct cw_bytes identity, uint64_t *ret_key)
{
	static const uint64_t most[] = { 0xff, 0xff, 0xffffffff };
	size_t n = strlen(c->utd), i = 0;
	uint64_t v[3] = { 0, 0, 0 };
	size_t at;

	if (identity.len < n + 6 || memcmp(identity.ptr, c->utd, n) != 0 || identity.ptr[n] != ':')
		return 0;
	for (at = n + 1; at < identity.len; at++) {
		if (identity.ptr[at] == '.' && i < 2) {
			i++;
		} else if (identity.ptr[at] >= '0' && identity.ptr[at] <= '9') {
			v[i] = v[i] * 10 + (identity.ptr[at] - '0');
			if (v[i] > most[i])
				return 0;
		} else {
			return 0;
		}
	}
	*ret_key = v[0] << 40 | v[1] << 32 | v[2];
	return i == 2;
}

int gb_component_outcome(const struct gb_call *x, int known)
{
	struct gb_component *p;
	uint64_t key;

	if (!read_key(x->c, x->ev->identity, &key))
		return 0;
	p = find(x->c, key);
	if (p == NULL)
		return 0;
	p->asked = 0;
	p->device = known && (x->ev->flags & CW_EVF_ATTACHED) ? x->ev->device : 0;
	return 1;
}

static struct gb_component *by_device(const struct gb_conn *c, uint64_t device)
{
	size_t i;

	for (i = 0; device != 0 && i < c->component_count; i++)
		if (c->components[i].device == device)
			return &c->components[i];
	return NULL;
}

int gb_component_detached(const struct gb_call *x)
{
	struct gb_component *p = by_device(x->c, x->ev->device);

	if (p == NULL)
		return 0;
	p->device = 0;
	p->looked_ms = x->ev->mono_ms;
	return 1;
}

int gb_component_of_device(const struct gb_conn *c, uint64_t device, struct gb_object *o)
{
	struct gb_component *p = by_device(c, device);

	if (p == NULL)
		return 0;
	memset(o, 0, sizeof(*o));
	o->system_type = (uint8_t)(p->key >> 40);
	o->system_address = (uint8_t)(p->key >> 32);
	o->component = (uint32_t)p->key;
	return 1;
}

void gb_components_leave(const struct gb_call *x)
{
	size_t i;

	for (i = 0; i < x->c->component_count; i++)
		if (x->c->components[i].device != 0)
			x->d->host->detach(x->d->hx, x->ev->conn, x->c->components[i].device);
}

void gb_components_free(const struct gb_call *x)
{
	gb_give(x, x->c->components, x->c->component_size * sizeof(*x->c->components));
	x->c->components = NULL;
	x->c->component_count = x->c->component_size = 0;
}
