/* register.c - what both ways of registration share; see provision.h. */
#include "provision/register.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/digits.h"
#include "base/mem.h"
#include "causeway/record.h"
#include "json/json.h"

static const struct {
	int code, rc;
	const char *text;
} codes[] = {
	{ 429, CW_EREFUSED, "the name has its five ClientIDs already, or the product is full" },
	{ 460, CW_EREFUSED,
	  "the platform misses a parameter or takes one for malformed: check ProductKey, DeviceName and the instance id; "
	  "sub-devices are registered through their gateway only" },
	{ 500, CW_EBUSY, "the platform has a problem of its own; try again later" },
	{ 6100, CW_EREFUSED, "the platform does not know this DeviceName: add the device to the product in the console first" },
	{ 6204, CW_EREFUSED, "the device is disabled: enable it in the console" },
	{ 6250, CW_EREFUSED, "the platform does not know this ProductKey: check it, and that the region is the product's" },
	{ 6288, CW_EREFUSED,
	  "dynamic registration is switched off for this product: switch it on in the console; devices that are active already keep "
	  "working" },
	{ 6289, CW_EREFUSED,
	  "the device is active: its secret was issued already, and only once; if it is lost, reset the device, or delete it and "
	  "add it anew, in the console" },
	{ 6292, CW_EREFUSED, "the platform does not know the sign method" },
	{ 6600, CW_EREFUSED, "the ProductSecret is not this product's" },
};

const char *cw_register_code_text(int code, int *ret_rc)
{
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].code == code) {
			*ret_rc = codes[i].rc;
			return codes[i].text;
		}
	}
	*ret_rc = CW_EREFUSED;
	return "refused for a reason not known here; the product's page in the console may say more";
}

int cw_register_random(char random[CW_REGISTER_RANDOM])
{
	uint8_t bytes[(CW_REGISTER_RANDOM - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return CW_EINTERNAL;
	cw_hex(random, cw_bytes_of(bytes, sizeof(bytes)));
	return 0;
}

/* A text without control characters; 0 when it is absent, empty or too long. */
static int take(struct cw_bytes object, const char *key, char *out, size_t size)
{
	struct cw_bytes t = cw_map_text(object, key);
	size_t i;

	if (t.len == 0 || t.len >= size)
		return 0;
	for (i = 0; i < t.len; i++)
		if (t.ptr[i] <= ' ' || t.ptr[i] == 0x7f)
			return 0;
	memcpy(out, t.ptr, t.len);
	out[t.len] = '\0';
	return 1;
}

int cw_register_read(const struct cw_registration *r, struct cw_bytes object, struct cw_certificate *ret)
{
	int ok;

	memset(ret, 0, sizeof(*ret));
	if (object.len == 0 || object.ptr[0] != 0xbf)
		return CW_EPROTO;
	ok = take(object, "productKey", ret->product_key, sizeof(ret->product_key)) &&
	     take(object, "deviceName", ret->device_name, sizeof(ret->device_name)) &&
	     strcmp(ret->product_key, r->product_key) == 0 && strcmp(ret->device_name, r->device_name) == 0;
	if (r->no_whitelist)
		ok = ok && take(object, "clientId", ret->client_id, sizeof(ret->client_id)) &&
		     take(object, "deviceToken", ret->device_token, sizeof(ret->device_token));
	else
		ok = ok && take(object, "deviceSecret", ret->device_secret, sizeof(ret->device_secret));
	if (ok)
		return 0;
	explicit_bzero(ret, sizeof(*ret));
	return CW_EPROTO;
}

int cw_register_parse(const struct cw_registration *r, struct cw_bytes json, struct cw_certificate *ret)
{
	uint8_t *item;
	size_t len;
	int rc = cw_json_to_item(json, &item, &len);

	if (rc < 0)
		return CW_EPROTO;
	rc = cw_register_read(r, cw_bytes_of(item, len), ret);
	explicit_bzero(item, len);
	cw_free(item);
	return rc;
}

int cw_register_gave_nothing(int rc)
{
	return rc == CW_EREFUSED || rc == CW_EBUSY || rc == CW_EUNREACH || rc == CW_EACCESS || rc == CW_ECONF;
}

void cw_register_endpoint(enum cw_register_via via, const char *product_key, const char *region, char *text, size_t size)
{
	if (via == CW_REGISTER_HTTPS)
		(void)snprintf(text, size, "https://iot-auth.%s.aliyuncs.com/auth/register/device", region);
	else
		(void)snprintf(text, size, "ssl://%s.iot-as-mqtt.%s.aliyuncs.com:1883", product_key, region);
}

int cw_register_check(const struct cw_registration *r, struct cw_msg *msg)
{
	if (r->endpoint == NULL)
		return cw_fail(msg, CW_ECONF, "registration: there is no endpoint; give one, or a region");
	if (r->no_whitelist && r->via == CW_REGISTER_HTTPS)
		return cw_fail(msg, CW_ECONF,
			       "registration without pre-registration (regnwl) works over MQTT only, not over HTTPS");
	if (r->via == CW_REGISTER_MQTT)
		return cw_register_mqtt_check(r, msg);
	if (strncmp(r->endpoint, "https://", 8) != 0 || r->endpoint[8] == '\0' || r->endpoint[8] == '/')
		return cw_fail(msg, CW_ECONF,
			       "registration: the endpoint '%.200s' is not like https://host/auth/register/device; a secret is asked for "
			       "over TLS only",
			       r->endpoint);
	return 0;
}

int cw_register(struct cw_worker *w, struct cw_fetch_pool *pool, struct cw_registration *r, struct cw_msg *msg)
{
	int rc = cw_register_check(r, msg);

	if (rc < 0)
		return rc;
	return r->via == CW_REGISTER_HTTPS ? cw_register_https(pool, r, msg) : cw_register_mqtt(w, r, msg);
}

int cw_register_cancel(struct cw_registration *r)
{
	struct cw_register_job *job = r->priv;

	return job == NULL ? 0 : job->cancel(job);
}
