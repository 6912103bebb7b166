/* request.c - what requests of a bridge mean: login, subscriptions, messages, acknowledgements; see conn.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "base/log.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/traffic/violations.h"
#include "cloud/http2/conn.h"

/* ---- paths ---- */

int cw_cloud_h2_path(const char *in, size_t len, char *out, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		char c = in[i];

		if (c == '%') {
			int high = i + 2 < len ? cw_hex_value(in[i + 1]) : -1, low = i + 2 < len ? cw_hex_value(in[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -1;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '/' && n != 0 && out[n - 1] == '/') {
			continue;
		}
		if (c == '\0' || n + 1 >= size)
			return -1;
		out[n++] = c;
	}
	out[n] = '\0';
	return (int)n;
}

/* What follows `verb` in a path, beginning with a slash; NULL: another verb. */
static const char *topic_behind(const char *path, const char *verb)
{
	size_t n = strlen(verb);

	return strncmp(path, verb, n) == 0 && (path[n] == '/' || path[n] == '\0') ? path + n : NULL;
}

/* ---- login ---- */

static int sign_fits(const struct h2_auth *a, const struct cloud_device *d)
{
	enum cloud_hmac method = CLOUD_HMAC_MD5;
	char content[512];
	int n;

	if (a->has_method && cw_cloud_hmac_parse(a->method, strlen(a->method), &method) < 0)
		return 0;
	n = snprintf(content, sizeof(content), "clientId%sdeviceName%sproductKey%s%s%s", a->client_id, a->dn, a->pk,
		     a->has_timestamp ? "timestamp" : "", a->timestamp);
	return n > 0 && (size_t)n < sizeof(content) &&
	       cw_cloud_hmac_matches(method, d->secret, content, (size_t)n, a->sign, strlen(a->sign));
}

/* Status, and why it is not 200. */
static unsigned check_login(struct cw_cloud *c, const struct h2_auth *a, struct cloud_device **ret_device,
			    const char **ret_why)
{
	struct cloud_device *d;

	*ret_why = "credentials are missing";
	if (strcmp(a->name, "devicename") != 0 || a->pk[0] == '\0' || a->dn[0] == '\0' || a->client_id[0] == '\0')
		return 401;
	d = cw_cloud_device_find(c, a->pk, strlen(a->pk), a->dn, strlen(a->dn));
	*ret_device = d;
	*ret_why = "unknown device";
	if (d == NULL)
		return 401;
	*ret_why = "the product's devices log in with certificates";
	if (d->product->x509)
		return 401;
	*ret_why = "sign is wrong";
	if (!sign_fits(a, d))
		return 401;
	*ret_why = "device is disabled";
	if (d->disabled)
		return 403;
	*ret_why = "a sub-device connects through its gateway only";
	return d->product->type == CLOUD_NODE_SUBDEVICE ? 403 : 200;
}

/* 0, or the request was refused and the connection ends. */
static int login(struct h2_req *r)
{
	struct h2_conn *x = r->conn;
	struct cw_cloud *c = x->cloud;
	struct cloud_device *d = NULL;
	struct h2_bridge *b = NULL;
	const char *why;
	unsigned status = check_login(c, r->auth, &d, &why);

	if (status == 200 && x->bridge != NULL && x->bridge->device != d) {
		status = 403;
		why = "another identity is logged in on this connection";
	}
	if (status == 200 && x->bridge == NULL && (b = cw_cloud_h2_bridge(x->front, d)) == NULL) {
		status = 500;
		why = "out of memory";
	}
	if (status != 200) {
		c->stats.connects_refused++;
		if (d != NULL)
			cw_cloud_device_refused(c, d, (int)status, why);
		cw_log(cloud_refused, why, CW_LS("peer", x->stream.peer), CW_LS("product", r->auth->pk),
		       CW_LS("device", r->auth->dn), CW_LU("code", status));
		cw_cloud_h2_refuse(r, status, why);
		x->leave = "login refused";
		return -1;
	}
	if (b != NULL) {
		cw_cloud_h2_join(b, x, r->auth->client_id, r->clear_session);
		cw_log(cloud_connect, "accepted", CW_LS("device", d->id), CW_LS("peer", x->stream.peer),
		       CW_LS("client_id", r->auth->client_id));
	}
	return 0;
}

/* ---- messages ---- */

static uint64_t message_id(struct cw_cloud *c)
{
	char text[24];

	cw_cloud_next_id(c, text);
	return strtoull(text, NULL, 10);
}

/* The device a bridge speaks for, or NULL: it is not online through it. */
static struct cloud_device *device_of(struct h2_bridge *b, const struct h2_envelope *e)
{
	struct cloud_device *d = cw_cloud_device_find(b->front->cloud, e->pk, strlen(e->pk), e->dn, strlen(e->dn));

	return d != NULL && d->link == &b->link ? d : NULL;
}

static int names(const struct cloud_device *d, const struct cloud_topic *t)
{
	size_t pk = strlen(d->product->key), dn = strlen(d->dn);

	return t->pk.len == pk && memcmp(t->pk.s, d->product->key, pk) == 0 && t->dn.len == dn &&
	       memcmp(t->dn.s, d->dn, dn) == 0;
}

/* A publish that reached its device's topic: the core's verdict as a status. */
static void publish(struct h2_req *r, struct h2_bridge *b, struct cloud_device *d, const struct h2_envelope *e,
		    const char *topic, size_t topic_len)
{
	struct cw_cloud *c = r->conn->cloud;
	struct cloud_strike at = { .channel = "http2", .device = d->id, .topic = topic, .topic_len = topic_len };
	int withheld = cw_cloud_fault(c, CLOUD_FAULT_PUBACK, &at);
	enum cloud_verdict v = cw_cloud_publish(c, &b->link, topic, topic_len,
						e->payload.len != 0 ? (const char *)e->payload.data : "",
						e->payload.len, (uint8_t)r->qos);

	if (v == CLOUD_TAKEN && e->id != NULL)
		cw_cloud_h2_note(b, e->id);
	if (withheld) {
		r->answered = 1;
		return;
	}
	switch (v) {
	case CLOUD_TAKEN: cw_cloud_h2_accept(r, message_id(c)); break;
	case CLOUD_DROP_LIMIT: cw_cloud_h2_refuse(r, 429, "over the device's publish rate"); break;
	case CLOUD_DROP_SESSION: cw_cloud_h2_refuse(r, 403, "device is not online on this bridge"); break;
	case CLOUD_DROP_TOPIC: cw_cloud_h2_refuse(r, 403, "topic is not permitted"); break;
	}
}

static void take_post(struct h2_req *r, struct h2_bridge *b, const struct h2_envelope *e)
{
	struct cw_cloud *c = r->conn->cloud;
	struct cloud_device *d = device_of(b, e);
	char with_slash[512];
	const char *topic = e->topic;
	size_t len = e->topic_len;
	struct cloud_topic t;

	if (topic == NULL || len + 2 > sizeof(with_slash)) {
		cw_cloud_h2_refuse(r, 400, "params.topic is missing, empty or too long");
		return;
	}
	if (topic[0] != '/') { /* deleteDeviceTag of the Java library */
		with_slash[0] = '/';
		memcpy(with_slash + 1, topic, len + 1);
		topic = with_slash;
		len++;
	}
	if (d == NULL) {
		c->stats.dropped_session++;
		cw_log(cloud_dropped, "device is not online on this bridge", CW_LS("bridge", b->device->id),
		       CW_LS("product", e->pk), CW_LS("device", e->dn));
		cw_cloud_h2_refuse(r, 403, "device is not online on this bridge");
		return;
	}
	cw_cloud_topic_parse(topic, len, &t);
	if (t.kind != CLOUD_TOPIC_BAD && !names(d, &t)) {
		c->stats.dropped_permission++;
		d->dropped++;
		cw_log(cloud_dropped, "topic of another device", CW_LS("device", d->id), CW_LB("topic", topic, len));
		cw_cloud_h2_refuse(r, 403, "the topic names another device");
		return;
	}
	if (e->id != NULL && cw_cloud_h2_seen(b, e->id))
		cw_cloud_h2_accept(r, message_id(c));
	else
		publish(r, b, d, e, topic, len);
}

/* 200, 520 or 460. */
static int offline(struct h2_bridge *b, const struct h2_envelope *e)
{
	struct cloud_device *d = cw_cloud_device_find(b->front->cloud, e->pk, strlen(e->pk), e->dn, strlen(e->dn));

	if (d == NULL || d == b->device || e->net_id == NULL || strcmp(e->net_id, b->net_id) != 0)
		return 460;
	if (d->link != &b->link)
		return 520;
	cw_cloud_member_down(b->front->cloud, d, 0);
	return 200;
}

static void take_offline(struct h2_req *r, struct h2_bridge *b, const struct h2_envelope *e)
{
	char device[128];
	struct cloud_strike at = { .channel = "http2",
				   .device = device,
				   .topic = r->path + strlen("/message/pub"),
				   .topic_len = r->path_len - strlen("/message/pub") };
	json_t *body = json_pack("{s:s, s:i, s:{s:s, s:s}}", "id", e->id != NULL ? e->id : "0", "code", offline(b, e),
				 "data", "productKey", e->pk, "deviceName", e->dn);
	char *text = json_dumps(body, JSON_COMPACT);

	(void)snprintf(device, sizeof(device), "%.60s/%.60s", e->pk, e->dn);
	json_decref(body);
	if (cw_cloud_fault(b->front->cloud, CLOUD_FAULT_PUBACK, &at))
		r->answered = 1;
	else
		cw_cloud_h2_accept(r, message_id(b->front->cloud));
	if (text != NULL && !cw_cloud_fault(b->front->cloud, CLOUD_FAULT_REPLY, &at))
		cw_cloud_h2_queue(b, H2_QUEUE_OFFLINE, text, strlen(text), 0, 0);
	free(text);
}

static void take_publish(struct h2_req *r, struct h2_bridge *b, const char *topic)
{
	char own[96];
	struct h2_envelope e;
	int n = snprintf(own, sizeof(own), "/sys/%s/bridge/", b->device->id), is_post, rc;

	if (topic[0] == '\0' || strcmp(topic, "/") == 0) {
		cw_cloud_h2_refuse(r, 400, "the topic is empty");
		return;
	}
	is_post = strncmp(topic, own, (size_t)n) == 0 && strcmp(topic + n, "post") == 0;
	if (!is_post && (strncmp(topic, own, (size_t)n) != 0 || strcmp(topic + n, "offline") != 0)) {
		cw_cloud_h2_refuse(r, 403, "a bridge publishes to bridge/post and bridge/offline of its own");
		return;
	}
	if (r->too_large) {
		cw_cloud_h2_refuse(r, 413, "the body is larger than 16 MiB, or too much is under way");
		return;
	}
	rc = cw_cloud_envelope_parse(r->body.data, r->body.len, &e);
	if (rc == 0 && e.payload.len > b->front->cloud->conf.limits.payload_bytes)
		rc = CW_ELIMIT;
	if (rc == CW_ELIMIT) {
		cw_cloud_violation(b->front->cloud, b->device, "payload", "refused with 413");
		cw_cloud_h2_refuse(r, 413, "the payload is larger than limits.payload allows");
	} else if (rc == CW_ENOMEM)
		cw_cloud_h2_refuse(r, 500, "out of memory");
	else if (rc < 0)
		cw_cloud_h2_refuse(r, 400, "the body is not the JSON of a bridge, or its payload is not Base64");
	else if (is_post)
		take_post(r, b, &e);
	else
		take_offline(r, b, &e);
	r->conn->cloud->stats.malformed += rc == CW_EPROTO;
	cw_cloud_envelope_fini(&e);
}

/* ---- all of them ---- */

static int struck(struct h2_req *r, struct cloud_strike *at)
{
	char id[128];
	int hit;

	at->channel = "http2";
	at->device = r->conn->bridge != NULL ? r->conn->bridge->device->id : NULL;
	if (at->device == NULL && r->auth != NULL) {
		(void)snprintf(id, sizeof(id), "%.60s/%.60s", r->auth->pk, r->auth->dn);
		at->device = id;
	}
	at->topic = r->path;
	at->topic_len = r->path_len;
	if (strncmp(r->path, "/message/pub/", 13) == 0 || strncmp(r->path, "/message/sub/", 13) == 0) {
		at->topic += 12;
		at->topic_len -= 12;
	}
	hit = cw_cloud_fault(r->conn->cloud, CLOUD_FAULT_STATUS, at);
	at->device = NULL;
	return hit;
}

static void carry_out(struct h2_req *r)
{
	struct h2_bridge *b = r->conn->bridge;
	const char *topic;

	if ((topic = topic_behind(r->path, "/message/pub")) != NULL) {
		take_publish(r, b, topic);
	} else if ((topic = topic_behind(r->path, "/message/sub")) != NULL) {
		if (topic[0] == '\0' || topic[1] == '\0')
			cw_cloud_h2_refuse(r, 400, "the topic is empty");
		else if (cw_cloud_h2_subscribe(b, topic) < 0)
			cw_cloud_h2_refuse(r, 403,
					   "a bridge subscribes bridge/push and bridge/offline_reply of its own");
		else
			cw_cloud_h2_accept(r, 0);
	} else {
		if (strcmp(r->path, "/message/ack") == 0)
			cw_cloud_h2_ack(b, r->message_id);
		cw_cloud_h2_accept(r, 0);
	}
}

static int is_known(const char *path)
{
	return strcmp(path, "/message/echo/success") == 0 || strcmp(path, "/message/ack") == 0 ||
	       topic_behind(path, "/message/pub") != NULL || topic_behind(path, "/message/sub") != NULL;
}

void cw_cloud_h2_handle(struct h2_req *r)
{
	struct h2_conn *x = r->conn;
	struct cloud_strike at = { .code = 0 };

	if (x->state >= H2_LEAVING || x->leave != NULL)
		return;
	if (r->path_len != 0 && struck(r, &at)) {
		cw_cloud_h2_refuse(r, at.code >= 100 && at.code <= 999 ? (unsigned)at.code : 500, "fault");
		return;
	}
	if (r->path_len == 0 || r->bad != NULL) {
		x->cloud->stats.malformed++;
		cw_cloud_h2_refuse(r, 400, r->bad != NULL ? r->bad : "the path is missing");
		return;
	}
	if (!is_known(r->path)) {
		cw_cloud_h2_refuse(r, 404, "unknown path");
		return;
	}
	/* Clients of other kinds put the login on any request; once it is done only the login's own path does it again.
	 */
	if (r->auth != NULL && (x->bridge == NULL || strcmp(r->path, "/message/echo/success") == 0) && login(r) < 0)
		return;
	if (x->bridge == NULL) {
		cw_cloud_h2_refuse(r, 401, "no login on this connection");
		x->leave = strcmp(r->path, "/message/echo/success") == 0 ? "login refused" : NULL;
		return;
	}
	cw_cloud_h2_promise(x, r->id);
	carry_out(r);
}
