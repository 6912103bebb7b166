/*
 * front.h - the MQTT channel: one port for plain TCP, TLS, and WebSockets in either, told apart by the first bytes.
 *
 * A connection is a stream (wire/stream.h) with a link of the core. Its states are in conn.h. Whatever a client can make
 * grow is bounded: an unfinished packet by MQTT_PACKET_MAX, what it does not read by limits.outQueue,
 * messages under way by limits.inflightOut, what is read of it in a second by limits.throughput. One thread.
 */
#ifndef CW_CLOUD_MQTT_FRONT_H
#define CW_CLOUD_MQTT_FRONT_H

#include "cloud/front.h"

extern const struct cloud_front cw_cloud_mqtt_front;

#endif
