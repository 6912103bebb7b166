/* What the platform's CoAP access wants signed, encrypted and spelled, against the shared vectors; and what comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "causeway/record.h"
#include "upstream/coap/codes.h"
#include "upstream/coap/crypt.h"
#include "upstream/coap/login.h"
#include "upstream/coap/place.h"
#include "vectors.h"

#define PK "a1EmuPk0001"
#define DN "dev-0001"
#define SECRET "0123456789abcdef0123456789abcdef"

static int load(void **state)
{
	return vectors_read("tests/vectors/cloud-coap.json");
}

static struct cw_bytes section(const char *name)
{
	return cw_map_get(cw_bytes_of(vectors, vectors_len), name);
}

static const char *text_of(struct cw_bytes map, const char *key, char out[512])
{
	struct cw_bytes s = cw_map_text(map, key);

	snprintf(out, 512, "%.*s", (int)s.len, (const char *)s.ptr);
	return out;
}

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2, i;

	for (i = 0; i < n; i++) {
		unsigned v;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
	return n;
}

static void the_key(uint8_t key[COAP_KEY_BYTES])
{
	char random[512], hex[512];
	uint8_t want[256];

	assert_int_equal(cw_coap_key(SECRET, text_of(section("keyDerivation"), "random", random), key), 0);
	assert_int_equal(from_hex(text_of(section("keyDerivation"), "keyHex", hex), want), COAP_KEY_BYTES);
	assert_memory_equal(key, want, COAP_KEY_BYTES);
}

/* Members of a list in the vectors. */
#define each_vector(v, name)                                                                                           \
	for (struct cw_bytes list_ = section(name), v, *once_ = &list_; once_ != NULL; once_ = NULL)                   \
		for (struct cw_reader r_ = cw_reader_of(list_), *r1_ = &r_; r1_ != NULL; r1_ = NULL)                   \
			for (struct cw_item a_ = cw_read_item(&r_);                                                    \
			     cw_item_more(&r_, &a_) && (v = cw_read_whole_item(&r_)).len > 0;)

/* covers: I18 I19 */
static void keys_and_payloads(void **state)
{
	uint8_t key[COAP_KEY_BYTES], out[512], back[512], want[512];
	char plain[512], hex[512];
	int n = 0;

	the_key(key);
	each_vector(v, "payload")
	{
		size_t len = strlen(text_of(v, "plaintext", plain)),
		       cipher = from_hex(text_of(v, "cipherHex", hex), want), got;

		if (cw_map_text(v, "plaintextHex").len > 0)
			len = from_hex(text_of(v, "plaintextHex", hex), (uint8_t *)plain);
		assert_int_equal(cw_coap_encrypt(key, plain, len, out), cipher);
		assert_memory_equal(out, want, cipher);
		assert_int_equal(cw_coap_decrypt(key, out, cipher, back, &got), 0);
		assert_int_equal(got, len);
		assert_memory_equal(back, plain, len);
		n++;
	}
	assert_true(n >= 4);
}

/* covers: I17 */
static void sequence_numbers(void **state)
{
	uint8_t key[COAP_KEY_BYTES], out[COAP_BLOCK], want[256];
	char plain[512], hex[512];
	int n = 0;

	the_key(key);
	each_vector(v, "seqOption2089")
	{
		(void)text_of(v, "seq", plain);
		assert_int_equal(cw_coap_encrypt(key, plain, strlen(plain), out), COAP_BLOCK);
		assert_int_equal(from_hex(text_of(v, "optionHex", hex), want), COAP_BLOCK);
		assert_memory_equal(out, want, COAP_BLOCK);
		n++;
	}
	assert_true(n >= 6);
}

static void ciphers_that_are_none_are_refused(void **state)
{
	uint8_t key[COAP_KEY_BYTES] = { 1 }, out[64] = { 0 }, bad[64];
	size_t len, i, refused = 0;

	assert_int_equal(cw_coap_decrypt(key, out, 0, bad, &len), CW_EPROTO);
	assert_int_equal(cw_coap_decrypt(key, out, 15, bad, &len), CW_EPROTO);
	assert_int_equal(cw_coap_encrypt(key, "some words of a payload", 23, out), 32);
	for (i = 16; i < 32; i++) { /* a bit of the last block spoils its padding nearly always */
		out[i] ^= 1;
		refused += cw_coap_decrypt(key, out, 32, bad, &len) == CW_EPROTO;
		out[i] ^= 1;
	}
	assert_true(refused >= 15);
}

