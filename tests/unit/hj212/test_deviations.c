/*
 * What devices do that the book does not say: each deviation is met, named for the decode tool, counted, and accepted,
 * warned about or refused by its setting.
 * covers: M02
 */
#include "station.h"

static char frame_text[9000];

static const char *framed(const char *segment, const char *end)
{
	station_frame(frame_text, segment, end);
	return frame_text;
}

/* The decode tool names it. */
static int named(const char *bytes, const char *deviation)
{
	char quoted[64];
	size_t i;
	int found = 0;

	snprintf(quoted, sizeof(quoted), "\"%s\"", deviation);
	start(NULL);
	fake_close(&f);
	f.flags = CW_EVF_INSPECT;
	fake_open(&f);
	tell_bytes(bytes);
	fake_event(&f, CW_EV_ONLINE, 0);
	for (i = 0; i < f.fields.n; i++)
		if (strcmp(f.fields.v[i].name, "deviations") == 0)
			found |= strstr(fake_json(cw_bytes_of(f.fields.v[i].ptr, f.fields.v[i].len)), quoted) != NULL;
	fake_fini(&f);
	return found;
}

struct outcome {
	uint64_t good, bad, counted;
	size_t records, sent;
};

static struct outcome with(const char *bytes, const char *deviation, const char *grade)
{
	char settings[160];
	struct outcome o;

	snprintf(settings, sizeof(settings), "{\"deviations\": {\"%s\": \"%s\"}}", deviation, grade);
	start(settings);
	come();
	f.good = f.bad = 0;
	tell_bytes(bytes);
	o = (struct outcome){ f.good, f.bad, counter(deviation), f.records.n, f.sent.n };
	fake_fini(&f);
	return o;
}

/* `bytes` is one frame that deviates so, and one only: taken, counted; refused when the setting says so. */
static void deviates(const char *given, const char *deviation)
{
	char bytes[9000];
	struct outcome o;

	snprintf(bytes, sizeof(bytes), "%s", given);
	o = with(bytes, deviation, "accept");
	if (o.good != 1 || o.bad != 0 || o.counted != 1)
		fail_msg("%s accepted: %u good, %u bad, counted %u", deviation, (unsigned)o.good, (unsigned)o.bad, (unsigned)o.counted);
	o = with(bytes, deviation, "warn");
	if (o.good != 1 || o.bad != 0 || o.counted != 1)
		fail_msg("%s warned about: %u good, %u bad, counted %u", deviation, (unsigned)o.good, (unsigned)o.bad, (unsigned)o.counted);
	o = with(bytes, deviation, "refuse");
	if (o.good != 0 || o.bad != 1 || o.counted != 1 || o.records != 0 || o.sent != 0)
		fail_msg("%s refused: %u good, %u bad, counted %u, %u records", deviation, (unsigned)o.good, (unsigned)o.bad, (unsigned)o.counted,
		         (unsigned)o.records);
}

static void deviates_and_is_named(const char *given, const char *deviation)
{
	char bytes[9000];

	snprintf(bytes, sizeof(bytes), "%s", given);
	deviates(bytes, deviation);
	if (!named(bytes, deviation))
		fail_msg("the decode tool does not name %s", deviation);
}

#define HEAD "QN=20261121160000002;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=5;CP="
#define GOOD HEAD "&&DataTime=20261121160000;w01018-Rtd=1.5,w01018-Flag=N&&"

static void number_1_the_end(void **state)
{
	(void)state;
	deviates_and_is_named(framed(GOOD, "\n"), "crlf");
	/* Nothing behind the checksum: the next frame shows that it was one, or else the time. */
	start(NULL);
	come();
	tell_bytes(framed(GOOD, ""));
	assert_int_equal(f.records.n, 0);
	fake_advance(&f, 1000);
	assert_int_equal(f.records.n, 1);
	assert_int_equal(counter("crlf"), 1);
	tell_bytes(framed("QN=20261121160000003;ST=32;CN=2021;PW=123456;MN=" MN ";Flag=4;CP=&&SB1-RS=1&&", ""));
	tell_bytes(framed(GOOD, "\r\n"));
	assert_int_equal(f.records.n, 3);
	assert_int_equal(counter("crlf"), 2);
	/* Twice. */
	tell_bytes("\r\n");
	tell("QN=20261121160000009;ST=32;CN=2021;PW=123456;MN=" MN ";Flag=4;CP=&&SB1-RS=0&&");
	assert_int_equal(counter("crlf"), 3);
	assert_int_equal(f.noise, 0);
	check_and_end(NULL);
}

