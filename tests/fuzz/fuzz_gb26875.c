/*
 * fuzz_gb26875.c - bytes of a hostile device into the GB/T 26875.3 decoder, through framing, identity, components, requests
 * and the decode tool's view. The first byte chooses what is on: 1 other settings, 2 the tool, 4 the rest is a command,
 * 8 the bytes are data units that are framed here, so that what is inside is reached at all, 16 tickets stay open.
 */
#include <stdint.h>
#include <stdlib.h>

#include <causeway/plugin.h>

#define ASKED 128

static struct { char text[CW_IDENTITY_MAX + 1]; size_t len; } asked[ASKED];
static unsigned asked_count, round_no;
static uint64_t tickets[64];
static unsigned ticket_count;

/* The host checks every record; here the reader must at least get through. */
static void walk(struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(b);

	if (cw_read_whole_item(&r).len != b.len)
		abort();
}

static int z_send(void *hx, uint64_t conn, struct cw_bytes out)
{
	(void)hx;
	(void)conn;
	if (out.len < 30 || out.len > 1054 || out.ptr[0] != 0x40 || out.ptr[out.len - 1] != 0x23)
		abort();
	return 0;
}

static int z_emit(void *hx, uint64_t conn, uint64_t device, uint64_t ticket, struct cw_bytes rec)
{
	struct cw_record out;

	(void)hx;
	(void)conn;
	if (device == 0 || !cw_record_read(rec, &out))
		abort();
	if (ticket != 0 && ticket_count < 64 && (ticket_count == 0 || tickets[ticket_count - 1] != ticket))
		tickets[ticket_count++] = ticket;
	return 0;
}

static int z_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	(void)hx;
	(void)conn;
	if (who->facts.len > 0)
		walk(who->facts);
	if (asked_count == ASKED)
		return CW_EBUSY;
	asked[asked_count].len = who->identity.len;
	memcpy(asked[asked_count++].text, who->identity.ptr, who->identity.len);
	return 0;
}

static int z_detach(void *hx, uint64_t conn, uint64_t device) { (void)hx; (void)conn; (void)device; return 0; }
static int z_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay) { (void)hx; (void)conn; (void)timer; (void)delay; return 0; }
static int z_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes r) { (void)hx; (void)conn; (void)id; (void)code; if (r.len > 0) walk(r); return 0; }
static int z_extend(void *hx, uint64_t conn, uint64_t id, uint64_t ms) { (void)hx; (void)conn; (void)id; return ms > 600000 ? abort(), 0 : 0; }
static int z_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes s) { (void)hx; (void)conn; (void)device; walk(s); return 0; }
static int z_close(void *hx, uint64_t conn, uint64_t ms, const char *why) { (void)hx; (void)conn; (void)ms; (void)why; return 0; }
static void z_log(void *hx, uint64_t conn, int level, const char *text) { (void)hx; (void)conn; (void)level; (void)text; }
static int z_field(void *hx, uint64_t conn, int g, const char *n, struct cw_bytes v, size_t o, size_t l) { (void)hx; (void)conn; (void)g; (void)n; (void)o; (void)l; walk(v); return 0; }
static void z_count(void *hx, uint32_t i, uint64_t n) { (void)hx; (void)i; (void)n; }
static int64_t charged;
static int z_charge(void *hx, uint64_t conn, int64_t n) { (void)hx; (void)conn; if (n > 0 && charged + n > 1 << 16) return CW_ELIMIT; charged += n; if (charged < 0) abort(); return 0; }
static void z_foreign(void *hx, uint64_t conn, struct cw_bytes i) { (void)hx; (void)conn; (void)i; }

static const struct cw_host host = {
	.size = sizeof(host), .abi = CW_ABI, .send = z_send, .emit = z_emit, .identify = z_identify, .detach = z_detach, .timer = z_timer,
	.command_done = z_done, .command_extend = z_extend, .device_save = z_save, .close = z_close, .log = z_log, .field = z_field,
	.count = z_count, .charge = z_charge, .foreign = z_foreign,
};

static const uint8_t plain[] = "\xa2\x6a" "components" "\x65" "child" "\x6a" "zeroSource" "\x6b" "destination";
static const uint8_t other[] = "\xa5\x66" "strict" "\xf5" "\x6b" "textCharset" "\x65" "utf-8" "\x6a" "zeroSource" "\x66" "remote" "\x64" "bit0"
                               "\x68" "standard" "\x6d" "componentBits" "\x66" "vendor";

struct run {
	const struct cw_decoder_ops *ops;
	struct cw_decoder *d;
	struct cw_event ev;
	void *ctx, *dctx[ASKED + 1];
	unsigned mode;
	uint64_t utd;
};

