/* answer.c - see answer.h. */
#include "upstream/https/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "causeway/record.h"
#include "json/json.h"

enum https_action https_auth_action(int32_t code)
{
	switch (code) {
	case HTTPS_CODE_OK: return HTTPS_DONE;
	case HTTPS_CODE_COMMON:
	case HTTPS_CODE_MANY: return HTTPS_LATER;
	default: return HTTPS_REFUSED;
	}
}

enum https_action https_topic_action(int32_t code)
{
	switch (code) {
	case HTTPS_CODE_OK: return HTTPS_DONE;
	case HTTPS_CODE_COMMON:
	case HTTPS_CODE_MANY: return HTTPS_LATER;
	case HTTPS_CODE_TOKEN_OVER:
	case HTTPS_CODE_TOKEN_NULL:
	case HTTPS_CODE_TOKEN_WRONG: return HTTPS_RELOGIN;
	case HTTPS_CODE_PARAM: return HTTPS_REFUSED;
	default: return HTTPS_AFEW;
	}
}

const char *https_code_text(int32_t code)
{
	switch (code) {
	case HTTPS_CODE_OK: return "success";
	case HTTPS_CODE_COMMON: return "error of the platform";
	case HTTPS_CODE_PARAM: return "a parameter is missing or malformed";
	case HTTPS_CODE_AUTH: return "the device secret is wrong, or the device unknown or disabled";
	case HTTPS_CODE_TOKEN_OVER: return "the token is expired";
	case HTTPS_CODE_TOKEN_NULL: return "the token is missing";
	case HTTPS_CODE_TOKEN_WRONG: return "the token is not valid";
	case HTTPS_CODE_SESSION: return "the platform could not keep the login";
	case HTTPS_CODE_PUBLISH: return "the message was not taken: is the topic allowed?";
	case HTTPS_CODE_MANY: return "too many requests";
	default: return "refused by the platform";
	}
}

/* 1 and the number, written as one or as text. */
static int take_code(struct cw_item it, int32_t *ret)
{
	int64_t v = 0;
	size_t i;

	if (it.type == CW_ITEM_INT) {
		v = it.i;
	} else if (it.type == CW_ITEM_TEXT && it.s.len > 0 && it.s.len < 10) {
		for (i = 0; i < it.s.len; i++) {
			if (it.s.ptr[i] < '0' || it.s.ptr[i] > '9')
				return 0;
			v = v * 10 + (it.s.ptr[i] - '0');
		}
	} else {
		return 0;
	}
	*ret = (int32_t)v;
	return v >= INT32_MIN && v <= INT32_MAX;
}

/* Text of visible ASCII only: it goes into a header or a log. Empty when it is not, or too long. */
static void take_word(struct cw_item it, char *out, size_t size)
{
	size_t i;

	out[0] = '\0';
	if (it.type == CW_ITEM_INT)
		(void)snprintf(out, size, "%lld", (long long)it.i);
	if (it.type == CW_ITEM_UINT)
		(void)snprintf(out, size, "%llu", (unsigned long long)it.u);
	if (it.type != CW_ITEM_TEXT || it.s.len >= size)
		return;
	for (i = 0; i < it.s.len; i++)
		if (it.s.ptr[i] <= ' ' || it.s.ptr[i] > '~')
			return;
	if (it.s.len > 0)
		memcpy(out, it.s.ptr, it.s.len);
	out[it.s.len] = '\0';
}

static struct cw_bytes info_of(struct cw_bytes map)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);

	if (m.type != CW_ITEM_MAP)
		return cw_bytes_of(NULL, 0);
	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);
		int is_info = k.type == CW_ITEM_TEXT && k.s.len == 4 && memcmp(k.s.ptr, "info", 4) == 0;
		struct cw_bytes value;

		(void)cw_item_more(&r, &m);
		value = cw_read_whole_item(&r);
		if (is_info)
			return value;
	}
	return cw_bytes_of(NULL, 0);
}

int https_answer_read(struct cw_bytes body, struct https_answer *ret)
{
	struct cw_bytes map, info;
	struct cw_item it;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = cw_json_to_item(body, &ret->item, &ret->item_len);
	if (rc < 0)
		return rc == CW_ENOMEM ? rc : CW_EPROTO;
	map = cw_bytes_of(ret->item, ret->item_len);
	if (!take_code(cw_map_item(map, "code"), &ret->code)) {
		https_answer_drop(ret);
		return CW_EPROTO;
	}
	it = cw_map_item(map, "message");
	if (it.type == CW_ITEM_TEXT && it.s.len > 0)
		(void)snprintf(ret->message, sizeof(ret->message), "%.*s", (int)it.s.len, (const char *)it.s.ptr);
	else
		(void)snprintf(ret->message, sizeof(ret->message), "%s", https_code_text(ret->code));
	info = info_of(map);
	if (info.len == 0)
		return 0;
	take_word(cw_map_item(info, "token"), ret->token, sizeof(ret->token));
	take_word(cw_map_item(info, "messageId"), ret->message_id, sizeof(ret->message_id));
	it = cw_map_item(info, "data");
	if (it.type == CW_ITEM_TEXT)
		ret->data = it.s;
	return 0;
}

void https_answer_drop(struct https_answer *a)
{
	explicit_bzero(a->token, sizeof(a->token));
	if (a->item != NULL)
		explicit_bzero(a->item, a->item_len);
	cw_free(a->item);
	a->item = NULL;
	a->data = cw_bytes_of(NULL, 0);
}

int https_encode_path(const char *topic, char *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:@!$&'()*+,;=";
	size_t n = 0;

	for (; *topic != '\0'; topic++) {
		unsigned char c = (unsigned char)*topic;

		if (n + 4 > size)
			return CW_ELIMIT;
		if (strchr(plain, c) != NULL) {
			out[n++] = (char)c;
		} else {
			out[n++] = '%';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	if (n + 1 > size)
		return CW_ELIMIT;
	out[n] = '\0';
	return 0;
}
