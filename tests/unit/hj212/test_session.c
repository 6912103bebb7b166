/*
 * Sessions: who a frame is from, several devices on one connection, what is published, when an upload is answered,
 * data areas cut in two, silence.
 * covers: M02
 */
#include "station.h"

#define UP(qn, cn, flag, cp) "QN=" qn ";ST=32;CN=" cn ";PW=123456;MN=" MN ";Flag=" flag ";CP=&&" cp "&&"
#define ACK(qn) "QN=" qn ";ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&"
#define RTD "DataTime=20261121160000;w01018-Rtd=1.50,w01018-Flag=N"

static void a_frame_waits_until_its_device_is_known(void **state)
{
	(void)state;
	start(NULL);
	f.auto_identify = 0;
	tell(UP(Q1, "2011", "5", RTD));
	tell(UP("20261121160000002", "2011", "5", RTD));
	expect_no_record();
	assert_string_equal(f.identity, MN);
	fake_identified(&f);
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1.50, \"w01018_Flag\": \"N\"}");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1.50, \"w01018_Flag\": \"N\"}");
	expect(ACK(Q1));
	expect(ACK("20261121160000002"));
	assert_int_equal(f.good, 2);
}

static void an_unknown_device_hears_nothing(void **state)
{
	(void)state;
	start(NULL);
	f.auto_identify = 0;
	tell(UP(Q1, "2011", "5", RTD));
	fake_refused(&f, CW_REFUSED_UNKNOWN);
	expect_silence();
	expect_no_record();
	/* The next frame asks again. */
	tell(UP("20261121160000002", "2011", "5", RTD));
	fake_identified(&f);
	expect(ACK("20261121160000002"));
}

static void a_frame_that_was_set_aside_is_not_passed_over_twice(void **state)
{
	(void)state;
	start(NULL);
	f.auto_identify = 0;
	tell(UP(Q1, "2011", "5", RTD));
	fake_refused(&f, CW_REFUSED_KEPT);
	expect_silence();
	tell(UP("20261121160000002", "2011", "5", RTD));
	fake_identified(&f);
	expect(ACK("20261121160000002"));
	expect_silence();
}

static void kept_frames_are_taken_without_timers_and_requests(void **state)
{
	(void)state;
	start("{\"firstConnection\": {\"clock\": true}}");
	fake_close(&f);
	f.flags = CW_EVF_KEPT;
	fake_open(&f);
	tell(UP(Q1, "2011", "4", RTD));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1.50, \"w01018_Flag\": \"N\"}");
	expect_silence();
	fake_advance(&f, 1000000);
	assert_int_equal(f.attached, 1);
}

static void several_devices_share_a_connection(void **state)
{
	(void)state;
	start(NULL);
	tell("QN=" Q1 ";ST=32;CN=2011;PW=1;MN=A;Flag=5;CP=&&DataTime=20261121160000;w01018-Rtd=1&&");
	tell("QN=" Q1 ";ST=31;CN=2011;PW=2;MN=B;Flag=5;CP=&&DataTime=20261121160000;a21026-Rtd=2&&");
	tell("QN=" Q1 ";ST=32;CN=2011;PW=1;MN=A;Flag=5;CP=&&DataTime=20261121160030;w01018-Rtd=3&&");
	assert_int_equal(f.device_count, 2);
	expect("QN=" Q1 ";ST=91;CN=9014;PW=1;MN=A;Flag=4;CP=&&&&");
	expect("QN=" Q1 ";ST=91;CN=9014;PW=2;MN=B;Flag=4;CP=&&&&");
	expect("QN=" Q1 ";ST=91;CN=9014;PW=1;MN=A;Flag=4;CP=&&&&");
	assert_string_equal(f.records.v[0].name, "A");
	assert_string_equal(f.records.v[1].name, "B");
	f.target = 1;
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "startRealtime", "{}", 5, 7500), 0);
	expect("QN=20261121160000000;ST=31;CN=2011;PW=2;MN=B;Flag=5;CP=&&&&");
	/* One leaves, the other stays. */
	fake_detach(&f, 0);
	tell("QN=20261121160000003;ST=91;CN=9011;PW=2;MN=B;Flag=4;CP=&&QnRtn=1&&");
	assert_int_equal(counter("unmatched"), 1);
}

