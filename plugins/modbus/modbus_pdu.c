/* modbus_pdu.c - see modbus_pdu.h. */
#include "modbus_pdu.h"

/* CRC-16/MODBUS, reflected polynomial 0xA001, four bits at a time. */
static const uint16_t crc_nibble[16] = {
	0x0000, 0xcc01, 0xd801, 0x1400, 0xf001, 0x3c00, 0x2800, 0xe401, 0xa001, 0x6c00, 0x7800, 0xb401, 0x5000, 0x9c01, 0x8801, 0x4400,
};

uint16_t mb_crc(struct cw_bytes b)
{
	uint16_t crc = 0xffff;
	size_t i;

	for (i = 0; i < b.len; i++) {
		crc = (uint16_t)(crc >> 4 ^ crc_nibble[(crc ^ b.ptr[i]) & 15]);
		crc = (uint16_t)(crc >> 4 ^ crc_nibble[(crc ^ b.ptr[i] >> 4) & 15]);
	}
	return crc;
}

int mb_crc_good(struct cw_bytes frame)
{
	return frame.len >= 4 && mb_crc(frame) == 0;
}

uint8_t mb_lrc(struct cw_bytes b)
{
	uint8_t sum = 0;
	size_t i;

	for (i = 0; i < b.len; i++)
		sum = (uint8_t)(sum + b.ptr[i]);
	return (uint8_t)-sum;
}

const char *mb_error_name(enum mb_error e)
{
	static const char *const names[] = { "", "crc", "lrc", "hex", "protocol-id", "length", "byte-count", "value", "function" };

	return names[e];
}

int mb_fc_known(uint8_t fc)
{
	return (fc >= MB_READ_COILS && fc <= MB_WRITE_REGISTER) || fc == MB_WRITE_COILS || fc == MB_WRITE_REGISTERS ||
	       fc == MB_MASK_WRITE || fc == MB_READ_WRITE || fc == MB_DEVICE_ID;
}

int mb_fc_reads(uint8_t fc)
{
	return fc >= MB_READ_COILS && fc <= MB_READ_INPUT;
}

uint8_t mb_area_fc(enum mb_area area)
{
	static const uint8_t fc[] = { MB_READ_COILS, MB_READ_DISCRETE, MB_READ_INPUT, MB_READ_HOLDING };

	return fc[area];
}

const char *mb_area_name(enum mb_area area)
{
	static const char *const names[] = { "coil", "discrete", "input", "holding" };

	return names[area];
}

unsigned mb_data_len(uint8_t fc, unsigned quantity)
{
	return fc == MB_READ_COILS || fc == MB_READ_DISCRETE || fc == MB_WRITE_COILS ? (quantity + 7) / 8 : quantity * 2;
}

/* address + quantity must stay below 65536, and the quantity within the function's limit. */
static enum mb_error range(uint32_t address, uint32_t quantity, uint32_t most)
{
	return quantity == 0 || quantity > most || address + quantity > 65536 ? MB_E_VALUE : MB_OK;
}

static enum mb_error counted(struct cw_reader *r, struct mb_pdu *p, unsigned expected)
{
	p->byte_count = cw_read_u8(r);
	if (r->short_read)
		return MB_E_LENGTH;
	p->data = cw_read_rest(r);
	return p->byte_count != expected || p->data.len != p->byte_count ? MB_E_BYTE_COUNT : MB_OK;
}

static enum mb_error read_request(struct cw_reader *r, struct mb_pdu *p)
{
	enum mb_error e;

	if (p->fc == MB_DEVICE_ID) {
		p->mei = cw_read_u8(r);
		p->code = cw_read_u8(r);
		p->object = cw_read_u8(r);
		return r->short_read || cw_read_left(r) > 0 ? MB_E_LENGTH : p->mei != 14 || p->code < 1 || p->code > 4 ? MB_E_VALUE : MB_OK;
	}
	p->address = cw_read_u16be(r);
	p->quantity = cw_read_u16be(r);
	if (r->short_read)
		return MB_E_LENGTH;
	switch (p->fc) {
	case MB_WRITE_COIL:
	case MB_WRITE_REGISTER:
		p->value = p->quantity;
		if (cw_read_left(r) > 0)
			return MB_E_LENGTH;
		return p->fc == MB_WRITE_COIL && p->value != 0 && p->value != 0xff00 ? MB_E_VALUE : MB_OK;
	case MB_WRITE_COILS:
	case MB_WRITE_REGISTERS:
		e = counted(r, p, mb_data_len(p->fc, p->quantity));
		if (e == MB_E_LENGTH)
			return e;
		if (range(p->address, p->quantity, p->fc == MB_WRITE_COILS ? MB_BITS_WRITE : MB_REGS_WRITE) != MB_OK)
			return MB_E_VALUE;
		return e;
	case MB_MASK_WRITE:
		p->value = p->quantity;
		p->or_mask = cw_read_u16be(r);
		return r->short_read || cw_read_left(r) > 0 ? MB_E_LENGTH : MB_OK;
	case MB_READ_WRITE:
		p->write_address = cw_read_u16be(r);
		p->write_quantity = cw_read_u16be(r);
		e = counted(r, p, p->write_quantity * 2u);
		if (e == MB_E_LENGTH)
			return e;
		if (range(p->address, p->quantity, MB_REGS_READ) != MB_OK || range(p->write_address, p->write_quantity, 121) != MB_OK)
			return MB_E_VALUE;
		return e;
	default:
		if (cw_read_left(r) > 0)
			return MB_E_LENGTH;
		return range(p->address, p->quantity, p->fc <= MB_READ_DISCRETE ? MB_BITS_READ : MB_REGS_READ);
	}
}

