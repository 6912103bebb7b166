/*
 * jt808.c - a fleet of JT/T 808 terminals on one loop.
 *
 *   offline -> registering -> authenticating -> online
 *
 * Every third terminal speaks the edition of 2019. A terminal registers once and
 * keeps its code; after a cut it dials again and authenticates with that code. Most messages are positions; in between come
 * heartbeats, alarms that go on and off, batches, pictures in parts, other data.
 */
#include "cli/sim/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/sim/jt808_wire.h"

#define OPEN_MAX 8        /* unanswered messages of one terminal */
#define PICTURE_PARTS 3

enum state { OFFLINE, REGISTERING, AUTHENTICATING, ONLINE };

struct params {
	uint32_t heartbeat, interval, sleep, emergency, distance, strategy, max_speed, overspeed_s, driving, mask;
};

struct terminal {
	struct cw_sim_peer peer;
	enum state state;
	int known;              /* authenticated once */
	unsigned serial;
	struct cw_sim_number number;
	char code[128];
	char plate[16];
	uint64_t answer_due_ms; /* to the registration; 0: none is under way */
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
	struct cw_sim_fleet base;
	uint64_t messages, acks, denied, commands, refused, resent;
	unsigned registered, online_once;
};

enum { L_REGISTERED = CW_SIM_LINE_CUT + 1, L_ONLINE, L_COMMAND, L_SILENT, L_REFUSED, L_BROKEN };

static struct fleet *fleet_of(const struct terminal *t)
{
	return cw_container_of(t->peer.fleet, struct fleet, base);
}

/* ---- sending ------------------------------------------------------------------ */

static void send_part(struct terminal *t, unsigned id, unsigned serial, unsigned total, unsigned index,
		      const struct cw_sim_body *b)
{
	uint8_t wire[CW_SIM_WIRE_MAX];

	cw_sim_push(&t->peer, wire, cw_sim_frame(&t->number, id, serial, total, index, b->b, b->n, wire));
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
	t->open[t->open_count].since = cw_sim_now(&t->peer);
	t->open_count++;
	fleet_of(t)->messages++;
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
	unsigned turn = (t->sent++ + t->peer.index * 7) % 40;

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

	snprintf(imei, sizeof(imei), "86%013u", t->peer.index % 100000000u);
	if (t->code[0] != 0) {
		cw_sim_auth(&b, t->number.wide, t->code, imei, "sim-1.0");
		t->state = AUTHENTICATING;
		expect_answer(t, 0x0102, send_body(t, 0x0102, &b));
		return;
	}
	snprintf(id, sizeof(id), "S%06u", t->peer.index % 1000000u);
	cw_sim_register(&b, t->number.wide, 31, 115, "CWSIM", "SIM-808", id, 1, t->plate);
	t->state = REGISTERING;
	t->answer_due_ms = cw_sim_now(&t->peer) + CW_SIM_ANSWER_MS;
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
		fleet_of(t)->resent++;
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

static void logged_in(struct terminal *t)
{
	struct fleet *f = fleet_of(t);

	t->state = ONLINE;
	if (!t->known)
		f->online_once++;
	t->known = 1;
	cw_sim_say(&t->peer, L_ONLINE, "authenticated");
}

static void on_general(struct terminal *t, const struct cw_sim_frame *m)
{
	struct fleet *f = fleet_of(t);
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
	cw_sim_say(&t->peer, L_REFUSED, "authentication refused (result %u), will register", m->body[4]);
	t->code[0] = 0;
	cw_sim_hang_up(&t->peer, NULL);
}

static void on_registered(struct terminal *t, const struct cw_sim_frame *m)
{
	struct fleet *f = fleet_of(t);
	size_t n;

	if (t->state != REGISTERING || m->n < 3)
		return;
	if (m->body[2] != 0) {
		f->refused++;
		cw_sim_say(&t->peer, L_REFUSED, "registration refused (result %u)", m->body[2]);
		cw_sim_hang_up(&t->peer, NULL);
		return;
	}
	n = m->n - 3 < sizeof(t->code) - 1 ? m->n - 3 : sizeof(t->code) - 1;
	memcpy(t->code, m->body + 3, n);
	t->code[n] = 0;
	t->answer_due_ms = 0;
	f->registered++;
	cw_sim_say(&t->peer, L_REGISTERED, "registered (%s header)", t->number.wide ? "2019" : "2013");
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
		cw_sim_say(&t->peer, L_BROKEN, "a frame of the gateway is wrong");
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
		fleet_of(t)->commands++;
		cw_sim_say(&t->peer, L_COMMAND, "command 0x%04x received and answered: %s%s", m.id, hex, m.n > 64 ? ".." : "");
	}
}

