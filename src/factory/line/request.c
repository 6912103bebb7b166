/* request.c - see request.h. */
#include "factory/line/request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "json/json.h"

#define REPLY_MOST (4u * CW_FACTORY_BODY_MOST + (8u << 10)) /* a refusal says again what was sent, quoted anew */

#define CERT_MOST  4096u /* a certificate with all that may be in it */

static const struct {
	const char *status, *text;
	unsigned http;
} answers[CW_STOCK_ANSWER_COUNT] = {
#define ANSWER(sym, status, http, text) [CW_STOCK_##sym] = { status, text, http },
	CW_STOCK_ANSWERS(ANSWER)
#undef ANSWER
};

const char *cw_factory_answer_status(enum cw_stock_answer answer)
{
	return answers[answer].status;
}

unsigned cw_factory_answer_http(enum cw_stock_answer answer)
{
	return answers[answer].http;
}

const char *cw_factory_answer_text(enum cw_stock_answer answer)
{
	return answers[answer].text;
}

/* ---- what was sent ---------------------------------------------------------------------- */

/* C0, DEL, and C1, which is two bytes in UTF-8. */
static int has_control(struct cw_bytes text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return 1;
		if (text.ptr[i] == 0xc2 && i + 1 < text.len && text.ptr[i + 1] < 0xa0)
			return 1;
	}
	return 0;
}

static struct cw_bytes text_of(const json_t *j)
{
	return cw_bytes_of(json_string_value(j), json_string_length(j));
}

/* Of a member that is spelled wrong the board would count as one without, and be given another certificate each time. */
static int check_names(const struct factory_request *r, struct cw_msg *msg)
{
	static const char *const known[] = { "ProductKey", "DeviceID", "Action" };
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach (r->body, name, value) {
		for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (strcasecmp(name, known[i]) == 0 && strcmp(name, known[i]) != 0)
				return cw_fail(msg, CW_EINVAL, "%s is written %s: capitals count", name, known[i]);
	}
	return 0;
}

static int take_product(struct factory_request *r, struct cw_msg *msg)
{
	const json_t *j = json_object_get(r->body, "ProductKey");

	if (j == NULL || json_is_null(j))
		return cw_fail(msg, CW_EINVAL, "ProductKey is missing: say which product the board is of");
	if (!json_is_string(j))
		return cw_fail(msg, CW_EINVAL, "ProductKey must be a text in quotes");
	if (json_string_length(j) == 0)
		return cw_fail(msg, CW_EINVAL, "ProductKey is empty: say which product the board is of");
	if (has_control(text_of(j)))
		return cw_fail(msg, CW_EINVAL, "ProductKey has control characters in it; send it as the platform shows it");
	if (memchr(json_string_value(j), ' ', json_string_length(j)) != NULL)
		return cw_fail(msg, CW_EINVAL, "ProductKey has a blank in it, perhaps at its end; send it as the platform shows it");
	r->product_key = json_string_value(j);
	return 0;
}

static int take_device_id(struct factory_request *r, struct cw_msg *msg)
{
	const json_t *j = json_object_get(r->body, "DeviceID");

	if (j == NULL || json_is_null(j))
		return 0;
	if (!json_is_string(j))
		return cw_fail(msg, CW_EINVAL, "DeviceID must be a text in quotes, or null");
	if (json_string_length(j) > CW_STOCK_DEVICE_ID)
		return cw_fail(msg, CW_EINVAL, "DeviceID has %zu bytes; %d are the most", json_string_length(j), CW_STOCK_DEVICE_ID);
	if (has_control(text_of(j)))
		return cw_fail(msg, CW_EINVAL, "DeviceID has control characters in it (a line end of the scanner?); take them off");
	r->device_id = text_of(j);
	return 0;
}

/* Digits that say 0 or 1, or -1. */
static int action_of_text(const char *text)
{
	size_t zeros = strspn(text, "0");

	if (text[0] == '\0')
		return -1;
	if (text[zeros] == '\0')
		return 0;
	return strcmp(text + zeros, "1") == 0 ? 1 : -1;
}

static int take_action(struct factory_request *r, struct cw_msg *msg)
{
	const json_t *j = json_object_get(r->body, "Action");
	int action = -1;

	if (j == NULL || json_is_null(j))
		return cw_fail(msg, CW_EINVAL, "Action is missing: 0 asks for a certificate, 1 reports that it was written");
	if (json_is_integer(j)) {
		action = json_integer_value(j) == 0 ? 0 : json_integer_value(j) == 1 ? 1 : -1;
	} else if (json_is_string(j) && json_string_length(j) == strlen(json_string_value(j))) {
		action = action_of_text(json_string_value(j));
		r->deviation = action >= 0;
	} else if (json_is_real(j)) { /* languages that know no integers send 1.0 */
		action = !(json_real_value(j) < 0 || json_real_value(j) > 0) ? 0 : !(json_real_value(j) < 1 || json_real_value(j) > 1) ? 1 : -1;
		r->deviation = action >= 0;
	}
	if (action < 0)
		return cw_fail(msg, CW_EINVAL, "Action must be 0 (ask for a certificate) or 1 (report that it was written)");
	r->action = action == 0 ? CW_STOCK_ALLOCATE : CW_STOCK_REPORT;
	return 0;
}

