/*
 * naughty.c - the skeleton with one rule of the ABI broken each, to see that the
 * conformance program says so. NAUGHTY_<what> picks the fault.
 */
#include "../../plugins/skeleton/skeleton.h"

#include <stdlib.h>
#include <unistd.h>

#ifdef NAUGHTY_STATIC
static int frames_seen;
#endif
#ifdef NAUGHTY_EXPORT
CW_PLUGIN_EXPORT int naughty_helper(void);
CW_PLUGIN_EXPORT int naughty_helper(void)
{
	return 1;
}
#endif
#ifdef NAUGHTY_LIBRARY
const char *uv_version_string(void);
#endif

/* The words of the session that set some of the faults off. */
__attribute__((unused)) static int says(struct cw_bytes b, const char *word) /* not every fault has a word */
{
	return b.len >= strlen(word) && memcmp(b.ptr, word, strlen(word)) == 0;
}

static int frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *cut)
{
	int rc = sk_frame(d, ev, in, cut);

#ifdef NAUGHTY_TORN /* takes what is there for a frame */
	if (cut->length == 0 && in.len > 8)
		cut->length = in.len;
#endif
#ifdef NAUGHTY_PURE /* remembers in the connection what it was asked */
	if (*ev->conn_ctx != NULL)
		cut->need = ++((struct sk_conn *)*ev->conn_ctx)->command % 2 ? in.len + 1 : 0;
#endif
#ifdef NAUGHTY_CUT
	cut->length = cut->length == 0 ? 0 : 300;
#endif
#ifdef NAUGHTY_NOISE /* drops a frame that follows an empty line */
	if (in.len > 2 && in.ptr[0] == '\n')
		cut->length = in.len;
#endif
	return rc;
}

#ifdef NAUGHTY_DEADLY /* for tests of isolation: does what the line says, and most of it ends a process */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int is(struct cw_bytes line, const char *word)
{
	size_t n = strlen(word);

	return line.len >= n && memcmp(line.ptr, word, n) == 0;
}

static void eat_memory(void)
{
	for (;;) {
		volatile char *p = malloc(1 << 20);
		size_t i;

		for (i = 0; i < 1 << 20; i += 4096)
			p[i] = 1; /* NULL where no more is given */
	}
}

static void tell(struct cw_decoder *d, const struct cw_event *ev, const char *what, int value)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "%s,%d\n", what, value);

	(void)d->host->send(d->hx, ev->conn, cw_bytes_of(text, (size_t)n));
}

static void obey(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes line)
{
	if (is(line, "crash"))
		*(volatile int *)(d->hx == NULL ? (void *)d : NULL) = 1;
	if (is(line, "abort"))
		abort();
	if (is(line, "exit"))
		_exit(3);
	if (is(line, "hang"))
		for (;;)
			__asm__ volatile("");
	if (is(line, "eat"))
		eat_memory();
	if (is(line, "socket"))
		tell(d, ev, "socket", socket(AF_INET, SOCK_STREAM, 0));
	if (is(line, "open"))
		tell(d, ev, "open", open("/etc/passwd", O_RDONLY));
	if (is(line, "pid"))
		tell(d, ev, "pid", (int)getpid());
	if (is(line, "print"))
		(void)fprintf(stderr, "a decoder prints %.*s", (int)line.len, (const char *)line.ptr);
	if (is(line, "timer"))
		(void)d->host->timer(d->hx, ev->conn, 77, 20);
	if (is(line, "late")) { /* speaks, then dies: nobody hears of it */
		tell(d, ev, "late", 1);
		abort();
	}
}
#endif

