/*
 * bench_load.c - plays thousands of JT/T 808 terminals and prints one line of JSON.
 *
 * All modes connect, register and authenticate `--count` terminals first, `--at-once` of them at a time, and
 * measure how long that takes. Then:
 *
 *   login   ends
 *   idle    says so, and holds them until standard input is closed
 *   flood   each keeps up to `--window` messages unanswered, written `--batch` at a time, for `--seconds`
 *   rate    `--rate` messages a second over all of them; how long each waits for its answer
 *
 * With `--pid` the CPU time of that process is read at the beginning and the end of what is measured.
 * The first `--warm-up` milliseconds of flood and rate (500) are not measured. Answers come in the order of the
 * messages, so they are matched by order.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "frame.h"

#define READ_SIZE (64u * 1024u)
#define KEEP_MOST 256u
#define CODE_MOST 32u
#define SAMPLES_MOST 4000000u
#define GIVE_UP_MS 60000u

enum state { NEW, CONNECTING, REGISTERING, AUTHENTICATING, READY, DEAD };

struct terminal {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uint8_t state, phone[6];
	uint16_t serial;
	uint8_t kept_len, code_len;
	uint32_t outstanding, sent, answered; /* sent and answered: positions in `times` */
	uint64_t *times;                      /* when each unanswered one was sent, a ring of `window` */
	uint8_t kept[KEEP_MOST];
};

struct pending {
	uv_write_t req;
	uint8_t data[];
};

static struct {
	const char *mode;
	struct sockaddr_in to;
	uint64_t first;
	unsigned count, at_once, batch, window, per_answer, rate, warm_up_ms;
	double seconds;
	long pid;
	unsigned id; /* of the messages */
} conf = { .first = 13800000001ull,
	   .count = 100,
	   .at_once = 512,
	   .batch = 1,
	   .window = 1,
	   .per_answer = 1,
	   .rate = 1000,
	   .warm_up_ms = 500,
	   .seconds = 2,
	   .id = MSG_HEARTBEAT };

static uv_loop_t *loop;
static struct terminal *terminals;
static uint8_t read_buffer[KEEP_MOST + READ_SIZE], when[6];
static unsigned started, ready, failed;
static int logged_in, measuring, ending;
static uint64_t login_ns, measure_ns, cpu_ticks, answered, refused, unasked, made;
static uint32_t *samples;
static size_t sample_count;
static uv_timer_t warm_timer, end_timer, tick_timer, give_up_timer;
static double owed;
static uint64_t last_tick_ns;
static unsigned next_turn;
static uv_pipe_t input;
static struct rusage usage_before;

static void start_next(void);

/* ---- time and CPU --------------------------------------------------------------- */

/* User and system time of --pid in clock ticks. */
static uint64_t read_cpu(void)
{
	char path[64], text[1024], *p;
	unsigned long long user = 0, sys = 0;
	FILE *f;
	size_t n;

	if (conf.pid == 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", conf.pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')');
	if (p != NULL)
		(void)sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys);
	return user + sys;
}

static double own_cpu(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec - usage_before.ru_utime.tv_sec + u.ru_stime.tv_sec -
			usage_before.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec - usage_before.ru_utime.tv_usec + u.ru_stime.tv_usec -
			usage_before.ru_stime.tv_usec) /
		       1e6;
}

/* ---- results ---------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile(double p)
{
	return sample_count == 0 ? 0 : samples[(size_t)((double)(sample_count - 1) * p)] / 1e3;
}

static void print_result(void)
{
	double seconds = measure_ns == 0 ? 0 : (double)(uv_hrtime() - measure_ns) / 1e9;
	double cpu = (double)(read_cpu() - cpu_ticks) / (double)sysconf(_SC_CLK_TCK);

	if (sample_count > 0)
		qsort(samples, sample_count, sizeof(*samples), by_size);
	(void)printf("{\"mode\": \"%s\", \"count\": %u, \"ready\": %u, \"failed\": %u, \"login_s\": %.4f, \"seconds\": "
		     "%.4f, "
		     "\"messages\": %llu, \"refused\": %llu, \"unasked\": %llu, \"sent\": %llu, \"per_second\": %.1f, "
		     "\"cpu_s\": %.3f, "
		     "\"own_cpu_s\": %.3f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n",
		     conf.mode, conf.count, ready, failed, (double)login_ns / 1e9, seconds,
		     (unsigned long long)answered, (unsigned long long)refused, (unsigned long long)unasked,
		     (unsigned long long)made, seconds > 0 ? (double)answered / seconds : 0, cpu,
		     measuring ? own_cpu() : 0, percentile(0.5), percentile(0.99), percentile(1));
	(void)fflush(stdout);
}

static void finish(void)
{
	print_result();
	_exit(failed > 0 ? 1 : 0); /* thousands of sockets: the system closes them faster than we */
}

