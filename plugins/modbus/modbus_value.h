/*
 * modbus_value.h - points: what registers mean, both ways. Numbers are decimal fractions on exact integers.
 */
#ifndef MODBUS_VALUE_H
#define MODBUS_VALUE_H

#include <iconv.h>

#include "modbus_pdu.h"

#define MB_STRING_MAX 250      /* bytes of a string or bytes point: 125 registers */
#define MB_TEXT_MAX 760        /* the same as UTF-8 */

enum mb_type {
	MB_BOOL, MB_BIT, MB_INT16, MB_UINT16, MB_INT32, MB_UINT32, MB_FLOAT32, MB_INT64, MB_UINT64, MB_FLOAT64, MB_BCD16, MB_BCD32,
	MB_STRING, MB_BYTES
};

/* In the order of the letters of a 32-bit value; the last two exist for 64 bits only. */
enum mb_order { MB_ABCD, MB_CDAB, MB_BADC, MB_DCBA, MB_CDABGHEF, MB_EFGHABCD };
enum mb_packing { MB_HIGH_FIRST, MB_LOW_FIRST, MB_LOW_BYTE, MB_HIGH_BYTE };
enum mb_charset { MB_UTF8, MB_GBK, MB_HEX };

/* m x 10^e */
struct mb_dec {
	int64_t m;
	int e;
};

enum mb_kind { MB_V_NONE, MB_V_BOOL, MB_V_INT, MB_V_UINT, MB_V_DEC, MB_V_DOUBLE, MB_V_TEXT };

/* A value as it is reported; `text` is lent. */
struct mb_value {
	enum mb_kind kind;
	union {
		struct mb_dec dec; /* BOOL and INT: .m */
		uint64_t u;
		double d;
	};
	struct cw_bytes text;
};

/* What the map says of one raw value. */
struct mb_mapped {
	int64_t raw;
	struct cw_bytes text;
	struct mb_dec number; /* mapTo = number */
};

enum mb_report_mode { MB_R_INHERIT, MB_R_CHANGE, MB_R_ALWAYS, MB_R_PERIOD };

struct mb_report {
	enum mb_report_mode mode;
	struct mb_dec deadband;
	uint64_t max_ms; /* 0: none */
};

enum mb_when { MB_RISING, MB_FALLING, MB_CHANGE };

struct mb_event_rule {
	const char *id; /* NULL: none */
	enum mb_when when;
	unsigned type;  /* CW_EVENT_* */
	uint8_t fire_initial;
	struct cw_bytes on; /* a value as text; empty: true, or not 0 */
	uint16_t *data;     /* indices of points whose values go along */
	unsigned data_count;
};

struct mb_point {
	const char *property; /* "" when it only feeds an event */
	const char *name;     /* for messages and the merge rule */
	enum mb_area area;
	enum mb_type type;
	enum mb_order order;
	enum mb_packing packing;
	enum mb_charset charset;
	uint16_t address, count; /* registers, or 1 bit */
	uint16_t length;         /* bytes of a string */
	uint16_t alone;          /* length of a property that shares its first segment with no other point; 0: it does, or has members */
	uint8_t bit, write_fc;   /* 0: by its shape */
	uint8_t readable, writable, as_text, as_number, trim, isolate, mask_write, modify, read_back, map_number;
	uint8_t has_min, has_max, scaled;
	int8_t decimals;
	struct mb_dec scale, offset, min, max;
	struct mb_mapped *map;
	unsigned map_count;
	uint32_t interval_ms;
	struct mb_report report;
	struct mb_event_rule event;
	uint32_t text_at; /* in a unit's store of texts */
};

/* Converters, made once. */
struct mb_charsets {
	iconv_t from_gbk, to_gbk;
};

unsigned mb_type_registers(enum mb_type t); /* 0: as long as said */
/* "CDAB" for a value of `bytes` bytes (2, 4, 8); -1: not an order of that size. */
int mb_order_of(struct cw_bytes text, unsigned bytes, enum mb_order *ret);
int mb_dec_of_text(struct cw_bytes text, struct mb_dec *ret);
int mb_dec_of_item(const struct cw_item *it, struct mb_dec *ret);
int mb_dec_of_double(double v, int is_float, struct mb_dec *ret);
/* -1, 0, 1 */
int mb_dec_compare(struct mb_dec a, struct mb_dec b);
/* |a - b| >= band, of two numbers; 1 also when that cannot be said. */
int mb_moved(const struct mb_value *a, const struct mb_value *b, struct mb_dec band);
int mb_value_equal(const struct mb_value *a, const struct mb_value *b);
void mb_put_value(struct cw_writer *w, const struct mb_value *v);
/* 1 when the value says what `text` does: true, 21.5, auto. */
int mb_value_is(const struct mb_value *v, struct cw_bytes text);

/* The wire bytes of a point (of a bit in a coil area: one byte, 0 or 1) as a value; MB_V_NONE is bad quality. */
void mb_point_read(const struct mb_charsets *cs, const struct mb_point *p, struct cw_bytes wire, char *text, size_t size, struct mb_value *ret);

enum mb_refused { MB_TAKEN, MB_NOT_TYPE, MB_NOT_RANGE, MB_NOT_WRITABLE };
const char *mb_refused_name(enum mb_refused r);
/*
 * The inverse: the registers of a point that `it` is to be written to, in wire order; of bool and bit points one byte,
 * 0 or 1. wire[MB_STRING_MAX + 6].
 */
enum mb_refused mb_point_write(const struct mb_charsets *cs, const struct mb_point *p, const struct cw_item *it, uint8_t *wire, size_t *ret_len);

#endif
