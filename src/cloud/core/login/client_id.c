/* client_id.c - see client_id.h. */
#include "cloud/core/login/client_id.h"

#include <string.h>

#include "causeway/error.h"

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct cloud_text trim(const char *s, size_t len)
{
	while (len > 0 && is_blank(s[0])) {
		s++;
		len--;
	}
	while (len > 0 && is_blank(s[len - 1]))
		len--;
	return (struct cloud_text){ s, len };
}

int cw_cloud_text_is(const struct cloud_text *t, const char *text)
{
	return t != NULL && t->len == strlen(text) && (t->len == 0 || memcmp(t->s, text, t->len) == 0);
}

static int add_pair(struct cloud_client_id *id, struct cloud_text whole)
{
	const char *eq = memchr(whole.s, '=', whole.len);
	struct cloud_text key, value;
	size_t i;

	if (eq == NULL || id->count == CLOUD_CLIENT_ID_PAIRS)
		return CW_EPROTO;
	key = trim(whole.s, (size_t)(eq - whole.s));
	value = trim(eq + 1, whole.len - (size_t)(eq + 1 - whole.s));
	if (key.len == 0)
		return CW_EPROTO;
	for (i = 0; i < id->count; i++) {
		if (id->pair[i].key.len == key.len && memcmp(id->pair[i].key.s, key.s, key.len) == 0)
			return CW_EPROTO;
	}
	id->pair[id->count].key = key;
	id->pair[id->count].value = value;
	id->count++;
	return 0;
}

int cw_cloud_client_id_parse(const char *id, size_t len, struct cloud_client_id *ret_id)
{
	const char *first = memchr(id, '|', len), *last, *at;

	ret_id->count = 0;
	ret_id->has_tail = first != NULL;
	ret_id->base = (struct cloud_text){ id, first != NULL ? (size_t)(first - id) : len };
	if (first == NULL)
		return 0;
	last = memrchr(id, '|', len);
	if (last == first || trim(last + 1, (size_t)(id + len - last - 1)).len != 0)
		return CW_EPROTO;
	for (at = first + 1; at < last;) {
		const char *comma = memchr(at, ',', (size_t)(last - at));
		const char *end = comma != NULL ? comma : last;
		struct cloud_text whole = trim(at, (size_t)(end - at));

		if (whole.len != 0 && add_pair(ret_id, whole) < 0)
			return CW_EPROTO;
		at = end + 1;
	}
	return 0;
}

const struct cloud_text *cw_cloud_client_id_get(const struct cloud_client_id *id, const char *key)
{
	size_t i;

	for (i = 0; i < id->count; i++) {
		if (cw_cloud_text_is(&id->pair[i].key, key))
			return &id->pair[i].value;
	}
	return NULL;
}