static void devices_beyond_the_limit_are_not_taken(void **state)
{
	(void)state;
	start("{\"maxDevices\": 1}");
	come();
	tell("QN=" Q1 ";ST=31;CN=2011;PW=2;MN=B;Flag=5;CP=&&&&");
	assert_int_equal(f.device_count, 1);
	assert_int_equal(counter("tooMany"), 1);
	expect_silence();
}

static void what_is_answered_when(void **state)
{
	(void)state;
	start(NULL);
	come();
	f.auto_settle = 0;
	tell(UP("20261121160000002", "2011", "5", RTD));
	expect_silence();
	fake_settle(&f, f.records.v[0].tag, CW_SETTLED_PENDING);
	expect_silence(); /* it sends it again */
	tell(UP("20261121160000002", "2011", "5", RTD));
	fake_settle(&f, f.records.v[1].tag, CW_SETTLED_DONE);
	expect(ACK("20261121160000002"));
	tell(UP("20261121160000003", "2011", "5", RTD));
	fake_settle(&f, f.records.v[2].tag, CW_SETTLED_REFUSED);
	expect(ACK("20261121160000003"));
	tell(UP("20261121160000004", "2011", "5", RTD));
	fake_settle(&f, f.records.v[3].tag, CW_SETTLED_LOST);
	expect_silence();
	f.emit_error = CW_EBUSY;
	tell(UP("20261121160000005", "2011", "5", RTD));
	expect_silence();
	f.emit_error = 0;
	/* Nothing in it, nothing to wait for. */
	tell(UP("20261121160000006", "2011", "5", ""));
	expect(ACK("20261121160000006"));
	assert_int_equal(counter("unanswered"), 3);
}

static void answers_of_2005_have_the_number_inside(void **state)
{
	(void)state;
	start(NULL);
	tell("QN=" Q1 ";ST=32;CN=2011;PW=123456;MN=88888880000001;Flag=1;CP=&&DataTime=20261121160000;011-Rtd=1&&");
	expect("ST=91;CN=9014;PW=123456;MN=88888880000001;CP=&&QN=" Q1 "&&");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"p011_Rtd\": 1}");
	check_and_end(NULL);
	start("{\"answer2005\": \"outside\", \"mapCodes\": true}");
	tell("QN=" Q1 ";ST=32;CN=2011;PW=123456;MN=88888880000001;Flag=1;CP=&&DataTime=20261121160000;011-Rtd=1&&");
	expect("QN=" Q1 ";ST=91;CN=9014;PW=123456;MN=88888880000001;Flag=0;CP=&&&&");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1}");
}

