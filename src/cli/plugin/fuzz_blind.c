/*
 * fuzz_blind.c - a plugin as it is, in a child process: no coverage, no sanitizer.
 *
 * What guides it is what the decoder says: a case that makes it say something of a
 * new kind (fuzz_see() in fuzz/drive_host.c) joins the others. What finds faults is the
 * rules that the driver watches, unmapped memory behind what is lent, memory that
 * is filled when it is freed, and what the plugin has allocated and not freed.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/plugin/fuzz.h"
#include "conform/heap.h"
#include "fuzz/drive.h"

#define KEPT_MOST 8192
#define CAME_TO_ITS_END 42 /* what a plugin that calls exit() would not choose */

struct shared {
	volatile uint64_t cases, kept;
	volatile uint32_t len;
	uint8_t bytes[CW_FUZZ_CASE_MOST];
};

static void on_too_much(size_t size, size_t held)
{
	fprintf(stderr, "a rule is broken: the decoder asks for %zu bytes and holds %zu\n", size, held);
	abort();
}

static void look_for_leaks(void)
{
	char place[200];

	if (heap_live() == 0)
		return;
	heap_describe(place, sizeof(place));
	fprintf(stderr, "a rule is broken: %ld blocks of memory (%zu bytes) are left after destroy(), the first %s\n", heap_live(), heap_bytes(),
	        place);
	abort();
}

static void one_case(const struct cw_fuzz_run *run, const uint8_t *one, size_t len)
{
	random_again();
	cw_fuzz_one(run, one, len);
	look_for_leaks();
}

static void enter_child(const struct fuzzer *f)
{
	struct rlimit core = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &core);
	(void)mallopt(M_PERTURB, 0x5a); /* what is used after it was freed, or before it was written, shows */
	heap_most = (size_t)f->memory_mib << 20;
	heap_over = on_too_much;
	if (heap_hook(f->path) < 0)
		fputs("the plugin's memory cannot be watched: it has no dynamic symbols\n", stderr);
}

static void talk_aloud(const char *line)
{
	puts(line);
	fflush(stdout);
}

/* 1: it made the decoder say something new; as AFL does, by orders of magnitude of how often. */
static int is_new(uint8_t *known, const uint8_t *seen)
{
	size_t i;
	int fresh = 0;

	for (i = 0; i < CW_FUZZ_SEEN; i++) {
		uint8_t n = seen[i], bit;

		if (n == 0)
			continue;
		bit = n == 1 ? 1 : n == 2 ? 2 : n == 3 ? 4 : n < 8 ? 8 : n < 16 ? 16 : n < 32 ? 32 : n < 128 ? 64 : 128;
		if ((known[i] & bit) == 0) {
			known[i] |= bit;
			fresh = 1;
		}
	}
	return fresh;
}

static void run_one(struct cw_fuzz_run *run, struct shared *sh, struct fuzz_cases *all, uint8_t *known)
{
	memset(run->seen, 0, CW_FUZZ_SEEN);
	sh->cases++;
	one_case(run, sh->bytes, sh->len);
	if (is_new(known, run->seen) && all->n < KEPT_MOST) {
		(void)fuzz_add(all, sh->bytes, sh->len);
		sh->kept = all->n;
	}
}

static void child_loop(struct fuzzer *f, struct shared *sh)
{
	static uint8_t known[CW_FUZZ_SEEN], seen[CW_FUZZ_SEEN];
	struct cw_fuzz_run run = { .desc = f->desc, .settings = cw_bytes_of(f->settings, f->settings_len), .seen = seen };
	struct fuzz_cases all = { NULL, 0, 0 };
	size_t i;

	enter_child(f);
	for (i = 0; i < f->seeds.n; i++) {
		(void)fuzz_add(&all, f->seeds.v[i].ptr, f->seeds.v[i].len);
		memcpy(sh->bytes, f->seeds.v[i].ptr, f->seeds.v[i].len);
		sh->len = (uint32_t)f->seeds.v[i].len;
		run_one(&run, sh, &all, known);
	}
	for (;;) {
		sh->len = (uint32_t)fuzz_mutate(f, &all, sh->bytes);
		run_one(&run, sh, &all, known);
	}
}

