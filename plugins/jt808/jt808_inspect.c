/*
 * jt808_inspect.c - what the decode tool is shown of a frame: header, fields, what is wrong with it.
 */
#include "jt808.h"

#include <stdio.h>

static void show(struct cw_decoder *d, const struct cw_event *ev, const char *name, struct cw_writer *w, size_t at, size_t len)
{
	d->host->field(d->hx, ev->conn, CW_GROUP_HEADER, name, cw_written(w), at, len);
	w->len = 0;
}

static void show_uint(struct cw_decoder *d, const struct cw_event *ev, const char *name, uint64_t v, size_t at, size_t len)
{
	uint8_t buf[16];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_uint(&w, v);
	show(d, ev, name, &w, at, len);
}

static void show_text(struct cw_decoder *d, const struct cw_event *ev, const char *name, const char *text, size_t at, size_t len)
{
	uint8_t buf[96];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_text(&w, text);
	show(d, ev, name, &w, at, len);
}

static void put_flaws(struct cw_writer *w, const struct jt_msg *m, uint32_t flaws)
{
	char text[96];

	cw_put_array(w);
	if (flaws & JT_FLAW_ESCAPE)
		cw_put_text(w, "bad_escape");
	if (flaws & JT_FLAW_SUM) {
		snprintf(text, sizeof(text), "checksum_mismatch: frame carries 0x%02x, computed 0x%02x", m->sum, m->sum_made);
		cw_put_text(w, text);
	}
	if (flaws & JT_FLAW_LENGTH) {
		snprintf(text, sizeof(text), "length_mismatch: header %u, actual %zu", m->length_said, m->body.len);
		cw_put_text(w, text);
	}
	if (flaws & JT_FLAW_LAYOUT) {
		snprintf(text, sizeof(text), "header_layout_contradicts_version_bit: bit14=%d but %s layout fits", (m->attr >> 14) & 1,
		         m->wide ? "2019" : "2011/2013");
		cw_put_text(w, text);
	}
	if (flaws & JT_FLAW_NUMBER)
		cw_put_text(w, "terminal_number_not_bcd");
	if (flaws & JT_FLAW_COUNT)
		cw_put_text(w, "body_shorter_than_declared_item_count");
	if (flaws & JT_FLAW_BODY)
		cw_put_text(w, "body_does_not_fit_standard_layout");
	cw_put_end(w);
}

/* Fields of the header as the decode tool shows them; offsets count unescaped bytes behind the delimiter. */
void jt_inspect_header(struct cw_decoder *d, const struct cw_event *ev, const struct jt_msg *m, uint32_t more_flaws)
{
	uint8_t buf[640];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	uint32_t flaws = m->flaws | more_flaws;
	size_t at = m->wide ? 5 : 4, after = at + m->number_len;
	char text[24];

	show_text(d, ev, "version", m->vendor ? "vendor" : jt_edition_name(m->edition), 2, 2);
	snprintf(text, sizeof(text), "0x%04x", m->id);
	show_text(d, ev, "message_id", text, 0, 2);
	jt_number_text(m->number, m->number_len, text);
	show_text(d, ev, "phone", text, at, m->number_len);
	show_uint(d, ev, "serial", m->serial, after, m->vendor ? 1 : 2);
	if (m->wide)
		show_uint(d, ev, "protocol_version", m->version, 4, 1);
	if (m->vendor) {
		show_uint(d, ev, "serial_width", 1, after, 1);
		snprintf(text, sizeof(text), "0x%04x", m->attr);
		show_text(d, ev, "attr", text, 2, 2);
	} else if (m->attr & 0x1c00u) {
		show_uint(d, ev, "encryption_bits", (m->attr >> 10) & 7u, 2, 2);
	}
	show_uint(d, ev, "body_len", m->body.len, 2, 2);
	if (m->total != 0 || m->index != 0) {
		cw_put_map(&w);
		cw_field_uint(&w, "total", m->total);
		cw_field_uint(&w, "index", m->index);
		cw_put_end(&w);
		show(d, ev, "fragment", &w, after + 2, 4);
	}
	cw_put_bool(&w, flaws == 0);
	show(d, ev, "strict_ok", &w, 0, 0);
	if (flaws != 0) {
		put_flaws(&w, m, flaws);
		show(d, ev, "anomalies", &w, 0, 0);
	}
}

void jt_show_fields(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes map, size_t at, size_t len)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item it = cw_read_item(&r);
	char name[64];

	while (cw_item_more(&r, &it)) {
		struct cw_item key = cw_read_item(&r);
		size_t n = key.s.len < sizeof(name) - 1 ? key.s.len : sizeof(name) - 1;

		(void)cw_item_more(&r, &it);
		memcpy(name, key.s.ptr, n);
		name[n] = 0;
		d->host->field(d->hx, ev->conn, CW_GROUP_FIELDS, name, cw_read_whole_item(&r), at, len);
	}
}

void jt_put_body(struct jt_out *o, const struct jt_msg *m)
{
	size_t start = o->w.len;
	int rc;

	cw_put_map(&o->w);
	rc = jt_decode_body(o, m);
	if (rc == CW_ENOENT) {
		cw_field_bool(&o->w, "unknown_message", 1);
		o_hex(o, "body_hex", NULL, m->body);
	} else if (rc < 0) {
		o->w.len = start;
		o->flaws |= JT_FLAW_BODY;
		cw_put_map(&o->w);
		o_hex(o, "body_hex", NULL, m->body);
		cw_field_text(&o->w, "standard_decode_fails", "body is too short");
	}
	cw_put_end(&o->w);
}
