/*
 * hj212_fields.c - values of a data area as items of a record: exact numbers, texts, times, what is null.
 */
#include "hj212.h"

int hj_is_null(const struct hj_conf *conf, struct cw_bytes value)
{
	const char *at = conf->nulls;

	if (value.len == 0)
		return 1;
	while (*at != 0) {
		size_t n = strcspn(at, ",");
		char one[32];

		if (n > 0 && n < sizeof(one)) {
			memcpy(one, at, n);
			one[n] = 0;
			if (hj_same_word(value, one))
				return 1;
		}
		at += n + (at[n] == ',');
	}
	return 0;
}

int hj_is_text_suffix(struct cw_bytes s)
{
	return cw_bytes_equal(s, cw_bytes_text("Flag")) || cw_bytes_equal(s, cw_bytes_text("EFlag")) || cw_bytes_equal(s, cw_bytes_text("Info")) ||
	       cw_bytes_equal(s, cw_bytes_text("SN")) || cw_bytes_equal(s, cw_bytes_text("SampleTime"));
}

uint32_t hj_value_deviations(const struct cw_decoder *d, const struct hj_conf *conf, const struct hj_msg *m)
{
	uint32_t bits = 0;
	unsigned i;

	for (i = 0; i < m->parts; i++) {
		const struct hj_part *p = &d->parts[i];

		if (p->code.len == 0)
			continue;
		if (!hj_is_text_suffix(p->name) && hj_is_null(conf, p->value))
			bits |= HJ_D(HJ_D_EMPTY_VALUE);
		if ((p->head && !hj_code_standard(p->code)) || !hj_suffix_standard(p->name))
			bits |= HJ_D(HJ_D_PRIVATE_CODE);
	}
	return bits;
}

const struct hj_part *hj_in_chain(const struct cw_decoder *d, const struct hj_part *head, const char *suffix)
{
	const struct hj_part *p = head;

	while (p != NULL) {
		if (!p->over && cw_bytes_equal(p->name, cw_bytes_text(suffix)))
			return p;
		p = p->next < 0 ? NULL : &d->parts[p->next];
	}
	return NULL;
}

static void put_one(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_part *p, int hidden)
{
	int64_t ms;

	if (cw_bytes_equal(p->name, cw_bytes_text("SampleTime")) && hj_time(p->value, conf->zone_min, &ms)) {
		cw_put_int(w, ms);
	} else if (hj_is_text_suffix(p->name)) {
		hj_put_text(d, w, conf->charset, p->value);
	} else if (hidden || hj_is_null(conf, p->value)) {
		cw_put_null(w);
	} else if (!hj_put_number(w, p->value)) {
		hj_put_text(d, w, conf->charset, p->value);
	}
}

void hj_put_value(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_part *head, const struct hj_part *p)
{
	const struct hj_part *mark = conf->marked_null ? hj_in_chain(d, head, "Flag") : NULL, *q;
	int hidden = mark != NULL && mark->value.len > 0 && !cw_bytes_equal(mark->value, cw_bytes_text("N")), several = 0;

	if (conf->repeats_array)
		for (q = head; q != NULL; q = q->next < 0 ? NULL : &d->parts[q->next])
			several |= q->over && cw_bytes_equal(q->name, p->name);
	if (!several) {
		put_one(d, w, conf, p, hidden);
		return;
	}
	cw_put_array(w);
	for (q = head; q != NULL; q = q->next < 0 ? NULL : &d->parts[q->next])
		if (cw_bytes_equal(q->name, p->name))
			put_one(d, w, conf, q, hidden);
	cw_put_end(w);
}

struct cw_bytes hj_public_code(const struct hj_conf *conf, struct cw_bytes code)
{
	const struct hj_code *found = conf->map_codes ? hj_code_find_old(code) : NULL;

	return found != NULL ? cw_bytes_text(found->code) : code;
}

/* DataTime -> dataTime, SN -> sn, EFlag -> eFlag: as members of events are called. */
static void put_member_name(struct cw_decoder *d, struct cw_writer *w, struct cw_bytes name)
{
	uint8_t text[64];
	size_t i;
	int capitals = 1;

	if (name.len > sizeof(text) || name.len == 0) {
		hj_put_text(d, w, 0, name);
		return;
	}
	memcpy(text, name.ptr, name.len);
	for (i = 0; i < name.len; i++)
		capitals &= text[i] >= 'A' && text[i] <= 'Z';
	for (i = 0; i < (capitals ? name.len : 1); i++)
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] |= 32;
	hj_put_text(d, w, 0, cw_bytes_of(text, name.len));
}

static void put_names(struct cw_writer *w, struct cw_bytes code)
{
	const struct hj_code *known = hj_code_find(code);

	if (known == NULL)
		known = hj_code_find_old(code);
	if (known == NULL)
		return;
	cw_field_text(w, "name", known->name);
	if (known->unit[0] != 0)
		cw_field_text(w, "unit", known->unit);
}

void hj_put_factors(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_msg *m)
{
	unsigned i;

	cw_field_array(w, "factors");
	for (i = 0; i < m->parts && !w->overflow; i++) {
		const struct hj_part *head = &d->parts[i], *p;

		if (!head->head || head->code.len == 0)
			continue;
		cw_put_map(w);
		cw_put_text(w, "code");
		hj_put_text(d, w, conf->charset, hj_public_code(conf, head->code));
		if (conf->factor_names)
			put_names(w, head->code);
		for (p = head; p != NULL; p = p->next < 0 ? NULL : &d->parts[p->next]) {
			if (p->over)
				continue;
			put_member_name(d, w, p->name);
			hj_put_value(d, w, conf, head, p);
		}
		cw_put_end(w);
	}
	cw_put_end(w);
}

/* Plain names that are not for others: numbers of requests, results, passwords. */
static int private_name(struct cw_bytes name)
{
	static const char *const names[] = { "QN", "QnRtn", "ExeRtn", "PW", "NewPW" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (cw_bytes_equal(name, cw_bytes_text(names[i])))
			return 1;
	return 0;
}

static void put_plain(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_part *p)
{
	static const char *const times[] = { "SystemTime", "DataTime", "RestartTime", "BeginTime", "EndTime" };
	static const char *const numbers[] = { "RtdInterval", "MinInterval", "OverTime", "ReCount", "VaseNo", "CTime", "Stime" };
	int64_t ms;
	size_t i;

	put_member_name(d, w, p->name);
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if (cw_bytes_equal(p->name, cw_bytes_text(times[i])) && hj_time(p->value, conf->zone_min, &ms)) {
			cw_put_int(w, ms);
			return;
		}
	}
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (cw_bytes_equal(p->name, cw_bytes_text(numbers[i])) && hj_put_number(w, p->value))
			return;
	hj_put_text(d, w, conf->charset, p->value);
}

void hj_put_data(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_msg *m)
{
	unsigned i, factors = 0;

	for (i = 0; i < m->parts && !w->overflow; i++) {
		const struct hj_part *p = &d->parts[i];

		factors += p->code.len > 0;
		if (p->code.len == 0 && !p->over && !private_name(p->name))
			put_plain(d, w, conf, p);
	}
	if (factors > 0)
		hj_put_factors(d, w, conf, m);
}

int hj_data_time(const struct cw_decoder *d, const struct hj_conf *conf, const struct hj_msg *m, int64_t *ret_ms)
{
	*ret_ms = 0;
	return hj_time(hj_plain(d, m, "DataTime"), conf->zone_min, ret_ms);
}