static void heartbeats(void **state)
{
	(void)state;
	start(NULL);
	tell("QN=" Q1 ";ST=91;CN=9015;PW=123456;MN=" MN ";Flag=5;CP=&&&&");
	expect("QN=" Q1 ";ST=91;CN=9013;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	tell("QN=" Q1 ";ST=91;CN=9021;PW=123456;MN=" MN ";Flag=5;CP=&&&&");
	expect("QN=" Q1 ";ST=91;CN=9014;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	tell("QN=" Q1 ";ST=91;CN=9021;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
	expect_silence();
	expect_no_record();
	check_and_end(NULL);
	start("{\"loginAnswer\": \"9022\"}");
	tell("QN=" Q1 ";ST=91;CN=9021;PW=123456;MN=" MN ";Flag=5;CP=&&&&");
	expect("QN=" Q1 ";ST=91;CN=9022;PW=123456;MN=" MN ";Flag=4;CP=&&&&");
}

static void uploads_become_events(void **state)
{
	struct cw_record rec;

	(void)state;
	start(NULL);
	tell(UP(Q1, "2061", "4", "DataTime=20261121150000;w00000-Cou=63.0,w00000-Flag=N;w01018-Min=1,w01018-ZsAvg=2.10,w01018-EFlag=A01"));
	rec = expect_record(CW_KIND_EVENT, "hourData", "{\"systemCode\": \"32\", \"dataTime\": 1795244400000, \"factors\": ["
	              "{\"code\": \"w00000\", \"cou\": 63.0, \"flag\": \"N\"}, {\"code\": \"w01018\", \"min\": 1, \"zsAvg\": 2.10, \"eFlag\": \"A01\"}]}");
	assert_int_equal(rec.time_ms, 1795244400000);
	tell(UP(Q1, "2031", "4", "DataTime=20261120000000;LA-DayData=53.0,LA-NightData=42.1"));
	expect_record(CW_KIND_EVENT, "dayData", "{\"systemCode\": \"32\", \"dataTime\": 1795104000000, \"factors\": [{\"code\": \"LA\", \"dayData\": 53.0, \"nightData\": 42.1}]}");
	tell(UP(Q1, "2041", "4", "DataTime=20261120000000;SB1-RT=1.1;SB2-RT=24"));
	expect_record(CW_KIND_EVENT, "facilityRuntimeDay", "{\"systemCode\": \"32\", \"dataTime\": 1795104000000, \"facilities\": [{\"code\": \"SB1\", \"hours\": 1.1}, {\"code\": \"SB2\", \"hours\": 24}]}");
	tell(UP(Q1, "2021", "4", "DataTime=20261121160000;SB1-RS=1;SB2-RS=0"));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"SB1_RS\": 1, \"SB2_RS\": 0}");
	tell(UP(Q1, "2081", "4", "DataTime=20261121160000;RestartTime=20261121155900"));
	expect_record(CW_KIND_EVENT, "loggerRestart", "{\"systemCode\": \"32\", \"dataTime\": 1795248000000, \"restartTime\": 1795247940000}");
	tell(UP(Q1, "3015", "4", "DataTime=20261121160000;VaseNo=7"));
	expect_record(CW_KIND_EVENT, "sampleKept", "{\"systemCode\": \"32\", \"dataTime\": 1795248000000, \"vaseNo\": 7}");
	tell(UP(Q1, "3019", "4", "PolId=w01018;w01018-SN=010000A8900016F000169DC1"));
	expect_record(CW_KIND_EVENT, "instrumentReplaced", "{\"polId\": \"w01018\", \"sn\": \"010000A8900016F000169DC1\"}");
	tell(UP(Q1, "3020", "4", "PolId=w01018;i11001-Info=//a;b,c=d//;i12001-Info=1"));
	expect_record(CW_KIND_EVENT, "fieldInfo", "{\"polId\": \"w01018\", \"infoId\": \"i11001\", \"kind\": \"log\", \"value\": \"a;b,c=d\"}");
	expect_record(CW_KIND_EVENT, "fieldInfo", "{\"polId\": \"w01018\", \"infoId\": \"i12001\", \"kind\": \"state\", \"value\": \"1\"}");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"i12001\": 1}");
	tell(UP(Q1, "2072", "4", "DataTime=20261121160000;101-Ala=1.1"));
	rec = expect_record(CW_KIND_EVENT, "overLimitAlarm", "{\"systemCode\": \"32\", \"dataTime\": 1795248000000, \"factors\": [{\"code\": \"101\", \"ala\": 1.1}]}");
	assert_int_equal(rec.event_type, CW_EVENT_ALERT);
	assert_int_equal(rec.flags, CW_RECORD_URGENT);
	tell(UP(Q1, "2099", "4", "a=b"));
	expect_record(CW_KIND_EVENT, "rawUpload", "{\"cn\": \"2099\", \"cp\": \"a=b\"}");
	assert_int_equal(counter("unknownCommand"), 1);
}

static void texts_of_2005_are_gbk(void **state)
{
	(void)state;
	start(NULL);
	tell(UP(Q1, "3020", "4", "i11001-Info=//\xc7\xe5\xcf\xb4//"));
	expect_record(CW_KIND_EVENT, "fieldInfo", "{\"infoId\": \"i11001\", \"kind\": \"log\", \"value\": \"\xe6\xb8\x85\xe6\xb4\x97\"}");
	check_and_end(NULL);
	start("{\"charset\": \"utf8\"}");
	tell(UP(Q1, "3020", "4", "i11001-Info=//\xff//"));
	expect_record(CW_KIND_EVENT, "fieldInfo", "{\"infoId\": \"i11001\", \"kind\": \"log\", \"value\": \"\xef\xbf\xbd\"}");
}

static void a_mark_that_leaves_normal_is_told(void **state)
{
	(void)state;
	start("{\"markedAsNull\": true}");
	tell(UP(Q1, "2011", "4", "DataTime=20261121160000;w01018-Rtd=1,w01018-Flag=N"));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": 1, \"w01018_Flag\": \"N\"}");
	expect_no_record();
	tell(UP(Q1, "2011", "4", "DataTime=20261121160030;w01018-Rtd=7,w01018-Flag=D"));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": null, \"w01018_Flag\": \"D\"}");
	expect_record(CW_KIND_EVENT, "factorAbnormal", "{\"code\": \"w01018\", \"flag\": \"D\", \"value\": null, \"dataTime\": 1795248030000}");
	tell(UP(Q1, "2011", "4", "DataTime=20261121160100;w01018-Rtd=7,w01018-Flag=D"));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"w01018_Rtd\": null, \"w01018_Flag\": \"D\"}");
	expect_no_record();
}

