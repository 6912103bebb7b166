/*
 * write.c - JSON text, written straight into its buffer. Most of what the gateway does for a record is here: with
 * yajl's generator, which prints through a callback byte by byte, it was half of all instructions of a position.
 */
#include "json/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/digits.h"
#include "base/mem.h"

#define DIGITS 24u       /* of any 64-bit number, with its sign */
#define FIRST_SIZE 1024u /* most messages fit */

/* What is open, one byte a level; the outermost one holds the one value of the text. */
#define IS_MAP 1u
#define HAS_MEMBER 2u
#define HAS_KEY 4u /* its value comes next */

static int fail(struct cw_json *j, int error)
{
	if (j->error == 0)
		j->error = error;
	return 0;
}

static int make_room(struct cw_json *j, size_t more)
{
	size_t size = j->size;
	char *grown;

	if (more > j->most - j->len)
		return fail(j, CW_ELIMIT);
	if (size >= j->len + more + 1)
		return 1;
	if (size == 0)
		size = FIRST_SIZE;
	while (size < j->len + more + 1)
		size *= 2;
	if (size - 1 > j->most)
		size = j->most + 1;
	grown = cw_realloc(j->text, size);
	if (grown == NULL)
		return fail(j, CW_ENOMEM);
	j->text = grown;
	j->size = size;
	return 1;
}

/* Room for a value of `len` bytes, or a key, and the colon or comma before it, which is written. */
static int begin_value(struct cw_json *j, int is_text, size_t len)
{
	uint8_t *level = &j->levels[j->depth];
	size_t before = (*level & HAS_KEY) != 0 || (*level & HAS_MEMBER) != 0;

	if (j->error != 0)
		return 0;
	if ((j->depth == 0 && before) || (!is_text && (*level & (IS_MAP | HAS_KEY)) == IS_MAP))
		return fail(j, CW_EPROTO); /* a second text behind the first; a key that is no text */
	/* The room never passes `most`, so where there is room there is no need to ask. */
	if (len + before >= j->size - j->len && !make_room(j, len + before))
		return 0;
	if (before)
		j->text[j->len++] = (*level & HAS_KEY) != 0 ? ':' : ',';
	*level |= HAS_MEMBER;
	if ((*level & IS_MAP) != 0)
		*level ^= HAS_KEY;
	return 1;
}

static void put(struct cw_json *j, const char *text, size_t len)
{
	if (!begin_value(j, 0, len))
		return;
	memcpy(j->text + j->len, text, len);
	j->len += len;
}

void cw_json_begin(struct cw_json *j, size_t most)
{
	j->text = NULL;
	j->len = j->size = 0;
	j->most = most;
	j->error = 0;
	j->depth = 0;
	j->levels[0] = 0;
}

static void open_level(struct cw_json *j, char mark, uint8_t level)
{
	if (j->depth + 1 >= CW_JSON_LEVELS)
		(void)fail(j, CW_EPROTO);
	if (!begin_value(j, 0, 1))
		return;
	j->text[j->len++] = mark;
	j->levels[++j->depth] = level;
}

static void close_level(struct cw_json *j, char mark, uint8_t level)
{
	if (j->depth == 0 || (j->levels[j->depth] & (IS_MAP | HAS_KEY)) != level)
		(void)fail(j, CW_EPROTO);
	if (j->error != 0 || (j->size - j->len <= 1 && !make_room(j, 1)))
		return;
	j->text[j->len++] = mark;
	j->depth--;
}

void cw_json_map(struct cw_json *j)
{
	open_level(j, '{', IS_MAP);
}
void cw_json_end_map(struct cw_json *j)
{
	close_level(j, '}', IS_MAP);
}
void cw_json_array(struct cw_json *j)
{
	open_level(j, '[', 0);
}
void cw_json_end_array(struct cw_json *j)
{
	close_level(j, ']', 0);
}
void cw_json_bool(struct cw_json *j, int v)
{
	if (v)
		put(j, "true", 4);
	else
		put(j, "false", 5);
}
void cw_json_null(struct cw_json *j)
{
	put(j, "null", 4);
}

