/*
 * A plugin host that dies, hangs, or was taken over by its decoder and now says what cannot be: what causewayd's side
 * makes of it. The host is a copy of this program, so that its decoder reaches the shared memory and forges messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "plugin/isolate.h"
#include "plugin/shared.h"
#include "plugin/wire.h"

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
};

static int toy_create(const struct cw_host *host, void *hx, struct cw_decoder **ret)
{
	*ret = malloc(sizeof(**ret));
	(*ret)->host = host;
	(*ret)->hx = hx;
	return 0;
}

static void toy_destroy(struct cw_decoder *d)
{
	free(d);
}

static int toy_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *cut)
{
	cut->length = in.len > 0 && in.len > in.ptr[0] ? 1u + in.ptr[0] : 0;
	return 0;
}

/* Say whatever message, as a decoder can that has found the ring. */
static void forge(const struct cw_wire *m)
{
	struct cw_shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, CW_HOST_FIRST_FD + CW_HOST_FD_MEMORY, 0);
	struct cw_outlet o = { .wait = NULL };

	cw_ring_init(&o.ring, &s->up, s->up_data, CW_SHARED_RING);
	o.ring.own = o.ring.published = atomic_load(&s->up.head);
	o.ring.other = atomic_load(&s->up.tail);
	cw_outlet_put(&o, m);
	(void)cw_ring_publish(&o.ring);
	if (write(CW_HOST_FIRST_FD + CW_HOST_FD_PARENT_BELL, &(uint64_t){ 1 }, 8) < 0)
		_exit(1);
	for (;;)
		pause(); /* the host has no more to say */
}

static void forge_index(int which)
{
	struct cw_shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, CW_HOST_FIRST_FD + CW_HOST_FD_MEMORY, 0);

	if (which == 0)
		atomic_store(&s->up.head, UINT64_MAX);
	else if (which == 1)
		atomic_store(&s->down.tail, UINT64_MAX);
	else
		atomic_fetch_add(&s->up.head, 48); /* a message of zeros */
	if (write(CW_HOST_FIRST_FD + CW_HOST_FD_PARENT_BELL, &(uint64_t){ 1 }, 8) < 0)
		_exit(1);
	for (;;)
		pause();
}

static void emit(struct cw_decoder *d, const struct cw_event *ev, uint64_t ticket)
{
	uint8_t b[64];
	struct cw_writer w = cw_writer_of(b, sizeof(b));

	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_body(&w);
	cw_field_int(&w, "N", 1);
	cw_put_end(&w);
	cw_record_end(&w);
	(void)d->host->emit(d->hx, ev->conn, 0, ticket, cw_written(&w));
}

