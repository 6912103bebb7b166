/*
 * client.h - what is asked of an MQTT client library: one connection
 * attempt, from connect to gone. A table, so that another library can stand in.
 *
 * All calls are made on the worker's loop and all callbacks run there. A client is
 * used for one connection only: after `down` it is closed, and a new one made.
 */
#ifndef CW_MQTT_CLIENT_H
#define CW_MQTT_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "causeway/bytes.h"
#include "loop/worker.h"

struct cw_mqtt_client;

/* One publish, embedded in what it is about; must live until `done`, which comes exactly once after a publish that
 * returned 0. */
struct cw_mqtt_token {
	struct cw_mail mail;
	struct cw_list link;
	struct cw_mqtt_client *client;
	atomic_int posted;
	unsigned mid; /* the client's */
	int rc;       /* 0: written (QoS 0) or acknowledged (QoS 1); CW_EREFUSED: refused (MQTT 5, `code` says why);
			 CW_ECLOSED and others: not known to have arrived */
	int code;     /* MQTT 5's reason, with CW_EREFUSED */
	void (*done)(struct cw_mqtt_token *t);
};

struct cw_mqtt_events {
	/* The CONNACK came: 0 accepted, else its code; or a negative CW_E* with a sentence when none came. */
	void (*connected)(void *ctx, int code, const char *text);
	/* The connection is lost. Not called after close. */
	void (*down)(void *ctx, const char *text);
	/* A message; lent. `retained`: the broker kept it from before the subscription. */
	void (*message)(void *ctx, struct cw_bytes topic, struct cw_bytes payload, int qos, int retained);
	/* Topics of a SUBSCRIBE, by bit, that the platform refused; -1: it was not answered. */
	void (*subscribed)(void *ctx, void *arg, int refused);
	/* After close: nothing refers to the client any more; all tokens were told. */
	void (*gone)(void *ctx);
};

struct cw_mqtt_conf {
	const char *host; /* name or address, without brackets */
	int port;
	int tls, verify;
	const char *ws_path; /* not NULL: over WebSocket, with this path */
	int tls13; /* 1.2 is too old */
	const char *ca, *certificate, *key;
	const char *client_id, *user, *password;
	unsigned keep_alive_s, connect_timeout_s;
	unsigned attempt;     /* which of the host's addresses: the next one with each attempt that failed */
	unsigned outstanding; /* messages the library may hold */
	int mqtt5;            /* 0: MQTT 3.1.1. With 5 a session ends with its connection, clean or not */
	int clean_session;
	/* What the broker publishes when the connection ends without DISCONNECT; will_topic NULL: nothing. */
	const char *will_topic;
	struct cw_bytes will;
	int will_qos, will_retain;
};

/* What one library can and another cannot: `can` of its operations. */
enum cw_mqtt_can {
	CW_MQTT_CAN_WS = 1 << 0,    /* speak over WebSocket */
	CW_MQTT_CAN_TLS13 = 1 << 1, /* be told to refuse TLS 1.2 */
	CW_MQTT_CAN_TLS6 = 1 << 2   /* check the certificate of an IPv6 address */
};

struct cw_mqtt_ops {
	const char *name;
	unsigned can; /* enum cw_mqtt_can */
	/* Make it and start to connect; settings are copied. 0 or an error with a sentence in text[size]. */
	int (*connect)(const struct cw_mqtt_conf *conf, struct cw_worker *w, const struct cw_mqtt_events *events,
		       void *ctx, char *text, size_t size, struct cw_mqtt_client **ret_client);
	/* 0, CW_EBUSY (too many outstanding), CW_ENOMEM, CW_ECLOSED, CW_EINVAL (topic), CW_ELIMIT (longer than the
	 * broker takes); payload is copied. */
	int (*publish)(struct cw_mqtt_client *c, const char *topic, struct cw_bytes payload, int qos, int retain,
		       struct cw_mqtt_token *t);
	/* Topics are copied; at most 8. */
	int (*subscribe)(struct cw_mqtt_client *c, const char *const *topics, int count, void *arg);
	/* End it, with DISCONNECT when it is up and `polite`; `gone` follows. */
	void (*close)(struct cw_mqtt_client *c, int polite);
};

extern const struct cw_mqtt_ops cw_mqtt_paho, cw_mqtt_mosquitto;

/* The libraries by name, ending with NULL, and the operations of number `i` of them. */
extern const char *const cw_mqtt_client_names[];
const struct cw_mqtt_ops *cw_mqtt_client(int i);

#endif
