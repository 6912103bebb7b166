/*
 * jt808_decode_set.c - bodies made of lists: parameters, areas and routes, menus.
 */
#include "jt808.h"

/* d = u32, w = u16, b = u8, s = text, h = bytes; ranges ascending. */
static const struct { uint16_t from, to; char type; } params[] = {
	{ 0x0001, 0x0007, 'd' }, { 0x0010, 0x0017, 's' }, { 0x0018, 0x0019, 'd' }, { 0x001a, 0x001a, 's' }, { 0x001b, 0x001c, 'd' },
	{ 0x001d, 0x001d, 's' }, { 0x0020, 0x0022, 'd' }, { 0x0023, 0x0026, 's' }, { 0x0027, 0x0029, 'd' }, { 0x002c, 0x0030, 'd' },
	{ 0x0031, 0x0031, 'w' }, { 0x0032, 0x0032, 'h' }, { 0x0040, 0x0044, 's' }, { 0x0045, 0x0047, 'd' }, { 0x0048, 0x0049, 's' },
	{ 0x0050, 0x005a, 'd' }, { 0x005b, 0x005e, 'w' }, { 0x0064, 0x0065, 'd' }, { 0x0070, 0x0074, 'd' }, { 0x0080, 0x0080, 'd' },
	{ 0x0081, 0x0082, 'w' }, { 0x0083, 0x0083, 's' }, { 0x0084, 0x0084, 'b' }, { 0x0090, 0x0092, 'b' }, { 0x0093, 0x0093, 'd' },
	{ 0x0094, 0x0094, 'b' }, { 0x0095, 0x0095, 'd' }, { 0x0100, 0x0100, 'd' }, { 0x0101, 0x0101, 'w' }, { 0x0102, 0x0102, 'd' },
	{ 0x0103, 0x0103, 'w' },
};

char jt_param_type(uint32_t id, int edition)
{
	size_t i;

	/* The secondary server's texts are new in 2019; before, these ids were reserved. */
	if (id >= 0x0023 && id <= 0x0026 && edition != JT_2019)
		return 'h';
	if (edition == JT_2011 && (id == 0x0081 || id == 0x0082 || id == 0x0084))
		return 'd';
	for (i = 0; i < sizeof(params) / sizeof(params[0]); i++)
		if (id >= params[i].from && id <= params[i].to)
			return params[i].type;
	return 'h';
}

static void param_value(struct jt_out *o, uint32_t id, struct cw_bytes v, int edition)
{
	struct cw_reader r = cw_reader_of(v);
	char t = jt_param_type(id, edition);

	if (t == 's' && jt_printable(jt_trim(v)))
		o_text(o, "value", "value", v);
	else if ((t == 'd' && v.len == 4) || (t == 'w' && v.len == 2) || (t == 'b' && v.len == 1))
		o_uint(o, "value", "value", cw_read_be(&r, (unsigned)v.len));
	else
		o_hex(o, "hex", "hex", v);
}

/* 1 when `n` items fill the rest of the body exactly. */
static int params_fit(const struct cw_reader *at, uint32_t n)
{
	struct cw_reader r = *at;

	while (n > 0 && !r.short_read) {
		(void)cw_read_u32be(&r);
		(void)cw_read_bytes(&r, cw_read_u8(&r));
		n--;
	}
	return !r.short_read && cw_read_left(&r) == 0;
}

