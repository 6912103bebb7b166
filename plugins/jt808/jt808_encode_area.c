/*
 * jt808_encode_area.c - areas, routes, menus, questions and the phone book.
 *
 * Degrees come with their sign; hemisphere, time and speed bits are set from what
 * is given. An area that crosses the equator or the meridians 0 and 180 has no form.
 */
#include "jt808.h"

#include <stdio.h>

#define NEEDED INT64_MIN
#define MAX_IDS 125

/* Degrees as a number with up to six decimals, x 10^6. */
static int degrees(struct jt_plan *p, struct cw_bytes in, const char *key, int64_t limit, int64_t *ret)
{
	struct cw_item it = cw_map_item(in, key);
	int64_t v = it.i;
	int e = it.exponent;

	if (it.type == CW_ITEM_DOUBLE && it.d >= -360 && it.d <= 360) {
		*ret = (int64_t)(it.d * 1e6 + (it.d < 0 ? -0.5 : 0.5));
	} else if ((it.type == CW_ITEM_INT && v >= -360 && v <= 360) || (it.type == CW_ITEM_DECIMAL && e >= -18 && e <= 0)) {
		if (it.type == CW_ITEM_INT)
			e = 0;
		for (; e < -6; e++)
			v /= 10;
		for (; e > -6; e--)
			if (__builtin_mul_overflow(v, (int64_t)10, &v))
				v = INT64_MAX;
		*ret = v;
	} else {
		snprintf(p->why, sizeof(p->why), "%s: is missing or no number of degrees", key);
		return CW_EINVAL;
	}
	if (*ret < -limit * 1000000 || *ret > limit * 1000000) {
		snprintf(p->why, sizeof(p->why), "%s: is out of range", key);
		return CW_EINVAL;
	}
	return 0;
}

/* Which sides of equator and meridian an area lies on; it may lie on one only. */
struct side {
	int north, south, east, west;
};

static int coordinate(struct jt_plan *p, struct cw_bytes in, const char *lat_key, const char *lon_key, struct side *s)
{
	int64_t lat, lon;
	int rc = degrees(p, in, lat_key, 90, &lat);

	if (rc == 0)
		rc = degrees(p, in, lon_key, 180, &lon);
	if (rc < 0)
		return rc;
	s->north |= lat > 0;
	s->south |= lat < 0;
	s->east |= lon > 0;
	s->west |= lon < 0;
	if ((s->north && s->south) || (s->east && s->west))
		return jt_fail(p, "an area across the equator or a meridian 0 or 180 cannot be expressed");
	cw_write_u32be(&p->w, (uint32_t)(lat < 0 ? -lat : lat));
	cw_write_u32be(&p->w, (uint32_t)(lon < 0 ? -lon : lon));
	return 0;
}

static int has(struct cw_bytes in, const char *key)
{
	return cw_map_get(in, key).len > 0;
}

static void patch16(struct jt_plan *p, size_t at, unsigned v)
{
	if (p->w.overflow)
		return;
	p->w.ptr[at] = (uint8_t)(v >> 8);
	p->w.ptr[at + 1] = (uint8_t)v;
}

/* Bits that follow from the input beside those given in `attributes`. */
static int area_bits(struct jt_plan *p, struct cw_bytes in, uint32_t allowed, uint32_t *ret)
{
	static const struct { const char *key; uint8_t bit; } flags[] = {
		{ "enterDriver", 2 }, { "enterPlatform", 3 }, { "leaveDriver", 4 }, { "leavePlatform", 5 }, { "doorsShut", 8 },
		{ "radioOff", 14 }, { "collectGnss", 15 },
	};
	int64_t v;
	size_t i;
	int rc = jt_in_int(p, in, "attributes", 0, 65535, 0, &v);

	if (rc < 0)
		return rc;
	/* Time, speed and hemisphere follow from the values, whatever was said. */
	*ret = (uint32_t)v & ~0xc3u;
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (cw_map_int(in, flags[i].key, 0) != 0)
			*ret |= 1u << flags[i].bit;
	if (p->edition == JT_2011)
		allowed &= 0xffu;
	*ret &= allowed;
	if (has(in, "start") || has(in, "end"))
		*ret |= 1;
	if ((allowed & 2) && has(in, "maxSpeed"))
		*ret |= 2;
	return 0;
}

