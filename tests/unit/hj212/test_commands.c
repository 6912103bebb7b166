/*
 * Requests: each service's bytes, the answers in their order and out of it, times, repeats, what is learned.
 * covers: M02
 */
#include "station.h"

#define Q0 "20261121160000000"
#define REQ(qn, cn, cp) "QN=" qn ";ST=32;CN=" cn ";PW=123456;MN=" MN ";Flag=5;CP=&&" cp "&&"
#define SAY(qn, cn, cp) "QN=" qn ";ST=91;CN=" cn ";PW=123456;MN=" MN ";Flag=4;CP=&&" cp "&&"
#define DATA(qn, cn, flag, cp) "QN=" qn ";ST=32;CN=" cn ";PW=123456;MN=" MN ";Flag=" flag ";CP=&&" cp "&&"

static void ask(const char *service, const char *body)
{
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, service, body, 5, 7500), 0);
}

static void begin(const char *settings)
{
	start(settings);
	come();
}

static void every_service_has_its_bytes(void **state)
{
	static const struct { const char *service, *body, *cn, *cp; } all[] = {
		{ "setTimeout", "{\"overTime\": 5, \"reCount\": 3}", "1000", "OverTime=5;ReCount=3" },
		{ "getTime", "{}", "1011", "" },
		{ "setTime", "{\"polId\": \"w01018\", \"systemTime\": \"20261121160102\"}", "1012", "PolId=w01018;SystemTime=20261121160102" },
		{ "setTime", "{}", "1012", "SystemTime=20261121160000" },
		{ "getRtdInterval", "{}", "1061", "" },
		{ "setRtdInterval", "{\"rtdInterval\": 3600}", "1062", "RtdInterval=3600" },
		{ "getMinInterval", "{}", "1063", "" },
		{ "setMinInterval", "{\"minInterval\": 5}", "1064", "MinInterval=5" },
		{ "setPassword", "{\"newPW\": \"654321\"}", "1072", "NewPW=654321" },
		{ "startRealtime", "{}", "2011", "" },
		{ "stopRealtime", "{}", "2012", "" },
		{ "startFacilityState", "{}", "2021", "" },
		{ "stopFacilityState", "{}", "2022", "" },
		{ "queryHistory", "{\"kind\": \"day\", \"begin\": \"20261101000000\", \"end\": \"20261102000000\"}", "2031", "BeginTime=20261101000000;EndTime=20261102000000" },
		{ "queryHistory", "{\"kind\": \"facility\", \"begin\": \"20261101000000\", \"end\": \"20261102000000\"}", "2041", "BeginTime=20261101000000;EndTime=20261102000000" },
		{ "queryHistory", "{\"kind\": \"minute\", \"begin\": 1795248000000, \"end\": 1795248060000}", "2051", "BeginTime=20261121160000;EndTime=20261121160100" },
		{ "queryHistory", "{\"kind\": \"hour\", \"begin\": \"20261101000000\", \"end\": \"20261102000000\"}", "2061", "BeginTime=20261101000000;EndTime=20261102000000" },
		{ "calibrate", "{\"polId\": \"w01018\"}", "3011", "PolId=w01018" },
		{ "sampleNow", "{\"polId\": \"w01018\"}", "3012", "PolId=w01018" },
		{ "clean", "{\"polId\": \"w01018\"}", "3013", "PolId=w01018" },
		{ "compareSample", "{\"polId\": \"w01018\"}", "3014", "PolId=w01018" },
		{ "keepSample", "{}", "3015", "" },
		{ "setSamplingCycle", "{\"polId\": \"w01018\", \"cstartTime\": \"000000\", \"cTime\": 2}", "3016", "PolId=w01018;CstartTime=000000;CTime=2" },
		{ "getSamplingCycle", "{\"polId\": \"w01018\"}", "3017", "PolId=w01018" },
		{ "getSamplingDuration", "{\"polId\": \"w01018\"}", "3018", "PolId=w01018" },
		{ "getInstrumentId", "{\"polId\": \"w01018\"}", "3019", "PolId=w01018" },
		{ "getInfo", "{\"polId\": \"w01018\", \"infoId\": \"i11001\", \"begin\": \"20261101000000\", \"end\": \"20261102000000\"}", "3020",
		  "PolId=w01018;InfoId=i11001;BeginTime=20261101000000;EndTime=20261102000000" },
		{ "getInfo", "{\"infoId\": \"i22001\"}", "3020", "InfoId=i22001" },
		{ "setParameter", "{\"polId\": \"w01018\", \"infoId\": \"i13004\", \"value\": -0.50}", "3021", "PolId=w01018;InfoId=i13004;i13004-Info=-0.50" },
		{ "sendRaw", "{\"cn\": 3099, \"cp\": \"a=1;b=2\"}", "3099", "a=1;b=2" },
	};
	char want[400];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		begin(NULL);
		ask(all[i].service, all[i].body);
		snprintf(want, sizeof(want), "QN=" Q0 ";ST=32;CN=%s;PW=123456;MN=" MN ";Flag=5;CP=&&%s&&", all[i].cn, all[i].cp);
		expect(want);
		check_and_end(NULL);
	}
}

