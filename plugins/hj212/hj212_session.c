/*
 * hj212_session.c - connections: whose frame it is, what becomes of it, what is due.
 *
 * A connection carries one device or, through a forwarding server, many; each frame names its own. A frame of a device
 * that this connection has not had yet waits while the host looks it up and is shown again.
 */
#include "hj212.h"

#include <stdio.h>
#include <stdlib.h>

#define TIMER 1

void hj_count(struct cw_decoder *d, unsigned counter)
{
	d->host->count(d->hx, counter, 1);
}

/* ---- instance ------------------------------------------------------------------------------- */

void hj_destroy(struct cw_decoder *d)
{
	hj_text_fini(d);
	free(d->fallback);
	free(d->parts);
	free(d->scratch);
	free(d->joined);
	free(d);
}

int hj_create(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder)
{
	struct cw_decoder *d = calloc(1, sizeof(*d));
	void *conf = NULL;
	char why[8];
	int rc;

	if (d == NULL)
		return CW_ENOMEM;
	d->host = host;
	d->hx = hx;
	memset(d->slots, 0xff, sizeof(d->slots));
	d->parts = calloc(HJ_PARTS_MOST, sizeof(*d->parts));
	d->scratch = malloc(HJ_SCRATCH);
	d->joined = malloc(HJ_JOIN_MOST);
	rc = d->parts == NULL || d->scratch == NULL || d->joined == NULL ? CW_ENOMEM : hj_text_init(d);
	if (rc == 0)
		rc = hj_settings(d, cw_bytes_of("\xa0", 1), why, sizeof(why), &conf);
	d->fallback = conf;
	if (rc < 0) {
		hj_destroy(d);
		return rc;
	}
	*ret_decoder = d;
	return 0;
}

/* ---- time ----------------------------------------------------------------------------------- */

void hj_due(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, uint64_t at_ms)
{
	if (at_ms == UINT64_MAX || (ev->flags & (CW_EVF_INSPECT | CW_EVF_KEPT)) != 0 || (c->armed_ms != 0 && c->armed_ms <= at_ms))
		return;
	c->armed_ms = at_ms;
	d->host->timer(d->hx, ev->conn, TIMER, at_ms > ev->mono_ms ? at_ms - ev->mono_ms : 1);
}

static uint64_t earliest(struct cw_decoder *d, const struct hj_device *dev)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	uint64_t due = hj_command_due(dev), join = hj_join_due(conf, dev), silent = dev->seen_ms + hj_offline_ms(conf, dev);

	if (join < due)
		due = join;
	return dev->attached && silent < due ? silent : due;
}

static void on_timer(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c)
{
	struct hj_device *dev;

	c->armed_ms = 0;
	for (dev = c->devices; dev != NULL; dev = dev->next) {
		hj_command_expire(d, ev, dev);
		hj_join_expire(d, ev, dev);
		if (dev->attached && dev->seen_ms + hj_offline_ms(hj_conf_of(d, c, dev), dev) <= ev->mono_ms) {
			hj_count(d, HJ_N_SILENT);
			dev->seen_ms = ev->mono_ms; /* not again before DETACHED */
			d->host->detach(d->hx, ev->conn, dev->handle);
		}
	}
	for (dev = c->devices; dev != NULL; dev = dev->next)
		hj_due(d, ev, c, earliest(d, dev));
}

/* ---- deviations ------------------------------------------------------------------------------- */

static int is_refused(const struct hj_conf *conf, uint32_t deviations)
{
	unsigned i;

	for (i = 0; i < HJ_D_COUNT; i++)
		if ((deviations & HJ_D(i)) && conf->grade[i] == HJ_REFUSE)
			return 1;
	return 0;
}

/* Count each, warn of those that are to be warned of. 0, or CW_EPROTO. */
static int judge(struct cw_decoder *d, const struct cw_event *ev, const struct hj_conf *conf, uint32_t deviations)
{
	char text[400];
	size_t n = 0;
	unsigned i;
	int refused = is_refused(conf, deviations);

	for (i = 0; i < HJ_D_COUNT; i++) {
		if (!(deviations & HJ_D(i)))
			continue;
		hj_count(d, i);
		if (conf->grade[i] == HJ_ACCEPT || (refused && conf->grade[i] != HJ_REFUSE))
			continue;
		if (n < sizeof(text) - 40)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n == 0 ? "" : ", ", hj_deviation_names[i]);
	}
	if (n > 0) {
		char line[480];

		snprintf(line, sizeof(line), "%s: %s (see `deviations`)", refused ? "frame refused" : "frame deviates from the standard", text);
		d->host->log(d->hx, ev->conn, CW_LEVEL_WARN, line);
	}
	if (refused)
		hj_count(d, HJ_N_REFUSED);
	return refused ? CW_EPROTO : 0;
}

