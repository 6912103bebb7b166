/*
 * cmd_replay.c - `causeway plugin replay PATH.so CAPTURE`, and the same with two versions (--diff).
 *
 * A decoder runs in a child process: when it crashes, the parent says at which bytes.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/plugin/plugin.h"
#include "cli/plugin/replay.h"
#include "conform/heap.h"

#define SAID_MOST (1u << 30)

/* What the child leaves behind for the parent. */
struct shared {
	volatile uint32_t at;
	int rc; /* of cw_replay_run(), or 1: it never came back */
	struct cw_replay_totals totals;
	struct cw_msg msg;
};

struct run {
	const char *path;
	FILE *out;      /* where what is said goes; for a comparison with its steps */
	int with_steps, silent;
	struct shared *shared;
	int signal;
};

struct job {
	struct cw_capture *capture;
	struct cw_capture_how from;
	struct cw_replay_how how;
	char sets[16384];
	size_t sets_len;
	const char *plugin_dir, *other;
	int summary;
};

/* ---- one run ------------------------------------------------------------------------------- */

static void on_said(void *arg, uint32_t step, const char *text, size_t len)
{
	struct run *run = arg;
	uint32_t head[2] = { step, (uint32_t)len };

	if (run->silent)
		return;
	if (run->with_steps)
		fwrite(head, sizeof(head), 1, run->out);
	fwrite(text, 1, len, run->out);
}

static void child(struct job *job, struct run *run)
{
	const struct cw_plugin_desc *desc;
	struct shared *s = run->shared;

	int rc;

	cw_log_setup(CW_LOG_ERROR, 0, 2);
	rc = cw_plugin_find(run->path, job->plugin_dir, &desc, &s->msg);
	if (rc == 0) {
		/* Its random numbers are the same in every run, or two versions would differ in each code they make. */
		if (strchr(run->path, '/') != NULL && heap_hook(run->path) == 0)
			random_again();
		rc = cw_replay_run(desc, job->capture, &job->how, on_said, run, &s->at, &s->totals, &s->msg);
	}
	if (fflush(run->out) != 0 && rc == 0)
		rc = cw_fail(&s->msg, CW_EINVAL, "cannot write what it says: %s", strerror(errno));
	s->rc = rc;
	_exit(0);
}

