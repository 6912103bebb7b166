/*
 * settings.h - the rows of the configuration that only http2 has, and the endpoint taken
 * apart. No I/O.
 */
#ifndef CW_UPSTREAM_HTTP2_SETTINGS_H
#define CW_UPSTREAM_HTTP2_SETTINGS_H

#include "base/err.h"
#include "conf/schema.h"
#include "upstream/endpoint.h"
#include "upstream/upstream.h"

#define HTTP2_DEVICES_SMALL 15000u
#define HTTP2_DEVICES_LARGE 200000u

struct http2_settings {
	const char *auth_endpoint;
	int64_t keep_alive_ms, return_ms;
	uint32_t in_flight, rate_device_qos0, rate_device_qos1, login_rate, login_parallel, max_devices, qos;
	bool alpn;
};

extern const struct cw_conf_table cw_upstream_http2_table;
extern const struct cw_endpoint_form http2_endpoint_form;

/* See struct cw_connector_ops. */
int http2_configure(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg);

struct http2_address {
	char host[256];      /* without brackets */
	char authority[280]; /* as it stands in the endpoint, with the port unless that is 443 */
	char port[8];
	int literal; /* the host is an address */
};

/* Like the Java library: host and port count (443 without), a path does not, and `http://` means TLS as well. */
int http2_parse_endpoint(const char *text, struct http2_address *ret, struct cw_msg *msg);
/* All of what must be right before a connection is tried. */
int http2_check(const struct cw_upstream_conf *c, const char *auth_endpoint, struct cw_msg *msg);

#endif
