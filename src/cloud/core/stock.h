/* stock.h - the part of the stock that only the core itself needs; the rest is in cloud.h. */
#ifndef CW_CLOUD_STOCK_H
#define CW_CLOUD_STOCK_H

#include "cloud/core/cloud.h"

/* Free every product and device; nobody may be online. */
void cw_cloud_stock_free(struct cw_cloud *c);
/* Forget reported state, counters and refused attempts of every device. */
void cw_cloud_stock_reset(struct cw_cloud *c);
/* Remember that there was a device, or a product, of this name. */
void cw_cloud_bury(struct cw_cloud *c, const char *id);
/* Make or end a relation; no notices. */
void cw_cloud_relate(struct cloud_device *gateway, struct cloud_device *child);
void cw_cloud_unrelate(struct cloud_device *child);
/* thing/topo/change to a gateway about one device. */
void cw_cloud_topo_changed(struct cw_cloud *c, struct cloud_device *gateway, const struct cloud_device *d, int status);

#endif
