/*
 * register_mqtt.c - a device fetches its secret by a CONNECT of its own: signed with the product's secret, answered by
 * CONNACK and then by one message that nobody subscribed.
 *
 * One connection, one CONNECT: the client never reconnects by itself, for each CONNECT is a registration. The
 * result is told before the connection is closed, so that it is stored while the platform still waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "mqtt/client.h"
#include "provision/register.h"
#include "upstream/endpoint.h"

struct job {
	struct cw_register_job base;
	struct cw_worker *w;
	const struct cw_mqtt_ops *ops;
	struct cw_mqtt_client *client;
	struct cw_timer timer;
	int accepted; /* CONNACK 0: from here on a secret may be on its way */
	int told;     /* done has run, or a cancel came instead */
};

static int split(const char *endpoint, struct cw_endpoint *ret)
{
	static const struct cw_endpoint_scheme schemes[] = { { .name = "ssl", .tls = 1 }, { .name = NULL } };
	static const struct cw_endpoint_form form = { schemes, "ssl://", "ssl://host:1883" };
	struct cw_msg msg;

	return cw_endpoint_parse(endpoint, &form, ret, &msg);
}

int cw_register_mqtt_check(const struct cw_registration *r, struct cw_msg *msg)
{
	struct cw_endpoint at;

	if (split(r->endpoint, &at) < 0)
		return cw_fail(msg, CW_ECONF,
			       "registration: the endpoint '%.200s' is not like ssl://host:1883; a secret is asked for over TLS only",
			       r->endpoint);
	return 0;
}

static void tell(struct job *j, int rc, int code, const struct cw_certificate *got, const char *text)
{
	if (j->told)
		return;
	j->told = 1;
	cw_timer_stop(cw_worker_timers(j->w), &j->timer);
	j->base.r->done(j->base.r, rc, code, got, text);
	j->ops->close(j->client, 1);
}

static void on_connected(void *ctx, int code, const char *text)
{
	static const char *const why[] = {
		[1] = "its MQTT level is not supported; is this the platform's MQTT endpoint?",
		[2] = "the request is malformed for it: check ProductKey, DeviceName and the instance id, and that the endpoint is the "
		      "TLS one",
		[3] = "the platform has a problem of its own; try again later",
		[4] = "the ProductSecret is wrong, dynamic registration is switched off for the product, the DeviceName is not registered, "
		      "or the device is active already (its secret was issued, and only once): look at the product in the console; a "
		      "lost secret needs the device reset, or deleted and added anew",
		[5] = "the device may not connect; look at it in the console",
	};
	struct job *j = ctx;
	char sentence[512];

	if (code == 0) {
		j->accepted = 1;
		return;
	}
	if (code < 0) {
		(void)snprintf(sentence, sizeof(sentence), "%.300s: no registration was made", text);
		tell(j, strncmp(text, "TLS:", 4) == 0 ? CW_EACCESS : CW_EUNREACH, 0, NULL, sentence);
		return;
	}
	(void)snprintf(sentence, sizeof(sentence), "the platform refused the registration of %s (CONNACK %d): %s",
		       j->base.r->device_name, code, code <= 5 ? why[code] : "a code that MQTT does not have");
	tell(j, code == 3 ? CW_EBUSY : CW_EREFUSED, code, NULL, sentence);
}

static void on_down(void *ctx, const char *text)
{
	struct job *j = ctx;

	tell(j, j->accepted ? CW_ECLOSED : CW_EUNREACH, 0, NULL,
	     j->accepted ? "the platform accepted the registration, but the connection ended before the result came"
			 : "the connection ended before the platform answered: no registration was made");
}

static void on_message(void *ctx, struct cw_bytes topic, struct cw_bytes payload, int qos, int retained)
{
	struct job *j = ctx;
	struct cw_certificate got;
	int rc;

	(void)qos;
	if (j->told || (!cw_bytes_equal(topic, cw_bytes_text("/ext/register")) && !cw_bytes_equal(topic, cw_bytes_text("/ext/regnwl"))))
		return;
	rc = cw_register_parse(j->base.r, payload, &got);
	tell(j, rc, 0, rc == 0 ? &got : NULL,
	     rc == 0 ? "" : "the platform accepted the registration, but what it sent is not understood");
	explicit_bzero(&got, sizeof(got));
}

static void on_subscribed(void *ctx, void *arg, int refused)
{
	(void)ctx;
	(void)arg;
	(void)refused;
}

static void on_gone(void *ctx)
{
	struct job *j = ctx;
	struct cw_registration *r = j->base.r;

	r->priv = NULL;
	cw_free(j);
	r->gone(r);
}

static void on_timer(struct cw_timer *t)
{
	struct job *j = cw_container_of(t, struct job, timer);

	tell(j, j->accepted ? CW_ETIMEDOUT : CW_EUNREACH, 0, NULL,
	     j->accepted ? "the platform accepted the registration, but the result did not come in time"
			 : "the platform did not answer in time: no registration was made");
}

static int cancel(struct cw_register_job *base)
{
	struct job *j = cw_container_of(base, struct job, base);

	if (j->told)
		return 0; /* on its way out already */
	j->told = 1;
	cw_timer_stop(cw_worker_timers(j->w), &j->timer);
	j->ops->close(j->client, 1);
	return !j->accepted;
}

int cw_register_mqtt(struct cw_worker *w, struct cw_registration *r, struct cw_msg *msg)
{
	static const struct cw_mqtt_events events = { on_connected, on_down, on_message, on_subscribed, on_gone };
	struct cw_endpoint at;
	char base[CW_BASE_CLIENT_ID_MAX + 1], random[CW_REGISTER_RANDOM], text[256] = "";
	unsigned timeout = r->timeout_ms != 0 ? r->timeout_ms : CW_REGISTER_TIMEOUT_MS;
	struct job *j = cw_zalloc(sizeof(*j));
	struct cw_sign_connect login = { .password = "" };
	struct cw_mqtt_conf conf = { .host = at.host, .tls = 1, .verify = r->tls.verify, .ca = r->tls.ca, .certificate = r->tls.certificate,
				     .key = r->tls.key, .client_id = login.client_id, .user = login.user, .password = login.password,
				     .keep_alive_s = 60, .connect_timeout_s = (timeout + 999) / 1000, .outstanding = 10 };
	int rc = j == NULL ? CW_ENOMEM : cw_register_random(random);

	if (rc == 0 && (size_t)snprintf(base, sizeof(base), "%s.%s", r->product_key, r->device_name) >= sizeof(base))
		rc = CW_ELIMIT;
	if (rc == 0)
		rc = cw_sign_connect_register(&login, CW_SIGN_SHA256, base, r->product_key, r->device_name, r->product_secret, random,
					      r->no_whitelist, r->instance_id);
	if (rc == 0)
		rc = split(r->endpoint, &at);
	if (rc == 0) {
		conf.port = (int)at.number;
		j->base.r = r;
		j->base.cancel = cancel;
		j->w = w;
		j->ops = cw_mqtt_client(0);
		rc = j->ops->connect(&conf, w, &events, j, text, sizeof(text), &j->client);
	}
	explicit_bzero(&login, sizeof(login));
	if (rc < 0) {
		cw_free(j);
		return cw_fail(msg, rc, "registration: %s", text[0] != '\0' ? text : cw_error_text(rc));
	}
	cw_timer_set(cw_worker_timers(w), &j->timer, timeout, on_timer);
	r->priv = &j->base;
	return 0;
}
