/*
 * modbus.c - Modbus devices on one loop: DTUs that dial in, a Modbus TCP server, or a slave on a serial line.
 *
 * A *box* is what has a line of its own (a DTU with its registration, a server, a serial bus) with the units behind it;
 * a *link* is one open line to the gateway. The gateway asks and a box answers, one request at a time: after
 * --answer-delay, in pieces of --split bytes. What the registers hold is said in modbus_wire.h.
 */
#include "cli/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "cli/sim/modbus_wire.h"
#include "conf/value.h"
#include "net/serial.h"

#define TICK_MS 20
#define REDIAL_MS 2000
#define DIALS_A_TICK 20
#define LINES_EACH 40 /* lines of one kind before they become numbers only */
#define UNITS_MOST 256
#define LINKS_MOST 64 /* to a server */

enum registration { REGISTER_NONE, REGISTER_ONCE, REGISTER_EVERY };

/* The options; there is one run in a process. */
static struct {
	const char *listen, *serial, *prefix, *heartbeat_text;
	uint8_t units[UNITS_MOST];
	unsigned unit_count;
	int framing; /* -1: what is usual there */
	enum registration registration;
	int64_t heartbeat_ms, delay_ms, gap_ms;
	unsigned split;
	struct cw_sim_fault faults[CW_SIM_FAULTS];
	size_t fault_count;
	struct cw_serial_conf line;
} opt = { .prefix = "", .heartbeat_text = "ping", .units = { 1 }, .unit_count = 1, .framing = -1, .registration = REGISTER_ONCE, .gap_ms = 20 };

struct fleet;

struct box {
	char *registration; /* owned */
	struct cw_sim_unit *units; /* owned */
	unsigned unit_count;
	uint64_t asked;
	struct link *link; /* of a DTU, while it has one */
	uint64_t due_ms;   /* dial again */
};

enum state { DIALLING, OPEN, CLOSING };

struct link {
	struct fleet *fleet;
	struct box *box;
	struct link *next, **at; /* in fleet->links */
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe; /* a serial line: to libuv any descriptor that is read and written */
	} u;
	uv_timer_t later; /* the next piece of the answer under way */
	uv_connect_t dial;
	enum state state;
	unsigned handles;
	uint64_t heartbeat_ms; /* due */
	uint8_t rx[2 * CW_SIM_ADU_MAX];
	size_t rx_n;
	uint8_t tx[CW_SIM_ADU_MAX + 256]; /* with a registration in front */
	size_t tx_n, tx_at;               /* tx_n 0: no answer is under way */
};

struct fleet {
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t interrupt, terminate;
	uv_tcp_t server;
	const struct cw_sim_options *o;
	enum cw_sim_framing framing;
	struct box *boxes;
	unsigned box_count, next_dial, link_count;
	struct link *links;
	uint64_t start_ms, end_ms, line_ms;
	int ending;
	char chunk[65536];
	unsigned lines[4];
	/* the summary */
	uint64_t opened, requests, writes, exceptions, strangers, noise, heartbeats, cuts;
};

enum kind { L_OPEN, L_WRITE, L_CUT, L_NOISE };

