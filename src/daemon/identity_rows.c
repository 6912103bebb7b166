/* identity_rows.c - who the bridge is: given, registered, or named after this machine; see config.h. */
#include "daemon/identity_rows.h"

#include <string.h>
#include <strings.h>

#include "platform/names.h"
#include "provision/rules.h"
#include "upstream/connector.h"
#include "upstream/kinds.h"

static const char *const types[] = { "register", "regnwl", NULL };
static const char *const vias[] = { "auto", "https", "mqtt", NULL };

static const struct cw_conf_setting bridge_settings[] = {
	CW_CONF_MUST(struct cw_config_bridge, product_key, STRING, "productKey", NULL, NULL, "ProductKey."),
	CW_CONF(struct cw_config_bridge, device_name, STRING, "deviceName", NULL, NULL, NULL, "DeviceName; absent: popClientProfile names it."),
	CW_CONF(struct cw_config_bridge, device_secret, SECRET, "deviceSecret", NULL, NULL, NULL, "DeviceSecret; file:PATH reads it from a file."),
	CW_CONF(struct cw_config_bridge, product_secret, SECRET, "productSecret", NULL, NULL, NULL,
		"Instead of deviceSecret: registers once, as `registration` says."),
	CW_CONF(struct cw_config_bridge, interface, STRING, "interface", NULL, NULL, NULL,
		"Instead of popClientProfile.interface, for this bridge."),
	CW_CONF_END
};
const struct cw_conf_table cw_config_certificate_table = { .name = "bridge", .size = sizeof(struct cw_config_bridge), .settings = bridge_settings };

static const struct cw_conf_setting profile_settings[] = {
	CW_CONF(struct cw_config_profile, access_key, SECRET, "accessKey", NULL, NULL, NULL, "AccessKeyId of an account that may query and register devices."),
	CW_CONF(struct cw_config_profile, access_secret, SECRET, "accessSecret", NULL, NULL, NULL, "Its secret; file:PATH reads it from a file."),
	CW_CONF(struct cw_config_profile, name, STRING, "name", NULL, NULL, NULL, "Region id; no further effect."),
	CW_CONF(struct cw_config_profile, region, STRING, "region", NULL, NULL, NULL, "Region id, as in cn-shanghai."),
	CW_CONF(struct cw_config_profile, product, STRING, "product", NULL, NULL, NULL, "Iot."),
	CW_CONF(struct cw_config_profile, endpoint, STRING, "endpoint", NULL, NULL, NULL,
		"Host of the management API, as in iot.cn-shanghai.aliyuncs.com; called over TLS."),
	CW_CONF(struct cw_config_profile, interface, STRING, "interface", NULL, NULL, NULL,
		"Ours: the network interface whose MAC address is the DeviceName; default: the one of highest index that is up and has an address."),
	CW_CONF_END
};
const struct cw_conf_table cw_config_profile_table = { .name = "popClientProfile", .size = sizeof(struct cw_config_profile),
						       .settings = profile_settings, .flags = CW_CONF_UNKNOWN_WARN };

static const struct cw_conf_setting registration_settings[] = {
	CW_CONF_CHOICE(struct cw_config_registration, type, "type", types, "register",
		       "register: the DeviceName was added to the product beforehand; regnwl: it was not, and the result (ClientID and DeviceToken) is "
		       "good for mqtt only."),
	CW_CONF_CHOICE(struct cw_config_registration, via, "via", vias, "auto", "https or mqtt; auto: https for register, mqtt for regnwl, which knows no other."),
	CW_CONF(struct cw_config_registration, endpoint, STRING, "endpoint", NULL, NULL, NULL,
		"https://host[:port] or ssl://host:port; default: made from region. TLS only."),
	CW_CONF(struct cw_config_registration, region, STRING, "region", NULL, NULL, NULL, "Region of the public instance; default: the upstream's, else cn-shanghai."),
	CW_CONF(struct cw_config_registration, instance_id, STRING, "instanceId", NULL, NULL, NULL, "Of a purchased instance, with regnwl."),
	CW_CONF_END
};
const struct cw_conf_table cw_config_registration_table = { .name = "registration", .size = sizeof(struct cw_config_registration),
							    .settings = registration_settings };