static void names_and_units_stand_beside_codes_when_asked(void **state)
{
	(void)state;
	start("{\"factorNames\": true}");
	tell(UP(Q1, "2051", "4", "DataTime=20261121155000;w01018-Avg=1.0"));
	expect_record(CW_KIND_EVENT, "minuteData", "{\"systemCode\": \"32\", \"dataTime\": 1795247400000, \"factors\": "
	              "[{\"code\": \"w01018\", \"name\": \"COD\", \"unit\": \"mg/L\", \"avg\": 1.0}]}");
}

#define CUT(qn, pno, cp) "QN=" qn ";ST=32;CN=2051;PW=123456;MN=" MN ";Flag=7;PNUM=2;PNO=" pno ";CP=" cp
#define WHOLE "{\"systemCode\": \"32\", \"dataTime\": 1795247400000, \"factors\": [{\"code\": \"w01018\", \"avg\": 1.5, \"flag\": \"N\"}]}"

static void a_data_area_in_two_frames_is_put_together(void **state)
{
	(void)state;
	start(NULL);
	come();
	tell(CUT("20261121160000002", "2", "18-Avg=1.5,w01018-Flag=N&&"));
	expect(ACK("20261121160000002"));
	expect_no_record();
	tell(CUT("20261121160000002", "1", "&&DataTime=20261121155000;w010"));
	expect_record(CW_KIND_EVENT, "minuteData", WHOLE);
	expect(ACK("20261121160000002"));
	assert_int_equal(counter("joined"), 1);
	/* With the && of their own they are whole, also under one number. */
	tell(CUT("20261121160000003", "1", "&&DataTime=20261121155000;w01018-Avg=1.5,w01018-Flag=N&&"));
	expect_record(CW_KIND_EVENT, "minuteData", WHOLE);
	tell(CUT("20261121160000003", "2", "&&DataTime=20261121155000;w01018-Avg=1.5,w01018-Flag=N&&"));
	expect_record(CW_KIND_EVENT, "minuteData", WHOLE);
}

static void what_never_becomes_whole_is_dropped(void **state)
{
	(void)state;
	start("{\"joins\": 2, \"joinTimeout\": 30000, \"joinBytes\": 1024}");
	come();
	tell(CUT("20261121160000002", "1", "&&DataTime=20261121155000;w010"));
	tell(CUT("20261121160000003", "1", "&&DataTime=20261121155000;w010"));
	tell(CUT("20261121160000004", "1", "&&DataTime=20261121155000;w010")); /* one too many */
	assert_int_equal(counter("joinsDropped"), 1);
	fake_advance(&f, 30001);
	assert_int_equal(counter("joinsDropped"), 3);
	fake_forget(&f);
	tell("QN=20261121160000005;ST=32;CN=2051;PW=123456;MN=" MN ";Flag=7;PNUM=999;PNO=1;CP=&&a"); /* too many */
	expect_silence();
	expect_no_record();
}

/* The last piece is not answered while the platform has not taken what it completed, however often it comes. */
static void a_piece_that_comes_again_stands_for_the_whole(void **state)
{
	struct cw_record rec;
	uint8_t key[32];
	size_t len;

	(void)state;
	start(NULL);
	come();
	f.auto_settle = 0;
	tell(CUT("20261121160000002", "1", "&&DataTime=20261121155000;w010"));
	expect(ACK("20261121160000002"));
	tell(CUT("20261121160000002", "2", "18-Avg=1.5,w01018-Flag=N&&"));
	rec = expect_record(CW_KIND_EVENT, "minuteData", WHOLE);
	len = rec.dedup.len;
	memcpy(key, rec.dedup.ptr, len);
	fake_settle(&f, 2, CW_SETTLED_PENDING);
	expect_silence();
	tell(CUT("20261121160000002", "2", "18-Avg=1.5,w01018-Flag=N&&"));
	rec = expect_record(CW_KIND_EVENT, "minuteData", WHOLE);
	assert_int_equal(rec.dedup.len, len);
	assert_memory_equal(rec.dedup.ptr, key, len);
	expect_silence();
	/* Whichever piece it is. */
	tell(CUT("20261121160000002", "1", "&&DataTime=20261121155000;w010"));
	rec = expect_record(CW_KIND_EVENT, "minuteData", WHOLE);
	assert_memory_equal(rec.dedup.ptr, key, len);
	expect_silence();
	fake_settle(&f, 3, CW_SETTLED_PENDING);
	expect_silence();
	fake_settle(&f, 4, CW_SETTLED_DONE);
	expect(ACK("20261121160000002"));
	assert_int_equal(counter("joined"), 1);
	fake_advance(&f, 60001);
	assert_int_equal(counter("joinsDropped"), 0);
}

