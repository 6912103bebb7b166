/* The life of a terminal: registration, authentication, answers, reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "script.h"

static void registration_gives_a_code_and_the_code_opens_the_door(void **state)
{
	(void)state;
	start(NULL);
	register_it();
	assert_string_equal(f.identity, "13800000001");
	assert_false(f.attached);
	assert_int_equal(f.records.n, 0);
	tell(0x0102, code);
	expect(0x8001, "0001" "0102" "00");
	assert_true(f.attached);
	expect_record(CW_KIND_EVENT, "Registered",
	              "{\"province\":44,\"city\":303,\"manufacturer\":\"70111\",\"model\":\"BSJ-A6-BD\",\"terminalId\":\"0567872\",\"plateColor\":1,"
	              "\"plate\":\"\xe7\xb2\xa4" "B88888\"}");
	expect_record(CW_KIND_PROPERTIES, NULL,
	              "{\"PlateNumber\":\"\xe7\xb2\xa4" "B88888\",\"PlateColor\":1,\"TerminalModel\":\"BSJ-A6-BD\",\"TerminalId\":\"0567872\","
	              "\"Manufacturer\":\"70111\"}");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"ProtocolEdition\":\"2013\"}");
}

static void the_code_survives_a_reconnect_and_a_restart(void **state)
{
	uint8_t saved[CW_SAVE_MAX];
	size_t n;

	(void)state;
	start(NULL);
	go_online();
	fake_close(&f);
	fake_open(&f);
	tell(0x0102, code);
	expect(0x8001, "0002" "0102" "00");
	/* Another instance of the decoder, which drew another key. */
	n = f.saved_len;
	memcpy(saved, f.saved, n);
	fake_fini(&f);
	start(NULL);
	memcpy(f.saved, saved, n);
	f.saved_len = n;
	tell(0x0102, code);
	expect(0x8001, "0000" "0102" "00");
	assert_true(f.attached);
}

static void registering_again_gives_the_same_code(void **state)
{
	char first[64];

	(void)state;
	start(NULL);
	register_it();
	strcpy(first, code);
	register_it();
	assert_string_equal(first, code);
	tell(0x0102, code);
	fake_forget(&f);
	register_it();
	assert_string_equal(first, code);
}

static void a_registration_on_another_connection_is_published_with_the_login(void **state)
{
	(void)state;
	start(NULL);
	register_it();
	fake_close(&f);
	fake_open(&f);
	tell(0x0102, code);
	assert_string_not_equal(fake_record(&f, CW_KIND_EVENT, "Registered"), "(none)");
	fake_forget(&f);
	fake_close(&f);
	fake_open(&f);
	tell(0x0102, code);
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"ProtocolEdition\":\"2013\"}");
}

static void a_wrong_code_is_refused_and_the_connection_closed(void **state)
{
	(void)state;
	start(NULL);
	register_it();
	tell(0x0102, "3132333435");
	expect(0x8001, "0001" "0102" "01");
	assert_false(f.attached);
	assert_true(f.closing);
	assert_int_equal(f.close_ms, 2000);
}

static void the_policy_any_takes_every_code(void **state)
{
	(void)state;
	start("{\"authPolicy\": \"any\"}");
	tell(0x0102, "3132333435");
	expect(0x8001, "0000" "0102" "00");
	assert_true(f.attached);
}

static void the_policy_secret_takes_the_devices_own(void **state)
{
	(void)state;
	start("{\"authPolicy\": \"secret\", \"authSecret\": \"12345\"}");
	tell(0x0102, "3132333436");
	expect(0x8001, "0000" "0102" "01");
	f.closing = 0;
	tell(0x0102, "313233343500");
	expect(0x8001, "0001" "0102" "00");
	assert_true(f.attached);
}

static void an_unknown_number_is_answered_with_4(void **state)
{
	(void)state;
	start("{\"unknownCloseDelay\": 5000}");
	f.auto_identify = 0;
	tell(0x0100, REGISTER_2013);
	expect_silence();
	fake_refused(&f, CW_REFUSED_UNKNOWN);
	expect(0x8100, "0000" "04");
	assert_true(f.closing);
	assert_int_equal(f.close_ms, 5000);
}

