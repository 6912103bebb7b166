/* CoAP without sockets: key and cipher by published vectors, sequence numbers, bodies, requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/coap/request.h"
#include "cloud/coap/session.h"
#include "cloud/core/login/psk.h"
#include "cloud/core/login/sign.h"

#define PK "a1EmuPk0001"
#define DN "dev-0001"
#define SECRET "0123456789abcdef0123456789abcdef"

static json_t *vectors;

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = strlen(text) / 2, i;
	unsigned byte;

	for (i = 0; i < n; i++) {
		assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
	return n;
}

static const char *text_of(const json_t *j, const char *name)
{
	return json_string_value(json_object_get(j, name));
}

static void read_key(uint8_t key[COAP_KEY_BYTES])
{
	const json_t *v = json_object_get(vectors, "keyDerivation");
	uint8_t want[COAP_KEY_BYTES];

	assert_int_equal(unhex(text_of(v, "keyHex"), want), COAP_KEY_BYTES);
	assert_int_equal(cw_cloud_coap_key(SECRET, text_of(v, "random"), key), 0);
	assert_memory_equal(key, want, COAP_KEY_BYTES);
}

static void crosses(const uint8_t *key, const void *plain, size_t len, const char *hex)
{
	uint8_t want[256], got[256], back[256];
	size_t want_len = unhex(hex, want), n = 0;

	assert_int_equal(cw_cloud_coap_encrypt(key, plain, len, got, &n), 0);
	assert_int_equal(n, want_len);
	assert_int_equal(n, COAP_CIPHER_LEN(len));
	assert_memory_equal(got, want, n);
	assert_int_equal(cw_cloud_coap_decrypt(key, got, n, back, &n), 0);
	assert_int_equal(n, len);
	assert_memory_equal(back, plain, len);
}

static void test_cipher(void **state)
{
	uint8_t key[COAP_KEY_BYTES], plain[256], out[256];
	const json_t *reply = json_object_get(vectors, "response");
	json_t *v;
	size_t i, n;

	read_key(key);
	json_array_foreach (json_object_get(vectors, "seqOption2089"), i, v)
		crosses(key, text_of(v, "seq"), strlen(text_of(v, "seq")), text_of(v, "optionHex"));
	json_array_foreach (json_object_get(vectors, "payload"), i, v) {
		if (text_of(v, "plaintext") != NULL) {
			crosses(key, text_of(v, "plaintext"), strlen(text_of(v, "plaintext")), text_of(v, "cipherHex"));
		} else {
			n = unhex(text_of(v, "plaintextHex"), plain);
			crosses(key, plain, n, text_of(v, "cipherHex"));
		}
	}
	crosses(key, text_of(reply, "plaintext"), strlen(text_of(reply, "plaintext")), text_of(reply, "cipherHex"));
	memset(plain, 0, sizeof(plain));
	assert_int_equal(cw_cloud_coap_decrypt(key, plain, 0, out, &n), CW_EINVAL);
	assert_int_equal(cw_cloud_coap_decrypt(key, plain, 15, out, &n), CW_EINVAL);
	assert_int_equal(cw_cloud_coap_decrypt(key, plain, 16, out, &n), CW_EINVAL);
}

static void test_contents_and_signs(void **state)
{
	struct coap_fields f;
	char content[COAP_BODY_BYTES];
	enum cloud_hmac method;
	json_t *v;
	size_t i, n;

	json_array_foreach (json_object_get(vectors, "auth"), i, v) {
		char *body = json_dumps(json_object_get(v, "body"), JSON_COMPACT);
		const char *name = text_of(v, "signmethodUsed"), *sign = text_of(v, "sign");

		assert_int_equal(cw_cloud_coap_fields(body, strlen(body), COAP_FORMAT_JSON, &f), 0);
		free(body);
		n = cw_cloud_coap_content(&f, content, sizeof(content));
		assert_int_equal(n, strlen(text_of(v, "content")));
		assert_memory_equal(content, text_of(v, "content"), n);
		assert_int_equal(cw_cloud_hmac_parse(name, strlen(name), &method), 0);
		assert_true(cw_cloud_hmac_matches(method, SECRET, content, n, sign, strlen(sign)));
	}
	assert_true(i > 8);
}

static int fields(const void *data, size_t len, enum coap_format format)
{
	struct coap_fields f;

	return cw_cloud_coap_fields(data, len, format, &f);
}

static void test_bodies(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "\"a\"", "{\"a\":{}}", "{\"a\":null}", "{\"a\":1.5}", "{\"a\":\"1\",\"a\":\"2\"}"
	};
	struct coap_fields f;
	uint8_t out[64];
	size_t i, n;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(fields(bad[i], strlen(bad[i]), COAP_FORMAT_JSON), CW_EINVAL);
	n = cw_cloud_coap_object((struct coap_pair[]){ { .name = "b", .text = "x" }, { .name = "a", .number = 300 } },
				 2, COAP_FORMAT_CBOR, out, sizeof(out));
	assert_int_equal(cw_cloud_coap_fields(out, n, COAP_FORMAT_CBOR, &f), 0);
	assert_int_equal(f.count, 2);
	assert_true(cw_cloud_text_is(&f.at[0].name, "a") && cw_cloud_text_is(&f.at[0].value, "300"));
	for (i = 0; i < n; i++)
		assert_int_equal(fields(out, i, COAP_FORMAT_CBOR), CW_EINVAL);
	assert_int_equal(fields("\xbf\x61"
				"a\x01\xff",
				5, COAP_FORMAT_CBOR),
			 0); /* until a break */
	assert_int_equal(fields("\xbf\x61"
				"a\xff",
				4, COAP_FORMAT_CBOR),
			 CW_EINVAL); /* which comes early */
	assert_int_equal(fields("\xbb\xff\xff\xff\xff\xff\xff\xff\xff", 9, COAP_FORMAT_CBOR),
			 CW_EINVAL); /* a huge map */
	assert_int_equal(fields("\xa1\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 10, COAP_FORMAT_CBOR),
			 CW_EINVAL); /* a huge text */
	assert_int_equal(fields("\xa1\x61"
				"a\xa1\x61"
				"b\x01",
				7, COAP_FORMAT_CBOR),
			 CW_EINVAL); /* nested */
	assert_int_equal(fields("\xa1\x61"
				"a\x01\x01",
				5, COAP_FORMAT_CBOR),
			 CW_EINVAL); /* more behind it */
}

