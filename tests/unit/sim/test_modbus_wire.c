/* The simulated units against the public vectors: a request taken apart, and the answer byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/sim/modbus_wire.h"

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	while (sscanf(hex, "%2x", &v) == 1 && hex[0] != '"' && hex[0] != '\0') {
		out[n++] = (uint8_t)v;
		hex += 2;
	}
	return n;
}

/* The bytes of the vector of this id; "id" comes before "hex" in the file. */
static size_t vector(const char *id, uint8_t *out)
{
	static char text[1 << 20];
	char key[60], *at;

	if (text[0] == 0) {
		FILE *in = fopen("tests/vectors/modbus.json", "rb");

		assert_non_null(in);
		assert_true(fread(text, 1, sizeof(text) - 1, in) > 1000);
		fclose(in);
	}
	(void)snprintf(key, sizeof(key), "\"%s\"", id);
	at = strstr(text, key);
	if (at == NULL)
		fail_msg("no vector %s", id);
	at = strstr(at, "\"hex\"");
	assert_non_null(at);
	return from_hex(strchr(strchr(at, ':'), '"') + 1, out);
}

/* What this unit answers to a request in `framing`, whole: frame in, frame out. */
static size_t converse(struct cw_sim_unit *u, enum cw_sim_framing framing, const uint8_t *in, size_t n, uint8_t *out)
{
	struct cw_sim_request q;
	uint8_t pdu[CW_SIM_PDU_MAX + 1];
	size_t i;

	for (i = 0; i < n; i++) /* not a byte too early */
		assert_int_equal(cw_sim_request_cut(framing, in, i, &q), 0);
	assert_int_equal(cw_sim_request_cut(framing, in, n, &q), (int)n);
	assert_int_equal(q.unit, u->id);
	i = cw_sim_unit_answer(u, 0, q.pdu, q.n, pdu);
	return cw_sim_modbus_frame(framing, q.transaction, q.unit, pdu, i, out);
}

static void same(const uint8_t *got, size_t n, const uint8_t *want, size_t want_n)
{
	if (n != want_n || memcmp(got, want, n) != 0)
		fail_msg("%zu bytes, should be %zu (or others)", n, want_n);
}

static void check(struct cw_sim_unit *u, enum cw_sim_framing framing, const char *request, const char *answer)
{
	uint8_t in[CW_SIM_ADU_MAX], want[CW_SIM_ADU_MAX], got[CW_SIM_ADU_MAX];
	size_t n = vector(request, in), want_n = vector(answer, want);

	same(got, converse(u, framing, in, n, got), want, want_n);
	cw_sim_unit_fini(u);
}

static void set_registers(struct cw_sim_unit *u, unsigned from, const uint16_t *values, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		assert_int_equal(cw_sim_unit_set(u, 0, from + (unsigned)i, values[i]), 0);
}
#define REGISTERS(u, from, ...) set_registers(u, from, (const uint16_t[]){ __VA_ARGS__ }, sizeof((const uint16_t[]){ __VA_ARGS__ }) / 2)

static void set_bits(struct cw_sim_unit *u, unsigned from, const char *bits)
{
	for (; *bits != '\0'; bits++, from++)
		assert_int_equal(cw_sim_unit_set(u, 1, from, *bits == '1'), 0);
}

static void pairs_are_those_of_the_vectors(void **state)
{
	struct cw_sim_unit u = { .id = 17 };

	(void)state;
	REGISTERS(&u, 107, 44609, 22098, 17216);
	check(&u, CW_SIM_RTU, "mb-adu-10", "mb-adu-11");
	REGISTERS(&u, 124, 141, 142);
	check(&u, CW_SIM_RTU, "mb-adu-13", "mb-adu-14");
	check(&u, CW_SIM_RTU, "mb-adu-37", "mb-adu-38");
	u.id = 255;
	REGISTERS(&u, 124, 141, 142);
	check(&u, CW_SIM_RTU, "mb-adu-16", "mb-adu-17");
	u.id = 1;
	check(&u, CW_SIM_RTU, "mb-adu-19", "mb-adu-19"); /* writing one is answered by the request */
	check(&u, CW_SIM_TCP, "mb-adu-08", "mb-adu-08");
	set_bits(&u, 19, "1011001111010110101");
	check(&u, CW_SIM_TCP, "mb-adu-25", "mb-adu-26");
	REGISTERS(&u, 3, 254, 2765, 1, 3, 13, 255);
	check(&u, CW_SIM_TCP, "mb-adu-40", "mb-adu-41");
	u.about[0] = "ACME";
	u.about[1] = "ABC";
	check(&u, CW_SIM_TCP, "mb-adu-46", "mb-adu-47");
}