/* A time as UTC ms, or twelve digits where leading zero fields mean every year, month or day. */
static int when(struct jt_plan *p, struct cw_bytes in, const char *key)
{
	struct cw_item it = cw_map_item(in, key);
	int64_t t;
	int rc;

	if (it.type == CW_ITEM_TEXT && it.s.len == 12) {
		size_t i;

		for (i = 0; i < 12; i++)
			if (it.s.ptr[i] < '0' || it.s.ptr[i] > '9')
				return jt_fail(p, "start and end are UTC milliseconds or twelve digits");
		return jt_unhex(it.s, &p->w) || p->w.overflow ? 0 : CW_EINVAL;
	}
	rc = jt_in_int(p, in, key, 0, 4102444799999, NEEDED, &t);
	if (rc == 0)
		jt_write_bcd_time(&p->w, t, p->conf->zone_min);
	return rc;
}

static int window(struct jt_plan *p, struct cw_bytes in, uint32_t attr)
{
	int rc = 0;

	if (attr & 1) {
		rc = when(p, in, "start");
		if (rc == 0)
			rc = when(p, in, "end");
	}
	return rc;
}

static int speed(struct jt_plan *p, struct cw_bytes in, uint32_t attr)
{
	int64_t max, seconds;
	int rc;

	if (!(attr & 2))
		return 0;
	rc = jt_in_int(p, in, "maxSpeed", 0, 65535, NEEDED, &max);
	if (rc == 0)
		rc = jt_in_int(p, in, "overspeedSeconds", 0, 255, 0, &seconds);
	if (rc < 0)
		return rc;
	cw_write_u16be(&p->w, (uint16_t)max);
	cw_write_u8(&p->w, (uint8_t)seconds);
	return 0;
}

static int night(struct jt_plan *p, struct cw_bytes in, uint32_t attr)
{
	int64_t v;
	int rc;

	if (!(attr & 2))
		return 0;
	rc = jt_in_int(p, in, "nightMaxSpeed", 0, 65535, 0, &v);
	if (rc == 0)
		cw_write_u16be(&p->w, (uint16_t)v);
	return rc;
}

/* Text behind a length of one or two bytes. */
static int text_behind(struct jt_plan *p, struct cw_bytes in, const char *key, unsigned width)
{
	size_t at = p->w.len, n = 0;
	int rc;

	cw_write_be(&p->w, 0, width);
	rc = jt_in_text(p, in, key, width == 1 ? 255 : 65535, &p->w, &n);
	if (rc < 0 || p->w.overflow)
		return rc;
	if (width == 1)
		p->w.ptr[at] = (uint8_t)n;
	else
		patch16(p, at, (unsigned)n);
	return 0;
}

static int round_or_square(struct jt_plan *p, struct cw_bytes one, int circle)
{
	struct side s = { 0, 0, 0, 0 };
	int64_t id, radius;
	uint32_t attr;
	size_t attr_at;
	int rc = jt_in_int(p, one, "id", 1, 0xffffffff, NEEDED, &id);

	if (rc == 0)
		rc = area_bits(p, one, 0xc13fu, &attr);
	if (rc < 0)
		return rc;
	cw_write_u32be(&p->w, (uint32_t)id);
	attr_at = p->w.len;
	cw_write_u16be(&p->w, 0);
	if (circle) {
		rc = coordinate(p, one, "latitude", "longitude", &s);
		if (rc == 0)
			rc = jt_in_int(p, one, "radius", 0, 0xffffffff, NEEDED, &radius);
		if (rc == 0)
			cw_write_u32be(&p->w, (uint32_t)radius);
	} else {
		rc = coordinate(p, one, "topLatitude", "leftLongitude", &s);
		if (rc == 0)
			rc = coordinate(p, one, "bottomLatitude", "rightLongitude", &s);
	}
	if (rc == 0)
		rc = window(p, one, attr);
	if (rc == 0)
		rc = speed(p, one, attr);
	if (rc == 0 && p->edition == JT_2019) {
		rc = night(p, one, attr);
		if (rc == 0)
			rc = text_behind(p, one, "name", 2);
	}
	patch16(p, attr_at, attr | (unsigned)s.south << 6 | (unsigned)s.west << 7);
	return rc;
}

/* Calls `item` for each member of a list and writes its count behind the kind or mode. */
typedef int (*item_fn)(struct jt_plan *p, struct cw_bytes one, int what);

