/* Replies as a firmware reads them. covers: B10 B11 B12 B13 B14 B15 B54 B55 B59 B60 B63 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "factory/clients/c/triple_burn.h"

#define PK "a1B2c3D4e5F"
#define DS "0123456789abcdef0123456789abcdef"
#define PS "PSfedcba9876543210"
#define HEAD "{\"ProductKey\":\"" PK "\",\"ProductSecret\":\"" PS "\",\"DeviceSecret\":\"" DS "\","
#define TAIL ",\"DeviceName\":\"board-0001\",\"DeviceID\":\"AA00BB11\",\"Status\":\"OK\"}"
#define GOOD HEAD "\"CRC32\":\"D78BA0C6\"" TAIL

struct buffers {
	char pk[PRODUCT_KEY_LEN + 1], dn[DEVICE_NAME_LEN + 1], ps[PRODUCT_SECRET_LEN + 1], ds[DEVICE_SECRET_LEN + 1], did[DEVICE_ID_LEN + 1];
};

static int parse(const char *data, struct buffers *b)
{
	struct buffers before;
	int rc;

	memset(b, 'x', sizeof(*b));
	before = *b;
	rc = parse_data(data, b->pk, b->dn, b->ps, b->ds, b->did);
	if (rc != 0)
		assert_memory_equal(b, &before, sizeof(before)); /* untouched */
	return rc;
}

static void good(const char *data)
{
	struct buffers b;

	if (parse(data, &b) != 0)
		fail_msg("refused: %s", data);
	assert_string_equal(b.pk, PK);
	assert_string_equal(b.dn, "board-0001");
	assert_string_equal(b.ps, PS);
	assert_string_equal(b.ds, DS);
}

static void bad(const char *data, int rc)
{
	struct buffers b;
	int got = parse(data, &b);

	if (got != rc)
		fail_msg("%d instead of %d: %s", got, rc, data);
}

static void whole_reply(void **state)
{
	struct buffers b;

	good(GOOD);
	assert_int_equal(parse(GOOD, &b), 0);
	assert_string_equal(b.did, "AA00BB11");
	good(" \t\r\n" GOOD "\r\n ");
	/* Members it does not know, also with the names it does know deeper down. */
	good(HEAD "\"Line\":7,\"More\":{\"Status\":\"BAD\",\"x\":[1,-0.5e+3,\"\\\"]}\",true,false,null,[],{}]},\"CRC32\":\"D78BA0C6\"" TAIL);
	/* The same texts, written with escapes. */
	good("{\"Product\\u004bey\":\"\\u00611B2c3D4e5F\",\"ProductSecret\":\"" PS "\",\"DeviceSecret\":\"" DS
	     "\",\"CRC32\":\"D78BA0C6\"" TAIL);
}

static void without_device_id(void **state)
{
	struct buffers b;

	assert_int_equal(parse(HEAD "\"CRC32\":3616252102,\"DeviceName\":\"board-0001\",\"Status\":\"OK\"}", &b), 0);
	assert_int_equal(b.did[0], 'x'); /* as it was */
	assert_int_equal(parse(HEAD "\"CRC32\":3616252102,\"DeviceName\":\"board-0001\",\"DeviceID\":null,\"Status\":\"OK\"}", &b), 0);
	assert_int_equal(b.did[0], 'x');
}

static void crc_forms(void **state)
{
	assert_int_equal(calc_crc32("123456789"), 0xCBF43926);
	assert_int_equal(calc_crc32(""), 0);
	good(HEAD "\"CRC32\":3616252102" TAIL);
	good(HEAD "\"CRC32\":\"d78ba0c6\"" TAIL);
	bad(HEAD "\"CRC32\":\"D78BA0C7\"" TAIL, TRIPLE_BURN_CRC);
	bad(HEAD "\"CRC32\":3616252103" TAIL, TRIPLE_BURN_CRC);
	bad(HEAD "\"CRC32\":7911219398" TAIL, TRIPLE_BURN_INVALID); /* the same modulo 2^32 */
	bad(HEAD "\"CRC32\":\"0D78BA0C6\"" TAIL, TRIPLE_BURN_INVALID);
	bad(HEAD "\"CRC32\":\"\"" TAIL, TRIPLE_BURN_INVALID);
	bad(HEAD "\"CRC32\":\"D78BA0CG\"" TAIL, TRIPLE_BURN_INVALID);
	bad(HEAD "\"CRC32\":-3616252102" TAIL, TRIPLE_BURN_INVALID);
	bad(HEAD "\"CRC32\":3616252102.0" TAIL, TRIPLE_BURN_INVALID);
	bad(HEAD "\"CRC32\":03616252102" TAIL, TRIPLE_BURN_INVALID);
	bad(HEAD "\"CRC32\":null" TAIL, TRIPLE_BURN_INVALID);
	bad(HEAD "\"CRC32\":true" TAIL, TRIPLE_BURN_INVALID);
}

