/*
 * jt808_decode_loc.c - the location block and its additional items.
 *
 * An item is interpreted only when its length is the one in the standard; all else
 * stays raw. Items that overrun the body do not spoil the position.
 */
#include "jt808.h"

int jt_loc_read(struct cw_bytes body, struct jt_loc *ret)
{
	struct cw_reader r = cw_reader_of(body);
	struct cw_bytes time;

	ret->alarm = cw_read_u32be(&r);
	ret->status = cw_read_u32be(&r);
	ret->lat = cw_read_u32be(&r);
	ret->lon = cw_read_u32be(&r);
	ret->altitude = cw_read_u16be(&r);
	ret->speed = cw_read_u16be(&r);
	ret->direction = cw_read_u16be(&r);
	time = cw_read_bytes(&r, 6);
	if (r.short_read)
		return CW_EPROTO;
	ret->time = time.ptr;
	ret->items = cw_read_rest(&r);
	return 0;
}

/* Magnitude and hemisphere by the book; from 2^31 on the sender meant two's complement, sign included. */
int32_t jt_signed(uint32_t raw, int negative)
{
	if (raw >= 0x80000000u)
		return (int32_t)raw;
	return negative ? -(int32_t)raw : (int32_t)raw;
}

int jt_item_next(struct cw_reader *r, struct jt_item *ret)
{
	size_t len;

	if (cw_read_left(r) < 2)
		return 0;
	len = r->ptr[r->pos + 1];
	if (len > cw_read_left(r) - 2)
		return 0;
	ret->id = cw_read_u8(r);
	(void)cw_read_u8(r);
	ret->data = cw_read_bytes(r, len);
	return 1;
}

static void item_11(struct jt_out *o, struct cw_reader *r)
{
	unsigned kind = cw_read_u8(r);

	o_uint(o, "area_type", NULL, kind);
	if (cw_read_left(r) == 4)
		o_uint(o, "area_id", NULL, cw_read_u32be(r));
}

static void tyres(struct jt_out *o, struct cw_bytes b)
{
	size_t i;

	o_key(o, "tyre_pressure", NULL);
	cw_put_array(&o->w);
	for (i = 0; i < b.len; i++)
		cw_put_uint(&o->w, b.ptr[i]);
	cw_put_end(&o->w);
}

/* Sign and magnitude by the text, two's complement in other devices; real temperatures tell which. */
static int temperature(uint16_t v)
{
	if (!(v & 0x8000u))
		return v;
	return (v & 0x7fffu) < 0x4000u ? -(int)(v & 0x7fffu) : (int)(int16_t)v;
}

static void item_members(struct jt_out *o, const struct jt_item *it)
{
	struct cw_reader r = cw_reader_of(it->data);
	size_t n = it->data.len;
	uint32_t v;

	switch (it->id << 8 | (int)n) {
	case 0x0104: o_uint(o, "mileage_0.1km", NULL, cw_read_u32be(&r)); break;
	case 0x0202: o_uint(o, "fuel_0.1L", NULL, cw_read_u16be(&r)); break;
	case 0x0302: o_uint(o, "recorder_speed_0.1kmh", NULL, cw_read_u16be(&r)); break;
	case 0x0402: o_uint(o, "manual_ack_event_id", NULL, cw_read_u16be(&r)); break;
	case 0x051e: tyres(o, it->data); break;
	case 0x0602:
		o_key(o, "cabin_temperature", NULL);
		cw_put_int(&o->w, temperature(cw_read_u16be(&r)));
		break;
	case 0x1101:
	case 0x1105: item_11(o, &r); break;
	case 0x1206:
		o_uint(o, "area_type", NULL, cw_read_u8(&r));
		o_uint(o, "area_id", NULL, cw_read_u32be(&r));
		o_uint(o, "direction", NULL, cw_read_u8(&r));
		break;
	case 0x1307:
		o_uint(o, "segment_id", NULL, cw_read_u32be(&r));
		o_uint(o, "seconds", NULL, cw_read_u16be(&r));
		o_uint(o, "result", NULL, cw_read_u8(&r));
		break;
	case 0x2504: o_bits(o, "signal_bits", cw_read_u32be(&r), 32); break;
	case 0x2a02: o_bits(o, "io_bits", cw_read_u16be(&r), 16); break;
	case 0x2b04:
		v = cw_read_u32be(&r);
		o_uint(o, "ad1", NULL, v >> 16);
		o_uint(o, "ad0", NULL, v & 0xffffu);
		break;
	case 0x3001: o_uint(o, "rssi", NULL, cw_read_u8(&r)); break;
	case 0x3101: o_uint(o, "satellites", NULL, cw_read_u8(&r)); break;
	default: break;
	}
}

static void items_error(struct jt_out *o, struct cw_reader *r)
{
	size_t left = cw_read_left(r);
	unsigned id, len;

	if (left == 0)
		return;
	o_key(o, "items_error", NULL);
	cw_put_map(&o->w);
	if (left == 1) {
		o_hex(o, "trailing_bytes", NULL, cw_read_rest(r));
	} else {
		id = cw_read_u8(r);
		len = cw_read_u8(r);
		o_hexnum(o, "overrun_item", NULL, id, 2);
		o_uint(o, "declared_len", NULL, len);
		o_uint(o, "available", NULL, left - 2);
		o_hex(o, "rest_hex", NULL, cw_read_rest(r));
	}
	cw_put_end(&o->w);
}

static void put_items(struct jt_out *o, struct cw_bytes items)
{
	struct cw_reader r = cw_reader_of(items);
	struct jt_item it;

	o_key(o, "items", NULL);
	cw_put_array(&o->w);
	while (jt_item_next(&r, &it)) {
		cw_put_map(&o->w);
		o_hexnum(o, "id", NULL, it.id, 2);
		o_uint(o, "len", NULL, it.data.len);
		o_hex(o, "hex", NULL, it.data);
		item_members(o, &it);
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	items_error(o, &r);
}

void jt_location_members(struct jt_out *o, const struct jt_loc *l, int with_items)
{
	struct cw_writer *w = &o->w;

	if (o->tm) {
		jt_put_props(o, l, NULL, o->edition);
		return;
	}
	cw_field_uint(w, "alarm", l->alarm);
	o_bits(o, "alarm_bits", l->alarm, 32);
	cw_field_uint(w, "status", l->status);
	o_bits(o, "status_bits", l->status, 32);
	cw_field_uint(w, "lat_raw", l->lat);
	cw_field_uint(w, "lon_raw", l->lon);
	cw_field_decimal(w, "latitude", jt_signed(l->lat, (l->status >> 2) & 1), -6);
	cw_field_decimal(w, "longitude", jt_signed(l->lon, (l->status >> 3) & 1), -6);
	cw_field_bool(w, "located", (l->status >> 1) & 1);
	cw_field_uint(w, "altitude_raw", l->altitude);
	cw_field_int(w, "altitude_m", (int16_t)l->altitude);
	cw_field_uint(w, "speed_raw", l->speed);
	cw_field_decimal(w, "speed_kmh", l->speed, -1);
	cw_field_uint(w, "direction", l->direction);
	o_time(o, "time", NULL, cw_bytes_of(l->time, 6));
	if (with_items)
		put_items(o, l->items);
}

void jt_put_location(struct jt_out *o, const struct jt_loc *l, int with_items)
{
	cw_put_map(&o->w);
	jt_location_members(o, l, with_items);
	cw_put_end(&o->w);
}
