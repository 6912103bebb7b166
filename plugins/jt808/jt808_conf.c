/*
 * jt808_conf.c - the settings: their table, and from checked values to struct jt_conf.
 */
#include "jt808.h"

#include <stdio.h>
#include <stdlib.h>

#define ANY 0

static const struct cw_conf_field key_fields[] = {
	{ "e", CW_FIELD_INT, ANY, "0", "0", "4294967295", NULL, "Public exponent; 0 means that no key is configured.", NULL },
	{ "n", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Modulus, 256 hex digits.", NULL },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

const struct cw_conf_field jt_conf_fields[] = {
	{ "strict", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL,
	  "Refuse frames and bodies that are not by the book; else take what can be understood.", NULL },
	{ "timezone", CW_FIELD_STRING, ANY, "Asia/Shanghai", NULL, NULL, NULL,
	  "Zone of the terminals' clocks: Asia/Shanghai, UTC, or an offset as in +08:00.", NULL },
	{ "edition", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|2011|2013",
	  "Edition of terminals with the short header; auto: as their registration looks, 2013 until then.", NULL },
	{ "identifyBy", CW_FIELD_ENUM, ANY, "auth", NULL, NULL, "auth|any",
	  "auth: a terminal must authenticate first; any: the number of whatever message comes first is its identity.", NULL },
	{ "authPolicy", CW_FIELD_ENUM, ANY, "issued", NULL, NULL, "issued|any|secret",
	  "Codes accepted in 0x0102: the one issued to this number, any, or the device's authSecret.", NULL },
	{ "authSecret", CW_FIELD_SECRET, CW_SCOPE_ANY, "", NULL, NULL, NULL, "The code of this device, for authPolicy = secret.", NULL },
	{ "authCloseDelay", CW_FIELD_DURATION, ANY, "2s", "0s", "60s", NULL, "How long after a refused 0x0102 the connection is closed; 0s leaves it open.", NULL },
	{ "unknownCloseDelay", CW_FIELD_DURATION, ANY, "0s", "0s", "60s", NULL, "How long after a refused 0x0100 the connection is closed; 0s leaves that to the listener's `unknown`.", NULL },
	{ "registerResult", CW_FIELD_ENUM, ANY, "4", NULL, NULL, "1|2|3|4", "Result of 0x8100 for an unknown number.", NULL },
	{ "zeroNumber", CW_FIELD_ENUM, ANY, "refuse", NULL, NULL, "refuse|accept|authCode",
	  "A number of zeros: refuse it, take it as identity `0`, or take the authentication code as identity.", NULL },
	{ "imeiNumber", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL,
	  "Read a number that is not decimal as a binary IMEI and add its check digit.", NULL },
	{ "unknownResult", CW_FIELD_ENUM, ANY, "0", NULL, NULL, "0|3", "Result of 0x8001 for messages that are not in the standard.", NULL },
	{ "ackAnswers", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "Answer the terminal's dedicated answers (0x0104, 0x0201, ..) with 0x8001 too.", NULL },
	{ "alarmResult", CW_FIELD_ENUM, ANY, "0", NULL, NULL, "0|4", "Result of 0x8001 for a report with an alarm bit; 4 confirms the alarm by rule.", NULL },
	{ "retryWait", CW_FIELD_DURATION, ANY, "10s", "1s", "10m", NULL, "First wait for the answer to a command before it is sent again.", NULL },
	{ "retries", CW_FIELD_INT, ANY, "3", "0", "20", NULL, "How often a command is sent again.", NULL },
	{ "retryWaitMax", CW_FIELD_DURATION, ANY, "60s", "1s", "10m", NULL, "Longest wait between two of them.", NULL },
	{ "retryGrowth", CW_FIELD_ENUM, ANY, "factorial", NULL, NULL, "factorial|linear|fixed", "How the waits grow: T, 2T, 6T; T, 2T, 3T; T, T, T.", NULL },
	{ "fragmentSize", CW_FIELD_INT, ANY, "1000", "64", "1023", NULL, "Body bytes of one frame when a message must be cut.", NULL },
	{ "fragmentBurst", CW_FIELD_INT, ANY, "16", "1", "256", NULL, "Frames of one message sent before an answer or the pause; 1 on UDP.", NULL },
	{ "fragmentPause", CW_FIELD_DURATION, ANY, "500ms", "10ms", "60s", NULL, "Pause between bursts when the terminal answers the last frame only.", NULL },
	{ "partsMaxBytes", CW_FIELD_BYTES, ANY, "4MiB", "1KiB", "64MiB", NULL, "Longest message put together from frames.", NULL },
	{ "partsMaxOpen", CW_FIELD_INT, ANY, "4", "1", "64", NULL, "Incomplete messages of one terminal; the oldest is dropped.", NULL },
	{ "partsMaxCount", CW_FIELD_INT, ANY, "8192", "2", "65535", NULL, "Frames of one message.", NULL },
	{ "partsAskAfter", CW_FIELD_DURATION, ANY, "10s", "1s", "10m", NULL, "Silence after which missing frames are asked for.", NULL },
	{ "partsAsks", CW_FIELD_INT, ANY, "5", "0", "100", NULL, "How often they are asked for.", NULL },
	{ "partsDropAfter", CW_FIELD_DURATION, ANY, "60s", "1s", "1h", NULL, "Silence after which an incomplete message is dropped.", NULL },
	{ "joinUnescaped", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Put frames together that an unescaped 7e has cut.", NULL },
	{ "controlCount", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "0x8500 of 2019 carries the number of controls; some terminals want it left out.", NULL },
	{ "changeOnly", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Publish the properties of the status word only when it has changed.", NULL },
	{ "percentFuel", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "Item 0x02 with bit 15 set is a percentage: published raw, not as litres.", NULL },
	{ "storeMedia", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "Pictures and sound go to the attachment directory; else they are published inline in hex.", NULL },
	{ "inflateMax", CW_FIELD_BYTES, ANY, "1MiB", "0", "64MiB", NULL, "Largest content of 0x0901 that is unpacked; 0 leaves it packed.", NULL },
	{ "rsaKey", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL, "Our public key, sent as answer to a terminal's 0x0A00.", key_fields },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

static int is(struct cw_bytes map, const char *key, const char *value)
{
	return cw_bytes_equal(cw_map_text(map, key), cw_bytes_text(value));
}

/* Zones without summer time by name, others by offset: 1 when understood. */
static int zone_of(struct cw_bytes t, int16_t *ret)
{
	static const struct { const char *name; int16_t min; } names[] = {
		{ "Asia/Shanghai", 480 }, { "Asia/Chongqing", 480 }, { "Asia/Urumqi", 360 }, { "Asia/Hong_Kong", 480 }, { "Asia/Macau", 480 },
		{ "Asia/Taipei", 480 }, { "Asia/Singapore", 480 }, { "Asia/Kuala_Lumpur", 480 }, { "Asia/Manila", 480 }, { "Asia/Tokyo", 540 },
		{ "Asia/Seoul", 540 }, { "Asia/Bangkok", 420 }, { "Asia/Ho_Chi_Minh", 420 }, { "Asia/Jakarta", 420 }, { "Asia/Yangon", 390 },
		{ "Asia/Kolkata", 330 }, { "Asia/Dhaka", 360 }, { "Asia/Kathmandu", 345 }, { "Asia/Karachi", 300 }, { "Asia/Dubai", 240 },
		{ "Australia/Brisbane", 600 }, { "UTC", 0 }, { "Etc/UTC", 0 }, { "GMT", 0 }, { "Z", 0 },
	};
	char text[16];
	unsigned h, m = 0;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (cw_bytes_equal(t, cw_bytes_text(names[i].name))) {
			*ret = names[i].min;
			return 1;
		}
	}
	if (t.len < 3 || t.len >= sizeof(text) || (t.ptr[0] != '+' && t.ptr[0] != '-'))
		return 0;
	memcpy(text, t.ptr, t.len);
	text[t.len] = 0;
	if (sscanf(text + 1, "%2u:%2u", &h, &m) < 1 || h > 14 || m > 59)
		return 0;
	*ret = (int16_t)(text[0] == '-' ? -(int)(h * 60 + m) : (int)(h * 60 + m));
	return 1;
}

static uint8_t flag(struct cw_bytes s, const char *key)
{
	return cw_map_int(s, key, 0) != 0;
}

static uint32_t number(struct cw_bytes s, const char *key, uint32_t absent)
{
	return (uint32_t)cw_map_int(s, key, absent);
}

static uint8_t digit(struct cw_bytes s, const char *key, uint8_t absent)
{
	struct cw_bytes t = cw_map_text(s, key);

	return t.len == 1 && t.ptr[0] >= '0' && t.ptr[0] <= '9' ? (uint8_t)(t.ptr[0] - '0') : absent;
}

static void load_numbers(struct jt_conf *c, struct cw_bytes s)
{
	c->auth_close_ms = number(s, "authCloseDelay", 2000);
	c->unknown_close_ms = number(s, "unknownCloseDelay", 0);
	c->wait_ms = number(s, "retryWait", 10000);
	c->wait_max_ms = number(s, "retryWaitMax", 60000);
	c->retries = number(s, "retries", 3);
	c->part_size = number(s, "fragmentSize", 1000);
	c->part_burst = number(s, "fragmentBurst", 16);
	c->part_pause_ms = number(s, "fragmentPause", 500);
	c->parts_max_bytes = number(s, "partsMaxBytes", 4u << 20);
	c->parts_max_open = number(s, "partsMaxOpen", 4);
	c->parts_max_count = number(s, "partsMaxCount", 8192);
	c->parts_ask_ms = number(s, "partsAskAfter", 10000);
	c->parts_asks = number(s, "partsAsks", 5);
	c->parts_drop_ms = number(s, "partsDropAfter", 60000);
	c->inflate_max = number(s, "inflateMax", 1u << 20);
}

static int load_key(struct jt_conf *c, struct cw_bytes s, char *text, size_t len)
{
	struct cw_bytes key = cw_map_get(s, "rsaKey"), n;
	struct cw_writer w = cw_writer_of(c->key_n, sizeof(c->key_n));

	if (key.len == 0)
		return 0;
	c->key_e = (uint32_t)cw_map_int(key, "e", 0);
	if (c->key_e == 0)
		return 0;
	n = cw_map_text(key, "n");
	if (n.len != 256 || !jt_unhex(n, &w)) {
		snprintf(text, len, "rsaKey.n: 256 hex digits are needed");
		return CW_ECONF;
	}
	c->has_key = 1;
	return 0;
}

static void load_switches(struct jt_conf *c, struct cw_bytes s)
{
	c->strict = flag(s, "strict");
	c->edition_default = is(s, "edition", "2011") ? JT_2011 : JT_2013;
	c->edition_fixed = (uint8_t)(is(s, "edition", "2011") || is(s, "edition", "2013"));
	c->identify_by_any = (uint8_t)is(s, "identifyBy", "any");
	c->auth = is(s, "authPolicy", "any") ? 1 : is(s, "authPolicy", "secret") ? 2 : 0;
	c->unknown_register = digit(s, "registerResult", 4);
	c->zero_number = is(s, "zeroNumber", "accept") ? 1 : is(s, "zeroNumber", "authCode") ? 2 : 0;
	c->imei = flag(s, "imeiNumber");
	c->unknown_result = digit(s, "unknownResult", 0);
	c->ack_answers = (uint8_t)(cw_map_int(s, "ackAnswers", 1) != 0);
	c->alarm_result = digit(s, "alarmResult", 0);
	c->retry_growth = is(s, "retryGrowth", "linear") ? 1 : is(s, "retryGrowth", "fixed") ? 2 : 0;
	c->join_unescaped = flag(s, "joinUnescaped");
	c->count_word = (uint8_t)(cw_map_int(s, "controlCount", 1) != 0);
	c->change_only = flag(s, "changeOnly");
	c->percent_fuel = (uint8_t)(cw_map_int(s, "percentFuel", 1) != 0);
	c->store_media = (uint8_t)(cw_map_int(s, "storeMedia", 1) != 0);
}

int jt_settings(struct cw_decoder *d, struct cw_bytes s, char *text, size_t len, void **ret_conf)
{
	struct jt_conf *c = calloc(1, sizeof(*c));
	struct cw_bytes zone = cw_map_text(s, "timezone"), secret = cw_map_text(s, "authSecret");
	int rc;

	(void)d;
	if (c == NULL)
		return CW_ENOMEM;
	c->zone_min = 480;
	if (zone.len > 0 && !zone_of(zone, &c->zone_min)) {
		snprintf(text, len, "timezone: `%.*s` is neither a known zone nor an offset like +08:00", (int)(zone.len > 40 ? 40 : zone.len),
		         (const char *)zone.ptr);
		rc = CW_ECONF;
		goto err;
	}
	if (secret.len > 255) {
		snprintf(text, len, "authSecret: at most 255 bytes");
		rc = CW_ECONF;
		goto err;
	}
	if (secret.len > 0)
		memcpy(c->secret, secret.ptr, secret.len);
	c->secret_len = (uint8_t)secret.len;
	load_switches(c, s);
	load_numbers(c, s);
	rc = load_key(c, s, text, len);
	if (rc < 0)
		goto err;
	*ret_conf = c;
	return 0;
err:
	free(c);
	return rc;
}

void jt_settings_free(struct cw_decoder *d, void *conf)
{
	(void)d;
	free(conf);
}
