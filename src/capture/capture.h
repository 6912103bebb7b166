/*
 * capture.h - what was on a wire, read from a file: connections and what happened on them, in order of time.
 *
 * Read are: lines of hex; pcap and pcapng of TCP and UDP, over Ethernet (VLAN tags too), Linux cooked v1 and v2,
 * loopback and raw IP; and the gateway's own recording (`causeway trace --record`, conf/DEVICES.md). TCP is put together
 * again: segments out of order, sent twice or overlapping; what the capture lacks is a gap with its length.
 * Everything is bounded: the file, the connections, what waits for a segment that is missing.
 *
 * Lines of hex: white space, 0x and , : ; - between bytes are passed over, # begins a comment. Before the bytes may
 * stand, in any order: `>` from the device (as without) or `<` to it; `@NAME` the connection; a time, as UTC
 * (2026-11-21T08:00:00.123Z) or `+MS` milliseconds after the line before (without: 100, to the device 0).
 * `close` in the place of bytes ends the connection.
 */
#ifndef CW_CAPTURE_CAPTURE_H
#define CW_CAPTURE_CAPTURE_H

#include "base/err.h"
#include "causeway/bytes.h"

#define CW_CAPTURE_FILE_MOST (256u << 20)

/* Kinds of events. */
enum {
	CW_SEEN_OPEN,
	CW_SEEN_UP,   /* bytes from the device; one datagram where the connection is one of datagrams */
	CW_SEEN_DOWN, /* bytes to the device */
	CW_SEEN_GAP,  /* `len` bytes (0: unknown) from the device, or (`down`) to it, are not in the capture */
	CW_SEEN_NOTE, /* `bytes` is text for the reader: what no replay can repeat */
	CW_SEEN_CLOSE,
};

struct cw_seen {
	int64_t time_ms; /* UTC */
	size_t at;       /* bytes: place in cw_capture.bytes */
	uint64_t len;
	uint32_t conn;   /* index */
	uint8_t kind;    /* CW_SEEN_* */
	uint8_t down;
};

struct cw_seen_conn {
	char name[104];  /* the device's address and port, or the name in the file */
	char listener[64]; /* of a recording, else empty */
	uint8_t datagram, dialled, serial;
	uint8_t begun;   /* its beginning is in the capture */
};

struct cw_capture {
	const char *format; /* for people */
	struct cw_seen *events;
	size_t count, size;
	struct cw_seen_conn *conns;
	size_t conn_count, conn_size;
	uint8_t *bytes;
	size_t len, bytes_size;
	/* Of packets: all, and those left out, by reason. */
	uint64_t packets, other, fragments, filtered, damaged, retransmitted;
};

struct cw_capture_how {
	uint16_t port;        /* the gateway's port; 0: every connection; the device is who opened it, of datagrams who spoke
	                       * first, of TCP without its beginning who has the higher port */
	uint16_t device_port; /* the device listens there, the gateway dials; 0: no */
	int udp;              /* datagrams too; without, they are left out */
	int64_t start_ms;     /* the first line of a file without times */
};

/* Take a whole file apart. CW_EPROTO: it is none of the formats; CW_ELIMIT, CW_ENOMEM; errors carry a sentence. */
int cw_capture_read(struct cw_bytes file, const struct cw_capture_how *how, struct cw_capture **ret_capture, struct cw_msg *msg);
void cw_capture_free(struct cw_capture *c);

/* The bytes of an event; empty where it has none. */
static inline struct cw_bytes cw_seen_bytes(const struct cw_capture *c, const struct cw_seen *e)
{
	int has = e->len > 0 && (e->kind == CW_SEEN_UP || e->kind == CW_SEEN_DOWN || e->kind == CW_SEEN_NOTE);

	return has ? cw_bytes_of(c->bytes + e->at, (size_t)e->len) : cw_bytes_of(NULL, 0);
}

/* A line of hex, as decode tools take it, into out[len / 2]; how many bytes, or -1: it is none. */
long cw_capture_hex(const char *line, size_t len, uint8_t *out);

#endif
