/* modbus_line.c - the scanners: from bytes to the next frame of a line; see modbus_line.h. */
#include "modbus_line.h"

/* A step at one place: bytes taken or waited for, or none of that. */
enum step { DROP = -1, WAIT = 0, TAKE = 1 };

/* ---- answers ------------------------------------------------------------------------------------ */

/* Bytes of the PDU that answers a request normally; 0: its own contents say (0x2B). */
static size_t answer_len(const struct mb_request *q)
{
	switch (q->fc) {
	case MB_WRITE_COIL:
	case MB_WRITE_REGISTER:
	case MB_WRITE_COILS:
	case MB_WRITE_REGISTERS: return 5;
	case MB_MASK_WRITE: return 7;
	case MB_DEVICE_ID: return 0;
	default: return 2 + mb_data_len(q->fc, q->quantity);
	}
}

/* Is this PDU the answer to that request, exception or not? */
static int answers(const struct mb_request *q, uint8_t unit, struct cw_bytes pdu)
{
	struct mb_pdu p;

	if (unit != q->unit || pdu.len < 2 || (pdu.ptr[0] & 0x7f) != q->fc)
		return 0;
	if (mb_pdu_read(pdu, MB_RESPONSE, &p) != MB_OK)
		return 0;
	if (p.exception != 0)
		return 1;
	switch (q->fc) {
	case MB_WRITE_COIL:
	case MB_WRITE_REGISTER: return p.address == q->address && p.value == q->quantity;
	case MB_WRITE_COILS:
	case MB_WRITE_REGISTERS: return p.address == q->address && p.quantity == q->quantity;
	case MB_MASK_WRITE: return p.address == q->address && p.value == q->quantity && p.or_mask == q->or_mask;
	case MB_DEVICE_ID: return 1;
	default: return p.byte_count == mb_data_len(q->fc, q->quantity);
	}
}

/* Step C: the front may be the answer to the request that is out. */
static enum step rtu_answer(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	const struct mb_request *q = l->requests;
	size_t need;

	if (l->outstanding == 0 || in.ptr[0] != q->unit)
		return DROP;
	s->need = 5;
	if (in.len < 2)
		return final ? DROP : WAIT;
	if (in.ptr[1] == (q->fc | 0x80)) {
		need = 5;
	} else if (in.ptr[1] == q->fc) {
		need = answer_len(q) + 3;
		if (mb_fc_reads(q->fc) || q->fc == MB_READ_WRITE) {
			if (in.len < 3)
				return final ? DROP : WAIT;
			if (in.ptr[2] != mb_data_len(q->fc, q->quantity))
				return DROP;
		}
	} else {
		return DROP;
	}
	s->need = need;
	if (in.len < need)
		return final ? DROP : WAIT;
	s->pdu = cw_bytes_of(in.ptr + 1, need - 3);
	if (!mb_crc_good(cw_bytes_of(in.ptr, need)) || !answers(q, q->unit, s->pdu))
		return DROP;
	s->what = MB_ANSWER;
	s->which = 0;
	s->unit = q->unit;
	s->length = need;
	return TAKE;
}

/* Frames that nobody asked for: a read request and its answer in one packet, or an answer of a known shape. */
static enum step rtu_unasked(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	struct mb_request q = { 0 };
	size_t answer;

	if (l->ch->unsolicited == MB_UNS_DROP || in.len < 2 || !mb_fc_reads(in.ptr[1]))
		return DROP;
	if (l->ch->unsolicited == MB_UNS_ASSUME) {
		answer = in.len < 3 ? 5 : 5u + in.ptr[2];
		s->need = answer;
		if (in.len < answer)
			return final ? DROP : WAIT;
		if (!mb_crc_good(cw_bytes_of(in.ptr, answer)) || l->assume == NULL ||
		    !l->assume(l->assume_arg, in.ptr[0], in.ptr[1], in.ptr[2], &s->address, &s->quantity))
			return DROP;
		s->pdu = cw_bytes_of(in.ptr + 1, answer - 3);
		s->length = answer;
	} else {
		s->need = 8;
		if (in.len < 8)
			return final ? DROP : WAIT;
		q.unit = in.ptr[0];
		q.fc = in.ptr[1];
		q.address = (uint16_t)(in.ptr[2] << 8 | in.ptr[3]);
		q.quantity = (uint16_t)(in.ptr[4] << 8 | in.ptr[5]);
		if (!mb_crc_good(cw_bytes_of(in.ptr, 8)) || q.quantity == 0 || q.quantity > (q.fc <= MB_READ_DISCRETE ? MB_BITS_READ : MB_REGS_READ))
			return DROP;
		answer = answer_len(&q) + 3;
		s->need = 8 + answer;
		if (in.len < 8 + answer)
			return final ? DROP : WAIT;
		s->pdu = cw_bytes_of(in.ptr + 9, answer - 3);
		if (!mb_crc_good(cw_bytes_of(in.ptr + 8, answer)) || !answers(&q, in.ptr[8], s->pdu))
			return DROP;
		s->address = q.address;
		s->quantity = q.quantity;
		s->length = 8 + answer;
	}
	s->unit = in.ptr[0];
	s->what = MB_PAIR;
	return TAKE;
}

