/*
 * conform.c - the plugin conformance program: `conform PLUGIN.so CORPUS...`.
 *
 * Runs one built plugin through the real runner and holds it to what decoder.h and
 * host.h ask of every decoder, whatever its protocol. Prints a sentence for each
 * broken rule; exit status 1 when there was one. The clock stands still and the
 * random numbers have a fixed seed, so a fault shows again.
 */
#include "conform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "json/json.h"
#include "plugin/load.h"

#ifdef CONFORM_SANITIZED /* ten times slower */
#define MUTATIONS 6
#define SPLIT_STEP 4
#else
#define MUTATIONS 40
#define SPLIT_STEP 1
#endif
#define FAULTS_MOST 4000

static struct corpus corpus;
static struct cw_worker *worker;
static const struct cw_plugin_desc *desc;
static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below == 0 ? 0 : (uint32_t)(seed >> 33) % below;
}

/* ---- corpus -------------------------------------------------------------------------- */

static struct entry *add_entry(char kind, const char *name)
{
	struct entry *e;

	corpus.v = realloc(corpus.v, (corpus.n + 1) * sizeof(*corpus.v));
	if (corpus.v == NULL)
		abort();
	e = &corpus.v[corpus.n++];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->name = strdup(name);
	return e;
}

static int add_bytes(char kind, const char *name, const char *hex)
{
	struct entry *e = add_entry(kind, name);
	unsigned v;

	e->ptr = malloc(strlen(hex) / 2 + 1);
	for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
		if (sscanf(hex, "%2x", &v) != 1)
			return -1;
		e->ptr[e->len++] = (uint8_t)v;
	}
	return e->len > 0 && hex[0] == '\0' ? 0 : -1;
}

/* `c KIND NAME JSON`, NAME - when there is none. */
static int add_command(const char *kind, const char *name, const char *json)
{
	struct entry *e = add_entry('c', name);
	uint8_t *body;
	struct cw_writer w;
	size_t n;

	if (cw_json_to_item(cw_bytes_text(json), &body, &n) < 0)
		return -1;
	e->command = (unsigned)atoi(kind);
	e->ptr = malloc(n + 300);
	w = cw_writer_of(e->ptr, n + 300);
	cw_record_begin(&w, e->command);
	if (strcmp(name, "-") != 0)
		cw_record_name(&w, name);
	cw_put_uint(&w, 7);
	cw_write_raw(&w, body, n);
	cw_record_end(&w);
	e->len = w.len;
	cw_free(body);
	return w.overflow ? -1 : 0;
}

static int parse_line(char *line)
{
	char *kind, *a, *b, *rest = line;

	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	kind = strsep(&rest, " ");
	if (rest == NULL || kind[1] != '\0')
		return -1;
	switch (kind[0]) {
	case 'o':
		corpus.settings = strdup(rest);
		return 0;
	case 'c':
		a = strsep(&rest, " ");
		b = strsep(&rest, " ");
		return b == NULL || rest == NULL ? -1 : add_command(a, b, rest);
	case 'f':
	case 'r':
	case 's':
	case 'b':
	case 'w':
	case 'n':
		a = strsep(&rest, " ");
		return rest == NULL ? -1 : add_bytes(kind[0], a, rest);
	default: return -1;
	}
}

static int read_corpus(const char *path)
{
	FILE *f = fopen(path, "r");
	static char line[1 << 20];
	unsigned number = 0;

	if (f == NULL) {
		perror(path);
		return -1;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		number++;
		if (parse_line(line) < 0) {
			fprintf(stderr, "%s:%u: not a line of a corpus\n", path, number);
			fclose(f);
			return -1;
		}
	}
	fclose(f);
	return 0;
}

static void free_corpus(void)
{
	size_t i;

	for (i = 0; i < corpus.n; i++) {
		free(corpus.v[i].name);
		free(corpus.v[i].ptr);
	}
	free(corpus.v);
	free(corpus.settings);
}

static int is_input(const struct entry *e, const struct toy *t)
{
	return e->kind == 'f' || e->kind == 'r' || e->kind == 's' || e->kind == 'b' ||
	       (e->kind == 'w' && (t->flags & CW_EVF_INSPECT) == 0);
}

/* ---- the two toys ---------------------------------------------------------------------- */

/* A new instance each time: what it says must not depend on what it was told before. */
static void fresh(struct toy *t)
{
	if (toy_renew(t) == 0)
		return;
	fault("does not start a second time");
	exit(1);
}

static void start(struct toy *t, uint32_t flags)
{
	if (toy_start(t, desc, worker, corpus.settings) < 0) {
		fault("does not start");
		exit(1);
	}
	t->flags = flags;
}

