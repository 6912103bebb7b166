/* fleet.c - see fleet.h. */
#include "cli/sim/fleet.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define TICK_MS 10
#define REDIAL_MS 5000
#define PROGRESS_MS 5000
#define LINES_EACH 40 /* lines of one kind before they become numbers only */
#define DIALS_A_TICK 20

static struct cw_sim_peer *peer(const struct cw_sim_fleet *f, unsigned i)
{
	return (struct cw_sim_peer *)(void *)(f->peers + i * f->protocol->size);
}

uint64_t cw_sim_now(struct cw_sim_peer *p)
{
	return uv_now(&p->fleet->loop);
}

unsigned cw_sim_count(struct cw_sim_fleet *f, int (*is)(struct cw_sim_peer *p))
{
	unsigned i, n = 0;

	for (i = 0; i < f->o->devices; i++)
		n += is(peer(f, i)) != 0;
	return n;
}

/* ---- lines ------------------------------------------------------------------------ */

static void say(struct cw_sim_lines *lines, unsigned kind, const char *who, const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));

static void say(struct cw_sim_lines *lines, unsigned kind, const char *who, const char *fmt, va_list ap)
{
	lines->n[kind]++;
	if (lines->quiet || lines->n[kind] > LINES_EACH + 1)
		return;
	if (lines->n[kind] > LINES_EACH) {
		puts("(further lines of this kind are counted only)");
	} else {
		printf("%s ", who);
		vprintf(fmt, ap);
		putchar('\n');
	}
	fflush(stdout);
}

void cw_sim_line(struct cw_sim_lines *lines, unsigned kind, const char *who, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(lines, kind, who, fmt, ap);
	va_end(ap);
}

void cw_sim_say(struct cw_sim_peer *p, unsigned kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(&p->fleet->lines, kind, p->fleet->o->identities[p->index], fmt, ap);
	va_end(ap);
}

/* ---- sending ------------------------------------------------------------------------ */

struct out {
	uv_write_t req;
	uint8_t bytes[];
};

static void on_written(uv_write_t *req, int status)
{
	(void)status; /* a failed write is followed by the end of the connection */
	cw_free(cw_container_of(req, struct out, req));
}

void cw_sim_write(uv_stream_t *to, const void *bytes, size_t n)
{
	struct out *out = cw_alloc(sizeof(*out) + n);
	uv_buf_t buf;

	if (out == NULL)
		return;
	memcpy(out->bytes, bytes, n);
	buf = uv_buf_init((char *)out->bytes, (unsigned)n);
	if (uv_write(&out->req, to, &buf, 1, on_written) < 0)
		cw_free(out);
}

void cw_sim_push(struct cw_sim_peer *p, const void *bytes, size_t n)
{
	cw_sim_write((uv_stream_t *)&p->tcp, bytes, n);
}

/* ---- connections ---------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct cw_sim_peer *p = cw_container_of((uv_tcp_t *)h, struct cw_sim_peer, tcp);

	p->handle_open = 0;
	p->link = p->fleet->closing ? CW_SIM_DONE : CW_SIM_IDLE;
	p->due_ms = cw_sim_now(p) + REDIAL_MS;
}

void cw_sim_hang_up(struct cw_sim_peer *p, const char *why)
{
	if (!p->handle_open || uv_is_closing((uv_handle_t *)&p->tcp))
		return;
	if (why != NULL) {
		p->fleet->cuts++;
		cw_sim_say(p, CW_SIM_LINE_CUT, "%s", why);
	}
	p->fleet->protocol->lost(p);
	p->link = CW_SIM_DONE;
	uv_close((uv_handle_t *)&p->tcp, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	struct cw_sim_peer *p = cw_container_of((uv_tcp_t *)h, struct cw_sim_peer, tcp);

	(void)want;
	*buf = uv_buf_init(p->fleet->chunk, sizeof(p->fleet->chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct cw_sim_peer *p = cw_container_of((uv_tcp_t *)s, struct cw_sim_peer, tcp);

	if (n < 0)
		cw_sim_hang_up(p, n == UV_EOF ? "the gateway closed the connection" : uv_strerror((int)n));
	else if (n > 0)
		p->fleet->protocol->take(p, (const uint8_t *)buf->base, (size_t)n);
}

static void on_dialled(uv_connect_t *req, int status)
{
	struct cw_sim_peer *p = cw_container_of(req, struct cw_sim_peer, dial);

	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		cw_sim_hang_up(p, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&p->tcp, 1);
	uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
	p->link = CW_SIM_CONNECTED;
	p->fleet->protocol->connected(p);
}

static void dial(struct cw_sim_peer *p)
{
	int rc = uv_tcp_init(&p->fleet->loop, &p->tcp);

	if (rc < 0)
		return;
	p->handle_open = 1;
	p->link = CW_SIM_DIALLING;
	rc = uv_tcp_connect(&p->dial, &p->tcp, (const struct sockaddr *)&p->fleet->o->to, on_dialled);
	if (rc < 0)
		cw_sim_hang_up(p, uv_strerror(rc));
}

/* ---- time ------------------------------------------------------------------------------- */

