/* mqtt_login.c - see mqtt_login.h. */
#include "cloud/mqtt/login.h"

#include <stdio.h>
#include <string.h>

#include "cloud/core/fault/fault.h"
#include "cloud/core/login/sign.h"
#include "cloud/core/stock/x509.h"

#define BASE_MAX 64u

enum { REFUSE_ID = 2, REFUSE_SERVER = 3, REFUSE_CREDENTIALS = 4, REFUSE_DEVICE = 5 };

struct attempt {
	struct cw_cloud *cloud;
	const struct cloud_mqtt_connect *packet;
	const struct cloud_mqtt_channel *channel;
	struct cloud_client_id id;
	const struct cloud_text *timestamp, *auth, *method_name;
	enum cloud_hmac method;
	struct cloud_text pk, dn;
	struct cloud_device *certified; /* whose certificate the client has */
	struct cloud_mqtt_verdict *verdict;
};

/* One check: 0, or the code with its reason noted. */
typedef uint8_t (*check_fn)(struct attempt *a);

static uint8_t no(struct attempt *a, uint8_t code, const char *reason)
{
	a->verdict->reason = reason;
	return code;
}

static uint8_t check_shape(struct attempt *a)
{
	const struct cloud_mqtt_connect *p = a->packet;

	if (cw_cloud_client_id_parse(p->client_id.s, p->client_id.len, &a->id) < 0)
		return no(a, REFUSE_ID, "client id: the |key=value| part is malformed");
	if (a->id.base.len > BASE_MAX)
		return no(a, REFUSE_ID, "client id: base longer than 64 bytes");
	if (a->id.base.len == 0 && (p->level != 4 || !p->clean))
		return no(a, REFUSE_ID, "client id: empty base needs MQTT 3.1.1 and clean session");
	a->auth = cw_cloud_client_id_get(&a->id, "authType");
	if (a->auth == NULL)
		a->auth = cw_cloud_client_id_get(&a->id, "authype");
	a->timestamp = cw_cloud_client_id_get(&a->id, "timestamp");
	a->method_name = cw_cloud_client_id_get(&a->id, "signmethod");
	if (a->method_name == NULL)
		a->method_name = cw_cloud_client_id_get(&a->id, "signMethod");
	a->method = CLOUD_HMAC_MD5;
	if (a->method_name != NULL && cw_cloud_hmac_parse(a->method_name->s, a->method_name->len, &a->method) < 0)
		return no(a, REFUSE_ID, "client id: unknown signmethod");
	return 0;
}

static uint8_t check_mode(struct attempt *a)
{
	const struct cloud_text *mode = cw_cloud_client_id_get(&a->id, "securemode");
	int secure, plain;

	if (cw_cloud_text_is(mode, "8") || cw_cloud_text_is(a->auth, "id2"))
		return no(a, REFUSE_DEVICE, "ID2 is not supported: its library is proprietary");
	if (a->auth != NULL && !cw_cloud_text_is(a->auth, "register") && !cw_cloud_text_is(a->auth, "regnwl") &&
	    !cw_cloud_text_is(a->auth, "connwl"))
		return no(a, REFUSE_ID, "client id: unknown authType");
	if (mode == NULL)
		return 0;
	secure = cw_cloud_text_is(mode, "2") || cw_cloud_text_is(mode, "-2");
	plain = cw_cloud_text_is(mode, "3");
	if (!secure && !plain)
		return no(a, REFUSE_ID, "client id: unknown securemode");
	if (a->cloud->conf.switches.strict_securemode && secure != a->channel->tls)
		return no(a, REFUSE_ID, secure ? "securemode 2 and -2 need TLS" : "securemode 3 needs plain TCP");
	return 0;
}

static uint8_t check_keep_alive(struct attempt *a)
{
	unsigned s = a->packet->keep_alive_s;

	if (s > 1200 && a->cloud->conf.switches.keepalive_clamp)
		s = 1200;
	if (s < 30 || s > 1200)
		return no(a, REFUSE_ID, "keep-alive is not within 30 to 1200 s");
	a->verdict->keep_alive_s = s;
	return 0;
}

/* deviceName&productKey into a->dn and a->pk. 1, or 0: not of this form. */
static int split_user(struct attempt *a)
{
	const struct cloud_text *user = &a->packet->user;
	const char *amp = a->packet->has_user ? memrchr(user->s, '&', user->len) : NULL;

	if (amp == NULL)
		return 0;
	a->dn = (struct cloud_text){ user->s, (size_t)(amp - user->s) };
	a->pk = (struct cloud_text){ amp + 1, user->len - a->dn.len - 1 };
	return a->dn.len != 0 && a->pk.len != 0;
}

