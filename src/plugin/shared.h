/*
 * shared.h - the memory that causewayd and one plugin host share: a memfd sealed against growing and shrinking.
 * In front what the host is to be, then what it is doing now, then the two rings.
 */
#ifndef CW_PLUGIN_SHARED_H
#define CW_PLUGIN_SHARED_H

#include "plugin/isolate.h"
#include "plugin/ring.h"

#define CW_SHARED_RING (1u << 20) /* bytes of each ring */

/* Written before the host starts, read by it once. */
struct cw_host_setup {
	char plugin[1024]; /* path of the shared object */
	unsigned worker;
	int parent;        /* its pid as the host sees it */
	int log_level;
	enum cw_sandbox sandbox;
	uint64_t memory;
};

/*
 * The entry under way, noted before the decoder is called, so that it is known after a crash. The frame itself is not in here:
 * causewayd has the bytes it fed, and `pos` and `len` say which. Checked like all that a host says.
 */
struct cw_at_hand {
	_Atomic(uint64_t) seq; /* odd: inside an entry */
	_Atomic(uint64_t) conn, kind, pos, len, id;
};

struct cw_shared {
	struct cw_host_setup setup;
	_Alignas(64) struct cw_at_hand at_hand;
	struct cw_ring_shared down, up;
	_Alignas(64) uint8_t down_data[CW_SHARED_RING];
	uint8_t up_data[CW_SHARED_RING];
};

/* Descriptors of a host, from CW_HOST_FIRST_FD on: the memory, the bell that wakes it, the one that wakes causewayd, and the end of
 * a pipe whose other end tells causewayd when this process is gone. */
enum { CW_HOST_FD_MEMORY, CW_HOST_FD_BELL, CW_HOST_FD_PARENT_BELL, CW_HOST_FD_ALIVE, CW_HOST_FDS };

#endif