/* ---- messages ----------------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
	free(req->data);
}

static void lose(struct terminal *t)
{
	if (t->state == DEAD)
		return;
	t->state = DEAD;
	failed++;
	uv_close((uv_handle_t *)&t->tcp, NULL);
	if (!logged_in)
		start_next();
	if (failed == conf.count)
		finish();
}

static void write_bytes(struct terminal *t, const uint8_t *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
	int n = uv_try_write((uv_stream_t *)&t->tcp, &buf, 1);
	size_t done = n > 0 ? (size_t)n : 0;
	struct pending *p;

	if (n < 0 && n != UV_EAGAIN) {
		lose(t);
		return;
	}
	if (done == len)
		return;
	p = malloc(sizeof(*p) + len - done);
	if (p == NULL)
		abort();
	p->req.data = p;
	memcpy(p->data, data + done, len - done);
	buf = uv_buf_init((char *)p->data, (unsigned)(len - done));
	if (uv_write(&p->req, (uv_stream_t *)&t->tcp, &buf, 1, on_written) < 0)
		free(p);
}

static size_t build_message(struct terminal *t, uint8_t *out)
{
	uint8_t body[28];

	t->times[t->sent++ % conf.window] = uv_hrtime();
	t->outstanding++;
	made++;
	if (conf.id == MSG_HEARTBEAT)
		return build_frame(out, MSG_HEARTBEAT, t->phone, t->serial++, NULL, 0);
	build_position(body, when, (uint32_t)made);
	return build_frame(out, MSG_POSITION, t->phone, t->serial++, body, sizeof(body));
}

static void fill(struct terminal *t)
{
	static uint8_t out[FRAME_MOST * 64];
	size_t len = 0;
	unsigned i;

	while (!ending && t->state == READY && t->outstanding + conf.batch <= conf.window) {
		for (len = 0, i = 0; i < conf.batch; i++)
			len += build_message(t, out + len);
		write_bytes(t, out, len);
	}
}

static void send_register(struct terminal *t)
{
	uint8_t body[44] = { 0, 31, 0, 100, 'M', 'A', 'K', 'E', 'R', 'M', 'O', 'D', 'E', 'L', '-', '1' };
	uint8_t out[FRAME_MOST];

	memcpy(body + 29, "T000001", 7);
	body[36] = 1;
	memcpy(body + 37, "A-12345", 7);
	t->state = REGISTERING;
	write_bytes(t, out, build_frame(out, MSG_REGISTER, t->phone, t->serial++, body, sizeof(body)));
}

static void send_auth(struct terminal *t, const uint8_t *code, size_t len)
{
	uint8_t out[FRAME_MOST];

	t->state = AUTHENTICATING;
	write_bytes(t, out, build_frame(out, MSG_AUTH, t->phone, t->serial++, code, len));
}

/* ---- what comes back ------------------------------------------------------------------ */

