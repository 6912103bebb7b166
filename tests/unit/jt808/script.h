/* script.h - a test's conversation with the decoder: what the terminal tells, what it must hear, what must be published. */
#ifndef TEST_JT808_SCRIPT_H
#define TEST_JT808_SCRIPT_H

#include "base/mem.h"
#include "fake_host.h"
#include "terminal.h"

static struct fake f;
static struct terminal t;

static inline void start(const char *settings)
{
	fake_init(&f, cw_plugin_entry(), settings);
	fake_open(&f);
	t = (struct terminal){ .edition = 2013, .number = "013800000001" };
}

static inline int check_and_end(void **state)
{
	(void)state;
	fake_fini(&f);
	return cw_mem_live() == 0 ? 0 : -1;
}

static inline void tell(unsigned id, const char *body_hex)
{
	fake_feed_hex(&f, terminal_frame(&t, id, body_hex));
}

/* The next message sent to the terminal is this one with this body. */
static inline void expect(unsigned id, const char *body_hex)
{
	struct message m;

	if (!terminal_read(fake_next(&f.sent), &m))
		fail_msg("nothing was sent, 0x%04x %s expected", id, body_hex);
	if (m.id != id || strcmp(m.body, body_hex) != 0)
		fail_msg("0x%04x %s was sent, 0x%04x %s expected", m.id, m.body, id, body_hex);
}

static inline void expect_silence(void)
{
	struct fake_blob *b = fake_next(&f.sent);

	if (b != NULL)
		fail_msg("%s was sent", fake_hex(b));
}

static inline void expect_record(unsigned kind, const char *name, const char *json)
{
	struct fake_blob *b = fake_next(&f.records);
	struct cw_record rec;

	if (b == NULL)
		fail_msg("no record, %s expected", json);
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	assert_int_equal(rec.kind, kind);
	if (name != NULL && !cw_bytes_equal(rec.name, cw_bytes_text(name)))
		fail_msg("record %.*s, %s expected", (int)rec.name.len, (const char *)rec.name.ptr, name);
	if (!fake_equals(rec.body, json))
		fail_msg("%s, %s expected", fake_json(rec.body), json);
}

#define REGISTER_2013 "002c012f" "3730313131" "42534a2d41362d424400000000000000000000" "00" "30353637383732" "01" "d4c1423838383838"
#define FIX "00000000" "00000003" "01597fa8" "06cc0158" "0080" "0258" "0008"
#define TIME "261121155900" /* 07:59 UTC */

#define MEDIA_HEAD "0000007b" "00" "00" "01" "02" FIX TIME

static inline void part(unsigned id, unsigned total, unsigned index, const char *body)
{
	fake_feed_hex(&f, terminal_part(&t, id, total, index, body));
}

static char code[64];

static inline void register_it(void)
{
	struct message m;

	tell(0x0100, REGISTER_2013);
	assert_true(terminal_read(fake_next(&f.sent), &m));
	assert_int_equal(m.id, 0x8100);
	assert_int_equal(strlen(m.body), 6 + 32);
	assert_memory_equal(m.body + 4, "00", 2);
	strcpy(code, m.body + 6);
}

static inline void go_online(void)
{
	register_it();
	tell(0x0102, code);
	fake_forget(&f);
}

#endif
