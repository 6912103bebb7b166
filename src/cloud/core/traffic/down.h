/*
 * down.h - what the platform's users ask of devices: property set, services, RRPC, raw bytes, publishes, broadcasts, desired
 * values. The one implementation behind the emulator's own API and the management API.
 *
 * An *order* is a call that may wait for the device. It ends exactly once, by done(): at once, before the call returns
 * (refused, offline, or nobody wants to wait), or later (answered, timed out, the device was deleted, the
 * emulator stops). Who goes away before cancels it. Values are checked against the product's model where there is one; orders to
 * products of raw format pass their script. One thread.
 */
#ifndef CW_CLOUD_DOWN_H
#define CW_CLOUD_DOWN_H

#include "cloud/core/cloud.h"

#define CLOUD_RRPC_MIN_MS    1000u /* what the management API accepts as a timeout */
#define CLOUD_RRPC_MAX_MS    8000u
#define CLOUD_PUB_BYTES      262144u
#define CLOUD_BROADCAST_BYTES 65536u
#define CLOUD_BROADCAST_SUBSCRIBERS 1000u

/* name, as APIs show it, code of RRPC's callers */
#define CLOUD_DOWN_ENDS(X)                                                                                    \
	X(ANSWERED, "answered", "SUCCESS")         /* by the device: see code and data, payload */            \
	X(SENT, "delivered", "SUCCESS")            /* on its way; nobody waits */                             \
	X(STORED, "stored", "SUCCESS")             /* kept for the device; nobody waits */                    \
	X(REFUSED, "refused", "UNKNOWN")           /* nothing was sent; code and message say why */           \
	X(OFFLINE, "offline", "OFFLINE")                                                                      \
	X(HALFCONN, "halfconn", "HALFCONN")        /* cut less than a keep-alive ago */                       \
	X(UNSUBSCRIBED, "unsubscribed", "UNKNOWN") /* online, but did not subscribe the topic */              \
	X(LIMITED, "limited", "UNKNOWN")           /* over the device's rate */                               \
	X(TIMEOUT, "timeout", "TIMEOUT")                                                                      \
	X(GONE, "gone", "UNKNOWN")                 /* deleted while waiting, or the emulator stops */         \
	X(NOMEM, "nomem", "UNKNOWN")

enum cloud_down_end {
#define CLOUD_DOWN_ENUM(sym, name, rrpc) CLOUD_DOWN_##sym,
	CLOUD_DOWN_ENDS(CLOUD_DOWN_ENUM)
#undef CLOUD_DOWN_ENUM
	CLOUD_DOWN_END_COUNT
};

const char *cw_cloud_down_name(enum cloud_down_end end);
/* SUCCESS, TIMEOUT, OFFLINE, HALFCONN or UNKNOWN. */
const char *cw_cloud_rrpc_code(enum cloud_down_end end);

/* How an order ended; everything is lent for the time of done(). */
struct cloud_result {
	enum cloud_down_end end;
	const char *message_id;
	int code;             /* ANSWERED: the device's (0 when it sent none); REFUSED: the platform's; else 0 */
	const char *message;  /* a sentence, never NULL */
	const json_t *reply;  /* ANSWERED with JSON: all of it, else NULL */
	const json_t *data;   /* its data, or NULL */
	int model_code;       /* ANSWERED: 0, or the 63xx code of the first output that breaks the model */
	const char *payload;  /* ANSWERED: the bytes, else NULL */
	size_t len;
};

struct cloud_order;

/* What every order has. */
struct cloud_ask {
	struct cloud_device *device;
	uint64_t timeout_ms; /* 0: do not wait, end as SENT or STORED */
	void (*done)(void *arg, const struct cloud_result *result);
	void *arg;
};

/* Each returns NULL when done() was called already, else the order, which done() will end. */
/* items: {"identifier": value}, lent. */
struct cloud_order *cw_cloud_set_properties(struct cw_cloud *c, const struct cloud_ask *ask, const json_t *items);
/* The old call that asks a device for values; names: ["identifier"], lent. */
struct cloud_order *cw_cloud_get_properties(struct cw_cloud *c, const struct cloud_ask *ask, const json_t *names);

enum cloud_service_mode { CLOUD_SERVICE_BY_MODEL, CLOUD_SERVICE_ASYNC, CLOUD_SERVICE_SYNC };
/* args: {"parameter": value}, lent. BY_MODEL: as the model declares it, asynchronous without one. A synchronous call goes over
 * RRPC and always waits (ask's timeout 0: 8 s); an asynchronous one waits if ask says so. */
struct cloud_order *cw_cloud_invoke_service(struct cw_cloud *c, const struct cloud_ask *ask, const char *identifier,
                                            const json_t *args, enum cloud_service_mode mode);
/* Bytes over RRPC: topic NULL is the system's, otherwise one of the device's own for a client with ext=1. Always waits. */
struct cloud_order *cw_cloud_rrpc(struct cw_cloud *c, const struct cloud_ask *ask, const char *topic, const void *bytes,
                                  size_t len);
/* Bytes on thing/model/down_raw, around the script; any down_raw_reply is the answer. */
struct cloud_order *cw_cloud_down_raw(struct cw_cloud *c, const struct cloud_ask *ask, const void *bytes, size_t len);
/* Stop waiting without done(). */
void cw_cloud_order_cancel(struct cloud_order *o);

/* ---- publishes: outcome at once ---- */

struct cloud_publication {
	const char *topic;
	const void *bytes;
	size_t len;
	uint8_t qos;
	int any_topic; /* also topics that are not custom ones: what the emulator's own API allows */
};

/* One message on a topic that names a device of `p`. 0 and the outcome and message id; CW_EINVAL, CW_ENOENT (device) or
 * CW_EACCESS (no custom topic) with a sentence. */
int cw_cloud_pub(struct cw_cloud *c, struct cloud_product *p, const struct cloud_publication *what,
                 enum cloud_outcome *ret_outcome, char ret_id[24], struct cw_msg *msg);
/* /broadcast/pk/name to its subscribers, or (topic NULL) to every online device of the product. 0, the message id and how many
 * got it; CW_EINVAL; CW_ELIMIT when called too often. */
int cw_cloud_broadcast(struct cw_cloud *c, struct cloud_product *p, const char *topic, const void *bytes, size_t len,
                       unsigned *ret_count, char ret_id[24], struct cw_msg *msg);

/* ---- what is only kept ---- */

/* Desired values for the device to ask for; versions ({"identifier": n}, NULL: any) must be the current ones, 0 where
 * there is none yet. A value null takes the desired value away. 200, or the platform's code with a sentence; all or nothing. */
int cw_cloud_set_desired(struct cw_cloud *c, struct cloud_device *d, const json_t *items, const json_t *versions,
                         struct cw_msg *msg);
/* Tags by the API, {"key": "value"}; null takes one away. 200 or 460 with a sentence. */
int cw_cloud_set_tags(struct cw_cloud *c, struct cloud_device *d, const json_t *tags, struct cw_msg *msg);
/* thing/topo/add/notify: ask a gateway to add devices, [{productKey, deviceName}]; `list` is consumed. */
enum cloud_outcome cw_cloud_notify_found(struct cw_cloud *c, struct cloud_device *gateway, json_t *list);

#endif
