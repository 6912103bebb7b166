/* terminal.h - frames as a terminal sends them, built without the decoder's own code. */
#ifndef TEST_JT808_TERMINAL_H
#define TEST_JT808_TERMINAL_H

#include <stdio.h>
#include <string.h>

#include "fake_host.h"
#include "../../../plugins/jt808/jt808.h"

struct terminal {
	int edition;        /* 2013: short header, 2019: long */
	const char *number; /* 12 or 20 digits */
	unsigned serial;
	unsigned attr;      /* further attribute bits */
};

struct message {
	unsigned id, attr, serial, total, index;
	int edition;
	char number[24];
	char body[4200];
};

static inline size_t sizeof_connection(void)
{
	return sizeof(struct jt_conn);
}

static inline const char *terminal_part(struct terminal *t, unsigned id, unsigned total, unsigned index, const char *body)
{
	static char out[4][9000];
	static int turn;
	char plain[4300], *to = out[turn++ % 4], *start = to;
	unsigned x = 0, v;
	size_t n, i;

	n = (size_t)snprintf(plain, sizeof(plain), "%04x%04x%s%s%04x", id,
	                     (unsigned)(strlen(body) / 2) | t->attr | (t->edition == 2019 ? 0x4000u : 0) | (total ? 0x2000u : 0),
	                     t->edition == 2019 ? "01" : "", t->number, t->serial++ & 0xffffu);
	if (total > 0)
		n += (size_t)snprintf(plain + n, sizeof(plain) - n, "%04x%04x", total, index);
	n += (size_t)snprintf(plain + n, sizeof(plain) - n, "%s", body);
	for (i = 0; i < n; i += 2) {
		sscanf(plain + i, "%2x", &v);
		x ^= v;
	}
	snprintf(plain + n, sizeof(plain) - n, "%02x", x);
	to += sprintf(to, "7e");
	for (i = 0; i < n + 2; i += 2) {
		sscanf(plain + i, "%2x", &v);
		to += sprintf(to, v == 0x7e ? "7d02" : v == 0x7d ? "7d01" : "%02x", v);
	}
	strcpy(to, "7e");
	return start;
}

static inline const char *terminal_frame(struct terminal *t, unsigned id, const char *body)
{
	return terminal_part(t, id, 0, 0, body);
}

/* Take a frame of ours apart, checksum verified. 0 when there is none or it is wrong. */
static inline int terminal_read(const struct fake_blob *b, struct message *m)
{
	uint8_t p[2200];
	size_t n = 0, i, at, head;
	unsigned x = 0;

	if (b == NULL || b->len < 15 || b->ptr[0] != 0x7e || b->ptr[b->len - 1] != 0x7e)
		return 0;
	for (i = 1; i + 1 < b->len; i++) {
		p[n] = b->ptr[i];
		if (b->ptr[i] == 0x7d) {
			p[n] = b->ptr[++i] == 1 ? 0x7d : 0x7e;
		}
		x ^= p[n++];
	}
	if (x != 0)
		return 0;
	memset(m, 0, sizeof(*m));
	m->id = (unsigned)(p[0] << 8 | p[1]);
	m->attr = (unsigned)(p[2] << 8 | p[3]);
	m->edition = m->attr & 0x4000u ? 2019 : 2013;
	at = m->edition == 2019 ? 5 : 4;
	for (i = 0; i < (m->edition == 2019 ? 10u : 6u); i++)
		sprintf(m->number + 2 * i, "%02x", p[at + i]);
	at += i;
	m->serial = (unsigned)(p[at] << 8 | p[at + 1]);
	head = at + 2;
	if (m->attr & 0x2000u) {
		m->total = (unsigned)(p[head] << 8 | p[head + 1]);
		m->index = (unsigned)(p[head + 2] << 8 | p[head + 3]);
		head += 4;
	}
	if (n - 1 - head != (m->attr & 0x3ffu))
		return 0;
	for (i = head; i < n - 1; i++)
		sprintf(m->body + 2 * (i - head), "%02x", p[i]);
	return 1;
}

#endif
