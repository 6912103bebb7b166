/*
 * parcel.h - one record on its way from a device's worker to an upstream and back.
 *
 * Made by gateway/ingest on the home worker with the record's bytes behind it, owned
 * by the lane from cw_upstream_submit() on, and given back to the home worker by mail:
 * `settled` runs there exactly once, with `result` (CW_SETTLED_* of decoder.h) and
 * `code`, and takes the parcel's last care of the ticket. Settling allocates nothing.
 *
 * A parcel may be told twice: as CW_SETTLED_PENDING after ackTimeout while the lane
 * still keeps and later delivers it. So it has a reference count: one for the lane,
 * one for the answer to the home worker. Whoever drops the last one frees it. Who can wait for the end
 * sets `final_only` and is told once.
 */
#ifndef CW_UPSTREAM_PARCEL_H
#define CW_UPSTREAM_PARCEL_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "causeway/bytes.h"
#include "loop/worker.h"

struct cw_updevice;
struct cw_lane_dup;

struct cw_parcel {
	struct cw_mail mail;   /* to the lane */
	struct cw_mail answer; /* back home */
	struct cw_list link;   /* the lane's queues */
	atomic_int refs;
	struct cw_worker *home;
	struct cw_updevice *device;
	void (*settled)(struct cw_parcel *p); /* on home; must end with cw_parcel_unref(p) */
	uint64_t session;                     /* the gateway's: session id with generation */
	void *ticket;                         /* the gateway's */
	int64_t arrival_ms;                   /* UTC */
	uint64_t offered_ms;                  /* loop time at the lane */
	int32_t code;                         /* the platform's code when refused */
	uint8_t result;                       /* CW_SETTLED_* */
	uint8_t urgent;
	uint8_t answered;    /* the lane has posted `answer` */
	uint8_t final_only;  /* the answer is the end: CW_SETTLED_PENDING is not told */
	uint8_t want_answer; /* 0: the device was answered on arrival, nobody waits: `settled` is never called */
	/* The lane's and the connector's own, from submit on. */
	uint8_t qos;
	uint8_t sent; /* handed to the connector, not yet confirmed */
	uint64_t sent_ms;
	struct cw_list wait;     /* parcels whose device still waits for an answer, oldest first */
	struct cw_list flight;   /* parcels at the connector, oldest first */
	struct cw_list joined;   /* copies of one message that came while it was not settled */
	struct cw_lane_dup *dup; /* the entry of its duplicate key */
	void *send;              /* the connector's note about this attempt */
	uint32_t number;         /* the connector's: the id of its message, the same in every attempt; 0: none yet */
	uint32_t len;
	uint8_t bytes[]; /* an encoded record, checked */
};

/*
 * The lane counts the outcome (bridge.records_delivered, _refused, _pending, _lost, _duplicate) and logs
 * refusals (record.refused), because parcels nobody waits for end there.
 */

/* A parcel with room for `len` bytes and one reference, or NULL; all else is zero. */
struct cw_parcel *cw_parcel_new(size_t len);
void cw_parcel_unref(struct cw_parcel *p);

#endif
