/* Records to messages, messages to commands, replies, topics, codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "platform/alink.h"
#include "platform/codes.h"
#include "json/json.h"

#define PK "a1Product01"
#define DN "dev-1"

static uint8_t buf[2000];
static struct cw_writer w;
static char payload[4000], topic[CW_TOPIC_MAX];
static unsigned qos;

static int check_leaks(void **state)
{
	return cw_mem_live() == 0 ? 0 : -1;
}

static struct cw_writer *begin(unsigned kind)
{
	w = cw_writer_of(buf, sizeof(buf));
	cw_record_begin(&w, kind);
	return &w;
}

static int build_with(int want_reply, int version)
{
	struct cw_alink_options options = { .want_reply = want_reply, .version = version, .qos = 1 };
	struct cw_alink_post post;
	struct cw_record rec;
	int rc;

	cw_record_end(&w);
	assert_true(cw_record_read(cw_written(&w), &rec));
	rc = cw_alink_record(&rec, PK, DN, 5, &options, &post);
	if (rc < 0)
		return rc;
	assert_true(post.len < sizeof(payload));
	memcpy(payload, post.payload, post.len);
	payload[post.len] = '\0';
	strcpy(topic, post.topic);
	qos = post.qos;
	cw_free(post.payload);
	return 0;
}

static void properties_go_as_a_post_with_time(void **state)
{
	struct cw_writer *r = begin(CW_KIND_PROPERTIES);

	cw_record_time(r, 1700000000123);
	cw_record_body(r);
	cw_field_decimal(r, "temp", 1230, -2);
	cw_field_bool(r, "on", 1);
	cw_put_end(r);
	assert_int_equal(build_with(0, 1), 0);
	assert_string_equal(topic, "/sys/" PK "/" DN "/thing/event/property/post");
	assert_string_equal(
		payload,
		"{\"id\":\"5\",\"version\":\"1.0\",\"method\":\"thing.event.property.post\",\"params\":{"
		"\"temp\":{\"value\":12.30,\"time\":1700000000123},\"on\":{\"value\":true,\"time\":1700000000123}},"
		"\"sys\":{\"ack\":0}}");
	assert_int_equal(qos, 1);
}

static void without_time_and_version_a_post_is_short(void **state)
{
	struct cw_writer *r = begin(CW_KIND_PROPERTIES);

	cw_record_body(r);
	cw_field_int(r, "n", 1);
	cw_put_end(r);
	assert_int_equal(build_with(1, 0), 0);
	assert_string_equal(payload, "{\"id\":\"5\",\"params\":{\"n\":1}}");
}

static void an_event_carries_its_output_and_time(void **state)
{
	struct cw_writer *r = begin(CW_KIND_EVENT);

	cw_record_name(r, "overheat");
	cw_record_time(r, 9);
	cw_record_body(r);
	cw_field_text(r, "where", "cabin");
	cw_put_end(r);
	assert_int_equal(build_with(1, 1), 0);
	assert_string_equal(topic, "/sys/" PK "/" DN "/thing/event/overheat/post");
	assert_string_equal(payload,
			    "{\"id\":\"5\",\"version\":\"1.0\",\"method\":\"thing.event.overheat.post\",\"params\":{"
			    "\"value\":{\"where\":\"cabin\"},\"time\":9}}");
}

static void replayed_records_go_as_history(void **state)
{
	struct cw_writer *r = begin(CW_KIND_PROPERTIES);

	cw_record_time(r, 9);
	cw_record_flags(r, CW_RECORD_REPLAY);
	cw_record_body(r);
	cw_field_int(r, "n", 1);
	cw_put_end(r);
	assert_int_equal(build_with(1, 0), 0);
	assert_string_equal(topic, "/sys/" PK "/" DN "/thing/event/property/history/post");
	assert_string_equal(payload, "{\"id\":\"5\",\"params\":[{\"identity\":{\"productKey\":\"" PK
				     "\",\"deviceName\":\"" DN "\"},"
				     "\"properties\":[{\"n\":{\"value\":1,\"time\":9}}]}]}");
	r = begin(CW_KIND_EVENT);
	cw_record_name(r, "alarm");
	cw_record_time(r, 9);
	cw_record_flags(r, CW_RECORD_REPLAY);
	cw_record_body(r);
	cw_put_end(r);
	assert_int_equal(build_with(1, 0), 0);
	assert_string_equal(payload, "{\"id\":\"5\",\"params\":[{\"identity\":{\"productKey\":\"" PK
				     "\",\"deviceName\":\"" DN "\"},"
				     "\"events\":[{\"alarm\":{\"value\":{},\"time\":9}}]}]}");
}

static void tags_are_a_list_of_texts(void **state)
{
	struct cw_writer *r = begin(CW_KIND_TAGS);

	cw_record_body(r);
	cw_field_text(r, "plate", "A1");
	cw_field_int(r, "colour", 2);
	cw_put_end(r);
	assert_int_equal(build_with(1, 0), 0);
	assert_string_equal(topic, "/sys/" PK "/" DN "/thing/deviceinfo/update");
	assert_string_equal(payload, "{\"id\":\"5\",\"params\":[{\"attrKey\":\"plate\",\"attrValue\":\"A1\"},"
				     "{\"attrKey\":\"colour\",\"attrValue\":\"2\"}]}");
}

static void raw_data_goes_to_its_topic_as_it_is(void **state)
{
	struct cw_writer *r = begin(CW_KIND_RAW);

	cw_record_name(r, "user/up");
	cw_record_qos(r, 0);
	cw_record_body_bytes(r, cw_bytes_of("\x01\x02", 2));
	assert_int_equal(build_with(1, 1), 0);
	assert_string_equal(topic, "/" PK "/" DN "/user/up");
	assert_int_equal(qos, 0);
	assert_memory_equal(payload, "\x01\x02", 3);
	r = begin(CW_KIND_RAW);
	cw_record_name(r, "thing/model/up_raw");
	cw_record_qos(r, 1);
	cw_record_body_bytes(r, cw_bytes_of("x", 1));
	assert_int_equal(build_with(1, 1), 0);
	assert_string_equal(topic, "/sys/" PK "/" DN "/thing/model/up_raw");
	assert_int_equal(qos, 1);
}

static void names_that_would_leave_the_device_are_refused(void **state)
{
	static const char *const bad[] = { "", "user//x", "user/#", "user/+", "user/a?b", "user/\n", "/user" };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cw_writer *r = begin(CW_KIND_RAW);

		cw_record_name(r, bad[i]);
		cw_record_body_bytes(r, cw_bytes_of("x", 1));
		assert_int_equal(build_with(1, 1), CW_EINVAL);
		r = begin(CW_KIND_EVENT);
		cw_record_name(r, bad[i]);
		cw_record_body(r);
		cw_put_end(r);
		assert_int_equal(build_with(1, 1), CW_EINVAL);
	}
}

static void firmware_messages_have_their_own_topics(void **state)
{
	struct cw_writer *r = begin(CW_KIND_OTA_VERSION);

	cw_record_name(r, "MCU");
	cw_record_body(r);
	cw_field_text(r, "version", "1.0.1");
	cw_put_end(r);
	assert_int_equal(build_with(0, 1), 0);
	assert_string_equal(topic, "/ota/device/inform/" PK "/" DN);
	assert_string_equal(payload, "{\"id\":\"5\",\"params\":{\"version\":\"1.0.1\",\"module\":\"MCU\"}}");
	r = begin(CW_KIND_OTA_PROGRESS);
	cw_record_body(r);
	cw_field_int(r, "step", -2);
	cw_field_text(r, "desc", "no space");
	cw_put_end(r);
	assert_int_equal(build_with(0, 1), 0);
	assert_string_equal(topic, "/ota/device/progress/" PK "/" DN);
	assert_string_equal(payload, "{\"id\":\"5\",\"params\":{\"step\":\"-2\",\"desc\":\"no space\"}}");
}

static void a_shadow_is_reported_with_a_version_that_rises(void **state)
{
	struct cw_alink_options options = { .qos = 1, .arrival_ms = 1700000000000 };
	struct cw_alink_post post;
	struct cw_record rec;
	struct cw_writer *r = begin(CW_KIND_SHADOW_REPORT);

	cw_record_body(r);
	cw_field_text(r, "color", "red");
	cw_put_end(r);
	cw_record_end(r);
	assert_true(cw_record_read(cw_written(r), &rec));
	assert_int_equal(cw_alink_record(&rec, PK, DN, 1024 + 7, &options, &post), 0);
	assert_string_equal(post.topic, "/shadow/update/" PK "/" DN);
	assert_int_equal(post.len, strlen("{\"method\":\"update\",\"state\":{\"reported\":{\"color\":\"red\"}},\"version\":1740800000000007}"));
	assert_memory_equal(post.payload, "{\"method\":\"update\",\"state\":{\"reported\":{\"color\":\"red\"}},\"version\":1740800000000007}",
			    post.len);
	assert_false(post.replies);
	cw_free(post.payload);
	r = begin(CW_KIND_SHADOW_REPORT);
	cw_record_body(r);
	cw_put_end(r);
	assert_int_equal(build_with(1, 1), 0);
	assert_string_equal(payload, "{\"method\":\"get\"}");
	assert_int_equal(qos, 1);
}

static void a_refused_report_to_a_shadow_is_known(void **state)
{
	char text[32];
	int32_t code;

	assert_true(cw_alink_shadow_refused(cw_bytes_text("{\"method\":\"reply\",\"payload\":{\"status\":\"error\",\"content\":{"
							  "\"errorcode\":\"409\",\"errormessage\":\"conflict\"}}}"),
					    &code, text, sizeof(text)));
	assert_int_equal(code, 409);
	assert_string_equal(text, "conflict");
	assert_true(cw_alink_shadow_refused(cw_bytes_text("{\"payload\":{\"status\":\"error\"}}"), &code, text, sizeof(text)));
	assert_int_equal(code, CW_ALINK_CODE_NONE);
	assert_false(cw_alink_shadow_refused(cw_bytes_text("{\"payload\":{\"status\":\"success\"}}"), &code, text, sizeof(text)));
	assert_false(cw_alink_shadow_refused(cw_bytes_text("{\"payload\":7}"), &code, text, sizeof(text)));
	assert_false(cw_alink_shadow_refused(cw_bytes_text("x"), &code, text, sizeof(text)));
}

static void what_is_too_large_or_unknown_is_refused(void **state)
{
	struct cw_alink_options options = { .want_reply = 1 };
	struct cw_alink_post post;
	struct cw_record rec = { .kind = CW_KIND_RAW, .name = cw_bytes_text("user/up") };
	uint8_t *big = cw_zalloc(CW_ALINK_MOST + 1);

	rec.body = cw_bytes_of(big, CW_ALINK_MOST + 1);
	assert_int_equal(cw_alink_record(&rec, PK, DN, 1, &options, &post), CW_ELIMIT);
	rec.kind = CW_KIND_SERVICE;
	assert_int_equal(cw_alink_record(&rec, PK, DN, 1, &options, &post), CW_EUNSUPPORTED);
	cw_free(big);
}

static void more_members_than_the_platform_takes_are_refused_here(void **state)
{
	static uint8_t many[8000];
	struct cw_alink_options options = { .want_reply = 1 };
	struct cw_alink_post post;
	struct cw_record rec;
	char key[8];
	int i, n;

	for (n = 200; n <= 201; n++) {
		struct cw_writer r = cw_writer_of(many, sizeof(many));

		cw_record_begin(&r, CW_KIND_PROPERTIES);
		cw_record_body(&r);
		for (i = 0; i < n; i++) {
			snprintf(key, sizeof(key), "p%d", i);
			cw_field_int(&r, key, i);
		}
		cw_put_end(&r);
		cw_record_end(&r);
		assert_true(cw_record_read(cw_written(&r), &rec));
		assert_int_equal(cw_alink_record(&rec, PK, DN, 1, &options, &post), n == 200 ? 0 : CW_ELIMIT);
		if (n == 200)
			cw_free(post.payload);
	}
}

/* ---- down --------------------------------------------------------------------- */

