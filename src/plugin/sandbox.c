/* sandbox.c - see sandbox.h. */
#include "plugin/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef CW_SANITIZED
#include <seccomp.h>
#endif

static int limit(int what, rlim_t value)
{
	struct rlimit l = { value, value };

	return setrlimit((__rlimit_resource_t)what, &l);
}

#ifndef CW_SANITIZED
/* Address space in use now, bytes. */
static uint64_t address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL)
		return 0;
	if (fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	(void)fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A loop, its timers, the rings' bells, memory, and to end itself. */
static const int allowed[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(close), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl),
	SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(clock_getres), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(fstat), SCMP_SYS(lseek), SCMP_SYS(mremap), SCMP_SYS(madvise),
	SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall), SCMP_SYS(getrandom),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* What libc tries on the side (a time zone, the kind of a terminal): it is told no and goes on. All else ends the process. */
static const struct {
	int call, error;
} denied[] = {
	{ SCMP_SYS(open), EACCES }, { SCMP_SYS(openat), EACCES }, { SCMP_SYS(access), EACCES }, { SCMP_SYS(faccessat2), EACCES },
	{ SCMP_SYS(stat), EACCES }, { SCMP_SYS(newfstatat), EACCES }, { SCMP_SYS(statx), EACCES }, { SCMP_SYS(readlink), EACCES },
	{ SCMP_SYS(ioctl), ENOTTY }, { SCMP_SYS(fcntl), EACCES }, { SCMP_SYS(prlimit64), EPERM }, { SCMP_SYS(sysinfo), EPERM },
};

/* No memory becomes code: what is mapped or changed from here on is data. */
static int no_code(scmp_filter_ctx ctx, int call)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static int filter_calls(struct cw_msg *msg)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	size_t i;
	int rc = ctx == NULL ? -ENOMEM : 0;

	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (i = 0; i < sizeof(denied) / sizeof(denied[0]) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)denied[i].error), denied[i].call, 0);
	if (rc == 0)
		rc = no_code(ctx, SCMP_SYS(mmap));
	if (rc == 0)
		rc = no_code(ctx, SCMP_SYS(mprotect));
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc == 0 ? 1 : cw_fail(msg, 0, "seccomp: %s", strerror(-rc));
}
#endif

int cw_sandbox_enter(enum cw_sandbox how, uint64_t memory, struct cw_msg *msg)
{
	int rc, next = 0;

	if (limit(RLIMIT_CORE, 0) != 0 || limit(RLIMIT_FSIZE, 0) != 0)
		return cw_fail(msg, CW_EACCESS, "setrlimit: %s", strerror(errno));
#ifdef CW_SANITIZED /* the sanitizers need terabytes of addresses, and calls of their own when they report */
	(void)memory;
	(void)next;
	rc = cw_fail(msg, 0, "seccomp: this is a build with sanitizers");
#else
	if (memory > 0 && limit(RLIMIT_AS, (rlim_t)(address_space() + memory)) != 0)
		return cw_fail(msg, CW_EACCESS, "setrlimit(RLIMIT_AS): %s", strerror(errno));
	/* What is open stays open; nothing can be opened any more. (Not 0: poll() counts against it, too.) */
	next = dup(0);
	(void)close(next);
	if (limit(RLIMIT_NOFILE, (rlim_t)next) != 0)
		return cw_fail(msg, CW_EACCESS, "setrlimit(RLIMIT_NOFILE): %s", strerror(errno));
	tzset();
	if (how == CW_SANDBOX_OFF)
		return cw_fail(msg, 0, "seccomp: switched off");
	rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ? cw_fail(msg, 0, "no_new_privs: %s", strerror(errno)) : filter_calls(msg);
#endif
	return rc == 0 && how == CW_SANDBOX_REQUIRED ? CW_EACCESS : rc;
}
