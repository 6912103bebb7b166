#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"
#include "json/json.h"

#define CONN 7u
#define DEVICE 9u

static void keep(struct fake_list *l, uint64_t tag, int code, const char *name, struct cw_bytes b)
{
	struct fake_blob *v = &l->v[l->n];

	assert_true(l->n < FAKE_MAX);
	v->tag = tag;
	v->code = code;
	snprintf(v->name, sizeof(v->name), "%s", name == NULL ? "" : name);
	v->ptr = cw_alloc(b.len + 1);
	assert_non_null(v->ptr);
	if (b.len > 0)
		memcpy(v->ptr, b.ptr, b.len);
	v->len = b.len;
	l->n++;
}

static void forget(struct fake_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		cw_free(l->v[i].ptr);
	l->n = l->taken = 0;
}

void fake_forget(struct fake *f)
{
	forget(&f->sent);
	forget(&f->records);
	forget(&f->fields);
	forget(&f->done);
}

struct fake_blob *fake_next(struct fake_list *l)
{
	return l->taken < l->n ? &l->v[l->taken++] : NULL;
}

static void check_text(struct cw_bytes t)
{
	size_t i = 0;

	while (i < t.len) {
		unsigned b = t.ptr[i], more = b < 0x80 ? 0 : b >= 0xc2 && b < 0xe0 ? 1 : b >= 0xe0 && b < 0xf0 ? 2 : b >= 0xf0 && b < 0xf5 ? 3 : 9;

		assert_true(more < 9 && i + more < t.len);
		for (i++; more > 0; more--, i++)
			assert_true((t.ptr[i] & 0xc0) == 0x80);
	}
}

/* Well-formed, keys are text and come once. */
static void check_item(struct cw_reader *r, int depth)
{
	struct cw_item it = cw_read_item(r), k;
	struct cw_bytes keys[256];
	size_t n = 0, i;

	assert_true(it.type != CW_ITEM_BAD && depth >= 0);
	if (it.type == CW_ITEM_TEXT)
		check_text(it.s);
	if (it.type == CW_ITEM_DOUBLE)
		assert_true(isfinite(it.d));
	if (it.type == CW_ITEM_ARRAY)
		while (cw_item_more(r, &it))
			check_item(r, depth - 1);
	if (it.type != CW_ITEM_MAP)
		return;
	while (cw_item_more(r, &it)) {
		k = cw_read_item(r);
		assert_int_equal(k.type, CW_ITEM_TEXT);
		check_text(k.s);
		for (i = 0; i < n; i++)
			if (cw_bytes_equal(keys[i], k.s))
				fail_msg("key %.*s comes twice", (int)k.s.len, (const char *)k.s.ptr);
		if (n < 256)
			keys[n++] = k.s;
		assert_true(cw_item_more(r, &it));
		check_item(r, depth - 1);
	}
}

static void check_whole(struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(b);

	check_item(&r, CW_RECORD_DEPTH);
	assert_int_equal(cw_read_left(&r), 0);
	assert_false(r.short_read);
}

/* ---- the table ---------------------------------------------------------------- */

static int host_send(void *hx, uint64_t conn, struct cw_bytes out)
{
	struct fake *f = hx;

	assert_int_equal(conn, CONN);
	keep(&f->sent, 0, 0, NULL, out);
	return 0;
}

static int multi(const struct fake *f)
{
	return (f->desc->caps & CW_CAP_MULTI_DEVICE) != 0;
}

/* 0 is the only device, as for the real host. */
static struct fake_device *device_of(struct fake *f, uint64_t handle)
{
	size_t i, n = 0, last = 0;

	for (i = 0; i < f->device_count; i++) {
		n += f->devices[i].attached != 0;
		last = f->devices[i].attached ? i : last;
	}
	if (handle == 0)
		return n == 1 ? &f->devices[last] : NULL;
	return handle >= DEVICE && handle < DEVICE + f->device_count ? &f->devices[handle - DEVICE] : NULL;
}

