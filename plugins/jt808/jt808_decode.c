/*
 * jt808_decode.c - bodies of all messages but positions, parameters and areas.
 *
 * Each function reads one body and writes members of a map under the names of the
 * mode: those of an inspecting tool (first) or of the thing model (second). A name
 * of NULL leaves the member out in that mode.
 */
#include "jt808.h"

#include <stdio.h>

int o_has(const struct jt_out *o, const char *vec, const char *tm)
{
	return (o->tm ? tm : vec) != NULL;
}

void o_key(struct jt_out *o, const char *vec, const char *tm)
{
	cw_put_text(&o->w, o->tm ? tm : vec);
}

void o_uint(struct jt_out *o, const char *vec, const char *tm, uint64_t v)
{
	if (!o_has(o, vec, tm))
		return;
	o_key(o, vec, tm);
	cw_put_uint(&o->w, v);
}

void o_hexnum(struct jt_out *o, const char *vec, const char *tm, uint32_t v, int digits)
{
	char text[16];

	if (!o_has(o, vec, tm))
		return;
	snprintf(text, sizeof(text), "0x%0*x", digits, v);
	o_key(o, vec, tm);
	cw_put_text(&o->w, text);
}

/* GBK text; what could not be read comes in hex beside it. */
void o_text(struct jt_out *o, const char *vec, const char *tm, struct cw_bytes gbk)
{
	char key[48];

	if (!o_has(o, vec, tm))
		return;
	o_key(o, vec, tm);
	if (jt_put_gbk(o, gbk))
		return;
	snprintf(key, sizeof(key), "%s%s", o->tm ? tm : vec, o->tm ? "Hex" : "_hex");
	cw_put_text(&o->w, key);
	jt_put_hex(&o->w, gbk);
}

void o_hex(struct jt_out *o, const char *vec, const char *tm, struct cw_bytes b)
{
	if (!o_has(o, vec, tm))
		return;
	o_key(o, vec, tm);
	jt_put_hex(&o->w, b);
}

void o_bits(struct jt_out *o, const char *vec, uint32_t word, unsigned width)
{
	unsigned i;

	if (o->tm)
		return;
	cw_put_text(&o->w, vec);
	cw_put_array(&o->w);
	for (i = 0; i < width; i++)
		if ((word >> i) & 1)
			cw_put_uint(&o->w, i);
	cw_put_end(&o->w);
}

void o_time(struct jt_out *o, const char *vec, const char *tm, struct cw_bytes b)
{
	int zone = o->conf->zone_min, y, mo, day, az = zone < 0 ? -zone : zone;
	int64_t ms, local;
	char text[48];

	if (!o_has(o, vec, tm) || b.len != 6)
		return;
	if (!jt_bcd_time(b.ptr, zone, &ms)) {
		if (o->tm)
			return;
		o_key(o, vec, tm);
		cw_put_map(&o->w);
		cw_put_text(&o->w, "raw");
		jt_put_hex(&o->w, b);
		cw_field_bool(&o->w, "valid", 0);
		cw_put_end(&o->w);
		return;
	}
	o_key(o, vec, tm);
	if (o->tm) {
		snprintf(text, sizeof(text), "%lld", (long long)ms);
	} else {
		local = ms / 1000 + (int64_t)zone * 60; /* never negative: 2000 to 2099 */
		jt_civil(local / 86400, &y, &mo, &day);
		snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", y, mo, day, (int)(local % 86400 / 3600),
		         (int)(local / 60 % 60), (int)(local % 60), zone < 0 ? '-' : '+', az / 60, az % 60);
	}
	cw_put_text(&o->w, text);
}

/* A fixed field: text when it is printable once padding is gone, else {hex} of the whole. */
static void fixed(struct jt_out *o, const char *vec, const char *tm, struct cw_bytes b)
{
	struct cw_bytes s = jt_strip(b);
	size_t i, start = o->w.len;

	if (!o_has(o, vec, tm))
		return;
	o_key(o, vec, tm);
	for (i = 0; i < s.len && s.ptr[i] >= 32 && s.ptr[i] != 127; i++)
		;
	if (i == s.len && jt_put_gbk(o, s))
		return;
	o->w.len = start;
	o_key(o, vec, tm);
	if (o->tm) {
		jt_put_hex(&o->w, b);
		return;
	}
	cw_put_map(&o->w);
	cw_put_text(&o->w, "hex");
	jt_put_hex(&o->w, b);
	cw_put_end(&o->w);
}

