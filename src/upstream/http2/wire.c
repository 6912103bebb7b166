/* wire.c - see wire.h. */
#include "upstream/http2/wire.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "causeway/error.h"
#include "causeway/record.h"
#include "platform/sign.h"
#include "json/json.h"

#define ENVELOPE_MOST (512u * 1024) /* 256 KiB as Base64, and what is around them */

static void put_hex(char *at, uint64_t v, int digits)
{
	static const char hex[] = "0123456789abcdef";

	while (digits-- > 0) {
		at[digits] = hex[v & 15];
		v >>= 4;
	}
}

void http2_id(uint64_t a, uint64_t b, char out[HTTP2_ID_SIZE])
{
	put_hex(out, a >> 32, 8);
	put_hex(out + 9, a >> 16, 4);
	put_hex(out + 14, a, 4);
	put_hex(out + 19, b >> 48, 4);
	put_hex(out + 24, b, 12);
	out[8] = out[13] = out[18] = out[23] = '-';
	out[36] = '\0';
}

/* ---- authentication ------------------------------------------------------------------ */

/* Everything but sign and signmethod, by name, without separators. */
static int signed_text(const struct http2_form *f, const char *mode, const char *time, char *out, size_t size)
{
	int n = snprintf(out, size, "clientId%sdeviceName%sisGateway%s%s%sproductKey%s%s%stimestamp%s", f->client_id,
			 f->device_name, f->net_id == NULL ? "true" : "false", f->net_id == NULL ? "" : "netId",
			 f->net_id == NULL ? "" : f->net_id, f->product_key,
			 mode[0] == '\0' ? "" : "subDeviceConnectMode", mode, time);

	return n < 0 || (size_t)n >= size ? CW_ELIMIT : 0;
}

int http2_form(const struct http2_form *f, char out[HTTP2_FORM_SIZE])
{
	char content[HTTP2_FORM_SIZE], sign[CW_SIGN_HEX_MAX], time[24], mode[16] = "";
	size_t i;
	int n, rc;

	(void)snprintf(time, sizeof(time), "%lld", (long long)f->utc_ms);
	if (f->mode != 0 && f->net_id == NULL)
		(void)snprintf(mode, sizeof(mode), "%d", f->mode);
	rc = signed_text(f, mode, time, content, sizeof(content));
	if (rc == 0)
		rc = cw_sign_hmac(CW_SIGN_SHA1, f->secret, content, sign);
	if (rc < 0)
		return rc;
	for (i = 0; sign[i] != '\0'; i++)
		sign[i] = (char)toupper((unsigned char)sign[i]);
	n = snprintf(
		out, HTTP2_FORM_SIZE,
		"productKey=%s&deviceName=%s&signmethod=hmacsha1&sign=%s&clientId=%s&isGateway=%s&timestamp=%s%s%s%s%s",
		f->product_key, f->device_name, sign, f->client_id, f->net_id == NULL ? "true" : "false", time,
		f->net_id == NULL ? "" : "&netId=", f->net_id == NULL ? "" : f->net_id,
		mode[0] == '\0' ? "" : "&subDeviceConnectMode=", mode);
	return n < 0 || n >= HTTP2_FORM_SIZE ? CW_ELIMIT : 0;
}

/* Text, or a number as its digits; 0 when neither or too long. */
static int take_text(struct cw_item it, char *out, size_t size)
{
	int n = -1;

	if (it.type == CW_ITEM_INT)
		n = snprintf(out, size, "%lld", (long long)it.i);
	else if (it.type == CW_ITEM_TEXT && memchr(it.s.len > 0 ? (const char *)it.s.ptr : "", 0, it.s.len) == NULL)
		n = snprintf(out, size, "%.*s", (int)it.s.len, (const char *)it.s.ptr);
	if (n >= 0 && (size_t)n < size)
		return 1;
	out[0] = '\0';
	return 0;
}

static int32_t take_code(struct cw_item it)
{
	char text[16], *stop;
	long v;

	if (!take_text(it, text, sizeof(text)) || text[0] == '\0')
		return HTTP2_NO_CODE;
	v = strtol(text, &stop, 10);
	return *stop != '\0' || v < 0 || v > INT32_MAX ? HTTP2_NO_CODE : (int32_t)v;
}

/* A JSON object as one encoded map. */
static int read_object(struct cw_bytes body, uint8_t **ret_item, struct cw_bytes *ret_map)
{
	size_t len;
	int rc = cw_json_to_item(body, ret_item, &len);

	if (rc < 0)
		return rc == CW_ENOMEM ? rc : CW_EPROTO;
	*ret_map = cw_bytes_of(*ret_item, len);
	if ((*ret_item)[0] == 0xbf)
		return 0;
	cw_free(*ret_item);
	return CW_EPROTO;
}