static void say(struct fleet *f, enum kind kind, const struct box *b, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void say(struct fleet *f, enum kind kind, const struct box *b, const char *fmt, ...)
{
	va_list ap;

	f->lines[kind]++;
	if (f->o->quiet || f->lines[kind] > LINES_EACH + 1)
		return;
	if (f->lines[kind] > LINES_EACH) {
		puts("(further lines of this kind are counted only)");
	} else {
		printf("%s ", b->registration);
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		putchar('\n');
	}
	fflush(stdout);
}

/* ---- sending ---------------------------------------------------------------------------- */

struct out {
	uv_write_t req;
	uint8_t bytes[];
};

static void on_written(uv_write_t *req, int status)
{
	(void)status; /* a failed write is followed by the end of the line */
	cw_free(cw_container_of(req, struct out, req));
}

static void push(struct link *l, const void *bytes, size_t n)
{
	struct out *out = cw_alloc(sizeof(*out) + n);
	uv_buf_t buf;

	if (out == NULL)
		return;
	memcpy(out->bytes, bytes, n);
	buf = uv_buf_init((char *)out->bytes, (unsigned)n);
	if (uv_write(&out->req, &l->u.stream, &buf, 1, on_written) < 0)
		cw_free(out);
}

static void send_registration(struct link *l)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "%s%s", opt.prefix, l->box->registration);

	push(l, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static void take_requests(struct link *l);

static void on_later(uv_timer_t *timer)
{
	struct link *l = cw_container_of(timer, struct link, later);
	size_t left = l->tx_n - l->tx_at, n = opt.split == 0 || opt.split > left ? left : opt.split;

	push(l, l->tx + l->tx_at, n);
	l->tx_at += n;
	if (l->tx_at < l->tx_n) {
		uv_timer_start(timer, on_later, (uint64_t)opt.gap_ms, 0);
		return;
	}
	l->tx_n = 0;
	take_requests(l);
}

static void send_answer(struct link *l, unsigned transaction, uint8_t unit, const uint8_t *pdu, size_t n)
{
	int front = opt.registration != REGISTER_EVERY || l->fleet->box_count == 0 || opt.listen != NULL || opt.serial != NULL
	                    ? 0
	                    : snprintf((char *)l->tx, 255, "%s%s", opt.prefix, l->box->registration);

	l->tx_at = 0;
	l->tx_n = (size_t)(front > 254 ? 254 : front);
	l->tx_n += cw_sim_modbus_frame(l->fleet->framing, transaction, unit, pdu, n, l->tx + l->tx_n);
	if (opt.delay_ms > 0)
		uv_timer_start(&l->later, on_later, (uint64_t)opt.delay_ms, 0);
	else
		on_later(&l->later);
}

/* ---- requests --------------------------------------------------------------------------- */

/* On Ethernet 0 and 255 mean the device itself. */
static struct cw_sim_unit *find_unit(const struct link *l, uint8_t id)
{
	unsigned i;

	for (i = 0; i < l->box->unit_count; i++)
		if (l->box->units[i].id == id)
			return &l->box->units[i];
	return l->fleet->framing == CW_SIM_TCP && (id == 0 || id == 255) ? &l->box->units[0] : NULL;
}

static int is_write(const uint8_t *pdu)
{
	return pdu[0] == 5 || pdu[0] == 6 || pdu[0] == 15 || pdu[0] == 16 || pdu[0] == 22 || pdu[0] == 23;
}

static size_t ask_unit(struct link *l, struct cw_sim_unit *u, const struct cw_sim_request *q, uint8_t *out)
{
	struct fleet *f = l->fleet;
	size_t n = cw_sim_unit_answer(u, (double)(uv_now(&f->loop) - f->start_ms) / 1000, q->pdu, q->n, out);

	if (out[0] & 0x80) {
		f->exceptions++;
	} else if (is_write(q->pdu)) {
		f->writes++;
		say(f, L_WRITE, l->box, "unit %u: written by function %u at address %u", u->id, q->pdu[0], q->pdu[1] * 256u + q->pdu[2]);
	}
	return n;
}

static void on_request(struct link *l, const struct cw_sim_request *q)
{
	static const uint8_t nobody[] = { 0, 0x0b };
	struct cw_sim_unit *u = find_unit(l, q->unit);
	uint8_t pdu[CW_SIM_PDU_MAX + 1];
	unsigned i;
	size_t n;

	l->fleet->requests++;
	l->box->asked++;
	if (u != NULL) {
		n = ask_unit(l, u, q, pdu);
		send_answer(l, q->transaction, q->unit, pdu, n);
	} else if (q->unit == 0) {
		for (i = 0; i < l->box->unit_count; i++)
			(void)ask_unit(l, &l->box->units[i], q, pdu);
	} else {
		l->fleet->strangers++;
		if (l->fleet->framing != CW_SIM_TCP)
			return; /* a bus is silent, a converter says that nobody answered */
		memcpy(pdu, nobody, sizeof(nobody));
		pdu[0] = q->pdu[0] | 0x80;
		send_answer(l, q->transaction, q->unit, pdu, sizeof(nobody));
	}
}

static void take_requests(struct link *l)
{
	struct cw_sim_request q;
	size_t at = 0;
	int n = 0;

	while (l->state == OPEN && l->tx_n == 0 && (n = cw_sim_request_cut(l->fleet->framing, l->rx + at, l->rx_n - at, &q)) != 0) {
		if (n > 0) {
			at += (size_t)n;
			memmove(l->rx, l->rx + at, l->rx_n - at); /* before it is answered: that comes back here */
			l->rx_n -= at;
			at = 0;
			on_request(l, &q);
			continue;
		}
		l->fleet->noise++;
		say(l->fleet, L_NOISE, l->box, "0x%02x begins no request", l->rx[at]);
		at++;
	}
	memmove(l->rx, l->rx + at, l->rx_n - at);
	l->rx_n -= at;
}

/* ---- lines ------------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *h)
{
	struct link *l = h->data;

	if (--l->handles > 0)
		return;
	if (l->box->link == l) {
		l->box->link = NULL;
		l->box->due_ms = uv_now(&l->fleet->loop) + REDIAL_MS;
	}
	if (l->next != NULL)
		l->next->at = l->at;
	*l->at = l->next;
	l->fleet->link_count--;
	cw_free(l);
}

static void hang_up(struct link *l, const char *why)
{
	uv_os_fd_t fd;

	if (l->state == CLOSING)
		return;
	l->state = CLOSING;
	if (why != NULL) {
		l->fleet->cuts++;
		say(l->fleet, L_CUT, l->box, "%s", why);
	}
	if (opt.serial != NULL && uv_fileno(&l->u.handle, &fd) == 0)
		cw_serial_release(fd);
	uv_close(&l->u.handle, on_closed);
	uv_close((uv_handle_t *)&l->later, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	struct link *l = h->data;

	(void)want;
	*buf = uv_buf_init(l->fleet->chunk, sizeof(l->fleet->chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = s->data;
	size_t at = 0, room;

	if (n < 0)
		hang_up(l, n == UV_EOF ? "the gateway closed the connection" : uv_strerror((int)n));
	while (n > 0 && at < (size_t)n && l->state == OPEN) {
		room = sizeof(l->rx) - l->rx_n;
		if (room == 0) {
			hang_up(l, "the gateway does not wait for answers");
			return;
		}
		room = room < (size_t)n - at ? room : (size_t)n - at;
		memcpy(l->rx + l->rx_n, buf->base + at, room);
		l->rx_n += room;
		at += room;
		take_requests(l);
	}
}

static struct link *new_link(struct fleet *f, struct box *b)
{
	struct link *l = cw_zalloc(sizeof(*l));

	if (l == NULL)
		return NULL;
	l->fleet = f;
	l->box = b;
	l->next = f->links;
	l->at = &f->links;
	if (l->next != NULL)
		l->next->at = &l->next;
	f->links = l;
	f->link_count++;
	if (opt.serial != NULL)
		uv_pipe_init(&f->loop, &l->u.pipe, 0);
	else
		uv_tcp_init(&f->loop, &l->u.tcp);
	uv_timer_init(&f->loop, &l->later);
	l->u.handle.data = l->later.data = l;
	l->handles = 2;
	return l;
}

static void opened(struct link *l)
{
	l->state = OPEN;
	l->fleet->opened++;
	l->heartbeat_ms = uv_now(&l->fleet->loop) + (uint64_t)opt.heartbeat_ms;
	uv_read_start(&l->u.stream, on_alloc, on_read);
}

static void on_dialled(uv_connect_t *req, int status)
{
	struct link *l = cw_container_of(req, struct link, dial);

	if (status == UV_ECANCELED || l->state == CLOSING)
		return;
	if (status < 0) {
		hang_up(l, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&l->u.tcp, 1);
	opened(l);
	if (opt.registration != REGISTER_NONE)
		send_registration(l);
	say(l->fleet, L_OPEN, l->box, "connected, with %u units", l->box->unit_count);
}

static void dial(struct fleet *f, struct box *b)
{
	struct link *l = new_link(f, b);
	int rc;

	if (l == NULL)
		return;
	b->link = l;
	rc = uv_tcp_connect(&l->dial, &l->u.tcp, (const struct sockaddr *)&f->o->to, on_dialled);
	if (rc < 0)
		hang_up(l, uv_strerror(rc));
}

static void on_caller(uv_stream_t *server, int status)
{
	struct fleet *f = server->data;
	struct link *l = status < 0 || f->ending ? NULL : new_link(f, &f->boxes[0]);

	if (l == NULL)
		return;
	if (uv_accept(server, &l->u.stream) < 0 || f->link_count > LINKS_MOST) {
		hang_up(l, "a connection is refused");
		return;
	}
	uv_tcp_nodelay(&l->u.tcp, 1);
	opened(l);
	say(f, L_OPEN, l->box, "the gateway has connected");
}

static int start_server(struct fleet *f)
{
	struct sockaddr_storage ss;
	char host[64] = "";
	int rc, len = sizeof(ss), port;

	uv_tcp_init(&f->loop, &f->server);
	f->server.data = f;
	rc = uv_tcp_bind(&f->server, (const struct sockaddr *)&f->o->to, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&f->server, 64, on_caller);
	if (rc == 0)
		rc = uv_tcp_getsockname(&f->server, (struct sockaddr *)&ss, &len);
	if (rc < 0) {
		fprintf(stderr, "causeway: simulate: cannot listen on %s: %s\n", opt.listen, uv_strerror(rc));
		return -1;
	}
	(void)uv_ip_name((const struct sockaddr *)&ss, host, sizeof(host));
	port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
	printf(ss.ss_family == AF_INET6 ? "listening on [%s]:%d\n" : "listening on %s:%d\n", host, port);
	fflush(stdout);
	return 0;
}

/* The line may go away: it is opened again. */
static void open_line(struct fleet *f, struct box *b)
{
	struct cw_msg msg, warning;
	struct link *l;
	int fd;

	b->due_ms = uv_now(&f->loop) + REDIAL_MS;
	if (cw_serial_open(opt.serial, &opt.line, &msg, &warning, &fd) < 0) {
		say(f, L_CUT, b, "%s", msg.text);
		return;
	}
	l = new_link(f, b);
	if (l == NULL) {
		close(fd);
		return;
	}
	b->link = l;
	if (uv_pipe_open(&l->u.pipe, fd) < 0) {
		close(fd);
		hang_up(l, "the line cannot be used");
		return;
	}
	opened(l);
	say(f, L_OPEN, b, "open, with %u units", b->unit_count);
}

/* ---- time ------------------------------------------------------------------------------- */

static void close_all(struct fleet *f)
{
	struct link *l;

	f->ending = 1;
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_close((uv_handle_t *)&f->interrupt, NULL);
	uv_close((uv_handle_t *)&f->terminate, NULL);
	if (opt.listen != NULL)
		uv_close((uv_handle_t *)&f->server, NULL);
	for (l = f->links; l != NULL; l = l->next)
		hang_up(l, NULL);
}

static void on_interrupt(uv_signal_t *s, int number)
{
	struct fleet *f = s->data;

	(void)number;
	if (!f->ending)
		close_all(f);
}

static void beat(struct fleet *f)
{
	uint64_t now = uv_now(&f->loop);
	struct link *l;

	for (l = f->links; opt.heartbeat_ms > 0 && l != NULL; l = l->next) {
		if (l->state != OPEN || now < l->heartbeat_ms || l->tx_n != 0)
			continue;
		l->heartbeat_ms = now + (uint64_t)opt.heartbeat_ms;
		push(l, opt.heartbeat_text, strlen(opt.heartbeat_text));
		f->heartbeats++;
	}
}

static void progress(struct fleet *f)
{
	uint64_t now = uv_now(&f->loop);

	if (f->o->quiet || now - f->line_ms < 5000)
		return;
	f->line_ms = now;
	printf("%u lines open, %" PRIu64 " requests, %" PRIu64 " writes, %" PRIu64 " exceptions\n", f->link_count, f->requests, f->writes, f->exceptions);
	fflush(stdout);
}

static void on_tick(uv_timer_t *timer)
{
	struct fleet *f = timer->data;
	uint64_t now = uv_now(&f->loop);
	unsigned i, dialled = 0;

	for (i = 0; i < f->box_count && opt.listen == NULL && dialled < DIALS_A_TICK; i++) {
		struct box *b = &f->boxes[f->next_dial];

		f->next_dial = (f->next_dial + 1) % f->box_count;
		if (b->link != NULL || now < b->due_ms)
			continue;
		if (opt.serial != NULL)
			open_line(f, b);
		else
			dial(f, b);
		dialled++;
	}
	beat(f);
	progress(f);
	if (f->end_ms != 0 && now >= f->end_ms)
		close_all(f);
}

/* ---- who is there ------------------------------------------------------------------------- */

static int add_unit(struct box *b, unsigned id)
{
	struct cw_sim_unit *grown = cw_realloc(b->units, (b->unit_count + 1) * sizeof(*grown));

	if (grown == NULL)
		return -1;
	b->units = grown;
	b->units[b->unit_count++] = (struct cw_sim_unit){
		.id = (uint8_t)id, .about = { "Causeway", "simulated meter", "1.0" }, .faults = opt.faults, .fault_count = opt.fault_count
	};
	return 0;
}

/* The box of this registration; one alone for a server or a bus. */
static struct box *box_of(struct fleet *f, const char *registration, size_t n)
{
	unsigned i = f->box_count;

	if ((opt.listen != NULL || opt.serial != NULL) && f->box_count == 1)
		return &f->boxes[0];
	while (i-- > 0) /* the last one is the likeliest */
		if (strlen(f->boxes[i].registration) == n && memcmp(f->boxes[i].registration, registration, n) == 0)
			return &f->boxes[i];
	f->boxes[f->box_count].registration = cw_strndup(registration, n);
	return f->boxes[f->box_count].registration == NULL ? NULL : &f->boxes[f->box_count++];
}

/* `<registration>/<unit>`; without a unit those of --units. */
static int add_identity(struct fleet *f, const char *identity)
{
	const char *slash = strrchr(identity, '/');
	size_t n = slash == NULL ? strlen(identity) : (size_t)(slash - identity);
	struct box *b = box_of(f, identity, n);
	int64_t unit;
	unsigned i;
	int rc = 0;

	if (b == NULL)
		return -1;
	if (slash == NULL) {
		for (i = 0; i < opt.unit_count && rc == 0; i++)
			rc = add_unit(b, opt.units[i]);
		return rc;
	}
	if (cw_text_to_int64(slash + 1, &unit, NULL) < 0 || unit < 0 || unit > 255) {
		fprintf(stderr, "causeway: simulate: identity `%s` is no REGISTRATION/UNIT\n", identity);
		return -1;
	}
	return add_unit(b, (unsigned)unit);
}

static int make_boxes(struct fleet *f)
{
	unsigned i;
	int rc = 0;

	f->boxes = cw_calloc(f->o->devices, sizeof(*f->boxes));
	if (f->boxes == NULL)
		return -1;
	for (i = 0; i < f->o->devices && rc == 0; i++)
		rc = add_identity(f, f->o->identities[i]);
	return rc;
}

static void free_boxes(struct fleet *f)
{
	unsigned i, k;

	for (i = 0; i < f->box_count; i++) {
		for (k = 0; k < f->boxes[i].unit_count; k++)
			cw_sim_unit_fini(&f->boxes[i].units[k]);
		cw_free(f->boxes[i].units);
		cw_free(f->boxes[i].registration);
	}
	cw_free(f->boxes);
}

/* ---- options -------------------------------------------------------------------------------- */

/* `5`, `5-9`; returns where it ends, or NULL. */
static const char *read_range(const char *p, unsigned most, unsigned *from, unsigned *to)
{
	char *end;

	*from = *to = (unsigned)strtoul(p, &end, 10);
	if (end == p)
		return NULL;
	if (*end == '-') {
		p = end + 1;
		*to = (unsigned)strtoul(p, &end, 10);
		if (end == p)
			return NULL;
	}
	return *from > *to || *to > most ? NULL : end;
}

static int set_units(const char *p)
{
	unsigned from, to;

	opt.unit_count = 0;
	while ((p = read_range(p, 255, &from, &to)) != NULL) {
		for (; from <= to && opt.unit_count < UNITS_MOST; from++)
			opt.units[opt.unit_count++] = (uint8_t)from;
		if (*p == '\0')
			return 1;
		if (*p++ != ',')
			return -1;
	}
	return -1;
}

static int set_exceptions(const char *p)
{
	struct cw_sim_fault *x;
	char *end;

	while (opt.fault_count < CW_SIM_FAULTS) {
		x = &opt.faults[opt.fault_count];
		x->code = 2;
		p = read_range(p, 65535, &x->from, &x->to);
		if (p != NULL && *p == ':') {
			x->code = (unsigned)strtoul(p + 1, &end, 10);
			p = end == p + 1 || x->code < 1 || x->code > 127 ? NULL : end;
		}
		if (p == NULL)
			return -1;
		opt.fault_count++;
		if (*p == '\0')
			return 1;
		if (*p++ != ',')
			return -1;
	}
	return -1;
}

static int choose(const char *v, const char *const *names)
{
	int i;

	for (i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], v) == 0)
			return i;
	return -1;
}

