/*
 * modbus_inspect_scan.c - framing for the decode tool: frames of both directions, good or not, without a line's state.
 *
 * What a frame is must not depend on how the bytes arrive. So a place is only given up when no further byte could make
 * a frame of it; what no frame begins in is kept until the end of the input and then shown as one bad frame.
 */
#include "modbus_line.h"

/* Lengths that a frame with this beginning may have, shortest first; 0 ends them. *ret_need: bytes needed to know more. */
static unsigned candidates(const struct mb_line *l, struct cw_bytes in, size_t out[4], size_t *ret_need)
{
	unsigned n = 0;
	uint8_t fc = in.len > 1 ? in.ptr[1] : 0;
	int both = l->dir_auto;

	*ret_need = 0;
	if (in.len < 2) {
		*ret_need = 2;
		return 0;
	}
	if (fc & 0x80) {
		/* Without the look at the code FF FF 00 00 00 would be one: its CRC is right. */
		if (in.len < 3)
			*ret_need = 3;
		else if (fc != 0x80 && in.ptr[2] != 0 && in.ptr[2] <= 0x0b)
			out[n++] = 5;
		return n;
	}
	if (!mb_fc_known(fc))
		return 0;
	if (fc == MB_MASK_WRITE) {
		out[n++] = 10;
		return n;
	}
	if (fc == MB_DEVICE_ID && (both || l->dir == MB_REQUEST))
		out[n++] = 7;
	if (fc <= MB_WRITE_REGISTER && (both || l->dir == MB_REQUEST || fc >= MB_WRITE_COIL))
		out[n++] = 8;
	if ((fc == MB_WRITE_COILS || fc == MB_WRITE_REGISTERS) && (both || l->dir == MB_RESPONSE))
		out[n++] = 8;
	if ((mb_fc_reads(fc) || fc == MB_READ_WRITE) && (both || l->dir == MB_RESPONSE)) {
		if (in.len < 3)
			*ret_need = 3;
		else
			out[n++] = 5u + in.ptr[2];
	}
	if ((fc == MB_WRITE_COILS || fc == MB_WRITE_REGISTERS) && (both || l->dir == MB_REQUEST)) {
		if (in.len < 7)
			*ret_need = 7;
		else
			out[n++] = 9u + in.ptr[6];
	}
	if (fc == MB_READ_WRITE && (both || l->dir == MB_REQUEST)) {
		if (in.len < 11)
			*ret_need = 11;
		else
			out[n++] = 13u + in.ptr[10];
	}
	return n;
}

/* An identification's answer has no length of its own but that of its objects. */
static size_t identification_len(struct cw_bytes in)
{
	size_t at = 8, n = in.len > 7 ? in.ptr[7] : 0;

	if (in.len < 8)
		return 0;
	while (n-- > 0) {
		if (in.len < at + 2)
			return 0;
		at += 2u + in.ptr[at + 1];
	}
	return at + 2;
}

/* 1: a good frame of *ret_len; 0: more bytes may tell; -1: none begins here. */
static int rtu_here(const struct mb_line *l, struct cw_bytes in, int final, size_t *ret_len)
{
	size_t lens[4], need, i, n;
	int wait;

	n = candidates(l, in, lens, &need);
	wait = need > 0;
	/* Shortest first: what is taken now would be taken too with more bytes. */
	for (i = 0; i < n; i++) {
		size_t k, least = i;

		for (k = i + 1; k < n; k++)
			if (lens[k] < lens[least])
				least = k;
		k = lens[i];
		lens[i] = lens[least];
		lens[least] = k;
		if (in.len < lens[i]) {
			wait = 1;
			break;
		}
		if (lens[i] <= MB_RTU_MAX && mb_crc_good(cw_bytes_of(in.ptr, lens[i]))) {
			*ret_len = lens[i];
			return 1;
		}
	}
	if (in.len > 1 && in.ptr[1] == MB_DEVICE_ID && (l->dir_auto || l->dir == MB_RESPONSE)) {
		size_t len = identification_len(in);

		if (len == 0 || in.len < len)
			wait = len <= MB_RTU_MAX;
		else if (mb_crc_good(cw_bytes_of(in.ptr, len))) {
			*ret_len = len;
			return 1;
		}
	}
	return wait && !final ? 0 : -1;
}

