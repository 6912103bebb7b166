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

/*
 * Register a device by its product's certificate: `register` (pre-registered) or `regnwl` (not). TLS only.
 *
 * rc of `done`: 0 with `got`; CW_EREFUSED the platform said no (asking again gives the same answer until somebody changes
 * something there); CW_EBUSY it said later; CW_EUNREACH nothing reached it; CW_EACCESS the server is not trusted; these gave
 * nothing away. Anything else: the request was made and its outcome is not known, so the secret may have been given out.
 */
struct cw_registration {
	const char *product_key, *device_name, *product_secret;
	enum cw_register_via via;
	int no_whitelist;        /* regnwl; MQTT only */
	const char *endpoint;    /* https://host[:port][/auth/register/device] or ssl://host:port */
	const char *instance_id; /* may be NULL; regnwl on a purchased instance */
	struct cw_fetch_tls tls;
	unsigned timeout_ms;     /* 0: 20 s */
	/* Exactly once unless cancelled; store `got` now. code: the platform's (CONNACK code or JSON code), 0 when none; text: a
	 * sentence with what to do, never with a secret. */
	void (*done)(struct cw_registration *r, int rc, int code, const struct cw_certificate *got, const char *text);
	/* Exactly once, behind `done` or a cancel: nothing of the module refers to r, and for it to worker and pool, any more. */
	void (*gone)(struct cw_registration *r);
	void *ctx;  /* the caller's */
	void *priv; /* the module's */
};

/* Names, way and endpoint; CW_ECONF with a sentence, nothing is sent. */
int cw_register_check(const struct cw_registration *r, struct cw_msg *msg);
/* Where the platform's public instance registers: into text[size]. */
void cw_register_endpoint(enum cw_register_via via, const char *product_key, const char *region, char *text, size_t size);
/* Start; the settings (not r) may go when this has returned. An error means that neither callback will run. */
int cw_register(struct cw_worker *w, struct cw_fetch_pool *pool, struct cw_registration *r, struct cw_msg *msg);
/* `done` will not run any more, `gone` will: before this returns, or later. 1 when nothing can have been given away. */
int cw_register_cancel(struct cw_registration *r);
/* 1 when an rc of `done` says that nothing was given away. */
int cw_register_gave_nothing(int rc);

#endif
