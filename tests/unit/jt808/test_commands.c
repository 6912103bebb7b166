/* Commands: what each service sends in each edition, what ends it, retransmission, parts downward. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"
#include "terminal.h"

static struct fake f;
static struct terminal t;

static void online(int edition, const char *settings)
{
	char all[256];

	snprintf(all, sizeof(all), "{\"authPolicy\": \"any\", \"edition\": \"%s\"%s%s}", edition == 2011 ? "2011" : "2013", settings == NULL ? "" : ", ",
	         settings == NULL ? "" : settings);
	fake_init(&f, cw_plugin_entry(), all);
	fake_open(&f);
	t = (struct terminal){ .edition = edition == 2019 ? 2019 : 2013, .number = edition == 2019 ? "00000000013800000001" : "013800000001" };
	fake_feed_hex(&f, terminal_frame(&t, 0x0102, edition == 2019 ? "0131" : "31"));
	fake_forget(&f);
}

static int check_and_end(void **state)
{
	(void)state;
	fake_fini(&f);
	return cw_mem_live() == 0 ? 0 : -1;
}

static struct message sent(void)
{
	struct message m;

	if (!terminal_read(fake_next(&f.sent), &m))
		fail_msg("nothing was sent");
	return m;
}

static void expect_silence(void)
{
	struct fake_blob *b = fake_next(&f.sent);

	if (b != NULL)
		fail_msg("%s was sent", fake_hex(b));
}

static void expect_done(uint64_t id, int code, const char *json)
{
	struct fake_blob *b = fake_next(&f.done);

	if (b == NULL)
		fail_msg("the command has not ended");
	assert_int_equal(b->tag, id);
	if (b->code != code || (json != NULL && !fake_equals(cw_bytes_of(b->ptr, b->len), json)))
		fail_msg("ended with %d %s", b->code, fake_json(cw_bytes_of(b->ptr, b->len)));
}

static void expect_pending(void)
{
	if (fake_next(&f.done) != NULL)
		fail_msg("the command has ended");
}

static void reply(unsigned id, unsigned serial, int result)
{
	char body[16];

	snprintf(body, sizeof(body), "%04x%04x%02x", serial, id, (unsigned)result);
	fake_feed_hex(&f, terminal_frame(&t, 0x0001, body));
}

/* edition 0: the same in all */
struct service {
	int edition;
	const char *name, *input;
	unsigned id; /* 0: refused with `code` */
	const char *body;
	unsigned answer;
	int code;
};

#define HEX16 "a1b2c3d4e5f60718293a4b5c6d7e8f90"
#define HEX128 HEX16 HEX16 HEX16 HEX16 HEX16 HEX16 HEX16 HEX16
#define T0 "1795248000000" /* 2026-11-21 16:00 in the terminal's zone */

