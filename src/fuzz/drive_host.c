/* drive_host.c - the host's table of a fuzz case: what a decoder says, held to host.h; see drive.h. */
#include "drive_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct drive fuzz;

/* ---- saying ------------------------------------------------------------------------------ */

void fuzz_talk(const char *fmt, ...)
{
	char line[400];
	va_list ap;

	if (fuzz.run->talk == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fuzz.run->talk(line);
}

void fuzz_talk_bytes(const char *what, struct cw_bytes b)
{
	char hex[321];
	size_t i;

	if (fuzz.run->talk == NULL)
		return;
	for (i = 0; i < b.len && i < 160; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", b.ptr[i]);
	hex[2 * i] = '\0';
	fuzz_talk("%s %s%s (%zu bytes)", what, hex, i < b.len ? ".." : "", b.len);
}

void fuzz_broken(const char *fmt, ...)
{
	va_list ap;

	fputs("a rule is broken: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

void fuzz_see(unsigned what, const void *more, size_t len)
{
	uint32_t h = 2166136261u ^ what;
	const uint8_t *p = more;
	uint8_t *at;

	if (fuzz.run->seen == NULL)
		return;
	for (h *= 16777619u; len > 0; len--)
		h = (h ^ *p++) * 16777619u;
	at = &fuzz.run->seen[(h ^ h >> 16) % CW_FUZZ_SEEN];
	if (*at < 255)
		++*at;
}

unsigned fuzz_magnitude(uint64_t n)
{
	unsigned bits = 0;

	for (; n > 0; n >>= 1)
		bits++;
	return bits;
}

/* ---- encoded items ----------------------------------------------------------------------------- */

int fuzz_utf8(struct cw_bytes b)
{
	size_t i = 0, n;

	while (i < b.len) {
		uint8_t c = b.ptr[i];
		uint32_t v;

		n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
		if (n == 0 || n > b.len - i)
			return 0;
		v = n == 1 ? c : c & (0xffu >> (n + 1));
		for (size_t k = 1; k < n; k++) {
			if ((b.ptr[i + k] & 0xc0) != 0x80)
				return 0;
			v = v << 6 | (b.ptr[i + k] & 0x3fu);
		}
		if ((n == 3 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) || (n == 4 && (v < 0x10000 || v > 0x10ffff)))
			return 0;
		i += n;
	}
	return 1;
}

int fuzz_whole(struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(b);

	return b.len > 0 && cw_read_whole_item(&r).len == b.len;
}

/* ---- the host's table ----------------------------------------------------------------------------- */

static struct device *device_of(uint64_t handle)
{
	size_t i;

	for (i = 0; i < fuzz.device_count; i++)
		if (fuzz.devices[i].handle == handle)
			return &fuzz.devices[i];
	return NULL;
}

static int bad_call(uint64_t conn)
{
	if (!fuzz.in_entry)
		fuzz_broken("a host call from outside of the decoder's entries");
	return conn != CONN || !fuzz.open;
}

static int h_send(void *hx, uint64_t conn, struct cw_bytes out)
{
	(void)hx;
	if (bad_call(conn))
		return CW_EINVAL;
	fuzz_talk_bytes("  it sends", out);
	fuzz_see(1 + 64 * fuzz_magnitude(out.len), out.ptr, out.len < 4 ? out.len : 4);
	return fuzz.options & CW_FUZZ_DEAF ? CW_ELIMIT : 0;
}

static int h_emit(void *hx, uint64_t conn, uint64_t device, uint64_t ticket, struct cw_bytes record)
{
	struct cw_record rec;
	size_t i;

	(void)hx;
	if (bad_call(conn))
		return CW_EINVAL;
	if (device != 0 ? device_of(device) == NULL : fuzz.device_count != 1 && !(fuzz.options & CW_FUZZ_INSPECT))
		return fuzz.device_count == 0 ? CW_EOFFLINE : CW_EINVAL;
	if (!fuzz_whole(record) || !cw_record_read(record, &rec))
		fuzz_broken("emit() of %zu bytes that are no record (record.h)", record.len);
	fuzz_talk_bytes("  it emits", record);
	fuzz_see(2 + 64 * (rec.kind + 64 * rec.flags), rec.name.ptr, rec.name.len);
	fuzz_see(3, rec.body.ptr, rec.body.len < 6 ? rec.body.len : 6);
	for (i = 0; i < fuzz.ticket_count; i++)
		if (fuzz.tickets[i] == ticket)
			return 0;
	if (ticket != 0 && fuzz.ticket_count == TICKETS_MOST)
		return CW_EBUSY;
	if (ticket != 0)
		fuzz.tickets[fuzz.ticket_count++] = ticket;
	return 0;
}

static int h_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	struct cw_bytes id = who->identity;
	size_t i;

	(void)hx;
	if (bad_call(conn) || id.len == 0 || id.len > CW_IDENTITY_MAX || !fuzz_utf8(id) || who->flags & ~CW_IDENTIFY_KNOWN)
		return CW_EINVAL;
	for (i = 0; i < id.len; i++)
		if (id.ptr[i] < 0x20 || id.ptr[i] == 0x7f)
			return CW_EINVAL;
	if (fuzz.asked_count == CW_ASKED_MOST || (fuzz.asked_count > 0 && !(fuzz.run->desc->caps & CW_CAP_MULTI_DEVICE)))
		return CW_EBUSY;
	if (who->facts.len > 0 && !fuzz_whole(who->facts))
		fuzz_broken("identify() with facts that are no encoded map");
	fuzz_talk("  it asks who \"%.*s\" is", (int)id.len, (const char *)id.ptr);
	fuzz_see(4 + 64 * who->flags, NULL, 0);
	memcpy(fuzz.asked[fuzz.asked_count].identity, id.ptr, id.len);
	fuzz.asked[fuzz.asked_count].who = *who;
	fuzz.asked[fuzz.asked_count++].who.identity.len = id.len;
	return 0;
}

static int h_detach(void *hx, uint64_t conn, uint64_t device)
{
	struct device *dev = device_of(device);

	(void)hx;
	if (bad_call(conn) || dev == NULL)
		return CW_EINVAL;
	fuzz_see(5, NULL, 0);
	dev->leaving = 1;
	return 0;
}

static int h_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay_ms)
{
	size_t i;

	(void)hx;
	if (bad_call(conn))
		return CW_EINVAL;
	for (i = 0; i < fuzz.timer_count && fuzz.timers[i].id != timer; i++)
		;
	if (delay_ms == CW_TIMER_STOP) {
		if (i < fuzz.timer_count)
			fuzz.timers[i] = fuzz.timers[--fuzz.timer_count];
		return 0;
	}
	if (i == TIMERS_MOST)
		return CW_ELIMIT;
	fuzz_see(6 + 64 * fuzz_magnitude(delay_ms), &timer, sizeof(timer));
	fuzz.timers[i].id = timer;
	fuzz.timers[i].due = fuzz.mono_ms + (delay_ms > 86400000u * 365u ? 86400000u * 365u : delay_ms);
	fuzz.timer_count += i == fuzz.timer_count;
	return 0;
}

size_t fuzz_command_at(uint64_t id)
{
	size_t i;

	for (i = 0; i < fuzz.command_count && fuzz.commands[i].id != id; i++)
		;
	return i;
}

void fuzz_forget_command(size_t i)
{
	memmove(&fuzz.commands[i], &fuzz.commands[i + 1], (--fuzz.command_count - i) * sizeof(fuzz.commands[0]));
}

static int h_command_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes reply)
{
	size_t i = fuzz_command_at(id);

	(void)hx;
	if (bad_call(conn))
		return CW_EINVAL;
	if (i == fuzz.command_count)
		fuzz_broken("command_done() for %llu, which is not open: it was ended or cancelled before, or never given", (unsigned long long)id);
	fuzz_forget_command(i);
	fuzz_talk("  it ends command %llu with %d", (unsigned long long)id, code);
	fuzz_see(7 + 64 * fuzz_magnitude(reply.len), &code, sizeof(code));
	return 0;
}

static int h_command_extend(void *hx, uint64_t conn, uint64_t id, uint64_t delay_ms)
{
	(void)hx;
	(void)delay_ms;
	return bad_call(conn) || fuzz_command_at(id) == fuzz.command_count ? CW_EINVAL : 0;
}

static int h_device_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes state)
{
	(void)hx;
	if (bad_call(conn) || (device != 0 && device_of(device) == NULL) || fuzz.device_count == 0)
		return CW_EINVAL;
	if (state.len > CW_SAVE_MAX)
		return CW_ELIMIT;
	fuzz_see(8 + 64 * fuzz_magnitude(state.len), NULL, 0);
	if (state.len > 0)
		memcpy(fuzz.saved, state.ptr, state.len);
	fuzz.saved_len = state.len;
	return 0;
}