static void take(struct cw_sim_peer *peer, const uint8_t *p, size_t n)
{
	struct terminal *t = cw_container_of(peer, struct terminal, peer);
	size_t i;

	for (i = 0; i < n && peer->link == CW_SIM_CONNECTED; i++) {
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

/* ---- what the fleet asks of it -------------------------------------------------- */

static int make_terminal(struct cw_sim_peer *p)
{
	struct terminal *t = cw_container_of(p, struct terminal, peer);
	const char *identity = p->fleet->o->identities[p->index];
	unsigned i = p->index;

	if (cw_sim_number_set(&t->number, identity, i % 3 == 2 || strlen(identity) > 12) < 0) {
		fprintf(stderr, "causeway: simulate: identity `%s` is no terminal number (1 to 20 digits)\n", identity);
		return -1;
	}
	snprintf(t->plate, sizeof(t->plate), "SIM%05u", i % 100000u);
	t->params = (struct params){ 60, 30, 300, 10, 500, 0, 120, 10, 14400, 0 };
	t->place = (struct cw_sim_place){
		.latitude = 31.2 + (i % 100) * 0.001, .longitude = 121.4 + (i / 100 % 100) * 0.001, .altitude = 12, .fuel = 480
	};
	return 0;
}

static void connected(struct cw_sim_peer *p)
{
	start_login(cw_container_of(p, struct terminal, peer));
}

static void lost(struct cw_sim_peer *p)
{
	struct terminal *t = cw_container_of(p, struct terminal, peer);

	fleet_of(t)->messages -= t->open_count; /* a cut link loses them: the terminal would store and send again */
	t->open_count = 0;
	t->state = OFFLINE;
	t->rx_len = 0;
	t->rx_inside = 0;
	t->answer_due_ms = 0;
}

static int send_next(struct cw_sim_peer *p)
{
	struct terminal *t = cw_container_of(p, struct terminal, peer);

	if (t->state != ONLINE || t->open_count + PICTURE_PARTS > OPEN_MAX)
		return 0;
	send_something(t);
	return 1;
}

static void overdue(struct cw_sim_peer *p, uint64_t now)
{
	struct terminal *t = cw_container_of(p, struct terminal, peer);
	unsigned i;

	if (t->state == REGISTERING && t->answer_due_ms != 0 && now >= t->answer_due_ms) {
		p->fleet->silent++;
		cw_sim_say(p, L_SILENT, "no answer to the registration");
		cw_sim_hang_up(p, NULL);
		return;
	}
	for (i = 0; i < t->open_count; i++) {
		if (now - t->open[i].since < CW_SIM_ANSWER_MS)
			continue;
		p->fleet->silent++;
		cw_sim_say(p, L_SILENT, "no answer to 0x%04x, serial %u", t->open[i].id, t->open[i].serial);
		t->open[i--] = t->open[--t->open_count];
	}
}

static unsigned pending(struct cw_sim_peer *p)
{
	struct terminal *t = cw_container_of(p, struct terminal, peer);

	return t->open_count + (t->state == REGISTERING);
}

static int is_online(struct cw_sim_peer *p)
{
	return cw_container_of(p, struct terminal, peer)->state == ONLINE;
}

static void progress(struct cw_sim_fleet *base)
{
	struct fleet *f = cw_container_of(base, struct fleet, base);

	printf("%u of %u online, %" PRIu64 " messages, %" PRIu64 " answered, %" PRIu64 " commands\n",
	       cw_sim_count(base, is_online), base->o->devices, f->messages, f->acks, f->commands);
}

static int summary(const struct fleet *f)
{
	uint64_t silent = f->base.silent;
	int bad = silent > 0 || f->refused > 0 || f->online_once < f->base.o->devices;

	printf("%u terminals: %u authenticated, %u registrations; %" PRIu64 " messages, %" PRIu64 " answered (%" PRIu64
	       " of them denied), %" PRIu64 " without answer; %" PRIu64 " commands answered; %" PRIu64
	       " parts sent again; %" PRIu64 " logins refused, %" PRIu64 " connections cut: %s\n",
	       f->base.o->devices, f->online_once, f->registered, f->messages, f->acks, f->denied, silent, f->commands,
	       f->resent, f->refused, f->base.cuts, bad ? "NOT all as expected" : "all as expected");
	return bad;
}

int cw_sim_jt808(const struct cw_sim_options *o)
{
	static const struct cw_sim_protocol protocol = {
		.size = sizeof(struct terminal), .make = make_terminal, .connected = connected, .take = take, .lost = lost,
		.send = send_next, .overdue = overdue, .pending = pending, .progress = progress,
	};
	struct fleet *f = cw_zalloc(sizeof(*f));
	int rc = 1;

	if (f != NULL && cw_sim_fleet_run(&f->base, o, &protocol) == 0)
		rc = summary(f);
	cw_free(f);
	return rc;
}
