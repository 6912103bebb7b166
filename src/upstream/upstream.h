/*
 * upstream.h - a way to the platform, as the bridge sees it.
 *
 * An upstream has a loop of its own (a worker thread): its lanes, its connection
 * state and, for MQTT, every Paho handle live there. The bridge on the control loop
 * and the gateway on the data workers talk to it by mail only; the functions below
 * say which thread may call them. Kinds of upstreams are entries of one table of
 * operations (connector.h); everything here is the same for all of them.
 */
#ifndef CW_UPSTREAM_UPSTREAM_H
#define CW_UPSTREAM_UPSTREAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "causeway/bytes.h"
#include "loop/worker.h"
#include "upstream/parcel.h"

struct cw_upstream;
struct cw_connector_ops; /* a kind of upstream: connector.h */
struct cw_updevice;      /* one device behind one upstream */

enum cw_updevice_state {
	CW_UPDEVICE_OFFLINE, /* not logged in (wanted or not) */
	CW_UPDEVICE_ONLINE,  /* the platform accepted its login on this connection */
	CW_UPDEVICE_REFUSED  /* the platform refused it; retried slowly while it is wanted */
};

/*
 * A command from the platform. Owned by whoever has it; ends with exactly one
 * cw_upstream_answer(), which consumes it.
 */
struct cw_downlink {
	struct cw_mail mail;
	struct cw_upstream *from;
	struct cw_list link; /* the command table's */
	char product_key[32];
	char device_name[64];
	char request[64];       /* the platform's id; repeats of it are recognised per device */
	uint32_t kind;          /* CW_KIND_* of record.h */
	uint64_t deadline_ms;   /* how long the platform waits; 0: as long as usual */
	int wants_answer;       /* 0: nothing goes back whatever happens (raw down, broadcast, notices without reply) */
	char answer_topic[320]; /* the connector's: where and how to answer */
	struct cw_downlink_ack *ack; /* owned; NULL: nobody wants to know that it was taken over */
	int32_t code;           /* the answer */
	uint8_t *reply; /* owned (cw_alloc), may be NULL; for CW_KIND_RRPC the bytes themselves, else an encoded map */
	size_t reply_len;
	size_t len;
	uint8_t bytes[]; /* the encoded command record */
};

/* What an upstream tells the bridge; all run on the control loop. */
struct cw_upstream_events {
	/* Logged in or lost; `reason` is a sentence for people, lent. */
	void (*state)(void *ctx, struct cw_upstream *u, int up, const char *reason);
	/* `cookie` is the bridge's pointer for the device; code and text are the platform's. */
	void (*device)(void *ctx, void *cookie, enum cw_updevice_state state, int code, const char *text);
	/* A command; ownership passes. */
	void (*command)(void *ctx, struct cw_downlink *d);
	/* The reply to a record that carried a request id. */
	void (*reply)(void *ctx, void *cookie, const char *request, int code, struct cw_bytes data);
	/* What cw_upstream_device_drain() asked for. May be NULL where nobody asks. */
	void (*drained)(void *ctx, void *cookie);
	/* cw_upstream_device_remove() is complete; the pointer is dead. */
	void (*removed)(void *ctx, void *cookie);
};

/*
 * Settings of one upstream; plain data, copied by cw_upstream_new(). Strings are owned by the caller.
 *
 * The rows of the configuration that all kinds share are filled by the caller. What only one kind has, and what has
 * another default in each (keepAlive, inFlight, rates, maxDevices), stands in the kind's own table
 * (kinds.h): its bound struct comes as `own`, and the kind's configure() copies from there into the
 * second block below. Without `own` the second block counts as the caller filled it.
 */
