/*
 * drive.c - see drive.h.
 *
 * A small host: what a decoder is told here is what a gateway may tell it, in an
 * order of the case's choosing. Bytes are lent at the end of a page behind which
 * nothing is mapped, so that a read beyond them is a crash even without a sanitizer.
 */
#include "drive_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HELD_MOST (256u * 1024u)
#define AGAIN_MOST 16
#define PARTS_MOST 512
#define ROUNDS_MOST 20000

/* ---- bytes at the edge of what is mapped ---------------------------------------------------- */

struct edge {
	uint8_t *end;
	size_t size;
};

static struct cw_bytes lend(struct edge *e, struct cw_bytes b)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (b.len + page) / page * page;
	uint8_t *p;

	if (size > e->size) {
		if (size < 1u << 20)
			size = 1u << 20;
		p = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || mprotect(p + size, page, PROT_NONE) < 0) {
			perror("fuzz");
			exit(3);
		}
		if (e->size > 0)
			(void)munmap(e->end - e->size, e->size + page);
		e->size = size;
		e->end = p + size;
	}
	if (b.len > 0)
		memcpy(e->end - b.len, b.ptr, b.len);
	return cw_bytes_of(e->end - b.len, b.len);
}

static struct edge in_edge, frame_edge, data_edge;

/* ---- telling the decoder ---------------------------------------------------------------------------- */

static uint32_t conn_flags(void)
{
	uint32_t f = fuzz.options & CW_FUZZ_INSPECT ? CW_EVF_INSPECT : 0;

	return fuzz.options & CW_FUZZ_DATAGRAM && fuzz.run->desc->caps & CW_CAP_DATAGRAM ? f | CW_EVF_DATAGRAM : f;
}

static struct cw_event event_of(uint32_t kind, struct device *dev)
{
	struct cw_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.size = sizeof(ev);
	ev.kind = kind;
	ev.flags = conn_flags();
	ev.conn = CONN;
	ev.now_ms = fuzz.now_ms;
	ev.mono_ms = fuzz.mono_ms;
	ev.conn_ctx = &fuzz.conn_ctx;
	ev.conf = fuzz.conf;
	ev.peer = cw_bytes_text("192.0.2.7:4711");
	ev.listener = cw_bytes_text("fuzz");
	if (dev != NULL) {
		ev.device = dev->handle;
		ev.device_ctx = &dev->ctx;
		ev.identity = cw_bytes_of(dev->identity, dev->identity_len);
		ev.product_key = cw_bytes_text("a1Fuzz00000");
		ev.device_name = cw_bytes_text("fuzz");
	}
	return ev;
}

static struct device *only_device(void)
{
	return fuzz.device_count == 1 ? &fuzz.devices[0] : NULL;
}

static void judge(const char *entry, int rc)
{
	fuzz.in_entry = 0;
	if (rc > 0)
		fuzz_broken("%s() returned %d; it may return 0 or CW_E*", entry, rc);
	if (rc == CW_ECLOSED)
		fuzz.closing = 1;
	fuzz_see(20, &rc, sizeof(rc));
}

static void tell(struct cw_event *ev)
{
	int rc;

	fuzz_see(21 + 64 * ev->kind, NULL, 0);
	fuzz.in_entry = 1;
	rc = fuzz.ops->event(fuzz.d, ev);
	judge("event", rc);
	if (rc != 0 && rc != CW_ECLOSED)
		fuzz_broken("event() of kind %u returned %d; it may return 0 or CW_ECLOSED", ev->kind, rc);
}

static void drop_device(struct device *dev)
{
	struct cw_event ev = event_of(CW_EV_DETACHED, dev);
	size_t i;

	dev->leaving = 0;
	tell(&ev);
	if (dev->ctx != NULL)
		fuzz_broken("the context of the device is still set after DETACHED");
	for (i = fuzz.command_count; i-- > 0;) /* the gateway has ended them */
		if (fuzz.commands[i].device == dev->handle)
			fuzz_forget_command(i);
	*dev = fuzz.devices[--fuzz.device_count];
}