static int toy_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes f)
{
	struct cw_identify who = { .size = sizeof(who), .identity = cw_bytes_of(f.ptr + 2, f.len < 2 ? 0 : f.len - 2) };
	static const uint8_t junk[] = { 0xbf, 0x00 }, long_text[CW_SAVE_MAX + 1];
	uint64_t conn = 1ull << 32 | 1; /* the first handle; the tests open one connection */
	unsigned what = f.len > 2 ? f.ptr[2] : 0;

	switch (f.ptr[1]) {
	case 'I': return d->host->identify(d->hx, ev->conn, &who);
	case 'E': emit(d, ev, 7); return 0;
	case 'S': return d->host->send(d->hx, ev->conn, cw_bytes_of(f.ptr + 2, f.len - 2));
	case 'V': return d->host->device_save(d->hx, ev->conn, 0, cw_bytes_of(f.ptr + 2, f.len - 2));
	case 'X': abort();
	case 'K': (void)raise(SIGKILL); return 0;
	case 'H':
		for (;;)
			pause();
	case 'R': forge_index((int)what); return 0;
	default: break;
	}
	switch (what) { /* 'F': forged messages */
	case 0: forge(&(struct cw_wire){ .kind = 999, .conn = conn }); break;
	case 1: forge(&(struct cw_wire){ .kind = CW_UP_EMIT, .conn = conn, .parts = 1, .part = { cw_bytes_of(junk, 2) } }); break;
	case 2: forge(&(struct cw_wire){ .kind = CW_UP_FRAME, .conn = conn, .a = 1, .b = 1000 }); break;
	case 3: forge(&(struct cw_wire){ .kind = CW_UP_FRAME, .conn = conn, .a = UINT64_MAX, .b = 2 }); break;
	case 4: forge(&(struct cw_wire){ .kind = CW_UP_CONSUMED, .conn = conn, .a = 1000000 }); break;
	case 5: forge(&(struct cw_wire){ .kind = CW_UP_CONSUMED, .conn = conn, .a = 0, .b = UINT64_MAX }); break;
	case 6: forge(&(struct cw_wire){ .kind = CW_UP_IDENTIFY, .conn = conn, .parts = 1, .part = { cw_bytes_text("a\nb") } }); break;
	case 7: forge(&(struct cw_wire){ .kind = CW_UP_IDENTIFY, .conn = conn, .a = 1u << 20, .parts = 1, .part = { cw_bytes_text("a") } }); break;
	case 8: forge(&(struct cw_wire){ .kind = CW_UP_STAT, .a = CW_STAT_net_accepted, .b = 1 }); break;
	case 9: forge(&(struct cw_wire){ .kind = CW_UP_COUNT, .a = 3, .b = 1 }); break;
	case 10: forge(&(struct cw_wire){ .kind = CW_UP_READY }); break;
	case 11: forge(&(struct cw_wire){ .kind = CW_UP_LOG, .a = CW_LOG_ID_plugin_line, .parts = 2, .part = { cw_bytes_text("x"), cw_bytes_of("\xff\0\0", 3) } }); break;
	case 12: forge(&(struct cw_wire){ .kind = CW_UP_DONE, .conn = conn, .a = 1, .b = 0 }); break;
	case 13: forge(&(struct cw_wire){ .kind = CW_UP_ATTACH_OPEN, .conn = conn, .dev = 1ull << 63 | conn, .a = 1, .parts = 1, .part = { cw_bytes_text("../../x-1") } }); break;
	case 14: forge(&(struct cw_wire){ .kind = CW_UP_SAVE, .conn = conn, .dev = 1ull << 63 | conn, .parts = 1, .part = { cw_bytes_of(long_text, sizeof(long_text)) } }); break;
	case 15: forge(&(struct cw_wire){ .kind = CW_UP_NOISE, .conn = conn, .a = 0, .b = UINT64_MAX }); break;
	/* these are harmless: about what is not there (any more), or cut to size */
	case 40: forge(&(struct cw_wire){ .kind = CW_UP_SEND, .conn = 77, .parts = 1, .part = { cw_bytes_text("x") } }); break;
	case 41: forge(&(struct cw_wire){ .kind = CW_UP_LOG, .a = CW_LOG_ID_daemon_failed, .parts = 2, .part = { cw_bytes_text("x"), cw_bytes_text("") } }); break;
	case 42: forge(&(struct cw_wire){ .kind = CW_UP_DONE, .conn = conn, .a = 4711, .b = 200 }); break;
	case 43: forge(&(struct cw_wire){ .kind = CW_UP_CLOSED, .conn = conn }); break;
	default: break;
	}
	return 0;
}

