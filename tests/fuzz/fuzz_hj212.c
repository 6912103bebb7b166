/*
 * fuzz_hj212.c - bytes of a hostile station into the HJ 212 decoder, through framing, identities, data areas cut in
 * pieces, requests and the decode tool's view. The first byte chooses: 1 lenient settings, 2 the tool, 4 each line is a
 * segment that is framed with a right checksum, so that what is inside is reached at all; a line that begins with `!` is
 * the body of a command.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <causeway/plugin.h>

#define DEVICES 4

static struct {
	char identity[DEVICES][CW_IDENTITY_MAX];
	size_t len[DEVICES];
	void *ctx[DEVICES];
	int attached[DEVICES];
	int asked;   /* 1 + device */
	int lookup;
	uint64_t tickets[64];
	unsigned ticket_count;
	int64_t charged;
	uint64_t open[64];
	unsigned open_count;
} z;

/* The host checks every record; here the reader must at least get through. */
static void walk(struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(b);

	if (b.len > 0 && cw_read_whole_item(&r).len != b.len)
		abort();
}

static int z_send(void *hx, uint64_t conn, struct cw_bytes out)
{
	(void)hx;
	(void)conn;
	if (out.len < 12 || memcmp(out.ptr, "##", 2) != 0 || memcmp(out.ptr + out.len - 2, "\r\n", 2) != 0)
		abort();
	return 0;
}

static int z_emit(void *hx, uint64_t conn, uint64_t device, uint64_t ticket, struct cw_bytes rec)
{
	struct cw_record out;

	(void)hx;
	(void)conn;
	if (!cw_record_read(rec, &out) || device == 0 || device > DEVICES || !z.attached[device - 1])
		abort();
	if (ticket != 0 && z.ticket_count < 64)
		z.tickets[z.ticket_count++] = ticket;
	return 0;
}

static int z_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	int i, free_one = -1;

	(void)hx;
	(void)conn;
	if (who->identity.len == 0 || who->identity.len > CW_IDENTITY_MAX || z.asked != 0)
		return CW_EINVAL;
	for (i = 0; i < DEVICES; i++) {
		if (z.len[i] == 0 && free_one < 0)
			free_one = i;
		if (z.len[i] == who->identity.len && memcmp(z.identity[i], who->identity.ptr, z.len[i]) == 0)
			break;
	}
	if (i == DEVICES)
		i = free_one;
	if (i < 0)
		return CW_EBUSY;
	z.len[i] = who->identity.len;
	memcpy(z.identity[i], who->identity.ptr, who->identity.len);
	z.asked = 1 + i;
	z.lookup = (who->flags & CW_IDENTIFY_LOOKUP) != 0;
	return 0;
}

static int z_detach(void *hx, uint64_t conn, uint64_t device) { (void)hx; (void)conn; (void)device; return 0; }
static int z_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay) { (void)hx; (void)conn; (void)timer; (void)delay; return 0; }

static int z_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes r)
{
	unsigned i;

	(void)hx;
	(void)conn;
	(void)code;
	walk(r);
	for (i = 0; i < z.open_count && z.open[i] != id; i++)
		;
	if (i == z.open_count)
		abort(); /* ended twice, or never begun */
	z.open[i] = z.open[--z.open_count];
	return 0;
}

static int z_extend(void *hx, uint64_t conn, uint64_t id, uint64_t ms) { (void)hx; (void)conn; (void)id; if (ms > 600000) abort(); return 0; }
static int z_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes s) { (void)hx; (void)conn; (void)device; walk(s); return 0; }
static int z_close(void *hx, uint64_t conn, uint64_t ms, const char *why) { (void)hx; (void)conn; (void)ms; (void)why; return 0; }
static void z_log(void *hx, uint64_t conn, int level, const char *text) { (void)hx; (void)conn; (void)level; if (strlen(text) > 500) abort(); }
static int z_field(void *hx, uint64_t conn, int g, const char *n, struct cw_bytes v, size_t o, size_t l) { (void)hx; (void)conn; (void)g; (void)n; (void)o; (void)l; walk(v); return 0; }
static void z_count(void *hx, uint32_t i, uint64_t n) { (void)hx; (void)i; (void)n; }

static int z_charge(void *hx, uint64_t conn, int64_t n)
{
	(void)hx;
	(void)conn;
	if (n > 0 && z.charged + n > 1 << 18)
		return CW_ELIMIT;
	z.charged += n;
	if (z.charged < 0)
		abort();
	return 0;
}

static const struct cw_host host = {
	.size = sizeof(host), .abi = CW_ABI, .send = z_send, .emit = z_emit, .identify = z_identify, .detach = z_detach, .timer = z_timer,
	.command_done = z_done, .command_extend = z_extend, .device_save = z_save, .close = z_close, .log = z_log, .field = z_field,
	.count = z_count, .charge = z_charge,
};

static void about(struct cw_event *ev, int i)
{
	ev->device = i < 0 ? 0 : (uint64_t)i + 1;
	ev->device_ctx = i < 0 ? NULL : &z.ctx[i];
	ev->identity = i < 0 ? cw_bytes_of(NULL, 0) : cw_bytes_of(z.identity[i], z.len[i]);
}

