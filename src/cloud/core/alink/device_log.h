/*
 * device_log.h - what devices post about themselves: lines of their own log, and the state of their network.
 *
 * Bounded a device, the oldest go first; a restart forgets them. Whether a device shall report its log is a switch
 * it asks for and is told of, and that is kept. One thread.
 */
#ifndef CW_CLOUD_DEVICE_LOG_H
#define CW_CLOUD_DEVICE_LOG_H

#include "cloud/core/alink/alink.h"

#define CLOUD_LOG_LINES     500u    /* of a device */
#define CLOUD_LOG_BYTES     262144u /* of them, as JSON */
#define CLOUD_DIAG_ENTRIES  100u
#define CLOUD_DIAG_BYTES    65536u

/* Handlers of alink.c. */
int cw_cloud_log_config_get(struct alink_request *r);
int cw_cloud_log_post(struct alink_request *r);
int cw_cloud_diag_post(struct alink_request *r);

/* Switch reporting on or off, and tell the device. */
enum cloud_outcome cw_cloud_log_switch(struct cw_cloud *c, struct cloud_device *d, int on);
/* {report, lines: [{.., received}], diagnosis: [{model, p, received}]}, oldest first: new, or NULL. */
json_t *cw_cloud_device_log_json(const struct cloud_device *d);
/* What is saved of it with the device: the switch. */
json_t *cw_cloud_device_log_save(struct cw_cloud *c, const struct cloud_device *d);
int cw_cloud_device_log_load(struct cw_cloud *c, struct cloud_device *d, const json_t *j);
void cw_cloud_device_log_free(struct cloud_device *d);

#endif