static void note_sample(uint64_t sent_ns)
{
	uint64_t us = (uv_hrtime() - sent_ns) / 1000;

	if (sample_count < SAMPLES_MOST)
		samples[sample_count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void on_answer(struct terminal *t, unsigned result)
{
	unsigned i;

	if (t->outstanding < conf.per_answer) {
		unasked++;
		return;
	}
	if (result != 0)
		refused++;
	for (i = 0; i < conf.per_answer; i++) {
		if (measuring && samples != NULL)
			note_sample(t->times[t->answered % conf.window]);
		t->answered++;
		t->outstanding--;
		if (measuring)
			answered++;
	}
}

static void begin_mode(void);

static void on_ready(struct terminal *t)
{
	t->state = READY;
	ready++;
	start_next();
	if (ready + failed == conf.count && !logged_in)
		begin_mode();
}

static void on_frame(struct terminal *t, const uint8_t *in, size_t len)
{
	uint8_t c[FRAME_MOST];
	size_t n = unescape(in, len, c, sizeof(c));
	unsigned id = n > 12 ? get_u16(c) : 0;

	if (id == MSG_REGISTERED && t->state == REGISTERING && n > 16 && c[14] == 0) {
		send_auth(t, c + 15, n - 16);
	} else if (id == MSG_GENERAL && n >= 17) {
		if (t->state == READY)
			on_answer(t, c[16]);
		else if (t->state == AUTHENTICATING && c[16] == 0)
			on_ready(t);
		else
			lose(t);
	} else if (t->state != READY) {
		lose(t);
	}
}

static void take(struct terminal *t, const uint8_t *in, size_t len)
{
	const uint8_t *content;
	size_t n, frame_len;

	while (t->state != DEAD && (n = find_frame(in, len, &content, &frame_len)) > 0) {
		on_frame(t, content, frame_len);
		in += n;
		len -= n;
	}
	t->kept_len = 0;
	if (len > 0 && len < KEEP_MOST) {
		memcpy(t->kept, in, len);
		t->kept_len = (uint8_t)len;
	}
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	*buf = uv_buf_init((char *)read_buffer + KEEP_MOST, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct terminal *t = stream->data;
	uint8_t *in = (uint8_t *)buf->base;

	if (n < 0)
		lose(t);
	if (n <= 0)
		return;
	in -= t->kept_len;
	memcpy(in, t->kept, t->kept_len);
	take(t, in, (size_t)n + t->kept_len);
	if (logged_in && strcmp(conf.mode, "flood") == 0)
		fill(t);
}

/* ---- connecting ------------------------------------------------------------------------ */

static void on_connected(uv_connect_t *req, int status)
{
	struct terminal *t = req->handle->data;

	if (t->state == DEAD)
		return;
	if (status < 0 || uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_read) < 0) {
		lose(t);
		return;
	}
	(void)uv_tcp_nodelay(&t->tcp, 1);
	send_register(t);
}

static void start_next(void)
{
	while (started < conf.count && started < ready + failed + conf.at_once) {
		struct terminal *t = &terminals[started++];

		t->state = CONNECTING;
		put_phone(t->phone, conf.first + (uint64_t)(t - terminals));
		(void)uv_tcp_init(loop, &t->tcp);
		t->tcp.data = t;
		if (uv_tcp_connect(&t->connect, &t->tcp, (struct sockaddr *)&conf.to, on_connected) < 0)
			lose(t);
	}
}

/* ---- modes ------------------------------------------------------------------------------ */

static void on_end(uv_timer_t *timer)
{
	finish();
}

static void on_warm(uv_timer_t *timer)
{
	measuring = 1;
	answered = made = refused = unasked = 0;
	(void)getrusage(RUSAGE_SELF, &usage_before);
	cpu_ticks = read_cpu();
	measure_ns = uv_hrtime();
	(void)uv_timer_start(&end_timer, on_end, (uint64_t)(conf.seconds * 1000), 0);
}

static void on_tick(uv_timer_t *timer)
{
	uint64_t now = uv_hrtime();
	uint8_t out[FRAME_MOST];
	unsigned tried = 0;

	owed += (double)(now - last_tick_ns) / 1e9 * conf.rate;
	last_tick_ns = now;
	while (owed >= 1 && tried++ < 2 * conf.count) {
		struct terminal *t = &terminals[next_turn++ % conf.count];

		if (t->state != READY || t->outstanding >= conf.window)
			continue;
		write_bytes(t, out, build_message(t, out));
		owed -= 1;
	}
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n < 0)
		_exit(failed > 0 ? 1 : 0);
}

static void begin_mode(void)
{
	unsigned i;

	logged_in = 1;
	login_ns = uv_hrtime() - login_ns;
	uv_timer_stop(&give_up_timer);
	if (strcmp(conf.mode, "login") == 0)
		finish();
	if (strcmp(conf.mode, "idle") == 0) {
		print_result();
		(void)uv_pipe_init(loop, &input, 0);
		(void)uv_pipe_open(&input, 0);
		(void)uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
		return;
	}
	(void)uv_timer_start(&warm_timer, on_warm, conf.warm_up_ms, 0);
	if (strcmp(conf.mode, "rate") == 0) {
		samples = malloc(SAMPLES_MOST * sizeof(*samples));
		last_tick_ns = uv_hrtime();
		(void)uv_timer_start(&tick_timer, on_tick, 1, 1);
		return;
	}
	for (i = 0; i < conf.count; i++)
		fill(&terminals[i]);
}

static void on_give_up(uv_timer_t *timer)
{
	(void)fprintf(stderr, "bench_load: %u of %u logged in after %u s\n", ready, conf.count, GIVE_UP_MS / 1000);
	failed = conf.count - ready;
	finish();
}

/* ---- start -------------------------------------------------------------------------------- */

static int usage(void)
{
	(void)fputs(
		"usage: bench_load login|idle|flood|rate --to PORT [--count N] [--at-once N] [--batch N] [--window N]\n"
		"       [--per-answer N] [--rate N] [--seconds S] [--pid PID] [--position] [--first NUMBER] [--warm-up "
		"MS]\n",
		stderr);
	return 2;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", 1, NULL, 't' },       { "count", 1, NULL, 'n' },   { "at-once", 1, NULL, 'c' },
		{ "batch", 1, NULL, 'k' },    { "window", 1, NULL, 'w' },  { "per-answer", 1, NULL, 'a' },
		{ "rate", 1, NULL, 'r' },     { "seconds", 1, NULL, 's' }, { "pid", 1, NULL, 'p' },
		{ "position", 0, NULL, 'x' }, { "first", 1, NULL, 'f' },   { "warm-up", 1, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	int opt, port = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 't': port = atoi(optarg); break;
		case 'n': conf.count = (unsigned)atoi(optarg); break;
		case 'c': conf.at_once = (unsigned)atoi(optarg); break;
		case 'k': conf.batch = (unsigned)atoi(optarg); break;
		case 'w': conf.window = (unsigned)atoi(optarg); break;
		case 'a': conf.per_answer = (unsigned)atoi(optarg); break;
		case 'r': conf.rate = (unsigned)atoi(optarg); break;
		case 's': conf.seconds = atof(optarg); break;
		case 'p': conf.pid = atol(optarg); break;
		case 'x': conf.id = MSG_POSITION; break;
		case 'f': conf.first = strtoull(optarg, NULL, 10); break;
		case 'u': conf.warm_up_ms = (unsigned)atoi(optarg); break;
		default: return -1;
		}
	}
	if (optind + 1 != argc || port == 0 || conf.count == 0 || conf.batch == 0 || conf.batch > 64 ||
	    conf.window < conf.batch)
		return -1;
	conf.mode = argv[optind];
	if (strcmp(conf.mode, "login") != 0 && strcmp(conf.mode, "idle") != 0 && strcmp(conf.mode, "flood") != 0 &&
	    strcmp(conf.mode, "rate") != 0)
		return -1;
	return uv_ip4_addr("127.0.0.1", port, &conf.to);
}