static int counted_list(struct jt_plan *p, struct cw_bytes in, int kind, item_fn item, int what)
{
	struct cw_bytes items = cw_map_get(in, "items");
	struct cw_reader r = cw_reader_of(items);
	struct cw_item list = cw_read_item(&r);
	size_t at;
	unsigned n = 0;
	int rc;

	cw_write_u8(&p->w, (uint8_t)kind);
	at = p->w.len;
	cw_write_be(&p->w, 0, p->edition == JT_2011 ? 2 : 1);
	while (items.len > 0 && cw_item_more(&r, &list)) {
		struct cw_bytes one = cw_read_whole_item(&r);

		if (one.len == 0)
			return jt_fail(p, "items: cannot be read");
		rc = item(p, one, what);
		if (rc < 0)
			return rc;
		n++;
	}
	if (n == 0 || n > 255)
		return jt_fail(p, n == 0 ? "items: is missing or empty" : "items: more than 255");
	if (!p->w.overflow) {
		p->w.ptr[at] = (uint8_t)n;
		if (p->edition == JT_2011)
			p->w.ptr[at + 1] = (uint8_t)n;
	}
	return 0;
}

static int set_areas(struct jt_plan *p, struct cw_bytes in, uint16_t id)
{
	int64_t mode;
	int rc = jt_in_int(p, in, "mode", 0, 2, 0, &mode);

	if (rc < 0)
		return rc;
	jt_plan_begin(p, id);
	rc = counted_list(p, in, (int)mode, round_or_square, id == 0x8600);
	jt_plan_end(p);
	return rc;
}

/* Number of members of a list. */
static unsigned count_of(struct cw_bytes list_bytes)
{
	struct cw_reader r = cw_reader_of(list_bytes);
	struct cw_item list = cw_read_item(&r);
	unsigned n = 0;

	while (list_bytes.len > 0 && cw_item_more(&r, &list) && cw_read_whole_item(&r).len > 0)
		n++;
	return n;
}

static void put_count16(struct jt_plan *p, unsigned n)
{
	cw_write_u16be(&p->w, (uint16_t)n);
	if (p->edition == JT_2011)
		cw_write_u8(&p->w, (uint8_t)n);
}

static int polygon(struct jt_plan *p, struct cw_bytes in)
{
	struct cw_bytes vertices = cw_map_get(in, "vertices");
	struct cw_reader r = cw_reader_of(vertices);
	struct cw_item list = cw_read_item(&r);
	unsigned n = count_of(vertices);
	struct side s = { 0, 0, 0, 0 };
	int64_t id;
	uint32_t attr;
	size_t attr_at;
	int rc = jt_in_int(p, in, "id", 1, 0xffffffff, NEEDED, &id);

	if (rc == 0)
		rc = area_bits(p, in, 0xc13fu, &attr);
	if (rc < 0)
		return rc;
	if (n < 3 || n > (p->edition == JT_2011 ? 255u : 65535u))
		return jt_fail(p, "vertices: at least three are needed");
	jt_plan_begin(p, 0x8604);
	cw_write_u32be(&p->w, (uint32_t)id);
	attr_at = p->w.len;
	cw_write_u16be(&p->w, 0);
	rc = window(p, in, attr);
	if (rc == 0)
		rc = speed(p, in, attr);
	put_count16(p, n);
	while (rc == 0 && cw_item_more(&r, &list))
		rc = coordinate(p, cw_read_whole_item(&r), "latitude", "longitude", &s);
	if (rc == 0 && p->edition == JT_2019) {
		rc = night(p, in, attr);
		if (rc == 0)
			rc = text_behind(p, in, "name", 2);
	}
	patch16(p, attr_at, attr | (unsigned)s.south << 6 | (unsigned)s.west << 7);
	jt_plan_end(p);
	return rc;
}

