/*
 * fuzz_jt808.c - bytes of a hostile terminal into the JT/T 808 decoder, through framing,
 * login, parts, commands and the decode tool's view. The first byte chooses what is on.
 */
#include <stdint.h>
#include <stdlib.h>

#include <causeway/plugin.h>

static int identifying, lookup;

static int z_send(void *hx, uint64_t conn, struct cw_bytes out) { (void)hx; (void)conn; return out.len > 0 && out.ptr[0] != 0x7e ? abort(), 0 : 0; }

/* The host checks every record; here the reader must at least get through. */
static void walk(struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(b);

	if (cw_read_whole_item(&r).len != b.len)
		abort();
}

static int z_emit(void *hx, uint64_t conn, uint64_t device, uint64_t t, struct cw_bytes rec)
{
	struct cw_record out;

	(void)hx;
	(void)conn;
	(void)device;
	(void)t;
	if (!cw_record_read(rec, &out))
		abort();
	return 0;
}

static int z_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	(void)hx;
	(void)conn;
	identifying = 1;
	lookup = (who->flags & CW_IDENTIFY_LOOKUP) != 0;
	if (who->facts.len > 0)
		walk(who->facts);
	return 0;
}

static int z_detach(void *hx, uint64_t conn, uint64_t device) { (void)hx; (void)conn; (void)device; return 0; }
static int z_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay) { (void)hx; (void)conn; (void)timer; (void)delay; return 0; }
static int z_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes r) { (void)hx; (void)conn; (void)id; (void)code; if (r.len > 0) walk(r); return 0; }
static int z_extend(void *hx, uint64_t conn, uint64_t id, uint64_t ms) { (void)hx; (void)conn; (void)id; (void)ms; return 0; }
static int z_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes s) { (void)hx; (void)conn; (void)device; walk(s); return 0; }
static int z_close(void *hx, uint64_t conn, uint64_t ms, const char *why) { (void)hx; (void)conn; (void)ms; (void)why; return 0; }
static int z_field(void *hx, uint64_t conn, int g, const char *n, struct cw_bytes v, size_t o, size_t l) { (void)hx; (void)conn; (void)g; (void)n; (void)o; (void)l; walk(v); return 0; }
static void z_count(void *hx, uint32_t i, uint64_t n) { (void)hx; (void)i; (void)n; }
static int z_charge(void *hx, uint64_t conn, int64_t n) { static int64_t sum; (void)hx; (void)conn; if (n > 0 && sum + n > 1 << 20) return CW_ELIMIT; sum += n; if (sum < 0) abort(); return 0; }
static int z_block(void *hx, uint64_t conn, uint64_t id, uint64_t o, size_t l) { (void)hx; (void)conn; (void)id; (void)o; (void)l; return 0; }
static int z_aopen(void *hx, uint64_t conn, uint64_t dev, const char *s, uint64_t *a) { (void)hx; (void)conn; (void)dev; (void)s; *a = 1; return 0; }
static int z_awrite(void *hx, uint64_t conn, uint64_t a, struct cw_bytes d) { (void)hx; (void)conn; (void)a; (void)d; return 0; }
static int z_aclose(void *hx, uint64_t conn, uint64_t a, int k, char n[64]) { (void)hx; (void)conn; (void)a; (void)k; n[0] = 'f'; n[1] = 0; return 0; }
static void z_foreign(void *hx, uint64_t conn, struct cw_bytes i) { (void)hx; (void)conn; (void)i; }

static const struct cw_host host = {
	.size = sizeof(host), .abi = CW_ABI, .send = z_send, .emit = z_emit, .identify = z_identify, .detach = z_detach, .timer = z_timer,
	.command_done = z_done, .command_extend = z_extend, .device_save = z_save, .close = z_close, .field = z_field, .count = z_count,
	.charge = z_charge, .want_block = z_block, .attach_open = z_aopen, .attach_write = z_awrite, .attach_close = z_aclose, .foreign = z_foreign,
};

static const uint8_t strict_on[] = "\xa2\x66" "strict" "\xf5" "\x6a" "identifyBy" "\x63" "any";
static const uint8_t lenient[] = "\xa3\x6d" "joinUnescaped" "\xf5" "\x6a" "identifyBy" "\x63" "any" "\x6a" "authPolicy" "\x63" "any";

