/* toy.c - see suite.h. The owner of a connection as the gateway is one, but it writes everything down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "conform/suite.h"

#define START_MONO 1000000u
#define START_WALL 1763700000000
/* Beyond what a plugin host has once the plugin is made, bytes. */
#define HOST_MOST (512u << 20)

/* ---- the owner --------------------------------------------------------------------------------- */

static const char *name_of(const struct cw_rdevice *dev)
{
	return dev == NULL ? NULL : cw_rdevice_identity(dev);
}

static int on_send(void *owner, struct cw_bytes out)
{
	struct toy *t = owner;

	if (t->flags & CW_EVF_KEPT)
		return 0; /* goes nowhere */
	t->sends++;
	toy_note_of(t, 'S', 0, NULL, out);
	return 0;
}

static int on_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record,
		   const struct cw_record *rec)
{
	struct toy *t = owner;
	size_t i;

	(void)rec;
	t->records++;
	toy_note_of(t, 'E', ticket, name_of(dev), record);
	if (ticket == 0)
		return 0;
	for (i = 0; i < t->ticket_count; i++)
		if (t->tickets[i] == ticket)
			return 0;
	if (t->ticket_count < TICKETS_MOST)
		t->tickets[t->ticket_count++] = ticket;
	return 0;
}

static int on_identify(void *owner, const struct cw_identify *who)
{
	struct toy *t = owner;

	cw_asked_add(&t->asked, who);
	t->asks++;
	if (who->facts.len > 0 && !cw_flat_valid(who->facts))
		fault_of("records", "identify() with facts that are no item of record.h");
	toy_note_of(t, 'I', who->flags, NULL, who->identity);
	return 0;
}

static int on_detach(void *owner, struct cw_rdevice *dev)
{
	toy_note_of(owner, 'D', 0, name_of(dev), cw_bytes_of(NULL, 0));
	return 0;
}

static int on_command_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct toy *t = owner;
	size_t i;

	for (i = 0; i < COMMANDS_MOST; i++) {
		if (t->commands[i] == id && id != 0) {
			toy_note(t, 'C', id << 32 | (uint32_t)code, reply.ptr, reply.len);
			if (t->by_hand)
				toy_tell(t, 'C', (uint32_t)code, id, NULL, reply);
			t->commands[i] = 0;
			t->commands_done++;
			return 0;
		}
	}
	if (t->isolated && id != 0 && id <= t->last_command)
		return 0; /* its end and its cancellation have crossed between the processes */
	fault_of("status", "it ended command %llu, which was not open", (unsigned long long)id);
	return CW_EINVAL;
}

static int on_command_extend(void *owner, uint64_t id, uint64_t delay_ms)
{
	toy_note(owner, 'X', delay_ms, &id, sizeof(id));
	return 0;
}

static int on_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	struct toy *t = owner;

	memcpy(t->saved, state.ptr, state.len);
	t->saved_len = state.len;
	toy_note(t, 'V', 0, state.ptr, state.len);
	return 0;
}

static int on_want_block(void *owner, uint64_t id, uint64_t offset, size_t length)
{
	struct toy *t = owner;

	toy_note(t, 'W', offset, &length, sizeof(length));
	if (t->by_hand)
		toy_tell(t, 'W', length, offset, NULL, cw_bytes_of(&id, sizeof(id)));
	return 0;
}

static int on_attach_open(void *owner, struct cw_rdevice *dev, uint64_t attachment, const char *name)
{
	struct toy *t = owner;
	const char *suffix = strrchr(name, '.'); /* the rest of the name is the runner's */

	t->attachments++;
	toy_note(t, 'A', 0, suffix, strlen(suffix));
	return 0;
}

static int on_attach_write(void *owner, uint64_t attachment, struct cw_bytes data)
{
	toy_note(owner, 'a', 0, data.ptr, data.len);
	return 0;
}

static int on_attach_close(void *owner, uint64_t attachment, int keep, char name[64])
{
	struct toy *t = owner;

	t->attachments--;
	(void)name; /* the runner's is the same each time, for the clock stands still */
	toy_note(t, 'Z', (uint64_t)keep, NULL, 0);
	return 0;
}

static void on_field(void *owner, int group, const char *name, struct cw_bytes value, size_t offset, size_t length)
{
	struct toy *t = owner;

	t->fields++;
	toy_note(t, 'F', (uint64_t)group, name, strlen(name));
	toy_note(t, 'f', offset << 32 | length, value.ptr, value.len);
}