/* A client with a certificate need not know its names: user name "&", "" or none at all. */
static uint8_t check_user(struct attempt *a)
{
	const struct cloud_text *user = &a->packet->user;

	if (a->channel->fingerprint != NULL)
		a->certified = cw_cloud_x509_find(a->cloud, a->channel->fingerprint);
	if (split_user(a))
		return 0;
	if (a->channel->fingerprint == NULL || (user->len != 0 && !cw_cloud_text_is(user, "&")) || a->auth != NULL)
		return no(a, REFUSE_CREDENTIALS, "user name is not of the form deviceName&productKey");
	if (a->certified == NULL)
		return no(a, REFUSE_CREDENTIALS, "the client's certificate is not in force");
	a->verdict->as = MQTT_ADMIT_IDENTIFIED;
	a->verdict->device = a->certified;
	return 0;
}

static uint8_t check_known(struct attempt *a)
{
	if (a->verdict->device == NULL)
		a->verdict->device = cw_cloud_device_find(a->cloud, a->pk.s, a->pk.len, a->dn.s, a->dn.len);
	if (a->verdict->device == NULL)
		return no(a, REFUSE_CREDENTIALS, "unknown device");
	a->verdict->session = a->verdict->device;
	return 0;
}

/* ---- registration ---- */

/* What it needs beside what every CONNECT does. Keep-alive is not looked at. */
static uint8_t check_registration_pairs(struct attempt *a)
{
	const struct cloud_text *mode = cw_cloud_client_id_get(&a->id, "securemode");
	const struct cloud_text *random = cw_cloud_client_id_get(&a->id, "random");
	const struct cloud_text *instance = cw_cloud_client_id_get(&a->id, "instanceId");
	const char *ours = a->cloud->conf.switches.instance_id;

	if (!a->channel->tls)
		return no(a, REFUSE_ID, "registration needs TLS");
	if (random == NULL || random->len == 0)
		return no(a, REFUSE_ID, "registration: random is missing");
	if (!cw_cloud_text_is(mode, "2") && !(cw_cloud_text_is(mode, "-2") && cw_cloud_text_is(a->auth, "regnwl")))
		return no(a, REFUSE_ID, "registration: securemode does not fit");
	if (instance != NULL && ours != NULL && !cw_cloud_text_is(instance, ours))
		return no(a, REFUSE_ID, "registration: instanceId is another instance's");
	return 0;
}

static uint8_t check_registration(struct attempt *a)
{
	static const struct cloud_text default_method = { "hmacmd5", 7 };
	const struct cloud_text *method = a->method_name;
	struct cloud_mqtt_verdict *v = a->verdict;
	struct cloud_registration r = { .pk = a->pk, .dn = a->dn, .random = *cw_cloud_client_id_get(&a->id, "random"),
		                        .method = method != NULL ? *method : default_method, .sign = a->packet->password };
	struct cloud_client *client = NULL;
	int code;

	if (!a->packet->has_password)
		return no(a, REFUSE_CREDENTIALS, "registration: sign is missing");
	if (cw_cloud_text_is(a->auth, "register")) {
		v->as = MQTT_ADMIT_REGISTER;
		code = cw_cloud_register(a->cloud, &r, &v->device);
	} else {
		v->as = MQTT_ADMIT_REGNWL;
		v->pk = a->pk;
		v->dn = a->dn;
		code = cw_cloud_client_register(a->cloud, &r, cw_cloud_client_id_get(&a->id, "instanceId"), &client);
		v->client = client;
	}
	if (code == 200)
		return 0;
	/* Shown beside the device, if there is one of that name. */
	v->device = cw_cloud_device_find(a->cloud, a->pk.s, a->pk.len, a->dn.s, a->dn.len);
	return no(a, code == 500 ? REFUSE_SERVER : REFUSE_CREDENTIALS, cw_cloud_registration_text(code));
}

/* ---- the credential of a login ---- */

static uint8_t check_token(struct attempt *a)
{
	const struct cloud_text *mode = cw_cloud_client_id_get(&a->id, "securemode");
	struct cloud_client_login login = { .pk = a->pk, .dn = a->dn, .client_id = a->id.base, .token = a->packet->password };
	int code;

	if (!a->channel->tls || (mode != NULL && !cw_cloud_text_is(mode, "-2") && !cw_cloud_text_is(mode, "2")))
		return no(a, REFUSE_ID, "a DeviceToken needs TLS");
	code = cw_cloud_client_login(a->cloud, &login);
	a->verdict->session = login.session;
	return code == 0 ? 0 : no(a, (uint8_t)code, login.reason);
}

