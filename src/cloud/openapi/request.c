/* request.c - see request.h. */
#include "cloud/openapi/request.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "cloud/core/parse.h"

int cw_cloud_pop_add(struct pop_params *p, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value);
	char *copy;

	if (p->count == POP_PARAMS_MAX)
		return CW_ELIMIT;
	/* It may be quoted in an answer. */
	if (!cw_cloud_is_utf8(name, name_len) || !cw_cloud_is_utf8(value, value_len))
		return CW_EPROTO;
	if (p->count == p->room) {
		unsigned room = p->room != 0 ? 2 * p->room : 32;
		struct pop_param *grown = cw_realloc(p->list, room * sizeof(*grown));

		if (grown == NULL)
			return CW_ENOMEM;
		p->list = grown;
		p->room = room;
	}
	/* One block for both: the name is at its beginning. */
	copy = cw_alloc(name_len + value_len + 2);
	if (copy == NULL)
		return CW_ENOMEM;
	memcpy(copy, name, name_len + 1);
	memcpy(copy + name_len + 1, value, value_len + 1);
	p->list[p->count] = (struct pop_param){ copy, copy + name_len + 1, p->count };
	p->count++;
	return 0;
}

/* Bytes count as unsigned, as strcmp() has it. */
static int compare(const void *a, const void *b)
{
	const struct pop_param *x = a, *y = b;
	int by_name = strcmp(x->name, y->name);

	if (by_name != 0)
		return by_name;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void free_param(struct pop_param *param)
{
	cw_free((char *)(uintptr_t)param->name);
}

void cw_cloud_pop_sort(struct pop_params *p)
{
	unsigned i, kept = 0;

	if (p->count == 0)
		return;
	qsort(p->list, p->count, sizeof(p->list[0]), compare);
	for (i = 0; i < p->count; i++) {
		if (kept != 0 && strcmp(p->list[kept - 1].name, p->list[i].name) == 0)
			free_param(&p->list[i]);
		else
			p->list[kept++] = p->list[i];
	}
	p->count = kept;
}

void cw_cloud_pop_fini(struct pop_params *p)
{
	unsigned i;

	for (i = 0; i < p->count; i++)
		free_param(&p->list[i]);
	cw_free(p->list);
	*p = (struct pop_params){ NULL, 0, 0 };
}

const char *cw_cloud_pop_find(const struct pop_params *p, const char *name)
{
	unsigned low = 0, high = p->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		int order = strcmp(p->list[middle].name, name);

		if (order == 0)
			return p->list[middle].value;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- signature ---- */

static int encode(struct cloud_bytes *out, const char *text, size_t len)
{
	static const char digits[] = "0123456789ABCDEF";
	uint8_t *at;
	size_t i, n = 0;

	if (len == 0) /* of nothing there may be no buffer either */
		return 0;
	at = cw_cloud_bytes_want(out, 3 * len);
	if (at == NULL)
		return CW_ENOMEM;
	for (i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		    c == '_' || c == '.' || c == '~') {
			at[n++] = c;
		} else {
			at[n++] = '%';
			at[n++] = (uint8_t)digits[c >> 4];
			at[n++] = (uint8_t)digits[c & 15];
		}
	}
	out->len += n;
	return 0;
}

int cw_cloud_pop_encode(struct cloud_bytes *out, const char *text)
{
	return encode(out, text, strlen(text));
}

static int canonical(const struct pop_params *p, struct cloud_bytes *out)
{
	unsigned i;
	int rc = 0, any = 0;

	for (i = 0; i < p->count && rc == 0; i++) {
		if (strcmp(p->list[i].name, "Signature") == 0)
			continue;
		if (any)
			rc = cw_cloud_bytes_add(out, "&", 1);
		any = 1;
		if (rc == 0)
			rc = cw_cloud_pop_encode(out, p->list[i].name);
		if (rc == 0)
			rc = cw_cloud_bytes_add(out, "=", 1);
		if (rc == 0)
			rc = cw_cloud_pop_encode(out, p->list[i].value);
	}
	return rc;
}

int cw_cloud_pop_string_to_sign(const struct pop_params *p, const char *method, struct cloud_bytes *out)
{
	struct cloud_bytes query = { NULL, 0, 0 };
	int rc = canonical(p, &query);

	if (rc == 0)
		rc = cw_cloud_bytes_add(out, method, strlen(method));
	if (rc == 0)
		rc = cw_cloud_bytes_add(out, "&%2F&", 5);
	if (rc == 0)
		rc = encode(out, (const char *)query.data, query.len);
	cw_cloud_bytes_free(&query);
	return rc;
}

int cw_cloud_pop_sign(const char *secret, const void *text, size_t len, char out[POP_SIGNATURE_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char key[130];
	unsigned n = 0;
	int key_len = snprintf(key, sizeof(key), "%s&", secret);

	if (key_len < 0 || (size_t)key_len >= sizeof(key))
		return CW_EINTERNAL;
	if (HMAC(EVP_sha1(), key, key_len, text, len, digest, &n) == NULL || n != 20)
		return CW_EINTERNAL;
	(void)EVP_EncodeBlock((unsigned char *)out, digest, 20);
	return 0;
}

/* ---- time ---- */

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

int cw_cloud_pop_time(const char *text, int64_t *ret_ms)
{
	static const char form[] = "0000-00-00T00:00:00Z";
	int part[6] = { 0 }, at = 0;
	size_t i;

	if (strlen(text) != sizeof(form) - 1)
		return CW_EINVAL;
	for (i = 0; form[i] != '\0'; i++) {
		if (form[i] == '0' && text[i] >= '0' && text[i] <= '9') {
			part[at] = part[at] * 10 + (text[i] - '0');
			continue;
		}
		if (form[i] == '0' || form[i] != text[i])
			return CW_EINVAL;
		at++;
	}
	if (part[0] < 1970 || part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > days_in(part[0], part[1]) ||
	    part[3] > 23 || part[4] > 59 || part[5] > 59)
		return CW_EINVAL;
	*ret_ms = (days_of(part[0], part[1], part[2]) * 86400 + part[3] * 3600 + part[4] * 60 + part[5]) * 1000;
	return 0;
}
