/*
 * run.c - see conform.h. The parent: a child process for each rule, what it says comes through a pipe, and what is at
 * hand lies in memory that both see, so that a child that dies or hangs can still be asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digits.h"
#include "base/log.h"
#include "base/mem.h"
#include "conform/suite.h"
#include "plugin/load.h"

#define FRAME_SHOWN 512u
#define HOST_LINES 32768u
#define ENTRY_TIMEOUT_MS (SUITE_SLOW ? 60000u : 10000u)
#define FINDINGS_SHOWN 3u /* of one rule, unless all are asked for; the rest is counted */

static const struct rule rules[] = {
	{ "loads", "the object is loaded, its descriptor is whole and its ABI is ours (plugin.h)", rule_loads,
	  RULE_BARE | RULE_LOOK, 0, "the object is looked at, not run" },
	{ "exports", "it exports cw_plugin_entry and nothing else, and needs no symbol of ours (plugin.h)",
	  rule_exports, RULE_BARE | RULE_LOOK, 0, "the object is looked at, not run" },
	{ "statics", "no writable static data: one instance a worker, several in a process (decoder.h)", rule_statics,
	  RULE_BARE | RULE_LOOK, 0, "the object is looked at, not run" },
	{ "libraries", "it needs no library but the C library's own (plugin.h)", rule_libraries,
	  RULE_BARE | RULE_LOOK, 0, "the object is looked at, not run" },
	{ "scripts", "every wire script goes through: what the decoder says is what the script says", rule_scripts,
	  RULE_PLAIN, RULE_FIRST, NULL },
	{ "frames", "a `frame` is taken as one frame, a `refuse` is not taken", rule_frames, RULE_INSPECT, 0, "a decode tool runs decoders in its own process" },
	{ "split", "bytes come in any pieces: frame() never changes state, and says the same (decoder.h)", rule_split,
	  RULE_INSPECT | RULE_PLAIN, RULE_SECOND, NULL },
	{ "truncate", "a part of a frame makes no record, and whole ones behind it are found", rule_truncate,
	  RULE_INSPECT | RULE_PLAIN, RULE_SECOND, NULL },
	{ "noise", "a `noise` between frames costs none of them (decoder.h: cw_cut.skip)", rule_noise, RULE_INSPECT, 0, "a decode tool runs decoders in its own process" },
	{ "glue", "two frames in one read are two frames", rule_glue, RULE_INSPECT, 0, "a decode tool runs decoders in its own process" },
	{ "mutate", "damaged frames do no harm, and split they say the same", rule_mutate, RULE_INSPECT | RULE_PLAIN, RULE_SECOND, NULL },
	{ "session", "the scripts exercise it: frames are taken, records are emitted", rule_session,
	  RULE_PLAIN | RULE_DATAGRAM, RULE_FIRST, NULL },
	{ "later", "no frame is decoded between identify() and its outcome; bytes wait (host.h)", rule_later,
	  RULE_PLAIN, RULE_SECOND, NULL },
	{ "identities",
	  "each outcome of identify() is survived; after CW_REFUSED_KEPT answer nothing, do not close (decoder.h)",
	  rule_identities, RULE_PLAIN, RULE_FIRST, NULL },
	{ "outcomes", "each way that a ticket settles is survived, and that it never does", rule_outcomes, RULE_PLAIN, RULE_FIRST, NULL },
	{ "saved", "what device_save() kept may come back damaged or by another version", rule_saved, RULE_PLAIN, RULE_FIRST, NULL },
	{ "moments", "events come at any moment, about things that are over or never were", rule_moments, RULE_PLAIN, RULE_FIRST, NULL },
	{ "resumed", "a new instance goes on with connections that are not new (decoder.h: CW_EVF_RESUMED)",
	  rule_resumed, RULE_PLAIN, RULE_FIRST, NULL },
	{ "kept", "frames that were set aside are accepted without a log-in (decoder.h: CW_EVF_KEPT)", rule_kept,
	  RULE_PLAIN, RULE_FIRST, NULL },
	{ "cap",
	  "memory that is kept for a connection is charged, and given back; above the cap something is dropped "
	  "(host.h: charge())",
	  rule_cap, RULE_PLAIN, RULE_FIRST, NULL },
	{ "refusals", "every host call may refuse; the decoder goes on (host.h)", rule_refusals, RULE_PLAIN, 0, "what fails is inside the plugin: the same code in either process" },
	{ "memory", "every allocation may fail; nothing crashes, nothing is left", rule_memory, RULE_BARE, 0, "what fails is inside the plugin: the same code in either process" },
	{ "same", "in a plugin host it says what it says in-process: sessions whole, byte by byte, with noise, under each outcome "
	  "and cap; --isolated only", rule_same, RULE_HOSTED, RULE_SECOND, NULL },
	/* watched in all the others */
	{ "pure", "frame() never changes state, allocates nothing, says nothing (decoder.h)", NULL, 0, 0, NULL },
	{ "cut", "frame() cuts what is there and no more than max_frame (decoder.h: cw_cut)", NULL, 0, 0, NULL },
	{ "again", "CW_EBUSY of decode() follows an identify() of the same call, and is not endless (decoder.h)", NULL, 0, 0, NULL },
	{ "status", "entries return what decoder.h says, end what is open once, and leave no context behind", NULL, 0, 0, NULL },
	{ "records", "records, fields and counters are as record.h and the descriptor say", NULL, 0, 0, NULL },
	{ "budget", "an entry takes at most 20 ms, and speaks and allocates in proportion to its bytes", NULL, 0, 0, NULL },
	{ "leak", "after destroy() nothing is left: no memory, no open attachment", NULL, 0, 0, "a plugin host is not asked to give back: it ends" },
};
#define RULES (sizeof(rules) / sizeof(rules[0]))