static const struct service services[] = {
	{ 2013, "SetParameters", "{\"items\":[{\"id\":\"0x0029\",\"value\":10},{\"id\":19,\"value\":\"a.b\"},{\"id\":\"0x0110\",\"hex\":\"ffff\"}]}", 0x8103,
	  "03" "00000029" "04" "0000000a" "00000013" "03" "612e62" "00000110" "02" "ffff", 0, 0 },
	{ 2011, "SetParameters", "{\"items\":[{\"id\":\"0x0029\",\"value\":10}]}", 0x8103, "0101" "00000029" "04" "0000000a", 0, 0 },
	{ 2013, "SetParameters", "{\"items\":[{\"id\":\"0x0031\",\"value\":70000}]}", 0, NULL, 0, 460 },
	{ 2013, "SetParameters", "{}", 0, NULL, 0, 460 },
	{ 2013, "QueryParameters", "{\"ids\":[\"0x0001\",41]}", 0x8106, "02" "00000001" "00000029", 0x0104, 0 },
	{ 0, "QueryParameters", "{}", 0x8104, "", 0x0104, 0 },
	{ 2011, "QueryParameters", "{\"ids\":[1]}", 0, NULL, 0, 405 },
	{ 2013, "TerminalControl", "{\"command\":1,\"args\":[\"ftp://a\",\"\",\"u\"]}", 0x8105, "01" "6674703a2f2f61" "3b3b" "75", 0, 0 },
	{ 2019, "TerminalControl", "{\"command\":3}", 0, NULL, 0, 405 },
	{ 2019, "TerminalControl", "{\"command\":100}", 0x8105, "64", 0, 0 },
	{ 0, "ResetTerminal", "{}", 0x8105, "04", 0, 0 },
	{ 0, "FactoryReset", NULL, 0x8105, "05", 0, 0 },
	{ 0, "ConnectServer", "{\"code\":\"c\",\"apn\":\"n\",\"user\":\"u\",\"password\":\"p\",\"address\":\"h\",\"tcpPort\":80,\"udpPort\":81,\"minutes\":5}", 0x8105,
	  "02" "303b633b6e3b753b703b683b38303b38313b35", 0, 0 },
	{ 0, "ConnectServer", "{\"control\":1}", 0x8105, "02" "31", 0, 0 },
	{ 2013, "QueryAttributes", "{}", 0x8107, "", 0x0107, 0 },
	{ 2011, "QueryAttributes", "{}", 0, NULL, 0, 405 },
	{ 2013, "UpgradeFirmware", "{\"upgradeType\":52,\"manufacturer\":\"asd\",\"version\":\"1.1\",\"data\":\"010203\"}", 0x8108,
	  "34" "6173640000" "03" "312e31" "00000003" "010203", 0, 0 },
	{ 2013, "UpgradeFirmware", "{\"upgradeType\":52}", 0, NULL, 0, 460 },
	{ 0, "QueryLocation", "{}", 0x8201, "", 0x0201, 0 },
	{ 0, "TrackLocation", "{\"interval\":5,\"duration\":600}", 0x8202, "0005" "00000258", 0, 0 },
	{ 0, "TrackLocation", "{\"interval\":0}", 0x8202, "0000", 0, 0 },
	{ 0, "TrackLocation", "{\"interval\":5}", 0, NULL, 0, 460 },
	{ 2013, "ConfirmAlarm", "{\"serial\":123,\"codes\":[\"emergency\",\"illegalMovement\"]}", 0x8203, "007b" "10000001", 0, 0 },
	{ 2013, "ConfirmAlarm", "{\"codes\":[\"overspeed\"]}", 0, NULL, 0, 460 },
	{ 2019, "CheckLink", "{}", 0x8204, "", 0, 0 },
	{ 2013, "CheckLink", "{}", 0, NULL, 0, 405 },
	{ 2013, "SendText", "{\"text\":\"\xe6\xb5\x8b" "1\",\"urgent\":1,\"display\":1,\"tts\":true,\"screen\":1,\"canFault\":1}", 0x8300, "3d" "b2e231", 0, 0 },
	{ 2019, "SendText", "{\"text\":\"a\",\"urgent\":1,\"tts\":1}", 0x8300, "0a" "01" "61", 0, 0 },
	{ 2019, "SendText", "{\"text\":\"a\",\"textType\":2}", 0x8300, "01" "02" "61", 0, 0 },
	{ 2013, "SendText", "{\"text\":\"\xf0\x9f\x9a\x97\"}", 0, NULL, 0, 460 },
	{ 2013, "SetEvents", "{\"kind\":2,\"items\":[{\"id\":1,\"text\":\"test\"}]}", 0x8301, "02" "01" "01" "04" "74657374", 0, 0 },
	{ 2011, "SetEvents", "{\"kind\":2,\"items\":[{\"id\":1,\"text\":\"t\"}]}", 0x8301, "02" "0101" "01" "01" "74", 0, 0 },
	{ 2013, "SetEvents", "{\"kind\":4,\"items\":[{\"id\":1},{\"id\":2}]}", 0x8301, "04" "02" "01" "02", 0, 0 },
	{ 2013, "SetEvents", "{\"kind\":0}", 0x8301, "00", 0, 0 },
	{ 2013, "SetInfoMenu", "{\"kind\":1,\"items\":[{\"type\":8,\"name\":\"ab\"}]}", 0x8303, "01" "01" "08" "0002" "6162", 0, 0 },
	{ 2013, "SetPhoneBook", "{\"kind\":2,\"items\":[{\"flag\":2,\"number\":\"18\",\"name\":\"x\"}]}", 0x8401, "02" "01" "02" "02" "3138" "01" "78", 0, 0 },
	{ 2013, "AskQuestion", "{\"question\":\"12?\",\"tts\":1,\"answers\":[{\"id\":1,\"text\":\"y\"},{\"id\":2,\"text\":\"n\"}]}", 0x8302,
	  "08" "03" "31323f" "01" "0001" "79" "02" "0001" "6e", 0, 0 },
	{ 2013, "SendInfo", "{\"infoType\":7,\"text\":\"ab\"}", 0x8304, "07" "0002" "6162", 0, 0 },
	{ 2011, "SendInfo", "{\"infoType\":7,\"text\":\"ab\"}", 0x8304, "07" "0002" "0002" "6162", 0, 0 },
	{ 0, "CallBack", "{\"mode\":1,\"number\":\"10086\"}", 0x8400, "01" "3130303836", 0, 0 },
	{ 2013, "ControlVehicle", "{\"doorLock\":true}", 0x8500, "01", 0x0500, 0 },
	{ 2013, "ControlVehicle", "{\"doorLock\":0}", 0x8500, "00", 0x0500, 0 },
	{ 2019, "ControlVehicle", "{\"doorLock\":1}", 0x8500, "0001" "0001" "00", 0x0500, 0 },
	{ 2019, "ControlVehicle", "{\"doorLock\":0,\"controls\":[{\"type\":\"0xF001\",\"paramHex\":\"abcd\"}]}", 0x8500, "0002" "0001" "01" "f001" "abcd", 0x0500, 0 },
	{ 2013, "SetCircles", "{\"mode\":2,\"items\":[{\"id\":1,\"latitude\":-0.123123,\"longitude\":0.112312,\"radius\":123,\"start\":\"200726000000\","
	  "\"end\":\"200726232359\",\"maxSpeed\":200,\"overspeedSeconds\":30,\"enterPlatform\":1}]}", 0x8600,
	  "02" "01" "00000001" "004b" "0001e0f3" "0001b6b8" "0000007b" "200726000000" "200726232359" "00c8" "1e", 0, 0 },
	{ 2019, "SetCircles", "{\"items\":[{\"id\":1,\"latitude\":22.5,\"longitude\":-1,\"radius\":5,\"maxSpeed\":60,\"nightMaxSpeed\":40,\"name\":\"ab\"}]}", 0x8600,
	  "00" "01" "00000001" "0082" "015752a0" "000f4240" "00000005" "003c" "00" "0028" "0002" "6162", 0, 0 },
	{ 2011, "SetCircles", "{\"items\":[{\"id\":1,\"latitude\":1,\"longitude\":1,\"radius\":5}]}", 0x8600,
	  "00" "0101" "00000001" "0000" "000f4240" "000f4240" "00000005", 0, 0 },
	{ 2013, "SetRectangles", "{\"items\":[{\"id\":9,\"topLatitude\":2,\"leftLongitude\":1,\"bottomLatitude\":1,\"rightLongitude\":2,\"start\":" T0 ",\"end\":" T0 "}]}", 0x8602,
	  "00" "01" "00000009" "0001" "001e8480" "000f4240" "000f4240" "001e8480" "261121160000" "261121160000", 0, 0 },
	{ 2013, "SetRectangles", "{\"items\":[{\"id\":9,\"topLatitude\":2,\"leftLongitude\":1,\"bottomLatitude\":-1,\"rightLongitude\":2}]}", 0, NULL, 0, 460 },
	{ 2013, "SetPolygon", "{\"id\":3,\"maxSpeed\":123,\"overspeedSeconds\":60,\"vertices\":[{\"latitude\":0.000123,\"longitude\":0.000345},"
	  "{\"latitude\":0.000123,\"longitude\":0.000345},{\"latitude\":0.000123,\"longitude\":0.000345}]}", 0x8604,
	  "00000003" "0002" "007b" "3c" "0003" "0000007b" "00000159" "0000007b" "00000159" "0000007b" "00000159", 0, 0 },
	{ 2019, "SetPolygon", "{\"id\":3,\"maxSpeed\":1,\"vertices\":[{\"latitude\":1,\"longitude\":1},{\"latitude\":1,\"longitude\":1},{\"latitude\":1,\"longitude\":1}]}",
	  0x8604, "00000003" "0002" "0001" "00" "0003" "000f4240000f4240" "000f4240000f4240" "000f4240000f4240" "0000" "0000", 0, 0 },
	{ 2011, "SetPolygon", "{\"id\":3,\"vertices\":[{\"latitude\":1,\"longitude\":1},{\"latitude\":1,\"longitude\":1},{\"latitude\":1,\"longitude\":1}]}",
	  0x8604, "00000003" "0000" "0003" "03" "000f4240000f4240" "000f4240000f4240" "000f4240000f4240", 0, 0 },
	{ 2013, "SetRoute", "{\"id\":59397,\"points\":[{\"pointId\":1,\"segmentId\":2,\"latitude\":-31.234567,\"longitude\":-121.234567,\"width\":9,\"tooLong\":1,"
	  "\"tooShort\":2,\"maxSpeed\":3,\"overspeedSeconds\":4}]}", 0x8606,
	  "0000e805" "0000" "0001" "00000001" "00000002" "01dc9a07" "0739e487" "09" "0f" "0001" "0002" "0003" "04", 0, 0 },
	{ 2019, "SetRoute", "{\"id\":1,\"name\":\"a\",\"points\":[{\"latitude\":1,\"longitude\":1,\"maxSpeed\":3,\"nightMaxSpeed\":5}]}", 0x8606,
	  "00000001" "0000" "0001" "00000001" "00000001" "000f4240" "000f4240" "00" "02" "0003" "00" "0005" "0001" "61", 0, 0 },
	{ 2011, "SetRoute", "{\"id\":1,\"points\":[{\"segmentId\":7,\"latitude\":1,\"longitude\":1,\"tooLong\":3}]}", 0x8606,
	  "00000001" "0000" "0001" "01" "00000007" "000f4240" "000f4240" "00" "01" "0003", 0, 0 },
	{ 0, "DeleteCircles", "{\"ids\":[1,2]}", 0x8601, "02" "00000001" "00000002", 0, 0 },
	{ 0, "DeleteRectangles", "{\"all\":1}", 0x8603, "00", 0, 0 },
	{ 0, "DeletePolygons", "{\"ids\":[]}", 0, NULL, 0, 460 },
	{ 0, "DeleteRoutes", "{\"ids\":[4294967295]}", 0x8607, "01" "ffffffff", 0, 0 },
	{ 2019, "QueryAreas", "{\"kind\":2,\"ids\":[5]}", 0x8608, "02" "00000001" "00000005", 0x0608, 0 },
	{ 2013, "QueryAreas", "{\"kind\":2}", 0, NULL, 0, 405 },
	{ 2013, "CollectRecorder", "{\"command\":8,\"dataHex\":\"aa55\"}", 0x8700, "08" "aa55", 0x0700, 0 },
	{ 2011, "CollectRecorder", "{\"command\":8,\"dataHex\":\"aa55\"}", 0x8700, "08", 0x0700, 0 },
	{ 0, "SetRecorder", "{\"command\":130,\"dataHex\":\"aa\"}", 0x8701, "82" "aa", 0, 0 },
	{ 2013, "RequestDriver", "{}", 0x8702, "", 0x0702, 0 },
	{ 2011, "RequestDriver", "{}", 0, NULL, 0, 405 },
	{ 2011, "TakePhoto", "{\"channel\":1,\"count\":2,\"interval\":3,\"store\":1,\"resolution\":4,\"quality\":5,\"brightness\":255,\"contrast\":127,\"saturation\":127,"
	  "\"chroma\":255}", 0x8801, "01" "0002" "0003" "01" "04" "05" "ff" "7f" "7f" "ff", 0, 0 },
	{ 2013, "TakePhoto", "{\"channel\":1,\"video\":1}", 0x8801, "01" "ffff" "0000" "00" "01" "05" "7f" "40" "40" "7f", 0x0805, 0 },
	{ 2013, "TakePhoto", "{\"channel\":1,\"quality\":11}", 0, NULL, 0, 460 },
	{ 0, "SearchMedia", "{\"type\":0,\"channel\":1,\"event\":3,\"start\":\"" T0 "\",\"end\":\"" T0 "\"}", 0x8802, "00" "01" "03" "261121160000" "261121160000", 0x0802, 0 },
	{ 0, "UploadMedia", "{\"channel\":1,\"delete\":1}", 0x8803, "00" "01" "00" "000000000000" "000000000000" "01", 0, 0 },
	{ 2013, "UploadMediaById", "{\"mediaId\":28410,\"delete\":1}", 0x8805, "00006efa" "01", 0, 0 },
	{ 2011, "UploadMediaById", "{\"mediaId\":28410}", 0, NULL, 0, 405 },
	{ 0, "RecordAudio", "{\"start\":1,\"seconds\":6328,\"store\":1,\"rate\":0}", 0x8804, "01" "18b8" "01" "00", 0, 0 },
	{ 2013, "SendTransparent", "{\"type\":\"0x41\",\"dataHex\":\"0102\"}", 0x8900, "41" "0102", 0, 0 },
	{ 2013, "SendTransparent", "{\"type\":240,\"text\":\"ab\"}", 0x8900, "f0" "6162", 0, 0 },
	{ 2011, "SendTransparent", "{\"type\":65,\"dataHex\":\"0102\"}", 0x8900, "41" "00000002" "0002" "0102", 0, 0 },
	{ 0, "SendPlatformKey", "{\"e\":65537,\"n\":\"" HEX128 "\"}", 0x8a00, "00010001" HEX128, 0x0a00, 0 },
	{ 0, "SendPlatformKey", "{\"e\":65537,\"n\":\"aa\"}", 0, NULL, 0, 460 },
	{ 0, "SendRaw", "{\"messageId\":\"0x8109\",\"bodyHex\":\"01\",\"waitReply\":\"0x0109\"}", 0x8109, "01", 0x0109, 0 },
	{ 0, "SendRaw", "{\"messageId\":\"0x8109\",\"bodyHex\":\"01\",\"waitReply\":1}", 0x8109, "01", 0, 0 },
	{ 0, "NoSuchThing", "{}", 0, NULL, 0, 501 },
};