static void show_rtu(struct cw_bytes frame, struct mb_scan *s)
{
	s->what = MB_SHOW;
	s->length = frame.len;
	s->unit = frame.ptr[0];
	s->pdu = frame.len > 3 ? cw_bytes_of(frame.ptr + 1, frame.len - 3) : cw_bytes_of(NULL, 0);
	s->error = mb_crc_good(frame) ? MB_OK : MB_E_CRC;
}

static void inspect_rtu(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	size_t i, len = 0;
	int rc = 0;

	for (i = 0; i < in.len && i < MB_RTU_MAX; i++) {
		rc = rtu_here(l, cw_bytes_of(in.ptr + i, in.len - i), final, &len);
		if (rc >= 0)
			break;
	}
	if (i == 0 && rc > 0) {
		show_rtu(cw_bytes_of(in.ptr, len), s);
	} else if (rc > 0 || final || i == MB_RTU_MAX) { /* what stands before the next frame, or before the end */
		show_rtu(cw_bytes_of(in.ptr, i), s);
		s->error = MB_E_CRC;
	} else {
		s->wait_ms = l->ch->partial_ms;
	}
}

/* 1: a frame of *ret_len; 0: more bytes may make one; -1: none. */
static int tcp_here(struct cw_bytes in, size_t *ret_len, int final)
{
	unsigned length;

	if ((in.len > 2 && in.ptr[2] != 0) || (in.len > 3 && in.ptr[3] != 0) || (in.len > 4 && in.ptr[4] != 0))
		return -1;
	if (in.len < 8)
		return final ? -1 : 0;
	length = in.ptr[5];
	/* An exception may name any function. */
	if (length < 3 || length > 254 || !(mb_fc_known(in.ptr[7] & 0x7f) || ((in.ptr[7] & 0x80) && length == 3)))
		return -1;
	*ret_len = 6 + length;
	return in.len >= *ret_len ? 1 : final ? -1 : 0;
}

static void show_tcp(struct cw_bytes frame, struct mb_scan *s)
{
	s->what = MB_SHOW;
	s->tcp = 1;
	s->length = frame.len;
	s->tid = frame.len > 1 ? (uint16_t)((unsigned)frame.ptr[0] << 8 | frame.ptr[1]) : 0;
	s->unit = frame.len > 6 ? frame.ptr[6] : 0;
	s->pdu = frame.len > 7 ? cw_bytes_of(frame.ptr + 7, frame.len - 7) : cw_bytes_of(NULL, 0);
	if (frame.len > 3 && (frame.ptr[2] | frame.ptr[3]) != 0)
		s->error = MB_E_PROTOCOL;
	else if (frame.len < 9 || (size_t)(frame.ptr[4] << 8 | frame.ptr[5]) + 6 != frame.len || frame.len > MB_TCP_MAX)
		s->error = MB_E_LENGTH;
}

/* Behind what is no frame: does a heartbeat begin here? Like the others. */
static int heartbeat_here(const struct mb_line *l, struct cw_bytes in, int final)
{
	unsigned which;
	int part;

	return mb_heartbeat(l->ch, in, &which, &part) > 0 ? 1 : part && !final ? 0 : -1;
}

/* A good header cuts a frame; what stands before the next one, or before the end, is one bad frame. */
static void inspect_tcp(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	size_t i, len = 0;
	int rc = 0;

	for (i = 0; i < in.len && i < MB_TCP_MAX; i++) {
		rc = tcp_here(cw_bytes_of(in.ptr + i, in.len - i), &len, final);
		if (rc < 0 && i > 0)
			rc = heartbeat_here(l, cw_bytes_of(in.ptr + i, in.len - i), final);
		if (rc >= 0)
			break;
	}
	if (i == 0 && rc > 0) {
		show_tcp(cw_bytes_of(in.ptr, len), s);
	} else if (rc > 0 || final || i == MB_TCP_MAX) {
		show_tcp(cw_bytes_of(in.ptr, i), s);
		if (s->error == MB_OK)
			s->error = MB_E_LENGTH;
	} else {
		s->wait_ms = l->ch->partial_ms;
	}
}

