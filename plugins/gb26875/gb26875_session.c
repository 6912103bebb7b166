/*
 * gb26875_session.c - the life of a connection: who it is, how long it may be silent.
 *
 *   NEW --a frame, identified--> ATTACHED --silence, detached--> NEW
 *
 * There is no log-in: the first good frame says who sends, and is decoded when that is known. While an identify() is
 * outstanding the host decodes nothing, so the frame at hand is the one that `refused` is about when it is shown again.
 */
#include "gb26875.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- making and ending -------------------------------------------------------- */

int gb_create(const struct cw_host *host, void *hx, struct cw_decoder **ret)
{
	static const uint8_t nothing[] = { 0xa0 };
	struct cw_decoder *d = calloc(1, sizeof(*d));
	void *conf = NULL;
	char why[120];
	int rc = CW_ENOMEM;

	if (d == NULL)
		return CW_ENOMEM;
	d->host = host;
	d->hx = hx;
	d->scratch = malloc(GB_SCRATCH);
	if (d->scratch == NULL)
		goto err;
	rc = gb_settings(d, cw_bytes_of(nothing, 1), why, sizeof(why), &conf);
	if (rc < 0)
		goto err;
	d->fallback = conf;
	rc = gb_text_init(d);
	if (rc < 0)
		goto err;
	*ret = d;
	return 0;
err:
	gb_destroy(d);
	return rc;
}

void gb_destroy(struct cw_decoder *d)
{
	if (d == NULL)
		return;
	gb_text_fini(d);
	free(d->fallback);
	free(d->scratch);
	free(d);
}

void gb_count(const struct gb_call *x, unsigned counter, uint64_t n)
{
	x->d->host->count(x->d->hx, counter, n);
}

int gb_mute(const struct gb_call *x)
{
	return (x->ev->flags & (CW_EVF_INSPECT | CW_EVF_KEPT)) != 0;
}

void *gb_take(const struct gb_call *x, size_t n)
{
	void *p;

	if (x->d->host->charge(x->d->hx, x->ev->conn, (int64_t)n) < 0)
		return NULL;
	p = calloc(1, n);
	if (p == NULL)
		x->d->host->charge(x->d->hx, x->ev->conn, -(int64_t)n);
	return p;
}

void gb_give(const struct gb_call *x, void *p, size_t n)
{
	if (p == NULL)
		return;
	free(p);
	x->d->host->charge(x->d->hx, x->ev->conn, -(int64_t)n);
}

int gb_grow(const struct gb_call *x, void **array, size_t *size, size_t each, size_t least, size_t most)
{
	size_t more = *size == 0 ? least : *size * 2;
	void *p;

	if (more > most)
		more = most;
	if (more <= *size)
		return 0;
	p = gb_take(x, more * each);
	if (p == NULL)
		return 0;
	if (*size > 0)
		memcpy(p, *array, *size * each);
	gb_give(x, *array, *size * each);
	*array = p;
	*size = more;
	return 1;
}

static char *copy_text(struct cw_bytes t)
{
	char *p = malloc(t.len + 1);

	if (p == NULL)
		return NULL;
	if (t.len > 0)
		memcpy(p, t.ptr, t.len);
	p[t.len] = 0;
	return p;
}

static int on_open(const struct cw_event *ev)
{
	struct gb_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return CW_ECLOSED;
	if (ev->identity.len > 0) {
		c->bound = copy_text(ev->identity);
		if (c->bound == NULL) {
			free(c);
			return CW_ECLOSED;
		}
	}
	*ev->conn_ctx = c;
	return 0;
}

