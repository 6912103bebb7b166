/*
 * gb26875.c - a fleet of user-information transmission devices (UTD) on one loop.
 *
 *   idle -> dialling -> connected
 *
 * There is no log-in: a UTD counts as accepted when its first heartbeat is confirmed. One tick spends the message rate over
 * the UTDs that are connected and looks for answers that are overdue. The mix: heartbeats in their four forms, states of the
 * UTD, of systems and of components (every fortieth message is a fire), analogue values, operations, versions and
 * configurations. What is denied is sent again three times, as the standard wants. Every request is answered with its
 * response, every control with a confirm; a duty check is answered by the person on duty, type 24.
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
#include "cli/sim/gb26875_wire.h"

#define TICK_MS 10
#define ANSWER_MS 20000 /* a gateway that waits for its platform denies after 8 s; later than this is silence */
#define REDIAL_MS 5000
#define LINES_EACH 40   /* lines of one kind before they become numbers only */
#define DIALS_A_TICK 20
#define OPEN_MAX 8      /* unanswered messages of one UTD */
#define RESENDS 3
#define OBJECTS_MOST 16 /* in one answer of ours */

enum { CONTROL = 1, SEND, CONFIRM, REQUEST, RESPONSE, DENY, KEEP_ALIVE };
enum state { IDLE, DIALLING, CONNECTED, DONE };

struct fleet;

struct open {
	uint64_t since;
	uint8_t *wire; /* owned */
	size_t n;
	unsigned serial, tries;
};

struct utd {
	struct fleet *fleet;
	uv_tcp_t tcp;
	uv_connect_t dial;
	enum state state;
	int handle_open, accepted;
	unsigned index, serial, sent;
	uint8_t address[6];
	uint64_t due_ms; /* dial again */
	struct open open[OPEN_MAX];
	unsigned open_count;
	uint8_t rx[2 * CW_GBSIM_WIRE_MAX];
	size_t rx_len;
};

struct fleet {
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t interrupt, terminate;
	const struct cw_sim_options *o;
	struct utd *t;
	unsigned next_dial, next_sender, devices; /* devices: without components */
	double credit;
	uint64_t end_ms, drain_ms, last_line_ms;
	int ending, closing;
	char chunk[65536];
	unsigned lines[8];
	/* the summary */
	uint64_t messages, confirmed, denied, resent, silent, commands, broken, cuts;
	unsigned accepted;
};

enum kind { L_ACCEPTED, L_COMMAND, L_CUT, L_SILENT, L_DENIED };

static void say(struct fleet *f, enum kind kind, const struct utd *t, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void say(struct fleet *f, enum kind kind, const struct utd *t, const char *fmt, ...)
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

static void push(struct utd *t, const uint8_t *bytes, size_t n)
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

	push(t, wire, make(t, command, serial, u, wire));
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
	o->since = uv_now(&t->fleet->loop);
	o->tries = 0;
	t->open_count++;
	t->fleet->messages++;
	push(t, wire, n);
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
	uint32_t component = request == 62 || request == 63 || request == 67
	                             ? (uint32_t)key[2] | (uint32_t)key[3] << 8 | (uint32_t)key[4] << 16 | (uint32_t)key[5] << 24 : 0;

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
	struct fleet *f = t->fleet;
	unsigned i;

	for (i = 0; i < t->open_count && t->open[i].serial != m->serial; i++)
		;
	if (i == t->open_count)
		return; /* of a resend that crossed the answer */
	if (m->command == DENY) {
		f->denied++;
		say(f, L_DENIED, t, "serial %u denied", m->serial);
		if (t->open[i].tries++ < RESENDS) {
			f->resent++;
			t->open[i].since = uv_now(&f->loop);
			push(t, t->open[i].wire, t->open[i].n);
			return;
		}
	} else {
		f->confirmed++;
		if (!t->accepted) {
			t->accepted = 1;
			f->accepted++;
			say(f, L_ACCEPTED, t, "accepted");
		}
	}
	close_open(t, i);
}

