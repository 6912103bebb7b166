/*
 * gb26875.c - a fleet of user-information transmission devices (UTD) on one loop.
 *
 * There is no log-in: a UTD counts as accepted when its first heartbeat is confirmed. The mix: heartbeats in their four forms,
 * states of the UTD, of systems and of components (every fortieth message is a fire), analogue values, operations, versions and
 * configurations. What is denied is sent again three times, as the standard wants. Every request is answered with its
 * response, every control with a confirm; a duty check is answered by the person on duty, type 24.
 */
#include "cli/sim/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/sim/gb26875_wire.h"

#define OPEN_MAX 8      /* unanswered messages of one UTD */
#define RESENDS 3
#define OBJECTS_MOST 16 /* in one answer of ours */

enum { CONTROL = 1, SEND, CONFIRM, REQUEST, RESPONSE, DENY, KEEP_ALIVE };

struct open {
	uint64_t since;
	uint8_t *wire; /* owned */
	size_t n;
	unsigned serial, tries;
};

struct utd {
	struct cw_sim_peer peer;
	int accepted;
	unsigned serial, sent;
	uint8_t address[6];
	struct open open[OPEN_MAX];
	unsigned open_count;
	uint8_t rx[2 * CW_GBSIM_WIRE_MAX];
	size_t rx_len;
};

struct fleet {
	struct cw_sim_fleet base;
	uint64_t messages, confirmed, denied, resent, commands, broken;
	unsigned accepted, devices; /* devices: without components */
};

enum { L_ACCEPTED = CW_SIM_LINE_CUT + 1, L_COMMAND, L_SILENT, L_DENIED, L_BROKEN };

static struct fleet *fleet_of(const struct utd *t)
{
	return cw_container_of(t->peer.fleet, struct fleet, base);
}

/* ---- sending ------------------------------------------------------------------ */

static size_t make(const struct utd *t, unsigned command, unsigned serial, const struct cw_gbsim_unit *u, uint8_t *wire)
{
	static const uint8_t centre[6] = { 0x38, 0x5b, 0x01 };
	struct cw_gbsim_frame f = { .serial = serial, .version_main = 1, .version_user = 1, .command = command };
	struct cw_gbsim_unit now = { .n = 0 };

	cw_gbsim_time(&now, cw_clock_wall_ms());
	memcpy(f.time, now.b, sizeof(f.time));
	memcpy(f.source, t->address, sizeof(f.source));
	memcpy(f.destination, centre, sizeof(f.destination));
	f.unit = u->b;
	f.unit_len = u->n;
	return cw_gbsim_make(&f, wire);
}

static void answer(struct utd *t, unsigned command, unsigned serial, const struct cw_gbsim_unit *u)
{
	uint8_t wire[CW_GBSIM_WIRE_MAX];

	cw_sim_push(&t->peer, wire, make(t, command, serial, u, wire));
}

/* An upload, which the gateway must answer. */
static void tell(struct utd *t, unsigned command, const struct cw_gbsim_unit *u)
{
	uint8_t wire[CW_GBSIM_WIRE_MAX];
	struct open *o = &t->open[t->open_count];
	size_t n;

	if (t->open_count == OPEN_MAX)
		return;
	n = make(t, command, t->serial & 0xffff, u, wire);
	o->wire = cw_memdup(wire, n);
	if (o->wire == NULL)
		return;
	o->n = n;
	o->serial = t->serial++ & 0xffff;
	o->since = cw_sim_now(&t->peer);
	o->tries = 0;
	t->open_count++;
	fleet_of(t)->messages++;
	cw_sim_push(&t->peer, wire, n);
}

static void close_open(struct utd *t, unsigned i)
{
	cw_free(t->open[i].wire);
	t->open[i] = t->open[--t->open_count];
}

/* ---- what a UTD has to tell ---------------------------------------------------- */

static const char *const texts[] = { "\xd6\xf7\xbb\xfa", "2F-East", "\xb5\xd8\xcf\xc2\xb3\xb5\xbf\xe2" }; /* GB 18030 */

static void put_system_state(struct cw_gbsim_unit *u, unsigned type, unsigned address, unsigned status)
{
	cw_gbsim_system(u, type, address);
	cw_gbsim_u16(u, status);
	cw_gbsim_time(u, cw_clock_wall_ms());
}

static void put_component_state(struct cw_gbsim_unit *u, unsigned system, unsigned address, uint32_t component, unsigned status)
{
	cw_gbsim_component(u, system, address, 40, component);
	cw_gbsim_u16(u, status);
	cw_gbsim_fixed(u, texts[component % 3], 31);
	cw_gbsim_time(u, cw_clock_wall_ms());
}

