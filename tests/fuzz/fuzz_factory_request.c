/*
 * What anybody may post to the distribution server: what is taken has all it needs and nothing that the protocol forbids; what is not
 * taken has a sentence; and either is answered in JSON that says again what was sent.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "factory/line/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const struct factory_request *r, char *text, size_t len)
{
	json_t *reply = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *sent = json_object_get(r->body, "DeviceID"), *said = json_object_get(reply, "DeviceID");

	if (!json_is_string(json_object_get(reply, "ProductKey")) || !json_is_string(said) || !json_is_string(json_object_get(reply, "Status")))
		abort();
	if (json_is_string(sent) && !json_equal(sent, said))
		abort();
	json_decref(reply);
	cw_free(text);
}

static void check_taken(const struct factory_request *r)
{
	struct cw_stock_cert cert = { .product_key = "a1B2c3D4e5F", .device_name = "n", .device_secret = "s", .product_secret = "t", .device_id = "CW" };
	char *text;
	size_t i, len;

	if (r->product_key == NULL || r->product_key[0] == '\0' || r->device_id.len > CW_STOCK_DEVICE_ID ||
	    (r->action == CW_STOCK_REPORT && r->device_id.len == 0))
		abort();
	for (i = 0; i < r->device_id.len; i++)
		if (r->device_id.ptr[i] < 0x20 || r->device_id.ptr[i] == 0x7f)
			abort();
	if (cw_factory_reply_report(r->product_key, r->device_id, &text, &len) < 0)
		abort();
	cw_free(text);
	if (cw_factory_reply_cert(&cert, r->device_id, &text, &len) < 0)
		abort();
	if (r->device_id.len != 0)
		check_reply(r, text, len);
	else
		cw_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct factory_request r;
	struct cw_msg msg = { "" };
	char *body = malloc(size != 0 ? size : 1), *text;
	size_t len;

	if (body == NULL || size > CW_FACTORY_BODY_MOST) {
		free(body);
		return 0;
	}
	memcpy(body, data, size);
	if (cw_factory_request_parse(body, size, &r, &msg) == 0)
		check_taken(&r);
	else if (msg.text[0] == '\0')
		abort();
	if (cw_factory_reply_refusal(&r, CW_STOCK_BAD_REQUEST, msg.text, &text, &len) < 0)
		abort();
	check_reply(&r, text, len);
	cw_factory_request_fini(&r);
	free(body);
	return 0;
}
