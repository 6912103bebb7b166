/*
 * hj212_service.c - services, property sets and gets to requests of the protocol.
 *
 * A table names each service with its command number and parameters; what comes out is the text of a data area.
 */
#include "hj212.h"

#include <stdio.h>

#define BOTH 3u
#define E2005 1u
#define E2017 2u /* and later */

struct param {
	const char *in;  /* of the service */
	const char *cp;  /* in the data area */
	char kind;       /* n number, t time, d digits of a fixed length (max), c code, v value, p password */
	uint8_t needed;
	uint16_t min, max;
};

struct service {
	const char *name;
	uint16_t cn;
	uint8_t editions, flags;
	struct param params[3];
};

#define NONE { { NULL, NULL, 0, 0, 0, 0 } }

static const struct service services[] = {
	{ "setTimeout", 1000, BOTH, 0, { { "overTime", "OverTime", 'n', 1, 1, 99 }, { "reCount", "ReCount", 'n', 1, 1, 99 } } },
	{ "getTime", 1011, BOTH, HJ_READ, { { "polId", "PolId", 'c', 0, 0, 6 } } },
	{ "setTime", 1012, BOTH, 0, { { "polId", "PolId", 'c', 0, 0, 6 }, { "systemTime", "SystemTime", 't', 2, 0, 0 } } },
	{ "getRtdInterval", 1061, BOTH, HJ_READ, NONE },
	{ "setRtdInterval", 1062, BOTH, 0, { { "rtdInterval", "RtdInterval", 'n', 1, 30, 3600 } } },
	{ "getMinInterval", 1063, E2017, HJ_READ, NONE },
	{ "setMinInterval", 1064, E2017, 0, { { "minInterval", "MinInterval", 'm', 1, 1, 30 } } },
	{ "setPassword", 1072, BOTH, HJ_PASSWORD, { { "newPW", "NewPW", 'p', 1, 0, 6 } } },
	{ "startRealtime", 2011, BOTH, 0, NONE },
	{ "stopRealtime", 2012, BOTH, HJ_NOTIFY, NONE },
	{ "startFacilityState", 2021, BOTH, 0, NONE },
	{ "stopFacilityState", 2022, BOTH, HJ_NOTIFY, NONE },
	{ "calibrate", 3011, BOTH, HJ_LONG, { { "polId", "PolId", 'c', 1, 0, 6 } } },
	{ "sampleNow", 3012, BOTH, HJ_LONG, { { "polId", "PolId", 'c', 1, 0, 6 } } },
	{ "clean", 3013, BOTH, HJ_LONG, { { "polId", "PolId", 'c', 1, 0, 6 } } },
	{ "compareSample", 3014, E2017, HJ_LONG, { { "polId", "PolId", 'c', 1, 0, 6 } } },
	{ "setSamplingTimes", 3014, E2005, 0, { { "polId", "PolId", 'c', 1, 0, 6 }, { "cTime", "CTime", 'v', 1, 0, 200 } } },
	{ "keepSample", 3015, E2017, HJ_LONG | HJ_READ, NONE },
	{ "setSamplingCycle", 3016, E2017, 0,
	  { { "polId", "PolId", 'c', 1, 0, 6 }, { "cstartTime", "CstartTime", 'd', 1, 0, 6 }, { "cTime", "CTime", 'n', 1, 1, 24 } } },
	{ "getSamplingCycle", 3017, E2017, HJ_READ, { { "polId", "PolId", 'c', 1, 0, 6 } } },
	{ "getSamplingDuration", 3018, E2017, HJ_READ, { { "polId", "PolId", 'c', 1, 0, 6 } } },
	{ "getInstrumentId", 3019, E2017, HJ_READ, { { "polId", "PolId", 'c', 1, 0, 6 } } },
	{ "getAlarmLimits", 1021, E2005, HJ_READ, { { "polId", "PolId", 'c', 0, 0, 6 } } },
	{ "getCentreAddress", 1031, E2005, HJ_READ, NONE },
	{ "setCentreAddress", 1032, E2005, 0, { { "alarmTarget", "AlarmTarget", 'v', 1, 0, 100 } } },
	{ "getReportTime", 1041, E2005, HJ_READ, NONE },
	{ "setReportTime", 1042, E2005, 0, { { "reportTime", "ReportTime", 'd', 1, 0, 4 } } },
	/* The name of its value is from common use, not from the text of the edition. */
	{ "setWarnTime", 1001, E2005, 0, { { "warnTime", "WarnTime", 'n', 1, 1, 65535 } } },
};

