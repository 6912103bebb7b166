/*
 * Answers to requests for a certificate: over HTTPS, in a message of MQTT, and of the management API. The input's first byte
 * chooses the HTTP status; each line is one answer. A certificate that is taken is whole, belongs to who asked and can
 * stand in a file; everything else ends with a sentence. This file stands in for the HTTP client.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "loop/timer.h"
#include "provision/openapi.h"
#include "provision/register.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cw_fetch_request asked;
static int pending, ended, gone;

int cw_fetch_start(struct cw_fetch_pool *pool, const struct cw_fetch_request *r, struct cw_fetch **ret_fetch)
{
	(void)pool;
	if (pending)
		abort();
	asked = *r;
	pending = 1;
	*ret_fetch = (struct cw_fetch *)&asked;
	return 0;
}

int cw_fetch_sent(const struct cw_fetch *f)
{
	(void)f;
	return 1;
}

void cw_fetch_cancel(struct cw_fetch *f)
{
	(void)f;
	pending = 0;
}

static void check(int rc, const struct cw_certificate *got, const char *text)
{
	if (ended++ || (rc == 0) != (got != NULL) || (rc != 0 && (text == NULL || text[0] == '\0')))
		abort();
	if (got == NULL)
		return;
	if (strcmp(got->product_key, "a1Product01") != 0 || strcmp(got->device_name, "device-1") != 0)
		abort();
	if (got->device_secret[0] == '\0' && (got->client_id[0] == '\0' || got->device_token[0] == '\0'))
		abort();
}

static void on_registered(struct cw_registration *r, int rc, int code, const struct cw_certificate *got, const char *text)
{
	(void)r;
	(void)code;
	check(rc, got, text);
}

static void on_gone(struct cw_registration *r)
{
	(void)r;
	gone++;
}

static void on_found(struct cw_openapi_find *f, int rc, int created, const char *code, const struct cw_certificate *got, const char *text)
{
	(void)f;
	(void)created;
	if (code == NULL)
		abort();
	check(rc, got, text);
}

/* Answers, until the asking is over or the lines are. */
static void answer(struct cw_bytes rest, int status)
{
	while (pending && rest.len > 0) {
		const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
		size_t n = end == NULL ? rest.len : (size_t)(end - rest.ptr);
		struct cw_fetch_reply reply = { .status = status, .body = cw_bytes_of(rest.ptr, n), .sent = 1, .text = "" };

		pending = 0;
		asked.done(asked.ctx, &reply);
		n += end != NULL;
		rest = cw_bytes_of(rest.ptr + n, rest.len - n);
	}
}

static void registration(struct cw_worker *w, struct cw_bytes text, int status)
{
	struct cw_registration r = { .product_key = "a1Product01", .device_name = "device-1", .product_secret = "0123456789abcdef",
		                     .endpoint = "https://127.0.0.1", .tls = { .verify = 1 }, .done = on_registered, .gone = on_gone };
	struct cw_certificate got = { .product_key = "" };
	struct cw_msg msg = { "" };
	int rc;

	pending = ended = gone = 0;
	if (cw_register(w, (struct cw_fetch_pool *)&asked, &r, &msg) < 0)
		abort();
	answer(text, status);
	if (!ended)
		(void)cw_register_cancel(&r);
	if (gone != 1)
		abort();
	for (r.no_whitelist = 0; r.no_whitelist < 2; r.no_whitelist++) {
		ended = 0;
		rc = cw_register_parse(&r, text, &got);
		check(rc, rc == 0 ? &got : NULL, "a text");
	}
}

static void management(struct cw_worker *w, struct cw_bytes text, int status)
{
	const struct cw_openapi_account account = { .endpoint = "127.0.0.1", .region = "cn-shanghai", .access_key = "key", .access_secret = "secret" };
	struct cw_openapi_find f = { .account = &account, .product_key = "a1Product01", .device_name = "device-1", .done = on_found };
	struct cw_msg msg = { "" };

	pending = ended = 0;
	if (cw_openapi_find(w, (struct cw_fetch_pool *)&asked, &f, &msg) < 0)
		abort();
	answer(text, status);
	if (!ended)
		cw_openapi_cancel(&f);
	if (pending)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = { 200, 400, 403, 500, 503 };
	static struct cw_worker *w;
	int status;

	if (size == 0)
		return 0;
	if (w == NULL && cw_worker_new("fuzz", 0, &w) < 0)
		abort();
	status = statuses[data[0] % (sizeof(statuses) / sizeof(statuses[0]))];
	registration(w, cw_bytes_of(data + 1, size - 1), status);
	management(w, cw_bytes_of(data + 1, size - 1), status);
	return 0;
}
