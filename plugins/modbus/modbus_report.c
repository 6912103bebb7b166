/* modbus_report.c - from the data of an answer to records: what has changed, properties, events. */
#include "modbus.h"

/* The name up to '.', '[' or the end. */
static size_t segment(const char *path)
{
	return strcspn(path, ".[");
}

static const struct mb_value *value_of(const struct cw_decoder *d, const struct mb_unit *u, unsigned point)
{
	return d->marks[point] != 0 ? &d->values[point] : &u->last[point].v;
}

/* Points by_path[from..to) with this beginning; how many of them are to be reported. */
static unsigned span(const struct cw_decoder *d, const struct mb_profile *p, unsigned from, unsigned to, size_t at, unsigned *ret_end)
{
	const char *first = p->points[p->by_path[from]].property + at;
	size_t n = segment(first);
	unsigned i, marked = 0;

	for (i = from; i < to; i++) {
		const char *t = p->points[p->by_path[i]].property + at;

		if (segment(t) != n || memcmp(t, first, n) != 0)
			break;
		marked += d->marks[p->by_path[i]] == 2;
	}
	*ret_end = i;
	return marked;
}

/* An array is whole or not at all: every element was read at some time, and the indices have no hole. */
static int put_array(struct cw_decoder *d, struct cw_writer *w, const struct mb_unit *u, unsigned from, unsigned to)
{
	const struct mb_profile *p = u->profile;
	unsigned i;

	for (i = from; i < to; i++)
		if (value_of(d, u, p->by_path[i])->kind == MB_V_NONE)
			return 0;
	cw_put_array(w);
	for (i = from; i < to; i++)
		mb_put_value(w, value_of(d, u, p->by_path[i]));
	cw_put_end(w);
	return 1;
}

static unsigned put_members(struct cw_decoder *d, struct cw_writer *w, const struct mb_unit *u, unsigned from, unsigned to, size_t at, int depth)
{
	const struct mb_profile *p = u->profile;
	unsigned end, count = 0;

	for (; from < to; from = end) {
		const struct mb_point *pt = &p->points[p->by_path[from]];
		const char *t = pt->property + at;
		size_t n, start;

		if (pt->alone > 0) { /* only on the outermost level */
			end = from + 1;
			if (d->marks[p->by_path[from]] == 2) {
				cw_put_textn(w, t, pt->alone);
				mb_put_value(w, &d->values[p->by_path[from]]);
				count++;
			}
			continue;
		}
		n = segment(t);
		if (span(d, p, from, to, at, &end) == 0)
			continue;
		start = w->len;
		cw_put_textn(w, t, n);
		if (t[n] == '[') {
			if (put_array(d, w, u, from, end)) {
				count++;
				continue;
			}
			w->len = start;
		} else if (t[n] == '.' && depth < CW_RECORD_DEPTH - 4) {
			unsigned inside;

			cw_put_map(w);
			inside = put_members(d, w, u, from, end, at + n + 1, depth + 1);
			cw_put_end(w);
			count += inside;
			if (inside == 0)
				w->len = start;
		} else {
			mb_put_value(w, &d->values[p->by_path[from]]);
			count++;
		}
	}
	return count;
}

static int emit(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, struct cw_writer *w)
{
	int rc = w->overflow ? CW_ELIMIT : d->host->emit(d->hx, ev->conn, u->device, 0, cw_written(w));

	if (rc < 0)
		mb_count(d, MB_N_NOT_REPORTED);
	return rc;
}

static int emit_properties(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u)
{
	struct cw_writer w = cw_writer_of(d->record, MB_RECORD_MAX);

	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_time(&w, ev->now_ms);
	cw_record_body(&w);
	if (put_members(d, &w, u, 0, u->profile->path_count, 0, 0) == 0)
		return 0;
	cw_put_end(&w);
	cw_record_end(&w);
	return emit(d, ev, u, &w);
}

void mb_report_comm(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, int on)
{
	struct cw_writer w = cw_writer_of(d->record, MB_RECORD_MAX);

	if (u->conf->comm_state[0] == '\0' || u->device == 0)
		return;
	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_time(&w, ev->now_ms);
	cw_record_body(&w);
	cw_field_bool(&w, u->conf->comm_state, on);
	cw_put_end(&w);
	cw_record_end(&w);
	(void)emit(d, ev, u, &w);
}

/* ---- events ----------------------------------------------------------------------------------------------- */

static int holds(const struct mb_point *p, const struct mb_value *v)
{
	if (p->event.on.len > 0)
		return mb_value_is(v, p->event.on);
	return v->kind == MB_V_TEXT ? v->text.len > 0 : v->kind == MB_V_DOUBLE ? v->d < 0 || v->d > 0 : v->kind == MB_V_UINT || v->dec.m != 0;
}

static void emit_event(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, const struct mb_point *p)
{
	struct cw_writer w = cw_writer_of(d->record, MB_RECORD_MAX);
	unsigned i;

	cw_record_begin(&w, CW_KIND_EVENT);
	cw_record_name(&w, p->event.id);
	cw_record_time(&w, ev->now_ms);
	if (p->event.type == CW_EVENT_ALERT) {
		cw_record_flags(&w, CW_RECORD_URGENT);
	}
	cw_record_event_type(&w, p->event.type);
	cw_record_body(&w);
	for (i = 0; i < p->event.data_count; i++) {
		unsigned at = p->event.data[i];
		const struct mb_value *v = value_of(d, u, at);

		if (v->kind == MB_V_NONE)
			continue;
		cw_put_text(&w, u->profile->points[at].property);
		mb_put_value(&w, v);
	}
	cw_put_end(&w);
	cw_record_end(&w);
	(void)emit(d, ev, u, &w);
}

