/* modbus_inspect.c - what the decode tool is shown: the fields of a frame under the names of tests/vectors/modbus.json. */
#include "modbus.h"

#include <stdio.h>

struct show {
	struct cw_decoder *d;
	const struct cw_event *ev;
	struct cw_writer w;
	size_t at, len;
	uint8_t buf[8192];
};

static void flush(struct show *o, int group, const char *name)
{
	if (!o->w.overflow)
		(void)o->d->host->field(o->d->hx, o->ev->conn, group, name, cw_written(&o->w), o->at, o->len);
	o->w = cw_writer_of(o->buf, sizeof(o->buf));
}

static void number(struct show *o, int group, const char *name, uint64_t v)
{
	cw_put_uint(&o->w, v);
	flush(o, group, name);
}

static void text(struct show *o, const char *name, const char *v)
{
	cw_put_text(&o->w, v);
	flush(o, CW_GROUP_FIELDS, name);
}

static void hex(struct show *o, const char *name, struct cw_bytes b)
{
	char out[2 * MB_ENVELOPE_MAX + 2];

	cw_put_textn(&o->w, out, mb_hex_text(b, out, sizeof(out)));
	flush(o, CW_GROUP_FIELDS, name);
}

static void show_bits(struct show *o, struct cw_bytes data, unsigned quantity)
{
	unsigned i;

	cw_put_array(&o->w);
	for (i = 0; i < quantity; i++)
		cw_put_uint(&o->w, (uint64_t)mb_bit(data, i));
	cw_put_end(&o->w);
	flush(o, CW_GROUP_FIELDS, "bits");
}

static void show_registers(struct show *o, struct cw_bytes data)
{
	unsigned i;

	cw_put_array(&o->w);
	for (i = 0; i * 2 + 1 < data.len; i++)
		cw_put_uint(&o->w, mb_register(data, i));
	cw_put_end(&o->w);
	flush(o, CW_GROUP_FIELDS, "registers");
}

static void show_objects(struct show *o, const struct mb_pdu *p)
{
	struct cw_reader r = cw_reader_of(p->data);
	unsigned i;

	number(o, CW_GROUP_FIELDS, "conformity", p->conformity);
	number(o, CW_GROUP_FIELDS, "more", p->more);
	number(o, CW_GROUP_FIELDS, "next_object", p->next_object);
	cw_put_array(&o->w);
	for (i = 0; i < p->objects; i++) {
		uint8_t id = cw_read_u8(&r);
		struct cw_bytes v = cw_read_bytes(&r, cw_read_u8(&r));
		size_t k;

		cw_put_array(&o->w);
		cw_put_uint(&o->w, id);
		for (k = 0; k < v.len && v.ptr[k] >= 0x20 && v.ptr[k] < 0x7f; k++)
			;
		if (k == v.len)
			cw_put_textn(&o->w, (const char *)v.ptr, v.len);
		else
			cw_put_bytes(&o->w, v);
		cw_put_end(&o->w);
	}
	cw_put_end(&o->w);
	flush(o, CW_GROUP_FIELDS, "objects");
}

/* How many bits of an answer count: said by a setting, by the request before it, or all. */
static unsigned bit_quantity(const struct mb_conn *c, const struct mb_pdu *p)
{
	unsigned all = (unsigned)p->data.len * 8, n = c->conf->inspect_quantity;

	if (n == 0 && c->inspect_fc == p->fc)
		n = c->inspect_quantity;
	return n > 0 && n <= all && (n + 7) / 8 == p->data.len ? n : all;
}

static void show_request(struct show *o, const struct mb_pdu *p)
{
	switch (p->fc) {
	case MB_DEVICE_ID: return;
	case MB_READ_WRITE:
		number(o, CW_GROUP_FIELDS, "read_address", p->address);
		number(o, CW_GROUP_FIELDS, "read_quantity", p->quantity);
		number(o, CW_GROUP_FIELDS, "write_address", p->write_address);
		show_registers(o, p->data);
		return;
	default: break;
	}
	number(o, CW_GROUP_FIELDS, "address", p->address);
	if (p->fc == MB_WRITE_COIL) {
		cw_put_bool(&o->w, p->value != 0);
		flush(o, CW_GROUP_FIELDS, "on");
	} else if (p->fc == MB_WRITE_REGISTER) {
		number(o, CW_GROUP_FIELDS, "value", p->value);
	} else if (p->fc == MB_MASK_WRITE) {
		number(o, CW_GROUP_FIELDS, "and_mask", p->value);
		number(o, CW_GROUP_FIELDS, "or_mask", p->or_mask);
	} else {
		number(o, CW_GROUP_FIELDS, "quantity", p->quantity);
	}
	if (p->fc == MB_WRITE_COILS && p->data.len > 0)
		show_bits(o, p->data, p->quantity);
	if (p->fc == MB_WRITE_REGISTERS && p->data.len > 0)
		show_registers(o, p->data);
}