static struct cw_alink_command command;
static struct cw_record record;

static int receive(const char *on, const char *text)
{
	struct cw_topic t;
	int rc;

	cw_topic_parse(cw_bytes_text(on), &t);
	rc = cw_alink_command(&t, cw_bytes_text(on), cw_bytes_text(text), &command);
	if (rc == 0)
		assert_true(cw_record_read(cw_bytes_of(command.record, command.len), &record));
	return rc;
}

static void expect_body(const char *json)
{
	char *text;
	size_t len;

	assert_int_equal(cw_json_from_item(record.body, 4000, &text, &len), 0);
	assert_string_equal(text, json);
	cw_free(text);
}

#define SYS "/sys/" PK "/" DN "/"

static void services_and_property_calls_become_commands(void **state)
{
	assert_int_equal(receive(SYS "thing/service/property/set", "{\"id\":\"1\",\"params\":{\"a\":0.10}}"), 0);
	assert_int_equal(record.kind, CW_KIND_PROPERTY_SET);
	expect_body("{\"a\":0.10}");
	assert_string_equal(command.answer_topic, SYS "thing/service/property/set_reply");
	assert_true(command.wants_answer);
	cw_free(command.record);
	assert_int_equal(receive(SYS "thing/service/property/get", "{\"id\":2,\"params\":[\"a\",\"b\"]}"), 0);
	assert_int_equal(record.kind, CW_KIND_PROPERTY_GET);
	assert_string_equal(command.request, "2");
	expect_body("{\"identifiers\":[\"a\",\"b\"]}");
	cw_free(command.record);
	assert_int_equal(receive(SYS "thing/service/reboot", "{\"id\":\"3\",\"params\":{}}"), 0);
	assert_int_equal(record.kind, CW_KIND_SERVICE);
	assert_true(cw_topic_is(record.name, "reboot"));
	assert_int_equal(command.deadline_ms, 0);
	cw_free(command.record);
}

