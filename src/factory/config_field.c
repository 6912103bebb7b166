/* config_field.c - see config_field.h. */
#include "factory/config_field.h"

#include <string.h>

#include "factory/field_name.h"

/* Shorter than this a secret can be guessed by who has a fast line and a year. */
#define SECRET_LEAST 16u
#define NAME_MOST 40u /* it stands in the audit log behind "field:token " */

static const struct cw_conf_setting token_settings[] = {
	CW_CONF_MUST(struct factory_field_token, name, STRING, "name", NULL, NULL, "Name in the audit log; unique."),
	CW_CONF_MUST(struct factory_field_token, token, SECRET, "token", NULL, NULL,
		     "Sent as Authorization: Bearer; file:PATH reads it from a file. At least 16 characters."),
	CW_CONF(struct factory_field_token, ids, STRINGS, "ids", NULL, NULL, NULL,
		"The deviceIds it is good for, byte by byte; one that ends with * stands for all that begin so. None: all."),
	CW_CONF(struct factory_field_token, products, STRINGS, "products", NULL, NULL, NULL, "And they are of one of these ProductKeys; none: any."),
	CW_CONF_END
};
static const struct cw_conf_table token_table = { .name = "field.tokens", .size = sizeof(struct factory_field_token), .settings = token_settings };

static void check_secret(const char *secret, const char *name, const struct cw_value *where, struct cw_conf_report *report)
{
	if (secret == NULL)
		return;
	if (strlen(secret) < SECRET_LEAST)
		cw_conf_error_at(report, where, "%s has %zu characters; at least %u are needed, for it can be guessed otherwise", name, strlen(secret),
				 SECRET_LEAST);
	if (secret[strcspn(secret, "\r\n")] != '\0')
		cw_conf_error_at(report, where, "%s has a line break in it", name);
}

/* 1: every one of the listeners that makes its clients prove themselves does, so that nothing else has to. */
static int check_listeners(const struct factory_field_conf *c, const struct cw_value *where, struct cw_conf_report *report, int *ret_certificates)
{
	size_t i, proven = 0;

	for (i = 0; i < c->listeners.count; i++) {
		const struct factory_listen *l = cw_conf_item(&c->listeners, struct factory_listen, i);

		proven += l->tls.client_ca != NULL;
		if (l->tls.certificate == NULL && !c->plain && !cw_factory_is_loopback(l->listen))
			cw_conf_error_at(report, where,
					 "field.listeners: %.64s is without TLS, and device secrets would go over the network in the clear; give it tls { certificate, key }, or "
					 "say field.plain = true where somebody else secures the way",
					 l->listen);
	}
	*ret_certificates = proven > 0;
	return proven == c->listeners.count;
}

static void check_tokens(const struct factory_field_conf *c, const struct cw_value *where, struct cw_conf_report *report)
{
	size_t i, k;

	for (i = 0; i < c->tokens.count; i++) {
		const struct factory_field_token *t = cw_conf_item(&c->tokens, struct factory_field_token, i);

		check_secret(t->token, "a token of field.tokens", where, report);
		if (strlen(t->name) > NAME_MOST)
			cw_conf_error_at(report, where, "field.tokens: the name \"%.70s\" has more than %u characters", t->name, NAME_MOST);
		for (k = 0; k < i; k++) {
			const struct factory_field_token *o = cw_conf_item(&c->tokens, struct factory_field_token, k);

			if (strcmp(t->token, o->token) == 0 || strcmp(t->name, o->name) == 0)
				cw_conf_error_at(report, where, "field.tokens: \"%.64s\" and \"%.64s\" have the same name or token", o->name, t->name);
		}
		if (c->gateway_token != NULL && strcmp(t->token, c->gateway_token) == 0)
			cw_conf_error_at(report, where, "field.gatewayToken is the token of %.64s too; that would make every device of it a gateway", t->name);
	}
}

