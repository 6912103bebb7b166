/*
 * hj212_map.c - uploads to records: properties of what is now, events of periods and of what happened.
 */
#include "hj212.h"

#include <stdio.h>
#include <stdlib.h>

#define VALUES_MOST 200u /* in one record: platforms refuse more in one message */

struct up {
	struct cw_decoder *d;
	const struct cw_event *ev;
	struct hj_device *dev;
	const struct hj_conf *conf;
	const struct hj_msg *m;
	uint64_t ticket;
	unsigned how;
	int count, rc, has_time;
	int64_t time_ms;
	uint8_t key[32];
	struct cw_writer w;
};

static void begin(struct up *u, unsigned kind, const char *name, unsigned type)
{
	unsigned flags = (u->how & HJ_REPLAYED ? CW_RECORD_REPLAY : 0) | (type == CW_EVENT_ALERT ? CW_RECORD_URGENT : 0);

	u->w = cw_writer_of(u->d->scratch, HJ_SCRATCH);
	cw_record_begin(&u->w, kind);
	if (name != NULL)
		cw_record_name(&u->w, name);
	if (u->has_time)
		cw_record_time(&u->w, u->time_ms);
	if (flags != 0)
		cw_record_flags(&u->w, flags);
	if (kind == CW_KIND_EVENT)
		cw_record_event_type(&u->w, type);
	u->key[28] = (uint8_t)(u->count & 255);
	u->key[29] = (uint8_t)(u->count >> 8);
	cw_record_dedup(&u->w, cw_bytes_of(u->key, 30));
	cw_record_body(&u->w);
}

static void finish(struct up *u)
{
	int rc;

	cw_put_end(&u->w);
	cw_record_end(&u->w);
	if (u->w.overflow)
		rc = CW_ELIMIT;
	else
		rc = u->d->host->emit(u->d->hx, u->ev->conn, u->dev->handle, u->ticket, cw_written(&u->w));
	if (rc < 0)
		u->rc = rc;
	else
		u->count++;
}

/* w01018-Rtd -> w01018_Rtd, 011-Rtd -> p011_Rtd; what an identifier cannot have becomes `_`. */
static void put_identifier(struct up *u, const struct hj_part *p)
{
	struct cw_bytes code = hj_public_code(u->conf, p->code);
	char text[52];
	size_t n = 0, i;

	if (code.ptr[0] >= '0' && code.ptr[0] <= '9')
		text[n++] = 'p';
	for (i = 0; i < code.len && n < 30; i++)
		text[n++] = (char)code.ptr[i];
	text[n++] = '_';
	for (i = 0; i < p->name.len && n < 50; i++)
		text[n++] = (char)p->name.ptr[i];
	for (i = 0; i < n; i++)
		if (!((text[i] >= '0' && text[i] <= '9') || ((text[i] | 32) >= 'a' && (text[i] | 32) <= 'z')))
			text[i] = '_';
	cw_put_textn(&u->w, text, n);
}

static void properties(struct up *u)
{
	unsigned i, n = 0;

	for (i = 0; i < u->m->parts; i++)
		n += u->d->parts[i].code.len > 0;
	if (n == 0)
		return; /* nothing in it */
	begin(u, CW_KIND_PROPERTIES, NULL, 0);
	for (i = 0, n = 0; i < u->m->parts; i++) {
		const struct hj_part *head = &u->d->parts[i], *p;

		if (!head->head || head->code.len == 0)
			continue;
		for (p = head; p != NULL; p = p->next < 0 ? NULL : &u->d->parts[p->next]) {
			if (p->over)
				continue;
			if (n++ == VALUES_MOST) {
				finish(u);
				begin(u, CW_KIND_PROPERTIES, NULL, 0);
				n = 1;
			}
			put_identifier(u, p);
			hj_put_value(u->d, &u->w, u->conf, head, p);
		}
	}
	finish(u);
}

static struct hj_mark *mark_of(struct up *u, struct cw_bytes code)
{
	struct hj_device *dev = u->dev;
	unsigned i;

	if (dev->marks == NULL) {
		if (u->d->host->charge(u->d->hx, u->ev->conn, sizeof(*dev->marks) * HJ_MARKS_MOST) < 0)
			return NULL;
		dev->marks = calloc(HJ_MARKS_MOST, sizeof(*dev->marks));
		if (dev->marks == NULL) {
			u->d->host->charge(u->d->hx, u->ev->conn, -(int64_t)(sizeof(*dev->marks) * HJ_MARKS_MOST));
			return NULL;
		}
	}
	for (i = 0; i < dev->mark_count; i++)
		if (cw_bytes_equal(code, cw_bytes_text(dev->marks[i].code)))
			return &dev->marks[i];
	if (dev->mark_count == HJ_MARKS_MOST || code.len >= sizeof(dev->marks[0].code))
		return NULL;
	memcpy(dev->marks[dev->mark_count].code, code.ptr, code.len);
	return &dev->marks[dev->mark_count++];
}

