/* topo.c - topology and sub-device sessions: what a gateway asks for; see alink.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/alink/alink.h"
#include "cloud/core/login/sign.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/traffic/violations.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_t *identity(const char *pk, const char *dn)
{
	return json_pack("{s:s, s:s}", "productKey", pk, "deviceName", dn);
}

static json_t *named(const json_t *entry)
{
	const char *pk = text_of(entry, "productKey"), *dn = text_of(entry, "deviceName");

	return identity(pk != NULL ? pk : "", dn != NULL ? dn : "");
}

/* Names of one entry. 0, 460, or what is known of a device that is not there. */
static int find_named(struct cw_cloud *c, const json_t *entry, struct cloud_device **ret_device)
{
	const char *pk = text_of(entry, "productKey"), *dn = text_of(entry, "deviceName");

	if (pk == NULL || dn == NULL || pk[0] == '\0' || dn[0] == '\0')
		return 460;
	*ret_device = cw_cloud_device_find(c, pk, strlen(pk), dn, strlen(dn));
	if (*ret_device != NULL)
		return 0;
	return cw_cloud_was_deleted(c, pk, dn) ? 521 : 6100;
}

/* ---- signatures ---- */

static int signed_key(const char *key)
{
	return strcmp(key, "sign") != 0 && strcmp(key, "signMethod") != 0 && strcmp(key, "signmethod") != 0 &&
	       strcmp(key, "cleanSession") != 0;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All fields but the sign itself, its method and cleanSession, sorted, name and value joined. Length, or 0: no room. */
static size_t sign_content(const json_t *entry, char *out, size_t size)
{
	const char *keys[16], *key;
	size_t n = 0, at = 0, i;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)entry, key, value) {
		if (!signed_key(key))
			continue;
		if (n == 16)
			return 0;
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(keys[0]), compare_keys);
	for (i = 0; i < n; i++) {
		int wrote;

		value = json_object_get(entry, keys[i]);
		if (json_is_string(value))
			wrote = snprintf(out + at, size - at, "%s%s", keys[i], json_string_value(value));
		else if (json_is_integer(value))
			wrote = snprintf(out + at, size - at, "%s%lld", keys[i], (long long)json_integer_value(value));
		else
			return 0;
		if (wrote < 0 || (size_t)wrote >= size - at)
			return 0;
		at += (size_t)wrote;
	}
	return at;
}

/* 0, 460 for a field missing or strange, `wrong` for a sign that does not fit. `beside`: where else signMethod may stand. */
static int check_sign(const json_t *entry, const json_t *beside, const char *secret, int wrong)
{
	const char *sign = text_of(entry, "sign"), *method = text_of(entry, "signMethod");
	const json_t *ts = json_object_get(entry, "timestamp");
	char content[1024];
	enum cloud_hmac hmac;
	size_t len;

	if (method == NULL)
		method = text_of(entry, "signmethod");
	if (method == NULL)
		method = text_of(beside, "signMethod");
	if (sign == NULL || method == NULL || (!json_is_string(ts) && !json_is_integer(ts)))
		return 460;
	if (strcmp(method, "Sha256") == 0) /* documented beside the others and never explained: read as its HMAC */
		method = "hmacsha256";
	len = sign_content(entry, content, sizeof(content));
	if (len == 0 || cw_cloud_hmac_parse(method, strlen(method), &hmac) < 0)
		return 460;
	return cw_cloud_hmac_matches(hmac, secret, content, len, sign, strlen(sign)) ? 0 : wrong;
}

/* ---- topology ---- */

static int add_check(struct alink_request *r, const json_t *entry, unsigned others)
{
	struct cloud_device *gw = r->device, *d = NULL;
	int code = find_named(r->cloud, entry, &d);

	if (code != 0)
		return code == 521 ? 6100 : code;
	if (d == gw)
		return 6402;
	if (d->product->type == CLOUD_NODE_GATEWAY)
		return 460;
	code = check_sign(entry, NULL, d->secret, 401);
	if (code != 0)
		return code;
	if (d->disabled)
		return 6204;
	if (d->gateway != NULL && d->gateway != gw && !r->cloud->conf.switches.topo_move)
		return 6619;
	if (d->gateway != gw && gw->child_count + others >= r->link->members_max) {
		cw_cloud_violation(r->cloud, gw, "members", "refused with 6400");
		return 6400;
	}
	return 0;
}

