/*
 * coap.h - inside of the module: the platform over CoAP, where every device has a session and a login of its own,
 * spread over coap.c (settings, start, stop), device.c (sessions and logins) and ask.c (requests and their answers).
 * wire.h has libcoap, login.h and crypt.h what the platform defines. All on the upstream's loop.
 *
 * A device's session:
 *
 *   OFF --something to ask--> QUEUED --a place--> SEEKING --address--> OPENING --handshake--> OPEN
 *    ^                                                |                    |                    |
 *    +--its pause-------------------------------------+--------------------+------lost, idle----+
 *
 * Its login is a token that /auth gives and that outlives sessions: a device is online while it has one that the
 * platform took. One request of a device is under way at a time, which keeps its order.
 */
#ifndef CW_UPSTREAM_COAP_H
#define CW_UPSTREAM_COAP_H

#include "upstream/coap/codes.h"
#include "upstream/coap/login.h"
#include "upstream/coap/place.h"
#include "upstream/coap/wire.h"
#include "upstream/device.h"
#include "upstream/message.h"
#include "upstream/pace.h"
#include "base/retry.h"

#define COAP_ANSWER_TIMES 3u     /* an answer that is not there after so many ackTimeouts is not waited for */
#define COAP_OPEN_LEAST_MS 5000u /* for a handshake */
#define COAP_ANSWERS_MOST 16u    /* answers to commands that one device may have waiting */
#define COAP_PAGE 10u            /* messages asked for at once; the platform takes 1 to 10 */

extern const struct cw_connector_ops cw_connector_coap;
extern const struct cw_conf_table cw_upstream_coap_table;

/* Its rows of the configuration. */
struct coap_settings {
	int dtls, sign, payload;
	uint32_t ack_mode;
	uint64_t max_payload;
	int64_t pull_ms, idle_ms, renew_ms;
	uint32_t in_flight, rate_device_qos0, rate_device_qos1, login_rate, handshakes, max_devices;
};

enum coap_phase { PHASE_OFF, PHASE_QUEUED, PHASE_SEEKING, PHASE_OPENING, PHASE_OPEN };

enum coap_ask {
	ASK_NONE,
	ASK_SESSION, /* nothing but the session itself: the token is there */
	ASK_AUTH,
	ASK_ANSWER,
	ASK_POST,
	ASK_OTA,
	ASK_PULL
};

struct coap_answer_out {
	struct cw_list link;
	char *text; /* owned */
	size_t len;
	char topic[320];
};

/* The connector's part of a device. */
struct coap_device {
	struct cw_updevice *d; /* NULL until it was first seen here */
	enum coap_phase phase;
	struct cw_list queue; /* in the connector's while QUEUED */
	struct coap_seeker seeker;
	struct coap_link *link_up; /* OPENING and OPEN */
	const char *host;
	unsigned address;         /* which of the host's addresses is tried */
	int opening;              /* counts among the handshakes */
	int admitted;             /* counts against maxDevices */
	struct cw_timer pause;    /* until the next attempt */
	struct cw_timer deadline; /* of the handshake, or of the answer to a request */
	struct cw_timer rest;     /* the next pull, or the end of an idle session */
	struct cw_retry retry;
	const char *why;  /* what the deadline means */
	uint64_t last_ms; /* of the last answer */
	/* login */
	char *token; /* owned; NULL: none */
	uint64_t token_ms, checked_ms;
	uint8_t key[COAP_KEY_BYTES];
	uint64_t seq;
	unsigned relogins; /* tokens in a row that were refused at once */
	/* the request under way, and what waits */
	enum coap_ask ask;
	uint32_t number; /* its CoAP token */
	struct cw_parcel *parcel;
	struct cw_messages messages; /* of the parcel */
	size_t part;
	int32_t worst; /* the code of the replies to its parts, 0: none yet */
	struct cw_list answers;
	unsigned answer_count;
	char *ota, *ota_next; /* owned: to be asked now, and once the version of the parcel is taken */
	int pull_due;
	uint64_t pull_at_ms;
};

struct coap {
	struct cw_upstream *u;
	struct cw_endpoint endpoint;
	struct coap_places *places;
	struct coap_wire *wire;
	struct cw_await_set ids; /* numbers messages; nothing waits in it */
	enum coap_dtls dtls;
	enum cw_sign_method sign;
	enum coap_format format; /* of /auth */
	int separate;
	size_t max_payload;
	uint64_t answer_ms, open_ms, pull_ms, idle_ms, renew_ms;
	unsigned handshakes;
	int no_pull; /* the platform has none */
	int stopping;
	uint32_t next_number;
	struct cw_list queue; /* devices that want a session */
	struct cw_timer pump_timer;
	struct cw_pace_rate logins;
	unsigned opening, admitted;
	uint8_t *sealed, *opened; /* room for a payload that goes encrypted, and for one that came so */
};

static inline struct coap_device *cw_coap_device_of(struct cw_updevice *d)
{
	return d->peer;
}

static inline struct cw_timers *cw_coap_timers(struct coap *c)
{
	return cw_worker_timers(c->u->w);
}

static inline uint64_t cw_coap_now(struct coap *c)
{
	return cw_worker_now(c->u->w);
}

/* device.c */
void cw_coap_device_changed(void *connector, struct cw_updevice *d);
void cw_coap_device_drained(void *connector, struct cw_updevice *d);
/* Does what the device needs next, if it can be done now. Tells the lane nothing, so that the lane may call. */
void cw_coap_work(struct coap *c, struct coap_device *md);
/* /auth has given a token. */
void cw_coap_logged_in(struct coap *c, struct coap_device *md);
void cw_coap_drop_token(struct coap_device *md);
/* Session and login are of no use: tell, and try again later. Not from inside a call of the lane. */
void cw_coap_lost(struct coap *c, struct coap_device *md, enum cw_updevice_state state, int code, const char *text);
/* It is lost then, for this reason (a constant). From anywhere. */
void cw_coap_deadline(struct coap *c, struct coap_device *md, uint64_t ms, const char *why);
void cw_coap_all_down(struct coap *c, const char *why);
/* What it owns; the device ends. */
void cw_coap_device_free(struct coap_device *md);
/* Something came from the platform. */
void cw_coap_reached(struct coap *c);
extern const struct coap_wire_ops cw_coap_wire_ops;

/* ask.c */
void cw_coap_ask(struct coap *c, struct coap_device *md, enum coap_ask what);
void cw_coap_answered(void *owner, uint32_t number, const struct coap_response *r);
int cw_coap_send(void *connector, struct cw_updevice *d, struct cw_parcel *p);
void cw_coap_recall(void *connector, struct cw_parcel *p);
void cw_coap_answer(void *connector, struct cw_downlink *d);

#endif
