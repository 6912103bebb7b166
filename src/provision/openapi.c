/* openapi.c - see openapi.h. */
#include "provision/openapi.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/record.h"

struct find {
	struct cw_openapi_find *f;
	struct cw_worker *w;
	struct cw_fetch_pool *pool;
	struct cw_openapi_call call;
	struct cw_timer timer;
	unsigned failures;
	int creating; /* the call under way is RegisterDevice */
	int collided; /* RegisterDevice said that the name exists */
};

static void finish(struct find *x, int rc, const char *code, const struct cw_certificate *got, const char *text)
{
	struct cw_openapi_find *f = x->f;
	int created = x->creating;

	cw_timer_stop(cw_worker_timers(x->w), &x->timer);
	f->priv = NULL;
	cw_free(x);
	f->done(f, rc, created, code, got, text);
}

static void on_answer(struct cw_openapi_call *c, const struct cw_openapi_answer *answer);

static int call(struct find *x)
{
	const struct cw_pop_param params[] = { { "ProductKey", x->f->product_key }, { "DeviceName", x->f->device_name } };

	x->call = (struct cw_openapi_call){ .account = x->f->account, .action = x->creating ? "RegisterDevice" : "QueryDeviceDetail",
					    .params = params, .count = 2, .done = on_answer, .ctx = x };
	return cw_openapi_call(x->pool, &x->call);
}

static void call_or_finish(struct find *x)
{
	if (call(x) < 0)
		finish(x, CW_ENOMEM, "", NULL, "out of memory");
}

static void on_timer(struct cw_timer *t)
{
	struct find *x = cw_container_of(t, struct find, timer);

	x->creating = 0; /* a RegisterDevice whose answer is not known may have worked */
	call_or_finish(x);
}

/* Success: the device with its secret. */
static void found(struct find *x, struct cw_bytes data)
{
	struct cw_certificate got = { .product_key = "" };

	(void)snprintf(got.product_key, sizeof(got.product_key), "%s", x->f->product_key);
	(void)snprintf(got.device_name, sizeof(got.device_name), "%s", x->f->device_name);
	cw_openapi_word(data, "DeviceSecret", got.device_secret, sizeof(got.device_secret));
	cw_openapi_word(data, "IotId", x->f->iot_id, sizeof(x->f->iot_id));
	if (got.device_secret[0] == '\0')
		finish(x, CW_EPROTO, "", NULL, "the management API's answer holds no DeviceSecret; is the endpoint right?");
	else
		finish(x, 0, "", &got, "");
	explicit_bzero(&got, sizeof(got));
}

static void on_answer(struct cw_openapi_call *c, const struct cw_openapi_answer *answer)
{
	struct find *x = c->ctx;
	unsigned wait;

	if (answer->rc == 0) {
		found(x, cw_map_get(answer->body, "Data"));
	} else if (answer->rc == CW_EREFUSED && !x->collided && !x->creating && strcmp(answer->code, "iot.device.NotExistedDevice") == 0) {
		x->creating = 1;
		call_or_finish(x);
	} else if (answer->rc == CW_EREFUSED && !x->collided && x->creating && strcmp(answer->code, "iot.device.AlreadyExistedDeviceName") == 0) {
		x->creating = 0;
		x->collided = 1;
		call_or_finish(x);
	} else if ((answer->rc == CW_EBUSY || answer->rc == CW_EUNREACH) && (wait = cw_openapi_wait_ms(++x->failures)) > 0) {
		cw_timer_set(cw_worker_timers(x->w), &x->timer, wait, on_timer);
	} else {
		finish(x, answer->rc, answer->code, NULL, answer->text);
	}
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
	cw_openapi_call_cancel(&x->call);
	cw_timer_stop(cw_worker_timers(x->w), &x->timer);
	f->priv = NULL;
	cw_free(x);
}
