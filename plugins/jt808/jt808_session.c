/*
 * jt808_session.c - the life of a connection: who it is, what is answered.
 *
 *   NEW --0x0100--> REGISTERED --0x0102--> ONLINE --0x0003, detached--> NEW
 *
 * NEW and REGISTERED wait for the terminal's next message (the host's identifyTime
 * is the deadline); while `wait` is set an answer of identify() is outstanding and
 * the host decodes nothing; the message itself is shown again after the outcome
 * and done with by then, or used. A refused code or number is answered and the
 * connection closed after a moment. Where the host keeps frames of numbers that
 * nobody knows nothing is answered, and every message is asked for.
 *
 * Answers to messages that made records are sent when their ticket settles. The
 * ticket itself holds id and serial, so nothing is kept for it here.
 */
#include "jt808.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define TICKET_ALARM (1ull << 32)
#define TICKET_MEDIA (1ull << 63)

const struct jt_conf *jt_conf_of(const struct cw_decoder *d, const struct cw_event *ev)
{
	return ev->conf != NULL ? ev->conf : d->fallback;
}

void jt_count(struct cw_decoder *d, unsigned counter, uint64_t n)
{
	d->host->count(d->hx, counter, n);
}

void jt_out_init(struct jt_out *o, struct cw_decoder *d, const struct cw_event *ev, int tm, void *buf, size_t size)
{
	o->w = cw_writer_of(buf, size);
	o->d = d;
	o->conf = jt_conf_of(d, ev);
	o->tm = tm;
	o->flaws = 0;
	o->now_ms = ev->now_ms;
}

/* ---- making and ending -------------------------------------------------------- */

int jt_create(const struct cw_host *host, void *hx, struct cw_decoder **ret)
{
	static const uint8_t nothing[] = { 0xa0 };
	struct cw_decoder *d = calloc(1, sizeof(*d));
	void *conf = NULL;
	char why[80];
	int rc = CW_ENOMEM;

	if (d == NULL)
		return CW_ENOMEM;
	d->host = host;
	d->hx = hx;
	d->scratch = malloc(JT_SCRATCH);
	if (d->scratch == NULL)
		goto err;
	rc = jt_settings(d, cw_bytes_of(nothing, 1), why, sizeof(why), &conf);
	if (rc < 0)
		goto err;
	d->fallback = conf;
	rc = CW_EIO;
	if (getrandom(d->key, sizeof(d->key), 0) != (ssize_t)sizeof(d->key))
		goto err;
	rc = jt_text_init(d);
	if (rc < 0)
		goto err;
	*ret = d;
	return 0;
err:
	jt_destroy(d);
	return rc;
}

void jt_destroy(struct cw_decoder *d)
{
	if (d == NULL)
		return;
	jt_text_fini(d);
	free(d->fallback);
	free(d->scratch);
	free(d);
}

static struct jt_conn *conn_of(struct cw_decoder *d, const struct cw_event *ev)
{
	struct jt_conn *c = *ev->conn_ctx;

	if (c != NULL)
		return c;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->edition = jt_conf_of(d, ev)->edition_default;
	*ev->conn_ctx = c;
	return c;
}

static void drop_held(struct jt_conn *c)
{
	free(c->held);
	c->held = NULL;
	c->held_len = 0;
}

static void conn_free(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	if (c == NULL)
		return;
	jt_command_drop(d, ev, c);
	jt_parts_free(d, ev, c);
	drop_held(c);
	jt_drop_reg(c);
	free(c);
	*ev->conn_ctx = NULL;
}

/* ---- sending ------------------------------------------------------------------ */

int jt_send(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint16_t id, struct cw_bytes body)
{
	size_t n;

	if (body.len > JT_BODY_MAX)
		return CW_EINVAL;
	n = jt_build(c, id, c->serial++, 0, 0, body, d->out);
	return d->host->send(d->hx, ev->conn, cw_bytes_of(d->out, n));
}

void jt_reply(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint16_t serial, uint16_t id, int result)
{
	uint8_t body[5] = { (uint8_t)(serial >> 8), (uint8_t)serial, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)result };

	jt_send(d, ev, c, 0x8001, cw_bytes_of(body, sizeof(body)));
}

