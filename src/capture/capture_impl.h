/* capture_impl.h - what the files of this module share; nobody else includes it. */
#ifndef CW_CAPTURE_CAPTURE_IMPL_H
#define CW_CAPTURE_CAPTURE_IMPL_H

#include "base/map.h"
#include "capture/capture.h"

#define CONNS_MOST 65536u
#define EVENTS_MOST (8u << 20)
/* Of TCP: bytes that wait for a segment before them; in one direction and in all. */
#define WAIT_MOST (1u << 20)
#define WAIT_MOST_ALL (64u << 20)

/* All return 0, CW_ENOMEM or CW_ELIMIT. */
int capture_conn(struct cw_capture *c, const char *name, uint32_t *ret_conn);
int capture_event(struct cw_capture *c, uint32_t conn, int kind, int64_t time_ms, struct cw_bytes bytes);
int capture_gap(struct cw_capture *c, uint32_t conn, int down, int64_t time_ms, uint64_t len);

/* A TCP segment or datagram, taken out of its packet. */
struct segment {
	int64_t time_ms;
	uint8_t from[16], to[16];
	uint16_t from_port, to_port;
	uint8_t v6, udp, flags;
	uint32_t seq, ack;
	struct cw_bytes data;
	uint64_t cut; /* bytes of data that the capture cut off */
};

#define TCP_FIN 1u
#define TCP_SYN 2u
#define TCP_RST 4u
#define TCP_ACK 16u

/* streams.c: connections out of segments. */
struct streams;
int streams_new(struct cw_capture *c, const struct cw_capture_how *how, struct streams **ret_streams);
int streams_take(struct streams *s, const struct segment *seg);
/* What still waits is told, with its gaps. */
int streams_end(struct streams *s);
void streams_free(struct streams *s);

/* pcap.c: both packet formats. 0, or CW_EPROTO when the file is neither. */
int pcap_read(struct cw_capture *c, struct cw_bytes file, const struct cw_capture_how *how, struct cw_msg *msg);
/* lines.c */
int lines_read(struct cw_capture *c, struct cw_bytes file, const struct cw_capture_how *how, struct cw_msg *msg);
int recording_read(struct cw_capture *c, struct cw_bytes file, struct cw_msg *msg);

#endif
