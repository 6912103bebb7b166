/* words.c - words of wire scripts for numbers of the ABI, and comparing what was said with what was expected; see
 * script.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "causeway/record.h"
#include "conform/script.h"

static const struct {
	const char *word;
	unsigned number;
} kinds[] = {
	{ "properties", CW_KIND_PROPERTIES },
	{ "event", CW_KIND_EVENT },
	{ "tags", CW_KIND_TAGS },
	{ "raw", CW_KIND_RAW },
	{ "otaVersion", CW_KIND_OTA_VERSION },
	{ "otaProgress", CW_KIND_OTA_PROGRESS },
	{ "shadowReport", CW_KIND_SHADOW_REPORT },
	{ "set", CW_KIND_PROPERTY_SET },
	{ "get", CW_KIND_PROPERTY_GET },
	{ "service", CW_KIND_SERVICE },
	{ "rawDown", CW_KIND_RAW_DOWN },
	{ "rrpc", CW_KIND_RRPC },
	{ "ota", CW_KIND_OTA_NOTICE },
	{ "config", CW_KIND_CONFIG },
	{ "shadow", CW_KIND_SHADOW },
	{ "time", CW_KIND_TIME },
	{ "enable", CW_KIND_ENABLE },
	{ "disable", CW_KIND_DISABLE },
	{ "delete", CW_KIND_DELETE },
};

unsigned cw_wire_kind_number(const char *word)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].word, word) == 0)
			return kinds[i].number;
	return word[0] >= '1' && word[0] <= '9' ? (unsigned)strtoul(word, NULL, 10) & 0xffu : 0; /* as in record.h */
}

const char *cw_wire_kind_word(unsigned number)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].number == number)
			return kinds[i].word;
	return "?";
}

int cw_wire_matches(const struct cw_wire_step *p, struct cw_bytes got)
{
	size_t i = 0, k = 0, star = SIZE_MAX, from = 0;

	/* The usual walk over stars: on a mismatch the last star takes one byte more. */
	while (k < got.len) {
		uint8_t m = p->mask == NULL ? 0xff : i < p->len ? p->mask[i] : 0;

		if (i < p->len && m == CW_WIRE_STAR && p->mask != NULL) {
			star = i++;
			from = k;
		} else if (i < p->len && ((p->ptr[i] ^ got.ptr[k]) & m) == 0) {
			i++;
			k++;
		} else if (star != SIZE_MAX) {
			i = star + 1;
			k = ++from;
		} else {
			return 0;
		}
	}
	while (i < p->len && p->mask != NULL && p->mask[i] == CW_WIRE_STAR)
		i++;
	return i == p->len;
}

/* ---- encoded items ------------------------------------------------------------------------- */

static int is_number(const struct cw_item *it)
{
	return it->type == CW_ITEM_INT || it->type == CW_ITEM_UINT || it->type == CW_ITEM_DECIMAL ||
	       it->type == CW_ITEM_DOUBLE;
}

static long double value_of(const struct cw_item *it)
{
	switch (it->type) {
	case CW_ITEM_UINT: return (long double)it->u;
	case CW_ITEM_DOUBLE: return (long double)it->d;
	case CW_ITEM_DECIMAL: return (long double)it->i * powl(10.0L, it->exponent);
	default: return (long double)it->i;
	}
}

static int same_number(const struct cw_item *a, const struct cw_item *b)
{
	long double x = value_of(a), y = value_of(b), d = fabsl(x - y);

	if (a->type == b->type && a->type != CW_ITEM_DECIMAL && a->type != CW_ITEM_DOUBLE)
		return a->i == b->i && a->u == b->u;
	return d == 0 || d <= 1e-15L * fmaxl(fabsl(x), fabsl(y)); /* 12.30 and 12.3; a double has 15 digits */
}

static int array_within(struct cw_reader *a, struct cw_item *want, struct cw_reader *b, struct cw_item *got)
{
	for (;;) {
		int more = cw_item_more(a, want);

		if (more != cw_item_more(b, got))
			return 0;
		if (!more)
			return 1;
		if (!cw_wire_within(cw_read_whole_item(a), cw_read_whole_item(b)))
			return 0;
	}
}

static int map_within(struct cw_reader *a, struct cw_item *want, struct cw_bytes got)
{
	char key[256];

	while (cw_item_more(a, want)) {
		struct cw_item k = cw_read_item(a);
		struct cw_bytes value, there;

		(void)cw_item_more(a, want);
		value = cw_read_whole_item(a);
		if (k.type != CW_ITEM_TEXT || k.s.len >= sizeof(key) || value.len == 0)
			return 0;
		memcpy(key, k.s.ptr, k.s.len);
		key[k.s.len] = '\0';
		there = cw_map_get(got, key);
		if (there.len == 0 || !cw_wire_within(value, there))
			return 0;
	}
	return 1;
}

/* JSON has no bytes: hex stands for them. */
static int is_hex_of(struct cw_bytes text, struct cw_bytes bytes)
{
	size_t i;

	if (text.len != CW_HEX_LEN(bytes.len))
		return 0;
	for (i = 0; i < text.len; i++)
		if (cw_hex_value((char)text.ptr[i]) != (i % 2 == 0 ? bytes.ptr[i / 2] >> 4 : bytes.ptr[i / 2] & 15))
			return 0;
	return 1;
}

int cw_wire_within(struct cw_bytes want, struct cw_bytes got)
{
	struct cw_reader a = cw_reader_of(want), b = cw_reader_of(got);
	struct cw_item x = cw_read_item(&a), y = cw_read_item(&b);

	if (x.type == CW_ITEM_TEXT && x.s.len == 1 && x.s.ptr[0] == '*') /* "*": there, whatever it is */
		return y.type != CW_ITEM_BAD;
	if (is_number(&x) && is_number(&y))
		return same_number(&x, &y);
	if (x.type == CW_ITEM_TEXT && y.type == CW_ITEM_BYTES)
		return is_hex_of(x.s, y.s);
	if (x.type != y.type)
		return 0;
	switch (x.type) {
	case CW_ITEM_TEXT:
	case CW_ITEM_BYTES: return cw_bytes_equal(x.s, y.s);
	case CW_ITEM_BOOL: return x.i == y.i;
	case CW_ITEM_NULL: return 1;
	case CW_ITEM_ARRAY: return array_within(&a, &x, &b, &y);
	case CW_ITEM_MAP: return map_within(&a, &x, got);
	default: return 0;
	}
}
