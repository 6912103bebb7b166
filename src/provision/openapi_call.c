/* openapi_call.c - see openapi_call.h. */
#include "provision/openapi_call.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "causeway/record.h"
#include "json/json.h"
#include "provision/register.h"

#define VERSION "2018-01-20"
#define RETRIES 3u
#define FIRST_WAIT_MS 500u
#define CALL_MS 15000u
#define ANSWER_MOST 65536u

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

void cw_openapi_word(struct cw_bytes map, const char *key, char *out, size_t size)
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

static int is_later(int status, const char *code)
{
	return status >= 500 || strncmp(code, "Throttling", 10) == 0 || strcmp(code, "SignatureNonceUsed") == 0 ||
	       strcmp(code, "iot.system.SystemException") == 0 || strcmp(code, "ServiceUnavailable") == 0;
}

static void understood(struct cw_openapi_call *c, int status, struct cw_bytes map)
{
	struct cw_openapi_answer answer = { .body = map, .text = "" };
	char code[96], id[64], text[512];
	const char *more;

	cw_openapi_word(map, "Code", code, sizeof(code));
	cw_openapi_word(map, "RequestId", id, sizeof(id));
	answer.code = code;
	if (status != 200 || !is_success(map)) {
		more = remedy(code);
		answer.rc = is_later(status, code) ? CW_EBUSY : CW_EREFUSED;
		(void)snprintf(text, sizeof(text), "the platform refused %s: %s (HTTP status %d, request id %s)%s%s", c->action,
			       code[0] == '\0' ? "no code" : code, status, id[0] == '\0' ? "none" : id, more == NULL ? "" : "; ",
			       more == NULL ? "" : more);
		answer.text = text;
	} else {
		answer.code = "";
	}
	c->done(c, &answer);
}

static void tell(struct cw_openapi_call *c, int rc, const char *text)
{
	struct cw_openapi_answer answer = { .rc = rc, .code = "", .text = text };

	c->done(c, &answer);
}

static void on_reply(void *ctx, const struct cw_fetch_reply *reply)
{
	struct cw_openapi_call *c = ctx;
	uint8_t *item = NULL;
	size_t len = 0;

	c->fetch = NULL;
	if (reply->rc < 0) {
		tell(c, reply->rc == CW_EACCESS || reply->rc == CW_EINVAL ? reply->rc : CW_EUNREACH, reply->text);
	} else if (cw_json_to_item(reply->body, &item, &len) < 0 || item[0] != 0xbf) {
		cw_free(item);
		if (reply->status >= 500)
			tell(c, CW_EBUSY, "the management API answered with an error of its own; try again later");
		else
			tell(c, CW_EPROTO, "the management API's answer is not understood; is the endpoint right?");
	} else {
		understood(c, reply->status, cw_bytes_of(item, len));
		explicit_bzero(item, len);
		cw_free(item);
	}
}

/* Sign and send `params`, which are all of them. */
static int send_form(struct cw_fetch_pool *pool, struct cw_openapi_call *c, const struct cw_pop_param *params, size_t count)
{
	static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded", "Accept: application/json", NULL };
	const struct cw_openapi_account *a = c->account;
	char url[320], *form = NULL;
	struct cw_fetch_request request = { .method = "POST", .url = url, .headers = headers, .tls = a->tls, .timeout_ms = CALL_MS,
					    .most = c->most == 0 ? ANSWER_MOST : c->most, .done = on_reply, .ctx = c };
	size_t len = 0;
	int rc = cw_pop_form(params, count, a->access_secret, &form, &len);

	if (rc < 0)
		return rc;
	(void)snprintf(url, sizeof(url), "%s%s/", strncmp(a->endpoint, "https://", 8) == 0 ? "" : "https://", a->endpoint);
	request.body = cw_bytes_of(form, len);
	rc = cw_fetch_start(pool, &request, &c->fetch);
	explicit_bzero(form, len);
	cw_free(form);
	return rc;
}

int cw_openapi_call(struct cw_fetch_pool *pool, struct cw_openapi_call *c)
{
	const struct cw_openapi_account *a = c->account;
	char nonce[CW_REGISTER_RANDOM], stamp[24];
	time_t now = (time_t)(cw_clock_wall_ms() / 1000);
	struct tm utc;
	const struct cw_pop_param common[] = {
		{ "Action", c->action },
		{ "Version", VERSION },
		{ "Format", "JSON" },
		{ "AccessKeyId", a->access_key },
		{ "SignatureMethod", "HMAC-SHA1" },
		{ "SignatureVersion", "1.0" },
		{ "SignatureNonce", nonce },
		{ "Timestamp", stamp },
		{ "RegionId", a->region },
		{ "IotInstanceId", a->instance_id },
	};
	size_t n = sizeof(common) / sizeof(common[0]) - (a->instance_id == NULL);
	struct cw_pop_param *params;
	int rc = cw_register_random(nonce);

	if (rc < 0)
		return rc;
	if (gmtime_r(&now, &utc) == NULL || strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		return CW_EINTERNAL;
	params = cw_alloc((n + c->count) * sizeof(*params));
	if (params == NULL)
		return CW_ENOMEM;
	memcpy(params, common, n * sizeof(*params));
	if (c->count > 0)
		memcpy(params + n, c->params, c->count * sizeof(*params));
	rc = send_form(pool, c, params, n + c->count);
	cw_free(params);
	return rc;
}

void cw_openapi_call_cancel(struct cw_openapi_call *c)
{
	if (c->fetch != NULL)
		cw_fetch_cancel(c->fetch);
	c->fetch = NULL;
}

unsigned cw_openapi_wait_ms(unsigned failures)
{
	return failures == 0 || failures > RETRIES ? 0 : FIRST_WAIT_MS << (failures - 1);
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
