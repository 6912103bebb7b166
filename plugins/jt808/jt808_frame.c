/*
 * jt808_frame.c - bytes to frames and back, headers of all editions.
 *
 * A frame is 7e .. 7e with 7d 01 and 7d 02 standing for 7d and 7e. Senders that
 * share one delimiter between two frames exist, so bytes that do not start with
 * 7e may be a frame too, if they are right in every respect; anything else before
 * a 7e is noise. The delimiter that ended a bad candidate can start the next one.
 */
#include "jt808.h"

#define DELIM 0x7e
#define ESC 0x7d
#define CONTENT_MIN 13

/* 1 when none of the eight bytes is 7d or 7e: nearly all are not, so frames are copied eight bytes at a time. */
static int is_plain(uint64_t w)
{
	const uint64_t low = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t a = w ^ ESC * low, b = w ^ DELIM * low;

	return ((((a - low) & ~a) | ((b - low) & ~b)) & high) == 0;
}

/* Copies what needs no escape, in eights; returns how much. */
static size_t copy_plain(const uint8_t *in, size_t len, uint8_t *out)
{
	uint64_t w;
	size_t i = 0;

	for (; i + 8 <= len; i += 8) {
		memcpy(&w, in + i, 8);
		if (!is_plain(w))
			break;
		memcpy(out + i, &w, 8);
	}
	return i;
}

/* Unescape; returns the length, *ret_bad set when a 7d stood alone or a 7e was inside. */
static size_t unescape(struct cw_bytes in, uint8_t *out, size_t size, int *ret_bad)
{
	size_t i = copy_plain(in.ptr, in.len < size ? in.len : size, out), n = i;

	*ret_bad = 0;
	while (i < in.len && n < size) {
		uint8_t b = in.ptr[i++];

		if (b == ESC) {
			if (i < in.len && (in.ptr[i] == 1 || in.ptr[i] == 2))
				b = (uint8_t)(ESC + in.ptr[i++] - 1);
			else
				*ret_bad = 1;
		} else if (b == DELIM) {
			*ret_bad = 1;
		}
		out[n++] = b;
	}
	return n;
}

static uint8_t xor_of(const uint8_t *p, size_t n)
{
	uint64_t acc = 0, w;
	uint8_t x = 0;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		memcpy(&w, p + i, 8);
		acc ^= w;
	}
	for (; i < n; i++)
		x ^= p[i];
	acc ^= acc >> 32;
	acc ^= acc >> 16;
	acc ^= acc >> 8;
	return (uint8_t)(x ^ (acc & 0xff));
}

static int decimal(const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if ((p[i] >> 4) > 9 || (p[i] & 15) > 9)
			return 0;
	return 1;
}

/* Choose the layout by the length equation; bit 14 only breaks the tie. */
static void choose_layout(struct jt_msg *m, size_t n)
{
	size_t parts = m->attr & 0x2000u ? 4 : 0, len = m->attr & 0x3ffu;
	int bit = (m->attr >> 14) & 1;
	int fits_wide = n == 17 + parts + len + 1, fits_narrow = n == 12 + parts + len + 1;

	m->wide = (uint8_t)bit;
	if (bit ? fits_wide : fits_narrow)
		return;
	if ((m->id == 0x5501 || m->id == 0x5502) && n == 11 + len + 1) {
		m->vendor = 1;
		m->wide = 0;
	} else if (fits_wide || fits_narrow) {
		m->wide = (uint8_t)fits_wide;
		m->flaws |= JT_FLAW_LAYOUT;
	} else {
		m->flaws |= JT_FLAW_LENGTH;
	}
}

static int read_header(uint8_t *p, size_t n, struct jt_msg *m)
{
	struct cw_reader r = cw_reader_of(cw_bytes_of(p, n - 1));
	struct cw_bytes number;

	m->id = cw_read_u16be(&r);
	m->attr = cw_read_u16be(&r);
	m->length_said = m->attr & 0x3ffu;
	choose_layout(m, n);
	m->version = m->wide ? cw_read_u8(&r) : 0;
	m->number_len = m->wide ? 10 : 6;
	number = cw_read_bytes(&r, m->number_len);
	m->serial = m->vendor ? cw_read_u8(&r) : cw_read_u16be(&r);
	if ((m->attr & 0x2000u) && !m->vendor) {
		m->total = cw_read_u16be(&r);
		m->index = cw_read_u16be(&r);
	}
	if (r.short_read)
		return CW_EPROTO;
	memcpy(m->number, number.ptr, number.len);
	m->body = cw_read_rest(&r);
	if (!decimal(m->number, m->number_len))
		m->flaws |= JT_FLAW_NUMBER;
	return 0;
}