/* Everything that belongs to the device, not to the connection. */
static void forget_device(const struct gb_call *x)
{
	struct gb_conn *c = x->c;

	gb_requests_free(x);
	gb_uploads_free(x);
	gb_components_free(x);
	gb_systems_free(x);
	x->d->host->timer(x->d->hx, x->ev->conn, GB_TIMER_SILENCE, CW_TIMER_STOP);
	free(c->utd);
	c->utd = NULL;
	c->conf = NULL;
	c->device = 0;
	c->attached = c->contacted = c->bcd = c->published = 0;
	memset(c->denied, 0, sizeof(c->denied));
}

static void on_closed(const struct gb_call *x)
{
	forget_device(x);
	free(x->c->bound);
	free(x->c);
	*x->ev->conn_ctx = NULL;
}

/* ---- identity ------------------------------------------------------------------- */

static int all_same(const uint8_t *p, uint8_t what)
{
	int i;

	for (i = 0; i < 6; i++)
		if (p[i] != what)
			return 0;
	return 1;
}

static void form(const struct gb_conf *conf, const uint8_t address[6], char *out)
{
	uint8_t turned[6];
	uint64_t v = 0;
	int i;

	for (i = 0; i < 6; i++) {
		v |= (uint64_t)address[i] << (8 * i);
		turned[i] = address[5 - i];
	}
	if (conf->identity == GB_ID_DECIMAL)
		snprintf(out, CW_IDENTITY_MAX + 1, "%llu", (unsigned long long)v);
	else
		gb_hex(out, conf->identity == GB_ID_HEX ? address : turned, 6);
}

/* The peer's address without its port: "192.0.2.7:4711", "[2001:db8::7]:4711". */
static void remote(struct cw_bytes peer, char *out)
{
	size_t n = peer.len, at = 0;

	while (n > 0 && peer.ptr[n - 1] != ':')
		n--;
	n = n > 0 ? n - 1 : peer.len;
	if (n > 2 && peer.ptr[0] == '[' && peer.ptr[n - 1] == ']') {
		at = 1;
		n -= 2;
	}
	if (n > CW_IDENTITY_MAX)
		n = CW_IDENTITY_MAX;
	memcpy(out, peer.ptr + at, n);
	out[n] = 0;
}

/* out[CW_IDENTITY_MAX + 1]; 0: this frame says nothing that could identify a device. */
static int identity_of(const struct gb_call *x, const struct gb_msg *m, char *out)
{
	if (!all_same(m->source, 0) && !all_same(m->source, 0xff)) {
		form(x->conf, m->source, out);
		return 1;
	}
	out[0] = 0;
	if (x->conf->zero == GB_ZERO_BOUND && x->c->bound != NULL)
		snprintf(out, CW_IDENTITY_MAX + 1, "%s", x->c->bound);
	else if (x->conf->zero == GB_ZERO_DESTINATION && !all_same(m->destination, 0) && !all_same(m->destination, 0xff))
		form(x->conf, m->destination, out);
	else if (x->conf->zero == GB_ZERO_REMOTE)
		remote(x->ev->peer, out);
	if (out[0] == 0 && (x->ev->flags & CW_EVF_INSPECT))
		form(x->conf, m->source, out);
	return out[0] != 0;
}

static int ask(const struct gb_call *x, const struct gb_msg *m, const char *identity)
{
	uint8_t facts[96];
	struct cw_writer w = cw_writer_of(facts, sizeof(facts));
	struct cw_identify who;
	char text[16];
	int rc;

	cw_put_map(&w);
	gb_hex(text, m->source, 6);
	cw_field_text(&w, "address", text);
	gb_hex(text, m->destination, 6);
	cw_field_text(&w, "centre", text);
	snprintf(text, sizeof(text), "%u.%u", m->version_main, m->version_user);
	cw_field_text(&w, "version", text);
	cw_put_end(&w);
	memset(&who, 0, sizeof(who));
	who.size = sizeof(who);
	who.identity = cw_bytes_text(identity);
	who.facts = cw_written(&w);
	rc = x->d->host->identify(x->d->hx, x->ev->conn, &who);
	if (rc < 0)
		return rc;
	x->c->asked = 1;
	memcpy(x->c->source, m->source, 6);
	memcpy(x->c->centre, m->destination, 6);
	return CW_EBUSY;
}