/* ---- the parent ----------------------------------------------------------------------------- */

/* `fine`: the exit status of one that came to its end; -1: it never should. */
static struct fuzz_end end_of(int status, int fine)
{
	struct fuzz_end e = { FUZZ_FINE, 0 };

	if (WIFSIGNALED(status)) {
		e.kind = FUZZ_CRASH;
		e.number = WTERMSIG(status);
	} else if (WEXITSTATUS(status) != fine) {
		e.kind = WEXITSTATUS(status) == 3 ? FUZZ_UNABLE : FUZZ_EXIT;
		e.number = WEXITSTATUS(status);
	}
	return e;
}

static void nap(void)
{
	struct timespec t = { 0, 2000000 };

	(void)nanosleep(&t, NULL);
}

static struct fuzz_end kill_hanging(pid_t pid)
{
	int status;

	(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return (struct fuzz_end){ FUZZ_HANG, 0 };
}

struct fuzz_end fuzz_wait(long pid, unsigned timeout_ms, int fine)
{
	uint64_t until = cw_clock_ms() + timeout_ms;
	int status;
	pid_t got;

	for (;;) {
		got = waitpid((pid_t)pid, &status, WNOHANG);
		if (got == (pid_t)pid)
			return end_of(status, fine);
		if (got < 0 && errno != EINTR)
			return (struct fuzz_end){ FUZZ_UNABLE, 0 };
		if (cw_clock_ms() > until)
			return kill_hanging((pid_t)pid);
		nap();
	}
}

struct fuzz_end fuzz_once(struct fuzzer *f, struct cw_bytes one, int aloud)
{
	struct cw_fuzz_run run = { .desc = f->desc, .settings = cw_bytes_of(f->settings, f->settings_len) };
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return (struct fuzz_end){ FUZZ_UNABLE, 0 };
	if (pid > 0)
		return fuzz_wait(pid, f->timeout_ms + 1000, CAME_TO_ITS_END);
	enter_child(f);
	if (aloud)
		run.talk = talk_aloud;
	else if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(3);
	one_case(&run, one.ptr, one.len);
	fflush(NULL);
	_exit(CAME_TO_ITS_END);
}

/* Watch the child until it ends, hangs, or time is over. */
static struct fuzz_end watch(struct fuzzer *f, pid_t pid, const struct shared *sh)
{
	uint64_t now = cw_clock_ms(), until = now + f->seconds * 1000ull, moved_ms = now, said_ms = now, last = 0;
	int status;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return end_of(status, -1);
		now = cw_clock_ms();
		if (sh->cases != last) {
			last = sh->cases;
			moved_ms = now;
		}
		if (now - moved_ms > f->timeout_ms)
			return kill_hanging(pid);
		if (now >= until) {
			(void)kill_hanging(pid);
			return (struct fuzz_end){ FUZZ_FINE, 0 };
		}
		if (now - said_ms >= 10000) {
			said_ms = now;
			printf("  %llu cases, %llu kept\n", (unsigned long long)sh->cases, (unsigned long long)sh->kept);
			fflush(stdout);
		}
		nap();
	}
}

int fuzz_blind(struct fuzzer *f, uint8_t *out, size_t *ret_len, struct fuzz_end *ret_end)
{
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t began = cw_clock_ms(), took;
	pid_t pid;

	if (sh == MAP_FAILED)
		return CW_ENOMEM;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return CW_ENOMEM;
	if (pid == 0)
		child_loop(f, sh);
	*ret_end = watch(f, pid, sh);
	took = cw_clock_ms() - began;
	printf("%llu cases in %llu.%llu s, %llu kept for what they made the decoder say\n", (unsigned long long)sh->cases,
	       (unsigned long long)took / 1000, (unsigned long long)took / 100 % 10, (unsigned long long)sh->kept);
	*ret_len = sh->len;
	memcpy(out, sh->bytes, sh->len);
	(void)munmap(sh, sizeof(*sh));
	return 0;
}