/* Answers without a request in the vectors: the request is written down here. */
static void answer(struct cw_sim_unit *u, enum cw_sim_framing framing, unsigned transaction, const char *pdu_hex, const char *id)
{
	uint8_t in[CW_SIM_ADU_MAX], want[CW_SIM_ADU_MAX], got[CW_SIM_ADU_MAX], pdu[CW_SIM_PDU_MAX];
	size_t want_n = vector(id, want), n = cw_sim_modbus_frame(framing, transaction, u->id, pdu, from_hex(pdu_hex, pdu), in);

	same(got, converse(u, framing, in, n, got), want, want_n);
	cw_sim_unit_fini(u);
}

static void answers_are_those_of_the_vectors(void **state)
{
	static const struct cw_sim_fault broken[] = { { 0, 9, 4 }, { 124, 125, 2 }, { 300, 300, 11 } };
	struct cw_sim_unit u = { .id = 17 };

	(void)state;
	set_bits(&u, 0, "1011001111010110010011010111000011011");
	answer(&u, CW_SIM_TCP, 7, "0100000025", "mb-adu-29");
	REGISTERS(&u, 50, 555, 1, 100);
	answer(&u, CW_SIM_TCP, 65535, "0300320003", "mb-adu-32");
	answer(&u, CW_SIM_RTU, 0, "0600010003", "mb-adu-34");
	REGISTERS(&u, 5, 141, 142);
	answer(&u, CW_SIM_ASCII, 0, "0300050002", "mb-adu-22");
	u.faults = broken;
	u.fault_count = 3;
	answer(&u, CW_SIM_TCP, 2, "0300000001", "mb-adu-02");
	answer(&u, CW_SIM_ASCII, 0, "03007b0002", "mb-adu-23");
	u.id = 255;
	answer(&u, CW_SIM_TCP, 3077, "03007d0001", "mb-adu-07");
	u.id = 1;
	answer(&u, CW_SIM_TCP, 1, "07", "mb-adu-04");
	answer(&u, CW_SIM_RTU, 0, "0100050001", "mb-adu-20");
	u.id = 3;
	answer(&u, CW_SIM_TCP, 257, "04012c0001", "mb-adu-43");
}

/* What is written is read, and in the area it was written to. */
static void writes_stay(void **state)
{
	struct cw_sim_unit u = { .id = 17 };
	uint8_t in[CW_SIM_ADU_MAX], out[CW_SIM_ADU_MAX], pdu[CW_SIM_PDU_MAX];
	size_t n;

	(void)state;
	n = vector("mb-adu-37", in);
	(void)converse(&u, CW_SIM_RTU, in, n, out);
	n = cw_sim_unit_answer(&u, 0, (const uint8_t *)"\x03\x00\x01\x00\x02", 5, pdu);
	same(pdu, n, (const uint8_t *)"\x03\x04\x00\x0a\x01\x02", 6);
	n = cw_sim_unit_answer(&u, 0, (const uint8_t *)"\x16\x00\x01\x00\xf2\x00\x25", 7, pdu); /* (0x0A and 0xF2) or (0x25 and not 0xF2) */
	same(pdu, n, (const uint8_t *)"\x16\x00\x01\x00\xf2\x00\x25", 7);
	n = cw_sim_unit_answer(&u, 0, (const uint8_t *)"\x03\x00\x01\x00\x01", 5, pdu);
	same(pdu, n, (const uint8_t *)"\x03\x02\x00\x07", 4);
	u.id = 2; /* nine coils by ASCII */
	n = vector("mb-adu-44", in);
	(void)converse(&u, CW_SIM_ASCII, in, n, out);
	n = cw_sim_unit_answer(&u, 0, (const uint8_t *)"\x01\x00\x00\x00\x09", 5, pdu);
	same(pdu, n, (const uint8_t *)"\x01\x02\xff\x01", 4);
	cw_sim_unit_fini(&u);
	assert_int_equal(cw_mem_live(), 0);
}