static int toy_event(struct cw_decoder *d, const struct cw_event *ev)
{
	char text[200];
	int n = 0;

	if (ev->kind == CW_EV_OPEN)
		n = snprintf(text, sizeof(text), "[open%s]", (ev->flags & CW_EVF_RESUMED) != 0 ? "-again" : "");
	else if (ev->kind == CW_EV_IDENTIFIED)
		n = snprintf(text, sizeof(text), "[%.*s%s:%.*s]", (int)ev->identity.len, (const char *)ev->identity.ptr,
		             (ev->flags & CW_EVF_RESUMED) != 0 ? "-again" : "", (int)ev->saved.len, (const char *)ev->saved.ptr);
	else if (ev->kind == CW_EV_SETTLED)
		n = snprintf(text, sizeof(text), "[settled]");
	else if (ev->kind == CW_EV_ONLINE)
		n = snprintf(text, sizeof(text), "[online]");
	else if (ev->kind == CW_EV_REFUSED)
		n = snprintf(text, sizeof(text), "[refused]");
	if (n > 0)
		(void)d->host->send(d->hx, ev->conn, cw_bytes_of(text, (size_t)n));
	return 0;
}

static int toy_command(struct cw_decoder *d, const struct cw_event *ev)
{
	return ev->data.ptr[0] == 'n' ? CW_EUNSUPPORTED : 0; /* otherwise it is never ended */
}

static const struct cw_decoder_ops toy_ops = {
	CW_DECODER_OPS_INIT, .create = toy_create, .destroy = toy_destroy, .frame = toy_frame, .decode = toy_decode,
	.event = toy_event, .command = toy_command,
};
static const struct cw_plugin_desc toy_desc = {
	CW_PLUGIN_INIT, .name = "toy", .version = "1", .caps = CW_CAP_DOWNLINK, .max_frame = 256, .decoder = &toy_ops,
};

/* ---- the owner ------------------------------------------------------------------- */

static struct owner {
	struct cw_conn *conn;
	char sent[4000];
	int emitted, lost, refused_command, refused_code, done, closes, closed, room, asked;
	char reason[100], identity[64];
} own;

static int own_send(void *owner, struct cw_bytes out)
{
	strncat(own.sent, (const char *)out.ptr, out.len);
	return 0;
}

static int own_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec)
{
	own.emitted++;
	return 0;
}

static int own_identify(void *owner, const struct cw_identify *who)
{
	own.asked++;
	(void)snprintf(own.identity, sizeof(own.identity), "%.*s", (int)who->identity.len, (const char *)who->identity.ptr);
	return 0;
}

static int own_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	own.done++;
	return 0;
}

static int own_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	return 0;
}

static void own_close(void *owner, uint64_t delay_ms, const char *reason)
{
	own.closes++;
	(void)snprintf(own.reason, sizeof(own.reason), "%s", reason);
}

static void own_called(void *owner)
{
}

static void own_room(void *owner)
{
	own.room++;
}

static void own_command_refused(void *owner, uint64_t id, int rc)
{
	own.refused_command++;
	own.refused_code = rc;
}

static void own_lost(void *owner)
{
	own.lost++;
}

static void own_closed(void *owner)
{
	own.closed++;
	own.conn = NULL;
}

static const struct cw_conn_ops own_ops = {
	.send = own_send, .emit = own_emit, .identify = own_identify, .command_done = own_done, .save = own_save, .close = own_close,
	.called = own_called, .room = own_room, .command_refused = own_command_refused, .lost = own_lost, .closed = own_closed,
};

static struct cw_worker *worker;
static struct cw_runner *runner;
static struct cw_rdevice *dev;
static long live_before;

static void settle(void)
{
	while (!cw_runner_quiet(runner))
		uv_run(cw_worker_loop(worker), UV_RUN_ONCE);
}

static uint64_t deaths(void)
{
	struct cw_host_info h;

	assert_int_equal(cw_runner_host_info(runner, &h), 1);
	return h.deaths;
}

static void wait_deaths(uint64_t n)
{
	while (deaths() < n)
		uv_run(cw_worker_loop(worker), UV_RUN_ONCE);
}

static struct cw_conn *open_conn(void)
{
	struct cw_conn_open how = { .listener = "test", .peer = cw_bytes_text("10.0.0.9:5"), .max_noise = 16, .cap = 100000, .attach_most = 100 };
	struct cw_conn *c = NULL;