static void refused(struct cw_bytes identity, int code)
{
	struct cw_event ev = event_of(CW_EV_REFUSED, NULL);

	fuzz_talk("%.*s is refused with %d", (int)identity.len, (const char *)identity.ptr, code);
	ev.identity = identity;
	ev.code = code;
	fuzz.again_drop = code == CW_REFUSED_KEPT && fuzz.again_len > 0;
	tell(&ev);
}

static void identified(struct cw_bytes identity, uint32_t flags)
{
	struct device *dev = NULL;
	struct cw_event ev;
	size_t i;

	for (i = 0; i < fuzz.device_count; i++)
		if (cw_bytes_equal(identity, cw_bytes_of(fuzz.devices[i].identity, fuzz.devices[i].identity_len)))
			dev = &fuzz.devices[i];
	if (dev == NULL) {
		if (fuzz.device_count == DEVICES_MOST) {
			refused(identity, CW_REFUSED_LATER);
			return;
		}
		dev = &fuzz.devices[fuzz.device_count++];
		memset(dev, 0, sizeof(*dev));
		dev->handle = 1ull << 63 | ++fuzz.next_handle;
		memcpy(dev->identity, identity.ptr, identity.len);
		dev->identity_len = (uint8_t)identity.len;
	}
	if ((flags & CW_IDENTIFY_LOOKUP) == 0)
		dev->attached = 1;
	ev = event_of(CW_EV_IDENTIFIED, dev);
	ev.flags |= dev->attached ? CW_EVF_ATTACHED : 0;
	ev.saved = cw_bytes_of(fuzz.saved, fuzz.saved_len);
	fuzz_talk("%.*s is known", (int)identity.len, (const char *)identity.ptr);
	tell(&ev);
}

/* The oldest identify(); 0: nobody asked. */
static int answer(int code)
{
	char identity[CW_IDENTITY_MAX + 1];
	struct cw_identify who;
	struct cw_event ev;

	if (fuzz.asked_count == 0)
		return 0;
	who = fuzz.asked[0].who;
	memcpy(identity, fuzz.asked[0].identity, sizeof(identity));
	memmove(&fuzz.asked[0], &fuzz.asked[1], --fuzz.asked_count * sizeof(fuzz.asked[0]));
	who.identity.ptr = (const uint8_t *)identity;
	if (who.flags & CW_IDENTIFY_MEMBERS) {
		ev = event_of(CW_EV_MEMBERS, NULL);
		ev.identity = who.identity;
		tell(&ev);
	} else if (code == 0) {
		identified(who.identity, who.flags);
	} else {
		refused(who.identity, code);
	}
	return 1;
}

static int settle(int code)
{
	struct cw_event ev;

	if (fuzz.ticket_count == 0)
		return 0;
	ev = event_of(CW_EV_SETTLED, only_device());
	ev.ticket = fuzz.tickets[0];
	ev.code = code;
	memmove(&fuzz.tickets[0], &fuzz.tickets[1], --fuzz.ticket_count * sizeof(fuzz.tickets[0]));
	fuzz_talk("ticket %llu settles with %d", (unsigned long long)ev.ticket, code);
	tell(&ev);
	return 1;
}

/* What follows an entry: outcomes that come at once, devices that leave. */
static void follow(void)
{
	size_t i;

	while (!fuzz.closing && fuzz.rounds++ < ROUNDS_MOST) {
		for (i = 0; i < fuzz.device_count && !fuzz.devices[i].leaving; i++)
			;
		if (i < fuzz.device_count)
			drop_device(&fuzz.devices[i]);
		else if (!(fuzz.options & CW_FUZZ_HOLD) && fuzz.ticket_count > 0)
			(void)settle(fuzz.options & CW_FUZZ_PENDING ? CW_SETTLED_PENDING : CW_SETTLED_DONE);
		else if (fuzz.options & CW_FUZZ_DEFER || !answer(fuzz.options & CW_FUZZ_REFUSE && !(fuzz.options & CW_FUZZ_INSPECT) ? CW_REFUSED_UNKNOWN : 0))
			break;
	}
}