static void synchronous_calls_are_commands_with_eight_seconds(void **state)
{
	assert_int_equal(receive(SYS "rrpc/request/4711",
				 "{\"id\":\"3\",\"method\":\"thing.service.reboot\",\"params\":{\"x\":1}}"),
			 0);
	assert_int_equal(record.kind, CW_KIND_SERVICE);
	assert_string_equal(command.request, "3");
	assert_string_equal(command.answer_topic, SYS "rrpc/response/4711");
	assert_int_equal(command.deadline_ms, 8000);
	cw_free(command.record);
	assert_int_equal(receive("/ext/rrpc/9" SYS "thing/service/reboot", "{\"id\":\"4\",\"params\":{}}"), 0);
	assert_int_equal(record.kind, CW_KIND_SERVICE);
	assert_string_equal(command.answer_topic, "/ext/rrpc/9" SYS "thing/service/reboot");
	cw_free(command.record);
	assert_int_equal(receive(SYS "rrpc/request/4712", "\x01\xff"), 0);
	assert_int_equal(record.kind, CW_KIND_RRPC);
	assert_string_equal(command.request, "4712");
	assert_int_equal(record.body.len, 2);
	cw_free(command.record);
	assert_int_equal(receive("/ext/rrpc/12/" PK "/" DN "/user/get", "hello"), 0);
	assert_int_equal(record.kind, CW_KIND_RRPC);
	assert_true(cw_topic_is(record.name, "user/get"));
	assert_string_equal(command.answer_topic, "/ext/rrpc/12/" PK "/" DN "/user/get");
	cw_free(command.record);
	assert_int_equal(receive("/ext/rrpc/13" SYS "thing/model/down_raw", "\x02"), 0);
	assert_int_equal(record.kind, CW_KIND_RRPC);
	assert_true(cw_topic_is(record.name, "thing/model/down_raw"));
	cw_free(command.record);
}

