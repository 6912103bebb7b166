/*
 * fault.h - faults that the API injects: what to refuse, withhold, drop, delay or stall, for whom, how often.
 *
 * Rules ask cw_cloud_fault() at the point where a fault could strike; a hit uses one of its
 * counts up, and a fault without counts left is gone. One thread.
 */
#ifndef CW_CLOUD_FAULT_H
#define CW_CLOUD_FAULT_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

#define CLOUD_FAULTS(X)                                                                                       \
	X(CONNACK, "connack", "Refuse CONNECT with `code` (1 to 5)")                                          \
	X(PUBACK, "puback", "Withhold the acknowledgement of a publish (PUBACK, or the channel's answer)")                                    \
	X(REPLY, "reply", "Drop the platform's reply to a request")                                           \
	X(DELAY, "delay", "Send the platform's reply `ms` later")                                             \
	X(REFUSE, "refuse", "Answer a request with `code` instead of carrying it out (logins and posts alike)") \
	X(STATUS, "status", "Answer with the channel's own `code` (HTTP status, CoAP code, /auth code) before anything is looked at") \
	X(STALL, "stall", "Stop reading from the connection")                                                 \
	X(KICK, "kick", "At once: end the device's session (a sub-device's gateway is told `code`, 427 by default)") \
	X(CUT, "cut", "At once: close connections without a packet")

enum cloud_fault_kind {
#define CLOUD_FAULT_ENUM(sym, name, help) CLOUD_FAULT_##sym,
	CLOUD_FAULTS(CLOUD_FAULT_ENUM)
#undef CLOUD_FAULT_ENUM
	CLOUD_FAULT_COUNT
};

struct cw_cloud;
struct cloud_faults;

/* Where a fault could strike; NULL: not known here. code and ms are filled by a hit. */
struct cloud_strike {
	const char *channel; /* mqtt, http2, https, coap, openapi */
	const char *device;  /* "pk/dn" */
	const char *topic;
	size_t topic_len;
	int code, ms;
};

int cw_cloud_faults_new(struct cloud_faults **ret_faults);
void cw_cloud_faults_free(struct cloud_faults *f);
/* {kind, device?, topic?, code?, ms?, count?}. Kick and cut act now and are not kept. The fault as JSON in *ret_made. */
int cw_cloud_faults_add(struct cw_cloud *c, const json_t *spec, json_t **ret_made, struct cw_msg *msg);
json_t *cw_cloud_faults_list(const struct cloud_faults *f);
/* [{kind, help}] of all there are. */
json_t *cw_cloud_fault_kinds(void);
/* One by number, or all with 0. CW_ENOENT. */
int cw_cloud_faults_remove(struct cw_cloud *c, uint64_t id);
/* Does one strike? Then it is counted, and at->code and at->ms are what it was set up with. */
int cw_cloud_fault(struct cw_cloud *c, enum cloud_fault_kind kind, struct cloud_strike *at);
/* The same without counting, for states such as stall. */
int cw_cloud_fault_active(const struct cw_cloud *c, enum cloud_fault_kind kind, const char *channel, const char *device);

#endif