void o_tail(struct jt_out *o, struct cw_reader *r)
{
	if (cw_read_left(r) > 0)
		o_hex(o, "unparsed_tail_hex", NULL, cw_read_rest(r));
}

static int body_empty(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	(void)m;
	o_tail(o, r);
	return 0;
}

static int body_reply(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	(void)m;
	o_uint(o, "reply_serial", "replySerial", cw_read_u16be(r));
	o_hexnum(o, "reply_id", "replyId", cw_read_u16be(r), 4);
	o_uint(o, "result", "result", cw_read_u8(r));
	if (r->short_read)
		return CW_EPROTO;
	o_tail(o, r);
	return 0;
}

/* A list of n numbers of `size` bytes, cut short by the end of the body. */
void o_numbers(struct jt_out *o, const char *vec, const char *tm, struct cw_reader *r, uint32_t n, unsigned size, int as_hex)
{
	uint32_t i;
	char text[16];

	if (!o_has(o, vec, tm))
		return;
	o_key(o, vec, tm);
	cw_put_array(&o->w);
	for (i = 0; i < n && cw_read_left(r) >= size; i++) {
		uint32_t v = (uint32_t)cw_read_be(r, size);

		if (as_hex) {
			snprintf(text, sizeof(text), "0x%04x", v);
			cw_put_text(&o->w, text);
		} else {
			cw_put_uint(&o->w, v);
		}
	}
	cw_put_end(&o->w);
	if (i < n)
		o->flaws |= JT_FLAW_COUNT;
}

static int body_resend(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n;

	o_uint(o, "original_serial", "serial", cw_read_u16be(r));
	n = m->edition == JT_2019 || m->id == 0x0005 ? cw_read_u16be(r) : cw_read_u8(r);
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "count", NULL, n);
	o_numbers(o, "packet_ids", "parts", r, n, 2, 0);
	o_tail(o, r);
	return 0;
}

static int body_time(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	struct cw_bytes b = cw_read_bytes(r, 6);
	int64_t ms, s;
	char text[40];
	int y, mo, day;

	(void)m;
	if (r->short_read)
		return CW_EPROTO;
	o_hex(o, "utc_time_bcd", NULL, b);
	if (jt_bcd_time(b.ptr, 0, &ms)) {
		s = ms / 1000;
		jt_civil(s / 86400, &y, &mo, &day);
		snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ", y, mo, day, (int)(s % 86400 / 3600), (int)(s / 60 % 60),
		         (int)(s % 60));
		o_key(o, "utc_time", "time");
		cw_put_text(&o->w, text);
	}
	o_tail(o, r);
	return 0;
}

static int body_register(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	unsigned e = m->edition == JT_2019 ? 2 : m->body.len < 37 ? 0 : 1;
	static const uint8_t width[3][3] = { { 5, 8, 7 }, { 5, 20, 7 }, { 11, 30, 30 } };

	if (m->body.len < 4u + width[e][0] + width[e][1] + width[e][2] + 1u)
		return CW_EPROTO;
	o_uint(o, "province", "province", cw_read_u16be(r));
	o_uint(o, "city", "city", cw_read_u16be(r));
	if (e == 0 && !o->tm)
		cw_field_text(&o->w, "layout", "2011");
	fixed(o, "manufacturer", "manufacturer", cw_read_bytes(r, width[e][0]));
	fixed(o, "model", "model", cw_read_bytes(r, width[e][1]));
	fixed(o, "terminal_id", "terminalId", cw_read_bytes(r, width[e][2]));
	o_uint(o, "plate_color", "plateColor", cw_read_u8(r));
	o_text(o, "plate", "plate", jt_strip(cw_read_rest(r)));
	return 0;
}

