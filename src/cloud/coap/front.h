/*
 * front.h - the two CoAP listeners: plain UDP (the symmetric mode) and DTLS with pre-shared keys.
 *
 * libcoap owns the socket, retransmission and DTLS; it is driven by our loop through its one descriptor. What requests
 * mean is in request.c.
 */
#ifndef CW_CLOUD_COAP_FRONT_H
#define CW_CLOUD_COAP_FRONT_H

#include "cloud/front.h"

extern const struct cloud_front cw_cloud_coap_front, cw_cloud_coaps_front;

#endif