/* 23 bits of a running number keep tickets apart when a terminal never counts its messages. */
uint64_t jt_ticket(struct jt_conn *c, const struct jt_msg *m, int alarm)
{
	return (uint64_t)(++c->ticket & 0x7fffffu) << 33 | (alarm ? TICKET_ALARM : 0) | (uint64_t)m->id << 16 | m->serial;
}

uint64_t jt_ticket_media(struct jt_conn *c, uint16_t serial, uint32_t media_id)
{
	return TICKET_MEDIA | (uint64_t)(++c->ticket & 0x7fffu) << 48 | (uint64_t)media_id << 16 | serial;
}

static void on_settled(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	int good = ev->code == CW_SETTLED_DONE || ev->code == CW_SETTLED_REFUSED;
	int alarm = (ev->ticket & TICKET_ALARM) != 0;
	uint16_t serial = (uint16_t)ev->ticket;
	uint8_t media[6];
	struct cw_writer w = cw_writer_of(media, sizeof(media));

	if (ev->ticket & TICKET_MEDIA) {
		jt_reply(d, ev, c, serial, 0x0801, good ? 0 : 1);
		if (!good)
			return;
		if (c->edition == JT_2011)
			cw_write_u16be(&w, serial);
		cw_write_u32be(&w, (uint32_t)(ev->ticket >> 16));
		jt_send(d, ev, c, 0x8800, cw_written(&w));
		return;
	}
	jt_reply(d, ev, c, serial, (uint16_t)(ev->ticket >> 16), !good ? 1 : alarm && c->edition != JT_2011 ? jt_conf_of(d, ev)->alarm_result : 0);
}

/* ---- identity ----------------------------------------------------------------- */

static void put_fact(struct cw_writer *w, const char *key, struct cw_bytes body, const char *from)
{
	struct cw_bytes v = cw_map_get(body, from);

	if (v.len < 2)
		return;
	cw_put_text(w, key);
	cw_write_bytes(w, v);
}

/* What provisioning rules may look at, from the body of 0x0100 or 0x0102. */
static struct cw_bytes facts_of(struct cw_decoder *d, const struct cw_event *ev, const struct jt_msg *m)
{
	struct jt_out o;
	struct cw_writer w = cw_writer_of(d->scratch + JT_SCRATCH / 2, JT_SCRATCH / 2);
	char number[24];

	jt_out_init(&o, d, ev, 1, d->scratch, JT_SCRATCH / 2);
	jt_number_text(m->number, m->number_len, number);
	cw_put_map(&w);
	cw_field_text(&w, "phone", number);
	cw_put_map(&o.w);
	if (jt_decode_body(&o, m) == 0) {
		cw_put_end(&o.w);
		put_fact(&w, "manufacturer", cw_written(&o.w), "manufacturer");
		put_fact(&w, "model", cw_written(&o.w), "model");
		put_fact(&w, "terminalId", cw_written(&o.w), "terminalId");
		put_fact(&w, "plate", cw_written(&o.w), "plate");
		put_fact(&w, "imei", cw_written(&o.w), "imei");
		put_fact(&w, "softwareVersion", cw_written(&o.w), "softwareVersion");
	}
	cw_put_end(&w);
	return cw_written(&w);
}

/* The code inside 0x0102, without padding. */
static struct cw_bytes code_of(struct cw_bytes body, int edition)
{
	if (edition == JT_2019 && body.len > 0 && 1u + body.ptr[0] <= body.len)
		body = cw_bytes_of(body.ptr + 1, body.ptr[0]);
	while (body.len > 0 && (body.ptr[body.len - 1] == 0 || body.ptr[body.len - 1] == ' '))
		body.len--;
	return body;
}

static int ask(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, int wait, int lookup)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	struct cw_identify who;
	char id[CW_IDENTITY_MAX + 1];
	struct cw_bytes code;
	size_t n = jt_identity(conf, m->number, m->number_len, id);
	int rc;

	if (n == 0 && (conf->zero_number == 1 || ev->flags & CW_EVF_INSPECT)) {
		id[n++] = '0';
	} else if (n == 0 && conf->zero_number == 2 && m->id == 0x0102) {
		code = code_of(m->body, m->edition);
		if (code.len == 0 || code.len > CW_IDENTITY_MAX || !jt_printable(code))
			return CW_EINVAL;
		memcpy(id, code.ptr, code.len);
		n = code.len;
	}
	if (n == 0)
		return CW_EINVAL;
	memset(&who, 0, sizeof(who));
	who.size = sizeof(who);
	who.flags = lookup ? CW_IDENTIFY_LOOKUP : 0;
	who.identity = cw_bytes_of(id, n);
	who.facts = facts_of(d, ev, m);
	c->wait = (uint8_t)wait;
	c->wait_id = m->id;
	c->wait_serial = m->serial;
	rc = d->host->identify(d->hx, ev->conn, &who);
	if (rc < 0)
		c->wait = JT_WAIT_NONE;
	return rc;
}

