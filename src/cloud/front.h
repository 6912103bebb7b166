/*
 * front.h - what the program needs of a channel: open it, where it listens, close it.
 *
 * A channel is one row in CLOUD_LISTENERS (setting listeners.NAME, option --NAME, name in the ready file), and
 * one row in the table of main.c that points at its struct cloud_front.
 */
#ifndef CW_CLOUD_FRONT_H
#define CW_CLOUD_FRONT_H

#include "cloud/core/cloud.h"
#include "cloud/web/routes.h"
#include "cloud/wire/tls.h"

/* name, address by default, what is printed with the address in it, what it is */
#define CLOUD_LISTENERS(X) \
	X(mqtt, "127.0.0.1:1883", "%s", "MQTT: TCP, TLS and WebSocket alike") \
	X(http2, "127.0.0.1:9443", "https://%s", "the bridge channel: HTTP/2") \
	X(https, "127.0.0.1:8443", "https://%s", "devices over HTTPS, their registration, files") \
	X(api, "127.0.0.1:8090", "http://%s/", "the page, and the emulator's own API (/api/v1)")

enum cloud_listener {
#define CLOUD_LISTENER_ENUM(name, address, url, what) CLOUD_LISTENER_##name,
	CLOUD_LISTENERS(CLOUD_LISTENER_ENUM)
#undef CLOUD_LISTENER_ENUM
	CLOUD_LISTENER_COUNT
};

struct cloud_front_conf {
	struct cw_cloud *cloud;
	struct cloud_tls *tls;
	struct cloud_routes *routes; /* of the HTTPS listener: a front may serve paths there */
	const char *address;         /* "host:port", port 0: any free one */
};

struct cloud_front {
	/* 0 and the front, or an error with a sentence; everything was released then. `conf` is copied. */
	int (*open)(const struct cloud_front_conf *conf, void **ret_front, struct cw_msg *msg);
	/* Bound address, "host:port". */
	const char *(*address)(const void *front);
	/* `closed` runs when the last handle is gone and the front is freed. */
	void (*close)(void *front, void (*closed)(void *arg), void *arg);
};

#endif
