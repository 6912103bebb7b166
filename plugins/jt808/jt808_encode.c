/*
 * jt808_encode.c - service inputs and property values to message bodies.
 *
 * Input that the protocol cannot express is refused with a sentence: text outside
 * GBK, numbers out of range, commands that the terminal's edition does not have.
 */
#include "jt808.h"

#include <stdio.h>

#define NEEDED JT_NEEDED

void jt_plan_begin(struct jt_plan *p, uint16_t id)
{
	p->start = p->w.len;
	cw_write_u16be(&p->w, id);
	cw_write_u32be(&p->w, 0);
}

void jt_plan_end(struct jt_plan *p)
{
	size_t n = p->w.len - p->start - 6;
	uint8_t *at = p->w.ptr + p->start + 2;

	if (p->w.overflow)
		return;
	at[0] = (uint8_t)(n >> 24);
	at[1] = (uint8_t)(n >> 16);
	at[2] = (uint8_t)(n >> 8);
	at[3] = (uint8_t)n;
}

int jt_fail(struct jt_plan *p, const char *why)
{
	snprintf(p->why, sizeof(p->why), "%s", why);
	return CW_EINVAL;
}

int jt_fail_key(struct jt_plan *p, const char *key, const char *why)
{
	snprintf(p->why, sizeof(p->why), "%s: %s", key, why);
	return CW_EINVAL;
}

int jt_name_is(struct cw_bytes name, const char *text)
{
	return cw_bytes_equal(name, cw_bytes_text(text));
}

/* Numbers come as numbers, or as text in decimal or with 0x in hex. 1 when it is one. */
static int to_int(const struct cw_item *it, int64_t *ret)
{
	char text[24];
	size_t i = 0;
	uint64_t v = 0;
	unsigned base = 10;

	if (it->type == CW_ITEM_INT || it->type == CW_ITEM_BOOL) {
		*ret = it->i;
		return 1;
	}
	if (it->type == CW_ITEM_DOUBLE && it->d >= -9e15 && it->d <= 9e15 && (double)(int64_t)it->d == it->d) {
		*ret = (int64_t)it->d;
		return 1;
	}
	if (it->type == CW_ITEM_DECIMAL && it->exponent >= 0 && it->exponent <= 3) {
		*ret = it->i;
		for (i = 0; (int)i < it->exponent; i++)
			if (__builtin_mul_overflow(*ret, (int64_t)10, ret))
				return 0;
		return 1;
	}
	if (it->type != CW_ITEM_TEXT || it->s.len == 0 || it->s.len >= sizeof(text))
		return 0;
	memcpy(text, it->s.ptr, it->s.len);
	text[it->s.len] = 0;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && text[2] != 0) {
		base = 16;
		i = 2;
	}
	for (; text[i] != 0; i++) {
		unsigned c = (unsigned char)text[i], x = c >= '0' && c <= '9' ? c - '0' : (c | 32u) >= 'a' && (c | 32u) <= 'f' ? (c | 32u) - 'a' + 10 : 99;

		if (x >= base || v > (uint64_t)INT64_MAX / 16)
			return 0;
		v = v * base + x;
	}
	*ret = (int64_t)v;
	return 1;
}

int jt_in_int(struct jt_plan *p, struct cw_bytes in, const char *key, int64_t min, int64_t max, int64_t absent, int64_t *ret)
{
	struct cw_item it = cw_map_item(in, key);

	if (it.type == CW_ITEM_BAD || it.type == CW_ITEM_NULL) {
		if (absent == NEEDED)
			return jt_fail_key(p, key, "is missing");
		*ret = absent;
		return 0;
	}
	if (!to_int(&it, ret))
		return jt_fail_key(p, key, "is not a whole number");
	if (*ret < min || *ret > max)
		return jt_fail_key(p, key, "is out of range");
	return 0;
}