/* ---- frames ------------------------------------------------------------------------------------------- */

static void drop_held(size_t n)
{
	memmove(fuzz.held, fuzz.held + n, fuzz.held_len - n);
	fuzz.held_len -= n;
}

static int ask_frame(struct cw_event *ev, struct cw_cut *cut)
{
	struct cw_bytes in = lend(&in_edge, cw_bytes_of(fuzz.held, fuzz.held_len));
	struct cw_cut twice = { 0, 0, 0, 0 };
	int rc, rc2;

	fuzz.in_entry = 0; /* it may not speak to the host */
	rc = fuzz.ops->frame(fuzz.d, ev, in, cut);
	rc2 = fuzz.ops->frame(fuzz.d, ev, in, &twice);
	judge("frame", rc);
	if (rc != rc2 || cut->skip != twice.skip || cut->length != twice.length)
		fuzz_broken("frame() says something else about the same bytes when asked again");
	if (rc < 0)
		return rc;
	if (cut->skip > fuzz.held_len || cut->length > fuzz.held_len - cut->skip)
		fuzz_broken("frame() skips %zu and cuts %zu of %zu bytes", cut->skip, cut->length, fuzz.held_len);
	if (cut->length > fuzz.run->desc->max_frame)
		fuzz_broken("frame() cuts %zu bytes, longer than max_frame", cut->length);
	fuzz_see(22 + 64 * (fuzz_magnitude(cut->skip) + 32 * fuzz_magnitude(cut->length)), NULL, 0);
	return 0;
}

/* 1: go on. */
static int decode_one(struct cw_event *ev, size_t length)
{
	struct cw_bytes frame = lend(&frame_edge, cw_bytes_of(fuzz.held, length));
	int rc;

	fuzz_talk_bytes("a frame is decoded:", frame);
	fuzz.in_entry = 1;
	rc = fuzz.ops->decode(fuzz.d, ev, frame);
	judge("decode", rc);
	if (memcmp(frame.ptr, fuzz.held, length) != 0)
		fuzz_broken("decode() wrote into the frame it was lent");
	if (rc == CW_EBUSY && fuzz.asked_count > 0) {
		fuzz.again_len = length;
		if (++fuzz.again_times > AGAIN_MOST)
			fuzz.closing = 1;
		follow();
		return fuzz.asked_count == 0;
	}
	fuzz_talk("  decode() returned %d", rc);
	fuzz.again_len = fuzz.again_times = 0;
	drop_held(length);
	follow();
	return 1;
}

/* Cut and decode while it goes. */
static void cut_all(int final)
{
	while (fuzz.held_len > 0 && !fuzz.closing && fuzz.asked_count == 0 && fuzz.rounds++ < ROUNDS_MOST) {
		struct cw_event ev = event_of(CW_EV_DATA, only_device());
		struct cw_cut cut = { 0, 0, 0, 0 };

		if (fuzz.again_drop) {
			drop_held(fuzz.again_len);
			fuzz.again_len = fuzz.again_times = fuzz.again_drop = 0;
			continue;
		}
		cut.length = fuzz.again_len;
		ev.flags |= final ? CW_EVF_FINAL : 0;
		if (fuzz.again_len == 0 && ask_frame(&ev, &cut) < 0) {
			fuzz.closing = 1;
			return;
		}
		ev.flags = conn_flags();
		if (cut.skip > 0)
			drop_held(cut.skip);
		if (cut.length == 0 && cut.skip == 0) {
			fuzz.wait_due = cut.wait_ms != 0 && !final ? fuzz.mono_ms + cut.wait_ms : 0;
			if (fuzz.held_len > fuzz.run->desc->max_frame)
				fuzz.closing = 1;
			return;
		}
		if (cut.length > 0 && !decode_one(&ev, cut.length))
			return;
	}
}