/* ---- what every framing shares ------------------------------------------------------------------------- */

/* Step A. */
static enum step registration(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	size_t n;
	int part, rc;

	n = mb_heartbeat(l->ch, in, &s->which, &part);
	if (n > 0) {
		s->what = MB_HEARTBEAT;
		s->length = n;
		return TAKE;
	}
	if (part && !final)
		return WAIT; /* it may come in pieces, and be longer than the packet */
	rc = l->ch->envelope == MB_ENV_PROT ? mb_envelope_cut(l, in, s) : mb_registration(l->ch->reg, in, final, s);
	return rc == 0 && final ? DROP : rc > 0 ? TAKE : rc == 0 ? WAIT : DROP;
}

/* Step B: one copy of the request comes back first. */
static enum step echo(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	size_t n = in.len < l->echo.len ? in.len : l->echo.len;

	if (l->echo.len == 0 || memcmp(in.ptr, l->echo.ptr, n) != 0)
		return DROP;
	s->need = l->echo.len;
	if (n < l->echo.len)
		return final ? DROP : WAIT;
	s->what = MB_ECHO;
	s->length = n;
	return TAKE;
}

/* Steps D and E, and whether F applies. */
static enum step beside(const struct mb_line *l, struct cw_bytes in, struct mb_scan *s, int *ret_part)
{
	size_t n = mb_heartbeat(l->ch, in, &s->which, ret_part);

	if (n > 0) {
		s->what = MB_HEARTBEAT;
		s->length = n;
		return TAKE;
	}
	if (l->again.len > 0 && in.len >= l->again.len && memcmp(in.ptr, l->again.ptr, l->again.len) == 0) {
		s->what = MB_REGISTER;
		s->length = l->again.len;
		return TAKE;
	}
	return DROP;
}

/* ---- one place ---------------------------------------------------------------------------------------------- */

static enum step rtu_at(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	enum step st;
	int part;

	st = echo(l, in, final, s);
	if (st == DROP)
		st = rtu_answer(l, in, final, s);
	if (st == DROP)
		st = beside(l, in, s, &part);
	if (st == DROP)
		st = rtu_unasked(l, in, final, s);
	if (st == DROP && part && !final)
		st = WAIT;
	return st;
}

static int plausible(struct cw_bytes in)
{
	unsigned length;

	if ((in.len > 2 && in.ptr[2] != 0) || (in.len > 3 && in.ptr[3] != 0) || (in.len > 4 && in.ptr[4] != 0))
		return 0;
	length = in.len > 5 ? in.ptr[5] : 3;
	return length >= 3 && length <= 254 && (in.len <= 7 || mb_fc_known(in.ptr[7] & 0x7f));
}

static int tid_matches(const struct mb_line *l, const struct mb_request *q, uint16_t tid)
{
	return l->ch->tid_mode == MB_TID_ECHO ? tid == q->tid : l->ch->tid_mode == MB_TID_FIXED ? tid == l->ch->tid_fixed : 1;
}