/* The reader's own text, but not what it quotes of the body: it may cut that within a character. */
static int not_json(size_t len, const json_error_t *error, struct cw_msg *msg)
{
	const char *quote = strstr(error->text, " near ");
	int n = (int)(quote != NULL ? (size_t)(quote - error->text) : strlen(error->text));

	return cw_fail(msg, CW_EINVAL, "the body is not JSON (%.*s at byte %d); send {\"ProductKey\":\"..\",\"DeviceID\":\"..\",\"Action\":0}",
	               len == 0 ? 11 : n, len == 0 ? "it is empty" : error->text, error->position);
}

int cw_factory_request_parse(const char *text, size_t len, struct factory_request *r, struct cw_msg *msg)
{
	static const char mark[] = "\xef\xbb\xbf";
	json_error_t error;
	int rc;

	memset(r, 0, sizeof(*r));
	if (len >= 3 && memcmp(text, mark, 3) == 0) {
		text += 3;
		len -= 3;
	}
	while (len > 0 && text[len - 1] == '\0') /* clients in C that count the end of their text */
		len--;
	r->body = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (r->body == NULL && json_error_code(&error) == json_error_duplicate_key)
		return cw_fail(msg, CW_EINVAL, "a member is there twice; which one counts? Send each once");
	if (r->body == NULL)
		return not_json(len, &error, msg);
	if (!json_is_object(r->body))
		return cw_fail(msg, CW_EINVAL, "the body is JSON but no object; send {\"ProductKey\":\"..\",\"DeviceID\":\"..\",\"Action\":0}");
	rc = check_names(r, msg);
	if (rc == 0)
		rc = take_product(r, msg);
	if (rc == 0)
		rc = take_device_id(r, msg);
	if (rc == 0)
		rc = take_action(r, msg);
	if (rc == 0 && r->action == CW_STOCK_REPORT && r->device_id.len == 0)
		rc = cw_fail(msg, CW_EINVAL, "DeviceID is missing: report the one that the reply to Action 0 had");
	return rc;
}

void cw_factory_request_fini(struct factory_request *r)
{
	json_decref(r->body);
	r->body = NULL;
}

/* ---- what it gets ------------------------------------------------------------------------- */

static void put(struct cw_json *j, const char *key, struct cw_bytes text)
{
	cw_json_text(j, key);
	cw_json_textn(j, text);
}

int cw_factory_reply_refusal(const struct factory_request *r, enum cw_stock_answer answer, const char *text, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	cw_json_begin(&j, REPLY_MOST);
	cw_json_map(&j);
	put(&j, "ProductKey", text_of(json_object_get(r->body, "ProductKey")));
	put(&j, "DeviceID", text_of(json_object_get(r->body, "DeviceID")));
	cw_json_field(&j, "Status", answers[answer].status);
	cw_json_field(&j, "Message", text);
	cw_json_end_map(&j);
	return cw_json_finish(&j, ret_text, ret_len);
}

/* The further columns that the product's replies carry. */
static void put_extra(struct cw_json *j, const char *extra)
{
	json_t *columns = extra[0] != '\0' ? json_loads(extra, 0, NULL) : NULL, *value;
	const char *key;

	json_object_foreach (columns, key, value) {
		if (json_is_string(value))
			put(j, key, text_of(value));
	}
	json_decref(columns);
}

int cw_factory_reply_cert(const struct cw_stock_cert *cert, struct cw_bytes sent, char **ret_text, size_t *ret_len)
{
	struct cw_json j;
	char hex[9];

	(void)snprintf(hex, sizeof(hex), "%08X", (unsigned)cert->crc);
	cw_json_begin(&j, REPLY_MOST);
	j.text = cw_alloc(CERT_MOST); /* so that it never grows, which would leave secrets behind */
	j.size = j.text != NULL ? CERT_MOST : 0;
	cw_json_map(&j);
	cw_json_field(&j, "ProductKey", cert->product_key);
	cw_json_field(&j, "ProductSecret", cert->product_secret);
	cw_json_field(&j, "DeviceSecret", cert->device_secret);
	cw_json_text(&j, "CRC32");
	if (cert->crc_form == CW_STOCK_CRC_NUMBER)
		cw_json_uint(&j, cert->crc);
	else
		cw_json_text(&j, hex);
	cw_json_field(&j, "DeviceName", cert->device_name);
	put(&j, "DeviceID", sent.len != 0 ? sent : cw_bytes_text(cert->device_id));
	cw_json_field(&j, "Status", answers[CW_STOCK_OK].status);
	put_extra(&j, cert->extra);
	cw_json_end_map(&j);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_factory_reply_report(const char *product_key, struct cw_bytes device_id, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	cw_json_begin(&j, REPLY_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "ProductKey", product_key);
	put(&j, "DeviceID", device_id);
	cw_json_field(&j, "Status", answers[CW_STOCK_OK].status);
	cw_json_end_map(&j);
	return cw_json_finish(&j, ret_text, ret_len);
}
