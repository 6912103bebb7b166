/* flat.c - the host's check of bytes that a plugin hands over: structure, depth, UTF-8. */
#include "base/utf8.h"
#include "plugin/runner.h"

static int item_valid(struct cw_reader *r, int depth)
{
	unsigned major = r->pos < r->len ? r->ptr[r->pos] >> 5 : 0;
	struct cw_item it;
	int is_map, key = 1;

	if (major != 3 && major != 4 && major != 5)
		return cw_skip_item(r, 0);
	it = cw_read_item(r);
	is_map = it.type == CW_ITEM_MAP;
	if (it.type == CW_ITEM_BAD || (it.type == CW_ITEM_TEXT && !cw_utf8_valid(it.s)))
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
