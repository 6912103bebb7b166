/* conform_host.c - see conform.h. The owner of a connection as the gateway is one, but it writes everything down. */
#include "conform.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fake_host.h"

static unsigned fault_count;
static char what[256];

void doing(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
}

void fault(const char *fmt, ...)
{
	static char last[sizeof(what)];
	va_list ap;

	/* One sentence for each thing that was being done; the rest is counted. */
	if (++fault_count > 1 && strcmp(last, what) == 0)
		return;
	memcpy(last, what, sizeof(last));
	va_start(ap, fmt);
	printf("FAULT (%s): ", what);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
}

unsigned faults(void)
{
	return fault_count;
}

/* ---- entries, watched ------------------------------------------------------------------ */

static const struct cw_decoder_ops *real_ops;
static struct cw_decoder_ops ops;
static struct cw_plugin_desc desc_watched;
static struct cw_host real_host;
static long host_fail = -1;
static int host_fail_code, host_has_failed;
static unsigned long said;          /* host calls in the entry at hand */
static struct toy *current;

/*
 * The budget of an entry, counted: what a decoder may say and allocate about so many bytes. A clock
 * would judge the machine; these numbers find the loop that grows with the square.
 */
static void judge_entry(const char *name, unsigned long heap_before, size_t bytes)
{
	if (said > 1000 + 16 * bytes)
		fault("%s() made %lu host calls for %zu bytes", name, said, bytes);
	if (heap_calls() - heap_before > 200 + bytes)
		fault("%s() made %lu allocations for %zu bytes", name, heap_calls() - heap_before, bytes);
	said = 0;
}

static int watched_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *cut)
{
	unsigned long before = heap_calls();
	struct cw_cut again = { 0, 0, 0, 0 };
	int rc, rc2;

	said = 0;
	rc = real_ops->frame(d, ev, in, cut);
	rc2 = real_ops->frame(d, ev, in, &again);
	if (rc != rc2 || (rc == 0 && (cut->skip != again.skip || cut->length != again.length || cut->need != again.need)))
		fault("frame() says something else about the same bytes when asked again; it must not keep state");
	if (said > 0 || heap_calls() != before)
		fault("frame() speaks to the host or allocates");
	if (rc == 0 && cut->length > 0 && cut->skip <= in.len && cut->length > in.len - cut->skip)
		fault("frame() cut more than there is");
	if (rc == 0 && cut->length == 0 && cut->need != 0 && cut->need <= in.len - cut->skip)
		fault("frame() needs %zu bytes and has %zu, yet cuts nothing", cut->need, in.len - cut->skip);
	return rc;
}

static int watched_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	unsigned long before = heap_calls();
	uint8_t *copy = malloc(frame.len); /* exactly its size: a read beyond shows under sanitizer and memcheck */
	int rc;

	if (copy == NULL)
		abort();
	memcpy(copy, frame.ptr, frame.len);
	said = 0;
	rc = real_ops->decode(d, ev, cw_bytes_of(copy, frame.len));
	if (memcmp(copy, frame.ptr, frame.len) != 0)
		fault("decode() wrote into the frame it was lent");
	free(copy);
	judge_entry("decode", before, frame.len);
	if (rc > 0)
		fault("decode() returned %d", rc);
	return rc;
}

static int watched_event(struct cw_decoder *d, const struct cw_event *ev)
{
	unsigned long before = heap_calls();
	int rc;

	said = 0;
	rc = real_ops->event(d, ev);
	judge_entry("event", before, 4096 + ev->data.len);
	if (rc != 0 && rc != CW_ECLOSED)
		fault("event() of kind %u returned %d; it may return 0 or CW_ECLOSED", ev->kind, rc);
	if (ev->kind == CW_EV_CLOSED && *ev->conn_ctx != NULL)
		fault("the context of the connection is still set after CLOSED");
	if (ev->kind == CW_EV_DETACHED && ev->device_ctx != NULL && *ev->device_ctx != NULL)
		fault("the context of the device is still set after DETACHED");
	return rc;
}