static void notices_become_commands(void **state)
{
	assert_int_equal(
		receive("/ota/device/upgrade/" PK "/" DN,
			"{\"id\":\"1507707025\",\"code\":\"1000\",\"message\":\"success\",\"data\":{\"size\":432945,"
			"\"version\":\"2.0.0\",\"url\":\"https://x/y\",\"md5\":\"93230c\",\"sign\":\"93230c\","
			"\"signMethod\":\"Md5\",\"module\":\"MCU\",\"extData\":{\"key1\":\"value1\"}}}"),
		0);
	assert_int_equal(record.kind, CW_KIND_OTA_NOTICE);
	assert_true(cw_topic_is(record.name, "MCU"));
	expect_body("{\"version\":\"2.0.0\",\"size\":432945,\"digest\":\"93230c\",\"method\":\"Md5\",\"url\":\"https://"
		    "x/y\","
		    "\"extra\":{\"key1\":\"value1\"}}");
	assert_false(command.wants_answer);
	cw_free(command.record);
	assert_int_equal(
		receive(SYS "thing/config/push", "{\"id\":\"8\",\"params\":{\"configId\":\"c\",\"configSize\":3}}"), 0);
	assert_int_equal(record.kind, CW_KIND_CONFIG);
	assert_string_equal(command.answer_topic, SYS "thing/config/push_reply");
	cw_free(command.record);
	assert_int_equal(receive("/shadow/get/" PK "/" DN, "{\"method\":\"control\",\"payload\":{\"status\":"
							   "\"success\",\"state\":{\"desired\":{\"color\":\"red\"}}},"
							   "\"version\":2}"),
			 0);
	assert_int_equal(record.kind, CW_KIND_SHADOW);
	expect_body("{\"color\":\"red\"}");
	cw_free(command.record);
	assert_int_equal(
		receive("/shadow/get/" PK "/" DN, "{\"method\":\"reply\",\"payload\":{\"status\":\"success\"}}"),
		CW_ENOENT);
	assert_int_equal(receive("/shadow/get/" PK "/" DN, "{\"method\":\"reply\",\"payload\":{\"status\":\"success\","
							   "\"state\":{\"reported\":{},\"desired\":{\"n\":1}}},\"version\":2}"),
			 0);
	assert_int_equal(record.kind, CW_KIND_SHADOW);
	assert_false(command.wants_answer);
	expect_body("{\"n\":1}");
	cw_free(command.record);
	assert_int_equal(receive(SYS "thing/config/get_reply", "{\"id\":\"1\",\"code\":200,\"data\":{\"configId\":\"c\"}}"), 0);
	assert_int_equal(record.kind, CW_KIND_CONFIG);
	assert_false(command.wants_answer);
	expect_body("{\"configId\":\"c\"}");
	cw_free(command.record);
	assert_int_equal(receive(SYS "thing/config/get_reply", "{\"id\":\"1\",\"code\":6710,\"data\":{}}"), CW_ENOENT);
	assert_int_equal(receive(SYS "thing/disable", "{\"id\":\"1\",\"params\":{}}"), 0);
	assert_int_equal(record.kind, CW_KIND_DISABLE);
	cw_free(command.record);
}