static void abnormal(struct up *u, const struct hj_part *head, const struct hj_part *mark)
{
	struct hj_mark *known = mark_of(u, head->code);
	const struct hj_part *value = hj_in_chain(u->d, head, "Rtd");
	int left;

	if (known == NULL || mark->value.len >= sizeof(known->mark))
		return;
	left = strcmp(known->mark, "N") == 0 && !cw_bytes_equal(mark->value, cw_bytes_text("N"));
	memcpy(known->mark, mark->value.ptr, mark->value.len);
	known->mark[mark->value.len] = 0;
	if (!left)
		return;
	begin(u, CW_KIND_EVENT, "factorAbnormal", CW_EVENT_ALERT);
	cw_put_text(&u->w, "code");
	hj_put_text(u->d, &u->w, u->conf->charset, hj_public_code(u->conf, head->code));
	cw_put_text(&u->w, "flag");
	hj_put_text(u->d, &u->w, u->conf->charset, mark->value);
	if (value != NULL) {
		cw_put_text(&u->w, "value");
		hj_put_value(u->d, &u->w, u->conf, head, value);
	}
	if (u->has_time)
		cw_field_int(&u->w, "dataTime", u->time_ms);
	finish(u);
}

static void marks(struct up *u)
{
	unsigned i;

	if (!u->conf->abnormal || (u->how & HJ_REPLAYED))
		return;
	for (i = 0; i < u->m->parts; i++) {
		const struct hj_part *head = &u->d->parts[i], *mark;

		if (!head->head || head->code.len == 0)
			continue;
		mark = hj_in_chain(u->d, head, "Flag");
		if (mark != NULL && mark->value.len > 0)
			abnormal(u, head, mark);
	}
}

static void put_system(struct up *u)
{
	cw_put_text(&u->w, "systemCode");
	hj_put_text(u->d, &u->w, u->conf->charset, u->m->st);
}

/* An event with all that the packet has. */
static void whole_event(struct up *u, const char *name, unsigned type)
{
	begin(u, CW_KIND_EVENT, name, type);
	put_system(u);
	hj_put_data(u->d, &u->w, u->conf, u->m);
	finish(u);
}

static void runtime_day(struct up *u)
{
	unsigned i;

	begin(u, CW_KIND_EVENT, "facilityRuntimeDay", CW_EVENT_INFO);
	put_system(u);
	if (u->has_time)
		cw_field_int(&u->w, "dataTime", u->time_ms);
	cw_field_array(&u->w, "facilities");
	for (i = 0; i < u->m->parts; i++) {
		const struct hj_part *head = &u->d->parts[i], *hours;

		if (!head->head || head->code.len == 0)
			continue;
		hours = hj_in_chain(u->d, head, "RT");
		cw_put_map(&u->w);
		cw_put_text(&u->w, "code");
		hj_put_text(u->d, &u->w, u->conf->charset, head->code);
		if (hours != NULL) {
			cw_put_text(&u->w, "hours");
			hj_put_value(u->d, &u->w, u->conf, head, hours);
		}
		cw_put_end(&u->w);
	}
	cw_put_end(&u->w);
	finish(u);
}

static void put_plain(struct up *u, const char *key, const char *name)
{
	struct cw_bytes t = hj_plain(u->d, u->m, name);

	if (t.len == 0)
		return;
	cw_put_text(&u->w, key);
	hj_put_text(u->d, &u->w, u->conf->charset, t);
}

/* // on both sides of a log's text are its quotes. */
static struct cw_bytes unquoted(struct cw_bytes t)
{
	return t.len >= 4 && memcmp(t.ptr, "//", 2) == 0 && memcmp(t.ptr + t.len - 2, "//", 2) == 0 ? cw_bytes_of(t.ptr + 2, t.len - 4) : t;
}