static void answer_identify(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, void **dctx)
{
	while (identifying) {
		identifying = 0;
		ev->kind = CW_EV_IDENTIFIED;
		ev->device = 1;
		ev->device_ctx = dctx;
		ev->flags = lookup ? 0 : CW_EVF_ATTACHED;
		ops->event(d, ev);
		ev->flags = 0;
	}
}

/* Mode 8: the bytes are contents, each behind a length of two bytes; checksum and header length are made right, so that
 * what is inside is reached at all. */
static void contents(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, void **dctx, unsigned mode, const uint8_t *data, size_t size)
{
	static uint8_t frame[2200];

	while (size > 14) {
		size_t n = (size_t)(data[0] << 8 | data[1]) % 1040, len = 0, i, head;
		uint8_t sum = 0, content[1100];

		data += 2;
		size -= 2;
		if (n > size)
			n = size;
		if (n < 13)
			return;
		memcpy(content, data, n);
		head = (content[2] & 0x40 ? 17u : 12u) + (content[2] & 0x20 ? 4u : 0u);
		if (n >= head) {
			content[2] = (uint8_t)((content[2] & 0xfc) | ((n - head) >> 8));
			content[3] = (uint8_t)(n - head);
		}
		for (i = 0; i < n; i++)
			sum ^= content[i];
		content[n] = sum;
		frame[len++] = 0x7e;
		for (i = 0; i <= n; i++) {
			if (content[i] == 0x7e || content[i] == 0x7d) {
				frame[len++] = 0x7d;
				frame[len++] = content[i] == 0x7e ? 2 : 1;
			} else {
				frame[len++] = content[i];
			}
		}
		frame[len++] = 0x7e;
		ev->kind = CW_EV_DATA;
		ev->flags = mode & 2 ? CW_EVF_INSPECT : 0;
		ops->decode(d, ev, cw_bytes_of(frame, len));
		answer_identify(ops, d, ev, dctx);
		data += n;
		size -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cw_decoder_ops *ops = cw_plugin_entry()->decoder;
	struct cw_decoder *d;
	void *conf = NULL, *ctx = NULL, *dctx = NULL;
	char why[100];
	struct cw_event ev = { .size = sizeof(ev), .kind = CW_EV_OPEN, .conn = 1, .conn_ctx = &ctx, .now_ms = 1795248000000, .mono_ms = 1000 };
	unsigned mode;

	if (size < 2 || size > 65536)
		return 0;
	mode = data[0];
	data++;
	size--;
	if (ops->create(&host, NULL, &d) < 0)
		return 0;
	if (ops->settings(d, mode & 1 ? cw_bytes_of(strict_on, sizeof(strict_on) - 1) : cw_bytes_of(lenient, sizeof(lenient) - 1), why, sizeof(why), &conf) < 0)
		abort();
	ev.conf = conf;
	ev.flags = mode & 2 ? CW_EVF_INSPECT : 0;
	ops->event(d, &ev);
	if (mode & 8) {
		contents(ops, d, &ev, &dctx, mode, data, size);
		size = 0;
	}
	while (size > 0) {
		struct cw_cut cut;

		ev.kind = CW_EV_DATA;
		ev.flags = mode & 2 ? CW_EVF_INSPECT : 0;
		ops->frame(d, &ev, cw_bytes_of(data, size), &cut);
		if (cut.skip > size || cut.length > size - cut.skip)
			abort();
		if (cut.skip == 0 && cut.length == 0)
			break;
		if (cut.length > 0) {
			ops->decode(d, &ev, cw_bytes_of(data + cut.skip, cut.length));
			answer_identify(ops, d, &ev, &dctx);
		}
		data += cut.skip + cut.length;
		size -= cut.skip + cut.length;
	}
	/* What is left is a command's body. */
	if (size > 0 && ev.device != 0 && (mode & 4)) {
		ev.kind = CW_EV_COMMAND;
		ev.id = 5;
		ev.deadline_ms = 7500;
		ev.data = cw_bytes_of(data, size);
		ops->command(d, &ev);
	}
	ev.kind = CW_EV_TIMER;
	for (ev.timer = 1; ev.timer <= 2; ev.timer++) {
		ev.mono_ms += 20000;
		ops->event(d, &ev);
	}
	ev.kind = CW_EV_CLOSED;
	ops->event(d, &ev);
	identifying = 0;
	ops->settings_free(d, conf);
	ops->destroy(d);
	return 0;
}
