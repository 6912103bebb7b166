/*
 * request.h - parameters of one management call, and its signature (RPC style, version 1.0). No I/O, no state; any
 * thread.
 *
 * What was sent is added pair by pair, query before body; cw_cloud_pop_sort() then puts it in the order in which it is
 * signed, and drops all but the first of a name. Written from the documents alone, as sign.h is.
 */
#ifndef CW_CLOUD_OPENAPI_REQUEST_H
#define CW_CLOUD_OPENAPI_REQUEST_H

#include "cloud/wire/bytes.h"

#define POP_PARAMS_MAX 2500u   /* a thousand names with their nicknames, and some */
#define POP_SIGNATURE_SIZE 29u /* Base64 of 20 bytes, and the final NUL */

struct pop_param {
	const char *name, *value; /* of the structure's own memory */
	unsigned order;           /* of arrival */
};

struct pop_params {
	struct pop_param *list;
	unsigned count, room;
};

/* Copies both. 0, CW_ELIMIT (too many), CW_EPROTO (not UTF-8), CW_ENOMEM. */
int cw_cloud_pop_add(struct pop_params *p, const char *name, const char *value);
void cw_cloud_pop_sort(struct pop_params *p);
void cw_cloud_pop_fini(struct pop_params *p);
/* The value, or NULL; only after sorting. */
const char *cw_cloud_pop_find(const struct pop_params *p, const char *name);

/* `text` with everything but letters, digits and - _ . ~ as %XX. 0 or CW_ENOMEM. */
int cw_cloud_pop_encode(struct cloud_bytes *out, const char *text);
/* What is signed: METHOD&%2F&(all but Signature, joined and encoded once more). No final NUL. Only after sorting. */
int cw_cloud_pop_string_to_sign(const struct pop_params *p, const char *method, struct cloud_bytes *out);
/* Base64 of the HMAC of `text` by the secret. 0 or CW_EINTERNAL. */
int cw_cloud_pop_sign(const char *secret, const void *text, size_t len, char out[POP_SIGNATURE_SIZE]);

/* YYYY-MM-DDThh:mm:ssZ to milliseconds since 1970. 0 or CW_EINVAL. */
int cw_cloud_pop_time(const char *text, int64_t *ret_ms);

#endif
