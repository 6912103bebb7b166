/*
 * modbus_poll.c - what is asked next, and what becomes of the answers and of those that stay out.
 *
 * Nothing is sent from the place where it is decided: first the final pass empties the buffer (mb_run() asks for it,
 * SCANNED brings us back), so that no old answer is taken for the new one. With echoed transaction ids that cannot
 * happen, and requests are sent at once.
 */
#include "modbus.h"

#define NEVER UINT64_MAX

/* What could be sent now. */
struct pick {
	struct mb_job *job;
	struct mb_unit *unit;
	unsigned group, place;
	int probe, ask;
};

static int by_tid(const struct mb_conn *c)
{
	return c->line.ch->framing == MB_TCP && c->line.ch->tid_mode == MB_TID_ECHO;
}

static void earlier(uint64_t *next, uint64_t t)
{
	if (t < *next)
		*next = t;
}

/* ---- what is next -------------------------------------------------------------------------------------------- */

/* lateGuard: a late answer to the request that timed out would look like the answer to this one. */
static int held_back(const struct mb_conn *c, const struct mb_unit *u, const struct mb_block *b, uint64_t now)
{
	return !by_tid(c) && now < u->not_before_ms && u->late_fc == b->fc && u->late_quantity == b->quantity;
}

/* The block at a place of the group's cycle. */
static unsigned block_at(const struct mb_unit *u, unsigned g, unsigned place)
{
	return u->groups[g].first + (place + u->state_of[g].start) % u->groups[g].count;
}

/* The next block of a group's cycle that may be asked; 0: none is left. */
static int next_block(struct mb_unit *u, unsigned g)
{
	struct mb_group_state *st = &u->state_of[g];

	while (st->at < u->groups[g].count && u->blocks[block_at(u, g, st->at)].bad)
		st->at++;
	return st->at < u->groups[g].count;
}

static int in_flight(const struct mb_conn *c, const struct mb_unit *u, unsigned g, unsigned place)
{
	unsigned i;

	for (i = 0; i < c->out_count; i++)
		if (c->outs[i].unit == u && c->outs[i].job == NULL && c->outs[i].group == g && c->outs[i].place >= place)
			return 1;
	return 0;
}

static void end_cycle(struct mb_unit *u, unsigned g, uint64_t now)
{
	struct mb_group_state *st = &u->state_of[g];
	uint64_t due = st->due_ms + u->groups[g].interval_ms;

	st->running = 0;
	st->at = 0;
	st->tries = st->busy = 0;
	st->due_ms = due > now ? due : now; /* a slow line skips cycles */
}

/* A group that is due, or in the middle of its cycle: the more overdue, the sooner. */
static void look_at_unit(struct mb_conn *c, struct mb_unit *u, uint64_t now, struct pick *best, uint64_t *best_due, uint64_t *next)
{
	unsigned g;

	if (u->state == MB_U_OFF && !u->asked) {
		if (now < u->probe_ms) {
			earlier(next, u->probe_ms);
		} else if (u->probe_ms < *best_due && u->groups[0].count > 0) {
			*best_due = u->probe_ms;
			*best = (struct pick){ .unit = u, .probe = 1 };
		}
		return;
	}
	if (u->state != MB_U_ON || u->device == 0)
		return;
	for (g = 0; g < u->profile->group_count; g++) {
		struct mb_group_state *st = &u->state_of[g];
		const struct mb_block *b;

		if (now < st->due_ms) {
			earlier(next, st->due_ms);
			continue;
		}
		if (!next_block(u, g)) {
			if (!in_flight(c, u, g, 0)) {
				end_cycle(u, g, now);
				if (u->groups[g].count == 0 || st->due_ms <= now)
					st->due_ms = now + u->groups[g].interval_ms; /* nothing but refused points */
				earlier(next, st->due_ms);
			}
			continue;
		}
		if (in_flight(c, u, g, st->at) || st->due_ms >= *best_due)
			continue;
		b = &u->blocks[block_at(u, g, st->at)];
		if (held_back(c, u, b, now)) {
			earlier(next, u->not_before_ms);
			continue;
		}
		*best_due = st->due_ms;
		*best = (struct pick){ .unit = u, .group = g, .place = st->at };
	}
}