static void once(struct toy *t, const struct entry *e)
{
	fresh(t);
	(void)toy_open(t);
	toy_feed(t, e->ptr, e->len);
	toy_close(t, 1);
}

static void in_pieces(struct toy *t, const struct entry *e, size_t at, size_t step)
{
	size_t i;

	fresh(t);
	(void)toy_open(t);
	if (step == 0) {
		toy_feed(t, e->ptr, at);
		toy_feed(t, e->ptr + at, e->len - at);
	}
	for (i = 0; step > 0 && i < e->len; i += step)
		toy_feed(t, e->ptr + i, e->len - i < step ? e->len - i : step);
	toy_close(t, 1);
}

static void all_splits(struct toy *a, struct toy *b, const struct entry *e, int every)
{
	size_t k;

	once(a, e);
	for (k = 1; k < e->len && every; k += SPLIT_STEP) {
		in_pieces(b, e, k, 0);
		if (!toy_same(a, b))
			fault("split at byte %zu of %zu it says something else than whole", k, e->len);
	}
	for (k = 1; k <= 7; k += 2) {
		in_pieces(b, e, 0, k);
		if (!toy_same(a, b))
			fault("in pieces of %zu it says something else than whole", k);
	}
}

/* ---- cases --------------------------------------------------------------------------------- */

static void frames_mean_what_the_corpus_says(struct toy *a, struct toy *b)
{
	size_t i;

	for (i = 0; i < corpus.n; i++) {
		const struct entry *e = &corpus.v[i];

		if (e->kind != 'f' && e->kind != 'r')
			continue;
		doing("whole frame %s", e->name);
		once(a, e);
		if (e->kind == 'f' && (a->frames_ok != 1 || a->frames_bad != 0 || a->noise != 0))
			fault("%zu good frames, %zu bad ones and %zu bytes of noise where one good frame is", a->frames_ok, a->frames_bad, a->noise);
		if (e->kind == 'r' && (a->frames_ok > 0 || a->records > 0))
			fault("a frame to be refused was taken, with %zu records", a->records);
	}
}

static void splitting_changes_nothing(struct toy *a, struct toy *b)
{
	size_t i;

	for (i = 0; i < corpus.n; i++) {
		if (!is_input(&corpus.v[i], a))
			continue;
		doing("splitting %s", corpus.v[i].name);
		all_splits(a, b, &corpus.v[i], 1);
	}
}

/* A part of a frame makes no record; and two whole frames later the decoder has found its way back. */
static void truncation_makes_no_record(struct toy *a, struct toy *b)
{
	const struct entry *good = NULL;
	size_t i, k;

	for (i = 0; i < corpus.n; i++) {
		const struct entry *e = &corpus.v[i];

		if (e->kind != 'f')
			continue;
		if (good == NULL)
			good = e;
		doing("truncating %s", e->name);
		for (k = 1; k < e->len; k++) {
			fresh(a);
			(void)toy_open(a);
			toy_feed(a, e->ptr, k);
			if (a->records > 0 || a->fields > 0 || a->frames_ok > 0)
				fault("%zu of %zu bytes made %zu records and %zu good frames", k, e->len, a->records, a->frames_ok);
			toy_forget(a);
			toy_feed(a, good->ptr, good->len);
			toy_feed(a, good->ptr, good->len);
			if (a->frames_ok == 0 && !a->closing)
				fault("after %zu bytes of a frame cut off, two whole ones are not recognised", k);
			toy_close(a, 1);
		}
	}
}

static uint8_t *glue(const struct entry *a, const struct entry *b)
{
	uint8_t *both = malloc(a->len + b->len);

	if (both == NULL)
		abort();
	memcpy(both, a->ptr, a->len);
	memcpy(both + a->len, b->ptr, b->len);
	return both;
}

static void noise_around(struct toy *a, const struct entry *noise, const struct entry *e)
{
	uint8_t *both = glue(noise, e);

	doing("noise %s around %s", noise->name, e->name);
	fresh(a);
	(void)toy_open(a);
	toy_feed(a, noise->ptr, noise->len);
	toy_feed(a, e->ptr, e->len);
	toy_feed(a, both, noise->len + e->len);
	if (a->frames_ok != 2 && !a->closing)
		fault("%zu of two good frames were found", a->frames_ok);
	toy_close(a, 1);
	free(both);
}

static void noise_is_passed_over(struct toy *a, struct toy *b)
{
	size_t i, n;

	for (n = 0; n < corpus.n; n++)
		for (i = 0; i < corpus.n && corpus.v[n].kind == 'n'; i++)
			if (corpus.v[i].kind == 'f')
				noise_around(a, &corpus.v[n], &corpus.v[i]);
}