static void edition_2005_has_its_own(void **state)
{
	static const struct { const char *service, *body, *cn, *cp; } all[] = {
		{ "setAlarmLimits", "{\"polId\": \"101\", \"low\": 1.1, \"up\": 9.9}", "1022", "101-LowValue=1.1,101-UpValue=9.9" },
		{ "getAlarmLimits", "{\"polId\": \"101\"}", "1021", "PolId=101" },
		{ "getCentreAddress", "{}", "1031", "" },
		{ "setCentreAddress", "{\"alarmTarget\": \"192.0.2.1\"}", "1032", "AlarmTarget=192.0.2.1" },
		{ "getReportTime", "{}", "1041", "" },
		{ "setReportTime", "{\"reportTime\": \"0130\"}", "1042", "ReportTime=0130" },
		{ "queryAlarms", "{\"begin\": \"20040506010001\", \"end\": \"20040506150030\"}", "2071", "BeginTime=20040506010001;EndTime=20040506150030" },
		{ "setPassword", "{\"newPW\": \"654321\"}", "1072", "PW=654321" },
		{ "setSamplingTimes", "{\"polId\": \"101\", \"cTime\": \"0,8,16\"}", "3014", "PolId=101;CTime=0,8,16" },
		{ "setWarnTime", "{\"warnTime\": 5}", "1001", "WarnTime=5" },
	};
	static const char *const only_2017[] = { "getMinInterval", "compareSample", "keepSample", "getInfo", "getInstrumentId" };
	char want[400];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		start(NULL);
		tell("ST=32;CN=2011;PW=123456;MN=88888880000001;CP=&&DataTime=20261121160000;011-Rtd=1&&");
		fake_forget(&f);
		ask(all[i].service, all[i].body);
		snprintf(want, sizeof(want), "QN=" Q0 ";ST=32;CN=%s;PW=123456;MN=88888880000001;Flag=3;CP=&&%s&&", all[i].cn, all[i].cp);
		expect(want);
		check_and_end(NULL);
	}
	start("{\"edition\": \"2005\", \"flag2005\": \"1\"}");
	come();
	for (i = 0; i < sizeof(only_2017) / sizeof(only_2017[0]); i++) {
		ask(only_2017[i], "{\"polId\": \"w01018\", \"infoId\": \"i11001\"}");
		expect_done(5, CW_CODE_NOT_THERE, NULL);
	}
	ask("startRealtime", "{}");
	expect("QN=" Q0 ";ST=32;CN=2011;PW=123456;MN=" MN ";Flag=1;CP=&&&&");
	/* Its answers have the number inside. */
	tell("ST=91;CN=9011;PW=123456;MN=" MN ";CP=&&QN=" Q0 ";QnRtn=1&&");
	tell("ST=91;CN=9012;PW=123456;MN=" MN ";CP=&&QN=" Q0 ";ExeRtn=1&&");
	expect_done(5, CW_CODE_OK, "{\"exeRtn\": 1}");
	check_and_end(NULL);
	begin(NULL);
	ask("getCentreAddress", "{}");
	expect_done(5, CW_CODE_NOT_THERE, NULL);
	check_and_end(NULL);
}

static void three_steps(void **state)
{
	(void)state;
	begin(NULL);
	ask("getTime", "{}");
	expect(REQ(Q0, "1011", ""));
	tell(SAY(Q0, "9011", "QnRtn=1"));
	tell(DATA(Q0, "1011", "4", "SystemTime=20261121160005"));
	assert_int_equal(f.done.n, 0);
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_done(5, CW_CODE_OK, "{\"exeRtn\": 1, \"systemTime\": 1795248005000}");
	expect_no_record();
	expect_silence();
	/* A second answer to it is nobody's. */
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	assert_int_equal(counter("unmatched"), 1);
}