/* 1: the frame is of the device that is attached. 0: *ret_rc is what decode() returns. */
static int known(const struct gb_call *x, const struct gb_msg *m, int *ret_rc)
{
	char identity[CW_IDENTITY_MAX + 1];
	int usable = identity_of(x, m, identity);

	*ret_rc = 0;
	if (x->c->attached && usable && strcmp(identity, x->c->utd) == 0)
		return 1;
	if (x->c->attached && (x->ev->flags & CW_EVF_INSPECT))
		forget_device(x); /* a capture may hold many devices */
	if (x->c->attached) {
		if (usable)
			x->d->host->foreign(x->d->hx, x->ev->conn, cw_bytes_text(identity));
		gb_count(x, GB_N_UNIDENTIFIED, 1);
		return 0;
	}
	if (x->c->refused || !usable) {
		if (!x->c->refused)
			x->d->host->log(x->d->hx, x->ev->conn, CW_LEVEL_WARN,
			                "source address is all 00 or all FF, so the device must be told apart by `zeroSource`; frame dropped");
		x->c->refused = 0;
		gb_count(x, GB_N_UNIDENTIFIED, 1);
		return 0;
	}
	*ret_rc = ask(x, m, identity);
	if (*ret_rc != CW_EBUSY)
		*ret_rc = 0; /* no room to ask: the device sends again */
	return 0;
}

static void on_identified(const struct gb_call *x)
{
	const struct gb_conf *conf = x->conf;
	struct gb_conn *c = x->c;

	if (c->attached && x->ev->device != c->device) {
		gb_component_outcome(x, 1);
		return;
	}
	c->asked = 0;
	c->conf = x->ev->conf;
	if (c->attached || !(x->ev->flags & CW_EVF_ATTACHED))
		return;
	c->utd = copy_text(x->ev->identity);
	if (c->utd == NULL) {
		x->d->host->detach(x->d->hx, x->ev->conn, x->ev->device);
		return;
	}
	c->attached = 1;
	c->device = x->ev->device;
	c->bcd = cw_map_int(x->ev->saved, "bcd", 0) != 0;
	c->heard_ms = x->ev->mono_ms;
	if (c->conf != NULL)
		conf = c->conf;
	if (conf->silence_ms > 0 && !gb_mute(x))
		x->d->host->timer(x->d->hx, x->ev->conn, GB_TIMER_SILENCE, conf->silence_ms);
}

static void on_refused(const struct gb_call *x)
{
	if (x->c->attached) {
		gb_component_outcome(x, 0);
		return;
	}
	x->c->asked = 0;
	x->c->refused = x->ev->code != CW_REFUSED_KEPT;
}

/*
 * Its components leave with it: without the device that speaks for them nobody hears them. When it was not we who let it go
 * for its silence, a newer connection has taken its place, or it is not known any more: this one is of no use then.
 */
static void on_detached(const struct gb_call *x)
{
	int silent = x->c->silenced;

	if (x->ev->device != x->c->device || !x->c->attached) {
		gb_component_detached(x);
		return;
	}
	gb_components_leave(x);
	forget_device(x);
	x->c->silenced = 0;
	if (!silent && !gb_mute(x))
		x->d->host->close(x->d->hx, x->ev->conn, 0, "its device was taken away: a newer connection has it, or it is not known any more");
}