static void one_frame(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, unsigned mode, struct cw_bytes frame)
{
	int again;

	for (again = 0; again < 4; again++) {
		int rc;

		ev->kind = CW_EV_DATA;
		ev->flags = mode & 2 ? CW_EVF_INSPECT : 0;
		about(ev, -1);
		rc = ops->decode(d, ev, frame);
		if (z.asked != 0) {
			int i = z.asked - 1;

			z.asked = 0;
			ev->kind = CW_EV_IDENTIFIED;
			about(ev, i);
			z.attached[i] |= !z.lookup;
			ev->flags |= z.attached[i] ? CW_EVF_ATTACHED : 0;
			ops->event(d, ev);
		}
		while (z.ticket_count > 0) {
			about(ev, -1);
			ev->kind = CW_EV_SETTLED;
			ev->flags = mode & 2 ? CW_EVF_INSPECT : 0;
			ev->ticket = z.tickets[--z.ticket_count];
			ev->code = (int32_t)(ev->ticket % 4);
			ops->event(d, ev);
		}
		if (rc != CW_EBUSY)
			break;
	}
	if (again == 4)
		abort(); /* for ever */
	ev->mono_ms += 1000;
}

static void command(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, struct cw_bytes body)
{
	static uint64_t id;

	if (!z.attached[0] || z.open_count == 64)
		return;
	ev->kind = CW_EV_COMMAND;
	ev->flags = 0;
	about(ev, 0);
	ev->id = z.open[z.open_count++] = ++id;
	ev->deadline_ms = 7500;
	ev->data = body;
	if (ops->command(d, ev) != 0)
		z.open_count--;
	ev->data = cw_bytes_of(NULL, 0);
}

static unsigned crc(const uint8_t *p, size_t n)
{
	unsigned reg = 0xffff, bit;

	while (n-- > 0) {
		reg = (reg >> 8) ^ *p++;
		for (bit = 0; bit < 8; bit++)
			reg = reg & 1 ? reg >> 1 ^ 0xa001 : reg >> 1;
	}
	return reg;
}

static void lines(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, unsigned mode, const uint8_t *data, size_t size)
{
	static uint8_t frame[4200];

	while (size > 0) {
		const uint8_t *nl = memchr(data, '\n', size);
		size_t n = nl == NULL ? size : (size_t)(nl - data), skip = nl == NULL ? n : n + 1;
		char text[16];

		if (n > 4096)
			n = 4096;
		if (n > 0 && data[0] == '!') {
			command(ops, d, ev, cw_bytes_of(data + 1, n - 1));
		} else {
			snprintf(text, sizeof(text), "##%04u", (unsigned)n);
			memcpy(frame, text, 6);
			memcpy(frame + 6, data, n);
			snprintf(text, sizeof(text), "%04X\r\n", crc(data, n));
			memcpy(frame + 6 + n, text, 6);
			one_frame(ops, d, ev, mode, cw_bytes_of(frame, n + 12));
		}
		data += skip;
		size -= skip;
	}
}

static void stream(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, unsigned mode, const uint8_t *data, size_t size)
{
	while (size > 0) {
		struct cw_cut cut = { 0, 0, 0, 0 };

		ev->kind = CW_EV_DATA;
		ev->flags = mode & 8 ? CW_EVF_FINAL : 0;
		ops->frame(d, ev, cw_bytes_of(data, size), &cut);
		if (cut.skip > size || cut.length > size - cut.skip)
			abort();
		if (cut.skip == 0 && cut.length == 0)
			break;
		if (cut.length > 0)
			one_frame(ops, d, ev, mode, cw_bytes_of(data + cut.skip, cut.length));
		data += cut.skip + cut.length;
		size -= cut.skip + cut.length;
	}
}

/* {"deviations": {..}, "repeatedFactors": "array", "mapCodes": true, "factorNames": true, "markedAsNull": true} */
static const uint8_t lenient[] = "\xa5\x6a" "deviations" "\xa3\x6b" "lengthWrong" "\x66" "accept" "\x69" "crcModbus" "\x64" "warn" "\x69" "crcUnused"
                                 "\x66" "accept" "\x6f" "repeatedFactors" "\x65" "array" "\x68" "mapCodes" "\xf5" "\x6b" "factorNames" "\xf5" "\x6c" "markedAsNull" "\xf5";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cw_decoder_ops *ops = cw_plugin_entry()->decoder;
	struct cw_decoder *d;
	void *conf = NULL, *ctx = NULL;
	char why[200];
	struct cw_event ev = { .size = sizeof(ev), .kind = CW_EV_OPEN, .conn = 1, .conn_ctx = &ctx, .now_ms = 1795248000000, .mono_ms = 1000 };
	int i;

	if (size < 2 || size > 65536)
		return 0;
	memset(&z, 0, sizeof(z));
	if (ops->create(&host, NULL, &d) < 0)
		return 0;
	if (ops->settings(d, data[0] & 1 ? cw_bytes_of(lenient, sizeof(lenient) - 1) : cw_bytes_of("\xa0", 1), why, sizeof(why), &conf) < 0)
		abort();
	ev.conf = conf;
	ev.flags = data[0] & 2 ? CW_EVF_INSPECT : 0;
	ops->event(d, &ev);
	if (data[0] & 4)
		lines(ops, d, &ev, data[0], data + 1, size - 1);
	else
		stream(ops, d, &ev, data[0], data + 1, size - 1);
	ev.flags = 0;
	for (i = 0; i < 6; i++) {
		about(&ev, -1);
		ev.kind = CW_EV_TIMER;
		ev.timer = 1;
		ev.mono_ms += 20000;
		ops->event(d, &ev);
	}
	for (i = 0; i < DEVICES; i++) {
		about(&ev, i);
		ev.kind = CW_EV_DETACHED;
		if (z.ctx[i] != NULL)
			ops->event(d, &ev);
	}
	about(&ev, -1);
	ev.kind = CW_EV_CLOSED;
	ops->event(d, &ev);
	if (z.charged != 0)
		abort();
	ops->settings_free(d, conf);
	ops->destroy(d);
	return 0;
}