static void number_2_the_length(void **state)
{
	char bytes[1200];
	char digits[16];

	(void)state;
	/* 8 bytes of Chinese text are counted as 4 characters less. */
	station_frame(bytes, "QN=20261121160000002;ST=32;CN=3020;PW=123456;MN=" MN ";Flag=5;CP=&&i11001-Info=//\xe6\xb8\x85\xe6\xb4\x97//&&", "\r\n");
	snprintf(digits, sizeof(digits), "%04d", atoi((char[5]){ bytes[2], bytes[3], bytes[4], bytes[5] }) - 4);
	memcpy(bytes + 2, digits, 4);
	deviates_and_is_named(bytes, "lengthCount");
	station_frame(bytes, GOOD, "\r\n");
	memcpy(bytes + 2, "0400", 4);
	deviates(bytes, "lengthWrong");
	memcpy(bytes + 2, "0090", 4);
	deviates_and_is_named(bytes, "lengthWrong");
	/* Refused unless it is allowed. */
	start(NULL);
	tell_bytes(bytes);
	assert_int_equal(f.bad, 1);
	check_and_end(NULL);
}

static void a_segment_longer_than_the_book_allows(void **state)
{
	char segment[3000] = HEAD "&&DataTime=20261121160000";
	unsigned i;

	(void)state;
	for (i = 0; i < 100; i++)
		sprintf(segment + strlen(segment), ";w%05u-Rtd=1.5", i);
	strcat(segment, "&&");
	assert_true(strlen(segment) > 1024);
	deviates_and_is_named(framed(segment, "\r\n"), "lengthOver");
}

static unsigned modbus(const char *p, size_t n)
{
	unsigned reg = 0xffff, bit;
	size_t i;

	for (i = 0; i < n; i++) {
		reg ^= (unsigned char)p[i];
		for (bit = 0; bit < 8; bit++)
			reg = reg & 1 ? reg >> 1 ^ 0xa001 : reg >> 1;
	}
	return reg;
}

static void number_3_the_checksum(void **state)
{
	char bytes[1200], segment[400];
	size_t i, n = 0;

	(void)state;
	/* One whose checksum has a letter. */
	snprintf(segment, sizeof(segment), "%s", GOOD);
	for (i = 0; i < 26; i++) {
		segment[19] = (char)('0' + i % 10);
		n = station_frame(bytes, segment, "\r\n");
		if (strpbrk(bytes + n - 6, "ABCDEF") != NULL)
			break;
	}
	for (i = n - 6; i < n - 2; i++)
		if (bytes[i] >= 'A' && bytes[i] <= 'F')
			bytes[i] |= 32;
	deviates_and_is_named(bytes, "crcCase");
	n = station_frame(bytes, GOOD, "\r\n");
	snprintf(bytes + n - 6, 5, "%04X", modbus(GOOD, strlen(GOOD)));
	bytes[n - 2] = '\r';
	deviates_and_is_named(bytes, "crcModbus");
	memcpy(bytes + n - 6, "FFFF", 4);
	deviates_and_is_named(bytes, "crcUnused");
	memcpy(bytes + n - 6, "0000", 4);
	deviates(bytes, "crcUnused");
	memcpy(bytes + n - 6, "1235", 4);
	start(NULL);
	tell_bytes(bytes);
	assert_int_equal(f.bad, 1);
	assert_int_equal(counter("crcBad"), 1);
	check_and_end(NULL);
}

static void number_4_blanks_and_separators_at_the_end(void **state)
{
	(void)state;
	deviates_and_is_named(framed(HEAD "&& DataTime=20261121160000;w01018-Rtd =1.5&&", "\r\n"), "blanks");
	deviates_and_is_named(framed(HEAD "&&DataTime=20261121160000;w01018-Rtd=1.5;&&", "\r\n"), "trailingSeparator");
}

static void number_5_no_flag_no_number(void **state)
{
	(void)state;
	deviates_and_is_named(framed("ST=32;CN=2011;PW=123456;MN=" MN ";CP=&&DataTime=20261121160000;w01018-Rtd=1.5&&", "\r\n"), "flagMissing");
	deviates_and_is_named(framed("ST=32;CN=2011;PW=123456;MN=" MN ";Flag=5;CP=&&DataTime=20261121160000;w01018-Rtd=1.5&&", "\r\n"), "qnMissing");
	start(NULL);
	tell("ST=32;CN=2011;PW=123456;MN=" MN ";Flag=5;CP=&&DataTime=20261121160000;w01018-Rtd=1.5&&");
	expect("ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	check_and_end(NULL);
}

static void number_6_milliseconds(void **state)
{
	struct cw_record rec;

	(void)state;
	deviates_and_is_named(framed(HEAD "&&DataTime=20261121160000123;w01018-Rtd=1.5&&", "\r\n"), "timeMillis");
	start(NULL);
	tell(HEAD "&&DataTime=20261121160000123;w01018-Rtd=1.5&&");
	rec = expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1.5}");
	assert_int_equal(rec.time_ms, NOW);
	check_and_end(NULL);
}

