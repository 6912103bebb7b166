/*
 * modbus_conf.c - the settings of listeners, connections and devices: their table, and from checked values to struct
 * mb_conf. Points and services are in modbus_profile.c.
 */
#include "modbus.h"

#include <stdio.h>
#include <stdlib.h>

#define END { NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL }
#define ANY 0

static const struct cw_conf_field ask_fields[] = {
	{ "unit", CW_FIELD_INT, ANY, "1", "0", "255", NULL, "Unit that is asked.", NULL },
	{ "area", CW_FIELD_ENUM, ANY, "holding", NULL, NULL, "holding|input", "Area of the registers.", NULL },
	{ "address", CW_FIELD_INT, ANY, "0", "0", "65535", NULL, "Address of the first register.", NULL },
	{ "count", CW_FIELD_INT, ANY, "0", "0", "60", NULL, "How many registers, two characters each.", NULL },
	END,
};

static const struct cw_conf_field registration_fields[] = {
	{ "mode", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|none|once|every",
	  "once: a packet after the connection came up; every: also in front of each answer; auto: once where the device dials in.", NULL },
	{ "format", CW_FIELD_ENUM, ANY, "ascii", NULL, NULL, "ascii|hex", "The identity is the packet's text, or its bytes as hex digits.", NULL },
	{ "length", CW_FIELD_INT, ANY, "0", "0", "128", NULL, "The packet has so many bytes; 0: see accept, until, pattern.", NULL },
	{ "prefix", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "What the packet begins with; hex:AA01 for bytes.", NULL },
	{ "strip", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "The prefix (and the end mark) are no part of the identity.", NULL },
	{ "accept", CW_FIELD_LIST, ANY, NULL, NULL, NULL, NULL, "Known packets; the longest one at the front counts.", NULL },
	{ "until", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "The packet ends with this; hex:0D0A for bytes.", NULL },
	{ "pattern", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL,
	  "Extended regular expression that the packet (with format = hex: its hex digits) must match.", NULL },
	{ "group", CW_FIELD_INT, ANY, "1", "0", "9", NULL, "Group of the pattern that is the identity; 0, or one that took no part: the whole match.", NULL },
	{ "quiet", CW_FIELD_DURATION, ANY, "200ms", "10ms", "10s", NULL, "Without length, accept and until: everything up to a pause like this.", NULL },
	{ "by", CW_FIELD_ENUM, ANY, "listener", NULL, NULL, "listener|peer|register",
	  "mode = none: the identity is the name of the listener, the peer's address, or what a register says.", NULL },
	{ "register", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL, "by = register: where the identity stands, as text.", ask_fields },
	END,
};

