/*
 * modbus_envelope.c - what older DTU families wrap around the serial bytes: PROT (Four-Faith), DDP (Hongdian) and the
 * family between 7B and 7D.
 */
#include <stdio.h>

#include "modbus_line.h"

#define PROT_LEN 21
#define DDP_MIN 16
#define ID_LEN 11

static int digits(const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return 0;
	return 1;
}

/* id(4), 11 digits, 00, IPv4(4), 00; not escaped. 0: as far as it goes. */
static int prot_bad(struct cw_bytes in)
{
	size_t n = in.len < 15 ? in.len : 15;

	return (n > 4 && !digits(in.ptr + 4, n - 4)) || (in.len > 15 && in.ptr[15] != 0) || (in.len > 20 && in.ptr[20] != 0);
}

static int ddp_type_up(uint8_t t)
{
	return t == 0x01 || t == 0x02 || t == 0x05 || t == 0x09 || t == 0x0b || t == 0x0d;
}

/* The head of a ddp packet or of one of the other family, as far as bytes are there. */
static int head_bad(const struct mb_line *l, struct cw_bytes in, size_t *ret_len)
{
	int ddp = l->ch->envelope == MB_ENV_DDP;
	size_t n = in.len < 4 + ID_LEN ? in.len : 4 + ID_LEN;
	uint8_t type = in.len > 1 ? in.ptr[1] & (l->inspect && ddp ? 0x7f : 0xff) : 0;

	*ret_len = 0;
	if (in.ptr[0] != 0x7b)
		return 1;
	if (in.len > 1 && (ddp ? !ddp_type_up(type) && !(l->inspect && (type == 3 || type == 4)) : type < 0x30 || type > 0x33))
		return 1;
	if (in.len > 3) {
		size_t len = ddp ? (size_t)(in.ptr[2] << 8 | in.ptr[3]) : (size_t)(in.ptr[3] << 8 | in.ptr[2]) + 4;

		if (len < DDP_MIN || len > MB_ENVELOPE_MAX)
			return 1;
		*ret_len = len;
	}
	return n > 4 && !digits(in.ptr + 4, n - 4);
}

static int cut_tail(const struct mb_line *l, struct cw_bytes in, struct mb_scan *s)
{
	size_t i, len;

	for (i = 0; i < in.len && i < MB_RTU_MAX; i++)
		if (!head_bad(l, cw_bytes_of(in.ptr + i, in.len - i), &len) && len > 0)
			break;
	s->what = MB_TAIL;
	s->length = i;
	return i > 0;
}

int mb_envelope_cut(const struct mb_line *l, struct cw_bytes in, struct mb_scan *s)
{
	size_t len;

	if (l->ch->envelope == MB_ENV_PROT) {
		if (prot_bad(in))
			return -1;
		s->need = PROT_LEN;
		s->what = MB_REGISTER;
		s->length = PROT_LEN;
		return in.len >= PROT_LEN;
	}
	if (head_bad(l, in, &len))
		return l->tail && cut_tail(l, in, s) ? 1 : -1;
	s->need = len == 0 ? DDP_MIN : len;
	if (len == 0 || in.len < len)
		return 0;
	if (in.ptr[len - 1] != (l->ch->envelope == MB_ENV_DDP ? 0x7b : 0x7d))
		return -1;
	s->what = MB_PACKET;
	s->length = len;
	return 1;
}

static enum mb_packet_kind kind_of(int ddp, uint8_t type)
{
	if (!ddp)
		return type == 0x30 ? MB_P_HEARTBEAT : type == 0x31 ? MB_P_REGISTER : type == 0x32 ? MB_P_DATA : MB_P_OTHER;
	switch (type & 0x7f) {
	case 0x01: return MB_P_REGISTER;
	case 0x02: return MB_P_DEREGISTER;
	case 0x05: return MB_P_ACK;
	case 0x09: return MB_P_DATA;
	default: return MB_P_OTHER;
	}
}