static int hold(struct jt_conn *c, struct cw_bytes bytes)
{
	drop_held(c);
	c->held = malloc(bytes.len + 1);
	if (c->held == NULL)
		return CW_ENOMEM;
	if (bytes.len > 0)
		memcpy(c->held, bytes.ptr, bytes.len);
	c->held_len = (uint32_t)bytes.len;
	return 0;
}

static void answer_register(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint16_t serial, int result)
{
	uint8_t body[3 + JT_CODE_LEN];
	struct cw_writer w = cw_writer_of(body, sizeof(body));

	cw_write_u16be(&w, serial);
	cw_write_u8(&w, (uint8_t)result);
	if (result == 0)
		cw_write_raw(&w, c->code, c->code_len);
	jt_send(d, ev, c, 0x8100, cw_written(&w));
}

static void refuse_register(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint16_t serial)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);

	answer_register(d, ev, c, serial, conf->unknown_register);
	if (conf->unknown_close_ms > 0)
		d->host->close(d->hx, ev->conn, conf->unknown_close_ms, "terminal number is not known");
}

static void refuse_auth(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const char *why)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);

	jt_count(d, JT_N_AUTH_FAILED, 1);
	jt_reply(d, ev, c, c->wait_serial, 0x0102, 1);
	c->state = JT_NEW;
	drop_held(c);
	if (conf->auth_close_ms > 0)
		d->host->close(d->hx, ev->conn, conf->auth_close_ms, why);
}

/* A new code: unpredictable, printable, from the key drawn when the instance was made. */
static void issue_code(struct cw_decoder *d, struct jt_conn *c)
{
	static const char alphabet[] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
	uint8_t raw[16];
	int i;

	jt_siphash(d->key, cw_bytes_of(c->number, c->number_len), ++d->issued, raw);
	for (i = 0; i < JT_CODE_LEN; i++)
		c->code[i] = alphabet[raw[i] & 31];
	c->code_len = JT_CODE_LEN;
}

static int on_register(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	int rc;

	jt_keep_reg(c, m->edition, m->body);
	if (!m->wide && !jt_conf_of(d, ev)->edition_fixed)
		c->edition = m->edition;
	if (c->attached) {
		if (c->code_len == 0)
			issue_code(d, c);
		answer_register(d, ev, c, m->serial, 0);
		jt_publish_identity(d, ev, c, NULL);
		jt_drop_reg(c);
		jt_save(d, ev, c);
		return 0;
	}
	rc = ask(d, ev, c, m, JT_WAIT_REGISTER, 1);
	if (rc == CW_EINVAL)
		refuse_register(d, ev, c, m->serial);
	return rc == 0 ? CW_EBUSY : 0; /* an error is silence: the terminal tries again */
}

/* 1 when the code is right for the device whose settings are in `ev`. */
static int code_good(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, struct cw_bytes code)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	struct cw_bytes want = conf->auth == 2 ? cw_bytes_of(conf->secret, conf->secret_len) : cw_bytes_of(c->code, c->code_len);
	uint8_t diff = 0;
	size_t i;

	if (conf->auth == 1)
		return 1;
	if (want.len == 0 || code.len != want.len)
		return 0;
	for (i = 0; i < want.len; i++)
		diff |= code.ptr[i] ^ want.ptr[i];
	return diff == 0;
}