static void run_service(const struct service *s, int edition)
{
	struct message m;

	online(edition, NULL);
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, s->name, s->input, 77, 7500), 0);
	if (s->id == 0) {
		if (f.sent.n != 0 || f.done.n != 1 || f.done.v[0].code != s->code)
			fail_msg("%s %s in %d: not refused with %d", s->name, s->input, edition, s->code);
		fake_fini(&f);
		return;
	}
	if (f.sent.n != 1 || !terminal_read(fake_next(&f.sent), &m) || m.id != s->id || strcmp(m.body, s->body) != 0)
		fail_msg("%s %s in %d: sent %s; %s", s->name, s->input, edition, f.sent.n > 0 ? fake_hex(&f.sent.v[0]) : "(nothing)",
		         f.done.n > 0 ? fake_json(cw_bytes_of(f.done.v[0].ptr, f.done.v[0].len)) : "");
	if (s->answer != 0) {
		reply(s->id, m.serial, 0);
		if (f.done.n != 0)
			fail_msg("%s in %d ends with the general reply", s->name, edition);
	} else {
		reply(s->id, m.serial, 0);
		if (f.done.n != 1 || f.done.v[0].code != 200)
			fail_msg("%s in %d does not end with the general reply", s->name, edition);
	}
	fake_fini(&f);
}

