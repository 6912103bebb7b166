/*
 * bench_decoder.c - how fast any plugin's decoder works: frames cut and decoded, records written, answers sent, all
 * through a host that discards. One connection; what the decoder asks is answered at once.
 *
 * usage: bench_decoder PLUGIN.so [--set TEXT] [--member NAME] [--first HEX].. [--poll] [--records N] [--seconds S | --frames N] HEX
 *
 *   --set      settings, HOCON
 *   --member   an identity that ends here is a prefix (members): its one device is called so
 *   --first    sent before what is measured: registration, log-in
 *   --poll     the gateway asks: before each frame, timers run out until the decoder has sent something
 *   --records  so many records each frame must make; fewer is a failure (1; 0: none is wanted after the first frame)
 *   --frames   the work is fixed, as callgrind likes it
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "conf/parse.h"
#include "conf/schema.h"
#include "daemon/config.h"
#include "plugin/load.h"

#define CONN 7u
#define DEVICE 9u
#define TIMERS 16u
#define FRAME_MOST 8192u
#define BATCH 100u
#define STEPS_MOST 1000u

static struct {
	const struct cw_decoder_ops *ops;
	struct cw_decoder *d;
	void *conf, *conn_ctx, *device_ctx;
	const char *member;
	uint64_t mono_ms, due[TIMERS], ticket, sent, sent_before; /* sent_before: the latest frame */
	uint64_t emitted, malformed, bytes;
	char asked[CW_IDENTITY_MAX + 1], identity[CW_IDENTITY_MAX + 1];
	uint32_t asked_flags;
	int asking, scan, final, closing;
} run = { .mono_ms = 1000000 };

/* ---- the host ------------------------------------------------------------------ */

static int h_send(void *hx, uint64_t conn, struct cw_bytes out)
{
	(void)hx;
	(void)conn;
	run.sent++;
	run.bytes += out.len;
	return 0;
}

static int h_emit(void *hx, uint64_t conn, uint64_t device, uint64_t ticket, struct cw_bytes record)
{
	(void)hx;
	(void)conn;
	(void)device;
	run.emitted++;
	run.bytes += record.len;
	run.ticket = ticket;
	return 0;
}

static int h_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	(void)hx;
	(void)conn;
	if (run.asking)
		return CW_EBUSY;
	memcpy(run.asked, who->identity.ptr, who->identity.len);
	run.asked[who->identity.len] = 0;
	run.asked_flags = who->flags;
	run.asking = 1;
	return 0;
}

static int h_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay_ms)
{
	(void)hx;
	(void)conn;
	if (timer >= TIMERS)
		return CW_ELIMIT;
	run.due[timer] = delay_ms == CW_TIMER_STOP ? 0 : run.mono_ms + delay_ms;
	return 0;
}

static int h_rescan(void *hx, uint64_t conn, int final)
{
	(void)hx;
	(void)conn;
	run.scan = 1;
	run.final |= final;
	return 0;
}

static int h_close(void *hx, uint64_t conn, uint64_t delay_ms, const char *reason)
{
	(void)hx;
	(void)conn;
	(void)delay_ms;
	(void)fprintf(stderr, "the decoder closes the connection: %s\n", reason);
	run.closing = 1;
	return 0;
}

static int h_detach(void *hx, uint64_t conn, uint64_t device) { (void)hx; (void)conn; (void)device; return 0; }
static int h_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes b) { (void)hx; (void)conn; (void)id; (void)code; (void)b; return 0; }
static int h_extend(void *hx, uint64_t conn, uint64_t id, uint64_t ms) { (void)hx; (void)conn; (void)id; (void)ms; return 0; }
static int h_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes b) { (void)hx; (void)conn; (void)device; (void)b; return 0; }
static void h_log(void *hx, uint64_t conn, int level, const char *text) { (void)hx; (void)conn; (void)level; (void)text; }
static void h_count(void *hx, uint32_t i, uint64_t n) { (void)hx; (void)i; (void)n; }
static int h_charge(void *hx, uint64_t conn, int64_t n) { (void)hx; (void)conn; (void)n; return 0; }
static void h_foreign(void *hx, uint64_t conn, struct cw_bytes identity) { (void)hx; (void)conn; (void)identity; }

static int h_linger(void *hx, uint64_t conn, uint64_t device, uint64_t delay_ms)
{
	(void)hx;
	(void)conn;
	(void)device;
	(void)delay_ms;
	return 0;
}

static const struct cw_host host = {
	.size = sizeof(host), .abi = CW_ABI, .send = h_send, .emit = h_emit, .identify = h_identify, .detach = h_detach, .timer = h_timer,
	.command_done = h_done, .command_extend = h_extend, .device_save = h_save, .close = h_close, .rescan = h_rescan, .log = h_log,
	.count = h_count, .charge = h_charge, .linger = h_linger, .foreign = h_foreign,
};