/* It goes back in forms that are not encoded. */
static int is_net_id(const char *text)
{
	size_t i;

	for (i = 0; text[i] != '\0'; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL)
			return 0;
	return 1;
}

int http2_form_reply(struct cw_bytes body, struct http2_form_reply *ret)
{
	struct cw_bytes map;
	uint8_t *item;
	int rc = read_object(body, &item, &map);

	memset(ret, 0, sizeof(*ret));
	ret->code = HTTP2_NO_CODE;
	if (rc < 0)
		return rc;
	ret->code = take_code(cw_map_item(map, "code"));
	(void)take_text(cw_map_item(map, "message"), ret->message, sizeof(ret->message));
	map = cw_map_get(map, "data");
	if (map.len > 0 && map.ptr[0] == 0xbf &&
	    take_text(cw_map_item(map, "netId"), ret->net_id, sizeof(ret->net_id)) && !is_net_id(ret->net_id))
		ret->net_id[0] = '\0';
	cw_free(item);
	return 0;
}

/* ---- up ------------------------------------------------------------------------------- */

static void begin(struct cw_json *j, const char *id, const char *device_name)
{
	cw_json_begin(j, ENVELOPE_MOST);
	cw_json_map(j);
	cw_json_field(j, "id", id);
	cw_json_field(j, "method", "fake");
	cw_json_text(j, "params");
	cw_json_map(j);
	cw_json_field(j, "deviceName", device_name);
}

static int end(struct cw_json *j, uint8_t **ret_body, size_t *ret_len)
{
	char *text;
	int rc;

	cw_json_end_map(j);
	cw_json_end_map(j);
	rc = cw_json_finish(j, &text, ret_len);
	*ret_body = rc < 0 ? NULL : (uint8_t *)text;
	return rc;
}

int http2_envelope(const char id[HTTP2_ID_SIZE], const char *product_key, const char *device_name, const char *topic,
		   struct cw_bytes payload, uint8_t **ret_body, size_t *ret_len)
{
	char few[2048],
		*base64 = CW_BASE64_SIZE(payload.len) <= sizeof(few) ? few : cw_alloc(CW_BASE64_SIZE(payload.len));
	struct cw_json j;
	int rc;

	if (base64 == NULL)
		return CW_ENOMEM;
	begin(&j, id, device_name);
	cw_json_text(&j, "payload");
	cw_json_textn(&j, cw_bytes_of(base64, cw_base64_encode(base64, payload)));
	cw_json_field(&j, "productKey", product_key);
	cw_json_field(&j, "topic", topic);
	rc = end(&j, ret_body, ret_len);
	if (base64 != few)
		cw_free(base64);
	return rc;
}

int http2_offline(const char id[HTTP2_ID_SIZE], const char *product_key, const char *device_name, const char *net_id,
		  uint8_t **ret_body, size_t *ret_len)
{
	struct cw_json j;

	begin(&j, id, device_name);
	cw_json_field(&j, "netId", net_id);
	cw_json_field(&j, "productKey", product_key);
	return end(&j, ret_body, ret_len);
}

/* ---- down ------------------------------------------------------------------------------ */

int http2_down(struct cw_bytes body, struct http2_down *ret)
{
	struct cw_bytes map, base64;
	size_t len = 0;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = read_object(body, &ret->item, &map);
	if (rc < 0) {
		ret->item = NULL;
		return rc;
	}
	map = cw_map_get(map, "params");
	if (map.len == 0 || map.ptr[0] != 0xbf) {
		http2_down_drop(ret);
		return CW_EPROTO;
	}
	ret->product_key = cw_map_text(map, "productKey");
	ret->device_name = cw_map_text(map, "deviceName");
	ret->topic = cw_map_text(map, "topic");
	base64 = cw_map_text(map, "payload");
	ret->bytes = cw_alloc(base64.len / 4 * 3 + 2);
	rc = ret->bytes == NULL ? CW_ENOMEM : cw_base64_decode(ret->bytes, &len, base64);
	if (rc < 0)
		http2_down_drop(ret);
	else
		ret->payload = cw_bytes_of(ret->bytes, len);
	return rc;
}

void http2_down_drop(struct http2_down *d)
{
	cw_free(d->item);
	cw_free(d->bytes);
	d->item = d->bytes = NULL;
}

int http2_offline_reply(struct cw_bytes body, char id[HTTP2_ID_SIZE], int32_t *ret_code)
{
	struct cw_bytes map;
	uint8_t *item;
	int rc = read_object(body, &item, &map);

	if (rc < 0)
		return rc;
	rc = take_text(cw_map_item(map, "id"), id, HTTP2_ID_SIZE) ? 0 : CW_EPROTO;
	*ret_code = take_code(cw_map_item(map, "code"));
	cw_free(item);
	return rc;
}