static void check(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct factory_field_conf *c = conf;
	struct cw_msg msg = { "" };
	int certificates, proven;

	if (factory_field_name_check(c->name_template, &msg) < 0)
		cw_conf_error_at(report, cw_value_get(object, "deviceName"), "field.deviceName: %s", msg.text);
	check_secret(c->shared_key, "field.sharedKey", object, report);
	check_secret(c->gateway_token, "field.gatewayToken", object, report);
	check_tokens(c, object, report);
	if (c->listeners.count == 0)
		return;
	proven = check_listeners(c, object, report, &certificates);
	if (!proven && c->shared_key == NULL && c->tokens.count == 0 && !c->anybody)
		cw_conf_error_at(report, object,
				 "field: nothing says how devices prove themselves, so anybody who knows a deviceId would get its secret; set field.sharedKey, field.tokens or "
				 "tls.clientCa of the listeners, or say field.anybody = true");
	if (c->gateways.count > 0 && !certificates)
		cw_conf_warn_at(report, object, "field.gateways names client certificates, but no listener asks for any: tls.clientCa is missing");
	if (c->own_certificate && !certificates)
		cw_conf_warn_at(report, object, "field.ownCertificate has no effect: no listener has tls.clientCa");
}

static const struct cw_conf_setting field_settings[] = {
	CW_CONF_TABLES(struct factory_field_conf, listeners, LIST, "listeners", &factory_listen_table,
		       "Where devices ask (/api/v1/certificate) and gateways look identities up (/api/v1/identity); none: nowhere."),
	CW_CONF(struct factory_field_conf, plain, BOOL, "plain", "false", NULL, NULL,
		"Listen without TLS beyond 127.0.0.1 too: the way between device and server is secured by something else."),
	CW_CONF(struct factory_field_conf, anybody, BOOL, "anybody", "false", NULL, NULL,
		"No proof is asked for: whoever knows a deviceId gets its certificate."),
	CW_CONF(struct factory_field_conf, shared_key, SECRET, "sharedKey", NULL, NULL, NULL,
		"Devices sign their request with this key (HMAC-SHA256 over deviceId, nonce and time); at least 16 characters; file:PATH reads it from a file."),
	CW_CONF(struct factory_field_conf, clock_skew_ms, DURATION, "clockSkew", "5m", "1s", "1d",
		"How far the time of a signed request may be from this machine's, either way; so long, twice, its signature is remembered and not taken again."),
	CW_CONF_TABLES(struct factory_field_conf, tokens, LIST, "tokens", &token_table, "Tokens for devices, each for a batch of deviceIds."),
	CW_CONF(struct factory_field_conf, own_certificate, BOOL, "ownCertificate", "false", NULL, NULL,
		"A client certificate is good only for the deviceId that is its common name."),
	CW_CONF(struct factory_field_conf, per_address, INT, "perAddress", "600", "0", "1000000",
		"Requests a minute of one address (IPv6: of one /64), as many at once; 0: any number. Gateways that prove themselves are not counted."),
	CW_CONF(struct factory_field_conf, per_id, INT, "perId", "20", "0", "1000000", "Requests a minute for one deviceId, as many at once; 0: any number."),
	CW_CONF(struct factory_field_conf, answer_ms, DURATION, "answerTimeout", "25s", "1s", "5m",
		"A device whose registration takes longer is told to come again (503); the registration goes on."),
	CW_CONF(struct factory_field_conf, name_template, STRING, "deviceName", "${deviceId}", NULL, NULL,
		"DeviceName of a device that is registered, in quotes: ${deviceId} and whatever stands around it. 4 to 32 letters, digits, - _ @ . and : must come out."),
	CW_CONF(struct factory_field_conf, gateway_token, SECRET, "gatewayToken", NULL, NULL, NULL,
		"With this token (Authorization: Bearer) gateways look identities up: identity.factory.token of theirs. file:PATH reads it from a file."),
	CW_CONF(struct factory_field_conf, gateways, STRINGS, "gateways", NULL, NULL, NULL,
		"Common names of client certificates that may do that."),
	CW_CONF_END
};
const struct cw_conf_table factory_field_table = { .name = "field", .size = sizeof(struct factory_field_conf), .settings = field_settings, .check = check };
