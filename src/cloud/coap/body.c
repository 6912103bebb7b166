/* body.c - see body.h. */
#include "cloud/coap/body.h"

#include <cbor.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causeway/error.h"

/* ---- a list of fields ---- */

static int keep(struct coap_fields *f, const void *text, size_t len, struct cloud_text *ret)
{
	if (len > sizeof(f->text) - f->used)
		return CW_EINVAL;
	if (len != 0)
		memcpy(f->text + f->used, text, len);
	*ret = (struct cloud_text){ f->text + f->used, len };
	f->used += len;
	return 0;
}

static int compare(const struct cloud_text *a, const struct cloud_text *b)
{
	int rc = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);

	return rc != 0 ? rc : a->len < b->len ? -1 : a->len > b->len;
}

static int by_name(const void *a, const void *b)
{
	const struct coap_field *left = a, *right = b;

	return compare(&left->name, &right->name);
}

/* Put them in order; a name twice could be signed in two ways. */
static int arrange(struct coap_fields *f)
{
	unsigned i;

	qsort(f->at, f->count, sizeof(f->at[0]), by_name);
	for (i = 1; i < f->count; i++) {
		if (compare(&f->at[i - 1].name, &f->at[i].name) == 0)
			return CW_EINVAL;
	}
	return 0;
}

/* ---- JSON ---- */

static int read_json(const void *data, size_t len, struct coap_fields *f)
{
	json_t *root = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL), *value;
	const char *name;
	char number[24];
	int rc = json_is_object(root) ? 0 : CW_EINVAL;

	json_object_foreach(root, name, value) {
		struct coap_field *at = &f->at[f->count];

		if (f->count == COAP_FIELDS || (!json_is_string(value) && !json_is_integer(value))) {
			rc = CW_EINVAL;
			break;
		}
		rc = keep(f, name, strlen(name), &at->name);
		if (rc == 0 && json_is_string(value)) {
			rc = keep(f, json_string_value(value), json_string_length(value), &at->value);
		} else if (rc == 0) {
			(void)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
			rc = keep(f, number, strlen(number), &at->value);
		}
		if (rc < 0)
			break;
		f->count++;
	}
	json_decref(root);
	return rc;
}

/* ---- CBOR, item by item: nothing is allocated, whatever sizes it claims ---- */

struct reader {
	struct coap_fields *fields;
	enum { WANT_MAP, WANT_NAME, WANT_VALUE, DONE } state;
	size_t left;    /* pairs to come */
	int indefinite; /* until a break instead */
	int took;       /* the item was one of those below */
};

static void next_pair(struct reader *r)
{
	r->state = !r->indefinite && r->left == 0 ? DONE : WANT_NAME;
}

static void on_map(void *arg, size_t pairs)
{
	struct reader *r = arg;

	r->took = r->state == WANT_MAP && pairs <= COAP_FIELDS;
	r->left = pairs;
	next_pair(r);
}

static void on_map_open(void *arg)
{
	struct reader *r = arg;

	r->took = r->state == WANT_MAP;
	r->indefinite = 1;
	next_pair(r);
}

static void on_break(void *arg)
{
	struct reader *r = arg;

	r->took = r->indefinite && r->state == WANT_NAME;
	r->state = DONE;
}

static void take_value(struct reader *r, const void *text, size_t len)
{
	struct coap_fields *f = r->fields;

	r->took = r->state == WANT_VALUE && keep(f, text, len, &f->at[f->count].value) == 0;
	if (!r->took)
		return;
	f->count++;
	r->left--;
	next_pair(r);
}

static void on_text(void *arg, cbor_data text, size_t len)
{
	struct reader *r = arg;
	struct coap_fields *f = r->fields;

	if (r->state != WANT_NAME) {
		take_value(r, text, len);
		return;
	}
	r->took = f->count < COAP_FIELDS && keep(f, text, len, &f->at[f->count].name) == 0;
	r->state = WANT_VALUE;
}

static void on_number(void *arg, uint64_t n)
{
	char text[24];

	take_value(arg, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, n));
}

static void on_u8(void *arg, uint8_t n)
{
	on_number(arg, n);
}

static void on_u16(void *arg, uint16_t n)
{
	on_number(arg, n);
}

static void on_u32(void *arg, uint32_t n)
{
	on_number(arg, n);
}