int cw_conform_rule(size_t i, struct cw_conform_rule *ret)
{
	if (i >= RULES)
		return 0;
	ret->name = rules[i].name;
	ret->clause = rules[i].clause;
	ret->not_isolated = rules[i].not_isolated;
	return 1;
}

/* ---- what both sides see ------------------------------------------------------------------------ */

struct shared {
	char doing[400];
	char entry[16]; /* "": none is at hand */
	uint64_t since_ms;
	size_t len, shown;
	uint8_t frame[FRAME_SHOWN];
	size_t lines_len;
	char lines[HOST_LINES]; /* said inside a plugin host; read when it is quiet */
};

struct suite suite;
static struct shared *shared;
static FILE *pipe_out;
static const char *rule_at_work;
static uint64_t seed;
static pid_t home; /* the child; its plugin hosts are others */

static uint64_t real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint32_t suite_random(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below == 0 ? 0 : (uint32_t)(seed >> 33) % below;
}

void doing(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(shared->doing, sizeof(shared->doing), fmt, ap);
	va_end(ap);
}

void at_hand(const char *entry, struct cw_bytes bytes)
{
	shared->len = bytes.len;
	shared->shown = bytes.len < FRAME_SHOWN ? bytes.len : FRAME_SHOWN;
	if (shared->shown > 0)
		memcpy(shared->frame, bytes.ptr, shared->shown);
	shared->since_ms = real_ms();
	(void)snprintf(shared->entry, sizeof(shared->entry), "%s", entry);
}

void not_at_hand(void)
{
	shared->entry[0] = '\0';
}

/* The same inside a plugin host, which has no pipe. */
static void speak_home(char letter, const char *rule, const char *text)
{
	size_t left = HOST_LINES - shared->lines_len;
	int n = snprintf(shared->lines + shared->lines_len, left, "%c %s %s", letter, rule, text);

	if (n > 0 && (size_t)n < left)
		shared->lines_len += (size_t)n + 1;
}

/* One line through the pipe: a letter, the rule, the sentence. */
static void speak(char letter, const char *rule, const char *text)
{
	if (getpid() != home) {
		speak_home(letter, rule, text);
		return;
	}
	fprintf(pipe_out, "%c %s ", letter, rule);
	for (; *text != '\0'; text++)
		fputc((unsigned char)*text < 0x20 ? ' ' : *text, pipe_out);
	fputc('\n', pipe_out);
	fflush(pipe_out);
}

void speak_of_host(void)
{
	size_t at;

	for (at = 0; at < shared->lines_len; at += strlen(shared->lines + at) + 1) {
		char *rule = shared->lines + at + 2, *text = strchr(rule, ' ');

		*text = '\0';
		speak(shared->lines[at], rule, text + 1);
		*text = ' ';
	}
	shared->lines_len = 0;
}

const char *entry_at_hand(void)
{
	return shared->entry;
}