static void every_service_sends_its_message_in_each_edition(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		if (services[i].edition != 0) {
			run_service(&services[i], services[i].edition);
			continue;
		}
		run_service(&services[i], 2011);
		run_service(&services[i], 2013);
		run_service(&services[i], 2019);
	}
	assert_int_equal(cw_mem_live(), 0);
}

static void general_results_become_codes(void **state)
{
	static const int codes[] = { 200, 500, 400, 501 };
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		char json[32];

		online(2013, NULL);
		fake_command(&f, CW_KIND_SERVICE, "ResetTerminal", "{}", 5, 7500);
		reply(0x8105, sent().serial, i);
		snprintf(json, sizeof(json), "{\"result\": %d}", i);
		expect_done(5, codes[i], json);
		if (i < 3)
			fake_fini(&f);
	}
}

static void a_property_set_becomes_one_8103_and_the_values_are_posted(void **state)
{
	struct message m;

	(void)state;
	online(2013, NULL);
	assert_int_equal(fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"HeartbeatInterval\": 60, \"MainServer\": \"h\", \"AlarmMask\": \"000000ff\", \"PlateColor\": 2}", 5, 7500), 0);
	m = sent();
	assert_int_equal(m.id, 0x8103);
	assert_string_equal(m.body, "04" "00000001" "04" "0000003c" "00000013" "01" "68" "00000050" "04" "000000ff" "00000084" "01" "02");
	assert_int_equal(f.records.n, 0);
	reply(0x8103, m.serial, 0);
	expect_done(5, 200, "{}");
	assert_true(fake_equals(cw_map_get(cw_bytes_of(NULL, 0), "x"), "null") == 0);
	{
		struct cw_record rec;

		assert_int_equal(f.records.n, 1);
		assert_true(cw_record_read(cw_bytes_of(f.records.v[0].ptr, f.records.v[0].len), &rec));
		assert_true(fake_equals(rec.body, "{\"HeartbeatInterval\": 60, \"MainServer\": \"h\", \"AlarmMask\": \"000000ff\", \"PlateColor\": 2}"));
	}
	fake_forget(&f);
	fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"Speed\": 60}", 6, 7500);
	expect_done(6, 460, NULL);
	expect_silence();
}

