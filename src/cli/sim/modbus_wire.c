/* modbus_wire.c - see modbus_wire.h. */
#include "cli/sim/modbus_wire.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define ILLEGAL_FUNCTION 1u
#define ILLEGAL_ADDRESS 2u
#define ILLEGAL_VALUE 3u
#define DEVICE_FAILURE 4u

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* ---- what a unit holds ----------------------------------------------------------------- */

void cw_sim_unit_fini(struct cw_sim_unit *u)
{
	cw_free(u->written);
	u->written = NULL;
	u->written_count = u->written_room = 0;
}

static struct cw_sim_word *find(const struct cw_sim_unit *u, int bit, unsigned address)
{
	size_t i;

	for (i = 0; i < u->written_count; i++)
		if (u->written[i].bit == bit && u->written[i].address == address)
			return &u->written[i];
	return NULL;
}

int cw_sim_unit_set(struct cw_sim_unit *u, int bit, unsigned address, unsigned value)
{
	struct cw_sim_word *w = find(u, bit, address);

	if (w == NULL && u->written_count == u->written_room) {
		size_t room = u->written_room == 0 ? 16 : u->written_room * 2;
		struct cw_sim_word *grown = cw_realloc(u->written, room * sizeof(*grown));

		if (grown == NULL)
			return -1;
		u->written = grown;
		u->written_room = room;
	}
	if (w == NULL)
		w = &u->written[u->written_count++];
	*w = (struct cw_sim_word){ (uint8_t)bit, (uint16_t)address, (uint16_t)value };
	return 0;
}

/* Between -1 and 1, once around in a minute; each unit and place at its own point. */
static double swing(const struct cw_sim_unit *u, unsigned place, double seconds)
{
	return sin((seconds / 60 + (u->id * 37 + place * 11) % 360 / 360.0) * 6.283185307179586);
}

static unsigned moving_register(const struct cw_sim_unit *u, unsigned address, double seconds)
{
	unsigned pair = address % 100 / 2;
	uint32_t whole;
	float f;

	if (address < 100)
		return (unsigned)lround(2200 + 100 * swing(u, address, seconds));
	if (address >= 300)
		return address;
	if (address < 200) {
		f = (float)(25 + 5 * swing(u, pair, seconds));
		memcpy(&whole, &f, sizeof(whole));
	} else {
		whole = u->id * 1000u + (uint32_t)(seconds * (pair + 1));
	}
	return address % 2 == 0 ? whole >> 16 : whole & 0xffff;
}

static unsigned read_register(const struct cw_sim_unit *u, int holding, unsigned address, double seconds)
{
	const struct cw_sim_word *w = holding ? find(u, 0, address) : NULL;

	return w != NULL ? w->value : moving_register(u, address, seconds);
}

static unsigned read_bit(const struct cw_sim_unit *u, int coil, unsigned address, double seconds)
{
	const struct cw_sim_word *w = coil ? find(u, 1, address) : NULL;

	return w != NULL ? w->value : ((uint64_t)seconds / (10 + address % 50) + u->id + address) % 2;
}

/* ---- answers --------------------------------------------------------------------------- */

/* 0, or the exception for these addresses. */
static unsigned fault_of(const struct cw_sim_unit *u, unsigned address, unsigned quantity)
{
	size_t i;

	if (address + quantity > 65536)
		return ILLEGAL_ADDRESS;
	for (i = 0; i < u->fault_count; i++)
		if (address <= u->faults[i].to && address + quantity - 1 >= u->faults[i].from)
			return u->faults[i].code;
	return 0;
}

/* Each of these: the answer's length behind the function code in *ret_n, and 0; or an exception. */
static unsigned read_bits(struct cw_sim_unit *u, double seconds, const uint8_t *pdu, uint8_t *out, size_t *ret_n)
{
	unsigned address = be16(pdu + 1), quantity = be16(pdu + 3), i;

	if (quantity < 1 || quantity > 2000)
		return ILLEGAL_VALUE;
	if (fault_of(u, address, quantity) != 0)
		return fault_of(u, address, quantity);
	out[0] = (uint8_t)((quantity + 7) / 8);
	memset(out + 1, 0, out[0]);
	for (i = 0; i < quantity; i++)
		if (read_bit(u, pdu[0] == 1, address + i, seconds))
			out[1 + i / 8] |= (uint8_t)(1u << i % 8);
	*ret_n = 1u + out[0];
	return 0;
}

