/* pop.c - see pop.h. */
#include "platform/pop.h"

#include <mbedtls/base64.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"

/* Everything but letters, digits and - _ . ~ as %XX; writes at most 3 bytes for each. Returns the end. */
static char *encode(char *out, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	const unsigned char *c;

	for (c = (const unsigned char *)text; *c != '\0'; c++) {
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' ||
		    *c == '.' || *c == '~') {
			*out++ = (char)*c;
		} else {
			*out++ = '%';
			*out++ = hex[*c >> 4];
			*out++ = hex[*c & 15];
		}
	}
	*out = '\0';
	return out;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct cw_pop_param *)a)->name, ((const struct cw_pop_param *)b)->name);
}

/* name=value joined by &, names in the order of their bytes. `room` more bytes are left behind it. */
static char *canonical(const struct cw_pop_param *params, size_t count, size_t room, char **ret_end)
{
	struct cw_pop_param sorted[CW_POP_PARAMS_MOST];
	size_t i, size = 1 + room;
	char *text, *at;

	memcpy(sorted, params, count * sizeof(*params));
	qsort(sorted, count, sizeof(*sorted), by_name);
	for (i = 0; i < count; i++)
		size += 3 * (strlen(sorted[i].name) + strlen(sorted[i].value)) + 2;
	at = text = cw_alloc(size);
	if (text == NULL)
		return NULL;
	for (i = 0; i < count; i++) {
		if (i > 0)
			*at++ = '&';
		at = encode(at, sorted[i].name);
		*at++ = '=';
		at = encode(at, sorted[i].value);
	}
	*ret_end = at;
	return text;
}

static int sign(const char *method, const char *query, const char *access_secret, char ret_signature[32])
{
	unsigned char mac[20];
	char *text = cw_alloc(strlen(method) + 6 + 3 * strlen(query)), *at;
	char *key = cw_alloc(strlen(access_secret) + 2);
	size_t n;
	int rc = CW_ENOMEM;

	if (text != NULL && key != NULL) {
		(void)sprintf(key, "%s&", access_secret); /* the key is the secret with one & behind it */
		at = text + sprintf(text, "%s&%%2F&", method);
		at = encode(at, query);
		rc = mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA1), (const unsigned char *)key, strlen(key),
				     (const unsigned char *)text, (size_t)(at - text), mac) == 0 &&
				     mbedtls_base64_encode((unsigned char *)ret_signature, 32, &n, mac, sizeof(mac)) == 0
			     ? 0
			     : CW_EINTERNAL;
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
	end = encode(end, signature);
	*ret_form = query;
	*ret_len = (size_t)(end - query);
	return 0;
}
