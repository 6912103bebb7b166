/* Every vector that is not a frame for `causeway decode`: checksums, values, addresses, plans, writes, streams, reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_host.h"
#include "modbus.h"
#include "vectors.h"

static struct mb_charsets cs;

static int load(void **state)
{
	cs.from_gbk = iconv_open("UTF-8", "GBK");
	cs.to_gbk = iconv_open("GBK", "UTF-8");
	return vectors_read("tests/vectors/modbus.json");
}

static int unload(void **state)
{
	iconv_close(cs.from_gbk);
	iconv_close(cs.to_gbk);
	return vectors_free(state);
}

static const char *text_of(struct cw_bytes t)
{
	static char buf[8][700];
	static unsigned at;
	char *out = buf[at++ % 8];

	snprintf(out, sizeof(buf[0]), "%.*s", (int)t.len, (const char *)t.ptr);
	return out;
}

static const char *member(struct cw_bytes map, const char *key)
{
	return text_of(cw_map_text(map, key));
}

static size_t unhex(struct cw_bytes text, uint8_t *out)
{
	unsigned v;
	size_t i;

	for (i = 0; i + 1 < text.len; i += 2) {
		char pair[3] = { (char)text.ptr[i], (char)text.ptr[i + 1], 0 };

		assert_int_equal(sscanf(pair, "%2x", &v), 1);
		out[i / 2] = (uint8_t)v;
	}
	return text.len / 2;
}

/* Calls fn with each vector of a kind; none of them may be forgotten. */
static void each(const char *kind, unsigned least, void (*fn)(struct cw_bytes v, struct cw_bytes expect, const char *id))
{
	struct cw_bytes list = cw_map_get(cw_bytes_of(vectors, vectors_len), "vectors");
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);
	unsigned n = 0;

	while (cw_item_more(&r, &it)) {
		struct cw_bytes v = cw_read_whole_item(&r);

		if (!cw_bytes_equal(cw_map_text(v, "kind"), cw_bytes_text(kind)))
			continue;
		fn(v, cw_map_get(v, "expect"), member(v, "id"));
		n++;
	}
	assert_true(n >= least);
}

/* ---- checksums, addresses ------------------------------------------------------------------------------ */

static void checksum(struct cw_bytes v, struct cw_bytes expect, const char *id)
{
	uint8_t in[600], want[4], got[2];
	size_t n = unhex(cw_map_text(v, "input"), in), w = unhex(cw_map_text(v, "wire"), want);

	if (strcmp(member(v, "algorithm"), "lrc") == 0) {
		got[0] = mb_lrc(cw_bytes_of(in, n));
	} else {
		got[0] = (uint8_t)mb_crc(cw_bytes_of(in, n));
		got[1] = (uint8_t)(mb_crc(cw_bytes_of(in, n)) >> 8);
	}
	if (memcmp(got, want, w) != 0)
		fail_msg("%s", id);
}

static void address(struct cw_bytes v, struct cw_bytes expect, const char *id)
{
	enum mb_area area;
	uint16_t at;
	const char *error = "";
	int rc = mb_reference(cw_map_text(v, "ref"), &area, &at, &error);

	if (cw_map_get(expect, "error").len > 0) {
		if (rc == 0 || strcmp(error, member(expect, "error")) != 0)
			fail_msg("%s: %s", id, error);
	} else if (rc < 0 || strcmp(mb_area_name(area), member(expect, "area")) != 0 || at != cw_map_int(expect, "address", -1)) {
		fail_msg("%s: %s %u", id, rc < 0 ? error : mb_area_name(area), at);
	}
}

static void checksums_and_addresses(void **state)
{
	each("checksum", 6, checksum);
	each("address", 10, address);
}

/* ---- points: through the settings, as an operator writes them -------------------------------------------- */

static struct fake f;

