/*
 * hj212_frame.c - where a frame begins and ends, and its checksum.
 *
 * A frame is `##`, four digits, a segment of so many bytes, four hex digits, CR LF. What devices send differs, so an end
 * is also found where the checksum proves it: at a line end before or behind the place that the length names, or at the
 * right place with another end. Nothing here depends on settings: a frame is cut, and judged later.
 */
#include "hj212.h"

#include <stdio.h>

#define CANDIDATES 4 /* inner starts and line ends looked at: a hostile stream must not cost a checksum a byte */

/* Polynomial 0xA001, reflected: eight rounds, four at a time. */
static unsigned eight_rounds(unsigned reg)
{
	static const uint16_t four[16] = {
		0x0000, 0xcc01, 0xd801, 0x1400, 0xf001, 0x3c00, 0x2800, 0xe401, 0xa001, 0x6c00, 0x7800, 0xb401, 0x5000, 0x9c01, 0x8801, 0x4400,
	};

	reg = reg >> 4 ^ four[reg & 15];
	return reg >> 4 ^ four[reg & 15];
}

/* Not that of MODBUS: the register is shifted before the byte is merged, so that its low byte is lost each time. */
uint16_t hj_crc(const void *ptr, size_t len)
{
	const uint8_t *p = ptr;
	unsigned reg = 0xffff;
	size_t i;

	for (i = 0; i < len; i++)
		reg = eight_rounds(reg >> 8 ^ p[i]);
	return (uint16_t)reg;
}

static uint16_t modbus_crc(const uint8_t *p, size_t len)
{
	unsigned reg = 0xffff;
	size_t i;

	for (i = 0; i < len; i++)
		reg = eight_rounds(reg ^ p[i]);
	return (uint16_t)reg;
}

/* Some write the low byte first. */
static int is_modbus(const uint8_t *segment, size_t len, uint16_t got)
{
	uint16_t v = modbus_crc(segment, len);

	return got == v || got == (uint16_t)(v << 8 | v >> 8);
}

static int hex4(const uint8_t *p, uint16_t *ret)
{
	unsigned v = 0, i;

	for (i = 0; i < 4; i++) {
		uint8_t c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v << 4 | (unsigned)((c | 32) - 'a' + 10);
		else
			return 0;
	}
	*ret = (uint16_t)v;
	return 1;
}

/* The four hex digits at `crc` prove the bytes from `segment` up to them. */
static int proven(const uint8_t *segment, const uint8_t *crc)
{
	size_t len = (size_t)(crc - segment);
	uint16_t got;

	return hex4(crc, &got) && (got == hj_crc(segment, len) || is_modbus(segment, len, got));
}

/* `##` and four digits at `at`, as far as there are bytes. 1 all there, 2 may become one, 0 not. */
static int starts(struct cw_bytes in, size_t at)
{
	size_t i;

	for (i = 0; i < 6; i++) {
		if (at + i >= in.len)
			return 2;
		if (i < 2 ? in.ptr[at + i] != '#' : in.ptr[at + i] < '0' || in.ptr[at + i] > '9')
			return 0;
	}
	return 1;
}

static size_t find_start(struct cw_bytes in, size_t from)
{
	while (from < in.len) {
		const uint8_t *p = memchr(in.ptr + from, '#', in.len - from);

		if (p == NULL)
			return in.len;
		from = (size_t)(p - in.ptr);
		if (starts(in, from))
			return from;
		from++;
	}
	return in.len;
}

static unsigned number4(const uint8_t *p)
{
	return (unsigned)(p[0] - '0') * 1000u + (unsigned)(p[1] - '0') * 100u + (unsigned)(p[2] - '0') * 10u + (unsigned)(p[3] - '0');
}

/* Where a whole and proven frame starts behind `from`: a start before it was none. 0: there is none. */
static size_t inner_frame(struct cw_bytes in, size_t from)
{
	unsigned tries;

	for (tries = 0; tries < CANDIDATES; tries++, from++) {
		unsigned said;

		from = find_start(in, from);
		if (from >= in.len || starts(in, from) != 1)
			return 0;
		said = number4(in.ptr + from + 2);
		if (said <= HJ_SEGMENT_MAX && in.len - from >= said + 12u && in.ptr[from + said + 10] == '\r' &&
		    in.ptr[from + said + 11] == '\n' && proven(in.ptr + from + 6, in.ptr + from + 6 + said))
			return from;
	}
	return 0;
}

