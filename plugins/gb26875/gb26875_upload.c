/*
 * gb26875_upload.c - a frame from the device: is it good, what answers it, and when (clause 5).
 *
 * An upload that made records is answered when their ticket settles; what the answer needs of it is kept until then.
 */
#include "gb26875.h"

#define UPLOADS_MOST 256 /* unsettled on one connection; the device sends again what exceeds it */

struct gb_upload {
	struct gb_upload *next;
	uint64_t ticket, mark; /* mark: of this frame, the same in its resends */
	uint16_t serial;
	uint8_t version_main, version_user;
	uint8_t time[6], source[6], destination[6];
};

/* ---- fingerprints --------------------------------------------------------------- */

static uint64_t fnv(uint64_t h, const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}

/* Serial alone would not do: some devices leave it at 0. The source is there for components, whose device is not the UTD. */
void gb_fingerprint(struct gb_msg *m)
{
	uint8_t serial[2] = { (uint8_t)m->serial, (uint8_t)(m->serial >> 8) };
	uint64_t a = fnv(fnv(fnv(0xcbf29ce484222325ull, m->source, 6), serial, 2), m->adu.ptr, m->adu.len);
	uint64_t b = fnv(fnv(fnv(0x9ae16a3b2f90404full ^ m->adu.len, m->adu.ptr, m->adu.len), serial, 2), m->source, 6);

	memcpy(m->print, &a, 8);
	memcpy(m->print + 8, &b, 8);
}

/* ---- answers -------------------------------------------------------------------- */

/* Answer with the serial and versions of what came, addresses exchanged. */
static void answer_as(const struct gb_call *x, const struct gb_msg *m, uint8_t command, struct cw_bytes adu)
{
	struct gb_msg a = *m;
	uint8_t now[6];
	size_t n;

	if (x->ev->flags & CW_EVF_KEPT)
		return;
	gb_write_time(now, x->ev->now_ms, x->c->bcd);
	a.command = command;
	a.source = m->destination;
	a.destination = m->source;
	a.time = x->conf->confirm_copies_time && adu.len == 0 ? m->time : now;
	a.adu = adu;
	n = gb_build(x->d->out, &a);
	x->d->host->send(x->d->hx, x->ev->conn, cw_bytes_of(x->d->out, n));
	if (command == GB_DENY)
		gb_count(x, GB_N_DENIED, 1);
}

static void answer(const struct gb_call *x, const struct gb_msg *m, uint8_t command)
{
	answer_as(x, m, command, cw_bytes_of(NULL, 0));
}

/* 1 when one more of its kind may go out: answered line noise can make a device send for ever. */
static int may(const struct gb_call *x, struct gb_rate *r, uint32_t a_second)
{
	if (x->ev->flags & CW_EVF_INSPECT)
		return 1;
	if (x->ev->mono_ms - r->from_ms >= 1000 || r->from_ms == 0) {
		r->from_ms = x->ev->mono_ms;
		r->left = a_second;
	}
	if (r->left == 0)
		return 0;
	r->left--;
	return 1;
}

/* The platform hears of it also where nothing is denied. */
static void tell_platform(const struct gb_call *x, int error, struct cw_bytes frame)
{
	if (x->c->attached && may(x, &x->c->told, x->conf->denies > 0 ? x->conf->denies : 1))
		gb_publish_malformed(x, gb_error_name(error), frame);
}

/* Deny what is wrong, and say so to the platform; both in moderation. */
static void deny_bad(const struct gb_call *x, const struct gb_msg *m, int error, struct cw_bytes frame)
{
	tell_platform(x, error, frame);
	if (may(x, &x->c->denies, x->conf->denies))
		answer(x, m, GB_DENY);
	else
		gb_count(x, GB_N_DENIES_HELD, 1);
}

/* ---- checks --------------------------------------------------------------------- */

/* 1 when a private command is to be confirmed (settings). */
static int is_vendor(const struct gb_conf *conf, const struct gb_msg *m)
{
	unsigned i;

	for (i = 0; i < GB_VENDOR_MOST && conf->vendor_any[i] != 0; i++) {
		if (conf->vendor[i] >> 8 != m->command)
			continue;
		if (conf->vendor_any[i] == 1 ? m->adu.len == 0 : m->adu.len > 0 && m->adu.ptr[0] == (conf->vendor[i] & 0xff))
			return 1;
	}
	return 0;
}

