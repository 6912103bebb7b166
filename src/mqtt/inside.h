/* inside.h - what the client libraries' files share; nothing else includes it. */
#ifndef CW_MQTT_INSIDE_H
#define CW_MQTT_INSIDE_H

#include <arpa/inet.h>

#include "mqtt/client.h"

#define CW_MQTT_SUBSCRIBE_MOST 8
#define CW_MQTT_DISCONNECT_MS 500u /* for what is still unacknowledged on a polite end */

/* Settings of an attempt, copied. Zero-initialise. */
struct cw_mqtt_settings {
	int port, tls, tls13, verify, mqtt5, clean_session, will_qos, will_retain;
	unsigned keep_alive_s, connect_timeout_s, outstanding, attempt;
	char *host, *ca, *certificate, *key, *client_id, *user, *password, *will_topic, *will, *ws_path;
	size_t will_len;
};

/* 0 or CW_ENOMEM; free in either case. */
int cw_mqtt_settings_copy(struct cw_mqtt_settings *to, const struct cw_mqtt_conf *conf);
void cw_mqtt_settings_free(struct cw_mqtt_settings *s);

/* The n-th address as text, those of IPv4 first, around and around. 0: there is none. */
int cw_mqtt_address(const struct addrinfo *list, unsigned n, char out[INET6_ADDRSTRLEN]);

/*
 * The reason in a line of OpenSSL's, `1A2B:error:0A000086:SSL routines:some_function:certificate verify failed:...`;
 * the first one counts: `out` is written only while it is empty.
 */
void cw_mqtt_tls_text(char *out, size_t size, const char *line);

#endif