static void go_on(int final)
{
	struct cw_event ev;

	do {
		follow();
		cut_all(final || fuzz.scan_final);
		if (!fuzz.scan || fuzz.closing || fuzz.asked_count > 0)
			return;
		fuzz.scan = fuzz.scan_final = 0;
		ev = event_of(CW_EV_SCANNED, only_device());
		ev.offset = fuzz.held_len;
		tell(&ev);
		follow();
	} while (fuzz.scan && fuzz.rounds++ < ROUNDS_MOST);
}

static void feed(struct cw_bytes in)
{
	fuzz_talk_bytes("bytes from the device:", in);
	if (fuzz.held_len + in.len > HELD_MOST) {
		fuzz.closing = 1;
		return;
	}
	if (conn_flags() & CW_EVF_DATAGRAM && fuzz.asked_count == 0 && fuzz.again_len == 0)
		fuzz.held_len = 0;
	if (fuzz.held_len + in.len > fuzz.held_size) {
		uint8_t *grown = realloc(fuzz.held, HELD_MOST);

		if (grown == NULL)
			exit(3);
		fuzz.held = grown;
		fuzz.held_size = HELD_MOST;
	}
	if (in.len > 0)
		memcpy(fuzz.held + fuzz.held_len, in.ptr, in.len);
	fuzz.held_len += in.len;
	fuzz.wait_due = 0;
}

/* ---- connections and time ------------------------------------------------------------------------------- */

static void open_conn(void)
{
	struct cw_event ev;

	fuzz.open = 1;
	fuzz.closing = fuzz.scan = fuzz.scan_final = 0;
	fuzz.conn_ctx = NULL;
	ev = event_of(CW_EV_OPEN, NULL);
	fuzz_talk("a connection opens");
	tell(&ev);
	go_on(0);
}

static void close_conn(void)
{
	struct cw_event ev;

	fuzz_talk("the connection closes");
	while (fuzz.device_count > 0)
		drop_device(&fuzz.devices[fuzz.device_count - 1]);
	fuzz.timer_count = fuzz.asked_count = fuzz.ticket_count = fuzz.command_count = 0;
	ev = event_of(CW_EV_CLOSED, NULL);
	tell(&ev);
	fuzz.open = 0;
	if (fuzz.conn_ctx != NULL)
		fuzz_broken("the context of the connection is still set after CLOSED; it must be freed and NULL");
	if (fuzz.charged != 0)
		fuzz_broken("%lld bytes are still charged after CLOSED", (long long)fuzz.charged);
	fuzz.held_len = fuzz.again_len = fuzz.again_times = fuzz.again_drop = 0;
	fuzz.wait_due = 0;
}

static void fire(size_t i)
{
	struct cw_event ev = event_of(CW_EV_TIMER, only_device());

	ev.timer = fuzz.timers[i].id;
	fuzz.timers[i] = fuzz.timers[--fuzz.timer_count];
	fuzz_talk("timer %llu runs out", (unsigned long long)ev.timer);
	tell(&ev);
	go_on(0);
}