static void refusals_of_the_device_have_its_codes(void **state)
{
	(void)state;
	begin(NULL);
	ask("startRealtime", "{}");
	tell(SAY(Q0, "9011", "QnRtn=3"));
	expect_done(5, 100003, "{\"qnRtn\": 3, \"message\": \"the device says that PW is wrong\"}");
	ask("startRealtime", "{}");
	tell(SAY("20261121160000001", "9011", "QnRtn=1"));
	tell(SAY("20261121160000001", "9012", "ExeRtn=5"));
	expect_done(5, 101005, "{\"exeRtn\": 5, \"message\": \"the device is busy\"}");
	/* No data is no failure where data was asked for. */
	ask("queryHistory", "{\"kind\": \"hour\", \"begin\": \"20261121000000\", \"end\": \"20261121120000\"}");
	tell(SAY("20261121160000002", "9011", "QnRtn=1"));
	tell(SAY("20261121160000002", "9012", "ExeRtn=100"));
	expect_done(5, CW_CODE_OK, "{\"exeRtn\": 100, \"packets\": [], \"packetCount\": 0}");
	ask("stopRealtime", "{}");
	tell(SAY("20261121160000003", "9013", ""));
	expect_done(5, CW_CODE_OK, "{}");
}

#define HOUR(hour, value) "DataTime=20261121" hour "0000;w01018-Avg=" value

static void history_is_collected_and_the_rest_streamed(void **state)
{
	struct cw_record rec;

	(void)state;
	begin("{\"replyPackets\": 1}");
	ask("queryHistory", "{\"kind\": \"hour\", \"begin\": \"20261121080000\", \"end\": \"20261121100000\"}");
	assert_true(f.extend_ms > 300000); /* it takes longer than a command may */
	expect(REQ(Q0, "2061", "BeginTime=20261121080000;EndTime=20261121100000"));
	tell(SAY(Q0, "9011", "QnRtn=1"));
	tell(DATA("20261121160000010", "2061", "5", HOUR("08", "1.0")));
	expect("QN=20261121160000010;ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	expect_no_record();
	/* What comes by itself meanwhile is no part of it. */
	tell(DATA("20261121160000011", "2061", "4", HOUR("15", "3.0")));
	rec = expect_record(CW_KIND_EVENT, "hourData", "{\"systemCode\": \"32\", \"dataTime\": 1795244400000, \"factors\": [{\"code\": \"w01018\", \"avg\": 3.0}]}");
	assert_int_equal(rec.flags, 0);
	tell(DATA("20261121160000012", "2061", "5", HOUR("09", "2.0")));
	rec = expect_record(CW_KIND_EVENT, "hourData", "{\"systemCode\": \"32\", \"dataTime\": 1795222800000, \"factors\": [{\"code\": \"w01018\", \"avg\": 2.0}]}");
	assert_int_equal(rec.flags, CW_RECORD_REPLAY);
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_done(5, CW_CODE_OK, "{\"exeRtn\": 1, \"packetCount\": 2, \"packets\": [{\"dataTime\": 1795219200000, \"factors\": [{\"code\": \"w01018\", \"avg\": 1.0}]}]}");
}

/* Its answer was lost: answered again, and neither counted nor collected nor published twice. */
static void a_packet_that_comes_again_is_in_the_reply_once(void **state)
{
	(void)state;
	begin("{\"replyPackets\": 1}");
	ask("queryHistory", "{\"kind\": \"hour\", \"begin\": \"20261121080000\", \"end\": \"20261121100000\"}");
	fake_forget(&f);
	tell(SAY(Q0, "9011", "QnRtn=1"));
	tell(DATA("20261121160000010", "2061", "5", HOUR("08", "1.0")));
	tell(DATA("20261121160000010", "2061", "5", HOUR("08", "1.0")));
	expect("QN=20261121160000010;ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	expect("QN=20261121160000010;ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	expect_no_record();
	tell(DATA("20261121160000012", "2061", "5", HOUR("09", "2.0")));
	tell(DATA("20261121160000012", "2061", "5", HOUR("09", "2.0")));
	assert_int_equal(f.records.n, 2); /* with one key: the host drops the second */
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_done(5, CW_CODE_OK, "{\"exeRtn\": 1, \"packetCount\": 2, \"packets\": [{\"dataTime\": 1795219200000, \"factors\": [{\"code\": \"w01018\", \"avg\": 1.0}]}]}");
}

/* 9011 again and again buys no time. */
static void a_device_that_only_promises_is_not_waited_for(void **state)
{
	unsigned i;

	(void)state;
	begin("{\"longExecutionTimeout\": 60000}");
	ask("calibrate", "{\"polId\": \"w01018\"}");
	for (i = 0; i < 7; i++) {
		tell(SAY(Q0, "9011", "QnRtn=1"));
		fake_advance(&f, 10000);
	}
	expect_done(5, CW_CODE_TIMED_OUT, "{\"message\": \"the device took the request and then said nothing more\"}");
	assert_int_equal(counter("unmatched"), 6);
}

/* The last answer to a read counts, and is charged once. */
static void values_that_come_twice_are_in_the_reply_once(void **state)
{
	unsigned i;

	(void)state;
	begin(NULL);
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_GET, NULL, "{\"identifiers\": [\"RtdInterval\"]}", 7, 7500), 0);
	for (i = 0; i < 20; i++)
		tell(DATA(Q0, "1061", "4", "RtdInterval=60"));
	tell(DATA(Q0, "1061", "4", "RtdInterval=90"));
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_done(7, CW_CODE_OK, "{\"RtdInterval\": 90}");
}