static int read_cbor(const uint8_t *data, size_t len, struct coap_fields *f)
{
	struct cbor_callbacks calls = cbor_empty_callbacks;
	struct reader r = { .fields = f, .state = WANT_MAP };
	struct cbor_decoder_result got;
	size_t at = 0;

	calls.map_start = on_map;
	calls.indef_map_start = on_map_open;
	calls.indef_break = on_break;
	calls.string = on_text;
	calls.uint8 = on_u8;
	calls.uint16 = on_u16;
	calls.uint32 = on_u32;
	calls.uint64 = on_number;
	while (r.state != DONE) {
		r.took = 0;
		got = cbor_stream_decode(data + at, len - at, &calls, &r);
		if (got.status != CBOR_DECODER_FINISHED || !r.took)
			return CW_EINVAL;
		at += got.read;
	}
	return at == len ? 0 : CW_EINVAL;
}

int cw_cloud_coap_fields(const void *data, size_t len, enum coap_format format, struct coap_fields *ret)
{
	int rc;

	ret->count = 0;
	ret->used = 0;
	if (len == 0 || len > COAP_BODY_BYTES)
		return CW_EINVAL;
	rc = format == COAP_FORMAT_CBOR ? read_cbor(data, len, ret) : read_json(data, len, ret);
	return rc < 0 ? rc : arrange(ret);
}

struct cloud_text cw_cloud_coap_field(const struct coap_fields *f, const char *name)
{
	unsigned i;

	for (i = 0; i < f->count; i++) {
		if (cw_cloud_text_is(&f->at[i].name, name))
			return f->at[i].value;
	}
	return (struct cloud_text){ NULL, 0 };
}

size_t cw_cloud_coap_content(const struct coap_fields *f, char *out, size_t size)
{
	static const char *const unsigned_names[] = { "version", "sign", "resources", "signmethod" };
	size_t n = 0, k;
	unsigned i;

	for (i = 0; i < f->count; i++) {
		const struct coap_field *at = &f->at[i];

		for (k = 0; k < sizeof(unsigned_names) / sizeof(unsigned_names[0]); k++) {
			if (cw_cloud_text_is(&at->name, unsigned_names[k]))
				break;
		}
		if (k < sizeof(unsigned_names) / sizeof(unsigned_names[0]))
			continue;
		if (at->name.len + at->value.len > size - n)
			return 0;
		memcpy(out + n, at->name.s, at->name.len);
		n += at->name.len;
		memcpy(out + n, at->value.s, at->value.len);
		n += at->value.len;
	}
	return n;
}

/* ---- answers ---- */

static size_t write_text(const char *text, uint8_t *out, size_t size)
{
	size_t len = strlen(text), head = cbor_encode_string_start(len, out, size);

	if (head == 0 || len > size - head)
		return 0;
	memcpy(out + head, text, len);
	return head + len;
}

static size_t write_cbor(const struct coap_pair *pairs, unsigned count, uint8_t *out, size_t size)
{
	size_t n = cbor_encode_map_start(count, out, size), part;
	unsigned i;

	for (i = 0; i < count && n != 0; i++) {
		part = write_text(pairs[i].name, out + n, size - n);
		if (part == 0)
			return 0;
		n += part;
		part = pairs[i].text != NULL ? write_text(pairs[i].text, out + n, size - n)
		                             : cbor_encode_uint(pairs[i].number, out + n, size - n);
		if (part == 0)
			return 0;
		n += part;
	}
	return n;
}

static size_t write_json(const struct coap_pair *pairs, unsigned count, uint8_t *out, size_t size)
{
	json_t *root = json_object();
	unsigned i;
	size_t n;

	for (i = 0; i < count; i++)
		(void)json_object_set_new(root, pairs[i].name,
		                          pairs[i].text != NULL ? json_string(pairs[i].text) : json_integer(pairs[i].number));
	n = json_dumpb(root, (char *)out, size, JSON_COMPACT);
	json_decref(root);
	return n > size ? 0 : n;
}

size_t cw_cloud_coap_object(const struct coap_pair *pairs, unsigned count, enum coap_format format, uint8_t *out, size_t size)
{
	return format == COAP_FORMAT_CBOR ? write_cbor(pairs, count, out, size) : write_json(pairs, count, out, size);
}
