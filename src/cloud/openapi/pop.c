/* pop.c - what handlers of actions share: parameters, endings, the search for an action; see pop.h. */
#include "cloud/openapi/pop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "cloud/core/base64.h"
#include "cloud/core/parse.h"
#include "cloud/core/stock/naming.h"
#include "cloud/core/traffic/down.h"
#include "cloud/openapi/answer.h"

#define PAGE_MAX 50u
#define CHINA_MS 28800000 /* eight hours: the region's local time */
#define IOT_ID_LEN 30u

/* ---- endings ---- */

void cw_cloud_pop_ok(struct pop_call *call, json_t *members)
{
	cw_cloud_pop_send(call, members, 1);
}

void cw_cloud_pop_data(struct pop_call *call, json_t *data)
{
	cw_cloud_pop_ok(call, json_pack("{s:o}", "Data", data));
}

static const struct {
	const char *code, *text;
} codes[] = {
#define POP_CODE_ROW(sym, code, text) { "iot." code, text },
	POP_CODES(POP_CODE_ROW)
#undef POP_CODE_ROW
};

void cw_cloud_pop_fail_with(struct pop_call *call, enum pop_code code, const char *text, json_t *members)
{
	json_t *body = json_pack("{s:s, s:s}", "Code", codes[code].code, "ErrorMessage",
				 text != NULL ? text : codes[code].text);

	if (body != NULL && members != NULL)
		(void)json_object_update(body, members);
	json_decref(members);
	cw_cloud_pop_send(call, body, 0);
}

void cw_cloud_pop_fail(struct pop_call *call, enum pop_code code, const char *text)
{
	cw_cloud_pop_fail_with(call, code, text, NULL);
}

void cw_cloud_pop_fail_code(struct pop_call *call, const char *code, const char *text)
{
	cw_cloud_pop_send(call, json_pack("{s:s, s:s}", "Code", code, "ErrorMessage", text), 0);
}

static void on_gone(void *arg)
{
	struct pop_call *call = arg;

	cw_cloud_order_cancel(call->order);
	cw_cloud_pop_fini(&call->params);
	cw_free(call);
}

void cw_cloud_pop_wait(struct pop_call *call, struct cloud_order *order)
{
	if (order == NULL) /* done() has ended the call */
		return;
	call->order = order;
	cw_http_on_gone(call->req, on_gone, call);
}

/* ---- parameters ---- */

const char *cw_cloud_pop_text(const struct pop_call *call, const char *name)
{
	const char *value = cw_cloud_pop_find(&call->params, name);
	char lower[96];
	size_t n = strlen(name);

	if (value == NULL && n < sizeof(lower) && name[0] >= 'A' && name[0] <= 'Z') {
		memcpy(lower, name, n + 1);
		lower[0] = (char)(lower[0] - 'A' + 'a');
		value = cw_cloud_pop_find(&call->params, lower);
	}
	return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *cw_cloud_pop_item(const struct pop_call *call, const char *name, unsigned index, const char *member)
{
	char full[96];

	(void)snprintf(full, sizeof(full), "%s.%u%s%s", name, index, member != NULL ? "." : "",
		       member != NULL ? member : "");
	return cw_cloud_pop_text(call, full);
}

unsigned cw_cloud_pop_count(const struct pop_call *call, const char *name, const char *member, unsigned max)
{
	unsigned n = 0;

	while (n <= max && cw_cloud_pop_item(call, name, n + 1, member) != NULL)
		n++;
	return n;
}

int cw_cloud_pop_number(const struct pop_call *call, const char *name, int64_t initial, int64_t *ret_value)
{
	const char *text = cw_cloud_pop_text(call, name);
	char *end = NULL;
	long long value;

	*ret_value = initial;
	if (text == NULL)
		return 0;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == ' ' || text[0] == '+')
		return CW_EINVAL;
	*ret_value = (int64_t)value;
	return 0;
}

int cw_cloud_pop_page(struct pop_call *call, const char *page_name, unsigned size_initial, struct pop_page *ret_page)
{
	int64_t size, current;

	if (cw_cloud_pop_number(call, "PageSize", size_initial, &size) < 0 || size < 1 || size > PAGE_MAX ||
	    cw_cloud_pop_number(call, page_name, 1, &current) < 0 || current < 1 || current > 1000000) {
		cw_cloud_pop_fail(call, POP_PAGE, NULL);
		return -1;
	}
	*ret_page = (struct pop_page){ (unsigned)size, (unsigned)current };
	return 0;
}

unsigned cw_cloud_pop_pages(const struct pop_page *page, unsigned total)
{
	return (total + page->size - 1) / page->size;
}

int cw_cloud_pop_on_page(const struct pop_page *page, unsigned n)
{
	return n / page->size == page->current - 1;
}

static void refuse_name(struct pop_call *call, const char *kind, const char *name, const char *what)
{
	char code[96], text[160];

	(void)snprintf(code, sizeof(code), "%s%s", kind, name);
	(void)snprintf(text, sizeof(text), "%s %s", name, what);
	cw_cloud_pop_refuse(call, 400, code, text);
}

json_t *cw_cloud_pop_json_param(struct pop_call *call, const char *name, json_type type)
{
	const char *text = cw_cloud_pop_text(call, name);
	json_t *j = text != NULL ? cw_cloud_json(text, strlen(text), 0, NULL) : NULL;

	if (text == NULL) {
		refuse_name(call, "Missing", name, "is mandatory for this action.");
	} else if (j == NULL || json_typeof(j) != type) {
		refuse_name(call, "InvalidParameter.", name,
			    type == JSON_OBJECT ? "is not the text of a JSON object."
						: "is not the text of a JSON list.");
		json_decref(j);
		j = NULL;
	}
	return j;
}