/* Text as GBK into `w`; absent counts as empty. */
int jt_in_text(struct jt_plan *p, struct cw_bytes in, const char *key, size_t max, struct cw_writer *w, size_t *ret_len)
{
	struct cw_item it = cw_map_item(in, key);
	size_t start = w->len;

	if (it.type == CW_ITEM_BAD || it.type == CW_ITEM_NULL) {
		if (ret_len != NULL)
			*ret_len = 0;
		return 0;
	}
	if (it.type != CW_ITEM_TEXT)
		return jt_fail_key(p, key, "is not text");
	if (jt_to_gbk(p->d, it.s, w) == CW_EINVAL)
		return jt_fail_key(p, key, "has a character that GBK cannot express");
	if (w->len - start > max)
		return jt_fail_key(p, key, "is too long");
	if (ret_len != NULL)
		*ret_len = w->len - start;
	return 0;
}

/* UTC milliseconds; absent: 0. */
int jt_in_time(struct jt_plan *p, struct cw_bytes in, const char *key, int64_t *ret)
{
	return jt_in_int(p, in, key, 0, 4102444799999, 0, ret);
}

int jt_in_hex(struct jt_plan *p, struct cw_bytes in, const char *key, struct cw_writer *w)
{
	struct cw_item it = cw_map_item(in, key);

	if (it.type == CW_ITEM_BYTES) {
		cw_write_bytes(w, it.s);
		return 0;
	}
	if (it.type != CW_ITEM_BAD && (it.type != CW_ITEM_TEXT || !jt_unhex(it.s, w)))
		return w->overflow ? 0 : jt_fail_key(p, key, "is not an even number of hex digits");
	return 0;
}

/* A text field behind a length byte. */
static int in_text8(struct jt_plan *p, struct cw_bytes in, const char *key, struct cw_writer *w)
{
	size_t at = w->len, n = 0;
	int rc;

	cw_write_u8(w, 0);
	rc = jt_in_text(p, in, key, 255, w, &n);
	if (rc == 0 && !w->overflow)
		w->ptr[at] = (uint8_t)n;
	return rc;
}

/* ---- parameters --------------------------------------------------------------- */

static int put_param(struct jt_plan *p, uint32_t id, struct cw_bytes holder, const char *key)
{
	static const uint8_t widths[] = { ['d'] = 4, ['w'] = 2, ['b'] = 1 };
	char t = jt_param_type(id, p->edition);
	int64_t v;
	int rc;
	size_t at;

	cw_write_u32be(&p->w, id);
	if (t == 's')
		return in_text8(p, holder, key, &p->w);
	if (t == 'h') {
		at = p->w.len;
		cw_write_u8(&p->w, 0);
		rc = jt_in_hex(p, holder, key, &p->w);
		if (rc == 0 && p->w.len - at - 1 > 255)
			return jt_fail_key(p, key, "is too long");
		if (rc == 0 && !p->w.overflow)
			p->w.ptr[at] = (uint8_t)(p->w.len - at - 1);
		return rc;
	}
	/* A bit word is shown in hex without 0x. */
	if (id == 0x0050 && cw_map_item(holder, key).type == CW_ITEM_TEXT) {
		struct cw_bytes s = cw_map_text(holder, key);

		if (s.len == 8) {
			cw_write_u8(&p->w, 4);
			return jt_in_hex(p, holder, key, &p->w);
		}
	}
	rc = jt_in_int(p, holder, key, 0, ((int64_t)1 << (8 * widths[(unsigned char)t])) - 1, NEEDED, &v);
	if (rc < 0)
		return rc;
	cw_write_u8(&p->w, widths[(unsigned char)t]);
	cw_write_be(&p->w, (uint64_t)v, widths[(unsigned char)t]);
	return 0;
}

static void params_head(struct jt_plan *p, size_t *count_at)
{
	jt_plan_begin(p, 0x8103);
	*count_at = p->w.len;
	cw_write_u8(&p->w, 0);
	if (p->edition == JT_2011)
		cw_write_u8(&p->w, 0);
}

static int params_tail(struct jt_plan *p, size_t count_at, unsigned n)
{
	if (n == 0 || n > 255)
		return jt_fail(p, n == 0 ? "no parameter is given" : "more than 255 parameters");
	if (!p->w.overflow) {
		p->w.ptr[count_at] = (uint8_t)n;
		if (p->edition == JT_2011)
			p->w.ptr[count_at + 1] = (uint8_t)n;
	}
	jt_plan_end(p);
	return 0;
}

