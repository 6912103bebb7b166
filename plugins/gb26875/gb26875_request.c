/*
 * gb26875_request.c - the link down (clause 5.3, 5.4): one exchange at a time, its time limit, its resends, its answer.
 *
 * A request is one command of the platform, or a read of our own (id 0): one unit after another, each an exchange with a
 * serial of its own. A duty check leaves the queue with its confirm and waits beside it for the person on duty.
 */
#include "gb26875.h"

#define REPLY_MOST (256u * 1024u) /* bytes of objects in one answer */
#define EXTEND_MOST 600000u       /* the host moves a deadline by no more */
#define DUTY_LOOK 300000u         /* how often a waiting duty check has its deadline moved */

struct gb_request {
	struct gb_request *next;
	uint64_t id;         /* 0: our own */
	uint64_t due_ms;     /* monotonic; of a duty check that was confirmed */
	int64_t requested;   /* UTC ms, of a duty check */
	uint8_t command, type, minutes, duty, clock_now, tries;
	uint16_t serial;
	size_t at;           /* of the open unit */
	size_t len, size;    /* of units */
	uint8_t *reply;      /* owned: objects of the answers so far, encoded */
	size_t reply_len, reply_size;
	uint8_t units[];     /* length of two bytes and data unit, one after another */
};

struct gb_request *gb_request_new(const struct gb_call *x, uint64_t id, uint8_t command, uint8_t type, size_t room)
{
	struct gb_request *q = gb_take(x, sizeof(*q) + room);

	if (q == NULL)
		return NULL;
	q->id = id;
	q->command = command;
	q->type = type;
	q->size = room;
	return q;
}

void gb_request_add(struct gb_request *q, struct cw_bytes adu)
{
	struct cw_writer w = cw_writer_of(q->units + q->len, q->size - q->len);

	cw_write_u16le(&w, (uint16_t)adu.len);
	cw_write_bytes(&w, adu);
	if (!w.overflow)
		q->len += w.len;
}

void gb_request_duty(struct gb_request *q, unsigned minutes)
{
	q->duty = 1;
	q->minutes = (uint8_t)minutes;
}

void gb_request_clock(struct gb_request *q)
{
	q->clock_now = 1;
}

static void request_free(const struct gb_call *x, struct gb_request *q)
{
	gb_give(x, q->reply, q->reply_size);
	gb_give(x, q, sizeof(*q) + q->size);
}

static void stop_timer(const struct gb_call *x, uint64_t timer)
{
	x->d->host->timer(x->d->hx, x->ev->conn, timer, CW_TIMER_STOP);
}

static void free_all(const struct gb_call *x, struct gb_request **list)
{
	while (*list != NULL) {
		struct gb_request *q = *list;

		*list = q->next;
		request_free(x, q);
	}
}

/* The host ends their commands itself. */
void gb_requests_free(const struct gb_call *x)
{
	if (x->c->queue != NULL)
		stop_timer(x, GB_TIMER_LINK);
	if (x->c->duty != NULL)
		stop_timer(x, GB_TIMER_DUTY);
	free_all(x, &x->c->queue);
	free_all(x, &x->c->duty);
}

/* ---- sending ------------------------------------------------------------------- */

static struct cw_bytes unit_of(const struct gb_request *q)
{
	return cw_bytes_of(q->units + q->at + 2, (size_t)q->units[q->at] | (size_t)q->units[q->at + 1] << 8);
}

/* Each command behind this one may wait for all its resends. */
static void extend_all(const struct gb_call *x)
{
	uint64_t each = (uint64_t)(x->conf->resends + 1) * x->conf->request_ms + 1000, after = each;
	struct gb_request *q;

	for (q = x->c->queue; q != NULL; q = q->next, after += each)
		if (q->id != 0)
			x->d->host->command_extend(x->d->hx, x->ev->conn, q->id, after < EXTEND_MOST ? after : EXTEND_MOST);
}