__attribute__((format(printf, 2, 0))) static void speak_fault(const char *rule, const char *fmt, va_list ap)
{
	static char last[sizeof(shared->doing)], last_rule[20];
	char text[1600];
	int n;

	/* One sentence of a rule for each thing that is being done; the rest is counted. */
	if (strcmp(last, shared->doing) == 0 && strcmp(last_rule, rule) == 0)
		return;
	(void)snprintf(last, sizeof(last), "%s", shared->doing);
	(void)snprintf(last_rule, sizeof(last_rule), "%s", rule);
	n = snprintf(text, sizeof(text), "%s: ", shared->doing);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	speak('F', rule, text);
}

void fault(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	speak_fault(rule_at_work, fmt, ap);
	va_end(ap);
}

void fault_of(const char *rule, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	speak_fault(rule, fmt, ap);
	va_end(ap);
}

void remark(const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	speak('N', rule_at_work, text);
}

void give_up(const char *why)
{
	remark("%s: the rest of this rule is not tried", why);
	if (getpid() == home) /* else the child says it, when its host is gone */
		speak('E', rule_at_work, "");
	_exit(0);
}

/* ---- the child: loading ----------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static void add_entry(char kind, const struct cw_wire_step *step, const struct session *of)
{
	struct entry *e;

	suite.entries = realloc(suite.entries, (suite.entry_count + 1) * sizeof(*e));
	if (suite.entries == NULL)
		abort();
	e = &suite.entries[suite.entry_count++];
	*e = (struct entry){ .kind = kind, .ptr = step->ptr, .len = step->len, .of = of };
	if (step->name != NULL && kind != 's')
		(void)snprintf(e->name, sizeof(e->name), "`%.40s` (%.50s line %u)", step->name, of->name, step->line);
	else
		(void)snprintf(e->name, sizeof(e->name), "the frame of %.50s line %u", of->name, step->line);
}

static int add_session(const struct cw_wire_script *first, size_t scripts)
{
	struct session *of = &suite.sessions[suite.session_count++];
	struct cw_msg msg = { "" };
	char *settings = NULL;
	size_t i, k, len = 0;

	*of = (struct session){ .name = base_name(first->path), .script = first, .flags = first->flags };
	for (i = 0; i < scripts; i++) {
		size_t n = strlen(first[i].settings);

		settings = realloc(settings, len + n + 1);
		of->v = realloc(of->v, (of->n + first[i].n + 1) * sizeof(*of->v));
		if (settings == NULL || of->v == NULL)
			abort();
		memcpy(settings + len, first[i].settings, n + 1);
		len += n;
		for (k = 0; k < first[i].n; k++)
			if (first[i].v[k].kind != CW_WIRE_SAMPLE)
				of->v[of->n++] = &first[i].v[k];
	}
	if (suite.setup->settings(suite.real, settings == NULL ? "" : settings, &of->settings, &of->settings_len,
				  &msg) < 0) {
		fault("the settings in %s are not the plugin's: %s", of->name, msg.text);
		free(settings);
		return -1;
	}
	free(settings);
	return 0;
}

/* Entries point at sessions, so all sessions come first. */
static int make_sessions(void)
{
	const struct cw_wire_script *v = suite.setup->scripts;
	size_t n = suite.setup->script_count, i, k, loose = 0;
	static const struct cw_wire_script none = { .path = (char *)(uintptr_t) "no script",
						    .settings = (char *)(uintptr_t) "" };

	suite.sessions = calloc(n + 1, sizeof(*suite.sessions));
	if (suite.sessions == NULL)
		abort();
	while (loose < n && !v[loose].strict)
		loose++;
	if ((n == 0 && add_session(&none, 1) < 0) || (loose > 0 && add_session(v, loose) < 0))
		return -1;
	for (i = loose; i < n; i++)
		if (add_session(&v[i], 1) < 0)
			return -1;
	for (i = 0; i < n; i++) {
		const struct session *of = &suite.sessions[i < loose ? 0 : i - loose + (loose > 0)];

		for (k = 0; k < v[i].n; k++) {
			if (v[i].v[k].kind == CW_WIRE_SAMPLE)
				add_entry(v[i].v[k].sample, &v[i].v[k], of);
			else if (v[i].v[k].kind == CW_WIRE_DATA)
				add_entry('s', &v[i].v[k], of);
		}
	}
	return 0;
}

static void on_too_much(size_t size, size_t held)
{
	fault_of("cap", "it asked for %zu bytes in one call with %zu held already", size, held);
	give_up("it eats memory");
}