int gb_check(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_walk k;

	if (m->error != GB_OK)
		return m->error;
	if ((m->command < GB_CONTROL || m->command > GB_DENY) && !is_vendor(x->conf, m))
		return GB_E_COMMAND;
	if (m->command == GB_CONFIRM || m->command == GB_DENY || !gb_walk(&k, m->adu) || k.type == NULL)
		return GB_OK;
	return k.fits ? GB_OK : GB_E_ADU;
}

int gb_bad_frame(const struct gb_call *x, const struct gb_msg *m, int error, struct cw_bytes frame)
{
	static const uint8_t counters[] = { 0, GB_N_LENGTH, GB_N_TERMINATOR, GB_N_CHECKSUM, GB_N_COMMAND, GB_N_ADU };
	static const char *const texts[] = {
		"", "the header promises more than 1024 bytes of data", "there is no end marker where the length leads",
		"the checksum is wrong", "the command byte is not in the standard", "the object count does not fit the bytes",
	};
	struct gb_conn *c = x->c;

	gb_count(x, counters[error], 1);
	if (x->ev->flags & CW_EVF_INSPECT)
		x->d->host->log(x->d->hx, x->ev->conn, CW_LEVEL_WARN, texts[error]);
	if (c->bad_run < UINT32_MAX)
		c->bad_run++;
	if (c->bad_run == x->conf->foreign_after + 1 && !(x->ev->flags & CW_EVF_INSPECT)) {
		gb_count(x, GB_N_FOREIGN_PROTOCOL, 1);
		x->d->host->log(x->d->hx, x->ev->conn, CW_LEVEL_WARN,
		                "only bad frames: this is a foreign protocol that looks like GB/T 26875.3; no longer denied until a good frame comes");
	}
	if (c->bad_run <= x->conf->foreign_after || (x->ev->flags & CW_EVF_INSPECT))
		deny_bad(x, m, error, frame);
	else
		gb_count(x, GB_N_DENIES_HELD, 1);
	return CW_EPROTO;
}

/* ---- open uploads --------------------------------------------------------------- */

static struct gb_upload *upload_new(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_upload *u;

	if (x->c->upload_count >= UPLOADS_MOST)
		return NULL;
	u = gb_take(x, sizeof(*u));
	if (u == NULL)
		return NULL;
	memcpy(&u->mark, m->print, 8);
	u->ticket = ++x->c->ticket;
	u->serial = m->serial;
	u->version_main = m->version_main;
	u->version_user = m->version_user;
	memcpy(u->time, m->time, 6);
	memcpy(u->source, m->source, 6);
	memcpy(u->destination, m->destination, 6);
	u->next = x->c->uploads;
	x->c->uploads = u;
	x->c->upload_count++;
	return u;
}

static struct gb_upload **find(const struct gb_call *x, uint64_t ticket)
{
	struct gb_upload **at = &x->c->uploads;

	while (*at != NULL && (*at)->ticket != ticket)
		at = &(*at)->next;
	return at;
}

static void upload_free(const struct gb_call *x, struct gb_upload **at)
{
	struct gb_upload *u = *at;

	*at = u->next;
	x->c->upload_count--;
	gb_give(x, u, sizeof(*u));
}

void gb_uploads_free(const struct gb_call *x)
{
	while (x->c->uploads != NULL)
		upload_free(x, &x->c->uploads);
}

/* 1 the first time that this frame is denied because the platform is away. Its resends are then left without answer. */
static int first_deny(struct gb_conn *c, uint64_t mark)
{
	unsigned i;

	for (i = 0; i < sizeof(c->denied) / sizeof(c->denied[0]); i++)
		if (c->denied[i] == mark)
			return 0;
	c->denied[c->denied_next++ % (sizeof(c->denied) / sizeof(c->denied[0]))] = mark;
	return 1;
}

