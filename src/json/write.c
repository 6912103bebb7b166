/*
 * write.c - the generator's side of json.h. yajl's own buffer is never used: a print
 * callback collects the text here, where growing can fail cleanly and is bounded.
 */
#include "json/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <yajl/yajl_gen.h>

#include "base/err.h"
#include "base/digits.h"
#include "base/mem.h"

#define DIGITS 24u       /* of any 64-bit number, with its sign */
#define FIRST_SIZE 1024u /* most messages fit */

/* Serves the generator's two small blocks; yajl frees each once, at the end, when all goes together. */
static void *scratch_alloc(void *ctx, size_t size)
{
	struct cw_json *j = ctx;
	void *p;

	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	cw_invariant(size <= sizeof(j->scratch) - j->used);
	p = (char *)j->scratch + j->used;
	j->used += size;
	return p;
}

static void *scratch_realloc(void *ctx, void *ptr, size_t size)
{
	if (ptr != NULL) /* yajl's buffer growing: it is not used here, see above */
		return ptr;
	return scratch_alloc(ctx, size);
}

static void scratch_free(void *ctx, void *ptr) {}

static int make_room(struct cw_json *j, size_t more)
{
	size_t size = j->size;
	char *grown;

	if (more > j->most - j->len) {
		j->error = CW_ELIMIT;
		return 0;
	}
	if (size >= j->len + more + 1)
		return 1;
	if (size == 0)
		size = FIRST_SIZE;
	while (size < j->len + more + 1)
		size *= 2;
	if (size - 1 > j->most)
		size = j->most + 1;
	grown = cw_realloc(j->text, size);
	if (grown == NULL) {
		j->error = CW_ENOMEM;
		return 0;
	}
	j->text = grown;
	j->size = size;
	return 1;
}

static void on_print(void *ctx, const char *text, size_t len)
{
	struct cw_json *j = ctx;

	/* The room never passes `most`, so where there is room there is no need to ask. */
	if (j->error != 0 || (len >= j->size - j->len && !make_room(j, len)))
		return;
	if (len == 1) /* quotes, colons, commas: most calls */
		j->text[j->len] = text[0];
	else
		memcpy(j->text + j->len, text, len);
	j->len += len;
}

void cw_json_begin(struct cw_json *j, size_t most)
{
	yajl_alloc_funcs funcs = { scratch_alloc, scratch_realloc, scratch_free, j };

	j->text = NULL;
	j->len = j->size = j->used = 0;
	j->most = most;
	j->error = 0;
	j->gen = yajl_gen_alloc(&funcs);
	cw_invariant(j->gen != NULL);
	(void)yajl_gen_config(j->gen, yajl_gen_print_callback, on_print, j);
	(void)yajl_gen_config(j->gen, yajl_gen_validate_utf8, 1);
}

static void note(struct cw_json *j, yajl_gen_status rc)
{
	if (rc != yajl_gen_status_ok && rc != yajl_gen_generation_complete && j->error == 0)
		j->error = CW_EPROTO;
}

#define WRITE(j, call)                                                                                                 \
	do {                                                                                                           \
		if ((j)->error == 0)                                                                                   \
			note(j, call);                                                                                 \
	} while (0)

void cw_json_map(struct cw_json *j)
{
	WRITE(j, yajl_gen_map_open(j->gen));
}
void cw_json_end_map(struct cw_json *j)
{
	WRITE(j, yajl_gen_map_close(j->gen));
}
void cw_json_array(struct cw_json *j)
{
	WRITE(j, yajl_gen_array_open(j->gen));
}
void cw_json_end_array(struct cw_json *j)
{
	WRITE(j, yajl_gen_array_close(j->gen));
}
void cw_json_bool(struct cw_json *j, int v)
{
	WRITE(j, yajl_gen_bool(j->gen, v));
}
void cw_json_null(struct cw_json *j)
{
	WRITE(j, yajl_gen_null(j->gen));
}

void cw_json_textn(struct cw_json *j, struct cw_bytes text)
{
	WRITE(j, yajl_gen_string(j->gen, text.len == 0 ? (const unsigned char *)"" : text.ptr, text.len));
}

void cw_json_text(struct cw_json *j, const char *text)
{
	cw_json_textn(j, cw_bytes_text(text));
}

void cw_json_field(struct cw_json *j, const char *key, const char *text)
{
	cw_json_text(j, key);
	cw_json_text(j, text);
}

static void number(struct cw_json *j, const char *digits, size_t len)
{
	WRITE(j, yajl_gen_number(j->gen, digits, len));
}

/* Digits of `v`, written backwards into the end of text[DIGITS]; returns how many. Reports are full of numbers:
 * snprintf() showed. */
static size_t put_digits(char text[DIGITS], uint64_t v)
{
	size_t n = 0;

	do
		text[DIGITS - ++n] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	return n;
}

