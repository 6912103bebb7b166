/* The MQTT codec: whole packets, split at every byte, cut at every byte, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "causeway/error.h"
#include "cloud/mqtt/codec.h"

struct sample {
	const char *name;
	const char *bytes;
	size_t len;
	uint8_t type;
};

#define SAMPLE(name, type, bytes) { name, bytes, sizeof(bytes) - 1, type }

static const struct sample samples[] = {
	SAMPLE("connect 3.1.1", MQTT_CONNECT, "\x10\x14\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02id\x00\x01u\x00\x01p"),
	SAMPLE("connect 3.1", MQTT_CONNECT, "\x10\x16\x00\x06MQIsdp\x03\xc2\x00\x3c\x00\x02id\x00\x01u\x00\x01p"),
	SAMPLE("connect with a will", MQTT_CONNECT, "\x10\x14\x00\x04MQTT\x04\x2e\x00\x3c\x00\x02id\x00\x01t\x00\x01m"),
	SAMPLE("publish qos 0", MQTT_PUBLISH, "\x30\x08\x00\x04/a/bhi"),
	SAMPLE("publish qos 1", MQTT_PUBLISH, "\x32\x0a\x00\x04/a/b\x00\x07hi"),
	SAMPLE("publish empty", MQTT_PUBLISH, "\x32\x08\x00\x04/a/b\x00\x07"),
	SAMPLE("puback", MQTT_PUBACK, "\x40\x02\x12\x34"),
	SAMPLE("subscribe", MQTT_SUBSCRIBE, "\x82\x0d\x00\x01\x00\x03/a/\x01\x00\x02/#\x00"),
	SAMPLE("unsubscribe", MQTT_UNSUBSCRIBE, "\xa2\x07\x00\x01\x00\x03/a/"),
	SAMPLE("pingreq", MQTT_PINGREQ, "\xc0\x00"),
	SAMPLE("disconnect", MQTT_DISCONNECT, "\xe0\x00"),
};

#define COUNT (sizeof(samples) / sizeof(samples[0]))

/* Decode from a block of exactly len bytes, so that a sanitizer sees any step beyond it. */
static int decode(const char *bytes, size_t len, unsigned level, struct cloud_mqtt_packet *p)
{
	uint8_t *exact = malloc(len != 0 ? len : 1);
	int rc;

	assert_non_null(exact);
	memcpy(exact, bytes, len);
	rc = cw_cloud_mqtt_decode(exact, len, level, p);
	free(exact);
	return rc;
}

static void every_packet_is_decoded_whole_and_asks_for_more_when_cut(void **state)
{
	struct cloud_mqtt_packet p;
	size_t i, cut;

	for (i = 0; i < COUNT; i++) {
		for (cut = 0; cut < samples[i].len; cut++)
			assert_int_equal(decode(samples[i].bytes, cut, 4, &p), CW_EBUSY);
		assert_int_equal(decode(samples[i].bytes, samples[i].len, 4, &p), 0);
		assert_int_equal(p.type, samples[i].type);
		assert_int_equal(p.size, samples[i].len);
	}
}

static void bytes_behind_a_packet_are_left_alone(void **state)
{
	struct cloud_mqtt_packet p;
	char two[64];
	size_t i;

	for (i = 0; i < COUNT; i++) {
		memcpy(two, samples[i].bytes, samples[i].len);
		memset(two + samples[i].len, 0xff, 3);
		assert_int_equal(decode(two, samples[i].len + 3, 4, &p), 0);
		assert_int_equal(p.size, samples[i].len);
	}
}

/* A body one byte shorter than its content: never accepted, never read beyond. */
static void a_length_that_lies_is_refused(void **state)
{
	struct cloud_mqtt_packet p;
	char copy[64];
	size_t i;

	for (i = 0; i < COUNT; i++) {
		uint8_t length = (uint8_t)samples[i].bytes[1];

		/* The payload of a PUBLISH is whatever is left: shorter is right there. */
		if (length == 0 || samples[i].type == MQTT_PUBLISH)
			continue;
		memcpy(copy, samples[i].bytes, samples[i].len);
		copy[1] = (char)(length - 1);
		assert_int_equal(decode(copy, samples[i].len - 1, 4, &p), CW_EPROTO);
		copy[1] = (char)(length + 1);
		copy[samples[i].len] = 0;
		assert_int_equal(decode(copy, samples[i].len + 1, 4, &p), CW_EPROTO);
	}
}