/* Every third component is refused; the device never is. */
static void outcomes(struct run *r)
{
	unsigned i, n = asked_count;

	asked_count = 0;
	for (i = 0; i < n; i++) {
		int refused = r->utd != 0 && (round_no++ % 3) == 2;

		r->ev.kind = refused ? CW_EV_REFUSED : CW_EV_IDENTIFIED;
		r->ev.code = CW_REFUSED_UNKNOWN;
		r->ev.device = refused ? 0 : r->utd == 0 ? 1 : 2 + i;
		r->ev.device_ctx = refused ? NULL : &r->dctx[i];
		r->ev.flags = (r->mode & 2 ? CW_EVF_INSPECT : 0) | (refused ? 0 : CW_EVF_ATTACHED);
		r->ev.identity = cw_bytes_of(asked[i].text, asked[i].len);
		r->ops->event(r->d, &r->ev);
		r->utd = 1;
	}
}

static void settle(struct run *r)
{
	unsigned i;

	for (i = 0; i < ticket_count && !(r->mode & 16); i++) {
		r->ev.kind = CW_EV_SETTLED;
		r->ev.ticket = tickets[i];
		r->ev.code = (int32_t)(i & 3);
		r->ops->event(r->d, &r->ev);
	}
	ticket_count = 0;
}

static void decode(struct run *r, struct cw_bytes frame)
{
	int again, rc;

	for (again = 0; again < 16; again++) {
		r->ev.kind = CW_EV_DATA;
		r->ev.flags = r->mode & 2 ? CW_EVF_INSPECT : 0;
		r->ev.mono_ms += 300;
		rc = r->ops->decode(r->d, &r->ev, frame);
		settle(r);
		if (rc != CW_EBUSY)
			break;
		if (asked_count == 0)
			abort();
		outcomes(r);
	}
	outcomes(r);
}

static void units(struct run *r, const uint8_t *data, size_t size)
{
	static uint8_t frame[1100];

	while (size > 4) {
		size_t n = (size_t)(data[0] << 8 | data[1]) % 1025, i;
		uint8_t sum = 0;

		memset(frame, 0, 30);
		frame[26] = data[2] & 15;
		frame[2] = data[3];
		data += 4;
		size -= 4;
		if (n > size)
			n = size;
		frame[0] = frame[1] = 0x40;
		frame[12] = 1;
		frame[18] = 2;
		frame[24] = (uint8_t)n;
		frame[25] = (uint8_t)(n >> 8);
		memcpy(frame + 27, data, n);
		for (i = 2; i < 27 + n; i++)
			sum = (uint8_t)(sum + frame[i]);
		frame[27 + n] = sum;
		frame[28 + n] = frame[29 + n] = 0x23;
		decode(r, cw_bytes_of(frame, 30 + n));
		data += n;
		size -= n;
	}
}

static size_t stream(struct run *r, const uint8_t *data, size_t size)
{
	size_t left = size;

	while (left > 0) {
		struct cw_cut cut = { 0, 0, 0, 0 };

		r->ev.kind = CW_EV_DATA;
		r->ev.flags = r->mode & 2 ? CW_EVF_INSPECT : 0;
		r->ops->frame(r->d, &r->ev, cw_bytes_of(data + size - left, left), &cut);
		if (cut.skip > left || cut.length > left - cut.skip)
			abort();
		if (cut.skip == 0 && cut.length == 0)
			break;
		if (cut.length > 0)
			decode(r, cw_bytes_of(data + size - left + cut.skip, cut.length));
		left -= cut.skip + cut.length;
	}
	return left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = { .ops = cw_plugin_entry()->decoder };
	void *conf = NULL;
	char why[100];
	size_t left = 0;

	if (size < 2 || size > 65536)
		return 0;
	asked_count = ticket_count = round_no = 0;
	r.mode = data[0];
	if (r.ops->create(&host, NULL, &r.d) < 0)
		return 0;
	if (r.ops->settings(r.d, r.mode & 1 ? cw_bytes_of(other, sizeof(other) - 1) : cw_bytes_of(plain, sizeof(plain) - 1), why, sizeof(why), &conf) < 0)
		abort();
	r.ev = (struct cw_event){ .size = sizeof(r.ev), .kind = CW_EV_OPEN, .conn = 1, .conn_ctx = &r.ctx, .now_ms = 1795248000000, .mono_ms = 1000 };
	r.ev.conf = conf;
	r.ev.peer = cw_bytes_text("192.0.2.7:4711");
	r.ops->event(r.d, &r.ev);
	if (r.mode & 8)
		units(&r, data + 1, size - 1);
	else
		left = stream(&r, data + 1, size - 1);
	/* What is left is a command's body. */
	if (left > 0 && r.utd != 0 && (r.mode & 4)) {
		r.ev.kind = CW_EV_COMMAND;
		r.ev.id = 5;
		r.ev.device = 1;
		r.ev.deadline_ms = 7500;
		r.ev.data = cw_bytes_of(data + size - left, left);
		r.ops->command(r.d, &r.ev);
	}
	r.ev.kind = CW_EV_TIMER;
	for (r.ev.timer = 1; r.ev.timer <= 3; r.ev.timer++) {
		r.ev.mono_ms += 20000;
		r.ops->event(r.d, &r.ev);
	}
	r.ev.kind = CW_EV_CLOSED;
	r.ops->event(r.d, &r.ev);
	if (charged != 0)
		abort();
	r.ops->settings_free(r.d, conf);
	r.ops->destroy(r.d);
	return 0;
}
