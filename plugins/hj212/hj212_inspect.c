/*
 * hj212_inspect.c - what the decode tool is shown of a frame: its fields under their own names, and each deviation.
 */
#include "hj212.h"

#include <stdio.h>

struct shown {
	struct cw_decoder *d;
	const struct cw_event *ev;
	const struct hj_conf *conf;
	struct cw_writer w;
};

static void show(struct shown *s, int group, const char *name, struct cw_bytes at)
{
	if (!s->w.overflow)
		s->d->host->field(s->d->hx, s->ev->conn, group, name, cw_written(&s->w), 0, at.len);
	s->w.len = 0;
	s->w.overflow = 0;
}

static void both(struct shown *s, const char *name, struct cw_bytes at)
{
	struct cw_bytes item = cw_written(&s->w);

	if (!s->w.overflow)
		s->d->host->field(s->d->hx, s->ev->conn, CW_GROUP_HEADER, name, item, 0, at.len);
	show(s, CW_GROUP_FIELDS, name, at);
}

static void text(struct shown *s, const char *name, struct cw_bytes value)
{
	if (value.ptr == NULL)
		return;
	hj_put_text(s->d, &s->w, s->conf->charset, value);
	both(s, name, value);
}

static void number(struct shown *s, const char *name, uint64_t v)
{
	cw_put_uint(&s->w, v);
	both(s, name, cw_bytes_of(NULL, 0));
}

static void truth(struct shown *s, int group, const char *name, int v)
{
	cw_put_bool(&s->w, v);
	show(s, group, name, cw_bytes_of(NULL, 0));
}

static void checksum(struct shown *s, const char *name, uint16_t v, int in_header)
{
	char hex[8];

	snprintf(hex, sizeof(hex), "%04X", v);
	cw_put_text(&s->w, hex);
	if (in_header)
		both(s, name, cw_bytes_of(NULL, 4));
	else
		show(s, CW_GROUP_FIELDS, name, cw_bytes_of(NULL, 4));
}

static void plain(struct shown *s, const struct hj_msg *m)
{
	unsigned i;

	cw_put_map(&s->w);
	for (i = 0; i < m->parts; i++) {
		const struct hj_part *p = &s->d->parts[i];

		if (p->code.len > 0 || p->over)
			continue;
		hj_put_text(s->d, &s->w, s->conf->charset, p->name);
		hj_put_text(s->d, &s->w, s->conf->charset, p->value);
	}
	cw_put_end(&s->w);
	show(s, CW_GROUP_FIELDS, "cp", m->cp_raw);
}

static void factors(struct shown *s, const struct hj_msg *m)
{
	unsigned i;

	cw_put_map(&s->w);
	for (i = 0; i < m->parts; i++) {
		const struct hj_part *head = &s->d->parts[i], *p;

		if (!head->head || head->code.len == 0)
			continue;
		hj_put_text(s->d, &s->w, s->conf->charset, head->code);
		cw_put_map(&s->w);
		for (p = head; p != NULL; p = p->next < 0 ? NULL : &s->d->parts[p->next]) {
			if (p->over)
				continue;
			hj_put_text(s->d, &s->w, s->conf->charset, p->name);
			hj_put_text(s->d, &s->w, s->conf->charset, p->value);
		}
		cw_put_end(&s->w);
	}
	cw_put_end(&s->w);
	show(s, CW_GROUP_FIELDS, "factors", m->cp_raw);
}

/* Names and units of the codes in the frame, of those that are known. */
static void names(struct shown *s, const struct hj_msg *m)
{
	unsigned i, n = 0;

	cw_put_map(&s->w);
	for (i = 0; i < m->parts; i++) {
		const struct hj_part *p = &s->d->parts[i];
		const struct hj_code *known = p->head ? hj_code_find(p->code) : NULL;

		if (known == NULL && p->head)
			known = hj_code_find_old(p->code);
		if (known == NULL)
			continue;
		hj_put_text(s->d, &s->w, s->conf->charset, p->code);
		cw_put_map(&s->w);
		cw_field_text(&s->w, "name", known->name);
		cw_field_text(&s->w, "unit", known->unit);
		if (known->old[0] != 0 && cw_bytes_equal(p->code, cw_bytes_text(known->old)))
			cw_field_text(&s->w, "code2017", known->code);
		cw_put_end(&s->w);
		n++;
	}
	cw_put_end(&s->w);
	if (n > 0)
		show(s, CW_GROUP_HEADER, "names", m->cp_raw);
	s->w.len = 0;
}

static void deviations(struct shown *s, const struct hj_msg *m)
{
	unsigned i;

	cw_put_array(&s->w);
	for (i = 0; i < HJ_D_COUNT; i++)
		if (m->deviations & HJ_D(i))
			cw_put_text(&s->w, hj_deviation_names[i]);
	cw_put_end(&s->w);
	show(s, CW_GROUP_HEADER, "deviations", cw_bytes_of(NULL, 0));
}

static void fault(struct shown *s, const struct hj_msg *m)
{
	const char *error = m->error != NULL ? m->error
	                    : m->deviations & (HJ_D(HJ_D_LENGTH_WRONG) | HJ_D(HJ_D_LENGTH_COUNT) | HJ_D(HJ_D_LENGTH_OVER)) ? "length"
	                    : m->deviations & (HJ_D(HJ_D_CRC_MODBUS) | HJ_D(HJ_D_CRC_UNUSED)) ? "crc" : "deviation";

	cw_put_text(&s->w, error);
	show(s, CW_GROUP_FIELDS, "error", cw_bytes_of(NULL, 0));
	if (strcmp(error, "crc") == 0) {
		checksum(s, "crcReceived", m->crc, 0);
		checksum(s, "crcExpected", m->crc_made, 0);
	}
}

void hj_inspect(struct cw_decoder *d, const struct cw_event *ev, const struct hj_conf *conf, const struct hj_msg *m, int accepted)
{
	struct shown s = { d, ev, conf, cw_writer_of(d->scratch, HJ_SCRATCH) };

	truth(&s, CW_GROUP_FIELDS, "valid", accepted);
	deviations(&s, m);
	if (!accepted) {
		fault(&s, m);
		return;
	}
	if (m->deviations & HJ_D_OF_FRAME)
		truth(&s, CW_GROUP_FIELDS, "lenient", 1);
	number(&s, "length", m->length_said);
	checksum(&s, "crc", m->crc, 1);
	text(&s, "QN", m->qn);
	text(&s, "ST", m->st);
	snprintf((char *)d->out, sizeof(d->out), "%04u", m->cn);
	text(&s, "CN", cw_bytes_text(d->out));
	text(&s, "PW", m->pw);
	text(&s, "MN", m->mn);
	if (m->has_flag) {
		number(&s, "Flag", m->flag);
		number(&s, "flagVersion", m->version);
		truth(&s, CW_GROUP_FIELDS, "flagSplit", m->split);
		truth(&s, CW_GROUP_FIELDS, "flagAck", m->ack);
	}
	text(&s, "PNUM", m->pnum_text);
	text(&s, "PNO", m->pno_text);
	plain(&s, m);
	factors(&s, m);
	names(&s, m);
}
