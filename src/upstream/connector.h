/*
 * connector.h - the operations every kind of upstream implements, and what it may
 * call back. Everything runs on the upstream's loop, except where noted.
 */
#ifndef CW_UPSTREAM_CONNECTOR_H
#define CW_UPSTREAM_CONNECTOR_H

#include "base/err.h"
#include "conf/schema.h"
#include "upstream/endpoint.h"
#include "upstream/upstream.h"

struct cw_upstream;

/* What a kind can, beyond what all can: `can` of its operations. */
enum cw_connector_can {
	CW_CAN_DOWNLINK = 1 << 0,   /* take commands to its devices; without it they are refused with that reason */
	CW_CAN_TLS13 = 1 << 1,      /* be told to refuse TLS 1.2; create() may still know better */
	CW_CAN_LARGE = 1 << 2,      /* be a large bridge */
	CW_CAN_TOKEN = 1 << 3,      /* log in with the client id and device token that regnwl gave */
	CW_CAN_CERTIFICATE = 1 << 4 /* log in with a client certificate alone: the platform tells the names */
};

struct cw_connector_ops {
	const char *type;                        /* in the configuration */
	const struct cw_endpoint_form *endpoint; /* what its endpoints look like */
	size_t device_size;                      /* of its part of a device, zeroed, at d->peer */
	int without_bridge; /* 1: devices log in for themselves, the gateway has no certificate of its own here */
	unsigned can;       /* enum cw_connector_can */
	/*
	 * Its rows beside those that all upstreams share are in cw_upstream_<type>_table (kinds.h); `type` decides which
	 * table is bound. Copy from conf->own (never NULL here) what the core needs, and make the endpoint from the region
	 * where it is NULL: into text[size], which lives long enough. Any thread; no side effect. Errors carry a sentence.
	 */
	int (*configure)(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg);
	/* On the control loop, before the thread runs: check the settings. Errors carry a sentence. */
	int (*create)(struct cw_upstream *u, void **ret_connector, struct cw_msg *msg);
	/* On the control loop, after the thread has ended. */
	void (*destroy)(void *c);
	/* Connect and keep trying. */
	void (*start)(void *c);
	/* Log out and disconnect; ends with cw_upstream_stopped(), later or at once. */
	void (*stop)(void *c);
	/* d->wanted or d->removing changed. A removed device ends with cw_updevice_gone(). */
	void (*device_changed)(void *c, struct cw_updevice *d);
	/* See struct cw_lane_ops. */
	int (*send)(void *c, struct cw_updevice *d, struct cw_parcel *p);
	void (*recall)(void *c, struct cw_parcel *p);
	void (*drained)(void *c, struct cw_updevice *d);
	/* The answer to a command; does not own it. */
	void (*answer)(void *c, struct cw_downlink *d);
	/* The command with this number (cw_downlink_want_ack()) was taken over: acknowledge it. May be NULL. */
	void (*taken)(void *c, uint64_t number);
	/* See cw_upstream_enroll(); ends with cw_upstream_enrolled(). NULL: cannot. */
	void (*enroll)(void *c, struct cw_enroll *e);
};

/* The connection is logged in, or lost with a sentence why. Lost: all devices are offline with it. */
void cw_upstream_report(struct cw_upstream *u, int up, const char *reason);
/* Kept for status: what went wrong last. */
void cw_upstream_note_error(struct cw_upstream *u, const char *text);
/* How far the platform's clock is ahead of ours, for status. */
void cw_upstream_note_clock(struct cw_upstream *u, int64_t offset_ms);
/* The platform holds this remote configuration for the bridge. */
void cw_upstream_note_config(struct cw_upstream *u, const struct cw_upstream_offer *offer);
/* A device's login state changed: opens or closes its lane and tells the bridge. */
void cw_updevice_report(struct cw_updevice *d, enum cw_updevice_state state, int code, const char *text);
/* Nothing of the connector points to the device any more. */
void cw_updevice_gone(struct cw_updevice *d);
/* By names; NULL when unknown here. */
struct cw_updevice *cw_upstream_find(struct cw_upstream *u, struct cw_bytes product_key, struct cw_bytes device_name);
/* A new command with room for `len` bytes of record, or NULL. */
struct cw_downlink *cw_downlink_new(struct cw_upstream *u, size_t len);
/* taken() shall be called with this number. 0 or CW_ENOMEM. Before cw_upstream_command(). */
int cw_downlink_want_ack(struct cw_downlink *d, uint64_t number);
/* e->rc and the rest of the answer are filled in: hand it back. */
void cw_upstream_enrolled(struct cw_enroll *e);
/* Hand a command to the bridge. */
void cw_upstream_command(struct cw_upstream *u, struct cw_downlink *d);
/* The reply to a record with a request id; copies. */
void cw_upstream_reply(struct cw_updevice *d, const char *request, int code, struct cw_bytes data);
/* stop() is complete. */
void cw_upstream_stopped(struct cw_upstream *u);

#endif
