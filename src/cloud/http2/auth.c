/* auth.c - /auth/bridge: a bridge fetches its net id, its devices come online; see conn.h. */
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "base/log.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/save.h"
#include "cloud/core/traffic/violations.h"
#include "cloud/http2/conn.h"

#define FIELDS_MAX 16u
#define TEXT_MAX 2048u

/* The fields of one call, copied. */
struct auth_form {
	struct {
		const char *name, *value;
	} field[FIELDS_MAX];
	size_t count, used;
	int overflow;
	char text[TEXT_MAX];
};

static const char *keep(struct auth_form *f, const char *text)
{
	size_t n = strlen(text) + 1;
	char *at = f->text + f->used;

	if (f->used + n > sizeof(f->text)) {
		f->overflow = 1;
		return "";
	}
	f->used += n;
	return memcpy(at, text, n);
}

static void on_field(void *arg, const char *name, const char *value)
{
	struct auth_form *f = arg;

	if (f->count == FIELDS_MAX) {
		f->overflow = 1;
		return;
	}
	f->field[f->count].name = keep(f, name);
	f->field[f->count++].value = keep(f, value);
}

/* NULL: missing or empty. */
static const char *get(const struct auth_form *f, const char *name)
{
	size_t i;

	for (i = 0; i < f->count; i++) {
		if (strcmp(f->field[i].name, name) == 0)
			return f->field[i].value[0] != '\0' ? f->field[i].value : NULL;
	}
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Everything but the sign and its method is signed, by name; fields nobody knows too. */
static int sign_fits(struct auth_form *f, const struct cloud_device *d, enum cloud_hmac method)
{
	char content[TEXT_MAX];
	size_t i, n = 0;

	qsort(f->field, f->count, sizeof(f->field[0]), by_name);
	for (i = 0; i < f->count; i++) {
		if (strcmp(f->field[i].name, "sign") != 0 && strcmp(f->field[i].name, "signmethod") != 0)
			n += (size_t)snprintf(content + n, sizeof(content) - n, "%s%s", f->field[i].name,
					      f->field[i].value);
	}
	return cw_cloud_hmac_matches(method, d->secret, content, n, get(f, "sign"), strlen(get(f, "sign")));
}

/* The device named, its sign checked. 0 or the code of a refusal. */
static int check_device(struct cw_cloud *c, struct auth_form *f, struct cloud_device **ret_device)
{
	const char *pk = get(f, "productKey"), *dn = get(f, "deviceName"), *method_name = get(f, "signmethod");
	struct cloud_device *d;
	enum cloud_hmac method;

	if (f->overflow || pk == NULL || dn == NULL || method_name == NULL || get(f, "sign") == NULL ||
	    get(f, "clientId") == NULL || get(f, "timestamp") == NULL || get(f, "isGateway") == NULL ||
	    cw_cloud_hmac_parse(method_name, strlen(method_name), &method) < 0)
		return 460;
	d = cw_cloud_device_find(c, pk, strlen(pk), dn, strlen(dn));
	if (d == NULL)
		return cw_cloud_was_deleted(c, pk, dn) ? 521 : 6100;
	*ret_device = d;
	if (d->product->x509 || !sign_fits(f, d, method))
		return 6287;
	return d->disabled ? 522 : 0;
}

/* The bridge itself: a net id, and how its devices are to be treated when it is away. */
static int bridge_call(struct h2_front *front, const struct auth_form *f, struct cloud_device *d,
		       struct h2_bridge **ret_bridge)
{
	const char *mode = get(f, "subDeviceConnectMode");
	char *end = NULL;
	long n = mode != NULL ? strtol(mode, &end, 10) : 0;

	if ((end != NULL && *end != '\0') || n < 0 || n > 1000 || d->product->type == CLOUD_NODE_SUBDEVICE)
		return 460;
	*ret_bridge = cw_cloud_h2_bridge(front, d);
	if (*ret_bridge == NULL)
		return 500;
	cw_cloud_h2_set_mode(*ret_bridge, (int)n);
	return 200;
}

static int over_rate(struct h2_bridge *b)
{
	const struct cloud_limits *limits = &b->front->cloud->conf.limits;
	uint64_t second = cw_cloud_now_ms(b->front->cloud) / 1000;

	if (!limits->documented || limits->bridge_logins == 0)
		return 0;
	if (b->login_second != second) {
		b->login_second = second;
		b->logins = 0;
	}
	return b->logins++ >= limits->bridge_logins;
}

static int device_call(struct h2_front *front, const struct auth_form *f, struct cloud_device *d,
		       struct h2_bridge **ret_bridge)
{
	const char *net_id = get(f, "netId");
	struct h2_bridge *b = net_id != NULL ? cw_cloud_h2_bridge_by_net(front, net_id) : NULL;

	if (b == NULL || d == b->device)
		return 460;
	if (over_rate(b)) {
		cw_cloud_violation(front->cloud, d, "bridgeLogins", "refused with 429");
		return 429;
	}
	if (d->link != &b->link && b->link.member_count >= b->link.members_max) {
		cw_cloud_violation(front->cloud, b->device, cw_cloud_h2_is_large(b) ? "membersLargeBridge" : "membersSmallBridge",
				   "refused with 428");
		return 428;
	}
	cw_cloud_h2_member_up(b, d, get(f, "clientId"));
	*ret_bridge = b;
	return 200;
}

static void reply(struct cw_http_req *req, int code, const struct cloud_device *d, const struct h2_bridge *b)
{
	unsigned char random[16];
	char token[33], body[256];
	int n;

	if (b != NULL && RAND_bytes(random, sizeof(random)) != 1)
		code = 500;
	if (b != NULL)
		cw_hex(token, cw_bytes_of(random, sizeof(random)));
	if (code == 200 && b != NULL)
		n = snprintf(body, sizeof(body),
			     "{\"code\":200,\"message\":\"success\",\"data\":{\"iotId\":\"%s\",\"iotToken\":\"%s\","
			     "\"netId\":\"%s\"}}",
			     d->iot_id, token, b->net_id);
	else
		n = snprintf(body, sizeof(body), "{\"code\":%d,\"message\":\"%s\"}", code, cw_cloud_code_text(code));
	cw_http_reply(req, 200, "application/json", body, (size_t)n);
}

void cw_cloud_h2_auth(void *arg, struct cw_http_req *req)
{
	struct h2_front *front = arg;
	struct cw_cloud *c = front->cloud;
	struct auth_form f = { .count = 0 };
	struct cloud_device *d = NULL;
	struct h2_bridge *b = NULL;
	struct cloud_strike at = { .channel = "http2" };
	char id[128];
	int code, is_bridge;

	cw_http_params(req, on_field, &f);
	(void)snprintf(id, sizeof(id), "%.60s/%.60s", get(&f, "productKey") != NULL ? get(&f, "productKey") : "",
		       get(&f, "deviceName") != NULL ? get(&f, "deviceName") : "");
	at.device = id;
	if (cw_cloud_fault(c, CLOUD_FAULT_STATUS, &at)) {
		reply(req, at.code, NULL, NULL);
		return;
	}
	code = check_device(c, &f, &d);
	if (code == 0 && cw_cloud_fault(c, CLOUD_FAULT_REFUSE, &at))
		code = at.code;
	is_bridge = get(&f, "isGateway") != NULL && strcmp(get(&f, "isGateway"), "true") == 0;
	if (code == 0)
		code = is_bridge ? bridge_call(front, &f, d, &b) : device_call(front, &f, d, &b);
	/* The library never asks again for what a large bridge was told: it must survive whatever comes. */
	if (code == 200 && cw_cloud_h2_is_large(b))
		cw_cloud_commit(c);
	if (code == 200) {
		c->stats.logins += !is_bridge;
	} else {
		c->stats.logins_refused += !is_bridge;
		if (d != NULL)
			cw_cloud_device_refused(c, d, code, cw_cloud_code_text(code));
		cw_log(cloud_refused, cw_cloud_code_text(code), CW_LS("device", id), CW_LI("code", code));
	}
	reply(req, code, d, b);
}
