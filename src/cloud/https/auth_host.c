/* auth_host.c - what the platform's authentication host serves: registration, and where MQTT is; see device.h. */
#include <stdlib.h>
#include <string.h>

#include "cloud/core/login/tokens.h"
#include "cloud/https/device.h"
#include "http/form.h"

#define IOT_TOKEN "iotToken" /* these are good for no channel of their own */

static struct cloud_text value_of(const struct cw_form *form, const char *name)
{
	size_t i;

	for (i = 0; i < form->count; i++) {
		if (strcmp(form->pairs[i].name, name) == 0)
			return (struct cloud_text){ form->pairs[i].value, strlen(form->pairs[i].value) };
	}
	return (struct cloud_text){ "", 0 };
}

/* The body's form; a malformed request has none, which leaves every field missing. */
static struct cw_form form_of(const struct https_ask *ask)
{
	struct cw_form form = { NULL, NULL, 0 };

	if (ask->query == NULL && !ask->too_large &&
	    cw_cloud_https_type_is(ask->type, "application/x-www-form-urlencoded"))
		(void)cw_form_parse(ask->body, ask->len, &form);
	return form;
}

static struct cloud_device *device_of(struct https_device *h, const struct cw_form *form)
{
	struct cloud_text pk = value_of(form, "productKey"), dn = value_of(form, "deviceName");

	return cw_cloud_device_find(h->cloud, pk.s, pk.len, dn.s, dn.len);
}

/* 1 and done when a fault answers instead. */
static int struck(struct https_device *h, const struct https_ask *ask, const struct cw_form *form,
		  struct https_answer *ret)
{
	const struct cloud_device *d = device_of(h, form);

	return cw_cloud_https_struck(h, d != NULL ? d->id : NULL, ask->path, ret);
}

static int enroll(struct https_device *h, const struct cw_form *form, struct cloud_device **ret_device)
{
	struct cloud_registration r = { .pk = value_of(form, "productKey"),
					.dn = value_of(form, "deviceName"),
					.random = value_of(form, "random"),
					.method = value_of(form, "signMethod"),
					.sign = value_of(form, "sign") };
	const struct cloud_product *p = cw_cloud_product_find(h->cloud, r.pk.s, r.pk.len);

	if (r.sign.len == 0 || r.method.len == 0 || (p != NULL && p->type == CLOUD_NODE_SUBDEVICE))
		return 460;
	return cw_cloud_register(h->cloud, &r, ret_device);
}

void cw_cloud_https_register(struct https_device *h, const struct https_ask *ask, struct https_answer *ret)
{
	struct cw_form form = form_of(ask);
	struct cloud_device *d = NULL;
	int code;

	if (!struck(h, ask, &form, ret)) {
		code = enroll(h, &form, &d);
		if (code != 200)
			cw_cloud_https_refused(h, ask, device_of(h, &form), code, cw_cloud_registration_text(code));
		cw_cloud_https_code(ret, code);
		if (code == 200)
			json_object_set_new(ret->body, "data",
					    json_pack("{s:s, s:s, s:s}", "productKey", d->product->key, "deviceName",
						      d->dn, "deviceSecret", d->secret));
	}
	cw_form_fini(&form);
}

/* {mqtt: {host, port}}: the port is ours, the host is the name by which the client found us. */
static json_t *resources(const struct https_device *h, const struct https_ask *ask)
{
	const char *mqtt = h->cloud->mqtt_address, *colon = strrchr(mqtt, ':');
	const char *host = ask->host != NULL && ask->host[0] != '\0' ? ask->host : mqtt;
	size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
	long port = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;

	len = len < strlen(host) ? len : strlen(host);
	return json_pack("{s:{s:s%, s:I}}", "mqtt", "host", host, len, "port", (json_int_t)port);
}

void cw_cloud_https_bootstrap(struct https_device *h, const struct https_ask *ask, struct https_answer *ret)
{
	struct cw_form form = form_of(ask);

	if (!struck(h, ask, &form, ret)) {
		if (value_of(&form, "productKey").len == 0 || value_of(&form, "deviceName").len == 0 ||
		    value_of(&form, "clientId").len == 0 || strcmp(value_of(&form, "resources").s, "mqtt") != 0) {
			cw_cloud_https_code(ret, 460);
		} else if (device_of(h, &form) == NULL) {
			cw_cloud_https_code(ret, 6100);
		} else {
			cw_cloud_https_code(ret, 200);
			json_object_set_new(ret->body, "data", json_pack("{s:o}", "resources", resources(h, ask)));
		}
	}
	cw_form_fini(&form);
}

/* The sign is over these four, as with /auth; everything else of the form is not signed. */
static int device_name_signed(const struct cw_form *form, const struct cloud_device *d)
{
	static const char *const names[] = { "clientId", "deviceName", "productKey", "timestamp" };
	struct cloud_text sign = value_of(form, "sign"), method_name = value_of(form, "signmethod");
	struct https_pair pairs[sizeof(names) / sizeof(names[0])];
	enum cloud_hmac method = CLOUD_HMAC_MD5;
	size_t n = 0, i;

	if (method_name.len != 0 && cw_cloud_hmac_parse(method_name.s, method_name.len, &method) < 0)
		return 0;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct cloud_text value = value_of(form, names[i]);

		if (value.len != 0)
			pairs[n++] = (struct https_pair){ { names[i], strlen(names[i]) }, value };
	}
	return cw_cloud_https_signed(d->secret, method, pairs, n, &sign);
}

static int device_name_code(struct https_device *h, const struct https_ask *ask, const struct cw_form *form)
{
	struct cloud_device *d = device_of(h, form);
	const char *reason = NULL;
	int code = 200;

	if (value_of(form, "clientId").len == 0 || value_of(form, "sign").len == 0)
		code = 460;
	else if (d == NULL)
		code = 6100;
	else if (cw_cloud_https_barred(d) != NULL)
		code = 6204;
	else if (!device_name_signed(form, d))
		code = 6287;
	if (code == 6204)
		reason = cw_cloud_https_barred(d);
	if (code != 200)
		cw_cloud_https_refused(h, ask, d, code, reason != NULL ? reason : cw_cloud_code_text(code));
	return code;
}

void cw_cloud_https_device_name(struct https_device *h, const struct https_ask *ask, struct https_answer *ret)
{
	struct cw_form form = form_of(ask);
	struct cloud_text client_id = value_of(&form, "clientId");
	const struct cloud_token *token = NULL;
	struct cloud_device *d;
	int code;

	if (!struck(h, ask, &form, ret)) {
		code = device_name_code(h, ask, &form);
		d = device_of(h, &form);
		if (code == 200) {
			token = cw_cloud_token_issue(h->cloud, d, IOT_TOKEN, &client_id,
						     h->cloud->conf.limits.https_token_ms);
			code = token != NULL ? 200 : 500;
		}
		cw_cloud_https_code(ret, code);
		if (token != NULL)
			json_object_set_new(ret->body, "data",
					    json_pack("{s:s, s:s, s:o}", "iotId", d->iot_id, "iotToken", token->text,
						      "resources", resources(h, ask)));
	}
	cw_form_fini(&form);
}