static void on_line(void *owner, int level, const char *text)
{
	struct toy *t = owner;

	(void)level;
	(void)snprintf(t->line, sizeof(t->line), "%s", text);
}

static void on_foreign(void *owner, struct cw_bytes identity)
{
	toy_note(owner, 'O', 0, identity.ptr, identity.len);
}

static void on_frame(void *owner, struct cw_bytes frame, int rc)
{
	struct toy *t = owner;

	*(rc == 0 ? &t->frames_ok : &t->frames_bad) += 1;
	toy_note_of(t, 'R', (uint64_t)(int64_t)rc, NULL, frame);
}

/* Noise is counted, not traced: how it is cut depends on how it came. */
static void on_noise(void *owner, struct cw_bytes dropped)
{
	struct toy *t = owner;

	t->noise += dropped.len;
	if (t->by_hand)
		toy_tell(t, 'N', dropped.len, 0, NULL, dropped);
}

static void on_close(void *owner, uint64_t delay_ms, const char *reason)
{
	struct toy *t = owner;

	toy_note(t, 'K', delay_ms, NULL, 0);
	if (t->by_hand)
		toy_tell(t, 'K', delay_ms, 0, NULL, cw_bytes_text(reason));
	if (strstr(reason, "again and again") != NULL)
		fault_of("again", "%s", reason);
	if (delay_ms == 0)
		t->closing = 1;
}

static void members(struct toy *t, const char *prefix)
{
	struct cw_rdevice *dev;
	char who[CW_IDENTITY_MAX + 1];
	unsigned i;

	for (i = 0; i < t->members; i++) {
		(void)snprintf(who, sizeof(who), "%.*s%u", CW_IDENTITY_MAX - 10, prefix, i + 1);
		if (cw_conn_identified(t->conn, cw_bytes_text(who), "a1Conform00", "device", cw_bytes_of(NULL, 0),
				       CW_CONN_ATTACHED | CW_CONN_UNASKED, NULL, NULL, &dev) == 0)
			cw_conn_state(t->conn, dev, 1, 0);
	}
	cw_conn_members(t->conn, cw_bytes_text(prefix), (int)i);
}

static void answer_identify(struct toy *t)
{
	char identity[CW_IDENTITY_MAX + 1];
	int64_t flags = cw_asked_take(&t->asked, identity);
	struct cw_rdevice *dev = NULL;
	int refuse;

	t->answered = 1;
	refuse = t->refuse >= 0 ? t->refuse : (int)(t->turn++ % 3 == 0 ? 0 : t->turn % CW_REFUSED_PLATFORM + 1);

	if ((flags & CW_IDENTIFY_MEMBERS) != 0) {
		members(t, identity);
		return;
	}
	if (refuse != 0) {
		cw_conn_refused(t->conn, cw_bytes_text(identity), refuse);
		return;
	}
	(void)snprintf(t->identity, sizeof(t->identity), "%s", identity);
	(void)cw_conn_identified(t->conn, cw_bytes_text(identity), "a1Conform00", "device",
				 cw_bytes_of(t->saved, t->saved_len),
				 (flags & CW_IDENTIFY_LOOKUP) != 0 ? 0 : CW_CONN_ATTACHED, NULL, NULL, &dev);
	if ((flags & CW_IDENTIFY_LOOKUP) == 0 && dev != NULL)
		cw_conn_state(t->conn, dev, 1, 0);
}

void toy_answer(struct toy *t)
{
	size_t before = t->frames_ok + t->frames_bad;

	watch_toy(t);
	while (t->asked.count > 0 && t->conn != NULL)
		answer_identify(t);
	if (t->conn != NULL && !t->closing)
		(void)cw_conn_resume(t->conn);
	toy_pump(t);
	if (t->frames_ok + t->frames_bad > before + 1)
		t->many = 1;
}

static void on_called(void *owner)
{
	struct toy *t = owner;

	if (t->conn == NULL || t->by_hand)
		return;
	while (t->ticket_count > 0 && !t->hold_tickets) {
		uint64_t ticket = t->tickets[0];

		memmove(t->tickets, t->tickets + 1, --t->ticket_count * sizeof(t->tickets[0]));
		t->settled++;
		cw_conn_settled(t->conn, ticket, t->settle_with >= 0 ? t->settle_with : (int)(t->settled % 4));
	}
	while (t->asked.count > 0 && !t->late)
		answer_identify(t);
}