static int watched_command(struct cw_decoder *d, const struct cw_event *ev)
{
	unsigned long before = heap_calls();
	int rc;

	said = 0;
	rc = real_ops->command(d, ev);
	judge_entry("command", before, 65536 + ev->data.len);
	return rc;
}

const struct cw_plugin_desc *watched(const struct cw_plugin_desc *desc)
{
	real_ops = desc->decoder;
	ops = *desc->decoder;
	ops.frame = watched_frame;
	ops.decode = watched_decode;
	ops.event = watched_event;
	if (ops.command != NULL)
		ops.command = watched_command;
	desc_watched = *desc;
	desc_watched.decoder = &ops;
	return &desc_watched;
}

/* ---- host calls, counted and made to fail ------------------------------------------------ */

void host_fail_at(long nth, int code)
{
	host_fail = nth;
	host_fail_code = code;
	host_has_failed = 0;
}

int host_failed(void)
{
	return host_has_failed;
}

static int gate(void)
{
	said++;
	if (host_fail < 0 || host_fail-- > 0)
		return 0;
	host_has_failed = 1;
	return host_fail_code;
}

#define GATED(name, params, args)                                   \
	static int gated_##name params                              \
	{                                                           \
		int rc = gate();                                    \
		return rc < 0 ? rc : real_host.name args;           \
	}
GATED(send, (void *hx, uint64_t c, struct cw_bytes b), (hx, c, b))
GATED(emit, (void *hx, uint64_t c, uint64_t d, uint64_t t, struct cw_bytes r), (hx, c, d, t, r))
GATED(identify, (void *hx, uint64_t c, const struct cw_identify *w), (hx, c, w))
GATED(detach, (void *hx, uint64_t c, uint64_t d), (hx, c, d))
GATED(timer, (void *hx, uint64_t c, uint64_t t, uint64_t ms), (hx, c, t, ms))
GATED(command_extend, (void *hx, uint64_t c, uint64_t id, uint64_t ms), (hx, c, id, ms))
GATED(device_save, (void *hx, uint64_t c, uint64_t d, struct cw_bytes s), (hx, c, d, s))
GATED(rescan, (void *hx, uint64_t c, int final), (hx, c, final))
GATED(want_block, (void *hx, uint64_t c, uint64_t id, uint64_t o, size_t n), (hx, c, id, o, n))
GATED(attach_open, (void *hx, uint64_t c, uint64_t d, const char *s, uint64_t *r), (hx, c, d, s, r))
GATED(attach_write, (void *hx, uint64_t c, uint64_t a, struct cw_bytes b), (hx, c, a, b))

static int gated_charge(void *hx, uint64_t c, int64_t bytes)
{
	int rc = bytes > 0 ? gate() : 0; /* giving back never fails */

	if (rc == 0)
		rc = real_host.charge(hx, c, bytes);
	if (rc == 0)
		current->charged += bytes;
	else if (bytes <= 0)
		fault("gave back %lld bytes of memory that were not charged", (long long)-bytes);
	return rc;
}

static int gated_field(void *hx, uint64_t c, int group, const char *name, struct cw_bytes v, size_t offset, size_t length)
{
	int rc = real_host.field(hx, c, group, name, v, offset, length);

	said++;
	if (rc < 0)
		fault("showed a field '%s' that the host refused", name == NULL ? "(none)" : name);
	return rc;
}

static void put_gates(struct cw_host *h)
{
	real_host = *h;
	h->send = gated_send;
	h->emit = gated_emit;
	h->identify = gated_identify;
	h->detach = gated_detach;
	h->timer = gated_timer;
	h->command_extend = gated_command_extend;
	h->device_save = gated_device_save;
	h->rescan = gated_rescan;
	h->charge = gated_charge;
	h->want_block = gated_want_block;
	h->attach_open = gated_attach_open;
	h->attach_write = gated_attach_write;
	h->field = gated_field;
}

/* ---- the trace ------------------------------------------------------------------------------ */