static int host_emit(void *hx, uint64_t conn, uint64_t device, uint64_t ticket, struct cw_bytes record)
{
	struct fake *f = hx;
	struct fake_device *d;
	struct cw_record rec;

	assert_int_equal(conn, CONN);
	d = device_of(f, device);
	assert_true(d != NULL || device == 0);
	if (d == NULL || !d->attached)
		return CW_EOFFLINE;
	if (f->emit_error != 0)
		return f->emit_error;
	assert_true(cw_record_read(record, &rec));
	if (rec.kind != CW_KIND_RAW)
		check_whole(rec.body);
	keep(&f->records, ticket, 0, d->identity, record);
	return 0;
}

static int host_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	struct fake *f = hx;

	assert_int_equal(conn, CONN);
	assert_true(f->asked.count < (multi(f) ? CW_ASKED_MOST : 1u));
	assert_true(who->identity.len > 0 && who->identity.len <= CW_IDENTITY_MAX);
	check_text(who->identity);
	if (who->facts.len > 0)
		check_whole(who->facts);
	memcpy(f->identity, who->identity.ptr, who->identity.len);
	f->identity[who->identity.len] = 0;
	cw_asked_add(&f->asked, who);
	cw_free(f->facts);
	f->facts = cw_memdup(who->facts.ptr, who->facts.len);
	f->facts_len = who->facts.len;
	return 0;
}

static int host_detach(void *hx, uint64_t conn, uint64_t device)
{
	struct fake *f = hx;
	struct fake_device *d = device_of(f, device);

	assert_int_equal(conn, CONN);
	assert_non_null(d);
	if (d->attached)
		d->attached = 2;
	return 0;
}

static int host_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay_ms)
{
	struct fake *f = hx;

	assert_int_equal(conn, CONN);
	assert_true(timer < FAKE_TIMERS);
	f->due[timer] = delay_ms == CW_TIMER_STOP ? 0 : f->mono_ms + delay_ms + (delay_ms == 0);
	return 0;
}

static int host_command_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct fake *f = hx;

	assert_int_equal(conn, CONN);
	assert_true(code > 0);
	if (reply.len > 0 && !f->rrpc)
		check_whole(reply);
	keep(&f->done, id, code, NULL, reply);
	return 0;
}

static int host_command_extend(void *hx, uint64_t conn, uint64_t id, uint64_t delay_ms)
{
	struct fake *f = hx;

	(void)conn;
	(void)id;
	f->extend_ms = delay_ms;
	return 0;
}

static int host_device_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes state)
{
	struct fake *f = hx;

	assert_int_equal(conn, CONN);
	(void)device;
	assert_true(state.len <= CW_SAVE_MAX);
	memcpy(f->saved, state.ptr, state.len);
	f->saved_len = state.len;
	f->saves++;
	return 0;
}

static int host_close(void *hx, uint64_t conn, uint64_t delay_ms, const char *reason)
{
	struct fake *f = hx;

	(void)conn;
	f->closing = 1;
	f->close_ms = delay_ms;
	snprintf(f->close_reason, sizeof(f->close_reason), "%s", reason);
	return 0;
}

static int host_rescan(void *hx, uint64_t conn, int final)
{
	struct fake *f = hx;

	assert_int_equal(conn, CONN);
	f->scan = 1;
	f->final |= final;
	return 0;
}

static void host_log(void *hx, uint64_t conn, int level, const char *text)
{
	(void)hx;
	(void)conn;
	(void)level;
	(void)text;
}

static void host_count(void *hx, uint32_t index, uint64_t n)
{
	struct fake *f = hx;

	assert_true(index < 64);
	f->counters[index] += n;
}

static int host_field(void *hx, uint64_t conn, int group, const char *name, struct cw_bytes value, size_t offset, size_t length)
{
	struct fake *f = hx;

	(void)conn;
	(void)offset;
	(void)length;
	check_whole(value);
	keep(&f->fields, (uint64_t)group, 0, name, value);
	return 0;
}

static int host_charge(void *hx, uint64_t conn, int64_t bytes)
{
	struct fake *f = hx;

	(void)conn;
	if (bytes > 0 && f->charged + bytes > f->cap)
		return CW_ELIMIT;
	f->charged += bytes;
	assert_true(f->charged >= 0);
	return 0;
}

