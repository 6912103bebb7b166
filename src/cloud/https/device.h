/*
 * device.h - what devices ask over HTTPS, without sockets: one request in, one answer out.
 *
 * Access: /auth gives a token for a signature, /topic/... takes one message. Authentication host: a registration,
 * and where MQTT is. Nothing is kept but tokens and the last message's number. One thread.
 */
#ifndef CW_CLOUD_HTTPS_DEVICE_H
#define CW_CLOUD_HTTPS_DEVICE_H

#include "cloud/core/cloud.h"
#include "cloud/core/login/sign.h"

struct https_device {
	struct cw_cloud *cloud;
	uint64_t last_message; /* 18 digits, only growing */
};

/* Texts are lent; NULL: not sent. */
struct https_ask {
	const char *path;  /* decoded */
	const char *query; /* behind the question mark */
	const char *type;  /* Content-Type */
	const char *token; /* the field `password` */
	const char *host;  /* Host */
	const char *peer;
	const char *body; /* NUL behind it, never NULL */
	size_t len;
	int too_large; /* the body was thrown away */
};

struct https_answer {
	unsigned status;
	json_t *body;      /* NULL: none, or no memory for it */
	unsigned delay_ms; /* a fault keeps the answer back so long */
	int withheld;      /* a fault keeps it back for good */
	int cut;           /* a fault closes the connection instead of answering */
	int stalled;       /* nothing was looked at: ask again later */
};

/* Fills *ret, which is zero before; the caller owns ret->body. */
typedef void (*https_fn)(struct https_device *h, const struct https_ask *ask, struct https_answer *ret);

void cw_cloud_https_auth(struct https_device *h, const struct https_ask *ask, struct https_answer *ret);
void cw_cloud_https_topic(struct https_device *h, const struct https_ask *ask, struct https_answer *ret);
void cw_cloud_https_register(struct https_device *h, const struct https_ask *ask, struct https_answer *ret);
void cw_cloud_https_bootstrap(struct https_device *h, const struct https_ask *ask, struct https_answer *ret);
void cw_cloud_https_device_name(struct https_device *h, const struct https_ask *ask, struct https_answer *ret);

/* ---- between the files ---- */

/* One parameter of a signature. */
struct https_pair {
	struct cloud_text name, value;
};

/* Whether `sign` is the HMAC of name value name value..., ascending by name, without version, sign and signmethod.
 * Sorts `pairs`. */
int cw_cloud_https_signed(const char *secret, enum cloud_hmac method, struct https_pair *pairs, size_t count,
			  const struct cloud_text *sign);
/* Content-Type without what follows a semicolon, letters compared without case. */
int cw_cloud_https_type_is(const char *type, const char *want);
/* A fault answers instead, or stalls the request: 1, and *ret says so. */
int cw_cloud_https_struck(struct https_device *h, const char *device, const char *topic, struct https_answer *ret);
/* {code, message}, HTTP 200. */
void cw_cloud_https_code(struct https_answer *ret, int code);
/* Note a refused login; d NULL: nobody known. */
void cw_cloud_https_refused(struct https_device *h, const struct https_ask *ask, struct cloud_device *d, int code,
			    const char *reason);
/* NULL, or why this device may not log in here with its secret (static text). */
const char *cw_cloud_https_barred(const struct cloud_device *d);

#endif
