/* envelope.c - see envelope.h. */
#include "cloud/http2/envelope.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "cloud/core/base64.h"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL && text[0] != '\0' ? text : NULL;
}

int cw_cloud_envelope_parse(const void *text, size_t len, struct h2_envelope *ret_envelope)
{
	struct h2_envelope *e = ret_envelope;
	const json_t *params, *payload, *topic;
	uint8_t *at;
	int rc;

	memset(e, 0, sizeof(*e));
	e->json = json_loadb(text, len, 0, NULL);
	params = json_object_get(e->json, "params");
	e->id = text_of(e->json, "id");
	e->pk = text_of(params, "productKey");
	e->dn = text_of(params, "deviceName");
	e->net_id = text_of(params, "netId");
	topic = json_object_get(params, "topic");
	e->topic = text_of(params, "topic");
	e->topic_len = e->topic != NULL ? json_string_length(topic) : 0;
	payload = json_object_get(params, "payload");
	if (e->pk == NULL || e->dn == NULL || (payload != NULL && !json_is_string(payload) && !json_is_null(payload)))
		return CW_EPROTO;
	if (!json_is_string(payload))
		return 0;
	if (json_string_length(payload) > (H2_PAYLOAD_MAX + 2) / 3 * 4)
		return CW_ELIMIT;
	at = cw_cloud_bytes_want(&e->payload, json_string_length(payload) / 4 * 3 + 1); /* empty is no failure */
	if (at == NULL)
		return CW_ENOMEM;
	rc = cw_cloud_base64_decode(json_string_value(payload), json_string_length(payload), at, &e->payload.len);
	return rc == 0 && e->payload.len > H2_PAYLOAD_MAX ? CW_ELIMIT : rc;
}

void cw_cloud_envelope_fini(struct h2_envelope *e)
{
	json_decref(e->json);
	cw_cloud_bytes_free(&e->payload);
}

/* ---- writing ---- */

static int add_text(struct cloud_bytes *out, const char *text)
{
	return cw_cloud_bytes_add(out, text, strlen(text));
}

static int add_escaped(struct cloud_bytes *out, const char *text)
{
	char code[8];
	int rc = 0;

	for (; *text != '\0' && rc == 0; text++) {
		if (*text == '"' || *text == '\\')
			rc = cw_cloud_bytes_add(out, (char[]){ '\\', *text }, 2);
		else if ((unsigned char)*text < 0x20)
			rc = cw_cloud_bytes_add(
				out, code,
				(size_t)snprintf(code, sizeof(code), "\\u%04x", (unsigned)(unsigned char)*text));
		else
			rc = cw_cloud_bytes_add(out, text, 1);
	}
	return rc;
}

static int add_member(struct cloud_bytes *out, const char *before, const char *value)
{
	int rc = add_text(out, before);

	if (rc == 0)
		rc = add_escaped(out, value);
	return rc == 0 ? add_text(out, "\",") : rc;
}

int cw_cloud_envelope_write(struct cloud_bytes *out, const char *id, const char *pk, const char *dn, const char *topic,
			    const void *payload, size_t len)
{
	int rc = add_member(out, "{\"id\":\"", id);
	uint8_t *at;

	if (rc == 0)
		rc = add_text(out, "\"version\":\"1.0\",\"method\":\"thing.bridge.push\",\"params\":{");
	if (rc == 0 && pk != NULL)
		rc = add_member(out, "\"productKey\":\"", pk);
	if (rc == 0 && pk != NULL)
		rc = add_member(out, "\"deviceName\":\"", dn);
	if (rc == 0)
		rc = add_member(out, "\"topic\":\"", topic);
	if (rc == 0)
		rc = add_text(out, "\"payload\":\"");
	if (rc < 0)
		return rc;
	at = cw_cloud_bytes_want(out, (len + 2) / 3 * 4 + 1); /* the encoder ends with a NUL */
	if (at == NULL)
		return CW_ENOMEM;
	out->len += (size_t)EVP_EncodeBlock(at, payload, (int)len);
	return add_text(out, "\"}}");
}