/* Old relation, session and all, of a device that another gateway takes over. */
static void release(struct cw_cloud *c, struct cloud_device *d)
{
	struct cloud_device *old = d->gateway;

	if (d->link != NULL && cw_cloud_name_of(d->link->owner) == old)
		cw_cloud_member_down(c, d, 6401);
	cw_cloud_unrelate(d);
	cw_cloud_topo_changed(c, old, d, 1);
}

/* A relation to one gateway at a time: an older one ends, and its gateway is told. */
static void add_one(struct cw_cloud *c, struct cloud_device *gw, struct cloud_device *d)
{
	if (d->gateway == gw)
		return;
	if (d->gateway != NULL)
		release(c, d);
	cw_cloud_relate(gw, d);
}

int cw_cloud_topo_add(struct alink_request *r)
{
	size_t n = json_array_size(r->params), i;

	if (n == 0 || n > CLOUD_TOPO_MAX)
		return 460;
	for (i = 0; i < n; i++) {
		int code = add_check(r, json_array_get(r->params, i), (unsigned)i);

		if (code != 0)
			return code;
	}
	r->data = json_array();
	for (i = 0; i < n; i++) {
		struct cloud_device *d = NULL;

		if (find_named(r->cloud, json_array_get(r->params, i), &d) != 0)
			continue;
		add_one(r->cloud, r->device, d);
		json_array_append_new(r->data, identity(d->product->key, d->dn));
	}
	return 200;
}

/* All or nothing: whether every sub-device named is this gateway's. 0 or the code of the refusal. */
static int all_related(const struct alink_request *r)
{
	size_t n = json_array_size(r->params), i;
	struct cloud_device *d = NULL;

	if (n == 0 || n > CLOUD_TOPO_MAX)
		return 460;
	for (i = 0; i < n; i++) {
		int code = find_named(r->cloud, json_array_get(r->params, i), &d);

		if (code != 0)
			return code == 521 ? 6100 : code;
		if (d->gateway != r->device)
			return 6401;
	}
	return 0;
}

int cw_cloud_topo_delete(struct alink_request *r)
{
	size_t n = json_array_size(r->params), i;
	struct cloud_device *d = NULL;
	int code = all_related(r);

	if (code != 0)
		return code;
	r->data = json_array();
	for (i = 0; i < n; i++) {
		(void)find_named(r->cloud, json_array_get(r->params, i), &d);
		if (d->gateway != r->device) /* named twice */
			continue;
		if (d->link == r->link)
			cw_cloud_member_down(r->cloud, d, 6401);
		cw_cloud_unrelate(d);
		json_array_append_new(r->data, identity(d->product->key, d->dn));
	}
	return 200;
}

int cw_cloud_topo_get(struct alink_request *r)
{
	struct cw_list *e;

	r->data = json_array();
	cw_list_each(e, &r->device->children) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, sibling);

		json_array_append_new(r->data, identity(d->product->key, d->dn));
	}
	return 200;
}

/* ---- registration ---- */

static int register_check(struct alink_request *r, const json_t *entry)
{
	struct cloud_device *d = NULL;
	int code = find_named(r->cloud, entry, &d);

	if (code != 0)
		return code == 521 ? 6100 : code;
	if (d == r->device || d->product->type == CLOUD_NODE_GATEWAY)
		return 460;
	if (!d->product->registration || d->product->x509)
		return 6288;
	return d->gateway != NULL && d->gateway != r->device ? 6619 : 0;
}

/* All or nothing. An active sub-device gets its secret again; bound elsewhere it does not. */
int cw_cloud_sub_register(struct alink_request *r)
{
	size_t n = json_array_size(r->params), i;
	struct cloud_device *d = NULL;

	if (n == 0 || n > CLOUD_TOPO_MAX)
		return 460;
	for (i = 0; i < n; i++) {
		int code = register_check(r, json_array_get(r->params, i));

		if (code != 0)
			return code;
	}
	r->secret = 1;
	r->data = json_array();
	for (i = 0; i < n; i++) {
		(void)find_named(r->cloud, json_array_get(r->params, i), &d);
		json_array_append_new(r->data, json_pack("{s:s, s:s, s:s, s:s}", "iotId", d->iot_id, "productKey", d->product->key,
		                      "deviceName", d->dn, "deviceSecret", d->secret));
		r->cloud->stats.registrations++;
	}
	return 200;
}

static struct cloud_text lent(const json_t *entry, const char *key)
{
	const char *text = text_of(entry, key);

	return (struct cloud_text){ text != NULL ? text : "", text != NULL ? strlen(text) : 0 };
}

