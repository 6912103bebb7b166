/*
 * jt808_decode_media.c - pictures and sound, transparent and packed data, keys.
 */
#include "jt808.h"

int jt_body_media(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	struct jt_loc l;

	o_uint(o, "media_id", "mediaId", cw_read_u32be(r));
	o_uint(o, "media_type", "type", cw_read_u8(r));
	o_uint(o, "format", "format", cw_read_u8(r));
	o_uint(o, "event", "event", cw_read_u8(r));
	o_uint(o, "channel", "channel", cw_read_u8(r));
	if (m->edition == JT_2011) {
		o_uint(o, "packets", NULL, cw_read_u32be(r));
		o_uint(o, "packet", NULL, cw_read_u32be(r));
	} else {
		if (jt_loc_read(cw_read_bytes(r, 28), &l) < 0)
			return CW_EPROTO;
		o_key(o, "location", "location");
		jt_put_location(o, &l, 0);
	}
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "data_len", "size", cw_read_left(r));
	/* Stored media is decoded by its head alone; data that is here goes inline. */
	if (!o->tm || cw_read_left(r) > 0)
		o_hex(o, "data_hex", "dataHex", cw_read_rest(r));
	return 0;
}

/* 0x8800: with serial in 2011; nothing behind the id when complete. */
int jt_body_media_answer(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n;

	if (m->edition == JT_2011)
		o_uint(o, "reply_serial", "replySerial", cw_read_u16be(r));
	o_uint(o, "media_id", "mediaId", cw_read_u32be(r));
	if (r->short_read)
		return CW_EPROTO;
	if (cw_read_left(r) == 0)
		return 0;
	n = cw_read_u8(r);
	o_uint(o, "count", NULL, n);
	o_numbers(o, "packet_ids", "parts", r, n, 2, 0);
	o_tail(o, r);
	return 0;
}

int jt_body_media_found(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	int old = m->edition == JT_2011;
	struct jt_loc l;
	uint32_t total;

	o_uint(o, "reply_serial", "replySerial", cw_read_u16be(r));
	total = cw_read_u16be(r);
	o_uint(o, "count", "total", total);
	if (old)
		o_uint(o, "in_packet", NULL, cw_read_u16be(r));
	if (r->short_read)
		return CW_EPROTO;
	o_key(o, "media", "items");
	cw_put_array(&o->w);
	while (cw_read_left(r) >= (old ? 31u : 35u)) {
		cw_put_map(&o->w);
		if (!old)
			o_uint(o, "media_id", "mediaId", cw_read_u32be(r));
		o_uint(o, "media_type", "type", cw_read_u8(r));
		o_uint(o, "channel", "channel", cw_read_u8(r));
		o_uint(o, "event", "event", cw_read_u8(r));
		if (jt_loc_read(cw_read_bytes(r, 28), &l) == 0) {
			o_key(o, "location", "location");
			jt_put_location(o, &l, 0);
		}
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	o_tail(o, r);
	return 0;
}

int jt_body_shot(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	unsigned result;
	uint32_t n;

	(void)m;
	o_uint(o, "reply_serial", "replySerial", cw_read_u16be(r));
	result = cw_read_u8(r);
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "result", "result", result);
	if (cw_read_left(r) >= 2) {
		n = cw_read_u16be(r);
		o_uint(o, "count", NULL, n);
		o_numbers(o, "media_ids", "mediaIds", r, n, 4, 0);
	} else if (o->tm) {
		cw_field_array(&o->w, "mediaIds");
		cw_put_end(&o->w);
	}
	o_tail(o, r);
	return 0;
}

int jt_body_media_query(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	o_uint(o, "media_type", "type", cw_read_u8(r));
	o_uint(o, "channel", "channel", cw_read_u8(r));
	o_uint(o, "event", "event", cw_read_u8(r));
	o_hex(o, "start_bcd", "start", cw_read_bytes(r, 6));
	o_hex(o, "end_bcd", "end", cw_read_bytes(r, 6));
	if (m->id == 0x8803)
		o_uint(o, "delete", "delete", cw_read_u8(r));
	if (r->short_read)
		return CW_EPROTO;
	o_tail(o, r);
	return 0;
}

int jt_body_transparent(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	o_hexnum(o, "type", "type", cw_read_u8(r), 2);
	if (m->edition == JT_2011) {
		o_uint(o, "total_len", NULL, cw_read_u32be(r));
		o_uint(o, "packet_len", NULL, cw_read_u16be(r));
	}
	if (r->short_read)
		return CW_EPROTO;
	o_hex(o, "content_hex", "dataHex", cw_read_rest(r));
	return 0;
}

int jt_body_gzip(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	uint32_t n = cw_read_u32be(r);

	(void)m;
	if (r->short_read)
		return CW_EPROTO;
	o_uint(o, "compressed_len", "size", n);
	if (n > cw_read_left(r)) {
		o->flaws |= JT_FLAW_BODY;
		n = (uint32_t)cw_read_left(r);
	}
	o_hex(o, "gzip_hex", "dataHex", cw_read_bytes(r, n));
	o_tail(o, r);
	return 0;
}

int jt_body_key(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r)
{
	struct cw_bytes n;

	(void)m;
	o_uint(o, "e", "e", cw_read_u32be(r));
	n = cw_read_bytes(r, 128);
	if (r->short_read)
		return CW_EPROTO;
	o_hex(o, "n_hex", "n", n);
	o_tail(o, r);
	return 0;
}
