/*
 * admin.h - the control socket: an HTTP API for operators on a unix socket, on the control loop.
 *
 * Reads statistics, devices and upstreams; acts only through the bridge, the gateway
 * and two functions of its owner. The CLI's verbs are its first users.
 */
#ifndef CW_ADMIN_ADMIN_H
#define CW_ADMIN_ADMIN_H

#include "bridge/bridge.h"
#include "gateway/gateway.h"

struct cw_admin;

struct cw_admin_conf {
	struct cw_worker *control;
	const char *address;  /* unix:PATH */
	struct cw_bridge *bridge; /* NULL: not there yet; only status and stop answer, and say what is waited for */
	struct cw_gateway *gateway;
	const struct cw_plugin_desc **protocols;
	size_t protocol_count;
	unsigned worker_count;
	int64_t started_ms;
	void *ctx;            /* for the two below */
	void (*stop)(void *ctx);
	/* 0, or CW_EBUSY; `done` runs later with a sentence. */
	int (*reload)(void *ctx, void (*done)(void *arg, int rc, const char *sentence), void *arg);
	/* The n-th thing that the start waits for; NULL past the last. Lent. */
	const char *(*waits)(void *ctx, size_t n);
};

/* Listen. `conf` is copied. Errors carry a sentence. */
int cw_admin_open(const struct cw_admin_conf *conf, struct cw_admin **ret_admin, struct cw_msg *msg);
/* The bridge has come: the same socket, with other settings (but its address). */
void cw_admin_update(struct cw_admin *a, const struct cw_admin_conf *conf);
/* Close the socket and remove it; requests under way are cut. Accepts NULL. */
void cw_admin_close(struct cw_admin *a);

#endif