static unsigned read_registers(struct cw_sim_unit *u, double seconds, int holding, unsigned address, unsigned quantity, uint8_t *out,
                               size_t *ret_n)
{
	unsigned i;

	if (quantity < 1 || quantity > 125)
		return ILLEGAL_VALUE;
	if (fault_of(u, address, quantity) != 0)
		return fault_of(u, address, quantity);
	out[0] = (uint8_t)(2 * quantity);
	for (i = 0; i < quantity; i++)
		put16(out + 1 + 2 * i, read_register(u, holding, address + i, seconds));
	*ret_n = 1u + out[0];
	return 0;
}

static unsigned write_one(struct cw_sim_unit *u, int bit, const uint8_t *pdu, uint8_t *out, size_t *ret_n)
{
	unsigned address = be16(pdu + 1), value = be16(pdu + 3);

	if (bit && value != 0 && value != 0xff00)
		return ILLEGAL_VALUE;
	if (fault_of(u, address, 1) != 0)
		return fault_of(u, address, 1);
	if (cw_sim_unit_set(u, bit, address, bit ? value != 0 : value) < 0)
		return DEVICE_FAILURE;
	memcpy(out, pdu + 1, 4);
	*ret_n = 4;
	return 0;
}

/* `pdu` from the address on: address, quantity, count, data. */
static unsigned write_many(struct cw_sim_unit *u, int bit, unsigned most, const uint8_t *at, size_t n)
{
	unsigned address = be16(at), quantity = be16(at + 2), i;
	int rc = 0;

	if (quantity < 1 || quantity > most || at[4] != (bit ? (quantity + 7) / 8 : 2 * quantity) || n != 5u + at[4])
		return ILLEGAL_VALUE;
	if (fault_of(u, address, quantity) != 0)
		return fault_of(u, address, quantity);
	for (i = 0; i < quantity && rc == 0; i++)
		rc = bit ? cw_sim_unit_set(u, 1, address + i, (unsigned)at[5 + i / 8] >> i % 8 & 1u) : cw_sim_unit_set(u, 0, address + i, be16(at + 5 + 2 * i));
	return rc < 0 ? DEVICE_FAILURE : 0;
}

static unsigned mask_write(struct cw_sim_unit *u, double seconds, const uint8_t *pdu, uint8_t *out, size_t *ret_n)
{
	unsigned address = be16(pdu + 1), and_mask = be16(pdu + 3), or_mask = be16(pdu + 5), old;

	if (fault_of(u, address, 1) != 0)
		return fault_of(u, address, 1);
	old = read_register(u, 1, address, seconds);
	if (cw_sim_unit_set(u, 0, address, (old & and_mask) | (or_mask & ~and_mask & 0xffff)) < 0)
		return DEVICE_FAILURE;
	memcpy(out, pdu + 1, 6);
	*ret_n = 6;
	return 0;
}

/* Basic identification: as many objects as there are; code 4 asks for one alone. */
static unsigned identify(struct cw_sim_unit *u, const uint8_t *pdu, uint8_t *out, size_t *ret_n)
{
	size_t i, at = 6;

	if (pdu[1] != 0x0e)
		return ILLEGAL_FUNCTION;
	if (pdu[2] < 1 || pdu[2] > 4)
		return ILLEGAL_VALUE;
	if (pdu[2] == 4 && (pdu[3] > 2 || u->about[pdu[3]] == NULL))
		return ILLEGAL_ADDRESS;
	memcpy(out, (const uint8_t[]){ 0x0e, pdu[2], 0x01, 0, 0, 0 }, 6);
	for (i = 0; i < 3; i++) {
		size_t n = u->about[i] == NULL ? 0 : strlen(u->about[i]);

		if (u->about[i] == NULL || (pdu[2] == 4 && i != pdu[3]) || at + 2 + n > CW_SIM_PDU_MAX - 1)
			continue;
		out[at] = (uint8_t)i;
		out[at + 1] = (uint8_t)n;
		memcpy(out + at + 2, u->about[i], n);
		at += 2 + n;
		out[5]++;
	}
	*ret_n = at;
	return 0;
}