/* One entry of product_register: 200 and the device, whatever gateway has it, or the code of its failure. */
static int product_register_one(struct alink_request *r, const json_t *entry, struct cloud_device **ret_device)
{
	/* The SDK that leaves the method out signs with SHA-256. */
	static const struct cloud_text usual = { "hmacSha256", 10 };
	struct cloud_registration ask = { .pk = lent(entry, "productKey"), .dn = lent(entry, "deviceName"),
		                          .random = lent(entry, "random"), .method = lent(entry, "signMethod"),
		                          .sign = lent(entry, "sign") };
	struct cloud_product *p;
	int code;

	if (ask.method.len == 0)
		ask.method = usual;
	code = cw_cloud_registration_check(r->cloud, &ask, &p);
	if (code != 200)
		return code;
	*ret_device = cw_cloud_device_find(r->cloud, ask.pk.s, ask.pk.len, ask.dn.s, ask.dn.len);
	if (*ret_device == NULL)
		return 6100;
	if (*ret_device == r->device || p->type == CLOUD_NODE_GATEWAY)
		return 460;
	return (*ret_device)->disabled ? 6204 : 200;
}

/* With the product's secret a device may be taken over from another gateway. Each entry succeeds or fails alone. */
int cw_cloud_product_register(struct alink_request *r)
{
	json_t *list = json_object_get(r->params, "proxieds"), *good, *bad;
	size_t n = json_array_size(list), i;

	if (n == 0 || n > CLOUD_TOPO_MAX)
		return 460;
	r->secret = 1;
	good = json_array();
	bad = json_array();
	for (i = 0; i < n; i++) {
		json_t *entry = json_array_get(list, i);
		struct cloud_device *d = NULL;
		int code = product_register_one(r, entry, &d);

		if (code != 200) {
			json_t *failure = named(entry);

			json_object_set_new(failure, "errorDetail", json_pack("{s:i, s:s}", "code", code, "message",
			                    cw_cloud_registration_text(code)));
			json_array_append_new(bad, failure);
			continue;
		}
		if (d->gateway != NULL && d->gateway != r->device)
			release(r->cloud, d);
		json_array_append_new(good, json_pack("{s:s, s:s, s:s}", "productKey", d->product->key, "deviceName", d->dn,
		                      "deviceSecret", d->secret));
		r->cloud->stats.registrations++;
	}
	r->data = json_pack("{s:o, s:o}", "successes", good, "failures", bad);
	return 200;
}

/* The opposite, for sub-devices of this gateway: session and relation end, and the name may register anew. */
int cw_cloud_sub_unregister(struct alink_request *r)
{
	size_t n = json_array_size(r->params), i;
	struct cloud_device *d = NULL;
	int code = all_related(r);

	if (code != 0)
		return code;
	for (i = 0; i < n; i++) {
		(void)find_named(r->cloud, json_array_get(r->params, i), &d);
		if (d->link == r->link)
			cw_cloud_member_down(r->cloud, d, 0);
		cw_cloud_unrelate(d);
		cw_cloud_device_reset(r->cloud, d);
	}
	return 200;
}

/* ---- login and logout ---- */

static int login_rate(struct cw_cloud *c, struct cloud_device *d)
{
	uint64_t second = cw_cloud_now_ms(c) / 1000;

	if (second != c->login_second) {
		c->login_second = second;
		c->login_count = 0;
	}
	if (c->conf.limits.documented && c->login_count >= c->conf.limits.login_per_second) {
		cw_cloud_violation(c, d, "loginPerSecond", "refused with 429");
		return 429;
	}
	c->login_count++;
	if (cw_cloud_rate_ok(c, &d->logins, c->conf.limits.login_per_minute))
		return 0;
	cw_cloud_violation(c, d, "loginPerMinute", "refused with 429");
	return 429;
}

static int login_check(struct alink_request *r, const json_t *entry, const json_t *beside, unsigned others,
                       struct cloud_device **ret_device)
{
	struct cloud_device *d = NULL;
	int code = find_named(r->cloud, entry, &d);

	if (code == 0 && text_of(entry, "clientId") == NULL)
		code = 460;
	if (code != 0)
		return code;
	*ret_device = d;
	code = check_sign(entry, beside, d->secret, 6287);
	if (code != 0)
		return code;
	if (d->disabled)
		return 522;
	if (d->gateway != r->device)
		return 6401;
	if (d->link != r->link && r->link->member_count + others >= r->link->members_max) {
		cw_cloud_violation(r->cloud, r->device, "members", "refused with 428");
		return 428;
	}
	return d->link == r->link ? 0 : login_rate(r->cloud, d);
}

