/*
 * utd.h - a user-information transmission device for the tests: writes and reads frames by the frame table alone, sharing
 * nothing with the decoder, and checks what the decoder sends it.
 */
#ifndef TEST_GB26875_UTD_H
#define TEST_GB26875_UTD_H

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"

#define UTD_TIME "000010150b1a" /* 2026-11-21 16:00:00 in China, which is the fake host's clock */

static struct fake f;
/* Of the device's frames; a test may change them. */
static const char *utd_source = "790300000000", *utd_centre = "385b01000000", *utd_time = UTD_TIME, *utd_version = "0101";
static unsigned utd_serial;

enum { CONTROL = 1, SEND, CONFIRM, REQUEST, RESPONSE, DENY };

static inline unsigned utd_byte(const char *hex)
{
	unsigned v;

	assert_int_equal(sscanf(hex, "%2x", &v), 1);
	return v;
}

/* One frame as hex; static storage. */
static inline const char *utd_frame(unsigned command, unsigned serial, const char *adu)
{
	static char out[2400];
	size_t n = strlen(adu) / 2, i, len;
	unsigned sum = 0;

	snprintf(out, sizeof(out), "4040%02x%02x%s%s%s%s%02x%02x%02x%s", serial & 255, serial >> 8, utd_version, utd_time, utd_source, utd_centre,
	         (unsigned)(n & 255), (unsigned)(n >> 8), command, adu);
	len = strlen(out);
	for (i = 4; i < len; i += 2)
		sum += utd_byte(out + i);
	snprintf(out + len, sizeof(out) - len, "%02x2323", sum & 255);
	return out;
}

static inline void tell_as(unsigned command, unsigned serial, const char *adu)
{
	fake_feed_hex(&f, utd_frame(command, serial, adu));
}

/* An upload with the next serial; returns it. */
static inline unsigned tell(const char *adu)
{
	tell_as(SEND, utd_serial, adu);
	return utd_serial++;
}

static inline void start(const char *settings)
{
	fake_init(&f, cw_plugin_entry(), settings);
	fake_open(&f);
	utd_source = "790300000000";
	utd_centre = "385b01000000";
	utd_time = UTD_TIME;
	utd_version = "0101";
	utd_serial = 5;
}

/* Without anything asked of the device by itself. */
#define QUIET "\"firstReads\": \"\", \"timeSync\": false"

static inline int check_and_end(void **state)
{
	(void)state;
	fake_fini(&f);
	return cw_mem_live() == 0 ? 0 : -1;
}

struct heard {
	unsigned command, serial, len;
	char time[13], source[13], destination[13], version[5];
	char adu[2050];
};

/* Take apart what the decoder sent; fails the test unless it is a frame by the book. */
static inline int hear(struct heard *h)
{
	struct fake_blob *b = fake_next(&f.sent);
	unsigned sum = 0;
	size_t i;

	memset(h, 0, sizeof(*h));
	if (b == NULL)
		return 0;
	assert_true(b->len >= 30 && b->ptr[0] == 0x40 && b->ptr[1] == 0x40 && b->ptr[b->len - 1] == 0x23 && b->ptr[b->len - 2] == 0x23);
	for (i = 2; i < b->len - 3; i++)
		sum += b->ptr[i];
	assert_int_equal(b->ptr[b->len - 3], sum & 255);
	h->len = (unsigned)(b->ptr[24] | b->ptr[25] << 8);
	assert_int_equal(b->len, 30 + h->len);
	h->serial = (unsigned)(b->ptr[2] | b->ptr[3] << 8);
	h->command = b->ptr[26];
	for (i = 0; i < 6; i++) {
		snprintf(h->time + 2 * i, 3, "%02x", b->ptr[6 + i]);
		snprintf(h->source + 2 * i, 3, "%02x", b->ptr[12 + i]);
		snprintf(h->destination + 2 * i, 3, "%02x", b->ptr[18 + i]);
	}
	snprintf(h->version, sizeof(h->version), "%02x%02x", b->ptr[4], b->ptr[5]);
	for (i = 0; i < h->len; i++)
		snprintf(h->adu + 2 * i, 3, "%02x", b->ptr[27 + i]);
	assert_string_equal(h->source, utd_centre);
	assert_string_equal(h->destination, utd_source);
	assert_string_equal(h->version, utd_version);
	return 1;
}

