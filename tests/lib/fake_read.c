/* fake_read.c - fake_host.h: what a decoder said: whether it is well-formed, as text, and whether two items mean the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"
#include "json/json.h"

/* ---- the rules of record.h ------------------------------------------------------------ */

void fake_check_text(struct cw_bytes t)
{
	size_t i = 0;

	while (i < t.len) {
		unsigned b = t.ptr[i], more = b < 0x80 ? 0 : b >= 0xc2 && b < 0xe0 ? 1 : b >= 0xe0 && b < 0xf0 ? 2 : b >= 0xf0 && b < 0xf5 ? 3 : 9;

		assert_true(more < 9 && i + more < t.len);
		for (i++; more > 0; more--, i++)
			assert_true((t.ptr[i] & 0xc0) == 0x80);
	}
}

/* Well-formed, keys are text and come once. */
static void check_item(struct cw_reader *r, int depth)
{
	struct cw_item it = cw_read_item(r), k;
	struct cw_bytes keys[256];
	size_t n = 0, i;

	assert_true(it.type != CW_ITEM_BAD && depth >= 0);
	if (it.type == CW_ITEM_TEXT)
		fake_check_text(it.s);
	if (it.type == CW_ITEM_DOUBLE)
		assert_true(isfinite(it.d));
	if (it.type == CW_ITEM_ARRAY)
		while (cw_item_more(r, &it))
			check_item(r, depth - 1);
	if (it.type != CW_ITEM_MAP)
		return;
	while (cw_item_more(r, &it)) {
		k = cw_read_item(r);
		assert_int_equal(k.type, CW_ITEM_TEXT);
		fake_check_text(k.s);
		for (i = 0; i < n; i++)
			if (cw_bytes_equal(keys[i], k.s))
				fail_msg("key %.*s comes twice", (int)k.s.len, (const char *)k.s.ptr);
		if (n < 256)
			keys[n++] = k.s;
		assert_true(cw_item_more(r, &it));
		check_item(r, depth - 1);
	}
}

void fake_check_item(struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(b);

	check_item(&r, CW_RECORD_DEPTH);
	assert_int_equal(cw_read_left(&r), 0);
	assert_false(r.short_read);
}

/* ---- looking -------------------------------------------------------------------------- */

const char *fake_hex(const struct fake_blob *b)
{
	static char text[8][16384];
	static int turn;
	char *out = text[turn++ % 8];
	size_t i;

	if (b == NULL)
		return "(none)";
	for (i = 0; i < b->len && 2 * i + 2 < sizeof(text[0]); i++)
		sprintf(out + 2 * i, "%02x", b->ptr[i]);
	out[2 * i] = 0;
	return out;
}

const char *fake_json(struct cw_bytes item)
{
	static char text[8][65536];
	static int turn;
	char *out = text[turn++ % 8], *made = NULL;
	size_t n;

	if (item.len == 0 || cw_json_from_item(item, sizeof(text[0]) - 1, &made, &n) != 0)
		return "(none)";
	memcpy(out, made, n + 1);
	cw_free(made);
	return out;
}

const char *fake_record(struct fake *f, unsigned kind, const char *name)
{
	struct fake_blob *b = fake_next(&f->records);
	struct cw_record rec;

	if (b == NULL)
		return "(none)";
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	if (rec.kind != kind || (name != NULL && !cw_bytes_equal(rec.name, cw_bytes_text(name))))
		return "(another)";
	return fake_json(rec.body);
}

/* A number as long double: 64 bits of integer and all decimals we use are exact enough. */
static int number(const struct cw_item *it, long double *ret)
{
	int e;

	switch (it->type) {
	case CW_ITEM_INT: *ret = (long double)it->i; return 1;
	case CW_ITEM_UINT: *ret = (long double)it->u; return 1;
	case CW_ITEM_DOUBLE: *ret = (long double)it->d; return 1;
	case CW_ITEM_DECIMAL:
		*ret = (long double)it->i;
		for (e = it->exponent; e > 0; e--)
			*ret *= 10;
		for (e = it->exponent; e < 0; e++)
			*ret /= 10;
		return 1;
	default: return 0;
	}
}

static size_t members(struct cw_bytes map)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);
	size_t n = 0;

	while (cw_item_more(&r, &m) && cw_read_whole_item(&r).len > 0)
		n++;
	return n;
}

static int same_maps(struct cw_bytes a, struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(a);
	struct cw_item m = cw_read_item(&r);
	char key[128];

	if (members(a) != members(b))
		return 0;
	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);
		struct cw_bytes va, vb;

		(void)cw_item_more(&r, &m);
		va = cw_read_whole_item(&r);
		if (k.s.len >= sizeof(key))
			return 0;
		memcpy(key, k.s.ptr, k.s.len);
		key[k.s.len] = 0;
		vb = cw_map_get(b, key);
		if (vb.len == 0 || !fake_same(va, vb))
			return 0;
	}
	return 1;
}

int fake_same(struct cw_bytes a, struct cw_bytes b)
{
	struct cw_reader ra = cw_reader_of(a), rb = cw_reader_of(b);
	struct cw_item x = cw_read_item(&ra), y = cw_read_item(&rb);
	long double nx, ny;

	if (number(&x, &nx) && number(&y, &ny))
		return fabsl(nx - ny) <= 1e-12L * fabsl(nx);
	if (x.type != y.type)
		return 0;
	if (x.type == CW_ITEM_MAP)
		return same_maps(a, b);
	if (x.type == CW_ITEM_ARRAY) {
		int more;

		while ((more = cw_item_more(&ra, &x)) == cw_item_more(&rb, &y) && more)
			if (!fake_same(cw_read_whole_item(&ra), cw_read_whole_item(&rb)))
				return 0;
		return !more && ra.pos == ra.len && rb.pos == rb.len;
	}
	if (x.type == CW_ITEM_BOOL)
		return x.i == y.i;
	return x.type == CW_ITEM_NULL || cw_bytes_equal(x.s, y.s);
}

int fake_equals(struct cw_bytes item, const char *json)
{
	uint8_t *want = NULL;
	size_t n;
	int same;

	if (cw_json_to_item(cw_bytes_text(json), &want, &n) != 0)
		fail_msg("no JSON: %s", json);
	same = fake_same(item, cw_bytes_of(want, n));
	cw_free(want);
	return same;
}
