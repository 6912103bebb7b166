/*
 * jt808_map.c - what a terminal reports becomes properties and events of the thing model.
 *
 * One report is one property post with the device's time. Alarm bits become events
 * when they change; which bits an edition defines decides, not which are set. All
 * records of one message share its ticket, and each has a duplicate key made of
 * the message and its place in it, so that a resent message adds nothing.
 */
#include "jt808.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const alarm_codes[32] = {
	"emergency", "overspeed", "fatigue", "danger", "gnssFault", "gnssAntennaCut", "gnssAntennaShort", "powerLow",
	"powerLost", "displayFault", "ttsFault", "cameraFault", "icCardFault", "overspeedWarning", "fatigueWarning", "forbiddenHours",
	"tyreWarning", "blindSpot", "dailyDriving", "parkingTooLong", "areaInOut", "routeInOut", "segmentTime", "offRoute",
	"vssFault", "fuelAbnormal", "stolen", "illegalIgnition", "illegalMovement", "collision", "rollover", "illegalDoor",
};

/* Bits that exist, and those that the terminal clears itself once the report is answered. */
static const uint32_t alarm_defined[] = { 0x1ffc0fffu, 0xfffc7fffu, 0x7fffffffu };
static const uint32_t alarm_brief[] = { 0x18700009u, 0x98700009u, 0x18700001u };

static const struct { uint16_t id; const char *name; } param_names[] = {
	{ 0x0001, "HeartbeatInterval" }, { 0x0013, "MainServer" }, { 0x0018, "MainTcpPort" }, { 0x0020, "ReportStrategy" },
	{ 0x0027, "SleepReportInterval" }, { 0x0028, "EmergencyReportInterval" }, { 0x0029, "DefaultReportInterval" },
	{ 0x002c, "DefaultReportDistance" }, { 0x0050, "AlarmMask" }, { 0x0055, "MaxSpeed" }, { 0x0056, "OverspeedDuration" },
	{ 0x0057, "ContinuousDrivingLimit" }, { 0x0083, "Plate" }, { 0x0084, "PlateColor" },
};

const char *jt_param_name(uint32_t id)
{
	size_t i;

	for (i = 0; i < sizeof(param_names) / sizeof(param_names[0]); i++)
		if (param_names[i].id == id)
			return param_names[i].name;
	return NULL;
}

uint32_t jt_param_of(struct cw_bytes name)
{
	size_t i;

	for (i = 0; i < sizeof(param_names) / sizeof(param_names[0]); i++)
		if (cw_bytes_equal(name, cw_bytes_text(param_names[i].name)))
			return param_names[i].id;
	return 0;
}

/* ---- properties of a position ------------------------------------------------- */

enum known { K_MILEAGE, K_FUEL, K_RECORDER, K_MANUAL, K_TYRES, K_CABIN, K_SIGNALS, K_IO, K_ANALOG, K_RSSI, K_SATS, K_COUNT };

static int known_of(const struct jt_item *it, const struct jt_conf *conf)
{
	switch (it->id << 8 | (int)it->data.len) {
	case 0x0104: return K_MILEAGE;
	case 0x0202: return (it->data.ptr[0] & 0x80) && conf->percent_fuel ? -1 : K_FUEL;
	case 0x0302: return K_RECORDER;
	case 0x0402: return K_MANUAL;
	case 0x051e: return K_TYRES;
	case 0x0602: return K_CABIN;
	case 0x2504: return K_SIGNALS;
	case 0x2a02: return K_IO;
	case 0x2b04: return K_ANALOG;
	case 0x3001: return K_RSSI;
	case 0x3101: return K_SATS;
	default: return -1;
	}
}

/* Items that become events of their own. */
static int is_event_item(const struct jt_item *it)
{
	int key = it->id << 8 | (int)it->data.len;

	return key == 0x1101 || key == 0x1105 || key == 0x1206 || key == 0x1307;
}

