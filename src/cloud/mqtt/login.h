/* mqtt_login.h - may this CONNECT in? The checks in the platform's order, without a socket. */
#ifndef CW_CLOUD_MQTT_LOGIN_H
#define CW_CLOUD_MQTT_LOGIN_H

#include "cloud/core/cloud.h"
#include "cloud/core/stock/clients.h"
#include "cloud/mqtt/codec.h"

enum cloud_mqtt_admission {
	MQTT_ADMIT_LOGIN,      /* online from now on */
	MQTT_ADMIT_IDENTIFIED, /* online, and to be told who it is: its certificate said so */
	MQTT_ADMIT_REGISTER,   /* nobody is online by it: the device gets its secret */
	MQTT_ADMIT_REGNWL,     /* the same: the client gets its ClientID and DeviceToken */
};

struct cloud_mqtt_verdict {
	uint8_t code;                /* of CONNACK; 0: accepted */
	const char *reason;          /* static, of a refusal */
	enum cloud_mqtt_admission as;
	struct cloud_device *device; /* accepted (unless MQTT_ADMIT_REGNWL); or known although refused; or NULL */
	struct cloud_device *session; /* what goes online: the device, or the session of a client of its name */
	const struct cloud_client *client; /* MQTT_ADMIT_REGNWL */
	struct cloud_text pk, dn;    /* as sent, for MQTT_ADMIT_REGNWL; lent from the packet */
	struct cloud_login login;    /* accepted; texts lent from the packet */
	unsigned keep_alive_s;
};

/* What a CONNECT came through. */
struct cloud_mqtt_channel {
	int tls;
	const uint8_t *fingerprint; /* of the client's certificate, 32 bytes; NULL: none */
};

/* `level` is 3 or 4; other levels were answered already. */
void cw_cloud_mqtt_login(struct cw_cloud *c, const struct cloud_mqtt_connect *p, const struct cloud_mqtt_channel *channel,
                         struct cloud_mqtt_verdict *ret);

#endif