/* 0: it came back; the outcome is in run->shared. */
static int run_child(struct job *job, struct run *run)
{
	int status = 0;
	pid_t pid;

	run->shared = mmap(NULL, sizeof(*run->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->shared == MAP_FAILED)
		return CW_ENOMEM;
	run->shared->rc = 1;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return CW_ENOMEM;
	if (pid == 0)
		child(job, run);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		run->signal = WTERMSIG(status);
	return 0;
}

static void print_event(const struct job *job, uint32_t at, FILE *f)
{
	static const char *const kinds[] = { "open", "in", "out", "gap", "recorded", "close" };
	const struct cw_seen *e;
	struct cw_bytes b;
	char when[25];
	size_t i;

	if (at >= job->capture->count)
		return;
	e = &job->capture->events[at];
	b = cw_seen_bytes(job->capture, e);
	cw_clock_format(e->time_ms, when);
	fprintf(f, "%s %s %s ", when, job->capture->conns[e->conn].name, kinds[e->kind]);
	for (i = 0; i < b.len && i < 2048 && e->kind != CW_SEEN_NOTE; i++)
		fprintf(f, "%02x", b.ptr[i]);
	fprintf(f, "%s\n", i < b.len && e->kind != CW_SEEN_NOTE ? ".." : "");
}

/* Why there is no result; 1: there is one. */
static int judge_run(const struct job *job, const struct run *run)
{
	const struct shared *s = run->shared;

	if (s->rc == 0)
		return 1;
	if (s->rc < 0) {
		fprintf(stderr, "causeway plugin replay: %s\n", s->msg.text);
		return 0;
	}
	if (run->signal != 0)
		fprintf(stderr, "causeway plugin replay: %s died of signal %d (%s) at event %u of the capture:\n", run->path, run->signal,
		        strsignal(run->signal), s->at);
	else
		fprintf(stderr, "causeway plugin replay: %s ended the process at event %u of the capture:\n", run->path, s->at);
	print_event(job, s->at, stderr);
	return 0;
}

/* ---- the end of it ------------------------------------------------------------------------------ */

struct number {
	const char *key, *text;
	uint64_t v;
};

static void print_summary(const struct job *job, const struct cw_replay_totals *t)
{
	const struct cw_capture *c = job->capture;
	const struct number all[] = {
		{ "connections", "connections", t->connections },
		{ "upBytes", "bytes from devices", t->up_bytes },
		{ "frames", "frames", t->frames },
		{ "refused", "frames refused", t->refused },
		{ "noiseBytes", "bytes of noise", t->noise_bytes },
		{ "records", "records", t->records },
		{ "refusedIdentities", "identities not known", t->refused_identities },
		{ "answersSame", "answers as in the capture", t->same },
		{ "answersOther", "answers the capture has not", t->other },
		{ "answersMissing", "answers only the capture has", t->missing },
		{ "answersUnjudged", "answers, the capture has no such direction", t->unjudged },
		{ "gaps", "gaps in the capture", t->gaps },
		{ "afterCloseBytes", "bytes after the decoder had closed", t->after_close },
		{ "commandsNotReplayed", "commands of the platform, not replayed", t->not_replayed },
		{ "packets", "packets", c->packets },
		{ "packetsRetransmitted", "packets sent twice", c->retransmitted },
		{ "packetsFiltered", "packets of other ports, or datagrams for a protocol without", c->filtered },
		{ "packetsOther", "packets neither TCP nor UDP, or of an unknown link", c->other },
		{ "packetsFragments", "fragments of IP, not put together", c->fragments },
		{ "packetsDamaged", "packets damaged or cut off", c->damaged },
	};
	size_t i;

	if (job->how.json)
		fputs("{\"what\":\"summary\"", stdout);
	else
		printf("%s:\n", c->format);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (job->how.json)
			printf(",\"%s\":%llu", all[i].key, (unsigned long long)all[i].v);
		else if (all[i].v > 0 || i < 6)
			printf("%8llu %s\n", (unsigned long long)all[i].v, all[i].text);
	}
	if (job->how.json)
		puts("}");
	else if (t->missing > 0)
		puts("What only the capture has may be commands of the platform: they are not in it, so they cannot be replayed.");
}

static int replay_one(struct job *job, const char *path)
{
	struct run run = { .path = path, .out = stdout, .silent = job->summary };
	const struct cw_replay_totals *t;

	if (run_child(job, &run) < 0) {
		fprintf(stderr, "causeway plugin replay: %s\n", strerror(errno));
		return 1;
	}
	if (!judge_run(job, &run))
		return 1;
	t = &run.shared->totals;
	print_summary(job, t);
	return t->refused > 0 || t->noise_bytes > 0 || t->refused_identities > 0 ? 1 : 0;
}

/* ---- two versions ---------------------------------------------------------------------------------- */

struct said {
	char *text; /* steps and texts, as the child wrote them */
	size_t len, at;
};

static int slurp(FILE *f, struct said *s)
{
	long len = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;

	if (len < 0 || len > (long)SAID_MOST)
		return CW_ELIMIT;
	s->text = cw_alloc((size_t)len + 1);
	if (s->text == NULL)
		return CW_ENOMEM;
	rewind(f);
	s->len = fread(s->text, 1, (size_t)len, f);
	return 0;
}

/* The step of the next text; UINT32_MAX at the end (also of what a crash has cut off). */
static uint32_t next_step(const struct said *s)
{
	uint32_t head[2];

	if (s->len - s->at < sizeof(head))
		return UINT32_MAX;
	memcpy(head, s->text + s->at, sizeof(head));
	return head[1] > s->len - s->at - sizeof(head) ? UINT32_MAX : head[0];
}