/* ---- driving --------------------------------------------------------------------- */

static struct cw_event event_of(uint32_t kind)
{
	struct cw_event ev = { .size = sizeof(ev), .kind = kind, .conn = CONN, .now_ms = 1795248000000, .mono_ms = run.mono_ms,
			       .conn_ctx = &run.conn_ctx, .conf = run.conf };

	ev.peer = cw_bytes_text("192.0.2.7:4711");
	ev.listener = cw_bytes_text("bench");
	if (run.identity[0] == 0)
		return ev;
	ev.device = DEVICE;
	ev.device_ctx = &run.device_ctx;
	ev.identity = cw_bytes_text(run.identity);
	ev.product_key = cw_bytes_text("a1Product");
	ev.device_name = cw_bytes_text("d1");
	return ev;
}

static void tell(struct cw_event *ev)
{
	if (run.ops->event(run.d, ev) == CW_ECLOSED)
		run.closing = 1;
}

/* The outcome of identify(): known, and the only device. */
static void answer_identify(void)
{
	struct cw_event ev;
	int members = (run.asked_flags & CW_IDENTIFY_MEMBERS) != 0;

	run.asking = 0;
	(void)snprintf(run.identity, sizeof(run.identity), "%s%s", run.asked, members ? run.member : "");
	ev = event_of(CW_EV_IDENTIFIED);
	ev.flags = (run.asked_flags & CW_IDENTIFY_LOOKUP) ? 0 : CW_EVF_ATTACHED;
	tell(&ev);
	if (!members)
		return;
	ev = event_of(CW_EV_MEMBERS);
	ev.identity = cw_bytes_text(run.asked);
	ev.code = 1;
	tell(&ev);
}

/* What a host does when an entry has returned. */
static void after(void)
{
	struct cw_event ev;

	while (run.asking || run.scan || run.ticket != 0) {
		if (run.asking) {
			answer_identify();
		} else if (run.ticket != 0) {
			ev = event_of(CW_EV_SETTLED);
			ev.ticket = run.ticket;
			run.ticket = 0;
			tell(&ev);
		} else {
			run.scan = run.final = 0;
			ev = event_of(CW_EV_SCANNED);
			tell(&ev);
		}
	}
}

/* 0, or -1 when the bytes are not one frame that the decoder takes. */
static int feed(struct cw_bytes in)
{
	struct cw_event ev = event_of(CW_EV_DATA);
	struct cw_cut cut = { 0, 0, 0, 0 };
	int rc;

	run.sent_before = run.sent;
	rc = run.ops->frame(run.d, &ev, in, &cut);
	if (rc == 0 && cut.length == 0 && cut.wait_ms > 0) { /* nothing more comes: a registration packet that ends with a pause */
		ev.flags |= CW_EVF_FINAL;
		rc = run.ops->frame(run.d, &ev, in, &cut);
		ev.flags = 0;
	}
	if (rc < 0 || cut.skip != 0 || cut.length != in.len)
		return -1;
	rc = run.ops->decode(run.d, &ev, in);
	if (rc == CW_EBUSY) {
		after();
		ev = event_of(CW_EV_DATA);
		rc = run.ops->decode(run.d, &ev, in);
	}
	after();
	return rc < 0 || run.closing ? -1 : 0;
}

/* Timers run out, the earliest first, until something is sent that the next frame may answer. */
static int until_sent(void)
{
	unsigned i, first, steps;
	struct cw_event ev;

	for (steps = 0; run.sent == run.sent_before && steps < STEPS_MOST; steps++) {
		for (first = TIMERS, i = 0; i < TIMERS; i++)
			if (run.due[i] != 0 && (first == TIMERS || run.due[i] < run.due[first]))
				first = i;
		if (first == TIMERS)
			return -1;
		run.mono_ms = run.due[first] > run.mono_ms ? run.due[first] : run.mono_ms;
		run.due[first] = 0;
		ev = event_of(CW_EV_TIMER);
		ev.timer = first;
		tell(&ev);
		after();
	}
	return run.sent == run.sent_before ? -1 : 0;
}

static int one(struct cw_bytes frame, int poll, uint64_t records)
{
	uint64_t before = run.emitted;

	if ((poll && until_sent() < 0) || feed(frame) < 0)
		return -1;
	return run.emitted - before >= records ? 0 : -1;
}

/* ---- beginning --------------------------------------------------------------------- */

static struct cw_bytes unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	for (; n < FRAME_MOST && sscanf(hex, "%2x", &v) == 1 && hex[1] != 0; hex += 2)
		out[n++] = (uint8_t)v;
	return cw_bytes_of(out, n);
}

