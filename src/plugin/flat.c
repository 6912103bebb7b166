/* flat.c - the host's check of bytes that a plugin hands over: structure, depth, UTF-8. */
#include "plugin/runner.h"

/* One pass, no tables; refuses overlong forms, surrogates and values above U+10FFFF. */
static int utf8_valid(struct cw_bytes s)
{
	size_t i = 0;

	while (i < s.len) {
		uint8_t b = s.ptr[i];
		uint32_t cp;
		size_t n, k;

		if (b < 0x80) {
			i++;
			continue;
		}
		if (b >= 0xc2 && b <= 0xdf) {
			n = 1;
			cp = b & 0x1fu;
		} else if (b >= 0xe0 && b <= 0xef) {
			n = 2;
			cp = b & 0x0fu;
		} else if (b >= 0xf0 && b <= 0xf4) {
			n = 3;
			cp = b & 0x07u;
		} else {
			return 0;
		}
		if (s.len - i <= n)
			return 0;
		for (k = 1; k <= n; k++) {
			if ((s.ptr[i + k] & 0xc0u) != 0x80u)
				return 0;
			cp = cp << 6 | (s.ptr[i + k] & 0x3fu);
		}
		if ((n == 2 && cp < 0x800) || (n == 3 && (cp < 0x10000 || cp > 0x10ffff)) || (cp >= 0xd800 && cp <= 0xdfff))
			return 0;
		i += n + 1;
	}
	return 1;
}

static int item_valid(struct cw_reader *r, int depth)
{
	unsigned major = r->pos < r->len ? r->ptr[r->pos] >> 5 : 0;
	struct cw_item it;
	int is_map, key = 1;

	if (major != 3 && major != 4 && major != 5)
		return cw_skip_item(r, 0);
	it = cw_read_item(r);
	is_map = it.type == CW_ITEM_MAP;
	if (it.type == CW_ITEM_BAD || (it.type == CW_ITEM_TEXT && !utf8_valid(it.s)))
		return 0;
	if (it.type != CW_ITEM_ARRAY && !is_map)
		return 1;
	if (depth <= 0)
		return 0;
	while (cw_item_more(r, &it)) {
		if (is_map && key && r->pos < r->len && r->ptr[r->pos] >> 5 != 3 && r->ptr[r->pos] >> 5 != 0)
			return 0; /* keys are text, or the small integers of a record */
		if (!item_valid(r, depth - 1))
			return 0;
		key = !is_map || !key;
	}
	return !r->short_read && key; /* a key without a value is no map */
}

int cw_flat_valid(struct cw_bytes item)
{
	struct cw_reader r = cw_reader_of(item);

	return item_valid(&r, CW_RECORD_DEPTH + 1) && r.pos == r.len;
}
