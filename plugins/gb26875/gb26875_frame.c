/*
 * gb26875_frame.c - bytes to frames and back (clause 6).
 *
 * There is no byte stuffing: only the length says where a frame ends, and 40 40 or 23 23 may stand inside. When a start
 * marker turns out to begin no frame, the search goes on one byte behind it. The bad frame is yet handed to decode(), which
 * denies it: all of it when no good frame can begin inside, else what stands before that. What is cut is therefore the head
 * of a frame at least, with its serial and addresses, or nothing.
 */
#include "gb26875.h"

enum { BAD, GOOD, MORE };

uint8_t gb_sum(const uint8_t *p, size_t n)
{
	unsigned sum = 0;

	while (n-- > 0)
		sum += *p++;
	return (uint8_t)sum;
}

static size_t length_at(const uint8_t *p)
{
	return (size_t)p[24] | (size_t)p[25] << 8;
}

/* What begins at p, where there are n bytes; *ret_error says what is wrong with it, *ret_total how long it would be. */
static int judge(const uint8_t *p, size_t n, int *ret_error, size_t *ret_total)
{
	size_t len;

	*ret_error = GB_OK;
	*ret_total = 0;
	if (n < GB_HEAD)
		return MORE;
	len = length_at(p);
	if (len > GB_ADU_MAX) {
		*ret_error = GB_E_LENGTH;
		return BAD;
	}
	*ret_total = GB_HEAD + len + GB_TAIL;
	if (n < *ret_total)
		return MORE;
	if (p[*ret_total - 2] != 0x23 || p[*ret_total - 1] != 0x23) {
		*ret_error = GB_E_TERMINATOR;
		return BAD;
	}
	if (gb_sum(p + 2, GB_HEAD - 2 + len) != p[GB_HEAD + len]) {
		*ret_error = GB_E_CHECKSUM;
		return BAD;
	}
	return GOOD;
}

/* Where the next start marker is, from `at` on; a lone 40 at the end may be one. `n` when there is none. */
static size_t next_start(const uint8_t *p, size_t at, size_t n)
{
	for (; at < n; at++) {
		const uint8_t *hit = memchr(p + at, 0x40, n - at);

		if (hit == NULL)
			return n;
		at = (size_t)(hit - p);
		if (at + 1 == n || p[at + 1] == 0x40)
			return at;
	}
	return n;
}

/*
 * How much of the bad frame at p goes to decode(): all of it, or up to what may be a good frame inside it. 0: that begins
 * inside the head; *ret_skip leads there. Only the bytes of the frame count, so that it is cut alike however much is there.
 */
static size_t bad_length(const uint8_t *p, size_t total, size_t *ret_skip)
{
	size_t at, inner, most = total > 0 ? total : GB_HEAD;
	int error;

	for (at = next_start(p, 1, most); at < most; at = next_start(p, at + 1, most)) {
		if (judge(p + at, most - at, &error, &inner) == BAD)
			continue;
		*ret_skip = at;
		return at < GB_HEAD ? 0 : at;
	}
	return most;
}

/*
 * A frame that is not all here: 0, or where a whole good one begins among its first `most` bytes. A head (27) holds none, so
 * this start was noise, and need not be waited for. Data may hold frames: what begins there proves nothing.
 */
static size_t good_inside(const uint8_t *p, size_t n, size_t most)
{
	size_t at, inner;
	int error;

	for (at = next_start(p, 1, n); at < n && at < most; at = next_start(p, at + 1, n))
		if (judge(p + at, n - at, &error, &inner) == GOOD)
			return at;
	return 0;
}

int gb_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret)
{
	const struct gb_conf *conf = ev->conf != NULL ? ev->conf : d->fallback;
	size_t at = next_start(in.ptr, 0, in.len), total, skip = 1;
	int error;

	if (at > 0) {
		ret->skip = at;
		return 0;
	}
	switch (judge(in.ptr, in.len, &error, &total)) {
	case GOOD:
		ret->length = total;
		return 0;
	case BAD:
		ret->length = bad_length(in.ptr, total, &skip);
		if (ret->length == 0)
			ret->skip = skip;
		return 0;
	default:
		/* A tool says what is missing of a frame rather than that it is noise, unless a good one follows. */
		if ((ev->flags & (CW_EVF_FINAL | CW_EVF_INSPECT)) == CW_EVF_FINAL) {
			ret->skip = next_start(in.ptr, 1, in.len);
		} else if ((skip = good_inside(in.ptr, in.len, ev->flags & CW_EVF_FINAL ? in.len : GB_HEAD)) > 0) {
			ret->skip = skip;
		} else {
			ret->need = total > 0 ? total : GB_HEAD + GB_TAIL;
			ret->wait_ms = conf->incomplete_ms;
		}
		return 0;
	}
}

int gb_parse(struct cw_bytes frame, struct gb_msg *m)
{
	struct cw_reader r = cw_reader_of(frame);
	size_t total;
	int error;

	memset(m, 0, sizeof(*m));
	if (frame.len < GB_HEAD || cw_read_u16be(&r) != 0x4040)
		return 0;
	m->serial = cw_read_u16le(&r);
	m->version_main = cw_read_u8(&r);
	m->version_user = cw_read_u8(&r);
	m->time = cw_read_bytes(&r, 6).ptr;
	m->source = cw_read_bytes(&r, 6).ptr;
	m->destination = cw_read_bytes(&r, 6).ptr;
	m->length = cw_read_u16le(&r);
	m->command = cw_read_u8(&r);
	if (judge(frame.ptr, frame.len, &error, &total) == MORE)
		error = GB_E_TERMINATOR; /* cut at a start marker, so it has no end of its own */
	m->error = (uint8_t)error;
	if (frame.len < total || total == 0)
		return 1;
	m->adu = cw_read_bytes(&r, m->length);
	m->sum = cw_read_u8(&r);
	m->sum_made = gb_sum(frame.ptr + 2, GB_HEAD - 2 + m->adu.len);
	return 1;
}

size_t gb_build(uint8_t *out, const struct gb_msg *m)
{
	struct cw_writer w = cw_writer_of(out, GB_FRAME_MAX);

	cw_write_u16be(&w, 0x4040);
	cw_write_u16le(&w, m->serial);
	cw_write_u8(&w, m->version_main);
	cw_write_u8(&w, m->version_user);
	cw_write_raw(&w, m->time, 6);
	cw_write_raw(&w, m->source, 6);
	cw_write_raw(&w, m->destination, 6);
	cw_write_u16le(&w, (uint16_t)m->adu.len);
	cw_write_u8(&w, m->command);
	cw_write_bytes(&w, m->adu);
	cw_write_u8(&w, gb_sum(out + 2, w.len - 2));
	cw_write_u16be(&w, 0x2323);
	return w.overflow ? 0 : w.len;
}

const char *gb_error_name(int error)
{
	static const char *const names[] = { "", "length", "terminator", "checksum", "command", "adu" };

	return names[error];
}

const char *gb_command_name(uint8_t command)
{
	static const char *const names[] = { "reserved", "control", "send", "confirm", "request", "response", "deny" };

	return command < sizeof(names) / sizeof(names[0]) ? names[command] : command < 128 ? "reserved" : "userDefined";
}