/* The profile of one point. */
static const struct mb_point *point_of(const char *json)
{
	char settings[2000];
	const struct mb_conf *c;

	snprintf(settings, sizeof(settings), "{\"profile\":\"p\",\"profiles\":{\"p\":{\"points\":[%s]}}}", json);
	fake_init(&f, cw_plugin_entry(), settings);
	c = f.conf;
	assert_int_equal(c->profile->point_count, 1);
	return &c->profile->points[0];
}

static void put_member(char *out, size_t size, struct cw_bytes v, const char *from, const char *to)
{
	struct cw_bytes item = cw_map_get(v, from);
	size_t n = strlen(out);

	if (item.len > 0)
		snprintf(out + n, size - n, ",\"%s\":%s", to, fake_json(item));
}

static void replace(char *text, const char *from, const char *to)
{
	char *at = strstr(text, from);
	char rest[1500];

	if (at == NULL)
		return;
	snprintf(rest, sizeof(rest), "%s", at + strlen(from));
	sprintf(at, "%s%s", to, rest);
}

static void camel(char *json)
{
	replace(json, "\"high-first\"", "\"highFirst\"");
	replace(json, "\"low-first\"", "\"lowFirst\"");
	replace(json, "\"low-byte-only\"", "\"lowByteOnly\"");
	replace(json, "\"high-byte-only\"", "\"highByteOnly\"");
}

static void value(struct cw_bytes v, struct cw_bytes expect, const char *id)
{
	static const char *const same[] = { "type", "order", "bit", "length", "packing", "trim", "scale", "offset", "decimals", "map" };
	char json[1500] = "{\"property\":\"v\",\"area\":\"holding\",\"address\":0", text[MB_TEXT_MAX];
	const struct mb_point *p;
	struct mb_value got;
	uint8_t wire[300], buf[800];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	size_t n = unhex(cw_map_text(v, "wire"), wire), i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		put_member(json, sizeof(json), v, same[i], same[i]);
	strcat(json, "}");
	camel(json);
	p = point_of(json);
	mb_point_read(&cs, p, cw_bytes_of(wire, n), text, sizeof(text), &got);
	mb_put_value(&w, &got);
	if (!fake_same(cw_written(&w), expect))
		fail_msg("%s: %s, should be %s", id, fake_json(cw_written(&w)), fake_json(expect));
	fake_fini(&f);
}

static void values(void **state)
{
	each("value", 25, value);
}

static void a_write(struct cw_bytes v, struct cw_bytes expect, const char *id)
{
	static const char *const same[] = { "area", "address", "type", "order", "bit", "length", "packing", "scale", "offset", "min", "max" };
	struct cw_bytes point = cw_map_get(v, "point"), set = cw_map_get(v, "set"), pdus = cw_map_get(expect, "pdus");
	char json[1500] = "{\"property\":\"v\",\"access\":\"rw\"", body[400], want[2000];
	struct cw_reader r = cw_reader_of(pdus);
	struct cw_item it = cw_read_item(&r);
	struct fake_blob *b;
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		put_member(json, sizeof(json), point, same[i], same[i]);
	put_member(json, sizeof(json), point, "write_fc", "writeFc");
	put_member(json, sizeof(json), point, "mask_write", "maskWrite");
	strcat(json, "}");
	camel(json);
	if (strstr(json, "\"input\"") != NULL || strstr(json, "\"discrete\"") != NULL)
		replace(json, "\"access\":\"rw\"", "\"access\":\"r\"");
	snprintf(want, sizeof(want),
	         "{\"framing\":\"tcp\",\"registration\":{\"mode\":\"none\"},\"settle\":0,\"gap\":0,\"profile\":\"p\",\"profiles\":{\"p\":{\"points\":[%s]}}}", json);
	fake_init(&f, cw_plugin_entry(), want);
	f.auto_identify = 0;
	fake_open(&f);
	fake_member(&f, "/1");
	fake_members_done(&f);
	fake_forget(&f);
	snprintf(body, sizeof(body), "{\"v\":%s}", fake_json(set));
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, body, 7, 8000), 0);
	if (cw_map_get(expect, "error").len > 0) {
		b = fake_next(&f.done);
		if (b == NULL || b->code != CW_CODE_BAD_INPUT)
			fail_msg("%s: was not refused", id);
		assert_string_equal(member(cw_bytes_of(b->ptr, b->len), "error"), member(expect, "error"));
		assert_null(fake_next(&f.sent));
	}
	while (it.type == CW_ITEM_ARRAY && cw_item_more(&r, &it)) {
		struct cw_item pdu = cw_read_item(&r);
		char answer[600];
		unsigned fc;

		b = fake_next(&f.sent);
		if (b == NULL || strcasecmp(fake_hex(b) + 14, text_of(pdu.s)) != 0)
			fail_msg("%s: sent %s, should be %s", id, b == NULL ? "nothing" : fake_hex(b) + 14, text_of(pdu.s));
		/* The answer is the request again, of functions 15 and 16 its first five bytes. */
		assert_int_equal(sscanf(fake_hex(b) + 14, "%2x", &fc), 1);
		snprintf(answer, sizeof(answer), "%.4s0000%.4s%.2s%.*s", fake_hex(b), fc >= 15 && fc <= 16 ? "0006" : fake_hex(b) + 8, fake_hex(b) + 12,
		         fc >= 15 && fc <= 16 ? 10 : 590, fake_hex(b) + 14);
		fake_feed_hex(&f, answer);
	}
	if (pdus.len > 0) {
		b = fake_next(&f.done);
		if (b == NULL || b->code != CW_CODE_OK)
			fail_msg("%s: did not end well", id);
	}
	fake_fini(&f);
}

