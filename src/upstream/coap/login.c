/* login.c - see login.h. */
#include "upstream/coap/login.h"

#include <cbor.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "causeway/error.h"
#include "causeway/record.h"
#include "json/json.h"

#define CLIENT_ID_MOST 64u
#define PAIRS_MOST 8u
#define PAGE_MOST 65536u /* bytes of one page that are looked at */

struct pair {
	const char *name, *value;
};

/* In the order in which they are signed. `client_id` has CLIENT_ID_MOST + 1 bytes. */
static unsigned signed_pairs(const struct coap_login *l, char *client_id, struct pair pairs[PAIRS_MOST])
{
	unsigned n = 0;

	if (snprintf(client_id, CLIENT_ID_MOST + 1, "%s&%s", l->product_key, l->device_name) > (int)CLIENT_ID_MOST)
		(void)snprintf(client_id, CLIENT_ID_MOST + 1, "%s", l->device_name); /* it may be any text */
	if (l->separate)
		pairs[n++] = (struct pair){ "ackMode", "1" };
	pairs[n++] = (struct pair){ "clientId", client_id };
	pairs[n++] = (struct pair){ "deviceName", l->device_name };
	pairs[n++] = (struct pair){ "productKey", l->product_key };
	if (l->seq != NULL)
		pairs[n++] = (struct pair){ "seq", l->seq };
	return n;
}

static int join(const struct pair *pairs, unsigned count, char *out, size_t size)
{
	size_t used = 0;
	unsigned i;

	for (i = 0; i < count; i++) {
		int n = snprintf(out + used, size - used, "%s%s", pairs[i].name, pairs[i].value);

		if (n < 0 || (size_t)n >= size - used)
			return CW_ELIMIT;
		used += (size_t)n;
	}
	return 0;
}

int cw_coap_login_content(const struct coap_login *l, char *out, size_t size)
{
	char client_id[CLIENT_ID_MOST + 1];
	struct pair pairs[PAIRS_MOST];

	return join(pairs, signed_pairs(l, client_id, pairs), out, size);
}

static int as_json(const struct pair *pairs, unsigned count, uint8_t *out, size_t *ret_len)
{
	struct cw_json j;
	unsigned i;
	char *text;
	int rc;

	cw_json_begin(&j, COAP_BODY_BYTES);
	cw_json_map(&j);
	for (i = 0; i < count; i++)
		cw_json_field(&j, pairs[i].name, pairs[i].value);
	cw_json_end_map(&j);
	rc = cw_json_finish(&j, &text, ret_len);
	if (rc < 0)
		return rc;
	memcpy(out, text, *ret_len);
	cw_free(text);
	return 0;
}

static size_t put_cbor_text(const char *text, uint8_t *out, size_t size)
{
	size_t len = strlen(text), head = cbor_encode_string_start(len, out, size);

	if (head == 0 || len > size - head)
		return 0;
	memcpy(out + head, text, len);
	return head + len;
}

static int as_cbor(const struct pair *pairs, unsigned count, uint8_t *out, size_t *ret_len)
{
	size_t used = cbor_encode_map_start(count, out, COAP_BODY_BYTES), n;
	unsigned i;

	for (i = 0; i < 2 * count; i++) {
		n = put_cbor_text(i % 2 == 0 ? pairs[i / 2].name : pairs[i / 2].value, out + used,
				  COAP_BODY_BYTES - used);
		if (n == 0)
			return CW_ELIMIT;
		used += n;
	}
	*ret_len = used;
	return 0;
}

int cw_coap_login_body(const struct coap_login *l, uint8_t *out, size_t *ret_len)
{
	char client_id[CLIENT_ID_MOST + 1], content[512], sign[CW_SIGN_HEX_MAX];
	struct pair pairs[PAIRS_MOST];
	unsigned n = signed_pairs(l, client_id, pairs);
	int rc = join(pairs, n, content, sizeof(content));

	if (rc == 0)
		rc = cw_sign_hmac(l->method, l->secret, content, sign);
	if (rc < 0)
		return rc;
	pairs[n++] = (struct pair){ "signmethod", cw_sign_method_name(l->method) };
	pairs[n++] = (struct pair){ "sign", sign };
	return l->format == COAP_FORMAT_CBOR ? as_cbor(pairs, n, out, ret_len) : as_json(pairs, n, out, ret_len);
}

