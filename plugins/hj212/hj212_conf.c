/*
 * hj212_conf.c - the settings: their table, and from checked values to struct hj_conf.
 */
#include "hj212.h"

#include <stdio.h>
#include <stdlib.h>

#define ANY 0

const char *const hj_deviation_names[HJ_D_COUNT] = {
#define HJ_DEVIATION(constant, name, initial, help) name,
#include "hj212_deviations.def"
#undef HJ_DEVIATION
};

static const char *const deviation_defaults[] = {
#define HJ_DEVIATION(constant, name, initial, help) initial,
#include "hj212_deviations.def"
#undef HJ_DEVIATION
};

static const struct cw_conf_field deviation_fields[] = {
#define HJ_DEVIATION(constant, name, initial, help) { name, CW_FIELD_ENUM, ANY, initial, NULL, NULL, "accept|warn|refuse", help, NULL },
#include "hj212_deviations.def"
#undef HJ_DEVIATION
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

static const struct cw_conf_field first_fields[] = {
	{ "clock", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Set the clock (1012).", NULL },
	{ "timeout", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Send overTime and reCount (1000).", NULL },
	{ "rtdInterval", CW_FIELD_INT, ANY, "0", "0", "3600", NULL, "Set the real-time interval (1062) to so many seconds, from 30; 0 leaves it.", NULL },
	{ "minInterval", CW_FIELD_INT, ANY, "0", "0", "30", NULL, "Set the interval of minute data (1064) to so many minutes; 0 leaves it.", NULL },
	{ "realtime", CW_FIELD_ENUM, ANY, "leave", NULL, NULL, "leave|start|stop", "Start (2011) or stop (2012) real-time data.", NULL },
	{ "facilityState", CW_FIELD_ENUM, ANY, "leave", NULL, NULL, "leave|start|stop", "Start (2021) or stop (2022) the state of facilities.", NULL },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

const struct cw_conf_field hj_conf_fields[] = {
	{ "deviations", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL,
	  "What devices do that the book does not say: accept it, accept and warn, or refuse the frame.", deviation_fields },
	{ "edition", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|2005|2017", "Edition that requests are written in; auto: as the device's frames say.", NULL },
	{ "timezone", CW_FIELD_STRING, ANY, "+08:00", NULL, NULL, NULL, "Zone of the devices' clocks: an offset such as +08:00, Asia/Shanghai, or UTC.", NULL },
	{ "password", CW_FIELD_SECRET, ANY, "", NULL, NULL, NULL, "PW that the device must send and is sent; empty: any, and its own is sent back.", NULL },
	{ "systemCode", CW_FIELD_STRING, ANY, "32", NULL, NULL, NULL, "ST of requests to a device that has not shown its own.", NULL },
	{ "charset", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|utf8|gbk",
	  "Character set of texts; auto: UTF-8 when it is, else GBK; to a device of 2005 GBK.", NULL },
	{ "answer2005", CW_FIELD_ENUM, ANY, "inside", NULL, NULL, "inside|outside",
	  "Where an answer to edition 2005 has its QN: inside CP as that edition's examples, or outside as in 2017.", NULL },
	{ "flag2005", CW_FIELD_ENUM, ANY, "3", NULL, NULL, "1|3", "Flag of requests of edition 2005: 3 as in its examples, or 1, as nothing is split.", NULL },
	{ "loginAnswer", CW_FIELD_ENUM, ANY, "9014", NULL, NULL, "9014|9022", "How a 9021 is answered that wants an answer.", NULL },
	{ "answerTimeCalibration", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "Set the clock (1012) when the device asks for it (1013).", NULL },
	{ "overTime", CW_FIELD_DURATION, ANY, "10s", "1s", "99s", NULL, "How long the first answer to a request may take before it is sent again.", NULL },
	{ "reCount", CW_FIELD_INT, ANY, "3", "0", "99", NULL, "How often a request is sent again.", NULL },
	{ "executionTimeout", CW_FIELD_DURATION, ANY, "10s", "1s", "10m", NULL, "After 9011, and after each packet: how long until data or the result.", NULL },
	{ "longExecutionTimeout", CW_FIELD_DURATION, ANY, "5m", "1s", "10m", NULL, "The same for calibration, sampling, cleaning and history.", NULL },
	{ "replyPackets", CW_FIELD_INT, ANY, "20", "0", "1000", NULL, "Data packets of a request that go into its reply; the rest become events.", NULL },
	{ "replyBytes", CW_FIELD_BYTES, ANY, "32KiB", "0", "128KiB", NULL, "The same as bytes.", NULL },
	{ "repeatedFactors", CW_FIELD_ENUM, ANY, "last", NULL, NULL, "last|array", "A factor twice in a packet: the last value, or all as an array.", NULL },
	{ "nullValues", CW_FIELD_STRING, ANY, "-,NaN,null,9999", NULL, NULL, NULL, "Values that say there is none, besides an empty one; with commas between.", NULL },
	{ "markedAsNull", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Publish a value whose mark is not N as null, the mark beside it.", NULL },
	{ "factorAbnormal", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "Derive the event factorAbnormal when a factor's mark leaves N.", NULL },
	{ "mapCodes", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Publish factor codes of 2005 as those of 2017 (011 as w01018).", NULL },
	{ "factorNames", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Add name and unit to the factors in events.", NULL },
	{ "lateAfter", CW_FIELD_DURATION, ANY, "10m", "1s", "30d", NULL, "Data older than its period and this is history.", NULL },
	{ "offlineAfter", CW_FIELD_DURATION, ANY, "300s", "1s", "30d", NULL, "A device silent for this, and for three real-time intervals, is offline; see README.", NULL },
	{ "joinTimeout", CW_FIELD_DURATION, ANY, "60s", "1s", "1h", NULL, "How long the rest of a data area cut into frames may take.", NULL },
	{ "joinBytes", CW_FIELD_BYTES, ANY, "64KiB", "1KiB", "64KiB", NULL, "Longest data area put together.", NULL },
	{ "joins", CW_FIELD_INT, ANY, "4", "1", "64", NULL, "Unfinished ones of a device; the oldest is dropped.", NULL },
	{ "maxDevices", CW_FIELD_INT, ANY, "1000", "1", "100000", NULL, "Devices on one connection.", NULL },
	{ "frameWait", CW_FIELD_DURATION, ANY, "1s", "10ms", "60s", NULL, "How long a frame whose checksum fits waits for its line end.", NULL },
	{ "firstConnection", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL,
	  "What is sent to a device that has come; nothing by default, as many devices serve several centres.", first_fields },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

static int is(struct cw_bytes map, const char *key, const char *value)
{
	return cw_bytes_equal(cw_map_text(map, key), cw_bytes_text(value));
}

static uint32_t number(struct cw_bytes s, const char *key, uint32_t absent)
{
	int64_t v = cw_map_int(s, key, absent);

	return v < 0 || v > UINT32_MAX ? absent : (uint32_t)v;
}

static int zone_of(struct cw_bytes t, int16_t *ret)
{
	unsigned h, m = 0;
	char text[16];

	if (cw_bytes_equal(t, cw_bytes_text("Asia/Shanghai")) || t.len == 0) {
		*ret = 480;
		return 1;
	}
	if (cw_bytes_equal(t, cw_bytes_text("UTC"))) {
		*ret = 0;
		return 1;
	}
	if (t.len < 3 || t.len > 6 || (t.ptr[0] != '+' && t.ptr[0] != '-'))
		return 0;
	memcpy(text, t.ptr, t.len);
	text[t.len] = 0;
	if (sscanf(text + 1, "%2u:%2u", &h, &m) < 1 || h > 14 || m > 59)
		return 0;
	*ret = (int16_t)(text[0] == '-' ? -(int)(h * 60 + m) : (int)(h * 60 + m));
	return 1;
}

static int copy_text(struct cw_bytes s, const char *key, const char *absent, char *to, size_t size, char *text, size_t len)
{
	struct cw_bytes t = cw_map_text(s, key);

	if (cw_map_get(s, key).len == 0)
		t = cw_bytes_text(absent);
	if (t.len >= size) {
		snprintf(text, len, "%s: at most %zu bytes", key, size - 1);
		return CW_ECONF;
	}
	if (t.len > 0)
		memcpy(to, t.ptr, t.len);
	to[t.len] = 0;
	return 0;
}

static void load_grades(struct hj_conf *c, struct cw_bytes table)
{
	unsigned i;

	for (i = 0; i < HJ_D_COUNT; i++) {
		struct cw_bytes t = cw_map_text(table, hj_deviation_names[i]);

		if (t.len == 0)
			t = cw_bytes_text(deviation_defaults[i]);
		c->grade[i] = cw_bytes_equal(t, cw_bytes_text("refuse")) ? HJ_REFUSE : cw_bytes_equal(t, cw_bytes_text("warn")) ? HJ_WARN : HJ_ACCEPT;
	}
}

static int load_first(struct hj_conf *c, struct cw_bytes t, char *text, size_t len)
{
	static const uint8_t minutes[] = { 0, 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 };

	c->first_clock = cw_map_int(t, "clock", 0) != 0;
	c->first_timeout = cw_map_int(t, "timeout", 0) != 0;
	c->first_rtd = (uint16_t)number(t, "rtdInterval", 0);
	c->first_min = (uint16_t)number(t, "minInterval", 0);
	c->first_rtd_on = is(t, "realtime", "start") ? 1 : is(t, "realtime", "stop") ? 2 : 0;
	c->first_state_on = is(t, "facilityState", "start") ? 1 : is(t, "facilityState", "stop") ? 2 : 0;
	c->has_first = c->first_clock || c->first_timeout || c->first_rtd || c->first_min || c->first_rtd_on || c->first_state_on;
	if (c->first_rtd > 0 && c->first_rtd < 30) {
		snprintf(text, len, "firstConnection.rtdInterval: 30 to 3600 seconds, or 0");
		return CW_ECONF;
	}
	if (memchr(minutes, c->first_min, sizeof(minutes)) == NULL) {
		snprintf(text, len, "firstConnection.minInterval: one of 1 2 3 4 5 6 10 12 15 20 30 minutes, or 0");
		return CW_ECONF;
	}
	return 0;
}

static void load_switches(struct hj_conf *c, struct cw_bytes s)
{
	c->edition = is(s, "edition", "2005") ? HJ_2005 + 1 : is(s, "edition", "2017") ? HJ_2017 + 1 : 0;
	c->answer_outside = (uint8_t)is(s, "answer2005", "outside");
	c->flag_2005 = is(s, "flag2005", "1") ? 1 : 3;
	c->charset = is(s, "charset", "utf8") ? 1 : is(s, "charset", "gbk") ? 2 : 0;
	c->login_9022 = (uint8_t)is(s, "loginAnswer", "9022");
	c->calibrate = cw_map_int(s, "answerTimeCalibration", 1) != 0;
	c->repeats_array = (uint8_t)is(s, "repeatedFactors", "array");
	c->marked_null = cw_map_int(s, "markedAsNull", 0) != 0;
	c->abnormal = cw_map_int(s, "factorAbnormal", 1) != 0;
	c->map_codes = cw_map_int(s, "mapCodes", 0) != 0;
	c->factor_names = cw_map_int(s, "factorNames", 0) != 0;
}

static void load_numbers(struct hj_conf *c, struct cw_bytes s)
{
	c->over_ms = number(s, "overTime", 10000);
	c->recount = number(s, "reCount", 3);
	c->exec_ms = number(s, "executionTimeout", 10000);
	c->exec_long_ms = number(s, "longExecutionTimeout", 300000);
	c->reply_packets = number(s, "replyPackets", 20);
	c->reply_bytes = number(s, "replyBytes", 32768);
	c->late_ms = number(s, "lateAfter", 600000);
	c->offline_ms = number(s, "offlineAfter", 300000);
	c->join_ms = number(s, "joinTimeout", 60000);
	c->join_bytes = number(s, "joinBytes", 65536);
	c->joins = number(s, "joins", 4);
	c->devices = number(s, "maxDevices", 1000);
	c->wait_ms = number(s, "frameWait", 1000);
}

int hj_settings(struct cw_decoder *d, struct cw_bytes s, char *text, size_t len, void **ret_conf)
{
	struct hj_conf *c = calloc(1, sizeof(*c));
	struct cw_bytes zone = cw_map_text(s, "timezone");
	int rc;

	(void)d;
	if (c == NULL)
		return CW_ENOMEM;
	load_grades(c, cw_map_get(s, "deviations"));
	load_switches(c, s);
	load_numbers(c, s);
	rc = CW_ECONF;
	if (!zone_of(zone, &c->zone_min)) {
		snprintf(text, len, "timezone: `%.*s` is no offset such as +08:00", (int)(zone.len > 40 ? 40 : zone.len), (const char *)zone.ptr);
		goto err;
	}
	rc = copy_text(s, "password", "", c->password, sizeof(c->password), text, len);
	if (rc == 0)
		rc = copy_text(s, "nullValues", "-,NaN,null,9999", c->nulls, sizeof(c->nulls), text, len);
	if (rc == 0)
		rc = copy_text(s, "systemCode", "32", c->system, sizeof(c->system), text, len);
	if (rc == 0 && strlen(c->system) != 2) {
		snprintf(text, len, "systemCode: two characters, as in 32");
		rc = CW_ECONF;
	}
	if (rc == 0 && strpbrk(c->password, ";=&") != NULL) {
		snprintf(text, len, "password: it cannot have ; = or & in it");
		rc = CW_ECONF;
	}
	if (rc == 0)
		rc = load_first(c, cw_map_get(s, "firstConnection"), text, len);
	if (rc < 0)
		goto err;
	*ret_conf = c;
	return 0;
err:
	free(c);
	return rc;
}

void hj_settings_free(struct cw_decoder *d, void *conf)
{
	(void)d;
	free(conf);
}