static void parameters_answer_the_query_and_post_the_named_ones(void **state)
{
	struct message m;
	char body[100];

	(void)state;
	online(2013, NULL);
	fake_command(&f, CW_KIND_SERVICE, "QueryParameters", "{}", 5, 7500);
	m = sent();
	snprintf(body, sizeof(body), "%04x" "03" "00000029" "04" "0000000a" "00000083" "02" "3132" "0000f364" "02" "aabb", m.serial);
	fake_feed_hex(&f, terminal_frame(&t, 0x0104, body));
	snprintf(body, sizeof(body), "%u", m.serial);
	{
		struct fake_blob *b = fake_next(&f.done);

		assert_non_null(b);
		assert_int_equal(b->code, 200);
		assert_true(fake_equals(cw_map_get(cw_bytes_of(b->ptr, b->len), "items"),
		                        "[{\"id\":\"0x0029\",\"value\":10},{\"id\":\"0x0083\",\"value\":\"12\"},{\"id\":\"0xf364\",\"hex\":\"aabb\"}]"));
	}
	assert_string_equal(fake_record(&f, CW_KIND_PROPERTIES, NULL), "{\"DefaultReportInterval\":10,\"Plate\":\"12\"}");
	/* Dedicated answers are acknowledged too. */
	m = sent();
	assert_int_equal(m.id, 0x8001);
}

static void answers_may_be_left_unacknowledged(void **state)
{
	(void)state;
	online(2013, "\"ackAnswers\": false");
	fake_feed_hex(&f, terminal_frame(&t, 0x0104, "0000" "01" "00000029" "04" "0000000a"));
	expect_silence();
	assert_int_equal(f.records.n, 1);
}