static unsigned read_write(struct cw_sim_unit *u, double seconds, const uint8_t *pdu, size_t n, uint8_t *out, size_t *ret_n)
{
	unsigned code = write_many(u, 0, 121, pdu + 5, n - 5);

	return code != 0 ? code : read_registers(u, seconds, 1, be16(pdu + 1), be16(pdu + 3), out, ret_n);
}

/* 0 or an exception; the shortest requests are n bytes, the others checked where they are read. */
static unsigned carry_out(struct cw_sim_unit *u, double seconds, const uint8_t *pdu, size_t n, uint8_t *out, size_t *ret_n)
{
	static const uint8_t least[] = { [1] = 5, [2] = 5, [3] = 5, [4] = 5, [5] = 5, [6] = 5, [15] = 7, [16] = 8, [22] = 7, [23] = 12, [43] = 4 };
	unsigned code;

	if (pdu[0] >= sizeof(least) || least[pdu[0]] == 0)
		return ILLEGAL_FUNCTION;
	if (n < least[pdu[0]])
		return ILLEGAL_VALUE;
	switch (pdu[0]) {
	case 1: case 2: return read_bits(u, seconds, pdu, out, ret_n);
	case 3: case 4: return read_registers(u, seconds, pdu[0] == 3, be16(pdu + 1), be16(pdu + 3), out, ret_n);
	case 5: case 6: return write_one(u, pdu[0] == 5, pdu, out, ret_n);
	case 22: return mask_write(u, seconds, pdu, out, ret_n);
	case 23: return read_write(u, seconds, pdu, n, out, ret_n);
	case 43: return identify(u, pdu, out, ret_n);
	default:
		code = write_many(u, pdu[0] == 15, pdu[0] == 15 ? 1968 : 123, pdu + 1, n - 1);
		memcpy(out, pdu + 1, 4);
		*ret_n = 4;
		return code;
	}
}

size_t cw_sim_unit_answer(struct cw_sim_unit *u, double seconds, const uint8_t *pdu, size_t n, uint8_t *out)
{
	size_t behind = 0;
	unsigned code = n == 0 ? ILLEGAL_FUNCTION : carry_out(u, seconds, pdu, n, out + 1, &behind);

	out[0] = n == 0 ? 0 : pdu[0];
	if (code == 0)
		return 1 + behind;
	out[0] |= 0x80;
	out[1] = (uint8_t)code;
	return 2;
}

/* ---- framings -------------------------------------------------------------------------- */