struct making {
	struct cw_decoder *d;
	const struct hj_conf *conf;
	struct cw_bytes body;
	int64_t now_ms;
	unsigned version;
	struct cw_writer cp; /* the data area */
	char *why;
	size_t why_len;
};

static int refuse(struct making *k, const char *name, const char *what)
{
	snprintf(k->why, k->why_len, "%s: %s", name, what);
	return CW_EINVAL;
}

/* A value as the text of a data area: digits kept, nothing in it that ends a value. */
static int text_of(struct making *k, const char *name, struct cw_item it, struct cw_writer *w)
{
	char digits[48], out[64];
	int n, point;

	switch (it.type) {
	case CW_ITEM_TEXT:
		if (it.s.len > 0 && (memchr(it.s.ptr, ';', it.s.len) || memchr(it.s.ptr, '\r', it.s.len) || memchr(it.s.ptr, '\n', it.s.len) ||
		                     memmem(it.s.ptr, it.s.len, "&&", 2)))
			return refuse(k, name, "; and && and line ends cannot be sent");
		if (hj_to_device(k->d, k->conf->charset == 2 || (k->conf->charset == 0 && k->version == HJ_2005), it.s, w) < 0)
			return refuse(k, name, "a character has no place in what the device reads, or it is too long");
		return 0;
	case CW_ITEM_INT:
		n = snprintf(out, sizeof(out), "%lld", (long long)it.i);
		break;
	case CW_ITEM_DECIMAL:
		if (it.exponent > 0 || it.exponent < -9)
			return refuse(k, name, "too large or too fine a number");
		point = -it.exponent;
		snprintf(digits, sizeof(digits), "%0*llu", point + 1, (unsigned long long)(it.i < 0 ? -(uint64_t)it.i : (uint64_t)it.i));
		n = (int)strlen(digits) - point;
		n = snprintf(out, sizeof(out), "%s%.*s%s%s", it.i < 0 ? "-" : "", n, digits, point > 0 ? "." : "", digits + n);
		break;
	case CW_ITEM_DOUBLE: n = snprintf(out, sizeof(out), "%.10g", it.d); break;
	default: return refuse(k, name, "a text or a number is needed");
	}
	cw_write_raw(w, out, (size_t)n);
	return 0;
}

static int put_number(struct making *k, const struct param *p, struct cw_item it)
{
	static const uint8_t minutes[] = { 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 };
	char text[96];
	int64_t v = it.i;

	if (it.type == CW_ITEM_DECIMAL)
		for (; it.exponent < 0 && v % 10 == 0; it.exponent++)
			v /= 10;
	if ((it.type != CW_ITEM_INT && !(it.type == CW_ITEM_DECIMAL && it.exponent == 0)) || v < p->min || v > p->max) {
		snprintf(text, sizeof(text), "a whole number from %u to %u is needed", p->min, p->max);
		return refuse(k, p->in, text);
	}
	if (p->kind == 'm' && memchr(minutes, (int)v, sizeof(minutes)) == NULL)
		return refuse(k, p->in, "one of 1 2 3 4 5 6 10 12 15 20 30 minutes is needed");
	snprintf(text, sizeof(text), "%u", (unsigned)v);
	cw_write_raw(&k->cp, text, strlen(text));
	return 0;
}

/* UTC milliseconds, or 14 digits of the device's clock. */
static int put_time(struct making *k, const char *name, struct cw_item it, int64_t *ret_ms)
{
	char text[18];

	if (it.type == CW_ITEM_INT)
		*ret_ms = it.i;
	else if (it.type != CW_ITEM_TEXT || it.s.len != 14 || !hj_time(it.s, k->conf->zone_min, ret_ms))
		return refuse(k, name, "UTC milliseconds or YYYYMMDDhhmmss are needed");
	hj_time_text(*ret_ms, k->conf->zone_min, 0, text);
	cw_write_raw(&k->cp, text, 14);
	return 0;
}