static void inspect_ascii(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	size_t i = 0, start;

	while (i < in.len && in.ptr[i] != ':')
		i++;
	start = i;
	if (start > 0) {
		s->skip = start;
		return;
	}
	for (i = 1; i < in.len && in.ptr[i] != '\n' && in.ptr[i] != ':' && i < MB_ASCII_MAX; i++)
		;
	if (i == in.len && !final) {
		s->wait_ms = l->ch->partial_ms;
		return;
	}
	if (i < in.len && in.ptr[i] == '\n')
		i++;
	s->what = MB_SHOW;
	s->length = i;
	s->error = mb_ascii_bytes(cw_bytes_of(in.ptr + 1, i - (in.ptr[i - 1] == '\n' ? 2 : 1)), s);
}

static void inspect_prot(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	size_t i;
	int rc = mb_envelope_cut(l, in, s);

	s->what = MB_PACKET;
	if (in.ptr[0] == 0xfe) {
		s->what = MB_HEARTBEAT;
		s->length = 1;
		return;
	}
	if (rc > 0) {
		s->what = MB_REGISTER;
		return;
	}
	if (rc == 0 && !final) {
		s->wait_ms = l->ch->partial_ms;
		s->what = MB_WAIT;
		s->length = 0;
		s->need = 0;
		return;
	}
	for (i = 0; i < in.len && in.ptr[i] != 0xfe && i < MB_RTU_MAX * 2; i++)
		;
	s->length = i;
	s->need = 0;
	if (i == in.len && !final) {
		s->length = 0;
		s->what = MB_WAIT;
		s->wait_ms = l->ch->partial_ms;
	}
}

static void inspect_envelope(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	int rc = mb_envelope_cut(l, in, s);

	if (rc > 0)
		return;
	s->what = MB_WAIT;
	s->length = 0;
	if (rc < 0 || final)
		s->skip = 1;
	else
		s->wait_ms = l->ch->partial_ms;
	s->need = rc == 0 && s->need > in.len ? s->need : 0;
}

const struct mb_channel *mb_guessed_channel(enum mb_envelope e)
{
	static const struct mb_channel none = { .partial_ms = 500 }, prot = { .envelope = MB_ENV_PROT, .partial_ms = 500 },
				       ddp = { .envelope = MB_ENV_DDP, .partial_ms = 500 }, braces = { .envelope = MB_ENV_BRACES, .partial_ms = 500 };

	return e == MB_ENV_PROT ? &prot : e == MB_ENV_DDP ? &ddp : e == MB_ENV_BRACES ? &braces : &none;
}

/*
 * Nobody has said an envelope: is this one? 7B, type, length and eleven digits are no frame of Modbus, nor are the 21 bytes of
 * a PROT registration on a line of their own. 1: yes; 0: more bytes may tell; -1: no.
 */
static int guess(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	static const enum mb_envelope heads[] = { MB_ENV_DDP, MB_ENV_BRACES };
	struct mb_line as = *l;
	int rc, maybe = 0;
	size_t i, len;

	as.tail = 0;
	for (i = 0; i < 2; i++) {
		as.ch = mb_guessed_channel(heads[i]);
		rc = mb_envelope_cut(&as, in, s);
		if (rc > 0) {
			s->envelope = heads[i];
			return 1;
		}
		maybe |= rc == 0;
	}
	as.ch = mb_guessed_channel(MB_ENV_PROT);
	if (final && mb_envelope_cut(&as, in, s) > 0 && s->length == in.len && rtu_here(l, in, 1, &len) < 0) {
		s->envelope = MB_ENV_PROT;
		return 1;
	}
	if (final && in.len == 1 && in.ptr[0] == 0xfe) {
		s->envelope = MB_ENV_PROT;
		s->what = MB_HEARTBEAT;
		s->length = 1;
		return 1;
	}
	s->what = MB_WAIT;
	s->length = s->need = 0;
	return maybe && !final ? 0 : -1;
}