/* minDownlinkInterval: nothing is due, but the DTU must hear something. */
static int keep_awake(struct mb_conn *c, uint64_t now, struct pick *ret, uint64_t *next)
{
	struct mb_unit *u;
	uint64_t at = c->sent_ms + c->conf->min_downlink_ms;

	if (c->conf->min_downlink_ms == 0 || c->sent_ms == 0)
		return 0;
	if (now < at) {
		earlier(next, at);
		return 0;
	}
	for (u = c->units; u != NULL; u = u->next) {
		if (u->polled && u->state == MB_U_ON && u->device != 0 && u->profile->group_count > 0 && u->groups[0].count > 0) {
			u->state_of[0].due_ms = now;
			if (!next_block(u, 0))
				continue;
			*ret = (struct pick){ .unit = u, .group = 0, .place = u->state_of[0].at };
			return 1;
		}
	}
	return 0;
}

/* 1: *ret may be sent now; else *next is when to look again. */
static int pick(struct cw_decoder *d, struct mb_conn *c, uint64_t now, struct pick *ret, uint64_t *next)
{
	uint64_t best_due = NEVER;
	struct mb_unit *u;

	(void)d;
	ret->unit = NULL;
	ret->job = NULL;
	ret->ask = ret->probe = 0;
	if (c->state == MB_C_REGISTER && c->line.registered && c->name == NULL && c->conf->by == MB_BY_REGISTER) {
		ret->ask = 1;
		return 1;
	}
	if (c->jobs != NULL) {
		if (now >= c->jobs->ready_ms) {
			ret->job = c->jobs;
			ret->unit = c->jobs->unit;
			return c->out_count == 0; /* nothing else in between */
		}
		earlier(next, c->jobs->ready_ms);
		if (c->jobs->second)
			return 0;
	}
	for (u = c->units; u != NULL; u = u->next)
		if (u->polled && u->profile->group_count > 0)
			look_at_unit(c, u, now, ret, &best_due, next);
	return ret->unit != NULL || keep_awake(c, now, ret, next);
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

/* The answer's time, and what the serial side needs for both frames. */
static uint64_t wait_for(const struct mb_conn *c, const struct mb_request *q)
{
	uint64_t ms = c->conf->answer_ms[c->dialled];
	unsigned bytes = 8 + 5 + (mb_fc_reads(q->fc) ? mb_data_len(q->fc, q->quantity) : 3);

	return c->conf->baud == 0 ? ms : ms + 11u * 1000u * bytes / c->conf->baud + 1;
}

static uint16_t next_tid(struct mb_conn *c)
{
	if (c->line.ch->tid_mode == MB_TID_FIXED)
		return c->line.ch->tid_fixed;
	return ++c->tid;
}

static int send_request(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_request *q, const struct mb_out *o,
                        struct cw_bytes pdu)
{
	unsigned at = c->out_count;

	c->requests[at] = *q;
	c->requests[at].tid = next_tid(c);
	c->outs[at] = *o;
	c->outs[at].deadline_ms = ev->mono_ms + wait_for(c, q);
	c->out_count++;
	c->line.requests = c->requests;
	c->line.outstanding = c->out_count;
	return mb_send(d, ev, c, q->unit, c->requests[at].tid, pdu);
}

static int send_read(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, uint8_t unit, uint8_t fc, int address, unsigned quantity,
                     const struct mb_out *o)
{
	struct mb_request q = { .unit = unit, .fc = fc, .address = (uint16_t)address, .quantity = (uint16_t)quantity };
	uint8_t pdu[5];

	pdu[0] = fc;
	pdu[1] = (uint8_t)(q.address >> 8);
	pdu[2] = (uint8_t)q.address;
	pdu[3] = (uint8_t)(q.quantity >> 8);
	pdu[4] = (uint8_t)q.quantity;
	return send_request(d, ev, c, &q, o, cw_bytes_of(pdu, sizeof(pdu)));
}

static void send_job(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j)
{
	uint8_t pdu[MB_PDU_MAX];
	struct mb_request q;
	struct mb_out o = { .unit = j->unit, .job = j };
	size_t n = mb_job_request(d, j, &q, pdu);

	if (n == 0)
		return;
	q.unit = j->unit->number;
	if (q.unit != 0) {
		(void)send_request(d, ev, c, &q, &o, cw_bytes_of(pdu, n));
		return;
	}
	(void)mb_send(d, ev, c, 0, next_tid(c), cw_bytes_of(pdu, n));
	c->ready_ms = ev->mono_ms + c->conf->broadcast_gap_ms;
	mb_job_sent(d, ev, c, j);
}

static void send_pick(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct pick *p)
{
	struct mb_out o = { .unit = p->unit, .group = (uint16_t)p->group, .probe = (uint8_t)p->probe };
	const struct mb_block *b;

	if (p->ask) {
		(void)send_read(d, ev, c, c->conf->ask.unit, mb_area_fc(c->conf->ask.area), c->conf->ask.address, c->conf->ask.count, &o);
		return;
	}
	if (p->job != NULL) {
		send_job(d, ev, c, p->job);
		return;
	}
	b = &p->unit->blocks[block_at(p->unit, p->group, p->place)];
	o.place = (uint16_t)p->place;
	if (p->probe)
		p->unit->asked = 1;
	else
		p->unit->state_of[p->group].running = 1;
	(void)send_read(d, ev, c, p->unit->number, b->fc, (int)b->address + p->unit->conf->address_shift, b->quantity, &o);
	if (!p->probe && c->out_most > 1)
		p->unit->state_of[p->group].at++; /* the next one may go before this is answered */
}

static void arm(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, uint64_t next)
{
	unsigned i;

	for (i = 0; i < c->out_count; i++)
		earlier(&next, c->outs[i].deadline_ms);
	(void)d->host->timer(d->hx, ev->conn, MB_TIMER, next == NEVER ? CW_TIMER_STOP : next > ev->mono_ms ? next - ev->mono_ms : 0);
}

static int may_run(const struct cw_event *ev, const struct mb_conn *c)
{
	if (ev->flags & (CW_EVF_INSPECT | CW_EVF_KEPT))
		return 0;
	return c->state == MB_C_READY || (c->state == MB_C_REGISTER && c->line.registered && c->conf->by == MB_BY_REGISTER && c->name == NULL);
}

/* Commands that have waited too long for their first request. */
static void drop_late_jobs(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, uint64_t *next)
{
	struct mb_job *j, *after;

	for (j = c->jobs; j != NULL; j = after) {
		after = j->next;
		if (j->started)
			continue;
		if (ev->mono_ms >= j->deadline_ms)
			mb_job_end(d, ev, c, j, MB_CODE_TIMEOUT);
		else
			earlier(next, j->deadline_ms);
	}
}

void mb_run(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	uint64_t next = NEVER;
	struct pick p;

	if (!may_run(ev, c) || c->sending || c->timing)
		return;
	drop_late_jobs(d, ev, c, &next);
	while (c->out_count < c->out_most) {
		if (ev->mono_ms < c->ready_ms) {
			earlier(&next, c->ready_ms);
			break;
		}
		if (!pick(d, c, ev->mono_ms, &p, &next))
			break;
		if (by_tid(c)) {
			send_pick(d, ev, c, &p);
			continue;
		}
		c->sending = 1;
		if (d->host->rescan(d->hx, ev->conn, 1) == 0)
			return; /* SCANNED is next */
		c->sending = 0;
		send_pick(d, ev, c, &p);
	}
	arm(d, ev, c, next);
}

/* ---- answers -------------------------------------------------------------------------------------------------------- */

static void take_out(struct mb_conn *c, unsigned which, struct mb_request *q, struct mb_out *o)
{
	*q = c->requests[which];
	*o = c->outs[which];
	c->out_count--;
	c->requests[which] = c->requests[c->out_count];
	c->outs[which] = c->outs[c->out_count];
	c->line.outstanding = c->out_count;
}

void mb_out_forget(struct mb_conn *c, const struct mb_unit *u, const struct mb_job *j)
{
	unsigned i;

	for (i = 0; i < c->out_count;) {
		struct mb_request q;
		struct mb_out o;

		if ((u != NULL && c->outs[i].unit == u) || (j != NULL && c->outs[i].job == j))
			take_out(c, i, &q, &o);
		else
			i++;
	}
}

static void unit_alive(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u)
{
	struct cw_identify who;

	(void)c;
	u->fails = 0;
	if (u->state != MB_U_OFF || u->device != 0)
		return;
	mb_count(d, MB_N_UNITS_BACK);
	memset(&who, 0, sizeof(who));
	who.size = sizeof(who);
	who.identity = cw_bytes_text(u->identity);
	u->state = MB_U_RETURNING;
	if (d->host->identify(d->hx, ev->conn, &who) < 0) {
		u->state = MB_U_OFF;
		u->probe_ms = ev->mono_ms + u->conf->probe_ms;
	}
}

/* A cycle of this unit has failed: what is left of it is not asked. */
static void unit_failed(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u)
{
	unsigned g;

	if (u->state == MB_U_OFF) {
		u->probe_ms = ev->mono_ms + u->conf->probe_ms;
		return;
	}
	for (g = 0; g < u->profile->group_count; g++)
		if (u->state_of[g].running)
			end_cycle(u, g, ev->mono_ms);
	if (u->fails < 255)
		u->fails++;
	if (u->conf->offline_after == 0 || u->fails < u->conf->offline_after || u->state != MB_U_ON || u->device == 0)
		return;
	mb_count(d, MB_N_UNITS_LOST);
	mb_say(d, ev, CW_LEVEL_WARN, "unit %u has not answered %u cycles in a row: it is offline, and is asked again every %u s", u->number, u->fails,
	       u->conf->probe_ms / 1000);
	mb_report_comm(d, ev, u, 0);
	mb_jobs_of(d, ev, c, u, MB_CODE_OFFLINE);
	u->state = MB_U_OFF;
	u->asked = 0;
	u->probe_ms = ev->mono_ms + u->conf->probe_ms;
	(void)d->host->detach(d->hx, ev->conn, u->device);
}

static void poll_failed(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_request *q, const struct mb_out *o)
{
	struct mb_unit *u = o->unit;
	struct mb_group_state *st;

	u->late_fc = q->fc;
	u->late_quantity = q->quantity;
	u->not_before_ms = ev->mono_ms + c->conf->late_guard_ms;
	if (o->probe) {
		u->asked = 0;
		unit_failed(d, ev, c, u);
		return;
	}
	st = &u->state_of[o->group];
	if (st->tries < u->conf->retries) {
		st->tries++;
		st->at = o->place < st->at ? o->place : st->at;
		mb_count(d, MB_N_RETRIES);
		return;
	}
	unit_failed(d, ev, c, u);
	/* The next cycle begins elsewhere: a late answer then meets a request that it is not the answer to. */
	if (!by_tid(c) && u->groups[o->group].count > 1)
		st->start = (uint16_t)((st->start + 1) % u->groups[o->group].count);
}

/* 02 or 03 for a merged block: some point of it does not exist. 1: the block is asked again, in parts or not at all. */
static int poll_exception(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_out *o, uint8_t code)
{
	struct mb_unit *u = o->unit;
	struct mb_group_state *st = &u->state_of[o->group];

	if (code == 2 || code == 3) {
		mb_unit_split(d, ev, c, u, o->group, block_at(u, o->group, o->place));
		st->at = st->start == 0 && o->place < st->at ? o->place : st->start == 0 ? st->at : 0;
		st->start = 0; /* the places of a cycle that began elsewhere have moved: it begins anew */
		return 1;
	}
	if (code == 6 && st->busy < u->conf->busy_retries) {
		st->busy++;
		st->at = o->place < st->at ? o->place : st->at;
		c->ready_ms = ev->mono_ms + u->conf->busy_wait_ms;
		return 1;
	}
	return 0;
}

static void poll_answer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_request *q, const struct mb_out *o,
                        const struct mb_pdu *p)
{
	struct mb_unit *u = o->unit;
	struct mb_group_state *st = &u->state_of[o->group];
	const struct mb_block *b = &u->blocks[block_at(u, o->group, o->place)];

	if (p->exception == 0x0a || p->exception == 0x0b) { /* speaks of the unit behind a converter */
		poll_failed(d, ev, c, q, o);
		return;
	}
	if (o->probe) {
		u->asked = 0;
		unit_alive(d, ev, c, u);
		return;
	}
	unit_alive(d, ev, c, u);
	if (p->exception != 0 && poll_exception(d, ev, c, o, p->exception))
		return;
	st->tries = st->busy = 0;
	if (c->out_most == 1)
		st->at = (uint16_t)(o->place + 1);
	if (p->exception == 0)
		mb_report_block(d, ev, c, u, b, p->data);
	if (!next_block(u, o->group) && !in_flight(c, u, o->group, 0))
		end_cycle(u, o->group, ev->mono_ms);
}

