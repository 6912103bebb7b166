/* conn.h - one MQTT connection, shared by front.c (its stream) and session.c (its packets). */
#ifndef CW_CLOUD_MQTT_CONN_H
#define CW_CLOUD_MQTT_CONN_H

#include "cloud/core/cloud.h"
#include "cloud/mqtt/codec.h"
#include "cloud/wire/stream.h"

/*
 * LOGIN -> UP -> CLOSING; each may go to CLOSING. LOGIN has a deadline for CONNECT, UP has the
 * keep-alive. LOGIN -> REGISTERED is a CONNECT that only fetched a secret: nobody is online by it, and it has 15 s
 * to leave.
 */
enum mqtt_state { MQTT_LOGIN, MQTT_REGISTERED, MQTT_UP, MQTT_CLOSING };

struct mqtt_conn {
	struct cloud_stream stream; /* first */
	struct cloud_link link;
	struct cw_cloud *cloud;
	enum mqtt_state state;
	struct cw_timer deadline;
	uint64_t heard_ms; /* the machine's clock: clients do not travel in time */
	unsigned keep_alive_s, level;
	unsigned withheld; /* PUBACKs a fault keeps back */

	/* towards the client */
	struct cw_list inflight, waiting; /* struct mqtt_push */
	unsigned inflight_count, waiting_count;
	uint16_t next_id;
};

extern const struct cloud_link_ops cw_cloud_mqtt_ops;

static inline void cw_cloud_mqtt_drop(struct mqtt_conn *m, const char *reason)
{
	cw_cloud_stream_drop(&m->stream, reason);
}

static inline void cw_cloud_mqtt_put(struct mqtt_conn *m, const void *data, size_t len)
{
	cw_cloud_stream_put(&m->stream, data, len);
}

/* session.c */
void cw_cloud_mqtt_begin(struct mqtt_conn *m);
/* Decode and act; returns the bytes used. The connection may be CLOSING afterwards. */
size_t cw_cloud_mqtt_packets(struct mqtt_conn *m, const uint8_t *data, size_t len);
/* Bytes a second to be read, by limits.throughput or a fault; and that they were too many. */
uint64_t cw_cloud_mqtt_rate(const struct mqtt_conn *m);
void cw_cloud_mqtt_throttled(struct mqtt_conn *m, uint64_t rate);
int cw_cloud_mqtt_may_read(const struct mqtt_conn *m);

#endif