/* The open unit of the first request; a resend keeps its serial. */
static void transmit(const struct gb_call *x)
{
	struct gb_conn *c = x->c;
	struct gb_request *q = c->queue;
	uint8_t now[6];
	struct gb_msg m;
	size_t n;

	gb_write_time(now, x->ev->now_ms, c->bcd);
	memset(&m, 0, sizeof(m));
	m.serial = q->serial;
	m.version_main = c->version_main;
	m.version_user = c->version_user;
	m.time = now;
	m.source = c->centre;
	m.destination = c->source;
	m.command = q->command;
	m.adu = unit_of(q);
	if (q->clock_now)
		memcpy(q->units + q->at + 4, now, sizeof(now));
	n = gb_build(x->d->out, &m);
	x->d->host->send(x->d->hx, x->ev->conn, cw_bytes_of(x->d->out, n));
	x->d->host->timer(x->d->hx, x->ev->conn, GB_TIMER_LINK, x->conf->request_ms);
}

static void begin_unit(const struct gb_call *x)
{
	x->c->queue->serial = x->c->serial++;
	x->c->queue->tries = 0;
	extend_all(x);
	transmit(x);
}

void gb_request_start(const struct gb_call *x, struct gb_request *q)
{
	struct gb_request **at = &x->c->queue;

	while (*at != NULL)
		at = &(*at)->next;
	*at = q;
	q->requested = x->ev->now_ms;
	if (x->c->queue == q)
		begin_unit(x);
	else
		extend_all(x);
}

/* ---- ending -------------------------------------------------------------------- */

/* Take the first request from the queue and let the next one begin. */
static struct gb_request *pop(const struct gb_call *x)
{
	struct gb_request *q = x->c->queue;

	stop_timer(x, GB_TIMER_LINK);
	x->c->queue = q->next;
	q->next = NULL;
	if (x->c->queue != NULL)
		begin_unit(x);
	return q;
}

static void done(const struct gb_call *x, struct gb_request *q, int code, struct cw_bytes reply)
{
	if (q->id != 0)
		x->d->host->command_done(x->d->hx, x->ev->conn, q->id, code, reply);
	request_free(x, q);
}

static void fail(const struct gb_call *x, struct gb_request *q, int code, const char *why)
{
	uint8_t buf[96];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	cw_field_text(&w, "message", why);
	cw_put_end(&w);
	done(x, q, code, cw_written(&w));
}

static void succeed(const struct gb_call *x, struct gb_request *q)
{
	static const uint8_t nothing[] = { 0xa0 };
	struct cw_writer w;
	uint8_t *buf;

	if (q->command == GB_CONTROL) {
		done(x, q, CW_CODE_OK, cw_bytes_of(nothing, 1));
		return;
	}
	buf = gb_take(x, q->reply_len + 16);
	if (buf == NULL) {
		fail(x, q, CW_CODE_FAILED, "no memory for the answer");
		return;
	}
	w = cw_writer_of(buf, q->reply_len + 16);
	cw_put_map(&w);
	cw_field_array(&w, "objects");
	cw_write_raw(&w, q->reply, q->reply_len);
	cw_put_end(&w);
	cw_put_end(&w);
	done(x, q, CW_CODE_OK, cw_written(&w));
	gb_give(x, buf, w.size);
}

/* ---- duty checks ------------------------------------------------------------------ */

static void put_duty(struct cw_writer *w, const struct gb_call *x, const struct gb_request *q, const struct gb_object *o)
{
	cw_put_map(w);
	gb_put_date(w, "requestedAt", q->requested);
	if (o != NULL) {
		gb_put_date(w, "answeredAt", x->ev->now_ms);
		cw_field_uint(w, "operator", o->operator_no);
	} else {
		cw_field_text(w, "message", "timeout");
	}
	cw_put_end(w);
}

static void duty_done(const struct gb_call *x, struct gb_request *q, const struct gb_object *o)
{
	uint8_t buf[96];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	put_duty(&w, x, q, o);
	done(x, q, o != NULL ? CW_CODE_OK : CW_CODE_TIMED_OUT, cw_written(&w));
}