int suite_load(struct suite *s)
{
	struct cw_msg msg = { "" };

	at_hand("cw_plugin_entry", cw_bytes_of(NULL, 0));
	if (cw_plugin_load(s->setup->plugin, &s->real, &msg) < 0) {
		not_at_hand();
		fault("%s", msg.text);
		return -1;
	}
	not_at_hand();
	(void)object_open(s->setup->plugin);
	heap_over = on_too_much;
	if (heap_hook(s->setup->plugin) < 0 || cw_worker_new("conform", 0, &s->worker) < 0) {
		fault("the allocator cannot be put in place: it has no dynamic symbols");
		return -1;
	}
	s->desc = watched(s->real);
	return make_sessions();
}

/* ---- the child: one rule ------------------------------------------------------------------------------- */

static void judge_left(void)
{
	char left[160];

	if (heap_live() == 0)
		return;
	heap_describe(left, sizeof(left));
	fault_of("leak", "%ld blocks of memory (%zu bytes) are left after destroy(), the first %s", heap_live(),
		 heap_bytes(), left);
}

static void work(const struct rule *r, uint32_t flags)
{
	struct toy a, b;

	if ((r->how & RULE_LOOK) != 0) {
		r->run(NULL, NULL);
		return;
	}
	if (suite_load(&suite) < 0)
		return;
	if ((r->how & RULE_BARE) != 0) {
		r->run(NULL, NULL);
		return;
	}
	if ((flags & CW_EVF_DATAGRAM) != 0 && (suite.real->caps & CW_CAP_DATAGRAM) == 0)
		return;
	if (toy_start(&a, &suite, &suite.sessions[0], flags, suite.setup->isolated && r->isolated == RULE_FIRST) < 0 ||
	    toy_start(&b, &suite, &suite.sessions[0], flags, suite.setup->isolated && r->isolated == RULE_SECOND) < 0)
		return;
	r->run(&a, &b);
	doing("at the end of all that rule %s does", r->name);
	toy_stop(&a);
	toy_stop(&b);
	judge_left();
}

static void child(const struct rule *r, uint32_t flags, int fd)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	pipe_out = fdopen(fd, "w");
	if (pipe_out == NULL)
		_exit(3);
	rule_at_work = r->name;
	home = getpid();
	seed = 0x9e3779b97f4a7c15u;
	cw_log_setup(CW_LOG_ERROR, 0, open("/dev/null", O_WRONLY | O_CLOEXEC));
	cw_clock_fake(1000000, 1763700000000);
	work(r, flags);
	speak('E', r->name, "");
	fclose(pipe_out);
	_exit(0);
}

/* ---- the parent ----------------------------------------------------------------------------------------- */

struct parent {
	const struct cw_conform_setup *setup;
	const struct rule *rule;
	unsigned total, of_rule;
	unsigned found[RULES];
	int ended; /* the child said that it is through */
};

static int wanted(const struct parent *p, const char *rule)
{
	return p->setup->only == NULL || strcmp(p->setup->only, rule) == 0;
}

static void found(struct parent *p, const char *rule, const char *text)
{
	size_t i;

	if (!wanted(p, rule))
		return;
	p->total++;
	p->of_rule++;
	for (i = 0; i < RULES - 1 && strcmp(rules[i].name, rule) != 0; i++)
		;
	if (++p->found[i] <= FINDINGS_SHOWN || p->setup->all)
		p->setup->finding(p->setup->ctx, rule, text);
}

static void hear(struct parent *p, char *line)
{
	char *rule = line + 2, *text = strchr(rule, ' ');

	if (line[0] == 'E') {
		p->ended = 1;
		return;
	}
	if (text == NULL)
		return;
	*text++ = '\0';
	if (line[0] == 'F')
		found(p, rule, text);
	else if (wanted(p, rule))
		p->setup->note(p->setup->ctx, rule, text);
}

/* What was at hand, behind a sentence about how the child ended. */
static void lost(struct parent *p, const char *how)
{
	char text[2 * FRAME_SHOWN + 900], hex[CW_HEX_SIZE(FRAME_SHOWN)] = "";

	if (shared->entry[0] != '\0')
		cw_hex(hex, cw_bytes_of(shared->frame, shared->shown));
	(void)snprintf(text, sizeof(text), "%s: %s%s%s%s%s%s", shared->doing, how,
		       shared->entry[0] == '\0' ? " outside of the plugin's entries" : " in ", shared->entry,
		       shared->entry[0] == '\0' ? "" : "()", hex[0] == '\0' ? "" : "; at hand: ", hex);
	if (shared->len > shared->shown)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), ".. (%zu bytes)", shared->len);
	found(p, p->rule->name, text);
}