/* 00D3DCDF of board-0262: with zeros in front, without, lower case, and as a number. */
static void crc_leading_zeros(void **state)
{
	static const char *const forms[] = { "\"00D3DCDF\"", "\"D3DCDF\"", "\"0d3dcdf\"", "13884639" };
	char text[400];
	struct buffers b;
	size_t i;

	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		(void)snprintf(text, sizeof(text), HEAD "\"CRC32\":%s,\"DeviceName\":\"board-0262\",\"Status\":\"OK\"}", forms[i]);
		assert_int_equal(parse(text, &b), 0);
		assert_string_equal(b.dn, "board-0262");
	}
}

static void product_id_and_order(void **state)
{
	struct triple_burn_conf conf = { .product_id = "8421" };
	struct triple_burn_cert cert;
	static const char bluetooth[] = HEAD "\"CRC32\":\"C189FC18\"" TAIL;
	char text[400];
	uint32_t prose;

	bad(bluetooth, TRIPLE_BURN_CRC);
	assert_int_equal(parse_cert(&conf, bluetooth, &cert), 0);
	assert_int_equal(parse_cert(&conf, GOOD, &cert), 0);
	good(HEAD "\"ProductID\":\"8421\",\"CRC32\":3247045656" TAIL);
	good(HEAD "\"ProductID\":8421,\"CRC32\":\"C189FC18\"" TAIL);
	good(HEAD "\"ProductID\":\"8421\",\"CRC32\":\"D78BA0C6\"" TAIL);
	bad(HEAD "\"ProductID\":\"8422\",\"CRC32\":\"C189FC18\"" TAIL, TRIPLE_BURN_CRC);
	/* The order of the documents' text, where somebody says so. */
	prose = calc_crc32(PK PS "board-0001" DS);
	(void)snprintf(text, sizeof(text), HEAD "\"CRC32\":\"%08X\"" TAIL, prose);
	bad(text, TRIPLE_BURN_CRC);
	conf.crc_order = TRIPLE_BURN_PK_PS_DN_DS;
	assert_int_equal(parse_cert(&conf, text, &cert), 0);
	assert_int_equal(parse_cert(&conf, GOOD, &cert), TRIPLE_BURN_CRC);
}

static void refusals(void **state)
{
	char status[8];

	bad("{\"ProductKey\":\"" PK "\",\"DeviceID\":\"AA\",\"Status\":\"OUT_OF_STOCK\",\"Message\":\"nothing left\"}", TRIPLE_BURN_REFUSED);
	bad(HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"board-0001\",\"Status\":\"ok\"}", TRIPLE_BURN_REFUSED);
	bad("{\"ProductKey\":\"" PK "\",\"DeviceID\":\"AA\",\"Status\":\"OK\"}", TRIPLE_BURN_INVALID);
	assert_int_equal(parse_status("{\"Status\":\"OK\"}", status, sizeof(status)), 0);
	assert_string_equal(status, "OK");
	assert_int_equal(parse_status("{\"Status\":\"UNKNOWN_DEVICE\"}", status, sizeof(status)), TRIPLE_BURN_REFUSED);
	assert_string_equal(status, "UNKNOWN");
	assert_int_equal(parse_status("{\"Status\":\"BUSY\"}", NULL, 0), TRIPLE_BURN_REFUSED);
	assert_int_equal(parse_status("{}", status, sizeof(status)), TRIPLE_BURN_INVALID);
	assert_int_equal(parse_status("", status, sizeof(status)), TRIPLE_BURN_INVALID);
	assert_int_equal(parse_status(NULL, status, sizeof(status)), TRIPLE_BURN_INVALID);
}

static void every_beginning_is_refused(void **state)
{
	char text[sizeof(GOOD)];
	size_t len;

	for (len = 0; len < sizeof(GOOD) - 1; len++) {
		memcpy(text, GOOD, len);
		text[len] = '\0';
		bad(text, TRIPLE_BURN_INVALID);
	}
}

static void no_json(void **state)
{
	static const char *const texts[] = {
		"OK", "[]", "null", "\"x\"", "<html></html>", GOOD "x", GOOD GOOD,
		HEAD "\"CRC32\":\"D78BA0C6\",,\"DeviceName\":\"board-0001\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"board-0001\",\"Status\":\"OK\",}",
		HEAD "\"CRC32\":\"D78BA0C6\" \"DeviceName\":\"board-0001\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"board-0001\",\"DeviceName\":\"board-0001\",\"Status\":\"OK\"}", /* twice */
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"board\\-0001\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"board-0001\\u0000\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"\\ud800\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"\\ud800\\u0041\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"\\udc00\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"\\u00g0\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"board\n0001\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":7,\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"DeviceName\":null,\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":[1,],\"DeviceName\":\"board-0001\",\"Status\":\"OK\"}",
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":[1}" TAIL,
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":[[[[[[[[[1]]]]]]]]]" TAIL,
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":tru" TAIL,
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":+1" TAIL,
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":1." TAIL,
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":1e" TAIL,
		HEAD "\"CRC32\":\"D78BA0C6\",\"x\":\"\\ud83d\\u" TAIL,
	};
	size_t i;

	bad(NULL, TRIPLE_BURN_INVALID);
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		bad(texts[i], TRIPLE_BURN_INVALID);
	good(HEAD "\"CRC32\":\"D78BA0C6\",\"x\":[[[[[[[[1]]]]]]]]" TAIL);
}