static void who_cannot_be_looked_up_now_gets_no_answer(void **state)
{
	(void)state;
	start(NULL);
	f.auto_identify = 0;
	tell(0x0100, REGISTER_2013);
	fake_refused(&f, CW_REFUSED_LATER);
	expect_silence();
	f.auto_identify = 1;
	register_it();
}

static void a_zero_number_is_refused_unless_configured(void **state)
{
	(void)state;
	start(NULL);
	t.number = "000000000000";
	tell(0x0100, REGISTER_2013);
	expect(0x8100, "0000" "04");
	fake_fini(&f);
	start("{\"zeroNumber\": \"accept\", \"authPolicy\": \"any\"}");
	t.number = "000000000000";
	tell(0x0102, "3132");
	assert_string_equal(f.identity, "0");
	fake_fini(&f);
	start("{\"zeroNumber\": \"authCode\", \"authPolicy\": \"any\"}");
	t.number = "000000000000";
	tell(0x0102, "383635303030");
	assert_string_equal(f.identity, "865000");
}

static void a_number_that_is_not_decimal_is_hex_or_an_imei(void **state)
{
	(void)state;
	start("{\"authPolicy\": \"any\"}");
	t.number = "4f07788ef676";
	tell(0x0102, "3132");
	assert_string_equal(f.identity, "4f07788ef676");
	fake_fini(&f);
	start("{\"authPolicy\": \"any\", \"imeiNumber\": true}");
	t.number = "4f07788ef676"; /* 86893506000502, check digit 0 */
	tell(0x0102, "3132");
	assert_string_equal(f.identity, "868935060005020");
}

static void a_message_before_authentication_is_denied(void **state)
{
	(void)state;
	start(NULL);
	tell(0x0200, FIX TIME);
	expect(0x8001, "0000" "0200" "01");
	assert_int_equal(f.records.n, 0);
	tell(0x0002, "");
	expect(0x8001, "0001" "0002" "00");
}

static void identify_by_any_takes_the_number_of_the_first_message(void **state)
{
	(void)state;
	start("{\"identifyBy\": \"any\"}");
	tell(0x0200, FIX TIME);
	expect(0x8001, "0000" "0200" "00");
	assert_true(f.attached);
	assert_string_equal(f.identity, "13800000001");
	assert_int_equal(f.records.n, 1);
}

/* The host keeps the frames: silence, every message is asked for, and the number alone opens nothing afterwards. */
static void while_its_frames_are_kept_nothing_is_answered(void **state)
{
	(void)state;
	start(NULL);
	f.auto_identify = 0;
	tell(0x0102, "3132333435");
	fake_refused(&f, CW_REFUSED_KEPT);
	tell(0x0200, FIX TIME);
	assert_int_equal(f.asked.count, 1);
	assert_int_equal(f.asked.v[0].flags, CW_IDENTIFY_LOOKUP);
	fake_refused(&f, CW_REFUSED_KEPT);
	expect_silence();
	assert_false(f.closing);
	assert_int_equal(f.in_len, 0);
	tell(0x0200, FIX TIME);
	fake_identified(&f); /* it was added: the message is judged as that of any terminal that has not logged in */
	expect(0x8001, "0002" "0200" "01");
	assert_false(f.attached);
	assert_int_equal(f.records.n, 0);
}

static void kept_frames_need_no_log_in(void **state)
{
	(void)state;
	start(NULL);
	fake_close(&f);
	f.flags = CW_EVF_KEPT;
	fake_open(&f);
	tell(0x0100, REGISTER_2013);
	tell(0x0102, "3132333435");
	assert_false(f.attached);
	tell(0x0200, FIX TIME);
	assert_true(f.attached);
	assert_string_equal(f.identity, "13800000001");
	assert_int_equal(f.records.n, 1);
	expect(0x8001, "0002" "0200" "00"); /* which the host sends nowhere */
}