static int host_want_block(void *hx, uint64_t conn, uint64_t id, uint64_t offset, size_t length)
{
	struct fake *f = hx;

	(void)conn;
	f->block_id = id;
	f->block_offset = offset;
	f->block_len = length;
	return 0;
}

static int host_attach_open(void *hx, uint64_t conn, uint64_t device, const char *suffix, uint64_t *ret_attachment)
{
	struct fake *f = hx;

	(void)conn;
	(void)device;
	if (f->no_attachments)
		return CW_EUNSUPPORTED;
	snprintf(f->attachment_suffix, sizeof(f->attachment_suffix), "%s", suffix);
	cw_free(f->attachment);
	f->attachment = NULL;
	f->attachment_len = 0;
	f->attachments_open++;
	*ret_attachment = 5;
	return 0;
}

static int host_attach_write(void *hx, uint64_t conn, uint64_t attachment, struct cw_bytes data)
{
	struct fake *f = hx;
	uint8_t *bigger = cw_realloc(f->attachment, f->attachment_len + data.len + 1);

	(void)conn;
	assert_int_equal(attachment, 5);
	assert_non_null(bigger);
	f->attachment = bigger;
	if (data.len > 0)
		memcpy(f->attachment + f->attachment_len, data.ptr, data.len);
	f->attachment_len += data.len;
	return 0;
}

static int host_attach_close(void *hx, uint64_t conn, uint64_t attachment, int keep_it, char name[64])
{
	struct fake *f = hx;

	(void)conn;
	assert_int_equal(attachment, 5);
	f->attachments_open--;
	f->attachment_kept = keep_it;
	snprintf(name, 64, "file-1.%s", f->attachment_suffix);
	return 0;
}

static void host_foreign(void *hx, uint64_t conn, struct cw_bytes identity)
{
	struct fake *f = hx;

	(void)conn;
	(void)identity;
	f->foreign++;
}

static int host_linger(void *hx, uint64_t conn, uint64_t device, uint64_t delay_ms)
{
	struct fake *f = hx;

	assert_int_equal(conn, CONN);
	assert_non_null(device_of(f, device));
	assert_true(delay_ms <= CW_LINGER_MOST_MS);
	f->linger_ms = delay_ms;
	return 0;
}

static const struct cw_host table = {
	.size = sizeof(struct cw_host), .abi = CW_ABI,
	.send = host_send, .emit = host_emit, .identify = host_identify, .detach = host_detach, .timer = host_timer,
	.command_done = host_command_done, .command_extend = host_command_extend, .device_save = host_device_save, .close = host_close,
	.rescan = host_rescan, .log = host_log, .count = host_count, .field = host_field, .charge = host_charge,
	.want_block = host_want_block, .attach_open = host_attach_open, .attach_write = host_attach_write,
	.attach_close = host_attach_close, .foreign = host_foreign, .linger = host_linger,
};

/* ---- settings ----------------------------------------------------------------- */

static int64_t quantity(const char *text)
{
	static const struct { const char *unit; int64_t factor; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { "KiB", 1024 }, { "MiB", 1 << 20 }, { "", 1 },
	};
	char *end;
	int64_t v = strtoll(text, &end, 10);
	size_t i;

	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].unit) == 0)
			return v * units[i].factor;
	fail_msg("unit of %s", text);
	return 0;
}

static void put_fields(struct cw_writer *w, const struct cw_conf_field *fields, struct cw_bytes over)
{
	cw_put_map(w);
	for (; fields->name != NULL; fields++) {
		struct cw_bytes given = cw_map_get(over, fields->name);

		cw_put_text(w, fields->name);
		if (fields->type == CW_FIELD_TABLE)
			put_fields(w, fields->fields, given);
		else if (given.len > 0)
			cw_write_bytes(w, given);
		else if (fields->type == CW_FIELD_BOOL)
			cw_put_bool(w, strcmp(fields->initial, "true") == 0);
		else if (fields->type == CW_FIELD_INT || fields->type == CW_FIELD_DURATION || fields->type == CW_FIELD_BYTES)
			cw_put_int(w, quantity(fields->initial));
		else if (fields->type == CW_FIELD_LIST)
			(cw_put_array(w), cw_put_end(w));
		else if (fields->type == CW_FIELD_MAP)
			(cw_put_map(w), cw_put_end(w));
		else
			cw_put_text(w, fields->initial);
	}
	cw_put_end(w);
}

