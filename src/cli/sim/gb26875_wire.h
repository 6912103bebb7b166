/*
 * gb26875_wire.h - GB/T 26875.3 as a user-information transmission device (UTD) writes and reads it, for the simulator.
 *
 * Written from the frame and object tables alone and sharing nothing with the decoder plugin, so that one misreading cannot
 * hide in both. No memory, no state.
 */
#ifndef CW_CLI_SIM_GB26875_WIRE_H
#define CW_CLI_SIM_GB26875_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define CW_GBSIM_UNIT_MAX 1024
#define CW_GBSIM_WIRE_MAX 1054

/* An application data unit being written. What does not fit is a bug of the simulator and aborts. */
struct cw_gbsim_unit {
	uint8_t b[CW_GBSIM_UNIT_MAX];
	size_t n;
};

void cw_gbsim_u8(struct cw_gbsim_unit *u, unsigned v);
void cw_gbsim_u16(struct cw_gbsim_unit *u, unsigned v);
void cw_gbsim_u32(struct cw_gbsim_unit *u, uint32_t v);
/* Text in a field of fixed width, zeros behind; `text` is in the device's character set. */
void cw_gbsim_fixed(struct cw_gbsim_unit *u, const char *text, size_t width);
void cw_gbsim_time(struct cw_gbsim_unit *u, int64_t utc_ms); /* UTC+8, six bytes, seconds first */
/* Type and number of objects; the objects follow. */
void cw_gbsim_begin(struct cw_gbsim_unit *u, unsigned type, unsigned count);
void cw_gbsim_system(struct cw_gbsim_unit *u, unsigned type, unsigned address);
/* With the component's type, as uploads have it. */
void cw_gbsim_component(struct cw_gbsim_unit *u, unsigned system, unsigned address, unsigned type, uint32_t component);

/* A frame taken apart or to be made. */
struct cw_gbsim_frame {
	unsigned serial, version_main, version_user, command;
	uint8_t time[6], source[6], destination[6];
	const uint8_t *unit;
	size_t unit_len;
};

/* Up to 12 hex digits, zeros in front, to an address in wire order. 0 or -1. */
int cw_gbsim_address(uint8_t to[6], const char *digits);
/* One frame into out[CW_GBSIM_WIRE_MAX]. Returns its length. */
size_t cw_gbsim_make(const struct cw_gbsim_frame *f, uint8_t *out);
/* What begins at in: its length; 0: more bytes are needed; -1: no frame. `f` points into `in`. */
int cw_gbsim_take(const uint8_t *in, size_t n, struct cw_gbsim_frame *f);

#endif