static int set_choice(const char *key, const char *v)
{
	static const char *const framings[] = { "tcp", "rtu", "ascii", NULL }, *const modes[] = { "none", "once", "every", NULL },
	                         *const parities[] = { "none", "even", "odd", NULL };
	int i = choose(v, strcmp(key, "--framing") == 0 ? framings : strcmp(key, "--parity") == 0 ? parities : modes);

	if (i < 0)
		return -1;
	if (strcmp(key, "--framing") == 0)
		opt.framing = i;
	else if (strcmp(key, "--parity") == 0)
		opt.line.parity = (enum cw_parity)i;
	else
		opt.registration = (enum registration)i;
	return 1;
}

static int set_number(const char *key, const char *v)
{
	int64_t n;
	unsigned *to = strcmp(key, "--split") == 0 ? &opt.split : strcmp(key, "--stop-bits") == 0 ? &opt.line.stop_bits : &opt.line.data_bits;

	if (cw_text_to_int64(v, &n, NULL) < 0 || n < 1 || n > 4000000)
		return -1;
	if (strcmp(key, "--baud") == 0)
		opt.line.baud = (uint32_t)n;
	else
		*to = (unsigned)n;
	return 1;
}

int cw_sim_modbus_option(const char *key, const char *v)
{
	static const struct {
		const char *key;
		const char **text;
		int64_t *ms;
	} plain[] = {
		{ "--listen", &opt.listen, NULL }, { "--serial", &opt.serial, NULL }, { "--prefix", &opt.prefix, NULL },
		{ "--heartbeat-text", &opt.heartbeat_text, NULL }, { "--heartbeat", NULL, &opt.heartbeat_ms },
		{ "--answer-delay", NULL, &opt.delay_ms }, { "--split-gap", NULL, &opt.gap_ms },
	};
	static const char *const choices[] = { "--framing", "--registration", "--parity", NULL };
	static const char *const numbers[] = { "--split", "--baud", "--stop-bits", "--data-bits", NULL };
	size_t i;

	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (strcmp(plain[i].key, key) != 0)
			continue;
		if (plain[i].ms != NULL)
			return cw_text_to_duration_ms(v, plain[i].ms, NULL) < 0 || *plain[i].ms < 0 ? -1 : 1;
		*plain[i].text = v;
		return 1;
	}
	if (strcmp(key, "--units") == 0)
		return set_units(v);
	if (strcmp(key, "--exceptions") == 0)
		return set_exceptions(v);
	if (choose(key, choices) >= 0)
		return set_choice(key, v);
	return choose(key, numbers) >= 0 ? set_number(key, v) : 0;
}