int jt_encode_properties(struct jt_plan *p, struct cw_bytes body)
{
	struct cw_reader r = cw_reader_of(body);
	struct cw_item m = cw_read_item(&r);
	unsigned n = 0;
	size_t count_at;
	char name[48];
	int rc;

	params_head(p, &count_at);
	while (cw_item_more(&r, &m)) {
		struct cw_item key = cw_read_item(&r);
		uint32_t id = key.type == CW_ITEM_TEXT ? jt_param_of(key.s) : 0;

		(void)cw_item_more(&r, &m);
		if (cw_read_whole_item(&r).len == 0)
			return jt_fail(p, "properties cannot be read");
		if (id == 0 || key.s.len >= sizeof(name)) {
			snprintf(p->why, sizeof(p->why), "%.*s: is not a writable property", (int)(key.s.len > 60 ? 60 : key.s.len), (const char *)key.s.ptr);
			return CW_EINVAL;
		}
		memcpy(name, key.s.ptr, key.s.len);
		name[key.s.len] = 0;
		rc = put_param(p, id, body, name);
		if (rc < 0)
			return rc;
		n++;
	}
	return params_tail(p, count_at, n);
}

static int set_parameters(struct jt_plan *p, struct cw_bytes in)
{
	struct cw_bytes items = cw_map_get(in, "items");
	struct cw_reader r = cw_reader_of(items);
	struct cw_item list = cw_read_item(&r);
	unsigned n = 0;
	size_t count_at;
	int64_t id;
	int rc;

	params_head(p, &count_at);
	while (cw_item_more(&r, &list)) {
		struct cw_bytes one = cw_read_whole_item(&r);

		if (one.len == 0)
			return jt_fail(p, "items: cannot be read");
		rc = jt_in_int(p, one, "id", 0, 0xffffffff, NEEDED, &id);
		if (rc < 0)
			return rc;
		if (cw_map_get(one, "hex").len > 0) {
			size_t at;

			cw_write_u32be(&p->w, (uint32_t)id);
			at = p->w.len;
			cw_write_u8(&p->w, 0);
			rc = jt_in_hex(p, one, "hex", &p->w);
			if (rc == 0 && p->w.len - at - 1 > 255)
				rc = jt_fail_key(p, "hex", "is too long");
			if (rc == 0 && !p->w.overflow)
				p->w.ptr[at] = (uint8_t)(p->w.len - at - 1);
		} else {
			rc = put_param(p, (uint32_t)id, one, "value");
		}
		if (rc < 0)
			return rc;
		n++;
	}
	return params_tail(p, count_at, n);
}

/* Write a list of u32; *ret_n how many. */
static int ids(struct jt_plan *p, struct cw_bytes in, const char *key, unsigned *ret_n)
{
	struct cw_bytes list_bytes = cw_map_get(in, key);
	struct cw_reader r = cw_reader_of(list_bytes);
	struct cw_item list = cw_read_item(&r), it;
	int64_t v;

	*ret_n = 0;
	if (list_bytes.len == 0)
		return 0;
	if (list.type != CW_ITEM_ARRAY)
		return jt_fail_key(p, key, "is not a list");
	while (cw_item_more(&r, &list)) {
		it = cw_read_item(&r);
		if (!to_int(&it, &v) || v < 0 || v > 0xffffffff)
			return jt_fail_key(p, key, "has something that is no number of 32 bits");
		cw_write_u32be(&p->w, (uint32_t)v);
		++*ret_n;
	}
	return 0;
}

static int query_parameters(struct jt_plan *p, struct cw_bytes in)
{
	unsigned n;
	size_t at;
	int rc;

	p->answer = 0x0104;
	jt_plan_begin(p, 0x8106);
	at = p->w.len;
	cw_write_u8(&p->w, 0);
	rc = ids(p, in, "ids", &n);
	if (rc < 0)
		return rc;
	if (n > 255)
		return jt_fail_key(p, "ids", "has more than 255 members");
	if (n > 0) {
		if (p->edition == JT_2011)
			return CW_ENOENT;
		if (!p->w.overflow)
			p->w.ptr[at] = (uint8_t)n;
	} else {
		p->w.len = p->start;
		jt_plan_begin(p, 0x8104);
	}
	jt_plan_end(p);
	return 0;
}

