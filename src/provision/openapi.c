/* openapi.c - see openapi.h. */
#include "provision/openapi.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "causeway/record.h"
#include "json/json.h"
#include "platform/pop.h"
#include "provision/register.h"

#define VERSION "2018-01-20"
#define RETRIES 3u
#define FIRST_WAIT_MS 500u
#define CALL_MS 15000u

struct find {
	struct cw_openapi_find *f;
	struct cw_worker *w;
	struct cw_fetch_pool *pool;
	struct cw_fetch *fetch; /* NULL: none under way */
	struct cw_timer timer;
	unsigned failures;
	int creating;  /* the call under way is RegisterDevice */
	int collided;  /* RegisterDevice said that the name exists */
};

static int call(struct find *x);

/* What a refusal means and what to do; NULL: nothing to add. */
static const char *remedy(const char *code)
{
	static const struct {
		const char *code, *text;
	} known[] = {
		{ "InvalidAccessKeyId.NotFound", "the access key does not exist: check accessKey" },
		{ "InvalidAccessKeyId.Inactive", "the access key is disabled: enable it, or take another" },
		{ "SignatureDoesNotMatch", "the secret does not belong to the access key: check accessSecret" },
		{ "IncompleteSignature", "the secret does not belong to the access key: check accessSecret" },
		{ "InvalidTimeStamp.Expired", "this machine's clock is more than 15 minutes off: correct it" },
		{ "Forbidden.RAM", "the access key may not do this: give its user the right to query and register devices" },
		{ "NoPermission", "the access key may not do this: give its user the right to query and register devices" },
		{ "iot.common.RamActionPermissionDeny", "the access key may not do this: give its user the right to query and register devices" },
		{ "iot.common.AuthActionPermissionDeny", "the device or the product belongs to another account" },
		{ "iot.prod.NotExistedProduct", "this account has no such product in this region: check productKey and region" },
		{ "iot.prod.InvalidFormattedProductkey", "the product key is malformed: check productKey" },
		{ "iot.device.InvalidFormattedDeviceName", "the platform does not take this DeviceName" },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].code, code) == 0)
			return known[i].text;
	return NULL;
}

static void finish(struct find *x, int rc, const char *code, const struct cw_certificate *got, const char *text)
{
	struct cw_openapi_find *f = x->f;
	int created = x->creating;

	cw_timer_stop(cw_worker_timers(x->w), &x->timer);
	f->priv = NULL;
	cw_free(x);
	f->done(f, rc, created, code, got, text);
}

static void on_timer(struct cw_timer *t)
{
	struct find *x = cw_container_of(t, struct find, timer);

	x->creating = 0; /* a RegisterDevice whose answer is not known may have worked */
	if (call(x) < 0)
		finish(x, CW_ENOMEM, "", NULL, "out of memory");
}

/* Again later, or the end of it. */
static void fail_or_wait(struct find *x, int rc, const char *code, const char *text)
{
	if (x->failures++ < RETRIES)
		cw_timer_set(cw_worker_timers(x->w), &x->timer, FIRST_WAIT_MS << (x->failures - 1), on_timer);
	else
		finish(x, rc, code, NULL, text);
}

/* A short plain word of the platform's; anything else becomes "". */
static void take_word(struct cw_bytes map, const char *key, char *out, size_t size)
{
	struct cw_bytes t = cw_map_text(map, key);
	size_t i;

	out[0] = '\0';
	if (t.len == 0 || t.len >= size)
		return;
	for (i = 0; i < t.len; i++)
		if (t.ptr[i] <= ' ' || t.ptr[i] > '~')
			return;
	memcpy(out, t.ptr, t.len);
	out[t.len] = '\0';
}

static int is_success(struct cw_bytes map)
{
	struct cw_item it = cw_map_item(map, "Success");

	return it.type == CW_ITEM_BOOL && it.i != 0;
}

static void refused(struct find *x, int status, const char *code, const char *request_id)
{
	const char *what = x->creating ? "RegisterDevice" : "QueryDeviceDetail", *more = remedy(code);
	char text[512];

	if (!x->creating && strcmp(code, "iot.device.NotExistedDevice") == 0 && !x->collided) {
		x->creating = 1;
		if (call(x) < 0)
			finish(x, CW_ENOMEM, "", NULL, "out of memory");
		return;
	}
	if (x->creating && strcmp(code, "iot.device.AlreadyExistedDeviceName") == 0 && !x->collided) {
		x->creating = 0;
		x->collided = 1;
		if (call(x) < 0)
			finish(x, CW_ENOMEM, "", NULL, "out of memory");
		return;
	}
	(void)snprintf(text, sizeof(text), "the platform refused %s: %s (HTTP status %d, request id %s)%s%s", what,
		       code[0] == '\0' ? "no code" : code, status, request_id[0] == '\0' ? "none" : request_id,
		       more == NULL ? "" : "; ", more == NULL ? "" : more);
	if (status >= 500 || strncmp(code, "Throttling", 10) == 0 || strcmp(code, "SignatureNonceUsed") == 0 ||
	    strcmp(code, "iot.system.SystemException") == 0 || strcmp(code, "ServiceUnavailable") == 0)
		fail_or_wait(x, CW_EBUSY, code, text);
	else
		finish(x, CW_EREFUSED, code, NULL, text);
}