static void name_answer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_pdu *p)
{
	char name[CW_IDENTITY_MAX + 1];
	struct cw_bytes raw = p->data;
	const uint8_t *nul = raw.len == 0 ? NULL : memchr(raw.ptr, 0, raw.len);

	if (nul != NULL && !c->line.ch->reg->hex)
		raw.len = (size_t)(nul - raw.ptr);
	while (raw.len > 0 && raw.ptr[raw.len - 1] == ' ' && !c->line.ch->reg->hex)
		raw.len--;
	if (p->exception != 0 || mb_registration_name(c->line.ch->reg, raw, name, sizeof(name)) == 0) {
		mb_count(d, MB_N_BAD_REGISTRATIONS);
		(void)d->host->close(d->hx, ev->conn, 5000, "the register that says who it is could not be read as text");
		c->ready_ms = ev->mono_ms + 5000;
		return;
	}
	if (mb_named(d, ev, c, name) < 0)
		(void)d->host->close(d->hx, ev->conn, 0, "its name cannot be an identity");
}

void mb_on_answer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, unsigned which, struct cw_bytes pdu)
{
	struct mb_request q;
	struct mb_out o;
	struct mb_pdu p;

	if (which >= c->out_count)
		return;
	take_out(c, which, &q, &o);
	if (c->ready_ms < ev->mono_ms + c->conf->gap_ms)
		c->ready_ms = ev->mono_ms + c->conf->gap_ms;
	if (mb_pdu_read(pdu, MB_RESPONSE, &p) != MB_OK)
		return; /* the scanner takes none such */
	mb_count(d, p.exception != 0 ? MB_N_EXCEPTIONS : MB_N_ANSWERS);
	if (o.job != NULL) {
		if (p.exception != 0x0a && p.exception != 0x0b)
			unit_alive(d, ev, c, o.unit);
		mb_job_answer(d, ev, c, o.job, &q, pdu);
	} else if (o.unit == NULL) {
		name_answer(d, ev, c, &p);
	} else {
		poll_answer(d, ev, c, &q, &o, &p);
	}
}