static int point(struct jt_plan *p, struct cw_bytes one, unsigned number)
{
	struct side s = { 0, 0, 0, 0 };
	int64_t id, segment, width, too_long, too_short;
	unsigned attr = (has(one, "tooLong") || has(one, "tooShort") ? 1u : 0) | (has(one, "maxSpeed") ? 2u : 0);
	size_t at;
	int rc = jt_in_int(p, one, "pointId", 0, 0xffffffff, number, &id);

	if (rc == 0)
		rc = jt_in_int(p, one, "segmentId", 0, 0xffffffff, number, &segment);
	if (rc == 0)
		rc = jt_in_int(p, one, "width", 0, 255, 0, &width);
	if (rc == 0)
		rc = jt_in_int(p, one, "tooLong", 0, 65535, 0, &too_long);
	if (rc == 0)
		rc = jt_in_int(p, one, "tooShort", 0, 65535, 0, &too_short);
	if (rc < 0)
		return rc;
	if (p->edition != JT_2011)
		cw_write_u32be(&p->w, (uint32_t)id);
	cw_write_u32be(&p->w, (uint32_t)segment);
	rc = coordinate(p, one, "latitude", "longitude", &s);
	if (rc < 0)
		return rc;
	cw_write_u8(&p->w, (uint8_t)width);
	at = p->w.len;
	cw_write_u8(&p->w, 0);
	if (attr & 1) {
		cw_write_u16be(&p->w, (uint16_t)too_long);
		if (p->edition != JT_2011)
			cw_write_u16be(&p->w, (uint16_t)too_short);
	}
	rc = speed(p, one, attr);
	if (rc == 0 && p->edition == JT_2019)
		rc = night(p, one, attr);
	if (!p->w.overflow)
		p->w.ptr[at] = (uint8_t)(attr | (unsigned)s.south << 2 | (unsigned)s.west << 3);
	return rc;
}

static int route(struct jt_plan *p, struct cw_bytes in)
{
	struct cw_bytes points = cw_map_get(in, "points");
	struct cw_reader r = cw_reader_of(points);
	struct cw_item list = cw_read_item(&r);
	unsigned n = count_of(points), i = 0;
	int64_t id;
	uint32_t attr;
	int rc = jt_in_int(p, in, "id", 1, 0xffffffff, NEEDED, &id);

	if (rc == 0)
		rc = area_bits(p, in, 0x003du, &attr);
	if (rc < 0)
		return rc;
	if (n == 0 || n > (p->edition == JT_2011 ? 255u : 65535u))
		return jt_fail(p, "points: is missing or empty");
	jt_plan_begin(p, 0x8606);
	cw_write_u32be(&p->w, (uint32_t)id);
	cw_write_u16be(&p->w, (uint16_t)attr);
	rc = window(p, in, attr);
	put_count16(p, n);
	while (rc == 0 && cw_item_more(&r, &list))
		rc = point(p, cw_read_whole_item(&r), ++i);
	if (rc == 0 && p->edition == JT_2019)
		rc = text_behind(p, in, "name", 2);
	jt_plan_end(p);
	return rc;
}

/* The services take one polygon or route, or a list of them under `items`: one message each. */
static int each(struct jt_plan *p, struct cw_bytes in, int (*one)(struct jt_plan *, struct cw_bytes))
{
	struct cw_bytes items = cw_map_get(in, "items");
	struct cw_reader r = cw_reader_of(items);
	struct cw_item list = cw_read_item(&r);
	int rc = 0;

	if (items.len == 0)
		return one(p, in);
	if (count_of(items) == 0)
		return jt_fail(p, "items: is empty");
	while (rc == 0 && cw_item_more(&r, &list))
		rc = one(p, cw_read_whole_item(&r));
	return rc;
}

/* Deleting all must be said: an empty list alone is more likely a mistake. */
static int delete_areas(struct jt_plan *p, struct cw_bytes in, uint16_t id)
{
	struct cw_bytes list_bytes = cw_map_get(in, "ids");
	struct cw_reader r = cw_reader_of(list_bytes);
	struct cw_item list = cw_read_item(&r);
	unsigned left = count_of(list_bytes), n, i;

	if (left == 0) {
		if (cw_map_int(in, "all", 0) != 1)
			return jt_fail(p, "ids: is empty; all = 1 deletes all");
		jt_plan_begin(p, id);
		cw_write_u8(&p->w, 0);
		jt_plan_end(p);
		return 0;
	}
	while (left > 0) {
		n = left > MAX_IDS ? MAX_IDS : left;
		jt_plan_begin(p, id);
		cw_write_u8(&p->w, (uint8_t)n);
		for (i = 0; i < n; i++) {
			struct cw_item it;

			(void)cw_item_more(&r, &list);
			it = cw_read_item(&r);
			if (it.type != CW_ITEM_INT || it.i < 1 || it.i > 0xffffffff)
				return jt_fail(p, "ids: must be numbers from 1 to 4294967295");
			cw_write_u32be(&p->w, (uint32_t)it.i);
		}
		jt_plan_end(p);
		left -= n;
	}
	return 0;
}