static unsigned pending(struct cw_sim_fleet *f)
{
	unsigned i, n = 0;

	for (i = 0; i < f->o->devices; i++)
		n += f->protocol->pending(peer(f, i));
	return n;
}

static void close_all(struct cw_sim_fleet *f)
{
	unsigned i;

	f->closing = 1;
	f->silent += pending(f); /* none, unless the wait for them was cut short or too short */
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_close((uv_handle_t *)&f->interrupt, NULL);
	uv_close((uv_handle_t *)&f->terminate, NULL);
	for (i = 0; i < f->o->devices; i++)
		cw_sim_hang_up(peer(f, i), NULL);
}

static void spend(struct cw_sim_fleet *f)
{
	unsigned tried;

	f->credit += f->o->rate * TICK_MS / 1000;
	if (f->credit > f->o->rate + 1)
		f->credit = f->o->rate + 1; /* no burst after a time without devices */
	for (tried = 0; f->credit >= 1 && tried < f->o->devices; tried++) {
		struct cw_sim_peer *p = peer(f, f->next_sender);

		f->next_sender = (f->next_sender + 1) % f->o->devices;
		/* One that still waits for answers is passed over: devices do not pile up messages. */
		if (p->link == CW_SIM_CONNECTED && f->protocol->send(p))
			f->credit -= 1;
	}
}

static void end(struct cw_sim_fleet *f)
{
	f->ending = 1;
	f->drain_ms = uv_now(&f->loop) + CW_SIM_ANSWER_MS + 1000;
}

static void dial_some(struct cw_sim_fleet *f)
{
	unsigned i, dialled = 0;

	for (i = 0; i < f->o->devices && dialled < DIALS_A_TICK; i++) {
		struct cw_sim_peer *p = peer(f, f->next_dial);

		f->next_dial = (f->next_dial + 1) % f->o->devices;
		if (p->link == CW_SIM_IDLE && !p->handle_open && uv_now(&f->loop) >= p->due_ms) {
			dial(p);
			dialled++;
		}
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct cw_sim_fleet *f = cw_container_of(timer, struct cw_sim_fleet, tick);
	unsigned i, share = f->o->devices / 100 + 1;
	uint64_t now = uv_now(&f->loop);

	if (!f->ending)
		dial_some(f);
	/* A hundredth of the fleet at each tick is soon enough for what is measured in seconds. */
	for (i = 0; i < share; i++)
		f->protocol->overdue(peer(f, (unsigned)((now / TICK_MS * share + i) % f->o->devices)), now);
	if (!f->o->quiet && now - f->line_ms >= PROGRESS_MS) {
		f->line_ms = now;
		f->protocol->progress(f);
		fflush(stdout);
	}
	if (!f->ending) {
		spend(f);
		if (f->end_ms != 0 && now >= f->end_ms)
			end(f);
		return;
	}
	if (pending(f) == 0 || now >= f->drain_ms)
		close_all(f);
}

static void on_interrupt(uv_signal_t *s, int number)
{
	struct cw_sim_fleet *f = s->data;

	(void)number;
	if (!f->ending)
		end(f);
	else if (!f->closing)
		close_all(f);
}

int cw_sim_fleet_run(struct cw_sim_fleet *f, const struct cw_sim_options *o, const struct cw_sim_protocol *protocol)
{
	int rc = 0;
	unsigned i;

	f->o = o;
	f->protocol = protocol;
	f->lines.quiet = o->quiet;
	f->peers = cw_calloc(o->devices, protocol->size);
	if (f->peers == NULL)
		return -1;
	for (i = 0; i < o->devices && rc == 0; i++) {
		peer(f, i)->fleet = f;
		peer(f, i)->index = i;
		rc = protocol->make(peer(f, i));
	}
	if (rc == 0) {
		uv_loop_init(&f->loop);
		uv_timer_init(&f->loop, &f->tick);
		uv_signal_init(&f->loop, &f->interrupt);
		uv_signal_init(&f->loop, &f->terminate);
		f->interrupt.data = f->terminate.data = f;
		uv_signal_start(&f->interrupt, on_interrupt, SIGINT);
		uv_signal_start(&f->terminate, on_interrupt, SIGTERM);
		uv_timer_start(&f->tick, on_tick, 0, TICK_MS);
		f->line_ms = uv_now(&f->loop);
		f->end_ms = o->for_ms == 0 ? 0 : f->line_ms + o->for_ms;
		uv_run(&f->loop, UV_RUN_DEFAULT);
		uv_loop_close(&f->loop);
	}
	cw_free(f->peers);
	f->peers = NULL;
	return rc;
}