uint8_t *fake_settings(const struct cw_conf_field *fields, const char *json, size_t *ret_len)
{
	uint8_t *over = NULL, *buf = cw_alloc(65536);
	struct cw_writer w = cw_writer_of(buf, 65536);
	size_t n = 0;

	assert_non_null(buf);
	if (json != NULL)
		assert_int_equal(cw_json_to_item(cw_bytes_text(json), &over, &n), 0);
	put_fields(&w, fields, cw_bytes_of(over, n));
	assert_false(w.overflow);
	cw_free(over);
	*ret_len = w.len;
	return buf;
}

/* ---- driving ------------------------------------------------------------------ */

static struct cw_event event_of(struct fake *f, uint32_t kind)
{
	struct fake_device *only = device_of(f, 0);
	struct cw_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.size = sizeof(ev);
	ev.kind = kind;
	ev.flags = f->flags;
	ev.conn = CONN;
	ev.device = only == NULL ? 0 : DEVICE + (uint64_t)(only - f->devices);
	ev.now_ms = f->now_ms;
	ev.mono_ms = f->mono_ms;
	ev.conn_ctx = &f->conn_ctx;
	ev.device_ctx = only == NULL ? NULL : &only->ctx;
	ev.identity = only == NULL ? cw_bytes_of(NULL, 0) : cw_bytes_text(only->identity);
	ev.conf = f->conf;
	ev.peer = cw_bytes_text("192.0.2.7:4711");
	ev.listener = cw_bytes_text("test");
	return ev;
}

static struct cw_event event_about(struct fake *f, uint32_t kind, struct fake_device *d)
{
	struct cw_event ev = event_of(f, kind);

	ev.device = DEVICE + (uint64_t)(d - f->devices);
	ev.device_ctx = &d->ctx;
	ev.identity = cw_bytes_text(d->identity);
	ev.product_key = cw_bytes_text("a1Product");
	ev.device_name = cw_bytes_text("d1");
	return ev;
}

static void deliver(struct fake *f, struct cw_event *ev);

/* What the host does after each call of the decoder. */
static void run_frames(struct fake *f);

static void after(struct fake *f)
{
	size_t i;

	for (i = 0; i < f->device_count; i++)
		if (f->devices[i].attached == 2)
			fake_detach(f, i);
	if (f->auto_settle) {
		for (i = 0; i < f->records.n; i++) {
			uint64_t t = f->records.v[i].tag;
			size_t k;

			if (t == 0)
				continue;
			for (k = i; k < f->records.n; k++)
				if (f->records.v[k].tag == t)
					f->records.v[k].tag = 0;
			fake_settle(f, t, CW_SETTLED_DONE);
		}
	}
	if (f->auto_identify && f->asked.count > 0)
		fake_identified(f);
}

static void deliver(struct fake *f, struct cw_event *ev)
{
	int rc = f->desc->decoder->event(f->d, ev);

	if (rc == CW_ECLOSED)
		f->closing = 1;
	after(f);
	if (f->scan)
		run_frames(f);
}

void fake_init(struct fake *f, const struct cw_plugin_desc *desc, const char *settings)
{
	char why[200] = "";
	uint8_t *encoded;
	size_t n;

	memset(f, 0, sizeof(*f));
	f->desc = desc;
	f->host = table;
	f->now_ms = 1795248000000; /* 2026-11-21 08:00 UTC */
	f->mono_ms = 1000000;
	f->cap = 8 << 20;
	f->auto_identify = 1;
	f->auto_settle = 1;
	f->in = cw_alloc(1 << 20);
	assert_non_null(f->in);
	assert_int_equal(desc->decoder->create(&f->host, f, &f->d), 0);
	if (desc->conf != NULL) {
		encoded = fake_settings(desc->conf, settings, &n);
		if (desc->decoder->settings(f->d, cw_bytes_of(encoded, n), why, sizeof(why), &f->conf) < 0)
			fail_msg("%s", why);
		cw_free(encoded);
	}
}

