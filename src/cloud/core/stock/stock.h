/* stock.h - the part of the stock that only the core itself needs; the rest is in cloud.h. */
#ifndef CW_CLOUD_STOCK_H
#define CW_CLOUD_STOCK_H

#include "cloud/core/cloud.h"

/* No longer in the map. */
void cw_cloud_product_free(struct cloud_product *p);
/* Free every product and device; nobody may be online. */
void cw_cloud_stock_free(struct cw_cloud *c);
/* `digits` (up to 64) letters and digits at random, with a final NUL. */
int cw_cloud_make_text(char *out, size_t digits);
/* A further session of `d`, for clients.c. The link of one that is freed is down. NULL: out of memory. */
struct cloud_device *cw_cloud_session_new(struct cloud_device *d);
void cw_cloud_session_free(struct cloud_device *session);
/* What outlives a session that has ended: subscriptions and kept messages go. */
void cw_cloud_session_forget(struct cw_cloud *c, struct cloud_device *session);
/* End this session alone; see cw_cloud_device_kick(). */
void cw_cloud_session_kick(struct cw_cloud *c, struct cloud_device *session, int code, const char *reason);
/* Order devices with these names, which fit. */
struct cloud_batch;
int cw_cloud_batch_order(struct cw_cloud *c, struct cloud_product *p, const char *const *names, const char *const *nicknames,
                         size_t n, struct cloud_batch **ret_batch, struct cw_msg *msg);
/* Forget what outlives sessions, reported state, counters and refused attempts of every device; nobody is online. */
void cw_cloud_stock_reset(struct cw_cloud *c);
/* Remember that there was a device, or a product, of this name. */
void cw_cloud_bury(struct cw_cloud *c, const char *id);
/* Make or end a relation; no notices. */
void cw_cloud_relate(struct cloud_device *gateway, struct cloud_device *child);
void cw_cloud_unrelate(struct cloud_device *child);
/* thing/topo/change to a gateway about one device. */
void cw_cloud_topo_changed(struct cw_cloud *c, struct cloud_device *gateway, const struct cloud_device *d, int status);

#endif