int jt_parse(struct cw_decoder *d, struct cw_bytes frame, uint8_t edition_default, struct jt_msg *ret)
{
	size_t n;
	int bad, rc;

	if (frame.len > 0 && frame.ptr[0] == DELIM)
		frame = cw_bytes_of(frame.ptr + 1, frame.len - 1);
	if (frame.len > 0 && frame.ptr[frame.len - 1] == DELIM)
		frame.len--;
	memset(ret, 0, sizeof(*ret));
	n = unescape(frame, d->content, JT_CONTENT_MAX, &bad);
	if (n < CONTENT_MIN)
		return CW_EPROTO;
	ret->sum = d->content[n - 1];
	ret->sum_made = xor_of(d->content, n - 1);
	if (bad)
		ret->flaws |= JT_FLAW_ESCAPE;
	if (ret->sum != ret->sum_made)
		ret->flaws |= JT_FLAW_SUM;
	rc = read_header(d->content, n, ret);
	if (rc < 0)
		return rc;
	ret->edition = ret->wide ? JT_2019 : edition_default;
	if (ret->id == 0x0100 && !ret->wide && ret->total == 0 && !(ret->attr & 0x1c00u))
		ret->edition = ret->body.len < 37 ? JT_2011 : JT_2013;
	return 0;
}

int jt_acceptable(const struct jt_msg *m, int strict)
{
	if (m->flaws & JT_FLAW_SUM)
		return 0;
	/* A part of the wrong length would shift everything behind it: never usable. */
	if ((m->flaws & JT_FLAW_LENGTH) && m->total != 0)
		return 0;
	return !strict || (m->flaws & (JT_FLAW_ESCAPE | JT_FLAW_LAYOUT | JT_FLAW_LENGTH | JT_FLAW_NUMBER)) == 0;
}

/* 1 when the content between delimiters is a right frame; *ret_missing: bytes the header says are still to come. */
static int whole(struct cw_decoder *d, struct cw_bytes content, size_t *ret_missing)
{
	struct jt_msg m;
	size_t have, want;

	*ret_missing = 0;
	if (content.len > JT_FRAME_MAX || jt_parse(d, content, JT_2013, &m) < 0)
		return 0;
	if (!(m.flaws & (JT_FLAW_SUM | JT_FLAW_LENGTH)))
		return 1;
	have = m.body.len;
	want = m.length_said;
	if ((m.flaws & JT_FLAW_SUM) && (m.flaws & JT_FLAW_LENGTH) && want > have)
		*ret_missing = want - have;
	return 0;
}

/* Frame [0, end] failed and says that bytes are missing: an unescaped 7e may have cut it (sheet Q6). Returns the length that
 * makes it right, 0 when none does; *ret_wait when more bytes could still tell. */
static size_t join(struct cw_decoder *d, struct cw_bytes in, size_t end, int *ret_wait)
{
	size_t missing, pos = end;

	*ret_wait = 0;
	if (whole(d, cw_bytes_of(in.ptr + 1, end - 1), &missing) || missing == 0)
		return 0;
	while (pos + 1 < in.len) {
		const uint8_t *next = memchr(in.ptr + pos + 1, DELIM, in.len - pos - 1);
		size_t still;

		if (next == NULL)
			break;
		pos = (size_t)(next - in.ptr);
		if (pos > JT_FRAME_MAX)
			return 0;
		if (whole(d, cw_bytes_of(in.ptr + 1, pos - 1), &still))
			return pos + 1;
		if (still == 0)
			return 0;
	}
	*ret_wait = in.len <= end + 2 * missing + 4;
	return 0;
}

