/*
 * The runner, driven by a toy decoder: frames are one length byte and that many
 * bytes; 0xff is noise. The first byte of a frame says what the decoder does. Built twice: with
 * ISOLATED the decoder runs in a plugin host, and the same is true of it once that is quiet again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/mem.h"
#include "plugin/isolate.h"
#include "plugin/runner.h"

#ifdef ISOLATED
#define REMOTE 1
#else
#define REMOTE 0
#endif

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
	int frames, closed, opened, timers, settled[8], settled_count, online, detached, refused;
	uint64_t device;
	char last[64];
};

static struct cw_decoder *shared_toy; /* in memory that a plugin host shares */
#define toy (*shared_toy)

static int toy_create(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder)
{
	memset(&toy, 0, sizeof(toy));
	toy.host = host;
	toy.hx = hx;
	*ret_decoder = &toy;
	return 0;
}

static void toy_destroy(struct cw_decoder *d)
{
	d->host = NULL;
}

static int toy_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *cut)
{
	while (cut->skip < in.len && in.ptr[cut->skip] == 0xff)
		cut->skip++;
	if (cut->skip < in.len && in.len - cut->skip > in.ptr[cut->skip])
		cut->length = 1u + in.ptr[cut->skip];
	return 0;
}

static int emit_one(struct cw_decoder *d, const struct cw_event *ev, uint64_t ticket)
{
	uint8_t b[64];
	struct cw_writer w = cw_writer_of(b, sizeof(b));

	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_body(&w);
	cw_field_int(&w, "N", d->frames);
	cw_put_end(&w);
	cw_record_end(&w);
	return d->host->emit(d->hx, ev->conn, 0, ticket, cw_written(&w));
}

static int toy_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes f)
{
	struct cw_identify who = { .size = sizeof(who), .identity = cw_bytes_of(f.ptr + 2, f.len < 2 ? 0 : f.len - 2) };

	d->frames++;
	if (f.len < 2)
		return CW_EPROTO;
	switch (f.ptr[1]) {
	case 'I': return d->host->identify(d->hx, ev->conn, &who) == 0 ? 0 : CW_EPROTO;
	case 'E': return emit_one(d, ev, 7) == 0 ? 0 : CW_EPROTO;
	case 'B': /* a record that is none, and handles that are none */
		assert_int_equal(d->host->emit(d->hx, ev->conn, 0, 1, f), CW_EINVAL);
		assert_int_equal(d->host->send(d->hx, ev->conn + 1, f), CW_EINVAL);
		assert_int_equal(d->host->send(d->hx, 0, f), CW_EINVAL);
		assert_int_equal(d->host->timer(d->hx, ~0ull, 1, 1), CW_EINVAL);
		assert_int_equal(d->host->device_save(d->hx, ev->conn, 12345, f), CW_EINVAL);
		assert_int_equal(d->host->command_done(d->hx, ev->conn, 1, 0, f), CW_EINVAL);
		return 0;
	case 'S': return d->host->send(d->hx, ev->conn, cw_bytes_of(f.ptr + 2, f.len - 2));
	case 'T': return d->host->timer(d->hx, ev->conn, f.ptr[2], 10);
	case 'C': return CW_ECLOSED;
	case 'M': return d->host->charge(d->hx, ev->conn, 600) == 0 ? 0 : CW_EPROTO;
	default: return CW_EPROTO;
	}
}

static int toy_event(struct cw_decoder *d, const struct cw_event *ev)
{
	switch (ev->kind) {
	case CW_EV_OPEN: d->opened++; break;
	case CW_EV_CLOSED: d->closed++; break;
	case CW_EV_TIMER: d->timers++; break;
	case CW_EV_IDENTIFIED:
		d->device = ev->device;
		(void)snprintf(d->last, sizeof(d->last), "%.*s=%.*s/%.*s", (int)ev->identity.len, (const char *)ev->identity.ptr,
		               (int)ev->product_key.len, (const char *)ev->product_key.ptr, (int)ev->device_name.len,
		               (const char *)ev->device_name.ptr);
		break;
	case CW_EV_REFUSED: d->refused = ev->code; break;
	case CW_EV_SETTLED: d->settled[d->settled_count++ & 7] = ev->code; break;
	case CW_EV_ONLINE: d->online = 1; break;
	case CW_EV_DETACHED: d->detached++; break;
	default: break;
	}
	return 0;
}

static int toy_command(struct cw_decoder *d, const struct cw_event *ev)
{
	return d->host->command_done(d->hx, ev->conn, ev->id, CW_CODE_OK, cw_bytes_of(NULL, 0));
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
	char sent[256];
	int emitted, frames_ok, frames_bad, noise, closed, called, done_code;
	char identity[64];
	char reason[100];
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
	(void)snprintf(own.identity, sizeof(own.identity), "%.*s", (int)who->identity.len, (const char *)who->identity.ptr);
	return 0;
}