static void on_frame(struct utd *t, const struct cw_gbsim_frame *m)
{
	char hex[2 * 64 + 4];
	size_t i;

	if (memcmp(m->destination, t->address, sizeof(t->address)) != 0) {
		t->fleet->broken++;
		say(t->fleet, L_CUT, t, "a frame of the gateway is for somebody else");
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
		t->fleet->commands++;
		say(t->fleet, L_COMMAND, t, "command %u received and answered: %s%s", m->command, hex, m->unit_len > 64 ? ".." : "");
	} else {
		t->fleet->broken++;
		say(t->fleet, L_COMMAND, t, "command %u denied: %s", m->command, hex);
	}
}

static void take(struct utd *t, const uint8_t *p, size_t n)
{
	struct cw_gbsim_frame m;
	int len;

	while (n > 0) {
		size_t room = sizeof(t->rx) - t->rx_len, part = n < room ? n : room;

		memcpy(t->rx + t->rx_len, p, part);
		t->rx_len += part;
		p += part;
		n -= part;
		while (t->rx_len > 0 && (len = cw_gbsim_take(t->rx, t->rx_len, &m)) != 0) {
			if (len < 0) {
				t->fleet->broken++;
				say(t->fleet, L_CUT, t, "a frame of the gateway is wrong");
				len = 1;
			} else {
				on_frame(t, &m);
			}
			t->rx_len -= (size_t)len;
			memmove(t->rx, t->rx + len, t->rx_len);
		}
	}
}