void fake_open(struct fake *f)
{
	struct cw_event ev = event_of(f, CW_EV_OPEN);

	f->open = 1;
	f->closing = 0;
	f->close_ms = 0;
	deliver(f, &ev);
}

/* The first `length` bytes held, as a copy of just the frame: reading beyond it shows under the sanitizer. */
static void decode_frame(struct fake *f, const struct cw_event *ev, size_t length)
{
	uint8_t *frame = cw_memdup(f->in, length);
	int rc;

	assert_non_null(frame);
	rc = f->desc->decoder->decode(f->d, ev, cw_bytes_of(frame, length));
	cw_free(frame);
	f->again_len = rc == CW_EBUSY ? length : 0;
	if (rc == CW_EBUSY) {
		assert_true(f->asked.count > 0);
	} else {
		f->good += rc == 0;
		f->bad += rc != 0;
		f->in_len -= length;
		memmove(f->in, f->in + length, f->in_len);
	}
	after(f);
}

/* As in the host: until a delayed close is due, frames are decoded. */
static int ends(const struct fake *f)
{
	return f->closing && f->close_ms == 0;
}

static void run_frames(struct fake *f)
{
	if (f->running)
		return;
	f->running = 1;
	f->wait_due = 0;
	while (f->in_len > 0 && f->asked.count == 0 && !ends(f)) {
		struct cw_event ev = event_of(f, CW_EV_DATA);
		struct cw_cut cut = { 0, f->again_len, 0, 0 };

		if (f->again_drop) {
			f->in_len -= f->again_len;
			memmove(f->in, f->in + f->again_len, f->in_len);
			f->again_len = 0;
			f->again_drop = 0;
			continue;
		}
		if (f->again_len == 0) {
			ev.flags |= f->final ? CW_EVF_FINAL : 0;
			assert_int_equal(f->desc->decoder->frame(f->d, &ev, cw_bytes_of(f->in, f->in_len), &cut), 0);
			ev.flags = f->flags;
			assert_true(cut.skip <= f->in_len && cut.length <= f->in_len - cut.skip);
			f->noise += cut.skip;
			f->in_len -= cut.skip;
			memmove(f->in, f->in + cut.skip, f->in_len);
		}
		if (cut.length > 0)
			decode_frame(f, &ev, cut.length);
		else if (cut.skip == 0) {
			f->wait_due = cut.wait_ms == 0 || f->final ? 0 : f->mono_ms + cut.wait_ms;
			break;
		}
	}
	f->running = 0;
	if (f->asked.count > 0 || ends(f))
		return;
	f->final = 0;
	if (f->scan) {
		struct cw_event ev = event_of(f, CW_EV_SCANNED);

		f->scan = 0;
		ev.offset = f->in_len;
		deliver(f, &ev);
	}
}

void fake_feed(struct fake *f, struct cw_bytes bytes)
{
	assert_true(f->in_len + bytes.len <= 1 << 20);
	if (bytes.len > 0)
		memcpy(f->in + f->in_len, bytes.ptr, bytes.len);
	f->in_len += bytes.len;
	run_frames(f);
}

void fake_feed_hex(struct fake *f, const char *hex)
{
	size_t n = strlen(hex) / 2, i;
	uint8_t *b = cw_alloc(n + 1);

	for (i = 0; i < n; i++) {
		unsigned v;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		b[i] = (uint8_t)v;
	}
	fake_feed(f, cw_bytes_of(b, n));
	cw_free(b);
}

static struct fake_device *add_device(struct fake *f, const char *identity)
{
	size_t i;

	for (i = 0; i < f->device_count && strcmp(f->devices[i].identity, identity) != 0; i++)
		;
	if (i == f->device_count) {
		/* The only device of a connection keeps its place, whatever it is called. */
		i = multi(f) || i == 0 ? i : 0;
		assert_true(i < FAKE_DEVICES);
		f->device_count = i + 1 > f->device_count ? i + 1 : f->device_count;
		snprintf(f->devices[i].identity, sizeof(f->devices[i].identity), "%s", identity);
	}
	return &f->devices[i];
}

