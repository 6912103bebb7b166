/*
 * bench_jt808.c - how fast a position frame becomes a record: cut, decoded, written, answered.
 *
 * usage: bench_jt808 [SECONDS | --frames N]; with --frames the work is fixed, as callgrind likes it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <causeway/plugin.h>

static uint64_t sent, emitted, bytes;
static uint64_t ticket;
static int identifying;

static int b_send(void *hx, uint64_t conn, struct cw_bytes out) { (void)hx; (void)conn; sent++; bytes += out.len; return 0; }
static int b_emit(void *hx, uint64_t conn, uint64_t device, uint64_t t, struct cw_bytes rec)
{
	(void)hx;
	(void)conn;
	(void)device;
	emitted++;
	bytes += rec.len;
	ticket = t;
	return 0;
}
static int b_identify(void *hx, uint64_t conn, const struct cw_identify *who) { (void)hx; (void)conn; (void)who; identifying = 1; return 0; }
static int b_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay) { (void)hx; (void)conn; (void)timer; (void)delay; return 0; }
static int b_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes s) { (void)hx; (void)conn; (void)device; (void)s; return 0; }
static void b_count(void *hx, uint32_t i, uint64_t n) { (void)hx; (void)i; (void)n; }
static int b_charge(void *hx, uint64_t conn, int64_t n) { (void)hx; (void)conn; (void)n; return 0; }

static const struct cw_host host = {
	.size = sizeof(host), .abi = CW_ABI, .send = b_send, .emit = b_emit, .identify = b_identify, .timer = b_timer, .device_save = b_save,
	.count = b_count, .charge = b_charge,
};

/* 0x0200 of 2013 with five items, and the 0x0102 before it. */
static const char position[] = "7e0200003a013800000001000a000000000000000301597fa806cc015800800258000826112115590001040000" "02f50202001603020258300119310109" "00" "7e";

static size_t build(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v, x = 0;

	for (hex += 2; hex[0] != 0 && sscanf(hex, "%2x", &v) == 1 && hex[2] != 0; hex += 2)
		out[1 + n++] = (uint8_t)v;
	/* The checksum and the length are ours to set: the text above has room for the first. */
	n--;
	out[0] = 0x7e;
	out[3] = (uint8_t)((n - 12) >> 8);
	out[4] = (uint8_t)(n - 12);
	for (size_t i = 1; i <= n; i++)
		x ^= out[i];
	out[1 + n] = (uint8_t)x;
	out[2 + n] = 0x7e;
	return n + 3;
}

int main(int argc, char **argv)
{
	const struct cw_decoder_ops *ops = cw_plugin_entry()->decoder;
	static const uint8_t any[] = "\xa1\x6a" "identifyBy" "\x63" "any";
	struct cw_decoder *d;
	void *conf, *ctx = NULL, *dctx = NULL;
	struct cw_event ev = { .size = sizeof(ev), .kind = CW_EV_OPEN, .conn = 1, .conn_ctx = &ctx, .now_ms = 1795248000000 };
	uint8_t frame[256];
	size_t n = build(position, frame);
	double seconds = argc > 1 && argv[1][0] != '-' ? atof(argv[1]) : 1.0, spent = 0;
	uint64_t most = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, done = 0;
	struct timespec a, b;
	char why[100];

	if (ops->create(&host, NULL, &d) < 0 || ops->settings(d, cw_bytes_of(any, sizeof(any) - 1), why, sizeof(why), &conf) < 0)
		return 1;
	ev.conf = conf;
	ops->event(d, &ev);
	ev.kind = CW_EV_DATA;
	ops->decode(d, &ev, cw_bytes_of(frame, n));
	if (!identifying)
		return 1;
	ev.kind = CW_EV_IDENTIFIED;
	ev.flags = CW_EVF_ATTACHED;
	ev.device = 1;
	ev.device_ctx = &dctx;
	ops->event(d, &ev);
	clock_gettime(CLOCK_MONOTONIC, &a);
	while (most > 0 ? done < most : spent < seconds) {
		for (int i = 0; i < 1000; i++, done++) {
			struct cw_cut cut;

			ev.kind = CW_EV_DATA;
			ops->frame(d, &ev, cw_bytes_of(frame, n), &cut);
			if (cut.length != n || ops->decode(d, &ev, cw_bytes_of(frame, n)) < 0)
				return 1;
			ev.kind = CW_EV_SETTLED;
			ev.ticket = ticket;
			ops->event(d, &ev);
		}
		clock_gettime(CLOCK_MONOTONIC, &b);
		spent = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	}
	printf("%llu position frames in %.2f s: %.0f ns each (%llu records, %llu answers, %llu bytes out)\n", (unsigned long long)done, spent,
	       spent * 1e9 / (double)done, (unsigned long long)emitted, (unsigned long long)sent, (unsigned long long)bytes);
	ev.kind = CW_EV_CLOSED;
	ops->event(d, &ev);
	ops->settings_free(d, conf);
	ops->destroy(d);
	return emitted < done;
}