static int decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes f)
{
#ifdef NAUGHTY_DEADLY
	obey(d, ev, f);
#endif
#ifdef NAUGHTY_STATIC
	frames_seen++;
#endif
#ifdef NAUGHTY_TALK
	int i;

	for (i = 0; i < 3000; i++)
		(void)d->host->timer(d->hx, ev->conn, 9, CW_TIMER_STOP);
#endif
#ifdef NAUGHTY_CRASH
	volatile int *volatile nowhere = NULL;

	if (says(f, "temp,"))
		*nowhere = 1;
#endif
#ifdef NAUGHTY_HANG
	for (volatile int k = 1; says(f, "temp,") && k;)
		;
#endif
#ifdef NAUGHTY_EXIT
	if (says(f, "temp,"))
		_exit(0);
#endif
#ifdef NAUGHTY_EAT
	while (says(f, "temp,") && malloc(1 << 20) != NULL)
		;
#endif
#ifdef NAUGHTY_BEYOND /* looks at the byte behind the frame */
	if (says(f, "ok,") && *(const volatile uint8_t *)(f.ptr + f.len) == 1)
		return CW_EPROTO;
#endif
#ifdef NAUGHTY_SLOW
	for (volatile long k = 0; says(f, "temp,") && k < 60000000; k++)
		;
#endif
#ifdef NAUGHTY_BUSY
	if (says(f, "temp,"))
		return CW_EBUSY;
#endif
#ifdef NAUGHTY_RECORD
	(void)d->host->emit(d->hx, ev->conn, 0, 0, cw_bytes_text("\xbf\x01"));
#endif
#ifdef NAUGHTY_LIBRARY
	if (uv_version_string() == NULL)
		return CW_EPROTO;
#endif
#ifdef NAUGHTY_CHARGE
	(void)d->host->charge(d->hx, ev->conn, 10);
#endif
	return sk_decode(d, ev, f);
}

static int event(struct cw_decoder *d, const struct cw_event *ev)
{
#ifdef NAUGHTY_LEAK
	void *volatile lost = ev->kind == CW_EV_OPEN ? malloc(16) : d; /* volatile: a compiler may leave out what nobody uses */

	if (lost == NULL)
		return CW_ECLOSED;
#endif
#ifdef NAUGHTY_DONE
	if (ev->kind == CW_EV_TIMER)
		(void)d->host->command_done(d->hx, ev->conn, 4711, CW_CODE_OK, cw_bytes_of(NULL, 0));
#endif
#ifdef NAUGHTY_DEADLY
	if (ev->kind == CW_EV_TIMER && ev->timer == 77)
		abort();
#endif
#ifdef NAUGHTY_STATUS
	if (ev->kind == CW_EV_OFFLINE)
		return CW_EINVAL;
#endif
#ifdef NAUGHTY_KEPT
	if (ev->kind == CW_EV_REFUSED && ev->code == CW_REFUSED_KEPT)
		(void)d->host->send(d->hx, ev->conn, cw_bytes_text("no,login\n"));
#endif
#ifdef NAUGHTY_MEMORY /* does not look whether there was memory */
	if (ev->kind == CW_EV_ONLINE) {
		volatile char *volatile some = malloc(4);

		some[0] = 1;
		free((void *)(uintptr_t)some);
	}
#endif
#ifdef NAUGHTY_RESUME
	if ((ev->flags & CW_EVF_RESUMED) && ev->kind == CW_EV_IDENTIFIED)
		abort();
#endif
#ifdef NAUGHTY_CONTEXT
	if (ev->kind == CW_EV_CLOSED)
		return 0;
#endif
	return sk_event(d, ev);
}

static int command(struct cw_decoder *d, const struct cw_event *ev)
{
#ifdef NAUGHTY_DEADLY
	if (memmem(ev->data.ptr, ev->data.len, "Deadly", 6) != NULL)
		abort();
#endif
	return sk_command(d, ev);
}

static const struct cw_decoder_ops ops = {
	CW_DECODER_OPS_INIT,
	.create = sk_create, .destroy = sk_destroy, .settings = sk_settings, .settings_free = sk_settings_free,
	.frame = frame, .decode = decode, .event = event, .command = command,
};
static const struct cw_plugin_counter counters[] = { { "badLine", "Lines that are none of the protocol's" }, { NULL, NULL } };
static const struct cw_plugin_desc desc = {
	CW_PLUGIN_INIT,
	.name = "naughty", .version = "1.0.0", .summary = "breaks a rule",
	.caps = CW_CAP_DOWNLINK, .max_frame = 256, .max_outstanding = 1,
	.conf = sk_conf_fields, .counters = counters, .decoder = &ops,
};

CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &desc;
}