static void on_command_refused(void *owner, uint64_t id, int rc)
{
	struct toy *t = owner;

	(void)id;
	t->refused = rc;
}

static void on_lost(void *owner)
{
	(void)owner; /* toy_pump() says so */
}

static void on_room(void *owner)
{
	(void)owner; /* it gives more than the gateway would */
}

static void on_ended(void *owner)
{
	struct toy *t = owner;

	t->ended = 1;
}

static const struct cw_conn_ops toy_ops = {
	.send = on_send,
	.emit = on_emit,
	.identify = on_identify,
	.detach = on_detach,
	.command_done = on_command_done,
	.command_extend = on_command_extend,
	.save = on_save,
	.want_block = on_want_block,
	.attach_open = on_attach_open,
	.attach_write = on_attach_write,
	.attach_close = on_attach_close,
	.field = on_field,
	.line = on_line,
	.foreign = on_foreign,
	.frame = on_frame,
	.noise = on_noise,
	.close = on_close,
	.called = on_called,
	.room = on_room,
	.command_refused = on_command_refused,
	.lost = on_lost,
	.closed = on_ended,
};

/* ---- time and odd events: of a connection of this process ---------------------------------------- */

/* The timer that is due first, of the decoder's and the runner's own; NULL: none is armed. */
static struct cw_timer *first_timer(struct cw_conn *conn)
{
	struct conn_timer *c = conn->timers, *first = conn->waiter;

	for (; c != NULL; c = c->next)
		if (first == NULL || c->timer.due_ms <= first->timer.due_ms)
			first = c;
	return first == NULL ? NULL : &first->timer;
}

/* Nothing runs on the loop, so its time stands still; the wheel is pulled towards it. */
static void pass(struct cw_worker *w, uint64_t ms, uint64_t *now_ms)
{
	*now_ms += ms;
	cw_clock_fake(START_MONO + *now_ms, START_WALL + (int64_t)*now_ms);
	cw_timers_skip(cw_worker_timers(w), ms);
}

/* `now`: what the wheel takes for now. */
static void conn_wait(struct cw_conn *c, uint64_t ms, uint64_t now, uint64_t *now_ms)
{
	struct cw_worker *w = c->runner->worker;
	unsigned i;

	for (i = 0; i < 10000 && !c->closing; i++) {
		struct cw_timer *timer = first_timer(c);
		uint64_t left = timer == NULL ? UINT64_MAX : timer->due_ms > now ? timer->due_ms - now : 0;

		if (left > ms)
			break;
		pass(w, left, now_ms);
		ms -= left;
		timer->fire(timer);
	}
	if (i == 10000)
		fault_of("budget",
			 "its timers ran out 10000 times within one wait; a timer that is set to 0 again and again?");
	pass(w, ms, now_ms);
}

static void conn_fire_timers(struct cw_conn *c)
{
	unsigned i;

	for (i = 0; i < 40 && !c->closing && c->timers != NULL; i++)
		c->timers->timer.fire(&c->timers->timer);
}

static int conn_event(struct cw_conn *c, uint32_t kind, uint64_t number, struct cw_bytes data)
{
	struct cw_rdevice *dev = cw_conn_next_device(c, NULL);
	struct cw_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.size = sizeof(ev);
	ev.kind = kind;
	ev.flags = c->flags;
	ev.conn = c->handle;
	ev.now_ms = cw_clock_wall_ms();
	ev.mono_ms = cw_clock_ms();
	ev.conn_ctx = &c->ctx;
	ev.conf = c->conf;
	ev.peer = cw_bytes_text("192.0.2.7:4711");
	ev.listener = cw_bytes_text("conform");
	if (dev != NULL) {
		ev.device = dev->handle;
		ev.device_ctx = &dev->ctx;
		ev.identity = cw_bytes_text(cw_rdevice_identity(dev));
	}
	ev.timer = ev.ticket = ev.id = ev.offset = number;
	ev.code = (int32_t)(number % 7);
	ev.data = data;
	return c->runner->desc->decoder->event(c->runner->decoder, &ev);
}

/* ---- in a plugin host ------------------------------------------------------------------------------- */

/* The host is a copy of this process: it has the fake clock, the allocator's hook and the watched entries, too. */
enum { TELL_WAIT, TELL_FIRE, TELL_EVENT };

static uint64_t host_start_ms, host_now_ms;

