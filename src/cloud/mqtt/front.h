/*
 * mqtt_front.h - the MQTT channel: one port for plain TCP and TLS, told apart by the first byte.
 *
 * A connection reads into one buffer shared by all, decodes in place and answers into a buffer of
 * its own that is written once per pass of the loop. Its states are in mqtt_conn.h. Whatever a
 * client can make grow is bounded: an unfinished packet by MQTT_PACKET_MAX, what it does not read by
 * limits.outQueue, messages under way by limits.inflightOut. One thread.
 */
#ifndef CW_CLOUD_MQTT_FRONT_H
#define CW_CLOUD_MQTT_FRONT_H

#include "cloud/core/cloud.h"
#include "cloud/wire/tls.h"

struct cloud_mqtt;

/* Listen on "host:port" (port 0: any free one). `tls` is lent. 0 or an error with a sentence. */
int cw_cloud_mqtt_open(struct cw_cloud *c, struct cloud_tls *tls, const char *address, struct cloud_mqtt **ret_front,
                       struct cw_msg *msg);
/* The bound address, "host:port". */
const char *cw_cloud_mqtt_address(const struct cloud_mqtt *f);
/* Close listener and connections; `closed` runs when the last handle is gone and the front is freed. */
void cw_cloud_mqtt_close(struct cloud_mqtt *f, void (*closed)(void *arg), void *arg);

#endif