/* End what is over, move the deadlines of the others, and look again in time. */
static void duty_look(const struct gb_call *x)
{
	struct gb_request **at = &x->c->duty;
	uint64_t next = DUTY_LOOK;

	while (*at != NULL) {
		struct gb_request *q = *at;
		uint64_t left = q->due_ms > x->ev->mono_ms ? q->due_ms - x->ev->mono_ms : 0;

		if (left == 0) {
			*at = q->next;
			gb_publish_duty(x, "dutyCheckTimeout", q->requested, NULL, NULL);
			duty_done(x, q, NULL);
			continue;
		}
		next = left < next ? left : next;
		/* Ours ends first: the person on duty may be late, the host's deadline may not cut that off. */
		x->d->host->command_extend(x->d->hx, x->ev->conn, q->id, left + 5000 < EXTEND_MOST ? left + 5000 : EXTEND_MOST);
		at = &q->next;
	}
	if (x->c->duty != NULL)
		x->d->host->timer(x->d->hx, x->ev->conn, GB_TIMER_DUTY, next);
	else
		stop_timer(x, GB_TIMER_DUTY);
}

static void duty_wait(const struct gb_call *x, struct gb_request *q)
{
	q->due_ms = x->ev->mono_ms + q->minutes * 60000ull + x->conf->duty_margin_ms;
	q->next = x->c->duty;
	x->c->duty = q;
	duty_look(x);
}

/*
 * One answer ends all that wait: a new prompt replaces the older one on the device. It also ends one whose confirm is still
 * on its way.
 */
int gb_duty_answered(const struct gb_call *x, const struct gb_object *o, int64_t *ret_requested)
{
	int any = 0;

	if (x->c->queue != NULL && x->c->queue->duty) {
		*ret_requested = x->c->queue->requested;
		duty_done(x, pop(x), o);
		any = 1;
	}
	while (x->c->duty != NULL) {
		struct gb_request *q = x->c->duty;

		if (!any)
			*ret_requested = q->requested;
		any = 1;
		x->c->duty = q->next;
		duty_done(x, q, o);
		stop_timer(x, GB_TIMER_DUTY);
	}
	return any;
}

void gb_duty_timer(const struct gb_call *x)
{
	if (x->c->duty != NULL)
		duty_look(x);
}

/* ---- answers ------------------------------------------------------------------- */

/* Objects of a response behind those that came before. 0: too many, or no memory. */
static int collect(const struct gb_call *x, struct gb_request *q, const struct gb_msg *m)
{
	struct gb_style s = { x->conf, x->d, 0, x->c->bcd };
	struct cw_writer w = cw_writer_of(x->d->scratch, GB_SCRATCH);
	struct gb_object o;
	struct gb_walk k;
	void *reply = q->reply;

	if (q->id == 0)
		return 1;
	gb_walk(&k, m->adu);
	while (gb_next(&k, &o))
		gb_put_object(&w, &s, &o);
	if (w.overflow)
		return 0;
	while (q->reply_size - q->reply_len < w.len)
		if (!gb_grow(x, &reply, &q->reply_size, 1, 1024, REPLY_MOST))
			return 0;
		else
			q->reply = reply;
	memcpy(q->reply + q->reply_len, w.ptr, w.len);
	q->reply_len += w.len;
	return 1;
}

static void next_unit(const struct gb_call *x)
{
	struct gb_request *q = x->c->queue;

	q->at += 2 + unit_of(q).len;
	if (q->at < q->len) {
		begin_unit(x);
		return;
	}
	q = pop(x);
	if (q->duty)
		duty_wait(x, q);
	else
		succeed(x, q);
}

/* Once more, or it has failed. */
static void again(const struct gb_call *x, int code, const char *why)
{
	struct gb_request *q = x->c->queue;

	if (q->tries < x->conf->resends && (code != CW_CODE_ERROR || x->conf->resend_on_deny)) {
		q->tries++;
		gb_count(x, GB_N_RESENT, 1);
		transmit(x);
		return;
	}
	gb_count(x, code == CW_CODE_TIMED_OUT ? GB_N_TIMED_OUT : GB_N_DENIED_BY, 1);
	fail(x, pop(x), code, why);
}

/* 1 when the first object of `m` is about something that the open unit asks for. */
static int asked_for(const struct gb_request *q, const struct gb_msg *m)
{
	struct gb_object o, want;
	struct gb_walk k, of;

	if (!gb_walk(&k, m->adu) || !gb_next(&k, &o) || !gb_walk(&of, unit_of(q)))
		return 0;
	while (gb_next(&of, &want)) {
		if (want.type->shape == GB_RESERVED)
			return 1;
		if (want.system_type == o.system_type && want.system_address == o.system_address &&
		    (want.type->shape != GB_OF_COMPONENT || want.component == o.component))
			return 1;
	}
	return 0;
}