static void host_begun(struct cw_worker *w)
{
	random_again();
	host_start_ms = uv_now(cw_worker_loop(w));
	cw_timers_manual(cw_worker_timers(w), host_start_ms);
}

static void host_told(struct cw_conn *c, uint64_t what, uint64_t number, struct cw_bytes data)
{
	switch (what) {
	case TELL_WAIT: conn_wait(c, number, host_start_ms, &host_now_ms); break;
	case TELL_FIRE: conn_fire_timers(c); break;
	default:
		if (conn_event(c, (uint32_t)(what - TELL_EVENT), number, data) == CW_ECLOSED && !c->closing) {
			c->closing = 1;
			c->ops->close(c->owner, 0, "the decoder wants it");
		}
		c->ops->called(c->owner);
		break;
	}
}

static const struct cw_rehearsal rehearsal = { .begun = host_begun, .made = watch_runner, .told = host_told };

void toy_pump(struct toy *t)
{
	struct cw_host_info info;

	if (!t->isolated)
		return;
	do {
		(void)uv_run(cw_worker_loop(t->suite->worker), UV_RUN_NOWAIT);
		(void)cw_runner_host_info(t->runner, &info);
		if (info.deaths > 0) {
			speak_of_host();
			fault("the plugin host has died%s%s", entry_at_hand()[0] == '\0' ? "" : " in ", entry_at_hand());
			give_up("it has no plugin host any more");
		}
		if (cw_runner_quiet(t->runner)) {
			if (!t->answered || t->conn == NULL || t->closing)
				break;
			t->answered = 0;
			(void)cw_conn_resume(t->conn); /* as the gateway does after an outcome */
			continue;
		}
		(void)nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL); /* that a host has read all rings no bell */
	} while (1);
	speak_of_host();
}

/* ---- life ---------------------------------------------------------------------------------------- */

/* An instance and its settings. */
static int make_runner(struct toy *t)
{
	struct cw_msg msg = { { 0 } };
	int rc;

	watch_toy(t);
	random_again();
	t->now_ms = 0;
	cw_clock_fake(START_MONO, START_WALL);
	if (t->isolated) {
		const struct cw_isolation how = { .memory = HOST_MOST, .crashes = 1, .window_ms = 60000, .retry_ms = 3600000,
			.fork_only = 1 };

		cw_rehearsal = &rehearsal;
		rc = cw_runner_new_isolated(t->suite->desc, t->suite->worker, &how, &t->runner, &msg);
	} else {
		rc = cw_runner_new(t->suite->desc, t->suite->worker, &t->runner, &msg);
	}
	if (rc < 0) {
		if (!heap_failed())
			fault("it does not start: %s", msg.text);
		return rc;
	}
	if (!t->isolated)
		watch_runner(t->runner);
	toy_pump(t);
	if (t->session->settings == NULL)
		return 0;
	rc = cw_runner_settings(t->runner, cw_bytes_of(t->session->settings, t->session->settings_len), &t->conf, &msg);
	if (rc == 0)
		return 0;
	if (!heap_failed())
		fault("it refused its settings: %s", msg.text);
	cw_runner_free(t->runner);
	return rc;
}

int toy_start(struct toy *t, const struct suite *s, const struct session *of, uint32_t flags, int isolated)
{
	memset(t, 0, sizeof(*t));
	t->cap = 64u << 20;
	t->suite = s;
	t->session = of;
	t->flags = flags;
	t->isolated = isolated;
	return make_runner(t);
}

static void drop_runner(struct toy *t)
{
	watch_toy(t);
	cw_runner_settings_free(t->runner, t->conf);
	cw_runner_free(t->runner);
	t->conf = NULL;
}

void toy_renew(struct toy *t, const struct session *of, int keep_saved)
{
	drop_runner(t);
	if (!keep_saved)
		t->saved_len = 0;
	t->last_command = 0;
	t->turn = 0;
	t->waited = 0;
	t->session = of;
	t->line[0] = '\0';
	toy_forget(t);
	if (make_runner(t) < 0)
		_Exit(1); /* said why */
}

void toy_stop(struct toy *t)
{
	drop_runner(t);
	toy_forget(t);
	free(t->said);
	free(t->trace);
}