static void connect_gives_all_its_fields(void **state)
{
	struct cloud_mqtt_packet p;
	const struct cloud_mqtt_connect *c = &p.u.connect;
	static const uint8_t in[] = "\x10\x14\x00\x04MQTT\x04\xc2\x01\x2c\x00\x02id\x00\x01u\x00\x01p";

	assert_int_equal(cw_cloud_mqtt_decode(in, sizeof(in) - 1, 0, &p), 0);
	assert_int_equal(c->level, 4);
	assert_int_equal(c->clean, 1);
	assert_int_equal(c->keep_alive_s, 300);
	assert_true(cw_cloud_text_is(&c->client_id, "id"));
	assert_true(cw_cloud_text_is(&c->user, "u"));
	assert_true(cw_cloud_text_is(&c->password, "p"));
}

static void other_protocol_levels_are_named_and_not_parsed(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		unsigned level;
	} in[] = {
		{ "\x10\x07\x00\x04MQTT\x05", 9, 5 },   /* MQTT 5; nothing behind the level is looked at */
		{ "\x10\x07\x00\x04MQTT\x06", 9, 6 },
		{ "\x10\x07\x00\x04MQTT\x84", 9, 0x84 }, /* a bridge of another broker */
		{ "\x10\x07\x00\x04MQTT\x03", 9, 0 },    /* the name of one edition with the level of another */
		{ "\x10\x09\x00\x06MQIsdp\x04", 11, 0 },
	};
	struct cloud_mqtt_packet p;
	size_t i;

	for (i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		assert_int_equal(decode(in[i].bytes, in[i].len, 0, &p), 0);
		assert_int_equal(p.u.connect.level, in[i].level);
	}
}

static void malformed_packets_are_refused(void **state)
{
	static const struct {
		const char *why, *bytes;
		size_t len;
	} bad[] = {
#define BAD(why, bytes) { why, bytes, sizeof(bytes) - 1 }
		BAD("protocol name", "\x10\x11\x00\x04MQTX\x04\x02\x00\x3c\x00\x02id\x00\x01u"),
		BAD("reserved connect flag", "\x10\x0e\x00\x04MQTT\x04\x03\x00\x3c\x00\x02id"),
		BAD("will qos without a will", "\x10\x0e\x00\x04MQTT\x04\x0a\x00\x3c\x00\x02id"),
		BAD("will qos 3", "\x10\x14\x00\x04MQTT\x04\x1e\x00\x3c\x00\x02id\x00\x01t\x00\x01m"),
		BAD("password without user", "\x10\x11\x00\x04MQTT\x04\x42\x00\x3c\x00\x02id\x00\x01p"),
		BAD("flags of connect", "\x11\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id"),
		BAD("client id not UTF-8", "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02\xc0\x80"),
		BAD("client id with NUL", "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02i\x00"),
		BAD("qos 3", "\x36\x0a\x00\x04/a/b\x00\x07hi"),
		BAD("dup with qos 0", "\x38\x08\x00\x04/a/bhi"),
		BAD("packet id 0", "\x32\x0a\x00\x04/a/b\x00\x00hi"),
		BAD("empty topic", "\x30\x04\x00\x00hi"),
		BAD("wildcard +", "\x30\x06\x00\x04/a/+"),
		BAD("wildcard #", "\x30\x06\x00\x04/a/#"),
		BAD("surrogate in a topic", "\x30\x06\x00\x04/\xed\xa0\x80"),
		BAD("puback with id 0", "\x40\x02\x00\x00"),
		BAD("puback too long", "\x40\x03\x00\x01\x00"),
		BAD("subscribe flags", "\x80\x08\x00\x01\x00\x03/a/\x00"),
		BAD("subscribe qos 3", "\x82\x08\x00\x01\x00\x03/a/\x03"),
		BAD("subscribe without topics", "\x82\x02\x00\x01"),
		BAD("subscribe, empty filter", "\x82\x05\x00\x01\x00\x00\x00"),
		BAD("unsubscribe without topics", "\xa2\x02\x00\x01"),
		BAD("pingreq with a body", "\xc0\x01\x00"),
		BAD("disconnect with a body", "\xe0\x01\x00"),
		BAD("connack from a client", "\x20\x02\x00\x00"),
		BAD("pubrec", "\x50\x02\x00\x01"),
		BAD("pubrel", "\x62\x02\x00\x01"),
		BAD("type 0", "\x00\x00"),
		BAD("type 15", "\xf0\x00"),
		BAD("length in five bytes", "\x30\xff\xff\xff\xff\x01"),
	};
	struct cloud_mqtt_packet p;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int rc = decode(bad[i].bytes, bad[i].len, 4, &p);

		if (rc != CW_EPROTO)
			fail_msg("%s: %d", bad[i].why, rc);
	}
}

