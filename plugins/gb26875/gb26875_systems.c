/*
 * gb26875_systems.c - what is known of the facilities behind a UTD: version, configuration and clock of each.
 *
 * Uploads of types 5, 6 and 8 speak of one or a few facilities, the properties `systemVersions`, `systemConfigs` and
 * `systemClocks` of all: what came is kept while the device is connected, and the whole array is published.
 */
#include "gb26875.h"

#define SYSTEMS_MOST 64

struct gb_system {
	uint8_t type, address, has; /* has: bits by kind, 1 version, 2 configuration, 4 clock */
	uint8_t major, minor, time[6], text_len;
	uint8_t text[255];
};

static int kind_of(int shape)
{
	return shape == GB_VERSION ? 1 : shape == GB_CONFIG ? 2 : 4;
}

static struct gb_system *slot(const struct gb_call *x, const struct gb_object *o)
{
	struct gb_conn *c = x->c;
	void *array = c->systems;
	size_t i;

	for (i = 0; i < c->system_count; i++)
		if (c->systems[i].type == o->system_type && c->systems[i].address == o->system_address)
			return &c->systems[i];
	if (c->system_count == c->system_size && !gb_grow(x, &array, &c->system_size, sizeof(*c->systems), 2, SYSTEMS_MOST))
		return NULL;
	c->systems = array;
	memset(&c->systems[i], 0, sizeof(c->systems[i]));
	c->systems[i].type = o->system_type;
	c->systems[i].address = o->system_address;
	c->system_count++;
	return &c->systems[i];
}

static void keep(struct gb_system *s, const struct gb_object *o)
{
	s->has |= (uint8_t)kind_of(o->type->shape);
	switch (o->type->shape) {
	case GB_VERSION:
		s->major = o->major;
		s->minor = o->minor;
		break;
	case GB_CONFIG:
		s->text_len = (uint8_t)o->text.len;
		if (o->text.len > 0)
			memcpy(s->text, o->text.ptr, o->text.len);
		break;
	default: memcpy(s->time, o->time, sizeof(s->time)); break;
	}
}

int gb_system_property(const struct gb_call *x, struct cw_writer *w, const struct gb_object *o)
{
	struct gb_style style = { x->conf, x->d, 0, x->c->bcd };
	int kind = kind_of(o->type->shape);
	struct gb_system *s = slot(x, o);
	size_t i;

	if (s == NULL)
		return 0;
	keep(s, o);
	cw_field_array(w, kind == 1 ? "systemVersions" : kind == 2 ? "systemConfigs" : "systemClocks");
	for (i = 0; i < x->c->system_count; i++) {
		struct gb_object of;

		s = &x->c->systems[i];
		if ((s->has & kind) == 0)
			continue;
		memset(&of, 0, sizeof(of));
		of.type = o->type;
		of.system_type = s->type;
		of.system_address = s->address;
		of.major = s->major;
		of.minor = s->minor;
		of.text = cw_bytes_of(s->text, s->text_len);
		of.time = kind == 4 ? s->time : NULL;
		gb_put_object(w, &style, &of);
	}
	cw_put_end(w);
	return 1;
}

void gb_systems_free(const struct gb_call *x)
{
	gb_give(x, x->c->systems, x->c->system_size * sizeof(*x->c->systems));
	x->c->systems = NULL;
	x->c->system_count = x->c->system_size = 0;
}