/* ---- time -------------------------------------------------------------------------------------------------------------- */

static void expire(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	unsigned i;

	for (i = 0; i < c->out_count;) {
		struct mb_request q;
		struct mb_out o;

		if (c->outs[i].deadline_ms > ev->mono_ms) {
			i++;
			continue;
		}
		take_out(c, i, &q, &o);
		c->line.echo = cw_bytes_of(NULL, 0);
		mb_count(d, MB_N_TIMEOUTS);
		if (o.job != NULL)
			mb_job_timeout(d, ev, c, o.job, o.damaged);
		else if (o.unit == NULL)
			c->ready_ms = ev->mono_ms + c->conf->late_guard_ms;
		else
			poll_failed(d, ev, c, &q, &o);
		i = 0; /* a unit that went offline took others with it */
	}
}

void mb_on_timer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	unsigned i;

	if (ev->timer != MB_TIMER)
		return;
	for (i = 0; i < c->out_count && c->outs[i].deadline_ms > ev->mono_ms; i++)
		;
	if (i == c->out_count)
		return; /* mb_run() follows */
	if (by_tid(c) || c->sending || c->timing) {
		expire(d, ev, c);
		return;
	}
	/* The final pass: what came may be an answer after all. */
	c->timing = 1;
	if (d->host->rescan(d->hx, ev->conn, 1) < 0) {
		c->timing = 0;
		expire(d, ev, c);
	}
}

