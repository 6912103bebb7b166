/*
 * gb26875_adu.c - application data units to objects, by one table (clause 7, table 3, clause 8).
 */
#include "gb26875.h"

static const struct gb_type types[] = {
	{ 1, GB_SYSTEM_STATE, 102, 10, 0 }, { 2, GB_COMPONENT_STATE, 22, 46, 0 }, { 3, GB_ANALOGUE, 63, 16, 0 }, { 4, GB_OPERATION, 102, 10, 0 },
	{ 5, GB_VERSION, 1, 4, 0 }, { 6, GB_CONFIG, 3, 3, 0 }, { 7, GB_COMPONENT_CONFIG, 26, 38, 0 }, { 8, GB_CLOCK, 1, 8, 0 },
	{ 21, GB_UTD_STATE, 1, 7, 0 }, { 24, GB_UTD_OPERATION, 127, 8, 0 }, { 25, GB_UTD_VERSION, 1, 2, 0 }, { 26, GB_UTD_CONFIG, 1, 1, 0 },
	{ 28, GB_UTD_CLOCK, 1, 6, 0 },
	{ 61, GB_OF_SYSTEM, 102, 2, 1 }, { 62, GB_OF_COMPONENT, 22, 6, 1 }, { 63, GB_OF_COMPONENT, 63, 6, 1 }, { 64, GB_RECORDS, 1, 9, 1 },
	{ 65, GB_OF_SYSTEM, 1, 2, 1 }, { 66, GB_OF_SYSTEM, 3, 2, 1 }, { 67, GB_OF_COMPONENT, 26, 6, 1 }, { 68, GB_OF_SYSTEM, 1, 2, 1 },
	{ 81, GB_RESERVED, 1, 1, 1 }, { 84, GB_UTD_RECORDS, 1, 7, 1 }, { 85, GB_RESERVED, 1, 1, 1 }, { 86, GB_RESERVED, 1, 1, 1 },
	{ 88, GB_RESERVED, 1, 1, 1 }, { 89, GB_RESERVED, 1, 1, 1 }, { 90, GB_UTD_CLOCK, 1, 6, 1 }, { 91, GB_MINUTES, 1, 1, 1 },
};

const struct gb_type *gb_type_of(uint8_t number)
{
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == number)
			return &types[i];
	return NULL;
}

/* Texts in it: their length bytes say where the next object is. */
static int varies(const struct gb_type *t)
{
	return t->shape == GB_CONFIG || t->shape == GB_UTD_CONFIG;
}

/* Objects with texts that are whole; *ret_rest is what stands behind the last one asked for. */
static unsigned count_texts(const struct gb_type *t, struct cw_bytes body, unsigned count, size_t *ret_rest)
{
	size_t at = 0;
	unsigned n = 0;

	while (n < count && body.len - at >= t->size && body.len - at - t->size >= body.ptr[at + t->size - 1]) {
		at += t->size + body.ptr[at + t->size - 1];
		n++;
	}
	*ret_rest = body.len - at;
	return n;
}

/*
 * Makers append to objects: when the bytes divide evenly by the count into pieces that are large enough, the pieces are the
 * objects, each with the standard's fields in front.
 */
int gb_walk(struct gb_walk *k, struct cw_bytes adu)
{
	struct cw_bytes body;
	size_t rest;

	memset(k, 0, sizeof(*k));
	if (adu.len < 2)
		return 0;
	k->number = adu.ptr[0];
	k->count = adu.ptr[1];
	k->type = gb_type_of(k->number);
	body = cw_bytes_of(adu.ptr + 2, adu.len - 2);
	k->r = cw_reader_of(body);
	if (k->type == NULL)
		return 1;
	if (varies(k->type)) {
		k->given = (uint8_t)count_texts(k->type, body, k->count, &rest);
		k->fits = k->given == k->count && rest == 0;
	} else if (k->count > 0 && body.len % k->count == 0 && body.len / k->count >= k->type->size) {
		k->size = (uint16_t)(body.len / k->count);
		k->given = k->count;
		k->fits = 1;
	} else {
		k->size = k->type->size;
		k->given = (uint8_t)(body.len / k->size < k->count ? body.len / k->size : k->count);
		k->fits = k->count == 0 && body.len == 0;
	}
	k->left = k->given;
	return 1;
}