struct lines {
	struct cw_bytes *v;
	size_t n, size;
};

/* All lines of that step. */
static int take_step(struct said *s, uint32_t step, struct lines *l)
{
	l->n = 0;
	while (next_step(s) == step) {
		uint32_t head[2];
		const char *p, *end;

		memcpy(head, s->text + s->at, sizeof(head));
		p = s->text + s->at + sizeof(head);
		end = p + head[1];
		s->at += sizeof(head) + head[1];
		while (p < end) {
			const char *nl = memchr(p, '\n', (size_t)(end - p));
			size_t len = nl == NULL ? (size_t)(end - p) : (size_t)(nl - p);

			if (l->n == l->size) {
				struct cw_bytes *grown = cw_realloc(l->v, (l->size * 2 + 64) * sizeof(*grown));

				if (grown == NULL)
					return CW_ENOMEM;
				l->v = grown;
				l->size = l->size * 2 + 64;
			}
			l->v[l->n++] = cw_bytes_of(p, len);
			p += len + 1;
		}
	}
	return 0;
}

static void print_side(const struct lines *l, size_t from, size_t to, char sign, int json)
{
	size_t i;

	if (json) {
		printf(",\"%s\":[", sign == '-' ? "a" : "b");
		for (i = from; i < to; i++)
			printf("%s%.*s", i > from ? "," : "", (int)l->v[i].len, (const char *)l->v[i].ptr);
		putchar(']');
		return;
	}
	for (i = from; i < to; i++)
		printf("%c %.*s\n", sign, (int)l->v[i].len, (const char *)l->v[i].ptr);
}

/* 1: they differ. */
static int compare_step(const struct job *job, uint32_t step, const struct lines *a, const struct lines *b)
{
	size_t head = 0, tail = 0, i;

	while (head < a->n && head < b->n && cw_bytes_equal(a->v[head], b->v[head]))
		head++;
	if (head == a->n && head == b->n)
		return 0;
	while (tail < a->n - head && tail < b->n - head && cw_bytes_equal(a->v[a->n - 1 - tail], b->v[b->n - 1 - tail]))
		tail++;
	if (job->how.json) {
		printf("{\"event\":%u", step);
		print_side(a, head, a->n - tail, '-', 1);
		print_side(b, head, b->n - tail, '+', 1);
		puts("}");
		return 1;
	}
	for (i = head; i > 0 && a->v[i - 1].ptr[0] == ' '; i--) /* the line whose parts these are */
		;
	if (i > 0 && ((head < a->n && a->v[head].len > 0 && a->v[head].ptr[0] == ' ') ||
	              (head < b->n && b->v[head].len > 0 && b->v[head].ptr[0] == ' ')))
		printf("  %.*s\n", (int)a->v[i - 1].len, (const char *)a->v[i - 1].ptr);
	print_side(a, head, a->n - tail, '-', 0);
	print_side(b, head, b->n - tail, '+', 0);
	return 1;
}

static int compare(const struct job *job, struct said *a, struct said *b)
{
	struct lines la = { NULL, 0, 0 }, lb = { NULL, 0, 0 };
	size_t differ = 0;
	int rc = 0;

	while (rc == 0) {
		uint32_t sa = next_step(a), sb = next_step(b), step = sa < sb ? sa : sb;

		if (step == UINT32_MAX)
			break;
		rc = take_step(a, step, &la);
		if (rc == 0)
			rc = take_step(b, step, &lb);
		if (rc == 0)
			differ += (size_t)compare_step(job, step, &la, &lb);
	}
	cw_free(la.v);
	cw_free(lb.v);
	if (rc == 0 && !job->how.json)
		printf("%zu of %zu events differ\n", differ, job->capture->count);
	return rc < 0 ? rc : differ > 0;
}

