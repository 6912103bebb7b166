/*
 * hj212_parse.c - a segment to its fields, a data area to its parts.
 *
 * Fields stand before CP in any order. In the data area `;` ends an item and `,` a part of it, `=` a name; texts of logs
 * stand between // and may hold any of these. Devices mix the separators up, so parts are grouped by their code and not
 * by what stood between them. Views point into the frame; nothing is copied.
 */
#include "hj212.h"

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 32) : c;
}

int hj_same_word(struct cw_bytes a, const char *b)
{
	size_t i;

	for (i = 0; i < a.len; i++)
		if (b[i] == 0 || lower(a.ptr[i]) != lower((uint8_t)b[i]))
			return 0;
	return b[i] == 0;
}

int hj_digits(struct cw_bytes t, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i;

	if (t.len == 0 || t.len > 18)
		return 0;
	for (i = 0; i < t.len; i++) {
		if (t.ptr[i] < '0' || t.ptr[i] > '9')
			return 0;
		v = v * 10 + (uint64_t)(t.ptr[i] - '0');
	}
	*ret = v;
	return 1;
}

static int blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct cw_bytes hj_strip(struct cw_bytes t)
{
	while (t.len > 0 && blank(t.ptr[0]))
		t = cw_bytes_of(t.ptr + 1, t.len - 1);
	while (t.len > 0 && blank(t.ptr[t.len - 1]))
		t.len--;
	return t;
}

static struct cw_bytes strip_noted(struct cw_bytes t, struct hj_msg *m)
{
	struct cw_bytes s = hj_strip(t);

	if (s.len != t.len)
		m->deviations |= HJ_D(HJ_D_BLANKS);
	return s;
}

/* ---- the fields before CP ------------------------------------------------------------ */

static const char *const field_names[] = { "QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO" };

static void take_field(struct hj_msg *m, unsigned which, struct cw_bytes value)
{
	struct cw_bytes *const places[] = { &m->qn, &m->st, NULL, &m->pw, &m->mn, &m->flag_text, &m->pnum_text, &m->pno_text };
	uint64_t v = 0;
	int number = hj_digits(value, &v) && v <= 9999;

	if (places[which] != NULL)
		*places[which] = value;
	switch (which) {
	case 2:
		if (!number || value.len > 4)
			m->error = "segment";
		else
			m->cn = (unsigned)v;
		break;
	case 5:
		if (number && v <= 255) {
			m->flag = (unsigned)v;
			m->has_flag = 1;
		} else if (value.len > 0) {
			m->error = "segment";
		}
		break;
	case 6: m->pnum = number ? (unsigned)v : 0; break;
	case 7: m->pno = number ? (unsigned)v : 0; break;
	default: break;
	}
}

/* One field; returns its place in the book's order, -1 when it is none of the book's. */
static int one_field(struct hj_msg *m, struct cw_bytes t)
{
	const uint8_t *eq = t.len == 0 ? NULL : memchr(t.ptr, '=', t.len);
	struct cw_bytes key;
	unsigned i;

	if (eq == NULL)
		return -1;
	key = strip_noted(cw_bytes_of(t.ptr, (size_t)(eq - t.ptr)), m);
	for (i = 0; i < sizeof(field_names) / sizeof(field_names[0]); i++) {
		if (!hj_same_word(key, field_names[i]))
			continue;
		if (!cw_bytes_equal(key, cw_bytes_text(field_names[i])))
			m->deviations |= HJ_D(HJ_D_NAME_CASE);
		take_field(m, i, strip_noted(cw_bytes_of(eq + 1, t.len - (size_t)(eq + 1 - t.ptr)), m));
		return (int)i;
	}
	return -1;
}

/* Where `CP=` begins at a field's start; 0: no. */
static size_t cp_head(struct cw_bytes t, struct hj_msg *m)
{
	size_t i = 0, name;

	while (i < t.len && blank(t.ptr[i]))
		i++;
	name = i;
	if (t.len - i < 3 || lower(t.ptr[i]) != 'c' || lower(t.ptr[i + 1]) != 'p')
		return 0;
	i += 2;
	while (i < t.len && blank(t.ptr[i]))
		i++;
	if (i >= t.len || t.ptr[i] != '=')
		return 0;
	if (t.ptr[name] != 'C' || t.ptr[name + 1] != 'P')
		m->deviations |= HJ_D(HJ_D_NAME_CASE);
	if (i != 2)
		m->deviations |= HJ_D(HJ_D_BLANKS);
	return i + 1;
}

/* The data area without its marks; says which of them are there. */
static void open_cp(struct hj_msg *m, struct cw_bytes raw)
{
	raw = hj_strip(raw);
	m->cp_raw = m->cp = raw;
	if (raw.len >= 2 && memcmp(raw.ptr, "&&", 2) == 0) {
		m->cp_begins = 1;
		m->cp = cw_bytes_of(raw.ptr + 2, raw.len - 2);
	}
	if (m->cp.len >= 2 && memcmp(m->cp.ptr + m->cp.len - 2, "&&", 2) == 0) {
		m->cp_ends = 1;
		m->cp.len -= 2;
	}
}