/* covers: I26 I27 */
static void pre_shared_keys(void **state)
{
	struct coap_psk psk;
	char method_name[512], want[512], timestamp[512];
	int n = 0;

	each_vector(v, "dtlsPsk")
	{
		enum cw_sign_method method;

		if (strcmp(text_of(v, "timestamp", timestamp), "2524608000000") != 0)
			continue;
		assert_int_equal(cw_sign_method_parse(text_of(v, "signMethod", method_name), &method), 0);
		assert_int_equal(cw_coap_psk(&psk, method, PK, DN, SECRET), 0);
		assert_string_equal(psk.identity, text_of(v, "pskIdentity", want));
		assert_string_equal(psk.key, text_of(v, "pskAscii", want));
		n++;
	}
	assert_true(n >= 1);
	memset(want, 'x', 300);
	want[300] = '\0';
	assert_int_equal(cw_coap_psk(&psk, CW_SIGN_SHA256, want, DN, SECRET), CW_ELIMIT);
}

/* covers: I11 I12 */
static void contents_that_are_signed(void **state)
{
	char want[512], content[512], hex[CW_SIGN_HEX_MAX], sign[512], method_name[512];
	int n = 0;

	each_vector(v, "auth")
	{
		struct cw_bytes body = cw_map_get(v, "body");
		char seq[512];
		struct coap_login l = { .product_key = PK, .device_name = DN, .secret = SECRET };
		struct cw_item ack = cw_map_item(body, "ackMode");

		/* What this side sends: client id with '&', texts only, no time stamp. */
		if (cw_map_text(body, "timestamp").len > 0 ||
		    strstr(text_of(body, "clientId", want), PK "&" DN) == NULL)
			continue;
		assert_int_equal(cw_sign_method_parse(text_of(v, "signmethodUsed", method_name), &l.method), 0);
		l.seq = text_of(body, "seq", seq)[0] != '\0' ? seq : NULL;
		l.separate = ack.type == CW_ITEM_TEXT && ack.s.ptr[0] == '1';
		assert_int_equal(cw_coap_login_content(&l, content, sizeof(content)), 0);
		assert_string_equal(content, text_of(v, "content", want));
		assert_int_equal(cw_sign_hmac(l.method, SECRET, content, hex), 0);
		assert_string_equal(hex, text_of(v, "sign", sign));
		n++;
	}
	assert_true(n >= 3);
}

static void bodies_hold_what_is_signed(void **state)
{
	struct coap_login l = {
		.product_key = PK, .device_name = DN, .secret = SECRET, .method = CW_SIGN_SHA1, .seq = "16"
	};
	uint8_t body[COAP_BODY_BYTES], *item;
	size_t len, item_len;
	int format;

	for (format = 0; format < 2; format++) {
		struct cw_bytes map;

		l.format = format == 0 ? COAP_FORMAT_JSON : COAP_FORMAT_CBOR;
		assert_int_equal(cw_coap_login_body(&l, body, &len), 0);
		if (format == 0)
			assert_int_equal(cw_json_to_item(cw_bytes_of(body, len), &item, &item_len), 0);
		map = format == 0 ? cw_bytes_of(item, item_len)
				  : cw_bytes_of(body, len); /* a record's encoding is CBOR */
		assert_true(cw_bytes_equal(cw_map_text(map, "clientId"), cw_bytes_text(PK "&" DN)));
		assert_true(cw_bytes_equal(cw_map_text(map, "seq"), cw_bytes_text("16")));
		assert_true(cw_bytes_equal(cw_map_text(map, "signmethod"), cw_bytes_text("hmacsha1")));
		assert_int_equal(cw_map_text(map, "sign").len, 40);
		assert_int_equal(cw_map_text(map, "ackMode").len, 0);
		if (format == 0)
			cw_free(item);
	}
}

/* covers: I13 */
static void client_ids_stay_within_64_characters(void **state)
{
	char name[64], content[512];
	struct coap_login l = { .product_key = PK, .device_name = name, .secret = SECRET };

	memset(name, 'd', 63);
	name[63] = '\0';
	assert_int_equal(cw_coap_login_content(&l, content, sizeof(content)), 0);
	assert_non_null(strstr(content, "deviceName"));
	assert_int_equal(strstr(content, "deviceName") - content, strlen("clientId") + 63);
}