static int body_register_answer(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	unsigned result;

	(void)m;
	o_uint(o, "reply_serial", "replySerial", cw_read_u16be(r));
	result = cw_read_u8(r);
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "result", "result", result);
	if (result == 0)
		o_text(o, "auth_code", NULL, cw_read_rest(r));
	o_tail(o, r);
	return 0;
}

static int body_auth(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	size_t n = m->body.len;

	if (m->edition != JT_2019 || n == 0 || 1u + m->body.ptr[0] > n) {
		o_text(o, "auth_code", NULL, cw_read_rest(r));
		return 0;
	}
	n = cw_read_u8(r);
	o_uint(o, "auth_len", NULL, n);
	o_text(o, "auth_code", NULL, cw_read_bytes(r, n));
	if (cw_read_left(r) >= 15)
		fixed(o, "imei", "imei", cw_read_bytes(r, 15));
	if (cw_read_left(r) >= 20)
		fixed(o, "software_version", "softwareVersion", cw_read_bytes(r, 20));
	o_tail(o, r);
	return 0;
}

static void iccid(struct jt_out *o, struct cw_bytes b)
{
	size_t n = b.len * 2, i;
	char text[24];

	for (i = 0; i < n; i++) {
		unsigned v = i % 2 == 0 ? b.ptr[i / 2] >> 4 : b.ptr[i / 2] & 15u;

		text[i] = (char)(v < 10 ? '0' + v : 'a' + v - 10);
	}
	while (n > 0 && text[n - 1] == 'f')
		n--;
	o_key(o, "iccid", "iccid");
	cw_put_textn(&o->w, text, n);
}

/* 1 when the variable part behind `at` comes out at the end of the body. */
static int attributes_fit(struct cw_bytes b, size_t at)
{
	size_t n;

	if (at >= b.len)
		return 0;
	n = at + 1 + b.ptr[at];
	if (n >= b.len)
		return 0;
	return n + 1 + b.ptr[n] + 2u == b.len;
}

static int body_attributes(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	int y19 = m->edition == JT_2019;
	unsigned maker = y19 && !attributes_fit(m->body, 77) && attributes_fit(m->body, 83) ? 11 : 5, v;
	struct cw_bytes b;

	o_uint(o, "terminal_type", "terminalType", cw_read_u16be(r));
	if (y19)
		o_uint(o, "manufacturer_len", NULL, maker);
	fixed(o, "manufacturer", "manufacturer", cw_read_bytes(r, maker));
	fixed(o, "model", "model", cw_read_bytes(r, y19 ? 30 : 20));
	fixed(o, "terminal_id", "terminalId", cw_read_bytes(r, y19 ? 30 : 7));
	b = cw_read_bytes(r, 10);
	if (r->short_read)
		return CW_EPROTO;
	iccid(o, b);
	fixed(o, "hardware_version", "hardwareVersion", cw_read_bytes(r, cw_read_u8(r)));
	fixed(o, "firmware_version", "firmwareVersion", cw_read_bytes(r, cw_read_u8(r)));
	v = cw_read_u8(r);
	o_uint(o, NULL, "gnss", v);
	o_bits(o, "gnss_bits", v, 8);
	v = cw_read_u8(r);
	o_uint(o, NULL, "radio", v);
	o_bits(o, "comm_bits", v, 8);
	if (r->short_read)
		return CW_EPROTO;
	o_tail(o, r);
	return 0;
}

static int body_upgrade(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n;

	(void)m;
	o_uint(o, "upgrade_type", "upgradeType", cw_read_u8(r));
	fixed(o, "manufacturer", "manufacturer", cw_read_bytes(r, 5));
	o_text(o, "version", "version", cw_read_bytes(r, cw_read_u8(r)));
	n = cw_read_u32be(r);
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "data_len", "size", n);
	if (n > cw_read_left(r)) {
		o->flaws |= JT_FLAW_BODY;
		n = (uint32_t)cw_read_left(r);
	}
	o_hex(o, "data_hex", NULL, cw_read_bytes(r, n));
	o_tail(o, r);
	return 0;
}