/* ---- the answer ---- */

static int keep_text(char *to, size_t size, struct cw_bytes from)
{
	if (from.len >= size || memchr(from.ptr == NULL ? (const uint8_t *)"" : from.ptr, 0, from.len) != NULL)
		return CW_EPROTO;
	if (from.len > 0)
		memcpy(to, from.ptr, from.len);
	to[from.len] = '\0';
	return 0;
}

/* Members of the answer; others are not looked at. */
static int keep_member(struct coap_pass *p, struct cw_bytes name, struct cw_bytes text, int is_number, uint64_t number)
{
	if (cw_bytes_equal(name, cw_bytes_text("token")) && !is_number)
		return keep_text(p->token, sizeof(p->token), text);
	if (cw_bytes_equal(name, cw_bytes_text("random")) && !is_number)
		return keep_text(p->random, sizeof(p->random), text);
	if (cw_bytes_equal(name, cw_bytes_text("seqOffset")) && is_number)
		p->seq_offset = number;
	return 0;
}

static int read_json(struct cw_bytes body, struct coap_pass *p)
{
	uint8_t *item;
	size_t len;
	struct cw_reader r;
	struct cw_item map;
	int rc = cw_json_to_item(body, &item, &len);

	if (rc < 0)
		return rc;
	r = cw_reader_of(cw_bytes_of(item, len));
	map = cw_read_item(&r);
	rc = map.type == CW_ITEM_MAP ? 0 : CW_EPROTO;
	while (rc == 0 && cw_item_more(&r, &map)) {
		struct cw_item name = cw_read_item(&r), value;

		(void)cw_item_more(&r, &map);
		value = cw_read_item(&r);
		if (value.type == CW_ITEM_TEXT || (value.type == CW_ITEM_INT && value.i >= 0))
			rc = keep_member(p, name.s, value.s, value.type == CW_ITEM_INT, (uint64_t)value.i);
		else if (!cw_skip_members(&r, &value, CW_RECORD_DEPTH))
			rc = CW_EPROTO;
	}
	explicit_bzero(item, len);
	cw_free(item);
	return rc;
}

/* CBOR item by item: nothing is allocated, whatever sizes it claims, and only a flat map of text names is taken. */
struct cbor_reader {
	struct coap_pass *pass;
	struct cw_bytes name;
	enum { WANT_MAP, WANT_NAME, WANT_VALUE, DONE } state;
	size_t left;
	int indefinite, rc;
};

static void next_pair(struct cbor_reader *r)
{
	r->state = !r->indefinite && r->left == 0 ? DONE : WANT_NAME;
}

static void on_map(void *arg, size_t pairs)
{
	struct cbor_reader *r = arg;

	r->rc = r->state == WANT_MAP ? 0 : CW_EPROTO;
	r->left = pairs;
	next_pair(r);
}

static void on_map_open(void *arg)
{
	struct cbor_reader *r = arg;

	r->rc = r->state == WANT_MAP ? 0 : CW_EPROTO;
	r->indefinite = 1;
	next_pair(r);
}

static void on_break(void *arg)
{
	struct cbor_reader *r = arg;

	r->rc = r->indefinite && r->state == WANT_NAME ? 0 : CW_EPROTO;
	r->state = DONE;
}

static void take_value(struct cbor_reader *r, struct cw_bytes text, int is_number, uint64_t number)
{
	if (r->state != WANT_VALUE)
		return;
	r->rc = keep_member(r->pass, r->name, text, is_number, number);
	r->left--;
	next_pair(r);
}

static void on_text(void *arg, cbor_data text, size_t len)
{
	struct cbor_reader *r = arg;

	if (r->state == WANT_VALUE) {
		take_value(r, cw_bytes_of(text, len), 0, 0);
	} else if (r->state == WANT_NAME) {
		r->rc = 0;
		r->name = cw_bytes_of(text, len);
		r->state = WANT_VALUE;
	}
}