static uint8_t check_sign(struct attempt *a)
{
	const struct cloud_text *password = &a->packet->password, none = { "", 0 };
	const struct cloud_text *ts = a->timestamp != NULL ? a->timestamp : &none;
	char content[512];
	int n;

	n = snprintf(content, sizeof(content), "clientId%.*sdeviceName%.*sproductKey%.*s%s%.*s", (int)a->id.base.len,
	             a->id.base.s, (int)a->dn.len, a->dn.s, (int)a->pk.len, a->pk.s, a->timestamp != NULL ? "timestamp" : "",
	             (int)ts->len, ts->s);
	if (n < 0 || (size_t)n >= sizeof(content))
		return no(a, REFUSE_ID, "client id: timestamp too long");
	if (!a->packet->has_password || !cw_cloud_hmac_matches(a->method, a->verdict->device->secret, content, (size_t)n,
	                                                       password->s, password->len))
		return no(a, REFUSE_CREDENTIALS, "sign is wrong");
	return 0;
}

/* The product's way of authentication decides; the password of a client with a certificate is not looked at. */
static uint8_t check_credential(struct attempt *a)
{
	if (cw_cloud_text_is(a->auth, "connwl"))
		return check_token(a);
	if (!a->verdict->device->product->x509)
		return check_sign(a);
	if (a->channel->fingerprint == NULL)
		return no(a, REFUSE_CREDENTIALS, "devices of this product log in with a client certificate, over TLS");
	return a->certified == a->verdict->device
	               ? 0
	               : no(a, REFUSE_CREDENTIALS, a->certified == NULL ? "the client's certificate is not in force"
	                                                                : "the client's certificate is another device's");
}

static uint8_t check_device(struct attempt *a)
{
	struct cloud_device *d = a->verdict->device;
	const char *reason;

	if (d->disabled)
		return no(a, REFUSE_DEVICE, "device is disabled");
	if (d->product->type == CLOUD_NODE_SUBDEVICE)
		return no(a, REFUSE_DEVICE, "a sub-device connects through its gateway only");
	reason = cw_cloud_connect_limit(a->cloud, a->verdict->session);
	return reason != NULL ? no(a, REFUSE_SERVER, reason) : 0;
}

static uint8_t check_fault(struct attempt *a)
{
	char id[128] = "";
	struct cloud_strike at = { .channel = "mqtt", .device = id };
	const struct cloud_device *d = a->verdict->device;

	if (d != NULL)
		at.device = d->id;
	else
		(void)snprintf(id, sizeof(id), "%.*s/%.*s", (int)a->pk.len, a->pk.s, (int)a->dn.len, a->dn.s);
	if (cw_cloud_fault(a->cloud, CLOUD_FAULT_CONNACK, &at))
		return no(a, (uint8_t)at.code, "fault");
	return 0;
}

static uint8_t run_checks(struct attempt *a, const check_fn *checks)
{
	uint8_t code = 0;

	while (*checks != NULL && code == 0)
		code = (*checks++)(a);
	return code;
}

/* `ext` is decimal text; its lowest bit is all that is looked at later. */
static int ext_of(const struct attempt *a)
{
	const struct cloud_text *ext = cw_cloud_client_id_get(&a->id, "ext");
	int value = 0;
	size_t i;

	for (i = 0; ext != NULL && i < ext->len && i < 9 && ext->s[i] >= '0' && ext->s[i] <= '9'; i++)
		value = 10 * value + (ext->s[i] - '0');
	return value;
}

void cw_cloud_mqtt_login(struct cw_cloud *c, const struct cloud_mqtt_connect *p, const struct cloud_mqtt_channel *channel,
                         struct cloud_mqtt_verdict *ret)
{
	static const check_fn shape[] = { check_shape, check_mode, NULL };
	static const check_fn logins[] = { check_keep_alive, check_user, check_known, check_credential, check_device, check_fault,
		                           NULL };
	/* Nothing is issued to a client that would not be told of it. */
	static const check_fn registrations[] = { check_registration_pairs, check_user, check_fault, check_registration, NULL };
	struct attempt a = { .cloud = c, .packet = p, .channel = channel, .verdict = ret };
	int registration;

	memset(ret, 0, sizeof(*ret));
	ret->code = run_checks(&a, shape);
	registration = cw_cloud_text_is(a.auth, "register") || cw_cloud_text_is(a.auth, "regnwl");
	if (ret->code == 0)
		ret->code = run_checks(&a, registration ? registrations : logins);
	if (ret->code != 0 || registration)
		return;
	ret->login = (struct cloud_login){ .client_id = p->client_id.s, .client_id_len = p->client_id.len, .clean = p->clean,
		.ss = cw_cloud_text_is(cw_cloud_client_id_get(&a.id, "_ss"), "1"), .ext = ext_of(&a) };
}