static void no_answer_is_asked_for_again(void **state)
{
	unsigned i;

	(void)state;
	begin(NULL);
	ask("startRealtime", "{}");
	for (i = 0; i < 4; i++) {
		expect(REQ(Q0, "2011", ""));
		expect_silence();
		fake_advance(&f, 10000);
	}
	expect_silence();
	expect_done(5, CW_CODE_TIMED_OUT, "{\"message\": \"the device did not answer\"}");
	assert_int_equal(counter("resent"), 3);
	assert_int_equal(counter("timedOut"), 1);
}

static void after_9011_nothing_is_sent_again(void **state)
{
	char qn[18] = "", answer[200];
	unsigned i;

	(void)state;
	begin(NULL);
	ask("startRealtime", "{}");
	expect(REQ(Q0, "2011", ""));
	tell(SAY(Q0, "9011", "QnRtn=1"));
	fake_advance(&f, 10001);
	expect_silence();
	expect_done(5, CW_CODE_TIMED_OUT, "{\"message\": \"the device took the request and then said nothing more\"}");
	/* Calibration may take minutes. */
	ask("calibrate", "{\"polId\": \"w01018\"}");
	memcpy(qn, heard() + 9, 17);
	snprintf(answer, sizeof(answer), "QN=%s;ST=91;CN=9011;PW=123456;MN=" MN ";Flag=4;CP=&&QnRtn=1&&", qn);
	tell(answer);
	for (i = 0; i < 29; i++) { /* it goes on reporting */
		fake_advance(&f, 10000);
		tell("ST=91;CN=9015;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	}
	assert_int_equal(f.done.n, 1);
	fake_advance(&f, 10001);
	expect_done(5, CW_CODE_TIMED_OUT, NULL);
}

static void command_1000_changes_times_and_they_are_kept(void **state)
{
	(void)state;
	begin(NULL);
	ask("setTimeout", "{\"overTime\": 2, \"reCount\": 1}");
	tell(SAY(Q0, "9011", "QnRtn=1"));
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_done(5, CW_CODE_OK, NULL);
	assert_true(f.saved_len > 0);
	fake_close(&f);
	fake_open(&f);
	come();
	ask("startRealtime", "{}");
	fake_advance(&f, 4001);
	assert_int_equal(f.sent.n, 2);
	expect_done(5, CW_CODE_TIMED_OUT, NULL);
}

static void a_new_password_is_sent_and_wanted_from_then_on(void **state)
{
	(void)state;
	begin("{\"password\": \"123456\"}");
	ask("setPassword", "{\"newPW\": \"654321\"}");
	expect(REQ(Q0, "1072", "NewPW=654321"));
	tell(SAY(Q0, "9011", "QnRtn=1"));
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_done(5, CW_CODE_OK, "{\"exeRtn\": 1}");
	/* The old one may still be under way, until the new one has been seen. */
	tell(DATA("20261121160000020", "2021", "4", "SB1-RS=1"));
	assert_int_equal(counter("password"), 0);
	tell("QN=20261121160000021;ST=32;CN=2021;PW=654321;MN=" MN ";Flag=4;CP=&&SB1-RS=1&&");
	tell(DATA("20261121160000022", "2021", "4", "SB1-RS=1"));
	assert_int_equal(counter("password"), 1);
	fake_close(&f);
	fake_forget(&f);
	fake_open(&f);
	tell("QN=20261121160000023;ST=32;CN=2021;PW=654321;MN=" MN ";Flag=4;CP=&&SB1-RS=1&&");
	ask("startRealtime", "{}");
	expect("QN=" Q0 ";ST=32;CN=2011;PW=654321;MN=" MN ";Flag=5;CP=&&&&");
}

static void properties_are_set_and_asked_for_one_after_another(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"RtdInterval\": 60, \"MinInterval\": 10}", 6, 7500), 0);
	expect(REQ(Q0, "1062", "RtdInterval=60"));
	tell(SAY(Q0, "9011", "QnRtn=1"));
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"RtdInterval\": 60}");
	expect(REQ("20261121160000001", "1064", "MinInterval=10"));
	tell(SAY("20261121160000001", "9011", "QnRtn=1"));
	assert_int_equal(f.done.n, 0);
	tell(SAY("20261121160000001", "9012", "ExeRtn=1"));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"MinInterval\": 10}");
	expect_done(6, CW_CODE_OK, "{}");
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_GET, NULL, "{\"identifiers\": [\"MinInterval\", \"RtdInterval\"]}", 7, 7500), 0);
	expect(REQ("20261121160000002", "1063", ""));
	tell(SAY("20261121160000002", "9011", "QnRtn=1"));
	tell(DATA("20261121160000002", "1063", "4", "MinInterval=10"));
	tell(SAY("20261121160000002", "9012", "ExeRtn=1"));
	expect(REQ("20261121160000003", "1061", ""));
	tell(DATA("20261121160000003", "1061", "4", "RtdInterval=60"));
	tell(SAY("20261121160000003", "9012", "ExeRtn=1"));
	expect_done(7, CW_CODE_OK, "{\"MinInterval\": 10, \"RtdInterval\": 60}");
}