/* Text "true" or "false", or a boolean; absent: true. */
static int clean_session(const json_t *entry)
{
	const json_t *v = json_object_get(entry, "cleanSession");

	return !(json_is_false(v) || (json_is_string(v) && strcmp(json_string_value(v), "false") == 0));
}

static void login_one(struct alink_request *r, const json_t *entry, struct cloud_device *d)
{
	const char *client_id = text_of(entry, "clientId");
	struct cloud_login login = { .client_id = client_id, .client_id_len = strlen(client_id), .clean = clean_session(entry) };
	struct cloud_client_id id;

	r->cloud->stats.logins++;
	if (d->link == r->link)
		return;
	if (cw_cloud_client_id_parse(client_id, strlen(client_id), &id) == 0) {
		const struct cloud_text *ext = cw_cloud_client_id_get(&id, "ext");

		login.ss = cw_cloud_text_is(cw_cloud_client_id_get(&id, "_ss"), "1");
		login.ext = ext != NULL ? atoi(ext->s) : 0;
	}
	if (d->link != NULL)
		cw_cloud_device_kick(r->cloud, d, 427, "logged in through a gateway");
	cw_cloud_member_up(r->cloud, r->link, d, &login);
	r->fresh[r->fresh_count++] = d;
}

static void login_refused(struct alink_request *r, struct cloud_device *d, int code)
{
	r->cloud->stats.logins_refused++;
	if (d != NULL)
		cw_cloud_device_refused(r->cloud, d, code, cw_cloud_code_text(code));
	cw_log(cloud_refused, cw_cloud_code_text(code), CW_LS("gateway", r->device->id), CW_LS("device", d != NULL ? d->id : ""),
	       CW_LI("code", code));
}

int cw_cloud_login(struct alink_request *r)
{
	struct cloud_device *d = NULL;
	int code;

	if (!json_is_object(r->params))
		return 460;
	r->data = named(r->params);
	code = login_check(r, r->params, NULL, 0, &d);
	if (code != 0) {
		login_refused(r, d, code);
		return code;
	}
	login_one(r, r->params, d);
	return 200;
}

/* All or nothing: every entry is checked before the first is logged in; `data` names those concerned. */
int cw_cloud_batch_login(struct alink_request *r)
{
	json_t *list = json_object_get(r->params, "deviceList");
	size_t n = json_array_size(list), i;
	struct cloud_device *found[CLOUD_BATCH_MAX];
	json_t *good = json_array(), *bad = json_array();
	int code = n == 0 || n > CLOUD_BATCH_MAX ? 460 : 0;

	for (i = 0; i < n && n <= CLOUD_BATCH_MAX; i++) {
		json_t *entry = json_array_get(list, i);
		int one;

		found[i] = NULL;
		one = login_check(r, entry, r->params, (unsigned)i, &found[i]);
		json_array_append_new(one == 0 ? good : bad, named(entry));
		if (one != 0) {
			login_refused(r, found[i], one);
			code = code != 0 ? code : one;
		}
	}
	r->data = code == 0 ? good : bad;
	json_decref(code == 0 ? bad : good);
	if (code != 0)
		return code;
	for (i = 0; i < n; i++)
		login_one(r, json_array_get(list, i), found[i]);
	return 200;
}

static int logout_check(struct alink_request *r, const json_t *entry, struct cloud_device **ret_device)
{
	int code = find_named(r->cloud, entry, ret_device);

	if (code == 460)
		return 460;
	return code != 0 || (*ret_device)->link != r->link || *ret_device == r->device ? 520 : 0;
}

int cw_cloud_logout(struct alink_request *r)
{
	struct cloud_device *d = NULL;
	int code;

	if (!json_is_object(r->params))
		return 460;
	r->data = named(r->params);
	code = logout_check(r, r->params, &d);
	if (code != 0)
		return code;
	cw_cloud_member_down(r->cloud, d, 0);
	return 200;
}

int cw_cloud_batch_logout(struct alink_request *r)
{
	size_t n = json_array_size(r->params), i;
	struct cloud_device *d = NULL;

	if (n == 0 || n > CLOUD_BATCH_MAX)
		return 460;
	r->data = json_array();
	for (i = 0; i < n; i++) {
		int code = logout_check(r, json_array_get(r->params, i), &d);

		if (code != 0) {
			json_array_clear(r->data);
			json_array_append_new(r->data, named(json_array_get(r->params, i)));
			return code;
		}
		json_array_append_new(r->data, named(json_array_get(r->params, i)));
	}
	for (i = 0; i < n; i++) {
		(void)find_named(r->cloud, json_array_get(r->params, i), &d);
		cw_cloud_member_down(r->cloud, d, 0);
	}
	return 200;
}