static int on_auth(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	int rc, lookup = conf->auth != 1;

	c->wait_serial = m->serial;
	if (c->attached) {
		int good = conf->auth == 1 || code_good(d, ev, c, code_of(m->body, m->edition));

		if (!good)
			jt_count(d, JT_N_AUTH_FAILED, 1);
		jt_reply(d, ev, c, m->serial, m->id, good ? 0 : 1);
		return 0;
	}
	if (hold(c, m->body) < 0)
		return 0;
	rc = ask(d, ev, c, m, lookup ? JT_WAIT_AUTH_LOOKUP : JT_WAIT_AUTH, lookup);
	if (rc == CW_EINVAL)
		refuse_auth(d, ev, c, "terminal number is not usable");
	else if (rc < 0)
		drop_held(c);
	return rc == 0 ? CW_EBUSY : 0;
}

/* The message of which identify() was asked, from what the connection keeps of it. */
static void held_msg(const struct jt_conn *c, struct jt_msg *m)
{
	memset(m, 0, sizeof(*m));
	m->id = c->wait_id;
	m->serial = c->wait_serial;
	m->wide = c->wide;
	m->edition = c->edition;
	m->number_len = c->number_len;
	memcpy(m->number, c->number, sizeof(m->number));
	m->body = cw_bytes_of(c->held, c->held_len);
}

static void inspect_records(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m);

static void attached(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, int wait)
{
	struct cw_bytes number = cw_map_text(ev->saved, "number");
	struct jt_msg m;

	c->attached = 1;
	c->device = ev->device;
	c->state = JT_ONLINE;
	jt_load(c, ev->saved, jt_conf_of(d, ev)->edition_fixed);
	if (!(ev->flags & CW_EVF_INSPECT) && c->number_len > 0 &&
	    (!cw_bytes_equal(number, cw_bytes_of(c->number, c->number_len)) || cw_map_int(ev->saved, "header", -1) != (int64_t)jt_header_word(c)))
		jt_save(d, ev, c);
	if (wait == JT_WAIT_AUTH) {
		held_msg(c, &m);
		jt_reply(d, ev, c, c->wait_serial, 0x0102, 0);
		jt_publish_identity(d, ev, c, &m);
		if (c->reg != NULL) {
			jt_drop_reg(c);
			jt_save(d, ev, c);
		}
		drop_held(c);
	} else if (wait == JT_WAIT_INSPECT) {
		held_msg(c, &m);
		inspect_records(d, ev, c, &m);
		c->edition = jt_conf_of(d, ev)->edition_default;
		drop_held(c);
	} else if (wait == JT_WAIT_ANY) {
		jt_publish_identity(d, ev, c, NULL);
	}
}

static void looked_up(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, int wait)
{
	struct jt_msg m;

	if (wait == JT_WAIT_REGISTER) {
		struct cw_bytes saved = cw_map_text(ev->saved, "code");

		if (saved.len > 0 && saved.len <= sizeof(c->code)) {
			memcpy(c->code, saved.ptr, saved.len);
			c->code_len = (uint8_t)saved.len;
		} else {
			issue_code(d, c);
		}
		c->alarm = (uint32_t)cw_map_int(ev->saved, "alarm", 0);
		c->state = JT_REGISTERED;
		jt_save(d, ev, c);
		answer_register(d, ev, c, c->wait_serial, 0);
		return;
	}
	jt_load(c, ev->saved, jt_conf_of(d, ev)->edition_fixed);
	held_msg(c, &m);
	if (!code_good(d, ev, c, code_of(m.body, m.edition))) {
		refuse_auth(d, ev, c, "authentication code is wrong");
		return;
	}
	if (ask(d, ev, c, &m, JT_WAIT_AUTH, 0) == CW_EINVAL)
		refuse_auth(d, ev, c, "terminal number is not usable");
}

static void on_identified(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	int wait = c->wait;

	c->wait = JT_WAIT_NONE;
	c->kept = 0;
	/* A look-up that finds the device here already, as when it was added meanwhile, leaves its message to be looked
	 * at. */
	c->skip = wait == JT_WAIT_AUTH ||
		  ((wait == JT_WAIT_REGISTER || wait == JT_WAIT_AUTH_LOOKUP) && !(ev->flags & CW_EVF_ATTACHED));
	if (ev->flags & CW_EVF_ATTACHED)
		attached(d, ev, c, wait);
	else if (wait == JT_WAIT_REGISTER || wait == JT_WAIT_AUTH_LOOKUP)
		looked_up(d, ev, c, wait);
}