static void put_value(struct cw_gbsim_unit *u, unsigned system, unsigned address, uint32_t component, unsigned type, int value)
{
	cw_gbsim_component(u, system, address, type == 2 ? 92 : 31, component);
	cw_gbsim_u8(u, type);
	cw_gbsim_u16(u, (unsigned)value & 0xffff);
	cw_gbsim_time(u, cw_clock_wall_ms());
}

static void put_operation(struct cw_gbsim_unit *u, unsigned flags, unsigned who)
{
	cw_gbsim_u8(u, flags);
	cw_gbsim_u8(u, who);
	cw_gbsim_time(u, cw_clock_wall_ms());
}

static void put_text(struct cw_gbsim_unit *u, const char *text)
{
	cw_gbsim_u8(u, (unsigned)strlen(text));
	cw_gbsim_fixed(u, text, strlen(text));
}

static void put_component_config(struct cw_gbsim_unit *u, unsigned system, unsigned address, uint32_t component)
{
	cw_gbsim_component(u, system, address, 40, component);
	cw_gbsim_fixed(u, texts[component % 3], 31);
}

static void heartbeat(struct utd *t, unsigned form)
{
	struct cw_gbsim_unit u = { .n = 0 };

	if (form == 1)
		cw_gbsim_u8(&u, 0x16);
	if (form == 2) {
		cw_gbsim_begin(&u, 28, 1);
		cw_gbsim_time(&u, cw_clock_wall_ms());
	}
	tell(t, form == 3 ? KEEP_ALIVE : SEND, &u);
}

static void utd_state(struct cw_gbsim_unit *u)
{
	cw_gbsim_u8(u, rand() % 8 == 0 ? 0x05 : 0x01);
	cw_gbsim_time(u, cw_clock_wall_ms());
}

static void send_something(struct utd *t)
{
	struct cw_gbsim_unit u = { .n = 0 };
	unsigned r = (unsigned)rand(), n = t->sent++;

	switch (n % 10) {
	case 0: heartbeat(t, n / 10 % 4); return;
	case 1:
		cw_gbsim_begin(&u, 21, 1);
		utd_state(&u);
		break;
	case 2:
		cw_gbsim_begin(&u, 1, 2);
		put_system_state(&u, 1, 1, n % 40 == 2 ? 0x0003 : 0x0001);
		put_system_state(&u, 11, 1, r % 5 == 0 ? 0x0105 : 0x0001);
		break;
	case 3:
	case 7:
		cw_gbsim_begin(&u, 2, 2);
		put_component_state(&u, 1, 1, (r % 4 + 1) << 16 | 1, n % 40 == 3 ? 0x0003 : 0x0001);
		put_component_state(&u, 1, 1, (r % 9 + 1) << 16 | 2, 0x0001);
		break;
	case 5:
		cw_gbsim_begin(&u, 4, 1);
		cw_gbsim_system(&u, 1, 1);
		put_operation(&u, 1u << r % 7, r / 8 % 4);
		break;
	case 6:
		cw_gbsim_begin(&u, 24, 1);
		put_operation(&u, 0x02, 1);
		break;
	case 9:
		cw_gbsim_begin(&u, n % 20 == 9 ? 5 : 6, 1);
		cw_gbsim_system(&u, 1, 1);
		if (n % 20 == 9)
			cw_gbsim_u16(&u, 0x0301);
		else
			put_text(&u, texts[r % 3]);
		break;
	default:
		cw_gbsim_begin(&u, 3, 2);
		put_value(&u, 1, 1, 0x00050001, 3, 180 + (int)(r % 80));
		put_value(&u, 11, 1, 7, 2, 280 + (int)(r % 60));
		break;
	}
	tell(t, SEND, &u);
}

/* ---- commands ------------------------------------------------------------------ */

/* One object of a response: the key is copied from the request, the rest is ours. */
static void put_answer(struct cw_gbsim_unit *u, unsigned request, const uint8_t *key)
{
	uint32_t component =
		request == 62 || request == 63 || request == 67
			? (uint32_t)key[2] | (uint32_t)key[3] << 8 | (uint32_t)key[4] << 16 | (uint32_t)key[5] << 24
			: 0;

	switch (request) {
	case 61: put_system_state(u, key[0], key[1], 0x0001); break;
	case 62: put_component_state(u, key[0], key[1], component, 0x0001); break;
	case 63: put_value(u, key[0], key[1], component, 3, 215); break;
	case 64: cw_gbsim_system(u, key[0], key[1]); put_operation(u, 0x01, 1); break;
	case 65: cw_gbsim_system(u, key[0], key[1]); cw_gbsim_u16(u, 0x0301); break;
	case 66: cw_gbsim_system(u, key[0], key[1]); put_text(u, texts[0]); break;
	case 67: put_component_config(u, key[0], key[1], component); break;
	case 68: cw_gbsim_system(u, key[0], key[1]); cw_gbsim_time(u, cw_clock_wall_ms()); break;
	case 81: utd_state(u); break;
	case 84: put_operation(u, 0x01, 1); break;
	case 85: cw_gbsim_u16(u, 0x0201); break;
	case 86: put_text(u, "SIM"); break;
	default: cw_gbsim_time(u, cw_clock_wall_ms()); break;
	}
}