/* Names and ids of any script: two, three and four bytes of UTF-8 out of escapes. */
static void escapes(void **state)
{
	char text[600];
	struct buffers b;
	uint32_t crc = calc_crc32("p\xC3\xA9\xE4\xBA\xA7\xF0\x9F\x98\x80" "d\"\\/\b\f\n\r\ts");

	(void)snprintf(text, sizeof(text),
		       "{\"ProductKey\":\"p\\u00e9\\u4EA7\\ud83D\\uDE00\",\"DeviceName\":\"d\",\"DeviceSecret\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\","
		       "\"ProductSecret\":\"s\",\"CRC32\":%u,\"Status\":\"OK\"}",
		       crc);
	assert_int_equal(parse(text, &b), 0);
	assert_string_equal(b.pk, "p\xC3\xA9\xE4\xBA\xA7\xF0\x9F\x98\x80");
	assert_string_equal(b.ds, "\"\\/\b\f\n\r\t");
}

static void compose(char *text, size_t size, int pk, int dn, int ds, int ps, int did)
{
	char c[300];
	char all[300];

	memset(c, 'c', sizeof(c));
	(void)snprintf(all, sizeof(all), "%.*s", pk + dn + ds + ps, c);
	(void)snprintf(text, size,
		       "{\"ProductKey\":\"%.*s\",\"DeviceName\":\"%.*s\",\"DeviceSecret\":\"%.*s\",\"ProductSecret\":\"%.*s\",\"DeviceID\":\"%.*s\","
		       "\"CRC32\":%u,\"Status\":\"OK\"}",
		       pk, c, dn, c, ds, c, ps, c, did, c, calc_crc32(all));
}

static void longest_texts(void **state)
{
	static const struct {
		int pk, dn, ds, ps, did, rc;
	} rows[] = {
		{ 20, 32, 64, 64, 128, 0 },
		{ 1, 1, 1, 0, 0, 0 },
		{ 21, 32, 64, 64, 128, TRIPLE_BURN_INVALID },
		{ 20, 33, 64, 64, 128, TRIPLE_BURN_INVALID },
		{ 20, 32, 65, 64, 128, TRIPLE_BURN_INVALID },
		{ 20, 32, 64, 65, 128, TRIPLE_BURN_INVALID },
		{ 20, 32, 64, 64, 129, TRIPLE_BURN_INVALID },
		{ 0, 32, 64, 64, 128, TRIPLE_BURN_INVALID },
		{ 20, 0, 64, 64, 128, TRIPLE_BURN_INVALID },
		{ 20, 32, 0, 64, 128, TRIPLE_BURN_INVALID },
	};
	char text[800];
	struct buffers b;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		compose(text, sizeof(text), rows[i].pk, rows[i].dn, rows[i].ds, rows[i].ps, rows[i].did);
		assert_int_equal(parse(text, &b), rows[i].rc);
		if (rows[i].rc == 0)
			assert_int_equal(strlen(b.ds), rows[i].ds);
	}
}

static void small_buffers(void **state)
{
	char pk[12], dn[11], ps[19], ds[33], did[9];

	assert_int_equal(parse_data_n(NULL, GOOD, pk, 12, dn, 11, ps, 19, ds, 33, did, 9), 0);
	assert_string_equal(did, "AA00BB11");
	assert_int_equal(parse_data_n(NULL, GOOD, pk, 11, dn, 11, ps, 19, ds, 33, did, 9), TRIPLE_BURN_TOO_LONG);
	assert_int_equal(parse_data_n(NULL, GOOD, pk, 12, dn, 10, ps, 19, ds, 33, did, 9), TRIPLE_BURN_TOO_LONG);
	assert_int_equal(parse_data_n(NULL, GOOD, pk, 12, dn, 11, ps, 18, ds, 33, did, 9), TRIPLE_BURN_TOO_LONG);
	assert_int_equal(parse_data_n(NULL, GOOD, pk, 12, dn, 11, ps, 19, ds, 32, did, 9), TRIPLE_BURN_TOO_LONG);
	assert_int_equal(parse_data_n(NULL, GOOD, pk, 12, dn, 11, ps, 19, ds, 33, did, 8), TRIPLE_BURN_TOO_LONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_reply), cmocka_unit_test(without_device_id),          cmocka_unit_test(crc_forms),
		cmocka_unit_test(no_json),     cmocka_unit_test(crc_leading_zeros),          cmocka_unit_test(product_id_and_order),
		cmocka_unit_test(refusals),    cmocka_unit_test(every_beginning_is_refused), cmocka_unit_test(escapes),
		cmocka_unit_test(small_buffers), cmocka_unit_test(longest_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