static uint32_t be(const uint8_t *p, unsigned n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

static void put_hex_word(struct cw_writer *w, uint32_t v, unsigned digits)
{
	static const char hex[] = "0123456789abcdef";
	char t[8];
	unsigned i;

	for (i = 0; i < digits; i++)
		t[i] = hex[(v >> (4 * (digits - 1 - i))) & 15];
	cw_put_textn(w, t, digits);
}

static void put_tyres(struct cw_writer *w, const uint8_t *p)
{
	int i;

	cw_field_array(w, "TyrePressure");
	for (i = 0; i < 30; i++)
		cw_put_int(w, p[i] == 0xff ? -1 : p[i]);
	cw_put_end(w);
}

static void put_known(struct cw_writer *w, const uint8_t *const k[K_COUNT])
{
	uint32_t v;

	if (k[K_MILEAGE] != NULL)
		cw_field_decimal(w, "Mileage", be(k[K_MILEAGE], 4), -1);
	if (k[K_FUEL] != NULL)
		cw_field_decimal(w, "Fuel", be(k[K_FUEL], 2), -1);
	if (k[K_RECORDER] != NULL)
		cw_field_decimal(w, "RecorderSpeed", be(k[K_RECORDER], 2), -1);
	if (k[K_MANUAL] != NULL)
		cw_field_uint(w, "ManualAlarmEventId", be(k[K_MANUAL], 2));
	if (k[K_TYRES] != NULL)
		put_tyres(w, k[K_TYRES]);
	if (k[K_CABIN] != NULL) {
		v = be(k[K_CABIN], 2);
		cw_field_int(w, "CabinTemperature", !(v & 0x8000u) ? (int)v : (v & 0x7fffu) < 0x4000u ? -(int)(v & 0x7fffu) : (int)(int16_t)v);
	}
	if (k[K_SIGNALS] != NULL) {
		cw_put_text(w, "VehicleSignals");
		put_hex_word(w, be(k[K_SIGNALS], 4), 8);
	}
	if (k[K_IO] != NULL) {
		cw_put_text(w, "IoFlags");
		put_hex_word(w, be(k[K_IO], 2), 4);
	}
	if (k[K_ANALOG] != NULL) {
		cw_field_uint(w, "Ad0", be(k[K_ANALOG] + 2, 2));
		cw_field_uint(w, "Ad1", be(k[K_ANALOG], 2));
	}
	if (k[K_RSSI] != NULL)
		cw_field_uint(w, "SignalStrength", k[K_RSSI][0]);
	if (k[K_SATS] != NULL)
		cw_field_uint(w, "Satellites", k[K_SATS][0]);
}

/* Every item that became nothing else, in order; `rest` is what is no item. */
static void put_ext(struct jt_out *o, struct cw_bytes items, const uint8_t *const k[K_COUNT])
{
	struct cw_reader r = cw_reader_of(items);
	struct cw_writer *w = &o->w;
	struct jt_item it;
	char id[8];

	cw_field_array(w, "ExtItems");
	while (jt_item_next(&r, &it)) {
		int n = known_of(&it, o->conf);

		if ((n >= 0 && k[n] == it.data.ptr) || is_event_item(&it))
			continue;
		cw_put_map(w);
		snprintf(id, sizeof(id), "0x%02x", it.id);
		cw_field_text(w, "id", id);
		cw_put_text(w, "data");
		jt_put_hex(w, it.data);
		cw_put_end(w);
	}
	if (cw_read_left(&r) > 0) {
		cw_put_map(w);
		cw_field_text(w, "id", "rest");
		cw_put_text(w, "data");
		jt_put_hex(w, cw_read_rest(&r));
		cw_put_end(w);
	}
	cw_put_end(w);
}

static int all_items(struct cw_bytes items)
{
	struct cw_reader r = cw_reader_of(items);
	struct jt_item it;

	while (jt_item_next(&r, &it))
		;
	return cw_read_left(&r) == 0;
}

/* Twenty bytes that are no items: a fixed trailer of some vendors (Q12). Reading it as items would invent values. */
static void put_trailer(struct cw_writer *w, struct cw_bytes items)
{
	cw_field_array(w, "ExtItems");
	cw_put_map(w);
	cw_field_text(w, "id", "rest");
	cw_put_text(w, "data");
	jt_put_hex(w, items);
	cw_put_end(w);
	cw_put_end(w);
}

static void put_items(struct jt_out *o, struct cw_bytes items)
{
	const uint8_t *k[K_COUNT] = { NULL };
	struct cw_reader r = cw_reader_of(items);
	struct jt_item it;
	int ext = 0, n;

	if (items.len == 20 && !all_items(items)) {
		put_trailer(&o->w, items);
		return;
	}
	/* An id may come again: the last one is the property, the earlier ones stay visible raw. */
	while (jt_item_next(&r, &it)) {
		n = known_of(&it, o->conf);
		if (n < 0 ? !is_event_item(&it) : k[n] != NULL)
			ext = 1;
		if (n >= 0)
			k[n] = it.data.ptr;
	}
	put_known(&o->w, k);
	if (ext || cw_read_left(&r) > 0)
		put_ext(o, items, k);
}

static void put_gnss(struct cw_writer *w, uint32_t status)
{
	static const char *const names[] = { "GPS", "BeiDou", "GLONASS", "Galileo" };
	int i;

	cw_field_array(w, "GnssSystems");
	for (i = 0; i < 4; i++)
		if ((status >> (18 + i)) & 1)
			cw_put_text(w, names[i]);
	cw_put_end(w);
}

static void put_status(struct cw_writer *w, uint32_t s, int edition)
{
	int i;

	cw_field_uint(w, "AccOn", s & 1);
	cw_field_uint(w, "OutOfService", (s >> 4) & 1);
	cw_field_uint(w, "FuelCut", (s >> 10) & 1);
	cw_field_uint(w, "CircuitCut", (s >> 11) & 1);
	cw_field_uint(w, "DoorLocked", (s >> 12) & 1);
	if (edition != JT_2011) {
		cw_field_uint(w, "LoadState", (s >> 8) & 3);
		cw_field_array(w, "DoorOpen");
		for (i = 0; i < 5; i++)
			cw_put_uint(w, (s >> (13 + i)) & 1);
		cw_put_end(w);
		put_gnss(w, s);
	}
	if (edition == JT_2019) {
		cw_field_uint(w, "Moving", (s >> 22) & 1);
		cw_field_uint(w, "ForwardCollisionWarning", (s >> 6) & 1);
		cw_field_uint(w, "LaneDepartureWarning", (s >> 7) & 1);
	}
}

static void put_date(struct cw_writer *w, const char *key, int64_t ms)
{
	char t[24];
	int n = 24;
	uint64_t v = (uint64_t)ms;

	/* Never negative: device times lie between 2000 and 2099. */
	do
		t[--n] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	cw_field_textn(w, key, t + n, (size_t)(24 - n));
}

/* 1 and degrees when the report has a position. */
static int position(const struct jt_loc *l, int32_t *lat, int32_t *lon)
{
	*lat = jt_signed(l->lat, (l->status >> 2) & 1);
	*lon = jt_signed(l->lon, (l->status >> 3) & 1);
	return (l->status & 2) && *lat <= 90000000 && *lat >= -90000000 && *lon <= 180000000 && *lon >= -180000000;
}

void jt_put_props(struct jt_out *o, const struct jt_loc *l, const struct jt_conn *c, int edition)
{
	struct cw_writer *w = &o->w;
	int32_t lat, lon;
	int64_t ms;

	if (position(l, &lat, &lon)) {
		cw_field_map(w, "GeoLocation");
		cw_field_decimal(w, "Longitude", lon, -6);
		cw_field_decimal(w, "Latitude", lat, -6);
		cw_field_int(w, "Altitude", (int16_t)l->altitude);
		cw_field_uint(w, "CoordinateSystem", (l->status >> 5) & 1 ? 2 : 1);
		cw_put_end(w);
	}
	cw_field_uint(w, "Located", (l->status >> 1) & 1);
	cw_field_decimal(w, "Speed", l->speed, -1);
	cw_field_uint(w, "Direction", l->direction);
	if (jt_bcd_time(l->time, o->conf->zone_min, &ms)) {
		put_date(w, "GpsTime", ms);
	} else {
		cw_put_text(w, "GpsTimeRaw");
		jt_put_hex(w, cw_bytes_of(l->time, 6));
	}
	if (c == NULL || !o->conf->change_only || !c->has_status || c->status != l->status)
		put_status(w, l->status, edition);
	cw_put_text(w, "AlarmFlags");
	put_hex_word(w, l->alarm, 8);
	cw_put_text(w, "StatusFlags");
	put_hex_word(w, l->status, 8);
	if (l->items.len > 0)
		put_items(o, l->items);
}

/* ---- records ------------------------------------------------------------------ */

/* One message on its way to records: numbers them, and knows whether time and replay apply. */
struct pub {
	struct cw_decoder *d;
	const struct cw_event *ev;
	struct jt_conn *c;
	const struct jt_msg *m;
	uint64_t ticket;
	uint8_t key[17];
	int emitted;
	int refused; /* the host had no room: the terminal must send again */
	int replay;
	int has_time;
	int64_t time;
};

static const uint8_t zero_key[16];

static void pub_init(struct pub *p, struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, uint64_t ticket)
{
	memset(p, 0, sizeof(*p));
	p->d = d;
	p->ev = ev;
	p->c = c;
	p->m = m;
	p->ticket = ticket;
	jt_siphash(zero_key, m->body, (uint64_t)m->id << 16 | m->serial, p->key);
}

static void begin(struct pub *p, struct jt_out *o, unsigned kind, const char *name, unsigned type, unsigned flags)
{
	jt_out_init(o, p->d, p->ev, 1, p->d->scratch, JT_SCRATCH);
	flags |= p->replay ? CW_RECORD_REPLAY : 0;
	cw_record_begin(&o->w, kind);
	if (name != NULL)
		cw_record_name(&o->w, name);
	if (p->has_time)
		cw_record_time(&o->w, p->time);
	if (flags != 0)
		cw_record_flags(&o->w, flags);
	if (type != 0)
		cw_record_event_type(&o->w, type);
	p->key[16] = (uint8_t)p->emitted;
	cw_record_dedup(&o->w, cw_bytes_of(p->key, sizeof(p->key)));
	cw_record_body(&o->w);
}

/* 1 when the host took it. */
static int finish(struct pub *p, struct jt_out *o)
{
	int rc;

	cw_put_end(&o->w);
	cw_record_end(&o->w);
	if (o->w.overflow) {
		jt_count(p->d, JT_N_BAD_BODY, 1);
		return 0;
	}
	rc = p->d->host->emit(p->d->hx, p->ev->conn, p->c->device, p->ticket, cw_written(&o->w));
	if (rc < 0) {
		p->refused |= cw_error_action(rc) == CW_ACTION_RETRY || rc == CW_ELIMIT;
		return 0;
	}
	p->emitted++;
	return 1;
}

static void alarm_event(struct pub *p, const struct jt_loc *l, int bit, int state)
{
	struct jt_out o;
	int32_t lat, lon;
	int has = position(l, &lat, &lon);

	begin(p, &o, CW_KIND_EVENT, "VehicleAlarm", CW_EVENT_ALERT, CW_RECORD_URGENT);
	cw_field_text(&o.w, "code", alarm_codes[bit]);
	cw_field_int(&o.w, "bit", bit);
	cw_field_int(&o.w, "state", state);
	if (p->has_time)
		put_date(&o.w, "time", p->time);
	if (has) {
		cw_field_decimal(&o.w, "longitude", lon, -6);
		cw_field_decimal(&o.w, "latitude", lat, -6);
	}
	cw_field_decimal(&o.w, "speed", l->speed, -1);
	if (p->replay)
		cw_field_int(&o.w, "Replay", 1);
	finish(p, &o);
}

static void alarm_events(struct pub *p, const struct jt_loc *l, uint32_t before)
{
	uint32_t now = l->alarm & alarm_defined[p->m->edition], gone, come;
	int bit;

	before &= alarm_defined[p->m->edition];
	come = now & ~before;
	gone = before & ~now & ~alarm_brief[p->m->edition];
	for (bit = 0; (come | gone) != 0 && bit < 32; bit++) {
		if ((come >> bit) & 1)
			alarm_event(p, l, bit, 1);
		else if ((gone >> bit) & 1)
			alarm_event(p, l, bit, 0);
	}
}

static void item_event(struct pub *p, const struct jt_item *it)
{
	struct cw_reader r = cw_reader_of(it->data);
	struct jt_out o;

	begin(p, &o, CW_KIND_EVENT, it->id == 0x11 ? "OverspeedInfo" : it->id == 0x12 ? "AreaPassed" : "SegmentTime", CW_EVENT_INFO, 0);
	if (it->id == 0x11) {
		cw_field_uint(&o.w, "placeType", cw_read_u8(&r));
		cw_field_uint(&o.w, "placeId", it->data.len == 5 ? cw_read_u32be(&r) : 0);
	} else if (it->id == 0x12) {
		cw_field_uint(&o.w, "areaType", cw_read_u8(&r));
		cw_field_uint(&o.w, "areaId", cw_read_u32be(&r));
		cw_field_uint(&o.w, "direction", cw_read_u8(&r));
	} else {
		cw_field_uint(&o.w, "segmentId", cw_read_u32be(&r));
		cw_field_uint(&o.w, "seconds", cw_read_u16be(&r));
		cw_field_uint(&o.w, "result", cw_read_u8(&r));
	}
	finish(p, &o);
}

static void item_events(struct pub *p, struct cw_bytes items)
{
	struct cw_reader r = cw_reader_of(items);
	struct jt_item it;

	if (items.len == 20 && !all_items(items))
		return;
	while (jt_item_next(&r, &it))
		if (is_event_item(&it))
			item_event(p, &it);
	if (cw_read_left(&r) > 0)
		jt_count(p->d, JT_N_ITEMS, 1);
}

/* Properties, then alarms, then what items tell; the alarm word is compared with that of the report before. */
static int publish_loc(struct pub *p, const struct jt_loc *l)
{
	uint32_t *before = p->replay ? &p->c->replay_alarm : &p->c->alarm;
	uint32_t was = *before;
	struct jt_out o;

	p->has_time = jt_bcd_time(l->time, jt_conf_of(p->d, p->ev)->zone_min, &p->time);
	begin(p, &o, CW_KIND_PROPERTIES, NULL, 0, 0);
	jt_put_props(&o, l, p->c, p->m->edition);
	if (p->replay)
		cw_field_int(&o.w, "Replay", 1);
	if (!finish(p, &o))
		return 0;
	*before = l->alarm;
	if (!p->replay) {
		p->c->status = l->status;
		p->c->has_status = 1;
	}
	if (was != l->alarm)
		alarm_events(p, l, was);
	if (l->items.len > 0)
		item_events(p, l->items);
	return !p->replay && was != l->alarm;
}

static int publish_location(struct pub *p, struct cw_bytes body)
{
	struct jt_loc l;

	if (jt_loc_read(body, &l) < 0)
		return CW_EPROTO;
	if (publish_loc(p, &l))
		jt_save(p->d, p->ev, p->c);
	return 0;
}

/* Oldest first is the order of storing in the terminal; the clock decides when it disagrees. */
struct batch_item {
	int64_t time;
	struct cw_bytes body;
};

#define BATCH_MAX 1024

static void sort_batch(struct batch_item *v, size_t n)
{
	size_t i, k;

	for (i = 1; i < n; i++) {
		struct batch_item x = v[i];

		for (k = i; k > 0 && v[k - 1].time > x.time; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
}

static int publish_batch(struct pub *p, struct cw_bytes body)
{
	struct cw_reader r = cw_reader_of(body);
	struct batch_item v[BATCH_MAX];
	size_t n = 0, i;
	struct jt_loc l;
	int save = 0, zone = jt_conf_of(p->d, p->ev)->zone_min;
	int64_t last = INT64_MIN;

	(void)cw_read_u16be(&r); /* the count is not to be trusted */
	p->replay = cw_read_u8(&r) == 1;
	if (r.short_read)
		return CW_EPROTO;
	while (cw_read_left(&r) >= 2 && n < BATCH_MAX) {
		size_t len = cw_read_u16be(&r);

		if (len > cw_read_left(&r))
			break;
		v[n].body = cw_read_bytes(&r, len);
		if (jt_loc_read(v[n].body, &l) < 0)
			continue;
		/* One without a time stays behind the one it came after. */
		if (!jt_bcd_time(l.time, zone, &v[n].time))
			v[n].time = last;
		last = v[n].time;
		n++;
	}
	if (n == 0)
		return CW_EPROTO;
	sort_batch(v, n);
	for (i = 0; i < n; i++)
		if (jt_loc_read(v[i].body, &l) == 0)
			save |= publish_loc(p, &l);
	if (save)
		jt_save(p->d, p->ev, p->c);
	return 0;
}

/* ---- other messages ----------------------------------------------------------- */

static void copy_member(struct cw_writer *w, const char *key, struct cw_bytes map, const char *from)
{
	struct cw_bytes v = cw_map_get(map, from);

	if (v.len == 0)
		return;
	cw_put_text(w, key);
	cw_write_bytes(w, v);
}

/* A second writer's room, for what is decoded first and copied into a record after. */
#define SIDE (JT_SCRATCH / 4)

static struct cw_bytes decode_aside(struct pub *p, const struct jt_msg *m, uint8_t *buf, size_t size)
{
	struct jt_out o;

	jt_out_init(&o, p->d, p->ev, 1, buf, size);
	cw_put_map(&o.w);
	if (jt_decode_body(&o, m) < 0)
		return cw_bytes_of(NULL, 0);
	cw_put_end(&o.w);
	return o.w.overflow ? cw_bytes_of(NULL, 0) : cw_written(&o.w);
}

static void publish_registered(struct pub *p, struct cw_bytes map)
{
	struct jt_out o;

	begin(p, &o, CW_KIND_EVENT, "Registered", CW_EVENT_INFO, 0);
	copy_member(&o.w, "province", map, "province");
	copy_member(&o.w, "city", map, "city");
	copy_member(&o.w, "manufacturer", map, "manufacturer");
	copy_member(&o.w, "model", map, "model");
	copy_member(&o.w, "terminalId", map, "terminalId");
	copy_member(&o.w, "plateColor", map, "plateColor");
	copy_member(&o.w, "plate", map, "plate");
	finish(p, &o);
	begin(p, &o, CW_KIND_PROPERTIES, NULL, 0, 0);
	copy_member(&o.w, "PlateNumber", map, "plate");
	copy_member(&o.w, "PlateColor", map, "plateColor");
	copy_member(&o.w, "TerminalModel", map, "model");
	copy_member(&o.w, "TerminalId", map, "terminalId");
	copy_member(&o.w, "Manufacturer", map, "manufacturer");
	finish(p, &o);
}

/* Once attached: the registration that waited, and what 0x0102 of 2019 told. */
void jt_publish_identity(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *auth)
{
	uint8_t buf[4096];
	struct jt_msg reg;
	struct cw_bytes map;
	struct jt_out o;
	struct pub p;

	if (c->reg != NULL) {
		memset(&reg, 0, sizeof(reg));
		reg.id = 0x0100;
		reg.edition = c->reg[0];
		reg.wide = reg.edition == JT_2019;
		reg.body = cw_bytes_of(c->reg + 1, c->reg_len - 1u);
		pub_init(&p, d, ev, c, &reg, 0);
		map = decode_aside(&p, &reg, buf, sizeof(buf));
		if (map.len > 0)
			publish_registered(&p, map);
	}
	if (auth == NULL)
		return;
	pub_init(&p, d, ev, c, auth, 0);
	map = decode_aside(&p, auth, buf, sizeof(buf));
	begin(&p, &o, CW_KIND_PROPERTIES, NULL, 0, 0);
	cw_field_text(&o.w, "ProtocolEdition", jt_edition_name(c->edition));
	if (map.len > 0) {
		copy_member(&o.w, "Imei", map, "imei");
		copy_member(&o.w, "SoftwareVersion", map, "softwareVersion");
	}
	finish(&p, &o);
}

int jt_publish_event(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const char *name, struct cw_bytes body, struct cw_bytes same,
                     uint64_t ticket)
{
	struct cw_writer w = cw_writer_of(d->scratch, JT_SCRATCH / 2);
	uint8_t key[16];

	cw_record_begin(&w, CW_KIND_EVENT);
	cw_record_name(&w, name);
	cw_record_event_type(&w, CW_EVENT_INFO);
	if (same.len > 0) {
		jt_siphash(zero_key, same, 0, key);
		cw_record_dedup(&w, cw_bytes_of(key, sizeof(key)));
	}
	cw_put_uint(&w, 7);
	cw_write_bytes(&w, body);
	cw_record_end(&w);
	return w.overflow ? CW_ELIMIT : d->host->emit(d->hx, ev->conn, c->device, ticket, cw_written(&w));
}

void jt_publish_raw(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, uint64_t ticket)
{
	struct jt_out o;
	struct pub p;

	pub_init(&p, d, ev, c, m, ticket);
	begin(&p, &o, CW_KIND_EVENT, "RawUplink", CW_EVENT_INFO, 0);
	o_hexnum(&o, NULL, "messageId", m->id, 4);
	cw_field_uint(&o.w, "serial", m->serial);
	cw_field_text(&o.w, "edition", m->vendor ? "vendor" : jt_edition_name(m->edition));
	cw_field_int(&o.w, "encrypted", (m->attr & 0x1c00u) != 0 && !m->vendor);
	o_hex(&o, NULL, "bodyHex", m->body);
	finish(&p, &o);
}

static void put_param_props(struct cw_writer *w, struct cw_bytes items)
{
	struct cw_reader r = cw_reader_of(items);
	struct cw_item list = cw_read_item(&r);

	while (cw_item_more(&r, &list)) {
		struct cw_bytes item = cw_read_whole_item(&r), id = cw_map_text(item, "id"), v = cw_map_get(item, "value");
		const char *name;
		char text[12];
		unsigned n;

		if (item.len == 0)
			break;
		if (v.len == 0 || id.len < 3 || id.len >= sizeof(text))
			continue;
		memcpy(text, id.ptr, id.len);
		text[id.len] = 0;
		if (sscanf(text, "0x%x", &n) != 1 || (name = jt_param_name(n)) == NULL)
			continue;
		cw_put_text(w, name);
		if (n == 0x0050)
			put_hex_word(w, (uint32_t)cw_map_int(item, "value", 0), 8);
		else
			cw_write_bytes(w, v);
	}
}

/* Named parameters of a 0x0104 that came, or of a 0x8103 that was accepted. */
void jt_publish_params(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, uint64_t ticket, int *ret_emitted)
{
	uint8_t *buf = d->scratch + JT_SCRATCH - SIDE;
	struct cw_bytes map;
	struct jt_out o;
	struct pub p;
	size_t before;

	pub_init(&p, d, ev, c, m, ticket);
	map = decode_aside(&p, m, buf, SIDE);
	if (map.len == 0)
		return;
	begin(&p, &o, CW_KIND_PROPERTIES, NULL, 0, 0);
	o.w.size = JT_SCRATCH - SIDE;
	before = o.w.len;
	put_param_props(&o.w, cw_map_get(map, "items"));
	if (o.w.len > before && finish(&p, &o))
		*ret_emitted = 1;
}

static const struct { uint16_t id; const char *name; } events[] = {
	{ 0x0108, "UpgradeResult" }, { 0x0301, "EventReported" }, { 0x0302, "QuestionAnswered" }, { 0x0303, "InfoSubscription" },
	{ 0x0500, "ControlResult" }, { 0x0608, "AreaData" }, { 0x0700, "RecorderData" }, { 0x0701, "Waybill" }, { 0x0702, "DriverIdentity" },
	{ 0x0705, "CanData" }, { 0x0800, "MediaEvent" }, { 0x0801, "MediaUploaded" }, { 0x0802, "MediaFound" }, { 0x0805, "ShotResult" },
	{ 0x0900, "TransparentUp" }, { 0x0a00, "TerminalKey" },
};

static int publish_event_of(struct pub *p, const char *name)
{
	struct jt_out o;
	int rc;

	begin(p, &o, CW_KIND_EVENT, name, CW_EVENT_INFO, 0);
	rc = jt_decode_body(&o, p->m);
	if (rc < 0)
		return rc;
	if (o.flaws != 0 && o.conf->strict)
		return CW_EPROTO;
	finish(p, &o);
	return 0;
}

/* Unpacked when that is wanted and possible: readable content as text, else hex; large content as an attachment. */
#define INLINE_MAX (JT_SCRATCH / 8)

static void put_content(struct pub *p, struct jt_out *o, struct cw_bytes b)
{
	uint64_t attachment;
	char name[64] = "";

	if (b.len <= INLINE_MAX && jt_printable(b)) {
		o_text(o, NULL, "text", b);
	} else if (b.len <= INLINE_MAX) {
		o_hex(o, NULL, "dataHex", b);
	} else if (p->d->host->attach_open(p->d->hx, p->ev->conn, p->c->device, "bin", &attachment) == 0) {
		int ok = p->d->host->attach_write(p->d->hx, p->ev->conn, attachment, b) == 0;

		if (p->d->host->attach_close(p->d->hx, p->ev->conn, attachment, ok, name) == 0 && ok)
			cw_field_text(&o->w, "file", name);
	}
}

static int publish_compressed(struct pub *p)
{
	uint32_t most = jt_conf_of(p->d, p->ev)->inflate_max;
	struct cw_reader r = cw_reader_of(p->m->body);
	uint32_t n = cw_read_u32be(&r);
	struct cw_bytes packed = cw_read_rest(&r);
	uint8_t *plain = NULL;
	struct cw_writer w;
	struct jt_out o;

	if (r.short_read)
		return CW_EPROTO;
	if (n < packed.len)
		packed.len = n;
	/* The most that gzip can save is about a thousandth. */
	if (most > 0 && packed.len < most)
		plain = malloc(packed.len * 1040 + 64 < most ? packed.len * 1040 + 64 : most);
	w = cw_writer_of(plain, packed.len * 1040 + 64 < most ? packed.len * 1040 + 64 : most);
	begin(p, &o, CW_KIND_EVENT, "CompressedUp", CW_EVENT_INFO, 0);
	cw_field_uint(&o.w, "size", n);
	if (plain != NULL && jt_inflate(packed, &w))
		put_content(p, &o, cw_written(&w));
	else
		o_hex(&o, NULL, "dataHex", packed);
	free(plain);
	finish(p, &o);
	return 0;
}

/* 0x0201 and 0x0500 carry a position behind the serial: it updates the properties too. */
static int publish_inner_location(struct pub *p)
{
	struct cw_bytes b = p->m->body;
	size_t skip = p->m->id == 0x0201 && p->m->edition == JT_2011 && b.len == 28 ? 0 : 2;

	if (b.len < skip)
		return CW_EPROTO;
	return publish_location(p, cw_bytes_of(b.ptr + skip, b.len - skip));
}

int jt_publish(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, uint64_t ticket, int *ret_emitted)
{
	struct pub p;
	size_t i;
	int rc = CW_ENOENT;

	pub_init(&p, d, ev, c, m, ticket);
	switch (m->vendor ? 0 : m->id) {
	case 0x0200: rc = publish_location(&p, m->body); break;
	case 0x0704: rc = publish_batch(&p, m->body); break;
	case 0x0901: rc = publish_compressed(&p); break;
	case 0x0201: rc = publish_inner_location(&p); break;
	case 0x0104: {
		jt_publish_params(d, ev, c, m, ticket, &p.emitted);
		rc = m->body.len < 3 ? CW_EPROTO : 0;
		break;
	}
	case 0x0107: rc = m->body.len < 46 ? CW_EPROTO : 0; break; /* the answer to QueryAttributes, nothing else */
	default:
		for (i = 0; i < sizeof(events) / sizeof(events[0]) && !m->vendor; i++)
			if (events[i].id == m->id)
				rc = publish_event_of(&p, events[i].name);
		if (rc == 0 && m->id == 0x0500)
			rc = publish_inner_location(&p);
		break;
	}
	*ret_emitted = p.emitted;
	return p.emitted == 0 && p.refused ? CW_EBUSY : rc;
}