static uint64_t magnitude(int64_t v)
{
	return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

void cw_json_int(struct cw_json *j, int64_t v)
{
	char text[DIGITS];
	size_t n = put_digits(text, magnitude(v));

	if (v < 0)
		text[DIGITS - ++n] = '-';
	number(j, text + DIGITS - n, n);
}

void cw_json_uint(struct cw_json *j, uint64_t v)
{
	char text[DIGITS];
	size_t n = put_digits(text, v);

	number(j, text + DIGITS - n, n);
}

void cw_json_decimal(struct cw_json *j, int64_t mantissa, int exponent)
{
	char room[DIGITS], text[64];
	uint64_t u = magnitude(mantissa);
	size_t n = 0, count = put_digits(room, u), point;
	const char *digits = room + DIGITS - count;

	if (mantissa < 0)
		text[n++] = '-';
	if (exponent >= 0) {
		memcpy(text + n, digits, count);
		n += count;
		for (; exponent > 0 && u != 0; exponent--)
			text[n++] = '0';
		number(j, text, n);
		return;
	}
	point = (size_t)-exponent;
	if (count <= point) { /* 5 with two places is 0.05 */
		text[n++] = '0';
	} else {
		memcpy(text + n, digits, count - point);
		n += count - point;
	}
	text[n++] = '.';
	for (; count < point; point--)
		text[n++] = '0';
	memcpy(text + n, digits + count - point, point);
	n += point;
	number(j, text, n);
}

void cw_json_double(struct cw_json *j, double v)
{
	char text[40];
	int precision, n = 0;

	if (!isfinite(v)) {
		cw_json_null(j);
		return;
	}
	for (precision = 15; precision <= 17; precision++) {
		n = snprintf(text, sizeof(text), "%.*g", precision, v);
		if (strtod(text, NULL) == v)
			break;
	}
	number(j, text, (size_t)n);
}

void cw_json_hex(struct cw_json *j, struct cw_bytes bytes)
{
	char small[129], *text = small;

	if (bytes.len > j->most) { /* before asking for the memory */
		j->error = j->error == 0 ? CW_ELIMIT : j->error;
		return;
	}
	if (CW_HEX_SIZE(bytes.len) > sizeof(small)) {
		text = cw_alloc(CW_HEX_SIZE(bytes.len));
		if (text == NULL) {
			j->error = j->error == 0 ? CW_ENOMEM : j->error;
			return;
		}
	}
	cw_hex(text, bytes);
	cw_json_textn(j, cw_bytes_of(text, bytes.len * 2));
	if (text != small)
		cw_free(text);
}

static void write_item(struct cw_json *j, struct cw_reader *r, int depth)
{
	struct cw_item it = cw_read_item(r);
	int is_map = it.type == CW_ITEM_MAP;

	switch (it.type) {
	case CW_ITEM_INT: cw_json_int(j, it.i); return;
	case CW_ITEM_UINT: cw_json_uint(j, it.u); return;
	case CW_ITEM_BYTES: cw_json_hex(j, it.s); return;
	case CW_ITEM_TEXT: cw_json_textn(j, it.s); return;
	case CW_ITEM_DECIMAL: cw_json_decimal(j, it.i, it.exponent); return;
	case CW_ITEM_DOUBLE: cw_json_double(j, it.d); return;
	case CW_ITEM_BOOL: cw_json_bool(j, it.i != 0); return;
	case CW_ITEM_NULL: cw_json_null(j); return;
	case CW_ITEM_ARRAY:
	case CW_ITEM_MAP: break;
	default: goto bad;
	}
	if (depth <= 0)
		goto bad;
	if (is_map)
		cw_json_map(j);
	else
		cw_json_array(j);
	while (j->error == 0 && cw_item_more(r, &it))
		write_item(j, r, depth - 1);
	if (r->short_read)
		goto bad;
	if (is_map)
		cw_json_end_map(j);
	else
		cw_json_end_array(j);
	return;
bad:
	if (j->error == 0)
		j->error = CW_EPROTO;
}

void cw_json_item(struct cw_json *j, struct cw_reader *r)
{
	write_item(j, r, CW_JSON_DEPTH);
}

void cw_json_encoded(struct cw_json *j, struct cw_bytes item)
{
	struct cw_reader r = cw_reader_of(item);

	cw_json_item(j, &r);
}

void cw_json_drop(struct cw_json *j)
{
	cw_free(j->text);
	j->text = NULL;
	j->gen = NULL;
}

int cw_json_finish(struct cw_json *j, char **ret_text, size_t *ret_len)
{
	if (j->error == 0)
		(void)make_room(j, 0);
	if (j->error != 0) {
		int rc = j->error;

		cw_json_drop(j);
		return rc;
	}
	j->text[j->len] = '\0';
	*ret_text = j->text;
	*ret_len = j->len;
	j->text = NULL;
	j->gen = NULL;
	return 0;
}

int cw_json_from_item(struct cw_bytes item, size_t most, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	cw_json_begin(&j, most);
	cw_json_encoded(&j, item);
	return cw_json_finish(&j, ret_text, ret_len);
}