static void writes(void **state)
{
	each("write", 10, a_write);
}

/* ---- plans ---------------------------------------------------------------------------------------------------- */

static void batch(struct cw_bytes v, struct cw_bytes expect, const char *id)
{
	struct cw_reader want = cw_reader_of(expect);
	struct cw_item wanted = cw_read_item(&want);
	struct mb_limits limits = { (unsigned)cw_map_int(v, "max_gap", 0), (unsigned)cw_map_int(v, "max_registers", 0),
		                    (unsigned)cw_map_int(v, "max_bits", 0) };
	static char names[64][16];
	struct mb_point points[64];
	uint16_t order[64];
	struct mb_block blocks[64];
	int64_t unit;
	unsigned n, made, i, k;

	for (unit = 0; unit < 248; unit++) {
		struct cw_reader r = cw_reader_of(cw_map_get(v, "points"));
		struct cw_item it = cw_read_item(&r);

		for (n = 0; cw_item_more(&r, &it);) {
			struct cw_bytes p = cw_read_whole_item(&r);
			const char *area = member(p, "area");

			if (cw_map_int(p, "unit", -1) != unit)
				continue;
			memset(&points[n], 0, sizeof(points[n]));
			snprintf(names[n], sizeof(names[n]), "%s", member(p, "name"));
			points[n].name = names[n];
			points[n].area = area[0] == 'c' ? MB_COIL : area[0] == 'd' ? MB_DISCRETE : area[0] == 'i' ? MB_INPUT : MB_HOLDING;
			points[n].address = (uint16_t)cw_map_int(p, "address", 0);
			points[n].count = (uint16_t)cw_map_int(p, "count", 1);
			points[n].isolate = cw_map_int(p, "isolate", 0) != 0;
			order[n] = (uint16_t)n;
			n++;
		}
		made = n == 0 ? 0 : mb_plan(points, order, n, &limits, blocks);
		for (i = 0; i < made; i++) {
			struct cw_bytes e;
			struct cw_reader pr;
			struct cw_item pi;

			assert_true(cw_item_more(&want, &wanted));
			e = cw_read_whole_item(&want);
			if (cw_map_int(e, "unit", -1) != unit || cw_map_int(e, "fc", -1) != blocks[i].fc ||
			    cw_map_int(e, "address", -1) != blocks[i].address || cw_map_int(e, "quantity", -1) != blocks[i].quantity)
				fail_msg("%s: %u %u+%u", id, blocks[i].fc, blocks[i].address, blocks[i].quantity);
			pr = cw_reader_of(cw_map_get(e, "points"));
			pi = cw_read_item(&pr);
			for (k = 0; cw_item_more(&pr, &pi); k++)
				assert_string_equal(text_of(cw_read_item(&pr).s), points[order[blocks[i].first + k]].name);
			assert_int_equal(k, blocks[i].count);
		}
	}
	assert_false(cw_item_more(&want, &wanted));
}