/* Messages that are one or two bytes, or other plain numbers: name, name, width, up to the end. */
struct plain {
	uint16_t id;
	struct { const char *vec, *tm; uint8_t size; } f[11];
};

static const struct plain plains[] = {
	{ 0x0108, { { "upgrade_type", "upgradeType", 1 }, { "result", "result", 1 } } },
	{ 0x0301, { { "event_id", "eventId", 1 } } },
	{ 0x0302, { { "reply_serial", "replySerial", 2 }, { "answer_id", "answerId", 1 } } },
	{ 0x0303, { { "info_type", "infoType", 1 }, { "flag", "subscribe", 1 } } },
	{ 0x0800, { { "media_id", "mediaId", 4 }, { "media_type", "type", 1 }, { "format", "format", 1 }, { "event", "event", 1 },
	            { "channel", "channel", 1 } } },
	{ 0x8801, { { "channel", "channel", 1 }, { "command", "command", 2 }, { "interval_s", "interval", 2 }, { "save", "store", 1 },
	            { "resolution", "resolution", 1 }, { "quality", "quality", 1 }, { "brightness", "brightness", 1 },
	            { "contrast", "contrast", 1 }, { "saturation", "saturation", 1 }, { "chroma", "chroma", 1 } } },
	{ 0x8804, { { "command", "start", 1 }, { "seconds", "seconds", 2 }, { "save", "store", 1 }, { "sample_rate", "rate", 1 } } },
	{ 0x8805, { { "media_id", "mediaId", 4 }, { "delete", "delete", 1 } } },
};

static int body_plain(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	size_t i, k;

	for (i = 0; i < sizeof(plains) / sizeof(plains[0]); i++) {
		if (plains[i].id != m->id)
			continue;
		for (k = 0; plains[i].f[k].size > 0; k++)
			o_uint(o, plains[i].f[k].vec, plains[i].f[k].tm, cw_read_be(r, plains[i].f[k].size));
		if (r->short_read)
			return CW_EPROTO;
		o_tail(o, r);
		return 0;
	}
	return CW_ENOENT;
}

static int body_location(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	struct jt_loc l;

	(void)m;
	if (jt_loc_read(cw_read_rest(r), &l) < 0)
		return CW_EPROTO;
	jt_location_members(o, &l, 1);
	return 0;
}

/* 0x0201 and 0x0500: serial, then a position; the draft of 2011 has no serial in 0x0201. */
static int body_location_answer(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	struct jt_loc l;

	if (m->id == 0x0201 && m->edition == JT_2011 && m->body.len == 28) {
		if (jt_loc_read(m->body, &l) < 0)
			return CW_EPROTO;
	} else {
		o_uint(o, "reply_serial", "replySerial", cw_read_u16be(r));
		if (jt_loc_read(cw_read_rest(r), &l) < 0)
			return CW_EPROTO;
	}
	o_key(o, "location", "location");
	jt_put_location(o, &l, 1);
	return 0;
}

static int body_batch(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t count = cw_read_u16be(r), seen = 0;
	struct jt_loc l;

	(void)m;
	o_uint(o, "count", "count", count);
	o_uint(o, "report_type", "type", cw_read_u8(r));
	if (r->short_read)
		return CW_EPROTO;
	o_key(o, "reports", "reports");
	cw_put_array(&o->w);
	while (cw_read_left(r) >= 2) {
		size_t n = (size_t)r->ptr[r->pos] << 8 | r->ptr[r->pos + 1];

		if (n > cw_read_left(r) - 2)
			break;
		(void)cw_read_u16be(r);
		if (jt_loc_read(cw_read_bytes(r, n), &l) < 0) {
			o->flaws |= JT_FLAW_BODY;
			continue;
		}
		jt_put_location(o, &l, 1);
		seen++;
	}
	cw_put_end(&o->w);
	if (seen < count)
		o->flaws |= JT_FLAW_COUNT;
	o_tail(o, r);
	return 0;
}