static void tell_identified(struct fake *f, const char *identity, int attach)
{
	struct fake_device *d = add_device(f, identity);
	struct cw_event ev;

	if (attach)
		d->attached = f->attached = 1;
	ev = event_about(f, CW_EV_IDENTIFIED, d);
	ev.saved = cw_bytes_of(f->saved, f->saved_len);
	if (d->attached)
		ev.flags |= CW_EVF_ATTACHED;
	deliver(f, &ev);
}

void fake_identified(struct fake *f)
{
	char identity[CW_IDENTITY_MAX + 1];
	int64_t flags = cw_asked_take(&f->asked, identity);

	assert_true(flags >= 0);
	if ((flags & CW_IDENTIFY_MEMBERS) != 0) {
		struct cw_event ev = event_of(f, CW_EV_MEMBERS);

		ev.identity = cw_bytes_text(identity);
		deliver(f, &ev);
	} else {
		tell_identified(f, identity, (flags & CW_IDENTIFY_LOOKUP) == 0);
	}
	run_frames(f);
}

void fake_member(struct fake *f, const char *identity)
{
	f->members++;
	tell_identified(f, identity, 1);
}

void fake_members_done(struct fake *f)
{
	char prefix[CW_IDENTITY_MAX + 1];
	struct cw_event ev;

	assert_true((cw_asked_take(&f->asked, prefix) & CW_IDENTIFY_MEMBERS) != 0);
	ev = event_of(f, CW_EV_MEMBERS);
	ev.identity = cw_bytes_text(prefix);
	ev.code = (int)f->members;
	f->members = 0;
	deliver(f, &ev);
	run_frames(f);
}

void fake_detach(struct fake *f, size_t device)
{
	struct fake_device *d = &f->devices[device];
	struct cw_event ev = event_about(f, CW_EV_DETACHED, d);
	size_t i;

	d->attached = f->attached = 0;
	for (i = 0; i < f->device_count; i++)
		f->attached |= f->devices[i].attached != 0;
	deliver(f, &ev);
}

void fake_refused(struct fake *f, int code)
{
	struct cw_event ev = event_of(f, CW_EV_REFUSED);
	char identity[CW_IDENTITY_MAX + 1];

	assert_true(cw_asked_take(&f->asked, identity) >= 0);
	ev.code = code;
	ev.identity = cw_bytes_text(identity);
	if (code == CW_REFUSED_KEPT && f->again_len > 0)
		f->again_drop = 1;
	deliver(f, &ev);
	run_frames(f);
}

void fake_settle(struct fake *f, uint64_t ticket, int code)
{
	struct cw_event ev = event_of(f, CW_EV_SETTLED);

	ev.ticket = ticket;
	ev.code = code;
	deliver(f, &ev);
}

static uint64_t next_timer(const struct fake *f)
{
	uint64_t first = UINT64_MAX;
	int i;

	for (i = 0; i < FAKE_TIMERS; i++)
		if (f->due[i] != 0 && f->due[i] < first)
			first = f->due[i];
	return first;
}

void fake_advance(struct fake *f, uint64_t ms)
{
	uint64_t end = f->mono_ms + ms;

	for (;;) {
		struct cw_event ev;
		int i, first = -1;

		if (f->wait_due != 0 && f->wait_due <= end && next_timer(f) > f->wait_due) {
			f->now_ms += (int64_t)(f->wait_due - f->mono_ms);
			f->mono_ms = f->wait_due;
			f->final = 1;
			run_frames(f);
			continue;
		}
		for (i = 0; i < FAKE_TIMERS; i++)
			if (f->due[i] != 0 && f->due[i] <= end && (first < 0 || f->due[i] < f->due[first]))
				first = i;
		if (first < 0)
			break;
		if (f->due[first] > f->mono_ms) {
			f->now_ms += (int64_t)(f->due[first] - f->mono_ms);
			f->mono_ms = f->due[first];
		}
		f->due[first] = 0;
		ev = event_of(f, CW_EV_TIMER);
		ev.timer = (uint64_t)first;
		deliver(f, &ev);
	}
	f->now_ms += (int64_t)(end - f->mono_ms);
	f->mono_ms = end;
}