static int given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

static const char *missing_of_profile(const struct cw_config_profile *p)
{
	return !given(p->access_key)	    ? "popClientProfile.accessKey"
	       : !given(p->access_secret) ? "popClientProfile.accessSecret"
	       : !given(p->name)	    ? "popClientProfile.name"
	       : !given(p->region)	    ? "popClientProfile.region"
	       : !given(p->product)	    ? "popClientProfile.product"
	       : !given(p->endpoint)	    ? "popClientProfile.endpoint"
					    : NULL;
}

static int has_profile(const struct cw_config_profile *p)
{
	return given(p->access_key) || given(p->access_secret) || given(p->name) || given(p->region) || given(p->product) || given(p->endpoint);
}

enum cw_config_way cw_config_way(const struct cw_config *c, const struct cw_config_bridge *b, const char **ret_missing)
{
	const char *no_key = given(b->product_key) ? NULL : "productKey";

	*ret_missing = NULL;
	if (given(b->device_secret)) {
		*ret_missing = no_key != NULL ? no_key : given(b->device_name) ? NULL : "deviceName";
		return CW_WAY_GIVEN;
	}
	if (given(b->device_name)) {
		*ret_missing = no_key != NULL ? no_key : given(b->product_secret) ? NULL : "deviceSecret";
		return given(b->product_secret) ? CW_WAY_REGISTER : CW_WAY_GIVEN;
	}
	if (has_profile(&c->profile)) {
		*ret_missing = no_key != NULL ? no_key : missing_of_profile(&c->profile);
		return CW_WAY_PROFILE;
	}
	if (no_key != NULL && !given(b->product_secret))
		return CW_WAY_NONE;
	*ret_missing = no_key != NULL ? no_key : "deviceName";
	return given(b->product_secret) ? CW_WAY_REGISTER : CW_WAY_GIVEN;
}

const struct cw_config_bridge *cw_config_bridge_of(const struct cw_config *c, const struct cw_config_upstream *u, size_t i)
{
	return u->bridges.count == 0 ? &c->bridge : cw_conf_item(&u->bridges, struct cw_config_bridge, i);
}

static void check_registration(const struct cw_config *c, const struct cw_config_upstream *u, const struct cw_config_bridge *b,
			       const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_config_registration *r = &c->registration;
	const struct cw_value *where = cw_value_get(object, "registration");
	const struct cw_connector_ops *kind = cw_upstream_kind((size_t)u->type);
	struct cw_msg msg = { "" };
	int odd = 0, mqtt = r->via == CW_CONFIG_VIA_MQTT || (r->via == CW_CONFIG_VIA_AUTO && r->type == CW_CONFIG_REGNWL);

	if (cw_check_device_name(b->device_name, &msg) < 0)
		cw_conf_error_at(report, object, "the bridge of upstream \"%s\" cannot be registered: %s", u->name, msg.text);
	if (cw_check_product_secret(b->product_secret, &odd, &msg) < 0)
		cw_conf_error_at(report, object, "the bridge of upstream \"%s\" cannot be registered: %s", u->name, msg.text);
	else if (odd)
		cw_conf_warn_at(report, object, "productSecret has %zu characters; the platform issues 32 or 16", strlen(b->product_secret));
	if (r->type == CW_CONFIG_REGNWL && r->via == CW_CONFIG_VIA_HTTPS)
		cw_conf_error_at(report, where, "registration: regnwl works over MQTT only; leave via out, or say via = mqtt");
	if (r->type == CW_CONFIG_REGNWL && !(kind->can & CW_CAN_TOKEN))
		cw_conf_error_at(report, where,
				 "registration: regnwl gives a ClientID and a DeviceToken, with which only an upstream of type mqtt can log in; upstream \"%s\" is of type %s: "
				 "add the device to the product beforehand and say type = register",
				 u->name, kind->type);
	if (r->endpoint != NULL && strncmp(r->endpoint, mqtt ? "ssl://" : "https://", mqtt ? 6 : 8) != 0)
		cw_conf_error_at(report, where, "registration.endpoint is \"%.200s\"; accepted is %s, for a secret is asked for over TLS only", r->endpoint,
				 mqtt ? "ssl://host:port" : "https://host[:port]");
}