	if (cw_conn_open(runner, &own_ops, &own, &how, &c) < 0)
		return NULL;
	return c;
}

static int setup_with(struct cw_isolation how)
{
	struct cw_msg msg;

	cw_log_setup(CW_LOG_ERROR, 0, -1); /* deaths are loud, and meant here */
	live_before = cw_mem_live();
	memset(&own, 0, sizeof(own));
	how.fork_only = 1;
	how.window_ms = 60000;
	how.sandbox = CW_SANDBOX_OFF;
	if (cw_worker_new("test", 0, &worker) < 0 || cw_runner_new_isolated(&toy_desc, worker, &how, &runner, &msg) < 0)
		return -1;
	own.conn = open_conn();
	settle();
	return own.conn == NULL ? -1 : 0;
}

static int setup(void **state)
{
	return setup_with((struct cw_isolation){ .crashes = 60, .timeout_ms = 400, .retry_ms = 60000 });
}

static int setup_strict(void **state)
{
	return setup_with((struct cw_isolation){ .crashes = 2, .retry_ms = 100000 });
}

static int teardown(void **state)
{
	if (own.conn != NULL)
		cw_conn_close(own.conn);
	cw_runner_free(runner);
	cw_worker_free(worker);
	return cw_mem_live() == live_before ? 0 : -1;
}

static int feed(const char *bytes, size_t len)
{
	return cw_conn_feed(own.conn, cw_bytes_of(bytes, len));
}

static void identified(void)
{
	assert_int_equal(cw_conn_identified(own.conn, cw_bytes_text("ab"), "pk", "dn", cw_bytes_text("S0"), CW_CONN_ATTACHED, NULL, NULL, &dev), 0);
	assert_int_equal(cw_conn_resume(own.conn), 0);
	settle();
}

static void identify(void)
{
	assert_int_equal(feed("\3Iab", 4), 0);
	settle();
	assert_int_equal(own.asked, 1);
	identified();
}

/* ---- deaths ------------------------------------------------------------------------- */

static void a_crash_closes_the_connection_it_came_from(void **state)
{
	identify();
	(void)feed("\2Sa\1X\2Sb", 8);
	wait_deaths(1);
	settle();
	assert_string_equal(own.sent, "[open][ab:S0]a");
	assert_int_equal(own.closes, 1);
	assert_string_equal(own.reason, "what it sent ended the plugin host");
	assert_int_equal(feed("\2Sc", 3), CW_ECLOSED);
}

static void somebody_elses_kill_is_forgiven_once_and_nothing_is_lost(void **state)
{
	identify();
	(void)feed("\3VS1\2Sa\3SK", 10); /* an unfinished frame behind */
	settle();
	(void)feed("K\1K\2Sb", 6);
	wait_deaths(2);
	assert_int_equal(own.lost, 2);
	assert_int_equal(own.closes, 1);
	/* After the first the same frame was tried again; after the second it is blamed. */
	assert_string_equal(own.sent, "[open][ab:S0]aKK[open-again][ab-again:S1]");
}

static void a_hang_is_ended(void **state)
{
	identify();
	(void)feed("\1H", 2);
	wait_deaths(1);
	assert_int_equal(own.closes, 1);
	assert_true(cw_stat_read(CW_STAT_plugin_host_hangs) > 0);
}

static void the_next_host_is_told_all_there_is(void **state)
{
	struct cw_host_info h;

	identify();
	cw_conn_state(own.conn, dev, 1, 0);
	(void)feed("\3VS1\1E\4Sx", 9); /* the last is not whole */
	settle();
	assert_int_equal(own.emitted, 1);
	own.sent[0] = '\0';
	assert_int_equal(cw_runner_host_info(runner, &h), 1);
	(void)kill((pid_t)h.pid, SIGKILL);
	wait_deaths(1);
	settle();
	assert_string_equal(own.sent, "[open-again][ab-again:S1][online]");
	assert_int_equal(own.lost, 1);
	(void)feed("yz", 2);
	settle();
	assert_string_equal(own.sent, "[open-again][ab-again:S1][online]xyz");
	assert_int_equal(own.closes, 0);
	assert_int_equal(own.emitted, 1);
}

