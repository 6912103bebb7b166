/*
 * http2.h - inside of the module: the connector for the platform's bridge channel over
 * HTTP/2, spread over http2.c (connection, its login), session.c (devices online and
 * offline), publish.c (messages up, acknowledgements) and down.c (messages of the
 * platform); link.c, pushes.c and wire.c know nothing of devices. All on the upstream's
 * loop.
 *
 * A device's phases, and what moves them on:
 *
 *   OFF --needed--> (STORING) --> QUEUED --> ASKED --200--> UP --not needed--> LEAVING --> OFF
 *                                              |             |
 *                                              +---refused---+--> PAUSE --its delay--> QUEUED
 *
 * STORING: a large bridge writes down who may be online before it asks for that. ASKED is
 * a call of authEndpoint. LEAVING is queued or asked. A lost connection puts
 * every device of a small bridge to OFF; behind a large one those that are UP stay so.
 */
#ifndef CW_UPSTREAM_HTTP2_H
#define CW_UPSTREAM_HTTP2_H

#include "fetch/fetch.h"
#include "store/online.h"
#include "upstream/device.h"
#include "upstream/http2/link.h"
#include "upstream/http2/settings.h"
#include "upstream/http2/wire.h"
#include "upstream/message.h"
#include "upstream/pace.h"
#include "base/retry.h"

#define HTTP2_REPLY_MS 30000u /* a post's reply that is still missing then is taken for lost */
#define HTTP2_ACKS_MOST 1024u /* messages of the platform that the bridge has not taken over yet */

enum http2_phase { HTTP2_OFF, HTTP2_STORING, HTTP2_QUEUED, HTTP2_ASKED, HTTP2_UP, HTTP2_LEAVING, HTTP2_PAUSE };

struct http2;
struct http2_auth;    /* a device's call of authEndpoint */
struct http2_offline; /* a logout on its way */
struct http2_put;     /* a device being written down */

/* A device that waits before it is asked for again; kept while it fails. */
struct http2_pause {
	struct cw_updevice *d;
	struct cw_timer timer;
	struct cw_retry retry;
};

/* The connector's part of a device: small, for there are many. */
struct http2_device {
	struct cw_list link;  /* in `to_login` or `to_logout` while queued */
	struct cw_list sends; /* struct http2_send.of_device */
	union {
		struct http2_auth *auth;       /* ASKED */
		struct http2_put *put;         /* STORING */
		struct http2_offline *offline; /* LEAVING, asked */
	};
	struct http2_pause *pause;
	uint32_t denied; /* the message that was not allowed although the device was online: a login was tried for it */
	uint8_t phase;   /* enum http2_phase */
	uint8_t fails;   /* messages in a row that the platform could not take */
	uint8_t seen : 1;
	uint8_t is_bridge : 1; /* the bridge's own identity: online with the connection */
	uint8_t admitted : 1;  /* counts against maxDevices */
	uint8_t stored : 1;    /* in the file of a large bridge: online, or it may be */
	uint8_t renewed : 1;   /* a new net id was fetched on its account */
};

/* A message on its way, until answered (and, where that is wanted, replied to). */
struct http2_send {
	struct http2_call call;
	struct cw_await await; /* the reply */
	struct cw_list of_device;
	struct http2 *h;
	struct cw_updevice *d; /* NULL once gone */
	struct cw_parcel *p;   /* NULL: settled or recalled */
	char request[CW_REQUEST_MOST];
};

/* A device that was online before the restart and is not back; or was forgotten while there was no connection. */
struct http2_absent {
	struct cw_map_node node;
	struct cw_list link; /* in `leavers` once it is to be reported */
	char key[];
};

enum http2_state {
	HTTP2_LINK_WAITING,
	HTTP2_LINK_CONNECTING, /* up to the answer of the login */
	HTTP2_LINK_SUBSCRIBING,
	HTTP2_LINK_NET_ID,
	HTTP2_LINK_UP,
	HTTP2_LINK_LEAVING, /* GOAWAY came: what is under way may end */
};

