/* settings.c - see settings.h. */
#include "upstream/http2/settings.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const struct cw_conf_setting settings[] = {
	CW_CONF(struct http2_settings, auth_endpoint, STRING, "authEndpoint", NULL, NULL, NULL,
		"Where devices are authenticated, as in https://host/auth/bridge; default: made from region."),
	CW_CONF(struct http2_settings, keep_alive_ms, DURATION, "keepAlive", "30s", "1s", "80s",
		"Silence of the platform after which it is asked (PING); twice as long, and the connection is given "
		"up."),
	CW_CONF(struct http2_settings, alpn, BOOL, "alpn", "true", NULL, NULL,
		"Offer h2 in the TLS handshake; the Java library does not."),
	CW_CONF(struct http2_settings, in_flight, INT, "inFlight", "200", "1", "1000",
		"Messages sent and not yet confirmed, of different devices: of one device one is under way at a time."),
	CW_CONF(struct http2_settings, qos, INT, "qos", "1", "0", "1", "QoS of posts."),
	CW_CONF(struct http2_settings, rate_device_qos0, INT, "ratePerDeviceQos0", "30", "0", "1000000",
		"Messages a second and device at QoS 0; 0: no limit."),
	CW_CONF(struct http2_settings, rate_device_qos1, INT, "ratePerDeviceQos1", "10", "0", "1000000",
		"The same at QoS 1."),
	CW_CONF(struct http2_settings, login_rate, INT, "loginRate", "0", "0", "1000000",
		"Device logins a second; 0: no limit but loginParallel."),
	CW_CONF(struct http2_settings, login_parallel, INT, "loginParallel", "8", "1", "64",
		"Device logins asked for at once."),
	CW_CONF(struct http2_settings, max_devices, INT, "maxDevices", "0", "0", "1000000",
		"Devices behind this bridge; 0: what the platform takes, 15000, or 200000 behind a large bridge."),
	CW_CONF(struct http2_settings, return_ms, DURATION, "returnTime", "10m", "1s", "7d",
		"Large bridge: devices that were online before a restart and are not back by then are reported "
		"offline."),
	CW_CONF_END
};

const struct cw_conf_table cw_upstream_http2_table = { .name = "upstream",
						       .size = sizeof(struct http2_settings),
						       .settings = settings };

int http2_configure(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg)
{
	const struct http2_settings *own = conf->own;

	(void)msg;
	conf->keep_alive_s = (unsigned)(own->keep_alive_ms / 1000);
	conf->in_flight = own->in_flight;
	conf->in_flight_device = 1; /* requests overtake each other */
	conf->qos = (int)own->qos;
	conf->rate_device_qos0 = own->rate_device_qos0;
	conf->rate_device_qos1 = own->rate_device_qos1;
	conf->login_rate = own->login_rate;
	conf->login_batch = 1;
	conf->max_devices = own->max_devices != 0 ? own->max_devices
			    : conf->large         ? HTTP2_DEVICES_LARGE
						  : HTTP2_DEVICES_SMALL;
	conf->post_version = 1;
	if (conf->endpoint == NULL && conf->region != NULL) {
		(void)snprintf(text, size, "https://%s.iot-as-http2.%s.aliyuncs.com:443",
			       conf->product_key == NULL ? "" : conf->product_key, conf->region);
		conf->endpoint = text;
	}
	return 0;
}

static int is_literal(const char *host)
{
	uint8_t bytes[16];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* As in the Java library, `http` is encrypted, too. */
static const struct cw_endpoint_scheme schemes[] = {
	{ .name = "https", .port = 443, .tls = 1, .rest = 1, .alpn = "h2" },
	{ .name = "http", .port = 443, .tls = 1, .rest = 1, .alpn = "h2" },
	{ .name = NULL },
};
const struct cw_endpoint_form http2_endpoint_form = { schemes, "https://", "https://host:443 or https://[2001:db8::1]:443" };

int http2_parse_endpoint(const char *text, struct http2_address *ret, struct cw_msg *msg)
{
	struct cw_endpoint at;
	int rc = cw_endpoint_parse(text, &http2_endpoint_form, &at, msg), v6 = at.bracketed;

	if (rc < 0)
		return rc;
	(void)snprintf(ret->host, sizeof(ret->host), "%s", at.host);
	(void)snprintf(ret->port, sizeof(ret->port), "%s", at.port);
	ret->literal = is_literal(ret->host);
	if (v6 && !ret->literal)
		return cw_fail(msg, CW_ECONF, "endpoint: '%s' has no IPv6 address between its brackets", text);
	if (at.number == 443)
		(void)snprintf(ret->authority, sizeof(ret->authority), v6 ? "[%s]" : "%s", ret->host);
	else
		(void)snprintf(ret->authority, sizeof(ret->authority), v6 ? "[%s]:%s" : "%s:%s", ret->host, ret->port);
	return 0;
}

int http2_check(const struct cw_upstream_conf *c, const char *auth_endpoint, struct cw_msg *msg)
{
	const char *missing = c->product_key == NULL   ? "productKey"
			      : c->device_name == NULL ? "deviceName"
						       : "deviceSecret";
	struct http2_address at;

	if (c->endpoint == NULL)
		return cw_fail(msg, CW_ECONF, "endpoint is missing; it looks like https://host:443");
	if (c->product_key == NULL || c->device_name == NULL || c->device_secret == NULL)
		return cw_fail(msg, CW_ECONF,
			       "%s of the bridge is missing; HTTP/2 takes productKey, deviceName and deviceSecret, "
			       "nothing else",
			       missing);
	if (strlen(c->product_key) >= 32 || strlen(c->device_name) >= 64)
		return cw_fail(msg, CW_ECONF, "productKey or deviceName of the bridge are too long");
	if (auth_endpoint == NULL)
		return cw_fail(
			msg, CW_ECONF,
			"authEndpoint is missing; it looks like https://iot-auth.REGION.aliyuncs.com/auth/bridge");
	if (strncmp(auth_endpoint, "https://", 8) != 0 && strncmp(auth_endpoint, "http://", 7) != 0)
		return cw_fail(msg, CW_ECONF, "authEndpoint: '%s' does not begin with https://", auth_endpoint);
	return http2_parse_endpoint(c->endpoint, &at, msg);
}