int jt_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	const struct jt_conf *conf = ev->conf;
	const struct jt_conn *c = ev->conn_ctx == NULL ? NULL : *ev->conn_ctx;
	int inspect = (ev->flags & CW_EVF_INSPECT) != 0;
	const uint8_t *next;
	size_t start = 0, end, missing, joined;
	int wait;

	memset(ret_cut, 0, sizeof(*ret_cut));
	if (in.len == 0)
		return 0;
	if (in.ptr[0] != DELIM) {
		next = memchr(in.ptr, DELIM, in.len);
		if (next == NULL) {
			/* Only after a frame can these be the next one with a shared delimiter. */
			if (c == NULL || !c->seen || in.len > JT_FRAME_MAX)
				ret_cut->skip = in.len;
			return 0;
		}
		end = (size_t)(next - in.ptr);
		if ((c != NULL ? c->seen : inspect) && whole(d, cw_bytes_of(in.ptr, end), &missing)) {
			ret_cut->length = end + 1;
			return 0;
		}
		start = end;
	}
	while (start + 1 < in.len && in.ptr[start + 1] == DELIM)
		start++;
	ret_cut->skip = start;
	in = cw_bytes_of(in.ptr + start, in.len - start);
	next = in.len > 1 ? memchr(in.ptr + 1, DELIM, in.len - 1) : NULL;
	if (next == NULL) {
		if (in.len > JT_FRAME_MAX)
			ret_cut->skip += in.len;
		return 0;
	}
	end = (size_t)(next - in.ptr);
	if (end > JT_FRAME_MAX) {
		ret_cut->skip += end;
		return 0;
	}
	ret_cut->length = end + 1;
	if (inspect || (conf != NULL && conf->join_unescaped)) {
		joined = join(d, in, end, &wait);
		if (joined > 0)
			ret_cut->length = joined;
		else if (wait && !inspect)
			ret_cut->length = 0;
	}
	return 0;
}

static size_t escape(const uint8_t *p, size_t n, uint8_t *out)
{
	size_t i = copy_plain(p, n, out), len = i;

	for (; i < n; i++) {
		if (p[i] == ESC || p[i] == DELIM) {
			out[len++] = ESC;
			out[len++] = p[i] == ESC ? 1 : 2;
		} else {
			out[len++] = p[i];
		}
	}
	return len;
}

size_t jt_build(const struct jt_conn *c, uint16_t id, uint16_t serial, unsigned total, unsigned index, struct cw_bytes body, uint8_t *out)
{
	uint8_t head[24], tail;
	struct cw_writer w = cw_writer_of(head, sizeof(head));
	size_t n = 0;

	cw_write_u16be(&w, id);
	cw_write_u16be(&w, (uint16_t)(body.len | (total > 0 ? 0x2000u : 0) | (c->bit14 ? 0x4000u : 0)));
	if (c->wide)
		cw_write_u8(&w, c->version);
	cw_write_raw(&w, c->number, c->wide ? 10 : 6);
	cw_write_u16be(&w, serial);
	if (total > 0) {
		cw_write_u16be(&w, (uint16_t)total);
		cw_write_u16be(&w, (uint16_t)index);
	}
	tail = (uint8_t)(xor_of(head, w.len) ^ xor_of(body.ptr, body.len));
	out[n++] = DELIM;
	n += escape(head, w.len, out + n);
	n += escape(body.ptr, body.len, out + n);
	n += escape(&tail, 1, out + n);
	out[n++] = DELIM;
	return n;
}

size_t jt_number_text(const uint8_t *number, unsigned len, char *out)
{
	static const char digit[] = "0123456789abcdef";
	unsigned i;

	for (i = 0; i < len; i++) {
		out[2 * i] = digit[number[i] >> 4];
		out[2 * i + 1] = digit[number[i] & 15];
	}
	out[2 * len] = 0;
	return 2 * len;
}

/* 14 digits of an IMEI and the digit that Luhn's rule adds. */
static size_t imei_of(const uint8_t *number, char *out)
{
	uint64_t v = 0;
	unsigned i, sum = 0;

	for (i = 0; i < 6; i++)
		v = v << 8 | number[i];
	if (v > 99999999999999u)
		return 0;
	for (i = 14; i > 0; i--, v /= 10)
		out[i - 1] = (char)('0' + v % 10);
	for (i = 0; i < 14; i++) {
		unsigned x = (unsigned)(out[i] - '0') * (i % 2 == 1 ? 2 : 1);

		sum += x > 9 ? x - 9 : x;
	}
	out[14] = (char)('0' + (10 - sum % 10) % 10);
	out[15] = 0;
	return 15;
}

size_t jt_identity(const struct jt_conf *conf, const uint8_t *number, unsigned len, char *out)
{
	char text[24];
	size_t n = jt_number_text(number, len, text), lead = 0;

	if (!decimal(number, len)) {
		if (conf->imei && len == 6) {
			size_t k = imei_of(number, out);

			if (k > 0)
				return k;
		}
		memcpy(out, text, n + 1);
		return n;
	}
	while (lead < n && text[lead] == '0')
		lead++;
	memcpy(out, text + lead, n - lead + 1);
	return n - lead;
}

const char *jt_edition_name(int edition)
{
	return edition == JT_2011 ? "2011" : edition == JT_2013 ? "2013" : "2019";
}
