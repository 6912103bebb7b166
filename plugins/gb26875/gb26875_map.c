/*
 * gb26875_map.c - objects to the thing model: state of the UTD as properties, everything else as events.
 *
 * Every upload is an occurrence: nothing is left out because it did not change. Time labels of panels can be years off, so
 * records have the time of reception, and the label is a value (`time`, a date; absent when it is no date).
 */
#include "gb26875.h"

/* The dedup key of record number `index` of a frame. */
static void put_dedup(struct cw_writer *w, const struct gb_msg *m, unsigned index)
{
	uint8_t key[18];

	memcpy(key, m->print, sizeof(m->print));
	key[16] = (uint8_t)index;
	key[17] = (uint8_t)(index >> 8);
	cw_record_dedup(w, cw_bytes_of(key, sizeof(key)));
}

static int emit(const struct gb_call *x, uint64_t device, uint64_t ticket, struct cw_writer *w)
{
	if (w->overflow)
		return CW_ELIMIT;
	return x->d->host->emit(x->d->hx, x->ev->conn, device, ticket, cw_written(w));
}

static struct gb_style style_of(const struct gb_call *x)
{
	struct gb_style s = { x->conf, x->d, 0, x->c->bcd };

	return s;
}

static void begin_properties(struct cw_writer *w, const struct gb_call *x)
{
	*w = cw_writer_of(x->d->scratch, GB_SCRATCH);
	cw_record_begin(w, CW_KIND_PROPERTIES);
}

static void begin_event(struct cw_writer *w, const struct gb_call *x, const char *name, unsigned level)
{
	*w = cw_writer_of(x->d->scratch, GB_SCRATCH);
	cw_record_begin(w, CW_KIND_EVENT);
	cw_record_name(w, name);
	cw_record_event_type(w, level);
	if (level != CW_EVENT_INFO)
		cw_record_flags(w, CW_RECORD_URGENT);
}

static void end(struct cw_writer *w)
{
	cw_put_end(w);
	cw_record_end(w);
}

/* ---- state ---------------------------------------------------------------------- */

/* 1 for UTD status bits that somebody must look at: all but normal. */
static int alarming(unsigned status)
{
	return (status & 0x7e) != 0;
}

static void put_utd_state(struct cw_writer *w, const struct gb_conf *conf, unsigned bits)
{
	static const char *const names[] = {
		NULL, "utdFireAlarm", "utdFault", "mainPowerFault", "backupPowerFault", "centerLinkFault", "monitorLineFault",
	};
	int normal = conf->bit0 == GB_BIT0_IGNORE ? !alarming(bits) : (int)(bits & 1) == (conf->bit0 == GB_BIT0_STANDARD);
	unsigned i;

	cw_field_uint(w, "utdStatus", bits);
	cw_field_bool(w, "utdNormal", normal);
	for (i = 1; i < sizeof(names) / sizeof(names[0]); i++)
		cw_field_bool(w, names[i], (int)(bits >> i & 1));
}

static void put_clock(struct cw_writer *w, const struct gb_call *x, const uint8_t *label)
{
	int64_t ms, off;

	if (!gb_time(label, x->c->bcd, &ms))
		return;
	gb_put_date(w, "deviceClock", ms);
	off = ms - x->ev->now_ms;
	cw_field_int(w, "clockOffset", (off < 0 ? off - 500 : off + 500) / 1000);
}

static int is_state(const struct gb_object *o)
{
	switch (o->type->shape) {
	case GB_UTD_STATE:
	case GB_UTD_VERSION:
	case GB_UTD_CONFIG:
	case GB_UTD_CLOCK:
	case GB_VERSION:
	case GB_CONFIG:
	case GB_CLOCK: return 1;
	default: return 0;
	}
}

