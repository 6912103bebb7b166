/* process.c - see process.h. */
#include "plugin/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin/sandbox.h"

#define FREE_FROM 20 /* descriptors below are left to what a host has open */

extern char **environ;

/* Out of the way of the numbers that the host gets. */
static int moved_up(int fd)
{
	int up = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FREE_FROM);

	if (fd >= 0)
		(void)close(fd);
	return up;
}

static int make_memory(struct cw_process *p, const struct cw_host_setup *setup)
{
	void *at;

	p->memory = moved_up(memfd_create("causeway-plugin-host", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (p->memory < 0 || ftruncate(p->memory, sizeof(struct cw_shared)) != 0)
		return -1;
	/* Whoever shrank it would kill the other side with SIGBUS. */
	if (fcntl(p->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return -1;
	at = mmap(NULL, sizeof(struct cw_shared), PROT_READ | PROT_WRITE, MAP_SHARED, p->memory, 0);
	if (at == MAP_FAILED)
		return -1;
	p->shared = at;
	p->shared->setup = *setup;
	p->shared->setup.parent = (int)getpid();
	return 0;
}

/* Only what a program needs to run: the rest may hold secrets of the configuration. */
static char **clean_environment(char *out[32])
{
	static const char *const wanted[] = { "TZ=", "LANG=", "LC_", "LD_LIBRARY_PATH=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS=" };
	size_t n = 0, i, k;

	for (i = 0; environ[i] != NULL && n < 31; i++)
		for (k = 0; k < sizeof(wanted) / sizeof(wanted[0]); k++)
			if (strncmp(environ[i], wanted[k], strlen(wanted[k])) == 0 && n < 31)
				out[n++] = environ[i];
	out[n] = NULL;
	return out;
}

static int spawn(struct cw_process *p, const char *name, int alive)
{
	const int fds[CW_HOST_FDS] = { p->memory, p->bell, p->parent_bell, alive };
	char *argv[] = { (char *)(uintptr_t)"causewayd", (char *)(uintptr_t)"--plugin-host", (char *)(uintptr_t)name, NULL };
	posix_spawn_file_actions_t acts;
	posix_spawnattr_t attr;
	char *env[32];
	sigset_t none, all;
	int i, rc;

	sigemptyset(&none);
	sigfillset(&all);
	(void)posix_spawn_file_actions_init(&acts);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	rc = posix_spawn_file_actions_addopen(&acts, 0, "/dev/null", O_RDWR, 0);
	/* A decoder writes to nobody's terminal: what it prints may be anything. */
#ifndef CW_SANITIZED
	rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&acts, 0, 1);
	rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&acts, 0, 2);
#endif
	for (i = 0; i < CW_HOST_FDS && rc == 0; i++)
		rc = posix_spawn_file_actions_adddup2(&acts, fds[i], CW_HOST_FIRST_FD + i);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(&acts, CW_HOST_FIRST_FD + CW_HOST_FDS);
	if (rc == 0)
		rc = posix_spawn(&p->pid, "/proc/self/exe", &acts, &attr, argv, clean_environment(env));
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&acts);
	return rc;
}

/* For tests: the same process image, so that a decoder of the test program runs. */
static int fork_host(struct cw_process *p, const struct cw_plugin_desc *desc, int alive)
{
	const int fds[CW_HOST_FDS] = { p->memory, p->bell, p->parent_bell, alive };
	int i;

	p->pid = fork();
	if (p->pid < 0)
		return errno;
	if (p->pid > 0)
		return 0;
	for (i = 0; i < CW_HOST_FDS; i++)
		(void)dup2(fds[i], CW_HOST_FIRST_FD + i);
	(void)close_range(CW_HOST_FIRST_FD + CW_HOST_FDS, ~0u, 0);
	cw_hosted_main(CW_HOST_FIRST_FD, desc);
}

int cw_process_start(struct cw_process *p, const struct cw_host_setup *setup, const struct cw_plugin_desc *desc, int fork_only,
                     struct cw_msg *msg)
{
	int ends[2] = { -1, -1 }, rc;

	*p = (struct cw_process){ .memory = -1, .bell = -1, .parent_bell = -1, .alive = -1 };
	if (make_memory(p, setup) < 0) {
		rc = errno;
		goto err;
	}
	p->bell = moved_up(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	p->parent_bell = moved_up(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (p->bell < 0 || p->parent_bell < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
		rc = errno;
		goto err;
	}
	p->alive = ends[0];
	ends[1] = moved_up(ends[1]);
	rc = ends[1] < 0 ? errno : fork_only ? fork_host(p, desc, ends[1]) : spawn(p, desc->name, ends[1]);
	(void)close(ends[1]);
	if (rc == 0)
		return 0;
err:
	p->pid = 0;
	cw_process_fini(p);
	return cw_fail(msg, cw_err_from_errno(rc), "%s", strerror(rc));
}

int cw_process_end(struct cw_process *p, char *why, size_t size)
{
	int status = 0;

	if (p->pid <= 0)
		return 0;
	(void)kill(p->pid, SIGKILL);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	p->pid = 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		(void)snprintf(why, size, "it asked the system for what a plugin may not (SIGSYS)");
	else if (WIFSIGNALED(status))
		(void)snprintf(why, size, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	else
		(void)snprintf(why, size, "ended with status %d", WEXITSTATUS(status));
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void cw_process_fini(struct cw_process *p)
{
	if (p->shared != NULL)
		(void)munmap(p->shared, sizeof(*p->shared));
	p->shared = NULL;
	close_fd(&p->memory);
	close_fd(&p->bell);
	close_fd(&p->parent_bell);
	close_fd(&p->alive);
}

void cw_process_ring_bell(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		; /* EAGAIN: it rings already */
}

void cw_process_hush_bell(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}