static void on_refused(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	int wait = c->wait;

	c->wait = JT_WAIT_NONE;
	c->skip = 1;
	if (ev->code == CW_REFUSED_KEPT) {
		c->kept = 1;
		c->busy = c->skip = 0;
		jt_drop_reg(c);
		drop_held(c);
		return;
	}
	/* Nobody could be asked: silence makes the terminal try again, an answer would make it give up. */
	if (ev->code == CW_REFUSED_LATER) {
		drop_held(c);
		return;
	}
	if (wait == JT_WAIT_REGISTER) {
		jt_drop_reg(c);
		refuse_register(d, ev, c, c->wait_serial);
	} else if (wait == JT_WAIT_AUTH_LOOKUP || wait == JT_WAIT_AUTH) {
		refuse_auth(d, ev, c, "terminal was refused");
	} else if (wait == JT_WAIT_ANY || wait == JT_WAIT_KEPT) {
		jt_reply(d, ev, c, c->wait_serial, c->wait_id, 1);
		if (conf->unknown_close_ms > 0)
			d->host->close(d->hx, ev->conn, conf->unknown_close_ms, "terminal number is not known");
	}
}

static void on_detached(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	jt_command_drop(d, ev, c);
	jt_parts_free(d, ev, c);
	c->attached = 0;
	c->device = 0;
	c->state = JT_NEW;
	c->has_status = 0;
}

/* Leaving the vehicle: the code is void from now on. */
static void on_logout(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	static const uint8_t empty[] = { 0xa0 };

	jt_reply(d, ev, c, m->serial, m->id, 0);
	if (!c->attached)
		return;
	jt_publish_event(d, ev, c, "LoggedOut", cw_bytes_of(empty, 1), cw_bytes_of(NULL, 0), 0);
	c->code_len = 0;
	jt_save(d, ev, c);
	d->host->detach(d->hx, ev->conn, c->device);
}

/* ---- frames ------------------------------------------------------------------- */

static void send_time(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	uint8_t body[6];
	struct cw_writer w = cw_writer_of(body, sizeof(body));

	jt_write_bcd_time(&w, ev->now_ms, 0);
	jt_send(d, ev, c, 0x8004, cw_written(&w));
}

static int unidentified(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m,
			int again)
{
	/* Kept frames are from before the log-in. Who only has his kept is not let in by the number alone. */
	int any = jt_conf_of(d, ev)->identify_by_any || (ev->flags & CW_EVF_KEPT) != 0, rc;

	if (!again)
		jt_count(d, JT_N_UNIDENTIFIED, 1);
	if (!any && !c->kept) {
		jt_reply(d, ev, c, m->serial, m->id, 1);
		return 0;
	}
	rc = ask(d, ev, c, m, any ? JT_WAIT_ANY : JT_WAIT_KEPT, !any);
	if (rc == CW_EINVAL)
		jt_reply(d, ev, c, m->serial, m->id, 1);
	return rc == 0 ? CW_EBUSY : 0;
}

static void count_flaws(struct cw_decoder *d, uint32_t flaws)
{
	static const uint8_t counters[] = { JT_N_ESCAPE, JT_N_CHECKSUM, JT_N_LAYOUT, JT_N_LENGTH, JT_N_NUMBER };
	unsigned i;

	for (i = 0; i < sizeof(counters); i++)
		if (flaws & (1u << i))
			jt_count(d, counters[i], 1);
}

/* Our header is a copy of the terminal's: layout, version, number bytes, bit 14. */
static void learn_header(struct jt_conn *c, const struct jt_msg *m)
{
	if (c->locked && (m->flaws & JT_FLAW_LENGTH))
		return;
	c->locked = !(m->flaws & JT_FLAW_LENGTH);
	c->wide = m->wide;
	c->version = m->version;
	c->bit14 = (m->attr >> 14) & 1 && !m->vendor;
	c->number_len = m->number_len;
	memcpy(c->number, m->number, sizeof(c->number));
	if (m->wide)
		c->edition = JT_2019;
	else if (c->edition == JT_2019)
		c->edition = m->edition;
}