const char cw_sim_modbus_help[] =
	"modbus: DTUs dial in with --connect; or one of these instead:\n"
	"  --listen HOST:PORT    be a Modbus TCP server, for one that the gateway dials; port 0: any free one\n"
	"  --serial PATH         be the slaves on a serial line (--baud 9600, --parity none|even|odd, --stop-bits 1,\n"
	"                        --data-bits 8)\n"
	"Identities are REGISTRATION/UNIT; of a server or serial line only the unit counts. Those without a unit get\n"
	"  --units LIST          as in 1-4,7 (1)\n"
	"  --framing tcp|rtu|ascii   (rtu; with --listen: tcp)\n"
	"  --registration none|once|every   the packet of a DTU (once): its identity's registration behind --prefix TEXT\n"
	"  --heartbeat DURATION  how often (never), and --heartbeat-text TEXT what (ping)\n"
	"  --answer-delay DURATION  (0s)\n"
	"  --split N             answers come in pieces of N bytes, --split-gap DURATION (20ms) apart\n"
	"  --exceptions LIST     addresses answered with an exception, as in 500-509 or 500-509:4 (2)\n"
	"Registers from 0 hold, input and holding alike: 0-99 about 2200; 100-199 float32 about 25; 200-299 uint32 that\n"
	"count up; then their own address. What is written stays.\n";

