/*
 * https.h - inside of the module: the connector for the platform over HTTPS, spread over
 * https.c (the link, tokens) and send.c (messages). All on the upstream's loop.
 *
 * There is no connection that is logged in: every request stands for itself. The link is
 * up when the platform answers at all, and a device is online when it has a token.
 *
 *   OFF --needed--> QUEUED --its turn--> ASKING --token--> UP --not needed--> OFF
 *                     ^                    |                |
 *                     +-- PAUSE <----------+--- token of no use (20001 to 20003)
 *
 * Down the link goes when the platform cannot be reached, or leaves several requests in a
 * row without an answer: all devices OFF, one request tries until an answer comes. Tokens
 * outlive that: a device that has one is UP again at once.
 */
#ifndef CW_UPSTREAM_HTTPS_H
#define CW_UPSTREAM_HTTPS_H

#include "fetch/fetch.h"
#include "upstream/device.h"
#include "upstream/https/answer.h"
#include "upstream/message.h"
#include "upstream/pace.h"
#include "base/retry.h"

#define HTTPS_ANSWER_MOST 65536u /* bytes of an answer */

extern const struct cw_connector_ops cw_connector_https;
extern const struct cw_conf_table cw_upstream_https_table;

/* Its rows of the configuration. */
struct https_settings {
	int sign_method; /* enum cw_sign_method */
	uint32_t in_flight, rate_device, login_rate;
	int64_t timeout_ms, renewal_ms;
	uint64_t message_bytes;
};

enum https_phase { PHASE_OFF, PHASE_QUEUED, PHASE_ASKING, PHASE_UP, PHASE_PAUSE };

/* A parcel on its way, in one message or several, one after the other. */
struct https_send {
	struct https *h;
	struct cw_updevice *d;
	struct cw_parcel *p;
	struct cw_fetch *fetch; /* of the current part */
	struct cw_messages messages;
	size_t part;
	int32_t reply_code; /* the worst of the replies so far; 0: none came */
};

/* The connector's part of a device. */
struct https_device {
	struct cw_updevice *d; /* NULL until it was first seen here */
	enum https_phase phase;
	struct cw_list link;     /* in `to_login` while QUEUED */
	struct cw_fetch *asking; /* /auth; while UP: to renew the token */
	struct cw_timer pause;   /* PAUSE: until it may ask again; UP: until the token is renewed */
	struct cw_retry retry;
	char token[HTTPS_TOKEN_MOST]; /* empty: none */
	uint64_t token_ms;            /* loop time when it came */
	struct https_send *send;
	uint32_t failed_number, relogin_number; /* of the message that failed last, and that led to a login */
	unsigned failures;                      /* of that message */
	uint64_t later_ms;                      /* the last back-off, retryMin to retryMax; 0: none */
};

enum https_state { LINK_OFF, LINK_TRYING, LINK_WAITING, LINK_UP };

struct https {
	struct cw_upstream *u;
	struct cw_fetch_pool *pool;
	struct https_settings own;
	char base[300]; /* endpoint without a slash at its end */
	enum https_state state;
	int stopping;
	unsigned strikes; /* requests in a row without an answer */
	struct cw_retry retry;
	struct cw_timer retry_timer, pump_timer;
	struct cw_list to_login;
	unsigned asking;
	struct cw_pace_rate logins;
	struct cw_await_set ids;
};

static inline struct https_device *https_device_of(struct cw_updevice *d)
{
	return d->peer;
}

/* https.c */
/* A request with what all have alike. */
struct cw_fetch_request https_request(struct https *h, const char *url, const char *const *headers,
				      struct cw_bytes body);
/* What became of a request: an answer, whatever it says, or none. The latter may end the link, and with it all devices.
 */
void https_heard(struct https *h, const struct cw_fetch_reply *reply);
/* The platform says that the device's token is of no use. */
void https_token_dead(struct https *h, struct cw_updevice *d, int32_t code, const char *text);
/* Log that an answer is none of the platform's. */
void https_odd(struct https *h, const struct cw_fetch_reply *reply);

/* send.c */
int https_send(void *connector, struct cw_updevice *d, struct cw_parcel *p);
void https_recall(void *connector, struct cw_parcel *p);

#endif