static void on_u8(void *arg, uint8_t n)
{
	take_value(arg, cw_bytes_of(NULL, 0), 1, n);
}

static void on_u16(void *arg, uint16_t n)
{
	take_value(arg, cw_bytes_of(NULL, 0), 1, n);
}

static void on_u32(void *arg, uint32_t n)
{
	take_value(arg, cw_bytes_of(NULL, 0), 1, n);
}

static void on_u64(void *arg, uint64_t n)
{
	take_value(arg, cw_bytes_of(NULL, 0), 1, n);
}

static void on_bool(void *arg, bool v)
{
	struct cbor_reader *r = arg;

	take_value(r, cw_bytes_text("?"), 1, 0); /* of a member that is not ours */
}

static void on_null(void *arg)
{
	on_bool(arg, false);
}

static int read_cbor(struct cw_bytes body, struct coap_pass *p)
{
	struct cbor_callbacks calls = cbor_empty_callbacks;
	struct cbor_reader r = { .pass = p, .state = WANT_MAP };
	size_t at = 0;

	calls.map_start = on_map;
	calls.indef_map_start = on_map_open;
	calls.indef_break = on_break;
	calls.string = on_text;
	calls.uint8 = on_u8;
	calls.uint16 = on_u16;
	calls.uint32 = on_u32;
	calls.uint64 = on_u64;
	calls.boolean = on_bool;
	calls.null = on_null;
	calls.undefined = on_null;
	while (r.state != DONE) {
		struct cbor_decoder_result got;

		r.rc = CW_EPROTO; /* unless the item was one of those above */
		got = cbor_stream_decode(body.ptr + at, body.len - at, &calls, &r);
		if (got.status != CBOR_DECODER_FINISHED || r.rc < 0)
			return CW_EPROTO;
		at += got.read;
	}
	return 0;
}

int cw_coap_login_answer(struct cw_bytes body, struct coap_pass *ret)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (body.len == 0)
		return CW_EPROTO;
	rc = body.ptr[0] >> 5 == 5 ? read_cbor(body, ret) : read_json(body, ret); /* no JSON text begins above 0x7f */
	return rc == 0 && ret->token[0] == '\0' ? CW_EPROTO : rc;
}

/* ---- pages ---- */

static int take_message(struct cw_bytes item, void (*each)(void *ctx, struct cw_bytes topic, struct cw_bytes payload),
			void *ctx)
{
	struct cw_bytes topic = cw_map_text(item, "topic"), payload = cw_map_text(item, "payload");
	uint8_t *bytes;
	size_t len;
	int rc;

	if (topic.len == 0)
		return CW_EPROTO;
	bytes = cw_alloc(payload.len / 4 * 3 + 2);
	if (bytes == NULL)
		return CW_ENOMEM;
	rc = cw_base64_decode(bytes, &len, payload);
	if (rc == 0)
		each(ctx, topic, cw_bytes_of(bytes, len));
	cw_free(bytes);
	return rc;
}

int cw_coap_page(struct cw_bytes body, void (*each)(void *ctx, struct cw_bytes topic, struct cw_bytes payload),
		 void *ctx, unsigned *ret_odd)
{
	uint8_t *item;
	size_t len;
	struct cw_reader r;
	struct cw_item list;
	int rc = body.len > PAGE_MOST ? CW_EPROTO : cw_json_to_item(body, &item, &len), n = 0;

	*ret_odd = 0;
	if (rc < 0)
		return rc == CW_ENOMEM ? rc : CW_EPROTO;
	r = cw_reader_of(cw_bytes_of(item, len));
	list = cw_read_item(&r);
	rc = list.type == CW_ITEM_ARRAY ? 0 : CW_EPROTO;
	while (rc == 0 && cw_item_more(&r, &list)) {
		if (take_message(cw_read_whole_item(&r), each, ctx) < 0)
			++*ret_odd;
		n++;
	}
	cw_free(item);
	return rc < 0 ? rc : n;
}