static void glued_frames_come_apart(struct toy *a, struct toy *b)
{
	const struct entry *last = NULL;
	uint8_t *both;
	size_t i;

	for (i = 0; i < corpus.n; i++) {
		const struct entry *e = &corpus.v[i];

		if (e->kind != 'f')
			continue;
		if (last != NULL) {
			doing("gluing %s and %s", last->name, e->name);
			both = glue(last, e);
			fresh(a);
			(void)toy_open(a);
			toy_feed(a, both, last->len + e->len);
			toy_close(a, 1);
			free(both);
			fresh(b);
			(void)toy_open(b);
			toy_feed(b, last->ptr, last->len);
			toy_feed(b, e->ptr, e->len);
			toy_close(b, 1);
			if (!toy_same(a, b))
				fault("glued they say something else than one by one");
		}
		last = e;
	}
}

static size_t mutate(const struct entry *e, uint8_t *out)
{
	size_t n = e->len, k, at, cut;
	unsigned times = 1 + rnd(4);

	memcpy(out, e->ptr, n);
	while (times-- > 0) {
		at = rnd((uint32_t)n);
		switch (rnd(6)) {
		case 0: out[at] ^= (uint8_t)(1u << rnd(8)); break;
		case 1: out[at] = (uint8_t)rnd(256); break;
		case 2: out[at] = rnd(2) ? 0xff : 0; break;
		case 3: out[at] = e->ptr[rnd((uint32_t)e->len)]; break;
		case 4: /* take bytes away */
			cut = 1 + rnd(8);
			if (n - at > cut && n > cut + 1) {
				memmove(out + at, out + at + cut, n - at - cut);
				n -= cut;
			}
			break;
		default: /* say bytes twice */
			k = 1 + rnd(16);
			if (at + k <= n) {
				memmove(out + at + k, out + at, n - at);
				n += k;
			}
			break;
		}
	}
	return n;
}

static void mutations_do_no_harm(struct toy *a, struct toy *b)
{
	struct entry m = { .kind = 'm' };
	size_t i, k;

	for (i = 0; i < corpus.n; i++) {
		const struct entry *e = &corpus.v[i];

		if (!is_input(e, a))
			continue;
		m.ptr = malloc(e->len + 128);
		if (m.ptr == NULL)
			abort();
		for (k = 0; k < MUTATIONS; k++) {
			m.len = mutate(e, m.ptr);
			doing("mutation %zu of %s", k, e->name);
			all_splits(a, b, &m, 0);
		}
		free(m.ptr);
	}
}

/* ---- whole sessions --------------------------------------------------------------------------- */

static void step(struct toy *t, const struct entry *e)
{
	if (t->closing) { /* the device would dial again */
		toy_close(t, 1);
		(void)toy_open(t);
	}
	if (e->kind == 'c')
		toy_command(t, e);
	else
		toy_feed(t, e->ptr, e->len);
}

static int of_session(const struct entry *e)
{
	return e->kind == 's' || e->kind == 'c';
}

static void run_session(struct toy *t, int timers)
{
	size_t i;

	for (i = 0; i < corpus.n; i++) {
		if (!of_session(&corpus.v[i]))
			continue;
		step(t, &corpus.v[i]);
		if (timers && !t->closing)
			toy_fire_timers(t);
	}
}

static void a_session_goes_through(struct toy *a, struct toy *b)
{
	size_t i, steps = 0;

	doing("the session of the corpus");
	fresh(a);
	(void)toy_open(a);
	run_session(a, 0);
	toy_close(a, 1);
	for (i = 0; i < corpus.n; i++)
		steps += corpus.v[i].kind == 's';
	if (steps > 0 && (a->records == 0 || a->frames_ok == 0 || a->sends == 0))
		fault("its session made %zu records, %zu good frames and %zu answers; the corpus does not exercise it", a->records,
		      a->frames_ok, a->sends);
	if (a->noise > 0)
		fault("%zu bytes of noise in its session", a->noise);
	printf("       %zu frames, %zu refused, %zu records, %zu sends, %llu commands of which %zu ended by themselves\n", a->frames_ok,
	       a->frames_bad, a->records, a->sends, (unsigned long long)a->last_command, a->commands_done);
}