static void bytes_come_through_unseen(void **state)
{
	assert_int_equal(receive(SYS "thing/model/down_raw", "\x01\x02"), 0);
	assert_int_equal(record.kind, CW_KIND_RAW_DOWN);
	assert_false(command.wants_answer);
	cw_free(command.record);
	assert_int_equal(receive("/" PK "/" DN "/user/get?_rid=1", "x"), 0);
	assert_true(cw_topic_is(record.name, "user/get"));
	cw_free(command.record);
	assert_int_equal(receive("/broadcast/" PK "/news", "x"), 0);
	assert_int_equal(record.kind, CW_KIND_BROADCAST);
	assert_true(cw_topic_is(record.name, "news"));
	cw_free(command.record);
	assert_int_equal(receive(SYS "broadcast/request/77", "x"), 0);
	assert_int_equal(record.kind, CW_KIND_BROADCAST);
	cw_free(command.record);
}

static void nonsense_is_not_a_command(void **state)
{
	assert_int_equal(receive(SYS "thing/service/property/set", "{\"id\":\"1\""), CW_EPROTO);
	assert_int_equal(receive(SYS "thing/service/property/set", "[]"), CW_EPROTO);
	assert_int_equal(receive(SYS "thing/service/property/set", "{\"id\":\"1\",\"params\":7}"), CW_EPROTO);
	assert_int_equal(receive(SYS "thing/service/property/get", "{\"id\":\"1\",\"params\":{}}"), CW_EPROTO);
	assert_int_equal(receive(SYS "thing/service/a/b", "{\"id\":\"1\",\"params\":{}}"), CW_EUNSUPPORTED);
	assert_int_equal(receive(SYS "thing/nothing", "{\"id\":\"1\"}"), CW_EUNSUPPORTED);
	assert_int_equal(receive("/ota/device/upgrade/" PK "/" DN, "{\"id\":\"1\"}"), CW_EPROTO);
	assert_int_equal(receive("/ota/device/upgrade/" PK "/" DN, "no"), CW_EPROTO);
}