static void check_profile(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_config_profile *p = &c->profile;
	const struct cw_value *where = cw_value_get(object, "popClientProfile");

	if (strcasecmp(p->product, "iot") != 0)
		cw_conf_error_at(report, where, "popClientProfile.product is \"%.40s\"; accepted is Iot", p->product);
	if (strncmp(p->endpoint, "http://", 7) == 0)
		cw_conf_error_at(report, where, "popClientProfile.endpoint is in the clear; give the host alone, it is called over TLS");
}

static void check_one(const struct cw_config *c, const struct cw_config_upstream *u, const struct cw_config_bridge *b,
		      const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_connector_ops *kind = cw_upstream_kind((size_t)u->type);
	const char *missing;
	enum cw_config_way way = cw_config_way(c, b, &missing);
	struct cw_msg msg = { "" };

	if (way == CW_WAY_NONE && u->tls.certificate != NULL && u->tls.key != NULL && (kind->can & CW_CAN_CERTIFICATE))
		return; /* X.509: the platform tells the names */
	if (way == CW_WAY_NONE)
		missing = "productKey";
	if (missing != NULL) {
		cw_conf_error_at(report, object,
				 "the bridge's certificate is incomplete: %s is missing; needed are productKey, deviceName and deviceSecret (or productSecret, to register "
				 "once), or productKey and popClientProfile, or for type = mqtt the client certificate and key of a device alone",
				 missing);
		return;
	}
	if (cw_check_product_key(b->product_key, &msg) < 0)
		cw_conf_error_at(report, object, "the bridge's productKey: %s", msg.text);
	if (way == CW_WAY_REGISTER)
		check_registration(c, u, b, object, report);
	else if (way == CW_WAY_PROFILE)
		check_profile(c, object, report);
}

void cw_config_check_identity(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	size_t i, k, before = report->errors;

	for (i = 0; i < c->upstreams.count && report->errors == before; i++) {
		const struct cw_config_upstream *u = cw_conf_item(&c->upstreams, struct cw_config_upstream, i);

		if (cw_upstream_kind((size_t)u->type)->without_bridge)
			continue;
		for (k = 0; k == 0 || k < u->bridges.count; k++)
			check_one(c, u, cw_config_bridge_of(c, u, k), object, report);
	}
}

/* What rules obtain is kept in the table, so that must be asked before them. */
static int table_comes_first(const struct cw_config *c)
{
	const char *name;
	size_t i;

	for (i = 0; (name = cw_config_source(c, i)) != NULL && strcmp(name, "rules") != 0; i++)
		if (strcmp(name, "sqlite") == 0)
			return 1;
	return name == NULL;
}

static int has_upstream(const struct cw_config *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->upstreams.count; i++)
		if (strcmp(cw_conf_item(&c->upstreams, struct cw_config_upstream, i)->name, name) == 0)
			return 1;
	return 0;
}

void cw_config_check_rules(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_value *where = cw_value_get(object, "identity");
	struct cw_msg msg = { "" };
	size_t i;

	if (c->identity.rules.count > 0 && !table_comes_first(c))
		cw_conf_error_at(report, where, "identity.order: sqlite must stand before rules, for what rules obtain is kept in its table");
	if (c->identity.rule_retry_min_ms > c->identity.rule_retry_max_ms)
		cw_conf_error_at(report, where, "identity.ruleRetryMin is longer than identity.ruleRetryMax");
	for (i = 0; i < c->identity.rules.count; i++) {
		const struct cw_rule *r = cw_conf_item(&c->identity.rules, struct cw_rule, i);

		if (cw_rule_check(r, has_profile(&c->profile) && missing_of_profile(&c->profile) == NULL, &msg) < 0)
			cw_conf_error_at(report, where, "identity.rules[%zu]: %s", i, msg.text);
		if (r->upstream != NULL && !has_upstream(c, r->upstream))
			cw_conf_error_at(report, where, "identity.rules[%zu]: there is no upstream \"%.60s\"", i, r->upstream);
	}
}