static enum step tcp_at(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	enum step st = echo(l, in, final, s);
	unsigned i;
	int part;

	if (st != DROP)
		return st;
	if (plausible(in)) {
		s->need = in.len < 6 ? 8 : 6u + in.ptr[5];
		if (s->need < 8)
			s->need = 8;
		if (in.len < s->need)
			return final ? DROP : WAIT;
		s->tid = (uint16_t)(in.ptr[0] << 8 | in.ptr[1]);
		s->unit = in.ptr[6];
		s->length = 6u + in.ptr[5];
		s->pdu = cw_bytes_of(in.ptr + 7, s->length - 7);
		s->what = MB_STALE;
		for (i = 0; i < l->outstanding; i++) {
			if (tid_matches(l, &l->requests[i], s->tid) && answers(&l->requests[i], s->unit, s->pdu)) {
				s->what = MB_ANSWER;
				s->which = i;
				break;
			}
		}
		return TAKE;
	}
	st = beside(l, in, s, &part);
	return st == DROP && part && !final ? WAIT : st;
}

static int hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text between colon and line end as bytes; MB_E_HEX, MB_E_LRC or MB_OK. */
enum mb_error mb_ascii_bytes(struct cw_bytes text, struct mb_scan *s)
{
	size_t i, n = 0;

	if (text.len > 0 && text.ptr[text.len - 1] == '\r')
		text.len--;
	if (text.len % 2 != 0 || text.len < 6)
		return MB_E_HEX;
	for (i = 0; i < text.len && n < sizeof(s->bytes); i += 2) {
		int high = hex_digit(text.ptr[i]), low = hex_digit(text.ptr[i + 1]);

		if (high < 0 || low < 0)
			return MB_E_HEX;
		s->bytes[n++] = (uint8_t)(high << 4 | low);
	}
	s->unit = s->bytes[0];
	s->pdu = cw_bytes_of(s->bytes + 1, n - 2);
	return mb_lrc(cw_bytes_of(s->bytes, n)) == 0 ? MB_OK : MB_E_LRC;
}

/* A frame from ':' to LF: its length; 0: not complete; *ret_drop: bytes to give up, up to another colon or a wrong end. */
static size_t ascii_end(struct cw_bytes in, size_t *ret_drop)
{
	size_t i;

	*ret_drop = 0;
	for (i = 1; i < in.len; i++) {
		if (in.ptr[i] == ':' || (in.ptr[i] != '\n' && i >= MB_ASCII_MAX)) {
			*ret_drop = i;
			return 0;
		}
		if (in.ptr[i] == '\n')
			return i + 1;
	}
	return 0;
}

static enum step ascii_at(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	enum step st = echo(l, in, final, s);
	size_t len, drop;
	int part = 0;

	if (st != DROP)
		return st;
	if (in.ptr[0] != ':') {
		st = beside(l, in, s, &part);
		return st == DROP && part && !final ? WAIT : st;
	}
	len = ascii_end(in, &drop);
	if (drop > 0) {
		s->skip += drop - 1; /* and one more for DROP */
		return DROP;
	}
	if (len == 0)
		return final ? DROP : WAIT;
	s->error = mb_ascii_bytes(cw_bytes_of(in.ptr + 1, len - 2), s);
	if (s->error != MB_OK) {
		s->skip += len - 1;
		return DROP;
	}
	s->length = len;
	s->what = l->outstanding > 0 && answers(l->requests, s->unit, s->pdu) ? MB_ANSWER : MB_STALE;
	s->which = 0;
	return TAKE;
}

static enum step envelope_at(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	int rc = mb_envelope_cut(l, in, s), part;
	enum step st;

	if (rc > 0)
		return TAKE;
	if (rc == 0 && !final)
		return WAIT;
	st = beside(l, in, s, &part);
	return st == DROP && part && !final ? WAIT : st;
}

static enum step at(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	s->need = 0;
	s->length = 0;
	if (!l->inner && l->ch->envelope >= MB_ENV_DDP)
		return envelope_at(l, in, final, s);
	if (!l->registered && !l->inner && (l->ch->reg_mode != MB_REG_NONE || l->ch->envelope == MB_ENV_PROT))
		return registration(l, in, final, s);
	switch (l->ch->framing) {
	case MB_TCP: return tcp_at(l, in, final, s);
	case MB_ASCII: return ascii_at(l, in, final, s);
	default: return rtu_at(l, in, final, s);
	}
}