static int settings(const struct cw_plugin_desc *desc, const char *text)
{
	struct cw_conf_report report = { 0 };
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { 0 };
	uint8_t *bytes = NULL;
	size_t len = 0;
	char why[300] = "";
	int rc = cw_conf_parse_text("--set", text, strlen(text), NULL, &tree, &msg);

	if (rc == 0) {
		rc = cw_config_settings(desc, NULL, cw_conf_root(tree), NULL, cw_bytes_of(NULL, 0), &bytes, &len, &report);
		if (rc < 0)
			cw_conf_report_msg(&report, &msg);
		cw_conf_report_fini(&report);
		cw_conf_tree_unref(tree);
	}
	if (rc == 0)
		rc = desc->decoder->settings(run.d, cw_bytes_of(bytes, len), why, sizeof(why), &run.conf);
	if (rc < 0)
		(void)fprintf(stderr, "settings: %s\n", why[0] != 0 ? why : msg.text);
	cw_free(bytes);
	return rc;
}

static int begin(const char *path, const char *set)
{
	const struct cw_plugin_desc *desc;
	struct cw_msg msg = { 0 };
	struct cw_event ev;

	if (cw_plugin_load(path, &desc, &msg) < 0) {
		(void)fprintf(stderr, "%s\n", msg.text);
		return -1;
	}
	run.ops = desc->decoder;
	if (run.ops->create(&host, NULL, &run.d) < 0 || settings(desc, set) < 0)
		return -1;
	ev = event_of(CW_EV_OPEN);
	tell(&ev);
	after();
	return 0;
}

static void end(void)
{
	struct cw_event ev = event_of(CW_EV_DETACHED);

	if (run.identity[0] != 0)
		tell(&ev);
	run.identity[0] = 0;
	ev = event_of(CW_EV_CLOSED);
	tell(&ev);
	run.ops->settings_free(run.d, run.conf);
	run.ops->destroy(run.d);
}

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "set", 1, NULL, 's' },    { "member", 1, NULL, 'm' },  { "first", 1, NULL, 'f' },  { "poll", 0, NULL, 'p' },
		{ "records", 1, NULL, 'r' }, { "seconds", 1, NULL, 't' }, { "frames", 1, NULL, 'n' }, { NULL, 0, NULL, 0 },
	};
	static uint8_t firsts[8][FRAME_MOST], bytes[FRAME_MOST];
	struct cw_bytes first[8], frame;
	const char *set = "";
	double seconds = 1, began, spent = 0;
	uint64_t most = 0, done = 0, records = 1;
	unsigned first_count = 0, i;
	int c, poll = 0;

	run.member = "1";
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's': set = optarg; break;
		case 'm': run.member = optarg; break;
		case 'f':
			if (first_count < 8) {
				first[first_count] = unhex(optarg, firsts[first_count]);
				first_count++;
			}
			break;
		case 'p': poll = 1; break;
		case 'r': records = strtoull(optarg, NULL, 10); break;
		case 't': seconds = strtod(optarg, NULL); break;
		case 'n': most = strtoull(optarg, NULL, 10); break;
		default: return 2;
		}
	}
	if (argc - optind != 2 || begin(argv[optind], set) < 0)
		return 2;
	frame = unhex(argv[optind + 1], bytes);
	for (i = 0; i < first_count; i++)
		if (feed(first[i]) < 0)
			return (void)fprintf(stderr, "the decoder did not take frame %u of --first\n", i + 1), 1;
	/* The first one is not measured: it may identify, and its record is wanted in any case. */
	if (one(frame, poll, 1) < 0)
		return (void)fprintf(stderr, "the decoder made no record of the first frame\n"), 1;
	run.emitted = 0;
	for (began = now_s(); most > 0 ? done < most : spent < seconds; spent = now_s() - began) {
		for (i = 0; i < BATCH; i++, done++)
			if (one(frame, poll, records) < 0)
				return (void)fprintf(stderr, "frame %llu was not taken\n", (unsigned long long)done), 1;
	}
	if (records == 0 && run.emitted > 0)
		return (void)fprintf(stderr, "records were made, though nothing changed\n"), 1;
	(void)printf("{\"frames\": %llu, \"seconds\": %.4f, \"per_second\": %.1f, \"records\": %llu, \"sent\": %llu, \"bytes\": %llu, \"frame_bytes\": %zu}\n",
		     (unsigned long long)done, spent, (double)done / (spent > 0 ? spent : 1), (unsigned long long)run.emitted,
		     (unsigned long long)run.sent, (unsigned long long)run.bytes, frame.len);
	end();
	return 0;
}