static void number_7_one_separator_for_the_other(void **state)
{
	(void)state;
	deviates_and_is_named(framed(HEAD "&&DataTime=20261121160000,w01018-Rtd=1.5&&", "\r\n"), "separators");
	deviates(framed(HEAD "&&DataTime=20261121160000;w01018-Rtd=1.5;w01018-Flag=N&&", "\r\n"), "separators");
	deviates(framed(HEAD "&&DataTime=20261121160000;w01018-Rtd=1.5,w01001-Rtd=7&&", "\r\n"), "separators");
}

static void number_8_a_factor_twice(void **state)
{
	(void)state;
	deviates_and_is_named(framed(HEAD "&&DataTime=20261121160000;w01018-Rtd=1.5,w01018-Rtd=2.50&&", "\r\n"), "repeatedFactor");
	start(NULL);
	tell(HEAD "&&DataTime=20261121160000;w01018-Rtd=1.5,w01018-Rtd=2.50&&");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 2.50}");
	check_and_end(NULL);
	start("{\"repeatedFactors\": \"array\"}");
	tell(HEAD "&&DataTime=20261121160000;w01018-Rtd=1.5,w01018-Rtd=2.50&&");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": [1.5, 2.50]}");
	check_and_end(NULL);
}

static void number_9_no_value(void **state)
{
	static const char *const none[] = { "", "-", "NaN", "null", "9999" };
	char segment[300];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		snprintf(segment, sizeof(segment), HEAD "&&DataTime=20261121160000;w01018-Rtd=%s,w01018-Flag=D&&", none[i]);
		deviates_and_is_named(framed(segment, "\r\n"), "emptyValue");
		start(NULL);
		tell(segment);
		expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": null, \"w01018_Flag\": \"D\"}");
		check_and_end(NULL);
	}
}

static void numbers_in_the_form_of_programs(void **state)
{
	(void)state;
	start(NULL);
	tell(HEAD "&&DataTime=20261121160000;w01018-Rtd=5E-05;w01019-Rtd=-1.5e+3;w21003-Rtd=1e99;w21011-Rtd=e5;w20119-Rtd=2e&&");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 0.00005, \"w01019_Rtd\": -1500, \"w21003_Rtd\": \"1e99\", \"w21011_Rtd\": \"e5\","
	              "\"w20119_Rtd\": \"2e\"}");
	check_and_end(NULL);
}

static void number_10_upper_and_lower_case(void **state)
{
	(void)state;
	deviates_and_is_named(framed(HEAD "&&datatime=20261121160000;w01018-rtd=1.5&&", "\r\n"), "nameCase");
	deviates(framed("qn=20261121160000002;st=32;cn=2011;pw=123456;mn=" MN ";flag=5;cp=&&w01018-Rtd=1.5&&", "\r\n"), "nameCase");
	start(NULL);
	tell(HEAD "&&datatime=20261121160000;w01018-rtd=1.5&&");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1.5}");
	check_and_end(NULL);
}

static void number_11_codes_of_their_own(void **state)
{
	(void)state;
	deviates_and_is_named(framed(HEAD "&&DataTime=20261121160000;ele01-Rtd=1.5&&", "\r\n"), "privateCode");
	deviates(framed(HEAD "&&DataTime=20261121160000;w01018-ValidNum=12&&", "\r\n"), "privateCode");
	start(NULL);
	tell(HEAD "&&DataTime=20261121160000;SB3-Class=2,w01018-ValidNum=12&&");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"SB3_Class\": 2, \"w01018_ValidNum\": 12}");
	check_and_end(NULL);
}

static void number_12_answers_that_want_an_answer(void **state)
{
	(void)state;
	deviates_and_is_named(framed("QN=20261121160000002;ST=91;CN=9014;PW=123456;MN=" MN ";Flag=9;CP=&&QnRtn=1&&", "\r\n"), "answerFlag");
	start(NULL);
	come();
	tell("QN=20261121160000002;ST=91;CN=9012;PW=123456;MN=" MN ";Flag=5;CP=&&ExeRtn=1&&");
	expect_silence();
	assert_int_equal(counter("unmatched"), 1);
	check_and_end(NULL);
}

