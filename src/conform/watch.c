/* watch.c - see suite.h. Between the runner and the plugin: entries are counted, timed and judged, host calls counted
 * and made to fail. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conform/suite.h"

/* Time of an entry on this thread; a sanitizer's build is not timed. The gateway counts and logs calls above it. */
#define ENTRY_MOST_NS 20000000
#define SLOW_MOST 3
/* A decoder may keep so much for a connection beside what it has charged: contexts, rounding of the heap. */
#define UNCHARGED_MOST ((size_t)256 << 10)

static const struct cw_decoder_ops *real_ops;
static struct cw_decoder_ops ops;
static struct cw_plugin_desc desc_watched;
static struct cw_host real_host;
static long host_fail = -1;
static int host_fail_code, host_has_failed;
static unsigned long said; /* host calls in the entry at hand */
static int asked_now;      /* identify() in it was taken */
static unsigned slow_calls;
static struct toy *current;

void watch_toy(struct toy *t)
{
	current = t;
}

/* ---- entries -------------------------------------------------------------------------------- */

static int64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct before {
	unsigned long heap;
	int64_t ns;
};

static struct before begin(const char *name, struct cw_bytes bytes)
{
	said = 0;
	asked_now = 0;
	at_hand(name, bytes);
	return (struct before){ .heap = heap_calls(), .ns = thread_ns() };
}

/*
 * The budget of an entry: what a decoder may say and allocate about so many bytes, counted, which finds the loop that
 * grows with the square on any machine; and its time.
 */
static void judge(const char *name, struct before before, size_t bytes)
{
	int64_t spent = thread_ns() - before.ns;

	not_at_hand();
	if (said > 1000 + 16 * bytes)
		fault_of("budget", "%s() made %lu host calls for %zu bytes", name, said, bytes);
	if (heap_calls() - before.heap > 200 + bytes)
		fault_of("budget", "%s() made %lu allocations for %zu bytes", name, heap_calls() - before.heap, bytes);
	if (!SUITE_SLOW && spent > ENTRY_MOST_NS) {
		fault_of("budget",
			 "%s() took %lld ms of processor time; meanwhile no other device of its worker is served", name,
			 (long long)spent / 1000000);
		if (++slow_calls == SLOW_MOST)
			give_up("it is too slow");
	}
	if (current != NULL && current->conn != NULL && current->cap > 0 &&
	    heap_bytes() > current->base_bytes + UNCHARGED_MOST + (size_t)(current->charged > 0 ? current->charged : 0))
		fault_of("cap",
			 "%s() left %zu bytes held for one connection, of which %lld are charged; host.h: charge()",
			 name, heap_bytes() - current->base_bytes, (long long)current->charged);
	said = 0;
}

static int watched_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *cut)
{
	struct cw_cut again = { 0, 0, 0, 0 };
	struct before before = begin("frame", in);
	int rc = real_ops->frame(d, ev, in, cut), rc2;

	rc2 = real_ops->frame(d, ev, in, &again);
	if (rc != rc2 || (rc == 0 && (cut->skip != again.skip || cut->length != again.length ||
				      cut->need != again.need || cut->wait_ms != again.wait_ms)))
		fault_of("pure",
			 "frame() says something else about the same %zu bytes when asked again: first skip %zu length "
			 "%zu need %zu, "
			 "then skip %zu length %zu need %zu",
			 in.len, cut->skip, cut->length, cut->need, again.skip, again.length, again.need);
	if (said > 0 || heap_calls() != before.heap)
		fault_of("pure", "frame() spoke to the host or allocated");
	judge("frame", before, in.len);
	if (rc != 0)
		return rc;
	if (cut->skip > in.len || cut->length > in.len - cut->skip)
		fault_of("cut", "frame() cut %zu bytes after skipping %zu, of %zu there are", cut->length, cut->skip,
			 in.len);
	else if (cut->length > suite.real->max_frame)
		fault_of("cut", "frame() cut %zu bytes, the descriptor's max_frame is %u", cut->length,
			 suite.real->max_frame);
	else if (cut->length == 0 && cut->need != 0 && cut->need <= in.len - cut->skip)
		fault_of("cut", "frame() needs %zu bytes and has %zu, yet cuts nothing", cut->need, in.len - cut->skip);
	else if ((ev->flags & CW_EVF_FINAL) != 0 && in.len > 0 && cut->length == 0 && cut->skip == 0)
		fault_of("cut",
			 "frame() with CW_EVF_FINAL neither cut nor skipped; no further byte will come for these %zu",
			 in.len);
	if (cut->wait_ms != 0 && current != NULL)
		current->waited = 1;
	return rc;
}

static int watched_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	uint8_t *copy = malloc(frame.len); /* exactly its size: a read beyond shows under sanitizer and memcheck */
	struct before before;
	int rc;

	if (copy == NULL)
		abort();
	memcpy(copy, frame.ptr, frame.len);
	before = begin("decode", cw_bytes_of(copy, frame.len));
	rc = real_ops->decode(d, ev, cw_bytes_of(copy, frame.len));
	judge("decode", before, frame.len);
	if (memcmp(copy, frame.ptr, frame.len) != 0)
		fault_of("status", "decode() wrote into the frame it was lent");
	free(copy);
	if (rc > 0)
		fault_of("status", "decode() returned %d; it may return 0 or an error of error.h", rc);
	if (rc == CW_EBUSY && !asked_now && !host_has_failed)
		fault_of("again", "decode() returned CW_EBUSY without identify() in the same call: there is no outcome "
				  "to wait for");
	return rc;
}

