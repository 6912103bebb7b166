/* register_https.c - a device fetches its secret at the platform's authentication host. */
#include <stdio.h>
#include <string.h>

#include "base/digits.h"
#include "base/mem.h"
#include "causeway/record.h"
#include "json/json.h"
#include "provision/register.h"

#define PATH "/auth/register/device"
#define ANSWER_MOST 16384u

struct job {
	struct cw_register_job base;
	struct cw_fetch *fetch;
};

static void finish(struct job *j, int rc, int code, const struct cw_certificate *got, const char *text)
{
	struct cw_registration *r = j->base.r;

	r->priv = NULL;
	cw_free(j);
	r->done(r, rc, code, got, text);
	r->gone(r);
}

static int cancel(struct cw_register_job *base)
{
	struct job *j = cw_container_of(base, struct job, base);
	struct cw_registration *r = base->r;
	int nothing = !cw_fetch_sent(j->fetch);

	cw_fetch_cancel(j->fetch);
	r->priv = NULL;
	cw_free(j);
	r->gone(r);
	return nothing;
}

/* An answer came. It is the platform's when it is JSON with a code; the HTTP status says little. */
static int understand(const struct cw_registration *r, const struct cw_fetch_reply *reply, struct cw_certificate *got,
		      int *ret_code, char *text, size_t size)
{
	uint8_t *item = NULL;
	size_t len = 0;
	int64_t code = 0;
	int rc = CW_EPROTO;

	if (reply->body.len > 0 && cw_json_to_item(reply->body, &item, &len) == 0) {
		code = item[0] == 0xbf ? cw_map_int(cw_bytes_of(item, len), "code", 0) : 0;
		if (code == 200)
			rc = cw_register_read(r, cw_map_get(cw_bytes_of(item, len), "data"), got);
		explicit_bzero(item, len);
		cw_free(item);
	}
	*ret_code = (int)code;
	if (rc == 0)
		return 0;
	if (code != 0 && code != 200) {
		const char *why = cw_register_code_text((int)code, &rc);

		(void)snprintf(text, size, "the platform refused the registration of %s (code %d): %s", r->device_name, (int)code, why);
		return rc;
	}
	if (code == 0 && reply->status >= 400) {
		(void)snprintf(text, size, "the registration host answered with HTTP status %d; %s", reply->status,
			       reply->status >= 500 || reply->status == 429 ? "try again later"
									    : "check the endpoint of the registration");
		return reply->status >= 500 || reply->status == 429 ? CW_EBUSY : CW_EREFUSED;
	}
	(void)snprintf(text, size, "the registration host's answer is not understood; is the endpoint right?");
	return CW_EPROTO;
}

static void on_reply(void *ctx, const struct cw_fetch_reply *reply)
{
	struct job *j = ctx;
	struct cw_certificate got = { .product_key = "" };
	char text[512] = "";
	int rc = reply->rc, code = 0;

	if (rc == 0)
		rc = understand(j->base.r, reply, &got, &code, text, sizeof(text));
	else
		(void)snprintf(text, sizeof(text), "%s%s", reply->text, reply->sent ? "" : ": no registration was made");
	if ((rc == CW_ETIMEDOUT || rc == CW_EIO) && !reply->sent)
		rc = CW_EUNREACH;
	finish(j, rc, code, rc == 0 ? &got : NULL, text);
	explicit_bzero(&got, sizeof(got));
}

/* name=VALUE into out[size]: names of devices may have @ and :. Its length, or -1. */
static int form_value(char *out, size_t size, const char *name, const char *value)
{
	size_t n = (size_t)snprintf(out, size, "%s=", name);
	char *end = cw_percent(out + n, size - n, cw_bytes_text(value));

	return end == NULL ? -1 : (int)(end - out);
}

static int make_form(const struct cw_registration *r, char *form, size_t size)
{
	char random[CW_REGISTER_RANDOM], content[512], sign[CW_SIGN_HEX_MAX];
	int rc = cw_register_random(random), n, m;

	if (rc == 0)
		rc = cw_sign_content_register(content, sizeof(content), r->device_name, r->product_key, random);
	if (rc == 0)
		rc = cw_sign_hmac(CW_SIGN_SHA256, r->product_secret, content, sign);
	if (rc < 0)
		return rc;
	n = form_value(form, size, "productKey", r->product_key);
	m = n < 0 ? -1 : form_value(form + n, size - (size_t)n, "&deviceName", r->device_name);
	if (m < 0)
		return CW_ELIMIT;
	n += m;
	return (size_t)snprintf(form + n, size - (size_t)n, "&random=%s&sign=%s&signMethod=%s", random, sign,
				cw_sign_method_name(CW_SIGN_SHA256)) < size - (size_t)n
		       ? 0
		       : CW_ELIMIT;
}

int cw_register_https(struct cw_fetch_pool *pool, struct cw_registration *r, struct cw_msg *msg)
{
	static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded",
					       "Accept: text/xml,text/javascript,text/html,application/json", NULL };
	struct cw_fetch_request request = { .method = "POST", .headers = headers, .tls = r->tls, .most = ANSWER_MOST };
	struct job *j = cw_zalloc(sizeof(*j));
	char form[768], url[512];
	int rc = j == NULL ? CW_ENOMEM : make_form(r, form, sizeof(form));

	if (rc == 0 && (size_t)snprintf(url, sizeof(url), "%s%s", r->endpoint, strchr(r->endpoint + 8, '/') == NULL ? PATH : "") >=
			       sizeof(url))
		rc = CW_ELIMIT;
	if (rc == 0) {
		j->base.r = r;
		j->base.cancel = cancel;
		request.url = url;
		request.body = cw_bytes_text(form);
		request.timeout_ms = r->timeout_ms != 0 ? r->timeout_ms : CW_REGISTER_TIMEOUT_MS;
		request.done = on_reply;
		request.ctx = j;
		rc = cw_fetch_start(pool, &request, &j->fetch);
	}
	if (rc < 0) {
		cw_free(j);
		return cw_fail(msg, rc, "registration: %s", cw_error_text(rc));
	}
	r->priv = &j->base;
	return 0;
}