static int replay_two(struct job *job, const char *path)
{
	struct run runs[2] = { { .path = path, .with_steps = 1 }, { .path = job->other, .with_steps = 1 } };
	struct said said[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
	int i, rc = 0, crashed = 0;

	for (i = 0; i < 2 && rc == 0; i++) {
		runs[i].out = tmpfile();
		rc = runs[i].out == NULL ? CW_ENOMEM : run_child(job, &runs[i]);
		if (rc == 0 && !judge_run(job, &runs[i])) {
			crashed = 1;
			if (runs[i].shared->rc < 0)
				rc = 1; /* never began: nothing to compare */
		}
		if (rc == 0)
			rc = slurp(runs[i].out, &said[i]);
		if (runs[i].out != NULL)
			fclose(runs[i].out);
	}
	if (rc == 0)
		rc = compare(job, &said[0], &said[1]);
	if (rc < 0)
		fprintf(stderr, "causeway plugin replay: %s\n", rc == CW_ELIMIT ? "what they say is too long to compare; cut the capture in pieces"
		                                                         : cw_error_text(rc));
	cw_free(said[0].text);
	cw_free(said[1].text);
	return rc != 0 || crashed ? 1 : 0;
}

/* ---- arguments ----------------------------------------------------------------------------------------- */

static const char usage[] =
	"usage: causeway plugin replay [OPTION]... PATH.so|PROTOCOL CAPTURE\n"
	"       causeway plugin replay --diff OTHER.so [OPTION]... PATH.so CAPTURE\n"
	"\n"
	"Plays a capture through a decoder as the gateway would have run it, with the capture's clock: timers run out,\n"
	"identities are answered, records settle. Prints each frame with its records, refusals and noise, and the answers:\n"
	"`same` as in the capture, `other` than there; `missing` is what only the capture has. Commands of the platform are\n"
	"in no capture of a wire and are not replayed. CAPTURE (- for standard input) is a pcap or pcapng file, lines of hex\n"
	"(`> HEX` from the device, `< HEX` to it, `@NAME`, a time, `+MS`), a recording of `causeway trace --record`, or\n"
	"plain bytes. Exit status: 0; 1 something was refused or noise, or (--diff) something differs; 2 wrong command line.\n"
	"\n"
	"  --settings FILE|KEY=VALUE  the protocol's settings, as in application.conf; may be repeated\n"
	"  --identities FILE          a devices.conf: these are known, with their settings; without, everybody is\n"
	"  --identity ID              what the configuration would bind to each connection\n"
	"  --port N                   the gateway's port: only its connections\n"
	"  --device-port N            the devices' port, where the gateway dials\n"
	"  --fields                   show the fields of each frame, as `causeway decode` does\n"
	"  --start TIME               of the first line of hex without a time (2026-01-01T00:00:00Z)\n"
	"  --linger SECONDS           timers run on so long behind the end (1)\n"
	"  --json                     one object a line\n"
	"  --summary                  only what there was in all\n"
	"  --plugin-dir DIR           where PROTOCOL is looked for\n";

static int add_settings(struct job *job, const char *arg)
{
	struct cw_msg msg = { "" };
	char *text = NULL;
	size_t len;
	int n;

	if (strchr(arg, '=') == NULL && cw_file_read(arg, sizeof(job->sets), &text, &len, &msg) < 0) {
		fprintf(stderr, "causeway plugin replay: %s\n", msg.text);
		return -1;
	}
	n = snprintf(job->sets + job->sets_len, sizeof(job->sets) - job->sets_len, "%s\n", text != NULL ? text : arg);
	cw_free(text);
	if (n < 0 || (size_t)n >= sizeof(job->sets) - job->sets_len) {
		fputs("causeway plugin replay: the settings are longer than 16 KiB\n", stderr);
		return -1;
	}
	job->sets_len += (size_t)n;
	return 0;
}

static int parse_number(const char *text, unsigned long most, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *ret <= most && text[0] != '-' ? 0 : -1;
}

static int parse_start(const char *text, int64_t *ret_ms)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (end == NULL || *end != '\0' || tm.tm_year < 70)
		return -1;
	*ret_ms = (int64_t)timegm(&tm) * 1000;
	return 0;
}