static int query_areas(struct jt_plan *p, struct cw_bytes in)
{
	int64_t kind;
	unsigned n;
	size_t at;
	int rc = jt_in_int(p, in, "kind", 1, 4, NEEDED, &kind);

	if (rc < 0)
		return rc;
	p->answer = 0x0608;
	jt_plan_begin(p, 0x8608);
	cw_write_u8(&p->w, (uint8_t)kind);
	at = p->w.len;
	cw_write_u32be(&p->w, 0);
	rc = ids(p, in, "ids", &n);
	if (rc == 0 && !p->w.overflow) {
		p->w.ptr[at + 2] = (uint8_t)(n >> 8);
		p->w.ptr[at + 3] = (uint8_t)n;
	}
	jt_plan_end(p);
	return rc;
}

/* ---- control ------------------------------------------------------------------ */

static int control_allowed(const struct jt_plan *p, int64_t command)
{
	return p->edition != JT_2019 || !(command == 1 || command == 3 || command == 6 || command == 7);
}

static int terminal_control(struct jt_plan *p, struct cw_bytes in)
{
	struct cw_bytes args = cw_map_get(in, "args");
	struct cw_reader r = cw_reader_of(args);
	struct cw_item list = cw_read_item(&r), it;
	int64_t command;
	int rc = jt_in_int(p, in, "command", 0, 255, NEEDED, &command), n = 0;

	if (rc < 0)
		return rc;
	if (!control_allowed(p, command))
		return CW_ENOENT;
	jt_plan_begin(p, 0x8105);
	cw_write_u8(&p->w, (uint8_t)command);
	while (args.len > 0 && cw_item_more(&r, &list)) {
		it = cw_read_item(&r);
		if (n++ > 0)
			cw_write_u8(&p->w, ';');
		if (it.type != CW_ITEM_TEXT)
			return jt_fail_key(p, "args", "has something that is not text");
		if (jt_to_gbk(p->d, it.s, &p->w) == CW_EINVAL)
			return jt_fail_key(p, "args", "has a character that GBK cannot express");
	}
	p->cut_is_done = command == 3 || command == 4 || command == 5 || command == 6 || command == 7;
	jt_plan_end(p);
	return 0;
}

static int connect_server(struct jt_plan *p, struct cw_bytes in)
{
	static const char *const texts[] = { "code", "apn", "user", "password", "address" };
	static const char *const numbers[] = { "tcpPort", "udpPort", "minutes" };
	char t[24];
	int64_t v;
	int rc = jt_in_int(p, in, "control", 0, 1, 0, &v);
	size_t i;

	if (rc < 0)
		return rc;
	jt_plan_begin(p, 0x8105);
	cw_write_u8(&p->w, 2);
	cw_write_u8(&p->w, (uint8_t)('0' + v));
	p->cut_is_done = 1;
	for (i = 0; i < 5 && v == 0; i++) {
		cw_write_u8(&p->w, ';');
		rc = jt_in_text(p, in, texts[i], 255, &p->w, NULL);
		if (rc < 0)
			return rc;
	}
	for (i = 0; i < 3 && cw_map_int(in, "control", 0) == 0; i++) {
		rc = jt_in_int(p, in, numbers[i], 0, 65535, 0, &v);
		if (rc < 0)
			return rc;
		snprintf(t, sizeof(t), ";%lld", (long long)v);
		cw_write_raw(&p->w, t, strlen(t));
	}
	jt_plan_end(p);
	return 0;
}

static int reset(struct jt_plan *p, struct cw_bytes in)
{
	(void)in;
	jt_plan_begin(p, 0x8105);
	cw_write_u8(&p->w, 4);
	p->cut_is_done = 1;
	jt_plan_end(p);
	return 0;
}

static int factory_reset(struct jt_plan *p, struct cw_bytes in)
{
	(void)in;
	jt_plan_begin(p, 0x8105);
	cw_write_u8(&p->w, 5);
	p->cut_is_done = 1;
	jt_plan_end(p);
	return 0;
}