static void batches(void **state)
{
	each("batch", 6, batch);
}

/* ---- streams ------------------------------------------------------------------------------------------------------ */

static struct mb_channel channel;
static struct mb_reg_rule rule;
static struct mb_pattern beats[8];
static uint8_t store[16][600];
static struct mb_request requests[8];
static struct mb_line line;
static uint8_t held[4096], again[200];
static size_t held_len, discarded;

static void add_request(struct cw_bytes text)
{
	struct mb_request *q = &requests[line.outstanding++];
	uint8_t b[300];
	size_t n, at = 0;
	struct mb_scan s;
	struct mb_pdu p;

	if (text.ptr[0] == ':') {
		assert_int_equal(mb_ascii_bytes(cw_bytes_of(text.ptr + 1, text.len - 2), &s), MB_OK);
		q->unit = s.unit;
		assert_int_equal(mb_pdu_read(s.pdu, MB_REQUEST, &p), MB_OK);
		if (channel.local_echo)
			line.echo = text;
	} else {
		n = unhex(text, b);
		if (channel.framing == MB_TCP) {
			q->tid = (uint16_t)(b[0] << 8 | b[1]);
			at = 6;
			n += 2;
		}
		q->unit = b[at];
		assert_int_equal(mb_pdu_read(cw_bytes_of(b + at + 1, n - at - 3), MB_REQUEST, &p), MB_OK);
		if (channel.local_echo) {
			memcpy(store[15], b, n);
			line.echo = cw_bytes_of(store[15], n);
		}
	}
	q->fc = p.fc;
	q->address = p.address;
	q->quantity = p.fc == 5 || p.fc == 6 || p.fc == 22 ? p.value : p.quantity;
	q->or_mask = p.or_mask;
}

static void set_up(struct cw_bytes v)
{
	struct cw_bytes reg = cw_map_get(v, "registration"), list = cw_map_get(v, "requests");
	struct cw_reader r = cw_reader_of(cw_map_get(v, "heartbeats"));
	struct cw_item it = cw_read_item(&r);
	const char *transport = member(v, "transport");

	memset(&channel, 0, sizeof(channel));
	memset(&rule, 0, sizeof(rule));
	memset(&line, 0, sizeof(line));
	channel.framing = transport[0] == 't' ? MB_TCP : transport[0] == 'a' ? MB_ASCII : MB_RTU;
	channel.hunt = 1;
	channel.partial_ms = 500;
	channel.reg = &rule;
	channel.heartbeats = beats;
	channel.local_echo = cw_map_int(v, "local_echo", 0) != 0;
	while (cw_item_more(&r, &it)) {
		unsigned n = channel.heartbeat_count++;

		beats[n].bytes = cw_bytes_of(store[n], unhex(cw_read_item(&r).s, store[n]));
	}
	if (cw_map_item(v, "registration").type == CW_ITEM_MAP) {
		channel.reg_mode = cw_map_int(reg, "every", 0) ? MB_REG_EVERY : MB_REG_ONCE;
		rule.length = (unsigned)cw_map_int(reg, "length", 0);
		rule.hex = strcmp(member(reg, "format"), "hex") == 0;
		rule.strip = cw_map_int(reg, "strip", 1) != 0;
		rule.prefix = cw_bytes_of(store[14], unhex(cw_map_text(reg, "prefix"), store[14]));
	}
	line.ch = &channel;
	line.registered = channel.reg_mode == MB_REG_NONE;
	line.requests = requests;
	if (cw_map_text(v, "request").len > 0)
		add_request(cw_map_text(v, "request"));
	r = cw_reader_of(list);
	it = cw_read_item(&r);
	while (it.type == CW_ITEM_ARRAY && cw_item_more(&r, &it))
		add_request(cw_read_item(&r).s);
	held_len = discarded = 0;
}