static void take_segment(struct hj_msg *m)
{
	struct cw_bytes rest = m->segment;
	int last = -1, has_cp = 0;

	while (rest.len > 0) {
		const uint8_t *semi = memchr(rest.ptr, ';', rest.len);
		size_t n = semi == NULL ? rest.len : (size_t)(semi - rest.ptr), cp = cp_head(rest, m);
		int place;

		if (cp > 0) {
			open_cp(m, cw_bytes_of(rest.ptr + cp, rest.len - cp));
			has_cp = 1;
			break;
		}
		place = one_field(m, cw_bytes_of(rest.ptr, n));
		if (place >= 0 && place < last)
			m->deviations |= HJ_D(HJ_D_FIELD_ORDER);
		if (place > last)
			last = place;
		if (semi == NULL)
			break;
		rest = cw_bytes_of(semi + 1, rest.len - n - 1);
	}
	if (!has_cp || m->cn == 0 || m->mn.len == 0 || m->mn.len > HJ_MN_MOST || m->pw.len > HJ_PW_MOST || m->qn.len > 20 || m->st.len > 3)
		m->error = "segment";
}

/* ---- the data area ------------------------------------------------------------------- */

/* Names of the standards in their spelling; others are taken as they come. */
static const char *const plain_names[] = {
	"SystemTime", "QN", "QnRtn", "ExeRtn", "RtdInterval", "MinInterval", "RestartTime", "DataTime", "BeginTime", "EndTime", "PolId", "NewPW",
	"OverTime", "ReCount", "VaseNo", "CstartTime", "CTime", "Stime", "InfoId", "AlarmTarget", "ReportTime", "PW", NULL,
};
static struct cw_bytes spelled(struct cw_bytes name, const char *const *list, struct hj_msg *m)
{
	size_t i;

	for (i = 0; list[i] != NULL; i++)
		if (cw_bytes_equal(name, cw_bytes_text(list[i])))
			return name;
	if (hj_same_word(name, "Ctime")) /* the standard has both spellings */
		return cw_bytes_text("CTime");
	for (i = 0; list[i] != NULL; i++) {
		if (hj_same_word(name, list[i])) {
			m->deviations |= HJ_D(HJ_D_NAME_CASE);
			return cw_bytes_text(list[i]);
		}
	}
	return name;
}

/* Without `//` in it, and not at its ends: otherwise texts end at the next `//`. */
static size_t value_end(struct cw_bytes t, size_t from)
{
	size_t i = from;

	while (i < t.len && blank(t.ptr[i]))
		i++;
	if (i + 2 <= t.len && memcmp(t.ptr + i, "//", 2) == 0) {
		size_t k;

		for (k = i + 2; k + 2 <= t.len; k++)
			if (memcmp(t.ptr + k, "//", 2) == 0)
				return k + 2;
	}
	return from;
}

static unsigned slot_of(struct cw_bytes code)
{
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < code.len; i++)
		h = (h ^ code.ptr[i]) * 16777619u;
	return (h ^ h >> 15) & 4095u;
}

/* Hang the part behind those of its code. */
static void chain(struct cw_decoder *d, struct hj_msg *m, unsigned at)
{
	struct hj_part *p = &d->parts[at], *q;
	unsigned slot = slot_of(p->code);
	int i;

	while (d->slots[slot] >= 0 && !cw_bytes_equal(d->parts[d->slots[slot]].code, p->code))
		slot = (slot + 1) & 4095u;
	p->next = -1;
	if (d->slots[slot] < 0) {
		d->slots[slot] = (int16_t)at;
		d->used_slots[d->used_count++] = (uint16_t)slot;
		p->head = 1;
		p->chain_end = (int16_t)at;
		return;
	}
	q = &d->parts[d->slots[slot]];
	if (p->code.len > 0) {
		const struct hj_part *before = &d->parts[q->chain_end];

		if (before->item != p->item)
			m->deviations |= HJ_D(HJ_D_SEPARATORS); /* `;` where the same factor goes on */
	}
	for (i = d->slots[slot]; i >= 0; i = d->parts[i].next) {
		if (cw_bytes_equal(d->parts[i].name, p->name) && !d->parts[i].over) {
			d->parts[i].over = 1;
			m->deviations |= HJ_D(HJ_D_REPEATED_FACTOR);
		}
	}
	d->parts[q->chain_end].next = (int16_t)at;
	q->chain_end = (int16_t)at;
}