struct http2 {
	struct cw_upstream *u;
	struct http2_address at;
	char auth_url[512];
	const char *pk, *dn; /* the bridge's; in u->conf */
	int large;
	unsigned login_parallel;
	uint64_t keep_alive_ms, return_ms;
	struct cw_tls_ctx *tls;
	struct cw_fetch_pool *pool;
	uint64_t random, serial; /* of message ids */
	char topic_push[CW_TOPIC_MAX], topic_offline[CW_TOPIC_MAX];
	char path_post[CW_TOPIC_MAX], path_offline[CW_TOPIC_MAX];
	/* connection */
	struct http2_link *link; /* NULL: none */
	enum http2_state state;
	int stopping, subscribed;
	struct http2_call step; /* login, subscription */
	struct cw_fetch *net_fetch;
	char net_id[HTTP2_NET_ID_SIZE]; /* empty: not known (any more) */
	struct cw_retry retry;
	struct cw_timer retry_timer, step_timer, net_timer;
	/* messages */
	struct cw_await_set replies; /* of posts; numbers all messages */
	struct cw_list acks;         /* struct http2_ack: not yet taken over, oldest first */
	unsigned ack_count;
	/* devices */
	struct cw_list to_login, to_logout, leavers;
	struct cw_list auths, offlines, puts; /* under way, oldest first */
	unsigned logins_out, offlines_out, admitted;
	struct cw_pace_rate logins;
	struct cw_timer pump_timer, offline_timer, return_timer;
	/* large bridge */
	struct cw_online *online;
	struct cw_map absent; /* struct http2_absent by key */
	int return_set;
};

static inline struct http2_device *http2_device_of(struct cw_updevice *d)
{
	return d->peer;
}

static inline struct cw_timers *http2_timers(struct http2 *h)
{
	return cw_worker_timers(h->u->w);
}

static inline uint64_t http2_now(struct http2 *h)
{
	return cw_worker_now(h->u->w);
}

/* http2.c */
/* The connection is of no use any more. */
void http2_lost(struct http2 *h, const char *why);
/* The platform does not know the net id any more: another one. Device logins wait for it. */
void http2_renew_net_id(struct http2 *h);

/* session.c */
void http2_session_init(struct http2 *h);
/* On the loop, at the start: who was online. 0 or an error with a sentence. */
int http2_session_open(struct http2 *h, struct cw_msg *msg);
/* On the loop, at the stop. */
void http2_session_close(struct http2 *h);
/* After the loop's end. */
void http2_session_fini(struct http2 *h);
void http2_session_up(struct http2 *h);
void http2_session_down(struct http2 *h, const char *why);
void http2_session_pump(struct http2 *h);
void http2_device_changed(void *connector, struct cw_updevice *d);
void http2_device_drained(void *connector, struct cw_updevice *d);
/* The platform says that a device has no session here (any more). */
void http2_device_kicked(struct http2 *h, struct cw_updevice *d, int32_t code, const char *text);
/* The platform's answer to a logout. 0: nobody waits for it. */
int http2_offline_replied(struct http2 *h, const char *id, int32_t code);

/* publish.c */
int http2_send_parcel(void *connector, struct cw_updevice *d, struct cw_parcel *p);
void http2_recall(void *connector, struct cw_parcel *p);
void http2_answer(void *connector, struct cw_downlink *d);
void http2_taken(void *connector, uint64_t number);
void http2_posts_forget(struct http2_device *hd, struct http2 *h);
/* The reply with this id came. 1 when it belonged to a post. */
int http2_post_replied(struct http2 *h, const struct cw_alink_reply *r);
/* The connection is gone: nobody waits for replies any more. */
void http2_replies_drop(struct http2 *h);
void http2_on_reply_late(struct cw_await_set *set, struct cw_await *a);
/* An acknowledgement that waits for taken(); 0: no room. */
uint64_t http2_ack_later(struct http2 *h, const char *message_id);
void http2_ack_now(struct http2 *h, const char *message_id);
/* Acknowledgements that nobody will ask for any more. */
void http2_acks_drop(struct http2 *h);
/* It was not taken over and shall come again. */
void http2_ack_forget(struct http2 *h, uint64_t number);
/* A new id for a message that is not a parcel's. */
void http2_new_id(struct http2 *h, char out[HTTP2_ID_SIZE]);

/* down.c */
void http2_on_push(void *ctx, const struct http2_push *p);

#endif
