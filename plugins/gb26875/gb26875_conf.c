/*
 * gb26875_conf.c - the settings: their table, and from checked values to struct gb_conf.
 */
#include "gb26875.h"

#include <stdio.h>
#include <stdlib.h>

#define ANY 0
#define CONN (CW_SCOPE_PROTOCOL | CW_SCOPE_LISTENER) /* needed before the device is known */

const struct cw_conf_field gb_conf_fields[] = {
	{ "strict", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL,
	  "Deny data units whose object count does not fit their bytes; else use the objects that are whole.", NULL },
	{ "identity", CW_FIELD_ENUM, CONN, "hex", NULL, NULL, "hex|decimal|reversed",
	  "How the six source-address bytes become the originalIdentity: hex in wire order, one decimal number, or hex in reverse order.", NULL },
	{ "zeroSource", CW_FIELD_ENUM, CONN, "bound", NULL, NULL, "bound|destination|remote|refuse",
	  "Identity of frames whose source address is all 00 or all FF: what the listener binds, their destination address, the peer's IP address, or none.", NULL },
	{ "components", CW_FIELD_ENUM, ANY, "parent", NULL, NULL, "parent|child",
	  "child: components whose identity `<utd>:<systemType>.<systemAddress>.<componentAddress>` is known are devices of their own.", NULL },
	{ "componentsMost", CW_FIELD_INT, ANY, "1024", "1", "65536", NULL, "Components told apart on one connection; further ones belong to the UTD.", NULL },
	{ "componentRecheck", CW_FIELD_DURATION, ANY, "10m", "1s", "24h", NULL, "After this time an unknown component is looked up again.", NULL },
	{ "timeForm", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|binary|bcd",
	  "Time labels are binary (as the standard has it) or BCD; auto: whichever of the two is nearer to the gateway's clock.", NULL },
	{ "bit0", CW_FIELD_ENUM, ANY, "ignore", NULL, NULL, "ignore|standard|inverted",
	  "Bit 0 of a status: ignore it, 0 means test mode (standard), or 1 means test mode (inverted).", NULL },
	{ "componentBits", CW_FIELD_ENUM, ANY, "standard", NULL, NULL, "standard|vendor",
	  "Names of the component status bits 9 to 15: reserved, or one maker's offline, openCircuit, shortCircuit, removed, sensorFault, upgradeFault.", NULL },
	{ "loopIn", CW_FIELD_ENUM, ANY, "low", NULL, NULL, "low|high|none",
	  "Which 16 bits of a component address are the loop or zone; the others are the point. none: one number.", NULL },
	{ "textCharset", CW_FIELD_ENUM, ANY, "gb18030", NULL, NULL, "gb18030|utf-8", "Character set of texts.", NULL },
	{ "analogueSteps", CW_FIELD_MAP, ANY, NULL, NULL, NULL, NULL,
	  "Steps of analogue types that differ from the standard's, as in { 4 = \"0.001\" }; also for user-defined types 128 to 255.", NULL },
	{ "confirmTime", CW_FIELD_ENUM, ANY, "now", NULL, NULL, "now|copy", "Time label of confirms and denies: the gateway's clock, or a copy of the upload's.", NULL },
	{ "vendorCommands", CW_FIELD_STRING, CONN, "7,0:0", NULL, NULL, NULL,
	  "Private uploads that are confirmed: command bytes with an empty data unit (7), or with a type (0:0).", NULL },
	{ "vendorClock", CW_FIELD_BOOL, CONN, "true", NULL, NULL, NULL, "Answer a UTD that asks for the time with command 1, type 90.", NULL },
	{ "incompleteTime", CW_FIELD_DURATION, CONN, "10s", "1s", "5m", NULL, "Silence after which an incomplete frame is given up.", NULL },
	{ "denyRate", CW_FIELD_INT, CONN, "1", "0", "1000", NULL, "Denies a second on one connection; those beyond it are not sent. 0: never deny a bad frame.", NULL },
	{ "foreignAfter", CW_FIELD_INT, CONN, "10", "1", "100000", NULL,
	  "Bad frames in a row after which the connection is reported as speaking another protocol and no longer denied.", NULL },
	{ "requestTime", CW_FIELD_DURATION, ANY, "5s", "100ms", "10s", NULL, "How long the answer to a request may take before it is sent again.", NULL },
	{ "resends", CW_FIELD_INT, ANY, "3", "0", "20", NULL, "How often a request is sent again.", NULL },
	{ "resendDenied", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "A request that the UTD denies is sent again, as the standard wants; else it has failed.", NULL },
	{ "firstReads", CW_FIELD_STRING, ANY, "85,81,86", NULL, NULL, NULL,
	  "Request types sent after the first contact (81, 85, 86, 88), in order; empty: none.", NULL },
	{ "timeSync", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "Set the clock of a UTD after the first contact when it is wrong.", NULL },
	{ "timeSyncLimit", CW_FIELD_DURATION, ANY, "60s", "1s", "24h", NULL, "How wrong it must be.", NULL },
	{ "dutyMargin", CW_FIELD_DURATION, ANY, "30s", "0s", "10m", NULL, "Added to the time limit of a duty check before it counts as unanswered.", NULL },
	{ "silenceTime", CW_FIELD_DURATION, ANY, "120s", "0s", "24h", NULL, "Silence after which a UTD is offline; 0s: only when its connection ends.", NULL },
	{ "silenceCloses", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "After that silence close the connection too.", NULL },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

static int is(struct cw_bytes map, const char *key, const char *value)
{
	return cw_bytes_equal(cw_map_text(map, key), cw_bytes_text(value));
}

static uint8_t flag(struct cw_bytes s, const char *key, int absent)
{
	return cw_map_int(s, key, absent) != 0;
}

static uint32_t number(struct cw_bytes s, const char *key, uint32_t absent)
{
	return (uint32_t)cw_map_int(s, key, absent);
}

/* One of the values, in the order given; the first when absent. */
static uint8_t choice(struct cw_bytes s, const char *key, const char *const *values)
{
	uint8_t i;

	for (i = 0; values[i] != NULL; i++)
		if (is(s, key, values[i]))
			return i;
	return 0;
}

/* Digits at the front of *t, which moves behind them and following blanks; -1: none, or more than 255. */
static int digits(struct cw_bytes *t)
{
	int v = -1;

	while (t->len > 0 && t->ptr[0] == ' ')
		*t = cw_bytes_of(t->ptr + 1, t->len - 1);
	while (t->len > 0 && t->ptr[0] >= '0' && t->ptr[0] <= '9' && v < 256) {
		v = (v < 0 ? 0 : v * 10) + (t->ptr[0] - '0');
		*t = cw_bytes_of(t->ptr + 1, t->len - 1);
	}
	while (t->len > 0 && t->ptr[0] == ' ')
		*t = cw_bytes_of(t->ptr + 1, t->len - 1);
	return v > 255 ? -1 : v;
}

/* Past a separator; 1 when it was there. */
static int past(struct cw_bytes *t, char what)
{
	if (t->len == 0 || t->ptr[0] != what)
		return 0;
	*t = cw_bytes_of(t->ptr + 1, t->len - 1);
	return 1;
}

static int load_reads(struct gb_conf *c, struct cw_bytes t, char *text, size_t len)
{
	size_t n = 0;
	int v;

	memset(c->reads, 0, sizeof(c->reads));
	while (t.len > 0) {
		v = digits(&t);
		if ((v != 81 && v != 85 && v != 86 && v != 88) || n + 1 >= GB_READS_MOST || (t.len > 0 && !past(&t, ','))) {
			snprintf(text, len, "firstReads: a list of 81, 85, 86 and 88 with commas is needed, at most %d", GB_READS_MOST - 1);
			return CW_ECONF;
		}
		c->reads[n++] = (uint8_t)v;
	}
	return 0;
}

static int load_vendor(struct gb_conf *c, struct cw_bytes t, char *text, size_t len)
{
	size_t n = 0;
	int command, type;

	while (t.len > 0) {
		command = digits(&t);
		type = past(&t, ':') ? digits(&t) : 256;
		if (command < 0 || type < 0 || n >= GB_VENDOR_MOST || (t.len > 0 && !past(&t, ',')) || (command >= GB_CONTROL && command <= GB_DENY)) {
			snprintf(text, len, "vendorCommands: commands other than 1 to 6, each with `:type` or alone, are needed, at most %d", GB_VENDOR_MOST);
			return CW_ECONF;
		}
		c->vendor_any[n] = type == 256 ? 1 : 2;
		c->vendor[n++] = (uint16_t)(command << 8 | (type & 0xff));
	}
	return 0;
}

/* A decimal as in 0.001; 0 when it is none, or not above zero. */
static int step_of(struct cw_bytes t, struct gb_step *s)
{
	int32_t v = 0;
	int point = 0, any = 0;
	size_t i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < t.len; i++) {
		if (t.ptr[i] == '.' && !point) {
			point = 1;
			continue;
		}
		if (t.ptr[i] < '0' || t.ptr[i] > '9' || s->exponent <= -9)
			return 0;
		any = 1;
		v = v * 10 + (t.ptr[i] - '0');
		s->exponent = (int8_t)(s->exponent - point);
		if (v > 10000)
			return 0;
	}
	s->mantissa = (int16_t)v;
	s->set = 1;
	return any && v > 0;
}

