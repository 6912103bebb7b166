/*
 * hj212_wire.h - HJ 212 as a data logger writes and reads it, for the simulator.
 *
 * Written from the message tables alone and sharing nothing with the decoder plugin, so that one misreading cannot hide
 * in both. No memory, no state.
 */
#ifndef CW_CLI_SIM_HJ212_WIRE_H
#define CW_CLI_SIM_HJ212_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define CW_SIM_HJ_WIRE 1100 /* the longest frame: 1024 bytes of segment and 12 around it */
#define CW_SIM_HJ_CP 951

/* A message; texts are empty where the field is not there. */
struct cw_sim_hj {
	char qn[18], st[3], cn[5], pw[16], mn[40], flag[4], pnum[5], pno[4];
	char cp[CW_SIM_HJ_CP]; /* with its && */
};

uint16_t cw_sim_hj_crc(const char *p, size_t n);
/* The frame of a message, terminated by NUL; its length. What does not fit is a bug of the simulator and aborts. */
size_t cw_sim_hj_frame(const struct cw_sim_hj *m, char out[CW_SIM_HJ_WIRE]);
/* The first frame in `in`: its length, 0: not whole yet, -1: these bytes are none. */
long cw_sim_hj_parse(const char *in, size_t n, struct cw_sim_hj *ret);
/* A value in the data area, up to the next separator; 0 when it is not there. */
int cw_sim_hj_value(const struct cw_sim_hj *m, const char *name, char *out, size_t size);
/* YYYYMMDDhhmmss in UTC+8, with milliseconds behind when asked. */
void cw_sim_hj_time(int64_t utc_ms, int millis, char out[18]);

#endif