int toy_open(struct toy *t)
{
	int rc;
	const struct cw_wire_script *script = t->session->script;
	struct cw_conn_open how = { .listener = "conform", .conf = t->conf, .peer = cw_bytes_text("192.0.2.7:4711"),
		                    .flags = t->flags | t->session->flags, .max_noise = SIZE_MAX, .cap = t->cap, .attach_most = UINT64_MAX };

	if (script != NULL && script->bound != NULL)
		how.identity = cw_bytes_text(script->bound);
	else if (t->flags & CW_EVF_KEPT)
		how.identity = cw_bytes_text(t->identity);
	watch_toy(t);
	t->closing = t->attachments = 0;
	t->asked.count = 0;
	t->ticket_count = 0;
	t->charged = 0;
	t->base_bytes = heap_bytes();
	memset(t->commands, 0, sizeof(t->commands));
	rc = cw_conn_open(t->runner, &toy_ops, t, &how, &t->conn);
	if (rc == 0)
		on_called(t); /* what OPEN itself asked for */
	toy_pump(t);
	return rc;
}

void toy_close(struct toy *t, int clean)
{
	struct cw_conn *c = t->conn;

	watch_toy(t);
	if (c == NULL)
		return;
	if (t->isolated) {
		t->ended = cw_conn_end(c) == 0;
		while (!t->ended)
			toy_pump(t);
	} else {
		cw_conn_close(c);
	}
	t->conn = NULL;
	if (t->charged != 0)
		fault_of("cap", "%lld bytes are still charged after CLOSED", (long long)t->charged);
	if (clean && t->attachments != 0)
		fault_of("leak", "%d attachments are still open after CLOSED", t->attachments);
}

/* ---- driving ------------------------------------------------------------------------------------ */

void toy_feed(struct toy *t, const uint8_t *ptr, size_t len)
{
	size_t before = t->frames_ok + t->frames_bad;
	uint8_t *copy;

	watch_toy(t);
	if (t->closing || len == 0 || t->conn == NULL)
		return;
	copy = malloc(len);
	if (copy == NULL)
		abort();
	memcpy(copy, ptr, len);
	if (cw_conn_feed(t->conn, cw_bytes_of(copy, len)) == CW_EBUSY && !t->by_hand && !t->late)
		(void)cw_conn_resume(t->conn);
	free(copy);
	toy_pump(t);
	if (t->frames_ok + t->frames_bad > before + 1)
		t->many = 1;
}

struct cw_rdevice *toy_device(struct toy *t, const char *who)
{
	struct cw_rdevice *d = cw_conn_next_device(t->conn, NULL);

	while (who != NULL && d != NULL && strcmp(cw_rdevice_identity(d), who) != 0)
		d = cw_conn_next_device(t->conn, d);
	return d;
}

int toy_command(struct toy *t, struct cw_rdevice *dev, struct cw_bytes command)
{
	size_t i, free_slot = COMMANDS_MOST, open = 0;
	unsigned most = t->runner->desc->max_outstanding == 0 ? 1 : t->runner->desc->max_outstanding;
	uint8_t *copy;
	uint64_t id = ++t->last_command;
	int rc;

	watch_toy(t);
	if (t->isolated && dev == NULL)
		return CW_EOFFLINE; /* names no device to the host; causewayd has no command for nobody */
	for (i = 0; i < COMMANDS_MOST; i++) {
		if (t->commands[i] == 0)
			free_slot = i;
		else if (++open >= most &&
			 !t->by_hand) { /* no more than it declares: the host would have let this one run out */
			uint64_t gone = t->commands[i];

			t->commands[i] = 0;
			free_slot = i;
			cw_conn_command_cancelled(t->conn, dev, gone);
		}
	}
	if (t->closing || free_slot == COMMANDS_MOST || (t->runner->desc->caps & CW_CAP_DOWNLINK) == 0)
		return CW_EUNSUPPORTED;
	copy = malloc(command.len + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, command.ptr, command.len);
	t->commands[free_slot] = id;
	t->refused = 0;
	rc = cw_conn_command(t->conn, dev, id, cw_bytes_of(copy, command.len), 30000);
	toy_pump(t);
	if (rc == 0)
		rc = t->refused;
	if (rc != 0)
		t->commands[free_slot] = 0;
	toy_note(t, 'Q', (uint64_t)(int64_t)rc, NULL, 0);
	free(copy);
	return rc;
}