static int own_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	own.done_code = code;
	return 0;
}

static void own_frame(void *owner, struct cw_bytes frame, int rc)
{
	*(rc == 0 ? &own.frames_ok : &own.frames_bad) += 1;
}

static void own_noise(void *owner, struct cw_bytes dropped)
{
	own.noise += (int)dropped.len;
}

static void own_close(void *owner, uint64_t delay_ms, const char *reason)
{
	own.closed++;
	(void)snprintf(own.reason, sizeof(own.reason), "%s", reason);
}

static void own_called(void *owner)
{
	own.called++;
}

static const struct cw_conn_ops own_ops = {
	.send = own_send, .emit = own_emit, .identify = own_identify, .command_done = own_done, .frame = own_frame,
	.noise = own_noise, .close = own_close, .called = own_called,
};

static struct cw_worker *worker;
static struct cw_runner *runner;
static long live_before;

/* Until the plugin host has done all there is to do; here, in this process, that is so already. */
static void settle(void)
{
	while (REMOTE && !cw_runner_quiet(runner))
		uv_run(cw_worker_loop(worker), UV_RUN_ONCE);
}

static int setup(void **state)
{
	struct cw_conn_open how = { .listener = "test", .peer = cw_bytes_text("10.0.0.9:5"), .max_noise = 16, .cap = 1000 };
	struct cw_isolation isolation = { .crashes = 1, .window_ms = 1000, .retry_ms = 1000, .sandbox = CW_SANDBOX_OFF, .fork_only = 1 };
	struct cw_msg msg;
	int rc;

	if (shared_toy == NULL)
		shared_toy = mmap(NULL, sizeof(*shared_toy), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	live_before = cw_mem_live();
	memset(&own, 0, sizeof(own));
	if (cw_worker_new("test", 0, &worker) < 0)
		return -1;
	rc = REMOTE ? cw_runner_new_isolated(&toy_desc, worker, &isolation, &runner, &msg) : cw_runner_new(&toy_desc, worker, &runner, &msg);
	if (rc < 0)
		return rc;
	rc = cw_conn_open(runner, &own_ops, &own, &how, &own.conn);
	settle();
	return rc;
}

static int teardown(void **state)
{
	cw_conn_close(own.conn);
	settle();
	if (toy.opened != 1 || toy.closed != 1)
		return -1;
	cw_runner_free(runner);
	cw_worker_free(worker);
	return cw_mem_live() == live_before ? 0 : -1;
}

static int feed(const char *bytes, size_t len)
{
	return cw_conn_feed(own.conn, cw_bytes_of(bytes, len));
}

/* What feed() returns about a decoder elsewhere is true of earlier bytes. */
static void fed(const char *bytes, size_t len, int expected)
{
	int rc = feed(bytes, len);

	if (!REMOTE)
		assert_int_equal(rc, expected);
	settle();
}

static void resume(void)
{
	assert_int_equal(cw_conn_resume(own.conn), 0);
	settle();
}

static void identify(void)
{
	struct cw_rdevice *dev;

	fed("\3Iab", 4, 0); /* nothing is kept: no need to stop reading */
	assert_string_equal(own.identity, "ab");
	assert_int_equal(cw_conn_identified(own.conn, cw_bytes_text("ab"), "pk", "dn", cw_bytes_of(NULL, 0), 1, NULL, NULL, &dev), 0);
	resume();
}

/* ---- tests ------------------------------------------------------------------------- */

static void frames_split_at_every_byte_are_put_together(void **state)
{
	static const char stream[] = "\3Sab\xff\2Sc\4Sdef";
	size_t i;

	for (i = 0; i + 1 < sizeof(stream); i++)
		fed(stream + i, 1, 0);
	assert_string_equal(own.sent, "abcdef");
	assert_int_equal(own.frames_ok, 3);
	assert_int_equal(own.noise, 1);
	assert_int_equal(cw_conn_buffered(own.conn), 0);
}

static void glued_frames_are_taken_apart(void **state)
{
	fed("\3Sab\3Scd\3Se", 11, 0);
	assert_string_equal(own.sent, "abcd");
	assert_int_equal(cw_conn_buffered(own.conn), 3);
	fed("f", 1, 0);
	assert_string_equal(own.sent, "abcdef");
}

static void a_refused_frame_is_counted_and_the_next_one_works(void **state)
{
	fed("\2Zz\2Sk", 6, 0);
	assert_int_equal(own.frames_bad, 1);
	assert_string_equal(own.sent, "k");
	assert_int_equal(own.closed, 0);
}

static void noise_above_the_limit_closes(void **state)
{
	char noise[17];

	memset(noise, 0xff, sizeof(noise));
	fed(noise, 16, 0);
	assert_int_equal(own.closed, 0);
	fed("\2Sk", 3, 0); /* a good frame starts the count anew */
	fed(noise, 16, 0);
	fed(noise, 1, CW_ECLOSED);
	assert_int_equal(own.closed, 1);
	fed("\2Sk", 3, CW_ECLOSED);
}

static void no_frame_is_decoded_until_the_identity_is_known(void **state)
{
	struct cw_rdevice *dev;

	fed("\3Iab\3Sxy", 8, CW_EBUSY);
	assert_string_equal(own.sent, "");
	assert_int_equal(cw_conn_buffered(own.conn), 4);
	fed("\2Sz", 3, CW_EBUSY);
	assert_int_equal(cw_conn_identified(own.conn, cw_bytes_text("ab"), "pk", "dn", cw_bytes_of(NULL, 0), 1, NULL, NULL, &dev), 0);
	settle();
	assert_string_equal(toy.last, "ab=pk/dn");
	resume();
	assert_string_equal(own.sent, "xyz");
}

static void a_refused_identity_lets_frames_go_on(void **state)
{
	fed("\3Iab\2Sz", 7, CW_EBUSY);
	cw_conn_refused(own.conn, cw_bytes_text("ab"), CW_REFUSED_UNKNOWN);
	settle();
	assert_int_equal(toy.refused, CW_REFUSED_UNKNOWN);
	resume();
	assert_string_equal(own.sent, "z");
}

static void records_need_an_identity(void **state)
{
	fed("\1E", 2, 0);
	assert_int_equal(own.emitted, 0);
	assert_int_equal(own.frames_bad, 1);
	identify();
	fed("\1E", 2, 0);
	assert_int_equal(own.emitted, 1);
}

static void bad_records_and_handles_are_refused(void **state)
{
	identify();
	fed("\3Bxx", 4, 0);
	assert_int_equal(own.emitted, 0);
}

static void holding_keeps_frames_and_resuming_decodes_them(void **state)
{
	cw_conn_hold(own.conn);
	fed("\2Sa\2Sb", 6, CW_EBUSY);
	assert_string_equal(own.sent, "");
	resume();
	assert_string_equal(own.sent, "ab");
}

static void timers_fire_once_and_die_with_the_connection(void **state)
{
	fed("\2T\1\2T\2\2T\1", 9, 0);
	while (toy.timers < 2)
		uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
	assert_int_equal(toy.timers, 2);
	settle();
	fed("\2T\3", 3, 0); /* left armed: teardown closes the connection */
}

static void the_seventeenth_timer_is_refused(void **state)
{
	char frames[17][3];
	int i;

	for (i = 0; i < 17; i++) {
		frames[i][0] = 2;
		frames[i][1] = 'T';
		frames[i][2] = (char)i;
	}
	fed(frames[0], sizeof(frames), 0);
	assert_int_equal(own.frames_ok, 16);
	assert_int_equal(own.frames_bad, 1);
}

static void memory_of_a_connection_is_capped(void **state)
{
	fed("\1M\1M", 4, 0);
	assert_int_equal(own.frames_ok, 1);
	assert_int_equal(own.frames_bad, 1);
}

static void a_command_is_answered_through_the_owner(void **state)
{
	identify();
	assert_int_equal(cw_conn_command(own.conn, cw_conn_next_device(own.conn, NULL), 42, cw_bytes_text("x"), 1000), 0);
	settle();
	assert_int_equal(own.done_code, CW_CODE_OK);
}

static void a_decoder_may_close(void **state)
{
	fed("\1C\2Sa", 5, CW_ECLOSED);
	assert_string_equal(own.sent, "");
	assert_int_equal(own.closed, 1);
}

#ifndef ISOLATED
static void running_out_of_memory_anywhere_closes_or_refuses_and_leaks_nothing(void **state)
{
	int nth;

	for (nth = 0; nth < 50; nth++) {
		cw_mem_fail_at(nth);
		(void)feed("\3Sa", 3);
		(void)feed("b\2T\1", 4);
		(void)feed("\2", 1);
		cw_mem_fail_at(-1);
		if (own.closed > 0)
			break;
		(void)feed("Sx", 2);
	}
}

#endif

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(frames_split_at_every_byte_are_put_together),
		T(glued_frames_are_taken_apart),
		T(a_refused_frame_is_counted_and_the_next_one_works),
		T(noise_above_the_limit_closes),
		T(no_frame_is_decoded_until_the_identity_is_known),
		T(a_refused_identity_lets_frames_go_on),
		T(records_need_an_identity),
		T(bad_records_and_handles_are_refused),
		T(holding_keeps_frames_and_resuming_decodes_them),
		T(timers_fire_once_and_die_with_the_connection),
		T(the_seventeenth_timer_is_refused),
		T(memory_of_a_connection_is_capped),
		T(a_command_is_answered_through_the_owner),
		T(a_decoder_may_close),
#ifndef ISOLATED
		T(running_out_of_memory_anywhere_closes_or_refuses_and_leaks_nothing),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