static int is_code(struct cw_bytes t, size_t most)
{
	size_t i;

	for (i = 0; i < t.len; i++)
		if (!((t.ptr[i] >= '0' && t.ptr[i] <= '9') || ((t.ptr[i] | 32) >= 'a' && (t.ptr[i] | 32) <= 'z')))
			return 0;
	return t.len > 0 && t.len <= most;
}

static int put_value(struct making *k, const struct param *p, struct cw_item it)
{
	uint64_t v;
	int64_t ms;

	switch (p->kind) {
	case 'n':
	case 'm': return put_number(k, p, it);
	case 't': return put_time(k, p->in, it, &ms);
	case 'd':
		if (it.type != CW_ITEM_TEXT || it.s.len != p->max || !hj_digits(it.s, &v))
			return refuse(k, p->in, p->max == 6 ? "hhmmss as text is needed" : "hhmm as text is needed");
		break;
	case 'c':
		if (it.type != CW_ITEM_TEXT || !is_code(it.s, p->max))
			return refuse(k, p->in, "a code of letters and digits is needed");
		break;
	case 'p':
		if (it.type != CW_ITEM_TEXT || !is_code(it.s, p->max))
			return refuse(k, p->in, "1 to 6 letters and digits are needed");
		break;
	default:
		if (it.type == CW_ITEM_TEXT && it.s.len > p->max)
			return refuse(k, p->in, "too long");
		break;
	}
	return text_of(k, p->in, it, &k->cp);
}

static void put_name(struct making *k, const char *cp_name)
{
	if (k->cp.len > 0)
		cw_write_u8(&k->cp, ';');
	cw_write_raw(&k->cp, cp_name, strlen(cp_name));
	cw_write_u8(&k->cp, '=');
}

/* `needed` 2: the time now stands in for it. */
static int put_param(struct making *k, const struct param *p)
{
	struct cw_item it = cw_map_item(k->body, p->in);
	const char *cp = p->cp;

	if (it.type == CW_ITEM_BAD && p->needed == 2) {
		it.type = CW_ITEM_INT;
		it.i = k->now_ms;
	}
	if (it.type == CW_ITEM_BAD || it.type == CW_ITEM_NULL)
		return p->needed ? refuse(k, p->in, "is needed") : 0;
	if (p->kind == 'p' && k->version == HJ_2005)
		cp = "PW";
	put_name(k, cp);
	return put_value(k, p, it);
}

static const struct param period[] = { { "begin", "BeginTime", 't', 1, 0, 0 }, { "end", "EndTime", 't', 1, 0, 0 } };

/* ---- those that are not a list of parameters ------------------------------------------------ */

static int history(struct making *k, unsigned *ret_cn)
{
	static const struct { const char *kind; uint16_t cn; } kinds[] = { { "day", 2031 }, { "facility", 2041 }, { "minute", 2051 }, { "hour", 2061 } };
	struct cw_bytes kind = cw_map_text(k->body, "kind");
	size_t i;
	int rc;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (cw_bytes_equal(kind, cw_bytes_text(kinds[i].kind)))
			break;
	if (i == sizeof(kinds) / sizeof(kinds[0]))
		return refuse(k, "kind", "one of day, facility, minute, hour is needed");
	*ret_cn = kinds[i].cn;
	rc = put_param(k, &period[0]);
	return rc < 0 ? rc : put_param(k, &period[1]);
}

static int alarms(struct making *k, unsigned *ret_cn)
{
	int rc = put_param(k, &period[0]);

	*ret_cn = 2071;
	return rc < 0 ? rc : put_param(k, &period[1]);
}

static int alarm_limits(struct making *k, unsigned *ret_cn)
{
	struct cw_bytes code = cw_map_text(k->body, "polId");
	struct cw_item low = cw_map_item(k->body, "low"), up = cw_map_item(k->body, "up");
	int rc;

	*ret_cn = 1022;
	if (!is_code(code, 6))
		return refuse(k, "polId", "a code of letters and digits is needed");
	cw_write_bytes(&k->cp, code);
	cw_write_raw(&k->cp, "-LowValue=", 10);
	rc = text_of(k, "low", low, &k->cp);
	if (rc < 0)
		return rc;
	cw_write_u8(&k->cp, ',');
	cw_write_bytes(&k->cp, code);
	cw_write_raw(&k->cp, "-UpValue=", 9);
	return text_of(k, "up", up, &k->cp);
}