static void number_13_late_and_out_of_order(void **state)
{
	struct cw_record rec;

	(void)state;
	deviates(framed(HEAD "&&DataTime=20261121100000;w01018-Rtd=1.5&&", "\r\n"), "lateData");
	start(NULL);
	come();
	tell("QN=20261121160000003;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=4;CP=&&DataTime=20261121155900;w01018-Rtd=1&&");
	rec = expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1}");
	assert_int_equal(rec.flags, 0);
	tell("QN=20261121160000004;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=4;CP=&&DataTime=20261121155800;w01018-Rtd=2&&");
	rec = expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 2}");
	assert_int_equal(rec.flags, CW_RECORD_REPLAY);
	assert_int_equal(rec.time_ms, NOW - 120000);
	/* A clock an hour ahead, until it is set right: what follows is not late for that. */
	tell("QN=20261121160000006;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=4;CP=&&DataTime=20261121170000;w01018-Rtd=4&&");
	fake_forget(&f);
	tell("QN=20261121160000007;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=4;CP=&&DataTime=20261121160000;w01018-Rtd=3&&");
	rec = expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 3}");
	assert_int_equal(rec.flags, 0);
	/* The minute that has just ended is not late, whatever its DataTime says. */
	tell("QN=20261121160000005;ST=32;CN=2051;PW=123456;MN=" MN ";Flag=4;CP=&&DataTime=20261121155000;w01018-Avg=2&&");
	rec = expect_record(CW_KIND_EVENT, "minuteData", "{\"systemCode\": \"32\", \"dataTime\": 1795247400000, \"factors\": [{\"code\": \"w01018\", \"avg\": 2}]}");
	assert_int_equal(rec.flags, 0);
	assert_int_equal(counter("lateData"), 1);
	check_and_end(NULL);
}

static void number_14_the_same_frame_again(void **state)
{
	struct cw_record a, b;

	(void)state;
	start(NULL);
	come();
	tell(GOOD);
	tell(GOOD);
	assert_int_equal(counter("repeatedFrame"), 1);
	expect("QN=20261121160000002;ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	expect("QN=20261121160000002;ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	a = expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1.5, \"w01018_Flag\": \"N\"}");
	b = expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1.5, \"w01018_Flag\": \"N\"}");
	assert_true(a.dedup.len > 0 && cw_bytes_equal(a.dedup, b.dedup)); /* the host publishes one of them */
	check_and_end(NULL);
	start("{\"deviations\": {\"repeatedFrame\": \"refuse\"}}");
	come();
	tell(GOOD);
	tell(GOOD);
	assert_int_equal(f.bad, 1);
	assert_int_equal(f.sent.n, 1);
	check_and_end(NULL);
}

static void number_15_the_password(void **state)
{
	(void)state;
	start("{\"password\": \"654321\"}");
	tell(GOOD);
	assert_int_equal(f.bad, 1);
	assert_int_equal(counter("password"), 1);
	expect_silence();
	expect_no_record();
	check_and_end(NULL);
	start("{\"password\": \"654321\", \"deviations\": {\"password\": \"warn\"}}");
	tell(GOOD);
	assert_int_equal(f.good, 1);
	assert_int_equal(counter("password"), 1);
	check_and_end(NULL);
	start("{\"password\": \"123456\"}");
	tell(GOOD);
	assert_int_equal(f.good, 1);
	assert_int_equal(counter("password"), 0);
	check_and_end(NULL);
}

static void numbers_of_packets(void **state)
{
	(void)state;
	deviates_and_is_named(framed("QN=20261121160000002;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=3;CP=&&w01018-Rtd=1.5&&", "\r\n"), "splitNumbers");
	deviates_and_is_named(framed("QN=20261121160000002;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=7;PNO=1;PNUM=2;CP=&&w01018-Rtd=1.5&&", "\r\n"), "fieldOrder");
	deviates_and_is_named(framed("QN=20261121160000002;ST=32;CN=2011;PW=123456;MN=" MN ";Flag=5;CP=&&w01018-Rtd=1.5", "\r\n"), "cutText");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(number_1_the_end), cmocka_unit_test(number_2_the_length), cmocka_unit_test(a_segment_longer_than_the_book_allows),
		cmocka_unit_test(number_3_the_checksum), cmocka_unit_test(number_4_blanks_and_separators_at_the_end),
		cmocka_unit_test(number_5_no_flag_no_number), cmocka_unit_test(number_6_milliseconds), cmocka_unit_test(number_7_one_separator_for_the_other),
		cmocka_unit_test(number_8_a_factor_twice), cmocka_unit_test(number_9_no_value), cmocka_unit_test(number_10_upper_and_lower_case),
		cmocka_unit_test(numbers_in_the_form_of_programs),
		cmocka_unit_test(number_11_codes_of_their_own), cmocka_unit_test(number_12_answers_that_want_an_answer),
		cmocka_unit_test(number_13_late_and_out_of_order), cmocka_unit_test(number_14_the_same_frame_again),
		cmocka_unit_test(number_15_the_password), cmocka_unit_test(numbers_of_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