static enum mb_error read_identification(struct cw_reader *r, struct mb_pdu *p)
{
	unsigned i;

	p->mei = cw_read_u8(r);
	p->code = cw_read_u8(r);
	p->conformity = cw_read_u8(r);
	p->more = cw_read_u8(r);
	p->next_object = cw_read_u8(r);
	p->objects = cw_read_u8(r);
	if (r->short_read)
		return MB_E_LENGTH;
	if (p->mei != 14)
		return MB_E_VALUE;
	p->data = cw_bytes_of(r->ptr + r->pos, cw_read_left(r));
	for (i = 0; i < p->objects; i++) {
		(void)cw_read_u8(r);
		(void)cw_read_bytes(r, cw_read_u8(r));
	}
	return r->short_read || cw_read_left(r) > 0 ? MB_E_BYTE_COUNT : MB_OK;
}

static enum mb_error read_response(struct cw_reader *r, struct mb_pdu *p)
{
	switch (p->fc) {
	case MB_WRITE_COIL:
	case MB_WRITE_REGISTER:
	case MB_MASK_WRITE: return read_request(r, p); /* the request again */
	case MB_WRITE_COILS:
	case MB_WRITE_REGISTERS:
		p->address = cw_read_u16be(r);
		p->quantity = cw_read_u16be(r);
		if (r->short_read || cw_read_left(r) > 0)
			return MB_E_LENGTH;
		return range(p->address, p->quantity, p->fc == MB_WRITE_COILS ? MB_BITS_WRITE : MB_REGS_WRITE);
	case MB_DEVICE_ID: return read_identification(r, p);
	default:
		p->byte_count = cw_read_u8(r);
		if (r->short_read)
			return MB_E_LENGTH;
		p->data = cw_read_rest(r);
		if (p->data.len != p->byte_count || p->byte_count == 0)
			return MB_E_BYTE_COUNT;
		return p->fc > MB_READ_DISCRETE && p->byte_count % 2 != 0 ? MB_E_BYTE_COUNT : MB_OK;
	}
}

enum mb_error mb_pdu_read(struct cw_bytes pdu, enum mb_dir dir, struct mb_pdu *ret)
{
	struct cw_reader r = cw_reader_of(pdu);
	uint8_t fc = cw_read_u8(&r);

	memset(ret, 0, sizeof(*ret));
	ret->fc = fc & 0x7f;
	if (r.short_read)
		return MB_E_LENGTH;
	if (fc & 0x80) {
		ret->exception = cw_read_u8(&r);
		if (r.short_read || cw_read_left(&r) > 0)
			return MB_E_LENGTH;
		return ret->exception == 0 ? MB_E_VALUE : MB_OK;
	}
	if (!mb_fc_known(fc))
		return MB_E_FUNCTION;
	return dir == MB_REQUEST ? read_request(&r, ret) : read_response(&r, ret);
}

int mb_reference(struct cw_bytes ref, enum mb_area *ret_area, uint16_t *ret_address, const char **ret_error)
{
	static const int areas[] = { MB_COIL, MB_DISCRETE, -1, MB_INPUT, MB_HOLDING };
	uint32_t n = 0;
	size_t i;

	*ret_error = "syntax";
	if (ref.len != 5 && ref.len != 6)
		return -1;
	for (i = 0; i < ref.len; i++) {
		if (ref.ptr[i] < '0' || ref.ptr[i] > '9')
			return -1;
		if (i > 0)
			n = n * 10 + (uint32_t)(ref.ptr[i] - '0');
	}
	*ret_error = "area";
	if (ref.ptr[0] > '4' || areas[ref.ptr[0] - '0'] < 0)
		return -1;
	*ret_error = "range";
	if (n == 0 || n > (ref.len == 5 ? 9999u : 65536u))
		return -1;
	*ret_area = (enum mb_area)areas[ref.ptr[0] - '0'];
	*ret_address = (uint16_t)(n - 1);
	return 0;
}