static void a_location_query_ends_with_the_location(void **state)
{
	char body[100];

	(void)state;
	online(2013, NULL);
	fake_command(&f, CW_KIND_SERVICE, "QueryLocation", "{}", 5, 7500);
	snprintf(body, sizeof(body), "%04x" "00000000" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008" "261121155900", sent().serial);
	fake_feed_hex(&f, terminal_frame(&t, 0x0201, body));
	{
		struct fake_blob *b = fake_next(&f.done);
		struct cw_bytes location;

		assert_non_null(b);
		location = cw_map_get(cw_bytes_of(b->ptr, b->len), "location");
		assert_true(fake_equals(cw_map_get(location, "Speed"), "60"));
	}
	assert_int_equal(f.records.n, 1);
}

static void a_command_is_sent_again_byte_for_byte_with_growing_waits(void **state)
{
	static const unsigned waits[] = { 10000, 20000, 60000, 60000 };
	size_t i;

	(void)state;
	online(2013, NULL);
	fake_command(&f, CW_KIND_SERVICE, "ResetTerminal", "{}", 5, 600000);
	for (i = 0; i < 3; i++) {
		fake_advance(&f, waits[i] - 1);
		assert_int_equal(f.sent.n, i + 1);
		fake_advance(&f, 1);
		assert_int_equal(f.sent.n, i + 2);
		assert_int_equal(f.sent.v[0].len, f.sent.v[i + 1].len);
		assert_memory_equal(f.sent.v[0].ptr, f.sent.v[i + 1].ptr, f.sent.v[0].len);
	}
	expect_pending();
	fake_advance(&f, waits[3]);
	expect_done(5, 408, NULL);
	assert_int_equal(f.sent.n, 4);
	assert_false(f.closing);
}

static void waits_grow_as_configured(void **state)
{
	(void)state;
	online(2013, "\"retryGrowth\": \"linear\", \"retryWait\": 1000, \"retries\": 4, \"retryWaitMax\": 3000");
	fake_command(&f, CW_KIND_SERVICE, "ResetTerminal", "{}", 5, 600000);
	fake_advance(&f, 1000); /* T */
	assert_int_equal(f.sent.n, 2);
	fake_advance(&f, 1999);
	assert_int_equal(f.sent.n, 2);
	fake_advance(&f, 1); /* 2T */
	assert_int_equal(f.sent.n, 3);
	fake_advance(&f, 3000); /* 3T */
	assert_int_equal(f.sent.n, 4);
	fake_advance(&f, 3000); /* the cap */
	assert_int_equal(f.sent.n, 5);
	fake_fini(&f);
	online(2013, "\"retryGrowth\": \"fixed\", \"retryWait\": 8000, \"retries\": 2");
	fake_command(&f, CW_KIND_SERVICE, "ResetTerminal", "{}", 5, 600000);
	fake_advance(&f, 16000);
	assert_int_equal(f.sent.n, 3);
}

static void serial_zero_counts_for_the_only_command_and_strangers_do_not(void **state)
{
	(void)state;
	online(2013, NULL);
	fake_command(&f, CW_KIND_SERVICE, "SendText", "{\"text\":\"a\"}", 4, 7500);
	reply(0x8300, sent().serial, 0);
	fake_forget(&f);
	fake_command(&f, CW_KIND_SERVICE, "ResetTerminal", "{}", 5, 7500);
	reply(0x8300, sent().serial, 0);
	reply(0x8105, 4711, 0);
	expect_pending();
	reply(0x8105, 0, 0);
	expect_done(5, 200, NULL);
	reply(0x8105, 0, 0);
	expect_pending();
	assert_int_equal(f.counters[12], 3);
}

static void one_command_at_a_time(void **state)
{
	(void)state;
	online(2013, NULL);
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "ResetTerminal", "{}", 5, 7500), 0);
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "FactoryReset", "{}", 6, 7500), CW_EBUSY);
	fake_event(&f, CW_EV_COMMAND_CANCELLED, 5);
	assert_int_equal(fake_command(&f, CW_KIND_SERVICE, "FactoryReset", "{}", 6, 7500), 0);
	reply(0x8105, f.sent.n > 1 ? 0 : 1, 0);
	expect_done(6, 200, NULL);
}

static void a_reset_that_cuts_the_link_is_done(void **state)
{
	(void)state;
	online(2013, NULL);
	fake_command(&f, CW_KIND_SERVICE, "ResetTerminal", "{}", 5, 7500);
	fake_close(&f);
	expect_done(5, 200, NULL);
}

static void a_photo_waits_for_its_ids_but_not_longer_than_the_call(void **state)
{
	char body[64];

	(void)state;
	online(2013, NULL);
	fake_command(&f, CW_KIND_SERVICE, "TakePhoto", "{}", 5, 7500);
	snprintf(body, sizeof(body), "%04x" "00" "0001" "0000007b", sent().serial);
	reply(0x8801, 0, 0);
	fake_advance(&f, 6999);
	expect_pending();
	fake_advance(&f, 1);
	expect_done(5, 200, "{\"result\": 0}");
	fake_forget(&f);
	fake_command(&f, CW_KIND_SERVICE, "TakePhoto", "{}", 6, 7500);
	snprintf(body, sizeof(body), "%04x" "00" "0001" "0000007b", sent().serial);
	fake_feed_hex(&f, terminal_frame(&t, 0x0805, body));
	{
		struct fake_blob *b = fake_next(&f.done);

		assert_non_null(b);
		assert_true(fake_equals(cw_map_get(cw_bytes_of(b->ptr, b->len), "mediaIds"), "[123]"));
	}
}

static void many_ids_are_split_and_each_message_waits_for_its_reply(void **state)
{
	char input[2000] = "{\"ids\":[";
	struct message m;
	int i;

	(void)state;
	for (i = 1; i <= 130; i++)
		sprintf(input + strlen(input), "%d%s", i, i < 130 ? "," : "]}");
	online(2013, NULL);
	fake_command(&f, CW_KIND_SERVICE, "DeleteCircles", input, 5, 7500);
	m = sent();
	assert_memory_equal(m.body, "7d", 2);
	expect_silence();
	reply(0x8601, m.serial, 0);
	m = sent();
	assert_memory_equal(m.body, "05", 2);
	expect_pending();
	reply(0x8601, m.serial, 0);
	expect_done(5, 200, NULL);
}

static void raw_data_starts_with_the_message_id(void **state)
{
	struct message m;

	(void)state;
	online(2013, NULL);
	fake_command_bytes(&f, CW_KIND_RAW_DOWN, "user/down", cw_bytes_of("\x83\x00\x01" "ab", 5), 5, 7500);
	m = sent();
	assert_int_equal(m.id, 0x8300);
	assert_string_equal(m.body, "016162");
	expect_done(5, 200, NULL);
	fake_command(&f, CW_KIND_SHADOW, NULL, "{}", 6, 7500);
	expect_done(6, 501, NULL);
}