static int upgrade(struct jt_plan *p, struct cw_bytes in)
{
	uint8_t maker[5] = { 0 };
	struct cw_writer m = cw_writer_of(maker, sizeof(maker));
	int64_t type, size = 0;
	size_t at, data;
	int rc = jt_in_int(p, in, "upgradeType", 0, 255, 0, &type);

	if (rc == 0 && !p->file && cw_map_get(in, "url").len > 0 && cw_map_get(in, "data").len == 0) {
		/* The host has the file of this command; we need to know how long it is. */
		rc = jt_in_int(p, in, "size", 1, (int64_t)60000 * p->conf->part_size, NEEDED, &size);
		p->file = 1;
		p->file_size = (uint32_t)size;
	}
	if (rc < 0)
		return rc;
	jt_plan_begin(p, 0x8108);
	cw_write_u8(&p->w, (uint8_t)type);
	rc = jt_in_text(p, in, "manufacturer", 5, &m, NULL);
	if (rc < 0 || m.overflow)
		return rc < 0 ? rc : jt_fail_key(p, "manufacturer", "is too long");
	cw_write_raw(&p->w, maker, 5);
	rc = in_text8(p, in, "version", &p->w);
	if (rc < 0)
		return rc;
	at = p->w.len;
	cw_write_u32be(&p->w, p->file_size);
	if (!p->file) {
		data = p->w.len;
		rc = jt_in_hex(p, in, "data", &p->w);
		if (rc == 0 && p->w.len == data)
			return jt_fail_key(p, "data", "is missing");
		data = p->w.len - data;
		if (!p->w.overflow) {
			p->w.ptr[at + 1] = (uint8_t)(data >> 16);
			p->w.ptr[at + 2] = (uint8_t)(data >> 8);
			p->w.ptr[at + 3] = (uint8_t)data;
		}
	}
	jt_plan_end(p);
	return rc;
}

static int track(struct jt_plan *p, struct cw_bytes in)
{
	int64_t interval, duration;
	int rc = jt_in_int(p, in, "interval", 0, 65535, NEEDED, &interval);

	if (rc == 0)
		rc = jt_in_int(p, in, "duration", 0, 0xffffffff, interval == 0 ? 0 : NEEDED, &duration);
	if (rc < 0)
		return rc;
	jt_plan_begin(p, 0x8202);
	cw_write_u16be(&p->w, (uint16_t)interval);
	if (interval != 0)
		cw_write_u32be(&p->w, (uint32_t)duration);
	jt_plan_end(p);
	return 0;
}

/* Codes as the alarm events name them, or bit numbers; only the bits that can be confirmed. */
static int confirm_alarm(struct jt_plan *p, struct cw_bytes in)
{
	static const struct { const char *name; uint8_t bit; } names[] = {
		{ "emergency", 0 }, { "danger", 3 }, { "areaInOut", 20 }, { "routeInOut", 21 }, { "segmentTime", 22 },
		{ "illegalIgnition", 27 }, { "illegalMovement", 28 },
	};
	struct cw_bytes codes = cw_map_get(in, "codes");
	struct cw_reader r = cw_reader_of(codes);
	struct cw_item list = cw_read_item(&r), it;
	uint32_t bits = 0, bit;
	int64_t serial, v;
	size_t i;
	int rc = jt_in_int(p, in, "serial", 0, 65535, 0, &serial);

	if (rc < 0)
		return rc;
	while (codes.len > 0 && cw_item_more(&r, &list)) {
		it = cw_read_item(&r);
		bit = 0;
		for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if ((it.type == CW_ITEM_TEXT && jt_name_is(it.s, names[i].name)) || (to_int(&it, &v) && v == names[i].bit))
				bit = 1u << names[i].bit;
		if (bit == 0)
			return jt_fail_key(p, "codes", "has an alarm that cannot be confirmed");
		bits |= bit;
	}
	if (bits == 0)
		return jt_fail_key(p, "codes", "is missing");
	jt_plan_begin(p, 0x8203);
	cw_write_u16be(&p->w, (uint16_t)serial);
	cw_write_u32be(&p->w, bits);
	jt_plan_end(p);
	return 0;
}

