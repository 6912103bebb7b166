/*
 * modbus_session.c - connections: who is at the other end, what its frames are, what is sent to it.
 */
#include "modbus.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define UNKNOWN_CLOSE_MS 5000 /* section 6.2: not at once, or it dials again at once */
#define INNER_SIZE (2 * MB_ENVELOPE_MAX)

void mb_count(struct cw_decoder *d, enum mb_counter what)
{
	d->host->count(d->hx, (uint32_t)what, 1);
}

void mb_say(struct cw_decoder *d, const struct cw_event *ev, int level, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->host->log(d->hx, ev->conn, level, text);
}

/* ---- the instance ---------------------------------------------------------------------------------------- */

void mb_destroy(struct cw_decoder *d)
{
	if (d->cs.from_gbk != (iconv_t)-1)
		iconv_close(d->cs.from_gbk);
	if (d->cs.to_gbk != (iconv_t)-1)
		iconv_close(d->cs.to_gbk);
	free(d->record);
	free(d->texts);
	free(d->values);
	free(d->marks);
	free(d);
}

int mb_create(const struct cw_host *host, void *hx, struct cw_decoder **ret)
{
	struct cw_decoder *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return CW_ENOMEM;
	d->host = host;
	d->hx = hx;
	d->cs.from_gbk = iconv_open("UTF-8", "GBK");
	d->cs.to_gbk = iconv_open("GBK", "UTF-8");
	d->record = malloc(MB_RECORD_MAX);
	d->texts = malloc(MB_TEXTS_MAX);
	if (d->record == NULL || d->texts == NULL) {
		mb_destroy(d);
		return CW_ENOMEM;
	}
	if (d->cs.from_gbk == (iconv_t)-1 || d->cs.to_gbk == (iconv_t)-1) {
		mb_destroy(d);
		return CW_EUNSUPPORTED;
	}
	*ret = d;
	return 0;
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

/* Around a frame, or for itself: the envelope's packet. */
static int send_packet(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, uint8_t type, struct cw_bytes data)
{
	uint8_t out[MB_ASCII_MAX + 32];
	size_t n = mb_envelope_make(c->line.ch, type, c->dtu, data, out, sizeof(out));

	return n == 0 ? CW_EINVAL : d->host->send(d->hx, ev->conn, cw_bytes_of(out, n));
}

int mb_send(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, uint8_t unit, uint16_t tid, struct cw_bytes pdu)
{
	uint8_t frame[MB_ASCII_MAX], escaped[2 * MB_ASCII_MAX];
	size_t n = mb_frame_make(c->line.ch, unit, tid, pdu, frame, sizeof(frame));
	struct cw_bytes out = cw_bytes_of(frame, n);
	int rc;

	if (n == 0)
		return CW_EINVAL;
	if (c->echo != NULL && unit != 0) {
		memcpy(c->echo, frame, n);
		c->line.echo = cw_bytes_of(c->echo, n);
	}
	switch (c->line.ch->envelope) {
	case MB_ENV_DDP: rc = send_packet(d, ev, c, 0x89, out); break;
	case MB_ENV_BRACES: rc = send_packet(d, ev, c, 0x32, out); break;
	case MB_ENV_PROT:
		n = mb_escape(out, escaped, sizeof(escaped));
		rc = d->host->send(d->hx, ev->conn, cw_bytes_of(escaped, n));
		break;
	default: rc = d->host->send(d->hx, ev->conn, out); break;
	}
	c->sent_ms = ev->mono_ms;
	mb_count(d, MB_N_REQUESTS);
	return rc;
}

/* ---- who is there ---------------------------------------------------------------------------------------------- */

static int ask_identity(struct cw_decoder *d, const struct cw_event *ev, const char *text, uint32_t flags)
{
	struct cw_identify who;

	memset(&who, 0, sizeof(who));
	who.size = sizeof(who);
	who.flags = flags;
	who.identity = cw_bytes_text(text);
	return d->host->identify(d->hx, ev->conn, &who);
}

int mb_named(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const char *name)
{
	char prefix[CW_IDENTITY_MAX + 2];
	size_t n = strlen(name);

	if (n + 4 > CW_IDENTITY_MAX)
		return CW_EPROTO;
	if (c->name == NULL) {
		if (mb_keep(d, ev, &c->charged, n + 1) < 0)
			return CW_ECLOSED;
		c->name = malloc(n + 1);
		if (c->name == NULL)
			return CW_ECLOSED;
		memcpy(c->name, name, n + 1);
	}
	(void)snprintf(prefix, sizeof(prefix), "%s/", c->name);
	c->state = MB_C_IDENTIFY;
	c->ready_ms = ev->mono_ms + c->conf->settle_ms;
	return ask_identity(d, ev, prefix, CW_IDENTIFY_MEMBERS) == 0 ? 0 : CW_ECLOSED;
}

/* mode = none: who this is stands in the settings, or in the address. */
static int name_without_packet(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	struct cw_bytes from = ev->listener;
	char name[CW_IDENTITY_MAX + 1];
	size_t n;

	if (c->name != NULL)
		return mb_named(d, ev, c, c->name);
	if (c->conf->by == MB_BY_REGISTER) {
		c->ready_ms = ev->mono_ms + c->conf->settle_ms;
		return 0; /* mb_run() asks */
	}
	if (c->conf->by == MB_BY_PEER) {
		from = ev->peer;
		for (n = from.len; n > 0 && from.ptr[n - 1] != ':' && from.ptr[n - 1] != ']'; n--)
			;
		if (n > 0 && from.ptr[n - 1] == ':')
			from.len = n - 1;
		if (from.len > 2 && from.ptr[0] == '[')
			from = cw_bytes_of(from.ptr + 1, from.len - 2);
	}
	n = from.len < sizeof(name) ? from.len : sizeof(name) - 1;
	memcpy(name, from.ptr, n);
	name[n] = 0;
	return n == 0 ? CW_ECLOSED : mb_named(d, ev, c, name);
}

static void conn_free(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	while (c->jobs != NULL)
		mb_job_end(d, ev, c, c->jobs, MB_CODE_SUPERSEDED);
	while (c->units != NULL)
		mb_unit_remove(d, ev, c, c->units);
	if (c->requests != &c->one_request)
		free(c->requests);
	if (c->outs != &c->one_out)
		free(c->outs);
	free(c->name);
	free(c->again);
	free(c->inner);
	free(c->echo);
	mb_unkeep(d, ev, &c->charged);
	mb_settings_free(d, c->conf);
	free(c);
	*ev->conn_ctx = NULL;
}

static int make_room(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	const struct mb_channel *ch = c->line.ch;

	c->requests = &c->one_request;
	c->outs = &c->one_out;
	c->out_most = 1;
	if (mb_keep(d, ev, &c->charged, sizeof(*c)) < 0)
		return CW_ELIMIT;
	if (ch->local_echo) {
		if (mb_keep(d, ev, &c->charged, MB_ASCII_MAX) < 0)
			return CW_ELIMIT;
		c->echo = malloc(MB_ASCII_MAX);
		if (c->echo == NULL)
			return CW_ENOMEM;
	}
	if (c->conf->max_outstanding > 1 && ch->framing == MB_TCP) {
		struct mb_request *q;
		struct mb_out *o;

		if (mb_keep(d, ev, &c->charged, c->conf->max_outstanding * (sizeof(*q) + sizeof(*o))) < 0)
			return CW_ELIMIT;
		q = calloc(c->conf->max_outstanding, sizeof(*q));
		if (q == NULL)
			return CW_ENOMEM;
		c->requests = q;
		o = calloc(c->conf->max_outstanding, sizeof(*o));
		if (o == NULL)
			return CW_ENOMEM;
		c->outs = o;
		c->out_most = c->conf->max_outstanding;
	}
	return 0;
}

static int on_open(struct cw_decoder *d, const struct cw_event *ev)
{
	struct mb_conn *c = calloc(1, sizeof(*c));
	int dialled = (ev->flags & CW_EVF_DIALLED) != 0;

	if (c == NULL)
		return CW_ECLOSED;
	c->conf = (struct mb_conf *)(uintptr_t)ev->conf;
	c->conf->refs++;
	c->dialled = (uint8_t)dialled;
	c->line.ch = &c->conf->ch[dialled];
	c->line.inspect = (ev->flags & CW_EVF_INSPECT) != 0;
	if (c->line.ch->framing == MB_AUTO && !c->line.inspect)
		c->line.ch = &c->conf->resolved[!dialled ? 0 : ev->flags & CW_EVF_SERIAL ? 2 : 1];
	c->line.dir = c->conf->dir;
	c->line.dir_auto = c->conf->dir_auto;
	c->line.assume = mb_assume;
	c->line.assume_arg = c;
	*ev->conn_ctx = c;
	if (make_room(d, ev, c) < 0)
		return CW_ECLOSED;
	c->line.requests = c->requests;
	if (c->line.inspect)
		return 0;
	if (ev->identity.len > 0 && ev->identity.len < CW_IDENTITY_MAX) {
		if (mb_keep(d, ev, &c->charged, ev->identity.len + 1) < 0)
			return CW_ECLOSED;
		c->name = calloc(1, ev->identity.len + 1);
		if (c->name == NULL)
			return CW_ECLOSED;
		memcpy(c->name, ev->identity.ptr, ev->identity.len);
	}
	if (c->line.ch->reg_mode != MB_REG_NONE || c->line.ch->envelope != MB_ENV_NONE)
		return 0;
	c->line.registered = 1;
	return name_without_packet(d, ev, c) == 0 ? 0 : CW_ECLOSED;
}

static void on_members(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	if (c->name == NULL || c->state != MB_C_IDENTIFY)
		return;
	if (ev->code > 0 || c->units != NULL) {
		c->state = MB_C_READY;
		if (c->line.ch->envelope == MB_ENV_DDP)
			(void)send_packet(d, ev, c, 0x81, cw_bytes_of(NULL, 0));
	} else if (!c->plain_asked) {
		c->plain_asked = 1;
		(void)ask_identity(d, ev, c->name, 0);
	}
}

static void on_identified(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	if (c->name == NULL || ev->device == 0 || ev->device_ctx == NULL || mb_unit_add(d, ev, c) < 0)
		return;
	if ((ev->flags & CW_EVF_ATTACHED) != 0)
		(void)d->host->linger(d->hx, ev->conn, ev->device, ((const struct mb_conf *)ev->conf)->grace_ms);
	if (c->plain_asked && c->state == MB_C_IDENTIFY && cw_bytes_equal(ev->identity, cw_bytes_text(c->name))) {
		c->state = MB_C_READY;
		if (c->line.ch->envelope == MB_ENV_DDP)
			(void)send_packet(d, ev, c, 0x81, cw_bytes_of(NULL, 0));
	}
}

static int on_refused(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	struct mb_unit *u = mb_unit_of(c, ev->identity);

	if (u != NULL && u->device != 0)
		return 0; /* it is with us: the device still points to it, and what ends that is DETACHED */
	if (u != NULL) { /* one that was off, and may not come back now */
		u->state = MB_U_OFF;
		u->probe_ms = ev->mono_ms + c->conf->probe_ms;
		if (ev->code == CW_REFUSED_UNKNOWN)
			mb_unit_remove(d, ev, c, u);
		return 0;
	}
	if (c->name == NULL || c->state != MB_C_IDENTIFY || ev->code == CW_REFUSED_KEPT)
		return 0;
	if (c->line.ch->envelope == MB_ENV_DDP && ev->code == CW_REFUSED_UNKNOWN)
		(void)send_packet(d, ev, c, 0x84, cw_bytes_of(NULL, 0));
	/* Unknown ones are the listener's (`unknown`); the others may try again later. */
	return ev->code == CW_REFUSED_UNKNOWN ? 0 : d->host->close(d->hx, ev->conn, UNKNOWN_CLOSE_MS, "its identity was refused") == 0 ? 0 : CW_ECLOSED;
}

static void on_detached(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	struct mb_unit *u = ev->device_ctx == NULL ? NULL : *ev->device_ctx;

	if (u == NULL)
		return;
	*ev->device_ctx = NULL;
	mb_jobs_of(d, ev, c, u, MB_CODE_SUPERSEDED);
	u->device = 0;
	if (u->state == MB_U_OFF)
		return; /* we have let it go ourselves, and go on asking */
	mb_unit_remove(d, ev, c, u);
	if (c->units == NULL && c->state == MB_C_READY)
		(void)d->host->close(d->hx, ev->conn, 0, "no device of this connection is left");
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

static void sync_line(struct mb_conn *c)
{
	c->line.requests = c->requests;
	c->line.outstanding = c->out_count;
}

int mb_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	struct mb_conn *c = *ev->conn_ctx;
	struct mb_scan s;
	int rc, final = (ev->flags & CW_EVF_FINAL) != 0;

	(void)d;
	if (c == NULL)
		return CW_EPROTO;
	rc = c->line.inspect ? mb_scan_inspect(&c->line, in, final, &s) : mb_scan(&c->line, in, final, &s);
	if (rc < 0)
		return rc;
	ret_cut->skip = s.skip;
	ret_cut->length = s.length;
	ret_cut->need = s.need;
	ret_cut->wait_ms = s.wait_ms;
	if (s.length > 0 || s.need + s.skip <= in.len)
		ret_cut->need = 0;
	return 0;
}

static int registered(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct cw_bytes packet, const char *name)
{
	mb_count(d, MB_N_REGISTRATIONS);
	c->line.registered = 1;
	if (c->line.ch->reg_mode == MB_REG_EVERY && c->again == NULL && packet.len > 0) {
		if (mb_keep(d, ev, &c->charged, packet.len) < 0)
			return CW_ECLOSED;
		c->again = malloc(packet.len);
		if (c->again == NULL)
			return CW_ECLOSED;
		memcpy(c->again, packet.ptr, packet.len);
		c->line.again = cw_bytes_of(c->again, packet.len);
	}
	if (c->state != MB_C_REGISTER)
		return 0;
	return mb_named(d, ev, c, c->name != NULL ? c->name : name);
}

static int on_registration(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct cw_bytes packet)
{
	char name[CW_IDENTITY_MAX + 1];
	struct mb_packet p;

	if (c->line.registered) {
		mb_count(d, MB_N_REGISTRATIONS);
		return 0;
	}
	if (c->line.ch->envelope == MB_ENV_PROT) {
		if (!mb_envelope_read(c->line.ch, packet, &p))
			return CW_EPROTO;
		return registered(d, ev, c, packet, c->line.ch->prot_by_id ? p.id : p.phone);
	}
	if (mb_registration_name(c->line.ch->reg, packet, name, sizeof(name)) == 0) {
		mb_count(d, MB_N_BAD_REGISTRATIONS);
		return CW_EPROTO;
	}
	return registered(d, ev, c, packet, name);
}

static int dispatch(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_scan *s, struct cw_bytes frame);

/* What came inside packets goes through the same scanner, with a buffer of its own. */
static int inner(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct cw_bytes data, int final)
{
	struct mb_scan s;
	int rc = 0;

	if (c->inner == NULL) {
		if (data.len == 0)
			return 0;
		if (mb_keep(d, ev, &c->charged, INNER_SIZE) < 0)
			return CW_ECLOSED;
		c->inner = malloc(INNER_SIZE);
		if (c->inner == NULL)
			return CW_ECLOSED;
	}
	if (data.len > INNER_SIZE - c->inner_len)
		c->inner_len = 0; /* nobody sends so much for one request */
	if (data.len > 0)
		memcpy(c->inner + c->inner_len, data.ptr, data.len);
	c->inner_len += data.len;
	while (c->inner_len > 0) {
		size_t used;

		c->line.inner = 1;
		sync_line(c);
		(void)mb_scan(&c->line, cw_bytes_of(c->inner, c->inner_len), final, &s);
		c->line.inner = 0;
		used = s.skip + s.length;
		if (used == 0)
			break;
		if (s.length > 0)
			rc = dispatch(d, ev, c, &s, cw_bytes_of(c->inner + s.skip, s.length));
		c->inner_len -= used;
		memmove(c->inner, c->inner + used, c->inner_len);
	}
	return rc;
}

static int on_packet(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct cw_bytes packet)
{
	int ddp = c->line.ch->envelope == MB_ENV_DDP;
	struct mb_packet p;

	c->line.tail = 0;
	if (!mb_envelope_read(c->line.ch, packet, &p)) {
		mb_count(d, MB_N_BAD_PACKETS);
		return CW_EPROTO;
	}
	memcpy(c->dtu, p.id, sizeof(c->dtu));
	c->dtu[sizeof(c->dtu) - 1] = 0;
	switch (p.kind) {
	case MB_P_REGISTER:
		if (c->line.registered && c->state == MB_C_READY && ddp)
			return send_packet(d, ev, c, 0x81, cw_bytes_of(NULL, 0)) == 0 ? 0 : CW_EPROTO;
		return registered(d, ev, c, cw_bytes_of(NULL, 0), p.id);
	case MB_P_DEREGISTER:
		(void)send_packet(d, ev, c, 0x82, cw_bytes_of(NULL, 0));
		return d->host->close(d->hx, ev->conn, 0, "the DTU has deregistered") == 0 ? 0 : CW_ECLOSED;
	case MB_P_HEARTBEAT:
		mb_count(d, MB_N_HEARTBEATS);
		return d->host->send(d->hx, ev->conn, packet) == 0 ? 0 : CW_EPROTO; /* the server echoes it */
	case MB_P_DATA:
		if (!c->line.registered) {
			if (ddp)
				return send_packet(d, ev, c, 0x83, cw_bytes_of(NULL, 0)) == 0 ? 0 : CW_EPROTO; /* register again */
			return registered(d, ev, c, cw_bytes_of(NULL, 0), p.id);
		}
		c->line.tail = ddp && p.data.len == 0;
		return inner(d, ev, c, p.data, 0);
	default: return 0;
	}
}

static int on_heartbeat(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, unsigned which)
{
	struct cw_bytes reply = which < c->line.ch->heartbeat_count ? c->line.ch->heartbeats[which].reply : cw_bytes_of(NULL, 0);

	mb_count(d, MB_N_HEARTBEATS);
	if (reply.len > 0)
		(void)d->host->send(d->hx, ev->conn, reply);
	return 0;
}

/* A frame that nobody asked for but that says what it answers. */
static void on_pair(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_scan *s)
{
	struct mb_unit *u;
	struct mb_pdu p;

	if (mb_pdu_read(s->pdu, MB_RESPONSE, &p) != MB_OK || p.exception != 0)
		return;
	mb_count(d, MB_N_UNSOLICITED);
	for (u = c->units; u != NULL; u = u->next)
		if (u->number == s->unit && u->profile != NULL && u->device != 0)
			mb_report_range(d, ev, c, u, p.fc, s->address, s->quantity, p.data);
}

static int dispatch(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_scan *s, struct cw_bytes frame)
{
	unsigned i;

	switch (s->what) {
	case MB_HEARTBEAT: return on_heartbeat(d, ev, c, s->which);
	case MB_REGISTER: return on_registration(d, ev, c, frame);
	case MB_ECHO:
		mb_count(d, MB_N_ECHOES);
		c->line.echo = cw_bytes_of(NULL, 0);
		return 0;
	case MB_ANSWER:
		c->line.echo = cw_bytes_of(NULL, 0);
		mb_on_answer(d, ev, c, s->which, s->pdu);
		return 0;
	case MB_STALE:
		mb_count(d, MB_N_STALE);
		/* The right number, but not the answer to what was asked: the timeout will say so. */
		for (i = 0; i < c->out_count; i++)
			if (c->line.ch->framing == MB_TCP && c->requests[i].tid == s->tid)
				c->outs[i].damaged = 1;
		return 0;
	case MB_PAIR: on_pair(d, ev, c, s); return 0;
	case MB_PACKET: return on_packet(d, ev, c, frame);
	case MB_TAIL: return inner(d, ev, c, frame, 0);
	default: return CW_EPROTO;
	}
}

int mb_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	struct mb_conn *c = *ev->conn_ctx;
	struct mb_scan s;
	int rc;

	if (c == NULL)
		return CW_ECLOSED;
	sync_line(c);
	if (c->line.inspect) {
		/* What frame() has cut is a frame, also where only the end of the input said so. */
		(void)mb_scan_inspect(&c->line, frame, 1, &s);
		mb_inspect(d, ev, c, &s, frame, &rc);
		return rc;
	}
	rc = mb_scan(&c->line, frame, 1, &s);
	if (rc < 0 || s.skip > 0 || s.length != frame.len)
		return CW_EPROTO;
	rc = dispatch(d, ev, c, &s, frame);
	sync_line(c);
	mb_run(d, ev, c);
	return rc;
}