/* 1 when the frame is from the terminal this connection belongs to; leading zeros do not matter. */
static int same_number(struct cw_decoder *d, const struct cw_event *ev, const struct jt_conn *c, const struct jt_msg *m)
{
	char a[24], b[24];
	size_t n;

	if (c->number_len == m->number_len && memcmp(c->number, m->number, c->number_len) == 0)
		return 1;
	n = jt_identity(jt_conf_of(d, ev), m->number, m->number_len, a);
	if (n == jt_identity(jt_conf_of(d, ev), c->number, c->number_len, b) && memcmp(a, b, n) == 0)
		return 1;
	d->host->foreign(d->hx, ev->conn, cw_bytes_of(a, n));
	return 0;
}

/* The records that this message would make, for the tool to show beside its fields. */
static void inspect_records(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	int emitted;

	if (m->body.len > JT_SCRATCH / 8 || (m->attr & 0x1c00u && !m->vendor))
		return;
	if (m->id == 0x0100) {
		jt_keep_reg(c, m->edition, m->body);
		jt_publish_identity(d, ev, c, NULL);
		jt_drop_reg(c);
	} else if (m->id == 0x0102) {
		jt_publish_identity(d, ev, c, m);
	} else if (m->id > 0x0005 && m->id < 0x8000 && jt_publish(d, ev, c, m, 0, &emitted) < 0) {
		jt_publish_raw(d, ev, c, m, 0);
	}
}

/* The first message waits until the tool has accepted the identity, whatever it is. */
static void inspect_publish(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	if (c->attached) {
		c->edition = m->edition;
		inspect_records(d, ev, c, m);
		c->edition = jt_conf_of(d, ev)->edition_default; /* a file may hold frames of many terminals */
		return;
	}
	if (m->body.len > JT_BODY_MAX || hold(c, m->body) < 0)
		return;
	learn_header(c, m);
	c->edition = m->edition;
	if (ask(d, ev, c, m, JT_WAIT_INSPECT, 0) < 0)
		drop_held(c);
}

/* Messages that answer a command and need no reply of their own. */
static int is_answer(uint16_t id)
{
	static const uint16_t answers[] = { 0x0104, 0x0107, 0x0201, 0x0500, 0x0608, 0x0700, 0x0802, 0x0805 };
	size_t i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (id == answers[i])
			return 1;
	return 0;
}

static void inspect_register(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	if (c->code_len == 0)
		issue_code(d, c);
	answer_register(d, ev, c, m->serial, 0);
}

/* What a terminal that is known would be answered when its record was taken; `good` 0: its body is refused. */
static void inspect_answer(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, struct cw_bytes whole,
                           int complete, int good)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	int result = !good ? 2 : !jt_known(m->id) ? conf->unknown_result : 0, edition = c->edition;
	uint8_t media[6] = { (uint8_t)(m->serial >> 8), (uint8_t)m->serial };

	if (m->id >= 0x8000 || m->id == 0x0001 || m->id == 0x0005 || m->id == 0x0a00 || (is_answer(m->id) && !conf->ack_answers))
		return;
	learn_header(c, m); /* a file may hold frames of many terminals */
	c->edition = m->edition;
	if (m->attr & 0x1c00u && !m->vendor) {
		jt_reply(d, ev, c, m->serial, m->id, 3);
	} else if (m->id == 0x0004) {
		send_time(d, ev, c);
	} else if (m->id == 0x0100 && complete && good) {
		inspect_register(d, ev, c, m);
	} else {
		jt_reply(d, ev, c, m->serial, m->id, result);
		if (m->id == 0x0801 && complete && good && whole.len >= 4) {
			memcpy(media + 2, whole.ptr, 4);
			jt_send(d, ev, c, 0x8800, m->edition == JT_2011 ? cw_bytes_of(media, 6) : cw_bytes_of(media + 2, 4));
		}
	}
	c->edition = (uint8_t)edition;
}