size_t step_command(const struct cw_wire_step *step, uint8_t *out, size_t size)
{
	struct cw_writer w = cw_writer_of(out, size);

	cw_record_begin(&w, step->number);
	if (step->name != NULL)
		cw_record_name(&w, step->name);
	if (step->number == CW_KIND_RAW_DOWN || step->number == CW_KIND_RRPC || step->number == CW_KIND_BROADCAST) {
		cw_record_body_bytes(&w, cw_bytes_of(step->ptr, step->len));
	} else {
		cw_put_uint(&w, 7);
		if (step->body == NULL) {
			cw_put_map(&w);
			cw_put_end(&w);
		} else {
			cw_write_raw(&w, step->body, step->body_len);
		}
	}
	cw_record_end(&w);
	return w.overflow ? 0 : w.len;
}

void toy_wait(struct toy *t, uint64_t ms)
{
	watch_toy(t);
	if (t->isolated && t->conn != NULL && !t->closing) {
		cw_conn_rehearse(t->conn, TELL_WAIT, ms, cw_bytes_of(NULL, 0));
		toy_pump(t);
		pass(t->suite->worker, ms, &t->now_ms);
	} else if (t->conn == NULL || t->closing) {
		pass(t->suite->worker, ms, &t->now_ms);
	} else {
		conn_wait(t->conn, ms, uv_now(cw_worker_loop(t->suite->worker)), &t->now_ms);
	}
}

void toy_fire_timers(struct toy *t)
{
	watch_toy(t);
	if (t->conn == NULL || t->closing)
		return;
	if (!t->isolated) {
		conn_fire_timers(t->conn);
		return;
	}
	cw_conn_rehearse(t->conn, TELL_FIRE, 0, cw_bytes_of(NULL, 0));
	toy_pump(t);
}

void toy_event(struct toy *t, uint32_t kind, uint64_t number, struct cw_bytes data)
{
	watch_toy(t);
	if (t->isolated) {
		cw_conn_rehearse(t->conn, TELL_EVENT + kind, number, data);
		toy_pump(t);
		return;
	}
	if (conn_event(t->conn, kind, number, data) == CW_ECLOSED)
		t->closing = 1;
	on_called(t);
}

/* ---- sessions -------------------------------------------------------------------------------------- */

static void step_of_command(struct toy *t, const struct cw_wire_step *step)
{
	size_t size = step->len + step->body_len + 400;
	uint8_t *out = malloc(size);
	size_t n;

	if (out == NULL)
		abort();
	n = step_command(step, out, size);
	(void)toy_command(t, toy_device(t, step->who), cw_bytes_of(out, n));
	free(out);
}

static void step_of_device(struct toy *t, const struct cw_wire_step *step)
{
	struct cw_rdevice *dev = toy_device(t, step->who);

	if (dev == NULL)
		return;
	if (step->kind == CW_WIRE_DETACH) {
		cw_conn_detached(t->conn, dev);
		memset(t->commands, 0, sizeof(t->commands)); /* what it has not ended now, the host has */
	} else {
		cw_conn_state(t->conn, dev, step->kind == CW_WIRE_ONLINE, 0);
	}
}

static void step_cancel(struct toy *t)
{
	size_t i;

	for (i = 0; i < COMMANDS_MOST; i++) {
		uint64_t id = t->commands[i];

		if (id == 0)
			continue;
		t->commands[i] = 0;
		cw_conn_command_cancelled(t->conn, cw_conn_next_device(t->conn, NULL), id);
		return;
	}
}

void toy_step(struct toy *t, const struct cw_wire_step *step)
{
	watch_toy(t);
	if ((t->closing || t->conn == NULL) && step->kind < CW_WIRE_SENT) { /* the device would dial again */
		toy_close(t, 1);
		(void)toy_open(t);
		if (step->kind == CW_WIRE_OPEN || t->conn == NULL)
			return;
	}
	switch (step->kind) {
	case CW_WIRE_DATA: toy_feed(t, step->ptr, step->len); break;
	case CW_WIRE_COMMAND: step_of_command(t, step); break;
	case CW_WIRE_CANCEL: step_cancel(t); break;
	case CW_WIRE_WAIT: toy_wait(t, step->ms); break;
	case CW_WIRE_CLOSE: toy_close(t, 1); break;
	case CW_WIRE_ONLINE:
	case CW_WIRE_OFFLINE:
	case CW_WIRE_DETACH: step_of_device(t, step); break;
	default: break;
	}
	toy_pump(t);
}

void toy_session(struct toy *t, int timers)
{
	size_t i;

	for (i = 0; i < t->session->n; i++) {
		toy_step(t, t->session->v[i]);
		if (timers && !t->closing)
			toy_fire_timers(t);
	}
}