static void pass(uint64_t ms)
{
	uint64_t end = fuzz.mono_ms + ms;
	unsigned fired = 0;

	fuzz_talk("%llu ms pass", (unsigned long long)ms);
	while (!fuzz.closing && fired++ < 200) {
		size_t i, first = TIMERS_MOST;
		uint64_t due = end + 1;

		for (i = 0; i < fuzz.timer_count; i++) {
			if (fuzz.timers[i].due < due) {
				due = fuzz.timers[i].due;
				first = i;
			}
		}
		if (fuzz.wait_due != 0 && fuzz.wait_due < due) {
			due = fuzz.wait_due;
			first = TIMERS_MOST + 1;
		}
		if (due > end)
			break;
		fuzz.now_ms += (int64_t)(due > fuzz.mono_ms ? due - fuzz.mono_ms : 0);
		fuzz.mono_ms = due > fuzz.mono_ms ? due : fuzz.mono_ms;
		if (first == TIMERS_MOST + 1) {
			fuzz.wait_due = 0;
			go_on(1);
		} else {
			fire(first);
		}
	}
	fuzz.now_ms += (int64_t)(end > fuzz.mono_ms ? end - fuzz.mono_ms : 0);
	fuzz.mono_ms = end > fuzz.mono_ms ? end : fuzz.mono_ms;
}

static void command(struct cw_bytes data)
{
	struct cw_event ev;
	int rc;

	if (fuzz.device_count == 0 || fuzz.command_count == COMMANDS_MOST || !CW_HAS(fuzz.ops, command) ||
	    !(fuzz.run->desc->caps & CW_CAP_DOWNLINK))
		return;
	ev = event_of(CW_EV_COMMAND, &fuzz.devices[fuzz.device_count - 1]);
	ev.id = ++fuzz.next_command;
	ev.deadline_ms = 8000;
	ev.data = lend(&data_edge, data);
	fuzz.commands[fuzz.command_count].id = ev.id;
	fuzz.commands[fuzz.command_count++].device = ev.device;
	fuzz_talk_bytes("a command:", data);
	fuzz.in_entry = 1;
	rc = fuzz.ops->command(fuzz.d, &ev);
	judge("command", rc);
	fuzz_talk("  command() returned %d", rc);
	if (rc < 0 && fuzz_command_at(ev.id) < fuzz.command_count)
		fuzz_forget_command(fuzz_command_at(ev.id));
}

/* ---- parts ------------------------------------------------------------------------------------------------ */

static void say_block(struct cw_bytes data)
{
	struct cw_event ev = event_of(CW_EV_BLOCK, fuzz.device_count > 0 ? &fuzz.devices[fuzz.device_count - 1] : NULL);

	if (fuzz.block_id == 0)
		return;
	ev.id = fuzz.block_id;
	ev.offset = fuzz.block_offset;
	ev.data = lend(&data_edge, data);
	ev.code = data.len == 0 ? 500 : 0;
	fuzz.block_id = 0;
	tell(&ev);
}

static void say_reply(struct cw_bytes data)
{
	struct cw_event ev = event_of(CW_EV_REPLY, fuzz.device_count > 0 ? &fuzz.devices[fuzz.device_count - 1] : NULL);
	size_t n = data.len == 0 ? 0 : data.ptr[0];

	if (fuzz.device_count == 0 || data.len == 0 || n > data.len - 1)
		return;
	ev.request = cw_bytes_of(data.ptr + 1, n);
	ev.data = cw_bytes_of(data.ptr + 1 + n, data.len - 1 - n);
	if (!fuzz_utf8(ev.request) || (ev.data.len > 0 && !fuzz_whole(ev.data)))
		return;
	ev.code = 200;
	tell(&ev);
}

static void say_state(int online)
{
	struct cw_event ev;

	if (fuzz.device_count == 0)
		return;
	ev = event_of(online ? CW_EV_ONLINE : CW_EV_OFFLINE, &fuzz.devices[fuzz.device_count - 1]);
	fuzz_talk(online ? "the device is online" : "the device is offline");
	tell(&ev);
}

static void cancel(void)
{
	struct cw_event ev;

	if (fuzz.command_count == 0 || fuzz.device_count == 0)
		return;
	ev = event_of(CW_EV_COMMAND_CANCELLED, &fuzz.devices[fuzz.device_count - 1]);
	ev.id = fuzz.commands[0].id;
	fuzz_forget_command(0);
	fuzz_talk("command %llu is cancelled", (unsigned long long)ev.id);
	tell(&ev);
}