static const struct param info[] = { { "polId", "PolId", 'c', 0, 0, 6 }, { "infoId", "InfoId", 'c', 1, 0, 6 } };

static int get_info(struct making *k, unsigned *ret_cn)
{
	int rc = put_param(k, &info[0]);

	*ret_cn = 3020;
	if (rc == 0)
		rc = put_param(k, &info[1]);
	if (rc == 0 && cw_map_get(k->body, "begin").len > 0) {
		rc = put_param(k, &period[0]);
		if (rc == 0)
			rc = put_param(k, &period[1]);
	}
	return rc;
}

static int set_parameter(struct making *k, unsigned *ret_cn)
{
	struct cw_bytes id = cw_map_text(k->body, "infoId");
	int rc = put_param(k, &info[0]);

	*ret_cn = 3021;
	if (rc == 0)
		rc = put_param(k, &info[1]);
	if (rc < 0)
		return rc;
	cw_write_u8(&k->cp, ';');
	cw_write_bytes(&k->cp, id);
	cw_write_raw(&k->cp, "-Info=", 6);
	return text_of(k, "value", cw_map_item(k->body, "value"), &k->cp);
}

/* Any command, for what devices have beside the standards. */
static int send_raw(struct making *k, unsigned *ret_cn)
{
	struct cw_item cn = cw_map_item(k->body, "cn"), cp = cw_map_item(k->body, "cp");
	uint64_t v = 0;

	if (cn.type == CW_ITEM_INT && cn.i >= 1000 && cn.i <= 9999)
		v = (uint64_t)cn.i;
	else if (cn.type != CW_ITEM_TEXT || cn.s.len != 4 || !hj_digits(cn.s, &v))
		return refuse(k, "cn", "four digits are needed");
	*ret_cn = (unsigned)v;
	if (cp.type == CW_ITEM_BAD)
		return 0;
	if (cp.type != CW_ITEM_TEXT || memmem(cp.s.ptr, cp.s.len, "&&", 2) != NULL || hj_to_device(k->d, k->version == HJ_2005, cp.s, &k->cp) < 0)
		return refuse(k, "cp", "the text between the && is needed, at most 950 bytes");
	return 0;
}

static const struct {
	const char *name;
	uint8_t editions, flags;
	int (*make)(struct making *k, unsigned *ret_cn);
} special[] = {
	{ "queryHistory", BOTH, HJ_LONG | HJ_COLLECT, history },
	{ "queryAlarms", E2005, HJ_LONG | HJ_COLLECT, alarms },
	{ "setAlarmLimits", E2005, 0, alarm_limits },
	{ "getInfo", E2017, HJ_LONG | HJ_COLLECT, get_info },
	{ "setParameter", E2017, 0, set_parameter },
	{ "sendRaw", BOTH, HJ_LONG | HJ_COLLECT, send_raw },
};

/* ---- plans ---------------------------------------------------------------------------------- */

void hj_plan_step(struct cw_writer *w, unsigned cn, unsigned flags, const char *cp)
{
	cw_write_be(w, cn, 2);
	cw_write_u8(w, (uint8_t)flags);
	cw_write_raw(w, cp, strlen(cp) + 1);
}

static int close_step(struct making *k, struct cw_writer *w, unsigned cn, unsigned flags)
{
	if (k->cp.overflow || k->cp.len > HJ_CP_MAX) {
		snprintf(k->why, k->why_len, "the data area would be longer than 950 bytes");
		return CW_EINVAL;
	}
	cw_write_u8(&k->cp, 0);
	if (memchr(k->cp.ptr, 0, k->cp.len) != k->cp.ptr + k->cp.len - 1)
		return refuse(k, "value", "a zero byte cannot be sent");
	hj_plan_step(w, cn, flags, (const char *)k->cp.ptr);
	k->cp.len = 0;
	return w->overflow ? CW_EINVAL : 0;
}

