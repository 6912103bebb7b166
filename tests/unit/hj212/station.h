/* station.h - a station's side of the conversation: frames built and read without the decoder's own code. */
#ifndef TEST_HJ212_STATION_H
#define TEST_HJ212_STATION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"

#define MN "010000A8900016F000169DC0"
#define NOW 1795248000000 /* 2026-11-21 08:00:00 UTC, 16:00 at the station */
#define Q1 "20261121160000001"

static struct fake f;

static inline unsigned station_crc(const char *p, size_t n)
{
	unsigned reg = 0xffff, bit;
	size_t i;

	for (i = 0; i < n; i++) {
		reg = (reg >> 8) ^ (unsigned char)p[i];
		for (bit = 0; bit < 8; bit++)
			reg = reg & 1 ? reg >> 1 ^ 0xa001 : reg >> 1;
	}
	return reg;
}

static inline size_t station_frame(char *to, const char *segment, const char *end)
{
	size_t n = strlen(segment);

	return (size_t)sprintf(to, "##%04zu%s%04X%s", n, segment, station_crc(segment, n), end);
}

static inline void tell_bytes(const char *text)
{
	fake_feed(&f, cw_bytes_text(text));
}

/* A segment, framed. */
static inline void tell(const char *segment)
{
	char frame[9000];

	station_frame(frame, segment, "\r\n");
	tell_bytes(frame);
}

static inline void start(const char *settings)
{
	fake_init(&f, cw_plugin_entry(), settings);
	f.now_ms = NOW;
	fake_open(&f);
}

static inline int check_and_end(void **state)
{
	(void)state;
	fake_fini(&f);
	return cw_mem_live() == 0 ? 0 : -1;
}

static inline const char *heard(void)
{
	static char text[4][6000];
	static int turn;
	struct fake_blob *b = fake_next(&f.sent);
	char *to = text[turn++ % 4];

	if (b == NULL)
		return NULL;
	assert_true(b->len < sizeof(text[0]));
	memcpy(to, b->ptr, b->len);
	to[b->len] = 0;
	return to;
}

/* The next thing sent is this segment, framed. */
static inline void expect(const char *segment)
{
	char frame[9000];
	const char *got = heard();

	station_frame(frame, segment, "\r\n");
	if (got == NULL)
		fail_msg("nothing was sent, %s expected", segment);
	if (strcmp(got, frame) != 0)
		fail_msg("%s was sent, %s expected", got, frame);
}

static inline void expect_silence(void)
{
	const char *got = heard();

	if (got != NULL)
		fail_msg("%s was sent", got);
}

static inline struct cw_record expect_record(unsigned kind, const char *name, const char *json)
{
	struct fake_blob *b = fake_next(&f.records);
	struct cw_record rec;

	if (b == NULL)
		fail_msg("no record, %s expected", json);
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	if (rec.kind != kind)
		fail_msg("kind %u: %s", rec.kind, fake_json(rec.body));
	if (name != NULL && !cw_bytes_equal(rec.name, cw_bytes_text(name)))
		fail_msg("record %.*s, %s expected", (int)rec.name.len, (const char *)rec.name.ptr, name);
	if (!fake_equals(rec.body, json))
		fail_msg("%s, %s expected", fake_json(rec.body), json);
	return rec;
}

static inline void expect_no_record(void)
{
	struct fake_blob *b = fake_next(&f.records);
	struct cw_record rec;

	if (b == NULL)
		return;
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	fail_msg("record %s", fake_json(rec.body));
}

static inline uint64_t counter(const char *name)
{
	size_t i;

	for (i = 0; f.desc->counters[i].name != NULL; i++)
		if (strcmp(f.desc->counters[i].name, name) == 0)
			return f.counters[i];
	fail_msg("no counter %s", name);
	return 0;
}

/* The command has ended so; its reply (NULL: any). */
static inline void expect_done(uint64_t id, int code, const char *json)
{
	struct fake_blob *b = fake_next(&f.done);

	if (b == NULL)
		fail_msg("command %u has not ended", (unsigned)id);
	assert_int_equal(b->tag, id);
	if (b->code != code)
		fail_msg("code %d, %d expected: %s", b->code, code, b->len > 0 ? fake_json(cw_bytes_of(b->ptr, b->len)) : "");
	if (json != NULL && !fake_equals(cw_bytes_of(b->ptr, b->len), json))
		fail_msg("%s, %s expected", fake_json(cw_bytes_of(b->ptr, b->len)), json);
}

/* A real-time upload by which the device is known; nothing of it is left to be looked at. */
static inline void come(void)
{
	tell("QN=" Q1 ";ST=32;CN=2021;PW=123456;MN=" MN ";Flag=4;CP=&&DataTime=20261121160000;SB1-RS=1&&");
	fake_forget(&f);
}

#endif