static void test_sequences(void **state)
{
	struct coap_seqs s = { .at = NULL };
	uint64_t i;

	for (i = 5; i < 5000; i++)
		assert_int_equal(cw_cloud_coap_seq_use(&s, i), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 5), CW_EEXIST);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 4999), CW_EEXIST);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 5001), 0);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 3), 0);
	assert_int_equal(s.count, 3);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 5000), 0); /* closes a gap */
	assert_int_equal(cw_cloud_coap_seq_use(&s, 4), 0);
	assert_int_equal(s.count, 1);
	for (i = 1; i < COAP_SEQ_RANGES; i++)
		assert_int_equal(cw_cloud_coap_seq_use(&s, 1000000 - 2 * i), 0);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 2000000), CW_ELIMIT);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 1000001), CW_ELIMIT);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 5002), 0); /* no new gap */
	cw_cloud_coap_seq_fini(&s);
	cw_mem_fail_at(0);
	assert_int_equal(cw_cloud_coap_seq_use(&s, 1), CW_ENOMEM);
	cw_mem_fail_at(-1);
	assert_int_equal(cw_mem_live(), 0);
}

static void test_repeated_messages(void **state)
{
	struct coap_answer a = { .code = 205 };
	struct coap_peers all;
	struct coap_peer *p;
	uint64_t i;

	cw_cloud_coap_peers_init(&all, 2);
	p = cw_cloud_coap_peer(&all, "one");
	for (i = 0; i <= COAP_RECENT; i++) {
		a.len = i;
		cw_cloud_coap_remember(p, i, &a, 1000);
	}
	assert_null(cw_cloud_coap_recall(p, 0, 1000)); /* gave way */
	assert_int_equal(cw_cloud_coap_recall(p, 1, 1000)->len, 1);
	assert_null(cw_cloud_coap_recall(p, 1, 1000 + COAP_RECENT_MS));
	assert_non_null(cw_cloud_coap_peer(&all, "two"));
	assert_ptr_equal(cw_cloud_coap_peer(&all, "one"), p);
	assert_non_null(cw_cloud_coap_peer(&all, "three")); /* two gives way */
	assert_int_equal(all.map.count, 2);
	assert_ptr_equal(cw_cloud_coap_peer(&all, "one"), p);
	assert_non_null(cw_cloud_coap_recall(p, 1, 1000));
	cw_cloud_coap_peers_fini(&all);
	assert_int_equal(cw_mem_live(), 0);
}