static size_t request_size(unsigned type)
{
	switch (type) {
	case 61: case 65: case 66: case 68: return 2;
	case 62: case 63: case 67: return 6;
	case 64: return 9;
	case 84: return 7;
	case 81: case 85: case 86: case 88: return 1;
	default: return 0;
	}
}

/* 1: the request was good. */
static int respond(struct utd *t, const struct cw_gbsim_frame *m)
{
	unsigned type = m->unit[0], n = m->unit[1], i;
	size_t size = request_size(type);
	struct cw_gbsim_unit u = { .n = 0 };

	if (size == 0 || n == 0 || m->unit_len != 2 + n * size) {
		answer(t, DENY, m->serial, &u);
		return 0;
	}
	if (n > OBJECTS_MOST)
		n = OBJECTS_MOST;
	cw_gbsim_begin(&u, type - 60, n);
	for (i = 0; i < n; i++)
		put_answer(&u, type, m->unit + 2 + i * size);
	answer(t, RESPONSE, m->serial, &u);
	return 1;
}

static int obey(struct utd *t, const struct cw_gbsim_frame *m)
{
	struct cw_gbsim_unit u = { .n = 0 };
	unsigned type = m->unit_len < 2 ? 0 : m->unit[0];
	size_t size = type == 90 ? 6 : type == 89 || type == 91 ? 1 : 0;

	if (m->command == REQUEST && m->unit_len >= 2)
		return respond(t, m);
	if (m->command != CONTROL || size == 0 || m->unit_len != 2 + size) {
		answer(t, DENY, m->serial, &u);
		return 0;
	}
	answer(t, CONFIRM, m->serial, &u);
	if (type == 91) {
		cw_gbsim_begin(&u, 24, 1);
		put_operation(&u, 0x20, 7);
		tell(t, SEND, &u);
	}
	return 1;
}

/* ---- answers ------------------------------------------------------------------ */

static void on_answer(struct utd *t, const struct cw_gbsim_frame *m)
{
	struct fleet *f = fleet_of(t);
	unsigned i;

	for (i = 0; i < t->open_count && t->open[i].serial != m->serial; i++)
		;
	if (i == t->open_count)
		return; /* of a resend that crossed the answer */
	if (m->command == DENY) {
		f->denied++;
		cw_sim_say(&t->peer, L_DENIED, "serial %u denied", m->serial);
		if (t->open[i].tries++ < RESENDS) {
			f->resent++;
			t->open[i].since = cw_sim_now(&t->peer);
			cw_sim_push(&t->peer, t->open[i].wire, t->open[i].n);
			return;
		}
	} else {
		f->confirmed++;
		if (!t->accepted) {
			t->accepted = 1;
			f->accepted++;
			cw_sim_say(&t->peer, L_ACCEPTED, "accepted");
		}
	}
	close_open(t, i);
}

static void on_frame(struct utd *t, const struct cw_gbsim_frame *m)
{
	char hex[2 * 64 + 4];
	size_t i;

	if (memcmp(m->destination, t->address, sizeof(t->address)) != 0) {
		fleet_of(t)->broken++;
		cw_sim_say(&t->peer, L_BROKEN, "a frame of the gateway is for somebody else");
		return;
	}
	if (m->command == CONFIRM || m->command == DENY) {
		on_answer(t, m);
		return;
	}
	for (i = 0; i < m->unit_len && i < 64; i++)
		sprintf(hex + 2 * i, "%02x", m->unit[i]);
	hex[2 * i] = 0;
	if (obey(t, m)) {
		fleet_of(t)->commands++;
		cw_sim_say(&t->peer, L_COMMAND, "command %u received and answered: %s%s", m->command, hex,
			   m->unit_len > 64 ? ".." : "");
	} else {
		fleet_of(t)->broken++;
		cw_sim_say(&t->peer, L_COMMAND, "command %u denied: %s", m->command, hex);
	}
}