/* ---- connections -------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct utd *t = cw_container_of((uv_tcp_t *)h, struct utd, tcp);

	t->handle_open = 0;
	t->state = t->fleet->closing ? DONE : IDLE;
	t->due_ms = uv_now(&t->fleet->loop) + REDIAL_MS;
	t->rx_len = 0;
}

/* Close; messages under way count as unanswered only if the run is not over. */
static void hang_up(struct utd *t, const char *why)
{
	if (!t->handle_open || uv_is_closing((uv_handle_t *)&t->tcp))
		return;
	if (why != NULL) {
		t->fleet->cuts++;
		say(t->fleet, L_CUT, t, "%s", why);
	}
	t->fleet->messages -= t->open_count; /* a cut link loses them: the UTD would store and send again */
	while (t->open_count > 0)
		close_open(t, 0);
	t->state = DONE;
	uv_close((uv_handle_t *)&t->tcp, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	struct utd *t = cw_container_of((uv_tcp_t *)h, struct utd, tcp);

	(void)want;
	*buf = uv_buf_init(t->fleet->chunk, sizeof(t->fleet->chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct utd *t = cw_container_of((uv_tcp_t *)s, struct utd, tcp);

	if (n < 0)
		hang_up(t, n == UV_EOF ? "the gateway closed the connection" : uv_strerror((int)n));
	else if (n > 0)
		take(t, (const uint8_t *)buf->base, (size_t)n);
}

static void on_dialled(uv_connect_t *req, int status)
{
	struct utd *t = cw_container_of(req, struct utd, dial);

	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		hang_up(t, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&t->tcp, 1);
	uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_read);
	t->state = CONNECTED;
	heartbeat(t, 0);
}

static void dial(struct utd *t)
{
	struct fleet *f = t->fleet;
	int rc = uv_tcp_init(&f->loop, &t->tcp);

	if (rc < 0)
		return;
	t->handle_open = 1;
	t->state = DIALLING;
	t->due_ms = 0;
	rc = uv_tcp_connect(&t->dial, &t->tcp, (const struct sockaddr *)&f->o->to, on_dialled);
	if (rc < 0)
		hang_up(t, uv_strerror(rc));
}

/* ---- time --------------------------------------------------------------------- */

static void look_overdue(struct fleet *f, struct utd *t)
{
	uint64_t now = uv_now(&f->loop);
	unsigned i;

	for (i = 0; i < t->open_count; i++) {
		if (now - t->open[i].since < ANSWER_MS)
			continue;
		f->silent++;
		say(f, L_SILENT, t, "no answer to serial %u", t->open[i].serial);
		close_open(t, i--);
	}
}

static unsigned pending(const struct fleet *f)
{
	unsigned i, n = 0;

	for (i = 0; i < f->o->devices; i++)
		n += f->t[i].open_count;
	return n;
}

static void close_all(struct fleet *f)
{
	unsigned i;

	f->closing = 1;
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_close((uv_handle_t *)&f->interrupt, NULL);
	uv_close((uv_handle_t *)&f->terminate, NULL);
	for (i = 0; i < f->o->devices; i++) {
		f->silent += f->t[i].open_count;
		hang_up(&f->t[i], NULL);
	}
}

static void spend(struct fleet *f)
{
	unsigned tried;

	f->credit += f->o->rate * TICK_MS / 1000;
	if (f->credit > f->o->rate + 1)
		f->credit = f->o->rate + 1; /* no burst after a time without UTDs */
	for (tried = 0; f->credit >= 1 && tried < f->o->devices; tried++) {
		struct utd *t = &f->t[f->next_sender];

		f->next_sender = (f->next_sender + 1) % f->o->devices;
		/* One that still waits for answers is passed over: a UTD does not pile up messages. */
		if (t->state != CONNECTED || t->open_count + 1 >= OPEN_MAX)
			continue;
		send_something(t);
		f->credit -= 1;
	}
}

static void progress(struct fleet *f)
{
	uint64_t now = uv_now(&f->loop);
	unsigned i, connected = 0;

	if (f->o->quiet || now - f->last_line_ms < 5000)
		return;
	f->last_line_ms = now;
	for (i = 0; i < f->o->devices; i++)
		connected += f->t[i].state == CONNECTED;
	printf("%u of %u connected, %" PRIu64 " messages, %" PRIu64 " confirmed, %" PRIu64 " commands\n", connected, f->devices, f->messages,
	       f->confirmed, f->commands);
	fflush(stdout);
}

static void on_tick(uv_timer_t *timer)
{
	struct fleet *f = cw_container_of(timer, struct fleet, tick);
	uint64_t now = uv_now(&f->loop);
	unsigned i, dialled = 0;

	for (i = 0; i < f->o->devices && !f->ending && dialled < DIALS_A_TICK; i++) {
		struct utd *t = &f->t[f->next_dial];

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
		if (f->end_ms == 0 || now < f->end_ms)
			return;
		f->ending = 1;
		f->drain_ms = now + ANSWER_MS + 1000;
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

static int make_fleet(struct fleet *f)
{
	unsigned i;

	f->t = cw_calloc(f->o->devices, sizeof(*f->t));
	if (f->t == NULL)
		return -1;
	for (i = 0; i < f->o->devices; i++) {
		struct utd *t = &f->t[i];

		t->fleet = f;
		t->index = i;
		if (strchr(f->o->identities[i], ':') != NULL) {
			t->state = DONE;
			continue;
		}
		f->devices++;
		if (cw_gbsim_address(t->address, f->o->identities[i]) < 0) {
			fprintf(stderr, "causeway: simulate: identity `%s` is no address (up to 12 hex digits)\n", f->o->identities[i]);
			cw_free(f->t);
			return -1;
		}
	}
	return 0;
}

static int summary(const struct fleet *f)
{
	int bad = f->silent > 0 || f->broken > 0 || f->accepted < f->devices;

	printf("%u devices: %u accepted; %" PRIu64 " messages, %" PRIu64 " confirmed, %" PRIu64 " denials and %" PRIu64 " resends, %" PRIu64
	       " without answer; %" PRIu64 " commands answered; %" PRIu64 " wrong frames, %" PRIu64 " connections cut: %s\n",
	       f->devices, f->accepted, f->messages, f->confirmed, f->denied, f->resent, f->silent, f->commands, f->broken, f->cuts,
	       bad ? "NOT all as expected" : "all as expected");
	return bad;
}

int cw_sim_gb26875(const struct cw_sim_options *o)
{
	struct fleet *f = cw_zalloc(sizeof(*f));
	int rc;

	if (f == NULL)
		return 1;
	f->o = o;
	if (make_fleet(f) < 0) {
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