static int body_track(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	unsigned interval = cw_read_u16be(r);

	(void)m;
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "interval_s", "interval", interval);
	if (cw_read_left(r) >= 4)
		o_uint(o, "valid_s", "duration", cw_read_u32be(r));
	else if (interval != 0)
		return CW_EPROTO;
	o_tail(o, r);
	return 0;
}

static int body_confirm(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t bits;

	(void)m;
	o_uint(o, "alarm_serial", "serial", cw_read_u16be(r));
	bits = cw_read_u32be(r);
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "alarm_type", "alarms", bits);
	o_bits(o, "alarm_type_bits", bits, 32);
	o_tail(o, r);
	return 0;
}

static int body_text(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	unsigned flags = cw_read_u8(r);

	o_uint(o, "flags", "flags", flags);
	o_bits(o, "flag_bits", flags, 8);
	if (m->edition == JT_2019)
		o_uint(o, "text_type", "textType", cw_read_u8(r));
	if (r->short_read)
		return CW_EPROTO;
	o_text(o, "text", "text", cw_read_rest(r));
	return 0;
}

static int body_control(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	(void)m;
	o_uint(o, "command", "command", cw_read_u8(r));
	if (r->short_read)
		return CW_EPROTO;
	o_text(o, "args", "args", cw_read_rest(r));
	return 0;
}

static int body_call(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	(void)m;
	o_uint(o, "flag", "mode", cw_read_u8(r));
	if (r->short_read)
		return CW_EPROTO;
	o_text(o, "phone_number", "number", cw_read_rest(r));
	return 0;
}

static void vehicle_items(struct jt_out *o, struct cw_reader *r, uint32_t n)
{
	uint32_t i;

	o_key(o, "controls", "controls");
	cw_put_array(&o->w);
	for (i = 0; i < n && cw_read_left(r) >= 2; i++) {
		uint32_t type = cw_read_u16be(r);

		cw_put_map(&o->w);
		o_hexnum(o, "type", "type", type, 4);
		/* Only the door's parameter has a known length; a vendor's is taken to the end of the body. */
		if (type == 1)
			o_uint(o, "param", "param", cw_read_u8(r));
		else
			o_hex(o, "param_hex", "paramHex", cw_read_rest(r));
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	if (i < n)
		o->flaws |= JT_FLAW_COUNT;
}

static int body_vehicle(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	size_t len = m->body.len;
	unsigned v;

	if (len == 0)
		return CW_EPROTO;
	if (m->edition != JT_2019) {
		v = cw_read_u8(r);
		o_uint(o, "flags", "flags", v);
		o_key(o, "lock_doors", "lockDoors");
		cw_put_bool(&o->w, (int)(v & 1u));
		o_tail(o, r);
		return 0;
	}
	/* A widely copied sender leaves the count out: type and one byte are all there is (Q29). */
	if (len == 3) {
		o_hex(o, "body_hex", NULL, m->body);
		if (!o->tm)
			cw_field_text(&o->w, "standard_decode_fails", "need 2 have 1");
		o_hexnum(o, "type_without_count", "type", cw_read_u16be(r), 4);
		o_uint(o, "param", "param", cw_read_u8(r));
		o->flaws |= JT_FLAW_BODY;
		return 0;
	}
	v = cw_read_u16be(r);
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "count", NULL, v);
	vehicle_items(o, r, v);
	o_tail(o, r);
	return 0;
}

static int body_ids(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n;

	if (m->id == 0x8608)
		o_uint(o, "query_type", "kind", cw_read_u8(r));
	n = m->id == 0x8608 ? cw_read_u32be(r) : cw_read_u8(r);
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "count", NULL, n);
	if (m->id == 0x8106)
		o_numbers(o, "param_ids", "ids", r, n, 4, 1);
	else
		o_numbers(o, "ids", "ids", r, n, 4, 0);
	o_tail(o, r);
	return 0;
}

/* Recorder data: opaque blocks of another standard. */
static int body_recorder(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	int old = m->id == 0x0700 && m->edition == JT_2011;
	unsigned command;

	if (m->id == 0x0700 && !old)
		o_uint(o, "reply_serial", NULL, cw_read_u16be(r));
	command = cw_read_u8(r);
	o_uint(o, "command", NULL, command);
	o_hexnum(o, NULL, "command", command, 2);
	if (old)
		(void)cw_read_u32be(r); /* total and packet length */
	if (r->short_read)
		return CW_EPROTO;
	o_hex(o, "data_hex", "dataHex", cw_read_rest(r));
	return 0;
}