static void one_info(struct up *u, const struct hj_part *head, const struct hj_part *info)
{
	struct cw_bytes value = unquoted(info->value);
	uint8_t kind = head->code.len == 6 && head->code.ptr[0] == 'i' ? head->code.ptr[2] : 0;

	begin(u, CW_KIND_EVENT, "fieldInfo", CW_EVENT_INFO);
	put_plain(u, "polId", "PolId");
	cw_put_text(&u->w, "infoId");
	hj_put_text(u->d, &u->w, u->conf->charset, head->code);
	cw_field_text(&u->w, "kind", kind == '1' ? "log" : kind == '2' ? "state" : kind == '3' ? "parameter" : "other");
	cw_put_text(&u->w, "value");
	hj_put_text(u->d, &u->w, u->conf->charset, value);
	if (u->has_time)
		cw_field_int(&u->w, "dataTime", u->time_ms);
	finish(u);
	if (kind != '2')
		return;
	begin(u, CW_KIND_PROPERTIES, NULL, 0);
	cw_put_textn(&u->w, (const char *)head->code.ptr, head->code.len);
	if (!hj_put_number(&u->w, value))
		hj_put_text(u->d, &u->w, u->conf->charset, value);
	finish(u);
}

static void field_info(struct up *u)
{
	unsigned i;

	for (i = 0; i < u->m->parts && u->rc == 0; i++) {
		const struct hj_part *head = &u->d->parts[i], *info = head->head && head->code.len > 0 ? hj_in_chain(u->d, head, "Info") : NULL;

		if (info != NULL && hj_utf8_valid(head->code))
			one_info(u, head, info);
	}
}

static void replaced(struct up *u)
{
	unsigned i;

	begin(u, CW_KIND_EVENT, "instrumentReplaced", CW_EVENT_INFO);
	put_plain(u, "polId", "PolId");
	for (i = 0; i < u->m->parts; i++) {
		const struct hj_part *sn = &u->d->parts[i];

		if (sn->code.len == 0 || sn->over || !cw_bytes_equal(sn->name, cw_bytes_text("SN")))
			continue;
		cw_put_text(&u->w, "sn");
		hj_put_text(u->d, &u->w, u->conf->charset, sn->value);
		break;
	}
	finish(u);
}

static void raw(struct up *u)
{
	char cn[8];

	snprintf(cn, sizeof(cn), "%04u", u->m->cn);
	hj_count(u->d, HJ_N_UNKNOWN);
	begin(u, CW_KIND_EVENT, "rawUpload", CW_EVENT_INFO);
	cw_field_text(&u->w, "cn", cn);
	cw_put_text(&u->w, "cp");
	hj_put_text(u->d, &u->w, u->conf->charset, u->m->cp);
	finish(u);
}

void hj_publish_number(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const char *name, uint64_t value)
{
	uint8_t buf[128];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_body(&w);
	cw_field_uint(&w, name, value);
	cw_put_end(&w);
	cw_record_end(&w);
	d->host->emit(d->hx, ev->conn, dev->handle, 0, cw_written(&w));
}

/* What the device says about its own intervals, asked for or not. */
static void own_interval(struct up *u, const char *name, uint32_t *to)
{
	uint64_t v;

	if (!hj_digits(hj_plain(u->d, u->m, name), &v) || v > 86400) {
		raw(u);
		return;
	}
	*to = (uint32_t)v;
	begin(u, CW_KIND_PROPERTIES, NULL, 0);
	cw_field_uint(&u->w, name, v);
	finish(u);
}

int hj_publish(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m, uint64_t ticket, unsigned how)
{
	struct up u = { .d = d, .ev = ev, .dev = dev, .conf = hj_conf_of(d, dev->conn, dev), .m = m, .ticket = ticket, .how = how };

	u.has_time = hj_data_time(d, u.conf, m, &u.time_ms);
	hj_frame_key(d, m, u.key);
	switch (m->cn) {
	case 1013:
		begin(&u, CW_KIND_EVENT, "timeCalibrationRequest", CW_EVENT_INFO);
		put_plain(&u, "polId", "PolId");
		finish(&u);
		break;
	case 1061: own_interval(&u, "RtdInterval", &dev->rtd_s); break;
	case 1063: own_interval(&u, "MinInterval", &dev->min_m); break;
	case 2011:
		properties(&u);
		marks(&u);
		break;
	case 2021: properties(&u); break;
	case 2031: whole_event(&u, "dayData", CW_EVENT_INFO); break;
	case 2041: runtime_day(&u); break;
	case 2051: whole_event(&u, "minuteData", CW_EVENT_INFO); break;
	case 2061: whole_event(&u, "hourData", CW_EVENT_INFO); break;
	case 2071:
	case 2072: whole_event(&u, "overLimitAlarm", CW_EVENT_ALERT); break;
	case 2081: whole_event(&u, "loggerRestart", CW_EVENT_INFO); break;
	case 3015: whole_event(&u, "sampleKept", CW_EVENT_INFO); break;
	case 3019: replaced(&u); break;
	case 3020: field_info(&u); break;
	default: raw(&u); break;
	}
	return u.rc < 0 ? u.rc : u.count;
}