static void read_key(struct cw_reader *r, struct gb_object *o)
{
	o->system_type = cw_read_u8(r);
	o->system_address = cw_read_u8(r);
}

/* Types 2, 3 and 7 carry the component's type; the requests 62, 63 and 67 do not. */
static void read_component(struct cw_reader *r, struct gb_object *o)
{
	read_key(r, o);
	o->component_type = cw_read_u8(r);
	o->component = cw_read_u32le(r);
}

static void read_object(struct cw_reader *r, struct gb_object *o)
{
	switch (o->type->shape) {
	case GB_SYSTEM_STATE: read_key(r, o); o->status = cw_read_u16le(r); o->time = cw_read_bytes(r, 6).ptr; break;
	case GB_COMPONENT_STATE:
		read_component(r, o);
		o->status = cw_read_u16le(r);
		o->text = cw_read_bytes(r, 31);
		o->time = cw_read_bytes(r, 6).ptr;
		break;
	case GB_ANALOGUE:
		read_component(r, o);
		o->analogue_type = cw_read_u8(r);
		o->raw = (int16_t)cw_read_u16le(r);
		o->time = cw_read_bytes(r, 6).ptr;
		break;
	case GB_OPERATION: read_key(r, o); /* fall through */
	case GB_UTD_OPERATION: o->status = cw_read_u8(r); o->operator_no = cw_read_u8(r); o->time = cw_read_bytes(r, 6).ptr; break;
	case GB_VERSION: read_key(r, o); /* fall through */
	case GB_UTD_VERSION: o->major = cw_read_u8(r); o->minor = cw_read_u8(r); break;
	case GB_CONFIG: read_key(r, o); /* fall through */
	case GB_UTD_CONFIG: o->text = cw_read_bytes(r, cw_read_u8(r)); break;
	case GB_COMPONENT_CONFIG: read_component(r, o); o->text = cw_read_bytes(r, 31); break;
	case GB_CLOCK: read_key(r, o); /* fall through */
	case GB_UTD_CLOCK: o->time = cw_read_bytes(r, 6).ptr; break;
	case GB_UTD_STATE: o->status = cw_read_u8(r); o->time = cw_read_bytes(r, 6).ptr; break;
	case GB_OF_SYSTEM: read_key(r, o); break;
	case GB_OF_COMPONENT: read_key(r, o); o->component = cw_read_u32le(r); break;
	case GB_RECORDS: read_key(r, o); /* fall through */
	case GB_UTD_RECORDS: o->count = cw_read_u8(r); o->time = cw_read_bytes(r, 6).ptr; break;
	case GB_RESERVED: o->reserved = cw_read_u8(r); break;
	case GB_MINUTES: o->minutes = cw_read_u8(r); break;
	default: break;
	}
}

int gb_next(struct gb_walk *k, struct gb_object *o)
{
	size_t start = k->r.pos;

	if (k->type == NULL || k->left == 0)
		return 0;
	k->left--;
	memset(o, 0, sizeof(*o));
	o->type = k->type;
	read_object(&k->r, o);
	if (k->size > 0)
		k->r.pos = start + k->size;
	return 1;
}

/* ---- writing ------------------------------------------------------------------ */

static void put_time(struct cw_writer *w, const struct gb_style *s, const char *key, const uint8_t *label)
{
	int64_t ms;

	if (s->tool) {
		cw_put_text(w, key);
		gb_put_iso(w, label, s->bcd);
	} else if (gb_time(label, s->bcd, &ms)) {
		gb_put_date(w, key, ms);
	}
}

static void put_key(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	const char *name = gb_system_name(o->system_type);

	cw_field_uint(w, "systemType", o->system_type);
	if (!s->tool && o->type->shape == GB_SYSTEM_STATE && name != NULL)
		cw_field_text(w, "systemTypeName", name);
	cw_field_uint(w, "systemAddress", o->system_address);
}

