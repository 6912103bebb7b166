/*
 * device.h - inside of the module: what an upstream and one of its devices consist of.
 * Each member says which thread touches it.
 */
#ifndef CW_UPSTREAM_DEVICE_H
#define CW_UPSTREAM_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "upstream/connector.h"
#include "upstream/lane.h"
#include "upstream/upstream.h"

/* Bytes taken of a queue, by any worker, with a flag that somebody was turned away. */
struct cw_credit {
	atomic_size_t used;
	size_t most;
	atomic_int waiting;
};

struct cw_device_news {
	enum cw_updevice_state state;
	int code;
	char *text; /* owned; NULL: none */
};

struct cw_updevice {
	struct cw_upstream *u;
	void *cookie;                                /* the bridge's */
	const char *product_key, *device_name, *key; /* constant, behind the connector's part; the key is "pk/dn" */
	char *secret;
	struct cw_credit credit; /* any worker */
	/* From the control loop. */
	struct cw_mail add_mail, want_mail, remove_mail, drain_mail;
	atomic_int want_posted, want, hold;
	struct cw_updevice *heir; /* set before remove_mail is posted: gets what is queued */
	int forget; /* set before remove_mail is posted: its relation to the bridge goes, too */
	/* On the upstream's loop. */
	struct cw_map_node node;
	struct cw_list link; /* the upstream's `removed`, until the control loop is told */
	int wanted, removing, gone;
	int held;         /* its records wait: the same device is still behind another upstream */
	int drain_asked;  /* the control loop wants to hear that nothing is queued */
	int drained_told;
	struct cw_list heritage;  /* parcels of the one before it, until carry_mail has brought them */
	struct cw_mail carry_mail, drained_mail;
	struct cw_lane_device lane;
	enum cw_updevice_state state;
	/* News to the control loop: one mail that goes there and comes back; what changes meanwhile is told when it is
	 * back. */
	struct cw_mail news_mail, removed_mail;
	struct cw_device_news news, told; /* `told` belongs to the mail while it is away */
	int news_away, news_fresh;
	void *peer; /* the connector's part, behind this struct */
};

/* Somebody wants it online, or has left it records: those go up although their device has gone. */
static inline int cw_updevice_needed(const struct cw_updevice *d)
{
	return !d->held && !d->removing && (d->wanted || d->lane.records > 0);
}

/* When nothing refers to it any more. */
void cw_updevice_free(struct cw_updevice *d);
/* Nothing may be queued any more: say so if the control loop has asked. */
void cw_updevice_tell_drained(struct cw_updevice *d);

struct cw_upstream {
	struct cw_upstream_conf conf; /* strings are owned copies */
	struct cw_worker *control, *w;
	const struct cw_upstream_events *events;
	void *ctx;
	const struct cw_connector_ops *ops;
	void *connector;
	struct cw_credit credit;
	atomic_int stopping; /* parcels are settled as lost on arrival */
	/* On the upstream's loop. */
	struct cw_lane lane;
	struct cw_map devices;
	struct cw_list removed; /* no longer in `devices`, not yet gone */
	struct cw_list watches;
	struct cw_mail start_mail, stop_mail, done_mail, end_mail;
	struct cw_timer drain_timer;
	uint64_t drain_ms;
	int started, stopped;
	int begun; /* the connector was started */
	/* The same way of telling as for devices. */
	struct cw_mail news_mail;
	struct {
		int up;
		char reason[256];
	} news, told;
	int news_away, news_fresh;
	/* Control loop. */
	void (*done)(void *arg);
	void *done_arg;
	/* Any thread. */
	atomic_int is_up;
	atomic_ullong devices_online, queued_records, in_flight;
	atomic_llong clock_offset_ms; /* LLONG_MIN: not known */
	pthread_mutex_t lock; /* last_error, config */
	char last_error[256];
	struct cw_upstream_offer config;
};

#endif
