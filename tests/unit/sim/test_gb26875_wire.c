/* The simulator's frames against the vectors: read all of them, write the same bytes again; units as in the vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sim/gb26875_wire.h"

static char text[1 << 20];

static int load(void **state)
{
	FILE *in = fopen("tests/vectors/gb26875.json", "rb");

	(void)state;
	assert_non_null(in);
	assert_true(fread(text, 1, sizeof(text) - 1, in) > 1000);
	fclose(in);
	return 0;
}

static size_t bytes_of(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	while (hex[0] != '"' && sscanf(hex, "%2x", &v) == 1) {
		out[n++] = (uint8_t)v;
		hex += 2;
	}
	return n;
}

/* The bytes of the vector that begins at or behind *at, which moves on; 0 at the end. */
static size_t next(const char **at, char name[80], uint8_t *out)
{
	const char *p = strstr(*at, "\"name\": \"");

	if (p == NULL)
		return 0;
	assert_int_equal(sscanf(p, "\"name\": \"%79[^\"]", name), 1);
	p = strstr(p, "\"hex\": \"");
	assert_non_null(p);
	*at = p;
	return bytes_of(p + 8, out);
}

static size_t vector(const char *want, uint8_t *out)
{
	const char *at = text;
	char name[80];
	size_t n;

	while ((n = next(&at, name, out)) > 0)
		if (strcmp(name, want) == 0)
			return n;
	fail_msg("no vector %s", want);
	return 0;
}

static void every_frame_is_read_and_written_alike(void **state)
{
	uint8_t in[4096], out[CW_GBSIM_WIRE_MAX];
	struct cw_gbsim_frame f;
	const char *at = text;
	unsigned good = 0, bad = 0;
	char name[80];
	size_t n, k;

	(void)state;
	while ((n = next(&at, name, in)) > 0) {
		int len = cw_gbsim_take(in, n, &f);

		if (strncmp(name, "stream-", 7) == 0)
			continue;
		if (strcmp(name, "bad-terminator") == 0 || strcmp(name, "truncated-frame") == 0) {
			assert_int_equal(len, name[0] == 'b' ? -1 : 0);
			bad++;
			continue;
		}
		if (len != (int)n)
			fail_msg("%s: %d of %zu bytes", name, len, n);
		for (k = 1; k < n; k++)
			assert_int_equal(cw_gbsim_take(in, k, &f), 0);
		cw_gbsim_take(in, n, &f);
		assert_int_equal(cw_gbsim_make(&f, out), n);
		assert_memory_equal(in, out, n);
		in[27] ^= 1; /* the checksum, or what it covers */
		assert_int_equal(cw_gbsim_take(in, n, &f), -1);
		good++;
	}
	assert_int_equal(good, 48);
	assert_int_equal(bad, 2);
}

static void unit_is(const char *name, const struct cw_gbsim_unit *u)
{
	uint8_t in[4096];
	struct cw_gbsim_frame f;
	size_t n = vector(name, in);

	assert_int_equal(cw_gbsim_take(in, n, &f), n);
	if (f.unit_len != u->n || memcmp(f.unit, u->b, u->n) != 0)
		fail_msg("%s: another unit", name);
}

#define AT 1348624682000 /* 2012-09-26T09:58:02+08:00 */

static void units_are_those_of_the_vectors(void **state)
{
	struct cw_gbsim_unit u;
	uint8_t address[6];

	(void)state;
	cw_gbsim_begin(&u, 2, 1);
	cw_gbsim_component(&u, 1, 1, 40, 65545);
	cw_gbsim_u16(&u, 513);
	cw_gbsim_fixed(&u, "OFFLINE", 31);
	cw_gbsim_time(&u, AT);
	unit_is("component-vendor-bits-9-to-15", &u);
	cw_gbsim_begin(&u, 3, 1);
	cw_gbsim_component(&u, 1, 1, 31, 65541);
	cw_gbsim_u8(&u, 3);
	cw_gbsim_u16(&u, (unsigned)-105 & 0xffff);
	cw_gbsim_time(&u, AT);
	unit_is("analogue-negative-temperature", &u);
	cw_gbsim_begin(&u, 1, 1);
	cw_gbsim_system(&u, 1, 0);
	cw_gbsim_u16(&u, 0x3fff);
	cw_gbsim_time(&u, AT);
	unit_is("system-state-all-defined-bits", &u);
	assert_int_equal(cw_gbsim_address(address, "790300000000"), 0);
	assert_memory_equal(address, "\x79\x03\0\0\0\0", 6);
	assert_int_equal(cw_gbsim_address(address, "aBc"), 0);
	assert_memory_equal(address, "\0\0\0\0\x0a\xbc", 6);
	assert_int_equal(cw_gbsim_address(address, "1234567890123"), -1);
	assert_int_equal(cw_gbsim_address(address, "12x"), -1);
	assert_int_equal(cw_gbsim_address(address, ""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_frame_is_read_and_written_alike), cmocka_unit_test(units_are_those_of_the_vectors) };

	return cmocka_run_group_tests(tests, load, NULL);
}
