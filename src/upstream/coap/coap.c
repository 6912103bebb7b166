/*
 * coap.c - the platform over CoAP: settings, start and stop.
 *
 * One normal run of a device: wanted -> session (DTLS handshake) -> POST /auth -> token -> online -> the lane hands
 * records to send(), each becomes a POST /topic/... with the token -> 2.05 -> settled. One failing run: the platform is
 * silent -> the deadline ends session and token -> offline, so the lane takes back what was unconfirmed -> after its
 * pause the device begins again. There is no connection of the bridge itself.
 */
#include "upstream/coap/coap.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"

#define RETRANSMIT_MOST_MS 2000u /* RFC 7252's first wait */

static const char *const dtls_names[] = { "psk", "certificate", "off", NULL };
static const char *const sign_names[] = { "hmacmd5", "hmacsha1", "hmacsha256", NULL };
static const char *const payload_names[] = { "json", "cbor", NULL };

static const struct cw_conf_setting settings[] = {
	CW_CONF_CHOICE(struct coap_settings, dtls, "dtls", dtls_names, "psk",
		       "For coaps://: a key made from each device's secret, or the server's certificate checked "
		       "against tls.ca. "
		       "off: the symmetric mode of coap://, whose payloads are encrypted."),
	CW_CONF_CHOICE(struct coap_settings, sign, "signMethod", sign_names, "hmacsha256", "How logins are signed."),
	CW_CONF_CHOICE(struct coap_settings, payload, "payload", payload_names, "json",
		       "Format of logins and their answers; records are Alink JSON in any case."),
	CW_CONF(struct coap_settings, ack_mode, INT, "ackMode", "0", "0", "1",
		"0: the platform answers in its acknowledgement; 1: in a message of its own behind it."),
	CW_CONF(struct coap_settings, max_payload, BYTES, "maxPayload", "1KiB", "256", "8KiB",
		"Longest payload; the platform advises 1 KB. Longer records are sent property by property in several "
		"messages, or refused."),
	CW_CONF(struct coap_settings, pull_ms, DURATION, "pull", "60s", "0s", "1d",
		"How often commands are fetched for each device (the platform pushes none over CoAP); 0: never."),
	CW_CONF(struct coap_settings, idle_ms, DURATION, "sessionIdle", "4m", "0s", "1d",
		"A session without messages for so long is closed; the device stays online and the next message opens "
		"another one. 0: never."),
	CW_CONF(struct coap_settings, renew_ms, DURATION, "tokenRenew", "6d", "100ms", "365d",
		"Age at which a login is renewed; the platform's tokens live 7 days."),
	CW_CONF(struct coap_settings, in_flight, INT, "inFlight", "200", "1", "1000",
		"Messages sent and not yet confirmed, one of a device at most."),
	CW_CONF(struct coap_settings, rate_device_qos0, INT, "ratePerDeviceQos0", "30", "0", "10000",
		"Messages a second and device at QoS 0; 0: no limit."),
	CW_CONF(struct coap_settings, rate_device_qos1, INT, "ratePerDeviceQos1", "10", "0", "10000",
		"The same at QoS 1."),
	CW_CONF(struct coap_settings, login_rate, INT, "loginRate", "500", "0", "1000000",
		"Sessions opened a second; 0: no limit."),
	CW_CONF(struct coap_settings, handshakes, INT, "handshakes", "50", "1", "1000",
		"Sessions being opened at once."),
	CW_CONF(struct coap_settings, max_devices, INT, "maxDevices", "2000", "1", "100000",
		"Devices behind this upstream; each takes a descriptor and, with DTLS, about 45 kB."),
	CW_CONF_END
};

const struct cw_conf_table cw_upstream_coap_table = { .name = "upstream",
						      .size = sizeof(struct coap_settings),
						      .settings = settings };

static int configure(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg)
{
	const struct coap_settings *own = conf->own;
	int off = own->dtls == COAP_DTLS_OFF;

	conf->in_flight = own->in_flight;
	conf->in_flight_device = 1;
	conf->qos = 1;
	conf->rate_device_qos0 = own->rate_device_qos0;
	conf->rate_device_qos1 = own->rate_device_qos1;
	conf->login_rate = own->login_rate;
	conf->login_batch = 1;
	conf->max_devices = own->max_devices;
	conf->post_version = 1;
	if (conf->endpoint == NULL && conf->region != NULL) {
		(void)snprintf(text, size, "%s://${productKey}.coap.%s.link.aliyuncs.com:%s", off ? "coap" : "coaps",
			       conf->region, off ? "5682" : "5684");
		conf->endpoint = text;
	}
	return 0;
}

static int check(struct coap *c, const struct coap_settings *own, struct cw_msg *msg)
{
	const struct cw_upstream_conf *conf = &c->u->conf;
	int rc;

	if (own == NULL)
		return cw_fail(msg, CW_EINVAL, "the settings of a CoAP upstream are missing");
	if (conf->endpoint == NULL)
		return cw_fail(msg, CW_ECONF, "endpoint is missing; it looks like coaps://host:5684");
	rc = cw_endpoint_parse(conf->endpoint, &cw_coap_endpoint_form, &c->endpoint, msg);
	if (rc < 0)
		return rc;
	c->dtls = c->endpoint.scheme->tls ? (enum coap_dtls)own->dtls : COAP_DTLS_OFF;
	if (c->endpoint.scheme->tls && own->dtls == COAP_DTLS_OFF)
		return cw_fail(msg, CW_ECONF,
			       "endpoint: '%s' is DTLS, but dtls = off; the symmetric mode has coap:// and port 5682",
			       conf->endpoint);
	if (!c->endpoint.scheme->tls && own->dtls == COAP_DTLS_CERTIFICATE)
		return cw_fail(msg, CW_ECONF, "endpoint: dtls = certificate needs coaps://, not '%s'", conf->endpoint);
	return 0;
}