static int command(struct fake *f, struct cw_writer *w, uint64_t id, uint64_t deadline_ms)
{
	struct cw_event ev = f->device_count > 0 ? event_about(f, CW_EV_COMMAND, &f->devices[f->target]) : event_of(f, CW_EV_COMMAND);
	int rc;

	assert_false(w->overflow);
	ev.id = id;
	ev.deadline_ms = deadline_ms;
	ev.data = cw_written(w);
	rc = f->desc->decoder->command(f->d, &ev);
	after(f);
	if (f->scan)
		run_frames(f);
	return rc;
}

int fake_command(struct fake *f, unsigned kind, const char *name, const char *body_json, uint64_t id, uint64_t deadline_ms)
{
	uint8_t *body = NULL, *buf = cw_alloc(1 << 20);
	struct cw_writer w = cw_writer_of(buf, 1 << 20);
	size_t n = 0;
	int rc;

	f->rrpc = kind == CW_KIND_RRPC;
	cw_record_begin(&w, kind);
	if (name != NULL)
		cw_record_name(&w, name);
	if (body_json != NULL) {
		if (cw_json_to_item(cw_bytes_text(body_json), &body, &n) != 0)
			fail_msg("no JSON: %s", body_json);
		cw_put_uint(&w, 7);
		cw_write_raw(&w, body, n);
	}
	cw_record_end(&w);
	rc = command(f, &w, id, deadline_ms);
	cw_free(body);
	cw_free(buf);
	return rc;
}

int fake_command_bytes(struct fake *f, unsigned kind, const char *name, struct cw_bytes body, uint64_t id, uint64_t deadline_ms)
{
	uint8_t *buf = cw_alloc(body.len + 256);
	struct cw_writer w = cw_writer_of(buf, body.len + 256);
	int rc;

	f->rrpc = kind == CW_KIND_RRPC;
	cw_record_begin(&w, kind);
	cw_record_name(&w, name);
	cw_record_body_bytes(&w, body);
	cw_record_end(&w);
	rc = command(f, &w, id, deadline_ms);
	cw_free(buf);
	return rc;
}

void fake_event(struct fake *f, uint32_t kind, uint64_t id)
{
	struct cw_event ev = event_of(f, kind);

	ev.id = id;
	if (kind == CW_EV_DETACHED)
		fake_detach(f, 0);
	else
		deliver(f, &ev);
}

void fake_block(struct fake *f, struct cw_bytes data, int code)
{
	struct cw_event ev = event_of(f, CW_EV_BLOCK);

	ev.id = f->block_id;
	ev.offset = f->block_offset;
	ev.data = data;
	ev.code = code;
	deliver(f, &ev);
}

void fake_close(struct fake *f)
{
	struct cw_event ev;
	size_t i;

	for (i = 0; i < f->device_count; i++)
		if (f->devices[i].attached)
			fake_detach(f, i);
	ev = event_of(f, CW_EV_CLOSED);
	deliver(f, &ev);
	assert_null(f->conn_ctx);
	assert_int_equal(f->charged, 0);
	assert_int_equal(f->attachments_open, 0);
	memset(f->due, 0, sizeof(f->due));
	f->in_len = 0;
	f->asked.count = 0;
	f->again_len = 0;
	f->wait_due = 0;
	f->open = 0;
	memset(f->devices, 0, sizeof(f->devices));
	f->device_count = 0;
}

void fake_fini(struct fake *f)
{
	if (f->open)
		fake_close(f);
	fake_forget(f);
	if (f->conf != NULL)
		f->desc->decoder->settings_free(f->d, f->conf);
	f->desc->decoder->destroy(f->d);
	cw_free(f->in);
	cw_free(f->facts);
	cw_free(f->attachment);
}

/* ---- looking ------------------------------------------------------------------ */