static void what_cannot_be_expressed_is_refused_with_a_sentence(void **state)
{
	static const struct { const char *service, *body; int code; } all[] = {
		{ "setRtdInterval", "{\"rtdInterval\": 29}", CW_CODE_BAD_INPUT },
		{ "setRtdInterval", "{}", CW_CODE_BAD_INPUT },
		{ "setMinInterval", "{\"minInterval\": 7}", CW_CODE_BAD_INPUT },
		{ "setPassword", "{\"newPW\": \"12;3\"}", CW_CODE_BAD_INPUT },
		{ "setParameter", "{\"infoId\": \"i13004\", \"value\": \"a&&b\"}", CW_CODE_BAD_INPUT },
		{ "setParameter", "{\"infoId\": \"i13004\", \"value\": [1]}", CW_CODE_BAD_INPUT },
		{ "queryHistory", "{\"kind\": \"week\"}", CW_CODE_BAD_INPUT },
		{ "queryHistory", "{\"kind\": \"day\", \"begin\": \"20261301000000\", \"end\": 0}", CW_CODE_BAD_INPUT },
		{ "calibrate", "{\"polId\": \"w0;1\"}", CW_CODE_BAD_INPUT },
		{ "sendRaw", "{\"cn\": \"20\"}", CW_CODE_BAD_INPUT },
		{ "nothing", "{}", CW_CODE_UNSUPPORTED },
	};
	size_t i;

	(void)state;
	begin(NULL);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		ask(all[i].service, all[i].body);
		expect_done(5, all[i].code, NULL);
	}
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"Speed\": 1}", 5, 7500), 0);
	expect_done(5, CW_CODE_BAD_INPUT, NULL);
	expect_silence();
}