void *cw_cloud_pop_base64(struct pop_call *call, const char *name, size_t *ret_len)
{
	const char *text = cw_cloud_pop_text(call, name);
	size_t len = text != NULL ? strlen(text) : 0;
	uint8_t *out;

	if (text == NULL) {
		cw_cloud_pop_fail(call, POP_NULL_CONTENT, NULL);
		return NULL;
	}
	out = cw_alloc(len / 4 * 3 + 1);
	if (out == NULL || cw_cloud_base64_decode(text, len, out, ret_len) < 0) {
		cw_cloud_pop_fail(call, out == NULL ? POP_SYSTEM : POP_NOT_BASE64, NULL);
		cw_free(out);
		return NULL;
	}
	return out;
}

/* ---- who a call is about ---- */

struct cloud_product *cw_cloud_pop_product(struct pop_call *call, const char *pk)
{
	struct cloud_product *p = NULL;
	struct cw_msg msg = { "" };

	if (pk == NULL) {
		cw_cloud_pop_fail(call, POP_NULL_PK, NULL);
	} else if (cw_cloud_check_product_key(pk, &msg) < 0) {
		cw_cloud_pop_fail(call, POP_BAD_PK, NULL);
	} else {
		p = cw_cloud_product_find(call->cloud, pk, strlen(pk));
		if (p == NULL)
			cw_cloud_pop_fail(call, POP_NO_PRODUCT, NULL);
	}
	return p;
}

struct cloud_device *cw_cloud_pop_device(struct pop_call *call, const char *iot_id, const char *pk, const char *dn)
{
	struct cloud_device *d = NULL;
	struct cloud_product *p;
	struct cw_msg msg = { "" };
	enum pop_code code = POP_NO_DEVICE;

	if (iot_id != NULL) {
		d = cw_cloud_device_by_iot_id(call->cloud, iot_id, strlen(iot_id));
		if (d == NULL && strlen(iot_id) != IOT_ID_LEN)
			code = POP_BAD_IOT_ID;
	} else {
		p = cw_cloud_pop_product(call, pk);
		if (p == NULL)
			return NULL;
		if (dn == NULL)
			code = POP_NULL_DN;
		else if (cw_cloud_check_device_name(dn, &msg) < 0)
			code = POP_BAD_DN;
		else
			d = cw_cloud_device_find(call->cloud, p->key, strlen(p->key), dn, strlen(dn));
	}
	if (d == NULL)
		cw_cloud_pop_fail(call, code, NULL);
	return d;
}

/* ---- forms of values ---- */

json_t *cw_cloud_pop_utc(int64_t ms)
{
	char text[25] = "";

	if (ms != 0)
		cw_clock_format(ms, text);
	return json_string(text);
}

json_t *cw_cloud_pop_gmt(int64_t ms)
{
	char text[25] = "";

	if (ms == 0)
		return json_string("");
	cw_clock_format(ms + CHINA_MS, text);
	text[10] = ' ';
	text[19] = '\0';
	return json_string(text);
}

json_t *cw_cloud_pop_value_text(const json_t *value)
{
	char *text;
	json_t *j;

	if (json_is_string(value))
		return json_string(json_string_value(value));
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	j = json_string(text != NULL ? text : "");
	free(text);
	return j;
}

/* ---- actions ---- */

static const struct pop_action *const tables[] = {
#define POP_TABLE_OF(name) cw_cloud_pop_##name##_actions,
	POP_ACTIONS(POP_TABLE_OF)
#undef POP_TABLE_OF
};

const struct pop_action *cw_cloud_pop_action(const char *name, unsigned *ret_index)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		const struct pop_action *a;

		for (a = tables[i]; a->name != NULL; a++, n++) {
			if (strcmp(a->name, name) == 0) {
				*ret_index = n;
				return a;
			}
		}
	}
	*ret_index = n;
	return NULL;
}

unsigned cw_cloud_pop_action_count(void)
{
	unsigned n;

	(void)cw_cloud_pop_action("", &n);
	return n;
}

/* 1 when every name in the row is there; otherwise the call is refused. */
static int musts_there(struct pop_call *call)
{
	const char *at = call->action->musts;
	char name[64];

	while (at != NULL && *at != '\0') {
		size_t n = strcspn(at, " ");

		(void)snprintf(name, sizeof(name), "%.*s", (int)n, at);
		if (cw_cloud_pop_text(call, name) == NULL) {
			refuse_name(call, "Missing", name, "is mandatory for this action.");
			return 0;
		}
		at += n + strspn(at + n, " ");
	}
	return 1;
}

void cw_cloud_pop_dispatch(struct pop_call *call)
{
	int gateway = call->action->subject == POP_GATEWAY;

	switch (call->action->subject) {
	case POP_ACCOUNT: break;
	case POP_PRODUCT:
		call->product = cw_cloud_pop_product(call, cw_cloud_pop_text(call, "ProductKey"));
		if (call->product == NULL)
			return;
		break;
	case POP_DEVICE:
	case POP_GATEWAY:
		call->device = cw_cloud_pop_device(call, cw_cloud_pop_text(call, gateway ? "GwIotId" : "IotId"),
						   cw_cloud_pop_text(call, gateway ? "GwProductKey" : "ProductKey"),
						   cw_cloud_pop_text(call, gateway ? "GwDeviceName" : "DeviceName"));
		if (call->device == NULL)
			return;
		call->product = call->device->product;
		break;
	}
	if (musts_there(call))
		call->action->handle(call);
}