void gb_settled(const struct gb_call *x)
{
	struct gb_upload **at = find(x, x->ev->ticket), *u = *at;
	struct gb_msg m;

	if (u == NULL)
		return;
	memset(&m, 0, sizeof(m));
	m.serial = u->serial;
	m.version_main = u->version_main;
	m.version_user = u->version_user;
	m.time = u->time;
	m.source = u->source;
	m.destination = u->destination;
	if (x->ev->code == CW_SETTLED_DONE || x->ev->code == CW_SETTLED_REFUSED) {
		answer(x, &m, GB_CONFIRM);
	} else if (x->ev->code == CW_SETTLED_LOST) {
		answer(x, &m, GB_DENY);
	} else if (first_deny(x->c, u->mark)) {
		gb_count(x, GB_N_DENIED_PENDING, 1);
		answer(x, &m, GB_DENY);
	}
	upload_free(x, at);
}

/* ---- uploads -------------------------------------------------------------------- */

/* Publish and answer: at once when there was nothing to publish, else when it is settled. */
static int take_upload(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_upload *u;
	unsigned n = 0;
	uint64_t ticket;
	int rc;

	if (m->adu.len < 2) {
		gb_count(x, GB_N_HEARTBEATS, 1);
		answer(x, m, GB_CONFIRM);
		return 0;
	}
	u = upload_new(x, m);
	if (u == NULL)
		return 0; /* silence: it comes again */
	ticket = u->ticket;
	rc = gb_publish(x, m, ticket, &n);
	if (rc == 0 && n > 0)
		return 0;
	/* Nothing to wait for, or no room for all of it: what was taken is known by its fingerprint when it comes again. */
	if (rc < 0 && n > 0)
		return 0;
	upload_free(x, find(x, ticket));
	answer(x, m, rc < 0 ? GB_DENY : GB_CONFIRM);
	return 0;
}

/* Bit 5 of an operation of the UTD: the person on duty has answered. */
static void look_for_duty(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_walk k;
	struct gb_object o;
	int64_t requested = 0;

	if (!gb_walk(&k, m->adu) || k.number != 24)
		return;
	while (gb_next(&k, &o))
		if (o.status >> 5 & 1)
			gb_publish_duty(x, "dutyCheckAnswered", gb_duty_answered(x, &o, &requested) ? requested : -1, m, &o);
}

static int upload(const struct gb_call *x, const struct gb_msg *m, struct cw_bytes frame)
{
	if (gb_check(x, m) == GB_E_ADU) {
		gb_count(x, GB_N_ADU, 1);
		if (x->conf->strict) {
			deny_bad(x, m, GB_E_ADU, frame);
			return CW_EPROTO;
		}
		gb_count(x, GB_N_PARTIAL, 1);
		tell_platform(x, GB_E_ADU, frame);
	}
	if (m->command == GB_SEND && m->adu.len >= 2)
		gb_request_answer(x, m);
	return take_upload(x, m);
}

/* A UTD that sets its clock by us asks with our own command, and is answered with it. */
static int control(const struct gb_call *x, const struct gb_msg *m, struct cw_bytes frame)
{
	uint8_t adu[8] = { 90, 1 };

	if (m->command == GB_CONTROL && m->adu.len >= 2 && m->adu.ptr[0] == 90 && x->conf->vendor_clock) {
		gb_write_time(adu + 2, x->ev->now_ms, x->c->bcd);
		answer_as(x, m, GB_CONTROL, cw_bytes_of(adu, sizeof(adu)));
		return 0;
	}
	return gb_bad_frame(x, m, GB_E_COMMAND, frame);
}

static int by_command(const struct gb_call *x, const struct gb_msg *m, struct cw_bytes frame)
{
	switch (m->command) {
	case GB_CONFIRM:
	case GB_DENY:
	case GB_RESPONSE:
		if (gb_request_answer(x, m)) {
			if (m->command == GB_RESPONSE)
				gb_publish_state(x, m);
		} else {
			gb_count(x, GB_N_UNMATCHED, 1);
		}
		return 0;
	case GB_CONTROL:
	case GB_REQUEST: return control(x, m, frame);
	default:
		look_for_duty(x, m);
		return upload(x, m, frame);
	}
}

int gb_frame_in(const struct gb_call *x, const struct gb_msg *m, struct cw_bytes frame)
{
	int rc;

	if (gb_components_ask(x, m) > 0)
		return CW_EBUSY;
	if (!x->c->published)
		gb_publish_version(x, m);
	x->c->published = 1;
	rc = by_command(x, m, frame);
	if (!x->c->contacted && !gb_mute(x)) {
		x->c->contacted = 1;
		gb_first_contact(x, m);
	}
	return rc;
}