static int inspect(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	size_t at = (size_t)(m->body.ptr == NULL ? 0 : m->body.ptr - d->content);
	struct jt_out o;
	struct jt_msg all = *m;
	int complete = m->total <= 1, good;

	jt_out_init(&o, d, ev, 0, d->scratch, JT_SCRATCH / 2); /* the other half holds what parts made */
	if (!(m->attr & 0x1c00u && !m->vendor) && m->total <= 1) {
		jt_put_body(&o, m);
	} else {
		cw_put_map(&o.w);
		o_hex(&o, "partial_or_encrypted_body_hex", NULL, m->body);
		if (m->total > 1 && jt_acceptable(m, 0) && jt_part_inspect(d, ev, c, m, &all.body)) {
			o_key(&o, "reassembled_decoded", NULL);
			jt_put_body(&o, &all);
			complete = 1;
		}
		cw_put_end(&o.w);
	}
	jt_inspect_header(d, ev, m, o.flaws);
	if (!o.w.overflow)
		jt_show_fields(d, ev, cw_written(&o.w), at, m->body.len);
	good = jt_acceptable(m, o.conf->strict) && !(o.conf->strict && o.flaws != 0);
	all.total = all.index = 0;
	if (good && complete)
		inspect_publish(d, ev, c, &all);
	if (jt_acceptable(m, o.conf->strict))
		inspect_answer(d, ev, c, m, all.body, complete, good);
	return good ? 0 : CW_EPROTO;
}

/* Media of 2011 counts its packets inside the body. 1 and the part as the header of later editions would tell it. */
static int part_of_2011(const struct jt_msg *m, struct jt_msg *ret)
{
	struct cw_reader r = cw_reader_of(m->body);
	uint32_t total, index;

	(void)cw_read_u64be(&r);
	total = cw_read_u32be(&r);
	index = cw_read_u32be(&r);
	if (r.short_read || total < 2 || total > 65535 || index == 0 || index > total)
		return 0;
	*ret = *m;
	ret->total = (uint16_t)total;
	ret->index = (uint16_t)index;
	if (index > 1)
		ret->body = cw_read_rest(&r);
	return 1;
}

static int dispatch(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m,
		    int again)
{
	int encrypted = (m->attr & 0x1c00u) != 0 && !m->vendor;
	struct jt_msg part;

	if ((ev->flags & CW_EVF_KEPT) && (m->id == 0x0100 || m->id == 0x0102))
		return 0; /* nobody is there to be let in */
	if (!encrypted && m->total <= 1) {
		switch (m->id) {
		case 0x0002: jt_reply(d, ev, c, m->serial, m->id, 0); return 0;
		case 0x0003: on_logout(d, ev, c, m); return 0;
		case 0x0004: send_time(d, ev, c); return 0;
		case 0x0100: return on_register(d, ev, c, m);
		case 0x0102: return on_auth(d, ev, c, m);
		default: break;
		}
	}
	if (!c->attached)
		return unidentified(d, ev, c, m, again);
	if (encrypted) {
		jt_count(d, JT_N_ENCRYPTED, 1);
		jt_reply(d, ev, c, m->serial, m->id, 3);
		jt_publish_raw(d, ev, c, m, 0);
		return 0;
	}
	if (m->id == 0x0801 && c->edition == JT_2011 && m->total <= 1 && part_of_2011(m, &part))
		return jt_part(d, ev, c, &part);
	return m->total > 1 ? jt_part(d, ev, c, m) : jt_message(d, ev, c, m);
}

int jt_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	struct jt_conn *c = conn_of(d, ev);
	struct jt_msg m;
	int rc, again;

	if (c == NULL)
		return CW_ENOMEM;
	again = c->busy;
	c->busy = 0;
	if (again && c->skip)
		return 0; /* the outcome of identify() was all it needed */
	c->seen = 1;
	rc = jt_parse(d, frame, c->edition == JT_2019 ? jt_conf_of(d, ev)->edition_default : c->edition, &m);
	if (rc < 0)
		return rc;
	if (m.flaws != 0 && !again) {
		count_flaws(d, m.flaws);
		if ((m.flaws & JT_FLAW_ESCAPE) && frame.len > 2 && memchr(frame.ptr + 1, 0x7e, frame.len - 2) != NULL)
			jt_count(d, JT_N_JOINED, 1);
	}
	if (ev->flags & CW_EVF_INSPECT)
		return inspect(d, ev, c, &m);
	if (!jt_acceptable(&m, jt_conf_of(d, ev)->strict))
		return CW_EPROTO;
	if (c->attached && c->number_len > 0 && !same_number(d, ev, c, &m))
		return 0;
	if (!c->attached || !c->locked)
		learn_header(c, &m);
	rc = dispatch(d, ev, c, &m, again);
	c->busy = rc == CW_EBUSY;
	return rc;
}

