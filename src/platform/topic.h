/*
 * topic.h - the platform's topics: building them, and taking received ones apart.
 * No I/O, no state; any thread. Views point into the topic that was given.
 */
#ifndef CW_PLATFORM_TOPIC_H
#define CW_PLATFORM_TOPIC_H

#include <stddef.h>

#include "causeway/bytes.h"

#define CW_TOPIC_MAX                                                                                                   \
	256 /* longest topic built here, NUL included; the platform's own limit of 128 does not hold for its system    \
	       topics */

/* A reply that is a command for the device that asked, not an outcome of a record. */
#define CW_TOPIC_CONFIG_REPLY "thing/config/get_reply"

enum cw_topic_kind {
	CW_TOPIC_UNKNOWN,
	CW_TOPIC_SYS,         /* /sys/pk/dn/REST */
	CW_TOPIC_RRPC,        /* /sys/pk/dn/rrpc/request/ID; rest is empty */
	CW_TOPIC_EXT_RRPC,    /* /ext/rrpc/ID/TOPIC; kind, pk, dn and rest of TOPIC are in `inner_kind` and the views */
	CW_TOPIC_BROADCAST,   /* /broadcast/pk/REST (dn empty), or /sys/pk/dn/broadcast/request/ID */
	CW_TOPIC_SESSION,     /* /ext/session/pk/dn/combine/REST */
	CW_TOPIC_ERROR,       /* /ext/error/pk/dn */
	CW_TOPIC_NTP,         /* /ext/ntp/pk/dn/response */
	CW_TOPIC_OTA_UPGRADE, /* /ota/device/upgrade/pk/dn */
	CW_TOPIC_SHADOW_GET,  /* /shadow/get/pk/dn */
	CW_TOPIC_USER         /* /pk/dn/REST */
};

struct cw_topic {
	enum cw_topic_kind kind, inner_kind;
	struct cw_bytes pk, dn;
	struct cw_bytes rest; /* levels after the prefix, without the leading slash */
	struct cw_bytes id;   /* message id of RRPC and broadcast */
};

/* Never fails: what is not understood is CW_TOPIC_UNKNOWN. Anything from a '?' on is ignored. */
void cw_topic_parse(struct cw_bytes topic, struct cw_topic *ret);

/* The same text as `text`? */
int cw_topic_is(struct cw_bytes part, const char *text);
/* Does `part` begin with `prefix`? The rest is in *ret_rest. */
int cw_topic_after(struct cw_bytes part, const char *prefix, struct cw_bytes *ret_rest);

/* All build into `out[CW_TOPIC_MAX]`. 0, or CW_ELIMIT when it does not fit. */
int cw_topic_sys(char *out, const char *pk, const char *dn, const char *rest);
int cw_topic_session(char *out, const char *pk, const char *dn, const char *what);
/*
 * The topic of raw data below a device: names that begin with `thing/` are system topics, all others the
 * device's own. CW_EINVAL for empty levels, wildcards and control characters.
 */
int cw_topic_raw(char *out, const char *pk, const char *dn, struct cw_bytes name);

/* A reply to what was sent up, for who awaits it (cw_await). */
int cw_topic_is_reply(const struct cw_topic *t);

/*
 * What to subscribe for a device after its login (`gateway` 0), or for the bridge itself once after CONNECT
 * (1: its management topics as well). Returns how many there are, at most CW_TOPIC_SUBSCRIPTIONS; each is
 * built by number. CW_ELIMIT when names are too long.
 */
#define CW_TOPIC_SUBSCRIPTIONS 40
#define CW_TOPIC_PER_SUBSCRIBE 8 /* the platform closes the connection above */
int cw_topic_subscription_count(int gateway);
int cw_topic_subscription(int gateway, int number, const char *pk, const char *dn, char *out);
/* The subscription for what is said to all devices of a product at once. */
int cw_topic_broadcast(const char *pk, char *out);

#endif