static int answer(const void *body, size_t len, struct coap_pass *pass)
{
	uint8_t *exact = malloc(len + (len == 0)); /* so that a sanitizer sees a byte too much */
	int rc;

	memcpy(exact, body, len);
	rc = cw_coap_login_answer(cw_bytes_of(exact, len), pass);
	free(exact);
	return rc;
}

/* covers: I15 */
static void answers_to_logins(void **state)
{
	static const char json[] =
		"{\"random\":\"ad2b3a5eb51d64f7\",\"seqOffset\":3,\"more\":{\"x\":[1,2]},\"token\":\"MZ8m.ad2b\"}";
	static const uint8_t cbor[] = "\xa4\x66random\x70"
				      "ad2b3a5eb51d64f7\x69seqOffset\x18\x40\x64more\xf6\x65token\x69MZ8m.ad2b";
	static const uint8_t open[] = "\xbf\x65token\x61t\xff";
	struct coap_pass pass;
	size_t n;

	assert_int_equal(answer(json, sizeof(json) - 1, &pass), 0);
	assert_string_equal(pass.token, "MZ8m.ad2b");
	assert_string_equal(pass.random, "ad2b3a5eb51d64f7");
	assert_int_equal(pass.seq_offset, 3);
	assert_int_equal(answer(cbor, sizeof(cbor) - 1, &pass), 0);
	assert_string_equal(pass.token, "MZ8m.ad2b");
	assert_int_equal(pass.seq_offset, 64);
	assert_int_equal(answer(open, sizeof(open) - 1, &pass), 0);
	assert_string_equal(pass.random, "");
	for (n = 0; n < sizeof(json) - 1; n++)
		assert_int_equal(answer(json, n, &pass), CW_EPROTO);
	for (n = 0; n < sizeof(cbor) - 1; n++)
		assert_int_equal(answer(cbor, n, &pass), CW_EPROTO);
}

static void answers_that_are_none(void **state)
{
	static const char *const texts[] = {
		"", "[]", "{}", "{\"token\":1}", "{\"token\":\"\"}", "{\"token\":\"a\\u0000b\"}", "x"
	};
	static const uint8_t bomb[] = "\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x65token\x61t"; /* 2^64 members */
	char huge[2000];
	struct coap_pass pass;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(answer(texts[i], strlen(texts[i]), &pass), CW_EPROTO);
	assert_int_equal(answer(bomb, sizeof(bomb) - 1, &pass), CW_EPROTO);
	memset(huge, 'x', sizeof(huge));
	memcpy(huge, "{\"token\":\"", 10);
	memcpy(huge + sizeof(huge) - 2, "\"}", 2);
	assert_int_equal(answer(huge, sizeof(huge), &pass), CW_EPROTO);
}

static char pulled[512];

static void on_message(void *ctx, struct cw_bytes topic, struct cw_bytes payload)
{
	size_t n = strlen(pulled);

	snprintf(pulled + n, sizeof(pulled) - n, "%.*s=%.*s;", (int)topic.len, (const char *)topic.ptr,
		 (int)payload.len, (const char *)payload.ptr);
}

static int page(const char *text, unsigned *ret_odd)
{
	pulled[0] = '\0';
	return cw_coap_page(cw_bytes_text(text), on_message, NULL, ret_odd);
}

static void pages_of_messages(void **state)
{
	unsigned odd;

	assert_int_equal(page("[]", &odd), 0);
	assert_int_equal(page("[{\"messageId\":\"1\",\"topic\":\"/a/b/c\",\"payload\":\"aGVsbG8=\",\"qos\":1},"
			      "{\"topic\":\"/a/b/d\",\"payload\":\"\"}]",
			      &odd),
			 2);
	assert_string_equal(pulled, "/a/b/c=hello;/a/b/d=;");
	assert_int_equal(odd, 0);
	assert_int_equal(page("[1,{\"topic\":\"/x\",\"payload\":\"%%\"},{\"payload\":\"aGk=\"},{\"topic\":\"/"
			      "y\",\"payload\":\"aGk\"}]",
			      &odd),
			 4);
	assert_string_equal(pulled, "/y=hi;");
	assert_int_equal(odd, 3);
	assert_int_equal(page("{}", &odd), CW_EPROTO);
	assert_int_equal(page("nonsense", &odd), CW_EPROTO);
}