static void show_pdu(struct show *o, struct mb_conn *c, const struct mb_pdu *p, enum mb_dir dir)
{
	int data = dir == MB_RESPONSE && (mb_fc_reads(p->fc) || p->fc == MB_READ_WRITE);

	number(o, CW_GROUP_HEADER, "fc", p->fc);
	if (p->exception != 0) {
		number(o, CW_GROUP_FIELDS, "exception", p->exception);
		return;
	}
	if (p->fc == MB_DEVICE_ID) {
		number(o, CW_GROUP_FIELDS, "mei", p->mei);
		number(o, CW_GROUP_FIELDS, "read_code", p->code);
		if (dir == MB_REQUEST)
			number(o, CW_GROUP_FIELDS, "object", p->object);
		else
			show_objects(o, p);
		return;
	}
	if (!data) {
		show_request(o, p);
		return;
	}
	number(o, CW_GROUP_FIELDS, "byte_count", p->byte_count);
	if (p->fc <= MB_READ_DISCRETE)
		show_bits(o, p->data, bit_quantity(c, p));
	else
		show_registers(o, p->data);
}

/* Which of the two a PDU is, when nobody has said it. Answers that look like requests too follow their request. */
static enum mb_error direction(struct mb_conn *c, struct cw_bytes pdu, enum mb_dir *ret_dir, struct mb_pdu *ret)
{
	struct mb_pdu q, r;
	enum mb_error as_request = mb_pdu_read(pdu, MB_REQUEST, &q), as_response = mb_pdu_read(pdu, MB_RESPONSE, &r);
	int response = as_response == MB_OK;

	if (!c->line.dir_auto) {
		response = c->line.dir == MB_RESPONSE;
	} else if (as_request == MB_OK && as_response == MB_OK) {
		response = r.exception != 0 || c->inspect_fc == r.fc;
	} else if (as_request != MB_OK && as_response != MB_OK) {
		/* Neither: what comes closer. An answer's byte count is about right. */
		response = pdu.len >= 2 && ((pdu.ptr[0] & 0x80) || (pdu.ptr[1] > 0 && pdu.ptr[1] + 4u >= pdu.len && pdu.ptr[1] <= pdu.len));
	}
	*ret_dir = response ? MB_RESPONSE : MB_REQUEST;
	*ret = response ? r : q;
	return response ? as_response : as_request;
}

static int bad(struct show *o, enum mb_error e)
{
	static const char *const said[] = { "", "the checksum (CRC) is wrong", "the checksum (LRC) is wrong", "not pairs of hex digits", "the protocol id is not 0",
		                            "the length does not fit", "the byte count does not fit the data", "a value is outside what the function allows",
		                            "an unknown function" };

	text(o, "error", mb_error_name(e));
	mb_say(o->d, o->ev, CW_LEVEL_WARN, "%s: %s", mb_error_name(e), said[e]);
	return CW_EPROTO;
}

static int show_frame(struct show *o, struct mb_conn *c, const struct mb_scan *s, int tcp, struct cw_bytes frame)
{
	struct mb_pdu p;
	enum mb_dir dir;
	enum mb_error e = s->error;

	(void)frame;
	if (e != MB_OK)
		return bad(o, e);
	if (tcp)
		number(o, CW_GROUP_HEADER, "tid", s->tid);
	number(o, CW_GROUP_HEADER, "unit", s->unit);
	e = direction(c, s->pdu, &dir, &p);
	if (e != MB_OK)
		return bad(o, e);
	cw_put_text(&o->w, dir == MB_REQUEST ? "request" : "response");
	flush(o, CW_GROUP_HEADER, "dir");
	show_pdu(o, c, &p, dir);
	/* The next answer of this function is to this request. */
	c->inspect_fc = dir == MB_REQUEST ? p.fc : 0;
	c->inspect_quantity = p.quantity;
	return 0;
}

/* ---- what DTUs add ------------------------------------------------------------------------------------------ */

static void show_ip(struct show *o, struct cw_bytes ip)
{
	char out[16];

	if (ip.len != 4)
		return;
	(void)snprintf(out, sizeof(out), "%u.%u.%u.%u", ip.ptr[0], ip.ptr[1], ip.ptr[2], ip.ptr[3]);
	text(o, "ip", out);
}

