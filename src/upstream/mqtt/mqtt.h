/*
 * mqtt.h - inside of the module: the connector for the platform over MQTT, spread over
 * mqtt.c (connection, publishing), session.c (topology, logins), pack.c (several readings in
 * one message), enroll.c (certificates of sub-devices), self.c (what the bridge does as a device of its
 * own), names.c (those of a bridge that has only a certificate), products.c (broadcasts) and down.c (messages from the platform). All on the upstream's loop.
 *
 * A device's phases, and what moves them on:
 *
 *   OFF --wanted--> TOPO --200--> LOGIN --200--> UP --not wanted, drained--> LOGOUT --> OFF
 *                     |             |            |
 *                     +--refused----+---kicked---+--> PAUSE --its delay--> TOPO or LOGIN
 *
 * TOPO and LOGIN are either queued or asked (a request is out, which has a deadline).
 * A lost connection puts every device to OFF; the next one starts them all again.
 */
#ifndef CW_UPSTREAM_MQTT_H
#define CW_UPSTREAM_MQTT_H

#include "upstream/device.h"
#include "upstream/message.h"
#include "mqtt/client.h"
#include "upstream/pace.h"
#include "base/retry.h"

#define MQTT_LOGINS_A_MINUTE 5
#define MQTT_TOPO_OUT 4   /* topology requests at once */
#define MQTT_LOGIN_OUT 20 /* login requests at once */
#define MQTT_REQUEST_MS 10000u
#define MQTT_PACK_MOST 20 /* devices in a pack post */
#define MQTT_REPLY_MS 30000u /* a post's reply that is still missing then is taken for lost */

extern const struct cw_connector_ops cw_connector_mqtt;
extern const struct cw_conf_table cw_upstream_mqtt_table;

/* Its rows of the configuration. */
struct mqtt_settings {
	int client;
	int64_t keep_alive_ms;
	uint32_t in_flight, rate_device_qos0, rate_device_qos1, login_rate, login_batch, max_devices, qos;
	struct {
		bool enabled;
		uint32_t count;
		uint64_t bytes;
		int64_t age_ms;
	} packs;
};

enum mqtt_phase { PHASE_OFF, PHASE_TOPO, PHASE_LOGIN, PHASE_UP, PHASE_LOGOUT, PHASE_PAUSE };

enum mqtt_what { ASK_TOPO, ASK_LOGIN, ASK_LOGOUT };

/* A request of the gateway that waits for its reply. */
struct mqtt_request {
	struct cw_await await;
	enum mqtt_what what;
	size_t count;
	struct cw_updevice *devices[CW_ALINK_TOPO_BATCH]; /* NULL: has gone meanwhile */
};

/* The connector's part of a device. */
struct mqtt_device {
	struct cw_updevice *d; /* NULL until it was first seen here */
	enum mqtt_phase phase;
	struct cw_list link; /* in `to_topo` or `to_login` while queued */
	struct mqtt_request *request;
	struct cw_list sends; /* struct mqtt_send.of_device */
	struct cw_timer pause;
	struct cw_retry retry;
	struct cw_pace_window logins;
	uint64_t login_times[MQTT_LOGINS_A_MINUTE];
	unsigned retopo; /* topology adds in a row that did not help */
	int related;     /* topology add succeeded */
	int alone;       /* its batch was refused: asked alone now, so that one bad device costs nobody else */
	int is_bridge;   /* the bridge's own identity: online with the connection */
	int admitted;    /* counts against maxDevices */
};

/* A parcel on its way, until acknowledged (and, where that is wanted, replied to). */
struct mqtt_send {
	struct cw_mqtt_token token;
	struct cw_await await; /* the reply */
	struct cw_list of_device;
	struct cw_list of_pack;
	struct mqtt_pack *pack; /* it is a member of; NULL: goes alone */
	struct mqtt *m;
	struct cw_updevice *d; /* NULL once gone */
	struct cw_parcel *p;   /* NULL: settled or recalled */
	int at_client; /* the token is not done */
	int orphan;
	char request[CW_REQUEST_MOST];
};

struct mqtt_pack;

enum mqtt_state { LINK_WAITING, LINK_CONNECTING, LINK_UP, LINK_CLOSING };

struct mqtt {
	struct cw_upstream *u;
	const struct cw_mqtt_ops *ops;
	struct cw_mqtt_client *client;
	enum mqtt_state state;
	int stopping;
	char host[256];
	int port, tls, ws;
	char path[64]; /* of ws and wss */
	char pk[32], dn[64]; /* the bridge's names; empty until the platform told them to a client that has only a
				certificate */
	struct cw_retry retry;
	uint64_t retry_ms; /* the delay chosen when the link went down */
	struct cw_timer retry_timer, stall_timer, identity_timer;
	struct cw_pace_window connects;
	uint64_t connect_times[MQTT_LOGINS_A_MINUTE];
	char reason[512];
	struct cw_await_set replies; /* of posts; numbers all messages */
	unsigned orphans, posts_out; /* posts at the client; those of them whose parcels were recalled */
	/* packs */
	struct mqtt_pack *open;
	struct cw_list ripe;        /* closed, to be sent, in order */
	struct cw_await_set packs;  /* their replies */
	struct cw_timer age_timer, ripe_timer;
	struct cw_pace_window pack_pace;
	uint64_t *pack_times;       /* owned */
	unsigned pack_count;        /* 0: no packs */
	size_t pack_bytes;
	uint64_t pack_age_ms;
	/* sessions */
	struct cw_await_set requests;
	struct cw_timer pump_timer;
	struct cw_list to_topo, to_login, to_logout;
	struct cw_pace_window own; /* the gateway's own messages: the platform counts them like a device's */
	uint64_t *own_times;       /* owned */
	unsigned topo_out, login_out;
	unsigned admitted;
	struct cw_pace_rate logins;
	/* the bridge itself */
	struct cw_timer time_timer, log_timer;
	struct cw_log_tap *tap; /* the platform's log switch is on */
	struct cw_map products; /* whose broadcasts are subscribed on this connection */
	/* enroll */
	struct cw_await_set enrolls;
	struct cw_list to_enroll;
};