static void note(struct toy *t, char kind, uint64_t number, const void *ptr, size_t len)
{
	size_t need = t->len + 1 + sizeof(number) + sizeof(len) + len;

	if (need > t->size) {
		t->size = need * 2;
		t->trace = realloc(t->trace, t->size);
		if (t->trace == NULL)
			abort();
	}
	t->trace[t->len++] = (uint8_t)kind;
	memcpy(t->trace + t->len, &number, sizeof(number));
	memcpy(t->trace + t->len + sizeof(number), &len, sizeof(len));
	if (len > 0)
		memcpy(t->trace + t->len + sizeof(number) + sizeof(len), ptr, len);
	t->len = need;
}

void toy_forget(struct toy *t)
{
	t->len = t->noise = t->frames_ok = t->frames_bad = t->records = t->sends = t->fields = 0;
	t->settled = t->commands_done = 0;
}

int toy_same(const struct toy *a, const struct toy *b)
{
	return a->len == b->len && a->noise == b->noise && (a->len == 0 || memcmp(a->trace, b->trace, a->len) == 0);
}

/* ---- the owner --------------------------------------------------------------------------------- */

static int on_send(void *owner, struct cw_bytes out)
{
	struct toy *t = owner;

	t->sends++;
	note(t, 'S', 0, out.ptr, out.len);
	return 0;
}

static int on_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec)
{
	struct toy *t = owner;
	size_t i;

	t->records++;
	note(t, 'E', ticket, record.ptr, record.len);
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
	if (who->facts.len > 0 && !cw_flat_valid(who->facts))
		fault("identify() with facts that are no record item");
	note(t, 'I', who->flags, who->identity.ptr, who->identity.len);
	return 0;
}

static int on_detach(void *owner, struct cw_rdevice *dev)
{
	note(owner, 'D', 0, NULL, 0);
	return 0;
}

static int on_command_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct toy *t = owner;
	size_t i;

	note(t, 'C', id << 32 | (uint32_t)code, reply.ptr, reply.len);
	for (i = 0; i < COMMANDS_MOST; i++) {
		if (t->commands[i] == id && id != 0) {
			t->commands[i] = 0;
			t->commands_done++;
			return 0;
		}
	}
	fault("ended command %llu, which was not open", (unsigned long long)id);
	return CW_EINVAL;
}

static int on_command_extend(void *owner, uint64_t id, uint64_t delay_ms)
{
	note(owner, 'X', delay_ms, &id, sizeof(id));
	return 0;
}

static int on_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	struct toy *t = owner;

	memcpy(t->saved, state.ptr, state.len);
	t->saved_len = state.len;
	note(t, 'V', 0, state.ptr, state.len);
	return 0;
}

static int on_want_block(void *owner, uint64_t id, uint64_t offset, size_t length)
{
	note(owner, 'W', offset, &length, sizeof(length));
	return 0;
}

static int on_attach_open(void *owner, struct cw_rdevice *dev, uint64_t attachment, const char *name)
{
	struct toy *t = owner;
	const char *suffix = strrchr(name, '.'); /* the rest of the name is the runner's */

	t->attachments++;
	note(t, 'A', 0, suffix, strlen(suffix));
	return 0;
}

static int on_attach_write(void *owner, uint64_t attachment, struct cw_bytes data)
{
	note(owner, 'a', 0, data.ptr, data.len);
	return 0;
}

static int on_attach_close(void *owner, uint64_t attachment, int keep, char name[64])
{
	struct toy *t = owner;

	t->attachments--;
	(void)snprintf(name, 64, "attachment-1");
	note(t, 'Z', (uint64_t)keep, NULL, 0);
	return 0;
}

static void on_field(void *owner, int group, const char *name, struct cw_bytes value, size_t offset, size_t length)
{
	struct toy *t = owner;

	t->fields++;
	note(t, 'F', (uint64_t)group, name, strlen(name));
	note(t, 'f', offset << 32 | length, value.ptr, value.len);
}

static void on_line(void *owner, int level, const char *text)
{
}

static void on_foreign(void *owner, struct cw_bytes identity)
{
	note(owner, 'O', 0, identity.ptr, identity.len);
}

