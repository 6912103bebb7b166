/*
 * provision.h - how a certificate is obtained from the platform: registration over HTTPS
 * or MQTT, over the bridge's own connection, or from the OpenAPI; and where the result is
 * kept before anybody uses it. On the control loop.
 *
 * The platform gives a secret out once. So: the intention is on disk before the request
 * (state `asked`), the answer is on disk (fsync) before it is used, and what was asked
 * and never stored is reported with the way out, not asked again in silence.
 */
#ifndef CW_PROVISION_PROVISION_H
#define CW_PROVISION_PROVISION_H

#include "base/err.h"
#include "fetch/fetch.h"
#include "loop/worker.h"

enum cw_register_via { CW_REGISTER_HTTPS, CW_REGISTER_MQTT };

/* A certificate as it was obtained: a secret, or (regnwl) client id and token. */
struct cw_certificate {
	char product_key[32], device_name[64];
	char device_secret[128];
	char client_id[128], device_token[192]; /* of regnwl */
};

/* Register a device by its product's certificate: `register` (pre-registered) or `regnwl` (not). TLS only. */
struct cw_registration {
	const char *product_key, *device_name, *product_secret;
	enum cw_register_via via;
	int no_whitelist;        /* regnwl; MQTT only */
	const char *endpoint;    /* https://host[:port]/auth/register/device or ssl://host:port */
	const char *instance_id; /* may be NULL */
	struct cw_fetch_tls tls;
	unsigned timeout_ms;
	/* Exactly once. code: the platform's (CONNACK code or JSON code), 0 when none; text: a sentence with what to do. */
	void (*done)(struct cw_registration *r, int rc, int code, const struct cw_certificate *got, const char *text);
	void *priv; /* the module's */
};
/* `r` must live until `done`. The fetch pool and the worker must, too. */
int cw_register(struct cw_worker *w, struct cw_fetch_pool *pool, struct cw_registration *r);
void cw_register_cancel(struct cw_registration *r);

#endif