static int h_close(void *hx, uint64_t conn, uint64_t delay_ms, const char *reason)
{
	(void)hx;
	if (bad_call(conn))
		return CW_EINVAL;
	fuzz_talk("  it closes in %llu ms: %s", (unsigned long long)delay_ms, reason == NULL ? "" : reason);
	fuzz_see(9, reason, reason == NULL ? 0 : strlen(reason));
	fuzz.closing = 1;
	return 0;
}

static int h_rescan(void *hx, uint64_t conn, int final)
{
	(void)hx;
	if (bad_call(conn))
		return CW_EINVAL;
	fuzz.scan = 1;
	fuzz.scan_final |= final != 0;
	return 0;
}

static void h_log(void *hx, uint64_t conn, int level, const char *text)
{
	(void)hx;
	(void)conn;
	fuzz_talk("  it says: %s", text);
	fuzz_see(10 + 64 * (unsigned)level, text, strlen(text) < 16 ? strlen(text) : 16);
}

static void h_count(void *hx, uint32_t index, uint64_t n)
{
	(void)hx;
	fuzz_see(11 + 64 * index, NULL, 0);
	fuzz_see(12 + 64 * (index + 256 * fuzz_magnitude(n)), NULL, 0);
}

static int h_field(void *hx, uint64_t conn, int group, const char *name, struct cw_bytes value, size_t offset, size_t length)
{
	(void)hx;
	(void)offset;
	(void)length;
	if (bad_call(conn))
		return CW_EINVAL;
	if (!fuzz_whole(value))
		fuzz_broken("field(\"%s\") with %zu bytes that are no encoded item", name, value.len);
	fuzz_see(13 + 64 * (unsigned)group, name, strlen(name));
	return 0;
}