/* Behind the first line end in [from, to) whose line is proven though the length names another place; 0: none. */
static size_t proven_line(struct cw_bytes in, size_t from, size_t to, size_t segment)
{
	unsigned tries;

	for (tries = 0; tries < CANDIDATES && from < to; tries++) {
		const uint8_t *nl = memchr(in.ptr + from, '\n', to - from);
		size_t end;

		if (nl == NULL)
			return 0;
		from = (size_t)(nl - in.ptr) + 1;
		end = from - 1 - (from > segment + 1 && nl[-1] == '\r');
		if (end >= segment + 4 && proven(in.ptr + segment, in.ptr + end - 4))
			return from;
	}
	return 0;
}

static uint64_t wait_of(const struct cw_event *ev)
{
	const struct hj_conf *conf = ev->conf;

	return conf != NULL ? conf->wait_ms : 1000;
}

/* The decode tool has read all there is, but shows a frame without its end as what it is: unfinished. */
static int nothing_follows(const struct cw_event *ev)
{
	return (ev->flags & (CW_EVF_FINAL | CW_EVF_DATAGRAM)) != 0 && (ev->flags & CW_EVF_INSPECT) == 0;
}

/* The checksum fits at its place; what follows is not CR LF. */
static void cut_loose_end(const struct cw_event *ev, struct cw_bytes in, size_t end, struct cw_cut *cut)
{
	int last = nothing_follows(ev);

	if (in.len > end && in.ptr[end] == '\n')
		cut->length = end + 1;
	else if (in.len > end && in.ptr[end] != '\r')
		cut->length = end;
	else if (in.len > end + 1 && in.ptr[end + 1] == '\n')
		cut->length = end + 2;
	else if (in.len > end + 1 || (last && in.len > end))
		cut->length = end + 1;
	else if (last)
		cut->length = end;
	if (cut->length == 0) {
		cut->need = end + 2;
		cut->wait_ms = wait_of(ev);
	}
}

/*
 * Nothing is proven at its place, which is `seen` bytes long: up to the line end it is one frame, proven or broken; or this
 * was no start. What comes first decides, so that it does not matter in which pieces the bytes arrive.
 */
static void cut_line(const struct cw_event *ev, struct cw_bytes in, size_t at, size_t seen, struct cw_cut *cut)
{
	size_t most = in.len - at < HJ_FRAME_MAX ? in.len : at + HJ_FRAME_MAX, next = find_start(in, at + 1);
	const uint8_t *nl = memchr(in.ptr + at, '\n', most - at);
	size_t line = nl == NULL ? SIZE_MAX : (size_t)(nl - in.ptr) + 1;
	int is_start = next < in.len && starts(in, next) == 1;

	if (is_start && next < line && (next + 6 > seen ? next + 6 : seen) <= (line > seen ? line : seen))
		cut->skip = at + 1;
	else if (nl != NULL)
		cut->length = line;
	else if (in.len - at >= HJ_FRAME_MAX || nothing_follows(ev))
		cut->skip = at + 1;
	else
		cut->wait_ms = wait_of(ev);
}

/* A start at `at` with its digits there. */
static void cut_at(const struct cw_event *ev, struct cw_bytes in, size_t at, struct cw_cut *cut)
{
	unsigned said = number4(in.ptr + at + 2);
	size_t segment = at + 6, crc = segment + said, end = crc + 4, found;
	int last = nothing_follows(ev);

	if (said > HJ_SEGMENT_MAX) {
		cut->skip = at + 1;
		return;
	}
	found = proven_line(in, segment, in.len < crc ? in.len : crc, segment);
	if (found != 0) {
		cut->length = found;
		return;
	}
	found = inner_frame(cw_bytes_of(in.ptr, in.len < end ? in.len : end), at + 1);
	if (found != 0) {
		cut->skip = found;
		return;
	}
	if (in.len >= end && proven(in.ptr + segment, in.ptr + crc)) {
		cut_loose_end(ev, in, end, cut);
	} else if (in.len < end + 2 && !last) {
		cut->need = end + 2;
		cut->wait_ms = in.len >= end ? wait_of(ev) : 0;
	} else if (in.len >= end + 2 && in.ptr[end] == '\r' && in.ptr[end + 1] == '\n') {
		cut->length = end + 2; /* with a wrong checksum */
	} else {
		cut_line(ev, in, at, end + 2, cut);
	}
}