static int one_part(struct cw_decoder *d, struct hj_msg *m, struct cw_bytes t, unsigned item)
{
	const uint8_t *eq = t.len == 0 ? NULL : memchr(t.ptr, '=', t.len), *dash;
	struct hj_part *p = &d->parts[m->parts];
	struct cw_bytes key;

	t = strip_noted(t, m);
	if (t.len == 0)
		return 0;
	if (m->parts == HJ_PARTS_MOST)
		return CW_EPROTO;
	memset(p, 0, sizeof(*p));
	key = eq == NULL ? t : strip_noted(cw_bytes_of(t.ptr, (size_t)(eq - t.ptr)), m);
	p->value = eq == NULL ? cw_bytes_of(NULL, 0) : strip_noted(cw_bytes_of(eq + 1, t.len - (size_t)(eq + 1 - t.ptr)), m);
	dash = key.len == 0 ? NULL : memrchr(key.ptr, '-', key.len);
	if (dash == NULL) {
		p->name = spelled(key, plain_names, m);
	} else {
		p->code = hj_strip(cw_bytes_of(key.ptr, (size_t)(dash - key.ptr)));
		p->name = spelled(hj_strip(cw_bytes_of(dash + 1, key.len - (size_t)(dash + 1 - key.ptr))), hj_suffixes, m);
	}
	if (p->name.len == 0)
		return 0;
	p->item = (uint16_t)item;
	if (m->parts > 0 && d->parts[m->parts - 1].item == p->item && !cw_bytes_equal(d->parts[m->parts - 1].code, p->code))
		m->deviations |= HJ_D(HJ_D_SEPARATORS); /* `,` where another factor begins */
	else if (m->parts > 0 && d->parts[m->parts - 1].item == p->item && p->code.len == 0)
		m->deviations |= HJ_D(HJ_D_SEPARATORS);
	chain(d, m, m->parts);
	m->parts++;
	return 0;
}

int hj_parse_cp(struct cw_decoder *d, struct cw_bytes cp, struct hj_msg *m)
{
	size_t at = 0, from = 0;
	unsigned item = 0;

	m->parts = 0;
	while (d->used_count > 0)
		d->slots[d->used_slots[--d->used_count]] = -1;
	while (at <= cp.len) {
		uint8_t c = at < cp.len ? cp.ptr[at] : ';';

		if (c == '=' ) {
			size_t end = value_end(cp, at + 1);

			at = end > at + 1 ? end : at + 1;
			continue;
		}
		if (c == ';' || c == ',') {
			if (hj_strip(cw_bytes_of(cp.ptr + from, at - from)).len == 0 && from > 0)
				m->deviations |= HJ_D(HJ_D_TRAILING);
			if (one_part(d, m, cw_bytes_of(cp.ptr + from, at - from), item) < 0)
				return CW_EPROTO;
			item += c == ';';
			from = at + 1;
		}
		at++;
	}
	return 0;
}

struct cw_bytes hj_plain(const struct cw_decoder *d, const struct hj_msg *m, const char *name)
{
	unsigned i;

	for (i = 0; i < m->parts; i++)
		if (d->parts[i].code.len == 0 && !d->parts[i].over && cw_bytes_equal(d->parts[i].name, cw_bytes_text(name)))
			return d->parts[i].value;
	return cw_bytes_of(NULL, 0);
}

/* ---- all of it ------------------------------------------------------------------------- */

static void note_flags(struct hj_msg *m)
{
	m->version = m->has_flag ? m->flag >> 2 : 0;
	m->split = m->has_flag && (m->flag & 2) != 0;
	m->ack = m->has_flag && (m->flag & 1) != 0;
	if (!m->has_flag)
		m->deviations |= HJ_D(HJ_D_FLAG_MISSING);
	if (m->qn.len == 0)
		m->deviations |= m->ack || m->version > 0 ? HJ_D(HJ_D_QN_MISSING) : 0;
	if (m->split && (m->pnum_text.len == 0 || m->pno_text.len == 0))
		m->deviations |= HJ_D(HJ_D_SPLIT_NUMBERS);
	if (m->cn >= 9000 && m->cn != 9015 && m->cn != 9021 && (m->ack || m->cn == 9014))
		m->deviations |= m->ack || m->cp.len > 0 ? HJ_D(HJ_D_ANSWER_FLAG) : 0;
}

static void note_times(struct cw_decoder *d, struct hj_msg *m)
{
	struct cw_bytes t = hj_plain(d, m, "DataTime");
	uint64_t v;

	if (t.len == 17 && hj_digits(t, &v))
		m->deviations |= HJ_D(HJ_D_TIME_MILLIS);
}

void hj_parse(struct cw_decoder *d, struct cw_bytes frame, struct hj_msg *m)
{
	memset(m, 0, sizeof(*m));
	hj_open_frame(frame, m);
	if (m->segment.len == 0 || m->error != NULL) {
		m->error = m->error == NULL ? "segment" : m->error;
		return;
	}
	take_segment(m);
	if (m->error == NULL && hj_parse_cp(d, m->cp, m) < 0)
		m->error = "segment";
	if (!m->cp_begins || !m->cp_ends)
		m->deviations |= HJ_D(HJ_D_CUT_TEXT);
	note_flags(m);
	note_times(d, m);
}
