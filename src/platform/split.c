/*
 * split.c - see split.h.
 *
 * Members of an encoded map stand one behind the other, so a share of them is a slice with a new head and end mark. How
 * long a message becomes is known when it is made: parts are tried, and made smaller where they are too long.
 */
#include "platform/split.h"

#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"

struct cutter {
	const struct cw_record *rec;
	const char *pk, *dn;
	uint32_t id;
	const struct cw_alink_options *options;
	size_t most;
	size_t *at; /* where each member begins in the body, and where the last one ends */
	size_t members;
	uint8_t *slice;
};

uint32_t cw_split_id(uint32_t id, size_t part)
{
	return (uint32_t)(((uint64_t)id - 1 + part) % UINT32_MAX) + 1;
}

void cw_split_drop(struct cw_split *s)
{
	size_t i;

	for (i = 0; i < s->count; i++)
		cw_free(s->parts[i].payload);
	cw_free(s->parts);
	s->parts = NULL;
	s->count = 0;
}

/* The payload of `made` becomes the next part. */
static int keep(struct cw_split *s, struct cw_alink_post *made)
{
	struct cw_split_part *parts = cw_realloc(s->parts, (s->count + 1) * sizeof(*parts));

	if (parts == NULL) {
		cw_free(made->payload);
		return CW_ENOMEM;
	}
	s->parts = parts;
	parts[s->count++] = (struct cw_split_part){ made->payload, made->len };
	s->head = *made;
	s->head.payload = NULL;
	s->head.len = 0;
	return 0;
}

/* CW_ELIMIT when it is longer than allowed; *ret_len is then its length, or 0 when it was not even made. */
static int try_message(const struct cutter *c, const struct cw_record *rec, size_t part, struct cw_split *s,
		       size_t *ret_len)
{
	struct cw_alink_post made;
	int rc = cw_alink_record(rec, c->pk, c->dn, cw_split_id(c->id, part), c->options, &made);

	*ret_len = 0;
	if (rc < 0)
		return rc;
	if (made.len <= c->most)
		return keep(s, &made);
	*ret_len = made.len;
	cw_free(made.payload);
	return CW_ELIMIT;
}

/* Twice: count, then note. 0 or CW_EPROTO. */
static int find_members(struct cutter *c)
{
	struct cw_reader r = cw_reader_of(c->rec->body);
	struct cw_item map = cw_read_item(&r);
	size_t n = 0;

	if (map.type != CW_ITEM_MAP)
		return CW_EPROTO;
	while (cw_item_more(&r, &map)) {
		if (c->at != NULL)
			c->at[n] = r.pos;
		(void)cw_read_item(&r);
		(void)cw_item_more(&r, &map);
		if (cw_read_whole_item(&r).len == 0)
			return CW_EPROTO;
		n++;
		if (c->at != NULL)
			c->at[n] = r.pos;
	}
	c->members = n;
	return r.short_read ? CW_EPROTO : 0;
}

static int try_share(const struct cutter *c, size_t from, size_t n, struct cw_split *s, size_t *ret_len)
{
	struct cw_record rec = *c->rec;
	size_t len = c->at[from + n] - c->at[from];

	c->slice[0] = 0xbf;
	memcpy(c->slice + 1, c->rec->body.ptr + c->at[from], len);
	c->slice[1 + len] = 0xff;
	rec.body = cw_bytes_of(c->slice, len + 2);
	return try_message(c, &rec, s->count, s, ret_len);
}

/* `n`: how many members may fit, by the length of the whole. */
static int cut(const struct cutter *c, size_t n, struct cw_split *s)
{
	size_t from = 0, len;
	int rc = 0;

	while (rc == 0 && from < c->members) {
		n = n > c->members - from ? c->members - from : n < 1 ? 1 : n;
		while ((rc = try_share(c, from, n, s, &len)) == CW_ELIMIT && n > 1) {
			size_t fewer = len == 0 ? n / 2 : n * c->most / len;

			n = fewer < 1 ? 1 : fewer < n ? fewer : n - 1;
		}
		from += n;
	}
	return rc;
}

static int cut_members(struct cutter *c, size_t whole_len, struct cw_split *s)
{
	int rc = find_members(c);

	if (rc < 0 || c->members < 2)
		return rc < 0 ? rc : CW_ELIMIT;
	c->at = cw_calloc(c->members + 1, sizeof(*c->at));
	c->slice = cw_alloc(c->rec->body.len + 2);
	rc = c->at == NULL || c->slice == NULL ? CW_ENOMEM : find_members(c);
	if (rc == 0)
		rc = cut(c, whole_len == 0 ? c->members / 2 : c->members * c->most / whole_len, s);
	cw_free(c->at);
	cw_free(c->slice);
	return rc;
}

int cw_split_record(const struct cw_record *rec, const char *pk, const char *dn, uint32_t id,
		    const struct cw_alink_options *options, size_t most, struct cw_split *ret)
{
	struct cutter c = { .rec = rec, .pk = pk, .dn = dn, .id = id, .options = options, .most = most };
	size_t len;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = try_message(&c, rec, 0, ret, &len);
	if (rc == CW_ELIMIT && (rec->kind == CW_KIND_PROPERTIES || rec->kind == CW_KIND_TAGS))
		rc = cut_members(&c, len, ret);
	if (rc < 0)
		cw_split_drop(ret);
	return rc;
}