static void put_event(struct cw_writer *w, const struct mb_scan *s, struct cw_bytes frame)
{
	char name[CW_IDENTITY_MAX + 1];
	struct mb_pdu p;
	unsigned i;

	cw_put_map(w);
	switch (s->what) {
	case MB_HEARTBEAT: cw_field_text(w, "event", "heartbeat"); break;
	case MB_ECHO: cw_field_text(w, "event", "echo"); break;
	case MB_REGISTER:
		cw_field_text(w, "event", "register");
		assert_true(mb_registration_name(&rule, frame, name, sizeof(name)) > 0);
		cw_field_text(w, "id", name);
		break;
	case MB_STALE:
		cw_field_text(w, "event", "stale");
		cw_field_uint(w, "tid", s->tid);
		break;
	default:
		assert_int_equal(s->what, MB_ANSWER);
		assert_int_equal(mb_pdu_read(s->pdu, MB_RESPONSE, &p), MB_OK);
		cw_field_text(w, "event", p.exception ? "exception" : "response");
		if (channel.framing == MB_TCP)
			cw_field_uint(w, "tid", s->tid);
		cw_field_uint(w, "unit", s->unit);
		cw_field_uint(w, "fc", p.fc);
		if (p.exception) {
			cw_field_uint(w, "exception", p.exception);
		} else if (p.fc == 3 || p.fc == 4) {
			cw_field_uint(w, "byte_count", p.byte_count);
			cw_field_array(w, "registers");
			for (i = 0; i < p.byte_count / 2u; i++)
				cw_put_uint(w, mb_register(p.data, i));
			cw_put_end(w);
		} else if (p.fc == 5) {
			cw_field_uint(w, "address", p.address);
			cw_field_bool(w, "on", p.value != 0);
		} else if (p.fc == 6) {
			cw_field_uint(w, "address", p.address);
			cw_field_uint(w, "value", p.value);
		} else {
			cw_field_uint(w, "address", p.address);
			cw_field_uint(w, "quantity", p.quantity);
		}
		break;
	}
	cw_put_end(w);
}

static void scan_held(struct cw_writer *w, int final)
{
	struct mb_scan s;

	for (;;) {
		size_t used;

		assert_int_equal(mb_scan(&line, cw_bytes_of(held, held_len), final, &s), 0);
		discarded += s.skip;
		used = s.skip + s.length;
		if (s.length > 0) {
			struct cw_bytes frame = cw_bytes_of(held + s.skip, s.length);

			put_event(w, &s, frame);
			if (s.what == MB_REGISTER) {
				line.registered = 1;
				if (channel.reg_mode == MB_REG_EVERY) {
					memcpy(again, frame.ptr, frame.len);
					line.again = cw_bytes_of(again, frame.len);
				}
			}
			if (s.what == MB_ECHO)
				line.echo = cw_bytes_of(NULL, 0);
			if (s.what == MB_ANSWER) {
				line.outstanding--;
				requests[s.which] = requests[line.outstanding];
			}
		}
		held_len -= used;
		memmove(held, held + used, held_len);
		if (used == 0)
			return;
	}
}