static void take_settings(struct coap *c, const struct coap_settings *own)
{
	uint64_t patience = (uint64_t)c->u->conf.ack_timeout_ms * COAP_ANSWER_TIMES;

	c->sign = (enum cw_sign_method)own->sign;
	c->format = own->payload == 1 ? COAP_FORMAT_CBOR : COAP_FORMAT_JSON;
	c->separate = own->ack_mode == 1;
	c->max_payload = (size_t)own->max_payload;
	c->pull_ms = (uint64_t)own->pull_ms;
	c->idle_ms = (uint64_t)own->idle_ms;
	c->renew_ms = (uint64_t)own->renew_ms;
	c->handshakes = own->handshakes;
	c->answer_ms = patience;
	c->open_ms = patience > COAP_OPEN_LEAST_MS ? patience : COAP_OPEN_LEAST_MS;
	c->logins.rate = c->u->conf.login_rate;
}

static void destroy(void *connector)
{
	struct coap *c = connector;
	struct cw_map_node *n;

	cw_map_each (n, &c->u->devices)
		cw_coap_device_free(cw_coap_device_of(cw_container_of(n, struct cw_updevice, node)));
	cw_coap_wire_free(c->wire);
	cw_coap_places_free(c->places);
	cw_await_fini(&c->ids);
	cw_free(c->sealed);
	cw_free(c->opened);
	cw_free(c);
}

static int make_parts(struct coap *c, struct cw_msg *msg)
{
	const struct cw_upstream_conf *conf = &c->u->conf;
	unsigned quarter = conf->ack_timeout_ms / 4;
	struct coap_wire_conf wire = { .dtls = c->dtls,
				       .ca = conf->ca,
				       .certificate = conf->certificate,
				       .key = conf->key,
				       .verify = conf->verify,
				       .retransmit_ms = quarter < RETRANSMIT_MOST_MS ? quarter : RETRANSMIT_MOST_MS,
				       .payload_most = (unsigned)COAP_CIPHER_LEN(c->max_payload) };

	c->sealed = cw_alloc(COAP_CIPHER_LEN(c->max_payload));
	c->opened = cw_alloc(COAP_CIPHER_LEN(c->max_payload));
	if (c->sealed == NULL || c->opened == NULL || cw_coap_places_new(&c->endpoint, &c->places) < 0)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	return cw_coap_wire_new(&wire, &cw_coap_wire_ops, &c->wire, msg);
}

static int create(struct cw_upstream *u, void **ret_connector, struct cw_msg *msg)
{
	const struct coap_settings *own = u->conf.own;
	struct coap *c = cw_zalloc(sizeof(*c));
	int rc;

	if (c == NULL)
		return CW_ENOMEM;
	c->u = u;
	cw_list_init(&c->queue);
	cw_await_init(&c->ids, u->w, 1, NULL);
	rc = check(c, own, msg);
	if (rc == 0) {
		take_settings(c, own);
		rc = make_parts(c, msg);
	}
	if (rc < 0) {
		destroy(c);
		return rc;
	}
	*ret_connector = c;
	return 0;
}

static void start(void *connector)
{
	struct coap *c = connector;
	int rc = c->stopping ? 0 : cw_coap_wire_start(c->wire, c->u->w);

	if (rc < 0) {
		cw_log(upstream_down, cw_error_text(rc), CW_LS("upstream", c->u->conf.name));
		cw_upstream_report(c->u, 0, cw_error_text(rc));
		c->stopping = 1;
		return;
	}
	cw_log(upstream_up, "ready; every device logs in by itself", CW_LS("upstream", c->u->conf.name),
	       CW_LS("endpoint", c->u->conf.endpoint));
	if (c->pull_ms == 0)
		cw_log(upstream_one_way, "pull = 0: no commands are fetched for devices behind this upstream",
		       CW_LS("upstream", c->u->conf.name));
	cw_upstream_report(c->u, 1, "ready; every device logs in by itself");
}

static void on_closed(void *arg)
{
	struct coap *c = arg;

	cw_upstream_stopped(c->u);
}

static void stop(void *connector)
{
	struct coap *c = connector;

	cw_coap_all_down(c, "the gateway stops");
	c->stopping = 1;
	cw_upstream_report(c->u, 0, "the gateway stops");
	cw_timer_stop(cw_coap_timers(c), &c->pump_timer);
	cw_coap_places_stop(c->places);
	cw_coap_wire_close(c->wire, on_closed, c);
}

const struct cw_connector_ops cw_connector_coap = {
	.without_bridge = 1,
	.type = "coap",
	.endpoint = &cw_coap_endpoint_form,
	.device_size = sizeof(struct coap_device),
	.can = CW_CAN_DOWNLINK,
	.configure = configure,
	.create = create,
	.destroy = destroy,
	.start = start,
	.stop = stop,
	.device_changed = cw_coap_device_changed,
	.send = cw_coap_send,
	.recall = cw_coap_recall,
	.drained = cw_coap_device_drained,
	.answer = cw_coap_answer,
};