static void every_outcome_is_survived(struct toy *a, struct toy *b)
{
	int k;

	for (k = 0; k <= CW_REFUSED_PLATFORM; k++) {
		doing("the session with identity outcome %d", k);
		fresh(a);
		a->refuse = k;
		a->settle_with = k == 0 ? -1 : k % 4;
		(void)toy_open(a);
		run_session(a, 1);
		toy_close(a, 1);
	}
	a->refuse = 0;
	doing("the session with tickets that nobody settles");
	fresh(a);
	a->hold_tickets = 1;
	(void)toy_open(a);
	run_session(a, 0);
	toy_close(a, 1);
	a->hold_tickets = 0;
	doing("the session again with what it had saved");
	a->settle_with = 0;
	(void)toy_open(a);
	run_session(a, 1);
	toy_close(a, 1);
	for (k = 0; k < 30; k++) {
		doing("the session with saved bytes that are damaged, %d", k);
		a->saved_len = k == 0 ? CW_SAVE_MAX : a->saved_len;
		if (a->saved_len > 0)
			a->saved[rnd((uint32_t)a->saved_len)] = (uint8_t)rnd(256);
		(void)toy_open(a);
		run_session(a, 0);
		toy_close(a, 1);
	}
}

/* Each kind of event, about things that never were, at this moment. */
static void odd_events(struct toy *t)
{
	static const uint32_t kinds[] = { CW_EV_IDENTIFIED, CW_EV_REFUSED, CW_EV_ONLINE, CW_EV_OFFLINE, CW_EV_TIMER, CW_EV_SETTLED,
		                          CW_EV_COMMAND_CANCELLED, CW_EV_BLOCK, CW_EV_BROADCAST, CW_EV_REPLY, 99 };
	static const uint64_t numbers[] = { 0, 1, 2, 3, 5, 0x7fffffffu, 0x123456789abcdef0u, UINT64_MAX };
	static const uint8_t junk[] = { 0xbf, 0x00, 0x18, 0x21, 0xff };
	struct entry bad = { .kind = 'c', .ptr = (uint8_t *)(uintptr_t)junk, .len = sizeof(junk) };
	size_t i, k;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (k = 0; k < sizeof(numbers) / sizeof(numbers[0]) && !t->closing; k++)
			toy_event(t, kinds[i], numbers[k], k % 2 ? cw_bytes_of(junk, sizeof(junk)) : cw_bytes_of(NULL, 0));
	for (i = 0; i <= sizeof(junk) && !t->closing; i++) { /* commands cut off anywhere */
		bad.len = i;
		toy_command(t, &bad);
	}
}

static void odd_moments_are_survived(struct toy *a, struct toy *b)
{
	struct cw_rdevice *dev;
	size_t i, k;

	for (i = 0; i < corpus.n; i++) {
		if (!of_session(&corpus.v[i]))
			continue;
		doing("odd events before step %s", corpus.v[i].name);
		fresh(a);
		(void)toy_open(a);
		for (k = 0; k < i; k++)
			if (of_session(&corpus.v[k]))
				step(a, &corpus.v[k]);
		odd_events(a);
		step(a, &corpus.v[i]);
		dev = cw_conn_next_device(a->conn, NULL);
		if (dev != NULL && !a->closing) { /* detached in the middle, and the device goes on talking */
			cw_conn_detached(a->conn, dev);
			memset(a->commands, 0, sizeof(a->commands)); /* what it has not ended now, the host has */
			step(a, &corpus.v[i]);
			odd_events(a);
		}
		toy_close(a, 1);
	}
	doing("commands before anything");
	fresh(a);
	(void)toy_open(a);
	for (i = 0; i < corpus.n; i++)
		if (corpus.v[i].kind == 'c')
			toy_command(a, &corpus.v[i]);
	odd_events(a);
	toy_close(a, 1);
}

/* ---- failures ------------------------------------------------------------------------------------ */

static void a_small_cap_is_kept(struct toy *a, struct toy *b)
{
	static const size_t caps[] = { 0, 1, 100, 1000, 4096, 20000 };
	size_t i;

	for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		doing("the session with %zu bytes it may charge", caps[i]);
		fresh(a);
		a->cap = caps[i];
		(void)toy_open(a);
		run_session(a, 1);
		toy_close(a, 0);
	}
	a->cap = 64u << 20;
}

static void refused_host_calls_are_survived(struct toy *a, struct toy *b)
{
	static const int codes[] = { CW_ELIMIT, CW_EBUSY, CW_EINVAL };
	long n;
	unsigned k;

	for (k = 0; k < sizeof(codes) / sizeof(codes[0]); k++) {
		for (n = 0; n < FAULTS_MOST; n++) {
			doing("host call %ld of the session fails with %d", n, codes[k]);
			fresh(a);
			host_fail_at(n, codes[k]);
			(void)toy_open(a);
			run_session(a, n % 2 == 1);
			host_fail_at(-1, 0);
			toy_close(a, 0);
			if (a->len == 0 && n > 0)
				break;
			if (n > 0 && !host_failed() && n > 3000)
				break;
			if (k > 0)
				n += 2; /* the first code was tried at every place */
		}
	}
}