static void commands_that_ran_are_refused_and_unknown_ones_too(void **state)
{
	struct cw_host_info h;

	identify();
	assert_int_equal(cw_conn_command(own.conn, dev, 5, cw_bytes_text("no"), 1000), 0);
	settle();
	assert_int_equal(own.refused_command, 1);
	assert_int_equal(own.refused_code, CW_EUNSUPPORTED);
	assert_int_equal(cw_conn_command(own.conn, dev, 6, cw_bytes_text("yes"), 1000), 0);
	settle();
	assert_int_equal(own.refused_command, 1);
	(void)cw_runner_host_info(runner, &h);
	(void)kill((pid_t)h.pid, SIGKILL);
	wait_deaths(1);
	assert_int_equal(own.refused_command, 2);
	assert_int_equal(own.refused_code, CW_EIO);
	assert_int_equal(own.done, 0);
}

static void an_answer_to_a_question_of_the_dead_reaches_the_next(void **state)
{
	struct cw_host_info h;

	(void)feed("\3Iab", 4);
	settle();
	(void)cw_runner_host_info(runner, &h);
	(void)kill((pid_t)h.pid, SIGKILL);
	wait_deaths(1);
	settle();
	identified();
	assert_string_equal(own.sent, "[open][open-again][ab:S0]");
	/* and it may ask again: a refusal that nobody waits for is not passed on */
	cw_conn_refused(own.conn, cw_bytes_text("zz"), CW_REFUSED_LATER);
	(void)feed("\2Sq", 3);
	settle();
	assert_string_equal(own.sent, "[open][open-again][ab:S0]q");
}

static void a_connection_may_end_in_every_state(void **state)
{
	struct cw_host_info h;

	/* worked through first */
	(void)feed("\2Sa\2Sb", 6);
	assert_int_equal(cw_conn_end(own.conn), CW_EBUSY);
	while (own.closed == 0)
		uv_run(cw_worker_loop(worker), UV_RUN_ONCE);
	assert_string_equal(own.sent, "[open]ab");
	/* while it dies */
	own.conn = open_conn();
	settle();
	(void)feed("\1X", 2);
	assert_int_equal(cw_conn_end(own.conn), CW_EBUSY);
	while (own.closed == 1)
		uv_run(cw_worker_loop(worker), UV_RUN_ONCE);
	/* while no host is there */
	own.conn = open_conn();
	assert_non_null(own.conn);
	settle();
	(void)cw_runner_host_info(runner, &h);
	(void)kill((pid_t)h.pid, SIGKILL);
	wait_deaths(2);
	assert_int_equal(feed("\2Sa", 3), 0);
	assert_int_equal(cw_conn_end(own.conn), 0);
	own.conn = NULL;
}

static void dying_again_and_again_takes_it_out_of_service(void **state)
{
	struct cw_host_info h;

	(void)feed("\1X", 2);
	wait_deaths(1);
	cw_conn_close(own.conn);
	own.conn = open_conn();
	settle();
	(void)feed("\1X", 2);
	wait_deaths(2);
	(void)cw_runner_host_info(runner, &h);
	assert_int_equal(h.state, CW_HOST_OUT);
	cw_conn_close(own.conn);
	own.conn = NULL;
	assert_null(open_conn());
	cw_runner_revive(runner);
	settle();
	own.conn = open_conn();
	assert_non_null(own.conn);
}

/* ---- a peer that does not read, a host that does not ------------------------------------------- */

