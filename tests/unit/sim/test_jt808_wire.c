/* The simulator's messages against the public vectors: byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sim/jt808_wire.h"

/* The wire bytes of a vector by name, from the JSON text; the file keeps one member a line or not, names come before hex. */
static size_t vector(const char *name, uint8_t *out)
{
	static char text[1 << 20];
	char key[120], *at;
	size_t n = 0;
	unsigned v;

	if (text[0] == 0) {
		FILE *in = fopen("tests/vectors/jt808.json", "rb");

		assert_non_null(in);
		assert_true(fread(text, 1, sizeof(text) - 1, in) > 1000);
		fclose(in);
	}
	snprintf(key, sizeof(key), "\"%s\"", name);
	at = strstr(text, key);
	if (at == NULL)
		fail_msg("no vector %s", name);
	at = strstr(at, "\"hex\"");
	assert_non_null(at);
	at = strchr(strchr(at, ':'), '"') + 1;
	while (sscanf(at, "%2x", &v) == 1 && at[0] != '"') {
		out[n++] = (uint8_t)v;
		at += 2;
	}
	return n;
}

static void same(const char *name, const char *number, int wide, unsigned id, unsigned serial, const struct cw_sim_body *b)
{
	uint8_t want[CW_SIM_WIRE_MAX], got[CW_SIM_WIRE_MAX];
	struct cw_sim_number who;
	size_t n = vector(name, want), k;

	assert_int_equal(cw_sim_number_set(&who, number, wide), 0);
	k = cw_sim_frame(&who, id, serial, 0, 0, b->b, b->n, got);
	if (k != n || memcmp(want, got, n) != 0)
		fail_msg("%s: %zu bytes, should be %zu", name, k, n);
}


static void registration_is_that_of_the_vectors(void **state)
{
	struct cw_sim_body b = { .n = 0 };

	(void)state;
	cw_sim_register(&b, 0, 44, 303, "70111", "BSJ-A6-BD", "0567872", 1, "\xd4\xc1" "B88888");
	same("0100-2013-real-bsj", "014130567872", 0, 0x0100, 36, &b);
	b.n = 0;
	cw_sim_register(&b, 1, 31, 115, "yzh", "www.jtt808.cn", "09876543210987654321", 1, "\xb2\xe2" "A888888");
	same("0100-2019-ref-l4", "12345678901234567890", 1, 0x0100, 65535, &b);
}

static void authentication_is_that_of_the_vectors(void **state)
{
	struct cw_sim_body b = { .n = 0 };

	(void)state;
	cw_sim_auth(&b, 0, "authentication", "", "");
	same("0102-2013-auth-text", "13511221122", 0, 0x0102, 6, &b);
	b.n = 0;
	cw_sim_auth(&b, 1, "pmYGzGukO8K4Z5lpIOTg8dqb3eprYaHBbXSPLtdbyG8=", "123456789012345", "3.7.15");
	same("0102-2019-ref-l6", "17299841738", 1, 0x0102, 65535, &b);
}

static void reports_are_those_of_the_vectors(void **state)
{
	struct cw_sim_place p = { .alarm = 1, .status = 2, .latitude = 12.222222, .longitude = 132.444444, .altitude = 40, .speed = 60,
		                  .utc_ms = 1531620610000, .mileage = 100, .fuel = 55 };
	struct cw_sim_body b = { .n = 0 };

	(void)state;
	cw_sim_location(&b, &p, 1);
	b.n -= 6; /* the vector has no radio and satellite items */
	same("0200-2013-basic", "112233445566", 0, 0x0200, 8888, &b);
	/* South, and a whole batch. */
	p = (struct cw_sim_place){ .status = 3, .latitude = -27.263378, .longitude = 153.037383, .altitude = 22, .direction = 2, .utc_ms = 1778316147000, .mileage = 9602 };
	{
		struct cw_sim_body one = { .n = 0 };

		cw_sim_location(&one, &p, 0);
		cw_sim_raw(&one, "\x01\x04\x00\x00\x25\x82\x30\x01\x00\x31\x01\x0e", 12);
		b.n = 0;
		cw_sim_u16(&b, 1);
		cw_sim_u8(&b, 0);
		cw_sim_u16(&b, (unsigned)one.n);
		cw_sim_raw(&b, one.b, one.n);
	}
	same("0704-2019-real-batch", "866496077582164", 1, 0x0704, 34845, &b);
}

static void a_general_reply_is_that_of_the_vectors(void **state)
{
	struct cw_sim_body b = { .n = 0 };

	(void)state;
	cw_sim_u16(&b, 3);
	cw_sim_u16(&b, 0x8800);
	cw_sim_u8(&b, 1);
	same("0001-2013-real-negative-reply", "013306496439", 0, 0x0001, 50, &b);
}

static void platform_frames_are_read_back(void **state)
{
	struct cw_sim_number who;
	struct cw_sim_frame m;
	uint8_t wire[CW_SIM_WIRE_MAX];
	size_t n = vector("8100-2019-ok", wire);

	(void)state;
	assert_int_equal(cw_sim_number_set(&who, "20232609559", 1), 0);
	assert_int_equal(cw_sim_parse(&who, wire + 1, n - 2, &m), 0);
	assert_int_equal(m.id, 0x8100);
	assert_int_equal(m.n, 14);
	assert_memory_equal(m.body + 3, "20232609559", 11);
	n = vector("8801-2013-ref-l81", wire);
	assert_int_equal(cw_sim_number_set(&who, "12345678901", 0), 0);
	assert_int_equal(cw_sim_parse(&who, wire + 1, n - 2, &m), 0);
	wire[5] ^= 1;
	assert_int_equal(cw_sim_parse(&who, wire + 1, n - 2, &m), -1);
}

static void numbers_that_do_not_fit_are_refused(void **state)
{
	struct cw_sim_number who;

	(void)state;
	assert_int_equal(cw_sim_number_set(&who, "1234567890123", 0), -1);
	assert_int_equal(cw_sim_number_set(&who, "12a", 0), -1);
	assert_int_equal(cw_sim_number_set(&who, "", 1), -1);
	assert_int_equal(cw_sim_number_set(&who, "123", 0), 0);
	assert_memory_equal(who.bytes, "\x00\x00\x00\x00\x01\x23", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registration_is_that_of_the_vectors), cmocka_unit_test(authentication_is_that_of_the_vectors),
		cmocka_unit_test(reports_are_those_of_the_vectors), cmocka_unit_test(a_general_reply_is_that_of_the_vectors),
		cmocka_unit_test(platform_frames_are_read_back), cmocka_unit_test(numbers_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