/* ---- text --------------------------------------------------------------------- */

static int flag_of(struct cw_bytes in, const char *key, int shift)
{
	return cw_map_int(in, key, 0) != 0 ? 1 << shift : 0;
}

static int send_text(struct jt_plan *p, struct cw_bytes in)
{
	int flags = flag_of(in, "display", 2) | flag_of(in, "tts", 3) | flag_of(in, "canFault", 5);
	int urgent = flag_of(in, "urgent", 0);
	int64_t type;
	size_t n;
	int rc = jt_in_int(p, in, "textType", 1, 2, 1, &type);

	if (rc < 0)
		return rc;
	jt_plan_begin(p, 0x8300);
	if (p->edition == JT_2019) {
		/* Two bits here: 01 service, 10 urgent, 11 notice. */
		cw_write_u8(&p->w, (uint8_t)(flags | (urgent ? 2 : type == 2 ? 1 : 3)));
		cw_write_u8(&p->w, (uint8_t)type);
	} else {
		cw_write_u8(&p->w, (uint8_t)(flags | urgent | flag_of(in, "screen", 4)));
	}
	rc = jt_in_text(p, in, "text", 1024, &p->w, &n);
	if (rc == 0 && n == 0)
		return jt_fail_key(p, "text", "is missing");
	jt_plan_end(p);
	return rc;
}

static int send_info(struct jt_plan *p, struct cw_bytes in)
{
	int64_t type;
	size_t at, n = 0;
	int rc = jt_in_int(p, in, "infoType", 0, 255, NEEDED, &type);

	if (rc < 0)
		return rc;
	jt_plan_begin(p, 0x8304);
	cw_write_u8(&p->w, (uint8_t)type);
	at = p->w.len;
	cw_write_be(&p->w, 0, p->edition == JT_2011 ? 4 : 2);
	rc = jt_in_text(p, in, "text", 65535, &p->w, &n);
	if (rc == 0 && !p->w.overflow) {
		p->w.ptr[at] = (uint8_t)(n >> 8);
		p->w.ptr[at + 1] = (uint8_t)n;
		if (p->edition == JT_2011) {
			p->w.ptr[at + 2] = (uint8_t)(n >> 8);
			p->w.ptr[at + 3] = (uint8_t)n;
		}
	}
	jt_plan_end(p);
	return rc;
}

static int call_back(struct jt_plan *p, struct cw_bytes in)
{
	int64_t mode;
	size_t n;
	int rc = jt_in_int(p, in, "mode", 0, 1, 0, &mode);

	if (rc < 0)
		return rc;
	jt_plan_begin(p, 0x8400);
	cw_write_u8(&p->w, (uint8_t)mode);
	rc = jt_in_text(p, in, "number", 20, &p->w, &n);
	if (rc == 0 && n == 0)
		return jt_fail_key(p, "number", "is missing");
	jt_plan_end(p);
	return rc;
}

/* ---- vehicle ------------------------------------------------------------------ */

static int vehicle_controls(struct jt_plan *p, struct cw_bytes in, unsigned *n)
{
	struct cw_bytes items = cw_map_get(in, "controls");
	struct cw_reader r = cw_reader_of(items);
	struct cw_item list = cw_read_item(&r);
	int64_t type;
	int rc;

	while (items.len > 0 && cw_item_more(&r, &list)) {
		struct cw_bytes one = cw_read_whole_item(&r);

		if (one.len == 0)
			return jt_fail_key(p, "controls", "cannot be read");
		rc = jt_in_int(p, one, "type", 1, 65535, NEEDED, &type);
		if (rc < 0)
			return rc;
		cw_write_u16be(&p->w, (uint16_t)type);
		rc = jt_in_hex(p, one, "paramHex", &p->w);
		if (rc < 0)
			return rc;
		++*n;
	}
	return 0;
}