/* At the end of the input, with no good frame in it: is it one once PROT's escapes are undone? */
static int guess_escaped(struct cw_bytes in, struct mb_scan *s)
{
	uint8_t plain[2 * MB_RTU_MAX];
	size_t used, n;
	int lone;

	if (in.len > sizeof(plain) || memchr(in.ptr, 0xfd, in.len) == NULL)
		return 0;
	n = mb_unescape(in, plain, sizeof(plain), NULL, &used, &lone);
	if (used != in.len || n == in.len || n < 4 || n > MB_RTU_MAX || !mb_fc_known(plain[1] & 0x7f) || !mb_crc_good(cw_bytes_of(plain, n)))
		return 0;
	s->envelope = MB_ENV_PROT;
	s->what = MB_PACKET;
	s->length = in.len;
	s->error = MB_OK;
	return 1;
}

int mb_scan_inspect(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *s)
{
	enum mb_framing framing = l->ch->framing;
	unsigned which = 0;
	size_t length;
	int part = 0;

	memset(s, 0, offsetof(struct mb_scan, bytes));
	if (in.len == 0)
		return 0;
	if (l->ch->envelope == MB_ENV_PROT) {
		inspect_prot(l, in, final, s);
		return 0;
	}
	if (l->ch->envelope != MB_ENV_NONE) {
		inspect_envelope(l, in, final, s);
		return 0;
	}
	/* A frame goes before a heartbeat: the number of a transaction may be one. */
	if (framing != MB_TCP || tcp_here(in, &length, final) < 0) {
		s->length = mb_heartbeat(l->ch, in, &which, &part);
		if (s->length > 0) {
			s->what = MB_HEARTBEAT;
			s->which = which;
			return 0;
		}
		if (part && !final) {
			s->wait_ms = l->ch->partial_ms;
			return 0;
		}
	}
	if (!l->registered && l->ch->reg_mode != MB_REG_NONE &&
	    (l->ch->reg->length > 0 || l->ch->reg->until.len > 0 || l->ch->reg->accept_count > 0)) {
		int rc = framing == MB_TCP && tcp_here(in, &length, final) > 0 ? -1 : mb_registration(l->ch->reg, in, final, s);

		if (rc > 0)
			return 0;
		s->what = MB_WAIT;
		s->length = s->need = 0;
		if (rc == 0 && !final) {
			s->wait_ms = l->ch->partial_ms;
			return 0;
		}
	}
	if (framing == MB_AUTO) {
		int rc = guess(l, in, final, s);

		if (rc > 0)
			return 0;
		if (rc == 0) {
			s->wait_ms = l->ch->partial_ms;
			return 0;
		}
	}
	/* Not said: a colon begins ASCII, two zeros where the protocol id would be make it MBAP. */
	if (framing == MB_AUTO && in.ptr[0] == ':') {
		framing = MB_ASCII;
	} else if (framing == MB_AUTO && in.len < 5 && !final) {
		s->wait_ms = l->ch->partial_ms;
		return 0;
	} else if (framing == MB_AUTO && in.len >= 5 && in.ptr[2] == 0 && in.ptr[3] == 0 && in.ptr[4] == 0) {
		size_t len;

		framing = rtu_here(l, in, 1, &len) > 0 ? MB_RTU : MB_TCP;
	}
	if (framing == MB_TCP)
		inspect_tcp(l, in, final, s);
	else if (framing == MB_ASCII)
		inspect_ascii(l, in, final, s);
	else if (!(l->ch->framing == MB_AUTO && final && rtu_here(l, in, 1, &length) < 0 && guess_escaped(in, s)))
		inspect_rtu(l, in, final, s);
	return 0;
}