static void test_keys_of_identities(void **state)
{
	struct cloud_conf conf;
	struct cw_worker *worker;
	struct cw_cloud *c;
	struct cloud_product *product;
	struct cloud_device *d;
	struct cw_msg msg = { "" };
	char key[CLOUD_PSK_MAX];
	json_t *v;
	size_t i;
	static const char *const bad[] = { "",
					   "devicename",
					   "devicename|hmacmd5|" PK "&" DN,
					   "x|hmacmd5|" PK "&" DN "|1",
					   "devicename|hmacmd5|" PK "&" DN "|1|2",
					   "devicename|hmacmd5|" PK DN "|1",
					   "devicename|hmac|" PK "&" DN "|1",
					   "devicename|hmacmd5|" PK "&other|1" };

	cw_cloud_conf_default(&conf);
	assert_int_equal(cw_worker_new("t", 0, &worker), 0);
	assert_int_equal(cw_cloud_new(worker, &conf, &c), 0);
	assert_int_equal(cw_cloud_product_add(c, PK, NULL, CLOUD_NODE_DEVICE, &product, &msg), 0);
	assert_int_equal(cw_cloud_device_add(c, product, DN, SECRET, &d, &msg), 0);
	json_array_foreach (json_object_get(vectors, "dtlsPsk"), i, v) {
		const char *identity = text_of(v, "pskIdentity"), *want = text_of(v, "pskAscii"),
			   *manual = text_of(json_object_get(v, "alternativeByManualText"), "pskAsciiUpper");

		c->conf.switches.psk_manual = 0;
		assert_int_equal(cw_cloud_psk_key(c, identity, strlen(identity), key, sizeof(key)), strlen(want));
		assert_memory_equal(key, want, strlen(want));
		assert_int_equal(cw_cloud_psk_key(c, identity, strlen(identity), key, (unsigned)strlen(want) - 1), 0);
		c->conf.switches.psk_manual = 1;
		assert_int_equal(cw_cloud_psk_key(c, identity, strlen(identity), key, sizeof(key)), strlen(manual));
		assert_memory_equal(key, manual, strlen(manual));
	}
	assert_true(i > 3);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cw_cloud_psk_key(c, bad[i], strlen(bad[i]), key, sizeof(key)), 0);
	cw_cloud_free(c);
	cw_worker_free(worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cipher),
		cmocka_unit_test(test_contents_and_signs),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_repeated_messages),
		cmocka_unit_test(test_keys_of_identities),
	};
	int rc;

	cw_log_set_level(CW_LOG_ERROR);
	vectors = json_load_file("tests/vectors/cloud-coap.json", 0, NULL);
	if (vectors == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	json_decref(vectors);
	return rc;
}