static void a_report_becomes_properties_with_the_devices_time(void **state)
{
	struct fake_blob *b;
	struct cw_record rec;

	(void)state;
	start(NULL);
	go_online();
	tell(0x0200, FIX TIME "0104000002f5" "02020016" "310109" "520103");
	expect(0x8001, "0002" "0200" "00");
	b = fake_next(&f.records);
	assert_non_null(b);
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	assert_int_equal(rec.time_ms, 1795247940000);
	assert_int_equal(rec.dedup.len, 17);
	f.records.taken = 0;
	expect_record(CW_KIND_PROPERTIES, NULL,
	              "{\"GeoLocation\":{\"Longitude\":114.032984,\"Latitude\":22.6426,\"Altitude\":128,\"CoordinateSystem\":1},\"Located\":1,"
	              "\"Speed\":60.0,\"Direction\":8,\"GpsTime\":\"1795247940000\",\"AccOn\":1,\"OutOfService\":0,\"FuelCut\":0,\"CircuitCut\":0,"
	              "\"DoorLocked\":0,\"LoadState\":0,\"DoorOpen\":[0,0,0,0,0],\"GnssSystems\":[],\"AlarmFlags\":\"00000000\","
	              "\"StatusFlags\":\"00000003\",\"Mileage\":75.7,\"Fuel\":2.2,\"Satellites\":9,\"ExtItems\":[{\"id\":\"0x52\",\"data\":\"03\"}]}");
}

static void the_answer_waits_for_the_ticket(void **state)
{
	uint64_t ticket;

	(void)state;
	start(NULL);
	go_online();
	f.auto_settle = 0;
	tell(0x0200, FIX TIME);
	expect_silence();
	ticket = f.records.v[0].tag;
	assert_int_not_equal(ticket, 0);
	fake_settle(&f, ticket, CW_SETTLED_PENDING);
	expect(0x8001, "0002" "0200" "01");
	tell(0x0200, FIX TIME);
	fake_settle(&f, f.records.v[1].tag, CW_SETTLED_REFUSED);
	expect(0x8001, "0003" "0200" "00");
}