static int watched_event(struct cw_decoder *d, const struct cw_event *ev)
{
	struct before before = begin("event", ev->data);
	int rc = real_ops->event(d, ev);

	judge("event", before, 4096 + ev->data.len);
	if (rc != 0 && rc != CW_ECLOSED)
		fault_of("status", "event() of kind %u returned %d; it may return 0 or CW_ECLOSED", ev->kind, rc);
	if (ev->kind == CW_EV_CLOSED && *ev->conn_ctx != NULL)
		fault_of("status", "the context of the connection is still set after CLOSED");
	if (ev->kind == CW_EV_DETACHED && ev->device_ctx != NULL && *ev->device_ctx != NULL)
		fault_of("status", "the context of the device is still set after DETACHED");
	return rc;
}

static int watched_command(struct cw_decoder *d, const struct cw_event *ev)
{
	struct before before = begin("command", ev->data);
	int rc = real_ops->command(d, ev);

	judge("command", before, 65536 + ev->data.len);
	if (rc > 0)
		fault_of("status", "command() returned %d; it may return 0 or an error of error.h", rc);
	return rc;
}

static int watched_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf)
{
	int rc;

	at_hand("settings", settings);
	rc = real_ops->settings(d, settings, text, len, ret_conf);
	not_at_hand();
	return rc;
}

static int watched_create(const struct cw_host *host, void *hx, struct cw_decoder **ret)
{
	int rc;

	at_hand("create", cw_bytes_of(NULL, 0));
	rc = real_ops->create(host, hx, ret);
	not_at_hand();
	return rc;
}

static void watched_destroy(struct cw_decoder *d)
{
	at_hand("destroy", cw_bytes_of(NULL, 0));
	real_ops->destroy(d);
	not_at_hand();
}

const struct cw_plugin_desc *watched(const struct cw_plugin_desc *desc)
{
	size_t size = desc->size < sizeof(desc_watched) ? desc->size : sizeof(desc_watched);

	real_ops = desc->decoder;
	memcpy(&ops, real_ops, real_ops->size < sizeof(ops) ? real_ops->size : sizeof(ops));
	ops.create = watched_create;
	ops.destroy = watched_destroy;
	ops.frame = watched_frame;
	ops.decode = watched_decode;
	ops.event = watched_event;
	if (ops.command != NULL)
		ops.command = watched_command;
	if (ops.settings != NULL)
		ops.settings = watched_settings;
	memcpy(&desc_watched, desc, size);
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

#define GATED(name, params, args)                                                                                      \
	static int gated_##name params                                                                                 \
	{                                                                                                              \
		int rc = gate();                                                                                       \
		return rc < 0 ? rc : real_host.name args;                                                              \
	}
GATED(send, (void *hx, uint64_t c, struct cw_bytes b), (hx, c, b))
GATED(detach, (void *hx, uint64_t c, uint64_t d), (hx, c, d))
GATED(timer, (void *hx, uint64_t c, uint64_t t, uint64_t ms), (hx, c, t, ms))
GATED(command_extend, (void *hx, uint64_t c, uint64_t id, uint64_t ms), (hx, c, id, ms))
GATED(device_save, (void *hx, uint64_t c, uint64_t d, struct cw_bytes s), (hx, c, d, s))
GATED(rescan, (void *hx, uint64_t c, int final), (hx, c, final))
GATED(want_block, (void *hx, uint64_t c, uint64_t id, uint64_t o, size_t n), (hx, c, id, o, n))
GATED(attach_open, (void *hx, uint64_t c, uint64_t d, const char *s, uint64_t *r), (hx, c, d, s, r))
GATED(attach_write, (void *hx, uint64_t c, uint64_t a, struct cw_bytes b), (hx, c, a, b))

static int gated_identify(void *hx, uint64_t c, const struct cw_identify *who)
{
	int rc = gate();

	if (rc == 0)
		rc = real_host.identify(hx, c, who);
	asked_now |= rc == 0;
	return rc;
}

static int gated_emit(void *hx, uint64_t c, uint64_t d, uint64_t ticket, struct cw_bytes record)
{
	struct cw_record rec;
	int rc = gate();

	if (!cw_flat_valid(record))
		fault_of("records", "it emitted bytes that are no record: not one whole item, text that is not UTF-8, "
				    "or nested too deep");
	else if (!cw_record_read(record, &rec) || rec.kind < CW_KIND_PROPERTIES || rec.kind > CW_KIND_SHADOW_REPORT)
		fault_of("records",
			 "it emitted a record without a kind, or with a member of another type than record.h says");
	return rc < 0 ? rc : real_host.emit(hx, c, d, ticket, record);
}

static int gated_charge(void *hx, uint64_t c, int64_t bytes)
{
	int rc = bytes > 0 ? gate() : 0; /* giving back never fails */

	if (rc == 0)
		rc = real_host.charge(hx, c, bytes);
	if (rc == 0)
		current->charged += bytes;
	else if (bytes <= 0)
		fault_of("cap", "it gave back %lld bytes of memory that were not charged", (long long)-bytes);
	return rc;
}

static int gated_field(void *hx, uint64_t c, int group, const char *name, struct cw_bytes v, size_t offset,
		       size_t length)
{
	int rc = real_host.field(hx, c, group, name, v, offset, length);

	said++;
	if (rc < 0)
		fault_of(
			"records",
			"it showed a field '%s' that the host refused: no item of record.h, or not with CW_EVF_INSPECT",
			name == NULL ? "(none)" : name);
	return rc;
}

static void gated_count(void *hx, uint32_t index, uint64_t n)
{
	size_t there;

	said++;
	(void)cw_runner_counters(hx, &there);
	if (index >= there)
		fault_of("records", "it counted with number %u, the descriptor has %zu counters", index, there);
	real_host.count(hx, index, n);
}

void watch_runner(struct cw_runner *r)
{
	struct cw_host *h = &r->host;

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
	h->count = gated_count;
}
