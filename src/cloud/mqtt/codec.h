/*
 * mqtt_codec.h - MQTT 3.1 and 3.1.1 packets as a server sees them: bytes in, packets out,
 * answers back to bytes. No socket, no state, no allocation while decoding; everything a
 * packet points at is lent from the input. Strict: what the standard calls malformed is refused.
 */
#ifndef CW_CLOUD_MQTT_CODEC_H
#define CW_CLOUD_MQTT_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "cloud/core/login/client_id.h"

enum cloud_mqtt_type {
	MQTT_CONNECT = 1,
	MQTT_CONNACK = 2,
	MQTT_PUBLISH = 3,
	MQTT_PUBACK = 4,
	MQTT_SUBSCRIBE = 8,
	MQTT_SUBACK = 9,
	MQTT_UNSUBSCRIBE = 10,
	MQTT_UNSUBACK = 11,
	MQTT_PINGREQ = 12,
	MQTT_PINGRESP = 13,
	MQTT_DISCONNECT = 14,
};

#define MQTT_PAYLOAD_MAX 262144u
/* Largest packet worth reading: a payload of the limit, the longest topic and the headers. */
#define MQTT_PACKET_MAX  (MQTT_PAYLOAD_MAX + 65535u + 9u)

struct cloud_mqtt_connect {
	uint8_t level; /* 3 or 4 decoded whole; any other: nothing behind it was looked at */
	uint8_t clean;
	uint8_t will;
	uint8_t has_user, has_password;
	uint16_t keep_alive_s;
	struct cloud_text client_id, user, password;
};

struct cloud_mqtt_publish {
	struct cloud_text topic;
	const uint8_t *payload;
	size_t len;
	uint16_t id; /* 0 with QoS 0 */
	uint8_t qos, dup, retain;
};

struct cloud_mqtt_packet {
	uint8_t type;
	size_t size; /* bytes of the whole packet; with CW_EBUSY the bytes needed, as far as known */
	uint16_t id; /* PUBACK, SUBSCRIBE, UNSUBSCRIBE */
	union {
		struct cloud_mqtt_connect connect;
		struct cloud_mqtt_publish publish;
		struct {
			const uint8_t *at, *end; /* checked; walk with cw_cloud_mqtt_filter() */
			unsigned count;
		} filters;
	} u;
};

/*
 * Decode the packet at the start of `in`. `level` is the protocol level of the connection (0
 * before CONNECT). 0; CW_EBUSY: more bytes are needed; CW_EPROTO: malformed or of no use to a
 * server; CW_ELIMIT: larger than MQTT_PACKET_MAX or payload above MQTT_PAYLOAD_MAX.
 */
int cw_cloud_mqtt_decode(const uint8_t *in, size_t len, unsigned level, struct cloud_mqtt_packet *ret_packet);

/* Next filter of a SUBSCRIBE (qos filled) or UNSUBSCRIBE packet. 1, or 0 at the end. */
int cw_cloud_mqtt_filter(struct cloud_mqtt_packet *p, struct cloud_text *ret_filter, uint8_t *ret_qos);

/* Answers. Each writes to `out` (large enough as named) and returns its length. */
size_t cw_cloud_mqtt_connack(uint8_t out[4], int session_present, uint8_t code);
size_t cw_cloud_mqtt_connack5(uint8_t out[5], uint8_t reason);
size_t cw_cloud_mqtt_ack(uint8_t out[4], enum cloud_mqtt_type type, uint16_t id);
/* `count` at most MQTT_TOPICS_MAX. */
#define MQTT_TOPICS_MAX 100u
size_t cw_cloud_mqtt_suback(uint8_t out[MQTT_TOPICS_MAX + 4], uint16_t id, const uint8_t *codes, size_t count);
size_t cw_cloud_mqtt_pingresp(uint8_t out[2]);
/* Header of a PUBLISH up to its payload, and the room it needs at most. */
#define MQTT_PUBLISH_HEAD(topic_len) ((topic_len) + 9u)
size_t cw_cloud_mqtt_publish_head(uint8_t *out, const char *topic, size_t topic_len, size_t payload_len, uint8_t qos,
                                  int dup, uint16_t id);

#endif