static void put_address(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	uint8_t wire[4] = { (uint8_t)o->component, (uint8_t)(o->component >> 8), (uint8_t)(o->component >> 16), (uint8_t)(o->component >> 24) };
	unsigned low = o->component & 0xffff, high = o->component >> 16;

	cw_field_uint(w, "componentAddress", o->component);
	if (s->tool) {
		cw_put_text(w, "componentAddressWire");
		gb_put_hex(w, cw_bytes_of(wire, 4));
	} else if (o->type->shape == GB_COMPONENT_STATE && s->conf->loop != GB_LOOP_NONE) {
		cw_field_uint(w, "loop", s->conf->loop == GB_LOOP_LOW ? low : high);
		cw_field_uint(w, "point", s->conf->loop == GB_LOOP_LOW ? high : low);
	}
}

static void put_component(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	const char *name = gb_component_name(o->component_type);

	put_key(w, s, o);
	cw_field_uint(w, "componentType", o->component_type);
	if (!s->tool && o->type->shape == GB_COMPONENT_STATE && name != NULL)
		cw_field_text(w, "componentTypeName", name);
	put_address(w, s, o);
}

static void put_status(struct cw_writer *w, const struct gb_style *s, const char *key, const struct gb_object *o)
{
	cw_field_uint(w, key, o->status);
	cw_put_text(w, "flags");
	gb_put_flags(w, s->conf, o->type->shape, o->status);
}

static void put_text(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	cw_put_text(w, "description");
	gb_put_text(w, s->d, s->conf->utf8, o->text);
}

static void put_version(struct cw_writer *w, const struct gb_object *o)
{
	char text[8];
	size_t n = 0;
	uint8_t v[2] = { o->major, o->minor };
	int i;

	for (i = 0; i < 2; i++) {
		if (v[i] >= 100)
			text[n++] = (char)('0' + v[i] / 100);
		if (v[i] >= 10)
			text[n++] = (char)('0' + v[i] / 10 % 10);
		text[n++] = (char)('0' + v[i] % 10);
		if (i == 0)
			text[n++] = '.';
	}
	cw_field_textn(w, "version", text, n);
}

static void put_analogue(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	struct gb_quantity q;

	cw_field_uint(w, s->tool ? "analogType" : "analogueType", o->analogue_type);
	cw_field_int(w, "raw", o->raw);
	if (!gb_quantity_of(s->conf, o->analogue_type, &q))
		return;
	cw_field_decimal(w, "value", (int64_t)o->raw * q.mantissa, q.exponent);
	if (q.unit != NULL)
		cw_field_text(w, "unit", q.unit);
}

void gb_put_members(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	switch (o->type->shape) {
	case GB_SYSTEM_STATE: put_key(w, s, o); put_status(w, s, "status", o); break;
	case GB_COMPONENT_STATE: put_component(w, s, o); put_status(w, s, "status", o); put_text(w, s, o); break;
	case GB_ANALOGUE: put_component(w, s, o); put_analogue(w, s, o); break;
	case GB_OPERATION: put_key(w, s, o); /* fall through */
	case GB_UTD_OPERATION: put_status(w, s, "operation", o); cw_field_uint(w, "operator", o->operator_no); break;
	case GB_VERSION: put_key(w, s, o); /* fall through */
	case GB_UTD_VERSION: put_version(w, o); break;
	case GB_CONFIG: put_key(w, s, o); /* fall through */
	case GB_UTD_CONFIG:
		if (s->tool)
			cw_field_uint(w, "length", o->text.len);
		put_text(w, s, o);
		break;
	case GB_COMPONENT_CONFIG: put_component(w, s, o); put_text(w, s, o); break;
	case GB_CLOCK: put_key(w, s, o); break;
	case GB_UTD_STATE: put_status(w, s, "status", o); break;
	case GB_OF_SYSTEM: put_key(w, s, o); break;
	case GB_OF_COMPONENT: put_key(w, s, o); put_address(w, s, o); break;
	case GB_RECORDS: put_key(w, s, o); /* fall through */
	case GB_UTD_RECORDS: cw_field_uint(w, "recordCount", o->count); put_time(w, s, "startTime", o->time); return;
	case GB_RESERVED: cw_field_uint(w, "reserved", o->reserved); break;
	case GB_MINUTES: cw_field_uint(w, "minutes", o->minutes); break;
	default: break;
	}
	if (o->time != NULL)
		put_time(w, s, "time", o->time);
}

void gb_put_object(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	cw_put_map(w);
	gb_put_members(w, s, o);
	cw_put_end(w);
}