/* Lists stop at the end of the body whatever the count says (Q10); 2011 has a second count byte. */
int jt_body_params(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n, i;

	if (m->id == 0x0104)
		o_uint(o, "reply_serial", "replySerial", cw_read_u16be(r));
	n = cw_read_u8(r);
	if (r->short_read)
		return CW_EPROTO;
	if (!m->wide && cw_read_left(r) > 0 && !params_fit(r, n)) {
		struct cw_reader second = *r;
		uint32_t k = cw_read_u8(&second);

		if (k <= n && params_fit(&second, k)) {
			o_uint(o, "in_packet", NULL, k);
			*r = second;
			n = k;
		}
	}
	o_uint(o, "count", NULL, n);
	o_key(o, "params", "items");
	cw_put_array(&o->w);
	for (i = 0; i < n && cw_read_left(r) >= 5; i++) {
		uint32_t id = cw_read_u32be(r);
		size_t len = cw_read_u8(r);

		if (len > cw_read_left(r))
			break;
		cw_put_map(&o->w);
		o_hexnum(o, "id", "id", id, 4);
		o_uint(o, "len", NULL, len);
		param_value(o, id, cw_read_bytes(r, len), m->edition);
		cw_put_end(&o->w);
	}
	if (i < n)
		o->flaws |= JT_FLAW_COUNT;
	for (; i < n && !o->tm; i++) {
		cw_put_map(&o->w);
		cw_field_bool(&o->w, "missing", 1);
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	if (cw_read_left(r) > 0)
		o_hex(o, "unparsed_tail_hex", NULL, cw_read_rest(r));
	return 0;
}

/* Degrees in the thing model carry their sign; the wire has magnitude and a bit. */
static void angle(struct jt_out *o, const char *vec, const char *tm, uint32_t raw, int negative)
{
	if (o->tm) {
		if (tm != NULL)
			cw_field_decimal(&o->w, tm, jt_signed(raw, negative), -6);
	} else {
		cw_field_uint(&o->w, vec, raw);
	}
}

static void attributes(struct jt_out *o, uint32_t attr)
{
	o_uint(o, "attr", "attributes", attr);
	o_bits(o, "attr_bits", attr, 16);
}

static void window(struct jt_out *o, struct cw_reader *r, uint32_t attr)
{
	if (!(attr & 1))
		return;
	o_hex(o, "start_bcd", "start", cw_read_bytes(r, 6));
	o_hex(o, "end_bcd", "end", cw_read_bytes(r, 6));
}

static void name_behind(struct jt_out *o, struct cw_reader *r)
{
	o_text(o, "name", "name", cw_read_bytes(r, cw_read_u16be(r)));
}

static void round_or_square(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r, int circle)
{
	uint32_t attr;
	int south, west;

	o_uint(o, "id", "id", cw_read_u32be(r));
	attr = cw_read_u16be(r);
	attributes(o, attr);
	south = (attr >> 6) & 1;
	west = (attr >> 7) & 1;
	if (circle) {
		angle(o, "center_lat_raw", "latitude", cw_read_u32be(r), south);
		angle(o, "center_lon_raw", "longitude", cw_read_u32be(r), west);
		o_uint(o, "radius_m", "radius", cw_read_u32be(r));
	} else {
		angle(o, "lt_lat_raw", "topLatitude", cw_read_u32be(r), south);
		angle(o, "lt_lon_raw", "leftLongitude", cw_read_u32be(r), west);
		angle(o, "rb_lat_raw", "bottomLatitude", cw_read_u32be(r), south);
		angle(o, "rb_lon_raw", "rightLongitude", cw_read_u32be(r), west);
	}
	window(o, r, attr);
	if (attr & 2) {
		o_uint(o, "max_speed_kmh", "maxSpeed", cw_read_u16be(r));
		o_uint(o, "overspeed_s", "overspeedSeconds", cw_read_u8(r));
	}
	if (m->edition == JT_2019) {
		if (attr & 2)
			o_uint(o, "night_max_speed_kmh", "nightMaxSpeed", cw_read_u16be(r));
		name_behind(o, r);
	}
}

static int list_of_areas(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r, uint32_t n, int circle)
{
	uint32_t i;

	o_key(o, "areas", "items");
	cw_put_array(&o->w);
	for (i = 0; i < n && cw_read_left(r) > 0; i++) {
		cw_put_map(&o->w);
		round_or_square(o, m, r, circle);
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	if (i < n)
		o->flaws |= JT_FLAW_COUNT;
	return r->short_read ? CW_EPROTO : 0;
}

static int polygon(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t attr, n, i;

	o_uint(o, "id", "id", cw_read_u32be(r));
	attr = cw_read_u16be(r);
	attributes(o, attr);
	window(o, r, attr);
	if (attr & 2) {
		o_uint(o, "max_speed_kmh", "maxSpeed", cw_read_u16be(r));
		o_uint(o, "overspeed_s", "overspeedSeconds", cw_read_u8(r));
	}
	n = cw_read_u16be(r);
	if (m->edition == JT_2011)
		n = cw_read_u8(r);
	o_key(o, "vertices", "vertices");
	cw_put_array(&o->w);
	for (i = 0; i < n && cw_read_left(r) >= 8; i++) {
		uint32_t lat = cw_read_u32be(r), lon = cw_read_u32be(r);

		if (o->tm) {
			cw_put_map(&o->w);
			angle(o, NULL, "latitude", lat, (attr >> 6) & 1);
			angle(o, NULL, "longitude", lon, (attr >> 7) & 1);
			cw_put_end(&o->w);
		} else {
			cw_put_array(&o->w);
			cw_put_uint(&o->w, lat);
			cw_put_uint(&o->w, lon);
			cw_put_end(&o->w);
		}
	}
	cw_put_end(&o->w);
	if (i < n)
		o->flaws |= JT_FLAW_COUNT;
	if (m->edition == JT_2019) {
		if (attr & 2)
			o_uint(o, "night_max_speed_kmh", "nightMaxSpeed", cw_read_u16be(r));
		name_behind(o, r);
	}
	return r->short_read ? CW_EPROTO : 0;
}

static void route_point(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t lat, lon;
	unsigned width, attr;

	if (m->edition != JT_2011)
		o_uint(o, "point_id", "pointId", cw_read_u32be(r));
	o_uint(o, "segment_id", "segmentId", cw_read_u32be(r));
	lat = cw_read_u32be(r);
	lon = cw_read_u32be(r);
	width = cw_read_u8(r);
	attr = cw_read_u8(r);
	angle(o, "lat_raw", "latitude", lat, (int)((attr >> 2) & 1));
	angle(o, "lon_raw", "longitude", lon, (int)((attr >> 3) & 1));
	o_uint(o, "width_m", "width", width);
	o_uint(o, "seg_attr", "attributes", attr);
	if (attr & 1) {
		o_uint(o, "too_long_s", "tooLong", cw_read_u16be(r));
		if (m->edition != JT_2011)
			o_uint(o, "too_short_s", "tooShort", cw_read_u16be(r));
	}
	if (attr & 2) {
		o_uint(o, "max_speed_kmh", "maxSpeed", cw_read_u16be(r));
		o_uint(o, "overspeed_s", "overspeedSeconds", cw_read_u8(r));
		if (m->edition == JT_2019)
			o_uint(o, "night_max_speed_kmh", "nightMaxSpeed", cw_read_u16be(r));
	}
}

static int route(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t attr, n, i;

	o_uint(o, "id", "id", cw_read_u32be(r));
	attr = cw_read_u16be(r);
	attributes(o, attr);
	window(o, r, attr);
	n = cw_read_u16be(r);
	if (m->edition == JT_2011)
		n = cw_read_u8(r);
	o_key(o, "points", "points");
	cw_put_array(&o->w);
	for (i = 0; i < n && cw_read_left(r) > 0; i++) {
		cw_put_map(&o->w);
		route_point(o, m, r);
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	if (i < n)
		o->flaws |= JT_FLAW_COUNT;
	if (m->edition == JT_2019)
		name_behind(o, r);
	return r->short_read ? CW_EPROTO : 0;
}

int jt_body_area(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n;
	int rc;

	if (m->id == 0x8604) {
		rc = polygon(o, m, r);
	} else if (m->id == 0x8606) {
		rc = route(o, m, r);
	} else {
		o_uint(o, "set_attr", "mode", cw_read_u8(r));
		n = cw_read_u8(r);
		o_uint(o, "count", NULL, n);
		if (m->edition == JT_2011)
			n = cw_read_u8(r);
		rc = list_of_areas(o, m, r, n, m->id == 0x8600);
	}
	if (rc == 0 && cw_read_left(r) > 0)
		o_hex(o, "unparsed_tail_hex", NULL, cw_read_rest(r));
	return rc;
}

/* 0x0608: kind, count, then areas in the form of the matching set message. */
int jt_body_areas_found(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	unsigned kind = cw_read_u8(r);
	uint32_t n = cw_read_u32be(r), i;
	int rc = 0;

	if (r->short_read || kind < 1 || kind > 4)
		return CW_EPROTO;
	o_uint(o, "query_type", "kind", kind);
	o_uint(o, "count", NULL, n);
	if (kind <= 2) {
		rc = list_of_areas(o, m, r, n, kind == 1);
	} else {
		o_key(o, "areas", "items");
		cw_put_array(&o->w);
		for (i = 0; i < n && cw_read_left(r) > 0 && rc == 0; i++) {
			cw_put_map(&o->w);
			rc = kind == 3 ? polygon(o, m, r) : route(o, m, r);
			cw_put_end(&o->w);
		}
		cw_put_end(&o->w);
		if (i < n)
			o->flaws |= JT_FLAW_COUNT;
	}
	if (rc == 0 && cw_read_left(r) > 0)
		o_hex(o, "unparsed_tail_hex", NULL, cw_read_rest(r));
	return rc;
}

static int question(struct jt_out *o, struct cw_reader *r)
{
	o_uint(o, "flags", "flags", cw_read_u8(r));
	o_text(o, "question", "question", cw_read_bytes(r, cw_read_u8(r)));
	o_key(o, "answers", "answers");
	cw_put_array(&o->w);
	while (cw_read_left(r) > 0 && !r->short_read) {
		cw_put_map(&o->w);
		o_uint(o, "id", "id", cw_read_u8(r));
		o_text(o, "text", "text", cw_read_bytes(r, cw_read_u16be(r)));
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	return r->short_read ? CW_EPROTO : 0;
}

static int info(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	size_t n;

	o_uint(o, "info_type", "infoType", cw_read_u8(r));
	n = cw_read_u16be(r);
	if (m->edition == JT_2011)
		n = cw_read_u16be(r);
	o_text(o, "text", "text", cw_read_bytes(r, n));
	return r->short_read ? CW_EPROTO : 0;
}

static void menu_item(struct jt_out *o, uint16_t id, int bare, struct cw_reader *r)
{
	switch (id) {
	case 0x8301:
		o_uint(o, "id", "id", cw_read_u8(r));
		if (!bare)
			o_text(o, "text", "text", cw_read_bytes(r, cw_read_u8(r)));
		break;
	case 0x8303:
		o_uint(o, "type", "type", cw_read_u8(r));
		o_text(o, "name", "name", cw_read_bytes(r, cw_read_u16be(r)));
		break;
	default:
		o_uint(o, "flag", "flag", cw_read_u8(r));
		o_text(o, "number", "number", cw_read_bytes(r, cw_read_u8(r)));
		o_text(o, "name", "name", cw_read_bytes(r, cw_read_u8(r)));
		break;
	}
}

static int menu(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	const char *list = m->id == 0x8301 ? "events" : m->id == 0x8303 ? "menu" : "contacts";
	unsigned kind = cw_read_u8(r);
	uint32_t n, i;
	int bare;

	o_uint(o, "set_type", "kind", kind);
	if (kind == 0 && cw_read_left(r) == 0)
		return r->short_read ? CW_EPROTO : 0;
	n = cw_read_u8(r);
	o_uint(o, "count", NULL, n);
	if (m->edition == JT_2011)
		n = cw_read_u8(r);
	/* Kind 4 deletes: bare ids by one reading of the text, empty texts by the other. */
	bare = m->id == 0x8301 && kind == 4 && cw_read_left(r) == n;
	o_key(o, list, "items");
	cw_put_array(&o->w);
	for (i = 0; i < n && cw_read_left(r) > 0; i++) {
		cw_put_map(&o->w);
		menu_item(o, m->id, bare, r);
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	if (i < n)
		o->flaws |= JT_FLAW_COUNT;
	return r->short_read ? CW_EPROTO : 0;
}

int jt_body_menu(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	int rc = m->id == 0x8302 ? question(o, r) : m->id == 0x8304 ? info(o, m, r) : menu(o, m, r);

	if (rc == 0 && cw_read_left(r) > 0)
		o_hex(o, "unparsed_tail_hex", NULL, cw_read_rest(r));
	return rc;
}
