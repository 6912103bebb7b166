/*
 * hj212_answer.c - answers owed to uploads and notifications, until the platform has taken what they carried.
 *
 * The device sends again what was not answered, so silence is the right answer while a record's fate is open.
 */
#include "hj212.h"

#include <stdio.h>
#include <stdlib.h>

static void copy(char *to, size_t size, struct cw_bytes t)
{
	size_t n = t.len < size ? t.len : size - 1;

	if (n > 0)
		memcpy(to, t.ptr, n);
	to[n] = 0;
}

static struct hj_ack *take(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, uint64_t ticket)
{
	struct hj_ack **at, *a;

	for (at = &c->acks; (a = *at) != NULL; at = &a->next) {
		if (a->ticket != ticket)
			continue;
		*at = a->next;
		c->ack_count--;
		d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*a));
		return a;
	}
	return NULL;
}

uint64_t hj_answer_later(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m, unsigned cn)
{
	struct hj_conn *c = dev->conn;
	struct cw_bytes pol;
	struct hj_ack *a;

	if (c->ack_count >= HJ_ACKS_MOST || d->host->charge(d->hx, ev->conn, sizeof(*a)) < 0) {
		hj_count(d, HJ_N_UNANSWERED);
		return 0;
	}
	a = calloc(1, sizeof(*a));
	if (a == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*a));
		return 0;
	}
	a->ticket = ++c->next_ticket;
	a->dev = dev;
	a->cn = (uint16_t)cn;
	a->version = (uint8_t)m->version;
	copy(a->qn, sizeof(a->qn), m->qn);
	copy(a->pw, sizeof(a->pw), m->pw);
	if (m->cn == 1013) {
		pol = hj_plain(d, m, "PolId");
		a->calibrate = 1;
		copy(a->polid, sizeof(a->polid), pol.len < sizeof(a->polid) ? pol : cw_bytes_of(NULL, 0));
	}
	a->next = c->acks;
	c->acks = a;
	c->ack_count++;
	return a->ticket;
}

/* 2005 has the number inside CP and no Flag; the sheet's later editions outside, with nothing but the version in Flag. */
static void send_answer(struct cw_decoder *d, const struct cw_event *ev, const struct hj_ack *a, const struct hj_conf *conf)
{
	int inside = a->version == HJ_2005 && !conf->answer_outside;
	char flag[24], *out = d->out + 6;
	int n;

	snprintf(flag, sizeof(flag), "Flag=%u;", (unsigned)a->version << 2);
	n = snprintf(out, sizeof(d->out) - 32, "%s%s%sST=91;CN=%u;%s%s%sMN=%s;%sCP=&&%s%s&&", inside || a->qn[0] == 0 ? "" : "QN=",
	             inside ? "" : a->qn, inside || a->qn[0] == 0 ? "" : ";", a->cn, a->pw[0] == 0 ? "" : "PW=", a->pw, a->pw[0] == 0 ? "" : ";",
	             a->dev->mn, inside ? "" : flag, inside && a->qn[0] != 0 ? "QN=" : "", inside ? a->qn : "");
	if (n < 0 || (size_t)n > HJ_SEGMENT_STD)
		return;
	hj_count(d, HJ_N_ANSWERED);
	d->host->send(d->hx, ev->conn, cw_bytes_of(d->out, hj_close_frame(d->out, (size_t)n)));
}

/* The device asked for the time: 9013 is sent, now 1012 follows. */
static void calibrate(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const char *polid, const struct hj_conf *conf)
{
	uint8_t buf[128];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	char cp[64], now[18];

	hj_time_text(ev->now_ms, conf->zone_min, 0, now);
	snprintf(cp, sizeof(cp), "%s%s%sSystemTime=%s", polid[0] == 0 ? "" : "PolId=", polid, polid[0] == 0 ? "" : ";", now);
	hj_plan_step(&w, 1012, 0, cp);
	hj_command_own(d, ev, dev, cw_written(&w));
}

static void answer(struct cw_decoder *d, const struct cw_event *ev, struct hj_ack *a)
{
	struct hj_device *dev = a->dev;
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);

	send_answer(d, ev, a, conf);
	if (a->calibrate && conf->calibrate && !(ev->flags & (CW_EVF_INSPECT | CW_EVF_KEPT)))
		calibrate(d, ev, dev, a->polid, conf);
	free(a);
}

void hj_answer_now(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, uint64_t ticket)
{
	struct hj_ack *a = take(d, ev, c, ticket);

	if (a != NULL)
		answer(d, ev, a);
}

void hj_answer_never(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, uint64_t ticket)
{
	struct hj_ack *a = take(d, ev, c, ticket);

	if (a != NULL)
		hj_count(d, HJ_N_UNANSWERED);
	free(a);
}

void hj_answer_settled(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c)
{
	if (ev->code == CW_SETTLED_DONE || ev->code == CW_SETTLED_REFUSED)
		hj_answer_now(d, ev, c, ev->ticket);
	else
		hj_answer_never(d, ev, c, ev->ticket);
}

void hj_answer_drop(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, const struct hj_device *dev)
{
	struct hj_ack **at = &c->acks, *a;

	while ((a = *at) != NULL) {
		if (dev != NULL && a->dev != dev) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		c->ack_count--;
		d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*a));
		free(a);
	}
}