/* ---- menus -------------------------------------------------------------------- */

static int event_item(struct jt_plan *p, struct cw_bytes one, int kind)
{
	int64_t id;
	int rc = jt_in_int(p, one, "id", 0, 255, NEEDED, &id);

	if (rc < 0)
		return rc;
	cw_write_u8(&p->w, (uint8_t)id);
	return kind == 4 ? 0 : text_behind(p, one, "text", 1);
}

static int info_item(struct jt_plan *p, struct cw_bytes one, int kind)
{
	int64_t type;
	int rc = jt_in_int(p, one, "type", 0, 255, NEEDED, &type);

	(void)kind;
	if (rc < 0)
		return rc;
	cw_write_u8(&p->w, (uint8_t)type);
	return text_behind(p, one, "name", 2);
}

static int contact_item(struct jt_plan *p, struct cw_bytes one, int kind)
{
	int64_t flag;
	int rc = jt_in_int(p, one, "flag", 1, 3, 3, &flag);

	(void)kind;
	if (rc < 0)
		return rc;
	cw_write_u8(&p->w, (uint8_t)flag);
	rc = text_behind(p, one, "number", 1);
	return rc < 0 ? rc : text_behind(p, one, "name", 1);
}

static int menu(struct jt_plan *p, struct cw_bytes in, uint16_t id, int max_kind, item_fn item)
{
	int64_t kind;
	int rc = jt_in_int(p, in, "kind", 0, max_kind, 1, &kind);

	if (rc < 0)
		return rc;
	jt_plan_begin(p, id);
	if (kind == 0)
		cw_write_u8(&p->w, 0);
	else
		rc = counted_list(p, in, (int)kind, item, (int)kind);
	jt_plan_end(p);
	return rc;
}

static int question(struct jt_plan *p, struct cw_bytes in)
{
	struct cw_bytes answers = cw_map_get(in, "answers");
	struct cw_reader r = cw_reader_of(answers);
	struct cw_item list = cw_read_item(&r);
	int64_t flags, id;
	int rc = jt_in_int(p, in, "flags", 0, 255, 0, &flags);

	if (rc < 0)
		return rc;
	flags |= (cw_map_int(in, "urgent", 0) != 0) | (cw_map_int(in, "tts", 0) != 0) << 3 | (cw_map_int(in, "screen", 0) != 0) << 4;
	jt_plan_begin(p, 0x8302);
	cw_write_u8(&p->w, (uint8_t)flags);
	rc = text_behind(p, in, "question", 1);
	while (rc == 0 && answers.len > 0 && cw_item_more(&r, &list)) {
		struct cw_bytes one = cw_read_whole_item(&r);

		rc = jt_in_int(p, one, "id", 0, 255, NEEDED, &id);
		if (rc < 0)
			return rc;
		cw_write_u8(&p->w, (uint8_t)id);
		rc = text_behind(p, one, "text", 2);
	}
	jt_plan_end(p);
	return rc;
}

int jt_encode_area_service(struct jt_plan *p, struct cw_bytes name, struct cw_bytes in)
{
	if (jt_name_is(name, "SetCircles"))
		return set_areas(p, in, 0x8600);
	if (jt_name_is(name, "DeleteCircles"))
		return delete_areas(p, in, 0x8601);
	if (jt_name_is(name, "SetRectangles"))
		return set_areas(p, in, 0x8602);
	if (jt_name_is(name, "DeleteRectangles"))
		return delete_areas(p, in, 0x8603);
	if (jt_name_is(name, "SetPolygon"))
		return each(p, in, polygon);
	if (jt_name_is(name, "DeletePolygons"))
		return delete_areas(p, in, 0x8605);
	if (jt_name_is(name, "SetRoute"))
		return each(p, in, route);
	if (jt_name_is(name, "DeleteRoutes"))
		return delete_areas(p, in, 0x8607);
	if (jt_name_is(name, "SetEvents"))
		return menu(p, in, 0x8301, 4, event_item);
	if (jt_name_is(name, "AskQuestion"))
		return question(p, in);
	if (jt_name_is(name, "SetInfoMenu"))
		return menu(p, in, 0x8303, 3, info_item);
	if (jt_name_is(name, "SetPhoneBook"))
		return menu(p, in, 0x8401, 3, contact_item);
	return CW_EUNSUPPORTED;
}