static void memory_that_ends_is_survived(void)
{
	struct toy t;
	long n, before = heap_live();
	unsigned faults_before = faults();
	int done = 0;

	for (n = 0; n < FAULTS_MOST && !done; n++) {
		doing("allocation %ld of the plugin fails", n);
		heap_fail_at(n);
		if (toy_start(&t, desc, worker, corpus.settings) == 0) {
			(void)toy_open(&t);
			run_session(&t, 0);
			done = !heap_failed();
			heap_fail_at(-1);
			toy_close(&t, 0);
			toy_stop(&t);
		} else {
			heap_fail_at(-1);
			free(t.trace);
		}
		if (heap_live() != before)
			fault("%ld blocks are left over", heap_live() - before);
		before = heap_live();
	}
	if (n == 1)
		fault("no allocation was seen; the allocator is not in place");
	printf("%s memory that ends is survived at %ld places\n", faults() == faults_before ? "ok    " : "FAILED", n - 1);
}

/* ---- all of it --------------------------------------------------------------------------------------- */

struct test {
	const char *name;
	void (*run)(struct toy *a, struct toy *b);
};

static void run_test(const struct test *test, uint32_t flags)
{
	unsigned before = faults();
	struct toy a, b;

	doing("%s", test->name);
	start(&a, flags);
	start(&b, flags);
	test->run(&a, &b);
	doing("%s, at its end", test->name);
	toy_stop(&a);
	toy_stop(&b);
	if (heap_live() != 0)
		fault("%ld blocks of memory are left after destroy()", heap_live());
	printf("%s %s%s\n", faults() == before ? "ok    " : "FAILED", test->name, flags & CW_EVF_INSPECT ? ", inspected" : "");
	fflush(stdout);
}

static void run_all(void)
{
	static const struct test inspected[] = {
		{ "frames mean what the corpus says", frames_mean_what_the_corpus_says },
		{ "splitting changes nothing", splitting_changes_nothing },
		{ "truncation makes no record", truncation_makes_no_record },
		{ "noise is passed over", noise_is_passed_over },
		{ "glued frames come apart", glued_frames_come_apart },
		{ "mutations do no harm", mutations_do_no_harm },
	};
	static const struct test plain[] = {
		{ "splitting changes nothing", splitting_changes_nothing },
		{ "mutations do no harm", mutations_do_no_harm },
		{ "a session goes through", a_session_goes_through },
		{ "every outcome is survived", every_outcome_is_survived },
		{ "odd moments are survived", odd_moments_are_survived },
		{ "a small cap is kept", a_small_cap_is_kept },
		{ "refused host calls are survived", refused_host_calls_are_survived },
	};
	size_t i;

	for (i = 0; i < sizeof(inspected) / sizeof(inspected[0]); i++)
		run_test(&inspected[i], CW_EVF_INSPECT);
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		run_test(&plain[i], 0);
	if (desc->caps & CW_CAP_DATAGRAM)
		run_test(&plain[2], CW_EVF_DATAGRAM);
	memory_that_ends_is_survived();
}

int main(int argc, char **argv)
{
	const struct cw_plugin_desc *loaded;
	struct cw_msg msg;
	int i;

	if (argc < 3) {
		fprintf(stderr, "usage: conform PLUGIN.so CORPUS...\n");
		return 2;
	}
	for (i = 2; i < argc; i++)
		if (read_corpus(argv[i]) < 0)
			return 2;
	cw_log_setup(CW_LOG_ERROR, 0, 1);
	cw_clock_fake(1000000, 1763700000000);
	if (cw_plugin_load(argv[1], &loaded, &msg) < 0) {
		printf("FAULT: %s\n", msg.text);
		return 1;
	}
#ifndef CONFORM_SANITIZED /* sanitizers add symbols and data of their own */
	(void)elf_check(argv[1]);
#endif
	if (elf_hook(argv[1]) < 0 || cw_worker_new("conform", 0, &worker) < 0) {
		printf("FAULT: the allocator cannot be put in place\n");
		return 1;
	}
	desc = watched(loaded);
	run_all();
	if (cw_stat_read(CW_STAT_plugin_records) == 0)
		fault("no record was ever emitted");
	cw_worker_free(worker);
	free_corpus();
	printf("%s: %u faults\n", loaded->name, faults());
	return faults() == 0 ? 0 : 1;
}