static void take_part(unsigned what, struct cw_bytes b)
{
	unsigned first = b.len > 0 ? b.ptr[0] : 0;
	struct cw_event ev;

	switch (what) {
	case CW_FUZZ_DATA: feed(b); break;
	case CW_FUZZ_WAIT: pass(100u * (first | (b.len > 1 ? (unsigned)b.ptr[1] << 8 : 0))); break;
	case CW_FUZZ_COMMAND: command(b); break;
	case CW_FUZZ_SETTLE:
		while (!fuzz.closing && fuzz.rounds++ < ROUNDS_MOST && settle((int)(first % 4)))
			;
		break;
	case CW_FUZZ_IDENTIFY: (void)answer((int)(first % (CW_REFUSED_KEPT + 1))); break;
	case CW_FUZZ_ONLINE: say_state(first != 0); break;
	case CW_FUZZ_DETACH:
		if (fuzz.device_count > 0)
			drop_device(&fuzz.devices[fuzz.device_count - 1]);
		break;
	case CW_FUZZ_CANCEL: cancel(); break;
	case CW_FUZZ_BLOCK: say_block(b); break;
	case CW_FUZZ_REPLY: say_reply(b); break;
	case CW_FUZZ_BROADCAST:
		ev = event_of(CW_EV_BROADCAST, NULL);
		ev.data = lend(&data_edge, b);
		tell(&ev);
		break;
	default: fuzz.closing = 1; break; /* CW_FUZZ_REOPEN */
	}
	if (!fuzz.closing)
		go_on(0);
}

static void parts(const uint8_t *p, size_t len)
{
	unsigned n = 0;

	while (len >= 3 && n++ < PARTS_MOST) {
		unsigned what = p[0] % CW_FUZZ_PARTS;
		size_t size = (size_t)p[1] | (size_t)p[2] << 8;

		p += 3;
		len -= 3;
		if (size > len)
			size = len;
		fuzz.rounds = 0;
		take_part(what, cw_bytes_of(p, size));
		if (fuzz.closing) { /* the device dials again */
			close_conn();
			open_conn();
		}
		p += size;
		len -= size;
	}
}

void cw_fuzz_one(const struct cw_fuzz_run *run, const uint8_t *data, size_t size)
{
	char text[400] = "";

	if (size == 0 || size > CW_FUZZ_CASE_MOST)
		return;
	memset(&fuzz, 0, sizeof(fuzz));
	fuzz.run = run;
	fuzz.ops = run->desc->decoder;
	fuzz.options = data[0];
	fuzz.now_ms = 1767225600000;
	fuzz.mono_ms = 1000000;
	if (fuzz.ops->create(&fuzz_host, NULL, &fuzz.d) < 0)
		return;
	if (fuzz.ops->settings != NULL && fuzz.ops->settings(fuzz.d, run->settings, text, sizeof(text), &fuzz.conf) < 0) {
		fprintf(stderr, "the plugin refuses its settings: %.399s\n", text);
		exit(3);
	}
	open_conn();
	parts(data + 1, size - 1);
	close_conn();
	if (fuzz.conf != NULL && fuzz.ops->settings_free != NULL)
		fuzz.ops->settings_free(fuzz.d, fuzz.conf);
	fuzz.ops->destroy(fuzz.d);
	free(fuzz.held);
	fuzz.held = NULL;
}

#ifdef CW_FUZZ_LIBFUZZER
/* Counted as coverage, too: what the decoder says. */
static uint8_t said[CW_FUZZ_SEEN] __attribute__((section("__libfuzzer_extra_counters")));
static const uint8_t settings[] = {
#include "fuzz_settings.h"
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cw_fuzz_run run;

	run.desc = cw_plugin_entry();
	run.settings = cw_bytes_of(settings, sizeof(settings) - 1);
	run.seen = said;
	cw_fuzz_one(&run, data, size);
	return 0;
}
#endif