static int broken(struct cw_decoder *d, const struct cw_event *ev, const struct hj_conf *conf, const struct hj_msg *m)
{
	int crc = strcmp(m->error, "crc") == 0, length = strcmp(m->error, "length") == 0;

	hj_count(d, crc ? HJ_N_CRC_BAD : length ? HJ_N_LENGTH_BAD : HJ_N_SEGMENT_BAD);
	d->host->log(d->hx, ev->conn, CW_LEVEL_DEBUG,
	             crc ? "the checksum is wrong" : length ? "the length is not that of the segment" : "the segment lacks CN, MN or CP, or they are none");
	if (ev->flags & CW_EVF_INSPECT)
		hj_inspect(d, ev, conf, m, 0);
	return CW_EPROTO;
}

/* ---- data ------------------------------------------------------------------------------------- */

/* How long after DataTime a packet of this kind is made, at most; -1: not periodic. */
static int64_t period_of(unsigned cn, int *ret_index)
{
	switch (cn) {
	case 2011: *ret_index = 0; return 0;
	case 2021: *ret_index = 1; return 0;
	case 2051: *ret_index = 2; return 30 * 60000;
	case 2061: *ret_index = 3; return 3600000;
	case 2031:
	case 2041: *ret_index = 4; return 24 * 3600000;
	default: return -1;
	}
}

/* Older than it should be, or than what came before it. */
static int is_late(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	int index = 0, late;
	int64_t period = period_of(m->cn, &index), at;

	if (period < 0 || !hj_data_time(d, conf, m, &at))
		return 0;
	late = at + period + conf->late_ms < ev->now_ms || (dev->newest[index] != 0 && at < dev->newest[index]);
	/* A clock that was wrong and is set right must not make history of all that follows. */
	if (at > dev->newest[index] && at < ev->now_ms + conf->late_ms)
		dev->newest[index] = at;
	return late;
}

static unsigned answer_of(const struct hj_conf *conf, unsigned cn)
{
	switch (cn) {
	case 1013:
	case 9015: return 9013;
	case 9021: return conf->login_9022 ? 9022 : 9014;
	default: return 9014;
	}
}

/* Emit, and answer when the platform has it; nothing to emit: at once. */
static void upload(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m, unsigned how, int publish)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	uint64_t ticket = m->ack ? hj_answer_later(d, ev, dev, m, answer_of(conf, m->cn)) : 0;
	int n = publish ? hj_publish(d, ev, dev, m, ticket, how) : 0;

	if (ticket == 0)
		return;
	if (n == 0)
		hj_answer_now(d, ev, dev->conn, ticket);
	else if (n < 0)
		hj_answer_never(d, ev, dev->conn, ticket); /* no room: the device sends it again */
}

static void handle_data(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_msg *m, unsigned how)
{
	int mine, rc;

	if (m->split && m->pnum > 1 && (!m->cp_begins || !m->cp_ends)) {
		rc = hj_join(d, ev, dev, m);
		if (rc < 0) {
			hj_count(d, HJ_N_JOINS_DROPPED);
			return; /* not answered: the device sends it again */
		}
		if (rc == 0) {
			hj_due(d, ev, dev->conn, hj_join_due(hj_conf_of(d, dev->conn, dev), dev));
			upload(d, ev, dev, m, how, 0);
			return;
		}
	}
	mine = ev->flags & CW_EVF_INSPECT ? 0 : hj_command_data(d, ev, dev, m);
	upload(d, ev, dev, m, how | (mine == 2 ? HJ_REPLAYED : 0), mine != 1);
}

