/*
 * wire.h - the messages between causewayd and a plugin host: what they are, and how they travel in a ring.
 *
 * Flat: a fixed head with five numbers, then up to six byte strings. Connections and devices
 * are named by the handles of the side in causewayd. Both sides are the same program, so
 * the numbers have the machine's own form; sizes are checked all the same, for a decoder may
 * have written anything into the memory of its process.
 */
#ifndef CW_PLUGIN_WIRE_H
#define CW_PLUGIN_WIRE_H

#include "causeway/bytes.h"
#include "plugin/ring.h"

#define CW_WIRE_PARTS 6
/* Longest message; frames are at most 16 MiB (load.c). */
#define CW_WIRE_MOST (20u * 1024u * 1024u)

/* a, b, c and the parts of each are said where it is handled: hosted.c for those down, remote.c for those up. */
enum cw_wire_kind {
	/* down */
	CW_DOWN_CONF = 1, CW_DOWN_CONF_FREE, CW_DOWN_OPEN, CW_DOWN_FEED, CW_DOWN_HOLD, CW_DOWN_RESUME, CW_DOWN_ARRIVAL,
	CW_DOWN_IDENTIFIED, CW_DOWN_REFUSED, CW_DOWN_MEMBERS, CW_DOWN_STATE, CW_DOWN_SETTLED, CW_DOWN_COMMAND, CW_DOWN_CANCEL,
	CW_DOWN_REPLY, CW_DOWN_BLOCK, CW_DOWN_BROADCAST, CW_DOWN_DETACHED, CW_DOWN_CLOSE, CW_DOWN_REHEARSE,
	CW_DOWN_END,
	/* up */
	CW_UP_READY = 64, CW_UP_FAILED, CW_UP_LOG, CW_UP_STAT, CW_UP_COUNT, CW_UP_SEND, CW_UP_EMIT, CW_UP_IDENTIFY, CW_UP_DETACH,
	CW_UP_DONE, CW_UP_COMMAND_REFUSED, CW_UP_EXTEND, CW_UP_SAVE, CW_UP_WANT_BLOCK, CW_UP_ATTACH_OPEN, CW_UP_ATTACH_WRITE,
	CW_UP_ATTACH_CLOSE, CW_UP_LINE, CW_UP_FOREIGN, CW_UP_FRAME, CW_UP_NOISE, CW_UP_CLOSE, CW_UP_CALLED, CW_UP_CONSUMED,
	CW_UP_CLOSED, CW_UP_LINGER, CW_UP_END
};

struct cw_wire {
	uint64_t conn, dev, a, b, c;
	uint16_t kind, parts;
	struct cw_bytes part[CW_WIRE_PARTS];
};

/* Messages on their way into a ring; what finds no room waits in `wait`. */
struct cw_outlet {
	struct cw_ring ring;
	uint8_t *wait;
	size_t wait_at, wait_len, wait_size;
	int failed; /* CW_E*: out of memory, or the reader's index is none */
};

void cw_outlet_put(struct cw_outlet *o, const struct cw_wire *m);
/* Move what waits into the ring. 1 when nothing waits any more. */
int cw_outlet_flush(struct cw_outlet *o);
void cw_outlet_fini(struct cw_outlet *o);

/* Messages out of a ring, copied before they are looked at. */
struct cw_intake {
	struct cw_ring ring;
	uint8_t *buf;
	size_t at, len, size;
};

/* The next message, its parts lent until the next call. 1; 0: none; CW_EPROTO: not a message; CW_ENOMEM. *ret_wake as for cw_ring_read(). */
int cw_intake_next(struct cw_intake *in, struct cw_wire *ret, int *ret_wake);
void cw_intake_fini(struct cw_intake *in);

#endif