static int h_charge(void *hx, uint64_t conn, int64_t bytes)
{
	int64_t cap = fuzz.options & CW_FUZZ_SMALL ? 512 : 1 << 20;

	(void)hx;
	if (conn != CONN || !fuzz.open)
		return CW_EINVAL;
	if (fuzz.charged + bytes < 0)
		fuzz_broken("charge() gives back %lld bytes more than were charged", (long long)-(fuzz.charged + bytes));
	if (bytes > 0 && fuzz.charged + bytes > cap)
		return CW_ELIMIT;
	fuzz_see(14 + 64 * fuzz_magnitude((uint64_t)(fuzz.charged + bytes)), NULL, 0);
	fuzz.charged += bytes;
	return 0;
}

static int h_want_block(void *hx, uint64_t conn, uint64_t id, uint64_t offset, size_t length)
{
	(void)hx;
	if (bad_call(conn) || length == 0)
		return CW_EINVAL;
	fuzz_see(15 + 64 * fuzz_magnitude(offset), NULL, 0);
	fuzz.block_id = id;
	fuzz.block_offset = offset;
	return 0;
}

static int h_attach_open(void *hx, uint64_t conn, uint64_t device, const char *suffix, uint64_t *ret_attachment)
{
	(void)hx;
	(void)device;
	if (bad_call(conn))
		return CW_EINVAL;
	fuzz_see(16, suffix, strlen(suffix));
	*ret_attachment = ++fuzz.next_attachment;
	return 0;
}

static int h_attach_write(void *hx, uint64_t conn, uint64_t attachment, struct cw_bytes data)
{
	(void)hx;
	fuzz_see(17 + 64 * fuzz_magnitude(data.len), NULL, 0);
	return bad_call(conn) || attachment == 0 || attachment > fuzz.next_attachment ? CW_EINVAL : 0;
}

static int h_attach_close(void *hx, uint64_t conn, uint64_t attachment, int keep, char name[64])
{
	(void)hx;
	if (bad_call(conn) || attachment == 0 || attachment > fuzz.next_attachment)
		return CW_EINVAL;
	fuzz_see(18 + 64 * (keep != 0), NULL, 0);
	strcpy(name, "kept");
	return 0;
}

static void h_foreign(void *hx, uint64_t conn, struct cw_bytes identity)
{
	(void)hx;
	(void)conn;
	(void)identity;
	fuzz_see(19, NULL, 0);
}

static int h_linger(void *hx, uint64_t conn, uint64_t device, uint64_t delay_ms)
{
	(void)hx;
	(void)device;
	if (bad_call(conn) || delay_ms > CW_LINGER_MOST_MS)
		return CW_EINVAL;
	fuzz_see(20, NULL, 0);
	return 0;
}

const struct cw_host fuzz_host = {
	.size = sizeof(fuzz_host), .abi = CW_ABI,
	.send = h_send, .emit = h_emit, .identify = h_identify, .detach = h_detach, .timer = h_timer,
	.command_done = h_command_done, .command_extend = h_command_extend, .device_save = h_device_save, .close = h_close,
	.rescan = h_rescan, .log = h_log, .count = h_count, .field = h_field, .charge = h_charge, .want_block = h_want_block,
	.attach_open = h_attach_open, .attach_write = h_attach_write, .attach_close = h_attach_close, .foreign = h_foreign,
	.linger = h_linger,
};
