/*
 * jt808.c - a fleet of JT/T 808 terminals on one loop.
 *
 *   idle -> dialling -> registering -> authenticating -> online
 *
 * Every third terminal speaks the edition of 2019. A terminal registers once and
 * keeps its code; after a cut it dials again and authenticates with that code. One
 * tick spends the message rate over the terminals that are online and looks for
 * answers that are overdue. Most messages are positions; in between come
 * heartbeats, alarms that go on and off, batches, pictures in parts, other data.
 */
#include "cli/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/sim/jt808_wire.h"

#define TICK_MS 10
#define ANSWER_MS 20000   /* a gateway that waits for its platform denies after 8 s; later than this is silence */
#define REDIAL_MS 5000
#define LINES_EACH 40     /* lines of one kind before they become numbers only */
#define DIALS_A_TICK 20
#define OPEN_MAX 8        /* unanswered messages of one terminal */
#define PICTURE_PARTS 3

enum state { IDLE, DIALLING, REGISTERING, AUTHENTICATING, ONLINE, DONE };

struct params {
	uint32_t heartbeat, interval, sleep, emergency, distance, strategy, max_speed, overspeed_s, driving, mask;
};

struct fleet;

struct terminal {
	struct fleet *fleet;
	uv_tcp_t tcp;
	uv_connect_t dial;
	enum state state;
	int handle_open, known; /* known: authenticated once */
	unsigned index, serial;
	struct cw_sim_number number;
	char code[128];
	char plate[16];
	uint64_t due_ms;        /* dial again; or answer to registration and authentication */
	struct params params;
	struct cw_sim_place place;
	struct { uint16_t id, serial; uint64_t since; } open[OPEN_MAX];
	unsigned open_count;
	unsigned picture;       /* media id of the last upload */
	unsigned sent;          /* messages, for the mix */
	uint8_t rx[CW_SIM_WIRE_MAX + 2];
	size_t rx_len;
	int rx_inside;
};

struct fleet {
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t interrupt, terminate;
	const struct cw_sim_options *o;
	struct terminal *t;
	unsigned next_dial, next_sender, handles;
	double credit;
	uint64_t end_ms, drain_ms, last_line_ms;
	int ending, closing;
	char chunk[65536];
	unsigned lines[8];
	/* the summary */
	uint64_t messages, acks, denied, silent, commands, refused, cuts, resent;
	unsigned registered, online_once;
};

enum kind { L_REGISTERED, L_ONLINE, L_COMMAND, L_CUT, L_SILENT, L_REFUSED };