static void first_connection(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_conf *conf)
{
	uint8_t plan[512];
	struct cw_writer w = cw_writer_of(plan, sizeof(plan));
	char cp[64], now[18];

	dev->first_done = 1;
	if (!conf->has_first)
		return;
	if (conf->first_clock) {
		hj_time_text(ev->now_ms, conf->zone_min, 0, now);
		snprintf(cp, sizeof(cp), "SystemTime=%s", now);
		hj_plan_step(&w, 1012, 0, cp);
	}
	if (conf->first_timeout) {
		snprintf(cp, sizeof(cp), "OverTime=%u;ReCount=%u", conf->over_ms / 1000, conf->recount);
		hj_plan_step(&w, 1000, 0, cp);
	}
	if (conf->first_rtd > 0) {
		snprintf(cp, sizeof(cp), "RtdInterval=%u", conf->first_rtd);
		hj_plan_step(&w, 1062, 0, cp);
	}
	if (conf->first_min > 0 && hj_version_of(conf, dev) != HJ_2005) {
		snprintf(cp, sizeof(cp), "MinInterval=%u", conf->first_min);
		hj_plan_step(&w, 1064, 0, cp);
	}
	if (conf->first_rtd_on != 0)
		hj_plan_step(&w, conf->first_rtd_on == 1 ? 2011 : 2012, conf->first_rtd_on == 1 ? 0 : HJ_NOTIFY, "");
	if (conf->first_state_on != 0)
		hj_plan_step(&w, conf->first_state_on == 1 ? 2021 : 2022, conf->first_state_on == 1 ? 0 : HJ_NOTIFY, "");
	hj_command_own(d, ev, dev, cw_written(&w));
}

/* ---- frames ------------------------------------------------------------------------------------- */

/* A device that this connection has not had: CW_EBUSY when its frame comes again. */
static int ask(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, const struct hj_msg *m, unsigned flags)
{
	struct cw_identify who = { .size = sizeof(who), .flags = flags, .identity = m->mn };

	if (!hj_utf8_valid(m->mn) || c->device_count >= hj_conf_of(d, c, NULL)->devices) {
		hj_count(d, HJ_N_TOO_MANY);
		return CW_EPROTO;
	}
	return d->host->identify(d->hx, ev->conn, &who) < 0 ? CW_EPROTO : CW_EBUSY;
}

static void inspect_frame(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_msg *m)
{
	hj_inspect(d, ev, hj_conf_of(d, dev->conn, dev), m, 1);
	if (m->cn >= 9000 && m->cn != 9015 && m->cn != 9021)
		return;
	if (m->cn >= 9000)
		upload(d, ev, dev, m, 0, 0);
	else
		handle_data(d, ev, dev, m, 0);
}

static int attached_frame(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_msg *m)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	int late, again;

	if (!hj_password_good(conf, dev, m->pw))
		m->deviations |= HJ_D(HJ_D_PASSWORD);
	again = (m->ack || m->qn.len > 0) && m->cn < 9000 && hj_seen_before(dev, m);
	late = m->cn < 9000 && is_late(d, ev, dev, m);
	m->deviations |= (again ? HJ_D(HJ_D_REPEATED_FRAME) : 0) | (late ? HJ_D(HJ_D_LATE_DATA) : 0);
	if (judge(d, ev, conf, m->deviations) < 0)
		return CW_EPROTO;
	dev->seen_ms = ev->mono_ms;
	hj_due(d, ev, dev->conn, dev->seen_ms + hj_offline_ms(conf, dev));
	hj_device_learn(d, ev, dev, m);
	if (m->cn == 9015 || m->cn == 9021)
		upload(d, ev, dev, m, 0, 0);
	else if (m->cn >= 9011 && m->cn <= 9014)
		hj_command_answer(d, ev, dev, m);
	else if (m->cn >= 9000)
		hj_count(d, HJ_N_UNMATCHED);
	else
		handle_data(d, ev, dev, m, late ? HJ_REPLAYED : 0);
	if (!dev->first_done && !(ev->flags & CW_EVF_KEPT))
		first_connection(d, ev, dev, conf);
	return 0;
}

static struct hj_conn *conn_of(struct cw_decoder *d, const struct cw_event *ev)
{
	struct hj_conn *c = *ev->conn_ctx;

	if (c != NULL)
		return c;
	if (d->host->charge(d->hx, ev->conn, sizeof(*c)) < 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*c));
		return NULL;
	}
	if (ev->kind == CW_EV_OPEN)
		c->conf = ev->conf; /* later events have that of a device */
	*ev->conn_ctx = c;
	return c;
}

