/* psk.h - keys of pre-shared TLS identities, MQTT's and CoAP's alike. */
#ifndef CW_CLOUD_PSK_H
#define CW_CLOUD_PSK_H

#include "cloud/core/cloud.h"

#define CLOUD_PSK_MAX 64u

/*
 * The key of "devicename|hmacsha256|pk&dn|timestamp": HMAC hex in upper case, not terminated. Its length, or 0 when the
 * identity is malformed or unknown, or max too small.
 */
unsigned cw_cloud_psk_key(struct cw_cloud *c, const char *identity, size_t len, char *out, unsigned max);

#endif
