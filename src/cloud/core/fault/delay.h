/* delay.h - replies that a fault holds back. One thread. */
#ifndef CW_CLOUD_DELAY_H
#define CW_CLOUD_DELAY_H

#include "cloud/core/cloud.h"

/* Send `body` (consumed) to the device after `ms`, if it is still there then. QoS 0; flags of cw_cloud_send(). When too much waits
   it goes at once. */
void cw_cloud_delay(struct cw_cloud *c, struct cloud_device *to, const char *topic, json_t *body, unsigned flags, unsigned ms);
/* Drop everything that waits. */
void cw_cloud_delay_drop(struct cw_cloud *c);

#endif
