/*
 * modbus_pdu.h - what Modbus itself says, without lines, points or time: checksums, PDUs, byte orders.
 *
 * Nothing here allocates or keeps anything. Addresses are those of the protocol, from 0.
 */
#ifndef MODBUS_PDU_H
#define MODBUS_PDU_H

#include <causeway/plugin.h>

#define MB_PDU_MAX 253
#define MB_RTU_MAX 256
#define MB_TCP_MAX 260
#define MB_ASCII_MAX 513
#define MB_REGS_READ 125
#define MB_REGS_WRITE 123
#define MB_BITS_READ 2000
#define MB_BITS_WRITE 1968

enum mb_fc {
	MB_READ_COILS = 1,
	MB_READ_DISCRETE = 2,
	MB_READ_HOLDING = 3,
	MB_READ_INPUT = 4,
	MB_WRITE_COIL = 5,
	MB_WRITE_REGISTER = 6,
	MB_WRITE_COILS = 15,
	MB_WRITE_REGISTERS = 16,
	MB_MASK_WRITE = 22,
	MB_READ_WRITE = 23,
	MB_DEVICE_ID = 43
};

enum mb_area { MB_COIL, MB_DISCRETE, MB_INPUT, MB_HOLDING }; /* in the order in which they are polled */
enum mb_framing { MB_TCP, MB_RTU, MB_ASCII, MB_AUTO };
enum mb_dir { MB_REQUEST, MB_RESPONSE };

/* What is wrong with a frame; the names are those of mb_error_name(). */
enum mb_error { MB_OK, MB_E_CRC, MB_E_LRC, MB_E_HEX, MB_E_PROTOCOL, MB_E_LENGTH, MB_E_BYTE_COUNT, MB_E_VALUE, MB_E_FUNCTION };

/* A PDU taken apart; which members mean something depends on fc and direction. */
struct mb_pdu {
	uint8_t fc;        /* without bit 7 */
	uint8_t exception; /* 0: none */
	uint16_t address, quantity; /* 0x17: of the read */
	uint16_t value;    /* 0x05, 0x06; 0x16: and mask */
	uint16_t or_mask;
	uint16_t write_address, write_quantity; /* 0x17 */
	uint8_t byte_count;
	struct cw_bytes data; /* bits, registers, or all behind 0x2B 0x0E and the code */
	uint8_t mei, code, object, conformity, more, next_object, objects;
};

uint16_t mb_crc(struct cw_bytes b);
/* 1 when the last two bytes are the CRC of those before. */
int mb_crc_good(struct cw_bytes frame);
uint8_t mb_lrc(struct cw_bytes b);
const char *mb_error_name(enum mb_error e);
/* Take a PDU apart: MB_OK or what is wrong with it. */
enum mb_error mb_pdu_read(struct cw_bytes pdu, enum mb_dir dir, struct mb_pdu *ret);
/* 1 for a function that the scanners know. */
int mb_fc_known(uint8_t fc);
int mb_fc_reads(uint8_t fc);
/* The function that reads an area. */
uint8_t mb_area_fc(enum mb_area area);
const char *mb_area_name(enum mb_area area);
/* Bytes of data in the answer to reading `quantity` with fc. */
unsigned mb_data_len(uint8_t fc, unsigned quantity);

static inline int mb_bit(struct cw_bytes data, unsigned i)
{
	return i / 8 < data.len && (data.ptr[i / 8] >> (i % 8) & 1);
}

static inline uint16_t mb_register(struct cw_bytes data, unsigned i)
{
	return i * 2 + 1 < data.len ? (uint16_t)((unsigned)data.ptr[i * 2] << 8 | data.ptr[i * 2 + 1]) : 0;
}

/* "40001", "465536": 0, or the name of the error in *ret_error. */
int mb_reference(struct cw_bytes ref, enum mb_area *ret_area, uint16_t *ret_address, const char **ret_error);

#endif
