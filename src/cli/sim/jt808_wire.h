/*
 * jt808_wire.h - JT/T 808 as a terminal writes and reads it, for the simulator.
 *
 * Written from the message tables alone and sharing nothing with the decoder
 * plugin, so that one misreading cannot hide in both. No memory, no state.
 */
#ifndef CW_CLI_SIM_JT808_WIRE_H
#define CW_CLI_SIM_JT808_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define CW_SIM_BODY_MAX 1023
#define CW_SIM_WIRE_MAX 2100

/* A body being written. What does not fit is a bug of the simulator and aborts. */
struct cw_sim_body {
	uint8_t b[CW_SIM_BODY_MAX];
	size_t n;
};

void cw_sim_u8(struct cw_sim_body *o, unsigned v);
void cw_sim_u16(struct cw_sim_body *o, unsigned v);
void cw_sim_u32(struct cw_sim_body *o, uint32_t v);
void cw_sim_raw(struct cw_sim_body *o, const void *bytes, size_t n);
/* Text in a field of fixed width, zeros behind. */
void cw_sim_fixed(struct cw_sim_body *o, const char *text, size_t width);
void cw_sim_bcd_time(struct cw_sim_body *o, int64_t utc_ms); /* UTC+8, six bytes */

struct cw_sim_number {
	uint8_t bytes[10];
	int wide; /* 2019: ten bytes, version byte, bit 14 */
};

/* Digits to a number field, zeros in front. 0, or -1 when it is no decimal number or too long. */
int cw_sim_number_set(struct cw_sim_number *to, const char *digits, int wide);

/* One frame into out[CW_SIM_WIRE_MAX]; total 0: not cut. Returns its length. */
size_t cw_sim_frame(const struct cw_sim_number *who, unsigned id, unsigned serial, unsigned total, unsigned index,
                    const uint8_t *body, size_t n, uint8_t *out);

struct cw_sim_frame {
	unsigned id, serial, total, index;
	const uint8_t *body;
	size_t n;
};

/* Take the bytes between two delimiters apart (unescaped in place). 0, or -1 when it is no right frame for this terminal. */
int cw_sim_parse(const struct cw_sim_number *who, uint8_t *bytes, size_t n, struct cw_sim_frame *ret);

/* Bodies. */
void cw_sim_register(struct cw_sim_body *o, int wide, unsigned province, unsigned city, const char *maker, const char *model,
                     const char *terminal, unsigned color, const char *plate_gbk);
void cw_sim_auth(struct cw_sim_body *o, int wide, const char *code, const char *imei, const char *version);

struct cw_sim_place {
	uint32_t alarm, status;
	double latitude, longitude; /* degrees */
	unsigned altitude, speed, direction; /* speed in 0.1 km/h */
	int64_t utc_ms;
	uint32_t mileage; /* 0.1 km */
	unsigned fuel;    /* 0.1 l */
};
/* The base block, with items 0x01, 0x02, 0x30 and 0x31 when `items`. */
void cw_sim_location(struct cw_sim_body *o, const struct cw_sim_place *p, int items);
/* 0x0107, 0x0702 (status 1, read well) and 0x0A00, with made-up content. */
void cw_sim_attributes(struct cw_sim_body *o, int wide);
void cw_sim_driver(struct cw_sim_body *o, int wide, int64_t utc_ms);
void cw_sim_key(struct cw_sim_body *o);

#endif