static void a_raw_call_is_answered_with_the_raw_answer(void **state)
{
	struct message m;
	struct fake_blob *b;

	(void)state;
	online(2013, NULL);
	fake_command_bytes(&f, CW_KIND_RRPC, "", cw_bytes_of("\x83\x00\x01" "ab", 5), 5, 7500);
	m = sent();
	reply(0x8300, m.serial, 1);
	b = fake_next(&f.done);
	assert_int_equal(b->code, 200);
	assert_string_equal(fake_hex(b) + 8, "830001");
	fake_command_bytes(&f, CW_KIND_RRPC, "", cw_bytes_of("\x81\x07", 2), 6, 7500);
	sent();
	fake_feed_hex(&f, terminal_frame(&t, 0x0107, "007f797a680000"));
	b = fake_next(&f.done);
	assert_int_equal(b->tag, 6);
	assert_string_equal(fake_hex(b), "0107007f797a680000");
}

static void a_broadcast_reaches_the_terminal_without_answer(void **state)
{
	struct cw_event ev = { .size = sizeof(ev), .kind = CW_EV_BROADCAST, .conn = 7, .conn_ctx = &f.conn_ctx };
	uint8_t buf[64];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	struct message m;

	(void)state;
	online(2013, NULL);
	cw_record_begin(&w, CW_KIND_BROADCAST);
	cw_record_name(&w, "all");
	cw_record_body_bytes(&w, cw_bytes_of("\x83\x00\x01" "ab", 5));
	cw_record_end(&w);
	ev.conf = f.conf;
	ev.data = cw_written(&w);
	assert_int_equal(f.desc->decoder->event(f.d, &ev), 0);
	m = sent();
	assert_int_equal(m.id, 0x8300);
	assert_string_equal(m.body, "016162");
}

static void the_count_word_of_vehicle_control_can_be_left_out(void **state)
{
	(void)state;
	online(2019, "\"controlCount\": false");
	fake_command(&f, CW_KIND_SERVICE, "ControlVehicle", "{\"doorLock\":1}", 5, 7500);
	assert_string_equal(sent().body, "000100");
}

static void upgrade_with(unsigned bytes, const char *settings)
{
	char *input = malloc(bytes * 2 + 200);
	unsigned i, n;

	n = (unsigned)sprintf(input, "{\"upgradeType\":0,\"manufacturer\":\"m\",\"version\":\"1\",\"data\":\"");
	for (i = 0; i < bytes; i++)
		n += (unsigned)sprintf(input + n, "%02x", i & 0xff);
	sprintf(input + n, "\"}");
	online(2013, settings);
	fake_command(&f, CW_KIND_SERVICE, "UpgradeFirmware", input, 5, 7500);
	free(input);
}

static void a_long_message_goes_in_parts_with_consecutive_serials(void **state)
{
	struct message m;
	char body[5000] = "";
	unsigned i, first = 0;

	(void)state;
	upgrade_with(2488, NULL); /* 12 of head make 2500 */
	assert_int_equal(f.sent.n, 3);
	for (i = 1; i <= 3; i++) {
		m = sent();
		first = i == 1 ? m.serial : first;
		assert_int_equal(m.total, 3);
		assert_int_equal(m.index, i);
		assert_int_equal(m.serial, first + i - 1);
		assert_int_equal(strlen(m.body), i < 3 ? 2000 : 1000);
		if (i < 3)
			strncat(body, m.body, 2000);
	}
	assert_memory_equal(body, "00" "6d00000000" "01" "31" "000009b8" "000102", 30);
	reply(0x8108, first, 0);
	reply(0x8108, first + 1, 0);
	expect_pending();
	reply(0x8108, first + 2, 0);
	expect_done(5, 200, NULL);
	fake_fini(&f);
	/* A terminal that answers the last part only, and one that denies a part. */
	upgrade_with(2488, NULL);
	first = sent().serial;
	reply(0x8108, first + 2, 0);
	expect_done(5, 200, NULL);
	fake_fini(&f);
	upgrade_with(2488, NULL);
	first = sent().serial;
	reply(0x8108, first + 1, 1);
	expect_done(5, 500, NULL);
}

static void parts_go_in_bursts_and_lost_ones_are_sent_again(void **state)
{
	struct message m;
	unsigned first;
	char body[32];

	(void)state;
	upgrade_with(2488, "\"fragmentBurst\": 2");
	assert_int_equal(f.sent.n, 2);
	assert_int_equal(f.extend_ms, 120000);
	first = sent().serial;
	fake_advance(&f, 500);
	assert_int_equal(f.sent.n, 3);
	fake_forget(&f);
	snprintf(body, sizeof(body), "%04x" "0002" "0001" "0003", first);
	fake_feed_hex(&f, terminal_frame(&t, 0x0005, body));
	m = sent();
	assert_int_equal(m.serial, first);
	assert_int_equal(m.index, 1);
	m = sent();
	assert_int_equal(m.serial, first + 2);
	assert_int_equal(m.index, 3);
	expect_silence();
	reply(0x8108, first, 0);
	fake_forget(&f);
	fake_advance(&f, 10000);
	assert_int_equal(f.sent.n, 2); /* all but the acknowledged one */
}