int mb_envelope_read(const struct mb_channel *ch, struct cw_bytes packet, struct mb_packet *ret)
{
	struct cw_reader r = cw_reader_of(packet);

	memset(ret, 0, sizeof(*ret));
	if (ch->envelope == MB_ENV_PROT) {
		ret->kind = MB_P_REGISTER;
		(void)mb_hex_text(cw_read_bytes(&r, 4), ret->id, sizeof(ret->id));
		memcpy(ret->phone, packet.ptr + 4, packet.len >= 4 + ID_LEN ? ID_LEN : 0);
		(void)cw_read_bytes(&r, ID_LEN + 1);
		ret->ip = cw_read_bytes(&r, 4);
		return !r.short_read;
	}
	(void)cw_read_u8(&r);
	ret->type = cw_read_u8(&r);
	ret->kind = kind_of(ch->envelope == MB_ENV_DDP, ret->type);
	(void)cw_read_u16be(&r);
	if (packet.len < DDP_MIN)
		return 0;
	memcpy(ret->id, cw_read_bytes(&r, ID_LEN).ptr, ID_LEN);
	ret->data = cw_read_bytes(&r, packet.len - DDP_MIN);
	if (ret->kind == MB_P_REGISTER && ch->envelope == MB_ENV_DDP && ret->data.len >= 6) {
		ret->ip = cw_bytes_of(ret->data.ptr, 4);
		ret->port = (uint16_t)(ret->data.ptr[4] << 8 | ret->data.ptr[5]);
	}
	return !r.short_read;
}

size_t mb_envelope_make(const struct mb_channel *ch, uint8_t type, const char *id, struct cw_bytes data, uint8_t *out, size_t size)
{
	struct cw_writer w = cw_writer_of(out, size);
	int ddp = ch->envelope == MB_ENV_DDP;

	if (strlen(id) != ID_LEN)
		return 0;
	cw_write_u8(&w, 0x7b);
	cw_write_u8(&w, type);
	if (ddp)
		cw_write_u16be(&w, (uint16_t)(DDP_MIN + data.len));
	else
		cw_write_u16le(&w, (uint16_t)(DDP_MIN - 4 + data.len));
	cw_write_raw(&w, id, ID_LEN);
	cw_write_bytes(&w, data);
	cw_write_u8(&w, ddp ? 0x7b : 0x7d);
	return w.overflow ? 0 : w.len;
}

size_t mb_unescape(struct cw_bytes in, uint8_t *out, size_t size, uint16_t *at, size_t *ret_used, int *ret_lone)
{
	size_t i = 0, n = 0;

	*ret_lone = 0;
	while (i < in.len && n < size) {
		if (in.ptr[i] == 0xfe) {
			*ret_lone = 1;
			break;
		}
		if (in.ptr[i] == 0xfd && i + 1 == in.len)
			break; /* its second half has not come yet */
		if (at != NULL)
			at[n] = (uint16_t)i;
		if (in.ptr[i] == 0xfd && (in.ptr[i + 1] == 0xed || in.ptr[i + 1] == 0xee)) {
			out[n++] = in.ptr[i + 1] == 0xed ? 0xfd : 0xfe;
			i += 2;
		} else {
			out[n++] = in.ptr[i++];
		}
	}
	if (at != NULL)
		at[n] = (uint16_t)i;
	*ret_used = i;
	return n;
}

size_t mb_escape(struct cw_bytes in, uint8_t *out, size_t size)
{
	struct cw_writer w = cw_writer_of(out, size);
	size_t i;

	for (i = 0; i < in.len; i++) {
		if (in.ptr[i] >= 0xfd && in.ptr[i] <= 0xfe) {
			cw_write_u8(&w, 0xfd);
			cw_write_u8(&w, in.ptr[i] == 0xfd ? 0xed : 0xee);
		} else {
			cw_write_u8(&w, in.ptr[i]);
		}
	}
	return w.overflow ? 0 : w.len;
}