/*
 * Some devices answer a read with an upload. With our serial it is the answer; with their own it is, when it is about what
 * was asked. Operation records are told from new operations by the serial only.
 */
static int upload_answers(const struct gb_request *q, const struct gb_msg *m)
{
	if (m->adu.ptr[0] != q->type - 60)
		return 0;
	return m->serial == q->serial || (q->type != 64 && q->type != 84 && asked_for(q, m));
}

static void take_response(const struct gb_call *x, const struct gb_msg *m)
{
	if (collect(x, x->c->queue, m))
		next_unit(x);
	else
		fail(x, pop(x), CW_CODE_FAILED, "the answer is too long");
}

static int on_response(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_request *q = x->c->queue;
	struct gb_walk k;

	if (q->command != GB_REQUEST)
		return 0;
	/* With another serial it may be that of a device which does not copy it, or the second answer to what was asked before. */
	if (m->serial != q->serial && !asked_for(q, m))
		return 0;
	if (m->adu.len >= 2 && m->adu.ptr[0] == q->type - 60 && (!x->conf->strict || (gb_walk(&k, m->adu) && k.fits))) {
		take_response(x, m);
		return 1;
	}
	if (m->serial != q->serial)
		return 0;
	again(x, CW_CODE_FAILED, "the device answered something else");
	return 0;
}

int gb_request_answer(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_request *q = x->c->queue;

	if (q == NULL)
		return 0;
	switch (m->command) {
	case GB_RESPONSE: return on_response(x, m);
	case GB_SEND:
		if (q->command != GB_REQUEST || !upload_answers(q, m))
			return 0;
		take_response(x, m);
		return 1;
	case GB_CONFIRM:
		if (m->serial != q->serial)
			return 0;
		/* A confirm of a read says that its answer is coming. */
		if (q->command == GB_CONTROL)
			next_unit(x);
		return 1;
	case GB_DENY:
		if (m->serial != q->serial)
			return 0;
		again(x, CW_CODE_ERROR, "denied");
		return 1;
	default: return 0;
	}
}

void gb_request_timer(const struct gb_call *x)
{
	if (x->c->queue != NULL)
		again(x, CW_CODE_TIMED_OUT, "timeout");
}

void gb_request_cancelled(const struct gb_call *x)
{
	struct gb_request **at, *q;

	if (x->c->queue != NULL && x->c->queue->id == x->ev->id) {
		request_free(x, pop(x));
		return;
	}
	for (at = &x->c->queue; *at != NULL && (*at)->id != x->ev->id; at = &(*at)->next)
		;
	if (*at == NULL)
		for (at = &x->c->duty; *at != NULL && (*at)->id != x->ev->id; at = &(*at)->next)
			;
	q = *at;
	if (q == NULL)
		return;
	*at = q->next;
	request_free(x, q);
	if (x->c->duty == NULL)
		stop_timer(x, GB_TIMER_DUTY);
}

/* ---- first contact ------------------------------------------------------------------ */

static void ask_own(const struct gb_call *x, uint8_t command, struct cw_bytes adu, int clock)
{
	struct gb_request *q = gb_request_new(x, 0, command, adu.ptr[0], adu.len + 2);

	if (q == NULL)
		return; /* it is asked at the next first contact */
	q->clock_now = (uint8_t)clock;
	gb_request_add(q, adu);
	gb_request_start(x, q);
}

void gb_first_contact(const struct gb_call *x, const struct gb_msg *m)
{
	static const uint8_t clock[8] = { 90, 1 };
	int64_t ms, off = INT64_MAX;
	size_t i;

	if (gb_time(m->time, x->c->bcd, &ms))
		off = ms > x->ev->now_ms ? ms - x->ev->now_ms : x->ev->now_ms - ms;
	if (x->conf->time_sync && off > x->conf->sync_ms)
		ask_own(x, GB_CONTROL, cw_bytes_of(clock, sizeof(clock)), 1);
	for (i = 0; x->conf->reads[i] != 0; i++) {
		uint8_t read[3] = { x->conf->reads[i], 1, 0 };

		ask_own(x, GB_REQUEST, cw_bytes_of(read, sizeof(read)), 0);
	}
}