static void on_frame(void *owner, struct cw_bytes frame, int rc)
{
	struct toy *t = owner;

	*(rc == 0 ? &t->frames_ok : &t->frames_bad) += 1;
	note(t, 'R', (uint64_t)(int64_t)rc, frame.ptr, frame.len);
}

/* Noise is counted, not traced: how it is cut depends on how it came. */
static void on_noise(void *owner, struct cw_bytes dropped)
{
	((struct toy *)owner)->noise += dropped.len;
}

static void on_close(void *owner, uint64_t delay_ms, const char *reason)
{
	struct toy *t = owner;

	note(t, 'K', delay_ms, NULL, 0);
	if (delay_ms == 0)
		t->closing = 1;
}

static void answer_identify(struct toy *t)
{
	char identity[CW_IDENTITY_MAX + 1];
	int64_t flags = cw_asked_take(&t->asked, identity);
	struct cw_rdevice *dev = NULL;

	if ((flags & CW_IDENTIFY_MEMBERS) != 0) {
		cw_conn_members(t->conn, cw_bytes_text(identity), 0);
		return;
	}
	if (t->refuse != 0) {
		cw_conn_refused(t->conn, cw_bytes_text(identity), t->refuse);
		return;
	}
	(void)cw_conn_identified(t->conn, cw_bytes_text(identity), "a1Conform00", "device", cw_bytes_of(t->saved, t->saved_len),
	                         (flags & CW_IDENTIFY_LOOKUP) != 0 ? 0 : CW_CONN_ATTACHED, NULL, NULL, &dev);
	if ((flags & CW_IDENTIFY_LOOKUP) == 0 && dev != NULL)
		cw_conn_state(t->conn, dev, 1, 0);
}

static void on_called(void *owner)
{
	struct toy *t = owner;

	if (t->conn == NULL)
		return;
	while (t->ticket_count > 0 && !t->hold_tickets) {
		uint64_t ticket = t->tickets[0];

		memmove(t->tickets, t->tickets + 1, --t->ticket_count * sizeof(t->tickets[0]));
		t->settled++;
		cw_conn_settled(t->conn, ticket, t->settle_with >= 0 ? t->settle_with : (int)(t->settled % 4));
	}
	while (t->asked.count > 0)
		answer_identify(t);
}

static const struct cw_conn_ops toy_ops = {
	.send = on_send, .emit = on_emit, .identify = on_identify, .detach = on_detach, .command_done = on_command_done,
	.command_extend = on_command_extend, .save = on_save, .want_block = on_want_block, .attach_open = on_attach_open,
	.attach_write = on_attach_write, .attach_close = on_attach_close, .field = on_field, .line = on_line,
	.foreign = on_foreign, .frame = on_frame, .noise = on_noise, .close = on_close, .called = on_called,
};

/* ---- driving ------------------------------------------------------------------------------------ */

/* An instance and its settings. */
static int make_runner(struct toy *t)
{
	struct cw_msg msg = { { 0 } };
	uint8_t *encoded;
	size_t n;
	int rc;

	current = t;
	random_again();
	rc = cw_runner_new(t->desc, t->worker, &t->runner, &msg);
	if (rc < 0)
		return rc;
	put_gates(&t->runner->host);
	if (t->desc->conf == NULL)
		return 0;
	encoded = fake_settings(t->desc->conf, t->settings, &n);
	rc = cw_runner_settings(t->runner, cw_bytes_of(encoded, n), &t->conf, &msg);
	cw_free(encoded);
	if (rc == 0)
		return 0;
	if (!heap_failed())
		fault("refused its settings: %s", msg.text);
	cw_runner_free(t->runner);
	return rc;
}

int toy_start(struct toy *t, const struct cw_plugin_desc *desc, struct cw_worker *w, const char *settings)
{
	memset(t, 0, sizeof(*t));
	t->cap = 64u << 20;
	t->desc = desc;
	t->worker = w;
	t->settings = settings;
	return make_runner(t);
}

static void drop_runner(struct toy *t)
{
	cw_runner_settings_free(t->runner, t->conf);
	cw_runner_free(t->runner);
}