static int body_waybill(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n = cw_read_u32be(r);
	struct cw_bytes data;

	(void)m;
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "waybill_len", "length", n);
	data = cw_read_bytes(r, n < cw_read_left(r) ? n : cw_read_left(r));
	if (data.len < n)
		o->flaws |= JT_FLAW_BODY;
	o_hex(o, "data_hex", "dataHex", data);
	if (data.len > 0 && jt_printable(jt_trim(data)))
		o_text(o, "data_text", "text", data);
	o_tail(o, r);
	return 0;
}

static int driver_2011(struct jt_out *o, struct cw_reader *r)
{
	o_text(o, "driver_name", "name", cw_read_bytes(r, cw_read_u8(r)));
	fixed(o, "id_number", "idNumber", cw_read_bytes(r, 20));
	fixed(o, "licence", "licence", cw_read_bytes(r, 40));
	o_text(o, "issuer", "issuer", cw_read_bytes(r, cw_read_u8(r)));
	if (r->short_read)
		return CW_EPROTO;
	o_tail(o, r);
	return 0;
}

/* Read what is there (Q19): driver fields although the card is out, the tail of 2019 in older frames, times that are no BCD. */
static int body_driver(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	unsigned status;

	if (m->edition == JT_2011)
		return driver_2011(o, r);
	status = cw_read_u8(r);
	o_uint(o, "card_status", "status", status);
	o_time(o, "time", "time", cw_read_bytes(r, 6));
	if (r->short_read)
		return CW_EPROTO;
	if (cw_read_left(r) == 0)
		return status == 1 ? CW_EPROTO : 0;
	o_uint(o, "read_result", "readResult", cw_read_u8(r));
	if (cw_read_left(r) == 0)
		return 0;
	o_text(o, "driver_name", "name", cw_read_bytes(r, cw_read_u8(r)));
	fixed(o, "licence", "licence", cw_read_bytes(r, 20));
	o_text(o, "issuer", "issuer", cw_read_bytes(r, cw_read_u8(r)));
	o_hex(o, "valid_until_bcd", "validUntil", cw_read_bytes(r, 4));
	if (r->short_read)
		return CW_EPROTO;
	if (cw_read_left(r) >= 20 && (o->tm || m->edition == JT_2019))
		fixed(o, "id_number", "idNumber", cw_read_bytes(r, 20));
	o_tail(o, r);
	return 0;
}

/* Time of day of the first CAN item with the date of reception; more than 12 h ahead of the clock means yesterday. */
static void can_time(struct jt_out *o, struct cw_bytes b)
{
	int64_t day = o->now_ms + (int64_t)o->conf->zone_min * 60000, ms;
	int v[5], i;
	char text[32];

	for (i = 0; i < 5; i++) {
		if ((b.ptr[i] >> 4) > 9 || (b.ptr[i] & 15) > 9)
			return;
		v[i] = (b.ptr[i] >> 4) * 10 + (b.ptr[i] & 15);
	}
	if (v[0] > 23 || v[1] > 59 || v[2] > 59)
		return;
	ms = day - day % 86400000 + ((v[0] * 60 + v[1]) * 60 + v[2]) * 1000LL + (v[3] * 100 + v[4]) % 1000 - (int64_t)o->conf->zone_min * 60000;
	if (ms > o->now_ms + 43200000)
		ms -= 86400000;
	snprintf(text, sizeof(text), "%lld", (long long)ms);
	cw_field_text(&o->w, "time", text);
}

