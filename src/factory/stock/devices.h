/*
 * devices.h - the table of devices in the field (factory.md D, device_table): an id, and the certificate once there is one.
 *
 * The table in the database has exactly the columns of the document, the secret sealed: deviceId, registerTime, activateTime,
 * productKey, deviceName, deviceSecret, iotId.
 */
#ifndef CW_FACTORY_DEVICES_H
#define CW_FACTORY_DEVICES_H

#include "factory/stock/stock.h"

struct cw_field_device {
	const char *device_id;
	const char *product_key;   /* always known: where it is registered */
	const char *device_name;   /* "": made from deviceId when it is registered */
	const char *device_secret; /* "": not registered yet; in lists always "" */
	const char *iot_id;        /* "" */
	int64_t register_time, activate_time; /* 0: not yet */
};
typedef int (*cw_field_fn)(void *arg, const struct cw_field_device *d); /* lent; secrets wiped afterwards */

/* Add ids, all or none; each may have its certificate already. Known ones with the same content count as known; CW_EEXIST names the id that differs. */
int cw_field_import(struct cw_stock *s, const struct cw_field_device *devices, size_t count, const struct cw_stock_actor *who,
		    size_t *ret_fresh, struct cw_msg *msg);
/* With its secret. CW_ENOENT: an illegal device. */
int cw_field_find(struct cw_stock *s, const char *device_id, cw_field_fn fn, void *arg, struct cw_msg *msg);
/* For the gateway: by product and name. product_key NULL: of any product, those that have their certificate, at most two. */
int cw_field_find_name(struct cw_stock *s, const char *product_key, const char *device_name, cw_field_fn fn, void *arg, struct cw_msg *msg);
/* What the platform gave; sets registerTime. CW_EEXIST: has another one already (another server was quicker; find again). On the disk when it returns. */
int cw_field_store(struct cw_stock *s, const char *device_id, const char *device_name, const char *device_secret, const char *iot_id,
		   const struct cw_stock_actor *who, struct cw_msg *msg);
/* It is about to be given its certificate: sets activateTime the first time, writes the audit entry. */
int cw_field_handed_out(struct cw_stock *s, const char *device_id, const struct cw_stock_actor *who, struct cw_msg *msg);
int cw_field_remove(struct cw_stock *s, const char *device_id, const struct cw_stock_actor *who, struct cw_msg *msg);
/* By id, from behind `after` (NULL: the first), at most `most` (0: all). Without secrets, or with (audited). */
int cw_field_each(struct cw_stock *s, const char *after, size_t most, const struct cw_stock_actor *with_secrets, cw_field_fn fn, void *arg,
		  struct cw_msg *msg);

#endif
