/*
 * fuzz_modbus.c - bytes of a hostile device into the Modbus decoder: framing, registration, envelopes, answers to what
 * is polled, commands, and the decode tool's view. The first byte chooses channel and view.
 */
#include <stdint.h>
#include <stdlib.h>

#include <causeway/plugin.h>

static int identifying, members, rescans, sent;
static int64_t charged;

static int z_send(void *hx, uint64_t conn, struct cw_bytes out) { (void)hx; (void)conn; sent += out.len > 0; return 0; }

static void walk(struct cw_bytes b)
{
	struct cw_reader r = cw_reader_of(b);

	if (cw_read_whole_item(&r).len != b.len)
		abort();
}

static int z_emit(void *hx, uint64_t conn, uint64_t device, uint64_t t, struct cw_bytes rec)
{
	struct cw_record out;

	(void)hx; (void)conn; (void)device; (void)t;
	if (!cw_record_read(rec, &out))
		abort();
	return 0;
}

static int z_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	(void)hx; (void)conn;
	identifying = 1;
	members = (who->flags & CW_IDENTIFY_MEMBERS) != 0;
	return 0;
}

static int z_linger(void *hx, uint64_t conn, uint64_t device, uint64_t ms) { (void)hx; (void)conn; (void)device; (void)ms; return 0; }
static int z_detach(void *hx, uint64_t conn, uint64_t device) { (void)hx; (void)conn; (void)device; return 0; }
static int z_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay) { (void)hx; (void)conn; (void)timer; (void)delay; return 0; }
static int z_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes r) { (void)hx; (void)conn; (void)id; (void)code; if (r.len > 0) walk(r); return 0; }
static int z_extend(void *hx, uint64_t conn, uint64_t id, uint64_t ms) { (void)hx; (void)conn; (void)id; (void)ms; return 0; }
static int z_close(void *hx, uint64_t conn, uint64_t ms, const char *why) { (void)hx; (void)conn; (void)ms; (void)why; return 0; }
static int z_rescan(void *hx, uint64_t conn, int final) { (void)hx; (void)conn; (void)final; rescans++; return 0; }
static void z_log(void *hx, uint64_t conn, int level, const char *text) { (void)hx; (void)conn; (void)level; (void)text; }
static void z_count(void *hx, uint32_t i, uint64_t n) { (void)hx; (void)i; (void)n; }
static int z_field(void *hx, uint64_t conn, int g, const char *n, struct cw_bytes v, size_t o, size_t l) { (void)hx; (void)conn; (void)g; (void)n; (void)o; (void)l; walk(v); return 0; }
static int z_charge(void *hx, uint64_t conn, int64_t n) { (void)hx; (void)conn; charged += n; if (charged < 0) abort(); return 0; }

static const struct cw_host host = {
	.size = sizeof(host), .abi = CW_ABI, .send = z_send, .emit = z_emit, .identify = z_identify, .detach = z_detach, .linger = z_linger, .timer = z_timer,
	.command_done = z_done, .command_extend = z_extend, .close = z_close, .rescan = z_rescan, .log = z_log, .count = z_count,
	.field = z_field, .charge = z_charge,
};

/* A channel of each kind, with a register map of all sorts of points. */
static struct cw_bytes settings(unsigned mode, uint8_t *buf, size_t size)
{
	static const char *const framings[] = { "auto", "tcp", "rtu", "ascii" };
	static const char *const envelopes[] = { "none", "prot", "ddp", "braces" };
	static const char *const types[] = { "int16", "float32", "uint64", "bcd32", "string", "bit", "float64", "bytes" };
	struct cw_writer w = cw_writer_of(buf, size);
	unsigned i;

	cw_put_map(&w);
	cw_field_text(&w, "framing", framings[mode & 3]);
	cw_field_text(&w, "envelope", envelopes[mode >> 2 & 3]);
	cw_field_text(&w, "unsolicited", mode & 16 ? "assume" : "commandReply");
	cw_field_text(&w, "transactionId", "echo");
	cw_field_bool(&w, "localEcho", mode & 16);
	cw_field_bool(&w, "spreadStart", 0);
	cw_field_int(&w, "settle", 0);
	cw_field_int(&w, "gap", 0);
	cw_field_int(&w, "unit", 1);
	cw_field_map(&w, "registration");
	cw_field_text(&w, "mode", mode & 32 ? "every" : "none");
	cw_field_int(&w, "length", mode & 32 ? 4 : 0);
	cw_put_end(&w);
	cw_field_array(&w, "heartbeats");
	cw_put_map(&w);
	cw_field_text(&w, "text", "ab");
	cw_field_text(&w, "reply", "6162");
	cw_put_end(&w);
	cw_put_end(&w);
	cw_field_text(&w, "profile", "p");
	cw_field_map(&w, "profiles");
	cw_field_map(&w, "p");
	cw_field_array(&w, "points");
	for (i = 0; i < 8; i++) {
		char name[3] = { (char)('a' + i), 0, 0 };

		cw_put_map(&w);
		cw_field_text(&w, "property", name);
		cw_field_text(&w, "area", "holding");
		cw_field_int(&w, "address", i * 8);
		cw_field_text(&w, "type", types[i]);
		cw_field_int(&w, "length", 6);
		cw_field_text(&w, "access", "rw");
		cw_field_text(&w, "charset", i & 1 ? "gbk" : "utf8");
		cw_put_text(&w, "scale");
		cw_put_decimal(&w, 1, -1);
		cw_put_end(&w);
	}
	cw_put_end(&w);
	cw_put_end(&w);
	cw_put_end(&w);
	cw_put_end(&w);
	return cw_written(&w);
}

