/*
 * sim.h - `causeway simulate PROTOCOL`: many devices of one protocol against a gateway.
 *
 * A simulator runs its own loop until the time is over or the user interrupts,
 * prints one line for each important thing and a summary, and returns the exit
 * status: 0, or 1 when an expected answer stayed out.
 */
#ifndef CW_CLI_SIM_SIM_H
#define CW_CLI_SIM_SIM_H

#include <netinet/in.h>
#include <stdint.h>

struct cw_sim_options {
	struct sockaddr_storage to;
	const char *to_text;     /* --connect; NULL: not given, for protocols that can do without */
	unsigned devices;
	double rate;             /* messages a second in all */
	char **identities;       /* `devices` texts */
	uint64_t for_ms;         /* 0: until interrupted */
	int quiet;               /* summary only */
};

int cw_sim_hj212(const struct cw_sim_options *o); /* hj212.c */
int cw_sim_gb26875(const struct cw_sim_options *o); /* gb26875.c */
int cw_sim_jt808(const struct cw_sim_options *o); /* jt808.c */

int cw_sim_modbus(const struct cw_sim_options *o); /* modbus.c */
/* An option of its own: 1: taken, 0: not known, -1: the value is wrong. `v` is lent for good. */
int cw_sim_modbus_option(const char *key, const char *v);
extern const char cw_sim_modbus_help[];

/* HOST:PORT or [V6]:PORT of an option. 0, or 2 when it said what is wrong. cmd_simulate.c */
int cw_sim_resolve(const char *option, const char *text, struct sockaddr_storage *ret);

#endif