static void reading_stops_while_a_host_has_too_much_in_hand(void **state)
{
	struct cw_host_info h;
	char frame[201] = { (char)200, 'N', 99 };
	int n = 0;

	(void)cw_runner_host_info(runner, &h);
	(void)kill((pid_t)h.pid, SIGSTOP);
	while (feed(frame, sizeof(frame)) == 0)
		n++;
	assert_in_range(n, 300, 400); /* 64 KiB and a frame */
	assert_in_range(cw_conn_buffered(own.conn), 65536, 67000);
	assert_int_equal(own.room, 0);
	(void)kill((pid_t)h.pid, SIGCONT);
	settle();
	assert_int_equal(own.room, 1);
	assert_int_equal(cw_conn_buffered(own.conn), 0);
	assert_int_equal(deaths(), 0);
}

/* ---- a host that was taken over ----------------------------------------------------------------- */

static void forged(int what, int ends)
{
	char bytes[3] = { 2, 'F', (char)what };
	struct cw_host_info h;
	uint64_t before = deaths();

	(void)feed(bytes, 3);
	if (ends) {
		wait_deaths(before + 1);
	} else {
		(void)cw_runner_host_info(runner, &h);
		wait_deaths(before + 1); /* it hangs afterwards, as forge() does */
		assert_int_equal(cw_stat_read(CW_STAT_plugin_host_hangs) > 0, 1);
	}
	assert_true(own.closes > 0);
}

static void what_cannot_be_ends_the_host(void **state)
{
	uint64_t hangs = (uint64_t)cw_stat_read(CW_STAT_plugin_host_hangs);
	int what;

	for (what = 0; what <= 15; what++) {
		cw_conn_close(own.conn);
		cw_runner_free(runner);
		uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
		cw_worker_free(worker);
		assert_int_equal(setup(NULL), 0);
		identify();
		own.closes = 0;
		forged(what, 1);
		assert_int_equal((uint64_t)cw_stat_read(CW_STAT_plugin_host_hangs), hangs); /* not by waiting for it */
		assert_int_equal(own.emitted, 0);
	}
	assert_int_equal(cw_stat_read(CW_STAT_net_accepted), 0);
}

static void what_is_about_nothing_is_dropped(void **state)
{
	static const int harmless[] = { 40, 41, 42, 43 };
	uint64_t hangs = (uint64_t)cw_stat_read(CW_STAT_plugin_host_hangs);
	size_t i;

	for (i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		cw_conn_close(own.conn);
		cw_runner_free(runner);
		cw_worker_free(worker);
		assert_int_equal(setup(NULL), 0);
		forged(harmless[i], 0);
		assert_int_equal((uint64_t)cw_stat_read(CW_STAT_plugin_host_hangs), ++hangs);
		assert_int_equal(own.done + own.closed, 0);
		assert_string_equal(own.sent, "[open]");
	}
}

static void indices_that_cannot_be_end_the_host(void **state)
{
	char bytes[3] = { 2, 'R', 0 };
	int what;

	for (what = 0; what < 3; what++) {
		bytes[2] = (char)what;
		(void)feed(bytes, 3);
		wait_deaths((uint64_t)what + 1);
		cw_conn_close(own.conn);
		own.conn = open_conn();
		settle();
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_crash_closes_the_connection_it_came_from),
		T(somebody_elses_kill_is_forgiven_once_and_nothing_is_lost),
		T(a_hang_is_ended),
		T(the_next_host_is_told_all_there_is),
		T(commands_that_ran_are_refused_and_unknown_ones_too),
		T(an_answer_to_a_question_of_the_dead_reaches_the_next),
		T(a_connection_may_end_in_every_state),
		cmocka_unit_test_setup_teardown(dying_again_and_again_takes_it_out_of_service, setup_strict, teardown),
		T(reading_stops_while_a_host_has_too_much_in_hand),
		T(what_cannot_be_ends_the_host),
		T(what_is_about_nothing_is_dropped),
		T(indices_that_cannot_be_end_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