static int make_terminals(void)
{
	struct rlimit limit;
	uint64_t *times;
	unsigned i;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		if (conf.count + 100 > limit.rlim_cur) {
			conf.count = (unsigned)limit.rlim_cur - 100;
			(void)fprintf(
				stderr,
				"bench_load: %u terminals only, for that is what the limit of open files allows\n",
				conf.count);
		}
	}
	terminals = calloc(conf.count, sizeof(*terminals));
	times = calloc((size_t)conf.count * conf.window, sizeof(*times));
	if (terminals == NULL || times == NULL)
		return -1;
	for (i = 0; i < conf.count; i++)
		terminals[i].times = times + (size_t)i * conf.window;
	return 0;
}

int main(int argc, char **argv)
{
	if (parse(argc, argv) < 0)
		return usage();
	if (make_terminals() < 0)
		return 1;
	loop = uv_default_loop();
	put_time(when);
	(void)uv_timer_init(loop, &warm_timer);
	(void)uv_timer_init(loop, &end_timer);
	(void)uv_timer_init(loop, &tick_timer);
	(void)uv_timer_init(loop, &give_up_timer);
	(void)uv_timer_start(&give_up_timer, on_give_up, GIVE_UP_MS, 0);
	cpu_ticks = read_cpu();
	login_ns = uv_hrtime();
	start_next();
	(void)uv_run(loop, UV_RUN_DEFAULT);
	return 1;
}
