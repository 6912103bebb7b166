/*
 * fault.h - faults that the API injects: what to refuse, withhold, drop, delay or stall, for whom, how often.
 *
 * Rules ask cw_cloud_fault() at the point where a fault could strike. A fault that fits there lets the first `after` times
 * pass, then strikes with its probability; a hit uses one of its counts up, and a fault without counts left is gone.
 * Chance comes from a generator that each fault has for itself, seeded by its own `seed`, or by the setting faultSeed and its
 * number: the same faults set in the same order strike the same messages again. What strikes messages and
 * connections is carried out in disturb.c. One thread.
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
	X(DELAY, "delay", "Send the platform's reply `ms` later; with `direction`, hold every message so long (up: from devices)") \
	X(DROP, "drop", "Lose a message")                                                                     \
	X(DUPLICATE, "duplicate", "Let a message arrive twice")                                               \
	X(REORDER, "reorder", "Let the next message of the same connection overtake one, or `ms` pass (1000)") \
	X(CORRUPT, "corrupt", "Change one byte of a payload")                                                 \
	X(REFUSE, "refuse", "Answer a request with `code` instead of carrying it out (logins and posts alike)") \
	X(STATUS, "status", "Answer with the channel's own `code` (HTTP status, CoAP code, /auth code) before anything is looked at") \
	X(STALL, "stall", "Stop reading from the connection")                                                 \
	X(THROTTLE, "throttle", "Read at most `rate` bytes a second from the connection")                     \
	X(HALF_CLOSE, "half_close", "Like cut, but only the emulator's side of the connection is closed")     \
	X(KICK, "kick", "End the device's session (a sub-device's gateway is told `code`, 427 by default): at once, or with after, direction, topic, or probability behind a message") \
	X(CUT, "cut", "Close connections without a packet: at once, or behind a message as kick does")

enum cloud_fault_kind {
#define CLOUD_FAULT_ENUM(sym, name, help) CLOUD_FAULT_##sym,
	CLOUD_FAULTS(CLOUD_FAULT_ENUM)
#undef CLOUD_FAULT_ENUM
	CLOUD_FAULT_COUNT
};

enum cloud_direction { CLOUD_EITHER, CLOUD_UP, CLOUD_DOWN };

struct cw_cloud;
struct cloud_faults;

/* Where a fault could strike; NULL: not known here. code and ms are filled by a hit. */
struct cloud_strike {
	const char *channel; /* mqtt, http2, https, coap, openapi */
	const char *device;  /* "pk/dn" */
	const char *topic;
	size_t topic_len;
	int code, ms;
	enum cloud_direction direction; /* of the message */
	uint64_t random; /* filled by a hit: from the fault's generator */
};

int cw_cloud_faults_new(uint64_t seed, struct cloud_faults **ret_faults);
void cw_cloud_faults_free(struct cloud_faults *f);
/* {kind, device?, topic?, channel?, direction?, code?, ms?, rate?, count?, after?, probability?, seed?}. What acts now is not kept. The fault as JSON in *ret_made. */
int cw_cloud_faults_add(struct cw_cloud *c, const json_t *spec, json_t **ret_made, struct cw_msg *msg);
json_t *cw_cloud_faults_list(const struct cloud_faults *f);
/* [{kind, help}] of all there are. */
json_t *cw_cloud_fault_kinds(void);
/* One by number, or all with 0. CW_ENOENT. */
int cw_cloud_faults_remove(struct cw_cloud *c, uint64_t id);
/* Does one strike? Then it is counted, and at->code and at->ms are what it was set up with. */
int cw_cloud_fault(struct cw_cloud *c, enum cloud_fault_kind kind, struct cloud_strike *at);
/* Whether a fault is set that a message on its way could meet. */
int cw_cloud_faults_on_messages(const struct cloud_faults *f);
/* A message has passed: states that begin after some of them may begin now. */
void cw_cloud_faults_passed(struct cw_cloud *c, const struct cloud_strike *at);
/* Bytes a second to be read from a connection; 0: any number. */
uint64_t cw_cloud_fault_rate(const struct cw_cloud *c, const char *channel, const char *device);
/* The same without counting, for states such as stall. */
int cw_cloud_fault_active(const struct cw_cloud *c, enum cloud_fault_kind kind, const char *channel, const char *device);

#endif
