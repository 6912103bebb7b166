/*
 * jt808_state.c - what is kept of a device beyond its connection: the code it was given,
 * the alarm word, edition and header, a registration that was not published yet.
 */
#include "jt808.h"

#include <stdlib.h>

void jt_drop_reg(struct jt_conn *c)
{
	free(c->reg);
	c->reg = NULL;
	c->reg_len = 0;
}

/* How the terminal writes its header, so that it can be written to before it says anything (after a plugin host died). */
unsigned jt_header_word(const struct jt_conn *c)
{
	return (unsigned)c->wide << 9 | (unsigned)c->bit14 << 8 | c->version;
}

void jt_save(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	uint8_t buf[CW_SAVE_MAX];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	uint64_t device = ev->device != 0 ? ev->device : c->device;

	cw_put_map(&w);
	cw_field_uint(&w, "v", 1);
	if (c->code_len > 0)
		cw_field_textn(&w, "code", c->code, c->code_len);
	cw_field_uint(&w, "alarm", c->alarm);
	cw_field_uint(&w, "edition", c->edition);
	if (c->number_len > 0) {
		cw_field_bytes(&w, "number", cw_bytes_of(c->number, c->number_len));
		cw_field_uint(&w, "header", jt_header_word(c));
	}
	if (c->reg != NULL)
		cw_field_bytes(&w, "reg", cw_bytes_of(c->reg, c->reg_len));
	cw_put_end(&w);
	if (!w.overflow)
		d->host->device_save(d->hx, ev->conn, device, cw_written(&w));
}

void jt_keep_reg(struct jt_conn *c, int edition, struct cw_bytes body)
{
	if (body.len == 0 || body.len > JT_BODY_MAX)
		return;
	jt_drop_reg(c);
	c->reg = malloc(body.len + 1);
	if (c->reg == NULL)
		return;
	c->reg[0] = (uint8_t)edition;
	memcpy(c->reg + 1, body.ptr, body.len);
	c->reg_len = (uint16_t)(body.len + 1);
}

void jt_load(struct jt_conn *c, struct cw_bytes saved, int fixed_edition)
{
	struct cw_bytes code = cw_map_text(saved, "code"), reg = cw_map_text(saved, "reg"), number = cw_map_text(saved, "number");
	int64_t edition = cw_map_int(saved, "edition", c->edition);

	if (code.len > 0 && code.len <= sizeof(c->code)) {
		memcpy(c->code, code.ptr, code.len);
		c->code_len = (uint8_t)code.len;
	}
	c->alarm = (uint32_t)cw_map_int(saved, "alarm", 0);
	c->replay_alarm = c->alarm;
	if (c->number_len == 0 && (number.len == 6 || number.len == 10)) {
		unsigned header = (unsigned)cw_map_int(saved, "header", 0);

		memcpy(c->number, number.ptr, number.len);
		c->number_len = (uint8_t)number.len;
		c->wide = number.len == 10;
		c->bit14 = (header >> 8) & 1;
		c->version = (uint8_t)header;
		if (c->wide)
			c->edition = JT_2019;
	}
	/* The header tells 2019; what was saved only tells 2011 from 2013. */
	if (!c->wide && !fixed_edition && c->reg == NULL && (edition == JT_2011 || edition == JT_2013))
		c->edition = (uint8_t)edition;
	if (c->reg == NULL && reg.len > 1)
		jt_keep_reg(c, reg.ptr[0], cw_bytes_of(reg.ptr + 1, reg.len - 1));
}
