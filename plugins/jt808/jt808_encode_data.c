/*
 * jt808_encode_data.c - services about the recorder, media, transparent data and keys.
 */
#include "jt808.h"

#define NEEDED JT_NEEDED

static int recorder(struct jt_plan *p, struct cw_bytes in, uint16_t id)
{
	int64_t command;
	int rc = jt_in_int(p, in, "command", 0, 255, NEEDED, &command);

	if (rc < 0)
		return rc;
	jt_plan_begin(p, id);
	cw_write_u8(&p->w, (uint8_t)command);
	if (id == 0x8701 || p->edition != JT_2011)
		rc = jt_in_hex(p, in, "dataHex", &p->w);
	jt_plan_end(p);
	return rc;
}

int jt_enc_collect_recorder(struct jt_plan *p, struct cw_bytes in)
{
	p->answer = 0x0700;
	return recorder(p, in, 0x8700);
}

int jt_enc_set_recorder(struct jt_plan *p, struct cw_bytes in)
{
	return recorder(p, in, 0x8701);
}

/* Numbers in a row: name, width, range, default (NEEDED: none). */
struct num {
	const char *key;
	uint8_t size;
	int64_t min, max, absent;
};

static int put_nums(struct jt_plan *p, struct cw_bytes in, const struct num *v, size_t n)
{
	int64_t x;
	size_t i;

	for (i = 0; i < n; i++) {
		int rc = jt_in_int(p, in, v[i].key, v[i].min, v[i].max, v[i].absent, &x);

		if (rc < 0)
			return rc;
		cw_write_be(&p->w, (uint64_t)x, v[i].size);
	}
	return 0;
}

int jt_enc_take_photo(struct jt_plan *p, struct cw_bytes in)
{
	static const struct num before[] = { { "channel", 1, 1, 255, 1 } };
	static const struct num after[] = {
		{ "interval", 2, 0, 65535, 0 }, { "store", 1, 0, 1, 0 }, { "resolution", 1, 0, 255, 1 }, { "quality", 1, 1, 10, 5 },
		{ "brightness", 1, 0, 255, 127 }, { "contrast", 1, 0, 127, 64 }, { "saturation", 1, 0, 127, 64 }, { "chroma", 1, 0, 255, 127 },
	};
	int64_t count;
	int rc;

	jt_plan_begin(p, 0x8801);
	rc = put_nums(p, in, before, 1);
	if (rc == 0)
		rc = jt_in_int(p, in, "count", 0, 65534, 1, &count);
	if (rc < 0)
		return rc;
	if (cw_map_int(in, "video", 0) != 0)
		count = 0xffff;
	cw_write_u16be(&p->w, (uint16_t)count);
	rc = put_nums(p, in, after, sizeof(after) / sizeof(after[0]));
	if (p->edition != JT_2011) {
		p->answer = 0x0805;
		p->both = 1;
	}
	jt_plan_end(p);
	return rc;
}

static int media_range(struct jt_plan *p, struct cw_bytes in, uint16_t id)
{
	static const struct num what[] = { { "type", 1, 0, 255, 0 }, { "channel", 1, 0, 255, 0 }, { "event", 1, 0, 255, 0 } };
	static const struct num del[] = { { "delete", 1, 0, 1, 0 } };
	static const char *const keys[] = { "start", "end" };
	int64_t t;
	int rc, i;

	jt_plan_begin(p, id);
	rc = put_nums(p, in, what, 3);
	for (i = 0; i < 2 && rc == 0; i++) {
		rc = jt_in_time(p, in, keys[i], &t);
		if (rc == 0 && t == 0)
			cw_write_be(&p->w, 0, 6);
		else if (rc == 0)
			jt_write_bcd_time(&p->w, t, p->conf->zone_min);
	}
	if (rc == 0 && id == 0x8803)
		rc = put_nums(p, in, del, 1);
	jt_plan_end(p);
	return rc;
}

int jt_enc_search_media(struct jt_plan *p, struct cw_bytes in)
{
	p->answer = 0x0802;
	return media_range(p, in, 0x8802);
}

int jt_enc_upload_media(struct jt_plan *p, struct cw_bytes in)
{
	return media_range(p, in, 0x8803);
}

int jt_enc_upload_media_by_id(struct jt_plan *p, struct cw_bytes in)
{
	static const struct num v[] = { { "mediaId", 4, 1, 0xffffffff, NEEDED }, { "delete", 1, 0, 1, 0 } };
	int rc;

	jt_plan_begin(p, 0x8805);
	rc = put_nums(p, in, v, 2);
	jt_plan_end(p);
	return rc;
}

int jt_enc_record_audio(struct jt_plan *p, struct cw_bytes in)
{
	static const struct num v[] = { { "start", 1, 0, 1, 1 }, { "seconds", 2, 0, 65535, 0 }, { "store", 1, 0, 1, 0 }, { "rate", 1, 0, 3, 0 } };
	int rc;

	jt_plan_begin(p, 0x8804);
	rc = put_nums(p, in, v, 4);
	jt_plan_end(p);
	return rc;
}

int jt_enc_send_transparent(struct jt_plan *p, struct cw_bytes in)
{
	int64_t type;
	size_t at, n;
	int rc = jt_in_int(p, in, "type", 0, 255, NEEDED, &type);

	if (rc < 0)
		return rc;
	jt_plan_begin(p, 0x8900);
	cw_write_u8(&p->w, (uint8_t)type);
	at = p->w.len;
	if (p->edition == JT_2011)
		cw_write_be(&p->w, 0, 6);
	n = p->w.len;
	rc = jt_in_hex(p, in, "dataHex", &p->w);
	if (rc == 0)
		rc = jt_in_text(p, in, "text", 65535, &p->w, NULL);
	n = p->w.len - n;
	if (p->edition == JT_2011 && !p->w.overflow) {
		p->w.ptr[at + 1] = (uint8_t)(n >> 16);
		p->w.ptr[at + 2] = p->w.ptr[at + 4] = (uint8_t)(n >> 8);
		p->w.ptr[at + 3] = p->w.ptr[at + 5] = (uint8_t)n;
	}
	jt_plan_end(p);
	return rc;
}

int jt_enc_send_key(struct jt_plan *p, struct cw_bytes in)
{
	int64_t e;
	size_t at;
	int rc = jt_in_int(p, in, "e", 1, 0xffffffff, NEEDED, &e);

	if (rc < 0)
		return rc;
	p->answer = 0x0a00;
	jt_plan_begin(p, 0x8a00);
	cw_write_u32be(&p->w, (uint32_t)e);
	at = p->w.len;
	rc = jt_in_hex(p, in, "n", &p->w);
	if (rc == 0 && p->w.len - at != 128)
		return jt_fail_key(p, "n", "must be 256 hex digits");
	jt_plan_end(p);
	return rc;
}

int jt_enc_send_raw(struct jt_plan *p, struct cw_bytes in)
{
	int64_t id, wait;
	int rc = jt_in_int(p, in, "messageId", 1, 65535, NEEDED, &id);

	if (rc == 0)
		rc = jt_in_int(p, in, "waitReply", 0, 65535, 0, &wait);
	if (rc < 0)
		return rc;
	jt_plan_begin(p, (uint16_t)id);
	rc = jt_in_hex(p, in, "bodyHex", &p->w);
	if (wait == 0)
		p->no_wait = 1;
	else if (wait != 1)
		p->answer = (uint16_t)wait;
	jt_plan_end(p);
	return rc;
}