/* Requests that no device carries out, and why. */
static void wrong_requests_are_refused(void **state)
{
	static const struct { const char *pdu, *answer; } all[] = {
		{ "0300000000", "8303" }, { "030000007e", "8303" }, { "01000007d1", "8103" }, { "03ffff0002", "8302" }, { "0500010001", "8503" },
		{ "0300", "8303" }, { "0800000000", "8801" }, { "10000100020300010002", "9003" }, { "1000010000000000", "9003" },
		{ "0f00010009010000", "8f03" }, { "2b0d0100", "ab01" }, { "2b0e0900", "ab03" }, { "2b0e0401", "ab02" },
	};
	struct cw_sim_unit u = { .id = 1 };
	uint8_t pdu[CW_SIM_PDU_MAX], want[8], out[CW_SIM_PDU_MAX];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		n = from_hex(all[i].pdu, pdu);
		n = cw_sim_unit_answer(&u, 0, pdu, n, out);
		(void)from_hex(all[i].answer, want);
		if (n != 2 || memcmp(out, want, 2) != 0)
			fail_msg("%s: %02x %02x", all[i].pdu, out[0], out[1]);
	}
	cw_sim_unit_fini(&u);
}

/* The byte at the front is no request's; what comes behind is found. */
static void damage_is_passed_over(void **state)
{
	uint8_t in[CW_SIM_ADU_MAX];
	struct cw_sim_request q;
	size_t n = vector("mb-adu-10", in);

	(void)state;
	in[n - 1] ^= 1;
	assert_int_equal(cw_sim_request_cut(CW_SIM_RTU, in, n, &q), -1);
	n = vector("mb-adu-01", in);
	in[3] = 1;
	assert_int_equal(cw_sim_request_cut(CW_SIM_TCP, in, n, &q), -1);
	n = vector("mb-adu-44", in);
	in[5] = in[5] == '0' ? '1' : '0';
	assert_int_equal(cw_sim_request_cut(CW_SIM_ASCII, in, n, &q), -1);
	assert_int_equal(cw_sim_request_cut(CW_SIM_ASCII, in + 1, n - 1, &q), -1);
}

/* Values move, within what the documentation says. */
static void values_are_plausible(void **state)
{
	struct cw_sim_unit u = { .id = 9 };
	uint8_t first[CW_SIM_PDU_MAX], later[CW_SIM_PDU_MAX], bits[4];
	uint32_t whole;
	float f;
	unsigned v;

	(void)state;
	cw_sim_unit_answer(&u, 0, (const uint8_t *)"\x04\x00\x05\x00\x01", 5, first);
	cw_sim_unit_answer(&u, 20, (const uint8_t *)"\x04\x00\x05\x00\x01", 5, later);
	v = (unsigned)first[2] << 8 | first[3];
	assert_in_range(v, 2100, 2300);
	assert_memory_not_equal(first, later, 4);
	cw_sim_unit_answer(&u, 20, (const uint8_t *)"\x04\x00\x64\x00\x02", 5, first);
	whole = (uint32_t)first[2] << 24 | (uint32_t)first[3] << 16 | (uint32_t)first[4] << 8 | first[5];
	memcpy(&f, &whole, sizeof(f));
	assert_true(f >= 20 && f <= 30);
	cw_sim_unit_answer(&u, 20, (const uint8_t *)"\x04\x00\xca\x00\x02", 5, first); /* the second counter */
	whole = (uint32_t)first[2] << 24 | (uint32_t)first[3] << 16 | (uint32_t)first[4] << 8 | first[5];
	assert_int_equal(whole, 9040);
	cw_sim_unit_answer(&u, 20, (const uint8_t *)"\x04\x01\x2c\x00\x01", 5, first);
	assert_int_equal(first[2] << 8 | first[3], 300);
	cw_sim_unit_answer(&u, 0, (const uint8_t *)"\x02\x00\x00\x00\x01", 5, bits);
	cw_sim_unit_answer(&u, 10, (const uint8_t *)"\x02\x00\x00\x00\x01", 5, later);
	assert_int_not_equal(bits[2], later[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_those_of_the_vectors), cmocka_unit_test(answers_are_those_of_the_vectors),
		cmocka_unit_test(writes_stay),                    cmocka_unit_test(wrong_requests_are_refused),
		cmocka_unit_test(damage_is_passed_over),          cmocka_unit_test(values_are_plausible),
	};

	return cmocka_run_group_tests_name("modbus wire of the simulator", tests, NULL, NULL);
}
