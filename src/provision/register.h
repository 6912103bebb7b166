/* register.h - inside of registration: the two ways and what they share. */
#ifndef CW_PROVISION_REGISTER_H
#define CW_PROVISION_REGISTER_H

#include "platform/sign.h"
#include "provision/provision.h"

#define CW_REGISTER_RANDOM 24 /* of the nonce, with its NUL */
#define CW_REGISTER_TIMEOUT_MS 20000u

/* priv begins with it. */
struct cw_register_job {
	struct cw_registration *r;
	int (*cancel)(struct cw_register_job *job); /* ends with gone(); 1: nothing was given away */
};

int cw_register_random(char random[CW_REGISTER_RANDOM]);
/* What the platform's codes mean here, and what to do. *ret_rc: CW_EREFUSED or CW_EBUSY. */
const char *cw_register_code_text(int code, int *ret_rc);
/*
 * The certificate out of a JSON object: names must be the ones asked for, and a secret (or both of client id and token) be
 * there. 0 or CW_EPROTO.
 */
int cw_register_read(const struct cw_registration *r, struct cw_bytes object, struct cw_certificate *ret);
/* The same out of JSON text. */
int cw_register_parse(const struct cw_registration *r, struct cw_bytes json, struct cw_certificate *ret);

int cw_register_https(struct cw_fetch_pool *pool, struct cw_registration *r, struct cw_msg *msg);
int cw_register_mqtt_check(const struct cw_registration *r, struct cw_msg *msg);
int cw_register_mqtt(struct cw_worker *w, struct cw_registration *r, struct cw_msg *msg);

#endif