static void the_same_command_twice_waits_and_numbers_are_never_the_same(void **state)
{
	(void)state;
	begin(NULL);
	ask("startRealtime", "{}");
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "startRealtime", "{}", 6, 7500), CW_EBUSY);
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "startFacilityState", "{}", 7, 7500), 0);
	expect(REQ(Q0, "2011", ""));
	expect(REQ("20261121160000001", "2021", ""));
	f.now_ms -= 5000; /* the clock was set back */
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "getTime", "{}", 8, 7500), 0);
	expect(REQ("20261121160000002", "1011", ""));
	fake_event(&f, CW_EV_COMMAND_CANCELLED, 7);
	tell(SAY("20261121160000001", "9012", "ExeRtn=1"));
	assert_int_equal(f.done.n, 0);
	tell(SAY("20261121160000002", "9012", "ExeRtn=1"));
	expect_done(8, CW_CODE_OK, NULL);
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	expect_done(5, CW_CODE_OK, NULL);
}

static void a_device_that_asks_for_the_time_is_given_it(void **state)
{
	(void)state;
	begin(NULL);
	tell(DATA("20261121160000050", "1013", "5", "PolId=w01018"));
	expect_record(CW_KIND_EVENT, "timeCalibrationRequest", "{\"polId\": \"w01018\"}");
	expect("QN=20261121160000050;ST=91;CN=9013;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	expect(REQ(Q0, "1012", "PolId=w01018;SystemTime=20261121160000"));
	tell(SAY(Q0, "9011", "QnRtn=1"));
	tell(SAY(Q0, "9012", "ExeRtn=1"));
	assert_int_equal(f.done.n, 0);
	assert_int_equal(counter("unmatched"), 0);
}

static void a_first_connection_is_set_up_when_asked(void **state)
{
	static const char *const steps[][2] = {
		{ "1012", "SystemTime=20261121160000" }, { "1000", "OverTime=10;ReCount=3" }, { "1062", "RtdInterval=60" }, { "1064", "MinInterval=10" },
		{ "2011", "" }, { "2022", "" },
	};
	char text[300];
	size_t i;

	(void)state;
	start("{\"firstConnection\": {\"clock\": true, \"timeout\": true, \"rtdInterval\": 60, \"minInterval\": 10, \"realtime\": \"start\", \"facilityState\": \"stop\"}}");
	tell(DATA("20261121160000050", "2021", "4", "SB1-RS=1"));
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		snprintf(text, sizeof(text), "QN=2026112116000000%zu;ST=32;CN=%s;PW=123456;MN=" MN ";Flag=5;CP=&&%s&&", i, steps[i][0], steps[i][1]);
		expect(text);
		snprintf(text, sizeof(text), "QN=2026112116000000%zu;ST=91;CN=%s;PW=123456;MN=" MN ";Flag=4;CP=&&%s&&", i, i == 5 ? "9013" : "9012",
		         i == 5 ? "" : "ExeRtn=1");
		tell(text);
	}
	expect_silence();
	tell(DATA("20261121160000051", "2021", "4", "SB1-RS=1"));
	expect_silence();
}

static void a_result_inside_9014_counts(void **state)
{
	(void)state;
	begin(NULL);
	ask("startRealtime", "{}");
	tell(SAY(Q0, "9014", "QnRtn=1"));
	assert_int_equal(f.done.n, 0);
	tell(SAY(Q0, "9014", "ExeRtn=1"));
	expect_done(5, CW_CODE_OK, NULL);
}

static void what_is_open_ends_with_the_connection(void **state)
{
	(void)state;
	begin(NULL);
	ask("startRealtime", "{}");
	fake_close(&f);
	assert_int_equal(f.charged, 0);
}

#define T(name) cmocka_unit_test_teardown(name, check_and_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_service_has_its_bytes), cmocka_unit_test(edition_2005_has_its_own), T(three_steps),
		T(refusals_of_the_device_have_its_codes), T(history_is_collected_and_the_rest_streamed), T(no_answer_is_asked_for_again),
		T(a_packet_that_comes_again_is_in_the_reply_once),
		T(after_9011_nothing_is_sent_again), T(command_1000_changes_times_and_they_are_kept), T(a_new_password_is_sent_and_wanted_from_then_on),
		T(a_device_that_only_promises_is_not_waited_for),
		T(properties_are_set_and_asked_for_one_after_another), T(what_cannot_be_expressed_is_refused_with_a_sentence),
		T(values_that_come_twice_are_in_the_reply_once),
		T(the_same_command_twice_waits_and_numbers_are_never_the_same), T(a_device_that_asks_for_the_time_is_given_it),
		T(a_first_connection_is_set_up_when_asked), T(a_result_inside_9014_counts), T(what_is_open_ends_with_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