static void take(struct cw_sim_peer *p, const uint8_t *bytes, size_t n)
{
	struct utd *t = cw_container_of(p, struct utd, peer);
	struct cw_gbsim_frame m;
	int len;

	while (n > 0) {
		size_t room = sizeof(t->rx) - t->rx_len, part = n < room ? n : room;

		memcpy(t->rx + t->rx_len, bytes, part);
		t->rx_len += part;
		bytes += part;
		n -= part;
		while (t->rx_len > 0 && (len = cw_gbsim_take(t->rx, t->rx_len, &m)) != 0) {
			if (len < 0) {
				fleet_of(t)->broken++;
				cw_sim_say(&t->peer, L_BROKEN, "a frame of the gateway is wrong");
				len = 1;
			} else {
				on_frame(t, &m);
			}
			t->rx_len -= (size_t)len;
			memmove(t->rx, t->rx + len, t->rx_len);
		}
	}
}

/* ---- what the fleet asks of it -------------------------------------------------- */

static int make_utd(struct cw_sim_peer *p)
{
	struct utd *t = cw_container_of(p, struct utd, peer);
	const char *identity = p->fleet->o->identities[p->index];

	if (strchr(identity, ':') != NULL) {
		p->link = CW_SIM_DONE; /* a component: its UTD speaks for it */
		return 0;
	}
	fleet_of(t)->devices++;
	if (cw_gbsim_address(t->address, identity) == 0)
		return 0;
	fprintf(stderr, "causeway: simulate: identity `%s` is no address (up to 12 hex digits)\n", identity);
	return -1;
}

static void connected(struct cw_sim_peer *p)
{
	heartbeat(cw_container_of(p, struct utd, peer), 0);
}

static void lost(struct cw_sim_peer *p)
{
	struct utd *t = cw_container_of(p, struct utd, peer);

	fleet_of(t)->messages -= t->open_count; /* a cut link loses them: the UTD would store and send again */
	while (t->open_count > 0)
		close_open(t, 0);
	t->rx_len = 0;
}

static int send_next(struct cw_sim_peer *p)
{
	struct utd *t = cw_container_of(p, struct utd, peer);

	if (t->open_count + 1 >= OPEN_MAX)
		return 0;
	send_something(t);
	return 1;
}

static void overdue(struct cw_sim_peer *p, uint64_t now)
{
	struct utd *t = cw_container_of(p, struct utd, peer);
	unsigned i;

	for (i = 0; i < t->open_count; i++) {
		if (now - t->open[i].since < CW_SIM_ANSWER_MS)
			continue;
		p->fleet->silent++;
		cw_sim_say(p, L_SILENT, "no answer to serial %u", t->open[i].serial);
		close_open(t, i--);
	}
}

static unsigned pending(struct cw_sim_peer *p)
{
	return cw_container_of(p, struct utd, peer)->open_count;
}

static int is_connected(struct cw_sim_peer *p)
{
	return p->link == CW_SIM_CONNECTED;
}

static void progress(struct cw_sim_fleet *base)
{
	struct fleet *f = cw_container_of(base, struct fleet, base);

	printf("%u of %u connected, %" PRIu64 " messages, %" PRIu64 " confirmed, %" PRIu64 " commands\n",
	       cw_sim_count(base, is_connected), f->devices, f->messages, f->confirmed, f->commands);
}

static int summary(const struct fleet *f)
{
	int bad = f->base.silent > 0 || f->broken > 0 || f->accepted < f->devices;

	printf("%u devices: %u accepted; %" PRIu64 " messages, %" PRIu64 " confirmed, %" PRIu64 " denials and %" PRIu64
	       " resends, %" PRIu64 " without answer; %" PRIu64 " commands answered; %" PRIu64 " wrong frames, %" PRIu64
	       " connections cut: %s\n",
	       f->devices, f->accepted, f->messages, f->confirmed, f->denied, f->resent, f->base.silent, f->commands,
	       f->broken, f->base.cuts, bad ? "NOT all as expected" : "all as expected");
	return bad;
}

int cw_sim_gb26875(const struct cw_sim_options *o)
{
	static const struct cw_sim_protocol protocol = {
		.size = sizeof(struct utd), .make = make_utd, .connected = connected, .take = take, .lost = lost, .send = send_next,
		.overdue = overdue, .pending = pending, .progress = progress,
	};
	struct fleet *f = cw_zalloc(sizeof(*f));
	int rc = 1;

	if (f != NULL && cw_sim_fleet_run(&f->base, o, &protocol) == 0)
		rc = summary(f);
	cw_free(f);
	return rc;
}