int toy_renew(struct toy *t)
{
	drop_runner(t);
	t->saved_len = 0;
	t->last_command = 0;
	toy_forget(t);
	return make_runner(t);
}

void toy_stop(struct toy *t)
{
	drop_runner(t);
	free(t->trace);
}

int toy_open(struct toy *t)
{
	struct cw_conn_open how = { .listener = "conform", .conf = t->conf, .peer = cw_bytes_text("192.0.2.7:4711"), .flags = t->flags,
		                    .max_noise = SIZE_MAX, .cap = t->cap, .attach_most = UINT64_MAX };

	current = t;
	t->closing = t->attachments = 0;
	t->asked.count = 0;
	t->ticket_count = 0;
	t->charged = 0;
	memset(t->commands, 0, sizeof(t->commands));
	return cw_conn_open(t->runner, &toy_ops, t, &how, &t->conn);
}

void toy_close(struct toy *t, int clean)
{
	struct cw_conn *c = t->conn;

	current = t;
	cw_conn_close(c);
	t->conn = NULL;
	if (t->charged != 0)
		fault("%lld bytes are still charged after CLOSED", (long long)t->charged);
	if (clean && t->attachments != 0)
		fault("%d attachments are still open after CLOSED", t->attachments);
}

void toy_feed(struct toy *t, const uint8_t *ptr, size_t len)
{
	uint8_t *copy;

	current = t;
	if (t->closing || len == 0)
		return;
	copy = malloc(len);
	if (copy == NULL)
		abort();
	memcpy(copy, ptr, len);
	if (cw_conn_feed(t->conn, cw_bytes_of(copy, len)) == CW_EBUSY)
		(void)cw_conn_resume(t->conn);
	free(copy);
}

void toy_command(struct toy *t, const struct entry *c)
{
	struct cw_rdevice *dev = cw_conn_next_device(t->conn, NULL);
	size_t i, free_slot = COMMANDS_MOST, open = 0;
	unsigned most = t->runner->desc->max_outstanding == 0 ? 1 : t->runner->desc->max_outstanding;
	uint64_t id = ++t->last_command;
	uint8_t *copy;
	int rc;

	current = t;
	for (i = 0; i < COMMANDS_MOST; i++) {
		if (t->commands[i] == 0)
			free_slot = i;
		else if (++open >= most) { /* no more than it declares: the host would have let this one run out */
			uint64_t gone = t->commands[i];

			t->commands[i] = 0;
			free_slot = i;
			cw_conn_command_cancelled(t->conn, dev, gone);
		}
	}
	if (t->closing || free_slot == COMMANDS_MOST || (t->runner->desc->caps & CW_CAP_DOWNLINK) == 0)
		return;
	copy = malloc(c->len + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, c->ptr, c->len);
	t->commands[free_slot] = id;
	rc = cw_conn_command(t->conn, dev, id, cw_bytes_of(copy, c->len), 30000);
	if (rc != 0)
		t->commands[free_slot] = 0;
	note(t, 'Q', (uint64_t)(int64_t)rc, NULL, 0);
	free(copy);
}

void toy_fire_timers(struct toy *t)
{
	unsigned i;

	current = t;
	for (i = 0; i < 40 && t->conn->timers != NULL; i++)
		t->conn->timers->timer.fire(&t->conn->timers->timer);
}

void toy_event(struct toy *t, uint32_t kind, uint64_t number, struct cw_bytes data)
{
	struct cw_rdevice *dev = cw_conn_next_device(t->conn, NULL);
	struct cw_event ev;

	current = t;
	memset(&ev, 0, sizeof(ev));
	ev.size = sizeof(ev);
	ev.kind = kind;
	ev.flags = t->flags;
	ev.conn = t->conn->handle;
	ev.now_ms = 1763700000000;
	ev.mono_ms = 1000000;
	ev.conn_ctx = &t->conn->ctx;
	ev.conf = t->conf;
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
	if (ops.event(t->runner->decoder, &ev) == CW_ECLOSED)
		t->closing = 1;
	on_called(t);
}