struct cw_upstream_conf {
	const struct cw_connector_ops *kind;                   /* of kinds.h */
	const void *own;                                       /* the kind's settings, or NULL; lent until cw_upstream_free() */
	const char *name;                                      /* in the configuration */
	const char *group;                                     /* what routes name; NULL: name. Members of a group share its devices */
	const char *endpoint, *region;                         /* endpoint NULL: made from product key and region by the kind */
	const char *product_key, *device_name, *device_secret; /* the bridge's certificate */
	const char *client_id, *device_token;                  /* instead of the secret: what regnwl gave (MQTT only) */
	const char *ca, *certificate, *key;                    /* files, may be NULL */
	int tls_min;                                           /* oldest TLS allowed: 0: 1.2, 1: 1.3 */
	int verify;                                            /* check the server's certificate and name */
	int large;                                             /* large bridge: devices stay online without the link */
	const char *state_dir;                                 /* where a kind keeps what survives a restart; NULL: nowhere */
	int confirm_reply;                                     /* 0: the transport's acknowledgement, 1: the Alink reply */
	unsigned ack_timeout_ms;                               /* unconfirmed this long: settled as pending; 8000 */
	size_t queue_bytes;                                    /* of all lanes together */
	size_t queue_bytes_device;                             /* of one device */
	unsigned rate_bridge;                                  /* messages a second; 0: off */
	unsigned retry_min_ms, retry_max_ms;                   /* reconnect back-off */
	unsigned dedup_window_s; /* duplicates are remembered this long after they were settled, at least */

	/* Filled by the kind from `own`. */
	unsigned keep_alive_s;                       /* 30 to 1200 */
	unsigned in_flight;                          /* unconfirmed messages at once, 1 to 1000 */
	unsigned in_flight_records;                  /* records in them, where a message may hold several; 0: as in_flight */
	unsigned in_flight_device;                   /* of one device at once: 1 where only that keeps its order; 0: no limit */
	unsigned rate_device_qos0, rate_device_qos1; /* messages a second and device; 0: off */
	unsigned login_rate;                         /* device logins a second; 0: off */
	unsigned login_batch;                        /* devices in one batch login */
	unsigned max_devices;                        /* 0: no limit */
	int qos;                                     /* of posts: 0 or 1 */
	int post_version;                            /* Alink: send `version` and `method` always */
};

/* Check the settings and make the upstream, not yet connected. On the control loop. Errors carry a sentence. */
int cw_upstream_new(const struct cw_upstream_conf *conf, struct cw_worker *control,
		    const struct cw_upstream_events *events, void *ctx, struct cw_upstream **ret_upstream,
		    struct cw_msg *msg);
/* Start its thread and connect (and keep trying). On the control loop. */
int cw_upstream_start(struct cw_upstream *u);
/* Only its thread, so that records may be queued and settled; cw_upstream_start() follows, or cw_upstream_stop(). */
int cw_upstream_run(struct cw_upstream *u);
/*
 * Drain the lanes up to `drain_ms`, log devices out, disconnect; parcels that are left are settled as lost.
 * `done` then runs on the control loop. The thread stays until cw_upstream_free(), so that a parcel
 * submitted meanwhile is settled (as lost) and does not vanish.
 */
void cw_upstream_stop(struct cw_upstream *u, uint64_t drain_ms, void (*done)(void *arg), void *arg);
/*
 * On the control loop, after `done` (or instead of cw_upstream_start()): end the thread, free all, devices
 * included. No worker may submit, no answer be on its way and no `removed` be outstanding any more; worker loops must
 * still take mails.
 */
void cw_upstream_free(struct cw_upstream *u);
const char *cw_upstream_name(const struct cw_upstream *u);
const char *cw_upstream_group(const struct cw_upstream *u);
/* As they took effect; lent. Has secrets. Any thread. */
const struct cw_upstream_conf *cw_upstream_settings(const struct cw_upstream *u);
int cw_upstream_has_downlink(const struct cw_upstream *u);
/* The remote configuration that the platform holds for the bridge itself: what is known of it; it is not applied. */
struct cw_upstream_offer {
	char id[64]; /* empty: none */
	char sha256[72];
	int64_t size, told_ms; /* UTC */
};

/* A snapshot for status: any thread. */
struct cw_upstream_status {
	int up;
	uint64_t devices_online, queued_records, queued_bytes, in_flight;
	int clock_known;
	int64_t clock_offset_ms; /* the platform's clock less ours, when known */
	struct cw_upstream_offer config;
	char last_error[256];
};
void cw_upstream_status(struct cw_upstream *u, struct cw_upstream_status *ret_status);

