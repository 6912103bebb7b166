/* pop.c - see pop.h. */
#include "platform/pop.h"

#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/digits.h"
#include "base/mem.h"
#include "causeway/error.h"

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct cw_pop_param *)a)->name, ((const struct cw_pop_param *)b)->name);
}

/* name=value joined by &, names in the order of their bytes. `room` more bytes are left behind it. */
static char *canonical(const struct cw_pop_param *params, size_t count, size_t room, char **ret_end)
{
	struct cw_pop_param *sorted = cw_alloc((count + 1) * sizeof(*sorted));
	size_t i, size = 1 + room;
	char *text, *at;

	if (sorted == NULL)
		return NULL;
	memcpy(sorted, params, count * sizeof(*params));
	qsort(sorted, count, sizeof(*sorted), by_name);
	for (i = 0; i < count; i++)
		size += 3 * (strlen(sorted[i].name) + strlen(sorted[i].value)) + 2;
	at = text = cw_alloc(size);
	for (i = 0; text != NULL && i < count; i++) {
		if (i > 0)
			*at++ = '&';
		at = cw_percent(at, (size_t)(text + size - at), cw_bytes_text(sorted[i].name));
		*at++ = '=';
		at = cw_percent(at, (size_t)(text + size - at), cw_bytes_text(sorted[i].value));
	}
	cw_free(sorted);
	*ret_end = at;
	return text;
}

static int sign(const char *method, const char *query, const char *access_secret, char ret_signature[32])
{
	unsigned char mac[20];
	size_t size = strlen(method) + 6 + 3 * strlen(query);
	char *text = cw_alloc(size), *at;
	char *key = cw_alloc(strlen(access_secret) + 2);
	int rc = CW_ENOMEM;

	if (text != NULL && key != NULL) {
		(void)sprintf(key, "%s&", access_secret); /* the key is the secret with one & behind it */
		at = text + sprintf(text, "%s&%%2F&", method);
		at = cw_percent(at, (size_t)(text + size - at), cw_bytes_text(query));
		rc = mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA1), (const unsigned char *)key, strlen(key),
				     (const unsigned char *)text, (size_t)(at - text), mac) == 0
			     ? 0
			     : CW_EINTERNAL;
		ret_signature[rc == 0 ? cw_base64_encode(ret_signature, cw_bytes_of(mac, sizeof(mac))) : 0] = '\0';
		mbedtls_platform_zeroize(key, strlen(key));
	}
	cw_free(text);
	cw_free(key);
	return rc;
}

int cw_pop_sign(const char *method, const struct cw_pop_param *params, size_t count, const char *access_secret,
		char ret_signature[32])
{
	char *query, *end;
	int rc;

	if (count > CW_POP_PARAMS_MOST)
		return CW_ELIMIT;
	query = canonical(params, count, 0, &end);
	if (query == NULL)
		return CW_ENOMEM;
	rc = sign(method, query, access_secret, ret_signature);
	cw_free(query);
	return rc;
}

int cw_pop_form(const struct cw_pop_param *params, size_t count, const char *access_secret, char **ret_form, size_t *ret_len)
{
	char signature[32], *query, *end;
	int rc;

	if (count > CW_POP_PARAMS_MOST)
		return CW_ELIMIT;
	query = canonical(params, count, sizeof("&Signature=") + 3 * sizeof(signature), &end);
	if (query == NULL)
		return CW_ENOMEM;
	rc = sign("POST", query, access_secret, signature);
	if (rc < 0) {
		cw_free(query);
		return rc;
	}
	end += sprintf(end, "&Signature=");
	end = cw_percent(end, 3 * sizeof(signature), cw_bytes_text(signature));
	*ret_form = query;
	*ret_len = (size_t)(end - query);
	return 0;
}