/* Text "major.minor" of the object, as in the maps of gb26875_adu.c. */
static void put_software(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o)
{
	uint8_t buf[64];
	struct cw_writer map = cw_writer_of(buf, sizeof(buf));

	gb_put_object(&map, s, o);
	cw_put_text(w, "softwareVersion");
	cw_write_bytes(w, cw_map_get(cw_written(&map), "version"));
}

/* What an object says about state, as properties. */
static int publish_state(const struct gb_call *x, const struct gb_msg *m, const struct gb_object *o, uint64_t ticket, unsigned index)
{
	struct gb_style s = style_of(x);
	struct cw_writer w;

	begin_properties(&w, x);
	put_dedup(&w, m, index);
	if (o->type->shape == GB_UTD_STATE && alarming(o->status))
		cw_record_flags(&w, CW_RECORD_URGENT);
	cw_record_body(&w);
	switch (o->type->shape) {
	case GB_UTD_STATE: put_utd_state(&w, x->conf, o->status); break;
	case GB_UTD_VERSION: put_software(&w, &s, o); break;
	case GB_UTD_CONFIG: cw_put_text(&w, "configText"); gb_put_text(&w, x->d, x->conf->utf8, o->text); break;
	case GB_UTD_CLOCK: put_clock(&w, x, o->time); break;
	default:
		if (!gb_system_property(x, &w, o))
			return CW_ELIMIT;
		break;
	}
	end(&w);
	return emit(x, x->c->device, ticket, &w);
}

/* ---- occurrences ---------------------------------------------------------------- */

#define BIT(n) (1u << (n))

static unsigned level_of(const struct gb_object *o)
{
	switch (o->type->shape) {
	case GB_SYSTEM_STATE:
		return o->status & BIT(1) ? CW_EVENT_ERROR : o->status & (BIT(2) | BIT(8) | BIT(9) | BIT(10)) ? CW_EVENT_ALERT : CW_EVENT_INFO;
	case GB_COMPONENT_STATE: return o->status & BIT(1) ? CW_EVENT_ERROR : o->status & (BIT(2) | BIT(8)) ? CW_EVENT_ALERT : CW_EVENT_INFO;
	case GB_UTD_OPERATION: return o->status & BIT(2) ? CW_EVENT_ALERT : CW_EVENT_INFO;
	default: return CW_EVENT_INFO;
	}
}

static const char *event_of(const struct gb_object *o)
{
	switch (o->type->shape) {
	case GB_SYSTEM_STATE: return "systemState";
	case GB_COMPONENT_STATE: return "componentState";
	case GB_ANALOGUE: return "analogueReport";
	case GB_OPERATION: return "systemOperation";
	case GB_UTD_OPERATION: return "utdOperation";
	case GB_COMPONENT_CONFIG: return "componentConfig";
	default: return NULL;
	}
}

/* A value outside the range of its quantity is passed on: it says that the sensor is broken. */
static void look_at_range(const struct gb_call *x, const struct gb_object *o)
{
	struct gb_quantity q;
	int64_t scale = 1, v;
	int e;

	if (o->type->shape != GB_ANALOGUE || !gb_quantity_of(x->conf, o->analogue_type, &q) || q.max == 0)
		return;
	for (e = q.exponent; e < 0; e++)
		scale *= 10;
	v = (int64_t)o->raw * q.mantissa;
	if (v < q.min * scale || v > q.max * scale)
		gb_count(x, GB_N_RANGE, 1);
}

static int publish_event(const struct gb_call *x, const struct gb_msg *m, const struct gb_object *o, uint64_t ticket, unsigned index)
{
	struct gb_style s = style_of(x);
	const char *name = event_of(o);
	struct cw_writer w;

	look_at_range(x, o);
	begin_event(&w, x, name, level_of(o));
	put_dedup(&w, m, index);
	cw_record_body(&w);
	gb_put_members(&w, &s, o);
	end(&w);
	return emit(x, gb_component_device(x, o), ticket, &w);
}