/* ---- events ----------------------------------------------------------------------------------------------------------- */

static void on_online(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, int online)
{
	struct mb_unit *u = ev->device_ctx == NULL ? NULL : *ev->device_ctx;

	if (u == NULL)
		return;
	if (online && u->was_offline)
		mb_unit_fresh(d, ev, c, u); /* the platform has been away: say everything once */
	u->was_offline = !online;
}

int mb_event(struct cw_decoder *d, const struct cw_event *ev)
{
	struct mb_conn *c = ev->conn_ctx == NULL ? NULL : *ev->conn_ctx;
	int rc = 0;

	if (ev->kind == CW_EV_OPEN) {
		rc = on_open(d, ev);
		c = *ev->conn_ctx;
		if (rc == 0 && c != NULL)
			mb_run(d, ev, c);
		return rc;
	}
	if (c == NULL)
		return 0;
	if (ev->kind == CW_EV_CLOSED) {
		conn_free(d, ev, c);
		return 0;
	}
	switch (ev->kind) {
	case CW_EV_IDENTIFIED: on_identified(d, ev, c); break;
	case CW_EV_MEMBERS: on_members(d, ev, c); break;
	case CW_EV_REFUSED: rc = on_refused(d, ev, c); break;
	case CW_EV_DETACHED: on_detached(d, ev, c); break;
	case CW_EV_ONLINE: on_online(d, ev, c, 1); break;
	case CW_EV_OFFLINE: on_online(d, ev, c, 0); break;
	case CW_EV_COMMAND_CANCELLED: mb_cancelled(d, ev, c); break;
	case CW_EV_TIMER: mb_on_timer(d, ev, c); break;
	case CW_EV_SCANNED:
		if (c->inner != NULL && c->inner_len > 0)
			(void)inner(d, ev, c, cw_bytes_of(NULL, 0), 1);
		mb_on_scanned(d, ev, c);
		break;
	default: break;
	}
	sync_line(c);
	mb_run(d, ev, c);
	return rc;
}