/* ---- the run ---------------------------------------------------------------------------------- */

static int summary(const struct fleet *f)
{
	unsigned i, asked = 0, units = 0;
	int bad;

	for (i = 0; i < f->box_count; i++) {
		asked += f->boxes[i].asked > 0;
		units += f->boxes[i].unit_count;
	}
	bad = asked < f->box_count || f->noise > 0;
	printf("%u lines with %u units: %u of them asked; %" PRIu64 " requests, %" PRIu64 " writes, %" PRIu64 " exceptions, %" PRIu64
	       " for units that are not there; %" PRIu64 " heartbeats; %" PRIu64 " connections, %" PRIu64 " cut; %" PRIu64 " bytes that were no request: %s\n",
	       f->box_count, units, asked, f->requests, f->writes, f->exceptions, f->strangers, f->heartbeats, f->opened, f->cuts, f->noise,
	       bad ? "NOT all as expected" : "all as expected");
	return bad;
}

static int run(struct fleet *f)
{
	uv_timer_init(&f->loop, &f->tick);
	uv_signal_init(&f->loop, &f->interrupt);
	uv_signal_init(&f->loop, &f->terminate);
	f->tick.data = f->interrupt.data = f->terminate.data = f;
	uv_signal_start(&f->interrupt, on_interrupt, SIGINT);
	uv_signal_start(&f->terminate, on_interrupt, SIGTERM);
	uv_timer_start(&f->tick, on_tick, 0, TICK_MS);
	f->start_ms = f->line_ms = uv_now(&f->loop);
	f->end_ms = f->o->for_ms == 0 ? 0 : f->start_ms + f->o->for_ms;
	if (opt.listen != NULL && start_server(f) < 0) {
		close_all(f);
		uv_run(&f->loop, UV_RUN_DEFAULT);
		return 1;
	}
	uv_run(&f->loop, UV_RUN_DEFAULT);
	return summary(f);
}

int cw_sim_modbus(const struct cw_sim_options *o)
{
	struct cw_sim_options with = *o;
	struct fleet *f;
	struct cw_msg msg;
	int rc = 1;

	if ((o->to_text != NULL) + (opt.listen != NULL) + (opt.serial != NULL) != 1) {
		fputs("causeway: simulate: modbus takes one of --connect HOST:PORT, --listen HOST:PORT and --serial PATH\n", stderr);
		return 2;
	}
	if (opt.listen != NULL && cw_sim_resolve("--listen", opt.listen, &with.to) != 0)
		return 2;
	if (cw_serial_check(&opt.line, &msg) < 0) {
		fprintf(stderr, "causeway: simulate: %s\n", msg.text);
		return 2;
	}
	f = cw_zalloc(sizeof(*f));
	if (f == NULL)
		return 1;
	f->o = &with;
	f->framing = opt.framing >= 0 ? (enum cw_sim_framing)opt.framing : opt.listen != NULL ? CW_SIM_TCP : CW_SIM_RTU;
	uv_loop_init(&f->loop);
	if (make_boxes(f) == 0)
		rc = run(f);
	uv_loop_close(&f->loop);
	free_boxes(f);
	cw_free(f);
	return rc;
}
