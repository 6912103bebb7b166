/*
 * openapi.h - the management API, as far as a certificate needs it: find a device, or create it.
 *
 * QueryDeviceDetail first; RegisterDevice only when the platform says that the device does not exist; asked again after
 * AlreadyExistedDeviceName. So repeating the whole is harmless at any point, and needs no mark on disk.
 * Throttling, errors of the platform and of the network are tried three times more, after 0.5, 1 and 2 s. On the control loop.
 */
#ifndef CW_PROVISION_OPENAPI_H
#define CW_PROVISION_OPENAPI_H

#include "provision/openapi_call.h"
#include "provision/provision.h"

struct cw_openapi_find {
	const struct cw_openapi_account *account;
	const char *product_key, *device_name;
	/*
	 * Exactly once unless cancelled. rc: 0 with `got`; CW_EREFUSED the platform said no; CW_EBUSY, CW_EUNREACH, CW_EACCESS, CW_EPROTO as in
	 * provision.h. `created`: by this call. code: the platform's, "" when none. text: a sentence with code, request id and
	 * what to do; never with a key or a secret.
	 */
	void (*done)(struct cw_openapi_find *f, int rc, int created, const char *code, const struct cw_certificate *got, const char *text);
	char iot_id[64]; /* the platform's id of the device, with rc 0; "" when it says none */
	void *ctx;  /* the caller's */
	void *priv; /* the module's */
};

/* `f` must live until `done`. */
int cw_openapi_find(struct cw_worker *w, struct cw_fetch_pool *pool, struct cw_openapi_find *f, struct cw_msg *msg);
void cw_openapi_cancel(struct cw_openapi_find *f);

#endif