const char *fake_hex(const struct fake_blob *b)
{
	static char text[8][16384];
	static int turn;
	char *out = text[turn++ % 8];
	size_t i;

	if (b == NULL)
		return "(none)";
	for (i = 0; i < b->len && 2 * i + 2 < sizeof(text[0]); i++)
		sprintf(out + 2 * i, "%02x", b->ptr[i]);
	out[2 * i] = 0;
	return out;
}

const char *fake_json(struct cw_bytes item)
{
	static char text[8][65536];
	static int turn;
	char *out = text[turn++ % 8], *made = NULL;
	size_t n;

	if (item.len == 0 || cw_json_from_item(item, sizeof(text[0]) - 1, &made, &n) != 0)
		return "(none)";
	memcpy(out, made, n + 1);
	cw_free(made);
	return out;
}

const char *fake_record(struct fake *f, unsigned kind, const char *name)
{
	struct fake_blob *b = fake_next(&f->records);
	struct cw_record rec;

	if (b == NULL)
		return "(none)";
	assert_true(cw_record_read(cw_bytes_of(b->ptr, b->len), &rec));
	if (rec.kind != kind || (name != NULL && !cw_bytes_equal(rec.name, cw_bytes_text(name))))
		return "(another)";
	return fake_json(rec.body);
}

/* A number as long double: 64 bits of integer and all decimals we use are exact enough. */
static int number(const struct cw_item *it, long double *ret)
{
	int e;

	switch (it->type) {
	case CW_ITEM_INT: *ret = (long double)it->i; return 1;
	case CW_ITEM_UINT: *ret = (long double)it->u; return 1;
	case CW_ITEM_DOUBLE: *ret = (long double)it->d; return 1;
	case CW_ITEM_DECIMAL:
		*ret = (long double)it->i;
		for (e = it->exponent; e > 0; e--)
			*ret *= 10;
		for (e = it->exponent; e < 0; e++)
			*ret /= 10;
		return 1;
	default: return 0;
	}
}

static size_t members(struct cw_bytes map)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);
	size_t n = 0;

	while (cw_item_more(&r, &m) && cw_read_whole_item(&r).len > 0)
		n++;
	return n;
}

static int same_maps(struct cw_bytes a, struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(a);
	struct cw_item m = cw_read_item(&r);
	char key[128];

	if (members(a) != members(b))
		return 0;
	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);
		struct cw_bytes va, vb;

		(void)cw_item_more(&r, &m);
		va = cw_read_whole_item(&r);
		if (k.s.len >= sizeof(key))
			return 0;
		memcpy(key, k.s.ptr, k.s.len);
		key[k.s.len] = 0;
		vb = cw_map_get(b, key);
		if (vb.len == 0 || !fake_same(va, vb))
			return 0;
	}
	return 1;
}

int fake_same(struct cw_bytes a, struct cw_bytes b)
{
	struct cw_reader ra = cw_reader_of(a), rb = cw_reader_of(b);
	struct cw_item x = cw_read_item(&ra), y = cw_read_item(&rb);
	long double nx, ny;

	if (number(&x, &nx) && number(&y, &ny))
		return fabsl(nx - ny) <= 1e-12L * fabsl(nx);
	if (x.type != y.type)
		return 0;
	if (x.type == CW_ITEM_MAP)
		return same_maps(a, b);
	if (x.type == CW_ITEM_ARRAY) {
		int more;

		while ((more = cw_item_more(&ra, &x)) == cw_item_more(&rb, &y) && more)
			if (!fake_same(cw_read_whole_item(&ra), cw_read_whole_item(&rb)))
				return 0;
		return !more && ra.pos == ra.len && rb.pos == rb.len;
	}
	if (x.type == CW_ITEM_BOOL)
		return x.i == y.i;
	return x.type == CW_ITEM_NULL || cw_bytes_equal(x.s, y.s);
}

int fake_equals(struct cw_bytes item, const char *json)
{
	uint8_t *want = NULL;
	size_t n;
	int same;

	if (cw_json_to_item(cw_bytes_text(json), &want, &n) != 0)
		fail_msg("no JSON: %s", json);
	same = fake_same(item, cw_bytes_of(want, n));
	cw_free(want);
	return same;
}