/* Without numbers only the text tells one transmission from the next. */
static void pieces_of_two_transmissions_are_never_mixed(void **state)
{
	(void)state;
	start(NULL);
	come();
	tell(CUT("20261121160000002", "1", "&&DataTime=20261121154000;w010"));
	tell(CUT("20261121160000002", "1", "&&DataTime=20261121155000;w010"));
	expect_no_record();
	tell(CUT("20261121160000002", "2", "18-Avg=1.5,w01018-Flag=N&&"));
	expect_record(CW_KIND_EVENT, "minuteData", WHOLE);
	tell(CUT("20261121160000002", "1", "&&DataTime=20261121155000;w010"));
	fake_forget(&f);
	tell(CUT("20261121160000002", "2", "19-Avg=1.5,w01019-Flag=N&&"));
	expect_no_record();
	assert_int_equal(counter("joined"), 1);
	assert_int_equal(counter("joinsDropped"), 1);
}

static void silence_means_offline(void **state)
{
	(void)state;
	start(NULL);
	come();
	fake_advance(&f, 299000);
	assert_int_equal(f.attached, 1);
	tell(UP("20261121160000002", "2011", "4", RTD));
	fake_advance(&f, 299000);
	assert_int_equal(f.attached, 1);
	fake_advance(&f, 2000);
	assert_int_equal(f.attached, 0);
	assert_int_equal(counter("silent"), 1);
	assert_false(f.closing);
	/* It comes back. */
	tell(UP("20261121160000003", "2011", "5", RTD));
	assert_int_equal(f.attached, 1);
	check_and_end(NULL);
	/* Three intervals of the device count when they are longer. */
	start(NULL);
	tell(UP(Q1, "1061", "4", "RtdInterval=600"));
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"RtdInterval\": 600}");
	fake_advance(&f, 1799000);
	assert_int_equal(f.attached, 1);
	fake_advance(&f, 1000000);
	assert_int_equal(f.attached, 0);
}

/* The checksum of MODBUS is refused by the listener and allowed for one device: it is looked up before it is judged. */
static void a_device_s_own_settings_are_asked_for_before_its_frame_is_refused(void **state)
{
	char bytes[300];
	size_t n;

	(void)state;
	start(NULL);
	f.auto_identify = 0;
	n = station_frame(bytes, UP(Q1, "2021", "4", "SB1-RS=1"), "\r\n");
	memcpy(bytes + n - 6, "FFFF", 4);
	tell_bytes(bytes);
	assert_int_equal(f.asked.count, 1);
	assert_int_equal(f.asked.v[0].flags, CW_IDENTIFY_LOOKUP | CW_IDENTIFY_OPTIONAL);
	fake_identified(&f);
	assert_int_equal(f.bad, 1);
	assert_int_equal(f.attached, 0);
	expect_no_record();
}

#define T(name) cmocka_unit_test_teardown(name, check_and_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_frame_waits_until_its_device_is_known), T(an_unknown_device_hears_nothing), T(a_frame_that_was_set_aside_is_not_passed_over_twice),
		T(kept_frames_are_taken_without_timers_and_requests), T(several_devices_share_a_connection), T(devices_beyond_the_limit_are_not_taken),
		T(what_is_answered_when), T(answers_of_2005_have_the_number_inside), T(heartbeats), T(uploads_become_events), T(texts_of_2005_are_gbk),
		T(a_mark_that_leaves_normal_is_told), T(names_and_units_stand_beside_codes_when_asked), T(a_data_area_in_two_frames_is_put_together),
		T(what_never_becomes_whole_is_dropped), T(silence_means_offline), T(a_device_s_own_settings_are_asked_for_before_its_frame_is_refused),
		T(a_piece_that_comes_again_stands_for_the_whole),
		T(pieces_of_two_transmissions_are_never_mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
