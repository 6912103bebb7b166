/* mqtt_login.c - see mqtt_login.h. */
#include "cloud/mqtt/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/core/fault.h"
#include "cloud/core/sign.h"

#define BASE_MAX 64u

enum { REFUSE_ID = 2, REFUSE_SERVER = 3, REFUSE_CREDENTIALS = 4, REFUSE_DEVICE = 5 };

struct attempt {
	struct cw_cloud *cloud;
	const struct cloud_mqtt_connect *packet;
	int tls;
	struct cloud_client_id id;
	const struct cloud_text *timestamp, *auth;
	enum cloud_hmac method;
	struct cloud_text pk, dn;
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
	const struct cloud_text *method;

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
	method = cw_cloud_client_id_get(&a->id, "signmethod");
	if (method == NULL)
		method = cw_cloud_client_id_get(&a->id, "signMethod");
	a->method = CLOUD_HMAC_MD5;
	if (method != NULL && cw_cloud_hmac_parse(method->s, method->len, &a->method) < 0)
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
	if (a->cloud->conf.switches.strict_securemode && secure != a->tls)
		return no(a, REFUSE_ID, secure ? "securemode 2 and -2 need TLS" : "securemode 3 needs plain TCP");
	return 0;
}

static int is_registration(const struct attempt *a)
{
	return cw_cloud_text_is(a->auth, "register") || cw_cloud_text_is(a->auth, "regnwl");
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

static uint8_t check_user(struct attempt *a)
{
	const struct cloud_text *user = &a->packet->user;
	const char *amp = a->packet->has_user ? memrchr(user->s, '&', user->len) : NULL;

	if (amp == NULL)
		return no(a, REFUSE_CREDENTIALS, "user name is not of the form deviceName&productKey");
	a->dn = (struct cloud_text){ user->s, (size_t)(amp - user->s) };
	a->pk = (struct cloud_text){ amp + 1, user->len - a->dn.len - 1 };
	if (a->dn.len == 0 || a->pk.len == 0)
		return no(a, REFUSE_CREDENTIALS, "user name is not of the form deviceName&productKey");
	return 0;
}

static uint8_t check_known(struct attempt *a)
{
	a->verdict->device = cw_cloud_device_find(a->cloud, a->pk.s, a->pk.len, a->dn.s, a->dn.len);
	if (a->verdict->device == NULL)
		return no(a, REFUSE_CREDENTIALS, "unknown device");
	return 0;
}

/* What a registration needs beside what every CONNECT does. Keep-alive is not looked at. */
static uint8_t check_registration_pairs(struct attempt *a)
{
	const struct cloud_text *mode = cw_cloud_client_id_get(&a->id, "securemode");
	const struct cloud_text *random = cw_cloud_client_id_get(&a->id, "random");

	if (!a->tls)
		return no(a, REFUSE_ID, "registration needs TLS");
	if (random == NULL || random->len == 0)
		return no(a, REFUSE_ID, "registration: random is missing");
	if (!cw_cloud_text_is(mode, "2") && !(cw_cloud_text_is(mode, "-2") && cw_cloud_text_is(a->auth, "regnwl")))
		return no(a, REFUSE_ID, "registration: securemode does not fit");
	return 0;
}

static uint8_t check_registration(struct attempt *a)
{
	static const struct cloud_text default_method = { "hmacmd5", 7 };
	const struct cloud_text *method = cw_cloud_client_id_get(&a->id, "signmethod");
	struct cloud_registration r = { .pk = a->pk, .dn = a->dn, .random = *cw_cloud_client_id_get(&a->id, "random"),
		                        .method = method != NULL ? *method : default_method, .sign = a->packet->password };
	int code;

	if (!a->packet->has_password || cw_cloud_text_is(a->auth, "regnwl"))
		return no(a, REFUSE_CREDENTIALS, a->packet->has_password ? "only pre-registered devices may register here"
		                                                         : "registration: sign is missing");
	code = cw_cloud_register(a->cloud, &r, &a->verdict->device);
	a->verdict->registration = code == 200;
	return code == 200 ? 0 : no(a, REFUSE_CREDENTIALS, cw_cloud_code_text(code));
}

static uint8_t check_sign(struct attempt *a)
{
	const struct cloud_text *password = &a->packet->password, none = { "", 0 };
	const struct cloud_text *ts = a->timestamp != NULL ? a->timestamp : &none;
	char content[512];
	int n;

	if (a->auth != NULL)
		return no(a, REFUSE_CREDENTIALS, "no such credential was issued");
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

static uint8_t check_device(struct attempt *a)
{
	struct cloud_device *d = a->verdict->device;

	if (d->disabled)
		return no(a, REFUSE_DEVICE, "device is disabled");
	if (d->product->type == CLOUD_NODE_SUBDEVICE)
		return no(a, REFUSE_DEVICE, "a sub-device connects through its gateway only");
	if (!cw_cloud_rate_ok(a->cloud, &d->connects, a->cloud->conf.limits.connect_per_minute))
		return no(a, REFUSE_SERVER, "too many CONNECTs a minute");
	return 0;
}

static uint8_t check_fault(struct attempt *a)
{
	struct cloud_strike at = { .channel = "mqtt", .device = a->verdict->device->id };

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

void cw_cloud_mqtt_login(struct cw_cloud *c, const struct cloud_mqtt_connect *p, int tls, struct cloud_mqtt_verdict *ret)
{
	static const check_fn shape[] = { check_shape, check_mode, NULL };
	static const check_fn logins[] = { check_keep_alive, check_user, check_known, check_sign, check_device, check_fault, NULL };
	static const check_fn registrations[] = { check_registration_pairs, check_user, check_registration, check_fault, NULL };
	struct attempt a = { .cloud = c, .packet = p, .tls = tls, .verdict = ret };
	const struct cloud_text *ext;

	memset(ret, 0, sizeof(*ret));
	ret->code = run_checks(&a, shape);
	if (ret->code == 0)
		ret->code = run_checks(&a, is_registration(&a) ? registrations : logins);
	if (ret->code != 0 || ret->registration)
		return;
	ext = cw_cloud_client_id_get(&a.id, "ext");
	ret->login = (struct cloud_login){ .client_id = p->client_id.s, .client_id_len = p->client_id.len, .clean = p->clean,
		.ss = cw_cloud_text_is(cw_cloud_client_id_get(&a.id, "_ss"), "1"), .ext = ext != NULL ? atoi(ext->s) : 0 };
}

unsigned cw_cloud_psk_key(struct cw_cloud *c, const char *identity, char *out, unsigned max)
{
	char dn[64], pk[64], method[16], stamp[32], content[256], hex[65];
	struct cloud_device *d;
	enum cloud_hmac hmac;
	size_t n, i;

	if (sscanf(identity, "devicename|%15[^|]|%63[^&]&%63[^|]|%31s", method, pk, dn, stamp) != 4 ||
	    cw_cloud_hmac_parse(method, strlen(method), &hmac) < 0)
		return 0;
	d = cw_cloud_device_find(c, pk, strlen(pk), dn, strlen(dn));
	if (d == NULL)
		return 0;
	(void)snprintf(content, sizeof(content), "id%s&%stimestamp%s", pk, dn, stamp);
	n = cw_cloud_hmac_hex(hmac, d->secret, content, strlen(content), hex);
	if (n > max)
		return 0;
	for (i = 0; i < n; i++)
		out[i] = hex[i] >= 'a' ? (char)(hex[i] - 'a' + 'A') : hex[i];
	return (unsigned)n;
}