static void a_report_for_which_there_is_no_room_is_denied(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	f.emit_error = CW_EBUSY;
	tell(0x0200, "00000001" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	expect(0x8001, "0002" "0200" "01");
	f.emit_error = 0;
	tell(0x0200, "00000001" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	expect(0x8001, "0003" "0200" "00");
	assert_int_equal(f.records.n, 2); /* the alarm was not lost with the refused report */
}

static void a_resent_report_has_the_same_key_and_no_second_alarm(void **state)
{
	struct cw_record a, b;

	(void)state;
	start(NULL);
	go_online();
	t.serial = 50;
	tell(0x0200, "00000001" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	assert_int_equal(f.records.n, 2);
	t.serial = 50;
	tell(0x0200, "00000001" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	assert_int_equal(f.records.n, 3);
	assert_true(cw_record_read(cw_bytes_of(f.records.v[0].ptr, f.records.v[0].len), &a));
	assert_true(cw_record_read(cw_bytes_of(f.records.v[2].ptr, f.records.v[2].len), &b));
	assert_true(cw_bytes_equal(a.dedup, b.dedup));
	assert_true(cw_record_read(cw_bytes_of(f.records.v[1].ptr, f.records.v[1].len), &b));
	assert_false(cw_bytes_equal(a.dedup, b.dedup));
}

static void alarm_bits_become_events_when_they_change(void **state)
{
	struct cw_record rec;

	(void)state;
	start(NULL);
	go_online();
	/* emergency (brief) and overspeed (kept) */
	tell(0x0200, "00000003" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	expect_record(CW_KIND_PROPERTIES, NULL, fake_json(cw_record_read(cw_bytes_of(f.records.v[0].ptr, f.records.v[0].len), &rec) ? rec.body : rec.name));
	assert_true(cw_record_read(cw_bytes_of(f.records.v[1].ptr, f.records.v[1].len), &rec));
	assert_int_equal(rec.flags, CW_RECORD_URGENT);
	assert_int_equal(rec.event_type, CW_EVENT_ALERT);
	expect_record(CW_KIND_EVENT, "VehicleAlarm",
	              "{\"code\":\"emergency\",\"bit\":0,\"state\":1,\"time\":\"1795247940000\",\"longitude\":114.032984,\"latitude\":22.6426,\"speed\":60.0}");
	expect_record(CW_KIND_EVENT, "VehicleAlarm",
	              "{\"code\":\"overspeed\",\"bit\":1,\"state\":1,\"time\":\"1795247940000\",\"longitude\":114.032984,\"latitude\":22.6426,\"speed\":60.0}");
	fake_forget(&f);
	/* The same again after a reconnect: nothing new. Then both gone: only the kept one ends. */
	fake_close(&f);
	fake_open(&f);
	tell(0x0102, code);
	fake_forget(&f);
	tell(0x0200, "00000003" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	assert_int_equal(f.records.n, 1);
	tell(0x0200, "00000000" "00000001" "00000000" "00000000" "0080" "0258" "0008" TIME);
	assert_int_equal(f.records.n, 3);
	f.records.taken = 2;
	expect_record(CW_KIND_EVENT, "VehicleAlarm", "{\"code\":\"overspeed\",\"bit\":1,\"state\":0,\"time\":\"1795247940000\",\"speed\":60.0}");
}

static void reserved_alarm_bits_raise_no_event(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	tell(0x0200, "00038000" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	assert_int_equal(f.records.n, 1);
}

static void a_batch_is_published_oldest_first_and_marked_when_replayed(void **state)
{
	struct cw_record a, b;

	(void)state;
	start(NULL);
	go_online();
	tell(0x0704, "0005" "01" "001c" FIX "261121155900" "001c" FIX "261121155800" "0099");
	expect(0x8001, "0002" "0704" "00");
	assert_int_equal(f.records.n, 2);
	assert_true(cw_record_read(cw_bytes_of(f.records.v[0].ptr, f.records.v[0].len), &a));
	assert_true(cw_record_read(cw_bytes_of(f.records.v[1].ptr, f.records.v[1].len), &b));
	assert_int_equal(b.time_ms - a.time_ms, 60000);
	assert_int_equal(a.flags, CW_RECORD_REPLAY);
	assert_int_equal(cw_map_int(a.body, "Replay", 0), 1);
}

static void the_long_header_is_answered_in_kind(void **state)
{
	struct message m;

	(void)state;
	start("{\"authPolicy\": \"any\"}");
	t.edition = 2019;
	t.number = "00000000013800000001";
	tell(0x0102, "03313233" "383637353330303030303030303030" "562e312e3200000000000000000000000000000000");
	fake_forget(&f);
	tell(0x0102, "03313233" "383637353330303030303030303030" "562e312e320000000000000000000000000000000");
	fake_forget(&f);
	tell(0x0002, "");
	assert_true(terminal_read(fake_next(&f.sent), &m));
	assert_int_equal(m.edition, 2019);
	assert_string_equal(m.number, "00000000013800000001");
	assert_string_equal(f.identity, "13800000001");
}

static void a_2019_login_tells_imei_and_version(void **state)
{
	(void)state;
	start("{\"authPolicy\": \"any\"}");
	t.edition = 2019;
	t.number = "00000000013800000001";
	tell(0x0102, "03313233" "383637353330303030303030303030" "562e312e32000000000000000000000000000000");
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"ProtocolEdition\":\"2019\",\"Imei\":\"867530000000000\",\"SoftwareVersion\":\"V.1.2\"}");
	tell(0x0004, "");
	expect(0x8001, "0000" "0102" "00");
	expect(0x8004, "261121080000");
}

static void another_number_on_the_connection_is_foreign(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	t.number = "013800000002";
	tell(0x0002, "");
	expect_silence();
	assert_int_equal(f.foreign, 1);
}

static void logging_out_voids_the_code(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	tell(0x0003, "");
	expect(0x8001, "0002" "0003" "00");
	assert_string_equal(fake_record(&f, CW_KIND_EVENT, "LoggedOut"), "{}");
	assert_false(f.attached);
	tell(0x0102, code);
	expect(0x8001, "0003" "0102" "01");
}

static void unknown_messages_are_answered_and_published_raw(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	tell(0x1007, "40000000");
	expect(0x8001, "0002" "1007" "00");
	expect_record(CW_KIND_EVENT, "RawUplink", "{\"messageId\":\"0x1007\",\"serial\":2,\"edition\":\"2013\",\"encrypted\":0,\"bodyHex\":\"40000000\"}");
	fake_fini(&f);
	start("{\"unknownResult\": \"3\"}");
	go_online();
	tell(0x1007, "40");
	expect(0x8001, "0002" "1007" "03");
}

static void a_body_that_cannot_be_read_is_raw_or_an_error(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	tell(0x0200, "0000");
	expect(0x8001, "0002" "0200" "00");
	assert_non_null(strstr(fake_record(&f, CW_KIND_EVENT, "RawUplink"), "\"bodyHex\":\"0000\""));
	fake_fini(&f);
	start("{\"strict\": true}");
	go_online();
	tell(0x0200, "0000");
	expect(0x8001, "0002" "0200" "02");
	assert_int_equal(f.records.n, 0);
	tell(0x0704, "0005" "01" "001c" FIX TIME);
	expect(0x8001, "0003" "0704" "02");
}

static void encrypted_bodies_are_denied_and_published_raw(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	t.attr = 0x0400;
	tell(0x0200, "0102");
	expect(0x8001, "0002" "0200" "03");
	assert_non_null(strstr(fake_record(&f, CW_KIND_EVENT, "RawUplink"), "\"encrypted\":1"));
}

static void a_terminals_key_is_answered_with_ours(void **state)
{
	char hex[300] = "00010001", text[700];

	(void)state;
	memset(hex + 8, 'a', 256);
	hex[264] = 0;
	start(NULL);
	go_online();
	tell(0x0a00, hex);
	expect_silence();
	assert_non_null(strstr(fake_record(&f, CW_KIND_EVENT, "TerminalKey"), "\"e\":65537"));
	fake_fini(&f);
	snprintf(text, sizeof(text), "{\"rsaKey\": {\"e\": 65537, \"n\": \"%s\"}}", hex + 8);
	start(text);
	go_online();
	tell(0x0a00, hex);
	expect(0x8a00, hex);
}

static void compressed_content_is_unpacked(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	/* gzip of "hello hello hello hello" */
	fake_forget(&f);
	tell(0x0901, "0000001c" "1f8b0800000000000203cb48cdc9c957c8402701e3513d8d17000000");
	expect_record(CW_KIND_EVENT, "CompressedUp", "{\"size\":" "28" ",\"text\":\"hello hello hello hello\"}");
	tell(0x0901, "00000003" "010203");
	expect_record(CW_KIND_EVENT, "CompressedUp", "{\"size\":3,\"dataHex\":\"010203\"}");
	fake_fini(&f);
	start("{\"inflateMax\": 0}");
	go_online();
	tell(0x0901, "0000001c" "1f8b0800000000000203cb48cdc9c957c8402701e3513d8d17000000");
	assert_non_null(strstr(fake_record(&f, CW_KIND_EVENT, "CompressedUp"), "dataHex"));
}

static void a_longer_content_with_codes_of_its_own_is_unpacked(void **state)
{
	static const char packed[] =
		"000001791f8b08000000000002033592bb8d24310c44539900c610ff14bddd3de0bc39632368f527ff104edda44c0185d2ab2ab668efbf"
		"9fdfdf57871e70bdff7dff793979d8fefef9fabc4c2c002c256a3a25edd14897a0668f488083654f1113859c694482d3a83d223488be5f"
		"2982de6287fd1141eb716ee9847effb68878fecd66c9a4f36f1b45e51230a8ccacf18d955c8a1488d795608c81468b4c21708cf4236f37"
		"7fb1f51e245a31113c68eb454716dc5af9e99d73e199048fad2aeb1c0247e239cc0a9ccbce08ef420a4f20548eeacd5ae87e2d3cef612c"
		"e9c7ed9ea0251ea185d3517191357c5c85a7129d25fd9cef860b8f62933db376c4d8ce05c710c37175a7cf1005673df6e195b57b1cd20b"
		"4ec0e2b8cef463d27bb18213894b687567738bd6a8e83acdd7b07404c067dd0508018823f37669f375d6beaef31669bb5683eecf2124a5"
		"b5791673d9ccac38ef42011627cfcbd093ab45e5e7688ad4278d77ade8d426ce1c31511127ce26feb8fe07aec998d115030000";
	static const char plain[] =
		"0:0,GNSS 919:1f,OBD 838:7c,CAN 757:117,GNSS 676:1f0,OBD 595:307,CAN 514:45c,GNSS 433:5ef,OBD 352:7c0,CAN 271:9"
		"cf,GNSS 190:c1c,OBD 109:ea7,CAN 28:1170,GNSS 947:1477,OBD 866:17bc,CAN 785:1b3f,GNSS 704:1f00,OBD 623:22ff,CAN"
		" 542:273c,GNSS 461:2bb7,OBD 380:3070,CAN 299:3567,GNSS 218:3a9c,OBD 137:400f,CAN 56:45c0,GNSS 975:4baf,OBD 894"
		":51dc,CAN 813:5847,GNSS 732:5ef0,OBD 651:65d7,CAN 570:6cfc,GNSS 489:745f,OBD 408:7c00,CAN 327:83df,GNSS 246:8b"
		"fc,OBD 165:9457,CAN 84:9cf0,GNSS 3:a5c7,OBD 922:aedc,CAN 841:b82f,GNSS 760:c1c0,OBD 679:cb8f,CAN 598:d59c,GNSS"
		" 517:dfe7,OBD 436:ea70,CAN 355:f537,GNSS 274:1003c,OBD 193:10b7f,CAN 112:11700,GNSS 31:122bf,OBD 950:12ebc,CAN"
		" 869:13af7,GNSS 788:14770,OBD 707:15427,CAN 626:1611c,GNSS 545:16e4f,OBD 464:17bc0,CAN 383:1896f,GNSS 302:1975"
		"c,OBD 221:1a587,CAN";
	char want[sizeof(plain) + 64];

	(void)state;
	start(NULL);
	go_online();
	tell(0x0901, packed);
	snprintf(want, sizeof(want), "{\"size\":%zu,\"text\":\"%s\"}", sizeof(packed) / 2 - 4, plain);
	expect_record(CW_KIND_EVENT, "CompressedUp", want);
}

static void an_alarm_may_be_confirmed_by_rule(void **state)
{
	(void)state;
	start("{\"alarmResult\": \"4\"}");
	go_online();
	tell(0x0200, "00000001" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	expect(0x8001, "0002" "0200" "04");
	tell(0x0200, FIX TIME);
	expect(0x8001, "0003" "0200" "00");
}

static void status_properties_come_once_when_only_changes_are_wanted(void **state)
{
	(void)state;
	start("{\"changeOnly\": true}");
	go_online();
	tell(0x0200, FIX TIME);
	assert_non_null(strstr(fake_record(&f, CW_KIND_PROPERTIES, NULL), "AccOn"));
	tell(0x0200, FIX TIME);
	assert_null(strstr(fake_record(&f, CW_KIND_PROPERTIES, NULL), "AccOn"));
	tell(0x0200, "00000000" "00000002" "01597fa8" "06cc0158" "0080" "0258" "0008" TIME);
	assert_non_null(strstr(fake_record(&f, CW_KIND_PROPERTIES, NULL), "AccOn"));
}

static void a_trailer_of_twenty_bytes_is_no_list_of_items(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	tell(0x0200, FIX TIME "0104000002f5" "0000000000000000" "780000000018");
	assert_non_null(strstr(fake_record(&f, CW_KIND_PROPERTIES, NULL),
	                       "\"ExtItems\":[{\"id\":\"rest\",\"data\":\"0104000002f50000000000000000780000000018\"}]"));
}

static void fuel_in_percent_stays_raw(void **state)
{
	const char *json;

	(void)state;
	start(NULL);
	go_online();
	tell(0x0200, FIX TIME "02028032" "010400000001" "010400000002");
	json = fake_record(&f, CW_KIND_PROPERTIES, NULL);
	assert_null(strstr(json, "\"Fuel\""));
	assert_non_null(strstr(json, "\"Mileage\":0.2"));
	assert_non_null(strstr(json, "{\"id\":\"0x02\",\"data\":\"8032\"},{\"id\":\"0x01\",\"data\":\"00000001\"}"));
}

static void switches_for_fuel_media_and_registration_work(void **state)
{
	(void)state;
	start("{\"percentFuel\": false, \"storeMedia\": false}");
	go_online();
	tell(0x0200, FIX TIME "02028032");
	assert_non_null(strstr(fake_record(&f, CW_KIND_PROPERTIES, NULL), "\"Fuel\":3281.8"));
	fake_forget(&f);
	part(0x0801, 2, 1, MEDIA_HEAD "ffd8");
	part(0x0801, 2, 2, "ffd9");
	assert_non_null(strstr(fake_record(&f, CW_KIND_EVENT, "MediaUploaded"), "\"dataHex\":\"ffd8ffd9\""));
	assert_null(f.attachment);
	expect(0x8001, "0003" "0801" "00");
	expect(0x8001, "0004" "0801" "00");
	expect(0x8800, "0000007b");
	fake_fini(&f);
	start("{\"registerResult\": \"2\"}");
	f.auto_identify = 0;
	tell(0x0100, REGISTER_2013);
	fake_refused(&f, CW_REFUSED_UNKNOWN);
	expect(0x8100, "0000" "02");
	assert_false(f.closing);
}

static void the_device_zone_is_a_setting(void **state)
{
	struct cw_record rec;

	(void)state;
	start("{\"timezone\": \"UTC\"}");
	go_online();
	tell(0x0200, FIX TIME);
	assert_true(cw_record_read(cw_bytes_of(f.records.v[0].ptr, f.records.v[0].len), &rec));
	assert_int_equal(rec.time_ms, 1795247940000 + 8 * 3600000);
	fake_fini(&f);
	start("{\"timezone\": \"-03:30\"}");
	go_online();
	tell(0x0200, FIX TIME);
	assert_true(cw_record_read(cw_bytes_of(f.records.v[0].ptr, f.records.v[0].len), &rec));
	assert_int_equal(rec.time_ms, 1795247940000 + 11 * 3600000 + 1800000);
}

static void the_edition_of_the_short_header_follows_the_registration_or_the_setting(void **state)
{
	(void)state;
	start(NULL);
	tell(0x0100, "001f006e" "6364313233" "7777772e3830382e" "37363534333231" "01" "3131");
	{
		struct message m;

		assert_true(terminal_read(fake_next(&f.sent), &m));
		tell(0x0102, m.body + 6);
	}
	f.records.taken = 2;
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"ProtocolEdition\":\"2011\"}");
	fake_fini(&f);
	start("{\"edition\": \"2013\", \"authPolicy\": \"any\"}");
	tell(0x0100, "001f006e" "6364313233" "7777772e3830382e" "37363534333231" "01" "3131");
	tell(0x0102, "31");
	f.records.taken = 2;
	expect_record(CW_KIND_PROPERTIES, NULL, "{\"ProtocolEdition\":\"2013\"}");
}

static void after_a_plugin_host_died_the_terminal_notices_nothing(void **state)
{
	uint8_t saved[CW_SAVE_MAX];
	struct message m;
	size_t n;

	(void)state;
	start("{\"authPolicy\": \"any\"}");
	t.edition = 2019;
	t.number = "00000000013800000001";
	tell(0x0102, "0131");
	n = f.saved_len;
	memcpy(saved, f.saved, n);
	fake_fini(&f);
	/* A new instance is told of the connection and its device; commands go out in the terminal's header at once. */
	fake_init(&f, cw_plugin_entry(), NULL);
	memcpy(f.saved, saved, n);
	f.saved_len = n;
	f.flags = CW_EVF_RESUMED;
	fake_open(&f);
	fake_member(&f, "13800000001");
	f.flags = 0;
	fake_command(&f, CW_KIND_SERVICE, "CheckLink", "{}", 5, 7500);
	assert_true(terminal_read(fake_next(&f.sent), &m));
	assert_int_equal(m.id, 0x8204);
	assert_int_equal(m.edition, 2019);
	assert_string_equal(m.number, "00000000013800000001");
	tell(0x0200, FIX TIME);
	assert_int_equal(f.records.n, 1);
	assert_int_equal(f.foreign, 0);
}

static void a_contradicting_version_bit_comes_back_in_the_answers(void **state)
{
	(void)state;
	start(NULL);
	t.attr = 0x4000; /* set, though the header is the short one */
	tell(0x0002, "");
	assert_true(f.sent.v[0].len > 10);
	assert_int_equal(f.sent.v[0].ptr[3] & 0x40, 0x40);
	assert_int_equal(f.sent.v[0].len, 2 + 12 + 5 + 1);
}

static void garbage_around_frames_does_no_harm(void **state)
{
	char hex[400];

	(void)state;
	start(NULL);
	go_online();
	snprintf(hex, sizeof(hex), "474554202f7e0102037e%s7e7e7e", terminal_frame(&t, 0x0002, ""));
	fake_feed_hex(&f, hex);
	expect(0x8001, "0002" "0002" "00");
	/* A bad candidate's closing delimiter starts the next frame. */
	snprintf(hex, sizeof(hex), "7e01020304050607080910111213141516%s", terminal_frame(&t, 0x0002, ""));
	fake_feed_hex(&f, hex);
	expect(0x8001, "0003" "0002" "00");
	tell(0x0002, "");
	expect(0x8001, "0004" "0002" "00");
}

static void an_idle_terminal_costs_little(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	assert_true(sizeof_connection() <= 200);
	assert_int_equal(f.charged, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, check_and_end)
	const struct CMUnitTest tests[] = {
		T(registration_gives_a_code_and_the_code_opens_the_door), T(the_code_survives_a_reconnect_and_a_restart),
		T(registering_again_gives_the_same_code), T(a_registration_on_another_connection_is_published_with_the_login),
		T(a_wrong_code_is_refused_and_the_connection_closed), T(the_policy_any_takes_every_code), T(the_policy_secret_takes_the_devices_own),
		T(an_unknown_number_is_answered_with_4), T(who_cannot_be_looked_up_now_gets_no_answer),
		T(a_zero_number_is_refused_unless_configured), T(a_number_that_is_not_decimal_is_hex_or_an_imei),
		T(a_message_before_authentication_is_denied), T(identify_by_any_takes_the_number_of_the_first_message),
		T(while_its_frames_are_kept_nothing_is_answered),
		T(kept_frames_need_no_log_in),
		T(a_report_becomes_properties_with_the_devices_time), T(the_answer_waits_for_the_ticket), T(a_report_for_which_there_is_no_room_is_denied),
		T(a_resent_report_has_the_same_key_and_no_second_alarm), T(alarm_bits_become_events_when_they_change),
		T(reserved_alarm_bits_raise_no_event), T(a_batch_is_published_oldest_first_and_marked_when_replayed),
		T(the_long_header_is_answered_in_kind), T(a_2019_login_tells_imei_and_version), T(another_number_on_the_connection_is_foreign),
		T(logging_out_voids_the_code), T(unknown_messages_are_answered_and_published_raw), T(a_body_that_cannot_be_read_is_raw_or_an_error),
		T(encrypted_bodies_are_denied_and_published_raw), T(a_terminals_key_is_answered_with_ours), T(garbage_around_frames_does_no_harm), T(after_a_plugin_host_died_the_terminal_notices_nothing), T(a_contradicting_version_bit_comes_back_in_the_answers), T(compressed_content_is_unpacked), T(a_longer_content_with_codes_of_its_own_is_unpacked), T(an_alarm_may_be_confirmed_by_rule),
		T(status_properties_come_once_when_only_changes_are_wanted), T(a_trailer_of_twenty_bytes_is_no_list_of_items),
		T(fuel_in_percent_stays_raw), T(the_device_zone_is_a_setting), T(switches_for_fuel_media_and_registration_work),
		T(the_edition_of_the_short_header_follows_the_registration_or_the_setting), T(an_idle_terminal_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
