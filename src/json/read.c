/*
 * read.c - the parser's side of json.h. One block holds the result and all that yajl
 * asks for: yajl does not check its allocations, so they are served from a bound that
 * is reserved before it starts.
 *
 * The bounds. Result: the densest text is numbers like 1e99 (four bytes and a comma)
 * that become nine bytes, so three bytes for each byte of text are enough. Parser:
 * two buffers that double from 2 KiB up to the longest string, each copied at most
 * when it grows, so 4 * (length + 2 KiB) each, and some hundred bytes of state.
 */
#include "json/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include <yajl/yajl_parse.h>

#include "base/err.h"
#include "base/mem.h"

#define SCRATCH(len) (8 * ((len) + 2048) + 4096)
#define RESULT(len) (3 * (len) + 16)

struct reading {
	struct cw_writer w;
	uint8_t *scratch;
	size_t used, size;
	int depth;
	int error;
};

/* Each block is preceded by its size, so that growing knows what to copy. */
static void *scratch_alloc(void *ctx, size_t size)
{
	struct reading *rd = ctx;
	size_t whole =
		sizeof(max_align_t) + (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	uint8_t *p = rd->scratch + rd->used;

	cw_invariant(whole <= rd->size - rd->used);
	rd->used += whole;
	memcpy(p, &size, sizeof(size));
	return p + sizeof(max_align_t);
}

static void *scratch_realloc(void *ctx, void *ptr, size_t size)
{
	void *grown = scratch_alloc(ctx, size);
	size_t old;

	if (ptr == NULL)
		return grown;
	memcpy(&old, (uint8_t *)ptr - sizeof(max_align_t), sizeof(old));
	memcpy(grown, ptr, old < size ? old : size);
	return grown;
}

static void scratch_free(void *ctx, void *ptr) {}

static int stop(struct reading *rd, int error)
{
	rd->error = error;
	return 0;
}

static int on_null(void *ctx)
{
	cw_put_null(&((struct reading *)ctx)->w);
	return 1;
}

static int on_boolean(void *ctx, int v)
{
	cw_put_bool(&((struct reading *)ctx)->w, v);
	return 1;
}

/* Digits, sign and scale of a number as it is written; 0 when 64 bits do not hold it. */
static int take_digits(const char *text, size_t len, int64_t *ret_mantissa, int *ret_exponent)
{
	uint64_t m = 0;
	long exponent = 0;
	size_t i = 0;
	int minus = 0, fraction = 0;

	if (text[0] == '-') {
		minus = 1;
		i++;
	}
	for (; i < len && text[i] != 'e' && text[i] != 'E'; i++) {
		if (text[i] == '.') {
			fraction = 1;
			continue;
		}
		if (m > (uint64_t)(INT64_MAX - 9) / 10)
			return 0;
		m = m * 10 + (uint64_t)(text[i] - '0');
		exponent -= fraction;
	}
	if (i < len) {
		if (len - i > 6)
			return 0;
		exponent += strtol(text + i + 1, NULL, 10);
	}
	if (exponent < -18 || exponent > 18)
		return 0;
	*ret_mantissa = minus ? -(int64_t)m : (int64_t)m;
	*ret_exponent = (int)exponent;
	return 1;
}

static int is_whole(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (text[i] == '.' || text[i] == 'e' || text[i] == 'E')
			return 0;
	return 1;
}

static int put_whole(struct reading *rd, const char *text)
{
	errno = 0;
	if (text[0] == '-') {
		long long v = strtoll(text, NULL, 10);

		if (errno == 0)
			cw_put_int(&rd->w, v);
	} else {
		unsigned long long v = strtoull(text, NULL, 10);

		if (errno == 0)
			cw_put_uint(&rd->w, v);
	}
	return errno == 0;
}

static int on_number(void *ctx, const char *digits, size_t len)
{
	struct reading *rd = ctx;
	char text[400];
	int64_t mantissa;
	int exponent;
	double v;

	if (len >= sizeof(text))
		return stop(rd, CW_EPROTO);
	memcpy(text, digits, len);
	text[len] = '\0';
	if (is_whole(text, len) && put_whole(rd, text))
		return 1;
	if (!is_whole(text, len) && take_digits(text, len, &mantissa, &exponent)) {
		cw_put_decimal(&rd->w, mantissa, exponent);
		return 1;
	}
	v = strtod(text, NULL);
	if (!isfinite(v))
		return stop(rd, CW_EPROTO);
	cw_put_double(&rd->w, v);
	return 1;
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
	cw_put_textn(&((struct reading *)ctx)->w, (const char *)text, len);
	return 1;
}

static int on_open(struct reading *rd)
{
	return ++rd->depth > CW_JSON_DEPTH ? stop(rd, CW_ELIMIT) : 1;
}

static int on_map(void *ctx)
{
	cw_put_map(&((struct reading *)ctx)->w);
	return on_open(ctx);
}

static int on_array(void *ctx)
{
	cw_put_array(&((struct reading *)ctx)->w);
	return on_open(ctx);
}

static int on_end(void *ctx)
{
	((struct reading *)ctx)->depth--;
	cw_put_end(&((struct reading *)ctx)->w);
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_map,
	.yajl_map_key = on_string,
	.yajl_end_map = on_end,
	.yajl_start_array = on_array,
	.yajl_end_array = on_end,
};

int cw_json_to_item(struct cw_bytes text, uint8_t **ret_item, size_t *ret_len)
{
	struct reading rd = { .size = SCRATCH(text.len) };
	yajl_alloc_funcs funcs = { scratch_alloc, scratch_realloc, scratch_free, &rd };
	yajl_handle parser;
	yajl_status rc;
	uint8_t *item;

	if (text.len == 0)
		return CW_EPROTO;
	if (text.len > SIZE_MAX / 16)
		return CW_ELIMIT;
	rd.scratch = cw_alloc(rd.size);
	if (rd.scratch == NULL)
		return CW_ENOMEM;
	item = cw_alloc(RESULT(text.len));
	if (item == NULL) {
		cw_free(rd.scratch);
		return CW_ENOMEM;
	}
	rd.w = cw_writer_of(item, RESULT(text.len));
	parser = yajl_alloc(&callbacks, &funcs, &rd);
	rc = yajl_parse(parser, text.ptr, text.len);
	if (rc == yajl_status_ok)
		rc = yajl_complete_parse(parser);
	yajl_free(parser);
	cw_free(rd.scratch);
	cw_invariant(!rd.w.overflow);
	if (rc != yajl_status_ok || rd.w.len == 0) {
		cw_free(item);
		return rd.error != 0 ? rd.error : CW_EPROTO;
	}
	*ret_item = item;
	*ret_len = rd.w.len;
	return 0;
}