/* In the vector's pieces, and again byte by byte: what is found is the same. */
static void stream_in(struct cw_bytes v, struct cw_bytes expect, const char *id, int bytewise)
{
	struct cw_reader r = cw_reader_of(cw_map_get(v, "chunks"));
	struct cw_item it = cw_read_item(&r);
	struct cw_bytes after = cw_map_get(expect, "after_timeout");
	uint8_t buf[4096], piece[600];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	size_t i;

	set_up(v);
	cw_put_array(&w);
	while (cw_item_more(&r, &it)) {
		size_t n = unhex(cw_read_item(&r).s, piece);

		for (i = 0; i < n; i++) {
			held[held_len++] = piece[i];
			if (bytewise)
				scan_held(&w, 0);
		}
		scan_held(&w, 0);
	}
	cw_put_end(&w);
	if (!fake_same(cw_written(&w), cw_map_get(expect, "events")))
		fail_msg("%s: %s, should be %s", id, fake_json(cw_written(&w)), fake_json(cw_map_get(expect, "events")));
	if ((int64_t)discarded != cw_map_int(expect, "discarded", -1) || (int64_t)held_len != cw_map_int(expect, "pending", -1))
		fail_msg("%s: %zu dropped, %zu held", id, discarded, held_len);
	if (cw_map_item(expect, "after_timeout").type != CW_ITEM_MAP)
		return;
	w = cw_writer_of(buf, sizeof(buf));
	discarded = 0;
	cw_put_array(&w);
	scan_held(&w, 1);
	cw_put_end(&w);
	if (!fake_same(cw_written(&w), cw_map_get(after, "events")) || (int64_t)discarded != cw_map_int(after, "discarded", -1))
		fail_msg("%s: at last %s, %zu dropped", id, fake_json(cw_written(&w)), discarded);
}

static void stream(struct cw_bytes v, struct cw_bytes expect, const char *id)
{
	stream_in(v, expect, id, 0);
	stream_in(v, expect, id, 1);
}

static void streams(void **state)
{
	each("stream", 21, stream);
}

/* ---- reports ------------------------------------------------------------------------------------------------------------ */

static void number_of(struct cw_item it, struct mb_value *v)
{
	memset(v, 0, sizeof(*v));
	v->kind = it.type == CW_ITEM_BOOL ? MB_V_BOOL : MB_V_DEC;
	assert_true(mb_dec_of_item(&it, &v->dec));
}

static void report(struct cw_bytes v, struct cw_bytes expect, const char *id)
{
	struct cw_bytes config = cw_map_get(v, "config");
	struct cw_item band = cw_map_item(config, "deadband");
	const char *mode = member(config, "mode");
	struct mb_report policy = { .mode = mode[0] == 'a' ? MB_R_ALWAYS : mode[0] == 'p' ? MB_R_PERIOD : MB_R_CHANGE,
		                    .max_ms = (uint64_t)cw_map_int(config, "heartbeat_s", 0) * 1000 };
	struct cw_reader r = cw_reader_of(cw_map_get(v, "samples"));
	struct cw_item it = cw_read_item(&r);
	uint8_t buf[2000];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	struct mb_value last = { .kind = MB_V_NONE }, now;
	uint64_t last_ms = 0;

	if (band.type != CW_ITEM_BAD)
		assert_true(mb_dec_of_item(&band, &policy.deadband));
	cw_put_array(&w);
	while (cw_item_more(&r, &it)) {
		struct cw_item pair = cw_read_item(&r), second, sample;

		assert_true(cw_item_more(&r, &pair));
		second = cw_read_item(&r);
		assert_true(cw_item_more(&r, &pair));
		sample = cw_read_item(&r);
		assert_false(cw_item_more(&r, &pair));
		number_of(sample, &now);
		if (!mb_report_due(&policy, &last, last_ms, &now, (uint64_t)second.i * 1000))
			continue;
		last = now;
		last_ms = (uint64_t)second.i * 1000;
		cw_put_array(&w);
		cw_put_int(&w, second.i);
		mb_put_value(&w, &now);
		cw_put_end(&w);
	}
	cw_put_end(&w);
	if (!fake_same(cw_written(&w), expect))
		fail_msg("%s: %s, should be %s", id, fake_json(cw_written(&w)), fake_json(expect));
}

static void reports(void **state)
{
	each("report", 3, report);
}

/* ---- what the vectors do not say ------------------------------------------------------------------------------------------ */

