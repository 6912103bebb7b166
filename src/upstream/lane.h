/*
 * lane.h - the queues in front of one upstream: bounded, in order per device and
 * class, paced, with a window of unconfirmed messages.
 *
 * A parcel's way: accept -> queue of its device -> (device online, rates allow,
 * window has room) -> the connector's send() -> cw_lane_settle(). When a device or
 * the connection goes, what was sent and not confirmed goes back to the front of its
 * queue, in order, and out again after the next login: at least once, never out of
 * order. A message that stays unconfirmed too long on a connection that works is
 * sent again the same way, with all of its device behind it.
 *
 * The answer to the device is another matter: after ackTimeout it is `pending`, the
 * parcel stays. Copies of one message (same duplicate key of one device) join the
 * first while it is not settled and are dropped for a while afterwards.
 *
 * All on the upstream's loop.
 */
#ifndef CW_UPSTREAM_LANE_H
#define CW_UPSTREAM_LANE_H

#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "loop/worker.h"
#include "upstream/pace.h"
#include "upstream/parcel.h"
#include "upstream/upstream.h"

#define CW_LANE_DUPS_MOST 65536u /* settled keys remembered by one lane; the oldest go first */
#define CW_LANE_RESEND_TIMES 4u  /* unconfirmed for so many ackTimeouts: sent again */

/* One device's part; a member of struct cw_updevice. */
struct cw_lane_device {
	struct cw_list queue[2];       /* 0 urgent, 1 normal */
	struct cw_list sent;           /* at the connector, in the order they went */
	struct cw_list ready;          /* in one of the lane's, when it may send */
	struct cw_timer pause;         /* until its rate allows another one */
	struct cw_pace_window rate[2]; /* QoS 0 and 1; their times are made with the first message of that QoS */
	struct cw_map dups;
	size_t records; /* queued and sent */
	unsigned out;   /* of them, sent */
	int online;
};

struct cw_lane_ops {
	/* 0: taken, ends with cw_lane_settle() unless recalled; CW_EBUSY or CW_ENOMEM: later; anything else: refused
	 * for good. */
	int (*send)(void *ctx, struct cw_updevice *d, struct cw_parcel *p);
	/* Forget about a parcel that was sent: no cw_lane_settle() for it. */
	void (*recall)(void *ctx, struct cw_parcel *p);
	/* Nothing is left of this device. Called once each time that happens. */
	void (*drained)(void *ctx, struct cw_updevice *d);
	/* Bytes of a parcel are free again. */
	void (*released)(void *ctx, struct cw_updevice *d, size_t bytes);
};

struct cw_lane {
	const struct cw_upstream_conf *conf;
	struct cw_worker *w;
	const struct cw_lane_ops *ops;
	void *ctx;
	struct cw_list ready[2]; /* devices that may send */
	struct cw_list flight;   /* parcels at the connector, oldest first */
	struct cw_list wait;     /* parcels whose device has no answer yet, oldest first */
	struct cw_list dups;     /* settled keys, oldest first */
	size_t dup_count;
	struct cw_pace_rate rate;
	struct cw_timer pause, wait_timer, flight_timer;
	uint64_t records; /* queued and sent, joined ones not counted */
	unsigned in_flight;
	int pumping;
	int busy; /* `pause` runs because the connector had no room */
};

/* `conf` and `w` must outlive the lane. */
void cw_lane_init(struct cw_lane *lane, const struct cw_upstream_conf *conf, struct cw_worker *w,
		  const struct cw_lane_ops *ops, void *ctx);
/* After every device was dropped; also on a thread that is not the loop's, once that has ended. */
void cw_lane_fini(struct cw_lane *lane);
void cw_lane_device_init(struct cw_lane *lane, struct cw_lane_device *ld);
/* After cw_lane_device_drop(), or when nothing ever came. */
void cw_lane_device_fini(struct cw_lane_device *ld);
/* What a parcel costs of the queues' bytes. */
size_t cw_lane_cost(const struct cw_parcel *p);

/* Take a parcel over, with its one reference. */
void cw_lane_accept(struct cw_lane *lane, struct cw_parcel *p);
/* A parcel that was sent is through (CW_SETTLED_DONE) or refused (with the platform's code). */
void cw_lane_settle(struct cw_lane *lane, struct cw_parcel *p, uint8_t result, int32_t code, const char *text);
/* The platform does not have it, but may later: back to the queue with everything of its device. */
void cw_lane_again(struct cw_lane *lane, struct cw_parcel *p);
/* The same, with the time until then. */
void cw_lane_later(struct cw_lane *lane, struct cw_parcel *p, uint64_t ms);
/* The device may send, or no longer: what is unconfirmed then goes back to its queue. */
void cw_lane_device_online(struct cw_lane *lane, struct cw_updevice *d, int online);
/* Settle all of a device as lost and forget its keys. */
void cw_lane_device_drop(struct cw_lane *lane, struct cw_updevice *d);
/* The connector can take more again. */
void cw_lane_pump(struct cw_lane *lane);
/* Without a lane: tell the home worker that a parcel is lost. From its home, or from the upstream's loop. */
void cw_lane_lost(struct cw_parcel *p);

#endif