static void no_memory_is_said(void **state)
{
	struct coap_login l = { .product_key = PK, .device_name = DN, .secret = SECRET, .method = CW_SIGN_SHA1, .format = COAP_FORMAT_JSON };
	long before = cw_mem_live();
	uint8_t body[COAP_BODY_BYTES];
	unsigned odd;
	size_t len;
	int n, failed;

	for (n = 0, failed = 1; failed; n++) {
		int made, read;

		cw_mem_fail_at(n);
		made = cw_coap_login_body(&l, body, &len);
		read = page("[{\"topic\":\"/a\",\"payload\":\"aGk=\"}]", &odd);
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		assert_true(!failed ? made == 0 && read == 1 : made < 0 || read == CW_ENOMEM || odd == 1);
		assert_true(read == 1 || pulled[0] == '\0');
		assert_int_equal(cw_mem_live(), before);
	}
	assert_true(n > 1);
}

/* covers: I06 I07 */
static void endpoints(void **state)
{
	static const struct {
		const char *text, *host, *port;
		int secure;
	} good[] = {
		{ "coaps://h.example", "h.example", "5684", 1 },
		{ "coap://h.example", "h.example", "5682", 0 },
		{ "coap://127.0.0.1:1", "127.0.0.1", "1", 0 },
		{ "coaps://[2001:db8::1]:65535", "2001:db8::1", "65535", 1 },
		{ "coaps://[::1]", "::1", "5684", 1 },
	};
	static const char *const bad[] = { "mqtt://h:1",    "coaps://",     "coaps://h:0", "coaps://h:65536",
					   "coaps://h:x",   "coaps://h:1x", "coap://[::1", "coap://[::1]x",
					   "coap://h/path", "coap://:1" };
	struct cw_endpoint e;
	char host[PLACE_HOST_BYTES];
	struct cw_msg msg;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(cw_endpoint_parse(good[i].text, &cw_coap_endpoint_form, &e, &msg), 0);
		assert_string_equal(e.host, good[i].host);
		assert_string_equal(e.port, good[i].port);
		assert_int_equal(e.scheme->tls, good[i].secure);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cw_endpoint_parse(bad[i], &cw_coap_endpoint_form, &e, &msg), CW_ECONF);
	assert_int_equal(cw_endpoint_parse("coaps://${productKey}.coap.cn-shanghai.link.aliyuncs.com:5684", &cw_coap_endpoint_form, &e, &msg),
			 0);
	assert_int_equal(cw_coap_host_of(&e, PK, host), 0);
	assert_string_equal(host, PK ".coap.cn-shanghai.link.aliyuncs.com");
}

/* covers: I31 */
static void codes(void **state)
{
	static const struct {
		int code;
		enum coap_action with_token, at_auth;
	} all[] = {
		{ 205, COAP_DONE, COAP_DONE },       { 204, COAP_DONE, COAP_DONE },
		{ 400, COAP_REFUSED, COAP_REFUSED }, { 401, COAP_RELOGIN, COAP_REFUSED },
		{ 402, COAP_RELOGIN, COAP_REFUSED }, { 403, COAP_REFUSED, COAP_REFUSED },
		{ 404, COAP_REFUSED, COAP_REFUSED }, { 405, COAP_REFUSED, COAP_REFUSED },
		{ 406, COAP_REFUSED, COAP_REFUSED }, { 413, COAP_REFUSED, COAP_REFUSED },
		{ 415, COAP_REFUSED, COAP_REFUSED }, { 429, COAP_LATER, COAP_LATER },
		{ 500, COAP_LATER, COAP_LATER },     { 503, COAP_LATER, COAP_LATER },
		{ 531, COAP_LATER, COAP_LATER },     { 499, COAP_REFUSED, COAP_REFUSED },
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(cw_coap_code_action(all[i].code), all[i].with_token);
		assert_int_equal(cw_coap_auth_action(all[i].code), all[i].at_auth);
		assert_true(strlen(cw_coap_code_text(all[i].code)) > 5 && strlen(cw_coap_auth_text(all[i].code)) > 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_and_payloads),
		cmocka_unit_test(sequence_numbers),
		cmocka_unit_test(ciphers_that_are_none_are_refused),
		cmocka_unit_test(pre_shared_keys),
		cmocka_unit_test(contents_that_are_signed),
		cmocka_unit_test(bodies_hold_what_is_signed),
		cmocka_unit_test(client_ids_stay_within_64_characters),
		cmocka_unit_test(answers_to_logins),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(pages_of_messages),
		cmocka_unit_test(no_memory_is_said),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(codes),
	};

	return cmocka_run_group_tests(tests, load, vectors_free);
}