static int scan(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	s->skip = 0;
	for (;;) {
		struct cw_bytes here;
		enum step st;

		if (s->skip >= in.len)
			break;
		here = cw_bytes_of(in.ptr + s->skip, in.len - s->skip);
		st = at(l, here, final, s);
		if (st == TAKE)
			return 0;
		if (st == WAIT) {
			s->what = MB_WAIT;
			s->length = 0;
			if (s->wait_ms == 0)
				s->wait_ms = l->ch->partial_ms;
			if (s->need <= here.len)
				s->need = 0;
			return 0;
		}
		if (l->ch->framing == MB_TCP && !l->ch->hunt && l->registered)
			return CW_EPROTO;
		s->skip++;
	}
	s->what = MB_WAIT;
	s->length = s->need = 0;
	s->wait_ms = 0;
	return 0;
}

/* PROT escapes the serial bytes: scan what they stand for, and say where that is. */
static int scan_escaped(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	uint8_t plain[MB_RTU_MAX * 2];
	uint16_t at_byte[MB_RTU_MAX * 2 + 1];
	size_t used, n, from;
	int lone, rc;

	if (in.len > 0 && in.ptr[0] == 0xfe) {
		s->what = MB_HEARTBEAT;
		s->which = l->ch->heartbeat_count; /* none of the configured ones: nothing is answered */
		s->length = 1;
		return 0;
	}
	n = mb_unescape(in, plain, sizeof(plain), at_byte, &used, &lone);
	if (n == 0) {
		s->what = MB_WAIT;
		s->wait_ms = l->ch->partial_ms;
		s->skip = final ? used < in.len && !lone ? in.len : 0 : 0;
		return 0;
	}
	rc = scan(l, cw_bytes_of(plain, n), final || lone, s);
	if (rc < 0)
		return rc;
	if (s->what == MB_ANSWER || s->what == MB_PAIR || s->what == MB_STALE) {
		/* `plain` ends with this call: the PDU goes along. */
		size_t len = s->pdu.len < sizeof(s->bytes) ? s->pdu.len : sizeof(s->bytes);

		if (s->pdu.ptr != s->bytes + 1) {
			memcpy(s->bytes, s->pdu.ptr, len);
			s->pdu = cw_bytes_of(s->bytes, len);
		}
	}
	from = s->skip;
	s->skip = at_byte[from];
	s->length = (size_t)at_byte[from + s->length] - s->skip;
	if (s->what == MB_WAIT && lone && s->skip < used)
		s->skip = used; /* cannot become more */
	s->need = 0;
	return 0;
}

int mb_scan(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *ret)
{
	ret->what = MB_WAIT;
	ret->skip = ret->length = ret->need = 0;
	ret->wait_ms = 0;
	ret->error = MB_OK;
	if (l->ch->envelope == MB_ENV_PROT && l->registered && !l->inner)
		return scan_escaped(l, in, final, ret);
	return scan(l, in, final, ret);
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static size_t make_ascii(struct cw_bytes body, uint8_t *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	struct cw_writer w = cw_writer_of(out, size);
	uint8_t lrc = mb_lrc(body);
	size_t i;

	cw_write_u8(&w, ':');
	for (i = 0; i <= body.len; i++) {
		uint8_t b = i < body.len ? body.ptr[i] : lrc;

		cw_write_u8(&w, (uint8_t)hex[b >> 4]);
		cw_write_u8(&w, (uint8_t)hex[b & 15]);
	}
	cw_write_raw(&w, "\r\n", 2);
	return w.overflow ? 0 : w.len;
}

size_t mb_frame_make(const struct mb_channel *ch, uint8_t unit, uint16_t tid, struct cw_bytes pdu, uint8_t *out, size_t size)
{
	uint8_t body[MB_RTU_MAX];
	struct cw_writer b = cw_writer_of(body, sizeof(body)), w = cw_writer_of(out, size);

	if (pdu.len > MB_PDU_MAX)
		return 0;
	if (ch->framing == MB_TCP) {
		cw_write_u16be(&w, tid);
		cw_write_u16be(&w, 0);
		cw_write_u16be(&w, (uint16_t)(pdu.len + 1));
		cw_write_u8(&w, unit);
		cw_write_bytes(&w, pdu);
		return w.overflow ? 0 : w.len;
	}
	cw_write_u8(&b, unit);
	cw_write_bytes(&b, pdu);
	if (ch->framing == MB_ASCII)
		return make_ascii(cw_written(&b), out, size);
	cw_write_u16le(&b, mb_crc(cw_written(&b)));
	cw_write_bytes(&w, cw_written(&b));
	return w.overflow ? 0 : w.len;
}
