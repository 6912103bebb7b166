/* No memory: each allocation of the decoder fails in turn through a station's whole life; settings; noise of all sorts. */
#include "station.h"
#include "faults.h"
#include "../../../plugins/hj212/hj212.h"

#define UP(qn, cn, flag, cp) "QN=" qn ";ST=32;CN=" cn ";PW=123456;MN=" MN ";Flag=" flag ";CP=" cp

/* Whatever fails inside, the station goes on talking and everything is given back. */
static void a_life(void)
{
	f.now_ms = NOW;
	fake_open(&f);
	tell(UP(Q1, "2011", "5", "&&DataTime=20261121160000;w01018-Rtd=1,w01018-Flag=N&&"));
	tell(UP("20261121160000002", "2051", "7;PNUM=2;PNO=1", "&&DataTime=20261121155000;w010"));
	tell(UP("20261121160000002", "2051", "7;PNUM=2;PNO=2", "18-Avg=1&&"));
	tell(UP("20261121160000003", "2051", "7;PNUM=2;PNO=1", "&&never"));
	tell(UP("20261121160000004", "1013", "5", "&&&&"));
	tell("QN=" Q1 ";ST=31;CN=2021;PW=1;MN=B;Flag=5;CP=&&SB1-RS=1&&");
	if (f.attached) {
		fake_command(&f, CW_KIND_SERVICE, "queryHistory", "{\"kind\": \"hour\", \"begin\": \"20261121080000\", \"end\": \"20261121100000\"}", 5, 7500);
		tell(UP("20261121160000005", "2061", "5", "&&DataTime=20261121080000;w01018-Avg=1&&"));
	}
	if (f.attached)
		fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"RtdInterval\": 60}", 6, 7500);
	fake_advance(&f, 70000);
	fake_forget(&f);
	fake_close(&f);
	fake_forget(&f);
}

static void every_allocation_may_fail_once(void **state)
{
	(void)state;
	fake_init(&f, cw_plugin_entry(), NULL);
	assert_true(faults_each_allocation(a_life) > 10);
	a_life();
	assert_int_equal(f.charged, 0);
	fake_fini(&f);
	assert_int_equal(cw_mem_live(), 0);
}

static void a_decoder_that_cannot_be_made_says_so(void **state)
{
	(void)state;
	faults_create(5);
}

static void settings_that_cannot_be_used_are_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {
		"{\"timezone\": \"Mars/Base\"}", "{\"timezone\": \"+99:00\"}", "{\"systemCode\": \"3\"}", "{\"password\": \"1;2\"}",
		"{\"firstConnection\": {\"rtdInterval\": 7}}", "{\"firstConnection\": {\"minInterval\": 7}}",
		"{\"password\": \"01234567890123456789012345678901234567890123456789012345678901234\"}",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		faults_refused(bad[i], NULL);
}

/* Each switch of the protocol is a setting whose default means what the code does without settings. */
static void defaults_are_what_happens_without_settings(void **state)
{
	static const char *const want[] = {
		"deviations", "edition", "timezone", "password", "systemCode", "charset", "answer2005", "flag2005", "loginAnswer",
		"answerTimeCalibration", "overTime", "reCount", "executionTimeout", "longExecutionTimeout", "replyPackets", "replyBytes",
		"repeatedFactors", "nullValues", "markedAsNull", "factorAbnormal", "mapCodes", "factorNames", "lateAfter", "offlineAfter",
		"joinTimeout", "joinBytes", "joins", "maxDevices", "frameWait", "firstConnection",
	};
	const struct cw_conf_field *c = cw_plugin_entry()->conf;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_non_null(c[i].name);
		assert_string_equal(c[i].name, want[i]);
		assert_non_null(c[i].help);
	}
	assert_null(c[i].name);
	faults_defaults(sizeof(struct hj_conf));
	for (i = 0; i < HJ_D_COUNT; i++)
		assert_string_equal(cw_plugin_entry()->counters[i].name, c[0].fields[i].name);
}

static void noise_of_all_sorts_passes(void **state)
{
	static const char *const words[] = { "##", "0101", "QN=", ";", "CP=&&", "&&", "\r\n", "MN=A;", "CN=2011;", "-Rtd=", ",", "//", "FFFF" };
	char junk[4096];
	unsigned round;
	size_t i, n, k;

	(void)state;
	srand(212);
	fake_init(&f, cw_plugin_entry(), "{\"deviations\": {\"crcUnused\": \"accept\", \"lengthWrong\": \"accept\"}}");
	for (round = 0; round < 300; round++) {
		n = (size_t)rand() % (sizeof(junk) - 8);
		for (i = 0; i < n; i++)
			junk[i] = (char)rand();
		for (i = 0; i + 8 < n; i += 1 + (size_t)rand() % 20) {
			k = (size_t)rand() % (sizeof(words) / sizeof(words[0]));
			memcpy(junk + i, words[k], strlen(words[k]));
		}
		fake_open(&f);
		fake_feed(&f, cw_bytes_of(junk, n));
		fake_close(&f);
		fake_forget(&f);
	}
	/* After any noise a good frame is found again, once what may hide it has run out. */
	fake_open(&f);
	fake_feed(&f, cw_bytes_of(junk, 1000));
	fake_forget(&f);
	for (i = 0; i < 40; i++)
		tell(UP(Q1, "2021", "5", "&&SB1-RS=1&&"));
	assert_true(f.sent.n >= 1);
	fake_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_may_fail_once), cmocka_unit_test(a_decoder_that_cannot_be_made_says_so),
		cmocka_unit_test(settings_that_cannot_be_used_are_refused_with_a_sentence),
		cmocka_unit_test(defaults_are_what_happens_without_settings), cmocka_unit_test(noise_of_all_sorts_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