static void on_silence(const struct gb_call *x)
{
	struct gb_conn *c = x->c;
	uint64_t silent = x->ev->mono_ms - c->heard_ms;

	if (!c->attached || x->conf->silence_ms == 0)
		return;
	if (silent < x->conf->silence_ms) {
		x->d->host->timer(x->d->hx, x->ev->conn, GB_TIMER_SILENCE, x->conf->silence_ms - silent);
		return;
	}
	gb_count(x, GB_N_SILENT, 1);
	x->d->host->log(x->d->hx, x->ev->conn, CW_LEVEL_INFO, "no valid frame within silenceTime; offline");
	if (x->conf->silence_closes) {
		x->d->host->close(x->d->hx, x->ev->conn, 0, "no valid frame within silenceTime");
		return;
	}
	c->silenced = 1;
	x->d->host->detach(x->d->hx, x->ev->conn, c->device);
}

/* ---- frames ------------------------------------------------------------------- */

static void learn(const struct gb_call *x, const struct gb_msg *m)
{
	struct gb_conn *c = x->c;
	uint8_t buf[16];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	int bcd = gb_guess_bcd(x->conf, m->time, x->ev->now_ms, c->bcd);

	c->heard_ms = x->ev->mono_ms;
	c->version_main = m->version_main;
	c->version_user = m->version_user;
	memcpy(c->source, m->source, 6);
	memcpy(c->centre, m->destination, 6);
	if (bcd == c->bcd)
		return;
	c->bcd = (uint8_t)bcd;
	cw_put_map(&w);
	cw_field_int(&w, "bcd", bcd);
	cw_put_end(&w);
	x->d->host->device_save(x->d->hx, x->ev->conn, c->device, cw_written(&w));
}

/* Where several devices are attached, an event about none of them has the settings of the connection, not those of the UTD. */
struct gb_call gb_call_of(struct cw_decoder *d, const struct cw_event *ev)
{
	struct gb_conn *c = ev->conn_ctx == NULL ? NULL : *ev->conn_ctx;
	struct gb_call x = { d, ev, c, c != NULL && c->conf != NULL ? c->conf : ev->conf != NULL ? ev->conf : d->fallback };

	return x;
}

int gb_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	struct gb_call x = gb_call_of(d, ev);
	struct gb_msg m;
	int rc, error;

	if (x.c == NULL)
		return CW_ECLOSED;
	if (!gb_parse(frame, &m))
		return CW_EPROTO;
	error = gb_check(&x, &m);
	if (ev->flags & CW_EVF_INSPECT)
		gb_inspect(&x, &m, error);
	if (error != GB_OK && error != GB_E_ADU)
		return gb_bad_frame(&x, &m, error, frame);
	x.c->bad_run = 0;
	/* A tool is shown both directions; what the centre sends is nobody's upload. */
	if ((ev->flags & CW_EVF_INSPECT) && (m.command == GB_CONTROL || m.command == GB_REQUEST || m.command == GB_CONFIRM || m.command == GB_DENY))
		return 0;
	if (!known(&x, &m, &rc))
		return rc;
	learn(&x, &m);
	gb_fingerprint(&m); /* each of its records wants it */
	return gb_frame_in(&x, &m, frame);
}

int gb_event(struct cw_decoder *d, const struct cw_event *ev)
{
	struct gb_call x = gb_call_of(d, ev);

	if (ev->kind == CW_EV_OPEN)
		return on_open(ev);
	if (x.c == NULL)
		return 0;
	switch (ev->kind) {
	case CW_EV_IDENTIFIED: on_identified(&x); break;
	case CW_EV_REFUSED: on_refused(&x); break;
	case CW_EV_SETTLED: gb_settled(&x); break;
	case CW_EV_TIMER:
		if (ev->timer == GB_TIMER_LINK)
			gb_request_timer(&x);
		else if (ev->timer == GB_TIMER_DUTY)
			gb_duty_timer(&x);
		else
			on_silence(&x);
		break;
	case CW_EV_COMMAND_CANCELLED: gb_request_cancelled(&x); break;
	case CW_EV_DETACHED: on_detached(&x); break;
	case CW_EV_CLOSED: on_closed(&x); break;
	default: break; /* ONLINE and OFFLINE change nothing: records wait */
	}
	return 0;
}