static void only_mqtt_31_may_repeat_a_subscribe_with_dup(void **state)
{
	static const char in[] = "\x8a\x08\x00\x01\x00\x03/a/\x00";
	struct cloud_mqtt_packet p;

	assert_int_equal(decode(in, sizeof(in) - 1, 3, &p), 0);
	assert_int_equal(decode(in, sizeof(in) - 1, 4, &p), CW_EPROTO);
}

static void sizes_are_bounded(void **state)
{
	struct cloud_mqtt_packet p;
	size_t n = MQTT_PAYLOAD_MAX + 10;
	uint8_t *big = calloc(1, n);
	size_t head;

	assert_non_null(big);
	/* announced only: refused before the bytes are there */
	assert_int_equal(decode("\x30\xff\xff\xff\x7f", 5, 4, &p), CW_ELIMIT);
	head = cw_cloud_mqtt_publish_head(big, "/a/b", 4, MQTT_PAYLOAD_MAX, 0, 0, 0);
	assert_int_equal(cw_cloud_mqtt_decode(big, head + MQTT_PAYLOAD_MAX, 4, &p), 0);
	assert_int_equal(p.u.publish.len, MQTT_PAYLOAD_MAX);
	head = cw_cloud_mqtt_publish_head(big, "/a", 2, MQTT_PAYLOAD_MAX + 1, 0, 0, 0);
	assert_int_equal(cw_cloud_mqtt_decode(big, head + MQTT_PAYLOAD_MAX + 1, 4, &p), CW_ELIMIT);
	free(big);
}

static void filters_are_walked_with_their_qos(void **state)
{
	static const uint8_t in[] = "\x82\x0d\x00\x01\x00\x03/a/\x01\x00\x02/#\x00";
	struct cloud_mqtt_packet p;
	struct cloud_text filter;
	uint8_t qos;

	assert_int_equal(cw_cloud_mqtt_decode(in, sizeof(in) - 1, 4, &p), 0);
	assert_int_equal(p.u.filters.count, 2);
	assert_int_equal(cw_cloud_mqtt_filter(&p, &filter, &qos), 1);
	assert_true(cw_cloud_text_is(&filter, "/a/"));
	assert_int_equal(qos, 1);
	assert_int_equal(cw_cloud_mqtt_filter(&p, &filter, &qos), 1);
	assert_true(cw_cloud_text_is(&filter, "/#"));
	assert_int_equal(qos, 0);
	assert_int_equal(cw_cloud_mqtt_filter(&p, &filter, &qos), 0);
}

static void answers_have_the_bytes_of_the_standard(void **state)
{
	static const uint8_t codes[] = { 0, 1, 0x80 };
	uint8_t out[MQTT_TOPICS_MAX + 4];

	assert_int_equal(cw_cloud_mqtt_connack(out, 1, 0), 4);
	assert_memory_equal(out, "\x20\x02\x01\x00", 4);
	assert_int_equal(cw_cloud_mqtt_connack(out, 1, 4), 4);
	assert_memory_equal(out, "\x20\x02\x00\x04", 4);
	assert_int_equal(cw_cloud_mqtt_connack5(out, 0x84), 5);
	assert_memory_equal(out, "\x20\x03\x00\x84\x00", 5);
	assert_int_equal(cw_cloud_mqtt_ack(out, MQTT_PUBACK, 0x1234), 4);
	assert_memory_equal(out, "\x40\x02\x12\x34", 4);
	assert_int_equal(cw_cloud_mqtt_suback(out, 7, codes, 3), 7);
	assert_memory_equal(out, "\x90\x05\x00\x07\x00\x01\x80", 7);
	assert_int_equal(cw_cloud_mqtt_pingresp(out), 2);
	assert_memory_equal(out, "\xd0\x00", 2);
	assert_int_equal(cw_cloud_mqtt_publish_head(out, "/a/b", 4, 2, 1, 1, 7), 10);
	assert_memory_equal(out, "\x3a\x0a\x00\x04/a/b\x00\x07", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_packet_is_decoded_whole_and_asks_for_more_when_cut),
		cmocka_unit_test(bytes_behind_a_packet_are_left_alone),
		cmocka_unit_test(a_length_that_lies_is_refused),
		cmocka_unit_test(connect_gives_all_its_fields),
		cmocka_unit_test(other_protocol_levels_are_named_and_not_parsed),
		cmocka_unit_test(malformed_packets_are_refused),
		cmocka_unit_test(only_mqtt_31_may_repeat_a_subscribe_with_dup),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(filters_are_walked_with_their_qos),
		cmocka_unit_test(answers_have_the_bytes_of_the_standard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