/*
 * Make a device known. On the control loop; texts are copied. `cookie` comes back in the events.
 * Parcels may be submitted from the moment this has returned.
 */
int cw_upstream_device_add(struct cw_upstream *u, const char *product_key, const char *device_name, const char *secret,
			   void *cookie, struct cw_updevice **ret_device);
/* Log in (and stay logged in over reconnects), or log out once its queue is empty. On the control loop. */
void cw_upstream_device_want(struct cw_updevice *d, int online);
/* Log out, settle what is queued as lost, forget it; `removed` follows. Nobody may submit for it any more. On the
 * control loop. */
void cw_upstream_device_remove(struct cw_updevice *d);
/*
 * A device changes its upstream, so that nothing is lost or overtaken: it is added held to the new one, where its
 * records wait; the old one says `drained` once it has delivered what it had (nobody submits to it any more) or is not
 * waited for, and is removed with the new one as heir of what is still queued, tickets and duplicate keys included; after
 * `removed` the new one is let go on. All on the control loop.
 */
int cw_upstream_device_add_held(struct cw_upstream *u, const char *product_key, const char *device_name,
				const char *secret, void *cookie, struct cw_updevice **ret_device);
void cw_upstream_device_drain(struct cw_updevice *d);
void cw_upstream_device_leave_to(struct cw_updevice *d, struct cw_updevice *heir);
void cw_upstream_device_release(struct cw_updevice *d, int online);
/* The same as removing, and the platform is told that it no longer belongs to the bridge, by the kinds that have such a relation. */
void cw_upstream_device_forget(struct cw_updevice *d);

/*
 * Ask the platform for the secret of a sub-device over this upstream's own connection (provisioning). Zero-initialise,
 * fill the first block, keep it until `done` has run on the control loop; that happens exactly once. The platform gives
 * a secret away only once: who gets it stores it before anything else. On the control loop.
 */
struct cw_enroll {
	const char *product_key, *device_name;
	const char *product_secret; /* NULL: plain registration; else signed with it (product_register) */
	void (*done)(struct cw_enroll *e);
	/* The answer. */
	int rc;       /* 0; CW_EUNSUPPORTED: this kind cannot; CW_ECLOSED: not connected, nothing was asked; CW_ETIMEDOUT:
			 asked and not answered; CW_EREFUSED; CW_EPROTO, CW_ENOMEM */
	int32_t code; /* the platform's */
	char secret[128];
	char text[160];
	/* The upstream's. */
	struct cw_mail mail;
	struct cw_upstream *u;
};
void cw_upstream_enroll(struct cw_upstream *u, struct cw_enroll *e);

/*
 * Hand a parcel over, from its home worker. Consumes it in every case but CW_EBUSY (queues are full: stop reading that
 * connection; `on_room` of cw_upstream_watch() tells when to go on). Credit is taken from relaxed counters of bytes, so
 * this allocates nothing and takes no lock.
 */
int cw_upstream_submit(struct cw_parcel *p);
/*
 * On a data worker, once: `on_room` runs on `w` each time queues that were full have room again, and once
 * at the start. `watch` must live, and `w` take mails, until cw_upstream_free().
 */
struct cw_upstream_watch {
	struct cw_mail mail;
	struct cw_worker *w;
	void (*on_room)(struct cw_upstream_watch *watch);
	struct cw_list link;
	struct cw_upstream *u;
	atomic_int posted;
};
void cw_upstream_watch(struct cw_upstream *u, struct cw_upstream_watch *watch);

/*
 * The command table has taken the command over, or refused it for good: the connector may acknowledge it to the
 * platform. Before cw_upstream_answer(), once; does nothing when nobody asked. From the control loop.
 */
void cw_upstream_taken(struct cw_downlink *d);
/* Answer a command: fills nothing, consumes `d` (with d->code, d->reply set by the caller). From the control loop. */
void cw_upstream_answer(struct cw_downlink *d);
void cw_downlink_free(struct cw_downlink *d);

#endif
