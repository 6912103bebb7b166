/* mqtt_login.h - may this CONNECT in? The checks in the platform's order, without a socket. */
#ifndef CW_CLOUD_MQTT_LOGIN_H
#define CW_CLOUD_MQTT_LOGIN_H

#include "cloud/core/cloud.h"
#include "cloud/mqtt/codec.h"

struct cloud_mqtt_verdict {
	uint8_t code;       /* of CONNACK; 0: accepted */
	const char *reason; /* static, of a refusal */
	struct cloud_device *device; /* accepted; or known although refused; or NULL */
	struct cloud_login login;    /* accepted; texts lent from the packet */
	unsigned keep_alive_s;
	int registration; /* accepted, but as a registration: nobody is online by it */
};

/* `level` is 3 or 4; other levels were answered already. */
void cw_cloud_mqtt_login(struct cw_cloud *c, const struct cloud_mqtt_connect *p, int tls, struct cloud_mqtt_verdict *ret);

/*
 * The key of a pre-shared TLS identity "devicename|hmacsha256|pk&dn|timestamp": HMAC hex in upper
 * case, 64 characters. Its length, or 0 when the identity is malformed, unknown, or max too small.
 */
unsigned cw_cloud_psk_key(struct cw_cloud *c, const char *identity, char *out, unsigned max);

#endif