static const char *read_as(const char *json, const char *hex)
{
	const struct mb_point *p = point_of(json);
	static uint8_t buf[8][800];
	static unsigned at;
	struct cw_writer w = cw_writer_of(buf[at++ % 8], sizeof(buf[0]));
	char text[MB_TEXT_MAX];
	uint8_t wire[300];
	struct mb_value got;
	size_t n = unhex(cw_bytes_text(hex), wire);

	mb_point_read(&cs, p, cw_bytes_of(wire, n), text, sizeof(text), &got);
	mb_put_value(&w, &got);
	fake_fini(&f);
	return fake_json(cw_written(&w));
}

#define P "{\"property\":\"v\",\"area\":\"holding\",\"address\":0,"

static void numbers_have_no_dust(void **state)
{
	assert_string_equal(read_as(P "\"type\":\"int16\",\"scale\":0.1}", "0901"), "230.5");
	assert_string_equal(read_as(P "\"type\":\"int16\",\"scale\":0.1}", "08FC"), "230.0");
	assert_string_equal(read_as(P "\"type\":\"uint16\",\"scale\":0.001,\"offset\":-40}", "0001"), "-39.999");
	assert_string_equal(read_as(P "\"type\":\"int16\",\"scale\":0.25,\"decimals\":1}", "FFFF"), "-0.3");
	assert_string_equal(read_as(P "\"type\":\"uint64\",\"scale\":0.01}", "FFFFFFFFFFFFFFFF"), "184467440737095516.2");
	assert_string_equal(read_as(P "\"type\":\"uint64\"}", "FFFFFFFFFFFFFFFF"), "18446744073709551615");
	assert_string_equal(read_as(P "\"type\":\"uint64\",\"asText\":true}", "FFFFFFFFFFFFFFFF"), "\"18446744073709551615\"");
	assert_string_equal(read_as(P "\"type\":\"int64\"}", "8000000000000000"), "-9223372036854775808");
	assert_string_equal(read_as(P "\"type\":\"float32\"}", "4366199A"), "230.1");
	assert_string_equal(read_as(P "\"type\":\"float32\",\"scale\":0.1}", "4366199A"), "23.0");
	assert_string_equal(read_as(P "\"type\":\"float32\",\"decimals\":2}", "40490FDB"), "3.14");
	assert_string_equal(read_as(P "\"type\":\"float32\"}", "80000000"), "0");
	assert_string_equal(read_as(P "\"type\":\"float32\"}", "FF800000"), "null");
	assert_string_equal(read_as(P "\"type\":\"float64\"}", "3FB999999999999A"), "0.1");
	assert_string_equal(read_as(P "\"type\":\"bcd32\",\"scale\":0.01}", "12345678"), "123456.78");
	assert_string_equal(read_as(P "\"type\":\"bit\",\"bit\":15,\"asNumber\":true}", "8000"), "1");
	assert_string_equal(read_as(P "\"type\":\"int16\",\"map\":{\"-1\":\"7.5\"},\"mapTo\":\"number\"}", "FFFF"), "7.5");
}

static void texts_are_utf8_or_hex(void **state)
{
	assert_string_equal(read_as(P "\"type\":\"string\",\"length\":4,\"charset\":\"gbk\"}", "B2E2CAD4"), "\"\xe6\xb5\x8b\xe8\xaf\x95\"");
	assert_string_equal(read_as(P "\"type\":\"string\",\"length\":4}", "B2E2CAD4"), "\"B2E2CAD4\"");
	assert_string_equal(read_as(P "\"type\":\"string\",\"length\":3,\"charset\":\"hex\"}", "41424344"), "\"414243\"");
	assert_string_equal(read_as(P "\"type\":\"bytes\",\"length\":3}", "00FF0100"), "\"00FF01\"");
	assert_string_equal(read_as(P "\"type\":\"string\",\"length\":2,\"packing\":\"highByteOnly\"}", "41004200"), "\"AB\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_and_addresses),
		cmocka_unit_test(values),
		cmocka_unit_test(writes),
		cmocka_unit_test(batches),
		cmocka_unit_test(streams),
		cmocka_unit_test(reports),
		cmocka_unit_test(numbers_have_no_dust),
		cmocka_unit_test(texts_are_utf8_or_hex),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