static void say(struct fleet *f, enum kind kind, const struct terminal *t, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void say(struct fleet *f, enum kind kind, const struct terminal *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	f->lines[kind]++;
	if (f->o->quiet || f->lines[kind] > LINES_EACH + 1)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (f->lines[kind] > LINES_EACH)
		printf("(further lines of this kind are counted only)\n");
	else
		printf("%s %s\n", f->o->identities[t->index], text);
	fflush(stdout);
}

/* ---- sending ------------------------------------------------------------------ */

struct out {
	uv_write_t req;
	uint8_t bytes[];
};

static void on_written(uv_write_t *req, int status)
{
	(void)status; /* a failed write is followed by the end of the connection */
	cw_free(cw_container_of(req, struct out, req));
}

static void push(struct terminal *t, const uint8_t *bytes, size_t n)
{
	struct out *out = cw_alloc(sizeof(*out) + n);
	uv_buf_t buf;

	if (out == NULL)
		return;
	memcpy(out->bytes, bytes, n);
	buf = uv_buf_init((char *)out->bytes, (unsigned)n);
	if (uv_write(&out->req, (uv_stream_t *)&t->tcp, &buf, 1, on_written) < 0)
		cw_free(out);
}

static void send_part(struct terminal *t, unsigned id, unsigned serial, unsigned total, unsigned index, const struct cw_sim_body *b)
{
	uint8_t wire[CW_SIM_WIRE_MAX];

	push(t, wire, cw_sim_frame(&t->number, id, serial, total, index, b->b, b->n, wire));
}

static unsigned send_body(struct terminal *t, unsigned id, const struct cw_sim_body *b)
{
	unsigned serial = t->serial++ & 0xffff;

	send_part(t, id, serial, 0, 0, b);
	return serial;
}

static void expect_answer(struct terminal *t, unsigned id, unsigned serial)
{
	if (t->open_count == OPEN_MAX)
		return;
	t->open[t->open_count].id = (uint16_t)id;
	t->open[t->open_count].serial = (uint16_t)serial;
	t->open[t->open_count].since = uv_now(&t->fleet->loop);
	t->open_count++;
	t->fleet->messages++;
}

/* A message of the terminal's own, which the gateway must answer. */
static void tell(struct terminal *t, unsigned id, const struct cw_sim_body *b)
{
	expect_answer(t, id, send_body(t, id, b));
}

static void general_reply(struct terminal *t, const struct cw_sim_frame *m, unsigned result)
{
	struct cw_sim_body b = { .n = 0 };

	cw_sim_u16(&b, m->serial);
	cw_sim_u16(&b, m->id);
	cw_sim_u8(&b, result);
	send_body(t, 0x0001, &b);
}

/* ---- what a terminal has to tell ---------------------------------------------- */

static void move(struct terminal *t)
{
	struct cw_sim_place *p = &t->place;
	unsigned r = (unsigned)rand();

	p->utc_ms = cw_clock_wall_ms();
	p->speed = 300 + r % 400;
	p->direction = (p->direction + r % 7) % 360;
	p->latitude += (double)((int)(r % 201) - 100) * 1e-6;
	p->longitude += (double)((int)(r / 256 % 201) - 100) * 1e-6;
	p->mileage += 1 + r % 3;
	p->status = 0x000c0003;
}

static void report(struct terminal *t)
{
	struct cw_sim_body b = { .n = 0 };

	move(t);
	cw_sim_location(&b, &t->place, 1);
	tell(t, 0x0200, &b);
}

static void batch(struct terminal *t)
{
	struct cw_sim_body b = { .n = 0 };
	int i;

	move(t);
	cw_sim_u16(&b, 3);
	cw_sim_u8(&b, 1);
	for (i = 3; i > 0; i--) {
		struct cw_sim_place old = t->place;
		struct cw_sim_body one = { .n = 0 };

		old.utc_ms -= i * 30000;
		cw_sim_location(&one, &old, 1);
		cw_sim_u16(&b, (unsigned)one.n);
		cw_sim_raw(&b, one.b, one.n);
	}
	tell(t, 0x0704, &b);
}

static void picture_part(struct terminal *t, unsigned id, unsigned index, struct cw_sim_body *b)
{
	unsigned i;

	b->n = 0;
	if (index == 1) {
		cw_sim_u32(b, id);
		cw_sim_u8(b, 0);
		cw_sim_u8(b, 0);
		cw_sim_u8(b, 1);
		cw_sim_u8(b, 1);
		cw_sim_location(b, &t->place, 0);
		cw_sim_u16(b, 0xffd8);
	}
	for (i = 0; i < 300; i++)
		cw_sim_u8(b, id + index * 31 + i);
	if (index == PICTURE_PARTS)
		cw_sim_u16(b, 0xffd9);
}

static void picture(struct terminal *t)
{
	unsigned i, first = t->serial;
	struct cw_sim_body b;

	t->picture++;
	t->serial += PICTURE_PARTS;
	for (i = 1; i <= PICTURE_PARTS; i++) {
		picture_part(t, t->picture, i, &b);
		send_part(t, 0x0801, (first + i - 1) & 0xffff, PICTURE_PARTS, i, &b);
		expect_answer(t, 0x0801, (first + i - 1) & 0xffff);
	}
}

static void transparent(struct terminal *t)
{
	struct cw_sim_body b = { .n = 0 };

	cw_sim_u8(&b, 0x41);
	cw_sim_raw(&b, "$OBD-RT,12.3,0,20\r\n", 19);
	tell(t, 0x0900, &b);
}

/* The mix, by a count of its own for each terminal so that a short run of many has it too. */
static void send_something(struct terminal *t)
{
	struct cw_sim_body b = { .n = 0 };
	unsigned turn = (t->sent++ + t->index * 7) % 40;

	switch (turn) {
	case 5: tell(t, 0x0002, &b); break;
	case 12: batch(t); break;
	case 19: picture(t); break;
	case 26: transparent(t); break;
	case 30: /* overspeed begins, and ends three messages later */
	case 33:
		t->place.alarm ^= 2u;
		report(t);
		break;
	default: report(t); break;
	}
}

static void start_login(struct terminal *t)
{
	struct cw_sim_body b = { .n = 0 };
	char id[32], imei[24];

	snprintf(imei, sizeof(imei), "86%013u", t->index % 100000000u);
	if (t->code[0] != 0) {
		cw_sim_auth(&b, t->number.wide, t->code, imei, "sim-1.0");
		t->state = AUTHENTICATING;
		expect_answer(t, 0x0102, send_body(t, 0x0102, &b));
		return;
	}
	snprintf(id, sizeof(id), "S%06u", t->index % 1000000u);
	cw_sim_register(&b, t->number.wide, 31, 115, "CWSIM", "SIM-808", id, 1, t->plate);
	t->state = REGISTERING;
	t->due_ms = uv_now(&t->fleet->loop) + ANSWER_MS;
	send_body(t, 0x0100, &b);
}

/* ---- commands ----------------------------------------------------------------- */

static uint32_t be(const uint8_t *p, size_t n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

static uint32_t *param_slot(struct params *p, uint32_t id)
{
	switch (id) {
	case 0x0001: return &p->heartbeat;
	case 0x0020: return &p->strategy;
	case 0x0027: return &p->sleep;
	case 0x0028: return &p->emergency;
	case 0x0029: return &p->interval;
	case 0x002c: return &p->distance;
	case 0x0050: return &p->mask;
	case 0x0055: return &p->max_speed;
	case 0x0056: return &p->overspeed_s;
	case 0x0057: return &p->driving;
	default: return NULL;
	}
}

static const uint16_t param_ids[] = { 0x0001, 0x0020, 0x0027, 0x0028, 0x0029, 0x002c, 0x0050, 0x0055, 0x0056, 0x0057 };

static void set_params(struct terminal *t, const struct cw_sim_frame *m)
{
	size_t at = 1;

	while (at + 5 <= m->n) {
		uint32_t id = be(m->body + at, 4), *slot = param_slot(&t->params, id);
		size_t n = m->body[at + 4];

		if (at + 5 + n > m->n)
			break;
		if (slot != NULL && n == 4)
			*slot = be(m->body + at + 5, 4);
		at += 5 + n;
	}
	general_reply(t, m, 0);
}

static void tell_params(struct terminal *t, const struct cw_sim_frame *m)
{
	struct cw_sim_body b = { .n = 0 };
	size_t i, k, n = 0;

	cw_sim_u16(&b, m->serial);
	cw_sim_u8(&b, 0);
	for (i = 0; i < sizeof(param_ids) / sizeof(param_ids[0]); i++) {
		int wanted = m->id == 0x8104;

		for (k = 1; !wanted && k + 4 <= m->n; k += 4)
			wanted = be(m->body + k, 4) == param_ids[i];
		if (!wanted)
			continue;
		cw_sim_u32(&b, param_ids[i]);
		cw_sim_u8(&b, 4);
		cw_sim_u32(&b, *param_slot(&t->params, param_ids[i]));
		n++;
	}
	b.b[2] = (uint8_t)n;
	send_body(t, 0x0104, &b);
}

/* Serial of the command, then where we are: 0x0201 and 0x0500. */
static void tell_place(struct terminal *t, const struct cw_sim_frame *m, unsigned id)
{
	struct cw_sim_body b = { .n = 0 };

	move(t);
	cw_sim_u16(&b, m->serial);
	cw_sim_location(&b, &t->place, 1);
	send_body(t, id, &b);
}

static void tell_media(struct terminal *t, const struct cw_sim_frame *m)
{
	struct cw_sim_body b = { .n = 0 };

	cw_sim_u16(&b, m->serial);
	if (m->id == 0x8801) {
		cw_sim_u8(&b, 0);
		cw_sim_u16(&b, 1);
		cw_sim_u32(&b, t->picture + 1);
		send_body(t, 0x0805, &b);
		picture(t);
		return;
	}
	cw_sim_u16(&b, 1);
	cw_sim_u32(&b, t->picture);
	cw_sim_u8(&b, 0);
	cw_sim_u8(&b, 1);
	cw_sim_u8(&b, 1);
	cw_sim_location(&b, &t->place, 0);
	send_body(t, 0x0802, &b);
}

static void upgrade_part(struct terminal *t, const struct cw_sim_frame *m)
{
	struct cw_sim_body b = { .n = 0 };

	general_reply(t, m, 0);
	if (m->total != 0 && m->index != m->total)
		return;
	cw_sim_u8(&b, 0);
	cw_sim_u8(&b, 0);
	tell(t, 0x0108, &b);
}

static void tell_recorder(struct terminal *t, const struct cw_sim_frame *m)
{
	struct cw_sim_body b = { .n = 0 };

	cw_sim_u16(&b, m->serial);
	cw_sim_u8(&b, m->n > 0 ? m->body[0] : 0);
	cw_sim_raw(&b, "\x55\x7a\x00\x00\x00", 5);
	send_body(t, 0x0700, &b);
}

static void tell_about(struct terminal *t, unsigned id)
{
	struct cw_sim_body b = { .n = 0 };

	if (id == 0x8107) {
		cw_sim_attributes(&b, t->number.wide);
		send_body(t, 0x0107, &b);
	} else if (id == 0x8702) {
		cw_sim_driver(&b, t->number.wide, cw_clock_wall_ms());
		tell(t, 0x0702, &b);
	} else {
		cw_sim_key(&b);
		send_body(t, 0x0a00, &b);
	}
}

static void answer_question(struct terminal *t, const struct cw_sim_frame *m)
{
	struct cw_sim_body b = { .n = 0 };
	size_t first = m->n >= 2 ? 2u + m->body[1] : m->n;

	general_reply(t, m, 0);
	cw_sim_u16(&b, m->serial);
	cw_sim_u8(&b, first < m->n ? m->body[first] : 0);
	tell(t, 0x0302, &b);
}

static void areas(struct terminal *t, const struct cw_sim_frame *m)
{
	struct cw_sim_body b = { .n = 0 };

	cw_sim_u8(&b, m->n > 0 ? m->body[0] : 1);
	cw_sim_u32(&b, 0);
	send_body(t, 0x0608, &b);
}

/* Parts of the last picture again; serials as before. */
static void resend(struct terminal *t, const struct cw_sim_frame *m)
{
	int media = m->id == 0x8800;
	size_t wide = !media && t->number.wide ? 2 : 1, at = (media ? 4u : 2u) + wide;
	struct cw_sim_body b;

	for (; at + 2 <= m->n; at += 2) {
		unsigned index = be(m->body + at, 2);

		if (index < 1 || index > PICTURE_PARTS)
			continue;
		picture_part(t, t->picture, index, &b);
		send_part(t, 0x0801, t->serial++ & 0xffff, PICTURE_PARTS, index, &b);
		t->fleet->resent++;
	}
}

/* 1: the message was a command and has been answered. */
static int obey(struct terminal *t, const struct cw_sim_frame *m)
{
	switch (m->id) {
	case 0x8103: set_params(t, m); return 1;
	case 0x8104:
	case 0x8106: tell_params(t, m); return 1;
	case 0x8107:
	case 0x8702:
	case 0x8a00: tell_about(t, m->id); return 1;
	case 0x8108: upgrade_part(t, m); return 1;
	case 0x8201: tell_place(t, m, 0x0201); return 1;
	case 0x8302: answer_question(t, m); return 1;
	case 0x8500:
		general_reply(t, m, 0);
		tell_place(t, m, 0x0500);
		return 1;
	case 0x8608: areas(t, m); return 1;
	case 0x8700: tell_recorder(t, m); return 1;
	case 0x8801:
		general_reply(t, m, 0);
		tell_media(t, m);
		return 1;
	case 0x8802: tell_media(t, m); return 1;
	case 0x8803:
	case 0x8805:
		general_reply(t, m, 0);
		picture(t);
		return 1;
	case 0x8003:
	case 0x8800: resend(t, m); return 0;
	case 0x8004: return 0;
	case 0x8105: case 0x8202: case 0x8203: case 0x8204: case 0x8300: case 0x8301: case 0x8303: case 0x8304: case 0x8400: case 0x8401:
	case 0x8600: case 0x8601: case 0x8602: case 0x8603: case 0x8604: case 0x8605: case 0x8606: case 0x8607: case 0x8701: case 0x8804:
	case 0x8900: general_reply(t, m, 0); return 1;
	default: general_reply(t, m, 3); return 1;
	}
}

/* ---- answers ------------------------------------------------------------------ */

static void hang_up(struct terminal *t, const char *why);

static void logged_in(struct terminal *t)
{
	struct fleet *f = t->fleet;

	t->state = ONLINE;
	if (!t->known)
		f->online_once++;
	t->known = 1;
	say(f, L_ONLINE, t, "authenticated");
}

static void on_general(struct terminal *t, const struct cw_sim_frame *m)
{
	struct fleet *f = t->fleet;
	unsigned serial, id, i;

	if (m->n < 5)
		return;
	serial = be(m->body, 2);
	id = be(m->body + 2, 2);
	for (i = 0; i < t->open_count; i++)
		if (t->open[i].id == id && t->open[i].serial == serial)
			break;
	if (i == t->open_count)
		return; /* answers to dedicated answers are not waited for */
	t->open[i] = t->open[--t->open_count];
	f->acks++;
	if (m->body[4] != 0)
		f->denied++;
	if (id != 0x0102 || t->state != AUTHENTICATING)
		return;
	if (m->body[4] == 0) {
		logged_in(t);
		return;
	}
	f->refused++;
	say(f, L_REFUSED, t, "authentication refused (result %u), will register", m->body[4]);
	t->code[0] = 0;
	hang_up(t, NULL);
}

static void on_registered(struct terminal *t, const struct cw_sim_frame *m)
{
	struct fleet *f = t->fleet;
	size_t n;

	if (t->state != REGISTERING || m->n < 3)
		return;
	if (m->body[2] != 0) {
		f->refused++;
		say(f, L_REFUSED, t, "registration refused (result %u)", m->body[2]);
		hang_up(t, NULL);
		return;
	}
	n = m->n - 3 < sizeof(t->code) - 1 ? m->n - 3 : sizeof(t->code) - 1;
	memcpy(t->code, m->body + 3, n);
	t->code[n] = 0;
	t->due_ms = 0;
	f->registered++;
	say(f, L_REGISTERED, t, "registered (%s header)", t->number.wide ? "2019" : "2013");
	start_login(t);
}

static void on_frame(struct terminal *t, uint8_t *bytes, size_t n)
{
	struct cw_sim_frame m;
	char hex[2 * 64 + 4];
	size_t i;

	if (n == 0)
		return;
	if (cw_sim_parse(&t->number, bytes, n, &m) < 0) {
		say(t->fleet, L_CUT, t, "a frame of the gateway is wrong");
		return;
	}
	if (m.id == 0x8001) {
		on_general(t, &m);
		return;
	}
	if (m.id == 0x8100) {
		on_registered(t, &m);
		return;
	}
	for (i = 0; i < m.n && i < 64; i++)
		sprintf(hex + 2 * i, "%02x", m.body[i]);
	hex[2 * i] = 0;
	if (obey(t, &m)) {
		t->fleet->commands++;
		say(t->fleet, L_COMMAND, t, "command 0x%04x received and answered: %s%s", m.id, hex, m.n > 64 ? ".." : "");
	}
}

static void take(struct terminal *t, const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n && t->state != DONE; i++) {
		if (p[i] == 0x7e) {
			size_t len = t->rx_len;

			t->rx_len = 0;
			if (t->rx_inside)
				on_frame(t, t->rx, len);
			t->rx_inside = 1;
		} else if (t->rx_len < sizeof(t->rx)) {
			t->rx[t->rx_len++] = p[i];
		}
	}
}

/* ---- connections -------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct terminal *t = cw_container_of((uv_tcp_t *)h, struct terminal, tcp);

	t->handle_open = 0;
	t->fleet->handles--;
	t->state = t->fleet->closing ? DONE : IDLE;
	t->due_ms = uv_now(&t->fleet->loop) + REDIAL_MS;
	t->rx_len = 0;
	t->rx_inside = 0;
}

/* Close; messages under way count as unanswered only if the run is not over. */
static void hang_up(struct terminal *t, const char *why)
{
	if (!t->handle_open || uv_is_closing((uv_handle_t *)&t->tcp))
		return;
	if (why != NULL) {
		t->fleet->cuts++;
		say(t->fleet, L_CUT, t, "%s", why);
	}
	t->fleet->messages -= t->open_count; /* a cut link loses them: the terminal would store and send again */
	t->open_count = 0;
	t->state = DONE;
	uv_close((uv_handle_t *)&t->tcp, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	struct terminal *t = cw_container_of((uv_tcp_t *)h, struct terminal, tcp);

	(void)want;
	*buf = uv_buf_init(t->fleet->chunk, sizeof(t->fleet->chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct terminal *t = cw_container_of((uv_tcp_t *)s, struct terminal, tcp);

	if (n < 0)
		hang_up(t, n == UV_EOF ? "the gateway closed the connection" : uv_strerror((int)n));
	else if (n > 0)
		take(t, (const uint8_t *)buf->base, (size_t)n);
}

static void on_dialled(uv_connect_t *req, int status)
{
	struct terminal *t = cw_container_of(req, struct terminal, dial);

	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		hang_up(t, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&t->tcp, 1);
	uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_read);
	start_login(t);
}

static void dial(struct terminal *t)
{
	struct fleet *f = t->fleet;
	int rc = uv_tcp_init(&f->loop, &t->tcp);

	if (rc < 0)
		return;
	t->handle_open = 1;
	f->handles++;
	t->state = DIALLING;
	t->due_ms = 0;
	rc = uv_tcp_connect(&t->dial, &t->tcp, (const struct sockaddr *)&f->o->to, on_dialled);
	if (rc < 0)
		hang_up(t, uv_strerror(rc));
}

/* ---- time --------------------------------------------------------------------- */

static void look_overdue(struct fleet *f, struct terminal *t)
{
	uint64_t now = uv_now(&f->loop);
	unsigned i;

	if (t->state == REGISTERING && t->due_ms != 0 && now >= t->due_ms) {
		f->silent++;
		say(f, L_SILENT, t, "no answer to the registration");
		hang_up(t, NULL);
		return;
	}
	for (i = 0; i < t->open_count; i++) {
		if (now - t->open[i].since < ANSWER_MS)
			continue;
		f->silent++;
		say(f, L_SILENT, t, "no answer to 0x%04x, serial %u", t->open[i].id, t->open[i].serial);
		t->open[i] = t->open[--t->open_count];
		i--;
	}
}

static unsigned pending(const struct fleet *f)
{
	unsigned i, n = 0;

	for (i = 0; i < f->o->devices; i++)
		n += f->t[i].open_count + (f->t[i].state == REGISTERING);
	return n;
}

static void close_all(struct fleet *f)
{
	unsigned i;

	f->closing = 1;
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_close((uv_handle_t *)&f->interrupt, NULL);
	uv_close((uv_handle_t *)&f->terminate, NULL);
	for (i = 0; i < f->o->devices; i++)
		hang_up(&f->t[i], NULL);
}

static void spend(struct fleet *f)
{
	unsigned tried;

	f->credit += f->o->rate * TICK_MS / 1000;
	if (f->credit > f->o->rate + 1)
		f->credit = f->o->rate + 1; /* no burst after a time without terminals */
	for (tried = 0; f->credit >= 1 && tried < f->o->devices; tried++) {
		struct terminal *t = &f->t[f->next_sender];

		f->next_sender = (f->next_sender + 1) % f->o->devices;
		/* One that still waits for answers is passed over: terminals do not pile up messages. */
		if (t->state != ONLINE || t->open_count + PICTURE_PARTS > OPEN_MAX)
			continue;
		send_something(t);
		f->credit -= 1;
	}
}

static void progress(struct fleet *f)
{
	uint64_t now = uv_now(&f->loop);
	unsigned i, online = 0;

	if (f->o->quiet || now - f->last_line_ms < 5000)
		return;
	f->last_line_ms = now;
	for (i = 0; i < f->o->devices; i++)
		online += f->t[i].state == ONLINE;
	printf("%u of %u online, %" PRIu64 " messages, %" PRIu64 " answered, %" PRIu64 " commands\n", online, f->o->devices, f->messages, f->acks,
	       f->commands);
	fflush(stdout);
}

static void on_tick(uv_timer_t *timer)
{
	struct fleet *f = cw_container_of(timer, struct fleet, tick);
	uint64_t now = uv_now(&f->loop);
	unsigned i, dialled = 0;

	for (i = 0; i < f->o->devices && !f->ending && dialled < DIALS_A_TICK; i++) {
		struct terminal *t = &f->t[f->next_dial];

		f->next_dial = (f->next_dial + 1) % f->o->devices;
		if (t->state == IDLE && !t->handle_open && now >= t->due_ms) {
			dial(t);
			dialled++;
		}
	}
	/* A hundredth of the fleet at each tick is soon enough for what is measured in seconds. */
	for (i = 0; i < f->o->devices / 100 + 1; i++)
		look_overdue(f, &f->t[(now / TICK_MS * (f->o->devices / 100 + 1) + i) % f->o->devices]);
	progress(f);
	if (!f->ending) {
		spend(f);
		if (f->end_ms != 0 && now >= f->end_ms) {
			f->ending = 1;
			f->drain_ms = now + ANSWER_MS + 1000;
		}
		return;
	}
	if (pending(f) == 0 || now >= f->drain_ms)
		close_all(f);
}

static void on_interrupt(uv_signal_t *s, int number)
{
	struct fleet *f = s->data;

	(void)number;
	if (f->ending) {
		if (!f->closing)
			close_all(f);
		return;
	}
	f->ending = 1;
	f->drain_ms = uv_now(&f->loop) + ANSWER_MS + 1000;
}

static int make_terminals(struct fleet *f)
{
	unsigned i;

	f->t = cw_calloc(f->o->devices, sizeof(*f->t));
	if (f->t == NULL)
		return -1;
	for (i = 0; i < f->o->devices; i++) {
		struct terminal *t = &f->t[i];
		int wide = i % 3 == 2 || strlen(f->o->identities[i]) > 12;

		t->fleet = f;
		t->index = i;
		if (cw_sim_number_set(&t->number, f->o->identities[i], wide) < 0) {
			fprintf(stderr, "causeway: simulate: identity `%s` is no terminal number (1 to 20 digits)\n", f->o->identities[i]);
			cw_free(f->t);
			return -1;
		}
		snprintf(t->plate, sizeof(t->plate), "SIM%05u", i % 100000u);
		t->params = (struct params){ 60, 30, 300, 10, 500, 0, 120, 10, 14400, 0 };
		t->place = (struct cw_sim_place){ .latitude = 31.2 + (i % 100) * 0.001, .longitude = 121.4 + (i / 100 % 100) * 0.001, .altitude = 12, .fuel = 480 };
	}
	return 0;
}

static int summary(const struct fleet *f)
{
	uint64_t silent = f->silent;
	int bad = silent > 0 || f->refused > 0 || f->online_once < f->o->devices;

	printf("%u terminals: %u authenticated, %u registrations; %" PRIu64 " messages, %" PRIu64 " answered (%" PRIu64 " of them denied), %" PRIu64
	       " without answer; %" PRIu64 " commands answered; %" PRIu64 " parts sent again; %" PRIu64 " logins refused, %" PRIu64 " connections cut: %s\n",
	       f->o->devices, f->online_once, f->registered, f->messages, f->acks, f->denied, silent, f->commands, f->resent, f->refused, f->cuts,
	       bad ? "NOT all as expected" : "all as expected");
	return bad;
}

int cw_sim_jt808(const struct cw_sim_options *o)
{
	struct fleet *f = cw_zalloc(sizeof(*f));
	int rc;

	if (f == NULL)
		return 1;
	f->o = o;
	if (make_terminals(f) < 0) {
		cw_free(f);
		return 1;
	}
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->tick);
	uv_signal_init(&f->loop, &f->interrupt);
	uv_signal_init(&f->loop, &f->terminate);
	f->interrupt.data = f->terminate.data = f;
	uv_signal_start(&f->interrupt, on_interrupt, SIGINT);
	uv_signal_start(&f->terminate, on_interrupt, SIGTERM);
	uv_timer_start(&f->tick, on_tick, 0, TICK_MS);
	f->last_line_ms = uv_now(&f->loop);
	f->end_ms = o->for_ms == 0 ? 0 : uv_now(&f->loop) + o->for_ms;
	uv_run(&f->loop, UV_RUN_DEFAULT);
	uv_loop_close(&f->loop);
	rc = summary(f);
	cw_free(f->t);
	cw_free(f);
	return rc;
}