static int parse_option(struct job *job, int opt)
{
	unsigned long n;

	switch (opt) {
	case 's': return add_settings(job, optarg);
	case 'I': job->how.identities = optarg; return 0;
	case 'i': job->how.identity = optarg; return 0;
	case 'P':
	case 'D':
		if (parse_number(optarg, 65535, &n) < 0)
			return -1;
		*(opt == 'P' ? &job->from.port : &job->from.device_port) = (uint16_t)n;
		return 0;
	case 'f': job->how.fields = 1; return 0;
	case 't': return parse_start(optarg, &job->from.start_ms);
	case 'l':
		if (parse_number(optarg, 86400, &n) < 0)
			return -1;
		job->how.linger_ms = n * 1000;
		return 0;
	case 'j': job->how.json = 1; return 0;
	case 'S': job->summary = 1; return 0;
	case 'p': job->plugin_dir = optarg; return 0;
	case 'd': job->other = optarg; return 0;
	default: return -1;
	}
}

/* Whether the protocol takes datagrams: asked of the plugin itself, in a child like everything else. */
static int takes_datagrams(const struct job *job, const char *path)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		const struct cw_plugin_desc *desc;
		struct cw_msg msg;

		_exit(cw_plugin_find(path, job->plugin_dir, &desc, &msg) == 0 && desc->caps & CW_CAP_DATAGRAM ? 1 : 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static int read_capture(struct job *job, const char *file)
{
	struct cw_msg msg = { "" };
	char *text;
	size_t len;
	int rc = cw_file_read(strcmp(file, "-") == 0 ? "/dev/stdin" : file, CW_CAPTURE_FILE_MOST, &text, &len, &msg);

	if (rc == 0) {
		rc = cw_capture_read(cw_bytes_of(text, len), &job->from, &job->capture, &msg);
		cw_free(text);
		if (rc < 0)
			cw_msg_wrap(&msg, "%s", file);
	}
	if (rc < 0)
		fprintf(stderr, "causeway plugin replay: %s\n", msg.text);
	return rc;
}

int cw_plugin_replay(int argc, char **argv)
{
	static const struct option options[] = {
		{ "settings", required_argument, NULL, 's' }, { "set", required_argument, NULL, 's' },
		{ "identities", required_argument, NULL, 'I' }, { "identity", required_argument, NULL, 'i' },
		{ "port", required_argument, NULL, 'P' }, { "device-port", required_argument, NULL, 'D' },
		{ "fields", no_argument, NULL, 'f' }, { "start", required_argument, NULL, 't' },
		{ "linger", required_argument, NULL, 'l' }, { "json", no_argument, NULL, 'j' },
		{ "summary", no_argument, NULL, 'S' }, { "plugin-dir", required_argument, NULL, 'p' },
		{ "diff", required_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct job *job = cw_zalloc(sizeof(*job));
	int opt, status;

	if (job == NULL)
		return 1;
	job->how.sets = job->sets;
	job->how.linger_ms = 1000;
	job->from.start_ms = 1767225600000; /* 2026-01-01T00:00:00Z: what hex lines say must not depend on the day */
	while ((opt = getopt_long(argc, argv, "s:j", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			cw_free(job);
			return 0;
		}
		if (parse_option(job, opt) < 0) {
			fputs(usage, stderr);
			cw_free(job);
			return 2;
		}
	}
	if (argc - optind != 2) {
		fputs(usage, stderr);
		cw_free(job);
		return 2;
	}
	job->from.udp = takes_datagrams(job, argv[optind]);
	status = read_capture(job, argv[optind + 1]) < 0 ? 1 : job->other != NULL ? replay_two(job, argv[optind]) : replay_one(job, argv[optind]);
	cw_capture_free(job->capture);
	cw_free(job);
	return status;
}