static void answer(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, void **dctx)
{
	int times = 0;

	while ((identifying || rescans > 0) && times++ < 64) {
		if (identifying) {
			identifying = 0;
			ev->kind = members ? CW_EV_MEMBERS : CW_EV_IDENTIFIED;
			ev->device = members ? 0 : 1;
			ev->device_ctx = members ? NULL : dctx;
			ev->identity = cw_bytes_text("x");
			ev->code = 0;
			ops->event(d, ev);
			ev->device = 1;
			ev->device_ctx = dctx;
		} else {
			rescans = 0;
			ev->kind = CW_EV_SCANNED;
			ops->event(d, ev);
		}
	}
	rescans = identifying = 0;
}

static void feed(const struct cw_decoder_ops *ops, struct cw_decoder *d, struct cw_event *ev, void **dctx, const uint8_t *data, size_t size)
{
	uint32_t base = ev->flags;

	while (size > 0) {
		struct cw_cut cut = { 0, 0, 0, 0 };

		ev->kind = CW_EV_DATA;
		ev->flags = base;
		if (ops->frame(d, ev, cw_bytes_of(data, size), &cut) < 0)
			return;
		if (cut.skip == 0 && cut.length == 0) {
			ev->flags = base | CW_EVF_FINAL;
			if (ops->frame(d, ev, cw_bytes_of(data, size), &cut) < 0)
				return;
			ev->flags = base;
		}
		if (cut.skip > size || cut.length > size - cut.skip)
			abort();
		if (cut.skip == 0 && cut.length == 0)
			return;
		if (cut.length > 0 && ops->decode(d, ev, cw_bytes_of(data + cut.skip, cut.length)) == CW_ECLOSED)
			return;
		answer(ops, d, ev, dctx);
		data += cut.skip + cut.length;
		size -= cut.skip + cut.length;
		ev->mono_ms += 5000;
		ev->kind = CW_EV_TIMER;
		ev->timer = 1;
		ops->event(d, ev);
		answer(ops, d, ev, dctx);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cw_decoder_ops *ops = cw_plugin_entry()->decoder;
	struct cw_event ev = { .size = sizeof(ev), .kind = CW_EV_OPEN, .conn = 1, .now_ms = 1795248000000, .mono_ms = 1000 };
	void *conf = NULL, *ctx = NULL, *dctx = NULL;
	struct cw_decoder *d;
	uint8_t buf[4096];
	char why[200];

	if (size < 2 || size > 8192)
		return 0;
	identifying = rescans = sent = 0;
	charged = 0;
	if (ops->create(&host, NULL, &d) < 0)
		return 0;
	if (ops->settings(d, settings(data[0], buf, sizeof(buf)), why, sizeof(why), &conf) < 0)
		abort();
	ev.conn_ctx = &ctx;
	ev.conf = conf;
	ev.listener = cw_bytes_text("x");
	ev.flags = data[0] & 64 ? CW_EVF_INSPECT : 0;
	ops->event(d, &ev);
	answer(ops, d, &ev, &dctx);
	if (ctx != NULL && (data[0] & 128) && dctx != NULL) { /* a command's body comes first */
		size_t n = data[1] < size - 2 ? data[1] : size - 2;

		ev.kind = CW_EV_COMMAND;
		ev.id = 5;
		ev.deadline_ms = 7500;
		ev.data = cw_bytes_of(data + 2, n);
		ops->command(d, &ev);
		answer(ops, d, &ev, &dctx);
		data += n;
		size -= n;
	}
	if (ctx != NULL)
		feed(ops, d, &ev, &dctx, data + 1, size - 1);
	ev.flags &= CW_EVF_INSPECT;
	ev.kind = CW_EV_CLOSED;
	if (ctx != NULL)
		ops->event(d, &ev);
	if (charged != 0)
		abort();
	ops->settings_free(d, conf);
	ops->destroy(d);
	return 0;
}