static int body_can(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t count = cw_read_u16be(r), i;
	struct cw_bytes time = cw_read_bytes(r, 5);

	(void)m;
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "count", NULL, count);
	if (o->tm)
		can_time(o, time);
	o_hex(o, "first_time_bcd", NULL, time);
	o_key(o, "frames", "frames");
	cw_put_array(&o->w);
	for (i = 0; i < count && cw_read_left(r) >= 12; i++) {
		uint32_t id = cw_read_u32be(r);

		cw_put_map(&o->w);
		o_hexnum(o, "raw", NULL, id, 8);
		o_uint(o, "channel", "channel", id >> 31);
		o_uint(o, "extended", "extended", (id >> 30) & 1);
		o_uint(o, "averaged", "averaged", (id >> 29) & 1);
		o_uint(o, "can_id", "id", id & 0x1fffffffu);
		o_hex(o, "data", "data", cw_read_bytes(r, 8));
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	if (i < count)
		o->flaws |= JT_FLAW_COUNT;
	o_tail(o, r);
	return 0;
}

typedef int (*body_fn)(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);

static const struct { uint16_t id; body_fn fn; } bodies[] = {
	{ 0x0001, body_reply }, { 0x0002, body_empty }, { 0x0003, body_empty }, { 0x0004, body_empty }, { 0x0005, body_resend },
	{ 0x0100, body_register }, { 0x0102, body_auth }, { 0x0104, jt_body_params }, { 0x0107, body_attributes }, { 0x0108, body_plain },
	{ 0x0200, body_location }, { 0x0201, body_location_answer }, { 0x0301, body_plain }, { 0x0302, body_plain }, { 0x0303, body_plain },
	{ 0x0500, body_location_answer }, { 0x0608, jt_body_areas_found }, { 0x0700, body_recorder }, { 0x0701, body_waybill },
	{ 0x0702, body_driver }, { 0x0704, body_batch }, { 0x0705, body_can }, { 0x0800, body_plain }, { 0x0801, jt_body_media },
	{ 0x0802, jt_body_media_found }, { 0x0805, jt_body_shot }, { 0x0900, jt_body_transparent }, { 0x0901, jt_body_gzip }, { 0x0a00, jt_body_key },
	{ 0x8001, body_reply }, { 0x8003, body_resend }, { 0x8004, body_time }, { 0x8100, body_register_answer }, { 0x8103, jt_body_params },
	{ 0x8104, body_empty }, { 0x8105, body_control }, { 0x8106, body_ids }, { 0x8107, body_empty }, { 0x8108, body_upgrade },
	{ 0x8201, body_empty }, { 0x8202, body_track }, { 0x8203, body_confirm }, { 0x8204, body_empty }, { 0x8300, body_text },
	{ 0x8301, jt_body_menu }, { 0x8302, jt_body_menu }, { 0x8303, jt_body_menu }, { 0x8304, jt_body_menu }, { 0x8400, body_call },
	{ 0x8401, jt_body_menu }, { 0x8500, body_vehicle }, { 0x8600, jt_body_area }, { 0x8601, body_ids }, { 0x8602, jt_body_area },
	{ 0x8603, body_ids }, { 0x8604, jt_body_area }, { 0x8605, body_ids }, { 0x8606, jt_body_area }, { 0x8607, body_ids },
	{ 0x8608, body_ids }, { 0x8700, body_recorder }, { 0x8701, body_recorder }, { 0x8702, body_empty }, { 0x8800, jt_body_media_answer },
	{ 0x8801, body_plain }, { 0x8802, jt_body_media_query }, { 0x8803, jt_body_media_query }, { 0x8804, body_plain }, { 0x8805, body_plain },
	{ 0x8900, jt_body_transparent }, { 0x8a00, jt_body_key },
};

static body_fn find(uint16_t id)
{
	size_t lo = 0, hi = sizeof(bodies) / sizeof(bodies[0]);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (bodies[mid].id == id)
			return bodies[mid].fn;
		if (bodies[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

int jt_known(uint16_t id)
{
	return find(id) != NULL;
}

int jt_decode_body(struct jt_out *o, const struct jt_msg *m)
{
	struct cw_reader r = cw_reader_of(m->body);
	body_fn fn = m->vendor ? NULL : find(m->id);

	if (fn == NULL)
		return CW_ENOENT;
	o->edition = m->edition;
	return fn(o, m, &r);
}