static inline struct mqtt_device *mqtt_device_of(struct cw_updevice *d)
{
	return d->peer;
}

/* mqtt.c */
/* A message of the gateway's own: QoS 0, fire and forget. Frees `text`. 0 or an error. */
int mqtt_say(struct mqtt *m, const char *topic, char *text, size_t len);
/* The platform told the bridge its names. */
void mqtt_identity(struct mqtt *m, struct cw_bytes pk, struct cw_bytes dn);
void mqtt_subscribe(struct mqtt *m, int gateway, const char *pk, const char *dn);
/* The reply with this id came. 1 when it belonged to a post. */
int mqtt_post_replied(struct mqtt *m, const struct cw_alink_reply *r);
/* Which device a post with this id was of, or NULL. */
struct cw_updevice *mqtt_post_device(struct mqtt *m, uint32_t id);
/* Nothing of the posts points to `d` any more. */
void mqtt_posts_forget(struct mqtt *m, struct cw_updevice *d);

/* A post for a parcel, not sent; end takes the parcel out and frees it when nothing is under way. */
struct mqtt_send *mqtt_send_new(struct mqtt *m, struct cw_updevice *d, struct cw_parcel *p);
struct cw_parcel *mqtt_send_end(struct mqtt_send *s);
/* Send it alone. 0; CW_EBUSY, CW_ENOMEM: not now; anything else: never. */
int mqtt_publish_one(struct mqtt *m, struct mqtt_send *s);
/* A post that is still at the client concerns nobody any more. */
void mqtt_orphaned(struct mqtt *m);
/* A post has left the client. */
void mqtt_post_out(struct mqtt *m, int orphan);

/* pack.c */
int mqtt_pack_init(struct mqtt *m);
void mqtt_pack_fini(struct mqtt *m);
/* 1: the parcel is a member of a pack now; 0: it has to go alone; CW_ENOMEM. */
int mqtt_pack_take(struct mqtt *m, struct cw_updevice *d, struct cw_parcel *p);
/* A post leaves its pack, if it is in one. */
void mqtt_pack_leave(struct mqtt_send *s);
void mqtt_pack_replied(struct mqtt *m, const struct cw_alink_reply *r);
/* There may be room at the client again. */
void mqtt_pack_go_on(struct mqtt *m);
void mqtt_pack_down(struct mqtt *m);

/* session.c */
int mqtt_session_init(struct mqtt *m);
void mqtt_session_fini(struct mqtt *m);
void mqtt_session_up(struct mqtt *m);
void mqtt_session_down(struct mqtt *m, const char *why);
void mqtt_session_goodbye(struct mqtt *m); /* log all out, without waiting */
void mqtt_device_changed(void *connector, struct cw_updevice *d);
void mqtt_device_drained(void *connector, struct cw_updevice *d);
/* The reply to a request; 0 when the id is not one of ours. */
int mqtt_request_replied(struct mqtt *m, enum mqtt_what what, const struct cw_alink_reply *r);
/* The platform says that a device has no session here (any more), or no relation, with one of its codes. */
void mqtt_device_kicked(struct mqtt *m, struct cw_updevice *d, int32_t code, const char *text);
/* topo/change: the relation was made, removed, enabled, disabled. */
void mqtt_device_related(struct mqtt *m, struct cw_updevice *d, int status);

/* Send what waits and may go. */
void mqtt_pump(struct mqtt *m);

/* enroll.c */
void mqtt_enroll_init(struct mqtt *m);
void mqtt_enroll_fini(struct mqtt *m);
void mqtt_enroll(void *connector, struct cw_enroll *e);
/* Ask for the first of `to_enroll`; 1. */
int mqtt_ask_enroll(struct mqtt *m);
/* The reply to a registration; 0 when the id is not one of ours. */
int mqtt_enroll_replied(struct mqtt *m, const struct cw_alink_reply *r);
void mqtt_enroll_down(struct mqtt *m, const char *why);

/* products.c */
/* A device of the product is logged in on this connection. */
void mqtt_product_up(struct mqtt *m, const char *pk);
void mqtt_products_down(struct mqtt *m);

/* names.c: the names of a bridge that has only a certificate, kept in the state directory. */
void mqtt_names_read(struct mqtt *m);
void mqtt_names_keep(struct mqtt *m);
void mqtt_names_forget(struct mqtt *m);

/* self.c */
void mqtt_self_fini(struct mqtt *m);
void mqtt_self_up(struct mqtt *m);
void mqtt_self_down(struct mqtt *m);
/* A message about the gateway's own log; 0: not one. */
int mqtt_self_take(struct mqtt *m, const struct cw_topic *t, const struct cw_alink_reply *r);
/* The answer to the question for the time. 0 or CW_EPROTO. */
int mqtt_self_time(struct mqtt *m, struct cw_bytes payload);

/* down.c */
void mqtt_message(struct mqtt *m, struct cw_bytes topic, struct cw_bytes payload);
void mqtt_answer(void *connector, struct cw_downlink *d);

#endif