void mb_on_scanned(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	uint64_t next = NEVER;
	struct pick p;

	if (c->timing) {
		c->timing = 0;
		expire(d, ev, c);
		return;
	}
	if (!c->sending)
		return;
	c->sending = 0;
	if (c->out_count == 0 && ev->mono_ms >= c->ready_ms && may_run(ev, c) && pick(d, c, ev->mono_ms, &p, &next))
		send_pick(d, ev, c, &p);
}

/* ---- unasked answers ------------------------------------------------------------------------------------------------------ */

/* unsolicited = assume: is there exactly one request of that shape? */
int mb_assume(void *arg, uint8_t unit, uint8_t fc, unsigned data_len, uint16_t *ret_address, uint16_t *ret_quantity)
{
	const struct mb_conn *c = arg;
	const struct mb_unit *u;
	unsigned g, b, n = 0;

	for (u = c->units; u != NULL; u = u->next) {
		if (u->number != unit || u->profile == NULL || u->device == 0)
			continue;
		for (g = 0; g < u->profile->group_count; g++) {
			for (b = u->groups[g].first; b < (unsigned)(u->groups[g].first + u->groups[g].count); b++) {
				if (u->blocks[b].fc != fc || mb_data_len(fc, u->blocks[b].quantity) != data_len)
					continue;
				n++;
				*ret_address = (uint16_t)((int)u->blocks[b].address + u->conf->address_shift);
				*ret_quantity = u->blocks[b].quantity;
			}
		}
	}
	return n == 1;
}