int hj_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	struct hj_conn *c = conn_of(d, ev);
	const struct hj_conf *conf;
	struct hj_device *dev;
	struct hj_msg m;
	int refused;

	if (c == NULL)
		return CW_ENOMEM;
	refused = c->refused;
	c->refused = 0;
	if (refused)
		return refused == 1 ? 0 : CW_EPROTO;
	hj_parse(d, frame, &m);
	dev = m.error == NULL ? hj_device_find(c, m.mn) : NULL;
	conf = hj_conf_of(d, c, dev);
	if (m.error != NULL)
		return broken(d, ev, conf, &m);
	m.deviations |= hj_value_deviations(d, conf, &m);
	if (dev != NULL && dev->attached && !(ev->flags & CW_EVF_INSPECT))
		return attached_frame(d, ev, dev, &m);
	if (is_refused(conf, m.deviations)) {
		/* The device may have settings of its own: look before it is refused. */
		if (dev == NULL && !(ev->flags & CW_EVF_INSPECT))
			return ask(d, ev, c, &m, CW_IDENTIFY_LOOKUP | CW_IDENTIFY_OPTIONAL);
		(void)judge(d, ev, conf, m.deviations);
		if (ev->flags & CW_EVF_INSPECT)
			hj_inspect(d, ev, conf, &m, 0);
		return CW_EPROTO;
	}
	if (dev == NULL || !dev->attached)
		return ask(d, ev, c, &m, 0);
	inspect_frame(d, ev, dev, &m);
	return 0;
}

/* ---- events --------------------------------------------------------------------------------------- */

/* The settings of a device that was only looked up are lent: its frames are judged by a copy. */
static void keep_settings(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	if (dev->attached || ev->conf == NULL)
		return;
	hj_device_forget_settings(d, ev, dev);
	if (d->host->charge(d->hx, ev->conn, sizeof(*dev->looked)) < 0)
		return;
	dev->looked = malloc(sizeof(*dev->looked));
	if (dev->looked == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*dev->looked));
		return;
	}
	memcpy(dev->looked, ev->conf, sizeof(*dev->looked));
	dev->conf = dev->looked;
}

static void on_identified(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c)
{
	struct hj_device *dev = hj_device_find(c, ev->identity);

	if (dev == NULL)
		dev = hj_device_new(d, ev, c, ev->identity);
	if (dev == NULL) {
		c->refused = 1; /* no room for it: its frame is passed over */
		return;
	}
	*ev->device_ctx = dev;
	dev->handle = ev->device;
	if (!(ev->flags & CW_EVF_ATTACHED)) {
		keep_settings(d, ev, dev);
		return;
	}
	hj_device_forget_settings(d, ev, dev);
	dev->conf = ev->conf;
	if (dev->attached)
		return;
	dev->attached = 1;
	dev->seen_ms = ev->mono_ms;
	hj_device_load(dev, ev->saved);
	hj_due(d, ev, c, earliest(d, dev));
}

static void on_detached(struct cw_decoder *d, const struct cw_event *ev)
{
	struct hj_device *dev = ev->device_ctx == NULL ? NULL : *ev->device_ctx;

	if (dev == NULL)
		return;
	hj_device_free(d, ev, dev);
	*ev->device_ctx = NULL;
}

static void on_closed(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c)
{
	hj_answer_drop(d, ev, c, NULL);
	while (c->devices != NULL)
		hj_device_free(d, ev, c->devices);
	free(c);
	*ev->conn_ctx = NULL;
	d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*c));
}

int hj_event(struct cw_decoder *d, const struct cw_event *ev)
{
	struct hj_conn *c = ev->kind == CW_EV_OPEN ? conn_of(d, ev) : ev->conn_ctx == NULL ? NULL : *ev->conn_ctx;
	struct hj_device *dev = ev->device_ctx == NULL ? NULL : *ev->device_ctx;

	if (c == NULL)
		return ev->kind == CW_EV_OPEN ? CW_ECLOSED : 0;
	switch (ev->kind) {
	case CW_EV_IDENTIFIED: on_identified(d, ev, c); break;
	case CW_EV_REFUSED:
		/* What was set aside is not shown again; anything else is, and passed over: the standard has no answer for it. */
		if (ev->code != CW_REFUSED_KEPT)
			c->refused = 1;
		break;
	case CW_EV_SETTLED: hj_answer_settled(d, ev, c); break;
	case CW_EV_TIMER: on_timer(d, ev, c); break;
	case CW_EV_COMMAND_CANCELLED:
		if (dev != NULL)
			hj_command_cancelled(d, ev, dev, ev->id);
		break;
	case CW_EV_DETACHED: on_detached(d, ev); break;
	case CW_EV_CLOSED: on_closed(d, ev, c); break;
	default: break;
	}
	return 0;
}