static void look_at_event(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, unsigned point)
{
	const struct mb_point *p = &u->profile->points[point];
	struct mb_last *l = &u->last[point];
	uint8_t now = holds(p, &d->values[point]) ? 2 : 1, before = l->condition;

	l->condition = now;
	if (before == 0) {
		/* Nothing is known of before: it fires only when it is told to, and then when it holds. */
		if (p->event.fire_initial && (p->event.when == MB_CHANGE || (p->event.when == MB_RISING) == (now == 2)))
			emit_event(d, ev, u, p);
		return;
	}
	if (p->event.when == MB_CHANGE ? (p->event.on.len > 0 || p->type == MB_BIT || p->type == MB_BOOL
	                                          ? now != before : l->v.kind != MB_V_NONE && !mb_value_equal(&l->v, &d->values[point]))
	                               : now != before && (p->event.when == MB_RISING) == (now == 2))
		emit_event(d, ev, u, p);
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

/* The value of one point; texts go to the store of the answer, at *used. */
static void take(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, unsigned point, struct cw_bytes wire, size_t *used)
{
	const struct mb_point *p = &u->profile->points[point];
	const struct mb_report *r = p->report.mode != MB_R_INHERIT ? &p->report : &u->conf->report;
	struct mb_value *v = &d->values[point];
	struct mb_last *l = &u->last[point];

	mb_point_read(&d->cs, p, wire, d->texts + *used, MB_TEXTS_MAX - *used, v);
	if (v->kind == MB_V_NONE) {
		mb_count(d, MB_N_BAD_QUALITY);
		return;
	}
	if (v->kind == MB_V_TEXT && (const char *)v->text.ptr == d->texts + *used)
		*used += v->text.len;
	d->marks[point] = p->property[0] != '\0' && mb_report_due(r, &l->v, l->ms, v, ev->mono_ms) ? 2 : 1;
}

/* The value has been reported; or, of a point that only feeds an event, seen. */
static void remember(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, unsigned point)
{
	const struct mb_point *p = &u->profile->points[point];
	struct mb_last *l = &u->last[point];
	const struct mb_value *v = &d->values[point];
	size_t room = p->type == MB_STRING || p->type == MB_BYTES ? p->length * 3u : p->as_text ? 24 : 0;

	l->v = *v;
	l->ms = ev->mono_ms;
	if (v->kind == MB_V_TEXT && v->text.len > 0 && v->text.len <= room) {
		memcpy(u->texts + p->text_at, v->text.ptr, v->text.len);
		l->v.text.ptr = (const uint8_t *)u->texts + p->text_at; /* else it is the map's, which stays */
	}
}

static void report(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, const uint16_t *points, unsigned count)
{
	unsigned i, due = 0;
	int said;

	/* Events first: they overtake, and look at what was reported before. */
	for (i = 0; i < count && u->profile->has_events; i++)
		if (d->marks[points[i]] != 0 && u->profile->points[points[i]].event.id != NULL)
			look_at_event(d, ev, u, points[i]);
	for (i = 0; i < count; i++)
		due += d->marks[points[i]] == 2;
	said = due > 0 && emit_properties(d, ev, u) == 0;
	for (i = 0; i < count; i++) {
		if ((d->marks[points[i]] == 2 && said) || (d->marks[points[i]] == 1 && u->profile->points[points[i]].property[0] == '\0'))
			remember(d, ev, u, points[i]);
	}
	for (i = 0; i < count; i++)
		d->marks[points[i]] = 0;
}

void mb_report_block(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u, const struct mb_block *b, struct cw_bytes data)
{
	const uint16_t *points = u->profile->order + b->first;
	size_t used = 0;
	unsigned i;
	uint8_t bit;

	(void)c;
	if (u->device == 0)
		return;
	for (i = 0; i < b->count; i++)
		take(d, ev, u, points[i], mb_point_wire(&u->profile->points[points[i]], (unsigned)(u->profile->points[points[i]].address - b->address), data, &bit), &used);
	report(d, ev, u, points, b->count);
}

void mb_report_range(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u, uint8_t fc, unsigned address,
                     unsigned quantity, struct cw_bytes data)
{
	struct mb_profile *p = u->profile;
	size_t used = 0;
	unsigned i, n = 0;
	uint8_t bit;

	(void)c;
	for (i = 0; i < p->point_count; i++) {
		const struct mb_point *pt = &p->points[i];
		unsigned at = (unsigned)((int)pt->address + u->conf->address_shift);

		if (mb_area_fc(pt->area) != fc || !pt->readable || at < address || at + pt->count > address + quantity)
			continue;
		take(d, ev, u, i, mb_point_wire(pt, at - address, data, &bit), &used);
		n++;
	}
	/* `order` has every point that is read; those of other ranges have no mark. */
	if (n > 0)
		report(d, ev, u, p->order, p->ordered);
}