static void on_udp_a_part_waits_for_the_answer_to_the_one_before(void **state)
{
	unsigned first;

	(void)state;
	online(2013, NULL);
	f.flags = CW_EVF_DATAGRAM;
	{
		char input[5200];
		int n = sprintf(input, "{\"data\":\"");

		memset(input + n, 'a', 4976);
		strcpy(input + n + 4976, "\"}");
		fake_command(&f, CW_KIND_SERVICE, "UpgradeFirmware", input, 5, 7500);
	}
	assert_int_equal(f.sent.n, 1);
	first = sent().serial;
	fake_advance(&f, 9000);
	expect_silence();
	reply(0x8108, first, 0);
	sent();
	expect_silence();
}

static void firmware_comes_in_blocks_of_the_hosts_file(void **state)
{
	uint8_t file[5000];
	struct message m;
	unsigned first = 0, i;
	char want[8];

	(void)state;
	for (i = 0; i < sizeof(file); i++)
		file[i] = (uint8_t)(i * 7);
	online(2013, "\"fragmentBurst\": 3");
	fake_command(&f, CW_KIND_OTA_NOTICE, "main", "{\"version\":\"2.0\",\"size\":5000}", 5, 60000);
	assert_int_equal(f.block_id, 5);
	assert_int_equal(f.block_offset, 0);
	assert_int_equal(f.block_len, 3000 - 14);
	expect_silence();
	fake_block(&f, cw_bytes_of(file, f.block_len), 0);
	for (i = 0; i < 3; i++) {
		m = sent();
		first = i == 0 ? m.serial : first;
		assert_int_equal(m.total, 6);
		assert_int_equal(m.serial, first + i);
	}
	snprintf(want, sizeof(want), "%02x", file[2000 - 14]);
	assert_memory_equal(m.body, want, 2);
	reply(0x8108, first + 2, 0);
	assert_int_equal(f.block_offset, 3000 - 14);
	assert_int_equal(f.block_len, 5000 - (3000 - 14));
	fake_block(&f, cw_bytes_of(file + f.block_offset, f.block_len), 0);
	assert_int_equal(f.sent.n, 6);
	reply(0x8108, first + 5, 0);
	expect_done(5, 200, NULL);
	assert_string_equal(fake_record(&f, CW_KIND_OTA_PROGRESS, "main"), "{\"step\":49,\"desc\":\"sending\"}");
	fake_forget(&f);
	fake_command(&f, CW_KIND_OTA_NOTICE, "main", "{\"version\":\"2.0\",\"size\":5000}", 6, 60000);
	fake_block(&f, cw_bytes_of(NULL, 0), CW_EIO);
	expect_done(6, 500, NULL);
}

static void a_file_that_is_read_slowly_is_asked_for_one_block_at_a_time(void **state)
{
	uint8_t file[5000] = { 0 };

	(void)state;
	online(2013, "\"fragmentBurst\": 3, \"fragmentPause\": 10");
	fake_command(&f, CW_KIND_OTA_NOTICE, "main", "{\"version\":\"2.0\",\"size\":5000}", 5, 60000);
	fake_advance(&f, 3000); /* many pauses, and the block does not come */
	assert_int_equal(f.block_offset, 0);
	expect_silence();
	fake_block(&f, cw_bytes_of(file, f.block_len), 0);
	assert_int_equal(f.sent.n, 3);
	fake_advance(&f, 20);
	assert_int_equal(f.block_offset, 3000 - 14);
	fake_block(&f, cw_bytes_of(file + f.block_offset, f.block_len), 0);
	assert_int_equal(f.sent.n, 6);
	reply(0x8108, sent().serial + 5u, 0);
	expect_done(5, 200, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, check_and_end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_service_sends_its_message_in_each_edition),
		T(general_results_become_codes), T(a_property_set_becomes_one_8103_and_the_values_are_posted),
		T(parameters_answer_the_query_and_post_the_named_ones), T(answers_may_be_left_unacknowledged),
		T(a_location_query_ends_with_the_location), T(a_command_is_sent_again_byte_for_byte_with_growing_waits), T(waits_grow_as_configured),
		T(serial_zero_counts_for_the_only_command_and_strangers_do_not), T(one_command_at_a_time), T(a_reset_that_cuts_the_link_is_done),
		T(a_photo_waits_for_its_ids_but_not_longer_than_the_call), T(many_ids_are_split_and_each_message_waits_for_its_reply),
		T(raw_data_starts_with_the_message_id), T(a_raw_call_is_answered_with_the_raw_answer),
		T(a_broadcast_reaches_the_terminal_without_answer), T(the_count_word_of_vehicle_control_can_be_left_out),
		T(a_long_message_goes_in_parts_with_consecutive_serials), T(parts_go_in_bursts_and_lost_ones_are_sent_again),
		T(on_udp_a_part_waits_for_the_answer_to_the_one_before), T(firmware_comes_in_blocks_of_the_hosts_file),
		T(a_file_that_is_read_slowly_is_asked_for_one_block_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