int hj_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	size_t at = find_start(in, 0), lead = 0;

	(void)d;
	/* A line end too many stands before the next frame and is shown with it. */
	while (lead < 2 && at > lead && (in.ptr[at - lead - 1] == '\n' || in.ptr[at - lead - 1] == '\r'))
		lead++;
	if (at > lead) {
		ret_cut->skip = at - lead;
		return 0;
	}
	if (at == in.len || starts(in, at) == 2) {
		ret_cut->need = at + 6;
		if (nothing_follows(ev))
			ret_cut->skip = in.len;
		return 0;
	}
	cut_at(ev, in, at, ret_cut);
	return 0;
}

static size_t characters(struct cw_bytes t)
{
	size_t i, n = 0;

	for (i = 0; i < t.len; i++)
		n += (t.ptr[i] & 0xc0) != 0x80;
	return n;
}

/* Characters of a double-byte set. */
static size_t characters_wide(struct cw_bytes t)
{
	size_t i, n = 0;

	for (i = 0; i < t.len; i++, n++)
		if (t.ptr[i] >= 0x81 && i + 1 < t.len)
			i++;
	return n;
}

static void judge_crc(struct hj_msg *m, const uint8_t *crc)
{
	int i;

	m->crc_made = hj_crc(m->segment.ptr, m->segment.len);
	if (!hex4(crc, &m->crc)) {
		m->error = "crc";
		return;
	}
	if (m->crc == m->crc_made) {
		for (i = 0; i < 4; i++)
			if (crc[i] >= 'a')
				m->deviations |= HJ_D(HJ_D_CRC_CASE);
	} else if (is_modbus(m->segment.ptr, m->segment.len, m->crc)) {
		m->deviations |= HJ_D(HJ_D_CRC_MODBUS);
	} else if (m->crc == 0xffff || m->crc == 0) {
		m->deviations |= HJ_D(HJ_D_CRC_UNUSED);
	} else {
		m->error = "crc";
	}
}

void hj_open_frame(struct cw_bytes f, struct hj_msg *m)
{
	size_t lead = 0, end = f.len;

	while (lead < f.len && f.ptr[lead] != '#')
		lead++;
	if (f.len < lead + 10 || starts(f, lead) != 1) {
		m->error = "length";
		return;
	}
	if (f.len > lead + 10 && f.ptr[end - 1] == '\n')
		end--;
	if (end > lead + 10 && f.ptr[end - 1] == '\r')
		end--;
	if (lead > 0 || f.len - end != 2 || f.ptr[end] != '\r')
		m->deviations |= HJ_D(HJ_D_CRLF);
	m->length_said = number4(f.ptr + lead + 2);
	m->segment = cw_bytes_of(f.ptr + lead + 6, end - 4 - (lead + 6));
	if (m->segment.len > HJ_SEGMENT_STD)
		m->deviations |= HJ_D(HJ_D_LENGTH_OVER);
	judge_crc(m, f.ptr + end - 4);
	if (m->segment.len == m->length_said)
		return;
	if (m->error != NULL || (m->deviations & HJ_D(HJ_D_CRC_UNUSED)))
		m->error = "length"; /* nothing proves where it ends */
	else if (characters(m->segment) == m->length_said || characters_wide(m->segment) == m->length_said)
		m->deviations |= HJ_D(HJ_D_LENGTH_COUNT);
	else
		m->deviations |= HJ_D(HJ_D_LENGTH_WRONG);
}

size_t hj_close_frame(char *out, size_t len)
{
	char number[8];

	snprintf(number, sizeof(number), "##%04u", (unsigned)(len <= 9999 ? len : 9999));
	memcpy(out, number, 6);
	snprintf(number, sizeof(number), "%04X", hj_crc(out + 6, len));
	memcpy(out + 6 + len, number, 4);
	memcpy(out + 10 + len, "\r\n", 2);
	return len + 12;
}