static int load_steps(struct gb_conf *c, struct cw_bytes map, char *text, size_t len)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);

	while (cw_item_more(&r, &m)) {
		struct cw_item key = cw_read_item(&r), v;
		struct cw_bytes t = key.s;
		int code = digits(&t);

		(void)cw_item_more(&r, &m);
		v = cw_read_item(&r);
		if (code < 0 || t.len > 0 || v.type != CW_ITEM_TEXT || !step_of(v.s, &c->steps[code])) {
			snprintf(text, len, "analogueSteps: `%.*s`: an analogue type of 0 to 255 and a step like \"0.001\" are needed",
			         (int)(key.s.len > 20 ? 20 : key.s.len), (const char *)key.s.ptr);
			return CW_ECONF;
		}
	}
	return 0;
}

static void load_plain(struct gb_conf *c, struct cw_bytes s)
{
	static const char *const identities[] = { "hex", "decimal", "reversed", NULL }, *const zeros[] = { "bound", "destination", "remote", "refuse", NULL };
	static const char *const forms[] = { "auto", "binary", "bcd", NULL }, *const bits[] = { "ignore", "standard", "inverted", NULL };
	static const char *const loops[] = { "low", "high", "none", NULL };

	c->identity = choice(s, "identity", identities);
	c->zero = choice(s, "zeroSource", zeros);
	c->time_form = choice(s, "timeForm", forms);
	c->bit0 = choice(s, "bit0", bits);
	c->loop = choice(s, "loopIn", loops);
	c->strict = flag(s, "strict", 0);
	c->children = (uint8_t)is(s, "components", "child");
	c->vendor_bits = (uint8_t)is(s, "componentBits", "vendor");
	c->utf8 = (uint8_t)is(s, "textCharset", "utf-8");
	c->confirm_copies_time = (uint8_t)is(s, "confirmTime", "copy");
	c->vendor_clock = flag(s, "vendorClock", 1);
	c->time_sync = flag(s, "timeSync", 1);
	c->silence_closes = flag(s, "silenceCloses", 0);
	c->resend_on_deny = flag(s, "resendDenied", 1);
	c->components_most = number(s, "componentsMost", 1024);
	c->recheck_ms = number(s, "componentRecheck", 600000);
	c->incomplete_ms = number(s, "incompleteTime", 10000);
	c->denies = number(s, "denyRate", 1);
	c->foreign_after = number(s, "foreignAfter", 10);
	c->request_ms = number(s, "requestTime", 5000);
	c->resends = number(s, "resends", 3);
	c->sync_ms = number(s, "timeSyncLimit", 60000);
	c->duty_margin_ms = number(s, "dutyMargin", 30000);
	c->silence_ms = number(s, "silenceTime", 120000);
}

int gb_settings(struct cw_decoder *d, struct cw_bytes s, char *text, size_t len, void **ret_conf)
{
	struct gb_conf *c = calloc(1, sizeof(*c));
	struct cw_bytes t;
	int rc;

	(void)d;
	if (c == NULL)
		return CW_ENOMEM;
	load_plain(c, s);
	t = cw_map_get(s, "firstReads").len > 0 ? cw_map_text(s, "firstReads") : cw_bytes_text("85,81,86");
	rc = load_reads(c, t, text, len);
	t = cw_map_get(s, "vendorCommands").len > 0 ? cw_map_text(s, "vendorCommands") : cw_bytes_text("7,0:0");
	if (rc == 0)
		rc = load_vendor(c, t, text, len);
	if (rc == 0)
		rc = load_steps(c, cw_map_get(s, "analogueSteps"), text, len);
	if (rc < 0) {
		free(c);
		return rc;
	}
	*ret_conf = c;
	return 0;
}

void gb_settings_free(struct cw_decoder *d, void *conf)
{
	(void)d;
	free(conf);
}