static int wrong_edition(struct making *k, const char *name)
{
	snprintf(k->why, k->why_len, "%s: edition %s of this device has no such command", name, k->version == HJ_2005 ? "2005" : "2017");
	return CW_EUNSUPPORTED;
}

static int plan_service(struct making *k, struct cw_bytes name, struct cw_writer *w)
{
	unsigned edition = k->version == HJ_2005 ? E2005 : E2017, cn = 0;
	size_t i, p;
	int rc;

	for (i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		const struct service *s = &services[i];

		if (!cw_bytes_equal(name, cw_bytes_text(s->name)))
			continue;
		if (!(s->editions & edition))
			return wrong_edition(k, s->name);
		for (p = 0; p < 3 && s->params[p].in != NULL; p++) {
			rc = put_param(k, &s->params[p]);
			if (rc < 0)
				return rc;
		}
		return close_step(k, w, s->cn, s->flags);
	}
	for (i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
		if (!cw_bytes_equal(name, cw_bytes_text(special[i].name)))
			continue;
		if (!(special[i].editions & edition))
			return wrong_edition(k, special[i].name);
		rc = special[i].make(k, &cn);
		return rc < 0 ? rc : close_step(k, w, cn, special[i].flags);
	}
	snprintf(k->why, k->why_len, "no such service");
	return CW_ENOENT;
}

static const struct {
	const char *identifier;
	uint16_t get, set;
	uint8_t editions;
	struct param param;
} intervals[] = {
	{ "RtdInterval", 1061, 1062, BOTH, { "RtdInterval", "RtdInterval", 'n', 1, 30, 3600 } },
	{ "MinInterval", 1063, 1064, E2017, { "MinInterval", "MinInterval", 'm', 1, 1, 30 } },
};

/* Which of the writable properties it is; -1: none. */
static int interval_of(struct cw_bytes name)
{
	size_t i;

	for (i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++)
		if (cw_bytes_equal(name, cw_bytes_text(intervals[i].identifier)))
			return (int)i;
	return -1;
}

static int unknown_property(struct making *k, struct cw_bytes name)
{
	snprintf(k->why, k->why_len, "%.*s: only RtdInterval and MinInterval can be set or asked for", (int)(name.len < 60 ? name.len : 60),
	         (const char *)name.ptr);
	return CW_EINVAL;
}

static int plan_properties(struct making *k, int set, struct cw_writer *w)
{
	struct cw_reader r = cw_reader_of(set ? k->body : cw_map_get(k->body, "identifiers"));
	struct cw_item all = cw_read_item(&r);
	unsigned edition = k->version == HJ_2005 ? E2005 : E2017;
	int rc = 0, n = 0;

	while (rc == 0 && cw_item_more(&r, &all)) {
		struct cw_item name = cw_read_item(&r);
		int i = name.type == CW_ITEM_TEXT ? interval_of(name.s) : -1;

		if (i < 0)
			return unknown_property(k, name.s);
		if (!(intervals[i].editions & edition))
			return wrong_edition(k, intervals[i].identifier);
		if (set) {
			(void)cw_item_more(&r, &all);
			(void)cw_read_whole_item(&r);
			rc = put_param(k, &intervals[i].param);
		}
		if (rc == 0)
			rc = close_step(k, w, set ? intervals[i].set : intervals[i].get, set ? 0 : HJ_READ);
		if (++n > 8)
			return refuse(k, "identifiers", "too many");
	}
	if (rc == 0 && n == 0)
		return refuse(k, "properties", "none is named");
	return rc;
}

int hj_plan(struct cw_decoder *d, const struct cw_event *ev, const struct hj_device *dev, const struct cw_record *rec, struct cw_writer *w,
            char *why, size_t len)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	uint8_t cp[HJ_CP_MAX + 2];
	struct making k = { d, conf, rec->body, ev->now_ms, hj_version_of(conf, dev), cw_writer_of(cp, sizeof(cp)), why, len };

	switch (rec->kind) {
	case CW_KIND_SERVICE: return plan_service(&k, rec->name, w);
	case CW_KIND_PROPERTY_SET: return plan_properties(&k, 1, w);
	case CW_KIND_PROPERTY_GET: return plan_properties(&k, 0, w);
	default: snprintf(why, len, "this protocol has nothing for it"); return CW_ENOENT;
	}
}