static void topics_are_told_apart(void **state)
{
	static const struct {
		const char *topic;
		enum cw_topic_kind kind;
	} list[] = {
		{ "/sys/pk/dn/thing/event/property/post_reply", CW_TOPIC_SYS },
		{ "/sys/pk/dn/rrpc/request/1", CW_TOPIC_RRPC },
		{ "/ext/session/pk/dn/combine/login_reply", CW_TOPIC_SESSION },
		{ "/ext/session/pk/dn/login", CW_TOPIC_UNKNOWN },
		{ "/ext/error/pk/dn", CW_TOPIC_ERROR },
		{ "/ext/error/pk/dn/x", CW_TOPIC_UNKNOWN },
		{ "/ext/ntp/pk/dn/response", CW_TOPIC_NTP },
		{ "/ext/rrpc/1/pk/dn/user/get", CW_TOPIC_EXT_RRPC },
		{ "/ext/rrpc/1//pk/dn/user/get", CW_TOPIC_EXT_RRPC },
		{ "/ext/rrpc/1", CW_TOPIC_UNKNOWN },
		{ "/ext/rrpc//pk/dn/user/get", CW_TOPIC_UNKNOWN },
		{ "/shadow/get/pk/dn", CW_TOPIC_SHADOW_GET },
		{ "/ota/device/upgrade/pk", CW_TOPIC_UNKNOWN },
		{ "/pk/dn/user/a/b", CW_TOPIC_USER },
		{ "/pk/dn", CW_TOPIC_UNKNOWN },
		{ "/sys/pk//x", CW_TOPIC_UNKNOWN },
		{ "/sys//", CW_TOPIC_UNKNOWN },
		{ "/", CW_TOPIC_UNKNOWN },
		{ "", CW_TOPIC_UNKNOWN },
		{ "x", CW_TOPIC_UNKNOWN },
		{ "/broadcast/pk", CW_TOPIC_UNKNOWN },
	};
	struct cw_topic t;
	size_t i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		cw_topic_parse(cw_bytes_text(list[i].topic), &t);
		if (t.kind != list[i].kind)
			fail_msg("%s is kind %d", list[i].topic, (int)t.kind);
	}
}

static void subscriptions_fit_the_limits_and_carry_the_names(void **state)
{
	char out[CW_TOPIC_MAX];
	int i, gateway, n;

	for (gateway = 0; gateway < 2; gateway++) {
		n = cw_topic_subscription_count(gateway);
		assert_in_range(n, 8, 100);
		for (i = 0; i < n; i++) {
			assert_int_equal(cw_topic_subscription(gateway, i, PK, DN, out), 0);
			assert_non_null(strstr(out, "/" PK "/" DN));
			assert_null(strchr(out, '%'));
		}
	}
}

static void replies_come_with_numbers_or_texts(void **state)
{
	struct cw_alink_reply r;

	assert_int_equal(
		cw_alink_reply(cw_bytes_text("{\"id\":123,\"code\":\"200\",\"data\":[{}],\"message\":\"ok\"}"), &r), 0);
	assert_true(r.has_id);
	assert_int_equal(r.id, 123);
	assert_int_equal(r.code, 200);
	assert_string_equal(r.message, "ok");
	assert_int_equal(r.data.len, 4);
	cw_alink_reply_drop(&r);
	assert_int_equal(cw_alink_reply(cw_bytes_text("{\"id\":\"4294967296\",\"code\":\"x\"}"), &r), 0);
	assert_false(r.has_id);
	assert_int_equal(r.code, CW_ALINK_CODE_NONE);
	cw_alink_reply_drop(&r);
	assert_int_equal(cw_alink_reply(cw_bytes_text("[]"), &r), CW_EPROTO);
	assert_int_equal(cw_alink_reply(cw_bytes_text("nope"), &r), CW_EPROTO);
}