/* Strict mode: the body must have the layout of its edition and as many items as it says. */
static int by_the_book(struct cw_decoder *d, const struct cw_event *ev, const struct jt_msg *m)
{
	struct jt_out o;
	int rc;

	jt_out_init(&o, d, ev, 0, d->scratch, JT_SCRATCH);
	rc = jt_decode_body(&o, m);
	return rc == CW_ENOENT || (rc == 0 && o.flaws == 0);
}

/* The terminal's key: answered with ours, unless it is itself the answer to SendPlatformKey. */
static void send_our_key(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	uint8_t body[132];
	struct cw_writer w = cw_writer_of(body, sizeof(body));

	if (!conf->has_key)
		return;
	cw_write_u32be(&w, conf->key_e);
	cw_write_raw(&w, conf->key_n, sizeof(conf->key_n));
	jt_send(d, ev, c, 0x8a00, cw_written(&w));
}

/* What answers a whole message when no record did: at once. */
int jt_message(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	int emitted = 0, rc, result = 0, belonged;
	uint64_t ticket;

	if (m->id == 0x0005) {
		jt_command_resend(d, ev, c, m);
		return 0;
	}
	belonged = jt_command_reply(d, ev, c, m);
	if (m->id == 0x0001)
		return 0;
	/* The alarm word is the first thing in every report; bit 31 of 2019 is no alarm but harmless here. */
	ticket = jt_ticket(c, m, m->id == 0x0200 && m->body.len >= 4 && (m->body.ptr[0] | m->body.ptr[1] | m->body.ptr[2] | m->body.ptr[3]) != 0);
	if (!conf->ack_answers && is_answer(m->id))
		ticket = 0;
	if (m->id == 0x0801) {
		if (jt_media(d, ev, c, m))
			return 0;
		if (m->body.len >= 4)
			ticket = jt_ticket_media(c, m->serial, (uint32_t)m->body.ptr[0] << 24 | (uint32_t)m->body.ptr[1] << 16 |
			                                               (uint32_t)m->body.ptr[2] << 8 | m->body.ptr[3]);
	}
	if (m->id == 0x0a00)
		ticket = 0; /* answered with 0x8A00 or not at all */
	if (m->id == 0x0a00 && !belonged)
		send_our_key(d, ev, c);
	rc = conf->strict && !by_the_book(d, ev, m) ? CW_EPROTO : jt_publish(d, ev, c, m, ticket, &emitted);
	if (rc == CW_ENOENT) {
		jt_count(d, JT_N_UNKNOWN, 1);
		result = conf->unknown_result;
		jt_publish_raw(d, ev, c, m, 0);
	} else if (rc == CW_EBUSY) {
		result = 1; /* no room for the record: the terminal keeps the report and sends it again */
	} else if (rc < 0) {
		jt_count(d, JT_N_BAD_BODY, 1);
		result = conf->strict ? 2 : 0;
		if (!conf->strict)
			jt_publish_raw(d, ev, c, m, 0);
	}
	if (!emitted && ticket != 0)
		jt_reply(d, ev, c, m->serial, m->id, result);
	return 0;
}

int jt_event(struct cw_decoder *d, const struct cw_event *ev)
{
	struct jt_conn *c = ev->kind == CW_EV_OPEN ? conn_of(d, ev) : ev->conn_ctx == NULL ? NULL : *ev->conn_ctx;

	if (c == NULL)
		return ev->kind == CW_EV_OPEN ? CW_ECLOSED : 0;
	switch (ev->kind) {
	case CW_EV_IDENTIFIED: on_identified(d, ev, c); break;
	case CW_EV_REFUSED: on_refused(d, ev, c); break;
	case CW_EV_SETTLED: on_settled(d, ev, c); break;
	case CW_EV_TIMER:
		if (ev->timer == JT_TIMER_PARTS)
			jt_parts_timer(d, ev, c);
		else
			jt_command_timer(d, ev, c);
		break;
	case CW_EV_COMMAND_CANCELLED: jt_command_cancelled(d, ev, c); break;
	case CW_EV_BROADCAST: jt_broadcast(d, ev, c); break;
	case CW_EV_BLOCK: jt_command_block(d, ev, c); break;
	case CW_EV_DETACHED: on_detached(d, ev, c); break;
	case CW_EV_CLOSED: conn_free(d, ev, c); break;
	default: break; /* ONLINE and OFFLINE change nothing: records wait */
	}
	return 0;
}
