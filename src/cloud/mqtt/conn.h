/* mqtt_conn.h - one MQTT connection, shared by mqtt_front.c (bytes) and mqtt_session.c (packets). */
#ifndef CW_CLOUD_MQTT_CONN_H
#define CW_CLOUD_MQTT_CONN_H

#include <uv.h>

#include "cloud/core/cloud.h"
#include "cloud/mqtt/codec.h"
#include "cloud/wire/tls.h"
#include "loop/closing.h"

struct cloud_mqtt {
	struct cw_cloud *cloud;
	struct cloud_tls *tls;
	uv_tcp_t tcp;
	uv_prepare_t prepare;
	struct cw_list conns, dirty;
	unsigned open; /* connections and our own handles */
	void (*closed)(void *arg);
	void *closed_arg;
	char address[64];
	char read_buf[65536], plain_buf[65536];
};

/*
 * FIRST_BYTE -> LOGIN -> UP -> CLOSING; each may go to CLOSING. FIRST_BYTE and LOGIN have a deadline
 * for CONNECT, UP has the keep-alive. LOGIN -> REGISTERED is a CONNECT that only fetched a secret: nobody
 * is online by it, and it has 15 s to leave.
 */
enum mqtt_state { MQTT_FIRST_BYTE, MQTT_LOGIN, MQTT_REGISTERED, MQTT_UP, MQTT_CLOSING };

struct mqtt_conn {
	struct cloud_link link; /* first */
	struct cloud_mqtt *front;
	struct cw_list all, dirty;
	struct cw_closing closing;
	uv_tcp_t tcp;
	uv_write_t write;
	int write_busy, reading;
	enum mqtt_state state;
	const char *doomed; /* close with this reason once all is written */
	struct cloud_tls_conn *tls; /* NULL: plain */
	struct cloud_bytes in, out, wire, writing;
	struct cw_timer deadline;
	uint64_t heard_ms;
	unsigned keep_alive_s, level;
	unsigned withheld; /* PUBACKs a fault keeps back */

	/* towards the client */
	struct cw_list inflight, waiting; /* struct mqtt_push */
	unsigned inflight_count, waiting_count;
	uint16_t next_id;
};

extern const struct cloud_link_ops cw_cloud_mqtt_ops;

/* mqtt_front.c */
void cw_cloud_mqtt_drop(struct mqtt_conn *m, const char *reason); /* close now, without a packet */
void cw_cloud_mqtt_put(struct mqtt_conn *m, const void *data, size_t len);
void cw_cloud_mqtt_dirty(struct mqtt_conn *m);
void cw_cloud_mqtt_read_again(struct mqtt_conn *m); /* start or stop reading, as may_read says */
void cw_cloud_mqtt_released(struct cloud_mqtt *f);

/* mqtt_session.c */
void cw_cloud_mqtt_begin(struct mqtt_conn *m);
/* Decode and act; returns the bytes used. The connection may be CLOSING afterwards. */
size_t cw_cloud_mqtt_packets(struct mqtt_conn *m, const uint8_t *data, size_t len);
int cw_cloud_mqtt_may_read(const struct mqtt_conn *m);

#endif