/* Success: the device with its secret. */
static void found(struct find *x, struct cw_bytes data)
{
	struct cw_certificate got = { .product_key = "" };

	(void)snprintf(got.product_key, sizeof(got.product_key), "%s", x->f->product_key);
	(void)snprintf(got.device_name, sizeof(got.device_name), "%s", x->f->device_name);
	take_word(data, "DeviceSecret", got.device_secret, sizeof(got.device_secret));
	if (got.device_secret[0] == '\0')
		finish(x, CW_EPROTO, "", NULL, "the management API's answer holds no DeviceSecret; is the endpoint right?");
	else
		finish(x, 0, "", &got, "");
	explicit_bzero(&got, sizeof(got));
}

static void on_reply(void *ctx, const struct cw_fetch_reply *reply)
{
	struct find *x = ctx;
	char code[96], id[64];
	struct cw_bytes map;
	uint8_t *item = NULL;
	size_t len = 0;

	x->fetch = NULL;
	if (reply->rc < 0) {
		if (reply->rc == CW_EACCESS || reply->rc == CW_EINVAL)
			finish(x, reply->rc, "", NULL, reply->text);
		else
			fail_or_wait(x, CW_EUNREACH, "", reply->text);
		return;
	}
	if (cw_json_to_item(reply->body, &item, &len) < 0 || item[0] != 0xbf) {
		cw_free(item);
		if (reply->status >= 500)
			fail_or_wait(x, CW_EBUSY, "", "the management API answered with an error of its own; try again later");
		else
			finish(x, CW_EPROTO, "", NULL, "the management API's answer is not understood; is the endpoint right?");
		return;
	}
	map = cw_bytes_of(item, len);
	take_word(map, "Code", code, sizeof(code));
	take_word(map, "RequestId", id, sizeof(id));
	if (reply->status == 200 && is_success(map))
		found(x, cw_map_get(map, "Data"));
	else
		refused(x, reply->status, code, id);
	explicit_bzero(item, len);
	cw_free(item);
}

static int call(struct find *x)
{
	static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded", "Accept: application/json", NULL };
	const struct cw_openapi_account *a = x->f->account;
	char nonce[CW_REGISTER_RANDOM], stamp[24], url[320], *form = NULL;
	time_t now = (time_t)(cw_clock_wall_ms() / 1000);
	struct tm utc;
	struct cw_pop_param params[] = {
		{ "Action", x->creating ? "RegisterDevice" : "QueryDeviceDetail" },
		{ "Version", VERSION },
		{ "Format", "JSON" },
		{ "AccessKeyId", a->access_key },
		{ "SignatureMethod", "HMAC-SHA1" },
		{ "SignatureVersion", "1.0" },
		{ "SignatureNonce", nonce },
		{ "Timestamp", stamp },
		{ "RegionId", a->region },
		{ "ProductKey", x->f->product_key },
		{ "DeviceName", x->f->device_name },
		{ "IotInstanceId", a->instance_id },
	};
	struct cw_fetch_request request = { .method = "POST", .url = url, .headers = headers, .tls = a->tls, .timeout_ms = CALL_MS, .most = 65536,
					    .done = on_reply, .ctx = x };
	size_t len = 0;
	int rc = cw_register_random(nonce);

	if (gmtime_r(&now, &utc) == NULL || strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		rc = CW_EINTERNAL;
	(void)snprintf(url, sizeof(url), "%s%s/", strncmp(a->endpoint, "https://", 8) == 0 ? "" : "https://", a->endpoint);
	if (rc == 0)
		rc = cw_pop_form(params, sizeof(params) / sizeof(params[0]) - (a->instance_id == NULL), a->access_secret, &form, &len);
	if (rc == 0) {
		request.body = cw_bytes_of(form, len);
		rc = cw_fetch_start(x->pool, &request, &x->fetch);
		explicit_bzero(form, len);
		cw_free(form);
	}
	return rc;
}

int cw_openapi_check(const struct cw_openapi_account *a, struct cw_msg *msg)
{
	const char *host = strncmp(a->endpoint, "https://", 8) == 0 ? a->endpoint + 8 : a->endpoint;

	if (host[0] == '\0' || strpbrk(host, "/? \t") != NULL || strlen(host) > 255)
		return cw_fail(msg, CW_ECONF,
			       "the management API's endpoint '%.200s' is neither a host like iot.cn-shanghai.aliyuncs.com nor like https://host:port; it is "
			       "called over TLS only",
			       a->endpoint);
	return 0;
}

int cw_openapi_find(struct cw_worker *w, struct cw_fetch_pool *pool, struct cw_openapi_find *f, struct cw_msg *msg)
{
	struct find *x;
	int rc = cw_openapi_check(f->account, msg);

	if (rc < 0)
		return rc;
	x = cw_zalloc(sizeof(*x));
	if (x == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	x->f = f;
	x->w = w;
	x->pool = pool;
	rc = call(x);
	if (rc < 0) {
		cw_free(x);
		return cw_fail(msg, rc, "management API: %s", cw_error_text(rc));
	}
	f->priv = x;
	return 0;
}

void cw_openapi_cancel(struct cw_openapi_find *f)
{
	struct find *x = f->priv;

	if (x == NULL)
		return;
	if (x->fetch != NULL)
		cw_fetch_cancel(x->fetch);
	cw_timer_stop(cw_worker_timers(x->w), &x->timer);
	f->priv = NULL;
	cw_free(x);
}