static const struct cw_conf_field heartbeat_fields[] = {
	{ "text", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "The heartbeat as text.", NULL },
	{ "hex", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "The heartbeat as hex digits.", NULL },
	{ "reply", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Hex digits sent back; empty: nothing.", NULL },
	END,
};

static const struct cw_conf_field report_fields[] = {
	{ "mode", CW_FIELD_ENUM, ANY, "inherit", NULL, NULL, "inherit|change|always|period",
	  "change: when it differs; always: with each poll; period: every maxInterval. A point inherits from its device, a device has change.", NULL },
	{ "deadband", CW_FIELD_DECIMAL, ANY, "0", "0", NULL, NULL, "Smallest difference from the last reported value that is reported.", NULL },
	{ "maxInterval", CW_FIELD_DURATION, ANY, "0s", "0s", "30d", NULL, "Report at the latest after that time; 0: no matter how long it stays the same.", NULL },
	END,
};

static const struct cw_conf_field event_fields[] = {
	{ "id", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Identifier of the event; empty: none.", NULL },
	{ "when", CW_FIELD_ENUM, ANY, "rising", NULL, NULL, "rising|falling|change", "When it becomes true, when it ceases to be, or at each difference.", NULL },
	{ "on", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "The value that counts as true; empty: true, or a number that is not 0.", NULL },
	{ "type", CW_FIELD_ENUM, ANY, "alert", NULL, NULL, "info|alert|error", "Type of the event.", NULL },
	{ "data", CW_FIELD_LIST, ANY, NULL, NULL, NULL, NULL, "Properties whose values go along.", NULL },
	{ "fireInitial", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "The first reading may fire it.", NULL },
	END,
};

static const struct cw_conf_field point_fields[] = {
	{ "property", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Property, as voltageA, phaseA.voltage or temps[3]; empty: the point only feeds its event.", NULL },
	{ "area", CW_FIELD_ENUM, ANY, "holding", NULL, NULL, "coil|discrete|input|holding", "Address space.", NULL },
	{ "address", CW_FIELD_INT, ANY, "-1", "-1", "65535", NULL, "Address from 0, as in the protocol.", NULL },
	{ "ref", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Area and address from 1 as manuals write them: 40001, 400001.", NULL },
	{ "type", CW_FIELD_ENUM, ANY, "uint16", NULL, NULL,
	  "bool|bit|int16|uint16|int32|uint32|float32|int64|uint64|float64|bcd16|bcd32|string|bytes", "What the registers hold.", NULL },
	{ "bit", CW_FIELD_INT, ANY, "0", "0", "15", NULL, "type = bit: 0 is the least significant.", NULL },
	{ "order", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Sequence of bytes on the wire: AB, BA, ABCD, CDAB, BADC, DCBA, eight letters for 64 bits; empty: the profile's.", NULL },
	{ "length", CW_FIELD_INT, ANY, "0", "0", "250", NULL, "type = string or bytes: how many.", NULL },
	{ "packing", CW_FIELD_ENUM, ANY, "highFirst", NULL, NULL, "highFirst|lowFirst|lowByteOnly|highByteOnly", "Characters in a register.", NULL },
	{ "charset", CW_FIELD_ENUM, ANY, "utf8", NULL, NULL, "utf8|gbk|hex", "Character set of a string.", NULL },
	{ "trim", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Cut blanks off the end of a string.", NULL },
	{ "asText", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Report a whole number as text: above 2^53 JSON readers lose digits.", NULL },
	{ "asNumber", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Report a bool or bit as 0 or 1.", NULL },
	{ "scale", CW_FIELD_DECIMAL, ANY, "1", NULL, NULL, NULL, "value = raw x scale + offset; not 0.", NULL },
	{ "offset", CW_FIELD_DECIMAL, ANY, "0", NULL, NULL, NULL, "See scale.", NULL },
	{ "decimals", CW_FIELD_INT, ANY, "-1", "-1", "15", NULL, "Decimals of the value; -1: those of scale and offset.", NULL },
	{ "map", CW_FIELD_MAP, ANY, NULL, NULL, NULL, NULL, "Raw numbers and what they mean.", NULL },
	{ "mapTo", CW_FIELD_ENUM, ANY, "text", NULL, NULL, "text|number", "What stands on the right of map.", NULL },
	{ "interval", CW_FIELD_DURATION, ANY, "0s", "0s", "30d", NULL, "How often it is read; 0: the profile's interval.", NULL },
	{ "access", CW_FIELD_ENUM, ANY, "r", NULL, NULL, "r|rw|w", "w is never read.", NULL },
	{ "min", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Smallest value that may be written.", NULL },
	{ "max", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Largest value that may be written.", NULL },
	{ "isolate", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Read in a request of its own.", NULL },
	{ "writeFc", CW_FIELD_INT, ANY, "0", "0", "16", NULL, "Function that writes it: 5 or 15, 6 or 16; 0: 5, 6, and 16 for several registers.", NULL },
	{ "maskWrite", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "type = bit: write with function 22.", NULL },
	{ "modify", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "type = bit: read, change and write the register where maskWrite is off.", NULL },
	{ "readBack", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Read after a write and compare.", NULL },
	{ "report", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL, "When readings are reported.", report_fields },
	{ "event", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL, "An event made of this point.", event_fields },
	END,
};

static const struct cw_conf_field step_fields[] = {
	{ "write", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Property that is written.", NULL },
	{ "value", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "What is written: true, 21.5, or a text.", NULL },
	{ "wait", CW_FIELD_DURATION, ANY, "0s", "0s", "60s", NULL, "A step that only waits.", NULL },
	END,
};

static const struct cw_conf_field service_fields[] = {
	{ "steps", CW_FIELD_LIST, ANY, NULL, NULL, NULL, NULL, "Writes and waits, in order.", step_fields },
	END,
};

static const struct cw_conf_field profile_fields[] = {
	{ "interval", CW_FIELD_DURATION, ANY, "10s", "100ms", "30d", NULL, "How often points are read that do not say it themselves.", NULL },
	{ "order", CW_FIELD_STRING, ANY, "ABCD", NULL, NULL, NULL, "Byte order of points that do not say it themselves, four letters.", NULL },
	{ "maxGap", CW_FIELD_INT, ANY, "0", "0", "2000", NULL, "Registers nobody wants that one request may read between two points.", NULL },
	{ "maxRegisters", CW_FIELD_INT, ANY, "100", "1", "125", NULL, "Registers of one request.", NULL },
	{ "maxBits", CW_FIELD_INT, ANY, "2000", "1", "2000", NULL, "Coils or discrete inputs of one request.", NULL },
	{ "mergeWrites", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "Write neighbouring holding points of one set with one request.", NULL },
	{ "writeFallback", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "After exception 01 try 16 for 6 and 15 for 5, or the reverse.", NULL },
	{ "points", CW_FIELD_LIST, ANY, NULL, NULL, NULL, NULL, "The register map.", point_fields },
	{ "services", CW_FIELD_MAP, ANY, NULL, NULL, NULL, NULL, "Named sequences of writes.", service_fields },
	END,
};

const struct cw_conf_field mb_conf_fields[] = {
	{ "framing", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|tcp|rtu|ascii",
	  "Frames on this connection; auto: tcp where the gateway dials TCP, else rtu; `causeway decode` recognises them.", NULL },
	{ "registration", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL, "How a DTU says who it is.", registration_fields },
	{ "heartbeats", CW_FIELD_LIST, ANY, NULL, NULL, NULL, NULL, "Packets that mean nothing; at most 8.", heartbeat_fields },
	{ "envelope", CW_FIELD_ENUM, ANY, "none", NULL, NULL, "none|prot|ddp|braces", "What the DTU wraps around serial bytes: PROT, DDP, or 7B .. 7D.", NULL },
	{ "envelopeId", CW_FIELD_ENUM, ANY, "phone", NULL, NULL, "phone|id", "envelope = prot: which of the two is the identity.", NULL },
	{ "localEcho", CW_FIELD_BOOL, ANY, "false", NULL, NULL, NULL, "The converter hands back each request before the answer.", NULL },
	{ "unsolicited", CW_FIELD_ENUM, ANY, "drop", NULL, NULL, "drop|commandReply|assume",
	  "Frames nobody asked for: drop them; take a request with its answer; take an answer shaped like one configured request.", NULL },
	{ "transactionId", CW_FIELD_STRING, ANY, "echo", NULL, NULL, NULL, "Of MBAP answers: echo, ignore, or fixed(N).", NULL },
	{ "maxOutstanding", CW_FIELD_INT, ANY, "1", "1", "16", NULL, "Requests under way at once; more than 1 with MBAP and transactionId = echo only.", NULL },
	{ "resync", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|close|hunt", "A bad MBAP header: close, or look for the next one; auto: close where the gateway dials.", NULL },
	{ "answerTimeout", CW_FIELD_DURATION, ANY, "0s", "0s", "60s", NULL, "Wait for an answer; 0: 1 s where the gateway dials, 3 s where the device does.", NULL },
	{ "partialTimeout", CW_FIELD_DURATION, ANY, "500ms", "10ms", "60s", NULL, "Pause after which part of a frame is given up.", NULL },
	{ "baud", CW_FIELD_INT, ANY, "0", "0", "1000000", NULL, "Speed of the serial side, which is added to answerTimeout; 0: not.", NULL },
	{ "gap", CW_FIELD_DURATION, ANY, "20ms", "0ms", "60s", NULL, "Pause after an answer before the next request.", NULL },
	{ "broadcastGap", CW_FIELD_DURATION, ANY, "200ms", "0ms", "60s", NULL, "Pause after a write to unit 0, which nobody answers.", NULL },
	{ "settle", CW_FIELD_DURATION, ANY, "500ms", "0ms", "60s", NULL, "Pause after connection or registration before the first request.", NULL },
	{ "lateGuard", CW_FIELD_DURATION, ANY, "1s", "0ms", "60s", NULL, "After a timeout, pause before the same unit is asked for the same shape; without effect where transaction ids are echoed.", NULL },
	{ "retries", CW_FIELD_INT, ANY, "1", "0", "10", NULL, "Reads repeated after a timeout.", NULL },
	{ "writeRetries", CW_FIELD_INT, ANY, "0", "0", "10", NULL, "The same for writes; a pulse output must not fire twice.", NULL },
	{ "busyWait", CW_FIELD_DURATION, ANY, "100ms", "10ms", "60s", NULL, "Pause after exception 06.", NULL },
	{ "busyRetries", CW_FIELD_INT, ANY, "3", "0", "100", NULL, "How often exception 06 is answered with the same request again.", NULL },
	{ "writeDeadline", CW_FIELD_DURATION, ANY, "10s", "100ms", "10m", NULL, "How long a command may wait before its first request is sent.", NULL },
	{ "offlineAfter", CW_FIELD_INT, ANY, "3", "0", "1000", NULL, "Failed cycles in a row after which a unit is offline; 0: never.", NULL },
	{ "graceTime", CW_FIELD_DURATION, ANY, "60s", "0s", "10m", NULL, "How long units stay online after their connection has gone: DTUs dial again.", NULL },
	{ "probeEvery", CW_FIELD_DURATION, ANY, "60s", "1s", "30d", NULL, "How often a unit that is offline is asked.", NULL },
	{ "minDownlinkInterval", CW_FIELD_DURATION, ANY, "0s", "0s", "30d", NULL, "Send something at least so often, for DTUs that restart otherwise; 0: no.", NULL },
	{ "spreadStart", CW_FIELD_BOOL, ANY, "true", NULL, NULL, NULL, "Spread first polls over their interval instead of polling at once.", NULL },
	{ "profile", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Register map of the device, one of profiles.", NULL },
	{ "unit", CW_FIELD_INT, ANY, "-1", "-1", "255", NULL, "Unit id; -1: what follows the slash of the identity, else 1 (MBAP where the gateway dials: 255).", NULL },
	{ "addressShift", CW_FIELD_INT, ANY, "0", "-65535", "65535", NULL, "Added to every address: -1 when the manual counts from 1.", NULL },
	{ "report", CW_FIELD_TABLE, ANY, NULL, NULL, NULL, NULL, "When readings of points are reported that do not say it themselves.", report_fields },
	{ "commState", CW_FIELD_STRING, ANY, "", NULL, NULL, NULL, "Property that says whether the unit answers; empty: none.", NULL },
	{ "profiles", CW_FIELD_MAP, ANY, NULL, NULL, NULL, NULL, "Register maps by name.", profile_fields },
	{ "direction", CW_FIELD_ENUM, ANY, "auto", NULL, NULL, "auto|request|response", "causeway decode: what the frames are.", NULL },
	{ "quantity", CW_FIELD_INT, ANY, "0", "0", "2000", NULL, "causeway decode: how many bits an answer carries; 0: as the request before it says, or all.", NULL },
	END,
};

/* ---- memory that goes as a whole --------------------------------------------------------------------- */

struct mb_chunk {
	struct mb_chunk *next;
	size_t used, size;
	max_align_t bytes[];
};

void *mb_arena_alloc(struct mb_arena *a, size_t n)
{
	struct mb_chunk *c = a->chunks;
	void *p;

	n = (n + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (c == NULL || c->size - c->used < n) {
		size_t size = n > 4096 ? n : 4096;

		c = calloc(1, sizeof(*c) + size);
		if (c == NULL)
			return NULL;
		c->size = size;
		c->next = a->chunks;
		a->chunks = c;
	}
	p = (uint8_t *)c->bytes + c->used;
	c->used += n;
	return p;
}

struct cw_bytes mb_arena_bytes(struct mb_arena *a, struct cw_bytes b)
{
	uint8_t *p = mb_arena_alloc(a, b.len + 1);

	if (p == NULL)
		return cw_bytes_of(NULL, 0);
	if (b.len > 0)
		memcpy(p, b.ptr, b.len);
	return cw_bytes_of(p, b.len);
}

const char *mb_arena_text(struct mb_arena *a, struct cw_bytes b)
{
	return (const char *)mb_arena_bytes(a, b).ptr;
}

void mb_arena_free(struct mb_arena *a)
{
	while (a->chunks != NULL) {
		struct mb_chunk *c = a->chunks;

		a->chunks = c->next;
		free(c);
	}
}

/* ---- from the map ------------------------------------------------------------------------------------------ */

struct load {
	struct cw_decoder *d;
	struct mb_conf *c;
	char *text;
	size_t len;
};

static int wrong(struct load *l, const char *what, struct cw_bytes value)
{
	(void)snprintf(l->text, l->len, "%s, not \"%.*s\"", what, (int)(value.len > 80 ? 80 : value.len), (const char *)value.ptr);
	return CW_ECONF;
}

static int hex_value(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Hex digits, blanks between them allowed. */
static int hex_bytes(struct load *l, struct cw_bytes text, const char *what, struct cw_bytes *ret)
{
	uint8_t *out = mb_arena_alloc(&l->c->arena, text.len / 2 + 1);
	size_t i, n = 0;
	int high = -1;

	if (out == NULL)
		return CW_ENOMEM;
	for (i = 0; i < text.len; i++) {
		int v = hex_value(text.ptr[i]);

		if (text.ptr[i] == ' ' && high < 0)
			continue;
		if (v < 0)
			return wrong(l, what, text);
		if (high < 0) {
			high = v;
		} else {
			out[n++] = (uint8_t)(high << 4 | v);
			high = -1;
		}
	}
	if (high >= 0 || n > MB_PATTERN_MAX)
		return wrong(l, what, text);
	*ret = cw_bytes_of(out, n);
	return 0;
}

/* Text, or bytes behind `hex:`. */
static int text_or_hex(struct load *l, struct cw_bytes text, const char *what, struct cw_bytes *ret)
{
	if (text.len >= 4 && memcmp(text.ptr, "hex:", 4) == 0)
		return hex_bytes(l, cw_bytes_of(text.ptr + 4, text.len - 4), what, ret);
	if (text.len > MB_REG_MAX)
		return wrong(l, what, text);
	*ret = mb_arena_bytes(&l->c->arena, text);
	return ret->ptr == NULL ? CW_ENOMEM : 0;
}

static unsigned list_length(struct cw_bytes list)
{
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);
	unsigned n = 0;

	while (it.type == CW_ITEM_ARRAY && cw_item_more(&r, &it) && cw_skip_item(&r, CW_RECORD_DEPTH))
		n++;
	return n;
}

static int is(struct cw_bytes map, const char *key, const char *value)
{
	return cw_bytes_equal(cw_map_text(map, key), cw_bytes_text(value));
}

static int load_accept(struct load *l, struct cw_bytes list)
{
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);
	unsigned n = list_length(list), i;
	struct cw_bytes *v = n == 0 ? NULL : mb_arena_alloc(&l->c->arena, n * sizeof(*v));

	if (n > 0 && v == NULL)
		return CW_ENOMEM;
	for (i = 0; i < n && cw_item_more(&r, &it); i++) {
		struct cw_item e = cw_read_item(&r);
		int rc = text_or_hex(l, e.s, "registration.accept needs packets of 1 to 128 bytes", &v[i]);

		if (rc == 0 && v[i].len == 0)
			rc = wrong(l, "registration.accept needs packets of 1 to 128 bytes", e.s);
		if (rc < 0)
			return rc;
	}
	l->c->reg.accept = v;
	l->c->reg.accept_count = n;
	return 0;
}

static int load_pattern(struct load *l, struct cw_bytes text)
{
	struct mb_reg_rule *r = &l->c->reg;
	const char *pattern;

	if (text.len == 0)
		return 0;
	pattern = mb_arena_text(&l->c->arena, text);
	if (pattern == NULL)
		return CW_ENOMEM;
	/* A \2 would let the matcher try without end. */
	if (memchr(text.ptr, '\\', text.len) != NULL && strpbrk(pattern, "123456789") != NULL) {
		size_t i;

		for (i = 0; i + 1 < text.len; i++)
			if (text.ptr[i] == '\\' && text.ptr[i + 1] >= '1' && text.ptr[i + 1] <= '9')
				return wrong(l, "registration.pattern must not refer back", text);
	}
	if (regcomp(&r->pattern, pattern, REG_EXTENDED) != 0)
		return wrong(l, "registration.pattern must be an extended regular expression", text);
	r->has_pattern = 1;
	return 0;
}

static int load_registration(struct load *l, struct cw_bytes m)
{
	struct mb_reg_rule *r = &l->c->reg;
	struct cw_bytes ask = cw_map_get(m, "register"), mode = cw_map_text(m, "mode");
	int rc, i;

	r->length = (unsigned)cw_map_int(m, "length", 0);
	r->strip = cw_map_int(m, "strip", 1) != 0;
	r->hex = (uint8_t)is(m, "format", "hex");
	r->group = (unsigned)cw_map_int(m, "group", 1);
	r->quiet_ms = (unsigned)cw_map_int(m, "quiet", 200);
	l->c->by = is(m, "by", "peer") ? MB_BY_PEER : is(m, "by", "register") ? MB_BY_REGISTER : MB_BY_LISTENER;
	l->c->ask.unit = (uint8_t)cw_map_int(ask, "unit", 1);
	l->c->ask.area = is(ask, "area", "input") ? MB_INPUT : MB_HOLDING;
	l->c->ask.address = (uint16_t)cw_map_int(ask, "address", 0);
	l->c->ask.count = (uint16_t)cw_map_int(ask, "count", 0);
	for (i = 0; i < 2; i++)
		l->c->ch[i].reg_mode = cw_bytes_equal(mode, cw_bytes_text("none")) ? MB_REG_NONE
		                       : cw_bytes_equal(mode, cw_bytes_text("every")) ? MB_REG_EVERY
		                       : cw_bytes_equal(mode, cw_bytes_text("once")) || i == 0 ? MB_REG_ONCE : MB_REG_NONE;
	rc = text_or_hex(l, cw_map_text(m, "prefix"), "registration.prefix must be text of at most 128 bytes, or hex: and hex digits", &r->prefix);
	if (rc == 0)
		rc = text_or_hex(l, cw_map_text(m, "until"), "registration.until must be text of at most 128 bytes, or hex: and hex digits", &r->until);
	if (rc == 0)
		rc = load_accept(l, cw_map_get(m, "accept"));
	if (rc == 0)
		rc = load_pattern(l, cw_map_text(m, "pattern"));
	if (rc == 0 && r->length > 0 && r->prefix.len >= r->length)
		rc = wrong(l, "registration.prefix must be shorter than registration.length", cw_map_text(m, "prefix"));
	if (rc == 0 && l->c->by == MB_BY_REGISTER && l->c->ask.count == 0)
		rc = wrong(l, "registration.by = register needs registration.register { address, count }", cw_bytes_text("count 0"));
	return rc;
}

static int load_heartbeats(struct load *l, struct cw_bytes list)
{
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);
	unsigned n = list_length(list), i;
	struct mb_pattern *v = n == 0 ? NULL : mb_arena_alloc(&l->c->arena, n * sizeof(*v));

	if (n > MB_HEARTBEATS_MAX)
		return wrong(l, "heartbeats can be at most 8", cw_bytes_text("more"));
	if (n > 0 && v == NULL)
		return CW_ENOMEM;
	for (i = 0; i < n && cw_item_more(&r, &it); i++) {
		struct cw_bytes e = cw_read_whole_item(&r), text = cw_map_text(e, "text"), hex = cw_map_text(e, "hex");
		int rc;

		if ((text.len == 0) == (hex.len == 0))
			return wrong(l, "each of heartbeats needs either text or hex", text);
		if (text.len > MB_PATTERN_MAX)
			return wrong(l, "heartbeats.text can be at most 128 bytes", text);
		v[i].bytes = mb_arena_bytes(&l->c->arena, text);
		rc = v[i].bytes.ptr == NULL ? CW_ENOMEM : 0;
		if (rc == 0 && hex.len > 0)
			rc = hex_bytes(l, hex, "heartbeats.hex must be hex digits of at most 128 bytes", &v[i].bytes);
		if (rc == 0)
			rc = hex_bytes(l, cw_map_text(e, "reply"), "heartbeats.reply must be hex digits of at most 128 bytes", &v[i].reply);
		if (rc == 0 && v[i].bytes.len == 0)
			rc = wrong(l, "heartbeats.hex must be hex digits", hex);
		if (rc < 0)
			return rc;
	}
	l->c->ch[0].heartbeats = l->c->ch[1].heartbeats = v;
	l->c->ch[0].heartbeat_count = l->c->ch[1].heartbeat_count = n;
	return 0;
}

/* echo, ignore, fixed(7) */
static int load_transaction(struct load *l, struct cw_bytes t, struct mb_channel *ch)
{
	static const char what[] = "transactionId must be echo, ignore or fixed(0) to fixed(65535)";
	uint32_t n = 0;
	size_t i;

	ch->tid_mode = MB_TID_ECHO;
	if (cw_bytes_equal(t, cw_bytes_text("echo")))
		return 0;
	ch->tid_mode = MB_TID_IGNORE;
	if (cw_bytes_equal(t, cw_bytes_text("ignore")))
		return 0;
	ch->tid_mode = MB_TID_FIXED;
	if (t.len < 8 || t.len > 12 || memcmp(t.ptr, "fixed(", 6) != 0 || t.ptr[t.len - 1] != ')')
		return wrong(l, what, t);
	for (i = 6; i + 1 < t.len; i++) {
		if (t.ptr[i] < '0' || t.ptr[i] > '9')
			return wrong(l, what, t);
		n = n * 10 + (uint32_t)(t.ptr[i] - '0');
	}
	ch->tid_fixed = (uint16_t)n;
	return n <= 65535 ? 0 : wrong(l, what, t);
}

static void load_report(struct cw_bytes m, struct mb_report *ret)
{
	struct cw_item band = cw_map_item(m, "deadband");

	ret->mode = is(m, "mode", "always") ? MB_R_ALWAYS : is(m, "mode", "period") ? MB_R_PERIOD : is(m, "mode", "inherit") ? MB_R_INHERIT : MB_R_CHANGE;
	if (!mb_dec_of_item(&band, &ret->deadband))
		ret->deadband = (struct mb_dec){ 0, 0 };
	ret->max_ms = (uint64_t)cw_map_int(m, "maxInterval", 0);
}

static int load_channel(struct load *l, struct cw_bytes s, int dialled)
{
	static const char *const envelopes[] = { "none", "prot", "ddp", "braces" };
	struct mb_channel *ch = &l->c->ch[dialled];
	unsigned i;

	ch->framing = is(s, "framing", "tcp") ? MB_TCP : is(s, "framing", "ascii") ? MB_ASCII : is(s, "framing", "auto") ? MB_AUTO : MB_RTU;
	ch->reg = &l->c->reg;
	for (i = 0; i < 4; i++)
		if (is(s, "envelope", envelopes[i]))
			ch->envelope = (enum mb_envelope)i;
	ch->prot_by_id = (uint8_t)is(s, "envelopeId", "id");
	ch->local_echo = cw_map_int(s, "localEcho", 0) != 0;
	ch->unsolicited = is(s, "unsolicited", "commandReply") ? MB_UNS_COMMAND_REPLY : is(s, "unsolicited", "assume") ? MB_UNS_ASSUME : MB_UNS_DROP;
	ch->hunt = (uint8_t)(is(s, "resync", "hunt") || (is(s, "resync", "auto") && !dialled));
	ch->partial_ms = (unsigned)cw_map_int(s, "partialTimeout", 500);
	l->c->answer_ms[dialled] = (uint32_t)cw_map_int(s, "answerTimeout", 0);
	if (l->c->answer_ms[dialled] == 0)
		l->c->answer_ms[dialled] = dialled ? 1000 : 3000;
	return load_transaction(l, cw_map_text(s, "transactionId"), ch);
}

static void load_times(struct mb_conf *c, struct cw_bytes s)
{
	struct cw_bytes report = cw_map_get(s, "report");

	c->gap_ms = (uint32_t)cw_map_int(s, "gap", 20);
	c->broadcast_gap_ms = (uint32_t)cw_map_int(s, "broadcastGap", 200);
	c->settle_ms = (uint32_t)cw_map_int(s, "settle", 500);
	c->late_guard_ms = (uint32_t)cw_map_int(s, "lateGuard", 1000);
	c->busy_wait_ms = (uint32_t)cw_map_int(s, "busyWait", 100);
	c->grace_ms = (uint32_t)cw_map_int(s, "graceTime", 60000);
	c->probe_ms = (uint32_t)cw_map_int(s, "probeEvery", 60000);
	c->min_downlink_ms = (uint32_t)cw_map_int(s, "minDownlinkInterval", 0);
	c->write_deadline_ms = (uint32_t)cw_map_int(s, "writeDeadline", 10000);
	c->baud = (uint32_t)cw_map_int(s, "baud", 0);
	c->retries = (unsigned)cw_map_int(s, "retries", 1);
	c->write_retries = (unsigned)cw_map_int(s, "writeRetries", 0);
	c->busy_retries = (unsigned)cw_map_int(s, "busyRetries", 3);
	c->offline_after = (unsigned)cw_map_int(s, "offlineAfter", 3);
	c->max_outstanding = (unsigned)cw_map_int(s, "maxOutstanding", 1);
	c->spread = cw_map_int(s, "spreadStart", 1) != 0;
	c->unit = (int)cw_map_int(s, "unit", -1);
	c->address_shift = (int)cw_map_int(s, "addressShift", 0);
	c->dir_auto = (uint8_t)is(s, "direction", "auto");
	c->dir = is(s, "direction", "request") ? MB_REQUEST : MB_RESPONSE;
	c->inspect_quantity = (unsigned)cw_map_int(s, "quantity", 0);
	load_report(report, &c->report);
	if (c->report.mode == MB_R_INHERIT)
		c->report.mode = MB_R_CHANGE;
}

/* framing = auto is RTU, but MBAP where the gateway dials; a pause inside an MBAP frame is the network's. */
static void resolve(struct mb_conf *c)
{
	int i;

	for (i = 0; i < 3; i++) {
		c->resolved[i] = c->ch[i > 0];
		c->resolved[i].framing = i == 1 ? MB_TCP : MB_RTU;
	}
	for (i = 0; i < 2; i++) {
		struct mb_channel *ch = c->ch[i].framing == MB_AUTO ? &c->resolved[i] : &c->ch[i];

		if (ch->framing == MB_TCP && ch->partial_ms < c->answer_ms[i])
			ch->partial_ms = c->answer_ms[i];
	}
}

/* Every profile is looked at where none is chosen: on a listener, and in `config check`. */
static int check_profiles(struct load *l, struct cw_bytes profiles)
{
	struct cw_reader r = cw_reader_of(profiles);
	struct cw_item m = cw_read_item(&r);

	while (m.type == CW_ITEM_MAP && cw_item_more(&r, &m)) {
		struct cw_item key = cw_read_item(&r);
		struct mb_profile *p;
		struct cw_bytes v;
		char name[128];
		unsigned load;
		int rc;

		(void)cw_item_more(&r, &m);
		v = cw_read_whole_item(&r);
		(void)snprintf(name, sizeof(name), "%.*s", (int)(key.s.len > 100 ? 100 : key.s.len), (const char *)key.s.ptr);
		rc = mb_profile_get(l->d, name, v, l->text, l->len, &p);
		if (rc < 0)
			return rc;
		load = mb_profile_load(p, 300 + l->c->gap_ms);
		if (load > 1000 && l->text[0] == '\0')
			(void)snprintf(l->text, l->len,
			               "profile \"%s\": at 300 ms a request, as over cellular, polling takes %u.%u seconds each second; "
			               "it will skip cycles: raise interval, or maxGap to merge requests", name, load / 1000, load % 1000 / 100);
		mb_profile_drop(l->d, p);
	}
	return 0;
}

static int load_conf(struct load *l, struct cw_bytes s)
{
	struct mb_conf *c = l->c;
	struct cw_bytes profiles = cw_map_get(s, "profiles"), name = cw_map_text(s, "profile"), source;
	int rc;

	c->comm_state = mb_arena_text(&c->arena, cw_map_text(s, "commState"));
	c->profile_name = mb_arena_text(&c->arena, name);
	if (c->comm_state == NULL || c->profile_name == NULL)
		return CW_ENOMEM;
	load_times(c, s);
	rc = load_channel(l, s, 0);
	if (rc == 0)
		rc = load_channel(l, s, 1);
	if (rc == 0)
		rc = load_registration(l, cw_map_get(s, "registration"));
	if (rc == 0)
		rc = load_heartbeats(l, cw_map_get(s, "heartbeats"));
	if (rc < 0)
		return rc;
	resolve(c);
	if (c->max_outstanding > 1 && (c->ch[0].tid_mode != MB_TID_ECHO || c->ch[0].framing == MB_RTU || c->ch[0].framing == MB_ASCII))
		return wrong(l, "maxOutstanding above 1 needs framing = tcp and transactionId = echo", cw_map_text(s, "framing"));
	if (c->report.mode == MB_R_PERIOD && c->report.max_ms == 0)
		return wrong(l, "report.mode = period needs report.maxInterval", cw_bytes_text("0s"));
	if (name.len == 0)
		return check_profiles(l, profiles);
	source = cw_map_get(profiles, c->profile_name);
	if (source.len == 0)
		return wrong(l, "profile must be one of protocols.modbus.profiles", name);
	rc = mb_profile_get(l->d, c->profile_name, source, l->text, l->len, &c->profile);
	if (rc < 0)
		return rc;
	return c->unit == 0 && c->profile->block_count > 0
	       ? wrong(l, "unit = 0 is a broadcast, which nobody answers: its profile can have points with access = w only", name) : 0;
}

/* ---- shared ------------------------------------------------------------------------------------------------ */

static uint64_t hash_of(struct cw_bytes b)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	for (i = 0; i < b.len; i++)
		h = (h ^ b.ptr[i]) * 0x100000001b3u;
	return h;
}

static void conf_free(struct cw_decoder *d, struct mb_conf *c)
{
	if (c->reg.has_pattern)
		regfree(&c->reg.pattern);
	mb_profile_drop(d, c->profile);
	mb_arena_free(&c->arena);
	free(c);
}

/*
 * A thousand devices have the same few settings: what was made of the same bytes is used again. A warning is only
 * given when it is made.
 */
int mb_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf)
{
	struct load l = { .d = d, .text = text, .len = len };
	uint64_t hash = hash_of(settings);
	struct mb_conf *c;
	int rc;

	if (len > 0)
		text[0] = '\0';
	for (c = d->confs; c != NULL; c = c->next) {
		if (c->hash == hash && cw_bytes_equal(c->source, settings)) {
			c->refs++;
			*ret_conf = c;
			return 0;
		}
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return CW_ENOMEM;
	l.c = c;
	c->refs = 1;
	c->hash = hash;
	c->source = mb_arena_bytes(&c->arena, settings);
	rc = c->source.ptr == NULL ? CW_ENOMEM : load_conf(&l, c->source);
	if (rc < 0) {
		conf_free(d, c);
		return rc;
	}
	c->next = d->confs;
	d->confs = c;
	*ret_conf = c;
	return 0;
}

void mb_settings_free(struct cw_decoder *d, void *conf)
{
	struct mb_conf *c = conf, **p;

	if (c == NULL || --c->refs > 0)
		return;
	for (p = &d->confs; *p != NULL; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	conf_free(d, c);
}