static inline void expect(unsigned command, unsigned serial, const char *adu)
{
	struct heard h;

	if (!hear(&h))
		fail_msg("nothing was sent, command %u serial %u %s expected", command, serial, adu);
	if (h.command != command || h.serial != serial || strcmp(h.adu, adu) != 0)
		fail_msg("command %u serial %u %s was sent, command %u serial %u %s expected", h.command, h.serial, h.adu, command, serial, adu);
}

static inline void expect_silence(void)
{
	struct fake_blob *b = fake_next(&f.sent);

	if (b != NULL)
		fail_msg("%s was sent", fake_hex(b));
}

/* The next record, of the device with that identity; `flags` and `level` as in record.h, 0: none. */
static inline void expect_record_of(const char *identity, unsigned kind, const char *name, unsigned level, unsigned flags, const char *json)
{
	struct fake_blob *b = fake_next(&f.records);
	struct cw_record rec;

	if (b == NULL)
		fail_msg("no record, %s expected", json);
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	if (identity != NULL)
		assert_string_equal(b->name, identity);
	if (rec.kind != kind || (name != NULL && !cw_bytes_equal(rec.name, cw_bytes_text(name))))
		fail_msg("kind %u %.*s %s, %s expected", rec.kind, (int)rec.name.len, (const char *)rec.name.ptr, fake_json(rec.body), name == NULL ? json : name);
	assert_int_equal(rec.has_time, 0); /* the time of reception */
	if (rec.event_type != level || rec.flags != flags)
		fail_msg("%s: level %u flags %u, %u %u expected", json, rec.event_type, rec.flags, level, flags);
	if (!fake_equals(rec.body, json))
		fail_msg("%s, %s expected", fake_json(rec.body), json);
}

#define URGENT CW_RECORD_URGENT

static inline void expect_event(const char *name, unsigned level, const char *json)
{
	expect_record_of(NULL, CW_KIND_EVENT, name, level, level == CW_EVENT_INFO ? 0 : URGENT, json);
}

static inline void expect_properties(const char *json)
{
	expect_record_of(NULL, CW_KIND_PROPERTIES, NULL, 0, 0, json);
}

static inline void expect_no_record(void)
{
	struct fake_blob *b = fake_next(&f.records);

	if (b != NULL)
		fail_msg("a record: %s", fake_json(cw_bytes_of(b->ptr, b->len)));
}

static inline void expect_done(uint64_t id, int code, const char *json)
{
	struct fake_blob *b = fake_next(&f.done);

	if (b == NULL)
		fail_msg("command %u has not ended", (unsigned)id);
	assert_int_equal(b->tag, id);
	if (b->code != code || !fake_equals(cw_bytes_of(b->ptr, b->len), json))
		fail_msg("%d %s, %d %s expected", b->code, fake_json(cw_bytes_of(b->ptr, b->len)), code, json);
}

static inline void expect_running(void)
{
	struct fake_blob *b = fake_next(&f.done);

	if (b != NULL)
		fail_msg("ended with %d %s", b->code, fake_json(cw_bytes_of(b->ptr, b->len)));
}

static inline int call(const char *service, const char *json, uint64_t id)
{
	return fake_command(&f, CW_KIND_SERVICE, service, json, id, 7500);
}

/* Attached and quiet, nothing left to be heard. */
static inline void attach(const char *settings)
{
	start(settings);
	tell("");
	fake_forget(&f);
}

static inline uint64_t counter(const char *name)
{
	const struct cw_plugin_counter *c = cw_plugin_entry()->counters;
	unsigned i;

	for (i = 0; c[i].name != NULL; i++)
		if (strcmp(c[i].name, name) == 0)
			return f.counters[i];
	fail_msg("no counter %s", name);
	return 0;
}

#define T "023a091a090c" /* 2012-09-26 09:58:02 in China */
#define T_MS "1348624682000"
#define T_DATE "\"" T_MS "\""

#endif
