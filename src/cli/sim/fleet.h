/*
 * fleet.h - devices that dial in, on one loop: what the simulators of such protocols share.
 *
 *   idle -> dialling -> connected -> done -> idle (and dialled again after a while)
 *
 * One tick spends the message rate over the devices that are connected and looks for answers that are overdue. When the time
 * is over, or at the first interrupt, nothing new is sent and the answers still under way are waited for; a second interrupt
 * ends at once. The protocol has a struct of its own around each of the two below: what a device knows and what the summary
 * says is its business.
 */
#ifndef CW_CLI_SIM_FLEET_H
#define CW_CLI_SIM_FLEET_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "cli/sim/sim.h"

#define CW_SIM_ANSWER_MS 20000 /* a gateway that waits for its platform denies after 8 s; later than this is silence */
#define CW_SIM_LINES 8         /* kinds of lines */
#define CW_SIM_LINE_CUT 0      /* a kind: the others are the protocol's, from 1 */

/* Lines of one kind become numbers only after a while. */
struct cw_sim_lines {
	int quiet;
	unsigned n[CW_SIM_LINES];
};

struct cw_sim_fleet;

enum cw_sim_link { CW_SIM_IDLE, CW_SIM_DIALLING, CW_SIM_CONNECTED, CW_SIM_DONE };

struct cw_sim_peer {
	struct cw_sim_fleet *fleet;
	unsigned index;         /* of its identity */
	enum cw_sim_link link;  /* made DONE by a protocol: takes no part */
	/* fleet.c's own */
	uv_tcp_t tcp;
	uv_connect_t dial;
	uint64_t due_ms;        /* dial again */
	int handle_open;
};

struct cw_sim_protocol {
	size_t size; /* of a device's struct, which begins with its struct cw_sim_peer */
	int (*make)(struct cw_sim_peer *p);                    /* from its identity; -1: it has said why not */
	void (*connected)(struct cw_sim_peer *p);
	void (*take)(struct cw_sim_peer *p, const uint8_t *bytes, size_t n);
	void (*lost)(struct cw_sim_peer *p);                   /* the connection is given up: forget what was under way */
	int (*send)(struct cw_sim_peer *p);                    /* the next message of the mix; 0: it has enough under way */
	void (*overdue)(struct cw_sim_peer *p, uint64_t now);  /* count and drop what waits since before now - CW_SIM_ANSWER_MS */
	unsigned (*pending)(struct cw_sim_peer *p);            /* answers it waits for */
	void (*progress)(struct cw_sim_fleet *f);              /* a line, every five seconds */
};

struct cw_sim_fleet {
	const struct cw_sim_options *o;
	const struct cw_sim_protocol *protocol;
	struct cw_sim_lines lines;
	uint64_t silent, cuts; /* answers that stayed out; connections that the gateway ended */
	/* fleet.c's own */
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t interrupt, terminate;
	uint8_t *peers;
	unsigned next_dial, next_sender;
	double credit;
	uint64_t end_ms, drain_ms, line_ms;
	int ending, closing;
	char chunk[65536];
};

/* Makes the devices and runs until the end. `f` is zeroed but for the protocol's part. 0, or -1 when they could not be made. */
int cw_sim_fleet_run(struct cw_sim_fleet *f, const struct cw_sim_options *o, const struct cw_sim_protocol *protocol);
uint64_t cw_sim_now(struct cw_sim_peer *p);
/* How many of them satisfy it. */
unsigned cw_sim_count(struct cw_sim_fleet *f, int (*is)(struct cw_sim_peer *p));

void cw_sim_push(struct cw_sim_peer *p, const void *bytes, size_t n);
/* why: counted as a cut and said; NULL: not. The peer is DONE until it is dialled again. */
void cw_sim_hang_up(struct cw_sim_peer *p, const char *why);
void cw_sim_say(struct cw_sim_peer *p, unsigned kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The two for simulators that have connections of another sort. */
void cw_sim_write(uv_stream_t *to, const void *bytes, size_t n);
void cw_sim_line(struct cw_sim_lines *lines, unsigned kind, const char *who, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