static void show_reply(struct show *o, struct mb_conn *c, uint8_t type, const char *id)
{
	uint8_t out[32];
	size_t n = mb_envelope_make(c->line.ch, type, id, cw_bytes_of(NULL, 0), out, sizeof(out));

	hex(o, "reply", cw_bytes_of(out, n));
	(void)o->d->host->send(o->d->hx, o->ev->conn, cw_bytes_of(out, n));
}

static int show_packet(struct show *o, struct mb_conn *c, struct cw_bytes packet)
{
	static const char *const names[] = { "register", "deregister", "ack", "data", "heartbeat", "other" };
	int ddp = c->line.ch->envelope == MB_ENV_DDP;
	struct mb_packet p;

	if (!mb_envelope_read(c->line.ch, packet, &p))
		return bad(o, MB_E_LENGTH);
	c->line.tail = ddp && p.kind == MB_P_DATA && p.data.len == 0;
	text(o, "event", names[p.kind]);
	text(o, "device_id", p.id);
	if (p.kind == MB_P_OTHER)
		number(o, CW_GROUP_FIELDS, "type", p.type);
	show_ip(o, p.ip);
	if (p.ip.len == 4)
		number(o, CW_GROUP_FIELDS, "port", p.port);
	else if (p.data.len > 0)
		hex(o, "data", p.data);
	if (ddp && p.type == 0x01)
		show_reply(o, c, 0x81, p.id);
	else if (ddp && p.type == 0x02)
		show_reply(o, c, 0x82, p.id);
	else if (p.kind == MB_P_HEARTBEAT)
		show_reply(o, c, p.type, p.id);
	return 0;
}

static void show_registration(struct show *o, struct mb_conn *c, struct cw_bytes packet)
{
	char name[CW_IDENTITY_MAX + 1] = "";
	struct mb_packet p;

	text(o, "event", "register");
	c->line.registered = 1;
	if (c->line.ch->envelope == MB_ENV_PROT) {
		if (mb_envelope_read(c->line.ch, packet, &p)) {
			text(o, "device_id", p.id);
			text(o, "phone", p.phone);
			show_ip(o, p.ip);
		}
		return;
	}
	if (mb_registration_name(c->line.ch->reg, packet, name, sizeof(name)) > 0)
		text(o, "id", name);
}

/* The serial bytes in a PROT connection: shown as they are, and as the frame they may be. */
static int show_data(struct show *o, struct mb_conn *c, struct cw_bytes escaped)
{
	uint8_t plain[2 * MB_RTU_MAX];
	struct mb_scan s;
	size_t used, n;
	int lone;

	n = mb_unescape(escaped, plain, sizeof(plain), NULL, &used, &lone);
	text(o, "event", "data");
	hex(o, "data", cw_bytes_of(plain, n));
	if (!mb_crc_good(cw_bytes_of(plain, n)))
		return 0;
	memset(&s, 0, offsetof(struct mb_scan, bytes));
	s.unit = plain[0];
	s.pdu = cw_bytes_of(plain + 1, n - 3);
	return show_frame(o, c, &s, 0, escaped);
}

static void inspect(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_scan *s, struct cw_bytes frame, int *ret_rc)
{
	struct show o = { .d = d, .ev = ev, .len = frame.len };
	struct cw_bytes reply = cw_bytes_of(NULL, 0);

	o.w = cw_writer_of(o.buf, sizeof(o.buf));
	*ret_rc = 0;
	switch (s->what) {
	case MB_HEARTBEAT:
		text(&o, "event", "heartbeat");
		if (s->which < c->line.ch->heartbeat_count && c->line.ch->envelope == MB_ENV_NONE)
			reply = c->line.ch->heartbeats[s->which].reply;
		if (reply.len > 0) {
			hex(&o, "reply", reply);
			(void)d->host->send(d->hx, ev->conn, reply);
		}
		return;
	case MB_REGISTER: show_registration(&o, c, frame); return;
	case MB_TAIL:
		c->line.tail = 0;
		text(&o, "event", "data");
		hex(&o, "data", frame);
		return;
	case MB_PACKET: *ret_rc = c->line.ch->envelope == MB_ENV_PROT ? show_data(&o, c, frame) : show_packet(&o, c, frame); return;
	case MB_SHOW:
		*ret_rc = show_frame(&o, c, s, s->tcp, frame);
		return;
	default: *ret_rc = bad(&o, MB_E_LENGTH); return;
	}
}

void mb_inspect(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_scan *s, struct cw_bytes frame, int *ret_rc)
{
	const struct mb_channel *said = c->line.ch;

	if (s->envelope != MB_ENV_NONE)
		c->line.ch = mb_guessed_channel(s->envelope);
	inspect(d, ev, c, s, frame, ret_rc);
	c->line.ch = said;
}