static int hung(const struct parent *p)
{
	unsigned most = p->setup->entry_timeout_ms != 0 ? p->setup->entry_timeout_ms : ENTRY_TIMEOUT_MS;

	return shared->entry[0] != '\0' && real_ms() > shared->since_ms + most;
}

static void listen_to(struct parent *p, pid_t pid, int fd)
{
	FILE *in = fdopen(fd, "r");
	struct pollfd pf = { .fd = fd, .events = POLLIN };
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	if (in == NULL) {
		close(fd);
		return;
	}
	setvbuf(in, NULL, _IONBF, 0); /* so that poll() sees what is there */
	for (;;) {
		if (poll(&pf, 1, 100) > 0) {
			n = getline(&line, &size, in);
			if (n <= 0)
				break;
			line[n - 1] = '\0';
			hear(p, line);
		} else if (hung(p)) {
			kill(pid, SIGKILL);
			lost(p, "hangs");
			p->ended = 1;
			break;
		}
	}
	free(line);
	fclose(in);
}

static void run_rule(struct parent *p, const struct rule *r, uint32_t flags, const char *variant)
{
	char how[120];
	int fds[2], status = 0;
	pid_t pid;

	p->rule = r;
	p->of_rule = 0;
	p->ended = 0;
	memset(shared, 0, sizeof(*shared));
	fflush(NULL);
	if (pipe(fds) < 0 || (pid = fork()) < 0) {
		found(p, r->name, "no child process can be made");
		return;
	}
	if (pid == 0) {
		close(fds[0]);
		child(r, flags, fds[1]);
	}
	close(fds[1]);
	listen_to(p, pid, fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!p->ended) {
		if (WIFSIGNALED(status))
			(void)snprintf(how, sizeof(how), "crashes with %s (%s)",
				       sigabbrev_np(WTERMSIG(status)) == NULL ? "a signal"
									      : sigabbrev_np(WTERMSIG(status)),
				       strsignal(WTERMSIG(status)));
		else
			(void)snprintf(how, sizeof(how), "ends the process with status %d", WEXITSTATUS(status));
		lost(p, how);
	}
	if (wanted(p, r->name) || p->of_rule > 0)
		p->setup->rule(p->setup->ctx, r->name, variant, p->of_rule);
}

static void run_here(struct parent *p, const struct rule *r)
{
	if ((r->how & (RULE_BARE | RULE_LOOK)) != 0)
		run_rule(p, r, 0, "");
	if ((r->how & RULE_INSPECT) != 0)
		run_rule(p, r, CW_EVF_INSPECT, "inspected");
	if ((r->how & RULE_PLAIN) != 0)
		run_rule(p, r, 0, "");
	if ((r->how & RULE_DATAGRAM) != 0)
		run_rule(p, r, CW_EVF_DATAGRAM, "datagrams");
}

static void run_isolated(struct parent *p, const struct rule *r)
{
	if (r->isolated == 0)
		return;
	run_rule(p, r, 0, "isolated");
	if ((r->how & RULE_DATAGRAM) != 0)
		run_rule(p, r, CW_EVF_DATAGRAM, "isolated datagrams");
}

int cw_conform_run(const struct cw_conform_setup *setup)
{
	struct parent p = { .setup = setup };
	size_t i;
	int watched_only = 0;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return CW_ENOMEM;
	suite.setup = setup;
	for (i = 0; i < RULES; i++)
		watched_only |= setup->only != NULL && strcmp(rules[i].name, setup->only) == 0 && rules[i].run == NULL;
	for (i = 0; i < RULES; i++) {
		const struct rule *r = &rules[i];

		if (r->run == NULL || !(watched_only || wanted(&p, r->name)))
			continue;
		if (setup->isolated)
			run_isolated(&p, r);
		else
			run_here(&p, r);
		if (i == 0 && p.total > 0)
			break; /* what does not load has nothing else to be asked */
	}
	munmap(shared, sizeof(*shared));
	shared = NULL;
	return (int)p.total;
}