/* Types that are not in the standard, requests that come the wrong way, and the private commands. */
static int publish_raw(const struct gb_call *x, const struct gb_msg *m, uint64_t ticket)
{
	struct cw_writer w;

	gb_count(x, GB_N_UNKNOWN_TYPE, 1);
	begin_event(&w, x, "rawUpload", CW_EVENT_INFO);
	put_dedup(&w, m, 0);
	cw_record_body(&w);
	cw_field_uint(&w, "type", m->adu.ptr[0]);
	cw_field_uint(&w, "count", m->adu.ptr[1]);
	cw_put_text(&w, "dataHex");
	gb_put_hex(&w, cw_bytes_of(m->adu.ptr + 2, m->adu.len - 2));
	end(&w);
	return emit(x, x->c->device, ticket, &w);
}

int gb_publish(const struct gb_call *x, const struct gb_msg *m, uint64_t ticket, unsigned *ret_n)
{
	struct gb_object o;
	struct gb_walk k;
	int rc;

	*ret_n = 0;
	if (!gb_walk(&k, m->adu))
		return 0;
	if (k.type == NULL || k.type->down || m->command != GB_SEND) {
		rc = publish_raw(x, m, ticket);
		*ret_n = rc == 0;
		return rc;
	}
	while (gb_next(&k, &o)) {
		rc = is_state(&o) ? publish_state(x, m, &o, ticket, *ret_n) : publish_event(x, m, &o, ticket, *ret_n);
		if (rc < 0)
			return rc;
		++*ret_n;
	}
	return 0;
}

int gb_publish_state(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_object o;
	struct gb_walk k;
	unsigned n = 0;
	int rc = 0;

	if (!gb_walk(&k, m->adu) || k.type == NULL)
		return 0;
	while (rc == 0 && gb_next(&k, &o) && is_state(&o))
		rc = publish_state(x, m, &o, 0, n++);
	return rc;
}

void gb_publish_malformed(const struct gb_call *x, const char *reason, struct cw_bytes frame)
{
	struct cw_writer w;

	begin_event(&w, x, "malformed", CW_EVENT_ALERT);
	cw_record_body(&w);
	cw_field_text(&w, "reason", reason);
	cw_put_text(&w, "frameHex");
	gb_put_hex(&w, frame);
	end(&w);
	emit(x, x->c->device, 0, &w);
}

/* The versions in the header are a property of the UTD; they stay what they are while it is connected. */
void gb_publish_version(const struct gb_call *x, const struct gb_msg *m)
{
	uint8_t v[2] = { m->version_main, m->version_user };
	struct gb_object o;
	struct gb_style s = style_of(x);
	uint8_t buf[64];
	struct cw_writer w, map = cw_writer_of(buf, sizeof(buf));

	memset(&o, 0, sizeof(o));
	o.type = gb_type_of(25);
	o.major = v[0];
	o.minor = v[1];
	gb_put_object(&map, &s, &o);
	begin_properties(&w, x);
	cw_record_body(&w);
	cw_put_text(&w, "protocolVersion");
	cw_write_bytes(&w, cw_map_get(cw_written(&map), "version"));
	end(&w);
	emit(x, x->c->device, 0, &w);
}

void gb_publish_duty(const struct gb_call *x, const char *name, int64_t requested, const struct gb_msg *m, const struct gb_object *answer)
{
	struct cw_writer w;

	begin_event(&w, x, name, answer == NULL ? CW_EVENT_ALERT : CW_EVENT_INFO);
	if (m != NULL)
		put_dedup(&w, m, 0xffff);
	cw_record_body(&w);
	if (requested >= 0)
		gb_put_date(&w, "requestedAt", requested);
	if (answer != NULL) {
		gb_put_date(&w, "answeredAt", x->ev->now_ms);
		cw_field_uint(&w, "operator", answer->operator_no);
	}
	end(&w);
	emit(x, x->c->device, 0, &w);
}
