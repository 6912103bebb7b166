/* answer.c - see answer.h. */
#include "cloud/openapi/answer.h"

#include <openssl/rand.h>
#include <stdio.h>

static int put(struct cloud_bytes *out, const char *text)
{
	return cw_cloud_bytes_add(out, text, strlen(text));
}

static int put_escaped(struct cloud_bytes *out, const char *text)
{
	int rc = 0;

	for (; *text != '\0' && rc == 0; text++) {
		unsigned char c = (unsigned char)*text;

		switch (c) {
		case '&': rc = put(out, "&amp;"); break;
		case '<': rc = put(out, "&lt;"); break;
		case '>': rc = put(out, "&gt;"); break;
		case '"': rc = put(out, "&quot;"); break;
		case '\r': rc = put(out, "&#13;"); break; /* a reader would make it a line feed */
		default:
			if (c < 0x20 && c != '\t' && c != '\n')
				rc = put(out, "\xef\xbf\xbd");
			else if (c == 0xef && (unsigned char)text[1] == 0xbf && (unsigned char)text[2] >= 0xbe) {
				rc = put(out, "\xef\xbf\xbd"); /* U+FFFE and U+FFFF are no characters of XML */
				text += 2;
			} else {
				rc = cw_cloud_bytes_add(out, text, 1);
			}
		}
	}
	return rc;
}

static int put_tag(struct cloud_bytes *out, const char *open, const char *name)
{
	int rc = put(out, open);

	if (rc == 0)
		rc = put(out, name);
	return rc == 0 ? put(out, ">") : rc;
}

static int put_scalar(struct cloud_bytes *out, const json_t *v)
{
	char number[40];

	switch (json_typeof(v)) {
	case JSON_STRING: return put_escaped(out, json_string_value(v));
	case JSON_INTEGER:
		(void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		return put(out, number);
	case JSON_REAL: (void)snprintf(number, sizeof(number), "%.17g", json_real_value(v)); return put(out, number);
	case JSON_TRUE: return put(out, "true");
	case JSON_FALSE: return put(out, "false");
	default: return 0;
	}
}

/* Objects nest as deep as our own answers do, a handful of levels. */
static int put_element(struct cloud_bytes *out, const char *name, const json_t *v)
{
	const char *key;
	json_t *member;
	size_t i;
	int rc = 0;

	if (json_is_array(v)) {
		json_array_foreach ((json_t *)(uintptr_t)v, i, member) {
			rc = put_element(out, name, member);
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	rc = put_tag(out, "<", name);
	if (rc == 0 && !json_is_object(v))
		rc = put_scalar(out, v);
	json_object_foreach ((json_t *)(uintptr_t)v, key, member) {
		if (rc == 0)
			rc = put_element(out, key, member);
	}
	return rc == 0 ? put_tag(out, "</", name) : rc;
}

int cw_cloud_pop_xml(const json_t *body, const char *root, struct cloud_bytes *out)
{
	int rc = put(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>");

	return rc == 0 ? put_element(out, root, body) : rc;
}

static int on_text(const char *text, size_t len, void *arg)
{
	return cw_cloud_bytes_add(arg, text, len) < 0 ? -1 : 0;
}

int cw_cloud_pop_json(const json_t *body, struct cloud_bytes *out)
{
	return json_dump_callback(body, on_text, out, JSON_COMPACT) < 0 ? CW_ENOMEM : 0;
}

void cw_cloud_pop_uuid(char out[37])
{
	unsigned char b[16] = { 0 };

	(void)RAND_bytes(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	(void)snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		       b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
