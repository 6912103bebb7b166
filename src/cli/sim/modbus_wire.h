/*
 * modbus_wire.h - Modbus as a device speaks it, for the simulator: units with registers, and the three framings.
 *
 * Written from the tables of the standard alone and sharing nothing with the decoder plugin, so that one misreading
 * cannot hide in both. No socket, no clock.
 *
 * What a unit's registers hold, input and holding alike, until they are written (addresses from 0):
 *
 *      0 ..  99   one register each: 2200, swinging by 100 within a minute
 *    100 .. 199   float32 in pairs from even addresses, high word first: 25, swinging by 5
 *    200 .. 299   uint32 in the same pairs: counts up, the n-th pair by n + 1 a second
 *    300 ..       their own address
 *
 * Coils and discrete inputs turn over every 10 to 59 seconds.
 */
#ifndef CW_CLI_SIM_MODBUS_WIRE_H
#define CW_CLI_SIM_MODBUS_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define CW_SIM_PDU_MAX 253u
#define CW_SIM_ADU_MAX 520u /* ASCII: 513 */
#define CW_SIM_FAULTS 8

enum cw_sim_framing { CW_SIM_TCP, CW_SIM_RTU, CW_SIM_ASCII };

/* Addresses, of all areas, that are answered with an exception. */
struct cw_sim_fault {
	unsigned from, to, code;
};

struct cw_sim_word {
	uint8_t bit; /* a coil, else a holding register */
	uint16_t address, value;
};

struct cw_sim_unit {
	uint8_t id;
	const char *about[3]; /* vendor, product, revision; NULL: has none */
	const struct cw_sim_fault *faults;
	size_t fault_count;
	struct cw_sim_word *written; /* owned */
	size_t written_count, written_room;
};

void cw_sim_unit_fini(struct cw_sim_unit *u);
/* Written from outside; 0, or -1 when memory is short. */
int cw_sim_unit_set(struct cw_sim_unit *u, int bit, unsigned address, unsigned value);
/* What a unit answers to a request, at `seconds` since some start, into out[CW_SIM_PDU_MAX]. Returns its length. */
size_t cw_sim_unit_answer(struct cw_sim_unit *u, double seconds, const uint8_t *pdu, size_t n, uint8_t *out);

struct cw_sim_request {
	unsigned transaction; /* TCP */
	uint8_t unit;
	uint8_t pdu[CW_SIM_PDU_MAX];
	size_t n;
};

/* The request at the front. Its length; 0: not whole yet; -1: the front byte belongs to none. */
int cw_sim_request_cut(enum cw_sim_framing framing, const uint8_t *in, size_t n, struct cw_sim_request *ret);
/* One frame into out[CW_SIM_ADU_MAX]; returns its length. */
size_t cw_sim_modbus_frame(enum cw_sim_framing framing, unsigned transaction, uint8_t unit, const uint8_t *pdu, size_t n, uint8_t *out);

#endif