/* The polarity turned round between the editions: 1 locks before 2019, 0 locks from then on. */
static int control_vehicle(struct jt_plan *p, struct cw_bytes in)
{
	int has_lock = cw_map_get(in, "doorLock").len > 0, lock = cw_map_int(in, "doorLock", 0) != 0, rc;
	unsigned n = 0;
	size_t at;

	p->answer = 0x0500;
	jt_plan_begin(p, 0x8500);
	if (p->edition != JT_2019) {
		if (!has_lock)
			return jt_fail_key(p, "doorLock", "is missing");
		if (cw_map_get(in, "controls").len > 0)
			return CW_ENOENT;
		cw_write_u8(&p->w, (uint8_t)lock);
		jt_plan_end(p);
		return 0;
	}
	at = p->w.len;
	if (p->conf->count_word)
		cw_write_u16be(&p->w, 0);
	if (has_lock) {
		cw_write_u16be(&p->w, 1);
		cw_write_u8(&p->w, (uint8_t)!lock);
		n++;
	}
	rc = vehicle_controls(p, in, &n);
	if (rc < 0)
		return rc;
	if (n == 0)
		return jt_fail(p, "doorLock or controls must be given");
	if (p->conf->count_word && !p->w.overflow) {
		p->w.ptr[at] = (uint8_t)(n >> 8);
		p->w.ptr[at + 1] = (uint8_t)n;
	}
	jt_plan_end(p);
	return 0;
}

static int empty(struct jt_plan *p, uint16_t id, uint16_t answer)
{
	p->answer = answer;
	jt_plan_begin(p, id);
	jt_plan_end(p);
	return 0;
}

static int query_attributes(struct jt_plan *p, struct cw_bytes in) { (void)in; return empty(p, 0x8107, 0x0107); }
static int query_location(struct jt_plan *p, struct cw_bytes in) { (void)in; return empty(p, 0x8201, 0x0201); }
static int check_link(struct jt_plan *p, struct cw_bytes in) { (void)in; return empty(p, 0x8204, 0); }
static int request_driver(struct jt_plan *p, struct cw_bytes in) { (void)in; return empty(p, 0x8702, 0x0702); }

static const struct {
	const char *name;
	int since; /* edition */
	int (*encode)(struct jt_plan *p, struct cw_bytes in);
} services[] = {
	{ "SetParameters", JT_2011, set_parameters }, { "QueryParameters", JT_2011, query_parameters },
	{ "TerminalControl", JT_2011, terminal_control }, { "ResetTerminal", JT_2011, reset }, { "FactoryReset", JT_2011, factory_reset },
	{ "ConnectServer", JT_2011, connect_server }, { "QueryAttributes", JT_2013, query_attributes }, { "UpgradeFirmware", JT_2013, upgrade },
	{ "QueryLocation", JT_2011, query_location }, { "TrackLocation", JT_2011, track }, { "ConfirmAlarm", JT_2013, confirm_alarm },
	{ "CheckLink", JT_2019, check_link }, { "SendText", JT_2011, send_text }, { "SendInfo", JT_2011, send_info },
	{ "CallBack", JT_2011, call_back }, { "ControlVehicle", JT_2011, control_vehicle }, { "QueryAreas", JT_2019, query_areas },
	{ "CollectRecorder", JT_2011, jt_enc_collect_recorder }, { "SetRecorder", JT_2011, jt_enc_set_recorder }, { "RequestDriver", JT_2013, request_driver },
	{ "TakePhoto", JT_2011, jt_enc_take_photo }, { "SearchMedia", JT_2011, jt_enc_search_media }, { "UploadMedia", JT_2011, jt_enc_upload_media },
	{ "UploadMediaById", JT_2013, jt_enc_upload_media_by_id }, { "RecordAudio", JT_2011, jt_enc_record_audio },
	{ "SendTransparent", JT_2011, jt_enc_send_transparent }, { "SendPlatformKey", JT_2011, jt_enc_send_key }, { "SendRaw", JT_2011, jt_enc_send_raw },
};

int jt_encode_service(struct jt_plan *p, struct cw_bytes name, struct cw_bytes input)
{
	size_t i;

	for (i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		if (!jt_name_is(name, services[i].name))
			continue;
		return p->edition < services[i].since ? CW_ENOENT : services[i].encode(p, input);
	}
	return jt_encode_area_service(p, name, input);
}