static unsigned crc16(const uint8_t *p, size_t n)
{
	unsigned crc = 0xffff;
	size_t i;
	int bit;

	for (i = 0; i < n; i++) {
		crc ^= p[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc & 1u ? crc >> 1 ^ 0xa001u : crc >> 1;
	}
	return crc;
}

/* A request's length by its function code, checksum included; 0: more bytes are needed to tell; -1: no function we know. */
static int rtu_length(const uint8_t *in, size_t n)
{
	size_t count_at;

	if (n < 2)
		return 0;
	switch (in[1]) {
	case 1: case 2: case 3: case 4: case 5: case 6: return 8;
	case 22: return 10;
	case 43: return 7;
	case 15: case 16: count_at = 6; break;
	case 23: count_at = 10; break;
	default: return -1;
	}
	return n <= count_at ? 0 : (int)(count_at + 1 + in[count_at] + 2);
}

static int cut_rtu(const uint8_t *in, size_t n, struct cw_sim_request *ret)
{
	int length = rtu_length(in, n);

	if (length <= 0 || (size_t)length > n)
		return length < 0 || length > 256 ? -1 : 0;
	if (length > 256 || crc16(in, (size_t)length) != 0)
		return -1;
	ret->unit = in[0];
	ret->n = (size_t)length - 3;
	memcpy(ret->pdu, in + 1, ret->n);
	return length;
}

static int cut_tcp(const uint8_t *in, size_t n, struct cw_sim_request *ret)
{
	size_t length;

	if (n < 8)
		return 0;
	length = be16(in + 4);
	if (be16(in + 2) != 0 || length < 2 || length > 254)
		return -1;
	if (n < 6 + length)
		return 0;
	ret->transaction = be16(in);
	ret->unit = in[6];
	ret->n = length - 1;
	memcpy(ret->pdu, in + 7, ret->n);
	return (int)(6 + length);
}

static int digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int cut_ascii(const uint8_t *in, size_t n, struct cw_sim_request *ret)
{
	const uint8_t *end = memchr(in, '\n', n);
	uint8_t bytes[CW_SIM_PDU_MAX + 2], sum = 0;
	size_t digits, i;

	if (in[0] != ':' || (end == NULL && n > 513))
		return -1;
	if (end == NULL)
		return 0;
	digits = (size_t)(end - in) - 1;
	digits -= digits > 0 && in[digits] == '\r';
	if (digits < 6 || digits % 2 != 0 || digits / 2 > sizeof(bytes))
		return -1;
	for (i = 0; i < digits / 2; i++) {
		int high = digit(in[1 + 2 * i]), low = digit(in[2 + 2 * i]);

		if (high < 0 || low < 0)
			return -1;
		bytes[i] = (uint8_t)(high << 4 | low);
		sum = (uint8_t)(sum + bytes[i]);
	}
	if (sum != 0)
		return -1;
	ret->unit = bytes[0];
	ret->n = digits / 2 - 2;
	memcpy(ret->pdu, bytes + 1, ret->n);
	return (int)(end - in) + 1;
}

int cw_sim_request_cut(enum cw_sim_framing framing, const uint8_t *in, size_t n, struct cw_sim_request *ret)
{
	if (n == 0)
		return 0;
	ret->transaction = 0;
	return framing == CW_SIM_TCP ? cut_tcp(in, n, ret) : framing == CW_SIM_RTU ? cut_rtu(in, n, ret) : cut_ascii(in, n, ret);
}

static size_t frame_ascii(const uint8_t *bytes, size_t n, uint8_t *out)
{
	static const char digits[] = "0123456789ABCDEF";
	uint8_t lrc = 0;
	size_t i;

	out[0] = ':';
	for (i = 0; i <= n; i++) {
		uint8_t b = i < n ? bytes[i] : (uint8_t)-lrc;

		lrc = (uint8_t)(lrc + b);
		out[1 + 2 * i] = (uint8_t)digits[b >> 4];
		out[2 + 2 * i] = (uint8_t)digits[b & 15];
	}
	memcpy(out + 3 + 2 * n, "\r\n", 2);
	return 5 + 2 * n;
}

size_t cw_sim_modbus_frame(enum cw_sim_framing framing, unsigned transaction, uint8_t unit, const uint8_t *pdu, size_t n, uint8_t *out)
{
	uint8_t bytes[CW_SIM_PDU_MAX + 1];
	unsigned crc;

	if (framing == CW_SIM_TCP) {
		put16(out, transaction);
		put16(out + 2, 0);
		put16(out + 4, (unsigned)n + 1);
		out[6] = unit;
		memcpy(out + 7, pdu, n);
		return 7 + n;
	}
	bytes[0] = unit;
	memcpy(bytes + 1, pdu, n);
	if (framing == CW_SIM_ASCII)
		return frame_ascii(bytes, n + 1, out);
	memcpy(out, bytes, n + 1);
	crc = crc16(out, n + 1);
	out[n + 1] = (uint8_t)crc;
	out[n + 2] = (uint8_t)(crc >> 8);
	return n + 3;
}