/* Bytes that are not as they are in a text: 0 as they are, a letter behind a backslash, 'u' as \u00XX; 1: not ASCII. */
static uint8_t escape_of(uint8_t c)
{
	switch (c) {
	case '"':
	case '\\': return c;
	case '\n': return 'n';
	case '\r': return 'r';
	case '\t': return 't';
	case '\f': return 'f';
	case '\b': return 'b';
	default: return c < 0x20 ? 'u' : c >= 0x80;
	}
}

/* Length of the UTF-8 sequence at s[0 .. left), 0 when it is none. */
static size_t sequence_at(const uint8_t *s, size_t left)
{
	size_t n = s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0, i;

	if (n > left)
		return 0;
	for (i = 1; i < n; i++)
		if (s[i] >> 6 != 2)
			return 0;
	return n;
}

static void put_escape(struct cw_json *j, uint8_t c, uint8_t how)
{
	static const char digit[] = "0123456789ABCDEF";
	char *to = j->text + j->len;

	to[0] = '\\';
	to[1] = (char)how;
	j->len += 2;
	if (how != 'u')
		return;
	to[2] = to[3] = '0';
	to[4] = digit[c >> 4];
	to[5] = digit[c & 15];
	j->len += 4;
}

/* The text between the quotes from the first byte on that is not as it is; each may take six. */
static int put_rest(struct cw_json *j, const uint8_t *s, size_t len)
{
	while (len > 0) {
		uint8_t how = escape_of(*s);
		size_t n = how == 1 ? sequence_at(s, len) : 1, room = how <= 1 ? n : how == 'u' ? 6 : 2;

		if (n == 0)
			return fail(j, CW_EPROTO);
		if (room >= j->size - j->len && !make_room(j, room))
			return 0;
		if (how > 1) {
			put_escape(j, *s, how);
		} else {
			memcpy(j->text + j->len, s, n);
			j->len += n;
		}
		s += n;
		len -= n;
	}
	return 1;
}

/* 1 when all eight bytes are ASCII that stands in a text as it is. */
static int is_plain(uint64_t v)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
	uint64_t quote = v ^ ones * '"', slash = v ^ ones * '\\';

	/* A byte's highest bit in (x - n) & ~x says that x < n; what borrows from its neighbour is one itself. */
	return ((v | ((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & high) == 0;
}

/* How many bytes of a text from its beginning are plain; they are copied. */
static size_t copy_plain(char *to, const uint8_t *s, size_t len)
{
	size_t i;
	uint64_t v;

	for (i = 0; i + 8 <= len; i += 8) {
		memcpy(&v, s + i, 8);
		if (!is_plain(v))
			break;
		memcpy(to + i, &v, 8);
	}
	for (; i < len; i++) {
		uint8_t c = s[i];

		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
		to[i] = (char)c;
	}
	return i;
}

void cw_json_textn(struct cw_json *j, struct cw_bytes text)
{
	size_t i;

	if (text.len > j->most) {
		(void)fail(j, CW_ELIMIT);
		return;
	}
	if (!begin_value(j, 1, text.len + 2))
		return;
	j->text[j->len++] = '"';
	i = copy_plain(j->text + j->len, text.ptr, text.len);
	j->len += i;
	if (i < text.len && !put_rest(j, text.ptr + i, text.len - i))
		return;
	if (j->size - j->len <= 1 && !make_room(j, 1))
		return;
	j->text[j->len++] = '"';
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
	put(j, digits, len);
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

void cw_json_digits(struct cw_json *j, const char *digits, size_t len)
{
	number(j, digits, len);
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
		(void)fail(j, CW_ELIMIT);
		return;
	}
	if (CW_HEX_SIZE(bytes.len) > sizeof(small)) {
		text = cw_alloc(CW_HEX_SIZE(bytes.len));
		if (text == NULL) {
			(void)fail(j, CW_ENOMEM);
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
	(void)fail(j, CW_EPROTO);
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
	return 0;
}

int cw_json_from_item(struct cw_bytes item, size_t most, char **ret_text, size_t *ret_len)
{
	struct cw_json j;

	cw_json_begin(&j, most);
	cw_json_encoded(&j, item);
	return cw_json_finish(&j, ret_text, ret_len);
}