static void an_answer_always_has_id_code_and_data(void **state)
{
	char *text;
	size_t len;

	assert_int_equal(cw_alink_answer("1|exp-topic|/sys", 200, cw_bytes_of(NULL, 0), &text, &len), 0);
	assert_string_equal(text, "{\"id\":\"1|exp-topic|/sys\",\"code\":200,\"data\":{}}");
	cw_free(text);
	w = cw_writer_of(buf, sizeof(buf));
	cw_put_map(&w);
	cw_field_int(&w, "left", 3);
	cw_put_end(&w);
	assert_int_equal(cw_alink_answer("1", 100001, cw_written(&w), &text, &len), 0);
	assert_string_equal(text, "{\"id\":\"1\",\"code\":100001,\"data\":{\"left\":3}}");
	cw_free(text);
}

static void codes_say_what_to_do(void **state)
{
	assert_int_equal(cw_code_action(200), CW_CODE_DONE);
	assert_int_equal(cw_code_action(520), CW_CODE_RELOGIN);
	assert_int_equal(cw_code_action(6401), CW_CODE_RETOPO);
	assert_int_equal(cw_code_action(429), CW_CODE_LATER);
	assert_int_equal(cw_code_action(6320), CW_CODE_REFUSED);
	assert_int_equal(cw_code_action(99999), CW_CODE_REFUSED);
	assert_non_null(strstr(cw_connack_text(4), "secret"));
	assert_non_null(strstr(cw_code_todo(6100), "productKey"));
	assert_non_null(strstr(cw_code_todo(401), "deviceSecret"));
	assert_null(cw_code_todo(200));
}

static void short_memory_is_reported(void **state)
{
	long nth;
	int rc = -1;

	for (nth = 0; rc != 0; nth++) {
		cw_mem_fail_at(nth);
		rc = receive(SYS "thing/service/property/set", "{\"id\":\"1\",\"params\":{\"a\":0.10}}");
		cw_mem_fail_at(-1);
		if (rc == 0)
			cw_free(command.record);
		else
			assert_int_equal(rc, CW_ENOMEM);
		assert_int_equal(cw_mem_live(), 0);
	}
	assert_true(nth > 2);
	for (nth = 0, rc = -1; rc != 0; nth++) {
		struct cw_writer *r = begin(CW_KIND_PROPERTIES);

		cw_record_body(r);
		cw_field_int(r, "n", 1);
		cw_put_end(r);
		cw_mem_fail_at(nth);
		rc = build_with(1, 1);
		cw_mem_fail_at(-1);
		if (rc != 0)
			assert_int_equal(rc, CW_ENOMEM);
		assert_int_equal(cw_mem_live(), 0);
	}
	assert_true(nth > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, check_leaks)
		TEST(properties_go_as_a_post_with_time),
		TEST(without_time_and_version_a_post_is_short),
		TEST(an_event_carries_its_output_and_time),
		TEST(replayed_records_go_as_history),
		TEST(tags_are_a_list_of_texts),
		TEST(raw_data_goes_to_its_topic_as_it_is),
		TEST(names_that_would_leave_the_device_are_refused),
		TEST(firmware_messages_have_their_own_topics),
		TEST(a_shadow_is_reported_with_a_version_that_rises),
		TEST(a_refused_report_to_a_shadow_is_known),
		TEST(what_is_too_large_or_unknown_is_refused),
		TEST(more_members_than_the_platform_takes_are_refused_here),
		TEST(services_and_property_calls_become_commands),
		TEST(synchronous_calls_are_commands_with_eight_seconds),
		TEST(notices_become_commands),
		TEST(bytes_come_through_unseen),
		TEST(nonsense_is_not_a_command),
		TEST(topics_are_told_apart),
		TEST(subscriptions_fit_the_limits_and_carry_the_names),
		TEST(replies_come_with_numbers_or_texts),
		TEST(an_answer_always_has_id_code_and_data),
		TEST(codes_say_what_to_do),
		TEST(short_memory_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
